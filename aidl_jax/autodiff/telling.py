"""How values, sizes and lines are written, in a terminal and on a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from aidl_jax.graph import Source

__all__ = ["columns", "told", "told_bytes", "told_line"]

WIDEST = 32
SHOWN = 4


def told(value: Any) -> str:
    """A value in a few characters: numbers while they are few, else its shape and its largest absolute value.

    >>> told(np.float32(0.5)), told(np.ones(2)), told(np.full((4, 3), -2.0))
    ('0.5', '[1, 1]', '[4,3] max 2')
    """
    array = np.asarray(value)
    if array.dtype == bool or array.size == 0:
        return f"{array.dtype}[{','.join(map(str, array.shape))}]"
    if array.ndim == 0:
        return f"{array[()]:.4g}"
    if array.ndim == 1 and array.size <= SHOWN:
        return f"[{', '.join(f'{one:.3g}' for one in array)}]"
    return f"[{','.join(map(str, array.shape))}] max {np.abs(array).max():.3g}"


def told_bytes(size: int) -> str:
    """A size in bytes, with a unit.

    >>> told_bytes(40), told_bytes(3_211_264)
    ('40 B', '3.2 MB')
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} B"


def told_line(source: Source | None) -> str:
    """`model.py:12`; empty where no line is known."""
    return str(source).partition(" (")[0] if source else ""


def columns(rows: Sequence[Sequence[str]], widest: Sequence[int] = ()) -> list[str]:
    """Rows as lines, the first one as a heading; cells that are wider than their column may be are cut with a mark.

    >>> columns([("a", "b"), ("long", "1")])
    ['a     b', '----  -', 'long  1']
    """
    limits = widest or [WIDEST] * len(rows[0])
    cut = [
        [one if len(one) <= limit else f"{one[: limit - 1]}…" for one, limit in zip(row, limits, strict=True)]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cut, strict=True)]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cut]
    lines.insert(1, ["-" * width for width in widths])
    return ["  ".join(line).rstrip() for line in lines]
