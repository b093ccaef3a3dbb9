"""What a graph is made of: operations, and the tensors that flow between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from aidl_jax.graph.graph import Graph

__all__ = ["Operation", "Source", "Tensor", "describe"]


class Source(NamedTuple):
    """The line of the program that an operation came from.

    >>> print(Source("course/model.py", 12, "layer"))
    model.py:12 (layer)
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line} ({self.function})"


@dataclass(frozen=True, eq=False, repr=False)
class Tensor:
    """A value that flows along the graph's edges; known by shape and dtype, not by value.

    Args:
        name: the operation's name and which of its outputs this is, `layer1/add:0`.
        shape: a tuple of ints; a symbolic dimension where the graph serves every size.
        dtype: a NumPy dtype, or a JAX one (a PRNG key's).
        operation: the name of the operation it comes out of.
        consumers: the names of the operations it goes into, in their order.
    """

    name: str
    shape: tuple[Any, ...]
    dtype: Any
    operation: str
    consumers: tuple[str, ...] = ()

    @cached_property
    def sizes(self) -> tuple[int | str, ...]:
        """The shape with symbolic sizes as text, which is quick to compare."""
        return tuple(size if isinstance(size, int) else str(size) for size in self.shape)

    def __str__(self) -> str:
        return f"{self.name} {describe(self.shape, self.dtype)}"

    def __repr__(self) -> str:
        return f"<Tensor {self}>"


@dataclass(frozen=True, eq=False, repr=False)
class Operation:
    """One step of the computation.

    Args:
        name: unique, with the scopes it stands in: `layer1/dot_general`.
        type: JAX's name of the primitive; `placeholder`, `variable` or `constant` for what is given.
        operands: what goes in, in order: tensors, and numbers that are written into the program.
        outputs: what comes out.
        attributes: how the primitive is set: axes, a new shape, ...
        source: the line it came from, where it is known.
        is_gradient: whether it was made by differentiation, for the way back.
        custom: the function with a derivative rule of its own (`custom_jvp`, `custom_vjp`) that it is part of.
        bodies: the graphs inside: a scan's `body`, a while loop's `cond` and `body`, a cond's `branch_0`, ...
    """

    name: str
    type: str
    operands: tuple[Any, ...]
    outputs: tuple[Tensor, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    source: Source | None = None
    is_gradient: bool = False
    custom: str | None = None
    bodies: Mapping[str, Graph] = field(default_factory=dict)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The tensors that go in, in order."""
        return tuple(operand for operand in self.operands if isinstance(operand, Tensor))

    @property
    def scope(self) -> str:
        """The scopes it stands in, `gradients/layer1`; empty outside of all."""
        return self.name.rpartition("/")[0]

    def __str__(self) -> str:
        given = ", ".join(part.name if isinstance(part, Tensor) else str(part) for part in self.operands)
        shapes = ", ".join(describe(out.shape, out.dtype) for out in self.outputs)
        return f"{self.name}: {self.type}({given}) -> {shapes or 'nothing'}"

    def __repr__(self) -> str:
        return f"<Operation {self}>"


def describe(shape: tuple[Any, ...], dtype: Any) -> str:
    """Dtype and shape in one word.

    >>> describe((4, 3), "float32")
    'float32[4,3]'
    """
    return f"{getattr(dtype, 'name', dtype)}[{','.join(map(str, shape))}]"
