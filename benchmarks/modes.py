"""How many modes a cell has, chosen on some tables and judged on others: ``run density --methods modes``."""

from __future__ import annotations

import operator
from collections import Counter
from itertools import product
from typing import NamedTuple

import numpy as np
from sklearn.model_selection import KFold

from benchmarks.methods.vae import MODES
from benchmarks.records import Record

ONE, *SEVERAL = MODES
FEW = SEVERAL[0]
ROWS_PER_COLUMN = (0, 10, 20, 40)
MANY_COLUMNS = (None, 10, 20, 40)
CAP = 1.0  # nats that one table may speak for a rule or against it
FOLDS, REPEATS = 5, 5

Gains = dict[str, np.ndarray]  # rule -> nats per row above one mode, table by table
Rows = list[list[str]]


class Rule(NamedTuple):
    """Several modes from so many training rows per column on, else one; of more columns than `many` only few modes."""

    modes: str
    least: int
    many: int | None = None

    def __str__(self) -> str:
        rows = f", from {self.least} rows per column" if self.least else ""
        return f"{self.modes}{rows}" + (f", {FEW} beyond {self.many} columns" if self.many else "")

    def of(self, n_rows: int, n_columns: int) -> str:
        """How many modes cells of such a table have."""
        if n_rows < self.least * n_columns:
            return ONE
        return FEW if self.many is not None and n_columns > self.many else self.modes


RULES = [Rule(*rule) for rule in product(SEVERAL, ROWS_PER_COLUMN, MANY_COLUMNS) if not (rule[0] == FEW and rule[2])]

DEFAULT = Rule("5 modes", 20, 20)


def gains(found: list[Record]) -> tuple[list[str], Gains]:
    """The tables on which every number of modes was measured, and what each rule gains there."""
    scores: dict[tuple[str, str], list[float]] = {}
    size: dict[str, tuple[int, int]] = {}
    for record in found:
        if "log_likelihood" in record:
            scores.setdefault((record["problem"], record["method"]), []).append(record["log_likelihood"])
            size[record["problem"]] = record["n_train"], record["n_features"]
    tables = [table for table in sorted(size) if all((table, option) in scores for option in MODES)]

    def gain(rule: Rule, table: str) -> float:
        return float(np.mean(scores[table, rule.of(*size[table])]) - np.mean(scores[table, ONE]))

    return tables, {str(rule): np.array([gain(rule, table) for table in tables]) for rule in RULES}


def crossed(of: Gains) -> tuple[Counter[str], float, float, np.ndarray]:
    """Which rules win on four fifths of the tables; their mean gain there, and on the fifth left out; these gains."""
    names, capped = list(of), np.array([np.clip(gain, -CAP, CAP) for gain in of.values()])
    chosen, inside, outside = Counter[str](), [], []
    for repeat in range(REPEATS):
        for train, test in KFold(FOLDS, shuffle=True, random_state=repeat).split(capped.T):
            best = int(capped[:, train].mean(1).argmax())
            chosen[names[best]] += 1
            inside.append(capped[best, train].mean())
            outside.append((best, test))
    left_out = np.concatenate([of[names[best]][test] for best, test in outside])
    return chosen, float(np.mean(inside)), float(np.clip(left_out, -CAP, CAP).mean()), left_out


def rules_table(of: Gains) -> tuple[list[str], Rows]:
    """A row per rule that was chosen, or that differs from the default in one thing at most."""
    chosen = crossed(of)[0]
    near = {str(rule) for rule in RULES if sum(map(operator.ne, rule, DEFAULT)) <= 1}
    rows = []
    for name, gain in of.items():
        if name not in near and not chosen[name]:
            continue
        capped = np.clip(gain, -CAP, CAP).mean()
        above, below = int((gain > 0).sum()), int((gain < 0).sum())
        rows.append([name, f"{capped:+.3f}", f"{np.median(gain):+.2f}", f"{gain.min():+.2f}", f"{above}", f"{below}",
                     str(chosen[name])])  # fmt: skip
    header = ["rule", f"mean gain, at most {CAP:g} nat a table", "median", "least", "above", "below"]
    return [*header, f"chosen, of {FOLDS * REPEATS}"], rows


def summary(of: Gains) -> str:
    """What the cross-validation over tables says."""
    _, inside, outside, left_out = crossed(of)
    n_tables, below = len(left_out) // REPEATS, np.mean(left_out < 0)
    return (
        f"Chosen on four fifths of {n_tables} tables and measured on the fifth left out, {REPEATS} times over: the "
        f"mean gain over one mode (at most {CAP:g} nat a table) is {inside:+.3f} on the tables that chose and "
        f"{outside:+.3f} on those left out, a gap of {inside - outside:.3f}; of those left out {below:.0%} are below "
        f"one mode, by {-min(left_out.min(), 0.0):.2f} nats at most."
    )


def table_of(found: list[Record]) -> tuple[list[str], Rows]:
    """Nats per row above one mode, table by table."""
    tables, of = gains(found)
    size = {record["problem"]: (record["n_train"], record["n_features"]) for record in found if "n_train" in record}
    rows = [
        [table, *map(str, size[table]), *(f"{of[str(Rule(modes, 0))][i]:+.2f}" for modes in SEVERAL)]
        for i, table in enumerate(tables)
    ]
    return ["table", "training rows", "columns", *SEVERAL], rows
