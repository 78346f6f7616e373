"""Whether drawn rows keep to the training rows: nearer to these than to others, or copies of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from skvae.metrics._rows import REAL, FloatArray, Rows, read, seed_of

MOST_ASKED = 1000  # drawn rows whose neighbours are looked for
CHUNK = 4096  # rows whose distances to those asked about are held at once


def nearness_to_training(
    X: Any, X_test: Any, X_drawn: Any, *, max_samples: int | None = MOST_ASKED, random_state: Any = None
) -> float:
    """Share of drawn rows that lie nearer to a training row than to any held-out row.

    A model that repeats its training rows, with a little noise on them, is found out by it where no row is a copy.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
        Real rows, those from which the model that drew was fitted.
    X_test : array-like or data frame of shape (n_test, n_features)
        Real rows that it did not see.
    X_drawn : array-like or data frame of shape (n_drawn, n_features)
        Drawn rows.
    max_samples : int, default=1000
        The most drawn rows to ask about; of more, so many are drawn. None takes all.
    random_state : int, RandomState instance or None, default=None
        Says which rows are taken.

    Returns
    -------
    float
        0.5 if the drawn rows are independent of both, more if training rows were learned by heart. The larger of the
        two sets of real rows is cut at random to the size of the other; a tie counts half. So copies of training rows
        have less than 1 where `X` is the larger one: about 0.625 if there are four training rows to a held-out one.

    Raises
    ------
    ValueError
        If the tables have different columns, or one has no row.
    TypeError
        If a column can be read as neither numbers, nor times, nor levels, or holds other things in the tables.

    See Also
    --------
    share_of_copies : Rows that equal a training row.

    Notes
    -----
    Squared distances add up the squared differences of the numbers, in units of the standard deviation in `X`, and 1
    for each level that differs. A missing number lies at the mean, and 1 is added where the other is not missing.
    Comparing the distances to training and held-out rows is the holdout test of [1]_.

    References
    ----------
    .. [1] M. Platzer and T. Reutterer (2021). Holdout-based empirical assessment of mixed-type synthetic data,
       Frontiers in Big Data 4:679939.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae.metrics import nearness_to_training
    >>> X = load_iris().data
    >>> nearness_to_training(X[::2], X[1::2], X[::2] + 0.001, random_state=0) > 0.9
    True
    """
    return of_nearness(read(X, X_test=X_test, X_drawn=X_drawn), max_samples, random_state)


def share_of_copies(X: Any, X_drawn: Any) -> float:
    """Share of drawn rows that stand among the training rows, all cells being equal.

    Compare it with the share of held-out rows that do: where a table has few columns of few levels, new rows equal old
    ones by chance.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
        Training rows.
    X_drawn : array-like or data frame of shape (n_drawn, n_features)
        Drawn rows.

    Returns
    -------
    float
        From 0 to 1; two missing cells are equal. Columns of text that only name rows are left out.

    Raises
    ------
    ValueError
        If the two have different columns, or one has no row.
    TypeError
        If a column can be read as neither numbers, nor times, nor levels, or holds other things in the two.

    See Also
    --------
    nearness_to_training : Rows that are near to a training row.

    Notes
    -----
    `NewRowSynthesis` of SDMetrics [1]_ takes a row for a copy whose numbers are within 1 % of a real row's; here they
    are equal.

    References
    ----------
    .. [1] SDMetrics, https://docs.sdv.dev/sdmetrics

    Examples
    --------
    >>> from skvae.metrics import share_of_copies
    >>> share_of_copies([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 5.0]])
    0.5
    """
    rows = read(X, X_drawn=X_drawn)
    return of_copies(rows, rows["X_drawn"])


def of_nearness(rows: Rows, max_samples: int | None, random_state: Any) -> float:
    """Share of the drawn rows that are nearer to the training rows."""
    rng = np.random.default_rng(seed_of(random_state))
    train, test, drawn = rows[REAL], rows["X_test"], rows["X_drawn"]
    size = min(len(train), len(test))
    asked = drawn[rng.permutation(len(drawn))[:max_samples]]
    mean, std = _moments(train)
    to_train, to_test = (
        _nearest(asked, table[rng.permutation(len(table))[:size]], rows.is_category, mean, std)
        for table in (train, test)
    )
    return float(np.mean(np.where(to_train == to_test, 0.5, to_train < to_test)))


def _moments(table: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of the observed cells of each column, 0 and 1 where there is none."""
    known = ~np.isnan(table)
    n = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, table, 0.0).sum(axis=0) / n
    std = np.sqrt((np.where(known, table - mean, 0.0) ** 2).sum(axis=0) / n)
    return mean, np.where(std > 0.0, std, 1.0)


def _nearest(
    asked: FloatArray, rows: FloatArray, is_category: NDArray[np.bool_], mean: FloatArray, std: FloatArray
) -> FloatArray:
    """Squared distance of each row asked about to the nearest of the rows."""
    place = [_places(table[:, ~is_category], mean[~is_category], std[~is_category]) for table in (asked, rows)]
    code = [np.where(np.isnan(table), -1.0, table)[:, is_category] for table in (asked, rows)]
    nearest = np.full(len(asked), np.inf)
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        squared = cdist(place[0], place[1][part], "sqeuclidean")
        for a, b in zip(code[0].T, code[1][part].T, strict=True):
            squared += a[:, None] != b
        nearest = np.minimum(nearest, squared.min(axis=1))
    return nearest


def _places(numbers: FloatArray, mean: FloatArray, std: FloatArray) -> FloatArray:
    """Numbers in units of their scale, 0 where missing, and beside them which are."""
    missing = np.isnan(numbers)
    places: FloatArray = np.hstack([np.where(missing, 0.0, (numbers - mean) / std), missing])
    return places


def of_copies(rows: Rows, other: FloatArray) -> float:
    """Share of the other rows that stand among the real ones."""
    known = {row.tobytes() for row in _comparable(rows[REAL])}
    return float(np.mean([row.tobytes() in known for row in _comparable(other)]))


def _comparable(table: FloatArray) -> FloatArray:
    """One pattern of bits per value: neither negative zeros nor several NaN."""
    return np.where(np.isnan(table), np.inf, table + 0.0)
