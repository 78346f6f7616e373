"""Why a row scores as it does: the terms of its log-likelihood, and what the model expected instead."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skvae._model.table_model import VAEModel
from skvae._sklearn import drawn_seed
from skvae._table.tables import LooseRows, ReadableRows


class Explanation(NamedTuple):
    """The parts of each row's log-likelihood, as `VAEOutlierDetector.explain` gives them.

    All are in nats, and ``shares.sum(axis=1) + latent`` is the score of each row. It unpacks as a tuple.

    Parameters
    ----------
    shares : ndarray or data frame of shape (n_samples, n_features)
        What each cell adds to the score, less the median of that over rows drawn from the model. Negative
        where the cell is odd given the rest of its row; 0 where it is missing. Where it holds what fit did not see (a
        new level, another value in a constant column) it is -log(n + 2), n being the number of rows trained on.
    latent : ndarray of shape (n_samples,)
        The rest: the columns' medians and the log-ratio of prior and posterior of the code.
    expected_score : float
        The median score of rows drawn from the model, where a waterfall of the shares begins.

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


class Terms(NamedTuple):
    """Log-likelihood of each row in nats, split exactly: of each column (n, p), of the latent space (n,).

    Cells that are `silent` (n, p) are missing to the networks: their term is 0, or the cost of a level never seen.
    """

    columns: NDArray[np.float64]
    latent: NDArray[np.float64]
    silent: NDArray[np.bool_]


def terms(model: VAEModel, table: ReadableRows) -> Terms:
    """The terms of a model's log-density of rows, in the columns' own units; a missing cell's is 0.

    As in a committee's scores, an exemplar at the place of a row is none to it.
    """
    every = []
    for rows in table.slices():
        encoded = model.encode(rows)
        cells, rest = model.engine.explain(encoded, model.n_draws, trained_on=True)
        correction = model.correction(rows, encoded, is_density=True, relative=True)
        silent = rows.missing() | model.schema.by_column(np.isnan(encoded))
        every.append(Terms(model.schema.by_column(cells) + correction, rest, silent))
    return Terms(*map(np.concatenate, zip(*every, strict=True)))


def drawn_rows(model: VAEModel, n: int, random_state: np.random.RandomState) -> LooseRows:
    """Rows drawn from a model, which any other can read."""
    z = model.engine.sample_latent(n, drawn_seed(random_state), aggregated=False)
    values = model.drawn(z, drawn_seed(random_state))
    columns = {j: model.cells(values[:, j], j, random_state) for j in range(values.shape[1])}
    return LooseRows(columns, n, [column.dtype for column in model.schema.columns])
