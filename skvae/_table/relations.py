"""Columns that another one determines: found where all rows say so, and then drawn and filled as it says."""

from __future__ import annotations

from collections.abc import Container, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skvae._table.columns import Coded, Column, Number
from skvae._table.kinds import FloatArray
from skvae._table.tables import Table

FIRST_ROWS, ROWS = 2_000, 20_000  # evenly spaced, which rule relations out; those that are left must hold in all
MOST_COLUMNS = 80  # of few values, the first, that are compared with one another
MOST_VALUES = 256  # of a column that determines another
MOST_IN_PAIRS, MOST_PAIRED_VALUES = 24, 32  # columns of which any two may determine a third, and values of each
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


class PairRelation(NamedTuple):
    """Column `target` has the i-th of `values` where the two `sources` have the i-th of `keys`."""

    sources: tuple[int, int]
    target: int
    keys: tuple[tuple[float, float], ...]
    values: tuple[float, ...]

    def told(self, first: FloatArray, second: FloatArray) -> FloatArray:
        """What it says of the target, (n,), by values or codes of the sources; NaN where it says nothing."""
        known = dict(zip(self.keys, self.values, strict=True))
        pairs = zip(first.tolist(), second.tolist(), strict=True)
        return np.array([known.get(pair, np.nan) for pair in pairs], dtype=np.float64)


def pair_is_kept(relation: PairRelation, table: Table, columns: Sequence[Column]) -> bool:
    """Whether all rows of a table keep one; what it says nothing of breaks it."""
    first, second, target = (columns[j].read(table, j) for j in (*relation.sources, relation.target))
    whole = ~np.isnan(first) & ~np.isnan(second) & ~np.isnan(target)
    return bool((relation.told(first[whole], second[whole]) == target[whole]).all())


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


def find_pairs(
    table: Table, columns: Sequence[Column], relations: Sequence[Relation], but: Container[int] = ()
) -> tuple[PairRelation, ...]:
    """The columns that two others determine together in all rows, and neither of them alone.

    Looked for among the first MOST_IN_PAIRS columns of few values of a frame, `but` for some, that no other determines.
    """
    if not table.is_frame:
        return ()
    told = {relation.target for relation in relations}
    some = table.evenly(ROWS)
    places = [j for j, column in enumerate(columns) if j not in but and j not in told and _is_discrete(column)]
    groups = {j: _Grouped.of(some, j, columns[j]) for j in places}
    groups = {j: group for j, group in groups.items() if 2 <= len(group.values) <= MOST_PAIRED_VALUES}
    groups = dict([*groups.items()][:MOST_IN_PAIRS])
    few, log_chance = slice(None, None, -(-len(some) // FIRST_ROWS)), np.log(CHANCE / max(len(groups), 1) ** 3)
    found = dict[int, PairRelation]()
    for i, j in combinations(groups, 2):
        both = _paired(groups[i], groups[j])
        for target in groups.keys() - {i, j} - found.keys():
            own, used = groups[target], {source for pair in found.values() for source in pair.sources}
            if found.keys() & {i, j} or target in used or not _holds(both.take(few), own.take(few)):
                continue
            if _holds(both, own) and _log_chance(both, own) < log_chance:
                relation = _pair_relation(i, j, target, groups)
                if pair_is_kept(relation, table, columns):
                    found[target] = relation
    return tuple(found.values())


def _paired(first: _Grouped, second: _Grouped) -> _Grouped:
    """Both as one: the number of each pair of values."""
    both = (first.codes >= 0) & (second.codes >= 0)
    codes = np.where(both, first.codes * len(second.values) + second.codes, -1)
    return _Grouped(np.arange(len(first.values) * len(second.values), dtype=np.float64), codes)


def _pair_relation(i: int, j: int, target: int, groups: dict[int, _Grouped]) -> PairRelation:
    single = _relation(i, target, _paired(groups[i], groups[j]), groups[target])
    first, second = np.divmod(np.array(single.keys, dtype=np.intp), len(groups[j].values))
    keys = zip(groups[i].values[first].tolist(), groups[j].values[second].tolist(), strict=True)
    return PairRelation((i, j), target, tuple(keys), single.values)


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
