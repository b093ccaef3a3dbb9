"""The solutions of `s04_training/loop` against optax, scikit-learn and a folder on disk that is left at every moment."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.metrics import accuracy_score
from solved import solved

NAME = "s04_training/loop"
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(40, 6)).astype(np.float32), RANDOM.integers(0, 3, 40).astype(np.int32)


solution = functools.partial(solved, NAME)


def new_params() -> Any:
    def layer(inputs: int, outputs: int) -> Any:
        weights = RANDOM.normal(size=(inputs, outputs)).astype(np.float32)
        return {"weights": jnp.asarray(weights), "biases": jnp.zeros(outputs)}

    return {"hidden": layer(6, 5), "output": layer(5, 3)}


def loss_fn(params: Any, batch: Any) -> jax.Array:
    logits = solution()["forward"](params, batch[0])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()


@jax.jit
def make_batch(key: jax.Array, step: int) -> Any:
    rows = solution()["batch_rows"](key, step, len(X), 9)  # four steps are an epoch
    return jnp.asarray(X)[rows], jnp.asarray(Y)[rows]


@pytest.mark.parametrize("optimizer", [optax.sgd(0.1, momentum=0.9), optax.adamw(0.01)], ids=["momentum", "adamw"])
def test_a_run_that_was_stopped_is_the_whole_run_and_that_of_optax_by_hand(optimizer: Any) -> None:
    step, train_until = jax.jit(solution()["minimize"](loss_fn, optimizer)), solution()["train_until"]
    params = new_params()
    start = {"step": 0, "params": params, "opt_state": optimizer.init(params), "key": jax.random.key(5)}
    whole, losses = train_until(step, make_batch, start, 6)
    first, some = train_until(step, make_batch, start, 3)
    rest, others = train_until(step, make_batch, first, 6)
    jax.tree.map(
        np.testing.assert_array_equal, (rest["params"], rest["opt_state"]), (whole["params"], whole["opt_state"])
    )
    np.testing.assert_array_equal(np.concatenate([some, others]), losses)
    opt_state, gradients, update = optimizer.init(params), jax.jit(jax.grad(loss_fn)), jax.jit(optimizer.update)
    for number in range(6):
        updates, opt_state = update(gradients(params, make_batch(start["key"], number)), opt_state, params)
        params = optax.apply_updates(params, updates)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), whole["params"], params)


def test_the_accuracy_is_that_of_scikit_learn() -> None:
    params = new_params()
    predicted = np.argmax(np.asarray(solution()["forward"](params, X)), axis=1)
    batches = [(X[part], Y[part]) for part in np.split(np.arange(40), [16, 32])]
    assert float(solution()["evaluate"](params, batches)) == pytest.approx(accuracy_score(Y, predicted), rel=1e-6)


def test_wherever_a_save_stops_the_newest_can_be_read(tmp_path: Path) -> None:
    newest, save_plan = solution()["newest"], solution()["save_plan"]
    done = 0
    for number in range(1, 61):
        step = 3 * number
        names = [path.name for path in tmp_path.iterdir()]
        plan = save_plan(names, step, 3)[: number % 5 or None]  # four of five saves are left somewhere
        for verb, name, *to in plan:
            if verb == "write":
                (tmp_path / name).write_text(str(step))
            elif verb == "rename":
                (tmp_path / name).replace(tmp_path / to[0])
                done = step
            else:
                (tmp_path / name).unlink()
            found = newest([path.name for path in tmp_path.iterdir()])
            assert (found and (tmp_path / found).read_text()) == (str(done) if done else None)
    assert {path.name for path in tmp_path.iterdir()} == {"step_174", "step_177", "step_180"}
