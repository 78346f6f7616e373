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
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from skvae import VAEOutlierDetector, VAETransformer
from skvae._members import DETECTOR_MODELS
from skvae.nn.likelihoods import GaussianMixture

Scorer = Callable[[np.ndarray], np.ndarray]
Method = Callable[[np.ndarray, int, bool], Scorer]

WIDEST_FOR_MCD = 200
NEIGHBOURS = 5


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
    "robust covariance (MCD)": robust_covariance,
    "full-covariance Gaussian": full_covariance,
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
DETERMINISTIC = {*OUTLIER_RIVALS, *PYOD_RIVALS} - {"IsolationForest", "robust covariance (MCD)"}

# -- skvae ---------------------------------------------------------------------------------------------------------

DETECTOR = "VAEOutlierDetector"


@dataclass(frozen=True)
class DetectorMethod:
    """The detector with its defaults, but for the models.

    `models` makes them from the shape of the training rows and `novelty`; without it they are the default ones.
    """

    models: Callable[[int, int, bool], list[VAETransformer]] | None = None

    def __call__(self, train: np.ndarray, seed: int, novelty: bool) -> Scorer:
        models = None if self.models is None else self.models(*train.shape, novelty)
        model = VAEOutlierDetector(novelty=novelty, estimator=models, random_state=seed).fit(train)
        return lambda rows: -model.score_samples(rows)


def default_models(n: int, p: int, novelty: bool) -> list[VAETransformer]:
    """What the detector fits by default."""
    return DETECTOR_MODELS[novelty](n, p)


def other_models(n: int, p: int, novelty: bool) -> list[VAETransformer]:
    """What it fits by default under the other `novelty`."""
    return default_models(n, p, not novelty)


def model_of(n: int, p: int, novelty: bool, *, marginals: str) -> list[VAETransformer]:
    """The model for normal rows with these marginals alone."""
    return [model for model in DETECTOR_MODELS[True](n, p) if model.marginals == marginals]


def copies(n: int, p: int, novelty: bool, *, n_copies: int) -> list[VAETransformer]:
    """Several copies of each default model, which differ in their seed."""
    return [model for _ in range(n_copies) for model in default_models(n, p, novelty)]


def without_trimming(n: int, p: int, novelty: bool) -> list[VAETransformer]:
    """The default models, trained on whole batches."""
    return [model.set_params(trim=0.0) for model in default_models(n, p, novelty)]


def with_modes(n: int, p: int, novelty: bool, *, n_modes: int) -> list[VAETransformer]:
    """The default models with several normal modes per cell, each as wide as the default's cells at least."""
    narrowest = 0.3 if novelty else 0.5
    likelihood = partial(GaussianMixture, n_modes=n_modes, min_scale=narrowest)
    return [model.set_params(likelihood=likelihood) for model in default_models(n, p, novelty)]


def density(n: int, p: int, novelty: bool) -> list[VAETransformer]:
    """The transformer with its defaults, several modes per cell among them, but for atoms."""
    return [VAETransformer(atoms=None)]


DETECTORS: dict[str, Method] = {DETECTOR: DetectorMethod()}
VARIANTS: dict[str, Method] = {
    "the models of the other novelty": DetectorMethod(other_models),
    "three copies of each model": DetectorMethod(partial(copies, n_copies=3)),
    "standardised columns only": DetectorMethod(partial(model_of, marginals="linear")),
    "normal scores only": DetectorMethod(partial(model_of, marginals="normal")),
    "without trimming": DetectorMethod(without_trimming),
    "three modes per cell": DetectorMethod(partial(with_modes, n_modes=3)),
    "the transformer's density": DetectorMethod(density),
}
VARIANT_OF = {"standardised columns only": "clean", "normal scores only": "clean", "without trimming": "contaminated"}
