"""Measure one method on one problem: the same record for every method."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from benchmarks.methods.density import LogDensity
from benchmarks.problems import Split


def measure_density(name: str, method: Callable[[np.ndarray, int], LogDensity], split: Split) -> dict[str, object]:
    """Held-out mean log-likelihood (nats per row, data units) and seconds."""
    started = time.perf_counter()
    log_density = method(split.train, split.seed)
    fitted = time.perf_counter()
    scores = log_density(split.test)
    scored = time.perf_counter()
    return {
        "problem": split.name,
        "method": name,
        "seed": split.seed,
        "n_train": len(split.train),
        "n_test": len(split.test),
        "n_features": split.train.shape[1],
        "log_likelihood": float(np.mean(scores)),
        "standard_error": float(np.std(scores) / np.sqrt(len(scores))),
        "fit_seconds": fitted - started,
        "score_seconds": scored - fitted,
    }
