"""Other ways to cells of any shape, tried beside a mixture of modes: they score and train, and do nothing else.

A spline and a flow come from zuko (extra ``rivals``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from skvae.nn.likelihoods import Likelihood, StudentTMixture
from skvae.nn.noise import LOG_2PI
from skvae.nn.priors import Prior

REACH = 5.0  # standard deviations within which a spline bends


class SplineHead(Likelihood):
    """A normal variable bent by a monotone rational-quadratic spline (Durkan et al. 2019, arXiv 1906.04032) per cell.

    The decoder gives each cell its location, scale and the spline.
    """

    kind = "continuous"

    def __init__(self, n_columns: int, *, bins: int = 8) -> None:
        super().__init__()
        self.n_columns, self.bins = n_columns, bins
        self.n_outputs = (3 * bins + 1) * n_columns

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        """Log-density of each cell."""
        from zuko.transforms import MonotonicRQSTransform

        each = outputs.unflatten(-1, (self.n_columns, -1))
        location, raw, *spline = each.split([1, 1, self.bins, self.bins, self.bins - 1], dim=-1)
        log_scale = -8.0 + nn.functional.softplus(raw + 8.0)
        u = ((x.unsqueeze(-1) - location) * torch.exp(-log_scale)).squeeze(-1)
        bent, log_slope = MonotonicRQSTransform(*spline, bound=REACH).call_and_ladj(u)
        return -0.5 * bent.square() - 0.5 * LOG_2PI + log_slope - log_scale.squeeze(-1)

    def mean(self, outputs: Tensor) -> Tensor:
        """The location, which is no mean: a stand-in."""
        return outputs.unflatten(-1, (self.n_columns, -1))[..., 0]

    def start(self, mean: Tensor) -> Tensor:
        """A normal variable."""
        out = mean.new_zeros(self.n_columns, 3 * self.bins + 1)
        out[:, 0] = mean
        return out.flatten()


class AutoregressiveHead(StudentTMixture):
    """Modes that see the columns before theirs in groups of a few columns, through one masked hidden layer.

    So a cell's density is given z and its neighbours' cells; what a cell is, with the neighbours missing, is not known.
    """

    def __init__(self, n_columns: int, *, n_modes: int = 3, group: int = 4, width: int = 16) -> None:
        super().__init__(n_columns, n_modes=n_modes)
        place = torch.arange(n_columns)
        sees = (place.unsqueeze(1) > place) & (place.unsqueeze(1) // group == place // group)
        self.register_buffer("sees", sees.float().repeat_interleave(width, 0), persistent=False)
        stream = torch.Generator().manual_seed(0)
        self.into = nn.Parameter(torch.randn(n_columns * width, n_columns, generator=stream) / group**0.5)
        self.bias = nn.Parameter(torch.randn(n_columns * width, generator=stream))
        self.out = nn.Parameter(torch.zeros(n_columns, 3 * n_modes, width))

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        """Log-density of each cell given z and the cells before it in its group."""
        squashed = x * torch.rsqrt(1.0 + (x / 3.0).square())
        hidden = torch.tanh(nn.functional.linear(squashed, self.into * self.sees, self.bias))
        shift = torch.einsum("...jw,jmw->...mj", hidden.unflatten(-1, (self.n_columns, -1)), self.out)
        return super().log_prob(outputs + shift.flatten(-2), x)


class FlowPrior(Prior):
    """A neural spline flow (zuko) as the density of codes."""

    def __init__(self, n_components: int, *, transforms: int = 2) -> None:
        super().__init__()
        import zuko

        self.n_components = n_components
        self.flow: Any = zuko.flows.NSF(n_components, transforms=transforms, hidden_features=(32, 32))

    def log_prob(self, z: Tensor) -> Tensor:
        """Nats, (...,)."""
        log_density: Tensor = self.flow().log_prob(z)
        return log_density

    def marginal_log_prob(self, z: Tensor) -> Tensor:
        """That of N(0, I): a stand-in."""
        return -0.5 * z.square() - 0.5 * LOG_2PI

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws by the global stream."""
        drawn: Tensor = self.flow().sample((n,))
        return drawn

    def moments(self) -> tuple[Tensor, Tensor]:
        """Those of N(0, I): a stand-in."""
        return torch.zeros(self.n_components), torch.ones(self.n_components)
