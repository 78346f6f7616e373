"""Fixtures that several rooms of the tests share, and the threads that each of several workers may use."""

import os

# Before NumPy and torch read it: workers whose threads outnumber the cores wait for one another in busy loops.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    n_threads = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, n_threads)))

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from skvae import AutoencoderTransformer, VAETransformer

LIGHT = {"n_components": 2, "hidden_layer_sizes": (16, 8), "max_iter": 3, "device": "cpu", "random_state": 0}
LIGHT |= {"early_stopping": False}  # three epochs end before any stopping, which would be a warning each time


@pytest.fixture
def light_vae():
    """Make a small, quick VAETransformer; keyword arguments override."""
    return lambda **parameters: VAETransformer(**(LIGHT | {"n_importance_samples": 64} | parameters))


@pytest.fixture
def light_autoencoder():
    """Make a small, quick AutoencoderTransformer; keyword arguments override."""
    return lambda **parameters: AutoencoderTransformer(**(LIGHT | parameters))


@pytest.fixture(params=[VAETransformer, AutoencoderTransformer], ids=["vae", "autoencoder"])
def light(request):
    """Make a small, quick estimator of either class; keyword arguments override."""
    return lambda **parameters: request.param(**(LIGHT | parameters))


@pytest.fixture(scope="session")
def cancer():
    """Eight columns of the breast cancer table and its classes: read-only, shared by all tests."""
    data = load_breast_cancer()
    X = np.ascontiguousarray(data.data[:, :8])
    X.setflags(write=False)
    return X, data.target


@pytest.fixture(scope="session")
def digits():
    """The 8x8 digits as fractions in [0, 1], and their classes: read-only, shared by all tests."""
    data = load_digits()
    X = data.data / 16.0
    X.setflags(write=False)
    return X, data.target


@pytest.fixture
def X():
    """Sixty correlated rows of four columns on different scales."""
    rng = np.random.RandomState(0)
    factors = rng.normal(size=(60, 2))
    return (factors @ rng.normal(size=(2, 4)) + 0.3 * rng.normal(size=(60, 4))) * [1.0, 10.0, 0.1, 100.0] + 5.0
