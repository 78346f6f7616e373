"""What a dtype says: the family of a column, and a spelling from which the dtype is rebuilt exactly.

For most dtypes the spelling is what pandas and polars call them; where that name is not enough (storage of strings,
sparse columns, some Arrow types), it is one of our own. Plain data holds both as one text, ``family:spelling``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skvae._table.frames.times import TIMES, family_of_objects, family_of_pandas, family_of_polars
from skvae._table.frames.times import polars_dtype as polars_dtype_of_times

NUMPY, PANDAS, POLARS = "numpy", "pandas", "polars"

MissingMark = type(pd.NA)

NUMBERS = ("bool", "integer", "float", *TIMES)  # families that are read as numbers
CATEGORIES = ("category", "ordered")  # families whose dtype declares the levels
DECIMAL = re.compile(r"decimal\w*\(\D*(\d+), \D*?(-?\d+)\)", re.IGNORECASE)  # precision and scale, of either library


class Dtype(NamedTuple):
    """The family of a column's dtype and the dtype's own name; of a category the name is that of its categories.

    The families are "bool", "integer", "float", "date", "duration", "category", "ordered", "text", and "unreadable" for
    columns of several types and all else that `refuse_unreadable` has to explain.
    """

    family: str
    own: str

    @classmethod
    def read(cls, text: str) -> Dtype:
        """Inverse of `str`."""
        return cls(*text.split(":", 1))

    def __str__(self) -> str:
        """``family:spelling``, as plain data holds it."""
        return f"{self.family}:{self.own}"

    @property
    def is_number(self) -> bool:
        """Whether it is read as numbers unless levels are asked for."""
        return self.family in NUMBERS

    @property
    def is_integer(self) -> bool:
        """Whether it holds integers, which are exact."""
        return self.family == "integer"

    @property
    def is_exact(self) -> bool:
        """Whether two values that differ at all are two: of integers and times."""
        return self.is_integer or self.is_time

    @property
    def is_time(self) -> bool:
        """Whether it holds dates or durations, which are read as seconds."""
        return self.family in TIMES

    @property
    def is_category(self) -> bool:
        """Whether it declares the levels of the column."""
        return self.family in CATEGORIES

    @property
    def is_text(self) -> bool:
        """Whether it holds text, of which it declares no levels."""
        return self.family == "text"

    @property
    def rounding(self) -> float:
        """By which share of itself a number may differ from what it was, for having been held in this dtype."""
        if self.family != "float":
            return 0.0
        if "16" in self.own or "half" in self.own:
            return float(np.finfo(np.float16).eps)
        return float(np.finfo(np.float32).eps) if "32" in self.own or self.own.startswith("float[") else 1e-12


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


def dtypes_of(frame: Any) -> list[Dtype]:
    """The dtype of each column."""
    if container_of(frame) == POLARS:
        return [Dtype(_polars_family(dtype), str(dtype)) for dtype in frame.schema.values()]
    return [dtype_of(frame.iloc[:, j]) for j in range(frame.shape[1])]


def dtype_of(column: Any) -> Dtype:
    """The dtype of a column."""
    if not isinstance(column, pd.Series):
        return Dtype(_polars_family(column.dtype), str(column.dtype))
    dtype = column.dtype
    if is_object(dtype):
        return _dtype_of_objects(column)
    own = dtype.categories.dtype if isinstance(dtype, pd.CategoricalDtype) else dtype
    return Dtype(_pandas_family(column), spelled(own))


def all_single(dtypes: Sequence[Dtype]) -> bool:
    """Whether every column is a float of single precision."""
    return bool(dtypes) and all(dtype.own.lower() in ("float32", "float[pyarrow]") for dtype in dtypes)


def plain_dtype(family: str, container: str) -> Dtype:
    """The usual dtype of a family."""
    return Dtype(family, _PLAIN[container][family])


_PLAIN = {
    PANDAS: {"bool": "boolean", "integer": "Int64", "float": "float64", "date": "datetime64[us]"}
    | {"duration": "timedelta64[us]"}
    | dict.fromkeys(("text", *CATEGORIES), "object"),
    POLARS: {"bool": "Boolean", "integer": "Int64", "float": "Float64", "text": "String"}
    | {"date": "Datetime(time_unit='us', time_zone=None)", "duration": "Duration(time_unit='us')"}
    | dict.fromkeys(CATEGORIES, "Categorical"),
}


# -- families ----------------------------------------------------------------------------------------------------------


def _pandas_family(column: Any) -> str:
    types, dtype, of_times = pd.api.types, column.dtype, family_of_pandas(column)
    if of_times is not None:
        return of_times
    if isinstance(dtype, pd.CategoricalDtype):
        binary = str(dtype.categories.dtype).startswith("fixed_size_binary")
        return "unreadable" if binary else "ordered" if dtype.ordered else "category"
    if is_dictionary(dtype):
        return _family_of_dictionary(dtype.pyarrow_dtype)
    if types.is_bool_dtype(dtype):
        return "bool"
    if types.is_integer_dtype(dtype):
        return "integer"
    if types.is_float_dtype(dtype) or DECIMAL.match(str(dtype)) or str(dtype) == "null[pyarrow]":
        return "float"
    return "text" if types.is_string_dtype(dtype) or str(dtype) == "string_view[pyarrow]" else "unreadable"


def _dtype_of_objects(column: Any) -> Dtype:
    """That of a pandas column of Python objects; only of times does the spelling say what these are."""
    found = object_type(column)
    of_times = family_of_objects(column, found)
    if of_times is not None:
        return Dtype(*of_times)
    return Dtype({"boolean": "bool", "string": "text", "empty": "float"}.get(found, "unreadable"), "object")


def _family_of_dictionary(arrow: Any) -> str:
    """Of levels that Arrow can be asked for by their name: text, numbers, truth."""
    if not re.fullmatch(r"(large_)?string|u?int\d+|float|double|halffloat|bool", str(arrow.value_type)):
        return "unreadable"
    return "ordered" if arrow.ordered else "category"


def is_object(dtype: Any) -> bool:
    """Whether a pandas dtype is that of Python objects."""
    return bool(pd.api.types.is_object_dtype(dtype)) and isinstance(dtype, np.dtype)


def object_type(column: Any) -> str:
    """What the Python objects of a column are, as pandas names it."""
    return pd.api.types.infer_dtype(column, skipna=True)


def is_dictionary(dtype: Any) -> bool:
    """Whether a pandas dtype is Arrow's for categories."""
    return isinstance(dtype, pd.ArrowDtype) and str(dtype).startswith("dictionary<")


def _polars_family(dtype: Any) -> str:
    family = str(dtype).split("(")[0]
    known = {"Boolean": "bool", "Categorical": "category", "Enum": "category", "String": "text", "Null": "float"}
    if family in known:
        return known[family]
    of_times = family_of_polars(family)
    if of_times is not None:
        return of_times
    if dtype.is_integer():
        return "integer"
    return "float" if dtype.is_numeric() else "unreadable"


# -- spellings ---------------------------------------------------------------------------------------------------------


def spelled(dtype: Any) -> str:
    """The name of a pandas dtype, from which `pandas_dtype` rebuilds it."""
    if isinstance(dtype, pd.StringDtype):
        return f"{'string' if dtype.na_value is pd.NA else 'str'}[{dtype.storage}]"
    if isinstance(dtype, pd.SparseDtype):
        return f"Sparse[{dtype.subtype}, {dtype.fill_value!s}]"
    if isinstance(dtype, pd.ArrowDtype) and str(dtype) == "string[pyarrow]":
        return "utf8[pyarrow]"  # the other name is taken by pandas' own strings in Arrow's storage
    return str(dtype)


def pandas_dtype(spelling: str) -> Any:
    """Inverse of `spelled`."""
    for pattern, build in _SPELLINGS:
        found = re.fullmatch(pattern, spelling)
        if found:
            return build(*found.groups())
    return pd.api.types.pandas_dtype(spelling)


def _string(kind: str, storage: str) -> Any:
    if kind == "string" or storage.endswith("_numpy"):  # the second is how pandas 2.1 says that NaN marks the missing
        return pd.StringDtype(storage)
    return pd.StringDtype(storage, na_value=np.nan)


def _sparse(subtype: str, fill_value: str) -> Any:
    dtype: np.dtype[Any] = np.dtype(subtype)
    fill = fill_value == "True" if dtype.kind == "b" else int(fill_value) if dtype.kind in "iu" else float(fill_value)
    return pd.SparseDtype(dtype, fill)


def _decimal(name: str, precision: str, scale: str) -> Any:
    return pd.ArrowDtype(getattr(import_module("pyarrow"), name)(int(precision), int(scale)))


def _dictionary(values: str, indices: str, ordered: str) -> Any:
    pyarrow = import_module("pyarrow")
    types = pyarrow.type_for_alias(indices), pyarrow.type_for_alias(values)
    return pd.ArrowDtype(pyarrow.dictionary(*types, ordered=ordered == "1"))


_SPELLINGS: tuple[tuple[str, Any], ...] = (
    (r"(string|str)\[(\w+)\]", _string),
    (r"object\[\w+\]", lambda: np.dtype(object)),
    (r"Sparse\[(.+), (.+)\]", _sparse),
    (r"(decimal\d+)\((\d+), (-?\d+)\)\[pyarrow\]", _decimal),
    (r"dictionary<values=(.+), indices=(\w+), ordered=(\d)>\[pyarrow\]", _dictionary),
)


def polars_dtype(spelling: str, categories: Sequence[Any] | None) -> Any:
    """The polars dtype of this name; an Enum's categories are not read off it."""
    polars = sys.modules["polars"]
    family = spelling.split("(")[0]
    if family_of_polars(family):
        return polars_dtype_of_times(spelling)
    if family == "Enum":
        return polars.Enum(list(categories or ()))
    if family == "Decimal":
        return polars.Decimal(*map(int, _digits(spelling)))
    if family == "Categorical" and "Categories(" in spelling:
        return polars.Categorical(_polars_categories(spelling))
    return getattr(polars, family)


def _polars_categories(spelling: str) -> Any:
    polars = sys.modules["polars"]
    short, named = re.search(r'Categories\("(.+)"\)', spelling), re.search(_NAMED, spelling)
    if short:
        return polars.Categories(short[1])
    assert named is not None, "categories have a name, a namespace and a physical type"
    return polars.Categories(named[1], named[2], physical=getattr(polars, named[3]))


_NAMED = r'name="(.*)", namespace="(.*)", physical=(?:pl\.)?(\w+)'


def _digits(spelling: str) -> tuple[str, str]:
    found = DECIMAL.match(spelling)
    assert found is not None, "a decimal has a precision and a scale"
    return found[1], found[2]


# -- what numbers a dtype holds ----------------------------------------------------------------------------------------


def decimals(spelling: str) -> int | None:
    """Digits after the point, None where the dtype is no decimal."""
    return int(_digits(spelling)[1]) if DECIMAL.match(spelling) else None


def largest_float(spelling: str) -> float:
    """The largest number that a dtype of floats or decimals holds."""
    if DECIMAL.match(spelling):
        precision, scale = map(int, _digits(spelling))
        return 10.0 ** (precision - scale) * (1.0 - 1e-12) - 10.0**-scale
    if re.search("half|float16", spelling.lower()):
        return float(np.finfo(np.float16).max)
    single = "float32" in spelling.lower() or spelling == "float[pyarrow]"
    return float(np.finfo(np.float32 if single else np.float64).max)


def integer_type(spelling: str) -> np.dtype[Any]:
    """The NumPy dtype of the same integers."""
    found = re.search(r"(u?)int(\d+)", spelling.lower())
    sign, bits = (found[1], min(int(found[2]), 64)) if found else ("", 64)
    return np.dtype(f"{sign}int{bits}")


def is_wide(spelling: str) -> bool:
    """Whether integers of this dtype may have more digits than any of NumPy's."""
    return spelling.lower() in ("int128", "uint128")


def wide_range(spelling: str) -> tuple[int, int]:
    """The least and the largest integer of such a dtype."""
    return (0, 2**128 - 1) if spelling.lower().startswith("u") else (-(2**127), 2**127 - 1)
