"""The border to data frames: the only file that knows pandas and polars."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skvae._table.levels import Levels

NUMPY, PANDAS, POLARS = "numpy", "pandas", "polars"

DATES = "turn it into numbers first, for example days since a fixed date"


class Format(NamedTuple):
    """How a column goes back into a frame: its name, its dtype as `dtypes_of` names it, its levels where coded."""

    name: Hashable
    dtype: str
    levels: Levels | None


def container_of(X: Any) -> str:
    """Which container X is: "pandas", "polars" or (everything else) "numpy"."""
    if isinstance(X, pd.DataFrame):
        return PANDAS
    polars = sys.modules.get("polars")
    if polars is not None and isinstance(X, polars.DataFrame):
        return POLARS
    if polars is not None and isinstance(X, polars.LazyFrame):
        raise TypeError("X must be an array or a data frame. Got a polars LazyFrame: collect() it first.")
    return NUMPY


def names_of(frame: Any) -> list[Hashable]:
    """Column names of a frame; duplicates are an error."""
    names = list(frame.columns)
    repeated = sorted({str(name) for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"Column names must be unique. Got {', '.join(repeated)} more than once; rename the columns.")
    return names


# -- what the dtypes say -----------------------------------------------------------------------------------------------


def dtypes_of(frame: Any) -> list[str]:
    """One of "bool", "integer", "float", "category", "ordered", "text" per column, then a colon and its own dtype.

    Raises
    ------
    TypeError
        For dates and for columns of several types, naming the way out.
    """
    if container_of(frame) == POLARS:
        return [f"{_polars_family(name, dtype)}:{dtype}" for name, dtype in frame.schema.items()]
    return [_pandas_dtype(name, frame.iloc[:, j]) for j, name in enumerate(frame.columns)]


def _pandas_dtype(name: Hashable, column: Any) -> str:
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return f"{'ordered' if dtype.ordered else 'category'}:{dtype.categories.dtype}"
    return f"{_pandas_family(name, column)}:{dtype}"


def _pandas_family(name: Hashable, column: Any) -> str:
    types, dtype = pd.api.types, column.dtype
    if types.is_bool_dtype(dtype):
        return "bool"
    if types.is_integer_dtype(dtype):
        return "integer"
    if types.is_float_dtype(dtype):
        return "float"
    if any(word in str(dtype) for word in ("date", "time", "duration")):
        raise not_a_number(name, str(dtype), DATES)
    if types.is_object_dtype(dtype):
        return _object_family(name, column)
    if types.is_string_dtype(dtype):
        return "text"
    raise not_a_number(name, str(dtype), "convert it with pd.to_numeric, or encode it first")


def _object_family(name: Hashable, column: Any) -> str:
    """The family of a column of Python objects, by the types that pandas finds in it."""
    found = pd.api.types.infer_dtype(column, skipna=True)
    families = {"boolean": "bool", "string": "text", "empty": "float"}
    if found in families:
        return families[found]
    if "date" in found or "time" in found:
        raise not_a_number(name, f"object ({found})", DATES)
    if found in ("integer", "floating", "mixed-integer-float", "decimal"):
        raise not_a_number(name, "object", "convert it with pd.to_numeric, or encode it first")
    used = sorted({type(value).__name__ for value in column[column.notna()]})
    raise not_a_number(
        name,
        f"object and holds values of several types ({', '.join(used)})",
        "make them one type, for example with .astype(str).astype('category')",
    )


def _polars_family(name: str, dtype: Any) -> str:
    family = str(dtype).split("(")[0]
    if family == "Boolean":
        return "bool"
    if family in ("Categorical", "Enum"):
        return "category"
    if family == "String":
        return "text"
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric() or family == "Null":
        return "float"
    if dtype.is_temporal():
        raise not_a_number(name, str(dtype), DATES)
    raise not_a_number(name, str(dtype), "cast it to a numeric dtype, or encode it first")


def not_a_number(name: Hashable, dtype: str, way_out: str) -> TypeError:
    """The error for a column that no likelihood can read as it is."""
    # scikit-learn's checks look for "argument must be ... string ... number" in this message.
    return TypeError(
        f"A column must be numeric or categorical (argument must be a real number, not a string or an object). "
        f"Column {name!r} has dtype {dtype}: {way_out}."
    )


def all_single(dtypes: Sequence[str]) -> bool:
    """Whether every column is a float of single precision."""
    return bool(dtypes) and all(d.lower().endswith((":float32", ":float[pyarrow]")) for d in dtypes)


def rounding(dtype: str) -> float:
    """By which share of itself a number may differ from what it was, for having been held in this dtype."""
    family, own = dtype.split(":", 1)
    if family != "float":
        return 0.0
    if "16" in own or "half" in own:
        return float(np.finfo(np.float16).eps)
    return float(np.finfo(np.float32).eps) if "32" in own or own.startswith("float[") else 1e-12


# -- reading a column --------------------------------------------------------------------------------------------------


def numbers(frame: Any, j: int) -> NDArray[Any]:
    """Column j as float64, NaN where missing."""
    if container_of(frame) == POLARS:
        polars = sys.modules["polars"]
        column: NDArray[Any] = frame.to_series(j).cast(polars.Float64).to_numpy()
        return column
    series = frame.iloc[:, j]
    if series.dtype == object:
        series = pd.to_numeric(series)  # True, False and None
    return series.to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[no-any-return]


def labels(frame: Any, j: int) -> tuple[NDArray[np.intp], list[Any], bool]:
    """Column j as codes (-1 where missing) under a list of values, and whether its dtype declares that list."""
    if container_of(frame) == POLARS:
        series, declared = _polars_labels(frame.to_series(j))
    else:
        series, declared = frame.iloc[:, j], None
    if declared is not None:
        series = pd.Series(pd.Categorical(series, categories=declared))
    if isinstance(series.dtype, pd.CategoricalDtype):
        return series.cat.codes.to_numpy().astype(np.intp), list(series.cat.categories), True
    codes, values = pd.factorize(series, sort=True)
    return codes.astype(np.intp), [_plain(value) for value in values], False


def _polars_labels(series: Any) -> tuple[Any, list[Any] | None]:
    polars = sys.modules["polars"]
    family = str(series.dtype).split("(")[0]
    if family == "Enum":
        return series.cast(polars.String).to_list(), series.dtype.categories.to_list()
    if family == "Categorical":
        values = series.cast(polars.String).to_list()
        return values, sorted({value for value in values if value is not None})
    return pd.Series(series.to_list()), None


def _plain(value: Any) -> Any:
    """A Python number for a NumPy one."""
    return value.item() if isinstance(value, np.generic) else value


def none_if_missing(value: Any) -> Any:
    """None for NaN, NA, NaT and None, else a plain Python value."""
    missing = pd.api.types.is_scalar(value) and pd.isna(value)
    return None if missing else _plain(value)


def values_of(frame: Any) -> dict[Hashable, list[Any]]:
    """Each column as a list of plain Python values, None where missing."""
    columns = {name: frame[name].to_list() for name in names_of(frame)}
    return {name: [none_if_missing(value) for value in values] for name, values in columns.items()}


def slice_of(frame: Any, rows: slice) -> Any:
    """Consecutive rows of a frame, without a copy."""
    return frame[rows] if container_of(frame) == POLARS else frame.iloc[rows]


def rows_at(frame: Any, index: NDArray[np.intp]) -> Any:
    """A copy of some rows of a frame."""
    return frame[index] if container_of(frame) == POLARS else frame.iloc[index]


def missing(frame: Any, j: int) -> NDArray[np.bool_]:
    """Which cells of column j are missing."""
    if container_of(frame) == POLARS:
        series = frame.to_series(j)
        nothing: NDArray[np.bool_] = series.is_null().to_numpy()
        return nothing | np.isnan(numbers(frame, j)) if series.dtype.is_float() else nothing
    return frame.iloc[:, j].isna().to_numpy()  # type: ignore[no-any-return]


# -- writing -----------------------------------------------------------------------------------------------------------


def to_frame(columns: Sequence[Any], container: str, formats: Sequence[Format]) -> Any:
    """A frame of the given container with columns cast back to their dtypes.

    A column is an array of numbers, or the list of its values where it is coded. Integer columns are rounded, boolean
    ones cut at one half; a NaN in either leaves the column a float where the dtype has no room for it.
    """
    build = _polars_column if container == POLARS else _pandas_column
    data = {fmt.name: build(values, fmt) for values, fmt in zip(columns, formats, strict=True)}
    if container == POLARS:
        import polars

        return polars.DataFrame(data)
    return pd.DataFrame(data)


def _pandas_column(values: Any, fmt: Format) -> Any:
    family, own = _told(fmt)
    if fmt.levels is not None and fmt.levels.categories is not None:
        categories = pd.Index(list(fmt.levels.categories), dtype=own)
        return pd.Series(pd.Categorical(values, categories=categories, ordered=fmt.levels.ordered))
    if fmt.levels is not None and family == "text":
        return pd.Series(values, dtype=own)
    numbers = _as_numbers(values)
    column = _cast(numbers, fmt.dtype)
    if column.dtype.kind == "f" and family != "float":
        return _with_gaps(column, fmt.dtype)
    return pd.Series(column).astype(own)


def _told(fmt: Format) -> tuple[str, Any]:
    """A column's family and its own dtype, as pandas and polars call it."""
    family, own = fmt.dtype.split(":", 1)
    return family, own


def _with_gaps(column: NDArray[np.floating], dtype: str) -> Any:
    """A boolean or integer column with missing cells: in its dtype where that has room for them, else as floats."""
    own: Any = dtype.split(":", 1)[1]
    if not (own[0].isupper() or own in ("boolean", "object") or "pyarrow" in own):
        return pd.Series(column)
    there = ~np.isnan(column)
    whole = pd.Series(_cast(np.where(there, column, 0.0), dtype)).astype(own)
    return whole.where(there, None if own == "object" else pd.NA)


def _polars_column(values: Any, fmt: Format) -> Any:
    import polars

    family, own = fmt.dtype.split(":", 1)
    if fmt.levels is not None and fmt.levels.categories is not None:
        dtype: Any = polars.Enum(list(fmt.levels.categories)) if own.startswith("Enum") else polars.Categorical
        return polars.Series(values, dtype=polars.String).cast(dtype)
    if fmt.levels is not None and family == "text":
        return polars.Series(values, dtype=polars.String)
    if own == "Null":
        return polars.Series([None] * len(values), dtype=polars.Null)
    column = _cast(_as_numbers(values), fmt.dtype)
    dtype = getattr(polars, own, polars.Float64)  # a Decimal comes back as a float
    if column.dtype.kind == "f" and family != "float":
        there = ~np.isnan(column)
        whole = polars.Series(_cast(np.where(there, column, 0.0), fmt.dtype)).cast(dtype)
        return whole.zip_with(
            polars.Series(there), polars.Series([None], dtype=dtype).extend_constant(None, len(there) - 1)
        )
    return polars.Series(column).cast(dtype)


def _as_numbers(values: Any) -> NDArray[np.floating]:
    if isinstance(values, np.ndarray):
        return values
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def marked(X: Any, value: Any) -> Any:
    """X, an array or a frame, with its cells that equal `value` marked as missing."""
    container = container_of(X)
    if container == PANDAS:
        return X.mask(X == value)
    if container == POLARS:
        polars = sys.modules["polars"]
        text = isinstance(value, str)
        fits = [(str(dtype).split("(")[0] in ("String", "Categorical", "Enum")) == text for dtype in X.schema.values()]
        columns = [polars.col(name) for name, fit in zip(X.columns, fits, strict=True) if fit]
        return X.with_columns(polars.when(column != value).then(column).otherwise(None) for column in columns)
    if hasattr(X, "toarray"):  # a sparse matrix, which reading refuses
        return X
    X = np.asarray(X)
    found = X == value
    return np.where(found, np.nan, X.astype(object) if X.dtype.kind in "US" else X) if np.any(found) else X


def columns_of(X: Any, kept: NDArray[np.bool_]) -> Any:
    """Some columns of an array or a frame."""
    container = container_of(X)
    if container == NUMPY:
        return X[:, kept]
    return (
        X.iloc[:, kept]
        if container == PANDAS
        else X.select([name for name, keep in zip(X.columns, kept, strict=True) if keep])
    )


def beside(X: Any, flags: NDArray[np.bool_], names: Sequence[str]) -> Any:
    """X, an array or a frame, with columns of flags appended (as numbers to an array)."""
    container = container_of(X)
    if container == NUMPY:
        return np.hstack([X, flags.astype(X.dtype)])
    if container == POLARS:
        polars = sys.modules["polars"]
        return X.with_columns([polars.Series(name, flag) for name, flag in zip(names, flags.T, strict=True)])
    return with_index_of(X, pd.concat([X, pd.DataFrame(flags, columns=list(names), index=X.index)], axis=1))


def replaced(X: Any, restored: Any, where: NDArray[np.bool_]) -> Any:
    """X, a frame, with the cells `where` (n, p) taken from `restored`, a frame of the same rows and columns.

    All else stays as it is: index, dtypes, order and the other cells bit for bit.
    """
    if container_of(X) == POLARS:
        polars = sys.modules["polars"]
        columns = []
        for j, name in enumerate(X.columns):
            series = X.to_series(j)
            new = restored[name].cast(series.dtype)
            columns.append(series.zip_with(polars.Series(~where[:, j]), new) if where[:, j].any() else series)
        return polars.DataFrame(columns)
    out = X.copy()
    for j in np.flatnonzero(where.any(axis=0)).tolist():
        new = restored.iloc[:, j].set_axis(X.index)
        out.isetitem(j, _patched(X.iloc[:, j], where[:, j], new))
    return out


def _patched(series: Any, where: NDArray[np.bool_], new: Any) -> Any:
    if isinstance(series.dtype, pd.CategoricalDtype):
        new = new.astype(series.dtype)
    elif series.dtype == object:
        new = new.astype(object)
    return series.where(~where, new)


def like(X: Any, values: NDArray[np.floating]) -> Any:
    """Numbers of the shape of X: as a frame with its names (and index) where X is one."""
    container = container_of(X)
    if container == NUMPY:
        return values
    if container == POLARS:
        return sys.modules["polars"].DataFrame(values, schema=X.columns)
    return pd.DataFrame(values, columns=X.columns, index=X.index)


def with_index_of(X: Any, restored: Any) -> Any:
    """`restored`, row for row from X, under the index of X where both are pandas frames."""
    if isinstance(X, pd.DataFrame) and isinstance(restored, pd.DataFrame):
        restored.index = X.index
        restored.attrs = dict(X.attrs)
    return restored


def _cast(column: NDArray[np.floating], dtype: str) -> NDArray[Any]:
    family = dtype.split(":", 1)[0]
    if family == "float" or np.isnan(column).any():
        return column
    return column >= 0.5 if family == "bool" else _rounded(column, dtype.split(":", 1)[1])


def _rounded(column: NDArray[np.floating], dtype: str) -> NDArray[np.int64]:
    """Nearest integers, kept inside the range of the integer dtype (a model may draw beyond it)."""
    bits = int("".join(c for c in dtype if c.isdigit()) or 64)
    unsigned = dtype.lower().startswith("u")
    low, high = (0.0, 2.0**bits - 1) if unsigned else (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)
    edge = 2.0**63 - 1024  # the largest float64 below the top of int64
    whole: NDArray[np.int64] = np.rint(np.clip(column, low, min(high, edge))).astype(np.int64)
    return whole
