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
    are kept from `low` to `high` (integers beyond 2**53 as such, exactly); draws are multiples of `step`. `n_values`
    values made `location` and `scale`. A constant column stands outside the model: `constant` is its value or code, NaN
    if no value was ever observed.
    """

    name: Hashable
    dtype: frames.Dtype
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
    n_values: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether encoding is (x - location) / scale and no more."""
        kind = KINDS[self.kind]
        return self.constant is None and not (self.is_bent or kind.is_coded or self.atoms)

    @property
    def is_bent(self) -> bool:
        """Whether encoding is not linear."""
        return KINDS[self.kind].is_log or self.normal_scores is not None

    @property
    def log_unit(self) -> float:
        """Logarithm of the column's own unit, by which densities do not depend on that of the data.

        It is the standard deviation; where the logarithm is standardised, the geometric mean.
        """
        return self.location if KINDS[self.kind].is_log else math.log(self.scale)

    def part_of(self, values: FloatArray, dtype: frames.Dtype) -> FloatArray:
        """Which atom each value is (see `atoms.part_of`), as exactly as the dtypes of fit and of the values can say."""
        return part_of(values.astype(np.float64), self.atoms, max(self.dtype.rounding, dtype.rounding))

    def rounded(self, values: FloatArray) -> FloatArray:
        """The nearest multiples of `step`; where that is an atom, which has a probability of its own, one beside it."""
        assert self.step is not None, "only a column with a step is rounded"
        nearest = to_multiples(values, self.step)
        for atom in self.atoms:
            there = nearest == atom
            beside = self._beside(atom, self.step)
            if len(beside) and there.any():
                distance = np.abs(values[there, np.newaxis] - beside)
                nearest[there] = beside[distance.argmin(axis=1)]
        return nearest

    def _beside(self, atom: float, step: float) -> FloatArray:
        """The multiples of `step` next to an atom on either side that are no atoms themselves, within the bounds."""
        ways = np.arange(1, len(self.atoms) + 1) * step  # one of so many is no atom
        sides = [to_multiples(atom + way, step) for way in (-ways, ways)]
        free = [side[~np.isin(side, self.atoms)][:1] for side in sides]
        return np.concatenate([side[(side >= self.low) & (side <= self.high)] for side in free])

    def decode(self, cells: FloatArray) -> FloatArray:
        """From encoded units to data units (codes stay codes), atoms left aside, within the bounds."""
        with np.errstate(over="ignore"):
            cells = _standardised(cells, self)
            values = cells * self.scale + self.location
            values = np.exp(values) if KINDS[self.kind].is_log else values
        most = float(np.finfo(values.dtype).max)
        within: FloatArray = np.clip(values, max(float(self.low), -most), min(float(self.high), most))
        return within

    @property
    def in_fit(self) -> str | None:
        """What the column was in fit: "numbers", "categories", or None where fit saw no value."""
        if self.levels is not None:
            return "categories"
        return None if self.constant is not None and np.isnan(self.constant) else "numbers"


@dataclass(frozen=True)
class TableSchema:
    """All columns of a table, its container, the number of training rows, and what `frames.header_of` says.

    `order` says how the cells of an encoded row stand, of those in the order of the columns; None for just so.
    """

    container: str
    columns: tuple[Column, ...]
    n_rows: int
    header: frames.Header | None = None
    order: tuple[int, ...] | None = None

    # -- which cells there are -----------------------------------------------------------------------------------------

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cells of an encoded row, in their order; in that of the columns a part stands before its value."""
        cells: list[Cell] = []
        for j, column in enumerate(self.columns):
            if column.constant is None and column.atoms:
                cells.append(Cell(j, "categorical", True, len(column.frequencies)))
            if column.constant is None:
                coded = KINDS[column.kind].is_coded
                cells.append(Cell(j, column.kind, False, len(column.frequencies) if coded else 0))
        return tuple(cells if self.order is None else [cells[i] for i in self.order])

    @property
    def n_levels(self) -> int:
        """Levels of all coded columns inside the model."""
        return sum(cell.n_codes for cell in self.cells if not cell.is_part)

    @cached_property
    def gates(self) -> tuple[tuple[int, int], ...]:
        """Pairs (value, part) of cells: the value counts only where the part is 0."""
        values = {cell.column: i for i, cell in enumerate(self.cells) if not cell.is_part}
        return tuple((values[cell.column], i) for i, cell in enumerate(self.cells) if cell.is_part)

    @property
    def in_order_of_columns(self) -> tuple[int, ...]:
        """Where the cells stand that belong to the first column, to the second, and so on."""
        order = range(len(self.cells)) if self.order is None else self.order
        return tuple(np.argsort(order).tolist())

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
        unknown : {"unlikely", "missing", "error", "infrequent_if_exist"}
            What a level is that fit did not see; in the cells it is missing with both of the first two.

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
                out[:, i] = column.part_of(table.numbers(cell.column), table.dtypes[cell.column])
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
            values = table.numbers(j)
            if column.atoms:
                values = np.where(column.part_of(values, table.dtypes[j]) > 0, np.nan, values)
            accept(values, column.kind, column.name)

    @cached_property
    def _bounded_support(self) -> list[int]:
        """Columns of numbers whose likelihood cannot take every one."""
        free = KINDS["continuous"].accept
        asked = [column.constant is None and not KINDS[column.kind].is_coded for column in self.columns]
        return [j for j, column in enumerate(self.columns) if asked[j] and KINDS[column.kind].accept is not free]

    def log_correction(
        self, table: Table, encoded: FloatArray, *, unknown: str = "unlikely", relative: bool = False
    ) -> FloatArray:
        """What turns log-densities of encoded cells into those of the rows, summed by column, shape (n, p), in nats.

        The log-Jacobian, the log-share of a pooled level among those that share its code, and minus `surprise` for
        what fit did not see.

        Parameters
        ----------
        table : Table
        encoded : ndarray of shape (n, n_cells)
            The same rows, from `encode`.
        unknown : {"unlikely", "missing", "error", "infrequent_if_exist"}
        relative : bool
            Whether columns are taken in their own units (`Column.log_unit`), so that rows compare in the same way
            whatever the units of X: also those with different cells missing, or with atoms.
        """
        jacobian = self.by_column(self.log_jacobian(encoded, relative=relative))
        return jacobian + self.log_shares(table, unknown=unknown)

    def log_shares(self, table: Table, *, unknown: str = "unlikely") -> FloatArray:
        """The part of `log_correction` that codes do not say, shape (n, p), in nats: pooled levels and what is new."""
        out = -self.surprise * self.surprises(table, unknown=unknown)
        for j, column in enumerate(self.columns):
            if column.levels is not None and column.levels.pooled:
                codes, values, _ = table.labels(j)
                out[:, j] += column.levels.log_share(codes, values, pool_unknown=unknown == "infrequent_if_exist")
        return out

    def log_jacobian(self, encoded: FloatArray, *, relative: bool = False) -> FloatArray:
        """Log |d encoded / dx| of each cell, shape (n, n_cells), in nats; 0 where it is missing, a code or an atom.

        Where `relative`, x is in the columns' own units.
        """
        out = np.zeros(encoded.shape)
        out -= np.log(self.of_cells("scale", 1.0)) - (self.of_cells("log_unit", 0.0) if relative else 0.0)
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

    def surprises(self, table: Table, *, unknown: str = "unlikely") -> NDArray[np.bool_]:
        """Which cells hold what has no density, shape (n, p): in constant columns another number, elsewhere a level.

        A level that fit did not see is none where `unknown` takes it for missing or for a rare one. Columns in which
        fit saw no value surprise nobody.
        """
        out = np.zeros((len(table), len(self.columns)), dtype=bool)
        for j, column in enumerate(self.columns):
            if column.levels is not None:
                out[:, j] = self._unlikely_levels(table, j, unknown)
            elif column.constant is not None and not np.isnan(column.constant):
                value = table.numbers(j)
                slack = 0.0 if column.dtype.is_integer else 1e-6 * abs(column.constant)
                with np.errstate(over="ignore"):
                    out[:, j] = ~np.isnan(value) & (np.abs(value - column.constant) > slack)
        return out

    def _unlikely_levels(self, table: Table, j: int, unknown: str) -> NDArray[np.bool_] | bool:
        levels = self.columns[j].levels
        assert levels is not None, "only a coded column has levels"
        rare = unknown == "infrequent_if_exist" and bool(levels.pooled)
        if unknown == "missing" or rare or not levels.n_codes:
            return False
        codes, values, _ = table.labels(j)
        return levels.is_unknown(codes, values)

    def mostly_unknown(self, table: Table) -> dict[Hashable, list[Any]]:
        """Columns more than half of whose observed cells hold levels that fit did not see, and these levels."""
        found = {}
        for j, column in enumerate(self.columns):
            if column.levels is not None and column.levels.n_codes:
                codes, values, _ = table.labels(j)
                if column.levels.is_unknown(codes, values).sum() > 0.5 * (codes >= 0).sum():
                    found[column.name] = column.levels.unknown(codes, values)
        return found

    @property
    def surprise(self) -> float:
        """Nats that a cell costs which holds what fit did not see: log(n + 2).

        By Laplace's rule of succession a value not seen in n rows has probability 1 / (n + 2).
        """
        return float(np.log(self.n_rows + 2))

    # -- and back ------------------------------------------------------------------------------------------------------

    def decode(self, cells: FloatArray) -> FloatArray:
        """Encoded cells, such as draws, in data units: shape (n, p), codes for levels, constants filled in."""
        out, parts = self._constants(len(cells), cells.dtype), dict(self.gates)
        for i, cell in enumerate(self.cells):
            column = self.columns[cell.column]
            if not cell.is_part:
                values = column.decode(cells[:, i])
                out[:, cell.column] = values if column.step is None else column.rounded(values)
                if column.atoms:
                    part = cells[:, parts[i]].astype(np.intp)
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
        parts = dict(self.gates)
        for i, cell in enumerate(self.cells):
            column, own = self.columns[cell.column], statistics[:, self._spans[i]]
            if cell.is_part:
                continue
            if column.levels is not None:
                out[cell.column] = own
                continue
            values = own[:, 0]
            if column.atoms:
                values = values + statistics[:, self._spans[parts[i]]][:, 1:] @ np.array(column.atoms)
            ends = min(column.low, *column.atoms, np.inf), max(column.high, *column.atoms, -np.inf)
            out[cell.column] = np.clip(values, *ends).astype(statistics.dtype)  # they are within but for rounding
        return out

    def point(self, expectations: Sequence[FloatArray]) -> FloatArray:
        """One value per cell, (n, p), from what `expect` gives: the mean, or the code of the most probable level."""
        each = zip(self.columns, expectations, strict=True)
        return np.column_stack([part if part.ndim == 1 else _most_probable(column, part) for column, part in each])

    def restore(self, X: FloatArray, random_state: np.random.RandomState | None = None) -> Any:
        """Values and codes, (n, p), in the container of fit, with its names and dtypes.

        `random_state` draws among levels that share a code; without it the most frequent is taken.
        """
        columns = [self.values(X[:, j], j, random_state) for j in range(len(self.columns))]
        if self.container != frames.NUMPY:
            formats = [self.format(j, self.container) for j in range(len(self.columns))]
            return frames.to_frame(columns, self.container, formats, self.header)
        if any(column.levels is not None for column in self.columns):
            return np.column_stack([np.array(column, dtype=X.dtype) for column in columns])
        return X

    def values(self, cells: FloatArray, j: int, random_state: np.random.RandomState | None = None) -> Any:
        """Values of column j: numbers as they are, codes as a list of levels."""
        levels = self.columns[j].levels
        return cells if levels is None else levels.decode(cells, random_state)

    def format(self, j: int, container: str) -> frames.Format:
        """How column j is written into a frame of this container, that of fit or another."""
        column = self.columns[j]
        dtype = column.dtype if container == self.container else frames.plain_dtype(column.dtype.family, container)
        exact = [bound if isinstance(bound, int) else None for bound in (column.low, column.high)]
        return frames.Format(column.name, dtype, column.levels, *exact)

    def refuse_unreadable(self, table: Table) -> None:
        """Raise TypeError where columns of a table cannot be read as they were in fit."""
        if table.is_frame:
            before = [column.in_fit for column in self.columns]
            frames.refuse_unreadable(table.X, [kind != "numbers" for kind in before], before)

    # -- persistence ---------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Plain Python data, for persistence."""
        return {
            "container": self.container,
            "columns": [_plain(column) for column in self.columns],
            "n_rows": self.n_rows,
            "header": self.header,
            "order": self.order,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TableSchema:
        """Inverse of `to_dict`."""
        columns = tuple(_column(**column) for column in data["columns"])
        header, order = _tuples(data.get("header")), _tuples(data.get("order"))  # earlier versions have none
        return cls(data["container"], columns, data["n_rows"], header, order)


def to_multiples(values: FloatArray, step: float) -> FloatArray:
    """The nearest multiples of a step that is 1, 2 or 5 times a power of ten, as they are read from a decimal."""
    nearest: FloatArray = np.round(np.round(values / step) * step, max(0, math.ceil(-math.log10(step))))
    return nearest


def accept(values: FloatArray, kind: str, name: Hashable, atoms: tuple[float, ...] = ()) -> None:
    """Raise ValueError where an observed value that is no atom lies outside the support of the kind."""
    there = ~(np.isnan(values) | np.isin(values, atoms))
    KINDS[kind].accept(values[there], name)


def _encoded(values: FloatArray, column: Column) -> FloatArray:
    """Values of one column in encoded units."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        if KINDS[column.kind].is_log:  # an atom at 0 becomes any number: it does not count
            values = np.where(values <= 0.0, column.location, np.log(np.where(values > 0.0, values, np.nan)))
        values = (values - column.location) / column.scale
        return values if column.normal_scores is None else column.normal_scores.encode(values)


def _most_probable(column: Column, probability: FloatArray) -> FloatArray:
    assert column.levels is not None, "only levels have probabilities"
    return column.levels.most_probable(probability)


def _standardised(encoded: FloatArray, column: Column) -> FloatArray:
    return encoded if column.normal_scores is None else column.normal_scores.decode(encoded)


def _some(values: Sequence[Any]) -> str:
    return ", ".join(repr(value) for value in values[:5]) + (", ..." if len(values) > 5 else "")


def _plain(column: Column) -> dict[str, Any]:
    plain = {field.name: getattr(column, field.name) for field in fields(column)}
    plain["dtype"] = str(column.dtype)
    for name in ("normal_scores", "levels"):
        plain[name] = None if plain[name] is None else tuple(plain[name])
    return plain


def _column(*, dtype: str, normal_scores: Any = None, levels: Any = None, **rest: Any) -> Column:
    for name in ("name", "atoms", "frequencies"):
        rest[name] = _tuples(rest[name])
    return Column(
        **rest,
        dtype=frames.Dtype.read(dtype),
        normal_scores=None if normal_scores is None else NormalScores(*map(tuple, normal_scores)),
        levels=None if levels is None else Levels(*_tuples(levels)),
    )


def _tuples(data: Any) -> Any:
    """Lists, such as JSON makes of tuples, as tuples again, inner ones too."""
    return tuple(_tuples(part) for part in data) if isinstance(data, list | tuple) else data
