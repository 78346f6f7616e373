"""Device, streams and quasi-random points."""

import numpy as np
import pytest
import torch
from scipy import stats

from skvae._engine.runtime import CHUNK_CELLS, chunk_size, generator, normal_quasi_draws, resolve_device


def test_longer_sequence_extends_the_shorter_one():
    long = normal_quasi_draws(200, 4, seed=3)
    for n in (1, 7, 64):
        np.testing.assert_array_equal(normal_quasi_draws(n, 4, seed=3), long[:n])


def test_points_follow_the_seed_alone():
    before = torch.get_rng_state()
    one, again, other = (normal_quasi_draws(16, 3, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_points_are_finite_float64_of_the_asked_shape():
    points = normal_quasi_draws(1024, 25, seed=0)
    assert points.shape == (1024, 25)
    assert points.dtype == np.float64
    assert np.isfinite(points).all()


def test_points_cover_the_normal_better_than_chance():
    points = normal_quasi_draws(1024, 5, seed=0)
    for column in points.T:
        # The mean of 1024 random draws errs by 0.03, that of a scrambled Sobol sequence by far less.
        assert abs(column.mean()) < 0.003
        assert abs(column.std() - 1.0) < 0.01
        assert stats.kstest(column, "norm").statistic < 0.01


def test_each_point_is_normal_over_seeds():
    first = np.concatenate([normal_quasi_draws(1, 2, seed) for seed in range(2000)])
    for column in first.T:
        assert stats.kstest(column, "norm").pvalue > 1e-3


def test_generator_is_a_stream_of_its_own():
    before = torch.get_rng_state()
    one, other = (torch.randn(4, generator=generator(5)) for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("n_draws", [1, 64, 10**9])
def test_chunks_hold_a_row_at_least_and_a_layer_at_most(n_draws):
    size = chunk_size(n_draws, 128)
    assert size >= 1
    assert size == 1 or size * n_draws * 128 <= CHUNK_CELLS["cpu"]


def test_small_tables_stay_on_the_cpu():
    assert resolve_device("auto", n_cells=10).type == "cpu"
    assert resolve_device("cpu").type == "cpu"


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "", "meta"])
def test_device_that_is_not_there_is_an_error(device):
    with pytest.raises(ValueError, match="'device' parameter must be 'auto' or a device that torch has here"):
        resolve_device(device)
