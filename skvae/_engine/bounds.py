"""What a model is trained on: the bound of its rows, and the damage that a denoising autoencoder undoes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from skvae._engine.batches import Look, Rows
from skvae._engine.training import bound_by_autograd
from skvae.nn import passes
from skvae.nn.models import VAE, Autoencoder, ColumnBlocks
from skvae.nn.noise import normal, uniform
from skvae.nn.objectives import OBJECTIVES, SLOPES, Bound, Passed
from skvae.nn.pullbacks import Pullback


@dataclass(frozen=True)
class VariationalBound:
    """A bound on log p(x), from `n_draws` reparameterised draws of z.

    Parameters
    ----------
    objective : {"elbo", "iwae", "dreg"}
    n_draws : int
    free_bits : float
        Nats of each component's KL that cost nothing.
    """

    objective: str
    n_draws: int
    free_bits: float

    def __call__(self, model: VAE, rows: Rows, noise: torch.Generator, beta: float) -> Bound:
        """The bound of each row, by its formula."""
        observed = _observed(rows)
        mean, log_std = model.posterior(rows.x, observed)
        draws = model.draw_from(mean, log_std, rows.x, observed, self._eps(mean.T, noise).movedim(0, -1))
        return OBJECTIVES[self.objective](model, draws, beta=beta, free_bits=self.free_bits)

    def with_pullback(self, model: VAE, rows: Rows, noise: torch.Generator, beta: float) -> tuple[Bound, Pullback]:
        """The same, and its pullback, which takes the gradient to each row's value to all parameters."""
        if self.free_bits > 0.0:
            return bound_by_autograd(self, model, rows, noise, beta)
        observed = _observed(rows)
        mean, log_std, to_posterior = passes.posterior(model, rows.x, observed, rows.seen)
        eps, std = self._eps(mean, noise), torch.exp(log_std)
        z = torch.addcmul(mean.unsqueeze(1), std.unsqueeze(1), eps)
        log_likelihood, to_z = passes.likelihood(model, z, rows.x, observed)
        bound, slopes_at = SLOPES[self.objective](model.prior, Passed(mean, log_std, eps, z, log_likelihood), beta)

        def pull(grad: Tensor) -> None:
            slopes = slopes_at(grad)
            at_z = to_z(slopes.log_likelihood)
            at_z = at_z if slopes.z is None else at_z.add_(slopes.z)
            at_z = at_z if slopes.factor is None else at_z.mul_(slopes.factor)
            through_z = _summed(at_z), _summed(at_z * eps).mul_(std)
            each = zip(through_z, slopes.posterior, strict=True)
            to_posterior(*(through if beside is None else through.add_(beside) for through, beside in each))

        return bound, pull

    def needs_autograd(self, model: VAE) -> bool:
        """Whether `with_pullback` records a graph."""
        return self.free_bits > 0.0 or passes.needs_autograd(model)

    def look(self, model: VAE) -> Look | None:
        """What says what the encoder sees of rows; None for a model that learns to look."""
        return None if passes.learns_to_look(model) else partial(_seen, model)

    def _eps(self, mean: Tensor, noise: torch.Generator) -> Tensor:
        """Standard normal noise for codes (k, b), (k, S, b)."""
        return normal((mean.shape[0], self.n_draws, mean.shape[1]), mean, noise)


def _summed(at_z: Tensor) -> Tensor:
    """Sums over the draws, (k, b)."""
    return at_z.squeeze(1) if at_z.shape[1] == 1 else at_z.sum(1)


def _seen(model: Autoencoder, rows: Rows) -> Tensor:
    """What the encoder sees of rows."""
    seen: Tensor = model.encoding(rows.x, _observed(rows))
    return seen


def _observed(rows: Rows) -> Tensor | None:
    """0 or 1 for each cell, once and not in each product with it."""
    return None if rows.observed is None else rows.observed.to(rows.x.dtype)


@dataclass(frozen=True)
class ReconstructionBound:
    """Minus the error of the clean row as it is reconstructed from the corrupted one.

    Parameters
    ----------
    corruption : {"masking", "gaussian"} or None
    level : float
    """

    corruption: str | None
    level: float

    def __call__(self, model: Autoencoder, rows: Rows, noise: torch.Generator, beta: float) -> Bound:
        """The bound of each row, by its formula."""
        damaged = self._damaged(model, rows, noise)
        return _as_bound(model.log_likelihood(rows.x, rows.observed, model.encode(damaged.x, damaged.observed)))

    def with_pullback(
        self, model: Autoencoder, rows: Rows, noise: torch.Generator, beta: float
    ) -> tuple[Bound, Pullback]:
        """The same, and its pullback, which takes the gradient to each row's value to all parameters."""
        damaged = self._damaged(model, rows, noise)
        code, to_encoder = passes.autoencode(model, damaged.x, damaged.observed, damaged.seen)
        value, to_code = passes.likelihood(model, code.unsqueeze(1), rows.x, rows.observed)
        return _as_bound(value[0]), lambda grad: to_encoder(to_code(grad.unsqueeze(0)).squeeze(1))

    def needs_autograd(self, model: Autoencoder) -> bool:
        """Whether `with_pullback` records a graph."""
        return passes.needs_autograd(model)

    def look(self, model: Autoencoder) -> Look | None:
        """What says what the encoder sees of rows; None where each step damages them, or the model learns to look."""
        return None if self.corruption is not None or passes.learns_to_look(model) else partial(_seen, model)

    def _damaged(self, model: Autoencoder, rows: Rows, noise: torch.Generator) -> Rows:
        if self.corruption is None:
            return rows
        return CORRUPTIONS[self.corruption](rows, noise, model.columns, level=self.level)


def _as_bound(value: Tensor) -> Bound:
    return Bound(value, value, torch.zeros_like(value))


def masked(rows: Rows, noise: torch.Generator, columns: ColumnBlocks, *, level: float) -> Rows:
    """Each number set to 0 (for a standardised column its mean) with probability `level` (Vincent et al. 2008).

    A code is hidden instead: the encoder sees it as missing.
    """
    kept = uniform(rows.x.shape, rows.x, noise) >= level
    if not columns.has_codes:
        return replace(rows, x=rows.x * kept)
    seen = kept | ~columns.is_code
    return replace(rows, x=rows.x * kept, observed=seen if rows.observed is None else seen & rows.observed)


def with_noise(rows: Rows, noise: torch.Generator, columns: ColumnBlocks, *, level: float) -> Rows:
    """Normal noise of standard deviation `level`, in standardised units, on all that is no code."""
    return replace(rows, x=rows.x + level * normal(rows.x.shape, rows.x, noise) * ~columns.is_code)


CORRUPTIONS: dict[str, Callable[..., Rows]] = {"masking": masked, "gaussian": with_noise}
