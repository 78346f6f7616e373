"""What earlier versions saved: cells in the order of the columns, and index buffers that follow from the blocks."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skvae import AutoencoderTransformer, Explanation, VAETransformer
from skvae._table.columns import Column, Facts
from skvae._table.schema import TableSchema
from tests.model.test_starting import LIKELIHOOD, frame

__all__ = ["frame"]  # a fixture

LIGHT = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 2, "early_stopping": False, "random_state": 0}
INDICES = ("columns.gather", "columns.scatter", "columns.arrange", "columns.values", "columns.parts_of_values")


def as_saved_before(state):
    """The state of an estimator as the version before cells stood block by block would have saved it."""
    engine, schema = dict(state["_engine"]), dict(state["schema_"])
    spec, order = dict(engine["spec"]), list(schema.pop("order"))
    back = np.argsort(order)  # where each cell stood
    cells, blocks = iter(order), []
    for likelihood, n in spec.pop("blocks"):
        blocks.append((likelihood, tuple(next(cells) for _ in range(n))))
    spec |= {name: spec[name][back] for name in ("centre", "width", "mean")}
    spec["frequencies"] = spec["frequencies"] and tuple(spec["frequencies"][i] for i in back)
    spec["gates"] = tuple((order[value], order[part]) for value, part in spec["gates"])
    del spec["seen"]
    weights = engine["weights"] | {name: np.arange(len(order)) for name in INDICES}
    weights |= {f"encoding.{name}": np.zeros(1) for name in ("number_cells", "hot_cells", "hot_offsets", "is_count")}
    engine |= {"spec": spec | {"blocks": tuple(blocks)}, "weights": weights}
    return state | {"_engine": engine, "schema_": schema}


def make_vae():
    return VAETransformer(likelihood=LIKELIHOOD, missingness=None, **LIGHT)


def make_autoencoder():
    return AutoencoderTransformer(**LIGHT)


@pytest.mark.parametrize("make", [make_vae, make_autoencoder])
def test_a_model_of_an_earlier_version_answers_as_it_did(make, frame):
    model = make().partial_fit(frame)
    earlier = make()
    earlier.__setstate__(as_saved_before(model.__getstate__()))
    np.testing.assert_array_equal(earlier.transform(frame), model.transform(frame))
    np.testing.assert_array_equal(earlier.score_samples(frame), model.score_samples(frame))
    pd.testing.assert_frame_equal(earlier.reconstruct(frame), model.reconstruct(frame))
    if isinstance(model, VAETransformer):
        pd.testing.assert_frame_equal(earlier.sample(30, random_state=0), model.sample(30, random_state=0))
    model.partial_fit(frame)  # the optimiser's moments go with the weights that they were of
    np.testing.assert_array_equal(earlier.partial_fit(frame).transform(frame), model.transform(frame))


def test_it_is_saved_as_today(frame):
    model = make_vae().fit(frame)
    earlier = make_vae()
    earlier.__setstate__(as_saved_before(model.__getstate__()))
    assert earlier.schema_ == model.schema_
    saved, again = model.__getstate__()["_engine"], earlier.__getstate__()["_engine"]
    assert saved["weights"].keys() == again["weights"].keys()
    assert saved["spec"].keys() == again["spec"].keys()
    assert saved["spec"]["blocks"] == again["spec"]["blocks"]


def test_a_schema_pickled_by_itself_is_read(frame):
    schema = make_vae().fit(frame).schema_
    assert pickle.loads(pickle.dumps(schema)) == schema
    facts = [name for name in vars(Facts) if not name.startswith("_")]
    earlier, columns = object.__new__(TableSchema), []
    for column in schema.columns:  # all of one class, which had every fact
        columns.append(object.__new__(Column))
        columns[-1].__dict__.update({name: getattr(column, name) for name in ("name", "kind", *facts)})
        columns[-1].__dict__["dtype"] = str(column.dtype)
    state = {"container": schema.container, "n_rows": schema.n_rows, "header": schema.header}
    earlier.__setstate__(state | {"columns": tuple(columns), "cells": ()})
    assert earlier == replace(schema, order=None)


def test_an_explanation_is_found_where_it_was():
    assert pickle.loads(b"cskvae._explaining\nExplanation\n.") is Explanation


@pytest.mark.parametrize("cls", [VAETransformer, AutoencoderTransformer])
def test_an_estimator_from_before_there_was_a_choice_of_solver_goes_on_by_adam(cls):
    X = np.random.default_rng(0).normal(size=(40, 3))
    model = cls(2, max_iter=2, early_stopping=False, random_state=0).fit(X)
    state = model.__getstate__()
    del state["solver"]
    earlier = cls.__new__(cls)
    earlier.__setstate__(state)
    assert earlier.get_params()["solver"] == "adam"
    np.testing.assert_array_equal(earlier.transform(X), model.transform(X))
    assert np.isfinite(earlier.partial_fit(X).score_samples(X)).all()
