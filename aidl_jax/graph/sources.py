"""Which line of whose program: of an operation, and of an error."""

from __future__ import annotations

import traceback
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Any

from aidl_jax import _compat
from aidl_jax.graph.flatten import Step
from aidl_jax.graph.nodes import Source

__all__ = ["LIBRARIES", "frames", "is_update", "line_of", "source"]


def _folder(package: str) -> str:
    spec = find_spec(package)
    return str(Path(spec.origin).parent) + "/" if spec and spec.origin else f"({package} is not installed)"


OPTAX = _folder("optax")
OPTAX_LOSSES = OPTAX + "losses/"
LIBRARIES = (_folder("jax"), _folder("flax"), OPTAX)
HERE = str(Path(__file__).parent)
TRACING = str(Path(HERE, "tracing.py"))


def source(step: Step) -> Source | None:
    """The innermost line that is nobody's library; what was traced once and called often is where it was called."""
    found = frames(step)
    return next((one for one in found if not one.file.startswith(LIBRARIES)), found[0] if found else None)


def frames(step: Step) -> list[Source]:
    """The lines from the innermost one out, as far as the function that is traced."""
    equations = (step.equation, *reversed(step.callers))
    found: list[Source] = []
    for equation, caller in zip(equations, (*equations[1:], None), strict=True):
        around = takewhile(lambda frame: frame[0] != TRACING, _compat.source_frames(equation))
        found += _inside(caller, [Source(*frame) for frame in around])
    return found


def _inside(caller: Any, lines: list[Source]) -> list[Source]:
    """The lines inside of a jitted function; JAX 0.8 tells those around it, too, of the first call ever."""
    called = _compat.callee(caller) if caller is not None else None
    if called is None or called.scope is None:
        return lines
    own = [number for number, one in enumerate(lines, 1) if one.function.rpartition(".")[2] == called.scope]
    return lines[: own[0]] if own else []


def is_update(step: Step) -> bool:
    """Whether optax did this, other than as a loss."""
    found = frames(step)
    return bool(found) and found[0].file.startswith(OPTAX) and not found[0].file.startswith(OPTAX_LOSSES)


def line_of(error: Exception) -> str | None:
    """The innermost line of the program that raised it, no library's and none of this folder's."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((*LIBRARIES, HERE))
    ]
    return str(Source(own[-1].filename, own[-1].lineno or 0, own[-1].name)) if own else None
