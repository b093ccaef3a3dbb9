"""What may be fed: values by name, each checked against the tensor that it goes into."""

from __future__ import annotations

import cmath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.errors import GraphError
from aidl_jax.graph.nodes import Operation, Tensor, describe

if TYPE_CHECKING:
    from aidl_jax.graph.graph import Graph

__all__ = ["NUMBERS", "Slot", "as_array", "check_feeds", "check_fit", "held", "slots_of", "target"]


@dataclass(frozen=True)
class Slot:
    """What one feed's value goes into: one tensor, or an argument's tree of tensors."""

    key: str
    structure: Any
    tensors: tuple[Tensor, ...]

    def leaves(self, value: Any) -> list[Any]:
        """The value's arrays, as many and in the order of the tensors."""
        if self.structure is None:
            return [value]
        leaves, found = jax.tree.flatten(value)
        if found != self.structure:
            raise GraphError(
                f"the feed for {self.key!r} is not the tree that was traced",
                given=str(found),
                expected=str(self.structure),
                fix="feed a tree of the same structure, or single tensors by their names",
            )
        return leaves


def check_feeds(graph: Graph, feeds: Any) -> None:
    """Raises `GraphError` where feeds are not values by name."""
    if not isinstance(feeds, Mapping):
        first = next(iter(graph.arguments), "x")
        raise GraphError(
            "feeds are not values by name",
            given=type(feeds).__name__,
            expected="a dict",
            fix=f"feed {{{first!r}: ...}}",
        )


def slots_of(graph: Graph, feeds: Iterable[Any]) -> list[Slot]:
    """What each feed goes into; every tensor at most once."""
    slots = [_slot(graph, key) for key in feeds]
    fed: dict[str, str] = {}
    for slot in slots:
        for tensor in slot.tensors:
            if tensor.name in fed:
                raise GraphError(
                    f"{tensor.name} is fed twice", given=f"{fed[tensor.name]!r} and {slot.key!r}", fix="feed it once"
                )
            fed[tensor.name] = slot.key
    return slots


def _slot(graph: Graph, key: Any) -> Slot:
    if isinstance(key, Tensor):
        return Slot(key.name, None, (_own(graph, key),))
    if not isinstance(key, str):
        raise GraphError(
            "a feed's key is not a name",
            given=repr(key),
            expected="a tensor's name, or a Tensor",
            fix="feed {'x': ...}",
        )
    if key in graph.arguments:
        structure, tensors = graph.arguments[key]
        is_array = structure == jax.tree.structure(0)  # `treedef_is_leaf` says so of an empty tree, too
        return Slot(key, None if is_array else structure, tensors)
    found = target(graph, key)
    if isinstance(found, Operation):
        raise GraphError(f"{key!r} has no output, so it cannot be fed", fix="leave it out")
    return Slot(key, None, (found,))


def target(graph: Graph, leaf: Any) -> Tensor | Operation:
    """The tensor that a fetch means, or the operation, for one that has no output and is run for what it does."""
    if isinstance(leaf, Tensor):
        return _own(graph, leaf)
    if not isinstance(leaf, str | Operation):
        raise GraphError(
            "a fetch is not a name",
            given=repr(leaf),
            expected="a tensor's name, a Tensor or an Operation",
            fix="fetch 'name:0'",
        )
    found = graph[leaf] if isinstance(leaf, str) else graph[leaf.name]
    if isinstance(found, Tensor):
        return found
    if isinstance(leaf, Operation) and found is not leaf:
        raise _foreign(leaf.name)
    if len(found.outputs) > 1:
        raise GraphError(
            f"{found.name!r} has several outputs",
            fix=f"choose one: {', '.join(repr(out.name) for out in found.outputs)}",
        )
    return found.outputs[0] if found.outputs else found


def _own(graph: Graph, tensor: Tensor) -> Tensor:
    if tensor.name not in graph.variable_of or graph[tensor.name] is not tensor:
        raise _foreign(tensor.name)
    return tensor


def _foreign(name: str) -> GraphError:
    return GraphError(f"{name!r} is a part of another graph", fix="take it from this one, or use its name")


NUMBERS = {bool: np.bool_, int: np.number, float: np.inexact, complex: np.complexfloating}


def as_array(tensor: Tensor, value: Any) -> Any:
    """A Python number as an array of the tensor's dtype, where that can hold it; everything else as it is."""
    if type(value) not in NUMBERS:
        return value
    array = held(value, tensor.dtype)
    if array is None:
        raise GraphError(
            f"the feed for {tensor.name!r} does not fit its dtype",
            given=repr(value),
            expected=describe(tensor.shape, tensor.dtype),
            fix=_made(tensor, "feed a number that it can hold exactly, or trace it with another dtype"),
        )
    return array


def held(value: Any, dtype: Any) -> Any:
    """A Python number as an array of a dtype; None where the dtype cannot hold it."""
    if not jnp.issubdtype(dtype, NUMBERS[type(value)]):
        return None
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(value, dtype)
    except (OverflowError, TypeError):  # TypeError: too large a number for bfloat16
        return None
    return array if _holds(array, value) else None


def _holds(array: Any, value: Any) -> bool:
    """Whether a number is still there: a whole one exactly, any other one rounded, but not made infinite."""
    if type(value) is int:
        return bool(np.isfinite(array)) and int(array.real) == value
    return bool(np.isfinite(array)) or not cmath.isfinite(value)


def check_fit(tensors: Sequence[Tensor], values: Sequence[Any]) -> None:
    """Raises `GraphError` where a value has not the shape or the dtype of the tensor that it is fed to."""
    sizes: dict[str, tuple[int, str]] = {}
    for tensor, value in zip(tensors, values, strict=True):
        shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
        if shape is None or dtype is None:
            raise GraphError(
                f"the feed for {tensor.name!r} is not an array",
                given=repr(value),
                expected=_told(tensor),
                fix=_made(tensor, f"feed jnp.asarray(value, {str(tensor.dtype)!r})"),
            )
        if shape != tensor.sizes and not _sizes_fit(tensor, shape, sizes):
            raise GraphError(
                f"the feed for {tensor.name!r} has another shape",
                given=describe(shape, dtype),
                expected=_told(tensor),
                fix="feed what was traced, or trace it with this shape (None for a batch of any size)",
            )
        if dtype != tensor.dtype:
            raise GraphError(
                f"the feed for {tensor.name!r} has another dtype",
                given=describe(shape, dtype),
                expected=_told(tensor),
                fix=_made(tensor, f"feed it as np.asarray(value).astype({str(tensor.dtype)!r})"),
            )


def _made(tensor: Tensor, fix: str) -> str:
    if jnp.issubdtype(tensor.dtype, jax.dtypes.prng_key):
        return "feed a key made as the traced one was: jax.random.key(seed), or jax.random.wrap_key_data(old_key)"
    return fix


def _told(tensor: Tensor) -> str:
    return describe(tensor.shape, tensor.dtype)


def _sizes_fit(tensor: Tensor, shape: tuple[int, ...], sizes: dict[str, tuple[int, str]]) -> bool:
    """Whether a shape fits one with symbolic dimensions, each symbol of one size in all that is fed."""
    if len(shape) != len(tensor.shape):
        return False
    for size, expected in zip(shape, tensor.sizes, strict=True):
        if isinstance(expected, int):
            if size != expected:
                return False
        elif not isinstance(size, int):  # symbolic itself: traced for every size
            continue
        elif size == 0 and expected.isidentifier():
            raise GraphError(
                f"the feed for {tensor.name!r} is empty",
                given=f"size 0 for {expected}",
                expected="at least 1",
                fix="skip an empty batch",
            )
        elif sizes.setdefault(expected, (size, tensor.name))[0] != size:
            first, other = sizes[expected]
            raise GraphError(
                "two feeds have batches of different sizes",
                given=f"{expected} is {first} in {other!r} and {size} in {tensor.name!r}",
                fix="feed the same number of rows",
            )
    return True
