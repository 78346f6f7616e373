"""Rules between columns that the user declares: which rows break them, and what is done so that none does.

Of an order, such as check-in before check-out, the model sees the difference where it can, which is never negative. A
sum is worked out. A combination of values that fit did not see, and whatever else breaks a rule, is drawn again, and
mended if that does not help.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skvae._table.kinds import FloatArray

Flags = NDArray[np.bool_]

ROUNDS = 8  # of mending, as what mends one rule may break another
CHUNK = 2**22  # comparisons of rows with combinations at once


class Difference(NamedTuple):
    """What the model sees in place of column `target`: target - base, or base - target where `sign` is -1.

    In draws the target goes from `low` to `high`, or as far as the base does.
    """

    target: int
    base: int
    sign: float
    low: float
    high: float

    def of(self, target: FloatArray, base: FloatArray) -> FloatArray:
        """The difference, from values."""
        return target - base if self.sign > 0.0 else base - target

    def target_of(self, difference: FloatArray, base: FloatArray) -> FloatArray:
        """Inverse of `of`, within reach."""
        out: FloatArray = base + self.sign * difference
        low, high = (
            (self.low, np.maximum(self.high, base)) if self.sign > 0.0 else (np.minimum(self.low, base), self.high)
        )
        return np.clip(out, low, high)


class Order(NamedTuple):
    """Column `left` is at most `right`, or less where it is `strict`: by `gap` at least in training.

    Of ordered levels it compares the places in the order, of which `ranks` has those of the codes of either column.
    """

    told: str
    left: int
    right: int
    strict: bool
    gap: float
    high: float  # the greatest that right may be, or its last place
    ranks: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    @property
    def columns(self) -> tuple[int, ...]:
        """Those that it speaks of."""
        return self.left, self.right

    def broken(self, values: FloatArray) -> Flags:
        """In which rows of values and codes, (n, p), it does not hold; it says nothing of missing cells."""
        left, right = self.sides(values)
        out: Flags = left >= right if self.strict else left > right
        return out

    def sides(self, values: FloatArray) -> tuple[FloatArray, FloatArray]:
        """What is compared, (n,) each."""
        own = values[:, self.left], values[:, self.right]
        if self.ranks is None:
            return own
        left, right = (_at(np.array(ranks), codes) for ranks, codes in zip(self.ranks, own, strict=True))
        return left, right

    def out_of_reach(self, values: FloatArray) -> Flags:
        """In which rows a value that follows from the others is one that the column cannot have."""
        return np.zeros(len(values), dtype=bool)

    def derive(self, values: FloatArray, fixed: Flags) -> None:
        """Nothing follows from an order."""

    def mend(self, values: FloatArray, fixed: Flags, *, downwards: bool = False) -> None:
        """Move the right one up, or the left one down, in place, where they are not `fixed` (n, p)."""
        rows, (left, right) = self.broken(values), self.sides(values)
        may_rise = (left + self.gap <= self.high) & (not downwards)
        up = rows & ~fixed[:, self.right] & (may_rise | fixed[:, self.left])
        down = rows & ~up & ~fixed[:, self.left]
        raised, lowered = left[up] + self.gap, right[down] - self.gap
        if self.ranks is not None:  # the codes of the next level up, and down
            raised = np.minimum(np.searchsorted(self.ranks[1], raised), len(self.ranks[1]) - 1)
            lowered = np.maximum(np.searchsorted(self.ranks[0], lowered, side="right") - 1, 0)
        values[up, self.right], values[down, self.left] = raised, lowered


class Sum(NamedTuple):
    """Column `target` is the sum of `terms`, each with its sign; `reach` says from where to where each of them goes."""

    told: str
    target: int
    terms: tuple[int, ...]
    signs: tuple[float, ...]
    reach: tuple[tuple[float, float], ...]  # of the target, and of each term
    close: float  # how near a sum has to be, as a share of the sizes of what is added up

    @property
    def columns(self) -> tuple[int, ...]:
        """Those that it speaks of."""
        return self.target, *self.terms

    def total(self, values: FloatArray) -> FloatArray:
        """What the terms add up to, in their order."""
        out = np.zeros(len(values), dtype=values.dtype)
        for term, sign in zip(self.terms, self.signs, strict=True):
            out = out + values[:, term] if sign > 0.0 else out - values[:, term]
        return out

    def broken(self, values: FloatArray) -> Flags:
        """In which rows of values and codes, (n, p), it does not hold; it says nothing of missing cells."""
        close = self.close * np.abs(values[:, self.columns]).sum(axis=1)
        out: Flags = np.abs(values[:, self.target] - self.total(values)) > close
        return out

    def out_of_reach(self, values: FloatArray) -> Flags:
        """In which rows a value that follows from the others is one that the column cannot have."""
        own = values[:, self.columns]
        low, high = np.array(self.reach).T
        size = self.close * np.abs(own)
        out: Flags = ((own < low - size) | (own > high + size)).any(axis=1)
        return out

    def derive(self, values: FloatArray, fixed: Flags) -> None:
        """Work the target out, or where it is fixed the last term that is not, in place."""
        total, open_rows = self.total(values), ~fixed[:, self.target]
        _put(values, open_rows, self.target, total)
        rest = values[:, self.target] - total
        for term, sign in reversed([*zip(self.terms, self.signs, strict=True)]):
            rows = ~open_rows & ~fixed[:, term]
            _put(values, rows, term, values[:, term] + sign * rest)
            open_rows |= rows

    def mend(self, values: FloatArray, fixed: Flags, *, downwards: bool = False) -> None:
        """Work it out, and bring what is not fixed within reach as far as that goes, one after the other, in place."""
        self.derive(values, fixed)
        rows = np.flatnonzero(self.out_of_reach(values) | self.broken(values))
        some, held = values[rows], fixed[rows]
        free = ~held[:, self.target]
        some[free, self.target] = np.clip(some[free, self.target], *self.reach[0])
        for term, sign, reach in reversed([*zip(self.terms, self.signs, self.reach[1:], strict=True)]):
            rest, free = some[:, self.target] - self.total(some), ~held[:, term]
            some[free, term] = np.clip(some[free, term] + sign * rest[free], *reach)
        held[~self.broken(some)] = True
        self.derive(some, held)
        values[rows] = some


class Combination(NamedTuple):
    """Values of some columns, numbers or codes, stand together as in one of the rows of `seen`."""

    told: str
    columns: tuple[int, ...]
    seen: tuple[tuple[float, ...], ...]
    counts: tuple[float, ...]  # of training rows

    def broken(self, values: FloatArray) -> Flags:
        """In which rows of values and codes, (n, p), they do not; it says nothing of missing cells."""
        own = values[:, self.columns].astype(np.float64)
        known = set(self.seen)
        whole = ~np.isnan(own).any(axis=1)
        out: Flags = whole & np.fromiter((tuple(row) not in known for row in own.tolist()), dtype=bool, count=len(own))
        return out

    def out_of_reach(self, values: FloatArray) -> Flags:
        """No value follows from the others."""
        return np.zeros(len(values), dtype=bool)

    def derive(self, values: FloatArray, fixed: Flags) -> None:
        """No value follows from the others."""

    def mend(self, values: FloatArray, fixed: Flags, *, downwards: bool = False) -> None:
        """Put the most like of them there, in place: with what is fixed, then with most values, then the most rows."""
        rows, seen, places = np.flatnonzero(self.broken(values)), np.array(self.seen), list(self.columns)
        frequency = np.array(self.counts) / (sum(self.counts) + 1.0)
        size = max(1, CHUNK // (seen.size or 1))
        for part in (rows[start : start + size] for start in range(0, len(rows), size)):
            own, held = values[part][:, places], fixed[part][:, places]
            same = own[:, np.newaxis, :] == seen
            kept = (same | ~held[:, np.newaxis, :]).all(axis=2)
            best = (kept * (len(places) + 1.0) + same.sum(axis=2) + frequency).argmax(axis=1)
            use = kept[np.arange(len(part)), best][:, np.newaxis] & ~held
            values[part[:, np.newaxis], places] = np.where(use, seen[best], own)

    def allows(self, values: FloatArray) -> Flags:
        """Which rows are part of one of them, whatever their missing cells hold."""
        own, seen = values[:, self.columns], np.array(self.seen)
        return np.array([bool(((seen == row) | np.isnan(row)).all(axis=1).any()) for row in own], dtype=bool)


def _at(table: FloatArray, codes: FloatArray) -> FloatArray:
    """What a table has for codes, NaN for NaN."""
    known = ~np.isnan(codes)
    out: FloatArray = np.where(known, table[np.where(known, codes, 0.0).astype(np.intp)], np.nan)
    return out


def _put(values: FloatArray, rows: Flags, j: int, new: FloatArray) -> None:
    """New values of column j in some rows, but for those that are not known."""
    rows = rows & ~np.isnan(new)
    values[rows, j] = new[rows]


@dataclass(frozen=True)
class Declared:
    """All rules that were declared for a table, and the differences that the model sees."""

    orders: tuple[Order, ...] = ()
    sums: tuple[Sum, ...] = ()
    combinations: tuple[Combination, ...] = ()
    differences: tuple[Difference, ...] = ()  # a base before what stands on it

    @property
    def formulas(self) -> list[Order | Sum]:
        """The rules that have to hold, whatever was seen."""
        return [*self.orders, *self.sums]

    @property
    def rules(self) -> list[Order | Sum | Combination]:
        """All of them."""
        return [*self.combinations, *self.formulas]

    @property
    def columns(self) -> list[int]:
        """Those that a rule speaks of."""
        return sorted({j for rule in self.rules for j in rule.columns})

    @property
    def extents(self) -> dict[int, tuple[float, float]]:
        """From where to where columns go that the model sees as differences."""
        return {one.target: (one.low, one.high) for one in self.differences}

    def whole(self, values: FloatArray, known: FloatArray | None = None) -> FloatArray:
        """Values (n, p) with columns in place of their differences; those that are `known` (n, p) stay as they are.

        A base that is not known follows from what stands on it where that is.
        """
        if not self.differences:
            return values
        out = values.copy() if known is None else np.where(np.isnan(known), values, known)
        settled = np.zeros(values.shape, dtype=bool) if known is None else ~np.isnan(known)
        for one in reversed(self.differences):
            rows = settled[:, one.target] & ~settled[:, one.base]
            out[rows, one.base] = out[rows, one.target] - one.sign * values[rows, one.target]
            settled[rows, one.base] = True
        for one in self.differences:
            rows = ~settled[:, one.target]
            out[rows, one.target] = one.target_of(values[rows, one.target], out[rows, one.base])
        return out

    def derived(self, values: FloatArray, fixed: Flags) -> FloatArray:
        """Values (n, p) with what follows from the others; nothing that is `fixed` (n, p) changes."""
        out = values.copy()
        for rule in self.sums:
            rule.derive(out, fixed)
        return out

    def broken(self, values: FloatArray) -> Flags:
        """Which rows (n, p) break a rule, or have a value that its column cannot have."""
        out = np.zeros(len(values), dtype=bool)
        for rule in self.rules:
            out |= rule.broken(values) | rule.out_of_reach(values)
        return out

    def mended(self, values: FloatArray, fixed: Flags) -> FloatArray:
        """Values (n, p) that keep the rules; nothing that is `fixed` (n, p) changes, even where that breaks one."""
        out, rows = values.copy(), np.flatnonzero(self.broken(values))
        for i in range(ROUNDS):  # by turns upwards and downwards, as one end of a chain may be fixed
            if not len(rows):
                break
            some, held = out[rows], fixed[rows]
            for rule in self.rules:
                rule.mend(some, held, downwards=i % 2 == 1)
            out[rows] = some
            rows = rows[self.broken(some)]
        return out

    def plain(self) -> tuple[Any, ...]:
        """Tuples, for persistence."""
        return tuple(tuple(map(tuple, own)) for own in (self.orders, self.sums, self.combinations, self.differences))

    @classmethod
    def of_plain(cls, data: Sequence[Any]) -> Declared:
        """Inverse of `plain`."""
        made = (
            tuple(make(*facts) for facts in own)
            for make, own in zip((Order, Sum, Combination, Difference), data, strict=True)
        )
        return cls(*made)
