"""A recorded step does what the step does, to the last bit, or is not used."""

from contextlib import contextmanager, nullcontext
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from skvae import AutoencoderTransformer, VAEImputer, VAEOutlierDetector, VAETransformer
from skvae._engine import replay, training
from skvae._engine.batches import Rows
from skvae._engine.replay import Replayed


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def batches(n, b=6, p=3):
    noise = stream(5)
    return [Rows(torch.empty(b, p).normal_(generator=noise)) for _ in range(n)]


class Machine:
    """A step with a state, an output and a random stream of its own."""

    def __init__(self, operations):
        self.operations, self.state, self.noise = operations, torch.zeros(6, 3), stream(9)

    def __call__(self, rows):
        self.state.add_(self.operations(rows.x, self.noise))


def assert_same(operations):
    """Six batches leave a machine that may be replayed as they leave one that is not."""
    as_it_is, recorded = Machine(operations), Machine(operations)
    step = Replayed(recorded, lambda size: True, recorded.noise)
    for rows in batches(6):
        as_it_is(rows)
        step(rows)
        assert torch.equal(as_it_is.state, recorded.state)


def views(x, noise):
    left, right = x.T.contiguous().chunk(2)[0], x.reshape(-1).view(3, 6)
    return (left.unsqueeze(0) * right[:1]).mean() + x.T.reshape(6, 3)


def matrices(x, noise):
    return torch.matmul(x, x.T @ x) + F.linear(x, x[:3], x[0]) + torch.einsum("ij,kj->ik", x, x)[:, :3]


def places(x, noise):
    at = torch.tensor([2, 0, 1])
    x = x.clone()
    x[:, at] = x[at][:, :3].sum(0)
    return x[:, at] + x[[0, 0, 1, 1, 2, 2]]


def in_place(x, noise):
    out = torch.empty_like(x)
    torch.mul(x, 2.0, out=out)
    torch.div(out + 1.0, out, out=out)
    return out.clamp_(-1.0, 1.0).mul_(x).sub_(x, alpha=2.0).addcmul_(x, x).exp_()


def several_results(x, noise):
    values, order = x.sort(0)
    top = x.max(1)
    return values + order + top.values.unsqueeze(1) + top.indices.unsqueeze(1)


def factories(x, noise):
    out = x.new_zeros(x.shape)
    out.scatter_(1, (x[:, :1] > 0).long(), 1.0)
    out[:, 2] = x[:, 0]
    return out + torch.ones_like(x).cumsum(0) + x.new_full((3,), 2.0).mul_(x[0]) + torch.arange(3)


def draws(x, noise):
    uniform = torch.rand(x.shape, generator=noise)
    return torch.bernoulli(uniform, generator=noise) + uniform + x.new_empty(x.shape).normal_(generator=noise)


def functions(x, noise):
    return F.silu(x) + F.softplus(x) + torch.softmax(x, 1) + torch.logsumexp(x, 0) + torch.where(x > 0, x, x.abs())


@pytest.mark.parametrize(
    "operations", [views, matrices, places, in_place, several_results, factories, draws, functions]
)
@pytest.mark.parametrize("inference", [False, True])
def test_a_replay_repeats_its_operations(operations, inference, monkeypatch):
    replays, own = [], replay._replay
    monkeypatch.setattr(replay, "_replay", lambda *args: (replays.append(1), own(*args)))
    with torch.inference_mode(inference):
        assert_same(operations)
    assert len(replays) == 4  # the first step as it is, the second recorded


@pytest.mark.parametrize(
    "operations",
    [
        lambda x, noise: x if x.sum() > 0 else -x,
        lambda x, noise: x * x.sum().item(),
        lambda x, noise: x + x[x > 0].sum(),
        lambda x, noise: x + len(x.nonzero()),
    ],
    ids=["branch", "item", "mask", "nonzero"],
)
def test_a_step_that_looks_at_its_numbers_is_taken_as_it_is(operations):
    assert_same(operations)


def test_each_kind_of_batch_has_a_recording_of_its_own():
    total = torch.zeros(())

    def step(rows):
        cells = rows.x if rows.observed is None else rows.x * rows.observed
        total.add_((cells if rows.weight is None else cells * rows.weight.unsqueeze(1)).sum())

    replayed, noise = Replayed(step, lambda size: size != 2, stream()), stream(3)
    for i in range(40):
        b = (6, 4, 2)[i % 3]
        x = torch.empty(b, 3).normal_(generator=noise)
        observed, weight = (x > 0) if i % 2 else None, x[:, 0].abs() if i % 4 > 1 else None
        rows = Rows(x, observed, weight)
        before = total.clone()
        replayed(rows)
        got = total.clone()
        total.copy_(before)
        step(rows)
        assert torch.equal(got, total)


def mixed(n=150):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(n, 4)) @ rng.normal(size=(4, 4)), columns=list("abcd"))
    frame.loc[::7, "a"] = np.nan
    frame.loc[::3, "b"] = 0.0  # an atom
    return frame.assign(e=pd.Categorical(rng.choice(list("xyz"), n)))


def numbers(n=150):
    return mixed(n)[list("abcd")].fillna(0.0)


MODELS = {
    "default": (partial(VAETransformer, max_iter=12), mixed()),
    "numbers": (partial(VAETransformer, max_iter=12, batch_size=60), numbers()),
    "textbook": (
        partial(VAETransformer, max_iter=12, likelihood="gaussian", prior="standard_normal", objective="elbo"),
        numbers(),
    ),
    "trim": (partial(VAETransformer, max_iter=12, trim=0.2, objective="dreg"), mixed()),
    "autoencoder": (partial(AutoencoderTransformer, max_iter=12, corruption="masking"), mixed()),
    "warm-up": (partial(VAETransformer, max_iter=20, kl_warmup=0.5), numbers()),
    "free bits": (partial(VAETransformer, max_iter=12, free_bits=0.1), numbers()),
    "imputer": (VAEImputer, numbers().mask(np.random.default_rng(1).random((150, 4)) < 0.1)),
    "detector": (VAEOutlierDetector, numbers()),
    "novelty": (partial(VAEOutlierDetector, novelty=True), numbers()),
}


WITHOUT_WEIGHTS = ("imputer", "detector", "novelty")


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr("skvae._members.IMPUTER_STEPS", (24, 30))
    monkeypatch.setattr("skvae._members.DETECTOR_EPOCHS", 12)


@pytest.mark.parametrize(
    ("name", "weighted"),
    [(name, False) for name in MODELS] + [(name, True) for name in MODELS if name not in WITHOUT_WEIGHTS],
)
@pytest.mark.filterwarnings("ignore")
def test_a_replayed_training_gives_the_same_model(name, weighted, short, monkeypatch):
    make, X = MODELS[name]
    weight = {"sample_weight": np.random.default_rng(2).random(len(X)) + 0.1} if weighted else {}
    replays, own = [], replay._replay
    monkeypatch.setattr(replay, "_replay", lambda *args: (replays.append(1), own(*args)))
    curves = []
    for often in (10**9, 2):
        monkeypatch.setattr(training, "OFTEN", often)
        model = make(random_state=0).fit(X, **weight)
        curves.append([one.loss_curve_ for one in getattr(model, "estimators_", [model])])
        assert bool(replays) == (often == 2 and name != "free bits")
    assert curves[0] == curves[1]


@pytest.mark.filterwarnings("ignore")
def test_a_training_that_blows_up_is_rolled_back_as_before(monkeypatch):
    curves = []
    for often in (10**9, 2):
        monkeypatch.setattr(training, "OFTEN", often)
        model = VAETransformer(max_iter=30, learning_rate_init=3.0, learning_rate="constant", random_state=0)
        curves.append(model.fit(numbers()).loss_curve_)
    np.testing.assert_array_equal(curves[0], curves[1])


class Graph:
    """What a CUDA graph is to whoever captures one, on the CPU: a capture does nothing, a replay all of it."""

    def __init__(self, machine, fails=False):
        self.machine, self.fails, self.streams, self.captures, self.replays = machine, fails, [], 0, 0

    def register_generator_state(self, noise):
        self.streams.append(noise)

    @contextmanager
    def capture(self, graph, *, stream, capture_error_mode):
        assert graph is self
        assert (stream, capture_error_mode) == ("side", "thread_local")
        assert replay._CAPTURES.lock.locked()
        self.captures += 1
        state, noise = self.machine.state.clone(), self.machine.noise.get_state()
        with replay.Recording() as self.recording:
            yield
        self.machine.state.copy_(state)
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.machine.noise.set_state(noise)

    def replay(self):
        self.replays += 1
        for call in self.recording.calls:
            call()


@pytest.fixture
def gpu(monkeypatch):
    """Graphs for machines, and the streams that the user's was set to."""
    used = []
    monkeypatch.setitem(replay.WAYS, "cpu", replay.captured)
    monkeypatch.setattr(replay, "_CAPTURES", replay._Captures())
    monkeypatch.setattr(replay, "_side_stream", lambda device: "side")
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "users")
    monkeypatch.setattr(torch.cuda, "set_stream", used.append)

    def graph_for(machine, *, fails=False):
        graph = Graph(machine, fails)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graph)
        monkeypatch.setattr(torch.cuda, "graph", graph.capture)
        return graph

    return graph_for, used


def assert_steps_of(machine, operations):
    as_it_is, step = Machine(operations), Replayed(machine, lambda size: True, machine.noise)
    for rows in batches(6):
        as_it_is(rows)
        step(rows)
        assert torch.equal(as_it_is.state, machine.state)


def test_a_gpu_captures_a_step_and_replays_it(gpu):
    machine = Machine(draws)
    graph = gpu[0](machine)
    assert_steps_of(machine, draws)
    assert graph.streams == [machine.noise]
    assert (graph.captures, graph.replays) == (1, 4)  # the first step as it is, the second recorded and noted


def test_a_capture_that_fails_is_the_last_one_and_does_no_harm(gpu):
    graph_for, used = gpu
    machine = Machine(draws)
    graph = graph_for(machine, fails=True)
    with pytest.warns(UserWarning, match=r"become no more CUDA graphs.*not permitted when stream is capturing"):
        assert_steps_of(machine, draws)
    assert (graph.captures, graph.replays, used) == (1, 0, ["users"])
    machine = Machine(draws)
    graph = graph_for(machine)
    assert_steps_of(machine, draws)
    assert graph.captures == 0


@pytest.mark.parametrize(
    "operations",
    [lambda x, noise: x * x.sum().item(), lambda x, noise: x + x[x > 0].sum(), lambda x, noise: x + x.to("meta").ndim],
    ids=["item", "mask", "another device"],
)
def test_what_a_capture_could_not_hold_is_not_captured(operations, gpu):
    machine = Machine(operations)
    graph = gpu[0](machine)
    assert_steps_of(machine, operations)
    assert graph.captures == 0
