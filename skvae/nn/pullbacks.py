"""Values with their pullbacks: what takes a gradient at the value back to where it was computed from.

A training step goes forward piece by piece and back through the pullbacks. A piece has its own in closed form, which
spares autograd's records of every operation, or is left to autograd. Gradients of parameters end in their `grad`.

Here features come first and rows last, (features, S draws, b rows): sums over the few modes of a cell then run along
rows of memory, and a layer's products need no copies.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

Pullback = Callable[[Tensor], Any]
LOG2_E = 1.4426950408889634


class Context:
    """Stands in for autograd's where a `torch.autograd.Function` runs without it."""

    saved_tensors: tuple[Tensor | None, ...] = ()

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors for the way back."""
        self.saved_tensors = tensors


def run(function: type[torch.autograd.Function], *inputs: Any) -> tuple[Tensor, Pullback]:
    """What a function with a closed gradient gives, and its pullback to all inputs."""
    context = Context()
    return function.forward(context, *inputs), partial(function.backward, context)


def by_autograd(function: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, Callable[[Tensor], list[Tensor]]]:
    """What a function gives, and its pullback to the inputs; gradients of parameters are added to their `grad`."""
    with torch.enable_grad():
        leaves = [each.detach().requires_grad_() for each in inputs]
        value = function(*leaves)

    def pull(grad: Tensor) -> list[Tensor]:
        if value.requires_grad:
            value.backward(grad)
        return [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]

    return value.detach(), pull


def add_grad(parameter: Any, grad: Tensor) -> None:
    """Add to the gradient of a parameter, which may be a buffer in another class, what has as many numbers."""
    if parameter.requires_grad:
        grad = grad if grad.shape == parameter.shape else grad.reshape(parameter.shape)
        parameter.grad = grad if parameter.grad is None else parameter.grad.add_(grad)


def has_closed_form(part: nn.Module, name: str, base: type[nn.Module]) -> bool:
    """Whether a part has a method of that name that is not the base's.

    What a user's subclass inherits from a class of ours does not count: it may not be the gradient of what it computes.
    """
    made = type(part)
    is_own = name in vars(made) or made.__module__.startswith("skvae.nn.")
    return is_own and getattr(made, name) is not getattr(base, name)


def closed_form(part: nn.Module, name: str, base: type[nn.Module]) -> Callable[..., Any]:
    """A part's method of that name where it is a closed form; else the base's, by autograd."""
    method: Callable[..., Any] = getattr(part, name)
    return method if has_closed_form(part, name, base) else partial(getattr(base, name), part)


def exp_(x: Tensor) -> Tensor:
    """exp(x) in place of x; in float32 as a power of two, which on some processors takes a third of the time."""
    return x.exp_() if x.dtype == torch.float64 else x.mul_(LOG2_E).exp2_()


def softmax(x: Tensor) -> tuple[Tensor, Tensor]:
    """Shares along the first axis, and the logarithm of the sum of exp(x) that they are shares of."""
    share = torch.softmax(x, 0)
    return share, x.amax(0) - share.amax(0).log_()
