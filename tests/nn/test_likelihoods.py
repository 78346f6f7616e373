"""One contract for every likelihood, and each family against SciPy."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import stats

from skvae._table.kinds import KINDS
from skvae.nn import likelihoods
from skvae.nn.likelihoods import LIKELIHOODS, Bernoulli, Gaussian, SquaredError, StudentT

P = 3
SCALES = ["cell", "column", "shared", 0.5]
CONTINUOUS = {
    f"{family.__name__}-{scale}": partial(family, scale=scale) for family in (Gaussian, StudentT) for scale in SCALES
}
CONTINUOUS |= {
    f"{family.__name__}-{scale}-smooth": partial(family, scale=scale, min_scale=0.7)
    for family in (Gaussian, StudentT)
    for scale in ("cell", "column")
}
DENSITIES = CONTINUOUS | {"Bernoulli": Bernoulli}
EVERY = DENSITIES | {"SquaredError": SquaredError}

all_continuous = pytest.mark.parametrize("name", CONTINUOUS)
all_densities = pytest.mark.parametrize("name", DENSITIES)
all_likelihoods = pytest.mark.parametrize("name", EVERY)


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def build(name, dtype=torch.float64, seed=0):
    """A likelihood of P columns whose parameters are off their start values, and one row of decoder outputs."""
    likelihood = EVERY[name](P).to(dtype)
    draws = stream(seed)
    with torch.no_grad():
        for parameter in likelihood.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=draws, dtype=dtype))
    return likelihood, torch.randn(likelihood.n_outputs, generator=draws, dtype=dtype)


def grid():
    """Points from -1e9 to 1e9, dense near 0, with trapezoid weights: heavy tails need the reach. Shape (n, 1)."""
    t = np.linspace(-22.0, 22.0, 40_001)
    x = np.sinh(t)
    return torch.tensor(x).unsqueeze(1), torch.tensor(np.cosh(t) * (t[1] - t[0])).unsqueeze(1)


def test_every_named_likelihood_is_under_contract():
    tested = {getattr(factory, "func", factory) for factory in EVERY.values()}
    assert set(LIKELIHOODS.values()) <= tested
    subclasses = {cls for cls in vars(likelihoods).values() if isinstance(cls, type)}
    concrete = {cls for cls in subclasses if issubclass(cls, likelihoods.Likelihood) and "log_prob" in vars(cls)}
    assert concrete - {likelihoods.Likelihood} <= tested


@all_likelihoods
def test_serves_a_known_kind_of_column(name):
    assert EVERY[name](P).kind in KINDS


@all_continuous
def test_density_integrates_to_one(name):
    likelihood, outputs = build(name)
    x, dx = grid()
    mass = (likelihood.log_prob(outputs, x).exp() * dx).sum(0)
    np.testing.assert_allclose(mass.detach(), 1.0, atol=1e-6)


def test_bernoulli_sums_to_one():
    likelihood, outputs = build("Bernoulli")
    both = torch.stack([likelihood.log_prob(outputs, torch.full((P,), v, dtype=torch.float64)) for v in (0.0, 1.0)])
    np.testing.assert_allclose(both.exp().sum(0), 1.0, rtol=1e-12)


@all_continuous
def test_mean_is_that_of_the_density(name):
    likelihood, outputs = build(name)
    x, dx = grid()
    expected = (x * likelihood.log_prob(outputs, x).exp() * dx).sum(0)
    np.testing.assert_allclose(likelihood.mean(outputs).detach(), expected.detach(), atol=1e-4)


def test_bernoulli_mean_is_that_of_the_density():
    likelihood, outputs = build("Bernoulli")
    np.testing.assert_allclose(
        likelihood.mean(outputs), likelihood.log_prob(outputs, torch.ones(P).double()).exp(), rtol=1e-12
    )


@all_continuous
def test_samples_agree_with_the_density(name):
    likelihood, outputs = build(name)
    x, dx = grid()
    cdf = (likelihood.log_prob(outputs, x).exp() * dx).cumsum(0).detach().numpy()
    draws = likelihood.sample(outputs.expand(5000, -1), stream(1)).detach().numpy()
    assert draws.shape == (5000, P)
    for j in range(P):
        uniform = np.interp(draws[:, j], x[:, 0].numpy(), cdf[:, j])
        assert stats.kstest(uniform, "uniform").pvalue > 1e-3, f"column {j}"


def test_bernoulli_samples_agree_with_the_density():
    likelihood, outputs = build("Bernoulli")
    draws = likelihood.sample(outputs.expand(20_000, -1), stream(1))
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    np.testing.assert_allclose(draws.mean(0), likelihood.mean(outputs), atol=4 * 0.5 / np.sqrt(20_000))


@all_densities
def test_samples_depend_on_the_generator_alone(name):
    likelihood, outputs = build(name)
    before = torch.get_rng_state()
    rows = outputs.expand(50, -1)
    first, again, other = (likelihood.sample(rows, stream(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@all_likelihoods
def test_gradient_reaches_every_parameter_and_output(name):
    likelihood, outputs = build(name)
    outputs.requires_grad_()
    x = torch.rand(20, P, generator=stream(2)).double()
    likelihood.log_prob(outputs.expand(20, -1), x).sum().backward()
    for tensor in (outputs, *likelihood.parameters()):
        assert torch.isfinite(tensor.grad).all()
        assert (tensor.grad != 0).all()


@all_likelihoods
@pytest.mark.parametrize("size", [0.0, 1e4, 1e15])
def test_finite_at_extremes(name, size):
    likelihood, outputs = build(name, torch.float32)
    sign = torch.tensor([1.0, -1.0, 1.0])
    x = sign * size if KINDS[likelihood.kind] is KINDS["continuous"] else (sign > 0).float()
    ends = [outputs, outputs * 0 + size, outputs * 0 - size]
    for end in ends:
        end = end.detach().clone().requires_grad_()
        likelihood.zero_grad()
        value = likelihood.log_prob(end, x)
        value.sum().backward()
        assert torch.isfinite(value).all()
        for tensor in (end, *likelihood.parameters()):
            assert torch.isfinite(tensor.grad).all()
        assert torch.isfinite(likelihood.mean(end)).all()


@all_likelihoods
def test_cells_are_independent_of_one_another(name):
    likelihood, outputs = build(name)
    x = torch.rand(P, generator=stream(5)).double()
    changed = x.clone()
    changed[1] = 1.0 - changed[1]
    same = likelihood.log_prob(outputs, x) == likelihood.log_prob(outputs, changed)
    assert same.tolist() == [True, False, True]


@all_likelihoods
def test_broadcasts_draws_over_rows(name):
    likelihood, _ = build(name)
    outputs = torch.randn(4, 5, likelihood.n_outputs, generator=stream(6)).double()
    x = torch.rand(5, P, generator=stream(7)).double()
    cells = likelihood.log_prob(outputs, x)
    assert cells.shape == (4, 5, P)
    torch.testing.assert_close(cells[2, 3], likelihood.log_prob(outputs[2, 3], x[3]))


@all_likelihoods
def test_start_has_the_mean_of_the_marginals(name):
    mean = torch.tensor([0.1, 0.4, 0.9])
    likelihood = EVERY[name](P)
    start = likelihood.start(mean)
    assert start.shape == (likelihood.n_outputs,)
    torch.testing.assert_close(likelihood.mean(start), mean)


@pytest.mark.parametrize("scale", ["cell", "column", "shared"])
def test_gaussian_starts_at_the_marginals(scale):
    likelihood = Gaussian(P, scale=scale)
    x = torch.linspace(-3.0, 3.0, 7).unsqueeze(1).expand(-1, P)
    started = likelihood.log_prob(likelihood.start(torch.zeros(P)), x)
    np.testing.assert_allclose(started.detach(), stats.norm.logpdf(x), atol=0.02)


@pytest.mark.parametrize("scale", SCALES)
def test_gaussian_is_scipys(scale):
    likelihood, outputs = build(f"Gaussian-{scale}")
    location, log_scale = likelihood.location_and_log_scale(outputs)
    x = torch.linspace(-4.0, 4.0, 9).double().unsqueeze(1)
    expected = stats.norm.logpdf(x, location.detach(), log_scale.exp().detach())
    np.testing.assert_allclose(likelihood.log_prob(outputs, x).detach(), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", SCALES)
def test_student_t_is_scipys(scale):
    likelihood, outputs = build(f"StudentT-{scale}")
    location, log_scale = likelihood.location_and_log_scale(outputs)
    x = torch.linspace(-9.0, 9.0, 9).double().unsqueeze(1)
    df, location, scales = likelihood.df.detach(), location.detach(), log_scale.exp().detach()
    expected = stats.t.logpdf(x, df, location, scales)
    np.testing.assert_allclose(likelihood.log_prob(outputs, x).detach(), expected, rtol=1e-10)


def test_bernoulli_is_scipys_and_on_fractions_the_expected_one():
    likelihood, outputs = build("Bernoulli")
    q = torch.sigmoid(outputs).numpy()
    zero, one = stats.bernoulli.logpmf(0, q), stats.bernoulli.logpmf(1, q)
    for fraction in (0.0, 0.25, 1.0):
        got = likelihood.log_prob(outputs, torch.full((P,), fraction).double())
        np.testing.assert_allclose(got, fraction * one + (1 - fraction) * zero, rtol=1e-12)


@pytest.mark.parametrize("family", [Gaussian, StudentT])
@pytest.mark.parametrize("scale", ["cell", "column", "shared"])
def test_learned_scale_has_a_floor(family, scale):
    likelihood = family(P, scale=scale)
    outputs = torch.zeros(likelihood.n_outputs)
    with torch.no_grad():
        outputs[P:] = -1e3
        if scale != "cell":
            likelihood.log_scale.fill_(-1e3)
    _, log_scale = likelihood.location_and_log_scale(outputs)
    assert (log_scale >= likelihoods.MIN_LOG_STD).all()
    assert torch.isfinite(likelihood.log_prob(outputs, torch.zeros(P))).all()


@pytest.mark.parametrize("family", [Gaussian, StudentT])
@pytest.mark.parametrize("scale", ["cell", "column", "shared"])
@pytest.mark.parametrize("min_scale", [0.05, 0.7, 2.0])
def test_learned_scale_stays_above_the_least_asked_for(family, scale, min_scale):
    likelihood = family(P, scale=scale, min_scale=min_scale)
    for raw in (-1e3, -1.0, 0.0, 3.0):
        outputs = torch.zeros(likelihood.n_outputs)
        with torch.no_grad():
            outputs[P:] = raw
            if scale != "cell":
                likelihood.log_scale.fill_(raw)
        scales = likelihood.location_and_log_scale(outputs)[1].detach().exp()
        assert (scales >= min_scale * (1 - 1e-6)).all()
        if raw == -1e3:
            np.testing.assert_allclose(scales, min_scale, rtol=1e-5)
        if raw == 3.0:
            np.testing.assert_allclose(scales, np.exp(3.0) + min_scale, rtol=1e-5)  # log(1 + e^x) adds the floor


def test_a_fixed_scale_has_no_floor():
    _, log_scale = Gaussian(P, scale=0.3, min_scale=0.7).location_and_log_scale(torch.zeros(P))
    np.testing.assert_allclose(log_scale.exp(), 0.3, rtol=1e-6)


@pytest.mark.parametrize("scale", [0.5, 2])
def test_fixed_scale_is_not_learned_and_is_what_was_asked(scale):
    likelihood = Gaussian(P, scale=scale)
    assert list(likelihood.parameters()) == []
    _, log_scale = likelihood.location_and_log_scale(torch.zeros(P))
    np.testing.assert_allclose(log_scale.exp(), scale, rtol=1e-6)


@pytest.mark.parametrize("family", [Gaussian, StudentT])
@pytest.mark.parametrize("scale", ["row", 0.0, -1.0])
def test_unknown_scale_is_an_error(family, scale):
    with pytest.raises(ValueError, match=r"scale of .* must be 'cell', 'column', 'shared' or a positive number"):
        family(P, scale=scale)


def test_degrees_of_freedom_stay_above_two():
    likelihood = StudentT(P)
    with torch.no_grad():
        likelihood.raw_df.fill_(-1e3)
    assert (likelihood.df >= 2.0).all()


def test_squared_error_is_the_squared_error():
    likelihood, outputs = build("SquaredError")
    x = torch.zeros(P).double()
    torch.testing.assert_close(likelihood.log_prob(outputs, x), -outputs.square())
    with pytest.raises(NotImplementedError, match="sample"):
        likelihood.sample(outputs, stream())
