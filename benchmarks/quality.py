"""How like real rows synthetic ones are: distances of columns and pairs, what a classifier learns, and copies.

All functions take tables that an `Encoding` has made of frames: float64, categories as the numbers of their levels,
missing cells NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

BINS = 10  # equal-width, of a number beside a category: SDMetrics' ContingencySimilarity
FOLDS = 3
SAMPLE = 1000  # rows whose nearest neighbours are looked for


@dataclass(frozen=True)
class Encoding:
    """Frames to numbers, by the columns of the frame of real training rows."""

    levels: dict[str, pd.Index | None]  # None: a number
    ordered: tuple[bool, ...]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Encoding:
        """The encoding of a frame's columns."""
        ordered = tuple(isinstance(dtype, pd.CategoricalDtype) and bool(dtype.ordered) for dtype in frame.dtypes)
        return cls({name: levels_of(frame[name]) for name in frame}, ordered)

    def __call__(self, frame: pd.DataFrame) -> np.ndarray:
        """The table of a frame with the same columns; a level unknown here is a missing cell."""
        columns = [_encoded(frame[name], levels) for name, levels in self.levels.items()]
        return np.column_stack(columns)

    @property
    def is_category(self) -> np.ndarray:
        """Which columns are categories, booleans among them."""
        return np.array([levels is not None for levels in self.levels.values()])

    @property
    def is_nominal(self) -> np.ndarray:
        """Which of them have no order."""
        return self.is_category & ~np.array(self.ordered)


def levels_of(column: pd.Series) -> pd.Index | None:
    """The levels of a category or boolean; None for a number."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.categories
    return pd.Index([False, True]) if pd.api.types.is_bool_dtype(column) else None


def _encoded(column: pd.Series, levels: pd.Index | None) -> np.ndarray:
    if levels is None:
        return column.astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
    codes = levels.get_indexer(column.astype(object)).astype(np.float64)
    return np.where(codes < 0, np.nan, codes)


# -- columns and pairs -------------------------------------------------------------------------------------------------


def kolmogorov_smirnov(real: np.ndarray, other: np.ndarray) -> float:
    """Largest difference of two distribution functions; a missing cell counts as a value above all others."""
    real, other = (np.sort(np.where(np.isnan(values), np.inf, values)) for values in (real, other))
    points = np.concatenate([real, other])
    below, other_below = (np.searchsorted(values, points, side="right") / len(values) for values in (real, other))
    return float(np.abs(below - other_below).max())


def total_variation(real: np.ndarray, other: np.ndarray) -> float:
    """Half the summed difference of the shares of the levels, a missing cell being a level."""
    return _total_variation(*(np.where(np.isnan(values), -1, values).astype(int) + 1 for values in (real, other)))


def _total_variation(real: np.ndarray, other: np.ndarray) -> float:
    n_levels = max(real.max(), other.max()) + 1
    shares = [np.bincount(codes, minlength=n_levels) / len(codes) for codes in (real, other)]
    return 0.5 * float(np.abs(shares[0] - shares[1]).sum())


def shape_errors(real: np.ndarray, other: np.ndarray, is_category: np.ndarray) -> np.ndarray:
    """Per column: total variation of a category, Kolmogorov-Smirnov distance of a number."""
    distances = [total_variation if category else kolmogorov_smirnov for category in is_category]
    return np.array([distance(a, b) for distance, a, b in zip(distances, real.T, other.T, strict=True)])


def known_shape_errors(real: np.ndarray, other: np.ndarray, is_category: np.ndarray) -> np.ndarray:
    """The same among the cells that are not missing; 1 for a column that has none."""
    errors = []
    for a, b, category in zip(real.T, other.T, is_category, strict=True):
        a, b = a[~np.isnan(a)], b[~np.isnan(b)]
        distance = total_variation if category else kolmogorov_smirnov
        errors.append(distance(a, b) if len(a) and len(b) else float(len(a) != len(b)))
    return np.array(errors)


def trend_errors(real: np.ndarray, other: np.ndarray, is_category: np.ndarray) -> np.ndarray:
    """Per pair of columns, as in SDMetrics' CorrelationSimilarity and ContingencySimilarity.

    Two numbers: half the difference of Pearson's correlation, over rows where both are known; a correlation that the
    other rows lack, being constant, counts as 0, and a pair without one in the real rows is left out. Else the total
    variation of the table of counts, a number being cut at ten equal widths of its real range.
    """
    correlations, others = (np.nan_to_num(pd.DataFrame(t).corr().to_numpy(), nan=0.0) for t in (real, other))
    known = ~pd.DataFrame(real).corr().isna().to_numpy()
    codes, other_codes = _cut(real, real, is_category), _cut(other, real, is_category)
    errors = []
    for i, j in combinations(range(len(is_category)), 2):
        if is_category[i] or is_category[j]:
            width = 2 + int(max(codes[j].max(), other_codes[j].max()))
            errors.append(_total_variation(codes[i] * width + codes[j], other_codes[i] * width + other_codes[j]))
        elif known[i, j]:
            errors.append(0.5 * abs(correlations[i, j] - others[i, j]))
    return np.array(errors)


def _cut(table: np.ndarray, real: np.ndarray, is_category: np.ndarray) -> list[np.ndarray]:
    """Small non-negative numbers, 0 where a cell is missing."""
    return [
        np.where(np.isnan(column), -1, column if category else np.digitize(column, _inner_edges(like))).astype(int) + 1
        for column, like, category in zip(table.T, real.T, is_category, strict=True)
    ]


def _inner_edges(column: np.ndarray) -> np.ndarray:
    return np.histogram_bin_edges(column[~np.isnan(column)], BINS)[1:-1]


# -- what a model learns -----------------------------------------------------------------------------------------------


def downstream(
    train: np.ndarray, test: np.ndarray, target: int, is_category: np.ndarray, is_nominal: np.ndarray, seed: int
) -> float:
    """Score on `test` of gradient-boosted trees fitted on `train`.

    Of a category the area under the ROC curve, one against the rest, averaged over the levels in the test rows; a
    level that the training rows lack has 0.5. Of a number R2.
    """
    train, test = (table[~np.isnan(table[:, target])] for table in (train, test))
    X, X_test = np.delete(train, target, axis=1), np.delete(test, target, axis=1)
    y, y_test = train[:, target], test[:, target]
    options = {"categorical_features": np.delete(is_nominal, target), "early_stopping": False, "random_state": seed}
    if not is_category[target]:
        return float(r2_score(y_test, HistGradientBoostingRegressor(**options).fit(X, y).predict(X_test)))
    present = np.unique(y)
    probabilities = np.ones((len(y_test), 1))
    if len(present) > 1:
        probabilities = HistGradientBoostingClassifier(**options).fit(X, y).predict_proba(X_test)
    by_level = dict(zip(present, probabilities.T, strict=True))
    nothing = np.zeros(len(y_test))
    return float(np.mean([roc_auc_score(y_test == c, by_level.get(c, nothing)) for c in np.unique(y_test)]))


def detection(real: np.ndarray, other: np.ndarray, is_nominal: np.ndarray, seed: int) -> float:
    """Area under the ROC curve of gradient-boosted trees that tell the two apart, by 3-fold cross-validation."""
    X = np.concatenate([real, other])
    y = np.repeat([0, 1], [len(real), len(other)])
    model = HistGradientBoostingClassifier(categorical_features=is_nominal, early_stopping=False, random_state=seed)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    return float(roc_auc_score(y, cross_val_predict(model, X, y, cv=folds, method="predict_proba")[:, 1]))


# -- copies ------------------------------------------------------------------------------------------------------------


def share_nearer_to_train(
    train: np.ndarray, test: np.ndarray, other: np.ndarray, is_category: np.ndarray, seed: int
) -> float:
    """Share of the other rows whose nearest training row is nearer than their nearest held-out row.

    The two sets are cut to the same size, so 0.5 is what rows independent of both would have; for the same reason mere
    copies of training rows have less than 1 (0.625 where four in five rows are training rows). At most `SAMPLE` rows
    are asked; a tie counts half. Squared distances add up the squared differences of the numbers in units of the
    training rows' standard deviation, and 1 for every category, or missing cell, that differs.
    """
    rng = np.random.default_rng(seed)
    size = min(len(train), len(test))
    n_levels = np.nan_to_num(np.fmax.reduce(np.concatenate([train, test, other])), nan=0.0) + 1
    to_places = _Places.of(train, is_category, n_levels)
    asked = to_places(other[rng.permutation(len(other))[:SAMPLE]])
    nearest = [
        cdist(asked, to_places(rows[rng.permutation(len(rows))[:size]]), "sqeuclidean").min(axis=1)
        for rows in (train, test)
    ]
    return float(np.mean(np.where(nearest[0] == nearest[1], 0.5, nearest[0] < nearest[1])))


@dataclass(frozen=True)
class _Places:
    """Rows to points whose squared Euclidean distance is that of `share_nearer_to_train`."""

    is_category: np.ndarray
    n_levels: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, train: np.ndarray, is_category: np.ndarray, n_levels: np.ndarray) -> _Places:
        frame = pd.DataFrame(train)  # skips missing cells
        mean, std = frame.mean().fillna(0.0).to_numpy(), frame.std(ddof=0).fillna(0.0).to_numpy()
        return cls(is_category, n_levels, mean, np.where(std > 0.0, std, 1.0))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        columns = []
        for i, column in enumerate(rows.T):
            missing = np.isnan(column)
            if self.is_category[i]:
                levels = np.arange(-1, self.n_levels[i])  # -1: missing
                columns.append(np.sqrt(0.5) * (np.where(missing, -1, column)[:, None] == levels))
            else:
                columns.append(np.where(missing, 0.0, (column - self.mean[i]) / self.std[i])[:, None])
                columns.append(missing[:, None])
        return np.hstack(columns).astype(np.float64)


def share_of_copies(rows: np.ndarray, train: np.ndarray) -> float:
    """Share of the rows that stand among the training rows, all cells being equal."""
    known = {row.tobytes() for row in _comparable(train)}
    return float(np.mean([row.tobytes() in known for row in _comparable(rows)]))


def _comparable(rows: np.ndarray) -> np.ndarray:
    """One pattern of bits per value: neither negative zeros nor several NaN."""
    return np.where(np.isnan(rows), np.inf, rows + 0.0)
