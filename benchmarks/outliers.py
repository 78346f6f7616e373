"""The outlier benchmark: ``python -m benchmarks.run outliers``; what is run, and the report."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare, rankdata, studentized_range

from benchmarks.methods.outliers import (
    CALIBRATIONS,
    DENSITIES,
    DETECTOR,
    DETECTORS,
    DETERMINISTIC,
    OUTLIER_RIVALS,
    PYOD_NETWORKS,
    PYOD_RIVALS,
    Method,
)
from benchmarks.problems import OTHER_SHARES, PROTOCOLS, has_one_split
from benchmarks.records import Record, Writer

GROUPS: dict[str, dict[str, Method]] = {
    "detector": DETECTORS,
    "rivals": OUTLIER_RIVALS,
    "pyod": PYOD_RIVALS,
    "networks": PYOD_NETWORKS,
    "density": DENSITIES,
    "calibration": CALIBRATIONS,
}
METHODS = {name: method for group in GROUPS.values() for name, method in group.items()}
SMOKE_ROWS = 200
DRAWS = 10_000  # of the bootstrap over tables
PUBLISHED = {"contaminated": "unsup", "clean": "semi"}

Table = pd.DataFrame  # tables x methods


def jobs(
    names: list[str], tables: list[str], protocols: list[str], seeds: list[int], writer: Writer
) -> Iterator[Record]:
    """What the file lacks. Where the rows are the same, a method without chance is run under the first seed only."""
    for seed in seeds:
        for protocol in protocols:
            for table in tables:
                for name in names:
                    blank = {"problem": f"{protocol}: {table}", "method": name, "seed": seed}
                    repeats = has_one_split(table, protocol) and name in DETERMINISTIC and seed > 0
                    foreign = protocol in OTHER_SHARES and not table.startswith("oddbench/")
                    if not repeats and not foreign and not writer.has(blank):
                        yield blank


# -- report ------------------------------------------------------------------------------------------------------------


Cells = dict[tuple[str, str], dict[int, float]]  # (table, method) -> seed -> value


def homes_of(found: list[Record], protocol: str) -> list[str]:
    """The collections whose tables were run under a protocol."""
    each = (record["problem"].split(": ", 1) for record in found)
    return sorted({table.split("/")[0] for own, table in each if own == protocol})


def cells_of(found: list[Record], protocol: str, measure: str, home: str = "") -> Cells:
    """Every measurement of a protocol on the tables of a collection, or on all; NaN where a method failed."""
    cells: Cells = defaultdict(dict)
    for record in found:
        own, table = record["problem"].split(": ", 1)
        if own == protocol and table.startswith(home):
            cells[table, record["method"]][record["seed"]] = record.get(measure, math.nan)
    return cells


def table_of(found: list[Record], protocol: str, measure: str, home: str = "") -> Table:
    """Mean over seeds, tables x methods; NaN where a method failed."""
    cells = cells_of(found, protocol, measure, home)
    return pd.Series({key: mean(by_seed.values()) for key, by_seed in cells.items()}, dtype=float).unstack()


def paired_differences(cells: Cells, name: str) -> np.ndarray:
    """The detector's value less that of a method, per table, over the seeds that both have.

    What was run under one seed because there is no chance in it has the same value under all.
    """
    differences = []
    for table in sorted({table for table, method in cells if method == name}):
        ours, theirs = cells[table, DETECTOR], cells[table, name]
        if list(theirs) == [0] and name in DETERMINISTIC:
            theirs = dict.fromkeys(ours, theirs[0])
        differences.append(mean(ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()))
    return np.array([difference for difference in differences if not math.isnan(difference)])


def bootstrap(differences: np.ndarray) -> tuple[float, float, float]:
    """Mean, and the 95 % interval of the mean over tables drawn with replacement."""
    low, high = np.quantile(_resampled_means(differences), [0.025, 0.975])
    return float(differences.mean()), float(low), float(high)


def share_above(differences: np.ndarray) -> float:
    """Share of the bootstrap's means that are above 0."""
    return float((_resampled_means(differences) > 0).mean())


def _resampled_means(differences: np.ndarray) -> np.ndarray:
    drawn = np.random.default_rng(0).integers(len(differences), size=(DRAWS, len(differences)))
    return differences[drawn].mean(axis=1)


def comparison_rows(found: list[Record], protocol: str, home: str, folder: Path | None) -> list[list[str]]:
    """One row per method: means, paired differences in AUROC with their interval, seconds; best first."""
    auroc, aucpr = (table_of(found, protocol, measure, home) for measure in ("auroc", "aucpr"))
    cells = cells_of(found, protocol, "auroc", home)
    seconds = sum(table_of(found, protocol, f"{part}_seconds", home) for part in ("fit", "score"))
    published = published_means(folder, protocol) if home == "adbench" else {}
    rows = []
    for name in auroc.mean().sort_values(ascending=False).index:
        against = ["", ""]
        if name != DETECTOR:
            differences = paired_differences(cells, name)
            centre, low, high = bootstrap(differences)
            against = [
                f"{100 * centre:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})",
                f"{share_above(differences):.3f}",
            ]
        known = published.get(name, math.nan)
        rows.append([f"**{name}**" if name == DETECTOR else name, str(auroc[name].notna().sum()),
                     f"{100 * auroc[name].mean():.1f}", f"{100 * aucpr[name].mean():.1f}", *against,
                     f"{seconds[name].median():.2f}", f"{seconds[name].max():.1f}",
                     "" if math.isnan(known) else f"{known:.1f}"])  # fmt: skip
    return rows


HEADER = ["method", "tables", "AUROC", "AUCPR", "detector above by (95 % of the bootstrap)", "share above 0",
          "median seconds", "longest", "published AUROC"]  # fmt: skip


PUBLISHED_NAMES = {"IsolationForest": "IForest", "kNN (k=5)": "kNN", "DTE-NP": "DTE-NP", "LOF": "LOF",
                   "robust covariance (MCD)": "MCD", "HBOS": "HBOS", "ECOD": "ECOD", "PCA reconstruction": "PCA",
                   "PyOD VAE": "VAE"}  # fmt: skip


def published_means(folder: Path | None, protocol: str) -> dict[str, float]:
    """Means of Livernoche et al. (2024) over the same tables, in percent; empty without the folder."""
    path = None if folder is None else folder / "results" / f"dte2024_{PUBLISHED[protocol]}_aucroc.csv"
    if path is None or not path.exists():
        return {}
    frame = pd.read_csv(path, index_col=0)
    columns = {str(column).strip().lower().replace(" ", ""): column for column in frame.columns}
    found = {ours: columns.get(theirs.lower()) for ours, theirs in PUBLISHED_NAMES.items()}
    return {ours: float(frame[column].mean()) for ours, column in found.items() if column is not None}


def per_table(found: list[Record], protocol: str) -> tuple[list[str], list[list[str]]]:
    """AUROC in percent, a row per table, the best in bold."""
    auroc = table_of(found, protocol, "auroc")
    names = [name for name in METHODS if name in auroc.columns and name not in DENSITIES]
    rows = []
    for table, values in auroc[names].iterrows():
        best = values.max()
        cells = ["" if math.isnan(v) else f"**{100 * v:.1f}**" if v == best else f"{100 * v:.1f}" for v in values]
        rows.append([str(table), *cells])
    return ["table", *names], rows


CALIBRATION_HEADER = ["calibration", "collection", "tables", "AUROC", "AUCPR", "normal rows with p < 0.05: mean, %",
                      "standard deviation over tables", "above 10 %: share of tables", "median seconds"]  # fmt: skip


def calibration_rows(found: list[Record]) -> list[list[str]]:
    """What ways to calibrate cost in ranking and time, and what their p-values promise and keep, on clean rows."""
    rows = []
    for home in homes_of(found, "clean"):
        auroc, aucpr, false = (
            table_of(found, "clean", measure, home) for measure in ("auroc", "aucpr", "false_positives")
        )
        seconds = sum(table_of(found, "clean", f"{part}_seconds", home) for part in ("fit", "score"))
        rows += [
            [name, home, str(auroc[name].notna().sum()), f"{100 * auroc[name].mean():.2f}",
             f"{100 * aucpr[name].mean():.2f}", f"{100 * false[name].mean():.1f}", f"{100 * false[name].std():.1f}",
             f"{(false[name] > 0.1).mean():.2f}", f"{seconds[name].median():.1f}"]
            for name in CALIBRATIONS if name in auroc.columns
        ]  # fmt: skip
    return rows


def seconds_note(found: list[Record]) -> str:
    """The detector's seconds per table, fit and scores together."""
    notes = []
    for protocol in PROTOCOLS:
        seconds = table_of(found, protocol, "fit_seconds") + table_of(found, protocol, "score_seconds")
        own = seconds[DETECTOR].dropna().tolist()
        notes.append(f"{protocol} median {median(own):.1f}, longest {max(own):.1f}")
    return f"Seconds of the detector, fit and scores: {'; '.join(notes)}."


# -- the critical-difference plot -------------------------------------------------------------------------------------


def critical_difference(n_methods: int, n_tables: int, level: float = 0.05) -> float:
    """Nemenyi's: mean ranks further apart than this differ at the level (Demšar 2006, section 3.2.2)."""
    quantile = studentized_range.ppf(1.0 - level, n_methods, np.inf) / math.sqrt(2.0)
    return float(quantile * math.sqrt(n_methods * (n_methods + 1) / (6.0 * n_tables)))


def plot_ranks(found: list[Record], path: Path) -> None:
    """Draw the methods' mean ranks per protocol, joining those that do not differ from one another."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 7.0), layout="constrained")
    for axes, protocol in zip(figure.subplots(len(PROTOCOLS), 1), PROTOCOLS, strict=True):
        auroc = table_of(found, protocol, "auroc")
        names = [name for name in METHODS if name in auroc.columns and name not in DENSITIES]
        complete = auroc[names].dropna(axis=1)
        ranks = pd.Series(rankdata(-complete.to_numpy(), axis=1).mean(axis=0), complete.columns).sort_values()
        friedman = friedmanchisquare(*complete.to_numpy().T).pvalue
        width = critical_difference(len(ranks), len(complete))
        _draw_ranks(axes, ranks, width)
        title = f"{protocol}: mean rank by AUROC over {len(complete)} tables (Friedman p = {friedman:.1g})"
        axes.set_title(title, fontsize="medium")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _draw_ranks(axes: object, ranks: pd.Series, width: float) -> None:
    places = np.arange(len(ranks))[::-1]
    colours = ["C3" if name == DETECTOR else "0.35" for name in ranks.index]
    axes.hlines(places, ranks - width / 2, ranks + width / 2, color=colours, lw=1.5)
    axes.scatter(ranks, places, color=colours, zorder=3)
    axes.axvspan(ranks[DETECTOR] - width / 2, ranks[DETECTOR] + width / 2, color="C3", alpha=0.08)
    axes.set_yticks(places, ranks.index)
    axes.set_xlabel(
        f"mean rank, 1 is best; bars are one critical difference ({width:.1f}) wide:\n"
        f"two methods differ at 5 % if their bars do not overlap"
    )
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
