"""From a plain description to a torch model, and the bound each model is trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skvae._engine.batches import Rows
from skvae._engine.runtime import generator
from skvae.nn.likelihoods import LIKELIHOODS, Bernoulli, Likelihood, LikelihoodFactory, SquaredError
from skvae.nn.models import VAE, Autoencoder, ColumnBlocks
from skvae.nn.networks import MLP, InputEncoding, NetworkFactory
from skvae.nn.noise import normal, uniform
from skvae.nn.objectives import OBJECTIVES, Bound
from skvae.nn.priors import PRIORS, Prior, PriorFactory

Block = tuple[str | LikelihoodFactory, tuple[int, ...]]

LOSSES: dict[str, LikelihoodFactory] = {"squared_error": SquaredError, "cross_entropy": Bernoulli}


@dataclass(frozen=True)
class ModelSpec:
    """All that a model is built from: numbers, strings and the user's factories.

    Parameters
    ----------
    centre, width, mean : ndarray of shape (p,)
        Robust location and scale (standardised units) and the mean of the encoded values, of each column.
    blocks : tuple of (likelihood, columns)
        A name or factory, and the indices of the columns it serves.
    with_mask : bool
        Whether the encoder sees which cells are missing.
    seed : int
        Of the start values.
    prior : str or factory or None
        None for a plain autoencoder.
    """

    centre: NDArray[np.floating]
    width: NDArray[np.floating]
    mean: NDArray[np.floating]
    blocks: tuple[Block, ...]
    n_components: int
    hidden_layer_sizes: tuple[int, ...]
    activation: str
    with_mask: bool
    seed: int
    encoder: NetworkFactory | None = None
    decoder: NetworkFactory | None = None
    prior: str | PriorFactory | None = None


def kinds_of(likelihoods: list[Any], option: str) -> list[str]:
    """The kind of column that each likelihood serves; `option` is the parameter that an error names."""
    known = {likelihood: _likelihood(likelihood, 1, option).kind for likelihood in dict.fromkeys(likelihoods)}
    return [known[likelihood] for likelihood in likelihoods]


def build_vae(spec: ModelSpec) -> VAE:
    """A VAE at its start values."""
    with _seeded_globals(spec.seed):
        factory = PRIORS[spec.prior] if isinstance(spec.prior, str) else spec.prior
        prior = factory(spec.n_components)  # type: ignore[misc]
        if not isinstance(prior, Prior):
            raise TypeError(f"A prior factory must return a skvae.nn.priors.Prior. Got {type(prior).__name__} instead.")
        return VAE(prior=prior, **_parts(spec, 2 * spec.n_components))


def build_autoencoder(spec: ModelSpec) -> Autoencoder:
    """A plain autoencoder at its start values."""
    with _seeded_globals(spec.seed):
        return Autoencoder(**_parts(spec, spec.n_components))


BUILDERS: dict[str, Callable[[ModelSpec], Any]] = {"vae": build_vae, "autoencoder": build_autoencoder}


@contextmanager
def _seeded_globals(seed: int) -> Iterator[None]:
    """Torch's global stream seeded for the user's factories, and given back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.random.set_rng_state(generator(seed).get_state())
        yield


def _parts(spec: ModelSpec, n_code: int) -> dict[str, Any]:
    option = "loss" if spec.prior is None else "likelihood"
    columns = ColumnBlocks(
        [(_likelihood(name, len(index), option), torch.tensor(index)) for name, index in spec.blocks]
    )
    encoding = InputEncoding(
        _float32(spec.centre), _float32(spec.width), clip=bool(spec.hidden_layer_sizes), with_mask=spec.with_mask
    )
    stream = generator(spec.seed)
    encoder = _network(spec.encoder, encoding.n_out, n_code, spec, spec.hidden_layer_sizes, stream)
    decoder = _network(spec.decoder, spec.n_components, columns.n_outputs, spec, spec.hidden_layer_sizes[::-1], stream)
    start = columns.start(_float32(spec.mean))
    return {"encoding": encoding, "encoder": encoder, "decoder": decoder, "columns": columns, "start": start}


def _float32(values: NDArray[np.floating]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def _network(
    factory: NetworkFactory | None,
    n_in: int,
    n_out: int,
    spec: ModelSpec,
    sizes: tuple[int, ...],
    stream: torch.Generator,
) -> nn.Module:
    if factory is None:
        return MLP(n_in, n_out, hidden_layer_sizes=sizes, activation=spec.activation, generator=stream)
    network = factory(n_in, n_out)
    if not isinstance(network, nn.Module):
        raise TypeError(
            f"A network factory must return a torch.nn.Module. Got {type(network).__name__} from {factory!r} instead."
        )
    with torch.no_grad():
        shape = tuple(network(torch.zeros(2, n_in)).shape)
    if shape != (2, n_out):
        raise ValueError(
            f"A network factory called with ({n_in}, {n_out}) must map (..., {n_in}) to (..., {n_out}). "
            f"{factory!r} mapped (2, {n_in}) to {shape} instead."
        )
    return network


def _likelihood(likelihood: str | LikelihoodFactory, n_columns: int, option: str) -> Likelihood:
    known = LIKELIHOODS if option == "likelihood" else LIKELIHOODS | LOSSES
    if (likelihood not in known) if isinstance(likelihood, str) else not callable(likelihood):
        raise ValueError(
            f"The '{option}' parameter must be 'auto', one of {sorted(LIKELIHOODS)}, a factory, or a dict from columns "
            f"to these. Got {likelihood!r} instead."
        )
    built = known[likelihood](n_columns) if isinstance(likelihood, str) else likelihood(n_columns)
    if not isinstance(built, Likelihood):
        raise TypeError(
            f"A likelihood factory must return a skvae.nn.likelihoods.Likelihood. Got {type(built).__name__} instead."
        )
    return built


def vae_bound(
    model: VAE, rows: Rows, noise: torch.Generator, beta: float, *, objective: str, n_draws: int, free_bits: float
) -> Bound:
    """A bound on log p(x) per row from `n_draws` reparameterised draws."""
    mean, log_std = model.posterior(rows.x, rows.observed)
    eps = normal((n_draws, *mean.shape), rows.x, noise)
    draws = model.draw_from(mean, log_std, rows.x, rows.observed, eps)
    return OBJECTIVES[objective](model, draws, beta=beta, free_bits=free_bits)


def autoencoder_bound(
    model: Autoencoder, rows: Rows, noise: torch.Generator, beta: float, *, corrupt: Corruption
) -> Bound:
    """Minus the reconstruction error per row, of the clean row from the corrupted one."""
    damaged = replace(rows, x=corrupt(rows.x, noise))
    value = model.log_likelihood(rows.x, rows.observed, model.encode(damaged.x, damaged.observed))
    return Bound(value, value, torch.zeros_like(value))


Corruption = Callable[[Tensor, torch.Generator], Tensor]


def no_corruption(x: Tensor, noise: torch.Generator) -> Tensor:
    """The rows as they are."""
    return x


def masking_corruption(x: Tensor, noise: torch.Generator, *, level: float) -> Tensor:
    """Each cell set to 0 (for a standardised column its mean) with probability `level` (Vincent et al. 2008)."""
    return x * (uniform(x.shape, x, noise) >= level)


def gaussian_corruption(x: Tensor, noise: torch.Generator, *, level: float) -> Tensor:
    """Normal noise of standard deviation `level`, in standardised units."""
    return x + level * normal(x.shape, x, noise)


CORRUPTIONS: dict[str, Callable[..., Tensor]] = {"masking": masking_corruption, "gaussian": gaussian_corruption}
