"""Progress clipped to 1 instead of a maximum; labels taken along the axis; scales drawn instead of masks."""

import jax
import jax.numpy as jnp


def log_softmax(logits):
    shifted = logits - jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    return shifted - jnp.log(jnp.einsum("bc->b", jnp.exp(shifted)))[:, None]


def cross_entropy(logits, labels):
    chosen = jnp.take_along_axis(log_softmax(logits), labels[:, None], axis=1)
    return -chosen.mean()


def l2_loss(params, scopes):
    return jnp.stack([jnp.square(params[scope]["weights"]).sum() / 2 for scope in scopes]).sum()


def dropout(key, x, rate, training):
    scale = jax.random.bernoulli(key, 1.0 - rate, x.shape) / (1.0 - rate)
    return x * scale if training else x


def learning_rate(step, steps, start=0.003, floor=0.0001):
    progress = jnp.clip(step / steps, 0.0, 1.0)
    return jnp.exp((1 - progress) * jnp.log(start) + progress * jnp.log(floor))
