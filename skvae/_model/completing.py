"""Cells that were not observed: what models expect in them, draws of them, and how either gets into the user's rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvae._model.table_model import Numbers, VAEModel
from skvae._sklearn import MAX_SEED
from skvae._table import frames
from skvae._table.tables import Table

REDRAWS = 5  # of rows whose completions break a rule
MEDIAN_DRAWS = 8  # of a cell for each draw of z, of which a median is taken ...
MEDIAN_ROWS = 64  # ... of so many rows at a time


def expectations(models: list[VAEModel], table: Table, n_draws: int, blank: NDArray[np.bool_] | None = None) -> Numbers:
    """What the models expect in each cell given the observed ones of its row: values and codes, (n, p).

    Each model draws codes, weighs them by what the observed cells say, and takes the weighted mean; the models' answers
    are averaged. Cells that are `blank` count as missing.
    """
    start, answers = 0, []
    for rows in table.slices():
        hidden = None if blank is None else blank[start : start + len(rows)]
        start += len(rows)
        each = [
            model.schema.expect(model.engine.expectation(_open(model, rows, hidden), n_draws, model.schema.cells.units))
            for model in models
        ]
        means = [np.mean(columns, axis=0) for columns in zip(*each, strict=True)]
        answers.append(models[0].schema.point(means))
    return np.concatenate(answers)


def medians(models: list[VAEModel], table: Table, n_draws: int) -> Numbers:
    """The same with the median of each number in data units, over draws of z and of the cell from all models."""
    values = expectations(models, table, n_draws)
    is_number = [column.levels is None for column in models[0].schema.columns]
    for start in range(0, len(table), MEDIAN_ROWS):
        rows = np.arange(start, min(start + MEDIAN_ROWS, len(table)))
        cells, weight = zip(*(_weighed_draws(model, table.take(rows), n_draws) for model in models), strict=True)
        median = weighted_medians(np.concatenate(cells), np.concatenate(weight))
        values[rows] = np.where(is_number, median, values[rows])
    return values


def _weighed_draws(model: VAEModel, rows: Table, n_draws: int) -> tuple[Numbers, Numbers]:
    """Draws of all cells in data units, (S, n, p), and their weights, (S, n)."""
    cells, weight = model.engine.weighed_cells(_open(model, rows), n_draws, MEDIAN_DRAWS)
    values = model.schema.decode(cells.reshape(-1, cells.shape[-1]))
    return values.reshape(*weight.shape, -1), weight


def weighted_medians(values: Numbers, weight: Numbers) -> Numbers:
    """Per row and column the smallest of S values (S, n, p) up to which half of the weight (S, n) lies: (n, p)."""
    order = values.argsort(axis=0)
    mass = np.take_along_axis(weight[..., np.newaxis], order, axis=0).cumsum(axis=0)
    middle = (mass >= 0.5 * mass[-1]).argmax(axis=0, keepdims=True)
    out: Numbers = np.take_along_axis(values, np.take_along_axis(order, middle, axis=0), axis=0)[0]
    return out


def draws(models: list[VAEModel], table: Table, n_draws: int, seed: int) -> Numbers:
    """A draw of each row's missing cells given the observed ones: values and codes, (n, p).

    Each row is completed by one of the models, taken at random.
    """
    random_state, values = np.random.RandomState(seed), []
    for part in table.slices():
        choice = random_state.randint(len(models), size=len(part))
        drawn = np.empty((len(part), len(table.names)))
        for i, model in enumerate(models):
            rows = np.flatnonzero(choice == i)
            if len(rows):
                encoded, own = _open(model, part.take(rows)), int(random_state.randint(MAX_SEED))
                drawn[rows] = model.schema.decode(model.engine.completion(encoded, n_draws, own))
        values.append(drawn)
    return np.concatenate(values)


def draws_by_rules(models: list[VAEModel], table: Table, n_draws: int, seed: int) -> Numbers:
    """The same, drawn anew where a row breaks a rule that was declared."""
    values, schema = draws(models, table, n_draws, seed), models[0].schema
    if schema.declared is None:
        return values
    known = _known(models[0], table, ~table.missing())
    for i in range(REDRAWS):
        whole = np.where(np.isnan(known), schema.whole(values, known), known)
        broken = np.flatnonzero(schema.declared.broken(schema.declared.derived(whole, ~np.isnan(known))))
        if not len(broken):
            break
        values[broken] = draws(models, table.take(broken), n_draws, (seed + 1 + i) % MAX_SEED)
    return values


def _known(model: VAEModel, table: Table, observed: NDArray[np.bool_]) -> Numbers:
    """Values and codes of the columns that rules speak of, (n, p), where they are observed; else NaN."""
    out, declared = np.full(observed.shape, np.nan), model.schema.declared
    for j in declared.columns if declared is not None else []:
        out[:, j] = np.where(observed[:, j], model.schema.columns[j].read(table, j), np.nan)
    return out


def filled(model: VAEModel, X: Any, table: Table, values: Numbers, where: NDArray[np.bool_]) -> Any:
    """The user's rows with the cells `where` (n, p) taken from values and codes (n, p); all else stays, bit for bit.

    X is what `table` was read from, but for the marks of missing cells. A frame keeps its index and dtypes; only a
    dtype of categories is given the levels that it lacks.
    """
    values = _related(model, table, _ruled(model, table, values, where), where)
    new = {j: _cells(model, values[where[:, j], j], j) for j in np.flatnonzero(where.any(axis=0)).tolist()}
    if table.is_frame:
        other = None if table.container == model.schema.container else table.container
        formats = {j: model.schema.columns[j].format(other) for j in new}
        return frames.filled(X, {j: frames.Patch(where[:, j], cells, formats[j]) for j, cells in new.items()})
    out = np.array(table.X)
    for j, cells in new.items():
        out[where[:, j], j] = np.array(cells, dtype=out.dtype)
    return out


def _ruled(model: VAEModel, table: Table, values: Numbers, where: NDArray[np.bool_]) -> Numbers:
    """Values (n, p) to be filled in `where` (n, p), in place of differences, and so that rows keep the rules."""
    if model.schema.declared is None:
        return values
    known = _known(model, table, ~where)
    fixed = ~np.isnan(known)
    whole = model.schema.whole(values, known)
    return model.schema.settled(np.where(fixed, known, whole), fixed)


def _related(model: VAEModel, table: Table, values: Numbers, where: NDArray[np.bool_]) -> Numbers:
    """Values (n, p) to be filled in `where` (n, p), those that other cells of the row determine as these say."""
    out = values
    for relation in model.schema.both_ways:
        source, target = relation.source, relation.target
        own = np.where(where[:, source], out[:, source], model.schema.columns[source].read(table, source))
        told = relation.told(own)
        use = where[:, target] & ~np.isnan(told)
        if use.any():
            out = out.copy() if out is values else out
            out[use, target] = told[use]
    for pair in model.schema.pairs:
        ends = (np.where(where[:, j], out[:, j], model.schema.columns[j].read(table, j)) for j in pair.sources)
        told = pair.told(*ends)
        use = where[:, pair.target] & ~np.isnan(told)
        out = out.copy() if out is values and use.any() else out
        out[use, pair.target] = told[use]
    return out


def _cells(model: VAEModel, values: Numbers, j: int) -> Any:
    """Values of column j; integers are rounded, also in a frame that has floats where some are missing."""
    column = model.schema.columns[j]
    return column.values(np.rint(values) if column.dtype.is_integer and column.levels is None else values)


def _open(model: VAEModel, table: Table, blank: NDArray[np.bool_] | None = None) -> Numbers:
    encoded = model.encode(table)
    if blank is not None:
        encoded[blank[:, [cell.column for cell in model.schema.cells]]] = np.nan
    return encoded
