"""What a GPU must do as the CPU does; `tests/engine/test_devices.py` has what can be tested without one."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from skvae import AutoencoderTransformer, VAEImputer, VAEOutlierDetector, VAETransformer
from skvae._engine import replay, training

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

MODELS = {
    "default": VAETransformer,
    "textbook": partial(VAETransformer, likelihood="gaussian", prior="standard_normal", objective="elbo"),
    "dreg, trimmed": partial(VAETransformer, objective="dreg", trim=0.1),
    "exemplars": partial(VAETransformer, likelihood="gaussian", prior="aggregated"),
    "warm-up": partial(VAETransformer, kl_warmup=0.2),
    "free bits": partial(VAETransformer, free_bits=0.1),
    "autoencoder": partial(AutoencoderTransformer, corruption="masking"),
}


def frame(n=600):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(n, 2))
    x = pd.DataFrame(z @ rng.normal(size=(2, 4)) + 0.3 * rng.normal(size=(n, 4)), columns=list("abcd"))
    x = x.assign(count=rng.poisson(np.exp(0.5 * z[:, 0])), level=pd.Categorical(np.where(z[:, 1] > 0, "x", "y")))
    return x.mask(rng.random(x.shape) < 0.05)


@pytest.fixture(params=MODELS)
def make(request):
    return partial(MODELS[request.param], max_iter=30, batch_size=64, random_state=0, early_stopping=False)


def test_a_fit_ends_as_high_as_on_the_cpu(make):
    on_cpu, on_gpu = (make(device=device).fit(frame()) for device in ("cpu", "cuda"))
    assert on_gpu.loss_curve_[-1] == pytest.approx(on_cpu.loss_curve_[-1], abs=0.3)  # the noise is another


def test_a_captured_step_is_the_step(make, monkeypatch):
    graphs, own = [], replay._graph
    monkeypatch.setattr(replay, "_graph", lambda *args: graphs.append(own(*args)) or graphs[-1])
    curves = []
    for often in (10**9, 2):
        monkeypatch.setattr(training, "OFTEN", often)
        curves.append(make(device="cuda").fit(frame()).loss_curve_)
    assert bool(graphs) == ("free_bits" not in make.keywords)
    assert None not in graphs
    np.testing.assert_allclose(curves[0], curves[1], atol=1e-3)


def test_what_is_fitted_there_answers_here(make):
    model, X = make(device="cuda").fit(frame()), frame()
    here = pickle.loads(pickle.dumps(model))
    here._engine = type(model._engine).from_state(model._engine.state(), "cpu")
    assert (here._engine.device.type, model._engine.device.type) == ("cpu", "cuda")
    np.testing.assert_allclose(here.transform(X), model.transform(X), atol=1e-4)
    np.testing.assert_allclose(here.score_samples(X), model.score_samples(X), atol=1e-4)
    np.testing.assert_array_equal(model.score_samples(X), model.score_samples(X))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="torch finds no second CUDA device here")
def test_the_second_gpu_captures_its_own_steps(make):
    first, second = (make(device=f"cuda:{i}").fit(frame()) for i in range(2))
    np.testing.assert_allclose(second.loss_curve_, first.loss_curve_, atol=1e-3)
    assert second._engine.device == torch.device("cuda", 1)


def test_a_table_in_main_memory_trains_the_same_model(make, monkeypatch):
    resident = make(device="cuda").fit(frame())
    monkeypatch.setattr("skvae._engine.engine.home_of_rows", lambda n_bytes, device: torch.device("cpu"))
    np.testing.assert_allclose(make(device="cuda").fit(frame()).loss_curve_, resident.loss_curve_, atol=1e-3)


def test_drawn_rows_are_as_on_the_cpu():
    model = VAETransformer(device="cuda", random_state=0).fit(frame())
    drawn = model.sample(2_000, random_state=0)
    pd.testing.assert_frame_equal(drawn, model.sample(2_000, random_state=0))
    assert abs(drawn["a"].mean() - frame()["a"].mean()) < 0.2
    assert model.sample(10, given={"level": "x"}, random_state=0)["level"].eq("x").all()


def test_the_detector_and_the_imputer():
    X = frame().drop(columns="level").astype(float)
    for novelty in (False, True):
        detector = VAEOutlierDetector(estimator=VAETransformer(device="cuda", max_iter=30), novelty=novelty).fit(X)
        assert np.isfinite(detector.score_samples(X)).all()
    assert not VAEImputer(estimator=VAETransformer(device="cuda", max_iter=30)).fit_transform(X).isna().any(axis=None)


def test_two_threads_train_two_models():
    def curve(seed):
        return VAETransformer(device="cuda", max_iter=30, random_state=0).fit(frame()).loss_curve_

    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(curve, range(2)):
            np.testing.assert_allclose(found, curve(0), atol=1e-3)


def test_a_step_that_does_not_fit_says_so():
    X = np.random.default_rng(0).normal(size=(200_000, 10))
    model = VAETransformer(device="cuda", batch_size=200_000, n_train_samples=10_000, max_iter=1)
    with pytest.raises(MemoryError, match="batch_size"):
        model.fit(X)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_an_epoch_does_not_wait_for_the_gpu(make, monkeypatch):
    """Steps after the last capture read no number of the GPU's."""
    if "free_bits" in make.keywords:
        pytest.skip("autograd may wait")
    waits, own = [], training.minibatches

    def watched(*args):
        torch.cuda.set_sync_debug_mode("error" if len(waits) > 15 else "default")
        waits.append(1)
        yield from own(*args)
        torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(training, "minibatches", watched)
    try:
        make(device="cuda").fit(frame())
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(waits) == 30
