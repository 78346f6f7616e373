"""What the two transformers share: parameters, reading rows, the fit and partial_fit policies, persistence."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from skvae import __version__
from skvae._auto import (
    batches_and_epochs,
    blocks_of,
    columns_with_atoms,
    components,
    layer_sizes,
    patience,
    stops_early,
)
from skvae._engine.build import Kinds, ModelSpec, known_kind
from skvae._engine.engine import Engine
from skvae._engine.runtime import device_or_cpu, resolve_device
from skvae._engine.training import Patience, Plan
from skvae._fitting import History, Shown, fit_epochs, informative, unchanged_on_error
from skvae._reading import (
    Weighted,
    read,
    refuse_unreadable,
    split,
    warn_of_a_new_kind,
    warn_of_drift,
    warn_of_unknown,
    weighted,
)
from skvae._sklearn import (
    BaseEstimator,
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    Epochs,
    Interval,
    StrOptions,
    TransformerMixin,
    check_parameters,
    check_random_state,
    validated_fit,
)
from skvae._table import frames
from skvae._table.inference import Rules, infer_schema
from skvae._table.kinds import KINDS, keeps_zeros
from skvae._table.schema import TableSchema
from skvae._table.tables import Table
from skvae._typing import ArrayLike
from skvae._warnings import warn

OFFSET_CELLS = 2**18  # cells at once, so that a fit needs no more than a part of the table in double precision
MAX_SEED = 2**31 - 1


class Columns(NamedTuple):
    """What the columns of a fit are, decided once: their likelihoods (none where training goes on) and their kinds."""

    likelihoods: list[Any]
    kinds: list[str]

    @property
    def have_levels(self) -> bool:
        """Whether one of them is a column of levels."""
        return any(KINDS[kind].is_coded for kind in self.kinds)

    @property
    def may_be_sparse(self) -> bool:
        """Whether a zero needs no storing in any of them."""
        return all(map(keeps_zeros, self.kinds))


class BaseAutoencoder(ClassNamePrefixFeaturesOutMixin, CallbackSupportMixin, TransformerMixin, BaseEstimator):
    """Base of the transformers; a subclass names its engine and says what its columns are scored by."""

    _engine_class: type[Engine]
    _curves: tuple[str, ...] = ("loss_curve", "validation_scores")
    _likelihood_option: str  # the parameter that chooses the likelihood, for errors
    _engine: Any

    # Parameters; the constructors say what is accepted of each.
    n_components: Any
    hidden_layer_sizes: Any
    activation: Any
    learning_rate: Any
    learning_rate_init: float
    batch_size: Any
    max_iter: Any
    early_stopping: Any
    validation_fraction: float
    n_iter_no_change: Any
    tol: float
    alpha: float
    warm_start: bool
    encoder: Any
    decoder: Any
    device: str
    random_state: Any
    verbose: int

    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    n_components_: int
    n_iter_: int
    loss_curve_: list[float]
    validation_scores_: list[float]
    converged_: bool
    schema_: TableSchema

    # What a model that draws nothing has in place of these parameters.
    prior: Any = None
    marginals = "linear"
    atoms: Any = False
    bounds: Any = None
    handle_unknown = "unlikely"
    n_train_samples = 1
    beta = 1.0
    kl_warmup = 0.0
    trim = 0.0

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

    score_samples: Callable[[Any], NDArray[np.float64]]

    # -- what a subclass says ------------------------------------------------------------------------------------------

    def _column_likelihoods(self, table: Table) -> list[Any]:
        """One likelihood (a name or a factory) per column."""
        raise NotImplementedError(f"{type(self).__name__} defines _column_likelihoods")

    def _objective(self) -> Any:
        """The bound per row, from the engine's `objective`."""
        raise NotImplementedError(f"{type(self).__name__} defines _objective")

    def _correction(self, schema: TableSchema, table: Table, encoded: np.ndarray) -> np.ndarray:
        """What turns bounds of encoded rows into those of the rows, summed by column, (n, p)."""
        return schema.log_shares(table, unknown=self.handle_unknown)

    def _offset(self, schema: TableSchema, rows: Weighted, encoded: np.ndarray) -> float:
        """What turns a mean bound over encoded rows into the one reported, which for densities is in data units."""
        if rows.table.is_sparse:  # bits and counts, which are left as they are
            return 0.0
        start, total, mass = 0, 0.0, 0.0
        for part in rows.table.slices(OFFSET_CELLS):
            cells = encoded[start : start + len(part)]
            weight = np.ones(len(part)) if rows.weight is None else rows.weight[start : start + len(part)]
            weight = weight * ~np.isnan(cells).all(axis=1)  # rows without an observed cell are not trained on
            total += weight @ self._correction(schema, part, cells).sum(axis=1)
            start, mass = start + len(part), mass + weight.sum()
        return float(total / mass) if mass else 0.0

    def _fitted_attributes(self, engine: Any, shown: Shown, offset: float) -> dict[str, Any]:
        """Attributes that follow from a trained engine and some of its training rows; `offset` is from `_offset`."""
        return {}

    # -- reading -------------------------------------------------------------------------------------------------------

    def _table(self, X: Any) -> Table:
        """Rows in data units."""
        check_is_fitted(self)
        table = read(self, X, reset=False, schema=self.schema_, accept_sparse=self._reads_sparse())
        warn_of_unknown(table, self)
        return table

    def _reads_sparse(self) -> bool:
        """Whether a zero needs no storing, as far as it can be known without calling a factory."""
        if self.__sklearn_is_fitted__():
            is_array = self.schema_.container == frames.NUMPY
            return is_array and Columns([], [column.kind for column in self.schema_.columns]).may_be_sparse
        return keeps_zeros(known_kind(getattr(self, self._likelihood_option), self._likelihood_option))

    def _encode(self, table: Table) -> np.ndarray:
        """Rows in data units -> what the engine reads, in their own precision."""
        check_parameters(self, "handle_unknown")  # it may have been set after fit
        return self.schema_.encode(table, table.dtype, unknown=self.handle_unknown)

    def _answer(self, table: Table, answer: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """An answer of the engine on encoded rows, a part of the table at a time."""
        parts = [answer(self._encode(part)) for part in table.slices()]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    # -- fitting -------------------------------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_weight: Any, X_val: Any, sample_weight_val: Any) -> None:
        """Cold or warm fit; assigns the fitted state last."""
        warm = self.warm_start and self.__sklearn_is_fitted__()
        table, columns = self._read_training(X, goes_on=warm)
        random_state = check_random_state(self.random_state)
        seed = int(random_state.randint(MAX_SEED))
        rows = weighted(table, sample_weight)
        train, held_out = self._held_out(rows, columns, X_val, sample_weight_val, random_state)
        if warm:
            schema, engine = self.schema_, copy.deepcopy(self._engine)
        else:
            may_miss = any(part.table.has_missing() for part in (rows, held_out) if part is not None)
            schema, engine = self._start(rows, columns, seed, with_mask=may_miss)
        encoded = self._encoded_for_training(schema, train.table)
        shown = Shown.of(encoded, train, is_all=True)
        offsets = [self._offset(schema, train, encoded)]
        encoded, weight = informative(encoded, train.weight)
        judged, share = None, 1.0
        if held_out is not None:
            refuse_unreadable(held_out.table, schema)
            cells = self._encoded_for_training(schema, held_out.table)
            offsets.append(self._offset(schema, held_out, cells))
            judged = informative(cells, held_out.weight)
            share = held_out.share * _share(judged, cells, held_out.weight)
        _check_there_are_rows(encoded, judged)
        plan = self._plan(encoded.shape[0], columns)
        waiting = patience(self.n_iter_no_change, plan.max_iter), self.tol, math.ceil(self.kl_warmup * plan.max_iter)
        history = fit_epochs(
            engine,
            engine.train(encoded, weight, self._objective(), plan, validation=judged),
            max_iter=plan.max_iter,
            offsets=offsets,
            share_judged=share,
            column_at_fault=lambda: schema.cells[engine.column_at_fault(shown.encoded)].name,
            callbacks=Epochs(self, plan.max_iter, X, y),
            snapshot=lambda: self._snapshot(engine, schema),
            patience=None if judged is None else Patience(*waiting),
            verbose=self.verbose,
        )
        engine.forget_optimiser()
        self._publish(engine, schema, history, shown, offsets[0])

    def _partial_fit(self, X: Any, sample_weight: Any) -> None:
        """One pass over a chunk; the first one freezes the schema."""
        check_parameters(self)  # scikit-learn does so on the first call only
        first = not self.__sklearn_is_fitted__()
        table, columns = self._read_training(X, goes_on=not first)
        train = weighted(table, sample_weight)
        if first:
            seed = int(check_random_state(self.random_state).randint(MAX_SEED))
            schema, engine = self._start(train, columns, seed, with_mask=True)  # a later chunk may have missing cells
        else:
            schema, engine = self.schema_, copy.deepcopy(self._engine)
            warn_of_a_new_kind(table, self)
        encoded = self._encoded_for_training(schema, train.table)
        shown = Shown.of(encoded, train, is_all=first)
        offset = self._offset(schema, train, encoded)
        encoded, weight = informative(encoded, train.weight)
        if encoded.shape[0] == 0 and not first:
            return _warn_of_empty_chunk()
        _check_there_are_rows(encoded)
        warn_of_drift(encoded, weight, schema)
        plan = replace(self._plan(encoded.shape[0], columns), max_iter=1, learning_rate="constant")
        history = fit_epochs(
            engine,
            engine.train(encoded, weight, self._objective(), plan, resume=True),
            max_iter=1,
            offsets=[offset],
            column_at_fault=lambda: schema.cells[engine.column_at_fault(shown.encoded)].name,
            trained=not first,
        )
        if not first:
            history.prepend({name: getattr(self, f"{name}_") for name in self._curves})
        self._publish(engine, schema, history, shown, offset)

    def _read_training(self, X: Any, *, goes_on: bool) -> tuple[Table, Columns]:
        """Rows to train on and what their columns are: what the schema says where training goes on, else as asked."""
        if goes_on:
            resolve_device(self.device)  # the model stays on its own
            table = read(self, X, reset=False, schema=self.schema_, accept_sparse=self._reads_sparse())
            return table, Columns([], [column.kind for column in self.schema_.columns])
        kinds, asked = Kinds(self._likelihood_option), getattr(self, self._likelihood_option)
        of_all = None if asked == "auto" or isinstance(asked, Mapping) else kinds.of(asked)
        table = read(self, X, reset=True, accept_sparse=keeps_zeros(of_all))
        likelihoods = self._column_likelihoods(table)
        return table, Columns(likelihoods, [kinds.of(likelihood) for likelihood in likelihoods])

    def _encoded_for_training(self, schema: TableSchema, table: Table) -> np.ndarray:
        """Encoded rows in float32, which the engine may take over."""
        if table.is_sparse:
            return schema.encode_sparse(table)
        return schema.encode(table, np.float32, unknown=self.handle_unknown)

    def _held_out(
        self,
        rows: Weighted,
        columns: Columns,
        X_val: Any,
        sample_weight_val: Any,
        random_state: np.random.RandomState,
    ) -> tuple[Weighted, Weighted | None]:
        """Training and validation rows: the user's own, a part split off, or none."""
        if X_val is not None:
            if self.early_stopping is False:
                raise ValueError(
                    "X_val is passed to fit while early_stopping is False. Set early_stopping to 'auto' or True, or "
                    "leave X_val out."
                )
            table = read(self, X_val, reset=False, accept_sparse=columns.may_be_sparse)
            return rows, weighted(table, sample_weight_val)
        if sample_weight_val is not None:
            raise ValueError("sample_weight_val holds the weights of X_val, but X_val is None. Pass X_val as well.")
        if stops_early(self.early_stopping, len(rows.table), has_levels=columns.have_levels):
            return split(rows, self.validation_fraction, random_state)
        return rows, None

    def _start(self, rows: Weighted, columns: Columns, seed: int, *, with_mask: bool) -> tuple[TableSchema, Engine]:
        """The schema that the rows of X show, also those set aside of them, and an engine at its start values."""
        table, likelihoods = rows.table, columns.likelihoods
        rules = Rules(self.marginals, columns_with_atoms(self.atoms, table.names), self.bounds == "training")
        if table.is_frame:
            levels, named = [KINDS[kind].is_coded for kind in columns.kinds], self._likelihood_option == "likelihood"
            frames.refuse_unreadable(table.X, levels, [None] * len(columns.kinds), has_likelihood=named)
        schema = infer_schema(table, rows.weight, columns.kinds, rules)
        if not schema.cells:
            raise ValueError(
                f"Every column of X is constant over its {len(table)} training rows, so there is nothing to learn. "
                f"Pass rows that differ in at least one column."
            )
        by_cell = ["categorical" if cell.is_part else likelihoods[cell.column] for cell in schema.cells]
        coded = any(shares is not None for shares in schema.cells.frequencies)
        spec = ModelSpec(
            centre=schema.cells.of("centre"),
            width=schema.cells.of("width"),
            mean=schema.cells.of("mean"),
            blocks=blocks_of(by_cell),
            n_components=components(self.n_components, len(table.names), schema.cells.n_levels),
            hidden_layer_sizes=layer_sizes(self.hidden_layer_sizes),
            activation=self.activation,
            with_mask=with_mask,
            seed=seed,
            encoder=self.encoder,
            decoder=self.decoder,
            prior=self.prior,
            frequencies=schema.cells.frequencies if coded else None,
            gates=schema.cells.gates,
        )
        return schema, self._engine_class(spec, self.device, n_cells=len(table) * len(table.names))

    def _plan(self, n: int, columns: Columns) -> Plan:
        has_levels = columns.have_levels
        batch_size, max_iter = batches_and_epochs(n, self.batch_size, self.max_iter, has_levels=has_levels)
        return Plan(
            batch_size=batch_size,
            max_iter=max_iter,
            learning_rate_init=self.learning_rate_init,
            learning_rate=self.learning_rate,
            alpha=self.alpha,
            beta=self.beta,
            warmup_steps=round(self.kl_warmup * max_iter * math.ceil(n / batch_size)),
            n_draws=self.n_train_samples,
            trim=self.trim,
        )

    def _snapshot(self, engine: Engine, schema: TableSchema) -> dict[str, Any]:
        """What a ready-to-use copy of the estimator needs while training is under way."""
        now = copy.deepcopy(engine)
        now.keep()
        now.forget_optimiser()
        return {"_engine": now, "schema_": schema, "n_components_": now.spec.n_components}

    def _publish(self, engine: Engine, schema: TableSchema, history: History, shown: Shown, offset: float) -> None:
        """Assign the fitted state, all at once."""
        fitted = self._fitted_attributes(engine, shown, offset)
        fitted |= history.attributes(self._curves) | {"n_components_": engine.spec.n_components, "schema_": schema}
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
        tags.input_tags.sparse = self._reads_sparse()
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "_engine" in state:
            state["_engine"] = state["_engine"].state()
            state["schema_"] = state["schema_"].to_dict()
            state["_skvae_version"] = __version__
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state.get("_engine"), dict):
            state = dict(state, schema_=TableSchema.from_dict(state["schema_"]))
            saved = _by_column(state["_engine"], state["schema_"])
            _warn_of_version(state.pop("_skvae_version", "an unknown one"))
            state["_engine"] = self._engine_class.from_state(saved, device_or_cpu(saved["device"]))
        super().__setstate__(state)

    # -- methods both offer --------------------------------------------------------------------------------------------

    @validated_fit
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        *,
        X_val: Any = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Fit the model to rows.

        A fit that fails leaves the estimator as it was. Ctrl-C ends training with a warning and keeps the best weights
        so far.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Training rows in data units; NaN marks a missing cell.
        y : Ignored
            Not used by the model; passed on to callbacks, some of which (``ScoringMonitor``) need it.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the objective and in the columns' location and scale. Weight 0 is removal; only ratios
            count, and one below 1e-30 of the largest counts as that.
        X_val : array-like or data frame of shape (n_validation_samples, n_features), default=None
            Held-out rows for early stopping, which this turns on. Without them a `validation_fraction` of X is set
            aside where `early_stopping` says so.
        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            Weights of the held-out rows.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        TypeError
            If a column is neither numeric nor categorical, X is sparse where the likelihood is not one of counts or
            bits, or a factory returns something else than it should.
        ValueError
            If a parameter is out of its range; X has fewer than 2 rows, holds infinity, values beyond 1e305 in a column
            that varies, values outside [0, 1] where the likelihood is Bernoulli, or no column that varies; names are
            repeated or unknown; weights are negative or all zero; `X_val` comes with ``early_stopping=False``, or has
            no observed cell; or the loss is never finite.

        Warns
        -----
        ConvergenceWarning
            If no component is active and the model is no better than independent columns, if early stopping did not
            end the fit and the held-out score was still rising or never finite, or if the loss was not finite in the
            last epochs.
        """
        with unchanged_on_error(self):
            self._fit(X, y, sample_weight, X_val, sample_weight_val)
        return self

    @validated_fit
    def partial_fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Take one pass over a chunk of rows.

        The first chunk fixes the number of components and each column's location, scale, levels, atoms, bounds and
        whether it is constant; make it large and representative. The learning rate is constant, there is no early
        stopping, and the optimiser goes on where the last chunk left it, also after the estimator was saved and loaded.
        Curves grow by one epoch per call; `kl_per_component_` and `lower_bound_` are those of the last chunk, by which
        the components are also ordered anew.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units; NaN marks a missing cell. The first chunk needs at least 2 rows.
        y : Ignored
            Present by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        TypeError, ValueError
            As for `fit`, and if the columns are not those of the first chunk. A loss that is not finite is an error in
            the first chunk.

        Warns
        -----
        UserWarning
            If the median of a column is more than 5 standard deviations from where the first chunk had it. Atoms and
            missing cells do not count, and columns of which either chunk has fewer than 10 other values are not judged.
            Also if most cells of a column in a later chunk hold levels that the first did not have, if one was
            constant in the first and is no longer, and if no row has an observed cell: it teaches nothing.
        ConvergenceWarning
            If the loss was not finite; the model is then what the earlier chunks made it.
        """
        with unchanged_on_error(self):
            self._partial_fit(X, sample_weight)
        return self

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
        return self._answer(self._table(X), self._engine.encode)

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
            columns: the mean of each number, which is what draws of p(x|z) average to (atoms and bounds included, but
            for their rounding), and the most probable level. It is smoother than real rows: the noise is averaged out.

        Raises
        ------
        ValueError
            If X does not have `n_components_` columns.
        """
        check_is_fitted(self)
        z = check_array(frames.unmasked(X), dtype=[np.float64, np.float32], input_name="X")
        if z.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {z.shape[1]} columns, but inverse_transform of this {type(self).__name__} expects codes with "
                f"n_components_={self.n_components_} columns, as transform returns them."
            )
        return self.schema_.restore(self._decoded(z))

    def _decoded(self, z: np.ndarray) -> np.ndarray:
        """The expected row given its code: values and codes of levels, (n, p)."""
        return self.schema_.point(self.schema_.expect(self._engine.decode(z, self.schema_.cells.units)))

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
            those that were observed. A pandas frame keeps its index.

        Raises
        ------
        ValueError
            As for `transform`.
        """
        decoded = self._answer(self._table(X), lambda encoded: self._decoded(self._engine.encode(encoded)))
        return frames.with_index_of(X, self.schema_.restore(decoded))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples` over rows.

        This is what ``cross_val_score`` and ``GridSearchCV`` maximise if nothing else is asked for.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units.
        y : Ignored
            Present by convention.

        Returns
        -------
        float
            Higher is better.
        """
        return float(np.mean(self.score_samples(X)))


def _by_column(saved: dict[str, Any], schema: TableSchema) -> dict[str, Any]:
    """An engine's state with missing cells by column, where it comes from a version that kept them by cell."""
    if saved.get("holes") is None:
        return saved
    posteriors, missing = saved["holes"]
    return saved | {"gaps": (posteriors, schema.by_column(np.asarray(missing, dtype=bool)))}


def _check_there_are_rows(encoded: np.ndarray, judged: tuple[np.ndarray, Any] | None = None) -> None:
    """Refuse rows that can teach nothing, and held-out ones that can judge nothing."""
    for rows, use in ((encoded, "train on"), (None if judged is None else judged[0], "judge by")):
        if rows is not None and rows.shape[0] == 0:
            raise ValueError(
                f"None of the rows to {use} has an observed cell in a column that varied in training. Pass rows that "
                f"have{', or set early_stopping=False' if judged is not None else ''}."
            )


def _share(part: tuple[Any, np.ndarray | None], rows: Any, weight: np.ndarray | None) -> float:
    """The share of the rows, or of their weight, that a part of them has."""
    if weight is None or part[1] is None:
        return float(part[0].shape[0] / rows.shape[0])
    return float(part[1].sum() / weight.sum())


def _warn_of_empty_chunk() -> None:
    warn("No row of this chunk has an observed cell in a column that varied in the first one: nothing was learned.")


def _warn_of_version(saved: str) -> None:
    if saved != __version__:
        warn(
            f"The model was saved by skvae {saved} and is loaded by {__version__}: its answers may differ. Fit it "
            f"again with this version, or load it with that one.",
        )
