"""Muon: orthogonalised momentum for inner matrices, Adam for the rest."""

import copy
import math

import pytest
import torch

from skvae._engine.optimiser import MOMENTUM, FlatParameters, Optimiser, orthogonalised
from skvae.nn.networks import MLP

REACH = 0.7


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def network(*hidden):
    return MLP(3, 2, hidden_layer_sizes=hidden, activation="silu", generator=stream())


def autoencoder():
    """Two networks, of whose inner matrices two have one shape."""
    return torch.nn.Sequential(
        network(5, 5), MLP(2, 3, hidden_layer_sizes=(5, 5), activation="silu", generator=stream(1))
    )


def slope_of(optimiser, seed=2):
    """A function that adds a gradient which does not hang on the weights."""
    grad = torch.randn(len(optimiser.flat.value), generator=stream(seed)) * 0.1
    return grad, lambda: optimiser.flat.grad.copy_(grad)


@pytest.mark.parametrize("shape", [(4, 4), (4, 9), (9, 4), (64, 65), (1, 5)])
def test_orthogonalised_keeps_directions_and_evens_out_singular_values(shape):
    matrices = torch.randn(3, *shape, generator=stream(), dtype=torch.float64)
    out = orthogonalised(matrices)
    for before, after in zip(matrices, out, strict=True):
        u, s, vh = torch.linalg.svd(before, full_matrices=False)
        inside = u.T @ after @ vh.T
        torch.testing.assert_close(inside, torch.diag(inside.diagonal()), atol=1e-9, rtol=0.0)  # the same directions
        assert (inside.diagonal() > 0.0).all()
        large = s > 0.1 * s.norm()  # three iterations raise what is smaller by a factor of 3.4 each, and no further
        assert ((inside.diagonal()[large] > 0.6) & (inside.diagonal()[large] < 1.3)).all()


def test_orthogonalised_does_not_hang_on_scale_and_leaves_nothing_of_nothing():
    matrices = torch.randn(2, 3, 4, generator=stream())
    torch.testing.assert_close(orthogonalised(matrices), orthogonalised(1e3 * matrices))
    assert not orthogonalised(torch.zeros(2, 3, 4)).any()
    for scale in 10.0 ** torch.arange(-45.0, -14.0):
        assert orthogonalised(scale * matrices).abs().max() < 1.3  # also where squares are no numbers any more


def test_inner_matrices_come_first_and_are_stacked_by_shape():
    module = autoencoder()
    flat = FlatParameters(module)
    stacks = flat.stacks(flat.value[: flat.n_inner])
    assert sorted(tuple(stack.shape) for stack in stacks) == [(1, 5, 3), (1, 5, 4), (2, 5, 6)]
    layers = [part for net in module for part in net._layers]
    inner = [torch.cat([layer.weight, layer.bias.unsqueeze(1)], 1) for layer in (*layers[:2], *layers[3:5])]
    found = [matrix for stack in stacks for matrix in stack]
    for matrix in inner:
        assert any(matrix.shape == other.shape and torch.equal(matrix, other) for other in found)
    with torch.no_grad():
        flat.value.zero_()
    assert not any(parameter.any() for parameter in module.parameters())


@pytest.mark.parametrize("hidden", [(), (5,), (5, 5, 5)])
def test_muon_moves_inner_matrices_and_adam_the_rest(hidden):
    muon, adam = Optimiser(network(*hidden)), Optimiser(network(*hidden))
    start, n = muon.flat.value.clone(), muon.flat.n_inner
    grad, pull = slope_of(muon)
    muon.step(pull, 0.01, 0.0, REACH)
    adam.step(slope_of(adam)[1], 0.01, 0.0)
    assert torch.equal(muon.flat.value[n:], adam.flat.value[n:])
    momentum = (1.0 - MOMENTUM) * grad[:n]
    ahead = MOMENTUM * momentum + (1.0 - MOMENTUM) * grad[:n]
    moved = muon.flat.stacks(muon.flat.value[:n] - start[:n])
    for step, direction in zip(moved, muon.flat.stacks(ahead), strict=True):
        reach = 0.01 * REACH * math.sqrt(max(direction.shape[1:]))
        torch.testing.assert_close(step, -reach * orthogonalised(direction), atol=1e-6, rtol=1e-4)
    assert n == sum(p.numel() for pack in network(*hidden).packs()[:-1] for p in pack)


def test_momentum_remembers_earlier_gradients():
    one, other = (Optimiser(network(5)) for _ in range(2))
    for seed in (3, 4):
        one.step(slope_of(one, seed)[1], 0.01, 0.0, REACH)
    other.step(slope_of(other, 4)[1], 0.01, 0.0, REACH)
    n = one.flat.n_inner
    expected = MOMENTUM * (1.0 - MOMENTUM) * slope_of(one, 3)[0] + (1.0 - MOMENTUM) * slope_of(one, 4)[0]
    torch.testing.assert_close(one._moments["exp_avg"][:n], expected[:n])
    assert not torch.allclose(one._moments["exp_avg"][:n], other._moments["exp_avg"][:n])


def test_muon_continues_exactly_from_its_state():
    optimiser = Optimiser(autoencoder())
    optimiser.step(slope_of(optimiser)[1], 0.01, 0.1, REACH)
    restored = Optimiser(autoencoder())
    restored.load({name: value.clone() for name, value in optimiser.state().items()})
    twin = copy.deepcopy(optimiser)
    for one in (optimiser, restored, twin):
        one.step(slope_of(one, 5)[1], 0.01, 0.1, REACH)
    for one in (restored, twin):
        assert torch.equal(one.flat.value, optimiser.flat.value)


def test_a_gradient_that_is_not_finite_moves_nothing_by_muon():
    optimiser = Optimiser(network(5))
    before = optimiser.flat.value.clone()
    optimiser.step(lambda: optimiser.flat.grad.fill_(math.nan), 0.1, 0.0, REACH)
    assert torch.equal(optimiser.flat.value, before)


@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("reaches", [(REACH, None), (None, REACH)], ids=["to Adam", "to Muon"])
def test_another_solver_begins_anew(reaches, loaded):
    optimiser = Optimiser(autoencoder())
    for seed in range(20):
        optimiser.step(slope_of(optimiser, seed)[1], 0.01, 0.0, reaches[0])
    if loaded:
        state = {name: value.clone() for name, value in optimiser.state().items()}
        optimiser = Optimiser(autoencoder())
        optimiser.load(state)
    fresh = Optimiser(copy.deepcopy(optimiser.module))
    for one in (optimiser, fresh):
        one.step(slope_of(one, 30)[1], 0.01, 0.0, reaches[1])
    torch.testing.assert_close(optimiser.flat.value, fresh.flat.value)
