"""What the backward pass has to hold: the price of reverse mode, and what `jax.checkpoint` makes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from aidl_jax.autodiff.arguments import chosen, traced
from aidl_jax.autodiff.tape import residuals_of, way_back
from aidl_jax.autodiff.telling import columns, told_bytes, told_line
from aidl_jax.errors import AutodiffError
from aidl_jax.graph import Graph, Operation, Source, Tensor

__all__ = ["Residual", "Residuals", "flops", "is_given", "residuals", "size_of"]


@dataclass(frozen=True)
class Residual:
    """A value that is held from the way forward to the way back.

    Args:
        name: the tensor's, `layer1/tanh:0`.
        shape, dtype: what it is.
        bytes: its size.
        source: the line that computed it, where it is known.
        wanted_by: the operations whose way back needs it.
        is_given: whether it is an argument or a constant, which is there anyway.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Any
    bytes: int
    source: Source | None
    wanted_by: tuple[str, ...]
    is_given: bool


@dataclass(frozen=True)
class Residuals:
    """All that a backward pass will hold; `print` it.

    Args:
        name: the function's.
        held: the values, in the order in which they are computed.
        recomputed: the operations inside `jax.checkpoint` that are done once more on the way back.
    """

    name: str
    held: tuple[Residual, ...]
    recomputed: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """The size of what is held beside arguments and constants."""
        return sum(one.bytes for one in self.held if not one.is_given)

    def __str__(self) -> str:
        made = sum(not one.is_given for one in self.held)
        again = f"; {len(self.recomputed)} operations are done again on the way back" if self.recomputed else ""
        rows: list[tuple[str, ...]] = [("held", "output", "size", "source", "for the way back of")]
        rows += [tuple(_row(one)) for one in self.held]
        head = f"{self.name}: {made} values of {told_bytes(self.bytes)} are held for the way back{again}"
        note = ["(...) is an argument or a constant, which is there anyway."] if made < len(self.held) else []
        return "\n".join([head, "", *columns(rows), *note])


def _row(one: Residual) -> Iterator[str]:
    name = one.name.removesuffix(":0")
    yield f"({name})" if one.is_given else name
    yield f"{one.dtype}[{','.join(map(str, one.shape))}]"
    yield told_bytes(one.bytes)
    yield told_line(one.source)
    yield ", ".join(one.wanted_by)


def residuals(fn: Callable[..., Any], *args: Any, argnums: int | Sequence[int] = 0) -> Residuals:
    """What reverse mode will hold in memory for a function, known before it runs.

    A value in a function under `jax.checkpoint` is not held but computed again, from what went into that function.

    Args:
        fn: a function of arrays.
        *args: its arguments; shapes and dtypes are enough (`jax.ShapeDtypeStruct`).
        argnums: by which arguments it is differentiated.

    Raises:
        AutodiffError: an argument is not made of floats, an operation has no rule, or a `jax.checkpoint` has a policy.

    >>> import jax.numpy as jnp
    >>> found = residuals(lambda x: jnp.tanh(jnp.sin(x) + 1.0), jax.ShapeDtypeStruct((10,), jnp.float32))
    >>> [(one.name, one.bytes) for one in found.held]
    [('x:0', 40), ('tanh:0', 40)]
    """
    graph = traced(fn, args)
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    path = way_back(graph, chosen(graph, numbers))
    wanted: dict[str, list[str]] = {}
    again: dict[str, None] = {}
    for operation in path.operations:
        needed = [one.name for one in residuals_of(operation, path)]
        call = _checkpoint(graph, operation)
        if call is not None:
            needed = _instead(graph, call, needed, again)
        for name in needed:
            wanted.setdefault(name, []).append(operation.name)
    order = {out.name: out for operation in graph.operations() for out in operation.outputs}
    held = tuple(_residual(graph, order[name], tuple(wanted[name])) for name in order if name in wanted)
    return Residuals(graph.name, held, tuple(again))


def _residual(graph: Graph, tensor: Tensor, wanted_by: tuple[str, ...]) -> Residual:
    source = graph.nodes[tensor.operation].source
    shape, size = tensor.shape, size_of(tensor)
    return Residual(tensor.name, shape, tensor.dtype, size, source, wanted_by, is_given(graph, tensor))


def is_given(graph: Graph, tensor: Tensor) -> bool:
    """Whether a tensor is an argument or a constant: it is in memory anyway."""
    return tensor.operation not in graph.steps


def size_of(tensor: Tensor) -> int:
    """A tensor's size in bytes."""
    return math.prod(tensor.shape) * tensor.dtype.itemsize


def _checkpoint(graph: Graph, operation: Operation) -> Any:
    """The outermost `jax.checkpoint` around an operation; None where there is none."""
    calls = [call for call in graph.steps[operation.name].calls if call.custom is None]
    if calls and calls[0].equation.params.get("policy") is not None:
        raise AutodiffError(
            "what a policy of jax.checkpoint keeps is not known here",
            given=f"the operation {operation.name!r}",
            where=str(operation.source) if operation.source else None,
            fix="leave policy=... out to see what checkpoint itself keeps",
        )
    return calls[0] if calls else None


def _instead(graph: Graph, call: Any, needed: Iterable[str], again: dict[str, None]) -> list[str]:
    """What is held for values that are made in a checkpoint: what they are computed from, outside of it."""
    todo, held = list(needed), dict[str, None]()
    while todo:
        name = todo.pop()
        maker = graph.nodes[graph[name].operation]
        inside = maker.name in graph.steps and call in graph.steps[maker.name].calls
        if inside:
            again[maker.name] = None
            todo += [one.name for one in maker.inputs]
        else:
            held[name] = None
    return list(held)


def flops(fn: Callable[..., Any], *args: Any) -> int:
    """The floating-point operations of one run of a function as it is written, counted by XLA before it optimises.

    XLA counts functions like tanh apart from these, and of a loop one iteration.

    Raises:
        AutodiffError: the backend does not say.

    >>> import jax.numpy as jnp
    >>> flops(lambda a, b: a @ b, jnp.ones((8, 16)), jnp.ones((16, 4)))
    1024
    """
    found = jax.jit(fn).lower(*args).cost_analysis()
    found = found[0] if isinstance(found, list | tuple) and found else found
    count = (found or {}).get("flops", -1)
    if count < 0:
        raise AutodiffError(
            "XLA does not say how many operations this is",
            given=f"the backend {jax.default_backend()}",
            fix="run it on the CPU: with jax.default_device(jax.devices('cpu')[0]): ...",
        )
    return int(count)
