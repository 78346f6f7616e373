"""What type checkers are told of the public names. That they report what is wrong is seen by `.ci/check_typing.py`."""

import inspect
import runpy
import typing
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from numpydoc.docscrape import ClassDoc

import skvae
from skvae import VAEOutlierDetector

ROOT = Path(skvae.__file__).parent
USER = runpy.run_path(str(Path(__file__).parent / "typing" / "user.py"))
CLASSES = [thing for name in skvae.__all__ if inspect.isclass(thing := getattr(skvae, name))]
METHODS = [
    pytest.param(method, id=f"{cls.__name__}.{name}")
    for cls in CLASSES
    for name, method in inspect.getmembers(cls, inspect.isfunction)
    if method.__module__.startswith("skvae") and (name == "__init__" or not name.startswith("_"))
]


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "py.typed").exists()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("part", USER["EVERYTHING"], ids=lambda part: part.__name__)
def test_what_passes_the_checkers_runs(part, monkeypatch):
    monkeypatch.setattr("builtins.print", lambda *values: None)
    matplotlib.use("Agg")
    assert part() is None or all(model.get_params() for model in part())


@pytest.mark.parametrize("method", METHODS)
def test_public_methods_are_typed(method):
    known = typing.get_type_hints(inspect.unwrap(method))
    untyped = [name for name in inspect.signature(method).parameters if name != "self" and name not in known]
    assert untyped == []
    assert "return" in known


@pytest.mark.parametrize("cls", CLASSES)
def test_fitted_attributes_are_typed(cls):
    documented = {name.strip() for item in ClassDoc(cls)["Attributes"] for name in item.name.split(",")}
    assert documented <= typing.get_type_hints(cls).keys()


def test_answers_have_the_dtypes_that_are_told(light_vae, X):
    vae = light_vae().fit(X)
    detector = VAEOutlierDetector(estimator=light_vae()).fit(X)
    told = {
        np.float64: [vae.score_samples(X), *vae.score_uncertainty(X), vae.sample_latent(2), vae.kl_per_component_,
                     detector.decision_function(X), detector.p_values(X), detector.calibration_scores_],
        np.int64: [detector.predict(X), detector.fit_predict(X)],
        np.bool_: [detector.select_outliers(X)],
        np.object_: [vae.get_feature_names_out()],
    }  # fmt: skip
    for dtype, answers in told.items():
        assert [answer.dtype for answer in answers] == [dtype] * len(answers)
    assert {type(number) for number in (vae.score(X), vae.lower_bound_, detector.offset_, *vae.loss_curve_)} == {float}
    assert type(vae.n_active_components_) is int
