"""The models that `VAEImputer` fits where it is given none, as chosen by `python -m benchmarks.run imputation`."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from skvae._table.tables import Table
from skvae._vae import VAETransformer
from skvae.nn.likelihoods import Gaussian

BATCH_SIZE = 64
STEPS = (1_000, 1_500)  # from here to there: the more rows, the more ...
STEPS_PER_BATCH = 100  # ... so many for each batch that the rows make
COMPONENTS = (10, 20)  # from here to there as many as columns
NETWORKS = (  # a large one, and a small one whose errors are other ones
    {"hidden_layer_sizes": (128, 64), "activation": "relu", "n_train_samples": 20},
    {"hidden_layer_sizes": (64,), "activation": "silu", "n_train_samples": 10},
)

smooth = partial(Gaussian, scale="column", min_scale=0.1)


def default_models(table: Table, **options: Any) -> list[VAETransformer]:
    """Models for the rows of a table."""
    n, p = len(table), len(table.names)
    steps = float(np.clip(STEPS_PER_BATCH * n / BATCH_SIZE, *STEPS))
    families = [dtype.split(":", 1)[0] for dtype in table.dtypes]
    numbers = [name for name, family in zip(table.names, families, strict=True) if family in ("float", "integer")]
    shared = {
        "n_components": int(np.clip(p, *COMPONENTS)),
        "likelihood": dict.fromkeys(numbers, smooth),
        "alpha": 0.05,
        "batch_size": BATCH_SIZE,
        "max_iter": math.ceil(steps / math.ceil(n / BATCH_SIZE)),
        "early_stopping": False,
    }
    return [VAETransformer(**shared, **network, **options)._without_warnings() for network in NETWORKS]
