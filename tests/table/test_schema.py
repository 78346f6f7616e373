"""The schema: what fit learns of the columns, and the arithmetic between units."""

import inspect
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import polars
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from skvae import VAETransformer
from skvae._model.reading import read
from skvae._table import frames
from skvae._table.columns import Atomic, Coded, Constant, Facts, Number
from skvae._table.inference import Sought, infer_schema
from skvae._table.kinds import FAR
from skvae._table.ranks import Ranks
from skvae._table.schema import TableSchema
from skvae._table.tables import Table

quick = settings(max_examples=60, deadline=None)
units = st.lists(st.integers(-30, 30).map(lambda exponent: 10.0**exponent), min_size=3, max_size=3)
tables = hnp.arrays(np.float64, st.tuples(st.integers(2, 20), st.just(3)), elements=st.floats(-1.0, 1.0)).filter(
    lambda x: (np.ptp(x, axis=0) > 1e-3).all()
)


def table(X, names=None):
    p = X.shape[1]
    return Table(X, frames.NUMPY, range(p) if names is None else names, [frames.Dtype("float", "float64")] * p, X.dtype)


def read_rows(X):
    return read(VAETransformer(), X, reset=True)


def infer(X, weight=None, kinds=None, names=None, atoms=False, bounded=False):
    p = X.shape[1]
    rules = Sought("linear", [atoms] * p, bounded)
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
    low, high = np.quantile(X, [0.05, 0.95], axis=0, method="inverted_cdf")
    assume(((high == low) | (np.ptp(X, axis=0) <= FAR * (high - low))).all())  # beyond, a cell does not rule its column
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
        np.testing.assert_allclose(weighed.cells.of(name), repeated.cells.of(name), rtol=1e-9, atol=1e-9)
    X[weight == 0] = 1e9
    assert infer(X, weight) == weighed
    assert weighed.n_rows == np.count_nonzero(weight)


def test_missing_cells_say_nothing_of_their_column():
    X = some_table()
    holed = np.vstack([X, np.full((7, 3), np.nan)])
    assert [column.missing for column in infer(holed).columns] == pytest.approx([7 / 57] * 3)
    assert tuple(replace(column, missing=0.0) for column in infer(holed).columns) == infer(X).columns
    assert np.isnan(encode(infer(X), holed)[-7:]).all()


@pytest.mark.parametrize("value", [0.0, 1.0, -1e30, 1e-30])
def test_constant_column_stands_outside(value):
    X = some_table()
    X[:, 1] = value
    schema = infer(X)
    assert [cell.column for cell in schema.cells] == [0, 2]
    assert encode(schema, X).shape == (50, 2)
    np.testing.assert_allclose(schema.decode(encode(schema, X)), X, rtol=1e-9, atol=1e-9)
    assert schema.cells[1].name == 2
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
    assert schema.cells.of("mean")[1] == 0.5
    X[3, 1] = 2.0
    with pytest.raises(ValueError, match="Column 'b' ranges from 0 to 2"):
        encode(schema, X)
    with pytest.raises(ValueError, match="Column 'b' ranges from 0 to 2"):
        infer(X, kinds=["continuous", "binary"], names=["a", "b"])


def test_schema_survives_json():
    X = some_table()
    X[:, 1] = 3.0
    X[:, 2] = np.repeat([7.25, 8.05, 13.0, 26.0], -(-len(X) // 4))[: len(X)]
    schema = infer(X, names=["a", "b", "c"], bounded=True)
    assert schema.columns[2].heaps is not None
    ranks = Ranks((-1.0, 0.0, 2.0), (1.0, 2.0, 3.0))
    schema = replace(schema, columns=(replace(schema.columns[0], ranks=ranks), *schema.columns[1:]))
    restored = TableSchema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert restored == schema
    np.testing.assert_array_equal(encode(restored, X), encode(schema, X))
    np.testing.assert_array_equal(restored.decode(encode(schema, X) + 0.01), schema.decode(encode(schema, X) + 0.01))


def test_robust_location_and_width_are_in_standardised_units():
    X = np.random.default_rng(0).standard_t(3, size=(2000, 2)) * [1.0, 1e6]
    schema = infer(X)
    encoded = encode(schema, X)
    np.testing.assert_allclose(schema.cells.of("centre"), np.median(encoded, axis=0), atol=0.01)
    quartiles = np.quantile(encoded, [0.25, 0.75], axis=0)
    np.testing.assert_allclose(schema.cells.of("width"), np.diff(quartiles, axis=0)[0] / 1.349, rtol=0.02)


def test_long_columns_are_read_off_every_kth_row(monkeypatch):
    X = np.random.default_rng(0).normal(size=(5000, 1))
    exact = infer(X).columns[0]
    monkeypatch.setattr("skvae._table.kinds.QUANTILE_ROWS", 1000)
    thinned = infer(X).columns[0]
    assert (thinned.location, thinned.scale) == (exact.location, exact.scale)
    assert thinned.width != exact.width
    assert thinned.width == pytest.approx(exact.width, rel=0.1)


# -- kinds of cells --------------------------------------------------------------------------------------------------

KINDS = ["continuous", "positive", "binary", "count", "categorical", "ordinal"]


def frame_of_kinds(n=300, seed=0):
    """One column of every kind, the first two with atoms."""
    rng = np.random.default_rng(seed)
    gain, income = rng.normal(50.0, 9.0, n), rng.lognormal(10.0, 1.0, n)
    gain[rng.random(n) < 0.4], income[rng.random(n) < 0.3] = 0.0, 0.0
    gain[rng.random(n) < 0.2] = 99.0
    return pd.DataFrame(
        {
            "gain": gain,
            "income": income,
            "member": rng.random(n) < 0.3,
            "visits": rng.poisson(3.0, n),
            "town": pd.Categorical(rng.choice(["Rome", "Oslo", "Bern"], n), ["Rome", "Oslo", "Bern", "Lima"]),
            "grade": pd.Categorical(rng.choice(["low", "mid", "top"], n), ["low", "mid", "top"], ordered=True),
        }
    )


def rows_of(frame):
    return Table(frame, frames.PANDAS, list(frame), frames.dtypes_of(frame), np.dtype(np.float64))


def infer_kinds(frame, kinds=KINDS, atoms=True, bounded=True, marginals="linear", weight=None):
    return infer_schema(rows_of(frame), weight, kinds, Sought(marginals, [atoms] * len(kinds), bounded))


def holed_frame():
    frame = frame_of_kinds().astype({"member": "boolean", "visits": "Int64"})
    for j in range(6):
        frame.iloc[j::7, j] = pd.NA if j in (2, 3) else None
    return frame


def test_an_atom_column_is_two_cells_and_every_other_one():
    schema = infer_kinds(frame_of_kinds())
    assert [(cell.column, cell.kind, cell.is_atom, cell.n_codes) for cell in schema.cells] == [
        (0, "categorical", True, 3),
        (0, "continuous", False, 0),
        (1, "categorical", True, 2),
        (1, "positive", False, 0),
        (2, "binary", False, 0),
        (3, "count", False, 0),
        (4, "categorical", False, 3),
        (5, "ordinal", False, 3),
    ]
    assert schema.cells.gates == ((1, 0), (3, 2))
    assert [shares is None for shares in schema.cells.frequencies] == [
        False,
        True,
        False,
        True,
        True,
        True,
        False,
        False,
    ]
    assert all(sum(shares) == pytest.approx(1.0) for shares in schema.cells.frequencies if shares)
    assert [cell.name for cell in schema.cells] == [
        "gain",
        "gain",
        "income",
        "income",
        *list(frame_of_kinds())[2:],
    ]
    np.testing.assert_array_equal(schema.cells.of("location")[[0, 2]], 0.0)
    assert infer_kinds(frame_of_kinds(), atoms=False, kinds=["continuous", "continuous", *KINDS[2:]]).cells.gates == ()


@pytest.mark.parametrize("marginals", ["linear", "normal"])
@pytest.mark.parametrize("make", [frame_of_kinds, holed_frame])
def test_encoded_rows_of_every_kind_come_back(make, marginals):
    frame = make()
    schema = infer_kinds(frame, marginals=marginals)
    encoded = schema.encode(rows_of(frame))
    back = schema.restore(schema.decode(np.nan_to_num(encoded)))
    assert dict(back.dtypes) == dict(frame.dtypes)
    there = frame.notna()
    np.testing.assert_array_equal(np.isnan(schema.by_column(encoded)), ~there)
    for name in frame:
        got, expected = back[name][there[name]], frame[name][there[name]]
        if name in ("gain", "income"):
            np.testing.assert_allclose(got, expected, rtol=1e-9)
            np.testing.assert_array_equal(got == 0.0, expected == 0.0)  # an atom is exact
        else:
            assert got.tolist() == expected.tolist()


def test_the_part_of_a_cell_decides_what_comes_back():
    schema = infer_kinds(frame_of_kinds())
    cells = np.zeros((4, len(schema.cells)))
    cells[:, 0], cells[:, 1] = [0, 1, 2, 0], [0.5, 0.5, 0.5, -0.5]
    column = schema.columns[0]
    expected = [column.location + 0.5 * column.scale, 0.0, 99.0, column.location - 0.5 * column.scale]
    np.testing.assert_allclose(schema.decode(cells)[:, 0], expected)


@pytest.mark.parametrize("bounded", [True, False])
def test_decoded_numbers_stay_within_the_training_rows_where_asked(bounded):
    frame = frame_of_kinds()[["gain", "income"]]
    schema = infer_kinds(frame, ["continuous", "positive"], bounded=bounded)
    cells = np.zeros((2, 4))
    cells[:, [1, 3]] = [[-30.0, -30.0], [30.0, 30.0]]
    values = schema.decode(cells)
    dense = [frame[column.name][~frame[column.name].isin(column.atoms)] for column in schema.columns]
    low, high = ([getattr(part, end)() for part in dense] for end in ("min", "max"))  # atoms come back by themselves
    if bounded:
        np.testing.assert_array_equal(values, [low, high])
    else:
        assert (values[1] > high).all()
        assert (values[0] < low).all()


def test_unbounded_logarithms_end_at_the_largest_number():
    schema = infer_kinds(frame_of_kinds()[["income"]], ["positive"], bounded=False)
    assert schema.decode(np.array([[0.0, 1e9]]))[0, 0] == np.finfo(np.float64).max


def test_jacobian_of_every_kind_is_the_derivative_of_encode_and_0_where_nothing_is_dense():
    frame = frame_of_kinds()
    schema = infer_kinds(frame)
    encoded = schema.encode(rows_of(frame))
    jacobian = schema.log_jacobian(encoded)
    assert (jacobian[:, [0, 2, 4, 5, 6, 7]] == 0.0).all()
    for name, cell in (("gain", 1), ("income", 3)):
        is_atom = frame[name].isin([0.0, 99.0]).to_numpy()
        assert (jacobian[is_atom, cell] == 0.0).all()
        step = 1e-6 * frame[name].to_numpy()
        up, down = (schema.encode(rows_of(frame.assign(**{name: frame[name] + s})))[:, cell] for s in (step, -step))
        slope = ((up - down)[~is_atom]) / (2.0 * step[~is_atom])
        np.testing.assert_allclose(jacobian[~is_atom, cell], np.log(slope), atol=1e-4)


def test_jacobian_of_normal_scores_and_atoms_counts_what_is_no_atom():
    frame = frame_of_kinds()[["gain"]]
    normal, linear = (infer_kinds(frame, ["continuous"], marginals=m) for m in ("normal", "linear"))
    own = normal.log_jacobian(normal.encode(rows_of(frame)))
    is_atom = frame["gain"].isin([0.0, 99.0]).to_numpy()
    assert (own[is_atom] == 0.0).all()
    assert not np.allclose(own[~is_atom, 1], linear.log_jacobian(linear.encode(rows_of(frame)))[~is_atom, 1])


def test_missing_codes_and_parts_have_no_jacobian_and_stay_missing():
    frame = holed_frame()
    schema = infer_kinds(frame)
    encoded = schema.encode(rows_of(frame))
    assert np.isnan(encoded[0, :2]).all()  # the part and the value
    assert np.isfinite(schema.log_jacobian(encoded)).all()
    assert (schema.log_jacobian(encoded)[np.isnan(encoded)] == 0.0).all()


def amounts(dtype=np.float64, n=400):
    """Two columns: an amount that is 0.1 in half of the rows, and a number."""
    rng = np.random.default_rng(0)
    return np.column_stack([np.where(rng.random(n) < 0.5, 0.1, rng.normal(3.0, 1.0, n)), rng.normal(size=n)]).astype(
        dtype
    )


@pytest.mark.parametrize("of_fit", [np.float32, np.float64])
@pytest.mark.parametrize("later", ["float16", "float32", "float64", "Float32", "float[pyarrow]", "array", "polars"])
def test_atoms_are_known_in_every_precision(of_fit, later):
    X = amounts(of_fit)
    if later == "array":
        rows, learned = read_rows(X.astype(np.float32)), read_rows(X)
    elif later == "polars":
        rows = read_rows(polars.DataFrame(X, schema=["a", "b"]).cast(polars.Float32))
        learned = read_rows(polars.DataFrame(X, schema=["a", "b"]))
    else:
        frame = pd.DataFrame(X, columns=["a", "b"])
        rows, learned = read_rows(frame.astype(later)), read_rows(frame)
    schema = infer_schema(learned, None, ["continuous"] * 2, Sought("linear", [True] * 2, True))
    assert len(schema.columns[0].atoms) == 1
    np.testing.assert_array_equal(schema.encode(rows)[:, 0], (X[:, 0] == X.dtype.type(0.1)).astype(float))


def test_integers_are_atoms_exactly():
    big = 2**40
    frame = pd.DataFrame({"n": [big] * 50 + [big + 1 + i for i in range(50)]})
    schema = infer_schema(read_rows(frame), None, ["continuous"], Sought("linear", [True], True))
    assert schema.columns[0].atoms == (float(big),)
    np.testing.assert_array_equal(schema.encode(read_rows(frame))[:, 0], [1.0] * 50 + [0.0] * 50)


def test_draws_of_the_rest_do_not_round_onto_atoms():
    """An atom has a probability of its own: what is no atom goes to the next multiple of the step."""
    hours = np.concatenate([np.full(100, 40.0), np.arange(0.0, 80.0)])[:, np.newaxis]
    schema = infer(hours, atoms=True, bounded=True)
    assert (schema.columns[0].atoms, schema.columns[0].step) == ((40.0,), 1.0)
    column = schema.columns[0]
    values = (np.array([39.6, 40.3, 40.2, 38.9, 400.0]) - column.location) / column.scale
    rest = np.column_stack([np.zeros(5), values])
    np.testing.assert_array_equal(schema.decode(rest)[:, 0], [39.0, 41.0, 41.0, 39.0, 79.0])
    np.testing.assert_array_equal(schema.decode(np.array([[1.0, 0.0]]))[:, 0], [40.0])


def test_where_every_multiple_is_an_atom_draws_stay_on_the_nearest():
    schema = infer(np.repeat([0.0, 1.0, 2.0], 40)[:, np.newaxis], atoms=True, bounded=True)
    column = schema.columns[0]
    cells = np.column_stack([np.zeros(3), (np.array([0.2, 0.9, 2.0]) - column.location) / column.scale])
    np.testing.assert_array_equal(schema.decode(cells)[:, 0], [0.0, 1.0, 2.0])


@pytest.mark.parametrize("kind", ["continuous", "positive"])
def test_densities_relative_to_the_columns_own_units_do_not_depend_on_those_of_the_data(kind):
    X = np.exp(np.random.default_rng(0).normal(size=(60, 2)))
    X[::3, 0] = np.nan
    relative = {}
    for unit in (1e-3, 1.0, 1e4):
        schema = infer(X * unit, kinds=[kind] * 2)
        rows = table(X * unit)
        relative[unit] = schema.log_correction(rows, schema.encode(rows), relative=True)
        own = schema.log_correction(rows, schema.encode(rows))
        observed = ~np.isnan(X)
        units = np.broadcast_to([column.log_unit for column in schema.columns], X.shape)
        np.testing.assert_allclose((relative[unit] - own)[observed], units[observed])
        assert (relative[unit][~observed] == 0.0).all()
    np.testing.assert_allclose(relative[1e-3], relative[1.0], atol=1e-9)
    np.testing.assert_allclose(relative[1e4], relative[1.0], atol=1e-9)


def test_expectation_is_the_mixture_of_the_atoms_and_the_rest():
    schema = infer_kinds(frame_of_kinds())
    b = schema.columns[1]
    edges = [slice(0, 3), 3, slice(4, 6), 6, 7, 8, slice(9, 12), slice(12, 15)]
    statistics = np.zeros((2, 15))
    statistics[:, edges[0]], statistics[:, edges[1]] = [[0.5, 0.3, 0.2], [0.0, 1.0, 0.0]], 0.4
    statistics[:, edges[2]], statistics[:, edges[3]] = [[1.0, 0.0], [0.25, 0.75]], b.low
    statistics[:, [7, 8]] = [[0.2, 4.5], [0.9, 1.5]]
    statistics[:, edges[6]], statistics[:, edges[7]] = [[0.1, 0.7, 0.2], [0.5, 0.5, 0.0]], [[0, 0, 1], [0.2, 0.6, 0.2]]
    gain, income, member, visits, town, grade = schema.expect(statistics)
    np.testing.assert_allclose(gain, [0.4 + 0.2 * 99.0, 0.4])
    np.testing.assert_allclose(income, [b.low, b.low])
    statistics[:, edges[3]] = -1e-9  # as a sum of many may round
    assert (schema.expect(statistics)[1] == 0.0).all()
    np.testing.assert_array_equal(np.column_stack([member, visits]), statistics[:, [7, 8]])
    np.testing.assert_array_equal(town, statistics[:, edges[6]])
    np.testing.assert_array_equal(grade, statistics[:, edges[7]])
    point = schema.point([gain, income, member, visits, town, grade])
    np.testing.assert_array_equal(point[:, 4:], [[1, 2], [0, 1]])
    np.testing.assert_array_equal(point[:, 0], gain)
    back = schema.restore(point)
    assert back["town"].tolist()[0] == schema.columns[4].levels.values[1]
    assert back["member"].tolist() == [False, True]
    assert back["grade"].tolist() == ["top", "mid"]


def test_units_take_cells_back_as_decode_does():
    schema = infer_kinds(frame_of_kinds())
    units, cells = schema.cells.units, schema.encode(rows_of(frame_of_kinds()))
    parts = [i for i, cell in enumerate(schema.cells) if cell.is_atom]
    cells[:, parts] = 0.0
    cells[0, :4] = [0.0, 50.0, 0.0, -50.0]  # beyond the bounds
    straight = units.location + units.scale * np.clip(cells, units.low, units.high)
    bent = [x if bend is None else bend(x) for x, bend in zip(cells.T, units.bends, strict=True)]
    chosen = [b if bend else s for s, b, bend in zip(straight.T, bent, units.bends, strict=True)]
    chosen = np.column_stack([x for i, x in enumerate(chosen) if i not in parts])
    np.testing.assert_allclose(schema.decode(cells), chosen, rtol=1e-9, atol=5e-7)
    assert [bend is not None for bend in units.bends] == [False] * 3 + [True] + [False] * 4


def test_the_cells_of_a_column_add_up():
    schema = infer_kinds(frame_of_kinds())
    cells = np.arange(16.0).reshape(2, 8)
    expected = np.column_stack([cells[:, 0] + cells[:, 1], cells[:, 2] + cells[:, 3], cells[:, 4:]])
    np.testing.assert_array_equal(schema.by_column(cells), expected)
    codes = np.zeros((1, 8), dtype=bool)
    codes[0, [1, 6]] = True
    np.testing.assert_array_equal(schema.by_column(codes), [[True, False, False, False, True, False]])
    plain = infer(some_table())
    np.testing.assert_array_equal(plain.by_column(some_table()), some_table())
    frame = frame_of_kinds().assign(member=True)  # a constant column has no cell and no part
    assert (infer_kinds(frame).by_column(np.ones((2, 7)))[:, 2] == 0.0).all()


# -- levels ----------------------------------------------------------------------------------------------------------


def test_unknown_levels_are_missing_an_error_or_infrequent():
    frame = frame_of_kinds()
    schema = infer_kinds(frame)
    new = frame.assign(town=pd.Categorical(["Lima", "Oslo", None] * 100))
    for unknown in ("missing", "infrequent_if_exist"):
        codes = schema.encode(rows_of(new), unknown=unknown)[:3, 6]
        np.testing.assert_array_equal(codes, [np.nan, schema.columns[4].levels.values.index("Oslo"), np.nan])
    with pytest.raises(
        ValueError, match=r"Column 'town' holds level\(s\) that fit did not see: 'Lima'\. It saw 'Rome'"
    ):
        schema.encode(rows_of(new), unknown="error")
    schema.encode(rows_of(new.assign(town=frame["town"])), unknown="error")
    declared = frame.assign(town=frame["town"].cat.add_categories(["Nice"]))  # declared and not in use
    schema.encode(rows_of(declared), unknown="error")


def test_pooled_levels_take_the_unknown_ones_where_asked():
    values = np.r_[np.repeat(np.arange(300), 2), np.repeat(np.arange(10), 20)]
    frame = pd.DataFrame({"zip": pd.Categorical(values)})
    schema = infer_kinds(frame, ["categorical"])
    new = pd.DataFrame({"zip": pd.Categorical([3, 999, None])})
    of = {unknown: schema.encode(rows_of(new), unknown=unknown)[:, 0] for unknown in ("missing", "infrequent_if_exist")}
    np.testing.assert_array_equal(of["missing"], [3, np.nan, np.nan])
    np.testing.assert_array_equal(of["infrequent_if_exist"], [3, 255, np.nan])
    drawn = schema.restore(np.full((500, 1), 255.0), np.random.RandomState(0))["zip"]
    assert drawn.dtype == frame["zip"].dtype
    assert set(drawn) == set(schema.columns[0].levels.pooled)


def test_categories_in_another_order_or_dtype_have_the_same_codes():
    frame = frame_of_kinds()
    schema = infer_kinds(frame)
    codes = schema.encode(rows_of(frame))
    other = frame.assign(
        town=frame["town"].cat.reorder_categories(["Lima", "Bern", "Oslo", "Rome"]),
        grade=frame["grade"].astype(str).astype(object),
    )
    np.testing.assert_array_equal(schema.encode(rows_of(other)), codes)


def test_arrays_may_hold_levels_of_numbers():
    X = np.column_stack([np.tile([7.0, 3.0, np.nan, 5.0], 25), np.arange(100.0)])
    schema = infer(X, kinds=["categorical", "continuous"])
    np.testing.assert_array_equal(encode(schema, X)[:4, 0], [2, 0, np.nan, 1])
    np.testing.assert_allclose(schema.restore(schema.decode(np.nan_to_num(encode(schema, X))))[:4, 0], [7, 3, 3, 5])


# -- persistence -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("marginals", ["linear", "normal"])
def test_a_schema_of_every_kind_survives_json(marginals):
    frame = holed_frame().assign(
        zip=pd.Categorical(np.arange(300) % 290), never=np.nan, one=pd.Categorical(["x"] * 300)
    )
    kinds = [*KINDS, "categorical", "continuous", "categorical"]
    schema = infer_kinds(frame, kinds, marginals=marginals)
    assert schema.columns[6].levels.pooled
    restored = TableSchema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert repr(restored) == repr(schema)
    np.testing.assert_array_equal(restored.encode(rows_of(frame)), schema.encode(rows_of(frame)))
    values = schema.decode(np.nan_to_num(schema.encode(rows_of(frame))))
    pd.testing.assert_frame_equal(restored.restore(values), schema.restore(values))


def test_a_schema_of_an_earlier_version_loads():
    """It kept the facts of all codecs of each column."""
    frame = holed_frame().assign(never=np.nan, one=pd.Categorical(["x"] * 300))
    schema = infer_kinds(frame, [*KINDS, "continuous", "categorical"], marginals="normal")
    names = [*inspect.get_annotations(Facts)]
    facts = [{name: getattr(column, name) for name in names} for column in schema.columns]
    data = schema.to_dict()
    data["columns"] = [all_facts | own for all_facts, own in zip(facts, data["columns"], strict=True)]
    del data["header"]
    restored = TableSchema.from_dict(data)
    assert repr(restored.columns) == repr(schema.columns)
    assert {type(column) for column in restored.columns} == {Number, Atomic, Coded, Constant}
