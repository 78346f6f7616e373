"""What holds of columns together, and how values keep it: what one says of others, and which cells are missing by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvae._table import frames
from skvae._table.atoms import to_multiples
from skvae._table.cells import Cells
from skvae._table.columns import Column, Number
from skvae._table.declared import Declared, Difference
from skvae._table.declaring import went_on
from skvae._table.kinds import FloatArray
from skvae._table.patterns import Rule, marks_of
from skvae._table.patterns import is_kept as rule_is_kept
from skvae._table.relations import PairRelation, Relation, pair_is_kept
from skvae._table.relations import is_kept as relation_is_kept
from skvae._table.tables import Table

Redrawn = Callable[[NDArray[np.intp]], FloatArray]

CLOSE = 1e-12  # relative, within which a sum of multiples of a step is one
REDRAWS = 20  # of rows that break a rule


class Together:
    """The part of a `TableSchema` that looks at more than one column.

    `rules` say where cells of one are missing by another, `marks` which columns go with that, `relations` what one
    column makes of another, `pairs` what two make of a third, and `declared` is what the user knows of them.
    """

    container: str
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...]
    relations: tuple[Relation, ...]
    pairs: tuple[PairRelation, ...]
    declared: Declared | None
    marks: tuple[int, ...]

    @property
    def cells(self) -> Cells:
        """The cells of an encoded row."""
        raise NotImplementedError("a schema has them")

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Columns that the model sees as differences to others."""
        return () if self.declared is None else self.declared.differences

    @property
    def as_differences(self) -> set[int]:
        """The places of these columns."""
        return {one.target for one in self.differences}

    def tied(self, j: int) -> tuple[int, ...]:
        """Column j and all that are tied to it by differences."""
        out, pairs = {j}, [{one.target, one.base} for one in self.differences]
        for _ in pairs:
            out |= {k for pair in pairs if pair & out for k in pair}
        return tuple(sorted(out))

    @cached_property
    def both_ways(self) -> tuple[Relation, ...]:
        """The relations, and the inverses of those that have one, first."""
        inverses = (relation.inverse for relation in self.relations)
        return (*(inverse for inverse in inverses if inverse is not None), *self.relations)

    def still_kept(self, table: Table) -> dict[str, Any]:
        """What of this further rows keep, too, by the name of the field; training goes on.

        What was learned of the draws of the model as it was is left out. ValueError where the rows break what the user
        declared.
        """
        return {
            "rules": tuple(own for own in self.rules if rule_is_kept(own, table, self.columns)),
            "relations": tuple(own for own in self.relations if relation_is_kept(own, table, self.columns)),
            "pairs": tuple(own for own in self.pairs if pair_is_kept(own, table, self.columns)),
            "declared": self.declared and went_on(self.declared, table, self.columns),
            "columns": tuple(replace(own, ranks=None) if isinstance(own, Number) else own for own in self.columns),
        }

    def related(self, values: FloatArray) -> FloatArray:
        """Values and codes that were drawn, (n, p), with what the relations say."""
        out = values.copy() if self.relations or self.pairs else values
        for relation in self.relations:
            told = relation.told(values[:, relation.source])
            out[:, relation.target] = np.where(np.isnan(told), out[:, relation.target], told)
        for pair in self.pairs:
            told = pair.told(*(out[:, j] for j in pair.sources))
            out[:, pair.target] = np.where(np.isnan(told), out[:, pair.target], told)
        return out

    def whole(self, values: FloatArray, known: FloatArray | None = None) -> FloatArray:
        """Values and codes as the model has them, (n, p), with columns in place of their differences to others.

        Those that are `known` (n, p), not NaN, are taken as they are.
        """
        if self.declared is None:
            return values
        out = self.declared.whole(values, known)
        for one in self.differences:
            step, own = self.columns[one.target].step, out[:, one.target]
            if step is not None:  # both are multiples of it, but for rounding
                near = to_multiples(own, step)
                out[:, one.target] = np.where(np.isclose(near, own, rtol=CLOSE, atol=0.0), near, own)
        return out

    def settled(self, values: FloatArray, fixed: NDArray[np.bool_], redrawn: Redrawn | None = None) -> FloatArray:
        """Values and codes of rows, (n, p), that keep what was declared; what is `fixed` (n, p) stays as it is.

        Rows that do not are `redrawn` some times, and those that still do not are mended.

        Parameters
        ----------
        values : ndarray of shape (n, p)
        fixed : ndarray of bool of shape (n, p)
        redrawn : function, optional
            From places of rows, (m,), to other values for these, (m, p), the fixed ones as they are.
        """
        declared = self.declared
        if declared is None:
            return values
        out = declared.derived(self._in_whole_numbers(values, fixed), fixed)
        broken = np.flatnonzero(declared.broken(out))
        for _ in range(REDRAWS if redrawn is not None else 0):
            if not len(broken):
                break
            assert redrawn is not None
            again = self._in_whole_numbers(redrawn(broken), fixed[broken])
            out[broken] = declared.derived(again, fixed[broken])
            broken = broken[declared.broken(out[broken])]
        return declared.mended(out, fixed)

    def _in_whole_numbers(self, values: FloatArray, fixed: NDArray[np.bool_]) -> FloatArray:
        """The same with numbers of which rules speak rounded where their dtype is one of integers."""
        assert self.declared is not None
        whole = [
            j for j in self.declared.columns if self.columns[j].dtype.is_integer and self.columns[j].levels is None
        ]
        if whole and self.container != frames.NUMPY:
            values = values.copy()
            values[:, whole] = np.where(fixed[:, whole], values[:, whole], np.rint(values[:, whole]))
        return values

    def ruled(self, values: FloatArray, holes: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which cells are missing, (n, p), once the rules have their say, of drawn values and drawn holes (n, p)."""
        if not self.rules:
            return holes
        holes = np.array(np.broadcast_to(holes, values.shape))
        for rule in self.rules:
            rule.apply(values, holes)
        return holes

    def reach(self, j: int) -> tuple[float, float]:
        """From where to where the numbers or codes of column j go in draws, atoms included."""
        column, extents = self.columns[j], {} if self.declared is None else self.declared.extents
        if j in extents:
            return extents[j]
        ends = [*column.atoms, column.low, column.high] if column.levels is None else [0, column.levels.n_codes - 1]
        return min(ends), max(ends)

    @property
    def mark_cells(self) -> list[int]:
        """The cells that hold the marks, in their order."""
        place = {cell.column: i for i, cell in reversed([*enumerate(self.cells)]) if not cell.is_gap}
        atoms = {cell.column: i for i, cell in enumerate(self.cells) if cell.is_atom}
        return [(place | atoms)[j] for j in self.marks]

    def marked(self, values: FloatArray) -> FloatArray:
        """The marks of rows, (n, s), from values and codes (n, p)."""
        return np.stack([marks_of(self.columns[j], values[:, j]) for j in self.marks], axis=1)
