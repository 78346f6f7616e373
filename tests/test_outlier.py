"""The outlier detector: its threshold, p-values and reasons."""

import copy
import pickle
import time
from functools import partial

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import false_discovery_control
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skvae import VAEOutlierDetector, VAETransformer, _members
from skvae._members import DETECTOR_WEIGHTS, detector_models
from skvae._model.committee import Committee, Surprisal, held_out_scores, power_mean, scales_of
from skvae.nn.likelihoods import Gaussian

NAMES = list("abcdef")
LIGHT = {"hidden_layer_sizes": (), "max_iter": 3, "early_stopping": False, "device": "cpu", "n_importance_samples": 8}


def light(n_components=2, **options):
    return VAETransformer(n_components, **(LIGHT | options))


def detector(estimator=None, **options):
    return VAEOutlierDetector(estimator=light() if estimator is None else estimator, **({"random_state": 0} | options))


def factors(n, seed, noise=0.3):
    """Rows of six columns of two factors, on different scales."""
    rng = np.random.default_rng(seed)
    loadings = np.random.default_rng(99).normal(size=(2, 6))
    loadings /= np.linalg.norm(loadings, axis=0)
    rows = rng.normal(size=(n, 2)) @ loadings + noise * rng.normal(size=(n, 6))
    return rows * [1.0, 10.0, 0.1, 100.0, 1.0, 5.0] + 3.0


@pytest.fixture(scope="module")
def X():
    X = factors(400, 0)
    X.setflags(write=False)
    return X


@pytest.fixture(scope="module")
def two(X):
    """A fitted detector of two unlike models, one of them nonlinear and of normal scores."""
    models = [light(), light(3, hidden_layer_sizes=(8,), marginals="normal")]
    return detector(models).fit(X)


@pytest.fixture(scope="module")
def trained(X):
    """A detector whose model has learned the factors."""
    model = light(likelihood="gaussian", max_iter=150, learning_rate_init=0.02, alpha=0.0, n_importance_samples=64)
    return detector(model, novelty=True).fit(X)


# -- labels and threshold --------------------------------------------------------------------------------------------


def test_labels_are_the_sign_of_the_decision_function(two, X):
    rows = np.vstack([X[:50], X[:5] * 100.0])
    labels = two.predict(rows)
    assert set(labels) == {1, -1}
    assert (labels[-5:] == -1).all()
    np.testing.assert_array_equal(two.decision_function(rows), two.score_samples(rows) - two.offset_)
    np.testing.assert_array_equal(labels == -1, two.decision_function(rows) < 0.0)


def test_fit_predict_is_fit_and_predict(X):
    np.testing.assert_array_equal(detector().fit_predict(X), detector().fit(X).predict(X))


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.25, 0.5])
def test_a_share_flags_that_share_of_the_training_rows(X, contamination):
    labels = detector(contamination=contamination).fit_predict(X)
    assert np.count_nonzero(labels == -1) == contamination * len(X)


def test_a_share_flags_no_more_where_rows_are_tied(X):
    tied = np.repeat(X[:40], 10, axis=0)
    labels = detector(contamination=0.12, calibration_fraction=0).fit_predict(tied)
    assert np.count_nonzero(labels == -1) in (40, 50)


@pytest.mark.parametrize("n", [200, 250, 333, 400])
def test_auto_flags_what_has_a_p_value_under_one_in_twenty(X, n):
    model = detector().fit(X[:n])
    rows = np.vstack([X, factors(300, 1)])
    flagged = model.predict(rows) == -1
    np.testing.assert_array_equal(flagged, model.p_values(rows) < 0.05)
    assert 0 < flagged.sum() < len(rows)


def test_auto_with_few_calibration_rows_is_the_lowest_of_their_scores(X):
    for fitted, n in ((detector().fit(X[:19]), 19), (detector(calibration_fraction=0.05).fit(X[:200]), 10)):
        assert len(fitted.calibration_scores_) == n
        assert fitted.offset_ == fitted.calibration_scores_[0]


def test_auto_without_calibration_is_a_quantile_of_the_training_scores(X):
    model = detector(calibration_fraction=0).fit(X)
    assert model.offset_ == pytest.approx(np.quantile(model.score_samples(X), 0.05))
    assert np.count_nonzero(model.predict(X) == -1) == 20


def test_set_contamination_moves_the_threshold_and_nothing_else(X):
    model = detector().fit(X)
    models, scores, auto = list(model.estimators_), model.score_samples(X), model.offset_
    assert model.set_contamination(0.2) is model
    assert model.contamination == 0.2
    assert np.count_nonzero(model.predict(X) == -1) == 80
    assert model.offset_ != auto
    assert all(one is other for one, other in zip(model.estimators_, models, strict=True))
    np.testing.assert_array_equal(model.score_samples(X), scores)
    assert model.offset_ == detector(contamination=0.2).fit(X).offset_
    assert model.set_contamination("auto").offset_ == auto


@pytest.mark.parametrize("wrong", [0.0, 0.6, -0.1, "some", None])
def test_set_contamination_to_what_it_cannot_be_changes_nothing(X, wrong):
    model = detector(contamination=0.1).fit(X)
    before = model.offset_
    with pytest.raises(ValueError, match="The 'contamination' parameter of VAEOutlierDetector must be"):
        model.set_contamination(wrong)
    assert (model.contamination, model.offset_) == (0.1, before)


def test_set_contamination_needs_a_fit():
    with pytest.raises(NotFittedError):
        detector().set_contamination(0.1)


# -- scores ----------------------------------------------------------------------------------------------------------


def test_score_of_one_model_is_its_log_likelihood(trained, X):
    """Up to the units: the detector's are the columns' standard deviations."""
    (model,) = trained.estimators_
    units = np.log([column.scale for column in model.schema_.columns]).sum()
    np.testing.assert_allclose(trained.score_samples(X), model.score_samples(X) + units, atol=1e-10)


def test_score_of_two_models_is_a_mean_of_their_surprisals(two, X):
    """The share of the rows set aside that score as low, in nats, and the eighth root of the mean eighth power."""
    rows = np.vstack([X, factors(200, 5)])
    assert len(two.estimators_) == 2
    scores = two.score_samples(rows)
    held_out = np.random.RandomState(0).permutation(len(X))[:100]
    surprisals = []
    for model in two.estimators_:
        each, normal = model.score_samples(rows), np.sort(model.score_samples(X[held_out]))
        surprisals.append(-np.log((np.searchsorted(normal, each, side="right") + 1) / 101))
    expected = -(np.mean(np.power(surprisals, 8), axis=0) ** 0.125)
    common = np.max(surprisals, axis=0) < np.log(10)  # above the lowest tenth, where no tail is fitted
    assert common.sum() > 300
    np.testing.assert_allclose(scores[common], expected[common], atol=0.15)
    assert (scores[~common] < -1.5).all()


def test_scores_repeat_and_do_not_depend_on_the_company(two, X):
    scores = two.score_samples(X)
    np.testing.assert_array_equal(two.score_samples(X), scores)
    np.testing.assert_allclose(two.score_samples(X[::-1])[::-1], scores, atol=1e-9)
    np.testing.assert_allclose([two.score_samples(row[np.newaxis])[0] for row in X[:5]], scores[:5], atol=1e-9)


def test_random_state_decides(X):
    scores = [detector(random_state=seed).fit(X).score_samples(X) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_models_differ_in_their_seeds_unless_told(X):
    model = detector([light(), light(), light(random_state=7)]).fit(X)
    seeds = [one.random_state for one in model.estimators_]
    assert len(set(seeds)) == 3
    assert seeds[2] == 7


def test_the_given_estimators_are_left_alone(X):
    given = [light(), light()]
    detector(given).fit(X)
    assert not any(one.__sklearn_is_fitted__() for one in given)
    assert [one.random_state for one in given] == [None, None]


@pytest.mark.parametrize("wrong", [[], [StandardScaler()], [light(), "vae"], [light()] * 65], ids=str)
def test_a_list_of_other_things_is_an_error(X, wrong):
    with pytest.raises(TypeError, match="'estimator' parameter must be a VAETransformer or a list of 1 to 64 of them"):
        detector(wrong).fit(X)


def test_an_estimator_that_is_none_is_an_error(X):
    with pytest.raises(ValueError, match="The 'estimator' parameter of VAEOutlierDetector must be"):
        detector(StandardScaler()).fit(X)


def test_the_models_are_the_same_whatever_the_rows_are(X, monkeypatch):
    monkeypatch.setattr("skvae._members._epochs", lambda steps, n: 1)
    each = [VAEOutlierDetector(novelty=novelty, random_state=0, calibration_fraction=0.2) for novelty in (False, True)]
    scores = [model.fit(X).score_samples(X) for model in each]
    np.testing.assert_array_equal(*scores)
    np.testing.assert_allclose(each[0]._weights, np.array(DETECTOR_WEIGHTS) / sum(DETECTOR_WEIGHTS))
    assert DETECTOR_WEIGHTS[0] == max(DETECTOR_WEIGHTS)  # the coarse one


def test_what_the_default_models_are(X):
    coarse, normal, exemplars, of_scores, density = detector_models(*X.shape)
    assert coarse.trim == 0.35
    assert coarse.likelihood.keywords == {"scale": "column", "min_scale": 0.5}
    for linear in (coarse, normal, exemplars, of_scores):
        assert linear.hidden_layer_sizes == ()
    assert [model.marginals for model in (coarse, normal, exemplars, of_scores)] == [
        "normal",
        "linear",
        "linear",
        "normal",
    ]
    assert (normal.prior, exemplars.prior, of_scores.prior) == ("standard_normal", "aggregated", "aggregated")
    assert (density.atoms, density.likelihood, density.prior) == ("auto", "auto", "mixture")
    for asked in ({"has_levels": True}, {"has_missing": True}):  # no closed form: these are trained
        assert all(model.max_iter > 1 for model in detector_models(*X.shape, **asked))


@pytest.mark.parametrize("novelty", [False, True])
def test_default_models_find_outliers(X, novelty, monkeypatch):
    monkeypatch.setattr("skvae._members._epochs", lambda steps, n: 20)
    table = X.copy()
    table[:4] = np.outer([1.0, -1.2, 1.4, -1.6], [10.0, -90.0, 4.0, -900.0, 9.0, -40.0])
    normal = table[4:] if novelty else table
    model = VAEOutlierDetector(novelty=novelty, device="cpu", random_state=0).fit(normal)
    scores = model.score_samples(table)
    assert scores[:4].max() < np.quantile(scores[4:], 0.01)
    assert (model.predict(table)[:4] == -1).all()


def test_verbose_prints_what_the_default_models_do(X, capsys, monkeypatch):
    monkeypatch.setattr("skvae._members._epochs", lambda steps, n: 2)
    VAEOutlierDetector(device="cpu", random_state=0).fit(X)
    assert capsys.readouterr().out == ""
    VAEOutlierDetector(device="cpu", random_state=0, verbose=2).fit(X)
    assert len(capsys.readouterr().out.splitlines()) >= 2


def test_the_threshold_of_a_long_table_is_read_off_evenly_spaced_rows_only_after_auto(X, monkeypatch):
    monkeypatch.setattr("skvae._outlier.MOST_THRESHOLD", 100)
    model = detector().fit(X).set_contamination(0.1)
    assert model.offset_ == np.quantile(model.score_samples(X)[::4], 0.1)
    exact = detector(contamination=0.1).fit(X)
    assert exact.offset_ == np.quantile(exact.score_samples(X), 0.1)


# -- calibration and p-values ----------------------------------------------------------------------------------------


@pytest.fixture
def fits(monkeypatch):
    """Numbers of rows of each call of VAETransformer.fit, in order."""
    seen = []
    fit = VAETransformer.fit

    def counted(self, X, *args, **options):
        seen.append(len(X))
        return fit(self, X, *args, **options)

    monkeypatch.setattr(VAETransformer, "fit", counted)
    return seen


@pytest.mark.parametrize(
    ("novelty", "n", "n_calibration", "fitted_to"),
    [
        (True, 400, 40, [360]),
        (True, 230, 23, [207]),
        (True, 195, 20, [175]),
        (True, 194, 194, [194, 155, 155, 155, 155, 156]),  # models of all, and of all but each of five parts
        (True, 21, 21, [21, 16, 17, 17, 17, 17]),
        (True, 4, 4, [4, 3, 3, 3, 3]),
        (True, 3, 0, [3]),
        (False, 400, 100, [300]),
        (False, 78, 20, [58]),
        (False, 77, 77, [77, 61, 61, 62, 62, 62]),
    ],
)
def test_rows_set_aside_by_auto(X, fits, novelty, n, n_calibration, fitted_to):
    model = detector(light(max_iter=1), novelty=novelty).fit(X[:n])
    assert len(model.calibration_scores_) == n_calibration
    assert fits == fitted_to
    assert (np.diff(model.calibration_scores_) >= 0.0).all()


@pytest.mark.parametrize("n", [10_000, 10**6])
def test_at_most_a_thousand_rows_are_set_aside(n):
    assert [len(part) for part in VAEOutlierDetector()._set_aside(np.arange(n))] == [1000]


def test_few_rows_are_each_scored_by_models_of_the_others(X):
    model = detector([light(3), light(3, prior="aggregated")]).fit(X[:50])
    assert len(model.calibration_scores_) == 50
    # On rows that a model does not know it is less sure: the scales were not set by rows that it was trained on.
    of_training = scales_of(model._committee.densities(model._table(X[:50])))
    assert all(mine.scores[0] < theirs.scores[0] for mine, theirs in zip(model._scales, of_training, strict=True))


@pytest.mark.parametrize(("fraction", "n_calibration"), [(0.25, 100), (0.5, 200), (0, 0), (0.0, 0)])
def test_rows_set_aside_on_demand(X, fits, fraction, n_calibration):
    model = detector(light(max_iter=1), calibration_fraction=fraction).fit(X)
    assert len(model.calibration_scores_) == n_calibration
    assert fits == [400 - n_calibration]


def test_rows_set_aside_are_scored_and_not_trained_on(X):
    table = X.copy()
    table[:, 0] = np.arange(len(X))
    seen = []

    class Spy(VAETransformer):
        def fit(self, X):
            seen.extend(X[:, 0].astype(int))
            return super().fit(X)

    model = detector(Spy(**light().get_params())).fit(table)
    held_out = np.setdiff1d(np.arange(len(X)), seen)
    assert len(held_out) == 100
    np.testing.assert_allclose(model.calibration_scores_, np.sort(model.score_samples(table[held_out])))


def test_p_value_counts_the_calibration_rows_that_score_no_higher(X):
    model = detector().fit(X)
    rows = factors(50, 3)
    scores, calibration = model.score_samples(rows), model.calibration_scores_
    expected = [(1 + np.count_nonzero(calibration <= score)) / (1 + len(calibration)) for score in scores]
    np.testing.assert_allclose(model.p_values(rows), expected, rtol=1e-12)
    assert model.p_values(X[:1] * 1e6)[0] == 1 / 101


@pytest.mark.parametrize("n", [3, 2])
def test_no_calibration_rows_no_p_values(X, n):
    model = detector().fit(X[:n])
    for method in (model.p_values, model.select_outliers):
        with pytest.raises(ValueError, match=r"fit kept none\. Fit on at least 4 rows, or pass a calib"):
            method(X)
    assert model.predict(X).shape == (400,)


@pytest.mark.parametrize("n", [4, 8, 19])
def test_few_rows_say_little_of_new_ones(n, monkeypatch):
    """A new row is below all n scores that calibrate about one time in n + 1; of rows far off it is another matter."""
    monkeypatch.setattr(_members, "DETECTOR_EPOCHS", 50)
    near, far = [], []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        fitted = VAEOutlierDetector(random_state=seed).fit(rng.normal(size=(n, 3)))
        assert len(fitted.calibration_scores_) == n
        new = rng.normal(size=(200, 3))
        near.append((fitted.predict(new) == -1).mean())
        far.append((fitted.predict(100.0 * new) == -1).mean())
        assert fitted.p_values(new).min() >= 1 / (1 + n)
    assert np.mean(near) < 0.4
    assert n == 4 or np.mean(far) > 0.5


def test_where_only_rows_that_would_be_set_aside_differ_none_are():
    X = np.ones((60, 3))
    X[np.random.RandomState(0).permutation(60)[0]] = [1.0, 5.0, 1.0]  # the first to be set aside
    with pytest.warns(UserWarning, match=r"No rows can be set aside .* What failed: Every column of X is constant"):
        fitted = VAEOutlierDetector(random_state=0).fit(X)
    assert len(fitted.calibration_scores_) == 0
    np.testing.assert_array_equal(fitted.predict(X) == -1, X[:, 1] == 5.0)
    with pytest.raises(ValueError, match="constant or without a value over its 30 training rows"):
        VAEOutlierDetector(calibration_fraction=0.5, random_state=0).fit(X)


def test_false_positive_rate_is_the_nominal_one():
    alpha, n_calibration, rates = 0.2, 39, []
    for seed in range(20):
        rows = np.random.default_rng(seed).normal(size=(1078, 2)) @ [[1.0, 0.5], [0.0, 1.0]]
        model = detector(light(1, max_iter=2), calibration_fraction=0.5, random_state=seed).fit(rows[:78])
        assert len(model.calibration_scores_) == n_calibration
        rates.append(np.mean(model.p_values(rows[78:]) <= alpha))
    # Given the calibration rows the rate is Beta distributed (Vovk 2012): 8 of 40 ranks lie at alpha or below.
    spread = np.sqrt(alpha * (1 - alpha) / (n_calibration + 2) + alpha * (1 - alpha) / 1000)
    assert np.mean(rates) == pytest.approx(alpha, abs=3 * spread / np.sqrt(20))
    assert np.std(rates) == pytest.approx(spread, rel=0.6)


@pytest.mark.parametrize("fdr", [0.05, 0.1, 0.3])
def test_selection_is_benjamini_and_hochbergs(X, fdr):
    model = detector(calibration_fraction=0.5).fit(X)
    rows = np.vstack([factors(60, 4), factors(20, 5) + 10.0])
    chosen = model.select_outliers(rows, fdr=fdr)
    assert chosen.dtype == bool
    np.testing.assert_array_equal(chosen, false_discovery_control(model.p_values(rows)) <= fdr)


def test_selection_keeps_the_rate_of_false_discoveries():
    rates, found = [], []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(700, 2))
        model = detector(light(1, max_iter=2), calibration_fraction=0.5, random_state=seed).fit(rows[:400])
        outliers = 6.0 * np.sign(rng.normal(size=(60, 2))) + rng.normal(size=(60, 2))
        chosen = model.select_outliers(np.vstack([rows[400:], outliers]), fdr=0.2)
        rates.append(np.count_nonzero(chosen[:300]) / max(1, np.count_nonzero(chosen)))
        found.append(chosen[300:].mean())
    assert np.mean(rates) < 0.2 + 3 * np.std(rates) / np.sqrt(15)
    assert np.mean(rates) > 0.05  # the rate is used, not left at 0
    assert np.mean(found) > 0.9


@pytest.mark.parametrize("fdr", [0.0, 1.0, -0.1, 2])
def test_a_rate_outside_its_range_is_an_error(two, X, fdr):
    with pytest.raises(ValueError, match=f"fdr must be a number between 0 and 1. Got {fdr!r} instead"):
        two.select_outliers(X, fdr=fdr)


# -- explain ---------------------------------------------------------------------------------------------------------


def holed(X):
    X = X.copy()
    X[::3, 1] = np.nan
    X[1::5, 4] = np.nan
    return X


def assert_adds_up(model, X):
    explanation = model.explain(X)
    assert explanation.latent.shape == (len(X),)
    total = np.asarray(explanation.shares).sum(axis=1) + explanation.latent
    np.testing.assert_allclose(total, model.score_samples(X), rtol=0, atol=1e-8)
    return explanation


def test_parts_add_up_to_the_score(two, X):
    shares = assert_adds_up(two, X).shares
    assert shares.shape == X.shape
    assert_adds_up(two, np.vstack([X[:3] * 50.0, X[:3]]))


def test_parts_of_single_precision_add_up(two, X):
    assert_adds_up(two, X.astype(np.float32))


def test_missing_cells_have_no_share(two, X):
    rows = holed(X)
    shares = assert_adds_up(two, rows).shares
    assert (shares[np.isnan(rows)] == 0.0).all()
    assert (shares[~np.isnan(rows)] != 0.0).all()


def test_parts_add_up_after_training_on_missing_cells(X):
    rows = holed(X)
    rows[7] = np.nan
    explanation = assert_adds_up(detector(light(hidden_layer_sizes=(8,))).fit(rows), rows)
    assert explanation.latent[7] == 0.0
    assert (explanation.shares[7] == 0.0).all()


def test_surprise_of_a_constant_column_is_its_share(X):
    table = np.column_stack([X, np.full(len(X), 7.0)])
    model = detector(calibration_fraction=0).fit(table)
    odd = table[:5].copy()
    odd[0, 6] = 8.0
    with pytest.warns(UserWarning, match="constant in training"):
        shares, latent, _ = model.explain(odd)
    np.testing.assert_allclose(shares[:, 6], [-np.log(402)] + [0.0] * 4)
    with pytest.warns(UserWarning, match="constant in training"):
        scores = model.score_samples(odd)
    np.testing.assert_allclose(shares.sum(axis=1) + latent, scores, atol=1e-8)


@pytest.mark.parametrize("novelty", [False, True])
def test_an_unseen_level_makes_a_row_odder_and_is_named(novelty, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=600)
    frame = pd.DataFrame({"x": x, "y": x + 0.3 * rng.normal(size=600)})
    frame["c"] = pd.Categorical(rng.choice(list("abcd"), 600, p=[0.5, 0.25, 0.15, 0.1]))
    monkeypatch.setattr(_members, "DETECTOR_EPOCHS", 20)
    model = VAEOutlierDetector(novelty=novelty, random_state=0).fit(frame)
    rows = pd.DataFrame({"x": 0.1, "y": 0.1, "c": pd.Categorical(["a", "b", "c", "d", "never seen", None])})
    scores = model.score_samples(rows)
    assert scores[4] < scores[:4].min()
    n = model.estimators_[0].schema_.n_rows
    assert scores[4] == pytest.approx(scores[5] - np.log(n + 2))
    shares = model.explain(rows).shares
    assert shares.loc[4].idxmin() == "c"
    np.testing.assert_allclose(shares["c"][4], -np.log(n + 2))
    assert shares["c"][5] == 0.0
    for one in model.estimators_:
        one.set_params(handle_unknown="missing")
    np.testing.assert_allclose(model.score_samples(rows)[4:], scores[5])
    assert model.explain(rows).shares["c"][4] == 0.0


def test_a_level_of_one_row_that_was_set_aside_is_odd():
    rng = np.random.default_rng(0)
    for seed in range(4):
        frame = pd.DataFrame(rng.normal(size=(200, 3)), columns=list("xyz"))
        frame["ward"] = pd.Categorical(["icu", *rng.choice(["north", "south"], 199)])
        scores = detector(light(likelihood="auto", max_iter=20), random_state=seed).fit(frame).score_samples(frame)
        assert (scores < scores[0]).sum() < 20


@pytest.mark.parametrize("holes", [False, True], ids=["atoms", "missing cells"])
@pytest.mark.parametrize("likelihood", ["auto", "log_normal"])
def test_the_ranking_does_not_depend_on_the_units(holes, likelihood):
    """Atoms have probabilities, the other rows densities; rows with a missing cell lack the density of that cell."""
    rng = np.random.default_rng(0)
    amount = rng.gamma(3.0, 1.0, 600)
    amount[rng.random(600) < 0.3] = np.nan if holes else 0.0
    X = np.column_stack([amount, rng.normal(size=600)])
    model = light(max_iter=10, likelihood={0: likelihood})
    scores = {unit: detector(model).fit(X * [unit, 1.0]).score_samples(X * [unit, 1.0]) for unit in (1e-3, 1e3)}
    np.testing.assert_allclose(scores[1e-3], scores[1e3], atol=0.02)


@pytest.mark.parametrize("gross", ["a digit too many", "a mark for missing"])
def test_a_gross_error_in_a_small_table_is_flagged(gross):
    """As IsolationForest flags it: always."""
    for seed in range(2):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=250)
        X = np.column_stack(
            [70 + 8 * z + rng.normal(0, 3, 250), 170 + 9 * z + rng.normal(0, 3, 250), rng.poisson(3, 250)]
        )
        wild = [7] if gross == "a digit too many" else [7, 80, 200]
        X[wild, 0] = X[wild, 0] * 10 if len(wild) == 1 else 999_999
        flagged = VAEOutlierDetector(contamination=0.02, random_state=seed).fit(X).predict(X) == -1
        assert flagged[wild].all()


def test_the_threshold_with_novelty_leaves_each_row_out_of_the_prior(X):
    close = partial(Gaussian, scale=0.1)
    model = light(3, prior="aggregated", likelihood=close, max_iter=100, learning_rate_init=0.01)
    fitted = detector(model, novelty=True, contamination=0.05, calibration_fraction=0).fit(X)
    beside_itself = fitted._models[0].log_density(fitted._table(X), relative=True)
    assert fitted.offset_ < np.quantile(beside_itself, 0.05) - 1.0
    assert (fitted.predict(X) == -1).mean() == 0.05
    assert 0.01 < (fitted.predict(factors(2000, 5)) == -1).mean() < 0.12


@pytest.mark.parametrize(("n", "n_tables", "missing"), [(60, 6, 0.2), (300, 1, 0.0)])
def test_what_contamination_promises(n, n_tables, missing, monkeypatch):
    """Of the training rows so many are flagged; with novelty, about so many new rows like them, or fewer."""
    monkeypatch.setattr(_members, "DETECTOR_EPOCHS", 100)  # the promise does not depend on how well the models fit
    L = np.random.default_rng(1).normal(size=(6, 3))

    def rows(n, seed):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, 3)) @ L.T + 0.5 * rng.normal(size=(n, 6))
        X[rng.random(X.shape) < missing] = np.nan
        return X

    X = rows(n, 0)
    own = VAEOutlierDetector(contamination=0.05, random_state=0).fit(X)
    assert (own.predict(X) == -1).mean() == pytest.approx(0.05, abs=1.0 / n)

    flagged = []
    for seed in range(n_tables):
        X, new = rows(n, seed), rows(1000, 100 + seed)
        novel = VAEOutlierDetector(novelty=True, contamination=0.05, random_state=seed).fit(X)
        flagged.append((novel.predict(new) == -1).mean())
    assert 0.005 < np.mean(flagged) < 0.08


def test_a_new_row_falls_below_the_lowest_of_20_one_time_in_21(X):
    """As rows of one distribution do, in any order."""
    model = detector(novelty=True).fit(X[:200])
    lowest = model.calibration_scores_.min()
    assert len(model.calibration_scores_) == 20
    assert model.set_contamination(1 / 21).offset_ == pytest.approx(lowest, rel=1e-12)
    assert model.set_contamination(0.2).offset_ > lowest


def test_shares_are_in_the_container_of_the_rows(X):
    frame = pd.DataFrame(holed(X), columns=NAMES, index=np.arange(len(X)) * 3 + 1)
    model = detector().fit(frame)
    np.testing.assert_array_equal(model.feature_names_in_, NAMES)
    shares = assert_adds_up(model, frame).shares
    assert isinstance(shares, pd.DataFrame)
    pd.testing.assert_index_equal(shares.index, frame.index)
    assert list(shares.columns) == NAMES
    polars = pl.DataFrame(X, schema=NAMES)
    model = detector().fit(polars)
    shares = assert_adds_up(model, polars).shares
    assert isinstance(shares, pl.DataFrame)
    assert shares.columns == NAMES
    np.testing.assert_array_equal(shares.to_numpy(), detector().fit(X).explain(X).shares)


def test_expected_score_is_the_mean_score_of_rows_of_the_models(two):
    drawn = [two.score_samples(model.sample(2000, codes="prior", random_state=1)) for model in two.estimators_]
    scores = np.concatenate(drawn)
    expected = two.explain(factors(3, 0)).expected_score
    assert isinstance(expected, float)
    assert expected == pytest.approx(scores.mean(), abs=3 * scores.std() / np.sqrt(512))


def test_shares_of_typical_rows_are_around_0(trained):
    drawn = trained.estimators_[0].sample(1000, random_state=2)
    shares = trained.explain(drawn).shares
    assert (np.abs(np.median(shares, axis=0)) < 0.1 * shares.std(axis=0)).all()


@pytest.mark.parametrize("gross", [1e6, 1e12])
def test_a_gross_cell_in_training_leaves_the_reasons_of_other_rows(gross, monkeypatch):
    """Rows drawn from the density may reach as far; what is expected of a column must not follow them."""
    monkeypatch.setattr(_members, "DETECTOR_EPOCHS", 100)
    rng = np.random.default_rng(2)
    X, new = (rng.normal(size=(n, 1)) + rng.normal(size=(n, 4)) for n in (80, 20))
    X[0, 0] = gross
    new[:, 2] += 12.0
    model = VAEOutlierDetector(random_state=0).fit(X)
    shares = model.explain(new).shares
    assert (shares.argmin(axis=1) == 2).all()
    assert np.abs(np.delete(shares, 2, axis=1)).max() < 100.0
    assert ((model.complete(new) != new) == (np.arange(4) == 2)).all()
    assert_adds_up(model, np.vstack([new, X[1:]]))


def test_a_lone_row_set_aside_is_no_odder_than_a_new_one_of_its_kind(monkeypatch):
    monkeypatch.setattr(_members, "DETECTOR_EPOCHS", 100)
    rng = np.random.default_rng(5)
    rng.random((80, 4))
    X = (rng.random((100, 3)) < 0.3).astype(float)
    model = VAEOutlierDetector(random_state=0).fit(X)
    assert model.calibration_scores_.min() > 10.0 * model.score_samples([[1.0, 1.0, 1.0]])[0]
    assert (model.predict([[0.0, 0.0, 3.0], [50.0, 50.0, 50.0]]) == -1).all()


@pytest.mark.parametrize("n", [40, 77])
def test_ties_in_a_small_table_flag_no_normal_rows(n, monkeypatch):
    """Models of its parts see the repeated values as those of the whole do: with the same noise, without atoms."""
    monkeypatch.setattr(_members, "DETECTOR_EPOCHS", 100)
    rates = []
    for seed in range(3):
        rng = np.random.default_rng([seed, n, 7])
        fitted = VAEOutlierDetector(random_state=seed).fit(rng.integers(0, 3, size=(n, 3)).astype(float))
        rates.append((fitted.p_values(rng.integers(0, 3, size=(300, 3)).astype(float)) <= 0.05).mean())
    assert np.mean(rates) < 0.08


def test_models_that_read_new_levels_in_different_ways_are_refused():
    models = [VAETransformer(handle_unknown="missing"), VAETransformer()]
    with pytest.raises(ValueError, match=r"must have the same handle_unknown.*\['missing', 'unlikely'\]"):
        VAEOutlierDetector(estimator=models).fit(np.random.default_rng(0).normal(size=(30, 2)))


@pytest.mark.parametrize("novelty", [False, True])
@pytest.mark.parametrize("kind", ["3 rows", "1 column", "copies", "two values", "nan"])
def test_bad_tables_have_sensible_answers(kind, novelty, monkeypatch):
    monkeypatch.setattr(_members, "DETECTOR_EPOCHS", 50)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    if kind == "3 rows":
        X = X[:3]
    elif kind == "1 column":
        X = X[:, :1]
    elif kind == "copies":
        X[:164] = X[0]
    elif kind == "two values":
        X[:, 1:] = (X[:, 1:] > 1.0) * 5.0
    else:
        X[rng.random(X.shape) < 0.3] = np.nan
    model = VAEOutlierDetector(novelty=novelty, random_state=0).fit(X)
    assert len(model.estimators_) == 5
    scores = model.score_samples(X)
    assert np.isfinite(scores).all()
    assert_adds_up(model, X)
    far = np.full((1, X.shape[1]), 1e4)
    assert model.score_samples(far)[0] < scores.min()
    if kind != "3 rows":
        assert model.predict(far)[0] == -1
        assert (model.predict(X) == -1).mean() < 0.12


def test_a_hundred_thousand_rows_are_fitted_in_two_minutes():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100_000, 4)) @ rng.normal(size=(4, 10)) + 0.3 * rng.normal(size=(100_000, 10))
    started = time.process_time()
    model = VAEOutlierDetector(novelty=True, random_state=0).fit(X)
    assert time.process_time() - started < 120.0
    assert 0.02 < (model.predict(X[:2000]) == -1).mean() < 0.1


@pytest.fixture(scope="module")
def corrupted(X):
    """Normal rows, the same with one cell of each shifted, and which: an unlikely value that is ordinary by itself."""
    clean = factors(200, 8)
    cells = np.arange(200) % 6
    rows, u = clean.copy(), (clean - X.mean(0)) / X.std(0)
    i = np.arange(200)
    rows[i, cells] -= np.where(u[i, cells] > 0.0, 2.0, -2.0) * X.std(0)[cells]
    z = (rows - X.mean(0)) / X.std(0)
    assert np.quantile(np.abs(z[i, cells]), 0.9) < 2.0
    return clean, rows, cells, z


def test_explanation_names_the_corrupted_column(trained, corrupted):
    _, rows, cells, z = corrupted
    named = np.mean(np.argmin(trained.explain(rows).shares, axis=1) == cells)
    by_z = np.mean(np.argmax(np.abs(z), axis=1) == cells)
    assert named > 0.5
    assert named > by_z + 0.2


# -- complete --------------------------------------------------------------------------------------------------------


def test_complete_keeps_fractions_where_fit_saw_integers():
    """What is not replaced is as it was given, whatever the dtypes of fit."""
    whole = pd.DataFrame(np.rint(10.0 * factors(200, 4)).astype(int), columns=list("abcdef"))
    rows = whole.head(20) + 0.25
    completed = detector().fit(whole).complete(rows)
    assert (completed.dtypes == "float64").all()
    assert ((completed != rows).sum(axis=1) <= 1).all()


def test_completion_is_nearer_to_the_truth(trained, corrupted, X):
    clean, rows, cells, _ = corrupted
    completed = trained.complete(rows)
    i = np.arange(len(rows))
    named = completed[i, cells] != rows[i, cells]
    nearer = np.abs(completed - clean)[i, cells] < np.abs(rows - clean)[i, cells]
    assert named.mean() > 0.5
    assert nearer[named].mean() > 0.8


@pytest.mark.parametrize("n_cells", [1, 2, 6])
def test_completion_touches_only_the_oddest_cells(two, X, n_cells):
    rows = X[:60]
    completed = two.complete(rows, n_cells=n_cells)
    lowest = np.argsort(two.explain(rows).shares, axis=1)[:, :n_cells]
    expected = np.zeros(rows.shape, dtype=bool)
    np.put_along_axis(expected, lowest, True, axis=1)
    np.testing.assert_array_equal(completed != rows, expected)


def test_completion_fills_missing_cells(trained, X):
    rows = X[:90].copy()
    truth = rows[:, 3].copy()
    rows[:, 3] = np.nan
    completed = trained.complete(rows)
    assert np.isfinite(completed).all()
    guess = np.abs(truth - X[:, 3].mean()).mean()
    assert np.abs(completed[:, 3] - truth).mean() < 0.7 * guess
    touched = (completed != rows) & ~np.isnan(rows)
    assert (touched.sum(axis=1) <= 1).all()


def test_completion_of_a_frame_keeps_index_names_and_dtypes(X):
    frame = pd.DataFrame(X, columns=NAMES, index=[f"row {i}" for i in range(len(X))])
    frame = frame.assign(d=frame["d"].round()).astype({"d": int, "e": np.float32})
    model = detector().fit(frame)
    completed = model.complete(frame, n_cells=2)
    pd.testing.assert_index_equal(completed.index, frame.index)
    pd.testing.assert_series_equal(completed.dtypes, frame.dtypes)
    assert (np.count_nonzero(completed != frame, axis=1) <= 2).all()
    assert (completed != frame).to_numpy().any()
    polars = pl.from_pandas(frame)
    completed = detector().fit(polars).complete(polars)
    assert completed.schema == polars.schema
    assert (np.count_nonzero(completed.to_numpy() != polars.to_numpy(), axis=1) <= 1).all()


@pytest.mark.parametrize("n_cells", [0, 7, -1, 1.5, "all"])
def test_an_impossible_number_of_cells_is_an_error(two, X, n_cells):
    with pytest.raises(
        ValueError, match=f"n_cells must be an integer from 1 to the number of columns, 6. Got {n_cells!r}"
    ):
        two.complete(X, n_cells=n_cells)


# -- uncertainty -----------------------------------------------------------------------------------------------------


def test_uncertainty_has_its_bounds(two, X):
    error, size = two.score_uncertainty(X)
    assert error.shape == size.shape == (len(X),)
    assert (error >= 0.0).all()
    assert ((size >= 1.0 - 1e-9) & (size <= 8.0 + 1e-9)).all()
    each = [model.score_uncertainty(X) for model in two.estimators_]
    np.testing.assert_allclose(size, np.minimum(each[0][1], each[1][1]))
    committee, densities = two._committee, two._committee.densities(two._table(X))
    for row in np.flatnonzero(np.isfinite(each[0][0]) & np.isfinite(each[1][0]))[:20]:
        own = densities[:, [row]]
        steps = np.diag([float(errors[row]) for errors, _ in each])[:, :, np.newaxis]  # of one model at a time
        moves = [np.abs(committee.joined(own + step) - committee.joined(own)) for step in [*steps, *-steps]]
        together = np.sqrt(np.square(np.maximum(moves[:2], moves[2:])).sum(axis=0))
        np.testing.assert_allclose(error[row], together[0], rtol=1e-9)


def test_of_several_models_no_error_is_infinite_and_it_covers(X):
    """Where one model's draws cannot tell, the score rises by what that model has against the row, at most."""
    fitted = VAEOutlierDetector(random_state=0).fit(X)
    new = np.vstack([factors(300, 3), X[:5] + 30.0 * X.std(axis=0)])
    error, _, k = fitted.score_uncertainty(new, return_pareto_k=True)
    assert (k > 0.7).any()
    assert np.isfinite(error).all()
    score = fitted.score_samples(new)
    fitted.estimators_[-1].set_params(n_importance_samples=4096)  # the others need no draws
    off = np.abs(fitted.score_samples(new) - score)
    assert (off > 3.0 * error + 1e-3).mean() < 0.05
    assert np.median(error) < 0.1


def test_error_falls_with_more_draws(trained, X):
    model = copy.deepcopy(trained)
    errors, sizes = {}, {}
    for n_draws in (8, 512):
        model.estimators_[0].set_params(n_importance_samples=n_draws)
        errors[n_draws], sizes[n_draws] = model.score_uncertainty(X)
    assert np.median(errors[512]) < 0.3 * np.median(errors[8])
    assert (sizes[512] > sizes[8]).all()


def test_error_covers_how_far_scores_are_off(trained, X):
    """Against a reference of many draws: three errors are hardly ever too few, and the error is not much too large."""
    model = copy.deepcopy(trained)
    one = model.estimators_[0]
    off = {}
    for n_draws in (8, 64, 8192):
        one.set_params(n_importance_samples=n_draws)
        off[n_draws] = model.score_samples(X), model.score_uncertainty(X)[0]
    for n_draws in (8, 64):
        scores, error = off[n_draws]
        known = np.isfinite(error)
        assert known.mean() > 0.5
        z = np.abs(scores - off[8192][0])[known] / error[known]
        assert (z > 3.0).mean() < 0.05
        assert 0.2 < np.median(z) < 2.0


def test_error_is_infinite_where_the_tail_of_the_weights_is_heavy(trained, X):
    far = X[:20] + 30.0 * X.std(axis=0)  # rows that the encoder knows nothing of
    error, size, k = trained.score_uncertainty(far, return_pareto_k=True)
    assert np.isinf(error[k > 0.7]).all()
    assert (k > 0.7).any()
    near = trained.score_uncertainty(X, return_pareto_k=True)
    assert np.isfinite(near[0]).mean() > 0.5
    assert near[2].mean() < k.mean()
    for mine, both in zip(trained.score_uncertainty(far), (error, size), strict=True):
        np.testing.assert_array_equal(mine, both)


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contamination", [0.0, 0.51, -0.2, "some", None])
def test_contamination_out_of_its_range_is_an_error(X, contamination):
    with pytest.raises(ValueError, match="The 'contamination' parameter of VAEOutlierDetector must be"):
        detector(contamination=contamination).fit(X)


@pytest.mark.parametrize("fraction", [1.0, -0.1, "some"])
def test_calibration_fraction_out_of_its_range_is_an_error(X, fraction):
    with pytest.raises(ValueError, match="The 'calibration_fraction' parameter of VAEOutlierDetector must be"):
        detector(calibration_fraction=fraction).fit(X)


@pytest.mark.parametrize(("fraction", "n", "wanted"), [(0.9, 10, 9), (0.01, 20, 0), (0.5, 3, 2)])
def test_too_few_rows_on_either_side_is_an_error(X, fraction, n, wanted):
    message = f"calibration_fraction={fraction} sets {wanted} of {n} rows aside.*calibration_fraction=0"
    with pytest.raises(ValueError, match=message):
        detector(calibration_fraction=fraction).fit(X[:n])


def test_rows_that_are_all_equal_are_an_error():
    with pytest.raises(ValueError, match="Every column of X is constant"):
        detector().fit(np.ones((50, 3)))


def test_one_row_is_an_error(X):
    with pytest.raises(ValueError, match="minimum of 2"):
        detector().fit(X[:1])


def test_two_rows_work(X):
    assert set(detector().fit(X[:2]).predict(X)) <= {1, -1}


def test_one_column_works(X):
    table = X[:, :1].copy()
    table[0] = 1e4
    model = detector(light(1, max_iter=10)).fit(table)
    assert model.predict(table)[0] == -1
    assert np.argmin(model.score_samples(table)) == 0
    assert assert_adds_up(model, table).shares.shape == (400, 1)
    assert model.complete(table[:3])[0, 0] != 1e4


def test_missing_cells_work_everywhere(X):
    rows = holed(X)
    model = detector().fit(rows)
    for method in (model.score_samples, model.predict, model.p_values, model.select_outliers):
        assert np.isfinite(method(rows)).all()
    assert np.isfinite(model.complete(rows)).all()
    np.testing.assert_allclose(model.score_samples(np.full((2, 6), np.nan)), 0.0)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_is_an_error(two, X, value):
    rows = X.copy()
    rows[3, 1] = value
    with pytest.raises(ValueError, match="Input X contains infinity"):
        detector().fit(rows)
    for method in (two.score_samples, two.predict, two.p_values, two.explain, two.complete, two.score_uncertainty):
        with pytest.raises(ValueError, match="Input X contains infinity"):
            method(rows)


def test_another_number_of_columns_is_an_error(two, X):
    for method in (two.score_samples, two.predict, two.p_values, two.explain, two.complete, two.score_uncertainty):
        with pytest.raises(ValueError, match="X has 5 features, but VAEOutlierDetector is expecting 6"):
            method(X[:, :5])


@pytest.mark.parametrize(
    "method",
    [
        "score_samples",
        "decision_function",
        "predict",
        "p_values",
        "select_outliers",
        "explain",
        "complete",
        "score_uncertainty",
    ],
)
def test_answers_need_a_fit(X, method):
    with pytest.raises(NotFittedError):
        getattr(detector(), method)(X)


def test_a_fit_that_fails_leaves_the_old_model(X):
    model = detector().fit(X)
    before = dict(vars(model))
    scores = model.score_samples(X)
    for bad in (np.ones((50, 3)), np.full((50, 6), np.inf)):
        with pytest.raises(ValueError, match=r"constant|infinity"):
            model.fit(bad)
    assert vars(model) == before
    np.testing.assert_array_equal(model.score_samples(X), scores)


def test_a_fit_that_fails_leaves_no_half_fitted_one():
    model = detector()
    with pytest.raises(ValueError, match="constant"):
        model.fit(np.ones((50, 3)))
    with pytest.raises(NotFittedError):
        model.predict(np.ones((50, 3)))
    assert not hasattr(model, "n_features_in_")


# -- persistence and company -----------------------------------------------------------------------------------------


def test_copies_give_the_same_answers(two, X, tmp_path):
    joblib.dump(two, tmp_path / "model.joblib")
    for other in (pickle.loads(pickle.dumps(two)), joblib.load(tmp_path / "model.joblib"), copy.deepcopy(two)):
        np.testing.assert_array_equal(other.score_samples(X), two.score_samples(X))
        np.testing.assert_array_equal(other.p_values(X), two.p_values(X))
        np.testing.assert_array_equal(other.explain(X).shares, two.explain(X).shares)
        assert other.set_contamination(0.1).offset_ != two.offset_
    assert two.contamination == "auto"


def test_clone_forgets_the_fit_and_fits_the_same(two, X):
    cloned = clone(two)
    assert not cloned.__sklearn_is_fitted__()
    np.testing.assert_array_equal(cloned.fit(X).score_samples(X), two.score_samples(X))


def test_a_scaler_in_front_changes_nothing(X):
    """Scores are in the columns' own units."""
    alone = detector(light(likelihood=Gaussian)).fit(X)
    pipeline = make_pipeline(StandardScaler(), detector(light(likelihood=Gaussian))).fit(X)
    np.testing.assert_allclose(pipeline.score_samples(X), alone.score_samples(X), atol=1e-3)
    clear = np.abs(alone.decision_function(X)) > 1e-3  # the threshold is the score of one of the rows
    assert clear.sum() > 390
    np.testing.assert_array_equal(pipeline.predict(X)[clear], alone.predict(X)[clear])
    assert make_pipeline(StandardScaler(), detector()).fit_predict(X).shape == (400,)


def test_explaining_again_draws_nothing_anew(X, monkeypatch):
    model = detector().fit(X)
    first, draws = model.explain(X), []
    draw = Committee.expected
    monkeypatch.setattr(Committee, "expected", lambda *args, **kw: draws.append(1) or draw(*args, **kw))
    again = model.explain(X)
    assert draws == []
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    other = model.estimators_[0].set_params(n_importance_samples=9)
    changed = model.explain(X)
    assert draws == [1]
    assert changed.expected_score != first.expected_score
    np.testing.assert_allclose(changed.shares.sum(axis=1) + changed.latent, model.score_samples(X))
    other.partial_fit(X)
    assert model.explain(X).expected_score != changed.expected_score
    assert draws == [1, 1]
    model.fit(X)
    assert model.explain(X).expected_score == first.expected_score
    assert draws == [1, 1, 1]


def test_what_explaining_keeps_is_no_part_of_a_pickle(X):
    model = detector().fit(X)
    before = pickle.dumps(model)
    explanation = model.explain(X)
    assert len(pickle.dumps(model)) == len(before)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).explain(X).shares, explanation.shares)


def test_explaining_tells_of_a_constant_column_that_differs(X):
    frame = pd.DataFrame(X, columns=NAMES).assign(flat=1.0)
    model = detector().fit(frame)
    for ask in (model.explain, model.complete, model.predict):
        with pytest.warns(UserWarning, match=r"Column\(s\) flat were constant in training and differ here"):
            ask(frame.head(5).assign(flat=2.0))
    words = frame.assign(flat=pd.Categorical(["a"] * len(X)))
    model = detector().fit(words)
    model.estimators_[0].set_params(handle_unknown="missing")
    later = words.head(60).assign(flat=pd.Categorical(["b"] * 20 + ["a"] * 40))
    assert (model.explain(later).shares["flat"] == 0.0).all()  # and no warning: it costs nothing


def test_the_default_code_is_half_as_wide_as_the_row_whatever_constant_columns_stand_beside_it():
    rng = np.random.RandomState(0)
    numbers = pd.DataFrame(rng.normal(size=(60, 8))).add_prefix("x")
    with_one_level = numbers.assign(c=pd.Categorical(["a"] * 60))
    with_levels = numbers.assign(c=pd.Categorical(rng.choice(list("abc"), 60)))
    for X, expected in ((numbers, 4), (with_one_level, 4), (with_levels, (9 + 3) // 2)):
        detector = VAEOutlierDetector(random_state=0).fit(X)
        assert detector.estimators_[0].n_components_ == expected


# -- the committee -----------------------------------------------------------------------------------------------------


def test_surprisal_is_the_log_share_of_reference_rows():
    reference = np.random.default_rng(0).normal(size=999)
    surprisal = Surprisal.of(reference)
    ordered = np.sort(reference)
    np.testing.assert_allclose(surprisal(ordered[[499]]), np.log(1000 / 501), atol=0.01)
    np.testing.assert_allclose(surprisal(ordered[[120]]), np.log(1000 / 122), atol=0.02)
    u = ordered[99]
    excess = np.mean(u - ordered[:99])
    np.testing.assert_allclose(surprisal(np.array([u - 10 * excess])), np.log(10) + 10, atol=0.1)
    at = np.linspace(-50.0, 50.0, 4001)
    assert (np.diff(surprisal(at)) < 0.0).all()
    assert (surprisal(at) > 0.0).all()


@pytest.mark.parametrize("reference", [[1.0], [2.0, 2.0, 2.0], [0.0, 1.0], [-1e300, 0.0, 1.0], list(range(7))])
def test_a_scale_of_few_or_equal_rows_is_finite_and_falls(reference):
    surprisal = Surprisal.of(np.array(reference))
    said = surprisal(np.array([-np.inf, -1e308, -5.0, 0.5, 9.0]))
    assert np.isfinite(said).all()
    assert (np.diff(said) <= 0.0).all()


def test_power_mean_is_between_the_mean_and_the_largest():
    t = np.random.default_rng(0).exponential(size=(5, 200))
    weights = np.full(5, 0.2)
    np.testing.assert_allclose(power_mean(t, weights, 1.0), t.mean(axis=0))
    np.testing.assert_allclose(power_mean(t, weights, 4.0), (t**4).mean(axis=0) ** 0.25)
    np.testing.assert_allclose(power_mean(t * 1e200, weights, 4.0), 1e200 * (t**4).mean(axis=0) ** 0.25)
    np.testing.assert_allclose(power_mean(np.zeros((5, 3)), weights, 4.0), 0.0, atol=1e-300)


def test_rows_set_aside_are_as_normal_as_new_ones():
    """Their scores, each on the scale of the others, have the distribution of a new row's: p-values are right."""
    rng = np.random.default_rng(0)
    below, n, m = [], 30, 3
    for _ in range(400):
        densities = rng.normal(size=(m, n + 200))
        committee = Committee([None] * m, np.full(m, 1.0 / m), scales_of(densities[:, :n]))
        calibration = np.sort(held_out_scores(committee, densities[:, :n]))
        new = committee.joined(densities[:, n:])
        p = (1 + np.searchsorted(calibration, new, side="right")) / (1 + n)
        below.append([(p <= alpha).mean() for alpha in (2 / 31, 0.2, 0.5)])
    for found, alpha in zip(np.mean(below, axis=0), (2 / 31, 6 / 31, 15 / 31), strict=True):
        assert alpha * 0.75 < found < alpha * 1.05


def test_a_default_model_that_cannot_be_fitted_is_left_out(X, monkeypatch):
    fit = VAETransformer.fit

    def failing(self, X, *args, **options):
        if self.prior == "aggregated":
            raise ValueError("no exemplars today")
        return fit(self, X, *args, **options)

    monkeypatch.setattr("skvae._members._epochs", lambda steps, n: 2)
    monkeypatch.setattr(VAETransformer, "fit", failing)
    with pytest.warns(
        UserWarning, match="2 of the 5 default models could not be fitted and are left out: no exemplars"
    ):
        model = VAEOutlierDetector(random_state=0).fit(X)
    assert len(model.estimators_) == len(model._weights) == 3
    assert model._weights.sum() == pytest.approx(1.0)
    assert_adds_up(model, X[:20])
    with pytest.raises(ValueError, match="no exemplars today"):
        detector([light(prior="aggregated"), light()]).fit(X)


def test_the_most_normal_rows_differ_too(two, X):
    assert len(np.unique(two.score_samples(X))) > 0.99 * len(X)
    assert two.score_samples(X).max() < 0.0


def test_completions_of_the_default_models_stay_within_the_range(monkeypatch):
    monkeypatch.setattr("skvae._members._epochs", lambda steps, n: 20)
    X = np.random.default_rng(0).exponential(size=(300, 3))
    model = VAEOutlierDetector(novelty=True, random_state=0).fit(X)
    odd = X[:20] + np.array([40.0, 0.0, 0.0])
    completed = model.complete(odd)
    assert (completed >= X.min(axis=0)).all()
    assert (completed[:, 0] <= X[:, 0].max()).all()


def test_equal_densities_have_equal_scores(monkeypatch):
    """Log-densities of copies differ by rounding, which a scale must not blow up."""
    monkeypatch.setattr("skvae._members._epochs", lambda steps, n: 5)
    X = np.random.default_rng(0).normal(size=(200, 3))
    X[20:] = X[0]
    model = VAEOutlierDetector(random_state=0).fit(X)
    scores = model.score_samples(X)
    assert np.ptp(scores[20:]) < 1e-8
    assert abs(model.score_samples(X[:1])[0] - scores[20]) < 1e-8
    assert_adds_up(model, X[:30])
    flat = np.ones((100, 3))
    flat[5, 1] = 9.0
    for seed in range(2):
        with pytest.warns(UserWarning, match="No rows can be set aside"):
            model = VAEOutlierDetector(novelty=True, random_state=seed).fit(flat)
        scores = model.score_samples(flat)
        assert scores[5] < scores[0] - 1.0
        assert scores[0] > -2.0


def test_a_column_of_a_few_levels_has_no_odd_one(monkeypatch):
    monkeypatch.setattr("skvae._members._epochs", lambda steps, n: 20)
    frame = pd.DataFrame({"c": pd.Categorical(np.random.default_rng(0).choice(list("abc"), 150))})
    scores = VAEOutlierDetector(novelty=True, random_state=0).fit(frame).score_samples(frame)
    assert scores.min() > -6.0


def test_booleans_are_explained(monkeypatch):
    monkeypatch.setattr("skvae._members._epochs", lambda steps, n: 5)
    X = np.random.default_rng(0).random((120, 4)) > 0.5
    model = VAEOutlierDetector(random_state=0).fit(X)
    assert_adds_up(model, X[:20])
    assert model.complete(X[:20]).shape == (20, 4)


def test_the_waterfall_of_the_default_models_starts_among_normal_rows(X):
    model = VAEOutlierDetector(random_state=0).fit(X)
    expected = model.explain(X[:2]).expected_score
    assert np.quantile(model.score_samples(X), 0.1) < expected < 0.0
