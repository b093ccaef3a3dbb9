"""Errors that carry their own fix: what was wrong, given, expected, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class AidlError(Exception):
    """The base of every error this package raises on purpose.

    Args:
        what: what was wrong, one sentence without a full stop.
        given: what was given.
        expected: what was expected instead.
        where: the file, line, pytree path or record it happened in.
        fix: what to do about it.

    >>> print(AidlError("the seed is not a number", given="'abc'", fix="pass --seed 7"))
    the seed is not a number: given 'abc'. Fix: pass --seed 7
    """

    def __init__(
        self,
        what: str,
        *,
        given: str | None = None,
        expected: str | None = None,
        where: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.what, self.given, self.expected = what, given, expected
        self.where, self.fix = where, fix
        super().__init__(self._sentence())

    def __reduce__(self) -> Any:
        """For pickle: an error that another process raised is rebuilt as it was, since kinds are made of different arguments."""
        return _rebuild, (type(self), self.args), self.__dict__

    def _sentence(self) -> str:
        return f"{self.where}: {self.told}" if self.where else self.told

    @property
    def told(self) -> str:
        """The sentence without where it happened."""
        details = [f"given {self.given}"] if self.given is not None else []
        details += [f"expected {self.expected}"] if self.expected is not None else []
        text = f"{self.what}: {', '.join(details)}" if details else self.what
        return f"{text}. Fix: {self.fix}" if self.fix else text


def _rebuild(kind: type[AidlError], parts: tuple[Any, ...]) -> AidlError:
    return kind.__new__(kind, *parts)


class UsageError(AidlError):
    """What the user asked for cannot be done as asked (exit code 2)."""


class GraphError(AidlError):
    """What is asked of a graph, or of a state, that it cannot give."""


class AutodiffError(AidlError):
    """What cannot be differentiated as asked: an integer, a loss of many numbers, an operation without a rule."""


class ScopeError(AidlError):
    """A variable that is there already, is not there, or is not what was expected."""


class OptimizerError(AidlError):
    """An optimizer, a schedule or a race that cannot be made of what was given."""


class OpError(AidlError):
    """An operation, a loss, a model or an initializer was given what does not fit: a shape, a dtype, a range."""


class DataError(AidlError):
    """A dataset that cannot be made, read or resumed as asked; or what an element's way through it raised."""


class TrainError(AidlError):
    """A training run that cannot be made, cannot go on, or cannot be resumed as asked."""


class ServeError(AidlError):
    """A trained model that cannot be exported, loaded or asked as given: a damaged file, another version, an example that does not fit."""


class CourseError(AidlError):
    """An author's mistake in a course: a source file, a check, a wrong answer."""


class HandInError(AidlError):
    """A hand-in that cannot be read: not a notebook, not a zip, too large."""


class ProtocolError(AidlError):
    """A message between the three processes that is not what was agreed."""


def close_matches(name: str, names: Iterable[str]) -> str:
    """A fix that names what is there, the closest first.

    >>> close_matches("predic", ["update", "predict"])
    "did you mean 'predict'?"
    """
    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=3)
    if close:
        return "did you mean " + " or ".join(map(repr, close)) + "?"
    return f"choose from {', '.join(map(repr, known))}" if known else "there are none yet"


def tell_error(error: BaseException) -> str:
    """Another's error in one line: its kind, and the first line of what it says.

    >>> tell_error(ValueError("too long\\nby 3"))
    'ValueError: too long'
    >>> tell_error(KeyError())
    'KeyError'
    """
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
