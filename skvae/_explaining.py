"""Why a row scores as it does: the parts of its log-likelihood, and what the model expected instead."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skvae._reading import read
from skvae._table.tables import Table

Numbers = NDArray[np.floating]

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


def parts(vae: Any, table: Table) -> Parts:
    """The parts of a model's score of rows in data units; a missing cell's is 0."""
    schema, columns, latent = vae.schema_, [], []
    for rows in table.slices():
        encoded = vae._encode(rows)
        cells, rest = vae._engine.explain(encoded, vae._checked_draws())
        columns.append(
            schema.by_column(cells + schema.log_jacobian(encoded)) - schema.surprise * schema.surprises(rows)
        )
        latent.append(rest)
    return Parts(np.concatenate(columns), np.concatenate(latent))


def average_parts(models: list[Any], table: Table) -> Parts:
    """The mean of the models' parts."""
    every = [parts(model, table) for model in models]
    return Parts(np.mean([p.columns for p in every], axis=0), np.mean([p.latent for p in every], axis=0))


def explain(models: list[Any], table: Table, seed: int) -> Explanation:
    """Explain the mean log-likelihood under several models; what is expected is the mean over draws from each."""
    own = average_parts(models, table)
    n = EXPECTED_ROWS // len(models)
    draws = [model.sample(n, codes="prior", missing=False, random_state=seed) for model in models]
    drawn = [average_parts(models, read(models[0], X, reset=False)) for X in draws]
    columns = np.concatenate([p.columns for p in drawn])
    expected = columns.mean(axis=0)
    shares = np.where(table.missing(), 0.0, own.columns - expected)
    latent = own.columns.sum(axis=1) + own.latent - shares.sum(axis=1)
    mean_score = columns.sum(axis=1).mean() + np.concatenate([p.latent for p in drawn]).mean()
    return Explanation(shares, latent, float(mean_score))
