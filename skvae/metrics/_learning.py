"""What models learn from drawn rows, and whether they tell these from real ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from skvae.metrics._rows import REAL, FloatArray, Rows, read, seed_of, some

FOLDS = 3
MOST_TRAINED = 50_000  # rows that models are trained on
MOST_LEVELS = 255  # that the trees tell apart in a column; of more the rarest share a code


class Utility(NamedTuple):
    """What models learn from drawn rows, and from the real ones.

    Attributes
    ----------
    drawn, real : float
        Score on held-out rows of the model that was trained on drawn rows, and of the one trained on real rows.
    scoring : str
        "roc_auc" of levels, "r2" of numbers.
    """

    drawn: float
    real: float
    scoring: str


def utility_scores(
    X: Any, X_test: Any, X_drawn: Any, target: Any, *, max_samples: int | None = MOST_TRAINED, random_state: Any = None
) -> Utility:
    """What a model learns from drawn rows, beside what it learns from the real ones.

    Gradient-boosted trees are trained to predict a column from all others, once on drawn and once on real rows, and
    scored on real rows that neither has seen [1]_. The difference is what the drawn rows lack.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
        Real rows, those from which the model that drew was fitted.
    X_test : array-like or data frame of shape (n_test, n_features)
        Real rows that it did not see.
    X_drawn : array-like or data frame of shape (n_drawn, n_features)
        Drawn rows.
    target : str or int
        The column to predict: its name, or its position in an array.
    max_samples : int, default=50_000
        The most rows to train on; of more, so many are drawn. None takes all.
    random_state : int, RandomState instance or None, default=None
        Seed of the trees, and of the choice of rows.

    Returns
    -------
    Utility
        A named tuple: the scores `drawn` and `real`, and `scoring`, which says what they are. Of levels they are the
        area under the ROC curve, one level against the rest, averaged over the levels in `X_test`; a level that the
        training rows lack has 0.5. Of numbers, dates and durations they are R2. Rows whose target is missing are left
        out.

    Raises
    ------
    ValueError
        If there is no such target, it is one of the columns of text that only name rows, or too few of its cells are
        observed; if the tables have different columns, or one has no row.
    TypeError
        If a column can be read as neither numbers, nor times, nor levels, or holds other things in the tables.

    See Also
    --------
    detection_auc : Whether a model tells drawn rows from real ones.

    Notes
    -----
    The trees are `HistGradientBoostingClassifier` and `HistGradientBoostingRegressor` with the defaults of
    scikit-learn, without early stopping. Of a column of more than 255 levels without an order the rarest share a code.

    References
    ----------
    .. [1] C. Esteban, S. L. Hyland and G. Rätsch (2017). Real-valued (medical) time series generation with recurrent
       conditional GANs, arXiv:1706.02633, section 4.3 ("train on synthetic, test on real").

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae.metrics import utility_scores
    >>> X = load_iris(as_frame=True).frame.astype({"target": "category"})
    >>> utility_scores(X[::2], X[1::2], X[::2], "target", random_state=0).real > 0.9
    True
    """
    rows = read(X, X_test=X_test, X_drawn=X_drawn)
    return of_target(rows, place_of(rows, target), max_samples, random_state)


def detection_auc(X: Any, X_drawn: Any, *, max_samples: int | None = MOST_TRAINED, random_state: Any = None) -> float:
    """How well a model tells drawn rows from real ones.

    Gradient-boosted trees are trained to tell the two apart, in 3-fold cross-validation [1]_.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
        Real rows.
    X_drawn : array-like or data frame of shape (n_drawn, n_features)
        Drawn rows.
    max_samples : int, default=50_000
        The most rows of each to take; of more, so many are drawn. None takes all.
    random_state : int, RandomState instance or None, default=None
        Seed of the trees, of the folds, and of the choice of rows.

    Returns
    -------
    float
        The area under the ROC curve of rows that were held out: 0.5 where they cannot be told apart, 1 where always.
        Copies of real rows have less than 0.5, as a row and its copy in different folds are told apart the wrong way.

    Raises
    ------
    ValueError
        If one of the two has fewer than 3 rows, or they have different columns.
    TypeError
        If a column can be read as neither numbers, nor times, nor levels, or holds other things in the two.

    See Also
    --------
    utility_scores : What a model learns from drawn rows.

    Notes
    -----
    Unlike `LogisticDetection` and `SVCDetection` of SDMetrics [2]_ it is no linear model or support vector machine of
    one-hot columns without missing cells: trees see interactions, and a missing cell is a value to them.

    References
    ----------
    .. [1] D. Lopez-Paz and M. Oquab (2017). Revisiting classifier two-sample tests, ICLR, arXiv:1610.06545.
    .. [2] SDMetrics, https://docs.sdv.dev/sdmetrics

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae.metrics import detection_auc
    >>> X = load_iris().data
    >>> detection_auc(X, X + 10.0, random_state=0) > 0.99
    True
    """
    return of_detection(read(X, X_drawn=X_drawn), max_samples, random_state)


def of_target(rows: Rows, target: int, max_samples: int | None, random_state: Any) -> Utility:
    """The utility of the drawn rows for the column at that place."""
    seed = seed_of(random_state)
    rng = np.random.default_rng(seed)
    used = {name: table[~np.isnan(table[:, target])] for name, table in rows.tables.items()}
    is_category, name = rows.is_category[target], rows.names[target]
    for table, observed in used.items():
        if len(observed) < 2:
            raise ValueError(f"{table} has {len(observed)} rows in which {name!r} is observed; at least 2 are needed.")
    if is_category and len(np.unique(used["X_test"][:, target])) < 2:
        raise ValueError(f"All rows of X_test have the same level of {name!r}: pass rows with others, too.")
    train = {name: some(used[name], max_samples, rng) for name in (REAL, "X_drawn")}
    drawn, real = (_score(rows, train[name], used["X_test"], target, seed) for name in ("X_drawn", REAL))
    return Utility(drawn, real, "roc_auc" if is_category else "r2")


def of_detection(rows: Rows, max_samples: int | None, random_state: Any) -> float:
    """The area under the ROC curve of telling drawn rows from real ones."""
    seed = seed_of(random_state)
    rng = np.random.default_rng(seed)
    real, drawn = (some(rows[name], max_samples, rng) for name in (REAL, "X_drawn"))
    if min(len(real), len(drawn)) < FOLDS:
        raise ValueError(f"Detection needs {FOLDS} rows of each. Got {len(real)} of X and {len(drawn)} of X_drawn.")
    table = _pooled(np.concatenate([real, drawn]), rows.is_nominal)
    y = np.repeat([0, 1], [len(real), len(drawn)])
    model = HistGradientBoostingClassifier(categorical_features=rows.is_nominal, **_options(seed))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return float(roc_auc_score(y, cross_val_predict(model, table, y, cv=folds, method="predict_proba")[:, 1]))


def place_of(rows: Rows, target: Any) -> int:
    """Where the column to predict stands."""
    if target in rows.left_out:
        raise ValueError(
            f"The target {target!r} is text that only names rows: hardly a value repeats. Choose another column."
        )
    if target not in rows.names:
        raise ValueError(f"target={target!r} is no column of X: choose one of {list(rows.names)!r}.")
    return list(rows.names).index(target)


def _options(seed: int) -> dict[str, Any]:
    return {"early_stopping": False, "random_state": seed}


def _score(rows: Rows, train: FloatArray, test: FloatArray, target: int, seed: int) -> float:
    """Score on `test` of gradient-boosted trees fitted on `train`."""
    nominal = np.delete(rows.is_nominal, target)
    both = _pooled(np.delete(np.concatenate([train, test]), target, axis=1), nominal)
    X, X_test = both[: len(train)], both[len(train) :]
    y, y_test = train[:, target], test[:, target]
    options = {"categorical_features": nominal, **_options(seed)}
    if not rows.is_category[target]:
        return float(r2_score(y_test, HistGradientBoostingRegressor(**options).fit(X, y).predict(X_test)))
    present = np.unique(y)
    probabilities = np.ones((len(y_test), 1))
    if len(present) > 1:
        probabilities = HistGradientBoostingClassifier(**options).fit(X, y).predict_proba(X_test)
    by_level = dict(zip(present, probabilities.T, strict=True))
    nothing = np.zeros(len(y_test))
    return float(np.mean([roc_auc_score(y_test == c, by_level.get(c, nothing)) for c in np.unique(y_test)]))


def _pooled(table: FloatArray, is_nominal: NDArray[np.bool_]) -> FloatArray:
    """The same with at most MOST_LEVELS codes in each column of levels without an order."""
    crowded = [j for j in np.flatnonzero(is_nominal) if np.fmax.reduce(table[:, j], initial=0.0) >= MOST_LEVELS]
    if not crowded:
        return table
    table = table.copy()
    for j in crowded:
        known = ~np.isnan(table[:, j])
        values, codes, counts = np.unique(table[known, j], return_inverse=True, return_counts=True)
        rank = np.empty(len(values))
        rank[np.argsort(-counts, kind="stable")] = np.arange(len(values))
        table[known, j] = np.minimum(rank, MOST_LEVELS - 1)[codes]
    return table
