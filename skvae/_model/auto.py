"""What "auto" becomes, and the shape of what the user asked for.

The constants were chosen by `python -m benchmarks.run defaults`; see docs/benchmarks.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from skvae._model.alike import alike
from skvae._table.frames import Dtype


class Schedule(NamedTuple):
    """What the "auto" batch size and number of epochs aim at."""

    steps: int  # whatever the size of the table
    batches: int  # per epoch ...
    sizes: tuple[int, int]  # ... within these sizes
    reach: float  # of Muon's steps: the larger the batches, the further


SHORT, LONG = Schedule(1000, 8, (64, 512), 0.85), Schedule(2000, 16, (32, 256), 0.6)
MANY_ROWS = 5000  # Muon's is SHORT of fewer
EPOCHS = 3  # at least
STEPS_WITH_LEVELS = 4000  # Muon's of MANY_ROWS or more where there are levels
WITH_LEVELS = (64, 130)  # least batch size and most epochs where there are levels: small tables then train to the end
EARLY_STOPPING_ROWS = (50, 1000)  # from here to there "auto" gives some rows away to validation: small tables overfit
PATIENCE = 0.2  # share of the epochs that the "auto" n_iter_no_change waits

SOLVERS = ("muon", "adam")  # the second of each ...
LAYERS = ((64, 64, 64), (64, 64))
ALPHAS = (0.1, 0.2)
MANY_COLUMNS = 20  # ... of more columns than so many, where else what is peculiar to the training rows is learned, too

COMPONENTS = (2, 10, 16)  # least, most, and most where there are levels

LIKELIHOODS = {  # by the family of the dtype
    "bool": "bernoulli",
    "category": "categorical",
    "ordered": "ordinal",
    "text": "categorical",
}
NUMBERS = ("student_t", "student_t_mixture")  # of all others (what cannot be read is refused later) ...
ROWS_PER_COLUMN = 20  # ... the second from so many rows per column on
FOR_CODES = (LIKELIHOODS["category"], LIKELIHOODS["ordered"])  # any other, given for all columns, spares these families


def components(n_components: str | int, n_features: int, n_levels: int = 0, *, is_density: bool = True) -> int:
    """Where "auto": as many as columns, from 2 to 10; where there are levels, half the columns and levels, to 16.

    What is no density gains nothing from a code as wide as the row, which it would merely copy: half the columns.
    """
    if n_components != "auto":
        return int(n_components)
    least, most, most_with_levels = COMPONENTS
    if n_levels:
        return max(least, min(most_with_levels, (n_features + n_levels) // 2))
    return max(least, min(most, n_features if is_density else n_features // 2))


def schedule(solver: str, n: int) -> Schedule:
    """That of a solver for n rows."""
    return SHORT if solver == "muon" and n < MANY_ROWS else LONG


def batches_and_epochs(
    n: int, batch_size: str | int, max_iter: str | int, *, solver: str, has_levels: bool
) -> tuple[int, int]:
    """Rows per batch and epochs.

    The "auto" batch size is the power of two nearest to a batch of the schedule; the "auto" epochs make up its steps.
    """
    steps, batches, sizes, _ = schedule(solver, n)
    if has_levels and solver == "muon" and n >= MANY_ROWS:
        steps = STEPS_WITH_LEVELS
    least_size, most_epochs = WITH_LEVELS if has_levels else (0, steps)
    nearest = 2 ** round(math.log2(n / batches)) if batch_size == "auto" else int(batch_size)
    size = min(n, max(least_size, int(np.clip(nearest, *sizes))) if batch_size == "auto" else nearest)
    if max_iter != "auto":
        return size, int(max_iter)
    return size, max(EPOCHS, min(most_epochs, math.ceil(steps / math.ceil(n / size))))


def by_width(asked: Any, choices: Sequence[Any], n_features: int) -> Any:
    """What is asked for; of "auto", the first choice or, for a wide table, the second."""
    return choices[n_features > MANY_COLUMNS] if isinstance(asked, str) and asked == "auto" else asked


def stops_early(early_stopping: str | bool, n: int, *, has_levels: bool) -> bool:
    """Whether some of n rows are set aside for validation."""
    fewest, too_many = EARLY_STOPPING_ROWS
    return fewest <= n < too_many and not has_levels if early_stopping == "auto" else bool(early_stopping)


def patience(n_iter_no_change: str | int, max_iter: int) -> int:
    """Epochs without a gain after which to stop."""
    return max(5, math.ceil(PATIENCE * max_iter)) if n_iter_no_change == "auto" else int(n_iter_no_change)


def of_numbers(n: int, n_features: int) -> str:
    """The likelihood of columns of numbers: one of several modes in a table of many rows."""
    return NUMBERS[n >= ROWS_PER_COLUMN * n_features]


def column_likelihoods(likelihood: Any, names: Sequence[Any], dtypes: Sequence[Dtype]) -> list[Any]:
    """One likelihood (a name or a factory) per column; factories that are alike are one object.

    It is "auto" for numbers, until the rows that tell of them are counted.

    Raises
    ------
    ValueError
        If a dict names a column that is not there.
    """
    auto = [LIKELIHOODS.get(dtype.family, "auto") for dtype in dtypes]
    if not isinstance(likelihood, Mapping):
        spared = [(dtype.is_category or dtype.is_text) and likelihood not in FOR_CODES for dtype in dtypes]
        return [own if likelihood == "auto" or spare else likelihood for own, spare in zip(auto, spared, strict=True)]
    refuse_unknown_columns("likelihood", likelihood, names)
    asked = [likelihood.get(name, "auto") for name in names]
    each = [own if want == "auto" else want for want, own in zip(asked, auto, strict=True)]
    first = {j: likelihood for likelihood, columns in blocks_of(each) for j in columns}
    return [first[j] for j in range(len(each))]


def columns_with_atoms(atoms: Any, names: Sequence[Any]) -> list[bool]:
    """For each column, whether frequent single values are to be taken for atoms."""
    if isinstance(atoms, str) or not isinstance(atoms, Sequence):
        return [atoms == "auto"] * len(names)
    refuse_unknown_columns("atoms", atoms, names)
    return [name in atoms for name in names]


def refuse_unknown_columns(option: str, asked: Iterable[Any], names: Sequence[Any]) -> None:
    """Raise ValueError where a parameter names columns that X does not have."""
    unknown = [key for key in asked if key not in names]
    if unknown:
        raise ValueError(
            f"The '{option}' parameter names column(s) {unknown!r} that X does not have. Its columns are "
            f"{list(names[:10])!r}{' ...' if len(names) > 10 else ''}; those of an array are named by their index."
        )


def layer_sizes(hidden_layer_sizes: Any, n_features: int) -> tuple[int, ...]:
    """Units of each hidden layer."""
    sizes = tuple(np.atleast_1d(by_width(hidden_layer_sizes, LAYERS, n_features)).tolist())
    if not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must hold positive integers. Got {hidden_layer_sizes!r} instead.")
    return sizes


def blocks_of(likelihoods: list[Any]) -> tuple[tuple[Any, tuple[int, ...]], ...]:
    """Columns grouped by their likelihood, those of equal value too, in order of first appearance."""
    groups: list[tuple[Any, list[int]]] = []
    of_object: dict[int, list[int]] = {}
    for j, likelihood in enumerate(likelihoods):
        if id(likelihood) not in of_object:
            home = next((columns for known, columns in groups if alike(known, likelihood)), None)
            if home is None:
                groups.append((likelihood, home := []))
            of_object[id(likelihood)] = home
        of_object[id(likelihood)].append(j)
    return tuple((likelihood, tuple(columns)) for likelihood, columns in groups)
