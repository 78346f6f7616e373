"""`summary`: one table that says how a table was read, the same before and after fit."""

from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pandas.testing import assert_frame_equal
from sklearn.exceptions import NotFittedError

from skvae import AutoencoderTransformer, VAEImputer, VAEOutlierDetector, VAETransformer, nn, summarize

QUICK = {"n_components": 2, "hidden_layer_sizes": (16,), "max_iter": 3, "early_stopping": False, "random_state": 0}
N = 200
COLUMNS = ["dtype", "kind", "why", "likelihood", "levels", "atoms", "bounds", "step", "missing", "hint"]


def small(**parameters):
    return VAETransformer(**(QUICK | {"n_train_samples": 1} | parameters))


def every_estimator():
    return [
        small(),
        AutoencoderTransformer(**QUICK),
        VAEOutlierDetector(estimator=small(), calibration_fraction=0.0),
        VAEImputer(small(), n_importance_samples=20),
    ]


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "age": rng.normal(40.0, 10.0, N).round(),
            "grade": pd.Categorical(rng.choice(["a", "b"], N), ordered=True),
            "town": rng.choice(["Rome", "Oslo", "Bern"], N),
            "rated": rng.random(N) < 0.5,
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.permutation(N), unit="D"),
            "lasts": pd.to_timedelta(rng.permutation(N) * 900, unit="s"),
            "code": rng.integers(0, 5, N).astype(float),
            "number": rng.permutation(N) * 3 + 100,
            "income": np.where(rng.random(N) < 0.3, 999999.0, rng.gamma(2.0, 1000.0, N)),
            "one": 3,
            "none": np.nan,
        }
    )
    X.loc[: N // 4 - 1, "age"] = np.nan
    return X


def test_each_column_has_a_row_that_says_how_it_is_read_and_why(frame):
    table = summarize(frame)
    assert list(table.columns) == COLUMNS
    assert list(table.index) == list(frame.columns)
    kinds = ["continuous", "ordinal", "categorical", "binary", "date", "duration", *["continuous"] * 3]
    assert list(table["kind"]) == [*kinds, "constant", "constant"]
    assert table["why"].to_dict() == {
        "age": "numbers",
        "grade": "dtype of ordered categories",
        "town": "text that repeats",
        "rated": "truth values",
        "day": "dates, in seconds since 1970",
        "lasts": "durations, in seconds",
        "code": "numbers",
        "number": "whole numbers",
        "income": "numbers",
        "one": "one value only",
        "none": "no cell observed",
    }
    assert table.loc["town", "levels"] == ("Bern", "Oslo", "Rome")
    assert table.loc["code", "atoms"] == (0.0, 1.0, 2.0, 3.0, 4.0)
    assert table.loc["code", "bounds"] == (0.0, 4.0)
    assert table.loc["income", "bounds"][1] == 999999.0
    assert table.loc["day", "bounds"] == ("2024-01-01", "2024-07-18")
    assert table["step"].to_dict() == {
        "age": 1.0, "grade": None, "town": None, "rated": None, "day": 86400.0, "lasts": 900.0, "code": 1.0,
        "number": 1.0, "income": None, "one": None, "none": None,
    }  # fmt: skip
    assert table.loc["age", "missing"] == 0.25
    assert table.loc["none", "missing"] == 1.0
    assert (table["missing"].drop(["age", "none"]) == 0.0).all()


def test_a_hint_stands_where_a_person_would_want_one(frame):
    hints = summarize(frame)["hint"]
    assert hints["code"].startswith("whole numbers 0 to 4: a category?")
    assert hints["number"].startswith("no two rows have the same value: an identifier?")
    assert hints["income"] == "999999.0 stands far from the others: a mark of missing cells?"
    assert hints["one"].startswith("outside the model")
    assert hints["none"].startswith("outside the model")
    assert hints[["age", "grade", "town", "rated", "day", "lasts"]].isna().all()
    with pytest.warns(UserWarning, match="left out of the model"):
        mails = summarize(frame.assign(mail=[f"m{i}" for i in range(N)]))
    assert mails.loc["mail", "kind"] == "identifier"
    assert mails.loc["mail", "hint"].startswith("left out of the model")


def test_rare_levels_that_share_a_code_are_counted():
    X = pd.DataFrame({"x": np.arange(600.0), "name": np.repeat([f"n{i}" for i in range(300)], 2)})
    assert summarize(X).loc["name", "hint"] == "the 45 rarest levels share a code"


@pytest.mark.parametrize("estimator", every_estimator(), ids=lambda estimator: type(estimator).__name__)
def test_it_is_the_same_before_and_after_fit(estimator, frame):
    before = estimator.summary(frame)
    with pytest.raises(NotFittedError):
        estimator.summary()
    assert_frame_equal(estimator.fit(frame).summary(), before)
    assert_frame_equal(estimator.summary(frame), before)


def test_looking_at_rows_fits_nothing(frame):
    model = small(likelihood={"age": "log_normal"})
    with pytest.raises(ValueError, match="values above 0"):
        model.summary(frame.assign(age=-1.0 - np.arange(N)))
    assert model.summary(frame).loc["age", "likelihood"] == "log_normal"
    assert not hasattr(model, "n_features_in_")


@pytest.mark.parametrize("before", [False, True])
def test_the_likelihood_is_named_as_a_user_would_write_it(frame, before):
    wide = partial(nn.likelihoods.Gaussian, scale="column")
    model = small(likelihood={"age": wide, "code": "categorical", "income": nn.likelihoods.SmoothGaussian})
    table = model.summary(frame) if before else model.fit(frame).summary()
    assert table["likelihood"].to_dict() == {
        "age": "Gaussian(scale='column')", "grade": "ordinal", "town": "categorical", "rated": "bernoulli",
        "day": "student_t_mixture", "lasts": "student_t_mixture", "code": "categorical", "number": "student_t_mixture",
        "income": "SmoothGaussian",
        "one": None, "none": None,
    }  # fmt: skip
    assert list(table.index[table["why"] == "asked for"]) == ["age", "code", "income"]


@pytest.mark.parametrize("to", [np.asarray, pd.DataFrame, pl.DataFrame, lambda X: X.astype(np.float32)])
def test_plain_numbers_of_any_container(to):
    X = np.random.default_rng(0).normal(size=(50, 3))
    table = summarize(to(X))
    assert list(table["kind"]) == ["continuous"] * 3
    assert list(table["likelihood"]) == ["student_t"] * 3
    assert table["hint"].isna().all()


def test_the_schema_prints_as_that_table(frame):
    schema = small().fit(frame).schema_
    text = repr(schema)
    assert text.startswith("TableSchema of 11 columns and 200 rows (pandas)")
    for word in ("income", "999999.0 stands far", "25.0%", "(2024-01-01, 2024-07-18)"):
        assert word in text
    assert "None" not in text
    assert "nan" not in text
    assert "<td>continuous</td>" in schema._repr_html_()


def test_a_wide_table_is_cut_where_it_is_printed():
    X = np.random.default_rng(0).normal(size=(30, 200))
    schema = small().fit(X).schema_
    assert len(repr(schema).splitlines()) < 80
    assert len(small().fit(X).summary()) == 200


@pytest.mark.parametrize("estimator", every_estimator(), ids=lambda estimator: type(estimator).__name__)
def test_a_notebook_shows_it_below_the_parameters_of_a_fitted_estimator(estimator, frame):
    assert "The table as it was read" not in estimator._repr_mimebundle_()["text/html"]
    odd = frame.rename(columns={"age": "<b>age</b>"})
    html = estimator.fit(odd)._repr_mimebundle_()["text/html"]
    assert "The table as it was read" in html
    assert "&lt;b&gt;age&lt;/b&gt;" in html
    assert "<td>categorical</td>" in html
