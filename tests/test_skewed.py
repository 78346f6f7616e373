"""Columns of positive numbers over orders of magnitude, which are seen by their logarithm."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

from skvae import VAEImputer, VAETransformer
from skvae._table.kinds import logarithm_above

LINEAR = {"hidden_layer_sizes": (), "likelihood": "gaussian", "prior": "standard_normal", "atoms": None}
FAST = {"max_iter": 5, "early_stopping": False, "random_state": 0}


def skewed(sigma: float = 3.0, n: int = 2000, seed: int = 0) -> np.ndarray:
    """A log-normal column, a normal one that goes with its logarithm, and one that has nothing to do with either."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    wide = np.exp(sigma * (0.8 * z + 0.6 * rng.normal(size=n)))
    return np.column_stack([wide, z + 0.3 * rng.normal(size=n), rng.normal(size=n)])


@pytest.mark.parametrize("sigma", [2.0, 3.0])
def test_draws_have_the_quantiles_of_the_column(sigma: float) -> None:
    X = skewed(sigma)
    drawn = VAETransformer(random_state=0).fit(X).sample(10_000, random_state=0)
    wanted, got = (np.log(np.quantile(rows[:, 0], [0.05, 0.1, 0.25, 0.5, 0.75, 0.9])) for rows in (X, drawn))
    assert got == pytest.approx(wanted, abs=0.1 * sigma)
    assert pd.DataFrame(drawn).corr("spearman").iloc[0, 1] == pytest.approx(0.77, abs=0.05)


def test_density_counts_the_logarithm() -> None:
    X = skewed()
    logs = X.copy()
    logs[:, 0] = np.log(X[:, 0])
    options = {"n_components": 1, "random_state": 0, **LINEAR}
    scores = VAETransformer(**options).fit(X).score_samples(X)
    exact = VAETransformer(**options).fit(logs).score_samples(logs) - logs[:, 0]
    assert scores == pytest.approx(exact, abs=1e-3)


def test_later_rows_below_the_least_value() -> None:
    X = skewed()
    model = VAETransformer(**FAST).fit(X)
    rows = np.repeat(X[:1], 4, axis=0)
    rows[:, 0] = [np.median(X[:, 0]), X[:, 0].min(), 0.0, -1e3]
    scores = model.score_samples(rows)
    assert np.isfinite(scores).all()
    assert scores[3] < scores[0]


def test_what_is_seen_so() -> None:
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [
            np.exp(3.0 * rng.normal(size=500)),
            np.exp(0.5 * rng.normal(size=500)),  # skewed, but not over orders of magnitude
            -np.exp(3.0 * rng.normal(size=500)),
            rng.normal(size=500),
            np.exp(np.exp(rng.normal(size=500))),  # its logarithm is as skewed
            np.where(rng.random(500) < 0.5, 0.0, np.exp(3.0 * rng.normal(size=500))),  # beside an atom
        ]
    )
    model = VAETransformer(**FAST).fit(X)
    assert [column.log_above is not None for column in model.schema_.columns] == [
        True,
        False,
        False,
        False,
        False,
        True,
    ]
    assert "logarithm" in model.summary().loc[0, "why"]
    assert "logarithm" not in model.summary().loc[1, "why"]
    few = VAETransformer(**FAST).fit(X[:49])
    assert not any(column.log_above for column in few.schema_.columns)
    plain = VAETransformer(marginals="linear", **FAST).fit(X)
    assert not any(column.log_above for column in plain.schema_.columns)
    again = pickle.loads(pickle.dumps(model))
    assert again.schema_ == model.schema_
    assert (again.sample(5, random_state=0) == model.sample(5, random_state=0)).all()


def test_imputer_keeps_its_units() -> None:
    """It fills by means, which are those of the values and not of their logarithm."""
    imputer = VAEImputer(random_state=0).fit(skewed(n=300))
    assert not any(column.log_above for column in imputer.estimators_[0].schema_.columns)


def test_logarithm_and_its_tangent() -> None:
    bend = logarithm_above(0.5)
    x = np.array([-2.0, 0.0, 0.499, 0.5, 0.501, 3.0, 1e9])
    assert bend.back(bend.into(x)) == pytest.approx(x)
    assert bend.into(x)[3:] == pytest.approx(np.log(x[3:]))
    step = 1e-7 * np.maximum(np.abs(x), 1.0)
    slope = (bend.into(x + step) - bend.into(x - step)) / (2.0 * step)
    assert bend.log_slope(bend.into(x)) == pytest.approx(np.log(slope), abs=1e-3)


def test_weights_count_like_rows() -> None:
    """The rows that make the tails have next to no weight, and then there are none."""
    rng = np.random.default_rng(0)
    X = np.column_stack([np.exp(3.0 * rng.normal(size=300)), rng.normal(size=300)])
    far = np.abs(np.log(X[:, 0])) > 1.2
    of_all, of_near = (
        VAETransformer(**FAST).fit(X, sample_weight=weight).schema_.columns[0]
        for weight in (None, np.where(far, 1e-6, 1.0))
    )
    assert of_all.log_above is not None
    assert of_near.log_above is None
