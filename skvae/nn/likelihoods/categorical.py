"""Columns of levels, held as codes 0, 1, ...: in no order (Categorical) or in one (Ordinal).

Columns may differ in their number of levels. Everything per level lies flat, column after column (`total` numbers in a
row), without padding: sums over a column's levels are one product with a constant matrix of zeros and ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skvae.nn.likelihoods.base import Likelihood, WayBack, bounded
from skvae.nn.noise import uniform
from skvae.nn.pullbacks import Pullback, add_grad

MAX_LOGIT = 30.0  # within a column, no probability is below exp(-60) times the greatest
LOG_SCALE = (-8.0, 8.0)  # of the logistic variable behind an ordinal cell
LOG_GAP = (-25.0, 5.0)  # between thresholds
FAR = 1e30  # stands for infinity as a threshold: its products with a zero gradient are 0


class LevelLikelihood(Likelihood):
    """What columns of levels share.

    Parameters
    ----------
    n_columns : int
        Columns of the block.
    frequencies : sequence of n_columns sequences of float, optional
        The share of each level of each column in the training rows, all above 0. Two equal ones per column where it is
        not given.

    Raises
    ------
    ValueError
        If there are not as many sequences as columns, or a share is not above 0.
    """

    needs_frequencies = True
    offset: Tensor
    n_levels: Tensor
    column: Tensor
    code: Tensor

    def __init__(self, n_columns: int, *, frequencies: Sequence[Sequence[float]] | None = None) -> None:
        super().__init__()
        self.n_columns = n_columns
        self.shares = _shares(n_columns, frequencies)
        self.sizes = [len(share) for share in self.shares]
        n_levels = torch.tensor(self.sizes)
        offset = n_levels.cumsum(0) - n_levels
        column = torch.repeat_interleave(torch.arange(n_columns), n_levels)
        self.total = len(column)
        self._constant("n_levels", n_levels)  # (p,)
        self._constant("offset", offset)  # (p,): where a column's levels begin
        self._constant("column", column)  # (total,): whose level it is
        self._constant("code", torch.arange(self.total) - offset[column])  # (total,)

    def _constant(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)

    def mean(self, outputs: Tensor) -> Tensor:
        return self.point(self.expected(outputs))

    def expectation(self, outputs: Tensor, back: WayBack) -> Tensor:
        return self.expected(outputs)

    def point(self, expected: Tensor) -> Tensor:
        top = expected.new_empty(*expected.shape[:-1], self.n_columns)
        column = self.column.expand_as(expected)
        top = top.scatter_reduce(-1, column, expected, "amax", include_self=False)
        codes = self.code.to(expected.dtype).masked_fill(expected < top[..., self.column], self.total)
        return top.scatter_reduce(-1, column, codes, "amin", include_self=False)


class Categorical(LevelLikelihood):
    """Levels in no order, each with a logit from the decoder: p = softmax over the levels of the column.

    Logits are kept within +-30, so no probability is below exp(-60) times the greatest of its column.

    Parameters
    ----------
    n_columns : int
        Columns of the block.
    frequencies : sequence of n_columns sequences of float, optional
        The share of each level of each column in the training rows, all above 0. Two equal ones per column where it is
        not given.
    """

    kind = "categorical"
    segments: Tensor
    marginal: Tensor

    def __init__(self, n_columns: int, *, frequencies: Sequence[Sequence[float]] | None = None) -> None:
        super().__init__(n_columns, frequencies=frequencies)
        self.n_outputs = self.total
        self._constant("segments", F.one_hot(self.column, n_columns).float())  # (total, p)
        self._constant("marginal", torch.cat([_centred(share.log()) for share in self.shares]).float())  # (total,)

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        rows = torch.broadcast_shapes(outputs.shape[:-1], x.shape[:-1])
        logits = bounded(outputs, (-MAX_LOGIT, MAX_LOGIT)).expand(*rows, -1)
        picked = logits.gather(-1, (x.long() + self.offset).expand(*rows, -1))
        return picked - torch.log(torch.exp(logits) @ self.segments)

    def with_pullback(self, outputs: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        """The gradient to a logit is minus the probability of its level, plus one at the picked one.

        Beyond a bound it is that of the bound. It is made in the memory of the weights exp(logit), (total, S, b).
        """
        place = (x.long() + self.offset.unsqueeze(1)).unsqueeze(1).expand(-1, *outputs.shape[1:])  # (p, S, b)
        picked = outputs.gather(0, place).clamp_(-MAX_LOGIT, MAX_LOGIT)
        weights = outputs.clamp(-MAX_LOGIT, MAX_LOGIT).exp_()
        sums = (self.segments.T @ weights.flatten(1)).view_as(picked)

        def pull(grad: Tensor) -> Tensor:
            for own, slope in zip(weights.split_with_sizes(self.sizes), (grad / sums).neg_(), strict=True):
                own.mul_(slope)
            return weights.scatter_add_(0, place, grad)

        return picked.sub_(torch.log(sums)), pull

    def expected(self, outputs: Tensor) -> Tensor:
        weights = torch.exp(bounded(outputs, (-MAX_LOGIT, MAX_LOGIT)))
        return weights * ((weights @ self.segments).reciprocal() @ self.segments.T)

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        # The sum of probabilities runs on through all columns: in float32 few digits would be left for the later ones.
        # A column's last level is never passed, so that no code is too high.
        last = self.offset + self.n_levels - 1
        probability = self.expected(outputs).double()
        ends = probability.cumsum(-1)  # (..., total)
        begin = ends[..., self.offset] - probability[..., self.offset]  # (..., p)
        u = begin + uniform(begin.shape, begin, generator)
        passed = (ends <= u[..., self.column]).index_fill(-1, last, False)
        return passed.to(outputs.dtype) @ self.segments

    def start(self, mean: Tensor) -> Tensor:
        return self.marginal.to(mean)


class Ordinal(LevelLikelihood):
    """Levels in an order: the proportional-odds model (McCullagh 1980).

    P(x <= l | z) = sigmoid((threshold_l - location) / scale). Location and logarithm of the scale (within +-8) come
    from the decoder, per cell; the thresholds are learned per column. So a cell is a logistic variable cut at the
    thresholds.

    Parameters
    ----------
    n_columns : int
        Columns of the block.
    frequencies : sequence of n_columns sequences of float, optional
        The share of each level of each column in the training rows, all above 0, in the order of the levels. Two equal
        ones per column where it is not given.
    """

    kind = "ordinal"
    slot: Tensor
    first: Tensor
    edge: Tensor
    open: Tensor

    def __init__(self, n_columns: int, *, frequencies: Sequence[Sequence[float]] | None = None) -> None:
        super().__init__(n_columns, frequencies=frequencies)
        self.n_outputs = 2 * n_columns
        self.raw_thresholds = nn.Parameter(torch.cat([_raw_thresholds(share) for share in self.shares]).float())
        n_steps = self.n_levels - 1
        level = torch.arange(int(self.n_levels.max()))  # (most,)
        begins = n_steps.cumsum(0) - n_steps
        slot = torch.where(level < n_steps[:, None], begins[:, None] + level, len(self.raw_thresholds))
        self._constant("slot", slot)  # (p, most): where a step lies among the parameters; beyond them where none is
        self._constant("first", self.code[self.code < n_steps[self.column]] == 0)  # (total - p,)
        self._constant("edge", level >= n_steps[:, None])  # (p, most): the column has no threshold above it
        self._constant("open", self.edge | (level == 0))  # (p, most): ... or none below it

    def _steps(self) -> Tensor:
        """First threshold of each column, then the distances between them, shape (p, most)."""
        steps = torch.where(self.first, self.raw_thresholds, torch.exp(bounded(self.raw_thresholds, LOG_GAP)))
        return torch.cat([steps, steps.new_zeros(1)])[self.slot]

    @property
    def thresholds(self) -> Tensor:
        """Thresholds above each level, shape (p, most); 1e30 from a column's last level on."""
        return self._steps().cumsum(1).masked_fill(self.edge, FAR)

    def _edges_and_gaps(self) -> tuple[Tensor, Tensor]:
        """What bounds the levels of each column, (p, most + 1), and the gaps in between, (p, most); FAR is infinity."""
        steps = self._steps()
        upper = steps.cumsum(1).masked_fill(self.edge, FAR)
        return F.pad(upper, (1, 0), value=-FAR), steps.masked_fill(self.open, FAR)

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        """Log-probability of each code.

        The difference of two sigmoids as a product: s(a) - s(b) = s(a) s(-b) (1 - exp(b - a)).
        """
        edges, gaps = self._edges_and_gaps()
        columns, codes = torch.arange(self.n_columns, device=x.device), x.long()
        location, log_scale = outputs.chunk(2, dim=-1)
        inverse_scale = torch.exp(-bounded(log_scale, LOG_SCALE))
        above = F.logsigmoid((edges[columns, codes + 1] - location) * inverse_scale)
        below = F.logsigmoid((location - edges[columns, codes]) * inverse_scale)
        return above + below + torch.log(-torch.expm1(-gaps[columns, codes] * inverse_scale))

    def with_pullback(self, outputs: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        """The slope of log s(a) is s(-a), and that of log(1 - exp(-g)) is 1 / (exp(g) - 1); see `log_prob`."""
        edges, gaps = self._edges_and_gaps()
        codes = x.long()
        upper, lower, gap = edges.gather(1, codes + 1), edges.gather(1, codes), gaps.gather(1, codes)  # (p, b)
        location, log_scale = outputs.chunk(2)
        inverse_scale = torch.exp(-log_scale.clamp(*LOG_SCALE))
        above = (upper.unsqueeze(1) - location).mul_(inverse_scale)
        below = (location - lower.unsqueeze(1)).mul_(inverse_scale)
        between = gap.unsqueeze(1) * inverse_scale

        def pull(grad: Tensor) -> Tensor:
            distances = torch.stack([above, below, between])
            slopes = torch.stack([torch.sigmoid(-above), torch.sigmoid(-below), torch.expm1(between).reciprocal_()])
            slopes.mul_(grad)
            to_log_scale = (slopes * distances).sum(0).neg_()
            to_upper, to_lower, to_gap = slopes.mul_(inverse_scale).unbind(0)
            self._pull_edges_and_gaps(codes, to_upper.sum(1), to_lower.sum(1).neg_(), to_gap.sum(1))
            return torch.cat([to_lower - to_upper, to_log_scale])

        return F.logsigmoid(above) + F.logsigmoid(below) + torch.log(-torch.expm1(-between)), pull

    def _pull_edges_and_gaps(self, codes: Tensor, to_upper: Tensor, to_lower: Tensor, to_gap: Tensor) -> None:
        """Take gradients at what bounds cells, and at the gaps between, each (p, b), to the thresholds.

        Those at FAR are 0. A step moves all edges above it.
        """
        to_edges = to_gap.new_zeros(self.n_columns, self.slot.shape[1] + 1)
        to_edges.scatter_add_(1, codes + 1, to_upper).scatter_add_(1, codes, to_lower)
        to_steps = to_edges[:, 1:].flip(1).cumsum(1).flip(1).scatter_add_(1, codes, to_gap)
        to_raw = to_steps.new_empty(len(self.raw_thresholds) + 1)  # the last for where there is no step
        to_raw = to_raw.scatter_(0, self.slot.flatten(), to_steps.flatten())[:-1]
        slope = torch.exp(self.raw_thresholds.clamp(*LOG_GAP)).masked_fill_(self.first, 1.0)
        add_grad(self.raw_thresholds, slope.mul_(to_raw))

    def expected(self, outputs: Tensor) -> Tensor:
        location, log_scale = (part[..., self.column] for part in outputs.chunk(2, dim=-1))
        distance = self.thresholds[self.column, self.code] - location
        up_to = torch.sigmoid(distance * torch.exp(-bounded(log_scale, LOG_SCALE)))  # P(x <= code)
        below = F.pad(up_to[..., :-1], (1, 0)).masked_fill(self.code == 0, 0.0)
        return (up_to - below).clamp_min(0.0)

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        location, log_scale = outputs.chunk(2, dim=-1)
        u = uniform(location.shape, location, generator).clamp_min(torch.finfo(location.dtype).tiny)
        y = location + torch.exp(bounded(log_scale, LOG_SCALE)) * (torch.log(u) - torch.log1p(-u))
        passed = torch.searchsorted(self.thresholds, y.reshape(-1, self.n_columns).T.contiguous())  # (p, rows)
        return torch.minimum(passed.T, self.n_levels - 1).to(outputs.dtype).reshape(location.shape)

    def start(self, mean: Tensor) -> Tensor:
        return mean.new_zeros(self.n_outputs)


def _shares(n_columns: int, frequencies: Sequence[Sequence[float]] | None) -> list[Tensor]:
    """The shares of each column's levels, in float64, with sum 1 (nearly), none below what logits can tell from 0."""
    if frequencies is None:
        return [torch.full((2,), 0.5, dtype=torch.float64)] * n_columns
    shares = [torch.tensor([float(part) for part in share], dtype=torch.float64) for share in frequencies]
    if len(shares) != n_columns or not all(len(share) and (share > 0).all() for share in shares):
        raise ValueError(f"frequencies must hold a sequence of positive numbers for each of {n_columns} columns.")
    return [(share / share.sum()).clamp_min(math.exp(-2.0 * MAX_LOGIT)) for share in shares]


def _centred(values: Tensor) -> Tensor:
    """Shifted so that they reach as far up as down."""
    return values - 0.5 * (values.min() + values.max())


def _raw_thresholds(share: Tensor) -> Tensor:
    """The logits of the cumulative shares: the first, then the logarithms of their differences, within their bounds.

    With B below a threshold, A above it and s between it and the next, the difference is log(1 + s / B) +
    log(1 + s / (A - s)), in which an s that B would swallow still counts.
    """
    below, above = share.cumsum(0)[:-1], share.flip(0).cumsum(0).flip(0)[1:]
    first = torch.log(below[:1]) - torch.log(above[:1])
    differences = torch.log1p(share[1:-1] / below[:-1]) + torch.log1p(share[1:-1] / above[1:])
    return torch.cat([first, differences.log().clamp(*LOG_GAP)])
