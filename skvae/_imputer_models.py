"""The models that `VAEImputer` fits where it is given none, as chosen by `python -m benchmarks.run imputation`."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from skvae._vae import VAETransformer
from skvae.nn.likelihoods import Gaussian

BATCH_SIZE = 64
STEPS = (1_000, 2_000)  # from here to there: the more rows, the more ...
STEPS_PER_BATCH = 100  # ... so many for each batch that the rows make
N_MODELS = 2


def default_models(n: int, p: int, **options: Any) -> list[VAETransformer]:
    """For n rows of p columns: models that differ in their start values alone."""
    steps = float(np.clip(STEPS_PER_BATCH * n / BATCH_SIZE, *STEPS))
    parameters = {
        "n_components": min(p, 20),
        "likelihood": NUMBERS,
        "n_train_samples": 20,
        "alpha": 0.05,
        "batch_size": BATCH_SIZE,
        "max_iter": math.ceil(steps / math.ceil(n / BATCH_SIZE)),
        "early_stopping": False,
    }
    return [VAETransformer(**parameters, **options)._without_warnings() for _ in range(N_MODELS)]


NUMBERS = partial(Gaussian, scale="column", min_scale=0.1)
