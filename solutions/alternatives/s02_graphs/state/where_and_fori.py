"""Numbers are chosen with `where`, loops are counted, and a call's signature is its text."""

import re

import jax
import jax.numpy as jnp


def add(state, name, amount):
    return dict(state), jnp.add(state[name], amount)


def assign_add(state, name, amount):
    new = dict(state)
    new[name] += amount
    return new, new[name]


def guarded_step(w, gradient, learning_rate):
    return jnp.where(jnp.isfinite(gradient).all(), w - learning_rate * gradient, w)


def smooth(losses, decay):
    def write(index, averages):
        return averages.at[index].set(averages[index - 1] * decay + losses[index] * (1 - decay))

    return jax.lax.fori_loop(1, losses.shape[0], write, losses)


def safe_rate(loss, w, gradient, rate):
    before = loss(w)

    def halve(carry):
        rate, _ = carry
        return rate * 0.5, loss(w - rate * 0.5 * gradient)

    return jax.lax.while_loop(lambda carry: carry[1] > before, halve, (rate, loss(w - rate * gradient)))[0]


def count_traces(calls):
    def text(x):
        if isinstance(x, dict):
            return "{" + "".join(f"{key!r}: {text(x[key])}, " for key in sorted(x)) + "}"
        if isinstance(x, list):
            return "[" + "".join(text(part) + ", " for part in x) + "]"
        if isinstance(x, tuple):
            return re.sub("64", "32", repr(x))
        return x.__class__.__name__

    seen = []
    for x, mode in calls:
        if (text(x), mode) not in seen:
            seen.append((text(x), mode))
    return len(seen)
