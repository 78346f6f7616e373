"""Rows as the user gave them, read a column at a time."""

import datetime
import itertools

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skvae._table import frames, tables
from skvae._table.tables import LooseRows, Table

CONTAINERS = {pd.DataFrame: frames.PANDAS, pl.DataFrame: frames.POLARS, np.ndarray: frames.NUMPY}


def table(X):
    container = CONTAINERS[type(X)]
    if container == frames.NUMPY:
        return Table(X, container, range(X.shape[1]), [frames.Dtype("float", "float64")] * X.shape[1], X.dtype)
    return Table(X, container, frames.names_of(X), frames.dtypes_of(X), np.dtype(np.float64))


def one(series):
    return table(series.to_frame("c") if isinstance(series, pd.Series) else pl.DataFrame({"c": series}))


def of_pandas(values, dtype):
    return one(pd.Series(values, dtype=dtype))


NUMBERS = [
    (of_pandas([1.5, np.nan, -2.0], "float64"), [1.5, np.nan, -2.0]),
    (of_pandas([1.5, None, -2.0], "float32"), [1.5, np.nan, -2.0]),
    (of_pandas([1.5, pd.NA, -2.0], "Float64"), [1.5, np.nan, -2.0]),
    (of_pandas([1.5, None, -2.0], "double[pyarrow]"), [1.5, np.nan, -2.0]),
    (of_pandas([1, 0, -2], "int8"), [1, 0, -2]),
    (of_pandas([1, pd.NA, 2**53], "Int64"), [1, np.nan, 2**53]),
    (of_pandas([1, None, 2**53], "int64[pyarrow]"), [1, np.nan, 2**53]),
    (of_pandas([True, False, True], "bool"), [1, 0, 1]),
    (of_pandas([True, pd.NA, False], "boolean"), [1, np.nan, 0]),
    (of_pandas([True, None, False], "bool[pyarrow]"), [1, np.nan, 0]),
    (of_pandas([True, None, False], "object"), [1, np.nan, 0]),
    (of_pandas([True, pd.NA, np.nan], "object"), [1, np.nan, np.nan]),
    (of_pandas([None, None, None], "object"), [np.nan] * 3),
    (one(pl.Series([1.5, None, float("nan")])), [1.5, np.nan, np.nan]),
    (one(pl.Series([1, None, 2**53])), [1, np.nan, 2**53]),
    (one(pl.Series([True, None, False])), [1, np.nan, 0]),
    (one(pl.Series([None, None, None])), [np.nan] * 3),
    (one(pl.Series([1, None, 3]).cast(pl.Decimal(10, 2))), [1, np.nan, 3]),
    (table(np.array([[1.5], [np.nan], [-2.0]])), [1.5, np.nan, -2.0]),
]
every_number = pytest.mark.parametrize(("rows", "expected"), NUMBERS, ids=lambda x: getattr(x, "dtypes", [None])[0])


@every_number
def test_numbers_are_float64_with_nan_where_missing(rows, expected):
    np.testing.assert_array_equal(rows.numbers(0), np.array(expected, dtype=np.float64), strict=True)
    np.testing.assert_array_equal(rows.missing(), np.isnan(np.array(expected, dtype=float))[:, np.newaxis])
    assert rows.has_missing() == np.isnan(np.array(expected, dtype=float)).any()


def test_an_array_of_single_precision_stays_one():
    assert table(np.ones((3, 2), dtype=np.float32)).numbers(1).dtype == np.float32


LABELS = [
    (of_pandas(["b", None, "a", "b"], "object"), ["b", None, "a", "b"], ["a", "b"], False),
    (of_pandas(["b", pd.NA, "a", "b"], "string"), ["b", None, "a", "b"], ["a", "b"], False),
    (of_pandas(["b", None, "a", "b"], "str"), ["b", None, "a", "b"], ["a", "b"], False),
    (of_pandas([3, 1, 3], "int64"), [3, 1, 3], [1, 3], False),
    (of_pandas([3, pd.NA, 3], "Int64"), [3, None, 3], [3], False),
    (of_pandas([True, None, False], "object"), [True, None, False], [False, True], False),
    (one(pd.Series(pd.Categorical(["b", None, "a"], ["z", "b", "a"]))), ["b", None, "a"], ["z", "b", "a"], True),
    (one(pd.Series(pd.Categorical([2, 1, None], [1, 2, 3], ordered=True))), [2, 1, None], [1, 2, 3], True),
    (one(pl.Series(["b", None, "a"])), ["b", None, "a"], ["a", "b"], False),
    (one(pl.Series(["b", None, "a"], dtype=pl.Categorical)), ["b", None, "a"], ["a", "b"], True),
    (one(pl.Series(["b", None, "a"], dtype=pl.Enum(["z", "b", "a"]))), ["b", None, "a"], ["z", "b", "a"], True),
    (one(pl.Series([3, None, 1])), [3, None, 1], [1, 3], False),
    (table(np.array([[3.0], [np.nan], [1.0]])), [3.0, None, 1.0], [1.0, 3.0], False),
]


@pytest.mark.parametrize(("rows", "cells", "values", "declared"), LABELS)
def test_labels_are_codes_under_values_and_say_whether_these_are_declared(rows, cells, values, declared):
    codes, found, is_declared = rows.labels(0)
    assert codes.dtype.kind == "i"
    assert found == values
    assert is_declared is declared
    assert [None if code < 0 else found[code] for code in codes] == cells
    assert not any(isinstance(value, np.generic) for value in found)
    np.testing.assert_array_equal(rows.missing()[:, 0], codes < 0)


@pytest.mark.parametrize(
    ("series", "family"),
    [
        (pd.Series([1.5]), "float"),
        (pd.Series([1], dtype="uint8"), "integer"),
        (pd.Series([True]), "bool"),
        (pd.Series([None, True], dtype=object), "bool"),
        (pd.Series([None, "x"], dtype=object), "text"),
        (pd.Series([None, None], dtype=object), "float"),
        (pd.Series(["x"]), "text"),
        (pd.Series(["x"], dtype="category"), "category"),
        (pd.Series(pd.Categorical(["x"], ordered=True)), "ordered"),
        (pd.Series(pd.cut([1.0, 2.0], 2)), "ordered"),
        (pd.Series(pd.to_datetime(["2020-01-01"])).astype("category"), "category"),
        (pl.Series([1.5]), "float"),
        (pl.Series([1]), "integer"),
        (pl.Series([True]), "bool"),
        (pl.Series(["x"]), "text"),
        (pl.Series(["x"], dtype=pl.Categorical), "category"),
        (pl.Series(["x"], dtype=pl.Enum(["x"])), "category"),
        (pl.Series([None]), "float"),
    ],
)
def test_family_of_a_column_is_read_off_its_dtype(series, family):
    assert one(series).dtypes[0].family == family


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, "x"], r"'c' has dtype object and holds values of several types \(int, str\): make them one type"),
        ([True, "x", None], r"several types \(bool, str\)"),
        ([(1,), 2.5], r"several types \(float, tuple\)"),
        ([1, 2], r"'c' has dtype object: convert it with pd.to_numeric"),
        ([1.5, None], "convert it with pd.to_numeric"),
        ([datetime.time(1, tzinfo=datetime.UTC), None], r"times with time zones\): make it dates of one time zone"),
    ],
)
def test_objects_that_are_neither_truth_nor_text_are_refused_by_name(values, message):
    with pytest.raises(TypeError, match=message):
        refuse(pd.Series(values, dtype=object))


def refuse(*series, coded=False, fit=None, **options):
    names = [f"c{j}" if j else "c" for j in range(len(series))]
    make = pd.DataFrame if isinstance(series[0], pd.Series) else pl.DataFrame
    frame = make(dict(zip(names, series, strict=True)))
    frames.refuse_unreadable(frame, [coded] * len(series), [fit] * len(series), **options)


WORDS = ["x", "y"]
IS = r"Column 'c' has dtype \w+(\[\w+\])?: "


@pytest.mark.parametrize(
    ("series", "options", "message"),
    [
        (pd.Series(WORDS), {}, r"make it categorical with X.astype\(\{'c': 'category'\}\)\.$"),
        (
            pd.Series(WORDS),
            {"has_likelihood": True},
            r".*'category'\}\), or use VAETransformer\(likelihood=\{'c': 'cat",
        ),
        (pd.Series(WORDS), {"fit": "numbers"}, r"fit saw numbers in it: .*X\['c'\] = pd.to_numeric\(X\['c'\], err"),
        (pd.Series(["1", "2.5", "n/a"]), {}, "turn it back with .*pd.to_numeric"),
        (pd.Series(WORDS, dtype="category"), {}, "choose the likelihood 'categorical' or 'ordinal' for it"),
        (pd.Series(WORDS, dtype="category"), {"fit": "numbers"}, "fit saw numbers in it: .*pd.to_numeric"),
        (pl.Series(WORDS), {}, r"make it categorical with X.with_columns\(pl.col\('c'\).cast\(pl.Categorical\)\)\.$"),
        (pl.Series(WORDS), {"has_likelihood": True}, r".*or use VAETransformer\(likelihood=\{'c': 'categorical'\}\)"),
        (
            pl.Series(["1", None, "2"]),
            {},
            r"turn it back with .*pl.col\('c'\).*cast\(pl.Float64, strict=False\)",
        ),
        (pl.Series(WORDS, dtype=pl.Categorical), {}, ".*leave it to 'auto'"),
        (pl.Series(WORDS, dtype=pl.Categorical), {"fit": "numbers"}, "fit saw numbers in it: .*strict=False"),
    ],
)
def test_what_is_no_number_is_refused_with_advice_that_fits(series, options, message):
    with pytest.raises(TypeError, match=IS + message) as caught:
        refuse(series, **options)
    if isinstance(series, pl.Series):
        assert "astype" not in str(caught.value)


def test_all_columns_that_cannot_be_read_are_named_in_one_error():
    day = pd.Series(np.array([1j, 2j]))
    with pytest.raises(TypeError) as caught:
        refuse(pd.Series(WORDS), pd.Series([1.0, 2.0]), day, pd.Series(WORDS), pd.Series(["1", "2"]))
    message = str(caught.value)
    assert "Columns 'c', 'c3' have dtype" in message
    assert "make them categorical with X.astype({'c': 'category', 'c3': 'category'})" in message
    assert "Column 'c2' has dtype complex128" in message
    assert "Column 'c4' has dtype" in message
    assert "c1" not in message


def test_what_is_read_as_levels_may_be_anything_but_dates_and_mixtures():
    refuse(pd.Series(WORDS), pd.Series([1, 2]), pd.Series(WORDS, dtype="category"), coded=True)
    with pytest.raises(TypeError, match=r"Column 'c' has dtype datetime64.*fit saw categories in it: pass these"):
        refuse(pd.Series(pd.to_datetime(["2020-01-01", None])), coded=True, fit="categories")


def test_a_long_list_of_names_is_cut_and_counted():
    with pytest.raises(TypeError, match="'c29' and 5 more have dtype"):
        refuse(*[pd.Series(WORDS)] * 35)


@pytest.mark.parametrize(
    "series", [pd.Series([1.0, np.inf]), pd.Series([1.0, -np.inf], dtype="Float64"), pl.Series([np.inf])]
)
def test_infinity_is_an_error_that_names_the_column(series):
    with pytest.raises(ValueError, match=r"Input X contains infinity .* Column 'c' holds it"):
        one(series).numbers(0)


# -- rows of rows ----------------------------------------------------------------------------------------------------


def some(container, n=23):
    x, kind = np.arange(float(n)), np.array(list("abc"))[np.arange(n) % 3]
    x[5] = np.nan
    if container == frames.NUMPY:
        return table(np.column_stack([x, np.arange(n) % 3]))
    if container == frames.POLARS:
        return table(pl.DataFrame({"x": x, "kind": pl.Series(kind, dtype=pl.Categorical)}))
    return table(pd.DataFrame({"x": x, "kind": pd.Categorical(kind)}, index=np.zeros(n, dtype=int)))


def cells(rows):
    codes, values, _ = rows.labels(1)
    return rows.numbers(0).tolist(), [values[code] for code in codes], rows.missing().tolist(), len(rows)


every_container = pytest.mark.parametrize("container", list(CONTAINERS.values()))
PARTS = [slice(3, 9), slice(None, None, 4), slice(20, 99), np.array([7, 5, 5, 0]), np.array([], dtype=int)]


def assert_same(one, other):
    np.testing.assert_equal(cells(one), cells(other))


@every_container
@pytest.mark.parametrize("part", PARTS, ids=str)
def test_rows_that_are_taken_are_those_rows(container, part):
    whole = cells(some(container))
    index = np.arange(23)[part]
    expected = [[column[i] for i in index] for column in whole[:3]]
    np.testing.assert_equal(cells(some(container).take(part)), (*expected, len(index)))


@every_container
@pytest.mark.parametrize("first", PARTS[:4], ids=str)
@pytest.mark.parametrize("second", [slice(1, 3), np.array([2, 0])], ids=str)
def test_rows_may_be_taken_twice(container, first, second):
    index = np.arange(23)[first][second]
    assert_same(some(container).take(first).take(second), some(container).take(index))


@every_container
def test_a_part_knows_whether_it_has_missing_cells(container):
    assert some(container).has_missing()
    assert not some(container).take(slice(6, None)).has_missing()
    assert some(container).take(np.array([5])).has_missing()


@every_container
def test_nothing_is_copied_before_it_is_read(container):
    rows = some(container)
    assert rows.take(np.array([3, 1])).X is rows.X or container == frames.NUMPY


def test_a_table_in_slices_is_the_table(monkeypatch):
    name = "SLICE_CELLS" if hasattr(tables, "SLICE_CELLS") else "SLICE"
    monkeypatch.setattr(tables, name, 10)
    for container in CONTAINERS.values():
        parts = list(some(container).slices())
        assert len(parts) > 1
        columns = list(zip(*[cells(part) for part in parts], strict=True))[:3]
        together = [list(itertools.chain(*column)) for column in columns]
        np.testing.assert_equal((*together, sum(len(part) for part in parts)), cells(some(container)))


def test_loose_rows_are_read_as_those_of_a_container_are():
    columns = {0: np.array([1.0, np.nan, 3.0]), 2: ["b", None, "a"], 3: [2, None, 2**60]}
    rows = LooseRows(columns, 3, [frames.Dtype("float", "float64")] * 4)
    assert (len(rows), list(rows.slices())) == (3, [rows])
    np.testing.assert_array_equal(rows.numbers(0), [1.0, np.nan, 3.0])
    np.testing.assert_array_equal(rows.numbers(1), [np.nan] * 3)
    np.testing.assert_array_equal(rows.numbers(3), [2.0, np.nan, 2.0**60])
    codes, values, declared = rows.labels(2)
    assert (codes.tolist(), values, declared) == ([0, -1, 1], ["b", "a"], False)
    np.testing.assert_array_equal(rows.exact_codes(2, {"a": 5, "b": 7}), [7.0, np.nan, 5.0])
    assert rows.missing().T.tolist() == [[False, True, False], [True] * 3, [False, True, False], [False, True, False]]
