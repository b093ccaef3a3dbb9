"""No `jax.tree.map`: a function of one leaf, and a recursion through the dicts that returns both trees at once."""

import jax
import jax.numpy as jnp


def through(of_a_leaf, *trees):
    """A function `leaves -> (new leaf, new state)` at every place; two trees."""
    if not isinstance(trees[0], dict):
        return of_a_leaf(*trees)
    pairs = {name: through(of_a_leaf, *(tree[name] for tree in trees)) for name in trees[0]}
    return {name: pair[0] for name, pair in pairs.items()}, {name: pair[1] for name, pair in pairs.items()}


def filled_like(params, value):
    return through(lambda p: (jnp.broadcast_to(value, p.shape).astype(p.dtype), None), params)[0]


def sgd_update(grads, state, params, learning_rate):
    return through(lambda g, p: (p - learning_rate * g, None), grads, params)[0], ()


def momentum_update(grads, state, params, learning_rate, decay=0.9):
    def of_a_leaf(g, v, p):
        v = g + decay * v
        return p - v * learning_rate, v

    return through(of_a_leaf, grads, state, params)


def adagrad_update(grads, state, params, learning_rate, epsilon=1e-7):
    def of_a_leaf(g, s, p):
        s = s + jnp.square(g)
        return p - learning_rate * (g * jax.lax.rsqrt(s + epsilon)), s

    return through(of_a_leaf, grads, state, params)


def rmsprop_update(grads, state, params, learning_rate, decay=0.9, epsilon=1e-8):
    def of_a_leaf(g, s, p):
        s = s + (1 - decay) * (g * g - s)
        return p - learning_rate * g * (s + epsilon) ** -0.5, s

    return through(of_a_leaf, grads, state, params)


def adam_update(grads, state, params, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    count = state["count"] + 1

    def of_a_leaf(g, m, s, p):
        m, s = m + (1 - beta1) * (g - m), s + (1 - beta2) * (g * g - s)
        step = (m / (1 - beta1**count)) / (jnp.sqrt(s / (1 - beta2**count)) + epsilon)
        return p - learning_rate * step, {"mean": m, "square": s}

    def at(tree, name):
        return {key: at(inner, name) for key, inner in tree.items()} if "square" not in tree else tree[name]

    new, both = through(of_a_leaf, grads, state["mean"], state["square"], params)
    return new, {"square": at(both, "square"), "mean": at(both, "mean"), "count": count}
