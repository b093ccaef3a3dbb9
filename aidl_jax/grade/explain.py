"""An error in a student's words: what happened, their own line, what to try."""

from __future__ import annotations

import ast
import linecache
import traceback
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Any

from aidl_jax.grade.words import limit_words, scrub, words_by_text, words_for

MAX_TEXT = 4_000


class AnswerError(Exception):
    """What a student's function gave back is not what was asked for; its message is in a student's words.

    Args:
        message: what came, a whole sentence.
        fix: what to try.
    """

    def __init__(self, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.fix = fix


class Impure(AnswerError):
    """The same call gave two different things."""

    def __init__(self, fix: str) -> None:
        super().__init__(
            "Your function computed two different things when it was called twice with the same arguments.", fix
        )


def explain(error: BaseException, labels: Collection[str]) -> dict[str, Any]:
    """An exception as plain data: kind, message, line, fix, traceback.

    Args:
        error: what the student's code, or JAX on its behalf, raised.
        labels: the file names of the student's code, to find their own line.
    """
    if isinstance(error, AnswerError):
        return {"kind": type(error).__name__, "message": encodable(str(error))[:MAX_TEXT], "line": None,
                "fix": error.fix, "traceback": None}  # fmt: skip
    unsupported = isinstance(error, NotImplementedError) and not _raised_in(error.__traceback__, labels)
    limit = limit_words(error)
    try:
        message, fix = limit or (words_by_text(error) if unsupported else words_for(error))
    except BaseException:  # a student's exception may fail to say what it is
        message, fix = f"Your code raised {type(error).__name__}.", None
    return {
        "kind": "limit" if limit else "unsupported" if unsupported else type(error).__name__,
        "message": encodable(message)[:MAX_TEXT],
        "line": own_line(error, labels),
        "fix": fix,
        "traceback": scrub(encodable("".join(traceback.format_exception(error))))[-MAX_TEXT:],
    }


def encodable(text: str) -> str:
    """With half characters (lone surrogates), which UTF-8 does not have, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def own_line(error: BaseException, labels: Collection[str]) -> str | None:
    """Where it happened in the student's own code: "line 12, in fit: w = w - rate * g".

    Where a function of theirs called another one that failed, both lines: the fault may be in the call.
    """
    own = _own_frames(error, labels)
    if isinstance(error.__cause__, StopIteration):  # Python made another error of one that left a generator
        own += _own_frames(error.__cause__, labels)
    if not own:
        return None
    first, last = own[0], own[-1]
    calls = first.name != "<module>" and (first.filename, first.lineno) != (last.filename, last.lineno)
    return "\n".join(map(place, [first, last] if calls else [last]))


def _own_frames(error: BaseException, labels: Collection[str]) -> list[traceback.FrameSummary]:
    return [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in labels]


def _raised_in(trace: TracebackType | None, labels: Collection[str]) -> bool:
    """Whether the student's own `raise` ended it; JAX hides its frames, so the line has to be looked at."""
    frames = traceback.extract_tb(trace)
    return bool(frames) and frames[-1].filename in labels and "raise" in (frames[-1].line or "")


def place(frame: traceback.FrameSummary) -> str:
    """One frame as a student reads it."""
    file = "" if frame.filename.endswith(".py") else f"{frame.filename}, "
    function = "" if frame.name == "<module>" else f", in {frame.name}"
    return encodable(f"{file}line {frame.lineno}{function}: {(frame.line or '').strip()}")


def endless_line(own: Sequence[traceback.FrameSummary]) -> str | None:
    """The loop that a program is in: the outermost `while`, else the outermost `for`.

    Where it stands inside the loop differs from run to run; the loop does not.

    Args:
        own: the frames of the student's code, the outermost first.
    """
    loops = [(frame, loop) for frame in own for loop in _loops_around(frame)]
    for kind in (ast.While, ast.For):
        for frame, loop in loops:
            if isinstance(loop, kind):
                text = linecache.getline(frame.filename, loop.lineno)
                return place(traceback.FrameSummary(frame.filename, loop.lineno, frame.name, line=text))
    return None


def _loops_around(frame: traceback.FrameSummary) -> list[ast.While | ast.For]:
    tree = ast.parse("".join(linecache.getlines(frame.filename)))
    number = frame.lineno or 0
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.While | ast.For) and node.lineno <= number <= (node.end_lineno or 0)
    ]
