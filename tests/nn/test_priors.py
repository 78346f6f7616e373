"""One contract for every prior."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats

from skvae.nn.priors import PRIORS, AggregatedPosterior, Mixture, Prior, Proposal, StandardNormal
from skvae.nn.pullbacks import closed_form


def settled(k, m=5):
    """An aggregated prior of m posteriors."""
    prior = AggregatedPosterior(k)
    draws = stream(2)
    prior.settle(torch.randn(m, k, generator=draws), 0.3 * torch.randn(m, k, generator=draws) - 0.3, torch.zeros(m))
    return prior


FACTORIES = {
    "standard_normal": StandardNormal,
    "mixture": Mixture,
    "mixture-2": partial(Mixture, n_components=2),
    "aggregated": AggregatedPosterior,
    "aggregated-settled": settled,
}

all_priors = pytest.mark.parametrize("name", FACTORIES)


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def build(name, k):
    """A prior over k components whose parameters are off their start values."""
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(stream(3).get_state())
        prior = FACTORIES[name](k).double()
    draws = stream(1)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draws).double())
    return prior


def square(k, half_width=20.0):
    """Grid over a cube of k dimensions, shape (n, k), and the volume of a cell."""
    axis = torch.linspace(-half_width, half_width, 4001 if k == 1 else 401, dtype=torch.float64)
    return torch.cartesian_prod(*[axis] * k).reshape(-1, k), float(axis[1] - axis[0]) ** k


def test_every_named_prior_is_under_contract():
    assert set(PRIORS) <= set(FACTORIES)


@all_priors
@pytest.mark.parametrize("k", [1, 2])
def test_density_integrates_to_one(name, k):
    z, volume = square(k)
    mass = build(name, k).log_prob(z).exp().sum() * volume
    np.testing.assert_allclose(mass.detach(), 1.0, atol=1e-6)


@all_priors
def test_marginals_are_the_density_integrated_over_the_rest(name):
    prior = build(name, 2)
    z, volume = square(2)
    density = prior.log_prob(z).exp().reshape(401, 401).detach()
    axis = z[:401, 1]
    marginal = prior.marginal_log_prob(torch.stack([axis, axis], 1)).exp().detach()
    np.testing.assert_allclose(marginal[:, 0], density.sum(1) * volume**0.5, atol=1e-8)
    np.testing.assert_allclose(marginal[:, 1], density.sum(0) * volume**0.5, atol=1e-8)


@all_priors
def test_moments_are_those_of_the_density(name):
    prior = build(name, 2)
    z, volume = square(2)
    weight = prior.log_prob(z).exp().unsqueeze(1) * volume
    mean = (weight * z).sum(0)
    std = (weight * (z - mean).square()).sum(0).sqrt()
    for got, expected in zip(prior.moments(), (mean, std), strict=True):
        np.testing.assert_allclose(got.detach(), expected.detach(), atol=1e-6)


@all_priors
def test_samples_agree_with_the_density(name):
    prior = build(name, 2)
    draws = prior.sample(5000, stream(8))
    assert draws.shape == (5000, 2)
    axis, width = square(1)
    for j in range(2):
        mass = prior.marginal_log_prob(axis.expand(-1, 2))[:, j].exp() * width
        uniform = np.interp(draws[:, j].detach(), axis[:, 0], (mass.cumsum(0) - 0.5 * mass).detach())
        assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    z, volume = square(2)
    log_prob = prior.log_prob(z).detach()
    entropy = -float((log_prob.exp() * log_prob).sum() * volume)
    sampled = -prior.log_prob(draws).detach()
    assert abs(float(sampled.mean()) - entropy) < 4 * float(sampled.std()) / np.sqrt(5000)


@all_priors
def test_samples_depend_on_the_generator_alone(name):
    prior = build(name, 3)
    before = torch.get_rng_state()
    first, again, other = (prior.sample(20, stream(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@all_priors
def test_density_of_many_components_keeps_leading_shapes(name):
    prior = build(name, 4)
    z = torch.randn(3, 5, 4, generator=stream(4)).double()
    assert prior.log_prob(z).shape == (3, 5)
    assert prior.marginal_log_prob(z).shape == (3, 5, 4)
    torch.testing.assert_close(prior.log_prob(z)[1, 2], prior.log_prob(z[1, 2]))


@pytest.mark.parametrize("name", ["mixture", "mixture-2"])
def test_gradient_reaches_every_parameter(name):
    prior = build(name, 3)
    prior.log_prob(torch.randn(50, 3, generator=stream(4)).double()).sum().backward()
    for label, parameter in prior.named_parameters():
        assert torch.isfinite(parameter.grad).all(), label
        assert (parameter.grad != 0).all(), label


def test_mixture_is_the_weighted_sum_of_its_modes():
    prior = build("mixture", 3)
    z = torch.randn(10, 3, generator=stream(4)).double()
    weights = torch.softmax(prior.logits, 0).detach().numpy()
    means, stds = prior.means.detach().numpy(), prior.log_stds.detach().exp().numpy()
    density = sum(w * stats.norm.pdf(z, m, s).prod(1) for w, m, s in zip(weights, means, stds, strict=True))
    np.testing.assert_allclose(prior.log_prob(z).detach(), np.log(density), rtol=1e-9)


def test_modes_start_apart():
    means = build("mixture", 2).means
    assert len(torch.unique(means, dim=0)) == len(means)


@pytest.mark.parametrize("name", ["standard_normal", "aggregated"])
def test_closed_kl_agrees_with_monte_carlo(name):
    prior = build(name, 2)
    mean = torch.tensor([[0.7, -1.5]]).double()
    log_std = torch.tensor([[-0.5, 0.4]]).double()
    eps = torch.randn(200_000, 1, 2, generator=stream(7)).double()
    log_q = torch.distributions.Normal(mean, log_std.exp()).log_prob(mean + log_std.exp() * eps)
    gaps = (log_q - prior.marginal_log_prob(mean + log_std.exp() * eps)).squeeze(1)  # (S, k)
    error = 4 * gaps.std(0) / len(gaps) ** 0.5
    assert ((prior.kl(mean, log_std).squeeze(0) - gaps.mean(0)).abs() < error).all()


@pytest.mark.parametrize("name", ["standard_normal", "aggregated"])
def test_closed_kl_is_zero_only_at_the_prior(name):
    prior = build(name, 2)
    zero = torch.zeros(1, 2).double()
    assert (prior.kl(zero, zero) == 0.0).all()
    for shift in (-0.3, 0.3):
        assert (prior.kl(zero + shift, zero) > 0.0).all()
        assert (prior.kl(zero, zero + shift) > 0.0).all()


@pytest.mark.parametrize("name", ["mixture", "aggregated-settled"])
def test_mixture_has_no_closed_kl(name):
    assert build(name, 2).kl(torch.zeros(1, 2), torch.zeros(1, 2)) is None


# -- the aggregated posterior ----------------------------------------------------------------------------------------


def assert_standard_normal(prior, k):
    z = torch.randn(20, k, generator=stream(4)).double()
    log_std = 0.5 * torch.randn(20, k, generator=stream(5)).double()
    normal = StandardNormal(k).double()
    torch.testing.assert_close(prior.log_prob(z), normal.log_prob(z))
    torch.testing.assert_close(prior.marginal_log_prob(z), normal.marginal_log_prob(z))
    torch.testing.assert_close(prior.kl(z, log_std), normal.kl(z, log_std))
    torch.testing.assert_close(prior.moments(), normal.moments())
    assert prior.n_modes == 1
    assert not prior.settled


def test_aggregated_is_standard_normal_until_it_settles_and_again_after():
    prior = AggregatedPosterior(3).double()
    assert_standard_normal(prior, 3)
    prior.settle(torch.randn(7, 3, generator=stream(6)).double(), torch.zeros(7, 3).double(), torch.zeros(7).double())
    assert prior.settled
    assert prior.n_modes == 7
    prior.unsettle()
    assert_standard_normal(prior, 3)


def test_aggregated_is_the_mean_of_the_posteriors():
    means, stds = torch.randn(9, 3, generator=stream(6)).double(), torch.rand(9, 3, generator=stream(7)).double() + 0.2
    prior = AggregatedPosterior(3).double()
    weight = torch.arange(1.0, 10.0).double()
    prior.settle(means, stds.log(), weight.log())
    z = torch.randn(10, 3, generator=stream(4)).double()
    modes = [stats.norm.pdf(z, m, s).prod(1) for m, s in zip(means, stds, strict=True)]
    density = np.average(modes, axis=0, weights=weight)
    np.testing.assert_allclose(prior.log_prob(z), np.log(density), rtol=1e-9)


def test_density_of_the_others_is_that_of_the_rest_of_the_rows():
    """A row's own posterior is left out; a row that is no exemplar has none."""
    k, prior, draws = 3, AggregatedPosterior(3), stream(4)
    mean, log_std = torch.randn(6, k, generator=draws), 0.3 * torch.randn(6, k, generator=draws)
    log_weight = torch.randn(6, generator=draws)
    prior.settle(mean, log_std, log_weight)
    z = torch.randn(4, 3, k, generator=draws)
    asked = torch.stack([mean[2], mean[5], mean[0] + 1.0])
    got = prior.log_prob_of_others(z, asked)
    for i, kept in enumerate(([0, 1, 3, 4, 5], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5])):
        rest = AggregatedPosterior(k)
        rest.settle(mean[kept], log_std[kept], log_weight[kept])
        torch.testing.assert_close(got[:, i], rest.log_prob(z[:, i]))


@pytest.mark.parametrize("name", ["standard_normal", "mixture"])
def test_priors_that_remember_no_rows_are_the_same_without_any(name):
    prior, z = build(name, 3), torch.randn(4, 5, 3, generator=stream(4)).double()
    torch.testing.assert_close(prior.log_prob_of_others(z, z[0]), prior.log_prob(z))


def test_aggregated_keeps_its_own_copy_of_the_posteriors():
    means = torch.randn(4, 2, generator=stream(6))
    prior = AggregatedPosterior(2)
    prior.settle(means, means, torch.zeros(len(means)))
    before = prior.means.clone()
    means.zero_()
    assert torch.equal(prior.means, before)


def test_aggregated_has_nothing_to_train():
    assert list(settled(2).parameters()) == []


@pytest.mark.parametrize("start", [1, 3, 12])
def test_aggregated_is_loaded_whatever_its_number_of_modes(start):
    saved = settled(2)
    other = AggregatedPosterior(2) if start == 1 else settled(2, start)
    other.load_state_dict(saved.state_dict())
    z = torch.randn(10, 2, generator=stream(4))
    assert torch.equal(other.log_prob(z), saved.log_prob(z))
    assert other.n_modes == 5
    outer = torch.nn.ModuleDict({"prior": AggregatedPosterior(2)})
    outer.load_state_dict(torch.nn.ModuleDict({"prior": saved}).state_dict())
    assert torch.equal(outer["prior"].log_prob(z), saved.log_prob(z))


@pytest.mark.parametrize("name", ["standard_normal", "mixture"])
def test_other_priors_are_what_training_made_of_them(name):
    prior = build(name, 2)
    before = {key: value.clone() for key, value in prior.state_dict().items()}
    prior.settle(torch.ones(5, 2).double(), torch.zeros(5, 2).double(), torch.zeros(5).double())
    prior.unsettle()
    assert all(torch.equal(before[key], value) for key, value in prior.state_dict().items())


class Doubled(Mixture):
    """A user's prior on top of one of ours."""

    def log_prob(self, z):
        return 2.0 * super().log_prob(z)


@all_priors
@pytest.mark.parametrize("block", [1, 2**17])
@pytest.mark.parametrize("distance", [1.0, 30.0, 1e6])
def test_features_first_it_is_the_same_density(name, block, distance, monkeypatch):
    monkeypatch.setattr("skvae.nn.priors.CACHED", block)
    prior, z = build(name, 3), distance * torch.randn(3, 4, 5, generator=stream(4)).double()
    with torch.inference_mode():
        torch.testing.assert_close(prior.features_first(z), prior.log_prob(z.movedim(0, -1)), rtol=1e-9, atol=1e-9)


def test_a_proposal_and_a_users_prior_have_their_own_density():
    mean, z = torch.randn(6, 3, generator=stream(1)), torch.randn(3, 4, 5, generator=stream(4))
    proposal = Proposal(StandardNormal(3), mean, torch.zeros_like(mean), 0.1)
    own = Doubled(3, generator=stream(2))
    for prior in (proposal, own):
        first = closed_form(prior, "features_first", Prior)
        torch.testing.assert_close(first(z), prior.log_prob(z.movedim(0, -1)))
