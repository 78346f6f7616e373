"""VAEImputer: missing cells filled by variational autoencoders."""

from __future__ import annotations

from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.impute import MissingIndicator
from sklearn.utils.validation import check_is_fitted

from skvae._members import HoldsModels, imputer_models, model_seeds, seeded
from skvae._model.completing import draws_by_rules, expectations, filled, medians
from skvae._model.fitting import unchanged_on_error
from skvae._sklearn import (
    Interval,
    StrOptions,
    TransformerMixin,
    check_feature_names_in,
    check_parameters,
    check_random_state,
    drawn_seed,
    validated_fit,
    wants_pandas,
)
from skvae._table import frames
from skvae._table.levels import objects
from skvae._table.tables import Table
from skvae._typing import Rules, Seed
from skvae._vae import VAETransformer


class VAEImputer(TransformerMixin, HoldsModels):
    r"""Fill missing cells by variational autoencoders trained on incomplete rows.

    The models are trained on the observed cells alone: on an importance-weighted bound of their likelihood, the MIWAE
    bound [1]_. A missing cell becomes its expectation given the observed cells of its row (a level: the most probable
    one), its median, or, with `sample_posterior` or `draw`, a draw from its distribution. Observed cells come back as
    they are, bit for bit. Numbers, categories, ordered categories and booleans may be missing, in arrays and in pandas
    or polars frames.

    Parameters
    ----------
    estimator : VAETransformer, list of VAETransformer or None, default=None
        Model of the rows; with a list the models' expectations are averaged. None stands for the models described in
        Notes.

    missing_values : int, float, str, None, NaN or NA, default=numpy.nan
        What marks a missing cell. NaN, None and NA do so as well, and in a masked array the mask. In a frame a number
        marks cells of numbers and of categories that are numbers, text those of text and of other categories.

    strategy : {"mean", "median"}, default="mean"
        What a missing number becomes: the mean of its distribution given the observed cells of its row, which is what
        many draws average to and has the least squared error, or the median, which has the least absolute error and
        does not follow a long tail. Levels are the most probable ones in either case. It may be changed after fit (with
        `set_params`).

    sample_posterior : bool, default=False
        Whether `transform` draws from the distribution of the missing cells in place of following `strategy`. Each call
        then gives other values, unless `random_state` is an int.

    keep_empty_features : bool, default=False
        Whether columns in which fit saw no value are kept: numbers as 0, others (which have no level to take) as
        missing. Where False they are left out of what `transform` returns.

    add_indicator : bool, default=False
        Whether to append a column for each column that had missing cells in fit, which says where they were
        (``sklearn.impute.MissingIndicator``).

    missingness : {"informative"} or None, default=None
        What the models of ``estimator=None`` make of which cells are missing. None: nothing, as they are at random.
        "informative": they learn where cells are missing together with the values, from the same code, and fill a cell
        by that as well. Take it where values are missing for what they are (high incomes that are not stated); where
        they are not, it costs a few per cent of accuracy (docs/imputation.md).

    rules : list of tuples or None, default=None
        What is known of columns, which no filling breaks as far as the observed cells of its row keep it; see
        `VAETransformer`. For the models of ``estimator=None``: others have rules of their own.

    n_importance_samples : int, default=400
        Draws of z per row, of which expectations are weighted means: a quarter each from four proposals, at least one
        (for models fitted to complete rows seven proposals). It may be changed after fit (with `set_params`).

    device : str, default="auto"
        Where torch works, for the models of ``estimator=None``; see `VAETransformer`.

    random_state : int, RandomState instance or None, default=None
        Of the models whose own `random_state` is None, and of draws.

    verbose : int, default=0
        1 prints a line for about every twentieth of the epochs, 2 for every epoch.

    Attributes
    ----------
    estimators_ : list of VAETransformer
        The fitted models.

    indicator_ : MissingIndicator or None
        Says where cells were missing, if ``add_indicator=True``.

    n_features_in_ : int
        Number of columns seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns. Defined only if X has column names that are all strings.

    See Also
    --------
    VAETransformer : The model.
    sklearn.impute.IterativeImputer : Columns regressed on one another, in turn.
    sklearn.impute.KNNImputer : Means over the nearest rows.

    Notes
    -----
    With normalised importance weights w over draws z, the expectation of a missing cell is
    :math:`\sum_s w_s E[x_j|z_s]` in data units (bounds, atoms and logarithms included), with
    :math:`w_s \propto p(x_{obs}|z_s) p(z_s) / \bar q(z_s)` [1]_. The draws come from q(z|x_obs) and from three normal
    densities, each with the moments of the draws before it; :math:`\bar q` is the mean of the four (adaptive multiple
    importance sampling [2]_).

    That cells are missing must not depend on their values given the observed cells (missing at random), as for the
    other imputers above. With ``missingness="informative"`` it may, as far as the code of a row tells both, so that
    :math:`w_s` has the factor p(pattern\|z_s), too (Ipsen et al. 2021, arXiv 2006.12871).

    The model of ``estimator=None`` is a `VAETransformer` with as many components as columns, but 10 at least and 20 at
    most, a Gaussian likelihood of the numbers whose standard deviation is one number per column and in training at
    least 0.1 of the column's, batches of 64 rows, hidden layers of 128 and 64 units, 20 draws of z per training step,
    ``alpha=0.02`` and 1,000 to 2,000 steps (at least one epoch). Where the standard deviation was held there, it is
    fitted once more after training, so that draws are not too wide. For fewer than 1,000 rows there is a second model,
    with one hidden layer of 64 units, 10 draws, ``alpha=0.05`` and 1,000 steps; their expectations, each within the
    range of the column, are averaged. The benchmark in docs/benchmarks.md chose them.

    References
    ----------
    .. [1] Mattei, P.-A. and Frellsen, J. (2019). "MIWAE: Deep Generative Modelling and Imputation of Incomplete
       Data Sets". ICML. arXiv:1812.02633.
    .. [2] Cornuet, J.-M., Marin, J.-M., Mira, A. and Robert, C. P. (2012). "Adaptive Multiple Importance Sampling".
       Scandinavian Journal of Statistics 39(4), 798-812. arXiv:0907.1254.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import VAEImputer, VAETransformer
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 1)) + 0.1 * rng.normal(size=(200, 3))
    >>> X[0, 0] = np.nan
    >>> imputer = VAEImputer(VAETransformer(n_components=1, random_state=0), random_state=0)
    >>> filled = imputer.fit_transform(X)
    >>> bool(abs(filled[0, 0] - X[0, 1]) < 0.5)
    True
    """

    indicator_: Any

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **HoldsModels._parameter_constraints,
        "missing_values": [Real, str, frames.MissingMark, None],
        "strategy": [StrOptions({"mean", "median"})],
        "sample_posterior": ["boolean"],
        "keep_empty_features": ["boolean"],
        "add_indicator": ["boolean"],
        "missingness": [StrOptions({"informative"}), None],
        "rules": [list, tuple, None],
        "n_importance_samples": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        estimator: VAETransformer | list[VAETransformer] | None = None,
        *,
        missing_values: float | str | None = np.nan,
        strategy: Literal["mean", "median"] = "mean",
        sample_posterior: bool = False,
        keep_empty_features: bool = False,
        add_indicator: bool = False,
        missingness: Literal["informative"] | None = None,
        rules: Rules = None,
        n_importance_samples: int = 400,
        device: str = "auto",
        random_state: Seed = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.missing_values = missing_values
        self.strategy = strategy
        self.sample_posterior = sample_posterior
        self.keep_empty_features = keep_empty_features
        self.add_indicator = add_indicator
        self.missingness = missingness
        self.rules = rules
        self.n_importance_samples = n_importance_samples
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @validated_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the models to the observed cells.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units with missing cells (or none).
        y : Ignored
            Present by convention.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        TypeError
            If a column is neither numeric nor categorical, or `estimator` is or holds something else than a
            VAETransformer.
        ValueError
            If a parameter is out of its range, or X has fewer than 2 rows, holds infinity or no column that varies.
        """
        with unchanged_on_error(self):
            self._fit(self._marked(X))
        return self

    def _fit(self, X: Any) -> None:
        table = self._training_table(X)
        missing = table.missing()
        self._empty = missing.all(axis=0)
        self.indicator_ = self._fitted_indicator(missing) if self.add_indicator else None
        seeds = model_seeds(check_random_state(self.random_state))
        self.estimators_ = [model.fit(X) for model in seeded(self._unfitted(table), seeds)]

    def _unfitted(self, table: Table) -> list[VAETransformer]:
        if self.rules is not None and self.estimator is not None:
            raise ValueError("rules are for the models of estimator=None. Declare them where `estimator` is made.")
        return self._members(partial(imputer_models, missingness=self.missingness, rules=self.rules), table)

    def _fitted_indicator(self, missing: np.ndarray) -> MissingIndicator:
        indicator = MissingIndicator(error_on_new=False).set_output(transform="default")
        return indicator.fit(np.where(missing, np.nan, 0.0))

    def _marked(self, X: Any) -> Any:
        """X with NaN (or what a frame has for it) in place of `missing_values`."""
        usual = frames.none_if_missing(self.missing_values) is None
        return X if usual else frames.marked(X, self.missing_values)

    # -- answers -------------------------------------------------------------------------------------------------------

    def transform(self, X: Any) -> Any:
        """Fill the missing cells.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units.

        Returns
        -------
        ndarray or data frame of shape (n_samples, n_features_out)
            The rows with their missing cells filled, in the container of X: a frame keeps its index, dtypes and
            categories, to which levels are added that it lacks. Integers are rounded. An array of integers comes back
            as floats. Columns in which fit saw no value are left out unless ``keep_empty_features=True``; indicators
            follow if ``add_indicator=True``.

        Raises
        ------
        ValueError
            If X does not have the columns of fit or holds infinity.
        """
        table = self._read(X)
        values = self._drawn(table, 1, self.random_state)[0] if self.sample_posterior else self._expected(table)
        out = self._finished(X, table, values)
        return frames.as_pandas(out) if wants_pandas(self) else out

    def draw(self, X: Any, n_draws: int = 5, *, random_state: Seed = None) -> list[Any]:
        """Complete the rows several times by draws, for multiple imputation.

        What is computed on each completion and then averaged has the uncertainty of the missing cells in it: the
        variance between the completions adds to that within them (Rubin 1987).

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units.
        n_draws : int, default=5
            Number of completions.
        random_state : int, RandomState instance or None, default=None
            None draws others at each call.

        Returns
        -------
        list of ndarray or data frame
            `n_draws` completions, each as `transform` returns it.

        Raises
        ------
        ValueError
            If `n_draws` is not a positive integer, or as for `transform`.
        """
        if not isinstance(n_draws, Integral) or isinstance(n_draws, bool) or n_draws < 1:
            raise ValueError(f"n_draws must be a positive integer. Got {n_draws!r} instead.")
        table = self._read(X)
        return [self._finished(X, table, values) for values in self._drawn(table, int(n_draws), random_state)]

    def _read(self, X: Any) -> Table:
        check_is_fitted(self)
        check_parameters(self)  # some may have been set after fit
        table = self._table(self._marked(X))
        for j, column in enumerate(self._models[0].schema.columns):
            if column.levels is None and not column.is_left_out:
                table.numbers(j)  # refuses infinity, also in rows that the models will not read
        return table

    def _expected(self, table: Table) -> np.ndarray:
        """Values and codes of all cells, of rows with missing ones, by `strategy`; shape (n, p)."""
        answer = expectations if self.strategy == "mean" else medians
        return self._of_incomplete(table, lambda rows: answer(self._models, rows, self.n_importance_samples))

    def _drawn(self, table: Table, n_draws: int, random_state: Any) -> list[np.ndarray]:
        seed = drawn_seed(random_state)
        return [
            self._of_incomplete(
                table, lambda rows, i=i: draws_by_rules(self._models, rows, self.n_importance_samples, seed + i)
            )
            for i in range(n_draws)
        ]

    @staticmethod
    def _of_incomplete(table: Table, answer: Any) -> np.ndarray:
        """What `answer` says of the rows with missing cells, in their place; shape (n, p)."""
        rows = np.flatnonzero(table.missing().any(axis=1))
        values = np.zeros((len(table), len(table.names)))
        if len(rows):
            values[rows] = answer(table.take(rows))
        return values

    def _finished(self, X: Any, table: Table, values: np.ndarray) -> Any:
        """X with its missing cells from `values`; empty columns and indicators as asked for."""
        missing: Any = table.missing()
        model = self._models[0]
        kept: Any = np.ones(len(table.names), dtype=bool) if self.keep_empty_features else ~self._empty
        numeric = np.array([column.levels is None for column in model.schema.columns])
        left_out = np.array([column.is_left_out for column in model.schema.columns])
        values[:, self._empty & numeric] = 0.0
        out = filled(model, X, table, values, missing & kept & ~left_out)
        out = out if kept.all() else frames.columns_of(out, kept)
        if self.indicator_ is None:
            return out
        flags = self.indicator_.transform(np.where(missing, np.nan, 0.0))
        return frames.beside(out, flags, self._indicator_names(table.names))

    def _indicator_names(self, names: Any) -> list[str]:
        return [f"missingindicator_{names[j]}" for j in self.indicator_.features_]

    # -- the scikit-learn contract -------------------------------------------------------------------------------------

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Output column names.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of X, where fit saw none.

        Returns
        -------
        ndarray of object
            Those of the columns that are kept, as they are, then ``missingindicator_<name>`` for each indicator. The
            columns of an array are x0, x1, ...
        """
        check_is_fitted(self)
        names = self._names_in() if input_features is None else check_feature_names_in(self, input_features)
        out = names if self.keep_empty_features else names[~self._empty]
        if self.indicator_ is None:
            return out
        return np.concatenate([out, np.asarray(self._indicator_names(names), dtype=object)])

    def _names_in(self) -> NDArray[np.object_]:
        """Names of the columns of fit, also of a frame's that are not all text; x0, x1, ... for an array."""
        schema = self.estimators_[0].schema_
        if schema.container == frames.NUMPY:
            names: NDArray[np.object_] = check_feature_names_in(self)
            return names
        return objects([column.name for column in schema.columns])

    def __sklearn_is_fitted__(self) -> bool:
        return "estimators_" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
