"""From a plain description to a torch model."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skvae._engine.optimiser import copied
from skvae._engine.runtime import generator, lent_streams, own_torch_state
from skvae._table.kinds import INDICATORS, KINDS, NUMBERS
from skvae.nn.likelihoods import LIKELIHOODS, Bernoulli, Gaps, Likelihood, LikelihoodFactory, SquaredError
from skvae.nn.models import VAE, Autoencoder, ColumnBlocks
from skvae.nn.networks import MLP, SEEN, InputEncoding, NetworkFactory, TableEncoding
from skvae.nn.priors import PRIORS, Prior, PriorFactory

Block = tuple[str | LikelihoodFactory, int]
Quantiles = NDArray[np.floating] | None  # of the encoded columns, (n_quantiles, p), at even probabilities from 0 to 1

LOSSES: dict[str, LikelihoodFactory] = {"squared_error": SquaredError, "cross_entropy": Bernoulli}

GAPS = "gaps"  # the likelihood of cells that say what is missing, which no user asks for


@dataclass(frozen=True)
class ModelSpec:
    """All that a model is built from: numbers, strings and the user's factories.

    Parameters
    ----------
    centre, width, mean : ndarray of shape (p,)
        Robust location and scale (in what the encoder sees) and the mean of the encoded values, of each column. Here a
        column is one of the encoded row: a cell.
    blocks : tuple of (likelihood, n_columns)
        A name or factory, and how many columns it serves, the next ones.
    with_mask : bool
        Whether the encoder sees which cells are missing.
    seed : int
        Of the start values.
    prior : str or factory or None
        None for a plain autoencoder.
    frequencies : tuple, optional
        For each column None, or the share of each code where its cells hold codes.
    gates : tuple of (value, atom)
        Columns of values that count only where the code in the other column is 0: the value is no atom.
    seen : tuple of int, optional
        The columns in the order in which the encoder sees them.
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
    frequencies: tuple[tuple[float, ...] | None, ...] | None = None
    gates: tuple[tuple[int, int], ...] = ()
    seen: tuple[int, ...] | None = None

    @property
    def n_columns(self) -> int:
        """Cells of the encoded row."""
        return len(self.centre)

    @property
    def shares(self) -> tuple[tuple[float, ...] | None, ...]:
        """For each column None, or the share of each code."""
        return (None,) * self.n_columns if self.frequencies is None else self.frequencies

    @property
    def has_foreign_modules(self) -> bool:
        """Whether some module is built by a factory of the user's own, which may draw from the global streams."""
        factories = [self.encoder, self.decoder, self.prior, *(likelihood for likelihood, _ in self.blocks)]
        return any(factory is not None and _is_foreign(factory) for factory in factories)


def class_of(factory: Any) -> type | None:
    """The class that a factory is, or is a partial of; None where it is another callable."""
    while isinstance(factory, partial):
        factory = factory.func
    return factory if isinstance(factory, type) else None


def _is_foreign(factory: Any) -> bool:
    """Whether it is neither a name nor one of the classes of `skvae.nn`, which draw from nothing global."""
    made = class_of(factory)
    return not isinstance(factory, str) and (made is None or not made.__module__.startswith("skvae.nn."))


def known_kind(likelihood: Any, option: str) -> str | None:
    """The kind of column that a likelihood serves, as its class says; None for a callable that hides its class."""
    kind = getattr(
        class_of(_known(option).get(likelihood) if isinstance(likelihood, str) else likelihood), "kind", None
    )
    return kind if isinstance(kind, str) else None


class Kinds:
    """The kinds of column that likelihoods serve.

    Only a callable that hides its class is called for it, and once. `option` is the parameter that an error names.
    """

    def __init__(self, option: str) -> None:
        self.option = option
        self._called: list[tuple[Any, str]] = []

    def of(self, likelihood: Any) -> str:
        """The kind of column that this likelihood (a name or a factory) serves."""
        kind = known_kind(likelihood, self.option)
        if kind is None:
            kind = next((kind for known, kind in self._called if known is likelihood), None)
        if kind is None:
            with own_torch_state(), lent_streams(0):
                kind = _likelihood(likelihood, 1, self.option).kind
            self._called.append((likelihood, kind))
        if kind not in KINDS:
            raise ValueError(
                f"A likelihood's kind must be one of {sorted(KINDS)}. {likelihood!r} has {kind!r} instead."
            )
        return kind


def starts_by_quantiles(likelihood: Any) -> bool:
    """Whether a likelihood (a name or a factory) may read quantiles to start, as far as its class tells."""
    made = class_of(_known("loss").get(likelihood) if isinstance(likelihood, str) else likelihood)
    return made is None or getattr(made, "start_at", None) is not Likelihood.start_at


def build_vae(spec: ModelSpec, quantiles: Quantiles = None) -> VAE:
    """A VAE at its start values."""
    with lent_streams(spec.seed) if spec.has_foreign_modules else nullcontext():
        return VAE(prior=_prior(spec), **_modules(spec, 2 * spec.n_components, quantiles))


def build_autoencoder(spec: ModelSpec, quantiles: Quantiles = None) -> Autoencoder:
    """A plain autoencoder at its start values."""
    with lent_streams(spec.seed) if spec.has_foreign_modules else nullcontext():
        return Autoencoder(**_modules(spec, spec.n_components, quantiles))


def _prior(spec: ModelSpec) -> Prior:
    factory: Any = PRIORS[spec.prior] if isinstance(spec.prior, str) else spec.prior
    streamed = not _is_foreign(factory) and getattr(class_of(factory), "needs_generator", False)
    options = {"generator": generator(spec.seed)} if streamed else {}
    prior = _called(factory, spec.n_components, "The 'prior' parameter", **options)
    if not isinstance(prior, Prior):
        raise TypeError(f"A prior factory must return a skvae.nn.priors.Prior. Got {type(prior).__name__} instead.")
    return prior


def _called(factory: Callable[..., Any], n: int, subject: str, **options: Any) -> Any:
    """What a factory makes of n columns or components; a copy, as a user's may return the same module each time."""
    try:
        made = factory(n, **options)
    except TypeError as error:
        how = ", ".join([str(n), *(f"{name}=..." for name in options)])
        raise TypeError(
            f"{subject} takes a factory that is called with ({how}). {factory!r} failed: {error}"
        ) from error
    return copied(made) if _is_foreign(factory) and isinstance(made, nn.Module) else made


def _modules(spec: ModelSpec, n_code: int, quantiles: Quantiles) -> dict[str, Any]:
    option = "loss" if spec.prior is None else "likelihood"
    shares = iter(spec.shares)
    likelihoods = [_likelihood(name, n, option, list(itertools.islice(shares, n))) for name, n in spec.blocks]
    columns = ColumnBlocks(likelihoods, spec.gates)
    stream = generator(spec.seed)
    encoding = _encoding(spec, likelihoods, stream)
    sizes = spec.hidden_layer_sizes
    encoder = _network(spec.encoder, encoding.n_out, n_code, spec, sizes, stream, rows=(2,))
    decoder = _network(spec.decoder, spec.n_components, columns.n_outputs, spec, sizes[::-1], stream, rows=(3, 2))
    start = columns.start(_float32(spec.mean), None if quantiles is None else _float32(quantiles))
    return {"encoding": encoding, "encoder": encoder, "decoder": decoder, "columns": columns, "start": start}


def _encoding(spec: ModelSpec, likelihoods: list[Likelihood], stream: torch.Generator) -> InputEncoding | TableEncoding:
    """What the encoder sees: cells of numbers scaled and clipped, codes as indicators or embedded."""
    seen_as = _seen_as(likelihoods)
    order = list(range(spec.n_columns) if spec.seen is None else spec.seen)
    numbers = [j for j in order if seen_as[j] != INDICATORS]
    options: dict[str, Any] = {"clip": bool(spec.hidden_layer_sizes), "with_mask": spec.with_mask}
    scaling, cells = (_float32(spec.centre[numbers]), _float32(spec.width[numbers])), torch.tensor(numbers).long()
    through = {name: own for name in SEEN if (own := [j for j in numbers if seen_as[j] == name])}
    if len(numbers) == len(order) and not through:
        in_place = numbers == list(range(spec.n_columns))
        return InputEncoding(*scaling, **options, cells=None if in_place else cells)
    codes = [(j, len(spec.shares[j] or ())) for j in order if seen_as[j] == INDICATORS]
    return TableEncoding(InputEncoding(*scaling, **options), cells, through, codes, stream)


def _seen_as(likelihoods: list[Likelihood]) -> list[str]:
    """How the encoder sees each column."""
    seen_as = [KINDS[likelihood.kind].seen_as for likelihood in likelihoods for _ in range(likelihood.n_columns)]
    known = [NUMBERS, INDICATORS, *SEEN]
    if not set(seen_as) <= set(known):
        raise ValueError(f"A kind's seen_as must be one of {known}. Got {sorted(set(seen_as) - set(known))} instead.")
    return seen_as


def _float32(values: NDArray[np.floating]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def _network(
    factory: NetworkFactory | None,
    n_in: int,
    n_out: int,
    spec: ModelSpec,
    sizes: tuple[int, ...],
    stream: torch.Generator,
    *,
    rows: tuple[int, ...],
) -> nn.Module:
    """The user's network, tried out on so many rows (and draws of them), or a multilayer perceptron."""
    if factory is None:
        return MLP(n_in, n_out, hidden_layer_sizes=sizes, activation=spec.activation, generator=stream)
    network = factory(n_in, n_out)
    if not isinstance(network, nn.Module):
        raise TypeError(
            f"A network factory must return a torch.nn.Module. Got {type(network).__name__} from {factory!r} instead."
        )
    _try_out(network, f"A network factory called with ({n_in}, {n_out})", (*rows, n_in), (*rows, n_out), factory)
    return copied(network)  # the factory may return the same one each time


def _try_out(network: nn.Module, subject: str, came: tuple[int, ...], wanted: tuple[int, ...], factory: Any) -> None:
    """Raise ValueError unless a user's network maps float32 tensors of one shape to such of the other."""
    try:
        with torch.no_grad():
            out = network(torch.zeros(came))
    except Exception as error:
        raise ValueError(
            f"{subject} must map {came} to {wanted} in float32. What {factory!r} made failed: {error}"
        ) from error
    found = f"{tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
    if isinstance(out, Tensor) and out.dtype != torch.float32:
        found += f" of {out.dtype}"
    if found != f"{wanted}":
        raise ValueError(
            f"{subject} must map (..., {came[-1]}) to (..., {wanted[-1]}) in float32. {factory!r} mapped {came} to "
            f"{found} instead."
        )
    with torch.no_grad():
        precise = copied(network).double()
        try:
            kept = precise(torch.zeros(came, dtype=torch.float64)).dtype == torch.float64
        except RuntimeError:
            kept = False
    if not kept:
        raise ValueError(
            f"{subject} must also map float64 to float64 once its weights are (`.double()`): scores are computed so. "
            f"What {factory!r} made does not."
        )


def _known(option: str) -> dict[str, LikelihoodFactory]:
    return (LIKELIHOODS if option == "likelihood" else LIKELIHOODS | LOSSES) | {GAPS: Gaps}


def _likelihood(
    likelihood: str | LikelihoodFactory,
    n_columns: int,
    option: str,
    frequencies: list[tuple[float, ...] | None] | None = None,
) -> Likelihood:
    known = _known(option)
    if (likelihood not in known) if isinstance(likelihood, str) else not callable(likelihood):
        raise ValueError(
            f"The '{option}' parameter must be 'auto', one of {sorted(LIKELIHOODS)}, a factory, or a dict from columns "
            f"to these. Got {likelihood!r} instead."
        )
    factory = known[likelihood] if isinstance(likelihood, str) else likelihood
    coded = frequencies is not None and any(shares is not None for shares in frequencies)
    if isinstance(factory, nn.Module):
        raise TypeError(
            f"The '{option}' parameter takes a factory: a class such as {type(factory).__name__}, or a function that "
            f"makes the likelihood of n_columns columns. Got what it makes instead, {factory!r}."
        )
    options = {"frequencies": frequencies} if coded else {}
    built = _called(factory, n_columns, f"The '{option}' parameter", **options)
    if not isinstance(built, Likelihood):
        raise TypeError(
            f"A likelihood factory must return a skvae.nn.likelihoods.Likelihood. Got {type(built).__name__} instead."
        )
    if built.n_columns != n_columns:
        raise ValueError(
            f"A likelihood factory called with {n_columns} must return a likelihood of so many columns. {factory!r} "
            f"returned one of {built.n_columns} instead."
        )
    wanted = [len(shares or (0,)) for shares in frequencies or []]
    if frequencies is not None and built.n_statistics != wanted:
        raise ValueError(
            f"A likelihood's n_statistics must be one for each number and each level of its columns, {wanted}. That of "
            f"{factory!r} is {built.n_statistics} instead: for levels it follows from n_levels."
        )
    return built
