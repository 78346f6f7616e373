"""Sample weights: what replaces scikit-learn's check that repeating rows equals weighting them."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp
from sklearn.base import clone

from skvae import VAETransformer
from skvae.nn.likelihoods import Gaussian

SEEDS = range(12)

# Three epochs are enough to see the weights at work, not to converge.
pytestmark = pytest.mark.filterwarnings("ignore:Early stopping did not end:sklearn.exceptions.ConvergenceWarning")


@pytest.fixture
def clusters():
    """Two groups of rows, and integer weights that favour the second.

    The groups differ in the sign of a correlation alone, so that weights which only reached the columns' location and
    scale would go unnoticed in them, but not in the model.
    """
    rng = np.random.RandomState(0)
    z, noise = rng.normal(size=(2, 30))
    first, second = np.c_[z, z + 0.3 * noise, rng.normal(size=30)], np.c_[z, -z - 0.3 * noise, rng.normal(size=30)]
    return np.r_[first, second], np.repeat([1, 12], 30)


def scores_over_seeds(X, weight, rows):
    """Score of `rows` after full-batch fits of the linear model from different start values."""
    model = VAETransformer(
        1,
        hidden_layer_sizes=(),
        likelihood=partial(Gaussian, scale="column"),
        objective="elbo",
        prior="standard_normal",
        n_train_samples=4,
        n_importance_samples=8,
        batch_size=10_000,
        learning_rate_init=0.1,
        max_iter=80,
        early_stopping=False,
        device="cpu",
    )
    fits = (model.set_params(random_state=seed).fit(X, sample_weight=weight) for seed in SEEDS)
    return np.array([fit.score_samples(rows).mean() for fit in fits])


def test_trimming_leaves_out_a_share_of_the_weight():
    """Rows of weight 5 that are half of the weight, but a sixth of the rows, count as if they were repeated."""
    rng = np.random.default_rng(0)
    usual, odd = rng.normal(size=(300, 10)), rng.normal(size=(60, 10))
    odd *= np.sqrt(10.0) / 0.3 / np.linalg.norm(odd, axis=1, keepdims=True)
    model = VAETransformer(
        1,
        hidden_layer_sizes=(),
        likelihood=partial(Gaussian, scale="column"),
        objective="elbo",
        prior="standard_normal",
        trim=0.35,
        atoms=None,
        alpha=0.0,
        batch_size=10_000,
        learning_rate_init=0.05,
        max_iter=200,
        early_stopping=False,
        random_state=0,
        device="cpu",
    )
    weighted = clone(model).fit(np.r_[usual, odd], sample_weight=np.repeat([1.0, 5.0], [300, 60]))
    repeated = clone(model).fit(np.r_[usual, np.repeat(odd, 5, axis=0)])
    ignored = clone(model).fit(np.r_[usual, odd])
    scores = [fitted.score_samples(odd).mean() for fitted in (weighted, repeated, ignored)]
    assert scores[0] == pytest.approx(scores[1], abs=2.0)
    assert abs(scores[2] - scores[1]) > 20.0  # the test could tell them apart


EXTREMES = [1e-300, 1e-17, 1e300]


@pytest.fixture
def mixed():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, 60)
    return pd.DataFrame(
        {
            "a": rng.normal(size=60),
            "z": np.where(codes == 0, 0.0, rng.normal(size=60)),
            "o": pd.Categorical.from_codes(codes, list("pqrs"), ordered=True),
            "k": pd.Categorical.from_codes(codes, list("pqrs")),
            "c": rng.poisson(2.0, 60),
            "b": rng.random(60) < 0.5,
        }
    )


@pytest.mark.parametrize("extreme", EXTREMES)
@pytest.mark.parametrize("options", [{}, {"prior": "aggregated", "marginals": "normal"}, {"trim": 0.3, "atoms": None}])
def test_weights_may_be_as_different_as_can_be(light_vae, mixed, options, extreme):
    """A level, an atom or a row of hardly any weight, or of all of it, gives finite numbers."""
    for group in (mixed["o"] == "p", mixed["o"] == "q", mixed["o"] == "s", np.arange(60) == 0):
        for usual in (1.0, 1e-300 if extreme > 1.0 else 1e300):
            weight = np.where(group, extreme, usual)
            model = light_vae(max_iter=1, batch_size=60, n_train_samples=1, n_importance_samples=4, **options)
            model.fit(mixed, sample_weight=weight)
            assert np.isfinite(model.score_samples(mixed)).all()
            assert np.isfinite(model.loss_curve_).all()
            assert np.isfinite(model.lower_bound_)
            assert not model.sample(5, random_state=0).isna().any(axis=None)


def test_only_ratios_of_weights_count(light, mixed):
    weight = np.random.default_rng(0).uniform(0.5, 2.0, 60)
    numbers = mixed[["a", "z"]]
    scores = [
        light().fit(numbers, sample_weight=weight * factor).score_samples(numbers)
        for factor in (1.0, 2.0**900, 2.0**-900)
    ]
    np.testing.assert_array_equal(scores[1], scores[0])
    np.testing.assert_array_equal(scores[2], scores[0])


def test_weighting_rows_is_repeating_them_in_distribution(clusters):
    X, weight = clusters
    rows = X[30:]
    repeated = scores_over_seeds(np.repeat(X, weight, axis=0), None, rows)
    weighted = scores_over_seeds(X, weight, rows)
    ignored = scores_over_seeds(X, None, rows)
    assert ks_2samp(repeated, weighted).pvalue > 0.01
    assert ks_2samp(repeated, ignored).pvalue < 1e-6  # the test could tell them apart


def test_weighting_rows_is_repeating_them_where_nothing_is_drawn(light_autoencoder, clusters):
    X, weight = clusters
    model = light_autoencoder(batch_size=10_000, max_iter=10)
    repeated = clone(model).fit(np.repeat(X, weight, axis=0)).transform(X)
    np.testing.assert_allclose(clone(model).fit(X, sample_weight=weight).transform(X), repeated, atol=1e-3)
    assert np.abs(model.fit(X).transform(X) - repeated).max() > 0.01


def test_a_weight_of_zero_is_removal(light, X):
    weight = np.random.RandomState(0).randint(0, 3, size=60).astype(float)
    kept = weight > 0.0
    model = light(early_stopping=True).fit(X, sample_weight=weight)
    removed = light(early_stopping=True).fit(X[kept], sample_weight=weight[kept])
    np.testing.assert_array_equal(model.transform(X), removed.transform(X))
    np.testing.assert_array_equal(model.score_samples(X), removed.score_samples(X))
    assert model.validation_scores_ == removed.validation_scores_


def test_a_weight_of_zero_is_removal_in_partial_fit(light, X):
    weight = np.r_[np.zeros(20), np.ones(40)]
    model = light().partial_fit(X, sample_weight=weight).partial_fit(X, sample_weight=weight)
    removed = light().partial_fit(X[20:], sample_weight=np.ones(40)).partial_fit(X[20:], sample_weight=np.ones(40))
    np.testing.assert_array_equal(model.transform(X), removed.transform(X))


def test_an_outlier_of_weight_zero_does_not_touch_the_scale(light, X):
    spoiled = np.r_[X, np.full((1, 4), 1e12)]
    weight = np.r_[np.ones(60), 0.0]
    model, clean = light().fit(spoiled, sample_weight=weight), light().fit(X, sample_weight=np.ones(60))
    np.testing.assert_array_equal(model.transform(X), clean.transform(X))


def test_weights_that_are_all_one_are_none(light, X):
    weighted, plain = light().fit(X, sample_weight=np.ones(60)), light().fit(X)
    np.testing.assert_allclose(weighted.transform(X), plain.transform(X), atol=1e-6)
    np.testing.assert_allclose(weighted.score_samples(X), plain.score_samples(X), rtol=1e-5)


@pytest.mark.parametrize("factor", [8.0, 2.0**-900, 2.0**900])
def test_only_the_ratios_of_weights_matter(light, X, factor):
    weight = np.random.RandomState(0).uniform(0.1, 2.0, size=60)
    model = light(early_stopping=True).fit(X, sample_weight=weight)
    scaled = light(early_stopping=True).fit(X, sample_weight=weight * factor)
    np.testing.assert_array_equal(model.transform(X), scaled.transform(X))
    np.testing.assert_array_equal(model.score_samples(X), scaled.score_samples(X))


def test_weights_reach_location_and_scale(light, X):
    weight = np.random.RandomState(0).uniform(0.1, 2.0, size=60)
    columns = light().fit(X, sample_weight=weight).schema_.columns
    means = np.average(X, axis=0, weights=weight)
    np.testing.assert_allclose([column.location for column in columns], means)
    spreads = np.sqrt(np.average((X - means) ** 2, axis=0, weights=weight))
    np.testing.assert_allclose([column.scale for column in columns], spreads)


def test_weights_reach_the_divergence_per_component(light_vae, clusters):
    X, weight = clusters
    model = light_vae(prior="standard_normal").fit(X, sample_weight=weight)
    mean, std = model.posterior(X)
    kl = 0.5 * (mean**2 + std**2 - 1.0) - np.log(std)
    np.testing.assert_allclose(model.kl_per_component_, np.average(kl, axis=0, weights=weight))
    assert not np.allclose(model.kl_per_component_, kl.mean(axis=0), rtol=1e-2)


def test_validation_weights_reach_the_validation_scores(light, X):
    X_val = X[:20] + 0.5
    weight = np.r_[np.ones(10), np.zeros(10)]
    model = light(early_stopping=True).fit(X, X_val=X_val, sample_weight_val=weight)
    removed = light(early_stopping=True).fit(X, X_val=X_val[:10])
    np.testing.assert_allclose(model.validation_scores_, removed.validation_scores_, rtol=1e-6)
    assert model.validation_scores_ != light(early_stopping=True).fit(X, X_val=X_val).validation_scores_


def test_a_validation_split_takes_the_weights_along(light, X):
    weight = np.random.RandomState(0).uniform(0.1, 2.0, size=60)
    weighted = light(early_stopping=True).fit(X, sample_weight=weight)
    plain = light(early_stopping=True).fit(X)
    assert len(weighted.validation_scores_) == len(plain.validation_scores_) == 3
    assert weighted.validation_scores_ != plain.validation_scores_


def test_huge_differences_in_weight_work(light, X):
    weight = np.logspace(-300, 300, 60)
    model = light(early_stopping=False).fit(X, sample_weight=np.r_[weight[:58], 1e300, 1e300])
    assert np.isfinite(model.transform(X)).all()
