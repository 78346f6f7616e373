"""Rows in the latent space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from skvae.displays._drawing import COLOURS, FloatArray, axes_of, component_label, last_step, title_of

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
        scale with a colour bar.
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
        With classes.
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
        self.legend_ = self.colorbar_ = None
        style = {"s": 18, "alpha": 0.8, "edgecolors": "none"} | scatter_kwargs
        if self.y is None:
            self.scatter_ = self.ax_.scatter(*self.codes.T, **({"color": COLOURS[0]} | style))
        elif _are_classes(np.asarray(self.y)):
            self._plot_classes(np.asarray(self.y), style)
        else:
            self.scatter_ = self.ax_.scatter(*self.codes.T, c=np.asarray(self.y, float), **style)
            self.colorbar_ = self.figure_.colorbar(self.scatter_, ax=self.ax_, label=getattr(self.y, "name", None))
            self.colorbar_.solids.set_alpha(1.0)
        self.ax_.set(xlabel=self.labels[0], ylabel=self.labels[1], title=name or self.name)
        self.ax_.grid(alpha=0.25)
        self.ax_.set_axisbelow(True)
        return self

    def _plot_classes(self, y: NDArray[Any], style: dict[str, Any]) -> None:
        from matplotlib.lines import Line2D

        classes, index = np.unique(y.astype(str) if y.dtype.kind == "O" else y, return_inverse=True)
        colours = _class_colours(len(classes))
        self.scatter_ = self.ax_.scatter(*self.codes.T, **({"c": colours[index]} | style))
        marks = [Line2D([], [], linestyle="", marker="o", color=colour) for colour in colours]
        title = getattr(self.y, "name", None)
        beside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "frameon": False}
        self.legend_ = self.ax_.legend(marks, [str(label) for label in classes], title=title, **beside)


def _are_classes(y: NDArray[Any]) -> bool:
    return y.dtype.kind in "OUb" or (y.dtype.kind in "iu" and len(np.unique(y)) <= MAX_CLASSES)


def _class_colours(n: int) -> NDArray[Any]:
    """One colour per class, shape (n, 4): of the colour-blind-safe ten, or evenly along a colour map."""
    from matplotlib import colormaps, colors

    few = colors.to_rgba_array(COLOURS)[:n]
    return few if n <= len(COLOURS) else colormaps["viridis"](np.linspace(0.0, 1.0, n))
