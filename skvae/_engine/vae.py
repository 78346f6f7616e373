"""The engine of a variational autoencoder: codes, rows and missing cells that are scored, drawn or expected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvae._engine import closed_form, drawing, scoring
from skvae._engine.batches import Rows
from skvae._engine.build import build_vae
from skvae._engine.drawing import Posteriors
from skvae._engine.engine import SHOWN_ROWS, Answered, Arrays, Engine, FloatArray, State, evenly
from skvae._engine.importance import WeighedDraws, n_rounds, weighed_draws
from skvae._engine.runtime import generator, normal_quasi_draws, sound
from skvae._engine.scoring import SamplingError
from skvae._engine.training import RowBound, mean_bound
from skvae._table.cells import Units
from skvae.nn.models import VAE
from skvae.nn.priors import Prior

EXEMPLARS = 2_048  # rows whose posteriors make an aggregated prior
KL_DRAWS = 4  # of a quasi-random sequence, for a prior whose KL is not closed
SETTLING_ROWS = 256  # that scales are fitted to after training ...
SETTLING_DRAWS = 200  # ... with so many draws of z for each ...
SETTLING_ROUNDS = 10  # ... in each of so many rounds


class SeenGaps(NamedTuple):
    """Which columns some training rows had missing, (m, p), where their codes lie, and marks of them, (m, s)."""

    posteriors: Posteriors
    missing: NDArray[np.bool_]
    marks: FloatArray


class VAEEngine(Engine[VAE]):
    """A variational autoencoder: it scores, draws and completes."""

    _build = staticmethod(build_vae)

    codes: Posteriors | None = None  # of training rows: a density of codes that is fitted after training
    gaps: SeenGaps | None = None

    @property
    def starts_at_rows(self) -> bool:
        """Whether `start_at` has something to set."""
        return closed_form.applies(self.model)

    @property
    def left_out_noise(self) -> float | None:
        """The noise that a likelihood of scale "leave_one_out" has taken, None without one."""
        return closed_form.left_out_noise(self.model)

    def start_at(self, x: FloatArray, weight: FloatArray | None) -> None:
        """Start at what encoded rows, NaN where missing, say of fixed noises and linear networks (`closed_form`)."""
        part = evenly(x)
        closed_form.start(
            self.model, x[part].astype(np.float64), None if weight is None else weight[part].astype(np.float64)
        )
        self._precise = None

    def _trainable(self) -> VAE:
        model = super()._trainable()
        model.prior.unsettle()
        model.columns.unsettle()
        return model

    def _width(self) -> int:
        return max(super()._width(), self.model.prior.n_modes)

    def _points(self, n: int) -> Tensor:
        """The points that serve every row, shape (n, 1, k)."""
        points = normal_quasi_draws(n, self.spec.n_components, self.spec.seed)
        return torch.tensor(points, dtype=self._double, device=self.device).unsqueeze(1)

    def _over_points(self, x: FloatArray, answer: Callable[..., Answered], n: int) -> Arrays:
        """What `answer` says of the model, rows and n points, in float64.

        It draws more where rows have holes that the encoder does not know.
        """
        knows_missing = self.spec.with_mask
        adapts = not knows_missing and bool(np.isnan(x).any())
        answer = partial(answer, points=self._points(n), knows_missing=knows_missing)
        return self._over(x.astype(np.float64), answer, max(n, scoring.n_adapting(n)) if adapts else n)

    def _over_draws(
        self, x: FloatArray, answer: Callable[[VAE, Rows, WeighedDraws], Answered], n: int, axis: int = 0
    ) -> Arrays:
        """What `answer` says of the model, rows and about n draws of z given their observed cells, in float64."""
        rounds = n_rounds(self.spec.with_mask)
        n = max(1, round(n / rounds)) * rounds
        points = self._points(n).unflatten(0, (rounds, -1))
        draw = partial(weighed_draws, points=points, knows_missing=self.spec.with_mask)
        return self._over(x.astype(np.float64), lambda model, rows: answer(model, rows, draw(model, rows)), n, axis)

    def settle(
        self,
        x: FloatArray,
        weight: FloatArray | None,
        missing: NDArray[np.bool_] | None = None,
        *,
        keep_codes: bool,
        marks: Sequence[int] = (),
    ) -> None:
        """Training is over: let the prior see the posteriors of at most EXEMPLARS of these rows, and maybe keep all.

        A row without an observed cell says nothing of where codes lie, only which cells are missing. `missing` says
        which columns of the table the rows have missing, (n, p), those without a cell in x among them, and `marks`
        which cells of x go with that. Scales that had a floor in training only are fitted without it.
        """
        weight = np.ones(len(x)) if weight is None else weight
        seen, few = ~np.isnan(x).all(axis=1), evenly(x, EXEMPLARS)
        own = Posteriors.of(self.model, x[seen], weight[seen])
        self.model.prior.settle(*own.some(evenly(x[seen], EXEMPLARS)).tensors(torch.float32, self.device))
        self.codes = own if keep_codes else None
        self.gaps = None
        if missing is not None:
            of_few = Posteriors.of(self.model, x[few], weight[few])
            self.gaps = SeenGaps(of_few, missing[few], x[few][:, list(marks)].astype(np.float64))
        self._precise = None
        if self.model.columns.has_held_scales:
            part = evenly(x, SETTLING_ROWS)
            self._settle_scales(x[part], weight[part])

    @torch.no_grad()
    def _settle_scales(self, x: FloatArray, weight: FloatArray) -> None:
        """Fit the scales of the likelihoods that settle, all else being as it is (Dempster, Laird and Rubin 1977).

        In turn codes are drawn given the observed cells, and a scale becomes the root of the mean squared distance of
        its cells from their expectation given the codes.
        """
        for _ in range(SETTLING_ROUNDS):
            each = self._over_draws(x, drawing.squared_distances, SETTLING_DRAWS)
            squares, counts = (torch.tensor(weight @ part, device=self.device) for part in each)
            self.model.columns.settle(squares / counts)
            self._precise = None

    def mean_bound(self, x: FloatArray, weight: FloatArray | None, bound: RowBound) -> float:
        """Mean of the training bound over rows (at most ORDERING_ROWS of them), in nats and standardised units."""
        return mean_bound(self.model, self._few(x, weight), bound, self.spec.seed)

    @torch.inference_mode()
    def marginal_log_likelihood(self, x: FloatArray, weight: FloatArray | None) -> float:
        """Mean log-likelihood of independent columns: the model with z held at the prior's mean.

        Where no component is active the decoder has learned nothing but marginals, and this is what they give.
        """
        rows = self._few(x, weight)
        z = self.model.prior.moments()[0].expand(len(rows), -1)
        return float(rows.mean(self.model.log_likelihood(rows.x, rows.observed, z)))

    def kl_per_component(self, x: FloatArray, weight: FloatArray | None) -> NDArray[np.float64]:
        """Mean of KL(q(z_j|x) || p(z_j)) over rows, in nats, shape (k,), in the order of the user's components.

        Where it is an estimate from a few draws it may come out below 0, and counts as 0.
        """
        part = evenly(x)
        answer = partial(scoring.kl_per_component, points=self._points(KL_DRAWS))
        each = self._over(x[part].astype(np.float64), answer, KL_DRAWS)[0]
        mean: NDArray[np.float64] = np.average(each, axis=0, weights=None if weight is None else weight[part])
        return np.maximum(mean, 0.0)[self.order]

    def posterior(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of q(z|x), each of shape (n, k)."""
        mean, std = self._over(x, scoring.posterior)
        return self._outward(mean), np.abs(self._outward(std))

    def log_likelihood(self, x: FloatArray, n_draws: int, *, trained_on: bool = False) -> NDArray[np.float64]:
        """Importance-weighted estimate of log p(x_observed) per row, shape (n,), in float64.

        The same `n_draws` quasi-random points serve every row, so that a row's score depends on nothing but the row; a
        row with no observed cell scores 0. Rows that the model was `trained_on` are scored without what they
        themselves put into the prior.
        """
        answer = partial(scoring.log_likelihood, trained_on=trained_on)
        return self._over_points(x, answer, n_draws)[0].astype(np.float64, copy=False)

    def sampling_error(self, x: FloatArray, n_draws: int, *, trained_on: bool = False) -> SamplingError:
        """How far `log_likelihood` may be from log p(x), by batches of its draws and of those that would follow."""
        n_batches, size = scoring.batches(n_draws)
        answer = partial(scoring.sampling_error, n_batches=n_batches, n_draws=n_draws, trained_on=trained_on)
        return SamplingError(*self._over_points(x, answer, n_batches * size))

    def explain(
        self, x: FloatArray, n_draws: int, *, trained_on: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The terms of `log_likelihood`: of each column, shape (n, p), and of the latent space, shape (n,)."""
        columns, latent = self._over_points(x, partial(scoring.explain, trained_on=trained_on), n_draws)
        return columns, latent

    def expectation(self, x: FloatArray, n_draws: int, units: Units) -> FloatArray:
        """Statistics of every cell given the observed ones, as `decode` gives them, (n, n_statistics).

        They are expectations in data units given each draw of z, which are averaged by self-normalised importance
        weights. Cells of x (n, p) that are not conditioned on are NaN.
        """
        return self._over_draws(x, partial(drawing.expected_cells, units=units), n_draws)[0]

    def weighed_cells(self, x: FloatArray, n_draws: int, n_each: int) -> tuple[FloatArray, FloatArray]:
        """Draws of every cell given the observed ones, `n_each` given each draw of z, and their weights.

        The cells are encoded, (S, n, p); the weights, (S, n), have sum 1 over the S draws of a row. The draws are the
        same at each call.
        """
        answer = partial(drawing.weighed_cells, n_each=n_each, stream=generator(self.spec.seed, self.device))
        cells, weight = self._over_draws(x, answer, n_draws, axis=1)
        return cells, weight

    def completion(self, x: FloatArray, n_draws: int, seed: int) -> FloatArray:
        """Encoded rows, (n, p), whose cells that are NaN are drawn given the observed ones.

        The code is resampled from the weighted draws, then the cells are drawn from p(x|z).
        """
        return self._over_draws(x, partial(drawing.completed, stream=generator(seed, self.device)), n_draws)[0]

    def condition(
        self, x: FloatArray, n: int, n_draws: int, seed: int, *, aggregated: bool
    ) -> tuple[FloatArray, float]:
        """Draw codes (n, k) given some cells of one row x (1, p); and the effective sample size they come from.

        The first proposals come from the density of codes, the prior or that of `sample_latent`.
        """
        latent, stream = self._latent(aggregated, EXEMPLARS), generator(seed, self.device)
        row = Rows.from_numpy(x, dtype=self._double, device=self.device)
        model = self._in(self._double)
        with torch.inference_mode():
            z, size = drawing.conditioned(model, row, latent, n, n_draws, self._width(), stream)
        return self._outward(z.cpu().numpy()), float(size)

    @torch.inference_mode()
    def sample_latent(self, n: int, seed: int, *, aggregated: bool) -> FloatArray:
        """Draw codes from the prior, or from the mean of the posteriors that were kept; shape (n, k), float64."""
        z = self._latent(aggregated).sample(n, generator(seed, self.device))
        return self._outward(sound(z).cpu().numpy())

    def sample(self, z: FloatArray, seed: int, *, noise: bool = True) -> FloatArray:
        """Draw x given codes (or take its mean or mode), in encoded units, shape (n, p)."""
        stream = generator(seed, self.device) if noise else None
        return self._over(self._inward(z), partial(drawing.drawn_cells, stream=stream))[0]

    @torch.inference_mode()
    def missing_like(self, z: FloatArray, seed: int, marks: FloatArray | None = None) -> NDArray[np.bool_]:
        """Columns to be missing in rows with these codes, (n, p): those of a training row that each may come from.

        Shape (n, 1), all False, where none was missing in training. The row is drawn with probability
        q(z|x_i) / sum_j q(z|x_j), among those that have most of the same `marks` (n, s).
        """
        if self.gaps is None:
            return np.zeros((len(z), 1), dtype=bool)
        of_z, of_rows = (
            torch.tensor(values, dtype=self._double, device=self.device)
            for values in (self._inward(z), self.gaps.marks if marks is not None else self.gaps.marks[:, :0])
        )
        own = None if marks is None else torch.tensor(marks, dtype=self._double, device=self.device)
        density, stream = self.gaps.posteriors.density(self._double, self.device), generator(seed, self.device)
        rows: NDArray[np.bool_] = self.gaps.missing[drawing.modes(density, of_z, stream, own, of_rows).cpu().numpy()]
        return rows

    def columns_with_gaps(self) -> NDArray[np.bool_]:
        """Which columns of the table some training rows had missing, (p,); of one column, False, where none had."""
        missing = np.zeros((1, 1), dtype=bool) if self.gaps is None else self.gaps.missing
        gaps: NDArray[np.bool_] = np.any(missing, axis=0)
        return gaps

    def _latent(self, aggregated: bool, most: int = SHOWN_ROWS) -> Prior:
        """The density of codes to draw from: the prior, or the mean of at most so many of the posteriors kept."""
        if not aggregated:
            return self._in(self._double).prior
        assert self.codes is not None, "settle keeps the codes"
        return self.codes.some(evenly(self.codes.mean, most)).density(self._double, self.device)

    def state(self) -> State:
        gaps = self.gaps and (tuple(self.gaps.posteriors), *self.gaps[1:])
        return super().state() | {"codes": self.codes and tuple(self.codes), "gaps": gaps}

    @classmethod
    def from_state(cls, state: State, device: str) -> Self:
        engine = super().from_state(state, device)
        engine.codes = state["codes"] and Posteriors(*map(np.array, state["codes"]))
        if state.get("gaps") is not None:
            posteriors, missing, *marks = state["gaps"]  # of which earlier versions had none
            of_rows = np.array(marks[0]) if marks else np.empty((len(missing), 0))
            engine.gaps = SeenGaps(Posteriors(*map(np.array, posteriors)), np.array(missing), of_rows)
        return engine
