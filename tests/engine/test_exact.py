"""Densities that need no draws, against dense normal densities and against many draws."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from skvae import VAETransformer
from skvae._engine.batches import Rows
from skvae._engine.exact import LinearGaussian
from skvae.nn.likelihoods import Gaussian, SmoothGaussian, StudentT
from skvae.nn.priors import Mixture

LINEAR = {
    "hidden_layer_sizes": (),
    "n_importance_samples": 4,
    "max_iter": 20,
    "atoms": None,
    "bounds": None,
    "early_stopping": False,
    "random_state": 0,
    "device": "cpu",
}
FIXED = partial(Gaussian, scale=0.3)
ASKED = {
    "probabilistic PCA": {"likelihood": FIXED, "prior": "standard_normal"},
    "factor analysis": {"likelihood": partial(Gaussian, scale="column"), "prior": "standard_normal"},
    "more codes than columns": {"n_components": 6, "likelihood": FIXED, "prior": "standard_normal"},
    "a mixture": {"likelihood": partial(Gaussian, scale="shared"), "prior": partial(Mixture, n_components=3)},
    "a floor": {"likelihood": partial(SmoothGaussian, min_scale=0.5), "prior": "standard_normal"},
    "a few exemplars, whose posteriors have unlike widths": {"likelihood": FIXED, "prior": "aggregated"},
    "exemplars": {
        "likelihood": partial(Gaussian, scale="leave_one_out"),
        "prior": "aggregated",
        "solver": "adam",
        "learning_rate_init": 1e-9,
        "max_iter": 1,
    },
}


def table(n=60, seed=0, missing=0.0):
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).normal(size=(4, 4))
    X = rng.normal(size=(n, 4)) @ mixing * np.array([1.0, 30.0, 0.2, 5.0]) + 2.0
    X[rng.random(X.shape) < missing] = np.nan
    return X


def fitted(X, **asked):
    return VAETransformer(**({"n_components": 2} | LINEAR | asked)).fit(X)


def encoded(model, X):
    return model._model.encode(model._table(X)).astype(float)


@torch.inference_mode()
def dense(model, x, own=None):
    """Log p(x_observed) row by row, from the decoder's matrix and every mode's whole covariance."""
    vae = model._model.engine._in(torch.float64)
    likelihood, prior = vae.columns.likelihoods[0], vae.prior
    k = len(prior.moments()[0])
    offset = vae.decode(torch.zeros(k, dtype=torch.float64))
    W = (vae.decode(torch.eye(k, dtype=torch.float64)) - offset).T.numpy()
    noise = likelihood.location_and_log_scale(offset)[1].exp().expand(4).numpy()
    if hasattr(prior, "means"):
        means, stds, share = prior.means.numpy(), prior.log_stds.exp().numpy(), torch.softmax(prior.logits, 0).numpy()
    else:
        means, stds, share = np.zeros((1, k)), np.ones((1, k)), np.ones(1)
    out = np.zeros(len(x))
    for i, row in enumerate(x):
        seen = ~np.isnan(row)
        w = np.where(np.arange(len(share)) == own[i], 0.0, share) if own is not None else share
        if not seen.any():
            continue
        each = [
            multivariate_normal((offset.numpy() + W @ m)[seen], (W * s**2 @ W.T + np.diag(noise**2))[seen][:, seen])
            for m, s in zip(means, stds, strict=True)
        ]
        with np.errstate(divide="ignore"):
            out[i] = logsumexp([mode.logpdf(row[seen]) for mode in each], b=w / w.sum())
    return out


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("name", ASKED)
def test_scores_are_those_of_the_dense_density(name, missing):
    model = fitted(table(), **ASKED[name])
    new = np.vstack([table(12, 1, missing), table(3) * 40.0, np.full((1, 4), np.nan if missing else 2.0)])
    x = encoded(model, new)
    engine = model._model.engine
    assert LinearGaussian.of(engine.model, Rows.from_numpy(x)) is not None
    np.testing.assert_allclose(engine.log_likelihood(x, 4), dense(model, x), rtol=1e-7, atol=1e-6)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_training_rows_are_scored_by_the_exemplars_of_others(is_weighted):
    X = table()
    X[1] = X[0]  # a copy is another row
    weight = np.linspace(0.5, 2.0, len(X)) if is_weighted else None
    if is_weighted:
        weight[1] = weight[0]
    model = VAETransformer(**({"n_components": 2} | LINEAR | ASKED["exemplars"])).fit(X, sample_weight=weight)
    x = encoded(model, X)
    engine = model._model.engine
    assert len(engine.model.prior.means) == len(X)
    of_others = engine.log_likelihood(x, 4, trained_on=True)
    np.testing.assert_allclose(of_others, dense(model, x, own=np.arange(len(X))), rtol=1e-6, atol=1e-4)
    assert (of_others < engine.log_likelihood(x, 4)).all()
    strangers = encoded(model, table(5, 9))
    np.testing.assert_array_equal(
        engine.log_likelihood(strangers, 4, trained_on=True), engine.log_likelihood(strangers, 4)
    )


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("name", ["factor analysis", "a mixture", "exemplars"])
def test_terms_are_those_that_many_draws_come_to(name, missing, monkeypatch):
    model = fitted(table(), **ASKED[name])
    x = encoded(model, table(30, 2, missing))
    engine = model._model.engine
    cells, latent = engine.explain(x, 4)
    np.testing.assert_allclose(cells.sum(axis=1) + latent, engine.log_likelihood(x, 4), rtol=1e-12)
    assert (cells[np.isnan(x)] == 0.0).all()
    assert (cells[~np.isnan(x)] != 0.0).all()
    monkeypatch.setattr(LinearGaussian, "of", classmethod(lambda cls, model, rows: None))
    by_draws, rest = engine.explain(x, 2**15)
    np.testing.assert_allclose(cells, by_draws, rtol=0.05, atol=0.05)
    np.testing.assert_allclose(latent, rest, rtol=0.05, atol=0.2)
    assert np.abs(cells - by_draws).mean() < 0.02 * cells.std()


def test_what_needs_no_draws_is_known():
    model = fitted(table(), **ASKED["exemplars"])
    far = table(5) * 1e6
    error, size, k = model.score_uncertainty(far, return_pareto_k=True)
    assert (error == 0.0).all()
    assert (size == 4.0).all()
    assert (k == 0.0).all()
    scores = model.score_samples(far)
    np.testing.assert_array_equal(model.set_params(n_importance_samples=64).score_samples(far), scores)


class Shifted(Gaussian):
    """A user's own: what it says of cells is not known."""


@pytest.mark.parametrize(
    "asked",
    [
        {"likelihood": FIXED, "hidden_layer_sizes": (4,)},
        {"likelihood": partial(Gaussian, scale="cell")},
        {"likelihood": StudentT},
        {"likelihood": partial(Shifted, scale=0.3)},
        {"likelihood": FIXED, "prior": "aggregated"},  # of posteriors whose widths differ
    ],
)
def test_all_other_densities_are_estimated(asked):
    model = fitted(table(100), **asked)
    rows = Rows.from_numpy(encoded(model, table(20)))
    assert LinearGaussian.of(model._model.engine.model, rows) is None
    assert model.score_uncertainty(table(20))[0].max() > 0.0
