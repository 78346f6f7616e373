"""Columns that another one determines: found where all rows say so, and then drawn and filled as it says."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skvae._table.columns import Coded, Column, Number
from skvae._table.kinds import FloatArray
from skvae._table.tables import Table

FIRST_ROWS, ROWS = 2_000, 20_000  # evenly spaced, which rule relations out; those that are left must hold in all
MOST_COLUMNS = 80  # of few values, the first, that are compared with one another
MOST_VALUES = 256  # of a column that determines another
CHANCE = 1e-6  # that one of all relations that are looked for holds although nothing depends on anything


class Relation(NamedTuple):
    """Column `target` has the i-th of `values` where column `source` has the i-th of `keys`, ascending."""

    source: int
    target: int
    keys: tuple[float, ...]
    values: tuple[float, ...]

    def told(self, source: FloatArray) -> FloatArray:
        """What it says of the target, (n,), by values or codes of the source; NaN where it says nothing."""
        keys = np.asarray(self.keys)
        place = np.minimum(np.searchsorted(keys, source), len(keys) - 1)
        out: FloatArray = np.where(keys[place] == source, np.asarray(self.values)[place], np.nan)
        return out

    def keys_of(self, value: float) -> tuple[float, ...]:
        """What the source may be where the target has a value."""
        return tuple(key for key, own in zip(self.keys, self.values, strict=True) if own == value)

    @property
    def inverse(self) -> Relation | None:
        """The same the other way round, where each determines the other."""
        if len(set(self.values)) < len(self.values):
            return None
        order = np.argsort(self.values)
        keys, values = (tuple(np.asarray(side)[order].tolist()) for side in (self.values, self.keys))
        return Relation(self.target, self.source, keys, values)


def is_kept(relation: Relation, table: Table, columns: Sequence[Column]) -> bool:
    """Whether all rows of a table keep a relation; what it says nothing of breaks it."""
    source, target = (columns[j].read(table, j) for j in (relation.source, relation.target))
    both = ~np.isnan(source) & ~np.isnan(target)
    return bool((relation.told(source)[both] == target[both]).all())


class _Grouped(NamedTuple):
    """A column's distinct values, and which each row has (-1 where missing)."""

    values: FloatArray
    codes: NDArray[np.intp]

    @classmethod
    def of(cls, table: Table, j: int, column: Column) -> _Grouped:
        """That of values, or of the codes of levels."""
        values, codes = np.unique(column.read(table, j), return_inverse=True)
        n_real = len(values) - int(np.isnan(values).sum())
        return cls(values[:n_real], np.where(codes < n_real, codes, -1))

    def take(self, rows: slice) -> _Grouped:
        return self._replace(codes=self.codes[rows])


def find_relations(table: Table, columns: Sequence[Column], but: Container[int] = ()) -> tuple[Relation, ...]:
    """The relations that all rows keep, each target with one source that is itself no target.

    Levels, truth values and numbers of few values may be either, `but` for some columns. Only frames
    are looked at.
    """
    if not table.is_frame:
        return ()
    places = [j for j, column in enumerate(columns) if j not in but and _is_discrete(column)][:MOST_COLUMNS]
    some = table.evenly(ROWS)
    groups = {j: _Grouped.of(some, j, columns[j]) for j in places}
    groups = {j: group for j, group in groups.items() if 2 <= len(group.values) <= MOST_VALUES}
    roots = sorted(groups, key=lambda j: (-len(groups[j].values), j))  # what determines is at least as fine
    few, log_chance = slice(None, None, -(-len(some) // FIRST_ROWS)), np.log(CHANCE / max(len(groups), 1) ** 2)
    found = dict[int, Relation]()
    for i, source in enumerate(roots):
        for target in roots[i + 1 :] if source not in found else []:
            ends = groups[source], groups[target]
            if target in found or not _holds(*(end.take(few) for end in ends)) or not _holds(*ends):
                continue
            whole = ends if some is table else (_Grouped.of(table, j, columns[j]) for j in (source, target))
            if _log_chance(*ends) < log_chance and _holds(*whole):
                found[target] = _relation(source, target, *ends)
    return tuple(found.values())


def _is_discrete(column: Column) -> bool:
    """Whether it may have few values, none of which are pooled."""
    if isinstance(column, Coded):
        return not column.levels.pooled
    return isinstance(column, Number) and (bool(column.atoms) or column.kind == "binary")


def _pairs(source: _Grouped, target: _Grouped) -> NDArray[np.intp]:
    """How often values occur together, (n_source, n_target)."""
    both = (source.codes >= 0) & (target.codes >= 0)
    n, m = len(source.values), len(target.values)
    return np.bincount(source.codes[both] * m + target.codes[both], minlength=n * m).reshape(n, m)


def _holds(source: _Grouped, target: _Grouped) -> bool:
    return bool(((_pairs(source, target) > 0).sum(axis=1) <= 1).all())


def _log_chance(source: _Grouped, target: _Grouped) -> float:
    """Log of the probability that the rows of each value of the source agree if the target does not depend on it."""
    counts = _pairs(source, target)
    share = counts.sum(axis=0) / max(counts.sum(), 1)
    log_share = np.log(share[share > 0.0])
    n = counts.sum(axis=1, keepdims=True)
    return float(np.minimum(np.logaddexp.reduce(n * log_share, axis=1), 0.0)[n[:, 0] > 0].sum())


def _relation(source: int, target: int, of_source: _Grouped, of_target: _Grouped) -> Relation:
    counts = _pairs(of_source, of_target)
    seen = counts.sum(axis=1) > 0
    values = of_target.values[counts[seen].argmax(axis=1)]
    return Relation(source, target, tuple(of_source.values[seen].tolist()), tuple(values.tolist()))
