"""Types of the estimators' parameters.

Rows have no type in common (arrays, sparse matrices, the frames of two libraries), so that X is Any, and so is what
comes back in the container of X or as `set_output` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from skvae.nn.likelihoods import LikelihoodFactory
    from skvae.nn.networks import NetworkFactory
    from skvae.nn.priors import PriorFactory
else:  # as far as it can be said without torch
    LikelihoodFactory = NetworkFactory = PriorFactory = Callable[..., Any]

__all__ = [
    "Activation",
    "ArrayLike",
    "Codes",
    "Flags",
    "Floats",
    "Integers",
    "LayerSizes",
    "LikelihoodFactory",
    "Likelihoods",
    "NetworkFactory",
    "PriorFactory",
    "Rules",
    "Seed",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

Seed = int | np.integer[Any] | np.random.RandomState | None
LayerSizes = int | Sequence[int] | NDArray[np.integer[Any]] | Literal["auto"]
Activation = Literal["relu", "tanh", "silu", "gelu", "elu", "softplus", "logistic"]
Codes = Literal["auto", "aggregated", "prior"]
LikelihoodName = Literal[
    "auto",
    "gaussian",
    "student_t",
    "gaussian_mixture",
    "student_t_mixture",
    "log_normal",
    "bernoulli",
    "poisson",
    "negative_binomial",
    "zero_inflated_poisson",
    "zero_inflated_negative_binomial",
    "categorical",
    "ordinal",
]
Rules = Sequence[tuple[Any, ...]] | None
Likelihoods = LikelihoodName | LikelihoodFactory | Mapping[Any, Any]
