"""What a worker or a runner said, or why it said nothing, as a `Failure`. Their texts are untrusted."""

from __future__ import annotations

from typing import Any

from aidl_jax.errors import AidlError
from aidl_jax.exercise import Failure
from aidl_jax.exercise.requests import Request
from aidl_jax.grade.process import Died, TimedOut

MAX_TEXT = 4_100  # the 4,000 characters that a worker keeps, and its note that there were more
MANY_STEPS = (
    "While JAX traces, a Python loop is written out, every round of it: for many rounds use jax.lax.scan or "
    "jax.lax.fori_loop."
)
WHILE = "Check what ends the loop: does its condition ever become false?"
LESS = "Check for absurd sizes, for what is kept though it is needed no more, and for loops that run too long."
ENDLESS = {
    "trace": MANY_STEPS,
    "run": "If there is a jax.lax.while_loop: does its condition look at the carry, and does it ever become false? If there is "
    "none, look for absurd sizes.",
    "iterate": "When the stream has ended and nothing is left to yield, leave the loop with `return`.",
    "call": "Check what ends the loop or the recursion, and whether the same thing is worked out again and again.",
}


def text(given: Any) -> str:
    """A text from a process that is not trusted, cut to a length; "" for anything else."""
    return given[:MAX_TEXT] if isinstance(given, str) else ""


def told(error: Any, printed: str | None = None, request: Request | None = None) -> Failure:
    """A worker's error as a failure: plain strings, cut to a length."""
    error = error if isinstance(error, dict) else {}
    texts = {name: text(error.get(name)) or None for name in ("line", "fix", "traceback")}
    return Failure(
        text(error.get("kind")) or "error",
        text(error.get("message")) or "It failed without saying why.",
        printed=text(printed) or None,
        request=request,
        **texts,
    )


def died(request: Request, error: AidlError) -> Failure:
    """The process that ran the student's function is gone, by a limit or in another way."""
    limit = getattr(error, "limit", None)
    if limit is not None:
        return Failure("limit", f"The process that ran {names(request)} was ended: it {limit}.", fix=LESS)
    return Failure(
        "died",
        f"The process that ran {names(request)} ended without an answer.",
        fix="Remove calls that end the process, and check for absurd sizes.",
    )


def timed_out(asked: str, request: Request, seconds: float, line: Any = None) -> Failure:
    """The student's function has not come to an end.

    Args:
        asked: "trace", "iterate", "call" or "run".
        line: the loop it is in, where the worker could still tell.
    """
    line = text(line)
    fix = WHILE if ": while " in line and asked != "iterate" else ENDLESS[asked]
    message = f"{names(request)} did not come to an end within {seconds:g} seconds."
    return Failure("timeout", message, line=line or None, fix=fix)


def too_slow_in_all(seconds: float) -> Failure:
    """Each question was answered in time, and all together were not."""
    message = f"All questions together have taken more than the {seconds:g} seconds that one exercise may take."
    return Failure("timeout", message, fix="Look for what is slow, or sleeps; it is called many times.")


def in_runner(error: AidlError, asked: str, request: Request, seconds: float) -> Failure:
    """The runner has not answered a "load", a "compile", a "run" or a "read"."""
    match error, asked:
        case TimedOut(), "run":
            return timed_out("run", request, seconds)
        case TimedOut(), "read":
            return Failure("timeout", f"The event file with the graph of {names(request)} is too large to be read.")
        case TimedOut(), _:
            message = f"{names(request)} takes longer than {seconds:g} seconds to compile."
            return Failure("timeout", message, fix=MANY_STEPS)
        case Died(), "run":
            return died(request, error)
        case Died(limit=str(limit)), _:
            return Failure("limit", f"Compiling {names(request)} was ended: it {limit}.", fix=LESS)
        case _, "read":
            message = "The event file is malformed: reading it ended the process."
            return Failure("malformed", message, traceback=getattr(error, "last_words", None))
    doing = "compiling" if asked == "compile" else "reading"
    message = f"The traced function is malformed: {doing} it ended the process."
    return Failure("malformed", message, traceback=getattr(error, "last_words", None))


def too_large(what: str, size: int, most: int) -> Failure:
    """An answer has more bytes than the judge takes in."""
    return Failure(
        "limit",
        f"{what} {size:,} bytes in all; at most {most:,} are looked at.",
        fix="Check the shapes that you create.",
    )


def names(request: Request) -> str:
    """The student's functions in a request: "`f` and `g`"."""
    return " and ".join(f"`{name}`" for name in request.functions) or "Your code"
