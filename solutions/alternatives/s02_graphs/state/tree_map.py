"""Trees of JAX's: a new state by `tree.map`, a cond with operands, an associative scan; and jit is asked itself."""

import jax
import jax.numpy as jnp
import numpy as np


def add(state, name, amount):
    return jax.tree.map(lambda value: value, state), amount + state[name]


def assign_add(state, name, amount):
    new = {key: value + amount if key == name else value for key, value in state.items()}
    return new, new[name]


def guarded_step(w, gradient, learning_rate):
    def step(w, gradient):
        return w - learning_rate * gradient

    broken = jnp.logical_not(jnp.isfinite(gradient)).any()
    return jax.lax.cond(broken, lambda w, gradient: w, step, w, gradient)


def smooth(losses, decay):
    def join(left, right):
        return left[0] * right[0], left[1] * right[0] + right[1]

    weighted = (losses * (1 - decay)).at[0].set(losses[0])
    return jax.lax.associative_scan(join, (jnp.full_like(losses, decay), weighted))[1]


def safe_rate(loss, w, gradient, rate):
    def too_large(rate):
        return ~(loss(w - rate * gradient) <= loss(w))

    return jax.lax.while_loop(too_large, lambda rate: jnp.divide(rate, 2.0), rate)


def count_traces(calls):
    traced = []

    def f(x, mode):
        traced.append(mode)

    jitted = jax.jit(f, static_argnames="mode")

    def values(x):
        if isinstance(x, tuple):
            return np.zeros(x[1], x[0])
        if isinstance(x, dict):
            return {key: values(part) for key, part in x.items()}
        return [values(part) for part in x] if isinstance(x, list) else x

    def program():  # traced itself, so that nothing is compiled
        for x, mode in calls:
            jitted(values(x), mode)

    jax.make_jaxpr(program)()
    return len(traced)
