"""Trees of values: how nested answers travel between processes without pickle.

A tree is a dict (string or integer keys), list, tuple, NamedTuple or None with leaves in it;
anything else is a leaf. Its structure is plain data that msgpack and JSON can hold:

    ["leaf", 0]    ["none"]    ["list", [child, ...]]    ["tuple", [child, ...]]
    ["dict", [key, ...], [child, ...]]    ["namedtuple", name, [field, ...], [child, ...]]

>>> leaves, structure = flatten({"w": 1.0, "b": (2.0, None)})
>>> leaves, structure
([2.0, 1.0], ['dict', ['b', 'w'], [['tuple', [['leaf', 0], ['none']]], ['leaf', 1]]])
>>> unflatten(structure, leaves)
{'b': (2.0, None), 'w': 1.0}
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aidl_jax.errors import ProtocolError

Structure = list[Any]
MAX_DEPTH = 64


class NamedTree:
    """A NamedTuple as it arrives in a process that does not have its class."""

    def __init__(self, name: str, fields: Sequence[str], values: Sequence[Any]) -> None:
        self._name, self._fields, self._values = name, tuple(fields), tuple(values)

    def __getattr__(self, field: str) -> Any:
        fields = self.__dict__.get("_fields", ())
        if field in fields:
            return self._values[fields.index(field)]
        raise AttributeError(f"{self.__dict__.get('_name')} has the fields {list(fields)}, not {field!r}")

    def __getitem__(self, index: int) -> Any:
        return self._values[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        inside = ", ".join(f"{f}={v!r}" for f, v in zip(self._fields, self._values, strict=True))
        return f"{self._name}({inside})"


def is_named(tree: Any) -> bool:
    """Whether a value is a NamedTuple, or one that travelled here."""
    return isinstance(tree, NamedTree) or (isinstance(tree, tuple) and hasattr(tree, "_fields"))


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The leaves of a tree, depth first with dict keys sorted, and its structure.

    Raises:
        TypeError: a dict key that is neither a string nor an integer, or a tree nested deeper
            than 64 levels.
    """
    leaves: list[Any] = []

    def visit(node: Any, depth: int) -> Structure:
        if depth > MAX_DEPTH:
            raise TypeError(f"the value is nested deeper than {MAX_DEPTH} levels")
        if node is None:
            return ["none"]
        if isinstance(node, dict):
            keys = _sorted_keys(node)
            return ["dict", keys, [visit(node[key], depth + 1) for key in keys]]
        if is_named(node):
            name = node._name if isinstance(node, NamedTree) else type(node).__name__
            return ["namedtuple", name, list(node._fields), [visit(v, depth + 1) for v in node]]
        if type(node) in (list, tuple):
            return [type(node).__name__, [visit(v, depth + 1) for v in node]]
        leaves.append(node)
        return ["leaf", len(leaves) - 1]

    return leaves, visit(tree, 0)


def _sorted_keys(node: dict[Any, Any]) -> list[str | int]:
    for key in node:
        if type(key) not in (str, int):
            raise TypeError(f"dict keys must be strings or integers, not {key!r}")
    return sorted(node, key=lambda key: (type(key).__name__, key))


def unflatten(structure: Structure, leaves: Sequence[Any]) -> Any:
    """Builds the tree again; NamedTuples come back as `NamedTree`.

    Raises:
        ProtocolError: the structure is not one of the forms above, or does not fit the leaves.
    """
    used: set[int] = set()

    def build(node: Any, depth: int) -> Any:
        match node:
            case ["none"]:
                return None
            case ["leaf", int(index)] if 0 <= index < len(leaves) and index not in used:
                used.add(index)
                return leaves[index]
            case ["list", list(children)] if depth <= MAX_DEPTH:
                return [build(child, depth + 1) for child in children]
            case ["tuple", list(children)] if depth <= MAX_DEPTH:
                return tuple(build(child, depth + 1) for child in children)
            case ["dict", list(keys), list(children)] if depth <= MAX_DEPTH and len(keys) == len(children):
                if all(type(key) in (str, int) for key in keys) and _distinct(keys):
                    return {k: build(c, depth + 1) for k, c in zip(keys, children, strict=True)}
            case ["namedtuple", str(name), list(fields), list(children)] if depth <= MAX_DEPTH and len(fields) == len(
                children
            ):
                if all(isinstance(f, str) and f.isidentifier() for f in [name, *fields]) and _distinct(fields):
                    return NamedTree(name, fields, [build(c, depth + 1) for c in children])
        raise ProtocolError("a tree's structure is malformed", given=reprlib.repr(node)[:80])

    tree = build(structure, 0)
    if len(used) != len(leaves):
        raise ProtocolError("a tree's structure does not use every leaf", given=f"{len(leaves)} leaves")
    return tree


def _distinct(names: list[Any]) -> bool:
    return len(set(names)) == len(names)


def leaf_paths(structure: Structure, prefix: str = "") -> list[str]:
    """The path of each leaf, as one would index it.

    >>> leaf_paths(flatten({"w": 1, "b": (2, 3)})[1])
    ["['b'][0]", "['b'][1]", "['w']"]
    """
    match structure:
        case ["none"]:
            return []
        case ["leaf", _]:
            return [prefix]
        case ["dict", keys, children]:
            steps = [f"[{key!r}]" for key in keys]
        case ["namedtuple", _, fields, children]:
            steps = [f".{field}" for field in fields]
        case [_, children]:
            steps = [f"[{i}]" for i in range(len(children))]
    return [path for step, child in zip(steps, children, strict=True) for path in leaf_paths(child, prefix + step)]


def describe(structure: Structure, leaf: Callable[[int], str] = lambda index: "*") -> str:
    """A structure in words that a student can read.

    >>> describe(flatten({"w": 1, "b": (2, None)})[1])
    "{'b': (*, None), 'w': *}"
    """
    match structure:
        case ["none"]:
            return "None"
        case ["leaf", index]:
            return leaf(index)
        case ["dict", keys, children]:
            inside = (f"{key!r}: {describe(child, leaf)}" for key, child in zip(keys, children, strict=True))
            return "{" + ", ".join(inside) + "}"
        case ["namedtuple", name, fields, children]:
            inside = (f"{field}={describe(child, leaf)}" for field, child in zip(fields, children, strict=True))
            return f"{name}({', '.join(inside)})"
        case ["list", children]:
            return "[" + ", ".join(describe(child, leaf) for child in children) + "]"
        case [_, children]:
            return (
                "(" + ", ".join(describe(child, leaf) for child in children) + ("," if len(children) == 1 else "") + ")"
            )
    raise ProtocolError("a tree's structure is malformed", given=reprlib.repr(structure)[:80])
