"""Rows beside their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skvae._table import frames
from skvae.displays._drawing import (
    COLOURS,
    FloatArray,
    as_images,
    axes_of,
    columns_of,
    is_number,
    last_step,
    numbers,
    place_of,
    shortened,
    show_grid,
    title_of,
)

LEVELS = ("category", "ordered", "text", "bool")  # families of dtypes whose values have places, not sizes
MOST_TICKS, LONGEST_TICK, LONGEST_TITLE = 12, 12, 30
LARGEST_MARK = 60.0  # points from side to side, over the number of levels


@dataclass(eq=False, repr=False)
class ReconstructionDisplay:
    """Rows beside their reconstructions: as images, or as one scatter per column.

    The scatter of a column of levels has a mark for each pair of an observed and a reconstructed level, whose area is
    their number.

    Parameters
    ----------
    observed : ndarray of shape (n_samples, n_features)
        Rows in data units, and the codes of levels; NaN marks a missing cell.
    reconstructed : ndarray of shape (n_samples, n_features)
        The same rows after encoding and decoding.
    image_shape : tuple of int, default=None
        Height and width (and 3 for RGB) of the image that a row is; None draws scatters.
    feature_names : sequence of str, default=None
        Titles of the scatters.
    levels : sequence, default=None
        For each column None, or its levels in the order of their codes.
    name : str, default=None
        Title of the picture; scatters have room for one only in a figure of their own.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
        With scatters, the axes are hidden and hold the panels.
    image_ : matplotlib AxesImage or None
        With `image_shape`.
    axes_ : list of matplotlib Axes
        One panel per column; empty with `image_shape`.
    scatter_ : list of matplotlib PathCollection
        One per panel.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae.displays import ReconstructionDisplay
    >>> X = load_iris().data
    >>> vae = VAETransformer(n_components=2, max_iter=5, early_stopping=False, random_state=0).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(vae, X)
    >>> len(display.axes_)
    4
    """

    observed: FloatArray
    reconstructed: FloatArray
    image_shape: tuple[int, ...] | None = None
    feature_names: Sequence[str] | None = None
    levels: Sequence[Sequence[Any] | None] | None = None
    name: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        image_shape: tuple[int, ...] | None = None,
        max_panels: int = 12,
        ax: Any = None,
        name: str | None = None,
        **artist_kwargs: Any,
    ) -> Self:
        """Encode and decode rows and draw both.

        Parameters
        ----------
        estimator : fitted transformer or Pipeline
            Anything with ``transform`` and ``inverse_transform``; a Pipeline answers in the units of its input.
        X : array-like or data frame of shape (n_samples, n_features)
            Rows.
        image_shape : tuple of int, default=None
            Height and width (and 3 for RGB) of the image that a row is; None draws scatters.
        max_panels : int, default=12
            The most images (the first rows) or scatters (the first columns) to draw.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Title of the picture; None takes the name of the (last) estimator's class.
        **artist_kwargs
            Passed to ``Axes.imshow`` or ``Axes.scatter``.

        Returns
        -------
        ReconstructionDisplay
            Drawn.

        Raises
        ------
        ValueError
            If `image_shape` does not fit the rows, or asks for an image of levels.
        """
        check_is_fitted(estimator)
        decoded = estimator.inverse_transform(np.asarray(estimator.transform(X)))
        names = [str(column) for column in getattr(X, "columns", ())] or None
        title = title_of(name, last_step(estimator))
        if image_shape is None:
            observed, reconstructed, levels = _coded(X, decoded)
        else:
            observed, reconstructed, levels = numbers(X), numbers(decoded), None
        display = cls(observed, reconstructed, image_shape, names, levels, title)
        return display.plot(ax, max_panels=max_panels, **artist_kwargs)

    def plot(self, ax: Any = None, *, max_panels: int = 12, name: str | None = None, **artist_kwargs: Any) -> Self:
        """Draw rows and reconstructions.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        max_panels : int, default=12
            The most images (the first rows) or scatters (the first columns) to draw.
        name : str, default=None
            Title of the picture; None takes the display's own.
        **artist_kwargs
            Passed to ``Axes.imshow`` or ``Axes.scatter``.

        Returns
        -------
        ReconstructionDisplay
            This display.
        """
        self.image_ = None
        self.axes_: list[Any] = []
        self.scatter_: list[Any] = []
        title = name or self.name
        if self.image_shape is None:
            self._plot_scatters(ax, max_panels, artist_kwargs)
            # A title of the axes that hold the panels would cover those of the panels.
            if ax is None:
                self.figure_.suptitle(title or "")
        else:
            self._plot_images(ax, max_panels, self.image_shape, artist_kwargs)
            self.ax_.set_title(title)
        return self

    def _plot_images(self, ax: Any, max_panels: int, image_shape: tuple[int, ...], style: dict[str, Any]) -> None:
        n = min(max_panels, len(self.observed))
        pairs = as_images(np.concatenate([self.observed[:n], self.reconstructed[:n]]), image_shape)
        self.ax_ = axes_of(ax, self, figsize=(0.7 * n + 1.4, 1.8))
        self.figure_ = self.ax_.figure
        self.image_ = show_grid(self.ax_, pairs, (2, n), style)
        self.ax_.set_yticks([0, 1], ["observed", "reconstructed"])
        self.ax_.set_xticks([])

    def _plot_scatters(self, ax: Any, max_panels: int, style: dict[str, Any]) -> None:
        n = min(max_panels, self.observed.shape[1])
        shape = (-(-n // 4), min(n, 4))
        self.ax_ = axes_of(ax, self, figsize=(2.5 * shape[1] + 0.4, 2.3 * shape[0] + 0.7))
        self.figure_ = self.ax_.figure
        self.ax_.set_axis_off()
        cells = place_of(self.ax_).subgridspec(*shape)
        self.axes_ = [self.figure_.add_subplot(cells[divmod(j, shape[1])]) for j in range(n)]
        self.scatter_ = [self._plot_scatter(panel, j, style) for j, panel in enumerate(self.axes_)]
        for j, panel in enumerate(self.axes_):
            panel.set_xlabel("observed" if j + shape[1] >= n else None)
            panel.set_ylabel("reconstructed" if j % shape[1] == 0 else None)

    def _plot_scatter(self, panel: Any, j: int, style: dict[str, Any]) -> Any:
        title = f"column {j}" if self.feature_names is None else shortened(self.feature_names[j], LONGEST_TITLE)
        panel.set_title(title, fontsize="medium", parse_math=False)
        style = {"alpha": 0.5, "edgecolors": "none", "color": COLOURS[0]} | style
        x, y, levels = self.observed[:, j], self.reconstructed[:, j], None if self.levels is None else self.levels[j]
        if levels is not None:
            return _plot_pairs(panel, x, y, levels, style)
        if not np.isnan(y).all():
            middle = np.nanmean(y)  # somewhere inside the picture
            panel.axline((middle, middle), slope=1.0, color="0.6", linewidth=1.0)
        return panel.scatter(x, y, **({"s": 8} | style))


def _plot_pairs(panel: Any, x: FloatArray, y: FloatArray, levels: Sequence[Any], style: dict[str, Any]) -> Any:
    """A mark for each pair of levels, whose area is the number of rows that have it."""
    known = ~(np.isnan(x) | np.isnan(y))
    pairs, counts = np.unique(np.column_stack([x[known], y[known]]), axis=0, return_counts=True)
    n = max(len(levels), 1)
    panel.set(xlim=(-0.5, n - 0.5), ylim=(-0.5, n - 0.5))
    panel.axline((0.0, 0.0), slope=1.0, color="0.6", linewidth=1.0)
    shown = levels if n <= MOST_TICKS else ()
    labels = [shortened(str(level), LONGEST_TICK) for level in shown]
    panel.set_xticks(range(len(shown)), labels, parse_math=False, rotation=90 if n > 3 else 0, fontsize="small")
    panel.set_yticks(range(len(shown)), labels, parse_math=False, fontsize="small")
    size = (LARGEST_MARK / max(n, 3)) ** 2
    return panel.scatter(*pairs.T, **({"s": size * counts / counts.max(initial=1)} | style))


def _coded(X: Any, decoded: Any) -> tuple[FloatArray, FloatArray, list[list[Any] | None]]:
    """Rows and their reconstructions as numbers and codes of levels, and the levels of each column."""
    pairs = list(zip(columns_of(X), columns_of(decoded), strict=True))
    declared: list[list[Any] | None] = [None] * len(pairs)
    if frames.container_of(X) != frames.NUMPY:
        dtypes = frames.dtypes_of(X)
        declared = [frames.labels(X, j)[1] if dtype.family in LEVELS else None for j, dtype in enumerate(dtypes)]
    levels = [_levels({*pair[0], *pair[1]} - {None}, known) for pair, known in zip(pairs, declared, strict=True)]
    observed = [_codes(pair[0], own) for pair, own in zip(pairs, levels, strict=True)]
    reconstructed = [_codes(pair[1], own) for pair, own in zip(pairs, levels, strict=True)]
    return np.column_stack(observed), np.column_stack(reconstructed), levels


def _levels(values: set[Any], declared: list[Any] | None) -> list[Any] | None:
    """Those levels of a column that occur, in the order of the dtype; None where it holds numbers."""
    if declared is None and all(map(is_number, values)):
        return None
    known = [level for level in declared or [] if level in values]
    return known + sorted(values.difference(known), key=str)


def _codes(values: list[Any], levels: list[Any] | None) -> FloatArray:
    code_of = {level: code for code, level in enumerate(levels or [])}
    codes = [np.nan if value is None else value if levels is None else code_of[value] for value in values]
    return np.array(codes, dtype=np.float64)
