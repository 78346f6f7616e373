"""Real-valued cells: a location and a scale; and the squared error of a plain autoencoder."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skvae.nn.likelihoods.base import Likelihood, WayBack
from skvae.nn.noise import LOG_2PI, normal, uniform
from skvae.nn.pullbacks import Pullback, add_grad, run

N_NODES = 96  # of a sum over the noise of a cell
REACH = 7.0  # of that sum for normal noise, in standard deviations
T_REACH = 10.0  # ... and for Student's t with many degrees of freedom
HELD = 2.0  # times its floor: a scale below is there because of the floor
NEVER = 30.0  # standard deviations that no normal number is away
KNOTS = 256  # of a table of the upper half of Student's t
MIN_LOG_STD = -8.0  # the floor of a standard deviation: exp(-8) = 0.034 % of the scale of the column


def bounded_below(raw: Tensor, floor: float) -> Tensor:
    """A log standard deviation that approaches `floor` smoothly and equals `raw` well above it."""
    return floor + F.softplus(raw - floor)


def column(values: Tensor, n_axes: int) -> Tensor:
    """One number per column, (p,), in the shape (p, 1, ...) of features that come first."""
    return values.view(-1, *[1] * (n_axes - 1))


def log_of(likelihood: Likelihood, option: str, expected: str, value: Any) -> float:
    """The logarithm of a scale that was asked for; an error names the option."""
    if not (isinstance(value, Real) and 0.0 < float(value) < math.inf):
        raise ValueError(f"{option} of {type(likelihood).__name__} must be {expected}. Got {value!r} instead.")
    return math.log(value)


class LocationScale(Likelihood):
    """A location per cell, and a scale per cell, per column, shared by all columns, or fixed.

    Parameters
    ----------
    n_columns : int
        Columns of the block.
    scale : {"cell", "column", "shared"} or float, default="cell"
        Where the standard deviation comes from: the decoder, one learned number per column, one for the block, or the
        given number (in units of the columns' standard deviations). Of `Gaussian` also "leave_one_out": one number for
        the block, fixed when a VAE's fit starts, that of the kernel density estimate which best predicts a training row
        from the others.
    min_scale : float, optional
        The least that a learned scale can be, in the same units; exp(MIN_LOG_STD) where it is not given. A large one
        makes a smooth density that overlooks fine structure.
    """

    kind = "continuous"
    log_scale: Tensor | None

    def __init__(self, n_columns: int, *, scale: str | float = "cell", min_scale: float | None = None) -> None:
        super().__init__()
        self.n_columns = n_columns
        self.scale = scale
        self.floor = MIN_LOG_STD if min_scale is None else log_of(self, "min_scale", "a positive number", min_scale)
        self.n_outputs = 2 * n_columns if scale == "cell" else n_columns
        if scale == "cell":
            self.log_scale = None
        elif scale in ("column", "shared"):
            self.log_scale = nn.Parameter(torch.zeros(n_columns if scale == "column" else 1))
        else:
            self.register_buffer("log_scale", torch.full((1,), self._fixed(scale)))

    def _fixed(self, scale: Any) -> float:
        """The logarithm of a scale that is fixed."""
        return log_of(self, "scale", "'cell', 'column', 'shared' or a positive number", scale)

    @property
    def fixed_scale(self) -> Tensor | None:
        """The log standard deviation that no training moves, shape (1,), or None."""
        return None if isinstance(self.log_scale, nn.Parameter) else self.log_scale

    def location_and_log_scale(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Split the decoder's outputs; both broadcast to (..., p)."""
        if self.log_scale is None:
            location, raw = outputs.chunk(2, dim=-1)
            return location, bounded_below(raw, self.floor)
        if isinstance(self.log_scale, nn.Parameter):
            return outputs, bounded_below(self.log_scale, self.floor)
        return outputs, self.log_scale

    def split(self, outputs: Tensor) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]:
        """Location and log scale of outputs with features first, and the pullback of both to the outputs."""
        if self.log_scale is None:
            location, raw = outputs.chunk(2)
            return (
                location,
                bounded_below(raw, self.floor),
                lambda to_location, to_scale: torch.cat([to_location, to_scale.mul_(torch.sigmoid(raw - self.floor))]),
            )
        raw = column(self.log_scale, outputs.ndim)
        if not isinstance(self.log_scale, nn.Parameter):
            return outputs, raw, lambda to_location, to_scale: to_location

        def pull(to_location: Tensor, to_scale: Tensor) -> Tensor:
            add_grad(self.log_scale, to_scale * torch.sigmoid(raw - self.floor))
            return to_location

        return outputs, bounded_below(raw, self.floor), pull

    def mean(self, outputs: Tensor) -> Tensor:
        return outputs[..., : self.n_columns]

    def expectation(self, outputs: Tensor, back: WayBack) -> Tensor:
        """E[back(x)|z] with x = location + scale * u."""
        return self.expected_back(*self.location_and_log_scale(outputs), back)

    def expected_back(self, location: Tensor, log_scale: Tensor, back: WayBack) -> Tensor:
        """That of given locations: in closed form, or, where it is bent, as a sum over the noise u.

        What the bounds take from a symmetric u adds to the location that is kept within them.
        """
        scale, kept = torch.exp(log_scale), location
        if back.is_bounded:
            taken = self.beyond((location - back.low).abs_().div_(scale))
            taken -= self.beyond((location - back.high).abs_().div_(scale))
            kept = location.clamp(back.low, back.high) + taken.mul_(scale)
        out = back.straight(kept)
        if back.bent:
            noise, weight = (part.expand(-1, self.n_columns) for part in self.noise(location))
            scale = scale.to(location.dtype).expand_as(location)
        for j, bend in back.bent:
            out[..., j] = bend(location[..., j, None] + scale[..., j, None] * noise[:, j]) @ weight[:, j]
        return out

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        return self.draw(*self.location_and_log_scale(outputs), generator)

    def draw(self, location: Tensor, log_scale: Tensor, generator: torch.Generator) -> Tensor:
        """Draws of cells of given locations."""
        raise NotImplementedError("a LocationScale defines draw(location, log_scale, generator)")

    def tails(self) -> Tensor | None:
        """Degrees of freedom per column, shape (p,), where there are any."""
        return None

    def log_constant(self, df: Tensor | None) -> Tensor | float:
        """What the log-density of a mode has beside `ModeMixtureLogProb`'s, shape (p,) or ()."""
        raise NotImplementedError("a LocationScale defines log_constant(df)")

    def pull_tails(self, df: Tensor, grad: Tensor, to_df: Tensor) -> None:
        """Take a gradient (p, ...) at cells to which the constant was added, and the rest of that to df."""
        raise NotImplementedError("a LocationScale with tails defines pull_tails(df, grad, to_df)")

    def beyond(self, edge: Tensor) -> Tensor:
        """E[(u - edge)+] of the noise u for edges >= 0, (..., p); inherited, the noise counts as 0."""
        return torch.zeros_like(edge)

    def noise(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Points of the noise u, ascending, and weights with sum 1, each (n, p) or (n, 1); inherited, one point: 0."""
        return like.new_zeros(1, 1), like.new_ones(1, 1)

    def start(self, mean: Tensor) -> Tensor:
        return torch.cat([mean, mean.new_zeros(self.n_outputs - self.n_columns)])


class GaussianLogProb(torch.autograd.Function):
    """Normal log-density with its gradient in closed form: fewer operations than autograd records.

    log p = -u^2 / 2 - log s - log(2 pi) / 2 with u = (x - location) / s. There is no gradient to x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, location: Tensor, log_scale: Tensor) -> Tensor:
        """Log-density of each cell; the arguments broadcast."""
        inverse_scale = torch.exp(-log_scale)
        u = (x - location) * inverse_scale
        ctx.save_for_backward(u, inverse_scale)
        ctx.shapes = location.shape, log_scale.shape
        return torch.addcmul(-log_scale - 0.5 * LOG_2PI, u, u, value=-0.5)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:
        """Gradients to location and log_scale."""
        u, inverse_scale = ctx.saved_tensors
        location_shape, scale_shape = ctx.shapes
        pull = grad * u
        to_scale = torch.addcmul(-grad, pull, u).sum_to_size(scale_shape)
        return None, (pull * inverse_scale).sum_to_size(location_shape), to_scale


class Gaussian(LocationScale):
    """Normal cells; `scale` says where the standard deviation comes from (see `LocationScale`)."""

    def _fixed(self, scale: Any) -> float:
        if isinstance(scale, str) and scale == "leave_one_out":
            return 0.0  # until a fit knows the rows
        return log_of(self, "scale", "'cell', 'column', 'shared', 'leave_one_out' or a positive number", scale)

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        log_density: Tensor = GaussianLogProb.apply(x, *self.location_and_log_scale(outputs))
        return log_density

    def with_pullback(self, outputs: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        location, log_scale, pull = self.split(outputs)
        cells, back = run(GaussianLogProb, x.unsqueeze(1), location, log_scale)
        return cells, lambda grad: pull(*back(grad)[1:])

    def draw(self, location: Tensor, log_scale: Tensor, generator: torch.Generator) -> Tensor:
        return location + torch.exp(log_scale) * normal(location.shape, location, generator)

    def log_constant(self, df: Tensor | None) -> Tensor | float:
        return -0.5 * LOG_2PI

    def beyond(self, edge: Tensor) -> Tensor:
        edge = edge.clamp_max(NEVER)  # beyond, an exponential takes ten times as long
        density = edge.square().mul_(-0.5).exp_().mul_(math.exp(-0.5 * LOG_2PI))
        return density.addcmul_(torch.erfc(edge * math.sqrt(0.5)), edge, value=-0.5)

    def noise(self, like: Tensor) -> tuple[Tensor, Tensor]:
        u = torch.linspace(-REACH, REACH, N_NODES, dtype=like.dtype, device=like.device).unsqueeze(1)
        return u, torch.softmax(-0.5 * u.square(), 0)  # the trapezoid rule


class SmoothGaussian(Gaussian):
    """Normal cells with a scale per column that has a floor in training only.

    The floor makes a smooth density, which overlooks fine structure and is the better one to train. Cells that follow
    from others more closely than it lets them would be drawn too wide, so afterwards the scales that it held (those
    below HELD times the floor) are fitted to the distances of the training cells, the networks being as they are.

    Parameters
    ----------
    n_columns : int
        Columns of the block.
    min_scale : float, default=0.1
        The least that a scale can be in training, in units of the columns' standard deviations.
    """

    settles = True
    fall: Tensor

    def __init__(self, n_columns: int, *, min_scale: float = 0.1) -> None:
        super().__init__(n_columns, scale="column", min_scale=min_scale)
        self.register_buffer("fall", torch.zeros(n_columns))  # of the log scales, since training

    def location_and_log_scale(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        location, log_scale = super().location_and_log_scale(outputs)
        return location, log_scale - self.fall

    def split(self, outputs: Tensor) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]]:
        location, log_scale, pull = super().split(outputs)
        return location, log_scale - column(self.fall, outputs.ndim), pull

    @property
    def held(self) -> Tensor:
        """Which scales the floor held in training, shape (p,)."""
        assert self.log_scale is not None, "there is one per column"
        return bounded_below(self.log_scale, self.floor) < self.floor + math.log(HELD)

    def settle(self, mean_square: Tensor) -> None:
        """Training is over: scales that were held become the roots of these mean squares (p,), where that is less."""
        assert self.log_scale is not None, "there is one per column"
        trained = bounded_below(self.log_scale, self.floor)
        fall = trained - (0.5 * torch.log(mean_square)).clamp_min(MIN_LOG_STD).to(trained)
        self.fall.copy_(torch.where(self.held, fall.clamp_min(0.0), 0.0))

    def unsettle(self) -> None:
        """Training begins again: back to the scales that it left."""
        self.fall.zero_()


class LogNormal(Gaussian):
    """Positive cells: a `Gaussian` of their logarithm.

    It sees the standardised logarithms; the table that takes them counts their Jacobian.
    """

    kind = "positive"


def _student_t_constant(df: Tensor) -> Tensor:
    """Log-density of a standard Student's t at 0."""
    return torch.lgamma(0.5 * (df + 1.0)) - torch.lgamma(0.5 * df) - 0.5 * torch.log(math.pi * df)


def _constant_slope(df: Tensor) -> Tensor:
    """Its derivative."""
    return 0.5 * (torch.digamma(0.5 * (df + 1.0)) - torch.digamma(0.5 * df) - 1.0 / df)


class StudentTLogProb(torch.autograd.Function):
    """Log-density of Student's t with its gradient in closed form: a third of the operations that autograd records.

    log p = c(df) - log s - (df + 1) / 2 log(1 + u^2 / df) with u = (x - location) / s. There is no gradient to x.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, location: Tensor, log_scale: Tensor, df: Tensor) -> Tensor:
        """Log-density of each cell; the arguments broadcast."""
        inverse_scale = torch.exp(-log_scale)
        u = (x - location) * inverse_scale
        q = u.square() / df
        log_q = torch.log1p(q)
        half = 0.5 * (df + 1.0)
        constant = _student_t_constant(df)
        ctx.save_for_backward(u, q, log_q, inverse_scale, df)
        ctx.shapes = location.shape, log_scale.shape
        return torch.addcmul(constant - log_scale, half, log_q, value=-1.0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor, Tensor]:
        """Gradients to location, log_scale and df."""
        u, q, log_q, inverse_scale, df = ctx.saved_tensors
        location_shape, scale_shape = ctx.shapes
        w = ((df + 1.0) / df) / (1.0 + q)
        pull = grad * w * u
        to_df = grad * torch.addcmul(_constant_slope(df) - 0.5 * log_q, w, q, value=0.5)
        return (
            None,
            (pull * inverse_scale).sum_to_size(location_shape),
            (pull * u - grad).sum_to_size(scale_shape),
            to_df.sum_to_size(df.shape),
        )


class StudentT(LocationScale):
    """Heavy-tailed cells: Student's t, `scale` as in `LocationScale`, degrees of freedom (> 2) learned per column."""

    MIN_DF = 2.0

    def __init__(self, n_columns: int, *, scale: str | float = "cell", min_scale: float | None = None) -> None:
        super().__init__(n_columns, scale=scale, min_scale=min_scale)
        self.raw_df = nn.Parameter(torch.full((n_columns,), 5.0))

    @property
    def df(self) -> Tensor:
        """Degrees of freedom per column, shape (p,)."""
        return self.MIN_DF + F.softplus(self.raw_df)

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        location, log_scale = self.location_and_log_scale(outputs)
        log_density: Tensor = StudentTLogProb.apply(x, location, log_scale, self.df)
        return log_density

    def with_pullback(self, outputs: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        location, log_scale, pull_parts = self.split(outputs)
        cells, back = run(StudentTLogProb, x.unsqueeze(1), location, log_scale, column(self.df, 3))

        def pull(grad: Tensor) -> Tensor:
            _, to_location, to_scale, to_df = back(grad)
            add_grad(self.raw_df, to_df * column(torch.sigmoid(self.raw_df), 3))
            return pull_parts(to_location, to_scale)

        return cells, pull

    def tails(self) -> Tensor | None:
        return self.df

    def log_constant(self, df: Tensor | None) -> Tensor | float:
        assert df is not None, "a mode with tails"
        half = 0.5 * df
        gammas = torch.lgamma(half + 0.5).sub_(torch.lgamma(half))
        return gammas.addcmul_(half, torch.log(df)).sub_(0.5 * math.log(math.pi))

    def pull_tails(self, df: Tensor, grad: Tensor, to_df: Tensor) -> None:
        half, each = 0.5 * df, grad.flatten(1).sum(1).expand(self.n_columns)
        slope = torch.digamma(half + 0.5).sub_(torch.digamma(half)).add_(torch.log(df)).add_(1.0)
        add_grad(self.raw_df, torch.addcmul(to_df.flatten(), each, slope, value=0.5).mul_(torch.sigmoid(self.raw_df)))

    def draw(self, location: Tensor, log_scale: Tensor, generator: torch.Generator) -> Tensor:
        # torch has no chi-square draw that takes a generator: Bailey's (1994) polar method needs uniforms only.
        df = self.df.expand_as(location)
        u = uniform(location.shape, location, generator).clamp_min(torch.finfo(location.dtype).tiny)
        radius = torch.sqrt(df * torch.expm1(-2.0 / df * torch.log(u)))
        cosine = torch.cos(2.0 * math.pi * uniform(location.shape, location, generator))
        return location + torch.exp(log_scale) * radius * cosine

    def beyond(self, edge: Tensor) -> Tensor:
        """E[(u - edge)+] by a table over the angle t = arctan(u / sqrt(df)), whose density is c cos(t)^(df - 1)."""
        df = self.df
        table = _beyond_at_angles(df, self._reach, KNOTS).to(edge).flatten()
        place = (edge / df.sqrt().to(edge)).atan_().mul_((KNOTS / self._reach).to(edge)).clamp_max_(KNOTS)
        place.nan_to_num_(KNOTS)  # of a model that blew up, whose cells are NaN themselves
        knot = place.long().clamp_max_(KNOTS - 1)
        place -= knot
        cell = knot.mul_(self.n_columns).add_(torch.arange(self.n_columns, device=edge.device))
        return torch.lerp(table.take(cell), table.take(cell + self.n_columns), place)

    @property
    def _reach(self) -> Tensor:
        """The angle up to which there is anything to sum, shape (p,)."""
        return (T_REACH / self.df.sqrt()).clamp_max(0.5 * math.pi)

    def noise(self, like: Tensor) -> tuple[Tensor, Tensor]:
        df = self.df
        share = (2.0 * torch.arange(N_NODES, device=df.device).unsqueeze(1) + 1.0) / N_NODES - 1.0
        angle = self._reach * share
        return df.sqrt() * torch.tan(angle), torch.softmax((df - 1.0) * torch.log(torch.cos(angle)), 0)


def _beyond_at_angles(df: Tensor, reach: Tensor, n: int) -> Tensor:
    """E[(u - e)+] of Student's t at e = sqrt(df) tan(t), for n + 1 angles t from 0 to `reach`: shape (n + 1, p).

    The integral of u is known; that of the density is Simpson's rule between the angles.
    """
    angle = torch.linspace(0.0, 1.0, 2 * n + 1, dtype=df.dtype, device=df.device)[:-1].unsqueeze(1) * reach
    density = F.pad(torch.cos(angle).pow(df - 1.0), (0, 0, 0, 1))  # (2n + 1, p), without its constant
    pieces = (density[:-2:2] + 4.0 * density[1::2] + density[2::2]) * (reach / (6.0 * n))
    tail = pieces.flip(0).cumsum(0).flip(0)  # (n, p)
    beyond = df.sqrt() * (density[:-2:2] / (df - 1.0) - torch.tan(angle[::2]) * tail)
    return F.pad(beyond.clamp_min(0.0) / (2.0 * tail[0]), (0, 0, 0, 1))


class SquaredError(Likelihood):
    """Minus the squared error of each cell, in standardised units: the loss of a plain autoencoder, not a density."""

    kind = "continuous"

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self.n_columns = self.n_outputs = n_columns

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        return -(x - outputs).square()

    def with_pullback(self, outputs: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        distance = x.unsqueeze(1) - outputs
        return -distance.square(), lambda grad: (2.0 * distance).mul_(grad)

    def mean(self, outputs: Tensor) -> Tensor:
        return outputs

    def start(self, mean: Tensor) -> Tensor:
        return mean
