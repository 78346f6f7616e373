"""Linear models of fixed noise start at the parameters that are known to be best."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from skvae import VAETransformer
from skvae._engine.closed_form import NOISES, leave_one_out
from skvae._members import SOLVED
from skvae.nn.likelihoods import Gaussian, StudentT

LINEAR = {
    "hidden_layer_sizes": (),
    "objective": "elbo",
    "n_train_samples": 1,
    "n_importance_samples": 4,
    "solver": "adam",
    "atoms": None,
    "bounds": None,
    "early_stopping": False,
    "random_state": 0,
    "device": "cpu",
    **SOLVED,
}


def table(n=300, p=4, seed=0):
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).normal(size=(p, p))
    return rng.normal(size=(n, p)) @ mixing * np.array([1.0, 30.0, 0.2, 5.0])[:p] + 2.0


def standardised(model, X):
    return model.schema_.encode(model._table(X))


@pytest.mark.parametrize("n_components", [2, 4, 6])
def test_a_linear_model_of_given_noise_starts_at_probabilistic_pca(n_components):
    """Tipping and Bishop (1999): of the eigenvalues the first k stay, but for the noise, and the others become it."""
    X, noise = table(), 0.3
    model = VAETransformer(n_components, likelihood=partial(Gaussian, scale=noise), prior="standard_normal", **LINEAR)
    model.fit(X)
    rows = standardised(model, X)
    variance, axes = np.linalg.eigh(np.cov(rows.T, bias=True))
    kept = np.arange(4) >= 4 - n_components
    variance = np.where(kept, np.maximum(variance, noise**2), noise**2)
    expected = multivariate_normal(rows.mean(axis=0), axes * variance @ axes.T).logpdf(rows)
    units = np.log([column.scale for column in model.schema_.columns]).sum()
    np.testing.assert_allclose(model.score_samples(X), expected - units, atol=1e-3)


def test_weights_and_missing_cells_have_their_part_in_the_start():
    X = table()
    heavy = np.where(np.arange(len(X)) < 100, 1.0, 0.0)
    asked = {"likelihood": partial(Gaussian, scale=0.1), "prior": "standard_normal", **LINEAR}
    some = VAETransformer(4, **asked).fit(X, sample_weight=heavy)
    only = VAETransformer(4, **asked).fit(X[:100])
    np.testing.assert_allclose(some.score_samples(X), only.score_samples(X), atol=0.1)
    holed = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    model = VAETransformer(4, **asked).fit(holed)
    assert np.corrcoef(model.score_samples(X), VAETransformer(4, **asked).fit(X).score_samples(X))[0, 1] > 0.95


def test_the_noise_left_out_best_is_that_of_a_kernel_density_estimate():
    rows = standardised(VAETransformer(2, **LINEAR | {"max_iter": 1}).fit(table()), table())

    def left_out(noise):
        distance = np.square(rows[:, np.newaxis] - rows).sum(axis=2) / (4.0 * noise**2)
        np.fill_diagonal(distance, np.inf)
        density = logsumexp(-distance, axis=1) - 4 * np.log(noise)
        return np.sort(density)[15:].mean()

    assert leave_one_out(rows) == max(NOISES, key=left_out)
    wide = np.random.default_rng(0).normal(size=(60, 12))
    assert leave_one_out(np.repeat(rows, 2, axis=0)) == NOISES[0]  # each row has a copy
    assert leave_one_out(wide) > leave_one_out(rows)


def test_exemplars_come_close_to_a_kernel_density_estimate():
    X, new = table(), table(seed=5)
    model = VAETransformer(4, likelihood=partial(Gaussian, scale="leave_one_out"), prior="aggregated", **LINEAR)
    model.set_params(n_importance_samples=4096).fit(X)
    rows, others = standardised(model, X), standardised(model, new)
    noise = leave_one_out(rows)
    distance = np.square(others[:, np.newaxis] - rows).sum(axis=2) / (4.0 * noise**2)
    expected = logsumexp(-distance, axis=1) - np.log(len(rows)) - 2.0 * np.log(4.0 * np.pi * noise**2)
    units = np.log([column.scale for column in model.schema_.columns]).sum()
    scores = model.score_samples(new) + units
    near = expected > np.quantile(expected, 0.2)
    assert np.corrcoef(scores, expected)[0, 1] > 0.98
    assert np.median(np.abs(scores - expected)[near]) < 0.3


def test_a_start_that_is_not_known_is_left_alone():
    X = table()
    shared = {"likelihood": partial(Gaussian, scale="shared"), "prior": "standard_normal", **LINEAR}
    assert not VAETransformer(2, **shared).fit(X)._engine.starts_at_rows
    deep = LINEAR | {"hidden_layer_sizes": (8,), "likelihood": partial(Gaussian, scale=0.1)}
    assert not VAETransformer(2, **deep).fit(X)._engine.starts_at_rows


def test_the_noise_follows_the_rows_of_nonlinear_models_too():
    deep = LINEAR | {"hidden_layer_sizes": (8,), "likelihood": partial(Gaussian, scale="leave_one_out")}
    model = VAETransformer(2, **deep).fit(table())
    (likelihood,) = model._engine.model.columns.likelihoods
    assert float(likelihood.log_scale.exp()) == pytest.approx(leave_one_out(standardised(model, table())))
    with pytest.raises(ValueError, match="scale of StudentT must be"):
        VAETransformer(2, **LINEAR, likelihood=partial(StudentT, scale="leave_one_out")).fit(table())


def test_numbers_beside_categories_start_so_too():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(table(), columns=list("abcd"))
    frame["c"] = pd.Categorical(rng.choice(["x", "y"], len(frame)))
    likelihood = dict.fromkeys("abd", partial(Gaussian, scale=0.1))
    model = VAETransformer(4, likelihood=likelihood, prior="standard_normal", **LINEAR).fit(frame)
    drawn = model.reconstruct(frame)[["a", "b", "d"]]
    error = (drawn - frame[["a", "b", "d"]]).std() / frame[["a", "b", "d"]].std()
    assert (error < 0.15).all()


def test_one_gross_error_does_not_become_the_first_component():
    X = table()
    X[7, 1] = 1e9
    model = VAETransformer(4, likelihood=partial(Gaussian, scale=0.1), prior="standard_normal", **LINEAR).fit(X)
    assert model.score_samples(X).argmin() == 7
    assert np.isfinite(model.score_samples(X)).all()


def test_rows_of_hardly_any_weight_fill_no_holes():
    """Where few rows are complete, holes are filled with means: weighted ones."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 3))
    X[np.arange(150), np.arange(150) % 3] = np.nan  # a hole in each
    strange = rng.normal(size=(100, 3)) + 6.0
    strange[:, 0] = np.nan
    weight = np.repeat([1.0, 1e-12], [150, 100])
    asked = {"likelihood": partial(Gaussian, scale=0.3), "prior": "standard_normal", "marginals": "linear", **LINEAR}
    alone = VAETransformer(2, **asked).fit(X).inverse_transform(np.zeros((1, 2)))
    beside = VAETransformer(2, **asked).fit(np.vstack([X, strange]), sample_weight=weight)
    np.testing.assert_allclose(beside.inverse_transform(np.zeros((1, 2))), alone, atol=0.05)
