"""Cells with several modes in the estimators: scores, draws, conditions, holes, explanations, and odd columns."""

import pickle
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning

from skvae import VAEImputer, VAEOutlierDetector, VAETransformer
from skvae._model import auto
from skvae.nn.likelihoods import GaussianMixture, StudentTMixture

LIGHT = {"n_components": 1, "hidden_layer_sizes": (16,), "max_iter": 60, "early_stopping": False, "random_state": 0}
FAMILIES = ["student_t_mixture", "gaussian_mixture"]


def light(**options):
    return VAETransformer(**({"likelihood": "student_t_mixture"} | LIGHT | options))


def two_branches(n=600, seed=0):
    """A number, and another one that is 3 above or below it: two in three above."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    return np.column_stack([x, x + np.where(rng.random(n) < 2 / 3, 3.0, -3.0) + 0.2 * rng.normal(size=n)])


@pytest.fixture(scope="module", params=FAMILIES)
def branched(request):
    return light(likelihood=request.param).fit(two_branches())


def branch(rows):
    """Distance from the middle between the branches."""
    return rows[:, 1] - rows[:, 0]


def test_one_code_serves_two_branches(branched):
    single = light(likelihood="student_t").fit(two_branches())
    assert branched.score(two_branches(seed=1)) > single.score(two_branches(seed=1)) + 0.3
    drawn = branch(branched.sample(2000, random_state=0))
    assert (np.abs(drawn) < 1.5).mean() < 0.05
    assert (drawn > 0).mean() == pytest.approx(2 / 3, abs=0.08)


def test_scores_integrate_to_one_in_data_units():
    values = np.r_[np.random.default_rng(0).normal(-3.0, 0.5, 300), np.random.default_rng(1).normal(40.0, 2.0, 300)]
    model = light(n_importance_samples=256).fit(values[:, np.newaxis])
    grid = np.linspace(-80.0, 120.0, 8001)[:, np.newaxis]
    assert np.exp(model.score_samples(grid)).sum() * 0.025 == pytest.approx(1.0, abs=0.01)


def test_scores_are_those_of_the_row_alone(branched):
    X = two_branches(50, seed=2)
    scores = branched.score_samples(X)
    np.testing.assert_array_equal(branched.score_samples(X), scores)
    np.testing.assert_allclose([branched.score_samples(row[np.newaxis])[0] for row in X], scores, rtol=1e-12)


def test_what_is_expected_lies_between_the_modes_and_draws_do_not(branched):
    expected = branched.inverse_transform(np.zeros((1, 1)))
    assert np.abs(branch(expected)) < 2.9
    drawn = branched.sample(500, given={0: 0.5}, random_state=0)
    assert (drawn[:, 0] == 0.5).all()
    assert (np.abs(branch(drawn)) < 1.5).mean() < 0.05
    assert (branch(drawn) > 0).mean() == pytest.approx(2 / 3, abs=0.15)


def test_holes_are_filled_by_expectations_and_drawn_in_a_mode(branched):
    X = two_branches()
    X[::4, 1] = np.nan
    imputer = VAEImputer(light(n_train_samples=5), random_state=0).fit(X)
    new = np.column_stack([np.linspace(-1.0, 1.0, 40), np.full(40, np.nan)])
    np.testing.assert_allclose(branch(imputer.transform(new)), 1.0, atol=1.2)  # 2/3 of 3 less 1/3 of 3
    drawn = np.concatenate([branch(rows) for rows in imputer.draw(new, 20, random_state=0)])
    assert (np.abs(drawn) < 1.5).mean() < 0.1
    assert 0.4 < (drawn > 0).mean() < 0.9


def test_explanations_add_up_and_name_the_column_between_the_branches():
    detector = VAEOutlierDetector(estimator=light(), random_state=0).fit(two_branches())
    odd = np.array([[0.0, 0.0], [0.0, 3.0]])
    shares, latent, _ = detector.explain(odd)
    np.testing.assert_allclose(np.sum(shares, axis=1) + latent, detector.score_samples(odd))
    assert detector.score_samples(odd)[0] < detector.score_samples(odd)[1] - 1.0


@pytest.mark.filterwarnings("ignore:Every latent component is inactive")
def test_training_goes_on_with_the_modes_it_has():
    X = two_branches(2000)
    model = light(batch_size=64)
    for part in np.array_split(np.tile(X, (5, 1)), 20):
        model.partial_fit(part)
    assert model.score(X) > light(max_iter=1, batch_size=64).fit(X).score(X)
    twice = light(warm_start=True, max_iter=3, batch_size=64).fit(X)
    once = twice.score(X)
    assert twice.fit(X).score(X) > once


def test_a_fitted_model_survives_a_pickle(branched):
    twin = pickle.loads(pickle.dumps(branched))
    X = two_branches(20, seed=3)
    np.testing.assert_array_equal(twin.score_samples(X), branched.score_samples(X))
    np.testing.assert_array_equal(twin.sample(20, random_state=0), branched.sample(20, random_state=0))


def test_atoms_and_bounds_stand_beside_modes():
    rng = np.random.default_rng(0)
    values = np.where(rng.random(900) < 0.3, 0.0, np.where(rng.random(900) < 0.5, 2.0, 9.0) + 0.3 * rng.random(900))
    X = pd.DataFrame({"spent": values, "other": rng.normal(size=900)})
    model = light(n_components=2).fit(X)
    assert model.schema_.columns[0].atoms == (0.0,)
    drawn = model.sample(2000, random_state=0)["spent"]
    assert (drawn == 0.0).mean() == pytest.approx(0.3, abs=0.06)
    assert drawn[drawn != 0.0].between(2.0, 9.3).all()
    assert drawn[drawn != 0.0].between(3.0, 8.5).mean() < 0.15
    assert model.reconstruct(X)["spent"].between(0.0, 9.3).all()


def odd_columns():
    rng = np.random.default_rng(0)
    n = 60
    return {
        "two values": np.repeat([0.0, 1.0], n // 2),
        "one value and one row": np.r_[np.zeros(n - 1), 1.0],
        "heavy tails": rng.standard_cauchy(n) * 1e6,
        "nearly constant": 1e9 + rng.random(n),
        "mostly missing": np.where(rng.random(n) < 0.9, np.nan, rng.normal(size=n)),
        "large": rng.normal(size=n) * 1e200,
        "tiny": rng.normal(size=n) * 1e-200,
    }


@pytest.mark.parametrize("marginals", ["linear", "normal"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", odd_columns())
def test_odd_columns_are_fitted_scored_and_drawn(name, family, marginals):
    X = np.column_stack([odd_columns()[name], np.random.default_rng(1).normal(size=60)])
    model = light(likelihood=family, marginals=marginals, max_iter=10).fit(X)
    assert np.isfinite(model.score_samples(X)).all()
    for rows in (model.sample(50, random_state=0, missing=False), model.reconstruct(X)):
        assert np.isfinite(rows).all()


@pytest.mark.parametrize("family", [GaussianMixture, StudentTMixture])
@pytest.mark.parametrize("n", [2, 3, 10])
def test_more_modes_than_rows(family, n):
    X = np.random.default_rng(0).normal(size=(n, 3))
    model = light(likelihood=partial(family, n_modes=20), max_iter=5).fit(X)
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.sample(5, random_state=0)).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8])
def test_other_dtypes(dtype):
    X = (3 * two_branches(100)).astype(dtype)
    model = light(max_iter=5).fit(X)
    assert np.isfinite(model.score_samples(X)).all()


def test_a_column_of_holes_alone_stays_outside():
    X = np.column_stack([two_branches(100), np.full(100, np.nan)])
    assert np.isfinite(light(max_iter=5).fit(X).score_samples(X)).all()


# -- "auto" ------------------------------------------------------------------------------------------------------------


def chosen(X, **options):
    """The names of the likelihoods of a fit with nothing set."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = VAETransformer(max_iter=1, hidden_layer_sizes=(), missingness=None, random_state=0).fit(X, **options)
    return [likelihood for likelihood, _ in model._model.engine.spec.blocks]


def test_auto_gives_cells_several_modes_from_twenty_rows_per_column_on():
    X = np.random.default_rng(0).normal(size=(200, 10))
    assert auto.ROWS_PER_COLUMN == 20
    assert chosen(X) == ["student_t_mixture"]
    assert chosen(X[:199]) == ["student_t"]
    assert chosen(X[:, :5][:100]) == ["student_t_mixture"]


def test_rows_and_columns_that_tell_nothing_do_not_count():
    X = np.random.default_rng(0).normal(size=(40, 2))
    assert chosen(X) == ["student_t_mixture"]
    assert chosen(np.column_stack([X, np.ones(40), np.full(40, np.nan)])) == ["student_t_mixture"]
    assert chosen(X[:39]) == ["student_t"]
    assert chosen(np.r_[X[:39], np.full((5, 2), np.nan)]) == ["student_t"]
    assert chosen(np.c_[np.r_[X[:39], np.full((5, 2), np.nan)], np.ones(44)]) == ["student_t"]
    assert chosen(X, sample_weight=np.r_[0.0, np.ones(39)]) == ["student_t"]


def test_auto_of_a_frame_counts_all_columns_and_spares_levels():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=60), "b": rng.normal(size=60), "c": pd.Categorical(["x", "y"] * 30)})
    assert chosen(frame) == ["student_t_mixture", "categorical"]
    assert chosen(frame[:59]) == ["student_t", "categorical"]
