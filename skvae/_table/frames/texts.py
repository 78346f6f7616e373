"""Text that is not what it looks like: numbers or dates that came as text, and how to turn them back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from skvae._table.frames.dtypes import PANDAS, POLARS, container_of
from skvae._table.frames.reading import column_at

SHOWN_ROWS = 1_000  # that say whether text reads as numbers
MOST = 0.5  # share of the cells that has to read so

_SPACES = r" '\u00a0\u202f\u2009"
_NUMBER = re.compile(rf"[$€£¥]?\s?[+-]?(\d{{1,3}}([{_SPACES}.,]\d{{3}})+|\d+)?([.,]\d*)?([eE][+-]?\d+)?\s?[%$€£¥]?")
_DATE = re.compile(r"(\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2}[-/.](\d{2}|\d{4}))([ T]\d{1,2}:\d{2}.*)?")

TO_NUMBERS = {
    PANDAS: "X[{name}] = pd.to_numeric(X[{name}]{cleaned}, errors='coerce')",
    POLARS: "X = X.with_columns(pl.col({name}).cast(pl.String){cleaned}.cast(pl.Float64, strict=False))",
}
TO_DATES = {
    PANDAS: "X[{name}] = pd.to_datetime(X[{name}]{order})",
    POLARS: "X = X.with_columns(pl.col({name}).cast(pl.String).str.to_datetime())",
}
REPLACED = {
    PANDAS: ".str.replace({0!r}, {1!r}, regex={2})",
    POLARS: ".str.replace_all({0!r}, {1!r}, literal={3})",
}


def way_back(frame: Any, j: int) -> str | None:
    """A line of code that turns a column of text into the numbers or dates it holds; None where it holds others.

    The line has ``{name}`` for the column.
    """
    values = [value.strip() for value in column_at(frame, j).to_list()[:SHOWN_ROWS] if isinstance(value, str)]
    values = [value for value in values if value]
    container = container_of(frame)
    if _most(values, _is_date):
        day_first = any(re.match(r"(1[3-9]|2\d|3[01])\D", value) or re.match(r"\d{1,2}\.", value) for value in values)
        return TO_DATES[container].replace("{order}", ", dayfirst=True" if day_first else "")
    if _most(values, _is_number):
        each = [(old, new, len(old) > 1) for old, new in _cleaning(values)]  # a single character stands for itself
        steps = [REPLACED[container].format(old, new, pattern, not pattern) for old, new, pattern in each]
        if container == PANDAS and steps:
            steps.insert(0, ".astype(str)")
        return TO_NUMBERS[container].replace("{cleaned}", "".join(steps))
    return None


def _most(values: Sequence[str], is_one: Any) -> bool:
    return bool(values) and sum(map(bool, map(is_one, values))) > MOST * len(values)


def _is_date(value: str) -> bool:
    return bool(_DATE.fullmatch(value)) and len(re.findall(r"\d+", value)) > 1 and not re.fullmatch(r"\d+\.\d+", value)


def _is_number(value: str) -> bool:
    return bool(_NUMBER.fullmatch(value)) and bool(re.search(r"\d", value))


def _cleaning(values: Sequence[str]) -> list[tuple[str, str]]:
    """Patterns, and what takes their place, after which Python reads the numbers among some texts."""
    numbers = [value for value in values if _is_number(value)]
    steps = [(rf"[{_SPACES}$€£¥%]", "")] if any(re.search(rf"[{_SPACES}$€£¥%]", value) for value in numbers) else []
    if any("," in value for value in numbers):
        has_points = any("." in value for value in numbers)
        steps += [(",", "")] if _groups(numbers, ",", ".") else [(".", "")] * has_points + [(",", ".")]
    elif _groups(numbers, ".", ",") and any(value.count(".") > 1 for value in numbers):
        steps += [(".", "")]
    return steps


def _groups(numbers: Sequence[str], mark: str, other: str) -> bool:
    """Whether a mark stands between thousands: before three digits each time, and never behind the other mark."""
    own, another = re.escape(mark), re.escape(other)
    return all(
        re.fullmatch(rf"[^{own}]*({own}\d{{3}}(?!\d))*[^{own}]*", number) and not re.search(f"{another}.*{own}", number)
        for number in numbers
    )
