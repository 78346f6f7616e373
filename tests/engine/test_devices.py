"""What becomes of a model on another device: tensors that do not mix, rows that do not fit, memory that runs out.

No GPU is needed: "meta" is a device of torch that has shapes and no numbers, and refuses to meet others'.
"""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from skvae import AutoencoderTransformer, VAETransformer
from skvae._engine import importance, runtime, scoring
from skvae._engine.batches import Rows, minibatches
from skvae._engine.bounds import CORRUPTIONS, ReconstructionBound, VariationalBound
from skvae._engine.optimiser import Optimiser, copied
from skvae.nn.likelihoods import StudentT

META = torch.device("meta")
INDEXING = ("index", "index_put_")  # which take places from anywhere, but would wait for those of the CPU
B, DRAWS = 8, 16


class OneDevice(TorchDispatchMode):
    """Operations on tensors of several devices, which some let pass on "meta" and none does on a GPU, are refused."""

    def __init__(self, *, may_wait=False):
        super().__init__()
        self.may_wait = may_wait

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if not (self.may_wait and operation.overloadpacket.__name__ in INDEXING):
            tensors = [each for each in tree_leaves((args, kwargs or {})) if isinstance(each, torch.Tensor)]
            devices = {each.device.type for each in tensors if each.ndim}  # lone numbers may come from anywhere
            assert len(devices) < 2, f"{operation} of tensors on {devices}"
        return operation(*args, **(kwargs or {}))


def frame():
    rng = np.random.default_rng(0)
    n = 120
    x = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc")).assign(
        count=rng.poisson(2.0, n),
        level=pd.Categorical(rng.choice(list("xyz"), n)),
        many=pd.Categorical(rng.integers(0, 40, n).astype(str)),
        flag=rng.random(n) < 0.3,
    )
    return x.mask(rng.random(x.shape) < 0.05)


def elsewhere(model):
    """A copy on "meta"."""
    return copied(model).to(META)


def rows(model, *, holes=True, weighted=True):
    n_cells = model.columns.is_code.numel()
    observed = torch.ones(B, n_cells, dtype=torch.bool, device=META) if holes else None
    weight = torch.ones(B, device=META) if weighted else None
    return Rows(torch.zeros(B, n_cells, device=META), observed, weight)


OPTIONS = {
    "default": {},
    "textbook": {"likelihood": "gaussian", "prior": "standard_normal", "objective": "elbo"},
    "one mode": {"likelihood": StudentT, "objective": "dreg", "n_train_samples": 3},
    "exemplars": {"prior": "aggregated", "likelihood": "gaussian"},
    "counts": {"likelihood": {"count": "poisson", "a": "gaussian_mixture"}},
    "inflated counts": {"likelihood": {"count": "zero_inflated_poisson", "level": "ordinal"}},
    "dispersed counts": {"likelihood": {"count": "negative_binomial"}},
    "both": {"likelihood": {"count": "zero_inflated_negative_binomial"}},
}


@pytest.fixture(scope="module", params=OPTIONS)
def model(request):
    return VAETransformer(max_iter=2, random_state=0, **OPTIONS[request.param]).fit(frame())._model.engine.model


def step(model, bound, rows, *, by_muon=True):
    optimiser = Optimiser(model)
    optimiser.begin(by_muon=by_muon)
    optimiser.module.train()
    with torch.no_grad(), OneDevice():
        _, pull = bound.with_pullback(optimiser.module, rows, None, 0.5)
        optimiser.look(partial(pull, torch.ones(B, device=META)))
        optimiser.move(1e-3, 0.1, 0.2 if by_muon else None)
    return optimiser


@pytest.mark.parametrize("objective", ["elbo", "iwae", "dreg"])
@pytest.mark.parametrize("free_bits", [0.0, 0.1])
def test_a_step_stays_on_the_device_of_the_model(model, objective, free_bits, monkeypatch):
    monkeypatch.setattr("skvae._engine.optimiser.copied", elsewhere)
    monkeypatch.setattr(Optimiser, "_fused", True)  # as on a GPU
    for holes in (True, False):
        batch = rows(model, holes=holes, weighted=holes)
        optimiser = step(elsewhere(model), VariationalBound(objective, 2, free_bits), batch, by_muon=holes)
        assert optimiser.device == META


@pytest.mark.parametrize("corruption", [None, *CORRUPTIONS])
def test_a_step_of_an_autoencoder_stays_there(corruption, monkeypatch):
    model = AutoencoderTransformer(max_iter=2, random_state=0).fit(frame())._model.engine.model
    monkeypatch.setattr("skvae._engine.optimiser.copied", elsewhere)
    assert step(elsewhere(model), ReconstructionBound(corruption, 0.1), rows(model)).device == META


@pytest.mark.parametrize("knows_missing", [True, False])
def test_answers_stay_on_the_device_of_the_model(model, knows_missing):
    there, table = elsewhere(model).eval(), rows(model)
    k = there.posterior(table.x, table.observed)[0].shape[1]
    points = torch.zeros(DRAWS, 1, k, device=META)
    adapting = torch.zeros(importance.n_rounds(knows_missing), DRAWS, 1, k, device=META)
    with torch.inference_mode(), OneDevice(may_wait=True):
        answers = [
            scoring.log_likelihood(there, table, points, knows_missing=True, trained_on=False),
            *scoring.explain(there, table, points, knows_missing=True),
            *importance.proposals(there, table, adapting, knows_missing=knows_missing)[0],
            there.columns.sample(there.decode(points[:, 0]), None),
            there.prior.sample(B, None),
            there.prior.marginal_log_prob(points[:, 0]),
        ]
    assert {answer.device for answer in answers} == {META}


def test_rows_in_main_memory_are_sent_batch_by_batch():
    x = np.random.default_rng(0).normal(size=(10, 3))
    x[0, 0] = np.nan
    table = Rows.from_numpy(x, np.arange(1.0, 11.0))
    sent = list(minibatches(table, 4, torch.Generator().manual_seed(0), lambda part: part.x * 2.0, META))
    assert [len(batch) for batch in sent] == [4, 4, 2]
    assert {part.device for batch in sent for part in batch.parts} == {META}
    assert table.device.type == "cpu"
    assert table.to(table.device) is table


def test_a_table_stays_in_main_memory_where_a_gpu_has_little_room(monkeypatch):
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (900, 2000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 200)
    assert runtime.home_of_rows(500, gpu) == gpu
    assert runtime.home_of_rows(501, gpu) == torch.device("cpu")
    assert runtime.home_of_rows(10**15, torch.device("cpu")) == torch.device("cpu")


def no_room():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class Full(StudentT):
    """A likelihood that finds no memory for more than so many rows."""

    most = 0

    def log_prob(self, outputs, x):
        if len(x) > self.most:
            no_room()
        return super().log_prob(outputs, x)


def test_where_memory_runs_out_fewer_rows_are_asked_at_once(monkeypatch):
    X = np.random.default_rng(0).normal(size=(64, 3))
    monkeypatch.setattr(Full, "most", 64)
    model = VAETransformer(max_iter=2, random_state=0, likelihood=Full, early_stopping=False, n_importance_samples=8)
    model.fit(X)
    expected = model.score_samples(X)
    for most in (17, 1):
        monkeypatch.setattr(Full, "most", most)
        np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-12)
    asked = []
    with pytest.raises(torch.OutOfMemoryError):
        list(runtime.in_chunks(3, 2**20, lambda rows: (asked.append(rows.stop), no_room())))
    assert asked == [3, 1]
    monkeypatch.setattr(Full, "most", 0)
    with pytest.raises(MemoryError, match=r"no memory left for what was asked.*n_importance_samples.*device='cpu'"):
        model.score_samples(X)


def test_main_memory_runs_out_in_the_same_words():
    X = np.random.default_rng(0).normal(size=(64, 3))
    with pytest.raises(MemoryError, match="no memory left for a training step"):
        VAETransformer(max_iter=1, n_train_samples=10**13).fit(X)
    model = VAETransformer(max_iter=1, early_stopping=False).fit(X)
    with pytest.raises(MemoryError, match="no memory left for what was asked"):
        model.set_params(n_importance_samples=10**13).score_samples(X)


def test_a_step_without_memory_says_what_needs_less(monkeypatch):
    X = np.random.default_rng(0).normal(size=(64, 3))
    monkeypatch.setattr(Full, "most", 16)
    model = VAETransformer(max_iter=2, random_state=0, likelihood=Full, early_stopping=False, batch_size=16)
    model.fit(X[:16])
    before = model.score_samples(X[:4])
    with pytest.raises(MemoryError, match=r"no memory left for a training step.*batch_size.*device='cpu'"):
        model.set_params(batch_size=32).fit(X)
    np.testing.assert_array_equal(model.score_samples(X[:4]), before)
