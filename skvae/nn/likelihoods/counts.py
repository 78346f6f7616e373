"""Counts 0, 1, 2, ...: Poisson and negative binomial, each also with more zeros than it would have.

The log-probabilities are written as in Loader (2000), "Fast and accurate computation of binomial probabilities": the
log-probability at the best rate, minus the deviance from it. Their textbook forms subtract numbers of size x log x from
one another, which in float32 leaves no correct digit of the log-probability of a count of a billion.
"""

from __future__ import annotations

from typing import Any

import torch
from scipy.special import betainc, gammainc
from torch import Tensor
from torch.nn import functional as F

from skvae.nn.likelihoods.base import Likelihood, WayBack, bounded
from skvae.nn.noise import LOG_2PI, uniform
from skvae.nn.pullbacks import Pullback, run

LOG_RATE = (-20.0, 25.0)  # exp(25) = 7e10
LOG_DISPERSION = (-10.0, 15.0)
LARGE = 16.0  # from here on four terms of Stirling's series have the precision of float64
FARTHEST = 1e15  # stands for infinity as a bound ...
TINY = 1e-300  # ... and for what every count exceeds
START_LOGIT = -2.0  # of a structural zero: 12 %


def log_prob_at_rate(y: Tensor) -> Tensor:
    """Log-probability y log(y) - y - log(y!) of a Poisson variable at its own rate y >= 0; without a gradient."""
    inverse = 1.0 / y
    square = inverse.square()
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    return torch.where(
        y < LARGE, torch.xlogy(y, y) - y - torch.lgamma(y + 1.0), -0.5 * (LOG_2PI + torch.log(y)) - series
    )


def log_minus_digamma(y: Tensor) -> Tensor:
    """The difference log(y) - digamma(y) for y > 0, which is small where y is large; without a gradient."""
    square = y.square().reciprocal()
    series = 0.5 / y + square * (1 / 12 - square * (1 / 120 - square * (1 / 252 - square / 240)))
    return torch.where(y < LARGE, torch.log(y) - torch.digamma(y), series)


def deviance(d: Tensor) -> Tensor:
    """Half the deviance d + exp(-d) - 1 of a count from its rate, per unit of the count; d = log(count / rate)."""
    return d + torch.expm1(-d)


class PoissonLogProb(torch.autograd.Function):
    """Log-probability x log(rate) - rate - log(x!) with its gradient in closed form. There is no gradient to x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, log_rate: Tensor) -> Tensor:
        """Log-probability of each cell; the arguments broadcast."""
        rate = torch.exp(log_rate)
        ctx.save_for_backward(x, rate)
        half = torch.where(x > 0, x * deviance(torch.log(x) - log_rate), rate)
        return log_prob_at_rate(x) - half

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        """Gradient to log_rate."""
        x, rate = ctx.saved_tensors
        return None, (grad * (x - rate)).sum_to_size(rate.shape)


class NegativeBinomialLogProb(torch.autograd.Function):
    """Log-probability of a negative binomial count with its gradient in closed form. There is no gradient to x.

    log p = log G(x + r) - log G(r) - log(x!) + r log(r / (r + mu)) + x log(mu / (r + mu)); G is the gamma function.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, log_mean: Tensor, log_dispersion: Tensor) -> Tensor:
        """Log-probability of each cell; the arguments broadcast."""
        r, mean = torch.exp(log_dispersion), torch.exp(log_mean)
        log_total = torch.log1p(mean / r)  # log((r + mu) / r)
        beyond = torch.log1p(x / r)
        d = log_total - beyond  # log of (r + mu) / (r + x)
        half = deviance(d)
        shrunk = torch.exp(-log_total)  # r / (r + mu)
        count = torch.where(x > 0, x * deviance(torch.log(x) - log_mean + d), mean * shrunk)
        sizes = torch.stack(torch.broadcast_tensors(r, r + x))
        ctx.save_for_backward(x, mean, r, shrunk, half, sizes)
        return torch.sub(*log_prob_at_rate(sizes).unbind(0)) + log_prob_at_rate(x) - beyond - r * half - count

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:
        """Gradients to log_mean and log_dispersion."""
        x, mean, r, shrunk, half, sizes = ctx.saved_tensors
        to_dispersion = r * (torch.sub(*log_minus_digamma(sizes).unbind(0)) - half)
        return (
            None,
            (grad * (x - mean) * shrunk).sum_to_size(mean.shape),
            (grad * to_dispersion).sum_to_size(r.shape),
        )


class Counts(Likelihood):
    """Cells that hold counts; the first output per cell is the logarithm of the mean, between -20 and 25.

    Parameters
    ----------
    n_columns : int
        Columns of the block.
    """

    kind = "count"
    outputs_per_cell = 1

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.n_columns = n_columns
        self.n_outputs = self.outputs_per_cell * n_columns

    def mean(self, outputs: Tensor) -> Tensor:
        return torch.exp(bounded(outputs[..., : self.n_columns], LOG_RATE))

    def expectation(self, outputs: Tensor, back: WayBack) -> Tensor:
        """E[back(x)|z], from E[x; x >= k] = E[x] P(y >= k - 1), P(y = k) = (k + 1) P(x = k + 1) / E[x]."""
        mean = self.mean(outputs)
        if not back.is_bounded:
            return back(mean)
        low, high = back.low.clamp_min(0.0), back.high.clamp_max(FARTHEST)
        above = mean * self.at_least(outputs, high - 1.0, tilted=True) - high * self.at_least(outputs, high)
        below = low - mean - low * self.at_least(outputs, low) + mean * self.at_least(outputs, low - 1.0, tilted=True)
        return back.straight((mean + below - above).clamp(low, high))

    def at_least(self, outputs: Tensor, k: Tensor, *, tilted: bool = False) -> Tensor:
        """P(x >= k), shape (..., p); tilted, P(y >= k) of the count y whose P(y = k) is (k + 1) P(x = k + 1) / E[x]."""
        raise NotImplementedError("a family of counts defines at_least(outputs, k, tilted=...)")

    def start(self, mean: Tensor) -> Tensor:
        return torch.cat([_log_rate(mean), mean.new_zeros(self.n_outputs - self.n_columns)])


class Poisson(Counts):
    """Counts whose variance is their mean."""

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        log_prob: Tensor = PoissonLogProb.apply(x, bounded(outputs, LOG_RATE))
        return log_prob

    def with_pullback(self, outputs: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        cells, back = run(PoissonLogProb, x.unsqueeze(1), outputs.clamp(*LOG_RATE))
        return cells, lambda grad: back(grad)[1]

    def at_least(self, outputs: Tensor, k: Tensor, *, tilted: bool = False) -> Tensor:
        return _of_scipy(gammainc, k.clamp_min(TINY), self.mean(outputs))  # a tilted Poisson is the same one

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        return torch.poisson(self.mean(outputs), generator=generator)


class NegativeBinomial(Counts):
    """Counts of mean mu and dispersion r per cell, both from the decoder: their variance is mu + mu^2 / r.

    This is the NB2 of Hilbe (2011), "Negative Binomial Regression", with r = 1 / alpha, and SciPy's
    ``nbinom(r, r / (r + mu))``. A large r makes it a Poisson. The second output per cell is log(r), between -10 and 15.
    """

    outputs_per_cell = 2

    def _log_mean_and_dispersion(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        log_mean, log_dispersion = outputs.chunk(2, dim=-1)
        return bounded(log_mean, LOG_RATE), bounded(log_dispersion, LOG_DISPERSION)

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        log_prob: Tensor = NegativeBinomialLogProb.apply(x, *self._log_mean_and_dispersion(outputs))
        return log_prob

    def with_pullback(self, outputs: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        log_mean, log_dispersion = outputs.chunk(2)
        log_mean, log_dispersion = log_mean.clamp(*LOG_RATE), log_dispersion.clamp(*LOG_DISPERSION)
        cells, back = run(NegativeBinomialLogProb, x.unsqueeze(1), log_mean, log_dispersion)
        return cells, lambda grad: torch.cat(back(grad)[1:])

    def at_least(self, outputs: Tensor, k: Tensor, *, tilted: bool = False) -> Tensor:
        log_mean, log_dispersion = self._log_mean_and_dispersion(outputs)
        r = torch.exp(log_dispersion) + float(tilted)
        return _of_scipy(betainc, k.clamp_min(TINY), r, torch.sigmoid(log_mean - log_dispersion))

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        log_mean, log_dispersion = self._log_mean_and_dispersion(outputs)
        # A Poisson whose rate is a gamma variable. torch draws those in public from its global stream only.
        gamma = torch._standard_gamma(torch.exp(log_dispersion), generator=generator)
        return torch.poisson(gamma * torch.exp(log_mean - log_dispersion), generator=generator)


class ZeroInflated(Counts):
    """Counts that are 0 with probability pi, and else drawn from a family of counts (Lambert 1992).

    The last output per cell is the logit of pi; those before it are the family's.
    """

    family: type[Counts]

    def __init__(self, n_columns: int) -> None:
        super().__init__(n_columns)
        self.counts = self.family(n_columns)

    def _split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        return outputs[..., : self.counts.n_outputs], outputs[..., self.counts.n_outputs :]

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        of_counts, logit = self._split(outputs)
        log_prob = self.counts.log_prob(of_counts, x)
        return torch.where(x == 0, torch.logaddexp(logit, log_prob), log_prob) - F.softplus(logit)

    def with_pullback(self, outputs: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        """The gradient to the counts' log-probability is the share that they have in a zero, and 1 at other cells."""
        of_counts, logit = outputs.split_with_sizes([self.counts.n_outputs, self.n_columns])
        log_prob, to_counts = self.counts.with_pullback(of_counts, x)
        is_zero = x.unsqueeze(1) == 0

        def pull(grad: Tensor) -> Tensor:
            share = torch.sigmoid(log_prob - logit).masked_fill_(~is_zero, 1.0)
            to_logit = torch.sigmoid(-logit).sub_(share).mul_(grad)
            return torch.cat([to_counts(share.mul_(grad)), to_logit])

        return torch.where(is_zero, torch.logaddexp(logit, log_prob), log_prob) - F.softplus(logit), pull

    def mean(self, outputs: Tensor) -> Tensor:
        of_counts, logit = self._split(outputs)
        return torch.sigmoid(-logit) * self.counts.mean(of_counts)

    def expectation(self, outputs: Tensor, back: WayBack) -> Tensor:
        of_counts, logit = self._split(outputs)
        of_zero = back(torch.zeros_like(logit))
        return torch.lerp(self.counts.expectation(of_counts, back), of_zero, torch.sigmoid(logit))

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        of_counts, logit = self._split(outputs)
        there = uniform(logit.shape, logit, generator) >= torch.sigmoid(logit)
        return there * self.counts.sample(of_counts, generator)

    def start(self, mean: Tensor) -> Tensor:
        logit = torch.full_like(mean, START_LOGIT)
        return torch.cat([self.counts.start(mean / torch.sigmoid(-logit)), logit])


class ZeroInflatedPoisson(ZeroInflated):
    """`Poisson` counts with more zeros (Lambert 1992)."""

    family = Poisson
    outputs_per_cell = 2


class ZeroInflatedNegativeBinomial(ZeroInflated):
    """`NegativeBinomial` counts with more zeros (Greene 1994)."""

    family = NegativeBinomial
    outputs_per_cell = 3


def _of_scipy(function: Any, *arguments: Tensor) -> Tensor:
    """A function of SciPy that torch lacks, or has in less precision."""
    values = function(*(argument.detach().double().cpu().numpy() for argument in arguments))
    return torch.as_tensor(values).to(arguments[-1])


def _log_rate(mean: Tensor) -> Tensor:
    return torch.log(mean).clamp(*LOG_RATE)
