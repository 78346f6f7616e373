"""Numbers that are known from elsewhere: closed forms, known generators, integrals."""

import copy
from functools import partial

import numpy as np
import pytest
from scipy import stats
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAETransformer
from skvae.nn.likelihoods import Gaussian

K = 2
SCALES = np.logspace(-3.0, 3.0, 8)


def factor_table(n, seed=0, p=8, k=K, scales=SCALES):
    """Rows of a factor model with columns on very different scales."""
    rng = np.random.default_rng(seed)
    loadings = np.random.default_rng(99).normal(size=(p, k))
    noise = np.linspace(0.4, 0.8, p) * rng.normal(size=(n, p))
    return (rng.normal(size=(n, k)) @ loadings.T + noise + 3.0) * scales


def linear(scale, **options):
    """The linear model, trained by full-batch steps so that it reaches its maximum of likelihood."""
    defaults = {
        "hidden_layer_sizes": (),
        "likelihood": partial(Gaussian, scale=scale),
        "prior": "standard_normal",
        "objective": "elbo",
        "n_train_samples": 4,
        "alpha": 0.0,
        "atoms": None,
        "bounds": None,
        "batch_size": 600,
        "max_iter": 900,
        "learning_rate_init": 0.05,
        "early_stopping": False,
        "random_state": 0,
    }
    return VAETransformer(K, **(defaults | options))


def standardised(X):
    return (X - X.mean(0)) / X.std(0)


@pytest.fixture(scope="module")
def X():
    return factor_table(600)


@pytest.fixture(scope="module")
def shared(X):
    """The model that is probabilistic PCA on standardised columns."""
    return linear("shared").fit(X)


@pytest.fixture(scope="module")
def column(X):
    """The model that is factor analysis."""
    return linear("column").fit(X)


@pytest.fixture(scope="module")
def holed():
    """The linear model fitted to rows with a fifth of their cells missing, and such rows."""
    X = factor_table(600)
    X[np.random.default_rng(5).random(X.shape) < 0.2] = np.nan
    return linear("column").set_params(missingness=None).fit(X), X


def implied_gaussian(model):
    """Mean and covariance, in data units, of the Gaussian that a fitted linear model is."""
    mean = model.inverse_transform(np.zeros((1, K)))[0]
    loadings = (model.inverse_transform(np.eye(K)) - mean).T  # (p, k)
    likelihood = model._engine.model.columns.likelihoods[0]
    _, log_scale = likelihood.location_and_log_scale(model._engine.model.start)
    noise = log_scale.exp().detach().numpy() * model.schema_.cells.of("scale")
    return mean, loadings @ loadings.T + np.diag(noise**2)


def fine(model):
    """The same fitted model, scoring with many draws."""
    return copy.deepcopy(model).set_params(n_importance_samples=4096)


def gaussian_log_density(X, mean, cov):
    """Log-density of the observed cells; standardised first, as a covariance with scales 1e-3 to 1e3 is singular."""
    scale = np.sqrt(np.diag(cov))
    u, correlation = (X - mean) / scale, cov / np.outer(scale, scale)
    out = np.zeros(len(X))
    for i, row in enumerate(u):
        seen = np.flatnonzero(~np.isnan(row))
        if len(seen):
            density = multivariate_normal(np.zeros(len(seen)), correlation[np.ix_(seen, seen)])
            out[i] = density.logpdf(row[seen]) - np.log(scale[seen]).sum()
    return out


def ppca(X):
    """Tipping and Bishop's (1999) maximum of likelihood on standardised columns: loadings and noise variance."""
    eigenvalues, vectors = np.linalg.eigh(np.cov(standardised(X).T, bias=True))
    noise = eigenvalues[:-K].mean()
    return vectors[:, -K:] * np.sqrt(eigenvalues[-K:] - noise), noise


# -- the linear model ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["iwae", "dreg"])
def test_importance_weighted_training_arrives_at_factor_analysis_too(X, column, objective):
    model = linear("column", objective=objective, max_iter=400).fit(X)
    assert model.score(X) == pytest.approx(column.score(X), abs=0.05)
    assert model.lower_bound_ == pytest.approx(column.lower_bound_, abs=0.05)


def test_shared_variance_is_probabilistic_pca(X, shared):
    loadings, noise = ppca(X)
    cov = loadings @ loadings.T + noise * np.eye(X.shape[1])
    expected = multivariate_normal(np.zeros(X.shape[1]), cov).logpdf(standardised(X)) - np.log(X.std(0)).sum()
    assert shared.score(X) == pytest.approx(expected.mean(), abs=0.005)
    np.testing.assert_allclose(shared.score_samples(X), expected, atol=0.2)
    sklearns = PCA(K).fit(standardised(X)).score(standardised(X)) - np.log(X.std(0)).sum()
    assert shared.score(X) == pytest.approx(sklearns, abs=0.01)


def test_variance_per_column_is_factor_analysis(X, column):
    reference = FactorAnalysis(K, tol=1e-6, max_iter=5000).fit(standardised(X))
    expected = reference.score_samples(standardised(X)) - np.log(X.std(0)).sum()
    assert column.score(X) == pytest.approx(expected.mean(), abs=0.01)
    np.testing.assert_allclose(column.score_samples(X), expected, atol=0.3)


def test_posterior_is_that_of_probabilistic_pca(X, shared):
    loadings, noise = ppca(X)
    precision = loadings.T @ loadings + noise * np.eye(K)
    codes = standardised(X) @ loadings @ np.linalg.inv(precision)
    # Free of rotation: inner products of codes, the reconstruction, and the spread along the principal axes.
    np.testing.assert_allclose(shared.transform(X) @ shared.transform(X).T, codes @ codes.T, atol=0.25)
    expected = codes @ loadings.T * X.std(0) + X.mean(0)
    np.testing.assert_allclose((shared.reconstruct(X) - expected) / X.std(0), 0.0, atol=0.1)
    _, std = shared.posterior(X)
    np.testing.assert_allclose(std.mean(0), np.sort(np.sqrt(noise / np.linalg.eigvalsh(precision))), rtol=0.1)
    np.testing.assert_allclose(std.std(0), 0.0, atol=0.02)


def test_bound_of_the_linear_model_is_tight(X, shared):
    assert shared.lower_bound_ <= shared.score(X) + 0.05
    assert shared.lower_bound_ == pytest.approx(shared.score(X), abs=0.1)


def test_kl_is_that_of_the_posterior(X, shared):
    mean, std = shared.posterior(X)
    expected = (0.5 * (mean**2 + std**2 - 1.0) - np.log(std)).mean(0)
    np.testing.assert_allclose(shared.kl_per_component_, expected, rtol=1e-4)
    assert shared.n_active_components_ == K


@pytest.mark.parametrize("name", ["shared", "column"])
def test_score_is_the_density_of_the_gaussian_the_model_is(name, X, request):
    model = request.getfixturevalue(name)
    expected = gaussian_log_density(X[:200], *implied_gaussian(model))
    np.testing.assert_allclose(model.score_samples(X[:200]), expected, atol=0.1)


def test_score_with_missing_cells_is_the_density_of_the_observed(holed):
    model, X = holed
    few = (~np.isnan(X[:200])).sum(1)
    assert few.min() < 6 < few.max()
    expected = gaussian_log_density(X[:200], *implied_gaussian(model))
    errors = np.abs(fine(model).score_samples(X[:200]) - expected)
    assert errors.mean() < 0.02
    assert errors.max() < 0.5  # rows far from the encoder's guess need more draws than the rest
    assert model.score(X[:200]) == pytest.approx(expected.mean(), abs=0.1)


def test_each_single_cell_scores_its_marginal_density(holed):
    model, _ = holed
    mean, cov = implied_gaussian(model)
    X = np.full((len(mean), len(mean)), np.nan)
    np.fill_diagonal(X, mean + 0.5 * np.sqrt(np.diag(cov)))
    expected = stats.norm.logpdf(np.diag(X), mean, np.sqrt(np.diag(cov)))
    np.testing.assert_allclose(fine(model).score_samples(X), expected, atol=0.15)


def test_row_without_observed_cells_scores_zero_and_encodes_to_the_prior(holed):
    model, X = holed
    rows = np.vstack([X[:3], np.full((1, X.shape[1]), np.nan)])
    assert model.score_samples(rows)[3] == 0.0
    mean, std = model.posterior(rows)
    np.testing.assert_array_equal(mean[3], 0.0)
    np.testing.assert_array_equal(std[3], 1.0)
    np.testing.assert_array_equal(model.transform(rows)[3], 0.0)


def test_missing_cells_are_reconstructed_from_the_others(holed):
    model, _ = holed
    X = factor_table(400, seed=8)
    gap = X.copy()
    gap[:, 3] = np.nan
    error = np.mean((model.reconstruct(gap)[:, 3] - X[:, 3]) ** 2)
    assert error < 0.6 * X[:, 3].var()


# -- units -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("linear_model", "gap"), [(True, 0.05), (False, 0.15)], ids=["linear", "default"])
def test_density_in_data_units_reaches_the_generators(linear_model, gap):
    rng = np.random.default_rng(0)
    p, k, scales = 10, 3, np.logspace(-3.0, 3.0, 10)
    loadings, variance = rng.normal(size=(p, k)), rng.uniform(0.1, 0.5, p)
    location = 10.0 * rng.normal(size=p)
    cov = loadings @ loadings.T + np.diag(variance)
    train, test = (
        (rng.normal(size=(n, k)) @ loadings.T + rng.normal(size=(n, p)) * np.sqrt(variance) + location) * scales
        for n in (2000, 1000)
    )
    truth = multivariate_normal(location, cov).logpdf(test / scales).mean() - np.log(scales).sum()
    if linear_model:
        gaussian = {"likelihood": partial(Gaussian, scale="column"), "objective": "elbo", "prior": "standard_normal"}
        model = VAETransformer(k, hidden_layer_sizes=(), alpha=0.0, random_state=0, **gaussian)
    else:
        model = VAETransformer(k, max_iter=60, batch_size=128, random_state=0)
    assert model.fit(train).score(test) == pytest.approx(truth, abs=gap)


def test_standard_scaler_changes_scores_by_its_jacobian_only():
    X = factor_table(300)
    options = {"hidden_layer_sizes": (16,), "max_iter": 5, "early_stopping": False, "random_state": 0}
    plain = VAETransformer(K, **options).fit(X)
    piped = make_pipeline(StandardScaler(), VAETransformer(K, **options)).fit(X)
    jacobian = -np.log(piped[0].scale_).sum()
    np.testing.assert_allclose(plain.score_samples(X), piped.score_samples(X) + jacobian, atol=0.02)
    assert plain.lower_bound_ == pytest.approx(piped[1].lower_bound_ + jacobian, abs=0.02)
    assert plain.loss_curve_[-1] == pytest.approx(piped[1].loss_curve_[-1] - jacobian, abs=0.02)


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_unit_of_a_column_moves_its_share_of_the_score(unit):
    X = factor_table(300)
    options = {"hidden_layer_sizes": (16,), "max_iter": 3, "early_stopping": False, "random_state": 0}
    plain = VAETransformer(K, **options).fit(X).score_samples(X)
    scaled = X * np.r_[np.ones(X.shape[1] - 1), unit]
    moved = VAETransformer(K, **options).fit(scaled).score_samples(scaled)
    np.testing.assert_allclose(moved, plain - np.log(unit), atol=0.02)


# -- sample against density ------------------------------------------------------------------------------------------


def light(k=1, **options):
    defaults = {"hidden_layer_sizes": (16, 8), "max_iter": 30, "n_importance_samples": 512, "early_stopping": False}
    return VAETransformer(k, random_state=0, **(defaults | options))


def two_humps(n=400, seed=0):
    rng = np.random.default_rng(seed)
    x = np.where(rng.random(n) < 0.3, rng.normal(-200.0, 20.0, n), rng.normal(100.0, 50.0, n))
    return np.column_stack([x, 1e-2 * np.abs(x) + rng.normal(size=n)])


def reaching_axis(column, n):
    """Points around a column, dense within it and reaching far into heavy tails, with trapezoid weights."""
    t = np.linspace(-12.0, 12.0, n)
    scale = column.std() / 4.0
    return column.mean() + scale * np.sinh(t), scale * np.cosh(t) * (t[1] - t[0])


@pytest.mark.parametrize("likelihood", ["student_t", "gaussian"])
@pytest.mark.parametrize("prior", ["mixture", "standard_normal"])
def test_density_of_one_column_integrates_to_one_and_samples_follow_it(likelihood, prior):
    X = two_humps()[:, :1]
    model = light(likelihood=likelihood, prior=prior).fit(X)
    axis, width = reaching_axis(X, 2001)
    mass = np.exp(model.score_samples(axis[:, None])) * width
    assert mass.sum() == pytest.approx(1.0, abs=0.03)
    uniform = np.interp(model.sample(2000, codes="prior", random_state=0)[:, 0], axis, np.cumsum(mass) - 0.5 * mass)
    assert stats.kstest(uniform, "uniform").statistic < 0.05


def test_density_of_two_columns_integrates_to_one_and_has_the_samples_mean():
    X = two_humps()
    model = light(2, likelihood="gaussian").fit(X)
    (x, dx), (y, dy) = (reaching_axis(column, 101) for column in X.T)
    mass = np.exp(model.score_samples(np.column_stack([np.repeat(x, len(y)), np.tile(y, len(x))])))
    mass = mass.reshape(len(x), len(y)) * np.outer(dx, dy)
    assert mass.sum() == pytest.approx(1.0, abs=0.03)
    draws = model.sample(4000, codes="prior", random_state=0)
    expected = np.array([mass.sum(1) @ x, mass.sum(0) @ y])
    np.testing.assert_allclose((draws.mean(0) - expected) / X.std(0), 0.0, atol=0.1)


def test_probabilities_of_binary_rows_sum_to_one_and_samples_follow_them():
    rng = np.random.default_rng(0)
    cause = rng.random((400, 1)) < 0.5
    X = (rng.random((400, 3)) < np.where(cause, 0.9, 0.2)).astype(float)
    model = light(2, likelihood="bernoulli").fit(X)
    rows = np.array(np.meshgrid(*[[0.0, 1.0]] * 3, indexing="ij")).reshape(3, -1).T
    probability = np.exp(model.score_samples(rows))
    assert probability.sum() == pytest.approx(1.0, abs=0.02)
    draws = model.sample(8000, codes="prior", random_state=0) @ [4.0, 2.0, 1.0]
    frequency = np.bincount(draws.astype(int), minlength=8) / 8000
    np.testing.assert_allclose(frequency, probability, atol=0.03)


def test_samples_of_the_linear_model_have_its_moments(shared):
    mean, cov = implied_gaussian(shared)
    draws = shared.sample(20_000, codes="prior", random_state=0)
    scale = np.sqrt(np.diag(cov))
    np.testing.assert_allclose((draws.mean(0) - mean) / scale, 0.0, atol=0.04)
    np.testing.assert_allclose(np.cov(draws.T) / np.outer(scale, scale), cov / np.outer(scale, scale), atol=0.05)
    quiet = np.cov(shared.sample(20_000, noise=False, codes="prior", random_state=0).T)
    noise = np.diag(cov) - np.diag(quiet)
    assert (noise > 0.1 * np.diag(cov)).all()


def test_mean_score_of_samples_is_minus_the_entropy(shared):
    _, cov = implied_gaussian(shared)
    scale = np.sqrt(np.diag(cov))
    correlation = cov / np.outer(scale, scale)
    entropy = multivariate_normal(np.zeros(len(cov)), correlation).entropy() + np.log(scale).sum()
    scores = shared.score_samples(shared.sample(4000, codes="prior", random_state=1))
    assert scores.mean() == pytest.approx(-entropy, abs=4 * scores.std() / np.sqrt(4000))
