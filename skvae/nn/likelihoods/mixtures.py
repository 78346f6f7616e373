"""Real-valued cells with several modes: mixture density heads (Bishop 1994)."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from skvae.nn.likelihoods.base import Likelihood, WayBack
from skvae.nn.likelihoods.continuous import Gaussian, StudentT, bounded_below, column, log_of
from skvae.nn.noise import uniform
from skvae.nn.pullbacks import Pullback, exp_, run

N_MODES = (5, 3)  # by default, the second of a cell among many columns:
MANY_COLUMNS = 20  # more than so many
MAX_RAW = 60.0  # of the logarithm of a scale: its exponential stays far within float32


class ModeMixtureLogProb(torch.autograd.Function):
    """Log-density of a mixture of modes with its gradient in closed form, in few passes over memory; features first.

    log p = log sum_k exp(l_k + c_k) - log sum_k exp(l_k) with the logits l_k and the modes' log-densities c_k, where
    c_k = -log s_k + g(u_k) with u_k = (x - location_k) / s_k and s_k = exp(raw_k) + floor, and g(u) = -u^2 / 2 or
    -(df + 1) / 2 log(df + u^2). With the responsibilities r_k = softmax_k(l_k + c_k) and the weights
    w_k = softmax_k(l_k) the gradient to l_k is r_k - w_k, and that to a mode's own parameters is r_k times that of c_k.
    There is no gradient to x.
    """

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, x: Tensor, n_modes: int, floor: float, df: Tensor | None) -> Tensor:
        """Log-density of each cell, (p, ...), but for the constant that all modes share.

        Parameters
        ----------
        outputs : tensor of shape (3 * n_modes * p, ...)
            Locations, logarithms of scales and logits, mode by mode.
        x : tensor of shape (p, ...)
        n_modes : int
        floor : float
            Of the scales.
        df : tensor of shape (p, 1, ...) or None
            Degrees of freedom of Student's t; None for normal modes.
        """
        location, raw, logit = outputs.reshape(3, n_modes, -1, *outputs.shape[1:]).unbind(0)
        inverse = exp_(raw.clamp_max(MAX_RAW)).add_(floor).reciprocal_()  # of the scale
        u = torch.sub(x, location).mul_(inverse)
        shares = logit.new_empty(2, *logit.shape)  # those of the row's own modes, and the weights
        joint, weight = shares.unbind(0)
        weight.copy_(logit)
        power = pulled = None
        if df is None:
            torch.addcmul(logit, u, u, value=-0.5, out=joint)
        else:
            q = torch.addcmul(df, u, u)
            power, pulled = torch.log(q), torch.div(df + 1.0, q, out=q)
            torch.addcmul(logit, power, 0.5 * (df + 1.0), value=-1.0, out=joint)
        limits = torch.finfo(logit.dtype)
        top = shares.amax(1, keepdim=True).clamp_min_(limits.min)  # all may be minus infinity
        exp_(shares.sub_(top))
        joint.mul_(inverse)
        total = shares.sum(1, keepdim=True).clamp_min_(limits.tiny)
        shares.div_(total)
        total.log_().add_(top)
        ctx.floor = floor
        ctx.save_for_backward(u, inverse, joint, weight, power, pulled, df)
        return torch.sub(*total.squeeze(1).unbind(0))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, Tensor | None]:
        """Gradients to outputs and df."""
        u, inverse, share, weight, power, pulled, df = ctx.saved_tensors
        own = grad * share
        out = own.new_empty(3, *own.shape)
        to_location, to_raw, to_logit = out.unbind(0)
        torch.addcmul(own, grad, weight, value=-1.0, out=to_logit)
        pull, to_df = own * u, None
        if df is not None:
            pull *= pulled
            to_df = (power + pulled).mul_(own).sum_to_size(df.shape).mul_(-0.5)
        torch.mul(pull, inverse, out=to_location)
        # exp(raw) / s = 1 - floor / s of the slope to log s, which is pull * u - own
        torch.mul(own.addcmul_(pull, u, value=-1.0), (inverse * ctx.floor).sub_(1.0), out=to_raw)
        return out.flatten(0, 2), None, None, None, to_df


def log_density(outputs: Tensor, x: Tensor, n_modes: int, floor: float, df: Tensor | None) -> Tensor:
    """`ModeMixtureLogProb` without a way back, in half as many passes over memory; overwrites the outputs."""
    location, raw, logit = outputs.view(3, n_modes, -1, *outputs.shape[1:]).unbind(0)
    scale = exp_(raw.clamp_max_(MAX_RAW)).add_(floor)
    u = torch.sub(x, location, out=location).div_(scale)
    if df is None:
        joint = torch.addcmul(logit, u, u, value=-0.5, out=u)
    else:
        joint = torch.addcmul(logit, torch.addcmul(df, u, u, out=u).log_(), 0.5 * (df + 1.0), value=-1.0, out=u)
    limits = torch.finfo(logit.dtype)
    top, top_weight = joint.amax(0, keepdim=True).clamp_min_(limits.min), logit.amax(0, keepdim=True)
    total = exp_(joint.sub_(top)).div_(scale).sum(0).clamp_min_(limits.tiny)
    return total.div_(exp_(logit.sub_(top_weight)).sum(0)).log_().add_(top.sub_(top_weight).squeeze(0))


def _by_mode(outputs: Tensor, n_modes: int) -> tuple[Tensor, ...]:
    """Locations, logarithms of scales (but for the floor) and logits, each of shape (..., n_modes, p)."""
    modes: Tensor = outputs.unflatten(-1, (3, n_modes, -1))
    return modes.unbind(-3)


class ModeMixture(Likelihood):
    """Several modes per cell, each with a weight, a location and a scale from the decoder.

    The mean of a cell is that of all its modes, and may lie where no mode is; draws fall into one of them.

    Parameters
    ----------
    n_columns : int
        Columns of the block.
    n_modes : int or "auto", default="auto"
        Modes of each cell. "auto" is 5, or 3 in a block of more than 20 columns: there more modes gain no more, and
        take longer.
    min_scale : float, optional
        The least that a mode's scale can be, in units of the columns' standard deviations, as for `LocationScale`.

    References
    ----------
    Bishop (1994), Mixture density networks.
    """

    kind = "continuous"
    family: type[Gaussian] | type[StudentT]  # of a mode

    def __init__(self, n_columns: int, *, n_modes: int | str = "auto", min_scale: float | None = None) -> None:
        super().__init__()
        self.n_columns = n_columns
        self.n_modes = self._counted(n_modes)
        self.n_outputs = 3 * self.n_modes * n_columns
        if min_scale is not None:
            log_of(self, "min_scale", "a positive number", min_scale)
        self.mode = self.family(n_columns, min_scale=min_scale)

    def _counted(self, n_modes: Any) -> int:
        if isinstance(n_modes, str) and n_modes == "auto":
            return N_MODES[self.n_columns > MANY_COLUMNS]
        if isinstance(n_modes, bool) or not (isinstance(n_modes, Integral) and int(n_modes) >= 1):
            raise ValueError(
                f"n_modes of {type(self).__name__} must be a positive integer or 'auto'. Got {n_modes!r} instead."
            )
        return int(n_modes)

    def modes(self, outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Location, log scale and logit of each mode, each of shape (..., n_modes, p)."""
        location, raw, logit = _by_mode(outputs, self.n_modes)
        return location, bounded_below(raw.clamp_max(MAX_RAW), self.mode.floor), logit

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        rows = torch.broadcast_shapes(outputs.shape[:-1], x.shape[:-1])
        outputs, x = (part.expand(*rows, -1).movedim(-1, 0).contiguous() for part in (outputs, x))
        df = self.mode.tails()
        across = None if df is None else column(df, 1 + len(rows))
        log_density: Tensor = ModeMixtureLogProb.apply(outputs, x, self.n_modes, math.exp(self.mode.floor), across)
        return log_density.movedim(0, -1) + self.mode.log_constant(df)

    def with_pullback(self, outputs: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        df = self.mode.tails()
        across = None if df is None else column(df, 3)
        floor = math.exp(self.mode.floor)
        log_density, back = run(ModeMixtureLogProb, outputs, x.unsqueeze(1), self.n_modes, floor, across)

        def pull(grad: Tensor) -> Tensor:
            to_outputs: Tensor
            to_outputs, *_, to_df = back(grad)
            if df is not None:
                self.mode.pull_tails(df, grad, to_df)
            return to_outputs

        constant = self.mode.log_constant(df)
        return log_density.add_(column(constant, 3) if isinstance(constant, Tensor) else constant), pull

    def features_first(self, outputs: Tensor, x: Tensor) -> Tensor:
        df = self.mode.tails()
        across = None if df is None else column(df, 3)
        cells = log_density(outputs, x.unsqueeze(1), self.n_modes, math.exp(self.mode.floor), across)
        constant = self.mode.log_constant(df)
        return cells.add_(column(constant, 3) if isinstance(constant, Tensor) else constant)

    def mean(self, outputs: Tensor) -> Tensor:
        location, _, logit = self.modes(outputs)
        return torch.softmax(logit, -2).mul(location).sum(-2)

    def expectation(self, outputs: Tensor, back: WayBack) -> Tensor:
        """E[back(x)|z]: the weighted sum of the modes' expectations."""
        location, log_scale, logit = self.modes(outputs)
        return torch.softmax(logit, -2).mul(self.mode.expected_back(location, log_scale, back)).sum(-2)

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        location, log_scale, logit = self.modes(outputs)
        below = torch.softmax(logit, -2).cumsum(-2)
        below = below / below[..., -1:, :]  # rounding must not give the last mode what it does not have
        u = uniform((*location.shape[:-2], 1, self.n_columns), location, generator)
        mode = (u >= below[..., :-1, :]).sum(-2, keepdim=True)
        location, log_scale = (part.gather(-2, mode).squeeze(-2) for part in (location, log_scale))
        return self.mode.draw(location, log_scale, generator)

    def start(self, mean: Tensor) -> Tensor:
        return self._equal_modes(mean + torch.special.ndtri(self._middles(mean)))

    def start_at(self, mean: Tensor, quantiles: Tensor) -> Tensor:
        """Equal modes in the middles of as many equal shares of each column, as wide as such a share of a normal one.

        Without quantiles the columns count as normal.
        """
        place = self._middles(mean) * (len(quantiles) - 1)
        below = place.long()
        low, high = (quantiles.take_along_dim(knot, 0) for knot in (below, below + 1))
        return self._equal_modes(torch.lerp(low, high, place - below))

    def _middles(self, like: Tensor) -> Tensor:
        """The middles of equal shares, (n_modes, 1)."""
        return ((torch.arange(self.n_modes, dtype=like.dtype) + 0.5) / self.n_modes).unsqueeze(1)

    def _equal_modes(self, location: Tensor) -> Tensor:
        """The outputs of modes at these locations, (n_modes, p)."""
        width = torch.full_like(location, -math.log(self.n_modes))
        return torch.cat([part.flatten() for part in (location, width, torch.zeros_like(location))])


class GaussianMixture(ModeMixture):
    """Normal modes."""

    family = Gaussian


class StudentTMixture(ModeMixture):
    """Modes of Student's t, their degrees of freedom (> 2) learned per column."""

    family = StudentT
