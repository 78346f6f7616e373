"""Several models behind one estimator: those that its user gave, copied, and a seed for each."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from skvae._base import MAX_SEED
from skvae._table import frames
from skvae._table.tables import Table
from skvae._vae import VAETransformer

MAX_MODELS = 64


def given_models(estimator: Any) -> list[VAETransformer]:
    """Unfitted copies of the models in the parameter `estimator`.

    Raises
    ------
    TypeError
        If it is neither a VAETransformer nor a list of 1 to MAX_MODELS of them.
    """
    models = estimator if isinstance(estimator, list) else [estimator]
    if not 1 <= len(models) <= MAX_MODELS or not all(isinstance(model, VAETransformer) for model in models):
        kinds = [type(model).__name__ for model in models]
        raise TypeError(
            f"The 'estimator' parameter must be a VAETransformer or a list of 1 to {MAX_MODELS} of them. Got a list of "
            f"{kinds!r} instead."
        )
    return [clone(model) for model in models]


def refuse_unreadable(table: Table) -> None:
    """Raise TypeError where default models cannot read a column: no likelihood can be chosen for them."""
    if table.is_frame:
        coded = [dtype.is_category for dtype in table.dtypes]
        frames.refuse_unreadable(table.X, coded, [None] * len(coded))


def model_seeds(random_state: np.random.RandomState) -> np.ndarray:
    """A seed for each of at most MAX_MODELS models."""
    return random_state.randint(MAX_SEED, size=MAX_MODELS)


def fitted(models: list[VAETransformer], X: Any, seeds: np.ndarray) -> list[VAETransformer]:
    """The models, fitted to X; those without a `random_state` of their own get a seed."""
    for model, seed in zip(models, seeds, strict=False):
        if model.random_state is None:
            model.set_params(random_state=int(seed))
    return [model.fit(X) for model in models]
