"""What is made before it is asked for: how many rows at a time, by how many threads, how far ahead."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aidl_jax.data.stage import Stage

__all__ = ["Ahead", "plan_of", "rows_each"]


@dataclass(frozen=True)
class Ahead:
    """How the rows of an Indexed stage are read.

    Attributes:
        step: rows asked for at a time.
        threads: threads that ask for rows; 0 where whoever wants them asks.
        room: blocks of `step` rows that are ready or under way before they are wanted.
    """

    step: int
    threads: int
    room: int


def plan_of(stage: Stage, block: int) -> Ahead:
    """How to read a stage.

    A Python map with n threads is to have 2n calls in each of two blocks under way, so that its threads are busy while the last
    calls of a block come in. Two blocks under way would call a Python map without threads twice at once: where there is one, it is one.
    """
    stages = list(rows_each(stage, 1.0))
    parallel = [math.ceil(2 * one.calls_at_once / rows) for one, rows in stages if one.calls_at_once > 1]
    in_turn = any(one.calls_at_once == 1 for one, _ in stages)
    buffer = max(math.ceil(one.held_ready / rows) for one, rows in stages)
    step = max([block, *parallel])
    threads = 2 if parallel and not in_turn else int(bool(parallel or buffer))
    return Ahead(step, threads, max(threads, math.ceil(buffer / step)))


def rows_each(stage: Stage, rows: float) -> Iterator[tuple[Stage, float]]:
    """Each stage, with how many of its elements one element of the last is made of."""
    yield stage, rows
    inner = rows * getattr(stage, "length", 1) if stage.verb in ("batch", "window") else rows
    inner = rows / (stage.length or 1) if stage.verb == "unbatch" else inner  # type: ignore[attr-defined]
    for one in stage.inputs:
        yield from rows_each(one, inner)
