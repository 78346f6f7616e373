"""One contract for every likelihood, and each family against SciPy."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import special, stats

from skvae.nn import likelihoods
from skvae.nn.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    Categorical,
    Gaussian,
    GaussianMixture,
    LogNormal,
    NegativeBinomial,
    Ordinal,
    Poisson,
    SmoothGaussian,
    SquaredError,
    StudentT,
    StudentTLogProb,
    StudentTMixture,
    WayBack,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)
from skvae.nn.likelihoods.continuous import GaussianLogProb
from skvae.nn.likelihoods.counts import (
    LOG_DISPERSION,
    LOG_RATE,
    NegativeBinomialLogProb,
    PoissonLogProb,
    log_minus_digamma,
    log_prob_at_rate,
)

P = 3
KINDS = {"continuous", "positive", "binary", "categorical", "ordinal", "count"}
FREQUENCIES = [[0.7, 0.3], [0.2, 0.1, 0.3, 0.25, 0.15], [0.5, 0.1, 0.4]]
UNEVEN = [[1.0], [0.4, 0.6], [1 / 42] * 42, [1e-6, 1.0 - 1e-6 - 1e-9, 1e-9], [1 / 1000] * 1000]
SCALES = ["cell", "column", "shared", 0.5]
CONTINUOUS = {
    f"{family.__name__}-{scale}": partial(family, scale=scale) for family in (Gaussian, StudentT) for scale in SCALES
}
CONTINUOUS |= {
    f"{family.__name__}-{scale}-smooth": partial(family, scale=scale, min_scale=0.7)
    for family in (Gaussian, StudentT)
    for scale in ("cell", "column")
} | {"LogNormal": LogNormal, "SmoothGaussian": SmoothGaussian}
MIXTURES = {
    f"{family.__name__}-{n}": partial(family, n_modes=n)
    for family in (GaussianMixture, StudentTMixture)
    for n in (2, 5)
} | {"StudentTMixture-smooth": partial(StudentTMixture, min_scale=0.7)}
CONTINUOUS |= MIXTURES
LEVELS = {family.__name__: partial(family, frequencies=FREQUENCIES) for family in (Categorical, Ordinal)}
COUNTS = {
    family.__name__: family for family in (Poisson, NegativeBinomial, ZeroInflatedPoisson, ZeroInflatedNegativeBinomial)
}
DISCRETE = {"Bernoulli": Bernoulli} | LEVELS | COUNTS
DENSITIES = CONTINUOUS | DISCRETE
EVERY = DENSITIES | {"SquaredError": SquaredError}

all_continuous = pytest.mark.parametrize("name", CONTINUOUS)
all_levels = pytest.mark.parametrize("name", LEVELS)
all_counts = pytest.mark.parametrize("name", COUNTS)
all_discrete = pytest.mark.parametrize("name", DISCRETE)
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


def cells(likelihood, *shape, seed=0):
    """Values that columns of the likelihood's kind may hold, shape (*shape, P), in float64."""
    u = torch.rand(*shape, P, generator=stream(seed)).double()
    if likelihood.kind in ("categorical", "ordinal"):
        return (u * likelihood.n_levels).floor()
    return (6.0 * u).floor() if likelihood.kind == "count" else u


def support(likelihood):
    """Every value a cell may hold (of counts, as many as matter), (n, 1), and whether the column knows it, (n, P)."""
    n_values = {"binary": 2, "count": 3000}.get(likelihood.kind)
    n_values = likelihood.n_levels if n_values is None else torch.full((P,), n_values)
    values = torch.arange(int(n_values.max())).double().unsqueeze(1)
    return values, values < n_values


def probabilities(likelihood, outputs):
    """The support, and the probability of each value of it, shape (n, P)."""
    values, known = support(likelihood)
    log_prob = likelihood.log_prob(outputs, torch.where(known, values, 0.0)).detach()
    return values, torch.where(known, log_prob.exp(), 0.0)


def grid():
    """Points from -1e9 to 1e9, dense near 0, with trapezoid weights: heavy tails need the reach. Shape (n, 1)."""
    t = np.linspace(-22.0, 22.0, 40_001)
    x = np.sinh(t)
    return torch.tensor(x).unsqueeze(1), torch.tensor(np.cosh(t) * (t[1] - t[0])).unsqueeze(1)


def test_every_named_likelihood_is_under_contract():
    densities = {getattr(factory, "func", factory) for factory in DENSITIES.values()}
    tested = {getattr(factory, "func", factory) for factory in EVERY.values()}
    assert set(LIKELIHOODS.values()) <= densities
    subclasses = {cls for cls in vars(likelihoods).values() if isinstance(cls, type)}
    concrete = {cls for cls in subclasses if issubclass(cls, likelihoods.Likelihood) and "log_prob" in vars(cls)}
    assert concrete - {likelihoods.Likelihood} <= tested


@all_likelihoods
def test_serves_a_known_kind_of_column(name):
    likelihood = EVERY[name](P)
    assert likelihood.kind in KINDS
    assert likelihood.needs_frequencies == (likelihood.kind in ("categorical", "ordinal"))


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_a_named_likelihood_says_its_kind_before_it_knows_the_table(name):
    assert LIKELIHOODS[name](2).kind in KINDS


def test_log_normal_is_the_gaussian_of_another_kind():
    torch.testing.assert_close(
        LogNormal(P).log_prob(torch.ones(6), torch.ones(P)), Gaussian(P).log_prob(torch.ones(6), torch.ones(P))
    )


@all_continuous
def test_density_integrates_to_one(name):
    likelihood, outputs = build(name)
    x, dx = grid()
    mass = (likelihood.log_prob(outputs, x).exp() * dx).sum(0)
    np.testing.assert_allclose(mass.detach(), 1.0, atol=1e-6)


@all_discrete
def test_probabilities_sum_to_one(name):
    _, probability = probabilities(*build(name))
    np.testing.assert_allclose(probability.sum(0), 1.0, rtol=1e-9)


@all_continuous
def test_mean_is_that_of_the_density(name):
    likelihood, outputs = build(name)
    x, dx = grid()
    expected = (x * likelihood.log_prob(outputs, x).exp() * dx).sum(0)
    np.testing.assert_allclose(likelihood.mean(outputs).detach(), expected.detach(), atol=1e-4)


@pytest.mark.parametrize("name", [name for name in DISCRETE if name not in LEVELS])
def test_mean_is_that_of_the_probabilities(name):
    likelihood, outputs = build(name)
    values, probability = probabilities(likelihood, outputs)
    np.testing.assert_allclose(likelihood.mean(outputs), (values * probability).sum(0), rtol=1e-9)


@pytest.mark.parametrize("name", [name for name in EVERY if name not in LEVELS])
def test_what_is_expected_of_a_number_is_its_mean(name):
    likelihood, outputs = build(name)
    assert likelihood.n_statistics == [1] * P
    assert torch.equal(likelihood.expected(outputs), likelihood.mean(outputs))
    assert torch.equal(likelihood.point(outputs[:P]), outputs[:P])


@all_levels
def test_what_is_expected_of_levels_are_their_probabilities(name):
    likelihood, _ = build(name)
    assert likelihood.n_statistics == list(map(len, FREQUENCIES))
    outputs = torch.randn(4, 5, likelihood.n_outputs, generator=stream(6)).double()
    expected = likelihood.expected(outputs).detach()
    assert expected.shape == (4, 5, sum(likelihood.n_statistics))
    for j, part in enumerate(expected.split([len(share) for share in FREQUENCIES], dim=-1)):
        for code in range(part.shape[-1]):
            x = torch.zeros(P).double().index_fill(0, torch.tensor(j), code)
            torch.testing.assert_close(part[..., code], likelihood.log_prob(outputs, x)[..., j].detach().exp())


@all_levels
def test_the_point_is_the_most_probable_level_and_the_mean_is_that_point(name):
    likelihood, _ = build(name)
    tied = torch.tensor([0.5, 0.5, 0.1, 0.3, 0.3, 0.2, 0.1, 0.2, 0.1, 0.7])
    certain = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    point = likelihood.point(torch.stack([tied, certain]).unsqueeze(0))
    assert point.dtype == tied.dtype
    assert point.tolist() == [[[0.0, 1.0, 2.0], [1.0, 4.0, 0.0]]]
    outputs = torch.randn(50, likelihood.n_outputs, generator=stream(6)).double()
    assert torch.equal(likelihood.mean(outputs), likelihood.point(likelihood.expected(outputs)))
    assert likelihood.mean(outputs).unique().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def way_back(low, high, bend=None):
    """Three columns kept within these bounds, on a scale of 2; the second one is bent."""
    low, high = (torch.full((P,), end).double() for end in (low, high))
    return WayBack(torch.full((P,), 5.0).double(), torch.full((P,), 2.0).double(), low, high, (None, bend, None))


def bounded_exp(x):
    return torch.exp(2.0 * x).clamp(0.2, 30.0)


WAYS = {
    "straight": way_back(-np.inf, np.inf),
    "within": way_back(-0.4, 0.7),
    "above": way_back(0.3, np.inf),
    "below": way_back(-np.inf, -0.2),
    "far outside": way_back(7.0, 9.0),
    "wide": way_back(-40.0, 30.0),
    "bent": way_back(-0.4, 0.7, bounded_exp),
}
all_ways = pytest.mark.parametrize("way", WAYS)


@all_ways
@all_continuous
def test_expectation_in_data_units_is_that_of_the_density(name, way):
    likelihood, outputs = build(name)
    x, dx = grid()
    density = likelihood.log_prob(outputs, x).exp().detach() * dx
    expected = (WAYS[way](x.expand(-1, P)) * density).sum(0) / density.sum(0)
    got = likelihood.expectation(outputs, WAYS[way]).detach()
    np.testing.assert_allclose(got, expected, rtol=0.01 if way == "bent" else 0.0, atol=2e-4)


@pytest.mark.parametrize(("low", "high"), [(-np.inf, np.inf), (0.0, 3.0), (2.0, 5.0), (0.0, 2500.0), (4.0, np.inf)])
@pytest.mark.parametrize("name", [name for name in DISCRETE if name not in LEVELS])
def test_expectation_in_data_units_is_that_of_the_probabilities(name, low, high):
    likelihood, outputs = build(name)
    values, probability = probabilities(likelihood, outputs)
    expected = (way_back(low, high)(values.expand(-1, P)) * probability).sum(0)
    np.testing.assert_allclose(likelihood.expectation(outputs, way_back(low, high)).detach(), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("way", [way for way in WAYS if way != "far outside"])  # where hardly a sample comes
@all_likelihoods
def test_expectation_in_data_units_is_the_mean_of_samples(name, way, dtype):
    likelihood, outputs = build(name, dtype)
    back = WayBack(*(part.to(dtype) for part in WAYS[way][:4]), WAYS[way].bends)
    if likelihood.kind == "count":
        back = back._replace(
            low=4.0 * back.low.clamp_min(0.0).ceil(), high=4.0 * back.high.ceil().abs(), bends=(None,) * P
        )
    rows = outputs.expand(2, 2, -1)
    got = likelihood.expectation(rows, back).detach()
    assert got.dtype == dtype
    assert got.shape == (2, 2, sum(likelihood.n_statistics))
    close = {"rtol": 0.0, "atol": 0.0} if name not in MIXTURES else {}  # vectorised sums end in scalar ones
    torch.testing.assert_close(got[0, 0], got[1, 1], **close)
    if name in LEVELS or name == "SquaredError":
        expected = likelihood.expected(outputs) if name in LEVELS else back(outputs)
        assert torch.equal(got[0, 0], expected)
        return
    drawn = back(likelihood.sample(outputs.expand(20_000, -1), stream(1)).detach())
    error = drawn.std(0) / np.sqrt(20_000)
    heavy = name.startswith("StudentT") and not torch.isfinite(back.low + back.high).all()  # hardly a variance
    assert ((got[0, 0] - drawn.mean(0)).abs() <= (8.0 if heavy else 4.5) * error + 0.01).all()


@pytest.mark.parametrize("raw_df", [-12.0, 0.0, 3.0, 200.0, 5000.0])
@pytest.mark.parametrize("end", [0.0, 0.5, 3.0, 30.0, 1000.0])
def test_what_a_bound_takes_from_students_t_is_exact(raw_df, end):
    """Down to two degrees of freedom, against the closed form with SciPy's distribution function."""
    likelihood = StudentT(1, scale=1.0).double()
    likelihood.raw_df.data.fill_(raw_df)
    df = float(likelihood.df.detach())
    t = stats.t(df)
    beyond = t.pdf(end) * (df + end**2) / (df - 1.0) - end * t.sf(end)
    np.testing.assert_allclose(float(likelihood.beyond(torch.tensor([end])).detach()), beyond, atol=1e-4)


@pytest.mark.parametrize("raw_df", [-12.0, 0.0, 200.0, 5000.0])
def test_the_noise_of_students_t_has_its_moments(raw_df):
    likelihood = StudentT(2, scale=1.0).double()
    likelihood.raw_df.data.fill_(raw_df)
    points, weight = likelihood.noise(torch.zeros(1).double())
    t = stats.t(float(likelihood.df[0].detach()))
    np.testing.assert_allclose(weight.sum(0).detach(), 1.0)
    for f in (np.abs, np.tanh, lambda x: np.exp(np.minimum(x, 2.0))):
        x, dx = (part[:, 0].numpy() for part in grid())
        expected = (f(x) * t.pdf(x) * dx).sum()
        np.testing.assert_allclose((f(points.detach().numpy()) * weight.detach().numpy()).sum(0), expected, atol=0.01)


@pytest.mark.parametrize("family", [NegativeBinomial, Poisson])
@pytest.mark.parametrize("log_mean", [-3.0, 1.0, 5.0, 12.0])
def test_the_expectation_of_bounded_counts_is_that_of_scipy(family, log_mean):
    outputs = torch.tensor([log_mean, 0.3]).double()[: family(1).n_outputs]
    mean, r = np.exp(log_mean), np.exp(0.3)
    of_scipy = stats.nbinom(r, r / (r + mean)) if family is NegativeBinomial else stats.poisson(mean)
    low, high = np.floor(0.5 * mean), np.ceil(1.5 * mean)
    k = np.arange(high)
    expected = high - (of_scipy.cdf(k) * (k >= low)).sum()  # E[min(x, high)] and what lies below low
    back = WayBack(*torch.tensor([[0.0], [1.0], [low], [high]]).double(), (None,))
    np.testing.assert_allclose(float(family(1).expectation(outputs, back)), expected, rtol=1e-6)


def test_a_likelihood_of_ones_own_that_offers_its_mean_only_is_taken_at_its_mean():
    class Own(likelihoods.Likelihood):
        def mean(self, outputs):
            return outputs

    class Laplace(likelihoods.LocationScale):
        pass

    x = torch.tensor([[-1.0, 0.1, 2.0]]).double()
    for back in WAYS.values():
        torch.testing.assert_close(Own().expectation(x, back), back(x))
        torch.testing.assert_close(Laplace(P, scale="column").double().expectation(x, back), back(x))


def test_a_smooth_gaussian_has_its_floor_in_training_only():
    likelihood = SmoothGaussian(P, min_scale=0.1)
    with torch.no_grad():
        likelihood.log_scale.copy_(torch.tensor([0.01, 0.1, 0.5]).log())
    trained = likelihood.location_and_log_scale(torch.zeros(P))[1].detach()
    assert likelihood.held.tolist() == [True, False, False]
    likelihood.log_scale.data[1] = np.log(0.02)
    trained = likelihood.location_and_log_scale(torch.zeros(P))[1].detach()
    assert likelihood.held.tolist() == [True, True, False]
    likelihood.settle(torch.tensor([1e-4, 9.0, 1e-4]).double())
    settled = likelihood.location_and_log_scale(torch.zeros(P))[1].detach()
    torch.testing.assert_close(settled, torch.stack([torch.tensor(0.01).log(), trained[1], trained[2]]))
    likelihood.settle(torch.tensor([0.0, np.inf, 1.0]).double())
    assert torch.isfinite(likelihood.fall).all()
    likelihood.unsettle()
    assert torch.equal(likelihood.location_and_log_scale(torch.zeros(P))[1].detach(), trained)


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


@all_discrete
def test_samples_agree_with_the_probabilities(name):
    likelihood, outputs = build(name)
    values, probability = probabilities(likelihood, outputs)
    draws = likelihood.sample(outputs.expand(4, 5000, -1), stream(1)).detach()
    assert draws.shape == (4, 5000, P)
    assert draws.dtype == outputs.dtype
    for j in range(P):
        counts = (draws[..., j].reshape(-1, 1) == values.T).sum(0).numpy()
        assert counts.sum() == 20_000, "a value outside the support"
        often = (20_000 * probability[:, j] >= 5.0).numpy()
        expected, observed = 20_000 * probability[often, j].numpy(), counts[often]
        expected[-1] += 20_000 - expected.sum()  # the values that are too rare for a test of their own
        observed[-1] += 20_000 - observed.sum()
        assert stats.chisquare(observed, expected).pvalue > 1e-3, f"column {j}"


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
    x = cells(likelihood, 20, seed=2)
    likelihood.log_prob(outputs.expand(20, -1), x).sum().backward()
    for tensor in (outputs, *likelihood.parameters()):
        assert torch.isfinite(tensor.grad).all()
        assert (tensor.grad != 0).all()


@all_likelihoods
@pytest.mark.parametrize("size", [0.0, 1e4, 1e15])
def test_finite_at_extremes(name, size):
    likelihood, outputs = build(name, torch.float32)
    sign = torch.tensor([1.0, -1.0, 1.0])
    x = sign * size if likelihood.kind in ("continuous", "positive") else (sign > 0).float()
    x = (sign > 0) * min(size, 1e9) if likelihood.kind == "count" else x
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
        assert torch.isfinite(likelihood.expected(end)).all()


@all_likelihoods
def test_cells_are_independent_of_one_another(name):
    likelihood, outputs = build(name)
    x = cells(likelihood, seed=5)
    changed = x.clone()
    changed[1] = (1.0 - x[1]).abs()
    same = likelihood.log_prob(outputs, x) == likelihood.log_prob(outputs, changed)
    assert same.tolist() == [True, False, True]


@all_likelihoods
def test_broadcasts_draws_over_rows(name):
    likelihood, _ = build(name)
    outputs = torch.randn(4, 5, likelihood.n_outputs, generator=stream(6)).double()
    x = cells(likelihood, 5, seed=7)
    each = likelihood.log_prob(outputs, x)
    assert each.shape == (4, 5, P)
    torch.testing.assert_close(each[2, 3], likelihood.log_prob(outputs[2, 3], x[3]))
    torch.testing.assert_close(likelihood.expected(outputs)[2, 3], likelihood.expected(outputs[2, 3]))


@pytest.mark.parametrize("name", [name for name in EVERY if name not in LEVELS])
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
    with pytest.raises(ValueError, match=r"scale of .* must be 'cell', 'column', 'shared'.* or a positive number"):
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


def uneven(name, frequencies=UNEVEN):
    """A family of levels with columns of 1 to 1000 levels, in float32, at its start values."""
    return {"Categorical": Categorical, "Ordinal": Ordinal}[name](len(frequencies), frequencies=frequencies)


@all_levels
def test_start_has_the_frequencies_of_the_levels(name):
    likelihood = uneven(name)
    start = likelihood.start(torch.zeros(len(UNEVEN)))
    assert start.shape == (likelihood.n_outputs,)
    shares = np.concatenate(UNEVEN)
    np.testing.assert_allclose(likelihood.expected(start).detach(), shares, rtol=1e-4, atol=2e-7)
    x = torch.tensor([0.0, 1.0, 41.0, 2.0, 999.0])
    np.testing.assert_allclose(likelihood.log_prob(start, x).detach().exp(), [1, 0.6, 1 / 42, 1e-9, 1e-3], rtol=1e-4)


@all_levels
def test_without_frequencies_there_are_two_equal_levels_per_column(name):
    likelihood = {"Categorical": Categorical, "Ordinal": Ordinal}[name](P)
    np.testing.assert_allclose(likelihood.expected(likelihood.start(torch.zeros(P))).detach(), np.full(2 * P, 0.5))


@all_levels
@pytest.mark.parametrize("frequencies", [[[0.5, 0.5]], [[0.5, 0.5], []], [[0.5, 0.5], [1.0, 0.0]]])
def test_frequencies_that_do_not_fit_are_an_error(name, frequencies):
    with pytest.raises(ValueError, match="positive numbers for each of 2 columns"):
        LEVELS[name].func(2, frequencies=frequencies)


@all_levels
@pytest.mark.parametrize("size", [0.0, 1.0, 1e2, 1e4, 1e15])
def test_probabilities_of_levels_sum_to_one_at_extremes(name, size):
    likelihood = uneven(name)
    outputs = size * torch.randn(30, likelihood.n_outputs, generator=stream(4))
    parts = likelihood.expected(outputs).detach().split([len(share) for share in UNEVEN], dim=-1)
    for part in parts:
        np.testing.assert_allclose(part.sum(-1), 1.0, atol=1e-4)


@all_levels
@pytest.mark.parametrize("size", [0.0, 1.0, 1e2, 1e15, 1e35])
def test_sampled_codes_are_those_of_a_level(name, size):
    likelihood = uneven(name)
    outputs = size * torch.randn(2, 300, likelihood.n_outputs, generator=stream(4))
    draws = likelihood.sample(outputs, stream(5))
    n_levels = torch.tensor([len(share) for share in UNEVEN])
    assert draws.dtype == outputs.dtype
    assert ((draws >= 0) & (draws < n_levels) & (draws == draws.floor())).all()


@all_levels
def test_the_greatest_uniform_number_draws_the_last_level_and_0_the_first(name, monkeypatch):
    likelihood = uneven(name).double()
    start = likelihood.start(torch.zeros(len(UNEVEN)).double()).expand(2, -1)
    for end, codes in ((0.0, [0, 0, 0, 0, 0]), (1.0, [0, 1, 41, 2, 999])):
        monkeypatch.setattr(
            "skvae.nn.likelihoods.categorical.uniform",
            lambda shape, like, generator, end=end: torch.full(shape, end, dtype=like.dtype).nextafter(
                torch.tensor(0.0, dtype=like.dtype)
            ),
        )
        assert likelihood.sample(start, stream()).tolist() == [codes, codes]


@all_levels
@pytest.mark.parametrize(("u", "code"), [(5e-8, 0.0), (2e-7, 1.0)])
def test_rare_levels_are_drawn_as_rarely_in_the_last_of_many_columns(name, u, code, monkeypatch):
    likelihood = uneven(name, [[1e-7, 1.0 - 1e-7]] * 500)
    monkeypatch.setattr(
        "skvae.nn.likelihoods.categorical.uniform",
        lambda shape, like, generator: torch.full(shape, u, dtype=like.dtype),
    )
    assert (likelihood.sample(likelihood.start(torch.zeros(500)), stream()) == code).all()


@all_levels
def test_columns_of_few_and_many_levels_train_side_by_side(name):
    likelihood = uneven(name)
    outputs = torch.randn(20, likelihood.n_outputs, generator=stream(4)).requires_grad_()
    x = torch.tensor([0.0, 1.0, 41.0, 1.0, 999.0])
    value = likelihood.log_prob(outputs, x)
    value.sum().backward()
    np.testing.assert_allclose(value[:, 0].detach(), 0.0, atol=1e-6)
    assert (value[:, 1:] < 0.0).all()
    for tensor in (outputs, *likelihood.parameters()):
        assert torch.isfinite(tensor.grad).all()


def test_categorical_is_the_softmax():
    likelihood, outputs = build("Categorical")
    x = torch.tensor([1.0, 3.0, 2.0]).double()
    parts = outputs.split([len(share) for share in FREQUENCIES])
    expected = [torch.log_softmax(part, 0)[int(code)] for part, code in zip(parts, x, strict=True)]
    torch.testing.assert_close(likelihood.log_prob(outputs, x), torch.stack(expected))


def test_a_saturated_logit_can_return():
    likelihood = Categorical(1)
    outputs = torch.tensor([1e3, -1e3], requires_grad=True)
    likelihood.log_prob(outputs, torch.ones(1)).sum().backward()
    np.testing.assert_allclose(outputs.grad, [-1.0, 1.0])


def test_ordinal_is_a_logistic_variable_cut_at_the_thresholds():
    likelihood, outputs = build("Ordinal")
    thresholds = likelihood.thresholds.detach()
    location, log_scale = outputs.chunk(2)
    for j, share in enumerate(FREQUENCIES):
        cuts = np.concatenate([[-np.inf], thresholds[j, : len(share) - 1], [np.inf]])
        assert (np.diff(cuts) > 0).all()
        expected = np.diff(stats.logistic.cdf(cuts, location[j], log_scale[j].exp()))
        x = torch.arange(len(share)).double().unsqueeze(1).expand(-1, P).clamp_max(torch.tensor([1.0, 4.0, 2.0]))
        np.testing.assert_allclose(likelihood.log_prob(outputs, x)[:, j].detach().exp(), expected, rtol=1e-9)


@pytest.mark.parametrize("faint", [1e-3, 1e-9, 1e-17, 1e-30, 1e-300])
@pytest.mark.parametrize("place", range(4))
def test_a_level_of_hardly_any_weight_is_finite(faint, place):
    share = [0.5, 0.3, 0.2]
    share.insert(place, faint)
    for cls in (Ordinal, Categorical):
        likelihood = cls(1, frequencies=[share])
        start = likelihood.start(torch.zeros(1)).requires_grad_()
        log_prob = likelihood.log_prob(start, torch.arange(4.0).unsqueeze(1))
        log_prob.sum().backward()
        assert torch.isfinite(log_prob).all()
        assert torch.isfinite(start.grad).all()
        assert all(torch.isfinite(parameter.grad).all() for parameter in likelihood.parameters())
        others = [i for i in range(4) if i != place]
        np.testing.assert_allclose(log_prob.exp().detach()[others, 0], [0.5, 0.3, 0.2], atol=2e-3)


def test_thresholds_hold_shares_that_a_sum_would_swallow():
    gaps = Ordinal(1, frequencies=[[0.5, 1e-9, 0.5 - 1e-9]]).raw_thresholds.detach()[1].exp()
    assert float(gaps) == pytest.approx(4e-9, rel=1e-5)  # ds / (s (1 - s))


def test_ordinal_orders_its_levels_by_the_location():
    likelihood = Ordinal(1, frequencies=[[0.25] * 4])
    locations = torch.tensor([-50.0, -0.6, 0.6, 50.0]).unsqueeze(1)
    assert likelihood.mean(torch.cat([locations, locations * 0 - 3.0], dim=1)).squeeze().tolist() == [0, 1, 2, 3]


def counts_up_to_a_billion(dtype):
    return torch.tensor([0, 1, 2, 7, 15, 16, 17, 100, 1e4, 1e6, 1e9], dtype=dtype).unsqueeze(1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-4)])
def test_poisson_is_scipys(dtype, tolerance):
    log_rate = torch.tensor([-3.0, 0.0, 2.0, 9.0, 20.7], dtype=dtype)
    x = counts_up_to_a_billion(dtype)
    expected = stats.poisson.logpmf(x.double(), log_rate.double().exp())
    np.testing.assert_allclose(Poisson(5).log_prob(log_rate, x), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 2e-4)])
@pytest.mark.parametrize("log_dispersion", [-5.0, 0.0, 2.7, 2.8, 5.0, 12.0])
def test_negative_binomial_is_scipys(dtype, tolerance, log_dispersion):
    log_mean = torch.tensor([-3.0, 0.0, 2.0, 9.0, 20.7], dtype=dtype)
    x = counts_up_to_a_billion(dtype)
    outputs = torch.cat([log_mean, torch.full_like(log_mean, log_dispersion)])
    r = outputs[5:].double().exp()
    expected = stats.nbinom.logpmf(x.double(), r, r / (r + log_mean.double().exp()))
    np.testing.assert_allclose(NegativeBinomial(5).log_prob(outputs, x), expected, rtol=tolerance, atol=tolerance)


def test_negative_binomial_has_the_variance_that_is_told():
    likelihood, outputs = build("NegativeBinomial")
    values, probability = probabilities(likelihood, outputs)
    mean, r = outputs.exp().chunk(2)
    variance = ((values - mean).square() * probability).sum(0)
    torch.testing.assert_close(variance, mean + mean.square() / r)


@pytest.mark.parametrize("name", ["ZeroInflatedPoisson", "ZeroInflatedNegativeBinomial"])
def test_zero_inflation_is_a_mixture_with_zero(name):
    likelihood, outputs = build(name)
    x = torch.arange(6).double().unsqueeze(1)
    plain = likelihood.counts.log_prob(outputs[:-P], x).exp()
    share = torch.sigmoid(outputs[-P:])
    torch.testing.assert_close(likelihood.log_prob(outputs, x).exp(), share * (x == 0) + (1.0 - share) * plain)


@all_counts
def test_counts_stay_finite_beyond_the_bounds(name):
    likelihood = COUNTS[name](P)
    for size in (-1e15, -30.0, 30.0, 1e15):
        outputs = torch.full((10, likelihood.n_outputs), size)
        draws = likelihood.sample(outputs, stream())
        assert (torch.isfinite(draws) & (draws >= 0)).all()
    extremes = likelihood.mean(torch.tensor([-1e15, 0.0, 1e15]).repeat(likelihood.n_outputs // P))
    assert (extremes >= 0).all()
    assert extremes[-1] <= np.exp(LOG_RATE[1]) * (1 + 1e-6)


def test_a_rate_beyond_its_bound_can_return():
    outputs = torch.tensor([1e3, -1e3], requires_grad=True)
    Poisson(2).log_prob(outputs, torch.tensor([3.0, 3.0])).sum().backward()
    assert outputs.grad[0] < -1e10
    np.testing.assert_allclose(outputs.grad[1], 3.0)


def test_helpers_of_the_counts_are_continuous_where_the_series_begins():
    y = np.array([0.5, 3.0, 15.999999, 16.0, 20.0, 1e3, 1e6])
    at_rate = special.xlogy(y, y) - y - special.gammaln(y + 1.0)
    np.testing.assert_allclose(log_prob_at_rate(torch.tensor(y)), at_rate, rtol=1e-8)
    np.testing.assert_allclose(log_minus_digamma(torch.tensor(y)), np.log(y) - special.digamma(y), rtol=1e-7)
    near = torch.tensor([16.0 - 1e-9, 16.0 + 1e-9]).double()
    for helper in (log_minus_digamma, log_prob_at_rate):
        low, high = helper(near).tolist()
        np.testing.assert_allclose(low, high, rtol=1e-9)


def draw(*shape, seed):
    return torch.randn(*shape, generator=stream(seed)).double().requires_grad_()


def test_gradients_in_closed_form_are_those_of_the_values():
    x = torch.tensor([[0.0, 1.0, 3.0], [20.0, 0.0, 150.0]]).double()
    location, other, wide = draw(2, 2, 3, seed=1), draw(2, 3, seed=2), draw(3, seed=3)
    assert torch.autograd.gradcheck(partial(StudentTLogProb.apply, x), (location, other, wide.exp().detach() + 2.0))
    for log_scale in (other, wide):
        assert torch.autograd.gradcheck(partial(GaussianLogProb.apply, x), (location, log_scale))
    assert torch.autograd.gradcheck(partial(PoissonLogProb.apply, x), (location,))
    for shift in (-2.0, 0.0, 3.0, 6.0):
        assert torch.autograd.gradcheck(
            lambda mean, r, shift=shift: NegativeBinomialLogProb.apply(x, mean, r + shift), (location, wide)
        )


@pytest.mark.parametrize("name", LEVELS | COUNTS)
def test_gradients_are_those_of_the_values(name):
    likelihood, outputs = build(name)
    x = cells(likelihood, 4, seed=3)
    assert torch.autograd.gradcheck(lambda o: likelihood.log_prob(o, x), (outputs.requires_grad_(),))
    for parameter in likelihood.parameters():
        assert torch.autograd.gradcheck(lambda _: likelihood.log_prob(outputs.detach(), x), (parameter,))


@pytest.mark.parametrize("log_dispersion", LOG_DISPERSION)
def test_the_dispersion_has_a_quiet_gradient_at_its_bounds(log_dispersion):
    outputs = torch.tensor([3.0, log_dispersion], requires_grad=True)
    precise = outputs.detach().double().requires_grad_()
    x = torch.tensor([[0.0], [20.0], [400.0]])
    for o in (outputs, precise):
        NegativeBinomial(1).log_prob(o, x.to(o)).sum().backward()
    np.testing.assert_allclose(outputs.grad, precise.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MIXTURES)
def test_a_mixture_is_the_sum_of_its_modes(name):
    likelihood, outputs = build(name)
    location, raw, logit = outputs.view(3, likelihood.n_modes, P)
    scale = likelihoods.bounded_below(raw, likelihood.mode.floor).exp()
    mode = stats.norm() if name.startswith("Gaussian") else stats.t(likelihood.mode.df.detach().numpy())
    weight = special.softmax(logit.numpy(), 0)
    x = np.linspace(-9.0, 9.0, 9)[:, np.newaxis, np.newaxis]
    density = (weight / scale.numpy() * mode.pdf((x - location.numpy()) / scale.numpy())).sum(1)
    np.testing.assert_allclose(likelihood.log_prob(outputs, torch.tensor(x[:, 0])).detach().exp(), density, rtol=1e-10)


@pytest.mark.parametrize("name", MIXTURES)
def test_gradients_of_a_mixture_are_those_autograd_finds(name):
    likelihood, _ = build(name)
    rows = draw(2, 4, likelihood.n_outputs, seed=4)
    x = 4.0 * draw(4, P, seed=5).detach()
    assert torch.autograd.gradcheck(lambda o: likelihood.log_prob(o, x), (rows,))
    for parameter in likelihood.parameters():
        assert torch.autograd.gradcheck(lambda _: likelihood.log_prob(rows.detach(), x), (parameter,))


@pytest.mark.parametrize(("family", "single"), [(GaussianMixture, Gaussian), (StudentTMixture, StudentT)])
def test_one_mode_is_the_family_itself(family, single):
    one, plain = family(P, n_modes=1).double(), single(P).double()
    outputs, x = draw(4, one.n_outputs, seed=1), draw(4, P, seed=2).detach()
    torch.testing.assert_close(one.log_prob(outputs, x), plain.log_prob(outputs[:, : 2 * P], x))
    torch.testing.assert_close(one.mean(outputs), plain.mean(outputs[:, : 2 * P]))


@pytest.mark.parametrize("family", [GaussianMixture, StudentTMixture])
def test_modes_start_in_the_middles_of_equal_shares_of_the_column(family):
    quantiles = torch.tensor([[0.0, 0.0, -9.0], [3.0, 0.0, -9.0], [6.0, 0.0, 5.0], [9.0, 0.0, 5.0]])
    likelihood = family(P, n_modes=3)
    location, log_scale, logit = likelihood.modes(likelihood.start_at(torch.zeros(P), quantiles))
    torch.testing.assert_close(location, torch.tensor([[1.5, 0.0, -9.0], [4.5, 0.0, -2.0], [7.5, 0.0, 5.0]]))
    torch.testing.assert_close(log_scale.exp(), torch.full((3, P), 1 / 3), rtol=2e-3, atol=0.0)
    assert (logit == 0.0).all()


@pytest.mark.parametrize("n_modes", [0, -1, 2.5, "three", None])
def test_a_number_of_modes_that_is_none_is_an_error(n_modes):
    with pytest.raises(ValueError, match="n_modes of StudentTMixture must be a positive integer or 'auto'"):
        StudentTMixture(P, n_modes=n_modes)


@pytest.mark.parametrize("family", [GaussianMixture, StudentTMixture])
@pytest.mark.parametrize("raw", [100.0, 1e4])
def test_a_mode_of_no_weight_and_any_width_changes_nothing(family, raw):
    likelihood = family(P, n_modes=2)
    location, width, logit = torch.zeros(2, P), torch.zeros(2, P), torch.zeros(2, P)
    width[1], logit[1] = raw, -1e4
    outputs = torch.cat([location.flatten(), width.flatten(), logit.flatten()])
    back = WayBack(torch.zeros(P), torch.ones(P), torch.full((P,), -1.0), torch.ones(P), (None,) * P)
    with torch.no_grad():
        torch.testing.assert_close(likelihood.expectation(outputs, back), torch.zeros(P), atol=1e-5, rtol=0.0)
        assert torch.isfinite(likelihood.sample(outputs.expand(100, -1), stream())).all()


@pytest.mark.parametrize("family", [GaussianMixture, StudentTMixture])
def test_a_value_beyond_all_modes_is_minus_infinity_and_no_nan(family):
    likelihood = family(1, n_modes=2, min_scale=1e-6)
    outputs = torch.tensor([0.0, 0.0, -50.0, -50.0, 0.0, 0.0], requires_grad=True)
    value = likelihood.log_prob(outputs, torch.tensor([1e15]))
    value.sum().backward()
    assert not torch.isnan(value).any()
    assert float(value.detach()) < -30.0


@pytest.mark.parametrize("family", [GaussianMixture, StudentTMixture])
def test_a_floor_that_is_none_is_an_error_that_names_the_mixture(family):
    with pytest.raises(ValueError, match=f"min_scale of {family.__name__} must be a positive number"):
        family(P, min_scale=-1.0)


def test_the_greatest_uniform_number_draws_no_mode_without_weight(monkeypatch):
    def greatest(shape, like, generator):
        return torch.full(shape, 1.0 - 2.0**-24, dtype=like.dtype)

    monkeypatch.setattr("skvae.nn.likelihoods.mixtures.uniform", greatest)
    likelihood = GaussianMixture(1, n_modes=6)
    logits = torch.cat([torch.randn(2000, 5, generator=stream()), torch.full((2000, 1), -1e4)], dim=1)
    location = torch.cat([torch.zeros(2000, 5), torch.full((2000, 1), 1e6)], dim=1)
    outputs = torch.cat([location, torch.zeros(2000, 6), logits], dim=1)
    assert (likelihood.sample(outputs, stream()) < 1e3).all()


def test_a_mode_of_no_weight_is_never_drawn():
    likelihood = GaussianMixture(1, n_modes=3)
    outputs = torch.tensor([-9.0, 0.0, 9.0, -3.0, -3.0, -3.0, 0.0, -1e3, 1.0])
    drawn = likelihood.sample(outputs.expand(20_000, -1), stream())
    assert (drawn.abs() > 5.0).all()
    np.testing.assert_allclose((drawn > 0).double().mean(), 1 / (1 + np.exp(-1.0)), atol=0.01)


def test_the_floor_of_the_scale_is_a_constant_of_its_module(monkeypatch):
    monkeypatch.setattr("skvae.nn.likelihoods.continuous.MIN_LOG_STD", -1.0)
    _, log_scale = Gaussian(P).location_and_log_scale(torch.full((2 * P,), -1e3))
    np.testing.assert_allclose(log_scale, -1.0)


def test_a_cell_that_is_no_number_has_no_expectation_beyond_and_no_error():
    beyond = StudentT(2).beyond(torch.tensor([[torch.nan, 0.5]]))
    assert torch.isfinite(beyond).all()


@pytest.mark.parametrize("n_modes", [True, 0, 1.5, "many"])
def test_a_number_of_modes_is_a_positive_integer(n_modes):
    with pytest.raises(ValueError, match="n_modes of StudentTMixture must be a positive integer or 'auto'"):
        StudentTMixture(2, n_modes=n_modes)
