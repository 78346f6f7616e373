"""The textbook VAE as one writes it by hand: modules, autograd, a DataLoader, and a loop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.speed import Shape


class EagerVAE(nn.Module):
    """ELBO with one draw, a Gaussian with one standard deviation per column, a standard normal prior, ReLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.encoder = mlp([shape.n_features, *shape.hidden, 2 * shape.n_components])
        self.decoder = mlp([shape.n_components, *shape.hidden[::-1], shape.n_features])
        self.log_std = nn.Parameter(torch.zeros(shape.n_features))

    def forward(self, x: Tensor) -> Tensor:
        """The bound of each row, in nats."""
        mean, log_std = self.encoder(x).chunk(2, dim=1)
        std = log_std.exp()
        z = mean + std * torch.randn_like(std)
        scaled = (x - self.decoder(z)) / self.log_std.exp()
        likelihood = -0.5 * scaled.square() - self.log_std - 0.5 * math.log(2.0 * math.pi)
        divergence = 0.5 * (mean.square() + std.square() - 1.0) - log_std
        return likelihood.sum(dim=1) - divergence.sum(dim=1)


def mlp(widths: Sequence[int]) -> nn.Sequential:
    """Layers with a ReLU after each but the last."""
    layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def fit_eager(shape: Shape, table: np.ndarray, n_epochs: int, seed: int, device: str = "cpu") -> EagerVAE:
    """Steps of Adam over shuffled batches: of a DataLoader, or, on a GPU, of a table that is there, by a fused Adam."""
    torch.manual_seed(seed)
    model = EagerVAE(shape).to(device)
    optimiser = torch.optim.Adam(model.parameters(), fused=device != "cpu")
    rows = torch.as_tensor(table, dtype=torch.float32, device=device)
    loader = DataLoader(TensorDataset(rows), batch_size=shape.batch_size, shuffle=True)
    for _ in range(n_epochs):
        for (batch,) in loader if device == "cpu" else resident(rows, shape.batch_size):
            optimiser.zero_grad()
            loss = -model(batch).mean()
            loss.backward()
            optimiser.step()
    if device != "cpu":
        torch.cuda.synchronize()
    return model


def resident(rows: Tensor, size: int) -> Iterator[tuple[Tensor]]:
    """Shuffled batches of rows where they are."""
    for places in torch.randperm(len(rows), device=rows.device).split(size):
        yield (rows[places],)
