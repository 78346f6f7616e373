"""Likelihoods p(x|z): one class per family, for a block of columns of one kind.

``likelihood(n_columns)`` builds one. It reads `n_outputs` numbers per row from the decoder (`outputs` below, shape
(..., n_outputs)) and may own parameters of its own. Values of x are in standardised units for continuous and positive
columns (of the logarithm), in [0, 1] for binary ones, codes 0, 1, ... for categorical and ordinal ones, and whole
numbers for counts.
"""

from skvae.nn.likelihoods.base import Likelihood, LikelihoodFactory, WayBack
from skvae.nn.likelihoods.binary import Bernoulli, Gaps
from skvae.nn.likelihoods.categorical import Categorical, Ordinal
from skvae.nn.likelihoods.continuous import (
    MIN_LOG_STD,
    Gaussian,
    LocationScale,
    LogNormal,
    SmoothGaussian,
    SquaredError,
    StudentT,
    StudentTLogProb,
    bounded_below,
)
from skvae.nn.likelihoods.counts import (
    NegativeBinomial,
    Poisson,
    ZeroInflatedNegativeBinomial,
    ZeroInflatedPoisson,
)
from skvae.nn.likelihoods.mixtures import GaussianMixture, StudentTMixture

__all__ = [
    "LIKELIHOODS",
    "MIN_LOG_STD",
    "Bernoulli",
    "Categorical",
    "Gaps",
    "Gaussian",
    "GaussianMixture",
    "Likelihood",
    "LikelihoodFactory",
    "LocationScale",
    "LogNormal",
    "NegativeBinomial",
    "Ordinal",
    "Poisson",
    "SmoothGaussian",
    "SquaredError",
    "StudentT",
    "StudentTLogProb",
    "StudentTMixture",
    "WayBack",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedPoisson",
    "bounded_below",
]

LIKELIHOODS: dict[str, LikelihoodFactory] = {
    "gaussian": Gaussian,
    "student_t": StudentT,
    "gaussian_mixture": GaussianMixture,
    "student_t_mixture": StudentTMixture,
    "log_normal": LogNormal,
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "ordinal": Ordinal,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "zero_inflated_poisson": ZeroInflatedPoisson,
    "zero_inflated_negative_binomial": ZeroInflatedNegativeBinomial,
}
