"""Ratios instead of differences, a fori_loop that writes losses into an array, one-hot rows, loops over stages."""

import math

import jax
import jax.numpy as jnp


def verdict_at_start(loss, classes):
    if math.isnan(loss) or math.isinf(loss):
        return "not finite"
    ratio = loss / -math.log(1 / classes)
    if ratio > 1.2:
        return "too high"
    if ratio < 0.8:
        return "too low"
    return "fine"


def overfit_one_batch(loss_fn, params, batch, learning_rate, steps):
    def step(number, carried):
        params, losses = carried
        losses = losses.at[number].set(loss_fn(params, batch))
        grads = jax.grad(loss_fn)(params, batch)
        return jax.tree.map(lambda p, g: p - learning_rate * g, params, grads), losses

    return jax.lax.fori_loop(0, steps, step, (params, jnp.zeros(steps)))


def baseline(labels, classes):
    one_hot = (labels[:, None] == jnp.arange(classes)).astype(jnp.float32)
    shares = one_hot.mean(axis=0)
    terms = [jnp.where(share > 0, -share * jnp.log(share + (share == 0)), 0.0) for share in shares]
    return sum(terms), shares.max()


def iteration_time(stages, prefetch):
    feeding = 0.0
    for name, seconds in stages.items():
        feeding += 0.0 if name == "model" else seconds
    if not prefetch:
        return stages["model"] + feeding
    return feeding if feeding > stages["model"] else stages["model"]


def bottleneck(stages, prefetch):
    def counts(name):
        side = [s for other, s in stages.items() if not prefetch or (other == "model") == (name == "model")]
        return sum(side) > iteration_time(stages, prefetch) - 1e-9

    return sorted(stages, key=lambda name: (counts(name), stages[name]))[-1]


def rate_after(stages, prefetch, stage, factor):
    changed = dict(stages)
    changed[stage] = changed[stage] * factor
    return iteration_time(changed, prefetch) ** -1


def what_to_do(floor, train, validation, ideas):
    gaps = {"avoidable bias": train - floor, "variance": validation - train}
    larger = max(gaps, key=gaps.get)
    against_variance = ["augmentation", "earlier stopping", "more data", "more dropout"]
    kept = []
    for idea in ideas:
        if (idea in against_variance) == (larger == "variance"):
            kept.append(idea)
    return larger, kept
