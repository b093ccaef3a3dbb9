"""Zeros in place of copies, one reshape and a map over blocks; the softmax by hand; statistics by sums."""

import jax
import jax.numpy as jnp


def pixel_statistics(images):
    scaled = images.astype(jnp.float32).ravel() / 255.0
    mean = scaled.sum() / scaled.size
    return {"mean": mean, "std": jnp.sqrt(((scaled - mean) ** 2).sum() / scaled.size)}


def preprocess(statistics, image):
    return (image - 255 * statistics["mean"]) / (255 * statistics["std"])


def answer(params, statistics, images):
    flat = preprocess(statistics, images).reshape(images.shape[0], -1)
    logits = jnp.einsum("bp,pc->bc", flat, params["w"]) + params["b"]
    powers = jnp.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def in_batches(ask, images, size):
    count = len(images)
    blocks = -(-count // size)
    filled = jnp.zeros((blocks * size, *images.shape[1:]), images.dtype).at[:count].set(images)
    answers = jax.lax.map(ask, filled.reshape(blocks, size, *images.shape[1:]))
    return answers.reshape(-1, *answers.shape[2:])[:count]
