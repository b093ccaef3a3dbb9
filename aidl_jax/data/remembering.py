"""Verbs that remember what came before: scan, unique, bucket_by_length.

What they remember can be large, so it is in no state: a state is how many elements of the epoch were given, and resuming goes
through the epoch again up to there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from aidl_jax.data.batching import Batched
from aidl_jax.data.elements import Element, Spec, as_element, frozen, spec_of, tell_spec
from aidl_jax.data.mapping import Mapped, arguments_of, name_of
from aidl_jax.data.once import cached_property
from aidl_jax.data.padding import Padding
from aidl_jax.data.selecting import next_in_list
from aidl_jax.data.stage import UNKNOWN, Cursor, Run, Size, Stage, State, Verb
from aidl_jax.errors import DataError, tell_error

__all__ = ["Bucketed", "Scanned", "Unique", "bucketed", "scanned"]

AGAIN = "resumed by going through the epoch again"


@dataclass(frozen=True, eq=False)
class Remembering(Verb):
    """A verb that goes through an epoch from its beginning."""

    passes_rows = False

    def walked(self, inner: Cursor, run: Run) -> Iterator[Element]:
        """Its elements, of a cursor over its input."""
        raise NotImplementedError

    def walk(self, epoch: int, run: Run, state: State) -> Cursor:
        return _ReplayCursor(self, epoch, run, state)


class _ReplayCursor:
    """Its state is how many elements it has given. After an error it goes through the epoch again."""

    def __init__(self, stage: Remembering, epoch: int, run: Run, state: State) -> None:
        self.stage, self.epoch, self.run = stage, epoch, run
        self.given = 0 if state is None else int(state)
        self.elements: Iterator[Element] | None = None

    def __next__(self) -> Element:
        if self.elements is None:
            elements = self.stage.walked(self.stage.input.cursor(self.epoch, self.run), self.run)
            for _ in range(self.given):
                next(elements)
            self.elements = elements
        try:
            element = next(self.elements)
        except StopIteration:
            raise
        except BaseException:
            self.elements = None
            raise
        self.given += 1
        return element

    def state(self) -> State:
        return self.given


class _Step(Mapped):
    """A traced function from a state and an element to the next state and an output."""

    verb = "scan"

    def call(self, place: Any, *arguments: Any) -> Any:
        state, element = arguments
        return self.fn(state, *arguments_of(element))


@dataclass(frozen=True, eq=False)
class Scanned(Remembering):
    """The outputs of a function that hands a state from element to element."""

    initial: Element
    fn: Callable[..., Any]
    verb = "scan"

    @property
    def arguments(self) -> str:
        return f"{tell_spec(spec_of(self.initial))}, {name_of(self.fn)}"

    @property
    def note(self) -> str:
        return f"compiled, one element after another; {AGAIN}"

    @cached_property
    def step(self) -> _Step:
        """The function as a traced map of pairs."""
        return _Step(self.input, self.fn, False, 0)

    @cached_property
    def spec(self) -> Spec:
        before = spec_of(self.initial)
        made = self.step.result_spec((before, self.input.spec))
        if not (type(made) is tuple and len(made) == 2 and made[0] == before):
            raise DataError(
                "the function of a scan must return a state like the one that it is given, and an output",
                given=tell_spec(made),
                expected=f"({tell_spec(before)}, ...)",
                where=str(self),
                fix="return state, output; give the initial state the shape and dtype that it is to have, such as np.float32(0)",
            )
        return made[1]

    @cached_property
    def compiled(self) -> Callable[..., Any]:
        """One step, without dimensions for rows."""
        return jax.jit(lambda state, element: self.step.call(None, state, element))

    def walked(self, inner: Cursor, run: Run) -> Iterator[Element]:
        _ = self.spec
        state: Any = self.initial
        while found := next_in_list(inner):
            state, output = self.compiled(state, found[0])
            yield jax.tree.map(lambda leaf: frozen(np.asarray(leaf)), output)


@dataclass(frozen=True, eq=False)
class Unique(Remembering):
    """Elements that have not come before in the epoch; a hash of each is remembered, 16 bytes."""

    verb = "unique"

    @property
    def size(self) -> Size:
        return 0 if self.input.size == 0 else UNKNOWN

    @property
    def note(self) -> str:
        return f"remembers 16 bytes for each; {AGAIN}"

    def walked(self, inner: Cursor, run: Run) -> Iterator[Element]:
        seen: set[bytes] = set()
        while found := next_in_list(inner):
            mark = _mark(found[0])
            if mark not in seen:
                seen.add(mark)
                yield found[0]


def _mark(element: Element) -> bytes:
    """A hash that is the same for equal elements: of bits, so that NaN is itself and -0.0 is not 0.0."""
    digest = hashlib.blake2b(digest_size=16)
    for leaf in jax.tree.leaves(element):
        content = repr(leaf.tolist()).encode() if leaf.dtype == object else np.ascontiguousarray(leaf).tobytes()
        digest.update(f"{leaf.dtype}{leaf.shape}{len(content)}:".encode() + content)
    return digest.digest()


@dataclass(frozen=True, eq=False)
class Bucketed(Remembering):
    """Padded batches of elements of like length: bucket i takes those below `boundaries[i]`, the last one the rest."""

    length: Callable[..., Any]
    boundaries: Sequence[int]
    batch_sizes: Sequence[int]
    drop_remainder: bool
    padding: Padding
    verb = "bucket_by_length"

    @property
    def size(self) -> Size:
        return 0 if self.input.size == 0 else UNKNOWN

    @cached_property
    def batches(self) -> list[Batched]:
        """One padded batch for each bucket."""
        return [Batched(self.input, size, size, 1, self.drop_remainder, self.padding) for size in self.batch_sizes]

    @property
    def spec(self) -> Spec:
        fixed = self.drop_remainder and len(set(self.batch_sizes)) == 1
        first = self.batch_sizes[0] if fixed else None
        leaves, structure = jax.tree.flatten(self.batches[0].spec)
        return structure.unflatten([jax.ShapeDtypeStruct((first, *leaf.shape[1:]), leaf.dtype) for leaf in leaves])

    @property
    def arguments(self) -> str:
        told = f"{name_of(self.length)}, {list(self.boundaries)}, {list(self.batch_sizes)}, {self.padding}"
        return told + (", drop_remainder=True" if self.drop_remainder else "")

    @property
    def note(self) -> str:
        return f"Python, one element at a time, in {len(self.batch_sizes)} buckets; {AGAIN}"

    def bucket(self, element: Element, count: int) -> int:
        """Which bucket element `count` of an epoch falls into."""
        where = f"bucket_by_length({name_of(self.length)}) at element {count}"
        try:
            length = self.length(*arguments_of(element))
        except Exception as error:
            raise DataError("the length function raised an error", given=tell_error(error), where=where) from error
        if np.shape(length) != () or np.asarray(length).dtype.kind not in "iu":
            raise DataError(
                "a length is one whole number", given=repr(length)[:80], where=where, fix="lambda element: len(element)"
            )
        return int(np.searchsorted(self.boundaries, int(length), side="right"))

    def walked(self, inner: Cursor, run: Run) -> Iterator[Element]:
        held: list[list[Element]] = [[] for _ in self.batch_sizes]
        count = 0
        while found := next_in_list(inner):
            number = self.bucket(found[0], count)
            count += 1
            held[number].append(found[0])
            if len(held[number]) == self.batch_sizes[number]:
                yield self.batches[number].group(held[number])
                held[number] = []
        for number, rest in enumerate(held):
            if rest and not self.drop_remainder:
                yield self.batches[number].group(rest)


def scanned(stage: Stage, initial: Any, fn: Callable[..., Any]) -> Scanned:
    """The stage of `Dataset.scan`, its function traced once."""
    made = Scanned(stage, as_element(initial), fn)
    _ = made.spec
    return made


def bucketed(
    stage: Stage,
    length: Callable[..., Any],
    boundaries: Sequence[int],
    batch_sizes: Sequence[int],
    drop_remainder: bool,
    padding: Padding,
) -> Bucketed:
    """The stage of `Dataset.bucket_by_length`.

    Raises:
        DataError: boundaries that do not rise, or not one batch size more than there are boundaries.
    """
    if not boundaries or list(boundaries) != sorted(set(boundaries)):
        raise DataError(
            "boundaries must rise",
            given=repr(list(boundaries)),
            where="bucket_by_length",
            fix="boundaries=[10, 20, 40]",
        )
    if len(batch_sizes) != len(boundaries) + 1 or min(batch_sizes) < 1:
        raise DataError(
            "each bucket needs a batch size of at least 1",
            given=f"{list(batch_sizes)} for the boundaries {list(boundaries)}",
            expected=f"{len(boundaries) + 1} of them: one more than boundaries, for what is longer than the last",
            where="bucket_by_length",
        )
    return Bucketed(stage, length, tuple(boundaries), tuple(batch_sizes), drop_remainder, padding)
