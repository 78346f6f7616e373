"""How a table was read, for people: a row for each column, with what was learned of it and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from skvae._table import frames
from skvae._table.columns import Column, Number

FAR = 1.0  # ranges of the other values that an atom lies away from them to be taken for a mark of missing cells
FEWEST_CODES, MOST_CODES = 3, 16  # distinct whole numbers that may well be codes
SHOWN_COLUMNS = 60  # in the printed table
READ_AS = {  # why a column is what it is, where nobody asked for anything else
    "bool": "truth values",
    "integer": "whole numbers",
    "float": "numbers",
    "date": "dates, in seconds since 1970",
    "duration": "durations, in seconds",
    "category": "dtype of categories",
    "ordered": "dtype of ordered categories",
    "text": "text that repeats",
}


def summary(
    columns: Sequence[Column],
    container: str,
    likelihoods: Mapping[int, str],
    asked: Container[int],
    sources: Mapping[int, Sequence[Hashable]],
    bases: Mapping[int, Hashable],
    reach: Callable[[int], tuple[float, float]],
) -> Any:
    """A pandas frame with a row for each column, as `VAETransformer.summary` describes it.

    Parameters
    ----------
    columns : sequence of Column
    container : str
        As in `TableSchema`.
    likelihoods : dict of int to str
        Names of those of the columns in the model, as far as they are known.
    asked : set of int
        Columns of which the user chose the likelihood.
    sources : dict of int to names
        For columns that others determine the names of these.
    bases : dict of int to name
        For columns that are modelled as a difference to another the name of that.
    reach : callable
        From a column to where its values begin and end.
    """
    rows = [
        _row(column, likelihoods.get(j), is_asked=j in asked, is_frame=container != frames.NUMPY)
        for j, column in enumerate(columns)
    ]
    for j, names in sources.items():
        told = f"column {names[0]!r} determines"
        told = told if len(names) == 1 else f"columns {names[0]!r} and {names[1]!r} determine"
        rows[j]["hint"] = f"{told} it: draws and fillings keep to that"
    for j, name in bases.items():
        ends = tuple(_shown(end, columns[j]) for end in reach(j) if math.isfinite(end)) or None
        rows[j] |= {"atoms": None, "bounds": ends, "hint": f"modelled as its difference to {name!r}, as a rule says"}
    return frames.described([column.name for column in columns], rows)


def _row(column: Column, likelihood: str | None, *, is_asked: bool, is_frame: bool) -> dict[str, Any]:
    is_number = isinstance(column, Number)
    ends = [*column.atoms, column.low, column.high] if is_number and math.isfinite(column.high - column.low) else []
    return {
        "dtype": column.dtype.own,
        "kind": _kind(column),
        "why": _why(column, is_asked=is_asked),
        "likelihood": likelihood,
        "levels": None if column.levels is None else column.levels.values + column.levels.pooled,
        "atoms": tuple(_shown(atom, column) for atom in column.atoms) or None,
        "bounds": (_shown(min(ends), column), _shown(max(ends), column)) if ends else None,
        "step": column.step,
        "missing": column.missing,
        "hint": _hint(column, is_frame=is_frame),
    }


def _shown(value: float, column: Column) -> Any:
    return frames.shown(value, column.dtype.family) if column.dtype.is_time else value


def _kind(column: Column) -> str:
    if column.is_left_out:
        return column.kind
    if column.constant is not None:
        return "constant"
    return column.dtype.family if column.dtype.is_time else column.kind


def _why(column: Column, *, is_asked: bool) -> str:
    if column.is_left_out:
        return "text of which most cells are one of a kind"
    if column.constant is not None:
        return "no cell observed" if column.constant != column.constant else "one value only"
    if is_asked:
        return "asked for"
    read_as = READ_AS[column.dtype.family]
    return read_as if column.log_above is None else f"{read_as} over orders of magnitude, seen by their logarithm"


def _hint(column: Column, *, is_frame: bool) -> str | None:
    """What a person would like to be told."""
    if column.is_left_out:
        return "left out of the model: drop it, or make it a category"
    if column.constant is not None:
        return "outside the model, as it does not vary"
    if not isinstance(column, Number):
        pooled = 0 if column.levels is None else len(column.levels.pooled)
        return f"the {pooled} rarest levels share a code" if pooled else None
    mark = _mark_of_missing(column)
    if mark is not None:
        return f"{_shown(mark, column)} stands far from the others: a mark of missing cells?"
    if is_frame and column.is_unique:
        return "no two rows have the same value: an identifier? Then drop it"
    codes = _codes(column)
    if is_frame and codes and not column.dtype.is_time:
        return f"whole numbers {codes[0]:g} to {codes[-1]:g}: a category? Then say so with astype('category')"
    return None


def _mark_of_missing(column: Number) -> float | None:
    """The least or the greatest atom, if it lies far from all other values."""
    others = [value for value in (*column.atoms, column.low, column.high) if math.isfinite(value)]
    for atom in sorted({min(column.atoms), max(column.atoms)}) if column.atoms else []:
        rest = [value for value in others if value != atom]
        away = max(min(rest) - atom, atom - max(rest)) if rest else 0.0
        if away > FAR * (max(rest, default=0.0) - min(rest, default=0.0)) > 0.0:
            return atom
    return None


def _codes(column: Number) -> tuple[float, ...] | None:
    """The atoms of a column that holds nothing but few whole numbers in a row."""
    atoms = column.atoms
    if not FEWEST_CODES <= len(atoms) <= MOST_CODES or not (column.low in atoms and column.high in atoms):
        return None
    return atoms if np.array_equal(atoms, np.arange(atoms[0], atoms[0] + len(atoms))) else None


def as_text(table: Any) -> str:
    """The table for a terminal."""
    return frames.printed(table, SHOWN_COLUMNS)


def as_html(table: Any) -> str:
    """The table for a notebook."""
    return frames.printed(table, SHOWN_COLUMNS, html=True)
