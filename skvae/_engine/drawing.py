"""Codes and cells that a VAE draws or expects, as functions of a model and of rows, some of whose cells are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skvae._engine.batches import Rows
from skvae._engine.engine import FloatArray, way_back
from skvae._engine.importance import WeighedDraws
from skvae._engine.runtime import chunk_size, sound
from skvae._table.cells import Units
from skvae.nn.models import VAE
from skvae.nn.noise import uniform
from skvae.nn.priors import AggregatedPosterior, Prior, Proposal

CONDITION_ROUNDS = 3  # of proposals from completed rows ...
CONDITION_MODES = 256  # ... so many of them ...
CONDITION_DEFENCE = 0.1  # ... and this share of draws from the prior


class Posteriors(NamedTuple):
    """Posteriors of rows and the logarithms of their weights, in the model's own order of components."""

    mean: FloatArray  # (m, k)
    log_std: FloatArray  # (m, k)
    log_weight: FloatArray  # (m,)

    @classmethod
    @torch.inference_mode()
    def of(cls, model: VAE, x: FloatArray, weight: FloatArray) -> Posteriors:
        """Those of rows, in float32."""
        rows = Rows.from_numpy(x, device=model.start.device)
        mean, log_std = (tensor.cpu().numpy() for tensor in model.posterior(rows.x, rows.observed))
        # The logarithm is taken in float64, in which small weights are not 0.
        return cls(mean, log_std, np.log(weight / weight.mean()).astype(np.float32))

    def some(self, part: slice) -> Posteriors:
        """Those of some of the rows."""
        return Posteriors(*(array[part] for array in self))

    def tensors(self, dtype: torch.dtype, device: torch.device) -> Iterator[Tensor]:
        """What `Prior.settle` takes."""
        return (torch.tensor(array, dtype=dtype, device=device) for array in self)

    def density(self, dtype: torch.dtype, device: torch.device) -> AggregatedPosterior:
        """Their mean."""
        density = AggregatedPosterior(self.mean.shape[1])
        density.settle(*self.tensors(dtype, device))
        return density


UNLIKE = 1e6  # nats by which a row with another mark is the less likely to lend its missing cells


def drawn_cells(model: VAE, codes: Rows, stream: torch.Generator | None) -> Tensor:
    """A draw of each cell given codes, or its mean or mode without a stream; (b, p)."""
    outputs = sound(model.decode(codes.x))
    return model.columns.mean(outputs) if stream is None else model.columns.sample(outputs, stream)


def expected_cells(model: VAE, rows: Rows, draws: WeighedDraws, units: Units) -> Tensor:
    """Weighted means of the statistics of every cell in data units, (b, n_statistics)."""
    statistics = model.columns.expectation(draws.outputs(), way_back(units, rows.x))
    return torch.einsum("sb,sbm->bm", draws.weight, statistics)


def weighed_cells(
    model: VAE, rows: Rows, draws: WeighedDraws, n_each: int, stream: torch.Generator
) -> tuple[Tensor, Tensor]:
    """`n_each` draws of every cell given each draw of z, (S, b, p), and their weights, (S, b)."""
    outputs = draws.outputs()
    each = [model.columns.sample(outputs, stream) for _ in range(n_each)]
    return torch.cat(each), draws.weight.repeat(n_each, 1) / n_each


def completed(model: VAE, rows: Rows, draws: WeighedDraws, stream: torch.Generator) -> Tensor:
    """The rows, (b, p), with a draw of each missing cell, given a code that is resampled from the weighed draws."""
    chosen = torch.multinomial(draws.weight.T, 1, generator=stream)[:, 0]
    drawn = model.columns.sample(draws.outputs()[chosen, torch.arange(len(rows), device=chosen.device)], stream)
    return drawn if rows.observed is None else torch.where(rows.observed, rows.x, drawn)


def squared_distances(model: VAE, rows: Rows, draws: WeighedDraws) -> tuple[Tensor, Tensor]:
    """Mean squares of the cells' distances from what is expected given z, and 1 where a cell counts, else 0; (b, p)."""
    counted = model.columns.counted(rows.x)
    counted = counted if rows.observed is None else counted * rows.observed
    return model.columns.squares(draws.outputs(), rows.x, draws.weight) * counted, counted


def conditioned(
    model: VAE, row: Rows, latent: Prior, n: int, n_draws: int, width: int, stream: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draws of z given the observed cells of one row, (n, k), by importance resampling, and their worth, (1,).

    The first proposals come from `latent`. Each further round proposes from the posteriors of rows that are completed
    from the best draws so far (population Monte Carlo: Cappé et al. 2004), with `latent` mixed in so that no weight is
    too large. At the end n draws are resampled by their weights p(x_observed | z) p(z) / proposal(z). Their worth is
    the effective sample size of the last round, 1 / sum of the squared normalised weights (Kish 1965).
    """
    z = latent.sample(n_draws, stream)
    w = _shares(_log_likelihood(model, row, z, width))
    for _ in range(CONDITION_ROUNDS):
        best = z[torch.multinomial(w, CONDITION_MODES, replacement=True, generator=stream)]
        proposal = Proposal(latent, *_completed_posterior(model, row, best, stream), CONDITION_DEFENCE)
        z = proposal.sample(n_draws, stream)
        w = _shares(_log_likelihood(model, row, z, width) + latent.log_prob(z) - proposal.log_prob(z))
    chosen = torch.multinomial(w, n, replacement=True, generator=stream)
    return z[chosen], 1.0 / w.square().sum(0, keepdim=True)


def modes(
    density: AggregatedPosterior, z: Tensor, stream: torch.Generator, marks: Tensor | None, of_modes: Tensor
) -> Tensor:
    """For each code the number of a mode of the density, drawn by its share of the density there.

    If there are `marks` of the codes (n, s) and of the modes (m, s), among the modes that have most of the same ones.
    """
    k = z.shape[1]

    def drawn(part: Tensor) -> Tensor:
        log_modes = density.log_modes(part[:, :k])
        for own, other in zip(part[:, k:].T, of_modes.T, strict=True):
            log_modes -= UNLIKE * (own.unsqueeze(1) != other)
        return _one_each(_shares(log_modes), stream)

    return _in_parts(drawn, z if marks is None else torch.cat([z, marks], dim=1), density.n_modes)


def _one_each(shares: Tensor, stream: torch.Generator) -> Tensor:
    """For each row of shares (m, C) a place, drawn by them, (m,); torch.multinomial takes ten times as long."""
    below = shares.cumsum(-1)
    drawn = uniform((len(shares), 1), shares, stream) * below[:, -1:]
    return torch.searchsorted(below, drawn, right=True)[:, 0].clamp_max_(shares.shape[1] - 1)


def _log_likelihood(model: VAE, row: Rows, z: Tensor, width: int) -> Tensor:
    """Log p(x_observed | z) of one row for many z, shape (S,)."""
    return _in_parts(lambda part: model.log_likelihood(row.x, row.observed, part.unsqueeze(1))[:, 0], z, width)


def _in_parts(of: Callable[[Tensor], Tensor], z: Tensor, width: int) -> Tensor:
    """What a function says of codes, from as many at a time as layers of that width should hold."""
    return torch.cat([of(part) for part in z.split(chunk_size(1, width, z.device))])


def _shares(log_w: Tensor) -> Tensor:
    """Weights with sum 1 over the last axis."""
    return sound(torch.softmax(log_w, -1))


def _completed_posterior(model: VAE, row: Rows, z: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
    """The posteriors of the row as it is completed from each z."""
    drawn = model.columns.sample(sound(model.decode(z)), stream)
    return model.posterior(drawn if row.observed is None else torch.where(row.observed, row.x, drawn))
