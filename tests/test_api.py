"""Life among scikit-learn's tools: searches, pipelines, routing, output containers, threads, processes, callbacks."""

import copy
import inspect
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from skvae import AutoencoderTransformer, VAETransformer
from skvae._sklearn import Epochs
from skvae.nn.likelihoods import Gaussian, StudentT
from skvae.nn.priors import Mixture


def small_network(n_in, n_out, width):
    return nn.Sequential(nn.Linear(n_in, width), nn.Tanh(), nn.Linear(width, n_out))


# -- pipelines and searches --------------------------------------------------------------------------------------------


def test_codes_feed_a_classifier(light, cancer):
    X, y = cancer
    pipeline = make_pipeline(StandardScaler(), light(n_components=4, max_iter=10), LogisticRegression())
    assert cross_val_score(pipeline, X, y, cv=2).mean() > 0.85


def test_a_scaler_in_front_changes_the_density_by_its_jacobian(light_vae, cancer):
    X, _ = cancer
    alone, behind = light_vae().fit(X), make_pipeline(StandardScaler(), light_vae()).fit(X)
    jacobian = -np.log(X.std(axis=0)).sum()
    np.testing.assert_allclose(alone.score_samples(X), behind.score_samples(X) + jacobian, atol=1e-4)


def test_a_grid_search_maximises_the_score(light, cancer):
    X, _ = cancer
    grid = {"hidden_layer_sizes": [(), (8,)], "learning_rate_init": [1e-4, 1e-2]}
    search = GridSearchCV(light(max_iter=5), grid, cv=2, error_score="raise").fit(X)
    results = search.cv_results_["mean_test_score"]
    assert np.isfinite(results).all()
    assert search.best_params_["learning_rate_init"] == 1e-2
    assert search.best_estimator_.score(X) == search.score(X)
    assert search.transform(X).shape == (len(X), 2)


def test_factories_are_searched_cloned_shown_and_saved(light_vae, X):
    grid = {
        "encoder": [partial(small_network, width=3), partial(small_network, width=5), None],
        "likelihood": [partial(Gaussian, scale="column"), StudentT],
        "prior": [partial(Mixture, n_components=2)],
    }
    search = GridSearchCV(light_vae(max_iter=2), grid, cv=2, error_score="raise").fit(X)
    assert len(search.cv_results_["params"]) == 6
    model = light_vae(encoder=partial(small_network, width=3), decoder=partial(small_network, width=4)).fit(X)
    assert "width=3" in repr(model)
    copied = clone(model)
    assert copied.encoder.keywords == {"width": 3}
    np.testing.assert_array_equal(copied.fit(X).transform(X), model.transform(X))
    np.testing.assert_array_equal(copy.deepcopy(model).transform(X), model.transform(X))
    weights = model.__getstate__()["_engine"]["weights"]
    assert (3, 4) in {weight.shape for name, weight in weights.items() if name.startswith("encoder")}


def test_every_parameter_is_kept_as_given(light):
    parameters = light().get_params()
    marked = {name: object() for name in parameters}
    model = type(light())(**marked)
    assert {name: getattr(model, name) for name in parameters} == marked
    assert set(inspect.signature(type(model)).parameters) == set(parameters)


def test_only_the_first_parameter_is_positional(light):
    kinds = [parameter.kind for parameter in inspect.signature(type(light())).parameters.values()]
    assert kinds[0] == inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert set(kinds[1:]) == {inspect.Parameter.KEYWORD_ONLY}


# -- output containers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("library", "frame"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)])
def test_set_output_gives_named_codes(light, X, library, frame):
    model = light().set_output(transform=library)
    index = pd.Index(range(100, 160))
    data = pd.DataFrame(X, columns=list("abcd"), index=index)
    codes = model.fit_transform(data)
    prefix = type(model).__name__.lower()
    assert isinstance(codes, frame)
    assert list(codes.columns) == [f"{prefix}0", f"{prefix}1"] == list(model.get_feature_names_out())
    np.testing.assert_array_equal(codes.to_numpy(), light().fit(data).transform(data))
    if library == "pandas":
        assert codes.index.equals(index)
    # The codes may go straight back, and what comes back is the container of fit whatever the output is set to.
    back = model.inverse_transform(codes)
    assert isinstance(back, pd.DataFrame)
    assert list(back.columns) == list("abcd")


def test_set_output_does_not_touch_the_data_space(light_vae, X):
    model = light_vae().set_output(transform="pandas").fit(X)
    for out in (model.sample(3), model.reconstruct(X), model.inverse_transform(np.zeros((1, 2)))):
        assert isinstance(out, np.ndarray)


def test_column_transformer_takes_the_codes_of_some_columns(light, X):
    frame = pd.DataFrame(X, columns=list("abcd"))
    mixed = ColumnTransformer([("codes", light(), ["a", "b", "c"])], remainder="passthrough")
    mixed.set_output(transform="pandas")
    out = mixed.fit_transform(frame)
    assert out.shape == (60, 3)
    assert out["remainder__d"].equals(frame["d"])


# -- routing -----------------------------------------------------------------------------------------------------------


def test_weights_are_routed_through_a_pipeline(light, X):
    weight = np.random.RandomState(0).uniform(0.1, 2.0, size=60)
    with config_context(enable_metadata_routing=True):
        step = light().set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), step)
        pipeline.fit(X, sample_weight=weight)
    direct = light().fit(StandardScaler().fit_transform(X), sample_weight=weight)
    np.testing.assert_array_equal(pipeline[-1].score_samples(X), direct.score_samples(X))
    assert not np.allclose(direct.score_samples(X), light().fit(StandardScaler().fit_transform(X)).score_samples(X))


def test_validation_rows_are_transformed_on_their_way(light, X):
    parameters = {"early_stopping": True, "max_iter": 40, "tol": 1e9, "n_iter_no_change": 2}
    X_val = X[:20] + 1.0
    with config_context(enable_metadata_routing=True):
        step = light(**parameters).set_fit_request(X_val=True)
        pipeline = make_pipeline(StandardScaler(), step, transform_input=["X_val"]).fit(X, X_val=X_val)
    scaler = StandardScaler().fit(X)
    direct = light(**parameters).fit(scaler.transform(X), X_val=scaler.transform(X_val))
    assert pipeline[-1].validation_scores_ == direct.validation_scores_
    assert len(direct.validation_scores_) == 3


def test_weights_are_routed_through_a_search(light, X):
    weight = np.arange(60) % 2.0
    with config_context(enable_metadata_routing=True):
        model = light().set_fit_request(sample_weight=True)
        search = GridSearchCV(model, {"max_iter": [2]}, cv=2, error_score="raise").fit(X, sample_weight=weight)
    assert search.best_estimator_.schema_.n_rows == 30


# -- codes and draws ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_out_is_precision_in(light, X, dtype):
    X = X.astype(dtype)
    model = light().fit(X)
    codes = model.transform(X)
    assert codes.dtype == dtype
    assert codes.shape == (60, 2)
    assert model.inverse_transform(codes).dtype == dtype
    assert model.inverse_transform(codes).shape == X.shape
    assert model.reconstruct(X).dtype == dtype
    assert model.score_samples(X).dtype == np.float64
    assert isinstance(model.score(X), float)


def test_single_precision_agrees_with_double(light, X):
    model = light().fit(X)
    single = X.astype(np.float32)
    np.testing.assert_allclose(model.transform(single), model.transform(single.astype(float)), atol=1e-5)
    np.testing.assert_allclose(model.score_samples(single), model.score_samples(single.astype(float)), rtol=1e-4)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_a_row_is_answered_alike_whatever_stands_beside_it(light, X, dtype, tolerance):
    X = X.astype(dtype)
    model = light().fit(X)
    for method in (model.transform, model.score_samples, model.reconstruct):
        together = method(X)
        alone = np.concatenate([method(X[i : i + 1]) for i in range(60)])
        np.testing.assert_allclose(together, alone, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(method(X[::-1])[::-1], together, rtol=tolerance, atol=tolerance)


def test_fit_transform_is_fit_then_transform(light, X):
    np.testing.assert_array_equal(light().fit_transform(X), light().fit(X).transform(X))


def test_reconstruct_is_there_and_back(light, X):
    model = light().fit(X)
    np.testing.assert_array_equal(model.reconstruct(X), model.inverse_transform(model.transform(X)))


def test_transform_is_the_mean_of_the_posterior(light_vae, X):
    model = light_vae().fit(X)
    mean, std = model.posterior(X)
    np.testing.assert_array_equal(mean, model.transform(X))
    assert std.shape == (60, 2)
    assert (std > 0.0).all()


def test_score_is_the_mean_of_score_samples(light, X):
    model = light().fit(X)
    assert model.score_samples(X).shape == (60,)
    assert model.score(X) == pytest.approx(model.score_samples(X).mean(), rel=1e-12)
    assert model.score(X, y=np.zeros(60)) == model.score(X)


def test_scores_do_not_change_from_call_to_call(light, X):
    model = light().fit(X)
    np.testing.assert_array_equal(model.score_samples(X), model.score_samples(X))
    np.testing.assert_array_equal(model.transform(X), model.transform(X))


def test_more_importance_samples_may_be_asked_for_after_fit(light_vae, X):
    model = light_vae(max_iter=30, n_importance_samples=1).fit(X)
    scores = {n: model.set_params(n_importance_samples=n).score(X) for n in (1, 64, 2048, 4096)}
    assert abs(scores[4096] - scores[2048]) < 0.02 < abs(scores[64] - scores[1])
    assert model.set_params(n_importance_samples=1).score(X) == scores[1]


def test_draws_are_reproducible(light_vae, X):
    model = light_vae().fit(X)
    for draw in (model.sample, partial(model.sample, noise=False), model.sample_latent):
        first = draw(20, random_state=3)
        np.testing.assert_array_equal(draw(20, random_state=3), first)
        assert not np.allclose(draw(20, random_state=4), first)
        assert not np.allclose(draw(20), draw(20))
    assert model.sample(20).shape == (20, 4)
    assert model.sample().shape == (1, 4)
    assert model.sample_latent(20).shape == (20, 2)


def test_draws_without_noise_are_decoded_codes(light_vae, X):
    model = light_vae(bounds=None).fit(X)  # within bounds the farthest would be equal
    codes = model.sample_latent(50, random_state=3)
    clean = model.sample(50, noise=False, random_state=3)
    np.testing.assert_array_equal(clean, model.inverse_transform(codes))
    noisy = model.sample(50, random_state=3)
    assert (noisy != clean).all()
    assert noisy.std() > clean.std()


def test_a_stream_of_draws_moves_on(light_vae, X):
    model = light_vae().fit(X)
    rng = np.random.RandomState(0)
    assert not np.allclose(model.sample(5, random_state=rng), model.sample(5, random_state=rng))


def test_the_autoencoder_does_not_draw(light_autoencoder):
    for method in ("sample", "sample_latent", "posterior"):
        assert not hasattr(light_autoencoder(), method)


# -- random state, threads, processes ----------------------------------------------------------------------------------


def global_state():
    numpy = np.random.get_state()  # noqa: NPY002 - to see that it does not move
    return (
        numpy[1].tobytes(),
        numpy[2],
        torch.get_rng_state().numpy().tobytes(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
    )


@pytest.mark.parametrize("parameters", [{}, {"encoder": nn.Linear, "decoder": nn.Linear}])
def test_global_state_is_never_touched(light, X, parameters):
    np.random.seed(0)  # noqa: NPY002 - the user's own, which must not move
    before = global_state()
    model = light(early_stopping=True, tol=1e9, max_iter=30, n_iter_no_change=2, **parameters).fit(X)
    model.partial_fit(X)
    model.transform(X), model.score_samples(X), model.reconstruct(X)
    if hasattr(model, "sample"):
        model.sample(5, random_state=0)
    assert global_state() == before


def test_without_a_seed_only_numpy_moves(light_vae, X):
    state = torch.get_rng_state()
    light_vae(random_state=None).fit(X).sample(5)
    assert torch.equal(torch.get_rng_state(), state)


def test_answers_leave_the_estimator_as_it_was(light, X):
    model = light().fit(X)
    before = dict(vars(model))
    model.transform(X), model.score_samples(X), model.reconstruct(X), model.score(X)
    assert vars(model) == before


def test_threads_may_share_a_model(light, cancer):
    X, _ = cancer
    model = light().fit(X)
    expected = light().fit(X)
    parts = [X[start : start + 40] for start in range(0, 560, 40)] * 3
    for method in ("transform", "score_samples", "reconstruct"):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(getattr(model, method), parts))
        for part, answer in zip(parts, answers, strict=True):
            np.testing.assert_array_equal(answer, getattr(expected, method)(part))


def test_processes_give_the_same_scores(light_vae, cancer):
    X, _ = cancer
    model = light_vae()
    alone = cross_val_score(model, X, cv=2)
    # Workers may use another number of threads, which changes the order of sums.
    np.testing.assert_allclose(cross_val_score(model, X, cv=2, n_jobs=2), alone, atol=1e-3)


def test_data_in_shared_memory_are_read_only_and_work(light, X, tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.testing.assert_array_equal(light().fit(mapped).transform(mapped), light().fit(X).transform(X))


def test_html_of_a_fitted_model(light, X):
    html = light().fit(X)._repr_html_()
    assert type(light()).__name__ in html


# -- callbacks ---------------------------------------------------------------------------------------------------------


def test_without_callbacks_nothing_is_told():
    """The way scikit-learn before 1.9 goes, where estimators have no callbacks."""
    epochs = Epochs(object(), 3, None, None)
    epoch = epochs.begin()
    assert epochs.end(epoch, lambda: pytest.fail("a snapshot that nobody asked for")) is False
    assert epochs.finish() is None


@pytest.fixture
def callback_module():
    return pytest.importorskip("sklearn.callback", reason="scikit-learn has callbacks from 1.9 on")


class Recorder:
    """Notes what it is told; may ask to stop, or fail, at the end of an epoch."""

    def __init__(self, stop_at=None, fail_at=None):
        self.stop_at, self.fail_at = stop_at, fail_at
        self.begun, self.ended, self.models, self.torn_down = [], [], [], 0

    def setup(self, estimator, context):
        self.max_subtasks = context.max_subtasks

    def teardown(self, estimator, context):
        self.torn_down += 1

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        self.ended.append(context.task_name)
        if fitted_estimator is not None:
            self.models.append(fitted_estimator)
        epochs = self.ended.count("epoch")
        if epochs == self.fail_at:
            raise RuntimeError("a callback that fails")
        return epochs == self.stop_at


@pytest.mark.usefixtures("callback_module")
def test_callbacks_hear_of_every_epoch_and_get_a_model(light, X):
    recorder = Recorder()
    model = light(max_iter=4).set_callbacks(recorder).fit(X)
    assert recorder.max_subtasks == 4
    assert recorder.begun == ["fit"] + ["epoch"] * 4
    assert recorder.ended == ["epoch"] * 4 + ["fit"]
    assert recorder.torn_down == 1
    assert len(recorder.models) >= 4
    scores = [snapshot.score(X) for snapshot in recorder.models[:4]]
    assert scores[0] < scores[-1]
    np.testing.assert_array_equal(recorder.models[3].score_samples(X)[:5].round(3), scores_of_last(model, X))
    assert recorder.models[0] is not model


def scores_of_last(model, X):
    return model.score_samples(X)[:5].round(3)


@pytest.mark.usefixtures("callback_module")
def test_a_callback_may_stop_the_fit(light, X):
    recorder = Recorder(stop_at=2)
    model = light(max_iter=10).set_callbacks(recorder).fit(X)
    assert model.n_iter_ == 2
    assert not model.converged_
    assert recorder.ended == ["epoch", "epoch", "fit"]
    assert np.isfinite(model.transform(X)).all()


@pytest.mark.usefixtures("callback_module")
def test_callbacks_do_not_change_the_weights(light, X):
    plain = light(max_iter=4).fit(X)
    watched = light(max_iter=4).set_callbacks(Recorder()).fit(X)
    np.testing.assert_array_equal(plain.transform(X), watched.transform(X))
    np.testing.assert_array_equal(plain.score_samples(X), watched.score_samples(X))


@pytest.mark.usefixtures("callback_module")
def test_a_callback_that_fails_loses_no_model(light, X):
    model = light(max_iter=4).set_callbacks(Recorder(fail_at=2))
    with pytest.raises(RuntimeError, match="a callback that fails"):
        model.fit(X)
    assert not model.__sklearn_is_fitted__()
    model.set_callbacks().fit(X)
    before = model.transform(X)
    model.set_callbacks(Recorder(fail_at=2))
    with pytest.raises(RuntimeError, match="a callback that fails"):
        model.fit(X * 2.0)
    np.testing.assert_array_equal(model.transform(X), before)
    assert [name for name in vars(model) if "callback_fit_ctx" in name] == []


def test_a_progress_bar_follows_a_search(light, X, callback_module, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # a narrow terminal cuts the percentages off
    search = GridSearchCV(light(), {"max_iter": [2, 3]}, cv=2).set_callbacks(callback_module.ProgressBar())
    search.fit(X)
    assert search.transform(X).shape == (60, 2)
    shown = capsys.readouterr().out
    assert "GridSearchCV" in shown
    assert "100%" in shown


def test_a_monitor_scores_every_epoch_where_y_is_passed(light, X, callback_module):
    def score(estimator, X, y):
        return {"score": estimator.score(X)}

    monitor = callback_module.ScoringMonitor(scoring=score)
    light(max_iter=4).set_callbacks(monitor).fit(X, np.zeros(60))
    table = monitor.get_logs()
    log = table[-1] if isinstance(table, list) else table
    scores = [row["score"] for row in log.data]
    assert len(scores) >= 4
    assert scores[0] < scores[3]


def test_the_two_estimators_share_their_grammar():
    vae, autoencoder = (set(estimator().get_params()) for estimator in (VAETransformer, AutoencoderTransformer))
    assert autoencoder - vae == {"loss", "corruption", "corruption_level"}
