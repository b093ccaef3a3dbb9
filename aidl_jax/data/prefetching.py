"""`prefetch`: elements are made by a thread before they are asked for, and copied to a device before they are used."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

from aidl_jax.data.autotune import AUTOTUNE
from aidl_jax.data.elements import Element, Listed, Rows, Spec, is_fixed, spec_of, tell_spec
from aidl_jax.data.mapping import refuse_64_bits
from aidl_jax.data.once import cached_property
from aidl_jax.data.pools import in_order
from aidl_jax.data.python_cursors import refuse_no_state
from aidl_jax.data.stage import At, Cursor, Run, Stage, State, Verb
from aidl_jax.errors import DataError

__all__ = ["Prefetched", "check_placing", "refuse_after_device"]


@dataclass(frozen=True, eq=False)
class Prefetched(Verb):
    """The same elements, made ahead. How far is no part of its description: a state says what was given, not what was made.

    Wherever it stands in a chain of Indexed verbs, the chain's last rows are what is made ahead, since that is what is asked for.
    """

    buffer_size: int
    device: Any = None
    verb = "prefetch"

    @property
    def arguments(self) -> str:
        return "" if self.device is None else "device"

    @property
    def note(self) -> str:
        chosen = " (AUTOTUNE: one is made while one is used; more helps where times vary)"
        told = f"up to {self.count} ahead{chosen if self.buffer_size == AUTOTUNE else ''}, by a thread"
        told += ", in whole blocks, of what the last Indexed verb gives" if self.indexed else ""
        return told if self.device is None else f"{told}; {self.count} on their way to {_told(self.device)}"

    @property
    def count(self) -> int:
        """Elements ahead."""
        return 2 if self.buffer_size == AUTOTUNE else self.buffer_size

    @property
    def held_ready(self) -> int:
        return self.count

    def rows(self, at: At, run: Run) -> Rows:
        rows = self.input.rows(at, run)
        return rows if self.device is None else Listed([self.placed(element) for element in rows])

    def cursor(self, epoch: int, run: Run, state: State = None) -> Cursor:
        if self.device is not None:
            return _DeviceCursor(self, partial(self._on_host.cursor, epoch, run), state)
        return super().cursor(epoch, run, state)

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return _AheadCursor(self, epoch, run, state)

    @cached_property
    def _on_host(self) -> Prefetched:
        return Prefetched(self.input, self.buffer_size)

    def placed(self, element: Element) -> Any:
        """The element on its way to the device.

        Raises:
            DataError: it cannot be divided over the devices.
        """
        if not is_fixed(self.spec):
            check_placing(spec_of(element), self.device)
        return jax.device_put(element, self.device)


def _told(device: Any) -> str:
    return f"{len(device.device_set)} devices" if isinstance(device, jax.sharding.Sharding) else str(device)


def check_placing(spec: Spec, device: Any) -> None:
    """Refuses what cannot be put there as it is; sizes that differ are left for later.

    Raises:
        DataError: a leaf that JAX would narrow, or that cannot be divided over the devices.
    """
    refuse_64_bits(spec, "prefetch")
    if not isinstance(device, jax.sharding.Sharding):
        return
    for path, leaf in jax.tree_util.tree_leaves_with_path(spec):
        try:
            if None not in leaf.shape:
                device.shard_shape(leaf.shape)
        except ValueError as error:
            raise DataError(
                f"a leaf cannot be divided over the devices{f' at {jax.tree_util.keystr(path)}' if path else ''}",
                given=f"{tell_spec(leaf)} for {device}",
                expected="sizes that are multiples of the numbers of devices they are divided over",
                where="prefetch",
                fix="choose such a batch_size, and batch(..., drop_remainder=True), so that the last is no shorter",
            ) from error


def refuse_after_device(stage: Stage) -> None:
    """Raises where a verb comes after a prefetch to a device."""
    for one in stage.inputs:
        if getattr(one, "device", None) is not None:
            raise DataError(
                "prefetch to a device is the last verb, since those after it compute on NumPy arrays",
                given=f"{stage.verb} after {one}",
                where=stage.verb,
                fix=f"put it before: .{stage.verb}(...).prefetch({one.buffer_size}, device=...)",  # type: ignore[attr-defined]
            )


class _AheadCursor:
    """A Sequential input, gone through by one thread. Its state is the input's after the element that was given last."""

    def __init__(self, stage: Prefetched, epoch: int, run: Run, state: State) -> None:
        _ = stage.spec  # made here: two threads that make specs could wait for each other
        self._stage, self._epoch, self._run = stage, epoch, run
        self._open(state)

    def _open(self, state: State) -> None:
        refuse_no_state(state)
        inner = self._stage.input.cursor(self._epoch, self._run, state)
        self._state = inner.state()
        pool = self._run.pool((self._stage, "ahead"), 1)
        self._steps: Iterator | None = in_order(itertools.repeat(partial(_step, inner)), pool, self._stage.count)

    def __next__(self) -> Element:
        if self._steps is None:  # after an error: what came in behind it is made again
            self._open(self._state)
        assert self._steps is not None
        try:
            step = next(self._steps)
        except BaseException:
            self._steps = None
            raise
        if step is None:
            raise StopIteration
        element, self._state = step
        return element

    def state(self) -> State:
        return self._state


def _step(inner: Cursor) -> tuple[Element, State] | None:
    """The next element and the state after it; None at the end."""
    try:
        element = next(inner)
    except StopIteration:
        return None
    return element, inner.state()


class _DeviceCursor:
    """Elements on their way to a device, `count` of them. Its state is the host's after the element that was given last."""

    def __init__(self, stage: Prefetched, open_host: Callable[[State], Cursor], state: State) -> None:
        self._stage, self._open_host = stage, open_host
        self._host: Cursor | None = open_host(state)
        self._state = self._host.state()
        self._coming: deque[tuple[Any, State]] = deque()
        self._trouble: Exception | None = None

    def __next__(self) -> Any:
        if self._host is None:  # after an error: what stands there is made again
            refuse_no_state(self._state)
            self._host = self._open_host(self._state)
        while len(self._coming) <= self._stage.count and self._trouble is None:
            try:
                step = _step(self._host)
                if step is None:
                    break
                self._coming.append((self._stage.placed(step[0]), step[1]))
            except Exception as error:
                self._trouble = error
        if not self._coming:
            trouble, self._trouble = self._trouble, None
            self._host = self._host if trouble is None else None
            raise trouble or StopIteration
        element, self._state = self._coming.popleft()
        return element

    def state(self) -> State:
        return self._state
