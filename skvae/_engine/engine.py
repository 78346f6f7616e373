"""The engine: NumPy in, NumPy out. The only room whose doors lead to torch.

An engine holds one model, trains it, and answers in the precision of what it is asked. It knows standardised columns,
not tables; codes go through its `order` and `sign` on their way in and out.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvae._engine.batches import Rows, SparseRows
from skvae._engine.build import BUILDERS, CORRUPTIONS, ModelSpec, autoencoder_bound, no_corruption, vae_bound
from skvae._engine.runtime import (
    SHARED_PRODUCTS,
    chunk_size,
    generator,
    normal_quasi_draws,
    resolve_device,
    single_threaded,
)
from skvae._engine.training import EpochRecord, Optimiser, Plan, RowBound, epochs, mean_bound
from skvae.nn.models import Draws
from skvae.nn.objectives import log_mean_exp
from skvae.nn.priors import AggregatedPosterior, Prior, Proposal

FloatArray = NDArray[np.floating]

SHOWN_ROWS = 2**15  # training rows whose posteriors are kept, to draw codes from
ORDERING_ROWS = 4_096  # rows that the order and sign of the codes and the final bound are read off ...
ORDERING_CELLS = 2**24  # ... unless they have more cells than this ...
LEAST_ROWS = 256  # ... but so many in any case
EXEMPLARS = 2_048  # rows whose posteriors make an aggregated prior
CONDITION_ROUNDS = 3  # of proposals from completed rows ...
CONDITION_MODES = 256  # ... so many of them ...
CONDITION_DEFENCE = 0.1  # ... and this share of draws from the prior
KL_DRAWS = 4  # of a quasi-random sequence, for a prior whose KL is not closed


def evenly(x: Any, most: int = ORDERING_ROWS) -> slice:
    """At most that many rows (fewer of a very wide table), evenly spaced: a sorted table then shows all of itself."""
    n, p = x.shape
    most = min(most, max(LEAST_ROWS, ORDERING_CELLS // max(p, 1)))
    return slice(None, None, max(1, -(-n // most)))


def _zero_where_empty(values: Tensor, rows: Rows) -> Tensor:
    """The values, 0 for rows that have no observed cell."""
    return values if rows.observed is None else values.where(rows.observed.any(-1), 0.0)


class Posteriors(NamedTuple):
    """Posteriors of rows and the logarithms of their weights, in the model's own order of components."""

    mean: FloatArray  # (m, k)
    log_std: FloatArray  # (m, k)
    log_weight: FloatArray  # (m,)


class Engine:
    """One model on one device.

    Parameters
    ----------
    family : {"vae", "autoencoder"}
    spec : ModelSpec
    device : str
        As resolved by `resolve_device`.
    """

    family: str

    def __init__(self, spec: ModelSpec, device: str, n_cells: int = 0) -> None:
        self.spec = spec
        self.device = resolve_device(device, n_cells)
        self.model = BUILDERS[self.family](spec).to(self.device).eval()
        self.order = np.arange(spec.n_components)
        self.sign = np.ones(spec.n_components)
        self._optimiser: Optimiser | None = None
        self._precise: Any = None

    # -- training ----------------------------------------------------------------------------------------------------

    def train(
        self,
        x: FloatArray,
        weight: FloatArray | None,
        bound: RowBound,
        plan: Plan,
        *,
        resume: bool = False,
        validation: tuple[FloatArray, FloatArray | None] | None = None,
    ) -> Iterator[EpochRecord]:
        """Train, an epoch at a time; the caller takes the weights it likes with `keep`.

        Parameters
        ----------
        x : ndarray of shape (n, p), or CSR matrix
            Standardised rows, NaN where missing. An array of float32 is taken over, not copied.
        weight : ndarray of shape (n,) or None
        bound : callable
            From `objective` of the engine.
        plan : Plan
        resume : bool
            Whether to go on with the last run's optimiser (`partial_fit`) or start a fresh one.
        validation : pair of ndarray, optional
            Held-out rows and their weights.
        """
        rows = self._rows(x, weight)
        held_out = None if validation is None else self._rows(*validation)
        if self._optimiser is None or not resume:
            self._optimiser = Optimiser(self._trainable())
        seed = self.spec.seed + self._optimiser.steps
        judge = None if held_out is None else partial(mean_bound, rows=held_out, bound=bound, seed=self.spec.seed)
        records = epochs(
            self._optimiser,
            rows,
            bound,
            plan,
            order=generator(seed),
            noise=generator(seed, self.device),
            validation=judge,
        )
        n_weights = sum(parameter.numel() for parameter in self.model.parameters())
        small = n_weights * plan.batch_size * plan.n_draws < SHARED_PRODUCTS
        return single_threaded(records) if small else records

    def _rows(self, x: Any, weight: FloatArray | None) -> Rows | SparseRows:
        """Rows on the device, from an array that they take over or from a CSR matrix."""
        if isinstance(x, np.ndarray):
            return Rows.from_numpy(x, weight, device=self.device, copy=False)
        return SparseRows.from_csr(x, weight, device=self.device)

    def _trainable(self) -> Any:
        """A copy of the model, ready for training."""
        return copy.deepcopy(self.model)

    def keep(self) -> None:
        """Make the (averaged) weights in training the model's."""
        assert self._optimiser is not None, "keep follows train"
        self.model.load_state_dict(self._optimiser.average.state_dict())
        self._precise = None

    def forget_optimiser(self) -> None:
        """Drop the moments: a later run starts with fresh ones."""
        self._optimiser = None

    # -- inference ---------------------------------------------------------------------------------------------------

    def _in_precision_of(self, x: FloatArray) -> tuple[Any, torch.dtype]:
        """The model in float32, or a float64 copy of it for float64 rows, and the dtype."""
        if x.dtype == np.float32 or self.device.type == "mps":
            return self.model, torch.float32
        if self._precise is None:
            self._precise = copy.deepcopy(self.model).double().eval()
        return self._precise, torch.float64

    def _chunks(self, x: FloatArray, dtype: torch.dtype, n_draws: int = 1) -> Iterator[Rows]:
        size = chunk_size(n_draws, self._width(), self.device)
        for start in range(0, len(x), size):
            yield Rows.from_numpy(x[start : start + size], dtype=dtype, device=self.device)

    def _width(self) -> int:
        """Numbers per row and draw in the widest layer."""
        return max(*self.spec.hidden_layer_sizes, int(self.model.columns.n_outputs), self.spec.n_components)

    def encode(self, x: FloatArray) -> FloatArray:
        """Codes of standardised rows, shape (n, k), in the dtype of x."""
        model, dtype = self._in_precision_of(x)
        with torch.inference_mode():
            codes = [model.encode(rows.x, rows.observed).cpu().numpy() for rows in self._chunks(x, dtype)]
        return self._outward(np.concatenate(codes))

    def decode(self, z: FloatArray) -> FloatArray:
        """Statistics of each cell given its code: E[x|z] in standardised units, or the probability of each code of x.

        Shape (n, n_statistics), in the dtype of z.
        """
        model, dtype = self._in_precision_of(z)
        with torch.inference_mode():
            parts = [model.columns.expected(model.decode(part.x)) for part in self._chunks(self._inward(z), dtype)]
            return torch.cat(parts).cpu().numpy()

    def _outward(self, z: FloatArray) -> FloatArray:
        """Model's components -> the user's: ordered and signed."""
        return np.ascontiguousarray(z[:, self.order] * self.sign.astype(z.dtype))

    def _inward(self, z: FloatArray) -> FloatArray:
        """The user's components -> the model's."""
        out = np.empty_like(z)
        out[:, self.order] = z * self.sign.astype(z.dtype)
        return out

    def column_at_fault(self, x: FloatArray) -> int:
        """The column whose cells the last weights in training fit worst, non-finite ones first."""
        assert self._optimiser is not None, "column_at_fault follows train"
        rows = Rows.from_numpy(x[evenly(x)], device=self.device)
        model: Any = self._optimiser.module.eval()
        with torch.inference_mode():
            cells = model.columns.log_prob(model.decode(model.encode(rows.x, rows.observed)), rows.x)
        cells = cells if rows.observed is None else cells * rows.observed
        return int(torch.nan_to_num(cells, nan=-torch.inf).mean(0).argmin())

    def align(self, x: FloatArray, importance: FloatArray) -> None:
        """Order the components by `importance` (descending) and fix their signs.

        `importance` is in the order that the codes have now.
        A component is positive in the direction of the column it is most correlated with over the rows `x`.
        """
        self.order = self.order[np.argsort(-importance, kind="stable")]
        self.sign = np.ones(len(self.order))
        x = np.nan_to_num(x[evenly(x)].astype(np.float64))
        codes = self.encode(x)
        covariance = (codes - codes.mean(0)).T @ ((x - x.mean(0)) / np.maximum(x.std(0), 1e-12))  # (k, p)
        strongest = np.abs(covariance).argmax(1)
        self.sign = np.where(covariance[np.arange(len(strongest)), strongest] < 0.0, -1.0, 1.0)

    # -- state -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Plain data and NumPy arrays."""
        optimiser = {} if self._optimiser is None else self._optimiser.state()
        return {
            "spec": {field.name: getattr(self.spec, field.name) for field in fields(self.spec)},
            "device": str(self.device),
            "weights": {name: value.cpu().numpy().copy() for name, value in self.model.state_dict().items()},
            "optimiser": {name: value.detach().cpu().numpy().copy() for name, value in optimiser.items()},
            "order": self.order,
            "sign": self.sign,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], device: str) -> Self:
        """Inverse of `state`, on a device that is there."""
        spec = ModelSpec(**state["spec"])
        engine = cls(spec, device)
        engine.model.load_state_dict({name: torch.tensor(np.asarray(v)) for name, v in state["weights"].items()})
        if state["optimiser"]:
            engine._optimiser = Optimiser(engine._trainable())
            engine._optimiser.load({name: torch.tensor(np.asarray(v)) for name, v in state["optimiser"].items()})
        engine.order, engine.sign = np.array(state["order"]), np.array(state["sign"])
        return engine


class AutoencoderEngine(Engine):
    """A plain autoencoder."""

    family = "autoencoder"

    @staticmethod
    def objective(corruption: str | None, level: float) -> RowBound:
        """Minus the reconstruction error, with the input corrupted by name."""
        corrupt = no_corruption if corruption is None else partial(CORRUPTIONS[corruption], level=level)
        return partial(autoencoder_bound, corrupt=corrupt)

    def score(self, x: FloatArray) -> NDArray[np.float64]:
        """Minus the reconstruction error per row, over observed cells, shape (n,), in float64."""
        model, dtype = self._in_precision_of(x.astype(np.float64))
        with torch.inference_mode():
            scores = [
                model.log_likelihood(rows.x, rows.observed, model.encode(rows.x, rows.observed))
                for rows in self._chunks(x, dtype)
            ]
            return torch.cat(scores).double().cpu().numpy()


class VAEEngine(Engine):
    """A variational autoencoder."""

    family = "vae"

    def _trainable(self) -> Any:
        model = super()._trainable()
        model.prior.unsettle()
        return model

    codes: Posteriors | None = None  # of training rows: a density of codes that is fitted after training
    holes: tuple[Posteriors, NDArray[np.bool_]] | None = None  # of some rows, and which of their cells were missing

    def _width(self) -> int:
        return max(super()._width(), int(self.model.prior.n_modes))

    def settle(self, x: FloatArray, weight: FloatArray | None, *, keep_codes: bool) -> None:
        """Training is over: let the prior see the posteriors of at most EXEMPLARS of these rows, and maybe keep all."""
        rows = Rows.from_numpy(x, weight, device=self.device)
        log_weight = rows.x.new_zeros(len(rows)) if rows.weight is None else rows.weight.log()
        with torch.no_grad():
            posteriors = (*self.model.posterior(rows.x, rows.observed), log_weight)
        part = evenly(x, EXEMPLARS)
        self.model.prior.settle(*(tensor[part] for tensor in posteriors))
        own = Posteriors(*(tensor.cpu().numpy() for tensor in posteriors))
        self.codes = own if keep_codes else None
        few = Posteriors(*(np.ascontiguousarray(array[part]) for array in own))
        self.holes = None if rows.observed is None else (few, np.isnan(x[part]))
        self._precise = None

    def state(self) -> dict[str, Any]:
        return super().state() | {"codes": self.codes and tuple(self.codes), "holes": self.holes}

    @classmethod
    def from_state(cls, state: dict[str, Any], device: str) -> Self:
        engine = super().from_state(state, device)
        engine.codes = state["codes"] and Posteriors(*map(np.array, state["codes"]))
        if state["holes"] is not None:
            posteriors, missing = state["holes"]
            engine.holes = Posteriors(*map(np.array, posteriors)), np.array(missing)
        return engine

    @staticmethod
    def objective(name: str, n_draws: int, free_bits: float) -> RowBound:
        """The bound on log p(x) of that name."""
        return partial(vae_bound, objective=name, n_draws=n_draws, free_bits=free_bits)

    def posterior(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of q(z|x), each of shape (n, k)."""
        model, dtype = self._in_precision_of(x)
        with torch.inference_mode():
            pairs = [model.posterior(rows.x, rows.observed) for rows in self._chunks(x, dtype)]
            mean = torch.cat([mean for mean, _ in pairs]).cpu().numpy()
            std = torch.cat([log_std for _, log_std in pairs]).exp().cpu().numpy()
        return self._outward(mean), np.abs(self._outward(std))

    def log_likelihood(self, x: FloatArray, n_draws: int) -> NDArray[np.float64]:
        """Importance-weighted estimate of log p(x_observed) per row, shape (n,), in float64.

        The same `n_draws` quasi-random points serve every row, so that a row's score depends on nothing but the row; a
        row with no observed cell scores 0.
        """
        scores = []
        with torch.inference_mode():
            for _, rows, draws, log_ratio in self._weighed(x, n_draws):
                scores.append(_zero_where_empty(log_mean_exp(draws.log_likelihood + log_ratio), rows))
        return torch.cat(scores).double().cpu().numpy()

    def _weighed(self, x: FloatArray, n_draws: int) -> Iterator[tuple[Any, Rows, Draws, Tensor]]:
        """By chunks of rows: the model, the rows, their draws, and log p(z) - log q(z|x) of each draw, (S, b)."""
        model, dtype = self._in_precision_of(x.astype(np.float64))
        points = normal_quasi_draws(n_draws, self.spec.n_components, self.spec.seed)
        eps = torch.tensor(points, dtype=dtype, device=self.device).unsqueeze(1)  # (S, 1, k)
        for rows in self._chunks(x, dtype, n_draws):
            draws = model.draw(rows.x, rows.observed, eps)
            yield model, rows, draws, model.log_prior_over_posterior(draws)

    def sampling_error(self, x: FloatArray, n_draws: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Standard error (nats) of `log_likelihood` and the effective sample size of its draws, each of shape (n,).

        With normalised weights w the size is 1 / sum w^2 (Kish 1965), the error that of a log of a mean by the delta
        method, sqrt(sum w^2 - 1 / S).
        """
        concentration = []
        with torch.inference_mode():
            for _, _, draws, log_ratio in self._weighed(x, n_draws):
                concentration.append(torch.softmax(draws.log_likelihood + log_ratio, 0).square().sum(0))
        squares: NDArray[np.float64] = torch.cat(concentration).double().cpu().numpy()
        return np.sqrt(np.maximum(squares - 1.0 / n_draws, 0.0)), 1.0 / squares

    def explain(self, x: FloatArray, n_draws: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The parts of `log_likelihood`: of each column, shape (n, p), and of the latent space, shape (n,).

        With normalised weights w over S draws, log p(x) is sum_j E_w[log p(x_j|z)] + E_w[log p(z) - log q(z|x)] -
        (sum w log w + log S): the columns' parts are the terms of the first sum, the latent part is the rest.
        """
        columns, latent = [], []
        with torch.inference_mode():
            for model, rows, draws, log_ratio in self._weighed(x, n_draws):
                log_w = torch.log_softmax(draws.log_likelihood + log_ratio, 0)  # (S, b)
                w = log_w.exp()
                cells = model.columns.log_prob(model.decode(draws.z), rows.x)  # (S, b, p)
                cells = cells if rows.observed is None else cells * rows.observed
                columns.append((w.unsqueeze(-1) * cells).sum(0))
                rest = (w * (log_ratio - log_w)).sum(0) - math.log(n_draws)
                latent.append(_zero_where_empty(rest, rows))
        return torch.cat(columns).double().cpu().numpy(), torch.cat(latent).double().cpu().numpy()

    def expectation(self, x: FloatArray, n_draws: int, rounds: int) -> FloatArray:
        """Statistics of every cell given the observed ones, by self-normalised importance weights.

        Parameters
        ----------
        x : ndarray of shape (n, p)
            NaN in the cells that are not conditioned on.
        n_draws, rounds : int

        Returns
        -------
        ndarray of shape (n, n_statistics)
            As `decode` gives them.
        """
        with torch.inference_mode():
            parts = [statistics for *_, statistics in self._completed(x, n_draws, rounds)]
            return torch.cat(parts).cpu().numpy()

    def completion(self, x: FloatArray, n_draws: int, rounds: int, seed: int) -> FloatArray:
        """Encoded rows, (n, p), whose cells that are NaN are drawn given the observed ones.

        The code is resampled from the weighted draws of the last round, then the cells are drawn from p(x|z).
        """
        stream, parts = generator(seed, self.device), []
        with torch.inference_mode():
            for model, rows, z, w, _ in self._completed(x, n_draws, rounds):
                chosen = torch.multinomial(w.T, 1, generator=stream)[:, 0]
                drawn = model.columns.sample(model.decode(z[chosen, torch.arange(len(rows))]), stream)
                parts.append(drawn if rows.observed is None else torch.where(rows.observed, rows.x, drawn))
            return torch.cat(parts).cpu().numpy()

    def _completed(
        self, x: FloatArray, n_draws: int, rounds: int
    ) -> Iterator[tuple[Any, Rows, Tensor, Tensor, Tensor]]:
        """By chunks of rows: the model, the rows, draws z (S, b, k), weights (S, b), statistics given what is observed.

        The first round draws z from q(z|x_observed), each further one from the posterior given the last completion of
        the row; the draws are weighed by p(x_observed, z) / q(z).
        """
        model, dtype = self._in_precision_of(x.astype(np.float64))
        points = normal_quasi_draws(n_draws, self.spec.n_components, self.spec.seed)
        eps = torch.tensor(points, dtype=dtype, device=self.device).unsqueeze(1)
        for rows in self._chunks(x, dtype, n_draws):
            mean, log_std = model.posterior(rows.x, rows.observed)
            for left in reversed(range(rounds)):
                draws = model.draw_from(mean, log_std, rows.x, rows.observed, eps)
                w = torch.softmax(draws.log_likelihood + model.log_prior_over_posterior(draws), 0)
                statistics = (w.unsqueeze(-1) * model.columns.expected(model.decode(draws.z))).sum(0)
                if left:
                    guess = model.columns.point(statistics)
                    full = guess if rows.observed is None else torch.where(rows.observed, rows.x, guess)
                    mean, log_std = model.posterior(full)
            yield model, rows, draws.z, w, statistics

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
            w = torch.softmax(self._given(model, row, z), 0)
            for _ in range(CONDITION_ROUNDS):
                best = z[torch.multinomial(w, CONDITION_MODES, replacement=True, generator=stream)]
                proposal = Proposal(latent, *self._completed_posterior(model, row, best, stream), CONDITION_DEFENCE)
                z = proposal.sample(n_draws, stream)
                w = torch.softmax(self._given(model, row, z) + latent.log_prob(z) - proposal.log_prob(z), 0)
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
        drawn = model.columns.sample(model.decode(z), stream)
        mean, log_std = model.posterior(drawn if row.observed is None else torch.where(row.observed, row.x, drawn))
        return mean, log_std

    def kl_per_component(self, x: FloatArray, weight: FloatArray | None) -> NDArray[np.float64]:
        """Mean of KL(q(z_j|x) || p(z_j)) over rows, in nats, shape (k,), in the order of the user's components."""
        part = evenly(x)
        x = x[part].astype(np.float64)
        model, dtype = self._in_precision_of(x)
        points = normal_quasi_draws(KL_DRAWS, self.spec.n_components, self.spec.seed)
        eps = torch.tensor(points, dtype=dtype, device=self.device).unsqueeze(1)
        with torch.inference_mode():
            parts = [
                model.kl_per_component(*model.posterior(rows.x, rows.observed), eps)
                for rows in self._chunks(x, dtype, KL_DRAWS)
            ]
            kl = torch.cat(parts).double().cpu().numpy()
        weight = None if weight is None else weight[part]
        result: NDArray[np.float64] = np.average(kl, axis=0, weights=weight)[self.order]
        return result

    def mean_bound(self, x: FloatArray, weight: FloatArray | None, bound: RowBound) -> float:
        """Mean of the training bound over rows (at most ORDERING_ROWS of them), in nats and standardised units."""
        part = evenly(x)
        rows = Rows.from_numpy(x[part], None if weight is None else weight[part], device=self.device)
        return mean_bound(self.model, rows, bound, self.spec.seed)

    def marginal_log_likelihood(self, x: FloatArray, weight: FloatArray | None) -> float:
        """Mean log-likelihood of independent columns: the model with z held at the prior's mean.

        Where no component is active the decoder has learned nothing but marginals, and this is what they give.
        """
        part = evenly(x)
        rows = Rows.from_numpy(x[part], None if weight is None else weight[part], device=self.device)
        model: Any = self.model
        with torch.inference_mode():
            z = model.prior.moments()[0].expand(len(rows), -1)
            return float(rows.mean(model.log_likelihood(rows.x, rows.observed, z)))

    def sample_latent(self, n: int, seed: int, *, aggregated: bool) -> FloatArray:
        """Draw codes from the prior, or from the mean of the posteriors that were kept; shape (n, k), float64."""
        with torch.inference_mode():
            z: FloatArray = self._latent(aggregated).sample(n, generator(seed, self.device)).cpu().numpy()
        return self._outward(z)

    def missing_like(self, z: FloatArray, seed: int) -> NDArray[np.bool_]:
        """Cells to be missing in rows with these codes, (n, n_cells): those of a training row that each may come from.

        The row is drawn with probability q(z|x_i) / sum_j q(z|x_j).
        """
        if self.holes is None:
            return np.zeros((len(z), len(self.spec.centre)), dtype=bool)
        posteriors, missing = self.holes
        density = self._mixture(posteriors)
        stream, drawn = generator(seed, self.device), []
        with torch.inference_mode():
            for part in torch.tensor(self._inward(z), device=self.device).split(
                chunk_size(1, len(missing), self.device)
            ):
                shares = torch.softmax(density.log_modes(part.to(density.means.dtype)), -1)
                drawn.append(torch.multinomial(shares, 1, generator=stream)[:, 0].cpu().numpy())
        rows: NDArray[np.bool_] = missing[np.concatenate(drawn)]
        return rows

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
            parts = [draw(model.decode(part.x)) for part in self._chunks(self._inward(z), dtype)]
            return torch.cat(parts).cpu().numpy()
