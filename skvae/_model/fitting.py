"""The watchers of a fit: best weights, stopping, callbacks, printing, Ctrl-C, a loss not finite, a fit that fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skvae import _engine
from skvae._model.reading import Weighted
from skvae._model.settings import Settings
from skvae._model.table_model import AnyModel
from skvae._warnings import warn

if TYPE_CHECKING:
    from skvae._engine.training import EpochRecord, Patience

OFFSET_CELLS = 2**18  # cells at once, so that a fit needs no more than a part of the table in double precision
MAX_FAILURES = 5  # epochs in a row without a finite loss, each tried at half the learning rate


class Shown(NamedTuple):
    """Some of the training rows, encoded, evenly spaced: what fitted attributes are read off."""

    encoded: np.ndarray
    weight: np.ndarray | None
    missing: np.ndarray | None  # (m, p), which cells of the table were missing; None where none was

    @classmethod
    def of(cls, encoded: np.ndarray, train: Weighted) -> Shown:
        """A copy of at most as many rows as the engine looks at."""
        part = _engine.engine.evenly(encoded, _engine.engine.SHOWN_ROWS)
        rows = encoded[part].copy() if isinstance(encoded, np.ndarray) else encoded[part].toarray()
        missing = train.table.take(part).missing()
        weight = None if train.weight is None else train.weight[part]
        return cls(rows, weight, missing if missing.any() else None)


class Prepared(NamedTuple):
    """Encoded rows that have an observed cell, to train on or to judge by."""

    cells: Any  # (n, n_cells) in float32, or a CSR matrix
    weight: np.ndarray | None  # (n,)
    offset: float  # leads from a mean bound over them to the one reported, which for densities is in data units
    share: float  # of the weight that the user's rows had; the others have no observed cell
    shown: Shown

    @classmethod
    def of(cls, rows: Weighted, model: AnyModel, settings: Settings) -> Prepared:
        """Rows in data units, as the model reads them."""
        encoded = model.encode_to_train(rows.table)
        cells, weight = informative(encoded, rows.weight)
        mass = len(rows.table) if rows.weight is None else float(rows.weight.sum())
        share = (cells.shape[0] if weight is None else float(weight.sum())) / mass
        offset = _offset(encoded, rows, model, settings)
        return cls(cells, weight, offset, rows.share * share, Shown.of(encoded, rows))

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return int(self.cells.shape[0])

    @property
    def rows(self) -> tuple[Any, np.ndarray | None]:
        """Cells and weights, as the engine takes them."""
        return self.cells, self.weight


def _offset(encoded: Any, rows: Weighted, model: AnyModel, settings: Settings) -> float:
    """The mean of the correction of rows with an observed cell."""
    if rows.table.is_sparse:  # bits and counts, which are left as they are
        return 0.0
    start, total, mass = 0, 0.0, 0.0
    for part in rows.table.slices(OFFSET_CELLS):
        cells = encoded[start : start + len(part)]
        weight = np.ones(len(part)) if rows.weight is None else rows.weight[start : start + len(part)]
        weight = weight * ~np.isnan(cells).all(axis=1)  # rows without an observed cell are not trained on
        total += weight @ model.correction(part, cells, is_density=settings.is_density).sum(axis=1)
        start, mass = start + len(part), mass + weight.sum()
    return float(total / mass) if mass else 0.0


def informative(encoded: Any, weight: np.ndarray | None) -> tuple[Any, np.ndarray | None]:
    """Encoded rows without those of which no cell is observed, and their weights: such rows can teach nothing."""
    if not isinstance(encoded, np.ndarray):
        return encoded, weight
    maybe = np.flatnonzero(np.isnan(encoded[:, 0]))
    empty = maybe[np.isnan(encoded[maybe]).all(axis=1)]
    if not len(empty):
        return encoded, weight
    return np.delete(encoded, empty, axis=0), None if weight is None else np.delete(weight, empty)


@dataclass
class History:
    """What a fit went through, per epoch, in nats per row and data units."""

    loss_curve: list[float] = field(default_factory=list)
    reconstruction_curve: list[float] = field(default_factory=list)
    kl_curve: list[float] = field(default_factory=list)
    validation_scores: list[float] = field(default_factory=list)
    converged: bool = True

    def add(self, record: EpochRecord, taught: Prepared, judged: Prepared | None) -> None:
        """Take an epoch on the rows taught, judged by others; those of them without an observed cell score 0."""
        self.loss_curve.append(-(record.bound + taught.offset))
        self.reconstruction_curve.append(-(record.reconstruction + taught.offset))
        self.kl_curve.append(record.kl)
        if record.validation is not None and judged is not None:
            self.validation_scores.append(judged.share * (record.validation + judged.offset))

    def prepend(self, curves: dict[str, list[float]]) -> None:
        """Put the curves of earlier passes in front."""
        for name, curve in curves.items():
            setattr(self, name, [*curve, *getattr(self, name)])

    def attributes(self, names: tuple[str, ...]) -> dict[str, Any]:
        """The curves of these names, and the rest, as fitted attributes of an estimator."""
        curves = {f"{name}_": getattr(self, name) for name in names}
        return curves | {"n_iter_": len(self.loss_curve), "converged_": self.converged}


def fit_epochs(
    model: AnyModel,
    records: Iterator[EpochRecord],
    *,
    max_iter: int,
    taught: Prepared,
    judged: Prepared | None = None,
    callbacks: Any = None,
    snapshot: Callable[[], dict[str, Any]] | None = None,
    patience: Patience | None = None,
    trained: bool = False,
    verbose: int = 0,
) -> History:
    """Run the epochs and leave the best weights in the model's engine.

    Parameters
    ----------
    model : TableModel
        In training.
    records : iterator of EpochRecord
        From `engine.train`.
    max_iter : int
    taught : Prepared
        The training rows.
    judged : Prepared, optional
        The rows held out.
    callbacks : Epochs, optional
    snapshot : callable, optional
        Fitted attributes of the model as it stands, for callbacks.
    patience : Patience, optional
        Judges validation scores; without it the last weights are kept.
    trained : bool
        Whether the engine has weights from earlier training, to fall back to.
    verbose : int
        Above 0, prints a line for each twentieth of the epochs; above 1, for each epoch.
    """
    history, engine = History(), model.engine
    kept, sound, failures = False, False, 0
    try:
        for epoch in range(max_iter):
            task = callbacks.begin() if callbacks else None
            record = next(records)
            history.add(record, taught, judged)
            sound, failures = sound or record.finite, 0 if record.finite else failures + 1
            if failures == MAX_FAILURES:
                break
            if patience is not None and patience.is_best(record):
                kept = False  # until it is through: what Ctrl-C cuts short is done again below
                engine.keep()
                kept = True
            if verbose and (verbose > 1 or epoch % max(1, max_iter // 20) == 0 or epoch == max_iter - 1):
                print(_line(history, epoch, max_iter))
            if callbacks and callbacks.end(task, snapshot):
                history.converged = False
                break
            if patience is not None and patience.exhausted:
                break
        else:
            if patience is not None and not failures and not _has_settled(history.validation_scores, patience.tol):
                history.converged = _warn_of_held_out(history.validation_scores, max_iter)
    except KeyboardInterrupt:
        if not sound:
            raise
        warn("Training interrupted: the best weights so far are kept.")
        history.converged = False
        engine.recall()
    if failures:
        history.converged = _give_up(failures, sound or trained, model.column_at_fault(taught.shown.encoded))
    if not kept:
        engine.keep()
    if callbacks:
        callbacks.finish()
    return history


def _give_up(failures: int, has_weights: bool, column: Any) -> bool:
    """The loss was not finite to the end, although the learning rate was halved again and again."""
    message = (
        f"The loss was not finite in the last {failures} epoch(s), although the learning rate was halved after each. "
        f"The column that fits worst is {column!r}: look at its values, or lower learning_rate_init."
    )
    if not has_weights:
        raise ValueError(message)
    warn(f"{message} The best weights so far are kept.", ConvergenceWarning)
    return False


def _warn_of_held_out(scores: list[float], max_iter: int) -> bool:
    """Early stopping came to no end: the held-out score was still rising, or is no number."""
    seen = any(map(math.isfinite, scores))
    warn(
        f"Early stopping did not end the fit within max_iter={max_iter} epochs, and the score of the held-out rows was "
        f"still rising. Raise max_iter, or learning_rate_init; early_stopping=False trains for max_iter epochs as is."
        if seen
        else "The score of the held-out rows was never finite, so that early stopping had nothing to go by: the last "
        "weights are kept. Look at the values of these rows, or set early_stopping=False.",
        ConvergenceWarning,
    )
    return False


def _has_settled(scores: list[float], tol: float) -> bool:
    """Whether the best score of the last twentieth of the epochs is no more than `tol` above the best before."""
    finite = [score if math.isfinite(score) else -math.inf for score in scores]
    recent = math.ceil(len(finite) / 20)
    if max(finite, default=0.0) == -math.inf:
        return False
    return len(finite) <= recent or max(finite[-recent:]) <= max(finite[:-recent]) + tol


def _line(history: History, epoch: int, max_iter: int) -> str:
    line = f"Epoch {epoch + 1}/{max_iter}: loss {history.loss_curve[-1]:.4f}"
    if history.kl_curve[-1]:  # an autoencoder has none
        line += f" nats (reconstruction {history.reconstruction_curve[-1]:.4f}, KL {history.kl_curve[-1]:.4f})"
    return f"{line}, validation {history.validation_scores[-1]:.4f}" if history.validation_scores else line


@contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[None]:
    """Give the estimator back its attributes when the block fails: no fitted model lost, no half-fitted one left."""
    before = dict(estimator.__dict__)
    try:
        yield
    except BaseException:
        estimator.__dict__ = before  # at once: Ctrl-C may come twice
        raise
