"""Why a row scores as it does: the parts of its log-likelihood, and what the model expected instead."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skvae._reading import read, warn_of_constants
from skvae._table.tables import Table

Numbers = NDArray[np.floating]

EXPECTED_ROWS = 512  # draws from the model that say what a column contributes on average


class Explanation(NamedTuple):
    """The parts of each row's log-likelihood, as `VAEOutlierDetector.explain` gives them.

    All are in nats, and ``shares.sum(axis=1) + latent`` is the score of each row. It unpacks as a tuple.

    Parameters
    ----------
    shares : ndarray or data frame of shape (n_samples, n_features)
        What each cell adds to the score, less what its column adds on average over rows drawn from the model. Negative
        where the cell is odd given the rest of its row; 0 where it is missing. Where it holds what fit did not see (a
        new level, another value in a constant column) it is -log(n + 2), n being the number of rows trained on.
    latent : ndarray of shape (n_samples,)
        The rest: the columns' averages and the log-ratio of prior and posterior of the code.
    expected_score : float
        The mean score of rows drawn from the model, where a waterfall of the shares begins.

    See Also
    --------
    VAEOutlierDetector : Its method `explain` makes one.
    skvae.displays.ExplanationDisplay : Draws that of one row.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import VAEOutlierDetector
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> X[0, 1] = 9.0
    >>> explanation = VAEOutlierDetector(random_state=0).fit(X).explain(X[:1])
    >>> explanation.shares[0].argmin()
    np.int64(1)
    """

    shares: Any
    latent: NDArray[np.float64]
    expected_score: float


class Parts(NamedTuple):
    """Log-likelihood of each row in nats, split exactly: of each column (n, p), of the latent space (n,).

    Cells that are `silent` (n, p) are missing to the networks: their part is 0, or the cost of a level never seen.
    """

    columns: NDArray[np.float64]
    latent: NDArray[np.float64]
    silent: NDArray[np.bool_]


def parts(vae: Any, table: Table) -> Parts:
    """The parts of a model's score of rows, in the columns' own units; a missing cell's is 0."""
    schema, every = vae.schema_, []
    for rows in table.slices():
        encoded = vae._encode(rows)
        cells, rest = vae._engine.explain(encoded, vae._checked_draws())
        correction = schema.log_correction(rows, encoded, unknown=vae.handle_unknown, relative=True)
        silent = rows.missing() | schema.by_column(np.isnan(encoded))
        every.append(Parts(schema.by_column(cells) + correction, rest, silent))
    return Parts(*map(np.concatenate, zip(*every, strict=True)))


def average_parts(models: list[Any], table: Table) -> Parts:
    """The mean of the models' parts."""
    every = [parts(model, table) for model in models]
    columns, latent, silent = zip(*every, strict=True)
    return Parts(np.mean(columns, axis=0), np.mean(latent, axis=0), np.all(silent, axis=0))


def explain(models: list[Any], table: Table, seed: int) -> Explanation:
    """Explain the mean log-likelihood under several models; what is expected is the mean over draws from each."""
    schema = models[0].schema_
    warn_of_constants(schema, schema.surprises(table, unknown=models[0].handle_unknown).any(axis=0))
    own = average_parts(models, table)
    n = EXPECTED_ROWS // len(models)
    draws = [model.sample(n, codes="prior", missing=False, random_state=seed) for model in models]
    drawn = [average_parts(models, read(models[0], X, reset=False)) for X in draws]
    columns = np.concatenate([p.columns for p in drawn])
    expected = columns.mean(axis=0)
    shares = own.columns - np.where(own.silent, 0.0, expected)
    latent = own.columns.sum(axis=1) + own.latent - shares.sum(axis=1)
    mean_score = columns.sum(axis=1).mean() + np.concatenate([p.latent for p in drawn]).mean()
    return Explanation(shares, latent, float(mean_score))
