"""The solutions of `s05_toolbox/optimizers` are optax's optimizers: step by step, on trees of mixed shapes and dtypes."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aidl_jax.exercise.course import open_course
from aidl_jax.grade.extract import Cell, extract

STEPS = 100
RATE = 0.03125  # a power of 2: bfloat16 holds it exactly
OPTAX = {
    "sgd": optax.sgd(RATE),
    "momentum": optax.sgd(RATE, momentum=0.9),
    "adagrad": optax.adagrad(RATE),
    "rmsprop": optax.rmsprop(RATE),
    "adam": optax.adam(RATE),
}


@functools.cache
def solution() -> dict[str, Any]:
    """What the solution's file defines of the optimizers, without its plots."""
    text = open_course().solution("s05_toolbox/optimizers").read_text(encoding="utf-8")
    wanted = [f"{name}_{part}" for name in OPTAX for part in ("init", "update")] + ["train_step"]
    found: dict[str, Any] = {}
    exec(extract([Cell("solution.py", text)], wanted).text(), found)
    return found


def tree(key: jax.Array, dtype: Any) -> Any:
    shapes = {"conv": {"weights": (3, 3, 2, 4), "biases": (4,)}, "dense": [(5, 1), (1, 5)], "scale": (), "none": (0, 3)}
    leaves, structure = jax.tree.flatten(shapes, is_leaf=lambda shape: isinstance(shape, tuple))
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        structure, [jax.random.normal(k, shape, dtype) for k, shape in zip(keys, leaves, strict=True)]
    )


def mixed(key: jax.Array) -> Any:
    return {"wide": tree(key, jnp.float32), "narrow": tree(key, jnp.bfloat16)}


def kinds(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


@pytest.mark.parametrize("name", OPTAX)
def test_a_hundred_steps_are_those_of_optax(name: str) -> None:
    init, update = solution()[f"{name}_init"], jax.jit(solution()[f"{name}_update"])
    params = theirs = tree(jax.random.key(0), jnp.float32)
    state, opt_state = init(params), OPTAX[name].init(params)
    their_update = jax.jit(OPTAX[name].update)
    for step in range(STEPS):
        grads = tree(jax.random.fold_in(jax.random.key(1), step), jnp.float32)
        params, state = update(grads, state, params, RATE)
        updates, opt_state = their_update(grads, opt_state, theirs)
        theirs = optax.apply_updates(theirs, updates)
        for ours, other in zip(jax.tree.leaves(params), jax.tree.leaves(theirs), strict=True):
            # a step is at most 25 * RATE long (momentum), and off by at most 3 eps of it
            np.testing.assert_allclose(ours, other, rtol=0, atol=2.5e-7 * (step + 1))
    assert max(float(jnp.max(jnp.abs(a), initial=0)) for a in jax.tree.leaves(params)) > 0.5


@pytest.mark.parametrize("name", OPTAX)
def test_each_step_is_that_of_optax_and_keeps_all_dtypes(name: str) -> None:
    """Both start every step from the same place, since in bfloat16 two roundings part for good."""
    init, update = solution()[f"{name}_init"], jax.jit(solution()[f"{name}_update"])
    params = mixed(jax.random.key(0))
    state, opt_state = init(params), OPTAX[name].init(params)
    their_update = jax.jit(OPTAX[name].update)
    for step in range(STEPS):
        grads = mixed(jax.random.fold_in(jax.random.key(1), step))
        new, new_state = update(grads, state, params, RATE)
        assert kinds(new) == kinds(params)
        assert kinds(new_state) == kinds(state)
        updates, opt_state = their_update(grads, opt_state, params)
        expected = optax.apply_updates(params, updates)
        for ours, other, moved in zip(*map(jax.tree.leaves, (new, expected, updates)), strict=True):
            eps = float(jnp.finfo(ours.dtype).eps)
            size = np.abs(np.asarray(other, np.float64)) + 8 * np.abs(np.asarray(moved, np.float64))
            difference = np.abs(np.asarray(ours, np.float64) - np.asarray(other, np.float64))
            assert np.all(difference <= 2 * eps * size), (step, ours.dtype, np.max(difference / size) / eps)
        params, state = expected, new_state


@pytest.mark.parametrize("name", OPTAX)
def test_a_regression_trained_with_it_comes_near_the_best(name: str) -> None:
    found = solution()
    x = jax.random.normal(jax.random.key(2), (64, 3))
    targets = x @ jnp.float32([1, -2, 3]) + 0.5
    params = {"w": jnp.zeros(3), "b": jnp.float32(0)}
    state = found[f"{name}_init"](params)
    step = jax.jit(found["train_step"], static_argnums=0)
    losses = []
    for _ in range(300):
        params, state, loss = step(
            found[f"{name}_update"], params, state, x, targets, 1.0 if name == "adagrad" else RATE
        )
        losses.append(float(loss))
    assert losses[0] > 10
    assert losses[-1] < 0.01
