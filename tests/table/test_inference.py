"""From training rows to a schema: kinds, atoms, bounds and levels of columns."""

import numpy as np
import pandas as pd
import pytest

from skvae._table import frames
from skvae._table.inference import Sought, infer_schema
from skvae._table.levels import MOST_LEVELS
from skvae._table.tables import Table

N = 200


def rows(frame):
    return Table(frame, frames.PANDAS, frames.names_of(frame), frames.dtypes_of(frame), np.dtype(np.float64))


def infer(frame, kinds, weight=None, *, marginals="linear", atoms=True, bounded=True):
    asked = [atoms] * len(kinds) if isinstance(atoms, bool) else atoms
    return infer_schema(rows(frame), weight, kinds, Sought(marginals, asked, bounded))


def one(values, kind="continuous", weight=None, **rules):
    return infer(pd.DataFrame({"c": values}), [kind], weight, **rules).columns[0]


def gains(n=N, share=0.5, seed=0):
    """Mostly 0, else far away, as capital gains are."""
    rng = np.random.default_rng(seed)
    values = rng.lognormal(7.0, 1.0, n)
    values[: round(share * n)] = 0.0
    return values


# -- atoms -----------------------------------------------------------------------------------------------------------


def test_an_atom_is_found_and_the_rest_scaled_by_itself():
    values = gains()
    column, rest = one(values), values[values > 0.0]
    assert column.atoms == (0.0,)
    np.testing.assert_allclose(column.frequencies, [0.5, 0.5])
    assert column.location == pytest.approx(rest.mean())
    assert column.scale == pytest.approx(rest.std())


def test_shares_of_no_atom_and_each_atom_are_those_of_the_weight():
    values = np.r_[np.zeros(50), np.full(30, 99.0), np.linspace(1.0, 20.0, 20)]
    weight = np.r_[np.full(50, 2.0), np.ones(50)]
    column = one(values, weight=weight)
    assert column.atoms == (0.0, 99.0)
    np.testing.assert_allclose(column.frequencies, np.array([20.0, 100.0, 30.0]) / 150.0)


@pytest.mark.parametrize("kind", ["continuous", "positive"])
def test_a_column_of_nothing_but_atoms_leaves_a_row_for_the_rest(kind):
    column = one(np.repeat([1.0, 2.0, 4.0], 60), kind)
    assert column.atoms == (1.0, 2.0, 4.0)
    assert column.frequencies[0] == pytest.approx(1.0 / 181.0)
    assert sum(column.frequencies) == pytest.approx(1.0)
    assert column.scale > 0.1


@pytest.mark.parametrize("kind", ["binary", "count"])
def test_only_densities_have_atoms(kind):
    assert one(np.arange(N) % 2 * 1.0, kind).atoms == ()


def test_atoms_are_looked_for_where_asked():
    frame = pd.DataFrame({"a": gains(), "b": gains(seed=1)})
    columns = infer(frame, ["continuous"] * 2, atoms=[False, True]).columns
    assert [column.atoms for column in columns] == [(), (0.0,)]


def test_an_atom_at_0_spares_the_logarithm_and_another_does_not():
    column, rest = one(gains(), "positive"), np.log(gains()[gains() > 0.0])
    assert column.atoms == (0.0,)
    assert (column.location, column.scale) == (pytest.approx(rest.mean()), pytest.approx(rest.std()))
    with pytest.raises(ValueError, match="The least of column 'c' is 0"):
        one(gains(), "positive", atoms=False)
    few = np.linspace(1.0, 2.0, N)
    few[:3] = 0.0
    with pytest.raises(ValueError, match="The least of column 'c' is 0"):
        one(few, "positive")


def test_missing_cells_and_rows_without_weight_are_no_part_of_the_share():
    values = np.r_[np.zeros(20), np.linspace(1.0, 2.0, 80), np.full(900, np.nan)]
    assert one(values).frequencies[1] == pytest.approx(0.2)
    weight = np.r_[np.ones(19), 0.0, np.ones(980)]
    assert one(values, weight=weight).atoms == ()  # one row too few is left


def test_the_encoder_sees_the_whole_of_a_column_with_atoms():
    column = one(gains(share=0.7))
    encoded = (gains(share=0.7) - column.location) / column.scale
    assert column.centre == pytest.approx(np.median(encoded))


def test_normal_scores_are_those_of_what_is_no_atom():
    values = gains()
    column = one(values, marginals="normal")
    rest = values[values > 0.0]
    scores = column.normal_scores.encode((rest - column.location) / column.scale)
    assert abs(scores.mean()) < 0.1
    assert scores.std() == pytest.approx(1.0, abs=0.2)


# -- bounds ----------------------------------------------------------------------------------------------------------


def test_bounds_are_the_least_and_the_greatest_observed_value_that_has_weight():
    values = np.r_[np.linspace(-3.0, 8.0, N), np.nan, 1e6, -1e6]
    weight = np.r_[np.ones(N + 1), 0.0, 0.0]
    column = one(values, weight=weight)
    assert (column.low, column.high) == (-3.0, 8.0)
    free = one(values, weight=weight, bounded=False)
    assert (free.low, free.high) == (-np.inf, np.inf)


# -- levels ----------------------------------------------------------------------------------------------------------


def test_a_category_keeps_its_dtype_order_and_the_shares_of_its_codes():
    values = pd.Categorical(["b"] * 150 + ["a"] * 50, categories=["z", "b", "a"])
    column = one(values, "categorical")
    assert column.levels.values == ("b", "a")
    assert column.levels.categories == ("z", "b", "a")
    assert not column.levels.ordered
    assert column.frequencies == (0.75, 0.25)
    assert (column.location, column.scale, column.low, column.high) == (0.0, 1.0, -np.inf, np.inf)
    assert column.mean == pytest.approx(0.25)


def test_an_ordered_category_is_ordered_and_never_pooled():
    values = pd.Categorical(np.arange(1000) % 300, ordered=True)
    column = one(values, "ordinal")
    assert column.levels.ordered
    assert column.levels.n_codes == 300 > MOST_LEVELS
    assert one(pd.Categorical(np.arange(1000) % 300), "categorical").levels.n_codes == MOST_LEVELS


def test_levels_of_numbers_and_text_declare_nothing():
    assert one(np.arange(N) % 3, "categorical").levels.categories is None
    assert one(np.arange(N) % 3, "ordinal").levels.values == (0, 1, 2)
    assert one(pd.Series(["x", "y"] * 100, dtype=object), "categorical").levels.categories is None


def test_levels_that_only_rows_without_weight_have_are_unknown():
    values = pd.Categorical(["a", "b"] * 99 + ["c", "c"])
    weight = np.r_[np.ones(198), 0.0, 0.0]
    assert one(values, "categorical", weight).levels.values == ("a", "b")


@pytest.mark.parametrize(("values", "constant"), [(["a"] * N, 0.0), ([None] * N, np.nan)])
def test_fewer_than_two_levels_are_a_constant(values, constant):
    column = one(pd.Categorical(values, categories=["z", "a"]), "categorical")
    np.testing.assert_equal(column.constant, constant)
    assert column.levels.categories == ("z", "a")


@pytest.mark.parametrize(("values", "constant"), [([3.0] * N, 3.0), ([np.nan] * N, np.nan), ([3.0, np.nan] * 100, 3.0)])
def test_a_number_that_does_not_vary_is_a_constant(values, constant):
    column = one(values)
    np.testing.assert_equal(column.constant, constant)
    assert column.atoms == ()


def test_rows_are_counted_without_those_of_no_weight():
    frame = pd.DataFrame({"c": np.arange(10.0)})
    assert infer(frame, ["continuous"], np.r_[np.ones(7), np.zeros(3)]).n_rows == 7
    assert infer(frame, ["continuous"]).n_rows == 10
