"""Columns that cannot be read: one error that names them all, each with its way out."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from skvae._table.frames.dtypes import POLARS, Dtype, container_of, dtypes_of, object_type
from skvae._table.frames.reading import column_at

MOST_NAMES = 30  # in an error
SHOWN_ROWS = 1_000  # that say whether text reads as numbers

# Ways out; what stands in braces is filled in by `_sentence`.
DATES = "turn {it} into numbers first, for example days since a fixed date"
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
        What each column was in fit, "numbers" or "categories"; None while fitting.
    has_likelihood : bool
        Whether the user can choose the likelihood of a column.
    """
    groups: dict[Reason, list[Hashable]] = {}
    for j, (dtype, is_coded, before) in enumerate(zip(dtypes_of(frame), coded, fit, strict=True)):
        if dtype.family == "unreadable" or not (is_coded or dtype.is_number):
            reason = _reason(frame, j, dtype, before)
            groups.setdefault(reason, []).append(frame.columns[j])
    if groups:
        text = "; ".join(_sentence(reason, names, has_likelihood) for reason, names in groups.items())
        # scikit-learn's checks look for "argument must be ... string ... number" in this message.
        raise TypeError(
            f"A column must be numeric or categorical (argument must be a real number, not a string or an object). "
            f"{text}."
        )


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
    came = str(column.dtype) if family in ("text", "unreadable") else family
    if own == "object" and family == "unreadable":
        return _reason_of_objects(column, fit)
    if fit == "categories":
        return Reason(came, AS_IN_FIT)
    if (family == "text" or dtype.is_category) and fit == "numbers":
        return Reason(came, f"fit saw numbers in {{it}}: {NUMERALS[is_polars]}")
    if dtype.is_category:
        return Reason(came, AS_LEVELS)
    if family == "text":
        numerals = _reads_as_numbers(column)
        return Reason(came, f"the text reads as numbers: {NUMERALS[is_polars]}" if numerals else CATEGORICAL[is_polars])
    if "dictionary<" in own or "binary" in own:
        return Reason(came, TEXT_LEVELS)
    if own.startswith("complex"):
        return Reason(came, COMPLEX)
    if any(word in own.lower() for word in ("date", "time", "duration")):
        return Reason(came, DATES)
    return Reason(came, CAST if is_polars else TO_NUMERIC)


def _reason_of_objects(column: Any, fit: str | None) -> Reason:
    """Of a pandas column of Python objects that are neither text nor truth."""
    found = object_type(column)
    if "date" in found or "time" in found:
        return Reason(f"object ({found})", DATES)
    if found in ("integer", "floating", "mixed-integer-float", "decimal"):
        return Reason("object", TO_NUMERIC)
    used = sorted({type(value).__name__ for value in column[column.notna()]})
    came = f"object and holds values of several types ({', '.join(used)})"
    return Reason(came, f"fit saw numbers in {{it}}: {NUMERALS[0]}" if fit == "numbers" and "str" in used else ONE_TYPE)


def _reads_as_numbers(column: Any) -> bool:
    """Whether more than half of some text are numbers."""
    values = [value for value in column.to_list()[:SHOWN_ROWS] if isinstance(value, str)]
    numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce")
    return bool(np.isfinite(numbers.to_numpy(dtype=float)).mean() > 0.5) if values else False
