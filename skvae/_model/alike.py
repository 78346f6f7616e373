"""Whether two factories build the same, by value: `clone` copies each value of a dict by itself, and so does pickle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np

SCALARS = (str, bytes, bool, int, float, complex, np.generic, type(None))
BY_NAME = (type, FunctionType, BuiltinFunctionType, ModuleType)  # these are never copied


def alike(a: Any, b: Any) -> bool:
    """Whether two values are the same, equal, or two copies of one.

    Containers are compared part by part, and any other object by what pickle would rebuild it from: the function and
    the arguments of a partial, the object and the name of a bound method, the attributes of an instance.
    """
    return _alike(a, b, set())


def _alike(a: Any, b: Any, under_way: set[tuple[int, int]]) -> bool:
    if a is b or (id(a), id(b)) in under_way:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, SCALARS):
        return bool(a == b or (a != a and b != b))
    if isinstance(a, BY_NAME):
        return False
    under_way.add((id(a), id(b)))
    ours, theirs = list(_contents(a)), list(_contents(b))
    return len(ours) == len(theirs) and all(_alike(*pair, under_way) for pair in zip(ours, theirs, strict=True))


def _contents(value: Any) -> Iterator[Any]:
    """What a value consists of."""
    if isinstance(value, Mapping):
        yield from (part for item in value.items() for part in item)
    elif isinstance(value, list | tuple):
        yield from value
    elif isinstance(value, set | frozenset):
        yield from sorted(value, key=repr)
    elif hasattr(value, "tolist") and hasattr(value, "shape"):  # an array, of whatever library
        yield from (str(value.dtype), tuple(value.shape), value.tolist())
    else:
        built = value.__reduce_ex__(4)
        yield from (built,) if isinstance(built, str) else built[:3]
        yield from (list(rest) for rest in built[3:5] if rest is not None)
