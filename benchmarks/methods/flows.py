"""Density estimators of other packages (extra ``rivals``): zuko's normalising flows and arfpy's forest density."""

from __future__ import annotations

import contextlib
import io
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.special import logsumexp
from scipy.stats import truncnorm
from sklearn.model_selection import train_test_split
from torch import Tensor

from benchmarks.methods.density import LogDensity, in_data_units

SECONDS = 60.0  # of the processor, that a flow may train
MAX_EPOCHS = 1_000
VALIDATION = 0.1  # share of the training rows that early stopping judges
CLIP = 5.0  # norm of a step's gradient

Flow = Callable[[int], torch.nn.Module]


@in_data_units
def flow(
    train: np.ndarray,
    seed: int,
    *,
    name: str,
    batch_size: int,
    learning_rate: float,
    patience: int,
    weight_decay: float = 0.0,
    drops: int = 0,
    **options: Any,
) -> LogDensity:
    """A flow of zuko, trained by Adam until held-out rows have not improved for `patience` epochs.

    The learning rate falls by ten, from the best epoch on, as often as `drops` says before that ends it. The weights of
    the best epoch are kept.
    """
    import zuko

    torch.manual_seed(seed)
    model = getattr(zuko.flows, name)(train.shape[1], **options)
    rows, held_out = (
        torch.as_tensor(part, dtype=torch.float32)
        for part in train_test_split(train, test_size=VALIDATION, random_state=seed)
    )
    best, waited, started = -np.inf, 0, time.process_time()
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    weights = _copied(model)
    for _ in range(MAX_EPOCHS):
        _train_epoch(model, optimiser, rows, batch_size)
        score = float(_log_prob(model, held_out).mean())
        if score > best:
            best, waited, weights = score, 0, _copied(model)
        else:
            waited += 1
        if waited > patience and drops > 0:
            model.load_state_dict(weights)
            learning_rate, drops, waited = learning_rate / 10.0, drops - 1, 0
            optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
        if waited > patience or time.process_time() - started > SECONDS:
            break
    model.load_state_dict(weights)
    return lambda new: _log_prob(model.double(), torch.as_tensor(new, dtype=torch.float64)).numpy()


def _train_epoch(model: Any, optimiser: torch.optim.Optimizer, rows: Tensor, batch_size: int) -> None:
    for batch in torch.randperm(len(rows)).split(batch_size):
        optimiser.zero_grad()
        (-model().log_prob(rows[batch]).mean()).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        if torch.isfinite(norm):
            optimiser.step()


@torch.no_grad()
def _log_prob(model: Any, rows: Tensor) -> Tensor:
    return torch.cat([model().log_prob(part) for part in rows.split(4096)])


def _copied(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@in_data_units
def forest(train: np.ndarray, seed: int, **options: Any) -> LogDensity:
    """Adversarial random forest (Watson et al. 2023, arXiv 2205.09435): truncated normal columns in each leaf.

    arfpy fits and draws; the density of its leaves is written here: the mean over the trees of the leaf's share of the
    rows times that of its columns.
    """
    from arfpy import arf

    np.random.seed(seed)  # noqa: NPY002 (what it draws from)
    names = [f"x{j}" for j in range(train.shape[1])]
    with forest_calls():
        model = arf.arf(pd.DataFrame(train, columns=names), random_state=seed, **options)
        leaves = model.forde()["cnt"]
    shares = model.bnds.drop_duplicates(["tree", "nodeid"]).set_index(["tree", "nodeid"])["cvg"]
    cells = leaves.set_index(["tree", "nodeid", "variable"])[["mean", "sd", "min", "max"]].unstack("variable")
    of_leaf = {what: cells[what][names] for what in ("mean", "sd", "min", "max")}

    def log_density(rows: np.ndarray) -> np.ndarray:
        found = model.clf.apply(pd.DataFrame(rows, columns=names))
        each = [
            _leaf_density(rows, pd.MultiIndex.from_arrays([np.full(len(rows), tree), found[:, tree]]), of_leaf, shares)
            for tree in range(model.num_trees)
        ]
        return np.asarray(logsumexp(each, axis=0) - np.log(model.num_trees))

    return log_density


def _leaf_density(
    rows: np.ndarray, leaf: pd.MultiIndex, of_leaf: dict[str, pd.DataFrame], shares: pd.Series
) -> np.ndarray:
    """Log-density of rows in the leaves of one tree that they fall into; -inf in a leaf that no training row is in."""
    mean, sd, low, high = (of_leaf[what].reindex(leaf).to_numpy() for what in ("mean", "sd", "min", "max"))
    share = shares.reindex(leaf).to_numpy()
    sd = np.maximum(sd, 1e-6)
    with np.errstate(divide="ignore", invalid="ignore"):
        cells = truncnorm.logpdf(rows, (low - mean) / sd, (high - mean) / sd, loc=mean, scale=sd)
        return np.nan_to_num(np.log(share) + cells.sum(axis=1), nan=-np.inf, neginf=-np.inf)


@contextlib.contextmanager
def forest_calls() -> Any:
    """Give NumPy 2.4 back the name `in1d`, which arfpy 0.1.1 calls, and keep it and pandas silent."""
    missing = not hasattr(np, "in1d")
    if missing:
        np.in1d = np.isin  # noqa: NPY201
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pandas, about how it is called
            yield
    finally:
        if missing:
            del np.in1d  # noqa: NPY201


TUTORIAL = {"transforms": 3, "hidden_features": (64, 64), "batch_size": 64, "learning_rate": 1e-3, "patience": 30}
WIDER = {
    "transforms": 5,
    "hidden_features": (128, 128),
    "randperm": True,
    "batch_size": 256,
    "learning_rate": 3e-3,
    "weight_decay": 1e-4,
    "patience": 10,
    "drops": 2,
}

FLOW_RIVALS: dict[str, Callable[[np.ndarray, int], LogDensity]] = {
    "NSF": partial(flow, name="NSF", **TUTORIAL),
    "MAF": partial(flow, name="MAF", **TUTORIAL),
    "NSF, wider": partial(flow, name="NSF", **WIDER),
    "MAF, wider": partial(flow, name="MAF", **WIDER),
    "ARF": forest,
    "ARF, leaves of 3": partial(forest, min_node_size=3),
}
