"""The training of a model as curves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from skvae.displays._drawing import COLOURS, axes_of, last_step, title_of


@dataclass(eq=False, repr=False)
class LossCurveDisplay:
    """The training of a model, epoch by epoch.

    The loss is minus the bound that was maximised; minus the validation score stands beside it, so that lower is better
    for both. The KL divergence has its own axis on the right.

    Parameters
    ----------
    loss : array-like of shape (n_iter,)
        Loss of each epoch.
    reconstruction : array-like of shape (n_iter,), default=None
        Reconstruction part of the loss.
    kl : array-like of shape (n_iter,), default=None
        KL divergence between posterior and prior, in nats per row.
    validation_scores : array-like of shape (n_iter,), default=None
        Score of held-out rows after each epoch; higher is better.
    unit : str, default="nats per row"
        Unit of the loss.
    name : str, default=None
        Title of the picture.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    ax_kl_ : matplotlib Axes or None
        Shares the epochs with `ax_`; the KL divergence stands on its right.
    line_ : matplotlib Line2D
        The training loss.
    validation_line_, reconstruction_line_, kl_line_ : matplotlib Line2D or None
        None where the curve was not given.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skvae import VAETransformer
    >>> from skvae.displays import LossCurveDisplay
    >>> vae = VAETransformer(n_components=2, max_iter=5, early_stopping=False, random_state=0)
    >>> vae = vae.fit(load_iris().data)
    >>> display = LossCurveDisplay.from_estimator(vae)
    >>> display.ax_.get_xlabel()
    'epoch'
    """

    loss: Any
    reconstruction: Any = None
    kl: Any = None
    validation_scores: Any = None
    unit: str = "nats per row"
    name: str | None = None

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, name: str | None = None, **line_kwargs: Any) -> Self:
        """Draw the training of a fitted estimator.

        Parameters
        ----------
        estimator : VAETransformer, AutoencoderTransformer or a Pipeline that ends in one
            Fitted.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Title of the picture; None takes the name of the (last) estimator's class.
        **line_kwargs
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        LossCurveDisplay
            Drawn.

        Raises
        ------
        TypeError
            If the estimator is no model of this package.
        """
        model = last_step(estimator)
        check_is_fitted(model)
        if not (hasattr(model, "loss_curve_") and hasattr(model, "converged_")):  # MLPRegressor has the first alone
            raise TypeError(
                f"LossCurveDisplay draws a VAETransformer, an AutoencoderTransformer or a Pipeline that ends in one. "
                f"Got {type(model).__name__}."
            )
        display = cls(model.loss_curve_, validation_scores=model.validation_scores_ or None, name=title_of(name, model))
        if hasattr(model, "kl_curve_"):
            display.reconstruction, display.kl = model.reconstruction_curve_, model.kl_curve_
        if getattr(model, "loss", None) == "squared_error":
            display.unit = "squared error per row"
        return display.plot(ax, **line_kwargs)

    def plot(self, ax: Any = None, *, name: str | None = None, **line_kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Title of the picture; None takes the display's own.
        **line_kwargs
            Passed to ``Axes.plot`` for every curve.

        Returns
        -------
        LossCurveDisplay
            This display.
        """
        self.ax_ = axes_of(ax, self, figsize=(6.4, 4.0))
        self.figure_ = self.ax_.figure
        self.ax_kl_ = None if self.kl is None else self.ax_.twinx()
        held_out = None if self.validation_scores is None else np.negative(self.validation_scores)
        draw = partial(_curve, style=line_kwargs)
        self.line_ = draw(self.ax_, self.loss, "loss (training)", COLOURS[0])
        self.validation_line_ = draw(self.ax_, held_out, "loss (validation)", COLOURS[1])
        self.reconstruction_line_ = draw(self.ax_, self.reconstruction, "reconstruction", COLOURS[2], dash="--")
        self.kl_line_ = draw(self.ax_kl_, self.kl, "KL divergence (right)", COLOURS[5], dash="-.")
        self._label(name or self.name)
        return self

    def _label(self, title: str | None) -> None:
        self.ax_.set(xlabel="epoch", ylabel=f"loss ({self.unit})", title=title)
        self.ax_.grid(alpha=0.25)
        top = self.ax_
        if self.ax_kl_ is not None:
            self.ax_kl_.set_ylabel("KL divergence (nats per row)", color=self.kl_line_.get_color())
            self.ax_kl_.set_ylim(bottom=0.0)
            top = self.ax_kl_  # drawn last: only its legend lies over every line
        lines = (self.line_, self.validation_line_, self.reconstruction_line_, self.kl_line_)
        top.legend(handles=[line for line in lines if line is not None], framealpha=0.9)


def _curve(ax: Any, values: Any, label: str, colour: str, *, style: dict[str, Any], dash: str = "-") -> Any:
    """One curve over the epochs, or None where there are no values."""
    if values is None:
        return None
    style = {"label": label, "color": colour, "linestyle": dash} | style
    return ax.plot(np.arange(1, len(values) + 1), values, **style)[0]
