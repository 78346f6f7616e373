"""Real rows and rows to compare with them, under one encoding: what all measures read."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from skvae._model.reading import read_alone
from skvae._model.texts import identifiers
from skvae._table import frames
from skvae._table.tables import Table

FloatArray = NDArray[np.float64]

REAL = "X"  # the rows that say what the columns are
TRUTH = [False, True]


@dataclass(frozen=True)
class Rows:
    """Several tables of the same columns as float64: numbers, codes of levels, NaN where a cell is missing.

    Parameters
    ----------
    tables : dict of str to ndarray of shape (n, p)
        By the names that the caller gave them.
    names : sequence
        Of the columns.
    families : sequence of str
        Of their dtypes in the real rows.
    levels : sequence
        For each column None, or its levels in the order of their codes: those of the real rows first.
    left_out : sequence
        Names of the columns of text that only name rows.
    """

    tables: dict[str, FloatArray]
    names: Sequence[Hashable]
    families: Sequence[str]
    levels: Sequence[Sequence[Any] | None]
    left_out: Sequence[Hashable] = ()

    def __getitem__(self, name: str) -> FloatArray:
        """One of the tables."""
        return self.tables[name]

    @property
    def is_category(self) -> NDArray[np.bool_]:
        """Which columns are levels, booleans among them."""
        return np.array([levels is not None for levels in self.levels])

    @property
    def is_nominal(self) -> NDArray[np.bool_]:
        """Which of them have no order."""
        unordered: NDArray[np.bool_] = self.is_category & (np.array(self.families) != "ordered")
        return unordered


def read(X: Any, **others: Any) -> Rows:
    """Real rows and others with the same columns, encoded alike.

    The columns are what they are in the real rows, which are called "X". Frames are matched by the names of their
    columns, arrays by position.
    """
    real = read_alone(X, REAL)
    left_out = identifiers(real) if real.is_frame else []
    kept = [j for j, name in enumerate(real.names) if name not in left_out]
    _refuse_unreadable(real, kept)
    if not kept:
        raise ValueError(
            f"All columns of X hold text of which most cells are one of a kind: {left_out!r}. None is left."
        )
    tables, places = {REAL: real}, {REAL: kept}
    for name, rows in others.items():
        tables[name] = read_alone(rows, name)
        places[name] = [_places(real, tables[name], name)[j] for j in kept]
        _refuse_other_kinds(real, tables[name], kept, places[name], name)
    columns = [_column([(tables[name], places[name][i]) for name in tables]) for i in range(len(kept))]
    return Rows(
        {name: np.column_stack([cells[k] for cells, _ in columns]) for k, name in enumerate(tables)},
        [real.names[j] for j in kept],
        [real.dtypes[j].family for j in kept],
        [levels for _, levels in columns],
        left_out,
    )


def seed_of(random_state: Any) -> int:
    """An integer seed: the one given, or one drawn from the stream given."""
    is_seed = isinstance(random_state, (int, np.integer))
    return int(random_state if is_seed else check_random_state(random_state).randint(2**31 - 1))


def some(table: FloatArray, most: int | None, rng: np.random.Generator) -> FloatArray:
    """At most that many rows, drawn without replacement."""
    return table if most is None or len(table) <= most else table[rng.permutation(len(table))[:most]]


# -- a column ----------------------------------------------------------------------------------------------------------


def _column(sources: Sequence[tuple[Table, int]]) -> tuple[list[FloatArray], list[Any] | None]:
    """A column of each table as numbers or codes, and its levels; the first source says which of the two."""
    table, j = sources[0]
    if not _is_coded(table, j):
        return [table.numbers(j).astype(np.float64) for table, j in sources], None
    code_of = dict(zip(TRUTH, range(2), strict=True)) if table.dtypes[j].family == "bool" else {}
    cells = []
    for table, j in sources:
        codes, values, _ = table.labels(j)
        own = [code_of.setdefault(value, len(code_of)) for value in values]
        cells.append(np.array([*own, np.nan])[codes])
    return cells, list(code_of)


def _is_coded(table: Table, j: int) -> bool:
    return not table.dtypes[j].is_number or table.dtypes[j].family == "bool"


# -- what cannot be compared -------------------------------------------------------------------------------------------


def _refuse_unreadable(table: Table, kept: Sequence[int]) -> None:
    if table.is_frame:
        fit = [None if j in kept else frames.LEFT_OUT for j in range(len(table.names))]
        frames.refuse_unreadable(table.X, [_is_coded(table, j) for j in range(len(fit))], fit)


def _places(real: Table, other: Table, name: str) -> list[int]:
    """Where each column of the real rows stands in the others."""
    if not (real.is_frame and other.is_frame):
        if len(real.names) != len(other.names):
            raise ValueError(
                f"{name} has {len(other.names)} columns and X {len(real.names)}. Pass the same columns in both."
            )
        return list(range(len(real.names)))
    place = {column: j for j, column in enumerate(other.names)}
    lost, new = [c for c in real.names if c not in place], [c for c in other.names if c not in real.names]
    if lost or new:
        parts = [f"{name} lacks {lost!r}" if lost else "", f"X lacks {new!r}" if new else ""]
        raise ValueError(f"The columns differ: {'; '.join(filter(None, parts))}. Pass the same columns in both.")
    return [place[column] for column in real.names]


def _refuse_other_kinds(real: Table, other: Table, columns: Sequence[int], places: Sequence[int], name: str) -> None:
    """Raise TypeError where a column of the others cannot be read as that of the real rows."""
    pairs = [(j, k) for j, k in zip(columns, places, strict=True) if not _are_alike(real, j, other, k)]
    if pairs:
        listed = "; ".join(
            f"{real.names[j]!r} holds {_named(real.dtypes[j])} in X and {_named(other.dtypes[k])} in {name}"
            for j, k in pairs
        )
        way_out = f", in pandas with {name}.astype(X.dtypes)" if real.container == other.container == "pandas" else ""
        raise TypeError(f"Columns must hold the same in both. {listed}. Give {name} the dtypes of X{way_out}.")


def _are_alike(real: Table, j: int, other: Table, k: int) -> bool:
    """Whether a column of other rows can be read as the real one; one without a value always can."""
    here, there = real.dtypes[j], other.dtypes[k]
    if bool(other.missing_in(k).all()):
        return True
    if not here.is_number:
        return there.family != "unreadable" and not there.is_time
    return there.is_number and (here.family == there.family or not (here.is_time or there.is_time))


def _named(dtype: frames.Dtype) -> str:
    if dtype.is_time:
        return f"{dtype.family}s"
    known = {"bool": "truth values", "text": "text", "unreadable": f"values of dtype {dtype.own}"}
    return known.get(dtype.family, "numbers" if dtype.is_number else "categories")
