"""What a number column repeats: atoms, which hold a share of its rows by themselves; heaps; steps between values."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skvae._table.kinds import weighted_quantiles

FloatArray = NDArray[np.floating]

SHARE = 0.02  # of the observed rows that a value must hold to be an atom ...
ROWS = 20  # ... the least number of them ...
PROMINENCE = 4.0  # ... and how many times the median of its neighbours' shares it must hold ...
BESIDE_ATOMS = 16.0  # ... or the lower median of those of neighbours that are no atoms
NEIGHBOURS = 4  # distinct values on either side
FEW = 16  # distinct values up to which a column is discrete, and no value needs to stand out
HEAP = 5  # rows that a value needs to be a heap ...
HEAPED = 0.5  # ... and share of the weight that lies in heaps, without which a column has none ...
MOST_HEAPS = 1000  # ... nor where they are more than these ...
APART = 2.0  # ... nor where the median row's value is nearer to its neighbours, in steps: then the step says it all


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
    above = np.minimum(np.searchsorted(table, values), len(table) - 1)
    below = np.maximum(above - 1, 0)
    with np.errstate(over="ignore"):
        place = np.where(np.abs(values - table[below]) < np.abs(values - table[above]), below, above)
    which: FloatArray = np.where(np.abs(values - table[place]) <= rounding * np.abs(table[place]), place + 1.0, 0.0)
    which[np.isnan(values)] = np.nan
    return which


class Heaps(NamedTuple):
    """Values that several rows of a column hold, ascending, and the ends of the ground of each.

    An end divides the way to the next value of the column in proportion to the weights of both.
    """

    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def gather(self, draws: FloatArray, others: FloatArray) -> FloatArray:
        """The heap on whose ground each draw lies; its place in `others`, of the same shape, where it lies on none."""
        heaps, low, high = (np.asarray(each, dtype=np.float64) for each in self)
        place = np.minimum(np.searchsorted(high, draws), len(heaps) - 1)
        on_it = (low[place] <= draws) & (draws <= high[place])
        gathered: FloatArray = np.where(on_it, heaps[place], others).astype(others.dtype)
        return gathered


def find_heaps(
    values: FloatArray, weight: FloatArray, step: float | None, atoms: tuple[float, ...] = ()
) -> Heaps | None:
    """The heaps of a training column without missing cells; None where it has none.

    Ages in years are heaps where those of infants are in months, and so are prices of a list. Rows at atoms are left
    out. A value that fewer rows hold is none, but has ground of its own. Where there is a `step` between values, a
    column has heaps only if these lie apart: in one that is dense where its rows lie, the values that no training row
    holds are gaps by chance.
    """
    rest = ~np.isin(values, atoms)
    distinct, inverse, counts = np.unique(values[rest], return_inverse=True, return_counts=True)
    mass = np.bincount(inverse.ravel(), weights=weight[rest]).astype(np.float64)
    often = counts >= HEAP
    if len(distinct) < 2 or mass[often].sum() < HEAPED * mass.sum() or often.sum() > MOST_HEAPS:
        return None
    gaps = np.diff(distinct)
    if step is not None and weighted_quantiles(_means_of_neighbours(gaps), mass, (0.5,))[0] < APART * step:
        return None
    ends = distinct[:-1] + mass[:-1] / (mass[:-1] + mass[1:]) * gaps
    low, high = np.append(-np.inf, ends), np.append(ends, np.inf)
    return Heaps(*(tuple(each[often].tolist()) for each in (distinct, low, high)))


def _means_of_neighbours(gaps: FloatArray) -> FloatArray:
    """The mean of the gaps on both sides of each value; at either end of the one there is."""
    padded = np.concatenate([gaps[:1], gaps, gaps[-1:]])
    means: FloatArray = 0.5 * padded[:-1] + 0.5 * padded[1:]
    return means


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
