"""Rules of a table's size, chosen on some tables and judged on others.

How many modes a cell has (``run density --methods modes``), what follows the gradient (``--methods solvers``), for how
many steps (``--methods steps``), and which columns are seen by their logarithm (``--methods logarithms``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, Protocol

import numpy as np
from sklearn.model_selection import KFold

from benchmarks.methods.vae import FULL, HALF, LOGARITHMS, MODES, NO_LOGARITHMS, SOLVERS, STEPS
from benchmarks.records import Record

ONE, *SEVERAL = MODES
FEW = SEVERAL[0]
ROWS_PER_COLUMN = (0, 10, 20, 40)
MANY_COLUMNS = (None, 10, 20, 40)
CAP = 1.0  # nats that one table may speak for a rule or against it
FOLDS, REPEATS = 5, 5
FAMILIES = (  # tables of one origin, which one fold takes together
    ("adbench/43_WDBC", "sk/breast_cancer"),
    ("adbench/26_optdigits", "sk/digits"),
    ("adbench/19_landsat", "adbench/30_satellite", "adbench/31_satimage-2"),
    ("adbench/20_letter", "hivae/letter"),
    ("adbench/6_cardio", "adbench/7_Cardiotocography"),
    ("uci/wine_red", "uci/wine_white"),
)

Gains = dict[str, np.ndarray]  # rule -> nats per row above the base, table by table
Rows = list[list[str]]


class Rule(Protocol):
    """Which option a table of so many training rows and columns gets. Its name is its `str`."""

    def of(self, n_rows: int, n_columns: int) -> str: ...


@dataclass(frozen=True)
class Choice:
    """A choice between options by a rule.

    Parameters
    ----------
    options : mapping of str to method
    base : str
        The option that the others are compared with.
    default : Rule
        The one that `skvae` has.
    rules : sequence of Rule
        The default and others.
    near : sequence of Rule
        Those that the report shows even if no tables choose them.
    """

    options: Mapping[str, object]
    base: str
    default: Rule
    rules: Sequence[Rule]
    near: Sequence[Rule]


class ModesRule(NamedTuple):
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


class SolverRule(NamedTuple):
    """Muon up to so many columns and from so many training rows per column on, else Adam."""

    many: float = np.inf
    least: int = 0

    def __str__(self) -> str:
        if self.many == 0:
            return "Adam"
        columns = f" up to {self.many:g} columns" if np.isfinite(self.many) else ""
        return f"Muon{columns}" + (f" from {self.least} rows per column" if self.least else "")

    def of(self, n_rows: int, n_columns: int) -> str:
        """The solver of such a table."""
        return "Muon" if n_columns <= self.many and n_rows >= self.least * n_columns else "Adam"


class StepsRule(NamedTuple):
    """Half the steps, in batches twice as large, of fewer than so many training rows."""

    many: float = 5000

    def __str__(self) -> str:
        if self.many == 0:
            return FULL
        return HALF + (f" of fewer than {self.many:,g} rows" if np.isfinite(self.many) else "")

    def of(self, n_rows: int, n_columns: int) -> str:
        """The number of steps for such a table."""
        return HALF if n_rows < self.many else FULL


class SameRule(NamedTuple):
    """One option for all tables."""

    option: str

    def __str__(self) -> str:
        return self.option

    def of(self, n_rows: int, n_columns: int) -> str:
        """That option."""
        return self.option


_MODES_RULES = [
    ModesRule(*rule) for rule in product(SEVERAL, ROWS_PER_COLUMN, MANY_COLUMNS) if not (rule[0] == FEW and rule[2])
]
_MODES_DEFAULT = ModesRule("5 modes", 20, 20)
_NEAR = [rule for rule in _MODES_RULES if sum(one != own for one, own in zip(rule, _MODES_DEFAULT, strict=True)) <= 1]
_SOLVER_RULES = [SolverRule(0), *(SolverRule(*rule) for rule in product((10, 20, 40, np.inf), (0, 20, 50, 100)))]

MODES_CHOICE = Choice(MODES, ONE, _MODES_DEFAULT, _MODES_RULES, _NEAR)
SOLVER_CHOICE = Choice(SOLVERS, next(iter(SOLVERS)), SolverRule(20), _SOLVER_RULES, _SOLVER_RULES)

_STEPS_RULES = [StepsRule(many) for many in (0, 1000, 2000, 5000, np.inf)]
STEPS_CHOICE = Choice(STEPS, FULL, StepsRule(), _STEPS_RULES, _STEPS_RULES)


_LOGARITHM_RULES = [SameRule(option) for option in LOGARITHMS]
LOGARITHMS_CHOICE = Choice(LOGARITHMS, NO_LOGARITHMS, SameRule("tails 8 to 1"), _LOGARITHM_RULES, _LOGARITHM_RULES)


def measured(found: list[Record], choice: Choice) -> dict[str, tuple[tuple[int, int], dict[str, float]]]:
    """The size and each option's mean score of the tables on which all were measured."""
    scores: dict[str, dict[str, list[float]]] = {}
    size: dict[str, tuple[int, int]] = {}
    for record in found:
        if "log_likelihood" in record and record["method"] in choice.options:
            of_method = scores.setdefault(record["problem"], {})
            of_method.setdefault(record["method"], []).append(record["log_likelihood"])
            size[record["problem"]] = record["n_train"], record["n_features"]
    return {
        table: (size[table], {option: float(np.mean(scores[table][option])) for option in choice.options})
        for table in sorted(size)
        if len(scores[table]) == len(choice.options)
    }


def families(found: list[Record], choice: Choice) -> list[str]:
    """The first table of the family of each table."""
    first = {table: family[0] for family in FAMILIES for table in family}
    return [first.get(table, table) for table in measured(found, choice)]


def gains(found: list[Record], choice: Choice) -> Gains:
    """What each rule gains over the base, table by table."""
    tables = measured(found, choice).values()
    return {
        str(rule): np.array([score[rule.of(*size)] - score[choice.base] for size, score in tables])
        for rule in choice.rules
    }


def crossed(of: Gains, groups: Iterable[object]) -> tuple[Counter[str], float, float, np.ndarray]:
    """Which rules win on four fifths of the tables; their mean gain there, and on the fifth left out; these gains.

    Tables of one group are left out together.
    """
    codes = np.unique(list(groups), return_inverse=True)[1]
    names, capped = list(of), np.array([np.clip(gain, -CAP, CAP) for gain in of.values()])
    chosen, inside, outside = Counter[str](), [], []
    for repeat in range(REPEATS):
        for some, _ in KFold(FOLDS, shuffle=True, random_state=repeat).split(range(codes.max() + 1)):
            is_train = np.isin(codes, some)
            train, test = np.flatnonzero(is_train), np.flatnonzero(~is_train)
            best = int(capped[:, train].mean(1).argmax())
            chosen[names[best]] += 1
            inside.append(capped[best, train].mean())
            outside.append((best, test))
    left_out = np.concatenate([of[names[best]][test] for best, test in outside])
    return chosen, float(np.mean(inside)), float(np.clip(left_out, -CAP, CAP).mean()), left_out


def rules_table(of: Gains, groups: Iterable[object], choice: Choice) -> tuple[list[str], Rows]:
    """A row per rule that was chosen, or that is near the default."""
    chosen = crossed(of, groups)[0]
    near = set(map(str, choice.near))
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


def summary(of: Gains, groups: Iterable[object], choice: Choice) -> str:
    """What the cross-validation over tables says."""
    _, inside, outside, left_out = crossed(of, groups)
    base = choice.base
    n_tables, below = len(left_out) // REPEATS, np.mean(left_out < 0)
    return (
        f"Chosen on four fifths of {n_tables} tables and measured on the fifth left out, {REPEATS} times over, tables "
        f"of one origin together: the mean gain over {base} (at most {CAP:g} nat a table) is {inside:+.3f} on the "
        f"tables that chose and {outside:+.3f} on those left out, a gap of {inside - outside:.3f}; of those left out "
        f"{below:.0%} are below {base}, by {-min(left_out.min(), 0.0):.2f} nats at most."
    )


def table_of(found: list[Record], choice: Choice) -> tuple[list[str], Rows]:
    """Nats per row above the base, table by table."""
    others = [option for option in choice.options if option != choice.base]
    rows = [
        [table, *map(str, size), *(f"{score[option] - score[choice.base]:+.2f}" for option in others)]
        for table, (size, score) in measured(found, choice).items()
    ]
    return ["table", "training rows", "columns", *others], rows
