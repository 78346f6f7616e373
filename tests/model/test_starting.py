"""How a model begins: cells in the order of the blocks, seen by the encoder in the order of the columns."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skvae import VAETransformer
from skvae._table import frames
from skvae._table.tables import Table

LIKELIHOOD = {"b": "log_normal", "e": "poisson", "g": "log_normal"}


@pytest.fixture(scope="module")
def frame():
    """Columns of five blocks that take turns, some of them with atoms or missing cells."""
    rng = np.random.RandomState(0)
    zeros = np.where(rng.rand(120) < 0.5, 0.0, rng.normal(size=120))
    frame = pd.DataFrame({"a": zeros, "b": rng.lognormal(size=120), "c": pd.Categorical(rng.choice(list("xyz"), 120))})
    frame = frame.assign(
        d=rng.normal(size=120), e=rng.poisson(3.0, size=120), f=pd.Categorical(rng.randint(4, size=120))
    )
    frame["g"] = np.where(rng.rand(120) < 0.3, 7.0, rng.lognormal(size=120))
    frame.loc[::9, ["b", "c", "g"]] = None
    return frame


@pytest.fixture(scope="module")
def model(frame):
    options = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 2, "early_stopping": False}
    return VAETransformer(likelihood=LIKELIHOOD, random_state=0, **options).fit(frame)._model


@pytest.fixture
def table(frame):
    return Table(frame, frames.PANDAS, list(frame), frames.dtypes_of(frame), np.dtype(np.float64))


def of_column(model, i):
    """The name of the column of a cell, and whether the cell is a part."""
    cell = model.schema.cells[i]
    return model.schema.columns[cell.column].name, cell.is_atom


def test_cells_stand_block_by_block(model):
    cells = [of_column(model, i) for i in range(len(model.schema.cells))]
    parts = [("a", True), ("c", False), ("f", False), ("g", True)]
    assert cells == [*parts, ("a", False), ("d", False), ("b", False), ("g", False), ("e", False)]
    assert [n for _, n in model.engine.spec.blocks] == [4, 2, 2, 1]
    assert [(of_column(model, value), of_column(model, part)) for value, part in model.schema.cells.gates] == [
        (("a", False), ("a", True)),
        (("g", False), ("g", True)),
    ]


def test_the_encoder_sees_cells_in_the_order_of_the_columns(model):
    cells = [of_column(model, i) for i in model.engine.spec.seen]
    assert cells == sorted(cells, key=lambda cell: (cell[0], not cell[1]))
    centres = {column.name: column.centre for column in model.schema.columns}
    encoding = model.engine.model.encoding
    np.testing.assert_allclose(encoding.numbers.centre, [centres[name] for name in "abdeg"], rtol=1e-6)


def test_the_order_of_cells_is_nothing_but_an_order(model, table):
    schema, plain = model.schema, replace(model.schema, order=None)
    order = list(schema.order)
    cells = schema.encode(table)
    np.testing.assert_array_equal(cells, plain.encode(table)[:, order])
    np.testing.assert_array_equal(schema.log_jacobian(cells), plain.log_jacobian(cells[:, plain_of(order)])[:, order])
    np.testing.assert_array_equal(schema.log_correction(table, cells), plain.log_correction(table, plain.encode(table)))
    drawn = model.engine.sample(np.zeros((50, 2)), 0)
    np.testing.assert_array_equal(schema.decode(drawn), plain.decode(drawn[:, plain_of(order)]))
    statistics = model.engine.decode(np.zeros((3, 2)), schema.cells.units)
    spans = np.split(statistics, np.cumsum([max(cell.n_codes, 1) for cell in schema.cells])[:-1], axis=1)
    in_order = np.concatenate([spans[i] for i in plain_of(order)], axis=1)
    for mine, theirs in zip(schema.expect(statistics), plain.expect(in_order), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def plain_of(order):
    """Where each cell of the order of the columns stands."""
    return np.argsort(order)


def test_numbers_of_several_blocks_are_seen_in_the_order_of_the_columns(X):
    X = np.exp(X / X.std(axis=0))
    likelihood = {0: "log_normal", 2: "log_normal"}
    vae = VAETransformer(likelihood=likelihood, hidden_layer_sizes=(), max_iter=1, early_stopping=False).fit(X)
    encoding, schema = vae._engine.model.encoding, vae.schema_
    assert [cell.column for cell in schema.cells] == [0, 2, 1, 3]
    np.testing.assert_allclose(encoding.centre, [column.centre for column in schema.columns], rtol=1e-6)
    assert encoding.cells.tolist() == [0, 2, 1, 3]
