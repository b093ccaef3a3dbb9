"""A table of functions of dual numbers; two lists instead of pairs; each way's cost run by run; logarithms for the root."""

import jax.numpy as jnp


def dual(operation, duals):
    values, tangents = [value for value, _ in duals], [tangent for _, tangent in duals]
    table = {
        "add": lambda a, b: (a + b, [1.0, 1.0]),
        "subtract": lambda a, b: (a - b, [1.0, -1.0]),
        "multiply": lambda a, b: (a * b, [b, a]),
        "divide": lambda a, b: (a / b, [1 / b, -a / b**2]),
        "sin": lambda a: (jnp.sin(a), [jnp.cos(a)]),
        "exp": lambda a: (jnp.exp(a), [jnp.exp(a)]),
    }
    value, local = table[operation](*values)
    return value, sum(derivative * tangent for derivative, tangent in zip(local, tangents))


def directional_derivative(tape, point, direction):
    values, tangents = list(point), list(direction)
    for operation, sources in tape:
        value, tangent = dual(operation, [(values[source], tangents[source]) for source in sources])
        values.append(value)
        tangents.append(tangent)
    return tangents[-1]


def jacobian_costs(widths):
    forward = reverse = 0
    for layer in range(1, len(widths)):
        forward += sum(widths[layer - 1] * widths[layer] for _ in range(widths[0]))
        reverse += sum(widths[layer - 1] * widths[layer] for _ in range(widths[-1]))
    return [forward, reverse]


def central_difference(f, point, direction, step):
    return 0.5 * f(point + step * direction) / step - 0.5 * f(point - step * direction) / step


def best_step(value, third, eps):
    return (3 * eps * jnp.abs(value) / jnp.abs(third)) ** (1 / 3)


def held_bytes(tape, sizes):
    first = len(sizes) - len(tape)
    looked_at = [False] * len(sizes)
    for output, (operation, sources) in enumerate(tape, start=first):
        looks = {"multiply": sources, "matmul": sources, "sin": sources, "divide": [sources[-1], output]}
        for value in looks.get(operation, [output] if operation in ("exp", "tanh") else []):
            looked_at[value] = True
    return sum(4 * size * looked for size, looked in zip(sizes[first:], looked_at[first:]))
