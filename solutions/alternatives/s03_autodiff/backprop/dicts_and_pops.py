"""A dict of gradients that have arrived, the tape as a stack; derivatives from the outputs; sums over indices as einsum."""

import jax
import jax.numpy as jnp


def local_derivatives(operation, inputs):
    a = inputs[0]
    if operation == "add":
        return [jnp.ones_like(a), jnp.ones_like(inputs[1])]
    if operation == "multiply":
        return inputs[::-1]
    if operation == "divide":
        b = inputs[1]
        return [1 / b, -(a / b) / b]
    if operation == "sin":
        return [jnp.sin(a + jnp.pi / 2)]
    if operation == "exp":
        return [jnp.exp(a)]
    if operation == "log":
        return [a**-1]
    if operation == "tanh":
        return [4 / (jnp.exp(a) + jnp.exp(-a)) ** 2]
    return [(a > 0).astype(a.dtype)]


def backward(tape, inputs):
    values, left = run_tape(tape, inputs), list(tape)
    arrived = {len(values) - 1: [jnp.float32(1)]}
    while left:
        operation, sources = left.pop()
        upstream = sum(arrived.get(len(inputs) + len(left), []), jnp.float32(0))
        local = local_derivatives(operation, [values[source] for source in sources])
        for place, source in enumerate(sources):
            arrived.setdefault(source, []).append(local[place] * upstream)
    return [sum(arrived.get(place, []), jnp.float32(0)) for place in range(len(inputs))]


def product_gradients(x, w, upstream):
    return {
        "w": jnp.einsum("bi,bo->io", x, upstream),
        "x": jnp.einsum("bo,io->bi", upstream, w),
    }


def network(params, x):
    for name in ("W1", "W2"):
        x = jax.nn.sigmoid(x @ params[name])
    return x @ params["W3"]


def network_gradients(params, x, upstream):
    layers = [x]
    for name in ("W1", "W2"):
        layers.append(jax.nn.sigmoid(layers[-1] @ params[name]))
    grads = {}
    for name, into in (("W3", layers[2]), ("W2", layers[1]), ("W1", layers[0])):
        both = product_gradients(into, params[name], upstream)
        grads[name] = both["w"]
        upstream = both["x"] * into * (1 - into)
    return grads
