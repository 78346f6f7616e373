"""Imputers: ``method(shown, seed)`` fits on a frame with missing cells and returns a function that fills such a frame.

The rivals get columns standardised by the observed cells, an ordered category as the number of its level, any other as
a column of 0 and 1 per level; the nearest and the largest level are what comes back.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.linear_model import BayesianRidge, LogisticRegression
from torch import nn
from torch.distributions import Normal, StudentT

from benchmarks.encoding import Encoding
from benchmarks.methods.tables import estimator_settings
from benchmarks.methods.vae import constant, patched
from skvae import VAEImputer, VAETransformer
from skvae.nn.likelihoods import GaussianMixture, StudentTMixture

Fill = Callable[[pd.DataFrame], pd.DataFrame]
Method = Callable[[pd.DataFrame, int], Fill]


class Numbers:
    """Frames to numbers without types, and back; NaN is a missing cell.

    A table of codes has a column per column of the frame: numbers, and the numbers of levels. A wide one has
    standardised columns, and for a category without an order one column per level.
    """

    def __init__(self, shown: pd.DataFrame) -> None:
        self._encoding = Encoding.of(shown)
        self.is_nominal = self._encoding.is_nominal
        self._widths = [
            len(levels) if nominal else 1
            for levels, nominal in zip(self._encoding.levels.values(), self.is_nominal, strict=True)
        ]
        self.owner = np.repeat(np.arange(len(self._widths)), self._widths)  # of each column of a wide table
        codes = self.codes(shown)
        most_frequent = pd.DataFrame(codes).mode().iloc[0].to_numpy()
        self._start = np.where(self.is_nominal, most_frequent, np.nanmean(codes, axis=0))
        wide = self._split_levels(codes)
        self._mean, std = np.nanmean(wide, axis=0), np.nanstd(wide, axis=0)
        self._std = np.where(std > 0.0, std, 1.0)

    def codes(self, frame: pd.DataFrame) -> np.ndarray:
        """A frame's table of codes."""
        return self._encoding(frame)

    def started(self, codes: np.ndarray) -> np.ndarray:
        """Codes with means and most frequent levels in the place of missing cells."""
        return np.where(np.isnan(codes), self._start, codes)

    def wide(self, codes: np.ndarray) -> np.ndarray:
        """The wide table of codes."""
        return (self._split_levels(codes) - self._mean) / self._std

    def _split_levels(self, codes: np.ndarray) -> np.ndarray:
        blocks = []
        for column, width, nominal in zip(codes.T, self._widths, self.is_nominal, strict=True):
            block = column[:, None]
            blocks.append(np.where(np.isnan(block), np.nan, block == np.arange(width)) if nominal else block)
        return np.hstack(blocks)

    def narrow(self, wide: np.ndarray) -> np.ndarray:
        """The codes of a wide table: the largest of the columns of a category is its level."""
        blocks = np.split(wide * self._std + self._mean, np.cumsum(self._widths)[:-1], axis=1)
        columns = zip(blocks, self.is_nominal, strict=True)
        return np.column_stack([block.argmax(axis=1) if nominal else block[:, 0] for block, nominal in columns])

    def filled(self, frame: pd.DataFrame, codes: np.ndarray) -> pd.DataFrame:
        """The frame with its missing cells filled from codes, which are rounded to the nearest level."""
        columns = {}
        for (name, levels), values in zip(self._encoding.levels.items(), codes.T, strict=True):
            missing = frame[name].isna().to_numpy()
            if levels is None:
                columns[name] = np.where(missing, values, frame[name].astype("Float64").fillna(0.0).to_numpy(float))
            else:
                places = np.clip(np.rint(values), 0, len(levels) - 1).astype(int)
                mixed = frame[name].astype(object).where(~missing, levels.to_numpy()[places])
                columns[name] = mixed.astype(frame[name].dtype)
        return pd.DataFrame(columns)


@dataclass(frozen=True)
class Rival:
    """An imputer of numbers, made by a function of the seed."""

    make: Callable[[int], Any]

    def __call__(self, shown: pd.DataFrame, seed: int) -> Fill:
        numbers = Numbers(shown)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # ten rounds are scikit-learn's default
            imputer = self.make(seed).fit(numbers.wide(numbers.codes(shown)))

        def fill(frame: pd.DataFrame) -> pd.DataFrame:
            return numbers.filled(frame, numbers.narrow(imputer.transform(numbers.wide(numbers.codes(frame)))))

        return fill


@dataclass(frozen=True)
class Iterative:
    """IterativeImputer, which fills column after column by a model of the others, ten rounds.

    It predicts numbers alone, and each column of a category from that category's other columns, from which there is
    nothing to learn. So where there are categories without an order the same is done here with a classifier for them.
    """

    regressor: Callable[[int], Any]
    classifier: Callable[[int], Any]
    rounds: int = 10

    def __call__(self, shown: pd.DataFrame, seed: int) -> Fill:
        if not Numbers(shown).is_nominal.any():
            return Rival(lambda seed: IterativeImputer(self.regressor(seed), random_state=seed))(shown, seed)
        numbers = Numbers(shown)
        codes = numbers.codes(shown)
        missing = np.isnan(codes)
        table = numbers.started(codes)
        order = [j for j in missing.sum(axis=0).argsort(kind="stable") if missing[:, j].any()]
        steps = []
        for j in order * self.rounds:
            X = numbers.wide(table)[:, numbers.owner != j]
            known = ~missing[:, j]
            model = (self.classifier if numbers.is_nominal[j] else self.regressor)(seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(X[known], codes[known, j])
            table[~known, j] = model.predict(X[~known])
            steps.append((j, model))

        def fill(frame: pd.DataFrame) -> pd.DataFrame:
            codes = numbers.codes(frame)
            missing, table = np.isnan(codes), numbers.started(codes)
            for j, model in steps:
                if missing[:, j].any():
                    X = numbers.wide(table)[missing[:, j]]
                    table[missing[:, j], j] = model.predict(X[:, numbers.owner != j])
            return numbers.filled(frame, table)

        return fill


def most_frequent(shown: pd.DataFrame, seed: int) -> Fill:
    """The mean of a number, the most frequent level of a category, as SimpleImputer does."""
    values = {
        name: column.mode()[0] if isinstance(column.dtype, pd.CategoricalDtype) else float(column.mean())
        for name, column in shown.items()
    }
    whole = list(shown.select_dtypes("integer"))
    return lambda frame: frame.astype(dict.fromkeys(whole, "Float64")).fillna(values)


# -- MIWAE -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MIWAE:
    """Mattei and Frellsen (2019, arXiv 1812.02633), with the settings of the authors' released notebooks.

    Missing cells are zeros to the encoder. A normal posterior of 10 dimensions, a decoder to Student's t with a
    location, a scale and degrees of freedom per cell, two hidden layers of 128 ReLU each, the bound with 20 draws,
    Adam at 0.001, batches of 64, 2001 epochs. Filled in is the mean of the conditional distribution by
    self-normalised importance sampling with 10 000 draws.
    """

    n_components: int = 10
    n_hidden: int = 128
    n_draws: int = 20
    n_importance_draws: int = 10_000
    batch_size: int = 64
    epochs: int = 2001
    rate: float = 1e-3

    @property
    def settings(self) -> str:
        """All settings."""
        return repr(self)

    def smaller(self, max_iter: int) -> MIWAE:
        """The same with another number of epochs."""
        return replace(self, epochs=max_iter, n_importance_draws=100)

    def __call__(self, shown: pd.DataFrame, seed: int) -> Fill:
        numbers = Numbers(shown)
        table = numbers.wide(numbers.codes(shown))
        torch.manual_seed(seed)
        model = _Networks(table.shape[1], self.n_hidden, self.n_components)
        self._train(model, *_zero_filled(table))

        def fill(frame: pd.DataFrame) -> pd.DataFrame:
            torch.manual_seed(seed)
            filled = self._impute(model, *_zero_filled(numbers.wide(numbers.codes(frame))))
            return numbers.filled(frame, numbers.narrow(filled))

        return fill

    def _train(self, model: _Networks, x: torch.Tensor, observed: torch.Tensor) -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=self.rate, fused=True)
        n_batches = max(1, len(x) // self.batch_size)  # of nearly equal size, as the authors cut them
        for _ in range(self.epochs):
            for rows in torch.randperm(len(x)).tensor_split(n_batches):
                optimizer.zero_grad()
                log_weights, _ = model.log_weights(x[rows], observed[rows], self.n_draws)
                (-log_weights.logsumexp(dim=0).mean()).backward()
                optimizer.step()

    def _impute(self, model: _Networks, x: torch.Tensor, observed: torch.Tensor) -> np.ndarray:
        filled = []
        with torch.no_grad():
            for row, seen in zip(x.split(8), observed.split(8), strict=True):
                log_weights, location = model.log_weights(row, seen, self.n_importance_draws)
                filled.append(torch.einsum("kn,knp->np", log_weights.softmax(dim=0), location))
        return torch.where(observed.bool(), x, torch.cat(filled)).double().numpy()


class _Networks(nn.Module):
    def __init__(self, n_features: int, n_hidden: int, n_components: int) -> None:
        super().__init__()
        self.encoder = _perceptron(n_features, n_hidden, 2 * n_components)
        self.decoder = _perceptron(n_components, n_hidden, 3 * n_features)

    def log_weights(self, x: torch.Tensor, observed: torch.Tensor, n_draws: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Log importance weights (draws, rows) by the observed cells, and the locations of all cells."""
        centre, raw = self.encoder(x).chunk(2, dim=1)
        posterior = Normal(centre, nn.functional.softplus(raw))
        z = posterior.rsample((n_draws,))
        location, scale, freedom = self.decoder(z).chunk(3, dim=2)
        cells = StudentT(
            nn.functional.softplus(freedom) + 3.0, location, nn.functional.softplus(scale) + 1e-3, validate_args=False
        ).log_prob(x)
        prior = -0.5 * (z.square() + math.log(2.0 * math.pi))
        return (cells * observed).sum(dim=2) + (prior - posterior.log_prob(z)).sum(dim=2), location


def _perceptron(n_in: int, n_hidden: int, n_out: int) -> nn.Sequential:
    layers = [nn.Linear(n_in, n_hidden), nn.Linear(n_hidden, n_hidden), nn.Linear(n_hidden, n_out)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


def _zero_filled(table: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(np.nan_to_num(table), dtype=torch.float32), torch.tensor(~np.isnan(table), dtype=torch.float32)


IMPUTATION_RIVALS: dict[str, Method] = {
    "mean or most frequent": most_frequent,
    "kNN (k=5)": Rival(lambda seed: KNNImputer()),
    "kNN (k=15)": Rival(lambda seed: KNNImputer(n_neighbors=15)),
    "iterative, BayesianRidge": Iterative(lambda seed: BayesianRidge(), lambda seed: LogisticRegression()),
}
IMPUTATION_TREES: dict[str, Method] = {
    "iterative, ExtraTrees": Iterative(
        lambda seed: ExtraTreesRegressor(random_state=seed), lambda seed: ExtraTreesClassifier(random_state=seed)
    ),
}
IMPUTATION_NETWORKS: dict[str, Method] = {"MIWAE": MIWAE()}
NUMBERS_ONLY = {"MIWAE"}

# -- skvae -------------------------------------------------------------------------------------------------------------

IMPUTER = "VAEImputer"


@dataclass(frozen=True)
class VAEFill:
    """Fills and draws by a fitted imputer, under the constants that it was fitted with."""

    imputer: VAEImputer
    constants: Mapping[str, Any]

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        with patched(self.constants):
            return _framed(self.imputer.transform(frame), frame)

    def draw(self, frame: pd.DataFrame, n_draws: int, seed: int) -> list[pd.DataFrame]:
        """So many completions of a frame."""
        with patched(self.constants):
            return [_framed(drawn, frame) for drawn in self.imputer.draw(frame, n_draws, random_state=seed)]


def _framed(filled: Any, frame: pd.DataFrame) -> pd.DataFrame:
    return filled if isinstance(filled, pd.DataFrame) else pd.DataFrame(filled, columns=frame.columns)


@dataclass(frozen=True)
class VAEImputation:
    """The package's imputer with some parameters, and constants behind its default models, unlike the default's."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)

    def _imputer(self, **more: Any) -> VAEImputer:
        return VAEImputer(**self.parameters, **more)

    def __call__(self, shown: pd.DataFrame, seed: int) -> Fill:
        with patched(self.constants):
            imputer = self._imputer(random_state=seed).fit(shown)

        return VAEFill(imputer, self.constants)

    @property
    def settings(self) -> str:
        """A digest of all parameters and of the constants behind them."""
        with patched(self.constants):
            return estimator_settings(self._imputer(), IMPUTER_CONSTANTS)

    def smaller(self, max_iter: int) -> VAEImputation:
        """One model with so many epochs in place of the default ones."""
        smaller = VAETransformer(max_iter=max_iter, early_stopping=False)
        return VAEImputation({**self.parameters, "estimator": smaller}, self.constants)


IMPUTATION_VAES: dict[str, Method] = {IMPUTER: VAEImputation()}

# Module constants that the default models depend on, and the settings that differ from the default in one of them.
_OF_MODELS = ("COMMON", "STEPS", "STEPS_PER_BATCH", "COMPONENTS", "FEW", "LARGE", "SMALL")
_OF_DRAWS = ("COMPLETED", "MATCHED", "PRIOR_DRAWS")
_OF_SCALES = ("SETTLING_ROWS", "SETTLING_DRAWS", "SETTLING_ROUNDS")
IMPUTER_CONSTANTS = (
    "skvae.nn.likelihoods.SmoothGaussian",  # the likelihood of numbers
    *(f"skvae._members.IMPUTER_{name}" for name in _OF_MODELS),
    *(f"skvae._engine.vae.{name}" for name in _OF_SCALES),
    *(f"skvae._engine.importance.{name}" for name in _OF_DRAWS),
)


def _differing(name: str, value: Any) -> VAEImputation:
    """The imputer with another constant; of a dict the given entries only."""
    present = constant(f"skvae.{name}")
    return VAEImputation(constants={f"skvae.{name}": {**present, **value} if isinstance(present, dict) else value})


IMPUTER_MISSINGNESS: dict[str, Method] = {"pattern counts": VAEImputation({"missingness": "informative"})}
IMPUTER_SETTINGS: dict[str, Method] = {
    "plain gradient": _differing("_members.IMPUTER_COMMON", {"objective": "iwae"}),
    "one proposal": _differing("_engine.importance.MATCHED", 0),
    "10 draws": _differing("_members.IMPUTER_LARGE", {"n_train_samples": 10}),
    "alpha 0.05": _differing("_members.IMPUTER_LARGE", {"alpha": 0.05}),
    "standard normal prior": _differing("_members.IMPUTER_COMMON", {"prior": "standard_normal"}),
    "twice the steps": VAEImputation(
        constants={"skvae._members.IMPUTER_STEPS": (2_000, 4_000), "skvae._members.IMPUTER_STEPS_PER_BATCH": 200}
    ),
    "one network": _differing("_members.IMPUTER_FEW", 0),
    "two networks": _differing("_members.IMPUTER_FEW", math.inf),
    "several modes": VAEImputation(constants={"skvae.nn.likelihoods.SmoothGaussian": StudentTMixture}),
    "several wide modes": VAEImputation(
        constants={"skvae.nn.likelihoods.SmoothGaussian": partial(GaussianMixture, n_modes=3, min_scale=0.1)}
    ),
}
