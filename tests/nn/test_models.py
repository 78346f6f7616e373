"""Composition: blocks of columns, missing cells, the posterior."""

import numpy as np
import pytest
import torch

from skvae.nn.likelihoods import (
    Bernoulli,
    Categorical,
    Gaussian,
    GaussianMixture,
    Ordinal,
    SquaredError,
    StudentT,
    WayBack,
)
from skvae.nn.models import MAX_LOG_STD, MIN_LOG_STD, VAE, Autoencoder, ColumnBlocks
from skvae.nn.networks import MLP, InputEncoding
from skvae.nn.priors import Mixture, StandardNormal

P, K = 5, 2


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def mixture(n_components):
    """A mixture prior; its random start comes from torch's global stream, which is given back."""
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(stream(9).get_state())
        return Mixture(K, n_components=n_components).double()


def mixed_blocks():
    """Three likelihoods, of two columns, two and one."""
    return ColumnBlocks([Gaussian(2), Bernoulli(2), StudentT(1, scale="column")])


def parts(columns, n_code, with_mask=True):
    encoding = InputEncoding(torch.zeros(P), torch.ones(P), clip=True, with_mask=with_mask)
    draws = stream(7)
    sizes = {"hidden_layer_sizes": (6,), "activation": "silu", "generator": draws}
    return {
        "encoding": encoding,
        "encoder": MLP(encoding.n_out, n_code, **sizes),
        "decoder": MLP(K, columns.n_outputs, **sizes),
        "columns": columns,
        "start": columns.start(torch.linspace(0.1, 0.9, P)),
    }


def vae(prior=None):
    return VAE(prior=StandardNormal(K) if prior is None else prior, **parts(mixed_blocks(), 2 * K)).double()


def rows(n=4):
    x = torch.randn(n, P, generator=stream(1)).double()
    x[:, 2:4] = (x[:, 2:4] > 0).double()
    return x


def test_each_block_answers_for_its_own_columns():
    columns, x = mixed_blocks().double(), rows()
    outputs = torch.randn(4, columns.n_outputs, generator=stream(2)).double()
    gaussian, bernoulli, student = columns.likelihoods
    own = outputs[:, :4], outputs[:, 4:6], outputs[:, 6:]
    assert columns.n_outputs == 7
    for got, expected in (
        (columns.log_prob(outputs, x)[:, :2], gaussian.log_prob(own[0], x[:, :2])),
        (columns.log_prob(outputs, x)[:, 2:4], bernoulli.log_prob(own[1], x[:, 2:4])),
        (columns.log_prob(outputs, x)[:, 4:], student.log_prob(own[2], x[:, 4:])),
        (columns.mean(outputs)[:, :2], gaussian.mean(own[0])),
        (columns.mean(outputs)[:, 2:4], bernoulli.mean(own[1])),
        (columns.mean(outputs)[:, 4:], student.mean(own[2])),
    ):
        torch.testing.assert_close(got, expected)


def test_each_block_draws_its_own_columns():
    columns = mixed_blocks()
    draws = columns.sample(torch.zeros(300, columns.n_outputs), stream())
    binary = ((draws == 0.0) | (draws == 1.0)).all(0)
    assert binary.tolist() == [False, False, True, True, False]


def test_blocks_start_at_the_columns_means():
    columns, mean = mixed_blocks(), torch.linspace(0.1, 0.9, P)
    torch.testing.assert_close(columns.mean(columns.start(mean)), mean)


def test_blocks_that_ask_for_quantiles_start_by_those_of_their_columns():
    columns = ColumnBlocks([Bernoulli(2), GaussianMixture(1, n_modes=2), Gaussian(1)])
    mean = torch.tensor([0.2, 0.8, 5.0, -3.0])
    quantiles = torch.linspace(0.0, 1.0, 5).unsqueeze(1) * torch.tensor([0.0, 0.0, 8.0, 1.0])
    start = columns.start(mean, quantiles)
    torch.testing.assert_close(start[2:4], torch.tensor([2.0, 6.0]))  # at a quarter and three quarters
    torch.testing.assert_close(columns.mean(start), torch.tensor([0.2, 0.8, 4.0, -3.0]))


def test_one_block_is_the_likelihood_itself():
    columns = ColumnBlocks([SquaredError(P)])
    outputs, x = torch.randn(2, 4, P, generator=stream(3))
    torch.testing.assert_close(columns.log_prob(outputs, x), -(x - outputs).square())


@pytest.mark.parametrize("filling", [1.0, -7.0, 1e10])
def test_missing_cell_changes_nothing(filling):
    model, x = vae(), rows()
    observed = torch.ones_like(x)
    observed[:, 2] = 0.0
    filled = x.clone()
    x[:, 2], filled[:, 2] = 0.0, filling
    eps = torch.randn(3, 1, K, generator=stream(4)).double()
    for one, other in zip(model.draw(x, observed, eps), model.draw(filled, observed, eps), strict=True):
        assert torch.equal(one, other)


def test_likelihood_is_that_of_the_observed_cells():
    model, x = vae(), rows()
    z = torch.randn(3, 4, K, generator=stream(4)).double()
    observed = (torch.rand(x.shape, generator=stream(5)) < 0.5).double()
    cells = model.columns.log_prob(model.decode(z), x)
    torch.testing.assert_close(model.log_likelihood(x, observed, z), torch.where(observed > 0, cells, 0.0).sum(-1))
    torch.testing.assert_close(model.log_likelihood(x, None, z), cells.sum(-1))


@pytest.mark.parametrize("prior", [StandardNormal(K).double(), mixture(8)], ids=["standard_normal", "mixture"])
def test_posterior_of_an_empty_row_is_the_priors_moments(prior):
    model, x = vae(prior), rows()
    observed = torch.ones_like(x)
    observed[1] = 0.0
    mean, log_std = model.posterior(x, observed)
    prior_mean, prior_std = model.prior.moments()
    torch.testing.assert_close(mean[1], prior_mean)
    torch.testing.assert_close(log_std[1].exp(), prior_std)
    whole_mean, _ = model.posterior(x)
    torch.testing.assert_close(mean[[0, 2, 3]], whole_mean[[0, 2, 3]])


def test_code_of_an_empty_row_of_the_plain_autoencoder_is_zero():
    model = Autoencoder(**parts(mixed_blocks(), K)).double()
    observed = torch.ones(4, P).double()
    observed[1] = 0.0
    code = model.encode(rows(), observed)
    assert (code[1] == 0.0).all()
    assert (code[[0, 2, 3]] != 0.0).all()


def test_encoder_sees_the_mask():
    model, x = vae(), rows()
    x[:, 2] = 0.0  # where a missing cell's filling and an observed value coincide
    observed = torch.ones_like(x)
    observed[:, 2] = 0.0
    assert not torch.allclose(model.posterior(x, observed)[0], model.posterior(x)[0])


def test_draws_are_the_posterior_reparameterised():
    model, x = vae(), rows()
    eps = torch.randn(20_000, 4, K, generator=stream(6)).double()
    draws = model.draw(x, None, eps)
    mean, log_std = model.posterior(x)
    torch.testing.assert_close(draws.z[7], mean + log_std.exp() * eps[7])
    np.testing.assert_allclose(draws.z.std(0).detach(), log_std.exp().detach(), rtol=0.03)
    torch.testing.assert_close(draws.log_likelihood, model.log_likelihood(x, None, draws.z))


def test_log_ratio_is_prior_over_posterior():
    model, x = vae(mixture(8)), rows()
    draws = model.draw(x, None, torch.randn(3, 4, K, generator=stream(6)).double())
    mean, log_std = model.posterior(x)
    log_q = torch.distributions.Normal(mean, log_std.exp()).log_prob(draws.z).sum(-1)
    torch.testing.assert_close(model.log_prior_over_posterior(draws), model.prior.log_prob(draws.z) - log_q)


def test_prior_learns_from_draws_of_an_encoder_that_is_frozen():
    model = vae(mixture(3))
    model.encoder.requires_grad_(False)
    draws = model.draw(rows(), None, torch.randn(2, 4, K, generator=stream(3)).double())
    model.log_prior_over_posterior(draws).sum().backward()
    for name, parameter in model.prior.named_parameters():
        assert (parameter.grad != 0).any(), name


def test_posterior_scale_is_bounded():
    model = vae()
    with torch.no_grad():
        model.encoder.shortcut.bias[K:] = torch.tensor([1e4, -1e4])
    _, log_std = model.posterior(rows())
    assert (log_std[:, 0] == MAX_LOG_STD).all()
    assert (log_std[:, 1] == MIN_LOG_STD).all()


def test_kl_per_component_adds_up_to_the_kl():
    model = vae()
    draws = model.draw(rows(), None, torch.zeros(1, 4, K).double())
    torch.testing.assert_close(model.kl_per_component(*draws[:3]).sum(-1), model.kl(draws))


def test_kl_per_component_of_a_mixture_is_estimated_from_the_draws():
    wide = mixture(1)
    with torch.no_grad():
        wide.means.zero_()  # one standard normal mode: the closed KL of the standard normal must come out
    eps = torch.randn(50_000, 4, K, generator=stream(6)).double()
    draws = vae(wide).draw(rows(), None, eps)
    closed = StandardNormal(K).kl(draws.mean, draws.log_std).detach()
    np.testing.assert_allclose(vae(wide).kl_per_component(*draws[:3]).detach(), closed, rtol=0.02, atol=0.02)
    np.testing.assert_allclose(vae(wide).kl(draws).detach(), closed.sum(-1), rtol=0.02)


# -- codes and gates -------------------------------------------------------------------------------------------------

SHARES = [(0.5, 0.3, 0.2), (0.6, 0.4)]


def gated_blocks():
    """Cells: two values, an ordinal, the parts of both values (3 and 2 codes) and a category."""
    shares = [*SHARES, (0.25, 0.25, 0.25, 0.25)]
    likelihoods = [Gaussian(2), Ordinal(1, frequencies=[(0.2, 0.3, 0.5)]), Categorical(3, frequencies=shares)]
    return ColumnBlocks(likelihoods, gates=[(0, 3), (1, 4)]).double()


def gated_rows():
    return torch.tensor(
        [
            [0.4, -1.0, 2.0, 0.0, 0.0, 3.0],
            [0.4, -1.0, 0.0, 1.0, 0.0, 0.0],
            [9e9, 7.0, 1.0, 2.0, 1.0, 1.0],
            [-2.0, 0.0, 2.0, 0.0, 1.0, 2.0],
        ]
    ).double()


def gated_outputs(n=4):
    return torch.randn(n, gated_blocks().n_outputs, generator=stream(2)).double()


def test_a_value_counts_only_behind_part_0():
    columns, x, outputs = gated_blocks(), gated_rows(), gated_outputs()
    cells = columns.log_prob(outputs, x)
    assert cells.shape == (4, 6)
    gaussian, ordinal, categorical = columns.likelihoods
    own = outputs.split(columns.sizes, dim=-1)
    counts = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]).double()
    torch.testing.assert_close(cells[:, :2], gaussian.log_prob(own[0], x[:, :2]) * counts)
    torch.testing.assert_close(cells[:, 2:3], ordinal.log_prob(own[1], x[:, 2:3]))
    torch.testing.assert_close(cells[:, 3:], categorical.log_prob(own[2], x[:, 3:]))
    assert (cells[2, :2] == 0.0).all()
    np.testing.assert_array_equal(columns.counted(x)[:, :2], counts)
    assert (columns.counted(x)[:, 2:] == 1.0).all()


def test_no_gradient_comes_from_a_value_behind_another_part():
    columns, x = gated_blocks(), gated_rows()[1:2]
    outputs = gated_outputs(1).requires_grad_()
    columns.log_prob(outputs, x).sum().backward()
    of_values = outputs.grad[0, :4].view(2, 2)  # location and log-scale of both values
    assert (of_values[:, 0] == 0.0).all()
    assert (of_values[:, 1] != 0.0).all()
    assert (outputs.grad[0, 4:] != 0.0).all()


def test_draws_behind_the_gates_do_not_depend_on_the_leading_shape():
    columns, x = gated_blocks(), gated_rows()
    outputs = torch.randn(5, 4, columns.n_outputs, generator=stream(2)).double()
    torch.testing.assert_close(columns.log_prob(outputs, x)[3], columns.log_prob(outputs[3], x))


def test_statistics_are_in_the_order_of_the_cells():
    columns, outputs = gated_blocks(), gated_outputs()
    statistics = columns.expected(outputs)
    gaussian, ordinal, categorical = columns.likelihoods
    own = outputs.split(columns.sizes, dim=-1)
    assert statistics.shape == (4, 1 + 1 + 3 + 3 + 2 + 4)
    torch.testing.assert_close(statistics[:, :2], gaussian.mean(own[0]))
    torch.testing.assert_close(statistics[:, 2:5], ordinal.expected(own[1]))
    torch.testing.assert_close(statistics[:, 5:], categorical.expected(own[2]))


def units_of_cells():
    """Six cells, of which the two values are bounded, on scales of their own, and one of them is bent."""
    low, high = torch.full((2, 6), np.inf).double() * torch.tensor([[-1.0], [1.0]])
    low[:2], high[:2] = -0.5, 0.8
    location, scale = torch.tensor([[7.0, 3.0, 0.0, 0.0, 0.0, 0.0], [2.0, 4.0, 1.0, 1.0, 1.0, 1.0]]).double()
    return WayBack(location, scale, low, high, (torch.tanh, None, None, None, None, None))


def test_what_is_expected_of_a_value_counts_by_the_probability_that_its_part_is_0():
    """Against draws of part and value together."""
    columns, outputs, back = gated_blocks(), gated_outputs(), units_of_cells()
    statistics = columns.expectation(outputs, back)
    torch.testing.assert_close(statistics[:, 2:], columns.expected(outputs)[:, 2:])
    drawn = columns.sample(outputs.expand(20_000, -1, -1), stream())
    values = back(drawn) * columns.counted(drawn)
    for value in (0, 1):
        error = values[..., value].std(0) / np.sqrt(20_000)
        assert ((statistics[:, value] - values[..., value].mean(0)).abs() < 4.0 * error).all()
        assert ((statistics[:, value] - back(drawn)[..., value].mean(0)).abs() > 8.0 * error).any()


def test_expectations_of_one_block_without_gates_are_those_of_the_likelihood():
    columns, back = ColumnBlocks([Gaussian(6)]).double(), units_of_cells()
    outputs = torch.randn(3, 4, 12, generator=stream(1)).double()
    torch.testing.assert_close(columns.expectation(outputs, back), columns.likelihoods[0].expectation(outputs, back))


def test_point_of_the_statistics_is_the_mean_of_the_outputs():
    columns, outputs = gated_blocks(), gated_outputs(50)
    statistics = columns.expected(outputs)
    point = columns.point(statistics)
    torch.testing.assert_close(point, columns.mean(outputs))
    torch.testing.assert_close(point[:, :2], statistics[:, :2])
    torch.testing.assert_close(point[:, 2], statistics[:, 2:5].argmax(1).double())
    torch.testing.assert_close(point[:, 3], statistics[:, 5:8].argmax(1).double())
    torch.testing.assert_close(point[:, 5], statistics[:, 10:].argmax(1).double())
    assert len(point[:, 3].unique()) == 3


def test_codes_are_drawn_by_their_probability_each_in_its_cell():
    columns = gated_blocks()
    start = columns.start(torch.zeros(6).double())
    draws = columns.sample(start.expand(8000, -1), stream())
    for cell, shares in ((3, SHARES[0]), (4, SHARES[1]), (5, (0.25,) * 4), (2, (0.2, 0.3, 0.5))):
        frequencies = np.bincount(draws[:, cell].long(), minlength=len(shares)) / 8000
        np.testing.assert_allclose(frequencies, shares, atol=0.03)
    assert columns.is_code.tolist() == [False, False, True, True, True, True]


def test_a_missing_part_hides_nothing_of_other_cells():
    columns, x, outputs = gated_blocks(), gated_rows(), gated_outputs()
    observed = torch.ones_like(x)
    observed[1, [0, 3]] = 0.0
    x[1, [0, 3]] = 0.0  # as missing cells are filled
    cells = columns.log_prob(outputs, x) * observed
    assert (cells[1, [0, 3]] == 0.0).all()
    assert (cells[1, [1, 2, 4, 5]] != 0.0).all()


def test_one_block_of_codes_gives_its_statistics():
    columns = ColumnBlocks([Categorical(2, frequencies=SHARES)])
    outputs = torch.randn(4, 5, generator=stream(2))
    torch.testing.assert_close(columns.expected(outputs), columns.likelihoods[0].expected(outputs))
    torch.testing.assert_close(columns.point(columns.expected(outputs)), columns.mean(outputs))
