"""The grid that the defaults were chosen on: options that differ from the default in one factor."""

from __future__ import annotations

from functools import partial

from benchmarks.methods.vae import VAEMethod
from skvae.nn.likelihoods import Gaussian, StudentT
from skvae.nn.priors import Mixture

# Tables of several sizes and shapes; the others are not looked at when defaults are chosen.
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

FACTORS: dict[str, dict[str, VAEMethod]] = {
    "likelihood": {
        "Gaussian, shared": VAEMethod({"likelihood": partial(Gaussian, scale="shared")}),
        "Gaussian, per column": VAEMethod({"likelihood": partial(Gaussian, scale="column")}),
        "Gaussian, per cell": VAEMethod({"likelihood": "gaussian"}),
        "Student-t, per column": VAEMethod({"likelihood": partial(StudentT, scale="column")}),
        "Student-t, per cell": VAEMethod({"likelihood": "student_t"}),
    },
    "objective": {
        "ELBO, 1 draw": VAEMethod({"objective": "elbo", "n_train_samples": 1}),
        "ELBO, 5 draws": VAEMethod({"objective": "elbo", "n_train_samples": 5}),
        "IWAE, 5 draws": VAEMethod({"objective": "iwae", "n_train_samples": 5}),
        "IWAE, 10 draws": VAEMethod({"objective": "iwae", "n_train_samples": 10}),
    },
    "prior": {
        "standard normal": VAEMethod({"prior": "standard_normal"}),
        "mixture of 8": VAEMethod({"prior": "mixture"}),
        "mixture of 32": VAEMethod({"prior": partial(Mixture, n_components=32)}),
    },
    "components": {str(k): VAEMethod({"n_components": k}) for k in ("auto", 2, 5, 20)},
    "hidden layers": {
        str(sizes): VAEMethod({"hidden_layer_sizes": sizes})
        for sizes in ((), (32,), (64, 32), (128, 64), (128, 128), (256, 128))
    },
    "activation": {name: VAEMethod({"activation": name}) for name in ("relu", "silu", "tanh")},
    "learning rate": {str(rate): VAEMethod({"learning_rate_init": rate}) for rate in (1e-3, 3e-3, 1e-2)},
    "schedule": {
        "one cycle": VAEMethod({"learning_rate": "one_cycle"}),
        "constant": VAEMethod({"learning_rate": "constant"}),
        "constant, rate 0.001": VAEMethod({"learning_rate": "constant", "learning_rate_init": 1e-3}),
    },
    "batch size": {str(size): VAEMethod({"batch_size": size}) for size in ("auto", 32, 128, 512)},
    "steps": {str(n): VAEMethod(constants={"skvae._auto.STEPS": n}) for n in (1000, 2000, 3000, 4000, 6000)},
    "weight decay": {str(alpha): VAEMethod({"alpha": alpha}) for alpha in (0.0, 0.01, 0.1, 0.3)},
    "KL warm-up": {str(share): VAEMethod({"kl_warmup": share}) for share in (0.0, 0.1, 0.3)},
    "early stopping": {name: VAEMethod({"early_stopping": on}) for name, on in (("auto", "auto"), ("off", False))},
    "weight averaging": {
        str(past): VAEMethod(constants={"skvae._engine.training.AVERAGING": past}) for past in (0.0, 0.99, 0.998)
    },
    "floor of log std": {
        str(floor): VAEMethod(constants={"skvae.nn.likelihoods.MIN_LOG_STD": floor})
        for floor in (-3.0, -4.5, -6.0, -8.0)
    },
    "input squashing": {
        str(clip): VAEMethod(constants={"skvae.nn.networks.CLIP": clip}) for clip in (1.5, 3.0, 6.0, float("inf"))
    },
}
