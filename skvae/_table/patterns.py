"""Rules that say which cells are missing: a level of one column under which another always is, or never."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skvae._table.columns import Atomic, Coded, Column, Number
from skvae._table.kinds import FloatArray
from skvae._table.tables import Table

ROWS = 20_000  # evenly spaced, in which rules are looked for; they must hold in all
FEWEST = 10  # rows on which a rule rests
CHANCE = 1e-3  # that one of all rules that are looked for holds although nothing depends on anything
MOST_MARKS, MARKS_EACH, MOST_POINTS = 6, 2, 50  # columns that cells are missing by, those of one column; their values
FAR = 8.0  # standard deviations of chi-squared, from which on they are believed to ...
SPREAD = 0.05  # ... if shares of missing cells differ by as much
MOST_SOURCES = 500  # columns, the first, that rules may start from


class Rule(NamedTuple):
    """Column `target` is missing, or never is, where column `source` lies from `low` to `high` (numbers or codes)."""

    source: int
    target: int
    low: float
    high: float
    is_missing: bool

    def holds(self, values: FloatArray) -> NDArray[np.bool_]:
        """In which rows of values and codes, (n, p), it says something."""
        inside: NDArray[np.bool_] = (values[:, self.source] >= self.low) & (values[:, self.source] <= self.high)
        return inside

    def apply(self, values: FloatArray, holes: NDArray[np.bool_]) -> None:
        """Let it decide which cells are holes, (n, p), in place."""
        holes[self.holds(values), self.target] = self.is_missing


def find_rules(table: Table, columns: Sequence[Column], but: Container[int] = ()) -> tuple[Rule, ...]:
    """The rules that all rows keep, of columns without a missing cell (`but` for some) about those with some."""
    targets = [j for j, column in enumerate(columns) if column.gap(j)]
    sources = [
        j for j, column in enumerate(columns) if column.missing == 0.0 and column.constant is None and j not in but
    ]
    if not targets or not sources:
        return ()
    some = table.evenly(ROWS)
    holes = np.column_stack([some.missing_in(j) for j in targets])
    found = [
        rule
        for j in sources[:MOST_SOURCES]
        for rule in _candidates(columns[j].read(some, j), columns[j], holes, j, targets, len(sources))
    ]
    return tuple(rule for rule in dict.fromkeys(found) if some is table or is_kept(rule, table, columns))


def find_marks(table: Table, columns: Sequence[Column], but: Container[int] = ()) -> tuple[int, ...]:
    """The columns of few values and no missing cell, `but` for some, that cells are missing by: two for each at most.

    A column is one if the chi-squared statistic of its values and the missing cells of another (Pearson 1900) lies FAR
    standard deviations above the mean of independent ones; the second within the rows of each value of the first.
    """
    targets = [j for j, column in enumerate(columns) if column.gap(j)]
    if not targets:
        return ()
    some = table.evenly(ROWS)
    whole = [j for j, own in enumerate(columns) if own.missing == 0.0 and own.constant is None and j not in but]
    sources = [j for j in whole if 1 <= len(_points(columns[j])) <= MOST_POINTS]
    codes = {j: marks_of(columns[j], columns[j].read(some, j)) for j in sources}
    found = dict[int, float]()
    for target in targets:
        holes = some.missing_in(target)
        strata: FloatArray = np.zeros(len(some))
        for _ in range(MARKS_EACH):
            each = {j: _strength(own, holes, strata) for j, own in codes.items() if j != target}
            best = max(each, key=lambda j: each[j], default=None)
            if best is None or each[best] < FAR:
                break
            found[best] = max(found.get(best, 0.0), each[best])
            strata = codes[best]
    return tuple(sorted(sorted(found, key=lambda j: -found[j])[:MOST_MARKS]))


def marks_of(column: Column, values: FloatArray) -> FloatArray:
    """Values or codes of a column as what its first cell holds: the code, the truth value, or the atom."""
    if not isinstance(column, Atomic):
        return values
    return np.where(np.isnan(values), np.nan, column.atom_of(values, column.dtype))


def _strength(codes: FloatArray, flags: NDArray[np.bool_], strata: FloatArray) -> float:
    """Standard deviations of chi-squared above its mean, of codes and flags in strata (n,); 0 where shares are alike.

    They are if the share of flags of a code is off by less than SPREAD, as a root mean square over rows.
    """
    excess, freedom, spread = 0.0, 0, 0.0
    for stratum in np.unique(strata):
        own, missing = codes[strata == stratum], flags[strata == stratum].astype(float)
        share = missing.mean()
        places = np.unique(own, return_inverse=True)[1]
        counts, sums = np.bincount(places), np.bincount(places, weights=missing)
        if 0.0 < share < 1.0 and len(counts) > 1:
            squares = ((sums - counts * share) ** 2 / counts).sum()
            excess, freedom = excess + squares / (share * (1.0 - share)) - (len(counts) - 1), freedom + len(counts) - 1
            spread += squares / len(codes)
    return float(excess / np.sqrt(2.0 * freedom)) if spread > SPREAD**2 else 0.0


def is_kept(rule: Rule, table: Table, columns: Sequence[Column]) -> bool:
    """Whether all rows of a table keep a rule."""
    values = columns[rule.source].read(table, rule.source)
    inside = (values >= rule.low) & (values <= rule.high)
    return bool((table.missing_in(rule.target)[inside] == rule.is_missing).all())


def _candidates(
    values: FloatArray, column: Column, holes: NDArray[np.bool_], source: int, targets: list[int], n_sources: int
) -> Iterator[Rule]:
    """Rules of one column about the targets, whose cells are `holes` (n, n_targets) or not."""
    share = holes.mean(axis=0)
    points = _points(column)
    log_chance = np.log(CHANCE / (n_sources * len(targets) * (len(points) + 2)))
    for low, high in [*((point, point) for point in points), *_ranges(values, column, holes)]:
        inside = (values >= low) & (values <= high)
        n, missing = int(inside.sum()), holes[inside].sum(axis=0)
        for i, target in enumerate(targets):
            always, never = missing[i] == n, missing[i] == 0
            odds = share[i] if always else 1.0 - share[i]
            if n >= FEWEST and (always or never) and 0.0 < odds < 1.0 and n * np.log(odds) < log_chance:
                yield Rule(source, target, low, high, bool(always))


def _points(column: Column) -> list[float]:
    """Codes, truth values or atoms."""
    if isinstance(column, Coded):
        return [float(code) for code in range(column.levels.n_codes)]
    return [0.0, 1.0] if column.kind == "binary" else list(column.atoms)


def _ranges(values: FloatArray, column: Column, holes: NDArray[np.bool_]) -> Iterator[tuple[float, float]]:
    """Parts of a column of numbers on one side of a value, beyond which a target is always, or never, missing."""
    if not isinstance(column, Number) or column.kind == "binary":
        return
    for flags in holes.T:
        for part in (flags, ~flags):  # all values beyond those of the others
            others = values[~part]
            if len(others) and part.any():
                above, below = values[values > others.max()], values[values < others.min()]
                if len(above):
                    yield float(above.min()), np.inf
                if len(below):
                    yield -np.inf, float(below.max())
