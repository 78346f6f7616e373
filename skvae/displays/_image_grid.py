"""Images that a model makes up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.stats import norm
from sklearn.utils.validation import check_is_fitted

from skvae.displays._drawing import (
    FloatArray,
    as_images,
    axes_of,
    component_label,
    last_step,
    numbers,
    show_grid,
    title_of,
)


@dataclass(eq=False, repr=False)
class ImageGridDisplay:
    """A grid of the images that a model decodes from codes.

    Parameters
    ----------
    images : ndarray of shape (n_rows, n_columns, height, width) or (n_rows, n_columns, height, width, 3)
        One image per cell of the grid.
    row_labels, column_labels : sequence of str, default=()
        Labels of the rows and columns of the grid.
    labels : pair of str, default=("", "")
        Names of the horizontal and the vertical axis.
    name : str, default=None
        Title of the picture.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    image_ : matplotlib AxesImage
        All images in one.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvae import VAETransformer
    >>> from skvae.displays import ImageGridDisplay
    >>> X = load_digits().data / 16.0
    >>> vae = VAETransformer(2, likelihood="bernoulli", prior="standard_normal", max_iter=1, random_state=0).fit(X)
    >>> display = ImageGridDisplay.from_estimator(vae, kind="manifold", image_shape=(8, 8), grid_shape=(5, 5))
    >>> display.images.shape
    (5, 5, 8, 8)
    """

    images: FloatArray
    row_labels: Sequence[str] = ()
    column_labels: Sequence[str] = ()
    labels: Sequence[str] = ("", "")
    name: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        image_shape: tuple[int, ...],
        kind: str = "prior",
        grid_shape: tuple[int, int] = (10, 10),
        random_state: Any = None,
        ax: Any = None,
        name: str | None = None,
        **image_kwargs: Any,
    ) -> Self:
        """Decode codes to images and draw them.

        Parameters
        ----------
        estimator : VAETransformer or a Pipeline that ends in one
            Fitted; a Pipeline answers in the units of its input.
        image_shape : tuple of int
            Height and width (and 3 for RGB) of the image that a row is.
        kind : {"prior", "manifold"}, default="prior"
            "prior" draws codes from the prior. "manifold" lays an even grid of probabilities through the inverse normal
            distribution function over the first two components (Kingma & Welling 2013, appendix A) and leaves others
            at 0; it needs the standard normal prior. Either shows the decoder's mean.
        grid_shape : pair of int, default=(10, 10)
            Rows and columns of the grid.
        random_state : int, RandomState instance or None, default=None
            For the draws; None draws others at each call.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Title of the picture; None takes the name of the (last) estimator's class.
        **image_kwargs
            Passed to ``Axes.imshow``.

        Returns
        -------
        ImageGridDisplay
            Drawn.

        Raises
        ------
        TypeError
            If the estimator has no prior.
        ValueError
            If `image_shape` does not fit the rows, or the prior or the number of components the manifold.
        """
        model = last_step(estimator)
        check_is_fitted(model)
        if not hasattr(model, "sample_latent"):
            raise TypeError(f"ImageGridDisplay draws a VAETransformer. Got {type(model).__name__}, which has no prior.")
        if kind not in ("prior", "manifold"):
            raise ValueError(f"kind must be 'prior' or 'manifold'. Got {kind!r} instead.")
        cell_labels: dict[str, Any] = {}
        if kind == "prior":
            codes = model.sample_latent(grid_shape[0] * grid_shape[1], codes="prior", random_state=random_state)
        else:
            codes, cell_labels = _manifold(model, grid_shape)
        images = as_images(numbers(estimator.inverse_transform(codes)), image_shape)
        images = images.reshape(*grid_shape, *image_shape)
        return cls(images, name=title_of(name, model), **cell_labels).plot(ax, **image_kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **image_kwargs: Any) -> Self:
        """Draw the grid.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Title of the picture; None takes the display's own.
        **image_kwargs
            Passed to ``Axes.imshow``.

        Returns
        -------
        ImageGridDisplay
            This display.
        """
        n_rows, n_columns = self.images.shape[:2]
        self.ax_ = axes_of(ax, self, figsize=(0.5 * n_columns + 1.0, 0.5 * n_rows + 1.0))
        self.figure_ = self.ax_.figure
        self.image_ = show_grid(
            self.ax_, self.images.reshape(-1, *self.images.shape[2:]), (n_rows, n_columns), image_kwargs
        )
        self.ax_.set_xticks(range(len(self.column_labels)), self.column_labels)
        self.ax_.set_yticks(range(len(self.row_labels)), self.row_labels)
        self.ax_.set(xlabel=self.labels[0], ylabel=self.labels[1], title=name or self.name)
        return self


def _manifold(model: Any, grid_shape: tuple[int, int]) -> tuple[FloatArray, dict[str, Any]]:
    """Codes on a grid of equal probability, in the order of reading, and the labels of its rows and columns."""
    if model.prior != "standard_normal" or model.n_components_ < 2:
        raise ValueError(
            f"kind='manifold' needs prior='standard_normal' and n_components of 2 or more. Got prior={model.prior!r} "
            f"and {model.n_components_} component(s)."
        )
    up, across = (norm.ppf((np.arange(n) + 0.5) / n) for n in grid_shape)
    codes = np.zeros((grid_shape[0] * grid_shape[1], model.n_components_))
    codes[:, 0], codes[:, 1] = np.tile(across, len(up)), np.repeat(up[::-1], len(across))
    row_labels, column_labels = ([f"{z:.1f}" for z in values] for values in (up[::-1], across))
    labels = (component_label(model, 0), component_label(model, 1))
    return codes, {"row_labels": row_labels, "column_labels": column_labels, "labels": labels}
