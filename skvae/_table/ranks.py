"""Draws of a column of numbers, rank by rank, as the values of its training rows.

A model is nearly right about how a column is distributed; the training rows say it exactly. So the value drawn that a
share u of the model's draws does not exceed becomes the u-quantile of the training rows, F_train^-1(F_model(x)): a
monotone map for each column by itself, which leaves the ranks, and with them how columns depend on one another, as they
are (new margins for a copula: Sklar 1959; of climate models it is called quantile mapping).
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from skvae._table.atoms import HEAP

FloatArray = NDArray[np.floating]

FEWEST = 20  # training rows with a value that is no atom, and draws of the model, without which there is no map
QUANTILES = 256  # of the training rows, evenly spaced, that a map holds ...
ENDS = 16  # ... beside so many distinct values at either end ...
MOST = 1000  # ... and the values that most rows hold, at most so many, of those that HEAP rows hold


class Ranks(NamedTuple):
    """Cells that a model draws, ascending, and the value of the training rows at the same rank as each."""

    cells: tuple[float, ...]
    values: tuple[float, ...]

    def told(self, cells: FloatArray) -> FloatArray:
        """The values of drawn cells, linear in between: none outside those of the training rows."""
        values: FloatArray = np.interp(cells, self.cells, self.values).astype(cells.dtype)
        return values

    @classmethod
    def between(cls, drawn: FloatArray, values: FloatArray, weight: FloatArray) -> Self | None:
        """From cells that a model drew to the values of training rows, none of which are missing or atoms.

        None where there are too few of either.
        """
        if min(len(drawn), len(values)) < FEWEST:
            return None
        shares, held = _quantiles(values, weight)
        drawn = np.sort(drawn)
        cells = np.interp(shares, (np.arange(len(drawn)) + 0.5) / len(drawn), drawn)
        return cls(tuple(cells.tolist()), tuple(held.tolist()))


def _quantiles(values: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Shares of the weight and the quantiles there, each distinct value at both ends of its own share.

    What one row holds is a point, in the middle of that row's share; what c rows hold is c such points, between which
    the quantile is the same. Between the values of two rows it is linear.
    """
    distinct, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    mass = np.bincount(inverse.ravel(), weights=weight).astype(np.float64)
    ends = np.cumsum(mass)
    half_row = 0.5 * mass / counts
    kept = _kept(counts)
    shares = np.column_stack([ends - mass + half_row, ends - half_row])[kept] / ends[-1]
    needed = np.column_stack([np.ones(len(kept), dtype=bool), counts[kept] > 1]).ravel()  # of one row both are the same
    return shares.ravel()[needed], np.repeat(distinct[kept], 2)[needed]


def _kept(counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Places of the distinct values that a map holds, by how many rows hold each."""
    n = len(counts)
    often = np.argsort(-counts, kind="stable")[:MOST]
    evenly = np.searchsorted(np.cumsum(counts), np.linspace(1.0, counts.sum(), QUANTILES))
    outer = np.r_[: min(ENDS, n), max(n - ENDS, 0) : n]
    return np.unique(np.concatenate([often[counts[often] >= HEAP], evenly, outer]))
