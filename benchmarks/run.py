"""Run the benchmarks: ``python -m benchmarks.run {density,defaults,outliers,committees,tables,...}``.

Results are JSON lines. The folder of tables is the environment variable ``SKVAE_DATA``; without it only scikit-learn's
own are used.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import committees, imputation, outliers, records, tables
from benchmarks.measure import measure_density, measure_outliers
from benchmarks.memory import memory_records
from benchmarks.methods.density import DENSITY_RIVALS, LogDensity
from benchmarks.methods.flows import FLOW_RIVALS, SECONDS
from benchmarks.methods.vae import DEFAULT, LOGARITHMS, MODES, SOLVERS, STEPS, VAES, Averaged, VAEMethod, patched
from benchmarks.problems import (
    OTHER_SHARES,
    PROTOCOLS,
    OutlierSplit,
    Split,
    density_problems,
    density_split,
    imputation_problems,
    outlier_problems,
    outlier_split,
    table_problems,
    table_split,
)
from benchmarks.rivals import rival_records
from benchmarks.settings import FACTORS, STUDY_TABLES
from benchmarks.speed import speed_records

Method = Callable[[np.ndarray, int], LogDensity]

DENSITY_METHODS: dict[str, Method] = {
    **DENSITY_RIVALS,
    **FLOW_RIVALS,
    **VAES,
    **MODES,
    **SOLVERS,
    **STEPS,
    **LOGARITHMS,
}
GROUPS = {
    "rivals": list(DENSITY_RIVALS),
    "flows": list(FLOW_RIVALS),
    "modes": list(MODES),
    "solvers": list(SOLVERS),
    "steps": list(STEPS),
    "logarithms": list(LOGARITHMS),
    "default": [DEFAULT],
    "variants": [name for name in VAES if name != DEFAULT],
}

TIMINGS: dict[str, Callable[[bool], Iterator[records.Record]]] = {
    "speed": speed_records,
    "memory": memory_records,
    "rivals": rival_records,
}

SMOKE_TABLES = ("sk/breast_cancer", "sk/diabetes")
SMOKE_ROWS = 120
SMOKE_EPOCHS = 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run one benchmark."""
    args = _parser().parse_args(arguments)
    out = args.out or _default_out(args)
    if out.exists() and not args.resume:
        sys.exit(f"{out} exists. Pass --resume to add what it lacks, or another file by --out.")
    print(json.dumps(records.environment() | {"seeds": _seeds(args)}, indent=1))
    COMMANDS[args.command](args, out)
    print(f"results: {out}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("density", "held-out log-likelihood of the default beside its rivals"),
        ("defaults", "the same for settings that differ from the default in one factor"),
        ("outliers", "how well the outlier detector ranks, beside its rivals, on contaminated and clean tables"),
        ("committees", "the same for other committees, and what a choice among them is worth on tables left out"),
        ("tables", "how like real rows those are that the default draws, beside generators of tables"),
        ("imputation", "how well hidden cells are filled, beside other imputers"),
        ("speed", "seconds and microseconds, beside MLPRegressor and the matrix products alone"),
        ("memory", "megabytes that fits and answers need beside the table and the answer"),
        ("rivals", "seconds of whole fits, beside the VAEs of other packages and a loop written by hand"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--out", type=Path, help=f"default: benchmarks/results/{name}.jsonl; a temporary file in --smoke"
        )
        command.add_argument("--resume", action="store_true", help="add to the file what it lacks")
        command.add_argument("--smoke", action="store_true", help="a tiny run that only shows that it works")
        if name not in TIMINGS:
            command.add_argument("--problems", nargs="+", metavar="TABLE", help="names of tables")
            default, what = {"outliers": (5, "splits"), "committees": (5, "splits"), "imputation": (10, "masks")}.get(
                name, (3, "splits")
            )
            command.add_argument("--seeds", type=int, default=default, help=f"number of {what} (default {default})")
    density, defaults = commands.choices["density"], commands.choices["defaults"]
    density.add_argument("--methods", nargs="+", metavar="METHOD", default=["rivals", "default"],
                         help=f"names or groups ({', '.join(GROUPS)}); default: rivals default")  # fmt: skip
    density.add_argument("--flow-seconds", type=float, default=SECONDS,
                         help=f"of the processor, that a flow may train (default {SECONDS:g})")  # fmt: skip
    defaults.add_argument("--factors", nargs="+", choices=list(FACTORS), metavar="FACTOR",
                          help=f"of: {', '.join(FACTORS)}; default: all")  # fmt: skip
    _add_outlier_options(commands.choices["outliers"])
    commands.choices["committees"].add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    _add_methods(
        commands.choices["tables"],
        tables.GROUPS,
        "vae rivals",
        "mixtures are slow, networks needs ctgan and mostlyai-engine, forests arfpy",
    )
    commands.choices["tables"].add_argument("--network-minutes", type=float,
                                            help="that TabularARGN may train; default: its own, ten days")  # fmt: skip
    _add_methods(commands.choices["imputation"], imputation.GROUPS, "vae rivals", "trees and networks are slow")
    default = imputation.PUBLISHED_MASKS
    commands.choices["imputation"].add_argument(
        "--published-masks", type=int, default=default, help=f"number of HI-VAE's masks (default {default})"
    )
    return parser


def _add_outlier_options(command: argparse.ArgumentParser) -> None:
    _add_methods(command, outliers.GROUPS, "detector rivals", "pyod and networks need PyOD")
    command.add_argument("--protocols", nargs="+", choices=[*PROTOCOLS, *OTHER_SHARES], default=list(PROTOCOLS))


def _add_methods(command: argparse.ArgumentParser, groups: Iterable[str], default: str, note: str) -> None:
    text = f"names or groups ({', '.join(groups)}; {note}); default: {default}"
    command.add_argument("--methods", nargs="+", metavar="METHOD", default=default.split(), help=text)


def _default_out(args: argparse.Namespace) -> Path:
    if args.smoke:
        return Path(tempfile.mkdtemp(prefix="skvae-benchmark-")) / f"{args.command}.jsonl"
    return records.RESULTS / f"{args.command}.jsonl"


def _seeds(args: argparse.Namespace) -> list[int]:
    return [0] if args.smoke or args.command in TIMINGS else list(range(args.seeds))


def run_density(args: argparse.Namespace, out: Path) -> None:
    """Every method on every table and seed."""
    names = [name for asked in args.methods for name in GROUPS.get(asked, [asked])]
    _refuse_unknown("methods", names, DENSITY_METHODS, f" and the groups {list(GROUPS)}")
    with patched({"benchmarks.methods.flows.SECONDS": args.flow_seconds}):
        _measure_all({name: DENSITY_METHODS[name] for name in names}, _tables(args, density_problems()), args, out)


def run_defaults(args: argparse.Namespace, out: Path) -> None:
    """The default and each option of each factor; an option that is the default is fitted only once."""
    methods: dict[str, Method] = {DEFAULT: VAES[DEFAULT]}
    for factor in args.factors or list(FACTORS)[: 2 if args.smoke else None]:
        methods |= {f"{factor}: {option}": method for option, method in FACTORS[factor].items()}
    offered = [name for name in STUDY_TABLES if name in density_problems()]
    _measure_all(methods, _tables(args, offered), args, out)


def run_outliers(args: argparse.Namespace, out: Path) -> None:
    """Every method on every table, protocol and seed."""
    names = [name for asked in args.methods for name in outliers.GROUPS.get(asked, [asked])]
    _refuse_unknown("methods", names, outliers.METHODS, f" and the groups {list(outliers.GROUPS)}")
    _refuse_unknown("tables", args.problems or [], outlier_problems(), "; is SKVAE_DATA set?")
    writer = records.Writer(out, _seeds(args))
    problems = args.problems or list(outlier_problems())[: 1 if args.smoke else None]
    _write_all(
        list(outliers.jobs(names, problems, args.protocols, _seeds(args), writer)),
        lambda blank: _outlier_record(blank, rows=outliers.SMOKE_ROWS if args.smoke else None),
        writer,
    )


def _outlier_record(blank: records.Record, rows: int | None) -> records.Record:
    split = _outlier_split(blank, rows)
    return _or_error(blank, lambda: measure_outliers(blank["method"], outliers.METHODS[blank["method"]], split))


def _outlier_split(blank: records.Record, rows: int | None) -> OutlierSplit:
    protocol, table = blank["problem"].split(": ", 1)
    split = outlier_split(table, protocol, blank["seed"])
    if rows is None:
        return split
    keep = slice(None) if protocol == "clean" else slice(-rows, None)
    return replace(split, train=split.train[-rows:], test=split.test[keep], is_outlier=split.is_outlier[keep])


def run_committees(args: argparse.Namespace, out: Path) -> None:
    """Every committee on every table, protocol and seed."""
    _refuse_unknown("tables", args.problems or [], outlier_problems(), "; is SKVAE_DATA set?")
    writer = records.Writer(out, _seeds(args))
    problems = args.problems or list(outlier_problems())[: 1 if args.smoke else None]
    rows = outliers.SMOKE_ROWS if args.smoke else None
    _write_all(
        list(committees.jobs(problems, args.protocols, _seeds(args), writer)),
        lambda blank: _or_error(blank, lambda: committees.measure(_outlier_split(blank, rows))),
        writer,
    )


def run_tables(args: argparse.Namespace, out: Path) -> None:
    """Every generator on every table and seed."""
    methods = _methods(args, tables)
    _refuse_unknown("tables", args.problems or [], table_problems(), "; is SKVAE_DATA set?")
    writer = records.Writer(out, _seeds(args))
    names = args.problems or list(table_problems())[: 2 if args.smoke else None]

    def measure(blank: records.Record) -> records.Record:
        split = table_split(blank["problem"], blank["seed"])
        split = tables.smoke_split(split) if args.smoke else split
        return _or_error(blank, lambda: tables.measure(blank["method"], methods[blank["method"]], split))

    with patched({"benchmarks.methods.tables.MINUTES": args.network_minutes}):
        _write_all(list(tables.jobs(methods, names, _seeds(args), writer)), measure, writer)


def run_imputation(args: argparse.Namespace, out: Path) -> None:
    """Every imputer on every table and mask."""
    methods = _methods(args, imputation)
    known = imputation_problems()
    groups = {asked: [name for name in known if name.split("/")[0] == asked] for asked in imputation.PREFIXES}
    names = [name for asked in args.problems or imputation.DEFAULT for name in groups.get(asked, [asked])]
    _refuse_unknown("tables", names, known, f" and the groups {list(groups)}; is SKVAE_DATA set?")
    names = names[: 2 if args.smoke else None]
    writer = records.Writer(out, _seeds(args))
    masks, published_masks = len(_seeds(args)), 1 if args.smoke else args.published_masks

    def measure(blank: records.Record) -> records.Record:
        masked = known[blank["problem"]](blank["seed"])
        masked = imputation.smoke_masked(masked) if args.smoke else masked
        return _or_error(blank, lambda: imputation.measure(blank["method"], methods[blank["method"]], masked))

    _write_all(list(imputation.jobs(methods, names, masks, published_masks, writer)), measure, writer)


def _methods(args: argparse.Namespace, benchmark: Any) -> dict[str, Any]:
    """The methods asked for, made small in a smoke run."""
    names = [name for asked in args.methods for name in benchmark.GROUPS.get(asked, [asked])]
    _refuse_unknown("methods", names, benchmark.METHODS, f" and the groups {list(benchmark.GROUPS)}")
    methods = {name: benchmark.METHODS[name] for name in names}
    return {name: _smaller(method) for name, method in methods.items()} if args.smoke else methods


def run_timings(args: argparse.Namespace, out: Path) -> None:
    """All timings of the benchmark; a file that exists gets a second set, and the report reads the last."""
    writer = records.Writer(out, _seeds(args))
    for record in TIMINGS[args.command](args.smoke):
        writer.write(record)
        print(
            "  ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in record.values()),
            flush=True,
        )


COMMANDS = {
    "density": run_density,
    "defaults": run_defaults,
    "outliers": run_outliers,
    "committees": run_committees,
    "tables": run_tables,
    "imputation": run_imputation,
    **dict.fromkeys(TIMINGS, run_timings),
}


def _tables(args: argparse.Namespace, offered: Sequence[str]) -> list[str]:
    _refuse_unknown("tables", args.problems or [], density_problems(), "; is SKVAE_DATA set?")
    return args.problems or [name for name in offered if not args.smoke or name in SMOKE_TABLES]


def _refuse_unknown(what: str, asked: Iterable[str], known: Iterable[str], rest: str) -> None:
    unknown = sorted(set(asked) - set(known))
    if unknown:
        sys.exit(f"Unknown {what} {unknown}. Known: {list(known)}{rest}.")


def _measure_all(methods: dict[str, Method], problems: list[str], args: argparse.Namespace, out: Path) -> None:
    writer = records.Writer(out, _seeds(args))
    if args.smoke:
        methods = {name: _smaller(method) for name, method in methods.items()}
    jobs = list(_jobs(methods, problems, _seeds(args), writer))
    _write_all(jobs, lambda job: _measured(*job, writer, rows=SMOKE_ROWS if args.smoke else None), writer)


def _write_all(jobs: list[Any], measure: Callable[[Any], records.Record], writer: records.Writer) -> None:
    """Measure and write job after job, saying how long the rest will take."""
    started = time.perf_counter()
    for done, job in enumerate(jobs, start=1):
        record = measure(job)
        writer.write(record)
        spent = time.perf_counter() - started
        left = spent / done * (len(jobs) - done)
        print(f"[{done}/{len(jobs)}, {spent:.0f} s, about {left:.0f} s left] {_summary(record)}", flush=True)


def _smaller(method: Any) -> Any:
    """The same with few epochs where it has epochs."""
    return method.smaller(SMOKE_EPOCHS) if hasattr(method, "smaller") else method


def _jobs(
    methods: dict[str, Method], problems: list[str], seeds: list[int], writer: records.Writer
) -> Iterator[tuple[records.Record, Method]]:
    """What the file lacks, seed by seed; tables too small or too wide for the benchmark are passed over."""
    problems = [problem for problem in problems if _split(problem, 0) is not None]
    for seed, problem, (name, method) in product(seeds, problems, methods.items()):
        settings = {"settings": method.settings} if isinstance(method, VAEMethod | Averaged) else {}
        blank = {"problem": problem, "method": name, "seed": seed, **settings}
        if not writer.has(blank):
            yield blank, method


@lru_cache(maxsize=1)
def _split(table: str, seed: int) -> Split | None:
    return density_split(table, seed)


def _measured(blank: records.Record, method: Method, writer: records.Writer, rows: int | None) -> records.Record:
    """A record; one of the same settings under another name is copied."""
    same = writer.known.get(records.key(blank))
    if same is not None:
        return {**same, **blank}
    split = _split(blank["problem"], blank["seed"])
    assert split is not None  # _jobs has looked
    return _or_error(blank, lambda: measure_density(blank["method"], method, replace(split, train=split.train[:rows])))


def _or_error(blank: records.Record, measure: Callable[[], dict[str, Any]]) -> records.Record:
    """The measurement. A method that fails is a result too."""
    try:
        return measure() | blank
    except Exception as error:  # hours of other results must not be lost to it; the report shows it
        return blank | {"error": f"{type(error).__name__}: {error}"}


def _summary(record: records.Record) -> str:
    head = f"{record['problem']}, {record['method']}, seed {record['seed']}: "
    if "error" in record:
        return head + record["error"]
    measures = ("log_likelihood", "auroc", "mse", "accuracy", "shape_error", "trend_error", "downstream", "detection")
    told = [f"{name} {record[name]:.3f}" for name in measures if isinstance(record.get(name), float)]
    seconds = record.get("fit_seconds", record.get("seconds"))
    return head + ", ".join([*told, f"fit {seconds:.1f} s"])


if __name__ == "__main__":
    main()
