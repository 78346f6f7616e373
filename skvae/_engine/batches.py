"""Rows on the device, and the minibatches cut from them: permuted slices of resident tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GATHERED = 2**18  # cells of the rows that are gathered at once, at most, but for one batch
KEPT = 2**23  # numbers that encoders see of rows, which are kept through a training, at most


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device: on the way to a GPU in pinned memory, so that nobody waits for it."""
    pins = device.type == "cuda" and tensor.device.type == "cpu"
    return (tensor.pin_memory() if pins else tensor).to(device, non_blocking=pins)


@dataclass(frozen=True)
class Rows:
    """Standardised rows as the model reads them.

    `x` has finite numbers everywhere (0 in missing cells); `observed` is True for observed cells and None where no cell
    is missing; `weight` (of mean 1) is None where all rows count alike. `seen` is what the encoder sees of them, where
    that is known.
    """

    x: Tensor  # (n, p)
    observed: Tensor | None = None  # (n, p), bool
    weight: Tensor | None = None  # (n,)
    seen: Tensor | None = None  # (n, width)

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
        return self.x.shape[0]  # what len() says, in a tenth of the time

    @property
    def n_columns(self) -> int:
        """Cells of a row."""
        return self.x.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.x.device

    @property
    def parts(self) -> tuple[Tensor | None, ...]:
        """The tensors, one by one."""
        return self.x, self.observed, self.weight, self.seen

    def take(self, index: Tensor | slice) -> Rows:
        """The rows at `index`."""
        others = (None if part is None else part[index] for part in (self.observed, self.weight, self.seen))
        return Rows(self.x[index], *others)

    def to(self, device: torch.device) -> Rows:
        """The rows on a device."""
        if device == self.device:
            return self
        others = (None if part is None else sent(part, device) for part in self.parts[1:])
        return Rows(sent(self.x, device), *others)

    def mean(self, values: Tensor) -> Tensor:
        """Weighted mean over the last axis, that of the rows; of a batch, an unbiased estimate of that of all rows."""
        return self.total(values) / len(self)

    def total(self, values: Tensor) -> Tensor:
        """Weighted sum over the last axis, that of the rows."""
        return values.sum(-1) if self.weight is None else values @ self.weight


Look = Callable[[Rows], Tensor]  # what an encoder sees of rows


@dataclass(frozen=True)
class SparseRows:
    """Rows of a CSR matrix without missing cells, of which only those that are taken become dense."""

    starts: Tensor  # (n + 1,)
    columns: Tensor  # (n_stored,)
    values: Tensor  # (n_stored,)
    n_columns: int
    weight: Tensor | None = None  # (n,)

    @classmethod
    def from_csr(cls, x: Any, weight: NDArray[np.floating] | None, *, device: torch.device | str = "cpu") -> SparseRows:
        """Copy a SciPy CSR matrix, in float32; weights are scaled to mean 1."""
        arrays = (x.indptr.astype(np.int64), x.indices.astype(np.int64), x.data.astype(np.float32))
        starts, columns, values = (torch.tensor(array, device=device) for array in arrays)
        weights = None if weight is None else torch.tensor(weight / weight.mean(), dtype=torch.float32, device=device)
        return cls(starts, columns, values, x.shape[1], weights)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def device(self) -> torch.device:
        """Where the rows are."""
        return self.values.device

    def take(self, index: Tensor | slice) -> Rows:
        """The rows at `index`, dense."""
        rows = torch.arange(len(self), device=self.device)[index]
        first, counts = self.starts[rows], self.starts[rows + 1] - self.starts[rows]
        of_row = torch.repeat_interleave(torch.arange(len(rows), device=self.device), counts)
        within = torch.arange(len(of_row), device=self.device) - (counts.cumsum(0) - counts)[of_row]
        stored = first[of_row] + within
        x = self.values.new_zeros(len(rows), self.n_columns)
        x[of_row, self.columns[stored]] = self.values[stored]
        return Rows(x, None, None if self.weight is None else self.weight[rows])

    def mean(self, values: Tensor) -> Tensor:
        """Weighted mean over the last axis, that of the rows."""
        return values.mean(-1) if self.weight is None else (values * self.weight).mean(-1)


def looked_at(rows: Rows | SparseRows, look: Look) -> Rows | None:
    """The rows with what the encoder sees of them, where there is room to keep it."""
    if isinstance(rows, SparseRows):
        return None
    width = look(rows.take(slice(1))).shape[1]
    return replace(rows, seen=look(rows)) if len(rows) * width <= KEPT else None


def minibatches(
    rows: Rows | SparseRows,
    batch_size: int,
    generator: torch.Generator,
    look: Look | None = None,
    device: torch.device | None = None,
) -> Iterator[Rows]:
    """One epoch: every row once, in an order drawn on the CPU so that it does not depend on the device.

    Many batches are gathered at once where the rows are and sent to the `device`, if that is another; `look`, where it
    is given, says what the encoder sees of them.
    """
    order = torch.randperm(len(rows), generator=generator)
    size = batch_size * max(1, GATHERED // (batch_size * rows.n_columns))
    for start in range(0, len(rows), size):
        gathered = rows.take(sent(order[start : start + size], rows.device))
        gathered = gathered if device is None else gathered.to(device)
        yield from chunks(gathered if look is None else replace(gathered, seen=look(gathered)), batch_size)


def chunks(rows: Rows | SparseRows, size: int) -> Iterator[Rows]:
    """Consecutive slices of at most `size` rows."""
    for start in range(0, len(rows), size):
        yield rows.take(slice(start, start + size))
