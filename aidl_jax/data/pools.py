"""Threads that make what will be asked for: a bounded pool, its calls, and calls in order.

Threads never hold the iterator that they work for, so that one that is dropped ends them. A hand-off between threads is dear (some
10 microseconds), so what is handed over is a block of rows, or the call of a Python function that takes longer than that.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["Call", "CallCancelled", "Pool", "Pools", "in_order"]

T = TypeVar("T")


class CallCancelled(BaseException):
    """The pool was closed before the call was made. Only threads of a run that is over see it."""


class Call:
    """A call that a thread makes, and what came of it."""

    def __init__(self, fn: Callable[[], Any], done: SimpleQueue[Call] | None = None) -> None:
        self._fn: Callable[[], Any] | None = fn
        self._finished = threading.Lock()
        self._finished.acquire()
        self._value: Any = None
        self._error: BaseException | None = None
        self._done = done

    def make(self) -> None:
        """Makes the call, unless it was cancelled."""
        fn = self._fn
        try:
            if fn is None:
                self._error = CallCancelled()  # not raised: its frames would hold the iterator that closes the pool
            else:
                self._value = fn()
        except BaseException as error:
            self._error = error
        self._fn = fn = None
        self._finished.release()
        if self._done is not None:
            self._done.put(self)

    def cancel(self) -> None:
        """Leaves the call out if it has not begun."""
        self._fn = None

    def wait(self) -> None:
        """Waits until it has been made."""
        with self._finished:
            pass

    def result(self) -> Any:
        """What it returned or raised, to be asked for once; waits for it."""
        with self._finished:
            value, self._value = self._value, None
            error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return value
        finally:
            del error  # else the error would hold this frame, and this frame the error


class Pool:
    """At most `threads` threads, started as calls come, that make calls in the order in which they came."""

    def __init__(self, threads: int) -> None:
        self.limit = threads
        self.closed = False
        self.tuning, self.tuned = threading.Lock(), False
        self._lock = threading.RLock()  # the collector may close a pool while it is being used
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._working = 0

    def start(self, fn: Callable[[], Any], done: SimpleQueue[Call] | None = None) -> Call:
        """Puts a call in line; `done` gets it when it is finished."""
        call = Call(fn, done)
        with self._lock:
            if self.closed:
                _leave_out(call)
                return call
            if self._working < self.limit:
                self._working += 1
                thread = threading.Thread(target=_work, args=(self._calls,), name="aidl-data", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._calls.put(call)
        return call

    def resize(self, threads: int) -> None:
        """Lets threads go, or allows more."""
        with self._lock:
            for _ in range(self._working - threads):
                self._working -= 1
                self._calls.put(None)
            self.limit = threads

    def close(self) -> None:
        """Cancels what has not begun, waits for what has, and ends the threads."""
        with self._lock:
            self.closed = True
            for call in _all_of(self._calls):
                _leave_out(call)
            for _ in self._threads:
                self._calls.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():  # the collector may run this in one of them
                thread.join()


def _work(calls: SimpleQueue[Call | None]) -> None:
    for call in iter(calls.get, None):
        call.make()
        del call  # else the last one's result would stay while there is nothing to do


def _all_of(calls: SimpleQueue[Call | None]) -> Iterator[Call | None]:
    while True:
        try:
            yield calls.get_nowait()
        except Empty:
            return


def _leave_out(call: Call | None) -> None:
    """Tells who waits for a call that it will not be made."""
    if call is not None:
        call.cancel()
        call.make()


class Pools:
    """The pools of a run, by what closes them and by who asked for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: WeakKeyDictionary[ExitStack, dict[Any, Pool]] = WeakKeyDictionary()

    def of(self, closing: ExitStack, owner: Any, threads: int) -> Pool:
        """The owner's pool, made when it is asked for first."""
        with self._lock:
            pools = self._open.setdefault(closing, {})
            if owner not in pools:
                pools[owner] = Pool(threads)
                closing.callback(_close, pools, owner)
            return pools[owner]

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))


def _close(pools: dict[Any, Pool], owner: Any) -> None:
    pools.pop(owner).close()


def in_order(calls: Iterator[Callable[[], T]], pool: Pool, room: int) -> Iterator[T]:
    """What calls return, in their order, at most `room` of them made or under way before they are asked for."""
    coming: deque[Call] = deque()
    try:
        for fn in calls:
            coming.append(pool.start(fn))
            if len(coming) > room:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        for call in coming:
            call.cancel()
