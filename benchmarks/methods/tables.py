"""Generators of tables: ``method(train, seed)`` returns ``draw(n, seed)``, which returns a frame like `train`."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning

from benchmarks import records
from benchmarks.encoding import levels_of
from benchmarks.methods.vae import CONSTANTS, DEFAULT, _told, constant
from skvae import VAETransformer

Draw = Callable[[int, int], pd.DataFrame]
Method = Callable[[pd.DataFrame, int], Draw]

JITTER = 1e-9  # keeps the copula's correlation matrix positive definite beside a constant column


def bootstrap(train: pd.DataFrame, seed: int) -> Draw:
    """The real rows, drawn with replacement: as near as one can get by memorising."""

    def draw(n: int, seed: int) -> pd.DataFrame:
        return train.iloc[np.random.default_rng(seed).integers(len(train), size=n)].reset_index(drop=True)

    return draw


def independent(train: pd.DataFrame, seed: int) -> Draw:
    """Every column drawn by itself: perfect columns without any trend."""

    def draw(n: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        return pd.DataFrame({name: _taken(train[name], rng.integers(len(train), size=n)) for name in train})

    return draw


def _taken(column: pd.Series, rows: np.ndarray) -> pd.Series:
    return column.iloc[rows].reset_index(drop=True)


def gaussian_copula(train: pd.DataFrame, seed: int) -> Draw:
    """Columns with their own distribution, joined by the correlation of their normal scores.

    Sklar's theorem (Nelsen 2006, An Introduction to Copulas, section 2.3) with a normal copula. Ranks are made
    unique at random, so that equal values get an interval of scores; levels without an order are ordered by how
    frequent they are, and missing cells come last. Drawn values are values of the training rows.
    """
    rng = np.random.default_rng(seed)
    ranked = {name: np.lexsort((rng.random(len(train)), _sortable(train[name]))) for name in train}
    scores = np.column_stack([norm.ppf((np.argsort(order) + 0.5) / len(train)) for order in ranked.values()])
    correlation = np.corrcoef(scores, rowvar=False) + JITTER * np.eye(scores.shape[1])

    def draw(n: int, seed: int) -> pd.DataFrame:
        normal = np.random.default_rng(seed).multivariate_normal(np.zeros(len(correlation)), correlation, size=n)
        places = np.minimum((norm.cdf(normal) * len(train)).astype(int), len(train) - 1)
        drawn = zip(ranked.items(), places.T, strict=True)
        return pd.DataFrame({name: _taken(train[name], order[place]) for (name, order), place in drawn})

    return draw


def _sortable(column: pd.Series) -> np.ndarray:
    """Numbers as they are, ordered levels by their place, others by their frequency, missing cells above all."""
    if isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.ordered:
        column = column.cat.codes.astype("Int64").mask(column.isna())
    elif levels_of(column) is not None:
        column = column.map(column.value_counts().rank(method="first", ascending=False)).astype("Float64")
    return column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.inf)


TABLE_RIVALS: dict[str, Method] = {
    "bootstrap": bootstrap,
    "independent columns": independent,
    "Gaussian copula": gaussian_copula,
}

# -- networks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Network:
    """TVAE or CTGAN of the package ctgan (Xu et al. 2019), with its defaults.

    They take no missing numbers: the median stands in, beside a column that says where, by which the drawn rows
    get missing cells too. A missing category is a level.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, train: pd.DataFrame, seed: int) -> Draw:
        plain = Plain(train)
        model = getattr(import_module("ctgan"), self.name)(enable_gpu=False, **self.options)
        model.set_random_state(seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pandas' next version and of ctgan's mixtures, in every column
            model.fit(plain.frame, plain.discrete)

        def draw(n: int, seed: int) -> pd.DataFrame:
            model.set_random_state(seed)
            return plain.restored(model.sample(n))

        return draw

    @property
    def settings(self) -> str:
        """The package's version and the options that are no defaults."""
        return f"ctgan {records._version('ctgan')}, {self.name}({dict(self.options)})"

    def smaller(self, max_iter: int) -> Network:
        """The same with another number of epochs."""
        return Network(self.name, {**self.options, "epochs": max_iter})


class Plain:
    """A frame as numbers without missing cells and categories as text, and the way back.

    Attributes
    ----------
    frame : DataFrame
        Columns are named by their places; "i missing" says where the number i is.
    discrete : list of str
        Its columns of text.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._like = frame.iloc[:0]
        self._levels = [levels_of(frame[name]) for name in frame]
        columns: dict[str, Any] = {}
        for i, (name, levels) in enumerate(zip(frame, self._levels, strict=True)):
            column = frame[name]
            if levels is not None:
                columns[str(i)] = levels.get_indexer(column.astype(object)).astype(str)
                continue
            whole = pd.api.types.is_integer_dtype(column)
            median = column.median()
            filled = column.fillna(round(median) if whole else median)
            columns[str(i)] = filled.astype("int64" if whole else "float64")
            if column.isna().any():
                columns[f"{i} missing"] = column.isna().astype(int).astype(str)
        self.frame = pd.DataFrame(columns)
        self.discrete = [name for name in self.frame if not pd.api.types.is_numeric_dtype(self.frame[name])]

    def restored(self, plain: pd.DataFrame) -> pd.DataFrame:
        """A frame with the dtypes of the first one."""
        columns = {}
        for i, (name, levels) in enumerate(zip(self._like, self._levels, strict=True)):
            column, dtype = plain[str(i)], self._like[name].dtype
            if levels is not None:
                values = levels.to_numpy(dtype=object).take(column.astype(int).to_numpy())
                column = pd.Series(np.where(column.astype(int) < 0, None, values))
            elif f"{i} missing" in plain:
                column = column.mask(plain[f"{i} missing"].astype(int) == 1)
            columns[name] = column.astype(dtype)
        return pd.DataFrame(columns)


TABLE_NETWORKS: dict[str, Method] = {"TVAE": Network("TVAE"), "CTGAN": Network("CTGAN")}

# -- skvae -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VAESynthesizer:
    """Rows drawn from a VAE, whose parameters are the default's but for these."""

    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, train: pd.DataFrame, seed: int) -> Draw:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the rows say what it is worth
            model = VAETransformer(**self.parameters, random_state=seed).fit(train)

        def draw(n: int, seed: int) -> pd.DataFrame:
            rows = model.sample(n, random_state=seed)
            return rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows, columns=train.columns)

        return draw

    @property
    def settings(self) -> str:
        """A digest of all parameters and of the constants behind them."""
        return estimator_settings(VAETransformer(**self.parameters))

    def smaller(self, max_iter: int) -> VAESynthesizer:
        """The same with another number of epochs."""
        return VAESynthesizer({**self.parameters, "max_iter": max_iter})


def estimator_settings(model: BaseEstimator, constants: Sequence[str] = ()) -> str:
    """The class, and a digest of every parameter and of the constants that a fit depends on, these among them."""
    values = model.get_params() | {name: constant(name) for name in (*CONSTANTS, *constants)}
    told = {name: _told(value) for name, value in values.items() if name not in ("random_state", "verbose", "device")}
    digest = hashlib.sha1(json.dumps(told, sort_keys=True).encode()).hexdigest()[:10]
    return f"{type(model).__name__} {digest}"


TABLE_VAES: dict[str, Method] = {DEFAULT: VAESynthesizer()}
