"""Writing: columns into a new frame of given dtypes, or single cells into the frame that the user passed."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skvae._table.frames.dtypes import (
    CATEGORIES,
    NUMPY,
    PANDAS,
    POLARS,
    Dtype,
    container_of,
    decimals,
    dtype_of,
    integer_type,
    is_dictionary,
    is_object,
    is_wide,
    largest_float,
    pandas_dtype,
    plain_dtype,
    polars_dtype,
    wide_range,
)
from skvae._table.frames.reading import Header, column_at, unmasked
from skvae._table.frames.times import held as held_times
from skvae._table.frames.times import seconds, written
from skvae._table.levels import Levels, objects

EMPTY = ("Null", "null[pyarrow]")  # dtypes that hold no value


class Format(NamedTuple):
    """How a column is written: its name, its dtype, its levels where coded.

    Integers are kept from `low` to `high`, exactly; None where nothing is known of their range. Times are rounded to
    multiples of `step` seconds, None where they have none.
    """

    name: Hashable
    dtype: Dtype
    levels: Levels | None
    low: int | None = None
    high: int | None = None
    step: float | None = None


class Patch(NamedTuple):
    """New cells of one column: where they stand (n,), their values in that order, and how fit saw the column."""

    where: NDArray[np.bool_]
    values: Any
    fmt: Format


# -- a new frame -------------------------------------------------------------------------------------------------------


def to_frame(columns: Sequence[Any], container: str, formats: Sequence[Format], header: Header | None = None) -> Any:
    """A frame of the given container with columns cast back to their dtypes.

    A column is an array of numbers, or the list of its values where it is coded. Integer columns are rounded, boolean
    ones cut at one half; a NaN in either leaves the column a float where the dtype has no room for it.
    """
    if container == POLARS:
        import polars

        return polars.DataFrame({fmt.name: _polars(v, fmt) for v, fmt in zip(columns, formats, strict=True)})
    frame = pd.DataFrame(dict(enumerate(_pandas(v, fmt) for v, fmt in zip(columns, formats, strict=True))))
    frame.columns = _column_index([fmt.name for fmt in formats], header)
    return frame


def _column_index(names: list[Any], header: Header | None) -> Any:
    if header is None:  # a schema of an earlier version
        return pd.Index(names)
    levels, dtype = header
    if dtype is None:
        return pd.MultiIndex.from_tuples(names, names=list(levels))
    return pd.Index(
        names, dtype=dtype if dtype == "category" else pandas_dtype(dtype), name=levels[0], tupleize_cols=False
    )


def _pandas(values: Any, fmt: Format) -> Any:
    """A pandas column."""
    dtype = pandas_dtype(fmt.dtype.own)
    if fmt.dtype.is_category and not is_dictionary(dtype):
        levels = _declared(fmt)
        index = pd.Index(levels, dtype=dtype, tupleize_cols=False)
        return pd.Series(pd.Categorical(objects(values), categories=index, ordered=fmt.dtype.family == "ordered"))
    if not fmt.dtype.is_number:
        return pd.Series(objects(values), dtype=dtype)
    cells, there = _numbers(values, fmt)
    if fmt.dtype.own in EMPTY:
        return pd.Series([None] * len(cells), dtype=dtype)
    if fmt.dtype.is_time:
        return written(np.where(there, cells, np.nan), fmt.dtype.own, PANDAS)
    column = pd.Series(cells)
    if there.all():
        return column.astype(dtype)
    if fmt.dtype.family != "float" and not _has_room(dtype):
        return pd.Series(np.where(there, cells, np.nan))
    column = column.astype(dtype)
    return column.where(there, None if is_object(dtype) else pd.NA if _has_room(dtype) else np.nan)


def _has_room(dtype: Any) -> bool:
    """Whether a dtype of integers or booleans can mark a cell as missing."""
    extension = isinstance(dtype, pd.api.extensions.ExtensionDtype) and not isinstance(dtype, pd.SparseDtype)
    return extension or is_object(dtype)


def _polars(values: Any, fmt: Format) -> Any:
    """A polars column."""
    import polars

    dtype = polars_dtype(fmt.dtype.own, _declared(fmt) if fmt.levels is not None else None)
    if fmt.dtype.is_category:
        return polars.Series(values, dtype=polars.String).cast(dtype)
    if not fmt.dtype.is_number:
        return polars.Series(values, dtype=dtype)
    cells, there = _numbers(values, fmt)
    if fmt.dtype.own in EMPTY:
        return polars.Series([None] * len(cells), dtype=dtype)
    if fmt.dtype.is_time:
        return written(np.where(there, cells, np.nan), fmt.dtype.own, POLARS)
    nothing = polars.Series([None], dtype=dtype).extend_constant(None, len(cells) - 1)
    own = polars.Series(cells.tolist(), dtype=dtype) if is_wide(fmt.dtype.own) else polars.Series(cells).cast(dtype)
    return own.zip_with(polars.Series(there), nothing)


def _declared(fmt: Format) -> list[Any]:
    """The categories that a dtype of categories is to have."""
    levels = fmt.levels
    assert levels is not None, "a column of categories has levels"
    return list(levels.values + levels.pooled if levels.categories is None else levels.categories)


def _numbers(values: Any, fmt: Format) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Cells as the NumPy dtype next to the column's own, any number where missing, and which are not missing."""
    if isinstance(values, np.ndarray):
        there = ~np.isnan(values)
        return _fitting(np.where(there, values, 0.0), fmt), there
    there = np.array([value is not None for value in values], dtype=bool)
    exact = [0 if value is None else value for value in values]  # of levels, which may be integers beyond 2**53
    if not fmt.dtype.is_integer:
        return _fitting(np.array(exact, dtype=float), fmt), there
    return np.array(exact, dtype=object if is_wide(fmt.dtype.own) else integer_type(fmt.dtype.own)), there


def held(values: NDArray[np.floating], fmt: Format) -> NDArray[np.float64]:
    """Numbers as a column of that dtype holds them: rounded, cut, or within its range; NaN stays."""
    cells, there = _numbers(values, fmt)
    return np.where(there, cells, np.nan).astype(np.float64)


def _fitting(values: NDArray[np.floating], fmt: Format) -> NDArray[Any]:
    """Numbers as values of the column's dtype: cut, rounded or kept within its range (a model may draw beyond it)."""
    if fmt.dtype.family == "bool":
        return values >= 0.5
    if fmt.dtype.is_integer:
        return _whole(values, fmt)
    if fmt.dtype.is_time:
        return held_times(values if fmt.step is None else np.round(values / fmt.step) * fmt.step, fmt.dtype.own)
    digits, most = decimals(fmt.dtype.own), largest_float(fmt.dtype.own)
    within = np.clip(values.astype(np.float64), -most, most)
    return within if digits is None else np.round(within, digits)


def _whole(values: NDArray[np.floating], fmt: Format) -> NDArray[np.integer]:
    """Nearest integers, kept inside the range of the dtype, and of the training rows where it is known."""
    if is_wide(fmt.dtype.own):
        return _whole_and_wide(values, fmt)
    dtype = integer_type(fmt.dtype.own)
    info = np.iinfo(dtype)
    top = float(info.max) if info.bits < 64 else float(np.nextafter(float(info.max), 0.0))
    whole = np.rint(np.clip(values.astype(np.float64), float(info.min), top)).astype(dtype)
    low = info.min if fmt.low is None else min(max(fmt.low, info.min), info.max)
    high = info.max if fmt.high is None else min(max(fmt.high, info.min), info.max)
    within: NDArray[np.integer] = np.clip(whole, np.array(low, dtype), np.array(high, dtype))
    return within


def _whole_and_wide(values: NDArray[np.floating], fmt: Format) -> NDArray[Any]:
    """The same for integers of 128 bits, of which NumPy has none: Python's own."""
    low, high = wide_range(fmt.dtype.own)
    low, high = low if fmt.low is None else max(low, fmt.low), high if fmt.high is None else min(high, fmt.high)
    return objects([min(max(int(value), low), high) for value in np.rint(values.astype(np.float64)).tolist()])


# -- cells of the user's frame -----------------------------------------------------------------------------------------


def filled(X: Any, patches: Mapping[int, Patch]) -> Any:
    """X, a frame, with the cells of these patches, by column.

    All else stays as it is: index, dtypes, order and the other cells, bit for bit. A dtype of categories is given the
    levels that it lacks; a column whose dtype cannot hold the new cells takes that of fit.
    """
    if container_of(X) == POLARS:
        names = X.columns
        columns = [_patched(X.to_series(j), patch).alias(names[j]) for j, patch in patches.items()]
        return X.with_columns(columns)
    out = X.copy()
    for j, patch in patches.items():
        out.isetitem(j, _patched(X.iloc[:, j], patch).set_axis(X.index))
    return out


def _patched(column: Any, patch: Patch) -> Any:
    """A column with new cells."""
    fmt = _format_beside(column, patch)
    if isinstance(column, pd.Series):
        return _patched_pandas(column, patch, fmt)
    polars, new = sys.modules["polars"], _polars(patch.values, fmt)
    if fmt.dtype.is_category:  # not every version lets the categories of two columns mix
        both = [part.cast(polars.String) for part in (column, new)]
    else:
        both = [column.cast(new.dtype), new]
    return polars.concat(both).gather(_places(patch)).cast(new.dtype)


def _patched_pandas(column: Any, patch: Patch, fmt: Format) -> Any:
    if isinstance(column.dtype, pd.CategoricalDtype):  # whose levels may be more than they were
        cells = objects(column.to_list())
        cells[patch.where] = objects(patch.values)
        return _pandas(cells, fmt)
    new = _pandas(patch.values, fmt)
    return new if patch.where.all() else pd.concat([column, new], ignore_index=True).take(_places(patch))


def _places(patch: Patch) -> NDArray[np.intp]:
    """Where each cell is found once the new ones stand behind the old."""
    places = np.arange(len(patch.where))
    places[patch.where] = len(patch.where) + np.arange(int(patch.where.sum()))
    return places


def _format_beside(column: Any, patch: Patch) -> Format:
    """How new cells are written that are to stand beside those of a column."""
    own = patch.fmt._replace(dtype=dtype_of(column))
    if own.dtype.is_category:
        categories = _categories_of(column)
        return own if categories is None else _widened(own, categories, patch)
    if own.dtype.own not in EMPTY and _held_by(own.dtype, patch.values, of_times=patch.fmt.dtype.is_time):
        return own
    container = PANDAS if isinstance(column, pd.Series) else POLARS
    if not patch.where.all():
        return own._replace(dtype=plain_dtype("text", container))
    return patch.fmt if patch.fmt.dtype.own not in EMPTY else own._replace(dtype=plain_dtype("float", container))


def _held_by(dtype: Dtype, values: Any, *, of_times: bool) -> bool:
    """Whether a column of numbers or text holds these values."""
    if isinstance(values, np.ndarray):
        return dtype.is_number and dtype.is_time == of_times
    kinds = (int, float) if dtype.is_number else (str,)
    return all(value is None or isinstance(value, kinds) for value in values)


def _widened(own: Format, known: list[Any], patch: Patch) -> Format:
    """A column's categories and those of the new cells that it lacks, each before the next one in the order of fit."""
    values = dict.fromkeys(value for value in patch.values if value is not None)
    lacking = [value for value in values if value not in known]
    if not known and patch.fmt.dtype.is_category:
        own = own._replace(dtype=own.dtype._replace(own=patch.fmt.dtype.own))
    elif {type(value) for value in lacking} - {type(value) for value in known}:
        own = own._replace(dtype=own.dtype._replace(own="object"))
    order = _declared(patch.fmt) if patch.fmt.levels is not None else []
    for level in sorted(lacking, key=order.index, reverse=True):
        later = (known.index(other) for other in order[order.index(level) :] if other in known)
        known.insert(next(later, len(known)), level)
    return own._replace(levels=Levels((), categories=tuple(known)))


def _categories_of(column: Any) -> list[Any] | None:
    """The categories that the dtype of a column names; None where it leaves them open."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return list(column.cat.categories)
    return column.dtype.categories.to_list() if str(column.dtype).startswith("Enum") else None


# -- other doors -------------------------------------------------------------------------------------------------------


def marked(X: Any, value: Any) -> Any:
    """X, an array or a frame, with its cells that equal `value` marked as missing.

    Integers and booleans of a pandas frame become those that can be missing. Text marks cells of text and categories,
    a number those of numbers and of categories that are numbers.
    """
    container = container_of(X)
    if container == NUMPY:
        return X if hasattr(X, "toarray") else _marked_array(unmasked(X), value)  # reading refuses a sparse matrix
    if container == POLARS:
        return X.with_columns(_marked_series(X.to_series(j), value) for j in range(X.width))
    out = X.copy()
    for j in range(X.shape[1]):
        found = _equal(column_at(X, j), value)
        if found.any():
            out.isetitem(j, _with_room(column_at(X, j)).mask(found))
    return out


def _marked_array(X: Any, value: Any) -> Any:
    X = np.asarray(X)
    found = X == value
    return np.where(found, np.nan, X.astype(object) if X.dtype.kind in "US" else X) if np.any(found) else X


def _marked_series(series: Any, value: Any) -> Any:
    polars, family = sys.modules["polars"], dtype_of(series).family
    readable = ("text", *CATEGORIES) if isinstance(value, str) else ("integer", "float")
    if family not in readable or str(series.dtype) in EMPTY:
        return series
    found = (series.cast(polars.String) if isinstance(value, str) else series) == value
    nothing = polars.Series([None], dtype=series.dtype).extend_constant(None, max(len(series) - 1, 0))
    return series.zip_with(~found.fill_null(False), nothing)


def _equal(series: Any, value: Any) -> NDArray[np.bool_]:
    family = dtype_of(series).family
    if family not in (("text", *CATEGORIES) if isinstance(value, str) else ("integer", "float", *CATEGORIES)):
        return np.zeros(len(series), dtype=bool)
    found: NDArray[np.bool_] = (series == value).to_numpy(dtype=bool, na_value=False)
    return found


def _with_room(series: Any) -> Any:
    """A column of NumPy's integers as one of those that can be missing."""
    return (
        series.astype(f"{series.dtype}".replace("u", "U").replace("i", "I", 1))
        if series.dtype.kind in "iu" and isinstance(series.dtype, np.dtype)
        else series
    )


def described(names: Sequence[Hashable], rows: Sequence[Mapping[str, Any]]) -> Any:
    """A pandas frame of facts, a row for each name; tuples stay in one cell."""
    keys = list(rows[0]) if rows else []
    columns = {key: pd.Series(objects([row[key] for row in rows]), dtype=object) for key in keys}
    out = pd.DataFrame(columns).astype({"missing": np.float64})
    out.index = pd.Index(objects(names), name="column", tupleize_cols=False)
    return out


def named(values: NDArray[Any], names: Sequence[Hashable], title: str) -> Any:
    """Numbers (p,) as a pandas series under the names of columns; numbers (p, p) as a frame with them on both sides."""
    index = pd.Index(objects(names), name="column", tupleize_cols=False)
    return pd.DataFrame(values, index, index) if values.ndim == 2 else pd.Series(values, index, name=title)


def tabled(facts: Mapping[str, Any], names: Sequence[Hashable], kind: str) -> Any:
    """A pandas frame of facts, a column for each, under names of that kind."""
    return pd.DataFrame(dict(facts), pd.Index(objects(names), name=kind, tupleize_cols=False))


def printed(table: Any, most_rows: int, *, html: bool = False) -> str:
    """A pandas frame of facts as text, or for a notebook; nothing stands where a fact is None."""
    shown = table.where(table.notna(), "").assign(missing=table["missing"].map("{:.1%}".format))
    return str(shown.to_html(max_rows=most_rows) if html else shown.to_string(max_rows=most_rows, max_colwidth=40))


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
    out = pd.concat([X, pd.DataFrame(flags, columns=list(names), index=X.index)], axis=1)
    if X.columns.nlevels == 1:
        out.columns = pd.Index([*X.columns, *names], name=X.columns.name, tupleize_cols=False)
    return with_index_of(X, out)


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


def as_pandas(X: Any) -> Any:
    """A polars frame as one of pandas, with NumPy's dtypes where no cell is missing; all else as it is."""
    if container_of(X) != POLARS:
        return X
    return pd.DataFrame({name: _as_pandas(X[name]) for name in X.columns})


def _as_pandas(series: Any) -> Any:
    dtype = dtype_of(series)
    if dtype.is_category:
        return pd.Series(pd.Categorical(series.to_list(), categories=_categories_of(series)))
    if dtype.is_time:
        return written(seconds(series), plain_dtype(dtype.family, PANDAS).own, PANDAS)
    if not dtype.is_number:
        return pd.Series(series.to_list(), dtype=object)
    if series.null_count():
        return pd.Series(series.to_list(), dtype=plain_dtype(dtype.family, PANDAS).own)
    return pd.Series(series.to_list(), dtype=integer_type(dtype.own) if dtype.is_integer else dtype.family)
