"""Where the time of a training step goes: functions of the package, watched from outside."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from typing import Any

# What is told apart, and the functions whose time it is: their own, without that of others below, and that of the
# pullbacks that they return. "module:attribute", or "module:mapping[key]".
PARTS = {
    "networks": ("skvae.nn.networks:Pass.forward", "skvae.nn.networks:Pass.pull"),
    "likelihood": ("skvae.nn.passes:likelihood",),
    "draws and posterior": ("skvae._engine.bounds:VariationalBound.with_pullback", "skvae.nn.passes:posterior"),
    "prior": ("skvae.nn.priors:Mixture.with_pullback",),
    "weights of the draws": ("skvae.nn.objectives:SLOPES[iwae]",),
    "Muon": ("skvae._engine.optimiser:orthogonalised",),
    "Adam": ("skvae._engine.optimiser:Optimiser._adam",),
    "clip, decay, average": ("skvae._engine.optimiser:Optimiser.look", "skvae._engine.optimiser:Optimiser.move"),
}
REST = "batches and loop"


class Stopwatch:
    """Seconds of the processor that each part has had to itself."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._within: list[float] = []  # seconds of other parts below each that is running

    def watched(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, and the pullback that is the last of what it returns, as a part."""

        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            started = time.process_time()
            self._within.append(0.0)
            try:
                answer = function(*args, **kwargs)
            finally:
                spent = time.process_time() - started
                self.seconds[part] += spent - self._within.pop()
                if self._within:
                    self._within[-1] += spent
            if isinstance(answer, tuple) and callable(answer[-1]):
                return (*answer[:-1], self.watched(part, answer[-1]))
            return answer

        return run


@contextmanager
def watching() -> Iterator[Stopwatch]:
    """All parts watched inside the block, in which no step is replayed: a replay has no parts."""
    watch, before = Stopwatch(), []
    try:
        get, put = _place("skvae._engine.training:OFTEN")
        before.append((put, get()))
        put(math.inf)
        for part, places in PARTS.items():
            for place in places:
                get, put = _place(place)
                before.append((put, get()))
                put(watch.watched(part, get()))
        yield watch
    finally:
        for put, function in reversed(before):
            put(function)


def _place(place: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    """What reads the function at a place, and what puts another there."""
    module, _, path = place.partition(":")
    home: Any = import_module(module)
    *owners, last = path.replace("[", ".").removesuffix("]").split(".")
    for owner in owners:
        home = getattr(home, owner)
    if isinstance(home, dict):
        return lambda: home[last], lambda function: home.update({last: function})
    return lambda: getattr(home, last), lambda function: setattr(home, last, function)
