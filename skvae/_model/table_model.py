"""The fitted model of a table: what the schema and the engine say together."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from skvae import _engine
from skvae._model.reading import warn_of_constants
from skvae._sklearn import drawn_seed
from skvae._table import frames, tables
from skvae._table.schema import TableSchema
from skvae._table.tables import ReadableRows, Table

if TYPE_CHECKING:
    from skvae._engine.engine import AutoencoderEngine, Engine
    from skvae._engine.scoring import SamplingError
    from skvae._engine.vae import VAEEngine

Numbers = NDArray[np.floating]
EngineT = TypeVar("EngineT", bound="Engine[Any]")


@dataclass(frozen=True)
class TableModel(Generic[EngineT]):
    """A schema and an engine: rows of a `Table` in, answers in data units out.

    Values of a table are an array of shape (n, p): numbers in data units, and the codes of levels.

    Parameters
    ----------
    schema : TableSchema
    engine : Engine
    unknown : {"unlikely", "missing", "error", "infrequent_if_exist"}
        What a level is that fit did not see.
    n_draws : int
        Draws of z per row by which a density is estimated.
    is_informative : bool
        Whether it counts which cells are missing, beside the values of the others.
    """

    schema: TableSchema
    engine: EngineT
    unknown: str = "unlikely"
    n_draws: int = 1
    is_informative: bool = False

    def copied(self) -> TableModel[EngineT]:
        """A model that can be trained while this one stays as it is."""
        return replace(self, engine=copy.deepcopy(self.engine))

    def going_on(self, table: Table) -> TableModel[EngineT]:
        """A copy that is to be trained on further rows, without the rules that these break."""
        return replace(self.copied(), schema=self.schema.kept_by(table))

    # -- rows to codes and back ----------------------------------------------------------------------------------------

    def encode(self, table: ReadableRows) -> Numbers:
        """What the engine reads of rows, (n, n_cells), in their own precision."""
        return self.schema.encode(table, table.dtype, unknown=self.unknown, gaps=self.is_informative)

    def encode_to_train(self, table: ReadableRows) -> Any:
        """The same in float32, which the engine may take over; a CSR matrix where X is one."""
        if table.is_sparse:
            return self.schema.encode_sparse(table)
        return self.schema.encode(table, np.float32, unknown=self.unknown, gaps=True)

    def over(self, table: ReadableRows, answer: Callable[[Numbers], Numbers]) -> Numbers:
        """An answer to encoded rows, a part of the table at a time."""
        return _stacked(len(table), (answer(self.encode(part)) for part in table.slices()))

    def codes(self, table: ReadableRows) -> Numbers:
        """Codes of rows, (n, k)."""
        return self.over(table, self.engine.encode)

    def decoded(self, z: Numbers, known: Numbers | None = None) -> Numbers:
        """The values expected of codes (n, k): means, and the most probable levels; those `known` (n, p) are these."""
        units = self.schema.cells.units
        parts = (self.schema.point(self.schema.expect(self.engine.decode(part, units))) for part in self._parts(z))
        values = self.schema.whole(_stacked(len(z), parts), known)
        if known is None:
            return self.schema.settled(values, np.zeros(values.shape, dtype=bool))
        return self.schema.settled(np.where(np.isnan(known), values, known), ~np.isnan(known))

    def reconstructed(self, table: ReadableRows) -> Numbers:
        """The values expected of the codes of rows."""
        return self.over(table, lambda cells: self.decoded(self.engine.encode(cells)))

    def correction(self, table: ReadableRows, cells: Numbers, *, is_density: bool, relative: bool = False) -> Numbers:
        """What leads from bounds of encoded rows to those of the rows, by column, (n, p), in nats."""
        if is_density:
            return self.schema.log_correction(table, cells, unknown=self.unknown, relative=relative)
        return self.schema.log_shares(table, unknown=self.unknown)

    def negative_error(self: TableModel[AutoencoderEngine], table: ReadableRows) -> NDArray[np.float64]:
        """Minus the reconstruction error of rows, (n,), and the costs of what fit did not see."""
        shares = [self.schema.log_shares(part, unknown=self.unknown).sum(axis=1) for part in table.slices()]
        scores: NDArray[np.float64] = self.over(table, self.engine.score) + np.concatenate(shares)
        return scores

    def column_at_fault(self, cells: Numbers) -> Hashable:
        """The name of the column that the last weights in training fit worst."""
        return self.schema.cells[self.engine.column_at_fault(cells)].name

    # -- of a variational autoencoder ----------------------------------------------------------------------------------

    def posterior(self: TableModel[VAEEngine], table: ReadableRows) -> tuple[Numbers, Numbers]:
        """Mean and standard deviation of q(z|x), each of shape (n, k)."""
        means, stds = zip(*(self.engine.posterior(self.encode(part)) for part in table.slices()), strict=True)
        return np.concatenate(means), np.concatenate(stds)

    def log_density(
        self: TableModel[VAEEngine], table: ReadableRows, *, relative: bool = False, trained_on: bool = False
    ) -> NDArray[np.float64]:
        """Log p(x_observed) of rows, (n,), in nats and data units, or where `relative` in the columns' own units.

        Rows that the model was `trained_on` are no exemplars to themselves. Warns of columns that were constant in fit
        and are no longer.
        """
        scores, surprising = [], np.zeros(len(self.schema.columns), dtype=bool)
        for part in table.slices():
            cells = self.encode(part)
            density = self.engine.log_likelihood(cells, self.n_draws, trained_on=trained_on)
            correction = self.correction(part, cells, is_density=True, relative=relative)
            scores.append(density + correction.sum(axis=1))
            surprising |= self.schema.surprises(part, unknown=self.unknown).any(axis=0)
        warn_of_constants(self.schema, surprising)
        return np.concatenate(scores)

    def sampling_error(self: TableModel[VAEEngine], table: ReadableRows, *, trained_on: bool = False) -> SamplingError:
        """What is known of the error of `log_density`."""
        ask = self.engine.sampling_error
        parts = [ask(self.encode(part), self.n_draws, trained_on=trained_on) for part in table.slices()]
        return _engine.scoring.SamplingError(*map(np.concatenate, zip(*parts, strict=True)))

    def cells(self, values: Numbers, j: int, random_state: np.random.RandomState | None = None) -> Any:
        """Values (n,) of column j as fit had them: numbers of its dtype, or a list of levels.

        Among levels that share a code `random_state` draws; without it the most frequent is taken.
        """
        column = self.schema.columns[j]
        cells = column.values(values, random_state)
        is_plain = isinstance(cells, list) or self.schema.container == frames.NUMPY
        return cells if is_plain else frames.held(cells, column.format())

    def drawn(
        self: TableModel[VAEEngine], z: Numbers, seed: int, known: Numbers | None = None, *, ranked: bool = False
    ) -> Numbers:
        """Values drawn given codes (n, k); those that are `known` (n, p), not NaN, are these.

        Numbers are as the model has them, or where `ranked` have the ranks of the training rows.
        """
        parts, back = enumerate(self._parts(z)), self.schema.drawn if ranked else self.schema.decode
        values = _stacked(len(z), (back(self.engine.sample(part, seed + i)) for i, part in parts))
        values = self.schema.whole(values, known)
        if known is None:
            return self.schema.related(values)
        return np.where(np.isnan(known), self.schema.related(np.where(np.isnan(known), values, known)), known)

    def drawn_by_rules(
        self: TableModel[VAEEngine],
        z: Numbers,
        random_state: np.random.RandomState,
        known: Numbers | None,
        *,
        ranked: bool,
    ) -> Numbers:
        """The same, redrawn given the same codes where a row breaks a rule that was declared."""
        values = self.drawn(z, drawn_seed(random_state), known, ranked=ranked)
        if self.schema.declared is None:
            return values

        def redrawn(rows: NDArray[np.intp]) -> Numbers:
            some = None if known is None else known[rows]
            return self.drawn(z[rows], drawn_seed(random_state), some, ranked=ranked)

        return self.schema.settled(values, np.zeros(values.shape, bool) if known is None else ~np.isnan(known), redrawn)

    def _parts(self, z: Numbers) -> Iterator[Numbers]:
        """Codes in consecutive parts, of which the rows are a slice's worth."""
        size = max(1, tables.SLICE_CELLS // max(len(self.schema.cells), len(self.schema.columns)))
        return (z[start : start + size] for start in range(0, max(len(z), 1), size))


def _stacked(n: int, parts: Iterator[Numbers]) -> Numbers:
    """Parts of n rows in one array, of which there is never a second copy."""
    first = next(parts)
    if len(first) == n:
        return first
    out = np.empty((n, *first.shape[1:]), dtype=first.dtype)
    out[: len(first)], start = first, len(first)
    for part in parts:
        out[start : start + len(part)], start = part, start + len(part)
    return out


VAEModel: TypeAlias = "TableModel[VAEEngine]"
AnyModel = TableModel[Any]
