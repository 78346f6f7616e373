"""How long whole fits take beside the VAEs of other packages, and a step beside a loop written by hand.

Each rival has its own defaults, and skvae the textbook bound with the rival's layers, code, batches and epochs, on
the same table. Both are fitted in turn in one process; times are the least of a few repeats, as in
``benchmarks/speed.py``. ``benchmarks/rivals_env.sh`` makes an environment with the packages; what is not installed is
skipped with a message.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets

from benchmarks import records
from benchmarks.methods.eager import fit_eager
from benchmarks.methods.tables import Network
from benchmarks.problems import outlier_problems, table_problems
from benchmarks.records import Record
from benchmarks.speed import STEP_SHAPES, Action, Seconds, Shape, _fit, factor_table, in_turn, matmul_floor, plain_vae
from skvae import VAETransformer

Table = np.ndarray | pd.DataFrame
Loaders = Mapping[str, Callable[[], Table]]
Fit = Callable[[Any, int, int], object]  # table, epochs, seed

OURS = "skvae, plain bound"
EAGER = "eager loop with DataLoader"
FLOOR = "matmul floor"
PACKAGES = {OURS: "skvae", FLOOR: "torch"}
MNIST_ROWS = 10_000
SMOKE_ROWS = 200


@dataclass(frozen=True)
class Rival:
    """A fit of another package with its defaults.

    Attributes
    ----------
    timed : tuple of int
        Epochs that are run: all of them, or two numbers between which the slope is taken, and from it the whole.
    scores : bool
        Whether its fit ends with a pass over the training rows; skvae then reconstructs them, too.
    parameters : dict
        Of skvae, beside the textbook's.
    """

    name: str
    package: str
    fit: Fit
    tables: Callable[[], Loaders]
    table: str
    hidden: tuple[int, ...]
    n_components: int
    batch_size: int
    n_epochs: int
    timed: tuple[int, ...]
    repeats: int = 3
    scores: bool = False
    parameters: Mapping[str, object] | None = None

    def shape(self, table: Table) -> Shape:
        """The network and batch."""
        return Shape(table.shape[1], self.hidden, self.n_components, self.batch_size)

    def ours(self, table: Any, n_epochs: int, seed: int) -> VAETransformer:
        """The same fit by skvae."""
        model = plain_vae(self.shape(table), n_epochs, seed).set_params(**(self.parameters or {}))
        _fit(model, table)()
        if self.scores:
            model.reconstruct(table)
        return model

    def missing(self) -> str | None:
        """Why it cannot be run here."""
        if find_spec(self.package) is None:
            return f"{self.package} is not installed; benchmarks/rivals_env.sh makes an environment with it"
        return None if self.table in self.tables() else f"{self.table} is not there; is SKVAE_DATA set?"

    def smaller(self) -> Rival:
        """The same for a smoke run: the first table at hand, and very few epochs."""
        known = self.tables()
        return replace(self, table=self.table if self.table in known else next(iter(known)), timed=(1, 2), repeats=2)


# -- the rivals --------------------------------------------------------------------------------------------------------


def fit_pyod(table: np.ndarray, n_epochs: int, seed: int) -> None:
    """PyOD's VAE; it scores the training rows at the end."""
    import_module("pyod.models.vae").VAE(epoch_num=n_epochs, random_state=seed, verbose=0).fit(table)


def fit_pythae(table: np.ndarray, n_epochs: int, seed: int) -> None:
    """The VAE of pythae with its own networks and without evaluation rows, as its pipeline trains and saves it."""
    models, trainers, pipelines = (import_module(f"pythae.{name}") for name in ("models", "trainers", "pipelines"))
    with tempfile.TemporaryDirectory() as folder, _quiet():
        model = models.VAE(models.VAEConfig(input_dim=table.shape[1:]))
        config = trainers.BaseTrainerConfig(output_dir=folder, num_epochs=n_epochs, seed=seed, no_cuda=True)
        pipelines.TrainingPipeline(model, config)(table)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Neither log lines nor progress bars."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def fit_tvae(table: pd.DataFrame, n_epochs: int, seed: int) -> None:
    """TVAE; its Gaussian mixtures of the columns are a part of the fit."""
    Network("TVAE", {"epochs": n_epochs})(table, seed)


def outlier_tables() -> Loaders:
    """Tables with outliers in them."""
    return {name: partial(_without_target, load) for name, load in outlier_problems().items()}


def frames() -> Loaders:
    """Tables of mixed kinds."""
    return {name: partial(_without_target, load) for name, load in table_problems().items()}


def _without_target(load: Callable[[], tuple[Table, object]]) -> Table:
    return load()[0]


def pictures() -> Loaders:
    """Grey values from 0 to 1, which is what pythae's decoder gives."""
    found: dict[str, Callable[[], Table]] = {"sk/digits": lambda: datasets.load_digits().data / 16.0}
    folder = os.environ.get("SKVAE_DATA") or None
    if folder is not None:
        found["images/mnist"] = partial(_mnist, Path(folder) / "images" / "mnist.npz")
    return found


def _mnist(path: Path) -> np.ndarray:
    with np.load(path) as archive:
        return archive["X_train"][:MNIST_ROWS].reshape(MNIST_ROWS, -1) / 255.0


PYTHAE = Rival(
    "pythae's VAE", "pythae", fit_pythae, pictures, "sk/digits", (512,), 10, 64,
    n_epochs=100, timed=(100,), parameters={"atoms": None},
)  # fmt: skip
RIVALS = (
    Rival(
        "PyOD's VAE", "pyod", fit_pyod, outlier_tables, "adbench/28_pendigits", (128, 64, 32), 2, 32,
        n_epochs=30, timed=(30,), scores=True, parameters={"atoms": None},
    ),
    PYTHAE,
    replace(PYTHAE, table="images/mnist", timed=(2, 6)),
    Rival(
        "TVAE", "ctgan", fit_tvae, frames, "mixed/adult", (128, 128), 128, 500,
        n_epochs=300, timed=(2, 12), repeats=2,
    ),
)  # fmt: skip


# -- measurements ------------------------------------------------------------------------------------------------------


def rival_records(smoke: bool, seed: int = 0) -> Iterator[Record]:
    """Every measurement, one record at a time."""
    for shape in STEP_SHAPES[:1] if smoke else STEP_SHAPES[:2]:
        yield from eager_records(shape, (1, 2) if smoke else (2, 22), 2 if smoke else 3, seed)
    for rival in RIVALS:
        chosen = rival.smaller() if smoke else rival
        reason = chosen.missing()
        if reason is not None:
            print(f"skipped: {rival.name}: {reason}", flush=True)
            continue
        table = chosen.tables()[chosen.table]()
        yield from fit_records(chosen, table[:SMOKE_ROWS] if smoke else table, seed)


def eager_records(shape: Shape, timed: tuple[int, int], repeats: int, seed: int) -> Iterator[Record]:
    """Microseconds of a training step beside those of the loop: the slope between a short and a long fit."""
    n_batches = 40
    table = factor_table(n_batches * shape.batch_size, shape.n_features, seed)
    actions: dict[tuple[str, int], Action] = {}
    for n in timed:
        actions[OURS, n] = _fit(plain_vae(shape, n, seed), table)
        actions[EAGER, n] = partial(fit_eager, shape, table, n, seed)
    seconds = in_turn(actions, repeats)
    short, long = timed
    n_steps = (long - short) * n_batches
    step = {what: (seconds[what, long] - seconds[what, short]).per(n_steps) for what in (OURS, EAGER)}
    for what, value in step.items():
        yield {
            "measure": "step", "what": what, "shape": str(shape),
            "microseconds": 1e6 * value.wall, "cpu_microseconds": 1e6 * value.cpu, **_ratios(value, step[OURS]),
        }  # fmt: skip


def fit_records(rival: Rival, table: Table, seed: int) -> Iterator[Record]:
    """Seconds of a whole fit, the rival's and that of skvae."""
    fits = {OURS: rival.ours, rival.name: rival.fit}
    actions: dict[tuple[str, int], Action] = {
        (what, n): partial(fit, table, n, seed) for what, fit in fits.items() for n in rival.timed
    }
    seconds = in_turn(actions, rival.repeats)
    whole = {what: extrapolated([seconds[what, n] for n in rival.timed], rival) for what in fits}
    step = floor(rival.ours(table, 1, seed), rival.shape(table), rival.repeats)
    whole[FLOOR] = step.per(rival.batch_size / (rival.n_epochs * len(table)))
    for what, value in whole.items():
        package = PACKAGES.get(what, rival.package)
        yield {
            "measure": "whole fit", "rival": rival.name, "what": what,
            "version": f"{package} {records._version(package)}",
            "table": rival.table, "n_rows": len(table), "n_features": table.shape[1], "shape": str(rival.shape(table)),
            "batch_size": rival.batch_size, "n_epochs": rival.n_epochs, "timed_epochs": list(rival.timed),
            "seconds": value.wall, "cpu_seconds": value.cpu, **_ratios(value, whole[OURS]),
        }  # fmt: skip


def extrapolated(timed: Sequence[Seconds], rival: Rival) -> Seconds:
    """Seconds of all epochs: those measured, or the set-up and as many epochs of the slope as the rival has."""
    if len(timed) == 1:
        return timed[0]
    (short, long), (n_short, n_long) = timed, rival.timed
    epoch = (long - short).per(n_long - n_short)
    return Seconds(*(start + (rival.n_epochs - n_short) * each for start, each in zip(short, epoch, strict=True)))


def floor(model: VAETransformer, shape: Shape, repeats: int) -> Seconds:
    """Seconds of the matrix products of a step of skvae: three per layer, two in the first, whose rows do not learn."""
    fitted = model._engine.model
    first, *rest = replace(shape, n_features=fitted.encoding.n_out).products(1, fitted.columns.n_outputs)
    seconds = (matmul_floor([first], 200, repeats).per(3 / 2), matmul_floor(rest, 200, repeats))
    return Seconds(*map(sum, zip(*seconds, strict=True)))


def _ratios(value: Seconds, ours: Seconds) -> Record:
    return {"ratio": value.wall / ours.wall, "cpu_ratio": value.cpu / ours.cpu}
