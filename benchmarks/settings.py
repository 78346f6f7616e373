"""The grid that the defaults were chosen on: options that differ from the default in one factor."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from benchmarks.methods.draws import DRAWS, Draws
from benchmarks.methods.heads import AutoregressiveHead, FlowPrior, SplineHead
from benchmarks.methods.vae import Averaged, InBfloat16, VAEMethod, constant
from skvae import VAETransformer
from skvae._model.auto import LONG, SHORT, Schedule
from skvae.nn.likelihoods import Gaussian, StudentT
from skvae.nn.priors import Mixture

# Tables of several sizes and shapes: the study is too long for all of them.
STUDY_TABLES = (
    "sk/breast_cancer",
    "sk/diabetes",
    "adbench/19_landsat",
    "adbench/20_letter",
    "adbench/23_mammography",
    "adbench/29_Pima",
    "adbench/37_Stamps",
    "uci/concrete",
    "uci/wine_white",
    "mixed/abalone",
)


def _parameter(name: str, *values: Any) -> dict[str, VAEMethod]:
    """One option per value of a parameter, the default among them."""
    default = VAETransformer().get_params()[name]
    return {str(value): VAEMethod({name: value}) for value in dict.fromkeys([default, *values])}


def _constant(name: str, *values: float) -> dict[str, VAEMethod]:
    """One option per value of a module constant, the present one among them."""
    return {str(value): VAEMethod(constants={name: value}) for value in sorted({constant(name), *values})}


def _steps(share: float) -> dict[str, Schedule]:
    """The schedules with such a share of their steps."""
    return {
        f"skvae._model.auto.{name}": own._replace(steps=round(share * own.steps))
        for name, own in (("SHORT", SHORT), ("LONG", LONG))
    }


# Other ways to the density of a cell than modes; two of them need zuko.
HEADS: dict[str, VAEMethod | Averaged] = {
    "default": VAEMethod(),
    "monotone spline per cell": VAEMethod({"likelihood": SplineHead}),
    "modes, autoregressive in groups of 4 columns": VAEMethod({"likelihood": partial(AutoregressiveHead, n_modes=5)}),
    "modes, a spline flow as the prior": VAEMethod({"prior": FlowPrior}),
    "mean density of 4 models": Averaged(VAEMethod(), 4),
}

FACTORS: dict[str, Mapping[str, VAEMethod | Averaged | Draws | InBfloat16]] = {
    "likelihood": {
        "Gaussian, shared": VAEMethod({"likelihood": partial(Gaussian, scale="shared")}),
        "Gaussian, per column": VAEMethod({"likelihood": partial(Gaussian, scale="column")}),
        "Gaussian, per cell": VAEMethod({"likelihood": "gaussian"}),
        "Student-t, per column": VAEMethod({"likelihood": partial(StudentT, scale="column")}),
        "Student-t, per cell": VAEMethod({"likelihood": "student_t"}),
        "auto": VAEMethod(),
    },
    "objective": {
        "ELBO, 1 draw": VAEMethod({"objective": "elbo", "n_train_samples": 1}),
        "ELBO, 5 draws": VAEMethod({"objective": "elbo", "n_train_samples": 5}),
        "IWAE, 2 draws": VAEMethod({"objective": "iwae", "n_train_samples": 2}),
        "IWAE, 5 draws": VAEMethod({"objective": "iwae", "n_train_samples": 5}),
        "IWAE, 10 draws": VAEMethod({"objective": "iwae", "n_train_samples": 10}),
    },
    "prior": {
        "standard normal": VAEMethod({"prior": "standard_normal"}),
        "mixture of 8": VAEMethod({"prior": "mixture"}),
        "mixture of 32": VAEMethod({"prior": partial(Mixture, n_components=32)}),
    },
    "components": _parameter("n_components", 2, 5, 20),
    "hidden layers": _parameter(
        "hidden_layer_sizes", (), (32,), (64, 32), (64, 64), (128, 64), (64, 64, 64), (64, 64, 64, 64)
    ),
    "activation": _parameter("activation", "relu", "silu", "tanh"),
    "learning rate": _parameter("learning_rate_init", 1e-3, 3e-3, 1e-2, 3e-2),
    "schedule": {
        "one cycle": VAEMethod({"learning_rate": "one_cycle"}),
        "constant": VAEMethod({"learning_rate": "constant"}),
        "constant, rate 0.001": VAEMethod({"learning_rate": "constant", "learning_rate_init": 1e-3}),
    },
    "batch size": _parameter("batch_size", 32, 128, 512),
    "solver": _parameter("solver", "muon", "adam"),
    "steps": {f"{share:g} times the default's": VAEMethod(constants=_steps(share)) for share in (0.5, 1.0, 1.5, 2.0)},
    "weight decay": _parameter("alpha", 0.0, 0.01, 0.1, 0.2, 0.4),
    "KL warm-up": _parameter("kl_warmup", 0.0, 0.1, 0.3),
    "early stopping": _parameter("early_stopping", True, False),
    "weight averaging": _constant("skvae._engine.optimiser.AVERAGING", 0.0, 0.99, 0.998),
    "floor of log std": _constant("skvae.nn.likelihoods.continuous.MIN_LOG_STD", -3.0, -4.5, -6.0, -8.0),
    "input squashing": _constant("skvae.nn.networks.CLIP", 1.5, 3.0, 6.0, float("inf")),
    "draws": DRAWS,
    "products": {"single precision": VAEMethod(), "bfloat16 allowed": InBfloat16(VAEMethod())},
    "heads": HEADS,
}
