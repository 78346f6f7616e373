"""Kinds of columns: what values they accept and how a value becomes a number the model reads.

A kind works on one column at fit (`accept`, `scaling`) and says nothing of torch; `TableSchema` applies the scaling to
all columns at once. A likelihood names the kind it serves.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

NORMAL_IQR = 1.3489795  # interquartile range of the standard normal


class Continuous:
    """Real numbers, standardised by their weighted mean and standard deviation."""

    @staticmethod
    def accept(values: FloatArray, name: Hashable) -> None:
        """Every real number is welcome (NaN is a missing cell)."""

    @staticmethod
    def scaling(values: FloatArray, weight: FloatArray) -> tuple[float, float]:
        """Location and scale of the observed values, in data units."""
        unit = np.abs(values).max() or 1.0  # squares of 1e200 would overflow, those of 1e-200 vanish
        small = values / unit
        mean = np.average(small, weights=weight)
        return float(mean * unit), float(np.sqrt(np.average((small - mean) ** 2, weights=weight)) * unit)


class Binary:
    """0/1 values, and fractions in [0, 1]; left as they are."""

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
    def scaling(values: FloatArray, weight: FloatArray) -> tuple[float, float]:
        """No change: location 0, scale 1."""
        return 0.0, 1.0


Kind = type[Continuous] | type[Binary]

KINDS: dict[str, Kind] = {"continuous": Continuous, "binary": Binary}


def robust_scaling(values: FloatArray, weight: FloatArray, spread: float) -> tuple[float, float]:
    """Median and interquartile range (in normal standard deviations) of the observed values, in data units.

    Where more than half of the column is one value the interquartile range is 0 or nearly so; `spread`, the standard
    deviation, takes its place then.
    """
    order = np.argsort(values)
    mass = np.cumsum(weight[order])
    lower, median, upper = values[order][np.searchsorted(mass, np.array([0.25, 0.5, 0.75]) * mass[-1])]
    width = (upper - lower) / NORMAL_IQR
    return float(median), float(width if width > 1e-2 * spread else spread)
