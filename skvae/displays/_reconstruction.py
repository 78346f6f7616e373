"""Rows beside their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skvae.displays._drawing import COLOURS, FloatArray, as_images, axes_of, last_step, numbers, show_grid, title_of


@dataclass(eq=False, repr=False)
class ReconstructionDisplay:
    """Rows beside their reconstructions: as images, or as one scatter per column.

    Parameters
    ----------
    observed : ndarray of shape (n_samples, n_features)
        Rows in data units; NaN marks a missing cell.
    reconstructed : ndarray of shape (n_samples, n_features)
        The same rows after encoding and decoding.
    image_shape : tuple of int, default=None
        Height and width (and 3 for RGB) of the image that a row is; None draws scatters.
    feature_names : sequence of str, default=None
        Titles of the scatters.
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
            If `image_shape` does not fit the rows.
        """
        check_is_fitted(estimator)
        decoded = estimator.inverse_transform(np.asarray(estimator.transform(X)))
        names = [str(column) for column in getattr(X, "columns", ())] or None
        title = title_of(name, last_step(estimator))
        display = cls(numbers(X), numbers(decoded), image_shape, names, title)
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
        cells = _place(self.ax_).subgridspec(*shape)
        self.axes_ = [self.figure_.add_subplot(cells[divmod(j, shape[1])]) for j in range(n)]
        self.scatter_ = [self._plot_scatter(panel, j, style) for j, panel in enumerate(self.axes_)]
        for j, panel in enumerate(self.axes_):
            panel.set_xlabel("observed" if j + shape[1] >= n else None)
            panel.set_ylabel("reconstructed" if j % shape[1] == 0 else None)

    def _plot_scatter(self, panel: Any, j: int, style: dict[str, Any]) -> Any:
        middle = np.nanmean(self.reconstructed[:, j])  # somewhere inside the picture
        panel.axline((middle, middle), slope=1.0, color="0.6", linewidth=1.0)
        style = {"s": 8, "alpha": 0.5, "edgecolors": "none", "color": COLOURS[0]} | style
        panel.set_title(f"column {j}" if self.feature_names is None else self.feature_names[j], fontsize="medium")
        return panel.scatter(self.observed[:, j], self.reconstructed[:, j], **style)


def _place(ax: Any) -> Any:
    """Where the axes stand in their figure's grid, which the panels then share."""
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError(
            "ax must stand in a grid of its figure, as those of pyplot.subplots do. Got free axes instead."
        )
    return place
