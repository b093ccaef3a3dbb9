"""Shapes in JAX's own short notation: `f32[32,784]`, `i32[]`, `f32[?,784]` for a batch of any size."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from aidl_jax.errors import GraphError

__all__ = ["parse_spec"]

SPEC = re.compile(r"([a-z][\w<>]*)\[([^\[\]]*)\]")
LETTERS = {"f": "float", "bf": "bfloat", "i": "int", "u": "uint", "c": "complex"}
KEYS = {"fry": "threefry2x32", "rbg": "rbg", "urbg": "unsafe_rbg"}
HOW = 'f32[32,784] for an array, f32[?,784] for a batch of any size, i32[] for one number, {"w": "f32[784,10]"} for a pytree'


def parse_spec(text: str) -> Any:
    """What `trace` takes for an argument, from a short text.

    Args:
        text: a dtype and sizes, `f32[32,784]`, `bool[3]`, `key<fry>[]`; `?` as the first size stands for the batch.
            Or a pytree: JSON with such texts at its leaves. Dtypes may be written out, `float32[32,784]`.

    Returns:
        A `jax.ShapeDtypeStruct`, or a dict or list of them.

    Raises:
        GraphError: it is neither.

    >>> parse_spec("f32[?,784]")
    ShapeDtypeStruct(shape=(None, 784), dtype=float32)
    >>> parse_spec('{"w": "bf16[784,10]", "b": "bf16[10]"}')["w"].shape
    (784, 10)
    """
    text = text.strip()
    if not text.startswith(("{", "[", '"')):
        return _array(text)
    try:
        tree = json.loads(text)
    except ValueError as error:
        raise _wrong("this is not JSON", text, f"{error}") from None
    return _tree(tree, text)


def _tree(tree: Any, text: str) -> Any:
    if isinstance(tree, dict):
        return {name: _tree(part, text) for name, part in tree.items()}
    if isinstance(tree, list):
        return [_tree(part, text) for part in tree]
    if tree is None:
        return None
    if not isinstance(tree, str):
        raise _wrong(f"the leaf {json.dumps(tree)} is not a shape in quotes", text)
    return _array(tree)


def _array(text: str) -> jax.ShapeDtypeStruct:
    found = SPEC.fullmatch(text.strip())
    if found is None:
        raise _wrong("this is not a shape", text)
    dtype = _dtype(found[1])
    if dtype is None:
        raise _wrong(f"there is no dtype {found[1]!r}", text)
    return jax.ShapeDtypeStruct(_sizes(found[2], text), dtype)


def _sizes(inside: str, text: str) -> tuple[Any, ...]:
    sizes = [size.strip() for size in inside.split(",")] if inside.strip() else []
    for number, size in enumerate(sizes):
        if size == "?" and number:
            raise _wrong("only the first size can be ?, the batch", text)
        if size != "?" and not re.fullmatch(r"[0-9]+", size):
            raise _wrong(f"{size!r} is not a size", text)
    return tuple(None if size == "?" else int(size) for size in sizes)


def _dtype(name: str) -> Any:
    """The dtype of a short or a long name; None if there is none."""
    key = re.fullmatch(r"key<(\w+)>", name)
    if key:
        return jax.eval_shape(partial(jax.random.key, impl=KEYS[key[1]]), 0).dtype if key[1] in KEYS else None
    short = re.fullmatch(r"(bf|[fiuc])(\d\w*)", name)
    name = LETTERS[short[1]] + short[2] if short else name
    try:
        dtype = jnp.dtype(name)
    except TypeError:
        return None
    return dtype if dtype.name == name and (name == "bool" or jnp.issubdtype(dtype, jnp.number)) else None


def _wrong(what: str, text: str, why: str | None = None) -> GraphError:
    return GraphError(
        what + (f" ({why})" if why else ""), given=repr(text), expected="a dtype and sizes", fix=f"write {HOW}"
    )
