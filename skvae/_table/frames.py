"""The border to data frames: the only file that knows pandas and polars."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NUMPY, PANDAS, POLARS = "numpy", "pandas", "polars"


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


def dtypes_of(frame: Any) -> list[str]:
    """One of "bool", "integer", "float" per column, with the frame's own dtype after a colon.

    Raises
    ------
    TypeError
        For a column that is not numeric, naming the way out.
    """
    if container_of(frame) == POLARS:
        return [f"{_polars_family(name, dtype)}:{dtype}" for name, dtype in frame.schema.items()]
    return [f"{_pandas_family(name, dtype)}:{dtype}" for name, dtype in zip(frame.columns, frame.dtypes, strict=True)]


def _pandas_family(name: Hashable, dtype: Any) -> str:
    types = pd.api.types
    if isinstance(dtype, pd.CategoricalDtype):
        raise _not_a_number(name, "categorical", "encode it first, for example with OneHotEncoder")
    if types.is_bool_dtype(dtype):
        return "bool"
    if types.is_integer_dtype(dtype):
        return "integer"
    if types.is_float_dtype(dtype):
        return "float"
    if types.is_datetime64_any_dtype(dtype) or types.is_timedelta64_dtype(dtype) or "date" in str(dtype):
        raise _not_a_number(name, str(dtype), "turn it into numbers first, for example days since a fixed date")
    raise _not_a_number(name, str(dtype), "convert it with pd.to_numeric, or encode it first")


def _polars_family(name: str, dtype: Any) -> str:
    if str(dtype) == "Boolean":
        return "bool"
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "float"
    if dtype.is_temporal():
        raise _not_a_number(name, str(dtype), "turn it into numbers first, for example days since a fixed date")
    raise _not_a_number(name, str(dtype), "cast it to a numeric dtype, or encode it first")


def _not_a_number(name: Hashable, dtype: str, way_out: str) -> TypeError:
    # scikit-learn's checks look for "argument must be ... string ... number" in this message.
    return TypeError(
        f"Every column must be numeric (argument must be a real number, not a string or an object). "
        f"Column {name!r} has dtype {dtype}: {way_out}."
    )


def to_numbers(frame: Any) -> NDArray[np.floating]:
    """An (n, p) array in which NaN marks the missing cells; float32 if every column is, else float64."""
    dtypes = dtypes_of(frame)
    all_single = bool(dtypes) and all(d.lower().endswith((":float32", ":float[pyarrow]")) for d in dtypes)
    out = np.empty(frame.shape, dtype=np.float32 if all_single else np.float64, order="F")
    for j, name in enumerate(frame.columns):
        out[:, j] = _column_to_numbers(frame, j, name)
    return out


def _column_to_numbers(frame: Any, j: int, name: Hashable) -> NDArray[Any]:
    if container_of(frame) == POLARS:
        polars = sys.modules["polars"]
        column: NDArray[Any] = frame[name].cast(polars.Float64).to_numpy()
        return column
    return frame.iloc[:, j].to_numpy(dtype=np.float64, na_value=np.nan)  # type: ignore[no-any-return]


def to_frame(values: NDArray[np.floating], container: str, names: Sequence[Hashable], dtypes: Sequence[str]) -> Any:
    """A frame of the given container with columns cast back to their dtypes.

    Integer columns are rounded, boolean ones cut at one half; a NaN in either leaves the column a float.
    """
    columns = {name: _cast(values[:, j], dtypes[j]) for j, name in enumerate(names)}
    if container == POLARS:
        import polars

        return polars.DataFrame(columns).with_columns(
            polars.col(name).cast(_polars_dtype(dtype))  # type: ignore[arg-type]
            for name, dtype in zip(names, dtypes, strict=True)
            if _castable(columns[name], dtype)
        )
    frame = pd.DataFrame(columns)
    wanted = {
        name: dtype.split(":", 1)[1]
        for name, dtype in zip(names, dtypes, strict=True)
        if _castable(columns[name], dtype)
    }
    return frame.astype(wanted)


def like(X: Any, values: NDArray[np.floating]) -> Any:
    """Numbers of the shape of X: as a frame with its names (and index) where X is one."""
    container = container_of(X)
    if container == NUMPY:
        return values
    if container == POLARS:
        return sys.modules["polars"].DataFrame(values, schema=X.columns)
    return pd.DataFrame(values, columns=X.columns, index=X.index)


def as_given(X: Any, values: NDArray[np.floating]) -> Any:
    """Numbers in place of those of X: in its container, with its names, dtypes and index."""
    container = container_of(X)
    if container == NUMPY:
        return values
    return with_index_of(X, to_frame(values, container, names_of(X), dtypes_of(X)))


def with_index_of(X: Any, restored: Any) -> Any:
    """`restored`, row for row from X, under the index of X where both are pandas frames."""
    if isinstance(X, pd.DataFrame) and isinstance(restored, pd.DataFrame):
        restored.index = X.index
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


def _castable(column: NDArray[Any], dtype: str) -> bool:
    return dtype.startswith("float") or column.dtype.kind != "f"


def _polars_dtype(dtype: str) -> Any:
    import polars

    return getattr(polars, dtype.split(":", 1)[1], polars.Float64)  # a Decimal comes back as a float
