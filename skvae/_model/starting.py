"""How a model begins: the schema that the rows show, and an engine at its start values."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skvae import _engine
from skvae._model.auto import NUMBERS, blocks_of, column_likelihoods, components, layer_sizes, of_numbers
from skvae._model.reading import Weighted
from skvae._model.settings import Settings
from skvae._model.table_model import TableModel
from skvae._model.texts import identifiers, warn_of_texts
from skvae._table import frames
from skvae._table.declaring import declare, differences, read_rules, unpooled
from skvae._table.inference import infer_schema
from skvae._table.kinds import KINDS, keeps_zeros, weighted_quantiles
from skvae._table.patterns import find_marks, find_rules
from skvae._table.relations import find_pairs, find_relations
from skvae._table.schema import TableSchema
from skvae._table.tables import Table

if TYPE_CHECKING:
    from skvae._engine.build import Kinds, ModelSpec
    from skvae._engine.engine import Engine

PROBABILITIES = tuple(np.linspace(0.0, 1.0, 65).tolist())  # of the quantiles that modes may start at ...
QUANTILE_ROWS = 10_000  # ... which are those of so many rows at most

Blocks = tuple[tuple[Any, tuple[int, ...]], ...]  # likelihoods, and the cells that each serves


class Columns(NamedTuple):
    """What the columns of a fit are, decided once: their likelihoods (none where training goes on) and their kinds."""

    likelihoods: list[Any]
    kinds: list[str]

    @classmethod
    def asked(cls, settings: Settings, table: Table, kinds: Kinds, left_out: Sequence[Hashable] | None) -> Columns:
        """Those that the settings ask for, some `left_out`; None: the text that hardly repeats is, with a warning."""
        likelihoods = column_likelihoods(settings.likelihood, table.names, table.dtypes)
        each = [kinds.of(NUMBERS[0] if own == "auto" else own) for own in likelihoods]
        if left_out is None:
            asked = settings.likelihood if isinstance(settings.likelihood, Mapping) else ()
            left_out = identifiers(table, spared=asked)
            warn_of_texts(table, left_out)
        hidden = [name in left_out for name in table.names]
        return cls(likelihoods, ["identifier" if is_so else kind for kind, is_so in zip(each, hidden, strict=True)])

    @classmethod
    def of(cls, schema: TableSchema) -> Columns:
        """Those of a model that is there."""
        return cls([], [column.kind for column in schema.columns])

    @property
    def have_levels(self) -> bool:
        """Whether one of them is a column of levels."""
        return any(KINDS[kind].is_coded and KINDS[kind].is_modelled for kind in self.kinds)

    @property
    def may_be_sparse(self) -> bool:
        """Whether a zero needs no storing in any of them."""
        return all(map(keeps_zeros, self.kinds))


def serves_sparse(likelihood: Any, kind_of: Callable[[Any], str | None]) -> bool:
    """Whether a likelihood is one for all columns under which a zero needs no storing."""
    for_all = not (likelihood == "auto" or isinstance(likelihood, Mapping))
    return for_all and keeps_zeros(kind_of(likelihood))


def start(
    rows: Weighted, columns: Columns, settings: Settings, engine: type[Engine[Any]], *, seed: int, with_mask: bool
) -> TableModel[Any]:
    """A model at its start values; its schema is learned from all rows of X, also those set aside of them."""
    table = rows.table
    schema, each = planned(rows, columns, settings)
    if not schema.cells:
        left_out = " (but for text that hardly repeats)" if any(column.is_left_out for column in schema.columns) else ""
        raise ValueError(
            f"Every column of X{left_out} is constant or without a value over its {len(table)} training rows, so there "
            f"is nothing to learn. Pass rows that differ in at least one column."
        )
    blocks = blocks_of(["categorical" if cell.is_atom else each[cell.column] for cell in schema.cells])
    order = tuple(i for _, cells in blocks for i in cells)
    schema = replace(schema, order=order)
    if settings.missingness is not None and not table.is_sparse:
        some = (table, schema.columns, schema.as_differences)
        schema = replace(schema, has_gaps=True, rules=find_rules(*some), marks=find_marks(*some))
    if schema.cells.gaps:
        blocks = (*blocks, (_engine.build.GAPS, tuple(schema.cells.gaps.values())))
    spec = _spec(schema, blocks, settings, seed=seed, with_mask=with_mask)
    spreads = not table.is_sparse and any(_engine.build.starts_by_quantiles(likelihood) for likelihood, _ in blocks)
    quantiles = _quantiles(rows, schema) if spreads else None
    built = engine(spec, settings.device, n_cells=len(table) * len(table.names), quantiles=quantiles)
    if settings.is_density and built.starts_at_rows and not table.is_sparse:
        few = slice(None, None, -(-len(table) // QUANTILE_ROWS))
        built.start_at(schema.encode(table.take(few)), None if rows.weight is None else rows.weight[few])
    return TableModel(schema, built, settings.handle_unknown)


def planned(rows: Weighted, columns: Columns, settings: Settings) -> tuple[TableSchema, list[Any]]:
    """The schema that rows show, and the likelihood of each column."""
    table = rows.table
    if table.is_frame:
        levels, named = [KINDS[kind].is_coded for kind in columns.kinds], settings.option == "likelihood"
        frames.refuse_unreadable(table.X, levels, [None] * len(columns.kinds), has_likelihood=named)
    schema = _ruled_schema(rows, columns, settings)
    schema = replace(
        schema, relations=find_relations(table, schema.columns, schema.as_differences) if settings.is_density else ()
    )
    if settings.is_density:
        spared = {*schema.as_differences, *_declared(schema)}
        schema = replace(schema, pairs=find_pairs(table, schema.columns, schema.relations, spared))
    active = [j for j, column in enumerate(schema.columns) if column.constant is None]
    number = of_numbers(int((~table.empty_rows(active)).sum()), len(active)) if active else NUMBERS[0]
    return schema, [number if likelihood == "auto" else likelihood for likelihood in columns.likelihoods]


def _declared(schema: TableSchema) -> list[int]:
    """Columns of which a rule speaks."""
    return [] if schema.declared is None else schema.declared.columns


def _ruled_schema(rows: Weighted, columns: Columns, settings: Settings) -> TableSchema:
    """The schema that rows show, with the rules that were declared."""
    table, bounded = rows.table, settings.bounds == "training"
    asked = read_rules(settings.rules, table.names)
    if asked and table.is_sparse:
        raise TypeError("rules cannot be declared of a sparse matrix. Pass an array or a data frame.")
    seen_as = differences(asked, table, columns.kinds, bounded=bounded)
    sought = settings.sought(table.names, unpooled(asked))
    schema = infer_schema(table.as_differences(seen_as), rows.weight, columns.kinds, sought)
    return replace(schema, declared=declare(asked, table, schema.columns, seen_as, bounded=bounded))


def _quantiles(rows: Weighted, schema: TableSchema) -> NDArray[np.float64]:
    """Quantiles of the encoded numbers that are no atoms, at PROBABILITIES, (n_quantiles, n_cells); 0 of codes."""
    few = slice(None, None, -(-len(rows.table) // QUANTILE_ROWS))
    encoded = schema.encode(rows.table.take(few))
    weight = np.ones(len(encoded)) if rows.weight is None else rows.weight[few]
    for value, atom in schema.cells.gates:
        encoded[encoded[:, atom] > 0, value] = np.nan
    out = np.zeros((len(PROBABILITIES), len(schema.cells)))
    for i, cell in enumerate(schema.cells):
        seen = ~np.isnan(encoded[:, i])
        if not cell.n_codes and seen.any():
            out[:, i] = weighted_quantiles(encoded[seen, i], weight[seen], PROBABILITIES)
    return out


def _spec(schema: TableSchema, blocks: Blocks, settings: Settings, *, seed: int, with_mask: bool) -> ModelSpec:
    """The description of the model of a table."""
    coded = any(shares is not None for shares in schema.cells.frequencies)
    return _engine.build.ModelSpec(
        centre=schema.cells.of("centre"),
        width=schema.cells.of("width"),
        mean=schema.cells.of("mean"),
        blocks=tuple((likelihood, len(cells)) for likelihood, cells in blocks),
        n_components=components(
            settings.n_components, len(schema.columns), schema.cells.n_levels, is_density=settings.is_density
        ),
        hidden_layer_sizes=layer_sizes(settings.hidden_layer_sizes, len(schema.columns)),
        activation=settings.activation,
        with_mask=with_mask,
        seed=seed,
        encoder=settings.encoder,
        decoder=settings.decoder,
        prior=settings.prior,
        frequencies=schema.cells.frequencies if coded else None,
        gates=schema.cells.gates,
        seen=schema.in_order_of_columns,
    )
