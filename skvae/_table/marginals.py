"""The normal scores of a column: a monotone map that gives it a standard normal distribution, and its inverse.

The map is u(x) = Phi^-1(F(x)), F a smooth estimate of the column's distribution function (a copula model's first
step: Sklar 1959). Here it is tabulated at knots and linear between them, so that it and its inverse are one
interpolation each, and the density it implies, phi(u(x)) du/dx, is exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

FloatArray = NDArray[np.floating]

QUANTILES = 256  # of the column, each the centre of a normal kernel
BANDWIDTH = 0.1  # of the kernels, in standard deviations of the column, at least ...
NEIGHBOURS = 13  # ... and as wide as it is to the nearest so many others (5 % of the rows)
TAIL = 0.05  # weight of a Cauchy distribution mixed in: what the column may do that its rows did not show
REACH = 4  # bandwidths on either side of a quantile within which knots lie
FARTHEST = 20  # the outermost knots lie 2^FARTHEST bandwidths outside
BLOCK = 256  # knots at a time, to bound the memory

PROBABILITIES = (np.arange(QUANTILES) + 0.5) / QUANTILES


class NormalScores(NamedTuple):
    """Knots of a column in standardised units, increasing, and the normal score at each."""

    knots: tuple[float, ...]
    scores: tuple[float, ...]

    def encode(self, x: FloatArray) -> FloatArray:
        """Normal scores of standardised values; linear beyond the outermost knots."""
        return _piecewise(x, np.asarray(self.knots), np.asarray(self.scores))

    def decode(self, u: FloatArray) -> FloatArray:
        """Inverse of `encode`."""
        return _piecewise(u, np.asarray(self.scores), np.asarray(self.knots))

    def log_slope(self, x: FloatArray) -> FloatArray:
        """Log du/dx at standardised values (NaN at NaN)."""
        knots = np.asarray(self.knots)
        log_slopes = np.log(np.diff(self.scores) / np.diff(knots))
        piece = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(log_slopes) - 1)
        out: FloatArray = np.where(np.isnan(x), np.nan, log_slopes[piece])
        return out


def _piecewise(x: FloatArray, at: FloatArray, values: FloatArray) -> FloatArray:
    """Linear interpolation that goes on beyond both ends."""
    out: FloatArray = np.interp(x, at, values)
    for end, inner in ((0, 1), (-1, -2)):
        slope = (values[end] - values[inner]) / (at[end] - at[inner])
        beyond = x < at[0] if end == 0 else x > at[-1]
        out[beyond] = values[end] + slope * (x[beyond] - at[end])
    return out


def normal_scores(quantiles: FloatArray) -> NormalScores:
    """The normal scores of a column with these quantiles (at PROBABILITIES), in standardised units."""
    widths = _widths(quantiles)
    knots = _knots(quantiles, widths)
    blocks = [knots[start : start + BLOCK] for start in range(0, len(knots), BLOCK)]
    scores = np.concatenate([_scores(block, quantiles, widths) for block in blocks])
    rising = np.concatenate([[True], np.diff(np.maximum.accumulate(scores)) > 1e-9])
    return NormalScores(tuple(knots[rising].tolist()), tuple(scores[rising].tolist()))


def _widths(centres: FloatArray) -> FloatArray:
    """Bandwidths: the distance to the NEIGHBOURS-th nearest centre (Breiman, Meisel and Purcell 1977), or BANDWIDTH.

    With one bandwidth for all, a value far from all others would have a narrow peak of its own, which vouches for it.
    """
    n, outside = len(centres), np.full(NEIGHBOURS, np.inf)
    padded = np.concatenate([-outside, centres, outside])
    runs = [  # of NEIGHBOURS + 1 centres, each one at every place within them
        np.maximum(centres - padded[start : start + n], padded[start + NEIGHBOURS :][:n] - centres)
        for start in range(NEIGHBOURS + 1)
    ]
    widths: FloatArray = np.maximum(BANDWIDTH, np.min(runs, axis=0))
    return widths


def _knots(centres: FloatArray, widths: FloatArray) -> FloatArray:
    """Half a bandwidth apart near the centres, ever wider outside."""
    steps = np.arange(-REACH, REACH + 0.5, 0.5)
    around = np.concatenate([centres + np.outer(steps, width) for width in (np.full_like(widths, BANDWIDTH), widths)])
    near = np.unique(np.rint(around.ravel() / (0.5 * BANDWIDTH))) * 0.5 * BANDWIDTH
    far = BANDWIDTH * 2.0 ** np.arange(FARTHEST + 1)
    knots: FloatArray = np.concatenate([near[0] - far[::-1], near, near[-1] + far])
    return knots


def _scores(x: FloatArray, centres: FloatArray, widths: FloatArray) -> FloatArray:
    """Phi^-1(F(x)), each half of F taken from its own side so that no tail is rounded away."""
    u = (x[:, np.newaxis] - centres) / widths
    below = (1.0 - TAIL) * ndtr(u).mean(1) + TAIL * np.arctan2(1.0, -x) / np.pi
    above = (1.0 - TAIL) * ndtr(-u).mean(1) + TAIL * np.arctan2(1.0, x) / np.pi
    scores: FloatArray = np.where(below < 0.5, ndtri(below), -ndtri(above))
    return scores
