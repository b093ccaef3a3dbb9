"""Verbs that make a dataset of each element and take elements from those: flat_map, interleave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import jax

from aidl_jax.data.elements import Element, Spec, spec_of, tell_spec
from aidl_jax.data.iterator import block_of
from aidl_jax.data.mapping import arguments_of, name_of
from aidl_jax.data.once import cached_property
from aidl_jax.data.selecting import next_in_list
from aidl_jax.data.stage import UNKNOWN, Cursor, Run, Size, Stage, State, Verb
from aidl_jax.errors import DataError, tell_error

__all__ = ["MOST_SLOTS", "Interleaved"]

MOST_SLOTS = 16  # a state names a place in each, and is to stay under 1 KB


@dataclass(frozen=True, eq=False)
class Interleaved(Verb):
    """The elements of the datasets that a function makes of the input's elements, `slots` of those datasets at a time.

    From each open dataset `block_length` elements are taken, then it is the next one's turn; the slot of one that has ended takes in
    the input's next element when its turn comes again. `flat_map` has one slot. What the datasets draw at random is drawn for the
    epoch that this stage is in.

    Its state is, for each open slot, which of the input's elements it was made of and the state inside its dataset, and the input's
    state before the oldest of those elements. A jump costs what the datasets' own cost, after which a Sequential input is gone through
    from that oldest element on; over an Indexed input with Indexed datasets in it, it costs no more than opening them.
    """

    fn: Callable[..., Any]
    slots: int
    block_length: int
    given_spec: Spec | None = None
    passes_rows = False

    @property
    def verb(self) -> str:  # type: ignore[override]
        return "flat_map" if self.slots == 1 else "interleave"

    @property
    def size(self) -> Size:
        return 0 if self.input.size == 0 else UNKNOWN

    @property
    def arguments(self) -> str:
        if self.slots == 1:
            return name_of(self.fn)
        told = f", block_length={self.block_length}" if self.block_length != 1 else ""
        return f"{name_of(self.fn)}, cycle_length={self.slots}{told}"

    @property
    def note(self) -> str:
        return f"{self.slots} open at a time; resumed at the place in each" if self.slots > 1 else "one after the other"

    @cached_property
    def spec(self) -> Spec:
        if self.given_spec is not None:
            return self.given_spec
        with ExitStack() as closing:
            first = next_in_list(self.input.cursor(0, Run(closing=closing)))
        if not first:
            raise DataError(
                "there is no element that could show what the function makes of it",
                given="an empty dataset",
                where=str(self),
                fix=f"say what its elements are: {self.verb}(fn, ..., spec=...)",
            )
        return self.opened(first[0]).spec

    def opened(self, element: Element) -> Stage:
        """The dataset of one element.

        Raises:
            DataError: the function's answer is no dataset.
        """
        try:
            made = self.fn(*arguments_of(element))
        except Exception as error:
            raise DataError(
                f"the function given to {self.verb} raised an error",
                given=tell_error(error),
                where=f"{self} at the element {tell_spec(spec_of(element))}",
            ) from error
        stage = getattr(made, "stage", None)
        if not isinstance(stage, Stage):
            raise DataError(
                f"the function of a {self.verb} must make a dataset of each element",
                given=f"a {type(made).__name__}",
                expected="a Dataset",
                where=str(self),
                fix="return from_tensor_slices(...), range(...) or another dataset; map is for single elements",
            )
        return stage

    def checked(self, element: Element) -> Stage:
        """The dataset of one element, whose elements are what this stage's spec says."""
        stage = self.opened(element)
        if not _within(stage.spec, self.spec):
            raise DataError(
                f"the datasets of a {self.verb} differ",
                given=f"{tell_spec(stage.spec)} from the element {tell_spec(spec_of(element))}",
                expected=tell_spec(self.spec),
                where=str(self),
                fix=f"make all alike, or say {self.verb}(fn, ..., spec=...) with None for a size that differs",
            )
        return stage

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return _InterleaveCursor(self, epoch, run, state)


def _within(spec: Spec, wide: Spec) -> bool:
    """Whether elements of a spec are elements of another, which may leave sizes open."""
    if jax.tree.structure(spec) != jax.tree.structure(wide):
        return False
    pairs = zip(jax.tree.leaves(spec), jax.tree.leaves(wide), strict=True)
    return all(
        one.dtype == other.dtype
        and len(one.shape) == len(other.shape)
        and all(size in (None, mine) for mine, size in zip(one.shape, other.shape, strict=True))
        for one, other in pairs
    )


@dataclass
class _Open:
    """A dataset in a slot: which of the input's elements it was made of, the input's state before that, the place in it."""

    number: int
    before: State
    cursor: Cursor


class _InterleaveCursor:
    def __init__(self, stage: Interleaved, epoch: int, run: Run, state: State) -> None:
        self.stage, self.epoch, self.run = stage, epoch, replace(run, block=1)
        self.closing = [
            run.closing.enter_context(ExitStack()) for _ in range(stage.slots)
        ]  # what a slot opens is closed with it
        self.open: list[_Open | None] = [None] * stage.slots
        self.slot, self.taken, self.number, self.ended = 0, 0, 0, False
        self.coming: list[Element] = []  # one that no dataset could be made of yet, so that an error loses nothing
        self.before: State = None  # the input's state before that
        if state is None:
            self.outer = stage.input.cursor(epoch, self.run)
        else:
            self._restore(*state)

    def _restore(self, slot: int, taken: int, number: int, base: State, places: list[State]) -> None:
        self.slot, self.taken, self.number = slot, taken, number
        inner = {place[0]: (slot, place[1]) for slot, place in enumerate(places) if place is not None}
        indexed = self.stage.input.indexed
        self.outer = self.stage.input.cursor(self.epoch, self.run, number if indexed else base)
        elements = self._jumped(sorted(inner)) if indexed else self._replayed(min(inner, default=number), number)
        for one, before, element in elements:
            if one in inner:
                slot, place = inner[one]
                self.open[slot] = self._opened(slot, one, before, element, place)

    def _jumped(self, numbers: list[int]) -> Iterator[tuple[int, State, Element]]:
        """Elements of an Indexed input, each with its number and the state before it."""
        for one in numbers:
            yield one, None, next(self.stage.input.cursor(self.epoch, self.run, one))

    def _replayed(self, first: int, stop: int) -> Iterator[tuple[int, State, Element]]:
        """Elements of a Sequential input from the oldest that is open on."""
        for one in range(first, stop):
            yield one, self.outer.state(), next(self.outer)

    def _opened(self, slot: int, number: int, before: State, element: Element, inner: State) -> _Open:
        stage = self.stage.checked(element)
        run = replace(self.run, block=block_of(stage), closing=self.closing[slot])
        return _Open(number, before, stage.cursor(self.epoch, run, inner))

    def __next__(self) -> Element:
        while not self.ended or any(self.open):
            for element in self._turn():
                return element
        raise StopIteration

    def _turn(self) -> list[Element]:
        """What the slot whose turn it is gives, if anything."""
        here = self.open[self.slot]
        if here is None:
            self._open_next()
            return []
        element = next_in_list(here.cursor)
        self.taken += 1
        if not element:
            self._close(self.slot)
        if not element or self.taken == self.stage.block_length:
            self._pass_on()
        return element

    def _open_next(self) -> None:
        if not self.coming:
            self.before = self.outer.state()
            self.coming = next_in_list(self.outer)
        if self.coming:
            self.open[self.slot] = self._opened(self.slot, self.number, self.before, self.coming[0], None)
            self.number, self.coming = self.number + 1, []
        else:
            self.ended = True
            self._pass_on()

    def _close(self, slot: int) -> None:
        self.open[slot] = None
        self.closing[slot].close()

    def _pass_on(self) -> None:
        self.slot, self.taken = (self.slot + 1) % self.stage.slots, 0

    def state(self) -> State:
        places = [one and [one.number, one.cursor.state()] for one in self.open]
        return [self.slot, self.taken, self.number, None if self.stage.input.indexed else self._base(), places]

    def _base(self) -> State:
        """The input's state before the oldest element that is still needed."""
        opened = [one for one in self.open if one is not None]
        if opened:
            return min(opened, key=lambda one: one.number).before
        return self.before if self.coming else self.outer.state()
