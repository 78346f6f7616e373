"""Dates and durations as seconds, and back, of every dtype that pandas and polars have for them."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skvae._table import frames
from skvae._table.frames import times
from skvae._table.frames.reading import numbers

MOMENTS = pd.Series(
    pd.to_datetime(
        [
            "2020-02-29 01:30:00",
            "2020-10-24 02:30:15.123456",
            None,
            "1999-12-31 23:59:59",
            "1969-12-31 12:00:00.000001",
        ],
        format="ISO8601",
    ).astype("M8[us]")
)
IN_BERLIN = MOMENTS.dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin")
LENGTHS = pd.Series(pd.to_timedelta([1.0, 2.5, None, -4.0, 1e5], unit="h")).astype("m8[us]")
CLOCK = [dt.time(1, 2, 3, 4), dt.time(23, 59, 59, 999999), None, dt.time(), dt.time(12)]
DAYS = [dt.date(1, 1, 1), dt.date(9999, 12, 31), None, dt.date(2000, 2, 29), dt.date(1970, 1, 1)]
PYTHON = [None if value is pd.NaT else value.to_pydatetime() for value in MOMENTS]


def whole(series, unit="s"):
    return series.dt.floor(unit)


def arrow(series, dtype):
    return series.astype(pd.ArrowDtype(dtype))


PANDAS = {
    "date:datetime64[us]": MOMENTS,
    "date:datetime64[ns]": MOMENTS.astype("M8[ns]"),
    "date:datetime64[ms]": whole(MOMENTS, "ms").astype("M8[ms]"),
    "date:datetime64[s]": whole(MOMENTS).astype("M8[s]"),
    "date:datetime64[us, Europe/Berlin]": IN_BERLIN,
    "date:datetime64[ns, UTC]": MOMENTS.astype("M8[ns]").dt.tz_localize("UTC"),
    "duration:timedelta64[us]": LENGTHS,
    "duration:timedelta64[ns]": LENGTHS.astype("m8[ns]"),
    "duration:timedelta64[s]": LENGTHS.astype("m8[s]"),
    "date:period[M]": pd.Series(pd.PeriodIndex(["2020-01", "0005-02", None, "9999-12", "1969-12"], freq="M")),
    "date:period[W-SUN]": pd.Series(pd.PeriodIndex(["2020-01-05", "2021-02-03", None, "1950-12-01"], freq="W-SUN")),
    "date:period[Q-DEC]": pd.Series(pd.PeriodIndex(["2020Q1", "2021Q4", None], freq="Q")),
    "date:period[D]": pd.Series(pd.PeriodIndex(["2020-01-05", "0001-01-01", None], freq="D")),
    "date:object[date]": pd.Series(DAYS, dtype=object),
    "date:object[datetime]": pd.Series(PYTHON, dtype=object),
    "duration:object[time]": pd.Series(CLOCK, dtype=object),
    "duration:object[timedelta]": pd.Series([dt.timedelta(1), dt.timedelta(-3, 5, 7), None], dtype=object),
    "date:timestamp[us][pyarrow]": arrow(MOMENTS, pa.timestamp("us")),
    "date:timestamp[s][pyarrow]": arrow(whole(MOMENTS).astype("M8[s]"), pa.timestamp("s")),
    "date:timestamp[ns, tz=Europe/Berlin][pyarrow]": arrow(IN_BERLIN, pa.timestamp("ns", "Europe/Berlin")),
    "date:date32[day][pyarrow]": arrow(whole(MOMENTS, "D"), pa.date32()),
    "date:date64[ms][pyarrow]": arrow(whole(MOMENTS, "D"), pa.date64()),
    "duration:duration[ms][pyarrow]": arrow(LENGTHS, pa.duration("ms")),
    "duration:time64[us][pyarrow]": pd.Series(CLOCK, dtype=pd.ArrowDtype(pa.time64("us"))),
    "duration:time32[s][pyarrow]": pd.Series([dt.time(1, 2, 3), None], dtype=pd.ArrowDtype(pa.time32("s"))),
}
POLARS = {
    "date:Date": pl.Series(DAYS),
    "date:Datetime(time_unit='us', time_zone=None)": pl.Series(PYTHON, dtype=pl.Datetime("us")),
    "date:Datetime(time_unit='ms', time_zone=None)": pl.Series(PYTHON, dtype=pl.Datetime("ms")),
    "date:Datetime(time_unit='ns', time_zone=None)": pl.Series(PYTHON, dtype=pl.Datetime("ns")),
    "date:Datetime(time_unit='us', time_zone='Europe/Berlin')": (
        pl.Series(PYTHON, dtype=pl.Datetime("us", "UTC")).dt.convert_time_zone("Europe/Berlin")
    ),
    "duration:Duration(time_unit='us')": pl.Series([dt.timedelta(1), None, dt.timedelta(-3, 5, 7)]),
    "duration:Duration(time_unit='ms')": pl.Series([dt.timedelta(1), None], dtype=pl.Duration("ms")),
    "duration:Time": pl.Series(CLOCK),
}


def back(seconds, dtype, library):
    return frames.to_frame([seconds], library, [frames.Format("x", dtype, None)])["x"]


@pytest.mark.parametrize("spelling", PANDAS)
def test_every_dtype_of_pandas_comes_back_as_it_was(spelling):
    column = PANDAS[spelling]
    frame = pd.DataFrame({"x": column})
    dtype = frames.dtypes_of(frame)[0]
    assert str(dtype) == spelling
    assert frames.Dtype.read(spelling) == dtype
    seconds = numbers(frame, 0)
    assert seconds.dtype == np.float64
    np.testing.assert_array_equal(np.isnan(seconds), column.isna())
    again = back(seconds, dtype, frames.PANDAS)
    assert again.dtype == column.dtype
    assert [value for value in again if not pd.isna(value)] == [value for value in column if not pd.isna(value)]
    np.testing.assert_array_equal(again.isna(), column.isna())


@pytest.mark.parametrize("spelling", POLARS)
def test_every_dtype_of_polars_comes_back_as_it_was(spelling):
    column = POLARS[spelling]
    frame = pl.DataFrame({"x": column})
    dtype = frames.dtypes_of(frame)[0]
    assert str(dtype) == spelling
    again = back(numbers(frame, 0), dtype, frames.POLARS)
    assert again.dtype == column.dtype
    assert again.to_list() == column.to_list()


def test_seconds_are_those_since_1970_on_the_columns_own_clock():
    day = pd.Timestamp("2024-07-01 12:00")
    local = numbers(pd.DataFrame({"x": pd.Series([day]).dt.tz_localize("America/New_York")}), 0)
    plain = numbers(pd.DataFrame({"x": pd.Series([day])}), 0)
    assert local == plain == [(day - pd.Timestamp("1970-01-01")).total_seconds()]
    months = numbers(pd.DataFrame({"x": pd.Series(pd.PeriodIndex(["2024-07"], freq="M"))}), 0)
    assert months == [(pd.Timestamp("2024-07-01") - pd.Timestamp("1970-01-01")).total_seconds()]
    assert numbers(pd.DataFrame({"x": pd.Series([dt.time(1, 0, 30)], dtype=object)}), 0) == [3630.0]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_unit_of_the_dtype_changes_no_number(unit):
    plain = numbers(pd.DataFrame({"x": whole(MOMENTS)}), 0)
    np.testing.assert_array_equal(numbers(pd.DataFrame({"x": whole(MOMENTS).astype(f"M8[{unit}]")}), 0), plain)


@settings(max_examples=200, deadline=None)
@given(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)))
def test_microseconds_survive(moment):
    frame = pd.DataFrame({"x": pd.Series([moment]).astype("M8[us]")})
    again = back(numbers(frame, 0), frames.dtypes_of(frame)[0], frames.PANDAS)
    assert abs(again[0] - pd.Timestamp(moment)) <= pd.Timedelta(microseconds=1)


@pytest.mark.parametrize(("name", "column"), [*PANDAS.items(), *POLARS.items()])
def test_what_no_dtype_holds_is_kept_within_its_range(name, column):
    library = frames.POLARS if isinstance(column, pl.Series) else frames.PANDAS
    written = back(np.array([-1e18, 1e18, np.nan]), frames.Dtype.read(name), library)
    values = written.to_list() if library == frames.POLARS else list(written)
    assert values[0] < values[1]
    assert pd.isna(values[2])


def test_an_hour_that_the_clock_skips_or_shows_twice_is_some_hour():
    spring, autumn = (float(pd.Timestamp(t).timestamp()) for t in ("2020-03-29 02:30", "2020-10-25 02:30"))
    for library, name in (
        (frames.PANDAS, "date:datetime64[us, Europe/Berlin]"),
        (frames.PANDAS, "date:timestamp[us, tz=Europe/Berlin][pyarrow]"),
        (frames.POLARS, "date:Datetime(time_unit='us', time_zone='Europe/Berlin')"),
    ):
        first, second = back(np.array([spring, autumn]), frames.Dtype.read(name), library).to_list()
        assert (first.month, first.hour) == (3, 3)
        assert (second.month, second.hour) == (10, 2)


def test_times_are_rounded_to_the_step_of_their_column():
    fmt = frames.Format("x", frames.Dtype.read("date:datetime64[us]"), None, step=86400.0)
    noon = pd.Timestamp("2024-03-05 13:00").timestamp()
    assert frames.to_frame([np.array([noon])], frames.PANDAS, [fmt])["x"][0] == pd.Timestamp("2024-03-06")
    np.testing.assert_array_equal(frames.held(np.array([noon, np.nan]), fmt), [noon + 11 * 3600, np.nan])


@pytest.mark.parametrize(
    ("value", "family", "second"),
    [
        ("2024-01-02", "date", 1704153600.0),
        (pd.Timestamp("2024-01-02 00:00:01.5"), "date", 1704153601.5),
        (pd.Timestamp("2024-01-02", tz="Asia/Tokyo"), "date", 1704153600.0),
        (dt.date(2024, 1, 2), "date", 1704153600.0),
        (dt.datetime(1, 1, 1), "date", -62135596800.0),
        (np.datetime64("2024-01-02"), "date", 1704153600.0),
        (pd.Period("2024-01", "M"), "date", 1704067200.0),
        ("2 hours", "duration", 7200.0),
        (pd.Timedelta(days=-1, microseconds=3), "duration", -86400.0 + 3e-6),
        (dt.timedelta(seconds=3), "duration", 3.0),
        (dt.time(1), "duration", 3600.0),
    ],
)
def test_a_single_time_may_be_of_any_library_or_a_text(value, family, second):
    assert times.second_of(value, family) == pytest.approx(second)


@pytest.mark.parametrize("value", [3, 2.5, True, None, "no day", ("a",)])
@pytest.mark.parametrize("family", times.TIMES)
def test_what_is_no_time_is_an_error(value, family):
    with pytest.raises((ValueError, TypeError)):
        times.second_of(value, family)


@pytest.mark.parametrize(
    ("second", "family", "text"),
    [
        (1704153600.0, "date", "2024-01-02"),
        (1704153601.5, "date", "2024-01-02 00:00:01.500000"),
        (1e30, "date", "9999-12-31 23:59:59"),
        (3630.0, "duration", "1:00:30"),
    ],
)
def test_times_are_shown_as_people_write_them(second, family, text):
    assert frames.shown(second, family) == text
