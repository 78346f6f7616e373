"""Real tables for the benchmarks, and how they are split.

Tables come from scikit-learn's own loaders and, where the environment variable ``SKVAE_DATA`` names a folder,
from the files in it (``adbench/*.npz``, ``uci_imputation/*.csv.gz``, ``mixed/*.csv.gz``, ``hivae/*.npz``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import train_test_split

MIN_ROWS, MAX_ROWS, MAX_COLUMNS = 300, 10_000, 200

PROTOCOLS = ("contaminated", "clean")

UCI = ("banknote", "boston_housing", "concrete", "wine_red", "wine_white")  # breast and yeast stand elsewhere already
MIXED = ("abalone", "adult", "california_housing", "credit_g", "diamonds", "insurance", "online_shoppers")
HIVAE = ("letter",)


@dataclass(frozen=True)
class Split:
    """Training and held-out rows of one table under one seed, float64, no missing cell."""

    name: str
    seed: int
    train: np.ndarray
    test: np.ndarray


def density_problems() -> dict[str, Callable[[], np.ndarray]]:
    """Name -> loader of an (n, p) table, for held-out log-likelihood."""
    problems = {
        "sk/breast_cancer": lambda: datasets.load_breast_cancer().data,
        "sk/diabetes": lambda: datasets.load_diabetes(scaled=False).data,
        "sk/digits": lambda: datasets.load_digits().data,
    }
    folder = os.environ.get("SKVAE_DATA")
    if folder is None:
        return problems
    root = Path(folder)
    for path in sorted(root.glob("adbench/*.npz")):
        problems[f"adbench/{path.stem}"] = partial(_normal_rows, path)
    for name in UCI:
        problems[f"uci/{name}"] = partial(_csv_numbers, root / "uci_imputation" / f"{name}.csv.gz", drop_last=True)
    for name in MIXED:
        problems[f"mixed/{name}"] = partial(_csv_numbers, root / "mixed" / f"{name}.csv.gz")
    for name in HIVAE:
        problems[f"hivae/{name}"] = partial(_npz_rows, root / "hivae" / f"{name}.npz")
    return problems


def _normal_rows(path: Path) -> np.ndarray:
    with np.load(path) as archive:
        return archive["X"][archive["y"] == 0].astype(np.float64)


def _npz_rows(path: Path) -> np.ndarray:
    with np.load(path) as archive:
        return archive["X"].astype(np.float64)


def _csv_numbers(path: Path, drop_last: bool = False) -> np.ndarray:
    frame = pd.read_csv(path)
    frame = frame.iloc[:, :-1] if drop_last else frame
    return frame.select_dtypes("number").dropna().to_numpy(np.float64)


def load_density_table(name: str, seed: int) -> np.ndarray | None:
    """Return the dequantised table, or None where it is too small or too wide for this benchmark.

    Columns with ties get uniform noise as wide as the smallest gap between their values. The noise depends on
    the table and the seed only, so that every method sees the same numbers.
    """
    table = density_problems()[name]()
    table = table[:, table.max(axis=0) > table.min(axis=0)]
    if len(table) < MIN_ROWS or table.shape[1] > MAX_COLUMNS:
        return None
    rng = np.random.default_rng([seed, *name.encode()])
    if len(table) > MAX_ROWS:
        table = table[rng.choice(len(table), MAX_ROWS, replace=False)]
    table = table[:, table.max(axis=0) > table.min(axis=0)]
    return _dequantised(table, rng)


def _dequantised(table: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    table = table.copy()
    for column in table.T:
        values = np.unique(column)
        if len(values) < len(column):
            column += rng.uniform(0.0, np.diff(values).min(), size=len(column))
    return table


def density_split(name: str, seed: int) -> Split | None:
    """80/20 split of a dequantised table."""
    table = load_density_table(name, seed)
    if table is None:
        return None
    train, test = train_test_split(table, test_size=0.2, random_state=seed)
    return Split(name, seed, train, test)


@dataclass(frozen=True)
class OutlierSplit:
    """Training rows, rows to score, and which of these are outliers (1), of one table under one seed.

    "contaminated": all rows are both. "clean": half of the normal rows train, the other half and all outliers are
    scored (Livernoche et al. 2024, arXiv 2305.18593, section 4).
    """

    name: str
    protocol: str
    seed: int
    train: np.ndarray
    test: np.ndarray
    is_outlier: np.ndarray


def outlier_problems() -> dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]]:
    """Name -> loader of an (n, p) table and its (n,) labels, 1 for outliers."""
    problems = {"sk/breast_cancer": _rare_malignant}
    folder = os.environ.get("SKVAE_DATA")
    if folder is None:
        return problems
    return {
        f"adbench/{path.stem}": partial(_labelled_rows, path) for path in sorted(Path(folder).glob("adbench/*.npz"))
    }


def _rare_malignant() -> tuple[np.ndarray, np.ndarray]:
    """Breast cancer with one malignant row in ten kept."""
    data = datasets.load_breast_cancer()
    kept = np.ones(len(data.target), dtype=bool)
    kept[np.flatnonzero(data.target == 0)] = np.arange((data.target == 0).sum()) % 10 == 0
    return data.data[kept], (data.target[kept] == 0).astype(int)


def _labelled_rows(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path) as archive:
        return archive["X"].astype(np.float64), archive["y"].astype(int)


def outlier_split(name: str, protocol: str, seed: int) -> OutlierSplit:
    """One of the two protocols on one table."""
    table, y = outlier_problems()[name]()
    if protocol == "contaminated":
        return OutlierSplit(name, protocol, seed, table, table, y)
    normal = np.random.default_rng([seed, *name.encode()]).permutation(np.flatnonzero(y == 0))
    train, held_out = np.split(normal, [len(normal) // 2])
    scored = np.concatenate([held_out, np.flatnonzero(y == 1)])
    return OutlierSplit(name, protocol, seed, table[train], table[scored], y[scored])
