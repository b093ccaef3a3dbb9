"""Comparing an answer with an oracle: structure, shape, dtype, finiteness, then values.

The tolerance is derived, not guessed. A float32 result of `n` additions or products of terms whose
absolute values sum to `m` is off by at most about `n * eps * m` (Higham, *Accuracy and Stability of
Numerical Algorithms*, 2nd ed., section 3.1); the bound used is `4 * n * eps * m`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from aidl_jax.errors import CourseError
from aidl_jax.exercise import plain, trees
from aidl_jax.exercise.expressions import Expression
from aidl_jax.exercise.requests import Request, lower, value

NARROW = {"float64": "float32", "complex128": "complex64", "int64": "int32", "uint64": "uint32"}
EPS = float(np.finfo(np.float32).eps)
SAFETY = 4
SHOWN = 12
MAX_SHOWN = 400  # characters of a list or dict


@dataclass
class Failure(Exception):
    """A check that did not hold, in the student's words.

    Attributes:
        kind: "structure", "shape", "dtype", "not finite", "value", "property", "graph", or the kind of error
            that the student's function raised.
        message: what happened, one sentence.
        got, expected, where: what came, what should have, and at which element.
        line: the student's own line, with its number.
        fix: what to try.
        traceback: the whole traceback, behind a flag.
        printed: what the student's code printed.
        request: what was asked.
    """

    kind: str
    message: str
    got: str | None = None
    expected: str | None = None
    where: str | None = None
    line: str | None = None
    fix: str | None = None
    traceback: str | None = None
    printed: str | None = None
    request: Request | None = None

    def __str__(self) -> str:
        return self.message


def require(
    condition: Any,
    message: str,
    *,
    got: Any = None,
    expected: Any = None,
    kind: Literal["property", "graph"] = "property",
) -> None:
    """A property that must hold; `message` is what the student reads where it does not.

    One of a graph (`kind="graph"`) holds or fails for all values, so the inputs are shown by their shapes alone.
    """
    if not bool(condition):
        raise Failure(kind, message, _shown(got), _shown(expected))


def expect_error(ask: Callable[[], Any], kind: str, message: str) -> Failure:
    """The call must raise an exception of this kind; `message` is read where it does not.

    Returns:
        What the student would have read of the exception, so that a check can look at its words.

    >>> def ask(): raise Failure("ValueError", "buffer_size must be at least 1")
    >>> expect_error(ask, "ValueError", "a buffer of 0 elements must be refused").message
    'buffer_size must be at least 1'
    """
    try:
        ask()
    except Failure as failure:
        if failure.kind == kind:
            return failure
        raise
    raise Failure("property", message, "no error", kind)


def compare(
    actual: Any,
    expected: Any,
    *,
    length: int | None = None,
    magnitude: Any = None,
    atol: float | None = None,
    reason: str | None = None,
) -> Any:
    """Compares an answer with the expected tree of arrays; returns the answer.

    Args:
        actual: an expression, or an answer that was already asked for.
        expected: arrays computed in NumPy (float64 stands for the float32 that JAX returns), or another expression.
        length: how many terms are added up into one element; the longest axis of any hidden input
            where it is not given.
        magnitude: the sum of the terms' absolute values, a number or an array that broadcasts to
            the answer; needed where terms can cancel. The largest absolute expected value where it is not given.
        atol: an explicit bound instead, with the `reason` for it.

    Raises:
        Failure: the answer is wrong; the message says where.
        CourseError: an `atol` without a reason.
    """
    if (atol is None) != (reason is None):
        raise CourseError("an explicit atol carries its reason", fix="compare(..., atol=1e-5, reason='...')")
    length = length or _longest_axis(actual)
    got = value(actual) if isinstance(actual, Expression) else actual
    wanted = value(expected) if isinstance(expected, Expression) else expected
    try:
        compare_trees(got, wanted, length=length, magnitude=magnitude, atol=atol)
    except Failure as failure:
        failure.request = lower(actual) if isinstance(actual, Expression) else None
        raise
    return got


def compare_trees(got: Any, wanted: Any, *, length: int = 1, magnitude: Any = None, atol: float | None = None) -> None:
    """`compare` for two answers that are there."""
    got_leaves, got_structure = trees.flatten(got)
    leaves, structure = trees.flatten(wanted)
    if got_structure != structure:
        raise Failure(
            "structure",
            _difference(got_structure, structure),
            trees.describe(got_structure),
            trees.describe(structure),
        )
    magnitudes = _magnitudes(magnitude, structure, len(leaves))
    pairs = list(zip(trees.leaf_paths(structure), got_leaves, leaves, magnitudes, strict=True))
    for path, one, other, _ in pairs:  # shapes and dtypes of all before the values of any
        _compare_kind(path, np.asarray(one), np.asarray(other))
    for path, one, other, size in pairs:
        _compare_values(path, np.asarray(one), np.asarray(other), length, size, atol)


def _difference(got: trees.Structure, wanted: trees.Structure) -> str:
    """How an answer is built otherwise than asked for; each * beside it stands for an array."""
    kinds = {"leaf": "an array", "none": "None", "dict": "a dict", "list": "a list", "tuple": "a tuple"}
    one, other = (kinds.get(structure[0]) or f"a {structure[1]}" for structure in (got, wanted))
    if other == "an array" and one in ("a list", "a tuple"):
        return f"You returned {one} where one array was asked for; jnp.stack makes one of several."
    if one != other:
        return f"You returned {one} where {other} was asked for (each * is an array)."
    return f"You returned {one}, but with other parts than were asked for (each * is an array)."


def _magnitudes(magnitude: Any, structure: trees.Structure, count: int) -> list[Any]:
    if not isinstance(magnitude, dict | list | tuple):
        return [magnitude] * count
    leaves, given = trees.flatten(magnitude)
    if given != structure:
        raise CourseError(
            "magnitude is built differently from what is expected",
            given=trees.describe(given),
            expected=f"one array or number for all, or {trees.describe(structure)}",
        )
    return leaves


def _compare_kind(path: str, got: np.ndarray, expected: np.ndarray) -> None:
    if got.shape != expected.shape:
        raise Failure("shape", f"The shape is wrong{_at(path)}.", _shape(got), _shape(expected), where=path or None)
    wanted = NARROW.get(expected.dtype.name, expected.dtype.name)
    if got.dtype.name != wanted:
        raise Failure("dtype", f"The dtype is wrong{_at(path)}.", got.dtype.name, wanted, where=path or None)


def _compare_values(
    path: str, got: np.ndarray, expected: np.ndarray, length: int, magnitude: Any, atol: float | None
) -> None:
    exact = got.dtype.kind not in "fc"
    one, other = (got, expected) if exact else (got.astype(np.complex128), expected.astype(np.complex128))
    finite = np.isfinite(other)
    if not exact and not np.isfinite(one[finite]).all():
        index = _first(~np.isfinite(one) & finite)
        article = "an" if _number(got[index]).startswith("inf") else "a"
        raise Failure(
            "not finite",
            f"There is {article} {_number(got[index])} where a number was expected{_at(path)}.",
            _number(got[index]),
            _number(expected[index]),
            _where(path, index),
        )
    if exact:
        wrong = one != other
        error = np.abs(one.astype(float) - other.astype(float)) if got.dtype.kind in "iu" else wrong.astype(float)
    else:
        same = (one == other) | (np.isnan(one) & np.isnan(other))
        error = np.abs(np.subtract(one, other, out=np.full(one.shape, np.inf, one.dtype), where=finite))
        if atol is None:
            atol = tolerance(expected[finite], length, magnitude)
        wrong = ~(same | (finite & (error <= atol)))
    if not wrong.any():
        return
    index = _first(wrong & (error == np.max(np.where(wrong, error, -1))))
    count = int(wrong.sum())
    which = f"the worst of {count} wrong elements" if count > 1 else "the only wrong element"
    many = f", {which} of {got.size}" if got.size > 1 else ""
    raise Failure(
        "value",
        f"The {'values are' if got.size > 1 else 'value is'} wrong{_at(path)}.",
        _shown_beside(got, expected),
        _shown_beside(expected, got),
        (_where(path, index) + f": {_number(got[index])} instead of {_number(expected[index])}{many}")
        if got.size > 1
        else (path or None),
    )


def tolerance(expected: np.ndarray, length: int, magnitude: Any = None) -> Any:
    """The bound on the absolute error of a float32 result, a number or an array like `magnitude`.

    >>> round(tolerance(np.array([2.0]), length=10) / EPS)
    80
    """
    if magnitude is None:
        magnitude = np.max(np.abs(expected), initial=0.0)
    return SAFETY * EPS * max(length, 1) * np.maximum(np.abs(magnitude), float(np.finfo(np.float32).tiny))


def _longest_axis(actual: Any) -> int:
    inputs = lower(actual).inputs if isinstance(actual, Expression) else ()
    return max((size for array in inputs for size in array.shape), default=1)


def _at(path: str) -> str:
    return f" in {path}" if path else ""


def _where(path: str, index: tuple[int, ...]) -> str:
    inside = "[" + ", ".join(map(str, index)) + "]" if index else ""
    return f"at {path}{inside}" if path or inside else "the whole answer"


def _shape(array: np.ndarray) -> str:
    return f"shape {array.shape}" + (" (a single number)" if array.shape == () else "")


def _first(mask: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(mask)[0]) if mask.ndim else ()


def _number(x: Any, digits: int = 6) -> str:
    if np.asarray(x).dtype.kind in "fc":
        return f"{x:.{digits}g}"
    return str(x)


def show(array: np.ndarray, digits: int = 6) -> str:
    """An array for a message: whole where it is small, else its first elements and its shape.

    >>> show(np.array([[1.0, 2.5]])), show(np.arange(100))
    ('[[1, 2.5]]', '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...] of shape (100,)')
    """
    array = np.asarray(array)
    if array.ndim == 0:
        return _number(array[()], digits)
    if array.size > 2 * SHOWN:
        first = ", ".join(_number(x, digits) for x in array.ravel()[:SHOWN])
        return f"[{first}, ...] of shape {array.shape}"
    return "[" + ", ".join(show(row, digits) for row in array) + "]"


def _shown_beside(one: np.ndarray, other: np.ndarray) -> str:
    """With as many digits as it takes to tell the two apart."""
    digits = next((d for d in (6, 9, 17) if show(one, d) != show(other, d)), 17)
    return show(one, digits)


def _shown(given: Any) -> str | None:
    if given is None or isinstance(given, str):
        return given
    return show(np.asarray(given)) if isinstance(given, np.ndarray | np.generic) else plain.text(given, MAX_SHOWN)
