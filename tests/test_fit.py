"""Fit and partial_fit: stopping, warm-up, warm start, chunks, missing cells, and what happens when a fit goes wrong."""

import math
import pickle
import signal
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from torch import nn

from skvae import VAETransformer
from skvae._engine.engine import Engine
from skvae._engine.optimiser import Optimiser
from skvae._model.auto import EARLY_STOPPING_ROWS
from skvae.nn.likelihoods import Gaussian

unconverged = pytest.mark.filterwarnings("ignore:Early stopping did not end:sklearn.exceptions.ConvergenceWarning")


def answers(model, X):
    return [model.transform(X), model.score_samples(X), model.reconstruct(X)]


def assert_same_answers(before, model, X):
    for mine, theirs in zip(before, answers(model, X), strict=True):
        np.testing.assert_array_equal(mine, theirs, strict=True)


class Faulty(nn.Module):
    """A linear network whose training passes from `first` up to `last` go wrong.

    The package calls it once on building, to look at its shape; the first training step is call 2.
    """

    def __init__(self, n_in, n_out, fault, first, last=math.inf):
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        self.fault, self.first, self.last, self.calls = fault, first, last, 0

    def forward(self, x):
        out = self.linear(x)
        if not self.training:
            return out
        self.calls += 1
        if not self.first <= self.calls < self.last:
            return out
        if self.fault == "nan":
            return out * math.nan
        raise self.fault("injected")


# -- early stopping ----------------------------------------------------------------------------------------------------


@pytest.fixture
def unrelated(X):
    """Rows whose columns are independent: the longer a model learns from X, the worse it finds them."""
    rng = np.random.RandomState(1)
    return np.column_stack([rng.permutation(column) for column in X.T])


ENDURING = {"n_components": 1, "early_stopping": True, "n_iter_no_change": 100}
ENDURING |= {"learning_rate": "constant", "learning_rate_init": 0.03}


def test_early_stopping_gives_back_the_best_score(light_autoencoder, X, unrelated):
    model = light_autoencoder(**ENDURING, max_iter=40).fit(X, X_val=unrelated)
    scores = model.validation_scores_
    assert len(scores) == 40
    assert scores[-1] < max(scores) - 0.02
    assert model.score(unrelated) == pytest.approx(max(scores), rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [{"likelihood": "log_normal"}, {"marginals": "normal", "likelihood": "gaussian"}, {}, {"atoms": [0]}],
    ids=["log_normal", "normal scores", "missing cells", "atoms"],
)
def test_validation_scores_are_in_the_units_of_the_rows_set_aside(options):
    """The Jacobian differs by row: that of the training rows would do for no other table."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(500, 1))
    X, V = (np.exp(part + 0.5 * rng.normal(size=(len(part), 3))) for part in (z, z[:200] + 1.0))
    if not options:
        X, V = X * 1e3, np.where(rng.random(V.shape) < 0.3, np.nan, V * 1e3)
    if "atoms" in options:
        X[:100, 0], V[:5, 0] = 1.0, 1.0
    model = VAETransformer(
        1, hidden_layer_sizes=(), n_train_samples=64, max_iter=12, bounds=None, random_state=0, tol=0.0, **options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, X_val=V)
    assert max(model.validation_scores_) == pytest.approx(model.score(V), abs=0.2)
    assert model.lower_bound_ == pytest.approx(model.score(X), abs=0.2)


def test_the_best_weights_are_those_of_the_best_epoch(light, X, unrelated):
    model = light(**ENDURING, max_iter=40).fit(X, X_val=unrelated)
    best = int(np.argmax(model.validation_scores_))
    assert 0 < best < 35
    stopped = light(**ENDURING, max_iter=best + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        stopped.fit(X, X_val=unrelated)
    assert_same_answers(answers(stopped, X), model, X)


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_waits_as_long_as_it_is_told(light, X, patience):
    # A gain as large as tol never comes after the first epoch.
    model = light(early_stopping=True, max_iter=30, n_iter_no_change=patience, tol=1e9).fit(X, X_val=X)
    assert model.n_iter_ == 1 + patience
    assert model.converged_


def test_warm_up_is_over_before_stopping_can_begin(light_vae, X):
    model = light_vae(early_stopping=True, max_iter=20, n_iter_no_change=1, tol=1e9, kl_warmup=0.5).fit(X, X_val=X)
    assert model.n_iter_ == 12
    kept = model.validation_scores_[10:]
    assert model.lower_bound_ == pytest.approx(max(kept), abs=1e-4)


def test_the_weight_of_the_divergence_rises_to_beta_in_a_line(light_vae, X):
    model = light_vae(
        objective="elbo", prior="standard_normal", beta=2.0, kl_warmup=0.5, max_iter=20, batch_size=60
    ).fit(X)
    loss, reconstruction, kl = map(np.array, (model.loss_curve_, model.reconstruction_curve_, model.kl_curve_))
    beta = (loss - reconstruction) / kl
    np.testing.assert_allclose(beta, np.r_[np.arange(10) / 10, np.ones(10)] * 2.0, atol=1e-4)


FEWEST, TOO_MANY = EARLY_STOPPING_ROWS


@pytest.mark.parametrize(
    ("early_stopping", "n", "validates"),
    [
        ("auto", FEWEST - 1, False),
        ("auto", FEWEST, True),
        ("auto", TOO_MANY - 1, True),
        ("auto", TOO_MANY, False),
        (True, FEWEST - 1, True),
        (True, TOO_MANY, True),
        (False, FEWEST, False),
    ],
)
@unconverged
def test_when_rows_are_set_aside(light, early_stopping, n, validates):
    X = np.random.RandomState(0).normal(size=(n, 3))
    model = light(early_stopping=early_stopping, max_iter=1).fit(X)
    assert len(model.validation_scores_) == validates
    assert model.schema_.n_rows == n


def test_rows_set_aside_are_not_trained_on(light, monkeypatch):
    X, seen = np.random.RandomState(0).normal(size=(200, 3)), []
    train = Engine.train

    def watched(engine, x, weight, *args, validation, **options):
        seen.extend((x.copy(), validation[0].copy()))
        return train(engine, x, weight, *args, validation=validation, **options)

    monkeypatch.setattr(Engine, "train", watched)
    model = light(early_stopping=True, n_iter_no_change=1, tol=1e9).fit(X)
    trained, judged = seen
    assert (len(trained), len(judged)) == (180, 20)
    whole = model.schema_.encode(model._table(X), np.float32)
    np.testing.assert_array_equal(np.sort(np.concatenate(seen), axis=0), np.sort(whole, axis=0))


# -- the schema and the rows set aside ---------------------------------------------------------------------------------


@unconverged
def test_rows_set_aside_of_x_are_part_of_the_schema(light):
    """A value or level that only they have is known, whatever the split."""
    for seed in range(25):
        rng = np.random.default_rng(seed)
        X = pd.DataFrame({"a": rng.normal(size=60), "b": np.nan, "k": rng.choice(list("xy"), 60), "c": 1.0})
        X.loc[0, "b"], X.loc[1, "k"], X.loc[2, "c"] = 3.5, "rare", 2.0
        X = X.astype({"k": "category"})
        model = light(early_stopping=True, max_iter=1, random_state=seed).fit(X)
        a, b, k, c = model.schema_.columns
        assert a.location == pytest.approx(X["a"].mean())
        assert b.constant == 3.5
        assert (k.levels.values, k.frequencies[0]) == (("rare", "x", "y"), pytest.approx(1 / 60))
        assert c.constant is None
        assert model.schema_.n_rows == 60
        assert not model.reconstruct(X).isna().any(axis=None)


def test_rows_that_the_user_holds_out_are_no_part_of_the_schema(light):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=60), "k": pd.Categorical(rng.choice(list("xy"), 60))})
    X_val = X.assign(a=X["a"] + 100.0, k=pd.Categorical(["z"] * 60))
    held_out = light(early_stopping=True, max_iter=1, n_iter_no_change=1, tol=1e9).fit(X, X_val=X_val)
    alone = light(early_stopping=False, max_iter=1).fit(X)
    assert held_out.schema_ == alone.schema_


@unconverged
def test_weights_count_in_the_schema_of_all_rows(light):
    rng = np.random.default_rng(0)
    X, weight = rng.normal(size=(60, 2)), rng.uniform(0.0, 3.0, 60)
    weight[:5] = 0.0
    model = light(early_stopping=True, max_iter=1).fit(X, sample_weight=weight)
    assert model.schema_.columns[0].location == pytest.approx(np.average(X[:, 0], weights=weight))
    assert model.schema_.n_rows == 55


def test_early_stopping_that_never_triggered_is_reported(light, X):
    model = light(early_stopping=True, learning_rate="constant", learning_rate_init=1e-3, max_iter=5)
    with pytest.warns(ConvergenceWarning, match=r"did not end the fit within max_iter=5 .* still rising. Raise"):
        model.fit(X, X_val=X)
    assert not model.converged_


def test_early_stopping_that_triggered_is_not_reported(light, X):
    model = light(
        early_stopping=True, learning_rate="constant", learning_rate_init=0.05, max_iter=300, n_iter_no_change=5
    ).fit(X, X_val=X)
    assert model.n_iter_ < 300
    assert model.converged_


def test_a_schedule_that_ran_out_without_gains_is_not_reported(light, X):
    model = light(early_stopping=True, max_iter=100, learning_rate_init=0.01, n_iter_no_change=100, tol=0.2).fit(
        X, X_val=X
    )
    assert model.n_iter_ == 100
    assert model.converged_


# -- posterior collapse ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", ["gaussian", "student_t"])
@pytest.mark.parametrize("noise", ["normal", "uniform"])
def test_a_collapsed_posterior_is_reported(light_vae, likelihood, noise):
    X = getattr(np.random.RandomState(0), noise)(size=(300, 4))
    model = light_vae(
        objective="elbo", beta=30.0, likelihood=likelihood, prior="standard_normal", max_iter=30, early_stopping=False
    )
    with pytest.warns(ConvergenceWarning, match="Every latent component is inactive.*lower beta"):
        model.fit(X)
    assert model.n_active_components_ == 0
    assert (model.kl_per_component_ < 0.01).all()


def test_a_posterior_at_work_is_not_reported(light_vae, X):
    model = light_vae(objective="elbo", max_iter=60, learning_rate_init=0.01).fit(X)
    assert model.n_active_components_ == (model.kl_per_component_ > 0.01).sum() > 0


# -- warm start --------------------------------------------------------------------------------------------------------


def test_a_cold_fit_forgets_the_last_one(light, X):
    model = light().fit(X[:20] * 3.0)
    model.fit(X)
    assert_same_answers(answers(light().fit(X), X), model, X)


def without_ranks(model):
    """The schema of a model, but for what was learned of its draws."""
    columns = [replace(column, ranks=None) if column.ranks else column for column in model.schema_.columns]
    return replace(model.schema_, columns=tuple(columns))


def test_a_warm_fit_starts_from_the_last_one(light, X):
    model = light(warm_start=True, max_iter=40, learning_rate_init=0.01).fit(X)
    first = model.loss_curve_
    schema = without_ranks(model)
    model.fit(X[:50])
    assert model.loss_curve_[0] < first[0] - 0.3
    assert model.n_iter_ == len(model.loss_curve_) == 40
    assert without_ranks(model) == schema  # location and scale stay those of the first fit


def test_a_warm_fit_refuses_other_columns(light, X):
    model = light(warm_start=True).fit(X)
    before = answers(model, X)
    with pytest.raises(ValueError, match="X has 3 features"):
        model.fit(X[:, :3])
    assert_same_answers(before, model, X)


# -- partial_fit -------------------------------------------------------------------------------------------------------


def test_the_first_chunk_freezes_location_and_scale(light, X):
    model = light().partial_fit(X[:20])
    np.testing.assert_allclose([column.location for column in model.schema_.columns], X[:20].mean(axis=0))
    schema = without_ranks(model)
    assert model.partial_fit(X[20:]) is model
    assert model.schema_ == schema


def test_passes_add_up(light, X):
    model = light(learning_rate_init=0.03)
    for passes in range(1, 25):
        model.partial_fit(X)
        assert model.n_iter_ == len(model.loss_curve_) == passes
    assert model.loss_curve_[-1] < model.loss_curve_[0] - 0.5


def test_passes_over_one_chunk_are_the_epochs_of_a_fit(light_autoencoder, X):
    X[3, 1] = np.nan  # so that fit, too, marks missing cells
    model = light_autoencoder(batch_size=60, max_iter=8, learning_rate="constant", learning_rate_init=0.01)
    passes = clone(model)
    for _ in range(8):
        passes.partial_fit(X)
    np.testing.assert_allclose(passes.loss_curve_, model.fit(X).loss_curve_, rtol=1e-3)


def test_chunks_of_a_saved_model_continue_bit_for_bit(light, X):
    straight, resumed = light(), light()
    for start in range(0, 60, 20):
        straight.partial_fit(X[start : start + 20])
        resumed = pickle.loads(pickle.dumps(resumed)).partial_fit(X[start : start + 20])
    assert_same_answers(answers(straight, X), resumed, X)
    assert resumed.loss_curve_ == straight.loss_curve_


def test_a_later_chunk_may_have_one_row(light, X):
    model = light().partial_fit(X[:59])
    assert np.isfinite(model.partial_fit(X[59:]).transform(X)).all()


def test_missing_cells_may_arrive_in_a_later_chunk(light, X):
    chunk = X.copy()
    chunk[::3, 1] = np.nan
    model = light().partial_fit(X).partial_fit(chunk)
    assert np.isfinite(model.transform(chunk)).all()
    assert np.isfinite(model.score_samples(chunk)).all()


def test_a_column_may_be_missing_from_a_later_chunk(light, X):
    chunk = X.copy()
    chunk[:, 2] = np.nan
    model = light().partial_fit(X).partial_fit(chunk)
    assert np.isfinite(model.reconstruct(chunk)).all()


def test_a_chunk_that_drifts_far_is_reported_by_column(light, X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = light().partial_fit(frame)
    moved = frame.assign(c=frame["c"] + 6.0 * frame["c"].std())
    with pytest.warns(UserWarning, match=r"median of column\(s\) c in this chunk is more than 5 standard deviations"):
        model.partial_fit(moved)
    near = frame.assign(c=frame["c"] + 4.0 * frame["c"].std())
    assert model.partial_fit(near).n_iter_ == 3  # no warning


def test_a_chunk_of_a_new_kind_is_reported_by_column(light, X):
    frame = pd.DataFrame(X, columns=list("abcd")).assign(flat=1.0, kind=pd.Categorical(["x", "y"] * 30))
    model = light().partial_fit(frame)
    with pytest.warns(UserWarning, match=r"Column\(s\) flat were constant in the first chunk"):
        model.partial_fit(frame.assign(flat=np.arange(60.0)))
    with pytest.warns(UserWarning, match=r"Most cells of column 'kind' hold levels that fit did not see, such as 'z'"):
        model.partial_fit(frame.assign(kind=pd.Categorical(["z"] * 60)))
    assert model.partial_fit(frame).n_iter_ == 4  # no warning


SKEWED = {
    "normal": lambda rng, n: rng.normal(size=n),
    "zero_inflated": lambda rng, n: np.where(rng.random(n) < 0.7, 0.0, np.exp(2.0 * rng.normal(size=n))),
    "log_normal": lambda rng, n: np.exp(2.5 * rng.normal(size=n)),
    "pareto": lambda rng, n: rng.pareto(1.0, n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "missing": lambda rng, n: np.where(rng.random(n) < 0.7, np.nan, np.exp(2.0 * rng.normal(size=n))),
    "outliers": lambda rng, n: np.where(rng.random(n) < 0.03, 1e7, rng.normal(size=n)),
}
ENCODED = {
    "linear": {},
    "normal": {"marginals": "normal"},
    "no_atoms": {"atoms": None},
    "log": {"likelihood": {"pareto": "log_normal", "log_normal": "log_normal", "missing": "log_normal"}},
}


def skewed(n, seed):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({name: draw(rng, n) for name, draw in SKEWED.items()})


@pytest.mark.parametrize("name", ENCODED)
def test_chunks_of_the_same_distribution_are_no_drift(light_vae, name):
    for seed in range(2):
        first = skewed(150, seed)
        model = light_vae(n_train_samples=1, **ENCODED[name]).partial_fit(first)
        for n in (1, 3, 10, 40, 300):
            model.partial_fit(skewed(n, 100 + seed))
        model.partial_fit(first)
        assert model.n_iter_ == 7  # no warning, which would be an error


@pytest.mark.parametrize("column", ["normal", "zero_inflated", "log_normal", "missing"])
@pytest.mark.parametrize("name", ENCODED)
def test_drift_is_seen_beside_atoms_and_holes(light_vae, name, column):
    model = light_vae(n_train_samples=1, **ENCODED[name]).partial_fit(skewed(150, 0))
    chunk = skewed(150, 1)
    there = chunk[column].notna() & (chunk[column] != 0.0 if name != "no_atoms" else True)
    learned = next(one for one in model.schema_.columns if one.name == column)
    far, is_log = 7.0 * learned.scale, learned.kind == "positive" or learned.log_above is not None
    chunk.loc[there, column] = chunk[column] * np.exp(far) if is_log else chunk[column] + far
    with pytest.warns(UserWarning, match=rf"median of column\(s\) {column} in this chunk"):
        model.partial_fit(chunk)


def test_a_chunk_without_a_cell_teaches_nothing_and_says_so(light, X):
    model = light().partial_fit(X)
    before = answers(model, X)
    with pytest.warns(UserWarning, match="No row of this chunk has an observed cell"):
        model.partial_fit(np.full((3, 4), np.nan))
    assert_same_answers(before, model, X)


def test_the_warm_up_of_partial_fit_counts_its_steps(light_vae, X):
    model = light_vae(
        objective="elbo", prior="standard_normal", kl_warmup=0.5, max_iter=20, batch_size=60, learning_rate="constant"
    )
    for _ in range(20):
        model.partial_fit(X)
    loss, reconstruction, kl = map(np.array, (model.loss_curve_, model.reconstruction_curve_, model.kl_curve_))
    beta = (loss - reconstruction) / kl
    assert beta[0] == pytest.approx(0.0, abs=1e-4)
    assert (np.diff(beta) > -1e-3).all()
    assert beta[-1] == pytest.approx(1.0, abs=1e-4)


def test_fit_after_partial_fit_starts_over(light, X):
    model = light().partial_fit(X[:20] * 2.0).fit(X)
    assert_same_answers(answers(light().fit(X), X), model, X)


def test_partial_fit_after_fit_goes_on(light, X):
    model = light().fit(X)
    before = without_ranks(model)
    model.partial_fit(X[:10])
    assert model.schema_ == before
    assert model.n_iter_ == 4


# -- codes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_features", "of_density", "of_autoencoder"),
    [(1, 2, 2), (2, 2, 2), (5, 5, 2), (9, 9, 4), (20, 10, 10), (30, 10, 10)],
)
def test_automatic_number_of_components(light, n_features, of_density, of_autoencoder):
    X = np.random.RandomState(0).normal(size=(20, n_features))
    model = light(n_components="auto", max_iter=1).fit(X)
    expected = of_density if hasattr(model, "sample") else of_autoencoder  # which a code as wide as the row would copy
    assert model.n_components_ == expected
    assert model.n_components == "auto"
    assert model.transform(X).shape == (20, expected)
    assert len(model.get_feature_names_out()) == expected


def fitted_in_one_go(model, X):
    return model.fit(X)


def fitted_in_chunks(model, X):
    for _ in range(7):
        for start in range(0, len(X), 100):
            model.partial_fit(X[start : start + 100])
    return model


def fitted_twice(model, X):
    return model.set_params(warm_start=True).fit(X).fit(X[::-1])


@pytest.mark.parametrize("fitted", [fitted_in_one_go, fitted_in_chunks, fitted_twice])
@pytest.mark.parametrize("random_state", range(2))
def test_codes_are_ordered_by_divergence_and_signed(light_vae, cancer, fitted, random_state):
    X, _ = cancer
    model = light_vae(
        n_components=4, max_iter=10, random_state=random_state, prior="standard_normal", early_stopping=False
    )
    fitted(model, X)
    assert (np.diff(model.kl_per_component_) <= 0.0).all()
    last = X[500:] if fitted is fitted_in_chunks else X  # partial_fit reads order and signs off the last chunk
    mean, std = model.posterior(last)
    kl = (0.5 * (mean**2 + std**2 - 1.0) - np.log(std)).mean(axis=0)
    np.testing.assert_allclose(model.kl_per_component_, kl, rtol=1e-5)
    standardised = (last - last.mean(axis=0)) / last.std(axis=0)
    covariance = (mean - mean.mean(axis=0)).T @ standardised
    strongest = np.abs(covariance).argmax(axis=1)
    assert (covariance[np.arange(4), strongest] > 0.0).all()


def test_codes_and_their_inverse_share_order_and_sign(light_vae, cancer):
    X, _ = cancer
    model = light_vae(n_components=4, max_iter=10, early_stopping=False).fit(X)
    np.testing.assert_allclose(model.inverse_transform(model.transform(X)), model.reconstruct(X), rtol=1e-6)
    moved = model.transform(X)
    moved[:, 0] += 1.0
    assert np.abs(model.inverse_transform(moved) - model.reconstruct(X)).max() > 0.1


# -- missing cells -----------------------------------------------------------------------------------------------------


def test_rows_with_missing_cells_are_fitted_encoded_and_scored(light, X):
    holes = np.where(np.random.RandomState(0).uniform(size=X.shape) < 0.3, np.nan, X)
    model = light(max_iter=20).fit(holes)
    assert np.isfinite(model.loss_curve_).all()
    for out in answers(model, holes):
        assert np.isfinite(out).all()


def test_a_row_without_a_cell_scores_zero_and_has_the_code_of_the_prior(light_vae, X):
    empty = np.full((2, 4), np.nan)
    for parameters in ({"prior": "standard_normal"}, {"prior": "mixture"}):
        for rows in (X, np.r_[X, empty]):
            model = light_vae(max_iter=20, **parameters).fit(rows)
            np.testing.assert_array_equal(model.score_samples(empty), [0.0, 0.0])
            drawn = model.sample_latent(40_000, codes="prior", random_state=0)
            mean, std = model.posterior(empty)
            np.testing.assert_allclose(mean[0], drawn.mean(axis=0), atol=0.05)
            np.testing.assert_allclose(std[0], drawn.std(axis=0), atol=0.05)
            np.testing.assert_array_equal(model.transform(empty), mean)


EMPTY_ROWS = {
    "plain": {},
    "trimmed": {"trim": 0.3},
    "aggregated": {"prior": "aggregated"},
    "elbo": {"objective": "elbo"},
}


@pytest.mark.parametrize("name", EMPTY_ROWS)
def test_rows_without_a_cell_teach_nothing(light_vae, X, name):
    holes = X.copy()
    holes[::7, 1] = np.nan
    alone = light_vae(**EMPTY_ROWS[name]).fit(holes)
    beside = light_vae(**EMPTY_ROWS[name]).fit(np.r_[holes, np.full((300, 4), np.nan)])
    assert_same_answers(answers(alone, X), beside, X)
    assert beside.lower_bound_ == alone.lower_bound_


@unconverged
def test_rows_without_a_cell_are_neither_set_aside_nor_judged(light, X):
    options = {"early_stopping": True, "max_iter": 2}
    alone = light(**options).fit(X)
    beside = light(**options).fit(np.r_[X, np.full((300, 4), np.nan)])
    assert_same_answers(answers(alone, X), beside, X)
    assert beside.validation_scores_ == alone.validation_scores_
    held_out = np.r_[X[:20], np.full((30, 4), np.nan)]
    judged = [light(**options).fit(X, X_val=X_val).validation_scores_ for X_val in (X[:20], held_out)]
    np.testing.assert_allclose(np.multiply(judged[0], 0.4), judged[1])  # as in score, where the others count 0
    with pytest.raises(ValueError, match=r"None of the rows to judge by has an observed cell"):
        light(**options).fit(X, X_val=np.full((3, 4), np.nan))


def test_rows_with_cells_in_constant_columns_alone_teach_nothing(light_vae, X):
    holes = np.c_[X, np.ones(60)]
    holes[::7, 1] = np.nan
    empty = np.c_[np.full((300, 4), np.nan), np.ones(300)]
    model = light_vae(prior="aggregated", missingness=None).fit(holes)
    size = model._settings().plan(60, 3, have_levels=False).batch_size
    beside = light_vae(prior="aggregated", missingness=None, batch_size=size)
    beside.fit(np.r_[holes, empty])
    np.testing.assert_array_equal(beside.score_samples(holes), model.score_samples(holes))
    missing = np.isnan(beside.sample(400, random_state=0)).mean(axis=0)
    assert (missing[:4] > 0.6).all()  # their holes are drawn nevertheless
    assert missing[4] == 0.0


def test_the_encoder_sees_which_cells_are_missing(light_vae, X):
    """A missing cell is not the same as one at the centre of its column."""
    some = X.copy()
    some[::5, 0] = np.nan
    model = light_vae(max_iter=20).fit(some)
    holes, filled = X.copy(), X.copy()
    holes[:, 0] = np.nan
    filled[:, 0] = np.median(X[:, 0])
    assert np.abs(model.transform(holes) - model.transform(filled)).max() > 1e-3


# -- failed and interrupted fits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("parameters", [{"encoder": partial(Faulty, fault=RuntimeError, first=1)}, {"max_iter": -1}])
def test_a_failed_first_fit_leaves_no_half_fitted_model(light, X, method, parameters):
    model = light(**parameters)
    before = dict(vars(model))
    with pytest.raises((RuntimeError, ValueError)):
        getattr(model, method)(pd.DataFrame(X, columns=list("abcd")))
    assert vars(model) == before
    with pytest.raises(NotFittedError):
        model.transform(X)


@pytest.mark.parametrize("warm_start", [False, True])
def test_a_failed_refit_keeps_the_old_model(light, X, warm_start):
    model = light(warm_start=warm_start, encoder=partial(Faulty, fault=RuntimeError, first=10)).fit(X)
    before = answers(model, X)
    model.set_params(max_iter=50)
    with pytest.raises(RuntimeError, match="injected"):
        model.fit(X[:, :4] * 2.0)
    assert_same_answers(before, model, X)
    with pytest.raises(ValueError, match="infinity"):
        model.fit(np.full((5, 3), np.inf))
    assert model.n_features_in_ == 4
    assert_same_answers(before, model, X)


def test_a_failed_chunk_keeps_the_old_model(light, X):
    model = light(batch_size=60, encoder=partial(Faulty, fault=RuntimeError, first=3)).partial_fit(X)
    before = answers(model, X)
    with pytest.raises(RuntimeError, match="injected"):
        model.partial_fit(X)
    assert_same_answers(before, model, X)
    assert model.n_iter_ == 1


def test_an_interrupt_before_the_first_epoch_ends_leaves_no_model(light, X):
    model = light(encoder=partial(Faulty, fault=KeyboardInterrupt, first=2))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert not model.__sklearn_is_fitted__()
    assert not [name for name in vars(model) if name.endswith("_")]


def test_an_interrupt_keeps_what_was_learned(light, X):
    model = light(max_iter=20, batch_size=60, encoder=partial(Faulty, fault=KeyboardInterrupt, first=6))
    with pytest.warns(UserWarning, match="Training interrupted: the best weights so far are kept"):
        model.fit(X)
    assert model.n_iter_ == 4
    assert not model.converged_
    assert np.isfinite(model.transform(X)).all()
    with pytest.warns(UserWarning, match="Training interrupted"):
        model.fit(X)  # and it can be fitted again
    assert model.n_iter_ == 4


@pytest.fixture
def heard_interrupts():
    """Ctrl-C raises KeyboardInterrupt, also in a process that was started to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard_interrupts")
@pytest.mark.parametrize("where", ["keep", "step", "commit"])
def test_an_interrupt_leaves_the_weights_of_one_epoch(light, X, monkeypatch, where):
    """Wherever it comes, a model is of one piece: half of the best epoch's weights would be no epoch's."""
    best, calls = [], []
    keep, load = Engine.keep, nn.Module._load_from_state_dict
    commit, lerp = Optimiser.commit, torch.Tensor.lerp_

    def watched_keep(engine):
        best.append({name: value.clone() for name, value in engine._optimiser.average.state_dict().items()})
        calls.clear()
        keep(engine)

    def interrupted_load(module, *args, **options):
        calls.append(module)
        if where == "keep" and len(best) == 3 and len(calls) == 5:
            signal.raise_signal(signal.SIGINT)
        return load(module, *args, **options)

    def interrupted(function, name, n):
        times = []

        def wrapper(*args, **options):
            times.append(name)
            out = function(*args, **options)
            if where == name and len(times) == n:
                signal.raise_signal(signal.SIGINT)
            return out

        return wrapper

    monkeypatch.setattr(Engine, "keep", watched_keep)
    monkeypatch.setattr(nn.Module, "_load_from_state_dict", interrupted_load)
    monkeypatch.setattr(Optimiser, "commit", interrupted(commit, "commit", 5))
    monkeypatch.setattr(torch.Tensor, "lerp_", interrupted(lerp, "step", 8))
    stops = {"early_stopping": True} if where != "commit" else {}
    with pytest.warns(UserWarning, match="Training interrupted"):
        model = light(max_iter=12, batch_size=20, **stops).fit(X, **({"X_val": X} if stops else {}))
    weights = model._engine.model.state_dict()
    assert any(all(torch.equal(weights[name], value) for name, value in one.items()) for one in best)
    if where == "keep":
        assert all(torch.equal(weights[name], value) for name, value in best[2].items())


def test_an_interrupt_in_the_middle_of_an_epoch_keeps_the_last_whole_one(light, X):
    whole = light(max_iter=20, batch_size=20, encoder=nn.Linear, learning_rate="constant")
    broken = clone(whole).set_params(encoder=partial(Faulty, fault=KeyboardInterrupt, first=2 + 3 * 4 + 2))
    with pytest.warns(UserWarning, match="Training interrupted"):
        broken.fit(X)
    np.testing.assert_allclose(broken.transform(X), whole.set_params(max_iter=4).fit(X).transform(X), rtol=1e-6)


def test_an_interrupt_of_a_refit_before_its_first_epoch_keeps_the_old_model(light, X):
    model = light().fit(X)
    before = answers(model, X)
    model.set_params(encoder=partial(Faulty, fault=KeyboardInterrupt, first=2))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert_same_answers(before, model, X)


# -- a loss that is not finite -----------------------------------------------------------------------------------------


def test_a_loss_that_recovers_is_recovered_from(light, X):
    model = light(max_iter=30, batch_size=60, encoder=partial(Faulty, fault="nan", first=8, last=11)).fit(X)
    assert np.isnan(model.loss_curve_).sum() == 3
    assert np.isfinite(model.loss_curve_[9:]).all()
    assert np.nanmin(model.loss_curve_[9:]) < model.loss_curve_[5]
    for out in answers(model, X):
        assert np.isfinite(out).all()


def test_a_loss_that_stays_broken_ends_the_fit_with_the_best_weights(light, X):
    model = light(max_iter=30, batch_size=60, encoder=partial(Faulty, fault="nan", first=10))
    with pytest.warns(
        ConvergenceWarning, match="not finite in the last 5 epoch.*column that fits worst is .*best weights"
    ):
        model.fit(X)
    assert model.n_iter_ == 8 + 5
    assert not model.converged_
    for out in answers(model, X):
        assert np.isfinite(out).all()


@pytest.mark.parametrize("max_iter", [2, 30])
def test_a_loss_that_is_never_finite_is_an_error(light, X, max_iter):
    model = light().fit(X)
    before = answers(model, X)
    model.set_params(max_iter=max_iter, encoder=partial(Faulty, fault="nan", first=2))
    with pytest.raises(ValueError, match=r"loss was not finite .*column that fits worst is .*learning_rate_init"):
        model.fit(X)
    assert_same_answers(before, model, X)


@pytest.mark.filterwarnings("ignore:The bound of the training rows is not finite")
@pytest.mark.parametrize("held_out", [math.nan, math.inf])
def test_a_held_out_score_that_is_never_finite_is_reported(light, X, held_out):
    class Blind(nn.Linear):
        def forward(self, x):
            return super().forward(x) * (1.0 if self.training else held_out)

    with pytest.warns(ConvergenceWarning, match="score of the held-out rows was never finite"):
        model = light(early_stopping=True, encoder=Blind).fit(X, X_val=X)
    assert not model.converged_


@pytest.mark.parametrize("stops_early", [False, True])
@pytest.mark.parametrize("first", [9, 10, 12, 13])
def test_a_loss_that_breaks_in_the_last_epochs_is_reported(light, X, first, stops_early):
    options = {"early_stopping": True} if stops_early else {}
    model = light(max_iter=12, batch_size=60, encoder=partial(Faulty, fault="nan", first=first), **options)
    with pytest.warns(ConvergenceWarning, match=rf"not finite in the last {14 - first} epoch.*best weights"):
        model.fit(X, **({"X_val": X} if stops_early else {}))
    assert not model.converged_
    for out in answers(model, X):
        assert np.isfinite(out).all()


def test_a_chunk_whose_loss_is_not_finite_is_reported_and_changes_nothing(light, X):
    model = light(batch_size=60, encoder=partial(Faulty, fault="nan", first=3, last=4)).partial_fit(X)
    before = model.score_samples(X)
    with pytest.warns(ConvergenceWarning, match=r"not finite in the last 1 epoch.*best weights"):
        model.partial_fit(X)
    assert not model.converged_
    np.testing.assert_array_equal(model.score_samples(X), before)
    assert model.partial_fit(X).converged_


def test_a_first_chunk_whose_loss_is_not_finite_is_an_error(light, X):
    model = light(batch_size=60, encoder=partial(Faulty, fault="nan", first=2))
    with pytest.raises(ValueError, match="loss was not finite"):
        model.partial_fit(X)
    assert not hasattr(model, "schema_")


class NeverFinite(Gaussian):
    def log_prob(self, outputs, x):
        return super().log_prob(outputs, x) * math.nan


@pytest.mark.parametrize("column", ["a", "c"])
def test_the_column_at_fault_is_named(light_vae, X, column):
    frame = pd.DataFrame(X, columns=list("abcd"))
    with pytest.raises(ValueError, match=f"The column that fits worst is '{column}': look at its values"):
        light_vae(likelihood={column: NeverFinite}).fit(frame)


@pytest.mark.parametrize("objective", ["elbo", "iwae", "dreg"])
def test_a_weight_of_the_divergence_that_no_number_holds_is_a_loss_that_is_not_finite(objective, X):
    with pytest.raises(ValueError, match="loss was not finite"):
        VAETransformer(beta=1e300, objective=objective, max_iter=2, random_state=0).fit(X)


@pytest.mark.parametrize("learning_rate_init", [10.0, 1e6, 1e30])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_huge_learning_rate_never_ends_in_a_broken_model(light, X, learning_rate_init):
    model = light(max_iter=30, learning_rate_init=learning_rate_init, learning_rate="constant")
    try:
        model.fit(X)
    except ValueError as error:
        assert "The loss was not finite" in str(error)  # noqa: PT017 - either outcome is right, silence is not
        assert not model.__sklearn_is_fitted__()
    else:
        assert np.isfinite(model.score_samples(X)).all()
        assert np.isfinite(model.transform(X)).all()


# -- what is fitted ----------------------------------------------------------------------------------------------------


def test_the_curves_split_the_loss(light_vae, X):
    model = light_vae(objective="elbo", prior="standard_normal", max_iter=5).fit(X)
    assert len(model.loss_curve_) == model.n_iter_ == 5
    np.testing.assert_allclose(model.loss_curve_, np.add(model.reconstruction_curve_, model.kl_curve_), rtol=1e-5)


def test_the_loss_is_reported_in_data_units(light_vae, X):
    units, tens = (light_vae(max_iter=20).fit(scale * X) for scale in (1.0, 1000.0))
    np.testing.assert_allclose(np.subtract(tens.loss_curve_, units.loss_curve_), 4 * np.log(1000.0), rtol=1e-4)
    assert tens.lower_bound_ - units.lower_bound_ == pytest.approx(-4 * np.log(1000.0), rel=1e-4)
    assert units.lower_bound_ == pytest.approx(-units.loss_curve_[-1], abs=0.5)


def test_fit_writes_no_parameter(light, X):
    model = light(n_components="auto", batch_size="auto", n_iter_no_change="auto")
    before = model.get_params()
    model.fit(X).partial_fit(X)
    assert model.get_params() == before


@pytest.mark.parametrize("verbose", [1, 2])
def test_verbose_prints_the_epochs(light, X, capsys, verbose):
    light(verbose=verbose, max_iter=60).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == (60 if verbose == 2 else 21)
    assert lines[0].startswith("Epoch 1/60: loss ")
    assert lines[-1].startswith("Epoch 60/60: loss ")
    light().fit(X)
    assert capsys.readouterr().out == ""


@unconverged
def test_verbose_prints_the_validation_score(light, X, capsys):
    model = light(early_stopping=True, verbose=1).fit(X, X_val=X)
    assert f"validation {model.validation_scores_[-1]:.4f}" in capsys.readouterr().out


# -- factories ---------------------------------------------------------------------------------------------------------


def too_wide(n_in, n_out):
    return nn.Linear(n_in, n_out + 1)


def not_a_module(n_in, n_out):
    return lambda x: x


@pytest.mark.parametrize("network", ["encoder", "decoder"])
def test_a_network_of_the_wrong_shape_is_an_error(light, X, network):
    with pytest.raises(ValueError, match=r"A network factory called with .* must map .*too_wide.* instead"):
        light(**{network: too_wide}).fit(X)
    with pytest.raises(TypeError, match=r"must return a torch.nn.Module. Got function from .*not_a_module"):
        light(**{network: not_a_module}).fit(X)


def test_a_likelihood_or_prior_of_another_kind_is_an_error(light_vae, X):
    with pytest.raises(TypeError, match=r"must return a skvae.nn.likelihoods.Likelihood. Got Linear instead"):
        light_vae(likelihood=partial(nn.Linear, out_features=2)).fit(X)


def test_networks_of_the_user_are_seeded_by_random_state(light, X):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    model = light(encoder=nn.Linear, decoder=nn.Linear).fit(X)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert_same_answers(answers(model, X), light(encoder=nn.Linear, decoder=nn.Linear).fit(X), X)
    other = light(encoder=nn.Linear, decoder=nn.Linear, random_state=1).fit(X)
    assert not np.allclose(other.transform(X), model.transform(X))


def test_the_same_seed_is_the_same_model(light, X):
    for seed in (0, 7):
        first, second = light(random_state=seed).fit(X), light(random_state=seed).fit(X)
        assert_same_answers(answers(first, X), second, X)
    assert not np.allclose(light(random_state=1).fit_transform(X), light(random_state=0).fit_transform(X))


def test_no_seed_is_another_model_each_time(light, X):
    assert not np.allclose(light(random_state=None).fit_transform(X), light(random_state=None).fit_transform(X))


def test_a_stream_moves_on(light, X):
    rng = np.random.RandomState(0)
    first, second = light(random_state=rng).fit_transform(X), light(random_state=rng).fit_transform(X)
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(light(random_state=np.random.RandomState(0)).fit_transform(X), first)


def test_the_default_is_a_good_model_of_a_real_table(cancer):
    X, _ = cancer
    train, test = X[:400], X[400:]
    model = VAETransformer(device="cpu", random_state=0, max_iter=25, learning_rate_init=1e-2, early_stopping=False)
    covariance = np.cov(train.T)
    centred = test - train.mean(axis=0)
    gaussian = -0.5 * (
        np.einsum("ij,jk,ik->i", centred, np.linalg.inv(covariance), centred)
        + np.linalg.slogdet(2 * np.pi * covariance)[1]
    )
    assert model.fit(train).score(test) > gaussian.mean()


def test_a_model_that_the_last_steps_broke_is_warned_of():
    rows = np.random.default_rng(0).normal(size=(60, 3))
    options = {"max_iter": 2, "early_stopping": False, "likelihood": "student_t", "learning_rate_init": 100.0}
    with pytest.warns(ConvergenceWarning, match="is not finite: the last steps broke the model") as caught:
        model = VAETransformer(**options, random_state=0).fit(rows)
    assert not np.isfinite(model.lower_bound_)
    assert {warning.filename for warning in caught} == {__file__}
