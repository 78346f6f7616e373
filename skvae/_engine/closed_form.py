"""The start of linear models whose best parameters are known: probabilistic PCA with a given noise.

With linear networks and normal cells of one fixed standard deviation, the evidence lower bound has its maximum where
the marginal likelihood has it (Lucas et al. 2019, arXiv 1911.02469), which follows from the principal components
(Tipping and Bishop 1999, section 3.2).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvae.nn.likelihoods import Gaussian
from skvae.nn.models import VAE
from skvae.nn.networks import MLP, InputEncoding, TableEncoding

Floats = NDArray[np.float64]

NOISES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.6)  # that "leave_one_out" chooses from, in standard deviations
PREDICTED = 1_000  # rows, at most, that are predicted from all the others
OVERLOOKED = 0.05  # share of these that are predicted worst, which do not count: outliers ask for a wide noise
FARTHEST = 30.0  # standard deviations at which cells are cut off: one gross error must not be the first component
LEAST_COMPLETE = 50  # rows without a hole, below which holes are filled with the columns' means


class _Block(NamedTuple):
    """Normal cells of one fixed noise, and the decoder's outputs that are their means."""

    likelihood: Any  # a Gaussian
    cells: slice
    outputs: slice


def _blocks(model: VAE) -> list[_Block]:
    blocks, cell, output = list[_Block](), 0, 0
    likelihood: Any
    for likelihood in model.columns.likelihoods:
        cells, outputs = slice(cell, cell + likelihood.n_columns), slice(output, output + likelihood.n_outputs)
        if type(likelihood) is Gaussian and likelihood.fixed_scale is not None:
            blocks.append(_Block(likelihood, cells, outputs))
        cell, output = cells.stop, outputs.stop
    return blocks


def _is_linear(model: VAE) -> bool:
    return not _numbers(model).clip and is_affine(model.encoder) and is_affine(model.decoder)


def is_affine(network: torch.nn.Module) -> bool:
    """Whether it is a matrix and a bias, and nothing else."""
    return isinstance(network, MLP) and network.is_plain and network.hidden is None


def _numbers(model: VAE) -> InputEncoding:
    return model.encoding.numbers if isinstance(model.encoding, TableEncoding) else model.encoding


def applies(model: VAE) -> bool:
    """Whether `start` has something to set."""
    blocks = _blocks(model)
    return any(block.likelihood.scale == "leave_one_out" for block in blocks) or bool(blocks and _is_linear(model))


def left_out_noise(model: VAE) -> float | None:
    """The noise of the first block that takes that of `leave_one_out`."""
    noises = (
        float(own.likelihood.log_scale.exp()) for own in _blocks(model) if own.likelihood.scale == "leave_one_out"
    )
    return next(noises, None)


@torch.no_grad()
def start(model: VAE, x: Floats, weight: Floats | None) -> None:
    """Set noises that follow the rows x (n, p), NaN where missing, and solve a linear model for its first block."""
    weight = np.ones(len(x)) if weight is None else weight
    for i, block in enumerate(_blocks(model)):
        rows, own = _filled(np.clip(x[:, block.cells], -FARTHEST, FARTHEST), weight)
        if block.likelihood.scale == "leave_one_out":
            block.likelihood.log_scale.fill_(math.log(leave_one_out(rows, own)))
        if i == 0 and _is_linear(model):
            _solve(model, block, rows, own)


def _solve(model: VAE, block: _Block, rows: Floats, weight: Floats) -> None:
    noise = float(block.likelihood.log_scale.exp())
    mean = np.average(rows, axis=0, weights=weight)
    decoder: Any = model.decoder
    variance, axes = _principal(rows - mean, weight, decoder.shortcut.in_features)
    _set(model, block, mean, np.sqrt(np.maximum(variance - noise**2, 0.0)), axes, noise)


def _filled(x: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Rows without holes; where they are few, all rows with the columns' means in the holes."""
    complete = ~np.isnan(x).any(axis=1) & (weight > 0)
    if complete.sum() >= min(LEAST_COMPLETE, len(x)):
        return x[complete], weight[complete]
    heavy = weight / weight.max()
    total = heavy @ ~np.isnan(x)
    means = heavy @ np.nan_to_num(x) / np.where(total > 0.0, total, 1.0)
    return np.where(np.isnan(x), means, x), weight


def _principal(x: Floats, weight: Floats, k: int) -> tuple[Floats, Floats]:
    """The variances of at most k principal components, descending, and their axes (p, k)."""
    covariance = (x * (weight / weight.sum())[:, np.newaxis]).T @ x
    variance, axes = np.linalg.eigh(covariance)
    return variance[::-1][:k], axes[:, ::-1][:, :k]


def _set(model: VAE, block: _Block, mean: Floats, scale: Floats, axes: Floats, noise: float) -> None:
    """Weights for a loading of `scale` along each axis: x = mean + axes (scale * z), and the exact posterior of z."""
    networks: Any = (model.encoder, model.decoder)
    encoder, decoder = (network.shortcut for network in networks)
    r, k = len(scale), decoder.in_features
    total, numbers, inputs = scale**2 + noise**2, _numbers(model), _inputs(model, block)
    width = 1.0 / numbers.inverse_width.double().cpu().numpy()[inputs]
    centre = numbers.centre.double().cpu().numpy()[inputs]
    used = k if len(inputs) == len(model.columns.is_code) else r  # components that no other cells need
    encoder.weight[:used] = 0.0
    encoder.weight[k : k + used] = 0.0
    reading = (scale / total)[:, np.newaxis] * axes.T
    encoder.weight[:r, inputs] = _like(encoder.weight, reading * width)
    encoder.bias[:r] = _like(encoder.bias, reading @ (centre - mean))
    encoder.bias[k : k + r] = _like(encoder.bias, 0.5 * np.log(noise**2 / total))
    decoder.weight[block.outputs, :r] = _like(decoder.weight, axes * scale)
    decoder.weight[block.outputs, r:] = 0.0
    decoder.bias[block.outputs] = _like(decoder.bias, mean) - model.start[block.outputs]


def _inputs(model: VAE, block: _Block) -> list[int]:
    """Where the encoder sees the block's cells."""
    is_table = isinstance(model.encoding, TableEncoding)
    encoding: Any = model.encoding
    seen = encoding.number_cells if is_table else encoding.cells
    order = range(len(_numbers(model).centre)) if seen is None else seen.tolist()
    return [order.index(cell) for cell in range(block.cells.start, block.cells.stop)]


def _like(tensor: Tensor, values: Floats) -> Tensor:
    return torch.as_tensor(values).to(tensor)


def leave_one_out(x: Floats, weight: Floats | None = None) -> float:
    """The noise of a model of exemplars under which rows are likeliest, each predicted from all others (Duin 1976).

    Around an exemplar such a model has the noise of its code and that of the cells, so that the kernel's variance is
    twice the noise's. The rows that are predicted worst are left out of the mean. Copies are rows like others: what
    repeats is likely.
    """
    n, p = x.shape
    if n < 2:
        return NOISES[-1]
    weight = np.ones(n) if weight is None else weight
    some = np.arange(n)[:: -(-n // PREDICTED)]
    squares = np.square(x).sum(axis=1)
    distance = np.maximum(squares[some, np.newaxis] + squares - 2.0 * x[some] @ x.T, 0.0)
    distance[np.arange(len(some)), some] = np.inf
    nearest = distance.min(axis=1, keepdims=True)
    predicted = weight[some]

    def mean_log_density(noise: float) -> float:
        precision = 0.25 / noise**2
        each = np.log(np.exp((nearest - distance) * precision) @ weight) - nearest[:, 0] * precision
        order = np.argsort(each)
        kept = order[np.cumsum(predicted[order]) > OVERLOOKED * predicted.sum()]
        return float(np.average(each[kept], weights=predicted[kept])) - float(p * math.log(noise))

    return max(NOISES, key=mean_log_density)
