"""0/1 cells."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from skvae.nn.likelihoods.base import Likelihood, WayBack
from skvae.nn.pullbacks import Pullback


class Bernoulli(Likelihood):
    """0/1 cells. On fractions in [0, 1] its log-density is the expected one: minus the cross-entropy."""

    kind = "binary"

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.n_columns = self.n_outputs = n_columns

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        return x * outputs - F.softplus(outputs)

    def with_pullback(self, outputs: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        x = x.unsqueeze(1)
        return x * outputs - F.softplus(outputs), lambda grad: (x - torch.sigmoid(outputs)).mul_(grad)

    def mean(self, outputs: Tensor) -> Tensor:
        return torch.sigmoid(outputs)

    def expectation(self, outputs: Tensor, back: WayBack) -> Tensor:
        probability = self.mean(outputs)
        return torch.lerp(back(torch.zeros_like(probability)), back(torch.ones_like(probability)), probability)

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        return torch.bernoulli(torch.sigmoid(outputs), generator=generator)

    def start(self, mean: Tensor) -> Tensor:
        return torch.logit(mean, eps=1e-3)


class Gaps(Bernoulli):
    """Cells that say whether a column is missing; a class of their own, as a density of the others is free of them."""
