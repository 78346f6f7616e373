"""Draws resemble the training rows: where codes come from, missing cells, decimals, bounds and atoms."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skvae import VAEImputer, VAEOutlierDetector, VAETransformer
from skvae.nn.likelihoods import Gaussian

LIGHT = {"n_components": 2, "hidden_layer_sizes": (16,), "max_iter": 10, "early_stopping": False, "device": "cpu"}
LIGHT |= {"n_importance_samples": 64, "random_state": 0}


def light(**options):
    return VAETransformer(**(LIGHT | options))


def rows_of_one_factor(n=300, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 1)) * [1.0, 2.0, 3.0] + 0.3 * rng.normal(size=(n, 3))


# -- where codes come from ---------------------------------------------------------------------------------------------


def two_clusters(n=400, seed=0):
    rng = np.random.default_rng(seed)
    return rng.choice([-4.0, 4.0], (n, 1)) + 0.5 * rng.normal(size=(n, 3))


@pytest.fixture(scope="module")
def clustered():
    one_mode = {"likelihood": "student_t"}  # the codes alone tell the clusters apart
    return light(prior="standard_normal", n_components=1, max_iter=40, **one_mode).fit(two_clusters())


def in_between(rows):
    return (np.abs(rows.mean(axis=1)) < 2.0).mean()


def test_aggregated_codes_leave_the_gap_between_clusters_empty(clustered):
    aggregated, prior = (in_between(clustered.sample(1_000, codes=c, random_state=0)) for c in ("aggregated", "prior"))
    assert aggregated < 0.05
    assert prior > aggregated + 0.05


def test_codes_of_the_prior_are_those_of_the_prior(clustered):
    z = clustered.sample_latent(4_000, codes="prior", random_state=0)
    assert z.mean() == pytest.approx(0.0, abs=0.06)
    assert z.std() == pytest.approx(1.0, abs=0.05)


def test_aggregated_codes_are_the_mean_of_the_posteriors(clustered):
    mean, std = clustered.posterior(two_clusters())
    z = clustered.sample_latent(8_000, codes="aggregated", random_state=0)
    assert z.mean() == pytest.approx(mean.mean(), abs=0.06)
    assert z.std() == pytest.approx(np.sqrt(mean.var() + (std**2).mean()), rel=0.05)
    assert (np.abs(z) < 0.3).mean() < 0.25 * (np.abs(clustered.sample_latent(8_000, codes="prior")) < 0.3).mean()


def test_auto_is_aggregated_after_fit(clustered):
    for draw in (clustered.sample_latent, clustered.sample):
        auto, aggregated, prior = (draw(50, codes=c, random_state=0) for c in ("auto", "aggregated", "prior"))
        np.testing.assert_array_equal(auto, aggregated)
        np.testing.assert_array_equal(auto, draw(50, random_state=0))
        assert not np.allclose(auto, prior)


def test_after_partial_fit_codes_come_from_the_prior():
    rows = two_clusters()
    model = light(prior="standard_normal").partial_fit(rows[:200]).partial_fit(rows[200:])
    for fitted in (model, light(prior="standard_normal").fit(rows).partial_fit(rows)):
        for draw in (fitted.sample, fitted.sample_latent):
            np.testing.assert_array_equal(draw(50, random_state=0), draw(50, codes="prior", random_state=0))
            with pytest.raises(ValueError, match="codes='aggregated' needs the posteriors of the training rows"):
                draw(5, codes="aggregated")


def test_a_fit_after_partial_fit_has_the_posteriors_again():
    rows = two_clusters()
    model = light().partial_fit(rows).fit(rows)
    np.testing.assert_array_equal(
        model.sample_latent(50, codes="aggregated", random_state=0), light().fit(rows).sample_latent(50, random_state=0)
    )


@pytest.mark.parametrize("codes", ["some", None, True])
def test_unknown_codes_are_an_error(clustered, codes):
    for draw in (clustered.sample, clustered.sample_latent):
        with pytest.raises(ValueError, match=f"codes must be 'auto', 'aggregated' or 'prior'. Got {codes!r} instead"):
            draw(5, codes=codes)


def test_rows_of_weight_0_seed_no_codes():
    rows = two_clusters()
    right = rows[:, 0] > 0.0
    model = light(prior="standard_normal", max_iter=30).fit(rows, sample_weight=np.where(right, 1.0, 0.0))
    drawn = model.sample(500, random_state=0)
    assert (drawn.mean(axis=1) > 2.0).all()
    only = light(prior="standard_normal", max_iter=30).fit(rows[right], sample_weight=np.ones(right.sum()))
    np.testing.assert_array_equal(drawn, only.sample(500, random_state=0))


def test_weights_are_the_shares_of_codes():
    rows = two_clusters()
    weight = np.where(rows[:, 0] > 0.0, 9.0, 1.0)
    model = light(prior="standard_normal", n_components=1, max_iter=30).fit(rows, sample_weight=weight)
    mean, _ = model.posterior(rows)
    z = model.sample_latent(4_000, random_state=0)
    assert z.mean() == pytest.approx(np.average(mean[:, 0], weights=weight), abs=0.06)
    assert abs(z.mean() - mean.mean()) > 0.3


def test_draws_follow_the_rows_whatever_the_prior_is():
    rows = rows_of_one_factor()
    for prior in ("standard_normal", "mixture", "aggregated"):
        drawn = light(prior=prior, max_iter=40).fit(rows).sample(2_000, random_state=0)
        np.testing.assert_allclose(
            drawn.mean(axis=0) / rows.std(axis=0), rows.mean(axis=0) / rows.std(axis=0), atol=0.2
        )
        np.testing.assert_allclose(drawn.std(axis=0), rows.std(axis=0), rtol=0.2)
        np.testing.assert_allclose(np.corrcoef(drawn.T), np.corrcoef(rows.T), atol=0.15)


@pytest.mark.parametrize("prior", ["standard_normal", "mixture"])
def test_a_pickle_draws_the_same(prior):
    rows = rows_of_one_factor()
    rows[::3, 1] = np.nan
    model = light(prior=prior).fit(rows)
    loaded = pickle.loads(pickle.dumps(model))
    for codes in ("aggregated", "prior"):
        drawn = (one.sample(100, codes=codes, random_state=0) for one in (loaded, model))
        np.testing.assert_array_equal(*drawn)


# -- missing cells -----------------------------------------------------------------------------------------------------


def gappy(n=600, seed=0):
    """Rows of which columns 0 and 1 are missing together in 30 %, column 2 by itself in 20 %, and column 3 never."""
    rng = np.random.default_rng(seed)
    rows = np.column_stack([rows_of_one_factor(n, seed), rng.normal(size=n)])
    rows[rng.random(n) < 0.3, :2] = np.nan
    rows[rng.random(n) < 0.2, 2] = np.nan
    return rows


@pytest.fixture(scope="module")
def with_gaps():
    return light().fit(gappy())


def test_cells_are_missing_as_often_as_in_training(with_gaps):
    missing = np.isnan(with_gaps.sample(2_000, random_state=0))
    np.testing.assert_allclose(missing.mean(axis=0), np.isnan(gappy()).mean(axis=0), atol=0.06)
    assert not missing[:, 3].any()


def test_cells_are_missing_together_as_in_training(with_gaps):
    missing = np.isnan(with_gaps.sample(2_000, random_state=0))
    np.testing.assert_array_equal(missing[:, 0], missing[:, 1])
    patterns = {tuple(row) for row in np.isnan(gappy())}
    assert {tuple(row) for row in missing} == patterns


def test_cells_are_missing_where_they_were_in_rows_alike():
    """A second column that is missing where the first is high."""
    rows = rows_of_one_factor(600)
    rows[rows[:, 0] > 0.5, 1] = np.nan
    drawn = light(max_iter=40).fit(rows).sample(2_000, random_state=0)
    missing, high = np.isnan(drawn[:, 1]), drawn[:, 0] > 0.5
    assert missing[high].mean() > 0.75
    assert missing[~high].mean() < 0.25


@pytest.mark.parametrize("codes", ["aggregated", "prior"])
def test_no_cell_is_missing_where_none_should_be(with_gaps, codes):
    assert np.isnan(with_gaps.sample(200, codes=codes, random_state=0)).any()
    assert np.isfinite(with_gaps.sample(200, codes=codes, missing=False, random_state=0)).all()
    assert np.isfinite(with_gaps.sample(200, codes=codes, noise=False, random_state=0)).all()


def test_missing_cells_do_not_change_the_others(with_gaps):
    holed, whole = (with_gaps.sample(200, missing=missing, random_state=0) for missing in (True, False))
    there = ~np.isnan(holed)
    np.testing.assert_array_equal(holed[there], whole[there])


def test_rows_that_were_complete_give_complete_draws():
    rows = rows_of_one_factor()
    assert np.isfinite(light().fit(rows).sample(300, random_state=0)).all()
    assert np.isfinite(light().partial_fit(rows).sample(300, random_state=0)).all()  # though a later chunk may differ


def test_a_column_without_a_value_stays_so(with_gaps):
    rows = np.column_stack([gappy(), np.full(600, np.nan)])
    model = light().fit(rows)
    for missing in (True, False):
        drawn = model.sample(50, missing=missing, random_state=0)
        assert np.isnan(drawn[:, 4]).all()
        assert np.isnan(drawn[:, :4]).any() == missing


def test_rows_of_weight_0_leave_no_missing_cells():
    rows = rows_of_one_factor()
    rows[::2, 1] = np.nan
    model = light().fit(rows, sample_weight=np.arange(300) % 2.0)
    assert np.isfinite(model.sample(200, random_state=0)).all()


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_cells_of_frames_are_missing_in_their_own_way(make):
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    level = np.where(x > 0.0, "up", "down").astype(object)
    level[::4] = None
    visits = [None if i % 5 == 0 else int(v) for i, v in enumerate(rng.poisson(3.0, 300))]
    if make is pd.DataFrame:
        frame = pd.DataFrame({"x": x, "level": pd.Categorical(level), "visits": pd.array(visits, dtype="Int64")})
    else:
        frame = pl.DataFrame(
            {"x": x, "level": pl.Series(level.tolist(), dtype=pl.Enum(["down", "up"])), "visits": visits}
        )
    model = light().fit(frame)
    drawn = model.sample(400, random_state=0)
    assert list(drawn.dtypes) == list(frame.dtypes)
    shares = [np.mean([v is None or v is pd.NA or v != v for v in drawn[name].to_list()]) for name in drawn.columns]
    np.testing.assert_allclose(shares, [0.0, 0.25, 0.2], atol=0.08)
    assert "None" not in {str(v) for v in model.sample(400, missing=False, random_state=0)["level"].to_list()}


# -- decimals, bounds and atoms ----------------------------------------------------------------------------------------


def decimals_of(values):
    return next((k for k in range(10) if np.array_equal(np.round(values, k), values)), np.inf)


def measured(n=300, seed=0):
    """Columns of whole numbers, of tenths, of halves and of full precision, one of them positive only."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 1)) + 0.5 * rng.normal(size=(n, 4))
    return np.column_stack(
        [np.round(10.0 * z[:, 0]), np.round(z[:, 1] * 3.0, 1), np.round(np.exp(z[:, 2]), 2), z[:, 3]]
    )


@pytest.fixture(scope="module")
def of_measured():
    return light(atoms=None).fit(measured())


def test_draws_have_the_decimals_of_the_training_rows(of_measured):
    drawn = of_measured.sample(300, random_state=0)
    assert [decimals_of(drawn[:, j]) for j in range(3)] == [0, 1, 2]
    assert decimals_of(drawn[:, 3]) > 6
    assert len(np.unique(drawn[:, 1])) > 30


def test_whole_numbers_of_a_float_column_with_gaps_stay_whole():
    rows = measured()
    rows[::3, 0] = np.nan
    frame = pd.DataFrame(rows, columns=list("abcd"))
    drawn = light().fit(frame).sample(300, random_state=0)["a"]
    assert drawn.isna().any()
    assert drawn.dtype == float
    np.testing.assert_array_equal(drawn.dropna(), drawn.dropna().round())


def test_expected_rows_are_not_rounded(of_measured):
    for rows in (of_measured.sample(50, noise=False, random_state=0), of_measured.reconstruct(measured())):
        assert decimals_of(rows[:, 0]) > 6


def test_draws_stay_within_the_training_rows(of_measured):
    rows, far = measured(), of_measured.sample(5_000, codes="prior", random_state=0)
    assert (far.min(axis=0) >= rows.min(axis=0)).all()
    assert (far.max(axis=0) <= rows.max(axis=0)).all()
    assert (far == rows.max(axis=0)).any()
    decoded = of_measured.inverse_transform(np.array([[50.0, 50.0], [-50.0, -50.0]]))
    assert (decoded >= rows.min(axis=0)).all()
    assert (decoded <= rows.max(axis=0)).all()


def test_without_bounds_draws_go_beyond_and_are_not_rounded():
    rows = measured()
    model = light(atoms=None, bounds=None).fit(rows)
    drawn = model.sample(5_000, codes="prior", random_state=0)
    assert (drawn.min(axis=0) < rows.min(axis=0)).all()
    assert decimals_of(drawn[:, 0]) > 6
    assert (np.abs(model.inverse_transform(np.full((1, 2), 50.0))) > np.abs(rows).max(axis=0)).any()


def fares(n=600, seed=0):
    """A table of prices, most of them on a short list, ages in years but for infants, and what both make likely."""
    rng = np.random.default_rng(seed)
    age = np.where(rng.random(n) < 0.05, rng.integers(1, 24, n) / 12.0, rng.integers(2, 70, n)).round(2)
    listed = np.array([7.25, 7.8958, 8.05, 13.0, 26.55, 30.0, 52.5542])[rng.integers(0, 7, n)]
    fare = np.where(rng.random(n) < 0.1, np.exp(rng.normal(4.0, 1.0, n)).round(4), listed)
    return pd.DataFrame({"age": age, "fare": fare, "paid": fare + rng.normal(size=n)})


def share_of_listed(drawn, train):
    """Of each column of both, the share of drawn numbers that at least five training rows hold."""
    counts = {name: train[name].value_counts() for name in train}
    return {name: drawn[name].isin(each.index[each >= 5]).mean() for name, each in counts.items()}


def test_draws_take_the_values_that_a_column_repeats():
    train = fares()
    model = light(atoms=None).fit(train)
    drawn = share_of_listed(model.sample(2_000, random_state=0), train)
    real = share_of_listed(train, train)
    assert real["paid"] == drawn["paid"] == 0.0
    assert abs(drawn["age"] - real["age"]) < 0.1
    assert drawn["fare"] > 0.4  # of .88; so short a training blurs where most lie
    free = share_of_listed(light(atoms=None, bounds=None).fit(train).sample(2_000, random_state=0), train)
    assert max(free.values()) < 0.05


def test_a_copy_draws_the_same():
    train = fares()
    model = light(atoms=None).fit(train)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.schema_ == model.schema_
        pd.testing.assert_frame_equal(twin.sample(50, random_state=0), model.sample(50, random_state=0))


def test_completed_rows_and_conditions_take_them_too_but_for_what_is_given():
    train = fares()
    model = light(atoms=None).fit(train)
    drawn = model.sample(500, given={"age": 30.4}, random_state=0)
    assert (drawn["age"] == 30.4).all()
    assert share_of_listed(drawn, train)["fare"] > 0.4
    holes = train.head(200).assign(fare=np.nan)
    imputer = VAEImputer(light(atoms=None), random_state=0).fit(train)
    (filled,) = imputer.draw(holes, 1, random_state=0)
    assert share_of_listed(filled, train)["fare"] > 0.4


def with_atoms(n=400, seed=0):
    """Two columns of positive numbers with many zeros."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 1)) + 0.5 * rng.normal(size=(n, 2))
    return np.where(rng.random((n, 2)) < [0.4, 0.6], 0.0, np.exp(z + np.array([1.0, 2.0])))


def shares_of_zero(model):
    return (model.sample(1_000, random_state=0) == 0.0).mean(axis=0)


def atoms_of(model):
    return [column.atoms for column in model.schema_.columns]


def test_atoms_are_drawn_as_often_as_they_were():
    model = light(max_iter=30).fit(with_atoms())
    assert atoms_of(model) == [(0.0,), (0.0,)]
    np.testing.assert_allclose(shares_of_zero(model), (with_atoms() == 0.0).mean(axis=0), atol=0.08)


@pytest.mark.parametrize("atoms", [None, []], ids=["None", "empty"])
def test_without_atoms_single_values_are_not_drawn(atoms):
    model = light(atoms=atoms, bounds=None).fit(with_atoms())
    assert atoms_of(model) == [(), ()]
    np.testing.assert_array_equal(shares_of_zero(model), [0.0, 0.0])


@pytest.mark.parametrize("make", [pd.DataFrame, lambda rows, columns: pl.DataFrame(rows, schema=columns)])
def test_atoms_of_some_columns_of_a_frame(make):
    model = light(atoms=["b"], bounds=None).fit(make(with_atoms(), columns=["a", "b"]))
    assert atoms_of(model) == [(), (0.0,)]
    drawn = model.sample(1_000, random_state=0).to_numpy()
    assert (drawn[:, 0] != 0.0).all()
    assert (drawn[:, 1] == 0.0).mean() > 0.4


def test_atoms_of_some_columns_of_an_array():
    model = light(atoms=[0], bounds=None).fit(with_atoms())
    assert atoms_of(model) == [(0.0,), ()]
    shares = shares_of_zero(model)
    assert shares[0] > 0.25
    assert shares[1] == 0.0


def test_atoms_of_a_column_that_is_not_there_are_an_error():
    frame = pd.DataFrame(with_atoms(), columns=["a", "b"])
    with pytest.raises(ValueError, match=r"The 'atoms' parameter names column\(s\) \['c'\] that X does not have"):
        light(atoms=["a", "c"]).fit(frame)
    with pytest.raises(ValueError, match=r"\[2\] that X does not have.*those of an array are named by their index"):
        light(atoms=[2]).fit(with_atoms())


@pytest.mark.parametrize(("name", "value"), [("atoms", "some"), ("atoms", 3), ("bounds", "some"), ("bounds", True)])
def test_other_rules_are_an_error(name, value):
    with pytest.raises(ValueError, match=f"The '{name}' parameter of VAETransformer must be"):
        light(**{name: value}).fit(with_atoms())


def test_rules_hold_for_every_likelihood_of_numbers():
    rows = np.round(np.abs(measured()) + 0.1, 1)
    for likelihood in ("gaussian", "student_t", "log_normal", Gaussian):
        drawn = light(likelihood=likelihood, atoms=None).fit(rows).sample(500, random_state=0)
        assert decimals_of(drawn[:, 1]) == 1
        assert (drawn.max(axis=0) <= rows.max(axis=0)).all()
        assert (drawn.min(axis=0) >= rows.min(axis=0)).all()


# -- ranks -------------------------------------------------------------------------------------------------------------


def hours(n=1_500, seed=0):
    """Hours of work: fives more often than what lies between, and pay, which is skewed and follows them."""
    rng = np.random.default_rng(seed)
    base = np.clip(rng.normal(38.0, 12.0, n), 2.0, 80.0)
    worked = np.where(rng.random(n) < 0.7, 5.0 * np.round(base / 5.0), np.round(base)).clip(1.0)
    pay = np.round(worked**2 * np.exp(rng.normal(0.0, 0.3, n)), 2)
    return pd.DataFrame({"hours": worked.astype(int), "pay": pay})


def distances(drawn, train):
    """Of each column the largest difference of the distribution functions."""
    out = {}
    for name in train:
        at, each = np.sort(train[name].unique()), (np.sort(X[name].dropna()) for X in (drawn, train))
        below, other = (np.searchsorted(values, at, side="right") / len(values) for values in each)
        out[name] = np.abs(below - other).max()
    return out


def ranked(model):
    return {column.name for column in model.schema_.columns if column.ranks is not None}


@pytest.mark.parametrize("marginals", ["linear", "normal"])
def test_columns_are_distributed_as_in_training(marginals):
    train = hours()
    drawn = light(atoms=None, marginals=marginals, max_iter=60).fit(train).sample(20_000, random_state=1)
    assert max(distances(drawn, train).values()) < 0.02
    for of in (lambda X: (X["hours"] % 5 == 0).mean(), lambda X: (X["hours"] == 40).mean()):
        assert of(drawn) == pytest.approx(of(train), abs=0.02)
    assert drawn["hours"].corr(drawn["pay"], "spearman") > 0.2  # as the model has it


def test_numbers_beside_atoms_are_distributed_as_in_training():
    train = hours().assign(gain=lambda X: np.where(X.index % 3 > 0, 0.0, X["pay"]))
    drawn = light().fit(train).sample(20_000, random_state=1)
    apart = [X.loc[X["gain"] != 0.0, ["gain"]] for X in (drawn, train)]
    assert distances(*apart)["gain"] < 0.03
    assert (drawn["gain"] == 0.0).mean() == pytest.approx(2.0 / 3.0, abs=0.05)


def test_where_cells_are_missing_the_others_are_distributed_as_in_training():
    train = hours().astype(float)
    train.loc[train["hours"] > 45.0, "pay"] = np.nan
    drawn = light(max_iter=30).fit(train).sample(20_000, random_state=1)
    assert distances(drawn, train)["pay"] < 0.04


def test_rows_count_by_their_weight():
    train = hours()
    many = (train["hours"] > 40).to_numpy()
    model = light(atoms=None).fit(train, sample_weight=np.where(many, 4.0, 1.0))
    drawn = model.sample(20_000, random_state=1)
    assert distances(drawn, pd.concat([train, *[train[many]] * 3]))["pay"] < 0.02
    assert distances(drawn, train)["pay"] > 0.05


def test_a_condition_holds_beside_ranks():
    drawn = light(atoms=None).fit(hours()).sample(500, given={"hours": 37}, random_state=0)
    assert (drawn["hours"] == 37).all()
    assert (drawn["pay"].round(2) == drawn["pay"]).all()


def test_ranks_are_of_drawn_rows_and_not_of_what_is_expected():
    train = hours()
    model = light(atoms=None).fit(train)
    plain = copy.copy(model)
    plain.schema_ = model.schema_.kept_by(model._table(train))
    assert not ranked(plain)
    pd.testing.assert_frame_equal(model.reconstruct(train), plain.reconstruct(train))
    np.testing.assert_array_equal(model.score_samples(train), plain.score_samples(train))
    drawn, bare = (one.sample(300, random_state=0) for one in (model, plain))
    assert drawn["pay"].corr(bare["pay"], "spearman") > 0.999
    assert not np.array_equal(drawn, bare)


def test_draws_with_codes_of_the_prior_are_the_models_own():
    train = hours()
    model = light(atoms=None).fit(train)
    plain = copy.copy(model)
    plain.schema_ = model.schema_.kept_by(model._table(train))
    for given in (None, {"hours": 40}):
        own, same = (one.sample(100, codes="prior", given=given, random_state=0) for one in (model, plain))
        pd.testing.assert_frame_equal(own, same)


def test_without_bounds_draws_are_left_as_they_are():
    assert ranked(light(atoms=None).fit(hours())) == {"hours", "pay"}
    assert not ranked(light(atoms=None, bounds=None).fit(hours()))


def test_counts_flags_and_integers_that_no_float_holds_have_no_ranks():
    rng = np.random.default_rng(0)
    train = pd.DataFrame({"count": rng.poisson(3.0, 300), "flag": rng.random(300) < 0.4, "x": rng.normal(size=300)})
    train["large"] = 2**60 + rng.integers(0, 2**55, 300)
    model = light(likelihood={"count": "poisson"}).fit(train)
    assert ranked(model) == {"x"}
    assert len(model.sample(20, random_state=0)) == 20


def test_further_rows_end_ranks_and_another_fit_learns_them_anew():
    train = hours()
    model = light(atoms=None, warm_start=True).partial_fit(train)
    assert ranked(model) == {"hours", "pay"}
    model.partial_fit(train)
    assert not ranked(model)
    model.fit(train.assign(pay=3.0 * train["pay"]))
    assert distances(model.sample(20_000, random_state=1), train)["pay"] > 0.2
    assert ranked(model) == {"hours", "pay"}


def test_models_that_draw_no_rows_learn_no_ranks():
    train = hours(300).astype(float)
    member = light(max_iter=2)
    for holder in (VAEImputer(member), VAEOutlierDetector(estimator=member)):
        assert not any(map(ranked, holder.fit(train).estimators_))
    assert ranked(member.fit(train)) == {"hours", "pay"}


def test_a_fit_of_one_seed_learns_the_same_ranks():
    first, second = (light(atoms=None).fit(hours()) for _ in range(2))
    assert first.schema_ == second.schema_
