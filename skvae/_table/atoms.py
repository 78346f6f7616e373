"""Atoms: single values of a number column that hold a share of its rows by themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

SHARE = 0.02  # of the observed rows that a value must hold to be an atom ...
ROWS = 20  # ... the least number of them ...
PROMINENCE = 4.0  # ... and how many times the median of its neighbours' shares it must hold
NEIGHBOURS = 4  # distinct values on either side
FEW = 16  # distinct values up to which a column is discrete, and no value needs to stand out


def find_atoms(values: FloatArray, weight: FloatArray) -> tuple[float, ...]:
    """The atoms of a training column without missing cells, ascending.

    A value is an atom if it holds at least SHARE of the weight, stands in at least ROWS rows, and holds PROMINENCE
    times what its neighbours hold, so that a continuous column that was rounded has none. In a column of at most FEW
    distinct values it need not stand out.
    """
    distinct, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    mass = np.bincount(inverse.ravel(), weights=weight) / weight.sum()
    frequent = (mass >= SHARE) & (counts >= ROWS)
    if len(distinct) > FEW:
        frequent &= mass >= PROMINENCE * _nearby(mass)
    return tuple(distinct[frequent].tolist())


def _nearby(mass: FloatArray) -> FloatArray:
    """The median share of the NEIGHBOURS values on either side of each."""
    padded = np.pad(mass, NEIGHBOURS, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1)
    median: FloatArray = np.nanmedian(np.delete(windows, NEIGHBOURS, axis=1), axis=1)
    return median


def part_of(values: FloatArray, atoms: tuple[float, ...], rounding: float = 0.0) -> FloatArray:
    """0 where a value is no atom, i + 1 where it is the i-th, NaN where it is missing.

    A value is an atom if it differs from it by at most the share `rounding` of it.
    """
    table = np.asarray(atoms)
    place = np.searchsorted(0.5 * table[1:] + 0.5 * table[:-1], values)  # the nearest one
    part: FloatArray = np.where(np.abs(values - table[place]) <= rounding * np.abs(table[place]), place + 1.0, 0.0)
    part[np.isnan(values)] = np.nan
    return part
