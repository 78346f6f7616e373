"""Variational autoencoders as scikit-learn estimators."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "AutoencoderTransformer": "skvae._autoencoder",
    "Explanation": "skvae._model.explaining",
    "VAEImputer": "skvae._imputer",
    "VAEOutlierDetector": "skvae._outlier",
    "VAETransformer": "skvae._vae",
    "summarize": "skvae._vae",
}

__all__ = [
    "AutoencoderTransformer",
    "Explanation",
    "VAEImputer",
    "VAEOutlierDetector",
    "VAETransformer",
    "__version__",
    "summarize",
]

if TYPE_CHECKING:
    from skvae._autoencoder import AutoencoderTransformer
    from skvae._imputer import VAEImputer
    from skvae._model.explaining import Explanation
    from skvae._outlier import VAEOutlierDetector
    from skvae._vae import VAETransformer, summarize
else:

    def __getattr__(name: str) -> Any:
        """Import a public name on first use, so that ``import skvae`` waits for nothing."""
        if name not in _HOMES:
            raise AttributeError(f"module 'skvae' has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
