"""Results as JSON lines: one record a line, after a line that says on what they were measured.

A header line is ``{"run": id, "environment": {...}}``; the records of that run carry the same ``run``. A record
without ``run`` is read like any other, so files are merged by concatenating them.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import uuid
from collections.abc import Hashable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

Record = dict[str, Any]

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "skvae")


def environment() -> dict[str, Any]:
    """Versions, cores, threads and processor of this run."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "commit": _commit(),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", ""),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout
        return "not installed"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def parse(line: str) -> dict[str, Any]:
    """One line of a results file."""
    parsed: dict[str, Any] = json.loads(line)
    return parsed


def read(path: Path) -> tuple[list[Record], list[dict[str, Any]]]:
    """Records and environments of a results file, in the order of the file; both empty where there is no file."""
    lines = [parse(line) for line in path.read_text().splitlines() if line.strip()] if path.exists() else []
    records = [line for line in lines if "environment" not in line]
    return records, [line["environment"] for line in lines if "environment" in line]


def key(record: Record) -> Hashable:
    """What makes a record the same measurement as another: where settings are known they count, else the name."""
    return record["problem"], record["seed"], record.get("settings") or record["method"]


class Writer:
    """Appends to a results file and knows what stands in it.

    Parameters
    ----------
    path : Path
        Made where it does not exist.
    seeds : list of int
        Goes into the header line.
    """

    def __init__(self, path: Path, seeds: list[int]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.run = path, uuid.uuid4().hex[:8]
        self._header: list[dict[str, Any]] = [{"run": self.run, "environment": environment() | {"seeds": seeds}}]
        self.known: dict[Hashable, Record] = {}
        self._named: set[Hashable] = set()
        for record in read(path)[0]:
            self._remember(record)

    def write(self, record: Record) -> None:
        """Append a record (the first one after the header)."""
        lines = [*self._header, record | {"run": self.run}]
        self._header = []
        with self.path.open("a") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
        self._remember(record)

    def has(self, record: Record) -> bool:
        """Whether the file holds this measurement under this name."""
        return (key(record), record["method"]) in self._named

    def _remember(self, record: Record) -> None:
        if "problem" in record and "error" not in record:  # what failed is tried again
            self.known[key(record)] = record
            self._named.add((key(record), record["method"]))
