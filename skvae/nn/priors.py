"""Priors p(z) over the latent space: one class each, ``prior(n_latent)`` builds one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from skvae.nn.noise import LOG_2PI, normal

PriorFactory = Callable[[int], "Prior"]


class Prior(nn.Module):
    """What every prior over k latent components offers."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., k) in nats, shape (...)."""
        raise NotImplementedError("a prior defines log_prob(z)")

    def marginal_log_prob(self, z: Tensor) -> Tensor:
        """Log-density of each component on its own, shape (..., k)."""
        raise NotImplementedError("a prior defines marginal_log_prob(z)")

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n latent rows, shape (n, k)."""
        raise NotImplementedError("a prior defines sample(n, generator)")

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each component, two tensors of shape (k,)."""
        raise NotImplementedError("a prior defines moments()")

    def kl(self, mean: Tensor, log_std: Tensor) -> Tensor | None:
        """KL(q || p) per component in nats, shape (..., k), where it is closed; else None."""
        return None


class StandardNormal(Prior):
    """N(0, I), with the KL of Kingma & Welling (2013), appendix B."""

    origin: Tensor

    def __init__(self, n_latent: int) -> None:
        super().__init__()
        self.register_buffer("origin", torch.zeros(n_latent))

    def log_prob(self, z: Tensor) -> Tensor:
        return self.marginal_log_prob(z).sum(-1)

    def marginal_log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + LOG_2PI)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        return normal((n, len(self.origin)), self.origin, generator)

    def moments(self) -> tuple[Tensor, Tensor]:
        return self.origin, torch.ones_like(self.origin)

    def kl(self, mean: Tensor, log_std: Tensor) -> Tensor:
        return 0.5 * (mean.square() + torch.exp(2.0 * log_std) - 1.0) - log_std


class Mixture(Prior):
    """A learned mixture of Gaussians with diagonal covariances.

    Parameters
    ----------
    n_latent : int
        Latent components k.
    n_components : int, default=8
        Gaussians in the mixture; their means start at random.
    """

    def __init__(self, n_latent: int, *, n_components: int = 8) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(n_components))
        self.means = nn.Parameter(0.5 * torch.randn(n_components, n_latent))
        self.log_stds = nn.Parameter(torch.zeros(n_components, n_latent))

    def log_prob(self, z: Tensor) -> Tensor:
        # The quadratic form of every mode at once, expanded so that it costs two matrix products: (..., C).
        precision = torch.exp(-2.0 * self.log_stds)
        scaled = self.means * precision
        constant = (self.means * scaled).sum(-1) + 2.0 * self.log_stds.sum(-1) + z.shape[-1] * LOG_2PI
        quadratic = z.square() @ precision.T - 2.0 * (z @ scaled.T) + constant
        return torch.logsumexp(torch.log_softmax(self.logits, 0) - 0.5 * quadratic, dim=-1)

    def marginal_log_prob(self, z: Tensor) -> Tensor:
        u = (z.unsqueeze(-2) - self.means) * torch.exp(-self.log_stds)  # (..., C, k)
        log_modes = -0.5 * (u.square() + LOG_2PI) - self.log_stds
        return torch.logsumexp(torch.log_softmax(self.logits, 0).unsqueeze(-1) + log_modes, dim=-2)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        mode = torch.multinomial(torch.softmax(self.logits, 0), n, replacement=True, generator=generator)
        return self.means[mode] + torch.exp(self.log_stds[mode]) * normal(
            mode.shape + self.means.shape[1:], self.means, generator
        )

    def moments(self) -> tuple[Tensor, Tensor]:
        weights = torch.softmax(self.logits, 0).unsqueeze(-1)
        mean = (weights * self.means).sum(0)
        second = (weights * (self.means.square() + torch.exp(2.0 * self.log_stds))).sum(0)
        return mean, (second - mean.square()).sqrt()


PRIORS: dict[str, PriorFactory] = {"standard_normal": StandardNormal, "mixture": Mixture}
