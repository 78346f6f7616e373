"""The models: encoder, decoder, likelihood blocks and, for the VAE, the prior, put together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from skvae._table.kinds import KINDS
from skvae.nn.likelihoods import Likelihood, WayBack
from skvae.nn.networks import InputEncoding
from skvae.nn.noise import LOG_2PI
from skvae.nn.priors import Prior

MAX_LOG_STD = 3.0
MIN_LOG_STD = -8.0


class Draws(NamedTuple):
    """Latent draws for b rows: what every bound is made of."""

    mean: Tensor  # (b, k)
    log_std: Tensor  # (b, k)
    eps: Tensor  # (S, b, k) or (S, 1, k)
    z: Tensor  # (S, b, k)
    log_likelihood: Tensor  # (S, b)


def _widths(likelihood: Likelihood, n_columns: int) -> Tensor:
    """How many statistics `expected` gives of each column: one per level, or one."""
    n_levels: Any = likelihood.n_levels if likelihood.needs_frequencies else torch.ones(n_columns, dtype=torch.long)
    widths: Tensor = n_levels
    return widths


class ColumnBlocks(nn.Module):
    """Likelihoods over blocks of columns, reading one long decoder output.

    Parameters
    ----------
    blocks : sequence of (Likelihood, LongTensor)
        Each likelihood and the columns it serves; together they cover every column once.
    gates : sequence of (int, int)
        Pairs (value, part) of columns: the value counts only where the code of its part is 0.
    """

    gather: Tensor
    scatter: Tensor
    values: Tensor
    parts_of_values: Tensor
    arrange: Tensor
    is_code: Tensor
    gated: Tensor
    gate: Tensor

    def __init__(self, blocks: Sequence[tuple[Likelihood, Tensor]], gates: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__()
        self.likelihoods = nn.ModuleList(likelihood for likelihood, _ in blocks)
        self.sizes = [likelihood.n_outputs for likelihood, _ in blocks]
        columns = torch.cat([columns for _, columns in blocks])
        self.register_buffer("gather", columns)  # block order -> column
        self.register_buffer("scatter", torch.argsort(columns))  # column -> place in block order
        self.counts = [len(columns) for _, columns in blocks]
        self.register_buffer("values", torch.tensor([value for value, _ in gates], dtype=torch.long))
        self.register_buffer("parts_of_values", torch.tensor([part for _, part in gates], dtype=torch.long))
        by_block = [_widths(likelihood, len(columns)) for likelihood, columns in blocks]
        self.n_statistics = [int(widths.sum()) for widths in by_block]
        widths = torch.cat(by_block)  # statistics per column, in block order
        starts = torch.cumsum(widths, 0) - widths
        coded = torch.cat([torch.full((len(c),), KINDS[lik.kind].is_coded) for lik, c in blocks])
        self.register_buffer("is_code", coded[self.scatter])
        order = [torch.arange(int(widths[i])) + starts[i] for i in self.scatter.tolist()]
        self.register_buffer("arrange", torch.cat(order))  # statistics in the order of the columns
        places = torch.cumsum(widths[self.scatter], 0) - widths[self.scatter]  # where those of each column begin
        self.register_buffer("gated", places[self.values], persistent=False)  # values among the statistics ...
        self.register_buffer("gate", places[self.parts_of_values], persistent=False)  # ... and P(their part is 0)

    @property
    def n_outputs(self) -> int:
        return sum(self.sizes)

    def parts(self, outputs: Tensor) -> list[tuple[Likelihood, Tensor]]:
        """Each likelihood with its share of the decoder's outputs."""
        return list(zip(self.likelihoods, outputs.split(self.sizes, dim=-1), strict=True))  # type: ignore[arg-type]

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        """Log-density of each cell, shape (S, b, p), in the order of the columns."""
        if len(self.likelihoods) == 1:
            return self.likelihoods[0].log_prob(outputs, x)  # type: ignore[operator, no-any-return]
        xs = x[..., self.gather].split(self.counts, dim=-1)
        cells = [likelihood.log_prob(out, x) for (likelihood, out), x in zip(self.parts(outputs), xs, strict=True)]
        in_order = torch.cat(cells, dim=-1)[..., self.scatter]
        return in_order * self.counted(x) if len(self.values) else in_order

    def counted(self, x: Tensor) -> Tensor:
        """1 for the cells that count, 0 for values beside a part that is not 0; shape (b, p)."""
        counts = torch.ones_like(x)
        counts[..., self.values] = (x[..., self.parts_of_values] == 0).to(x.dtype)
        return counts

    def expected(self, outputs: Tensor) -> Tensor:
        """The statistics of each column that may be averaged over z: E[x|z], or the probability of each code.

        Shape (..., n_statistics), in the order of the columns.
        """
        return self._arranged([likelihood.expected(out) for likelihood, out in self.parts(outputs)])

    def averaged(self, outputs: Tensor, weight: Tensor) -> Tensor:
        """Means of these statistics over outputs (S, b, n_outputs) with weights (S, b), shape (b, n_statistics)."""
        each = [likelihood.expected(out) for likelihood, out in self.parts(outputs)]
        return self._arranged([torch.einsum("sb,sbm->bm", weight, statistics) for statistics in each])

    def expectation(self, outputs: Tensor, back: WayBack) -> Tensor:
        """What is expected in data units, E[back(x)|z], or the probability of each code; shape (..., n_statistics).

        Of a value that counts only where its part is 0 it is E[back(x) 1(part = 0)|z]; given z the two are independent.
        """
        blocks = zip(self.parts(outputs), self.gather.split(self.counts), strict=True)
        each = [likelihood.expectation(out, back.of(columns)) for (likelihood, out), columns in blocks]
        out = self._arranged(each)
        if len(self.gated):
            out[..., self.gated] *= out[..., self.gate]
        return out

    def _arranged(self, parts: list[Tensor]) -> Tensor:
        """Statistics of the blocks in the order of the columns."""
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)[..., self.arrange]

    def point(self, expected: Tensor) -> Tensor:
        """One value per cell from such statistics, shape (..., p): the mean, or the most probable code."""
        if len(self.likelihoods) == 1:
            return self.likelihoods[0].point(expected)  # type: ignore[operator, no-any-return]
        in_blocks = torch.empty_like(expected)
        in_blocks[..., self.arrange] = expected
        parts = zip(self.likelihoods, in_blocks.split(self.n_statistics, dim=-1), strict=True)
        return self._in_order([likelihood.point(part) for likelihood, part in parts])  # type: ignore[operator]

    def mean(self, outputs: Tensor) -> Tensor:
        """The point that the decoder's outputs stand for, shape (..., p), in the order of the columns."""
        return self._in_order([likelihood.mean(out) for likelihood, out in self.parts(outputs)])

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Draw x given z, shape (..., p), in the order of the columns."""
        return self._in_order([likelihood.sample(out, generator) for likelihood, out in self.parts(outputs)])

    def _in_order(self, cells: list[Tensor]) -> Tensor:
        return cells[0] if len(cells) == 1 else torch.cat(cells, dim=-1)[..., self.scatter]

    @property
    def _settling(self) -> list[tuple[int, Any, Tensor]]:
        """Of the likelihoods that settle after training: the number of the block, the likelihood and its columns."""
        blocks = enumerate(zip(self.likelihoods, self.gather.split(self.counts), strict=True))
        return [(i, likelihood, columns) for i, (likelihood, columns) in blocks if likelihood.settles]

    @property
    def has_held_scales(self) -> bool:
        """Whether a scale is where it is because of a floor that is for training only."""
        return any(bool(likelihood.held.any()) for _, likelihood, _ in self._settling)

    def squares(self, outputs: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Means of (x - E[x|z])^2 over outputs (S, b, n_outputs) with weights (S, b): (b, p), 0 where none settles."""
        parts, out = self.parts(outputs), torch.zeros_like(x)
        for i, likelihood, columns in self._settling:
            distance = x[:, columns] - likelihood.mean(parts[i][1])
            out[:, columns] = torch.einsum("sb,sbm->bm", weight, distance.square())
        return out

    def settle(self, mean_square: Tensor) -> None:
        """Training is over: fit scales to the mean squares (p,) of the distances; NaN where no cell tells of one."""
        for _, likelihood, columns in self._settling:
            likelihood.settle(torch.nan_to_num(mean_square[columns], nan=math.inf))

    def unsettle(self) -> None:
        """Training begins (again): back to the scales that it left."""
        for _, likelihood, _ in self._settling:
            likelihood.unsettle()

    def start(self, mean: Tensor) -> Tensor:
        """Decoder outputs, shape (n_outputs,), that give the marginals for columns of these means."""
        means = mean[self.gather].split(self.counts)
        return torch.cat([lik.start(m) for lik, m in zip(self.likelihoods, means, strict=True)])  # type: ignore[operator]


class Autoencoder(nn.Module):
    """A deterministic autoencoder: code = encoder(x), the decoder's outputs scored by the likelihood blocks.

    Parameters
    ----------
    encoding : InputEncoding
    encoder : Module
        Maps the encoded row to its code (for the VAE: to 2k numbers, means, then log standard deviations).
    decoder : Module
        Maps k numbers to all parameters of all likelihoods.
    columns : ColumnBlocks
    start : tensor of shape (columns.n_outputs,)
        Added to the decoder's output, so that training starts around the marginals.
    """

    start: Tensor

    def __init__(
        self, encoding: InputEncoding, encoder: nn.Module, decoder: nn.Module, columns: ColumnBlocks, start: Tensor
    ) -> None:
        super().__init__()
        self.encoding, self.encoder, self.decoder, self.columns = encoding, encoder, decoder, columns
        self.register_buffer("start", start)

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The code of each row, shape (b, k); that of a row with no observed cell is 0."""
        code: Tensor = self.encoder(self.encoding(x, observed))
        return code if observed is None else code * observed.any(-1, keepdim=True)

    def decode(self, z: Tensor) -> Tensor:
        """Decoder outputs, shape (..., n_outputs)."""
        out: Tensor = self.decoder(z) + self.start
        return out

    def log_likelihood(self, x: Tensor, observed: Tensor | None, z: Tensor) -> Tensor:
        """Log p(x_observed | z), shape (..., b); x must hold finite numbers in missing cells."""
        return self.log_prob_observed(self.decode(z), x, observed)

    def log_prob_observed(self, outputs: Tensor, x: Tensor, observed: Tensor | None) -> Tensor:
        """The same given the decoder's outputs."""
        cells = self.columns.log_prob(outputs, x)  # (..., b, p)
        return cells.sum(-1) if observed is None else (cells * observed).sum(-1)


class VAE(Autoencoder):
    """A variational autoencoder (Kingma & Welling 2013): q(z|x) = N(mu(x), sigma(x)^2), p(z), p(x|z).

    Parameters
    ----------
    prior : Prior
    **parts
        As for `Autoencoder`.
    """

    def __init__(self, *, prior: Prior, **parts: Any) -> None:
        super().__init__(**parts)
        self.prior = prior

    def encode(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """The posterior mean of each row, shape (b, k)."""
        return self.posterior(x, observed)[0]

    def posterior(self, x: Tensor, observed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of q(z|x), each of shape (b, k).

        A row with no observed cell says nothing: its posterior is the prior (its first two moments).
        """
        mean, raw = self.encoder(self.encoding(x, observed)).chunk(2, dim=-1)
        log_std = raw.clamp(MIN_LOG_STD, MAX_LOG_STD)
        if observed is None:
            return mean, log_std
        empty = ~observed.any(-1, keepdim=True)
        with torch.no_grad():  # what such rows would teach the prior is noise
            prior_mean, prior_std = self.prior.moments()
        return torch.where(empty, prior_mean, mean), torch.where(empty, prior_std.log(), log_std)

    def draw(self, x: Tensor, observed: Tensor | None, eps: Tensor) -> Draws:
        """Reparameterised draws z = mu + sigma * eps and their log p(x|z); eps is (S, b, k) or (S, 1, k)."""
        return self.draw_from(*self.posterior(x, observed), x, observed, eps)

    def draw_from(self, mean: Tensor, log_std: Tensor, x: Tensor, observed: Tensor | None, eps: Tensor) -> Draws:
        """The same for a posterior that is known already."""
        z = mean + torch.exp(log_std) * eps  # (S, b, k)
        return Draws(mean, log_std, eps, z, self.log_likelihood(x, observed, z))

    def log_prior_over_posterior(self, draws: Draws, *, trained_on: bool = False) -> Tensor:
        """Log p(z) - log q(z|x), shape (S, b); for rows that the prior was `trained_on`, p is that of the others."""
        log_q = -0.5 * draws.eps.square().sum(-1) - (draws.log_std + 0.5 * LOG_2PI).sum(-1)
        log_p = self.prior.log_prob_of_others(draws.z, draws.mean) if trained_on else self.prior.log_prob(draws.z)
        return log_p - log_q

    def kl(self, draws: Draws) -> Tensor:
        """KL(q(z|x) || p(z)) in nats, shape (b,): closed, or estimated from the draws."""
        closed = self.prior.kl(draws.mean, draws.log_std)
        return -self.log_prior_over_posterior(draws).mean(0) if closed is None else closed.sum(-1)

    def kl_per_component(self, mean: Tensor, log_std: Tensor, eps: Tensor) -> Tensor:
        """KL(q(z_j|x) || p(z_j)) in nats, shape (b, k): closed, or estimated from eps (S, b, k) or (S, 1, k)."""
        closed = self.prior.kl(mean, log_std)
        if closed is not None:
            return closed
        log_q = -0.5 * (eps.square() + LOG_2PI) - log_std
        return (log_q - self.prior.marginal_log_prob(mean + torch.exp(log_std) * eps)).mean(0)
