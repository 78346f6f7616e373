"""The models that `VAEImputer` fits where it is given none, as chosen by `python -m benchmarks.run imputation`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from skvae._table.tables import Table
from skvae._vae import VAETransformer
from skvae.nn.likelihoods import SmoothGaussian

BATCH_SIZE = 64
STEPS = (1_000, 2_000)  # of the small network; of the large one, from the first up to the second ...
STEPS_PER_BATCH = 100  # ... so many for each batch that the rows make
COMPONENTS = (10, 20)  # from here to there as many as columns
FEW = 1_000  # rows below which the small network helps
LARGE: dict[str, Any] = {"hidden_layer_sizes": (128, 64), "activation": "relu", "n_train_samples": 20, "alpha": 0.02}
# It errs in other ways.
SMALL: dict[str, Any] = {"hidden_layer_sizes": (64,), "activation": "silu", "n_train_samples": 10, "alpha": 0.05}
COMMON: dict[str, Any] = {"objective": "dreg", "batch_size": BATCH_SIZE, "early_stopping": False}


def default_models(table: Table, **options: Any) -> list[VAETransformer]:
    """Models for the rows of a table."""
    p, n_batches = len(table.names), math.ceil(len(table) / BATCH_SIZE)
    each = zip(table.names, table.dtypes, strict=True)
    numbers = [name for name, dtype in each if dtype.family in ("float", "integer")]
    shared: dict[str, Any] = {
        "n_components": int(np.clip(p, *COMPONENTS)),
        "likelihood": dict.fromkeys(numbers, SmoothGaussian),
        **COMMON,
    }
    networks = [(float(np.clip(STEPS_PER_BATCH * n_batches, *STEPS)), LARGE)]
    networks += [(STEPS[0], SMALL)] if len(table) < FEW else []
    return [
        VAETransformer(max_iter=math.ceil(steps / n_batches), **shared, **network, **options)._without_warnings()
        for steps, network in networks
    ]
