"""The training loop, as a generator of epochs, and the small states around it.

The caller decides when to stop: the loop knows nothing of patience, callbacks or printing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from skvae._engine.batches import Look, Rows, SparseRows, chunks, looked_at, minibatches
from skvae._engine.optimiser import FLOAT32_MAX, Optimiser
from skvae._engine.replay import Replayed
from skvae.nn.objectives import Bound
from skvae.nn.pullbacks import Pullback

RowBound = Callable[[nn.Module, Rows, torch.Generator, float], Bound]

RISE = 0.1  # share of the steps in which the learning rate rises
OFTEN = 60  # steps from which it pays to record one
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
    reach : float or None
        Of Muon's steps; None where all are Adam's.
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
    reach: float | None = None
    beta: float = 1.0
    warmup_steps: int = 0
    n_draws: int = 1
    trim: float = 0.0

    def comes_often(self, size: int, n_rows: int) -> bool:
        """Whether a training on so many rows has so many batches of a size that to record a step pays."""
        per_epoch = n_rows // self.batch_size if size == self.batch_size else 1
        return self.max_iter * per_epoch >= OFTEN

    def beta_at(self, step: int) -> float:
        """Weight of the KL at a step, as float32 can have it."""
        beta = self.beta if step >= self.warmup_steps else self.beta * step / self.warmup_steps
        return min(beta, FLOAT32_MAX)

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


def epochs(
    optimiser: Optimiser,
    rows: Rows | SparseRows,
    bound: RowBound,
    plan: Plan,
    *,
    order: torch.Generator,
    noise: torch.Generator,
    validation: Callable[[nn.Module], float] | None = None,
    replays: bool = True,
) -> Iterator[EpochRecord]:
    """Train, yielding a record after each epoch; closing the generator stops the training.

    Parameters
    ----------
    optimiser : Optimiser
        Holds the module; continues where it stands.
    rows : Rows
        On the module's device, or in main memory, from where batches are sent to it.
    bound : callable
        What to maximise: (module, rows, noise, beta) -> Bound.
    plan : Plan
    order, noise : torch.Generator
        Of the row order (CPU) and of the latent noise (the module's device).
    validation : callable, optional
        From the averaged module to a number, called after each epoch.
    replays : bool
        Whether steps that need no autograd are recorded and replayed, in which the memory of a step stays.
    """
    closed: Any = getattr(bound, "with_pullback", None)
    forward = partial(bound_by_autograd, bound) if closed is None else closed
    records = closed is None or closed.__self__.needs_autograd(optimiser.module)
    device = optimiser.device
    rows, look = _looked_at(rows, None if records else closed.__self__.look(optimiser.module), device)
    n_steps = plan.max_iter * math.ceil(len(rows) / plan.batch_size)
    first_step, trust = optimiser.steps, 1.0
    optimiser.begin(by_muon=plan.reach is not None)
    optimiser.module.train()  # once: a walk through all modules each epoch costs as much as a step
    sums = torch.zeros(3, device=device)

    def look_ahead(batch: Rows) -> None:
        terms, pull = forward(optimiser.module, batch, noise, plan.beta_at(optimiser.steps))
        optimiser.look(partial(pull, shares(batch, terms.value, plan.trim, -1.0)))
        sums.add_(batch.total(torch.stack(terms)))

    replays = replays and not records
    replayed = Replayed(look_ahead, lambda size: plan.comes_often(size, len(rows)), noise)
    for epoch in range(plan.max_iter):
        # Pullbacks do what autograd else does; without the bookkeeping for it an operation takes an eighth less time.
        with torch.no_grad() if records else torch.inference_mode():
            sums.zero_()
            for batch in minibatches(rows, plan.batch_size, order, look, device):
                step = replayed if replays and optimiser.steps >= plan.warmup_steps else look_ahead
                step(batch)
                learning_rate = trust * plan.learning_rate_at((optimiser.steps - first_step) / n_steps)
                optimiser.move(learning_rate, plan.alpha, plan.reach)
        optimiser.take_buffers()
        value, reconstruction, kl = (sums / len(rows)).tolist()
        record = EpochRecord(epoch, value, reconstruction, kl, learning_rate, sound=optimiser.sound)
        if record.finite:
            optimiser.commit()
        else:
            optimiser.roll_back()
            trust *= 0.5
        yield record if validation is None else replace(record, validation=validation(optimiser.average))


def _looked_at(
    rows: Rows | SparseRows, look: Look | None, device: torch.device
) -> tuple[Rows | SparseRows, Look | None]:
    """The rows as they are seen, if there is room for that; else as they are, and what says how they are seen."""
    with torch.inference_mode():
        seen = None if look is None or rows.device != device else looked_at(rows, look)
    return (rows, look) if seen is None else (seen, None)


def shares(rows: Rows, values: Tensor, trim: float, whole: float = 1.0) -> Tensor:
    """What each of the rows' values counts for in the weighted mean without the lowest values, times `whole`; (b,).

    These have the share `trim` of the weight. The row at the border counts with the part of its weight that is kept,
    so that one row of weight 5 is five rows.
    """
    if trim == 0.0:
        one = whole / len(rows)
        return torch.full_like(values, one) if rows.weight is None else rows.weight * one
    weight = torch.ones_like(values) if rows.weight is None else rows.weight
    order = values.argsort(descending=True)
    sorted_weight = weight[order]
    before = sorted_weight.cumsum(0) - sorted_weight
    kept = ((1.0 - trim) * weight.sum() - before).clamp_min(0.0).minimum(sorted_weight)
    total = (1.0 - trim) * len(values)  # of weights whose mean over all rows is 1
    return torch.empty_like(weight).index_copy_(0, order, kept * (whole / total))


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


def mean_bound(
    module: nn.Module, rows: Rows | SparseRows, bound: RowBound, seed: int, device: torch.device | None = None
) -> float:
    """Weighted mean of the bound over rows, under the same noise at every call.

    The module is on the `device`, where that is given; else where the rows are.
    """
    device = rows.device if device is None else device
    noise = torch.Generator(device=device).manual_seed(seed)
    module.eval()
    with torch.inference_mode():
        size = min(VALIDATION_ROWS, max(1, VALIDATION_CELLS // rows.n_columns))
        values = torch.cat([bound(module, part.to(device), noise, 1.0).value for part in chunks(rows, size)])
        return float(rows.mean(values.to(rows.device)))


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
