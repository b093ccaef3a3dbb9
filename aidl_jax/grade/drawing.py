"""A request becomes the bytes of a TensorBoard event file with its graph. Runs in the worker."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tensorboardX import SummaryWriter

from aidl_jax.errors import ProtocolError
from aidl_jax.exercise.summary import MAX_NODES
from aidl_jax.grade.event_file import MAX_BYTES
from aidl_jax.grade.explain import AnswerError, Impure
from aidl_jax.grade.tracing import IMPURE_FIX, interpret, silence
from aidl_jax.graph import Graph, trace


def event_file(body: Any, specs: Sequence[Any], functions: Mapping[str, Any]) -> bytes:
    """Traces the function that a request calls, and draws its graph.

    Args:
        body: a call, as `aidl_jax.exercise.requests.lower` wrote it; its arguments are trees of hidden inputs.
        specs: `[shape, dtype]` of each hidden input.
        functions: the student's functions by name.

    Raises:
        Impure: two traces gave two different graphs.
        AnswerError: the graph is too large.
        Exception: whatever the student's code raises while it is traced.
    """
    given = [jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype)) for shape, dtype in specs]
    first = _graph(body, given, functions)
    with silence():
        second = _graph(body, given, functions)
    if [str(one) for one in first.operations()] != [str(one) for one in second.operations()]:
        raise Impure(IMPURE_FIX)
    count = len(first.nodes)
    events = _written(first) if count <= MAX_NODES else b""
    if not 0 < len(events) <= MAX_BYTES:
        raise AnswerError(
            f"The graph of your function is too large to be drawn: {count:,} operations.",
            "While JAX traces, a Python loop is written out, every round of it.",
        )
    return events


def _graph(body: Any, given: Sequence[Any], functions: Mapping[str, Any]) -> Graph:
    jax.clear_caches()  # a function that was traced before would keep the lines of its first call
    match body:
        case ["call", callee, args, named] if not named:
            return trace(interpret(callee, functions, given), *(interpret(one, functions, given) for one in args))
    raise ProtocolError("only a call can be drawn", given=repr(body)[:80])


def _written(graph: Graph) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        with SummaryWriter(folder) as writer:
            graph.to_tensorboard(writer)
        (file,) = Path(folder).iterdir()
        return file.read_bytes()
