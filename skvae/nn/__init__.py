"""The mathematics in torch: networks, likelihoods, priors, objectives, and the models that compose them.

Nothing here reads data, loops over epochs, picks a device or sets a seed.
"""

from typing import TYPE_CHECKING

from skvae._lazy import on_first_use

if TYPE_CHECKING:
    from skvae.nn import likelihoods as likelihoods
    from skvae.nn import models as models
    from skvae.nn import networks as networks
    from skvae.nn import noise as noise
    from skvae.nn import objectives as objectives
    from skvae.nn import passes as passes
    from skvae.nn import priors as priors
    from skvae.nn import pullbacks as pullbacks
else:
    __getattr__ = on_first_use(
        __name__,
        "likelihoods",
        "models",
        "networks",
        "noise",
        "objectives",
        "passes",
        "priors",
        "pullbacks",
    )
