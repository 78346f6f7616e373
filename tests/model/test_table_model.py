"""The fitted model of a table by itself: a schema and an engine, without an estimator around them."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from skvae import VAETransformer
from skvae._model.table_model import TableModel
from skvae._table import frames
from skvae._table.tables import Table

OPTIONS = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 2, "early_stopping": False, "random_state": 0}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.RandomState(0)
    return pd.DataFrame(
        {
            "size": rng.normal(size=80).astype(np.float32),
            "rooms": rng.randint(1, 9, size=80),
            "open": rng.rand(80) < 0.4,
            "town": pd.Categorical(rng.choice(["Oslo", "Bergen", "Bodø"], 80)),
            "pay": rng.lognormal(size=80),
        }
    )


@pytest.fixture(scope="module")
def estimator(frame):
    return VAETransformer(likelihood={"pay": "log_normal"}, **OPTIONS).fit(frame)


@pytest.fixture
def model(estimator):
    return TableModel(estimator.schema_, estimator._engine, n_draws=64)


@pytest.fixture
def table(frame):
    return Table(frame, frames.PANDAS, list(frame), frames.dtypes_of(frame), np.dtype(np.float64))


def test_it_answers_as_the_estimator_around_it(estimator, model, frame, table):
    np.testing.assert_array_equal(model.codes(table), estimator.transform(frame))
    np.testing.assert_array_equal(model.log_density(table), estimator.score_samples(frame))
    for mine, theirs in zip(model.posterior(table), estimator.posterior(frame), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(model.sampling_error(table).standard_error, estimator.score_uncertainty(frame)[0])
    restored = model.schema.restore(model.reconstructed(table))
    pd.testing.assert_frame_equal(restored, estimator.reconstruct(frame))


def test_answers_do_not_depend_on_how_the_table_is_cut(model, table, monkeypatch):
    whole = model.codes(table), model.log_density(table), *model.posterior(table), *model.sampling_error(table)
    monkeypatch.setattr("skvae._table.tables.SLICE_CELLS", 40)
    cut = model.codes(table), model.log_density(table), *model.posterior(table), *model.sampling_error(table)
    for one, other in zip(whole, cut, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_values_are_numbers_in_data_units_and_codes_of_levels(model, frame, table):
    values = model.reconstructed(table)
    assert values.shape == frame.shape
    assert set(values[:, 3]) <= {0.0, 1.0, 2.0}
    assert values[:, 4].min() > 0.0
    drawn = model.drawn(np.zeros((500, 2)), 0)
    assert set(drawn[:, 3]) == {0.0, 1.0, 2.0}
    assert np.log(drawn[:, 4]).std() == pytest.approx(np.log(frame["pay"]).std(), rel=0.5)


def test_cells_are_what_the_dtypes_of_fit_hold(model):
    values = np.array([0.2, np.nan, 1.7])
    np.testing.assert_array_equal(model.cells(values, 0), values)
    np.testing.assert_array_equal(model.cells(values, 1), [0.0, np.nan, 2.0])
    np.testing.assert_array_equal(model.cells(values, 2), [0.0, np.nan, 1.0])
    assert model.cells(np.array([1.0, np.nan, 2.0]), 3) == ["Bodø", None, "Oslo"]


def test_a_density_in_the_columns_own_units_does_not_know_the_units_of_the_table(model, table):
    schema = model.schema
    units = sum(column.log_unit for column in schema.columns if column.levels is None)
    np.testing.assert_allclose(model.log_density(table, relative=True) - model.log_density(table), units)


def test_training_a_copy_leaves_the_model_alone(estimator, model, table):
    before, twin, plan = model.codes(table), model.copied(), estimator._settings().plan(80, 3, have_levels=True)
    for _ in twin.engine.train(twin.encode_to_train(table), None, estimator._settings().bound, plan):
        twin.engine.keep()
    assert twin.schema is model.schema
    np.testing.assert_array_equal(model.codes(table), before)
    assert not np.array_equal(twin.codes(table), before)


def test_a_new_level_is_what_the_model_is_told(estimator, frame):
    other = frame.head(2).assign(town=pd.Categorical(["Rome", "Oslo"]))
    table = Table(other, frames.PANDAS, list(other), frames.dtypes_of(other), np.dtype(np.float64))
    unlikely, missing = (
        TableModel(estimator.schema_, estimator._engine, unknown, 64).log_density(table)
        for unknown in ("unlikely", "missing")
    )
    np.testing.assert_allclose(missing - unlikely, [np.log(len(frame) + 2), 0.0])
    with pytest.raises(ValueError, match="'town' holds level"):
        TableModel(estimator.schema_, estimator._engine, "error").codes(table)


@pytest.mark.parametrize("mapped", [False, True])
def test_a_large_table_is_in_double_precision_a_part_at_a_time(mapped, tmp_path):
    """NumPy's memory beyond the table and what is made of it: never another copy, and none of a mapped file."""
    rows = np.random.default_rng(0).normal(size=(300_000, 20))
    if mapped:
        np.save(tmp_path / "rows.npy", rows)
        rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    estimator = VAETransformer(**OPTIONS).fit(rows[:200])
    table, model = Table(rows, frames.NUMPY, range(20), [rows.dtype] * 20, rows.dtype), estimator._model
    calls = {
        "encode": (lambda: model.encode_to_train(table), rows.nbytes / 2),
        "decode": (lambda: model.decoded(np.zeros((len(rows), 2))), rows.nbytes),
        "sample": (lambda: estimator.sample(len(rows), random_state=0), rows.nbytes),
    }
    for name, (call, size) in calls.items():
        tracemalloc.start()
        call()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < size + (0.5 if name == "encode" else 0.9) * rows.nbytes, name
