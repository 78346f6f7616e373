"""Kinds of columns: support, location and scale."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skvae._table.kinds import (
    INDICATORS,
    KINDS,
    NUMBERS,
    SEEN,
    Binary,
    Continuous,
    Count,
    Identifier,
    OrderedLevels,
    Positive,
    UnorderedLevels,
    keeps_zeros,
    robust_scaling,
    thinned,
    weighted_quantiles,
)
from skvae.nn import networks

columns = hnp.arrays(np.float64, st.integers(2, 30), elements=st.floats(-1.0, 1.0)).filter(lambda x: np.ptp(x) > 1e-3)
magnitudes = st.integers(-30, 30).map(lambda exponent: 10.0**exponent)
quick = settings(max_examples=60, deadline=None)


def test_kinds_know_their_names():
    assert KINDS == {
        "continuous": Continuous,
        "positive": Positive,
        "binary": Binary,
        "count": Count,
        "categorical": UnorderedLevels,
        "ordinal": OrderedLevels,
        "identifier": Identifier,
    }
    facts = {
        "bend": ["positive"],
        "is_coded": ["categorical", "ordinal", "identifier"],
        "is_modelled": [kind for kind in KINDS if kind != "identifier"],
        "is_scaled": ["continuous", "positive"],
        "has_atoms": ["continuous", "positive"],
        "pools": ["categorical", "identifier"],
        "keeps_zeros": ["binary", "count"],
    }
    assert {fact: [name for name, kind in KINDS.items() if getattr(kind, fact)] for fact in facts} == facts
    seen_as = {name: kind.seen_as for name, kind in KINDS.items() if kind.seen_as != NUMBERS}
    assert seen_as == {"count": "log1p", "categorical": INDICATORS, "identifier": INDICATORS}
    assert [keeps_zeros(kind) for kind in ("count", "ordinal", "no kind", None)] == [True, False, False, False]


@pytest.mark.parametrize("name", SEEN)
def test_the_encoder_sees_through_the_same_function_as_its_scale_was_taken_of(name):
    values = np.array([0.0, 0.5, 3.0, 1e6])
    seen = networks.SEEN[name](torch.from_numpy(values))
    np.testing.assert_allclose(seen, SEEN[name](values))
    assert networks.SEEN.keys() == SEEN.keys()


@quick
@given(columns, magnitudes, st.floats(-3.0, 3.0))
def test_continuous_scaling_follows_units_and_origin(values, unit, shift):
    ones = np.ones(len(values))
    location, scale = Continuous.scaling(values, ones)[:2]
    moved_location, moved_scale = Continuous.scaling((values + shift) * unit, ones)[:2]
    np.testing.assert_allclose(moved_scale, scale * unit, rtol=1e-6)
    np.testing.assert_allclose(moved_location, (location + shift) * unit, atol=1e-6 * unit)


@quick
@given(columns, st.data())
def test_weights_are_repeats(values, data):
    weight = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(values), max_size=len(values))), dtype=float)
    repeated = np.repeat(values, weight.astype(int))
    if len(repeated) == 0 or np.ptp(repeated) < 1e-3:
        weight += 1.0
        repeated = np.repeat(values, weight.astype(int))
    expected = Continuous.scaling(repeated, np.ones(len(repeated)))
    np.testing.assert_allclose(Continuous.scaling(values, weight), expected, rtol=1e-6, atol=1e-9)


@quick
@given(columns, st.sampled_from([0.125, 2.0, 64.0]))  # exact in binary: a quantile jumps where rounding moves a tie
def test_weights_count_relative_to_one_another(values, factor):
    weight = np.linspace(1.0, 2.0, len(values))
    for scaling in (Continuous.scaling, lambda x, w: robust_scaling(x, w, 1.0)):
        np.testing.assert_allclose(scaling(values, factor * weight), scaling(values, weight), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("unit", [1e-300, 1e-30, 1.0, 1e30, 1e300])
def test_continuous_scaling_neither_over_nor_underflows(unit):
    location, scale, mean, spread = Continuous.scaling(np.array([1.0, 2.0, 3.0]) * unit, np.ones(3))
    assert (mean, spread) == (0.0, 1.0)
    assert location == pytest.approx(2.0 * unit)
    assert scale == pytest.approx(np.sqrt(2.0 / 3.0) * unit)


@pytest.mark.parametrize("broken", [1e3, 1e7, -1e10])
def test_one_broken_cell_does_not_decide_the_scale_of_its_column(broken):
    values = np.random.default_rng(0).normal(size=500)
    location, scale = Continuous.scaling(values, np.ones(500))[:2]
    values[7] = broken
    moved_location, moved_scale = Continuous.scaling(values, np.ones(500))[:2]
    assert abs(moved_location - location) < 0.1
    assert scale < moved_scale < 2.0 * scale


def test_continuous_scaling_of_a_heavy_tail_is_its_mean_and_deviation():
    values = np.random.default_rng(0).standard_t(3, size=2000)
    assert Continuous.scaling(values, np.ones(2000))[:2] == pytest.approx((values.mean(), values.std()))


def test_binary_leaves_values_as_they_are():
    values = np.array([0.0, 0.2, 1.0])
    assert Binary.scaling(values, np.ones(3)) == (0.0, 1.0, pytest.approx(values.mean()), pytest.approx(values.std()))
    assert Binary.accept(np.array([0.0, 0.2, 1.0]), "x") is None
    assert Binary.accept(np.array([]), "x") is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, 1.5], r"expects values in \[0, 1\]. Column 'age' ranges from 0 to 1.5: rescale it"),
        ([-0.5, 1.0], r"Negative values in data.*Column 'age' ranges from -0.5 to 1"),
    ],
)
def test_binary_refuses_what_lies_outside(values, message):
    with pytest.raises(ValueError, match=message):
        Binary.accept(np.array(values), "age")


def test_continuous_accepts_every_real_number():
    assert Continuous.accept(np.array([-1e300, 0.0, 1e300]), "x") is None


@quick
@given(columns, magnitudes)
def test_robust_scaling_follows_the_unit(values, unit):
    ones = np.ones(len(values))
    location, scale = robust_scaling(values, ones, values.std())
    moved_location, moved_scale = robust_scaling(values * unit, ones, values.std() * unit)
    np.testing.assert_allclose((moved_location, moved_scale), (location * unit, scale * unit), rtol=1e-6, atol=0)


def test_robust_scaling_of_normal_numbers_is_their_mean_and_deviation():
    values = np.random.default_rng(0).normal(3.0, 2.0, 50_000)
    location, scale = robust_scaling(values, np.ones(50_000), 99.0)
    assert location == pytest.approx(3.0, abs=0.05)
    assert scale == pytest.approx(2.0, abs=0.05)


def test_robust_scaling_does_not_see_a_few_outliers():
    values = np.random.default_rng(0).normal(size=1000)
    before = robust_scaling(values, np.ones(1000), values.std())
    values[:20] = 100.0
    np.testing.assert_allclose(robust_scaling(values, np.ones(1000), values.std()), before, atol=0.1)


def test_robust_scaling_of_a_nearly_constant_column_is_its_spread():
    values = np.zeros(1000)
    values[:10] = 5.0
    assert robust_scaling(values, np.ones(1000), values.std()) == (0.0, values.std())


def test_zero_weight_is_removal_from_the_robust_scaling():
    values = np.random.default_rng(0).normal(size=200)
    weight = np.r_[np.ones(100), np.zeros(100)]
    assert robust_scaling(values, weight, 1.0) == robust_scaling(values[:100], np.ones(100), 1.0)


@pytest.mark.parametrize("values", [[0.0, 1.0, 2.0**53], [7.0], []])
def test_counts_are_whole_numbers_from_0_on(values):
    assert Count.accept(np.array(values), "x") is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [3.0, -2.0, 0.5],
            r"Negative values in data. A likelihood of counts expects 0, 1, 2.*Column 'visits' holds -2:",
        ),
        ([3.0, 0.5, 2.5], r"^A likelihood of counts expects 0, 1, 2, ... Column 'visits' holds 0.5: choose another"),
    ],
)
def test_what_is_no_count_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Count.accept(np.array(values), "visits")


def test_counts_are_left_as_they_are_and_seen_by_their_logarithm():
    values = np.array([0.0, 1.0, 9.0])
    assert Count.scaling(values, np.ones(3)) == (0.0, 1.0, pytest.approx(10.0 / 3.0), pytest.approx(values.std()))
    np.testing.assert_allclose(Count.seen(values), [0.0, np.log(2.0), np.log(10.0)])
    np.testing.assert_array_equal(Binary.seen(values), values)
    np.testing.assert_array_equal(Continuous.seen(values), values)


@pytest.mark.parametrize("values", [[1e-300, 1.0, 1e300], []])
def test_positive_numbers_are_welcome(values):
    assert Positive.accept(np.array(values), "x") is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, 0.0], r"^The log-normal likelihood expects values above 0. The least of column 'income' is 0: choose"),
        ([1.0, -3.5], r"^Negative values in data. The log-normal .* 'income' is -3.5: .* or shift it"),
    ],
)
def test_what_has_no_logarithm_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Positive.accept(np.array(values), "income")


@pytest.mark.parametrize("kind", [UnorderedLevels, OrderedLevels])
def test_codes_are_left_as_they_are(kind):
    codes = np.array([0.0, 3.0, 1.0])
    assert kind.accept(codes, "x") is None
    assert kind.scaling(codes, np.ones(3))[:2] == (0.0, 1.0)
    np.testing.assert_array_equal(kind.seen(codes), codes)


@quick
@given(columns, st.data())
def test_quantile_is_the_least_value_that_holds_its_share(values, data):
    weight = np.array(data.draw(st.lists(st.floats(0.5, 2.0), min_size=len(values), max_size=len(values))))
    for probability, quantile in zip((0.1, 0.5, 0.9), weighted_quantiles(values, weight, (0.1, 0.5, 0.9)), strict=True):
        share = weight[values <= quantile].sum() / weight.sum()
        below = weight[values < quantile].sum() / weight.sum()
        assert below <= probability + 1e-9
        assert share >= probability - 1e-9


@pytest.mark.parametrize(("n", "most"), [(10, 10), (11, 10), (100, 7), (3, 10)])
def test_thinning_keeps_evenly_spaced_values_from_the_first_on(monkeypatch, n, most):
    monkeypatch.setattr("skvae._table.kinds.QUANTILE_ROWS", most)
    kept = thinned(np.arange(float(n)))
    assert len(kept) <= most
    assert kept[0] == 0.0
    assert len(np.unique(np.diff(kept))) <= 1
    assert n - kept[-1] <= -(-n // most)
