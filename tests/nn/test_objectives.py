"""The bounds against a model whose log p(x) and posterior are known: a linear one with orthogonal loadings."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from skvae.nn.likelihoods import Gaussian
from skvae.nn.models import VAE, ColumnBlocks
from skvae.nn.networks import MLP, InputEncoding
from skvae.nn.objectives import (
    OBJECTIVES,
    doubly_reparameterised_bound,
    elbo,
    importance_weighted_bound,
    log_mean_exp,
)
from skvae.nn.priors import Mixture, StandardNormal

P, K = 4, 2
STD = 0.5  # of the observation noise

every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def mixture(n_components):
    """A mixture prior; its random start comes from torch's global stream, which is given back."""
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(stream(9).get_state())
        return Mixture(K, n_components=n_components).double()


def loadings():
    """Orthogonal columns of lengths 1 and 2: the posterior's covariance is then diagonal."""
    q, _ = torch.linalg.qr(torch.randn(P, P, generator=stream(1)).double())
    return q[:, :K] * torch.tensor([1.0, 2.0]).double()


def linear_vae(prior=None, shift=0.0, log_stretch=0.0):
    """p(x|z) = N(Wz + m, STD^2) with its exact posterior as the encoder, or one that is off by what is given."""
    encoding = InputEncoding(torch.zeros(P), torch.ones(P), clip=False, with_mask=False)
    encoder, decoder = (
        MLP(n_in, n_out, hidden_layer_sizes=(), activation="relu", generator=stream())
        for n_in, n_out in ((P, 2 * K), (K, P))
    )
    columns = ColumnBlocks([Gaussian(P, scale=STD)])
    model = VAE(
        prior=StandardNormal(K) if prior is None else prior,
        encoding=encoding,
        encoder=encoder,
        decoder=decoder,
        columns=columns,
        start=torch.linspace(-1.0, 1.0, P),
    ).double()
    w, mean = loadings(), model.start
    precision = 1.0 + w.square().sum(0) / STD**2  # (k,)
    with torch.no_grad():
        columns.likelihoods[0].log_scale.fill_(math.log(STD))
        decoder.shortcut.weight.copy_(w)
        encoder.shortcut.weight.zero_()
        encoder.shortcut.weight[:K] = (w / STD**2 / precision).T
        encoder.shortcut.bias[:K] = -encoder.shortcut.weight[:K] @ mean + shift
        encoder.shortcut.bias[K:] = -0.5 * precision.log() + log_stretch
    return model


def rows(n=6):
    return torch.randn(n, P, generator=stream(2)).double()


def noise(n_draws, n=6):
    return torch.randn(n_draws, n, K, generator=stream(3)).double()


def log_evidence(x):
    w = loadings().numpy()
    return multivariate_normal(np.linspace(-1.0, 1.0, P), w @ w.T + STD**2 * np.eye(P)).logpdf(x)


def log_weights(model, draws):
    return draws.log_likelihood + model.log_prior_over_posterior(draws)


def test_with_the_exact_posterior_every_weight_is_the_evidence():
    model, x = linear_vae(), rows()
    log_w = log_weights(model, model.draw(x, None, noise(20))).detach()
    np.testing.assert_allclose(log_w, np.tile(log_evidence(x), (20, 1)), atol=1e-6)


@every_objective
def test_bound_is_tight_with_the_exact_posterior(objective):
    model, x = linear_vae(), rows()
    bound = objective(model, model.draw(x, None, noise(20_000)))
    # The ELBO's closed KL does not cancel the noise of its reconstruction term draw by draw.
    np.testing.assert_allclose(bound.value.detach(), log_evidence(x), atol=0.05)


@pytest.mark.parametrize(("shift", "log_stretch"), [(0.3, 0.0), (0.0, 0.5), (-0.2, -0.5)])
def test_gap_of_the_elbo_is_the_divergence_from_the_exact_posterior(shift, log_stretch):
    x = rows()
    exact = linear_vae()
    model = linear_vae(shift=shift, log_stretch=log_stretch)
    posterior_std = exact.posterior(x)[1].exp()
    gap = 0.5 * ((shift / posterior_std) ** 2 + math.exp(2 * log_stretch) - 1.0 - 2 * log_stretch).sum(-1)
    assert (gap > 0.05).all()
    bound = elbo(model, model.draw(x, None, noise(50_000)))
    np.testing.assert_allclose(bound.value.detach(), log_evidence(x) - gap.detach().numpy(), atol=0.05)


@pytest.mark.parametrize("prior", [None, mixture(3)], ids=["standard_normal", "mixture"])
def test_elbo_is_the_mean_log_weight(prior):
    model, x = linear_vae(prior, shift=0.3, log_stretch=0.2), rows()
    draws = model.draw(x, None, noise(50_000))
    log_w = log_weights(model, draws).detach()
    np.testing.assert_allclose(elbo(model, draws).value.detach(), log_w.mean(0), atol=0.05)


def test_bound_rises_with_more_draws_and_stays_below_the_evidence():
    model, x = linear_vae(shift=0.3, log_stretch=0.7), rows()
    eps = noise(2048)
    averages = []
    for n_draws in (1, 8, 256):
        parts = [importance_weighted_bound(model, model.draw(x, None, part)).value for part in eps.split(n_draws)]
        averages.append(torch.stack(parts).mean(0).detach())
    # Averaged over the same draws in groups, log mean exp cannot fall (Jensen): no tolerance is needed.
    for fewer, more in itertools.pairwise(averages):
        assert (more > fewer).all()
    truth = torch.tensor(log_evidence(x))
    assert (averages[0] < truth - 0.5).all()
    assert (averages[1] < truth).all()
    np.testing.assert_allclose(averages[-1], truth, atol=0.1)


def gradients(objective, part, n_draws=5, n_batches=300, **options):
    """The gradient to the weights of the encoder or decoder in batches of the same rows, shape (n_batches, ...)."""
    model, x = linear_vae(shift=0.3, log_stretch=0.5), rows().repeat(10, 1)
    found = []
    for eps in noise(n_draws * n_batches, len(x)).split(n_draws):
        model.zero_grad()
        objective(model, model.draw(x, None, eps), **options).value.mean().backward()
        found.append(getattr(model, part).shortcut.weight.grad.clone())
    return torch.stack(found)


@pytest.mark.parametrize("beta", [1.0, 0.4])
def test_the_doubly_reparameterised_gradient_has_the_same_mean_and_varies_less(beta):
    plain, doubly = (
        gradients(objective, "encoder", beta=beta)
        for objective in (importance_weighted_bound, doubly_reparameterised_bound)
    )
    error = ((plain.var(0) + doubly.var(0)) / len(plain)).sqrt()
    assert (plain.mean(0).abs() > 10.0 * error).any()
    assert ((plain.mean(0) - doubly.mean(0)).abs() < 4.0 * error).all()
    if beta == 1.0:
        assert doubly.var(0).sum() < 0.7 * plain.var(0).sum()


WEIGHTED = (importance_weighted_bound, doubly_reparameterised_bound)


def test_the_doubly_reparameterised_bound_has_the_value_and_the_decoder_gradient_of_the_plain_one():
    model, x = linear_vae(shift=0.3), rows()
    draws = model.draw(x, None, noise(5))
    plain, doubly = (bound(model, draws, free_bits=0.1) for bound in WEIGHTED)
    for one, other in zip(plain, doubly, strict=True):
        torch.testing.assert_close(one, other)
    of_decoder = [gradients(bound, "decoder", n_batches=2) for bound in WEIGHTED]
    torch.testing.assert_close(*of_decoder)


def test_one_draw_makes_the_two_bounds_differ_by_the_closed_kl_only():
    model, x = linear_vae(shift=0.3), rows()
    draws = model.draw(x, None, noise(1))
    one, other = elbo(model, draws), importance_weighted_bound(model, draws)
    torch.testing.assert_close(one.reconstruction, other.reconstruction)
    torch.testing.assert_close(one.value + one.kl, other.value + other.kl)


@every_objective
@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0])
def test_beta_weighs_the_kl(objective, beta):
    model, x = linear_vae(shift=0.3), rows()
    bound = objective(model, model.draw(x, None, noise(1)), beta=beta)
    torch.testing.assert_close(bound.value, bound.reconstruction - beta * bound.kl)


@every_objective
def test_kl_of_the_elbo_is_positive_and_its_estimate_agrees(objective):
    model, x = linear_vae(shift=0.3), rows()
    bound = objective(model, model.draw(x, None, noise(20_000)))
    mean, log_std = model.posterior(x)
    closed = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, log_std.exp()), torch.distributions.Normal(0.0, 1.0)
    ).sum(-1)
    assert (closed > 0.5).all()
    np.testing.assert_allclose(bound.kl.detach(), closed.detach(), atol=0.1)


@every_objective
def test_free_bits_below_every_component_change_nothing(objective):
    model, x = linear_vae(), rows()
    draws = model.draw(x, None, noise(5))
    assert (model.kl_per_component(*draws[:3]).mean(0) > 0.1).all()
    torch.testing.assert_close(objective(model, draws, free_bits=0.1).value, objective(model, draws).value)


def test_free_bits_stop_the_pull_to_the_prior():
    model, x = linear_vae(), rows()
    draws = model.draw(x, None, noise(5))
    bits = float(model.kl_per_component(*draws[:3]).mean(0).max().detach()) + 1.0
    bound = elbo(model, draws, free_bits=bits)
    # Every component is below its free bits: the batch pays exactly `bits` for each, whatever the encoder says.
    paid = (bound.reconstruction - bound.value).mean()
    assert float(paid.detach()) == pytest.approx(K * bits)
    (gradient,) = torch.autograd.grad(paid, model.encoder.shortcut.bias)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


@every_objective
def test_gradient_reaches_every_parameter_of_the_model(objective):
    model, x = linear_vae(mixture(3)), rows()
    objective(model, model.draw(x, None, noise(4))).value.sum().backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name


def test_bound_is_per_row():
    model, x = linear_vae(), rows()
    eps = noise(3)
    together = elbo(model, model.draw(x, None, eps)).value
    alone = torch.cat([elbo(model, model.draw(x[i : i + 1], None, eps[:, i : i + 1])).value for i in range(len(x))])
    torch.testing.assert_close(together, alone)


def test_log_mean_exp_neither_over_nor_underflows():
    log_w = torch.tensor([[1e4, -1e4], [1e4, -1e4]]).double()
    torch.testing.assert_close(log_mean_exp(log_w), torch.tensor([1e4, -1e4]).double())
    torch.testing.assert_close(log_mean_exp(torch.tensor([[0.0], [math.log(3.0)]])), torch.tensor([math.log(2.0)]))
