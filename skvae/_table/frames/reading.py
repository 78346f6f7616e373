"""Reading a frame: its names, its columns one at a time, its rows."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skvae._table.frames.dtypes import PANDAS, POLARS, container_of, dtype_of, is_dictionary, spelled
from skvae._table.frames.times import seconds

Header = tuple[tuple[Hashable, ...], str | None]  # names of the levels of a frame's columns, and their dtype where one


def names_of(frame: Any) -> list[Hashable]:
    """Column names of a frame; duplicates are an error."""
    names = list(frame.columns)
    repeated = sorted({str(name) for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"Column names must be unique. Got {', '.join(repeated)} more than once; rename the columns.")
    return names


def header_of(frame: Any) -> Header | None:
    """What the names alone do not say of a pandas frame's columns; None for other containers.

    The dtype is None for a MultiIndex, so that a flat index of tuples is told from it.
    """
    if container_of(frame) != PANDAS:
        return None
    columns = frame.columns
    return tuple(columns.names), None if columns.nlevels > 1 else spelled(columns.dtype)


def unmasked(X: Any) -> Any:
    """X with NaN in the masked cells of a NumPy masked array, and in those of an array of objects that are NA."""
    if isinstance(X, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(X)
        data = np.asarray(X.data)
        return np.where(mask, np.nan, data) if mask.any() else data
    if isinstance(X, np.ndarray) and X.dtype == object:
        return np.where(pd.isna(X), np.nan, X)
    return X


# -- a column ----------------------------------------------------------------------------------------------------------


def column_at(frame: Any, j: int) -> Any:
    """Column j, dense."""
    if container_of(frame) == POLARS:
        return frame.to_series(j)
    series = frame.iloc[:, j]
    return series.sparse.to_dense() if isinstance(series.dtype, pd.SparseDtype) else series


def numbers(frame: Any, j: int) -> NDArray[Any]:
    """Column j as float64, NaN where missing; times as seconds."""
    series = column_at(frame, j)
    if dtype_of(series).is_time:
        return seconds(series)
    if container_of(frame) == POLARS:
        polars = sys.modules["polars"]
        column: NDArray[Any] = series.cast(polars.Float64).to_numpy()
        return column
    if series.dtype == object:
        series = pd.to_numeric(series)  # True, False and None
    return series.to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[no-any-return]


def extent(frame: Any, j: int, rows: NDArray[np.intp]) -> tuple[int, int]:
    """The least and the greatest integer of column j among some rows, exactly (a float has 53 bits)."""
    series = column_at(frame, j)
    some = series[rows] if container_of(frame) == POLARS else series.iloc[rows]
    return int(some.min()), int(some.max())


def labels(frame: Any, j: int) -> tuple[NDArray[np.intp], list[Any], bool]:
    """Column j as codes (-1 where missing) under a list of values, and whether its dtype declares that list."""
    column = column_at(frame, j)
    series: Any = _listed(column)
    if isinstance(series.dtype, pd.CategoricalDtype):
        declared = isinstance(column.dtype, pd.CategoricalDtype) or container_of(frame) == POLARS
        return series.cat.codes.to_numpy().astype(np.intp), list(series.cat.categories), declared
    if dtype_of(column).family == "float":
        series = numbers(frame, j)  # not every dtype of floats can be sorted
    codes, values = pd.factorize(series, sort=True)
    return codes.astype(np.intp), [_plain(value) for value in values], False


def _listed(column: Any) -> Any:
    """A column as a pandas one, a categorical one where its dtype is one of categories."""
    if isinstance(column, pd.Series):
        return _categorical(column.astype(object), _dictionary_of(column)) if is_dictionary(column.dtype) else column
    polars = sys.modules["polars"]
    family = str(column.dtype).split("(")[0]
    if family not in ("Enum", "Categorical"):
        return pd.Series(column.to_list(), dtype=object if column.dtype.is_integer() else None)
    values = column.cast(polars.String).to_list()
    known = column.dtype.categories.to_list() if family == "Enum" else sorted(set(values) - {None})
    return _categorical(values, known)


def _categorical(values: Any, categories: list[Any]) -> Any:
    return pd.Series(pd.Categorical(values, categories=pd.Index(categories, dtype=object, tupleize_cols=False)))


def _dictionary_of(series: Any) -> list[Any]:
    """The values of an Arrow dictionary, in its order."""
    chunks = series.array.__arrow_array__().unify_dictionaries().chunks
    values = chunks[0].dictionary.to_pylist() if chunks else []
    return [value for value in dict.fromkeys(values) if value is not None]


def _plain(value: Any) -> Any:
    """A Python number for a NumPy one."""
    return value.item() if isinstance(value, np.generic) else value


def none_if_missing(value: Any) -> Any:
    """None for NaN, NA, NaT and None, else a plain Python value."""
    missing = pd.api.types.is_scalar(value) and pd.isna(value)
    return None if missing else _plain(value)


def missing(frame: Any, j: int) -> NDArray[np.bool_]:
    """Which cells of column j are missing."""
    series = column_at(frame, j)
    if container_of(frame) == POLARS:
        nothing: NDArray[np.bool_] = series.is_null().to_numpy()
        return nothing | np.isnan(numbers(frame, j)) if series.dtype.is_float() else nothing
    return series.isna().to_numpy()  # type: ignore[no-any-return]


# -- rows --------------------------------------------------------------------------------------------------------------


def values_of(frame: Any) -> dict[Hashable, list[Any]]:
    """Each column as a list of plain Python values, None where missing."""
    columns = {name: column_at(frame, j).to_list() for j, name in enumerate(names_of(frame))}
    return {name: [none_if_missing(value) for value in values] for name, values in columns.items()}


def slice_of(frame: Any, rows: slice) -> Any:
    """Consecutive rows of a frame, without a copy."""
    return frame[rows] if container_of(frame) == POLARS else frame.iloc[rows]


def rows_at(frame: Any, index: NDArray[np.intp]) -> Any:
    """A copy of some rows of a frame."""
    return frame[index] if container_of(frame) == POLARS else frame.iloc[index]
