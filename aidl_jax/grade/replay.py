"""One verdict again, with everything that was asked and answered: what an instructor defends a mark with."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from aidl_jax.exercise import Exercise, Failure, plain
from aidl_jax.exercise.compare import show
from aidl_jax.exercise.requests import Transcript
from aidl_jax.exercise.summary import SummaryGraph
from aidl_jax.grade.children import Start
from aidl_jax.grade.handin import Document
from aidl_jax.grade.judge import judge
from aidl_jax.grade.process import Processes
from aidl_jax.grade.session import Answered, Session
from aidl_jax.grade.terminal import clean, show_record


def replay(
    console: Console, name: str, exercise: Exercise, document: Document, task: str, seed: int, start: Start
) -> None:
    """Checks one task again and shows each question with its inputs, each answer, and the verdict."""
    with Session(document.cells, exercise, Processes(start)) as session:
        record = judge(name, exercise, session, seed, only=task)
        asked = list(session.log)
    for number, one in enumerate(asked, start=1):
        console.print(Text(f"{number}. {clean(one.request.text)}", "bold"))
        for index, array in enumerate(one.request.inputs):
            console.print(
                Text(f"   input {index}: {array.dtype.name} {list(array.shape)} = {show(array)}"), soft_wrap=True
            )
        console.print(Text(f"   answer: {clean(_told(one))}"), soft_wrap=True)
        if one.printed:
            console.print(Text(f"   printed: {clean(one.printed)}"), soft_wrap=True)
    console.rule()
    show_record(record, console, traceback=True)


def _told(one: Answered) -> str:
    match one.outcome:
        case Failure() as failure:
            return f"{failure.kind}: {failure.message}"
        case Transcript() as transcript:
            return plain.text(transcript.events, 2_000)
        case SummaryGraph() as graph:
            return f"a graph of {len(graph.nodes)} nodes"
        case answer if one.function is None:
            return plain.text(answer, 2_000)
        case answer:
            return show_tree(answer)


def show_tree(tree: object) -> str:
    """A tree of arrays on one line."""
    import numpy as np

    match tree:
        case dict():
            return "{" + ", ".join(f"{key!r}: {show_tree(value)}" for key, value in tree.items()) + "}"
        case list() | tuple():
            return "(" + ", ".join(map(show_tree, tree)) + ")"
        case np.ndarray():
            return show(tree)
    return repr(tree)
