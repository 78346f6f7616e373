"""Why a row scores as it does: the parts of its log-likelihood, and what the model expected instead."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skvae._reading import read

Numbers = NDArray[np.floating]

ROUNDS = 3  # of drawing from the posterior given the last completion
EXPECTED_ROWS = 512  # draws from the model that say what a column contributes on average


class Explanation(NamedTuple):
    """The parts of each row's log-likelihood, in nats: ``shares.sum(axis=1) + latent`` is the score.

    Parameters
    ----------
    shares : ndarray or data frame of shape (n_samples, n_features)
        What each cell adds to the score, less what its column adds on average over rows drawn from the model. Negative
        where the cell is odd given the rest of its row; 0 where it is missing.
    latent : ndarray of shape (n_samples,)
        The rest: the columns' averages and the log-ratio of prior and posterior of the code.
    expected_score : float
        The mean score of rows drawn from the model, where a waterfall of the shares begins.
    """

    shares: Any
    latent: NDArray[np.float64]
    expected_score: float


class Parts(NamedTuple):
    """Log-likelihood of each row in nats, split exactly: of each column (n, p), of the latent space (n,)."""

    columns: NDArray[np.float64]
    latent: NDArray[np.float64]


def parts(vae: Any, rows: Numbers) -> Parts:
    """The parts of a model's score of rows in data units; a missing cell's is 0."""
    schema = vae.schema_
    cells, latent = vae._engine.explain(vae._encode(rows), vae.n_importance_samples)
    columns = -schema.surprise * schema.surprises(rows)
    columns[:, schema.active] += cells + schema.log_jacobian(rows)
    return Parts(columns, latent)


def average_parts(models: list[Any], rows: Numbers) -> Parts:
    """The mean of the models' parts."""
    every = [parts(model, rows) for model in models]
    return Parts(np.mean([p.columns for p in every], axis=0), np.mean([p.latent for p in every], axis=0))


def explain(models: list[Any], rows: Numbers, seed: int) -> Explanation:
    """Explain the mean log-likelihood under several models; what is expected is the mean over draws from each."""
    own = average_parts(models, rows)
    n = EXPECTED_ROWS // len(models)
    draws = [model.sample(n, random_state=seed) for model in models]
    drawn = [average_parts(models, read(models[0], X, reset=False).X) for X in draws]
    columns = np.concatenate([p.columns for p in drawn])
    expected = columns.mean(axis=0)
    shares = np.where(np.isnan(rows), 0.0, own.columns - expected)
    latent = own.columns.sum(axis=1) + own.latent - shares.sum(axis=1)
    mean_score = columns.sum(axis=1).mean() + np.concatenate([p.latent for p in drawn]).mean()
    return Explanation(shares, latent, float(mean_score))


def completed(models: list[Any], rows: Numbers, blank: NDArray[np.bool_]) -> Numbers:
    """Rows in data units with the blank cells as the models expect them given the others.

    Each model draws codes from its posterior given the last completion, weighs them by what the cells that are not
    blank say, and takes the weighted mean; after ROUNDS of this the models' answers are averaged.
    """
    answers = [_expectation(model, np.where(blank, np.nan, rows)) for model in models]
    return np.where(blank, np.mean(answers, axis=0), rows)


def _expectation(vae: Any, rows: Numbers) -> Numbers:
    encoded = vae._encode(rows)
    guess = vae._engine.decode(vae._engine.encode(encoded))
    for _ in range(ROUNDS):
        guess = np.where(np.isnan(encoded), guess, encoded)
        guess = vae._engine.expectation(encoded, guess, vae.n_importance_samples)
    decoded: Numbers = vae.schema_.decode(guess)
    return decoded
