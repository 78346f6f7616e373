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

    In a worker of scikit-learn or joblib no line is the user's; the line that entered the package is named then.
    """
    frame = _users_frame(sys._getframe(1))
    module = frame.f_globals.get("__name__") or "<string>"
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warnings.warn_explicit(message, category, frame.f_code.co_filename, frame.f_lineno, module, registry)


def _users_frame(innermost: FrameType) -> FrameType:
    """The first frame of the user's, or of anyone outside this package."""
    frames = [innermost]
    while (outer := frames[-1].f_back) is not None:
        frames.append(outer)
    outside = [frame for frame in frames if _package(frame) != "skvae"]
    users = (frame for frame in outside if _package(frame) not in BETWEEN)
    return next(users, outside[0] if outside else frames[-1])


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
