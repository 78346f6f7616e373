"""Density estimators: ``method(train, seed)`` returns a function from rows to log-densities in data units."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from scipy.stats import multivariate_normal, norm
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import FactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.preprocessing import StandardScaler

LogDensity = Callable[[np.ndarray], np.ndarray]

CV_ROWS = 4_000
COVARIANCES = ("full", "tied", "diag")
COMPONENTS = (1, 2, 4, 8, 16, 32)
COARSE_REGULARISATION = (1e-3, 5e-2)
FINE_REGULARISATION = (1e-6, 1e-4, 1e-3, 1e-2, 5e-2, 2e-1)


def in_data_units(fit: Callable[..., LogDensity]) -> Callable[..., LogDensity]:
    """Standardise by the training rows, fit, and count the Jacobian of the standardisation."""

    def method(train: np.ndarray, seed: int, **options: Any) -> LogDensity:
        scaler = StandardScaler().fit(train)
        log_density = fit(scaler.transform(train), seed, **options)
        jacobian = -np.log(scaler.scale_).sum()
        return lambda rows: log_density(scaler.transform(rows)) + jacobian

    return method


@in_data_units
def gaussian_marginals(train: np.ndarray, seed: int) -> LogDensity:
    """The floor: independent Gaussian columns."""
    return lambda rows: norm.logpdf(rows, train.mean(axis=0), train.std(axis=0)).sum(axis=1)


@in_data_units
def ledoit_wolf_gaussian(train: np.ndarray, seed: int) -> LogDensity:
    """One Gaussian with a full covariance, shrunk by Ledoit and Wolf's rule."""
    model = LedoitWolf().fit(train)
    return multivariate_normal(model.location_, model.covariance_, allow_singular=True).logpdf


@in_data_units
def factor_analysis(train: np.ndarray, seed: int) -> LogDensity:
    """Factor analysis with the number of factors chosen by cross-validation."""
    p = train.shape[1]
    grid = sorted({k for k in (1, 2, 4, 6, 8, 10, 15, 20) if k < p} or {1})
    search = GridSearchCV(FactorAnalysis(random_state=seed), {"n_components": grid}, cv=_folds(seed))
    return search.fit(train).best_estimator_.score_samples


@in_data_units
def gaussian_mixture(train: np.ndarray, seed: int) -> LogDensity:
    """The best of full, tied and diagonal mixtures with up to 32 components, all chosen by cross-validation.

    First every covariance type and size with two regularisations, then the three best with a finer grid. The
    search sees at most ``CV_ROWS`` rows; the chosen mixture is fitted on all of them.
    """
    rng = np.random.default_rng(seed)
    rows = train[rng.permutation(len(train))[:CV_ROWS]]
    score = partial(_cross_validated_mixture, rows, seed)
    coarse = {config: score(*config) for config in product(COVARIANCES, COMPONENTS, COARSE_REGULARISATION)}
    best = sorted(coarse, key=coarse.__getitem__, reverse=True)[:3]
    fine = {(c, k, reg): score(c, k, reg) for (c, k, _), reg in product(best, FINE_REGULARISATION)}
    everything = coarse | fine
    chosen = max(everything, key=everything.__getitem__)
    return _mixture(train, seed, *chosen).score_samples


def _folds(seed: int) -> KFold:
    return KFold(3, shuffle=True, random_state=seed)


def _mixture(rows: np.ndarray, seed: int, covariance: str, n_components: int, reg: float) -> GaussianMixture:
    model = GaussianMixture(n_components, covariance_type=covariance, reg_covar=reg, random_state=seed, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a slow rival is still a rival
        return model.fit(rows)


def _cross_validated_mixture(rows: np.ndarray, seed: int, covariance: str, n_components: int, reg: float) -> float:
    scores = []
    for train, test in _folds(seed).split(rows):
        if len(train) < 2 * n_components:
            return -np.inf
        scores.append(_mixture(rows[train], seed, covariance, n_components, reg).score(rows[test]))
    return float(np.mean(scores))


DENSITY_RIVALS: dict[str, Callable[[np.ndarray, int], LogDensity]] = {
    "gaussian marginals": gaussian_marginals,
    "full-covariance Gaussian": ledoit_wolf_gaussian,
    "factor analysis": factor_analysis,
    "Gaussian mixture": gaussian_mixture,
}
