"""Device, random streams, torch's state while the engine runs, and the size of inference chunks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache, wraps
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController
from torch import Tensor

from skvae._warnings import warn

GPU_CELLS = 1_000_000  # a smaller table is done before a GPU has warmed up
SHARED_PRODUCTS = 100_000_000  # multiplications per pass through a network from which a second thread pays
CHUNK_CELLS = {"cpu": 2**20, "cuda": 2**24}  # numbers a layer holds at once in inference: a cache's worth, a GPU's load
DENORMAL = 2.0**-1022  # half of it is 0 where the processor was told to flush such numbers
AUTOCASTS = tuple(kind for kind in ("cpu", "cuda", "mps") if torch.amp.is_autocast_available(kind))

OF_TRAINING = {"kl_per_component"}  # what a fit that went wrong reports, be it NaN
UNUSABLE = (
    "The model is not usable: what it makes of these rows or draws is not finite, as after a training that blew "
    "up. Fit it again with a smaller learning_rate_init, and look at the loss_curve_."
)

NO_ROOM = (
    "The device has no memory left for {what}. A smaller batch_size, fewer n_train_samples or n_importance_samples, or "
    "a smaller network need less; in place of a GPU's, device='cpu' has the main memory."
)

NO_MEMORY = "can't allocate memory"  # what torch says of main memory, in an error without a class of its own

Step = TypeVar("Step")
Answer = TypeVar("Answer")
Class = TypeVar("Class", bound=type)


def resolve_device(device: str, n_cells: int = 0) -> torch.device:
    """The device to train on; "auto" is CUDA where it is there and the table has at least GPU_CELLS cells.

    Raises
    ------
    ValueError
        If torch does not know the device or it is not there.
    """
    if device == "auto":
        device = "cuda" if n_cells >= GPU_CELLS and torch.cuda.is_available() else "cpu"
    try:
        one = torch.zeros((), device=torch.device(device))
        one.item()  # there are devices without numbers
        return one.device  # a GPU by its number
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"The 'device' parameter must be 'auto' or a device that torch has here, such as 'cpu'. Got {device!r} "
            f"instead ({str(error).splitlines()[0]})."
        ) from error


def home_of_rows(n_bytes: int, device: torch.device) -> torch.device:
    """Where a table of so many bytes is during a training: on the device, or in main memory if a GPU has little room.

    A step needs room too, so the table may have half of what is free, or of what torch holds and does not use.
    """
    if device.type != "cuda":
        return device
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.device("cpu") if 2 * n_bytes > torch.cuda.mem_get_info(device)[0] + unused else device


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


# -- torch's state while the engine runs -------------------------------------------------------------------------------


class _DefaultDtype:
    """float32 as torch's default while any thread is inside, as the setting is one for the whole process.

    The first to enter notes the user's, the last to leave gives it back. To leave twice is to leave once.
    """

    def __init__(self) -> None:
        self._lock, self._users = threading.Lock(), torch.float32
        self._inside: set[object] = set()

    def enter(self, token: object) -> None:
        with self._lock:
            if not self._inside:
                self._users = torch.get_default_dtype()
            self._inside.add(token)
            self._set(torch.float32)

    def leave(self, token: object) -> None:
        with self._lock:
            if self._inside == {token}:
                self._set(self._users)
            self._inside.discard(token)

    def _set(self, dtype: torch.dtype) -> None:
        if dtype != torch.get_default_dtype():
            torch.set_default_dtype(dtype)  # noqa: TID251 (a network of the user's may rely on the usual one)


_DEFAULT_DTYPE = _DefaultDtype()


@contextmanager
def _float32() -> Iterator[None]:
    token = object()
    try:
        _DEFAULT_DTYPE.enter(token)
        yield
    finally:
        try:
            _DEFAULT_DTYPE.leave(token)
        finally:  # Ctrl-C may have come half-way
            _DEFAULT_DTYPE.leave(token)


@contextmanager
def _denormals(*, kept: bool) -> Iterator[None]:
    """Numbers too near to 0 for a full exponent are kept, or are 0, where it was the other way round."""
    try:
        torch.set_flush_denormal(not kept)
        yield
    finally:
        torch.set_flush_denormal(kept)


@contextmanager
def own_torch_state() -> Iterator[None]:
    """Torch as it is after import, whatever was set around the call; given back as it was.

    The user's default dtype and device, no_grad, inference_mode, autocast and flushing of denormal numbers stay
    outside. Settings that are about how torch works (deterministic algorithms, anomaly detection, the precision of
    products) stay as they are.
    """
    grad = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    cast = [kind for kind in AUTOCASTS if torch.is_autocast_enabled(kind)]
    elsewhere = torch.empty(0).device.type != "cpu"
    with (
        _float32(),
        _denormals(kept=True) if DENORMAL * 0.5 == 0.0 else nullcontext(),
        nullcontext() if grad else torch.inference_mode(False),
        nullcontext() if grad else torch.enable_grad(),
        torch.device("cpu") if elsewhere else nullcontext(),
        ExitStack() as stack,
    ):
        for kind in cast:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def doors(cls: Class) -> Class:
    """The class, its public methods (and what builds and copies it) run in `own_torch_state` and answer no NaN."""
    for name, method in list(vars(cls).items()):
        if name.startswith("_") and name not in ("__init__", "__deepcopy__"):
            continue
        if isinstance(method, classmethod):
            setattr(cls, name, classmethod(_door(method.__func__)))
        elif callable(method) and not isinstance(method, type | staticmethod):
            setattr(cls, name, _door(method))
    return cls


def _door(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def door(*args: Any, **kwargs: Any) -> Any:
        with own_torch_state():
            with _said("what was asked"):
                answer = function(*args, **kwargs)
        if function.__name__ not in OF_TRAINING:
            for part in answer if isinstance(answer, tuple) else (answer,):
                if isinstance(part, np.ndarray) and part.size and part.dtype.kind == "f" and np.isnan(part.min()):
                    raise ValueError(UNUSABLE)
        return answer

    return door


def _has_no_room(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or NO_MEMORY in str(error)


@contextmanager
def _said(what: str) -> Iterator[None]:
    """An error that says what needs less where a device has no memory for something."""
    try:
        yield
    except RuntimeError as error:
        if not _has_no_room(error):
            raise
        raise MemoryError(NO_ROOM.format(what=what)) from error


def sound(values: Tensor) -> Tensor:
    """The values; an error where they are not all finite, before torch says so in its own words."""
    if not torch.isfinite(values).all():
        raise ValueError(UNUSABLE)
    return values


def own_steps(steps: Iterator[Step], *, one_thread: bool, lent_seed: int | None = None) -> Iterator[Step]:
    """The same iterator, each step taken in `own_torch_state`; between them torch's state is the user's.

    Parameters
    ----------
    steps : iterator
    one_thread : bool
        Whether each step is taken on one thread. Threads wait for one another in busy loops: where another process has
        a core, a training step of a millisecond then takes tens of them, while two free cores would save a third of it
        at best.
    lent_seed : int, optional
        Where given, modules of the user's own are part of a step, and may draw from the global streams (dropout does).
    """
    pools = _openmp() if one_thread else []
    while True:
        lent = nullcontext() if lent_seed is None else lent_streams(lent_seed)
        with own_torch_state(), _denormals(kept=False), _one_thread(pools) if one_thread else nullcontext(), lent:
            with _said("a training step"):
                step = next(steps, None)
        if step is None:
            return
        yield step
        lent_seed = None if lent_seed is None else lent_seed + 1


@cache
def _openmp() -> Any:
    """The OpenMP libraries of the process, torch's among them; to find them takes milliseconds."""
    return ThreadpoolController().select(user_api="openmp").lib_controllers


@contextmanager
def _one_thread(pools: Any) -> Iterator[None]:
    """OpenMP limited to one thread, given back as it was: the number is one for each thread of Python's."""
    torch.get_num_threads()  # in a new thread torch sets the number at its first use, which must not come later
    users = [pool.get_num_threads() for pool in pools]
    try:
        for pool in pools:
            pool.set_num_threads(1)
        yield
    finally:
        try:
            _set_threads(pools, users)
        finally:  # Ctrl-C may have come half-way
            _set_threads(pools, users)


def _set_threads(pools: Any, numbers: list[int]) -> None:
    for pool, number in zip(pools, numbers, strict=True):
        pool.set_num_threads(number)


_GLOBAL_STREAMS = threading.RLock()


@contextmanager
def lent_streams(seed: int) -> Iterator[None]:
    """The global streams of torch and NumPy, seeded, for modules of the user's own; given back as they were.

    The streams are the whole process's, so one thread at a time has them.
    """
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with _GLOBAL_STREAMS, torch.random.fork_rng(devices=devices):
        numpy_state = np.random.get_state()  # noqa: NPY002
        try:
            torch.random.set_rng_state(generator(seed).get_state())
            if devices:
                torch.cuda.manual_seed_all(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002


# -- inference ---------------------------------------------------------------------------------------------------------


def in_chunks(n: int, size: int, answer: Callable[[slice], Answer]) -> Iterator[tuple[slice, Answer]]:
    """Of n rows at most `size` at a time, and the answer to these; half as many where the device has no memory."""
    start, size = 0, min(size, n)
    while start < n:
        rows = slice(start, min(start + size, n))
        try:
            part = answer(rows)
        except RuntimeError as error:
            if size == 1 or not _has_no_room(error):
                raise
            size = size // 2
        else:
            yield rows, part
            start = rows.stop


def chunk_size(n_draws: int, width: int, device: torch.device | str = "cpu") -> int:
    """Rows per inference chunk, so that the widest layer holds at most CHUNK_CELLS numbers."""
    cells = CHUNK_CELLS.get(torch.device(device).type, CHUNK_CELLS["cuda"])
    return max(1, cells // (n_draws * width))
