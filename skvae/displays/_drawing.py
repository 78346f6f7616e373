"""What the displays share: axes, colours, names, and images laid out in a grid."""

from __future__ import annotations

from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from skvae._table import frames

FloatArray = NDArray[np.floating]

# Ten colours that colour-blind readers tell apart: Paul Tol's "muted" scheme, its pale grey darkened for small marks.
COLOURS = (
    "#332288", "#CC6677", "#44AA99", "#DDCC77", "#88CCEE", "#882255", "#117733", "#999933", "#AA4499", "#777777",
)  # fmt: skip

NO_VALUE = "#C4C4C4"  # of rows without a value, where others have a colour by theirs
GAP = 0.12  # between the images of a grid, as a share of their height


def axes_of(ax: Any, display: Any, figsize: tuple[float, float]) -> Any:
    """The axes given, or those of a new figure."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            f"{type(display).__name__} draws with matplotlib, which is not installed. "
            f'Install it with: pip install "skvae[plot]"'
        ) from error
    return pyplot.subplots(figsize=figsize, layout="constrained")[1]


def place_of(ax: Any) -> Any:
    """Where axes stand in their figure's grid, which panels then share."""
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError(
            "ax must stand in a grid of its figure, as those of pyplot.subplots do. Got free axes instead."
        )
    return place


def last_step(estimator: Any) -> Any:
    """The estimator itself, or the last one of a Pipeline."""
    return estimator[-1] if isinstance(estimator, Pipeline) else estimator


def title_of(name: str | None, model: Any) -> str:
    """The name asked for, or the class of the model."""
    return type(model).__name__ if name is None else name


def numbers(X: Any) -> FloatArray:
    """Rows of an array or frame as floats, NaN where missing."""
    rows: FloatArray = check_array(X, dtype=np.float64, ensure_all_finite="allow-nan")
    return rows


def columns_of(X: Any) -> list[list[Any]]:
    """The columns of an array or frame as lists of plain Python values, None where missing."""
    if frames.container_of(X) != frames.NUMPY:
        return list(frames.values_of(X).values())
    return [[frames.none_if_missing(value) for value in column] for column in np.asarray(X).T]


def is_number(value: Any) -> bool:
    """Whether a plain value is a number (True and False are levels)."""
    return isinstance(value, (Real, Decimal)) and not isinstance(value, bool)


def shortened(text: str, longest: int) -> str:
    """A text with an ellipsis where it is too long."""
    return text if len(text) <= longest else f"{text[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"


def squeezed(text: str, longest: int) -> str:
    """A text with an ellipsis in its middle where it is too long, as names may differ at their ends only."""
    head, tail = longest - longest // 3 - 1, longest // 3
    return text if len(text) <= longest else f"{text[:head].rstrip()}\N{HORIZONTAL ELLIPSIS}{text[-tail:].lstrip()}"


def signed(value: float, plus: str = "") -> str:
    """A number in few digits with a true minus sign; `plus` stands before those that are not negative."""
    size = abs(value)
    digits = ".2f" if size < 1.0 else ",.1f" if size < 1e4 else ",.0f" if size < 1e6 else ".3g"
    text = f"{value:{digits}}"
    return text.replace("-", "\N{MINUS SIGN}", 1) if value < 0.0 else plus + text


def component_label(model: Any, j: int) -> str:
    """Name of the j-th component, with the KL divergence it carries where the model knows it."""
    kl = getattr(model, "kl_per_component_", None)
    return f"component {j}" if kl is None else f"component {j} (KL {kl[j]:.2f} nats)"


def as_images(rows: FloatArray, image_shape: tuple[int, ...]) -> FloatArray:
    """Rows as images, shape (n, height, width) or (n, height, width, 3)."""
    if rows.shape[1] != np.prod(image_shape):
        raise ValueError(
            f"image_shape={tuple(image_shape)} has {np.prod(image_shape)} cells, but the rows have {rows.shape[1]} "
            f"columns. Pass (height, width) with height * width = {rows.shape[1]}."
        )
    return rows.reshape(len(rows), *image_shape)


def show_grid(ax: Any, images: FloatArray, shape: tuple[int, int], style: dict[str, Any]) -> Any:
    """Draw images in one picture whose units are cells: the image in row i, column j has its centre at (j, i)."""
    height, width = images.shape[1:3]
    gap = max(1, round(GAP * height))
    tall, wide = height + gap, width + gap
    blank = np.nan if images.ndim == 3 else 1.0  # NaN is drawn as nothing, but has no meaning in RGB
    canvas = np.full((shape[0] * tall, shape[1] * wide, *images.shape[3:]), blank)
    for place, image in enumerate(images):
        i, j = divmod(place, shape[1])
        top, left = i * tall + gap // 2, j * wide + gap // 2
        canvas[top : top + height, left : left + width] = image
    extent = (-0.5, shape[1] - 0.5, shape[0] - 0.5, -0.5)
    artist = ax.imshow(canvas, **({"cmap": "gray_r", "extent": extent, "aspect": tall / wide} | style))
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    return artist
