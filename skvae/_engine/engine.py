"""The engine: NumPy in, NumPy out. The only room whose doors lead to torch.

An engine holds one model, trains it, and answers in the precision of what it is asked. It knows standardised columns,
not tables; codes go through its `order` and `sign` on their way in and out. What the user has set in torch stays before
its doors (`runtime.own_torch_state`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from typing import Any, Generic, Self, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvae._engine.batches import Rows, SparseRows
from skvae._engine.build import ModelSpec, Quantiles, build_autoencoder
from skvae._engine.optimiser import Optimiser, copied
from skvae._engine.runtime import (
    SHARED_PRODUCTS,
    chunk_size,
    doors,
    generator,
    home_of_rows,
    in_chunks,
    own_steps,
    resolve_device,
)
from skvae._engine.training import EpochRecord, Plan, RowBound, epochs, mean_bound
from skvae._table.cells import Units
from skvae.nn.likelihoods import WayBack
from skvae.nn.models import Autoencoder

FloatArray = NDArray[np.floating]
Array = NDArray[Any]  # in the precision of what was asked
State = dict[str, Any]
ModelT = TypeVar("ModelT", bound=Autoencoder)
Answered = Tensor | tuple[Tensor, ...]
Arrays = tuple[Array, ...]

SHOWN_ROWS = 2**15  # training rows whose posteriors are kept, to draw codes from
ORDERING_ROWS = 4_096  # rows that the order and sign of the codes and the final bound are read off ...
ORDERING_CELLS = 2**24  # ... unless they have more cells than this ...
LEAST_ROWS = 256  # ... but so many in any case
REPLAYED = {"cpu": 2**19, "cuda": 2**24}  # outputs of the decoder, up to which the memory of a whole step may stay
OTHER = 2**32  # from the seed of an engine's own streams to that of those it lends


def evenly(x: Any, most: int = ORDERING_ROWS) -> slice:
    """At most that many rows (fewer of a very wide table), evenly spaced: a sorted table then shows all of itself."""
    n, p = x.shape
    most = min(most, max(LEAST_ROWS, ORDERING_CELLS // max(p, 1)))
    return slice(None, None, max(1, -(-n // most)))


def _longer(part: Array, n: int, axis: int) -> Array:
    """An empty array like that one, n long along the axis."""
    return np.empty((*part.shape[:axis], n, *part.shape[axis + 1 :]), part.dtype)


def _bent(bend: Callable[[FloatArray], FloatArray], cells: Tensor) -> Tensor:
    """A bend of NumPy on a tensor; finite, so that a draw of weight 0 adds nothing."""
    limit = 0.5 * torch.finfo(cells.dtype).max
    return torch.as_tensor(bend(cells.cpu().double().numpy())).clamp(-limit, limit).to(cells)


def way_back(units: Units, like: Tensor) -> WayBack:
    """The way back to data units for tensors like that one."""
    location, scale, low, high = (torch.as_tensor(part, dtype=like.dtype, device=like.device) for part in units[:4])
    return WayBack(location, scale, low, high, tuple(bend and partial(_bent, bend) for bend in units.bends))


@doors
class Engine(Generic[ModelT]):
    """One model on one device.

    Public methods, those of subclasses too, are doors: torch's state is the engine's behind them.

    Parameters
    ----------
    spec : ModelSpec
    device : str
        As resolved by `resolve_device`.
    n_cells : int
        Of the training table: a GPU is for large ones.
    quantiles : ndarray of shape (n_quantiles, p), optional
        Of the encoded columns, which modes start at.
    """

    _build: Callable[[ModelSpec, Quantiles], ModelT]  # a static method

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        doors(cls)

    def __init__(self, spec: ModelSpec, device: str, n_cells: int = 0, quantiles: Quantiles = None) -> None:
        self.spec = spec
        self.device = resolve_device(device, n_cells)
        self.model = self._build(spec, quantiles).to(self.device).eval()
        self.order = np.arange(spec.n_components)
        self.sign = np.ones(spec.n_components)
        self._optimiser: Optimiser | None = None
        self._precise: ModelT | None = None  # a copy of the model in float64

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        twin = memo[id(self)] = object.__new__(type(self))
        memo[id(self.model)] = copied(self.model)
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    # -- training ----------------------------------------------------------------------------------------------------

    def train(
        self,
        x: FloatArray,
        weight: FloatArray | None,
        bound: RowBound,
        plan: Plan,
        *,
        resume: bool = False,
        validation: tuple[FloatArray, FloatArray | None] | None = None,
    ) -> Iterator[EpochRecord]:
        """Train, an epoch at a time; the caller takes the weights it likes with `keep`.

        x holds standardised rows, NaN where missing, or is a CSR matrix; an array of float32 is taken over, not copied.
        `bound` is one of `bounds`. With `resume` the last run's optimiser goes on (`partial_fit`), else a fresh one
        starts. `validation` holds rows that are held out, and their weights.
        """
        rows = self._rows(x, weight)
        held_out = None if validation is None else self._rows(*validation)
        if self._optimiser is None or not resume:
            self._optimiser = Optimiser(self._trainable())
        seed = self.spec.seed + self._optimiser.steps
        judge = (
            None
            if held_out is None
            else partial(mean_bound, rows=held_out, bound=bound, seed=self.spec.seed, device=self.device)
        )
        order, noise = generator(seed), generator(seed, self.device)
        n_outputs = plan.batch_size * plan.n_draws * self.model.columns.n_outputs
        records = epochs(
            self._optimiser,
            rows,
            bound,
            plan,
            order=order,
            noise=noise,
            validation=judge,
            replays=n_outputs <= REPLAYED.get(self.device.type, REPLAYED["cpu"]),
        )
        n_weights = sum(parameter.numel() for parameter in self.model.parameters())
        small = n_weights * plan.batch_size * plan.n_draws < SHARED_PRODUCTS
        return own_steps(records, one_thread=small, lent_seed=seed + OTHER if self.spec.has_foreign_modules else None)

    def _rows(self, x: Any, weight: FloatArray | None) -> Rows | SparseRows:
        """Rows on the device, from an array that they take over or from a CSR matrix."""
        if isinstance(x, np.ndarray):
            return Rows.from_numpy(x, weight, device=home_of_rows(x.nbytes, self.device), copy=False)
        return SparseRows.from_csr(x, weight, device=self.device)

    @property
    def starts_at_rows(self) -> bool:
        """Whether `start_at` has something to set."""
        return False

    def start_at(self, x: FloatArray, weight: FloatArray | None) -> None:
        """Start at what encoded rows say, where they say something; inherited, they do not."""

    def _trainable(self) -> ModelT:
        """A copy of the model, ready for training."""
        return copied(self.model)

    def keep(self) -> None:
        """Make the (averaged) weights in training the model's."""
        assert self._optimiser is not None, "keep follows train"
        self.model.load_state_dict(self._optimiser.average.state_dict())
        self._precise = None

    def recall(self) -> None:
        """Take the averaged weights of the last sound epoch back: `keep` would else find those of an unfinished one."""
        assert self._optimiser is not None, "recall follows train"
        self._optimiser.recall()

    def forget_optimiser(self) -> None:
        """Drop the moments: a later run starts with fresh ones."""
        self._optimiser = None

    # -- inference ---------------------------------------------------------------------------------------------------

    def _over(self, x: FloatArray, answer: Callable[[ModelT, Rows], Answered], n: int = 1, axis: int = 0) -> Arrays:
        """An array for each tensor that `answer` says of the model and rows, put together along the axis of the rows.

        In float32 for rows in float32, in float64 for all others; in chunks small enough for n draws of each row.
        """
        dtype = torch.float32 if x.dtype == np.float32 else self._double
        model, size = self._in(dtype), chunk_size(n, self._width(), self.device)

        def part(rows: slice) -> tuple[Tensor, ...]:
            said = answer(model, Rows.from_numpy(x[rows], dtype=dtype, device=self.device))
            return said if isinstance(said, tuple) else (said,)

        whole: Arrays = ()
        with torch.inference_mode():
            for rows, said in in_chunks(len(x), size, part):
                each = [one.cpu().numpy() for one in said]
                # Room for all at once: many small arrays among large ones would keep the memory of these from use.
                whole = whole or tuple(_longer(one, len(x), axis) for one in each)
                for home, one in zip(whole, each, strict=True):
                    home[(slice(None),) * axis + (rows,)] = one
        return whole

    @property
    def _double(self) -> torch.dtype:
        """float64, where the device has it."""
        return torch.float32 if self.device.type == "mps" else torch.float64

    def _in(self, dtype: torch.dtype) -> ModelT:
        """The model in that precision."""
        if dtype == torch.float32:
            return self.model
        if self._precise is None:
            self._precise = copied(self.model).double().eval()
        return self._precise

    def _width(self) -> int:
        """Numbers per row and draw in the widest layer."""
        columns = self.model.columns
        return max(*self.spec.hidden_layer_sizes, columns.n_outputs, sum(columns.n_statistics), self.spec.n_components)

    def _few(self, x: FloatArray, weight: FloatArray | None = None) -> Rows:
        """Some of the rows on the device, evenly spaced, in float32."""
        part = evenly(x)
        return Rows.from_numpy(x[part], None if weight is None else weight[part], device=self.device)

    def encode(self, x: FloatArray) -> FloatArray:
        """Codes of standardised rows, shape (n, k), in the dtype of x."""
        return self._codes(x)

    def _codes(self, x: FloatArray) -> FloatArray:
        return self._outward(self._over(x, lambda model, rows: model.encode(rows.x, rows.observed))[0])

    def decode(self, z: FloatArray, units: Units) -> FloatArray:
        """Statistics of cells given codes (n, k): E[x|z] in data units, or the probability of each code of x.

        Shape (n, n_statistics), in the dtype of z. Of a value that counts only where it is no atom it is
        E[x 1(no atom)|z]. `units` lead from encoded cells to data units.
        """

        def statistics(model: ModelT, codes: Rows) -> Tensor:
            return model.columns.expectation(model.decode(codes.x), way_back(units, codes.x))

        return self._over(self._inward(z), statistics)[0]

    def _outward(self, z: FloatArray) -> FloatArray:
        """Model's components -> the user's: ordered and signed."""
        return np.ascontiguousarray(z[:, self.order] * self.sign.astype(z.dtype))

    def _inward(self, z: FloatArray) -> FloatArray:
        """The user's components -> the model's."""
        out = np.empty_like(z)
        out[:, self.order] = z * self.sign.astype(z.dtype)
        return out

    @torch.inference_mode()
    def column_at_fault(self, x: FloatArray) -> int:
        """The column whose cells the last weights in training fit worst, non-finite ones first."""
        assert self._optimiser is not None, "column_at_fault follows train"
        rows, model = self._few(x), cast("ModelT", self._optimiser.module.eval())
        cells = model.columns.log_prob(model.decode(model.encode(rows.x, rows.observed)), rows.x)
        cells = cells if rows.observed is None else cells * rows.observed
        return int(torch.nan_to_num(cells, nan=-torch.inf).mean(0).argmin())

    def align(self, x: FloatArray, importance: FloatArray) -> None:
        """Order the components by `importance` (descending) and fix their signs.

        `importance` is in the order that the codes have now.
        A component is positive in the direction of the column it is most correlated with over the rows `x`.
        """
        self.order = self.order[np.argsort(-importance, kind="stable")]
        self.sign = np.ones(len(self.order))
        x = np.nan_to_num(x[evenly(x)].astype(np.float64))
        codes = np.nan_to_num(self._codes(x), posinf=0.0, neginf=0.0)  # a training that blew up has no sign
        covariance = (codes - codes.mean(0)).T @ ((x - x.mean(0)) / np.maximum(x.std(0), 1e-12))  # (k, p)
        strongest = np.abs(covariance).argmax(1)
        self.sign = np.where(covariance[np.arange(len(strongest)), strongest] < 0.0, -1.0, 1.0)

    # -- state -------------------------------------------------------------------------------------------------------

    def state(self) -> State:
        """Plain data and NumPy arrays."""
        optimiser = {} if self._optimiser is None else self._optimiser.state()
        return {
            "spec": {field.name: getattr(self.spec, field.name) for field in fields(self.spec)},
            "device": str(self.device),
            "weights": {name: value.cpu().numpy().copy() for name, value in self.model.state_dict().items()},
            "optimiser": {name: value.detach().cpu().numpy().copy() for name, value in optimiser.items()},
            "order": self.order,
            "sign": self.sign,
        }

    @classmethod
    def from_state(cls, state: State, device: str) -> Self:
        """Inverse of `state`, on a device that is there."""
        engine = cls(ModelSpec(**state["spec"]), device)
        engine.model.load_state_dict({name: torch.tensor(np.asarray(v)) for name, v in state["weights"].items()})
        if state["optimiser"]:
            engine._optimiser = Optimiser(engine._trainable())
            engine._optimiser.load({name: torch.tensor(np.asarray(v)) for name, v in state["optimiser"].items()})
        engine.order, engine.sign = np.array(state["order"]), np.array(state["sign"])
        return engine


class AutoencoderEngine(Engine[Autoencoder]):
    """A plain autoencoder."""

    _build = staticmethod(build_autoencoder)

    def score(self, x: FloatArray) -> NDArray[np.float64]:
        """Minus the reconstruction error per row, over observed cells, shape (n,), in float64."""

        def score(model: Autoencoder, rows: Rows) -> Tensor:
            return model.log_likelihood(rows.x, rows.observed, model.encode(rows.x, rows.observed))

        return self._over(x.astype(np.float64), score)[0].astype(np.float64, copy=False)
