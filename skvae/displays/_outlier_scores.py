"""The scores of rows against the threshold of an outlier detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skvae.displays._drawing import COLOURS, FloatArray, axes_of, last_step, signed, title_of

BINS = 50
REACH = (10.0, 50.0)  # how far down scores and threshold are in sight at least, at most: widths of the highest quarter


@dataclass(eq=False, repr=False)
class OutlierScoreDisplay:
    """The scores of rows as a histogram, and the threshold below which rows are outliers.

    A few scores may lie so far down that no other could be told apart. The axis is then cut off, and the rows further
    down stand in a bin of their own at its left, labelled "below".

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
        Score of each row; higher is more normal.
    offset : float
        The threshold.
    y : array-like of shape (n_samples,), default=None
        What the rows are known to be, which gives each of the two classes a histogram. Either -1 for outliers and 1 for
        normal rows, as `predict` answers; or 1 (or True) for outliers and 0 (or False) for normal rows.
    score_name : str, default="score (nats)"
        Name of the horizontal axis.
    name : str, default=None
        Title of the picture.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    patches_ : list of matplotlib BarContainer
        One histogram; with `y` two, normal rows first, each in shares of its class.
    line_ : matplotlib Line2D
        The threshold. One that is too far down stands at the left edge.
    legend_ : matplotlib Legend
        Says how many rows lie below the threshold.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAEOutlierDetector
    >>> from skvae.displays import OutlierScoreDisplay
    >>> X = load_iris().data
    >>> detector = VAEOutlierDetector(contamination=0.1, random_state=0).fit(X)
    >>> display = OutlierScoreDisplay.from_estimator(detector, X)
    >>> display.legend_.get_texts()[0].get_text().split(": ")[1]
    '15 of 150 rows below'
    """

    scores: FloatArray
    offset: float
    y: Any = None
    score_name: str = "score (nats)"
    name: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        ax: Any = None,
        name: str | None = None,
        hist_kwargs: dict[str, Any] | None = None,
        line_kwargs: dict[str, Any] | None = None,
    ) -> Self:
        """Score rows and draw the scores.

        Parameters
        ----------
        estimator : VAEOutlierDetector or a Pipeline that ends in one
            Fitted. Other outlier detectors with `score_samples` and `offset_` are drawn as well.
        X : array-like or data frame of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,), default=None
            What the rows are known to be: -1 for outliers and 1 for normal rows, or 1 for outliers and 0 for normal
            rows.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Title of the picture; None takes the name of the (last) estimator's class.
        hist_kwargs : dict, default=None
            Passed to ``Axes.hist``.
        line_kwargs : dict, default=None
            Passed to ``Axes.axvline`` for the threshold.

        Returns
        -------
        OutlierScoreDisplay
            Drawn.

        Raises
        ------
        TypeError
            If the estimator has no scores or no threshold.
        ValueError
            If `y` is not as long as X or holds other values.
        """
        model = last_step(estimator)
        check_is_fitted(model)
        if not (hasattr(model, "score_samples") and hasattr(model, "offset_")):
            raise TypeError(
                f"OutlierScoreDisplay draws a VAEOutlierDetector or another outlier detector with score_samples and "
                f"offset_. Got {type(model).__name__}."
            )
        scores = estimator.score_samples(X)
        display = cls(*_checked(scores, model.offset_, y), name=title_of(name, model))
        if not hasattr(model, "calibration_scores_"):
            display.score_name = "score"
        return display.plot(ax, hist_kwargs=hist_kwargs, line_kwargs=line_kwargs)

    @classmethod
    def from_predictions(
        cls,
        scores: Any,
        *,
        offset: float,
        y: Any = None,
        ax: Any = None,
        name: str | None = None,
        hist_kwargs: dict[str, Any] | None = None,
        line_kwargs: dict[str, Any] | None = None,
    ) -> Self:
        """Draw scores that are there already.

        Parameters
        ----------
        scores : array-like of shape (n_samples,)
            What `score_samples` answered.
        offset : float
            The threshold: `offset_` of the detector.
        y : array-like of shape (n_samples,), default=None
            What the rows are known to be: -1 for outliers and 1 for normal rows, or 1 for outliers and 0 for normal
            rows.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Title of the picture; None leaves it without.
        hist_kwargs : dict, default=None
            Passed to ``Axes.hist``.
        line_kwargs : dict, default=None
            Passed to ``Axes.axvline`` for the threshold.

        Returns
        -------
        OutlierScoreDisplay
            Drawn.

        Raises
        ------
        ValueError
            If a score is not finite, or `y` is not as long as they are or holds other values.
        """
        display = cls(*_checked(scores, offset, y), name=name)
        return display.plot(ax, hist_kwargs=hist_kwargs, line_kwargs=line_kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        hist_kwargs: dict[str, Any] | None = None,
        line_kwargs: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the scores and the threshold.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Title of the picture; None takes the display's own.
        hist_kwargs : dict, default=None
            Passed to ``Axes.hist``.
        line_kwargs : dict, default=None
            Passed to ``Axes.axvline`` for the threshold.

        Returns
        -------
        OutlierScoreDisplay
            This display.
        """
        self.ax_ = axes_of(ax, self, figsize=(6.4, 4.0))
        self.figure_ = self.ax_.figure
        style = {"bins": BINS, "edgecolor": "white", "linewidth": 0.4} | (hist_kwargs or {})
        edges = _edges(self.scores, self.offset, style["bins"])
        step = (edges[-1] - edges[0]) / BINS
        cut = edges[0] if (self.scores < edges[0]).any() else None
        if cut is not None:
            edges = np.concatenate([[cut - 2.0 * step, cut - step], edges])
        self._plot_histograms(np.maximum(self.scores, edges[0]), style | {"bins": edges})
        self._plot_threshold(edges[0], line_kwargs or {})
        if cut is not None:
            self._label_lowest_bin(cut, step)
        unit = "rows" if self.y is None else "share of the class"
        ylabel = "density" if style.get("density") else unit
        self.ax_.set(xlabel=self.score_name, ylabel=ylabel, title=name or self.name)
        self.ax_.margins(y=0.15 if self.y is None else 0.35)  # room for the legend
        self.legend_ = self.ax_.legend(loc="best", framealpha=0.9)
        return self

    def _plot_histograms(self, drawn: FloatArray, style: dict[str, Any]) -> None:
        if self.y is None:
            self.patches_ = [self.ax_.hist(drawn, **({"color": COLOURS[2]} | style))[2]]
            return
        outlier = _is_outlier(self.y)
        self.patches_ = []
        for label, own, colour in (("normal", ~outlier, COLOURS[2]), ("outliers", outlier, COLOURS[1])):
            own_style = {"color": colour, "alpha": 0.6, "weights": np.full(own.sum(), 1.0 / own.sum())} | style
            label = f"{label}: {self._count_below(own)}"
            self.patches_.append(self.ax_.hist(drawn[own], **({"label": label} | own_style))[2])

    def _plot_threshold(self, left: float, style: dict[str, Any]) -> None:
        label = f"threshold {signed(self.offset)}"
        if self.offset < left:
            label += " (further down)"
        if self.y is None:
            label += f": {self._count_below(slice(None))}"
        style = {"color": "0.15", "linestyle": "--", "linewidth": 1.5, "label": label} | style
        self.line_ = self.ax_.axvline(max(self.offset, left), **style)

    def _label_lowest_bin(self, cut: float, step: float) -> None:
        """Mark the bin of all that lies further down; the other ticks stand where the axis holds."""
        high = self.ax_.get_xlim()[1]
        ticks = [tick for tick in self.ax_.get_xticks() if cut + 5.0 * step <= tick <= high]
        labels = [f"{tick:,.6g}".replace("-", "\N{MINUS SIGN}") for tick in ticks]
        self.ax_.set_xticks([cut - 1.5 * step, *ticks], [f"below\n{signed(cut)}", *labels])

    def _count_below(self, rows: Any) -> str:
        scores = self.scores[rows]
        return f"{np.count_nonzero(scores < self.offset):,} of {len(scores):,} rows below"


def _checked(scores: Any, offset: float, y: Any) -> tuple[FloatArray, float, Any]:
    """Scores and threshold as floats, with labels that fit them."""
    scores = check_array(scores, dtype=np.float64, ensure_2d=False, input_name="scores")
    check_consistent_length(scores, y)
    if y is not None:
        _is_outlier(y)
    return scores, float(offset), y


def _is_outlier(y: Any) -> NDArray[np.bool_]:
    """Which rows are outliers: the smaller of -1 and 1, the larger of 0 and 1."""
    values = list(dict.fromkeys(np.asarray(y).tolist()))
    if set(values) not in ({-1, 1}, {0, 1}):
        raise ValueError(
            f"y must hold two values: -1 for outliers and 1 for normal rows, or 1 for outliers and 0 for normal rows. "
            f"Got {values[:5]} instead."
        )
    is_outlier: NDArray[np.bool_] = np.asarray(y) == (-1 if -1 in values else 1)
    return is_outlier


def _edges(scores: FloatArray, offset: float, bins: Any) -> FloatArray:
    """Edges of the bins, from the lowest score that is in sight to the highest."""
    high = scores.max()
    widths = high - np.quantile(scores, [0.75, 0.5, 0.25, 0.0])
    width = widths[np.argmax(widths > 0.0)]  # of more rows where the highest quarter are all alike
    low = high - REACH[0] * width
    in_sight = high - REACH[1] * width <= offset <= high
    if in_sight:
        low = min(low, offset - 2.0 * (high - offset))
    low = max(low, scores.min())
    return np.histogram_bin_edges(scores, bins, range=(min(low, offset) if in_sight else low, high))
