"""Ranks: what a model draws of a column becomes the value of its training rows at the same rank."""

import numpy as np
import pytest

from skvae._table.atoms import HEAP
from skvae._table.ranks import ENDS, FEWEST, MOST, QUANTILES, Ranks


def between(drawn, values, weight=None):
    return Ranks.between(drawn, values, np.ones(len(values)) if weight is None else weight)


def distance(some, others):
    """The largest difference of two distribution functions."""
    at = np.concatenate([some, others])
    below, other = (np.searchsorted(np.sort(each), at, side="right") / len(each) for each in (some, others))
    return np.abs(below - other).max()


@pytest.fixture
def normal():
    return np.random.default_rng(0).normal(size=20_000)


@pytest.mark.parametrize("n", [FEWEST, 300, 5_000])
def test_draws_have_the_distribution_of_the_training_rows(normal, n):
    values = np.random.default_rng(1).lognormal(sigma=2.0, size=n)
    ranks = between(normal, values)
    told = ranks.told(np.random.default_rng(2).normal(size=20_000))
    assert distance(told, values) < 0.5 / n + 0.02
    assert told.min() >= values.min()
    assert told.max() <= values.max()


def test_the_order_stays(normal):
    ranks = between(normal, np.random.default_rng(1).gamma(1.0, size=1_000))
    assert (np.diff(ranks.told(np.sort(normal))) >= 0.0).all()
    assert (np.diff(ranks.cells) >= 0.0).all()


def test_values_that_repeat_are_drawn_as_often_and_exactly(normal):
    values = np.concatenate([np.repeat([0.1, 0.3, 0.7], [400, 200, 100]), np.linspace(0.0, 1.0, 300)])
    told = between(normal, values).told(normal)
    for value in (0.1, 0.3, 0.7):
        assert np.mean(told == value) == pytest.approx(np.mean(values == value), abs=2.0 / len(values))


def test_what_one_row_holds_is_a_point_and_no_value_of_its_own(normal):
    values = np.random.default_rng(1).normal(size=300)
    assert np.isin(between(normal, values).told(normal), values[1:-1]).mean() < 0.01


def test_a_row_of_weight_3_counts_as_3(normal):
    values = np.repeat(np.arange(30.0), 10)
    weight = np.where(values < 10.0, 3.0, 1.0)
    told = between(normal, values, weight).told(normal)
    assert np.mean(told < 9.5) == pytest.approx(0.6, abs=0.01)
    np.testing.assert_allclose(np.mean(told == 5.0), 0.06, atol=0.006)


def test_of_many_values_it_holds_some_and_all_that_repeat(normal):
    rng = np.random.default_rng(1)
    listed = np.repeat(np.arange(2.0 * MOST), HEAP)
    values = np.concatenate([listed, np.exp(rng.normal(size=30_000) * 3.0)])
    ranks = between(normal, values)
    assert len(ranks.cells) == len(ranks.values) <= 2 * (MOST + QUANTILES + 2 * ENDS)
    assert set(np.sort(values)[-ENDS:]) <= set(ranks.values)
    assert distance(ranks.told(normal), values) < 2.0 / QUANTILES
    assert np.isin(listed, ranks.values).sum() >= HEAP * MOST


def test_too_few_rows_or_draws_make_no_map(normal):
    assert between(normal, np.arange(FEWEST - 1.0)) is None
    assert between(normal[: FEWEST - 1], np.arange(100.0)) is None


def test_draws_keep_their_precision(normal):
    told = between(normal, np.arange(100.0)).told(normal[:5].astype(np.float32))
    assert told.dtype == np.float32
