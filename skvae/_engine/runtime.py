"""Device, random streams and the size of inference chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController
from torch import Tensor

from skvae._warnings import warn

GPU_CELLS = 1_000_000  # a smaller table is done before a GPU has warmed up
SHARED_PRODUCTS = 100_000_000  # multiplications per pass through a network from which a second thread pays
CHUNK_CELLS = {"cpu": 2**19, "cuda": 2**24}  # numbers a layer holds at once in inference: a cache's worth, a GPU's load


Step = TypeVar("Step")


def resolve_device(device: str, n_cells: int = 0) -> torch.device:
    """The device to train on; "auto" is CUDA where it is there and the table has at least GPU_CELLS cells.

    Raises
    ------
    ValueError
        If torch does not know the device or it is not there.
    """
    if device == "auto":
        return torch.device("cuda" if n_cells >= GPU_CELLS and torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(1, device=resolved)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"The 'device' parameter must be 'auto' or a device that torch has here, such as 'cpu'. Got {device!r} "
            f"instead ({str(error).splitlines()[0]})."
        ) from error
    return resolved


def device_or_cpu(device: str) -> str:
    """The device a model was saved on if it is there, else the CPU with a warning."""
    try:
        resolve_device(device)
    except ValueError:
        warn(
            f"The model was saved on device {device!r}, which is not there; it is loaded on the CPU.",
        )
        return "cpu"
    return device


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A stream of its own; the global one is never touched."""
    return torch.Generator(device=device).manual_seed(seed)


def normal_quasi_draws(n: int, k: int, seed: int) -> NDArray[np.float64]:
    """N standard normal points of dimension k from one scrambled Sobol sequence, shape (n, k).

    Scrambling makes every point uniform, so that averages stay unbiased; the first n points of a longer sequence are
    the shorter one.
    """
    uniform = torch.quasirandom.SobolEngine(k, scramble=True, seed=seed).draw(n, dtype=torch.float64)
    normal: Tensor = torch.special.ndtri(uniform.clamp(1e-9, 1.0 - 1e-9))
    return normal.numpy()


def single_threaded(steps: Iterator[Step]) -> Iterator[Step]:
    """The same iterator, each step taken on one thread; between them the number of threads is the user's.

    Threads wait for one another in busy loops. Where another process has a core, a training step of a millisecond then
    takes tens of them, while two free cores would save a third of it at best.
    """
    pools = ThreadpoolController()
    while True:
        with pools.limit(limits=1, user_api="openmp"):
            step = next(steps, None)
        if step is None:
            return
        yield step


def chunk_size(n_draws: int, width: int, device: torch.device | str = "cpu") -> int:
    """Rows per inference chunk, so that the widest layer holds at most CHUNK_CELLS numbers."""
    cells = CHUNK_CELLS.get(torch.device(device).type, CHUNK_CELLS["cuda"])
    return max(1, cells // (n_draws * width))
