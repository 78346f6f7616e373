"""Atoms: which single values hold rows enough of a column, and where they are; heaps, which draws lie around."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skvae._table.atoms import HEAP, HEAPED, MOST_HEAPS, ROWS, SHARE, atom_of, find_atoms, find_heaps

quick = settings(max_examples=60, deadline=None)


def column(n, **repeated):
    """Distinct numbers, the first ones replaced by repeats: of 7 under the name n7."""
    values = np.arange(n) + 0.25
    start = 0
    for name, count in repeated.items():
        values[start : start + count] = float(name[1:])
        start += count
    return values


@pytest.mark.parametrize(
    ("n", "count", "is_atom"),
    [
        (100, ROWS, True),
        (100, ROWS - 1, False),  # a fifth of the rows, but too few
        (10_000, 200, True),
        (10_000, 199, False),  # many rows, but too small a share
        (20, 20, True),
    ],
)
def test_an_atom_has_its_share_and_its_rows(n, count, is_atom):
    values = column(n, n7=count)
    assert find_atoms(values, np.ones(n)) == ((7.0,) if is_atom else ())


def test_values_are_atoms_up_to_their_rounding_and_no_further():
    atoms = (-0.1, 0.0, 0.3)
    single = np.array([-0.1, 0.0, 0.3, 0.2999999, 1e-30, 7.0, np.nan], dtype=np.float32).astype(np.float64)
    eps = float(np.finfo(np.float32).eps)
    np.testing.assert_array_equal(atom_of(single, atoms, eps), [1, 2, 3, 0, 0, 0, np.nan])
    np.testing.assert_array_equal(atom_of(single, atoms), [0, 2, 0, 0, 0, 0, np.nan])
    np.testing.assert_array_equal(atom_of(np.array([0.1 * 3, 0.3 + 1e-9]), atoms, 1e-12), [3, 0])


def test_atoms_are_ascending_and_plain_numbers():
    values = np.random.default_rng(0).permutation(column(1000, n9=100, n0=500, n5=30))
    atoms = find_atoms(values, np.ones(1000))
    assert atoms == (0.0, 5.0, 9.0)
    assert all(type(atom) is float for atom in atoms)


def test_the_share_is_one_of_the_weight_and_the_rows_are_counted():
    values = column(1000, n0=100)
    weight = np.ones(1000)
    weight[:100] = SHARE * 900 / (1.0 - SHARE) / 100 * np.array([0.99])
    assert find_atoms(values, weight) == ()
    weight[:100] *= 1.05
    assert find_atoms(values, weight) == (0.0,)
    heavy = np.ones(1000)
    heavy[5] = 1e6  # one row of great weight is one row
    assert find_atoms(column(1000), heavy) == ()


@quick
@given(st.floats(0.1, 10.0))
def test_weights_count_relative_to_one_another(factor):
    values, weight = column(200, n3=40), np.linspace(1.0, 2.0, 200)
    assert find_atoms(values, factor * weight) == find_atoms(values, weight) == (3.0,)


@pytest.mark.parametrize(
    "codes",
    [(0, 1, 2, 3), (-9, -8, -7), (-9, -8, -7, -6, -5, -4, -3), tuple(range(10, 20)), (1e-8, -123456.789, 0.0, 2.0)],
    ids=str,
)
def test_atoms_may_be_neighbours(codes):
    rng = np.random.default_rng(0)
    values = rng.gamma(2.0, 3.0, size=2000)
    values[: 150 * len(codes)] = np.repeat(np.asarray(codes, dtype=float), 150)
    assert find_atoms(values, np.ones(2000)) == tuple(sorted(codes))


@pytest.mark.parametrize("step", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("draw", ["normal", "exponential"])
def test_a_rounded_column_has_no_atoms_but_those_that_stand_out(draw, step):
    values = np.rint(getattr(np.random.default_rng(0), draw)(size=5000) / step) * step
    assert find_atoms(values, np.ones(5000)) == ()
    values[:3000] = 0.0
    assert find_atoms(values, np.ones(5000)) == (0.0,)


def test_a_chance_hit_brings_no_others():
    values = np.random.default_rng(0).normal(0.0, 5.0, size=500).round()
    assert find_atoms(values, np.ones(500)) == ()


def test_negative_zero_is_zero():
    values = column(100, n0=30)
    values[:15] = -0.0
    assert find_atoms(values, np.ones(100)) == (0.0,)
    np.testing.assert_array_equal(atom_of(np.array([0.0, -0.0]), (0.0,)), [1.0, 1.0])


@quick
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6, unique=True),
    st.lists(st.one_of(st.just(np.nan), st.floats(-1e6, 1e6), st.integers(0, 5)), min_size=1, max_size=30),
)
def test_part_says_which_atom_a_value_is(atoms, cells):
    atoms = tuple(sorted(atoms))
    values = np.array([atoms[c % len(atoms)] if isinstance(c, int) else c for c in cells], dtype=float)
    for value, part in zip(values, atom_of(values, atoms), strict=True):
        if np.isnan(value):
            assert np.isnan(part)
        elif value in atoms:
            assert atoms[int(part) - 1] == value
            assert part > 0
        else:
            assert part == 0.0


def test_neighbours_of_an_atom_are_none():
    near = np.nextafter(0.1, [0.0, 1.0])
    np.testing.assert_array_equal(atom_of(np.array([near[0], 0.1, near[1], 5.0, -5.0]), (0.1,)), [0, 1, 0, 0, 0])


PRICES = np.repeat([7.25, 8.05, 13.0, 26.0, 512.3292], [6, 9, 5, 2, 1])


def heaps_of(values, step=None, atoms=(), weight=None):
    return find_heaps(values, np.ones(len(values)) if weight is None else weight, step, atoms)


def gathered(heaps, *draws):
    draws = np.array(draws)
    return heaps.gather(draws, -np.ones(len(draws))).tolist()  # -1 is what stays where it is


def test_draws_gather_at_the_values_that_five_rows_hold_and_at_no_others():
    heaps = heaps_of(PRICES, 0.0001)
    assert heaps.values == (7.25, 8.05, 13.0)
    assert gathered(heaps, 0.0, 7.56, 7.58, 11.1, 11.3, 22.2) == [7.25, 7.25, 8.05, 8.05, 13.0, 13.0]
    assert gathered(heaps, 22.4, 26.0, 300.0, 600.0) == [-1.0] * 4  # on the ground of what one row or two hold


def test_heaps_are_exact_in_the_precision_of_the_draws():
    heaps = heaps_of(np.repeat([0.1, 0.2, 0.7], HEAP))
    drawn = heaps.gather(np.array([0.11, 0.69], dtype=np.float32), np.zeros(2, dtype=np.float32))
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(drawn, np.array([0.1, 0.7], dtype=np.float32))


@pytest.mark.parametrize(("alone", "has_heaps"), [(15, True), (16, False)])
def test_a_column_has_heaps_where_half_of_its_rows_lie_in_them(alone, has_heaps):
    values = np.concatenate([np.repeat([1.0, 50.0, 99.0], HEAP), 100.0 + np.arange(alone) ** 2])
    assert HEAPED == 0.5
    assert (heaps_of(values) is not None) == has_heaps


def test_rows_at_atoms_make_no_heap_and_count_for_none():
    values = np.concatenate([np.zeros(1000), np.random.default_rng(0).normal(size=100)])
    assert heaps_of(values, atoms=(0.0,)) is None
    assert 8.05 not in heaps_of(PRICES, atoms=(8.05,)).values


def test_the_share_in_heaps_and_their_ground_go_by_weight():
    values = np.repeat([1.0, 2.0, 3.5], [HEAP, HEAP, 1])
    assert heaps_of(values, weight=np.repeat([1.0, 1.0, 11.0], [HEAP, HEAP, 1])) is None
    heaps = heaps_of(values, weight=np.repeat([3.0, 1.0, 1.0], [HEAP, HEAP, 1]))
    assert heaps.high[:1] == (1.75,)


dense = np.random.default_rng(0)


@pytest.mark.parametrize(
    "values",
    [
        np.repeat(np.arange(18.0, 66.0), HEAP),
        np.floor(dense.exponential(50.0, 600)),
        dense.geometric(0.02, 600).astype(float),
        np.append(np.rint(dense.normal(40.0, 10.0, 600)), [99_999.0] * 2),
        np.repeat(np.arange(0.0, 17.0 * (MOST_HEAPS + 1), 17.0), HEAP),
        np.full(30, 7.0),
    ],
    ids=["every year", "a tail", "a long tail", "outliers", "too many", "one value"],
)
def test_columns_without_heaps(values):
    assert heaps_of(values, 1.0) is None


def test_gaps_between_steps_are_what_heaps_stand_apart_by():
    ages = np.concatenate([np.repeat(np.arange(2.0, 70.0), HEAP), [0.08, 0.42, 0.75, 0.92]])
    assert len(heaps_of(ages, 0.01).values) == 68
    assert heaps_of(ages, 1.0) is None


@given(
    st.sets(st.integers(0, 12), min_size=2),
    st.lists(st.integers(0, 12), max_size=9),
    st.lists(st.floats(-20, 20), min_size=1, max_size=20),
)
@quick
def test_what_gathers_goes_to_a_value_next_to_it(often, once, draws):
    values, draws = np.array([*sorted(often) * HEAP, *once]) ** 2 / 7.0, np.array(draws)
    heaps = heaps_of(values)
    for draw, got in zip(draws, heaps.gather(draws, draws), strict=True):
        between = (values > min(draw, got)) & (values < max(draw, got))
        assert got == draw or (got in heaps.values and not between.any())
