"""The normal scores of a column: a monotone map with an exact density, and its place in the schema."""

import json
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from skvae import VAETransformer
from skvae._table import frames
from skvae._table.inference import Sought, infer_schema
from skvae._table.marginals import (
    BANDWIDTH,
    FARTHEST,
    NEIGHBOURS,
    PROBABILITIES,
    NormalScores,
    _widths,
    normal_scores,
)
from skvae._table.schema import TableSchema
from skvae._table.tables import Table


def standardised(values):
    return (values - values.mean()) / values.std()


def columns():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=1000)
    wild = normal.copy()
    wild[:3] = [1e6, -1e6, 1e3]
    return {
        "normal": normal,
        "lognormal": rng.lognormal(sigma=0.5, size=1000),
        "bimodal": np.concatenate([normal[:500] - 4.0, normal[500:] + 4.0]),
        "heavy": rng.standard_t(1.5, size=1000),
        "wild": wild,
        "counts": rng.poisson(2.0, size=1000).astype(float),
        "zero-one": (rng.random(1000) < 0.3).astype(float),
        "two": np.array([0.0, 1.0]),
    }


COLUMNS = {name: standardised(values) for name, values in columns().items()}
every_column = pytest.mark.parametrize("name", COLUMNS)


def scores_of(name):
    return normal_scores(np.quantile(COLUMNS[name], PROBABILITIES, method="inverted_cdf"))


def table(X):
    return Table(X, frames.NUMPY, range(X.shape[1]), [frames.Dtype("float", "float64")] * X.shape[1], X.dtype)


def infer(X, marginals="normal", kinds=None, atoms=False):
    p = X.shape[1]
    rules = Sought(marginals, [atoms] * p, bounded=False)
    return infer_schema(table(X), None, ["continuous"] * p if kinds is None else kinds, rules)


def log_jacobian(schema, X):
    return schema.log_jacobian(schema.encode(table(X)))


def some_table():
    rng = np.random.default_rng(1)
    return np.column_stack([rng.lognormal(size=200), rng.normal(5.0, 1e3, 200), rng.poisson(3.0, 200)])


# -- the map ---------------------------------------------------------------------------------------------------------


@every_column
def test_scores_rise_strictly(name):
    scores = scores_of(name)
    assert isinstance(scores, NormalScores)
    assert (np.diff(scores.knots) > 0.0).all()
    assert (np.diff(scores.scores) > 0.0).all()
    x = np.concatenate([np.linspace(-6.0, 6.0, 2001), [-1e9, -1e6, 1e6, 1e9]])
    assert (np.diff(scores.encode(np.sort(x))) > 0.0).all()


def test_kernels_are_as_wide_as_it_is_to_the_nearest_neighbours():
    centres = np.concatenate([np.linspace(-1.0, 1.0, 250), [2.0, 3.0, 30.0, 31.0, 32.0, 33.0]])
    distance = np.sort(np.abs(centres[:, np.newaxis] - centres), axis=1)[:, NEIGHBOURS]
    np.testing.assert_allclose(_widths(centres), np.maximum(distance, BANDWIDTH))
    assert _widths(centres)[249] < 0.11  # those far above do not widen the kernels of the others


@pytest.mark.parametrize("n_wild", [1, 3])
def test_a_value_far_from_all_others_does_not_vouch_for_itself(n_wild):
    """Where it stands the density is that of a wide gap, not that of a peak."""
    values = np.random.default_rng(0).normal(size=300)
    values[:n_wild] = 60.0
    schema = infer(values[:, np.newaxis])
    rows = table(np.array([[60.0], [2.5], [0.0]]))
    encoded = schema.encode(rows)
    wild, tail, typical = (stats.norm.logpdf(encoded) + schema.log_jacobian(encoded)).ravel()
    assert wild < tail - 2.0 < typical - 2.0


@every_column
def test_decode_undoes_encode_far_outside_too(name):
    scores = scores_of(name)
    assert scores.knots[-1] < 2.0**FARTHEST
    x = np.concatenate([COLUMNS[name], np.linspace(-40.0, 40.0, 401), [-1e12, -1e6, 1e6, 1e12]])
    np.testing.assert_allclose(scores.decode(scores.encode(x)), x, rtol=1e-6, atol=1e-6)
    u = np.linspace(-12.0, 12.0, 201)
    np.testing.assert_allclose(scores.encode(scores.decode(u)), u, rtol=1e-9, atol=1e-9)


@every_column
def test_implied_density_integrates_to_one(name):
    scores = scores_of(name)
    knots = np.asarray(scores.knots)
    far = np.array([1e3, 1e2, 10.0]) * (knots[-1] - knots[0])
    ends = np.concatenate([knots[0] - far, knots, knots[-1] + far[::-1]])
    x = np.concatenate([np.linspace(a, b, 9)[:-1] for a, b in pairwise(ends)] + [ends[-1:]])
    middle = 0.5 * (x[1:] + x[:-1])
    density = np.exp(stats.norm.logpdf(scores.encode(middle)) + scores.log_slope(middle))
    assert (density * np.diff(x)).sum() == pytest.approx(1.0, abs=5e-3)


@every_column
def test_log_slope_is_the_derivative_between_knots(name):
    scores = scores_of(name)
    knots = np.asarray(scores.knots)
    middle, step = 0.5 * (knots[1:] + knots[:-1]), 0.25 * np.diff(knots)
    slope = (scores.encode(middle + step) - scores.encode(middle - step)) / (2.0 * step)
    np.testing.assert_allclose(scores.log_slope(middle), np.log(slope), atol=1e-4)
    beyond = knots[[0, -1]] + [-7.0, 7.0]
    slope = (scores.encode(beyond + 1.0) - scores.encode(beyond - 1.0)) / 2.0
    np.testing.assert_allclose(scores.log_slope(beyond), np.log(slope), atol=1e-3)


@pytest.mark.parametrize("name", ["normal", "lognormal", "bimodal"])
def test_scores_of_a_column_are_about_standard_normal(name):
    u = scores_of(name).encode(COLUMNS[name])
    assert stats.kstest(u, "norm").statistic < 0.03
    assert abs(u.mean()) < 0.05
    assert u.std() == pytest.approx(1.0, abs=0.1)  # the kernels smooth
    if name != "normal":
        assert stats.kstest(COLUMNS[name], "norm").statistic > 0.05


@every_column
def test_a_missing_cell_stays_missing_and_alone(name):
    scores = scores_of(name)
    x = np.array([0.3, np.nan, -1e6])
    for answer in (scores.encode(x), scores.decode(x), scores.log_slope(x)):
        np.testing.assert_array_equal(np.isnan(answer), [False, True, False])
    np.testing.assert_array_equal(scores.encode(x)[[0, 2]], scores.encode(x[[0, 2]]))


def test_tails_are_not_rounded_away_on_either_side():
    scores = scores_of("normal")
    far = np.array([1e2, 1e3, 1e4])
    np.testing.assert_allclose(scores.encode(-far), -scores.encode(far), rtol=0.02)
    assert (np.diff(scores.encode(far)) > 0.1).all()
    log_density = stats.norm.logpdf(scores.encode(far)) + scores.log_slope(far)
    expected = np.log(0.05) + stats.cauchy.logpdf(far)  # the share of the heavy tail
    np.testing.assert_allclose(log_density, expected, atol=0.5)


# -- in the schema ---------------------------------------------------------------------------------------------------


def test_schema_maps_and_maps_back():
    X = some_table()
    schema = infer(X)
    encoded = schema.encode(table(X))
    np.testing.assert_allclose(encoded.mean(0), 0.0, atol=0.1)
    np.testing.assert_allclose(encoded.std(0), 1.0, atol=0.25)
    np.testing.assert_allclose(schema.decode(encoded), X, rtol=1e-8)
    assert not np.allclose(encoded, infer(X, "linear").encode(table(X)), atol=0.1)


def test_decode_leaves_its_argument_alone():
    schema = infer(some_table())
    encoded = schema.encode(table(some_table()))
    before = encoded.copy()
    schema.decode(encoded)
    np.testing.assert_array_equal(encoded, before)


def test_jacobian_is_the_derivative_of_encode_and_0_where_missing():
    X = some_table()
    schema = infer(X)
    step = 1e-7 * X.std(0)
    slope = (schema.encode(table(X + step)) - schema.encode(table(X - step))) / (2.0 * step)
    inside = np.abs(log_jacobian(schema, X + step) - log_jacobian(schema, X - step)) < 1e-9  # no knot in between
    assert inside.mean() > 0.9
    np.testing.assert_allclose(log_jacobian(schema, X)[inside], np.log(slope)[inside], atol=1e-5)
    X[0, 1] = np.nan
    assert log_jacobian(schema, X)[0, 1] == 0.0
    assert np.isfinite(log_jacobian(schema, X)).all()


def test_schema_survives_json():
    X = some_table()
    X = np.column_stack([X, np.full(len(X), 3.0)])
    schema = infer(X)
    restored = TableSchema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert restored == schema
    np.testing.assert_array_equal(restored.encode(table(X)), schema.encode(table(X)))
    np.testing.assert_array_equal(log_jacobian(restored, X), log_jacobian(schema, X))
    np.testing.assert_array_equal(restored.decode(schema.encode(table(X))), schema.decode(schema.encode(table(X))))


def test_binary_columns_are_left_as_they_are():
    X = np.column_stack([some_table()[:, 0], np.arange(200) % 2])
    schema = infer(X, kinds=["continuous", "binary"])
    np.testing.assert_array_equal(schema.encode(table(X))[:, 1], X[:, 1])
    assert (log_jacobian(schema, X)[:, 1] == 0.0).all()
    assert schema.columns[0].normal_scores is not None
    assert schema.columns[1].normal_scores is None


# -- in the estimator ------------------------------------------------------------------------------------------------


def quick(**options):
    defaults = {"hidden_layer_sizes": (8,), "max_iter": 5, "early_stopping": False, "device": "cpu", "random_state": 0}
    return VAETransformer(2, marginals="normal", **(defaults | options))


@pytest.fixture
def correlated():
    rng = np.random.default_rng(3)
    return np.exp(0.5 * (rng.normal(size=(200, 1)) + 0.5 * rng.normal(size=(200, 3))))


def test_another_unit_changes_scores_by_its_jacobian_only(correlated):
    scores = quick().fit(correlated).score_samples(correlated)
    scaled = quick().fit(correlated * 1000.0).score_samples(correlated * 1000.0)
    np.testing.assert_allclose(scaled, scores - 3 * np.log(1000.0), atol=1e-4)


@pytest.mark.parametrize("p", [1, 2])
def test_density_of_the_estimator_integrates_to_one(correlated, p):
    X = correlated[:, :p]
    model = quick(max_iter=30, likelihood="gaussian", n_importance_samples=64).fit(X)
    axis = np.linspace(-3.0, 12.0, 1501 if p == 1 else 151)
    grid = np.stack(np.meshgrid(*[axis] * p), -1).reshape(-1, p)
    mass = np.exp(model.score_samples(grid)).sum() * (axis[1] - axis[0]) ** p
    assert mass == pytest.approx(1.0, abs=0.06 * p)


def test_sampled_rows_have_the_marginals_of_the_table(correlated):
    drawn = quick(max_iter=60).fit(correlated).sample(2000, random_state=0)
    for j in range(3):
        np.testing.assert_allclose(
            np.quantile(drawn[:, j], [0.25, 0.5, 0.75]), np.quantile(correlated[:, j], [0.25, 0.5, 0.75]), rtol=0.25
        )
