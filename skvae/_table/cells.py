"""The cells of an encoded row: what a model is told of each, and how it gets back to data units."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from skvae._table.kinds import FloatArray

Bend = Callable[[FloatArray], FloatArray]


class Cell(NamedTuple):
    """One cell: its column, its kind, the shares of its codes in training where it holds any, and its units.

    A gap says whether the column is missing (1) or not; it is never missing itself, unless nothing is asked of it.
    `centre` and `width` are its robust location and scale, for the encoder's eyes only, and `mean` is its mean. In data
    units it is location + scale * x with x kept from `low` to `high`, or what `bend` makes of x.
    """

    column: int
    name: Hashable
    kind: str
    is_atom: bool = False
    frequencies: tuple[float, ...] = ()
    centre: float = 0.0
    width: float = 1.0
    mean: float = 0.0
    location: float = 0.0
    scale: float = 1.0
    low: float = -np.inf
    high: float = np.inf
    bend: Bend | None = None
    is_gap: bool = False

    @property
    def n_codes(self) -> int:
        """How many codes it may hold; 0 for a number."""
        return len(self.frequencies)


class Units(NamedTuple):
    """From encoded cells to data units: location + scale * x with x kept within bounds, or bent by a function."""

    location: FloatArray  # (n_cells,)
    scale: FloatArray  # (n_cells,)
    low: FloatArray  # (n_cells,), encoded
    high: FloatArray  # (n_cells,), encoded
    bends: tuple[Bend | None, ...]  # n_cells


class Cells(tuple[Cell, ...]):
    """The cells of an encoded row; in the order of the columns an atom stands before its value."""

    def of(self, attribute: str) -> FloatArray:
        """One number of each cell."""
        return np.array([getattr(cell, attribute) for cell in self], dtype=np.float64)

    @property
    def frequencies(self) -> tuple[tuple[float, ...] | None, ...]:
        """Shares of the codes of each cell, None for numbers."""
        return tuple(cell.frequencies or None for cell in self)

    @property
    def n_levels(self) -> int:
        """Levels of all cells together; atoms have none."""
        return sum(cell.n_codes for cell in self if not cell.is_atom)

    @property
    def gates(self) -> tuple[tuple[int, int], ...]:
        """Pairs (value, atom) of cells: the value counts only where the other is 0, for no atom."""
        values = {cell.column: i for i, cell in enumerate(self) if not (cell.is_atom or cell.is_gap)}
        return tuple((values[cell.column], i) for i, cell in enumerate(self) if cell.is_atom)

    @cached_property
    def gaps(self) -> dict[int, int]:
        """Where the gap of each column stands that has one."""
        return {cell.column: i for i, cell in enumerate(self) if cell.is_gap}

    @cached_property
    def units(self) -> Units:
        """From encoded cells to data units, bounds included."""
        location, scale, low, high = map(self.of, ("location", "scale", "low", "high"))
        return Units(location, scale, low, high, tuple(cell.bend for cell in self))
