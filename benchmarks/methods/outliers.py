"""Outlier detectors: ``method(train, seed, novelty)`` returns a function from rows to outlier scores, higher is odder.

Without `novelty` the rows to score are the training rows, and a method that looks at neighbours does not count a row
among its own. All but the trees and skvae see columns standardised by the training rows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from sklearn.covariance import LedoitWolf, MinCovDet
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import KFold
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from skvae import VAEOutlierDetector, VAETransformer

Scorer = Callable[[np.ndarray], np.ndarray]
Method = Callable[[np.ndarray, int, bool], Scorer]

WIDEST_FOR_MCD = 200
NEIGHBOURS = 5
BAGS = 10
FOLDS = 5


def standardised(fit: Callable[..., Scorer]) -> Callable[..., Scorer]:
    """Standardise by the training rows first; a column that is constant there keeps its unit."""

    def method(train: np.ndarray, seed: int, novelty: bool, **options: Any) -> Scorer:
        scaler = StandardScaler().fit(train)
        score = fit(scaler.transform(train), seed, novelty, **options)
        return lambda rows: score(scaler.transform(rows))

    return method


def isolation_forest(train: np.ndarray, seed: int, novelty: bool) -> Scorer:
    """scikit-learn's, with its defaults."""
    model = IsolationForest(random_state=seed).fit(train)
    return lambda rows: -model.score_samples(rows)


@standardised
def nearest_neighbours(train: np.ndarray, seed: int, novelty: bool, *, average: bool) -> Scorer:
    """Distance to the fifth nearest training row, or the mean distance to the five nearest (DTE-NP)."""
    model = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(train)

    def score(rows: np.ndarray) -> np.ndarray:
        distances = model.kneighbors(rows if novelty else None)[0]  # None: of the training rows, without themselves
        return distances.mean(axis=1) if average else distances[:, -1]

    return score


@standardised
def local_outlier_factor(train: np.ndarray, seed: int, novelty: bool) -> Scorer:
    """scikit-learn's, with its defaults."""
    model = LocalOutlierFactor(novelty=novelty, n_neighbors=min(20, len(train) - 1)).fit(train)
    return lambda rows: -(model.score_samples(rows) if novelty else model.negative_outlier_factor_)


@standardised
def feature_bagging(train: np.ndarray, seed: int, novelty: bool) -> Scorer:
    """Mean of ten local outlier factors, each on half to all but one of the columns (Lazarevic and Kumar 2005)."""
    rng, p = np.random.default_rng(seed), train.shape[1]
    sizes = rng.integers(max(1, p // 2), max(2, p), size=BAGS)
    each = [rng.choice(p, size, replace=False) for size in sizes]
    k = min(20, len(train) - 1)
    models = [LocalOutlierFactor(novelty=novelty, n_neighbors=k).fit(train[:, columns]) for columns in each]

    def score(rows: np.ndarray) -> np.ndarray:
        if not novelty:
            return -np.mean([model.negative_outlier_factor_ for model in models], axis=0)
        return -np.mean([m.score_samples(rows[:, c]) for m, c in zip(models, each, strict=True)], axis=0)

    return score


@standardised
def robust_covariance(train: np.ndarray, seed: int, novelty: bool) -> Scorer:
    """Mahalanobis distance with the minimum covariance determinant."""
    if train.shape[1] > WIDEST_FOR_MCD:
        raise ValueError(f"not run on more than {WIDEST_FOR_MCD} columns")
    varies = train.std(axis=0) > 0.0
    model = MinCovDet(random_state=seed).fit(train[:, varies])
    return lambda rows: model.mahalanobis(rows[:, varies])


@standardised
def full_covariance(train: np.ndarray, seed: int, novelty: bool) -> Scorer:
    """Mahalanobis distance with the covariance of Ledoit and Wolf."""
    return LedoitWolf().fit(train).mahalanobis


@standardised
def one_class_svm(train: np.ndarray, seed: int, novelty: bool) -> Scorer:
    """scikit-learn's, with its defaults."""
    model = OneClassSVM().fit(train)
    return lambda rows: -model.score_samples(rows)


@standardised
def squared_norm(train: np.ndarray, seed: int, novelty: bool) -> Scorer:
    """Sum of squared z-scores."""
    return lambda rows: np.square(rows).sum(axis=1)


@standardised
def pca_reconstruction(train: np.ndarray, seed: int, novelty: bool) -> Scorer:
    """Squared error of the reconstruction from the components that hold nine tenths of the variance."""
    model = PCA(0.9, svd_solver="full").fit(train)
    return lambda rows: np.square(rows - model.inverse_transform(model.transform(rows))).sum(axis=1)


@standardised
def pyod(train: np.ndarray, seed: int, novelty: bool, *, module: str, name: str, seeded: bool) -> Scorer:
    """A detector of PyOD, with its defaults."""
    logging.getLogger("pyod").setLevel(logging.ERROR)
    options = {"random_state": seed, "verbose": 0} if seeded else {}
    model = getattr(import_module(f"pyod.models.{module}"), name)(**options).fit(train)
    return model.decision_function


OUTLIER_RIVALS: dict[str, Method] = {
    "IsolationForest": isolation_forest,
    "kNN (k=5)": partial(nearest_neighbours, average=False),
    "DTE-NP": partial(nearest_neighbours, average=True),
    "LOF": local_outlier_factor,
    "feature bagging": feature_bagging,
    "robust covariance (MCD)": robust_covariance,
    "full-covariance Gaussian": full_covariance,
    "one-class SVM": one_class_svm,
    "squared norm": squared_norm,
    "PCA reconstruction": pca_reconstruction,
}
PYOD_RIVALS: dict[str, Method] = {
    "HBOS": partial(pyod, module="hbos", name="HBOS", seeded=False),
    "ECOD": partial(pyod, module="ecod", name="ECOD", seeded=False),
}
PYOD_NETWORKS: dict[str, Method] = {
    "PyOD VAE": partial(pyod, module="vae", name="VAE", seeded=True),
    "PyOD AutoEncoder": partial(pyod, module="auto_encoder", name="AutoEncoder", seeded=True),
}
BY_CHANCE = {"IsolationForest", "robust covariance (MCD)", "feature bagging"}
DETERMINISTIC = {*OUTLIER_RIVALS, *PYOD_RIVALS} - BY_CHANCE

# -- skvae ---------------------------------------------------------------------------------------------------------

DETECTOR = "VAEOutlierDetector"


def detector(train: np.ndarray, seed: int, novelty: bool) -> Scorer:
    """The detector with its defaults."""
    model = VAEOutlierDetector(novelty=novelty, random_state=seed).fit(train)
    return lambda rows: -model.score_samples(rows)


def density(train: np.ndarray, seed: int, novelty: bool) -> Scorer:
    """The log-likelihood of the transformer with its defaults, but for atoms."""
    model = VAEOutlierDetector(novelty=novelty, estimator=VAETransformer(atoms=None), random_state=seed).fit(train)
    return lambda rows: -model.score_samples(rows)


# -- what calibration costs --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calibrated:
    """Scores and p-values of rows by one or several detectors, each with the scores of rows that it did not see."""

    models: list[VAEOutlierDetector]
    references: list[np.ndarray]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return -np.mean([model.score_samples(rows) for model in self.models], axis=0)

    def p_values(self, rows: np.ndarray) -> np.ndarray:
        """Conformal ones; of several detectors cross-conformal (Vovk 2015)."""
        counts = [
            np.searchsorted(np.sort(reference), model.score_samples(rows), side="right")
            for model, reference in zip(self.models, self.references, strict=True)
        ]
        return (1 + np.sum(counts, axis=0)) / (1 + sum(map(len, self.references)))


def kept_out(train: np.ndarray, seed: int, novelty: bool) -> Calibrated:
    """The detector with its defaults, which keeps rows out of training."""
    model = VAEOutlierDetector(novelty=novelty, random_state=seed).fit(train)
    return Calibrated([model], [model.calibration_scores_])


def none_kept_out(train: np.ndarray, seed: int, novelty: bool) -> Calibrated:
    """Trained on all rows, whose own scores are the reference, each without the exemplar that it is."""
    model = VAEOutlierDetector(novelty=novelty, calibration_fraction=0, random_state=seed).fit(train)
    return Calibrated([model], [model.score_samples(train)])


def cross_conformal(train: np.ndarray, seed: int, novelty: bool) -> Calibrated:
    """A detector for each of five folds, trained on the others; scores are their means."""
    models, references = [], []
    for others, fold in KFold(FOLDS, shuffle=True, random_state=seed).split(train):
        model = VAEOutlierDetector(novelty=novelty, calibration_fraction=0, random_state=seed).fit(train[others])
        models.append(model)
        references.append(model.score_samples(train[fold]))
    return Calibrated(models, references)


DETECTORS: dict[str, Method] = {DETECTOR: detector}
CALIBRATIONS: dict[str, Method] = {
    "rows kept out": kept_out,
    "no rows kept out": none_kept_out,
    "five folds, each by a model of the others": cross_conformal,
}
DENSITIES: dict[str, Method] = {"the transformer's density": density}
