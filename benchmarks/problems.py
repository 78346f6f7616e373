"""Real tables for the benchmarks, and how they are split.

Tables come from scikit-learn's own loaders and, where the environment variable ``SKVAE_DATA`` names a folder,
from the files in it (``adbench/*.npz``, ``oddbench/*.npz``, ``uci_imputation/*.csv.gz``, ``mixed/*.csv.gz``,
``hivae/*.npz``).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.model_selection import train_test_split

MIN_ROWS, MAX_ROWS, MAX_COLUMNS = 300, 10_000, 200

SHARES = {"contaminated": 0.05, "contaminated 1 %": 0.01, "contaminated 10 %": 0.10}  # of outliers mixed in
PROTOCOLS = ("contaminated", "clean")
OTHER_SHARES = ("contaminated 1 %", "contaminated 10 %")  # of tables that come with normal training rows

UCI = ("banknote", "boston_housing", "concrete", "wine_red", "wine_white")  # breast and yeast stand elsewhere already
MIXED = ("abalone", "adult", "california_housing", "credit_g", "diamonds", "insurance", "online_shoppers")
HIVAE = ("letter",)

# Synthetic tables: every mixed table. The columns left out are other columns written in another way.
SYNTHESIS = (*MIXED, "mushroom", "penguins", "titanic")
DERIVED = {"titanic": ["class", "who", "adult_male", "embark_town", "alive", "alone"]}

# Imputation: the tables of the MIWAE paper and the column that it left out; those of HI-VAE and their published masks.
MIWAE = {"banknote": "class", "breast_wdbc": "diagnosis", "concrete": "strength", "wine_red": None, "wine_white": None,
         "yeast": "site"}  # fmt: skip
HIVAE_MASKED = ("adult", "breast", "letter", "spam", "wine")
HIVAE_SHARES = (10, 20, 30, 40, 50)
HIDDEN_SHARE = 0.5  # of the MIWAE tables


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
    folder = os.environ.get("SKVAE_DATA") or None
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

    "contaminated": the rows to score are the training rows. Where a table is one set of rows these are all of it; where
    it comes with normal training rows, some of its outliers are mixed in: a twentieth, or a hundredth or a tenth, or
    as many as it has. "clean": the training rows are normal. Where a table is one set of rows these are half of the
    normal ones, and the other half and all outliers are scored (Livernoche et al. 2024, arXiv 2305.18593, section 4).
    """

    name: str
    protocol: str
    seed: int
    train: np.ndarray
    test: np.ndarray
    is_outlier: np.ndarray


class Labelled(NamedTuple):
    """Rows and which are outliers (1), of which the first `n_train` rows are normal ones to train on, if any are."""

    rows: np.ndarray
    is_outlier: np.ndarray
    n_train: int = 0


def outlier_problems() -> dict[str, Callable[[], Labelled]]:
    """Name -> loader of a table with labels."""
    folder = os.environ.get("SKVAE_DATA") or None
    if folder is None:
        return {"sk/breast_cancer": _rare_malignant}
    loaders = {"adbench": _labelled_rows, "oddbench": _labelled_after_training}
    return {
        f"{home}/{path.stem}": partial(load, path)
        for home, load in loaders.items()
        for path in sorted(Path(folder).glob(f"{home}/*.npz"))
    }


def has_one_split(name: str, protocol: str) -> bool:
    """Whether the rows of a protocol are the same under every seed."""
    return (protocol == "clean") == name.startswith("oddbench/")


def _rare_malignant() -> Labelled:
    """Breast cancer with one malignant row in ten kept."""
    data = datasets.load_breast_cancer()
    kept = np.ones(len(data.target), dtype=bool)
    kept[np.flatnonzero(data.target == 0)] = np.arange((data.target == 0).sum()) % 10 == 0
    return Labelled(data.data[kept], (data.target[kept] == 0).astype(int))


def _labelled_rows(path: Path) -> Labelled:
    with np.load(path) as archive:
        return Labelled(archive["X"].astype(np.float64), archive["y"].astype(int))


def _labelled_after_training(path: Path) -> Labelled:
    with np.load(path) as archive:
        train, test, y = archive["train"], archive["test"], archive["y"].astype(int)
    y = np.concatenate([np.zeros(len(train), dtype=int), y])
    return Labelled(np.concatenate([train, test]).astype(np.float64), y, len(train))


def outlier_split(name: str, protocol: str, seed: int) -> OutlierSplit:
    """One of the protocols on one table."""
    rows, y, n_train = outlier_problems()[name]()
    rng = np.random.default_rng([seed, *name.encode()])
    if protocol == "clean" and n_train:
        return OutlierSplit(name, protocol, seed, rows[:n_train], rows[n_train:], y[n_train:])
    if protocol == "clean":
        train, held_out = np.split(normal := rng.permutation(np.flatnonzero(y == 0)), [len(normal) // 2])
        scored = np.concatenate([held_out, np.flatnonzero(y == 1)])
        return OutlierSplit(name, protocol, seed, rows[train], rows[scored], y[scored])
    if n_train:
        odds = SHARES[protocol] / (1.0 - SHARES[protocol])
        mixed_in = rng.permutation(np.flatnonzero(y == 1))[: max(1, round(odds * n_train))]
        kept = rng.permutation(np.concatenate([np.arange(n_train), mixed_in]))
        rows, y = rows[kept], y[kept]
    return OutlierSplit(name, protocol, seed, rows, rows, y)


# -- tables of mixed kinds ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TableSplit:
    """Training and held-out rows of a table of mixed kinds, and the column to predict."""

    name: str
    seed: int
    train: pd.DataFrame
    test: pd.DataFrame
    target: str


def table_problems() -> dict[str, Callable[[], tuple[pd.DataFrame, str]]]:
    """Name -> loader of a frame and its target: numbers, booleans and categories, with missing cells."""
    folder = os.environ.get("SKVAE_DATA") or None
    if folder is None:
        return {"sk/wine": _wine, "sk/diabetes": _diabetes}
    schema = json.loads((Path(folder) / "mixed" / "schema.json").read_text())
    return {f"mixed/{name}": partial(_mixed_frame, Path(folder), name, schema[name]) for name in sorted(SYNTHESIS)}


def table_split(name: str, seed: int) -> TableSplit:
    """80/20 split of a table, drawn at random even where the table comes with a split of its own."""
    frame, target = table_problems()[name]()
    train, test = train_test_split(frame, test_size=0.2, random_state=seed)
    return TableSplit(name, seed, train.reset_index(drop=True), test.reset_index(drop=True), target)


def _wine() -> tuple[pd.DataFrame, str]:
    data = datasets.load_wine(as_frame=True).frame
    return data.assign(target=typed(data["target"], "categorical"), proline=data["proline"].astype("int64")), "target"


def _diabetes() -> tuple[pd.DataFrame, str]:
    data = datasets.load_diabetes(as_frame=True, scaled=False).frame
    return data.assign(sex=typed(data["sex"], "binary")), "target"


def _mixed_frame(folder: Path, name: str, schema: dict[str, Any]) -> tuple[pd.DataFrame, str]:
    raw = pd.read_csv(folder / schema["file"], keep_default_na=False, na_values=[""])
    raw = raw.drop(columns=DERIVED.get(name, []))
    kinds = schema["columns"]
    columns = {column: typed(raw[column], kinds[column]["kind"], kinds[column].get("order")) for column in raw}
    return pd.DataFrame(columns), schema["target"]


def typed(column: pd.Series, kind: str, order: list[Any] | None = None) -> pd.Series:
    """A column with the dtype of its kind.

    Measurements are floats, counts integers (nullable where cells are missing), booleans stay, and all else, numbers
    that name things included, is a category: an ordered one where the kind is "ordinal".
    """
    if kind == "continuous":
        return column.astype("float64")
    if kind == "count":
        return column.astype("Int64" if column.isna().any() else "int64")
    if column.dtype == bool:
        return column
    levels = order or sorted(column.dropna().unique())
    return column.astype(pd.CategoricalDtype(levels, ordered=kind == "ordinal"))


# -- imputation --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Masked:
    """A table, which of its cells are hidden, and the number of levels of each category."""

    name: str
    mask: int
    complete: pd.DataFrame  # cells missing here are neither shown nor scored
    hidden: np.ndarray

    @property
    def shown(self) -> pd.DataFrame:
        """The table with missing cells where they are hidden."""
        return self.complete.mask(self.hidden)


def imputation_problems() -> dict[str, Callable[[int], Masked]]:
    """Name -> loader of the table under the mask of that number.

    "miwae/...": half of the cells, drawn at random; the mask depends on the table's name and the number alone.
    "mnar/...": of the first half of the columns what is above the mean, as in the experiments of not-MIWAE.
    "hivae20/...": the masks published with HI-VAE, here those with 20 % of the cells of every column.
    """
    folder = os.environ.get("SKVAE_DATA") or None
    if folder is None:
        return {name: partial(_half_hidden, name, load) for name, load in _OWN_FRAMES.items()}
    root = Path(folder)
    problems: dict[str, Callable[[int], Masked]] = {}
    for name, left_out in MIWAE.items():
        load = partial(_all_numbers, root / "uci_imputation" / f"{name}.csv.gz", left_out)
        problems[f"miwae/{name}"] = partial(_half_hidden, f"miwae/{name}", load)
        problems[f"mnar/{name}"] = partial(_high_hidden, f"mnar/{name}", load)
    for share in HIVAE_SHARES:
        for name in HIVAE_MASKED:
            path = root / "hivae" / f"{name}.npz"
            problems[f"hivae{share}/{name}"] = partial(_published_mask, f"hivae{share}/{name}", path, share)
    return problems


_OWN_FRAMES: dict[str, Callable[[], pd.DataFrame]] = {
    "sk/breast_cancer": lambda: datasets.load_breast_cancer(as_frame=True).data,
    "sk/wine": lambda: _wine()[0],
}


def _half_hidden(name: str, load: Callable[[], pd.DataFrame], mask: int) -> Masked:
    frame = load()
    n_cells = frame.size
    rng = np.random.default_rng([mask, *name.encode()])
    hidden = np.zeros(n_cells, dtype=bool)
    hidden[rng.choice(n_cells, int(HIDDEN_SHARE * n_cells), replace=False)] = True
    return Masked(name, mask, frame, hidden.reshape(frame.shape))


def _high_hidden(name: str, load: Callable[[], pd.DataFrame], mask: int) -> Masked:
    """The number of the mask is but that of the method's seed."""
    frame = load()
    hidden = (frame > frame.mean()).to_numpy()
    hidden[:, frame.shape[1] // 2 :] = False
    return Masked(name, mask, frame, hidden)


def _all_numbers(path: Path, left_out: str | None) -> pd.DataFrame:
    frame = pd.read_csv(path)
    return frame.drop(columns=[] if left_out is None else [left_out]).astype("float64")


_HIVAE_KINDS = {"real": "continuous", "pos": "continuous", "count": "count", "cat": "categorical", "ordinal": "ordinal"}


def _published_mask(name: str, path: Path, share: int, mask: int) -> Masked:
    with np.load(path) as archive:
        table, types, shape = archive["X"].astype(np.float64), archive["types"], tuple(archive["shape"])
        bits = archive[f"missing{share}_{mask + 1}"]
    hidden = np.unpackbits(bits, count=math.prod(shape)).reshape(shape).astype(bool)
    return Masked(name, mask, _hivae_frame(table, types), hidden & ~np.isnan(table))


def _hivae_frame(table: np.ndarray, types: np.ndarray) -> pd.DataFrame:
    """Levels are integers; of a count whose cells will be hidden the dtype is nullable."""
    columns = {}
    for i, (values, kind) in enumerate(zip(table.T, types, strict=True)):
        column = pd.Series(values)
        column = column if kind in ("real", "pos") else column.astype("Int64")
        columns[f"x{i}"] = column if kind == "count" else typed(column, _HIVAE_KINDS[kind])
    return pd.DataFrame(columns)
