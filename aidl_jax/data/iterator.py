"""Going through a dataset: the iterator, its state, and the end of data."""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from aidl_jax.data.ahead import rows_each
from aidl_jax.data.elements import Element
from aidl_jax.data.explaining import explain
from aidl_jax.data.python_cursors import has_no_state, refuse_no_state
from aidl_jax.data.stage import UNKNOWN, Cursor, Run, Skipped, Stage, State
from aidl_jax.errors import DataError

__all__ = ["DataIterator", "EndOfDataError", "block_of"]

FORMAT = 1
MOST_BYTES = 1024  # of a state as JSON
BLOCK_BYTES = 2**23  # what a block of rows may weigh: large blocks need few calls, small ones come soon
MOST_ROWS = 64


class EndOfDataError(StopIteration):
    """There is no further element, and will be none.

    It is a `StopIteration`, which ends a `for`; inside of a generator function use `for` rather than `get_next`.
    """


class DataIterator:
    """One going through a dataset, from its beginning or from a state.

    `next(iterator)`, `iterator.get_next()` and `for` give one element after another; at the end all of them raise
    `EndOfDataError`, a `StopIteration`, again and again. After another error, who asks again gets the same element tried again.

    Its threads and files end with the data, with `close()` or `with`, and when nobody holds it any more. An error or Ctrl-C ends its
    threads, too; they start again if it is asked again.

    Args:
        stage: what is gone through.
        state: where to begin; None for the beginning.
        instead: what makes the elements, where those of an equal pipeline over something else are wanted; the state stays the stage's.
    """

    def __init__(self, stage: Stage, state: dict[str, Any] | None = None, *, instead: Stage | None = None) -> None:
        self._stage, self._makes = stage, instead or stage
        self._closing = ExitStack()
        self._finalizer = weakref.finalize(self, self._closing.close)
        self._open(None if state is None else _position(stage, state))

    def _open(self, position: State) -> None:
        self._run = Run(block_of(self._makes), self._closing)
        try:
            self._cursor: Cursor | None = self._makes.cursor(0, self._run, position)
        except (TypeError, ValueError, IndexError) as error:
            if position is None:
                raise
            raise DataError(
                "the place in this state is malformed",
                given=repr(position)[:80],
                fix="pass what iterator.state() returned",
            ) from error
        self._at: State = position  # where it stands while there is no cursor
        self._ended = False

    def __iter__(self) -> Iterator[Element]:
        return self

    def __next__(self) -> Element:
        if self._ended:
            raise self._end()
        if self._cursor is None:
            skipped = self._run.skipped
            self._open(self._at)
            self._run.skipped[:0] = skipped
        assert self._cursor is not None
        try:
            return next(self._cursor)
        except StopIteration:
            self.close()
            raise self._end() from None
        except BaseException:
            self._rest()
            raise

    def _rest(self) -> None:
        """Ends the threads, if there are any; the next call opens the pipeline again where it stands."""
        assert self._cursor is not None
        at = self._cursor.state()
        if len(self._run.pools) and not has_no_state(at):
            self._at, self._cursor = at, None
            self._closing.close()

    def _end(self) -> EndOfDataError:
        return EndOfDataError(f"the data end here: {_told(self._stage)}. Use `for`, or repeat() for more epochs")

    def __repr__(self) -> str:
        return f"<DataIterator {_told(self._stage)}{' at its end' if self._ended else ''}>"

    def get_next(self) -> Element:
        """The next element.

        Raises:
            EndOfDataError: there is none.
        """
        return next(self)

    def state(self) -> dict[str, Any]:
        """Where it stands, as JSON of less than 1 KB: an iterator restored from it goes on with the next element.

        Raises:
            DataError: a map with deterministic=False is in the pipeline.
        """
        at = self._at if self._cursor is None else self._cursor.state()
        refuse_no_state(at)
        state = {"format": FORMAT, "pipeline": _told(self._stage), "digest": _digest(self._stage), "at": at}
        if len(json.dumps(state)) >= MOST_BYTES:
            raise DataError(
                "the place in this pipeline takes more than a state may",
                given=f"{len(json.dumps(state)):,} bytes",
                expected=f"less than {MOST_BYTES:,}",
                where="state",
                fix="lower the cycle_length of interleaves that stand in one another, or interleave fewer datasets",
            )
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where the state says, which may have been saved by another process.

        Raises:
            DataError: it is another pipeline's, or no state.
        """
        position = _position(self._stage, state)
        self._closing.close()
        self._open(position)

    @property
    def skipped(self) -> list[Skipped]:
        """What `on_error="skip"` left out since it was opened or restored."""
        return list(self._run.skipped)

    @property
    def choices(self) -> dict[str, str]:
        """What AUTOTUNE chose so far, by stage, and why."""
        return dict(self._run.choices)

    def explain(self) -> str:
        """The plan, and what AUTOTUNE chose and why."""
        return explain(self._stage, self._run.block, self._run.choices)

    def close(self) -> None:
        """Ends its threads and files; afterwards it is at its end."""
        self._ended = True
        self._closing.close()

    def __enter__(self) -> DataIterator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def block_of(stage: Stage) -> int:
    """How many elements are made at once: as many as a block may weigh, at most 64; one where Python makes them."""
    stages = list(rows_each(stage, 1.0))
    if not stage.indexed or stage.size is UNKNOWN or any(one.calls_at_once for one, _ in stages):
        return 1
    heaviest = max(one.element_bytes * rows for one, rows in stages)
    return int(max(1, min(MOST_ROWS if heaviest > 64 else 64 * MOST_ROWS, BLOCK_BYTES // max(heaviest, 1))))


def _told(stage: Stage) -> str:
    told = str(stage)
    return told if len(told) <= 500 else f"{told[:240]} ... {told[-240:]}"


def _digest(stage: Stage) -> str:
    return hashlib.blake2b(str(stage).encode(), digest_size=8).hexdigest()


def _position(stage: Stage, state: Any) -> Any:
    if not isinstance(state, dict) or not {"format", "pipeline", "digest", "at"} <= state.keys():
        raise DataError(
            "this is no state of a data iterator",
            given=repr(state)[:80],
            expected='a dict with "format", "pipeline", "digest" and "at"',
            fix="pass what iterator.state() returned",
        )
    if state["format"] != FORMAT:
        raise DataError(
            "the state has another format",
            given=str(state["format"]),
            expected=str(FORMAT),
            fix="restore it with the version of aidl_jax that saved it",
        )
    if state["digest"] != _digest(stage):
        raise DataError(
            "the state belongs to another pipeline",
            given=str(state["pipeline"]),
            expected=_told(stage),
            fix="restore it into the pipeline that it was saved from, or begin anew without a state",
        )
    return state["at"]
