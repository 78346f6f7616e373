"""What a model is trained on: the bound of its rows, and the damage that a denoising autoencoder undoes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from skvae._engine.batches import Rows
from skvae._engine.training import RowBound
from skvae.nn.models import VAE, Autoencoder
from skvae.nn.noise import normal, uniform
from skvae.nn.objectives import OBJECTIVES, Bound

Corruption = Callable[[Rows, torch.Generator, Tensor], Rows]


def variational_bound(objective: str, n_draws: int, free_bits: float) -> RowBound:
    """The bound on log p(x) of that name, from `n_draws` reparameterised draws of z."""
    return partial(_variational, of=OBJECTIVES[objective], n_draws=n_draws, free_bits=free_bits)


def reconstruction_bound(corruption: str | None, level: float) -> RowBound:
    """Minus the error of the clean row as it is reconstructed from the corrupted one."""
    return partial(
        _reconstruction, corrupt=_none if corruption is None else partial(CORRUPTIONS[corruption], level=level)
    )


def _variational(
    model: VAE,
    rows: Rows,
    noise: torch.Generator,
    beta: float,
    *,
    of: Callable[..., Bound],
    n_draws: int,
    free_bits: float,
) -> Bound:
    observed = None if rows.observed is None else rows.observed.to(rows.x.dtype)  # once, not in each product with it
    mean, log_std = model.posterior(rows.x, observed)
    eps = normal((n_draws, *mean.shape), rows.x, noise)
    draws = model.draw_from(mean, log_std, rows.x, observed, eps)
    return of(model, draws, beta=beta, free_bits=free_bits)


def _reconstruction(
    model: Autoencoder, rows: Rows, noise: torch.Generator, beta: float, *, corrupt: Corruption
) -> Bound:
    damaged = corrupt(rows, noise, model.columns.is_code)
    value = model.log_likelihood(rows.x, rows.observed, model.encode(damaged.x, damaged.observed))
    return Bound(value, value, torch.zeros_like(value))


def _none(rows: Rows, noise: torch.Generator, is_code: Tensor) -> Rows:
    return rows


def masked(rows: Rows, noise: torch.Generator, is_code: Tensor, *, level: float) -> Rows:
    """Each number set to 0 (for a standardised column its mean) with probability `level` (Vincent et al. 2008).

    A code is hidden instead: the encoder sees it as missing.
    """
    kept = uniform(rows.x.shape, rows.x, noise) >= level
    if not is_code.any():
        return replace(rows, x=rows.x * kept)
    seen = kept | ~is_code
    return replace(rows, x=rows.x * kept, observed=seen if rows.observed is None else seen & rows.observed)


def with_noise(rows: Rows, noise: torch.Generator, is_code: Tensor, *, level: float) -> Rows:
    """Normal noise of standard deviation `level`, in standardised units, on all that is no code."""
    return replace(rows, x=rows.x + level * normal(rows.x.shape, rows.x, noise) * ~is_code)


CORRUPTIONS: dict[str, Callable[..., Rows]] = {"masking": masked, "gaussian": with_noise}
