"""Recursion: what comes back to a value is the sum over its uses. One example after the other, as outer products."""

import jax
import jax.numpy as jnp


def local_derivatives(operation, inputs):
    match operation, inputs:
        case "add", [_, _]:
            return [1.0, 1.0]
        case "multiply", [a, b]:
            return [b, a]
        case "divide", [a, b]:
            return [1.0 / b, -a * b**-2.0]
        case "sin", [a]:
            return [jnp.cos(a)]
        case "exp", [a]:
            return [jnp.e**a]
        case "log", [a]:
            return [1.0 / a]
        case "tanh", [a]:
            return [(1 - jnp.tanh(a)) * (1 + jnp.tanh(a))]
        case "relu", [a]:
            return [jnp.heaviside(a, 0.0)]


def backward(tape, inputs):
    values = run_tape(tape, inputs)

    def gradient(number):
        if number == len(values) - 1:
            return jnp.ones(())
        total = jnp.zeros(())
        for step, (operation, sources) in enumerate(tape):
            local = local_derivatives(operation, [values[source] for source in sources])
            for source, derivative in zip(sources, local):
                if source == number:
                    total = total + derivative * gradient(len(inputs) + step)
        return total

    return [gradient(number) for number in range(len(inputs))]


def product_gradients(x, w, upstream):
    return {"x": (w @ upstream.T).T, "w": jax.vmap(jnp.outer)(x, upstream).sum(axis=0)}


def network(params, x):
    def example(row):
        h1 = sigmoid(row @ params["W1"])
        h2 = sigmoid(h1 @ params["W2"])
        return h2 @ params["W3"]

    return jax.vmap(example)(x)


def network_gradients(params, x, upstream):
    def example(row, up):
        h1 = sigmoid(row @ params["W1"])
        h2 = sigmoid(h1 @ params["W2"])
        second = h2 * (1 - h2) * (params["W3"] @ up)
        first = h1 * (1 - h1) * (params["W2"] @ second)
        return {"W1": jnp.outer(row, first), "W2": jnp.outer(h1, second), "W3": jnp.outer(h2, up)}

    return jax.tree.map(lambda grads: grads.sum(axis=0), jax.vmap(example)(x, upstream))
