"""Where the operations of a graph stand in a drawing: what is given on top, the result at the bottom."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import jax

from aidl_jax.graph import Graph, Operation

__all__ = ["HEIGHT", "WIDTH", "Box", "Drawing", "draw"]

WIDTH, HEIGHT = 148, 44
ACROSS, DOWN = 164, 74


@dataclass(frozen=True)
class Box:
    """Where an operation stands: the upper left corner of its box."""

    x: float
    y: float


@dataclass(frozen=True)
class Drawing:
    """A drawing's boxes by name, its edges by `from>to` with the path to draw, and its size.

    Widths and heights of boxes are all alike.
    """

    boxes: dict[str, Box]
    edges: dict[str, str]
    width: float
    height: float
    box_width: int = WIDTH
    box_height: int = HEIGHT


def draw(graph: Graph) -> Drawing:
    """Rows by the longest way from what is given; within a row by where the inputs stand.

    >>> import jax.numpy as jnp
    >>> from aidl_jax.graph import trace
    >>> {name: (box.x, box.y) for name, box in draw(trace(lambda x: jnp.sin(x), 1.0)).boxes.items()}
    {'x': (8.0, 8), 'sin': (8.0, 82)}
    """
    shown = _leading_to_result(graph)
    rows: dict[int, list[Operation]] = defaultdict(list)
    for name, rank in _ranks(shown).items():
        rows[rank].append(graph.nodes[name])
    widest = max(map(len, rows.values()))
    places: dict[str, float] = {}
    boxes = {}
    for rank in sorted(rows):
        row = sorted(rows[rank], key=lambda one: _middle(one, places))
        for column, one in enumerate(row):
            places[one.name] = (widest - len(row)) / 2 + column
            boxes[one.name] = Box(8 + places[one.name] * ACROSS, 8 + rank * DOWN)
    edges = {
        f"{given.operation}>{one.name}": _curve(boxes[given.operation], boxes[one.name])
        for one in shown
        for given in one.inputs
    }
    return Drawing(boxes, edges, widest * ACROSS, (max(rows) + 1) * DOWN)


def _leading_to_result(graph: Graph) -> list[Operation]:
    needed = {out.operation for out in jax.tree.leaves(graph.outputs)}
    for one in reversed(graph.operations()):
        if one.name in needed:
            needed |= {given.operation for given in one.inputs}
    return [one for one in graph.operations() if one.name in needed]


def _ranks(shown: list[Operation]) -> dict[str, int]:
    """A row for each operation: below its inputs; what has none stands right above where it is first used."""
    ranks: dict[str, int] = {}
    for one in shown:
        if one.inputs:
            ranks[one.name] = 1 + max(ranks.get(given.operation, 0) for given in one.inputs)
    for one in shown:
        if not one.inputs:
            used = [ranks[name] for out in one.outputs for name in out.consumers if name in ranks]
            ranks[one.name] = min(used, default=1) - 1
    return {one.name: ranks[one.name] for one in shown}


def _middle(one: Operation, places: dict[str, float]) -> float:
    known = [places[given.operation] for given in one.inputs if given.operation in places]
    return sum(known) / len(known) if known else float(len(places))


def _curve(start: Box, end: Box) -> str:
    """An SVG path from the bottom of one box to the top of another."""
    x, y, to_x, to_y = start.x + WIDTH / 2, start.y + HEIGHT, end.x + WIDTH / 2, end.y
    bend = (to_y - y) / 2
    return f"M{x:g} {y:g} C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y:g}"
