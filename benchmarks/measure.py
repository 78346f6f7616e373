"""Measure one method on one problem: the same record for every method."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.methods.density import LogDensity
from benchmarks.methods.outliers import Method
from benchmarks.problems import OutlierSplit, Split

LEVEL = 0.05  # of p-values


def measure_density(name: str, method: Callable[[np.ndarray, int], LogDensity], split: Split) -> dict[str, object]:
    """Held-out mean log-likelihood (nats per row, data units) and seconds.

    Seconds are of the processor: with one thread what a clock shows on a core of one's own, and nearly the same beside
    other processes.
    """
    started = time.process_time()
    log_density = method(split.train, split.seed)
    fitted = time.process_time()
    scores = log_density(split.test)
    scored = time.process_time()
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


def measure_outliers(name: str, method: Method, split: OutlierSplit) -> dict[str, object]:
    """Ranking of the outliers (areas under the ROC and the precision-recall curve) and seconds of the processor.

    Where the method gives p-values, the share of the normal rows that have one below LEVEL, too.
    """
    started = time.process_time()
    score = method(split.train, split.seed, split.protocol == "clean")
    fitted = time.process_time()
    scores = score(split.test)
    scored = time.process_time()
    normal = split.test[np.asarray(split.is_outlier) == 0]
    promised = {"false_positives": float((score.p_values(normal) < LEVEL).mean())} if hasattr(score, "p_values") else {}
    return {
        "problem": f"{split.protocol}: {split.name}",
        "method": name,
        "seed": split.seed,
        "n_train": len(split.train),
        "n_test": len(split.test),
        "n_features": split.train.shape[1],
        "auroc": float(roc_auc_score(split.is_outlier, scores)),
        "aucpr": float(average_precision_score(split.is_outlier, scores)),
        "fit_seconds": fitted - started,
        "score_seconds": scored - fitted,
        **promised,
    }
