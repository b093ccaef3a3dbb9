"""Each function for one example, one unit or one scope, mapped over all of them."""

import functools

import jax
import jax.numpy as jnp


@jax.vmap
def log_softmax(logits):
    log_sum = functools.reduce(jnp.logaddexp, list(logits))
    return logits - log_sum


def cross_entropy(logits, labels):
    losses = jax.vmap(lambda row, label: -row[label])(log_softmax(logits), labels)
    return losses.mean()


def l2_loss(params, scopes):
    chosen = [params[scope]["weights"] for scope in scopes]
    return jax.tree.reduce(lambda total, w: total + jnp.vdot(w, w) / 2, chosen, 0.0)


def dropout(key, x, rate, training):
    def of_one(key, row):
        return jax.lax.select(jax.random.bernoulli(key, rate, row.shape), jnp.zeros_like(row), row / (1 - rate))

    return jax.vmap(of_one)(jax.random.split(key, len(x)), x) if training else x


def learning_rate(step, steps, start=0.003, floor=0.0001):
    factor = (floor / start) ** (1 / steps)
    return start * factor ** jnp.minimum(step, steps).astype(jnp.float32)
