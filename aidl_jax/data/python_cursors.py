"""Going through a Sequential Python map: calls in order, some of them ahead, or in the order in which they are ready."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from aidl_jax.data.autotune import AUTOTUNE, FIRST_CALLS
from aidl_jax.data.elements import Element
from aidl_jax.data.pools import Call
from aidl_jax.data.stage import At, Run, Skipped, State
from aidl_jax.errors import DataError, tell_error

if TYPE_CHECKING:
    from aidl_jax.data.python_maps import PythonMapped

__all__ = ["CallsCursor", "NoState", "ReadyCursor", "has_no_state", "refuse_no_state"]


@dataclass(frozen=True)
class NoState:
    """Stands where a state would, in a pipeline that cannot be resumed."""

    reason: str


def refuse_no_state(state: State) -> None:
    """Raises where there is no state.

    Raises:
        DataError: a part of it is `NoState`.
    """
    for reason in _reasons(state):
        raise DataError(
            "a pipeline whose order is not fixed has no state, so it can be neither saved nor gone on with after an error",
            given=reason,
            where="state",
            fix="leave deterministic=False out of the map",
        )


def has_no_state(state: State) -> bool:
    """Whether a part of it is `NoState`."""
    return bool(_reasons(state))


def _reasons(state: State) -> list[str]:
    if isinstance(state, NoState):
        return [state.reason]
    return [reason for part in state for reason in _reasons(part)] if isinstance(state, list | tuple) else []


@dataclass(eq=False)
class UnderWay:
    """A call under way: the input's state before its element, its place, and itself; None where it is made when it is wanted."""

    before: State
    at: At
    fn: Callable[[], tuple[Any, Exception | None]]
    call: Call | None = None

    def outcome(self) -> tuple[Any, Exception | None]:
        return self.fn() if self.call is None else self.call.result()


class CallsCursor:
    """Calls in order, some of them ahead. Its state is the input's before the oldest, and that one's position."""

    def __init__(self, stage: PythonMapped, epoch: int, run: Run, state: State) -> None:
        before: State
        self.count, before = state or [0, None]  # the position of the element that comes in next
        self.stage, self.epoch, self.run = stage, epoch, run
        self.inner = stage.input.cursor(epoch, run, before)
        self.coming: deque[UnderWay] = deque()
        self.trouble: Exception | None = None  # the input's, after what came in before it

    def __next__(self) -> Element:
        while True:
            self._fill()
            under, outcome = self._take()
            error = outcome[1]
            if error is None or self.stage.on_error == "raise":
                try:
                    element = self.stage.checked(outcome, under.at, 0)
                except DataError:
                    self._put_back(under)
                    raise
                self._done(under)
                return element
            self._done(under)
            self._skip(error, int(under.at.positions[0]))
            del (
                under,
                outcome,
                error,
            )  # an error holds all frames above it, and through this one itself and the iterator

    def _take(self) -> tuple[UnderWay, tuple[Any, Exception | None]]:
        if not self.coming:
            trouble, self.trouble = self.trouble, None
            raise trouble or StopIteration
        return self.coming[0], self.coming[0].outcome()

    def _done(self, under: UnderWay) -> None:
        self.coming.popleft()

    def _put_back(self, under: UnderWay) -> None:
        """Who asks again after an error gets another call."""
        self._start([under])

    def _skip(self, error: Exception, position: int) -> None:
        stage = self.stage
        self.run.skipped.append(Skipped(stage.label, position, tell_error(error), stage.origin(self.epoch, position)))

    @property
    def _room(self) -> int:
        if self.stage.pool_size == 1:
            return 1
        pool = self.stage.pool(self.run)
        return FIRST_CALLS if self.stage.threads == AUTOTUNE and not pool.tuned else 2 * pool.limit

    def _fill(self) -> None:
        room = self._room
        new: list[UnderWay] = []
        while len(self.coming) < room and self.trouble is None:
            before = self.inner.state()
            try:
                element = next(self.inner)
            except StopIteration:
                break
            except Exception as error:
                self.trouble = error
                break
            at = At.span(self.epoch, self.count, self.count + 1)
            new.append(UnderWay(before, at, self.stage.calls([element], at)[0]))
            self.coming.append(new[-1])
            self.count += 1
        self._start(new)

    def _start(self, new: list[UnderWay]) -> None:
        if self.stage.pool_size > 1 and new:
            for under, call in zip(new, self.stage.started([one.fn for one in new], self.run), strict=True):
                under.call = call

    def state(self) -> State:
        if self.coming:
            return [int(self.coming[0].at.positions[0]), self.coming[0].before]
        return [self.count, self.inner.state()]


class ReadyCursor(CallsCursor):
    """Calls in the order in which they are ready."""

    def __init__(self, stage: PythonMapped, epoch: int, run: Run, state: State) -> None:
        super().__init__(stage, epoch, run, None)
        self.ready: SimpleQueue[Call] = SimpleQueue()

    def _start(self, new: list[UnderWay]) -> None:
        if self.stage.threads == AUTOTUNE and not self.stage.pool(self.run).tuned:
            super()._start(new)
            for under in new:
                self.ready.put(under.call)  # type: ignore[arg-type]
            return
        pool = self.stage.pool(self.run)
        for under in new:
            under.call = pool.start(under.fn, self.ready)

    def _take(self) -> tuple[UnderWay, tuple[Any, Exception | None]]:
        if not self.coming:
            return super()._take()
        call = self.ready.get()
        return next(one for one in self.coming if one.call is call), call.result()

    def _done(self, under: UnderWay) -> None:
        self.coming.remove(under)

    def state(self) -> State:
        return NoState(f"{self.stage.label} gives elements in the order in which they are ready")
