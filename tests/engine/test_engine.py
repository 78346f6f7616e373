"""The engine: NumPy in, NumPy out, in the user's order of components."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skvae._engine.batches import Rows
from skvae._engine.bounds import CORRUPTIONS, ReconstructionBound, VariationalBound
from skvae._engine.build import Kinds, ModelSpec, build_autoencoder, build_vae
from skvae._engine.engine import AutoencoderEngine
from skvae._engine.pareto import pareto_k, trusted_below
from skvae._engine.scoring import weighed
from skvae._engine.training import Plan
from skvae._engine.vae import VAEEngine
from skvae._table.cells import Units
from skvae._table.kinds import Continuous
from skvae.nn.likelihoods import Gaussian, SmoothGaussian, StudentT
from skvae.nn.objectives import Bound

P, K = 4, 3


def unbounded(n_cells):
    """Data units that are the encoded ones."""
    return Units(*np.array([[0.0], [1.0], [-np.inf], [np.inf]]).repeat(n_cells, 1), (None,) * n_cells)


FREE = unbounded(P)


def spec(**options):
    defaults = {
        "centre": np.zeros(P),
        "width": np.ones(P),
        "mean": np.zeros(P),
        "blocks": (("gaussian", P),),
        "n_components": K,
        "hidden_layer_sizes": (8,),
        "activation": "tanh",
        "with_mask": True,
        "seed": 0,
        "prior": "standard_normal",
    }
    return ModelSpec(**(defaults | options))


def engine(**options):
    return VAEEngine(spec(**options), "cpu")


def table(n=40, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)) @ rng.normal(size=(2, P)) + 0.3 * rng.normal(size=(n, P))


def train(one, x, n_epochs=2, weight=None, **options):
    plan = Plan(batch_size=16, max_iter=n_epochs, learning_rate_init=0.01, learning_rate="constant", alpha=0.0)
    records = list(one.train(x, weight, VariationalBound("elbo", 2, 0.0), plan, **options))
    one.keep()
    return records


def holed(x):
    x = x.copy()
    x[::3, 1] = np.nan
    x[5] = np.nan
    return x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_answers_in_the_precision_of_what_it_is_asked(dtype):
    one, x = engine(), table().astype(dtype)
    codes = one.encode(x)
    assert codes.shape == (40, K)
    assert codes.dtype == dtype
    assert one.decode(codes, FREE).dtype == dtype
    assert one.decode(codes, FREE).shape == x.shape
    assert all(part.dtype == dtype for part in one.posterior(x))
    assert one.log_likelihood(x, 4).dtype == np.float64


def test_precisions_agree_also_after_training():
    one, x = engine(), table()
    one.encode(x)  # makes the float64 copy, which training must renew
    train(one, x)
    np.testing.assert_allclose(one.encode(x), one.encode(x.astype(np.float32)), atol=1e-5)


def test_codes_pass_through_order_and_sign():
    one, x = engine(), table()
    codes, decoded = one.encode(x), one.decode(one.encode(x), FREE)
    mean, std = one.posterior(x)
    scores = one.log_likelihood(x, 8)
    one.order, one.sign = np.array([2, 0, 1]), np.array([1.0, -1.0, -1.0])
    np.testing.assert_array_equal(one.encode(x), codes[:, [2, 0, 1]] * [1, -1, -1])
    np.testing.assert_allclose(one.decode(one.encode(x), FREE), decoded, rtol=1e-12)
    np.testing.assert_array_equal(one.posterior(x)[0], mean[:, [2, 0, 1]] * [1, -1, -1])
    np.testing.assert_array_equal(one.posterior(x)[1], std[:, [2, 0, 1]])
    np.testing.assert_array_equal(one.log_likelihood(x, 8), scores)


def test_align_puts_the_most_informative_first_and_fixes_the_sign():
    one, x = engine(), table()
    before = one.encode(x)
    one.align(x, np.array([0.1, 3.0, 1.0]))
    assert one.order.tolist() == [1, 2, 0]
    after = one.encode(x)
    for j, old in enumerate([1, 2, 0]):
        np.testing.assert_allclose(np.abs(after[:, j]), np.abs(before[:, old]))
        correlations = np.corrcoef(after[:, j], x.T)[0, 1:]
        assert correlations[np.abs(correlations).argmax()] > 0


def test_score_depends_on_nothing_but_the_row():
    one, x = engine(), holed(table())
    scores = one.log_likelihood(x, 16)
    np.testing.assert_allclose(np.concatenate([one.log_likelihood(row[None], 16) for row in x]), scores, rtol=1e-10)
    np.testing.assert_array_equal(one.log_likelihood(x, 16), scores)


@pytest.mark.parametrize("prior", ["standard_normal", "mixture"])
def test_row_without_observed_cells_scores_zero(prior):
    scores = engine(prior=prior).log_likelihood(holed(table()), 16)
    assert scores[5] == 0.0
    assert (scores[:5] != 0.0).all()


def test_score_is_the_importance_weighted_bound():
    one, x = engine(), table()
    train(one, x, 30)
    many, more = (one.log_likelihood(x, n).mean() for n in (64, 4096))
    assert many == pytest.approx(more, abs=0.1)
    elbo = one.mean_bound(x, None, VariationalBound("elbo", 256, 0.0))
    assert elbo < more


def test_score_of_a_linear_model_is_an_integral_over_the_prior():
    one, x = engine(hidden_layer_sizes=(), n_components=2, with_mask=False), table()
    train(one, x, 60)
    z = np.random.default_rng(0).normal(size=(100_000, 2))
    model = one.model.double()
    with torch.inference_mode():
        cells = model.columns.log_prob(model.decode(torch.tensor(z)).unsqueeze(1), torch.tensor(x[:5]))
        expected = torch.logsumexp(cells.sum(-1), 0) - np.log(len(z))
    np.testing.assert_allclose(one.log_likelihood(x[:5], 4096), expected, atol=0.1)


def test_kl_per_component_is_in_the_users_order():
    one, x = engine(), table()
    kl = one.kl_per_component(x, None)
    one.align(x, kl)
    np.testing.assert_allclose(one.kl_per_component(x, None), np.sort(kl)[::-1])


def test_kl_per_component_counts_weights():
    one, x = engine(), table()
    kl = one.kl_per_component(x[:10], None)
    weight = np.r_[np.full(10, 2.0), np.zeros(30)]
    np.testing.assert_allclose(one.kl_per_component(x, weight), kl)


def test_marginals_are_independent_standard_normals_at_the_start():
    one, x = engine(), table()
    x = (x - x.mean(0)) / x.std(0)
    assert one.marginal_log_likelihood(x, None) == pytest.approx(-0.5 * P * (np.log(2 * np.pi) + 1.0), abs=0.02)


def test_training_raises_the_bound_and_keep_takes_the_average():
    one, x = engine(), table()
    before = one.encode(x)
    start = one.mean_bound(x, None, VariationalBound("elbo", 8, 0.0))
    train(one, x, 30)
    assert one.mean_bound(x, None, VariationalBound("elbo", 8, 0.0)) > start + 0.5
    assert not np.allclose(one.encode(x), before)
    kept, average = one.model.state_dict(), one._optimiser.average.state_dict()
    assert all(torch.equal(kept[name], average[name]) for name in kept)


def test_until_keep_the_model_is_as_it_was():
    one, x = engine(), table()
    before = one.encode(x)
    plan = Plan(batch_size=16, max_iter=2, learning_rate_init=0.01, learning_rate="constant", alpha=0.0)
    records = list(one.train(x, None, VariationalBound("iwae", 2, 0.0), plan))
    assert len(records) == 2
    np.testing.assert_array_equal(one.encode(x), before)


def test_same_seed_same_model_and_the_global_streams_untouched():
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    one, again, other = engine(prior="mixture"), engine(prior="mixture"), engine(prior="mixture", seed=1)
    for each in (one, again, other):
        train(each, holed(table()))
        each.log_likelihood(table(), 4)
        each.sample(each.sample_latent(5, 0, aggregated=False), 0)
    x = table()
    np.testing.assert_array_equal(one.encode(x), again.encode(x))
    assert not np.allclose(one.encode(x), other.encode(x))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_mean_bound_counts_weights():
    one, x = engine(), table()

    def first_column(model, rows, noise, beta):
        return Bound(rows.x[:, 0], rows.x[:, 0], rows.x[:, 0])

    weight = np.r_[np.full(10, 3.0), np.zeros(30)]
    assert one.mean_bound(x, weight, first_column) == pytest.approx(x[:10, 0].mean(), rel=1e-5)
    assert one.mean_bound(x, None, first_column) == pytest.approx(x[:, 0].mean(), rel=1e-5)


def test_state_is_plain_numpy_and_restores_everything():
    one, x = engine(prior="mixture"), table()
    train(one, x)
    one.align(x, one.kl_per_component(x, None))
    state = one.state()
    assert all(type(value) is np.ndarray for part in ("weights", "optimiser") for value in state[part].values())
    twin = VAEEngine.from_state(state, "cpu")
    np.testing.assert_array_equal(twin.encode(x), one.encode(x))
    np.testing.assert_array_equal(twin.log_likelihood(x, 8), one.log_likelihood(x, 8))
    for each in (one, twin):
        train(each, x, resume=True)
    np.testing.assert_array_equal(twin.encode(x), one.encode(x))


def test_state_may_lie_in_read_only_memory():
    one = engine()
    train(one, table())
    state = one.state()
    for part in ("weights", "optimiser"):
        for value in state[part].values():
            value.setflags(write=False)
    twin = VAEEngine.from_state(state, "cpu")
    train(twin, table(), resume=True)
    np.testing.assert_array_equal(
        state["weights"]["encoder.shortcut.bias"], one.state()["weights"]["encoder.shortcut.bias"]
    )


def test_samples_follow_the_seed():
    one = engine()
    z = one.sample_latent(200, 1, aggregated=False)
    assert z.shape == (200, K)
    np.testing.assert_array_equal(z, one.sample_latent(200, 1, aggregated=False))
    assert not np.array_equal(z, one.sample_latent(200, 2, aggregated=False))
    np.testing.assert_array_equal(one.sample(z, 1), one.sample(z, 1))
    assert not np.array_equal(one.sample(z, 1), one.sample(z, 2))


def test_sample_scatters_around_the_decoders_mean():
    one = engine(blocks=(("gaussian", P),))
    z = np.tile(one.sample_latent(1, 1, aggregated=False), (20_000, 1))
    draws = one.sample(z, 3)
    np.testing.assert_allclose(draws.mean(0), one.decode(z[:1], FREE)[0], atol=6 * draws.std(0).max() / np.sqrt(20_000))
    assert (draws.std(0) > 0.1).all()


@pytest.mark.parametrize("column", [0, 2])
def test_column_at_fault_is_the_one_that_fits_worst(column):
    one, x = engine(), table()
    plan = Plan(batch_size=16, max_iter=1, learning_rate_init=0.01, learning_rate="constant", alpha=0.0)
    x[:, column] *= 1e6
    list(one.train(x, None, VariationalBound("elbo", 1, 0.0), plan))
    assert one.column_at_fault(x) == column


def test_denoising_differs_from_plain_training_and_scores_the_clean_row():
    x = table()
    plain, denoising = (AutoencoderEngine(spec(prior=None, blocks=(("squared_error", P),)), "cpu") for _ in "ab")
    plan = Plan(batch_size=16, max_iter=2, learning_rate_init=0.01, learning_rate="constant", alpha=0.0)
    for one, corruption in ((plain, None), (denoising, "masking")):
        list(one.train(x, None, ReconstructionBound(corruption, 0.5), plan))
        one.keep()
        errors = ((x - one.decode(one.encode(x), FREE)) ** 2).sum(1)
        np.testing.assert_allclose(one.score(x), -errors, rtol=1e-10)
    assert not np.allclose(plain.encode(x), denoising.encode(x))


# -- build -----------------------------------------------------------------------------------------------------------


def test_start_values_follow_the_seed_of_the_spec():
    same = [build_vae(spec(prior="mixture", seed=seed)).state_dict() for seed in (4, 4, 5)]
    assert all(torch.equal(same[0][name], same[1][name]) for name in same[0])
    assert not torch.equal(same[0]["prior.means"], same[2]["prior.means"])


def test_a_factory_draws_from_the_seeded_stream():
    def factory(n_in, n_out):
        return torch.nn.Linear(n_in, n_out)

    before = torch.get_rng_state()
    one, again = (build_autoencoder(spec(prior=None, encoder=factory)) for _ in range(2))
    assert torch.equal(one.encoder.weight, again.encoder.weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_factories_are_checked():
    with pytest.raises(TypeError, match=r"network factory must return a torch.nn.Module. Got int"):
        build_vae(spec(encoder=lambda n_in, n_out: 3))
    with pytest.raises(ValueError, match=r"network factory called with \(3, 8\) must map"):
        build_vae(spec(decoder=lambda n_in, n_out: torch.nn.Identity()))
    with pytest.raises(TypeError, match="likelihood factory must return"):
        build_vae(spec(blocks=((lambda n_columns: 3, P),)))
    with pytest.raises(TypeError, match="prior factory must return"):
        build_vae(spec(prior=lambda n_latent: 3))
    with pytest.raises(ValueError, match="'likelihood' parameter must be 'auto', one of"):
        Kinds("likelihood").of("cauchy")
    with pytest.raises(TypeError, match=r"'prior' parameter takes a factory that is called with \(3\).*failed"):
        build_vae(spec(prior=lambda: 3))
    with pytest.raises(TypeError, match=r"'likelihood' parameter takes a factory that is called with \(4\).*failed"):
        build_vae(spec(blocks=((lambda: 3, P),)))


def test_a_likelihood_of_codes_says_how_many_statistics_it_gives():
    with pytest.raises(ValueError, match=r"n_statistics must be one for each number and each level.*\[3\].*\[1\]"):
        kinds_engine(blocks=(("poisson", 1), (Forgetful, 1), ("gaussian", 1), ("ordinal", 1)))


class Forgetful(Gaussian):
    """Serves codes, and does not say how many."""

    kind = "categorical"

    def __init__(self, n_columns, frequencies=None):
        super().__init__(n_columns)


def test_what_an_encoder_does_not_see_is_an_error(monkeypatch):
    monkeypatch.setattr(Continuous, "seen_as", "circle")
    with pytest.raises(ValueError, match=r"A kind's seen_as must be one of .*'log1p'.* Got \['circle'\] instead"):
        engine()


def test_kinds_of_columns_are_those_their_likelihoods_serve():
    kinds = Kinds("likelihood")
    asked = ["gaussian", "bernoulli", StudentT, partial(partial(Gaussian), scale="column"), lambda n: Gaussian(n)]
    assert [kinds.of(one) for one in asked] == ["continuous", "binary", "continuous", "continuous", "continuous"]


# -- the aggregated prior --------------------------------------------------------------------------------------------


def aggregated(x, n_epochs=3):
    one = engine(prior="aggregated")
    train(one, x, n_epochs)
    return one


def test_settled_prior_is_made_of_the_rows_posteriors():
    x = table()
    one = aggregated(x)
    unsettled = one.log_likelihood(x, 8)  # makes the float64 copy, which settling must renew
    one.settle(x, None, keep_codes=False)
    mean, std = one.posterior(x.astype(np.float32))
    prior = one.model.prior
    np.testing.assert_allclose(prior.means, mean, atol=1e-6)
    np.testing.assert_allclose(prior.log_stds.exp(), std, atol=1e-6)
    assert not np.allclose(one.log_likelihood(x, 8), unsettled)


def test_prior_settles_on_a_bounded_number_of_rows_spread_over_all(monkeypatch):
    monkeypatch.setattr("skvae._engine.vae.EXEMPLARS", 10)
    x = table(95)
    one = aggregated(x)
    monkeypatch.setattr("skvae._engine.vae.evenly", lambda rows, most: slice(None, None, -(-len(rows) // most)))
    one.settle(x, None, keep_codes=False)
    assert one.model.prior.n_modes == 10
    np.testing.assert_allclose(one.model.prior.means, one.posterior(x[::10].astype(np.float32))[0], atol=1e-6)


@pytest.mark.parametrize("resume", [True, False])
def test_training_goes_on_with_the_prior_that_was_trained(resume):
    x = table()
    one, twin = aggregated(x), aggregated(x)
    one.settle(x, None, keep_codes=False)
    for each in (one, twin):
        train(each, x, resume=resume)
    np.testing.assert_array_equal(one.encode(x), twin.encode(x))
    assert not one.model.prior.settled


def test_state_restores_a_settled_prior():
    x = table()
    one = aggregated(x)
    one.settle(x, None, keep_codes=False)
    twin = VAEEngine.from_state(one.state(), "cpu")
    np.testing.assert_array_equal(twin.log_likelihood(x, 8), one.log_likelihood(x, 8))
    np.testing.assert_array_equal(twin.sample_latent(5, 0, aggregated=False), one.sample_latent(5, 0, aggregated=False))
    for each in (one, twin):
        train(each, x, resume=True)
    np.testing.assert_array_equal(twin.encode(x), one.encode(x))


# -- reasons ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", ["standard_normal", "mixture", "aggregated"])
@pytest.mark.parametrize("n_draws", [1, 16])
def test_parts_add_up_to_the_log_likelihood(prior, n_draws):
    x = holed(table())
    one = engine(prior=prior)
    train(one, x)
    one.settle(x, None, keep_codes=False)
    columns, latent = one.explain(x, n_draws)
    assert columns.shape == x.shape
    np.testing.assert_allclose(columns.sum(1) + latent, one.log_likelihood(x, n_draws), atol=1e-9)
    assert (columns[np.isnan(x)] == 0.0).all()
    assert (columns[~np.isnan(x)] != 0.0).all()
    assert latent[5] == 0.0


def test_a_columns_part_is_its_mean_log_density_under_the_posterior():
    x = table()
    one = engine()
    train(one, x, 20)
    columns, _ = one.explain(x[:5], 64)
    with torch.inference_mode():
        model, rows = one._in(torch.float64), Rows.from_numpy(x[:5], dtype=torch.float64)
        draws = weighed(model, rows, one._points(64), knows_missing=False)
        w = torch.softmax(draws.log_w, 0).numpy()
        cells = model.columns.log_prob(model.decode(draws.z), rows.x).numpy()
    np.testing.assert_allclose(columns, np.einsum("sn,snp->np", w, cells))


def test_answers_about_reasons_do_not_depend_on_the_chunks(monkeypatch):
    x = holed(table())
    one = engine()
    train(one, x)
    answers = (*one.explain(x, 8), *one.sampling_error(x, 8), one.expectation(x, 8, FREE))
    monkeypatch.setattr("skvae._engine.engine.chunk_size", lambda *_: 7)
    again = (*one.explain(x, 8), *one.sampling_error(x, 8), one.expectation(x, 8, FREE))
    for mine, other in zip(answers, again, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-7)  # the root of a rounding error


def test_chunks_come_together_along_the_axis_of_the_rows(monkeypatch):
    x, one = holed(table()), engine()
    monkeypatch.setattr("skvae._engine.engine.chunk_size", lambda *_: 7)
    (whole,) = one._over(x, lambda model, rows: rows.x)
    np.testing.assert_array_equal(whole, np.nan_to_num(x))
    turned, twice = one._over(x, lambda model, rows: (rows.x.T, 2.0 * rows.x.T), axis=1)
    np.testing.assert_array_equal(turned, whole.T)
    np.testing.assert_array_equal(twice, 2.0 * whole.T)


@pytest.mark.parametrize(("n_draws", "batch"), [(16, 16), (64, 32), (512, 64)])
def test_sampling_error_follows_from_the_scores_of_batches(n_draws, batch):
    x = table()
    one = engine()
    train(one, x)
    error, size, k = one.sampling_error(x, n_draws)
    with torch.inference_mode():
        rows, points = Rows.from_numpy(x, dtype=torch.float64), one._points(max(256, n_draws))
        log_w = weighed(one._in(torch.float64), rows, points, knows_missing=False).log_w.numpy()
    scores = np.log(np.exp(log_w).reshape(-1, batch, len(x)).mean(1))
    expected = np.sqrt(np.square(scores - np.log(np.exp(log_w).mean(0))).mean(0) * batch / n_draws)
    known = np.isfinite(error)
    np.testing.assert_allclose(error[known], expected[known], rtol=1e-5)
    np.testing.assert_array_equal(known, k <= trusted_below(len(log_w)))
    w = np.exp(log_w[:n_draws])
    np.testing.assert_allclose(size, w.sum(0) ** 2 / (w**2).sum(0))
    np.testing.assert_allclose(k, pareto_k(torch.tensor(log_w)).numpy())


def test_a_row_without_an_observed_cell_has_no_error():
    x = holed(table())
    one = engine(with_mask=True)
    train(one, x)
    x[3] = np.nan
    error, _, k = one.sampling_error(x, 16)
    assert error[3] == k[3] == 0.0


def test_expectation_of_a_linear_model_is_the_conditional_mean():
    """In a linear Gaussian model, from the closed form of its covariance."""
    factor_analysis = ((partial(Gaussian, scale="column"), P),)
    one, x = engine(hidden_layer_sizes=(), n_components=2, blocks=factor_analysis), table(200)
    x = (x - x.mean(0)) / x.std(0)
    x[::4, 0] = np.nan
    train(one, x, 150)
    mean = one.decode(np.zeros((1, 2)), FREE)[0]
    loadings = (one.decode(np.eye(2), FREE) - mean).T
    _, log_scale = one.model.columns.likelihoods[0].location_and_log_scale(one.model.start)
    cov = loadings @ loadings.T + np.diag(np.exp(2.0 * log_scale.detach().numpy()))
    rows = np.nan_to_num(x[:30])
    blank = rows.copy()
    blank[:, 1] = np.nan
    rest = [0, 2, 3]
    expected = mean[1] + (rows[:, rest] - mean[rest]) @ np.linalg.solve(cov[np.ix_(rest, rest)], cov[rest, 1])
    got = one.expectation(blank, 512, FREE)
    np.testing.assert_allclose(got[:, 1], expected, atol=0.03)
    assert np.std(expected) > 0.3
    guess = one.decode(one.encode(blank), FREE)  # where the proposals begin
    assert np.abs(got - expected[:, None])[:, 1].mean() < 0.5 * np.abs(guess - expected[:, None])[:, 1].mean()


def bounded(high, bend=None):
    """The first cell between -0.3 and `high`, and bent; the others as they are."""
    low, top = FREE.low.copy(), FREE.high.copy()
    low[0], top[0] = -0.3, high
    return Units(10.0 + FREE.location, 2.0 * FREE.scale, low, top, (bend, *FREE.bends[1:]))


@pytest.mark.parametrize("bend", [None, np.exp])
@pytest.mark.parametrize("likelihood", ["gaussian", "student_t"])
def test_what_is_decoded_is_the_mean_of_draws_in_data_units(likelihood, bend):
    one, x = engine(blocks=((likelihood, P),)), table(200)
    train(one, x, 30)
    units = bounded(0.4, bend and (lambda cells: np.exp(np.clip(cells, -1.0, 0.4))))
    z = np.linspace(-1.0, 1.0, K)[np.newaxis]
    got = one.decode(z, units)[0]
    draws = one.sample(z.repeat(10_000, 0), 1)
    own = np.exp(draws[:, 0].clip(-1.0, 0.4)) if bend else 10.0 + 2.0 * draws[:, 0].clip(-0.3, 0.4)
    for mean, drawn in zip(got, [own, *(10.0 + 2.0 * draws[:, 1:]).T], strict=True):
        assert abs(mean - drawn.mean()) < 4.0 * drawn.std() / 100.0


def test_a_draw_of_no_weight_adds_nothing_however_far_it_is():
    one, x = engine(), table()
    train(one, x)
    with np.errstate(over="ignore"):
        units = Units(*FREE[:4], (lambda cells: np.exp(1e4 * cells), None, None, None))
        assert np.isfinite(one.expectation(holed(x), 8, units)).all()


def test_expectation_is_the_weighted_mean_of_the_cells_drawn():
    one, x = engine(), holed(table(200))
    train(one, x, 30)
    cells, weight = one.weighed_cells(x[:6], 100, 400)
    again = one.weighed_cells(x[:6], 100, 400)
    np.testing.assert_array_equal(cells, again[0])
    assert cells.shape == (40_000, 6, P)
    np.testing.assert_allclose(weight.sum(0), 1.0)
    units = bounded(0.4)
    drawn = units.location + units.scale * np.clip(cells, units.low, units.high)
    mean = np.einsum("sn,snp->np", weight, drawn)
    np.testing.assert_allclose(mean, one.expectation(x[:6], 100, units), atol=0.05)


LOADINGS = np.array([[1.0, 0.8, 0.0, -0.6], [0.0, 0.6, 1.0, 0.8]])


def close_table(noise, n=400):
    """Four columns that follow from two factors, but for noise."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 2)) @ LOADINGS + noise * rng.normal(size=(n, P))


def factor_analysis(raw_scale, seen=(0, 1, 2, 3)):
    """The model of such a table, its scales as they would come out of a training with a floor of 0.1."""
    linear = torch.nn.Linear
    one = engine(n_components=2, blocks=((SmoothGaussian, P),), encoder=linear, decoder=linear)
    with torch.no_grad():
        for network in (one.model.encoder, one.model.decoder):
            network.weight.zero_()
            network.bias.zero_()
        one.model.decoder.weight.copy_(torch.tensor(LOADINGS.T))
        one.model.encoder.weight[:2, list(seen)] = torch.tensor(np.linalg.pinv(LOADINGS[:, list(seen)]).T).float()
        one.model.encoder.bias[2:] = np.log(0.15)
        one.model.columns.likelihoods[0].log_scale.fill_(np.log(raw_scale))
    return one


def scales(one):
    """Of its only block of cells."""
    return one.model.columns.likelihoods[0].location_and_log_scale(one.model.start)[1].detach().exp().numpy()


def test_scales_that_the_floor_held_are_those_of_the_residuals_after_training():
    one, x = factor_analysis(0.05), close_table(0.03)
    assert (scales(one) > 0.1).all()
    one.settle(x, None, keep_codes=False)
    np.testing.assert_allclose(scales(one), 0.03, rtol=0.4)
    twin = VAEEngine.from_state(one.state(), "cpu")
    np.testing.assert_array_equal(scales(twin), scales(one))
    np.testing.assert_array_equal(twin.log_likelihood(x, 8), one.log_likelihood(x, 8))
    train(one, x, 1)  # begins with the scales that training left
    assert (scales(one) > 0.1).all()


def test_scales_that_the_floor_did_not_hold_stay():
    one = factor_analysis(0.5)
    floored = scales(one)
    one.settle(close_table(0.03), None, keep_codes=False)
    np.testing.assert_array_equal(scales(one), floored)


def test_scales_are_fitted_to_rows_by_their_weight():
    x, one, other = close_table(0.03), factor_analysis(0.05), factor_analysis(0.05)
    x[:200] += 0.06 * np.random.default_rng(1).normal(size=(200, P))
    one.settle(x, np.ones(400), keep_codes=False)
    other.settle(x, np.repeat([1e-6, 1.0], 200), keep_codes=False)
    assert (scales(other) < 0.8 * scales(one)).all()


def test_a_scale_of_which_no_row_tells_stays():
    one, x = factor_analysis(0.05, seen=(0, 1, 3)), close_table(0.03)
    x[:, 2] = np.nan
    floored = scales(one)
    one.settle(x, None, keep_codes=False)
    assert scales(one)[2] == floored[2]
    assert (scales(one)[[0, 1, 3]] < 0.06).all()


# -- cells of several kinds ------------------------------------------------------------------------------------------

SHARES = (None, (0.5, 0.3, 0.2), None, (0.25, 0.25, 0.5))
KINDS_OF_CELLS = (("poisson", 1), ("categorical", 1), ("gaussian", 1), ("ordinal", 1))


def kinds_engine(**options):
    cells = {"blocks": KINDS_OF_CELLS, "frequencies": SHARES, "mean": np.array([2.0, 0.0, 0.0, 1.0])}
    return engine(**(cells | options))


def table_of_kinds(n=60):
    rng = np.random.default_rng(2)
    z = rng.normal(size=n)
    code = np.digitize(z + 0.3 * rng.normal(size=n), [-0.5, 0.8])
    return np.column_stack([rng.poisson(np.exp(z)), code, z + 0.3 * rng.normal(size=n), np.digitize(z, [-0.7, 0.0])])


def test_statistics_are_a_mean_per_number_and_a_probability_per_code_in_the_order_of_the_cells():
    x = table_of_kinds()
    one = kinds_engine()
    train(one, x, 20)
    for statistics in (one.decode(one.encode(x), FREE), one.expectation(x, 8, FREE)):
        assert statistics.shape == (60, 8)  # 1 + 3 + 1 + 3
        for codes in (slice(1, 4), slice(5, 8)):
            np.testing.assert_allclose(statistics[:, codes].sum(1), 1.0, atol=1e-6)
        assert (statistics[:, 0] > 0.0).all()
        assert (statistics[:, 4] < 0.0).any()
    z = np.zeros((4000, K))
    draws = one.sample(z, 0)
    mean = one.decode(z[:1], FREE)[0]
    assert draws[:, 0].mean() == pytest.approx(mean[0], rel=0.1)
    assert draws[:, 2].mean() == pytest.approx(mean[4], abs=0.1)
    np.testing.assert_allclose(np.bincount(draws[:, 1].astype(int), minlength=3) / 4000, mean[1:4], atol=0.03)
    np.testing.assert_allclose(np.bincount(draws[:, 3].astype(int), minlength=3) / 4000, mean[5:], atol=0.03)


def test_untrained_codes_have_the_shares_of_the_training_rows():
    statistics = kinds_engine().model.columns
    start = statistics.expected(kinds_engine().model.start).detach().numpy()
    np.testing.assert_allclose(start[1:4], SHARES[1], atol=1e-5)
    np.testing.assert_allclose(start[5:], SHARES[3], atol=1e-5)
    np.testing.assert_allclose(start[0], 2.0, atol=1e-5)


def test_parts_of_kinds_add_up_and_a_missing_code_has_none():
    x = holed(table_of_kinds())
    one = kinds_engine()
    train(one, x)
    columns, latent = one.explain(x, 16)
    np.testing.assert_allclose(columns.sum(1) + latent, one.log_likelihood(x, 16), atol=1e-9)
    assert (columns[np.isnan(x)] == 0.0).all()
    assert (columns[~np.isnan(x)] != 0.0).all()


def test_state_restores_an_engine_of_kinds():
    x = holed(table_of_kinds())
    one = kinds_engine()
    train(one, x)
    twin = VAEEngine.from_state(one.state(), "cpu")
    np.testing.assert_array_equal(twin.log_likelihood(x, 8), one.log_likelihood(x, 8))
    np.testing.assert_array_equal(twin.decode(one.encode(x), FREE), one.decode(one.encode(x), FREE))
    np.testing.assert_array_equal(twin.sample(one.encode(x), 0), one.sample(one.encode(x), 0))


def gated(**options):
    """One column with atoms: the part, three codes, then the value."""
    blocks = (("categorical", 1), ("gaussian", 3))
    return engine(blocks=blocks, frequencies=((0.5, 0.3, 0.2), None, None, None), gates=((1, 0),), **options)


def gated_table(n=60):
    x = table(n)
    x[:, 0] = np.random.default_rng(3).integers(0, 3, n)
    return x


def test_a_value_behind_its_gate_has_no_part():
    x = gated_table()
    one = gated()
    train(one, x)
    columns, _ = one.explain(x, 8)
    assert (columns[x[:, 0] > 0, 1] == 0.0).all()
    assert (columns[x[:, 0] == 0, 1] != 0.0).all()
    assert (columns[:, [0, 2, 3]] != 0.0).all()


def columns(is_code):
    return SimpleNamespace(is_code=is_code, has_codes=bool(is_code.any()))


@pytest.mark.parametrize("name", ["masking", "gaussian"])
def test_corruption_hides_codes_and_never_changes_them(name):
    rows = Rows.from_numpy(table_of_kinds(2000))
    is_code = torch.tensor([False, True, False, True])
    damaged = CORRUPTIONS[name](rows, torch.Generator().manual_seed(0), columns(is_code), level=0.3)
    codes = rows.x[:, is_code]
    if name == "gaussian":
        assert damaged.observed is None
        assert torch.equal(damaged.x[:, is_code], codes)
        spread = (damaged.x - rows.x)[:, ~is_code].std(0)
        np.testing.assert_allclose(spread, 0.3, atol=0.03)
        return
    seen = damaged.observed[:, is_code]
    assert torch.equal(damaged.x[:, is_code][seen], codes[seen])
    assert (~seen).float().mean() == pytest.approx(0.3, abs=0.03)
    assert damaged.observed[:, ~is_code].all()
    assert (damaged.x[:, 2] == 0.0).float().mean() == pytest.approx(0.3, abs=0.03)


def test_masking_keeps_what_is_missing_hidden():
    rows = Rows.from_numpy(holed(table_of_kinds()))
    is_code = torch.tensor([False, True, False, True])
    damaged = CORRUPTIONS["masking"](rows, torch.Generator().manual_seed(0), columns(is_code), level=0.3)
    assert not (damaged.observed & ~rows.observed).any()


def test_plain_autoencoder_of_codes_gives_probabilities():
    x = table_of_kinds()[:, 1:]
    blocks = (("categorical", 1), ("squared_error", 2))
    one = AutoencoderEngine(
        spec(blocks=blocks, frequencies=(SHARES[1], None, None), prior=None, centre=np.zeros(3), width=np.ones(3),
             mean=np.zeros(3)),
        "cpu",
    )  # fmt: skip
    statistics = one.decode(one.encode(x), unbounded(3))
    assert statistics.shape == (60, 5)
    np.testing.assert_allclose(statistics[:, :3].sum(1), 1.0, atol=1e-6)


def test_an_estimated_kl_below_0_counts_as_0(monkeypatch):
    one = engine()
    each = np.array([[-0.1, 0.3, 1.0], [-0.3, 0.1, 1.0]])
    monkeypatch.setattr(one, "_over", lambda *_: (each,))
    assert sorted(one.kl_per_component(np.zeros((2, 3)), None)) == pytest.approx([0.0, 0.2, 1.0])


def test_a_row_with_holes_scores_alike_in_any_chunk(monkeypatch):
    x, one = table(), engine()
    train(one, x)
    holes = holed(x)
    whole = one.log_likelihood(holes, 16)
    monkeypatch.setattr("skvae._engine.engine.chunk_size", lambda *_: 7)
    np.testing.assert_allclose(one.log_likelihood(holes, 16), whole, atol=1e-9)
