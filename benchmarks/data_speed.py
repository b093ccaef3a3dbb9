"""How fast data arrive: this module beside tf.data, Grain, PyTorch's DataLoader and a loop written by hand.

Run: .venv/bin/python benchmarks/data_speed.py [--rounds 5] > benchmarks/results/data_speed.md    (extra: bench)
Every library runs in a process of its own, one after another, round after round, so that a drifting machine hits all alike; each
process goes through its data once before it is timed. A peer that is not installed is left out, and named. Figures are medians.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

ROWS, BATCH = 60_000, 128
NUMBERS = 2_000_000
FLAT = 1_000_000  # small rows that are gone through in one pass, however many there are
Make = Callable[[], Iterable[Any]]


def images() -> tuple[np.ndarray, np.ndarray]:
    """As large as MNIST."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, (ROWS, 28, 28), np.uint8), random.integers(0, 10, ROWS, np.int32)


def per_second(make: Make, items: int) -> float:
    """Items a second of one pass, after another one."""
    for _ in make():
        pass
    start = time.perf_counter()
    for _ in make():
        pass
    return items / (time.perf_counter() - start)


def passes(dataset: Any, batches: int) -> Make:
    """So many batches a pass, through one epoch after another: each has another order, as where one trains."""
    epochs = iter(dataset.repeat())
    return lambda: itertools.islice(epochs, batches)


def ours() -> Iterator[tuple[str, str, Callable[[], float]]]:
    """This module, and the loop by hand that does the same gather and the same compiled map."""
    import jax
    import jax.numpy as jnp

    from aidl_jax import data

    x, y = images()
    compiled = jax.jit(jax.vmap(lambda image, label: (image.astype(jnp.float32) / 255, label)))
    random = np.random.default_rng(0)

    def by_hand(mapped: bool) -> Iterator[Any]:
        order = random.permutation(ROWS)
        for start in range(0, ROWS, BATCH):
            rows = order[start : start + BATCH]
            if not mapped:
                yield x[rows], y[rows]
            elif len(rows) == BATCH:
                yield jax.tree.map(np.asarray, compiled(x[rows], y[rows]))
            else:  # as ours: filled up, so that nothing is compiled again
                filled = np.resize(rows, BATCH)
                pixels, labels = compiled(x[filled], y[filled])
                yield np.asarray(pixels)[: len(rows)], np.asarray(labels)[: len(rows)]

    shuffled = data.from_tensor_slices((x, y)).shuffle()
    mapped = shuffled.map(lambda image, label: (image.astype(jnp.float32) / 255, label)).batch(BATCH)
    numbers = data.range(NUMBERS).map(lambda number: number * 2 + 1).batch(256)
    batches = len(list(mapped))
    yield "images", "aidl_jax", lambda: per_second(passes(mapped, batches), ROWS)
    yield "images", "aidl_jax, with prefetch(2)", lambda: per_second(passes(mapped.prefetch(2), batches), ROWS)
    yield "images", "by hand: NumPy gather, compiled map", lambda: per_second(lambda: by_hand(True), ROWS)
    yield "gather", "aidl_jax", lambda: per_second(passes(shuffled.batch(BATCH), batches), ROWS)
    yield "gather", "by hand: NumPy gather", lambda: per_second(lambda: by_hand(False), ROWS)
    yield "numbers", "aidl_jax", lambda: per_second(lambda: numbers, NUMBERS)
    for exponent in (4, 5, 6, 7):
        yield "flat", f"10^{exponent}", lambda exponent=exponent: _flat(10**exponent)
    for exponent in (4, 5, 6, 7):
        yield "flat by hand", f"10^{exponent}", lambda exponent=exponent: _flat_by_hand(10**exponent)


def _flat(rows: int) -> float:
    """Shuffled rows of 16 bytes."""
    from aidl_jax import data

    source = np.ones((rows, 4), np.float32)  # zeros would all stand in one page of memory
    dataset = data.from_tensor_slices(source).shuffle().map(lambda row: row * 2).batch(BATCH)
    return per_second(passes(dataset, FLAT // BATCH), FLAT)


def _flat_by_hand(rows: int) -> float:
    """The same rows in an order that is there already: what memory alone loses as it grows."""
    source, order = np.ones((rows, 4), np.float32), np.random.default_rng(0).integers(0, rows, FLAT)
    return per_second(lambda: (source[order[at : at + BATCH]] * 2 for at in range(0, FLAT, BATCH)), FLAT)


def feeding() -> Iterator[tuple[str, str, Callable[[], float]]]:
    """Iterations a second of a training loop on the 784-100-10 network, with batches at hand and through pipelines."""
    import jax
    import jax.numpy as jnp
    import optax

    from aidl_jax import data
    from aidl_jax.optimizers import minimize, sgd

    x, y = images()

    def loss_fn(params: Any, pixels: Any, labels: Any) -> Any:
        scaled = pixels.reshape(len(pixels), -1).astype(jnp.float32) / 255
        hidden = jax.nn.relu(scaled @ params["w1"] + params["b1"])
        logits = hidden @ params["w2"] + params["b2"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    random = np.random.default_rng(0)
    params = {"w1": jnp.float32(random.normal(size=(784, 100)) / 28), "b1": jnp.zeros(100)}
    params |= {"w2": jnp.float32(random.normal(size=(100, 10)) / 10), "b2": jnp.zeros(10)}
    optimizer = sgd(0.1)
    step = minimize(loss_fn, optimizer)
    at_hand = [(x[start : start + BATCH], y[start : start + BATCH]) for start in range(0, ROWS - BATCH, BATCH)]

    def flip_and_crop(key: Any, image: Any, label: Any) -> Any:
        flip, crop = jax.random.split(key)
        image = jnp.where(jax.random.bernoulli(flip), image[:, ::-1], image)
        corner = jax.random.randint(crop, (2,), 0, 5)
        return jax.lax.dynamic_slice(jnp.pad(image, 2), corner, (28, 28)), label

    def train(batches: Make) -> float:
        def go() -> None:
            now, opt_state = params, optimizer.init(params)
            for pixels, labels in batches():
                now, opt_state, _ = step(now, opt_state, pixels, labels)
            jax.block_until_ready(now)

        go()
        start = time.perf_counter()
        go()
        return len(at_hand) / (time.perf_counter() - start)

    plain = data.from_tensor_slices((x, y)).shuffle().batch(BATCH, drop_remainder=True)
    keyed = data.from_tensor_slices((x, y)).shuffle().map(flip_and_crop, keyed=True).batch(BATCH, drop_remainder=True)
    yield "feeding", "batches at hand", lambda: train(lambda: at_hand)
    yield "feeding", "aidl_jax: shuffle, batch", lambda: train(passes(plain, len(at_hand)))
    yield "feeding", "aidl_jax: shuffle, keyed flip and crop, batch", lambda: train(passes(keyed, len(at_hand)))


def tf_data() -> Iterator[tuple[str, str, Callable[[], float]]]:
    """tf.data, in its usual form and in its fastest."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    x, y = images()
    auto = tf.data.AUTOTUNE
    scale = lambda image, label: (tf.cast(image, tf.float32) / 255.0, label)  # noqa: E731
    rows, labels = tf.constant(x), tf.constant(y)
    usual = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(ROWS)
    gathered = tf.data.Dataset.range(ROWS).shuffle(ROWS).batch(BATCH)
    gathered = gathered.map(lambda i: scale(tf.gather(rows, i), tf.gather(labels, i)), num_parallel_calls=auto)
    yield (
        "images",
        "tf.data, its usual form",
        lambda: per_second(
            lambda: usual.map(scale, num_parallel_calls=auto).batch(BATCH).prefetch(auto).as_numpy_iterator(), ROWS
        ),
    )
    yield (
        "images",
        "tf.data, map after batch",
        lambda: per_second(
            lambda: usual.batch(BATCH).map(scale, num_parallel_calls=auto).prefetch(auto).as_numpy_iterator(), ROWS
        ),
    )
    yield (
        "images",
        "tf.data, shuffled indices, gather after batch",
        lambda: per_second(lambda: gathered.prefetch(auto).as_numpy_iterator(), ROWS),
    )
    numbers = tf.data.Dataset.range(NUMBERS)
    yield (
        "numbers",
        "tf.data, map after batch",
        lambda: per_second(
            lambda: (
                numbers.batch(256).map(lambda n: n * 2 + 1, num_parallel_calls=auto).prefetch(auto).as_numpy_iterator()
            ),
            NUMBERS,
        ),
    )


def torch_loader() -> Iterator[tuple[str, str, Callable[[], float]]]:
    """PyTorch's DataLoader: one example at a time, and with batches fetched by hand."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    x, y = map(torch.from_numpy, images())
    numbers = torch.arange(NUMBERS)

    class Examples(Dataset):
        def __len__(self) -> int:
            return ROWS

        def __getitem__(self, rows: Any) -> Any:
            return x[rows].float() / 255, y[rows]

    class Numbers(Dataset):
        def __len__(self) -> int:
            return NUMBERS

        def __getitem__(self, rows: Any) -> Any:
            return numbers[rows] * 2 + 1

    class Batches:
        """Indices, a batch at a time, as one tensor."""

        def __init__(self, size: int, order: Any) -> None:
            self.size, self.order = size, order

        def __iter__(self) -> Iterator[Any]:
            return iter(self.order().split(self.size))

        def __len__(self) -> int:
            return -(-len(self.order()) // self.size)

    examples = Examples()
    by_batch = Batches(BATCH, lambda: torch.randperm(ROWS))
    in_order = Batches(256, lambda: torch.arange(NUMBERS))
    yield "images", "PyTorch DataLoader", lambda: per_second(lambda: DataLoader(examples, BATCH, shuffle=True), ROWS)
    yield (
        "images",
        "PyTorch DataLoader, batches fetched by hand",
        lambda: per_second(lambda: DataLoader(examples, sampler=by_batch, batch_size=None), ROWS),
    )
    yield (
        "numbers",
        "PyTorch DataLoader, batches fetched by hand",
        lambda: per_second(lambda: DataLoader(Numbers(), sampler=in_order, batch_size=None), NUMBERS),
    )


def grain_loader() -> Iterator[tuple[str, str, Callable[[], float]]]:
    """Grain's MapDataset, as its guide writes it, and with the map after the batch."""
    import grain.python as grain

    x, y = images()

    class Source:
        def __len__(self) -> int:
            return ROWS

        def __getitem__(self, row: int) -> Any:
            return x[row], y[row]

    def scale(element: Any) -> Any:
        return element[0].astype(np.float32) / 255, element[1]

    shuffled = grain.MapDataset.source(Source()).shuffle(seed=0)
    yield "images", "Grain", lambda: per_second(lambda: shuffled.map(scale).batch(BATCH).to_iter_dataset(), ROWS)
    yield (
        "images",
        "Grain, map after batch",
        lambda: per_second(lambda: shuffled.batch(BATCH).map(scale).to_iter_dataset(), ROWS),
    )


LIBRARIES = {"jax": ours, "jaxlib": feeding, "tensorflow": tf_data, "torch": torch_loader, "grain": grain_loader}
TITLES = {
    "images": f"Shuffle, scale to float32, batches of {BATCH}: {ROWS:,} images of 28x28 bytes in memory",
    "gather": f"The same without the map: shuffle and batches of {BATCH}",
    "numbers": f"range({NUMBERS:,}), map, batches of 256",
    "feeding": f"A training loop, 784-100-10, batches of {BATCH}",
    "flat": f"Rows of 16 bytes: shuffle, map, batches of {BATCH}, as the data grow",
    "flat by hand": "The same by hand: NumPy gather and map, in an order that was drawn before",
}
UNITS = {"feeding": "steps/s"}


def installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def run_rounds(script: str, libraries: list[str], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Figures by kind and name: each library in a process of its own, one after another, round after round."""
    figures: dict[str, dict[str, list[float]]] = {}
    for number in range(rounds):
        for library in libraries:
            print(f"round {number + 1} of {rounds}: {library}", file=sys.stderr)
            asked = [sys.executable, script, "--only", library]
            answer = subprocess.run(asked, capture_output=True, text=True, check=False)
            if answer.returncode:
                raise SystemExit(f"{library}: {answer.stderr[-2000:]}")
            for kind, name, figure in json.loads(answer.stdout.splitlines()[-1]):
                figures.setdefault(kind, {}).setdefault(name, []).append(figure)
    return figures


def told(number: float) -> str:
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number / 1e3:.0f} k" if number >= 1e4 else f"{number:,.0f}"


def table(title: str, unit: str, figures: dict[str, list[float]]) -> Iterator[str]:
    """A table of medians, with their ratios to the first line's."""
    medians = {name: statistics.median(values) for name, values in figures.items()}
    first = next(iter(medians.values()))
    yield f"\n## {title}\n"
    yield f"| | {unit} | lowest to highest | of the first line |\n|---|---:|---:|---:|"
    for name, values in figures.items():
        yield f"| {name} | {told(medians[name])} | {told(min(values))} to {told(max(values))} | {medians[name] / first:.3g} |"


def versions(*more: str) -> str:
    found = []
    for package in ("jax", "numpy", "tensorflow-cpu", "tensorflow", "torch", "grain", *more):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join([*found, f"Python {platform.python_version()}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="one library, in this process; prints JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps([(kind, name, run()) for kind, name, run in LIBRARIES[options.only]()]))
        return
    here = [library for library in LIBRARIES if installed(library)]
    figures = run_rounds(__file__, here, options.rounds)
    print("# How fast data arrive\n")
    print(f"Medians of {options.rounds} rounds on {len(os.sched_getaffinity(0))} cores. {versions()}.")
    missing = sorted(set(LIBRARIES) - set(here))
    if missing:
        print(f"Not installed, so left out: {', '.join(missing)}.")
    for kind in TITLES:
        print("\n".join(table(TITLES[kind], UNITS.get(kind, "items/s"), figures[kind])))


if __name__ == "__main__":
    main()
