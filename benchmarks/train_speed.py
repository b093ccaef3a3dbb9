"""What `fit` costs beside a loop written by hand, what fusing gains, and how PyTorch and TensorFlow do: the 784-100-10 network.

Run: .venv/bin/python benchmarks/train_speed.py [--rounds 5] > benchmarks/results/train_speed.md    (extra: bench)
Everyone shuffles 60,000 images of 28x28 bytes, in memory, and trains two epochs with plain SGD on batches of 128; the pipeline's time is in the
figures. Each library runs in a process of its own, round after round; the first epoch compiles and is not counted. Figures are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from data_speed import images, installed, run_rounds, table, versions

ROWS, BATCH, RATE = 60_000, 128, 0.1
STEPS = ROWS // BATCH
Measured = Iterator[tuple[str, str, Callable[[], float]]]


def ours() -> Measured:
    """`fit`, bare, with hooks, and fused; and the loop by hand."""
    import jax
    import jax.numpy as jnp

    from aidl_jax import data, losses, models, optimizers, train
    from aidl_jax.scope import apply
    from aidl_jax.train.checkpoints import checkpoints
    from aidl_jax.train.progress import ProgressBar
    from aidl_jax.train.summaries import summaries

    x, y = images()
    dataset = data.from_tensor_slices((x, y)).shuffle().batch(BATCH, drop_remainder=True).repeat()
    model = models.mlp
    optimizer = optimizers.sgd(RATE)

    def loss_fn(params: Any, model_state: Any, batch: Any, key: Any) -> Any:
        pixels, labels = batch
        scaled = pixels.reshape(len(pixels), -1).astype(jnp.float32) / 255
        logits, model_state = apply(model)(params, model_state, scaled, key=key)
        return losses.softmax_cross_entropy(logits, labels, reduction="mean"), (model_state, {})

    step = train.make_train_step(loss_fn, optimizer)

    def new_state() -> Any:
        return train.make_state(model, optimizer, jax.random.key(0), np.zeros((1, 784), np.float32))

    def timed(**options: Any) -> float:
        make = options.pop("make_hooks", list)
        state = train.fit(step, new_state(), dataset, steps=STEPS, **options)
        hooks = make()
        start = time.perf_counter()
        state = train.fit(step, state, dataset, steps=3 * STEPS, hooks=hooks, **options)
        jax.block_until_ready(state)
        return 2 * STEPS / (time.perf_counter() - start)

    def by_hand() -> float:
        plain = optimizers.minimize(lambda params, *batch: loss_fn(params, {}, batch, None)[0], optimizer)
        donated = jax.jit(plain, donate_argnums=(0, 1))
        random = np.random.default_rng(0)
        params = jax.tree.map(jnp.copy, new_state().params)
        opt_state = jax.tree.map(jnp.copy, optimizer.init(params))

        def epoch(params: Any, opt_state: Any) -> Any:
            order = random.permutation(ROWS)
            for first in range(0, STEPS * BATCH, BATCH):
                rows = order[first : first + BATCH]
                params, opt_state, _ = donated(params, opt_state, x[rows], y[rows])
            return params, opt_state

        params, opt_state = epoch(params, opt_state)
        start = time.perf_counter()
        for _ in range(2):
            params, opt_state = epoch(params, opt_state)
        jax.block_until_ready(params)
        return 2 * STEPS / (time.perf_counter() - start)

    def all_hooks() -> list[Any]:
        folder = Path(tempfile.mkdtemp())
        return [ProgressBar(), summaries(folder, every=50), checkpoints(folder / "checkpoints", every=STEPS)]

    yield "training", "by hand: NumPy shuffle and gather, one donated step", by_hand
    yield "training", "fit", timed
    yield (
        "training",
        "fit with progress, summaries every 50 steps, checkpoints every epoch",
        lambda: timed(make_hooks=all_hooks),
    )
    for fuse in (16, 64):
        yield "training", f"fit, fuse={fuse}", lambda fuse=fuse: timed(fuse=fuse)


def torch_loop() -> Measured:
    """PyTorch, eager, batches gathered by hand."""
    import torch

    x, y = images()
    pixels, labels = torch.from_numpy(x), torch.from_numpy(y).long()
    net = torch.nn.Sequential(torch.nn.Linear(784, 100), torch.nn.ReLU(), torch.nn.Linear(100, 10))
    optimizer = torch.optim.SGD(net.parameters(), RATE)

    def epoch() -> None:
        order = torch.randperm(ROWS)
        for first in range(0, STEPS * BATCH, BATCH):
            rows = order[first : first + BATCH]
            scaled = pixels[rows].reshape(BATCH, -1).float() / 255
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(scaled), labels[rows]).backward()
            optimizer.step()

    def measure() -> float:
        epoch()
        start = time.perf_counter()
        epoch(), epoch()
        return 2 * STEPS / (time.perf_counter() - start)

    yield "training", "PyTorch, batches gathered by hand", measure


def tf_loop() -> Measured:
    """TensorFlow: tf.data in its fastest form, and the whole loop in one `tf.function`."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    x, y = images()
    rows, labels = tf.constant(x), tf.constant(y)
    order = tf.data.Dataset.range(ROWS).shuffle(ROWS).batch(BATCH, drop_remainder=True)
    batches = order.map(lambda i: (tf.gather(rows, i), tf.gather(labels, i)), num_parallel_calls=tf.data.AUTOTUNE)
    batches = batches.prefetch(tf.data.AUTOTUNE)
    random = tf.random.Generator.from_seed(0)
    w1, b1 = tf.Variable(random.normal((784, 100)) / 28), tf.Variable(tf.zeros(100))
    w2, b2 = tf.Variable(random.normal((100, 10)) / 10), tf.Variable(tf.zeros(10))
    variables = [w1, b1, w2, b2]

    def step(pixels: Any, labels: Any) -> None:
        with tf.GradientTape() as tape:
            scaled = tf.cast(tf.reshape(pixels, (BATCH, 784)), tf.float32) / 255.0
            logits = tf.nn.relu(scaled @ w1 + b1) @ w2 + b2
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(RATE * gradient)

    compiled = tf.function(step)

    @tf.function
    def whole() -> None:
        for pixels, labels in batches:
            step(pixels, labels)

    def one_by_one() -> None:
        for pixels, labels in batches:
            compiled(pixels, labels)

    def timed(epoch: Callable[[], None]) -> float:
        epoch()
        start = time.perf_counter()
        epoch(), epoch()
        return 2 * STEPS / (time.perf_counter() - start)

    yield "training", "TensorFlow, a tf.function per step", lambda: timed(one_by_one)
    yield "training", "TensorFlow, the epoch in one tf.function", lambda: timed(whole)


LIBRARIES = {"jax": ours, "torch": torch_loop, "tensorflow": tf_loop}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="one library, in this process; prints JSON")
    options = parser.parse_args()
    if options.only:
        print("\n" + json.dumps([(kind, name, run()) for kind, name, run in LIBRARIES[options.only]()]))
        return
    here = [library for library in LIBRARIES if installed(library)]
    figures = run_rounds(__file__, here, options.rounds)
    print("# Training the 784-100-10 network\n")
    print(f"Medians of {options.rounds} rounds on {len(os.sched_getaffinity(0))} cores. {versions()}.")
    if missing := sorted(set(LIBRARIES) - set(here)):
        print(f"Not installed, so left out: {', '.join(missing)}.")
    print("\n".join(table("Steps of a batch of 128, the pipeline included", "steps/s", figures["training"])))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
