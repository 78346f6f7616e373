"""The schema: what fit learns of the columns, and the arithmetic between units."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from skvae._table import frames
from skvae._table.inference import Rules, infer_schema
from skvae._table.schema import TableSchema
from skvae._table.tables import Table

quick = settings(max_examples=60, deadline=None)
units = st.lists(st.integers(-30, 30).map(lambda exponent: 10.0**exponent), min_size=3, max_size=3)
tables = hnp.arrays(np.float64, st.tuples(st.integers(2, 20), st.just(3)), elements=st.floats(-1.0, 1.0)).filter(
    lambda x: (np.ptp(x, axis=0) > 1e-3).all()
)


def table(X, names=None):
    p = X.shape[1]
    return Table(X, frames.NUMPY, range(p) if names is None else names, ["float:float64"] * p, X.dtype)


def infer(X, weight=None, kinds=None, names=None, atoms=False, bounded=False):
    p = X.shape[1]
    rules = Rules("linear", [atoms] * p, bounded)
    return infer_schema(table(X, names), weight, ["continuous"] * p if kinds is None else kinds, rules)


def encode(schema, X, *args, **options):
    return schema.encode(table(X, [column.name for column in schema.columns]), *args, **options)


def log_jacobian(schema, X):
    return schema.log_jacobian(encode(schema, X))


def some_table():
    return np.random.default_rng(0).normal(size=(50, 3)) * [1e-3, 1.0, 1e3] + [0.0, 5.0, -1e4]


@quick
@given(tables, units, st.floats(-100.0, 100.0))
def test_decode_undoes_encode(X, unit, shift):
    X = (X + shift) * unit
    schema = infer(X)
    np.testing.assert_allclose(schema.decode(encode(schema, X)), X, rtol=1e-9, atol=1e-12 * np.abs(X).max(axis=0).max())
    for column, back in zip(X.T, schema.decode(encode(schema, X)).T, strict=True):
        np.testing.assert_allclose(back, column, rtol=0, atol=1e-12 * np.abs(column).max())


@quick
@given(tables, units)
def test_encoded_columns_are_standardised_whatever_their_unit(X, unit):
    encoded = encode(infer(X * unit), X * unit)
    np.testing.assert_allclose(encoded.mean(0), 0.0, atol=1e-6)
    np.testing.assert_allclose(encoded.std(0), 1.0, rtol=1e-6)
    np.testing.assert_allclose(encoded, encode(infer(X), X), atol=1e-6)


@quick
@given(tables, units)
def test_jacobian_is_the_derivative_of_encode(X, unit):
    X = X * unit
    schema = infer(X)
    step = X.copy()
    step += np.ptp(X, axis=0)
    slope = (encode(schema, step) - encode(schema, X)) / np.ptp(X, axis=0)
    np.testing.assert_allclose(log_jacobian(schema, X).sum(1), np.log(slope).sum(1), atol=1e-6)


def test_density_of_encoded_columns_and_jacobian_is_that_of_the_data():
    X = some_table()
    schema = infer(X)
    got = stats.norm.logpdf(encode(schema, X)).sum(1) + log_jacobian(schema, X).sum(1)
    np.testing.assert_allclose(got, stats.norm.logpdf(X, X.mean(0), X.std(0)).sum(1))


def test_jacobian_counts_observed_cells_only():
    X = some_table()
    schema = infer(X)
    whole = log_jacobian(schema, X).sum(1)[0]
    X[0, 2] = np.nan
    X[1] = np.nan
    jacobian = log_jacobian(schema, X).sum(1)
    assert jacobian[0] == pytest.approx(whole + np.log(schema.columns[2].scale))
    assert jacobian[1] == 0.0


def test_weights_are_repeats_and_zero_is_removal():
    X = some_table()
    weight = np.random.default_rng(1).integers(0, 3, len(X)).astype(float)
    weighed, repeated = infer(X, weight), infer(np.repeat(X, weight.astype(int), axis=0))
    for name in ("location", "scale", "mean"):
        np.testing.assert_allclose(weighed.of_cells(name, 0.0), repeated.of_cells(name, 0.0), rtol=1e-9, atol=1e-9)
    X[weight == 0] = 1e9
    assert infer(X, weight) == weighed
    assert weighed.n_rows == np.count_nonzero(weight)


def test_missing_cells_say_nothing_of_their_column():
    X = some_table()
    holed = np.vstack([X, np.full((7, 3), np.nan)])
    assert infer(holed).columns == infer(X).columns
    assert np.isnan(encode(infer(X), holed)[-7:]).all()


@pytest.mark.parametrize("value", [0.0, 1.0, -1e30, 1e-30])
def test_constant_column_stands_outside(value):
    X = some_table()
    X[:, 1] = value
    schema = infer(X)
    assert [cell.column for cell in schema.cells] == [0, 2]
    assert encode(schema, X).shape == (50, 2)
    np.testing.assert_allclose(schema.decode(encode(schema, X)), X, rtol=1e-9, atol=1e-9)
    assert schema.name_of_cell(1) == 2
    assert not schema.surprises(table(X)).any()


def test_rounding_noise_is_constant():
    X = some_table()
    X[:, 1] = 0.1 * (1.0 + 1e-15 * np.arange(50))
    assert [cell.column for cell in infer(X).cells] == [0, 2]


def test_column_never_observed_decodes_to_nan_and_surprises_nobody():
    X = some_table()
    X[:, 1] = np.nan
    schema = infer(X)
    seen = some_table()
    assert np.isnan(schema.decode(encode(schema, X))[:, 1]).all()
    assert not schema.surprises(table(seen)).any()


def test_surprises_are_the_cells_that_differ_from_the_constant():
    X = some_table()
    X[:, 1] = 7.0
    schema = infer(X)
    X[0, 1], X[1, 1] = 8.0, np.nan
    expected = np.zeros((50, 3), dtype=bool)
    expected[0, 1] = True
    np.testing.assert_array_equal(schema.surprises(table(X)), expected)
    assert schema.surprise == pytest.approx(np.log(52))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_cells_stay_finite_squared(dtype):
    schema = infer(some_table())
    far = np.full((1, 3), np.finfo(dtype).max, dtype=dtype)
    with np.errstate(over="raise"):
        assert np.isfinite(encode(schema, far).astype(dtype) ** 2).all()


def test_binary_columns_are_left_as_they_are_and_checked():
    X = np.column_stack([some_table()[:, 0], np.arange(50) % 2])
    schema = infer(X, kinds=["continuous", "binary"], names=["a", "b"])
    np.testing.assert_array_equal(encode(schema, X)[:, 1], X[:, 1])
    np.testing.assert_array_equal(log_jacobian(schema, X)[:, :1], log_jacobian(infer(X[:, :1]), X[:, :1]))
    assert (log_jacobian(schema, X)[:, 1] == 0.0).all()
    assert schema.of_cells("mean", np.nan)[1] == 0.5
    X[3, 1] = 2.0
    with pytest.raises(ValueError, match="Column 'b' ranges from 0 to 2"):
        encode(schema, X)
    with pytest.raises(ValueError, match="Column 'b' ranges from 0 to 2"):
        infer(X, kinds=["continuous", "binary"], names=["a", "b"])


def test_schema_survives_json():
    X = some_table()
    X[:, 1] = 3.0
    schema = infer(X, names=["a", "b", "c"])
    restored = TableSchema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert restored == schema
    np.testing.assert_array_equal(encode(restored, X), encode(schema, X))


def test_robust_location_and_width_are_in_standardised_units():
    X = np.random.default_rng(0).standard_t(3, size=(2000, 2)) * [1.0, 1e6]
    schema = infer(X)
    encoded = encode(schema, X)
    np.testing.assert_allclose(schema.of_cells("centre", np.nan), np.median(encoded, axis=0), atol=0.01)
    quartiles = np.quantile(encoded, [0.25, 0.75], axis=0)
    np.testing.assert_allclose(schema.of_cells("width", np.nan), np.diff(quartiles, axis=0)[0] / 1.349, rtol=0.02)


def test_long_columns_are_read_off_every_kth_row(monkeypatch):
    X = np.random.default_rng(0).normal(size=(5000, 1))
    exact = infer(X).columns[0]
    monkeypatch.setattr("skvae._table.kinds.QUANTILE_ROWS", 1000)
    thinned = infer(X).columns[0]
    assert (thinned.location, thinned.scale) == (exact.location, exact.scale)
    assert thinned.width != exact.width
    assert thinned.width == pytest.approx(exact.width, rel=0.1)
