"""The schema of a table: what fit learned about its columns, frozen, and the arithmetic between units."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvae._table import frames
from skvae._table.kinds import KINDS, ROUNDING, FloatArray, robust_scaling, thinned, weighted_quantiles
from skvae._table.marginals import PROBABILITIES, NormalScores, normal_scores

QUANTILE_ROWS = 200_000  # the robust scaling of a longer column is read off every k-th row
LARGEST = {np.dtype(np.float32): 1e15, np.dtype(np.float64): 1e100}  # standardised cells beyond would overflow squared


@dataclass(frozen=True)
class Column:
    """One column.

    `location` and `scale` (data units) standardise it; `centre` and `width` (standardised units) are its robust
    location and scale, for the encoder's eyes only. `normal_scores` is what a standardised value is mapped through
    where the marginals are made normal. A constant column stands outside the model: `constant` is its value, NaN if no
    value was ever observed.
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
    normal_scores: NormalScores | None = None


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
        """Standardised (and, where asked for, normal) active columns, in float64, finite or NaN.

        Parameters
        ----------
        X : ndarray of shape (n, p)
            Data units.

        Returns
        -------
        ndarray of shape (n, n_active)
        """
        self.check_support(X)
        out = self._standardised(X)
        for i, scores in self._mapped:
            out[:, i] = scores.encode(out[:, i])
        return out

    def _standardised(self, X: FloatArray) -> FloatArray:
        with np.errstate(over="ignore"):
            out = X[:, self.active].astype(np.float64)
            out -= self.of_active("location")
            out /= self.of_active("scale")
        limit = LARGEST[np.dtype(np.float32) if X.dtype == np.float32 else np.dtype(np.float64)]
        return np.clip(out, -limit, limit, out=out)

    @cached_property
    def _mapped(self) -> list[tuple[int, NormalScores]]:
        """The active columns whose marginals are made normal, by their place among the active ones."""
        maps = [self.columns[j].normal_scores for j in self.active]
        return [(i, scores) for i, scores in enumerate(maps) if scores is not None]

    def decode(self, encoded: FloatArray) -> FloatArray:
        """All p columns in data units, constants filled in."""
        out = np.empty((len(encoded), len(self.columns)), dtype=encoded.dtype)
        for j, column in enumerate(self.columns):
            if column.constant is not None:
                out[:, j] = column.constant
        if self._mapped:
            encoded = encoded.copy()
        for i, scores in self._mapped:
            encoded[:, i] = scores.decode(encoded[:, i])
        with np.errstate(over="ignore"):
            out[:, self.active] = encoded * self.of_active("scale") + self.of_active("location")
        return out

    def log_jacobian(self, X: FloatArray) -> FloatArray:
        """Log |d encoded / dx| of each active cell, shape (n, n_active), in nats; 0 where it is missing."""
        out = np.where(np.isnan(X[:, self.active]), 0.0, -np.log(self.of_active("scale")))
        if self._mapped:
            standardised = self._standardised(X)
        for i, scores in self._mapped:
            out[:, i] += np.nan_to_num(scores.log_slope(standardised[:, i]))
        return out

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
            "columns": [_plain(column) for column in self.columns],
            "n_rows": self.n_rows,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TableSchema:
        """Inverse of `to_dict`."""
        return cls(data["container"], tuple(_column(**column) for column in data["columns"]), data["n_rows"])


def _plain(column: Column) -> dict[str, Any]:
    scores = column.normal_scores
    return asdict(replace(column, normal_scores=None)) | {"normal_scores": None if scores is None else tuple(scores)}


def _column(*, normal_scores: Any = None, **rest: Any) -> Column:
    return Column(**rest, normal_scores=None if normal_scores is None else NormalScores(*map(tuple, normal_scores)))


def infer_schema(
    X: FloatArray,
    weight: FloatArray | None,
    *,
    container: str,
    names: Sequence[Hashable],
    dtypes: Sequence[str],
    kinds: Sequence[str],
    marginals: str = "linear",
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
    marginals : {"linear", "normal"}
        Whether continuous columns are standardised only, or also mapped to normal scores.
    """
    weight = np.ones(len(X)) if weight is None else weight
    columns = tuple(
        _infer_column(X[:, j], weight, name, dtype, kind, marginals)
        for j, (name, dtype, kind) in enumerate(zip(names, dtypes, kinds, strict=True))
    )
    return TableSchema(container, columns, int(np.count_nonzero(weight)))


def _infer_column(
    values: FloatArray, weight: FloatArray, name: Hashable, dtype: str, kind: str, marginals: str
) -> Column:
    used = ~np.isnan(values) & (weight > 0)
    values, weight = values[used].astype(np.float64), weight[used]
    KINDS[kind].accept(values, name)
    if len(values) == 0:
        return Column(name, dtype, kind, constant=float("nan"))
    if np.ptp(values) <= ROUNDING * np.abs(values).max():
        return Column(name, dtype, kind, constant=float(values[0]))
    scaling = KINDS[kind].scaling(values, weight)
    encoded = (values - scaling.location) / scaling.scale
    if marginals == "normal" and kind == "continuous":
        quantiles = weighted_quantiles(thinned(encoded), thinned(weight), tuple(PROBABILITIES))
        # The scores are standard normal, so mean, centre and width are known.
        return Column(name, dtype, kind, scaling.location, scaling.scale, normal_scores=normal_scores(quantiles))
    centre, width = robust_scaling(encoded, weight, scaling.spread)
    return Column(name, dtype, kind, scaling.location, scaling.scale, centre, width, scaling.mean)
