"""Draws of z given the observed cells of rows, weighed by what these say, from proposals that adapt."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from skvae._engine.batches import Rows
from skvae._engine.runtime import sound
from skvae.nn import passes
from skvae.nn.models import VAE
from skvae.nn.priors import log_prob_features_first

COMPLETED = 3  # rounds in which an encoder that was trained on complete rows sees the row completed ...
MATCHED = 3  # ... and rounds for every encoder, from normal densities matched to the draws so far
PRIOR_DRAWS = 10.0  # draws that the encoder's own spread counts for in a matched one


Proposal = tuple[Tensor, Tensor]  # mean and log standard deviation of a normal density of z for each row, (b, k)


def drawn(mean: Tensor, log_std: Tensor, points: Tensor) -> Tensor:
    """Draws (S, b, k) of normal densities (b, k), which lie in memory as the way through the decoder has them."""
    return torch.addcmul(mean.T.unsqueeze(1), torch.exp(log_std).T.unsqueeze(1), points.movedim(-1, 0)).movedim(0, -1)


class WeighedDraws(NamedTuple):
    """Draws for b rows, whose weights sum to 1 over the S draws of a row."""

    z: Tensor  # (k, S, b)
    weight: Tensor  # (S, b)
    parts: list[Tensor]  # of the decoder's outputs, (n_outputs, some of S, b) each

    def outputs(self) -> Tensor:
        """Those of the decoder, (S, b, n_outputs)."""
        return torch.cat(self.parts, 1).movedim(0, -1)

    def expected(self, model: VAE) -> Tensor:
        """Weighted means of the statistics of each cell, (b, n_statistics)."""
        return model.columns.averaged(self.outputs(), self.weight)

    def moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and variance of z, (k, b), and the effective sample size (Kish 1965), (b,)."""
        mean = (self.weight * self.z).sum(1)
        distance = self.z - mean.unsqueeze(1)
        return mean, distance.square_().mul_(self.weight).sum(1), self.weight.square().sum(0).reciprocal_()


def n_rounds(knows_missing: bool) -> int:
    """Proposals of `weighed_draws`, by whether the encoder was trained on rows with missing cells."""
    return 1 + MATCHED + (0 if knows_missing else COMPLETED)


def weighed_draws(model: VAE, rows: Rows, points: Tensor, *, knows_missing: bool) -> WeighedDraws:
    """Draw z by adaptive multiple importance sampling (Cornuet et al. 2012, arXiv 0907.1254).

    The first proposal is q(z|x_observed). Each further one is a normal density with the mean and the variances of the
    draws so far; before these, for an encoder that takes a hole for the column's centre, it is the posterior given the
    row as it was completed so far. All draws are weighed as if they came from the mixture of all proposals,
    p(x_observed, z) / mean_r q_r(z), so that a proposal that misses does no harm.

    Parameters
    ----------
    model : VAE
    rows : Rows
        Of b rows.
    points : tensor of shape (n_rounds(knows_missing), S, 1, k)
        Standard normal.
    knows_missing : bool
    """
    draws = _adapted(model, rows, points, knows_missing=knows_missing)[1]
    sound(draws.weight)
    return draws


def proposals(model: VAE, rows: Rows, points: Tensor, *, knows_missing: bool) -> list[Proposal]:
    """Those that `weighed_draws` arrives at, the last one first: it has seen the most draws."""
    return _adapted(model, rows, points, knows_missing=knows_missing)[0][::-1]


def _adapted(model: VAE, rows: Rows, points: Tensor, *, knows_missing: bool) -> tuple[list[Proposal], WeighedDraws]:
    """Proposal after proposal, and the draws of all but the last."""
    proposals = [model.posterior(rows.x, rows.observed)]
    z, outputs, log_joint = [], [], []
    log_q = points.new_empty(0, 0, len(rows))  # of all draws, under each proposal
    for i, part in enumerate(points):
        z.append(drawn(*proposals[i], part).movedim(-1, 0))
        outputs.append(passes.decode(model, z[i]))
        log_likelihood = model.log_prob_observed(outputs[i].movedim(0, -1), rows.x, rows.observed)
        log_joint.append(log_likelihood + log_prob_features_first(model.prior, z[i]))
        own = _log_normal(torch.cat(z, 1), *proposals[i])
        of_others = [_log_normal(z[i], *earlier) for earlier in proposals[:i]]
        log_q = torch.stack([*(torch.cat(each) for each in zip(log_q, of_others, strict=True)), own])
        weight = torch.softmax(torch.cat(log_joint) - torch.logsumexp(log_q, 0), 0)
        draws = WeighedDraws(torch.cat(z, 1), weight, list(outputs))
        completes = not knows_missing and i < COMPLETED
        proposals.append(_completed(model, rows, draws) if completes else _matched(draws, proposals[0]))
    return proposals, draws


def _log_normal(z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log-density (S, b) of z (k, S, b) under a proposal, but for the constant that all have."""
    scale = torch.exp(log_std).T.unsqueeze(1)
    return torch.sub(z, mean.T.unsqueeze(1)).div_(scale).square_().sum(0).mul_(-0.5).sub_(log_std.sum(1))


def _completed(model: VAE, rows: Rows, draws: WeighedDraws) -> Proposal:
    """The posterior given the rows with what is expected of their missing cells."""
    guess = model.columns.point(draws.expected(model))
    return model.posterior(guess if rows.observed is None else torch.where(rows.observed, rows.x, guess))


def _matched(draws: WeighedDraws, first: Proposal) -> Proposal:
    """Mean and log standard deviation of the draws; where they are few the spread is near that of the encoder."""
    mean, variance, size = draws.moments()
    shrunk = (size * variance + PRIOR_DRAWS * torch.exp(2.0 * first[1]).T) / (size + PRIOR_DRAWS)
    return mean.T, 0.5 * torch.log(shrunk.T)
