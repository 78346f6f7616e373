"""What `given` asks for that is more than a value: ranges, several values, missing cells."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skvae._model.conditioning import checked, shown, to_number
from skvae._table.columns import Column
from skvae._table.relations import PairRelation
from skvae._table.schema import TableSchema
from skvae._warnings import warn

BATCH, GROWTH, LARGEST = (
    256,
    4,
    16_384,
)  # rows that are drawn at once to be kept or not: at first, the next, at most ...
MOST = 100_000  # ... and in all ...
MOST_UNDER = 20_000  # ... where each costs more, as other columns are given by value
WIDTH = 0.01  # of a column's range, around a value to which rows are moved

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


class WantedOfPair(NamedTuple):
    """A value that two columns determine together."""

    relation: PairRelation
    value: float

    def holds(self, drawn: Values) -> NDArray[np.bool_]:
        """In which rows of values and codes, (n, p), they do not say something else."""
        told = self.relation.told(*(drawn[:, j] for j in self.relation.sources))
        out: NDArray[np.bool_] = np.isnan(told) | (told == self.value)
        return out


class Near(NamedTuple):
    """A value of a column that the model sees as a difference to another, which is left open.

    All columns that are `tied` by differences to it are moved together.
    """

    column: int
    tied: tuple[int, ...]
    value: float


class Asked(NamedTuple):
    """What was given: values as `Condition.read` takes them (None without any), sets, and columns to be missing.

    Values that are `near` are in the sets as ranges around them: rows are drawn there and then moved.
    """

    points: Any
    sets: list[Wanted | WantedOfPair]
    missing: list[int]
    near: list[Near]

    @classmethod
    def read(cls, given: Any, schema: TableSchema) -> Asked:
        """Errors are as in `VAETransformer.sample`."""
        if not isinstance(given, Mapping):
            return cls(given, [], [], [])
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
        near = _near(points, place, schema)
        sets += [_around(one, schema) for one in near]
        _refuse_contradiction(points, sets, place, schema)
        points = {name: value for name, value in points.items() if place.get(name) not in {one.column for one in near}}
        together = _of_pairs(points, place, schema)
        return cls(points if points or not given else None, [*sets, *together], gaps, near)


def _near(points: Mapping[Hashable, Any], place: Mapping[Hashable, int], schema: TableSchema) -> list[Near]:
    """Values that are given of differences, where none is given of what they stand on."""
    given = {place[name]: value for name, value in points.items() if name in place and value is not None}
    out = list[Near]()
    for one in schema.differences:
        if one.target in given and one.base not in given:
            value = checked([given[one.target]], schema, one.target)[0]
            out.append(Near(one.target, schema.tied(one.target), float(value)))
    return out


def _around(one: Near, schema: TableSchema) -> Wanted:
    low, high = schema.reach(one.column)
    width = WIDTH * (high - low)
    return Wanted(one.column, one.value - width, one.value + width, ())


def exactly(values: Values, near: list[Near], schema: TableSchema) -> Values:
    """Rows (n, p) drawn near some values moved to these, with the differences that they have."""
    out = values.copy() if near else values
    for column, tied, value in near:
        moved = value - out[:, column]
        for j in tied:
            out[:, j] = np.clip(out[:, j] + moved, *schema.reach(j))
        out[:, column] = value
        fixed = np.zeros(out.shape, dtype=bool)
        fixed[:, column] = True
        out = schema.settled(out, fixed)
    return out


def _refuse_contradiction(
    points: Mapping[Hashable, Any], sets: list[Wanted], place: Mapping[Hashable, int], schema: TableSchema
) -> None:
    """Raise ValueError where no row can keep both what is given and an order that was declared."""
    if schema.declared is None:
        return
    ends = {own.column: _ends(own) for own in sets if schema.columns[own.column].levels is None}
    for name, value in points.items():
        if name in place and value is not None and schema.columns[place[name]].levels is None:
            number = float(checked([value], schema, place[name])[0])
            ends[place[name]] = (number, number)
    orders = schema.declared.orders
    for order in orders * len(orders):  # what the left one is at least, the right one is, too, and so on
        low, high = ends.get(order.left, (-np.inf, np.inf))[0], ends.get(order.right, (-np.inf, np.inf))[1]
        if low > high or (order.strict and low == high):
            raise ValueError(f"What given asks for breaks the rule {order.told}.")
        ends[order.right] = (max(low, ends.get(order.right, (-np.inf, np.inf))[0]), high)


def _ends(own: Wanted) -> tuple[float, float]:
    return (min(own.values), max(own.values)) if own.values else (own.low, own.high)


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


def _of_pairs(points: Mapping[Hashable, Any], place: Mapping[Hashable, int], schema: TableSchema) -> list[WantedOfPair]:
    """What two columns may be together where a value of a third is given that they determine, and not of both."""
    given = {place[name]: value for name, value in points.items() if name in place and value is not None}
    out = list[WantedOfPair]()
    for pair in schema.pairs:
        if pair.target in given and not set(pair.sources) <= given.keys():
            value = checked([given[pair.target]], schema, pair.target)[0]
            out.append(WantedOfPair(pair, schema.columns[pair.target].number_of(value)))
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
        return _range(value.start, value.stop, j, schema)
    if isinstance(value, tuple) and len(value) == 3 and value[0] == "between":
        return _range(value[1], value[2], j, schema)
    if isinstance(value, list | set | np.ndarray) and len(value):
        values = checked(list(value), schema, j)
        if column.levels is not None:
            values = [column.levels.exact_code_of()[level] for level in values if level is not None]
        return Wanted(j, -np.inf, np.inf, tuple(float(own) for own in values if own is not None))
    raise TypeError(
        f"given must hold a value, ('between', low, high) or slice(low, high), a list of values, or ('missing',). Got "
        f"{value!r} for column {column.name!r}."
    )


def _range(low: Any, high: Any, j: int, schema: TableSchema) -> Wanted:
    """From low to high, ends included; None leaves a side open."""
    column = schema.columns[j]
    if column.levels is not None and not column.levels.ordered:
        raise TypeError(
            f"given asks for a range in column {column.name!r}, whose levels have no order. Give a list of levels, or "
            f"make them ordered."
        )
    first, last = -np.inf if low is None else _end(low, column), np.inf if high is None else _end(high, column)
    if first > last:
        raise ValueError(f"given asks for {low!r} to {high!r} in column {column.name!r}, which is no range.")
    reach = schema.reach(j)
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


def accepted(draw: Draw, sets: Sequence[Wanted | WantedOfPair], n: int, *, under_values: bool) -> tuple[Any, Any]:
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
