"""Densities that need no draws: those of a linear decoder whose cells are all normal, with a noise that is no output.

In units of the noise a row is x = offset + W z + e, and given a mode of the prior, N(mu, diag(s^2)), it is normal with
mean offset + W mu and covariance C = W diag(s^2) W' + I (factor analysis; with one noise probabilistic PCA, Tipping and
Bishop 1999). Along a basis of W's columns C is root root', across it I. Modes of the same s have the same root.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from skvae._engine.batches import Rows
from skvae._engine.closed_form import is_affine
from skvae.nn.likelihoods import Gaps, Gaussian, SmoothGaussian
from skvae.nn.models import VAE
from skvae.nn.noise import LOG_2PI
from skvae.nn.priors import AggregatedPosterior, Mixture, StandardNormal

ALIKE = 1e-5  # difference of log standard deviations that is but rounding
MOST_ROOTS = 64  # different standard deviations of modes that are worth a decomposition each


class Modes(NamedTuple):
    """The modes of a prior that have the same standard deviations."""

    mean: Tensor  # mu, (N, k)
    std: Tensor  # s, (k,)
    log_share: Tensor  # (N,)


def _modes(model: VAE) -> list[Modes]:
    prior = model.prior
    if type(prior) is StandardNormal:
        mean, std = prior.moments()
        return [Modes(mean.unsqueeze(0), std, torch.zeros_like(std[:1]))]
    if not isinstance(prior, Mixture) or type(prior) not in (Mixture, AggregatedPosterior):
        return []
    log_share, stds = torch.log_softmax(prior.logits, 0), prior.log_stds
    if (stds - stds[0]).abs().max() < ALIKE:
        return [Modes(prior.means, stds[0].exp(), log_share)]
    each = zip(prior.means.split(1), stds.exp(), log_share.split(1), strict=True)
    return [Modes(*mode) for mode in each] if len(stds) <= MOST_ROOTS else []


def _log_noise(model: VAE, rows: Rows) -> Tensor | None:
    """The log standard deviation of each cell, (p,), where none depends on the code and all that are asked are normal.

    Cells that say what is missing may stand behind them, with any number, of which nothing is asked.
    """
    own: Any
    own, *others = model.columns.likelihoods
    is_normal = type(own) in (Gaussian, SmoothGaussian) and own.log_scale is not None and is_affine(model.decoder)
    if not is_normal or any(type(other) is not Gaps for other in others):
        return None
    if others and (rows.observed is None or rows.observed[:, own.n_columns :].any()):
        return None
    log_noise: Tensor = own.location_and_log_scale(model.start[: own.n_columns])[1].expand(own.n_columns)
    return torch.cat([log_noise, torch.zeros_like(model.start[own.n_columns :])])


@dataclass(frozen=True)
class LinearGaussian:
    """Such a model's density of rows."""

    model: VAE
    log_noise: Tensor  # (p,)
    modes: list[Modes]

    @classmethod
    def of(cls, model: VAE, rows: Rows) -> Self | None:
        """That of a model, or None where it has no such density of rows like these."""
        log_noise = _log_noise(model, rows)
        modes = [] if log_noise is None else _modes(model)
        return None if log_noise is None or not modes else cls(model, log_noise, modes)

    def log_likelihood(self, rows: Rows, *, trained_on: bool) -> Tensor:
        """Log p(x_observed) in nats, (b,); of rows that the model was `trained_on`, by the modes of others."""
        out = rows.x.new_zeros(len(rows))
        for seen in self._patterns(rows):
            out[seen.rows] = seen.rest() + torch.logsumexp(self._log_modes(seen, rows, trained_on=trained_on), 1)
        return out

    def explain(self, rows: Rows, *, trained_on: bool) -> tuple[Tensor, Tensor]:
        """E[log p(x_j|z)] under p(z|x), (b, p), 0 where missing; and the rest of the log-likelihood, (b,)."""
        cells, total = torch.zeros_like(rows.x), rows.x.new_zeros(len(rows))
        for seen in self._patterns(rows):
            log_modes = self._log_modes(seen, rows, trained_on=trained_on)
            squares = seen.expected_squares(torch.softmax(log_modes, 1))
            cells[seen.rows.unsqueeze(1), seen.cells] = -0.5 * (squares + LOG_2PI) - self.log_noise[seen.cells]
            total[seen.rows] = seen.rest() + torch.logsumexp(log_modes, 1)
        return cells, total - cells.sum(1)

    def _log_modes(self, seen: _Seen, rows: Rows, *, trained_on: bool) -> Tensor:
        """Log of the modes' shares times their densities along the basis, (b, N)."""
        log_modes, prior = seen.log_modes(), self.model.prior
        if not trained_on or not isinstance(prior, AggregatedPosterior) or not prior.settled:
            return log_modes
        part = rows.take(seen.rows)
        trained, own = prior.own_modes(self.model.posterior(part.x, part.observed)[0])
        return log_modes.index_copy(0, trained, prior.without(log_modes[trained], own))

    def _patterns(self, rows: Rows) -> Iterator[_Seen]:
        """The rows, those together in which the same cells are observed."""
        noise, std = self.log_noise.exp(), self.modes[0].std
        offset = self.model.decode(torch.zeros_like(std))
        unit = torch.eye(len(std), dtype=std.dtype, device=std.device)
        loading, distance = (self.model.decode(unit) - offset).T / noise.unsqueeze(1), (rows.x - offset) / noise
        observed = torch.ones_like(rows.x[:1], dtype=torch.bool) if rows.observed is None else rows.observed
        patterns, own = torch.unique(observed, dim=0, return_inverse=True)
        for i, pattern in enumerate(patterns):
            cells = pattern.nonzero().squeeze(1)
            members = (own.expand(len(rows)) == i).nonzero().squeeze(1)
            part = distance if len(patterns) == 1 else distance[members]
            yield _Seen.of(members, cells, part[:, cells], self.log_noise[cells], loading[cells], self.modes)


@dataclass(frozen=True)
class _Seen:
    """Rows in which the same q cells are observed, and what the modes say of these, in units of the noise."""

    rows: Tensor  # indices (b,)
    cells: Tensor  # indices (q,)
    log_noise: Tensor  # (q,)
    basis: Tensor  # orthonormal, (q, m)
    across: Tensor  # what of a row's distance from the offset the basis does not span, (b, q)
    along: Tensor  # what it spans, (b, m)
    parts: list[_Whitened]

    @classmethod
    def of(
        cls, rows: Tensor, cells: Tensor, distance: Tensor, log_noise: Tensor, loading: Tensor, modes: list[Modes]
    ) -> Self:
        """What modes say of distances (b, q) from the offset, W being the loading (q, k)."""
        basis, factor = torch.linalg.qr(loading)
        along = distance @ basis
        parts = [_Whitened.of(along, factor, part) for part in modes]
        return cls(rows, cells, log_noise, basis, distance - along @ basis.T, along, parts)

    def log_modes(self) -> Tensor:
        """Log of each mode's share times its density along the basis but for what `rest` has, (b, N)."""
        return torch.cat([part.log_modes for part in self.parts], 1)

    def rest(self) -> Tensor:
        """What of the log-density of rows all modes have in common, (b,)."""
        return -0.5 * (self.across.square().sum(1) + LOG_2PI * len(self.cells)) - self.log_noise.sum()

    def expected_squares(self, share: Tensor) -> Tensor:
        """E[e^2] of the noise given the rows, (b, q), each mode having such a share (b, N) in a row.

        Given a mode too, e has the mean C^-1 (x - offset - W mu) and the covariance I - C^-1, where
        C^-1 = gain gain' + I - basis basis'.
        """
        out, given = torch.zeros_like(self.across), 0
        for part in self.parts:
            own = share[:, given : given + len(part.centres)]
            gain = torch.linalg.solve_triangular(part.root, self.basis.T, upper=False).T  # (q, m)
            row, mode = self.across + part.along @ gain.T, part.centres @ gain.T
            mean_square = own.sum(1, keepdim=True) * row.square() - 2.0 * row * (own @ mode) + own @ mode.square()
            out += mean_square + own.sum(1, keepdim=True) * (self.basis.square().sum(1) - gain.square().sum(1))
            given += len(part.centres)
        return out


class _Whitened(NamedTuple):
    """Rows and modes along the basis, in standard deviations of C."""

    root: Tensor  # lower triangular, (m, m)
    along: Tensor  # (b, m)
    centres: Tensor  # (N, m)
    log_modes: Tensor  # (b, N)

    @classmethod
    def of(cls, along: Tensor, factor: Tensor, modes: Modes) -> Self:
        """Those of rows (b, m) and modes whose codes the factor (m, k) takes there."""
        scaled = factor * modes.std
        root = torch.linalg.cholesky(
            scaled @ scaled.T + torch.eye(len(scaled), dtype=scaled.dtype, device=scaled.device)
        )
        rows, centres = (
            torch.linalg.solve_triangular(root, points.T, upper=False).T for points in (along, modes.mean @ factor.T)
        )
        log_density = -0.5 * torch.cdist(rows, centres).square() - root.diagonal().log().sum()
        return cls(root, rows, centres, log_density + modes.log_share)
