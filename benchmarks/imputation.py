"""The benchmark of imputation: ``python -m benchmarks.run imputation``; what is run and measured, and the report."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.encoding import Encoding
from benchmarks.methods.imputation import (
    IMPUTATION_NETWORKS,
    IMPUTATION_RIVALS,
    IMPUTATION_TREES,
    IMPUTATION_VAES,
    IMPUTER,
    IMPUTER_MISSINGNESS,
    IMPUTER_SETTINGS,
    NUMBERS_ONLY,
    Method,
)
from benchmarks.problems import HIVAE_SHARES, Masked
from benchmarks.records import Record, Writer

GROUPS: dict[str, dict[str, Method]] = {
    "vae": IMPUTATION_VAES,
    "rivals": IMPUTATION_RIVALS,
    "trees": IMPUTATION_TREES,
    "networks": IMPUTATION_NETWORKS,
    "settings": IMPUTER_SETTINGS,
    "missingness": IMPUTER_MISSINGNESS,
}
METHODS = {name: method for group in GROUPS.values() for name, method in group.items()}
PUBLISHED_MASKS = 3
PREFIXES = ("sk", "miwae", "mnar", *(f"hivae{share}" for share in HIVAE_SHARES))  # the first part of a table's name
DEFAULT = ("sk", "miwae", "hivae20", "hivae50")
SMOKE_ROWS = 80
INTERVAL = 0.9  # share of the draws of a cell that its central interval holds ...
INTERVAL_DRAWS = 50  # ... of so many draws ...
INTERVAL_ROWS = 500  # ... of at most so many rows


def jobs(
    methods: dict[str, Method], tables: list[str], masks: int, published_masks: int, writer: Writer
) -> Iterator[Record]:
    """What the file lacks, mask by mask; what is for numbers only is not run on HI-VAE's tables, nor on wine."""
    for mask in range(max(masks, published_masks)):
        for table in tables:
            if mask >= (published_masks if table.startswith("hivae") else masks):
                continue
            for name, method in methods.items():
                blank = {"problem": table, "method": name, "seed": mask, "settings": getattr(method, "settings", name)}
                mixed = table.startswith("hivae") or table == "sk/wine"
                if not (mixed and name in NUMBERS_ONLY) and not writer.has(blank):
                    yield blank


def smoke_masked(masked: Masked) -> Masked:
    """A few rows of it."""
    rows = np.random.default_rng(0).permutation(len(masked.complete))[:SMOKE_ROWS]
    return replace(masked, complete=masked.complete.iloc[rows].reset_index(drop=True), hidden=masked.hidden[rows])


def measure(name: str, method: Method, masked: Masked) -> Record:
    """Errors of the hidden cells, and seconds. The seed of the method is the number of the mask."""
    shown = masked.shown
    started = time.perf_counter()
    fill = method(shown, masked.mask)
    fitted = time.perf_counter()
    filled = fill(shown)
    transformed = time.perf_counter()
    return {
        "problem": masked.name,
        "method": name,
        "seed": masked.mask,
        "n_rows": len(shown),
        "n_features": shown.shape[1],
        "n_hidden": int(masked.hidden.sum()),
        **errors(masked, filled),
        **(intervals(masked, fill.draw) if hasattr(fill, "draw") else {}),
        "fit_seconds": fitted - started,
        "transform_seconds": transformed - fitted,
    }


def errors(masked: Masked, filled: pd.DataFrame) -> Record:
    """Errors of the hidden cells; a measure for which there is no column is left out.

    "mse": mean over the hidden cells of numbers of the squared error, in units of the complete column's standard
    deviation. "accuracy" and "ordinal_accuracy": share of the hidden cells filled with their level. "hivae_error":
    mean over the columns of the error of HI-VAE's code (Nazabal et al. 2020, arXiv 1807.03653): of numbers the root
    mean squared error over the range, of ordered categories the mean difference of levels over their number, of
    others the share that is wrong.
    """
    encoding = Encoding.of(masked.complete)
    truth, values = encoding(masked.complete), encoding(filled)
    if np.isnan(values[masked.hidden]).any():
        raise ValueError("a hidden cell is still missing")
    squares, right, right_ordinal, by_column = [], [], [], []
    for i, levels in enumerate(encoding.levels.values()):
        difference = (values[:, i] - truth[:, i])[masked.hidden[:, i]]
        known = truth[:, i][~np.isnan(truth[:, i])]
        if len(difference) == 0:
            by_column.append(0.0)
        elif levels is None:
            squares.append(np.square(difference / known.std()))
            by_column.append(math.sqrt(np.square(difference).mean()) / np.ptp(known))
        elif encoding.is_nominal[i]:
            right.append(difference == 0)
            by_column.append(float((difference != 0).mean()))
        else:
            right_ordinal.append(difference == 0)
            by_column.append(float(np.abs(difference).mean() / len(levels)))
    parts = {"mse": squares, "accuracy": right, "ordinal_accuracy": right_ordinal}
    told = {name: float(np.concatenate(cells).mean()) for name, cells in parts.items() if cells}
    return told | {"hivae_error": float(np.mean(by_column))}


def intervals(masked: Masked, draw: Callable[[pd.DataFrame, int, int], list[pd.DataFrame]]) -> Record:
    """Central 90 % intervals of the hidden cells of numbers, from draws; nothing where there are none.

    "coverage": share of the cells within theirs. "interval_width": mean width, in units of the complete column's
    standard deviation. An end lies at rank 0.05 (n + 1) of n draws, so that exact draws cover 90 % for every n.
    """
    encoding = Encoding.of(masked.complete)
    is_number = np.array([levels is None for levels in encoding.levels.values()])
    rows = np.random.default_rng(masked.mask).permutation(len(masked.complete))[:INTERVAL_ROWS]
    complete, hidden = encoding(masked.complete), masked.hidden[rows] & is_number
    if not hidden.any():
        return {}
    drawn = np.array([encoding(frame) for frame in draw(masked.shown.iloc[rows], INTERVAL_DRAWS, masked.mask)])
    ends = (0.5 - 0.5 * INTERVAL, 0.5 + 0.5 * INTERVAL)
    low, high = np.quantile(drawn[:, :, is_number], ends, axis=0, method="weibull")
    truth, hidden = complete[rows][:, is_number], hidden[:, is_number]
    width = (high - low) / np.nanstd(complete[:, is_number], axis=0)
    within = (low <= truth) & (truth <= high)
    return {"coverage": float(within[hidden].mean()), "interval_width": float(width[hidden].mean())}


# -- report ------------------------------------------------------------------------------------------------------------

Table = pd.DataFrame  # problems x methods
Rows = list[list[str]]

# Measures, their labels, and whether more is better.
MEASURES = {
    "mse": ("mean squared error of numbers", False),
    "accuracy": ("accuracy of categories", True),
    "ordinal_accuracy": ("accuracy of ordered categories", True),
    "hivae_error": ("HI-VAE's error", False),
}
TITLES = {
    "sk": "Tables of scikit-learn, half of the cells hidden",
    "miwae": "Half of the cells hidden",
    "mnar": "Hidden in the first half of the columns: what is above the mean",
    "hivae": "The published masks of HI-VAE",
}


def cells_of(found: list[Record], measure: str, prefix: str) -> pd.DataFrame:
    """(problem, mask) x methods; of a measurement made twice the last counts, what failed is left out."""
    last = {(r["problem"], r["method"], r["seed"]): r.get(measure) for r in found if r["problem"].startswith(prefix)}
    values = {key: value for key, value in last.items() if value is not None}
    if not values:
        return pd.DataFrame()
    index = pd.MultiIndex.from_tuples(values, names=["problem", "method", "mask"])
    table = pd.Series(list(values.values()), index, dtype=float).unstack("method")
    return table[[name for name in METHODS if name in table] + sorted(set(table) - set(METHODS))]


def means(found: list[Record], measure: str, prefix: str) -> Table:
    """Means over masks."""
    cells = cells_of(found, measure, prefix)
    return cells if cells.empty else cells.groupby(level="problem").mean()


def per_table(found: list[Record], measure: str, prefix: str, folder: Path | None) -> tuple[list[str], Rows]:
    """A row per problem, means over masks, how many they were, the best in bold; beside them published numbers."""
    cells, table = cells_of(found, measure, prefix), means(found, measure, prefix)
    if cells.empty:
        return [], []
    highest = MEASURES[measure][1]
    counts = cells.groupby(level="problem").count()
    published = published_errors(folder) if measure == "mse" else {}
    beside = published.keys() & set(table.index)
    rows = []
    for problem, values in table.iterrows():
        best = values.max() if highest else values.min()
        n_most = counts.loc[problem].max()
        told = [_told(v, n, n_most, v == best) for v, n in zip(values, counts.loc[problem], strict=True)]
        rows.append([str(problem), str(n_most), *told, *([published.get(str(problem), "")] if beside else [])])
    return ["table", "masks", *table, *(["published"] if beside else [])], rows


def _told(value: float, n: int, n_most: int, best: bool) -> str:
    if math.isnan(value):
        return ""
    text = f"**{value:.3f}**" if best else f"{value:.3f}"
    return text if n == n_most else f"{text} ({n})"


def paired(found: list[Record], measure: str, prefix: str) -> tuple[list[str], Rows]:
    """A row per rival: difference of the imputer to it over common masks, and the tables on which it is better."""
    cells = cells_of(found, measure, prefix)
    better = -1.0 if MEASURES[measure][1] else 1.0
    rows = []
    for rival in [] if IMPUTER not in cells else cells.columns.drop(IMPUTER):
        difference = (cells[IMPUTER] - cells[rival]).dropna().groupby(level="problem").mean()
        if len(difference):
            ratio = (cells[IMPUTER] / cells[rival]).dropna().groupby(level="problem").mean()
            won = f"{(better * difference < 0).sum()} of {len(difference)}"
            rows.append([rival, f"{difference.mean():+.3f}", f"{ratio.median():.2f}", won])
    return [f"{IMPUTER} less the rival", "mean difference", "median ratio", "better on"], rows


def covered(found: list[Record], prefix: str) -> tuple[list[str], Rows]:
    """A row per problem: coverage and width of the intervals of draws, means over masks."""
    coverage, width = (cells_of(found, name, prefix) for name in ("coverage", "interval_width"))
    if coverage.empty or IMPUTER not in coverage:
        return [], []
    table = pd.DataFrame({"coverage": coverage[IMPUTER], "width": width[IMPUTER]}).groupby(level="problem")
    counts = table["coverage"].count()
    rows = [[str(row.Index), str(counts[row.Index]), f"{row.coverage:.3f}", f"{row.width:.2f}"]
            for row in table.mean().itertuples()]  # fmt: skip
    return [f"{IMPUTER}, 90 % intervals of {INTERVAL_DRAWS} draws", "masks", "coverage", "mean width"], rows


def settings(found: list[Record], measure: str, prefix: str) -> tuple[list[str], Rows]:
    """A row per setting: the ratio of its error to the default's on each table, over common masks."""
    cells = cells_of([r for r in found if r["method"] in IMPUTER_SETTINGS or r["method"] == IMPUTER], measure, prefix)
    ratios = cells.div(cells[IMPUTER], axis=0).groupby(level="problem").mean() if IMPUTER in cells else cells
    counts = cells.groupby(level="problem").count() if len(cells) else cells
    rows = [
        [name, f"{counts[name].max()}", *(f"{ratio:.3f}" for ratio in ratios[name]), f"{ratios[name].mean():.3f}"]
        for name in ratios
        if name != IMPUTER
    ]
    return ["setting", "masks", *(str(problem) for problem in ratios.index), "mean"], rows


def seconds(found: list[Record], prefix: str) -> tuple[list[str], Rows]:
    """Fit and transform, median over the tables and the longest."""
    fit, transform = (means(found, name, prefix) for name in ("fit_seconds", "transform_seconds"))
    rows = [
        [name, f"{fit[name].median():.2f}", f"{fit[name].max():.1f}", f"{transform[name].median():.2f}",
         f"{transform[name].max():.1f}"]
        for name in fit
    ]  # fmt: skip
    return ["seconds", "fit, median", "longest", "transform, median", "longest"], rows


def published_errors(folder: Path | None) -> dict[str, str]:
    """Published mean squared errors under one mask, by problem, as text; empty without the folder."""
    path = None if folder is None else folder / "results" / "vae_reference_results.csv"
    if path is None or not path.exists():
        return {}
    frame = pd.read_csv(path)
    frame = frame[frame["metric"] == "imputation MSE"]
    told: dict[str, str] = {}
    for row in frame.itertuples():
        problem = f"miwae/{row.dataset.split(' ')[0]}"
        text = f"{row.model} {float(row.value):.3f}"
        told[problem] = f"{told[problem]}, {text}" if problem in told else text
    return told


def plot(found: list[Record], path: Path) -> None:
    """Draw the mean squared error over that of the mean (left) and HI-VAE's error likewise (right), per table."""
    from matplotlib.figure import Figure

    panels = {
        ("mse", "miwae"): "mean squared error of hidden cells,\nhalf of all, over that of the mean",
        ("hivae_error", "hivae"): "HI-VAE's error of hidden cells,\n20 or 50 %, over that of the mean",
    }
    floor = next(iter(IMPUTATION_RIVALS))
    found = [record for record in found if record["method"] not in IMPUTER_SETTINGS]
    cells = {key: cells_of(found, *key) for key in panels}
    tables = {
        key: table.div(table[floor], axis=0).drop(columns=floor).groupby(level="problem").mean().dropna(how="all")
        for key, table in cells.items()
        if floor in table
    }
    height = 1.4 + 0.34 * max(len(table) for table in tables.values())
    figure = Figure(figsize=(5.2 * len(tables), height), layout="constrained")
    seen: dict[str, object] = {}
    for axes, (key, ratios) in zip(np.ravel(figure.subplots(1, len(tables))), tables.items(), strict=True):
        for name in ratios:
            i = list(METHODS).index(name)  # a method looks the same whatever else is drawn
            style = {"marker": "o", "s": 34, "color": "C3"} if name == IMPUTER else {
                "marker": "sD^v<>"[i % 6], "s": 20, "color": ("C0", "C0", "C1", "C2", "C4", "0.4")[i % 6]}  # fmt: skip
            seen[name] = axes.scatter(ratios[name], range(len(ratios))[::-1], zorder=3, **style)
        axes.axvline(1.0, color="0.5", lw=0.8)
        axes.set_yticks(range(len(ratios))[::-1], ratios.index, fontsize=8)
        axes.set_xlabel(panels[key])
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
    figure.legend(list(seen.values()), list(seen), loc="outside upper center", ncols=3, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
