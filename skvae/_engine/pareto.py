"""How heavy the tail of importance weights is: whether an average of them can be trusted."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def pareto_k(log_w: Tensor) -> Tensor:
    """Shape of the generalised Pareto distribution of the largest weights, (b,), from log-weights (n, b).

    The diagnostic of Pareto smoothed importance sampling (Vehtari et al. 2024, arXiv 1507.02646): weights have 1 / k
    finite moments. It is fitted to the min(n / 5, 3 sqrt(n)) largest by the estimator of Zhang and Stephens (2009),
    drawn to 0.5 with the weight of ten draws. Where these are all equal it is 0; where all but a few of them vanish
    beside the largest it is infinite.
    """
    n = len(log_w)
    m = math.ceil(min(0.2 * n, 3.0 * math.sqrt(n)))
    top = torch.sort((log_w - log_w.amax(0)).double(), 0).values[-m - 1 :].exp()
    x = top[1:] - top[0]  # (m, b), ascending, above the threshold
    scale = x[-1].clamp_min(torch.finfo(x.dtype).tiny)
    x = x / scale
    grid = torch.arange(1, 31 + math.isqrt(m), device=x.device, dtype=x.dtype).unsqueeze(-1)  # (g, 1)
    quarter = x[math.floor(m / 4 + 0.5) - 1]
    step = 1.0 / (3.0 * quarter.clamp_min(1e-300))
    rate = 1.0 + (1.0 - torch.sqrt(len(grid) / (grid - 0.5))) * step  # (g, b): candidates
    weight = torch.softmax(m * _profile(rate, _shape(rate, x)), 0)
    best = (weight * rate).sum(0, keepdim=True)
    shape = (m * _shape(best, x)[0] + 5.0) / (m + 10.0)
    shape = torch.where(quarter > 0.0, shape, torch.inf)
    return torch.where(x[0] == x[-1], 0.0, shape)


def trusted_below(n: int) -> float:
    """The k up to which an average of n weights is close to its expectation (Vehtari et al. 2024, section 3.2.4)."""
    return min(1.0 - 1.0 / math.log10(n), 0.7)


def _shape(rate: Tensor, x: Tensor) -> Tensor:
    """The shape that maximises the likelihood at each rate = -shape / scale; rate (g, b), x (m, b), result (g, b)."""
    return torch.log1p(-rate.unsqueeze(1) * x).mean(1)


def _profile(rate: Tensor, shape: Tensor) -> Tensor:
    """Log-likelihood per draw, the shape at its best."""
    return torch.log(-rate / shape) - shape - 1.0
