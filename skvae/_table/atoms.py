"""Atoms: single values of a number column that hold a share of its rows by themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

SHARE = 0.02  # of the observed rows that a value must hold to be an atom ...
ROWS = 20  # ... and the least number of them


def find_atoms(values: FloatArray, weight: FloatArray) -> tuple[float, ...]:
    """The atoms of a training column without missing cells, ascending.

    A value is an atom if it holds at least SHARE of the weight and stands in at least ROWS rows.
    """
    distinct, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    mass = np.bincount(inverse.ravel(), weights=weight) / weight.sum()
    return tuple(distinct[(mass >= SHARE) & (counts >= ROWS)].tolist())


def part_of(values: FloatArray, atoms: tuple[float, ...]) -> FloatArray:
    """0 where a value is no atom, i + 1 where it is the i-th, NaN where it is missing."""
    table = np.asarray(atoms)
    place = np.minimum(np.searchsorted(table, values), len(table) - 1)
    part: FloatArray = np.where(table[place] == values, place + 1.0, 0.0)
    part[np.isnan(values)] = np.nan
    return part
