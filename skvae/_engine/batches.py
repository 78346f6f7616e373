"""Rows on the device, and the minibatches cut from them: permuted slices of resident tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Standardised rows as the model reads them.

    `x` has finite numbers everywhere (0 in missing cells); `observed` is True for observed cells and None where no cell
    is missing; `weight` (of mean 1) is None where all rows count alike.
    """

    x: Tensor  # (n, p)
    observed: Tensor | None = None  # (n, p), bool
    weight: Tensor | None = None  # (n,)

    @classmethod
    def from_numpy(
        cls,
        x: NDArray[np.floating],
        weight: NDArray[np.floating] | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        copy: bool = True,
    ) -> Rows:
        """Take an array whose NaN mark the missing cells; weights are scaled to mean 1.

        Without `copy` the array may be overwritten, and lives on in the rows.
        """
        make = torch.tensor if copy else torch.as_tensor
        tensor = make(x, dtype=dtype, device=device)
        missing = torch.isnan(tensor)
        weights = None if weight is None else torch.tensor(weight / weight.mean(), dtype=dtype, device=device)
        if not missing.any():
            return cls(tensor, None, weights)
        return cls(tensor.masked_fill_(missing, 0.0), missing.logical_not_(), weights)

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Tensor | slice) -> Rows:
        """The rows at `index`."""
        return Rows(
            self.x[index],
            None if self.observed is None else self.observed[index],
            None if self.weight is None else self.weight[index],
        )

    def mean(self, values: Tensor) -> Tensor:
        """Weighted mean of one value per row; of a batch, an unbiased estimate of the weighted mean of all rows."""
        return values.mean() if self.weight is None else (values * self.weight).mean()


def minibatches(rows: Rows, batch_size: int, generator: torch.Generator) -> Iterator[Rows]:
    """One epoch: every row once, in an order drawn on the CPU so that it does not depend on the device."""
    order = torch.randperm(len(rows), generator=generator).to(rows.x.device)
    for start in range(0, len(rows), batch_size):
        yield rows.take(order[start : start + batch_size])


def chunks(rows: Rows, size: int) -> Iterator[Rows]:
    """Consecutive slices of at most `size` rows."""
    for start in range(0, len(rows), size):
        yield rows.take(slice(start, start + size))
