"""The engine of a variational autoencoder: its objective, its densities, and what they are made of."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvae._engine.batches import Rows
from skvae._engine.engine import Engine, FloatArray, evenly
from skvae._engine.pareto import pareto_k, trusted_below
from skvae._engine.runtime import normal_quasi_draws
from skvae._engine.training import RowBound, mean_bound
from skvae.nn.models import Draws
from skvae.nn.objectives import log_mean_exp

KL_DRAWS = 4  # of a quasi-random sequence, for a prior whose KL is not closed
LEAST_BATCHES, LEAST_DRAWS = 8, 256  # that tell how well a score is determined


class SamplingError(NamedTuple):
    """What is known of the error of scores, each of shape (n,)."""

    standard_error: NDArray[np.float64]  # nats; infinite where the weights' tail is too heavy to tell
    effective_sample_size: NDArray[np.float64]  # 1 / sum w^2 of the normalised weights (Kish 1965)
    pareto_k: NDArray[np.float64]


def _sampling_error(log_w: Tensor, n_batches: int, n_draws: int, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    """Of the score from the first `n_draws` of log-weights (n, b), batch after batch."""
    by_batch = log_w.unflatten(0, (n_batches, -1))  # (B, m, b)
    size = by_batch.shape[1]
    scores = torch.logsumexp(by_batch, 1) - math.log(size)
    error = (scores - log_mean_exp(log_w)).square().mean(0).mul(size / n_draws).sqrt()
    k = pareto_k(log_w)
    error = torch.where(k > trusted_below(len(log_w)), torch.inf, error)
    size = 1.0 / torch.softmax(log_w[:n_draws], 0).square().sum(0)
    return _zero_where_empty(error, rows), size, _zero_where_empty(k, rows)


def _zero_where_empty(values: Tensor, rows: Rows) -> Tensor:
    """The values, 0 for rows that have no observed cell."""
    return values if rows.observed is None else values.where(rows.observed.any(-1), 0.0)


class ScoringEngine(Engine):
    """A variational autoencoder that scores rows."""

    family = "vae"

    def _trainable(self) -> Any:
        model = super()._trainable()
        model.prior.unsettle()
        model.columns.unsettle()
        return model

    def _width(self) -> int:
        return max(super()._width(), int(self.model.prior.n_modes))

    def posterior(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of q(z|x), each of shape (n, k)."""
        model, dtype = self._in_precision_of(x)
        with torch.inference_mode():
            pairs = [model.posterior(rows.x, rows.observed) for rows in self._chunks(x, dtype)]
            mean = torch.cat([mean for mean, _ in pairs]).cpu().numpy()
            std = torch.cat([log_std for _, log_std in pairs]).exp().cpu().numpy()
        return self._outward(mean), np.abs(self._outward(std))

    def log_likelihood(self, x: FloatArray, n_draws: int, *, trained_on: bool = False) -> NDArray[np.float64]:
        """Importance-weighted estimate of log p(x_observed) per row, shape (n,), in float64.

        The same `n_draws` quasi-random points serve every row, so that a row's score depends on nothing but the row; a
        row with no observed cell scores 0. Rows that the model was `trained_on` are scored without what they
        themselves put into the prior.
        """
        scores = []
        with torch.inference_mode():
            for _, rows, draws, log_ratio in self._weighed(x, self._points(n_draws), trained_on=trained_on):
                scores.append(_zero_where_empty(log_mean_exp(draws.log_likelihood + log_ratio), rows))
        return torch.cat(scores).double().cpu().numpy()

    def _points(self, n_draws: int) -> NDArray[np.float64]:
        """The points that serve every row, shape (S, k)."""
        return normal_quasi_draws(n_draws, self.spec.n_components, self.spec.seed)

    def _weighed(
        self, x: FloatArray, points: NDArray[np.float64], *, trained_on: bool = False
    ) -> Iterator[tuple[Any, Rows, Draws, Tensor]]:
        """By chunks of rows: the model, the rows, their draws, and log p(z) - log q(z|x) of each draw, (S, b)."""
        model, dtype = self._in_precision_of(x.astype(np.float64))
        eps = torch.tensor(points, dtype=dtype, device=self.device).unsqueeze(1)  # (S, 1, k)
        for rows in self._chunks(x, dtype, len(points)):
            draws = model.draw(rows.x, rows.observed, eps)
            yield model, rows, draws, model.log_prior_over_posterior(draws, trained_on=trained_on)

    def sampling_error(self, x: FloatArray, n_draws: int) -> SamplingError:
        """How far `log_likelihood` may be from log p(x), by batches of its draws and of those that would follow.

        With batches of m draws the error of a score from S is the root mean square distance of the batches' scores from
        that of all their draws together, times sqrt(m / S). The bias of a log of a mean is part of it.
        """
        n_batches = max(LEAST_BATCHES, math.ceil(LEAST_DRAWS / n_draws))
        size = math.ceil(max(n_draws, LEAST_DRAWS) / n_batches)
        parts = []
        with torch.inference_mode():
            for _, rows, draws, log_ratio in self._weighed(x, self._points(n_batches * size)):
                parts.append(_sampling_error(draws.log_likelihood + log_ratio, n_batches, n_draws, rows))
        return SamplingError(*(torch.cat(part).double().cpu().numpy() for part in zip(*parts, strict=True)))

    def explain(self, x: FloatArray, n_draws: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The parts of `log_likelihood`: of each column, shape (n, p), and of the latent space, shape (n,).

        With normalised weights w over S draws, log p(x) is sum_j E_w[log p(x_j|z)] + E_w[log p(z) - log q(z|x)] -
        (sum w log w + log S): the columns' parts are the terms of the first sum, the latent part is the rest.
        """
        columns, latent = [], []
        with torch.inference_mode():
            for model, rows, draws, log_ratio in self._weighed(x, self._points(n_draws)):
                log_w = torch.log_softmax(draws.log_likelihood + log_ratio, 0)  # (S, b)
                w = log_w.exp()
                cells = model.columns.log_prob(model.decode(draws.z), rows.x)  # (S, b, p)
                cells = cells if rows.observed is None else cells * rows.observed
                columns.append((w.unsqueeze(-1) * cells).sum(0))
                rest = (w * (log_ratio - log_w)).sum(0) - math.log(n_draws)
                latent.append(_zero_where_empty(rest, rows))
        return torch.cat(columns).double().cpu().numpy(), torch.cat(latent).double().cpu().numpy()

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
