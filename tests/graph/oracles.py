"""What must hold for every graph, and an evaluation of one that shares no code with the one under test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.graph import Graph, Tensor, check_order, trace


def check_structure(graph: Graph) -> None:
    """Names are unique, the order is topological, and every edge is known at both of its ends."""
    operations = graph.operations()
    names = [one.name for one in operations]
    assert len(set(names)) == len(names)
    check_order(names, {one.name: [given.operation for given in one.inputs] for one in operations})
    used: dict[str, list[str]] = {}
    for one in operations:
        assert graph[one.name] is one
        assert one.scope == one.name.rpartition("/")[0]
        for given in dict.fromkeys(one.inputs):
            assert graph[given.name] is given
            used.setdefault(given.name, []).append(one.name)
    for one in operations:
        for number, out in enumerate(one.outputs):
            assert (out.name, out.operation) == (f"{one.name}:{number}", one.name)
            assert graph[out.name] is out
            assert list(out.consumers) == used.get(out.name, [])
        for body in one.bodies.values():
            check_structure(body)


def check_trace(fn: Callable[..., Any], *args: Any) -> Graph:
    """A function's graph has the function's shapes, and gives its values bit for bit."""
    with jax.default_matmul_precision("highest"):
        graph = trace(fn, *args)
        check_structure(graph)
        expected = jax.eval_shape(fn, *args)
        assert shapes(graph.outputs) == shapes(expected)
        got = graph.run(graph.outputs, dict(zip(graph.arguments, args, strict=True)))
        assert_same(got, jax.jit(fn)(*args))
    return graph


def shapes(tree: Any) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    return [(leaf.shape, leaf.dtype) for leaf in leaves], structure


def assert_same(got: Any, expected: Any) -> None:
    """The same tree of the same bits."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(plain(one), plain(other))


def assert_close(got: Any, expected: Any, operations: int = 64) -> None:
    """The same up to one rounding of the largest number in each array for each operation on the way."""
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        one, other = plain(one), plain(other)
        size = max(1.0, float(np.abs(other).max(initial=0)))
        np.testing.assert_allclose(one, other, rtol=0, atol=operations * float(np.finfo(np.float32).eps) * size)


def plain(value: Any) -> np.ndarray:
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    return np.asarray(value)


def names(graph: Graph) -> list[str]:
    return [one.name for one in graph.operations()]


def forward_names(graph: Graph) -> list[str]:
    return [one.name for one in graph.operations() if not one.is_gradient]


NUMPY: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "max": np.maximum,
    "sin": np.sin,
    "tanh": np.tanh,
    "neg": np.negative,
}


def evaluate(graph: Graph, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Every tensor's value, in float64, one operation after the other as the graph lists them; a fed one as it is fed."""
    values: dict[str, Any] = {}
    for one in graph.operations():
        given = [values[part.name] if isinstance(part, Tensor) else part for part in one.operands]
        if one.type in ("placeholder", "constant"):
            outputs = [feeds.get(one.outputs[0].name)]
        elif one.bodies:
            (body,) = one.bodies.values()
            inner = evaluate(body, dict(zip([part.name for part in body.placeholders], given, strict=True)))
            outputs = [inner[out.name] for out in jax.tree.leaves(body.outputs)]
        else:
            outputs = [NUMPY[one.type](*given)]
        for tensor, value in zip(one.outputs, outputs, strict=True):
            values[tensor.name] = feeds.get(tensor.name, value)
    return values
