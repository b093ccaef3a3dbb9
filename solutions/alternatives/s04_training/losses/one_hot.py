"""One-hot labels and masks that are multiplied; a row's largest logit put back after the logarithm."""

import jax
import jax.numpy as jnp


def log_softmax(logits):
    top = logits.max(axis=1, keepdims=True)
    return logits - (top + jnp.log(jnp.exp(logits - top).sum(axis=1, keepdims=True)))


def cross_entropy(logits, labels):
    one_hot = (labels[:, None] == jnp.arange(logits.shape[1])).astype(logits.dtype)
    return jnp.sum(-log_softmax(logits) * one_hot) / logits.shape[0]


def l2_loss(params, scopes):
    total = 0.0
    for scope in scopes:
        weights = params[scope]["weights"].ravel()
        total += 0.5 * (weights @ weights)
    return total


def dropout(key, x, rate, training):
    if training:
        kept = (jax.random.uniform(key, x.shape) >= rate).astype(x.dtype)
        return x * kept / (1 - rate)
    return x


def learning_rate(step, steps, start=0.003, floor=0.0001):
    rate = start * jnp.exp(step / steps * jnp.log(floor / start))
    return jnp.where(rate < floor, floor, rate)
