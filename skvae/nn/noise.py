"""Seeded noise (torch's ``randn_like`` takes no generator, and the global one is the user's), and its density."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOG_2PI = math.log(2.0 * math.pi)


def normal(shape: torch.Size | tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers on the device and in the dtype of `like`."""
    return like.new_empty(shape).normal_(generator=generator)


def uniform(shape: torch.Size | tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform numbers in [0, 1) on the device and in the dtype of `like`."""
    return like.new_empty(shape).uniform_(generator=generator)


def log_normal(z: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log-density at z of independent normal components, summed over the last axis."""
    u = (z - mean) * torch.exp(-log_std)
    return -0.5 * u.square().sum(-1) - (log_std + 0.5 * LOG_2PI).sum(-1)
