"""How long fitting and scoring take, always beside something measured in the same run.

Every record has a ``measure`` and a ``what``; times are the least of a few repeats, taken in turn, because other work
on the machine only ever adds time. Beside the seconds on the clock stand those of the processor (all threads together):
where the machine is busy and the run has one thread, they are the better measure.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise, product
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from benchmarks.methods.vae import TEXTBOOK
from benchmarks.parts import PARTS, REST, watching
from benchmarks.records import Record
from skvae import VAETransformer

Action = Callable[[], object]
Name = TypeVar("Name", bound=Hashable)


class Seconds(NamedTuple):
    """On the clock, and of the processor."""

    wall: float
    cpu: float

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall - other.wall, self.cpu - other.cpu)

    def __add__(self, other: object) -> Seconds:
        assert isinstance(other, Seconds), "seconds and seconds"
        return Seconds(self.wall + other.wall, self.cpu + other.cpu)

    def per(self, n: float) -> Seconds:
        """Seconds of one of n."""
        return Seconds(self.wall / n, self.cpu / n)

    @classmethod
    def now(cls) -> Seconds:
        """Both clocks."""
        return cls(time.perf_counter(), time.process_time())


@dataclass(frozen=True)
class Shape:
    """A network and batch size: columns, hidden layers of the encoder, latent components."""

    n_features: int
    hidden: tuple[int, ...]
    n_components: int
    batch_size: int

    def __str__(self) -> str:
        return f"{'-'.join(map(str, (self.n_features, *self.hidden)))}-({self.n_components}), {self.batch_size}"

    def products(self, n_draws: int, n_outputs: int) -> list[tuple[int, int, int]]:
        """Rows, and widths in and out, of each layer, where the decoder has so many draws per row and so many outputs.

        The encoder's last layer has a mean and a scale per component.
        """
        encoder = pairwise([self.n_features, *self.hidden, 2 * self.n_components])
        decoder = pairwise([self.n_components, *self.hidden[::-1], n_outputs])
        rows = self.batch_size
        return [*((rows, *layer) for layer in encoder), *((n_draws * rows, *layer) for layer in decoder)]


FIT_SHAPE = Shape(20, (128, 64), 10, 256)  # 10 000 x 20 with the default network and its "auto" components
FIT_ROWS = 10_000
STEP_SHAPES = (
    Shape(20, (64, 32), 4, 128),
    Shape(30, (128, 128), 8, 128),
    Shape(30, (128, 128), 8, 512),
    Shape(784, (500,), 20, 100),
    Shape(784, (200, 200), 50, 256),
)
SCORED = 500  # rows
GROWTH = {  # from one shape in three directions
    "columns": [Shape(d, (128, 128), 8, 128) for d in (10, 30, 100, 300, 1_000, 2_000)],
    "width": [Shape(30, (width, width), 8, 128) for width in (32, 64, 128, 256, 512)],
    "batch": [Shape(30, (128, 128), 8, size) for size in (32, 128, 512, 2_048)],
}


def speed_records(smoke: bool, seed: int = 0) -> Iterator[Record]:
    """Every measurement, one record at a time."""
    repeats = 1 if smoke else 3
    table = factor_table(500 if smoke else FIT_ROWS, FIT_SHAPE.n_features, seed)
    _fit(default_vae(FIT_SHAPE, 1, seed), table[:100])()  # torch's first steps in a process load a good deal
    yield from fit_records(table, 2 if smoke else 30, repeats, seed)
    for shape in STEP_SHAPES[:1] if smoke else STEP_SHAPES:
        n_batches = 3 if smoke else 40 if shape.n_features < 100 else 5
        yield from step_records(shape, n_batches, repeats, seed)
        yield from part_records(shape, n_batches, seed)
    yield from throughput_records(table, 2 if smoke else 5, repeats, seed)
    yield from default_fit_records(table, 2 if smoke else "auto", seed)
    yield from growth_records(smoke, repeats, seed)
    yield from thread_records(smoke, repeats, seed)
    yield from more_rows_records(smoke, repeats, seed)
    yield from products_records(smoke, repeats, seed)
    yield from gpu_records(smoke, repeats, seed)


def factor_table(n: int, p: int, seed: int) -> np.ndarray:
    """Rows with five common factors, standardised: speed does not depend on what they mean."""
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((n, 5)) @ rng.standard_normal((5, p)) + rng.standard_normal((n, p))
    return (table - table.mean(axis=0)) / table.std(axis=0)


def plain_vae(shape: Shape, max_iter: int, seed: int) -> VAETransformer:
    """The textbook bound: ELBO with one draw, Gaussian, standard normal; nothing stops it early."""
    return VAETransformer(**TEXTBOOK, activation="relu", **_common(shape, max_iter, seed))


def default_vae(shape: Shape, max_iter: int, seed: int) -> VAETransformer:
    """The default bound, likelihood and prior on a given network, for as many epochs."""
    return VAETransformer(**_common(shape, max_iter, seed))


def _common(shape: Shape, max_iter: int, seed: int) -> dict[str, object]:
    return {
        "n_components": shape.n_components,
        "hidden_layer_sizes": shape.hidden,
        "batch_size": shape.batch_size,
        "max_iter": max_iter,
        "early_stopping": False,
        "device": "cpu",
        "random_state": seed,
    }


def mlp(shape: Shape, max_iter: int, seed: int) -> MLPRegressor:
    """scikit-learn's network with the layers of the whole autoencoder, to be fitted from X to X."""
    return MLPRegressor(
        hidden_layer_sizes=(*shape.hidden, shape.n_components, *shape.hidden[::-1]),
        batch_size=shape.batch_size,
        max_iter=max_iter,
        n_iter_no_change=max_iter,
        tol=0.0,
        random_state=seed,
    )


SKVAES = {"skvae, plain bound": plain_vae, "skvae, default bound": default_vae}


def fit_records(table: np.ndarray, max_iter: int, repeats: int, seed: int) -> Iterator[Record]:
    """Seconds to fit a table, as a ratio to MLPRegressor with the same layers, batch and epochs."""
    models = {
        "skvae, plain bound": plain_vae(FIT_SHAPE, max_iter, seed),
        "skvae, default bound": default_vae(FIT_SHAPE, max_iter, seed),
        "MLPRegressor": mlp(FIT_SHAPE, max_iter, seed),
    }
    seconds = in_turn({name: _fit(model, table) for name, model in models.items()}, repeats)
    rival = seconds["MLPRegressor"]
    for name, value in seconds.items():
        yield {
            "measure": "fit", "what": name, "n_rows": len(table), "n_features": table.shape[1],
            "n_epochs": max_iter, "batch_size": FIT_SHAPE.batch_size, "seconds": value.wall, "cpu_seconds": value.cpu,
            "ratio": value.wall / rival.wall, "cpu_ratio": value.cpu / rival.cpu,
        }  # fmt: skip


def step_records(shape: Shape, n_batches: int, repeats: int, seed: int) -> Iterator[Record]:
    """Microseconds of a training step: the slope between a short and a long fit, which leaves the set-up out."""
    table = factor_table(n_batches * shape.batch_size, shape.n_features, seed)
    short, long = 2, 8
    makers = {**SKVAES, "MLPRegressor": mlp}
    fits = {
        (name, epochs): _fit(make(shape, epochs, seed), table)
        for name, make in makers.items()
        for epochs in (short, long)
    }
    seconds = in_turn(fits, repeats)
    n_steps = (long - short) * n_batches
    step = {name: (seconds[name, long] - seconds[name, short]).per(n_steps) for name in makers}
    default = default_vae(shape, 1, seed)
    _fit(default, table)()
    of_default = shape.products(default.n_train_samples, default._engine.model.columns.n_outputs)
    step["matmul floor"] = matmul_floor(shape.products(1, shape.n_features), 10 * n_batches, repeats)
    step["floor and Adam's pass"] = step["matmul floor"] + adam_pass(shape, 10 * n_batches, repeats)
    step["matmul floor of the default"] = matmul_floor(of_default, 10 * n_batches, repeats)
    for name, value in step.items():
        yield {
            "measure": "step", "what": name, "shape": str(shape),
            "microseconds": 1e6 * value.wall, "cpu_microseconds": 1e6 * value.cpu,
        }  # fmt: skip


def part_records(shape: Shape, n_batches: int, seed: int) -> Iterator[Record]:
    """Microseconds of the parts of a step of the default: the slope again. The watch takes some of its own."""
    table = factor_table(n_batches * shape.batch_size, shape.n_features, seed)
    short, long = 2, 8
    before, after = (_seconds_of_parts(_fit(default_vae(shape, epochs, seed), table)) for epochs in (short, long))
    for part, seconds in after.items():
        microseconds = 1e6 * (seconds - before[part]) / ((long - short) * n_batches)
        yield {"measure": "part", "what": part, "shape": str(shape), "microseconds": microseconds}


def _seconds_of_parts(fit: Action) -> dict[str, float]:
    with watching() as watch:
        started = Seconds.now()
        fit()
        total = (Seconds.now() - started).cpu
    return {part: watch.seconds[part] for part in PARTS} | {REST: total - sum(watch.seconds.values())}


def matmul_floor(layers: list[tuple[int, int, int]], n: int, repeats: int) -> Seconds:
    """Seconds of the three matrix products per layer that a step cannot do without, results written in place.

    A layer is its rows, and its widths in and out.
    """
    products = []
    for rows, n_in, n_out in layers:
        x, w, y = torch.randn(rows, n_in), torch.randn(n_in, n_out), torch.randn(rows, n_out)
        products += [(x, w, torch.empty_like(y)), (x.T, y, torch.empty_like(w)), (y, w.T, torch.empty_like(x))]

    def steps() -> None:
        for _ in range(n):
            for left, right, out in products:
                torch.mm(left, right, out=out)

    return in_turn({"floor": steps}, repeats)["floor"].per(n)


def adam_pass(shape: Shape, n: int, repeats: int) -> Seconds:
    """Seconds of Adam's kernel over as many parameters, all in one tensor: the least that moves them."""
    size = sum((n_in + 1) * n_out for _, n_in, n_out in shape.products(1, shape.n_features))
    value, grad, first, second = (torch.rand(size) for _ in range(4))
    steps = torch.zeros(())

    def passes() -> None:
        for _ in range(n):
            torch._fused_adam_(
                [value], [grad], [first], [second], [], [steps],
                lr=1e-3, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
            )  # fmt: skip

    return in_turn({"Adam": passes}, repeats)["Adam"].per(n)


def throughput_records(table: np.ndarray, max_iter: int, repeats: int, seed: int) -> Iterator[Record]:
    """Rows per second of the fitted default model."""
    model = VAETransformer(max_iter=max_iter, random_state=seed)
    _fit(model, table)()
    calls: dict[str, Action] = {
        "transform": lambda: model.transform(table),
        "reconstruct": lambda: model.reconstruct(table),
        f"score_samples ({model.n_importance_samples} draws)": lambda: model.score_samples(table),
        "sample": lambda: model.sample(len(table), random_state=seed),
    }
    for name, seconds in in_turn(calls, repeats).items():
        yield {"measure": "throughput", "what": name, "rows_per_second": len(table) / seconds.wall}


def default_fit_records(table: np.ndarray, max_iter: int | str, seed: int) -> Iterator[Record]:
    """Seconds of ``VAETransformer().fit``, early stopping as it comes."""
    model = VAETransformer(max_iter=max_iter, random_state=seed)
    seconds = in_turn({"fit": _fit(model, table)}, 1)["fit"]
    yield {
        "measure": "default fit", "what": "VAETransformer()", "n_rows": len(table), "n_features": table.shape[1],
        "n_epochs": model.n_iter_, "seconds": seconds.wall, "cpu_seconds": seconds.cpu,
    }  # fmt: skip


def growth_records(smoke: bool, repeats: int, seed: int) -> Iterator[Record]:
    """What grows with what: a default fit with rows, a default step and scores with columns, width and batch."""
    for n in (300,) if smoke else (1_000, 10_000, 100_000, 1_000_000):
        model, table = VAETransformer(max_iter=2 if smoke else "auto", random_state=seed), factor_table(n, 30, seed)
        seconds = in_turn({"fit": _fit(model, table)}, 1)["fit"]
        yield _growth("default fit", "rows", n, "seconds", seconds)
    for what, shapes in GROWTH.items():
        for shape in shapes[:1] if smoke else shapes:
            n_batches = 2 if smoke else 50 if shape.n_features <= 300 else 8
            yield from _step_growth(what, shape, n_batches, repeats, seed)


def _step_growth(what: str, shape: Shape, n_batches: int, repeats: int, seed: int) -> Iterator[Record]:
    """A step of the default on a shape, and where the columns grow the scores of the last model."""
    table = factor_table(n_batches * shape.batch_size, shape.n_features, seed)
    value = {"columns": shape.n_features, "width": shape.hidden[0], "batch": shape.batch_size}[what]
    models = {epochs: default_vae(shape, epochs, seed) for epochs in (2, 8)}
    seconds = in_turn({epochs: _fit(model, table) for epochs, model in models.items()}, repeats)
    yield _growth("default step", what, value, "microseconds", (seconds[8] - seconds[2]).per(6e-6 * n_batches))
    if what == "columns":
        rows = table[:SCORED]
        score = in_turn({"score": lambda: models[8].score_samples(rows)}, repeats)["score"]
        yield _growth("score of a row, 64 draws", what, value, "microseconds", score.per(1e-6 * len(rows)))


def _growth(what: str, of: str, value: int, unit: str, seconds: Seconds) -> Record:
    return {"measure": "growth", "what": what, "of": of, "value": value, "unit": unit, **seconds._asdict()}


def thread_records(smoke: bool, repeats: int, seed: int) -> Iterator[Record]:
    """Steps and scores of the default on one thread and on two, in turn."""
    users = torch.get_num_threads()
    for shape in STEP_SHAPES[:1] if smoke else STEP_SHAPES[1:]:
        n_batches = 2 if smoke else 40 if shape.n_features < 100 else 5
        table = factor_table(n_batches * shape.batch_size, shape.n_features, seed)
        models = {epochs: default_vae(shape, epochs, seed) for epochs in (2, 8)}
        actions: dict[tuple[int, object], Action] = {
            (threads, epochs): _with_threads(threads, _fit(model, table))
            for threads in (1, 2)
            for epochs, model in models.items()
        }
        seconds = in_turn(actions, repeats)
        rows = table[:SCORED]
        scores = {n: _with_threads(n, lambda: models[8].score_samples(rows)) for n in (1, 2)}  # noqa: B023 (run here)
        score = in_turn(scores, repeats)
        for n in (1, 2):
            step = (seconds[n, 8] - seconds[n, 2]).per(6e-6 * n_batches)
            yield {
                "measure": "threads", "shape": str(shape), "threads": n, "step": step.wall,
                "score": score[n].per(1e-6 * len(rows)).wall,
            }  # fmt: skip
    torch.set_num_threads(users)


def more_rows_records(smoke: bool, repeats: int, seed: int) -> Iterator[Record]:
    """Steps on several times the rows: less than as many networks of that shape could cost as one."""
    for shape, (name, make) in product(STEP_SHAPES[:1] if smoke else STEP_SHAPES[:2], SKVAES.items()):
        n_batches, step = 2 if smoke else 40, {}
        for times in (1, 2, 5):
            larger = replace(shape, batch_size=times * shape.batch_size)
            step[times] = _step(partial(make, larger, seed=seed), larger, n_batches, repeats, seed).wall
        yield {"measure": "more rows", "what": name, "shape": str(shape), "twice": step[2] / step[1],
               "five_times": step[5] / step[1]}  # fmt: skip


def products_records(smoke: bool, repeats: int, seed: int) -> Iterator[Record]:
    """Steps with products in single precision and with what `torch.set_float32_matmul_precision("medium")` allows."""
    users = torch.get_float32_matmul_precision()
    for shape, (name, make) in product(STEP_SHAPES[:1] if smoke else STEP_SHAPES, SKVAES.items()):
        n_batches, step = 2 if smoke else 40 if shape.n_features < 100 else 5, {}
        try:
            for precision in ("highest", "medium"):
                torch.set_float32_matmul_precision(precision)
                step[precision] = _step(partial(make, shape, seed=seed), shape, n_batches, repeats, seed).wall
        finally:
            torch.set_float32_matmul_precision(users)
        yield {"measure": "products", "what": name, "shape": str(shape), **step}


def gpu_records(smoke: bool, repeats: int, seed: int) -> Iterator[Record]:
    """Steps on a GPU, where there is one: skvae's, and those of the textbook's loop over batches that are there."""
    if not torch.cuda.is_available():
        print("skipped: torch finds no CUDA device to take steps on")
        return
    from benchmarks.methods.eager import fit_eager

    for shape in STEP_SHAPES[:1] if smoke else STEP_SHAPES:
        table = factor_table(40 * shape.batch_size, shape.n_features, seed)
        models = {
            (name, epochs): _fit(make(shape, epochs, seed).set_params(device="cuda"), table)
            for name, make in SKVAES.items()
            for epochs in (2, 12)
        }
        loops = {
            ("eager PyTorch, fused Adam", epochs): partial(fit_eager, shape, table, epochs, seed, device="cuda")
            for epochs in (2, 12)
        }
        for warm_up in (models | loops).values() if shape == STEP_SHAPES[0] else ():
            warm_up()
        seconds = in_turn(models | loops, repeats)
        for name in dict.fromkeys(name for name, _ in seconds):
            step = (seconds[name, 12] - seconds[name, 2]).per(10 * 40)
            yield {"measure": "gpu", "what": name, "shape": str(shape), "microseconds": 1e6 * step.wall,
                   "device": torch.cuda.get_device_name()}  # fmt: skip


def _step(make: Callable[..., VAETransformer], shape: Shape, n_batches: int, repeats: int, seed: int) -> Seconds:
    """Seconds of a training step: the slope between a short and a long fit."""
    table = factor_table(n_batches * shape.batch_size, shape.n_features, seed)
    fits = {epochs: _fit(make(max_iter=epochs), table) for epochs in (2, 8)}
    seconds = in_turn(fits, repeats)
    return (seconds[8] - seconds[2]).per(6 * n_batches)


def _with_threads(n: int, action: Action) -> Action:
    def run() -> None:
        torch.set_num_threads(n)
        action()

    return run


def in_turn(actions: dict[Name, Action], repeats: int) -> dict[Name, Seconds]:
    """Least seconds of each action over the repeats; one round after another, so that all meet the same weather."""
    best = dict.fromkeys(actions, Seconds(np.inf, np.inf))
    for _ in range(repeats):
        for name, action in actions.items():
            started = Seconds.now()
            action()
            best[name] = Seconds(*map(min, best[name], Seconds.now() - started))
    return best


def _fit(model: VAETransformer | MLPRegressor, table: np.ndarray) -> Action:
    def action() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # cut short on purpose
            model.fit(table, table if isinstance(model, MLPRegressor) else None)

    return action
