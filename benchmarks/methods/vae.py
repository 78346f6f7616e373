"""skvae as a density estimator: the default, and settings that differ from it."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

from benchmarks.methods.density import LogDensity
from skvae import VAETransformer
from skvae._model.auto import LONG
from skvae.nn.likelihoods import Gaussian, StudentTMixture

# Module constants that a fit depends on and that are no parameters. They are part of what identifies a result.
CONSTANTS = (
    "skvae.nn.likelihoods.continuous.MIN_LOG_STD",
    "skvae.nn.networks.CLIP",
    "skvae._engine.optimiser.BETAS",
    "skvae._engine.optimiser.CLIP",
    "skvae._engine.optimiser.AVERAGING",
    "skvae._engine.optimiser.MOMENTUM",
    "skvae._engine.optimiser.NEWTON_SCHULZ",
    "skvae._engine.training.RISE",
    "skvae._model.auto.SHORT",
    "skvae._model.auto.LONG",
    "skvae._model.auto.MANY_ROWS",
    "skvae._model.auto.EPOCHS",
    "skvae._model.auto.WITH_LEVELS",
    "skvae._model.auto.STEPS_WITH_LEVELS",
    "skvae._model.auto.EARLY_STOPPING_ROWS",
    "skvae._model.auto.PATIENCE",
    "skvae.nn.likelihoods.mixtures.N_MODES",
    "skvae.nn.likelihoods.mixtures.MANY_COLUMNS",
    "skvae._model.auto.SOLVERS",
    "skvae._model.auto.LAYERS",
    "skvae._model.auto.ALPHAS",
    "skvae._model.auto.MANY_COLUMNS",
    "skvae._model.auto.COMPONENTS",
    "skvae._model.auto.NUMBERS",
    "skvae._model.auto.ROWS_PER_COLUMN",
    "skvae._table.inference.SKEWED",
)


def constant(name: str) -> Any:
    """The value of a module constant, by its dotted name."""
    module, attribute = name.rsplit(".", 1)
    return getattr(import_module(module), attribute)


@contextmanager
def patched(constants: Mapping[str, Any]) -> Iterator[None]:
    """Other values of module constants inside the block; an unknown name is an error."""
    before = {name: constant(name) for name in constants}
    try:
        _assign(constants)
        yield
    finally:
        _assign(before)


def _assign(constants: Mapping[str, Any]) -> None:
    for name, value in constants.items():
        module, attribute = name.rsplit(".", 1)
        setattr(import_module(module), attribute, value)


@dataclass(frozen=True)
class VAEMethod:
    """A density estimator with some parameters and constants unlike the default's.

    Rows go in raw: the model scales them itself and scores in data units.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, train: np.ndarray, seed: int) -> LogDensity:
        with patched(self.constants), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the score says what it is worth
            model = VAETransformer(**self.parameters, random_state=seed).fit(train)

        def log_density(rows: np.ndarray) -> np.ndarray:
            with patched(self.constants):
                return model.score_samples(rows)

        return log_density

    @property
    def settings(self) -> str:
        """A digest of every parameter and constant, so that a result is never taken for one of other settings."""
        parameters = VAETransformer(**self.parameters).get_params()
        values = parameters | {name: constant(name) for name in CONSTANTS} | dict(self.constants)
        told = {name: _told(value) for name, value in values.items() if name not in ("random_state", "verbose")}
        return hashlib.sha1(json.dumps(told, sort_keys=True).encode()).hexdigest()[:10]

    def smaller(self, max_iter: int) -> VAEMethod:
        """The same with another number of epochs."""
        return VAEMethod({**self.parameters, "max_iter": max_iter}, self.constants)


def _told(value: Any) -> str:
    """A repr without memory addresses: of a factory, its name and its bound arguments."""
    if isinstance(value, partial):
        return f"{_told(value.func)}({value.args}, {value.keywords})"
    return value.__qualname__ if callable(value) else repr(value)


@dataclass(frozen=True)
class Averaged:
    """The mean density of several models that differ in their seeds."""

    member: VAEMethod
    n_members: int

    def __call__(self, train: np.ndarray, seed: int) -> LogDensity:
        members = [self.member(train, self.n_members * seed + i) for i in range(self.n_members)]
        return lambda rows: logsumexp([member(rows) for member in members], axis=0) - np.log(self.n_members)

    @property
    def settings(self) -> str:
        """A digest of those of the members, and their number."""
        return f"{self.member.settings} x {self.n_members}"

    def smaller(self, max_iter: int) -> Averaged:
        """The same with another number of epochs."""
        return Averaged(self.member.smaller(max_iter), self.n_members)


@dataclass(frozen=True)
class InBfloat16:
    """A model whose products in training may be those of bfloat16: torch's own setting, "medium"."""

    method: VAEMethod

    def __call__(self, train: np.ndarray, seed: int) -> LogDensity:
        users = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("medium")
        try:
            return self.method(train, seed)
        finally:
            torch.set_float32_matmul_precision(users)

    @property
    def settings(self) -> str:
        """A digest of the model's, and this one."""
        return f"{self.method.settings} in bfloat16"

    def smaller(self, max_iter: int) -> InBfloat16:
        """The same with another number of epochs."""
        return InBfloat16(self.method.smaller(max_iter))


TEXTBOOK = {
    "likelihood": partial(Gaussian, scale="column"),
    "prior": "standard_normal",
    "objective": "elbo",
    "n_train_samples": 1,
    "solver": "adam",
}

DEFAULT = "VAE (default)"

# From the textbook towards the default, one step at a time.
VAES: dict[str, VAEMethod] = {
    DEFAULT: VAEMethod(),
    "VAE (textbook)": VAEMethod(TEXTBOOK),
    "VAE (Gaussian per cell, ELBO)": VAEMethod({**TEXTBOOK, "likelihood": "gaussian"}),
    "VAE (Student-t per cell, ELBO)": VAEMethod({**TEXTBOOK, "likelihood": "student_t"}),
    "VAE (Student-t per cell, IWAE 5)": VAEMethod(
        {**TEXTBOOK, "likelihood": "student_t", "objective": "iwae", "n_train_samples": 5}
    ),
    "VAE (Student-t per cell, IWAE 5, mixture prior)": VAEMethod(
        {"likelihood": "student_t", "objective": "iwae", "n_train_samples": 5, "prior": "mixture"}
    ),
}

# How many modes a cell has: benchmarks/rules.py chooses by tables, and reports on others.
MODES: dict[str, VAEMethod] = {
    "1 mode": VAEMethod({"likelihood": "student_t"}),
    **{f"{n} modes": VAEMethod({"likelihood": partial(StudentTMixture, n_modes=n)}) for n in (3, 5, 8)},
}

# How steps follow the gradient, with the networks and the decay that go with it: benchmarks/rules.py chooses by tables,
# and reports on others.
SOLVERS: dict[str, VAEMethod] = {
    "5 draws, Adam": VAEMethod({"solver": "adam", "hidden_layer_sizes": (128, 64), "alpha": 0.2, "n_train_samples": 5}),
    "Adam": VAEMethod({"solver": "adam", "hidden_layer_sizes": (64, 64), "alpha": 0.2}),
    "Muon": VAEMethod(
        {"solver": "muon", "hidden_layer_sizes": (64, 64, 64), "alpha": 0.1}, {"skvae._model.auto.SHORT": LONG}
    ),
}

# How long Muon trains, whatever the number of rows. Wide tables, which Adam trains, are the same.
FULL, HALF = "2,000 steps", "1,000 steps"
NO_LOGARITHMS = "no logarithms"
LOGARITHMS: dict[str, VAEMethod] = {
    NO_LOGARITHMS: VAEMethod({"marginals": "linear"}),
    **{f"tails {n:g} to 1": VAEMethod(constants={"skvae._table.inference.SKEWED": n}) for n in (3.0, 8.0, 30.0, 100.0)},
}
STEPS: dict[str, VAEMethod] = {
    FULL: VAEMethod(constants={"skvae._model.auto.SHORT": LONG}),
    HALF: VAEMethod(constants={"skvae._model.auto.MANY_ROWS": math.inf}),
}
