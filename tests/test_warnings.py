"""A warning names the user's line, through whatever public door it comes and whatever stands in between."""

from __future__ import annotations

import concurrent.futures
import copy
import functools
import inspect
import io
import pickle
import threading
import warnings

import joblib
import matplotlib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, learning_curve
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import skvae
from skvae import AutoencoderTransformer, VAEImputer, VAEOutlierDetector, VAETransformer, _base, displays
from skvae._engine import runtime
from skvae._engine.vae import VAEEngine
from skvae._table.schema import TableSchema
from skvae._warnings import warn

matplotlib.use("Agg")

LIGHT = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0, "device": "cpu"}
CLASSES = {name: getattr(skvae, name) for name in skvae.__all__ if hasattr(getattr(skvae, name), "fit")}


def light(cls=VAETransformer, **parameters):
    if cls in (VAETransformer, AutoencoderTransformer):
        return cls(**(LIGHT | {"early_stopping": False} | parameters))
    return cls(estimator=light(**parameters), random_state=0)


def caught_from(door, *arguments):
    """The package's own warnings of a door, which must be there, as (file, line)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        door(*arguments)
    assert caught, "nothing warned"
    return {(warning.filename, warning.lineno) for warning in caught}


def line_of(door):
    return {(__file__, door.__code__.co_firstlineno)}


# -- every public method -----------------------------------------------------------------------------------------------


def warning_room(inner):
    """A function of the package, so to speak, that warns each time it is entered."""
    room = {"__name__": "skvae._room", "warn": warn, "inner": inner}
    exec("def outer(*args, **kwargs):\n    warn('entered')\n    return inner(*args, **kwargs)", room)
    return room["outer"]


@pytest.fixture
def warning_rooms(monkeypatch):
    """Let rooms below every door warn."""
    for owner, name in (
        (TableSchema, "encode"),
        (TableSchema, "restore"),
        (VAEEngine, "sample_latent"),
        (_base, "planned"),
    ):
        monkeypatch.setattr(owner, name, warning_room(getattr(owner, name)))


QUIET = {"set_contamination", "get_feature_names_out"}  # these read neither rows nor codes
DOORS = {
    "fit": lambda model, X: model.fit(X),
    "partial_fit": lambda model, X: model.partial_fit(X),
    "fit_transform": lambda model, X: model.fit_transform(X),
    "fit_predict": lambda model, X: model.fit_predict(X),
    "transform": lambda model, X: model.transform(X),
    "inverse_transform": lambda model, X: model.inverse_transform(X[:, :2]),
    "reconstruct": lambda model, X: model.reconstruct(X),
    "posterior": lambda model, X: model.posterior(X),
    "score": lambda model, X: model.score(X),
    "score_samples": lambda model, X: model.score_samples(X),
    "score_uncertainty": lambda model, X: model.score_uncertainty(X),
    "sample": lambda model, X: model.sample(2),
    "sample_latent": lambda model, X: model.sample_latent(2),
    "decision_function": lambda model, X: model.decision_function(X),
    "predict": lambda model, X: model.predict(X),
    "p_values": lambda model, X: model.p_values(X),
    "select_outliers": lambda model, X: model.select_outliers(X),
    "explain": lambda model, X: model.explain(X),
    "complete": lambda model, X: model.complete(X),
    "summary": lambda model, X: model.summary(X),
    "draw": lambda model, X: model.draw(np.where(X > 6.0, np.nan, X), 2),
}


def public_methods():
    for name, cls in CLASSES.items():
        for method, function in inspect.getmembers(cls, inspect.isfunction):
            ours = function.__module__.startswith("skvae") or method in ("fit_transform", "fit_predict")
            if ours and not method.startswith("_") and method not in QUIET:
                yield pytest.param(cls, method, id=f"{name}.{method}")


@pytest.mark.parametrize(("cls", "method"), list(public_methods()))
def test_through_every_public_method(cls, method, X, warning_rooms):
    assert method in DOORS, "say in DOORS how this method is called, or in QUIET that it cannot warn"
    X = np.concatenate([X, X + 0.01])
    door, model = DOORS[method], light(cls)
    rows = np.where(np.arange(4) == 1, np.where(X > X.mean(), np.nan, X), X) if cls is VAEImputer else X
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not method.startswith(("fit", "partial")):
            model.fit(rows)
    assert caught_from(door, model, rows) == line_of(door)


def vae_and_detector(X):
    return light().fit(X), light(VAEOutlierDetector).fit(X)


DISPLAYS = {
    "ExplanationDisplay": lambda vae, detector, X: displays.ExplanationDisplay.from_estimator(detector, X),
    "ImageGridDisplay": lambda vae, detector, X: displays.ImageGridDisplay.from_estimator(vae, image_shape=(2, 2)),
    "LatentSpaceDisplay": lambda vae, detector, X: displays.LatentSpaceDisplay.from_estimator(vae, X),
    "OutlierScoreDisplay": lambda vae, detector, X: displays.OutlierScoreDisplay.from_estimator(detector, X),
    "ReconstructionDisplay": lambda vae, detector, X: displays.ReconstructionDisplay.from_estimator(vae, X),
    "SyntheticReportDisplay": lambda vae, detector, X: displays.SyntheticReportDisplay.from_estimator(vae, X),
}


@pytest.mark.parametrize("name", [name for name in displays.__all__ if name != "LossCurveDisplay"])  # reads attributes
def test_through_every_display(name, X, warning_rooms):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = vae_and_detector(X)
    assert caught_from(DISPLAYS[name], *models, X) == line_of(DISPLAYS[name])


# -- what stands in between --------------------------------------------------------------------------------------------


class Own(TransformerMixin, BaseEstimator):
    """A user's meta-estimator, whose line it then is."""

    def __init__(self, inner=None):
        self.inner = inner

    def fit(self, X, y=None):
        self.inner_ = clone(self.inner).fit(X)
        return self

    def transform(self, X):
        return self.inner_.transform(X)


def passed_on(*names):
    return ColumnTransformer([("some", light(), list(names))])


BETWEEN = {
    "pipeline": lambda X: make_pipeline(StandardScaler(), light()).fit(X),
    "fit_transform of a pipeline": lambda X: make_pipeline(StandardScaler(), light()).fit_transform(X),
    "pipeline in a pipeline": lambda X: make_pipeline(make_pipeline(light())).fit(X),
    "pipeline with a cache": lambda X: make_pipeline(light(), StandardScaler(), memory=joblib.Memory(None)).fit(X),
    "a step below": lambda X: make_pipeline(light(VAEImputer), light(VAEOutlierDetector)).fit_predict(X),
    "feature union": lambda X: FeatureUnion([("one", light()), ("two", light())]).fit(X),
    "column transformer": lambda X: passed_on("a", "b").fit(pd.DataFrame(X, columns=list("abcd"))),
    "grid search": lambda X: GridSearchCV(light(), {"beta": [1.0]}, cv=2).fit(X),
    "grid search of a pipeline": lambda X: GridSearchCV(make_pipeline(light()), {}, cv=2).fit(X),
    "cross_val_score": lambda X: cross_val_score(light(), X, cv=2),
    "cross_val_predict": lambda X: cross_val_predict(light(VAEOutlierDetector), X, cv=2),
    "learning curve": lambda X: learning_curve(light(), X, None, cv=2, train_sizes=[0.5]),
    "clone": lambda X: clone(light()).fit(X),
    "set_output": lambda X: light().set_output(transform="pandas").fit_transform(X),
    "set_output polars": lambda X: light().set_output(transform="polars").fit_transform(X),
    "pipe of a frame": lambda X: pd.DataFrame(X, columns=list("abcd")).pipe(light().fit),
    "groups of a frame": lambda X: pd.DataFrame(X).groupby(np.arange(len(X)) % 2).apply(light().fit),
    "pipe of a polars frame": lambda X: pl.DataFrame(X).pipe(light().fit),
    "partial": lambda X: functools.partial(light().fit, X)(),
    "map": lambda X: list(map(light().fit, [X])),
    "comprehension": lambda X: [light().fit(part) for part in (X, X)],
    "joblib": lambda X: joblib.Parallel(n_jobs=1)([joblib.delayed(light().fit)(X)]),
    "function transformer": lambda X: FunctionTransformer(light().fit_transform).fit_transform(X),
}


@pytest.mark.parametrize("between", BETWEEN)
def test_what_passes_a_call_on_is_not_blamed(between, X, warning_rooms):
    assert caught_from(BETWEEN[between], X) == line_of(BETWEEN[between])


def test_a_meta_estimator_of_the_users_is_his_line(X, warning_rooms):
    lines, start = inspect.getsourcelines(Own)
    at = {(__file__, start + i) for i, line in enumerate(lines) if "self.inner" in line and "(X)" in line}
    assert caught_from(lambda: make_pipeline(Own(light())).fit_transform(X)) == at


def test_a_subclass_is_the_users_line(X, warning_rooms):
    class Mine(VAETransformer):
        def fit(self, X, y=None):
            return super().fit(X)

    assert caught_from(lambda: Mine(**LIGHT, early_stopping=False).fit(X)) == {
        (__file__, Mine.fit.__code__.co_firstlineno + 1)
    }


@pytest.mark.parametrize("namespace", [{"__name__": "__main__"}, {}], ids=["main", "no name"])
def test_a_cell_of_a_notebook_is_named(namespace, X, warning_rooms):
    code = compile("\nmodel = light()\nmodel.fit(X)", "<ipython-input-7>", "exec")
    assert caught_from(lambda: exec(code, namespace | {"light": light, "X": X})) == {("<ipython-input-7>", 3)}


def test_a_line_warns_once_and_another_again():
    enter = warning_room(lambda: None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            enter()
        enter()
    assert len({warning.lineno for warning in caught}) == len(caught) == 2


def test_where_no_line_is_the_users_the_outermost_is_named(X, warning_rooms):
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        named = caught_from(lambda: pool.submit(light().fit, X).result())
    assert {file for file, _ in named} == {threading.__file__}


# -- the warnings there are --------------------------------------------------------------------------------------------

RISING = {"early_stopping": True, "tol": 0.0, "learning_rate": "constant", "learning_rate_init": 1e-3, "max_iter": 5}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    return rng.normal(size=(120, 1)) + 0.2 * rng.normal(size=(120, 3))


@pytest.fixture(scope="module")
def constant(table):
    """Rows in which a column is constant, models fitted to them, and rows in which it is not."""
    rows = np.column_stack([table, np.ones(len(table))])
    later = rows.copy()
    later[:5, 3] = 2.0
    return {"vae": light().fit(rows), "detector": light(VAEOutlierDetector).fit(rows), "later": later}


FITS = {
    "vae": lambda X: light(**RISING).fit(X),
    "autoencoder": lambda X: light(AutoencoderTransformer, **RISING).fit(X),
    "imputer": lambda X: light(VAEImputer, **RISING).fit(X),
    "detector": lambda X: light(VAEOutlierDetector, **RISING).fit(X),
    "fit_predict": lambda X: light(VAEOutlierDetector, **RISING).fit_predict(X),
    "search": lambda X: GridSearchCV(light(**RISING), {"beta": [1.0]}, cv=2).fit(X),
    "collapse": lambda X: light(beta=1e3, objective="elbo", prior="standard_normal", max_iter=30, batch_size=32).fit(X),
}
SCORES = {
    "score_samples": lambda vae, detector, later: vae.score_samples(later),
    "score": lambda vae, detector, later: vae.score(later),
    "detector": lambda vae, detector, later: detector.score_samples(later),
    "decision_function": lambda vae, detector, later: detector.decision_function(later),
    "predict": lambda vae, detector, later: detector.predict(later),
    "p_values": lambda vae, detector, later: detector.p_values(later),
    "pipeline": lambda vae, detector, later: make_pipeline(vae).score_samples(later),
    "display": lambda vae, detector, later: displays.OutlierScoreDisplay.from_estimator(detector, later),
}


@pytest.mark.parametrize("name", FITS)
def test_convergence(name, table):
    door = FITS[name]
    with pytest.warns(ConvergenceWarning) as caught:
        door(table)
    assert {(warning.filename, warning.lineno) for warning in caught} == line_of(door)


@pytest.mark.parametrize("name", SCORES)
def test_a_constant_that_differs(name, constant):
    with pytest.warns(UserWarning, match="were constant in training") as caught:
        SCORES[name](**constant)
    assert {(warning.filename, warning.lineno) for warning in caught} == line_of(SCORES[name])


def test_drift(table):
    model = light().partial_fit(table)
    with pytest.warns(UserWarning, match="in this chunk") as caught:
        model.partial_fit(table + 100.0)
    assert {warning.filename for warning in caught} == {__file__}


def test_ctrl_c(table, monkeypatch):
    lines = iter([None])

    def stop(*_):
        if next(lines, "stop") == "stop":
            raise KeyboardInterrupt

    monkeypatch.setattr("builtins.print", stop)
    with pytest.warns(UserWarning, match="Training interrupted") as caught:
        make_pipeline(light(verbose=2, max_iter=5)).fit(table)
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize("bounds", ["training", None])
def test_conditions(bounds, table):
    model = light(bounds=bounds, max_iter=30, likelihood="gaussian").fit(table)
    with pytest.warns(UserWarning, match="out of the") as caught:
        model.sample(2, given={0: 40.0}, random_state=0)
    assert {warning.filename for warning in caught} == {__file__}


def dumped(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    return file.getvalue()


LOADS = {
    "pickle": (pickle.dumps, lambda saved: pickle.loads(saved)),
    "pickle in Python": (pickle.dumps, lambda saved: pickle._loads(saved)),
    "joblib": (dumped, lambda saved: joblib.load(io.BytesIO(saved))),
    "skops": (skops.io.dumps, lambda saved: skops.io.loads(saved, trusted=skops.io.get_untrusted_types(data=saved))),
    "of a pipeline": (lambda model: pickle.dumps(make_pipeline(model)), lambda saved: pickle.loads(saved)),
}


@pytest.mark.parametrize("name", LOADS)
@pytest.mark.parametrize("cls", CLASSES.values())
@pytest.mark.parametrize("fault", ["version", "device"])
def test_loading(name, cls, fault, table, monkeypatch):
    save, load = LOADS[name]
    model = light(cls).fit(table)
    with monkeypatch.context() as then:
        if fault == "version":
            then.setattr(_base, "__version__", "0.0.1")
        else:
            engine = model._engine if hasattr(model, "_engine") else model.estimators_[0]._engine
            state = type(engine).state
            then.setattr(type(engine), "state", lambda engine: state(engine) | {"device": "cuda:7"})
        saved = save(model)
    with pytest.warns(UserWarning, match="saved by skvae 0.0.1" if fault == "version" else "saved on device") as caught:
        load(saved)
    assert {(warning.filename, warning.lineno) for warning in caught} == line_of(load)


def test_a_deep_copy(table, monkeypatch):
    model = light().fit(table)
    monkeypatch.setattr(runtime, "device_or_cpu", warning_room(runtime.device_or_cpu))
    door = lambda: copy.deepcopy(model)  # noqa: E731
    assert caught_from(door) == line_of(door)
