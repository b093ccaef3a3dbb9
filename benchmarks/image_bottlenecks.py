"""Where the time of a training loop over photographs goes: the four bottlenecks, each made to hold in turn.

`readers_speed.py` prints it. All is real but the bus, which sleeps for as long as a copy at 100 MB a second would take.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax import data, losses, models, optimizers
from aidl_jax.data import Dataset
from aidl_jax.scope import apply
from aidl_jax.train import Timings, diagnose, make_state, make_train_step, measure

__all__ = ["lines_of"]

BATCH, SIDE = 64, 224
COLOURS: dict[str, dict[str, None]] = {"float32": {}, "uint8": {"mean": None, "std": None}}
STAGES = ("read", "decode", "batch", "copy", "step", "pipeline", "iteration")


def folder_of(root: Path) -> Dataset:
    """Many small files."""
    return data.image_folder(root / "train").shuffle()


def shards_of(root: Path) -> Dataset:
    """Few large files, read from their beginning to their end."""
    image, label = jax.ShapeDtypeStruct((), np.dtype(object)), jax.ShapeDtypeStruct((), np.int32)
    parse = data.parse_example({"image/encoded": image, "image/class/label": label})
    return data.tfrecord(f"{root}/tfrecord/train-*").apply(parse)


def bus(batch: Any) -> Any:
    """A copy over a slow bus."""
    time.sleep(sum(leaf.nbytes for leaf in jax.tree.leaves(batch)) / 100e6)
    return jax.device_put(batch)


def loss_fn(model: Any, params: Any, model_state: Any, batch: Any, key: Any) -> Any:
    """The loss of every eighth pixel's colours."""
    images, labels = batch if isinstance(batch, tuple) else (batch["image/encoded"], batch["image/class/label"])
    x = jnp.asarray(images[:, ::8, ::8].reshape(len(labels), -1), jnp.float32)
    logits, model_state = apply(model)(params, model_state, x)
    return losses.softmax_cross_entropy(logits, labels, reduction="mean"), (model_state, {})


def timed(source: Dataset, image: Any, threads: int, layers: int, colours: str, put: Any) -> Timings:
    """A loop's timings."""
    how = data.decode_images((SIDE, SIDE), flip=True, num_parallel_calls=threads, image=image, **COLOURS[colours])
    dataset = source.apply(how).batch(BATCH, drop_remainder=True).prefetch(1).repeat()
    model, optimizer = partial(models.mlp, units=(*(1024,) * layers, 10)), optimizers.adam(1e-3)
    state = make_state(model, optimizer, jax.random.key(0), np.zeros((1, 3 * (SIDE // 8) ** 2), np.float32))
    return measure(make_train_step(partial(loss_fn, model), optimizer), state, dataset, iterations=9, put=put)


def lines_of(root: Path) -> Iterator[str]:
    """The table, as Markdown, for photographs as `examples/make_photographs.py` writes them."""
    folder, shards = (folder_of(root), 0), (shards_of(root), "image/encoded")
    cases = [
        ("one thread", folder, 1, 1, "float32", None),
        ("a thread for each core", folder, 2, 1, "float32", None),
        ("the same from shards", shards, 2, 1, "float32", None),
        ("a deep model", folder, 2, 24, "uint8", None),
        ("a slow bus, float32", folder, 2, 1, "float32", bus),
        ("a slow bus, uint8", folder, 2, 1, "uint8", bus),
    ]
    yield f"\n## A training loop over photographs, batches of {BATCH}: milliseconds\n"
    yield f"| | {' | '.join(STAGES)} | it/s | named |\n|---|{'---:|' * (len(STAGES) + 1)}---|"
    for name, (source, image), *how in cases:
        found = timed(source, image, *how)
        cells = [f"{1e3 * getattr(found, stage):.1f}" for stage in STAGES]
        told = diagnose(found)
        yield f"| {name} | {' | '.join(cells)} | {1 / found.iteration:.3g} | {told.bottleneck}: {told.name} |"
