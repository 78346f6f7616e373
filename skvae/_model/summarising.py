"""How an estimator read a table, or would read it: its columns, and the likelihood of each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from skvae import _engine
from skvae._model.table_model import AnyModel
from skvae._table.schema import TableSchema
from skvae._table.summary import as_html


def of_model(model: AnyModel, likelihood: Any) -> Any:
    """The summary of a fitted model, whose estimator has that parameter `likelihood` (or `loss`)."""
    blocks = [name_of(own) for own, n in model.engine.spec.blocks for _ in range(n)]
    cells = zip(model.schema.cells, blocks, strict=True)
    names = {cell.column: name for cell, name in cells if not (cell.is_atom or cell.is_gap)}
    return model.schema.summary(names, _asked(model.schema, likelihood))


def of_plan(schema: TableSchema, each: list[Any], likelihood: Any) -> Any:
    """The summary of rows that were not fitted to, of which `starting.planned` gave schema and likelihoods."""
    used = {cell.column for cell in schema.cells}
    return schema.summary({j: name_of(each[j]) for j in used}, _asked(schema, likelihood))


def _asked(schema: TableSchema, likelihood: Any) -> set[int]:
    """Columns whose likelihood the user chose."""
    if isinstance(likelihood, Mapping):
        return {j for j, column in enumerate(schema.columns) if likelihood.get(column.name, "auto") != "auto"}
    spared = [column.dtype.is_category or column.dtype.is_text for column in schema.columns]
    return set() if likelihood == "auto" else {j for j, is_spared in enumerate(spared) if not is_spared}


def name_of(likelihood: Any) -> str:
    """A likelihood as a user would write it."""
    if isinstance(likelihood, str):
        return likelihood
    made = _engine.build.class_of(likelihood)
    name = made.__name__ if made is not None else getattr(likelihood, "__name__", type(likelihood).__name__)
    options = likelihood.keywords if isinstance(likelihood, partial) else {}
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in options.items())})" if options else name


def with_summary(estimator: Any, bundle: dict[str, Any]) -> dict[str, Any]:
    """What a notebook shows of an estimator, and of a fitted one the summary of its table below."""
    if "text/html" in bundle and estimator.__sklearn_is_fitted__():
        table = as_html(estimator.summary())
        bundle["text/html"] += f"<details><summary>The table as it was read</summary>{table}</details>"
    return bundle
