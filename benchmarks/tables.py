"""The benchmark of synthetic tables: ``python -m benchmarks.run tables``; what is run and measured, and the report."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.methods.tables import (
    TABLE_FORESTS,
    TABLE_MIXTURES,
    TABLE_NETWORKS,
    TABLE_RIVALS,
    TABLE_STEPS,
    TABLE_VAES,
    Method,
)
from benchmarks.methods.vae import DEFAULT
from benchmarks.problems import TableSplit
from benchmarks.records import Record, Writer
from skvae import metrics

GROUPS: dict[str, dict[str, Method]] = {
    "vae": TABLE_VAES,
    "steps": TABLE_STEPS,
    "rivals": TABLE_RIVALS,
    "mixtures": TABLE_MIXTURES,
    "networks": TABLE_NETWORKS,
    "forests": TABLE_FORESTS,
}
METHODS = {name: method for group in GROUPS.values() for name, method in group.items()}
FLOOR = "bootstrap"  # what is left of every error where rows are only drawn anew
SMOKE_ROWS = 100


def jobs(methods: dict[str, Method], tables: list[str], seeds: list[int], writer: Writer) -> Iterator[Record]:
    """What the file lacks, seed by seed."""
    for seed in seeds:
        for table in tables:
            for name, method in methods.items():
                blank = {"problem": table, "method": name, "seed": seed, "settings": getattr(method, "settings", name)}
                if not writer.has(blank):
                    yield blank


def smoke_split(split: TableSplit) -> TableSplit:
    """A few rows of it."""
    return replace(split, train=split.train[:SMOKE_ROWS], test=split.test[:SMOKE_ROWS])


def measure(name: str, method: Method, split: TableSplit) -> Record:
    """Draw as many rows as there are training rows and compare them with these, and with the held-out ones."""
    started = time.perf_counter()
    draw = method(split.train, split.seed)
    fitted = time.perf_counter()
    drawn = draw(len(split.train), split.seed)
    sampled = time.perf_counter()
    return {
        "problem": split.name,
        "method": name,
        "seed": split.seed,
        "n_train": len(split.train),
        "n_test": len(split.test),
        "n_features": split.train.shape[1],
        **measures(split, drawn),
        "fit_seconds": fitted - started,
        "sample_seconds": sampled - fitted,
    }


def measures(split: TableSplit, drawn: pd.DataFrame) -> Record:
    """All that is measured of drawn rows."""
    train, test, seed = split.train, split.test, split.seed
    columns = metrics.column_errors(train, drawn)
    learnt = metrics.utility_scores(train, test, drawn, split.target, random_state=seed)
    return {
        "shape_error": float(columns.mean()),
        "worst_shape_error": float(columns.max()),
        "known_shape_error": float(metrics.column_errors(train, drawn, observed=True).mean()),
        "shape_errors": {str(name): round(error, 4) for name, error in columns.items()},
        "trend_error": float(np.nanmean(metrics.pair_errors(train, drawn))),
        "score": {"roc_auc": "AUC", "r2": "R2"}[learnt.scoring],
        "downstream": learnt.drawn,
        "downstream_real": learnt.real,
        "detection": metrics.detection_auc(train, drawn, random_state=seed),
        "nearer_to_train": metrics.nearness_to_training(train, test, drawn, random_state=seed),
        "copies": metrics.share_of_copies(train, drawn),
        "copies_real": metrics.share_of_copies(train, test),
    }


# -- report ------------------------------------------------------------------------------------------------------------

Table = pd.DataFrame  # problems x methods
Rows = list[list[str]]

# What is compared: label, and how a record's number becomes one of which less is better.
COMPARED = {
    "columns, %": lambda r: 100 * r["shape_error"],
    "pairs, %": lambda r: 100 * r["trend_error"],
    "score lost": lambda r: r["downstream_real"] - r["downstream"],
    "detection above .5": lambda r: max(0.0, r["detection"] - 0.5),  # copies of real rows are below
}


def table_of(found: list[Record], measure: str) -> Table:
    """Mean over seeds, problems x methods; of a measurement made twice the last counts, what failed is left out."""
    last = {(r["problem"], r["method"], r["seed"]): r for r in found}
    of = COMPARED.get(measure, lambda r: r[measure])
    sound = [{"problem": p, "method": m, "value": of(r)} for (p, m, _), r in last.items() if "error" not in r]
    means = pd.DataFrame(sound).groupby(["problem", "method"])["value"].mean().unstack()
    return means[[name for name in METHODS if name in means] + sorted(set(means) - set(METHODS))]


def summary(found: list[Record]) -> tuple[list[str], Rows]:
    """A row per method: means over the tables that it was run on."""
    last = pd.DataFrame([record for record in found if "error" not in record])
    classified = set(last.loc[last["score"] == "AUC", "problem"])
    lost = table_of(found, "score lost")
    columns = {
        "columns, %": ("columns, %", np.nanmean, "{:.1f}"),
        "of known cells, %": ("known_shape_error", lambda v: 100 * np.nanmean(v), "{:.1f}"),
        "worst column, %": ("worst_shape_error", lambda v: 100 * np.nanmean(v), "{:.1f}"),
        "pairs, %": ("pairs, %", np.nanmean, "{:.1f}"),
        "detection AUC": ("detection", np.nanmean, "{:.3f}"),
        "nearer to training row": ("nearer_to_train", np.nanmean, "{:.3f}"),
        "copies, %": ("copies", lambda v: 100 * np.nanmean(v), "{:.1f}"),
        "fit, median s": ("fit_seconds", np.nanmedian, "{:.1f}"),
        "longest": ("fit_seconds", np.nanmax, "{:.0f}"),
        "draw, median s": ("sample_seconds", np.nanmedian, "{:.2f}"),
    }
    cells = {title: (table_of(found, measure), of, form) for title, (measure, of, form) in columns.items()}
    rows = []
    for name in lost:
        of_classes = lost[name][[problem in classified for problem in lost.index]]
        of_numbers = lost[name].drop(of_classes.index)
        told = [form.format(of(table[name])) for table, of, form in cells.values()]
        told[4:4] = [f"{of_classes.mean():.3f}", f"{of_numbers.median():.3f}"]
        told = ["" if cell == "nan" else cell for cell in told]  # no table of that kind
        rows.append([f"**{name}**" if name == DEFAULT else name, str(lost[name].notna().sum()), *told])
    titles = list(columns)
    titles[4:4] = ["AUC lost, mean", "R2 lost, median"]
    return ["method", "tables", *titles], rows


def paired(found: list[Record]) -> tuple[list[str], Rows]:
    """A row per rival: the median difference over common tables and seeds, and on how many tables the VAE is better."""
    sound = {(r["method"], r["problem"], r["seed"]): r for r in found if "error" not in r}  # the last counts
    rows = []
    for rival in table_of(found, "score lost").columns.drop(DEFAULT, errors="ignore"):
        common = {(p, s) for name, p, s in sound if name == rival} & {(p, s) for name, p, s in sound if name == DEFAULT}
        if common:
            both = [sound[name, *place] for name in (DEFAULT, rival) for place in common]
            tables = [table_of(both, measure) for measure in COMPARED]
            differences = [table[DEFAULT] - table[rival] for table in tables]
            rows.append([rival, *(f"{d.median():+.3g} ({(d < 0).sum()} of {len(d)})" for d in differences)])
    return [f"{DEFAULT} less the rival, median (better on)", *COMPARED], rows


def per_table(found: list[Record], measure: str, digits: int, beside: str | None = None) -> tuple[list[str], Rows]:
    """A row per problem, the best in bold, copies aside; `beside` is a measure of the real rows shown first."""
    means = table_of(found, measure)
    highest = measure == "downstream"
    real = None if beside is None else table_of(found, beside).mean(axis=1)
    rows = []
    for problem, values in means.iterrows():
        made = values.drop(FLOOR, errors="ignore")
        best = made.max() if highest else made.min()
        cells = ["" if math.isnan(v) else f"{v:.{digits}f}" for v in values]
        bold = [v == best and name != FLOOR for name, v in values.items()]
        cells = [f"**{cell}**" if is_best else cell for cell, is_best in zip(cells, bold, strict=True)]
        rows.append([str(problem), *([] if real is None else [f"{real[problem]:.{digits}f}"]), *cells])
    return ["table", *([] if real is None else ["real rows"]), *means], rows


def side_by_side(found: list[Record]) -> tuple[list[str], Rows]:
    """A row for each table and method: means over seeds of all measures, and of the seconds of a fit."""
    shown = {"columns, %": 2, "pairs, %": 2, "downstream": 3, "detection": 3, "nearer_to_train": 2, "fit_seconds": 1}
    each = {measure: table_of(found, measure) for measure in shown}
    rows = [
        [str(problem), str(method), *(f"{each[of].loc[problem, method]:.{digits}f}" for of, digits in shown.items())]
        for problem, method in each["detection"].stack().index
    ]
    return ["table", "method", *(of.replace("_", " ") for of in shown)], rows


def plot(found: list[Record], path: Path) -> None:
    """Draw every method on every table, a panel per measure."""
    from matplotlib.figure import Figure

    measures = {"columns, %": "error of columns, %", "pairs, %": "error of pairs, %",
                "score lost": "AUC or R2 lost", "detection": "AUC of telling them apart"}  # fmt: skip
    first = table_of(found, "columns, %")
    places = {problem: place for place, problem in enumerate(first.index[::-1])}
    figure = Figure(figsize=(11.0, 1.6 + 0.32 * len(first)), layout="constrained")
    for axes, (measure, label) in zip(figure.subplots(1, len(measures), sharey=True), measures.items(), strict=True):
        table = table_of(found, measure)
        for i, name in enumerate(table):
            shift = 0.3 - 0.6 * i / max(1, len(table.columns) - 1)
            at = [places[problem] + shift for problem in table.index]
            place = list(METHODS).index(name)  # a method looks the same whatever else is drawn
            style = {"marker": "o", "s": 28} if name == DEFAULT else {"marker": "osD^v<>"[place % 7], "s": 14}
            colour = (
                "C3" if name == DEFAULT else ("0.6", "0.3", "C0", "C1", "C2", "C4", "C9", "C5", "C6", "k")[place % 10]
            )
            axes.scatter(table[name].clip(upper=1.0) if measure == "score lost" else table[name], at, color=colour,
                         label=name, zorder=3, **style)  # fmt: skip
        axes.set_yticks(list(places.values()), list(places), fontsize=8)
        axes.set_xlabel(label)
        axes.grid(color="0.92")
        axes.set_axisbelow(True)
        if measure == "detection":
            axes.axvline(0.5, color="0.5", lw=0.8)
        for place in range(len(places) - 1):
            axes.axhline(place + 0.5, color="0.85", lw=0.6)
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=min(7, len(handles[0])), fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
