"""Python's and JAX's errors in a student's words: what happened, their own line, what to try."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any

MAX_TEXT = 4_000

Words = tuple[str, str | None]


def explain(error: BaseException, labels: Collection[str]) -> dict[str, Any]:
    """An exception as plain data: kind, message, line, fix, traceback.

    Args:
        error: what the student's code, or JAX on its behalf, raised.
        labels: the file names of the student's code, to find their own line.
    """
    message, fix = _words(error)
    return {
        "kind": type(error).__name__,
        "message": message[:MAX_TEXT],
        "line": own_line(error.__traceback__, labels),
        "fix": fix,
        "traceback": scrub("".join(traceback.format_exception(error)))[-MAX_TEXT:],
    }


def own_line(trace: TracebackType | None, labels: Collection[str]) -> str | None:
    """The innermost line of the student's own code: "line 12, in fit: w = w - rate * g"."""
    own = [frame for frame in traceback.extract_tb(trace) if frame.filename in labels]
    return place(own[-1]) if own else None


def place(frame: traceback.FrameSummary) -> str:
    """One frame as a student reads it."""
    file = "" if frame.filename.endswith(".py") else f"{frame.filename}, "
    function = "" if frame.name == "<module>" else f", in {frame.name}"
    return f"{file}line {frame.lineno}{function}: {(frame.line or '').strip()}"


def scrub(text: str) -> str:
    """Without memory addresses, which differ from run to run."""
    return re.sub(r"0x[0-9a-f]{6,}", "0x...", text)


def _first_line(error: BaseException) -> str:
    lines = scrub(str(error)).strip().splitlines()
    return lines[0].strip() if lines else ""


def _words(error: BaseException) -> Words:
    names = [cls.__name__ for cls in type(error).__mro__]
    by_name = next((BY_NAME[name] for name in names if name in BY_NAME), None)
    if by_name is not None:
        return by_name(error)
    text = str(error)
    for pattern, words in BY_TEXT:
        found = re.search(pattern, text)
        if found:
            return words(found)
    said = _first_line(error)
    return f"Your code raised {type(error).__name__}" + (f": {said}" if said else "."), None


def _not_implemented(error: BaseException) -> Words:
    said = _first_line(error)
    return f"This is still to be written ({said})." if said else "This is still to be written.", None


def _import(error: BaseException) -> Words:
    name = getattr(error, "name", None)
    said = f"The module {name!r} cannot be imported here" if name else "An import failed"
    if not isinstance(error, ModuleNotFoundError) or name is None:
        said += f" ({_first_line(error)})"
    return f"{said}.", "Check the spelling; an answer may use jax, NumPy and Python's standard library."


def _bool(error: BaseException) -> Words:
    return (
        "Python needed a plain True or False here, but while JAX traces a function its arrays have no value yet.",
        "Replace `if`/`while`/`and`/`or` on arrays with jnp.where, jax.lax.cond or jnp.logical_and.",
    )


def _concrete(error: BaseException) -> Words:
    return (
        "Python needed a plain number here (for float(), int() or a shape), but while JAX traces a function "
        "its arrays have no value yet.",
        "Keep it an array: drop float() or int(), and take sizes from `.shape`, which is known.",
    )


def _integer(error: BaseException) -> Words:
    return (
        "Python needed a plain integer here (for range() or an index), but while JAX traces a function "
        "its arrays have no value yet.",
        "Use a size from `.shape`, or a loop of JAX's: jax.lax.fori_loop or jax.lax.scan.",
    )


def _numpy(error: BaseException) -> Words:
    return (
        "NumPy was called on a JAX array that is being traced; NumPy needs its values, and there are none yet.",
        "Write jnp. instead of np. here (`import jax.numpy as jnp`).",
    )


def _leak(error: BaseException) -> Words:
    return (
        "An array of an earlier trace was used after that trace had ended: it was kept in a global, a list or an attribute.",
        "Return the value from your function instead of storing it outside; nothing may be written outside a pure function.",
    )


def _mask(error: BaseException) -> Words:
    return (
        "An array was indexed with a boolean array, so the size of the result would depend on values that are not there yet.",
        "Use jnp.where(mask, x, 0) and keep the shape.",
    )


def _key(error: BaseException) -> Words:
    return (
        "The same random key is used twice, so the two results are not independent.",
        "Split it first: key, subkey = jax.random.split(key), and use each part once.",
    )


def _name(error: BaseException) -> Words:
    return f"{_first_line(error)[:1].upper()}{_first_line(error)[1:]}.", "Define it, import it, or check the spelling."


def _memory(error: BaseException) -> Words:
    return "Your code asked for more memory than there is.", "Check the shapes that you create."


def _recursion(error: BaseException) -> Words:
    return "A function calls itself without an end.", "Check what stops the recursion."


def _exit(error: BaseException) -> Words:
    return "Your code tried to end the program.", "Remove exit() and sys.exit()."


BY_NAME: dict[str, Callable[[BaseException], Words]] = {
    "NotImplementedError": _not_implemented,
    "ImportError": _import,
    "TracerBoolConversionError": _bool,
    "TracerIntegerConversionError": _integer,
    "TracerArrayConversionError": _numpy,
    "NonConcreteBooleanIndexError": _mask,
    "ConcretizationTypeError": _concrete,
    "UnexpectedTracerError": _leak,
    "KeyReuseError": _key,
    "NameError": _name,
    "MemoryError": _memory,
    "RecursionError": _recursion,
    "SystemExit": _exit,
}

BY_TEXT: list[tuple[str, Callable[[re.Match[str]], Words]]] = [
    (
        r"contracting dimensions to have the same shape, got \(?(\S+?),?\)? and \(?(\S+?),?\)?\.",
        lambda m: (
            f"A matrix product multiplies along axes of different length: {m[1]} and {m[2]}.",
            "Print the `.shape` of both; one of them may need `.T`, or the order may be the wrong way round.",
        ),
    ),
    (
        r"(?:incompatible shapes for broadcasting|Incompatible shapes for broadcasting)[^(]*(\(.*\))",
        lambda m: (
            f"Two arrays have shapes that do not fit together: {m[1].rstrip(']. ')}.",
            "Shapes are matched from the last axis: sizes must be equal or 1. Print `.shape`, then sum over or add an axis.",
        ),
    ),
    (
        r"matmul: Input operand|matmul input operand|dot_general requires",
        lambda m: (
            "A matrix product was given arrays whose shapes do not fit.",
            "Print the `.shape` of both; one of them may need `.T`.",
        ),
    ),
    (
        r"does not support item assignment|JAX arrays are immutable",
        lambda m: ("JAX arrays cannot be changed in place.", "Make a new one: x = x.at[index].set(value)."),
    ),
    (
        r"Gradient only defined for scalar-output functions",
        lambda m: (
            "jax.grad was given a function that returns more than one number.",
            "Differentiate the loss, which is a single number, or use jax.jacobian.",
        ),
    ),
    (
        r"scan body function carry input and carry output must have equal types|scan carry output and input must have",
        lambda m: (
            "The carry that your scan step returns has another structure, shape or dtype than the carry it was given.",
            "Return the new carry in the same form, and check that nothing changes from () to (1,) or from int to float.",
        ),
    ),
    (
        r"scan body output must be a pair",
        lambda m: (
            "The step given to jax.lax.scan must return a pair.",
            "Return (new_carry, None) where nothing is to be collected.",
        ),
    ),
    (
        r"missing \d+ required positional argument|takes .* positional argument|unexpected keyword argument",
        lambda m: (
            f"A function was called with the wrong arguments: {m.string.splitlines()[0]}.",
            "Compare the call with the function's signature; a task's signature must stay as it was given.",
        ),
    ),
    (
        r"[Cc]allback|Effects .* not supported|io_callback|pure_callback",
        lambda m: (
            "Your function calls back into Python while it runs, which a compiled function cannot take along.",
            "Write it with jax.numpy alone; for a look at values use jax.debug.print.",
        ),
    ),
]
