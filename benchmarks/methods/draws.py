"""The default with other numbers of draws per row in the course of a training, or a way back through one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from benchmarks.methods.density import LogDensity
from benchmarks.methods.vae import VAEMethod
from skvae._engine.bounds import VariationalBound
from skvae._engine.training import Plan, mean_bound
from skvae.nn.noise import normal
from skvae.nn.objectives import Passed, Sloped, Slopes, _weighed
from skvae.nn.priors import Prior


@dataclass(frozen=True)
class Draws:
    """A model whose steps take other numbers of draws; validation and scores stay as they are.

    Parameters
    ----------
    numbers : tuple of (float, int)
        From which share of the steps on, and how many.
    one_back : bool
        Whether the gradient goes back through one draw of each row, resampled by its normalised weight: an unbiased
        estimate of the same gradient (Burda et al. 2015, section 3). The others are computed all the same, so that this
        measures what it learns, not how long it would take.
    """

    numbers: tuple[tuple[float, int], ...]
    one_back: bool = False
    method: VAEMethod = field(default_factory=VAEMethod)

    def __call__(self, train: np.ndarray, seed: int) -> LogDensity:
        with self._in_place(torch.Generator().manual_seed(seed)):
            return self.method(train, seed)

    @property
    def settings(self) -> str:
        """A digest of the model's, and these."""
        return f"{self.method.settings} draws {self.numbers} {self.one_back}"

    def smaller(self, max_iter: int) -> Draws:
        """The same with another number of epochs."""
        return Draws(self.numbers, self.one_back, self.method.smaller(max_iter))

    def at(self, progress: float) -> int:
        """Draws per row after that share of the steps."""
        return next(n for begin, n in reversed(self.numbers) if progress >= begin)

    @contextmanager
    def _in_place(self, stream: torch.Generator) -> Iterator[None]:
        """Bounds that draw so in a training; steps are not replayed, as their shapes change."""
        progress, validates, rate = [0.0], [False], Plan.learning_rate_at

        def learning_rate_at(plan: Plan, share: float) -> float:
            progress[0] = share
            return rate(plan, share)

        def eps(bound: VariationalBound, mean: Tensor, noise: torch.Generator) -> Tensor:
            n = bound.n_draws if validates[0] else self.at(progress[0])
            return normal((mean.shape[0], n, mean.shape[1]), mean, noise)

        def validated(*args: object, **options: object) -> float:
            validates[0] = True
            try:
                return mean_bound(*args, **options)  # type: ignore[arg-type]
            finally:
                validates[0] = False

        slopes = {"iwae": partial(one_back_slopes, stream)} if self.one_back else {}
        with (
            mock.patch.object(Plan, "learning_rate_at", learning_rate_at),
            mock.patch.object(VariationalBound, "_eps", eps),
            mock.patch("skvae._engine.engine.mean_bound", validated),
            mock.patch("skvae._engine.engine.REPLAYED", {"cpu": 0}),
            mock.patch.dict("skvae._engine.bounds.SLOPES", slopes),
        ):
            yield


def one_back_slopes(stream: torch.Generator, prior: Prior, draws: Passed, beta: float) -> Sloped:
    """The importance-weighted bound, and slopes through one draw of each row."""
    bound, share, to_z = _weighed(prior, draws, beta)
    chosen = torch.zeros_like(share).scatter_(0, torch.multinomial(share.T, 1, generator=stream).T, 1.0)

    def pull(grad: Tensor) -> Slopes:
        weight = chosen * grad
        return Slopes(weight, to_z(beta * weight), (None, beta * grad))

    return bound, pull


DRAWS: dict[str, VAEMethod | Draws] = {
    "2": VAEMethod(),
    "1, from three quarters on 5": Draws(((0.0, 1), (0.75, 5))),
    "1, from half on 3": Draws(((0.0, 1), (0.5, 3))),
    "5, from a quarter on 1": Draws(((0.0, 5), (0.25, 1))),
    "5, back through one": Draws(((0.0, 5),), one_back=True),
    "2, back through one": Draws(((0.0, 2),), one_back=True),
}
