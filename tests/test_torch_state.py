"""Whatever is set in torch around a call: the same numbers, and what was set is as it was."""

import copy
import inspect
import pickle
import threading
import warnings
from contextlib import contextmanager
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.utils import get_tags
from torch import nn

from skvae import AutoencoderTransformer, VAEImputer, VAEOutlierDetector, VAETransformer
from skvae._engine.engine import AutoencoderEngine, Engine
from skvae._engine.optimiser import Optimiser
from skvae._engine.runtime import own_torch_state
from skvae._engine.training import Plan
from skvae._engine.vae import VAEEngine
from skvae.nn.likelihoods import Gaussian
from skvae.nn.priors import Mixture

SMALL = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 1, "device": "cpu", "random_state": 0}
SMALL |= {"early_stopping": False}


@contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def switched(switch, *, on, off):
    switch(on)
    try:
        yield
    finally:
        switch(off)


SETTINGS = {
    "float64": partial(default_dtype, torch.float64),
    "bfloat16": partial(default_dtype, torch.bfloat16),
    "float16": partial(default_dtype, torch.float16),
    "no_grad": torch.no_grad,
    "set_grad_enabled": partial(torch.set_grad_enabled, False),
    "inference_mode": torch.inference_mode,
    "autocast": partial(torch.autocast, "cpu", dtype=torch.bfloat16),
    "default_device": partial(default_device, "meta"),
    "device": partial(torch.device, "meta"),
    "deterministic": partial(switched, torch.use_deterministic_algorithms, on=True, off=False),
    "flush_denormal": partial(switched, torch.set_flush_denormal, on=True, off=False),
    "anomaly": partial(torch.autograd.set_detect_anomaly, True, check_nan=False),
}


def state():
    """What the settings above change."""
    return (
        torch.get_default_dtype(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.empty(0).device.type,
        torch.are_deterministic_algorithms_enabled(),
        (torch.tensor(2.0**-1022, dtype=torch.float64, device="cpu") * 0.5).item() == 0.0,
        torch.is_anomaly_enabled(),
        torch.get_float32_matmul_precision(),
        torch.get_num_threads(),
        torch.get_rng_state().numpy().tobytes(),
    )


@contextmanager
def everything_at_once():
    with default_dtype(torch.float64), torch.device("meta"), torch.inference_mode(), torch.autocast("cpu"):
        yield


STRONG = {"everything": everything_at_once, **{name: SETTINGS[name] for name in ("bfloat16", "no_grad")}}


@pytest.fixture(params=SETTINGS)
def any_setting(request):
    return SETTINGS[request.param]


@pytest.fixture(params=STRONG)
def setting(request):
    """The few settings that could do harm wherever torch is touched."""
    return STRONG[request.param]


class Net(nn.Module):
    """A network of the user's that makes tensors of torch's default dtype and device."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.linear, self.scale = nn.Linear(n_in, n_out), nn.Parameter(torch.ones(n_out))

    def forward(self, x):
        return self.linear(x) * self.scale * torch.full((1,), 0.5)


class OwnPrior(Mixture):
    """A prior of the user's."""


def frame(n=40, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    X = pd.DataFrame(
        {
            "x": 3.0 + z + 0.3 * rng.normal(size=n),
            "y": np.where(rng.random(n) < 0.4, 0.0, np.exp(z)),
            "n": rng.poisson(np.exp(0.5 * z)),
            "b": rng.random(n) < 0.5,
            "k": pd.Categorical(rng.choice(list("uvw"), n)),
            "o": pd.Categorical(rng.choice(["low", "mid", "high"], n), categories=["low", "mid", "high"], ordered=True),
        }
    )
    X.loc[::7, "x"] = np.nan
    X.loc[3, "k"] = None
    return X


VAES = {
    "default": {},
    "counts": {"likelihood": {"n": "negative_binomial", "y": "gaussian"}, "objective": "dreg"},
    "zero_inflated": {"likelihood": {"n": "zero_inflated_poisson"}, "prior": "aggregated", "marginals": "normal"},
    "elbo": {"objective": "elbo", "prior": "standard_normal", "free_bits": 0.1, "trim": 0.2, "batch_size": 16},
    "networks": {"encoder": Net, "decoder": Net, "prior": OwnPrior},
    "factories": {
        "likelihood": {"x": lambda n: Gaussian(n, scale="column")},
        "prior": partial(Mixture, n_components=3),
    },
}


def vae(**options):
    return VAETransformer(**(SMALL | options))


def quietly(function):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function()


def assert_same(one, other):
    if isinstance(one, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs)
    else:
        np.testing.assert_array_equal(one, other)


def assert_unmoved_by(setting, function):
    """The same answers and the same state."""
    expected = quietly(function)
    with setting():
        before = state()
        answers = quietly(function)
        after = state()
    assert after == before
    assert_same(answers, expected)


def of_transformer(model, X):
    """Answers of all methods that both transformers have."""
    codes = model.transform(X)
    return [codes, model.inverse_transform(codes), model.reconstruct(X), model.score_samples(X), model.score(X)]


def of_vae(model, X):
    drawn = model.sample(5, random_state=0), model.sample(3, given={"x": 3.0, "k": "u"}, random_state=0)
    rest = [model.posterior(X), model.score_uncertainty(X), *drawn, model.sample(2, noise=False, random_state=0)]
    return [*of_transformer(model, X), *rest, model.sample_latent(4, codes="prior", random_state=0)]


def test_a_vae_is_fitted_answers_and_is_loaded(any_setting):
    X = frame()

    def answers():
        return of_vae(pickle.loads(pickle.dumps(vae(encoder=Net).fit(X))), X)

    assert_unmoved_by(any_setting, answers)


def test_the_precision_of_products_stays_the_users():
    """The numbers of a fit may follow it; scores in double precision do not."""
    model = vae().fit(frame())
    expected = model.score_samples(frame())
    with switched(torch.set_float32_matmul_precision, on="medium", off="highest"):
        before = state()
        np.testing.assert_array_equal(model.score_samples(frame()), expected)
        assert np.isfinite(vae().fit(frame()).score_samples(frame())).all()
        assert state() == before


@pytest.mark.parametrize("name", VAES)
def test_every_part_is_built_trained_and_asked(setting, name):
    X = frame()
    assert_unmoved_by(setting, lambda: of_vae(vae(**VAES[name]).fit(X), X))


def test_an_autoencoder_is_fitted_and_answers(setting):
    X = frame()
    make = partial(AutoencoderTransformer, **SMALL, corruption="gaussian")
    assert_unmoved_by(setting, lambda: of_transformer(make().fit(X), X))


def test_rows_of_float32_are_answered(setting):
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    assert_unmoved_by(setting, lambda: of_transformer(vae().fit(X), X))


def test_early_stopping_and_warm_start(setting):
    X = frame()

    def fitted():
        model = vae(early_stopping=True, warm_start=True).fit(X, X_val=X.head(20))
        return of_transformer(model.fit(X), X)

    assert_unmoved_by(setting, fitted)


def test_training_goes_on_in_another_state(setting):
    X, model = frame(), vae(encoder=Net).partial_fit(frame().head(25))
    assert_unmoved_by(setting, lambda: of_transformer(copy.deepcopy(model).partial_fit(X.tail(30)), X))


def test_a_model_that_was_fitted_copied_or_loaded_in_another_state_goes_on_outside(setting):
    X = frame()
    chunked = vae().partial_fit(X)
    expected = of_transformer(copy.deepcopy(chunked).partial_fit(X), X)
    saved = pickle.dumps(chunked)
    with setting():
        twins = [vae().partial_fit(X), clone(chunked).partial_fit(X), copy.deepcopy(chunked), pickle.loads(saved)]
    for twin in twins:
        assert_same(of_transformer(twin.partial_fit(X), X), expected)


@pytest.mark.parametrize("novelty", [False, True])
def test_a_detector_is_fitted_and_answers(setting, novelty):
    X = frame()

    def answers():
        detector = VAEOutlierDetector(novelty=novelty, estimator=vae(), random_state=0, device="cpu").fit(X)
        scores = [detector.score_samples(X), detector.predict(X), detector.p_values(X), detector.select_outliers(X)]
        return [*scores, *detector.explain(X), detector.complete(X), detector.score_uncertainty(X)]

    assert_unmoved_by(setting, answers)


def test_an_imputer_is_fitted_and_answers(setting):
    X = frame()

    def answers():
        imputer = VAEImputer(vae(), n_importance_samples=20, random_state=0, add_indicator=True).fit(X)
        return [imputer.transform(X), *imputer.draw(X, 2, random_state=0)]

    assert_unmoved_by(setting, answers)


def test_tags_and_clones(setting):
    assert_unmoved_by(setting, lambda: [get_tags(clone(vae(**options))).input_tags.sparse for options in VAES.values()])


def test_what_is_done_between_epochs_is_done_in_the_users_state(any_setting):
    X, seen = np.random.default_rng(0).normal(size=(40, 3)), []
    model = vae(encoder=Net).fit(X)
    plan = Plan(batch_size=16, max_iter=2, learning_rate_init=0.01, learning_rate="constant", alpha=0.0)
    with any_setting():
        before = state()
        for _ in model._engine.train(X.astype(np.float32), None, model._settings().bound, plan):
            seen.append(state() == before)
    assert seen == [True, True]


def test_a_failing_call_gives_the_state_back(any_setting):
    X = frame()
    model = vae().fit(X)
    with any_setting():
        before = state()
        with pytest.raises(ValueError, match="columns of X differ"):
            model.transform(X[["x"]])
        with pytest.raises(ZeroDivisionError):
            vae(encoder=lambda n_in, n_out: 1 / 0).fit(X)
        assert state() == before


def test_two_threads_share_a_default_dtype():
    """The first to leave does not pull the rug from under the other; the last gives the user's back."""
    entered, go, inside = threading.Event(), threading.Event(), []

    def stay():
        with own_torch_state():
            entered.set()
            go.wait(10)
            inside.append(torch.get_default_dtype())

    with default_dtype(torch.float64):
        thread = threading.Thread(target=stay)
        thread.start()
        entered.wait(10)
        with own_torch_state():
            assert torch.get_default_dtype() == torch.float32
        go.set()
        thread.join()
        assert inside == [torch.float32]
        assert torch.get_default_dtype() == torch.float64


@pytest.mark.parametrize("cls", [VAEEngine, Engine, AutoencoderEngine])
def test_every_public_method_of_an_engine_is_a_door(cls):
    methods = {name: method for name, method in vars(cls).items() if inspect.isroutine(method)}
    public = [name for name in methods if not name.startswith("_") and not isinstance(methods[name], staticmethod)]
    assert public
    assert [name for name in public if not hasattr(getattr(cls, name), "__wrapped__")] == []


def test_steps_know_no_denormal_numbers(monkeypatch):
    seen, own = [], Optimiser.move

    def is_kept():
        return (torch.tensor([2.0**-126]) * 0.5).item() > 0.0

    monkeypatch.setattr(Optimiser, "move", lambda *args: (seen.append(is_kept()), own(*args)))
    model = VAETransformer(max_iter=3, early_stopping=False, random_state=0)
    model.fit(np.random.default_rng(0).normal(size=(50, 3)))
    assert is_kept()
    assert seen
    assert not any(seen)
