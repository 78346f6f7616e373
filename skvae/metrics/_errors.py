"""How far the columns, and the pairs of columns, of drawn rows are from those of the real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state

from skvae._table import frames
from skvae.metrics._rows import REAL, FloatArray, Rows, read

BINS = 10  # equal-width, of a number beside levels
SCARCE = 4  # cells of a table of counts per row, beyond which only those that occur are counted
FLAT = 1e-12  # of its own variance: a column that varies less among the rows of a pair is constant there

Codes = NDArray[np.intp]


def column_errors(X: Any, X_drawn: Any, *, observed: bool = False) -> Any:
    """How far the distribution of each column of drawn rows is from that of the real rows.

    Of numbers, dates and durations it is the Kolmogorov-Smirnov distance, the largest difference of the two
    distribution functions. Of categories, text and truth values it is the total variation distance, half the summed
    difference of the shares of the levels. A missing cell counts as one more value, above all numbers or beside all
    levels, so that a wrong share of missing cells is an error, too.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
        Real rows; their dtypes say what each column is.
    X_drawn : array-like or data frame of shape (n_drawn, n_features)
        Rows to compare with them: as many as there are or not, in the same container or another. The columns of two
        frames are matched by name, else by position.
    observed : bool, default=False
        Whether to compare the observed cells only. A column that has some in one of the two only has error 1.

    Returns
    -------
    pandas.Series of shape (n_features,)
        The error of each column, from 0 (the same distribution) to 1 (nothing in common). Columns of text that only
        name rows, which the estimators leave out, are left out here as well.

    Raises
    ------
    ValueError
        If the two have different columns, or one has no row.
    TypeError
        If a column can be read as neither numbers, nor times, nor levels, or holds other things in the two.

    See Also
    --------
    noise_floor : What these errors are for real rows drawn anew.
    pair_errors : The same for pairs of columns.

    Notes
    -----
    On columns without missing cells these are 1 minus `KSComplement` and 1 minus `TVComplement` of SDMetrics [1]_,
    which leaves missing cells aside, as `observed` does.

    References
    ----------
    .. [1] SDMetrics, https://docs.sdv.dev/sdmetrics

    Examples
    --------
    >>> import pandas as pd
    >>> from skvae.metrics import column_errors
    >>> X = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "town": ["Rome", "Oslo", "Rome", "Oslo"]})
    >>> X_drawn = pd.DataFrame({"size": [1.0, 2.0, 3.0, None], "town": ["Rome", "Rome", "Rome", "Oslo"]})
    >>> column_errors(X, X_drawn).to_dict()
    {'size': 0.25, 'town': 0.25}
    """
    rows = read(X, X_drawn=X_drawn)
    return frames.named(of_columns(rows, rows["X_drawn"], observed=observed), rows.names, "error")


def pair_errors(X: Any, X_drawn: Any) -> Any:
    """How far each pair of columns of drawn rows is from that of the real rows.

    Of two columns of numbers, dates or durations it is half the difference of Pearson's correlation, over the rows in
    which both are observed. Else it is the total variation distance of the two tables of counts, where numbers are cut
    at ten equal widths of their range in the real rows and a missing cell is one more level.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
        Real rows; their dtypes say what each column is.
    X_drawn : array-like or data frame of shape (n_drawn, n_features)
        Rows to compare with them: as many as there are or not, in the same container or another. The columns of two
        frames are matched by name, else by position.

    Returns
    -------
    pandas.DataFrame of shape (n_features, n_features)
        The error of each pair, from 0 to 1; symmetric. NaN on the diagonal, and for pairs of numbers that have no
        correlation in the real rows, as one of them is constant. A correlation that only the drawn rows lack counts as
        0. Columns of text that only name rows, which the estimators leave out, are left out here as well.

    Raises
    ------
    ValueError
        If the two have different columns, or one has no row.
    TypeError
        If a column can be read as neither numbers, nor times, nor levels, or holds other things in the two.

    See Also
    --------
    column_errors : The same for single columns.
    noise_floor : What these errors are for real rows drawn anew.

    Notes
    -----
    These are 1 minus `CorrelationSimilarity` and 1 minus `ContingencySimilarity` of SDMetrics [1]_, but for constant
    columns, of which it has no correlation.

    References
    ----------
    .. [1] SDMetrics, https://docs.sdv.dev/sdmetrics

    Examples
    --------
    >>> import numpy as np
    >>> from skvae.metrics import pair_errors
    >>> x = np.linspace(-1.0, 1.0, 5)
    >>> pair_errors(np.column_stack([x, x]), np.column_stack([x, -x])).round(3).loc[0, 1]
    np.float64(1.0)
    """
    rows = read(X, X_drawn=X_drawn)
    return frames.named(of_pairs(rows, rows["X_drawn"]), rows.names, "error")


def noise_floor(X: Any, n_drawn: int | None = None, *, n_redraws: int = 5, random_state: Any = None) -> Bunch:
    """What is left of the errors of columns and pairs where rows are only drawn anew from the real ones.

    No model can be expected to come below it by more than chance: it is what the errors of a bootstrap sample are.
    Even rows of the true distribution are further off, as the real rows are a sample of it as well: in the mean by a
    factor of about sqrt(1 + n_drawn / n_samples).

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
        Real rows.
    n_drawn : int, default=None
        How many rows to draw with replacement; None draws as many as there are.
    n_redraws : int, default=5
        How often; the errors are averaged.
    random_state : int, RandomState instance or None, default=None
        Says which rows are drawn.

    Returns
    -------
    Bunch
        `columns`, a pandas.Series as of `column_errors`, and `pairs`, a pandas.DataFrame as of `pair_errors`.

    Raises
    ------
    ValueError
        If there are no rows, or `n_drawn` or `n_redraws` is less than 1.
    TypeError
        If a column can be read as neither numbers, nor times, nor levels.

    See Also
    --------
    column_errors : The errors of drawn rows.
    pair_errors : The same for pairs of columns.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae.metrics import noise_floor
    >>> floor = noise_floor(load_iris(as_frame=True).data, random_state=0)
    >>> bool((floor.columns < 0.15).all())
    True
    """
    if min(n_redraws, 1 if n_drawn is None else n_drawn) < 1:
        raise ValueError(f"n_drawn and n_redraws must be at least 1. Got {n_drawn} and {n_redraws} instead.")
    rows = read(X)
    columns, pairs = floors(rows, n_drawn or len(rows[REAL]), n_redraws, random_state)
    return Bunch(columns=frames.named(columns, rows.names, "floor"), pairs=frames.named(pairs, rows.names, "floor"))


def floors(rows: Rows, n: int, n_redraws: int, random_state: Any) -> tuple[FloatArray, FloatArray]:
    """Errors of columns (p,) and pairs (p, p) of n real rows drawn with replacement, means over redraws."""
    stream, real = check_random_state(random_state), rows[REAL]
    redraws = (real[stream.randint(len(real), size=n)] for _ in range(n_redraws))
    columns, pairs = zip(*((of_columns(rows, table), of_pairs(rows, table)) for table in redraws), strict=True)
    return np.mean(columns, axis=0), np.mean(pairs, axis=0)


# -- columns -----------------------------------------------------------------------------------------------------------


def of_columns(rows: Rows, other: FloatArray, *, observed: bool = False) -> FloatArray:
    """The errors of the columns of other rows, shape (p,)."""
    distances = [total_variation if category else kolmogorov_smirnov for category in rows.is_category]
    of_one = [_among_observed(distance) if observed else distance for distance in distances]
    return np.array([distance(a, b) for distance, a, b in zip(of_one, rows[REAL].T, other.T, strict=True)])


def _among_observed(distance: Any) -> Any:
    def of_observed(real: FloatArray, other: FloatArray) -> float:
        real, other = real[~np.isnan(real)], other[~np.isnan(other)]
        both = len(real) and len(other)
        return float(distance(real, other)) if both else float(len(real) != len(other))

    return of_observed


def kolmogorov_smirnov(real: FloatArray, other: FloatArray) -> float:
    """Largest difference of two distribution functions; a missing cell counts as a value above all others."""
    real, other = (np.sort(np.where(np.isnan(values), np.inf, values)) for values in (real, other))
    points = np.concatenate([real, other])
    below, other_below = (np.searchsorted(values, points, side="right") / len(values) for values in (real, other))
    return float(np.abs(below - other_below).max())


def total_variation(real: FloatArray, other: FloatArray) -> float:
    """Half the summed difference of the shares of the levels, a missing cell being a level."""
    return _of_codes(*(np.where(np.isnan(values), -1, values).astype(np.intp) + 1 for values in (real, other)))


def _of_codes(real: Codes, other: Codes) -> float:
    n_levels = int(max(real.max(), other.max())) + 1
    if n_levels > SCARCE * (len(real) + len(other)):
        present, codes = np.unique(np.concatenate([real, other]), return_inverse=True)
        real, other, n_levels = codes[: len(real)], codes[len(real) :], len(present)
    shares = [np.bincount(codes, minlength=n_levels) / len(codes) for codes in (real, other)]
    return 0.5 * float(np.abs(shares[0] - shares[1]).sum())


# -- pairs -------------------------------------------------------------------------------------------------------------


def of_pairs(rows: Rows, other: FloatArray) -> FloatArray:
    """The errors of the pairs of columns of other rows, shape (p, p)."""
    real, is_category = rows[REAL], rows.is_category
    out = np.full((len(is_category),) * 2, np.nan)
    numbers = np.flatnonzero(~is_category)
    correlation = correlations(real[:, numbers])
    drawn = np.nan_to_num(correlations(other[:, numbers]), nan=0.0)
    out[np.ix_(numbers, numbers)] = 0.5 * np.abs(correlation - drawn)
    codes, other_codes = (_cut(table, real, is_category) for table in (real, other))
    for i, j in _mixed_pairs(is_category):
        width = 1 + int(max(codes[j].max(), other_codes[j].max()))
        out[i, j] = out[j, i] = _of_codes(codes[i] * width + codes[j], other_codes[i] * width + other_codes[j])
    np.fill_diagonal(out, np.nan)
    return out


def _mixed_pairs(is_category: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """The pairs of columns that are not two numbers."""
    pairs = combinations(range(len(is_category)), 2)
    return ((i, j) for i, j in pairs if is_category[i] or is_category[j])


def correlations(table: FloatArray) -> FloatArray:
    """Pearson's correlation of each pair of columns over the rows that have both; NaN where one is constant there."""
    known = ~np.isnan(table)
    n = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, table, 0.0)
    filled = filled / np.maximum(np.abs(filled).max(axis=0), np.finfo(np.float64).tiny)  # so that no square overflows
    centred = np.where(known, filled - filled.sum(axis=0) / n, 0.0)
    spread = np.sqrt((centred**2).sum(axis=0) / n)
    scaled = centred / np.where(spread > 0.0, spread, 1.0)
    mask = known.astype(np.float64)
    both = np.maximum(mask.T @ mask, 1.0)
    mean = scaled.T @ mask / both  # [i, j]: of column i where j is known
    variance = (scaled**2).T @ mask / both - mean**2
    covariance = scaled.T @ scaled / both - mean * mean.T
    varies = (variance > FLAT) & _vary(table)[:, None]
    variance = np.where(varies & varies.T, variance, np.nan)
    correlation: FloatArray = np.clip(covariance / np.sqrt(variance * variance.T), -1.0, 1.0)
    return correlation


def _vary(table: FloatArray) -> NDArray[np.bool_]:
    """Which columns hold more than one number."""
    least, greatest = (ends(table, axis=0) for ends in (np.fmin.reduce, np.fmax.reduce))
    varies: NDArray[np.bool_] = greatest > least
    return varies


def _cut(table: FloatArray, real: FloatArray, is_category: NDArray[np.bool_]) -> Sequence[Codes]:
    """Small non-negative numbers, 0 where a cell is missing."""
    return [
        np.where(np.isnan(column), -1, column if category else np.digitize(column, inner_edges(like))).astype(np.intp)
        + 1
        for column, like, category in zip(table.T, real.T, is_category, strict=True)
    ]


def inner_edges(column: FloatArray) -> FloatArray:
    """Where a column of numbers is cut."""
    low, high = np.fmin.reduce(column, initial=np.inf), np.fmax.reduce(column, initial=-np.inf)
    if not low < high:
        low, high = (low - 0.5, low + 0.5) if low == high else (0.0, 1.0)
    return np.linspace(low, high, BINS + 1)[1:-1]
