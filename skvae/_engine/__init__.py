"""The torch runtime: NumPy in, NumPy out. Who stands above takes its modules from here, on first use."""

from typing import TYPE_CHECKING

from skvae._lazy import on_first_use

if TYPE_CHECKING:
    from skvae._engine import batches as batches
    from skvae._engine import bounds as bounds
    from skvae._engine import build as build
    from skvae._engine import closed_form as closed_form
    from skvae._engine import drawing as drawing
    from skvae._engine import engine as engine
    from skvae._engine import exact as exact
    from skvae._engine import importance as importance
    from skvae._engine import optimiser as optimiser
    from skvae._engine import pareto as pareto
    from skvae._engine import runtime as runtime
    from skvae._engine import scoring as scoring
    from skvae._engine import training as training
    from skvae._engine import vae as vae
else:
    __getattr__ = on_first_use(
        __name__,
        "batches",
        "bounds",
        "build",
        "closed_form",
        "drawing",
        "engine",
        "exact",
        "importance",
        "optimiser",
        "pareto",
        "runtime",
        "scoring",
        "training",
        "vae",
    )
