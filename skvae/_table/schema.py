"""The schema of a table: what fit learned about its columns, frozen, and the arithmetic between units.

A column becomes one *cell* of the encoded row, or two where it has atoms: the part (0 for "no atom", i + 1 for the
i-th), which is a category, and the value, which counts only where the part is 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skvae._table import frames
from skvae._table.atoms import part_of
from skvae._table.kinds import KINDS, FloatArray
from skvae._table.levels import Levels
from skvae._table.marginals import NormalScores
from skvae._table.tables import Table

LARGEST = {np.dtype(np.float32): 1e15, np.dtype(np.float64): 1e100}  # standardised cells beyond would overflow squared


class Cell(NamedTuple):
    """One cell of the encoded row: its column, what it is to the model, and how many codes it has (0: a number)."""

    column: int
    kind: str
    is_part: bool
    n_codes: int


class Units(NamedTuple):
    """From encoded cells to data units: location + scale * x with x kept within bounds, or bent by a function."""

    location: FloatArray  # (n_cells,)
    scale: FloatArray  # (n_cells,)
    low: FloatArray  # (n_cells,), encoded
    high: FloatArray  # (n_cells,), encoded
    bends: tuple[Callable[[FloatArray], FloatArray] | None, ...]  # n_cells


@dataclass(frozen=True)
class Column:
    """One column.

    `location` and `scale` (data units, or those of their logarithm) standardise it; `centre` and `width` (encoded
    units) are its robust location and scale, for the encoder's eyes only. `normal_scores` is what a standardised value
    is mapped through where the marginals are made normal. `levels` are those of a coded column, `atoms` single values
    that a number column is not continuous at; `frequencies` are the shares of the codes in training. Decoded numbers
    are kept from `low` to `high`; draws are multiples of `step`. A constant column stands outside the model:
    `constant` is its value or code, NaN if no value was ever observed.
    """

    name: Hashable
    dtype: str
    kind: str
    location: float = 0.0
    scale: float = 1.0
    centre: float = 0.0
    width: float = 1.0
    mean: float = 0.0
    constant: float | None = None
    normal_scores: NormalScores | None = None
    levels: Levels | None = None
    atoms: tuple[float, ...] = ()
    frequencies: tuple[float, ...] = ()
    low: float = -np.inf
    high: float = np.inf
    step: float | None = None

    @property
    def is_plain(self) -> bool:
        """Whether encoding is (x - location) / scale and no more."""
        kind = KINDS[self.kind]
        return self.constant is None and not (self.is_bent or kind.is_coded or self.atoms)

    @property
    def is_bent(self) -> bool:
        """Whether encoding is not linear."""
        return KINDS[self.kind].is_log or self.normal_scores is not None

    def decode(self, cells: FloatArray) -> FloatArray:
        """From encoded units to data units (codes stay codes), atoms left aside, within the bounds."""
        if self.normal_scores is not None:
            cells = self.normal_scores.decode(cells)
        with np.errstate(over="ignore"):
            values = cells * self.scale + self.location
            values = np.exp(values) if KINDS[self.kind].is_log else values
        within: FloatArray = np.clip(values, self.low, self.high)
        return within


@dataclass(frozen=True)
class TableSchema:
    """All columns of a table, its container, and the number of training rows."""

    container: str
    columns: tuple[Column, ...]
    n_rows: int

    # -- which cells there are -----------------------------------------------------------------------------------------

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cells of an encoded row, in the order of the columns; a part stands before its value."""
        cells = []
        for j, column in enumerate(self.columns):
            if column.constant is None and column.atoms:
                cells.append(Cell(j, "categorical", True, len(column.frequencies)))
            if column.constant is None:
                coded = KINDS[column.kind].is_coded
                cells.append(Cell(j, column.kind, False, len(column.frequencies) if coded else 0))
        return tuple(cells)

    @property
    def n_levels(self) -> int:
        """Levels of all coded columns inside the model."""
        return sum(cell.n_codes for cell in self.cells if not cell.is_part)

    @cached_property
    def gates(self) -> tuple[tuple[int, int], ...]:
        """Pairs (value, part) of cells: the value counts only where the part is 0."""
        return tuple((i + 1, i) for i, cell in enumerate(self.cells) if cell.is_part)

    def of_cells(self, attribute: str, of_part: float) -> FloatArray:
        """One number per cell: an attribute of its column, or `of_part` where it is a part."""
        numbers = [of_part if cell.is_part else getattr(self.columns[cell.column], attribute) for cell in self.cells]
        return np.array(numbers, dtype=np.float64)

    @property
    def frequencies(self) -> tuple[tuple[float, ...] | None, ...]:
        """Shares of the codes of each cell, None for numbers."""
        return tuple(self.columns[cell.column].frequencies if cell.n_codes else None for cell in self.cells)

    def name_of_cell(self, i: int) -> Hashable:
        """Name of the column of the i-th cell."""
        name: Hashable = self.columns[self.cells[i].column].name
        return name

    def by_column(self, cells: FloatArray) -> FloatArray:
        """Sum what belongs to cells, (n, n_cells), over the cells of each column, (n, p)."""
        out = np.zeros((len(cells), len(self.columns)), dtype=cells.dtype)
        for i, cell in enumerate(self.cells):
            out[:, cell.column] += cells[:, i]
        return out

    def columns_of(self, cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which columns have a cell among these, (n, n_cells) -> (n, p)."""
        out = np.zeros((len(cells), len(self.columns)), dtype=bool)
        for i, cell in enumerate(self.cells):
            out[:, cell.column] |= cells[:, i]
        return out

    # -- into the model ------------------------------------------------------------------------------------------------

    def encode(self, table: Table, dtype: Any = np.float64, *, unknown: str = "missing") -> FloatArray:
        """Encoded cells, finite, or NaN where missing.

        Parameters
        ----------
        table : Table
        dtype : numpy dtype
            Of the result; the arithmetic is in float64.
        unknown : {"missing", "error", "infrequent_if_exist"}
            What a level is that fit did not see.

        Returns
        -------
        ndarray of shape (n, n_cells)
        """
        self.check_support(table)
        out = np.empty((len(table), len(self.cells)), dtype=dtype)
        limit = LARGEST[np.dtype(np.float32) if np.float32 in (table.dtype, dtype) else np.dtype(np.float64)]
        for cells, values in self._plain_values(table):
            columns = [self.columns[self.cells[i].column] for i in cells]
            with np.errstate(over="ignore"):
                values = values - np.array([column.location for column in columns])
                values /= np.array([column.scale for column in columns])
            out[:, cells] = np.clip(values, -limit, limit, out=values)
        for j, column in enumerate(self.columns):
            if unknown == "error" and column.constant is not None and column.levels is not None:
                self._codes(table, j, unknown)  # it has no cell, and may hold an unknown level nevertheless
        for i, cell in enumerate(self.cells):
            column = self.columns[cell.column]
            if cell.is_part:
                out[:, i] = part_of(table.numbers(cell.column).astype(np.float64), column.atoms)
            elif column.levels is not None:
                out[:, i] = self._codes(table, cell.column, unknown)
            elif not column.is_plain:
                values = table.numbers(cell.column).astype(np.float64)
                out[:, i] = np.clip(_encoded(values, column), -limit, limit)
        return out

    def _plain_values(self, table: Table) -> Iterator[tuple[list[int], FloatArray]]:
        """Cells that are standardised and no more, with their values (n, m) in float64: all at once, or one by one."""
        plain = [i for i, cell in enumerate(self.cells) if self.columns[cell.column].is_plain]
        if table.is_frame:
            for i in plain:
                yield [i], table.numbers(self.cells[i].column)[:, np.newaxis]
        elif plain:
            values = table.X[:, [self.cells[i].column for i in plain]]
            yield plain, (values.toarray() if table.is_sparse else values).astype(np.float64)

    def encode_sparse(self, table: Table) -> Any:
        """Encoded cells as a CSR matrix, from columns that are left as they are (bits and counts)."""
        self.check_support(table)
        return table.X[:, [cell.column for cell in self.cells]].astype(np.float32)

    def _codes(self, table: Table, j: int, unknown: str) -> FloatArray:
        levels = self.columns[j].levels
        assert levels is not None, "only a coded column has codes"
        codes, values, _ = table.labels(j)
        if unknown == "error":
            new = levels.unknown(codes, values)
            if new:
                raise ValueError(
                    f"Column {self.columns[j].name!r} holds level(s) that fit did not see: {_some(new)}. It saw "
                    f"{_some(levels.values) or 'none'}. Fit on rows that have them, replace them, or set "
                    f"handle_unknown='missing'."
                )
        return levels.encode(codes, values, pool_unknown=unknown == "infrequent_if_exist")

    def check_support(self, table: Table) -> None:
        """Raise ValueError where a value lies outside the support of its column's likelihood."""
        for j in self._bounded_support:
            column = self.columns[j]
            accept(table.numbers(j), column.kind, column.name, column.atoms)

    @cached_property
    def _bounded_support(self) -> list[int]:
        """Columns of numbers whose likelihood cannot take every one."""
        free = KINDS["continuous"].accept
        asked = [column.constant is None and not KINDS[column.kind].is_coded for column in self.columns]
        return [j for j, column in enumerate(self.columns) if asked[j] and KINDS[column.kind].accept is not free]

    def log_jacobian(self, encoded: FloatArray) -> FloatArray:
        """Log |d encoded / dx| of each cell, shape (n, n_cells), in nats; 0 where it is missing, a code or an atom."""
        out = np.zeros(encoded.shape)
        out -= np.log(self.of_cells("scale", 1.0))
        for i, cell in enumerate(self.cells):
            column = self.columns[cell.column]
            if not cell.is_part and column.normal_scores is not None:
                out[:, i] += np.nan_to_num(column.normal_scores.log_slope(_standardised(encoded[:, i], column)))
            if not cell.is_part and KINDS[column.kind].is_log:
                out[:, i] -= _standardised(encoded[:, i], column) * column.scale + column.location
        for value, part in self.gates:
            out[encoded[:, part] > 0, value] = 0.0
        out[np.isnan(encoded)] = 0.0
        return out

    def surprises(self, table: Table) -> NDArray[np.bool_]:
        """Which cells of constant columns are observed and differ from the constant, shape (n, p)."""
        out = np.zeros((len(table), len(self.columns)), dtype=bool)
        for j, column in enumerate(self.columns):
            if column.constant is not None and not np.isnan(column.constant) and column.levels is None:
                value = table.numbers(j)
                slack = 0.0 if column.dtype.startswith("integer") else 1e-6 * abs(column.constant)
                out[:, j] = ~np.isnan(value) & (np.abs(value - column.constant) > slack)
        return out

    @property
    def surprise(self) -> float:
        """Nats that a differing cell of a constant column costs: log(n + 2).

        By Laplace's rule of succession a value not seen in n rows has probability 1 / (n + 2).
        """
        return float(np.log(self.n_rows + 2))

    # -- and back ------------------------------------------------------------------------------------------------------

    def decode(self, cells: FloatArray) -> FloatArray:
        """Encoded cells, such as draws, in data units: shape (n, p), codes for levels, constants filled in."""
        out = self._constants(len(cells), cells.dtype)
        for i, cell in enumerate(self.cells):
            column = self.columns[cell.column]
            if not cell.is_part:
                values = column.decode(cells[:, i])
                out[:, cell.column] = values if column.step is None else to_multiples(values, column.step)
                if column.atoms:
                    part = cells[:, i - 1].astype(np.intp)
                    atoms = np.array((np.nan, *column.atoms))
                    out[:, cell.column] = np.where(part > 0, atoms[part], out[:, cell.column])
        return out

    def _constants(self, n: int, dtype: Any) -> FloatArray:
        out = np.empty((n, len(self.columns)), dtype=dtype)
        for j, column in enumerate(self.columns):
            if column.constant is not None:
                out[:, j] = column.constant
        return out

    @cached_property
    def _spans(self) -> list[slice]:
        """Where the statistics of each cell stand among those of all: one mean, or one probability per code."""
        edges = np.cumsum([0] + [max(cell.n_codes, 1) for cell in self.cells])
        return [slice(int(a), int(b)) for a, b in itertools.pairwise(edges)]

    @cached_property
    def units(self) -> Units:
        """From encoded cells to data units, bounds included."""
        location, scale = self.of_cells("location", 0.0), self.of_cells("scale", 1.0)
        low, high = ((self.of_cells(name, 0.0) - location) / scale for name in ("low", "high"))
        is_bent = np.array([self.columns[cell.column].is_bent and not cell.is_part for cell in self.cells])
        free = is_bent | np.array([cell.is_part for cell in self.cells])
        bends = tuple(self.columns[self.cells[i].column].decode if bent else None for i, bent in enumerate(is_bent))
        return Units(location, scale, np.where(free, -np.inf, low), np.where(free, np.inf, high), bends)

    def expect(self, statistics: FloatArray) -> list[FloatArray]:
        """The expectation of each column in data units: (n,) for numbers, (n, n_codes) probabilities for levels.

        Parameters
        ----------
        statistics : ndarray of shape (n, n_statistics)
            Of each cell its mean in data units, where the column has atoms E[x 1(x is no atom)], or the probability of
            each of its codes: what an engine makes of `units`.
        """
        out: list[FloatArray] = list(self._constants(len(statistics), statistics.dtype).T)
        for i, cell in enumerate(self.cells):
            column, own = self.columns[cell.column], statistics[:, self._spans[i]]
            if cell.is_part:
                continue
            if column.levels is not None:
                out[cell.column] = own
                continue
            values = own[:, 0]
            if column.atoms:
                values = values + statistics[:, self._spans[i - 1]][:, 1:] @ np.array(column.atoms)
            ends = min(column.low, *column.atoms, np.inf), max(column.high, *column.atoms, -np.inf)
            out[cell.column] = np.clip(values, *ends).astype(statistics.dtype)  # they are within but for rounding
        return out

    @staticmethod
    def point(expectations: Sequence[FloatArray]) -> FloatArray:
        """One value per cell, (n, p), from what `expect` gives: the mean, or the code of the most probable level."""
        columns = [part if part.ndim == 1 else part.argmax(axis=1).astype(part.dtype) for part in expectations]
        return np.column_stack(columns)

    def restore(self, X: FloatArray, random_state: np.random.RandomState | None = None) -> Any:
        """Values and codes, (n, p), in the container of fit, with its names and dtypes.

        `random_state` draws among levels that share a code; without it the most frequent is taken.
        """
        columns: list[Any] = [
            X[:, j] if column.levels is None else column.levels.decode(X[:, j], random_state)
            for j, column in enumerate(self.columns)
        ]
        if self.container != frames.NUMPY:
            formats = [frames.Format(column.name, column.dtype, column.levels) for column in self.columns]
            return frames.to_frame(columns, self.container, formats)
        if any(column.levels is not None for column in self.columns):
            return np.column_stack([np.array(column, dtype=X.dtype) for column in columns])
        return X

    # -- persistence ---------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain Python data, for persistence."""
        return {
            "container": self.container,
            "columns": [_plain(column) for column in self.columns],
            "n_rows": self.n_rows,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TableSchema:
        """Inverse of `to_dict`."""
        return cls(data["container"], tuple(_column(**column) for column in data["columns"]), data["n_rows"])


def to_multiples(values: FloatArray, step: float) -> FloatArray:
    """The nearest multiples of a step that is 1, 2 or 5 times a power of ten, as they are read from a decimal."""
    nearest: FloatArray = np.round(np.round(values / step) * step, max(0, math.ceil(-math.log10(step))))
    return nearest


def accept(values: FloatArray, kind: str, name: Hashable, atoms: tuple[float, ...]) -> None:
    """Raise ValueError where an observed value that is no atom lies outside the support of the kind."""
    there = ~np.isnan(values)
    if atoms:
        there &= ~np.isin(values, atoms)
    KINDS[kind].accept(values[there], name)


def _encoded(values: FloatArray, column: Column) -> FloatArray:
    """Values of one column in encoded units."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if KINDS[column.kind].is_log:  # an atom at 0 becomes any number: it does not count
            values = np.where(values <= 0.0, column.location, np.log(np.where(values > 0.0, values, np.nan)))
        values = (values - column.location) / column.scale
    return values if column.normal_scores is None else column.normal_scores.encode(values)


def _standardised(encoded: FloatArray, column: Column) -> FloatArray:
    return encoded if column.normal_scores is None else column.normal_scores.decode(encoded)


def _some(values: Sequence[Any]) -> str:
    return ", ".join(repr(value) for value in values[:5]) + (", ..." if len(values) > 5 else "")


def _plain(column: Column) -> dict[str, Any]:
    plain = {field.name: getattr(column, field.name) for field in fields(column)}
    for name in ("normal_scores", "levels"):
        plain[name] = None if plain[name] is None else tuple(plain[name])
    return plain


def _column(*, normal_scores: Any = None, levels: Any = None, **rest: Any) -> Column:
    for name in ("atoms", "frequencies"):
        rest[name] = tuple(rest[name])
    return Column(
        **rest,
        normal_scores=None if normal_scores is None else NormalScores(*map(tuple, normal_scores)),
        levels=None if levels is None else Levels(*_tuples(levels)),
    )


def _tuples(data: Any) -> Any:
    """Lists, such as JSON makes of tuples, as tuples again, inner ones too."""
    return tuple(_tuples(part) for part in data) if isinstance(data, list | tuple) else data
