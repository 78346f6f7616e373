"""Warnings that name the user's line, whatever stands between it and the room that warns."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

# Packages that pass a call on, so that their lines tell the user nothing: pipelines and searches, worker threads,
# unpickling, ``copy``, frames that apply a function.
BETWEEN = {"skvae", "sklearn", "joblib", "cloudpickle", "skops", "imblearn", "pandas", "polars"}
BETWEEN |= sys.stdlib_module_names - {"__main__"}


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of something at the line through which the user's code entered the package.

    In a worker thread or process no line is the user's; the outermost one is named then.
    """
    frame = _users_frame(sys._getframe(1))
    module = frame.f_globals.get("__name__") or "<string>"
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(message, category, frame.f_code.co_filename, frame.f_lineno, module, registry)


def _users_frame(innermost: FrameType) -> FrameType:
    frame = innermost
    while _package(frame) in BETWEEN and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
