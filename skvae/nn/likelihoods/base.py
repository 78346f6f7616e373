"""What every likelihood offers, and what several of them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from skvae.nn.pullbacks import Pullback, by_autograd


class WayBack(NamedTuple):
    """From encoded cells of p columns to data units: location + scale * x with x kept within bounds, or bent.

    A bend takes encoded cells of any shape to data units by itself; the other entries of its column are not read.
    """

    location: Tensor  # (p,)
    scale: Tensor  # (p,)
    low: Tensor  # (p,), encoded
    high: Tensor  # (p,), encoded
    bends: tuple[Callable[[Tensor], Tensor] | None, ...]  # p

    def of(self, columns: slice) -> WayBack:
        """Those of some columns."""
        location, scale, low, high = (part[columns] for part in self[:4])
        return WayBack(location, scale, low, high, self.bends[columns])

    @property
    def bent(self) -> list[tuple[int, Callable[[Tensor], Tensor]]]:
        """The columns with a bend, and their bends."""
        return [(j, bend) for j, bend in enumerate(self.bends) if bend is not None]

    @property
    def is_bounded(self) -> bool:
        """Whether a column that is not bent has a bound."""
        return bool(torch.isfinite(self.low).any() or torch.isfinite(self.high).any())

    def straight(self, x: Tensor) -> Tensor:
        """Cells, or means of cells, in data units, bounds and bends left aside."""
        return torch.addcmul(self.location, self.scale, x)

    def __call__(self, x: Tensor) -> Tensor:
        """Cells (..., p) in data units."""
        out = self.straight(x.clamp(self.low, self.high))
        for j, bend in self.bent:
            out[..., j] = bend(x[..., j])
        return out


class Likelihood(nn.Module):
    """What every likelihood of a block of p columns offers."""

    kind: str  # the kind of column it serves: a name in skvae._table.kinds.KINDS
    n_columns: int
    n_outputs: int
    needs_frequencies: bool = False  # whether it is built with the shares of each column's levels
    settles: bool = False  # whether its scales are fitted once more after training, by settle and unsettle

    @property
    def n_statistics(self) -> list[int]:
        """How many numbers `expected` gives of each column: one, or of levels one for each of `n_levels`."""
        return [int(n) for n in getattr(self, "n_levels", [1] * self.n_columns)]

    def log_prob(self, outputs: Tensor, x: Tensor) -> Tensor:
        """Log-density of each cell in nats, shape (..., p)."""
        raise NotImplementedError("a likelihood defines log_prob(outputs, x)")

    def features_first(self, outputs: Tensor, x: Tensor) -> Tensor:
        """The same, (p, S, b), of outputs (n_outputs, S, b), which may be overwritten, and x (p, b).

        Inherited, it is `log_prob`.
        """
        return self.log_prob(outputs.movedim(0, -1).contiguous(), x.T.contiguous()).movedim(-1, 0)

    def with_pullback(self, outputs: Tensor, x: Tensor) -> tuple[Tensor, Pullback]:
        """Log-density of each cell, (p, S, b), and its pullback to outputs (n_outputs, S, b), features first; x (p, b).

        It is called where autograd does not record, the pullback once. Inherited, it is that of `log_prob` by autograd.
        A closed form adds the gradients of parameters to their `grad`.
        """

        def cells(outputs: Tensor) -> Tensor:
            return self.log_prob(outputs.movedim(0, -1).contiguous(), x.T.contiguous()).movedim(-1, 0)

        value, pull = by_autograd(cells, outputs)
        return value, lambda grad: pull(grad)[0]

    def mean(self, outputs: Tensor) -> Tensor:
        """E[x|z], shape (..., p); where x holds codes of levels, the most probable one."""
        raise NotImplementedError("a likelihood defines mean(outputs)")

    def expected(self, outputs: Tensor) -> Tensor:
        """What may be averaged over draws of z, shape (..., n_statistics): E[x|z], or the probability of each level."""
        return self.mean(outputs)

    def expectation(self, outputs: Tensor, back: WayBack) -> Tensor:
        """The same in data units, shape (..., n_statistics): E[back(x)|z], or the probability of each level.

        Inherited, it is back(E[x|z]), which is right where the way back is straight and no bound is near.
        """
        return back(self.mean(outputs))

    def point(self, expected: Tensor) -> Tensor:
        """One value per cell from (averages of) what `expected` gives, shape (..., p)."""
        return expected

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Draw x given z, shape (..., p)."""
        raise NotImplementedError("a likelihood defines sample(outputs, generator)")

    def start(self, mean: Tensor) -> Tensor:
        """The decoder outputs, shape (n_outputs,), that are the marginals' best guess, given the columns' means."""
        raise NotImplementedError("a likelihood defines start(mean)")

    def start_at(self, mean: Tensor, quantiles: Tensor) -> Tensor:
        """The same where the columns' quantiles are known, too, (n_quantiles, p) at even probabilities from 0 to 1.

        Inherited, it is `start`.
        """
        return self.start(mean)


LikelihoodFactory = Callable[..., Likelihood]  # called as factory(n_columns), or factory(n_columns, frequencies=...)


class StraightThroughClamp(torch.autograd.Function):
    """A clamp whose gradient is that of the identity (Bengio et al. 2013), so that what went too far can return."""

    @staticmethod
    def forward(ctx: Any, raw: Tensor, low: float, high: float) -> Tensor:
        """`raw`, within its bounds."""
        return raw.clamp(low, high)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """Gradient to raw."""
        return grad, None, None


def bounded(raw: Tensor, bounds: tuple[float, float]) -> Tensor:
    """`raw` within its bounds; a value beyond them gets the gradient of the bound."""
    within: Tensor = StraightThroughClamp.apply(raw, *bounds)
    return within
