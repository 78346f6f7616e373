"""What must hold for any table: invariances, determinism, and numbers that repeat."""

import os
import pickle
import subprocess
import sys
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skvae import AutoencoderTransformer, VAETransformer
from skvae.nn.likelihoods import Gaussian

P = 4
LIGHT = {"hidden_layer_sizes": (16, 8), "max_iter": 3, "early_stopping": False, "random_state": 0, "device": "cpu"}
quick = settings(max_examples=25, deadline=None)


def table(n=80, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2)) @ rng.normal(size=(2, P)) + 0.3 * rng.normal(size=(n, P))
    return X * [1e-3, 1.0, 10.0, 1e3] + [0.0, 5.0, 0.0, -1e3]


def holed(n=80, seed=0):
    X = table(n, seed)
    X[np.random.default_rng(seed + 1).random(X.shape) < 0.2] = np.nan
    X[3] = np.nan
    return X


@pytest.fixture(scope="module", params=["default", "gaussian elbo", "linear", "plain autoencoder"])
def model(request):
    """Fitted once to rows with missing cells, in several settings."""
    estimator = {
        "default": VAETransformer(2, n_importance_samples=16, **LIGHT),
        "gaussian elbo": VAETransformer(
            2, likelihood="gaussian", objective="elbo", prior="standard_normal", n_importance_samples=16, **LIGHT
        ),
        "linear": VAETransformer(2, likelihood=partial(Gaussian, scale="shared"), **LIGHT | {"hidden_layer_sizes": ()}),
        "plain autoencoder": AutoencoderTransformer(2, **LIGHT),
    }[request.param]
    return estimator.fit(holed())


@cache
def fitted_once():
    return VAETransformer(2, **LIGHT).fit(table())


def answers(model, X):
    """All that is asked of rows, side by side, in float64."""
    parts = [model.transform(X), model.score_samples(X)[:, None], model.reconstruct(X)]
    if isinstance(model, VAETransformer):
        parts += model.posterior(X)
    return np.hstack(parts)


def assert_close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


# -- rows ------------------------------------------------------------------------------------------------------------


@quick
@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_rows_do_not_know_of_one_another(model, random, n):
    X = holed(30, seed=7)
    whole = answers(model, X)
    order = random.sample(range(30), n)
    assert_close(answers(model, X[order]), whole[order])


@quick
@given(st.integers(1, 3000))
def test_inference_chunks_do_not_show(model, size):
    X = holed(30, seed=7)
    whole = answers(model, X)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skvae._engine.runtime.CHUNK_CELLS", {"cpu": size, "cuda": size})
        assert_close(answers(model, X), whole)


def test_a_repeated_row_gets_the_same_answer(model):
    X = np.repeat(table(1, seed=9), 50, axis=0)
    got = answers(model, X)
    assert_close(got, np.tile(got[:1], (50, 1)))


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda X: np.vstack([X, X])[: len(X)], lambda X: X[::-1][::-1]])
def test_memory_layout_does_not_matter(model, layout):
    X = holed(30, seed=7)
    assert_close(answers(model, layout(X)), answers(model, X))


def test_input_is_not_written_to(model):
    X = holed(30, seed=7)
    before = X.copy()
    X.setflags(write=False)
    answers(model, X)
    np.testing.assert_array_equal(X, before)


def test_float32_rows_agree_with_float64_rows(model):
    X = holed(30, seed=7)
    single = X.astype(np.float32)
    assert model.transform(single).dtype == np.float32
    np.testing.assert_allclose(model.transform(single), model.transform(single.astype(float)), atol=1e-4)


# -- determinism -----------------------------------------------------------------------------------------------------


def test_questions_are_answered_the_same_twice(model):
    X = holed(30, seed=7)
    np.testing.assert_array_equal(answers(model, X), answers(model, X))


@quick
@given(st.integers(0, 2**31 - 1))
def test_same_seed_draws_the_same_rows(seed):
    model = fitted_once()
    one, again = (model.sample(5, random_state=seed) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, model.sample(5, random_state=seed + 1))
    np.testing.assert_array_equal(*(model.sample_latent(5, random_state=seed) for _ in range(2)))


def test_no_seed_draws_other_rows_each_time():
    model = fitted_once()
    assert not np.array_equal(model.sample(5), model.sample(5))


def test_same_seed_fits_the_same_model_bit_for_bit():
    one, again = (VAETransformer(2, **LIGHT).fit(holed()) for _ in range(2))
    np.testing.assert_array_equal(answers(one, table()), answers(again, table()))
    assert one.loss_curve_ == again.loss_curve_
    other = VAETransformer(2, **LIGHT | {"random_state": 1}).fit(holed())
    assert not np.allclose(one.transform(table()), other.transform(table()))


def test_refit_forgets_the_first_fit():
    model = VAETransformer(2, **LIGHT).fit(table(seed=5)).fit(table())
    np.testing.assert_array_equal(answers(model, table()), answers(fitted_once(), table()))


def test_another_process_gives_the_same_numbers():
    code = (
        "import pickle, sys; sys.path.insert(0, 'tests'); from test_properties import *;"
        "sys.stdout.buffer.write(pickle.dumps(answers(fitted_once(), holed())))"
    )
    root = Path(__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONHASHSEED": "123"}
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    np.testing.assert_array_equal(pickle.loads(done.stdout), answers(fitted_once(), holed()))


# -- columns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [[3, 2, 1, 0], [1, 3, 0, 2]])
def test_linear_model_at_its_optimum_does_not_depend_on_the_order_of_columns(order):
    options = {
        "likelihood": partial(Gaussian, scale="column"),
        "prior": "standard_normal",
        "objective": "elbo",
        "n_train_samples": 4,
        "alpha": 0.0,
        "batch_size": 80,
        "max_iter": 400,
        "learning_rate_init": 0.05,
    }
    one, other = (
        VAETransformer(1, **LIGHT | options | {"hidden_layer_sizes": ()}).fit(X) for X in (table(), table()[:, order])
    )
    np.testing.assert_allclose(other.score_samples(table()[:, order]), one.score_samples(table()), atol=0.3)
    assert other.score(table()[:, order]) == pytest.approx(one.score(table()), abs=0.02)


def test_order_of_blocks_of_columns_does_not_matter_to_the_answer():
    """Columns of two likelihoods side by side or interleaved: every cell is scored by its own likelihood."""
    X = np.column_stack([table()[:, :2], (table()[:, 2:] > table()[:, 2:].mean(0)).astype(float)])
    for order in ([0, 1, 2, 3], [2, 0, 3, 1]):
        likelihood = {new: "bernoulli" if old >= 2 else "gaussian" for new, old in enumerate(order)}
        model = VAETransformer(2, likelihood=likelihood, **LIGHT).fit(X[:, order])
        draws = model.sample(200, random_state=0)
        binary = np.isin(draws, [0.0, 1.0]).all(axis=0)
        assert binary.tolist() == [old >= 2 for old in order]
        assert np.isfinite(model.score_samples(X[:, order])).all()
