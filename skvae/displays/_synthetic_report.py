"""Real rows beside drawn ones: their columns, and the errors of pairs of columns."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skvae.displays._distributions import DRAWN_COLOUR, REAL_COLOUR, SMALL, plot_levels, plot_numbers
from skvae.displays._drawing import FloatArray, axes_of, last_step, place_of, squeezed, title_of
from skvae.metrics._errors import floors, of_columns, of_pairs
from skvae.metrics._rows import REAL, Rows, read

REDRAWS = 5  # of real rows, for the noise floors
MOST_DRAWN = 10_000  # rows that are drawn where nobody says how many
MOST_PAIRED, MOST_WRITTEN = 24, 10  # columns in the map of pairs, and up to which the errors are written into it
LONGEST_TITLE, LONGEST_PAIRED = 24, 16  # letters
NO_ERROR = "0.93"  # where a pair has none
PANEL, LEAST = (2.5, 2.1), (1.7, 1.6)  # inches of a panel across and down, and with which it is still legible
LABEL = 0.18  # inches of a name in the map of pairs
STRIP, NARROW = (0.4, 0.75), 9.0  # inches: the height of the key, in one row and in three, which are for less width


@dataclass(eq=False, repr=False)
class SyntheticReportDisplay:
    """Real rows beside drawn ones: the distribution of each column, and the errors of pairs of columns.

    A panel for each column shows real rows as a grey area and drawn rows as a coloured outline: a histogram of
    numbers, dates and durations, a bar for each level, and a bar for the missing cells. Above it stands its error, and
    in brackets the noise floor. Where there are more columns than panels, those with the largest errors are drawn, and
    the picture says so. The map of pairs has their errors below the diagonal and the noise floors above it.

    Parameters
    ----------
    rows : Rows
        Real and drawn rows under one encoding, as `from_samples` reads them.
    errors, floors : ndarray of shape (n_features,)
        As of `skvae.metrics.column_errors` and `noise_floor`.
    pairs, pair_floors : ndarray of shape (n_features, n_features)
        As of `skvae.metrics.pair_errors` and `noise_floor`.
    name : str, default=None
        Title of the picture.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        The axes are hidden and hold the panels.
    axes_ : list of matplotlib Axes
        One panel per column that is shown.
    shown_ : list
        The names of these columns.
    real_, drawn_ : list of matplotlib artists
        In each panel a StepPatch (numbers) or a BarContainer (levels).
    ax_pairs_, image_, colorbar_ : matplotlib Axes, AxesImage and Colorbar, or None
        The map of pairs; None where there is one column only.
    legend_ : matplotlib Legend
        Says which are the real rows.

    See Also
    --------
    skvae.metrics.synthetic_report : All measures as tables.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae.displays import SyntheticReportDisplay
    >>> X = load_iris(as_frame=True).data
    >>> vae = VAETransformer(n_components=2, max_iter=5, early_stopping=False, random_state=0).fit(X)
    >>> display = SyntheticReportDisplay.from_estimator(vae, X, random_state=0)
    >>> len(display.axes_)
    4
    """

    rows: Rows
    errors: FloatArray
    floors: FloatArray
    pairs: FloatArray
    pair_floors: FloatArray
    name: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_samples: int | None = None,
        max_panels: int = 12,
        random_state: Any = None,
        ax: Any = None,
        name: str | None = None,
    ) -> Self:
        """Draw rows from a model and compare them with real ones.

        Parameters
        ----------
        estimator : VAETransformer or a Pipeline that ends in one
            Fitted. Other models whose ``sample`` takes a number of rows and a `random_state` are drawn as well. Rows of
            a Pipeline are compared as its last step sees them.
        X : array-like or data frame of shape (n_samples, n_features)
            Real rows.
        n_samples : int, default=None
            How many rows to draw; None draws as many as X has, but at most 10,000.
        max_panels : int, default=12
            The most columns to draw.
        random_state : int, RandomState instance or None, default=None
            Seed of the draws, and of the noise floors.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Title of the picture; None takes the name of the (last) estimator's class.

        Returns
        -------
        SyntheticReportDisplay
            Drawn.

        Raises
        ------
        TypeError
            If the estimator draws no rows.
        ValueError
            If the drawn rows have other columns than X.
        """
        model = last_step(estimator)
        check_is_fitted(model)
        if not hasattr(model, "sample"):
            raise TypeError(
                f"SyntheticReportDisplay draws a VAETransformer or another model that can sample. Got "
                f"{type(model).__name__}: draw rows with another model, or pass them to from_samples."
            )
        if isinstance(estimator, Pipeline) and len(estimator) > 1:
            X = estimator[:-1].transform(X)
        X_drawn = model.sample(n_samples or min(len(X), MOST_DRAWN), random_state=random_state)
        title = title_of(name, model)
        return cls.from_samples(X, X_drawn, max_panels=max_panels, random_state=random_state, ax=ax, name=title)

    @classmethod
    def from_samples(
        cls,
        X: Any,
        X_drawn: Any,
        *,
        max_panels: int = 12,
        random_state: Any = None,
        ax: Any = None,
        name: str | None = None,
    ) -> Self:
        """Compare drawn rows with real ones.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Real rows.
        X_drawn : array-like or data frame of shape (n_drawn, n_features)
            Drawn rows.
        max_panels : int, default=12
            The most columns to draw.
        random_state : int, RandomState instance or None, default=None
            Seed of the noise floors.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Title of the picture; None leaves it without.

        Returns
        -------
        SyntheticReportDisplay
            Drawn.

        Raises
        ------
        ValueError
            If the two have different columns, or one has no row.
        TypeError
            If a column can be read as neither numbers, nor times, nor levels, or holds other things in the two.
        """
        rows = read(X, X_drawn=X_drawn)
        drawn = rows["X_drawn"]
        expected = floors(rows, len(drawn), REDRAWS, random_state)
        display = cls(rows, of_columns(rows, drawn), expected[0], of_pairs(rows, drawn), expected[1], name)
        return display.plot(ax, max_panels=max_panels)

    def plot(self, ax: Any = None, *, max_panels: int = 12, name: str | None = None) -> Self:
        """Draw columns and pairs.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        max_panels : int, default=12
            The most columns to draw.
        name : str, default=None
            Title of the picture; None takes the display's own.

        Returns
        -------
        SyntheticReportDisplay
            This display.
        """
        has_pairs = len(self.errors) > 1
        room = _Room.of(ax, min(max_panels, len(self.errors)), has_pairs=has_pairs)
        self.ax_ = axes_of(ax, self, figsize=(room.width, room.height))
        self.figure_ = self.ax_.figure
        self.ax_.set_axis_off()
        if ax is None:
            self.figure_.suptitle(name or self.name or "")
        widths = (room.width - room.side, room.side) if has_pairs else (room.width,)
        heights = (room.strip, room.height - room.strip)
        grid = place_of(self.ax_).subgridspec(2, len(widths), height_ratios=heights, width_ratios=widths)
        shown = _largest(self.errors, room.n_panels)
        self._plot_key(self.figure_.add_subplot(grid[0, :]), len(shown), is_narrow=room.is_narrow)
        self._plot_columns(grid[1, 0].subgridspec(-(-len(shown) // room.across), room.across), shown, room.across)
        self.ax_pairs_: Any = None
        self.image_: Any = None
        self.colorbar_: Any = None
        if has_pairs:
            self._plot_pairs(self.figure_.add_subplot(grid[1, 1]), min(MOST_PAIRED, int(room.side / LABEL)))
        return self

    # -- columns -------------------------------------------------------------------------------------------------------

    def _plot_key(self, strip: Any, n: int, *, is_narrow: bool) -> None:
        """Say in a strip above the panels what is what."""
        from matplotlib.patches import Patch

        strip.set_axis_off()
        real, drawn = (len(self.rows[name]) for name in (REAL, "X_drawn"))
        marks = [
            Patch(facecolor=REAL_COLOUR, label=f"{real:,} real rows"),
            Patch(facecolor="none", edgecolor=DRAWN_COLOUR, linewidth=1.4, label=f"{drawn:,} drawn rows"),
        ]
        which = "" if n == len(self.errors) else f"the {n} worst of {len(self.errors)} columns; "
        marks.append(Patch(facecolor="none", label=f"{which}below each name: error (noise floor)"))
        ncols = 1 if is_narrow else len(marks)
        self.legend_ = strip.legend(handles=marks, loc="center left", ncols=ncols, frameon=False, borderaxespad=0.0)
        self.legend_.set_in_layout(False)  # it may be wider than the first column of panels

    def _plot_columns(self, grid: Any, shown: Sequence[int], across: int) -> None:
        self.axes_ = [self.figure_.add_subplot(grid[divmod(i, across)]) for i in range(len(shown))]
        self.shown_: list[Hashable] = [self.rows.names[j] for j in shown]
        artists = [self._plot_column(panel, j) for panel, j in zip(self.axes_, shown, strict=True)]
        self.real_: list[Any] = [pair[0] for pair in artists]
        self.drawn_: list[Any] = [pair[1] for pair in artists]

    def _plot_column(self, panel: Any, j: int) -> tuple[Any, Any]:
        name, levels, family = self.rows.names[j], self.rows.levels[j], self.rows.families[j]
        title = f"column {name}" if isinstance(name, int) else squeezed(str(name), LONGEST_TITLE)
        panel.set_title(title, loc="left", fontsize="medium", pad=17.0, parse_math=False)
        score = f"{self.errors[j]:.3f} ({self.floors[j]:.3f})"
        panel.annotate(score, (0.0, 1.0), (0.0, 4.0), "axes fraction", "offset points", fontsize=SMALL, color="0.35")
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=SMALL)
        real, drawn = (self.rows[name][:, j] for name in (REAL, "X_drawn"))
        return plot_levels(panel, real, drawn, levels, family) if levels else plot_numbers(panel, real, drawn, family)

    # -- pairs ---------------------------------------------------------------------------------------------------------

    def _plot_pairs(self, panel: Any, most: int) -> None:
        """Draw the errors of pairs below the diagonal, and their noise floors above."""
        from matplotlib import colormaps

        worst = np.nan_to_num(self.pairs, nan=0.0).mean(axis=0)
        kept = _largest(worst, max(2, most))
        n, at = len(kept), np.ix_(kept, kept)
        values = np.where(np.tri(n, dtype=bool), self.pairs[at], self.pair_floors[at])
        top = max(0.1, float(np.fmax.reduce(values, axis=None, initial=0.0)))
        scale = colormaps["BuPu"].with_extremes(bad=NO_ERROR)
        self.ax_pairs_ = panel
        self.image_ = panel.imshow(np.ma.masked_invalid(values), cmap=scale, vmin=0.0, vmax=top)
        labels = [squeezed(str(self.rows.names[j]), LONGEST_PAIRED) for j in kept]
        panel.set_xticks(range(n), labels, rotation=90, fontsize=SMALL, parse_math=False)
        panel.set_yticks(range(n), labels, fontsize=SMALL, parse_math=False)
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
        which = "" if n == len(self.errors) else f", {n} of {len(self.errors)} columns"
        panel.set_title(f"pairs{which}\nbelow: error, above: noise floor", loc="left", fontsize="medium")
        if n <= MOST_WRITTEN:
            _write(panel, values, top)
        self.colorbar_ = self.figure_.colorbar(self.image_, ax=panel, fraction=0.04, pad=0.02)
        self.colorbar_.outline.set_visible(False)
        self.colorbar_.ax.tick_params(labelsize=SMALL, length=0)


class _Room(NamedTuple):
    """Inches of the picture and of the map of pairs in it, and how many panels there are, in all and side by side."""

    width: float
    height: float
    side: float
    n_panels: int
    across: int

    @property
    def is_narrow(self) -> bool:
        """Whether the key needs several rows."""
        return self.width <= NARROW

    @property
    def strip(self) -> float:
        """Inches of the key."""
        return STRIP[self.is_narrow]

    @classmethod
    def of(cls, ax: Any, n: int, *, has_pairs: bool) -> _Room:
        """Room for n panels in a new figure; in axes that are given as many as have room there."""
        if ax is None:
            across = min(4, max(1, int(np.ceil(np.sqrt(n)))))
            height = max(PANEL[1] * -(-n // across), 3.6 if has_pairs else 0.0)
            side = min(height, 6.5) + 1.0 if has_pairs else 0.0
            return cls(max(PANEL[0] * across, 6.4 - side) + side, height + 0.9, side, n, across)
        width, height = (place_of(ax).get_position(ax.figure).size * ax.figure.get_size_inches()).tolist()
        side = min(0.5 * width, height) if has_pairs else 0.0
        across, down = max(1, int((width - side) / LEAST[0])), max(1, int(height / LEAST[1]))
        return cls(width, height, side, min(n, across * down), min(n, across))


def _largest(values: FloatArray, most: int) -> list[int]:
    """Where the largest values stand, in that order, or all places where there are no more than so many."""
    order = np.argsort(-values, kind="stable")[:most] if len(values) > most else np.arange(len(values))
    places: list[int] = order.tolist()
    return places


def _write(panel: Any, values: FloatArray, top: float) -> None:
    for i, j in np.argwhere(~np.isnan(values)):
        colour = "white" if values[i, j] > 0.6 * top else "0.25"
        text = f"{values[i, j]:.2f}".removeprefix("0")
        panel.text(j, i, text, ha="center", va="center", fontsize="x-small", color=colour)
