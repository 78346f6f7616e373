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
from sklearn.mixture import GaussianMixture

from benchmarks import records
from benchmarks.encoding import levels_of
from benchmarks.methods.flows import forest_calls
from benchmarks.methods.vae import CONSTANTS, DEFAULT, _told, constant, patched
from skvae import VAETransformer

Draw = Callable[[int, int], pd.DataFrame]
Method = Callable[[pd.DataFrame, int], Draw]

JITTER = 1e-9  # keeps the copula's correlation matrix positive definite beside a constant column
KINDS = ("full", "tied", "diag")  # covariances of the mixture
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # components of the mixture
PATIENCE = 2
MINUTES: float | None = None  # that TabularARGN may train; None: its own default, ten days


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
    """Columns with their own distribution, joined by the correlation of their normal scores (`Ranked`).

    Sklar's theorem (Nelsen 2006, An Introduction to Copulas, section 2.3) with a normal copula.
    """
    ranked = Ranked(train, seed)
    correlation = np.corrcoef(ranked.scores, rowvar=False) + JITTER * np.eye(train.shape[1])

    def draw(n: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        return ranked.restored(rng.multivariate_normal(np.zeros(len(correlation)), correlation, size=n))

    return draw


def gaussian_mixture(train: pd.DataFrame, seed: int) -> Draw:
    """A mixture in place of the copula's one normal distribution: how far the preprocessing alone gets.

    The kind of covariance and the number of components are those of the lowest Bayesian information criterion; of each
    kind more and more components are tried until `PATIENCE` sizes in a row are no better.
    """
    ranked = Ranked(train, seed)
    best = min((_mixture(ranked.scores, kind, seed) for kind in KINDS), key=lambda m: m.bic(ranked.scores))

    def draw(n: int, seed: int) -> pd.DataFrame:
        return ranked.restored(best.set_params(random_state=seed).sample(n)[0])

    return draw


def _mixture(scores: np.ndarray, kind: str, seed: int) -> GaussianMixture:
    best, lowest, worse = None, np.inf, 0
    for size in SIZES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the criterion says what it is worth
            model = GaussianMixture(size, covariance_type=kind, random_state=seed).fit(scores)
        criterion = model.bic(scores)
        best, lowest, worse = (model, criterion, 0) if criterion < lowest else (best, lowest, worse + 1)
        if worse == PATIENCE:
            break
    return best


class Ranked:
    """Normal scores of the columns of a frame, and the way back to values of its rows.

    Ranks are made unique at random, so that equal values get an interval of scores; levels without an order are
    ordered by how frequent they are, and missing cells come last.
    """

    def __init__(self, train: pd.DataFrame, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._train = train
        self._orders = [np.lexsort((rng.random(len(train)), _sortable(train[name]))) for name in train]
        ranks = np.column_stack([np.argsort(order) for order in self._orders])
        self.scores = norm.ppf((ranks + 0.5) / len(train))

    def restored(self, scores: np.ndarray) -> pd.DataFrame:
        """The frame of these scores."""
        n = len(self._train)
        places = np.minimum((norm.cdf(scores) * n).astype(int), n - 1)
        drawn = zip(self._train, self._orders, places.T, strict=True)
        return pd.DataFrame({name: _taken(self._train[name], order[place]) for name, order, place in drawn})


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
TABLE_MIXTURES: dict[str, Method] = {"mixture of scores": gaussian_mixture}

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

    Parameters
    ----------
    frame : DataFrame
        Its index counts the rows.
    holes : bool
        Leave missing cells as they are.

    Attributes
    ----------
    frame : DataFrame
        Columns are named by their places; "i missing" says where the number i is.
    discrete : list of str
        Its columns of text.
    """

    def __init__(self, frame: pd.DataFrame, holes: bool = False) -> None:
        self._like = frame.iloc[:0]
        self._levels = [levels_of(frame[name]) for name in frame]
        columns: dict[str, Any] = {}
        for i, (name, levels) in enumerate(zip(frame, self._levels, strict=True)):
            column = frame[name]
            if levels is not None:
                codes = pd.Series(levels.get_indexer(column.astype(object)).astype(str))
                columns[str(i)] = codes.mask(column.isna()) if holes else codes
                continue
            if holes:
                columns[str(i)] = column
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
                codes = column.astype("Float64").fillna(-1).astype(int)
                values = levels.to_numpy(dtype=object).take(codes.to_numpy())
                column = pd.Series(np.where(codes < 0, None, values))
            elif f"{i} missing" in plain:
                column = column.mask(plain[f"{i} missing"].astype(int) == 1)
            whole = levels is None and pd.api.types.is_integer_dtype(dtype)
            columns[name] = (column.round() if whole else column).astype(dtype)
        return pd.DataFrame(columns)


@dataclass(frozen=True)
class Autoregressive:
    """TabularARGN of the package mostlyai-engine (Tiwald et al. 2025, arXiv 2501.12012), with its defaults.

    It takes missing cells and whole numbers as they are, and levels as text. A drawn level that its protection of rare
    values has replaced is drawn among the others, by the package's own option, for the frame has no level that stands
    for it.
    """

    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, train: pd.DataFrame, seed: int) -> Draw:
        engine = import_module("mostlyai.engine")
        plain = Plain(train, holes=True)
        kinds = dict.fromkeys(plain.discrete, "TABULAR_CATEGORICAL")
        model = engine.TabularARGN(tgt_encoding_types=kinds, device="cpu", random_state=seed, **self._options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pandas' next version
            model.fit(plain.frame)

        def draw(n: int, seed: int) -> pd.DataFrame:
            engine.set_random_state(seed)
            return plain.restored(model.sample(n, rare_category_replacement_method="SAMPLE"))

        return draw

    @property
    def settings(self) -> str:
        """The package's version and the options that are no defaults."""
        return f"mostlyai-engine {records._version('mostlyai-engine')}, TabularARGN({self._options})"

    @property
    def _options(self) -> dict[str, Any]:
        return {**self.options} if MINUTES is None else {"max_training_time": MINUTES, **self.options}

    def smaller(self, max_iter: int) -> Autoregressive:
        """The same with another number of epochs."""
        return Autoregressive({**self.options, "max_epochs": max_iter})


TABLE_NETWORKS: dict[str, Method] = {
    "TVAE": Network("TVAE"),
    "CTGAN": Network("CTGAN"),
    "TabularARGN": Autoregressive(),
    "TabularARGN, unprotected": Autoregressive({"value_protection": False}),
}

# -- forests -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Forest:
    """Adversarial random forest of the package arfpy (Watson et al. 2023, arXiv 2205.09435), with its defaults.

    It takes no missing cells: they are told as to `Network`. Whole numbers are drawn as numbers and rounded.
    """

    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, train: pd.DataFrame, seed: int) -> Draw:
        plain = Plain(train)
        frame = plain.frame.astype(dict.fromkeys(plain.discrete, "category"))
        names = list(frame)
        np.random.seed(seed)  # noqa: NPY002 (what it draws from)
        with forest_calls():
            model = import_module("arfpy.arf").arf(
                frame.set_axis(range(len(names)), axis=1),  # it mistakes places for names
                random_state=seed,
                **self.options,
            )
            model.forde()

        def draw(n: int, seed: int) -> pd.DataFrame:
            np.random.seed(seed)  # noqa: NPY002
            with forest_calls():
                return plain.restored(model.forge(n).set_axis(names, axis=1))

        return draw

    @property
    def settings(self) -> str:
        """The package's version and the options that are no defaults."""
        return f"arfpy {records._version('arfpy')}({dict(self.options)})"

    def smaller(self, max_iter: int) -> Forest:
        """The same with another number of adversarial rounds."""
        return Forest({**self.options, "max_iters": max_iter})


TABLE_FORESTS: dict[str, Method] = {"ARF": Forest()}

# -- skvae -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VAESynthesizer:
    """Rows drawn from a VAE, whose parameters and constants are the default's but for these."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, train: pd.DataFrame, seed: int) -> Draw:
        with patched(self.constants), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the rows say what it is worth
            model = VAETransformer(**self.parameters, random_state=seed).fit(train)

        def draw(n: int, seed: int) -> pd.DataFrame:
            rows = model.sample(n, random_state=seed)
            return rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows, columns=train.columns)

        return draw

    @property
    def settings(self) -> str:
        """A digest of all parameters and of the constants behind them."""
        with patched(self.constants):
            return estimator_settings(VAETransformer(**self.parameters))

    def smaller(self, max_iter: int) -> VAESynthesizer:
        """The same with another number of epochs."""
        return VAESynthesizer({**self.parameters, "max_iter": max_iter}, self.constants)


def estimator_settings(model: BaseEstimator, constants: Sequence[str] = ()) -> str:
    """The class, and a digest of every parameter and of the constants that a fit depends on, these among them."""
    values = model.get_params() | {name: constant(name) for name in (*CONSTANTS, *constants)}
    told = {name: _told(value) for name, value in values.items() if name not in ("random_state", "verbose", "device")}
    digest = hashlib.sha1(json.dumps(told, sort_keys=True).encode()).hexdigest()[:10]
    return f"{type(model).__name__} {digest}"


TABLE_VAES: dict[str, Method] = {DEFAULT: VAESynthesizer()}
TABLE_STEPS: dict[str, Method] = {
    f"VAE, {n:,} steps": VAESynthesizer(constants={"skvae._model.auto.STEPS_WITH_LEVELS": n}) for n in (2000, 6000)
}
