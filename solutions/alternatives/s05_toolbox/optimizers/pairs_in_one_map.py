"""One `tree.map` that makes pairs, and a transpose that takes them apart; the gradients of `train_step` by hand."""

import jax
import jax.numpy as jnp


def apart(params, pairs):
    return jax.tree.transpose(jax.tree.structure(params), jax.tree.structure((0, 0)), pairs)


def momentum_update(grads, state, params, learning_rate, decay=0.9):
    def step(p, v, g):
        v = v * decay + g
        return p - learning_rate * v, v

    return apart(params, jax.tree.map(step, params, state, grads))


def rmsprop_update(grads, state, params, learning_rate, decay=0.9, epsilon=1e-8):
    def step(p, s, g):
        s = jnp.square(g) * (1 - decay) + s * decay
        return p - learning_rate / jnp.sqrt(s + epsilon) * g, s

    return apart(params, jax.tree.map(step, params, state, grads))


def adam_update(grads, state, params, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    count = state["count"] + 1
    weights = [1 - jnp.power(beta, count.astype(jnp.float32)) for beta in (beta1, beta2)]
    mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state["mean"], grads)
    square = jax.tree.map(lambda s, g: beta2 * s + (1 - beta2) * g * g, state["square"], grads)
    mean_now = jax.tree.map(lambda m: m / weights[0], mean)
    square_now = jax.tree.map(lambda s: s / weights[1], square)
    steps = jax.tree.map(lambda m, s: learning_rate * m / (s**0.5 + epsilon), mean_now, square_now)
    return jax.tree.map(jnp.subtract, params, steps), {"count": count, "mean": mean, "square": square}


def train_step(update, params, state, x, targets, learning_rate):
    difference = x @ params["w"] + params["b"] - targets
    grads = {"w": 2 * x.T @ difference / len(x), "b": 2 * jnp.mean(difference)}
    new, state = update(grads, state, params, learning_rate)
    return new, state, jnp.mean(difference**2)
