"""What earlier versions saved, as this one reads it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from skvae._table.schema import TableSchema

State = dict[str, Any]
# Those that earlier estimators had not, as they behaved.
PARAMETERS = {"solver": "adam", "missingness": None, "rules": None}


def brought_up(state: State, schema: TableSchema) -> tuple[State, TableSchema]:
    """The state of an engine, of whatever version, and its schema, as they are saved today."""
    if state.get("holes") is not None:
        state = _gaps_by_column(state, schema)
    if "seen" not in state["spec"]:
        state, schema = _in_block_order(state, schema)
    return state, schema


def _gaps_by_column(state: State, schema: TableSchema) -> State:
    """Missing cells were kept by cell."""
    posteriors, missing = state["holes"]
    return state | {"gaps": (posteriors, schema.by_column(np.asarray(missing, dtype=bool)))}


def _in_block_order(state: State, schema: TableSchema) -> tuple[State, TableSchema]:
    """Cells stood in the order of the columns, and each block said which ones it serves."""
    spec = dict(state["spec"])
    order = tuple(int(cell) for _, cells in spec["blocks"] for cell in cells)
    now = {before: after for after, before in enumerate(order)}
    spec |= {name: np.asarray(spec[name])[list(order)] for name in ("centre", "width", "mean")}
    shares, gates = spec.get("frequencies"), spec.get("gates", ())
    spec["frequencies"] = None if shares is None else tuple(shares[cell] for cell in order)
    spec["gates"] = tuple((now[value], now[atom]) for value, atom in gates)
    spec["blocks"] = tuple((likelihood, len(cells)) for likelihood, cells in spec["blocks"])
    schema = replace(schema, order=order)
    return state | {"spec": spec | {"seen": schema.in_order_of_columns}}, schema
