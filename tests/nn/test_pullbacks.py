"""Every closed form against autograd, in float64: values, and gradients to inputs and parameters."""

import copy
import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from skvae import AutoencoderTransformer, VAEImputer, VAEOutlierDetector, VAETransformer
from skvae._engine.batches import Rows
from skvae._engine.bounds import ReconstructionBound, VariationalBound
from skvae._engine.optimiser import FlatParameters, Optimiser
from skvae._engine.training import bound_by_autograd
from skvae.nn import networks, passes, priors
from skvae.nn.likelihoods import Categorical, Gaussian, Likelihood, Ordinal, Poisson, StudentT, StudentTMixture, base
from skvae.nn.models import VAE, Autoencoder, ColumnBlocks
from skvae.nn.networks import ACTIVATIONS, EMBEDDING, INTO, MLP, SLOPES, InputEncoding, TableEncoding, pass_through
from skvae.nn.objectives import OBJECTIVES, Passed
from skvae.nn.objectives import SLOPES as OF_OBJECTIVES
from skvae.nn.priors import AggregatedPosterior, Mixture, Prior, StandardNormal
from skvae.nn.pullbacks import by_autograd, closed_form, softmax
from tests.nn.test_likelihoods import COUNTS, EVERY, LEVELS, UNEVEN, P, build, cells

S, B, K = 4, 5, 3
PRIORS = {"standard normal": StandardNormal, "mixture": Mixture, "aggregated": AggregatedPosterior}


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=stream(seed), dtype=torch.float64)


def gradients(module):
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in module.parameters()]


def clear(module):
    for parameter in module.parameters():
        parameter.grad = None


def assert_same(module, closed, by_autograd, *inputs, grad=None):
    """Two ways to a value and its pullback agree, in the value, in what comes back, and in parameters' gradients."""
    with torch.no_grad():
        clear(module)
        value, pull = closed(*inputs)
        grad = noise(*value.shape, seed=9) if grad is None else grad
        back, own = pull(grad), gradients(module)
        clear(module)
        expected, pull = by_autograd(*inputs)
        expected_back, theirs = pull(grad), gradients(module)
    for one, other in ((value, expected), *zip(own, theirs, strict=True)):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)
    if isinstance(back, torch.Tensor):
        torch.testing.assert_close(back, expected_back, rtol=1e-9, atol=1e-10)
    else:
        for one, other in zip(back, expected_back, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


# -- likelihoods -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_likelihood(name):
    likelihood, _ = build(name)
    outputs, x = noise(likelihood.n_outputs, S, B), cells(likelihood, B).T.contiguous()
    assert_same(likelihood, likelihood.with_pullback, lambda *of: Likelihood.with_pullback(likelihood, *of), outputs, x)


BOUNDS = torch.tensor([-30.0, -20.0, -10.0, -8.0, 8.0, 15.0, 25.0, 30.0]).double()  # of some output each


@pytest.mark.parametrize("beyond", [0.999, 1.0, 1.1])
@pytest.mark.parametrize("name", LEVELS | COUNTS)
def test_likelihood_at_its_bounds(name, beyond):
    likelihood, _ = build(name)
    outputs = noise(likelihood.n_outputs, S, 8)
    outputs[:, ::2] = beyond * BOUNDS
    outputs[: P + 1, 1::2] = beyond * BOUNDS.flip(0)
    if name == "Ordinal":
        likelihood.raw_thresholds.data[2:5] = beyond * torch.tensor([-25.0, 5.0, -26.0])
    x = cells(likelihood, 8).T.contiguous()
    assert_same(likelihood, likelihood.with_pullback, lambda *of: Likelihood.with_pullback(likelihood, *of), outputs, x)


@pytest.mark.parametrize("family", [Categorical, Ordinal])
def test_uneven_levels(family):
    likelihood = family(len(UNEVEN), frequencies=UNEVEN).double()
    outputs, n_levels = 3.0 * noise(likelihood.n_outputs, S, B), likelihood.n_levels.unsqueeze(1)
    x = (torch.rand(len(UNEVEN), B, generator=stream()) * n_levels).floor().double()
    x[:, 0], x[:, 1] = 0.0, n_levels[:, 0] - 1.0
    alike = noise(S, B, seed=2).expand(len(UNEVEN), -1, -1)  # as rows without a missing cell have it
    by_formula = partial(Likelihood.with_pullback, likelihood)
    assert_same(likelihood, likelihood.with_pullback, by_formula, outputs, x, grad=alike)


@pytest.mark.parametrize("name", LEVELS | COUNTS)
@pytest.mark.parametrize("size", [10.0, 1e4])
def test_far_outputs(name, size):
    likelihood = build(name)[0].float()
    outputs, x = size * noise(likelihood.n_outputs, S, B).float(), cells(likelihood, B).T.float()
    x = 1e8 * x if name in COUNTS else x
    with torch.no_grad():
        value, pull = likelihood.with_pullback(outputs, x)
        assert torch.isfinite(value).all()
        assert torch.isfinite(pull(torch.ones_like(value))).all()
    assert all(torch.isfinite(grad).all() for grad in gradients(likelihood))


@pytest.mark.parametrize("name", ["StudentTMixture-5", "GaussianMixture-2", "StudentT-cell", "Gaussian-cell"])
@pytest.mark.parametrize("distance", [1e3, 1e8])
def test_far_cells(name, distance):
    likelihood, _ = build(name)
    outputs, x = noise(likelihood.n_outputs, S, B), distance * noise(P, B)
    with torch.no_grad():
        value, pull = likelihood.with_pullback(outputs, x)
        assert torch.isfinite(value).all()
        assert torch.isfinite(pull(torch.ones_like(value))).all()


def test_closed_forms_are_those_of_the_values_that_log_prob_gives():
    for name in EVERY:
        likelihood, _ = build(name)
        outputs, x = noise(likelihood.n_outputs, S, B), cells(likelihood, B)
        expected = likelihood.log_prob(outputs.movedim(0, -1), x).detach()
        with torch.no_grad():
            torch.testing.assert_close(likelihood.with_pullback(outputs, x.T)[0].movedim(0, -1), expected)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("distance", [1.0, 1e3, 1e8])
def test_scores_are_those_that_log_prob_gives(name, distance):
    likelihood, _ = build(name)
    x = cells(likelihood, B)
    x = distance * x if likelihood.kind == "continuous" else x
    for outputs in (noise(likelihood.n_outputs, S, B), 20.0 * noise(likelihood.n_outputs, S, B)):
        expected = likelihood.log_prob(outputs.movedim(0, -1), x).detach()
        with torch.inference_mode():
            got = ColumnBlocks([likelihood]).features_first(outputs.clone(), x.T.contiguous())
        torch.testing.assert_close(got.movedim(0, -1), expected, rtol=1e-9, atol=1e-9)


class Doubled(Gaussian):
    """A user's likelihood on top of one of ours, whose closed form is no longer its gradient."""

    def log_prob(self, outputs, x):
        return 2.0 * super().log_prob(outputs, x)


class DoubledInClosedForm(Doubled):
    def with_pullback(self, outputs, x):
        value, pull = super().with_pullback(outputs, x)
        return 2.0 * value, lambda grad: 2.0 * pull(grad)


class DoubledModes(StudentTMixture):
    def log_prob(self, outputs, x):
        return 2.0 * super().log_prob(outputs, x)


def test_scores_of_a_users_modes_are_its_own():
    own, outputs, x = DoubledModes(P).double(), noise(15 * P, S, B), noise(P, B)
    with torch.no_grad():
        got = ColumnBlocks([own]).features_first(outputs.clone(), x)
        expected = 2.0 * StudentTMixture(P).double().log_prob(outputs.movedim(0, -1), x.T)
        torch.testing.assert_close(got.movedim(0, -1), expected)


@pytest.mark.parametrize("family", [Doubled, DoubledInClosedForm])
def test_a_users_likelihood_is_not_taken_for_ours(family):
    columns, outputs, x = ColumnBlocks([family(P)]).double(), noise(2 * P, S, B), noise(P, B)
    with torch.no_grad():
        value, pull = columns.with_pullback(outputs, x)
        torch.testing.assert_close(columns.features_first(outputs.clone(), x), value)
        ours, pull_ours = Gaussian(P).double().with_pullback(outputs, x)
        torch.testing.assert_close(value, 2.0 * ours)
        torch.testing.assert_close(pull(torch.ones_like(value)), pull_ours(torch.full_like(ours, 2.0)))


@pytest.mark.parametrize("family", [Categorical, Ordinal, Poisson])
def test_a_users_levels_and_counts_are_not_taken_for_ours(family):
    class Halved(family):
        def log_prob(self, outputs, x):
            return 0.5 * super().log_prob(outputs, x)

    columns, outputs, x = (
        ColumnBlocks([Halved(P)]).double(),
        noise(family(P).n_outputs, S, B),
        torch.ones(P, B).double(),
    )
    with torch.no_grad():
        value, pull = columns.with_pullback(outputs, x)
        ours, pull_ours = family(P).double().with_pullback(outputs, x)
        torch.testing.assert_close(value, 0.5 * ours)
        torch.testing.assert_close(pull(torch.ones_like(value)), pull_ours(torch.full_like(ours, 0.5)))


class Laid(Gaussian):
    """A user's likelihood that counts on rows first in memory, too."""

    def log_prob(self, outputs, x):
        location, raw = outputs.view(*outputs.shape[:-1], 2, self.n_columns).unbind(-2)
        return -0.5 * (x.view(-1, self.n_columns) - location).square() / torch.exp(2.0 * raw) - raw


def test_a_users_parts_see_rows_first_in_memory():
    class Viewing(StandardNormal):
        def log_prob(self, z):
            return super().log_prob(z.view(-1, K)).view(z.shape[:-1])

        def kl(self, mean, log_std):
            return super().kl(mean.view(-1, K), log_std.view(-1, K))

    columns, own = ColumnBlocks([Laid(P)]).double(), Viewing(K).double()
    with torch.no_grad():
        value, pull = columns.with_pullback(noise(2 * P, S, B), noise(P, B))
        assert pull(torch.ones_like(value)).shape == (2 * P, S, B)
        assert closed_form(own, "with_pullback", Prior)(noise(K, S, B))[0].shape == (S, B)
        assert closed_form(own, "kl_with_pullback", Prior)(noise(K, B), noise(K, B))[0].shape == (B,)


# -- priors ----------------------------------------------------------------------------------------------------------


def prior(name, seed=0):
    built = PRIORS[name](K).double()
    with torch.no_grad():
        for i, parameter in enumerate(built.parameters()):
            parameter.add_(0.4 * noise(*parameter.shape, seed=seed + i))
    if name == "aggregated":
        built.settle(noise(6, K, seed=1), 0.3 * noise(6, K, seed=2), torch.log_softmax(noise(6, seed=3), 0))
    return built


@pytest.mark.parametrize("name", PRIORS)
def test_prior(name):
    own = prior(name)
    assert_same(own, own.with_pullback, lambda z: Prior.with_pullback(own, z), noise(K, S, B))


@pytest.mark.parametrize("built", [StandardNormal(K), AggregatedPosterior(K)], ids=["standard normal", "aggregated"])
def test_kl(built):
    own = built.double()
    assert_same(own, own.kl_with_pullback, lambda *of: Prior.kl_with_pullback(own, *of), noise(K, B), 0.5 * noise(K, B))


@pytest.mark.parametrize("name", ["mixture", "aggregated"])
def test_no_closed_kl(name):
    assert prior(name).kl_with_pullback(noise(K, B), noise(K, B)) is None


def test_a_users_prior_goes_through_autograd():
    class Wide(StandardNormal):
        def log_prob(self, z):
            return super().log_prob(z / 2.0)

    z = noise(K, S, B)
    with torch.no_grad():
        value, pull = closed_form(Wide(K).double(), "with_pullback", Prior)(z)
    torch.testing.assert_close(value, StandardNormal(K).double().log_prob(z.movedim(0, -1) / 2.0))
    torch.testing.assert_close(pull(torch.ones(S, B).double()), -z / 4.0)


# -- networks --------------------------------------------------------------------------------------------------------


def network(sizes=(6, 7), activation="silu", n_in=K, n_out=4):
    built = MLP(n_in, n_out, hidden_layer_sizes=sizes, activation=activation, generator=stream()).double()
    with torch.no_grad():
        for i, parameter in enumerate(built.parameters()):
            parameter.add_(0.3 * noise(*parameter.shape, seed=i))
    return built


class Plain(nn.Module):
    """The same network as another module, which only autograd can go back through."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(), (6,), (6, 7), (4, 5, 6)], ids=str)
def test_network(sizes, activation):
    assert set(ACTIVATIONS) == set(INTO) == set(SLOPES)
    one, x, start, grad = network(sizes, activation), noise(K, S, B), noise(4, seed=5), noise(4, S, B, seed=6)
    other = copy.deepcopy(one)
    FlatParameters(one)
    with torch.no_grad():
        (value, pull), (expected, pull_plain) = pass_through(one, x, start), pass_through(Plain(other), x, start)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(pull(grad), pull_plain(grad))
        for p, q in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad)
        _, pull = pass_through(one, x, to_input=False)
        for p in one.parameters():
            p.grad.fill_(torch.nan)  # what is there is overwritten
        assert pull(grad) is None
        for p, q in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad)


def test_packing_leaves_a_network_as_it_was():
    one = network()
    other = copy.deepcopy(one)
    flat = FlatParameters(one)
    torch.testing.assert_close(one(noise(B, K)), other(noise(B, K)))
    ordered = flat.in_order(flat.value)
    torch.testing.assert_close(ordered, torch.cat([p.detach().flatten() for p in other.parameters()]))
    flat.value.zero_()
    flat.fill(flat.value, ordered)
    torch.testing.assert_close(flat.in_order(flat.value), ordered)


def test_a_training_network_keeps_the_memory_of_two_sizes_of_batch():
    one, x = network(), noise(K, S, B)
    other = copy.deepcopy(one)
    FlatParameters(one)
    with torch.no_grad():
        for rows in (B, 2, B, 1, B):
            torch.testing.assert_close(pass_through(one, x[..., :rows])[0], pass_through(other, x[..., :rows])[0])
            assert len(one._passes) <= 2
        assert one._pass(S * B) is one._pass(S * B)
        one.eval()
        assert one._pass(S * B) is not one._pass(S * B)  # predictions may be made in several threads at once
    for twin in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert twin.packed is None
        assert not twin._passes


# -- encodings -------------------------------------------------------------------------------------------------------


def table_encoding(family=TableEncoding):
    """Of a number and two codes that are embedded beside one of indicators, in the order 1, 3, 2, 0."""
    numbers = InputEncoding(torch.zeros(1), torch.ones(1), clip=True, with_mask=True)
    return family(numbers, torch.tensor([1]), {}, [(3, 40), (2, 5), (0, 33)], stream()).double()


def table_rows():
    x = torch.stack([noise(B).abs(), noise(B, seed=1), noise(B, seed=2).abs(), noise(B, seed=3).abs()], 1)
    x[:, [0, 2, 3]] = (x[:, [0, 2, 3]] * torch.tensor([11.0, 1.5, 13.0])).floor()
    x[1, [0, 3]] = x[0, [0, 3]]  # a code that is seen twice
    return x


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
def test_encoding(missing):
    encoding, observed = table_encoding(), noise(B, 4, seed=4) < 0.3 if missing else None

    def closed(x):
        seen, pull = encoding.with_pullback(x, observed)
        return seen, lambda grad: pull(grad) or ()

    def formula(x):
        seen, pull = by_autograd(lambda _: encoding(x, observed).T, x.new_zeros(()))
        return seen, lambda grad: pull(grad)[1:]

    assert_same(encoding, closed, formula, table_rows())
    assert encoding.embedding.weight.grad.count_nonzero() >= 3 * EMBEDDING


class OwnEncoding(TableEncoding):
    """A user's, which may look in another way."""

    def forward(self, x, observed=None):
        return 2.0 * super().forward(x, observed)


@pytest.mark.parametrize("family", [TableEncoding, OwnEncoding])
def test_bound_with_a_learned_encoding(family):
    module, built = model(("StudentTMixture-5", "Categorical"))
    numbers = InputEncoding(torch.zeros(P), torch.ones(P), clip=True, with_mask=True)
    codes = [(P, 2), (P + 1, 40), (P + 2, 34)]
    module.encoding = family(numbers, torch.arange(P), {}, codes, stream()).double()
    module.encoder = network(n_in=module.encoding.n_out, n_out=2 * K)
    bound = VariationalBound("iwae", S, 0.0)
    FlatParameters(module)
    assert bound.needs_autograd(module) == (family is OwnEncoding)
    for seen_by in (bound, ReconstructionBound(None, 0.0)):
        assert seen_by.look(module) is None
    for one, other in both(module, bound, batch(built)):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


# -- objectives and whole models -------------------------------------------------------------------------------------


def model(likelihoods=("StudentTMixture-5", "Categorical"), prior_name="mixture", gates=(), sizes=(6, 7), mask=True):
    built = [EVERY[name](P).double() for name in likelihoods]
    columns = ColumnBlocks(built, gates)
    n = sum(columns.counts)
    encoding = InputEncoding(torch.zeros(n).double(), torch.ones(n).double(), clip=True, with_mask=mask)
    parts = {
        "encoding": encoding,
        "encoder": network(sizes, n_in=encoding.n_out, n_out=2 * K),
        "decoder": network(sizes, n_in=K, n_out=columns.n_outputs),
        "columns": columns,
        "start": noise(columns.n_outputs, seed=4),
    }
    return VAE(prior=prior(prior_name), **parts), built


def batch(built, missing=True, seed=0):
    x = torch.cat([cells(own, B, seed=seed + i) for i, own in enumerate(built)], 1)
    observed = noise(*x.shape, seed=8) < 0.5
    observed[0] = False  # a row that says nothing
    return Rows(torch.where(observed, x, 0.0), observed) if missing else Rows(x)


def both(module, bound, rows, beta=0.7):
    """Values and gradients of a bound in closed form and by autograd."""
    found, grad = [], torch.linspace(0.5, 1.5, B).double()
    for way in (bound.with_pullback, lambda *of: bound_by_autograd(bound, *of)):
        flat = FlatParameters(module)
        with torch.no_grad():
            terms, pull = way(module, rows, stream(3), beta)
            pull(grad)
        found.append((*terms, flat.in_order(flat.grad)))
    return zip(*found, strict=True)


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
@pytest.mark.parametrize("prior_name", ["standard normal", "mixture"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_bound(objective, prior_name, missing):
    assert set(OBJECTIVES) == set(OF_OBJECTIVES)
    module, built = model(prior_name=prior_name)
    for one, other in both(module, VariationalBound(objective, S, 0.0), batch(built, missing)):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "without a closed form"])
@pytest.mark.parametrize("likelihoods", [("StudentT-column", "Ordinal"), ("NegativeBinomial", "Bernoulli")], ids=str)
def test_bound_of_other_parts(likelihoods, closed, monkeypatch):
    module, built = model(likelihoods)
    bound = VariationalBound("iwae", S, 0.0)
    if not closed:
        monkeypatch.setattr(type(built[1]), "with_pullback", Likelihood.with_pullback)
    FlatParameters(module)
    assert bound.needs_autograd(module) == (not closed)
    for one, other in both(module, bound, batch(built)):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def test_bound_with_gates_counts_values_that_are_no_atoms():
    module, built = model(("StudentT-cell", "Categorical"), gates=[(0, P), (2, P + 1)])
    rows = batch(built, missing=False)
    assert (rows.x[:, P] == 0).any()
    assert (rows.x[:, P] != 0).any()
    for one, other in both(module, VariationalBound("dreg", S, 0.0), rows):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def test_free_bits_count():
    module, built = model()
    rows, free = batch(built), VariationalBound("iwae", S, 0.5)
    (value, _), *_, (grad, expected) = both(module, free, rows)
    torch.testing.assert_close(grad, expected)
    (bound, _), *_ = both(module, VariationalBound("iwae", S, 0.0), rows)
    assert (value < bound).all()


@pytest.mark.parametrize("corruption", [None, "masking", "gaussian"])
def test_reconstruction(corruption):
    module, built = model(("SquaredError", "Categorical"))
    parts = {name: getattr(module, name) for name in ("encoding", "decoder", "columns", "start")}
    plain = Autoencoder(encoder=network(n_in=module.encoding.n_out, n_out=K), **parts)
    for one, other in both(plain, ReconstructionBound(corruption, 0.3), batch(built)):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def test_slopes_are_those_of_the_bound():
    own, ll = prior("mixture"), noise(S, B)
    mean, log_std, eps = noise(K, B, seed=1), 0.3 * noise(K, B, seed=2), noise(K, S, B, seed=3)
    z = mean.unsqueeze(1) + log_std.exp().unsqueeze(1) * eps
    with torch.no_grad():
        bound, slopes = OF_OBJECTIVES["iwae"](own, Passed(mean, log_std, eps, z, ll), 1.0)
        assert slopes(torch.ones(B).double()).log_likelihood.sum(0).numpy() == pytest.approx(np.ones(B))
    log_q = torch.distributions.Normal(mean, log_std.exp()).log_prob(z.transpose(0, 1)).sum(1)
    log_w = ll + own.log_prob(z.movedim(0, -1)) - log_q
    torch.testing.assert_close(bound.value, (torch.logsumexp(log_w, 0) - np.log(S)).detach())


def test_softmax_and_its_sum():
    x = torch.tensor([[0.0, -torch.inf, 1e4], [1.0, 3.0, -1e4], [2.0, -torch.inf, 0.0]], dtype=torch.float64)
    share, total = softmax(x)
    torch.testing.assert_close(share, torch.softmax(x, 0))
    torch.testing.assert_close(total, torch.logsumexp(x, 0))


def test_degrees_of_freedom_learn_from_the_constant():
    likelihood = StudentT(1).double()
    outputs, x = torch.zeros(2, 1, 200).double(), noise(1, 200)
    with torch.no_grad():
        _, pull = likelihood.with_pullback(outputs, x)
        pull(torch.ones(1, 1, 200).double())
    assert likelihood.raw_df.grad.item() != 0.0


# -- estimators --------------------------------------------------------------------------------------------------------


def refused(*_, **__):
    raise AssertionError("autograd was asked")


@pytest.fixture
def without_autograd(monkeypatch):
    for room in (networks, base, priors, passes):
        monkeypatch.setattr(room, "by_autograd", refused)
    monkeypatch.setattr(torch.Tensor, "backward", refused)
    monkeypatch.setattr(torch.autograd, "grad", refused)
    monkeypatch.setattr("skvae._members.IMPUTER_STEPS", (4, 8))
    monkeypatch.setattr("skvae._members.DETECTOR_EPOCHS", 4)


def table(n=60, levels=False, many=False):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(n, 4)) @ rng.normal(size=(4, 4)), columns=list("abcd"))
    frame.loc[::7, "a"] = np.nan
    frame.loc[::3, "b"] = 0.0  # an atom
    if levels:
        frame["e"] = pd.Categorical(rng.choice(list("xyz"), n))
    if many:
        frame["f"] = pd.Categorical(rng.integers(34, size=n), categories=range(34))
        frame["g"] = pd.Categorical(rng.choice(list("xyz"), n), ordered=True)
    return frame


@pytest.mark.parametrize(
    "make",
    [
        partial(VAETransformer, max_iter=2),
        partial(VAETransformer, max_iter=2, likelihood="student_t", prior="standard_normal", objective="elbo"),
        partial(AutoencoderTransformer, max_iter=2, corruption="masking"),
        VAEImputer,
        partial(VAEOutlierDetector, novelty=True),
        VAEOutlierDetector,
    ],
    ids=["transformer", "textbook", "autoencoder", "imputer", "novelties", "outliers"],
)
@pytest.mark.parametrize("levels", [{}, {"levels": True}, {"many": True}], ids=["numbers", "levels", "many levels"])
@pytest.mark.filterwarnings("ignore")
def test_default_models_train_without_autograd(make, levels, without_autograd):
    X = table(**levels)
    model = make(random_state=0).fit(X)
    assert all(np.isfinite(one.loss_curve_).all() for one in getattr(model, "estimators_", [model]))


@pytest.mark.parametrize("family", COUNTS.values())
def test_counts_train_without_autograd(family, without_autograd):
    X = np.random.default_rng(0).poisson(3.0, (60, 4)).astype(float)
    model = VAETransformer(max_iter=2, random_state=0, early_stopping=False, likelihood=family).fit(X)
    assert np.isfinite(model.loss_curve_).all()


@pytest.mark.parametrize("levels", ["levels", "many"])
def test_the_two_roads_lead_to_the_same_model(levels, monkeypatch):
    X = table(**{levels: True})
    fast = VAETransformer(max_iter=5, random_state=0, early_stopping=False).fit(X)
    monkeypatch.delattr(VariationalBound, "with_pullback")
    slow = VAETransformer(max_iter=5, random_state=0, early_stopping=False).fit(X)
    np.testing.assert_allclose(fast.loss_curve_, slow.loss_curve_, rtol=1e-4)
    np.testing.assert_allclose(fast.score_samples(X), slow.score_samples(X), atol=1e-2)


class OwnT(StudentT):
    """A user's likelihood, which inherits a closed form that may not be its own."""


@pytest.mark.parametrize(
    ("options", "without"),
    [({}, True), ({"likelihood": OwnT}, False), ({"free_bits": 0.1}, False), ({"objective": "elbo"}, True)],
    ids=["default", "own likelihood", "free bits", "elbo"],
)
def test_a_step_without_autograd_spares_its_bookkeeping(options, without, monkeypatch):
    seen, own = set(), Optimiser.move
    monkeypatch.setattr(
        Optimiser, "move", lambda *args, **kwargs: (seen.add(torch.is_inference_mode_enabled()), own(*args, **kwargs))
    )
    VAETransformer(max_iter=2, random_state=0, early_stopping=False, **options).fit(table(levels=False))
    assert seen == {without}


def test_a_training_goes_on_by_the_other_road():
    X = table(levels=False)
    model = VAETransformer(random_state=0)
    for free_bits in (0.0, 0.1, 0.0, 0.1):
        model.set_params(free_bits=free_bits).partial_fit(X)
    copied = copy.deepcopy(model).partial_fit(X)
    np.testing.assert_array_equal(copied.score_samples(X), model.partial_fit(X).score_samples(X))
