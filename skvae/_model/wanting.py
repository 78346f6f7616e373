"""What `given` asks for that is more than a value: ranges, several values, missing cells."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skvae._model.conditioning import checked, shown, to_number
from skvae._table.columns import Column
from skvae._table.schema import TableSchema
from skvae._warnings import warn

BATCH, GROWTH, LARGEST = (
    256,
    4,
    16_384,
)  # rows that are drawn at once to be kept or not: at first, the next, at most ...
MOST = 100_000  # ... and in all ...
MOST_UNDER = 20_000  # ... where each costs more, as other columns are given by value

Values = NDArray[np.floating]
Draw = Callable[[int], tuple[Any, Any]]  # n -> values and codes (n, p), effective sample sizes


class Wanted(NamedTuple):
    """Values of one column: those from `low` to `high` (numbers or codes), or where there are `values`, these."""

    column: int
    low: float
    high: float
    values: tuple[float, ...]

    def holds(self, drawn: Values) -> NDArray[np.bool_]:
        """In which rows of values and codes, (n, p), the column has one of them."""
        own = drawn[:, self.column]
        return np.isin(own, self.values) if self.values else (own >= self.low) & (own <= self.high)


class Asked(NamedTuple):
    """What was given: values as `Condition.read` takes them (None without any), sets, and columns to be missing."""

    points: Any
    sets: list[Wanted]
    missing: list[int]

    @classmethod
    def read(cls, given: Any, schema: TableSchema) -> Asked:
        """Errors are as in `VAETransformer.sample`."""
        if not isinstance(given, Mapping):
            return cls(given, [], [])
        place = {column.name: j for j, column in enumerate(schema.columns)}
        points, sets, gaps = dict[Hashable, Any](), list[Wanted](), list[int]()
        for name, value in given.items():
            column = schema.columns[place[name]] if name in place else None
            if column is None or not _is_more(value, column):
                points[name] = value
            elif value == ("missing",):
                gaps.append(_gap(column, place[name], schema))
            else:
                sets.append(_wanted(value, column, place[name], schema))
        sets += _of_sources(points, place, schema)
        return cls(points if points or not given else None, sets, gaps)


def _of_sources(points: Mapping[Hashable, Any], place: Mapping[Hashable, int], schema: TableSchema) -> list[Wanted]:
    """What the source of a relation may be where a value of the target is given, and no value of the source."""
    given, out = {place[name] for name, value in points.items() if name in place and value is not None}, list[Wanted]()
    for relation in schema.relations:
        if relation.target in given and relation.source not in given and relation.inverse is None:
            column = schema.columns[relation.target]
            values = checked([points[column.name]], schema, relation.target)
            keys = relation.keys_of(column.number_of(values[0]))
            out += [Wanted(relation.source, -np.inf, np.inf, keys)] if keys else []
    return out


def _is_more(value: Any, column: Column) -> bool:
    """Whether it is a range, a list or a mark of missing cells; a level may be a tuple, too."""
    is_level = column.levels is not None and isinstance(value, tuple) and value in column.levels.code_of()
    return isinstance(value, slice | list | set | tuple | np.ndarray) and not is_level


def _gap(column: Column, j: int, schema: TableSchema) -> int:
    if not column.missing:
        raise ValueError(f"given asks for missing cells in column {column.name!r}, of which fit saw none missing.")
    if j not in schema.cells.gaps:
        raise ValueError(
            f"given asks for missing cells in column {column.name!r}, of which this model does not know when they are. "
            f"Fit it with missingness='draws'."
        )
    return j


def _wanted(value: Any, column: Column, j: int, schema: TableSchema) -> Wanted:
    if isinstance(value, slice) and value.step is None:
        return _range(value.start, value.stop, column, j)
    if isinstance(value, tuple) and len(value) == 3 and value[0] == "between":
        return _range(value[1], value[2], column, j)
    if isinstance(value, list | set | np.ndarray) and len(value):
        values = checked(list(value), schema, j)
        if column.levels is not None:
            values = [column.levels.exact_code_of()[level] for level in values if level is not None]
        return Wanted(j, -np.inf, np.inf, tuple(float(own) for own in values if own is not None))
    raise TypeError(
        f"given must hold a value, ('between', low, high) or slice(low, high), a list of values, or ('missing',). Got "
        f"{value!r} for column {column.name!r}."
    )


def _range(low: Any, high: Any, column: Column, j: int) -> Wanted:
    """From low to high, ends included; None leaves a side open."""
    if column.levels is not None and not column.levels.ordered:
        raise TypeError(
            f"given asks for a range in column {column.name!r}, whose levels have no order. Give a list of levels, or "
            f"make them ordered."
        )
    first, last = -np.inf if low is None else _end(low, column), np.inf if high is None else _end(high, column)
    if first > last:
        raise ValueError(f"given asks for {low!r} to {high!r} in column {column.name!r}, which is no range.")
    reach = [*column.atoms, column.low, column.high] if column.levels is None else [0, column.levels.n_codes - 1]
    if first > max(reach) or last < min(reach):
        raise ValueError(
            f"given asks for {low!r} to {high!r} in column {column.name!r}, whose training rows range from "
            f"{shown(min(reach), column)} to {shown(max(reach), column)}: no row that is drawn lies there."
        )
    return Wanted(j, first, last, ())


def _end(value: Any, column: Column) -> float:
    if column.levels is None:
        return to_number(value, column)
    if value not in column.levels.values:
        raise ValueError(f"given asks for level {value!r} in column {column.name!r}, which fit did not see.")
    return float(column.levels.values.index(value))


def accepted(draw: Draw, sets: list[Wanted], n: int, *, under_values: bool) -> tuple[Any, Any]:
    """Rows that a function draws, (n, p), kept where they lie in all of some sets; and how many were found, (1,)."""
    found, tried, kept, most = list[Values](), 0, 0, MOST_UNDER if under_values else MOST
    size = max(BATCH, 2 * n)
    while kept < n and tried < max(most, n):
        values = draw(size)[0]
        size = max(size, min(GROWTH * size, LARGEST))
        found.append(values[np.logical_and.reduce([own.holds(values) for own in sets])])
        tried, kept = tried + len(values), kept + len(found[-1])
    rows = np.concatenate(found)
    if not len(rows):
        raise ValueError(
            f"None of {tried:,} rows drawn lies in what given asks for: it is out of the model's reach. Give wider "
            f"ranges or fewer columns."
        )
    if len(rows) < n:
        warn(
            f"Of {tried:,} rows drawn {len(rows)} lie in what given asks for, so that rows repeat. Give wider ranges "
            f"or fewer columns."
        )
        rows = np.resize(rows, (n, rows.shape[1]))
    return rows[:n], np.array([float(kept)])
