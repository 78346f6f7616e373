"""The way through a model and back: codes, draws and likelihoods of a batch, each with its pullback.

Features come first and rows last, as in `skvae.nn.pullbacks`; rows x come as everywhere else, (b, p).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from skvae.nn.likelihoods.base import Likelihood
from skvae.nn.models import MAX_LOG_STD, MIN_LOG_STD, VAE, Autoencoder
from skvae.nn.networks import MLP, TableEncoding, features_first, pass_through
from skvae.nn.priors import Prior
from skvae.nn.pullbacks import Pullback, by_autograd, has_closed_form

_to_clamped = torch.ops.aten.hardtanh_backward.grad_input


def needs_autograd(model: Autoencoder) -> bool:
    """Whether any part of the model is left to autograd, or is a user's own and may call it."""
    if learns_to_look(model) and type(model.encoding) is not TableEncoding:
        return True
    if any(not isinstance(part, MLP) or part.packed is None for part in (model.encoder, model.decoder)):
        return True
    parts: list[tuple[nn.Module, type[nn.Module]]] = [(part, Likelihood) for part in model.columns.likelihoods]
    parts += [(model.prior, Prior)] if isinstance(model, VAE) else []
    ours = all(type(part).__module__.startswith("skvae.nn.") for part, _ in parts)
    return not (ours and all(has_closed_form(part, "with_pullback", base) for part, base in parts))


def learns_to_look(model: Autoencoder) -> bool:
    """Whether what the encoder sees of rows changes in training: it is in part a learned embedding."""
    return any(parameter.requires_grad for parameter in model.encoding.parameters())


def encode(
    model: Autoencoder, x: Tensor, observed: Tensor | None, seen: Tensor | None = None
) -> tuple[Tensor, Pullback]:
    """What the encoder says of each row, (n_code, b), before a row without an observed cell is seen to.

    `seen` is what it sees of them, (b, width), where that is known: of a model that does not learn to look.
    """
    if seen is None and not learns_to_look(model):
        seen = model.encoding(x, observed)
    if seen is not None:
        return pass_through(model.encoder, seen.T, to_input=False)
    if type(model.encoding) is TableEncoding:
        encoded, to_encoding = model.encoding.with_pullback(x, observed)
    else:
        encoded, to_encoding = by_autograd(lambda _: model.encoding(x, observed).T, x.new_zeros(()))
    code, to_seen = pass_through(model.encoder, encoded)
    return code, lambda grad: to_encoding(to_seen(grad))


def autoencode(
    model: Autoencoder, x: Tensor, observed: Tensor | None, seen: Tensor | None = None
) -> tuple[Tensor, Pullback]:
    """The code of each row, (k, b)."""
    code, pull = encode(model, x, observed, seen)
    if observed is None:
        return code, pull
    full = observed.any(-1)
    return code * full, lambda grad: pull(grad * full)


def posterior(
    model: VAE, x: Tensor, observed: Tensor | None, seen: Tensor | None = None
) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], object]]:
    """Mean and log standard deviation of q(z|x), each (k, b), and the pullback of both."""
    code, pull = encode(model, x, observed, seen)
    mean, raw = code.chunk(2)
    log_std = raw.clamp(MIN_LOG_STD, MAX_LOG_STD)

    def to_code(to_mean: Tensor, to_std: Tensor) -> object:
        at = torch.empty_like(code)
        at[: len(mean)].copy_(to_mean)
        _to_clamped(to_std, raw, MIN_LOG_STD, MAX_LOG_STD, grad_input=at[len(mean) :])
        return pull(at)

    if observed is not None:
        full = observed.any(-1)
        empty = ~full
        prior_mean, prior_std = model.prior.moments()
        mean = torch.where(empty, prior_mean.unsqueeze(1), mean)
        log_std = torch.where(empty, prior_std.log().unsqueeze(1), log_std)
        return mean, log_std, lambda to_mean, to_std: to_code(to_mean * full, to_std * full)
    return mean, log_std, to_code


def likelihood(model: Autoencoder, z: Tensor, x: Tensor, observed: Tensor | None) -> tuple[Tensor, Pullback]:
    """Log p(x_observed | z), (S, b), of draws z (k, S, b), and its pullback to z."""
    outputs, to_z = pass_through(model.decoder, z, model.start)
    cells, to_outputs = model.columns.with_pullback(outputs, x.T.contiguous())
    counts = _counts(model, x, observed)
    if counts is None:
        return cells.sum(0), lambda grad: to_z(to_outputs(grad.expand_as(cells)))
    return (cells * counts).sum(0), lambda grad: to_z(to_outputs(grad * counts))


def decode(model: Autoencoder, z: Tensor) -> Tensor:
    """The decoder's outputs (n_outputs, S, b) for codes (k, S, b), features first."""
    return features_first(model.decoder, z, model.start)


def log_likelihood(model: Autoencoder, z: Tensor, x: Tensor, observed: Tensor | None) -> Tensor:
    """The first of the two, without a way back, of draws with rows first, (S, b, k)."""
    outputs = decode(model, z.movedim(-1, 0))
    cells, counts = model.columns.features_first(outputs, x.T.contiguous()), _counts(model, x, observed)
    return cells.sum(0) if counts is None else (cells * counts).sum(0)


def _counts(model: Autoencoder, x: Tensor, observed: Tensor | None) -> Tensor | None:
    """1 for each cell that counts, else 0, (p, 1, b); None where all do."""
    counted = model.columns.counted(x) if len(model.columns.values) else None
    if observed is not None:
        counted = observed if counted is None else counted * observed
    return None if counted is None else counted.T.contiguous().unsqueeze(1).to(x.dtype)
