"""The engine of a variational autoencoder: codes, rows and missing cells that are drawn or expected."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvae._engine.batches import Rows
from skvae._engine.engine import SHOWN_ROWS, FloatArray, evenly
from skvae._engine.importance import WeighedDraws, n_rounds, weighed_draws
from skvae._engine.runtime import chunk_size, generator, normal_quasi_draws, sound
from skvae._engine.scoring import ScoringEngine
from skvae._table.cells import Units
from skvae.nn.priors import AggregatedPosterior, Prior, Proposal

EXEMPLARS = 2_048  # rows whose posteriors make an aggregated prior
SETTLING_ROWS = 256  # that scales are fitted to after training ...
SETTLING_DRAWS = 200  # ... with so many draws of z for each ...
SETTLING_ROUNDS = 10  # ... in each of so many rounds
CONDITION_ROUNDS = 3  # of proposals from completed rows ...
CONDITION_MODES = 256  # ... so many of them ...
CONDITION_DEFENCE = 0.1  # ... and this share of draws from the prior


class Posteriors(NamedTuple):
    """Posteriors of rows and the logarithms of their weights, in the model's own order of components."""

    mean: FloatArray  # (m, k)
    log_std: FloatArray  # (m, k)
    log_weight: FloatArray  # (m,)


class VAEEngine(ScoringEngine):
    """A variational autoencoder: it scores, draws and completes."""

    codes: Posteriors | None = None  # of training rows: a density of codes that is fitted after training
    gaps: tuple[Posteriors, NDArray[np.bool_]] | None = None  # of some rows, and which columns they had missing

    def settle(
        self, x: FloatArray, weight: FloatArray | None, missing: NDArray[np.bool_] | None = None, *, keep_codes: bool
    ) -> None:
        """Training is over: let the prior see the posteriors of at most EXEMPLARS of these rows, and maybe keep all.

        A row without an observed cell says nothing of where codes lie, only which cells are missing. `missing` says
        which columns of the table the rows have missing, (n, p), those without a cell in x among them. Scales
        that had a floor in training only are fitted without it.
        """
        empty = np.isnan(x).all(axis=1)
        own = self._posteriors(x[~empty], None if weight is None else weight[~empty])
        exemplars = (torch.tensor(array[evenly(x[~empty], EXEMPLARS)], device=self.device) for array in own)
        self.model.prior.settle(*exemplars)
        self.codes = own if keep_codes else None
        few, self.gaps = evenly(x, EXEMPLARS), None
        if missing is not None:
            self.gaps = self._posteriors(x[few], None if weight is None else weight[few]), missing[few]
        self._precise = None
        if self.model.columns.has_held_scales:
            part = evenly(x, SETTLING_ROWS)
            self._settle_scales(x[part], np.ones(len(x[part])) if weight is None else weight[part])

    def _settle_scales(self, x: FloatArray, weight: FloatArray) -> None:
        """Fit the scales of the likelihoods that settle, all else being as it is (Dempster, Laird and Rubin 1977).

        In turn codes are drawn given the observed cells, and a scale becomes the root of the mean squared distance of
        its cells from their expectation given the codes.
        """
        weights = torch.tensor(weight, dtype=torch.float64, device=self.device).unsqueeze(1)
        for _ in range(SETTLING_ROUNDS):
            squares, counts, start = 0.0, 0.0, 0
            with torch.no_grad():
                for model, rows, draws in self._given_observed(x, SETTLING_DRAWS):
                    counted = model.columns.counted(rows.x) * weights[start : start + len(rows)].to(rows.x.dtype)
                    counted = counted if rows.observed is None else counted * rows.observed
                    squares += (model.columns.squares(draws.outputs, rows.x, draws.weight) * counted).sum(0)
                    counts += counted.sum(0)
                    start += len(rows)
                self.model.columns.settle(squares / counts)
            self._precise = None

    def _posteriors(self, x: FloatArray, weight: FloatArray | None) -> Posteriors:
        """Of rows, in float32."""
        rows = Rows.from_numpy(x, device=self.device)
        with torch.no_grad():
            mean, log_std = (tensor.cpu().numpy() for tensor in self.model.posterior(rows.x, rows.observed))
        # The logarithm is taken in float64, in which small weights are not 0.
        log_weight = np.zeros(len(x)) if weight is None else np.log(weight / weight.mean())
        return Posteriors(mean, log_std, log_weight.astype(np.float32))

    def state(self) -> dict[str, Any]:
        gaps = self.gaps and (tuple(self.gaps[0]), self.gaps[1])
        return super().state() | {"codes": self.codes and tuple(self.codes), "gaps": gaps}

    @classmethod
    def from_state(cls, state: dict[str, Any], device: str) -> Self:
        engine = super().from_state(state, device)
        engine.codes = state["codes"] and Posteriors(*map(np.array, state["codes"]))
        if state.get("gaps") is not None:
            posteriors, missing = state["gaps"]
            engine.gaps = Posteriors(*map(np.array, posteriors)), np.array(missing)
        return engine

    def expectation(self, x: FloatArray, n_draws: int, units: Units) -> FloatArray:
        """Statistics of every cell given the observed ones, by self-normalised importance weights.

        They are expectations in data units given each draw of z, which are averaged.

        Parameters
        ----------
        x : ndarray of shape (n, p)
            NaN in the cells that are not conditioned on.
        n_draws : int
        units : Units
            From encoded cells to data units.

        Returns
        -------
        ndarray of shape (n, n_statistics)
            As `decode` gives them.
        """
        parts = []
        with torch.inference_mode():
            for model, rows, draws in self._given_observed(x, n_draws):
                statistics = model.columns.expectation(draws.outputs, self._back(units, rows.x.dtype))
                parts.append(torch.einsum("sb,sbm->bm", draws.weight, statistics))
            return torch.cat(parts).cpu().numpy()

    def weighed_cells(self, x: FloatArray, n_draws: int, n_each: int) -> tuple[FloatArray, FloatArray]:
        """Draws of every cell given the observed ones, `n_each` given each draw of z, and their weights.

        The draws are the same at each call.

        Returns
        -------
        cells : ndarray of shape (S, n, p)
            Encoded.
        weight : ndarray of shape (S, n)
            With sum 1 over the S draws of a row.
        """
        stream, cells, weights = generator(self.spec.seed, self.device), [], []
        with torch.inference_mode():
            for model, _, draws in self._given_observed(x, n_draws):
                each = [model.columns.sample(draws.outputs, stream) for _ in range(n_each)]
                cells.append(torch.cat(each))
                weights.append(draws.weight.repeat(n_each, 1) / n_each)
            return torch.cat(cells, 1).cpu().numpy(), torch.cat(weights, 1).cpu().numpy()

    def completion(self, x: FloatArray, n_draws: int, seed: int) -> FloatArray:
        """Encoded rows, (n, p), whose cells that are NaN are drawn given the observed ones.

        The code is resampled from the weighted draws, then the cells are drawn from p(x|z).
        """
        stream, parts = generator(seed, self.device), []
        with torch.inference_mode():
            for model, rows, draws in self._given_observed(x, n_draws):
                chosen = torch.multinomial(draws.weight.T, 1, generator=stream)[:, 0]
                drawn = model.columns.sample(draws.outputs[chosen, torch.arange(len(rows))], stream)
                parts.append(drawn if rows.observed is None else torch.where(rows.observed, rows.x, drawn))
            return torch.cat(parts).cpu().numpy()

    def _given_observed(self, x: FloatArray, n_draws: int) -> Iterator[tuple[Any, Rows, WeighedDraws]]:
        """By chunks of rows: the model, the rows, and draws of z given their observed cells."""
        model, dtype = self._in_precision_of(x.astype(np.float64))
        knows_missing = self.spec.with_mask
        rounds = n_rounds(knows_missing)
        n_draws = max(1, round(n_draws / rounds)) * rounds
        points = normal_quasi_draws(n_draws, self.spec.n_components, self.spec.seed)
        eps = torch.tensor(points, dtype=dtype, device=self.device).reshape(rounds, -1, 1, self.spec.n_components)
        for rows in self._chunks(x, dtype, n_draws):
            yield model, rows, weighed_draws(model, rows, eps, knows_missing=knows_missing)

    def condition(
        self, x: FloatArray, n: int, n_draws: int, seed: int, *, aggregated: bool
    ) -> tuple[FloatArray, float]:
        """Draw codes given some cells of one row, by importance resampling in the latent space.

        The first proposals come from the density of codes, the prior or that of `sample_latent`. Each further round
        proposes from the posteriors of rows that are completed from the best draws so far (population Monte Carlo:
        Cappé et al. 2004), with the first mixed in so that no weight is too large. At the end n draws are resampled by
        their weights p(x_observed | z) p(z) / proposal(z).

        Parameters
        ----------
        x : ndarray of shape (1, p)
            NaN in the cells that are not conditioned on.
        n, n_draws, seed : int
        aggregated : bool
            As for `sample_latent`.

        Returns
        -------
        z : ndarray of shape (n, k)
            In the user's order and sign.
        effective_sample_size : float
            Of the last round's draws: 1 / sum of the squared normalised weights (Kish 1965).
        """
        model, dtype = self._in_precision_of(np.empty(0))
        latent = self._latent(aggregated, EXEMPLARS)
        row = Rows.from_numpy(x, dtype=dtype, device=self.device)
        stream = generator(seed, self.device)
        with torch.inference_mode():
            z = latent.sample(n_draws, stream)
            w = sound(torch.softmax(self._given(model, row, z), 0))
            for _ in range(CONDITION_ROUNDS):
                best = z[torch.multinomial(w, CONDITION_MODES, replacement=True, generator=stream)]
                proposal = Proposal(latent, *self._completed_posterior(model, row, best, stream), CONDITION_DEFENCE)
                z = proposal.sample(n_draws, stream)
                w = sound(torch.softmax(self._given(model, row, z) + latent.log_prob(z) - proposal.log_prob(z), 0))
            chosen = torch.multinomial(w, n, replacement=True, generator=stream)
            return self._outward(z[chosen].cpu().numpy()), float(1.0 / w.square().sum())

    def _given(self, model: Any, row: Rows, z: Tensor) -> Tensor:
        """Log p(x_observed | z) of one row for many z, shape (S,)."""
        size = chunk_size(1, self._width(), self.device)
        parts = [model.log_likelihood(row.x, row.observed, part.unsqueeze(1))[:, 0] for part in z.split(size)]
        return torch.cat(parts)

    @staticmethod
    def _completed_posterior(model: Any, row: Rows, z: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        """The posteriors of the row as it is completed from each z."""
        drawn = model.columns.sample(sound(model.decode(z)), stream)
        mean, log_std = model.posterior(drawn if row.observed is None else torch.where(row.observed, row.x, drawn))
        return mean, log_std

    def sample_latent(self, n: int, seed: int, *, aggregated: bool) -> FloatArray:
        """Draw codes from the prior, or from the mean of the posteriors that were kept; shape (n, k), float64."""
        with torch.inference_mode():
            z: FloatArray = sound(self._latent(aggregated).sample(n, generator(seed, self.device))).cpu().numpy()
        return self._outward(z)

    def missing_like(self, z: FloatArray, seed: int) -> NDArray[np.bool_]:
        """Columns to be missing in rows with these codes, (n, p): those of a training row that each may come from.

        Shape (n, 1), all False, where none was missing in training. The row is drawn with probability
        q(z|x_i) / sum_j q(z|x_j).
        """
        if self.gaps is None:
            return np.zeros((len(z), 1), dtype=bool)
        posteriors, missing = self.gaps
        density = self._mixture(posteriors)
        stream, drawn = generator(seed, self.device), []
        with torch.inference_mode():
            for part in torch.tensor(self._inward(z), device=self.device).split(
                chunk_size(1, len(missing), self.device)
            ):
                shares = sound(torch.softmax(density.log_modes(part.to(density.means.dtype)), -1))
                drawn.append(torch.multinomial(shares, 1, generator=stream)[:, 0].cpu().numpy())
        rows: NDArray[np.bool_] = missing[np.concatenate(drawn)]
        return rows

    def columns_with_gaps(self) -> NDArray[np.bool_]:
        """Which columns of the table some training rows had missing, (p,); of one column, False, where none had."""
        missing = np.zeros((1, 1), dtype=bool) if self.gaps is None else self.gaps[1]
        gaps: NDArray[np.bool_] = np.any(missing, axis=0)
        return gaps

    def _mixture(self, posteriors: Posteriors) -> AggregatedPosterior:
        """The mean of these posteriors, as a density."""
        _, dtype = self._in_precision_of(np.empty(0))
        density = AggregatedPosterior(self.spec.n_components)
        density.settle(*(torch.tensor(array, dtype=dtype, device=self.device) for array in posteriors))
        return density

    def _latent(self, aggregated: bool, most: int = SHOWN_ROWS) -> Prior:
        """The density of codes to draw from: the prior, or the mean of at most so many of the posteriors kept."""
        if not aggregated:
            prior: Prior = self._in_precision_of(np.empty(0))[0].prior
            return prior
        assert self.codes is not None, "settle keeps the codes"
        part = evenly(self.codes.mean, most)
        return self._mixture(Posteriors(*(array[part] for array in self.codes)))

    def sample(self, z: FloatArray, seed: int, *, noise: bool = True) -> FloatArray:
        """Draw x given codes (or take its mean or mode), in encoded units, shape (n, p)."""
        model, dtype = self._in_precision_of(z)
        stream = generator(seed, self.device)
        draw = partial(model.columns.sample, generator=stream) if noise else model.columns.mean
        with torch.inference_mode():
            parts = [draw(sound(model.decode(part.x))) for part in self._chunks(self._inward(z), dtype)]
            return torch.cat(parts).cpu().numpy()
