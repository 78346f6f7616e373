"""What the two transformers share: parameters, reading rows, the fit and partial_fit policies, persistence."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skvae._engine.build import ModelSpec
from skvae._engine.engine import Engine
from skvae._engine.runtime import resolve_device
from skvae._engine.training import Patience, Plan
from skvae._fitting import History, fit_epochs
from skvae._sklearn import CallbackSupportMixin, Epochs, Interval, StrOptions, check_weights
from skvae._table import frames
from skvae._table.schema import TableSchema, infer_schema

MAX_SEED = 2**31 - 1
DRIFT = 5.0  # standard deviations by which a later chunk's column mean may differ before partial_fit warns

# Chosen by `python -m benchmarks.run density` over its tables; see docs/benchmarks.md.
AUTO_STEPS = 3000  # steps of the "auto" max_iter, whatever the size of the table
AUTO_EPOCHS = 5  # its least number of epochs
AUTO_BATCHES = 16  # batches per epoch that the "auto" batch size aims at, between 32 and 256 rows
EARLY_STOPPING_ROWS = 100  # fewest rows for which "auto" gives some away to validation


class Rows(NamedTuple):
    """Rows as read from the user: numbers with NaN for missing, in float32 or float64, and where they came from."""

    X: np.ndarray  # (n, p)
    container: str
    names: list[Any]
    dtypes: list[str]


class Weighted(NamedTuple):
    """Rows in data units and their weights, None where all count alike."""

    X: np.ndarray  # (n, p)
    weight: np.ndarray | None  # (n,)

    def take(self, index: np.ndarray) -> Weighted:
        """The rows at `index`."""
        return Weighted(self.X[index], None if self.weight is None else self.weight[index])


class BaseAutoencoder(ClassNamePrefixFeaturesOutMixin, CallbackSupportMixin, TransformerMixin, BaseEstimator):
    """Base of the transformers; a subclass names its engine and says what its columns are scored by."""

    _engine_class: type[Engine]

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"relu", "tanh", "silu", "gelu", "elu", "softplus", "logistic"})],
        "learning_rate": [StrOptions({"one_cycle", "constant"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "early_stopping": [StrOptions({"auto"}), "boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "encoder": [callable, None],
        "decoder": [callable, None],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # -- what a subclass says ------------------------------------------------------------------------------------------

    def _column_likelihoods(self, rows: Rows) -> list[Any]:
        """One likelihood (a name or a factory) per column."""
        raise NotImplementedError(f"{type(self).__name__} defines _column_likelihoods")

    def _kinds(self, likelihoods: list[Any]) -> list[str]:
        """The kind of each column, by the likelihood that serves it."""
        raise NotImplementedError(f"{type(self).__name__} defines _kinds")

    def _prior(self) -> Any:
        """The prior of the model, None where it has none."""
        return None

    def _objective(self) -> Any:
        """The bound per row, from the engine's `objective`."""
        raise NotImplementedError(f"{type(self).__name__} defines _objective")

    def _offset(self, schema: TableSchema, train: Weighted) -> float:
        """What turns a mean bound in standardised units into the one reported; densities add the mean log-Jacobian."""
        return 0.0

    def _fitted_attributes(self, engine: Any, encoded: np.ndarray, weight: Any, offset: float) -> dict[str, Any]:
        """Attributes that follow from a trained engine and its (encoded) training rows.

        `offset` is from `_offset`.
        """
        return {}

    # -- reading -------------------------------------------------------------------------------------------------------

    def _read(self, X: Any, *, reset: bool) -> Rows:
        """Validate rows and turn them into numbers."""
        least: dict[str, Any] = {"ensure_min_samples": 2 if reset else 1, "ensure_all_finite": "allow-nan"}
        least |= {"dtype": [np.float64, np.float32], "estimator": self}
        container = frames.container_of(X)
        if container == frames.NUMPY:
            family = _array_family(X)
            X = validate_data(self, X, reset=reset, **{k: v for k, v in least.items() if k != "estimator"})
            return Rows(X, container, list(range(X.shape[1])), [family] * X.shape[1])
        names, dtypes = frames.names_of(X), frames.dtypes_of(X)
        validate_data(self, X, reset=reset, skip_check_array=True)
        return Rows(check_array(frames.to_numbers(X), **least), container, names, dtypes)

    def _encoded(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Rows in data units, and encoded in their own precision."""
        check_is_fitted(self)
        rows = self._read(X, reset=False)
        return rows.X, self.schema_.encode(rows.X).astype(rows.X.dtype, copy=False)

    # -- fitting -------------------------------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_weight: Any, X_val: Any, sample_weight_val: Any) -> None:
        """Cold or warm fit; assigns the fitted state last."""
        warm = self.warm_start and self.__sklearn_is_fitted__()
        rows = self._read(X, reset=not warm)
        random_state = check_random_state(self.random_state)
        seed = int(random_state.randint(MAX_SEED))
        train = _weighted(rows.X, check_weights(sample_weight, rows.X))
        train, held_out = self._held_out(train, X_val, sample_weight_val, random_state)
        if warm:
            schema, engine = self.schema_, copy.deepcopy(self._engine)
        else:
            may_miss = any(np.isnan(part.X).any() for part in (train, held_out) if part is not None)
            schema, engine = self._start(rows, train, seed, with_mask=may_miss)
        encoded, offset = schema.encode(train.X), self._offset(schema, train)
        judged = None if held_out is None else (schema.encode(held_out.X), held_out.weight)
        plan = self._plan(len(train.X))
        history = fit_epochs(
            engine,
            engine.train(encoded, train.weight, self._objective(), plan, validation=judged),
            max_iter=plan.max_iter,
            offset=offset,
            column_at_fault=lambda: schema.name_of_active(engine.column_at_fault(encoded)),
            callbacks=Epochs(self, plan.max_iter, X, y),
            snapshot=lambda: self._snapshot(engine, schema),
            patience=None if held_out is None else self._patience(plan.max_iter),
            verbose=self.verbose,
        )
        engine.forget_optimiser()
        self._publish(engine, schema, history, encoded, train.weight, offset)

    def _partial_fit(self, X: Any, sample_weight: Any) -> None:
        """One pass over a chunk; the first one freezes the schema."""
        first = not self.__sklearn_is_fitted__()
        rows = self._read(X, reset=first)
        train = _weighted(rows.X, check_weights(sample_weight, rows.X))
        if first:
            seed = int(check_random_state(self.random_state).randint(MAX_SEED))
            schema, engine = self._start(rows, train, seed, with_mask=True)  # a later chunk may have missing cells
        else:
            schema, engine = self.schema_, copy.deepcopy(self._engine)
        encoded, offset = schema.encode(train.X), self._offset(schema, train)
        _warn_of_drift(encoded, schema)
        plan = replace(self._plan(len(train.X)), max_iter=1, learning_rate="constant")
        history = fit_epochs(
            engine,
            engine.train(encoded, train.weight, self._objective(), plan, resume=True),
            max_iter=1,
            offset=offset,
            column_at_fault=lambda: schema.name_of_active(engine.column_at_fault(encoded)),
        )
        if not first:
            history.prepend({name: getattr(self, f"{name}_") for name in History.CURVES})
        self._publish(engine, schema, history, encoded, train.weight, offset)

    def _held_out(
        self, train: Weighted, X_val: Any, sample_weight_val: Any, random_state: np.random.RandomState
    ) -> tuple[Weighted, Weighted | None]:
        """Training and validation rows: the user's own, a part split off, or none."""
        if X_val is not None:
            if self.early_stopping is False:
                raise ValueError(
                    "X_val is passed to fit while early_stopping is False. Set early_stopping to 'auto' or True, or "
                    "leave X_val out."
                )
            rows = self._read(X_val, reset=False)
            return train, _weighted(rows.X, check_weights(sample_weight_val, rows.X))
        if self._splits_validation(len(train.X)):
            return _split(train, self.validation_fraction, random_state)
        return train, None

    def _splits_validation(self, n: int) -> bool:
        if self.early_stopping == "auto":
            return n >= EARLY_STOPPING_ROWS
        return bool(self.early_stopping)

    def _start(self, rows: Rows, train: Weighted, seed: int, *, with_mask: bool) -> tuple[TableSchema, Engine]:
        """The schema that the training rows show, and an engine at its start values."""
        likelihoods = self._column_likelihoods(rows)
        schema = infer_schema(
            *train, container=rows.container, names=rows.names, dtypes=rows.dtypes, kinds=self._kinds(likelihoods)
        )
        if not len(schema.active):
            raise ValueError(
                f"Every column of X is constant over its {len(train.X)} training rows, so there is nothing to learn. "
                f"Pass rows that differ in at least one column."
            )
        p = len(rows.names)
        spec = ModelSpec(
            centre=schema.of_active("centre"),
            width=schema.of_active("width"),
            mean=schema.of_active("mean"),
            blocks=_blocks([likelihoods[j] for j in schema.active]),
            n_components=max(2, min(10, p // 2)) if self.n_components == "auto" else int(self.n_components),
            hidden_layer_sizes=_layer_sizes(self.hidden_layer_sizes),
            activation=self.activation,
            with_mask=with_mask,
            seed=seed,
            encoder=self.encoder,
            decoder=self.decoder,
            prior=self._prior(),
        )
        return schema, self._engine_class(spec, self.device, n_cells=rows.X.size)

    def _plan(self, n: int) -> Plan:
        batch_size = _auto_batch_size(n) if self.batch_size == "auto" else min(n, int(self.batch_size))
        steps = math.ceil(n / batch_size)
        max_iter = max(AUTO_EPOCHS, math.ceil(AUTO_STEPS / steps)) if self.max_iter == "auto" else int(self.max_iter)
        return Plan(
            batch_size=batch_size,
            max_iter=max_iter,
            learning_rate_init=self.learning_rate_init,
            learning_rate=self.learning_rate,
            alpha=self.alpha,
            **self._kl_weight(max_iter * steps),
        )

    def _kl_weight(self, n_steps: int) -> dict[str, Any]:
        """The plan's weight of the KL; a model without one has none."""
        return {}

    def _patience(self, max_iter: int) -> Patience:
        waits = max(5, math.ceil(max_iter / 5)) if self.n_iter_no_change == "auto" else self.n_iter_no_change
        return Patience(waits, self.tol, math.ceil(getattr(self, "kl_warmup", 0.0) * max_iter))

    def _snapshot(self, engine: Engine, schema: TableSchema) -> dict[str, Any]:
        """What a ready-to-use copy of the estimator needs while training is under way."""
        now = copy.deepcopy(engine)
        now.keep()
        now.forget_optimiser()
        return {"_engine": now, "schema_": schema, "n_components_": now.spec.n_components}

    def _publish(
        self, engine: Engine, schema: TableSchema, history: History, encoded: np.ndarray, weight: Any, offset: float
    ) -> None:
        """Assign the fitted state, all at once."""
        fitted = self._fitted_attributes(engine, encoded, weight, offset)
        fitted |= history.attributes() | {"n_components_": engine.spec.n_components, "schema_": schema}
        self.__dict__.update(fitted, _engine=engine)

    # -- the scikit-learn contract -------------------------------------------------------------------------------------

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def __sklearn_is_fitted__(self) -> bool:
        return "_engine" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "_engine" in state:
            state["_engine"] = state["_engine"].state()
            state["schema_"] = state["schema_"].to_dict()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state.get("_engine"), dict):
            saved = state["_engine"]
            state = dict(state, schema_=TableSchema.from_dict(state["schema_"]))
            state["_engine"] = self._engine_class.from_state(saved, _available(saved["device"]))
        super().__setstate__(state)

    # -- methods both offer --------------------------------------------------------------------------------------------

    def transform(self, X: Any) -> Any:
        """Encode rows.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units; NaN marks a missing cell.

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
            The codes (for a VAE the posterior means), in float32 for a float32 X, else in float64. Nothing is drawn: a
            row gives the same code at each call and whatever rows stand beside it.

        Raises
        ------
        ValueError
            If X does not have the columns of fit, holds infinity, or values outside the support of the likelihood.
        """
        _, encoded = self._encoded(X)
        return self._engine.encode(encoded)

    def inverse_transform(self, X: Any) -> Any:
        """Decode codes to rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components_)
            Codes.

        Returns
        -------
        ndarray or data frame of shape (n_samples, n_features)
            The expected row given the code, E[x|z], in data units and in the container of fit, with the dtypes of its
            columns. It is smoother than real rows: the noise of p(x|z) is averaged out.

        Raises
        ------
        ValueError
            If X does not have `n_components_` columns.
        """
        check_is_fitted(self)
        z = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        if z.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {z.shape[1]} columns, but inverse_transform of this {type(self).__name__} expects codes with "
                f"n_components_={self.n_components_} columns, as transform returns them."
            )
        return self.schema_.restore(self.schema_.decode(self._engine.decode(z)))

    def reconstruct(self, X: Any) -> Any:
        """Encode rows and decode them again: ``inverse_transform(transform(X))``.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units; NaN marks a missing cell.

        Returns
        -------
        ndarray or data frame of shape (n_samples, n_features)
            In data units, in the container of fit; missing cells are filled. Every cell comes from the decoder, also
            those that were observed.

        Raises
        ------
        ValueError
            As for `transform`.
        """
        _, encoded = self._encoded(X)
        return self.schema_.restore(self.schema_.decode(self._engine.decode(self._engine.encode(encoded))))


@contextmanager
def unchanged_on_error(estimator: Any) -> Iterator[None]:
    """Give the estimator back its attributes when the block fails: no fitted model lost, no half-fitted one left."""
    before = dict(estimator.__dict__)
    try:
        yield
    except BaseException:
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        raise


def _array_family(X: Any) -> str:
    dtype = getattr(X, "dtype", None)
    kind = getattr(dtype, "kind", "f")
    if kind in "mM":
        raise TypeError(
            f"X must hold numbers. Got dtype {dtype}: turn dates into numbers first, for example days since a fixed "
            f"date."
        )
    return "bool" if kind == "b" else "float"


def _layer_sizes(hidden_layer_sizes: Any) -> tuple[int, ...]:
    sizes = tuple(np.atleast_1d(hidden_layer_sizes).tolist())
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must hold positive integers. Got {hidden_layer_sizes!r} instead.")
    return sizes


def _weighted(x: np.ndarray, weight: np.ndarray | None) -> Weighted:
    """Rows of weight 0 left out, so that zero weight is removal."""
    if weight is None or (weight > 0.0).all():
        return Weighted(x, weight)
    return Weighted(x[weight > 0.0], weight[weight > 0.0])


def _split(rows: Weighted, fraction: float, random_state: np.random.RandomState) -> tuple[Weighted, Weighted]:
    """Training and validation rows."""
    n = len(rows.X)
    n_held_out = max(1, round(fraction * n))
    if n - n_held_out < 2:
        raise ValueError(
            f"early_stopping with validation_fraction={fraction} leaves {n - n_held_out} of {n} rows to train on. "
            f"Pass more rows, a smaller validation_fraction, or early_stopping=False."
        )
    order = random_state.permutation(n)
    kept, held_out = np.sort(order[n_held_out:]), np.sort(order[:n_held_out])
    return rows.take(kept), rows.take(held_out)


def _auto_batch_size(n: int) -> int:
    """The power of two nearest to a sixteenth of the rows, from 32 to 256."""
    return min(n, int(np.clip(2 ** round(math.log2(max(n, 1) / AUTO_BATCHES)), 32, 256)))


def _blocks(likelihoods: list[Any]) -> tuple[tuple[Any, tuple[int, ...]], ...]:
    """Columns grouped by their likelihood, in order of first appearance."""
    groups: list[tuple[Any, list[int]]] = []
    for j, likelihood in enumerate(likelihoods):
        home = next((columns for known, columns in groups if known is likelihood or known == likelihood), None)
        if home is None:
            groups.append((likelihood, [j]))
        else:
            home.append(j)
    return tuple((likelihood, tuple(columns)) for likelihood, columns in groups)


def _warn_of_drift(encoded: np.ndarray, schema: TableSchema) -> None:
    shift = np.abs(np.nanmean(encoded, axis=0) - schema.of_active("mean"))
    drifted = [str(schema.columns[j].name) for j, far in zip(schema.active, shift > DRIFT, strict=True) if far]
    if drifted:
        warnings.warn(
            f"The mean of column(s) {', '.join(drifted[:5])} in this chunk is more than {DRIFT:g} standard deviations "
            f"from that of the first chunk, which froze location and scale. If this lasts, fit a new model.",
            UserWarning,
            stacklevel=4,
        )


def _available(device: str) -> str:
    """The device a model was saved on if it is there, else the CPU with a warning."""
    try:
        resolve_device(device)
    except ValueError:
        warnings.warn(
            f"The model was saved on device {device!r}, which is not there; it is loaded on the CPU.",
            UserWarning,
            stacklevel=4,
        )
        return "cpu"
    return device
