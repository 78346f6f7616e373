"""The models that `VAEImputer` fits where it is given none."""

from __future__ import annotations

from typing import Any

from skvae._vae import VAETransformer


def default_models(n: int, p: int, **options: Any) -> list[VAETransformer]:
    """For n rows of p columns."""
    return [VAETransformer(**options)]
