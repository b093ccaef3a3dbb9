"""What `fit` costs beside a loop written by hand, what fusing gains, and how others do: the 784-100-10 network, batches of 128, plain SGD.

Run: .venv/bin/python benchmarks/train_speed.py [--rounds 5] > benchmarks/results/train_speed.md    (extra: bench)
In the first table batches are at hand, as NumPy arrays, and only steps are timed. In the second everyone shuffles 60,000 images of 28x28
bytes, in memory, epoch after epoch, and the pipeline's time is in the figures. Each library runs in a process of its own, round after round;
the first epoch compiles and is not counted. Figures are medians. The peers are in train_peers.py.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from data_speed import images, installed, run_rounds, table, versions
from train_peers import BATCH, EPOCHS, PEERS, RATE, ROWS, STEPS, Measured, at_hand, gathered, steps_per_second

HAND = "JAX by hand: one donated step"
WITH_HOOKS = "fit with progress, summaries every 50 steps, checkpoints every epoch"
LONG = 5  # times as many epochs where what is done each epoch, or once, is to be seen


def ours() -> Measured:
    """The loop by hand, and `fit`: bare, with hooks, and fused."""
    import jax
    import jax.numpy as jnp
    from rich.console import Console

    from aidl_jax import data, losses, models, optimizers, train
    from aidl_jax.scope import apply

    x, y = images()
    dataset = data.from_tensor_slices((x, y)).shuffle().batch(BATCH, drop_remainder=True).repeat()
    model, optimizer = partial(models.mlp, units=(100, 10)), optimizers.sgd(RATE)

    def loss_fn(params: Any, model_state: Any, batch: Any, key: Any) -> Any:
        pixels, labels = batch
        scaled = pixels.reshape(len(pixels), -1).astype(jnp.float32) / 255
        logits, model_state = apply(model)(params, model_state, scaled, key=key)
        return losses.softmax_cross_entropy(logits, labels, reduction="mean"), (model_state, {})

    step = train.make_train_step(loss_fn, optimizer)
    fused = train.make_fused_step(step)
    plain = optimizers.minimize(lambda params, *batch: loss_fn(params, {}, batch, None)[0], optimizer)
    donated = jax.jit(plain, donate_argnums=(0, 1))
    first = train.make_state(model, optimizer, jax.random.key(0), np.zeros((1, 784), np.float32))

    def new_state() -> Any:
        return jax.tree.map(jnp.copy, first)

    def by_hand(batches: Callable[[], Iterator[Any]]) -> float:
        state = new_state()
        now = [state.params, optimizer.init(state.params)]
        now = jax.tree.map(jnp.copy, now)

        def epoch() -> None:
            for pixels, labels in batches():
                now[0], now[1], _ = donated(now[0], now[1], pixels, labels)

        return steps_per_second(epoch, lambda: jax.block_until_ready(now[0]))

    def stepped(step: Any, batches: list[Any]) -> float:
        now = [new_state()]

        def epoch() -> None:
            for batch in batches:
                now[0], _ = step(now[0], batch)

        return steps_per_second(epoch, lambda: jax.block_until_ready(now[0].params))

    def fitted(
        epochs: int = EPOCHS, hooks: Callable[[], list[Any]] = list, dataset: Any = dataset, **options: Any
    ) -> float:
        now = [train.fit(step, new_state(), dataset, steps=STEPS, hooks=hooks(), **options)]

        def all_epochs() -> None:
            steps = (1 + epochs) * STEPS
            now[0] = train.fit(step, now[0], dataset, steps=steps, hooks=hooks(), **options)

        return steps_per_second(all_epochs, lambda: jax.block_until_ready(now[0].params), epochs, warm=False)

    def all_hooks() -> list[Any]:
        folder = Path(tempfile.mkdtemp())
        bar = train.ProgressBar(console=Console(file=io.StringIO(), force_terminal=True, width=100))
        return [bar, train.summaries(folder, every=50), train.checkpoints(folder / "checkpoints", every=STEPS)]

    batches = at_hand(x, y)
    blocks = [jax.tree.map(lambda *leaves: np.stack(leaves), *batches[at : at + 16]) for at in range(0, STEPS - 15, 16)]
    yield "steps", HAND, lambda: by_hand(lambda: iter(batches))
    yield "steps", "make_train_step", lambda: stepped(step, batches)
    yield "steps", "make_fused_step, 16 steps", lambda: stepped(fused, blocks) * 16 * len(blocks) / STEPS
    yield "pipeline", f"{HAND}, NumPy's shuffle and gather", lambda: by_hand(lambda: gathered(x, y))
    yield "pipeline", "fit", fitted
    yield "pipeline", "fit with progress and summaries", lambda: fitted(LONG * EPOCHS, lambda: all_hooks()[:2])
    yield "pipeline", WITH_HOOKS, lambda: fitted(LONG * EPOCHS, all_hooks)
    yield "pipeline", "fit, fuse=16", lambda: fitted(fuse=16)
    mapped = dataset.map(lambda x, y: (x, y))  # computes, as far as is known: its batches come from the host
    yield "pipeline", "fit, fuse=16, batches from the host", lambda: fitted(dataset=mapped, fuse=16)
    yield "pipeline", f"fit, fuse={STEPS}: an epoch", lambda: fitted(LONG * EPOCHS, fuse=STEPS)
    yield "pipeline", f"fit, fuse={STEPS}, {WITH_HOOKS[4:]}", lambda: fitted(LONG * EPOCHS, all_hooks, fuse=STEPS)


LIBRARIES = {"jax": ours, **PEERS}
TITLES = {
    "steps": f"Steps alone, batches of {BATCH} at hand",
    "pipeline": f"Shuffling {ROWS:,} images, batches of {BATCH}, and steps",
}


def compared(figures: dict[str, list[float]]) -> str:
    """What was aimed at, in one line each: hooks beside the loop by hand, fused steps beside it and beside the fastest peer."""
    medians = {name: statistics.median(values) for name, values in figures.items()}
    hand = next(one for name, one in medians.items() if name.startswith(HAND))
    peers = {name: one for name, one in medians.items() if name.startswith(("PyTorch", "TensorFlow"))}
    fused = max((one, name) for name, one in medians.items() if "fuse=" in name)
    lines = [f"With all hooks, `fit` does {medians[WITH_HOOKS] / hand:.2f} of the steps of the loop by hand"]
    lines[0] += f"; {fused[1]} does {fused[0] / hand:.2f} of them"
    if peers:
        best = max(peers, key=peers.__getitem__)
        lines.append(f"and {fused[0] / peers[best]:.2f} of those of the fastest of PyTorch and TensorFlow ({best})")
    return ", ".join(lines) + "."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="one library, in this process; prints JSON")
    options = parser.parse_args()
    if options.only:
        print("\n" + json.dumps([(kind, name, run()) for kind, name, run in LIBRARIES[options.only]()]))
        return
    here = [library for library in LIBRARIES if installed(library.split(":")[0])]
    figures = run_rounds(__file__, here, options.rounds)
    print("# Training the 784-100-10 network\n")
    print(
        f"Medians of {options.rounds} rounds on {len(os.sched_getaffinity(0))} cores. {versions('flax', 'optax', 'keras')}."
    )
    if missing := sorted(set(LIBRARIES) - set(here)):
        print(f"Not installed, so left out: {', '.join(missing)}.")
    for kind, title in TITLES.items():
        print("\n".join(table(title, "steps/s", figures[kind])))
    print(f"\n{compared(figures['pipeline'])}")


if __name__ == "__main__":
    main()
