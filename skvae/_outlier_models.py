"""The models that `VAEOutlierDetector` fits where it is given none, chosen by `python -m benchmarks.run outliers`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from skvae._vae import VAETransformer
from skvae.nn.likelihoods import Gaussian

BATCH_SIZE = 128
MOST_EPOCHS = 400  # of a table that is a batch by itself
COMMON: dict[str, Any] = {
    "objective": "elbo",
    "n_train_samples": 1,
    "n_importance_samples": 8,
    "learning_rate_init": 5e-3,
    "atoms": None,
    "bounds": None,
    "alpha": 0.01,
    "batch_size": BATCH_SIZE,
    "early_stopping": False,
}


def _epochs(steps: int, n: int) -> int:
    return min(MOST_EPOCHS, math.ceil(steps / math.ceil(n / BATCH_SIZE)))


def contaminated_models(n: int, p: int, **options: Any) -> list[VAETransformer]:
    """For rows with outliers among them."""
    return [
        VAETransformer(
            hidden_layer_sizes=(),
            marginals="normal",
            likelihood=partial(Gaussian, scale="column", min_scale=0.5),
            trim=0.35,
            max_iter=_epochs(500, n),
            **COMMON,
            **options,
        )._without_warnings()
    ]


def novelty_models(n: int, p: int, **options: Any) -> list[VAETransformer]:
    """For normal rows."""
    return [
        VAETransformer(
            n_components=min(p, 20),
            hidden_layer_sizes=(128,),
            marginals=marginals,
            likelihood=partial(Gaussian, scale=0.3),
            prior="aggregated",
            max_iter=_epochs(600, n),
            **COMMON,
            **options,
        )._without_warnings()
        for marginals in ("linear", "normal")
    ]


DEFAULT_MODELS: dict[bool, Callable[..., list[VAETransformer]]] = {False: contaminated_models, True: novelty_models}
