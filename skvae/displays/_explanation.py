"""The score of one row, column by column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skvae._sklearn import _safe_indexing
from skvae.displays._drawing import (
    COLOURS,
    FloatArray,
    axes_of,
    columns_of,
    is_number,
    last_step,
    numbers,
    shortened,
    signed,
    title_of,
)

LONGEST_LABEL = 40
ROOM = 0.19  # inches per character, in axes that are yet to make room for their labels


@dataclass(eq=False, repr=False)
class ExplanationDisplay:
    """What each column adds to the score of one row, as a waterfall.

    It starts at the score that is expected of a row, goes down by what makes this one odd and up by what is more normal
    than expected, and ends at the row's own score.

    Parameters
    ----------
    values : sequence of shape (n_features,)
        The row: numbers in data units, and levels; None or NaN marks a missing cell.
    shares : ndarray of shape (n_features,)
        What each cell adds to the score, in nats.
    latent : float
        The rest of the score: it is ``shares.sum() + latent``.
    expected_score : float
        Median score of rows that the models draw.
    feature_names : sequence of str
        Names of the columns.
    offset : float, default=None
        The threshold below which a row is an outlier.
    name : str, default=None
        Title of the picture.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    bars_ : matplotlib BarContainer
        From top to bottom: the columns by the size of their shares, the sum of those for which there is no room, and
        the latent space, which is ``latent - expected_score``.
    ends_ : matplotlib Line2D
        The expected score and the row's own.
    line_ : matplotlib Line2D or None
        The threshold, where it is in sight.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAEOutlierDetector
    >>> from skvae.displays import ExplanationDisplay
    >>> X = load_iris(as_frame=True).data
    >>> X.iloc[7, 1] = 9.0
    >>> detector = VAEOutlierDetector(random_state=0).fit(X)
    >>> display = ExplanationDisplay.from_estimator(detector, X, row=7)
    >>> display.ax_.get_yticklabels()[1].get_text()
    'sepal width (cm) = 9'
    """

    values: Sequence[Any]
    shares: FloatArray
    latent: float
    expected_score: float
    feature_names: Sequence[str]
    offset: float | None = None
    name: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        row: int = 0,
        feature_names: Sequence[str] | None = None,
        max_display: int = 10,
        ax: Any = None,
        name: str | None = None,
        **bar_kwargs: Any,
    ) -> Self:
        """Explain the score of one row and draw it.

        Parameters
        ----------
        estimator : VAEOutlierDetector or a Pipeline that ends in one
            Fitted. With a Pipeline, the columns and their values are those that its last step sees.
        X : array-like or data frame of shape (n_samples, n_features)
            Rows.
        row : int, default=0
            Position of the row in X, counted from 0.
        feature_names : sequence of str, default=None
            Names of the columns; None takes those of X or of the rows of fit.
        max_display : int, default=10
            The most columns to draw; the others are summed.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Title of the picture; None takes the name of the (last) estimator's class and the row's position.
        **bar_kwargs
            Passed to ``Axes.barh``.

        Returns
        -------
        ExplanationDisplay
            Drawn.

        Raises
        ------
        TypeError
            If the estimator cannot explain its scores.
        ValueError
            If X has no such row, there is not one name per column, or `max_display` is less than 1.
        """
        model = last_step(estimator)
        check_is_fitted(model)
        if not hasattr(model, "explain"):
            raise TypeError(
                f"ExplanationDisplay draws a VAEOutlierDetector or a Pipeline that ends in one. "
                f"Got {type(model).__name__}."
            )
        rows = _row(X, row)
        if isinstance(estimator, Pipeline) and len(estimator) > 1:
            rows = estimator[:-1].transform(rows)
        shares, latent, expected_score = model.explain(rows)
        names = _names(model, rows, feature_names)
        title = title_of(name, model) if name is not None else f"{title_of(None, model)}, row {row}"
        own = ([value for (value,) in columns_of(rows)], numbers(shares)[0], float(latent[0]), expected_score)
        return cls(*own, names, model.offset_, title).plot(ax, max_display=max_display, **bar_kwargs)

    def plot(self, ax: Any = None, *, max_display: int = 10, name: str | None = None, **bar_kwargs: Any) -> Self:
        """Draw the waterfall.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        max_display : int, default=10
            The most columns to draw; the others are summed.
        name : str, default=None
            Title of the picture; None takes the display's own.
        **bar_kwargs
            Passed to ``Axes.barh``.

        Returns
        -------
        ExplanationDisplay
            This display.
        """
        labels, steps = self._steps(max_display)
        ends = self.expected_score + np.concatenate([[0.0], np.cumsum(steps)])
        self.ax_ = axes_of(ax, self, figsize=(7.2, 0.34 * len(steps) + 1.9))
        self.figure_ = self.ax_.figure
        self._plot_bars(steps, ends, bar_kwargs)
        bottom = len(ends)
        margin = self._room() * (np.ptp(ends) or 1.0)
        self.ax_.set(xlim=(ends.min() - margin, ends.max() + margin), ylim=(bottom + 0.8, -0.8))
        self.ax_.set_yticks(range(bottom + 1), ["expected score", *labels, "score"], parse_math=False)
        self.ax_.set(xlabel="score (nats)", title=name or self.name)
        self.ax_.tick_params(axis="y", length=0)
        self.ax_.grid(axis="x", alpha=0.25)
        self.ax_.set_axisbelow(True)
        self._plot_threshold()
        return self

    def _plot_bars(self, steps: FloatArray, ends: FloatArray, style: dict[str, Any]) -> None:
        """Bars from one end to the next, marks at the first and the last end, and the numbers of all."""
        places, bottom = np.arange(len(ends)), len(ends)
        colours = [COLOURS[1] if step < 0.0 else COLOURS[2] for step in steps]
        self.bars_ = self.ax_.barh(places[1:], steps, left=ends[:-1], **({"color": colours, "height": 0.7} | style))
        self.ax_.vlines(ends, places, places + 1, color="0.6", linewidth=0.8, zorder=0.5)
        self.ends_ = self.ax_.plot(ends[[0, -1]], [0, bottom], linestyle="", marker="D", markersize=5, color="0.15")[0]
        for place, (step, end) in enumerate(zip(steps, ends[1:], strict=True), start=1):
            self._write(signed(step, plus="+"), end, place, left=step < 0.0)
        self._write(signed(ends[0]), ends[0], 0, left=False)
        self._write(signed(ends[-1]), ends[-1], bottom, left=steps[-1] < 0.0)

    def _steps(self, max_display: int) -> tuple[list[str], FloatArray]:
        """Labels and sizes of the bars, from top to bottom."""
        if not isinstance(max_display, Integral) or max_display < 1:
            raise ValueError(f"max_display must be an integer of 1 or more. Got {max_display!r} instead.")
        observed = np.flatnonzero([value is not None and value == value for value in self.values])
        order = observed[np.argsort(-np.abs(self.shares[observed]), kind="stable")]
        shown, others = order[:max_display], order[max_display:]
        labels = [f"{shortened(self.feature_names[j], LONGEST_LABEL)} = {_value(self.values[j])}" for j in shown]
        steps = list(self.shares[shown])
        if len(others):
            labels.append(f"{len(others)} other column{'s' * (len(others) > 1)}")
            steps.append(self.shares[others].sum())
        return [*labels, "latent space"], np.array([*steps, self.latent - self.expected_score])

    def _write(self, text: str, x: float, y: float, *, left: bool) -> None:
        """A number beside the place (x, y)."""
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8}
        style = {"va": "center", "fontsize": "small", "bbox": box, "ha": "right" if left else "left"}
        self.ax_.annotate(text, (x, y), (-6 if left else 6, 0), textcoords="offset points", **style)

    def _room(self) -> float:
        """Room beside the bars for the longest number, as a share of the waterfall's width."""
        inches = self.ax_.get_window_extent().width / self.figure_.dpi
        return float(ROOM * max(len(text.get_text()) for text in self.ax_.texts) / inches)

    def _plot_threshold(self) -> None:
        low, high = self.ax_.get_xlim()
        self.line_ = None
        if self.offset is not None and low <= self.offset <= high:
            self.line_ = self.ax_.axvline(self.offset, color="0.15", linestyle="--", linewidth=1.2, zorder=0.8)
            self.ax_.set_ylim(top=-1.5)
            self._write(f"threshold {signed(self.offset)}", self.offset, -1, left=self.offset > (low + high) / 2.0)


def _row(X: Any, row: int) -> Any:
    """One row of an array or frame, as one of the same kind."""
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    if not isinstance(row, Integral) or not 0 <= row < n:
        raise ValueError(f"row must be the position of one of the {n} rows of X, counted from 0. Got {row!r} instead.")
    return _safe_indexing(X, [int(row)])


def _names(model: Any, rows: Any, names: Sequence[str] | None) -> list[str]:
    """Names of the columns: those asked for, else those of the rows, else those of fit."""
    p = model.n_features_in_
    if names is None:
        names = getattr(rows, "columns", getattr(model, "feature_names_in_", [f"column {j}" for j in range(p)]))
    if len(names) != p:
        raise ValueError(f"feature_names must have one name for each of the {p} columns. Got {len(names)} instead.")
    return [str(name) for name in names]


def _value(value: Any) -> str:
    if not is_number(value):
        return shortened(str(value), LONGEST_LABEL)
    digits = ".0f" if 1e4 <= abs(value) < 1e9 else ".4g"
    return f"{value:{digits}}".replace("-", "\N{MINUS SIGN}")
