"""Networks: the encoding of the encoder's input and the multilayer perceptron with a linear shortcut."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skvae.nn.pullbacks import Pullback, add_grad, by_autograd

NetworkFactory = Callable[[int, int], nn.Module]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
    "logistic": nn.Sigmoid,
}

_aten = torch.ops.aten
INTO: dict[str, Callable[..., Tensor]] = {  # the same into memory that is there, `out`
    "relu": lambda x, out: torch.clamp(x, 0.0, out=out),
    "tanh": torch.tanh,
    "silu": _aten.silu.out,
    "gelu": _aten.gelu.out,
    "elu": _aten.elu.out,
    "softplus": _aten.softplus.out,
    "logistic": torch.sigmoid,
}
SLOPES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {  # (gradient, before, after), into `before`
    "relu": lambda grad, before, after: _aten.threshold_backward.grad_input(grad, after, 0.0, grad_input=before),
    "tanh": lambda grad, before, after: _aten.tanh_backward.grad_input(grad, after, grad_input=before),
    "silu": lambda grad, before, _: _aten.silu_backward.grad_input(grad, before, grad_input=before),
    "gelu": lambda grad, before, _: _aten.gelu_backward.grad_input(grad, before, grad_input=before),
    "elu": lambda grad, before, after: _aten.elu_backward.grad_input(
        grad, 1.0, 1.0, 1.0, True, after, grad_input=before
    ),
    "softplus": lambda grad, before, _: _aten.softplus_backward.grad_input(grad, before, 1.0, 20.0, grad_input=before),
    "logistic": lambda grad, before, after: _aten.sigmoid_backward.grad_input(grad, after, grad_input=before),
}

CLIP = 3.0  # robust standard deviations at which the smooth clip of the inputs bends
ONE_HOT = 32  # a category of more codes is embedded ...
EMBEDDING = 16  # ... in so many numbers
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
FAR = 1e6  # beyond this a square could overflow, and the clip is flat anyway


def _log1p(x: Tensor) -> Tensor:
    """Log(1 + x), which corruption may have taken below 0."""
    return x.clamp_min(0.0).log1p()


SEEN: dict[str, Callable[[Tensor], Tensor]] = {"log1p": _log1p}  # see `Continuous.seen_as` in `skvae._table.kinds`


class Described(nn.Module):
    """A module whose buffers follow from the description of the model, so that they are not saved."""

    SAVED_ONCE: tuple[str, ...] = ()  # what earlier versions saved nevertheless

    def _keep(self, name: str, buffer: Tensor | None) -> None:
        self.register_buffer(name, buffer, persistent=False)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in self.SAVED_ONCE:
            state_dict.pop(f"{prefix}{name}", None)
        super()._load_from_state_dict(state_dict, prefix, *args)


class _Blank(nn.Linear):
    """A linear layer whose weights are set by who builds it: torch's own first ones would be drawn globally."""

    def reset_parameters(self) -> None:
        """Leave them."""


def linear(n_in: int, n_out: int, generator: torch.Generator) -> nn.Linear:
    """Return a linear layer with orthogonal weights from `generator` and zero bias."""
    layer = _Blank(n_in, n_out)
    nn.init.orthogonal_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


class InputEncoding(nn.Module):
    """What the encoder sees of a row: robustly scaled and smoothly clipped cells, then the mask.

    Each cell x becomes u / sqrt(1 + (u / 3)^2) with u = (x - centre) / width, so that a cell far from the data
    neither saturates nor owns the first layer. A missing cell becomes 0; with `with_mask` the row is followed by one
    indicator per column (1 = observed).

    Parameters
    ----------
    centre, width : tensor of shape (n_columns,)
        Robust location and scale of each column, in the units of the standardised row.
    clip : bool
        Whether to clip; without it the encoding is affine (for linear models).
    with_mask : bool
        Whether the indicators are appended.
    cells : LongTensor, optional
        Which cells of a row are seen, and in which order; all as they stand where not given.
    """

    centre: Tensor
    inverse_width: Tensor
    cells: Tensor | None

    def __init__(
        self, centre: Tensor, width: Tensor, *, clip: bool, with_mask: bool, cells: Tensor | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("cells", cells, persistent=False)
        self.register_buffer("centre", centre)
        self.register_buffer("inverse_width", 1.0 / width)
        self.clip = clip
        self.with_mask = with_mask

    @property
    def n_out(self) -> int:
        return len(self.centre) * (2 if self.with_mask else 1)

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Encode rows x of shape (b, p); `observed` is a 0/1 tensor of the same shape, or None for all ones."""
        if self.cells is not None:
            x, observed = x[..., self.cells], None if observed is None else observed[..., self.cells]
        u = (x - self.centre) * self.inverse_width
        if self.clip:
            u = u.clamp(-FAR, FAR)
            u = u * torch.rsqrt(1.0 + (u / CLIP).square())
        if observed is not None:
            u = u * observed
        if not self.with_mask:
            return u
        return torch.cat([u, torch.ones_like(u) if observed is None else observed.to(u.dtype)], dim=-1)


class TableEncoding(Described):
    """What the encoder sees of a row that holds more than real numbers: numbers, then categories.

    Numbers, some of them through a function, go through an `InputEncoding`. A category becomes one indicator per code,
    or, where it has more than ONE_HOT codes, a learned embedding. A missing category is all zeros.

    Parameters
    ----------
    numbers : InputEncoding
        Of the cells `number_cells`.
    number_cells : LongTensor
        Cells that hold numbers.
    seen_as : mapping of str to sequence of int
        Those among them that are seen through a function, by its name in SEEN.
    codes : sequence of (cell, n_codes)
        Cells that hold codes.
    generator : torch.Generator
        Of the embeddings' start values.
    """

    SAVED_ONCE = ("is_count", "number_cells", "hot_cells", "hot_offsets", "embedded_cells", "embedded_offsets")

    number_cells: Tensor
    hot_cells: Tensor
    hot_offsets: Tensor
    embedded_cells: Tensor
    embedded_offsets: Tensor

    def __init__(
        self,
        numbers: InputEncoding,
        number_cells: Tensor,
        seen_as: Mapping[str, Sequence[int]],
        codes: Sequence[tuple[int, int]],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.numbers = numbers
        self._keep("number_cells", number_cells)
        self.seen_as = tuple(seen_as)
        for name, cells in seen_as.items():
            self.register_buffer(name, torch.isin(number_cells, torch.tensor(cells)), persistent=False)
        hot = [(cell, n) for cell, n in codes if n <= ONE_HOT]
        embedded = [(cell, n) for cell, n in codes if n > ONE_HOT]
        self.n_hot = self._register("hot", hot)
        n_embedded = self._register("embedded", embedded)
        self.embedding = nn.utils.skip_init(nn.Embedding, n_embedded, EMBEDDING) if n_embedded else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=EMBEDDING**-0.5, generator=generator)

    def _register(self, name: str, codes: Sequence[tuple[int, int]]) -> int:
        """Buffers of the cells and of where the codes of each begin; returns how many codes there are in all."""
        sizes = torch.tensor([n for _, n in codes], dtype=torch.long)
        cells = torch.tensor([cell for cell, _ in codes], dtype=torch.long)
        self._keep(f"{name}_cells", cells)
        self._keep(f"{name}_offsets", torch.cumsum(sizes, 0) - sizes)
        return int(sizes.sum())

    @property
    def n_out(self) -> int:
        return self.numbers.n_out + self.n_hot + EMBEDDING * len(self.embedded_cells)

    def forward(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Encode rows x of shape (b, p); `observed` is a 0/1 tensor of the same shape, or None for all ones."""
        cells = x[..., self.number_cells]
        for name in self.seen_as:
            cells = torch.where(self.get_buffer(name), SEEN[name](cells), cells)
        parts = [self.numbers(cells, None if observed is None else observed[..., self.number_cells])]
        if self.n_hot:
            there = torch.ones_like(x) if observed is None else observed.to(x.dtype)
            index = x[..., self.hot_cells].long() + self.hot_offsets
            hot = x.new_zeros((*x.shape[:-1], self.n_hot))
            parts.append(hot.scatter_(-1, index, there[..., self.hot_cells]))
        if self.embedding is not None:
            found = self.embedding(self._embedded(x))  # (b, m, EMBEDDING)
            if observed is not None:
                found = found * observed[..., self.embedded_cells].unsqueeze(-1)
            parts.append(found.flatten(-2))
        return torch.cat(parts, dim=-1)

    def _embedded(self, x: Tensor) -> Tensor:
        """The places of embedded codes among the rows of the embedding, (b, m)."""
        return x[..., self.embedded_cells].long() + self.embedded_offsets

    def with_pullback(self, x: Tensor, observed: Tensor | None = None) -> tuple[Tensor, Pullback]:
        """What `forward` gives of an encoding with an embedding, features first, (n_out, b), and its pullback.

        That adds to the gradient of the embedding and returns nothing: rows have none.
        """
        place = self._embedded(x)

        def pull(grad: Tensor) -> None:
            assert self.embedding is not None, "there is something to learn"
            to_found = grad[-EMBEDDING * place.shape[1] :].T.unflatten(1, (-1, EMBEDDING))  # (b, m, EMBEDDING)
            if observed is not None:
                to_found = to_found * observed[:, self.embedded_cells].unsqueeze(-1)
            to_weight = torch.zeros_like(self.embedding.weight)
            add_grad(self.embedding.weight, to_weight.index_add_(0, place.flatten(), to_found.flatten(0, 1)))

        return self(x, observed).T, pull


class Pass:
    """A pass of r rows through the matrices of a multilayer perceptron and back, features first, and its memory.

    An inner layer reads what the one before made, and a row of ones that meets the biases. The last reads `joined`:
    what the last inner layer made, the inputs, and ones. Where there is no way back, activations overwrite what they
    are of.
    """

    def __init__(self, activation: str, n_in: int, matrices: Sequence[Tensor], r: int, *, returns: bool = True) -> None:
        *self._inner, self._final = matrices
        self._into, self._slope = INTO[activation], SLOPES[activation]
        width = len(self._inner[-1]) if self._inner else 0
        self._joined = _above_ones(self._final, width + n_in, self._final.shape[1], r)
        self._x = self._joined[width : width + n_in]
        homes = [_above_ones(weight, len(weight), len(weight) + 1, r) for weight in self._inner[:-1]]
        homes += [self._joined] if self._inner else []
        self._seen = [self._joined[width : width + n_in + 1], *homes[:-1]][: len(self._inner)]
        self._after = [home[: len(weight)] for weight, home in zip(self._inner, homes, strict=True)]
        self._before = [torch.empty_like(after) for after in self._after] if returns else self._after
        self._across = [part.T for part in (*self._seen, self._joined)]
        self._back = [weight[:, :-1].T for weight in self._inner]
        self._back_to_all, self._back_to_hidden = (self._final[:, :n].T for n in (width + n_in, width))

    def forward(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        """The outputs (n_out, r) of inputs x (n_in, r), with `start` (n_out,) added."""
        self._x.copy_(x)
        for weight, seen, before, after in zip(self._inner, self._seen, self._before, self._after, strict=True):
            torch.mm(weight, seen, out=before)
            self._into(before, out=after)
        if start is None:
            return torch.mm(self._final, self._joined)
        return torch.addmm(start.unsqueeze(1), self._final, self._joined)

    def pull(self, grad: Tensor, slopes: Sequence[Tensor], *, to_input: bool) -> Tensor | None:
        """Overwrite the matrices' `slopes`; return the gradient to x if asked. What `forward` left is used up."""
        *to_inner, to_final = slopes
        torch.mm(grad, self._across[-1], out=to_final)
        at = back = torch.mm(self._back_to_all if to_input else self._back_to_hidden, grad)
        for i in reversed(range(len(to_inner))):
            before = self._before[i]
            self._slope(at if at.shape == before.shape else at[: before.shape[0]], before, self._after[i])
            torch.mm(before, self._across[i], out=to_inner[i])
            at = torch.mm(self._back[i], before) if i or to_input else at
        if not to_input:
            return None
        return at.add_(back[-len(at) :]) if to_inner else back


def _above_ones(like: Tensor, n: int, n_rows: int, r: int) -> Tensor:
    """Memory for n rows of r numbers, and ones below them; (n_rows, r)."""
    rows = like.new_empty(n_rows, r)
    rows[n:] = 1.0
    return rows


class MLP(nn.Module):
    """Multilayer perceptron plus a linear shortcut from input to output.

    With no hidden layer it is one linear layer. The shortcut lets the network start as, and fall back to, the linear
    model (factor analysis), which is what small tables need.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        hidden_layer_sizes: Sequence[int],
        activation: str,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.shortcut = linear(n_in, n_out, generator)
        sizes = [n_in, *hidden_layer_sizes]
        ends = [*itertools.pairwise(sizes), (sizes[-1], n_out)] if hidden_layer_sizes else []
        self._layers = tuple(linear(fan_in, fan_out, generator) for fan_in, fan_out in ends)  # without the activations
        parts = [part for layer in self._layers for part in (layer, ACTIVATIONS[activation]())][:-1]
        self.hidden = nn.Sequential(*parts) if parts else None
        self.packed: list[tuple[Tensor, Tensor]] | None = None  # the matrices of `packs` and of their gradients
        self._passes: dict[int, Pass] = {}  # of a training that runs, by the number of rows

    @property
    def is_plain(self) -> bool:
        """Whether it is what its layers say and nothing else: no subclass, no user's hook, no parametrisation."""
        layers = (*self._layers, self.shortcut)
        parts = (self, self.hidden, *layers, *(self.hidden or ()))
        hooks = (vars(part)[name] for part in parts if part is not None for name in HOOKS)
        return type(self) is MLP and not any(hooks) and all(type(layer) is _Blank for layer in layers)

    def __getstate__(self) -> dict[str, Any]:
        """Without what belongs to a training that runs."""
        return self.__dict__ | {"packed": None, "_passes": {}}

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n_in) to (..., n_out)."""
        out: Tensor = self.shortcut(x)
        return out if self.hidden is None else out + self.hidden(x)

    def features_first(self, x: Tensor, start: Tensor | None = None) -> Tensor:
        """Map (n_in, r) to (n_out, r), with `start` (n_out,) added; without autograd."""
        matrices = [_side_by_side(pack) for pack in self.packs()]
        if start is not None:
            matrices[-1][:, -1].add_(start)
        return Pass(self.activation, len(x), matrices, x.shape[1], returns=False).forward(x)

    def packs(self) -> list[list[Tensor]]:
        """The parameters that one product serves, side by side in a matrix each: a layer's weights and its bias.

        The last layer and the shortcut, whose outputs are added, are one.
        """
        final = [*self._layers[-1:], self.shortcut]
        packs: list[list[Tensor]] = [[layer.weight, layer.bias] for layer in self._layers[:-1]]
        return [*packs, [layer.weight for layer in final] + [layer.bias for layer in final]]

    def pack(self, matrices: list[tuple[Tensor, Tensor]]) -> None:
        """Take the matrices of `packs`, and of their gradients, for its own: the parameters are views of them."""
        self.packed, self._passes = matrices, {}

    def with_pullback(
        self, x: Tensor, start: Tensor | None = None, *, to_input: bool = True
    ) -> tuple[Tensor, Pullback]:
        """The outputs (n_out, r) for r rows x (n_in, r), with `start` (n_out,) added, and their pullback.

        It overwrites the gradients of all parameters and returns that to x, or None where that is not asked for. For
        the way back the parameters must be `packed`. In training the next pass of as many rows takes its memory.
        """
        one = self._pass(x.shape[1])
        out = one.forward(x, start)

        def pull(grad: Tensor) -> Tensor | None:
            assert self.packed is not None, "packed by FlatParameters"
            return one.pull(grad, [slope for _, slope in self.packed], to_input=to_input)

        return out, pull

    def _pass(self, r: int) -> Pass:
        """A pass of r rows: in training one of the last two sizes, which an epoch has, else a new one.

        What was recorded of a step reads and writes the memory of its pass: an epoch has no third size.
        """
        known = self._passes.get(r) if self.training else None
        if known is not None:
            return known
        matrices = (
            [_side_by_side(pack) for pack in self.packs()] if self.packed is None else [w for w, _ in self.packed]
        )
        with torch.inference_mode(False):  # the next pass may be of another mode
            new = Pass(self.activation, self.shortcut.in_features, matrices, r)
        if self.packed is not None and self.training:
            self._passes = dict([*self._passes.items()][-1:]) | {r: new}
        return new


def _side_by_side(pack: Sequence[Tensor]) -> Tensor:
    """The matrix of a pack."""
    return torch.cat([part if part.ndim == 2 else part.unsqueeze(1) for part in pack], 1)


def features_first(network: nn.Module, x: Tensor, start: Tensor | None = None) -> Tensor:
    """What a network makes of x (n_in, ..., rows), features first, with `start` (n_out,) added."""
    if isinstance(network, MLP) and network.is_plain:
        rows = x.shape[1:]
        return network.features_first(x.reshape(x.shape[0], -1), start).view(-1, *rows)
    return _by_forward(network, x, start)


def _by_forward(network: nn.Module, x: Tensor, start: Tensor | None) -> Tensor:
    """The same by the network itself."""
    out: Tensor = network(x.movedim(0, -1).contiguous())
    return (out if start is None else out + start).movedim(-1, 0)


def pass_through(
    network: nn.Module, x: Tensor, start: Tensor | None = None, *, to_input: bool = True
) -> tuple[Tensor, Pullback]:
    """The same, and its pullback: by autograd but for an MLP that is packed."""
    if isinstance(network, MLP) and network.packed is not None:
        rows = x.shape[1:]
        out, pull = network.with_pullback(x.reshape(x.shape[0], -1), start, to_input=to_input)

        def pull_rows(grad: Tensor) -> Tensor | None:
            back = pull(grad.reshape(grad.shape[0], -1))
            return None if back is None else back.view(-1, *rows)

        return out.view(-1, *rows), pull_rows

    out, pull_all = by_autograd(lambda x: _by_forward(network, x, start), x)
    return out.contiguous(), lambda grad: pull_all(grad)[0]
