"""Tables of mixed columns, end to end: numbers, categories, counts, truth values, atoms and missing cells."""

import math
import pickle
import tracemalloc
import warnings
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pandas.testing import assert_frame_equal, assert_index_equal
from polars.testing import assert_frame_equal as assert_polars_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from skvae import AutoencoderTransformer, VAEOutlierDetector, VAETransformer
from skvae._model import auto
from skvae.nn.likelihoods import Gaussian

N = 240
TOWNS = ["Rome", "Oslo", "Bern", "Lima"]  # nobody lives in Lima
GRADES = ["low", "mid", "top"]


def make_frame(n=N, seed=0):
    """A small frame of every dtype that people have, its columns related to one another."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    gain = np.where(rng.random(n) < 0.7, 0.0, np.exp(8.0 + z + rng.normal(size=n)))
    gain[rng.random(n) < 0.15] = 99_999.0
    town = np.where(z + 0.5 * rng.normal(size=n) > 0.3, "Oslo", "Rome")
    town[rng.random(n) < 0.1] = "Bern"
    member = (z + rng.normal(size=n) > 0.0).astype(object)
    member[::11] = None
    visits = pd.array(rng.poisson(np.exp(0.5 * z + 1.0)), dtype="Int64")
    visits[3::13] = pd.NA
    length = 10.0 * z + rng.normal(size=n)
    length[::9] = np.nan
    grade = pd.Categorical.from_codes(np.digitize(z + 0.4 * rng.normal(size=n), [-0.6, 0.8]), GRADES, ordered=True)
    frame = pd.DataFrame(
        {
            "town": pd.Categorical(town, TOWNS),
            "length": length,
            "rooms": np.round(3.0 + z).astype(np.int16),
            "visits": visits,
            "truth": z > 0.2,
            "member": member,
            "grade": grade,
            "gain": gain,
        },
        index=rng.integers(0, 50, n),
    )
    frame.loc[frame["length"] > 14.0, "town"] = np.nan
    frame.attrs["source"] = "census"
    return frame


def make_polars(n=N, seed=0):
    """The same in polars; `town` an Enum, `grade` a Categorical."""
    frame = make_frame(n, seed)
    return pl.DataFrame(
        {
            "town": pl.Series(
                frame["town"].astype(object).where(frame["town"].notna(), None).tolist(), dtype=pl.Enum(TOWNS)
            ),
            "length": pl.Series(frame["length"].to_numpy()).fill_nan(None),
            "rooms": frame["rooms"].to_numpy(),
            "visits": pl.Series([None if v is pd.NA else v for v in frame["visits"]], dtype=pl.Int64),
            "truth": frame["truth"].to_numpy(),
            "member": pl.Series(frame["member"].tolist(), dtype=pl.Boolean),
            "grade": pl.Series(frame["grade"].tolist(), dtype=pl.Categorical),
            "gain": frame["gain"].to_numpy(),
        }
    )


@pytest.fixture
def frame():
    return make_frame()


LIGHT = {"n_components": 2, "hidden_layer_sizes": (16,), "max_iter": 3, "device": "cpu", "random_state": 0}
LIGHT |= {"early_stopping": False}


def vae(**options):
    return VAETransformer(**(LIGHT | {"n_importance_samples": 32} | options))


@pytest.fixture(scope="module")
def fitted():
    return vae(max_iter=40).fit(make_frame())


def dtypes(frame):
    return dict(zip(frame.columns, frame.dtypes, strict=True))


makers = pytest.mark.parametrize("make", [make_frame, make_polars])
estimators = pytest.mark.parametrize(
    "make_estimator", [vae, lambda **options: AutoencoderTransformer(**(LIGHT | options))], ids=["vae", "autoencoder"]
)


# -- in and out ------------------------------------------------------------------------------------------------------


@makers
@estimators
def test_a_mixed_table_goes_in_and_comes_back_in_its_dtypes(make, make_estimator):
    frame = make()
    model = make_estimator().fit(frame)
    codes = model.transform(frame)
    assert codes.shape == (N, 2)
    assert codes.dtype == np.float64
    assert np.isfinite(codes).all()
    assert np.isfinite(model.score_samples(frame)).all()
    for out in (model.reconstruct(frame), model.inverse_transform(codes)):
        assert type(out) is type(frame)
        assert dtypes(out) == dtypes(frame)
        assert out.shape == frame.shape
        assert not (out.isna().any(axis=None) if isinstance(out, pd.DataFrame) else sum(out.null_count().row(0)))


@makers
@pytest.mark.parametrize("noise", [True, False])
def test_draws_are_rows_like_those_of_fit(make, noise):
    frame = make()
    drawn = vae(max_iter=20).fit(frame).sample(500, noise=noise, missing=False, random_state=0)
    assert type(drawn) is type(frame)
    assert dtypes(drawn) == dtypes(frame)
    assert list(drawn.columns) == list(frame.columns)
    assert set(drawn["town"]) <= {"Rome", "Oslo", "Bern"}
    assert set(drawn["grade"]) <= set(GRADES)
    assert set(drawn["member"]) <= {True, False}
    for name in ("length", "rooms", "visits", "gain"):
        assert frame[name].min() <= drawn[name].min()
        assert drawn[name].max() <= frame[name].max()
    if isinstance(drawn, pd.DataFrame):
        assert drawn["town"].cat.categories.tolist() == TOWNS
        assert drawn["grade"].cat.ordered
        assert drawn["grade"].min() in GRADES  # ordered as before


@makers
def test_drawn_cells_are_missing_as_those_of_fit_and_in_the_same_dtypes(make):
    frame = make()
    drawn = vae(max_iter=100).fit(frame).sample(4000, random_state=0)
    assert dtypes(drawn) == dtypes(frame)
    gaps = [
        np.column_stack([pd.Series(rows[name].to_list()).isna() for name in frame.columns]) for rows in (frame, drawn)
    ]
    np.testing.assert_allclose(gaps[1].mean(0), gaps[0].mean(0), atol=0.03)
    assert (gaps[1].mean(0) == 0.0).tolist() == (gaps[0].mean(0) == 0.0).tolist()
    town = list(frame.columns).index("town")  # which is missing by a rule, and drawn by it
    together = [np.unique(np.delete(rows, town, axis=1), axis=0) for rows in gaps]
    assert {*map(tuple, together[1])} <= {*map(tuple, together[0])}  # patterns are those of rows


def test_the_schema_of_the_frame_is_read_off_its_dtypes(fitted):
    columns = fitted.schema_.columns
    kinds = ["categorical", "continuous", "continuous", "continuous", "binary", "binary", "ordinal", "continuous"]
    assert [column.kind for column in columns] == kinds
    assert {0.0, 99_999.0} == set(columns[-1].atoms)
    assert columns[0].levels.values == ("Rome", "Oslo", "Bern")
    assert fitted.n_features_in_ == 8
    assert fitted.feature_names_in_.tolist() == list(make_frame())


def test_atoms_are_drawn_exactly_and_as_often_as_they_were(frame):
    model = vae(max_iter=60, hidden_layer_sizes=(32,)).fit(frame)
    drawn = model.sample(4000, random_state=0)["gain"]
    for atom in (0.0, 99_999.0):
        assert (drawn == atom).mean() == pytest.approx((frame["gain"] == atom).mean(), abs=0.06)
    rest = drawn[~drawn.isin([0.0, 99_999.0])]
    assert rest.nunique() > 0.5 * len(rest)
    loose = vae(atoms=None, bounds=None).fit(frame).sample(500, random_state=0)["gain"]
    assert (loose == 99_999.0).mean() < 0.5 * (frame["gain"] == 99_999.0).mean() or (loose == 0.0).mean() < 0.3


def test_categories_are_drawn_and_no_argmax():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"kind": pd.Categorical(np.where(rng.random(500) < 0.9, "often", "rare")), "x": rng.normal(size=500)}
    )
    model = vae(max_iter=20).fit(frame)
    share = (frame["kind"] == "rare").mean()
    drawn = model.sample(4000, random_state=0)["kind"]
    assert (drawn == "rare").mean() == pytest.approx(share, abs=0.03)
    assert (model.sample(500, noise=False, random_state=0)["kind"] == "often").mean() > 0.95
    assert drawn.tolist() == model.sample(4000, random_state=0)["kind"].tolist()
    assert drawn.tolist() != model.sample(4000, random_state=1)["kind"].tolist()


def test_ordered_levels_are_drawn_by_their_shares(fitted):
    drawn = fitted.sample(4000, random_state=0)["grade"].value_counts(normalize=True)
    expected = make_frame()["grade"].value_counts(normalize=True)
    np.testing.assert_allclose(drawn[GRADES], expected[GRADES], atol=0.08)


def test_columns_depend_on_one_another_in_draws(fitted):
    drawn, real = fitted.sample(4000, random_state=0), make_frame()
    for rows in (drawn, real):
        by_town = rows.groupby("town", observed=True)["rooms"].mean()
        assert by_town["Oslo"] > by_town["Rome"] + 0.5
        by_grade = rows.groupby("grade", observed=True)["length"].mean()
        assert by_grade["low"] < by_grade["mid"] < by_grade["top"]


def test_reconstruct_keeps_index_and_attrs_and_follows_the_rows(fitted, frame):
    out = fitted.reconstruct(frame)
    assert_index_equal(out.index, frame.index)
    assert not out.index.is_unique
    assert out.attrs == {"source": "census"}
    there = frame["town"].notna().to_numpy()
    town, real = out["town"].to_numpy()[there], frame["town"].to_numpy()[there]
    assert (town == real).mean() > 0.7
    assert_frame_equal(fitted.reconstruct(frame.iloc[10:20]), out.iloc[10:20])


@makers
def test_nothing_is_written_to_the_frame(make):
    frame = make()
    before = frame.copy() if isinstance(frame, pd.DataFrame) else frame.clone()
    model = vae().fit(frame)
    model.transform(frame), model.score_samples(frame), model.reconstruct(frame), model.partial_fit(frame)
    if isinstance(frame, pd.DataFrame):
        assert_frame_equal(frame, before)
    else:
        assert frame.equals(before)


def test_pandas_and_polars_give_the_same_scores():
    one, other = vae().fit(make_frame()), vae().fit(make_polars().with_columns(pl.col("grade").cast(pl.Enum(GRADES))))
    names = [name for name in make_frame() if name != "grade"]  # which polars does not order
    one, other = vae().fit(make_frame()[names]), vae().fit(make_polars()[names])
    np.testing.assert_array_equal(one.score_samples(make_frame()[names]), other.score_samples(make_polars()[names]))
    drawn, twin = (model.sample(50, missing=False, random_state=0) for model in (one, other))
    assert drawn["town"].tolist() == twin["town"].to_list()
    assert drawn["visits"].tolist() == twin["visits"].to_list()


# -- rows alone ------------------------------------------------------------------------------------------------------


@makers
def test_the_score_of_a_row_does_not_depend_on_its_company(make):
    frame = make()
    model = vae().fit(frame)
    scores, codes = model.score_samples(frame), model.transform(frame)
    part = frame.iloc[50:57] if isinstance(frame, pd.DataFrame) else frame[50:57]
    np.testing.assert_allclose(model.score_samples(part), scores[50:57], rtol=1e-9)
    np.testing.assert_allclose(model.transform(part), codes[50:57], rtol=1e-6, atol=1e-9)
    order = np.random.default_rng(0).permutation(N)
    shuffled = frame.iloc[order] if isinstance(frame, pd.DataFrame) else frame[order]
    np.testing.assert_allclose(model.score_samples(shuffled), scores[order], rtol=1e-9)


def test_long_tables_are_answered_in_parts(fitted, frame, monkeypatch):
    whole = fitted.score_samples(frame), fitted.transform(frame), fitted.posterior(frame)[1]
    back = fitted.reconstruct(frame)
    monkeypatch.setattr("skvae._table.tables.SLICE_CELLS", 80)
    parts = fitted.score_samples(frame), fitted.transform(frame), fitted.posterior(frame)[1]
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    assert_frame_equal(fitted.reconstruct(frame), back)


# -- levels at transform ---------------------------------------------------------------------------------------------


def test_categories_in_another_order_are_the_same_rows(fitted, frame):
    other = frame.assign(
        town=frame["town"].cat.reorder_categories(TOWNS[::-1]),
        grade=frame["grade"].cat.set_categories(GRADES[::-1], ordered=True),
    )
    np.testing.assert_array_equal(fitted.transform(other), fitted.transform(frame))
    np.testing.assert_array_equal(fitted.score_samples(other), fitted.score_samples(frame))
    few = frame[frame["town"] == "Oslo"].assign(town=lambda rows: rows["town"].cat.remove_unused_categories())
    np.testing.assert_allclose(
        fitted.score_samples(few), fitted.score_samples(frame)[(frame["town"] == "Oslo").to_numpy()], rtol=1e-9
    )


MOSTLY = "Most cells of column 'town' hold levels that fit did not see, such as 'Lima'; it saw 'Rome', 'Oslo', 'Bern'"


def test_an_unknown_category_is_an_unlikely_event_by_default(fitted, frame):
    """To the networks it is missing; its probability is 1 / (n + 2) by the rule of succession."""
    new = frame.assign(town=pd.Categorical(["Lima", "Paris"] * (N // 2)))
    without = frame.assign(town=pd.Categorical([None] * N, TOWNS))
    with pytest.warns(UserWarning, match=MOSTLY):
        np.testing.assert_array_equal(fitted.transform(new), fitted.transform(without))
    with pytest.warns(UserWarning, match=MOSTLY):
        scores = fitted.score_samples(new)
    np.testing.assert_allclose(scores, fitted.score_samples(without) - np.log(N + 2), atol=1e-12)


def test_an_unknown_category_is_missing_where_asked(fitted, frame):
    missing = pickle.loads(pickle.dumps(fitted)).set_params(handle_unknown="missing")
    new = frame.assign(town=pd.Categorical(["Lima"] + ["Oslo"] * (N - 1)))
    without = frame.assign(town=pd.Categorical([None] + ["Oslo"] * (N - 1), TOWNS))
    np.testing.assert_array_equal(missing.score_samples(new), missing.score_samples(without))


@makers
@pytest.mark.parametrize("rule", ["unlikely", "missing", "infrequent_if_exist"])
@pytest.mark.parametrize("door", ["transform", "score_samples", "reconstruct", "posterior"])
def test_a_mostly_unknown_column_is_told_of_once(make, rule, door):
    frame = make()
    model = vae(max_iter=1, handle_unknown=rule).fit(frame)
    few = with_towns(frame, ["Lima"] * (N // 2 - 1) + ["Oslo"] * (N // 2 + 1))
    getattr(model, door)(few)  # no warning
    with pytest.warns(UserWarning, match="Most cells of column 'town'") as caught:
        getattr(model, door)(with_towns(frame, ["Lima"] * (N // 2 + 1) + ["Oslo"] * (N // 2 - 1)))
    assert len(caught) == 1


def with_towns(frame, towns):
    if isinstance(frame, pd.DataFrame):
        return frame.assign(town=pd.Categorical(towns))
    return frame.with_columns(town=pl.Series(towns, dtype=pl.Categorical))


def test_another_level_of_a_constant_category_costs_what_another_number_does():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=80), "word": pd.Categorical(["a"] * 80), "number": 3.0})
    model = vae().fit(frame)
    base = model.score_samples(frame)
    other = frame.assign(word=pd.Categorical(["b"] + ["a"] * 79), number=[3.0, 4.0] + [3.0] * 78)
    with pytest.warns(UserWarning, match=r"Column\(s\) word, number were constant in training"):
        scores = model.score_samples(other)
    np.testing.assert_allclose(base - scores, [np.log(82)] * 2 + [0.0] * 78, atol=1e-12)


@pytest.mark.parametrize("handle_unknown", ["unlikely", "missing"])
def test_an_unseen_level_in_the_rows_set_aside_counts_in_validation_as_in_a_score(handle_unknown):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=200), "k": pd.Categorical(rng.choice(list("abc"), 200))})
    new = frame.head(50).assign(k=pd.Categorical(["d"] * 10 + ["a"] * 40))
    options = {"n_train_samples": 64, "tol": 0.0, "n_iter_no_change": 20, "handle_unknown": handle_unknown}
    model = vae(max_iter=8, early_stopping=True, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(frame, X_val=new)
    assert max(model.validation_scores_) == pytest.approx(model.score(new), abs=0.1)


def test_the_probabilities_of_all_levels_sum_to_one_also_where_rare_ones_share_a_code():
    rng = np.random.default_rng(0)
    names = [f"s{i:03d}" for i in range(400)]
    column = np.concatenate([np.repeat(names[:200], 5), names[200:]])
    rng.shuffle(column)
    flag = rng.random(len(column)) < 0.5
    model = vae(n_importance_samples=256).fit(pd.DataFrame({"k": pd.Categorical(column, names), "flag": flag}))
    assert len(model.schema_.columns[0].levels.pooled) > 100
    grid = pd.DataFrame({"k": pd.Categorical(np.repeat(names, 2), names), "flag": np.tile([False, True], 400)})
    probability = np.exp(model.score_samples(grid)).reshape(400, 2).sum(1)
    assert probability.sum() == pytest.approx(1.0, abs=0.02)
    pooled = [names.index(level) for level in model.schema_.columns[0].levels.pooled]
    assert probability[pooled].max() < probability[:200].min()  # what one row has is not more usual than what five have


@makers
def test_an_unknown_category_is_an_error_where_asked(make):
    frame = make()
    model = vae(handle_unknown="error").fit(frame)
    assert np.isfinite(model.score_samples(frame)).all()
    town = ["Lima"] + ["Oslo"] * (N - 1)
    if isinstance(frame, pd.DataFrame):
        new = frame.assign(town=pd.Categorical(town))
    else:
        new = frame.with_columns(town=pl.Series(town, dtype=pl.Categorical))
    for method in (model.transform, model.score_samples, model.reconstruct):
        with pytest.raises(
            ValueError, match=r"Column 'town' holds level\(s\) that fit did not see: 'Lima'\. It saw 'Rome'"
        ):
            method(new)


def test_handle_unknown_error_is_about_later_rows_not_about_those_set_aside():
    frame = pd.DataFrame({"x": np.arange(100.0), "kind": pd.Categorical([f"k{i}" for i in range(50)] + ["often"] * 50)})
    model = vae(handle_unknown="error", early_stopping=True, max_iter=2, n_iter_no_change=5, tol=100.0)
    assert np.isfinite(model.fit(frame.assign(x=lambda f: f["x"] ** 2)).transform(frame.tail(3))).all()


def test_rare_levels_of_a_long_list_share_a_code_and_come_back(frame):
    rng = np.random.default_rng(0)
    names = [f"s{i:04d}" for i in range(600)]
    frame = frame.assign(street=pd.Categorical(rng.choice(names, N), names), x=rng.normal(size=N))
    many = pd.concat([frame] * 3, ignore_index=True)
    many["street"] = pd.Categorical(rng.choice(names, len(many)), names)
    model = vae(handle_unknown="infrequent_if_exist").fit(many)
    levels = model.schema_.columns[-2].levels
    assert levels.n_codes == 256
    drawn = model.sample(2000, random_state=0)["street"]
    assert drawn.dtype == many["street"].dtype
    assert drawn.isin(levels.pooled).mean() == pytest.approx(many["street"].isin(levels.pooled).mean(), abs=0.1)
    assert drawn[drawn.isin(levels.pooled)].nunique() > 100
    new = many.assign(street=pd.Categorical(["never heard of"] * len(many)))
    rarest = levels.pooled[int(np.argmin(levels.shares))]
    with pytest.warns(UserWarning, match="Most cells of column 'street'.* They count as rare levels"):
        scores = model.score_samples(new)
    np.testing.assert_array_equal(scores, model.score_samples(many.assign(street=pd.Categorical([rarest] * len(many)))))


# -- columns that differ ---------------------------------------------------------------------------------------------


@makers
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda names: names[::-1], r"another order, from column 0 on: fit had \['town', .*X has \['gain'"),
        (lambda names: names[1:], r"missing: \['town'\]\. X\[model.feature_names_in_\] .* once the missing ones are"),
        (lambda names: [n for n in names if n not in ("town", "gain")], r"missing: \['town', 'gain'\]"),
    ],
)
def test_the_difference_of_the_columns_is_in_the_message(make, change, message):
    frame = make()
    model = vae().fit(frame)
    with pytest.raises(ValueError, match=message):
        model.transform(frame[change(list(frame.columns))])


def test_columns_too_many_are_named(fitted, frame):
    with pytest.raises(ValueError, match=r"not seen in fit: \['extra', 'more'\]"):
        fitted.score_samples(frame.assign(extra=1.0, more="x"))
    with pytest.raises(ValueError, match=r"missing: \['rooms'\]; not seen in fit: \['Rooms'\]"):
        fitted.score_samples(frame.rename(columns={"rooms": "Rooms"}))


# -- columns of one kind of trouble ----------------------------------------------------------------------------------


@estimators
@pytest.mark.parametrize(
    "column",
    [
        np.full(N, np.nan),
        pd.Categorical([None] * N, ["a", "b"]),
        pd.Categorical([None] * N),
        pd.array([pd.NA] * N, dtype="Int64"),
        pd.array([pd.NA] * N, dtype="boolean"),
        np.full(N, None, dtype=object),
    ],
    ids=["float", "category", "no category", "Int64", "boolean", "object"],
)
def test_a_column_without_a_value_stays_outside_and_comes_back_missing(frame, make_estimator, column):
    model = make_estimator().fit(frame.assign(never=column))
    without = make_estimator().fit(frame)
    np.testing.assert_array_equal(model.score_samples(frame.assign(never=column)), without.score_samples(frame))
    out = model.reconstruct(frame.assign(never=column))
    assert out["never"].isna().all()
    assert out["never"].dtype == frame.assign(never=column)["never"].dtype


@estimators
def test_one_category_only_stands_outside_and_comes_back(frame, make_estimator):
    one = frame.assign(land=pd.Categorical(["CH"] * N, ["CH", "IT"]))
    model, without = make_estimator().fit(one), make_estimator().fit(frame)
    np.testing.assert_array_equal(model.score_samples(one), without.score_samples(frame))
    out = model.reconstruct(one)
    assert (out["land"] == "CH").all()
    assert out["land"].dtype == one["land"].dtype


def test_another_level_of_a_column_that_had_one_is_an_error_where_asked(frame):
    one = frame.assign(land=pd.Categorical(["CH"] * N, ["CH", "IT"]))
    model = vae(handle_unknown="error").fit(one)
    with pytest.raises(ValueError, match=r"Column 'land' holds level\(s\) that fit did not see: 'IT'"):
        model.transform(one.assign(land=pd.Categorical(["IT"] * N)))


@estimators
def test_rows_that_all_miss_something_work(frame, make_estimator):
    holed = frame.copy()
    for i, name in enumerate(holed):
        values = holed[name].astype("boolean") if holed[name].dtype == bool else holed[name]
        values = values.astype(float) if values.dtype == np.int16 else values
        holed[name] = values.where(np.arange(N) % 8 != i)
    assert holed.isna().any(axis=1).all()
    model = make_estimator().fit(holed)
    assert np.isfinite(model.score_samples(holed)).all()
    assert np.isfinite(model.transform(holed)).all()
    assert model.reconstruct(holed).notna().all(axis=None)


def test_a_row_of_nothing_scores_0(fitted, frame):
    empty = frame.iloc[:3].copy()
    empty = empty.astype({"rooms": float, "truth": "boolean"})
    empty.iloc[1] = [None, np.nan, np.nan, pd.NA, pd.NA, None, None, np.nan]
    assert fitted.score_samples(empty)[1] == 0.0
    np.testing.assert_allclose(fitted.score_samples(empty)[[0, 2]], fitted.score_samples(frame)[[0, 2]], rtol=1e-9)


def test_a_missing_category_adds_nothing_to_the_score(fitted, frame):
    """Scores of rows without the cell are a marginal: the levels' probabilities add up to it."""
    rows = frame.iloc[:20].assign(town=pd.Categorical([None] * 20, TOWNS))
    model = pickle.loads(pickle.dumps(fitted)).set_params(n_importance_samples=2048)
    each = [
        model.score_samples(rows.assign(town=pd.Categorical([town] * 20, TOWNS))) for town in ("Rome", "Oslo", "Bern")
    ]
    np.testing.assert_allclose(np.logaddexp.reduce(each, axis=0), model.score_samples(rows), atol=0.25)
    assert np.abs(np.logaddexp.reduce(each, axis=0) - model.score_samples(rows)).mean() < 0.1


# -- text and likelihoods --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["str", "object", "string"])
def test_text_with_repeated_values_is_categories(frame, dtype):
    town = pd.Series(frame["town"].astype(object).where(frame["town"].notna(), None), dtype=dtype)
    text = frame.assign(town=town.to_numpy() if dtype == "object" else town.array)
    model = vae().fit(text)
    drawn = model.sample(200, missing=False, random_state=0)["town"]
    assert drawn.dtype == text["town"].dtype
    assert set(drawn) <= {"Rome", "Oslo", "Bern"}
    categories = frame.assign(town=pd.Categorical(frame["town"], sorted(TOWNS)))
    same = vae().fit(categories)
    np.testing.assert_array_equal(model.score_samples(text), same.score_samples(categories))


def test_polars_text_with_repeated_values_is_categories():
    frame = make_polars().with_columns(pl.col("town").cast(pl.String))
    model = vae().fit(frame)
    drawn = model.sample(200, missing=False, random_state=0)
    assert drawn.schema == frame.schema
    assert set(drawn["town"]) <= {"Rome", "Oslo", "Bern"}


@pytest.mark.parametrize("likelihood", ["categorical", "ordinal"])
@pytest.mark.parametrize("dtype", ["int64", "Int64", "int8[pyarrow]", "float64", "float32"])
def test_numbers_that_are_said_to_be_levels_come_back_as_numbers(frame, likelihood, dtype):
    codes = pd.Series(np.array([101, 7, 33])[np.arange(N) % 3], index=frame.index).astype("int8").astype(dtype)
    coded = frame.assign(code=codes)
    model = vae(likelihood={"code": likelihood}).fit(coded)
    assert model.schema_.columns[-1].levels.values == (7, 33, 101)
    drawn = model.sample(300, random_state=0)["code"]
    assert drawn.dtype == coded["code"].dtype
    assert set(drawn) == {7, 33, 101}
    assert set(model.reconstruct(coded)["code"]) <= {7, 33, 101}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_array_may_have_columns_of_levels(dtype):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.choice([3.0, 8.0, 11.0], N), rng.normal(size=N), rng.choice([0.5, 1.5], N)]).astype(dtype)
    X[::7, 0] = np.nan
    model = vae(likelihood={0: "categorical", 2: "ordinal"}).fit(X)
    drawn = model.sample(300, missing=False, random_state=0)
    assert isinstance(drawn, np.ndarray)
    assert set(np.unique(drawn[:, 0])) == {3.0, 8.0, 11.0}
    assert set(np.unique(drawn[:, 2])) == {0.5, 1.5}
    assert model.transform(X).dtype == dtype
    assert set(np.unique(model.reconstruct(X)[:, 0])) <= {3.0, 8.0, 11.0}


LIKELIHOODS = {
    "visits": ["poisson", "negative_binomial", "zero_inflated_poisson", "zero_inflated_negative_binomial", "student_t"],
    "gain": ["log_normal", "gaussian"],
    "grade": ["categorical", "ordinal"],
    "rooms": ["ordinal", "categorical"],
    "truth": ["bernoulli", "categorical"],
    "member": ["bernoulli", "categorical"],
}


@pytest.mark.parametrize(("name", "likelihood"), [(name, own) for name, many in LIKELIHOODS.items() for own in many])
@makers
def test_a_likelihood_per_column(make, name, likelihood):
    frame = make()
    model = vae(likelihood={name: likelihood}, max_iter=4).fit(frame)
    place = list(frame.columns).index(name)
    kinds = {"poisson": "count", "log_normal": "positive", "categorical": "categorical", "ordinal": "ordinal"}
    kinds |= dict.fromkeys(LIKELIHOODS["visits"][1:4], "count")
    assert model.schema_.columns[place].kind == kinds.get(
        likelihood, "binary" if likelihood == "bernoulli" else "continuous"
    )
    assert np.isfinite(model.score_samples(frame)).all()
    assert np.isfinite(model.loss_curve_).all()
    drawn = model.sample(300, missing=False, random_state=0)
    assert dtypes(drawn) == dtypes(frame)
    observed = frame[name].drop_nulls() if isinstance(frame, pl.DataFrame) else frame[name].dropna()
    if kinds.get(likelihood) in ("categorical", "ordinal"):
        assert set(drawn[name]) <= set(observed)
    else:
        assert drawn[name].min() >= observed.min()


def test_one_likelihood_for_all_spares_categories(frame):
    kinds = [c.kind for c in vae(likelihood="gaussian").fit(frame.drop(columns=["member"])).schema_.columns]
    assert kinds == ["categorical", "continuous", "continuous", "continuous", "continuous", "ordinal", "continuous"]
    kinds = [c.kind for c in vae(likelihood="categorical").fit(frame[["town", "rooms", "grade"]]).schema_.columns]
    assert kinds == ["categorical"] * 3


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial", "zero_inflated_negative_binomial"])
def test_counts_are_drawn_about_their_mean(likelihood):
    rng = np.random.default_rng(0)
    z = rng.normal(size=600)
    frame = pd.DataFrame({"n": rng.poisson(np.exp(1.0 + 0.5 * z)), "x": z + 0.3 * rng.normal(size=600)})
    model = vae(likelihood={"n": likelihood}, max_iter=20, learning_rate_init=0.01).fit(frame)
    drawn = model.sample(4000, random_state=0)["n"]
    assert drawn.mean() == pytest.approx(frame["n"].mean(), rel=0.15)
    assert drawn.std() == pytest.approx(frame["n"].std(), rel=0.25)
    assert np.exp(model.score_samples(frame)).max() < 1.0


def test_a_log_normal_column_counts_its_jacobian():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"income": rng.lognormal(10.0, 1.0, 300), "x": rng.normal(size=300)})
    options = {"likelihood": {"income": "log_normal", "x": "gaussian"}, "atoms": None, "bounds": None}
    model = vae(**options).fit(frame)
    two_blocks = {"income": partial(Gaussian, scale="cell"), "x": "gaussian"}  # as above
    logs = vae(likelihood=two_blocks, atoms=None, bounds=None).fit(frame.assign(income=np.log(frame["income"])))
    scores = logs.score_samples(frame.assign(income=np.log(frame["income"])))
    np.testing.assert_allclose(model.score_samples(frame), scores - np.log(frame["income"]), atol=1e-5)
    assert model.lower_bound_ == pytest.approx(logs.lower_bound_ - np.log(frame["income"]).mean(), abs=1e-4)
    scaled = vae(**options).fit(frame * [1000.0, 1.0])
    moved = scaled.score_samples(frame * [1000.0, 1.0])
    np.testing.assert_allclose(moved, model.score_samples(frame) - np.log(1000.0), atol=1e-4)


# -- exact numbers ---------------------------------------------------------------------------------------------------


def big_pandas(values):
    return pd.DataFrame({"id": values, "x": np.arange(len(values)) % 7 * 1.0})


def big_polars(values):
    return pl.DataFrame({"id": values, "x": np.arange(len(values)) % 7 * 1.0})


@pytest.mark.parametrize("make", [big_pandas, big_polars])
@pytest.mark.parametrize(
    ("low", "steps"), [(2**24, (1, 3, 6)), (2**40, (1, 3, 6)), (2**53 - 40_007, (1, 20_004, 40_006))]
)
@pytest.mark.parametrize("likelihood", ["auto", "categorical"])
def test_great_integers_keep_their_last_digit(make, low, steps, likelihood):
    """In single precision each of these would be its neighbour."""
    used = [low + step for step in steps]
    frame = make(np.array(used)[np.arange(N) % 3])
    model = vae(likelihood={"id": likelihood}).fit(frame)
    column = model.schema_.columns[0]
    assert list(column.levels.values if likelihood == "categorical" else column.atoms) == used
    drawn = model.sample(300, random_state=0)["id"]
    assert drawn.dtype == frame["id"].dtype
    assert set(drawn.unique()) >= set(used)
    assert drawn.is_in(used).mean() > 0.95 if isinstance(drawn, pl.Series) else drawn.isin(used).mean() > 0.95
    other = model.score_samples(make(np.array([used[0], used[0] + 1] * 7)))
    assert other[0] != other[7]  # a neighbour is another value


@pytest.mark.parametrize("make", [big_pandas, big_polars])
def test_great_counts_are_scored_at_their_own_value(make):
    rng = np.random.default_rng(0)
    counts = rng.poisson(2.0**26, N)
    model = vae(likelihood={"id": "poisson"}).fit(make(counts))
    up = model.score_samples(make(counts + 1)) - model.score_samples(make(counts))
    assert (up != 0.0).all()  # a step of 1 is no rounding error
    assert np.isfinite(up).all()
    drawn = model.sample(300, random_state=0)["id"]
    assert (drawn.to_numpy() % 2 == 1).any()
    assert drawn.min() >= counts.min()


# -- densities -------------------------------------------------------------------------------------------------------


def grid(values, n=1501, reach=14.0):
    """Points and trapezoid weights that reach far into the tails of a column."""
    t = np.linspace(-reach, reach, n)
    scale = values.std() / 6.0
    return values.mean() + scale * np.sinh(t), scale * np.cosh(t) * (t[1] - t[0])


@pytest.mark.parametrize("likelihood", ["gaussian", "student_t", "log_normal"])
@pytest.mark.parametrize("marginals", ["linear", "normal"])
def test_atoms_and_the_density_between_them_add_up_to_one(likelihood, marginals):
    rng = np.random.default_rng(0)
    x = rng.lognormal(2.0, 0.5, 400)
    x[:160], x[160:240] = 0.0, 30.0
    frame = pd.DataFrame({"x": x})
    options = {"max_iter": 30, "batch_size": 50, "n_importance_samples": 16, "n_components": 1}
    model = vae(likelihood=likelihood, marginals=marginals, **options).fit(frame)
    assert model.schema_.columns[0].atoms == (0.0, 30.0)
    of_atoms = np.exp(model.score_samples(pd.DataFrame({"x": [0.0, 30.0]})))
    np.testing.assert_allclose(of_atoms, [0.4, 0.2], atol=0.06)
    if likelihood == "log_normal":
        axis = np.exp(np.linspace(-8.0, 12.0, 1501))
        width = axis * (np.log(axis[1]) - np.log(axis[0]))
    else:
        axis, width = grid(x[240:])
    rest = (np.exp(model.score_samples(pd.DataFrame({"x": axis}))) * width).sum()
    assert of_atoms.sum() + rest == pytest.approx(1.0, abs=0.03)
    drawn = model.sample(4000, codes="prior", random_state=0)["x"].to_numpy()
    assert (drawn == 0.0).mean() == pytest.approx(of_atoms[0], abs=0.03)
    assert (drawn == 30.0).mean() == pytest.approx(of_atoms[1], abs=0.03)


def test_density_of_an_atom_column_beside_a_category_adds_up_to_one():
    rng = np.random.default_rng(0)
    kind = rng.random(400) < 0.4
    x = np.where(kind & (rng.random(400) < 0.8), 0.0, rng.normal(5.0, 2.0, 400))
    frame = pd.DataFrame({"x": x, "kind": pd.Categorical(np.where(kind, "b", "a"))})
    model = vae(likelihood={"x": "gaussian"}, max_iter=40, n_importance_samples=512).fit(frame)
    axis, width = grid(x[x != 0.0], 801, 10.0)
    mass = {}
    for level in ("a", "b"):
        levels = pd.Categorical([level] * (len(axis) + 1), ["a", "b"])
        density = np.exp(model.score_samples(pd.DataFrame({"x": np.r_[0.0, axis], "kind": levels})))
        mass[level] = density[0], (density[1:] * width).sum()
    assert sum(map(sum, mass.values())) == pytest.approx(1.0, abs=0.03)
    assert sum(mass["b"]) == pytest.approx(kind.mean(), abs=0.06)
    assert mass["b"][0] == pytest.approx((x == 0.0).mean(), abs=0.08)
    assert mass["a"][0] < 0.5 * mass["b"][0]
    alone = np.exp(model.score_samples(pd.DataFrame({"x": [0.0], "kind": pd.Categorical([None], ["a", "b"])})))
    assert alone[0] == pytest.approx(mass["a"][0] + mass["b"][0], abs=0.02)


def test_probabilities_of_all_rows_of_categories_add_up_to_one():
    rng = np.random.default_rng(0)
    z = rng.normal(size=400)
    grade = pd.Categorical.from_codes(np.digitize(z, [-0.5, 0.7]), GRADES, ordered=True)
    town = pd.Categorical.from_codes(np.digitize(z + rng.normal(size=400), [0.0, 1.0]), TOWNS[:3])
    model = vae(max_iter=40, n_importance_samples=512).fit(pd.DataFrame({"grade": grade, "town": town}))
    every = pd.MultiIndex.from_product([GRADES, TOWNS[:3]], names=["grade", "town"]).to_frame(index=False)
    every = every.assign(
        grade=pd.Categorical(every["grade"], GRADES, ordered=True), town=pd.Categorical(every["town"], TOWNS)
    )
    probability = np.exp(model.score_samples(every))
    assert probability.sum() == pytest.approx(1.0, abs=0.03)
    drawn = model.sample(8000, codes="prior", random_state=0).value_counts(normalize=True)
    frequency = [drawn.get((g, t), 0.0) for g, t in zip(every["grade"], every["town"], strict=True)]
    np.testing.assert_allclose(frequency, probability, atol=0.03)


# -- copies and searches ---------------------------------------------------------------------------------------------


@makers
@estimators
def test_pickled_estimators_answer_the_same(make, make_estimator):
    frame = make()
    model = make_estimator().fit(frame)
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin.score_samples(frame), model.score_samples(frame))
    np.testing.assert_array_equal(twin.transform(frame), model.transform(frame))
    assert dtypes(twin.reconstruct(frame)) == dtypes(frame)
    assert twin.schema_ == model.schema_ or repr(twin.schema_) == repr(model.schema_)  # NaN is not itself
    if make_estimator is vae:
        one, other = model.sample(50, random_state=0), twin.sample(50, random_state=0)
        assert_frame_equal(one, other) if isinstance(one, pd.DataFrame) else assert_polars_equal(one, other)


def test_a_clone_fits_the_same(frame):
    model = vae(likelihood={"visits": "poisson"}, atoms=["gain"], handle_unknown="error", bounds=None).fit(frame)
    twin = clone(model).fit(frame)
    np.testing.assert_array_equal(twin.score_samples(frame), model.score_samples(frame))
    assert [column.atoms for column in model.schema_.columns].count(()) == 7


def test_a_grid_over_components_is_searched(frame):
    search = GridSearchCV(vae(), {"n_components": [1, 3]}, cv=3, error_score="raise").fit(frame)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert dtypes(search.best_estimator_.sample(5, random_state=0)) == dtypes(frame)


@makers
def test_early_stopping_judges_mixed_rows(make):
    frame = make()
    validation = make(80, seed=1)
    model = vae(early_stopping=True, max_iter=30, n_iter_no_change=5, tol=10.0).fit(frame, X_val=validation)
    assert np.isfinite(model.validation_scores_).all()


@pytest.mark.parametrize(("n", "solver", "steps"), [(4999, "muon", 1000), (5000, "muon", 4000), (5000, "adam", 2000)])
def test_long_tables_with_levels_are_trained_for_longer(n, solver, steps):
    size, epochs = auto.batches_and_epochs(n, "auto", "auto", solver=solver, has_levels=True)
    assert epochs == min(130, -(-steps // -(-n // size)))
    size, epochs = auto.batches_and_epochs(n, "auto", "auto", solver=solver, has_levels=False)
    assert epochs == -(-min(steps, 2000) // -(-n // size))


@pytest.mark.parametrize(("levels", "expected"), [(True, 4), (False, 6)])
def test_the_automatic_epochs_of_a_small_table_with_levels_are_fewer(monkeypatch, frame, levels, expected):
    monkeypatch.setattr(auto, "SHORT", auto.Schedule(6 * math.ceil(len(frame) / 32), 16, (32, 256), 0.6))
    monkeypatch.setattr("skvae._model.auto.WITH_LEVELS", (64, 4))
    model = vae(max_iter="auto", batch_size=32)
    assert model.fit(frame if levels else frame.select_dtypes("float64")).n_iter_ == expected
    assert auto.batches_and_epochs(200, "auto", 1, solver="muon", has_levels=levels) == (64 if levels else 32, 1)


def test_chunks_of_a_mixed_table_are_taken_in(frame):
    model = vae().partial_fit(frame.iloc[:120])
    before = model.score_samples(frame)
    model.partial_fit(frame.iloc[120:])
    assert model.schema_.n_rows == 120
    assert np.isfinite(model.score_samples(frame)).all()
    assert (model.score_samples(frame) != before).any()


# -- weights ---------------------------------------------------------------------------------------------------------


@estimators
def test_weight_0_is_removal_of_categories_and_atoms_too(frame, make_estimator):
    extra = frame.head(60).assign(town=pd.Categorical(["Lima"] * 60, TOWNS), gain=777.0, rooms=np.int16(9999))
    both = pd.concat([frame, extra])
    both["town"] = pd.Categorical(both["town"], TOWNS)
    weight = np.r_[np.ones(N), np.zeros(60)]
    weighed, plain = make_estimator().fit(both, sample_weight=weight), make_estimator().fit(frame)
    np.testing.assert_allclose(weighed.score_samples(frame), plain.score_samples(frame), rtol=1e-6)
    assert weighed.schema_.columns[0].levels == plain.schema_.columns[0].levels
    assert weighed.schema_.columns[-1].atoms == plain.schema_.columns[-1].atoms


def test_weights_move_the_shares_of_categories(frame):
    weight = np.where(frame["town"] == "Oslo", 5.0, 1.0)
    model = vae(max_iter=20).fit(frame, sample_weight=weight)
    there = frame["town"].notna().to_numpy()
    expected = np.average((frame["town"] == "Oslo")[there], weights=weight[there])
    oslo = model.schema_.columns[0].levels.values.index("Oslo")
    assert model.schema_.columns[0].frequencies[oslo] == pytest.approx(expected)
    assert (model.sample(4000, random_state=0)["town"] == "Oslo").mean() == pytest.approx(expected, abs=0.08)


# -- the plain autoencoder -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
@pytest.mark.parametrize("corruption", [None, "masking", "gaussian"])
def test_the_autoencoder_takes_mixed_tables(frame, loss, corruption):
    if loss == "cross_entropy":
        numbers = ["length", "rooms", "visits", "gain"]
        frame[numbers] = frame[numbers].astype(float)
        frame[numbers] = (frame[numbers] - frame[numbers].min()) / (frame[numbers].max() - frame[numbers].min())
    options = LIGHT | {"max_iter": 20, "batch_size": 20}
    model = AutoencoderTransformer(**options, loss=loss, corruption=corruption).fit(frame)
    kinds = [column.kind for column in model.schema_.columns]
    assert (kinds[0], kinds[6]) == ("categorical", "ordinal")
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert (model.score_samples(frame) <= 0.0).all()
    there = frame["grade"].notna()
    assert (model.reconstruct(frame)["grade"][there] == frame["grade"][there]).mean() > 0.6


# -- the detector ----------------------------------------------------------------------------------------------------


def detector(**options):
    models = [vae(**(LIGHT_DETECTOR | options))]
    return VAEOutlierDetector(estimator=models, random_state=0)


LIGHT_DETECTOR = {"max_iter": 20, "hidden_layer_sizes": (), "random_state": None, "n_importance_samples": 8}


@pytest.fixture(scope="module")
def watchman():
    return detector().fit(make_frame())


def test_the_detector_labels_mixed_rows(watchman, frame):
    labels = watchman.predict(frame)
    assert set(labels) <= {-1, 1}
    assert (labels == 1).mean() > 0.5
    assert np.isfinite(watchman.p_values(make_frame(50, seed=2))).all()


@makers
def test_shares_of_mixed_rows_add_up_to_the_score(make):
    frame = make()
    model = detector().fit(frame)
    explanation = model.explain(frame)
    assert type(explanation.shares) is type(frame)
    assert list(explanation.shares.columns) == list(frame.columns)
    shares = explanation.shares.to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1) + explanation.latent, model.score_samples(frame), atol=1e-8)
    missing = pd.DataFrame({name: pd.Series(frame[name].to_list()).isna() for name in frame.columns}).to_numpy()
    assert missing.any()
    assert (shares[missing] == 0.0).all()


def test_an_odd_category_is_named(frame):
    model = detector(max_iter=100, hidden_layer_sizes=(32,)).fit(frame)
    high = frame[(frame["rooms"] >= 4) & (frame["grade"] == "top") & (frame["length"] > 5.0)]
    odd = high.assign(grade=pd.Categorical(["low"] * len(high), GRADES, ordered=True))
    shares = model.explain(odd).shares
    assert (shares.idxmin(axis=1) == "grade").mean() > 0.7
    completed = model.complete(odd)
    assert (completed["grade"] != "low").mean() > 0.6


@makers
@pytest.mark.parametrize("n_cells", [1, 3])
def test_completion_of_mixed_rows_keeps_dtypes_and_leaves_no_gap(make, n_cells):
    frame = make()
    model = detector().fit(frame)
    out = model.complete(frame, n_cells=n_cells)
    assert dtypes(out) == dtypes(frame)
    changed = np.zeros(N, dtype=int)
    for name in frame.columns:
        before, after = pd.Series(frame[name].to_list()), pd.Series(out[name].to_list())
        assert after.notna().all()
        changed += ((before != after) & before.notna()).fillna(False).astype(bool).to_numpy()
    assert changed.max() <= n_cells
    if isinstance(frame, pd.DataFrame):
        assert_index_equal(out.index, frame.index)
        assert out.attrs == frame.attrs
        assert set(out["town"]) <= {"Rome", "Oslo", "Bern"}


def test_default_models_take_mixed_tables(frame, monkeypatch):
    monkeypatch.setattr("skvae._members.DETECTOR_EPOCHS", 2)
    for novelty in (False, True):
        model = VAEOutlierDetector(novelty=novelty, random_state=0).fit(frame)
        explanation = model.explain(frame)
        total = explanation.shares.sum(axis=1).to_numpy() + explanation.latent
        np.testing.assert_allclose(total, model.score_samples(frame), atol=1e-8)
        assert dtypes(model.complete(frame)) == dtypes(frame)


def test_the_detector_is_copied_with_its_levels(watchman, frame):
    twin = pickle.loads(pickle.dumps(watchman))
    np.testing.assert_array_equal(twin.score_samples(frame), watchman.score_samples(frame))
    assert_frame_equal(twin.complete(frame), watchman.complete(frame))


def test_a_long_frame_is_encoded_without_a_copy_of_it(monkeypatch):
    """What fit allocates in NumPy beyond the encoded table in single precision are a few columns, not a table."""
    n, p = 20_000, 200
    rng = np.random.RandomState(0)
    columns = {f"x{j}": rng.normal(size=n) for j in range(p // 2)} | {
        f"c{j}": pd.Categorical.from_codes(rng.randint(5, size=n), list("abcde")) for j in range(p // 2)
    }
    frame = pd.DataFrame(columns)
    model = VAETransformer(n_components=2, hidden_layer_sizes=(4,), max_iter=1, batch_size=5_000, n_train_samples=1)
    monkeypatch.setattr("skvae._engine.engine.SHOWN_ROWS", 500)
    model.fit(frame[:100])  # what is imported on first use is not counted
    tracemalloc.start()
    try:
        model.fit(frame)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    single_precision = 4 * n * p
    assert single_precision < peak < 1.8 * single_precision  # a copy in double precision alone would be 2
