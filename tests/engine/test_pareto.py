"""The tail index of importance weights, against tails that are known."""

import numpy as np
import pytest
import torch

from skvae._engine.pareto import pareto_k, trusted_below


@pytest.mark.parametrize("k", [0.2, 0.5, 0.8, 1.5])
def test_the_index_of_a_pareto_tail_is_found(k):
    """The mean over many samples, drawn to 0.5 with the weight of ten draws as the estimator says."""
    rng = np.random.default_rng(0)
    w = rng.pareto(1.0 / k, size=(4000, 200))
    m = 3.0 * np.sqrt(4000)
    found = pareto_k(torch.tensor(np.log(w)))
    assert found.mean() == pytest.approx((k * m + 5.0) / (m + 10.0), abs=0.04)


def test_light_tails_are_below_heavy_ones():
    rng = np.random.default_rng(0)
    uniform, normal, heavy = (pareto_k(torch.tensor(x)) for x in (
        np.log(rng.uniform(1.0, 2.0, size=(1000, 50))),
        rng.normal(0.0, 0.3, size=(1000, 50)),
        rng.normal(0.0, 4.0, size=(1000, 50)),
    ))  # fmt: skip
    assert uniform.max() < 0.2
    assert uniform.mean() < normal.mean() < 0.5
    assert (heavy > 0.7).all()


def test_the_scale_of_the_weights_does_not_matter():
    log_w = torch.tensor(np.random.default_rng(0).normal(size=(256, 5)))
    torch.testing.assert_close(pareto_k(log_w), pareto_k(log_w - 5000.0))
    torch.testing.assert_close(pareto_k(log_w), pareto_k(log_w.flip(0)))


def test_extremes_are_told_apart():
    equal = torch.zeros(256, 1)
    one = torch.full((256, 1), -1e4)
    one[7] = 0.0
    few = torch.linspace(-800.0, 0.0, 256)[:, None]
    assert pareto_k(equal).item() == 0.0
    for log_w in (one, few):
        assert pareto_k(log_w).item() > 0.7
    assert pareto_k(one).item() == np.inf


def test_fewer_draws_need_a_lighter_tail():
    assert trusted_below(10**6) == 0.7
    assert trusted_below(256) == pytest.approx(0.585, abs=1e-3)
