"""A function of one row, compiled for a block of rows: what is computed, and what is only handed on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from aidl_jax.data.elements import Element, Stacked, stacked_tree

__all__ = ["compiled_rows", "padded_block", "rows_made"]

NAMES = """abs add add_any and broadcast_in_dim ceil clamp convert_element_type copy div eq erf exp exp2 expm1 floor ge
gt integer_pow is_finite le log log1p logistic lt max min mul ne neg not or pow rem round rsqrt select_n sign sqrt
square sub tanh xor"""
ELEMENTWISE = frozenset(NAMES.split())
NESTED = ("jit", "pjit", "custom_jvp_call")


@partial(jax.tree_util.register_dataclass, data_fields=["numbers"], meta_fields=["shape"])
@dataclass(frozen=True)
class Computed:
    """A leaf that XLA computed, perhaps with the numbers of a row in one line."""

    numbers: Any
    shape: tuple[int, ...]

    def rows(self, leaves: Sequence[np.ndarray]) -> np.ndarray:
        """The leaf in its shape."""
        return np.asarray(self.numbers).reshape(self.shape)


@jax.tree_util.register_static
@dataclass(frozen=True)
class HandedOn:
    """A leaf that is one of the function's inputs, such as a label: it need not go through XLA."""

    number: int

    def rows(self, leaves: Sequence[np.ndarray]) -> np.ndarray:
        """The input's leaf."""
        return leaves[self.number]


def compiled_rows(fn: Callable[[Any, Element], Element]) -> Callable[[Any, Element], Any]:
    """`fn(place, element)` of a row as a compiled function of a block of them, whose answer `rows_made` reads.

    >>> doubled, block = compiled_rows(lambda place, number: number * 2), np.float32([1, 2, 3])
    >>> rows_made(doubled((), block), [block], 2).tree.tolist()
    [2.0, 4.0]
    """

    def one_row(place: Any, element: Element) -> Any:
        handed_on = {id(leaf): HandedOn(number) for number, leaf in enumerate(jax.tree.leaves(element))}
        return jax.tree.map(lambda leaf: handed_on.get(id(leaf), leaf), fn(place, element))

    def rows(places: Any, elements: Element) -> Any:
        row = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), (places, elements))
        in_line = iter(_elementwise(jax.make_jaxpr(one_row)(*row).jaxpr))
        return jax.tree.map(lambda leaf: _computed(leaf, next(in_line)), jax.vmap(one_row)(places, elements))

    return jax.jit(rows)


def _computed(leaf: jax.Array, in_line: bool) -> Computed:
    """XLA's loops over two dimensions were six times as fast as over three, on images where numbers keep their places."""
    lines = leaf.reshape(len(leaf), math.prod(leaf.shape[1:])) if in_line else leaf
    return Computed(lines, leaf.shape)


def _elementwise(jaxpr: Any) -> list[bool]:
    """Of each output, whether each of its numbers is made only of those that stand at its own place, and of scalars."""
    found = {*jaxpr.invars, *jaxpr.constvars}
    for equation in jaxpr.eqns:
        arrays = [atom for atom in equation.invars if atom.aval.shape]
        shapes = {atom.aval.shape for atom in [*arrays, *equation.outvars]}
        if len(shapes) == 1 and all(atom in found for atom in arrays) and _is_elementwise(equation):
            found.update(equation.outvars)
    return [not atom.aval.shape or atom in found for atom in jaxpr.outvars]


def _is_elementwise(equation: Any) -> bool:
    if equation.primitive.name not in NESTED:
        return equation.primitive.name in ELEMENTWISE
    inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    return all(_elementwise(inner.jaxpr))


def rows_made(made: Any, leaves: Sequence[np.ndarray], count: int) -> Stacked:
    """The first `count` rows of what a compiled function made of a block with these leaves, [rows, ...] each."""
    is_leaf = lambda one: isinstance(one, Computed | HandedOn)  # noqa: E731
    return stacked_tree(jax.tree.map(lambda leaf: leaf.rows(leaves)[:count], made, is_leaf=is_leaf), count)


def padded_block(leaf: np.ndarray, first: int, count: int, block: int) -> np.ndarray:
    """`block` rows from `first` on, of which `count` are there and the last stands for the others."""
    if count == block:
        return leaf if count == len(leaf) else leaf[first : first + count]
    rows = leaf[first : first + count]
    return np.concatenate([rows, np.repeat(rows[-1:], block - count, axis=0)])
