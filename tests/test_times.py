"""Tables with dates and durations, through every estimator."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

from skvae import AutoencoderTransformer, VAEImputer, VAEOutlierDetector, VAETransformer

QUICK = {"n_components": 2, "hidden_layer_sizes": (16,), "max_iter": 5, "early_stopping": False, "random_state": 0}
N = 200
START = pd.Timestamp("2023-01-01")


def vae(**parameters):
    return VAETransformer(**(QUICK | {"n_train_samples": 1} | parameters))


def table(n=N, seed=0):
    """Dates that depend on a number."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    X = pd.DataFrame(
        {
            "size": 10.0 + 3.0 * z + 0.3 * rng.normal(size=n),
            "day": START + pd.to_timedelta((200 + 60 * z).clip(0).round(), unit="D"),
            "hour": pd.Series(START + pd.to_timedelta(rng.integers(0, 8000, n), unit="h")).dt.tz_localize("UTC"),
            "lasts": pd.to_timedelta(rng.gamma(2.0, 3600.0, n).round(), unit="s"),
            "month": pd.PeriodIndex(rng.choice(pd.period_range("2020-01", periods=24, freq="M"), n)),
            "at": rng.choice([dt.time(8, 30), dt.time(12), dt.time(17, 15)], n),
            "born": [dt.date(1950, 1, 1) + dt.timedelta(int(d)) for d in rng.integers(0, 20000, n)],
        }
    )
    X["hour"] = X["hour"].dt.tz_convert("Europe/Berlin")
    X.loc[::9, "day"] = pd.NaT
    X.loc[::8, "born"] = None
    return X


@pytest.fixture(scope="module")
def frame():
    return table()


@pytest.fixture(scope="module")
def fitted(frame):
    return vae(max_iter=60).fit(frame)


def test_draws_have_the_dtypes_and_the_resolution_of_their_columns(fitted, frame):
    drawn = fitted.sample(300, random_state=0)
    assert (drawn.dtypes == frame.dtypes).all()
    day = drawn["day"].dropna()
    assert (day == day.dt.floor("D")).all()
    assert (drawn["hour"] == drawn["hour"].dt.floor("h")).all()
    assert (drawn["lasts"] == drawn["lasts"].dt.floor("s")).all()
    assert set(drawn["at"]) <= set(frame["at"])
    assert {type(value) for value in drawn["born"].dropna()} == {dt.date}
    assert day.min() >= frame["day"].min()
    assert day.max() <= frame["day"].max()
    assert abs(drawn["day"].isna().mean() - frame["day"].isna().mean()) < 0.1


def test_what_depends_on_a_date_is_learned():
    X = table(1000)[["size", "day"]]
    drawn = VAETransformer(random_state=0).fit(X).sample(2000, random_state=0).dropna()
    days = (drawn["day"] - START).dt.days
    assert np.corrcoef(drawn["size"], days)[0, 1] > 0.9


def test_the_density_is_that_of_the_seconds(frame):
    """The same numbers as floats give the same model, and the same score in nats per second."""
    days = (frame["day"] - pd.Timestamp("1970-01-01")).dt.total_seconds()
    times, plain = frame[["size", "day"]], frame[["size"]].assign(day=days)
    np.testing.assert_array_equal(vae().fit(times).score_samples(times), vae().fit(plain).score_samples(plain))


def test_reconstructions_keep_dtypes_and_whole_days(fitted, frame):
    again = fitted.reconstruct(frame)
    assert (again.dtypes == frame.dtypes).all()
    assert (again["day"] == again["day"].dt.floor("D")).all()
    again = AutoencoderTransformer(**QUICK).fit(frame).reconstruct(frame)
    assert (again.dtypes == frame.dtypes).all()
    assert (again["day"] == again["day"].dt.floor("D")).all()


def test_given_takes_dates_of_any_library_and_text(fitted):
    for day in ("2023-07-01", pd.Timestamp("2023-07-01"), dt.date(2023, 7, 1), np.datetime64("2023-07-01")):
        drawn = fitted.sample(20, given={"day": day, "lasts": "90 min", "at": dt.time(12)}, random_state=0)
        assert (drawn["day"] == pd.Timestamp("2023-07-01")).all()
        assert (drawn["lasts"] == pd.Timedelta(minutes=90)).all()
        assert set(drawn["at"]) == {dt.time(12)}
    rows = pd.DataFrame(
        {"day": [pd.Timestamp("2023-05-01"), pd.NaT], "month": pd.PeriodIndex(["2021-03"] * 2, freq="M")}
    )
    drawn = fitted.sample(3, given=rows, random_state=0)
    assert (drawn["day"][:3] == pd.Timestamp("2023-05-01")).all()
    assert (drawn["month"] == pd.Period("2021-03")).all()


@pytest.mark.parametrize("value", [3.0, "someday", True])
def test_given_something_else_is_an_error_with_an_example(fitted, value):
    with pytest.raises(TypeError, match=r"given must hold a date, such as pd.Timestamp.*in column 'day'. Got"):
        fitted.sample(given={"day": value})
    with pytest.raises(TypeError, match=r"given must hold a duration, such as pd.Timedelta.*in column 'lasts'. Got"):
        fitted.sample(given={"lasts": value})


def test_a_date_out_of_reach_is_shown_as_a_date(fitted):
    with pytest.warns(UserWarning, match=r"given asks for 2035-01-01 in column 'day', .*\(2023-\d\d-\d\d to 2023-"):
        fitted.sample(3, given={"day": "2035-01-01"}, random_state=0)


@pytest.mark.parametrize("estimator", [None, vae()])
def test_missing_dates_are_filled_with_dates(frame, estimator):
    imputer = VAEImputer(estimator, n_importance_samples=50, random_state=0).fit(frame)
    for out in (imputer.transform(frame), imputer.draw(frame, 1, random_state=0)[0]):
        assert (out.dtypes == frame.dtypes).all()
        assert not out.isna().any().any()
        assert_frame_equal(out[frame.notna().all(axis=1)], frame.dropna())
        assert (out["day"] == out["day"].dt.floor("D")).all()
        assert {type(value) for value in out["born"]} == {dt.date}


def test_filled_dates_follow_the_other_columns():
    X = table(600)[["size", "day"]]
    holes = X.assign(day=X["day"].mask(np.arange(len(X)) % 5 == 1))
    filled = VAEImputer(random_state=0).fit_transform(holes)
    there = X["day"].notna() & holes["day"].isna()
    error = (filled["day"] - X["day"])[there].dt.total_seconds().abs().mean() / 86400
    spread = (X["day"] - X["day"].mean())[there].dt.total_seconds().abs().mean() / 86400
    assert error < 0.3 * spread


def test_an_odd_date_is_found_explained_and_corrected(frame):
    detector = VAEOutlierDetector(random_state=0).fit(frame)
    odd = frame.iloc[1:40].copy()
    odd.loc[5, "born"] = dt.date(1700, 1, 1)
    assert detector.score_samples(odd).argmin() == 4
    assert detector.explain(odd).shares.loc[5].idxmin() == "born"
    mended = detector.complete(odd)
    assert type(mended.loc[5, "born"]) is dt.date
    assert dt.date(1940, 1, 1) < mended.loc[5, "born"] < dt.date(2010, 1, 1)


def test_polars_dates_through_all():
    X = pl.from_pandas(table()[["size", "day", "lasts"]]).with_columns(born=pl.Series(table()["born"].to_list()))
    drawn = vae().fit(X).sample(50, random_state=0)
    assert drawn.schema == X.schema
    filled = VAEImputer(vae(), n_importance_samples=20, random_state=0).fit_transform(X)
    assert filled.schema == X.schema
    assert filled.null_count().sum_horizontal()[0] == 0
    assert (
        vae().fit(X).sample(4, given={"born": dt.date(1980, 5, 5)}, random_state=0)["born"].to_list()
        == [dt.date(1980, 5, 5)] * 4
    )


def test_dates_with_nothing_but_nat_stay_so(frame):
    X = frame[["size", "lasts"]].assign(never=pd.Series([pd.NaT] * N))
    model = vae().fit(X)
    assert model.sample(5, random_state=0)["never"].isna().all()
    assert model.sample(5, random_state=0)["never"].dtype == X["never"].dtype
    empty = X.assign(never=np.nan)
    np.testing.assert_array_equal(model.score_samples(X), vae().fit(empty).score_samples(empty))
    np.testing.assert_array_equal(model.score_samples(X.assign(never=START)), model.score_samples(X))


def test_one_date_is_a_constant_that_comes_back_exactly(frame):
    moment = pd.Timestamp("2024-02-03 04:05:06.789")
    X = frame[["size", "lasts"]].assign(when=moment)
    model = vae().fit(X)
    assert (model.sample(5, random_state=0)["when"] == moment).all()
    other = X.assign(when=moment + pd.Timedelta(seconds=1))
    with pytest.warns(UserWarning, match="were constant in training and differ here"):
        lower = model.score_samples(other)
    np.testing.assert_allclose(model.score_samples(X) - lower, np.log(N + 2))


def test_the_years_1_and_9999(frame):
    X = frame[["size"]].assign(day=[dt.date(1 + 9998 * (i % 2), 1, 1 + i % 28) for i in range(N)])
    drawn = vae().fit(X).sample(50, random_state=0)["day"]
    assert {type(value) for value in drawn} == {dt.date}
    assert drawn.min() >= dt.date(1, 1, 1)


def test_mixed_time_zones_are_one_clear_error(frame):
    east, west = dt.timezone(dt.timedelta(hours=3)), dt.timezone(dt.timedelta(hours=-3))
    X = frame[["size"]].assign(
        at=pd.Series([dt.datetime(2024, 1, 1 + i % 9, tzinfo=(east, west)[i % 2]) for i in range(N)], dtype=object)
    )
    with pytest.raises(
        TypeError, match=r"Column 'at' has dtype object \(datetimes with time zones\): make it dates of one"
    ):
        vae().fit(X)
    vae().fit(X.assign(at=pd.to_datetime(X["at"], utc=True)))


@pytest.mark.parametrize(
    ("fit", "later", "message"),
    [
        ("day", lambda X: X.assign(day=3.5), r"Column 'day' has dtype float: fit saw dates in it: pass dates"),
        ("day", lambda X: X.assign(day=X["lasts"]), r"Column 'day' has dtype timedelta.*: fit saw dates in it"),
        ("lasts", lambda X: X.assign(lasts=X["day"]), r"'lasts' has dtype datetime64.*: fit saw durations in it: pass"),
        ("size", lambda X: X.assign(size=X["day"]), r"Column 'size' has dtype datetime64.*: fit saw numbers in it"),
        ("day", lambda X: X.assign(day="2024-01-01"), r"Column 'day' has dtype .*: fit saw dates in it: .*to_datetime"),
    ],
)  # fmt: skip
def test_another_kind_of_column_than_in_fit_is_an_error(frame, fit, later, message):
    X = frame[["size", "day", "lasts"]]
    with pytest.raises(TypeError, match=message):
        vae().fit(X).score_samples(later(X))


def test_a_column_of_dates_may_be_missing_throughout_later(frame):
    X = frame[["size", "day", "lasts"]]
    model = vae().fit(X)
    gone = model.score_samples(X.assign(day=pd.NaT))
    np.testing.assert_array_equal(model.score_samples(X.assign(day=np.nan)), gone)
    np.testing.assert_array_equal(model.score_samples(X.assign(day=None)), gone)


def test_times_are_no_levels(frame):
    with pytest.raises(TypeError, match=r"Column 'day' has dtype datetime64.*choose another likelihood for it"):
        vae(likelihood={"day": "categorical"}).fit(frame)


def test_other_units_and_containers_score_the_same(frame):
    X = frame[["size", "day", "lasts"]]
    model = vae().fit(X)
    scores = model.score_samples(X)
    np.testing.assert_array_equal(model.score_samples(X.astype({"day": "M8[s]", "lasts": "m8[s]"})), scores)


def test_a_pickle_knows_its_dates(fitted, frame):
    import pickle

    again = pickle.loads(pickle.dumps(fitted))
    assert again.schema_ == fitted.schema_
    assert_series_equal(again.sample(9, random_state=0)["hour"], fitted.sample(9, random_state=0)["hour"])
