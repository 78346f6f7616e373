"""The loop, the optimiser's flat views, and the states around them."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from skvae._engine.batches import Rows
from skvae._engine.optimiser import CLIP, FlatParameters, Optimiser, copied
from skvae._engine.training import EpochRecord, Patience, Plan, epochs, mean_bound, shares
from skvae.nn.objectives import Bound


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def network():
    layer = nn.utils.skip_init(nn.Linear, 2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -0.5]]))
        layer.bias.fill_(0.1)
    return layer


def plan(**options):
    defaults = {"batch_size": 4, "max_iter": 3, "learning_rate_init": 0.1, "learning_rate": "constant", "alpha": 0.0}
    return Plan(**(defaults | options))


def fit_of_a_line(module, rows, noise, beta):
    """Minus the squared distance to 2 x0 - x1 + 3, less beta."""
    target = 2.0 * rows.x[:, 0] - rows.x[:, 1] + 3.0
    value = -(module(rows.x)[:, 0] - target).square()
    return Bound(value - beta, value, torch.full_like(value, beta))


def points(n=10):
    return Rows(torch.randn(n, 2, generator=stream(1)))


def run(optimiser, bound=fit_of_a_line, validation=None, rows=None, **options):
    rows = points() if rows is None else rows
    loop = epochs(optimiser, rows, bound, plan(**options), order=stream(), noise=stream(), validation=validation)
    return list(loop)


def weights(module):
    return torch.cat([p.detach().reshape(-1) for p in module.parameters()])


# -- plan ------------------------------------------------------------------------------------------------------------


def test_warm_up_rises_in_a_line_and_then_stays():
    schedule = plan(beta=2.0, warmup_steps=10)
    assert [schedule.beta_at(step) for step in (0, 5, 10, 99)] == [0.0, 1.0, 2.0, 2.0]
    assert plan(beta=2.0).beta_at(0) == 2.0


def test_one_cycle_rises_peaks_and_ends_at_zero():
    rates = [plan(learning_rate="one_cycle").learning_rate_at(p) for p in np.linspace(0.0, 1.0, 101)]
    assert 0.0 < rates[0] < 0.01
    assert max(rates) == pytest.approx(0.1)
    assert np.argmax(rates) == 10
    assert (np.diff(rates[:11]) > 0).all()
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[-1] == pytest.approx(0.0)


def test_constant_rate_is_constant():
    assert {plan().learning_rate_at(p) for p in (0.0, 0.5, 1.0)} == {0.1}


# -- flat parameters -------------------------------------------------------------------------------------------------


def test_flat_parameters_are_views():
    module = nn.Sequential(network(), nn.PReLU())
    before = weights(module).clone()
    flat = FlatParameters(module)
    assert torch.equal(flat.value, before)
    with torch.no_grad():
        flat.value.mul_(3.0)
    assert torch.equal(weights(module), 3.0 * before)
    module(torch.ones(1, 2)).sum().backward()
    gradients = torch.cat([p.grad.reshape(-1) for p in module.parameters()])
    assert torch.equal(flat.grad, gradients)
    assert (flat.grad != 0.0).any()


def test_only_matrices_decay():
    assert FlatParameters(network()).decayed.tolist() == [1.0, 1.0, 0.0]


def test_frozen_parameters_stay_out():
    module = network()
    module.bias.requires_grad_(False)
    assert len(FlatParameters(module).value) == 2


# -- optimiser -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fused", [True, False], ids=["one kernel", "plain code"])
def test_step_is_adams(fused, monkeypatch):
    monkeypatch.setattr(Optimiser, "_fused", fused)
    ours, theirs = Optimiser(network()), network()
    adam = torch.optim.Adam(theirs.parameters(), betas=(0.9, 0.95))
    x = points().x / 10.0  # small gradients, so that none is clipped
    for rate in (0.1, 0.05, 0.02):
        ours.step((ours.module(x).square().sum() / 10.0).backward, rate, 0.0)
        adam.zero_grad()
        (theirs(x).square().sum() / 10.0).backward()
        adam.param_groups[0]["lr"] = rate
        adam.step()
    torch.testing.assert_close(weights(ours.module), weights(theirs))


@pytest.mark.parametrize("fused", [True, False], ids=["one kernel", "plain code"])
def test_steps_of_large_gradients_are_clipped(fused, monkeypatch):
    """Torch's Adam after torch's clipping."""
    monkeypatch.setattr(Optimiser, "_fused", fused)
    ours, theirs = Optimiser(network()), network()
    adam = torch.optim.Adam(theirs.parameters(), lr=0.1, betas=(0.9, 0.95))
    x = points().x
    for size in (0.1, 3.0, 100.0, 1e6, 0.1):
        ours.step((size * ours.module(x).square().sum()).backward, 0.1, 0.0)
        adam.zero_grad()
        (size * theirs(x).square().sum()).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), CLIP)
        adam.step()
    torch.testing.assert_close(weights(ours.module), weights(theirs), rtol=1e-4, atol=1e-6)


def test_a_broken_gradient_leaves_the_moments_as_they_are():
    x = points().x
    once, twice = Optimiser(network()), Optimiser(network())
    for optimiser in (once, twice):
        optimiser.step(optimiser.module(x).square().sum().backward, 0.1, 0.0)
    before = weights(twice.module).clone()
    twice.step((twice.module(x).sum() * math.nan).backward, 0.1, 0.0)
    assert torch.equal(weights(twice.module), before)
    for optimiser in (once, twice):
        optimiser.step(optimiser.module(x).square().sum().backward, 0.1, 0.0)
    torch.testing.assert_close(weights(twice.module), weights(once.module))


def test_decay_shrinks_matrices_alone():
    optimiser = Optimiser(network())
    before = weights(optimiser.module).clone()
    optimiser.step((0.0 * optimiser.module(points().x).sum()).backward, 0.1, 0.5)
    torch.testing.assert_close(weights(optimiser.module), before * torch.tensor([0.95, 0.95, 1.0]))


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_gradient_that_is_not_finite_moves_nothing(poison):
    optimiser = Optimiser(network())
    before = weights(optimiser.module).clone()
    optimiser.step((optimiser.module(points().x).sum() * poison).backward, 0.1, 0.0)
    assert torch.equal(weights(optimiser.module), before)


def test_average_follows_the_weights():
    optimiser = Optimiser(network())
    for _ in range(30):
        optimiser.step((optimiser.module(points().x) - 5.0).square().mean().backward, 0.1, 0.0)
    start, average, now = (weights(m) for m in (network(), optimiser.average, optimiser.module))
    assert (average - start).norm() > 0.3 * (now - start).norm()
    assert not torch.equal(average, now)


def test_roll_back_returns_to_the_last_sound_weights():
    optimiser = Optimiser(network())
    run(optimiser)
    sound = weights(optimiser.average).clone()
    with torch.no_grad():
        optimiser.flat.value.fill_(math.nan)
    optimiser.roll_back()
    assert torch.equal(weights(optimiser.module), sound)
    assert torch.equal(weights(optimiser.average), sound)


def test_state_continues_exactly():
    optimiser = Optimiser(network())
    run(optimiser)
    restored = Optimiser(network())
    restored.load({name: value.clone() for name, value in optimiser.state().items()})
    twin = copy.deepcopy(optimiser)
    for one in (optimiser, restored, twin):
        run(one)
    for one in (restored, twin):
        assert one.steps == optimiser.steps
        assert torch.equal(weights(one.module), weights(optimiser.module))
        assert torch.equal(weights(one.average), weights(optimiser.average))


def test_restored_optimiser_rolls_back_to_what_was_saved():
    optimiser = Optimiser(network())
    run(optimiser)
    restored = Optimiser(network())
    restored.load({name: value.clone() for name, value in optimiser.state().items()})
    restored.roll_back()
    assert torch.equal(weights(restored.module), weights(optimiser.average))


def test_a_deepcopy_trains_on_its_own():
    optimiser = Optimiser(network())
    run(optimiser)
    before = weights(optimiser.module).clone()
    run(copy.deepcopy(optimiser))
    assert torch.equal(weights(optimiser.module), before)


# -- epochs ----------------------------------------------------------------------------------------------------------


def test_training_finds_the_line():
    optimiser = Optimiser(network())
    records = run(optimiser, max_iter=300, learning_rate="one_cycle")
    np.testing.assert_allclose(weights(optimiser.module), [2.0, -1.0, 3.0], atol=0.01)
    assert records[-1].bound > records[0].bound
    assert [record.epoch for record in records] == list(range(300))


def test_record_is_the_mean_over_all_rows_whatever_the_batches():
    expected = fit_of_a_line(network(), points(), None, 0.0).value.mean()
    records = run(Optimiser(network()), max_iter=1, learning_rate_init=1e-12, beta=0.5)
    assert records[0].reconstruction == pytest.approx(float(expected.detach()), rel=1e-5)
    assert records[0].kl == pytest.approx(0.5)
    assert records[0].bound == pytest.approx(records[0].reconstruction - 0.5)


def test_weights_count():
    x = points().x.repeat(2, 1)
    x[10:] += 5.0
    weighed = Rows(x, None, torch.cat([torch.full((10,), 2.0), torch.zeros(10)]))
    optimiser = Optimiser(network())
    records = run(optimiser, rows=weighed, batch_size=20)
    assert records[0].bound == pytest.approx(run(Optimiser(network()), batch_size=10)[0].bound, rel=1e-5)


def test_warm_up_counts_steps_over_the_optimisers_life():
    seen = []

    def spy(module, rows, noise, beta):
        seen.append(beta)
        return fit_of_a_line(module, rows, noise, beta)

    optimiser = Optimiser(network())
    for _ in range(2):  # 3 batches each
        run(optimiser, spy, max_iter=1, warmup_steps=4)
    assert seen == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


def test_loss_that_is_not_finite_is_rolled_back_and_tried_at_half_the_rate():
    def poisoned(module, rows, noise, beta):
        bound = fit_of_a_line(module, rows, noise, beta)
        return bound if calls.pop(0) else Bound(*(term * math.nan for term in bound))

    calls = [True] * 3 + [True, False, True] + [True] * 3
    optimiser = Optimiser(network())
    loop = epochs(optimiser, points(), poisoned, plan(), order=stream(), noise=stream())
    first = next(loop)
    sound = weights(optimiser.average).clone()
    second = next(loop)
    assert first.finite
    assert not second.finite
    assert torch.equal(weights(optimiser.module), sound)
    third = next(loop)
    assert third.finite
    assert third.learning_rate == 0.5 * first.learning_rate
    assert torch.isfinite(weights(optimiser.module)).all()


def test_closing_the_loop_stops_it():
    optimiser = Optimiser(network())
    loop = epochs(optimiser, points(), fit_of_a_line, plan(max_iter=99), order=stream(), noise=stream())
    next(loop)
    loop.close()
    assert optimiser.steps == 3


def test_validation_judges_the_average():
    judged = []
    optimiser = Optimiser(network())
    records = run(optimiser, validation=lambda module: float(judged.append(module) or len(judged)))
    assert [record.validation for record in records] == [1.0, 2.0, 3.0]
    assert all(module is optimiser.average for module in judged)


def test_training_repeats_and_leaves_the_global_streams_alone():
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one, other = Optimiser(network()), Optimiser(network())
    assert run(one) == run(other)
    assert torch.equal(weights(one.module), weights(other.module))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_mean_bound_repeats_and_weighs():
    def noisy(module, rows, noise, beta):
        value = rows.x[:, 0] + torch.randn(len(rows), generator=noise)
        return Bound(value, value, value)

    rows = Rows(points(6).x, None, torch.tensor([6.0, 0.0, 0.0, 0.0, 0.0, 0.0]))
    one, again, other = (mean_bound(network(), rows, noisy, seed) for seed in (0, 0, 1))
    assert one == again != other
    assert one == pytest.approx(float(rows.x[0, 0] + torch.randn(6, generator=stream())[0]), rel=1e-5)


# -- trimming --------------------------------------------------------------------------------------------------------


def trimmed_mean(rows, values, trim):
    share = shares(rows, values, trim)
    return (share * values.where(share > 0.0, 0.0)).sum()


def test_trimmed_mean_leaves_out_the_lowest_share():
    rows, values = points(10), torch.arange(10.0).flip(0)
    assert trimmed_mean(rows, values, 0.3) == pytest.approx(np.mean([3, 4, 5, 6, 7, 8, 9]))
    assert trimmed_mean(rows, values, 0.9) == pytest.approx(9.0)
    assert trimmed_mean(rows, values, 0.25) == pytest.approx((0.5 * 2.0 + sum(range(3, 10))) / 7.5)
    assert trimmed_mean(points(1), values[:1], 0.9) == pytest.approx(9.0)


def test_without_trimming_it_is_the_mean():
    values = torch.randn(10, generator=stream(3))
    rows = Rows(points().x, None, torch.linspace(0.5, 1.5, 10))
    assert trimmed_mean(rows, values, 0.0) == pytest.approx(float(rows.mean(values)), abs=1e-6)
    assert trimmed_mean(points(), values, 0.0) == pytest.approx(float(values.mean()), abs=1e-6)


def test_trimmed_mean_leaves_out_a_share_of_the_weight():
    rows, values = Rows(points(4).x, None, torch.tensor([0.5, 2.0, 1.0, 0.5])), torch.tensor([1.0, 4.0, 3.0, -9.0])
    assert trimmed_mean(rows, values, 0.125) == pytest.approx((0.5 * 1.0 + 2.0 * 4.0 + 1.0 * 3.0) / 3.5)
    assert trimmed_mean(rows, values, 0.25) == pytest.approx((2.0 * 4.0 + 1.0 * 3.0) / 3)
    assert trimmed_mean(rows, values, 0.625) == pytest.approx(4.0)


@pytest.mark.parametrize("trim", [0.01, 0.1, 0.35, 0.5, 0.77, 0.99])
def test_a_row_of_weight_five_is_five_rows_when_trimmed(trim):
    values = torch.randn(12, generator=stream(1), dtype=torch.float64)
    times = torch.tensor([1, 5, 2, 1, 1, 3, 5, 1, 1, 2, 1, 1])
    x = torch.zeros(12, 1)
    weighted = trimmed_mean(Rows(x, None, times / times.double().mean()), values, trim)
    repeated = trimmed_mean(Rows(x.repeat_interleave(times, 0)), values.repeat_interleave(times), trim)
    assert float(weighted) == pytest.approx(float(repeated), rel=1e-12)


def test_a_row_trimmed_may_be_as_bad_as_can_be():
    values = torch.tensor([1.0, 2.0, -torch.inf])
    share = shares(Rows(torch.zeros(3, 1), None, torch.ones(3)), values, 0.4)
    np.testing.assert_allclose(share, [0.8 / 1.8, 1.0 / 1.8, 0.0], rtol=1e-6)


def test_trimmed_rows_pull_at_nothing():
    share = shares(points(10), torch.arange(10.0), 0.4)
    assert (share[:4] == 0.0).all()
    np.testing.assert_allclose(share[4:], 1.0 / 6.0, rtol=1e-6)


def test_training_with_trimming_overlooks_rows_that_do_not_fit():
    x = torch.randn(50, 2, generator=stream(1))
    wild = torch.zeros(50, dtype=torch.bool)
    wild[::5] = True

    def broken_line(module, rows, noise, beta):
        target = 2.0 * rows.x[:, 0] - rows.x[:, 1] + 3.0 + 40.0 * (rows.x[:, 0] == 9.0)
        value = -(module(rows.x)[:, 0] - target).square()
        return Bound(value, value, torch.zeros_like(value))

    x[wild, 0] = 9.0
    errors = {}
    for trim in (0.0, 0.3):
        optimiser = Optimiser(network())
        options = {"max_iter": 200, "batch_size": 50, "learning_rate": "one_cycle"}
        records = run(optimiser, broken_line, rows=Rows(x), trim=trim, **options)
        errors[trim] = (weights(optimiser.module) - torch.tensor([2.0, -1.0, 3.0])).norm()
    assert errors[0.3] < 0.05 < 1.0 < errors[0.0]
    assert records[-1].bound < -100.0  # the record is of all rows


# -- patience --------------------------------------------------------------------------------------------------------


def judge(scores, **options):
    patience = Patience(**({"n_iter_no_change": 2, "tol": 0.1, "first_epoch": 0} | options))
    best, stopped = [], None
    for epoch, score in enumerate(scores):
        if patience.is_best(EpochRecord(epoch, 0.0, 0.0, 0.0, 0.1, score)):
            best.append(epoch)
        if patience.exhausted and stopped is None:
            stopped = epoch
    return best, stopped


def test_patience_ends_after_epochs_without_a_gain():
    assert judge([1.0, 2.0, 1.5, 1.9, 3.0]) == ([0, 1, 4], 3)


def test_small_gains_are_kept_but_do_not_buy_time():
    assert judge([1.0, 1.05, 1.08]) == ([0, 1, 2], 2)


def test_small_gains_that_add_up_buy_time():
    assert judge([1.0, 1.06, 1.12, 1.18]) == ([0, 1, 2, 3], None)


def test_warm_up_is_not_judged():
    assert judge([9.0, 9.0, 1.0, 2.0], first_epoch=2) == ([2, 3], None)


@pytest.mark.parametrize("score", [None, math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_never_the_best(score):
    best, _ = judge([1.0, score, 1.5])
    assert best == [0, 2]


def test_a_copy_of_a_module_is_deep_and_whole():
    layer = torch.nn.Linear(2, 2)
    module = torch.nn.Sequential(layer, torch.nn.BatchNorm1d(2), layer)
    calls = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    twin, deep = copied(module), copy.deepcopy(module)
    x = torch.ones(3, 2)
    assert torch.equal(twin(x), deep(x))
    assert len(calls) == 4
    assert twin[0] is twin[2]
    assert twin[0] is not layer
    for mine, its in zip(module.modules(), twin.modules(), strict=True):
        held = {name: value for name, value in vars(mine).items() if isinstance(value, dict | set)}
        assert [name for name, value in held.items() if value is vars(its)[name]] == []
    twin[0].register_forward_hook(lambda *_: calls.append(2))
    twin[1].register_parameter("more", torch.nn.Parameter(torch.zeros(1)))
    with torch.no_grad():
        twin[0].weight.zero_()
    module(x)
    assert 2 not in calls
    assert not hasattr(module[1], "more")
    assert layer.weight.abs().sum() > 0
