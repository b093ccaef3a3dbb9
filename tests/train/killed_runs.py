"""Runs that are killed at seeded moments and resumed, until one gets to its end: `killed_runs.py FOLDER FUSE SEED KILLS`.

This process only imports; each run is a fork of it, so that it starts at once. A run saves all the time, so that most moments
are in the middle of a save. After each kill, every checkpoint that is there must be, bit for bit, what the uninterrupted run had at
that step; at the end the last one is looked at. Prints the steps whose checkpoints were there, each time.
"""

from __future__ import annotations

import functools
import json
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint  # noqa: F401  (before the forks, since importing it takes longer than a run)

from aidl_jax import data, optimizers
from aidl_jax.scope import apply
from aidl_jax.train import fit, make_state, make_train_step
from aidl_jax.train.checkpoints import checkpoints, restore, saved_steps

STEPS, EVERY = 40, 6


def model(scope, x):
    for name, width in (("hidden", 16), ("logits", 3)):
        with scope.variable_scope(name) as layer:
            weights = layer.get_variable("weights", (x.shape[-1], width), jax.nn.initializers.lecun_normal())
            x = jnp.tanh(x @ weights)
    return x


def loss_fn(params, model_state, batch, key):
    x, labels = batch
    x = x * jax.random.bernoulli(key, 0.9, x.shape)
    logits, model_state = apply(model)(params, model_state, x)
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean(), (model_state, {})


def dataset():
    random = np.random.default_rng(0)
    rows = random.normal(size=(64, 8)).astype(np.float32), random.integers(0, 3, 64).astype(np.int32)
    return data.from_tensor_slices(rows).shuffle(20, seed=1).repeat().batch(8)


@functools.cache
def begin():
    return make_state(model, optimizers.adam(0.01), jax.random.key(0), np.zeros((1, 8), np.float32))


def numbers(state) -> list[np.ndarray]:
    state = state._replace(key=jax.random.key_data(state.key))
    return [np.array(leaf) for leaf in jax.tree.leaves(state)]


def train(folder: Path, fuse: int, *hooks):
    """A run from the latest checkpoint, or from the beginning, to the end."""
    state, position = jax.tree.map(jnp.copy, begin()), None
    if saved_steps(folder):
        state, position = restore(folder, state)
    step = make_train_step(loss_fn, optimizers.adam(0.01))
    hooks = [*hooks, checkpoints(folder, every=EVERY)]
    return fit(step, state, dataset(), steps=STEPS, fuse=fuse, position=position, hooks=hooks)


def uninterrupted(folder: Path, fuse: int, _) -> None:
    """Notes the state after every step, or block; then, since all is compiled, how long a run takes."""
    kept = {0: numbers(begin())}
    kept[STEPS] = numbers(
        train(folder / "first", fuse, lambda moment: kept.update({moment.step: numbers(moment.state)}))
    )
    begun = []
    train(folder / "second", fuse, lambda moment: begun.append(time.monotonic()))
    leaves = {f"{step}/{i}": leaf for step in kept for i, leaf in enumerate(kept[step])}
    np.savez(folder / "kept.npz", took=time.monotonic() - begun[0], **leaves)


def go_on(folder: Path, fuse: int, started) -> None:
    check(folder)
    tell = iter([started])
    train(folder / "cut", fuse, lambda moment: next(tell, lambda: None)())
    check(folder)


def check(folder: Path) -> None:
    """Every checkpoint that is there is what the uninterrupted run had at that step."""
    kept = np.load(folder / "kept.npz")
    steps = saved_steps(folder / "cut")
    for step in steps:
        state, position = restore(folder / "cut", begin(), step)
        same = [bool((kept[f"{step}/{i}"] == leaf).all()) for i, leaf in enumerate(numbers(state))]
        assert all(same) and position["at"] == step, (step, same, position)
    print(json.dumps(steps), flush=True)


def in_a_fork(work, *args, kill_after: float | None = None) -> bool:
    """Runs `work(*args, started)` in a child, which is killed so many seconds after it called `started`; whether it got to its end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        work(*args, lambda: os.write(writing, b"."))
        os._exit(0)
    os.close(writing)
    os.read(reading, 1)
    select.select([reading], [], [], kill_after)  # the pipe ends when the child does
    os.kill(child, signal.SIGKILL)
    os.close(reading)
    status = os.waitpid(child, 0)[1]
    if status not in (0, signal.SIGKILL):
        sys.exit(f"a run failed with status {status}")
    return status == 0


def main(folder: Path, fuse: int, seed: int, kills: int) -> None:
    assert in_a_fork(uninterrupted, folder, fuse)
    took = float(np.load(folder / "kept.npz")["took"])
    random = np.random.default_rng(seed)
    while kills:
        if in_a_fork(go_on, folder, fuse, kill_after=random.uniform(0, took)):
            shutil.rmtree(folder / "cut")
        else:
            kills -= 1
    assert in_a_fork(go_on, folder, fuse)
    assert all(path.name.isdigit() for path in (folder / "cut").iterdir())


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
