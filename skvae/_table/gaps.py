"""Which cells of a table are missing together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skvae._table.tables import Table

FloatArray = NDArray[np.floating]

ROWS = 50_000  # evenly spaced, that the patterns are read off
MOST_PATTERNS = 1_000  # the rarest beyond are left out


class Gaps(NamedTuple):
    """Patterns of missing cells (tuples of columns) and the share of the training rows that have each."""

    patterns: tuple[tuple[int, ...], ...]
    shares: tuple[float, ...]

    def draw(self, n: int, p: int, random_state: np.random.RandomState) -> NDArray[np.bool_]:
        """The missing cells of n rows, shape (n, p): each row has the pattern of a training row drawn at random."""
        table = np.zeros((len(self.patterns), p), dtype=bool)
        for row, columns in zip(table, self.patterns, strict=True):
            row[list(columns)] = True
        drawn: NDArray[np.bool_] = table[random_state.choice(len(table), n, p=self.shares)]
        return drawn


def find_gaps(table: Table, weight: FloatArray) -> Gaps | None:
    """The patterns of a training table; None where no cell is missing."""
    if not table.has_missing():
        return None
    step = slice(None, None, -(-len(table) // ROWS))
    missing = table.take(step).missing()
    rows = np.packbits(missing, axis=1)
    _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    mass = np.bincount(inverse.ravel(), weights=weight[step])
    kept = np.argsort(-mass, kind="stable")[:MOST_PATTERNS]
    kept = kept[mass[kept] > 0]
    shares = mass[kept] / mass[kept].sum()
    patterns = tuple(tuple(np.flatnonzero(missing[i]).tolist()) for i in first[kept])
    return Gaps(patterns, tuple(shares.tolist()))
