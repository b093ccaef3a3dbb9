"""Reverse mode by backprop: run forward and keep what is needed, then go back and pass gradients on.

Each step on the way back knows three things: the gradient that comes from above, a local derivative that has nothing to do
with the loss, and what was kept. Where a value went two ways, two gradients come back and are added.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from aidl_jax.autodiff.arguments import check_like, check_scalar, chosen, flat_floats, traced
from aidl_jax.autodiff.evaluation import Path, inputs_of, is_float
from aidl_jax.autodiff.tape import add, go_back, record
from aidl_jax.errors import AutodiffError
from aidl_jax.graph import Graph, Operation, Tensor

__all__ = ["check_connected", "grad", "value_and_grad", "vjp"]


def grad(fn: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The gradient of a function as a function of the same arguments.

    Args:
        fn: a function that returns one float.
        argnums: by which argument, counted from 0, or by which ones.

    Returns:
        A function that gives the gradient: of the structure, shapes and dtypes of that argument, or a tuple of them.

    Raises:
        AutodiffError: when it is called: an argument is not made of floats, the result is not one float, or an
            operation has no rule.

    >>> float(grad(grad(jnp.sin))(1.0)) == -float(jnp.sin(1.0))
    True
    """
    both = value_and_grad(fn, argnums)

    @functools.wraps(fn)
    def gradient(*args: Any) -> Any:
        return both(*args)[1]

    return gradient


def value_and_grad(fn: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """Like `grad`; the function gives the value, too, which is known anyway.

    >>> value, gradient = value_and_grad(lambda x: (x * x).sum())(jnp.array([3.0, 4.0]))
    >>> float(value), gradient.tolist()
    (25.0, [6.0, 8.0])
    """
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(fn)
    def value_and_gradient(*args: Any) -> Any:
        graph = traced(fn, args)
        sources = chosen(graph, numbers)
        loss = check_scalar(graph)
        (value,), tape = record(graph, jax.tree.leaves(args), sources)
        check_connected(graph, tape.path, sources)
        gradients = go_back(tape, sources, {loss.name: jnp.ones((), loss.dtype)})
        rest = iter(gradients)
        trees = [jax.tree.map(lambda _: next(rest), args[number]) for number in numbers]
        return value, trees[0] if isinstance(argnums, int) else tuple(trees)

    return value_and_gradient


def vjp(fn: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """The value of a function, and its derivative as a function that passes gradients back.

    Args:
        fn: a function of arrays of floats (or pytrees of them).
        *primals: its arguments.

    Returns:
        The value, and `pull`: from a gradient of the value (same structure, shapes and dtypes) to a tuple with one for
        each argument.

    Raises:
        AutodiffError: an argument is not made of floats, a gradient does not fit, or an operation has no rule.

    >>> value, pull = vjp(lambda x: 2.0 * x, jnp.ones(2))
    >>> pull(jnp.array([1.0, 10.0]))[0].tolist()
    [2.0, 20.0]
    """
    graph = traced(fn, primals)
    sources = inputs_of(graph)
    outputs, tape = record(graph, flat_floats(graph, primals), sources)
    value = jax.tree.unflatten(jax.tree.structure(graph.outputs), outputs)

    def pull_back(gradient: Any) -> tuple[Any, ...]:
        check_like("gradients", gradient, value)
        gradients: dict[str, Any] = {}
        for out, given in zip(jax.tree.leaves(graph.outputs), jax.tree.leaves(gradient), strict=True):
            if is_float(out):
                add(gradients, out.name, jnp.asarray(given))
        return tuple(jax.tree.unflatten(jax.tree.structure(primals), go_back(tape, sources, gradients)))

    return value, pull_back


def check_connected(graph: Graph, path: Path, sources: Sequence[Tensor]) -> None:
    """Raises `AutodiffError` where the loss depends on what is differentiated, but only through integers or booleans.

    The gradient would be 0 everywhere, and nothing would ever be learned.
    """
    (loss,) = jax.tree.leaves(graph.outputs)
    if loss.name in path.active:
        return
    depends = {one.name for one in sources}
    cut: Operation | None = None
    for operation in graph.operations():
        if any(one.name in depends for one in operation.inputs) and operation.type != "stop_gradient":
            depends |= {out.name for out in operation.outputs}
            if cut is None and not any(map(is_float, operation.outputs)):
                cut = operation
    if loss.name in depends and cut is not None:
        raise AutodiffError(
            f"the loss depends on {', '.join(one.name.partition(':')[0] for one in sources)} only through whole numbers or "
            "truth values, which do not change when it moves by a little: the gradient would be 0 everywhere",
            given=f"the operation {cut.name!r}, {cut.type}",
            where=str(cut.source) if cut.source else None,
            fix="compute the loss from floats: a cross-entropy in place of an accuracy, probabilities in place of an argmax",
        )
