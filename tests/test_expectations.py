"""What is expected of a cell is the mean of its draws, in data units: through atoms, bounds, logarithms and scores."""

from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skvae import VAEImputer, VAEOutlierDetector, VAETransformer
from skvae._model.completing import weighted_medians
from skvae._model.conditioning import Condition, conditioned
from skvae.nn.likelihoods import StudentT

N_DRAWS = 10_000


def table(n=400, seed=0):
    """A skewed positive column with atoms at 0 and 9, one near its bounds, one with atoms, counts, bits, fractions."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    skewed = np.exp(0.8 * z + 0.6 * rng.normal(size=n))
    skewed[rng.random(n) < 1.0 / (1.0 + np.exp(2.0 * z))] = 0.0
    skewed[rng.random(n) < 0.15] = 9.0
    near = np.clip(z + 0.5 * rng.normal(size=n), -0.8, 0.9) + 1e-3 * rng.normal(size=n)
    heaped = np.where(rng.random(n) < 0.4, -1.0, 3.0 * z + rng.normal(size=n))
    counts = rng.poisson(np.exp(0.7 * z + 0.5)).astype(float)
    return np.column_stack([skewed, near, heaped, counts, rng.random(n) < 0.4, 1.0 / (1.0 + np.exp(-z))])


LIKELIHOODS = {
    "numbers": dict.fromkeys(range(5), "gaussian") | {5: "bernoulli"},
    "heavy tails": dict.fromkeys(range(5), "student_t") | {5: "bernoulli"},
    "logarithm": {0: "log_normal", 1: partial(StudentT, scale="column"), 3: "poisson", 4: "bernoulli"},
    "counts": {0: "log_normal", 3: "negative_binomial", 4: "bernoulli"},
    "zeros": {3: "zero_inflated_negative_binomial"},
}
SETTINGS = {
    **{name: {"likelihood": likelihood} for name, likelihood in LIKELIHOODS.items()},
    "scores": {"marginals": "normal"},
    "scores of a gaussian": {"marginals": "normal", "likelihood": "gaussian"},
    "no atoms": {"atoms": None, "likelihood": {3: "poisson", 4: "bernoulli"}},
    "no bounds": {"bounds": None, "likelihood": "gaussian"},
}


def fitted(X, **options):
    small = {"n_components": 2, "hidden_layer_sizes": (32,), "max_iter": 8, "early_stopping": False}
    return VAETransformer(**small, random_state=0, **options).fit(X)


def draws_given_code(model, z, n=N_DRAWS):
    """Of rows, values and codes, in data units."""
    return model.schema_.decode(model._engine.sample(z.repeat(n, 0), 3))


def assert_is_mean_of(expected, draws, standard_errors=4.5, step=0.0):
    error = draws.std(0) / np.sqrt(len(draws))
    assert (np.abs(expected - draws.mean(0)) <= standard_errors * error + 2e-3 * draws.std(0) + step + 1e-9).all()


@pytest.mark.parametrize(
    ("setting", "dtype"),
    [*((setting, np.float64) for setting in SETTINGS), ("logarithm", np.float32), ("scores", np.float32)],
)
def test_inverse_transform_is_the_mean_of_draws_given_the_code(setting, dtype):
    X = table().astype(dtype)
    model = fitted(X, **SETTINGS[setting])
    for row in (0, 1):
        z = model.transform(X[row : row + 1])
        assert z.dtype == dtype
        expected = model.inverse_transform(z)
        assert expected.dtype == dtype
        assert_is_mean_of(expected[0], draws_given_code(model, z), step=0.01)  # draws are rounded, and the column
        np.testing.assert_array_equal(expected, model.reconstruct(X[row : row + 1]))


def test_expectations_keep_within_the_range_of_the_training_rows():
    X = table()
    model = fitted(X, likelihood=LIKELIHOODS["logarithm"])
    rows = model.inverse_transform(model.sample_latent(2000, random_state=0) * 20.0)
    assert (rows >= X.min(0)).all()
    assert (rows <= X.max(0)).all()


@pytest.mark.parametrize("container", [pd.DataFrame, pl.DataFrame])
def test_frames_expect_what_arrays_do(container):
    X = table()
    names = [f"c{j}" for j in range(X.shape[1])]
    frame = container({name: X[:, j] for j, name in enumerate(names)})
    likelihood = {names[j]: value for j, value in LIKELIHOODS["logarithm"].items()}
    of_frame = fitted(frame, likelihood=likelihood).reconstruct(frame[:20])
    of_array = fitted(X, likelihood=LIKELIHOODS["logarithm"]).reconstruct(X[:20])
    assert isinstance(of_frame, container)
    np.testing.assert_allclose(of_frame.to_numpy().astype(float), of_array, rtol=1e-6)


def test_rows_without_noise_are_expected_also_under_a_condition():
    X = table()
    model = fitted(X, likelihood=LIKELIHOODS["logarithm"])
    rows = model.sample(5, given={1: 0.2}, noise=False, random_state=1)
    assert (rows[:, 1] == 0.2).all()
    condition = Condition.read({1: 0.2}, model.schema_, 5, [])
    z, _ = conditioned(model._model, condition, np.random.RandomState(1), aggregated=True)
    expected = model.inverse_transform(z)
    np.testing.assert_array_equal(rows[:, [0, 2, 3, 4, 5]], expected[:, [0, 2, 3, 4, 5]])


def holed(X, seed=1):
    hidden = np.random.default_rng(seed).random(X.shape) < 0.25
    hidden[hidden.all(1)] = False
    return np.where(hidden, np.nan, X)


FEW = {"n_importance_samples": 40, "random_state": 0}
ONE = {"n_components": 2, "max_iter": 15, "early_stopping": False, "random_state": 0}
ESTIMATORS = {
    "atoms and logarithms": VAETransformer(likelihood=LIKELIHOODS["logarithm"], **ONE),
    "two models": [
        VAETransformer(likelihood=LIKELIHOODS["logarithm"], **ONE),
        VAETransformer(likelihood="gaussian", atoms=None, **ONE),
    ],
    "scores": VAETransformer(marginals="normal", **ONE),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_is_imputed_is_the_mean_of_draws(name):
    imputer = VAEImputer(ESTIMATORS[name], **FEW).fit(holed(table()))
    for row in ([np.nan, 0.3, np.nan, np.nan, np.nan, 0.6], [1.0, 0.3, np.nan, 1.0, 0.0, 0.6]):
        expected = imputer.transform(np.array([row]))[0]
        drawn = np.concatenate(imputer.draw(np.array([row] * 1500), 2, random_state=0))
        assert_is_mean_of(expected, drawn, step=0.01)


def test_what_is_expected_of_an_atom_depends_on_the_draw_of_the_code():
    """Where the code is uncertain, E[P(no atom) * value] is not the product of the averages."""
    rng = np.random.default_rng(0)
    s = rng.normal(size=1500)
    employed = rng.random(1500) < 1.0 / (1.0 + np.exp(-4.0 * s))
    X = np.column_stack([np.where(employed, 100.0 + 60.0 * s, 0.0), s + 0.3 * rng.normal(size=1500)])
    model = VAETransformer(n_components=1, max_iter=30, early_stopping=False, bounds=None, random_state=0)
    imputer = VAEImputer(model, **FEW).fit(holed(X))
    row = np.array([[np.nan, np.nan]])
    drawn = np.concatenate(imputer.draw(row.repeat(3000, 0), 2, random_state=1))
    assert_is_mean_of(imputer.transform(row)[0], drawn)
    share = (drawn[:, 0] != 0.0).mean()
    product = share * imputer.estimators_[0].inverse_transform(np.zeros((1, 1)))[0, 0]
    assert imputer.transform(row)[0, 0] > product + 5.0


def test_the_median_is_that_of_draws():
    X = holed(table())
    imputer = VAEImputer(ESTIMATORS["two models"], strategy="median", **FEW).fit(X)
    row = np.array([[np.nan, 0.3, np.nan, np.nan, 0.0, 0.6]])
    drawn = np.concatenate(imputer.draw(row.repeat(1500, 0), 2, random_state=0))
    imputer.set_params(n_importance_samples=1000)  # of a single row: few draws know a median to a tenth of the ranks
    median = imputer.transform(row)[0]
    np.testing.assert_array_equal(median, imputer.transform(row)[0])
    for j in (0, 2, 3):
        low, high = np.quantile(drawn[:, j], [0.46, 0.54])
        assert low - 1e-9 <= median[j] <= high + 1e-9
    assert median[1] == 0.3
    mean = imputer.set_params(strategy="mean").transform(row)[0]
    assert abs(mean[0] - median[0]) > 0.1


def test_medians_of_many_rows_and_of_levels():
    rng = np.random.default_rng(0)
    z = rng.normal(size=300)
    frame = pd.DataFrame(
        {
            "a": np.exp(z),
            "town": pd.Categorical(np.where(z > 0.3, "Oslo", "Rome")),
            "n": np.rint(5.0 * z).astype(int),
        }
    )
    frame.loc[::3, "a"] = np.nan
    frame.loc[1::3, "town"] = np.nan
    imputer = VAEImputer(VAETransformer(**ONE), strategy="median", **FEW).fit(frame)
    filled = imputer.transform(frame)
    assert not filled.isna().any().any()
    mean = imputer.set_params(strategy="mean").transform(frame)
    pd.testing.assert_series_equal(filled["town"], mean["town"])
    holes = frame["a"].isna()
    assert (filled["a"][holes] != mean["a"][holes]).all()
    assert filled["a"][holes].mean() < mean["a"][holes].mean()  # of a skewed column
    assert filled["n"].dtype == frame["n"].dtype
    with pytest.raises(ValueError, match="strategy"):
        VAEImputer(strategy="mode").fit(frame)


def test_weighted_medians_are_the_least_values_up_to_which_half_of_the_weight_lies():
    values = np.array([[[3.0, 1.0]], [[1.0, 1.0]], [[2.0, 5.0]]])
    np.testing.assert_array_equal(weighted_medians(values, np.array([[0.3], [0.3], [0.4]])), [[2.0, 1.0]])
    np.testing.assert_array_equal(weighted_medians(values, np.array([[0.6], [0.3], [0.1]])), [[3.0, 1.0]])
    np.testing.assert_array_equal(weighted_medians(values, np.array([[0.0], [0.1], [0.9]])), [[2.0, 5.0]])


def test_the_detector_completes_by_expectations():
    X = table()
    models = [VAETransformer(likelihood=LIKELIHOODS["logarithm"], **ONE)]
    detector = VAEOutlierDetector(estimator=models, random_state=0).fit(X)
    row = X[:1].copy()
    row[0, 3] = 200.0
    assert detector.complete(row)[0, 3] <= X[:, 3].max()
