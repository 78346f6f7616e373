"""The models: encoder, decoder, likelihood blocks and, for the VAE, the prior, put together."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from skvae._table.kinds import KINDS
from skvae.nn.likelihoods import Likelihood, WayBack
from skvae.nn.networks import Described, InputEncoding, TableEncoding
from skvae.nn.noise import LOG_2PI
from skvae.nn.priors import Prior, log_prob_features_first
from skvae.nn.pullbacks import Pullback, closed_form, has_closed_form

MAX_LOG_STD = 3.0
MIN_LOG_STD = -8.0


class Draws(NamedTuple):
    """Latent draws for b rows: what every bound is made of."""

    mean: Tensor  # (b, k)
    log_std: Tensor  # (b, k)
    eps: Tensor  # (S, b, k) or (S, 1, k)
    z: Tensor  # (S, b, k)
    log_likelihood: Tensor  # (S, b)


class ColumnBlocks(Described):
    """Likelihoods over blocks of columns that stand one after another, reading one long decoder output.

    Parameters
    ----------
    likelihoods : sequence of Likelihood
        Each serves the next `n_columns` columns.
    gates : sequence of (int, int)
        Pairs (value, atom) of columns: the value counts only where the other's code is 0, for no atom.
    """

    SAVED_ONCE = ("gather", "scatter", "arrange", "is_code", "values", "parts_of_values")

    values: Tensor
    atoms: Tensor
    is_code: Tensor
    gated: Tensor
    gate: Tensor

    def __init__(self, likelihoods: Sequence[Likelihood], gates: Sequence[tuple[int, int]] = ()) -> None:
        super().__init__()
        self.likelihoods = nn.ModuleList(likelihoods)
        self.sizes = [likelihood.n_outputs for likelihood in likelihoods]
        self.counts = [likelihood.n_columns for likelihood in likelihoods]
        self.n_statistics = [sum(likelihood.n_statistics) for likelihood in likelihoods]
        widths = torch.tensor([n for likelihood in likelihoods for n in likelihood.n_statistics])
        places = torch.cumsum(widths, 0) - widths  # where the statistics of each column begin
        values, atoms = torch.tensor(gates, dtype=torch.long).view(-1, 2).unbind(1)
        coded = torch.tensor([KINDS[likelihood.kind].is_coded for likelihood in likelihoods])
        self.has_codes = bool(coded.any())
        self._keep("is_code", coded.repeat_interleave(torch.tensor(self.counts)))
        self._keep("values", values)
        self._keep("atoms", atoms)
        self._keep("gated", places[values])  # values among the statistics ...
        self._keep("gate", places[atoms])  # ... and P(they are no atom)

    @property
    def n_outputs(self) -> int:
        return sum(self.sizes)

    def by_block(self, outputs: Tensor) -> list[tuple[Likelihood, Tensor]]:
        """Each likelihood with its share of the decoder's outputs."""
        return list(zip(self._each(), outputs.split(self.sizes, dim=-1), strict=True))

    def _each(self) -> Iterator[Likelihood]:
        return iter(self.likelihoods)  # type: ignore[arg-type]

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        """Log-density of each cell, shape (S, b, p)."""
        each = zip(self.by_block(outputs), x.split(self.counts, dim=-1), strict=True)
        cells = _joined([likelihood.log_prob(out, x) for (likelihood, out), x in each])
        return cells * self.counted(x) if len(self.values) else cells

    def with_pullback(self, outputs: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        """That of each cell, (p, S, b), and its pullback to outputs (n_outputs, S, b), features first; x is (p, b).

        Values that do not count are among the cells.
        """
        each = zip(self._each(), self._split(outputs, self.sizes), self._split(x, self.counts), strict=True)
        cells, pulls = zip(
            *(closed_form(own, "with_pullback", Likelihood)(out, x) for own, out, x in each), strict=True
        )

        def pull(grad: Tensor) -> Tensor:
            parts = zip(pulls, self._split(grad, self.counts), strict=True)
            return _stacked([pull(part) for pull, part in parts])

        return _stacked(cells), pull

    def features_first(self, outputs: Tensor, x: Tensor) -> Tensor:
        """The first of the two, by what is made for this order, else by `log_prob`; the outputs may be overwritten."""
        each = zip(self._each(), self._split(outputs, self.sizes), self._split(x, self.counts), strict=True)
        return _stacked([_cells(own, out, x) for own, out, x in each])

    def _split(self, features: Tensor, sizes: list[int]) -> Sequence[Tensor]:
        """Those of each block, features first."""
        return [features] if len(sizes) == 1 else features.split_with_sizes(sizes)

    def counted(self, x: Tensor) -> Tensor:
        """1 for the cells that count, 0 for values that are atoms; shape (b, p)."""
        is_no_atom = (x.index_select(-1, self.atoms) == 0).to(x.dtype)
        return torch.ones_like(x).index_copy_(-1, self.values, is_no_atom)

    def expected(self, outputs: Tensor) -> Tensor:
        """The statistics of each column that may be averaged over z: E[x|z], or the probability of each code.

        Shape (..., n_statistics).
        """
        return _joined([likelihood.expected(out) for likelihood, out in self.by_block(outputs)])

    def averaged(self, outputs: Tensor, weight: Tensor) -> Tensor:
        """Means of these statistics over outputs (S, b, n_outputs) with weights (S, b), shape (b, n_statistics)."""
        each = [likelihood.expected(out) for likelihood, out in self.by_block(outputs)]
        return _joined([torch.einsum("sb,sbm->bm", weight, statistics) for statistics in each])

    def expectation(self, outputs: Tensor, back: WayBack) -> Tensor:
        """What is expected in data units, E[back(x)|z], or the probability of each code; shape (..., n_statistics).

        Of a value that counts only where it is no atom it is E[back(x) 1(no atom)|z]; given z the two are independent.
        """
        blocks = zip(self.by_block(outputs), self._columns(), strict=True)
        out = _joined([likelihood.expectation(out, back.of(columns)) for (likelihood, out), columns in blocks])
        if len(self.gated):
            out[..., self.gated] *= out[..., self.gate]
        return out

    def point(self, expected: Tensor) -> Tensor:
        """One value per cell from such statistics, shape (..., p): the mean, or the most probable code."""
        blocks = zip(self._each(), expected.split(self.n_statistics, dim=-1), strict=True)
        return _joined([likelihood.point(own) for likelihood, own in blocks])

    def mean(self, outputs: Tensor) -> Tensor:
        """The point that the decoder's outputs stand for, shape (..., p)."""
        return _joined([likelihood.mean(out) for likelihood, out in self.by_block(outputs)])

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Draw x given z, shape (..., p)."""
        return _joined([likelihood.sample(out, generator) for likelihood, out in self.by_block(outputs)])

    def _columns(self) -> list[slice]:
        """The columns of each block."""
        edges = itertools.accumulate(self.counts, initial=0)
        return [slice(start, stop) for start, stop in itertools.pairwise(edges)]

    @property
    def _settling(self) -> list[tuple[int, Any, slice]]:
        """Of the likelihoods that settle after training: the number of the block, the likelihood and its columns."""
        blocks = enumerate(zip(self.likelihoods, self._columns(), strict=True))
        return [(i, likelihood, columns) for i, (likelihood, columns) in blocks if likelihood.settles]

    @property
    def has_held_scales(self) -> bool:
        """Whether a scale is where it is because of a floor that is for training only."""
        return any(bool(likelihood.held.any()) for _, likelihood, _ in self._settling)

    def squares(self, outputs: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """Means of (x - E[x|z])^2 over outputs (S, b, n_outputs) with weights (S, b): (b, p), 0 where none settles."""
        blocks, out = self.by_block(outputs), torch.zeros_like(x)
        for i, likelihood, columns in self._settling:
            distance = x[:, columns] - likelihood.mean(blocks[i][1])
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

    def start(self, mean: Tensor, quantiles: Tensor | None = None) -> Tensor:
        """Decoder outputs, shape (n_outputs,), that give the marginals for columns of these means and quantiles."""
        means = mean.split(self.counts)
        if quantiles is None:
            return torch.cat([own.start(m) for own, m in zip(self._each(), means, strict=True)])
        each = zip(self._each(), means, quantiles.split(self.counts, dim=-1), strict=True)
        return torch.cat([own.start_at(m, q) for own, m, q in each])


def _cells(likelihood: Likelihood, outputs: Tensor, x: Tensor) -> Tensor:
    if has_closed_form(likelihood, "features_first", Likelihood):
        return likelihood.features_first(outputs, x)
    if has_closed_form(likelihood, "with_pullback", Likelihood):
        return likelihood.with_pullback(outputs, x)[0]
    return Likelihood.features_first(likelihood, outputs, x)


def _stacked(blocks: Sequence[Tensor]) -> Tensor:
    """Those of all blocks, features first."""
    return blocks[0] if len(blocks) == 1 else torch.cat(list(blocks))


def _joined(blocks: list[Tensor]) -> Tensor:
    """The columns of all blocks."""
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-1)


class Autoencoder(nn.Module):
    """A deterministic autoencoder: code = encoder(x), the decoder's outputs scored by the likelihood blocks.

    Parameters
    ----------
    encoding : InputEncoding or TableEncoding
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
        self,
        encoding: InputEncoding | TableEncoding,
        encoder: nn.Module,
        decoder: nn.Module,
        columns: ColumnBlocks,
        start: Tensor,
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
    **modules
        As for `Autoencoder`.
    """

    def __init__(self, *, prior: Prior, **modules: Any) -> None:
        super().__init__(**modules)
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
        return self._log_prior(draws, trained_on=trained_on) - log_q

    def _log_prior(self, draws: Draws, *, trained_on: bool) -> Tensor:
        if trained_on:
            return self.prior.log_prob_of_others(draws.z, draws.mean)
        if torch.is_grad_enabled():
            return self.prior.log_prob(draws.z)
        return log_prob_features_first(self.prior, draws.z.movedim(-1, 0))

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
