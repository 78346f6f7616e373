"""AutoencoderTransformer: what it minimises, what its scores are, and whether corruption removes noise."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning

from skvae import AutoencoderTransformer


def test_the_score_is_minus_the_squared_error_in_standardised_units(light_autoencoder, X):
    model = light_autoencoder(max_iter=10).fit(X)
    error = ((X - model.reconstruct(X)) / X.std(axis=0)) ** 2
    np.testing.assert_allclose(model.score_samples(X), -error.sum(axis=1), rtol=1e-6)
    assert model.score(X) == pytest.approx(-error.sum(axis=1).mean(), rel=1e-6)


def test_no_column_dominates(light_autoencoder, X):
    """Columns in other units give the same codes."""
    scales = np.array([1e-3, 1.0, 1e3, 1e6])
    model, other = light_autoencoder(max_iter=10).fit(X), light_autoencoder(max_iter=10).fit(X * scales)
    np.testing.assert_allclose(other.transform(X * scales), model.transform(X), atol=1e-3)
    np.testing.assert_allclose(other.score_samples(X * scales), model.score_samples(X), rtol=1e-3)


def test_the_cross_entropy_is_that_of_fractions(light_autoencoder, digits):
    X = digits[0][:200, 10:30]
    model = light_autoencoder(loss="cross_entropy", max_iter=10).fit(X)
    varying = np.ptp(X, axis=0) > 0.0  # a constant column stands outside the model
    p, x = model.reconstruct(X)[:, varying], X[:, varying]
    assert ((p > 0.0) & (p < 1.0)).all()
    entropy = -(x * np.log(p) + (1.0 - x) * np.log1p(-p)).sum(axis=1)
    np.testing.assert_allclose(model.score_samples(X), -entropy, rtol=1e-5)


def test_only_observed_cells_are_scored(light_autoencoder, X):
    holes = X.copy()
    holes[::2, 1] = np.nan
    model = light_autoencoder(max_iter=5).fit(holes)
    spread = np.nanstd(holes, axis=0)
    error = np.nansum(((holes - model.reconstruct(holes)) / spread) ** 2, axis=1)
    np.testing.assert_allclose(model.score_samples(holes), -error, rtol=1e-6)
    np.testing.assert_array_equal(model.score_samples(np.full((1, 4), np.nan)), [0.0])


def test_pooled_levels_are_scored_by_their_share_of_the_code(light_autoencoder):
    rare = [f"r{i}" for i in range(400)]
    frame = pd.DataFrame({"c": pd.Categorical(["common"] * 800 + rare * 2), "x": np.arange(1600.0)})
    frame = frame.sample(frac=1.0, random_state=0)
    with pytest.warns(ConvergenceWarning, match="still rising"):
        model = light_autoencoder(early_stopping=True).fit(frame, X_val=frame[::3])
    levels = model.schema_.columns[0].levels
    rows = pd.DataFrame({"c": pd.Categorical(["common", levels.pooled[0], None]), "x": 7.0})
    of_codes = model._engine.score(model.schema_.encode(model._table(rows)))
    np.testing.assert_allclose(model.score_samples(rows) - of_codes, [0.0, np.log(levels.shares[0]), 0.0], atol=1e-9)
    assert levels.shares[0] < 0.01
    assert max(model.validation_scores_) == pytest.approx(model.score(frame[::3]), rel=1e-5)


def test_the_loss_falls_and_is_the_error_of_the_model(light_autoencoder, X):
    model = light_autoencoder(max_iter=60, learning_rate_init=0.01, alpha=0.0).fit(X)
    assert model.loss_curve_[-1] < 0.5 * model.loss_curve_[0]
    assert -model.score(X) == pytest.approx(model.loss_curve_[-1], rel=0.3)


def test_reported_errors_do_not_depend_on_units(light_autoencoder, X):
    model, other = light_autoencoder().fit(X), light_autoencoder().fit(X * 1000.0)
    np.testing.assert_allclose(model.loss_curve_, other.loss_curve_, rtol=1e-4)


def test_a_linear_autoencoder_finds_the_plane_of_the_principal_components(X):
    standardised = (X - X.mean(axis=0)) / X.std(axis=0)
    model = AutoencoderTransformer(
        2,
        hidden_layer_sizes=(),
        max_iter=400,
        batch_size=60,
        learning_rate_init=0.03,
        alpha=0.0,
        early_stopping=False,
        device="cpu",
        random_state=0,
    ).fit(standardised)
    left_over = np.linalg.svd(standardised, compute_uv=False)[2:]
    assert -model.score(standardised) * 60 == pytest.approx((left_over**2).sum(), rel=0.02)


@pytest.mark.parametrize("corruption", ["masking", "gaussian"])
def test_corruption_removes_noise_better_than_none(digits, corruption):
    X, _ = digits
    rng = np.random.RandomState(0)
    train, test = X[:1000], X[1000:]
    if corruption == "gaussian":
        noisy = test + X.std(axis=0) * rng.normal(size=test.shape)
    else:
        noisy = np.where(rng.uniform(size=test.shape) < 0.4, train.mean(axis=0), test)
    common = {"n_components": 32, "hidden_layer_sizes": (128,), "max_iter": 15, "early_stopping": False}
    common |= {"device": "cpu", "random_state": 0, "learning_rate_init": 1e-2}
    plain = AutoencoderTransformer(**common).fit(train)
    denoising = AutoencoderTransformer(
        **common, corruption=corruption, corruption_level=1.0 if corruption == "gaussian" else 0.4
    ).fit(train)
    error = {
        name: ((model.reconstruct(noisy) - test) ** 2).mean()
        for name, model in {"plain": plain, "denoising": denoising}.items()
    }
    assert error["denoising"] < 0.85 * error["plain"]
    assert error["denoising"] < 0.8 * ((noisy - test) ** 2).mean()


def test_corruption_is_of_the_training_only(light_autoencoder, X):
    model = light_autoencoder(corruption="gaussian", corruption_level=0.5).fit(X)
    np.testing.assert_array_equal(model.transform(X), model.transform(X))
    error = ((X - model.reconstruct(X)) / X.std(axis=0)) ** 2
    np.testing.assert_allclose(model.score_samples(X), -error.sum(axis=1), rtol=1e-6)


def test_corruption_and_its_level_reach_the_training(light_autoencoder, X):
    losses = [
        light_autoencoder(corruption="gaussian", corruption_level=level).fit(X).loss_curve_[-1]
        for level in (1e-6, 0.5, 5.0)
    ]
    assert losses[0] == pytest.approx(light_autoencoder().fit(X).loss_curve_[-1], rel=0.1)
    assert losses[0] < losses[1] < losses[2]


def test_missing_cells_may_be_corrupted_as_well(light_autoencoder, X):
    holes = X.copy()
    holes[::2, 1] = np.nan
    for corruption in ("masking", "gaussian"):
        model = light_autoencoder(corruption=corruption).fit(holes)
        assert np.isfinite(model.reconstruct(holes)).all()
