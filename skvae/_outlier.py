"""VAEOutlierDetector: outliers by the log-likelihoods of several models, with reasons and p-values."""

from __future__ import annotations

from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from scipy.stats import false_discovery_control
from sklearn.utils.validation import check_is_fitted

from skvae._members import DETECTOR_WEIGHTS, HoldsModels, detector_models, model_seeds, seeded
from skvae._model.committee import Committee, Expected, Surprisal, held_out_scores, scales_of
from skvae._model.completing import expectations, filled
from skvae._model.explaining import Explanation
from skvae._model.fitting import unchanged_on_error
from skvae._model.table_model import VAEModel
from skvae._sklearn import (
    Interval,
    OutlierMixin,
    StrOptions,
    _safe_indexing,
    check_parameters,
    check_random_state,
    validated_fit,
)
from skvae._table import frames
from skvae._table.tables import Table
from skvae._typing import Flags, Floats, Integers, Seed
from skvae._vae import VAETransformer
from skvae._warnings import warn

AUTO_P_VALUE = 0.05  # rows below it are outliers where contamination is "auto"
CALIBRATION = {False: 0.25, True: 0.1}  # share of the rows that "auto" sets aside, by novelty ...
MOST_CALIBRATION = 1_000  # ... at most so many
LEAST_CALIBRATION = 20  # rows, without which no p-value falls below 0.05
FOLDS = 5  # parts of the rows where that share of them would be less: each calibrates models of the others
FEWEST = 4  # rows of which such parts are made
MOST_THRESHOLD = 20_000  # training rows, evenly spaced, scored in case a share is asked for later
COMPLETION_DRAWS = 210  # 30 from each of the proposals


class VAEOutlierDetector(OutlierMixin, HoldsModels):
    r"""Outlier and novelty detection by the log-likelihoods of variational autoencoders.

    Five models see the table in different ways, from coarse to fine. Each says how few of the rows that it was
    not trained on are as improbable as a row; a row is an outlier if one of them finds it very odd, or several do.
    Every score can be explained column by column (`explain`), and turned into a p-value (`p_values`).

    Parameters
    ----------
    novelty : bool, default=False
        What the training rows are. False: a table that has outliers in it, which are to be found there (or in rows
        like these). True: normal rows only, against which new rows are judged. The models are the same; it says what
        "auto" sets aside and what a `contamination` means.

    contamination : "auto" or float, default="auto"
        Where the threshold lies. "auto" flags rows with a conformal p-value under 0.05 (with fewer than 20 rows to
        calibrate on: below all of their scores; without any, below the 5 % quantile of the training scores). A float in
        (0, 0.5] is the share of the training rows to flag, or with ``novelty=True`` about the share of new normal rows:
        the threshold is then that quantile of the rows kept out of training (of the training rows, if less than 20
        were). `set_contamination` changes it after fit (after "auto" the share is read off 20,000 training rows, evenly
        spaced, where there are more).

    calibration_fraction : "auto" or float, default="auto"
        Share of the rows that is kept out of training, to scale and calibrate the scores. "auto" is 0.25, or 0.1 for
        ``novelty=True``, but at most 1,000 rows. Where that would be fewer than 20 (of fewer than 78 or 195 rows), all
        rows calibrate: the models are fitted to all rows, and each of 5 parts is scored by models fitted to the others;
        the p-values are approximate. Fewer than 4 rows calibrate nothing. 0 trains on all rows.

    estimator : VAETransformer, list of VAETransformer or None, default=None
        Model of the rows, or models that count alike. None is the five of the Notes.

    device : str, default="auto"
        Where torch works, for the models of ``estimator=None``; see `VAETransformer`.

    random_state : int, RandomState instance or None, default=None
        Of the rows set aside and of those models whose own `random_state` is None.

    verbose : int, default=0
        1 prints a line for about every twentieth of the epochs, 2 for every epoch.

    Attributes
    ----------
    estimators_ : list of VAETransformer
        The fitted models.

    offset_ : float
        The threshold, in the nats of `score_samples`: ``decision_function(X) = score_samples(X) - offset_``.

    calibration_scores_ : ndarray of shape (n_calibration,)
        Scores of the rows set aside, ascending; empty if there are none.

    n_features_in_ : int
        Number of columns seen during fit.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns. Defined only if X has column names that are all strings.

    See Also
    --------
    VAETransformer : The model.
    sklearn.ensemble.IsolationForest : Outliers by random splits.
    sklearn.neighbors.LocalOutlierFactor : Outliers by neighbours, with the same `novelty` switch.

    Notes
    -----
    The surprisal of a row under a model is minus the log of the share of reference rows whose log-density is as low, in
    nats. These are the rows set aside, or without any the training rows. Between them it is interpolated; below the
    lowest tenth it grows as for an exponential tail with their mean excess. With surprisals t and weights w, which have
    sum 1, the score is

    .. math:: -\big(\textstyle\sum_m w_m t_m^8\big)^{1/8},

    near the mean where the models agree and near the largest where one of them objects. The score of a single model is
    its log-density. A cell that holds what fit did not see costs log(n + 2) nats of the score, n being the number of
    training rows, as much as the oddest of them. No row vouches for itself: where it was an exemplar, it is none to its
    own score.

    The models of ``estimator=None``, and what they count:

    - 2: a coarse one, linear (no hidden layers), of the columns' normal scores, with one standard deviation per
      column that is at least 0.5 of the column's, trained on each batch without the 35 % of its rows that fit worst. It
      sees marginal distributions and the strongest dependencies, and little else that outliers could teach;
    - 1: a normal distribution, a linear model with a fixed standard deviation of 0.1 and a code of up to 60
      components;
    - 1, twice: exemplars of the columns and of their normal scores, linear models whose prior is the aggregated
      posterior [1]_. That is close to a kernel density estimate, whose bandwidth is the one under which rows are
      likeliest given the others [3]_;
    - 1: the density of `VAETransformer`, with dependencies of any form and, from 200 rows, atoms.

    In tables of numbers without holes the second to fourth are solved in closed form, the others are trained. Members
    and weights were chosen over 144 tables, and judged on those left out of the choice (docs/benchmarks.md). A default
    model that cannot be fitted is left out with a warning.

    The conformal p-value of a row is (1 + number of calibration rows that score no higher) / (1 + number of calibration
    rows) [2]_. For a new row that comes from the same distribution as those, it falls below alpha with probability at
    most alpha, on average over calibration sets. If outliers are among the calibration rows, fewer rows fall below.

    References
    ----------
    .. [1] Tomczak, J. M. and Welling, M. (2018). "VAE with a VampPrior". AISTATS. arXiv:1705.07120.
    .. [2] Bates, S., Candès, E., Lei, L., Romano, Y. and Sesia, M. (2023). "Testing for outliers with conformal
       p-values". Annals of Statistics 51(1), 149-178. arXiv:2104.08279.
    .. [3] Duin, R. P. W. (1976). "On the choice of smoothing parameters for Parzen estimators of probability density
       functions". IEEE Transactions on Computers 25(11), 1175-1179.

    Examples
    --------
    >>> import numpy as np
    >>> from skvae import VAEOutlierDetector
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 1)) + rng.normal(size=(300, 4))
    >>> X[0] = [6.0, -6.0, 6.0, -6.0]
    >>> detector = VAEOutlierDetector(contamination=0.01, random_state=0).fit(X)
    >>> np.flatnonzero(detector.predict(X) == -1)[0]
    np.int64(0)
    """

    offset_: float
    calibration_scores_: Floats

    _kept: list[int]  # which of the models could be fitted ...
    _weights: Floats  # ... and what these count

    _known: tuple[list[tuple[Any, int]], Expected] | None = None  # engines, and what `explain` expects of them

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **HoldsModels._parameter_constraints,
        "novelty": ["boolean"],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "calibration_fraction": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        *,
        novelty: bool = False,
        contamination: float | Literal["auto"] = "auto",
        calibration_fraction: float | Literal["auto"] = "auto",
        estimator: VAETransformer | list[VAETransformer] | None = None,
        device: str = "auto",
        random_state: Seed = None,
        verbose: int = 0,
    ) -> None:
        self.novelty = novelty
        self.contamination = contamination
        self.calibration_fraction = calibration_fraction
        self.estimator = estimator
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @validated_fit
    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the models and the threshold.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Training rows in data units; NaN marks a missing cell.
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
            If a parameter is out of its range, X has fewer than 2 rows, holds infinity or no column that varies, or
            `calibration_fraction` leaves too few rows on either side.
        """
        with unchanged_on_error(self):
            self._fit(self._training_table(X))
        return self

    def _fit(self, table: Table) -> None:
        n, random_state = len(table), check_random_state(self.random_state)
        parts = self._set_aside(random_state.permutation(n))
        seeds = model_seeds(random_state)
        self._scales: list[Surprisal] = []
        kept, failure, final = None, None, None  # the models of all rows, where there are several parts
        if len(parts) > 1:  # those of all rows say what noise the others take, or their densities would not compare
            self._fit_members(table, table.X, n, seeds)
            final = self.estimators_, self._kept, self._weights
        try:
            kept = self._calibrate(table, parts, seeds, self._noises() if final else None)
        except ValueError as error:  # as where only the rows set aside differ from one another
            if self.calibration_fraction != "auto":
                raise
            failure = error
        if final is not None:
            self.estimators_, self._kept, self._weights = final
        elif kept is None:
            self._fit_members(table, table.X, n, seeds)
        if failure is not None:
            warn(
                f"No rows can be set aside to calibrate on, so that there are no p-values. Fit on more rows, or pass "
                f"calibration_fraction=0 if you need none. What failed: {failure}"
            )
        step = 1 if self.contamination != "auto" else -(-n // MOST_THRESHOLD)
        trained_on = table.take(slice(None, None, step))
        densities = self._committee.densities(trained_on)
        if kept != self._kept:
            self._scales, self.calibration_scores_ = scales_of(densities), np.empty(0)
        costs = self._committee.costs(trained_on).sum(axis=1)
        self._training_scores = np.sort(self._committee.joined(densities) - costs)
        self.offset_ = self._threshold(self.contamination)

    def _noises(self) -> dict[str, float] | None:
        """The noises of the exemplars, by `marginals`; None where some have none."""
        each = [(model.marginals, model._model.engine.left_out_noise) for model in self.estimators_]
        found: dict[str, float] = {marginals: noise for marginals, noise in each if noise is not None}
        return found if len(found) == 2 else None

    def _calibrate(
        self, table: Table, parts: list[Integers], seeds: np.ndarray, noises: dict[str, float] | None
    ) -> list[int] | None:
        """Find scales and calibration scores by parts of the rows, each scored by models fitted to the other rows.

        Which of the default models could be fitted; None if these differ from part to part, or there are no parts.
        """
        each, costs, kept = list[Floats](), list[Floats](), list[list[int]]()
        for part in parts:
            others = np.setdiff1d(np.arange(len(table)), part)
            self._fit_members(table, _safe_indexing(table.X, others), len(others), seeds, noises)
            rows = table.take(np.sort(part))
            each.append(self._committee.densities(rows))
            costs.append(self._committee.costs(rows).sum(axis=1))
            kept.append(self._kept)
        if not parts or any(own != kept[0] for own in kept):
            return None
        densities = np.concatenate(each, axis=1)
        self._scales = scales_of(densities)
        of_rows = held_out_scores(self._committee, densities) - np.concatenate(costs)
        self.calibration_scores_ = np.sort(of_rows)
        return kept[0]

    def _set_aside(self, order: Integers) -> list[Integers]:
        """The parts of the rows, in that order, that are scored by models of the others: none, one or FOLDS."""
        n = len(order)
        if self.calibration_fraction == "auto":
            wanted = min(round(CALIBRATION[self.novelty] * n), MOST_CALIBRATION)
            if wanted < LEAST_CALIBRATION:
                return np.array_split(order, min(n, FOLDS)) if n >= FEWEST else []
            return [order[:wanted]]
        wanted = round(self.calibration_fraction * n)
        if self.calibration_fraction > 0.0 and not 1 <= wanted <= n - 2:
            raise ValueError(
                f"calibration_fraction={self.calibration_fraction} sets {wanted} of {n} rows aside, but at least 1 "
                f"must be, and 2 must remain for training. Pass more rows, another fraction, or calibration_fraction=0."
            )
        return [order[:wanted]] if wanted else []

    def _fit_members(
        self, table: Table, X: Any, n: int, seeds: np.ndarray, noises: dict[str, float] | None = None
    ) -> None:
        """Fit the models to n rows X of the table; of the default ones those stay that can be fitted."""
        models = seeded(self._unfitted(table, n, noises), seeds)
        weights = DETECTOR_WEIGHTS if self.estimator is None else (1.0,) * len(models)
        self.estimators_, failures = [], []
        self._kept = []
        for i, model in enumerate(models):
            try:
                self.estimators_.append(model.fit(X))
                self._kept.append(i)
            except ValueError as error:
                failures.append(error)
                if self.estimator is not None:
                    raise
        if not self._kept:
            raise failures[0]
        if failures:
            left_out = f"{len(failures)} of the {len(models)} default models could not be fitted and are left out"
            warn(f"{left_out}: {failures[0]}")
        own = np.array(weights)[self._kept]
        self._weights = own / own.sum()

    def _unfitted(
        self, table: Table, n: int | None = None, noises: dict[str, float] | None = None
    ) -> list[VAETransformer]:
        known: dict[str, Any] = {"has_levels": table.has_levels(), "has_missing": table.has_missing(), "noises": noises}
        return self._members(partial(detector_models, **known), len(table) if n is None else n, len(table.names))

    @property
    def _committee(self) -> Committee:
        return Committee(self._models, self._weights, self._scales)

    def _threshold(self, contamination: float | Literal["auto"]) -> float:
        """The score from which on a row is normal."""
        calibration = self.calibration_scores_
        if contamination != "auto":
            if not self.novelty or len(calibration) < LEAST_CALIBRATION:
                return float(np.quantile(self._training_scores, contamination))
            # The lowest of n new rows is undercut by the next one with probability 1 / (n + 1), and so on.
            return float(np.quantile(calibration, contamination, method="weibull"))
        if len(calibration) < LEAST_CALIBRATION:
            return float(calibration[0] if len(calibration) else np.quantile(self._training_scores, AUTO_P_VALUE))
        possible = (1 + np.arange(len(calibration))) / (1 + len(calibration))  # by the rows that score no higher
        return float(calibration[np.count_nonzero(possible < AUTO_P_VALUE) - 1])

    # -- the threshold ---------------------------------------------------------------------------------------------

    def set_contamination(self, contamination: float | Literal["auto"]) -> Self:
        """Move the threshold of a fitted detector; the models stay as they are.

        Parameters
        ----------
        contamination : "auto" or float in (0, 0.5]
            As in the constructor; it becomes the value of that parameter.

        Returns
        -------
        self : object
            The same detector with another `offset_`.

        Raises
        ------
        ValueError
            If it is out of its range.
        """
        check_is_fitted(self)
        before = self.contamination
        self.contamination = contamination
        try:
            check_parameters(self)
        except ValueError:
            self.contamination = before
            raise
        self.offset_ = self._threshold(contamination)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return "offset_" in self.__dict__

    # -- scores ----------------------------------------------------------------------------------------------------

    def score_samples(self, X: Any) -> Floats:
        """How normal each row is: minus the mean of its surprisals under the models, or of one model the log-density.

        Log-densities take a number in units of its column's standard deviation in training (gross errors aside), or
        where the likelihood is log-normal of its geometric mean. So rows compare in the same way whatever the units of
        X, also where cells are missing or are atoms.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units; NaN marks a missing cell.

        Returns
        -------
        ndarray of shape (n_samples,)
            In nats and float64; higher is more normal, and of several models at most 0: near the log of the share of
            normal rows that are as odd to the model that finds the row oddest. Each row's score depends on that row
            alone, and is the same at every call. With missing cells it is that of the observed cells.

        Raises
        ------
        ValueError
            If X does not have the columns of fit or holds infinity.

        Warns
        -----
        UserWarning
            If a column that was constant in training holds another value, or most cells of a column hold levels that
            fit did not see.
        """
        table = self._table(X)
        return self._committee.scores(table)

    def decision_function(self, X: Any) -> Floats:
        """Score above the threshold: ``score_samples(X) - offset_``.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units.

        Returns
        -------
        ndarray of shape (n_samples,)
            In nats; negative for outliers.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Integers:
        """Label rows.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units.

        Returns
        -------
        ndarray of shape (n_samples,)
            1 for normal rows, -1 for outliers.
        """
        return np.where(self.decision_function(X) < 0.0, -1, 1)

    def score_uncertainty(self, X: Any, *, return_pareto_k: bool = False) -> tuple[Floats, ...]:
        """How well `n_importance_samples` draws determine each score.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units.
        return_pareto_k : bool, default=False
            Whether to return the tail index of the importance weights as well.

        Returns
        -------
        standard_error : ndarray of shape (n_samples,)
            Monte Carlo error of `score_samples` in nats, the bias included, on the scales as they are. Several models
            add to it what the score moves by if a log-density is off by its error (see
            `VAETransformer.score_uncertainty`); where the draws cannot tell, by all that the model adds to the score.
            A single model's is infinite there. Linear models whose cells are all normal need no draws and add nothing
            (of exemplars only if they were trained on rows without holes).
        effective_sample_size : ndarray of shape (n_samples,)
            Of the draws, from 1 to `n_importance_samples`; the least over the models that draw. Near 1 the score rests
            on one draw: raise `n_importance_samples` of the models in `estimators_`.
        pareto_k : ndarray of shape (n_samples,)
            Only with ``return_pareto_k=True``; the greatest over the models.
        """
        table = self._table(X)
        error, size, tail = self._committee.sampling_error(table)
        return (error, size, tail) if return_pareto_k else (error, size)

    # -- p-values --------------------------------------------------------------------------------------------------

    def p_values(self, X: Any) -> Floats:
        """Conformal p-values of new rows.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units. For rows that the models were trained on the values are too high.

        Returns
        -------
        ndarray of shape (n_samples,)
            In (0, 1]; the least possible is 1 / (1 + number of calibration rows).

        Raises
        ------
        ValueError
            If no rows were set aside for calibration.
        """
        scores = self.score_samples(X)
        n = len(self.calibration_scores_)
        if n == 0:
            raise ValueError(
                "p-values need rows that were kept out of training, and the last fit kept none. "
                f"Fit on at least {FEWEST} rows, or pass a calibration_fraction above 0."
            )
        return (1 + np.searchsorted(self.calibration_scores_, scores, side="right")) / (1 + n)

    def select_outliers(self, X: Any, *, fdr: float = 0.1) -> Flags:
        """Name the rows that are outliers, such that few of those named are not.

        The procedure of Benjamini and Hochberg (1995) on the conformal p-values; Bates et al. (2023, theorem 2) show
        that it controls the false discovery rate on these too.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            New rows in data units.
        fdr : float, default=0.1
            False discovery rate: the expected share of normal rows among the rows named.

        Returns
        -------
        ndarray of shape (n_samples,)
            True for the rows named. A rate below the number of rows of X over that of calibration rows names hardly
            any: the p-values cannot be small enough.

        Raises
        ------
        ValueError
            If no rows were set aside for calibration, or `fdr` is not in (0, 1).
        """
        if not isinstance(fdr, Real) or not 0.0 < fdr < 1.0:
            raise ValueError(f"fdr must be a number between 0 and 1. Got {fdr!r} instead.")
        named: Flags = false_discovery_control(self.p_values(X)) <= fdr
        return named

    # -- reasons ---------------------------------------------------------------------------------------------------

    def explain(self, X: Any) -> Explanation:
        r"""Say what each cell adds to the score of its row.

        With normalised importance weights w over S draws z ~ q(z|x), a model's log-density is

        .. math:: \log p(x) = \sum_j E_w[\log p(x_j|z)] + E_w[\log p(z) - \log q(z|x)] - (\textstyle\sum w \log w +
           \log S).

        Of several models the terms are brought to the scale of the score: times the surprisal's secant from the model's
        median log-density to that of the row, times the model's part in the mean, w_m (t_m / t)^7 with t the mean.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units.

        Returns
        -------
        Explanation
            Named tuple of `shares` (n_samples, n_features), `latent` (n_samples,) and `expected_score`, in nats.
            ``shares.sum(axis=1) + latent`` is `score_samples`. A share is E_w[log p(x_j|z)] less its median over
            rows drawn from the models that keep within the training range (`bounds`), or from all: the most negative
            one names the column that makes the row odd. It is 0 where the cell is missing, and -log(n + 2) where it
            holds what fit did not see. For a frame, `shares` is a frame with the same columns.

        Warns
        -----
        UserWarning
            If a column that was constant in training holds another value, or most cells of a column hold levels that
            fit did not see.
        """
        explanation = self._explain(self._table(X))
        return explanation._replace(shares=frames.like(X, explanation.shares))

    def _explain(self, table: Table) -> Explanation:
        committee = self._committee
        return committee.explain(table, self._expected(committee))

    def _expected(self, committee: Committee) -> Expected:
        """What the terms of a score are on average: drawn anew only where the models or their draws are others."""
        asked = [(model.engine, model.n_draws) for model in committee.models]
        if self._known is None or self._known[0] != asked:
            self._known = asked, committee.expected(self._lifelike, seed=0)
        return self._known[1]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_known"}

    def complete(self, X: Any, *, n_cells: int = 1) -> Any:
        """Say what the models expected in place of the oddest cells.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows in data units.
        n_cells : int, default=1
            Cells of each row to replace: those with the lowest shares of `explain`. Missing cells are filled as well.

        Returns
        -------
        ndarray or data frame of shape (n_samples, n_features)
            The rows with those cells replaced by their expectation given the other cells, under the models that keep
            within the range of the training rows (`bounds`) if there are any; the others are as they were, and so are
            index and dtypes. A dtype of categories is given the levels that it lacks.

        Raises
        ------
        ValueError
            If `n_cells` is not an integer from 1 to the number of columns.

        Warns
        -----
        UserWarning
            If a column that was constant in training holds another value, or most cells of a column hold levels that
            fit did not see.
        """
        check_is_fitted(self)
        if not isinstance(n_cells, Integral) or not 1 <= n_cells <= self.n_features_in_:
            raise ValueError(
                f"n_cells must be an integer from 1 to the number of columns, {self.n_features_in_}. Got {n_cells!r} "
                f"instead."
            )
        table = self._table(X)
        shares = self._explain(table).shares
        blank = table.missing()
        np.put_along_axis(blank, np.argsort(shares, axis=1)[:, :n_cells], True, axis=1)
        blank[:, [column.is_left_out for column in self._models[0].schema.columns]] = False
        values = expectations(self._lifelike, table, COMPLETION_DRAWS, blank)
        return filled(self._lifelike[0], X, table, values, blank)

    @property
    def _lifelike(self) -> list[VAEModel]:
        """The models whose draws keep within the range of the training rows; all, if none does."""
        each = zip(self.estimators_, self._models, strict=True)
        return [model for member, model in each if member.bounds is not None] or self._models
