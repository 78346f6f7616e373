"""Columns that cannot be read: one error that names them all, each with its way out."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from skvae._table.frames.dtypes import POLARS, Dtype, container_of, dtypes_of, object_type
from skvae._table.frames.reading import column_at, missing
from skvae._table.frames.texts import MOST, SHOWN_ROWS, way_back
from skvae._table.frames.times import DATES, TIMES

MOST_NAMES = 30  # in an error
LEFT_OUT = "left out"  # of the model in fit, so that the column may be anything now

# Ways out; what stands in braces is filled in by `_sentence`.
ONE_ZONE = "make {it} dates of one time zone with X[{first}] = pd.to_datetime(X[{first}], utc=True){likewise}"
TIME_LEVELS = "choose another likelihood for {it}, or make {it} text"
TO_TIMES = {
    DATES: "fit saw dates in {it}: pass dates, as from pd.to_datetime(X[{first}])",
    "duration": "fit saw durations in {it}: pass durations, as from pd.to_timedelta(X[{first}])",
}
ONE_TYPE = "make them one type, for example with .astype(str).astype('category')"
AS_LEVELS = "choose the likelihood 'categorical' or 'ordinal' for {it}, or leave {it} to 'auto'"
AS_IN_FIT = "fit saw categories in {it}: pass these"
TO_NUMERIC = "convert {it} with pd.to_numeric, or encode {it} first"
TEXT_LEVELS = "make its levels text with X[{first}].astype(str).astype('category'){likewise}"
COMPLEX = "split {it} into real and imaginary parts"
CAST = "cast {it} to a numeric dtype, or encode {it} first"
CATEGORICAL = (
    "make {it} categorical with X.astype({categories}){likelihood}",
    "make {it} categorical with X.with_columns(pl.col({names}).cast(pl.Categorical)){likelihood}",
)
NUMERALS = (
    "turn {it} back into numbers with X[{first}] = pd.to_numeric(X[{first}], errors='coerce'){likewise}",
    "turn {it} back into numbers with X.with_columns(pl.col({names}).cast(pl.String).cast(pl.Float64, strict=False))",
)


class Reason(NamedTuple):
    """What a column came as, and the way out; columns with the same reason are named together."""

    came: str
    way_out: str


def refuse_unreadable(
    frame: Any, coded: Sequence[bool], fit: Sequence[str | None], *, has_likelihood: bool = False
) -> None:
    """Raise TypeError if columns cannot be read as they have to be.

    Parameters
    ----------
    frame : data frame
    coded : sequence of bool
        Whether each column is read as levels (else as numbers).
    fit : sequence of str or None
        What each column was in fit, "numbers", "date", "duration", "categories" or "left out"; None while fitting.
    has_likelihood : bool
        Whether the user can choose the likelihood of a column.
    """
    groups: dict[Reason, list[Hashable]] = {}
    for j, (dtype, is_coded, before) in enumerate(zip(dtypes_of(frame), coded, fit, strict=True)):
        if before != LEFT_OUT and not _is_readable(frame, j, dtype, is_coded, before):
            reason = _reason(frame, j, dtype, before)
            groups.setdefault(reason, []).append(frame.columns[j])
    if groups:
        text = "; ".join(_sentence(reason, names, has_likelihood) for reason, names in groups.items())
        # scikit-learn's checks look for "argument must be ... string ... number" in this message.
        raise TypeError(
            f"A column must be numeric or categorical (argument must be a real number, not a string or an object). "
            f"{text}."
        )


def _is_readable(frame: Any, j: int, dtype: Dtype, is_coded: bool, fit: str | None) -> bool:
    if dtype.family == "unreadable":
        return False
    if is_coded:
        return not dtype.is_time
    if not dtype.is_number:
        return False
    same = fit is None or (dtype.family if dtype.is_time else "numbers") == fit
    return same or bool(missing(frame, j).all())


def _sentence(reason: Reason, names: list[Hashable], has_likelihood: bool) -> str:
    several, shown = len(names) > 1, names[:MOST_NAMES]
    likelihood = f", or use VAETransformer(likelihood={dict.fromkeys(shown, 'categorical')!r})"
    way_out = reason.way_out.format(
        it="them" if several else "it",
        first=repr(names[0]),
        names=", ".join(map(repr, shown)),
        categories=repr(dict.fromkeys(shown, "category")),
        likelihood=likelihood if has_likelihood else "",
        likewise=", and likewise the others" if several else "",
    )
    subject = f"Column{'s' if several else ''} {', '.join(map(repr, shown))}"
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"{subject}{more} {'have' if several else 'has'} dtype {reason.came}: {way_out}"


def _reason(frame: Any, j: int, dtype: Dtype, fit: str | None) -> Reason:
    column, is_polars, (family, own) = column_at(frame, j), container_of(frame) == POLARS, dtype
    came = str(column.dtype) if family in ("text", "unreadable", *TIMES) else family
    if own == "object" and family == "unreadable":
        return _reason_of_objects(column, fit)
    if fit == "categories":
        return Reason(came, AS_IN_FIT)
    if fit in TO_TIMES:
        return Reason(came, TO_TIMES[fit])
    if (family == "text" or dtype.is_category or dtype.is_time) and fit == "numbers":
        return Reason(came, f"fit saw numbers in {{it}}: {NUMERALS[is_polars]}")
    if dtype.is_time:
        return Reason(came, TIME_LEVELS)
    if dtype.is_category:
        return Reason(came, AS_LEVELS)
    if family == "text":
        back = way_back(frame, j)
        return Reason(came, CATEGORICAL[is_polars] if back is None else f"turn {{it}} back with {_for_all(back)}")
    if "dictionary<" in own or "binary" in own:
        return Reason(came, TEXT_LEVELS)
    if own.startswith("complex"):
        return Reason(came, COMPLEX)
    return Reason(came, CAST if is_polars else TO_NUMERIC)


def _reason_of_objects(column: Any, fit: str | None) -> Reason:
    """Of a pandas column of Python objects that are neither text nor truth."""
    found = object_type(column)
    if found in ("datetime", "datetime64", "time"):
        return Reason(f"object ({found}s with time zones)", ONE_ZONE)
    if found in ("integer", "floating", "mixed-integer-float", "decimal"):
        return Reason("object", TO_NUMERIC)
    used = sorted({type(value).__name__ for value in column[column.notna()]})
    came = f"object and holds values of several types ({', '.join(used)})"
    if "str" in used and fit in (None, "numbers") and _are_mostly_numbers(column):
        return Reason(came, f"{'fit saw' if fit else 'most are'} numbers{' in {it}' if fit else ''}: {NUMERALS[0]}")
    return Reason(came, ONE_TYPE)


def _for_all(line: str) -> str:
    """A line of code for one column as a way out for several."""
    parts = line.split("{name}")
    return "{first}".join(part.replace("{", "{{").replace("}", "}}") for part in parts) + "{likewise}"


def _are_mostly_numbers(column: Any) -> bool:
    numbers = pd.to_numeric(column.iloc[:SHOWN_ROWS].astype(str), errors="coerce")
    return bool(numbers.notna().sum() > MOST * column.iloc[:SHOWN_ROWS].notna().sum())
