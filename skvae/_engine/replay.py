"""A training step as the list of operations that it comes to: recorded once, then replayed.

A small network's step is bound by Python: by calls, views and new tensors around operations of a microsecond. A
recording keeps the tensors that the operations made, so that these can fill them anew, and nothing else is left to do.
On a GPU the same is a CUDA graph, which starts all of a step's kernels at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from skvae._engine.batches import Rows
from skvae._warnings import warn

Call = Callable[[], object]

# What only a look at the numbers tells, so that it may differ the next time.
SEEN_IN_DATA = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
# Methods that take half the time of the operations that they stand for.
IN_PLACE = {
    *("add_", "sub_", "mul_", "div_", "addcmul_", "lerp_", "neg_", "reciprocal_", "rsqrt_", "exp_", "exp2_", "log_"),
    *("clamp_", "clamp_min_", "clamp_max_", "nan_to_num_", "copy_", "fill_", "zero_", "normal_", "uniform_"),
}
# Operations that take a third of the time with a tensor of one number in place of a number.
ARITHMETIC = {"add", "sub", "mul", "div", "add_", "sub_", "mul_", "div_"}
OUT = {"out", "grad_input"}
COPIES = {"clone", "_to_copy"}
CONSTANTS = {  # what they are filled with
    **dict.fromkeys(("zeros", "zeros_like", "new_zeros"), lambda args: 0.0),
    **dict.fromkeys(("ones", "ones_like", "new_ones"), lambda args: 1.0),
    **dict.fromkeys(("full", "full_like", "new_full"), lambda args: args[-1]),
}
UNFILLED = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
VIEWS = {"_unsafe_view"}  # which do not say so


class Recording(TorchDispatchMode):
    """What runs inside of it, once more at each call of `calls`, in the same memory.

    `exact` says whether these do the same for other numbers, `stays` whether all of it was done on one device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.exact = self.stays = True

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation, or what it is made of, and note it."""
        kwargs = kwargs or {}
        with self:
            parts = operation.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        result = operation(*args, **kwargs)
        self.exact = self.exact and (SEEN_IN_DATA.isdisjoint(operation.tags) or _takes_at_places(operation, args))
        self.stays = self.stays and _stays(args, result)
        self.calls += _again(operation, args, kwargs, result)
        return result


def _takes_at_places(operation: Any, args: Sequence[Any]) -> bool:
    """Whether it is an indexing with places, of which there are as many each time, and not with a mask."""
    masks = (torch.bool, torch.uint8)
    return operation is torch.ops.aten.index.Tensor and not any(at is not None and at.dtype in masks for at in args[1])


def _stays(args: Sequence[Any], result: Any) -> bool:
    """Whether tensors that were read and what was made of them are on one device."""
    each = [one for arg in (*args, result) for one in (arg if isinstance(arg, list | tuple) else [arg])]
    return len({one.device for one in each if isinstance(one, Tensor)}) < 2


def _again(operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> Iterator[Call]:
    """The call that does the same with the same result, if there is anything to do."""
    name = operation.overloadpacket.__name__
    if name in ARITHMETIC and isinstance(args[1], int | float) and args[0].is_floating_point():
        args = (args[0], args[0].new_tensor(args[1]), *args[2:])
    if name in IN_PLACE:
        yield partial(getattr(args[0], name), *args[1:], **kwargs)
    elif name.endswith("_") or not OUT.isdisjoint(kwargs):
        yield partial(getattr(torch, name, operation) if "out" in kwargs else operation, *args, **kwargs)
    elif not operation.is_view and name not in UNFILLED | VIEWS:
        yield _filling(operation, name, args, kwargs, result)


def _filling(operation: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> Call:
    """The call that fills the result anew: by the fastest function that can, without a new tensor."""
    if name in CONSTANTS:
        return partial(result.fill_, CONSTANTS[name](args))
    if name in COPIES:
        return partial(result.copy_, args[0])
    is_random = torch.Tag.nondeterministic_seeded in operation.tags
    public = getattr(torch, name, None) or getattr(torch.linalg, name.removeprefix("linalg_"), None)
    for function in () if is_random else (public, getattr(operation.overloadpacket, "out", None)):
        call = partial(function, *args, **kwargs, out=result) if function is not None else None
        if call is not None and _works(call):
            return call
    return partial(_copied, partial(operation, *args, **kwargs), result)


def _works(call: Call) -> bool:
    try:
        call()
    except (TypeError, RuntimeError):  # another signature, or no such kernel
        return False
    return True


def _copied(make: Callable[[], Any], results: Any) -> None:
    """Copy what is made anew over earlier results."""
    made = make()
    each = [(results, made)] if isinstance(results, Tensor) else zip(results, made, strict=True)
    for result, new in each:
        result.copy_(new)


def recorded(step: Call, noise: torch.Generator) -> Call | None:
    """Take a step; return what takes it again: its operations in turn. None where these hang on the numbers."""
    recording = _recording(step)
    return partial(_one_by_one, recording.calls) if recording.exact else None


def _recording(step: Call) -> Recording:
    recording = Recording()
    with recording:
        step()
    return recording


def _one_by_one(calls: Sequence[Call]) -> None:
    for call in calls:
        call()


class _Captures:
    """Of the process: one at a time, as each waits for its whole GPU, and none after one has failed."""

    def __init__(self) -> None:
        self.lock, self.work = threading.Lock(), True


_CAPTURES = _Captures()


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """Where steps are captured: one for each GPU, as each has memory of its own."""
    return torch.cuda.Stream(device)


def captured(step: Call, noise: torch.Generator) -> Call | None:
    """Take a step on a GPU; return what takes it again: a CUDA graph, or its operations in turn where there is none.

    Only what a recording has shown to stay on the GPU is captured: a capture that fails leaves torch in a state of
    which little is known, and there is no other in the process. To capture a step is not to take it.
    """
    recording = _recording(step)
    if not recording.exact:
        return None
    graph = _graph(step, noise) if recording.stays and _CAPTURES.work else None
    return partial(_one_by_one, recording.calls) if graph is None else graph.replay


def _graph(step: Call, noise: torch.Generator) -> torch.cuda.CUDAGraph | None:
    graph, before, device = torch.cuda.CUDAGraph(), noise.get_state(), noise.device
    with _CAPTURES.lock, torch.cuda.device(device):
        users = torch.cuda.current_stream(device)
        graph.register_generator_state(noise)
        try:
            # What other threads do to the GPU meanwhile is theirs.
            with torch.cuda.graph(graph, stream=_side_stream(device), capture_error_mode="thread_local"):
                step()
        except RuntimeError as error:
            why = str(error).splitlines()[0]
        else:
            return graph
        _CAPTURES.work = False
        torch.cuda.set_stream(users)
        noise.set_state(before)
    warn(f"Training steps of this process become no more CUDA graphs, and are slower, since one could not: {why}")
    return None


# How a step is noted, by the device; else it is recorded.
WAYS: dict[str, Callable[[Call, torch.Generator], Call | None]] = {"cuda": captured}


class Replayed:
    """A step over a batch that is recorded or captured once for each kind of batch that comes often, and then replayed.

    It must be a function of the rows, of what it changes in place and of random streams, by the same operations
    whatever the numbers are; where one is met that depends on these, the step is taken as it is.

    Parameters
    ----------
    step : callable
        Of rows.
    comes_often : callable
        Whether batches of so many rows do.
    noise : torch.Generator
        The stream that it draws from.
    """

    def __init__(
        self, step: Callable[[Rows], None], comes_often: Callable[[int], bool], noise: torch.Generator
    ) -> None:
        self._step, self._comes_often, self._noise = step, comes_often, noise
        self._steps: dict[tuple[object, ...], Callable[[Rows], None]] = {}  # by kind

    def __call__(self, rows: Rows) -> None:
        """Take the step."""
        kind = (len(rows), rows.observed is None, rows.weight is None)
        if kind in self._steps:
            self._steps[kind](rows)
        else:  # the first one makes what stays
            self._step(rows)
            self._steps[kind] = partial(self._record, kind) if self._comes_often(len(rows)) else self._step

    def _record(self, kind: tuple[object, ...], rows: Rows) -> None:
        home = Rows(rows.x.clone(), *(None if part is None else part.clone() for part in rows.parts[1:]))
        record = WAYS.get(rows.device.type, recorded)
        again = record(partial(self._step, home), self._noise)  # takes the step
        self._steps[kind] = self._step if again is None else partial(_replay, home, again)


def _replay(home: Rows, again: Call, rows: Rows) -> None:
    for own, part in zip(home.parts, rows.parts, strict=True):
        if own is not None and part is not None:
            own.copy_(part)
    again()
