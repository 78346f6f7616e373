"""Bounds on log p(x), per row and in nats.

With z = mu + sigma * eps and log w = log p(x|z) + log p(z) - log q(z|x):

- the evidence lower bound (Kingma & Welling 2013, eq. 2-3) is the mean of log w over q;
- the importance-weighted bound (Burda et al. 2015, eq. 8) is log mean w over S draws.

The second has two estimators of its gradient: the plain one, and that of Tucker et al. (2018). Each bound stands here
twice: as its formula, and with its gradient in closed form (`SLOPES`), features first, as a training step takes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from skvae.nn.models import VAE, Draws
from skvae.nn.noise import LOG_2PI, log_normal
from skvae.nn.priors import Prior
from skvae.nn.pullbacks import Pullback, closed_form, softmax


class Bound(NamedTuple):
    """A bound to maximise and its two parts, each of shape (b,)."""

    value: Tensor
    reconstruction: Tensor
    kl: Tensor


def elbo(model: VAE, draws: Draws, *, beta: float = 1.0, free_bits: float = 0.0) -> Bound:
    """Evidence lower bound E_q[log p(x|z)] - beta KL(q || p); the KL is closed where the prior has one."""
    reconstruction = draws.log_likelihood.mean(0)  # (b,)
    kl = model.kl(draws)  # (b,)
    value = reconstruction - beta * (kl + _missing_bits(model, draws, free_bits))
    return Bound(value, reconstruction, kl)


def importance_weighted_bound(model: VAE, draws: Draws, *, beta: float = 1.0, free_bits: float = 0.0) -> Bound:
    """Importance-weighted bound log mean_s w_s; at beta = 1 it tightens to log p(x) with more draws."""
    log_ratio = model.log_prior_over_posterior(draws)  # (S, b)
    value = log_mean_exp(draws.log_likelihood + beta * log_ratio) - beta * _missing_bits(model, draws, free_bits)
    return Bound(value, draws.log_likelihood.mean(0), -log_ratio.mean(0))


def doubly_reparameterised_bound(model: VAE, draws: Draws, *, beta: float = 1.0, free_bits: float = 0.0) -> Bound:
    """The importance-weighted bound, with a gradient to the encoder that has the same mean and varies less.

    The encoder moves the draws z and also the density q that they are weighed by. The mean of the second part is
    rewritten as a gradient through z (Tucker et al. 2018, arXiv 1810.04152), after which a draw with the normalised
    weight w has the factor (1 - beta) w + beta w^2 in place of w, and q counts as fixed.
    """
    log_q = log_normal(draws.z, draws.mean.detach(), draws.log_std.detach())
    log_ratio = model.prior.log_prob(draws.z) - log_q  # (S, b)
    log_w = draws.log_likelihood + beta * log_ratio
    if draws.z.requires_grad:
        factor = 1.0 - beta + beta * torch.softmax(log_w.detach(), 0).unsqueeze(-1)
        draws.z.register_hook(lambda gradient: gradient * factor)
    value = log_mean_exp(log_w) - beta * _missing_bits(model, draws, free_bits)
    return Bound(value, draws.log_likelihood.mean(0), -log_ratio.mean(0))


def _missing_bits(model: VAE, draws: Draws, free_bits: float) -> Tensor | float:
    """Nats by which components fall short of `free_bits` on the batch mean (Kingma et al. 2016, section C.8).

    Added to the KL it makes max(free_bits, KL_j) of each component's share: below it nothing pulls to the prior.
    """
    if free_bits == 0.0:
        return 0.0
    return (free_bits - model.kl_per_component(draws.mean, draws.log_std, draws.eps).mean(0)).clamp_min(0.0).sum()


def log_mean_exp(log_w: Tensor) -> Tensor:
    """Log of the mean of exp(log_w) over the first axis."""
    return torch.logsumexp(log_w, dim=0) - math.log(log_w.shape[0])


OBJECTIVES: dict[str, Callable[..., Bound]] = {
    "elbo": elbo,
    "iwae": importance_weighted_bound,
    "dreg": doubly_reparameterised_bound,
}


class Passed(NamedTuple):
    """Draws for b rows, features first."""

    mean: Tensor  # (k, b)
    log_std: Tensor  # (k, b)
    eps: Tensor  # (k, S, b)
    z: Tensor  # (k, S, b)
    log_likelihood: Tensor  # (S, b)

    def log_q(self) -> Tensor:
        """Log q(z|x), (S, b)."""
        return -0.5 * self.eps.square().sum(0) - (self.log_std + 0.5 * LOG_2PI).sum(0)


class Slopes(NamedTuple):
    """The gradient of a bound to what it was computed from."""

    log_likelihood: Tensor  # (S, b)
    z: Tensor | None = None  # (k, S, b), but for the way through the likelihood
    posterior: Sequence[Tensor | None] = (None, None)  # to mean and log standard deviation, but for the way through z
    factor: Tensor | None = None  # of all that comes to z, (S, b)


def elbo_slopes(prior: Prior, draws: Passed, beta: float) -> Sloped:
    """`elbo`, and its slopes given the gradient to each row's value, (b,)."""
    reconstruction, n = _mean(draws.log_likelihood), draws.log_likelihood.shape[0]
    closed = closed_form(prior, "kl_with_pullback", Prior)(draws.mean, draws.log_std)
    if closed is not None:
        kl, to_posterior = closed

        def pull(grad: Tensor) -> Slopes:
            return Slopes(_each(grad, n), posterior=to_posterior(grad * -beta))

        return Bound(torch.sub(reconstruction, kl, alpha=beta), reconstruction, kl), pull
    log_p, to_z = closed_form(prior, "with_pullback", Prior)(draws.z)
    kl = _mean(draws.log_q() - log_p)

    def pull_draws(grad: Tensor) -> Slopes:
        each = _each(grad, n)
        return Slopes(each, to_z(beta * each), (None, beta * grad))

    return Bound(torch.sub(reconstruction, kl, alpha=beta), reconstruction, kl), pull_draws


def _mean(draws: Tensor) -> Tensor:
    """Mean over the draws, (b,)."""
    return draws[0] if len(draws) == 1 else draws.sum(0).mul_(1.0 / len(draws))


def _each(grad: Tensor, n: int) -> Tensor:
    """The gradient to each of n draws of a gradient to their mean, (n, b)."""
    return grad.unsqueeze(0) if n == 1 else (grad / n).expand(n, -1)


def importance_weighted_slopes(prior: Prior, draws: Passed, beta: float) -> Sloped:
    """`importance_weighted_bound`, and its slopes given the gradient to each row's value, (b,)."""
    bound, share, to_z = _weighed(prior, draws, beta)

    def pull(grad: Tensor) -> Slopes:
        weight = share * grad
        return Slopes(weight, to_z(beta * weight), (None, beta * grad))

    return bound, pull


def doubly_reparameterised_slopes(prior: Prior, draws: Passed, beta: float) -> Sloped:
    """`doubly_reparameterised_bound`, and its slopes given the gradient to each row's value, (b,)."""
    bound, share, to_z = _weighed(prior, draws, beta)

    def pull(grad: Tensor) -> Slopes:
        weight = share * grad
        away = draws.eps * torch.exp(-draws.log_std).unsqueeze(1)  # minus the gradient of log q to z
        return Slopes(weight, to_z(beta * weight).addcmul_(away, beta * weight), factor=1.0 - beta + beta * share)

    return bound, pull


def _weighed(prior: Prior, draws: Passed, beta: float) -> tuple[Bound, Tensor, Pullback]:
    """The importance-weighted bound, the normalised weights (S, b), and the pullback of the prior to z."""
    log_p, to_z = closed_form(prior, "with_pullback", Prior)(draws.z)
    log_ratio = log_p - draws.log_q()
    share, total = softmax(torch.add(draws.log_likelihood, log_ratio, alpha=beta))
    value = total.sub_(math.log(share.shape[0]))
    return Bound(value, _mean(draws.log_likelihood), _mean(log_ratio).neg_()), share, to_z


Sloped = tuple[Bound, Callable[[Tensor], Slopes]]
SLOPES: dict[str, Callable[[Prior, Passed, float], Sloped]] = {
    "elbo": elbo_slopes,
    "iwae": importance_weighted_slopes,
    "dreg": doubly_reparameterised_slopes,
}
