"""Several models of one table, and what they say of a row together: a score on one scale, and its terms."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from skvae._model.explaining import Explanation, Terms, drawn_rows, terms
from skvae._model.reading import warn_of_constants
from skvae._model.table_model import VAEModel
from skvae._table.tables import ReadableRows, Table

Floats = NDArray[np.float64]

ORDER = 8.0  # of the mean of surprisals: a row is as odd as those say that find it oddest
TAIL = 0.1  # share of the lowest scores that tell how fast scores fall off below
LEAST_TAIL = 5  # scores, at least
MOST = 1e300  # nats: what is infinitely improbable still has a mean
EQUAL = 1e-6  # of scores, and 1: what lies closer is equal but for rounding
KNOTS = 257  # scores, at most, between which a scale is linear
UNKNOWN = math.log(3.0)  # nats by which a log-density that draws do not determine may be too high
STEEPER = 2.0  # times as fast, at most, surprisals rise beyond the lowest score where a part of the rows is left out
EXPECTED_ROWS = 512  # drawn from the models, that say what a column contributes on average


class Surprisal(NamedTuple):
    """How odd a model's log-density is: minus the log of the share of normal rows that score as low, in nats.

    Between the scores of reference rows it is linear. Below the lowest tenth it grows as for an exponential tail with
    the mean excess that these have, so that no two rows are too odd to compare; above the highest it falls off to 0.
    """

    scores: Floats  # ascending
    nats: Floats  # descending, above 0
    rate: float  # nats per nat, below the lowest score

    @classmethod
    def of(cls, scores: Floats) -> Self:
        """That of the scores of n reference rows."""
        ordered = np.sort(scores)
        n = len(ordered)
        q = min(max(LEAST_TAIL, int(TAIL * n)), n - 1)
        excess = float((ordered[q] - ordered[:q]).mean()) if q else 0.0
        if not EQUAL * (1.0 + abs(ordered[q])) < excess < np.inf:
            excess = 1.0  # where the lowest are all equal, or infinite, a nat of the score counts one nat
        place = np.unique(np.linspace(q, n - 1, KNOTS).round().astype(int))
        knots = ordered[place]
        is_last = np.append(np.diff(knots) > EQUAL * (1.0 + np.abs(knots[:-1])), True)  # of those that are equal
        return cls(knots[is_last], np.log((n + 1.5) / (place[is_last] + 2.0)), 1.0 / excess)

    def __call__(self, scores: Floats) -> Floats:
        """Surprisals, of the same shape, at least 0."""
        below, above = (np.maximum(far, 0.0) for far in (self.scores[0] - scores, scores - self.scores[-1]))
        within = np.interp(scores, self.scores, self.nats)
        out: Floats = within * np.exp(-self.rate * above) + np.minimum(self.rate * below, MOST)
        return out


class Expected(NamedTuple):
    """Medians of what the models say of rows drawn from them, in nats: a mean would follow a few gross draws."""

    columns: Floats  # (M, p), each model's own terms
    densities: Floats  # (M,), each model's own log-densities
    score: float


@dataclass(frozen=True)
class Committee:
    """Models whose surprisals are averaged: score = -(sum_m w_m t_m^8)^(1/8), the weights having sum 1.

    The score of a single model is its log-density. No row vouches for itself: an exemplar that lies where the row does
    counts for other rows only.

    Parameters
    ----------
    models : list of TableModel of a VAE
    weights : ndarray of shape (M,)
    scales : list of Surprisal
        Of each model, unless there is only one.
    """

    models: list[VAEModel]
    weights: Floats
    scales: list[Surprisal]

    @property
    def _is_one(self) -> bool:
        return len(self.models) == 1

    # -- scores --------------------------------------------------------------------------------------------------------

    def densities(self, table: Table) -> Floats:
        """The models' log-densities of rows in the columns' own units, (M, n), without the cost of what is new."""
        cost = self.costs(table).sum(axis=1)
        return np.array([m.log_density(table, relative=True, trained_on=True) + cost for m in self.models])

    def costs(self, table: ReadableRows) -> Floats:
        """What cells cost that hold what fit did not see, (n, p), in nats: as much as the oddest row."""
        schema, unknown = self.models[0].schema, self.models[0].unknown
        parts = [schema.surprise * schema.surprises(part, unknown=unknown) for part in table.slices()]
        costs: Floats = np.concatenate(parts)
        return costs

    def scores(self, table: Table) -> Floats:
        """Scores of rows, (n,), in nats."""
        scores: Floats = self.joined(self.densities(table)) - self.costs(table).sum(axis=1)
        return scores

    def joined(self, densities: Floats) -> Floats:
        """The score of rows with these log-densities (M, n), the cost of what is new apart."""
        joined: Floats = densities[0] if self._is_one else -self._mean(self.surprisals(densities))
        return joined

    def surprisals(self, densities: Floats) -> Floats:
        """Those of each model, (M, n)."""
        return np.array([scale(own) for scale, own in zip(self.scales, densities, strict=True)])

    def _mean(self, surprisals: Floats) -> Floats:
        return power_mean(surprisals, self.weights, ORDER)

    def _shares(self, surprisals: Floats) -> Floats:
        """By how much the score falls as a model's surprisal grows, (M, n): times these the surprisals add up to it."""
        mean = np.maximum(self._mean(surprisals), np.finfo(float).tiny)
        return self.weights[:, np.newaxis] * (surprisals / mean) ** (ORDER - 1.0)

    def sampling_error(self, table: Table) -> tuple[Floats, Floats, Floats]:
        """Standard error of the scores, the least effective sample size and the greatest Pareto k, each (n,).

        A model's error moves the score by as much as a log-density that is higher or lower by it. Where that is not
        known, the log-density may be too low by any amount, and too high by more than log 3 at most one time in three
        (Markov's inequality, as an average of importance weights has the density as its mean).
        """
        each = [model.sampling_error(table, trained_on=True) for model in self.models]
        errors, sizes, tails = (np.array(part) for part in zip(*each, strict=True))
        draws = errors.any(axis=1) if errors.any() else slice(None)
        if not self._is_one:
            errors = self._moves(self.densities(table), errors)
        return np.sqrt(np.square(errors).sum(axis=0)), sizes[draws].min(axis=0), tails.max(axis=0)

    def _moves(self, densities: Floats, errors: Floats) -> Floats:
        """By how much the score moves where one of the log-densities (M, n) does by its error."""
        score, moves = self.joined(densities), np.zeros_like(errors)
        for m in np.flatnonzero(errors.any(axis=1)):
            known = np.isfinite(errors[m])
            for step in (errors[m], np.where(known, -errors[m], -UNKNOWN)):
                moved = densities.copy()
                moved[m] = np.where(step < np.inf, densities[m] + step, np.inf)
                moves[m] = np.maximum(moves[m], np.abs(self.joined(moved) - score))
        return moves

    # -- reasons -------------------------------------------------------------------------------------------------------

    def expected(self, drawing: list[VAEModel], seed: int) -> Expected:
        """The medians over EXPECTED_ROWS rows, as many from each of the models that draw them."""
        n = EXPECTED_ROWS // len(drawing)
        drawn = [drawn_rows(model, n, np.random.RandomState(seed)) for model in drawing]
        columns, densities = [], []
        for model in self.models:
            each = [terms(model, rows) for rows in drawn]
            own = np.concatenate([part.columns for part in each])
            columns.append(np.median(own, axis=0))
            densities.append(own.sum(axis=1) + np.concatenate([part.latent for part in each]))
        score = float(np.median(self.joined(np.array(densities))))
        return Expected(np.array(columns), np.median(densities, axis=1), score)

    def explain(self, table: Table, expected: Expected) -> Explanation:
        """Each cell's share of the scores.

        A model's surprisal is a secant of its scale times its log-density; so the model's terms, times that and times
        its share of the mean, add up to the score.
        """
        schema = self.models[0].schema
        warn_of_constants(schema, schema.surprises(table, unknown=self.models[0].unknown).any(axis=0))
        costs = self.costs(table)
        each = [_without(terms(model, table), costs) for model in self.models]
        densities = np.array([own.columns.sum(axis=1) + own.latent for own in each])
        factors = self._factors(densities, expected.densities)
        shares = -costs
        for own, factor, mean in zip(each, factors, expected.columns, strict=True):
            shares += factor[:, np.newaxis] * (own.columns - np.where(own.silent, 0.0, mean))
        score = self.joined(densities) - costs.sum(axis=1)
        return Explanation(shares, score - shares.sum(axis=1), expected.score)

    def _factors(self, densities: Floats, expected: Floats) -> Floats:
        """What a nat of each model's log-density counts in the score of a row, (M, n)."""
        if self._is_one:
            return np.ones_like(densities)
        surprisals = self.surprisals(densities)
        at_expected = self.surprisals(expected[:, np.newaxis])
        distance = densities - expected[:, np.newaxis]
        near = np.abs(distance) < 1e-9
        secant = (at_expected - surprisals) / np.where(near, 1.0, distance)
        return self._shares(surprisals) * np.where(near, 0.0, secant)


def _without(own: Terms, costs: Floats) -> Terms:
    """Terms without the cost of what is new."""
    return own._replace(columns=own.columns + costs)


def power_mean(surprisals: Floats, weights: Floats, order: float) -> Floats:
    """(sum_m w_m t_m^order)^(1/order) of surprisals (M, n), shape (n,)."""
    top = np.maximum(surprisals.max(axis=0), np.finfo(float).tiny)  # or a power might overflow
    mean: Floats = top * (weights @ (surprisals / top) ** order) ** (1.0 / order)
    return mean


def scales_of(densities: Floats) -> list[Surprisal]:
    """Scales by the log-densities (M, n) of reference rows; none for a single model."""
    return [Surprisal.of(own) for own in densities] if len(densities) > 1 else []


def held_out_scores(committee: Committee, densities: Floats, folds: int = 10) -> Floats:
    """Scores of the reference rows themselves, (n,), each part of them on the scales that the others set.

    On their own scale they would seem more normal than new rows do. But without the one row that is far from all
    others, surprisals may rise so much faster beyond these that it is odder than any new row: hence STEEPER.
    """
    n = densities.shape[1]
    out = np.empty(n)
    for fold in range(min(folds, n)):
        own = np.arange(n) % min(folds, n) == fold
        others = scales_of(densities[:, ~own]) if not own.all() else committee.scales
        each = zip(others, committee.scales, strict=True)
        scales = [scale._replace(rate=min(scale.rate, STEEPER * whole.rate)) for scale, whole in each]
        out[own] = Committee(committee.models, committee.weights, scales).joined(densities[:, own])
    return out
