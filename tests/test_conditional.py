"""Rows drawn under a condition: `sample(given=...)`."""

import pickle
import warnings
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.exceptions import NotFittedError

from skvae import VAETransformer
from skvae.nn.likelihoods import Gaussian
from tests.test_imputer import category_rows

LIGHT = {"n_components": 2, "hidden_layer_sizes": (16,), "max_iter": 5, "early_stopping": False, "device": "cpu"}
LIGHT |= {"n_importance_samples": 32}
LIGHT |= {"random_state": 0}


def light(**options):
    return VAETransformer(**(LIGHT | options))


LOADINGS = np.array([1.0, -0.8, 0.6])
NOISE = np.array([0.4, 0.5, 0.6])
COVARIANCE = np.outer(LOADINGS, LOADINGS) + np.diag(NOISE**2)


@pytest.fixture(scope="module")
def linear():
    """A model that has learned one factor of three columns, as arrays."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 1)) * LOADINGS + NOISE * rng.normal(size=(800, 3))
    likelihood = partial(Gaussian, scale="column")
    model = light(n_components=1, likelihood=likelihood, hidden_layer_sizes=(), max_iter=60, alpha=0.0, bounds=None)
    return model.fit(X)


@pytest.fixture(scope="module")
def of_categories():
    """A model of a number and the category that it decides on, "b" with 0.7 where positive, else with 0.05."""
    return light(max_iter=40, batch_size=40, alpha=0.0).fit(category_rows(600, 0))


def mixed_frame(n=240, seed=0):
    """A frame of every dtype, with atoms and missing cells."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    visits = pd.array(rng.poisson(np.exp(0.5 * z + 1.0)), dtype="Int64")
    visits[3::13] = pd.NA
    member = (z > 0.0).astype(object)
    member[::11] = None
    return pd.DataFrame(
        {
            "length": np.where(np.arange(n) % 9, 10.0 * z + rng.normal(size=n), np.nan),
            "gain": np.where(rng.random(n) < 0.5, 0.0, np.exp(z + rng.normal(size=n))),
            "rooms": np.round(3.0 + z).astype(np.int16),
            "visits": visits,
            "truth": z > 0.2,
            "member": member,
            "town": pd.Categorical(np.where(z > 0.3, "Oslo", "Rome"), ["Rome", "Lima", "Oslo"]),
            "grade": pd.Categorical.from_codes(np.digitize(z, [-0.6, 0.8]), ["low", "mid", "top"], ordered=True),
            "always": 7,
            "one": pd.Categorical(["same"] * n),
        }
    )


WANTED = {
    "length": 1.2345678901234567,
    "gain": 0.0,
    "rooms": 4,
    "visits": 3,
    "truth": True,
    "member": False,
    "town": "Oslo",
    "grade": "top",
    "always": 7,
    "one": "same",
}


@pytest.fixture(scope="module")
def mixed():
    return light(likelihood={"visits": "poisson"}).fit(mixed_frame())


@pytest.fixture(scope="module")
def in_polars():
    frame = mixed_frame()
    lists = {name: [None if pd.isna(v) else v for v in frame[name].tolist()] for name in frame}
    dtypes = {"town": pl.Enum(["Rome", "Lima", "Oslo"]), "grade": pl.Categorical, "one": pl.Categorical}
    rows = pl.DataFrame([pl.Series(name, v, dtype=dtypes.get(name)) for name, v in lists.items()])
    return light(likelihood={"visits": "poisson"}).fit(rows)


# -- given cells come back ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WANTED)
@pytest.mark.parametrize("fixture", ["mixed", "in_polars"])
def test_a_given_cell_comes_back_as_it_is(fixture, name, request):
    model = request.getfixturevalue(fixture)
    drawn = model.sample(30, given={name: WANTED[name]}, random_state=0)
    assert drawn[name].to_list() == [WANTED[name]] * 30
    others = [other for other in ("length", "rooms", "town") if other != name]
    assert all(len(set(drawn[other].to_list())) > 1 for other in others)


@pytest.mark.parametrize("fixture", ["mixed", "in_polars"])
def test_all_cells_may_be_given(fixture, request):
    model = request.getfixturevalue(fixture)
    drawn = model.sample(3, given=WANTED, random_state=0)
    assert {name: drawn[name].to_list() for name in drawn.columns} == {name: [v] * 3 for name, v in WANTED.items()}
    dtypes = model.sample(3, missing=False, random_state=0)
    assert list(drawn.dtypes) == list(dtypes.dtypes)


def test_dtypes_are_those_of_fit(mixed):
    drawn = mixed.sample(30, given={"town": "Rome"}, missing=False, random_state=0)
    frame = mixed_frame()
    assert list(drawn.columns) == list(frame.columns)
    pd.testing.assert_series_equal(drawn.dtypes, frame.dtypes)


@pytest.mark.parametrize("value", [1e6 + 0.123456789, -1e-9, 0.1 + 0.2])
def test_given_numbers_are_not_rounded_or_bounded(value):
    rows = np.round(np.random.default_rng(0).normal(size=(100, 3)), 1)
    model = light().fit(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a million is out of reach
        drawn = model.sample(5, given={1: value}, random_state=0)
    np.testing.assert_array_equal(drawn[:, 1], value)
    np.testing.assert_array_equal(np.round(drawn[:, [0, 2]], 1), drawn[:, [0, 2]])


def test_an_atom_may_be_given(mixed):
    assert mixed.schema_.columns[1].atoms == (0.0,)
    assert (mixed.sample(50, given={"gain": 0.0}, random_state=0)["gain"] == 0.0).all()
    assert (mixed.sample(50, given={"gain": 1.5}, random_state=0)["gain"] == 1.5).all()


def test_columns_of_an_array_are_named_by_their_index(linear):
    drawn = linear.sample(20, given={0: 1.5, np.int64(2): -0.25}, random_state=0)
    assert isinstance(drawn, np.ndarray)
    np.testing.assert_array_equal(drawn[:, [0, 2]], np.tile([1.5, -0.25], (20, 1)))
    assert len(np.unique(drawn[:, 1])) == 20


def test_given_numbers_of_other_types_are_taken(mixed):
    for value in (np.float32(0.5), np.int64(2), 2, True):
        assert (mixed.sample(2, given={"length": value}, random_state=0)["length"] == float(value)).all()


def test_levels_of_numbers_and_of_text_may_be_given():
    frame = pd.DataFrame({"x": np.arange(60.0) % 7, "code": np.arange(60) % 3 + 10, "word": list("abc") * 20})
    model = light(likelihood={"code": "categorical", "word": "categorical"}).fit(frame)
    drawn = model.sample(10, given={"code": 12, "word": "c"}, random_state=0)
    assert set(drawn["code"]) == {12}
    assert set(drawn["word"]) == {"c"}


def test_a_rare_level_that_shares_a_code_may_be_given():
    names = [f"n{i}" for i in range(300)]
    frame = pd.DataFrame({"x": np.arange(900) % 11.0, "name": pd.Categorical(np.repeat(names, 3), names)})
    model = light(max_iter=1).fit(frame)
    pooled = model.schema_.columns[1].levels.pooled
    assert len(pooled) > 1
    with pytest.warns(UserWarning, match=f"About 3 of 900 training rows have '{pooled[0]}' in column 'name'"):
        drawn = model.sample(40, given={"name": pooled[0]}, random_state=0)
    assert set(drawn["name"]) == {pooled[0]}


# -- frames of partial rows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
@pytest.mark.parametrize("fixture", ["mixed", "in_polars"])
def test_rows_follow_in_the_order_of_those_given(fixture, make, request):
    model = request.getfixturevalue(fixture)
    given = make({"town": ["Rome", None, "Oslo"], "length": [1.5, -3.25, None], "rooms": [None, 3, 2]})
    drawn, sizes = model.sample(4, given=given, missing=False, return_ess=True, random_state=0)
    assert sizes.shape == (3,)
    assert len(drawn) == 12
    towns, lengths, rooms = (drawn[name].to_list() for name in ("town", "length", "rooms"))
    assert towns[:4] == ["Rome"] * 4
    assert towns[8:] == ["Oslo"] * 4
    assert lengths[:8] == [1.5] * 4 + [-3.25] * 4
    assert len(set(lengths[8:])) == 4
    assert rooms[4:] == [3] * 4 + [2] * 4


def test_every_missing_mark_of_a_frame_leaves_a_cell_open(mixed):
    given = pd.DataFrame(
        {
            "length": [np.nan, 2.0],
            "visits": pd.array([2, pd.NA], dtype="Int64"),
            "member": np.array([None, True], dtype=object),
            "town": pd.Categorical(["Oslo", None]),
        },
        index=[5, 5],
    )
    drawn = mixed.sample(30, given=given, missing=False, random_state=0)
    assert list(drawn.index) == list(range(60))
    assert (drawn["visits"][:30] == 2).all()
    assert (drawn["town"][:30] == "Oslo").all()
    assert drawn["length"][:30].nunique() == 30
    assert (drawn["length"][30:] == 2.0).all()
    assert drawn["member"][30:].all()
    assert drawn["visits"][30:].nunique() > 1


def test_missing_cells_of_a_dict_are_left_open(mixed):
    for nothing in (None, np.nan, pd.NA):
        drawn = mixed.sample(20, given={"length": nothing, "town": "Rome"}, missing=False, random_state=0)
        assert drawn["length"].nunique() == 20
        assert (drawn["town"] == "Rome").all()


# -- the distribution --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codes", ["aggregated", "prior"])
@pytest.mark.parametrize("given", [{0: -2.0}, {1: 1.5}, {2: 0.5}, {0: 1.0, 1: -1.0}], ids=str)
def test_conditional_moments_of_a_linear_model_are_the_known_ones(linear, given, codes):
    drawn = linear.sample(1_000, given=given, codes=codes, random_state=0)
    known = list(given)
    rest = [j for j in range(3) if j not in known]
    slope = COVARIANCE[np.ix_(rest, known)] @ np.linalg.inv(COVARIANCE[np.ix_(known, known)])
    variance = COVARIANCE[np.ix_(rest, rest)] - slope @ COVARIANCE[np.ix_(known, rest)]
    np.testing.assert_allclose(drawn[:, rest].mean(axis=0), slope @ list(given.values()), atol=0.12)
    np.testing.assert_allclose(drawn[:, rest].std(axis=0), np.sqrt(np.diag(variance)), rtol=0.12)
    np.testing.assert_allclose(np.cov(drawn[:, rest].T), np.squeeze(variance), atol=0.15)


def test_a_condition_beyond_the_training_rows_is_followed(linear):
    drawn = linear.sample(500, given={0: 3.5}, codes="prior", random_state=0)
    known = COVARIANCE[1:, 0] / COVARIANCE[0, 0] * 3.5
    np.testing.assert_allclose(drawn[:, 1:].mean(axis=0), known, atol=0.3)


def test_conditional_frequencies_of_a_category_are_the_known_ones(of_categories):
    for x, share in ((3.0, 0.7), (-3.0, 0.05)):
        drawn = of_categories.sample(1_000, given={"x": x}, random_state=0)
        assert (drawn["level"] == "b").mean() == pytest.approx(share, abs=0.1)


def test_numbers_follow_a_category(of_categories):
    for level, share in (("a", 0.3 / 1.25), ("b", 0.7 / 0.75)):
        drawn = of_categories.sample(1_000, given={"level": level}, random_state=0)
        assert (drawn["x"] > 0.0).mean() == pytest.approx(share, abs=0.1)
        assert (np.abs(np.abs(drawn["x"]) - 3.0) < 1.0).mean() > 0.9


def test_expected_rows_under_a_condition_have_no_noise(linear):
    given = {0: 1.2}
    clean, noisy = (linear.sample(500, given=given, noise=noise, random_state=0) for noise in (False, True))
    np.testing.assert_array_equal(clean[:, 0], 1.2)
    assert (clean[:, 1:].std(axis=0) < 0.8 * noisy[:, 1:].std(axis=0)).all()
    np.testing.assert_allclose(clean.mean(axis=0), noisy.mean(axis=0), atol=0.12)


def test_expected_rows_of_a_frame_have_the_given_cells(mixed):
    drawn = mixed.sample(20, given={"town": "Oslo", "length": 2.5, "truth": False}, noise=False, random_state=0)
    assert (drawn["town"] == "Oslo").all()
    assert (drawn["length"] == 2.5).all()
    assert not drawn["truth"].any()
    assert set(drawn["grade"]) <= {"low", "mid", "top"}


def test_given_cells_are_never_missing_and_others_may_be():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 1)) + 0.3 * rng.normal(size=(400, 3))
    rows[rng.random(rows.shape) < 0.4] = np.nan
    model = light().fit(rows)
    drawn = model.sample(500, given={0: 0.5}, random_state=0)
    assert not np.isnan(drawn[:, 0]).any()
    assert 0.3 < np.isnan(drawn[:, 1:]).mean() < 0.5
    assert not np.isnan(model.sample(500, given={0: 0.5}, missing=False, random_state=0)).any()


# -- effective sample size ---------------------------------------------------------------------------------------------


def test_effective_sample_size_is_lower_for_rarer_conditions(linear):
    given = [{0: 0.0}, {0: 3.5}, {0: 6.0}]
    sizes = [linear.sample(1, given=one, return_ess=True, random_state=0)[1] for one in given]
    assert all(size.shape == (1,) for size in sizes)
    sizes = np.concatenate(sizes)
    assert ((sizes >= 1.0) & (sizes <= 4_096.0)).all()
    assert (np.diff(sizes) < 0.0).all()


def test_effective_sample_size_grows_with_the_rows_asked_for(linear):
    few, many = (linear.sample(n, given={0: 1.0}, return_ess=True, random_state=0)[1][0] for n in (10, 1_500))
    assert 2_000 < few <= 4_096
    assert 4_096 < many <= 6_000


def test_without_a_condition_every_draw_counts(linear):
    drawn, sizes = linear.sample(7, return_ess=True, random_state=0)
    np.testing.assert_array_equal(sizes, [7.0])
    np.testing.assert_array_equal(drawn, linear.sample(7, random_state=0))


def test_a_condition_out_of_reach_is_warned_of_where_it_is_asked_for(linear):
    with pytest.warns(UserWarning, match="Condition is nearly out of the model's reach.* of 4096 draws") as caught:
        drawn, sizes = linear.sample(5, given={0: 40.0}, return_ess=True, random_state=0)
    assert sizes[0] < 10.0
    np.testing.assert_array_equal(drawn[:, 0], 40.0)
    assert caught[0].filename == __file__


def test_the_rows_out_of_reach_are_numbered():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 1)) + 0.2 * rng.normal(size=(300, 2))
    model = light(likelihood="gaussian", bounds=None).fit(pd.DataFrame(rows, columns=["a", "b"]))
    for values, number in (([0.0, 1e4, 0.1], "1 is"), ([0.0, 1e4, 1e4], r"1 \(and 1 more\) is")):
        with pytest.warns(UserWarning, match=f"Condition {number} nearly out of the model's reach"):
            model.sample(1, given=pd.DataFrame({"a": values}), random_state=0)


@pytest.mark.filterwarnings("ignore:Condition is nearly out of the model's reach")
def test_a_number_outside_the_training_rows_is_warned_of_where_it_is_given(mixed):
    with pytest.warns(UserWarning, match="given asks for 41.5 in column 'length', which is out of the reach") as caught:
        drawn = mixed.sample(3, given={"length": 41.5}, random_state=0)
    assert (drawn["length"] == 41.5).all()
    assert {warning.filename for warning in caught} == {__file__}


# -- streams -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["yes", 1.0])
def test_a_condition_on_a_column_of_one_value_or_none_counts(light_vae, X, value):
    frame = pd.DataFrame(X, columns=list("abcd"))
    flag = pd.Series(np.where(X[:, 0] > np.median(X[:, 0]), value, None), dtype="category" if value == "yes" else float)
    model = light_vae(max_iter=200, early_stopping=False).fit(frame.assign(flag=flag, full=2.0))
    drawn = model.sample(300, given={"flag": value}, random_state=0)
    assert (drawn["flag"] == value).all()
    assert drawn["a"].median() > np.quantile(X[:, 0], 0.65)
    assert (model.sample(5, given={"full": 2.0})["full"] == 2.0).all()  # of no other value: nothing to tell


def test_draws_under_a_condition_are_reproducible(mixed, linear):
    rng = np.random.RandomState(0)
    for model, given in ((linear, {0: 1.0}), (mixed, {"town": "Oslo"})):
        seeds = (3, 3, 4, None, rng, rng)
        draws = [pd.DataFrame(model.sample(20, given=given, random_state=seed)) for seed in seeds]
        assert draws[0].equals(draws[1])
        for i, drawn in enumerate(draws[1:]):
            assert not any(drawn.equals(other) for other in draws[2 + i :])


def test_rows_given_twice_are_drawn_anew(linear):
    frame = pd.DataFrame({0: [1.0, 1.0]})
    drawn = linear.sample(5, given=frame, random_state=0)
    assert (drawn[:5, 1:] != drawn[5:, 1:]).all()


def test_a_pickle_draws_the_same(mixed):
    given = {"town": "Oslo", "length": 1.5}
    loaded = pickle.loads(pickle.dumps(mixed))
    drawn = (model.sample(10, given=given, random_state=0) for model in (loaded, mixed))
    pd.testing.assert_frame_equal(*drawn)


def test_global_random_streams_do_not_move(linear):
    np.random.seed(0)  # noqa: NPY002 - the user's own, which must not move

    def state():
        numpy = np.random.get_state()  # noqa: NPY002
        return numpy[1].tobytes(), numpy[2], torch.get_rng_state().numpy().tobytes()

    before = state()
    linear.sample(5, given={0: 1.0}, random_state=0)
    assert state() == before


def test_what_is_given_is_not_written_to(mixed):
    given = {"town": "Oslo", "length": np.nan}
    frame = pd.DataFrame({"town": ["Oslo", None], "length": [1.0, np.nan]})
    before = frame.copy()
    mixed.sample(2, given=given, random_state=0), mixed.sample(2, given=frame, random_state=0)
    assert list(given) == ["town", "length"]
    pd.testing.assert_frame_equal(frame, before)


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_a_column_that_fit_did_not_see_is_an_error(mixed, linear):
    with pytest.raises(ValueError, match=r"given names column\(s\) \['age'\] that fit did not see.*'length', 'gain'"):
        mixed.sample(given={"age": 40, "town": "Oslo"})
    with pytest.raises(ValueError, match=r"\[3\] that fit did not see.*\[0, 1, 2\]; those of an array are named by"):
        linear.sample(given={3: 1.0})
    with pytest.raises(ValueError, match="that fit did not see"):
        linear.sample(given=pd.DataFrame({"0": [1.0]}))


@pytest.mark.parametrize("level", ["Lima", "oslo", 3, ["Oslo", "Lima"]])
def test_a_level_that_fit_did_not_see_is_an_error_with_those_it_saw(mixed, level):
    with pytest.raises(ValueError, match=r"level .* in column 'town', which fit did not see. It saw 'Rome', 'Oslo'"):
        mixed.sample(given={"town": level})


@pytest.mark.parametrize("value", ["forty", "40", np.inf, -np.inf, ["1.0"], pd.Timestamp(0), 1j])
def test_something_else_than_a_number_is_an_error(mixed, value):
    with pytest.raises(
        TypeError, match=r"given must hold finite numbers in number columns. Got .* for column 'length'"
    ):
        mixed.sample(given={"length": value})


@pytest.mark.parametrize("name", ["rooms", "truth", "member"])
def test_a_fraction_of_a_whole_number_is_an_error(mixed, name):
    with pytest.raises(
        ValueError, match=rf"given asks for (np.float64\()?0.5\)? in column '{name}', which is of dtype"
    ):
        mixed.sample(given={name: 0.5})


@pytest.mark.parametrize(("name", "value"), [("always", 8), ("one", "other")])
def test_another_value_of_a_constant_column_is_an_error(mixed, name, value):
    with pytest.raises(ValueError, match=f"in column '{name}', which was constant .* the model knows no other value"):
        mixed.sample(given={name: value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("truth", 2, r"Bernoulli likelihood expects values in \[0, 1\]"),
        ("truth", -0.5, r"Bernoulli likelihood expects values in \[0, 1\]"),
        ("visits", -1, "A likelihood of counts expects"),
        ("visits", 1.5, "A likelihood of counts expects"),
    ],
)
def test_a_value_that_the_likelihood_cannot_take_is_an_error(mixed, name, value, message):
    with pytest.raises(ValueError, match=message):
        mixed.sample(given={name: value})


@pytest.mark.parametrize("empty", [{}, pd.DataFrame(), pd.DataFrame(index=[0, 1])])
def test_a_condition_on_nothing_is_an_error(mixed, empty):
    with pytest.raises(ValueError, match="given names no column"):
        mixed.sample(given=empty)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
def test_a_frame_without_rows_is_an_error(mixed, make):
    with pytest.raises(ValueError, match="given is a frame without rows"):
        mixed.sample(given=make({"length": []}))


@pytest.mark.parametrize("given", [[1.0], np.ones((1, 3)), "town", 3, pd.Series({"length": 1.0})], ids=str)
def test_something_else_than_a_dict_or_a_frame_is_an_error(mixed, given):
    with pytest.raises(TypeError, match="given must be a dict from columns to values or a data frame of partial rows"):
        mixed.sample(given=given)


@pytest.mark.parametrize("n_samples", [0, -1, 1.5, "3"])
def test_an_impossible_number_of_rows_is_an_error(linear, n_samples):
    with pytest.raises(ValueError, match=f"n_samples must be a positive integer. Got {n_samples!r} instead"):
        linear.sample(n_samples, given={0: 1.0})


def test_unknown_codes_are_an_error(linear):
    with pytest.raises(ValueError, match=r"codes must be 'auto', 'aggregated' or 'prior'. Got 'some' instead"):
        linear.sample(given={0: 1.0}, codes="some")


def test_a_condition_needs_a_fit():
    with pytest.raises(NotFittedError):
        light().sample(given={0: 1.0})


# -- densities of some columns ---------------------------------------------------------------------------------------


def branches(n):
    """A number, and one that lies near +-1, likelier above where the first is large."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    side = np.where(rng.random(n) < 1.0 / (1.0 + np.exp(-x)), 1.0, -1.0)
    return np.column_stack([x, side * (1.0 + 0.3 * x) + rng.normal(0.0, 0.1, n)])


@pytest.mark.parametrize("likelihood", ["auto", "student_t", "gaussian"])
def test_scores_of_single_columns_are_densities_though_no_cell_was_missing_in_training(likelihood):
    model = VAETransformer(likelihood=likelihood, random_state=0).fit(branches(600))
    grid = np.arange(-8.0, 8.0, 0.02) + 0.01
    for j in range(2):
        rows = np.full((len(grid), 2), np.nan)
        rows[:, j] = grid
        assert np.exp(model.score_samples(rows)).sum() * 0.02 == pytest.approx(1.0, abs=0.1)


def test_scores_of_rows_with_holes_hang_on_nothing_but_the_row():
    rows = branches(300)
    model = VAETransformer(max_iter=20, random_state=0).fit(rows)
    complete = model.score_samples(rows[:20])
    holed = rows[:20].copy()
    holed[::2, 0] = np.nan
    scores = model.score_samples(holed)
    np.testing.assert_array_equal(scores[1::2], complete[1::2])
    np.testing.assert_allclose(scores, [model.score_samples(row[None])[0] for row in holed], atol=1e-9)
    assert np.isfinite(model.score_uncertainty(holed)[0][::2]).mean() > 0.5


# -- ranges, lists and missing cells -----------------------------------------------------------------------------------


def shop(n=600, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    X = pd.DataFrame(
        {
            "age": (40.0 + 10.0 * z).round(),
            "income": 2000.0 + 500.0 * z + 50.0 * rng.normal(size=n),
            "town": rng.choice(["Rome", "Oslo", "Bern"], n, p=[0.6, 0.3, 0.1]),
            "grade": pd.Categorical.from_codes(np.digitize(z, [-0.7, 0.7]), ["low", "mid", "high"], ordered=True),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta((100 + 30 * z).clip(0).round(), unit="D"),
        }
    )
    X.loc[X["income"] > 2300.0, "income"] = np.nan
    return X


@pytest.fixture(scope="module")
def of_shop():
    return VAETransformer(max_iter=300, random_state=0).fit(shop())


RANGES = {
    "between": ({"age": ("between", 30, 35)}, lambda rows: rows["age"].between(30, 35)),
    "slice": ({"age": slice(50, None)}, lambda rows: rows["age"] >= 50),
    "open": ({"income": ("between", None, 1500.0)}, lambda rows: rows["income"] <= 1500.0),
    "dates": ({"day": slice("2024-03-01", pd.Timestamp("2024-03-31"))}, lambda rows: rows["day"].dt.month == 3),
    "levels in order": ({"grade": ("between", "mid", "high")}, lambda rows: rows["grade"] >= "mid"),
    "a list": ({"town": ["Oslo", "Bern"]}, lambda rows: rows["town"].isin(["Oslo", "Bern"])),
    "numbers": ({"age": [40, 41.0]}, lambda rows: rows["age"].isin([40, 41])),
    "missing": ({"income": ("missing",)}, lambda rows: rows["income"].isna()),
    "all at once": (
        {"age": slice(30, 50), "town": {"Rome"}, "grade": "mid"},
        lambda rows: rows["age"].between(30, 50) & (rows["town"] == "Rome") & (rows["grade"] == "mid"),
    ),
}


@pytest.mark.parametrize("name", RANGES)
def test_draws_lie_in_what_is_given(of_shop, name):
    given, holds = RANGES[name]
    rows, found = of_shop.sample(100, given=given, return_ess=True, random_state=0)
    assert len(rows) == 100
    assert holds(rows).all()
    assert found.shape == (1,)
    assert (rows.dtypes == shop().dtypes).all()
    pd.testing.assert_frame_equal(rows, of_shop.sample(100, given=given, random_state=0))


def test_a_range_is_what_rejection_leaves(of_shop):
    """Rows under a range are those of the model that lie there."""
    many = of_shop.sample(20_000, random_state=1)
    kept = many[many["age"].between(30, 35)]
    rows = of_shop.sample(2_000, given={"age": slice(30, 35)}, random_state=0)
    assert (rows["age"].min(), rows["age"].max()) == (30, 35)
    assert rows["day"].mean().timestamp() == pytest.approx(kept["day"].mean().timestamp(), abs=3 * 86_400)
    assert (rows["town"] == "Rome").mean() == pytest.approx((kept["town"] == "Rome").mean(), abs=0.06)


def test_missing_cells_say_what_goes_with_them(of_shop):
    rows = of_shop.sample(500, given={"income": ("missing",)}, random_state=0)
    assert rows["age"].mean() > 46.0


def test_a_range_too_rare_repeats_rows_and_says_so(of_shop):
    with pytest.warns(UserWarning, match=r"Of [\d,]+ rows drawn \d+ lie in what given asks for, so that rows repeat"):
        rows = of_shop.sample(3_000, given={"age": slice(65, None)}, random_state=0)
    assert len(rows) == 3_000
    assert (rows["age"] >= 65).all()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"age": slice(200, 300)}, ValueError, r"'age', whose training rows range from .*: no row that is drawn lies"),
        ({"age": slice(40, 30)}, ValueError, "40 to 30 in column 'age', which is no range"),
        ({"age": ("between", "a", 3)}, TypeError, "given must hold finite numbers in number columns. Got 'a'"),
        ({"town": slice("Bern", "Rome")}, TypeError, "'town', whose levels have no order. Give a list of levels"),
        ({"grade": slice("mid", "top")}, ValueError, "asks for level 'top' in column 'grade', which fit did not see"),
        ({"town": ["Oslo", "Lima"]}, ValueError, "level 'Lima' in column 'town', which fit did not see"),
        ({"town": []}, TypeError, "given must hold a value, .* a list of values, or .*missing"),
        ({"age": ("over", 3)}, TypeError, r"Got \('over', 3\) for column 'age'"),
        ({"age": slice(3, 30, 2)}, TypeError, "given must hold a value"),
        ({"town": ("missing",)}, ValueError, "missing cells in column 'town', of which fit saw none missing"),
        ({"size": slice(1, 2)}, ValueError, "given names column.s. .'size'. that fit did not see"),
    ],
)
def test_a_range_that_makes_no_sense_is_an_error(of_shop, given, error, message):
    with pytest.raises(error, match=message):
        of_shop.sample(5, given=given)


def test_missing_cells_of_a_model_that_knows_no_pattern_are_an_error():
    model = VAETransformer(max_iter=2, missingness=None, random_state=0).fit(shop())
    with pytest.raises(ValueError, match=r"does not know when they are\. Fit it with missingness='draws'"):
        model.sample(given={"income": ("missing",)})


def test_a_level_may_be_a_tuple():
    X = shop()
    X["place"] = pd.Categorical(list(zip(X["town"], X["age"] > 40, strict=True)))
    model = VAETransformer(max_iter=2, random_state=0).fit(X)
    assert set(model.sample(5, given={"place": ("Rome", True)}, random_state=0)["place"]) == {("Rome", True)}


def test_few_training_rows_under_a_condition_are_told():
    X = shop().assign(fraud=np.arange(600) < 9, code=np.where(np.arange(600) < 9, "odd", "even"))
    model = VAETransformer(max_iter=2, random_state=0).fit(X)
    for given, shown in (({"fraud": True}, "1"), ({"code": "odd"}, "'odd'")):
        with pytest.warns(UserWarning, match=rf"About 9 of 600 training rows have {shown} in column") as caught:
            model.sample(3, given=given, random_state=0)
        assert {warning.filename for warning in caught} == {__file__}
    assert len(model.sample(3, given={"fraud": False, "town": "Bern"}, random_state=0)) == 3
