"""Which cells are missing: learned with the rows, drawn with them, and outside the score unless it is asked for."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy.integrate import trapezoid
from sklearn.base import clone

from skvae import VAEImputer, VAETransformer, nn

QUICK = {"n_components": 2, "hidden_layer_sizes": (16,), "max_iter": 5, "early_stopping": False, "random_state": 0}


def light(**parameters):
    return VAETransformer(**(QUICK | {"n_train_samples": 1} | parameters))


def holed(n=300, seed=0):
    """Numbers of one factor, the last of which is missing where it is high."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    X = np.column_stack([z + 0.3 * rng.normal(size=n) for _ in range(4)])
    X[X[:, 3] > 0.5, 3] = np.nan
    return X


def survey(n=1000, seed=0):
    """Cells that depend on others: never the source of a rule, a rule, a chance that depends on a level, and a flag."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "age": rng.normal(40.0, 10.0, n).round(),
            "smoker": rng.random(n) < 0.3,
            "job": rng.choice(["none", "part", "full"], n, p=[0.2, 0.3, 0.5]),
        }
    )
    X["packs"] = np.where(X["smoker"], rng.gamma(2.0, 5.0, n).round(), np.nan)
    X["salary"] = np.where(X["job"] == "none", np.nan, rng.normal(3000.0, 500.0, n).round())
    likely = X["job"].map({"none": 0.1, "part": 0.8, "full": 0.3}).to_numpy()
    X["answer"] = np.where(rng.random(n) < likely, np.nan, rng.normal(size=n))
    X["vip"] = pd.Categorical(np.where(rng.random(n) < 0.2 + 0.5 * X["smoker"], "yes", None))
    return X


@pytest.fixture(scope="module")
def drawn():
    X = survey()
    return X, VAETransformer(random_state=0).fit(X).sample(4000, random_state=0)


def missing_by(frame, column, by):
    return frame[column].isna().groupby(frame[by], observed=True).mean()


def test_draws_keep_the_rules_of_missing_cells(drawn):
    X, rows = drawn
    for column, by in (("packs", "smoker"), ("salary", "job")):
        told = missing_by(X, column, by)
        exact = told.isin([0.0, 1.0])
        assert exact.sum() >= 2
        pd.testing.assert_series_equal(missing_by(rows, column, by)[exact], told[exact])


@pytest.mark.parametrize("column", ["packs", "salary", "answer", "vip"])
@pytest.mark.parametrize("by", ["smoker", "job"])
def test_every_pair_of_a_missing_column_and_a_level_is_as_it_was(drawn, column, by):
    X, rows = drawn
    gap = (missing_by(X, column, by) - missing_by(rows, column, by)).abs()
    assert gap.max() < 0.1
    assert gap.mean() < 0.06


def test_the_level_of_a_flag_goes_with_the_other_columns(drawn):
    X, rows = drawn
    share = (rows["vip"] == "yes").groupby(rows["smoker"]).mean()
    assert share[True] - share[False] > 0.3
    assert rows["vip"].dtype == X["vip"].dtype


def test_a_cell_that_is_given_is_not_missing_and_says_why():
    X = survey()
    model = VAETransformer(random_state=0).fit(X)
    rows = model.sample(400, given={"packs": 10.0}, random_state=0)
    assert rows["packs"].notna().all()
    assert rows["smoker"].mean() > 0.9


def test_without_holes_it_changes_nothing():
    X = holed()[:, :3]
    for missingness in ("draws", "informative"):
        model = light(missingness=missingness).fit(X)
        np.testing.assert_array_equal(model.score_samples(X), light(missingness=None).fit(X).score_samples(X))
        assert not model.schema_.cells.gaps


def test_scores_are_of_the_observed_values_unless_it_is_informative():
    """A row whose pattern is odd is as usual as its values; where the pattern counts it is not."""
    X = holed(2000)
    model = light(max_iter=60, n_importance_samples=1000).fit(X)
    low, high = np.array([[-2.0, -2.0, -2.0, np.nan]]), np.array([[2.0, 2.0, 2.0, np.nan]])
    difference = model.score_samples(high) - model.score_samples(low)
    counting = clone(model).set_params(missingness="informative").fit(X)
    counted = counting.score_samples(high) - counting.score_samples(low)
    assert abs(difference[0]) < 1.0
    assert counted[0] > difference[0] + 1.5  # the last is always missing of the first, and hardly ever of the second


def test_it_may_be_asked_for_after_fit():
    X = holed()
    model = light(missingness="draws").fit(X)
    asked = light(missingness="informative").fit(X)
    assert not np.array_equal(model.score_samples(X), asked.score_samples(X))
    np.testing.assert_array_equal(model.set_params(missingness="informative").score_samples(X), asked.score_samples(X))
    with pytest.raises(ValueError, match="'missingness' parameter of VAETransformer must be"):
        model.set_params(missingness="yes").score_samples(X)


def test_the_score_with_the_pattern_is_a_joint_probability():
    """Summed over whether the last cell is missing, its value integrated out, it is that of the other cells."""
    X = holed(500)
    model = light(max_iter=30, n_importance_samples=2048, missingness="informative").fit(X)
    row, grid = np.array([0.3, 0.2, 0.4]), np.linspace(-8.0, 8.0, 1601)
    there = np.column_stack([np.tile(row, (len(grid), 1)), grid])
    absent = np.array([[*row, np.nan]])
    total = trapezoid(np.exp(model.score_samples(there)), grid) + np.exp(model.score_samples(absent)[0])
    alone = np.exp(model.set_params(missingness="draws").score_samples(absent)[0])
    assert total == pytest.approx(alone, rel=0.03)


def test_missing_values_are_filled_higher_where_high_ones_are_missing():
    """Only by the missing cell itself can rows be told apart whose other cells say little."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(1500, 1))
    truth = z + np.array([1.5, 1.5, 1.5, 0.5]) * rng.normal(size=(1500, 4))
    X = truth.copy()
    holes = X[:, 3] > 0.5
    X[holes, 3] = np.nan
    error = {}
    for how in (None, "informative"):
        model = light(max_iter=100, missingness=how)
        filled = VAEImputer(model, n_importance_samples=200, random_state=0).fit_transform(X)
        error[how] = np.square(filled[holes, 3] - truth[holes, 3]).mean()
    assert error["informative"] < 0.95 * error[None]


def test_the_imputers_default_models_may_be_told():
    X = holed(200)
    filled = {how: VAEImputer(missingness=how, random_state=0).fit(X) for how in (None, "informative")}
    assert {model.missingness for model in filled["informative"].estimators_} == {"informative"}
    assert {model.missingness for model in filled[None].estimators_} == {None}
    with pytest.raises(ValueError, match="'missingness' parameter of VAEImputer must be"):
        VAEImputer(missingness="draws").fit(X)


def test_linear_normal_models_stay_exact():
    X = holed()
    normal = partial(nn.likelihoods.Gaussian, scale="column")
    model = light(hidden_layer_sizes=(), likelihood=normal).fit(X)
    assert model.schema_.cells.gaps
    few, many = (model.set_params(n_importance_samples=n).score_samples(X) for n in (1, 500))
    np.testing.assert_allclose(few, many, rtol=1e-12)  # no draws
    few, many = (model.set_params(missingness="informative", n_importance_samples=n).score_samples(X) for n in (1, 500))
    assert np.abs(few - many).max() > 1e-6


def test_partial_fit_takes_columns_that_are_first_missing_later():
    X = holed()
    model = light().partial_fit(X[:100, :])
    later = X[100:].copy()
    later[::5, 0] = np.nan
    model.partial_fit(later)
    assert list(model.schema_.cells.gaps) == [3]
    assert np.isnan(model.sample(200, random_state=0)[:, 3]).any()


@pytest.mark.parametrize("missingness", ["draws", "informative", None])
def test_a_pickle_answers_the_same(missingness):
    X = survey(200)
    model = light(missingness=missingness).fit(X)
    again = pickle.loads(pickle.dumps(model))
    assert again.schema_ == model.schema_
    assert_frame_equal(again.sample(50, random_state=0), model.sample(50, random_state=0))
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))


def test_flags_that_are_there_or_not_go_together_as_they_did():
    rng = np.random.default_rng(0)
    a, n = rng.random(500) < 0.4, 500
    X = pd.DataFrame(
        {
            "a": np.where(a, "yes", None),
            "b": np.where(a ^ (rng.random(n) < 0.1), "yes", None),
            "x": rng.normal(size=n),
            "y": rng.normal(size=n),
        }
    )
    drawn = light(max_iter=20).fit(X).sample(2000, random_state=0)
    real, got = (pd.crosstab(frame["a"].isna(), frame["b"].isna(), normalize=True) for frame in (X, drawn))
    np.testing.assert_allclose(got, real, atol=0.05)


def test_a_column_without_a_value_has_no_pattern():
    X = holed()
    X = np.column_stack([X, np.full(len(X), np.nan)])
    model = light().fit(X)
    assert list(model.schema_.cells.gaps) == [3]
    assert np.isnan(model.sample(20, random_state=0)[:, 4]).all()


def by_levels(n=2000, seed=0):
    """Cells that are missing by a level, in part."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "size": rng.normal(size=n),
            "age": rng.normal(size=n),
            "job": pd.Categorical(rng.choice(["none", "part", "full"], n)),
            "town": pd.Categorical(rng.choice(["Rome", "Oslo"], n)),
        }
    )
    X.loc[rng.random(n) < X["job"].map({"none": 0.8, "part": 0.3, "full": 0.05}).astype(float), "size"] = np.nan
    X.loc[rng.random(n) < X["town"].map({"Rome": 0.6, "Oslo": 0.1}).astype(float), "age"] = np.nan
    return X


def shares(rows, level, of):
    return rows[of].isna().groupby(rows[level], observed=True).mean()


@pytest.mark.parametrize("hidden", [(), (16,)])
def test_missing_by_a_level(hidden):
    X = by_levels()
    model = light(hidden_layer_sizes=hidden).fit(X)
    names = list(X)
    assert [names[j] for j in model.schema_.marks] == ["job", "town"]
    drawn = model.sample(5000, random_state=0)
    for level, of in (("job", "size"), ("town", "age")):
        assert shares(drawn, level, of).to_numpy() == pytest.approx(shares(X, level, of).to_numpy(), abs=0.06)
    again = pickle.loads(pickle.dumps(model))
    assert_frame_equal(again.sample(50, random_state=0), model.sample(50, random_state=0))


def test_columns_that_are_missing_together_are_no_marks():
    X = by_levels()
    X["room"] = X["town"].astype(object).where(X["size"].notna())
    X["floor"] = X["room"].map({"Rome": "first", "Oslo": "second"})
    model = light().fit(X)
    assert [list(X)[j] for j in model.schema_.marks] == ["job", "town"]
    drawn = model.sample(5000, random_state=0)
    assert drawn.isna().mean().to_numpy() == pytest.approx(X.isna().mean().to_numpy(), abs=0.03)


def test_atoms_and_truth_values_are_marks_and_chance_is_none():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "income": np.where(rng.random(1500) < 0.4, 0.0, rng.normal(10.0, 1.0, 1500)),
            "member": rng.random(1500) < 0.5,
            "other": pd.Categorical(rng.choice(list("abc"), 1500)),
            "x": rng.normal(size=1500),
            "y": rng.normal(size=1500),
        }
    )
    X.loc[rng.random(1500) < np.where(X["income"] == 0.0, 0.7, 0.1), "x"] = np.nan
    X.loc[rng.random(1500) < np.where(X["member"], 0.6, 0.2), "y"] = np.nan
    model = light().fit(X)
    assert [list(X)[j] for j in model.schema_.marks] == ["income", "member"]
    drawn = model.sample(5000, random_state=0)
    for flag, of in (("income", "x"), ("member", "y")):
        for rows in (X, drawn):
            rows["flag"] = rows[flag] == 0.0
        assert shares(drawn, "flag", of).to_numpy() == pytest.approx(shares(X, "flag", of).to_numpy(), abs=0.06)
