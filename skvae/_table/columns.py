"""Columns as codecs: what fit learned of one, how its values become cells of the encoded row, and the way back.

A number is one cell; where it has atoms it is two: the atom (0 for none, i + 1 for the i-th), which is a category, and
the value, which counts only where there is none. A column of levels is one cell, which holds their codes. A column
of one value stands outside the model and has no cell.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvae._table import frames
from skvae._table.atoms import Heaps, atom_of, rounded
from skvae._table.cells import Cell
from skvae._table.kinds import KINDS, Bend, Continuous, FloatArray, logarithm_above
from skvae._table.levels import Levels
from skvae._table.marginals import NormalScores
from skvae._table.ranks import Ranks
from skvae._table.tables import ReadableRows

Flags = NDArray[np.bool_]

ATOM = "categorical"  # the kind of the cell that says which atom ...
GAP = "binary"  # ... and of that which says whether there is a value


class Facts:
    """All that there is to know of a column beside its name, as it reads where its codec has no such thing."""

    constant: float | None = None  # the only value or code; NaN if no value was ever observed
    levels: Levels | None = None
    atoms: tuple[float, ...] = ()  # single values that a number is not continuous at
    frequencies: tuple[float, ...] = ()  # shares of the codes, or of no atom and each atom, in training
    location: float = 0.0  # it is standardised by these, in data units or those of what its kind bends them to
    scale: float = 1.0
    n_values: int = 0  # that made location and scale
    normal_scores: NormalScores | None = None  # what standardised values are mapped through
    centre: float = 0.0  # robust location and scale in encoded units, for the encoder's eyes only
    width: float = 1.0
    mean: float = 0.0  # in encoded units
    low: float = -np.inf  # decoded numbers are kept within these (integers beyond 2**53 as such, exactly)
    high: float = np.inf
    step: float | None = None  # draws are multiples of it ...
    heaps: Heaps | None = None  # ... or one of these, if they lie around one
    ranks: Ranks | None = None  # what cells become that are drawn, if that was learned after training
    missing: float = 0.0  # share of its cells in training
    is_unique: bool = False  # whether it holds integers of which none repeats
    log_above: float | None = None  # its logarithm above this is standardised, although its kind asks for none


@dataclass(frozen=True, kw_only=True)
class Column(Facts):
    """One column; where its codec says nothing else it is outside the model.

    A codec reads the column from a `Table`, as the j-th, and has cells of its own in encoded rows.
    """

    name: Hashable
    dtype: frames.Dtype
    kind: str
    missing: float = 0.0

    @property
    def is_left_out(self) -> bool:
        """Whether it stands outside the model whatever its values."""
        return not KINDS[self.kind].is_modelled

    def cells(self, j: int) -> tuple[Cell, ...]:
        """What a model is told of its cells."""
        return ()

    def gap(self, j: int) -> tuple[Cell, ...]:
        """The cell that says whether the column is missing, if it sometimes is."""
        sometimes = 0.0 < self.missing < 1.0 and not self.is_left_out
        return (Cell(j, self.name, GAP, mean=self.missing, is_gap=True),) if sometimes else ()

    def check(self, table: ReadableRows, j: int) -> None:
        """Raise ValueError where a value lies outside the support of the column's kind."""

    def number_of(self, value: Any) -> float:
        """A single value as a number or code; NaN where no level stands for it."""
        return float(value) if self.levels is None else float(self.levels.code_of().get(value, np.nan))

    def read(self, table: ReadableRows, j: int) -> FloatArray:
        """Numbers, or the codes of levels, (n,); NaN where missing or unknown."""
        return table.numbers(j) if self.levels is None else self.levels.encode(*table.labels(j)[:2])

    def encode(self, table: ReadableRows, j: int, unknown: str) -> FloatArray:
        """Its cells of each row, (n, n_cells), NaN where missing. `unknown` is as in `TableSchema.encode`."""
        return np.empty((len(table), 0))

    def decode(self, cells: FloatArray) -> FloatArray:
        """Cells, such as draws, as values in data units or codes, (n,)."""
        return np.full(len(cells), self.constant, dtype=cells.dtype)

    def drawn(self, cells: FloatArray) -> FloatArray:
        """The same of draws of whole rows, which get the distribution that the column has in training."""
        return self.decode(cells)

    def expect(self, statistics: FloatArray) -> FloatArray:
        """The expectation in data units, (n,), or the probability of each code, (n, n_codes)."""
        return self.decode(statistics)

    def point(self, expectation: FloatArray) -> FloatArray:
        """One value or code of each row, (n,), from what `expect` gives."""
        return expectation

    def log_share(self, table: ReadableRows, j: int, unknown: str) -> FloatArray | float:
        """Log of the share that a value has of its code, (n,)."""
        return 0.0

    def surprises(self, table: ReadableRows, j: int, unknown: str) -> Flags | bool:
        """Which rows hold what has no density, (n,): another value than the only one, or a level that is new."""
        return False

    def share_of(self, value: float) -> float:
        """Share of a value or code among those observed in training; of what has a density, 1."""
        return 1.0

    def values(self, cells: FloatArray, random_state: np.random.RandomState | None = None) -> Any:
        """Numbers as they are; codes as a list of levels, drawn among those that share one, or the most frequent."""
        return cells if self.levels is None else self.levels.decode(cells, random_state)

    def format(self, container: str | None = None) -> frames.Format:
        """How it is written into a frame: one of fit's container, or of another."""
        dtype = self.dtype if container is None else frames.plain_dtype(self.dtype.family, container)
        low, high = (bound if isinstance(bound, int) else None for bound in (self.low, self.high))
        return frames.Format(self.name, dtype, self.levels, low, high, self.step if self.dtype.is_time else None)


@dataclass(frozen=True, kw_only=True)
class Constant(Column):
    """A column in which fit saw at most one value, which stands outside the model."""

    constant: float
    levels: Levels | None = None
    low: float = -np.inf
    high: float = np.inf

    def encode(self, table: ReadableRows, j: int, unknown: str) -> FloatArray:
        if self.levels is not None and unknown == "error":
            self.levels.refuse_unknown(*table.labels(j)[:2], self.name)
        return super().encode(table, j, unknown)

    def surprises(self, table: ReadableRows, j: int, unknown: str) -> Flags | bool:
        if self.levels is not None:
            return not self.levels.takes_in(unknown) and self.levels.is_unknown(*table.labels(j)[:2])
        if np.isnan(self.constant):
            return False
        value, slack = table.numbers(j), 0.0 if self.dtype.is_exact else 1e-6 * abs(self.constant)
        with np.errstate(over="ignore"):
            other: Flags = ~np.isnan(value) & (np.abs(value - self.constant) > slack)
        return other


@dataclass(frozen=True, kw_only=True)
class LeftOut(Column):
    """A column that is not modelled, whatever its values: it is missing in all that a model says of rows."""

    constant = float("nan")

    def values(self, cells: FloatArray, random_state: np.random.RandomState | None = None) -> Any:
        return [None] * len(cells)

    @staticmethod
    def fresh(n: int, random_state: np.random.RandomState) -> list[str]:
        """Text that tells n rows apart, of sixteen random digits: a training row has the same by no chance."""
        return [random_state.bytes(8).hex() for _ in range(n)]


@dataclass(frozen=True, kw_only=True)
class Coded(Column):
    """A column of levels; its cell holds their codes."""

    levels: Levels
    frequencies: tuple[float, ...]
    centre: float
    width: float
    mean: float

    def cells(self, j: int) -> tuple[Cell, ...]:
        return (Cell(j, self.name, self.kind, False, self.frequencies, self.centre, self.width, self.mean),)

    def encode(self, table: ReadableRows, j: int, unknown: str) -> FloatArray:
        codes, values, _ = table.labels(j)
        if unknown == "error":
            self.levels.refuse_unknown(codes, values, self.name)
        return self.levels.encode(codes, values, pool_unknown=unknown == "infrequent_if_exist")[:, np.newaxis]

    def decode(self, cells: FloatArray) -> FloatArray:
        return cells[:, 0]

    def expect(self, statistics: FloatArray) -> FloatArray:
        return statistics

    def point(self, expectation: FloatArray) -> FloatArray:
        return self.levels.most_probable(expectation)

    def share_of(self, value: float) -> float:
        code = min(int(value), self.levels.n_codes - 1)
        pooled = int(value) - self.levels.n_codes  # exact codes of pooled levels lie beyond
        return self.frequencies[code] * (self.levels.shares[pooled] if pooled >= 0 else 1.0)

    def log_share(self, table: ReadableRows, j: int, unknown: str) -> FloatArray | float:
        if not self.levels.pooled:
            return 0.0
        codes, values, _ = table.labels(j)
        return self.levels.log_share(codes, values, pool_unknown=unknown == "infrequent_if_exist")

    def surprises(self, table: ReadableRows, j: int, unknown: str) -> Flags | bool:
        return not self.levels.takes_in(unknown) and self.levels.is_unknown(*table.labels(j)[:2])


@dataclass(frozen=True, kw_only=True)
class Number(Column):
    """A number, or what its kind bends it to, standardised and then perhaps mapped to a normal score."""

    location: float
    scale: float
    n_values: int
    centre: float
    width: float
    mean: float
    normal_scores: NormalScores | None = None
    low: float = -np.inf
    high: float = np.inf
    step: float | None = None
    heaps: Heaps | None = None
    ranks: Ranks | None = None
    is_unique: bool = False
    log_above: float | None = None

    @property
    def is_bent(self) -> bool:
        """Whether encoding is more than (x - location) / scale."""
        return self._bend is not None or self.normal_scores is not None

    @property
    def _bend(self) -> Bend | None:
        return KINDS[self.kind].bend if self.log_above is None else logarithm_above(self.log_above)

    @property
    def log_unit(self) -> float:
        """Logarithm of the column's own unit, by which densities do not depend on that of the data.

        It is the standard deviation; of a bend the inverse of its slope at the location (where that is the logarithm,
        the geometric mean).
        """
        return math.log(self.scale) if self._bend is None else -float(self._bend.log_slope(np.array(self.location)))

    def cells(self, j: int) -> tuple[Cell, ...]:
        robust, units = (self.centre, self.width, self.mean), (self.location, self.scale)
        low, high = ((bound - self.location) / self.scale for bound in (self.low, self.high))
        way_back = (-np.inf, np.inf, self.back) if self.is_bent else (low, high, None)
        return (Cell(j, self.name, self.kind, False, (), *robust, *units, *way_back),)

    def check(self, table: ReadableRows, j: int) -> None:
        kind = KINDS[self.kind]
        if kind.accept is not Continuous.accept:
            kind.accept(self.dense(table.numbers(j), table.dtypes[j]), self.name)

    def share_of(self, value: float) -> float:
        if self.kind != GAP:
            return 1.0
        return self.mean if value == 1.0 else 1.0 - self.mean

    def encode(self, table: ReadableRows, j: int, unknown: str) -> FloatArray:
        return self.into(table.numbers(j))[:, np.newaxis]

    def decode(self, cells: FloatArray) -> FloatArray:
        return self._gathered(self.back(cells[:, -1]))

    def drawn(self, cells: FloatArray) -> FloatArray:
        return self.decode(cells) if self.ranks is None else self._gathered(self.ranks.told(cells[:, -1]))

    def _gathered(self, values: FloatArray) -> FloatArray:
        """Values as the column has them: multiples of its step, or heaps."""
        on_grid = values if self.step is None else rounded(values, self.step, self.atoms, self.low, self.high)
        return on_grid if self.heaps is None else self.heaps.gather(values, on_grid)

    def dense_cells(self, cells: FloatArray) -> FloatArray:
        """Those of drawn cells, (n, n_cells), that say a value which is no atom, (m,)."""
        return cells[:, -1]

    def expect(self, statistics: FloatArray) -> FloatArray:
        return np.clip(statistics[:, 0], self.low, self.high).astype(statistics.dtype)  # within but for rounding

    def log_scaling(self, *, relative: bool) -> float:
        """The part of the log-Jacobian that is the same for all values."""
        return float((self.log_unit if relative else 0.0) - np.log(self.scale))

    def log_jacobian(self, cells: FloatArray, *, relative: bool) -> FloatArray:
        """Log |d cell / dx| in nats, (n, n_cells); where `relative`, x is in the column's own units."""
        standardised, out = self._standardised(cells), np.full(cells.shape, self.log_scaling(relative=relative))
        if self.normal_scores is not None:
            out += self.normal_scores.log_slope(standardised)
        if self._bend is not None:
            out += self._bend.log_slope(standardised * self.scale + self.location)
        return out

    def into(self, values: FloatArray) -> FloatArray:
        """Values in encoded units, in float64."""
        values = values.astype(np.float64, copy=False)
        with np.errstate(over="ignore"):
            if self._bend is not None:  # an atom that cannot be bent becomes any number: it does not count
                bent = self._bend.into(values)
                values = np.where(np.isnan(bent) & ~np.isnan(values), self.location, bent)
            encoded = values - self.location
            encoded /= self.scale
            return encoded if self.normal_scores is None else self.normal_scores.encode(encoded)

    def _standardised(self, encoded: FloatArray) -> FloatArray:
        return encoded if self.normal_scores is None else self.normal_scores.decode(encoded)

    def back(self, encoded: FloatArray) -> FloatArray:
        """Inverse of `into` within the bounds, in the precision and shape of `encoded`."""
        with np.errstate(over="ignore"):
            values = self._standardised(encoded) * self.scale + self.location
            values = values if self._bend is None else self._bend.back(values)
        most = float(np.finfo(values.dtype).max)
        within: FloatArray = np.clip(values, max(float(self.low), -most), min(float(self.high), most))
        return within

    def dense(self, values: FloatArray, dtype: frames.Dtype) -> FloatArray:
        """Those of some values, held in a dtype, that are neither missing nor atoms."""
        return values[~np.isnan(values)]


@dataclass(frozen=True, kw_only=True)
class Atomic(Number):
    """A number in which single values have a probability of their own."""

    atoms: tuple[float, ...]
    frequencies: tuple[float, ...]

    def cells(self, j: int) -> tuple[Cell, ...]:
        return (Cell(j, self.name, ATOM, True, self.frequencies), *super().cells(j))

    def encode(self, table: ReadableRows, j: int, unknown: str) -> FloatArray:
        values = table.numbers(j)
        return np.column_stack([self.atom_of(values, table.dtypes[j]), self.into(values)])

    def decode(self, cells: FloatArray) -> FloatArray:
        return self._beside_atoms(cells, super().decode(cells))

    def drawn(self, cells: FloatArray) -> FloatArray:
        return self.decode(cells) if self.ranks is None else self._beside_atoms(cells, super().drawn(cells))

    def _beside_atoms(self, cells: FloatArray, values: FloatArray) -> FloatArray:
        """These values, and the atoms where cells say so."""
        which, atoms = cells[:, 0].astype(np.intp), np.array((np.nan, *self.atoms))
        return np.where(which > 0, atoms[which], values)

    def dense_cells(self, cells: FloatArray) -> FloatArray:
        dense: FloatArray = cells[cells[:, 0] == 0, -1]
        return dense

    def share_of(self, value: float) -> float:
        atom = int(atom_of(np.array([value]), self.atoms)[0])
        return self.frequencies[atom] if atom else 1.0

    def expect(self, statistics: FloatArray) -> FloatArray:
        values = statistics[:, -1] + statistics[:, 1:-1] @ np.array(self.atoms)
        ends = min(self.low, *self.atoms), max(self.high, *self.atoms)
        within: FloatArray = np.clip(values, *ends).astype(statistics.dtype)
        return within

    def log_jacobian(self, cells: FloatArray, *, relative: bool) -> FloatArray:
        out = np.zeros(cells.shape)
        out[:, 1:] = np.where(cells[:, :1] > 0, 0.0, super().log_jacobian(cells[:, 1:], relative=relative))
        return out

    def atom_of(self, values: FloatArray, dtype: frames.Dtype) -> FloatArray:
        """Which atom each value is (see `atoms.atom_of`), as exactly as the dtypes of fit and of the values can say."""
        return atom_of(values.astype(np.float64), self.atoms, max(self.dtype.rounding, dtype.rounding))

    def dense(self, values: FloatArray, dtype: frames.Dtype) -> FloatArray:
        dense: FloatArray = values[self.atom_of(values, dtype) == 0]
        return dense
