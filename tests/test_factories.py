"""Factories of the user's: grouped by value, called seldom, and lent the global streams one thread at a time."""

import copy
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils import get_tags
from torch import nn

from skvae import AutoencoderTransformer, VAEImputer, VAEOutlierDetector, VAETransformer
from skvae._engine.runtime import lent_streams
from skvae._model.alike import alike
from skvae._model.auto import blocks_of
from skvae.nn.likelihoods import Gaussian, Poisson, StudentT
from skvae.nn.networks import MLP
from skvae.nn.priors import Mixture

LIGHT = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 2, "early_stopping": False, "device": "cpu"}
LIGHT |= {"random_state": 0, "n_train_samples": 1}


def vae(**options):
    return VAETransformer(**(LIGHT | options))


# -- what a factory may return -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("likelihood", "error", "message"),
    [
        (partial(Gaussian, min_scale=-1.0), ValueError, "min_scale of Gaussian must be a positive number. Got -1.0"),
        (partial(StudentT, min_scale=0), ValueError, "min_scale of StudentT must be a positive number. Got 0"),
        (partial(Gaussian, min_scale="a"), ValueError, "min_scale of Gaussian must be a positive number. Got 'a'"),
        (partial(Gaussian, min_scale=np.nan), ValueError, "min_scale of Gaussian must be a positive number. Got nan"),
        (partial(Gaussian, scale=np.inf), ValueError, "scale of Gaussian must be .* or a positive number. Got inf"),
        (Gaussian(3), TypeError, "takes a factory: a class such as Gaussian.* Got what it makes instead"),
        (lambda n: Gaussian(n + 1), ValueError, "called with 1 must return .* of so many columns.* one of 2 instead"),
    ],
)
def test_a_likelihood_that_cannot_be_is_an_error(X, likelihood, error, message):
    with pytest.raises(error, match=message):
        vae(likelihood=likelihood).fit(X)


def with_batch_norm(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, 6), nn.BatchNorm1d(6), nn.Linear(6, n_out))


@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        (lambda n, m: nn.Linear(n, m + 1), r"must map \(..., 2\) to \(..., 8\) in float32.* to \(3, 2, 9\) instead"),
        (lambda n, m: nn.Linear(n, m).double(), "in float32. What .* made failed: "),
        (lambda n, m: nn.LSTM(n, m), r"mapped \(3, 2, 2\) to tuple instead"),
        (with_batch_norm, r"must map \(3, 2, 2\) to \(3, 2, 8\) in float32. What .* made failed: running_mean"),
    ],
)
def test_a_decoder_that_cannot_be_is_an_error(X, decoder, message):
    with pytest.raises(ValueError, match=message):
        vae(decoder=decoder).fit(X)
    assert np.isfinite(vae(encoder=with_batch_norm).fit(X).transform(X)).all()


# -- alike -------------------------------------------------------------------------------------------------------------


def gaussian(*options, **others):
    return Gaussian(options[-1], scale="column")


@dataclass
class Plain:
    scale: float
    table: np.ndarray = field(default_factory=lambda: np.arange(3.0))

    def __call__(self, n_columns):
        return Gaussian(n_columns, scale=self.scale)

    def make(self, n_columns):
        return Gaussian(n_columns, scale=self.scale)


class Bare:
    """Compared by identity, unless by what it holds."""

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, n_columns):
        return Gaussian(n_columns, scale=self.scale)


class Slots:
    __slots__ = ("scale",)

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, n_columns):
        return Gaussian(n_columns, scale=self.scale)


MAKERS = {
    "partial": lambda scale: partial(Gaussian, scale=scale),
    "nested": lambda scale: partial(partial(gaussian, 1), 2, scale=scale),
    "partial_of_partial_argument": lambda scale: partial(gaussian, inner=partial(Gaussian, scale=scale)),
    "array": lambda scale: partial(gaussian, table=np.array([1.0, np.nan, scale])),
    "list": lambda scale: partial(gaussian, [1, [2.0, {"scale": scale}]]),
    "set": lambda scale: partial(gaussian, {1.0, scale}),
    "tensor": lambda scale: partial(gaussian, table=torch.tensor([1.0, scale])),
    "series": lambda scale: partial(gaussian, table=pd.Series([1.0, scale])),
    "dataclass": lambda scale: Plain(scale),
    "instance": lambda scale: Bare(scale),
    "slots": lambda scale: Slots(scale),
    "method": lambda scale: Plain(scale).make,
}


@pytest.mark.parametrize("name", MAKERS)
def test_copies_are_alike_and_others_are_not(name):
    make = MAKERS[name]
    one = make(0.5)
    for twin in (one, make(0.5), copy.deepcopy(one), clone(one, safe=False), pickle.loads(pickle.dumps(one))):
        assert alike(one, twin)
    assert not alike(one, make(0.25))
    assert all(not alike(one, other(0.5)) for key, other in MAKERS.items() if key != name)


def test_alike_knows_plain_values():
    nan = float("nan")
    assert alike(nan, float("nan"))
    assert alike({"a": (1, [nan])}, {"a": (1, [float("nan")])})
    assert not alike(1, 1.0)
    assert not alike(1, True)
    assert not alike([1, 2], [1, 2, 3])
    assert not alike({"a": 1}, {"b": 1})
    assert not alike(Gaussian, StudentT)
    assert not alike(lambda n: Gaussian(n), lambda n: Gaussian(n))
    assert not alike(np.zeros(3), np.zeros(3, dtype=np.float32))
    assert not alike(np.zeros((2, 3)), np.zeros((3, 2)))


def test_alike_ends_where_a_value_holds_itself():
    one, other = [1], [1]
    one.append(one)
    other.append(other)
    assert alike(one, other)
    assert not alike(one, [1, [2]])


@pytest.mark.parametrize("name", MAKERS)
def test_blocks_are_those_of_equal_factories(name):
    make = MAKERS[name]
    blocks = blocks_of([make(0.5), "gaussian", make(0.25), make(0.5), str(b"gaussian", "ascii")])
    assert [columns for _, columns in blocks] == [(0, 3), (1, 4), (2,)]


# -- the same model from every way there -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["partial", "nested", "array", "dataclass", "instance", "method"])
def test_clone_and_pickle_fit_the_same_model(name):
    X = np.random.default_rng(0).normal(size=(60, 6)) * np.arange(1, 7)
    model = vae(likelihood=dict.fromkeys(range(6), MAKERS[name]("shared")))
    direct = model.fit(X)
    assert len(direct._engine.spec.blocks) == 1
    for twin in (clone(model), clone(clone(model)), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(twin.fit(X).score_samples(X), direct.score_samples(X))
        assert len(twin._engine.spec.blocks) == 1


def test_a_search_an_imputer_and_a_detector_fit_that_model():
    X = np.random.default_rng(0).normal(size=(60, 4))
    model = vae(likelihood=dict.fromkeys(range(4), partial(Gaussian, scale="shared")))
    expected = clone(model).fit(X).score_samples(X)
    search = GridSearchCV(model, {"n_components": [2]}, cv=2).fit(X)
    imputer, detector = VAEImputer(model).fit(X), VAEOutlierDetector(estimator=model, calibration_fraction=0).fit(X)
    for fitted in (search.best_estimator_, imputer.estimators_[0], detector.estimators_[0]):
        np.testing.assert_array_equal(fitted.score_samples(X), expected)


# -- how often a factory is called -------------------------------------------------------------------------------------


class Counted:
    """A callable that hides the class that it builds."""

    def __init__(self, make):
        self.make, self.calls = make, []

    def __call__(self, *args, **options):
        self.calls.append(args)
        return self.make(*args, **options)


class CountedGaussian(Gaussian):
    built = 0

    def __init__(self, *args, **options):
        CountedGaussian.built += 1
        super().__init__(*args, **options)


@pytest.mark.parametrize("likelihood", [CountedGaussian, partial(CountedGaussian, scale="column")])
def test_a_class_is_built_once_a_fit(likelihood, X):
    model = vae(likelihood=likelihood)
    CountedGaussian.built = 0
    get_tags(model)
    assert CountedGaussian.built == 0
    model.fit(X)
    assert CountedGaussian.built == 1
    answers_of_all_methods(model, X)
    assert CountedGaussian.built == 1
    pickle.loads(pickle.dumps(model))
    assert CountedGaussian.built == 2


def answers_of_all_methods(model, X):
    get_tags(model)
    model.transform(X)
    model.score_samples(X)
    model.reconstruct(X)
    model.sample(2, random_state=0)
    model.sample(2, given={0: float(X[0, 0])}, random_state=0)


@pytest.mark.parametrize("as_dict", [False, True])
def test_another_callable_is_called_once_more_for_its_kind(as_dict, X):
    factory = Counted(Gaussian)
    model = vae(likelihood=dict.fromkeys(range(4), factory) if as_dict else factory)
    get_tags(model)
    assert factory.calls == []
    model.fit(X)
    assert factory.calls == [(1,), (4,)]
    answers_of_all_methods(model, X)
    model.partial_fit(X)
    model.set_params(warm_start=True).fit(X)
    assert factory.calls == [(1,), (4,)]
    model.set_params(warm_start=False, early_stopping=True, n_iter_no_change=1, tol=1e9).fit(X, X_val=X)
    assert factory.calls[2:] == [(1,), (4,)]


def test_networks_and_priors_are_built_once_a_fit(X):
    encoder, prior = Counted(nn.Linear), Counted(Mixture)
    answers_of_all_methods(vae(encoder=encoder, prior=prior).fit(X), X)
    assert (len(encoder.calls), len(prior.calls)) == (1, 1)


def test_tags_of_a_fitted_model_follow_its_schema():
    X = np.random.default_rng(0).poisson(2.0, size=(30, 3))
    hidden = vae(likelihood=lambda n: Poisson(n))
    assert not get_tags(hidden).input_tags.sparse  # nobody can know
    assert get_tags(hidden.fit(X)).input_tags.sparse
    assert get_tags(vae(likelihood=partial(partial(Poisson)))).input_tags.sparse
    assert not get_tags(vae(likelihood="no such name")).input_tags.sparse
    assert get_tags(AutoencoderTransformer(loss="cross_entropy")).input_tags.sparse


def test_a_kind_that_is_none_is_an_error(X):
    class Strange(Gaussian):
        kind = "strange"

    with pytest.raises(ValueError, match=r"kind must be one of .*'binary'.* has 'strange' instead"):
        vae(likelihood=Strange).fit(X)


# -- global streams ----------------------------------------------------------------------------------------------------


class Drawing(nn.Module):
    """Draws on building, from torch and NumPy, and in training."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.linear, self.dropout = nn.Linear(n_in, n_out), nn.Dropout(0.3)
        self.scale = nn.Parameter(torch.tensor(np.random.normal(size=n_out), dtype=torch.float32))  # noqa: NPY002

    def forward(self, x):
        return self.linear(self.dropout(x)) * self.scale


def streams():
    """The user's global streams."""
    return torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes()  # noqa: NPY002


def drawn_likelihood(n_columns):
    torch.rand(3)
    return Gaussian(n_columns)


DRAWN = {
    "default": {},
    "mixture": {"prior": partial(Mixture, n_components=3)},
    "own_prior": {"prior": lambda n_components: Mixture(n_components)},
    "networks": {"encoder": Drawing, "decoder": Drawing},
    "likelihood": {"likelihood": drawn_likelihood},
}


@pytest.mark.parametrize("name", DRAWN)
def test_fits_repeat_and_the_users_streams_stay(name, X):
    model = vae(**DRAWN[name])
    before = streams()
    scores = [clone(model).fit(X).score_samples(X)]
    assert streams() == before
    with lent_streams(123):  # other streams of the user's
        before = streams()
        scores.append(clone(model).fit(X).score_samples(X))
        assert streams() == before
    np.testing.assert_array_equal(*scores)
    assert np.abs(clone(model).set_params(random_state=1).fit(X).score_samples(X) - scores[0]).max() > 1e-3


@pytest.mark.parametrize("name", DRAWN)
def test_answers_leave_the_users_streams(name, X):
    before = streams()
    answers_of_all_methods(vae(**DRAWN[name]).fit(X), X)
    if name == "default":
        pickle.loads(pickle.dumps(vae().fit(X)))
    assert streams() == before


def test_parts_of_our_own_never_touch_the_global_streams(X, monkeypatch):
    """Not even for a moment, in which another thread may draw."""

    def refuse(*args):
        raise AssertionError("a global stream was set")

    for room, name in ((torch.random, "set_rng_state"), (torch, "set_rng_state"), (np.random, "seed")):
        monkeypatch.setattr(room, name, refuse)
    models = [vae(prior="mixture"), vae(prior=partial(Mixture, n_components=3)), AutoencoderTransformer(**{
        key: value for key, value in LIGHT.items() if key != "n_train_samples"})]  # fmt: skip
    models += [vae(likelihood=partial(StudentT, scale="column")), VAEImputer(random_state=0, estimator=vae())]
    for model in models:
        pickle.loads(pickle.dumps(model.fit(X)))
    with pytest.raises(AssertionError, match="a global stream was set"):
        vae(encoder=nn.Linear).fit(X)


@pytest.fixture
def hurried():
    """Threads take turns all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hurried")
def test_fits_in_threads_are_those_one_after_the_other(X):
    def fit(i):
        options = list(DRAWN.values())[i % len(DRAWN)]
        return vae(**options, max_iter=1 + i % 2, random_state=i).fit(X).score(X)

    before, threads = streams(), torch.get_num_threads()
    serial = [fit(i) for i in range(10)]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(2):
            assert list(pool.map(fit, range(10))) == serial
    assert streams() == before
    assert torch.get_num_threads() == threads


def test_each_thread_keeps_its_number_of_threads(X):
    """The first step of a thread is taken on one thread like all others, and the number comes back in any order."""
    numbers, seen, barrier = [], [], threading.Barrier(2)

    class Watching(nn.Linear):
        def forward(self, x):
            if self.training and torch.is_grad_enabled():
                seen.append(torch.get_num_threads())
            return super().forward(x)

    def fit(i):
        barrier.wait(30)
        vae(encoder=Watching, max_iter=1 + 3 * i).fit(X)
        numbers.append(torch.get_num_threads())

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        workers = [threading.Thread(target=fit, args=(i,)) for i in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert numbers == [2, 2]
    assert set(seen) == {1}


# -- what factories may return ---------------------------------------------------------------------------------------


def data(n=120):
    return np.random.default_rng(0).normal(size=(n, 4))


def test_a_module_that_a_factory_returns_again_and_again_is_left_alone():
    mine = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8))
    before = [parameter.clone() for parameter in mine.parameters()]
    options = {"n_components": 4, "encoder": lambda *_: mine, "max_iter": 3, "early_stopping": False}
    one = VAETransformer(**options, random_state=0).fit(data())
    codes = one.transform(data())
    VAETransformer(**options, random_state=0).fit(3.0 * data() + 5.0)
    np.testing.assert_array_equal(one.transform(data()), codes)
    assert all(map(torch.equal, before, mine.parameters()))


def test_a_model_keeps_the_running_means_of_its_networks():
    def normed(n_in, n_out):
        return nn.Sequential(nn.Linear(n_in, 8), nn.BatchNorm1d(8), nn.Linear(8, n_out))

    model = VAETransformer(encoder=normed, max_iter=4, batch_size=30, early_stopping=False, random_state=0).fit(data())
    assert model._model.engine.model.encoder[1].num_batches_tracked >= 16


@pytest.mark.parametrize("solver", ["muon", "adam"])
@pytest.mark.parametrize("which", ["encoder", "decoder"])
def test_a_frozen_part_of_a_perceptron_stays_and_the_rest_learns(which, solver):
    made = []

    def half_frozen(n_in, n_out):
        network = MLP(n_in, n_out, hidden_layer_sizes=(8,), activation="silu", generator=torch.Generator())
        network.shortcut.weight.requires_grad_(False)
        made.append(network)
        return network

    options = {which: half_frozen, "solver": solver, "max_iter": 2, "early_stopping": False}
    model = VAETransformer(**options, random_state=0).fit(data())
    kept = getattr(model._model.engine.model, which)
    assert torch.equal(kept.shortcut.weight, made[0].shortcut.weight)
    assert not torch.equal(kept.hidden[0].weight, made[0].hidden[0].weight)
    assert np.isfinite(model.score(data()))


def perceptron(n_in, n_out):
    return MLP(n_in, n_out, hidden_layer_sizes=(8,), activation="silu", generator=torch.Generator().manual_seed(0))


def hooked(n_in, n_out):
    network = perceptron(n_in, n_out)
    network.hidden[1].register_forward_hook(lambda module, inputs, output: 0.5 * output)
    return network


def parametrised(n_in, n_out):
    network = perceptron(n_in, n_out)
    for layer in (network.hidden[0], network.shortcut):
        nn.utils.parametrizations.weight_norm(layer)
    return network


@pytest.mark.parametrize("changed", [hooked, parametrised])
@pytest.mark.parametrize("which", ["encoder", "decoder"])
def test_a_perceptron_that_is_more_than_its_layers_is_taken_at_its_word(changed, which):
    """As it is where a module of the user's own stands around it."""
    models = [
        VAETransformer(**{which: network}, max_iter=3, early_stopping=False, random_state=0).fit(data())
        for network in (changed, lambda *sizes: nn.Sequential(changed(*sizes)))
    ]
    for of in (VAETransformer.transform, VAETransformer.reconstruct, VAETransformer.score_samples):
        np.testing.assert_allclose(*(of(model, data()) for model in models), rtol=1e-6, atol=1e-6)


def test_a_network_that_keeps_its_last_activations_goes_on():
    class Keeping(nn.Linear):
        def forward(self, x):
            self.last = super().forward(x)
            return self.last

    model = VAETransformer(decoder=Keeping, max_iter=2, learning_rate="constant", random_state=0).partial_fit(data())
    before = model.score(data())
    for _ in range(3):
        model.partial_fit(data())
    assert model.score(data()) != before


@pytest.mark.parametrize("which", ["encoder", "decoder"])
def test_a_network_that_always_returns_float32_is_refused(which):
    class Single(nn.Linear):
        def forward(self, x):
            return super().forward(x).float()

    with pytest.raises(ValueError, match="must also map float64 to float64"):
        VAETransformer(**{which: Single}, max_iter=1, random_state=0).fit(data())
