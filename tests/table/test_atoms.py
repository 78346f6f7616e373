"""Atoms: which single values hold rows enough of a column, and where they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skvae._table.atoms import ROWS, SHARE, atom_of, find_atoms

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
