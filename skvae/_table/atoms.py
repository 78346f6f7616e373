"""What a number column repeats: atoms, which hold a share of its rows by themselves; heaps; steps between values."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

SHARE = 0.02  # of the observed rows that a value must hold to be an atom ...
ROWS = 20  # ... the least number of them ...
PROMINENCE = 4.0  # ... and how many times the median of its neighbours' shares it must hold ...
BESIDE_ATOMS = 16.0  # ... or the lower median of those of neighbours that are no atoms
NEIGHBOURS = 4  # distinct values on either side
FEW = 16  # distinct values up to which a column is discrete, and no value needs to stand out
HEAP = 3  # rows that a value needs to be a heap ...
HEAPED = 0.5  # ... and share of the column's rows that lie in heaps, without which it has none ...
MOST_HEAPS = 1000  # ... nor where they are more than these ...
COVERED = 0.5  # ... nor where the column takes this share of the multiples of its step: then the step says it all


def find_atoms(values: FloatArray, weight: FloatArray) -> tuple[float, ...]:
    """The atoms of a training column without missing cells, ascending.

    A value is an atom if it holds at least SHARE of the weight, stands in at least ROWS rows, and holds PROMINENCE
    times what its neighbours hold, so that a continuous column that was rounded has none. In a column of at most FEW
    distinct values it need not stand out.
    """
    distinct, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    mass = np.bincount(inverse.ravel(), weights=weight) / weight.sum()
    frequent = np.flatnonzero((mass >= SHARE) & (counts >= ROWS))
    if len(distinct) > FEW:
        frequent = _prominent(mass, frequent)
    return tuple(distinct[frequent].tolist())


def _prominent(mass: FloatArray, frequent: NDArray[np.intp]) -> NDArray[np.intp]:
    """Those of the `frequent` values that stand out of the others around them.

    Atoms are often neighbours (the codes -9, -8 and -7, or 0 to 3 of a scale that goes on), so each that is found is
    left out before the others are looked at again. They then have to stand out far more: in a rounded column one value
    that does so by chance would else bring the next.
    """
    plain = np.ones(len(mass), dtype=bool)
    found = [i for i in frequent if mass[i] >= PROMINENCE * np.median(_nearby(mass, plain, i))]
    plain[found] = False
    while found := [i for i in frequent[plain[frequent]] if mass[i] >= BESIDE_ATOMS * _lower_median(mass, plain, i)]:
        plain[found] = False
    return frequent[~plain[frequent]]


def _lower_median(mass: FloatArray, plain: NDArray[np.bool_], i: int) -> float:
    near = _nearby(mass, plain, i)
    return float(np.quantile(near, 0.5, method="lower")) if len(near) else 0.0


def _nearby(mass: FloatArray, plain: NDArray[np.bool_], i: int) -> FloatArray:
    """The shares of the NEIGHBOURS plain values on either side of value i."""
    reach = NEIGHBOURS + round(1.0 / SHARE)  # no more values than that are atoms
    below, above = slice(max(i - reach, 0), i), slice(i + 1, i + 1 + reach)
    return np.concatenate([mass[below][plain[below]][-NEIGHBOURS:], mass[above][plain[above]][:NEIGHBOURS]])


def atom_of(values: FloatArray, atoms: tuple[float, ...], rounding: float = 0.0) -> FloatArray:
    """0 where a value is no atom, i + 1 where it is the i-th, NaN where it is missing.

    A value is an atom if it differs from it by at most the share `rounding` of it.
    """
    table = np.asarray(atoms)
    place = np.searchsorted(0.5 * table[1:] + 0.5 * table[:-1], values)  # the nearest one
    which: FloatArray = np.where(np.abs(values - table[place]) <= rounding * np.abs(table[place]), place + 1.0, 0.0)
    which[np.isnan(values)] = np.nan
    return which


class Heaps(NamedTuple):
    """Values that several rows of a column hold, ascending, and the ends of what draws become each of them.

    The ends divide the way to the next value of the column by how many rows hold the one and the other.
    """

    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def gather(self, draws: FloatArray, others: FloatArray) -> FloatArray:
        """The heaps that draws lie around; that of `others`, as long, where a draw lies around none."""
        heaps, low, high = (np.asarray(each, dtype=np.float64) for each in self)
        place = np.minimum(np.searchsorted(high, draws), len(heaps) - 1)
        around = (low[place] <= draws) & (draws <= high[place])
        gathered: FloatArray = np.where(around, heaps[place], others).astype(others.dtype)
        return gathered


def find_heaps(values: FloatArray, step: float | None, atoms: tuple[float, ...]) -> Heaps | None:
    """The heaps of a training column without missing cells, all of which are multiples of `step` if there is one.

    Ages in years are heaps where those of infants are in months, and so are the prices of which a table has few. A
    column has them where half of its rows, those at atoms left out, lie in heaps. What only one or two rows hold is
    none: a draw near it says where it is, and no more.
    """
    distinct, counts = np.unique(values[~np.isin(values, atoms)], return_counts=True)
    often = counts >= HEAP
    if len(distinct) < 2 or counts[often].sum() < HEAPED * counts.sum() or often.sum() > MOST_HEAPS:
        return None
    if step is not None and len(distinct) >= COVERED * (distinct[-1] - distinct[0]) / step:
        return None
    ends = distinct[:-1] + counts[:-1] / (counts[:-1] + counts[1:]) * np.diff(distinct)
    low, high = np.append(-np.inf, ends), np.append(ends, np.inf)
    return Heaps(*(tuple(each[often].tolist()) for each in (distinct, low, high)))


def to_multiples(values: FloatArray, step: float) -> FloatArray:
    """The nearest multiples of a step that is 1, 2 or 5 times a power of ten, as they are read from a decimal."""
    nearest: FloatArray = np.round(np.round(values / step) * step, max(0, math.ceil(-math.log10(step))))
    return nearest


def rounded(values: FloatArray, step: float, atoms: tuple[float, ...], low: float, high: float) -> FloatArray:
    """The nearest multiples of `step`; where that is an atom, which has a probability of its own, one beside it."""
    nearest = to_multiples(values, step)
    for atom in atoms:
        there = nearest == atom
        beside = _beside(atom, step, atoms)
        beside = beside[(beside >= low) & (beside <= high)]
        if len(beside) and there.any():
            distance = np.abs(values[there, np.newaxis] - beside)
            nearest[there] = beside[distance.argmin(axis=1)]
    return nearest


def _beside(atom: float, step: float, atoms: tuple[float, ...]) -> FloatArray:
    """The multiples of `step` next to an atom on either side that are no atoms themselves."""
    ways = np.arange(1, len(atoms) + 1) * step  # one of so many is no atom
    sides = [to_multiples(atom + way, step) for way in (-ways, ways)]
    return np.concatenate([side[~np.isin(side, atoms)][:1] for side in sides])
