"""The encoder's input and the perceptron."""

import pytest
import torch

from skvae.nn.networks import ACTIVATIONS, CLIP, MLP, InputEncoding, linear


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
