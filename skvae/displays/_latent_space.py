"""Rows in the latent space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skvae._table import frames
from skvae.displays._drawing import (
    COLOURS,
    NO_VALUE,
    FloatArray,
    axes_of,
    component_label,
    is_number,
    last_step,
    title_of,
)

MAX_CLASSES = 20  # more distinct integers than this are a scale, not classes


@dataclass(eq=False, repr=False)
class LatentSpaceDisplay:
    """Rows in the latent space: two components of their codes.

    The components of a VAE are ordered by their KL divergence, so the first two carry the most.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, 2)
        Horizontal and vertical coordinate of each row.
    y : array-like of shape (n_samples,), default=None
        Colours the rows: strings, booleans and up to 20 distinct integers are classes with a legend, other numbers a
        scale with a colour bar. Rows without a value (NaN, None, NA) are grey, and the legend says so.
    labels : pair of str, default=("component 0", "component 1")
        Names of the axes.
    name : str, default=None
        Title of the picture.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    scatter_ : matplotlib PathCollection
        All rows in one collection and in their own order, so that no class covers another.
    legend_ : matplotlib Legend or None
        With classes, or where a row has no value.
    colorbar_ : matplotlib Colorbar or None
        With a scale.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae.displays import LatentSpaceDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> vae = VAETransformer(n_components=2, max_iter=5, early_stopping=False, random_state=0).fit(X)
    >>> display = LatentSpaceDisplay.from_estimator(vae, X, y=y)
    >>> [text.get_text() for text in display.legend_.get_texts()]
    ['0', '1', '2']
    """

    codes: FloatArray
    y: Any = None
    labels: Sequence[str] = ("component 0", "component 1")
    name: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        y: Any = None,
        components: tuple[int, int] = (0, 1),
        ax: Any = None,
        name: str | None = None,
        **scatter_kwargs: Any,
    ) -> Self:
        """Encode rows and draw two components of their codes.

        Parameters
        ----------
        estimator : fitted transformer or Pipeline
            Anything with ``transform``.
        X : array-like or data frame of shape (n_samples, n_features)
            Rows.
        y : array-like of shape (n_samples,), default=None
            Classes or numbers that colour the rows.
        components : pair of int, default=(0, 1)
            Which components to draw, counted from 0.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Title of the picture; None takes the name of the (last) estimator's class.
        **scatter_kwargs
            Passed to ``Axes.scatter``.

        Returns
        -------
        LatentSpaceDisplay
            Drawn.

        Raises
        ------
        ValueError
            If the codes do not have these components, or `y` is not as long as X.
        """
        check_is_fitted(estimator)
        codes = np.asarray(estimator.transform(X))
        check_consistent_length(codes, y)
        if not 0 <= min(components) <= max(components) < codes.shape[1]:
            raise ValueError(
                f"components={tuple(components)} must be two of the {codes.shape[1]} that the codes have, counted from "
                f"0. Choose others, or fit with n_components=2 or more."
            )
        model = last_step(estimator)
        labels = [component_label(model, j) for j in components]
        return cls(codes[:, list(components)], y, labels, title_of(name, model)).plot(ax, **scatter_kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **scatter_kwargs: Any) -> Self:
        """Draw the rows.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Title of the picture; None takes the display's own.
        **scatter_kwargs
            Passed to ``Axes.scatter``.

        Returns
        -------
        LatentSpaceDisplay
            This display.
        """
        self.ax_ = axes_of(ax, self, figsize=(6.4, 5.0))
        self.figure_ = self.ax_.figure
        self.legend_: Any = None
        self.colorbar_: Any = None
        style = {"s": 18, "alpha": 0.8, "edgecolors": "none"} | scatter_kwargs
        if self.y is None:
            self.scatter_ = self.ax_.scatter(*self.codes.T, **({"color": COLOURS[0]} | style))
        else:
            values = _plain_values(self.y)
            (self._plot_classes if _are_classes(values) else self._plot_scale)(values, style)
        self.ax_.set(xlabel=self.labels[0], ylabel=self.labels[1], title=name or self.name)
        self.ax_.grid(alpha=0.25)
        self.ax_.set_axisbelow(True)
        return self

    def _plot_classes(self, values: list[Any], style: dict[str, Any]) -> None:
        present = {value for value in values if value is not None}
        classes = sorted(present) if all(map(is_number, present)) else sorted(present, key=str)
        colour_of = dict(zip(classes, _class_colours(len(classes)), strict=True))
        colours = [colour_of.get(value, NO_VALUE) for value in values]
        self.scatter_ = self.ax_.scatter(*self.codes.T, **({"c": _rgba(colours)} | style))
        self._plot_legend(
            [f"{label:.0f}" if isinstance(label, float) else str(label) for label in classes],
            list(colour_of.values()),
            values,
        )

    def _plot_scale(self, values: list[Any], style: dict[str, Any]) -> None:
        from matplotlib import colormaps, rcParams

        scale = colormaps.get_cmap(style.get("cmap") or rcParams["image.cmap"]).with_extremes(bad=NO_VALUE)
        numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        style = {"c": numbers, "plotnonfinite": True} | style | {"cmap": scale}
        self.scatter_ = self.ax_.scatter(*self.codes.T, **style)
        self.colorbar_ = self.figure_.colorbar(self.scatter_, ax=self.ax_, label=getattr(self.y, "name", None))
        self.colorbar_.solids.set_alpha(1.0)
        if None in values:
            self._plot_legend([], [], values)

    def _plot_legend(self, labels: list[str], colours: list[Any], values: list[Any]) -> None:
        from matplotlib.lines import Line2D

        if None in values:
            labels, colours = [*labels, f"no value ({values.count(None):,} rows)"], [*colours, NO_VALUE]
        marks = [Line2D([], [], linestyle="", marker="o", color=colour) for colour in colours]
        beside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "frameon": False}
        if self.colorbar_ is not None:  # which stands there
            beside = {"loc": "best"}
        self.legend_ = self.ax_.legend(marks, labels, title=getattr(self.y, "name", None), **beside)
        for text in self.legend_.get_texts():
            text.set_parse_math(False)


def _plain_values(y: Any) -> list[Any]:
    """One plain Python value per row, None where there is none."""
    values = y.to_list() if hasattr(y, "to_list") else np.asarray(y).tolist()
    if any(isinstance(value, list) for value in values):
        raise ValueError(f"y must have one value per row. Got shape {np.shape(y)} instead.")
    return [frames.none_if_missing(value) for value in values]


def _are_classes(values: list[Any]) -> bool:
    """Whether values are levels or few integers, which are floats where one is missing."""
    present = {value for value in values if value is not None}
    if not all(map(is_number, present)):
        return True
    whole = all(isinstance(value, int) or (None in values and value.is_integer()) for value in present)
    return whole and len(present) <= MAX_CLASSES


def _rgba(colours: list[Any]) -> NDArray[Any]:
    from matplotlib.colors import to_rgba_array

    return to_rgba_array(colours)


def _class_colours(n: int) -> NDArray[Any]:
    """One colour per class, shape (n, 4): of the colour-blind-safe ten, or evenly along a colour map."""
    from matplotlib import colormaps, colors

    few = colors.to_rgba_array(COLOURS)[:n]
    return few if n <= len(COLOURS) else colormaps["viridis"](np.linspace(0.0, 1.0, n))
