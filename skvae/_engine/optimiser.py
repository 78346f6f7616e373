"""Muon or Adam, over all parameters of a module as one tensor, and the running average of the weights."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from skvae.nn.networks import MLP

ModuleT = TypeVar("ModuleT", bound=nn.Module)

BETAS = (0.9, 0.95)  # Adam's; the shorter memory of squares follows the schedule better
EPSILON = 1e-8  # Adam's
MOMENTUM = 0.95  # Muon's
NEWTON_SCHULZ = 3 * ((3.4445, -4.7750, 2.0315),)  # Muon's: coefficients of x, x^3 and x^5, iteration by iteration
NOTHING = 1e-15  # norm below which a matrix has no direction: in float32 its square is nearly 0
HUGE = 1e6  # what no sound weight comes to: products of several layers would overflow
CLIP = 5.0  # norm of a step's gradient, nats
AVERAGING = 0.99  # weight of the past in the running average of the weights, per step
REGISTRIES = (dict, OrderedDict, set)  # what PyTorch keeps hooks, parameters and buffers in
FLOAT32_MAX = torch.finfo(torch.float32).max


def copied(module: ModuleT) -> ModuleT:
    """A deep copy, in half the time: the dozen registries of each part, nearly all empty, are made and not copied.

    What a user's part keeps of a step, such as its last activations, is copied without its graph, which torch refuses.
    """
    held = [value for part in module.modules() for value in vars(part).values()]
    memo: dict[int, Any] = {id(value): type(value)() for value in held if type(value) in REGISTRIES and not value}
    memo |= {id(value): value.detach().clone() for value in held if isinstance(value, Tensor) and not value.is_leaf}
    return copy.deepcopy(module, memo)


class FlatParameters:
    """All parameters of a module as views into one tensor, their gradients as views into another.

    One fused optimiser call, one norm, one average then serve the whole network. What a multilayer perceptron packs
    into one matrix lies so. The `n_inner` numbers of the matrices between inputs and last hidden layers come first,
    those of one shape side by side.
    """

    def __init__(self, module: nn.Module) -> None:
        networks = [
            part
            for part in (module, *module.children())
            if isinstance(part, MLP) and part.is_plain and _learns_wholly(part)
        ]
        inner = sorted((pack for network in networks for pack in network.packs()[:-1]), key=_shape)
        packs = inner + [network.packs()[-1] for network in networks]
        packed = {id(p) for pack in packs for p in pack}
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._groups = packs + [[p] for p in self._parameters if id(p) not in packed]
        self._n_packed = sum(p.numel() for pack in packs for p in pack)
        self._stacks = [(len(list(same)), *shape) for shape, same in groupby(map(_shape, inner))]
        self.n_inner = sum(map(math.prod, self._stacks))
        self.value = torch.cat([p.detach().new_zeros(p.numel()) for p in self._parameters])
        self.grad, self.decayed = torch.zeros_like(self.value), torch.zeros_like(self.value)
        self.value.grad = self.grad
        values, grads = self._matrices(self.value), self._matrices(self.grad)
        homes = zip(
            self._parameters, self._views(self.value), self._views(self.grad), self._views(self.decayed), strict=True
        )
        for p, value, grad, decayed in homes:
            value.copy_(p.detach())
            decayed.fill_(float(p.ndim > 1))
            p.data, p.grad = value, grad
        places = {id(group[0]): pair for group, pair in zip(self._groups, zip(values, grads, strict=True), strict=True)}
        for network in networks:
            network.pack([places[id(pack[0])] for pack in network.packs()])

    def clear(self) -> None:
        """Make the gradients 0 to which those of a step are added; those of packed parameters it overwrites."""
        self.grad[self._n_packed :].zero_()

    def _matrices(self, flat: Tensor) -> list[Tensor]:
        """The matrix of each group: that of one parameter has its rows."""
        parts = flat.split([sum(p.numel() for p in group) for group in self._groups])
        return [
            part.view(len(group[0]), -1) if group[0].ndim else part
            for part, group in zip(parts, self._groups, strict=True)
        ]

    def _views(self, flat: Tensor) -> list[Tensor]:
        """The part of such a tensor that belongs to each parameter."""
        views: dict[int, Tensor] = {}
        for matrix, group in zip(self._matrices(flat), self._groups, strict=True):
            columns = matrix.split([p.numel() // len(matrix) for p in group], -1)
            views |= {
                id(p): part[:, 0] if p.ndim == 1 and len(group) > 1 else part.view(p.shape)
                for p, part in zip(group, columns, strict=True)
            }
        return [views[id(p)] for p in self._parameters]

    def stacks(self, inner: Tensor) -> list[Tensor]:
        """The matrices that the first `n_inner` numbers of such a tensor are, those of one shape (n, rows, columns)."""
        parts = inner.split([math.prod(shape) for shape in self._stacks])
        return [part.view(shape) for part, shape in zip(parts, self._stacks, strict=True)]

    def in_order(self, flat: Tensor) -> Tensor:
        """A copy of such a tensor, parameter after parameter."""
        return torch.cat([view.reshape(-1) for view in self._views(flat)])

    def fill(self, flat: Tensor, ordered: Tensor) -> None:
        """Inverse of `in_order`, into memory that is there."""
        views = self._views(flat)
        for view, part in zip(views, ordered.split([view.numel() for view in views]), strict=True):
            view.copy_(part.view(view.shape))


def _learns_wholly(network: nn.Module) -> bool:
    """Whether no parameter of it is frozen, as a user's factory may have done."""
    return all(parameter.requires_grad for parameter in network.parameters())


def _shape(pack: list[Tensor]) -> tuple[int, int]:
    """Rows and columns of the matrix that a pack makes."""
    return len(pack[0]), sum(p.numel() for p in pack) // len(pack[0])


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices (n, rows, columns) with singular values brought towards 1 and all else kept: Newton-Schulz iterations.

    Each takes the odd polynomial of NEWTON_SCHULZ of every singular value, by products alone (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon). The first are divided by their root of the sum of squares.
    """
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp_min_(NOTHING)
    for linear, cubic, quintic in NEWTON_SCHULZ:
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=cubic, alpha=quintic), x, beta=linear)
    return x.mT if is_tall else x


@dataclass
class Optimiser:
    """Muon or Adam with decoupled weight decay on matrices, clipped steps, and a running average of the weights.

    Muon (Jordan et al. 2024) moves the matrices between inputs and last hidden layers by their orthogonalised momentum,
    so that every direction of a matrix learns at one speed; Adam moves the rest.

    `average` is the module whose weights are the running average of `module`'s: what is validated and kept.
    """

    module: nn.Module
    flat: FlatParameters = field(init=False)
    average: nn.Module = field(init=False)
    steps: int = 0

    def __post_init__(self) -> None:
        self.average = copied(self.module)
        self.flat, self._mean = FlatParameters(self.module), FlatParameters(self.average)
        self._moments: dict[str, Tensor] = {}
        self._led_by_muon = False  # when the moments began
        self._ahead = torch.empty_like(self.flat.value[: self.flat.n_inner])
        inner = (self.flat.stacks(flat[: self.flat.n_inner]) for flat in (self.flat.value, self._ahead))
        self._inner = list(zip(*inner, strict=True))  # matrices, and the directions that they are to go
        self._excess, self._broken = self.flat.value.new_ones(()), self.flat.value.new_zeros(())
        self._safe = self._mean.value.clone()

    def __deepcopy__(self, memo: dict[int, object]) -> Optimiser:
        """A twin that trains on its own: a plain copy would lose the views into the flat tensors."""
        twin = memo[id(self)] = Optimiser(copied(self.module))
        twin.load({name: value.clone() for name, value in self.state().items()})
        return twin

    def begin(self, *, by_muon: bool) -> None:
        """Have moments to go on with, fresh ones where there are none of steps by Muon or without."""
        by_muon = by_muon and self.flat.n_inner > 0
        if self._moments and self._led_by_muon != by_muon:
            self._forget()  # those of the one are not the other's: Muon has no squares of what it moves
        self._led_by_muon = by_muon
        if not self._moments:
            with torch.inference_mode(False):  # the next training may be of another mode
                self._moments = {name: torch.zeros_like(self.flat.value) for name in ("exp_avg", "exp_avg_sq")}
                self._moments["step"] = torch.zeros((), device=self._home("step"))

    def step(self, pull: Callable[[], object], learning_rate: float, alpha: float, reach: float | None = None) -> None:
        """One step down the gradient that `pull` adds to that of all parameters; one not finite moves nothing.

        Muon moves the inner matrices where its `reach` is given: the root mean square of its step from one, in learning
        rates.
        """
        self.begin(by_muon=reach is not None)
        self.look(pull)
        self.move(learning_rate, alpha, reach)

    def look(self, pull: Callable[[], object]) -> None:
        """The first half of a step: where to go. By the same operations each time, so that it may be replayed."""
        self.flat.clear()
        pull()
        norm = torch.dot(self.flat.grad, self.flat.grad).sqrt_()
        torch.sub(norm, norm, out=self._broken).nan_to_num_(1.0)
        torch.mul(norm, 1.0 / CLIP, out=self._excess).clamp_(min=1.0)
        # Adam's kernel divides by the excess, and leaves all as it is where the gradient is broken.
        by_hand = self.flat.grad[: self.flat.n_inner if self._led_by_muon else 0] if self._fused else self.flat.grad
        if len(by_hand):
            by_hand.div_(self._excess).nan_to_num_(0.0, 0.0, 0.0)
        if self._led_by_muon:
            grad, momentum = (flat[: self.flat.n_inner] for flat in (self.flat.grad, self._moments["exp_avg"]))
            momentum.lerp_(grad, 1.0 - MOMENTUM)
            torch.lerp(grad, momentum, MOMENTUM, out=self._ahead)
            for _, direction in self._inner:
                direction.copy_(orthogonalised(direction))

    def move(self, learning_rate: float, alpha: float, reach: float | None = None) -> None:
        """The second half: to go there."""
        if alpha > 0.0:
            self.flat.value.addcmul_(self.flat.value, self.flat.decayed, value=-_in_float32(learning_rate * alpha))
        if reach is not None and self._led_by_muon:
            for value, direction in self._inner:
                length = reach * math.sqrt(max(direction.shape[1:]))
                value.sub_(direction, alpha=_in_float32(learning_rate * length))
        self._adam(_in_float32(learning_rate), slice(self.flat.n_inner if self._led_by_muon else 0, None))
        self.steps += 1
        # Early on the average is over the last tenth of the steps, so that it does not remember the start.
        self._mean.value.lerp_(self.flat.value, max(1.0 - AVERAGING, 10.0 / (self.steps + 9.0)))

    def take_buffers(self) -> None:
        """Give the averaged module what a user's module keeps beside weights, such as running means."""
        for mean, own in zip(self.average.buffers(), self.module.buffers(), strict=True):
            mean.copy_(own)

    @property
    def sound(self) -> bool:
        """Whether the averaged weights are numbers that a network can have."""
        return not self._mean.value.numel() or bool(self._mean.value.abs().amax() < HUGE)

    def commit(self) -> None:
        """Remember the averaged weights as sound."""
        self._safe.copy_(self._mean.value)

    def recall(self) -> None:
        """Take the averaged weights back that were last sound."""
        self._mean.value.copy_(self._safe)

    def roll_back(self) -> None:
        """Return to the last sound weights with fresh moments: the way out of a step that broke the model."""
        self.recall()
        self.flat.value.copy_(self._safe)
        self._forget()

    def _forget(self) -> None:
        """Moments as at the beginning, where they are: a recorded step knows them by their place."""
        for moment in self._moments.values():
            moment.zero_()

    def state(self) -> dict[str, Tensor]:
        """Weights in training and the moments of their gradients: what continuing exactly needs."""
        flat = {"value": self.flat.value, "mean": self._mean.value, **self._moments}
        ordered = {name: self.flat.in_order(each) if each.ndim else each for name, each in flat.items()}
        return ordered | {"steps": torch.tensor(self.steps)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Inverse of `state`."""
        state = dict(state)
        self.steps = int(state.pop("steps"))
        self.flat.fill(self.flat.value, state.pop("value"))
        self.flat.fill(self._mean.value, state.pop("mean"))
        self.commit()
        self._moments = {}
        for name, moment in state.items():
            home = torch.zeros_like(self.flat.value) if moment.ndim else torch.zeros((), device=self._home(name))
            self._moments[name] = home
            self.flat.fill(home, moment) if moment.ndim else home.copy_(moment)
        if self._moments:
            self._led_by_muon = self.flat.n_inner > 0 and not self._moments["exp_avg_sq"][: self.flat.n_inner].any()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.flat.value.device

    @property
    def _fused(self) -> bool:
        """Whether the device has Adam as one kernel."""
        return self.device.type in ("cpu", "cuda")

    def _home(self, moment: str) -> torch.device | str:
        """Where a moment lives: beside the weights; but the count of steps where plain code reads it, not a kernel."""
        return "cpu" if moment == "step" and not self._fused else self.device

    def _adam(self, learning_rate: float, part: slice) -> None:
        """One step of Adam (Kingma & Ba 2015, arXiv 1412.6980) for a part of the parameters.

        By the kernel where there is one: torch's function around it takes as long as a small network's forward pass,
        its class twice that, and to make that imports torch's compiler (2 s).
        """
        lists = [[self.flat.value[part]], [self.flat.grad[part]]]
        lists += [[self._moments[name][part]] for name in ("exp_avg", "exp_avg_sq")]
        step: Callable[..., object] = partial(adam, fused=False)
        if self._fused:
            self._moments["step"].add_(1.0).sub_(self._broken)
            step = partial(torch._fused_adam_, grad_scale=self._excess, found_inf=self._broken)
        step(
            *lists,
            [],
            [self._moments["step"]],
            lr=learning_rate,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )


def _in_float32(number: float) -> float:
    """The number, infinite where float32 has none so large: torch would refuse it."""
    return number if number < FLOAT32_MAX else math.inf
