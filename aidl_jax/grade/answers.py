"""What a worker or a runner answered: untrusted, so looked at strictly before anything is made of it. Runs in the judge."""

from __future__ import annotations

from typing import Any

from aidl_jax.errors import ProtocolError
from aidl_jax.exercise import Failure, plain
from aidl_jax.exercise.summary import SummaryGraph, unpack_graph
from aidl_jax.grade import failures, protocol


def parameters(signatures: Any, task: str) -> list[str]:
    """A function's parameter names as the worker tells them."""
    names = signatures.get(task) if isinstance(signatures, dict) else None
    return [failures.text(name) for name in names] if isinstance(names, list) else []


def unpacked(encoded: Any, verb: str) -> Any:
    """Plain data from the worker."""
    try:
        return plain.unpack(protocol.decode(encoded))
    except (ProtocolError, TypeError) as error:
        raise Failure("malformed", f"What was {verb} is malformed.") from error


def graph_of(answer: dict[str, Any], printed: str | None) -> SummaryGraph:
    """The graph that the runner has read from an event file, or what it says is wrong with that file."""
    if "refused" in answer:
        raise Failure("refused", f"The event file was refused: {failures.text(answer['refused'])}.", printed=printed)
    try:
        return unpack_graph(answer.get("nodes"))
    except ProtocolError as error:
        raise Failure(
            "malformed", f"The graph in the event file is malformed: {error.what}.", printed=printed
        ) from error
