"""Dtypes as text: each spelling rebuilds the dtype that it was made of."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from skvae._table.frames import dtypes

DTYPES = [
    *("int64", "uint8", "float16", "bool", "object", "Int16", "Float32", "boolean", "string", "str", "datetime64[ns]"),
    *(pd.StringDtype("python"), pd.StringDtype("pyarrow")),
    *(pd.SparseDtype(float, 0.0), pd.SparseDtype(float), pd.SparseDtype("int8", 7), pd.SparseDtype(bool, False)),
    *(pd.SparseDtype(bool, True), pd.IntervalDtype("float64", "right"), pd.PeriodDtype("M")),
    *map(pd.ArrowDtype, (pa.string(), pa.large_string(), pa.int8(), pa.float16(), pa.null(), pa.bool_())),
    *map(pd.ArrowDtype, (pa.decimal128(10, 2), pa.decimal256(50, 3), pa.timestamp("ns"))),
    *map(pd.ArrowDtype, (pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.int64(), ordered=True))),
]


@pytest.mark.parametrize("dtype", [pd.api.types.pandas_dtype(dtype) for dtype in DTYPES], ids=repr)
def test_a_spelling_rebuilds_its_pandas_dtype(dtype):
    spelling = dtypes.spelled(dtype)
    rebuilt = dtypes.pandas_dtype(spelling)
    assert rebuilt == dtype
    assert type(rebuilt) is type(dtype)
    assert getattr(rebuilt, "storage", None) == getattr(dtype, "storage", None)
    assert type(spelling) is str


@pytest.mark.skipif(pd.__version__ < "2.3", reason="pandas knew one kind of missing text then")
@pytest.mark.parametrize("storage", ["python", "pyarrow"])
def test_text_whose_missing_cells_are_nan_stays_so(storage):
    dtype = pd.StringDtype(storage, na_value=np.nan)
    assert repr(dtypes.pandas_dtype(dtypes.spelled(dtype))) == repr(dtype)
    assert dtypes.pandas_dtype(dtypes.spelled(dtype)).storage == storage


@pytest.mark.parametrize(
    ("earlier", "dtype"),
    [("double[pyarrow]", pd.ArrowDtype(pa.float64())), ("Sparse[float64, nan]", pd.SparseDtype(float)), ("str", "str")],
)
def test_the_spellings_of_earlier_versions_are_read(earlier, dtype):
    assert dtypes.pandas_dtype(earlier) == dtype


POLARS = [pl.Int8, pl.UInt64, pl.Float32, pl.Boolean, pl.String, pl.Null, pl.Categorical, pl.Decimal(12, 3)]


@pytest.mark.parametrize("dtype", POLARS, ids=str)
def test_a_spelling_rebuilds_its_polars_dtype(dtype):
    assert dtypes.polars_dtype(str(dtype), None) == dtype
    assert dtypes.polars_dtype(str(pl.Enum(["b", "a"])), ["b", "a"]) == pl.Enum(["b", "a"])


@pytest.mark.parametrize(
    ("spelling", "most"),
    [
        ("float16", 65504.0),
        ("halffloat[pyarrow]", 65504.0),
        ("Float32", np.finfo(np.float32).max),
        ("float[pyarrow]", np.finfo(np.float32).max),
        ("Float64", np.finfo(np.float64).max),
        ("double[pyarrow]", np.finfo(np.float64).max),
        ("Decimal(precision=5, scale=2)", 999.99),
    ],
)
def test_the_largest_number_that_a_dtype_holds(spelling, most):
    assert dtypes.largest_float(spelling) == pytest.approx(most, rel=1e-9)
    assert dtypes.largest_float(spelling) <= most


@pytest.mark.parametrize(
    ("spelling", "expected"),
    [("int8", "int8"), ("UInt16", "uint16"), ("uint64[pyarrow]", "uint64"), ("Sparse[int8, 7]", "int8")],
)
def test_integers_of_a_dtype_as_numpy_has_them(spelling, expected):
    assert dtypes.integer_type(spelling) == np.dtype(expected)
