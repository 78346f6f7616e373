"""The border to data frames: what goes back into one, and which cells of one are replaced."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pandas.testing import assert_frame_equal

from skvae._table import frames
from skvae._table.frames import Dtype, Format, Patch
from skvae._table.levels import Levels

ABC = Levels(("a", "c"), categories=("c", "b", "a"))


def pandas_column(values, dtype, levels=None):
    return frames.to_frame([values], frames.PANDAS, [Format("x", Dtype.read(dtype), levels)])["x"]


def polars_column(values, dtype, levels=None):
    return frames.to_frame([values], frames.POLARS, [Format("x", Dtype.read(dtype), levels)])["x"]


def floats(*values):
    return np.array(values, dtype=np.float64)


# -- back into a frame -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (floats(1.4, 2.6), "integer:int64", [1, 3]),
        (floats(1.4, -2.6), "integer:Int16", [1, -3]),
        (floats(300.0, -5.0), "integer:uint8", [255, 0]),
        (floats(1.4, 2.6), "integer:int32[pyarrow]", [1, 3]),
        (floats(2.0**53 - 1, -(2.0**53)), "integer:int64", [2**53 - 1, -(2**53)]),
        (floats(0.4, 0.6), "bool:bool", [False, True]),
        (floats(0.4, 0.6), "bool:boolean", [False, True]),
        (floats(0.4, 0.6), "bool:object", [False, True]),
        (floats(0.5, 0.25), "float:float32", [0.5, 0.25]),
        (floats(0.5, 0.25), "float:Float64", [0.5, 0.25]),
    ],
)
def test_numbers_come_back_in_their_pandas_dtype(values, dtype, expected):
    column = pandas_column(values, dtype)
    assert str(column.dtype) == dtype.split(":")[1]
    assert column.tolist() == expected


@pytest.mark.parametrize(
    ("dtype", "comes_back"),
    [
        ("integer:Int64", "Int64"),
        ("integer:int8[pyarrow]", "int8[pyarrow]"),
        ("bool:boolean", "boolean"),
        ("bool:object", "object"),
        ("bool:bool[pyarrow]", "bool[pyarrow]"),
        ("integer:int64", "float64"),  # these have no room for what is missing
        ("bool:bool", "float64"),
    ],
)
def test_a_missing_number_stays_missing_and_the_others_whole(dtype, comes_back):
    column = pandas_column(floats(1.2, np.nan, 0.1), dtype)
    assert str(column.dtype) == comes_back
    assert column.isna().tolist() == [False, True, False]
    if comes_back != "float64":
        assert column.dropna().tolist() == [1, 0]
    if comes_back == "object":
        assert column[1] is None
        assert column[0] is True


@pytest.mark.parametrize(
    ("own", "categories", "values"),
    [
        ("str", ("c", "b", "a"), ["a", None, "c"]),
        ("object", ("c", "b", "a"), ["a", None, "c"]),
        ("int64", (3, 1, 2), [2, None, 3]),
        ("bool", (True, False), [False, None, True]),
        ("datetime64[us]", tuple(pd.to_datetime(["2020-01-01", "2021-01-01"])), [pd.Timestamp("2021-01-01"), None]),
        ("interval[float64, right]", tuple(pd.interval_range(0.0, 2.0)), [pd.Interval(1.0, 2.0), None]),
    ],
)
@pytest.mark.parametrize("ordered", [False, True])
def test_categories_come_back_with_all_that_were_declared_in_their_order(own, categories, values, ordered):
    levels = Levels(tuple(v for v in values if v is not None), categories=categories, ordered=ordered)
    column = pandas_column(values, f"{'ordered' if ordered else 'category'}:{own}", levels)
    assert column.dtype == pd.CategoricalDtype(pd.Index(list(categories), dtype=own), ordered=ordered)
    assert column.dtype.categories.dtype == own
    assert column.isna().tolist() == [v is None for v in values]
    assert [v for v in column if not pd.isna(v)] == [v for v in values if v is not None]


@pytest.mark.parametrize("own", ["str", "object", "string", "string[pyarrow]"])
def test_coded_text_comes_back_as_text(own):
    column = pandas_column(["a", None, "c"], f"text:{own}", Levels(("a", "c")))
    assert column.dtype == pd.Series(["a"], dtype=own).dtype
    assert column.isna().tolist() == [False, True, False]
    assert column.dropna().tolist() == ["a", "c"]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ([3, 1, 3], "integer:int64", [3, 1, 3]),
        ([3.5, 1.5], "float:float64", [3.5, 1.5]),
        ([True, False], "bool:bool", [True, False]),
        ([3, None], "integer:Int64", [3, pd.NA]),
        ([2**53 - 1, 1], "integer:int64", [2**53 - 1, 1]),
    ],
)
def test_coded_numbers_come_back_as_numbers(values, dtype, expected):
    column = pandas_column(values, dtype, Levels(tuple(v for v in values if v is not None)))
    assert str(column.dtype) == dtype.split(":")[1]
    assert column.tolist() == expected


@pytest.mark.parametrize(
    ("values", "dtype", "levels", "expected"),
    [
        (floats(1.4, 2.6), "integer:Int64", None, pl.Series("x", [1, 3], dtype=pl.Int64)),
        (floats(1.4, np.nan), "integer:UInt8", None, pl.Series("x", [1, None], dtype=pl.UInt8)),
        (floats(0.4, 0.6), "bool:Boolean", None, pl.Series("x", [False, True])),
        (floats(np.nan, 0.6), "bool:Boolean", None, pl.Series("x", [None, True], dtype=pl.Boolean)),
        (floats(np.nan, 1.2), "integer:Int32", None, pl.Series("x", [None, 1], dtype=pl.Int32)),
        (floats(0.5, 1.5), "float:Float32", None, pl.Series("x", [0.5, 1.5], dtype=pl.Float32)),
        (
            floats(0.5, np.nan),
            "float:Decimal(precision=10, scale=2)",
            None,
            pl.Series("x", [0.5, None]).cast(pl.Decimal(10, 2)),
        ),
        (floats(np.nan, np.nan), "float:Null", None, pl.Series("x", [None, None], dtype=pl.Null)),
        (["a", None], "text:String", Levels(("a",)), pl.Series("x", ["a", None])),
        (
            ["a", None],
            "category:Enum(categories=['c', 'b', 'a'])",
            ABC,
            pl.Series("x", ["a", None], dtype=pl.Enum("cba")),
        ),
        (["a", None], "category:Categorical", ABC, pl.Series("x", ["a", None], dtype=pl.Categorical)),
        ([3, None], "integer:Int64", Levels((3,)), pl.Series("x", [3, None])),
    ],
)
def test_columns_come_back_in_their_polars_dtype(values, dtype, levels, expected):
    column = polars_column(values, dtype, levels)
    assert column.dtype == expected.dtype
    assert column.to_list() == expected.to_list()


def test_names_and_their_order_are_kept():
    formats = [Format(name, Dtype("float", "float64"), None) for name in ("z", 3, ("a", "b"))]
    assert frames.to_frame([floats(1.0)] * 3, frames.PANDAS, formats).columns.tolist() == ["z", 3, ("a", "b")]


# -- cells replaced --------------------------------------------------------------------------------------------------


def mixed():
    frame = pd.DataFrame(
        {
            "real": [1.5, np.nan, 2.5],
            "whole": [2**53 + 1, 2, 3],
            "gappy": pd.array([1, None, 3], dtype="Int64"),
            "truth": pd.Series([True, None, False], dtype=object).to_numpy(),
            "kind": pd.Categorical(["a", None, "c"], ["c", "b", "a"]),
            "text": pd.array(["x", None, "y"], dtype="string"),
        },
        index=[7, 7, 5],
    )
    frame.attrs["source"] = "census"
    return frame


def patch(rows, values, dtype, levels=None, n=3):
    where = np.zeros(n, dtype=bool)
    where[rows] = True
    return Patch(where, values, Format("x", Dtype.read(dtype), levels))


LETTERS = Levels(("a", "b"), categories=("c", "b", "a"))
TEXT = Levels(("x", "z"))


def test_filled_cells_are_new_and_all_else_is_as_it_was():
    X = mixed()
    before = X.copy()
    out = frames.filled(
        X,
        {
            0: patch([1], floats(9.0), "float:float64"),
            1: patch([2], floats(8.7), "integer:int64"),
            2: patch([1], floats(9.2), "integer:Int64"),
            3: patch([1], floats(1.0), "bool:object"),
            4: patch([1], ["b"], "category:object", LETTERS),
            5: patch([1], ["z"], "text:string", TEXT),
        },
    )
    assert_frame_equal(X, before)
    assert dict(out.dtypes) == dict(X.dtypes)
    assert out.index.equals(X.index)
    assert out.attrs == {"source": "census"}
    assert out.iloc[1].tolist() == [9.0, 2, 9, True, "b", "z"]
    assert_frame_equal(out.iloc[[0]], X.iloc[[0]])
    assert out.iloc[2].tolist() == [2.5, 9, 3, False, "c", "y"]
    assert out["whole"].iloc[0] == 2**53 + 1  # a float would have lost it
    assert_frame_equal(frames.filled(X, {}), X)


def test_filled_cells_of_polars_frames():
    X = pl.DataFrame(
        {
            "real": [1.5, None],
            "whole": [2**53 + 1, 2],
            "kind": pl.Series(["a", None], dtype=pl.Enum("cba")),
            "text": ["x", None],
        }
    )
    out = frames.filled(
        X,
        {
            0: patch([1], floats(9.0), "float:Float64", n=2),
            2: patch([1], ["b"], "category:Enum", LETTERS, n=2),
            3: patch([1], ["z"], "text:String", TEXT, n=2),
        },
    )
    assert out.schema == X.schema
    assert out.rows() == [(1.5, 2**53 + 1, "a", "x"), (9.0, 2, "b", "z")]


@pytest.mark.parametrize("made", [mixed(), pl.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1.0, 2.0, 3.0]})])
def test_numbers_of_the_shape_of_a_frame_have_its_names(made):
    values = np.arange(float(made.shape[0] * made.shape[1])).reshape(made.shape)
    out = frames.like(made, values)
    assert type(out) is type(made)
    assert list(out.columns) == list(made.columns)
    np.testing.assert_array_equal(out.to_numpy(), values)
    if isinstance(made, pd.DataFrame):
        assert out.index.equals(made.index)
    assert frames.like(values, values) is values


def test_index_and_attrs_follow_the_rows():
    out = frames.with_index_of(mixed(), pd.DataFrame({"a": [1, 2, 3]}))
    assert out.index.tolist() == [7, 7, 5]
    assert out.attrs == {"source": "census"}


@pytest.mark.parametrize(
    ("dtypes", "single"),
    [
        (["float:float32", "float:Float32", "float:float[pyarrow]"], True),
        (["float:float32", "float:float64"], False),
        (["float:float32", "category:object"], False),
        ([], False),
    ],
)
def test_single_precision_is_that_of_every_column(dtypes, single):
    assert frames.all_single([Dtype.read(dtype) for dtype in dtypes]) is single
