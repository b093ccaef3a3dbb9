"""The table put to use: a tangent pushed through one operation, a gradient pulled back, and what has to be held for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from aidl_jax.autodiff import moves
from aidl_jax.autodiff.rules import RULES, Partial
from aidl_jax.graph import Operation, Tensor

__all__ = ["factor_of", "held", "partial_of", "pull", "push"]


def partial_of(operation: Operation, number: int) -> Partial:
    """The rule of an operation for one of its inputs.

    >>> from aidl_jax.graph import trace
    >>> partial_of(trace(jnp.sin, 1.0)["sin"], 0).text
    'cos x'
    """
    row = RULES["relu" if operation.custom == "relu" else operation.type]
    found = row[min(number, len(row) - 1)]
    assert found is not None, f"input {number} of {operation.type} is no float"
    return found


def held(operation: Operation, number: int) -> list[Tensor]:
    """The tensors whose values the way back needs for one input of an operation: its residuals.

    >>> from aidl_jax.graph import trace
    >>> [tensor.name for tensor in held(trace(lambda x, w: x * w, 1.0, 1.0)["mul"], 0)]
    ['w:0']
    """
    partial = partial_of(operation, number)
    asked = [one for name in _wants(partial.factor or partial.pull) for one in _called(operation, name)]
    return list(dict.fromkeys(one for one in asked if isinstance(one, Tensor)))


def push(
    operation: Operation, number: int, tangent: Any, values: Mapping[str, Any], run: Callable[..., Any]
) -> list[Any]:
    """What a tangent of one input does to each output. `run(operands)` is the operation itself."""
    partial = partial_of(operation, number)
    if partial.factor is not None:
        moved = _times(tangent, factor_of(operation, number, values))
        return [jnp.broadcast_to(moved, operation.outputs[0].shape)]
    if partial.push is not None:
        return [partial.push(tangent, **_given(partial.push, operation, number, values))]
    given = [_value(one, values) for one in operation.operands]
    return list(run([*given[:number], tangent, *given[number + 1 :]]))


def pull(operation: Operation, number: int, gradients: Sequence[Any], values: Mapping[str, Any]) -> Any:
    """What gradients of the outputs, zeros included, mean for one input."""
    partial = partial_of(operation, number)
    if partial.factor is not None:
        moved = _times(gradients[0], factor_of(operation, number, values))
        return moves.sum_to(moved, operation.operands[number].shape)
    assert partial.pull is not None
    several = "gs" in inspect.signature(partial.pull).parameters
    return partial.pull(gradients if several else gradients[0], **_given(partial.pull, operation, number, values))


def factor_of(operation: Operation, number: int, values: Mapping[str, Any]) -> Any:
    """The local derivative as an array, or as the number 1, -1 or 0."""
    factor = partial_of(operation, number).factor
    assert factor is not None
    return factor(**_given(factor, operation, number, values))


def _times(array: Any, factor: Any) -> Any:
    if isinstance(factor, int):
        return {1: array, -1: -array}.get(factor, jnp.zeros_like(array))
    return array * factor


@cache
def _wants(function: Callable[..., Any]) -> tuple[str, ...]:
    """What a rule asks for: the names of its arguments, but for the tangent `t` or the gradient `g` (`gs` of several)."""
    return tuple(name for name in inspect.signature(function).parameters if name not in ("t", "g", "gs"))


def _called(operation: Operation, name: str) -> Sequence[Any]:
    """The operands and outputs whose values a rule means by a name; none for what is known without values."""
    if name == "indices":
        return [one for one in operation.operands if jnp.issubdtype(one.dtype, np.integer)]
    if name == "out":
        return operation.outputs
    return [operation.operands["xyz".index(name)]] if name in ("x", "y", "z") else []


def _given(
    function: Callable[..., Any], operation: Operation, number: int, values: Mapping[str, Any]
) -> dict[str, Any]:
    known = {
        "number": number,
        "operation": operation,
        "params": operation.attributes,
        "spec": operation.operands[number],
        "specs": operation.operands,
    }
    for name in set(_wants(function)).difference(known):
        found = [_value(one, values) for one in _called(operation, name)]
        known[name] = found if name == "indices" else found[0]
    return {name: known[name] for name in _wants(function)}


def _value(operand: Any, values: Mapping[str, Any]) -> Any:
    return values[operand.name] if isinstance(operand, Tensor) else operand
