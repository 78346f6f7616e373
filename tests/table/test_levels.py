"""The levels of a column of categories: codes, unknown and pooled levels, draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skvae._table.levels import MOST_LEVELS, Levels, infer_levels

quick = settings(max_examples=60, deadline=None)
labels = st.one_of(st.text(max_size=3), st.integers(-5, 5), st.none())


def inferred(codes, values, weight=None, *, categories=None, ordered=False, pools=True):
    codes = np.asarray(codes)
    weight = np.ones(len(codes)) if weight is None else np.asarray(weight, dtype=float)
    return infer_levels(codes, values, weight, categories=categories, ordered=ordered, pools=pools)


def many(n_levels, n_common=10, seed=0):
    """Codes under `n_levels` values, of which the last ones are common and every other stands once or twice."""
    rng = np.random.default_rng(seed)
    codes = np.concatenate(
        [
            np.arange(n_levels),
            np.arange(0, n_levels, 2),
            np.repeat(np.arange(n_levels - n_common, n_levels), 50 + np.arange(n_common)),
        ]
    )
    return rng.permutation(codes), [f"v{i:06d}" for i in range(n_levels)]


@quick
@given(st.lists(labels, min_size=1, max_size=30))
def test_decode_undoes_encode(cells):
    values = sorted({cell for cell in cells if cell is not None}, key=repr)
    codes = np.array([-1 if cell is None else values.index(cell) for cell in cells])
    levels, _ = inferred(codes, values)
    own = levels.encode(codes, values)
    assert levels.decode(own, None) == cells
    np.testing.assert_array_equal(np.isnan(own), codes < 0)


def test_codes_are_those_of_the_level_whatever_the_order_of_the_values():
    levels, _ = inferred([0, 1, 2, 1], ["x", "y", "z"])
    np.testing.assert_array_equal(levels.encode(np.array([2, 0, 1, -1]), ["z", "x", "y"]), [1, 2, 0, np.nan])
    assert levels.n_codes == 3


def test_only_levels_in_use_have_a_code_and_the_declared_ones_are_kept():
    levels, frequencies = inferred([3, 0, 3, 3], ["a", "b", "c", "d"], categories=("a", "b", "c", "d"), ordered=True)
    assert levels.values == ("a", "d")
    assert levels.categories == ("a", "b", "c", "d")
    assert levels.ordered
    assert frequencies == (0.25, 0.75)


def test_shares_of_the_codes_count_weights_and_no_missing_cells():
    levels, frequencies = inferred([0, 1, 1, -1, 2], ["a", "b", "c"], [1.0, 2.0, 1.0, 50.0, 0.0])
    assert levels.values == ("a", "b")  # c has no weight
    assert frequencies == (0.25, 0.75)


@pytest.mark.parametrize("pool_unknown", [False, True])
def test_unknown_levels_are_missing_where_nothing_is_pooled(pool_unknown):
    levels, _ = inferred([0, 1], ["a", "b"])
    got = levels.encode(np.array([0, 1, 2]), ["a", "new", "b"], pool_unknown=pool_unknown)
    np.testing.assert_array_equal(got, [0, np.nan, 1])


def test_unknown_lists_the_values_in_use_that_fit_did_not_see():
    levels, _ = inferred([0, 1], ["a", "b"])
    values = ["a", "new", "declared only", "b", "other"]
    assert levels.unknown(np.array([0, 1, -1, 3, 4, 4]), values) == ["new", "other"]
    assert levels.unknown(np.array([0, 3, -1]), values) == []
    assert levels.unknown(np.array([-1]), []) == []


# -- pooling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "n_codes"), [(MOST_LEVELS, MOST_LEVELS), (MOST_LEVELS + 1, MOST_LEVELS)])
def test_the_rarest_are_pooled_beyond_so_many(n, n_codes):
    codes, values = many(n)
    levels, frequencies = inferred(codes, values)
    assert levels.n_codes == n_codes == len(frequencies)
    assert bool(levels.pooled) == (n > MOST_LEVELS)
    assert len(levels.values) + len(levels.pooled) == n
    assert sum(frequencies) == pytest.approx(1.0)


def test_an_order_forbids_pooling():
    codes, values = many(MOST_LEVELS + 50)
    levels, _ = inferred(codes, values, pools=False)
    assert levels.pooled == ()
    assert levels.n_codes == MOST_LEVELS + 50


def test_a_hundred_thousand_levels_are_as_many_codes_as_there_may_be():
    codes, values = many(100_000)
    levels, frequencies = inferred(codes, values)
    assert levels.n_codes == MOST_LEVELS
    assert len(levels.pooled) == 100_000 - MOST_LEVELS + 1
    assert set(values[-10:]) <= set(levels.values)  # the common ones keep their own
    assert list(levels.values) == sorted(levels.values)  # in the order of the values
    own = levels.encode(codes, values)
    assert np.isfinite(own).all()
    assert frequencies[-1] == pytest.approx((own == MOST_LEVELS - 1).mean())
    kept = own < MOST_LEVELS - 1
    assert levels.decode(own[kept], None) == [values[code] for code in codes[kept]]
    pooled = levels.decode(np.full(5000, MOST_LEVELS - 1.0), np.random.RandomState(0))
    assert set(pooled) <= set(levels.pooled)
    assert len(set(pooled)) > 4000


def test_pooled_levels_are_known_and_drawn_by_their_shares():
    codes = np.concatenate([np.repeat(np.arange(MOST_LEVELS - 1), 50), np.repeat([255, 256, 257], [10, 20, 30])])
    values = list(range(258))
    levels, _ = inferred(codes, values)
    assert levels.pooled == (255, 256, 257)
    np.testing.assert_allclose(levels.shares, [1 / 6, 1 / 3, 1 / 2])
    assert levels.unknown(codes, values) == []
    drawn = np.array(levels.decode(np.full(6000, 255.0), np.random.RandomState(0)))
    np.testing.assert_allclose([(drawn == v).mean() for v in (255, 256, 257)], levels.shares, atol=0.03)
    assert levels.decode(np.full(3, 255.0), None) == [257] * 3  # the most frequent where nothing draws
    again = levels.decode(np.full(6000, 255.0), np.random.RandomState(0))
    assert again == drawn.tolist()


def test_a_shared_code_is_as_probable_as_the_most_frequent_level_it_stands_for():
    levels = Levels(("a", "b"), ("x", "y"), (0.4, 0.6))
    probability = np.array([[0.2, 0.3, 0.45], [0.15, 0.2, 0.65], [0.5, 0.1, 0.4]])
    assert levels.decode(levels.most_probable(probability), None) == ["b", "y", "a"]
    assert Levels(("a", "b")).decode(Levels(("a", "b")).most_probable(probability[:, :2]), None) == ["b", "b", "a"]


def test_pooling_goes_by_weight():
    values = list(range(MOST_LEVELS + 1))
    weight = np.ones(len(values))
    weight[[3, 7]] = 0.1
    levels, frequencies = inferred(np.arange(len(values)), values, weight)
    assert levels.pooled == (3, 7)
    assert frequencies[-1] == pytest.approx(0.2 / weight.sum())


def test_an_unknown_level_may_join_the_pooled_ones():
    codes, values = many(MOST_LEVELS + 9)
    levels, _ = inferred(codes, values)
    got = levels.encode(np.array([0, 1, -1]), [values[-1], "new"], pool_unknown=True)
    np.testing.assert_array_equal(got, [levels.values.index(values[-1]), MOST_LEVELS - 1, np.nan])
    assert np.isnan(levels.encode(np.array([1]), [values[-1], "new"])).all()


def test_levels_are_plain_data():
    codes, values = many(MOST_LEVELS + 9)
    levels, frequencies = inferred(codes, values)
    assert all(type(x) is float for x in (*levels.shares, *frequencies))
    assert Levels(*tuple(levels)) == levels


def test_no_level_at_all():
    levels, frequencies = inferred([-1, -1], [])
    assert (levels.n_codes, frequencies) == (0, ())
    assert levels.decode(np.array([np.nan, np.nan]), None) == [None, None]
