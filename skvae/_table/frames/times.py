"""Dates and durations as seconds, and back: the only file that knows what a library makes of time.

A date (a timestamp, a day, a period by its first moment) is the number of seconds since 1970 on the clock of its own
time zone, a duration or a time of day the number of seconds that it lasts. A float tells microseconds apart for
centuries.
"""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

DATES, DURATIONS = "date", "duration"  # families of dtypes
TIMES = (DATES, DURATIONS)
STEPS = (86400.0, 3600.0, 1800.0, 900.0, 600.0, 300.0, 60.0, 30.0, 15.0, 10.0, 5.0, 1.0, 0.1, 0.01, 1e-3, 1e-6)

PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
DAY = 86400
FINEST = 10**6  # parts of a second that are written
NOTHING = np.iinfo(np.int64).min  # what NumPy and pandas hold where a time is missing
EPOCH = datetime.datetime(1970, 1, 1)
YEARS = -62135596800.0, 253402300799.0  # the first second of the year 1 and the last of the year 9999
LONGEST = 9.2e12  # seconds of which 64 bits hold the microseconds
OBJECTS = {  # what a pandas column of Python objects may hold: its name, the family, and the class
    "date": (DATES, datetime.date),
    "datetime": (DATES, datetime.datetime),
    "time": (DURATIONS, datetime.time),
    "timedelta": (DURATIONS, datetime.timedelta),
}
SPELLED = re.compile(r"object\[(\w+)\]")

Seconds = NDArray[np.float64]
Integers = NDArray[np.int64]


class Ticks(NamedTuple):
    """Times as integers, NOTHING where missing, and how many make a second; none where each is a whole day."""

    values: Integers
    per_second: int | None

    def seconds(self) -> Seconds:
        """The same as floats, NaN where missing: rounded once, whatever the unit."""
        there = self.values != NOTHING
        if self.per_second is None:
            return np.where(there, self.values * float(DAY), np.nan)
        whole, rest = np.divmod(self.values, self.per_second)
        return np.where(there, whole + rest / self.per_second, np.nan)


def family_of_pandas(column: Any) -> str | None:
    """The family of a pandas column of times, None of any other."""
    dtype, kind = column.dtype, getattr(column.dtype, "kind", "")
    if isinstance(dtype, pd.ArrowDtype):
        return next((family for pattern, family in _ARROW if re.match(pattern, str(dtype))), None)
    if isinstance(dtype, pd.PeriodDtype | pd.DatetimeTZDtype) or kind == "M":
        return DATES
    return DURATIONS if kind == "m" else None


_ARROW = ((r"timestamp\[|date(32|64)\[", DATES), (r"duration\[|time(32|64)\[", DURATIONS))


def family_of_polars(spelling: str) -> str | None:
    """The family of a polars dtype of times, None of any other."""
    return {"Date": DATES, "Datetime": DATES, "Duration": DURATIONS, "Time": DURATIONS}.get(spelling.split("(")[0])


def family_of_objects(column: Any, found: str) -> tuple[str, str] | None:
    """Family and spelling of a pandas column of Python's own times; None of others, and of several time zones."""
    own = "datetime" if found == "datetime64" else found
    if own not in OBJECTS or any(getattr(value, "tzinfo", None) is not None for value in column.dropna()):
        return None
    return OBJECTS[own][0], f"object[{own}]"


# -- into seconds ------------------------------------------------------------------------------------------------------


def seconds(column: Any) -> Seconds:
    """A column of times as seconds, NaN where missing."""
    return (_ticks_of_pandas(column) if isinstance(column, pd.Series) else _ticks_of_polars(column)).seconds()


def _ticks_of_pandas(series: Any) -> Ticks:
    dtype = series.dtype
    if isinstance(dtype, pd.ArrowDtype):
        return _ticks_of_arrow(series)
    if isinstance(dtype, pd.PeriodDtype):
        return Ticks(np.asarray(series.array.asfreq("s", how="S").asi8), 1)
    if isinstance(dtype, np.dtype) and dtype.kind == "O":
        return Ticks(np.array([_microseconds(value) for value in series], dtype=np.int64), FINEST)
    local = series.dt.tz_localize(None) if isinstance(dtype, pd.DatetimeTZDtype) else series
    return Ticks(local.to_numpy().astype(np.int64), PER_SECOND[np.datetime_data(local.dtype)[0]])


def _ticks_of_arrow(series: Any) -> Ticks:
    pyarrow, spelling = import_module("pyarrow"), str(series.dtype)
    cells = series.array.__arrow_array__()
    if ", tz=" in spelling:
        cells = import_module("pyarrow.compute").local_timestamp(cells)
    if spelling.startswith(("date32", "time32")):
        cells = cells.cast(pyarrow.int32())
    values = cells.cast(pyarrow.int64()).fill_null(NOTHING).to_numpy()
    return Ticks(np.array(values), None if spelling.startswith("date32") else PER_SECOND[_unit(spelling)])


def _ticks_of_polars(series: Any) -> Ticks:
    polars, spelling = sys.modules["polars"], str(series.dtype)
    local = series.dt.replace_time_zone(None) if getattr(series.dtype, "time_zone", None) else series
    values = local.to_physical().cast(polars.Int64).fill_null(NOTHING).to_numpy()
    per_second = None if spelling == "Date" else PER_SECOND["ns" if spelling == "Time" else _unit(spelling)]
    return Ticks(np.array(values), per_second)


def _unit(spelling: str) -> str:
    """The unit that the name of a dtype tells: ``timestamp[us, tz=UTC]``, ``Datetime(time_unit='us', ...)``."""
    found = re.search(r"\[(s|ms|us|ns)\b|'(s|ms|us|ns)'", spelling)
    assert found is not None, "a dtype of times has a unit"
    return found[1] or found[2]


def _microseconds(value: Any) -> int:
    """One of Python's own times."""
    if value is None or value is pd.NaT or value != value:
        return int(NOTHING)
    if isinstance(value, datetime.datetime):
        value = value.replace(tzinfo=None) - EPOCH
    elif isinstance(value, datetime.date):
        value = value - EPOCH.date()
    elif isinstance(value, datetime.time):
        value = datetime.datetime.combine(EPOCH, value.replace(tzinfo=None)) - EPOCH
    return int((value.days * DAY + value.seconds) * FINEST + value.microseconds)


def second_of(value: Any, family: str) -> float:
    """A single time that a user gives, one of any library or a text; ValueError where it is none."""
    if isinstance(value, bool | int | float | np.number) or value is None:
        raise ValueError("a number is no time")
    if isinstance(value, pd.Period):
        value = value.start_time
    if isinstance(value, datetime.time):
        return _microseconds(value) / FINEST
    if family == DURATIONS:
        length = pd.Timedelta(value)
        return float(length.days * DAY + length.seconds + (length.microseconds + length.nanoseconds / 1e3) / FINEST)
    if isinstance(value, datetime.date) and not isinstance(value, pd.Timestamp):
        return _microseconds(value) / FINEST
    moment = pd.Timestamp(value)
    return _microseconds(moment.to_pydatetime(warn=False)) / FINEST


# -- and back ----------------------------------------------------------------------------------------------------------


def written(values: Seconds, spelling: str, library: str) -> Any:
    """Seconds, NaN where missing, as a column of a dtype of times."""
    low, high = _range(spelling)
    there = ~np.isnan(values)
    cells = np.clip(np.where(there, values, 0.0), low, high)
    return _WRITERS[library](cells, there, spelling)


def held(values: NDArray[np.floating], spelling: str) -> Seconds:
    """Seconds as a column of that dtype holds them."""
    values = values.astype(np.float64)
    return np.clip(np.floor(values / DAY) * DAY if _is_day(spelling) else values, *_range(spelling))


def _is_day(spelling: str) -> bool:
    return bool(re.match(r"Date$|date(32|64)\[|object\[date\]", spelling))


def _range(spelling: str) -> tuple[float, float]:
    """The least and the greatest second that a dtype holds, and Python shows."""
    if re.match(r"Time$|time(32|64)\[|object\[time\]", spelling):
        return 0.0, DAY - 1.0 / FINEST
    lasts = re.match(r"Duration|duration|timedelta|object\[timedelta\]", spelling)
    low, high = (-LONGEST, LONGEST) if lasts else YEARS
    if re.search(r", (tz=)?\w+/|, UTC|time_zone='", spelling):  # a clock may be off by a day, and these are the ends
        low, high = low + 2 * DAY, high - 2 * DAY
    most = 9.2e9 if re.search(r"\bns\b|'ns'", spelling) else np.inf  # of 64 bits
    return max(low, -most), min(high, most)


def _ticks(cells: Seconds, per_second: int) -> Integers:
    """Seconds as integers of so many a second, to the microsecond."""
    whole = np.floor(cells)
    parts = np.rint((cells - whole) * FINEST).astype(np.int64)
    micro = whole.astype(np.int64) * FINEST + parts
    return micro * (per_second // FINEST) if per_second >= FINEST else micro // (FINEST // per_second)


def _pandas(cells: Seconds, there: NDArray[np.bool_], spelling: str) -> Any:
    own = SPELLED.fullmatch(spelling)
    if own:
        return pd.Series(_objects(_ticks(cells, FINEST), there, own[1]), dtype=object)
    if spelling.endswith("[pyarrow]"):
        return _arrow(cells, there, spelling)
    if spelling.startswith("period["):
        ordinals = np.where(there, _ticks(cells, 1), NOTHING)
        periods = pd.arrays.PeriodArray(ordinals, dtype=pd.PeriodDtype(pd.offsets.Second()))
        return pd.Series(periods.asfreq(spelling[7:-1]))
    unit = _unit(spelling)
    kind = "m8" if spelling.startswith("timedelta") else "M8"
    series = pd.Series(np.where(there, _ticks(cells, PER_SECOND[unit]), NOTHING).view(f"{kind}[{unit}]"))
    if ", " not in spelling:
        return series
    zone = getattr(pd.api.types.pandas_dtype(spelling), "tz", None)
    first = np.ones(len(series), dtype=bool)  # of an hour that the clock shows twice
    return series.dt.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")


def _objects(ticks: Integers, there: NDArray[np.bool_], kind: str) -> list[Any]:
    """Python's own times of microseconds, None where missing."""
    make: Callable[[datetime.timedelta], Any] = {
        "date": lambda length: (EPOCH + length).date(),
        "datetime": lambda length: EPOCH + length,
        "time": lambda length: (EPOCH + length).time(),
        "timedelta": lambda length: length,
    }[kind]
    lengths = (datetime.timedelta(microseconds=tick) for tick in ticks.tolist())
    return [make(length) if known else None for length, known in zip(lengths, there.tolist(), strict=True)]


def _arrow(cells: Seconds, there: NDArray[np.bool_], spelling: str) -> Any:
    pyarrow, dtype = import_module("pyarrow"), pd.api.types.pandas_dtype(spelling)
    assert isinstance(dtype, pd.ArrowDtype), "the name says so"
    arrow, zone = dtype.pyarrow_dtype, getattr(dtype.pyarrow_dtype, "tz", None)
    if spelling.startswith("date"):
        array = pyarrow.array((cells // DAY).astype(np.int32), mask=~there).cast(pyarrow.date32()).cast(arrow)
    else:
        narrow = np.int32 if spelling.startswith("time32") else np.int64
        array = pyarrow.array(_ticks(cells, PER_SECOND[_unit(spelling)]).astype(narrow), mask=~there)
        array = array.cast(pyarrow.timestamp(arrow.unit) if zone else arrow)
    if zone:
        localised = import_module("pyarrow.compute").assume_timezone
        array = localised(array, zone, ambiguous="earliest", nonexistent="latest")
    return pd.Series(pd.arrays.ArrowExtensionArray(array))


def _polars(cells: Seconds, there: NDArray[np.bool_], spelling: str) -> Any:
    polars, family = sys.modules["polars"], spelling.split("(")[0]
    if family == "Date":
        ticks, physical = (cells // DAY).astype(np.int64), polars.Int32
    else:
        unit = "ns" if family == "Time" else _unit(spelling)
        ticks, physical = _ticks(cells, PER_SECOND[unit]), polars.Int64
    whole = polars.Series(ticks, dtype=polars.Int64).set(polars.Series(~there), None).cast(physical)
    zone = re.search(r"time_zone='(.+)'", spelling)
    dtype = polars_dtype(spelling)
    if zone is None:
        return whole.cast(dtype)
    local, later = (part.cast(polars.Datetime(_unit(spelling))) for part in (whole, whole + PER_SECOND[unit] * 3600))
    first, second = (
        part.dt.replace_time_zone(zone[1], ambiguous="earliest", non_existent="null") for part in (local, later)
    )
    return first.zip_with(first.is_not_null() | whole.is_null(), second)


_WRITERS = {"pandas": _pandas, "polars": _polars}


def polars_dtype(spelling: str) -> Any:
    """The polars dtype of times of this name."""
    polars, family = sys.modules["polars"], spelling.split("(")[0]
    if family in ("Date", "Time"):
        return getattr(polars, family)
    zone = re.search(r"time_zone='(.+)'", spelling)
    return (
        polars.Duration(_unit(spelling))
        if family == "Duration"
        else polars.Datetime(_unit(spelling), zone[1] if zone else None)
    )


def shown(value: float, family: str) -> str:
    """A time for people to read."""
    if family == DURATIONS:
        return str(datetime.timedelta(seconds=round(value, 6)))
    moment = EPOCH + datetime.timedelta(seconds=round(min(max(value, YEARS[0]), YEARS[1]), 6))
    return str(moment.date() if moment.time() == datetime.time() else moment)
