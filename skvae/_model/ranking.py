"""After training: what the model draws of each column of numbers is told the ranks of the training rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skvae._model.reading import Weighted
from skvae._model.table_model import Numbers, VAEModel
from skvae._table.columns import Column, Number
from skvae._table.kinds import KINDS
from skvae._table.ranks import Ranks

ROWS = (8_192, 32_768)  # that are drawn: twice as many as there are training rows, within these ...
CELLS = 2**19  # ... and of wide tables no more than have so many cells
MISSING = 0.02  # share of a column up to which it does not matter of what kind of rows it is missing ...
WITH_HOLES = 8_192  # ... else only so many rows are drawn, as it takes long to say where they have holes
TRAINING_ROWS = 200_000  # evenly spaced, that the draws are compared with


def ranked(model: VAEModel, rows: Weighted) -> VAEModel:
    """The same model, whose draws of numbers have the distribution of training rows, column by column.

    It draws rows for that, the same ones at each fit of one seed. Columns of which draws are not kept to the training
    range stay as they are (``bounds=None``), and so do counts, truth values and integers that no float holds.
    """
    columns = model.schema.columns
    places = [j for j, column in enumerate(columns) if _is_ranked(column)]
    if not places or rows.table.is_sparse:
        return model
    gaps = [j for j in places if columns[j].missing > MISSING]
    try:
        cells, holes = _reference(model, len(rows.table), with_holes=bool(gaps))
    except ValueError:  # training blew up, which whoever asks the model for rows is told
        return model
    step = slice(None, None, -(-len(rows.table) // TRAINING_ROWS))
    table = rows.table.take(step).as_differences(model.schema.differences)
    weight = np.ones(len(rows.table)) if rows.weight is None else rows.weight
    told = list(columns)
    for j in places:
        own = model.schema.of_column(cells, j)
        own = own[: len(holes)][~holes[:, j]] if j in gaps else own
        told[j] = _ranked(columns[j], own, table.numbers(j), weight[step])
    return replace(model, schema=replace(model.schema, columns=tuple(told)))


def _ranked(column: Column, cells: Numbers, values: Numbers, weight: Numbers) -> Column:
    """A column by what was drawn of it and by its training values, NaN where missing."""
    assert isinstance(column, Number)
    used = np.isin(values, column.dense(values, column.dtype))
    dense = values[used].astype(np.float64)
    return replace(column, ranks=Ranks.between(column.dense_cells(cells), dense, weight[used]))


def _is_ranked(column: Column) -> bool:
    """Whether it is a density within bounds, in which no number is too large for a float."""
    if not isinstance(column, Number) or not KINDS[column.kind].has_atoms:
        return False
    return not isinstance(column.low, int) and bool(np.isfinite(column.low))


def _reference(model: VAEModel, n: int, *, with_holes: bool) -> tuple[Numbers, NDArray[np.bool_]]:
    """Encoded rows as `sample` draws them, for n training rows, and where the first of them have holes."""
    engine, schema = model.engine, model.schema
    least, most = ROWS
    m = max(1, min(max(least, min(most, 2 * n)), CELLS // len(schema.cells)))
    z = engine.sample_latent(m, engine.spec.seed, aggregated=engine.codes is not None)
    cells = engine.sample(z, engine.spec.seed)
    some = slice(WITH_HOLES if with_holes else 0)
    values = schema.related(schema.whole(schema.decode(cells[some])))
    marks = schema.marked(values) if schema.marks else None
    holes = schema.ruled(values, engine.missing_like(z[some], engine.spec.seed, marks)) if with_holes else np.False_
    return cells, np.broadcast_to(holes, values.shape)
