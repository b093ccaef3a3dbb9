"""`map(fn, python=True)`: ordinary Python, in the calling thread or in a bounded pool of threads, in order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import numpy as np

from aidl_jax.data.autotune import AUTOTUNE, FIRST_CALLS, MOST_THREADS, tuned
from aidl_jax.data.conforming import conforming
from aidl_jax.data.elements import (
    Element,
    Listed,
    Rows,
    Spec,
    Stacked,
    as_element,
    frozen,
    is_fixed,
    spec_of,
    tell_spec,
)
from aidl_jax.data.keys import key_data
from aidl_jax.data.mapping import arguments_of, name_of
from aidl_jax.data.once import cached_property
from aidl_jax.data.pools import Call, Pool
from aidl_jax.data.python_cursors import CallsCursor, ReadyCursor
from aidl_jax.data.stage import INFINITE, UNKNOWN, At, Cursor, Run, Size, State, Verb
from aidl_jax.errors import DataError, tell_error

__all__ = ["OnError", "PythonMapped", "check_options"]

OnError = Literal["raise", "skip"]


@dataclass(frozen=True, eq=False)
class PythonMapped(Verb):
    """A Python function of each element, and of a key where it is keyed.

    Indexed over an Indexed input, if the order is kept and no element is left out. How many threads there are is no part of its
    description, since it changes nothing: a state saved with 4 threads is restored with 8.
    """

    fn: Callable[..., Any]
    keyed: bool
    seed: int
    threads: int | None
    deterministic: bool
    on_error: OnError
    declared: Spec
    verb = "map"

    @property
    def indexed(self) -> bool:
        return self.input.indexed and self.deterministic and self.on_error == "raise"

    @property
    def size(self) -> Size:
        return UNKNOWN if self.on_error == "skip" and self.input.size not in (0, INFINITE) else self.input.size

    @property
    def label(self) -> str:
        """What it is called in errors."""
        return f"map({self.arguments})"

    @property
    def arguments(self) -> str:
        told = f"{name_of(self.fn)}, python=True" + (f", keyed=True, seed={self.seed}" if self.keyed else "")
        told += "" if self.deterministic else ", deterministic=False"
        return told + (', on_error="skip"' if self.on_error == "skip" else "")

    @property
    def note(self) -> str:
        told = "Python, " + ("one element after another" if self.pool_size == 1 else f"in {self._threads_told} threads")
        told += "" if self.deterministic else "; in the order in which they are ready, so it has no state"
        told += "; what fails is left out and listed" if self.on_error == "skip" else ""
        return told + ("; a key from (seed, epoch, position)" if self.keyed else "")

    @property
    def _threads_told(self) -> str:
        return f"at most {MOST_THREADS}, AUTOTUNE's choice of" if self.threads == AUTOTUNE else str(self.threads)

    @property
    def pool_size(self) -> int:
        """How many calls are under way at most."""
        return MOST_THREADS if self.threads == AUTOTUNE else self.threads or 1

    @property
    def calls_at_once(self) -> int:
        return FIRST_CALLS // 2 if self.threads == AUTOTUNE else self.pool_size

    @cached_property
    def spec(self) -> Spec:
        """The one declared, or that of what the function makes of the first element, for which it is called once."""
        return self._first() if self.declared is None else self.declared

    def _first(self) -> Spec:
        position = 0
        with ExitStack() as closing:
            for element in self._elements(Run(closing=closing)):
                made, error = self.outcome(element, 0, position, self.key_data(At.span(0, position, position + 1))[0])
                if error is None:
                    self._refuse_nothing(made, 0, position)
                    return spec_of(as_element(made))
                if self.on_error == "raise":
                    raise self.failure(error, 0, position) from error
                del error  # it holds this frame
                position += 1
        raise DataError(
            "there is no element that could show what the function makes of it",
            given="an empty dataset" if not position else f"{position} elements, all of which fail",
            where=self.label,
            fix="say what its elements are: map(fn, python=True, spec=jax.ShapeDtypeStruct(shape, dtype))",
        )

    def _elements(self, run: Run) -> Iterator[Element]:
        """The input's elements of epoch 0, made no earlier than they are wanted where that can be."""
        if not self.input.indexed:
            inner = self.input.cursor(0, run)
            yield from iter(partial(next, inner, inner), inner)
            return
        places = itertools.count() if self.input.size == INFINITE else range(int(self.input.size))  # type: ignore[arg-type]
        for place in places:
            yield from self.input.rows(At.span(0, place, place + 1), run)

    def key_data(self, at: At) -> np.ndarray | list[None]:
        """What the keys at these places are made of."""
        return key_data(self.seed, at, self.label) if self.keyed else [None] * len(at)

    def outcome(self, element: Element, epoch: int, position: int, key: Any) -> tuple[Any, Exception | None]:
        """What the function returned, or raised."""
        keys = () if key is None else (jax.random.wrap_key_data(key),)
        try:
            return self.fn(*keys, *arguments_of(element)), None
        except Exception as error:
            return None, error

    def calls(self, elements: Sequence[Element], at: At) -> list[Callable[[], tuple[Any, Exception | None]]]:
        """The call for each element."""
        keys = self.key_data(at)
        places = zip(at.epochs.tolist(), at.positions.tolist(), strict=True)
        return [partial(self.outcome, one, *place, key) for one, place, key in zip(elements, places, keys, strict=True)]

    def started(self, calls: Sequence[Callable[[], Any]], run: Run) -> list[Call]:
        """The calls, under way in the run's threads; the first of a run are measured where that is asked for."""
        pool = self.pool(run)
        if self.threads != AUTOTUNE:
            return [pool.start(fn) for fn in calls]
        with pool.tuning:
            if pool.tuned:
                return [pool.start(fn) for fn in calls]
            made, measured = tuned(calls, pool)
            run.choices[self.label] = str(measured)
            pool.tuned = True
            return made

    def pool(self, run: Run) -> Pool:
        """Its threads."""
        return run.pool((self, "calls"), self.pool_size)

    def rows(self, at: At, run: Run) -> Rows:
        elements = list(self.input.rows(at, run))
        calls = self.calls(elements, at)
        if self.pool_size == 1:
            return self._together([self.checked(call(), at, number) for number, call in enumerate(calls)])
        started = self.started(calls, run)
        try:
            return self._together([self.checked(call.result(), at, number) for number, call in enumerate(started)])
        finally:
            for call in started:
                call.cancel()

    def _together(self, elements: list[Element]) -> Rows:
        """The rows of elements that are known to fit the spec."""
        if not elements or not is_fixed(self.spec):
            return Listed(elements)
        columns = zip(*map(jax.tree.leaves, elements), strict=True)
        return Stacked([frozen(np.stack(column)) for column in columns], jax.tree.structure(self.spec), len(elements))

    def checked(self, outcome: tuple[Any, Exception | None], at: At, number: int) -> Element:
        """The element that was made.

        Raises:
            DataError: the function raised, or returned what its spec does not say.
        """
        made, error = outcome
        epoch, position = int(at.epochs[number]), int(at.positions[number])
        if error is not None:
            raise self.failure(error, epoch, position) from error
        self._refuse_nothing(made, epoch, position)
        try:
            return conforming(made, self.spec, "")
        except DataError as mismatch:
            raise self._mismatch(mismatch, self.where(epoch, position)) from None

    def _refuse_nothing(self, made: Any, epoch: int, position: int) -> None:
        if made is None:
            raise DataError(
                "the function of a map returned None, as one without a return statement does",
                where=self.where(epoch, position),
                fix="return the new element",
            )

    def _mismatch(self, found: DataError, where: str) -> DataError:
        """A result that its spec does not say, with the place; told here, since to look for it takes longer than most functions."""
        if self.declared is not None:
            return DataError(found.what, given=found.given, expected=found.expected, where=where, fix=found.fix)
        return DataError(
            found.what,
            given=found.given,
            expected=f"{found.expected}, as it made of the first element",
            where=where,
            fix="make all alike, or say what they are, with None for a size that differs: "
            f"map(fn, python=True, spec=...) where it now is {tell_spec(self.spec)}",
        )

    def failure(self, error: Exception, epoch: int, position: int) -> DataError:
        """An error of the function, with the place that it happened at."""
        fix = 'repair the function or the data; on_error="skip" leaves such elements out and lists them in iterator.skipped'
        if isinstance(error, ValueError) and "read-only" in str(error):
            fix = "elements share memory with their source: copy before writing, x = x.copy()"
        return DataError(
            "the function of a map failed",
            given=tell_error(error),
            where=self.where(epoch, position),
            fix=fix,
        )

    def where(self, epoch: int, position: int) -> str:
        """A place in words."""
        return f"{self.label} at position {position} ({self.origin(epoch, position) or f'epoch {epoch}'})"

    def origin(self, epoch: int, position: int) -> str | None:
        """Where the element at a place came from, if that is known."""
        if not self.input.indexed:
            return None
        origins = self.input.origins(At.span(epoch, position, position + 1))
        more = f" and {len(origins) - 1} more" if len(origins) > 1 else ""
        return f"{origins[0]}{more}" if origins else None

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return (CallsCursor if self.deterministic else ReadyCursor)(self, epoch, run, state)


def check_options(python: bool, deterministic: bool, on_error: Any, spec: Spec, calls: Any) -> None:
    """Refuses options of a map that say nothing.

    Raises:
        DataError: an option of Python maps for a traced one; a value that is none.
    """
    given = [("deterministic=False", not deterministic), (f"on_error={on_error!r}", on_error != "raise")]
    asked = [told for told, is_asked in [*given, ("spec=...", spec is not None)] if is_asked]
    if asked and not python:
        raise DataError(
            "this is for Python maps, and the function of this map is traced: it cannot fail at an element, needs no threads, "
            "and shows what it returns",
            given=", ".join(asked),
            where="map",
            fix="say map(fn, python=True, ...) if fn is ordinary Python, or leave it out",
        )
    if on_error not in ("raise", "skip"):
        raise DataError("on_error says nothing", given=repr(on_error), expected='"raise" or "skip"', where="map")
    is_count = isinstance(calls, int | np.integer) and not isinstance(calls, bool) and (calls >= 1 or calls == AUTOTUNE)
    if calls is not None and not is_count:
        raise DataError(
            "num_parallel_calls is no number of threads",
            given=repr(calls),
            expected="None, a whole number of at least 1, or AUTOTUNE",
            where="map",
            fix="num_parallel_calls=4",
        )
    if not deterministic and calls in (None, 1):
        raise DataError(
            "elements can be ready in another order only where several calls are under way",
            given=f"deterministic=False, num_parallel_calls={calls}",
            where="map",
            fix="num_parallel_calls=4, or leave deterministic=False out",
        )
    if any(not isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(spec)):
        raise DataError(
            "a spec is made of shapes and dtypes",
            given=repr(spec)[:80],
            expected="a pytree of jax.ShapeDtypeStruct",
            where="map",
            fix="spec=jax.ShapeDtypeStruct((28, 28), np.float32)",
        )
