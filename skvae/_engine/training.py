"""The training loop, as a generator of epochs, and the small states around it.

The caller decides when to stop: the loop knows nothing of patience, callbacks or printing.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from skvae._engine.batches import Rows, SparseRows, chunks, minibatches
from skvae.nn.networks import MLP
from skvae.nn.objectives import Bound
from skvae.nn.pullbacks import Pullback

RowBound = Callable[[nn.Module, Rows, torch.Generator, float], Bound]
ModuleT = TypeVar("ModuleT", bound=nn.Module)

BETAS = (0.9, 0.95)  # Adam's; the shorter memory of squares follows the schedule better
EPSILON = 1e-8  # Adam's
CLIP = 5.0  # norm of a step's gradient, nats
AVERAGING = 0.99  # weight of the past in the running average of the weights, per step
REGISTRIES = (dict, OrderedDict, set)  # what PyTorch keeps hooks, parameters and buffers in
FLOAT32_MAX = torch.finfo(torch.float32).max
RISE = 0.1  # share of the steps in which the learning rate rises
VALIDATION_ROWS, VALIDATION_CELLS = 4096, 2**20  # validated at once, at most


@dataclass(frozen=True)
class Plan:
    """How to train: the numbers that the user's parameters fix.

    Parameters
    ----------
    batch_size, max_iter : int
    learning_rate_init : float
        The peak.
    learning_rate : {"one_cycle", "constant"}
    alpha : float
        Decoupled weight decay, per unit of learning rate.
    beta : float
        Weight of the KL.
    warmup_steps : int
        Steps, counted over the life of the optimiser, in which beta rises in a line.
    n_draws : int
        Latent draws per row.
    trim : float
        Share of each batch's weight, in the rows of the lowest bound, that a step leaves out.
    """

    batch_size: int
    max_iter: int
    learning_rate_init: float
    learning_rate: str
    alpha: float
    beta: float = 1.0
    warmup_steps: int = 0
    n_draws: int = 1
    trim: float = 0.0

    def beta_at(self, step: int) -> float:
        """Weight of the KL at a step."""
        return self.beta if step >= self.warmup_steps else self.beta * step / self.warmup_steps

    def learning_rate_at(self, progress: float) -> float:
        """Learning rate at `progress` (0 to 1) of the run: constant, or a short rise and then a cosine to 0."""
        if self.learning_rate == "constant":
            return self.learning_rate_init
        if progress < RISE:
            return self.learning_rate_init * (0.04 + 0.96 * progress / RISE)
        return self.learning_rate_init * 0.5 * (1.0 + math.cos(math.pi * (progress - RISE) / (1.0 - RISE)))


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch gave: weighted means per row over the epoch's batches, in nats."""

    epoch: int
    bound: float
    reconstruction: float
    kl: float
    learning_rate: float
    validation: float | None = None
    sound: bool = True  # whether its steps left the weights finite

    @property
    def finite(self) -> bool:
        """Whether every batch of the epoch had a finite loss, and the weights are finite."""
        return math.isfinite(self.bound) and self.sound


def copied(module: ModuleT) -> ModuleT:
    """A deep copy, in half the time: the dozen registries of each part, nearly all empty, are made and not copied."""
    held = (value for part in module.modules() for value in vars(part).values() if type(value) in REGISTRIES)
    return copy.deepcopy(module, {id(value): type(value)() for value in held if not value})


class FlatParameters:
    """All parameters of a module as views into one tensor, their gradients as views into another.

    One fused optimiser call, one norm, one average then serve the whole network. What a multilayer perceptron packs
    into one matrix lies so.
    """

    def __init__(self, module: nn.Module) -> None:
        networks = [part for part in (module, *module.children()) if type(part) is MLP]
        packs = [pack for network in networks for pack in network.packs()]
        packed = {id(p) for pack in packs for p in pack}
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._groups = packs + [[p] for p in self._parameters if id(p) not in packed]
        self._n_packed = sum(p.numel() for pack in packs for p in pack)
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
        pairs = iter(zip(values, grads, strict=True))
        for network in networks:
            network.packed = [next(pairs) for _ in network.packs()]

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

    def in_order(self, flat: Tensor) -> Tensor:
        """A copy of such a tensor, parameter after parameter."""
        return torch.cat([view.reshape(-1) for view in self._views(flat)])

    def fill(self, flat: Tensor, ordered: Tensor) -> None:
        """Inverse of `in_order`, into memory that is there."""
        views = self._views(flat)
        for view, part in zip(views, ordered.split([view.numel() for view in views]), strict=True):
            view.copy_(part.view(view.shape))


@dataclass
class Optimiser:
    """Adam with decoupled weight decay on matrices, clipped steps, and a running average of the weights.

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
        self._safe = self._mean.value.clone()

    def __deepcopy__(self, memo: dict[int, object]) -> Optimiser:
        """A twin that trains on its own: a plain copy would lose the views into the flat tensors."""
        twin = memo[id(self)] = Optimiser(copied(self.module))
        twin.load({name: value.clone() for name, value in self.state().items()})
        return twin

    def step(self, pull: Callable[[], object], learning_rate: float, alpha: float) -> None:
        """One step down the gradient that `pull` adds to that of all parameters; one not finite moves nothing."""
        self.flat.clear()
        pull()
        scale = (CLIP / self.flat.grad.norm()).clamp(max=1.0)
        self.flat.grad.mul_(scale).nan_to_num_(0.0, 0.0, 0.0)
        if alpha > 0.0:
            self.flat.value.addcmul_(self.flat.value, self.flat.decayed, value=-_in_float32(learning_rate * alpha))
        self._adam(_in_float32(learning_rate))
        self.steps += 1
        # Early on the average is over the last tenth of the steps, so that it does not remember the start.
        self._mean.value.lerp_(self.flat.value, max(1.0 - AVERAGING, 10.0 / (self.steps + 9.0)))

    @property
    def sound(self) -> bool:
        """Whether the averaged weights are finite; they are where all that went into them was."""
        return bool(torch.isfinite(self._mean.value).all())

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
        self._moments.clear()

    def state(self) -> dict[str, Tensor]:
        """Weights in training and Adam's moments: what continuing exactly needs."""
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

    @property
    def _fused(self) -> bool:
        """Whether the device has Adam as one kernel."""
        return self.flat.value.device.type in ("cpu", "cuda")

    def _home(self, moment: str) -> torch.device | str:
        """Where a moment lives: beside the weights; but the count of steps where plain code reads it, not a kernel."""
        return "cpu" if moment == "step" and not self._fused else self.flat.value.device

    def _adam(self, learning_rate: float) -> None:
        """One step of Adam (Kingma & Ba 2015, arXiv 1412.6980).

        By torch's function and not its class: that takes twice as long, and imports torch's compiler when it is made
        for the first time (2 s).
        """
        if not self._moments:
            self._moments = {name: torch.zeros_like(self.flat.value) for name in ("exp_avg", "exp_avg_sq")}
            self._moments["step"] = torch.zeros((), device=self._home("step"))
        adam(
            [self.flat.value],
            [self.flat.grad],
            [self._moments["exp_avg"]],
            [self._moments["exp_avg_sq"]],
            [],
            [self._moments["step"]],
            fused=self._fused,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=learning_rate,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )


def _in_float32(number: float) -> float:
    """The number, infinite where float32 has none so large: torch would refuse it."""
    return number if number < FLOAT32_MAX else math.inf


def epochs(
    optimiser: Optimiser,
    rows: Rows | SparseRows,
    bound: RowBound,
    plan: Plan,
    *,
    order: torch.Generator,
    noise: torch.Generator,
    validation: Callable[[nn.Module], float] | None = None,
) -> Iterator[EpochRecord]:
    """Train, yielding a record after each epoch; closing the generator stops the training.

    Parameters
    ----------
    optimiser : Optimiser
        Holds the module; continues where it stands.
    rows : Rows
        On the module's device.
    bound : callable
        What to maximise: (module, rows, noise, beta) -> Bound.
    plan : Plan
    order, noise : torch.Generator
        Of the row order (CPU) and of the latent noise (the module's device).
    validation : callable, optional
        From the averaged module to a number, called after each epoch.
    """
    forward = getattr(bound, "with_pullback", partial(bound_by_autograd, bound))
    n_steps = plan.max_iter * math.ceil(len(rows) / plan.batch_size)
    first_step, trust = optimiser.steps, 1.0
    optimiser.module.train()  # once: a walk through all modules each epoch costs as much as a step
    for epoch in range(plan.max_iter):
        sums = torch.zeros(3, device=rows.device)
        with torch.no_grad():  # pullbacks do what autograd else does
            for batch in minibatches(rows, plan.batch_size, order):
                terms, pull = forward(optimiser.module, batch, noise, plan.beta_at(optimiser.steps))
                learning_rate = trust * plan.learning_rate_at((optimiser.steps - first_step) / n_steps)
                share = shares(batch, terms.value, plan.trim)
                optimiser.step(partial(pull, share.neg_()), learning_rate, plan.alpha)
                sums += batch.mean(torch.stack(terms)) * len(batch)
        value, reconstruction, kl = (sums / len(rows)).tolist()
        record = EpochRecord(epoch, value, reconstruction, kl, learning_rate, sound=optimiser.sound)
        if record.finite:
            optimiser.commit()
        else:
            optimiser.roll_back()
            trust *= 0.5
        yield record if validation is None else replace(record, validation=validation(optimiser.average))


def shares(rows: Rows, values: Tensor, trim: float) -> Tensor:
    """What each of the rows' values counts for in the weighted mean without the lowest values, (b,).

    These have the share `trim` of the weight. The row at the border counts with the part of its weight that is kept,
    so that one row of weight 5 is five rows.
    """
    if trim == 0.0:
        return values.new_full(values.shape, 1.0 / len(values)) if rows.weight is None else rows.weight / len(values)
    weight = torch.ones_like(values) if rows.weight is None else rows.weight
    order = values.argsort(descending=True)
    sorted_weight = weight[order]
    before = sorted_weight.cumsum(0) - sorted_weight
    kept = ((1.0 - trim) * weight.sum() - before).clamp_min(0.0).minimum(sorted_weight)
    total = (1.0 - trim) * len(values)  # of weights whose mean over all rows is 1
    return torch.empty_like(weight).index_copy_(0, order, kept / total)


def bound_by_autograd(
    bound: Callable[..., Bound], module: nn.Module, rows: Rows, noise: torch.Generator, beta: float
) -> tuple[Bound, Pullback]:
    """A bound by its formula, and its pullback, which takes the gradient to each row's value to all parameters."""
    with torch.enable_grad():
        terms = bound(module, rows, noise, beta)

    def pull(grad: Tensor) -> None:
        learned = [p for p in module.parameters() if p.requires_grad]
        for p, slope in zip(learned, torch.autograd.grad(terms.value, learned, grad, allow_unused=True), strict=True):
            slope = torch.zeros_like(p) if slope is None else slope
            p.grad = slope if p.grad is None else p.grad.copy_(slope)

    return Bound(*(part.detach() for part in terms)), pull


def mean_bound(module: nn.Module, rows: Rows | SparseRows, bound: RowBound, seed: int) -> float:
    """Weighted mean of the bound over rows, under the same noise at every call."""
    noise = torch.Generator(device=rows.device).manual_seed(seed)
    module.eval()
    with torch.inference_mode():
        size = min(VALIDATION_ROWS, max(1, VALIDATION_CELLS // rows.n_columns))
        values = torch.cat([bound(module, part, noise, 1.0).value for part in chunks(rows, size)])
        return float(rows.mean(values))


class Patience:
    """The best epoch so far, and whether to go on.

    Parameters
    ----------
    n_iter_no_change : int
        Epochs without a gain of more than `tol` after which `exhausted` is True.
    tol : float
        Nats per row.
    first_epoch : int
        Earlier epochs (KL warm-up) are not judged.
    """

    def __init__(self, n_iter_no_change: int, tol: float, first_epoch: int) -> None:
        self.n_iter_no_change, self.tol, self.first_epoch = n_iter_no_change, tol, first_epoch
        self._best = self._bar = -math.inf
        self._waited = 0

    def is_best(self, record: EpochRecord) -> bool:
        """Take an epoch; True where its weights are the best so far."""
        score = record.validation
        if score is None or record.epoch < self.first_epoch or not math.isfinite(score):
            return False
        improves = score > self._bar + self.tol
        self._bar, self._waited = (score, 0) if improves else (self._bar, self._waited + 1)
        better = score > self._best
        self._best = max(score, self._best)
        return better

    @property
    def exhausted(self) -> bool:
        """Whether the score has stopped rising."""
        return self._waited >= self.n_iter_no_change
