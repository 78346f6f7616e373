"""The schema of a table: what fit learned about its columns, frozen, and the arithmetic between units."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvae._table import frames
from skvae._table.kinds import KINDS, ROUNDING, FloatArray, robust_scaling

QUANTILE_ROWS = 200_000  # the robust scaling of a longer column is read off every k-th row
LARGEST = {np.dtype(np.float32): 1e15, np.dtype(np.float64): 1e100}  # standardised cells beyond would overflow squared


@dataclass(frozen=True)
class Column:
    """One column.

    `location` and `scale` (data units) standardise it; `centre` and `width` (standardised units) are its robust
    location and scale, for the encoder's eyes only. A constant column stands outside the model: `constant` is its
    value, NaN if no value was ever observed.
    """

    name: Hashable
    dtype: str
    kind: str
    location: float = 0.0
    scale: float = 1.0
    centre: float = 0.0
    width: float = 1.0
    mean: float = 0.0
    constant: float | None = None


@dataclass(frozen=True)
class TableSchema:
    """All columns of a table, its container, and the number of training rows."""

    container: str
    columns: tuple[Column, ...]
    n_rows: int

    @cached_property
    def active(self) -> NDArray[np.intp]:
        """Indices of the columns inside the model."""
        return np.flatnonzero([column.constant is None for column in self.columns])

    def of_active(self, attribute: str) -> FloatArray:
        """One number per active column."""
        return np.array([getattr(self.columns[j], attribute) for j in self.active], dtype=np.float64)

    def name_of_active(self, i: int) -> Hashable:
        """Name of the i-th column inside the model."""
        name: Hashable = self.columns[self.active[i]].name
        return name

    def encode(self, X: FloatArray) -> FloatArray:
        """Standardised active columns, in float64, finite or NaN.

        Parameters
        ----------
        X : ndarray of shape (n, p)
            Data units.

        Returns
        -------
        ndarray of shape (n, n_active)
        """
        self.check_support(X)
        with np.errstate(over="ignore"):
            out = X[:, self.active].astype(np.float64)
            out -= self.of_active("location")
            out /= self.of_active("scale")
        limit = LARGEST[np.dtype(np.float32) if X.dtype == np.float32 else np.dtype(np.float64)]
        return np.clip(out, -limit, limit, out=out)

    def decode(self, encoded: FloatArray) -> FloatArray:
        """All p columns in data units, constants filled in."""
        out = np.empty((len(encoded), len(self.columns)), dtype=encoded.dtype)
        for j, column in enumerate(self.columns):
            if column.constant is not None:
                out[:, j] = column.constant
        with np.errstate(over="ignore"):
            out[:, self.active] = encoded * self.of_active("scale") + self.of_active("location")
        return out

    def log_jacobian(self, X: FloatArray) -> FloatArray:
        """Log |d encoded / dx| per row over the observed active cells, in nats."""
        observed = ~np.isnan(X[:, self.active])
        result: FloatArray = -(observed @ np.log(self.of_active("scale")))
        return result

    def surprises(self, X: FloatArray) -> NDArray[np.bool_]:
        """Which cells of constant columns are observed and differ from the constant, shape (n, p)."""
        out = np.zeros(X.shape, dtype=bool)
        for j, column in enumerate(self.columns):
            if column.constant is not None and not np.isnan(column.constant):
                value = X[:, j]
                out[:, j] = ~np.isnan(value) & (np.abs(value - column.constant) > 1e-6 * abs(column.constant))
        return out

    @property
    def surprise(self) -> float:
        """Nats that a differing cell of a constant column costs: log(n + 2).

        By Laplace's rule of succession a value not seen in n rows has probability 1 / (n + 2).
        """
        return float(np.log(self.n_rows + 2))

    def check_support(self, X: FloatArray) -> None:
        """Raise ValueError where a value lies outside the support of its column's likelihood."""
        for j in self.active:
            column = self.columns[j]
            values = X[:, j]
            KINDS[column.kind].accept(values[~np.isnan(values)], column.name)

    def restore(self, X: FloatArray) -> Any:
        """The rows in the container of fit, with its names and dtypes."""
        if self.container == frames.NUMPY:
            return X
        return frames.to_frame(
            X, self.container, [column.name for column in self.columns], [column.dtype for column in self.columns]
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain Python data, for persistence."""
        return {
            "container": self.container,
            "columns": [asdict(column) for column in self.columns],
            "n_rows": self.n_rows,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TableSchema:
        """Inverse of `to_dict`."""
        return cls(data["container"], tuple(Column(**column) for column in data["columns"]), data["n_rows"])


def infer_schema(
    X: FloatArray,
    weight: FloatArray | None,
    *,
    container: str,
    names: Sequence[Hashable],
    dtypes: Sequence[str],
    kinds: Sequence[str],
) -> TableSchema:
    """Learn the schema from training rows.

    Parameters
    ----------
    X : ndarray of shape (n, p)
        Data units, NaN where missing.
    weight : ndarray of shape (n,) or None
        Rows of weight 0 are as good as absent.
    container, names, dtypes, kinds
        The container, and one name, dtype and kind per column.
    """
    weight = np.ones(len(X)) if weight is None else weight
    columns = tuple(
        _infer_column(X[:, j], weight, name, dtype, kind)
        for j, (name, dtype, kind) in enumerate(zip(names, dtypes, kinds, strict=True))
    )
    return TableSchema(container, columns, int(np.count_nonzero(weight)))


def _infer_column(values: FloatArray, weight: FloatArray, name: Hashable, dtype: str, kind: str) -> Column:
    used = ~np.isnan(values) & (weight > 0)
    values, weight = values[used].astype(np.float64), weight[used]
    KINDS[kind].accept(values, name)
    if len(values) == 0:
        return Column(name, dtype, kind, constant=float("nan"))
    if np.ptp(values) <= ROUNDING * np.abs(values).max():
        return Column(name, dtype, kind, constant=float(values[0]))
    scaling = KINDS[kind].scaling(values, weight)
    encoded = (values - scaling.location) / scaling.scale
    centre, width = robust_scaling(encoded, weight, scaling.spread)
    return Column(name, dtype, kind, scaling.location, scaling.scale, centre, width, scaling.mean)
