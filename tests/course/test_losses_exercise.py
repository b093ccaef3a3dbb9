"""The solutions of `s04_training/losses` agree with optax, also where numbers are huge."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from solved import solved

NAME = "s04_training/losses"


solution = functools.partial(solved, NAME)


@pytest.mark.parametrize("scale", [0, 1, 100, 1e4, 1e30])
def test_cross_entropy_and_its_gradient_are_those_of_optax(scale: float) -> None:
    logits = scale * jax.random.normal(jax.random.key(0), (7, 5))
    labels = jax.random.randint(jax.random.key(1), (7,), 0, 5)

    def theirs(logits: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    ours, gradient = jax.value_and_grad(solution()["cross_entropy"])(logits, labels)
    expected, expected_gradient = jax.value_and_grad(theirs)(logits)
    assert np.isfinite(ours)
    np.testing.assert_allclose(ours, expected, rtol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=1e-6)


def test_a_loss_without_knowledge_is_the_log_of_the_number_of_classes() -> None:
    loss = solution()["cross_entropy"](jnp.zeros((3, 10)), jnp.int32([0, 5, 9]))
    assert float(loss) == pytest.approx(np.log(10), rel=1e-6)


def test_the_rate_is_optax_exponential_decay() -> None:
    theirs = optax.exponential_decay(0.003, 700, 0.0001 / 0.003, end_value=0.0001)
    for step in (0, 1, 350, 699, 700, 5000):
        ours = solution()["learning_rate"](jnp.int32(step), 700)
        np.testing.assert_allclose(ours, theirs(step), rtol=3e-6)


def test_dropout_keeps_the_mean() -> None:
    dropped = solution()["dropout"](jax.random.key(0), jnp.ones((1000, 1000)), jnp.float32(0.3), True)
    assert abs(float(dropped.mean()) - 1) < 0.01  # the standard deviation is 0.00065
    assert float((dropped == 0).mean()) == pytest.approx(0.3, abs=0.005)
