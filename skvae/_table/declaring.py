"""From what a user declares of columns to rules that hold in all training rows."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from skvae._table.columns import Column
from skvae._table.declared import Combination, Declared, Difference, Order, Sum
from skvae._table.kinds import KINDS, FloatArray
from skvae._table.levels import Levels
from skvae._table.tables import Table

ORDERS = ("<=", "<", ">=", ">")
SIGNS = {"+": 1.0, "-": -1.0}
EQUAL = ("=", "==")
EXACT = 2.0**53  # whole numbers beyond are not all floats
CLOSE, ROUNDINGS = 1e-9, 8  # of the sizes of what is added up, or of roundings of these: so near to its sum is a sum
MOST_VALUES = 256  # of a column of numbers in a combination
FORMS = (
    "('check_in', '<=', 'check_out') (or '<', '>=', '>'), ('total', '=', 'net', '+', 'tax') (or '-'), or of columns "
    "whose combinations are those of the training rows ('city', 'country')"
)


class Asked(NamedTuple):
    """One rule as it was declared: its columns by their places, and the signs between them (none of a combination)."""

    told: str
    columns: tuple[int, ...]
    signs: tuple[str, ...]

    @property
    def is_order(self) -> bool:
        """Whether it compares columns."""
        return bool(self.signs) and self.signs[0] in ORDERS

    @property
    def is_sum(self) -> bool:
        """Whether it says what a column adds up to."""
        return bool(self.signs) and not self.is_order

    def pairs(self) -> Iterator[tuple[int, int, bool]]:
        """Of an order the smaller and the greater column, one after the other, and whether they always differ."""
        for (left, right), sign in zip(pairwise(self.columns), self.signs, strict=True):
            yield (left, right, sign == "<") if sign[0] == "<" else (right, left, sign == ">")


def read_rules(rules: Any, names: Sequence[Hashable]) -> list[Asked]:
    """Rules as declared.

    Raises
    ------
    TypeError
        If they are not a list of tuples of a known form.
    ValueError
        If they name a column that is not there, or one twice, or two of them say what a column adds up to.
    """
    if rules is None:
        return []
    if not isinstance(rules, list | tuple) or any(
        not isinstance(rule, list | tuple) or len(rule) < 2 for rule in rules
    ):
        raise TypeError(f"rules must be a list of tuples: {FORMS}. Got {rules!r}.")
    place = {name: j for j, name in enumerate(names)}
    asked = [_read(tuple(rule), place) for rule in rules]
    targets = [rule.columns[0] for rule in asked if rule.is_sum]
    twice = [names[j] for j in targets if targets.count(j) > 1]
    if twice:
        raise ValueError(f"rules say twice what column {twice[0]!r} adds up to. Leave one of them out.")
    return asked


def _read(rule: tuple[Any, ...], place: Mapping[Hashable, int]) -> Asked:
    signs = rule[1::2] if _is_formula(rule, place) else ()
    names = rule[::2] if signs else rule
    unknown = [name for name in names if not isinstance(name, Hashable) or name not in place]
    if unknown:
        raise ValueError(
            f"The rule {rule!r} names column(s) {unknown!r} that X does not have. Its columns are "
            f"{list(place)[:10]!r}{' ...' if len(place) > 10 else ''}; those of an array are named by their index."
        )
    if len(set(names)) < len(names):
        raise ValueError(f"The rule {rule!r} names a column twice.")
    asked = Asked(repr(rule), tuple(place[name] for name in names), signs)
    is_right = len(names) > 1
    if signs:
        is_sum = signs[0] in EQUAL and all(sign in SIGNS for sign in signs[1:])
        is_right = len(rule) % 2 == 1 and (is_sum or all(sign in ORDERS for sign in signs))
    if not is_right:
        raise TypeError(f"rules must be tuples such as {FORMS}. Got {rule!r}.")
    return asked


def _is_formula(rule: tuple[Any, ...], place: Mapping[Hashable, int]) -> bool:
    """Whether it is one of signs between columns, and not a list of columns."""
    sign = rule[1]
    return isinstance(sign, str) and sign in (*ORDERS, *EQUAL, *SIGNS) and sign not in place


# -- what the model is to see ------------------------------------------------------------------------------------------


def differences(asked: Sequence[Asked], table: Table, kinds: Sequence[str], *, bounded: bool) -> tuple[Difference, ...]:
    """Columns that the model sees as differences to another, a base before what stands on it.

    Of each order one of the two is, unless it is a difference already, follows from a sum or is no real number.
    """
    sums = {rule.columns[0] for rule in asked if rule.is_sum}
    found = dict[int, Difference]()
    for left, right, _ in (pair for rule in asked if rule.is_order for pair in rule.pairs()):
        if not all(_is_real(table, j, kinds[j]) for j in (left, right)):
            continue
        for target, base, sign in ((right, left, 1.0), (left, right, -1.0)):
            if target not in found and target not in sums and target not in _chain(base, found):
                reach = _extent(table.numbers(target)) if bounded else (-np.inf, np.inf)
                found[target] = Difference(target, base, sign, *reach)
                break
    return tuple(sorted(found.values(), key=lambda one: len(_chain(one.target, found))))


def _chain(j: int, found: Mapping[int, Difference]) -> list[int]:
    """A column, its base, the base of that, and so on."""
    return [j, *(_chain(found[j].base, found) if j in found else [])]


def _is_real(table: Table, j: int, kind: str) -> bool:
    """Whether column j is a number that varies and may be any, so that a difference is one, too."""
    if KINDS[kind].is_coded or not KINDS[kind].is_scaled or KINDS[kind].bend is not None:
        return False
    values = table.numbers(j)
    values = values[~np.isnan(values)]
    return bool(len(values) and np.ptp(values) > 0.0 and np.abs(values).max() < EXACT)


def unpooled(asked: Sequence[Asked]) -> set[int]:
    """Columns whose rare levels must not share a code."""
    return {j for rule in asked if not rule.is_sum for j in rule.columns}


# -- what holds --------------------------------------------------------------------------------------------------------


def declare(
    asked: Sequence[Asked], table: Table, columns: Sequence[Column], seen_as: tuple[Difference, ...], *, bounded: bool
) -> Declared | None:
    """The rules of a table whose columns are known; None where there is none.

    Raises
    ------
    TypeError
        If a rule compares, adds up or combines columns that cannot be.
    ValueError
        If training rows break a rule.
    """
    if not asked:
        return None
    values = _values(asked, table, columns)
    orders, sums, combinations = list[Order](), list[Sum](), list[Combination]()
    for rule in asked:
        _check_columns(rule, columns, values)
        own = {j: _extent(values[:, j]) if bounded else (-np.inf, np.inf) for j in rule.columns}
        if rule.is_order:
            for left, right, strict in rule.pairs():
                orders.append(_order(rule, left, right, columns, values, strict=strict, high=own[right][1]))
        elif rule.is_sum:
            close = max(CLOSE, ROUNDINGS * float(np.finfo(table.dtype).eps))
            sums.append(Sum(rule.told, rule.columns[0], rule.columns[1:], _signs(rule), tuple(own.values()), close))
        else:
            combinations.append(_combination(rule, values))
    out = Declared(tuple(orders), tuple(sums), tuple(combinations), seen_as)
    _refuse_broken(out, values)
    return out


def went_on(declared: Declared, table: Table, columns: Sequence[Column]) -> Declared:
    """The same with the combinations of further rows; ValueError where these break another rule."""
    values = _read_columns(declared.columns, table, columns)
    _refuse_broken(Declared(declared.orders, declared.sums), values)
    more = []
    for rule in declared.combinations:
        counts = dict(zip(rule.seen, rule.counts, strict=True))
        for own, n in _counted(values[:, rule.columns]).items():
            counts[own] = counts.get(own, 0.0) + n
        more.append(rule._replace(seen=tuple(counts), counts=tuple(counts.values())))
    return Declared(declared.orders, declared.sums, tuple(more), declared.differences)


def _values(asked: Sequence[Asked], table: Table, columns: Sequence[Column]) -> FloatArray:
    return _read_columns(sorted({j for rule in asked for j in rule.columns}), table, columns)


def _read_columns(places: Sequence[int], table: Table, columns: Sequence[Column]) -> FloatArray:
    """Values and codes of some columns, NaN in the others, (n, p)."""
    out = np.full((len(table), len(columns)), np.nan)
    for j in places:
        out[:, j] = columns[j].read(table, j)
    return out


def _check_columns(rule: Asked, columns: Sequence[Column], values: FloatArray) -> None:
    own = [columns[j] for j in rule.columns]
    families = [column.dtype.family for column in own]
    kinds = dict(zip([column.name for column in own], families, strict=True))
    left_out = [column.name for column in own if column.is_left_out]
    if left_out:
        raise TypeError(f"The rule {rule.told} names column {left_out[0]!r}, whose text the model leaves out.")
    if not rule.signs:
        many = [
            c.name
            for c, j in zip(own, rule.columns, strict=True)
            if c.levels is None and _n_values(values[:, j]) > MOST_VALUES
        ]
        if many:
            raise TypeError(
                f"The rule {rule.told} is one of combinations, but column {many[0]!r} has more than {MOST_VALUES} "
                f"different numbers. If they are codes, make it a category with astype('category')."
            )
        return
    orders = {column.levels.categories for column in own if column.levels is not None and column.levels.ordered}
    is_ordered = rule.is_order and len(orders) == 1 and None not in orders and set(families) == {"ordered"}
    if not is_ordered and any(column.levels is not None for column in own):
        raise TypeError(
            f"The rule {rule.told} needs columns of numbers or of dates, or ordered categories with the same levels to "
            f"compare. Got {kinds!r}."
        )
    dates, times = ([family in of for family in families] for of in (("date",), ("date", "duration")))
    if any(times) and not (all(times) and (_adds_up(dates, rule) if rule.is_sum else len(set(dates)) == 1)):
        raise TypeError(
            f"The rule {rule.told} mixes kinds of columns: {kinds!r}. Dates compare with "
            f"dates and durations with durations; a date and a duration make a date, and the "
            f"difference of two dates is a duration."
        )


def _signs(rule: Asked) -> tuple[float, ...]:
    """Those of the terms of a sum."""
    return (1.0, *(SIGNS[sign] for sign in rule.signs[1:]))


def _adds_up(is_date: Sequence[bool], rule: Asked) -> bool:
    """Whether dates and durations make what the sum is: there is a date more than are taken away, or none."""
    target, *terms = is_date
    return sum(sign * float(own) for sign, own in zip(_signs(rule), terms, strict=True)) == float(target)


def _n_values(values: FloatArray) -> int:
    return len(np.unique(values[~np.isnan(values)]))


def _extent(values: FloatArray) -> tuple[float, float]:
    seen = values[~np.isnan(values)]
    return (float(seen.min()), float(seen.max())) if len(seen) else (-np.inf, np.inf)


def _order(
    rule: Asked, left: int, right: int, columns: Sequence[Column], values: FloatArray, *, strict: bool, high: float
) -> Order:
    """One of an order's pairs, with the least distance that rows have where they keep it."""
    levels = [columns[j].levels for j in (left, right)]
    if levels[0] is not None and levels[1] is not None:
        first, second = (_ranks(own) for own in levels if own is not None)
        return Order(rule.told, left, right, strict, float(strict), max(second, default=0.0), (first, second))
    apart = values[:, right] - values[:, left]
    least = float(np.nanmin(apart)) if not np.isnan(apart).all() else 0.0
    return Order(rule.told, left, right, strict, max(least, 0.0), high)


def _ranks(levels: Levels) -> tuple[float, ...]:
    """Where the level of each code stands among all that the dtype declares."""
    place = {value: i for i, value in enumerate(levels.categories or ())}
    return tuple(float(place[value]) for value in levels.values)


def _combination(rule: Asked, values: FloatArray) -> Combination:
    counts = _counted(values[:, rule.columns])
    return Combination(rule.told, rule.columns, tuple(counts), tuple(counts.values()))


def _counted(values: FloatArray) -> dict[tuple[float, ...], float]:
    """How often each row without a missing cell occurs."""
    rows, counts = np.unique(values[~np.isnan(values).any(axis=1)], axis=0, return_counts=True)
    return dict(zip(map(tuple, rows.tolist()), counts.astype(float).tolist(), strict=True))


def _refuse_broken(declared: Declared, values: FloatArray) -> None:
    """Raise ValueError with how many rows break each rule."""
    broken = dict[str, Any]()
    for rule in declared.formulas:
        broken[rule.told] = broken.get(rule.told, False) | rule.broken(values)
    counts = {told: int(rows.sum()) for told, rows in broken.items() if rows.any()}
    if counts:
        each = "; ".join(
            f"{told} by {n:,} (the first of them row {int(broken[told].argmax())})" for told, n in counts.items()
        )
        raise ValueError(
            f"Of {len(values):,} training rows some break the rules: {each}. Mend these rows or leave them "
            f"out, or do so with the rules."
        )
