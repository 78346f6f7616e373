"""Kinds of columns: what values they accept and how a value becomes a number the model reads.

A kind works on one column and says nothing of torch. A likelihood names the kind it serves. Who has to treat columns in
different ways asks for a fact of their kinds, never for their names: a new kind is a class here.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

NORMAL_IQR = 1.3489795  # interquartile range of the standard normal
ROUNDING = 1e-12  # a spread below this share of the largest value is rounding noise
FAR = 8.0  # for a normal column 28 standard deviations
QUANTILE_ROWS = 200_000

NUMBERS, INDICATORS = "numbers", "indicators"
SEEN: dict[str, Callable[[FloatArray], FloatArray]] = {"log1p": np.log1p}  # `skvae.nn.networks` has the same ones


class Bend(NamedTuple):
    """A function of a column's values, in float64 and NaN where there is none; back in any precision."""

    into: Callable[[FloatArray], FloatArray]
    back: Callable[[FloatArray], FloatArray]
    log_slope: Callable[[FloatArray], FloatArray]  # logarithm of the derivative of `into` where it has these values


LOGARITHM = Bend(lambda values: np.log(np.where(values > 0.0, values, np.nan)), np.exp, np.negative)


def logarithm_above(floor: float) -> Bend:
    """The logarithm of what is above a positive floor, and its tangent there of all that is below, also if negative."""
    edge = float(np.log(floor))

    def into(values: FloatArray) -> FloatArray:
        return np.where(values > floor, np.log(np.maximum(values, floor)), edge + (values - floor) / floor)

    def back(bent: FloatArray) -> FloatArray:
        return np.where(bent > edge, np.exp(bent), floor + (bent - edge) * floor)

    return Bend(into, back, lambda bent: -np.maximum(bent, edge))


class Scaling(NamedTuple):
    """How a column is encoded, (x - location) / scale, and the mean and standard deviation of what comes out."""

    location: float
    scale: float
    mean: float
    spread: float


class Continuous:
    """Real numbers, standardised by their weighted mean and standard deviation."""

    is_coded = False  # whether cells hold codes of levels
    is_scaled = True  # whether location and scale are learned from the column; not where cells have a fixed unit
    bend: Bend | None = None  # the function of the values that is standardised; else it is the values themselves
    has_atoms = True  # whether it is a density, in which single values may have a probability of their own
    pools = False  # whether rare levels may share a code
    is_modelled = True  # whether it has cells at all
    keeps_zeros = False  # whether 0 is a cell's 0, so that a sparse matrix need not store it
    seen_as = NUMBERS  # how the encoder sees cells: as they are, as INDICATORS of codes, or through a function of SEEN

    @staticmethod
    def accept(values: FloatArray, name: Hashable) -> None:
        """Every real number is welcome (NaN is a missing cell)."""

    @staticmethod
    def scaling(values: FloatArray, weight: FloatArray) -> Scaling:
        """Location and scale of the observed values, in data units (or those of their logarithm).

        Values beyond FAR times the 5-95 % range outside that range count as if they stood there, so that one broken
        cell does not decide the scale of its column.
        """
        low, high = weighted_quantiles(thinned(values), thinned(weight), (0.05, 0.95))
        if high - low > ROUNDING * np.abs(values).max():
            values = np.clip(values, low - FAR * (high - low), high + FAR * (high - low))
        unit = float(np.abs(values).max()) or 1.0  # squares of 1e200 would overflow, those of 1e-200 vanish
        mean, std = _moments(values / unit, weight)
        return Scaling(mean * unit, std * unit or 1.0, 0.0, 1.0)  # 0 where only atoms make the column vary

    @classmethod
    def seen(cls, encoded: FloatArray) -> FloatArray:
        """What the encoder's robust scale is taken of."""
        return SEEN[cls.seen_as](encoded) if cls.seen_as in SEEN else encoded


class Positive(Continuous):
    """Positive numbers, whose logarithm is standardised."""

    bend = LOGARITHM

    @staticmethod
    def accept(values: FloatArray, name: Hashable) -> None:
        """Raise ValueError where a value is 0 or less."""
        if values.size and values.min() <= 0.0:
            prefix = "Negative values in data. " if values.min() < 0.0 else ""
            raise ValueError(
                f"{prefix}The log-normal likelihood expects values above 0. The least of column {name!r} is "
                f"{values.min():g}: choose another likelihood for it, or shift it. (Atoms, where they are on, "
                f"take a frequent 0 out, of at least 2 % of the rows and 20 of them.)"
            )


class Binary(Continuous):
    """0/1 values, and fractions in [0, 1]; left as they are."""

    is_scaled = False
    has_atoms = False
    keeps_zeros = True

    @staticmethod
    def accept(values: FloatArray, name: Hashable) -> None:
        """Raise ValueError where a value lies outside [0, 1]."""
        if values.size and (values.min() < 0.0 or values.max() > 1.0):
            prefix = "Negative values in data. " if values.min() < 0.0 else ""
            raise ValueError(
                f"{prefix}The Bernoulli likelihood expects values in [0, 1]. Column {name!r} ranges from "
                f"{values.min():g} to {values.max():g}: rescale it (MinMaxScaler(clip=True)) or choose another "
                f"likelihood for it."
            )

    @staticmethod
    def scaling(values: FloatArray, weight: FloatArray) -> Scaling:
        """No change: location 0, scale 1."""
        return Scaling(0.0, 1.0, *_moments(values, weight))


class Count(Binary):
    """0, 1, 2, ...; left as they are. The encoder sees log(1 + x)."""

    seen_as = "log1p"

    @staticmethod
    def accept(values: FloatArray, name: Hashable) -> None:
        """Raise ValueError where a value is negative or not whole."""
        if values.size and (values.min() < 0.0 or np.any(values != np.floor(values))):
            negative = values.min() < 0.0
            came = values.min() if negative else values[values != np.floor(values)][0]
            raise ValueError(
                f"{'Negative values in data. ' if negative else ''}A likelihood of counts expects 0, 1, 2, ... Column "
                f"{name!r} holds {came:g}: choose another likelihood for it."
            )


class UnorderedLevels(Binary):
    """Levels without order; a cell holds the code of its level."""

    is_coded = True
    pools = True
    keeps_zeros = False
    seen_as = INDICATORS

    @staticmethod
    def accept(values: FloatArray, name: Hashable) -> None:
        """Codes are right by construction."""


class OrderedLevels(UnorderedLevels):
    """Levels in order, which the encoder sees as one number: their codes."""

    pools = False
    seen_as = NUMBERS


class Identifier(UnorderedLevels):
    """Text that hardly repeats, of which there is nothing to learn: it stands outside the model."""

    is_modelled = False


Kind = type[Continuous]

KINDS: dict[str, Kind] = {
    "continuous": Continuous,
    "positive": Positive,
    "binary": Binary,
    "count": Count,
    "categorical": UnorderedLevels,
    "ordinal": OrderedLevels,
    "identifier": Identifier,
}


def keeps_zeros(kind: str | None) -> bool:
    """Whether columns of a kind may come as sparse matrices; not where no such kind is known."""
    return kind in KINDS and KINDS[kind].keeps_zeros


def _moments(values: FloatArray, weight: FloatArray) -> tuple[float, float]:
    mean = np.average(values, weights=weight)
    return float(mean), float(np.sqrt(np.average((values - mean) ** 2, weights=weight)))


def thinned(values: FloatArray) -> FloatArray:
    """Every k-th value, so that at most QUANTILE_ROWS are left to sort."""
    return values[:: -(-len(values) // QUANTILE_ROWS)]


def weighted_quantiles(values: FloatArray, weight: FloatArray, probabilities: tuple[float, ...]) -> FloatArray:
    """The smallest values below or at which lies at least each share of the weight."""
    order = np.argsort(values)
    mass = np.cumsum(weight[order])
    quantiles: FloatArray = values[order][np.searchsorted(mass, np.array(probabilities) * mass[-1])]
    return quantiles


def robust_scaling(values: FloatArray, weight: FloatArray, spread: float) -> tuple[float, float]:
    """Median and interquartile range (in normal standard deviations) of the observed values, in data units.

    Where more than half of the column is one value the interquartile range is 0 or nearly so; `spread`, the standard
    deviation, takes its place then, or 1 where all values are the same.
    """
    lower, median, upper = weighted_quantiles(thinned(values), thinned(weight), (0.25, 0.5, 0.75))
    width = (upper - lower) / NORMAL_IQR
    return float(median), float(width if width > 1e-2 * spread else spread or 1.0)
