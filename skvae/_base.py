"""What the two transformers share: parameters, the fit and partial_fit policies, persistence."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import fields, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from skvae import __version__, _engine
from skvae._model.auto import stops_early
from skvae._model.earlier import PARAMETERS, brought_up
from skvae._model.fitting import History, Prepared, fit_epochs, unchanged_on_error
from skvae._model.reading import (
    Weighted,
    read,
    read_known,
    refuse_unreadable,
    split,
    warn_of_a_new_kind,
    warn_of_drift,
    weighted,
)
from skvae._model.settings import Settings
from skvae._model.starting import Columns, planned, serves_sparse, start
from skvae._model.summarising import of_model, of_plan, with_summary
from skvae._model.table_model import AnyModel, TableModel
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
    drawn_seed,
    validated_fit,
)
from skvae._table import frames
from skvae._table.schema import TableSchema
from skvae._table.tables import Table
from skvae._typing import ArrayLike, Seed
from skvae._warnings import warn

if TYPE_CHECKING:
    from skvae._engine.engine import Engine


class BaseAutoencoder(ClassNamePrefixFeaturesOutMixin, CallbackSupportMixin, TransformerMixin, BaseEstimator):
    """Base of the transformers; a subclass names its engine and says what it asks of a model."""

    _curves: tuple[str, ...] = ("loss_curve", "validation_scores")
    _likelihood_option: str  # the parameter that chooses the likelihood, for errors
    _engine: Any
    _left_out: Sequence[Hashable] | None = None  # columns of text that whoever holds this model keeps out; None: nobody

    # Parameters that are no `Settings`, or are read beside them.
    early_stopping: bool | Literal["auto"]
    validation_fraction: float
    warm_start: bool
    device: str
    random_state: Seed
    verbose: int

    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    n_components_: int
    n_iter_: int
    loss_curve_: list[float]
    validation_scores_: list[float]
    converged_: bool
    schema_: TableSchema

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": [StrOptions({"auto"}), "array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"relu", "tanh", "silu", "gelu", "elu", "softplus", "logistic"})],
        "solver": [StrOptions({"auto", "muon", "adam"})],
        "learning_rate": [StrOptions({"one_cycle", "constant"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "early_stopping": [StrOptions({"auto"}), "boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "alpha": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "encoder": [callable, None],
        "decoder": [callable, None],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    score_samples: Callable[[Any], NDArray[np.float64]]

    # -- what a subclass says ------------------------------------------------------------------------------------------

    def _settings(self) -> Settings:
        """What the parameters ask of the model to fit."""
        raise NotImplementedError(f"{type(self).__name__} defines _settings")

    def _settings_with(self, **own: Any) -> Settings:
        """The parameters that `Settings` knows, and what a subclass adds: the bound, for one."""
        asked = self.get_params(deep=False)
        return Settings(**{field.name: asked[field.name] for field in fields(Settings) if field.name in asked} | own)

    def _of_new_rows(self) -> dict[str, Any]:
        """What the parameters say of the reading and scoring of new rows; they may have been set after fit."""
        return {}

    def _fitted_attributes(self, model: Any, taught: Prepared, *, is_all: bool) -> dict[str, Any]:
        """Attributes that follow from a trained model and its training rows: all of them, or else the last chunk."""
        return {}

    def _finished(self, model: Any, rows: Weighted) -> Any:
        """A trained model with what is still to be learned of all its training rows."""
        return model

    @property
    def _engine_class(self) -> type[Engine[Any]]:
        raise NotImplementedError("a subclass names its engine")

    # -- reading -------------------------------------------------------------------------------------------------------

    @property
    def _model(self) -> AnyModel:
        """The fitted model."""
        check_is_fitted(self)
        return TableModel(self.schema_, self._engine, **self._of_new_rows())

    def _table(self, X: Any) -> Table:
        """Rows in data units."""
        model = self._model
        return read_known(self, X, model.schema, model.unknown, accept_sparse=self._reads_sparse())

    def _reads_sparse(self) -> bool:
        """Whether a zero needs no storing, as far as it can be known without calling a factory."""
        if self.__sklearn_is_fitted__():
            return self.schema_.container == frames.NUMPY and Columns.of(self.schema_).may_be_sparse
        option = self._likelihood_option
        return serves_sparse(getattr(self, option), lambda asked: _engine.build.known_kind(asked, option=option))

    # -- fitting -------------------------------------------------------------------------------------------------------

    def _fit(self, X: Any, y: Any, sample_weight: Any, X_val: Any, sample_weight_val: Any) -> None:
        """Cold or warm fit; assigns the fitted state last."""
        warm, settings = self.warm_start and self.__sklearn_is_fitted__(), self._settings()
        table, columns = self._read_training(X, settings, goes_on=warm)
        random_state = check_random_state(self.random_state)
        seed = drawn_seed(random_state)
        rows = weighted(table, sample_weight)
        train, held_out = self._held_out(rows, columns, X_val, sample_weight_val, random_state)
        if warm:
            model = self._model.going_on(table)
        else:
            may_miss = any(part.table.has_missing() for part in (rows, held_out) if part is not None)
            model = start(rows, columns, settings, self._engine_class, seed=seed, with_mask=may_miss)
        taught, judged = Prepared.of(train, model, settings), None
        if held_out is not None:
            refuse_unreadable(held_out.table, model.schema)
            judged = Prepared.of(held_out, model, settings)
        _check_there_are_rows(taught, judged)
        plan = settings.plan(taught.n_rows, len(columns.kinds), have_levels=columns.have_levels)
        history = fit_epochs(
            model,
            model.engine.train(*taught.rows, settings.bound, plan, validation=judged and judged.rows),
            max_iter=plan.max_iter,
            taught=taught,
            judged=judged,
            callbacks=Epochs(self, plan.max_iter, X, y),
            snapshot=lambda: _snapshot(model),
            patience=judged and settings.patience(plan.max_iter),
            verbose=self.verbose,
        )
        model.engine.forget_optimiser()
        self._publish(model, history, taught, whole=train)

    def _partial_fit(self, X: Any, sample_weight: Any) -> None:
        """One pass over a chunk; the first one freezes the schema."""
        check_parameters(self)  # scikit-learn does so on the first call only
        first, settings = not self.__sklearn_is_fitted__(), self._settings()
        table, columns = self._read_training(X, settings, goes_on=not first)
        train = weighted(table, sample_weight)
        if first:
            seed = drawn_seed(self.random_state)  # a later chunk may have missing cells
            model = start(train, columns, settings, self._engine_class, seed=seed, with_mask=True)
        else:
            model = self._model.going_on(table)
            warn_of_a_new_kind(table, model.schema, model.unknown)
        taught = Prepared.of(train, model, settings)
        if taught.n_rows == 0 and not first:
            return _warn_of_empty_chunk()
        _check_there_are_rows(taught)
        warn_of_drift(*taught.rows, model.schema)
        plan = settings.plan(taught.n_rows, len(columns.kinds), have_levels=columns.have_levels)
        plan = replace(plan, max_iter=1, learning_rate="constant")
        history = fit_epochs(
            model,
            model.engine.train(*taught.rows, settings.bound, plan, resume=True),
            max_iter=1,
            taught=taught,
            trained=not first,
        )
        if not first:
            history.prepend({name: getattr(self, f"{name}_") for name in self._curves})
        self._publish(model, history, taught, whole=train if first else None)

    def _read_training(self, X: Any, settings: Settings, *, goes_on: bool) -> tuple[Table, Columns]:
        """Rows to train on and what their columns are: what the schema says where training goes on, else as asked."""
        if goes_on:
            _engine.runtime.resolve_device(self.device)  # the model stays on its own
            table = read(self, X, reset=False, schema=self.schema_, accept_sparse=self._reads_sparse())
            return table, Columns.of(self.schema_)
        kinds = _engine.build.Kinds(settings.option)
        table = read(self, X, reset=True, accept_sparse=serves_sparse(settings.likelihood, kinds.of))
        return table, Columns.asked(settings, table, kinds, self._left_out)

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

    def _publish(self, model: AnyModel, history: History, taught: Prepared, *, whole: Weighted | None) -> None:
        """Assign the fitted state, all at once; `whole` are all the training rows, unless others went before them."""
        fitted = self._fitted_attributes(model, taught, is_all=whole is not None) | history.attributes(self._curves)
        self.__dict__.update(fitted, **_state_of(model if whole is None else self._finished(model, whole)))

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
        state = PARAMETERS | state
        if isinstance(state.get("_engine"), dict):
            saved, schema = brought_up(state["_engine"], TableSchema.from_dict(state["schema_"]))
            state = dict(state, schema_=schema)
            _warn_of_version(state.pop("_skvae_version", "an unknown one"))
            state["_engine"] = self._engine_class.from_state(saved, _engine.runtime.device_or_cpu(saved["device"]))
        super().__setstate__(state)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return with_summary(self, super()._repr_mimebundle_(**kwargs))

    # -- methods both offer --------------------------------------------------------------------------------------------

    def summary(self, X: Any = None) -> Any:
        """How the estimator reads a table: a row for each column.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features), default=None
            Rows to look at, as `fit` would before it trains. None asks for what the last fit found.

        Returns
        -------
        pandas.DataFrame
            One row for each column of X, under its name: ``dtype``; ``kind`` (what it is modelled as; "constant" and
            "identifier" stand outside the model) and ``why``; ``likelihood``; ``levels`` (a tuple, of categories);
            ``atoms`` (single values with a probability of their own); ``bounds`` (of the other values) and ``step``
            (of which all are multiples; seconds where times are held), as far as they are learned; ``missing``, the
            share of cells; and a ``hint`` where a person may want one.

        Raises
        ------
        NotFittedError
            If X is None before a fit.
        TypeError, ValueError
            As in `fit`, for what can be known before training.

        Warns
        -----
        UserWarning
            As in `fit`, for what can be known before training.
        """
        option = getattr(self, self._likelihood_option)
        if X is None:
            return of_model(self._model, option)
        check_parameters(self)
        fresh, settings = clone(self), self._settings()
        table, columns = fresh._read_training(X, settings, goes_on=False)
        return of_plan(*planned(weighted(table, None), columns, settings), option)

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

        The first chunk fixes the number of components, by its rows whether cells have several modes, and each column's
        location, scale, levels, atoms, bounds and whether it is constant; make it large and representative. The
        learning rate is constant, there is no early stopping, and the optimiser goes on where the last chunk left it,
        also after the estimator was saved and loaded.
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
        return self._model.codes(self._table(X))

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
        model = self._model
        z = check_array(frames.unmasked(X), dtype=[np.float64, np.float32], input_name="X")
        if z.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {z.shape[1]} columns, but inverse_transform of this {type(self).__name__} expects codes with "
                f"n_components_={self.n_components_} columns, as transform returns them."
            )
        return model.schema.restore(model.decoded(z))

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
        model, table = self._model, self._table(X)
        return frames.with_index_of(X, model.schema.restore(model.reconstructed(table)))

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


def _state_of(model: AnyModel) -> dict[str, Any]:
    """What an estimator keeps of its model."""
    return {"_engine": model.engine, "schema_": model.schema, "n_components_": model.engine.spec.n_components}


def _snapshot(model: AnyModel) -> dict[str, Any]:
    """What a ready-to-use copy of the estimator needs while training is under way."""
    now = model.copied()
    now.engine.keep()
    now.engine.forget_optimiser()
    return _state_of(now)


def _check_there_are_rows(taught: Prepared, judged: Prepared | None = None) -> None:
    """Refuse rows that can teach nothing, and held-out ones that can judge nothing."""
    for rows, use in ((taught, "train on"), (judged, "judge by")):
        if rows is not None and rows.n_rows == 0:
            raise ValueError(
                f"None of the rows to {use} has an observed cell in a column that varied in training. Pass rows that "
                f"have{', or set early_stopping=False' if judged is not None else ''}."
            )


def _warn_of_empty_chunk() -> None:
    warn("No row of this chunk has an observed cell in a column that varied in the first one: nothing was learned.")


def _warn_of_version(saved: str) -> None:
    if saved != __version__:
        warn(
            f"The model was saved by skvae {saved} and is loaded by {__version__}: its answers may differ. Fit it "
            f"again with this version, or load it with that one.",
        )
