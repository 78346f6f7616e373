"""Adaptive draws against a posterior that is known: x = z + noise in each component, some components not observed."""

import numpy as np
import pytest
import torch

from skvae._engine.batches import Rows
from skvae._engine.importance import n_rounds, weighed_draws
from skvae._engine.runtime import normal_quasi_draws
from skvae.nn.noise import log_normal
from skvae.nn.priors import StandardNormal

K = 3
STD = 0.5  # of the noise
EXACT_STD = STD / (1.0 + STD**2) ** 0.5


class Columns:
    @staticmethod
    def averaged(outputs, weight):
        return (weight.unsqueeze(-1) * outputs).sum(0)

    @staticmethod
    def point(statistics):
        return statistics


class Model:
    """An encoder that is off by `shift` exact standard deviations, and `stretch` times as wide."""

    columns = Columns()
    decoder, start = torch.nn.Identity(), torch.zeros(K)

    def __init__(self, shift=0.0, stretch=1.0):
        self.prior = StandardNormal(K).double()
        self.shift, self.stretch = shift, stretch
        self.seen = []

    def posterior(self, x, observed=None):
        self.seen.append((x, observed))
        there = torch.ones_like(x) if observed is None else observed.to(x.dtype)
        mean = there * (x / (1.0 + STD**2) + self.shift * EXACT_STD)
        std = there * EXACT_STD * self.stretch + (1.0 - there)
        return mean, std.log()

    @staticmethod
    def log_prob_observed(outputs, x, observed):
        there = torch.ones_like(x) if observed is None else observed.to(x.dtype)
        return (there * (-0.5 * ((x - outputs) / STD).square())).sum(-1)


def rows(n=40):
    x = np.random.default_rng(0).normal(size=(n, K))
    x[::2, 0] = np.nan
    x[5] = np.nan
    return Rows.from_numpy(x, dtype=torch.float64)


def drawn(model, some, n_draws=400, knows_missing=True, n=None):
    rounds = n_rounds(knows_missing) if n is None else n
    points = torch.tensor(normal_quasi_draws(n_draws, K, 0)).reshape(rounds, -1, 1, K)
    return weighed_draws(model, some, points, knows_missing=knows_missing)


def exact_mean(some):
    return torch.where(some.observed, some.x / (1.0 + STD**2), 0.0)


@pytest.mark.parametrize(("shift", "stretch"), [(0.0, 1.0), (1.5, 1.0), (0.0, 0.4), (-1.0, 2.0)])
def test_moments_are_those_of_the_posterior_whatever_the_encoder_says(shift, stretch):
    some = rows()
    mean, variance, size = drawn(Model(shift, stretch), some, 4000).moments()
    np.testing.assert_allclose(mean.T, exact_mean(some), atol=0.08)
    np.testing.assert_allclose(variance.T, torch.where(some.observed, EXACT_STD**2, 1.0), rtol=0.2)
    assert (size > 1000).all()


@pytest.mark.parametrize(("shift", "stretch"), [(1.5, 1.0), (0.0, 0.4), (-1.0, 2.0)])
def test_adapted_proposals_are_worth_more_draws_than_the_first(shift, stretch):
    some, model = rows(), Model(shift, stretch)
    first, adapted = (drawn(model, some, n=n).moments()[2].median() for n in (1, 4))
    assert adapted > 2.0 * first


def test_weights_sum_to_one_and_a_row_does_not_depend_on_the_others():
    some = rows()
    draws = drawn(Model(1.0), some)
    torch.testing.assert_close(draws.weight.sum(0), torch.ones(len(some)).double())
    alone = drawn(Model(1.0), some.take(slice(3, 4)))
    torch.testing.assert_close(alone.expected(Model())[0], draws.expected(Model())[3])


def test_only_an_encoder_that_does_not_know_missing_cells_sees_completed_rows():
    some = rows()
    for knows_missing, n_seen in ((True, 1), (False, 4)):
        model = Model()
        drawn(model, some, 8 * n_rounds(knows_missing), knows_missing)
        assert len(model.seen) == n_seen
        for x, observed in model.seen[1:]:
            assert observed is None
            torch.testing.assert_close(x[some.observed], some.x[some.observed])
            assert (x[~some.observed] != 0.0).all()


def test_few_draws_do_not_collapse_the_spread():
    some, model, points = rows(), Model(3.0, 0.5), torch.tensor(normal_quasi_draws(8, K, 0))
    draws = drawn(model, some, 8)
    assert torch.isfinite(draws.weight).all()
    spread = (draws.z[:, -1] - draws.z[:, -2]).T / (points[-1] - points[-2])  # of the last round
    first = model.posterior(some.x, some.observed)[1].exp()
    assert (spread > 0.7 * first).all()  # the encoder's counts for 10 draws of the 18 at most: 0.7 < sqrt(10 / 18)


def test_log_normal_is_the_density():
    z, mean, log_std = torch.randn(3, 7, K, generator=torch.Generator().manual_seed(1)).double()
    expected = torch.distributions.Normal(mean, log_std.exp()).log_prob(z).sum(-1)
    torch.testing.assert_close(log_normal(z, mean, log_std), expected)
