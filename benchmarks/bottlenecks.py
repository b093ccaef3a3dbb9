"""Each of the four bottlenecks is built, measured and named; then the advice is followed: what was predicted, and what came true.

Run: .venv/bin/python benchmarks/bottlenecks.py > benchmarks/results/bottlenecks.md
The disk, the bus and what waits are stand-ins that sleep for as long as the real ones would take; Python, the compiled functions and
the steps are real, and share the cores.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax import data, losses, models, optimizers
from aidl_jax.data import Dataset
from aidl_jax.scope import apply
from aidl_jax.train import Timings, diagnose, make_state, make_train_step, measure

ROWS, BATCH = 1024, 64
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (ROWS, 784), dtype=np.uint8)
LABELS = RANDOM.integers(0, 10, ROWS).astype(np.int32)
ROW = (jax.ShapeDtypeStruct((784,), np.uint8), jax.ShapeDtypeStruct((), np.int32))
FLOAT_ROW = (jax.ShapeDtypeStruct((784,), np.float32), ROW[1])
EPOCH = ROWS // BATCH + 1


@dataclass(frozen=True)
class Loop:
    """What is measured."""

    dataset: Dataset
    layers: int = 4
    put: Callable[[Any], Any] | None = None
    warm_up: int = 0

    def measure(self) -> Timings:
        """The timings of its iterations."""
        model = partial(models.mlp, units=(*(256,) * self.layers, 10))
        optimizer = optimizers.adam(1e-3)
        state = make_state(model, optimizer, jax.random.key(0), np.zeros((1, 784), np.float32))
        step = make_train_step(partial(loss_fn, model), optimizer)
        return measure(step, state, self.dataset, iterations=30, warm_up=self.warm_up, put=self.put)


def loss_fn(model: Any, params: Any, model_state: Any, batch: Any, key: Any) -> Any:
    """The loss of images; bytes are made floats here."""
    images, labels = batch
    x = images / 255.0 if images.dtype == jnp.uint8 else images
    logits, model_state = apply(model)(params, model_state, x)
    return losses.softmax_cross_entropy(logits, labels, reduction="mean"), (model_state, {})


def bus(batch: Any) -> Any:
    """A copy over a slow bus: 1 ms for each, and 20 MB a second."""
    time.sleep(1e-3 + sum(leaf.nbytes for leaf in jax.tree.leaves(batch)) / 20e6)
    return jax.device_put(batch)


def disk(accesses: int, records: int) -> None:
    """Reading from a disk: 0.2 ms for each access, and 100 MB a second."""
    time.sleep(2e-4 * accesses + 784 * records / 100e6)


def small_files() -> Iterator[Any]:
    """One access for each record."""
    for row in zip(IMAGES, LABELS, strict=True):
        disk(1, 1)
        yield row


def one_file() -> Iterator[Any]:
    """One access for 64 records."""
    for start in range(0, ROWS, 64):
        disk(1, 64)
        yield from zip(IMAGES[start : start + 64], LABELS[start : start + 64], strict=True)


def read_one(number: Any) -> Any:
    """A record by its number, from a file of its own."""
    disk(1, 1)
    return IMAGES[number], LABELS[number]


def in_python(image: Any, label: Any) -> Any:
    """Brightness and contrast evened out, pixel by pixel."""
    pixels = [pixel / 255 for pixel in image.tolist()]
    mean = sum(pixels) / len(pixels)
    spread = sum((pixel - mean) ** 2 for pixel in pixels) ** 0.5 / 28
    return np.array([(pixel - mean) / spread for pixel in pixels], np.float32), label


def in_jax(image: Any, label: Any) -> Any:
    """The same, traced."""
    x = image / 255.0
    return (x - x.mean()) / x.std(), label


MEMORY = data.from_tensor_slices((IMAGES, LABELS)).shuffle(seed=1)
FLOATS = MEMORY.map(lambda image, label: (image / 255.0, label))
FILES = data.from_generator(small_files, ROW)
NUMBERS = data.range(ROWS)


def batches(dataset: Dataset) -> Dataset:
    """In batches, without end."""
    return dataset.batch(BATCH, drop_remainder=True).repeat()


PYTHON = MEMORY.map(in_python, python=True, spec=FLOAT_ROW)
HEAVY = Loop(batches(MEMORY), layers=40)
SLOW_BUS = Loop(batches(FLOATS), put=bus)
SLOW_PYTHON = Loop(batches(PYTHON))
WAITING = Loop(batches(NUMBERS.map(read_one, python=True, spec=ROW)))
SMALL_FILES = Loop(batches(FILES))
BALANCED = replace(SMALL_FILES, layers=40)
CASES = [
    ("a deep model", HEAVY, "a step half as long", "20 layers in place of 40", replace(HEAVY, layers=20)),
    ("a slow bus", SLOW_BUS, "send uint8", "uint8, converted in the loss function", Loop(batches(MEMORY), put=bus)),
    ("a loop in Python", SLOW_PYTHON, "the Python function as", "the function in jax.numpy", Loop(batches(MEMORY.map(in_jax)))),
    ("a loop in Python", SLOW_PYTHON, "cache()", "cache() after it",
     Loop(PYTHON.cache().batch(BATCH).repeat(), warm_up=EPOCH)),
    ("a Python function that waits", WAITING, "num_parallel_calls", "num_parallel_calls=8",
     Loop(batches(NUMBERS.map(read_one, python=True, num_parallel_calls=8, spec=ROW)))),
    ("many small files", SMALL_FILES, "cache()", "cache() after it", Loop(batches(FILES.cache()), warm_up=EPOCH)),
    ("many small files", SMALL_FILES, "one large file", "one file", Loop(batches(data.from_generator(one_file, ROW)))),
    ("many small files", SMALL_FILES, "eight files at once", "8 at once, in a Python map",
     Loop(batches(NUMBERS.map(read_one, python=True, num_parallel_calls=8, spec=ROW)))),
    ("many small files, a deep model", BALANCED, "prefetch(2)", "prefetch(2)",
     replace(BALANCED, dataset=BALANCED.dataset.prefetch(2))),
]  # fmt: skip


def main() -> None:
    """Prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    before = {name: loop for name, loop, *_ in CASES}
    after = {(name, what): loop for name, _, _, what, loop in CASES}
    taken: dict[Any, list[Timings]] = {name: [] for name in (*before, *after)}
    for _ in range(rounds):
        for name, loop in (before | after).items():
            taken[name].append(loop.measure())
    about = ", ".join(f"{name} {version(name)}" for name in ("jax", "jaxlib", "numpy"))
    print("# Bottlenecks: predicted, and what came true\n")
    print(f"python {platform.python_version()}, {about}; {platform.machine()}, {os.cpu_count()} cores;")
    print(f"batches of {BATCH} rows of 784 pixels; iterations per second; medians of {rounds} rounds;")
    print(f"load average of the machine after it {os.getloadavg()[1]:.1f}.\n")
    print(
        "| built | sum, ms | longer, ms | measured, ms | named | changed | before | predicted | came true | true / predicted |"
    )
    print("|---|---:|---:|---:|---|---|---:|---:|---:|---:|")
    for name, _, advice, what, _ in CASES:
        print(row(name, advice, what, middle(taken[name]), middle(taken[name, what])))
    print(NOTES)


def middle(several: list[Timings]) -> Timings:
    """The median of each number."""
    return Timings(**{one.name: statistics.median(getattr(t, one.name) for t in several) for one in fields(Timings)})


def row(name: str, advice: str, what: str, timings: Timings, changed: Timings) -> str:
    """A line of the table; NaN where the advice was not given, since it would bring less than 5 %."""
    told = diagnose(timings)
    predicted = next((one.iterations_per_second for one in told.changes if advice in one.what), math.nan)
    times = [f"{1e3 * seconds:.1f}" for seconds in (timings.sum, timings.maximum, timings.iteration)]
    rates = [f"{rate:.3g}" for rate in (told.iterations_per_second, predicted, 1 / changed.iteration)]
    cells = [name, *times, f"{told.bottleneck}: {told.name}", what, *rates, f"{1 / changed.iteration / predicted:.2f}"]
    return f"| {' | '.join(cells)} |"


NOTES = """
Sum: ingestion and step one after the other; longer: the longer of both, with the dataset as it is; measured: the loop as it is, in which
JAX starts a step and the host goes on to the next batch. "At best" advice (the function in jax.numpy, one file) is predicted as if the
stage took no time."""


if __name__ == "__main__":
    main()
