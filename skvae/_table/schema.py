"""The schema of a table: what fit learned about its columns, frozen, and the arithmetic over all of them.

What is done with one column is its codec's affair (`skvae._table.columns`); here rows are cut into the cells of each.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvae._table import frames
from skvae._table.atoms import Heaps
from skvae._table.cells import Cell, Cells, Units  # noqa: F401 (pickles of earlier versions look here for them)
from skvae._table.columns import Atomic, Coded, Column, Constant, LeftOut, Number
from skvae._table.declared import Declared
from skvae._table.kinds import KINDS, FloatArray
from skvae._table.levels import Levels
from skvae._table.marginals import NormalScores
from skvae._table.patterns import Rule
from skvae._table.ranks import Ranks
from skvae._table.relations import PairRelation, Relation
from skvae._table.summary import as_html, as_text, summary
from skvae._table.tables import ReadableRows, Table
from skvae._table.together import Together

Index = slice | list[int]

MADE: dict[str, Any]  # facts saved as tuples
MADE = {"levels": Levels, "normal_scores": NormalScores, "heaps": Heaps, "ranks": Ranks}
LARGEST = {np.dtype(np.float32): 1e15, np.dtype(np.float64): 1e100}  # standardised cells beyond would overflow squared


@dataclass(frozen=True, repr=False)
class TableSchema(Together):
    """All columns of a table, its container, the number of training rows, and what `frames.header_of` says.

    `order` says how the cells of an encoded row stand, of those in the order of the columns; None for just so. Where it
    `has_gaps`, a cell more says of each column that is sometimes missing whether it is; these stand last. `rules` say
    where it always is, or never. Of `relations` each says of a column what another makes of it. What was
    `declared` of columns holds, too; some of them the model then sees as differences. `marks` are columns
    that cells are missing by.
    """

    container: str
    columns: tuple[Column, ...]
    n_rows: int
    header: frames.Header | None = None
    order: tuple[int, ...] | None = field(default=None, repr=False)
    has_gaps: bool = False
    rules: tuple[Rule, ...] = ()
    relations: tuple[Relation, ...] = ()
    declared: Declared | None = None
    marks: tuple[int, ...] = ()
    pairs: tuple[PairRelation, ...] = ()

    # -- for people ----------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        head = f"TableSchema of {len(self.columns)} columns and {self.n_rows} rows ({self.container})"
        return f"{head}\n{as_text(self._summary)}"

    def _repr_html_(self) -> str:
        return as_html(self._summary)

    @property
    def _summary(self) -> Any:
        return self.summary({}, ()).drop(columns="likelihood")

    def summary(self, likelihoods: Mapping[int, str], asked: Container[int]) -> Any:
        """A row for each column (`summary.summary`)."""
        sources = {relation.target: [self.columns[relation.source].name] for relation in self.relations}
        sources |= {pair.target: [self.columns[j].name for j in pair.sources] for pair in self.pairs}
        bases = {one.target: self.columns[one.base].name for one in self.differences}
        return summary(self.columns, self.container, likelihoods, asked, sources, bases, self.reach)

    # -- which cells there are -----------------------------------------------------------------------------------------

    @cached_property
    def cells(self) -> Cells:
        """The cells of an encoded row."""
        cells = [cell for j, column in enumerate(self.columns) for cell in column.cells(j)]
        gaps = [cell for j, column in enumerate(self.columns) for cell in column.gap(j)] if self.has_gaps else []
        return Cells([*(cells if self.order is None else [cells[i] for i in self.order]), *gaps])

    @property
    def in_order_of_columns(self) -> tuple[int, ...]:
        """Where the cells stand that belong to the first column, to the second, and so on; without gaps."""
        order = range(len(self.cells) - len(self.cells.gaps)) if self.order is None else self.order
        return tuple(np.argsort(order).tolist())

    @cached_property
    def _places(self) -> list[Index]:
        """Where the cells of each column stand among all."""
        return self._by_columns([1] * len(self.cells))

    def of_column(self, cells: FloatArray, j: int) -> FloatArray:
        """Those of encoded cells, (n, n_cells), that are column j's."""
        return cells[:, self._places[j]]

    @cached_property
    def _spans(self) -> list[Index]:
        """Where the statistics of each column's cells stand: one mean, or one probability per code."""
        return self._by_columns([max(cell.n_codes, 1) for cell in self.cells])

    def _by_columns(self, widths: list[int]) -> list[Index]:
        """For each column the places that its cells have, where each cell has so many."""
        ends, own = list(itertools.accumulate(widths)), [list[int]() for _ in self.columns]
        for i in self.in_order_of_columns:
            own[self.cells[i].column] += range(ends[i] - widths[i], ends[i])
        return [_index(places) for places in own]

    def by_column(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Sum what belongs to cells, (n, n_cells), over the cells of each column, (n, p); of flags, whether one is."""
        if [cell.column for cell in self.cells] == list(range(len(self.columns))):
            return cells
        out = np.zeros((len(cells), len(self.columns)), dtype=cells.dtype)
        for i, cell in enumerate(self.cells):
            out[:, cell.column] += cells[:, i]
        return out

    # -- into the model ------------------------------------------------------------------------------------------------

    def encode(
        self, table: ReadableRows, dtype: Any = np.float64, *, unknown: str = "missing", gaps: bool = False
    ) -> FloatArray:
        """Encoded cells, finite, or NaN where missing.

        Parameters
        ----------
        table : Table or LooseRows
        dtype : numpy dtype
            Of the result; the arithmetic is in float64.
        unknown : {"unlikely", "missing", "error", "infrequent_if_exist"}
            What a level is that fit did not see; in the cells it is missing with both of the first two.
        gaps : bool
            Whether the cells that say what is missing do so; else they are NaN, and nothing is asked of them.

        Returns
        -------
        ndarray of shape (n, n_cells)
        """
        table = self._with_differences(table)
        for j, column in enumerate(self.columns):
            column.check(table, j)
        out = np.empty((len(table), len(self.cells)), dtype=dtype)
        limit = LARGEST[np.dtype(np.float32) if np.float32 in (table.dtype, dtype) else np.dtype(np.float64)]
        at_once = {} if table.is_frame or self.differences else self._plain
        if at_once:
            place = {cell.column: i for i, cell in enumerate(self.cells) if not cell.is_gap}
            places, start = [place[j] for j in at_once], 0
            for part in table.slices():  # in double precision, of which a part has to do
                values = self._standardised(part, at_once)
                out[start : start + len(part), places] = np.clip(values, -limit, limit, out=values)
                start += len(part)
        for j, column in enumerate(self.columns):
            if j not in at_once:
                own = column.encode(table, j, unknown)
                out[:, self._places[j]] = np.clip(own, -limit, limit, out=own)
        for j, place_of_gap in self.cells.gaps.items():
            out[:, place_of_gap] = table.missing_in(j) if gaps else np.nan
        return out

    def _with_differences(self, table: ReadableRows) -> ReadableRows:
        """The same rows, of which some columns are read as the model sees them."""
        return table.as_differences(self.differences) if self.differences else table

    @cached_property
    def _plain(self) -> dict[int, Number]:
        """Columns whose cell is (x - location) / scale and no more."""
        return {j: column for j, column in enumerate(self.columns) if type(column) is Number and not column.is_bent}

    def _standardised(self, table: ReadableRows, columns: Mapping[int, Number]) -> FloatArray:
        """Such columns of an array or a sparse matrix at once, (n, m) in float64."""
        some = table.X[:, list(columns)]
        values: FloatArray = (some.toarray() if table.is_sparse else some).astype(np.float64, copy=False)
        with np.errstate(over="ignore"):
            values -= np.array([column.location for column in columns.values()])
            values /= np.array([column.scale for column in columns.values()])
        return values

    def encode_sparse(self, table: ReadableRows) -> Any:
        """Encoded cells as a CSR matrix, from columns that are left as they are (bits and counts)."""
        for j, column in enumerate(self.columns):
            column.check(table, j)
        return table.X[:, [cell.column for cell in self.cells]].astype(np.float32)

    # -- densities -----------------------------------------------------------------------------------------------------

    def log_correction(
        self, table: ReadableRows, encoded: FloatArray, *, unknown: str = "unlikely", relative: bool = False
    ) -> FloatArray:
        """What turns log-densities of encoded cells into those of the rows, summed by column, shape (n, p), in nats.

        The log-Jacobian, the log-share of a pooled level among those that share its code, and minus `surprise` for
        what fit did not see.

        Parameters
        ----------
        table : Table or LooseRows
        encoded : ndarray of shape (n, n_cells)
            The same rows, from `encode`.
        unknown : {"unlikely", "missing", "error", "infrequent_if_exist"}
        relative : bool
            Whether columns are taken in their own units (`Number.log_unit`), so that rows compare in the same way
            whatever the units of X: also those with different cells missing, or with atoms.
        """
        jacobian = self.by_column(self.log_jacobian(encoded, relative=relative))
        return jacobian + self.log_shares(table, unknown=unknown)

    def log_jacobian(self, encoded: FloatArray, *, relative: bool = False) -> FloatArray:
        """Log |d encoded / dx| of each cell, shape (n, n_cells), in nats; 0 where it is missing, a code or an atom.

        Where `relative`, x is in the columns' own units.
        """
        out, at_once = np.zeros(encoded.shape), np.zeros(len(self.cells))
        for j, number in self._plain.items():
            at_once[self._places[j]] = number.log_scaling(relative=relative)
        out += at_once
        for j, column in enumerate(self.columns):
            if isinstance(column, Number) and j not in self._plain:
                out[:, self._places[j]] = column.log_jacobian(encoded[:, self._places[j]], relative=relative)
        out[np.isnan(encoded)] = 0.0
        return out

    def log_shares(self, table: ReadableRows, *, unknown: str = "unlikely") -> FloatArray:
        """The part of `log_correction` that codes do not say, shape (n, p), in nats: pooled levels and what is new."""
        out = -self.surprise * self.surprises(table, unknown=unknown)
        for j, column in self._discrete.items():
            out[:, j] += column.log_share(table, j, unknown)
        return out

    def surprises(self, table: ReadableRows, *, unknown: str = "unlikely") -> NDArray[np.bool_]:
        """Which cells hold what has no density, shape (n, p): in constant columns another number, elsewhere a level.

        A level that fit did not see is none where `unknown` takes it for missing or for a rare one. Columns in which
        fit saw no value surprise nobody.
        """
        table, out = self._with_differences(table), np.zeros((len(table), len(self.columns)), dtype=bool)
        for j, column in self._discrete.items():
            out[:, j] = column.surprises(table, j, unknown)
        return out

    @cached_property
    def _discrete(self) -> dict[int, Column]:
        """Columns that have no density, so that what fit did not see may come up in them."""
        return {j: column for j, column in enumerate(self.columns) if not isinstance(column, Number)}

    @property
    def surprise(self) -> float:
        """Nats that a cell costs which holds what fit did not see: log(n + 2).

        By Laplace's rule of succession a value not seen in n rows has probability 1 / (n + 2).
        """
        return float(np.log(self.n_rows + 2))

    # -- and back ------------------------------------------------------------------------------------------------------

    def decode(self, cells: FloatArray) -> FloatArray:
        """Encoded cells, such as draws, in data units: shape (n, p), codes for levels, constants filled in."""
        return self._over_columns(cells, [column.decode for column in self.columns])

    def drawn(self, cells: FloatArray) -> FloatArray:
        """The same of draws of whole rows, whose numbers are given the ranks that those of the training rows have."""
        return self._over_columns(cells, [column.drawn for column in self.columns])

    def _over_columns(self, cells: FloatArray, each: Sequence[Callable[[FloatArray], FloatArray]]) -> FloatArray:
        """What a function for each column makes of its cells, (n, p)."""
        out = np.empty((len(cells), len(self.columns)), dtype=cells.dtype)
        for j, of in enumerate(each):
            out[:, j] = of(cells[:, self._places[j]])
        return out

    def expect(self, statistics: FloatArray) -> list[FloatArray]:
        """The expectation of each column in data units: (n,) for numbers, (n, n_codes) probabilities for levels.

        Parameters
        ----------
        statistics : ndarray of shape (n, n_statistics)
            Of each cell its mean in data units, where the column has atoms E[x 1(x is no atom)], or the probability of
            each of its codes: what an engine makes of `cells.units`.
        """
        return [column.expect(statistics[:, own]) for column, own in zip(self.columns, self._spans, strict=True)]

    def point(self, expectations: Sequence[FloatArray]) -> FloatArray:
        """One value per cell, (n, p), from what `expect` gives: the mean, or the code of the most probable level."""
        each = zip(self.columns, expectations, strict=True)
        return np.column_stack([column.point(expectation) for column, expectation in each])

    def restore(self, X: FloatArray, random_state: np.random.RandomState | None = None, *, fresh: bool = False) -> Any:
        """Values and codes, (n, p), in the container of fit, with its names and dtypes.

        `random_state` draws among levels that share a code; without it the most frequent is taken. Where `fresh` it
        draws identifiers, too, which are missing else.
        """
        is_frame = self.container != frames.NUMPY
        if not is_frame and all(column.levels is None for column in self.columns):
            return X
        columns = [
            column.fresh(len(X), random_state)
            if fresh and random_state is not None and isinstance(column, LeftOut)
            else column.values(X[:, j], random_state)
            for j, column in enumerate(self.columns)
        ]
        if is_frame:
            return frames.to_frame(columns, self.container, [column.format() for column in self.columns], self.header)
        return np.column_stack([np.array(column, dtype=X.dtype) for column in columns])

    def kept_by(self, table: Table) -> TableSchema:
        """The same for further rows, with what they keep, too, of what holds of columns together."""
        return replace(self, **self.still_kept(table))

    # -- persistence ---------------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Also from an earlier version, in which all columns were of one class."""
        columns = tuple(_column(vars(own)) if type(own) is Column else own for own in state["columns"])
        later: dict[str, Any] = {"order": None, "has_gaps": False, "declared": None}
        later |= dict.fromkeys(("rules", "relations", "marks", "pairs"), ())
        self.__dict__.update(later | state, columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain Python data, for persistence."""
        return {
            "container": self.container,
            "columns": [_plain_facts(column) for column in self.columns],
            "n_rows": self.n_rows,
            "header": self.header,
            "order": self.order,
            "has_gaps": self.has_gaps,
            "rules": tuple(map(tuple, self.rules)),
            "relations": tuple(map(tuple, self.relations)),
            "declared": self.declared and self.declared.plain(),
            "marks": self.marks,
            "pairs": tuple(map(tuple, self.pairs)),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TableSchema:
        """Inverse of `to_dict`; of earlier versions, too, which have facts of all codecs in each column."""
        columns, has_gaps = tuple(map(_column, data["columns"])), data.get("has_gaps", False)
        header, order = (_tuples(data.get(name)) for name in ("header", "order"))
        rules = tuple(Rule(*rule) for rule in data.get("rules", ()))
        relations = tuple(Relation(*_tuples(own)) for own in data.get("relations", ()))
        declared = data.get("declared") and Declared.of_plain(_tuples(data["declared"]))
        return cls(
            data["container"],
            columns,
            data["n_rows"],
            header,
            order,
            has_gaps,
            rules,
            relations,
            declared,
            tuple(data.get("marks", ())),
            tuple(PairRelation(*_tuples(own)) for own in data.get("pairs", ())),
        )


def _index(places: list[int]) -> Index:
    """The same as a slice where it is one, which needs no copy."""
    first, last = (places[0], places[-1] + 1) if places else (0, 0)
    return slice(first, last) if places == list(range(first, last)) else places


def _plain_facts(column: Column) -> dict[str, Any]:
    return {field.name: _plain(getattr(column, field.name)) for field in fields(column)}


def _plain(value: Any) -> Any:
    if isinstance(value, frames.Dtype):
        return str(value)
    return tuple(value) if type(value) in MADE.values() else value


def _column(data: Mapping[str, Any]) -> Column:
    facts = {name: _tuples(value) for name, value in data.items()}
    facts["dtype"] = frames.Dtype.read(facts["dtype"])
    for name, make in MADE.items():
        if facts.get(name) is not None:
            facts[name] = make(*facts[name])
    codec = _codec_of(facts)
    return codec(**{field.name: facts[field.name] for field in fields(codec) if field.name in facts})


def _codec_of(facts: Mapping[str, Any]) -> type[Column]:
    if not KINDS[facts["kind"]].is_modelled:
        return LeftOut
    if facts.get("constant") is not None:
        return Constant
    if facts.get("levels") is not None:
        return Coded
    return Atomic if facts.get("atoms") else Number


def _tuples(data: Any) -> Any:
    """Lists, such as JSON makes of tuples, as tuples again, inner ones too."""
    return tuple(_tuples(part) for part in data) if isinstance(data, list | tuple) else data
