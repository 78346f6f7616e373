"""The imputer: what it fills, what it leaves as it is, and its company."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from pandas.testing import assert_frame_equal, assert_index_equal
from polars.testing import assert_frame_equal as assert_polars_equal
from scipy.sparse import csr_matrix
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skvae import AutoencoderTransformer, VAEImputer, VAETransformer
from skvae._table.schema import TableSchema

LIGHT = {"n_components": 2, "hidden_layer_sizes": (16,), "max_iter": 5, "early_stopping": False, "device": "cpu"}
LIGHT |= {"n_importance_samples": 64, "random_state": 0}


def light(**options):
    return VAETransformer(**(LIGHT | options))


def imputer(estimator=None, **options):
    return VAEImputer(light() if estimator is None else estimator, **({"n_importance_samples": 20} | options))


def one_factor(n=200, seed=0, noise=0.3):
    """Rows of four columns of one factor, on different scales."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(n, 1)) + noise * rng.normal(size=(n, 4))) * [1.0, 10.0, 0.1, 100.0] + 5.0


def holed(X, share=0.2, seed=1):
    """A copy with cells missing, though no row is without any cell; and which."""
    missing = np.random.default_rng(seed).random(X.shape) < share
    missing[:, 0] &= ~missing.all(axis=1)
    return np.where(missing, np.nan, X).astype(X.dtype), missing


@pytest.fixture(scope="module")
def X():
    X, _ = holed(one_factor())
    X.setflags(write=False)
    return X


@pytest.fixture(scope="module")
def fitted(X):
    return imputer().fit(X)


@pytest.fixture(scope="module")
def trained():
    """An imputer whose model has learned the factor, and the rows it was trained on."""
    model = light(likelihood="gaussian", hidden_layer_sizes=(), max_iter=60, alpha=0.0)
    X, _ = holed(one_factor(400))
    return VAEImputer(model, n_importance_samples=50).fit(X)


def make_frame(n=150, seed=0):
    """A frame of every dtype that people have, all of one factor, with cells missing in all of them."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)

    def gaps():
        return rng.random(n) < 0.15

    town = np.where(z + 0.3 * rng.normal(size=n) > 0.3, "Oslo", "Rome").astype(object)
    town[gaps()] = None
    grade = np.digitize(z, [-0.6, 0.8])
    grade[gaps()] = -1
    word = np.where(z > 0.0, "yes", "no").astype(object)
    word[gaps()] = None
    flag = (z > 0.2).astype(object)
    flag[gaps()] = None
    frame = pd.DataFrame(
        {
            "length": np.where(gaps(), np.nan, 10.0 * z + rng.normal(size=n)),
            "single": np.where(gaps(), np.nan, z + rng.normal(size=n)).astype(np.float32),
            "visits": pd.array(rng.poisson(np.exp(0.5 * z + 1.0)), dtype="Int64"),
            "member": pd.array(z + rng.normal(size=n) > 0.0, dtype="boolean"),
            "flag": flag,
            "town": pd.Categorical(town, ["Rome", "Lima", "Oslo"]),
            "grade": pd.Categorical.from_codes(grade, ["low", "mid", "top"], ordered=True),
            "word": word,
            "whole": np.round(5.0 * z).astype(int),
            "truth": z > 0.0,
        },
        index=rng.integers(0, 30, n),
    )
    for name in ("visits", "member"):
        frame[name] = frame[name].mask(gaps())
    frame["word"] = frame["word"].astype("str" if pd.__version__ >= "3" else object)
    frame.attrs["source"] = "census"
    return frame


def make_polars():
    """The same in polars; `town` an Enum, `grade` a Categorical."""
    frame = make_frame()
    lists = {name: [None if pd.isna(v) else v for v in frame[name].tolist()] for name in frame}
    dtypes = {"town": pl.Enum(["Rome", "Lima", "Oslo"]), "grade": pl.Categorical, "single": pl.Float32}
    return pl.DataFrame([pl.Series(name, values, dtype=dtypes.get(name)) for name, values in lists.items()])


@pytest.fixture(scope="module")
def frame():
    return make_frame()


@pytest.fixture(scope="module")
def of_frame(frame):
    return imputer(light(likelihood={"word": "categorical"})).fit(frame)


# -- what stays as it is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample_posterior", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_observed_cells_of_an_array_come_back_bit_for_bit(X, dtype, sample_posterior):
    rows = X.astype(dtype)
    out = imputer(sample_posterior=sample_posterior).fit_transform(rows)
    there = ~np.isnan(rows)
    assert out.dtype == dtype
    assert out[there].tobytes() == rows[there].tobytes()
    assert np.isfinite(out).all()


def test_numbers_of_any_size_are_not_rounded_on_their_way(X):
    rows = X.copy()
    rows[0] = [1e-300, np.pi * 1e200, -1e-320, 0.1 + 0.2]
    rows[1] = [-0.0, np.nextafter(1.0, 2.0), np.nan, 1e15 + 0.125]
    out = imputer().fit(X).transform(rows)
    there = ~np.isnan(rows)
    assert out[there].tobytes() == rows[there].tobytes()


@pytest.mark.parametrize("sample_posterior", [False, True])
def test_observed_cells_of_a_frame_come_back_as_they_are(of_frame, frame, sample_posterior):
    model = copy.copy(of_frame).set_params(sample_posterior=sample_posterior)
    out = model.transform(frame)
    assert_index_equal(out.index, frame.index)
    assert out.index.has_duplicates
    assert out.attrs == {"source": "census"}
    pd.testing.assert_series_equal(out.dtypes, frame.dtypes)
    assert list(out.columns) == list(frame.columns)
    assert not out.isna().any(axis=None)
    assert_frame_equal(out.where(frame.notna().to_numpy()), frame.where(frame.notna().to_numpy()), check_exact=True)
    assert all(type(value) is bool for value in out["flag"])
    assert set(out["town"]) <= {"Rome", "Oslo"}  # nobody lives in Lima
    assert set(out["word"]) <= {"yes", "no"}


@pytest.mark.parametrize("sample_posterior", [False, True])
def test_observed_cells_of_a_polars_frame_come_back_as_they_are(sample_posterior):
    frame = make_polars()
    out = imputer(light(likelihood={"word": "categorical"}), sample_posterior=sample_posterior).fit_transform(frame)
    assert out.schema == frame.schema
    assert sum(out.null_count().row(0)) == 0
    assert sum(frame.null_count().row(0)) > 0
    back = out.select(
        pl.when(frame[name].is_null()).then(None).otherwise(pl.col(name)).alias(name) for name in out.columns
    )
    assert_polars_equal(back, frame, check_exact=True)
    assert set(out["town"]) <= {"Rome", "Oslo"}


def test_nan_and_null_of_polars_are_both_missing():
    rows = one_factor(60)
    frame = pl.DataFrame(rows, schema=list("abcd"))
    frame[0, "a"], frame[1, "a"] = None, float("nan")
    out = imputer().fit_transform(frame)
    assert np.isfinite(out.to_numpy()).all()
    np.testing.assert_array_equal(out.to_numpy()[2:], rows[2:])


@pytest.mark.parametrize("make", [lambda X: X, lambda X: pd.DataFrame(X, columns=list("abcd"))], ids=["array", "frame"])
def test_rows_without_a_missing_cell_are_unchanged(make, X):
    complete = make(one_factor(50, seed=3))
    for model in (imputer().fit(complete), imputer().fit(make(X))):
        out = model.transform(complete)
        np.testing.assert_array_equal(out, complete)
        assert out is not complete


def test_what_is_given_is_not_written_to(X):
    rows, frame = X.copy(), make_frame()
    imputer().fit(rows).transform(rows)
    np.testing.assert_array_equal(rows, X)
    imputer(light(likelihood={"word": "categorical"})).fit(frame).draw(frame, 2)
    assert_frame_equal(frame, make_frame())


def test_integers_come_back_rounded_where_the_dtype_has_room_for_them(frame, of_frame):
    out = of_frame.transform(frame)
    filled = out["visits"][frame["visits"].isna().to_numpy()]
    assert filled.dtype == "Int64"
    assert (filled >= 0).all()


def test_a_column_that_was_whole_in_fit_may_have_gaps_later(of_frame, frame):
    later = frame.copy()
    later["whole"] = later["whole"].where(np.arange(len(frame)) % 3 > 0)
    later["truth"] = later["truth"].astype(object).where(np.arange(len(frame)) % 4 > 0, None)
    out = of_frame.transform(later)
    assert not out.isna().any(axis=None)
    assert (out["whole"] == np.rint(out["whole"])).all()
    assert set(out["truth"]) == {True, False}
    there = later["whole"].notna().to_numpy()
    np.testing.assert_array_equal(out["whole"][there], later["whole"][there])


def test_a_level_that_fit_did_not_see_stays(of_frame, frame):
    later = frame.head(20).assign(town=pd.Categorical(["Lima"] * 20, ["Rome", "Lima", "Oslo"]))
    with pytest.warns(UserWarning, match="Most cells of column 'town' hold levels that fit did not see"):
        out = of_frame.transform(later)
    assert (out["town"] == "Lima").all()


# -- what is filled in -------------------------------------------------------------------------------------------------


def test_filled_cells_are_nearer_to_the_truth_than_the_mean(trained):
    truth = one_factor(300, seed=7)
    rows, missing = holed(truth)
    guess = np.where(missing, truth.mean(axis=0), truth)
    error, by_mean = (
        (((filled - truth) / truth.std(axis=0)) ** 2)[missing].mean() for filled in (trained.transform(rows), guess)
    )
    assert error < 0.3 * by_mean


def test_a_row_of_nothing_gets_about_the_mean(trained):
    truth = one_factor(400)
    row = trained.transform(np.full((1, 4), np.nan))[0]
    assert (np.abs(row - truth.mean(axis=0)) < 0.25 * truth.std(axis=0)).all()


def test_expectations_do_not_depend_on_company_or_call(fitted, X):
    together = fitted.transform(X)
    np.testing.assert_array_equal(fitted.transform(X), together)
    alone = np.concatenate([fitted.transform(X[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(alone, together[:20], rtol=1e-10)


def category_rows(n, seed):
    """A number that decides on a category: "b" with probability 0.7 where it is positive, else with 0.05."""
    rng = np.random.default_rng(seed)
    side = rng.choice([-3.0, 3.0], n)
    level = np.where(rng.random(n) < np.where(side > 0, 0.7, 0.05), "b", "a")
    return pd.DataFrame({"x": side + 0.2 * rng.normal(size=n), "level": pd.Categorical(level)})


@pytest.fixture(scope="module")
def of_categories():
    rows = category_rows(600, 0)
    rows.loc[::5, "level"] = np.nan
    return VAEImputer(light(max_iter=40, alpha=0.0), n_importance_samples=50).fit(rows)


def test_expected_categories_are_the_most_probable_ones(of_categories):
    rows = category_rows(100, 1)
    filled = of_categories.transform(rows.assign(level=pd.Categorical([None] * 100, ["a", "b"])))
    np.testing.assert_array_equal(filled["level"] == "b", rows["x"] > 0.0)


def test_drawn_categories_are_in_proportion(of_categories):
    rows = category_rows(1_000, 2)
    drawn = of_categories.draw(rows.assign(level=pd.Categorical([None] * 1_000, ["a", "b"])), 1, random_state=0)[0]
    is_b, positive = (drawn["level"] == "b").to_numpy(), (rows["x"] > 0.0).to_numpy()
    assert 0.6 < is_b[positive].mean() < 0.8
    assert 0.01 < is_b[~positive].mean() < 0.15


def test_a_row_of_nothing_gets_the_mode(of_categories):
    nothing = pd.DataFrame({"x": [np.nan], "level": pd.Categorical([None], ["a", "b"])})
    assert of_categories.transform(nothing)["level"][0] == "a"
    drawn = of_categories.draw(pd.concat([nothing] * 500, ignore_index=True), 1, random_state=0)[0]
    assert 0.28 < (drawn["level"] == "b").mean() < 0.48
    assert 0.35 < (drawn["x"] > 0.0).mean() < 0.65


def test_rows_that_all_miss_something_work():
    rows = one_factor(100)
    rows[np.arange(100), np.arange(100) % 4] = np.nan
    out = imputer().fit_transform(rows)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("make", [lambda X: X, lambda X: pd.DataFrame(X, columns=list("abcd"))], ids=["array", "frame"])
def test_a_column_that_was_complete_in_fit_may_be_missing_later(make, X):
    complete = X.copy()
    complete[:, 2] = one_factor()[:, 2]
    later = complete.copy()
    later[::2, 2] = np.nan
    for model in (imputer().fit(make(complete)), imputer().fit(make(one_factor()))):
        out = np.asarray(model.transform(make(later)))
        assert np.isfinite(out).all()
        np.testing.assert_array_equal(out[1::2, 2], later[1::2, 2])


def test_a_constant_column_is_filled_by_its_constant(X):
    rows = np.column_stack([X, np.where(np.arange(len(X)) % 2, 7.5, np.nan)])
    np.testing.assert_array_equal(imputer().fit_transform(rows)[:, 4], 7.5)


def test_an_array_of_integers_comes_back_as_floats():
    rows = np.random.default_rng(0).integers(0, 9, (60, 3))
    out = imputer().fit_transform(rows)
    assert out.dtype == np.float64
    np.testing.assert_array_equal(out, rows)


def test_a_list_of_models_averages(X):
    models = [light(), light(n_components=1, random_state=1)]
    both = imputer(models).fit(X)
    assert len(both.estimators_) == 2
    each = [imputer(model).fit(X).transform(X) for model in models]
    assert not np.allclose(*each)
    np.testing.assert_allclose(both.transform(X), 0.5 * (each[0] + each[1]))


def test_draws_of_a_list_come_from_all_models(X):
    low, high = light(), light(random_state=1)
    both = imputer([low, high]).fit(X)
    both.estimators_[1] = imputer(light(bounds=None)).fit(X + 1e4).estimators_[0]
    drawn = both.draw(np.full((200, 4), np.nan), 1, random_state=0)[0]
    far = drawn[:, 0] > 5e3
    assert 60 < far.sum() < 140
    assert (far[:, None] == (drawn > 5e3)).all()


def test_a_polars_frame_comes_back_as_pandas_where_asked(light_imputer_rows):
    X, own = light_imputer_rows
    for options in ({}, {"add_indicator": True}):
        model = VAEImputer(own, random_state=0, **options)
        filled = model.fit_transform(X)
        out = clone(model).set_output(transform="pandas").fit_transform(X)
        assert [str(dtype) for dtype in out.dtypes[:3]] == ["float64", "int16", "category"]
        assert {str(dtype) for dtype in out.dtypes[3:]} <= {"bool"}
        assert list(out.columns) == filled.columns
        assert [out[name].tolist() for name in out] == [filled[name].to_list() for name in filled.columns]


@pytest.fixture
def light_imputer_rows(light_vae):
    rng = np.random.default_rng(0)
    X = pl.DataFrame(
        {
            "a": np.where(np.arange(60) % 7 == 0, np.nan, rng.normal(size=60)),
            "i": pl.Series(range(60), dtype=pl.Int16),
            "k": pl.Series(list("xy") * 30, dtype=pl.Categorical),
        }
    )
    return X, light_vae()


def test_models_without_a_seed_of_their_own_get_different_ones(X):
    models = [light(random_state=None), light(random_state=None)]
    one, again, other = (imputer(models, random_state=seed).fit(X) for seed in (0, 0, 1))
    seeds = [model.random_state for model in one.estimators_]
    assert seeds[0] != seeds[1]
    np.testing.assert_array_equal(one.transform(X), again.transform(X))
    assert not np.array_equal(one.transform(X), other.transform(X))
    assert models[0].random_state is None


def test_the_number_of_importance_samples_may_change_after_fit(X):
    model = imputer(n_importance_samples=1).fit(X)
    few = model.transform(X)
    many = model.set_params(n_importance_samples=500).transform(X)
    assert not np.array_equal(few, many)
    more = model.set_params(n_importance_samples=1_000).transform(X)
    assert np.abs(more - many)[:, 0].max() < 0.5 * np.abs(many - few)[:, 0].max()


def test_long_tables_are_filled_in_parts(fitted, of_frame, X, frame, monkeypatch):
    whole, framed = fitted.transform(X), of_frame.transform(frame)
    sizes = []

    encode = TableSchema.encode

    def seen(schema, table, *args, **options):
        sizes.append(len(table))
        return encode(schema, table, *args, **options)

    monkeypatch.setattr("skvae._table.tables.SLICE_CELLS", 40)
    monkeypatch.setattr(TableSchema, "encode", seen)
    np.testing.assert_allclose(fitted.transform(X), whole, rtol=1e-10)
    assert_frame_equal(of_frame.transform(frame), framed, rtol=1e-10)
    assert max(sizes) <= 10
    assert sum(sizes) == np.isnan(X).any(axis=1).sum() + frame.isna().any(axis=1).sum()


# -- draws -------------------------------------------------------------------------------------------------------------


def test_draws_differ_where_cells_are_missing_and_only_there(fitted, X):
    draws = fitted.draw(X, 4, random_state=0)
    assert len(draws) == 4
    missing = np.isnan(X)
    for i, drawn in enumerate(draws):
        assert drawn[~missing].tobytes() == X[~missing].tobytes()
        for other in draws[:i]:
            assert (drawn[missing] != other[missing]).mean() > 0.9
    assert len(fitted.draw(X)) == 5


def test_draws_are_reproducible(fitted, X):
    first = fitted.draw(X, 2, random_state=3)
    np.testing.assert_array_equal(fitted.draw(X, 2, random_state=3), first)
    assert not np.array_equal(fitted.draw(X, 2, random_state=4), first)
    assert not np.array_equal(fitted.draw(X, 2), fitted.draw(X, 2))
    stream = np.random.RandomState(0)
    assert not np.array_equal(fitted.draw(X, 2, random_state=stream), fitted.draw(X, 2, random_state=stream))


def test_sample_posterior_draws_anew_unless_there_is_a_seed(X):
    model = imputer(sample_posterior=True).fit(X)
    assert not np.array_equal(model.transform(X), model.transform(X))
    model.set_params(random_state=1)
    first = model.transform(X)
    np.testing.assert_array_equal(model.transform(X), first)
    np.testing.assert_array_equal(model.draw(X, 1, random_state=1)[0], first)
    assert not np.allclose(model.set_params(sample_posterior=False).transform(X), first)


def test_draws_vary_as_the_cell_does_given_the_others():
    """Two standard normal columns of correlation 0.8: the variance of one given the other is 0.36."""
    rng = np.random.default_rng(0)
    rows = rng.multivariate_normal([0.0, 0.0], [[1.0, 0.8], [0.8, 1.0]], 1_500)
    model = light(n_components=1, likelihood="gaussian", hidden_layer_sizes=(), max_iter=60, bounds=None, alpha=0.0)
    fitted = VAEImputer(model, n_importance_samples=100).fit(rows)
    later = np.column_stack([np.linspace(-1.5, 1.5, 40), np.full(40, np.nan)])
    draws = np.array([drawn[:, 1] for drawn in fitted.draw(later, 60, random_state=0)])
    assert 0.25 < draws.var(axis=0, ddof=1).mean() < 0.47
    np.testing.assert_allclose(draws.mean(axis=0), 0.8 * later[:, 0], atol=0.4)
    np.testing.assert_allclose(fitted.transform(later)[:, 1], 0.8 * later[:, 0], atol=0.25)


def test_draws_of_frames_are_frames(of_frame, frame):
    for drawn in of_frame.draw(frame, 2, random_state=0):
        assert_index_equal(drawn.index, frame.index)
        pd.testing.assert_series_equal(drawn.dtypes, frame.dtypes)
        assert not drawn.isna().any(axis=None)


@pytest.mark.parametrize("n_draws", [0, -1, 1.5, "3", None])
def test_an_impossible_number_of_draws_is_an_error(fitted, X, n_draws):
    with pytest.raises(ValueError, match=f"n_draws must be a positive integer. Got {n_draws!r} instead"):
        fitted.draw(X, n_draws)


# -- marks of missing cells --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [float, int])
def test_a_number_may_mark_the_missing_cells_of_an_array(dtype):
    rows = np.round(one_factor(100) * 10.0).astype(dtype)
    missing = np.random.default_rng(0).random(rows.shape) < 0.2
    marked, holes = np.where(missing, -999, rows), np.where(missing, np.nan, rows)
    out = imputer(missing_values=-999).fit_transform(marked)
    np.testing.assert_array_equal(out, imputer().fit_transform(holes))
    assert not (out == -999).any()


@pytest.mark.parametrize("container", ["pandas", "Int64", "polars"])
def test_a_number_may_mark_the_missing_cells_of_a_frame(container):
    rows = np.round(one_factor(100) * 10.0).astype(int)
    missing = np.random.default_rng(0).random(rows.shape) < 0.2
    frame = pd.DataFrame(np.where(missing, -999, rows), columns=list("abcd"))
    frame = frame.assign(truth=rows[:, 0] > 50, word=pd.Categorical(np.where(rows[:, 1] > 50, "yes", "no")))
    if container == "Int64":
        frame = frame.astype(dict.fromkeys("abcd", "Int64"))
        frame.loc[0, "a"] = pd.NA
    frame = pl.from_pandas(frame) if container == "polars" else frame
    model = imputer(missing_values=-999, add_indicator=True).fit(frame)
    out = model.transform(frame)
    kept = ["truth", "word"]
    numbers = out[list("abcd")].to_numpy().astype(float)
    assert (numbers != -999).all()
    np.testing.assert_array_equal(numbers[1:][~missing[1:]], rows[1:][~missing[1:]])
    np.testing.assert_array_equal(out["missingindicator_b"].to_numpy(), missing[:, 1])
    assert out[kept].equals(frame[kept])
    if container == "Int64":
        assert (out[list("abcd")].dtypes == "Int64").all()
        assert not out.isna().any(axis=None)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame], ids=["pandas", "polars"])
@pytest.mark.parametrize("declared", [True, False], ids=["categories", "text"])
def test_a_word_may_mark_the_missing_cells(make, declared):
    x = one_factor(100)[:, 0]
    word = np.where(x > 5.0, "yes", "no")
    word[::5] = "?"
    frame = make({"x": x, "word": word.tolist()})
    if declared:
        frame = frame.astype({"word": "category"}) if make is pd.DataFrame else frame.cast({"word": pl.Categorical})
    model = imputer(light(likelihood={"word": "categorical"}), missing_values="?").fit(frame)
    out = model.transform(frame)
    filled = np.array(out["word"].to_list())
    assert set(filled) == {"yes", "no"}
    np.testing.assert_array_equal(filled[word != "?"], word[word != "?"])
    assert out["word"].dtype == frame["word"].dtype


@pytest.mark.parametrize("mark", [None, "?"])
def test_an_array_of_objects_may_have_marks(X, mark):
    rows = np.where(np.isnan(X), mark, X.astype(object))
    np.testing.assert_array_equal(imputer(missing_values=mark).fit_transform(rows), imputer().fit_transform(X))


# -- columns without a value, and indicators ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_empty(X):
    """Rows whose second column is empty."""
    return np.insert(X, 1, np.nan, axis=1)


@pytest.mark.filterwarnings("ignore:Skipping features without any observed values")
@pytest.mark.parametrize("keep_empty_features", [False, True])
@pytest.mark.parametrize("add_indicator", [False, True])
def test_columns_are_those_of_scikit_learns_imputers(with_empty, keep_empty_features, add_indicator):
    options = {"keep_empty_features": keep_empty_features, "add_indicator": add_indicator}
    model, theirs = imputer(**options).fit(with_empty), SimpleImputer(**options).fit(with_empty)
    out, other = model.transform(with_empty), theirs.transform(with_empty)
    assert out.shape == other.shape
    there = np.isfinite(with_empty)[:, [0, 1, 2, 3, 4] if keep_empty_features else [0, 2, 3, 4]]
    p = there.shape[1]
    np.testing.assert_array_equal(out[:, :p][there], other[:, :p][there])
    np.testing.assert_array_equal(out[:, p:], other[:, p:])
    np.testing.assert_array_equal(model.get_feature_names_out(), theirs.get_feature_names_out())
    if keep_empty_features:
        np.testing.assert_array_equal(out[:, 1], 0.0)
    if add_indicator:
        np.testing.assert_array_equal(model.indicator_.features_, theirs.indicator_.features_)
    else:
        assert model.indicator_ is None


@pytest.mark.parametrize("container", ["pandas", "polars"])
@pytest.mark.parametrize("keep_empty_features", [False, True])
@pytest.mark.parametrize("add_indicator", [False, True])
def test_columns_of_a_frame_are_those_that_are_named(with_empty, container, keep_empty_features, add_indicator):
    frame = pd.DataFrame(with_empty, columns=list("abcde"), index=np.arange(len(with_empty)) % 7)
    frame["level"] = pd.Categorical([None] * len(frame), ["x", "y"])
    frame["full"] = np.arange(len(frame)) % 5
    if container == "polars":
        frame = pl.DataFrame(frame.drop(columns="level").to_dict("list")).with_columns(
            pl.lit(None, dtype=pl.Enum(["x", "y"])).alias("level")
        )
        frame = frame.with_columns(pl.col("b").fill_nan(None))
    model = imputer(keep_empty_features=keep_empty_features, add_indicator=add_indicator)
    out = model.fit_transform(frame)
    assert list(out.columns) == list(model.get_feature_names_out())
    assert ("b" in out.columns, "level" in out.columns) == (keep_empty_features, keep_empty_features)
    if keep_empty_features:
        assert (out["b"] == 0.0).all()
        assert out["level"].dtype == frame["level"].dtype
        assert len(out["level"].drop_nulls() if container == "polars" else out["level"].dropna()) == 0
    flags = [name for name in out.columns if name.startswith("missingindicator_")]
    assert flags == [f"missingindicator_{name}" for name in frame.columns if name != "full"] * add_indicator
    for name in flags:
        column = frame[name.removeprefix("missingindicator_")]
        cells = column.to_list()
        np.testing.assert_array_equal(out[name].to_numpy(), [v is None or v != v for v in cells])
    if container == "pandas":
        assert_index_equal(out.index, frame.index)


def test_a_value_in_a_column_that_was_empty_in_fit_is_kept_where_asked(with_empty):
    later = with_empty.copy()
    later[3, 1] = 42.0
    out = imputer(keep_empty_features=True).fit(with_empty).transform(later)
    np.testing.assert_array_equal(out[:, 1], np.where(np.arange(len(later)) == 3, 42.0, 0.0))
    assert imputer().fit(with_empty).transform(later).shape[1] == 4


def test_gaps_that_are_new_have_no_indicator(X):
    rows = X.copy()
    rows[:, 0] = one_factor()[:, 0]
    model = imputer(add_indicator=True).fit(rows)
    later = rows.copy()
    later[0, 0] = np.nan
    assert model.transform(later).shape == (len(X), 7)
    np.testing.assert_array_equal(model.get_feature_names_out()[4:], [f"missingindicator_x{j}" for j in (1, 2, 3)])


# -- containers --------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:X (does not have|has) .*feature names:UserWarning")
def test_the_container_is_that_of_the_rows_not_of_fit(X, fitted):
    pandas = pd.DataFrame(X, columns=list("abcd"), index=np.arange(len(X)) + 5)
    polars = pl.DataFrame(X, schema=list("abcd"))
    expected = fitted.transform(X)
    for rows in (X, pandas, polars):
        model = imputer().fit(rows)
        for later in (X, pandas, polars):
            out = model.transform(later)
            assert type(out) is type(later)
            np.testing.assert_allclose(np.asarray(out), expected, rtol=1e-6)
    assert_index_equal(fitted.transform(pandas).index, pandas.index)


def test_categories_are_filled_in_another_container_than_that_of_fit(of_categories):
    later = pd.DataFrame({"x": [-3.0, 3.0], "level": pd.Categorical([None, None], ["a", "b"])})
    assert of_categories.transform(later)["level"].tolist() == ["a", "b"]
    enum = pl.DataFrame({"x": [-3.0, 3.0], "level": pl.Series([None, None], dtype=pl.Enum(["b", "a"]))})
    out = of_categories.transform(enum)
    assert out["level"].to_list() == ["a", "b"]
    assert out.schema == enum.schema


@pytest.mark.parametrize("add_indicator", [False, True])
@pytest.mark.parametrize("make", [lambda X: X, lambda X: pd.DataFrame(X, columns=list("abcd"))], ids=["array", "frame"])
@pytest.mark.parametrize(("library", "kind"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_set_output_gives_named_columns(X, make, library, kind, add_indicator):
    rows = make(X)
    plain = np.asarray(imputer(add_indicator=add_indicator).fit_transform(rows), dtype=float)
    own = imputer(add_indicator=add_indicator).set_output(transform=library).fit(rows)
    outputs = [own.transform(rows)]
    with config_context(transform_output=library):
        outputs.append(imputer(add_indicator=add_indicator).fit_transform(rows))
    for out in outputs:
        assert isinstance(out, kind)
        assert list(out.columns) == list(own.get_feature_names_out())
        np.testing.assert_allclose(out.to_numpy().astype(float), plain)


# -- company -----------------------------------------------------------------------------------------------------------


def test_filled_rows_feed_a_classifier(X):
    y = (one_factor()[:, 0] > 5.0).astype(int)
    pipeline = make_pipeline(imputer(light(max_iter=30), add_indicator=True), LogisticRegression(max_iter=5_000))
    assert pipeline.fit(X, y).score(X, y) > 0.8


def test_filled_frames_feed_trees_that_know_categories(frame):
    y = frame["truth"].to_numpy()
    rows = frame[["length", "town", "grade"]]
    trees = HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=5)
    pipeline = make_pipeline(imputer(add_indicator=True), trees).fit(rows, y)
    assert pipeline[-1].is_categorical_.tolist() == [False, True, True, False, False, False]
    assert pipeline.score(rows, y) > 0.8


def test_some_columns_are_filled_in_a_column_transformer(frame):
    mixed = ColumnTransformer([("filled", imputer(), ["length", "town"])], remainder="passthrough")
    out = mixed.set_output(transform="pandas").fit_transform(frame)
    assert list(out.columns[:2]) == ["filled__length", "filled__town"]
    assert not out.iloc[:, :2].isna().any(axis=None)
    assert out["filled__town"].dtype == frame["town"].dtype


def test_parameters_of_the_model_are_searched(X):
    y = one_factor()[:, 0] > 5.0
    pipeline = make_pipeline(imputer(), LogisticRegression(max_iter=5_000))
    grid = {"vaeimputer__estimator__n_components": [1, 3], "vaeimputer__estimator": [light(), light(max_iter=2)]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_estimator_[0].estimators_[0].n_components_ in (1, 3)


def test_a_clone_forgets_the_fit_and_fits_the_same(fitted, X):
    cloned = clone(fitted)
    with pytest.raises(NotFittedError):
        cloned.transform(X)
    np.testing.assert_array_equal(cloned.fit(X).transform(X), fitted.transform(X))


def test_the_model_that_is_given_is_not_fitted(X):
    model = light()
    imputer(model).fit(X)
    assert not model.__sklearn_is_fitted__()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_give_the_same_answers(fitted, of_frame, X, frame, copied):
    np.testing.assert_array_equal(copied(fitted).transform(X), fitted.transform(X))
    draws = (model.draw(X, 2, random_state=0) for model in (copied(fitted), fitted))
    np.testing.assert_array_equal(*draws)
    assert_frame_equal(copied(of_frame).transform(frame), of_frame.transform(frame))


def test_a_pickle_keeps_indicators_and_empty_columns(with_empty):
    model = imputer(add_indicator=True).fit(with_empty)
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.transform(with_empty), model.transform(with_empty))
    np.testing.assert_array_equal(loaded.get_feature_names_out(), model.get_feature_names_out())


def test_global_random_streams_do_not_move(X):
    np.random.seed(0)  # noqa: NPY002 - the user's own, which must not move

    def state():
        numpy = np.random.get_state()  # noqa: NPY002
        return numpy[1].tobytes(), numpy[2], torch.get_rng_state().numpy().tobytes()

    before = state()
    model = imputer(random_state=0, sample_posterior=True).fit(X)
    model.transform(X), model.draw(X, 2, random_state=0), model.set_params(sample_posterior=False).transform(X)
    assert state() == before


def test_answers_leave_the_imputer_as_it_was(X):
    model = imputer(random_state=0).fit(X)
    before = dict(vars(model))
    model.transform(X), model.draw(X, 2), model.get_feature_names_out()
    assert vars(model) == before


def test_default_models_work_unasked(monkeypatch, X):
    monkeypatch.setattr("skvae._members.IMPUTER_STEPS", (3, 3))
    model = VAEImputer(random_state=0, device="cpu").fit(X)
    assert len(model.estimators_) >= 1
    assert np.isfinite(model.transform(X)).all()
    np.testing.assert_array_equal(clone(model).fit(X).transform(X), model.transform(X))


def test_default_models_take_mixed_tables(monkeypatch, frame):
    monkeypatch.setattr("skvae._members.IMPUTER_STEPS", (3, 3))
    rows = frame.drop(columns="word")
    model = VAEImputer(random_state=0, device="cpu", n_importance_samples=20).fit(rows)
    assert not model.transform(rows).isna().any(axis=None)
    assert not model.draw(rows, 1)[0].isna().any(axis=None)


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ["vae", AutoencoderTransformer(), LogisticRegression()])
def test_something_else_than_a_model_is_an_error(X, estimator):
    with pytest.raises(ValueError, match="The 'estimator' parameter of VAEImputer must be"):
        VAEImputer(estimator).fit(X)


@pytest.mark.parametrize("models", [[], [1], [light(), AutoencoderTransformer()]])
def test_a_list_of_something_else_is_an_error(X, models):
    with pytest.raises(TypeError, match=r"must be a VAETransformer or a list of 1 to 64 of them. Got a list of"):
        VAEImputer(models).fit(X)


@pytest.mark.parametrize("n", [0, -1, 2.5])
def test_an_impossible_number_of_importance_samples_is_an_error(X, n):
    with pytest.raises(ValueError, match="n_importance_samples"):
        imputer(n_importance_samples=n).fit(X)


def test_answers_need_a_fit(X):
    for answer in (imputer().transform, imputer().draw):
        with pytest.raises(NotFittedError):
            answer(X)
    with pytest.raises(NotFittedError):
        imputer().get_feature_names_out()


def test_one_row_is_an_error(X):
    with pytest.raises(ValueError, match="minimum of 2"):
        imputer().fit(X[:1])


def test_rows_of_nothing_are_an_error():
    with pytest.raises(ValueError, match="Every column of X is constant"):
        imputer().fit(np.full((20, 3), np.nan))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_is_an_error(fitted, X, value):
    rows = X.copy()
    rows[2, 1] = value
    for answer in (imputer().fit, fitted.transform, fitted.draw):
        with pytest.raises(ValueError, match="Input X contains infinity"):
            answer(rows)


@pytest.mark.parametrize("holed", [[], [2], [5]])
def test_infinity_in_a_frame_is_an_error_wherever_cells_are_missing(of_frame, frame, holed):
    rows = frame.iloc[:10].copy()
    numbers = [name for name in rows if rows[name].dtype.kind == "f"]
    rows[numbers] = rows[numbers].fillna(0.0)
    rows.iloc[holed, rows.columns.get_loc(numbers[0])] = np.nan
    rows.iloc[2, rows.columns.get_loc(numbers[1])] = np.inf
    for answer in (of_frame.transform, of_frame.draw):
        with pytest.raises(ValueError, match=f"Input X contains infinity.*{numbers[1]!r}"):
            answer(rows)


def test_another_number_of_columns_is_an_error(fitted, X):
    for answer in (fitted.transform, fitted.draw):
        with pytest.raises(ValueError, match="X has 3 features, but VAEImputer is expecting 4"):
            answer(X[:, :3])


def test_other_columns_of_a_frame_are_named(of_frame, frame):
    with pytest.raises(ValueError, match=r"missing: \['town'\]"):
        of_frame.transform(frame.drop(columns="town"))
    with pytest.raises(ValueError, match="another order"):
        of_frame.transform(frame[frame.columns[::-1]])


def test_text_is_filled_as_categories_are(frame, of_frame):
    assert_frame_equal(imputer(light()).fit(frame).transform(frame), of_frame.transform(frame))


def test_sparse_rows_are_an_error():
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        imputer().fit(csr_matrix(np.eye(5)))


def test_a_fit_that_fails_leaves_the_old_models(X):
    model = imputer().fit(X)
    before, filled = dict(vars(model)), model.transform(X)
    with pytest.raises(ValueError, match="constant"):
        model.fit(np.ones((50, 4)))
    assert vars(model) == before
    np.testing.assert_array_equal(model.transform(X), filled)
