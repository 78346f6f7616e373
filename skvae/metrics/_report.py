"""All measures of drawn rows at once, for people."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from skvae._table import frames
from skvae.metrics._errors import floors, of_columns, of_pairs
from skvae.metrics._learning import MOST_TRAINED, of_detection, of_target, place_of
from skvae.metrics._nearness import MOST_ASKED, of_copies, of_nearness
from skvae.metrics._rows import REAL, FloatArray, Rows, read, seed_of

WORST = 10  # columns that are printed
SCORES = {"roc_auc": "ROC AUC", "r2": "R2"}


Line = tuple[float, float, str]
LINE = ("drawn", "reference", "reference_is")  # a measure of the drawn rows, what to hold it against, what that is


@dataclass(frozen=True, repr=False)
class SyntheticReport:
    """What is measured of drawn rows, as `synthetic_report` answers it. Printed, it is a table.

    Attributes
    ----------
    summary : pandas.DataFrame
        A row for each measure: `drawn`, its value for the drawn rows; `reference`, what to hold it against; and
        `reference_is`, what that is.
    columns : pandas.DataFrame
        A row for each column, the worst first: `error` and `floor`, as of `column_errors` and `noise_floor`;
        `observed_error`, that of the observed cells; `missing` and `missing_drawn`, shares of the cells.
    pairs, pair_floors : pandas.DataFrame of shape (n_features, n_features)
        The errors of pairs of columns, as of `pair_errors`, and what they are for real rows drawn anew.
    left_out : list
        Names of the columns of text that only name rows.
    """

    summary: Any
    columns: Any
    pairs: Any
    pair_floors: Any
    left_out: Sequence[Hashable]

    def __repr__(self) -> str:
        """The summary, and the worst columns."""
        more = len(self.columns) - WORST
        worst = f"\n\nThe {WORST} worst of {len(self.columns)} columns:" if more > 0 else "\n\nColumns:"
        left_out = f"\n\nLeft out: {', '.join(map(str, self.left_out))}" if self.left_out else ""
        return f"{_rounded(self.summary)}{worst}\n{_rounded(self.columns.head(WORST))}{left_out}"

    def _repr_html_(self) -> str:
        return "".join(_rounded(table, html=True) for table in (self.summary, self.columns.head(WORST)))


def synthetic_report(
    X: Any, X_drawn: Any, *, X_test: Any = None, target: Any = None, n_redraws: int = 5, random_state: Any = None
) -> SyntheticReport:
    """Measure drawn rows by all that this module has.

    Each number stands beside one to hold it against: what real rows drawn anew have, what a model that is trained on
    real rows scores, or what chance would give.

    Parameters
    ----------
    X : array-like or data frame of shape (n_samples, n_features)
        Real rows, those from which the model that drew was fitted.
    X_drawn : array-like or data frame of shape (n_drawn, n_features)
        Drawn rows.
    X_test : array-like or data frame of shape (n_test, n_features), default=None
        Real rows that the model did not see. Without them neither `utility_scores` nor `nearness_to_training` are in
        the report, and nothing says how many copies there are by chance.
    target : str or int, default=None
        The column that `utility_scores` predicts; needs `X_test`.
    n_redraws : int, default=5
        How often real rows are drawn anew for the noise floor.
    random_state : int, RandomState instance or None, default=None
        Seed of all that is drawn.

    Returns
    -------
    SyntheticReport
        Tables: `summary`, `columns`, `pairs`, `pair_floors`.

    Raises
    ------
    ValueError
        If the tables have different columns, or too few rows; if `target` is no column, or given without `X_test`.
    TypeError
        If a column can be read as neither numbers, nor times, nor levels, or holds other things in the tables.

    See Also
    --------
    column_errors : How far columns are off.
    pair_errors : How far pairs of columns are off.
    noise_floor : What these errors are for real rows drawn anew.
    utility_scores : What a model learns from drawn rows.
    detection_auc : Whether a model tells drawn rows from real ones.
    nearness_to_training : Whether training rows were learned by heart.
    share_of_copies : Rows that equal a training row.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae.metrics import synthetic_report
    >>> X = load_iris(as_frame=True).data
    >>> vae = VAETransformer(n_components=2, max_iter=5, early_stopping=False, random_state=0).fit(X[::2])
    >>> report = synthetic_report(X[::2], vae.sample(75, random_state=0), X_test=X[1::2], random_state=0)
    >>> list(report.summary.index)
    ['column error', 'worst column error', 'pair error', 'detection AUC', 'nearness to training', 'copies']
    """
    if target is not None and X_test is None:
        raise ValueError("target needs X_test, rows on which to score what was learned. Pass both, or neither.")
    others = {"X_drawn": X_drawn} if X_test is None else {"X_drawn": X_drawn, "X_test": X_test}
    rows, seed = read(X, **others), seed_of(random_state)
    place = None if target is None else place_of(rows, target)
    errors, floor = _Errors.of(rows), _Errors(*floors(rows, len(rows["X_drawn"]), n_redraws, seed))
    lines = {**_lines_of_errors(errors, floor), **_lines_of_rows(rows, place, seed)}
    return SyntheticReport(
        frames.tabled(dict(zip(LINE, zip(*lines.values(), strict=True), strict=True)), list(lines), "measure"),
        _columns(rows, errors, floor).sort_values("error", ascending=False, kind="stable"),
        frames.named(errors.pairs, rows.names, "error"),
        frames.named(floor.pairs, rows.names, "floor"),
        rows.left_out,
    )


class _Errors(NamedTuple):
    """Errors of columns (p,) and of pairs (p, p)."""

    columns: FloatArray
    pairs: FloatArray

    @classmethod
    def of(cls, rows: Rows) -> _Errors:
        """Those of the drawn rows."""
        return cls(of_columns(rows, rows["X_drawn"]), of_pairs(rows, rows["X_drawn"]))

    def measures(self) -> dict[str, float]:
        """What they come to."""
        pairs = self.pairs[~np.isnan(self.pairs)]
        return {
            "column error": float(self.columns.mean()),
            "worst column error": float(self.columns.max()),
            "pair error": float(pairs.mean()) if len(pairs) else np.nan,
        }


def _lines_of_errors(errors: _Errors, floor: _Errors) -> dict[str, Line]:
    expected = floor.measures()
    return {name: (value, expected[name], "real rows drawn anew") for name, value in errors.measures().items()}


def _lines_of_rows(rows: Rows, target: int | None, seed: int) -> dict[str, Line]:
    """The measures of whole rows, as far as there are held-out rows to compare with."""
    lines = {"detection AUC": (of_detection(rows, MOST_TRAINED, seed), 0.5, "not to be told apart")}
    if target is not None:
        utility = of_target(rows, target, MOST_TRAINED, seed)
        lines[f"utility, {SCORES[utility.scoring]}"] = (utility.drawn, utility.real, "trained on real rows")
    chance, of_chance = np.nan, "held-out rows (none given)"
    if "X_test" in rows.tables:
        chance, of_chance = of_copies(rows, rows["X_test"]), "held-out rows"
        nearness = of_nearness(rows, MOST_ASKED, seed)
        lines["nearness to training"] = (nearness, 0.5, "as near to held-out rows")
    return lines | {"copies": (of_copies(rows, rows["X_drawn"]), chance, of_chance)}


def _columns(rows: Rows, errors: _Errors, floor: _Errors) -> Any:
    """The table of the columns."""
    facts = {
        "error": errors.columns,
        "floor": floor.columns,
        "observed_error": of_columns(rows, rows["X_drawn"], observed=True),
        "missing": np.isnan(rows[REAL]).mean(axis=0),
        "missing_drawn": np.isnan(rows["X_drawn"]).mean(axis=0),
    }
    return frames.tabled(facts, rows.names, "column")


def _rounded(table: Any, *, html: bool = False) -> str:
    rounded = table.round(3)
    return str(rounded.to_html(na_rep="") if html else rounded.to_string(na_rep=""))
