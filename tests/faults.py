"""Deliberate faults: each is patched into a copy of the package, and a few quick tests must turn red.

Run ``python tests/faults.py`` (a few minutes), or ``python tests/faults.py WORD ...`` for the faults whose name has one
of the words. Prints a table; exits with 1 if a fault survives or the tests are red without one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
COPIED = ("skvae", "tests", "pyproject.toml")


class Fault(NamedTuple):
    """A line of the source, what a careless hand makes of it, and the tests that must notice."""

    name: str
    file: str  # below skvae/
    old: str  # occurs once in the file
    new: str
    tests: tuple[str, ...]  # files or node ids below tests/


OBJECTIVES = "nn/test_objectives.py"
MODELS = "nn/test_models.py"
LIKELIHOODS = "nn/test_likelihoods.py"
TRAINING = "engine/test_training.py"
ENGINE = "engine/test_engine.py"
SCHEMA = "table/test_schema.py"
UNITS = "test_oracle.py::test_standard_scaler_changes_scores_by_its_jacobian_only"

ELBO = "value = reconstruction - beta * (kl + _missing_bits(model, draws, free_bits))"

FAULTS = (
    Fault("KL dropped", "nn/objectives.py", ELBO, "value = reconstruction", (OBJECTIVES,)),
    Fault("KL sign turned", "nn/objectives.py", ELBO, ELBO.replace("- beta", "+ beta"), (OBJECTIVES,)),
    Fault("KL averaged over components", "nn/models.py", "else closed.sum(-1)", "else closed.mean(-1)", (OBJECTIVES,)),
    Fault(
        "KL's log-variance halved", "nn/priors.py", "- 1.0) - log_std", "- 1.0) - 0.5 * log_std", ("nn/test_priors.py",)
    ),
    Fault(
        "prior left out of the weights",
        "nn/models.py",
        "return self.prior.log_prob(draws.z) - log_q",
        "return -log_q",
        (OBJECTIVES,),
    ),
    Fault(
        "posterior left out of the weights",
        "nn/models.py",
        "return self.prior.log_prob(draws.z) - log_q",
        "return self.prior.log_prob(draws.z)",
        (OBJECTIVES,),
    ),
    Fault(
        "importance weights replaced by their mean logarithm",
        "nn/objectives.py",
        "return torch.logsumexp(log_w, dim=0) - math.log(log_w.shape[0])",
        "return log_w.mean(0)",
        (OBJECTIVES,),
    ),
    Fault(
        "importance weights summed, not averaged",
        "nn/objectives.py",
        "torch.logsumexp(log_w, dim=0) - math.log(log_w.shape[0])",
        "torch.logsumexp(log_w, dim=0)",
        (OBJECTIVES,),
    ),
    Fault("Jacobian dropped", "_vae.py", "scores + schema.log_jacobian(rows).sum(axis=1)", "scores", (UNITS,)),
    Fault(
        "Jacobian counts missing cells",
        "_table/schema.py",
        "observed = ~np.isnan(X[:, self.active])",
        "observed = np.ones((len(X), len(self.active)))",
        (SCHEMA,),
    ),
    Fault("Jacobian's sign turned", "_table/schema.py", "= -(observed @", "= (observed @", (SCHEMA,)),
    Fault(
        "mask ignored by the likelihood",
        "nn/models.py",
        "else (cells * observed).sum(-1)",
        "else cells.sum(-1)",
        (MODELS,),
    ),
    Fault("mask ignored by the input", "nn/networks.py", "u = u * observed", "pass", ("nn/test_networks.py",)),
    Fault(
        "mask hidden from the encoder",
        "nn/networks.py",
        "torch.ones_like(u) if observed is None else observed.to(u.dtype)",
        "torch.ones_like(u)",
        ("nn/test_networks.py",),
    ),
    Fault(
        "likelihood averaged over columns",
        "nn/models.py",
        "return cells.sum(-1) if observed is None",
        "return cells.mean(-1) if observed is None",
        (OBJECTIVES,),
    ),
    Fault(
        "sigma of the posterior squared",
        "nn/models.py",
        "z = mean + torch.exp(log_std) * eps  #",
        "z = mean + torch.exp(2.0 * log_std) * eps  #",
        (MODELS,),
    ),
    Fault(
        "sigma of the Gaussian squared",
        "nn/likelihoods.py",
        "return location + torch.exp(log_scale) * normal(",
        "return location + torch.exp(2.0 * log_scale) * normal(",
        (LIKELIHOODS,),
    ),
    Fault(
        "Student's t not normalised",
        "nn/likelihoods.py",
        "constant = torch.lgamma(half) - torch.lgamma(0.5 * df) - 0.5 * torch.log(math.pi * df)",
        "constant = 0.0",
        (LIKELIHOODS,),
    ),
    Fault(
        "variance floor off",
        "nn/likelihoods.py",
        "return floor + F.softplus(raw - floor)",
        "return raw",
        (LIKELIHOODS,),
    ),
    Fault(
        "weights of rows ignored in the loss",
        "_engine/batches.py",
        "return values.mean() if self.weight is None else (values * self.weight).mean()",
        "return values.mean()",
        ("engine/test_batches.py", TRAINING),
    ),
    Fault(
        "weights of rows ignored in the scaling",
        "_table/kinds.py",
        "mean = np.average(values, weights=weight)",
        "mean = np.average(values)",
        ("table/test_kinds.py", SCHEMA),
    ),
    Fault(
        "order and sign of the codes ignored on the way in",
        "_engine/engine.py",
        "out[:, self.order] = z * self.sign.astype(z.dtype)",
        "out[:] = z",
        (ENGINE,),
    ),
    Fault(
        "transform draws from the posterior",
        "nn/models.py",
        "return self.posterior(x, observed)[0]",
        "return (lambda m, s: m + s.exp() * torch.randn_like(m))(*self.posterior(x, observed))",
        (ENGINE,),
    ),
    Fault(
        "empty rows not scored 0",
        "_engine/engine.py",
        "score if rows.observed is None else score.where(rows.observed.any(-1), 0.0)",
        "score",
        (ENGINE,),
    ),
    Fault(
        "last weights kept, not the average",
        "_engine/engine.py",
        "self._optimiser.average.state_dict()",
        "self._optimiser.module.state_dict()",
        (ENGINE,),
    ),
    Fault(
        "training goes on after NaN", "_engine/training.py", "optimiser.roll_back()", "optimiser.commit()", (TRAINING,)
    ),
    Fault(
        "warm-up skipped",
        "_engine/training.py",
        "return self.beta if step >= self.warmup_steps else self.beta * step / self.warmup_steps",
        "return self.beta",
        (TRAINING,),
    ),
    Fault(
        "one column's likelihood serves another",
        "nn/models.py",
        'self.register_buffer("scatter", torch.argsort(columns))',
        'self.register_buffer("scatter", columns)',
        (MODELS,),
    ),
)


def run_tests(house: Path, tests: tuple[str, ...]) -> bool:
    """Whether the tests of a copied house pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(house), "PYTHONDONTWRITEBYTECODE": "1"}
    command += [f"tests/{test}" for test in tests]
    done = subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):  # neither passed nor failed: nothing was tested
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.returncode == 0


def is_caught(house: Path, fault: Fault) -> bool:
    """Whether the tests turn red with the fault in the source."""
    path = house / "skvae" / fault.file
    source = path.read_text(encoding="utf-8")
    if source.count(fault.old) != 1:
        raise RuntimeError(f"{fault.name}: {fault.old!r} occurs {source.count(fault.old)} times in {fault.file}")
    path.write_text(source.replace(fault.old, fault.new), encoding="utf-8")
    try:
        return not run_tests(house, fault.tests)
    finally:
        path.write_text(source, encoding="utf-8")


def copied_house(folder: str) -> Path:
    """A copy of what the tests need."""
    house = Path(folder) / "house"
    house.mkdir()
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, house / name)
    return house


def main(words: list[str]) -> int:
    """Try the faults whose name has one of the words (all without words)."""
    chosen = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        house = copied_house(folder)
        if not run_tests(house, tuple(dict.fromkeys(test for fault in chosen for test in fault.tests))):
            print("The tests are red without any fault.")
            return 1
        survivors = 0
        for fault in chosen:
            caught = is_caught(house, fault)
            survivors += not caught
            print(f"{'caught' if caught else 'SURVIVED':9} {fault.name:55} {fault.file}", flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} faults caught")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
