"""What a race costs beside a Python loop over the same optimizers, each with a compiled train step of its own.

Run: .venv/bin/python benchmarks/race.py [--rounds 5] > benchmarks/results/race.md
Both start from functions that were never compiled, in a fresh order each round; "again" is the loop's second call, with its train
steps compiled. A race compiles anew at each call; how much of its time that is, JAX tells. The losses of both are compared.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits

from aidl_jax.optimizers import adam, minimize, momentum, rmsprop, sgd
from aidl_jax.racing import race

MAKERS: dict[str, Callable[[Any], Any]] = {"SGD": sgd, "Momentum": momentum, "RMSProp": rmsprop, "Adam": adam}
RATES = [0.1, 0.03, 0.01, 0.003]


def rosenbrock(p: Any) -> Any:
    """A valley that bends."""
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def digits_loss(params: Any, x: Any, labels: Any) -> Any:
    """A network with one hidden layer."""
    hidden = jax.nn.relu(x @ params["w1"] + params["b1"])
    return optax.softmax_cross_entropy_with_integer_labels(hidden @ params["w2"] + params["b2"], labels).mean()


def digits(hidden: int, steps: int) -> tuple[Any, list[Any]]:
    """First parameters, and shuffled batches of 64."""
    images, labels = load_digits(return_X_y=True)
    images, rng = np.float32(images / 16), np.random.default_rng(0)
    chosen = [rng.choice(len(images), 64, replace=False) for _ in range(steps)]
    params = {
        "w1": jnp.float32(rng.normal(size=(64, hidden)) / 8),
        "b1": jnp.zeros(hidden),
        "w2": jnp.float32(rng.normal(size=(hidden, 10)) / np.sqrt(hidden)),
        "b2": jnp.zeros(10),
    }
    return params, [(images[rows], np.int32(labels[rows])) for rows in chosen]


def make_loop(loss_fn: Any, params: Any, batches: list[Any], scale: float) -> Callable[[], np.ndarray]:
    """The loop; its train steps are compiled at its first call."""
    optimizers = [make(rate * scale) for make in MAKERS.values() for rate in RATES]
    train_steps = [minimize(lambda *given: loss_fn(*given), optimizer) for optimizer in optimizers]

    def loop() -> np.ndarray:
        curves = []
        for optimizer, train_step in zip(optimizers, train_steps, strict=True):
            now, opt_state, losses = params, optimizer.init(params), []
            for batch in batches:
                now, opt_state, loss = train_step(now, opt_state, *batch)
                losses.append(loss)
            curves.append(np.asarray(jnp.stack(losses)))
        return np.stack(curves)

    return loop


def make_race(loss_fn: Any, params: Any, batches: list[Any], scale: float) -> Callable[[], np.ndarray]:
    """The race."""
    entries = {name: (make, [rate * scale for rate in RATES]) for name, make in MAKERS.items()}
    return lambda: race(entries, lambda *given: loss_fn(*given), params, batches).losses


def seconds(call: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    """How long a call takes."""
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found


def main() -> None:
    """Prints the table as Markdown."""
    compiling: list[float] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, duration, **_: compiling.append(duration) if "backend_compile" in event else None
    )
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    cases = {
        "Rosenbrock, 1000 steps": (rosenbrock, jnp.float32([-1.2, 1]), [()] * 1000, 0.01),
        "digits, 32 hidden, 300 steps": (digits_loss, *digits(32, 300), 1.0),
        "digits, 512 hidden, 300 steps": (digits_loss, *digits(512, 300), 1.0),
    }
    about = f"python {platform.python_version()}, " + ", ".join(
        f"{name} {version(name)}" for name in ("jax", "jaxlib", "optax", "numpy")
    )
    print(f"# A race against a Python loop\n\n{about}; {platform.machine()}, {os.cpu_count()} cores; ", end="")
    print(f"{len(MAKERS)} optimizers at {len(RATES)} rates; medians of {rounds} rounds, seconds, with compilation.\n")
    print(
        "| case | race | of which compiling | loop | loop again | loop / race | loop again / (race - compiling) | apart |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, case in cases.items():
        times: dict[str, list[float]] = {"race": [], "compiling": [], "loop": [], "again": []}
        apart = 0.0
        for number in range(rounds + 1):
            jax.clear_caches()
            calls = {"race": make_race(*case), "loop": make_loop(*case)}
            losses = {}
            for which in sorted(calls, reverse=bool(number % 2)):
                compiling.clear()
                taken, losses[which] = seconds(calls[which])
                times[which].append(taken)
                if which == "race":
                    times["compiling"].append(sum(compiling))
            times["again"].append(seconds(calls["loop"])[0])
            apart = max(apart, difference(losses["race"], losses["loop"]))
        medians = {which: statistics.median(found[1:]) for which, found in times.items()}
        ratio = medians["loop"] / medians["race"]
        running = medians["again"] / (medians["race"] - medians["compiling"])
        cells = [f"{one:.2f}" for one in medians.values()] + [f"{ratio:.1f}", f"{running:.1f}", f"{apart:.0e}"]
        print(f"| {name} | {' | '.join(cells)} |")
        sys.stdout.flush()
    print(
        "\nThe first round warms up and is not counted. Apart: the largest difference between the losses of both, relative to 1 + loss,"
    )
    print(
        "over the first 20 steps of runs that stay below 3 times their first loss; runs that oscillate amplify rounding."
    )


def difference(race_losses: np.ndarray, loop_losses: np.ndarray) -> float:
    """How far the two are apart where runs are calm."""
    calm = loop_losses.max(axis=1) < 3 * loop_losses[:, 0]
    one, other = race_losses[calm, :20], loop_losses[calm, :20]
    return float((np.abs(one - other) / (1 + np.abs(other))).max())


if __name__ == "__main__":
    main()
