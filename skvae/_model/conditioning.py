"""Rows drawn under a condition: what the user gave, as a table, and the draws that satisfy it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np

from skvae._model.table_model import VAEModel
from skvae._sklearn import MAX_SEED
from skvae._table import frames
from skvae._table.columns import Column, Number
from skvae._table.kinds import KINDS
from skvae._table.relations import Relation
from skvae._table.schema import TableSchema
from skvae._table.tables import LooseRows
from skvae._warnings import warn

DRAWS = 4_096  # latent draws that a condition is resampled from, at least
FEW = 20.0  # training rows with a value that is given, below which a warning says so
OUT_OF_REACH = 10.0  # effective draws below which a warning says so


class Condition(NamedTuple):
    """What each of the rows to draw must be like: `n_each` rows in turn for each partial row given."""

    cells: np.ndarray  # (n, n_cells), encoded, NaN where left open
    values: np.ndarray  # (n, p), values and codes, NaN where left open
    fixed: np.ndarray  # (n, p), bool: where not left open
    n_each: int

    @classmethod
    def read(cls, given: Any, schema: TableSchema, n_each: int, missing: list[int]) -> Condition:
        """From what the user gave (None: no value), and which columns are to be missing; errors as in `read_given`."""
        dtypes = tuple(column.dtype for column in schema.columns)
        partial = LooseRows({}, 1, dtypes) if given is None else read_given(given, schema)
        cells = schema.encode(partial)
        values = np.full((len(partial), len(schema.columns)), np.nan)
        for j in partial.columns:
            levels = schema.columns[j].levels
            values[:, j] = partial.numbers(j) if levels is None else partial.exact_codes(j, levels.exact_code_of())
        for j, gap in schema.cells.gaps.items():
            cells[~np.isnan(values[:, j]), gap] = 0.0  # what is given is not missing
        _refuse_broken(values, schema)
        cells[:, [schema.cells.gaps[j] for j in missing]] = 1.0
        cells, values = np.repeat(cells, n_each, axis=0), np.repeat(values, n_each, axis=0)
        return cls(cells, values, ~np.isnan(values), n_each)

    def of(self, n: int) -> Condition:
        """The same for n rows of each partial row given."""
        if n == self.n_each:
            return self
        parts = (self.cells, self.values, self.fixed)
        cells, values, fixed = (np.repeat(part[:: self.n_each], n, axis=0) for part in parts)
        return Condition(cells, values, fixed, n)


def _refuse_broken(values: np.ndarray, schema: TableSchema) -> None:
    """Raise ValueError where given values, (n, p), break what two columns say, or a rule that was declared."""
    for pair in schema.pairs:
        told = pair.told(*(values[:, j] for j in pair.sources))
        if (np.isnan(told) | np.isnan(values[:, pair.target]) | (told == values[:, pair.target])).all():
            continue
        names = [schema.columns[j].name for j in (pair.target, *pair.sources)]
        raise ValueError(
            f"What given asks for in column {names[0]!r} is not what columns {names[1]!r} and {names[2]!r} have beside "
            f"them in all training rows. Give these two, or the first."
        )
    if schema.declared is None:
        return
    for rule in schema.declared.formulas:
        if rule.broken(values).any():
            raise ValueError(
                f"What given asks for in row {int(rule.broken(values).argmax())} breaks the rule {rule.told}."
            )
    for combination in schema.declared.combinations:
        if not combination.allows(values).all():
            raise ValueError(
                f"What given asks for stands together in no training row, but the rule {combination.told} says that "
                f"only such combinations do."
            )


def read_given(given: Any, schema: TableSchema) -> LooseRows:
    """A dict from columns to values, or a frame of partial rows, checked against what fit saw.

    Raises
    ------
    TypeError
        If it is neither, or a number column is given something else than a number.
    ValueError
        If it names a column or level that fit did not see, a value that the column's likelihood cannot take, or
        another value of a column that was constant.
    """
    if isinstance(given, Mapping):
        columns = {name: [frames.none_if_missing(value)] for name, value in given.items()}
    elif frames.container_of(given) != frames.NUMPY:
        columns = frames.values_of(given)
    else:
        raise TypeError(
            f"given must be a dict from columns to values or a data frame of partial rows. Got "
            f"{type(given).__name__} instead."
        )
    if columns and not len(next(iter(columns.values()))):
        raise ValueError("given is a frame without rows. Pass at least one, or leave given out.")
    if not columns:
        raise ValueError("given names no column. Pass at least one, as in given={'age': 40}, or leave given out.")
    place = {column.name: j for j, column in enumerate(schema.columns)}
    unknown = [name for name in columns if name not in place]
    if unknown:
        raise ValueError(
            f"given names column(s) {unknown!r} that fit did not see. The columns are {list(place)[:10]!r}"
            f"{' ...' if len(place) > 10 else ''}; those of an array are named by their index."
        )
    read = {place[name]: checked(values, schema, place[name]) for name, values in columns.items()}
    for relation in schema.both_ways:
        _relate(relation, read, schema)
    return LooseRows(read, len(next(iter(columns.values()))), tuple(column.dtype for column in schema.columns))


def _relate(relation: Relation, read: dict[int, list[Any]], schema: TableSchema) -> None:
    """Add what a relation says of given values to these, in place; ValueError where they contradict it."""
    source, target = schema.columns[relation.source], schema.columns[relation.target]
    if relation.source not in read:
        return
    given = read.setdefault(relation.target, [None] * len(read[relation.source]))
    for i, value in enumerate(read[relation.source]):
        told = np.nan if value is None else float(relation.told(np.array([source.number_of(value)]))[0])
        if np.isnan(told):
            continue
        wanted = told if target.levels is None else target.levels.values[int(told)]
        if given[i] is not None and given[i] != wanted:
            raise ValueError(
                f"given asks for {given[i]!r} in column {target.name!r} beside {value!r} in column {source.name!r}, "
                f"with which all training rows have {wanted!r}. Give one of the two."
            )
        given[i] = wanted


def checked(values: list[Any], schema: TableSchema, j: int) -> list[Any]:
    """Values given for column j, numbers as floats (times in seconds); errors as in `read_given`."""
    column = schema.columns[j]
    if column.is_left_out and any(value is not None for value in values):
        raise ValueError(
            f"given names column {column.name!r}, which fit left out of the model as its text hardly repeats: nothing "
            f"can be drawn under it. Leave it out of given."
        )
    if column.levels is None:
        values = [None if value is None else to_number(value, column) for value in values]
    if column.constant is not None and j not in schema.as_differences:
        fixed = column.constant if column.levels is None else (column.levels.values or (np.nan,))[0]
        other = [value for value in values if value is not None and value != fixed]
        if other and fixed != fixed:
            raise ValueError(f"given asks for {other[0]!r} in column {column.name!r}, of which fit saw no value.")
        if other:
            raise ValueError(
                f"given asks for {shown(other[0], column)} in column {column.name!r}, which was constant "
                f"({shown(fixed, column)}) in training: "
                f"the model knows no other value."
            )
    elif column.levels is not None:
        known = column.levels.code_of()
        new = [value for value in values if value is not None and not (isinstance(value, Hashable) and value in known)]
        if new:
            levels = ", ".join(repr(level) for level in list(known)[:10])
            raise ValueError(
                f"given asks for level {new[0]!r} in column {column.name!r}, which fit did not see. It saw {levels}"
                f"{', ...' if len(known) > 10 else ''}."
            )
    elif isinstance(column, Number):
        _check_numbers(np.array([value for value in values if value is not None], dtype=np.float64), j, schema)
    return values


def _check_numbers(values: np.ndarray, j: int, schema: TableSchema) -> None:
    """Refuse what the column cannot hold, and warn of what no training row came near to."""
    column, is_difference = schema.columns[j], j in schema.as_differences
    dense = values if is_difference or not isinstance(column, Number) else column.dense(values, column.dtype)
    KINDS[column.kind].accept(dense, column.name)
    low, high = schema.reach(j) if is_difference else (column.low, column.high)
    broken = values[values != np.rint(values)] if column.dtype.family in ("bool", "integer") else values[:0]
    if len(broken) and schema.container != frames.NUMPY:
        own = column.dtype.own
        raise ValueError(f"given asks for {broken[0]:g} in column {column.name!r}, which is of dtype {own}.")
    outside = dense[(dense < low) | (dense > high)]
    if len(outside):
        warn(
            f"given asks for {shown(outside[0], column)} in column {column.name!r}, which is out of the reach of the "
            f"training rows ({shown(low, column)} to {shown(high, column)}): what is drawn beside it "
            f"rests on no row like that.",
        )


def shown(value: Any, column: Column) -> str:
    """A value of a column for people to read."""
    if column.levels is not None:
        return repr(value)
    return frames.shown(value, column.dtype.family) if column.dtype.is_time else f"{value:g}"


def to_number(value: Any, column: Column) -> float:
    """A value given for a column of numbers; TypeError where it is none."""
    if column.dtype.is_time:
        return _second(value, column)
    try:
        number = np.nan if isinstance(value, str) else float(value)
    except (OverflowError, TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise TypeError(f"given must hold finite numbers in number columns. Got {value!r} for column {column.name!r}.")
    return number


def _second(value: Any, column: Column) -> float:
    try:
        return frames.second_of(value, column.dtype.family)
    except (OverflowError, TypeError, ValueError) as error:
        example = "pd.Timestamp('2024-05-17')" if column.dtype.family == "date" else "pd.Timedelta(hours=3)"
        raise TypeError(
            f"given must hold a {column.dtype.family}, such as {example}, in column {column.name!r}. Got {value!r}."
        ) from error


def conditioned(
    model: VAEModel, condition: Condition, random_state: np.random.RandomState, *, aggregated: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Codes under a condition and, for each of its rows, their effective sample size."""
    n = condition.n_each
    n_draws = max(DRAWS, 4 * n)
    seeds = random_state.randint(MAX_SEED, size=len(condition.cells) // n)
    each = [
        model.engine.condition(row[np.newaxis], n, n_draws, int(seed), aggregated=aggregated)
        for row, seed in zip(condition.cells[::n], seeds, strict=True)
    ]
    z, sizes = zip(*each, strict=True)
    warn_if_out_of_reach(np.array(sizes), n_draws)
    return np.concatenate(z), np.array(sizes)


def warn_of_few(condition: Condition, schema: TableSchema) -> None:
    """Say so where a level, a truth value or an atom that is given stands in few training rows."""
    for j in np.flatnonzero(condition.fixed.any(axis=0)):
        if j in schema.as_differences:
            continue
        column = schema.columns[j]
        for value in np.unique(condition.values[condition.fixed[:, j], j]):
            n = schema.n_rows * (1.0 - column.missing) * column.share_of(value)
            if n < FEW:
                given = shown(value, column) if column.levels is None else repr(column.levels.of_exact(int(value)))
                warn(
                    f"About {round(n)} of {schema.n_rows:,} training rows have {given} in column {column.name!r}: what "
                    f"is drawn beside it rests on these few, and may be like the other rows. Fit on more of them."
                )


def warn_if_out_of_reach(sizes: np.ndarray, n_draws: int) -> None:
    """Say so where hardly any draw of the model satisfies a condition."""
    low = np.flatnonzero(sizes < OUT_OF_REACH)
    if len(low):
        which = "" if len(sizes) == 1 else f" {low[0]} (and {len(low) - 1} more)" if len(low) > 1 else f" {low[0]}"
        warn(
            f"Condition{which} is nearly out of the model's reach: the effective sample size is {sizes[low[0]]:.1f} of "
            f"{n_draws} draws, so that rows drawn under it resemble one another or do not fit it well. Give fewer "
            f"columns, or values that are nearer to those of the training rows.",
        )
