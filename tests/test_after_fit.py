"""What may go wrong after a fit: options set to nonsense, impossible conditions, a model that training blew up."""

import copy
import math
import warnings
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from sklearn.utils._param_validation import InvalidParameterError

from skvae import AutoencoderTransformer, VAEImputer, VAEOutlierDetector, VAETransformer

LIGHT = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 2, "early_stopping": False, "device": "cpu"}
LIGHT |= {"random_state": 0}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=60), "k": pd.Categorical(np.array(list("xyz"))[np.arange(60) % 3])})
    X.loc[::5, "a"] = np.nan
    return X.assign(n=rng.poisson(3.0, 60))


@pytest.fixture(scope="module")
def vae(frame):
    return VAETransformer(**LIGHT).fit(frame)


# -- options -----------------------------------------------------------------------------------------------------------

ASKS = {
    "transform": lambda model, X: model.transform(X),
    "posterior": lambda model, X: model.posterior(X),
    "reconstruct": lambda model, X: model.reconstruct(X),
    "score_samples": lambda model, X: model.score_samples(X),
    "score_uncertainty": lambda model, X: model.score_uncertainty(X),
}
NONSENSE = {
    "handle_unknown": (["Error", "raise", None, 3, np.nan, ["missing"]], ASKS),
    "n_importance_samples": (
        [0, -1, 2.5, "auto", None, np.inf],
        {name: ASKS[name] for name in ("score_samples", "score_uncertainty")},
    ),
}
CASES = [(option, value, ask) for option, (values, asks) in NONSENSE.items() for value in values for ask in asks]


@pytest.mark.filterwarnings("ignore:Most cells of column")
@pytest.mark.parametrize(("option", "value", "ask"), CASES)
def test_an_option_set_after_fit_is_checked(vae, frame, option, value, ask):
    model = copy.deepcopy(vae).set_params(**{option: value})
    for rows in (frame, frame.assign(k=pd.Categorical(["q"] * 60))):
        with pytest.raises(InvalidParameterError, match=f"The '{option}' parameter of VAETransformer must be"):
            ASKS[ask](model, rows)


@pytest.mark.parametrize("make", [VAETransformer, AutoencoderTransformer])
def test_every_option_is_checked_before_a_later_chunk(frame, make):
    model = make(**LIGHT).partial_fit(frame)
    before = model.score_samples(frame)
    free = {"encoder", "decoder", "likelihood", "prior", "device"}
    for option in set(make._parameter_constraints) - free:
        later = copy.deepcopy(model).set_params(**{option: "nonsense"})
        with pytest.raises(InvalidParameterError, match=f"The '{option}' parameter of {make.__name__} must be"):
            later.partial_fit(frame)
    with pytest.raises(ValueError, match="The 'device' parameter must be 'auto' or a device"):
        copy.deepcopy(model).set_params(device="nowhere").partial_fit(frame)
    with pytest.raises(ValueError, match="The 'device' parameter must be 'auto' or a device"):
        copy.deepcopy(model).set_params(device="nowhere", warm_start=True).fit(frame)
    np.testing.assert_array_equal(model.score_samples(frame), before)


def test_an_option_of_a_model_inside_another_estimator_is_checked(frame):
    detector = VAEOutlierDetector(estimator=VAETransformer(**LIGHT), random_state=0).fit(frame)
    for option, value in (("handle_unknown", "raise"), ("n_importance_samples", 0)):
        broken = copy.deepcopy(detector)
        broken.estimators_[0].set_params(**{option: value})
        for method in ("score_samples", "decision_function", "predict", "explain", "complete", "p_values"):
            with pytest.raises(InvalidParameterError, match=f"The '{option}' parameter of VAETransformer"):
                getattr(broken, method)(frame)
    imputer = VAEImputer(VAETransformer(**LIGHT), random_state=0).fit(frame)
    imputer.estimators_[0].set_params(handle_unknown="raise")
    for method in ("transform", "draw"):
        with pytest.raises(InvalidParameterError, match="The 'handle_unknown' parameter of VAETransformer"):
            getattr(imputer, method)(frame)


@pytest.mark.parametrize(("option", "value"), [("n_importance_samples", 0), ("sample_posterior", "yes")])
def test_an_option_of_the_imputer_is_checked(frame, option, value):
    imputer = VAEImputer(VAETransformer(**LIGHT), random_state=0).fit(frame).set_params(**{option: value})
    for method in ("transform", "draw"):
        with pytest.raises(InvalidParameterError, match=f"The '{option}' parameter of VAEImputer"):
            getattr(imputer, method)(frame)


def test_options_that_are_right_may_be_changed(vae, frame):
    model = copy.deepcopy(vae).set_params(handle_unknown="error", n_importance_samples=np.int64(3))
    assert np.isfinite(model.score_samples(frame)).all()
    model.set_params(n_components=-1, batch_size="nonsense")  # read by fit alone, which will say so
    assert np.isfinite(model.transform(frame)).all()


# -- conditions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [10**400, -(10**400), 1j, "3", ["1.0"], np.inf])
def test_a_condition_beyond_float64_is_an_error(vae, value):
    with pytest.raises(TypeError, match="given must hold finite numbers in number columns"):
        vae.sample(1, given={"a": value})


# -- a training that blew up -------------------------------------------------------------------------------------------

BLOWN = {
    "counts": {"likelihood": {"n": "negative_binomial"}},
    "zero_inflated": {"likelihood": {"n": "zero_inflated_poisson"}, "prior": "standard_normal"},
    "numbers": {"prior": "aggregated", "objective": "elbo"},
}


def blown_up(frame, **options):
    """A model as it was kept before weights of any size were refused."""
    rate = {"learning_rate": "constant", "learning_rate_init": 1e30, "batch_size": 60}
    with warnings.catch_warnings(), mock.patch("skvae._engine.optimiser.HUGE", math.inf):
        warnings.simplefilter("ignore")
        return VAETransformer(**(LIGHT | rate | options)).fit(frame)


def is_nan(answer):
    parts = answer if isinstance(answer, tuple) else (answer,)
    return any(pd.DataFrame(part).select_dtypes("number").isna().any(axis=None) for part in parts)


@pytest.mark.parametrize("name", BLOWN)
def test_a_model_that_training_blew_up_says_so(frame, name):
    model = blown_up(frame, **BLOWN[name])
    assert not model.converged_
    asks = ASKS | {
        "sample": lambda model, X: model.sample(5, missing=False, random_state=0),
        "given": lambda model, X: model.sample(5, given={"k": "x"}, missing=False, random_state=0),
        "prior": lambda model, X: model.sample(5, codes="prior", missing=False, random_state=0),
        "sample_latent": lambda model, X: model.sample_latent(5, random_state=0),
    }
    refused = []
    for ask in asks:
        try:
            assert not is_nan(asks[ask](model, frame)), ask
        except ValueError as error:
            assert "The model is not usable" in str(error), ask  # noqa: PT017
            refused.append(ask)
    assert {"given", "sample"} <= set(refused)
    assert not any(column.ranks for column in model.schema_.columns)


def test_estimators_that_hold_such_a_model_say_so(frame):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        imputer = VAEImputer(VAETransformer(**LIGHT), random_state=0).fit(frame)
        detector = VAEOutlierDetector(estimator=VAETransformer(**LIGHT), random_state=0).fit(frame)
    imputer.estimators_ = detector.estimators_ = [blown_up(frame, n_train_samples=5, **BLOWN["counts"])]
    refused = []
    for ask in (detector.score_samples, detector.predict, detector.explain, detector.p_values):
        try:
            answer = ask(frame)
            assert not isinstance(answer, np.ndarray) or not np.isnan(answer.astype(float)).any(), ask.__name__
        except ValueError as error:
            refused.append(str(error))
    assert refused
    assert all("The model is not usable" in message for message in refused)


def test_weights_that_are_not_finite_are_never_kept(frame):
    """A step of the last batch may break what all losses before it were fine with."""
    options = {"learning_rate": "constant", "learning_rate_init": 1e42, "batch_size": 60, "max_iter": 5}
    for cls in (VAETransformer, AutoencoderTransformer):
        with pytest.raises(ValueError, match="loss was not finite in the last 5 epoch"):
            cls(**(LIGHT | options)).fit(frame)


def test_all_parameters_that_are_out_of_range_are_named():
    X = np.random.default_rng(0).normal(size=(40, 3))
    model = VAETransformer(2, max_iter=1, early_stopping=False).fit(X)
    model.set_params(handle_unknown="no", n_importance_samples=0)
    with pytest.raises(ValueError, match=r"'handle_unknown' parameter.*'n_importance_samples' parameter"):
        model.score_samples(X)
