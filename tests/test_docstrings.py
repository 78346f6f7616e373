"""The public docstrings hold to numpydoc, and say what is there."""

import inspect
import pydoc

import numpy as np
import pandas as pd
import pytest
from numpydoc.docscrape import ClassDoc
from numpydoc.validate import validate

import skvae
from skvae import AutoencoderTransformer, VAEImputer, VAEOutlierDetector, VAETransformer, metrics

IGNORED = {"RT02", "GL01", "GL02"}  # the result's name, and where the first line stands, as scikit-learn has it
OF_CLASSES_ONLY = {"EX01", "SA01", "ES01"}
TRANSFORMERS = [VAETransformer, AutoencoderTransformer]
ESTIMATORS = [*TRANSFORMERS, VAEOutlierDetector, VAEImputer]


def public_objects():
    """Yield the dotted name of every public class and of its own public methods."""
    for name in skvae.__all__:
        thing = getattr(skvae, name)
        if not inspect.isclass(thing):
            continue
        yield f"{thing.__module__}.{name}"
        for method in dir(thing):
            written_here = (getattr(getattr(thing, method), "__module__", None) or "").startswith("skvae")
            if not method.startswith("_") and callable(getattr(thing, method)) and written_here:
                yield f"{thing.__module__}.{name}.{method}"


MEASURES = [f"skvae.metrics.{name}" for name in metrics.__all__ if inspect.isfunction(getattr(metrics, name))]


@pytest.mark.parametrize("path", [*public_objects(), *MEASURES])
def test_docstring(path):
    is_method = inspect.isclass(pydoc.locate(path.rpartition(".")[0]))
    ignored = IGNORED if not is_method else IGNORED | OF_CLASSES_ONLY
    errors = [f"{code}: {message}" for code, message in validate(path)["errors"] if code not in ignored]
    assert errors == []


def test_every_method_is_looked_at():
    paths = list(public_objects())
    for method in ("fit", "partial_fit", "transform", "inverse_transform", "reconstruct", "score_samples", "score"):
        for estimator in TRANSFORMERS:
            assert f"{estimator.__module__}.{estimator.__name__}.{method}" in paths


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_parameters_are_documented_in_the_order_of_the_signature(estimator):
    documented = [name.strip() for item in ClassDoc(estimator)["Parameters"] for name in item.name.split(",")]
    assert documented == list(inspect.signature(estimator).parameters)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_documented_attributes_are_there_after_fit_and_the_other_way_about(estimator, X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    light = {"n_components": 2, "max_iter": 2, "device": "cpu", "early_stopping": False}
    model = estimator(**light) if estimator in TRANSFORMERS else estimator(estimator=VAETransformer(**light))
    model.fit(frame)
    documented = {name.strip() for item in ClassDoc(estimator)["Attributes"] for name in item.name.split(",")}
    fitted = {name for name in vars(model) if name.endswith("_") and not name.startswith("_")}
    assert documented == fitted


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_defaults_are_documented_as_they_are(estimator):
    signature = inspect.signature(estimator).parameters
    for item in ClassDoc(estimator)["Parameters"]:
        for name in item.name.split(","):
            default = signature[name.strip()].default
            written = item.type.split("default=")[1]
            assert repr(eval(written, {"numpy": np})) == repr(default), name
