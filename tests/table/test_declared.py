"""Rules that were declared, as arithmetic on values: what breaks them, what follows from them, and mending."""

from __future__ import annotations

import numpy as np
import pytest

from skvae._table.declared import Combination, Declared, Difference, Order, Sum

INF = (-np.inf, np.inf)


def none_fixed(values: np.ndarray) -> np.ndarray:
    return np.zeros(values.shape, dtype=bool)


def test_order_says_nothing_of_missing_cells() -> None:
    order = Order("", 0, 1, strict=False, gap=0.0, high=9.0)
    assert order.broken(np.array([[1.0, 2.0], [2.0, 1.0], [np.nan, 1.0], [1.0, np.nan], [1.0, 1.0]])).tolist() == [
        False, True, False, False, False,
    ]  # fmt: skip
    assert order._replace(strict=True).broken(np.array([[1.0, 1.0]])).all()


def test_order_moves_what_is_free_and_keeps_within_reach() -> None:
    order = Order("", 0, 1, strict=True, gap=0.5, high=3.0)
    values = np.array([[2.0, 1.0], [2.9, 1.0], [2.0, 1.0], [2.0, 1.0], [2.0, 1.0]])
    fixed = np.array([[0, 0], [0, 0], [1, 0], [0, 1], [1, 1]], dtype=bool)
    order.mend(values, fixed)
    assert values.tolist() == [[2.0, 2.5], [0.5, 1.0], [2.0, 2.5], [0.5, 1.0], [2.0, 1.0]]


def test_order_of_levels_by_their_places_and_not_by_their_codes() -> None:
    order = Order("", 0, 1, strict=True, gap=1.0, high=3.0, ranks=((0.0, 2.0), (1.0, 2.0, 3.0)))
    values = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [1.0, 2.0]])  # places 0 1, 2 2, 2 1, 2 3
    assert order.broken(values).tolist() == [False, True, True, False]
    order.mend(values, none_fixed(values))
    assert values.tolist() == [[0.0, 0.0], [1.0, 2.0], [1.0, 2.0], [1.0, 2.0]]


def test_sum_is_worked_out_or_solved() -> None:
    rule = Sum("", 0, (1, 2), (1.0, -1.0), (INF,) * 3, 1e-9)
    values = np.array([[9.0, 5.0, 2.0], [9.0, 5.0, 2.0], [9.0, 5.0, 2.0], [np.nan, 5.0, 2.0]])
    fixed = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 1, 1]], dtype=bool)
    rule.derive(values, fixed)
    assert values.tolist() == [[3.0, 5.0, 2.0], [9.0, 5.0, -4.0], [9.0, 11.0, 2.0], [3.0, 5.0, 2.0]]


def test_sum_is_brought_within_reach() -> None:
    rule = Sum("", 0, (1, 2), (1.0, 1.0), ((0.0, 10.0), (0.0, 6.0), (0.0, 6.0)), 1e-9)
    values = np.array([[10.0, 9.0, 1.0], [11.0, 5.0, 6.0], [2.0, 5.0, -3.0]])
    fixed = np.array([[1, 0, 0], [0, 0, 0], [1, 0, 0]], dtype=bool)
    assert rule.out_of_reach(values).all()
    rule.mend(values, fixed)
    assert not (rule.broken(values) | rule.out_of_reach(values)).any()
    assert values[[0, 2], 0].tolist() == [10.0, 2.0]


def test_combination_takes_the_most_like() -> None:
    rule = Combination("", (0, 1, 2), ((0.0, 0.0, 0.0), (1.0, 1.0, 0.0), (1.0, 2.0, 1.0)), (5.0, 1.0, 4.0))
    values = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, np.nan], [1.0, 1.0, 0.0], [3.0, 3.0, 3.0]])
    fixed = np.zeros(values.shape, dtype=bool)
    fixed[1, 2] = True
    assert rule.broken(values).tolist() == [True, True, False, False, True]
    rule.mend(values, fixed)
    assert values[[0, 1, 3, 4]].tolist() == [[0.0, 0.0, 0.0], [1.0, 2.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert rule.allows(np.array([[1.0, np.nan, 1.0], [0.0, 1.0, np.nan]])).tolist() == [True, False]


def test_fixed_values_stay_where_no_combination_has_them() -> None:
    rule = Combination("", (0, 1), ((0.0, 0.0), (1.0, 1.0)), (1.0, 1.0))
    values = np.array([[2.0, 0.0]])
    rule.mend(values, np.array([[True, False]]))
    assert values.tolist() == [[2.0, 0.0]]


def test_differences_stand_on_one_another() -> None:
    """Columns 1 = 0 + difference and 2 = 1 + difference; and 3 = 0 - difference."""
    reach = (0.0, 10.0)
    ruled = Declared(
        differences=(Difference(1, 0, 1.0, *reach), Difference(3, 0, -1.0, *reach), Difference(2, 1, 1.0, *reach))
    )
    values = np.array([[3.0, 1.0, 2.0, 2.0]])
    assert ruled.whole(values).tolist() == [[3.0, 4.0, 6.0, 1.0]]
    known = np.full((1, 4), np.nan)
    known[0, 2] = 9.0
    assert ruled.whole(values, known).tolist() == [[6.0, 7.0, 9.0, 4.0]]
    known[0, 0] = 5.0
    assert ruled.whole(values, known).tolist() == [[5.0, 7.0, 9.0, 3.0]]
    assert ruled.whole(np.array([[9.0, 4.0, 1.0, 12.0]])).tolist() == [[9.0, 10.0, 10.0, 0.0]]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_mended_keeps_rules_and_what_is_fixed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ruled = Declared(
        (Order("", 0, 1, strict=False, gap=0.0, high=5.0), Order("", 1, 2, strict=True, gap=0.1, high=6.0)),
        (Sum("", 5, (0, 3), (1.0, 1.0), (INF,) * 3, 1e-9),),
        (Combination("", (3, 4), ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)), (1.0, 2.0, 3.0)),),
    )
    values = rng.normal(size=(200, 6))
    values[:, 3:5] = rng.integers(0, 2, (200, 2))
    fixed = none_fixed(values)
    fixed[:, rng.integers(6)] = True
    fixed[:, 3] = False
    derived = ruled.derived(values, fixed)
    mended = ruled.mended(derived, fixed)
    assert (mended[fixed] == values[fixed]).all()
    if not fixed[:, 5].any():  # else the terms, one of which is a level, may not be able to add up
        assert not ruled.broken(mended).any()


def test_plain_and_back() -> None:
    ruled = Declared(
        (Order("a", 0, 1, strict=True, gap=1.0, high=2.0, ranks=((0.0,), (1.0, 2.0))),),
        (Sum("b", 0, (1,), (1.0,), (INF, INF), 1e-9),),
        (Combination("c", (0, 1), ((0.0, 1.0),), (2.0,)),),
        (Difference(1, 0, 1.0, 0.0, 1.0),),
    )
    assert Declared.of_plain(ruled.plain()) == ruled
