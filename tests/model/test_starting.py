"""How a model begins: cells in the order of the blocks, seen by the encoder in the order of the columns."""

import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from skvae import VAETransformer
from skvae._table import frames
from skvae._table.tables import Table
from skvae.nn.likelihoods import StudentTMixture

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
    return VAETransformer(likelihood=LIKELIHOOD, missingness=None, random_state=0, **options).fit(frame)._model


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


# -- quantiles that modes start at -------------------------------------------------------------------------------------


def started(X, sample_weight=None, **options):
    """The locations at which the modes of the columns of numbers start, (n_modes, n_columns), in data units."""
    n_modes = options.pop("n_modes", 4)
    likelihood = {"spent": partial(StudentTMixture, n_modes=n_modes)}
    model = VAETransformer(2, likelihood=likelihood, max_iter=1, early_stopping=False, random_state=0, **options)
    model.fit(X, sample_weight=sample_weight)
    column, module = model.schema_.columns[0], model._model.engine.model
    blocks = module.columns.by_block(module.start.double())
    (outputs,) = (own for likelihood, own in blocks if isinstance(likelihood, StudentTMixture))
    return column, column.back(outputs[:n_modes].numpy())


def spending(n=2000):
    rng = np.random.default_rng(0)
    return pd.DataFrame({"spent": rng.gamma(2.0, size=n), "other": pd.Categorical(rng.choice(list("xy"), n))})


@pytest.mark.parametrize("marginals", ["linear", "normal"])
def test_modes_start_in_the_middles_of_equal_shares_of_the_column(marginals):
    X = spending()
    _, at = started(X, marginals=marginals)
    np.testing.assert_allclose(at, X["spent"].quantile([0.125, 0.375, 0.625, 0.875]), rtol=0.02)


def test_atoms_missing_cells_and_rows_of_little_weight_have_no_say_in_where_modes_start():
    X = spending()
    dense = X["spent"].to_numpy(copy=True)
    X.loc[::2, "spent"] = 0.0
    X.loc[1::4, "spent"] = np.nan
    weight = np.where(np.arange(2000) % 8 == 3, 1.0, 1e-12)
    column, at = started(X, sample_weight=np.where(X["spent"] == 0.0, 1.0, weight))
    assert column.atoms == (0.0,)
    np.testing.assert_allclose(at, np.quantile(dense[3::8], [0.125, 0.375, 0.625, 0.875]), rtol=0.05)


def test_a_schema_and_a_pickle_hold_no_quantiles():
    """They serve the start alone."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 200))
    options = {"n_components": 2, "hidden_layer_sizes": (), "max_iter": 1, "early_stopping": False, "random_state": 0}
    one, same = (
        len(pickle.dumps(VAETransformer(likelihood=likelihood, **options).fit(X)))
        for likelihood in ("student_t", partial(StudentTMixture, n_modes=1))
    )
    assert same - one < 20_000  # one logit more per column; 65 quantiles of each are 104,000 bytes
