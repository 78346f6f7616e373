"""Packages whose modules are imported on first use: to name an estimator does not wait for torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def on_first_use(package: str, *modules: str) -> Callable[[str], Any]:
    """What a package has as ``__getattr__`` so that its `modules` are imported when they are first asked for."""

    def module_of(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return import_module(f"{package}.{name}")

    return module_of
