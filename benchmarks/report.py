"""Write the results into docs/benchmarks.md or docs/performance.md: ``python -m benchmarks.report REPORT``.

Only the text between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` is replaced.
"""

from __future__ import annotations

import argparse
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from benchmarks import committees, imputation, outliers, records, rules, tables
from benchmarks.methods.flows import FLOW_RIVALS
from benchmarks.problems import OTHER_SHARES, PROTOCOLS
from benchmarks.records import Record

DOCS = Path(__file__).parents[1] / "docs"

OURS = "VAE (default)"
FLOOR = "gaussian marginals"
RIVALS = (FLOOR, "full-covariance Gaussian", "factor analysis", "Gaussian mixture")

Scores = dict[str, dict[str, dict[int, float]]]  # problem -> method -> seed -> mean log-likelihood
Rows = list[list[str]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and write one report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("report", choices=REPORTS)
    parser.add_argument("--results", type=Path, help="default: benchmarks/results/REPORT.jsonl")
    parser.add_argument("--document", type=Path, help="default: the page that has a place for it")
    parser.add_argument("--plot", type=Path, help=f"{', '.join(PLOTS)} only: also draw the result into this file")
    args = parser.parse_args(arguments)
    results = args.results or records.RESULTS / f"{args.report}.jsonl"
    found, environments = records.read(results)
    if not found:
        parser.error(f"{results} holds no records. Make them with: python -m benchmarks.run {args.report}")
    text = "\n\n".join([*REPORTS[args.report](found), environment_note(environments)])
    document = args.document or page_of(args.report)
    document.write_text(replaced(document.read_text(), args.report, text))
    print(text)
    if args.plot is not None:
        PLOTS[args.report](found, args.plot)


def page_of(name: str) -> Path:
    """The page that a report is written into."""
    return DOCS / ("performance.md" if name in ("speed", "memory", "rivals") else "benchmarks.md")


def replaced(document: str, name: str, text: str) -> str:
    """The document with the part between the markers of that name replaced."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    if document.count(begin) != 1 or document.count(end) != 1:
        raise ValueError(f"The document must hold '{begin}' and '{end}' once each.")
    head, rest = document.split(begin)
    return f"{head}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}"


def environment_note(environments: list[dict[str, Any]]) -> str:
    """On what the results were measured, each environment once."""
    if not environments:
        return "Measured on an unrecorded machine."
    told = ("python", *records.PACKAGES, "cpu", "cores", "threads")
    notes = dict.fromkeys(", ".join(f"{name} {env[name]}" for name in told if name in env) for env in environments)
    seeds = sorted({seed for env in environments for seed in env.get("seeds", [])})
    return "\n".join(f"Measured with {note}; seeds {seeds}." for note in notes)


# -- held-out log-likelihood -------------------------------------------------------------------------------------------


def scores(found: Iterable[Record]) -> Scores:
    """Mean log-likelihoods; of a measurement made twice the later one counts, one that failed is minus infinity."""
    table: Scores = defaultdict(lambda: defaultdict(dict))
    for record in found:
        value = record.get("log_likelihood", -math.inf)
        table[record["problem"]][record["method"]][record["seed"]] = -math.inf if math.isnan(value) else value
    return table


def outcome(ours: dict[int, float], theirs: dict[int, float]) -> str:
    """Win or loss where the mean difference over common seeds exceeds two standard errors, else tie.

    Fewer than two common seeds decide nothing, and what is not finite loses.
    """
    seeds = sorted(ours.keys() & theirs.keys())
    if len(seeds) < 2:
        return "tie"
    sound, rival_sound = (all(math.isfinite(side[seed]) for seed in seeds) for side in (ours, theirs))
    if not (sound and rival_sound):
        return "tie" if sound == rival_sound else "win" if sound else "loss"
    differences = [ours[seed] - theirs[seed] for seed in seeds]
    margin = 2.0 * stdev(differences) / math.sqrt(len(differences))
    centre = mean(differences)
    return "win" if centre > margin else "loss" if centre < -margin else "tie"


def mean_difference(ours: dict[int, float], theirs: dict[int, float]) -> float:
    """Mean paired difference over common seeds; NaN without one."""
    seeds = ours.keys() & theirs.keys()
    return mean(ours[seed] - theirs[seed] for seed in seeds) if seeds else math.nan


def density_report(found: list[Record]) -> list[str]:
    """Comparison with each rival, then the means of all but flows and forests, then of these, seconds, and failures.

    Beside flows and forests the default has their seeds.
    """
    table = scores(found)
    methods = _in_order({record["method"] for record in found})
    flows = [name for name in methods if name in FLOW_RIVALS]
    parts = [comparison(table, methods), density_table(table, [m for m in methods if m not in flows], found)]
    if flows:
        seeds = {problem: set().union(*(by[name] for name in flows if name in by)) for problem, by in table.items()}
        measured = {
            problem: {name: {seed: by[name][seed] for seed in by[name].keys() & seeds[problem]} for name in methods}
            for problem, by in table.items()
            if seeds[problem]
        }
        parts.append(density_table(measured, [*(name for name in methods if name == OURS), *flows], found))
    return [*parts, seconds_table(found, methods), *failures(found)]


def _in_order(methods: set[str]) -> list[str]:
    first = [name for name in (*RIVALS, OURS) if name in methods]
    return first + sorted(methods - set(first))


def comparison(table: Scores, methods: list[str]) -> str:
    """How the default fares against every other method."""
    rows = []
    for rival in methods:
        pairs = [(by[OURS], by[rival]) for by in table.values() if rival != OURS and by.keys() >= {OURS, rival}]
        if not pairs:
            continue
        counts = Counter(outcome(*pair) for pair in pairs)
        differences = [mean_difference(*pair) for pair in pairs]
        above = sum(difference > 0 for difference in differences)
        share = f"{above} of {len(pairs)} ({above / len(pairs):.0%})"
        verdicts = [str(counts[verdict]) for verdict in ("win", "tie", "loss")]
        rows.append([rival, share, *verdicts, f"{median(differences):+.2f}", f"{min(differences):+.2f}"])
    header = [f"{OURS} against", "mean above on", "wins", "ties", "losses", "median difference", "worst difference"]
    return markdown(header, rows)


def density_table(table: Scores, methods: list[str], found: list[Record]) -> str:
    """Mean log-likelihood over seeds, a row per table; the best in bold."""
    shapes = {r["problem"]: (r["n_train"] + r["n_test"], r["n_features"]) for r in found if "n_train" in r}
    rows = []
    for problem in sorted(table):
        means = [mean(table[problem][name].values()) if table[problem][name] else math.nan for name in methods]
        best = max((value for value in means if not math.isnan(value)), default=math.nan)
        cells = ["" if math.isnan(v) else f"**{v:.2f}**" if v == best else f"{v:.2f}" for v in means]
        rows.append([problem, *map(str, shapes.get(problem, ("", ""))), *cells])
    return markdown(["table", "rows", "columns", *methods], rows)


def seconds_table(found: list[Record], methods: list[str]) -> str:
    """Seconds to fit, over tables and seeds."""
    rows = []
    for name in methods:
        seconds = [record["fit_seconds"] for record in found if record["method"] == name and "fit_seconds" in record]
        if seconds:
            rows.append([name, f"{median(seconds):.3g}", f"{max(seconds):.3g}"])
    return markdown(["fit", "median seconds", "longest"], rows)


def failures(found: list[Record]) -> list[str]:
    """Measurements that ended in an error and were not made up for."""
    last = {(r["problem"], r["method"], r["seed"]): r for r in found}
    failed = [record for record in last.values() if "error" in record]
    return [f"Failed: {r['problem']}, {r['method']}, seed {r['seed']}: {r['error']}." for r in failed]


# -- the choice of defaults --------------------------------------------------------------------------------------------


def defaults_report(found: list[Record]) -> list[str]:
    """Every option of every factor against the default."""
    last = {(r["problem"], r["method"], r["seed"]): r for r in found}
    found = list(last.values())
    base = {record["settings"] for record in found if record["method"] == OURS}
    table = scores(found)
    seconds = {name: _median_seconds(found, name) for name in {record["method"] for record in found}}
    rows = []
    for name in dict.fromkeys(record["method"] for record in found if record["method"] != OURS):
        factor, option = name.split(": ", 1)
        pairs = [(by[name], by[OURS]) for by in table.values() if by.keys() >= {name, OURS}]
        is_default = any(record["method"] == name and record["settings"] in base for record in found)
        rows.append([factor, f"**{option}** (default)" if is_default else option, *_against(pairs, is_default),
                     f"{seconds[name] / seconds[OURS]:.2f}"])  # fmt: skip
    header = ["factor", "option", "median difference", "mean difference", "mean above on"]
    header += ["better", "undecided", "worse", "seconds"]
    seeds = sorted({record["seed"] for record in found})
    note = (
        f"Differences are to the default, in nats per row, over {len(table)} tables and seeds {seeds}; better and "
        f"worse count tables by the same rule as wins and losses; seconds are the ratio of median fit times."
    )
    return [note, markdown(header, rows), *failures(found)]


def _against(pairs: list[tuple[dict[int, float], dict[int, float]]], is_default: bool) -> list[str]:
    if is_default or not pairs:
        return [""] * 6
    counts = Counter(outcome(*pair) for pair in pairs)
    differences = [mean_difference(*pair) for pair in pairs]
    above = f"{sum(difference > 0 for difference in differences)} of {len(pairs)}"
    verdicts = [str(counts[verdict]) for verdict in ("win", "tie", "loss")]
    return [f"{median(differences):+.2f}", f"{mean(differences):+.2f}", above, *verdicts]


def _median_seconds(found: list[Record], name: str) -> float:
    seconds = [record["fit_seconds"] for record in found if record["method"] == name and "fit_seconds" in record]
    return median(seconds) if seconds else math.nan


# -- speed -------------------------------------------------------------------------------------------------------------


def speed_report(found: list[Record]) -> list[str]:
    """The last run's timings."""
    by = _last_run(found)
    tables = {"fit": _fit_table, "step": _step_table, "part": _part_table, "default fit": _default_fit}
    tables |= {"throughput": _flow, "growth": _growth_table, "threads": _threads_table}
    tables |= {"more rows": _more_rows_table, "products": _products_table, "gpu": _gpu_table}
    return [table(by[measure]) for measure, table in tables.items() if by[measure]]


def _last_run(found: list[Record]) -> dict[str, list[Record]]:
    """The records of the last run, by what they measure."""
    by = defaultdict(list)
    for record in found:
        if record.get("run") == found[-1].get("run"):
            by[record["measure"]].append(record)
    return by


def _fit_table(found: list[Record]) -> str:
    first = found[0]
    header = [f"fit {first['n_rows']} x {first['n_features']}, {first['n_epochs']} epochs of batches of "
              f"{first['batch_size']}", "seconds", "ratio", "processor seconds", "ratio"]  # fmt: skip
    names = ("seconds", "ratio", "cpu_seconds", "cpu_ratio")
    return markdown(header, [[record["what"], *(f"{record[name]:.2f}" for name in names)] for record in found])


def _step_table(found: list[Record]) -> str:
    columns = list(dict.fromkeys(record["what"] for record in found))
    cells = {(r["shape"], r["what"]): f"{r['microseconds']:.0f} ({r['cpu_microseconds']:.0f})" for r in found}
    rows = [[shape, *(cells[shape, what] for what in columns)] for shape in dict.fromkeys(r["shape"] for r in found)]
    return markdown(["network, batch: microseconds a step (of the processor)", *columns], rows)


def _part_table(found: list[Record]) -> str:
    shapes = list(dict.fromkeys(record["shape"] for record in found))
    cells = {(r["what"], r["shape"]): f"{r['microseconds']:.0f}" for r in found}
    rows = [[what, *(cells[what, shape] for shape in shapes)] for what in dict.fromkeys(r["what"] for r in found)]
    return markdown(["part of a default step: microseconds of the processor", *shapes], rows)


def _default_fit(found: list[Record]) -> str:
    rows = [
        [r["what"], f"{r['n_rows']} x {r['n_features']}", str(r["n_epochs"]), f"{r['seconds']:.1f}",
         f"{r['cpu_seconds']:.1f}"]
        for r in found
    ]  # fmt: skip
    return markdown(["fit of the default", "table", "epochs", "seconds", "processor seconds"], rows)


def _flow(found: list[Record]) -> str:
    return markdown(["method", "rows per second"], [[r["what"], f"{r['rows_per_second']:,.0f}"] for r in found])


def _growth_table(found: list[Record]) -> str:
    """A row for each thing that grows with another."""
    rows = defaultdict(list)
    for r in found:
        digits = 1 if r["unit"] == "seconds" else 0
        rows[r["what"], r["of"], r["unit"]].append(f"{r['value']:,}: {r['cpu']:,.{digits}f}")
    header = ["what", "grows with", "in (of the processor)", "so"]
    return markdown(header, [[*head, "; ".join(cells)] for head, cells in rows.items()])


def _threads_table(found: list[Record]) -> str:
    """Microseconds on the clock."""
    by = {(r["shape"], r["threads"]): r for r in found}
    rows = [
        [shape, *(f"{by[shape, n][name]:,.0f}" for name in ("step", "score") for n in (1, 2))]
        for shape in dict.fromkeys(r["shape"] for r in found)
    ]
    heads = [f"{what}, {threads}" for what in ("step", "score of a row") for threads in ("one thread", "two")]
    return markdown(["network, batch: microseconds of the default on the clock", *heads], rows)


def _more_rows_table(found: list[Record]) -> str:
    rows = [[r["shape"], r["what"], f"{r['twice']:.2f}", f"{r['five_times']:.2f}"] for r in found]
    return markdown(["network, batch", "model", "a step on twice the rows, times as long", "on five times"], rows)


def _products_table(found: list[Record]) -> str:
    rows = [[r["shape"], r["what"], *(f"{1e6 * r[name]:,.0f}" for name in ("highest", "medium"))] for r in found]
    return markdown(["network, batch", "model", "microseconds a step in single precision", "bfloat16 allowed"], rows)


def _gpu_table(found: list[Record]) -> str:
    columns = list(dict.fromkeys(r["what"] for r in found))
    cells = {(r["shape"], r["what"]): f"{r['microseconds']:.0f}" for r in found}
    rows = [[shape, *(cells[shape, what] for what in columns)] for shape in dict.fromkeys(r["shape"] for r in found)]
    return markdown([f"network, batch: microseconds a step on {found[0]['device']}", *columns], rows)


def plot_growth(found: list[Record], path: Path) -> None:
    """Draw how steps, scores and fits grow, on logarithmic axes."""
    from matplotlib.figure import Figure

    growth = _last_run(found)["growth"]
    ways = list(dict.fromkeys(r["of"] for r in growth))
    figure = Figure(figsize=(3.0 * len(ways), 3.0), layout="constrained")
    for axes, way in zip(figure.subplots(1, len(ways), squeeze=False)[0], ways, strict=True):
        for what in dict.fromkeys(r["what"] for r in growth if r["of"] == way):
            own = [r for r in growth if (r["what"], r["of"]) == (what, way)]
            scale = 1e3 if own[0]["unit"] == "seconds" else 1e-3
            axes.loglog([r["value"] for r in own], [scale * r["cpu"] for r in own], marker="o", label=what)
        axes.set(xlabel=way, ylabel="milliseconds of the processor")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter("")
            axis.set_major_formatter("{x:,g}")
        low, high = axes.get_ylim()
        axes.set_ylim(low, 2.0 * high)  # room for the legend
        axes.set_xticks(*[[r["value"] for r in own]] * 2, rotation=45)
        axes.legend(fontsize="small", loc="upper left")
    figure.savefig(path, dpi=150)


def memory_report(found: list[Record]) -> list[str]:
    """The last run's megabytes."""
    own = _last_run(found)["memory"]
    first = own[0]
    table = f"{first['n_rows']:,} x {first['n_features']}, {first['input']:.0f} MB: megabytes"
    header = [table, "at most, beyond the input", "of the answer", "beside both"]
    rows = [[r["what"], *(f"{r[name]:.0f}" for name in ("peak", "answer", "beside"))] for r in own]
    return [markdown(header, rows)]


def rivals_report(found: list[Record]) -> list[str]:
    """The last run's whole fits beside other packages, and steps beside the loop written by hand."""
    by = _last_run(found)
    tables = {"whole fit": _whole_fit_table, "step": _loop_table}
    return [table(by[measure]) for measure, table in tables.items() if by[measure]]


def _whole_fit_table(found: list[Record]) -> str:
    header = ["whole fit", "table", "network, batch", "epochs (run)", "seconds", "ratio", "processor seconds", "ratio"]
    names = ("seconds", "ratio", "cpu_seconds", "cpu_ratio")
    rows = [
        [f"{r['what']} ({r['version']})", f"{r['table']}, {r['n_rows']} x {r['n_features']}", r["shape"],
         f"{r['n_epochs']} ({', '.join(map(str, r['timed_epochs']))})", *(f"{r[name]:.2f}" for name in names)]
        for r in found
    ]  # fmt: skip
    return markdown(header, rows)


def _loop_table(found: list[Record]) -> str:
    header = ["step", "network, batch", "microseconds", "ratio", "of the processor", "ratio"]
    rows = [
        [r["what"], r["shape"], f"{r['microseconds']:.0f}", f"{r['ratio']:.2f}", f"{r['cpu_microseconds']:.0f}",
         f"{r['cpu_ratio']:.2f}"]
        for r in found
    ]  # fmt: skip
    return markdown(header, rows)


# -- layout ------------------------------------------------------------------------------------------------------------


def markdown(header: list[str], rows: Rows) -> str:
    """A table; all columns but the first are right-aligned."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, rule, *rows])


def plot_differences(table: Scores, path: Path) -> None:
    """Draw the default's paired difference to the mixture and to the Gaussian per table, with two standard errors."""
    from matplotlib.figure import Figure

    rivals = ("Gaussian mixture", "full-covariance Gaussian")
    problems = [name for name in table if table[name].keys() >= {OURS, *rivals}]
    problems.sort(key=lambda name: mean_difference(table[name][OURS], table[name][rivals[0]]))
    figure = Figure(figsize=(7.0, 1.0 + 0.22 * len(problems)), layout="constrained")
    axes = figure.subplots()
    for rival, colour, shift in zip(rivals, ("C0", "C1"), (0.12, -0.12), strict=True):
        spread = [_spread(table[name][OURS], table[name][rival]) for name in problems]
        places = [place + shift for place in range(len(problems))]
        axes.errorbar(*zip(*((centre, place) for (centre, _), place in zip(spread, places, strict=True)), strict=True),
                      xerr=[error for _, error in spread], fmt="o", ms=4, color=colour, label=rival)  # fmt: skip
    axes.axvline(0.0, color="0.5", lw=0.8)
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_yticks(range(len(problems)), problems, fontsize=7)
    axes.set_xlabel(f"log-likelihood of {OURS} minus that of the rival:\nnats per row, with two standard errors")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=2, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def _spread(ours: dict[int, float], theirs: dict[int, float]) -> tuple[float, float]:
    differences = [ours[seed] - theirs[seed] for seed in ours.keys() & theirs.keys()]
    error = 2.0 * stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
    return mean(differences), error


# -- outliers ----------------------------------------------------------------------------------------------------------


def outliers_report(found: list[Record]) -> list[str]:
    """Per protocol: all methods by their mean AUROC, then every table; then seconds and failures."""
    parts = []
    for protocol in PROTOCOLS:
        parts.append(f"### {protocol.capitalize()} training rows")
        homes = outliers.homes_of(found, protocol)
        for home in homes + ([""] if len(homes) > 1 else []):
            rows = outliers.comparison_rows(found, protocol, home, _data_folder())
            parts += [f"Tables of {home}:" if home else "All tables:", markdown(outliers.HEADER, rows)]
        parts += [f"AUROC in percent, {protocol} training rows:", markdown(*outliers.per_table(found, protocol))]
    for protocol in OTHER_SHARES:
        if outliers.homes_of(found, protocol):
            rows = outliers.comparison_rows(found, protocol, "", _data_folder())
            parts += [f"### {protocol.capitalize()}", markdown(outliers.HEADER, rows)]
    return [*parts, outliers.seconds_note(found), *failures([record for record in found if record["seed"] == 0])]


def committees_report(found: list[Record]) -> list[str]:
    """What a choice over tables is worth, then every committee; then failures."""
    return [*committees.summary(found), markdown(*committees.rows_of(found)), *failures(found)]


def calibration_report(found: list[Record]) -> list[str]:
    """The ways to calibrate; then failures."""
    return [markdown(outliers.CALIBRATION_HEADER, outliers.calibration_rows(found)), *failures(found)]


def _data_folder() -> Path | None:
    folder = os.environ.get("SKVAE_DATA") or None
    return None if folder is None else Path(folder)


# -- synthetic tables and imputation -----------------------------------------------------------------------------------


def tables_report(found: list[Record]) -> list[str]:
    """Means per method, the VAE against each, then every table by each measure."""
    parts = [markdown(*tables.summary(found))]
    parts += [markdown(*against)] if (against := tables.paired(found))[1] else []
    for title, measure, digits, beside in (
        ("Error of the columns, in percent:", "columns, %", 1, None),
        ("Error of the pairs of columns, in percent:", "pairs, %", 1, None),
        ("AUC or R2 on held-out real rows after training on drawn ones:", "downstream", 3, "downstream_real"),
        ("AUC of telling drawn from real rows, 0.5 is best:", "detection", 3, None),
    ):
        parts += [title, markdown(*tables.per_table(found, measure, digits, beside))]
    return parts + failures(found)


def table_steps_report(found: list[Record]) -> list[str]:
    """All measures of models of other numbers of steps, table by table."""
    return [markdown(*tables.side_by_side(found)), *failures(found)]


def imputation_report(found: list[Record]) -> list[str]:
    """Per kind of table: means over masks, the imputer against each rival, seconds; then settings of the imputer."""
    parts, studied = [], found
    found = [record for record in found if record["method"] not in imputation.IMPUTER_SETTINGS]
    for prefix, title in imputation.TITLES.items():
        if not any(record["problem"].startswith(prefix) for record in found):
            continue
        parts.append(f"### {title}")
        for measure, (label, _) in imputation.MEASURES.items():
            if measure == "hivae_error" and prefix != "hivae":
                continue
            header, rows = imputation.per_table(found, measure, prefix, _data_folder())
            if rows:
                parts += [f"{label[0].upper()}{label[1:]}:", markdown(header, rows)]
                parts += [markdown(*against)] if (against := imputation.paired(found, measure, prefix))[1] else []
        header, rows = imputation.covered(found, prefix)
        parts += [markdown(header, rows)] if rows else []
        parts.append(markdown(*imputation.seconds(found, prefix)))
    header, rows = imputation.settings(studied, "mse", "miwae")
    parts += ["### Settings of the imputer", "Error over that of the default:", markdown(header, rows)] if rows else []
    return parts + failures(studied)


def rules_report(found: list[Record], choice: rules.Choice) -> list[str]:
    """The rules that a choice is made by, chosen across tables, and every table."""
    of, groups = rules.gains(found, choice), rules.families(found, choice)
    each = markdown(*rules.table_of(found, choice))
    return [markdown(*rules.rules_table(of, groups, choice)), rules.summary(of, groups, choice), each, *failures(found)]


REPORTS = {
    "density": density_report,
    "modes": partial(rules_report, choice=rules.MODES_CHOICE),
    "solver": partial(rules_report, choice=rules.SOLVER_CHOICE),
    "steps": partial(rules_report, choice=rules.STEPS_CHOICE),
    "logarithms": partial(rules_report, choice=rules.LOGARITHMS_CHOICE),
    "heads": defaults_report,
    "defaults": defaults_report,
    "outliers": outliers_report,
    "committees": committees_report,
    "calibration": calibration_report,
    "tables": tables_report,
    "table_steps": table_steps_report,
    "imputation": imputation_report,
    "speed": speed_report,
    "memory": memory_report,
    "rivals": rivals_report,
}
PLOTS = {
    "density": lambda found, path: plot_differences(scores(found), path),
    "speed": plot_growth,
    "outliers": outliers.plot_ranks,
    "tables": tables.plot,
    "imputation": imputation.plot,
}

if __name__ == "__main__":
    main()
