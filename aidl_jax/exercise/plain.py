"""Plain data: how values that are no traced arrays travel to student code and back, without pickle.

Plain are None, numbers, strings, bytes, NumPy arrays, and lists, tuples, NamedTuples, sets and dicts of them.
Packed, a number, a text, bytes or an array stands for itself, and every container says what it is:

    ["list", [item, ...]]    ["tuple", [item, ...]]    ["set", [item, ...]]
    ["dict", [[key, value], ...]]    ["namedtuple", name, [field, ...], [value, ...]]

A dict keeps its order; a frozenset comes back as a set. What is unpacked is new each time, so two calls never share a value.

>>> pack({"b": (1, None), "a": {3, 2}})
['dict', [['b', ['tuple', [1, None]]], ['a', ['set', [2, 3]]]]]
>>> unpack(pack({"b": (1, None), "a": {3, 2}}))
{'b': (1, None), 'a': {2, 3}}
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from aidl_jax.errors import ProtocolError
from aidl_jax.exercise.trees import MAX_DEPTH, NamedTree, is_named

MAX_VALUES = 100_000
Path = tuple[str | int, ...]
KINDS: dict[type, str] = {list: "list", tuple: "tuple", set: "set", frozenset: "set"}
NOT_PLAIN = {
    "ArrayImpl": "a JAX array",
    "function": "a function, which was not called",
    "generator": "a generator, which has not run yet",
}


class NotPlainError(TypeError):
    """A value that is no plain data; the message names it: "a value of type object at [0]['x']"."""


def pack(value: Any, *, arrays: bool = True) -> Any:
    """The value as nested lists.

    Args:
        value: plain data.
        arrays: whether NumPy arrays may be in it.

    Raises:
        NotPlainError: something else is in it, or it is deeper than 64 levels, or holds more than 100,000 values.
    """
    count = 0

    def visit(node: Any, path: Path) -> Any:
        nonlocal count
        count += 1
        if count > MAX_VALUES:
            raise NotPlainError(f"more than {MAX_VALUES:,} values")
        if len(path) > MAX_DEPTH:
            raise NotPlainError(f"a value nested deeper than {MAX_DEPTH} levels")
        if node is None or type(node) in (bool, float, bytes) or (arrays and isinstance(node, np.ndarray | np.generic)):
            return node
        if type(node) in (int, str):
            return _sendable(node, path)
        if is_named(node):
            name = node._name if isinstance(node, NamedTree) else type(node).__name__
            return ["namedtuple", name, list(node._fields), visit_all(enumerate(node), path)]
        if isinstance(node, dict):
            return ["dict", [[_key(key, path), visit(part, (*path, key))] for key, part in node.items()]]
        if type(node) in KINDS:
            parts = sorted(node, key=text) if KINDS[type(node)] == "set" else node
            return [KINDS[type(node)], visit_all(enumerate(parts), path)]
        kind = type(node).__name__
        raise NotPlainError(NOT_PLAIN.get(kind, f"a value of type {kind}") + _at(path))

    def visit_all(parts: Iterable[tuple[int, Any]], path: Path) -> list[Any]:
        return [visit(part, (*path, number)) for number, part in parts]

    return visit(value, ())


def _key(key: Any, path: Path) -> str | int:
    if type(key) not in (str, int):
        raise NotPlainError(f"a dict with the key {reprlib.repr(key)}, which is no string or integer{_at(path)}")
    return _sendable(key, path)


def _sendable(node: Any, path: Path) -> Any:
    """An integer of at most 64 bits, a string that UTF-8 can hold."""
    if type(node) is int and not -(2**63) <= node < 2**64:
        raise NotPlainError(f"an integer of more than 64 bits{_at(path)}")
    if type(node) is str and not node.isascii():
        try:
            node.encode()
        except UnicodeEncodeError:
            raise NotPlainError(f"a string with half a character in it{_at(path)}") from None
    return node


def _at(path: Path) -> str:
    return " at " + "".join(f"[{step!r}]" for step in path) if path else ""


def unpack(packed: Any) -> Any:
    """A new value, built as `pack` was given it; NamedTuples come back as `NamedTree`.

    Raises:
        ProtocolError: the nested lists are not of the forms above.
    """
    count = 0

    def build(node: Any, depth: int) -> Any:
        nonlocal count
        count += 1
        if count > MAX_VALUES or depth > MAX_DEPTH:
            raise ProtocolError("plain data is too large or too deep")
        if node is None or type(node) in (bool, int, float, str, bytes) or isinstance(node, np.ndarray):
            return node
        match node:
            case ["list", list(items)]:
                return [build(item, depth + 1) for item in items]
            case ["tuple", list(items)]:
                return tuple(build(item, depth + 1) for item in items)
            case ["set", list(items)]:
                return _set([build(item, depth + 1) for item in items])
            case ["dict", list(pairs)] if all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
                if all(type(key) in (str, int) for key, _ in pairs):
                    return {build(key, depth): build(part, depth + 1) for key, part in pairs}
            case ["namedtuple", str(name), list(fields), list(parts)] if len(fields) == len(parts):
                if all(isinstance(field, str) and field.isidentifier() for field in [name, *fields]):
                    return NamedTree(name, fields, [build(part, depth + 1) for part in parts])
        raise ProtocolError("plain data is malformed", given=reprlib.repr(node)[:80])

    return build(packed, 0)


def _set(items: list[Any]) -> set[Any]:
    try:
        return set(items)
    except TypeError as error:
        raise ProtocolError("plain data is malformed", given=str(error)[:80]) from error


def text(value: Any, limit: int | None = None) -> str:
    """Plain data as Python code, the same in every run; cut to a length where one is given.

    >>> text({"b": {"y", "x"}, "a": (1,)}), text([1, 2, 3], limit=8)
    ("{'b': {'x', 'y'}, 'a': (1,)}", '[1, ...')
    """
    if isinstance(value, dict):
        whole = "{" + ", ".join(f"{text(key)}: {text(part)}" for key, part in value.items()) + "}"
    elif isinstance(value, set | frozenset) and value:
        whole = "{" + ", ".join(sorted(map(text, value))) + "}"
    elif type(value) is list:
        whole = "[" + ", ".join(map(text, value)) + "]"
    elif type(value) is tuple:
        whole = "(" + ", ".join(map(text, value)) + ("," if len(value) == 1 else "") + ")"
    elif isinstance(value, np.ndarray | np.generic):
        whole = f"array({value.tolist()!r})"
    else:
        whole = repr(value)
    return whole if limit is None or len(whole) <= limit else whole[: limit - 4] + " ..."
