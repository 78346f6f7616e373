"""Text columns as files have them: categories, identifiers that are left out, numbers and dates that came as text."""

import pickle
import re

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pandas.testing import assert_frame_equal

from skvae import AutoencoderTransformer, VAEImputer, VAEOutlierDetector, VAETransformer
from skvae._table.levels import hardly_repeats

N = 120
DTYPES = ["object", "string", "str", "string[pyarrow]"]
QUICK = {"n_components": 2, "hidden_layer_sizes": (16,), "max_iter": 5, "early_stopping": False, "random_state": 0}
LEFT_OUT = r"Columns? .*'mail'.* left out of the model"


def vae(**parameters):
    return VAETransformer(**(QUICK | {"n_train_samples": 1} | parameters))


def every_estimator():
    small = VAETransformer(n_train_samples=1, **QUICK)
    return [
        vae(),
        AutoencoderTransformer(**QUICK),
        VAEOutlierDetector(estimator=small, random_state=0),
        VAEImputer(small, n_importance_samples=20, random_state=0),
        VAEOutlierDetector(random_state=0),
        VAEImputer(n_importance_samples=20, random_state=0),
    ]


def table(dtype="object", n=N):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40.0, 10.0, n).round(),
            "city": rng.choice(["Rome", "Oslo", "Bern"], n),
            "mail": [f"user{i}@example.org" for i in range(n)],
        }
    )
    frame.loc[::7, "city"] = None
    frame.loc[::11, "mail"] = None
    return frame.astype({"city": dtype, "mail": dtype})


@pytest.fixture(params=[*DTYPES, "polars"])
def frame(request):
    return pl.from_pandas(table()) if request.param == "polars" else table(request.param)


# -- identifiers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([1] * 2, True),
        ([1] * 30, True),
        ([5], False),
        ([1], False),
        ([2, 1, 1, 1], False),
        ([2] * 5 + [1] * 11, True),
        ([2] * 6 + [1] * 11, False),
        ([1] * 4 + [2] * 1, False),
    ],
)
def test_text_hardly_repeats_where_most_rows_are_alone(counts, expected):
    codes = np.repeat(np.arange(len(counts)), counts)
    assert hardly_repeats(codes) is expected
    assert hardly_repeats(np.concatenate([codes, [-1] * 50])) is expected


def test_a_column_of_identifiers_is_left_out_and_comes_back_missing(frame):
    with pytest.warns(UserWarning, match=LEFT_OUT) as caught:
        model = vae().fit(frame)
    assert len(caught) == 1
    drawn = model.sample(50, random_state=0)
    cells = list(drawn["mail"])
    assert all(value is None or value is pd.NA or value != value for value in cells)
    assert drawn["mail"].dtype == frame["mail"].dtype
    assert set(drawn["city"].drop_nulls() if isinstance(drawn, pl.DataFrame) else drawn["city"].dropna()) == {
        "Rome", "Oslo", "Bern",
    }  # fmt: skip
    assert [column.is_left_out for column in model.schema_.columns] == [False, False, True]


def test_what_is_left_out_changes_no_number(frame):
    with pytest.warns(UserWarning, match=LEFT_OUT):
        model = vae().fit(frame)
    alone = vae().fit(frame[["age", "city"]])
    np.testing.assert_array_equal(model.score_samples(frame), alone.score_samples(frame[["age", "city"]]))
    other = frame.with_columns(mail=pl.lit(3.5)) if isinstance(frame, pl.DataFrame) else frame.assign(mail=3.5)
    np.testing.assert_array_equal(model.score_samples(other), model.score_samples(frame))


@pytest.mark.parametrize("dtype", DTYPES)
def test_fresh_identifiers_are_new_texts_of_the_same_dtype(dtype):
    X = table(dtype)
    with pytest.warns(UserWarning, match=LEFT_OUT):
        model = vae().fit(X)
    drawn = model.sample(200, identifiers="fresh", random_state=0)
    assert drawn["mail"].nunique() == 200
    assert not set(drawn["mail"]) & set(X["mail"])
    assert drawn["mail"].dtype == X["mail"].dtype
    assert_frame_equal(drawn, model.sample(200, identifiers="fresh", random_state=0))
    with pytest.raises(ValueError, match=r"identifiers must be 'missing' or 'fresh'\. Got 'real'"):
        model.sample(identifiers="real")


@pytest.mark.parametrize("estimator", every_estimator(), ids=str)
def test_every_estimator_warns_once_and_names_all_columns(estimator):
    X = table().assign(code=[f"{i:05}-x" for i in range(N)])
    with pytest.warns(UserWarning, match="Columns 'mail', 'code' are left out") as caught:
        estimator.fit(X)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 1
    assert messages[0].startswith("Columns 'mail', 'code' are left out of the model")
    assert "X.astype({'mail': 'category', 'code': 'category'})" in messages[0]
    assert "skrub" in messages[0]


def test_the_user_may_ask_for_levels_all_the_same():
    model = vae(likelihood={"mail": "categorical"}).fit(table())
    assert len(model.schema_.columns[2].levels.values) == table()["mail"].nunique()
    declared = table().astype({"mail": "category"})
    assert vae().fit(declared).schema_.columns[2].levels.categories is not None


def test_a_condition_on_what_is_left_out_is_an_error():
    with pytest.warns(UserWarning, match=LEFT_OUT):
        model = vae().fit(table())
    with pytest.raises(ValueError, match="given names column 'mail', which fit left out"):
        model.sample(given={"mail": "user1@example.org"})
    assert len(model.sample(3, given={"mail": None, "city": "Rome"}, random_state=0)) == 3


@pytest.mark.parametrize("fill", [VAEImputer, VAEOutlierDetector])
def test_identifiers_are_neither_filled_nor_replaced(fill):
    X = table()
    with pytest.warns(UserWarning, match=LEFT_OUT):
        model = fill(estimator=VAETransformer(n_train_samples=1, **QUICK), random_state=0).fit(X)
    out = model.transform(X) if fill is VAEImputer else model.complete(X, n_cells=2)
    pd.testing.assert_series_equal(out["mail"], X["mail"])
    assert not out["city"].isna().any()


def test_a_schema_with_identifiers_survives_a_pickle():
    with pytest.warns(UserWarning, match=LEFT_OUT):
        model = vae().fit(table())
    again = pickle.loads(pickle.dumps(model))
    assert again.schema_ == model.schema_
    assert_frame_equal(again.sample(5, random_state=0), model.sample(5, random_state=0))


def test_only_identifiers_leave_nothing_to_learn():
    with (
        pytest.warns(UserWarning, match=LEFT_OUT),
        pytest.raises(ValueError, match=r"Every column of X \(but for text that hardly repeats\) is constant"),
    ):
        vae().fit(table()[["mail"]])


@pytest.mark.filterwarnings("ignore:Every latent component is inactive")
def test_a_hundred_thousand_levels_are_levels_where_they_repeat():
    names = np.array([f"name {i}" for i in range(100_000)])
    X = pd.DataFrame({"name": np.tile(names, 2), "x": np.random.default_rng(0).normal(size=200_000)})
    model = vae(max_iter=1).fit(X)
    assert model.schema_.columns[0].levels.n_codes == 256
    assert set(model.sample(20, random_state=0)["name"]) <= set(names)


def test_empty_text_and_none_are_a_level_and_a_missing_cell():
    X = pd.DataFrame({"flag": ["", "yes", None] * 40, "x": np.random.default_rng(0).normal(size=N)})
    model = vae().fit(X)
    assert model.schema_.columns[0].levels.values == ("", "yes")
    assert set(model.sample(50, random_state=0, missing=False)["flag"]) == {"", "yes"}


# -- numbers and dates that came as text -------------------------------------------------------------------------------


TEXTS = {  # texts of number j, and the numbers
    "plain": (lambda j: f"{j}.{j % 10}", lambda j: j + j % 10 / 10),
    "comma": (lambda j: f"{j},{j % 10}", lambda j: j + j % 10 / 10),
    "points and comma": (lambda j: f"1.{j:03},{j % 10}", lambda j: 1000 + j + j % 10 / 10),
    "thousands": (lambda j: f"{j % 10 + 1} {j:03}", lambda j: 1000 * (j % 10 + 1) + j),
    "percent": (lambda j: f"{j} %", lambda j: j),
    "money": (lambda j: f"$1,{j:03}.5", lambda j: 1000.5 + j),
    "negative": (lambda j: f"-{j}.5e2", lambda j: -(j + 0.5) * 100),
}


@pytest.mark.parametrize("container", ["pandas", "polars"])
@pytest.mark.parametrize("name", TEXTS)
def test_the_way_back_from_text_to_numbers_works_as_written(name, container):
    texts, numbers = ([of(j) for j in range(N)] for of in TEXTS[name])
    plain = {"size": [*texts[:-1], "n/a"], "x": np.arange(float(N))}
    X = pd.DataFrame(plain) if container == "pandas" else pl.DataFrame(plain)
    with pytest.warns(UserWarning, match="text of 'size' reads as numbers or dates: turn it back with") as caught:
        vae().fit(X)
    line = re.search(r"turn it back with (.*)$", str(caught[0].message))[1]
    scope = {"X": X, "pd": pd, "pl": pl}
    exec(line, scope)
    np.testing.assert_allclose(scope["X"]["size"].to_numpy()[:-1], numbers[:-1])
    assert scope["X"]["size"].to_list()[-1] is None or np.isnan(scope["X"]["size"].to_list()[-1])


@pytest.mark.parametrize(
    ("texts", "first"),
    [
        ([f"2024-01-{1 + j % 28:02} 0{j % 10}:{j % 60:02}" for j in range(N)], "2024-01-01 00:00"),
        ([f"{1 + j % 28:02}.02.{2000 + j % 20}" for j in range(N)], "2000-02-01"),
        ([f"{2000 + j}-03-04" for j in range(N)], "2000-03-04"),
    ],
)
def test_the_way_back_from_text_to_dates_works_as_written(texts, first):
    X = pd.DataFrame({"day": texts, "x": np.arange(float(N))})
    with pytest.warns(UserWarning, match="text of 'day' reads as numbers or dates: turn it back with") as caught:
        vae().fit(X)
    scope = {"X": X, "pd": pd}
    exec(re.search(r"turn it back with (.*)$", str(caught[0].message))[1], scope)
    assert scope["X"]["day"].iloc[0] == pd.Timestamp(first)


@pytest.mark.parametrize("texts", [["0", "1"], ["01099", "80331", "04109"], ["v1.2", "v2"], ["1-2 years", "3+"]])
def test_few_codes_that_look_like_numbers_are_levels_without_a_word(texts):
    X = pd.DataFrame({"code": (texts * N)[:N], "x": np.arange(float(N))})
    assert vae().fit(X).schema_.columns[0].levels.values == tuple(sorted(texts))


def test_each_column_is_named_with_its_own_way_back():
    X = pd.DataFrame({"a": [f"{j},5" for j in range(N)], "b": [f"{j} %" for j in range(N)], "x": np.arange(float(N))})
    with pytest.warns(UserWarning, match="reads as numbers or dates") as caught:
        vae().fit(X)
    assert len(caught) == 1
    text = str(caught[0].message)
    assert "X['a'] = " in text
    assert "X['b'] = " in text
