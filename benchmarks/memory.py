"""Memory that fits and answers need beside the table and the answer: the process watched from outside (Linux only)."""

from __future__ import annotations

import gc
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.records import Record
from benchmarks.speed import factor_table
from skvae import VAETransformer

STATUS = Path("/proc/self/status")
KILOBYTES = 2**10  # in a megabyte
MEGABYTE = 2**20
EVERY = 0.002  # seconds between two looks
ROWS, COLUMNS = 1_000_000, 30


def resident() -> float:
    """Megabytes of its own that the process holds in memory: pages of a mapped file can be dropped, and are not its."""
    own = next(line for line in STATUS.read_text().splitlines() if line.startswith("RssAnon:"))
    return int(own.split()[1]) / KILOBYTES


@contextmanager
def peak() -> Iterator[Callable[[], float]]:
    """What the block held beyond what was held before, at most, in megabytes; called after it."""
    gc.collect()
    before, most, over = resident(), [0.0], threading.Event()

    def watch() -> None:
        while not over.is_set():
            most[0] = max(most[0], resident() - before)
            time.sleep(EVERY)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: most[0]
    finally:
        over.set()
        watcher.join()


def memory_records(smoke: bool, seed: int = 0) -> Iterator[Record]:
    """Megabytes beyond the input, for a fit of one epoch and for each way to ask the model, and those of the answer."""
    if not STATUS.exists():
        print(f"skipped: there is no {STATUS} to read the memory of the process from")
        return
    table = factor_table(2_000 if smoke else ROWS, COLUMNS, seed)
    model = VAETransformer(max_iter=1, random_state=seed).fit(table[:500])  # what torch loads is not the table's
    few = table[: len(table) // 10]
    codes = np.zeros((len(table), model.n_components_))
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "table.npy", table)
        mapped = np.load(Path(folder) / "table.npy", mmap_mode="r")  # lives on when its name is gone
    calls: dict[str, Callable[[], object]] = {
        "fit": lambda: model.fit(table),
        "fit of a memory map": lambda: model.fit(mapped),
        "transform": lambda: model.transform(table),
        "inverse_transform": lambda: model.inverse_transform(codes),
        "reconstruct": lambda: model.reconstruct(table),
        "sample": lambda: model.sample(len(table), random_state=seed),
        f"score_samples of {len(few)} rows": lambda: model.score_samples(few),
    }
    for name, call in calls.items():
        with peak() as most:
            answer = call()
        size = answer.nbytes / MEGABYTE if isinstance(answer, np.ndarray) else 0.0
        yield {
            "measure": "memory", "what": name, "n_rows": len(table), "n_features": COLUMNS,
            "input": table.nbytes / MEGABYTE, "peak": most(), "answer": size, "beside": most() - size,
        }  # fmt: skip
        del answer
