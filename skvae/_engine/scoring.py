"""What a VAE says of rows, as functions of the two: densities, how well they are known, and what they are made of.

Points are standard normal, (S, 1, k), and the same for every row, so that its score depends on nothing but the row.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvae._engine.batches import Rows
from skvae._engine.exact import LinearGaussian
from skvae._engine.importance import drawn, n_rounds, proposals
from skvae._engine.pareto import pareto_k, trusted_below
from skvae.nn import passes
from skvae.nn.models import VAE, Draws
from skvae.nn.noise import log_normal
from skvae.nn.objectives import log_mean_exp

ADAPTING = 32  # draws of z, at most, that each proposal for a row with holes learns from
LEAST_BATCHES, LEAST_DRAWS = 8, 256  # that tell how well a score is determined


class ScoredDraws(NamedTuple):
    """S draws of z for b rows."""

    z: Tensor  # (S, b, k)
    log_likelihood: Tensor  # (S, b)
    log_ratio: Tensor  # log p(z) - log q(z|x), (S, b)

    @property
    def log_w(self) -> Tensor:
        """Log of the importance weights, (S, b)."""
        return self.log_likelihood + self.log_ratio


class SamplingError(NamedTuple):
    """What is known of the error of scores, each of shape (n,)."""

    standard_error: NDArray[np.float64]  # nats; infinite where the weights' tail is too heavy to tell
    effective_sample_size: NDArray[np.float64]  # 1 / sum w^2 of the normalised weights (Kish 1965)
    pareto_k: NDArray[np.float64]


def posterior(model: VAE, rows: Rows) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of q(z|x), each of shape (b, k)."""
    mean, log_std = model.posterior(rows.x, rows.observed)
    return mean, log_std.exp()


def kl_per_component(model: VAE, rows: Rows, points: Tensor) -> Tensor:
    """KL(q(z_j|x) || p(z_j)) in nats, shape (b, k)."""
    return model.kl_per_component(*model.posterior(rows.x, rows.observed), points)


def weighed(model: VAE, rows: Rows, points: Tensor, *, knows_missing: bool, trained_on: bool = False) -> ScoredDraws:
    """Draws of z from q(z|x_observed).

    An encoder that was trained on complete rows takes a hole for the column's centre, and is sure of it. Then z of rows
    with holes is drawn from proposals that adapt, in turn, and q is their mixture.
    """
    mean, log_std = model.posterior(rows.x, rows.observed)
    z = drawn(mean, log_std, points)
    draws = Draws(mean, log_std, points, z, passes.log_likelihood(model, z, rows.x, rows.observed))
    all_rows = ScoredDraws(z, draws.log_likelihood, model.log_prior_over_posterior(draws, trained_on=trained_on))
    if rows.observed is None or knows_missing:
        return all_rows
    holes = (~rows.observed.all(-1)).nonzero().squeeze(1)
    if not len(holes):
        return all_rows
    some = _weighed_by_proposals(model, rows.take(holes), mean[holes], points, trained_on=trained_on)
    return ScoredDraws(*(all_.index_copy(1, holes, part) for all_, part in zip(all_rows, some, strict=True)))


def _weighed_by_proposals(model: VAE, rows: Rows, mean: Tensor, points: Tensor, *, trained_on: bool) -> ScoredDraws:
    few = points[:ADAPTING].expand(n_rounds(knows_missing=False), -1, -1, -1)
    prior_mean, prior_std = (part.expand_as(mean) for part in model.prior.moments())
    each = [(prior_mean, prior_std.log()), *proposals(model, rows, few, knows_missing=False)]
    means, log_stds = map(torch.stack, zip(*each, strict=True))  # (R, b, k)
    own = torch.arange(len(points), device=points.device) % len(means)
    z = means[own] + torch.exp(log_stds[own]) * points
    log_share = torch.log(torch.bincount(own, minlength=len(means)) / len(own)).view(-1, 1, 1)
    log_q = torch.stack([log_normal(z, *proposal) for proposal in zip(means, log_stds, strict=True)])  # (R, S, b)
    log_p = model.prior.log_prob_of_others(z, mean) if trained_on else model.prior.log_prob(z)
    log_likelihood = passes.log_likelihood(model, z, rows.x, rows.observed)
    return ScoredDraws(z, log_likelihood, log_p - torch.logsumexp(log_q + log_share, 0))


def n_adapting(n_draws: int) -> int:
    """Draws by which the proposals for a row with holes adapt, before the `n_draws` that score it."""
    return n_rounds(knows_missing=False) * min(n_draws, ADAPTING)


def log_likelihood(model: VAE, rows: Rows, points: Tensor, *, knows_missing: bool, trained_on: bool) -> Tensor:
    """Log p(x_observed), shape (b,): as it is where that is known, else its importance-weighted estimate."""
    exact = LinearGaussian.of(model, rows)
    if exact is not None:
        return _zero_where_empty(exact.log_likelihood(rows, trained_on=trained_on), rows)
    draws = weighed(model, rows, points, knows_missing=knows_missing, trained_on=trained_on)
    return _zero_where_empty(log_mean_exp(draws.log_w), rows)


def batches(n_draws: int) -> tuple[int, int]:
    """Number and size of the batches of draws that tell how well a score from `n_draws` is determined."""
    n_batches = max(LEAST_BATCHES, math.ceil(LEAST_DRAWS / n_draws))
    return n_batches, math.ceil(max(n_draws, LEAST_DRAWS) / n_batches)


def sampling_error(
    model: VAE,
    rows: Rows,
    points: Tensor,
    n_batches: int,
    n_draws: int,
    *,
    knows_missing: bool,
    trained_on: bool = False,
) -> tuple[Tensor, ...]:
    """A `SamplingError` of the score from the first `n_draws` of the points, which are batch after batch.

    With batches of m draws the error of a score from S is the root mean square distance of the batches' scores from
    that of all their draws together, times sqrt(m / S). The bias of a log of a mean is part of it. A score that needs
    no draws has no error, as if all draws had the same weight.
    """
    if LinearGaussian.of(model, rows) is not None:
        none = rows.x.new_zeros(len(rows))
        return none, none + n_draws, none
    log_w = weighed(model, rows, points, knows_missing=knows_missing, trained_on=trained_on).log_w  # (S, b)
    by_batch = log_w.unflatten(0, (n_batches, -1))  # (B, m, b)
    size = by_batch.shape[1]
    scores = torch.logsumexp(by_batch, 1) - math.log(size)
    error = (scores - log_mean_exp(log_w)).square().mean(0).mul(size / n_draws).sqrt()
    k = pareto_k(log_w)
    error = torch.where(k > trusted_below(len(log_w)), torch.inf, error)
    size = 1.0 / torch.softmax(log_w[:n_draws], 0).square().sum(0)
    return _zero_where_empty(error, rows), size, _zero_where_empty(k, rows)


def explain(
    model: VAE, rows: Rows, points: Tensor, *, knows_missing: bool, trained_on: bool = False
) -> tuple[Tensor, Tensor]:
    """The terms of the log-likelihood: of each column, (b, p), and of the latent space, (b,).

    With normalised weights w over S draws, log p(x) is sum_j E_w[log p(x_j|z)] + E_w[log p(z) - log q(z|x)] -
    (sum w log w + log S): the columns' are those of the first sum, the latent one is the rest. Where the density needs
    no draws, the expectations are those under p(z|x).
    """
    exact = LinearGaussian.of(model, rows)
    if exact is not None:
        cells, rest = exact.explain(rows, trained_on=trained_on)
        return cells, _zero_where_empty(rest, rows)
    draws = weighed(model, rows, points, knows_missing=knows_missing, trained_on=trained_on)
    log_w = torch.log_softmax(draws.log_w, 0)  # (S, b)
    w = log_w.exp()
    cells = model.columns.log_prob(model.decode(draws.z), rows.x)  # (S, b, p)
    cells = cells if rows.observed is None else cells * rows.observed
    rest = (w * (draws.log_ratio - log_w)).sum(0) - math.log(len(points))
    return (w.unsqueeze(-1) * cells).sum(0), _zero_where_empty(rest, rows)


def _zero_where_empty(values: Tensor, rows: Rows) -> Tensor:
    """The values, 0 for rows that have no observed cell."""
    return values if rows.observed is None else values.where(rows.observed.any(-1), 0.0)
