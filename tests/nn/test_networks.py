"""The encoder's input and the perceptron."""

import pytest
import torch

from skvae.nn.networks import (
    ACTIVATIONS,
    CLIP,
    EMBEDDING,
    MLP,
    ONE_HOT,
    InputEncoding,
    TableEncoding,
    features_first,
    linear,
)


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def encoding(**options):
    options = {"clip": True, "with_mask": False} | options
    return InputEncoding(torch.tensor([1.0, -2.0]), torch.tensor([2.0, 0.5]), **options)


def perceptron(sizes=(8, 4), activation="silu", seed=0, n_in=3, n_out=5):
    return MLP(n_in, n_out, hidden_layer_sizes=sizes, activation=activation, generator=stream(seed))


@pytest.mark.parametrize(("n_in", "n_out"), [(6, 3), (3, 6), (4, 4), (1, 1)])
def test_linear_starts_orthogonal_with_zero_bias(n_in, n_out):
    layer = linear(n_in, n_out, stream())
    weight = layer.weight.detach()
    gram = weight @ weight.T if n_out <= n_in else weight.T @ weight
    torch.testing.assert_close(gram, torch.eye(min(n_in, n_out)), atol=1e-5, rtol=0)
    assert (layer.bias == 0).all()


def test_linear_leaves_the_global_stream_alone():
    before = torch.get_rng_state()
    linear(4, 4, stream())
    perceptron()
    assert torch.equal(torch.get_rng_state(), before)


def test_encoding_without_clip_is_affine():
    x = torch.tensor([[1.0, -2.0], [3.0, -1.5], [1e4, -1e4]])
    expected = (x - torch.tensor([1.0, -2.0])) / torch.tensor([2.0, 0.5])
    torch.testing.assert_close(encoding(clip=False)(x), expected)


def test_encoding_is_the_smooth_clip_of_robust_units():
    x = torch.tensor([[5.0, -2.0]])  # two widths above the centre, and the centre
    expected = torch.tensor([[2.0 / (1.0 + (2.0 / CLIP) ** 2) ** 0.5, 0.0]])
    torch.testing.assert_close(encoding()(x), expected)


@pytest.mark.parametrize("size", [1e3, 1e15, 1e30])
def test_encoding_is_bounded_monotone_and_differentiable(size):
    x = torch.tensor([[-size, -size], [0.0, 0.0], [size, size]], requires_grad=True)
    out = encoding()(x)
    out.sum().backward()
    assert (out.detach().abs() <= CLIP + 1e-4).all()
    assert (out.detach().diff(dim=0) > 0).all()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("with_mask", [False, True])
def test_missing_cell_says_nothing_of_its_filling(with_mask):
    encode = encoding(with_mask=with_mask)
    observed = torch.tensor([[1.0, 0.0]])
    one, other = (encode(torch.tensor([[0.5, filling]]), observed) for filling in (0.0, 1e6))
    assert torch.equal(one, other)
    assert one[0, 1] == 0.0


def test_mask_follows_the_row():
    encode = encoding(with_mask=True)
    observed = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    x = torch.zeros(2, 2)
    assert encode.n_out == 4
    assert torch.equal(encode(x, observed)[:, 2:], observed)
    assert torch.equal(encode(x)[:, 2:], torch.ones(2, 2))
    assert encoding().n_out == encoding()(x).shape[1] == 2


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(), (7,), (8, 4)])
def test_perceptron_maps_any_leading_shape_row_by_row(activation, sizes):
    network = perceptron(sizes, activation)
    x = torch.randn(2, 6, 3, generator=stream(1))
    out = network(x)
    assert out.shape == (2, 6, 5)
    start = torch.randn(5, generator=stream(2))
    with torch.no_grad():  # biases that are not 0 ...
        for part in network.modules():
            if isinstance(part, torch.nn.Linear):
                part.bias.normal_(generator=stream(3))
        first = features_first(network, x.movedim(-1, 0), start)
        torch.testing.assert_close(first.movedim(0, -1), network(x) + start)
    out = network(x)
    torch.testing.assert_close(out[1, 4], network(x[1, 4]))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_reaches_every_parameter(activation):
    network = perceptron(activation=activation)
    network(torch.randn(30, 3, generator=stream(1))).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name


def test_without_hidden_layers_it_is_affine():
    network = perceptron(())
    x, y = torch.randn(2, 3, generator=stream(1))
    torch.testing.assert_close(network(x + y) + network(torch.zeros(3)), network(x) + network(y))
    assert sum(p.numel() for p in network.parameters()) == 3 * 5 + 5


def test_with_hidden_layers_it_is_not_affine():
    network = perceptron()
    x, y = torch.randn(2, 3, generator=stream(1))
    assert not torch.allclose(network(x + y) + network(torch.zeros(3)), network(x) + network(y), atol=1e-3)


def test_start_values_follow_the_generator():
    first, again, other = (perceptron(seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


# -- tables ----------------------------------------------------------------------------------------------------------


def of_table(codes=((1, 3), (3, 40)), with_mask=False, clip=False, counts=(2,)):
    """Cells: a number, a code, a count, a code (of 40 levels unless told)."""
    numbers = InputEncoding(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 1.0]), clip=clip, with_mask=with_mask)
    return TableEncoding(numbers, torch.tensor([0, 2]), {"log1p": counts} if counts else {}, codes, stream())


def table_rows():
    return torch.tensor([[3.0, 0.0, 0.0, 39.0], [1.0, 2.0, 9.0, 0.0], [-1.0, 1.0, 1e6, 17.0]])


def test_few_codes_are_indicators_and_many_are_embedded():
    encode, x = of_table(), table_rows()
    out = encode(x)
    assert encode.n_out == out.shape[1] == 2 + 3 + EMBEDDING
    torch.testing.assert_close(out[:, 2:5], torch.eye(3)[[0, 2, 1]])
    torch.testing.assert_close(out[:, 5:], encode.embedding.weight[[39, 0, 17]])
    assert encode.embedding.weight.shape == (40, EMBEDDING)


@pytest.mark.parametrize(("n_codes", "n_out"), [(ONE_HOT, ONE_HOT), (ONE_HOT + 1, EMBEDDING)])
def test_codes_are_embedded_beyond_so_many(n_codes, n_out):
    encode = of_table([(1, n_codes)])
    assert encode.n_out == encode(table_rows()).shape[1] == 2 + n_out
    assert (encode.embedding is None) == (n_codes <= ONE_HOT)


def test_numbers_are_encoded_as_without_codes_and_counts_by_their_logarithm():
    encode, x = of_table(), table_rows()
    expected = torch.stack([(x[:, 0] - 1.0) / 2.0, torch.log1p(x[:, 2])], 1)
    torch.testing.assert_close(encode(x)[:, :2], expected)
    torch.testing.assert_close(of_table(counts=())(x)[:, :2], torch.stack([expected[:, 0], x[:, 2]], 1))


def test_a_count_below_0_is_seen_as_0():
    x = table_rows()
    x[:, 2] = -3.0  # corruption may do that
    assert (of_table()(x)[:, 1] == 0.0).all()


def test_two_columns_of_codes_have_places_of_their_own():
    encode = of_table([(1, 3), (3, 2)])
    x = torch.tensor([[0.0, 2.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    torch.testing.assert_close(encode(x)[:, 2:], torch.tensor([[0.0, 0, 1, 0, 1], [1, 0, 0, 1, 0]]))
    both = of_table([(1, 50), (3, 40)])
    found = both(torch.tensor([[0.0, 49.0, 0.0, 0.0]]))[0, 2:]
    torch.testing.assert_close(found, torch.cat([both.embedding.weight[49], both.embedding.weight[50]]))


@pytest.mark.parametrize("with_mask", [False, True])
def test_a_missing_code_is_all_zeros_whatever_fills_its_cell(with_mask):
    encode, x = of_table(with_mask=with_mask), table_rows()
    observed = torch.ones(3, 4, dtype=torch.bool)
    observed[0], observed[1, 1], observed[2, 3] = False, False, False
    out = encode(x, observed)
    hot, embedded = out[:, -EMBEDDING - 3 : -EMBEDDING], out[:, -EMBEDDING:]
    assert (out[0] == 0.0).all()
    assert (hot[1] == 0.0).all()
    assert (embedded[1] != 0.0).any()
    assert hot[2].tolist() == [0.0, 1.0, 0.0]
    assert (embedded[2] == 0.0).all()
    other = x.clone()
    other[~observed] = 1.0
    torch.testing.assert_close(encode(other, observed), out)


def test_the_mask_of_a_table_is_that_of_its_numbers():
    encode, x = of_table(with_mask=True), table_rows()
    observed = torch.ones(3, 4, dtype=torch.bool)
    observed[1, 2] = False
    assert encode.n_out == encode(x, observed).shape[1] == 4 + 3 + EMBEDDING
    torch.testing.assert_close(encode(x, observed)[:, 2:4], torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]]))
    torch.testing.assert_close(encode(x)[:, 2:4], torch.ones(3, 2))


def test_a_table_of_codes_alone_is_encoded():
    numbers = InputEncoding(torch.zeros(0), torch.ones(0), clip=True, with_mask=True)
    none = torch.tensor([], dtype=torch.long)
    encode = TableEncoding(numbers, none, {}, [(0, 3), (1, 2)], stream())
    torch.testing.assert_close(encode(torch.tensor([[2.0, 0.0]])), torch.tensor([[0.0, 0, 1, 1, 0]]))


def test_double_precision_stays_double():
    for codes in ([(1, 3)], [(1, 40)]):
        assert of_table(codes).double()(table_rows().double()).dtype == torch.float64


def test_gradient_reaches_the_embedding_and_its_start_follows_the_generator():
    encode = of_table()
    encode(table_rows()).square().sum().backward()
    seen = encode.embedding.weight.grad.abs().sum(1) > 0
    assert seen.nonzero()[:, 0].tolist() == [0, 17, 39]
    torch.testing.assert_close(of_table().embedding.weight, encode.embedding.weight)
    assert encode.embedding.weight.std().item() == pytest.approx(EMBEDDING**-0.5, rel=0.2)


def test_an_embedding_leaves_the_global_stream_alone():
    before = torch.get_rng_state()
    of_table()
    assert torch.equal(torch.get_rng_state(), before)
