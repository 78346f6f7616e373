"""Saving and loading: NumPy state only, the same predictions bit for bit, any machine."""

import copy
import io
import pickle
from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import clone

from skvae import VAEOutlierDetector
from skvae.nn.likelihoods import Gaussian
from skvae.nn.priors import Mixture


def through_pickle(model, tmp_path):
    return pickle.loads(pickle.dumps(model))


def through_joblib(model, tmp_path):
    joblib.dump(model, tmp_path / "model.joblib")
    return joblib.load(tmp_path / "model.joblib")


def through_a_memory_map(model, tmp_path):
    joblib.dump(model, tmp_path / "model.joblib")
    return joblib.load(tmp_path / "model.joblib", mmap_mode="r")


def through_skops(model, tmp_path):
    data = skops.io.dumps(model)
    return skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))


def through_deepcopy(model, tmp_path):
    return copy.deepcopy(model)


def through_copy(model, tmp_path):
    return copy.copy(model)


WAYS = [through_pickle, through_joblib, through_a_memory_map, through_skops, through_deepcopy, through_copy]
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


def answers(model, X):
    codes = model.transform(X)
    out = [codes, model.transform(X.astype(np.float32)), model.inverse_transform(codes), model.score_samples(X)]
    if hasattr(model, "sample"):
        out += [model.sample(5, random_state=0), *model.posterior(X)]
    return out


def assert_same_answers(model, other, X):
    for mine, theirs in zip(answers(model, X), answers(other, X), strict=True):
        np.testing.assert_array_equal(mine, theirs, strict=True)


@ways
def test_answers_are_the_same_bit_for_bit(light, X, way, tmp_path):
    X[3, 1] = np.nan
    model = light().fit(X)
    loaded = way(model, tmp_path)
    assert_same_answers(model, loaded, X)
    assert loaded.get_params() == model.get_params()
    assert loaded.loss_curve_ == model.loss_curve_
    assert loaded.schema_ == model.schema_


@ways
def test_partial_fit_goes_on_as_the_original_would_have(light, X, way, tmp_path):
    model = light().partial_fit(X[:30]).partial_fit(X[30:])
    loaded = way(model, tmp_path)
    for _ in range(2):
        model.partial_fit(X)
        loaded.partial_fit(X)
    assert_same_answers(model, loaded, X)
    assert loaded.loss_curve_ == model.loss_curve_
    assert loaded.n_iter_ == 4


@ways
def test_training_a_copy_leaves_the_original_alone(light, X, way, tmp_path):
    model = light(warm_start=True).partial_fit(X)
    before = answers(model, X)
    loaded = way(model, tmp_path)
    loaded.partial_fit(X)
    loaded.fit(X)
    for mine, theirs in zip(before, answers(model, X), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert not np.array_equal(loaded.transform(X), before[0])


@ways
def test_an_unfitted_estimator_is_saved_as_well(light, way, tmp_path):
    model = light(n_components=3)
    assert way(model, tmp_path).get_params() == model.get_params()


def test_a_frame_model_gives_the_same_frame(light_vae, X, tmp_path):
    frame = pd.DataFrame(X, columns=list("abcd")).astype({"d": int})
    model = light_vae().fit(frame)
    for way in WAYS:
        drawn = way(model, tmp_path).sample(4, random_state=0)
        pd.testing.assert_frame_equal(drawn, model.sample(4, random_state=0))


def mixed_frame(X):
    """Columns with levels (declared, ordered, of numbers, very many), atoms, counts and missing cells."""
    kind, grade = np.array(list("abc"))[np.arange(60) % 3], np.array(["low", "top"])[np.arange(60) % 2]
    frame = pd.DataFrame(X, columns=list("abcd")).assign(
        kind=pd.Categorical(kind, list("xcba")),
        grade=pd.Categorical(grade, ["low", "mid", "top"], ordered=True),
        size=pd.Categorical(np.arange(60) % 4),
        visits=np.arange(60) % 7,
        flag=pd.array([True, None, False] * 20, dtype="boolean"),
        gain=np.where(np.arange(60) % 2, 0.0, X[:, 0]),
    )
    frame.loc[[3, 8], ["a", "kind"]] = None
    big = pd.concat([frame] * 10, ignore_index=True)
    return big.assign(street=pd.Categorical([f"s{i}" for i in np.arange(600) % 300]))


def test_a_mixed_model_answers_the_same(light, X, tmp_path):
    frame = mixed_frame(X)
    options = {} if "Auto" in type(light()).__name__ else {"likelihood": {"visits": "poisson", "b": "gaussian"}}
    model = light(**options).fit(frame)
    loaded = [way(model, tmp_path) for way in WAYS]
    if options:
        assert model.schema_.columns[-1].levels.pooled
        assert model.schema_.columns[-2].atoms == (0.0,)
        drawn = model.sample(40, random_state=0)
        assert dict(drawn.dtypes) == dict(frame.dtypes)
        for one in loaded:
            pd.testing.assert_frame_equal(one.sample(40, random_state=0), drawn)
    codes, scores, rows = model.transform(frame), model.score_samples(frame), model.reconstruct(frame)
    after = model.partial_fit(frame).reconstruct(frame)
    for one in loaded:
        assert repr(one.schema_) == repr(model.schema_)
        np.testing.assert_array_equal(one.transform(frame), codes)
        np.testing.assert_array_equal(one.score_samples(frame), scores)
        pd.testing.assert_frame_equal(one.reconstruct(frame), rows)
        pd.testing.assert_frame_equal(one.partial_fit(frame).reconstruct(frame), after)


def test_skops_trusts_all_but_the_class_itself_for_mixed_tables_too(light, X):
    model = light().fit(mixed_frame(X))
    untrusted = skops.io.get_untrusted_types(data=skops.io.dumps(model))
    assert untrusted == [f"{type(model).__module__}.{type(model).__name__}"]


def test_the_state_of_a_mixed_model_is_plain(light, X):
    state = light().fit(mixed_frame(X)).__getstate__()
    plain = (np.ndarray, np.generic, str, int, float, bool, type(None))
    assert not [leaf for leaf in leaves(state) if not isinstance(leaf, plain)]
    assert not any(isinstance(leaf, np.generic) for leaf in leaves(state["schema_"]))


def test_skops_trusts_all_but_the_class_itself(light, X):
    model = light().partial_fit(X)
    untrusted = skops.io.get_untrusted_types(data=skops.io.dumps(model))
    assert untrusted == [f"{type(model).__module__}.{type(model).__name__}"]


class TypesOf(pickle.Unpickler):
    """Notes every class and function that a pickle names."""

    def __init__(self, data):
        super().__init__(io.BytesIO(data))
        self.modules = set()

    def find_class(self, module, name):
        self.modules.add(module)
        return super().find_class(module, name)


def test_the_state_is_free_of_torch(light, X):
    unpickler = TypesOf(pickle.dumps(light().partial_fit(X)))
    unpickler.load()
    assert not [module for module in unpickler.modules if module.split(".")[0] == "torch"]
    assert any(module.startswith("numpy") for module in unpickler.modules)


def leaves(state):
    if isinstance(state, dict):
        return [leaf for value in state.values() for leaf in leaves(value)]
    if isinstance(state, (list, tuple)):
        return [leaf for value in state for leaf in leaves(value)]
    return [state]


def test_the_state_holds_plain_data_and_arrays(light, X):
    state = light().partial_fit(X).__getstate__()
    plain = (np.ndarray, np.generic, str, int, float, bool, type(None))
    assert not [leaf for leaf in leaves(state) if not isinstance(leaf, plain)]
    assert len(leaves(state["_engine"]["weights"])) > 4
    assert "_skvae_version" in state


def test_the_state_holds_no_training_row(light, X):
    X = np.random.RandomState(0).normal(size=(300, 4)) + X[:1]
    state = pickle.dumps(light().fit(X))
    assert not [row for row in X if row.tobytes() in state or row.astype(np.float32).tobytes() in state]


def test_the_state_grows_by_the_posteriors_of_rows_alone_and_not_for_ever(light, X, monkeypatch):
    """A VAE keeps a mean, a log standard deviation (2 components each) and a weight of single precision per row."""
    monkeypatch.setattr("skvae._engine.engine.SHOWN_ROWS", 1_000)
    small, large, larger = (len(pickle.dumps(light().fit(np.tile(X, (n, 1))))) for n in (5, 16, 50))
    kept = 5 * 4 if hasattr(light(), "sample") else 0
    assert abs(large - small - kept * 11 * len(X)) < 500
    assert larger - small <= kept * 1_000 + 500


def set_unranked(model, X):
    model.schema_ = model.schema_.kept_by(model._table(X))
    return model


def test_moments_are_kept_only_where_they_are_used(light, X):
    first, whole = light().partial_fit(X), light(max_iter=1).fit(X)
    if hasattr(whole, "sample"):
        whole, first = (set_unranked(model, X) for model in (whole, first))
    assert len(pickle.dumps(first)) > 2 * len(pickle.dumps(whole))


def test_a_state_from_a_cuda_machine_loads_on_the_cpu(light, X):
    model = light().fit(X)
    state = model.__getstate__()
    state["_engine"]["device"] = "cuda:7"
    loaded = type(model).__new__(type(model))
    with pytest.warns(UserWarning, match="saved on device 'cuda:7', which is not there; it is loaded on the CPU"):
        loaded.__setstate__(state)
    assert_same_answers(model, loaded, X)


def test_a_state_of_another_version_is_reported(light, X):
    model = light().fit(X)
    state = model.__getstate__() | {"_skvae_version": "0.0.1"}
    loaded = type(model).__new__(type(model))
    with pytest.warns(UserWarning, match="saved by skvae 0.0.1 and is loaded by"):
        loaded.__setstate__(state)
    assert_same_answers(model, loaded, X)


def test_a_memory_map_of_a_frozen_model_can_be_trained(light, X, tmp_path):
    model = light().fit(X)
    loaded = through_a_memory_map(model, tmp_path)
    model.partial_fit(X)
    loaded.partial_fit(X)
    assert_same_answers(model, loaded, X)


def test_clone_forgets_the_fit(light, X):
    copied = clone(light().fit(X))
    assert not copied.__sklearn_is_fitted__()
    assert not [name for name in vars(copied) if name.endswith("_") or name == "_engine"]


@ways
def test_factories_of_partial_survive(light_vae, X, way, tmp_path):
    model = light_vae(likelihood=partial(Gaussian, scale="column"), prior=partial(Mixture, n_components=3)).fit(X)
    if way is not through_skops:  # skops keeps no partial objects of classes it does not know
        assert_same_answers(model, way(model, tmp_path), X)
    assert "n_components=3" in repr(clone(model))


@ways
def test_normal_marginals_and_the_aggregated_prior_survive(light_vae, X, way, tmp_path):
    model = light_vae(marginals="normal", prior="aggregated").fit(X)
    loaded = way(model, tmp_path)
    assert_same_answers(model, loaded, X)
    assert loaded.schema_ == model.schema_
    assert loaded._engine.model.prior.n_modes == model._engine.model.prior.n_modes == len(X)


@ways
def test_partial_fit_goes_on_from_a_settled_prior(light_vae, X, way, tmp_path):
    model = light_vae(prior="aggregated").partial_fit(X[:30])
    assert model._engine.model.prior.n_modes == 30
    loaded = way(model, tmp_path)
    for one in (model, loaded):
        one.partial_fit(X)
        assert one._engine.model.prior.n_modes == 60
    assert_same_answers(model, loaded, X)


def answers_of(detector, X):
    methods = ("score_samples", "decision_function", "predict", "p_values", "complete")
    answers = [getattr(detector, method)(X) for method in methods]
    return [*answers, detector.explain(X).shares, detector.set_contamination(0.2).offset_]


def test_a_detector_answers_the_same_bit_for_bit(light_vae, X, tmp_path):
    models = [light_vae(), light_vae(marginals="normal", prior="aggregated")]
    model = VAEOutlierDetector(estimator=models, random_state=0).fit(X)
    loaded = [way(model, tmp_path) for way in WAYS]
    expected = answers_of(model, X)
    for one in loaded:
        for answer, right in zip(answers_of(one, X), expected, strict=True):
            np.testing.assert_array_equal(answer, right)


def test_a_detector_of_a_frame_knows_its_columns_after_loading(light_vae, X, tmp_path):
    frame = pd.DataFrame(X, columns=list("abcd"), index=np.arange(60) + 100)
    model = VAEOutlierDetector(estimator=light_vae(), random_state=0).fit(frame)
    for way in WAYS:
        pd.testing.assert_frame_equal(way(model, tmp_path).explain(frame).shares, model.explain(frame).shares)


def test_the_state_of_a_detector_is_free_of_torch(light_vae, X):
    unpickler = TypesOf(pickle.dumps(VAEOutlierDetector(estimator=light_vae(), random_state=0).fit(X)))
    unpickler.load()
    assert not [module for module in unpickler.modules if module.split(".")[0] == "torch"]


# -- an aggregated prior over the life of a model ----------------------------------------------------------------------


def test_a_warm_start_goes_on_from_a_settled_prior(light_vae, X):
    model = light_vae(prior="aggregated", warm_start=True).fit(X)
    first, bound = model.score_samples(X), model.lower_bound_
    model.set_params(max_iter=30).fit(X)
    assert model._engine.model.prior.n_modes == 60
    assert not np.array_equal(model.score_samples(X), first)
    assert model.lower_bound_ > bound


def test_training_and_its_bound_are_those_of_a_standard_normal(light_vae, X):
    settled, standard = (light_vae(prior=prior, objective="elbo").fit(X) for prior in ("aggregated", "standard_normal"))
    assert settled.loss_curve_ == standard.loss_curve_
    assert settled.lower_bound_ == pytest.approx(standard.lower_bound_, abs=1e-5)
    np.testing.assert_allclose(settled.kl_per_component_, standard.kl_per_component_, atol=1e-6)
    np.testing.assert_array_equal(settled.transform(X), standard.transform(X))
    assert not np.allclose(settled.score_samples(X), standard.score_samples(X))


def test_held_out_rows_are_judged_before_the_prior_settles(light_vae, X):
    with pytest.warns(Warning, match="Early stopping did not end"):
        model = light_vae(prior="aggregated", early_stopping=True).fit(X)
    assert len(model.validation_scores_) == 3
    assert np.isfinite(model.validation_scores_).all()


def test_an_aggregated_prior_draws_codes_like_those_of_the_rows(light_vae, X):
    model = light_vae(prior="aggregated", max_iter=100).fit(X)
    mean, std = model.posterior(X)
    drawn = model.sample_latent(20_000, random_state=0)
    np.testing.assert_allclose(drawn.mean(axis=0), mean.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(drawn.var(axis=0), mean.var(axis=0) + (std**2).mean(axis=0), rtol=0.05)
