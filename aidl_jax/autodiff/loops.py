"""Loops and branches: the derivative of a loop is a loop over the derivative of its body.

`forward(body, inputs, tangents)` and `backward(body, inputs, gradients)` are the two modes on a body's graph; tangents and
gradients are None where something is no float, and there everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from aidl_jax import _compat
from aidl_jax.errors import AutodiffError
from aidl_jax.graph import Operation

__all__ = ["LOOPS", "check_way_back", "loop_pull", "loop_push", "zeros"]

LOOPS = ("scan", "while", "cond")


def zeros(tensor: Any) -> Any:
    """A tangent or a gradient that is 0; None where there is none, for integers."""
    return jnp.zeros(tensor.shape, tensor.dtype) if jnp.issubdtype(tensor.dtype, np.floating) else None


def loop_push(operation: Operation, inputs: Sequence[Any], tangents: Sequence[Any], forward: Callable[..., Any]) -> Any:
    """The outputs' tangents."""
    tangents = [zeros(one) if tangent is None else tangent for one, tangent in zip(inputs, tangents, strict=True)]
    ways = {"scan": _scan_push, "while": _while_push, "cond": _cond_push}
    return ways[operation.type](operation, list(inputs), tangents, forward)


def loop_pull(
    operation: Operation, inputs: Sequence[Any], gradients: Sequence[Any], backward: Callable[..., Any]
) -> Any:
    """A gradient for each input, None for those that are no floats."""
    ways = {"scan": _scan_pull, "cond": _cond_pull}
    return ways[operation.type](operation, list(inputs), list(gradients), backward)


def check_way_back(operation: Operation) -> None:
    """Raises `AutodiffError` where there is none: for a while loop."""
    if operation.type == "while":
        raise AutodiffError(
            "a while loop cannot be gone through backwards: how often it runs is known only when it has run, so nobody "
            "knows how much memory to set aside for what the way back needs",
            given=f"the operation {operation.name!r}",
            where=str(operation.source) if operation.source else None,
            fix="use jax.lax.scan, or a fori_loop with numbers as bounds, or forward mode (aidl_jax.autodiff.jvp)",
        )


def _scan_parts(operation: Operation, flat: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """What belongs to all steps, what a step hands to the next, and what each step has for itself."""
    consts = operation.attributes["num_consts"]
    carry = consts + operation.attributes["num_carry"]
    return list(flat[:consts]), list(flat[consts:carry]), list(flat[carry:])


def _scan(operation: Operation, step: Callable[..., Any], state: Any, rows: Any, turned: bool = False) -> Any:
    return lax.scan(
        step, state, rows, length=operation.attributes["length"], reverse=operation.attributes["reverse"] != turned
    )


def _scan_push(operation: Operation, inputs: list[Any], tangents: list[Any], forward: Callable[..., Any]) -> list[Any]:
    """A scan over pairs: a value and its tangent."""
    (consts, carry, rows), (d_consts, d_carry, d_rows) = (_scan_parts(operation, one) for one in (inputs, tangents))

    def step(state: Any, row: Any) -> Any:
        outputs, d_outputs = forward(
            operation.bodies["body"], [*consts, *state[0], *row[0]], [*d_consts, *state[1], *row[1]]
        )
        count = len(carry)
        return (outputs[:count], d_outputs[:count]), d_outputs[count:]

    (_, d_last), d_made = _scan(operation, step, (carry, d_carry), (rows, d_rows))
    return [*d_last, *d_made]


def _scan_pull(
    operation: Operation, inputs: list[Any], gradients: list[Any], backward: Callable[..., Any]
) -> list[Any]:
    """Once more forward, to know what each step began with; then from the last step to the first."""
    body, count = operation.bodies["body"], operation.attributes["num_carry"]
    consts, carry, rows = _scan_parts(operation, inputs)
    run = _compat.jaxpr_as_fun(operation.attributes["jaxpr"])
    _, begins = _scan(operation, lambda state, row: (run(*consts, *state, *row)[:count], state), carry, rows)

    def step(state: Any, row: Any) -> Any:
        (g_consts, g_carry), (begin, own, g_made) = state, row
        back = backward(body, [*consts, *begin, *own], [*g_carry, *g_made])
        to_consts, to_carry, to_row = _scan_parts(operation, back)
        added = [None if one is None else one + more for one, more in zip(g_consts, to_consts, strict=True)]
        return (added, to_carry), to_row

    state = ([zeros(one) for one in consts], gradients[:count])
    (g_consts, g_carry), g_rows = _scan(operation, step, state, (begins, rows, gradients[count:]), turned=True)
    return [*g_consts, *g_carry, *g_rows]


def _while_push(operation: Operation, inputs: list[Any], tangents: list[Any], forward: Callable[..., Any]) -> list[Any]:
    """The same loop over pairs; the condition looks at values only."""
    params = operation.attributes
    conditions, first = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    consts, d_consts = inputs[conditions:first], tangents[conditions:first]
    goes_on = _compat.jaxpr_as_fun(params["cond_jaxpr"])

    def step(state: Any) -> Any:
        return forward(operation.bodies["body"], [*consts, *state[0]], [*d_consts, *state[1]])

    state = (inputs[first:], tangents[first:])
    return list(lax.while_loop(lambda state: goes_on(*inputs[:conditions], *state[0])[0], step, state)[1])


def _cond_push(operation: Operation, inputs: list[Any], tangents: list[Any], forward: Callable[..., Any]) -> list[Any]:
    branches = [lambda given, body=body: forward(body, *given)[1] for body in operation.bodies.values()]
    return list(lax.switch(inputs[0], branches, (inputs[1:], tangents[1:])))


def _cond_pull(
    operation: Operation, inputs: list[Any], gradients: list[Any], backward: Callable[..., Any]
) -> list[Any]:
    branches = [lambda given, body=body: backward(body, *given) for body in operation.bodies.values()]
    return [None, *lax.switch(inputs[0], branches, (inputs[1:], gradients))]
