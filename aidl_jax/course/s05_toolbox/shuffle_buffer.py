"""A shuffle buffer: Python by nature. The judge serves the stream, so it knows what was held and when."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from aidl_jax.exercise import (
    Draw,
    Exercise,
    Expression,
    Hints,
    Student,
    Transcript,
    expect_error,
    iterate,
    require,
    static,
    stream,
)

if TYPE_CHECKING:  # wrong answers run where student code runs; this name is there

    def take(stream: Any, count: int) -> Iterator[Any]: ...


exercise = Exercise("A shuffle buffer", forbidden=["tensorflow", "torch", "grain", "aidl_jax.data"])


def run(expression: Expression, items: Sequence[int], limit: int | None = None) -> Transcript:
    """Runs a generator that must yield what it was fed: integers out of `items`, whatever else it does wrong.

    It must come to its end by itself, unless a `limit` of outputs is given.
    """
    got = iterate(expression, limit or 2 * len(items) + 8)
    strange = [output for output in got.outputs if type(output) is not int or output not in items]
    require(
        not strange,
        "It yielded something that is not an element of the stream: hand the elements on as they are.",
        got=repr(strange[:1]).strip("[]")[:200],
    )
    require(
        limit or got.ended,
        "It goes on when every element has come out: nothing ends the loop. When the stream has ended and nothing is "
        "left to yield, return.",
        got=first(got.outputs),
    )
    return got


def first(outputs: Sequence[Any]) -> str:
    """The beginning of a long list, and that there is more."""
    return f"{outputs[:10]}".replace("]", ", ...]" if len(outputs) > 10 else "]")


take_task = exercise.task(
    "take",
    points=1,
    hints=Hints(
        concept="Count first, then ask: an element may be pulled only if it will be yielded.",
        where="`for element in stream` asks for an element before your code can stop it. `next(stream)` asks when you say "
        "so, and raises StopIteration at the end of the stream.",
        almost_code="for _ in range(count):\n    try: element = next(...)\n    except StopIteration: return\n    yield ...",
    ),
)


@take_task.check
def yields_the_first(student: Student, draw: Draw) -> None:
    """It yields the first elements in order, then ends."""
    items = draw.integers(0, 100, 8).tolist()
    got = run(student.take(stream(items), static(5)), items)
    require(len(got.outputs) <= 5, "It yields more than `count` elements.", got=got.outputs, expected=items[:5])
    require(got.outputs == items[:5], "These are not the first 5 elements.", got=got.outputs, expected=items[:5])


@take_task.check
def pulls_no_more_than_it_yields(student: Student, draw: Draw) -> None:
    """It never asks the stream for an element that it will not yield."""
    items = draw.integers(0, 100, 8).tolist()
    got = run(student.take(stream(items), static(3)), items)
    pulled = sum(event[0] == "pull" for event in got.events)
    require(pulled <= 3, "It asked the stream for more elements than it yielded.", got=f"{pulled} pulled", expected="3")
    require(got.held <= 1, "It pulled elements ahead of time: yield each one before you pull the next.",
            got=f"{got.held} held at once", expected="1")  # fmt: skip


@take_task.check
def ends_with_a_short_stream(student: Student, draw: Draw) -> None:
    """Where the stream ends before, it ends too, without an error."""
    items = draw.integers(0, 100, 2).tolist()
    got = run(student.take(stream(items), static(5)), items)
    require(got.outputs == items, "All elements of a short stream should come out.", got=got.outputs, expected=items)


@take_task.check
def takes_none(student: Student, draw: Draw) -> None:
    """With a count of 0 it yields nothing, and asks for nothing."""
    got = iterate(student.take(stream(draw.integers(0, 100, 2).tolist()), static(0)))
    require(got.events == [("end",)], "take(stream, 0) ends at once, and leaves the stream alone.",
            got=f"{sum(event[0] == 'pull' for event in got.events)} asked for, {len(got.outputs)} yielded",
            expected="none")  # fmt: skip


@take_task.check
def hands_on_anything(student: Student, draw: Draw) -> None:
    """Elements can be anything, None too: it is the stream that says when it ends."""
    items = [draw.integers(0, 100).item(), None, draw.integers(0, 100).item(), None]
    got = iterate(student.take(stream(items), static(4))).outputs
    same = [repr(output) for output in got] == [repr(item) for item in items]
    require(same, "A None in the stream is an element like any other.", got=got, expected=items)


@take_task.check
def works_on_an_endless_stream(student: Student, draw: Draw) -> None:
    """An endless stream is no problem."""
    got = run(student.take(stream(itertools.count()), static(4)), range(10_000), limit=10)
    require(
        got.outputs == [0, 1, 2, 3],
        "From 0, 1, 2, ... these should be the first 4.",
        got=got.outputs,
        expected=[0, 1, 2, 3],
    )


@take_task.wrong("You pull one element too many: the loop asks for the next one before it sees that it is done.")
def pulls_one_more(stream: Any, count: int) -> Iterator[Any]:
    for index, element in enumerate(stream):
        if index >= count:
            return
        yield element


@take_task.wrong("You read the whole stream first: pull an element only when you are about to yield it.")
def reads_everything(stream: Any, count: int) -> Iterator[Any]:
    yield from list(stream)[:count]


@take_task.wrong("A stream that ends early breaks it: catch StopIteration and return.")
def breaks_on_short(stream: Any, count: int) -> Iterator[Any]:
    for _ in range(count):
        yield next(stream)


@take_task.wrong("You gather all the elements before you yield the first: yield each one as soon as you have it.")
def gathers_first(stream: Any, count: int) -> Iterator[Any]:
    yield from list(itertools.islice(stream, count))


@take_task.wrong("next(stream, None) makes up a None where the stream has ended: end the generator there instead.")
def none_for_missing(stream: Any, count: int) -> Iterator[Any]:
    for _ in range(count):
        yield next(stream, None)


UNSEEDED = "The same seed gives another order each time: take all random numbers from random.Random(seed)."


shuffle_task = exercise.task(
    "shuffle_buffer",
    points=4,
    needs=["take"],
    hints=Hints(
        concept="There are two phases. While the stream lasts, each yield frees a slot and the next element fills it. "
        "When it has ended, each yield makes the buffer smaller until nothing is left.",
        where="Your own `take` fills the buffer. In the loop, yield first and ask after: `for element in stream` does it "
        "the other way round. `random.Random(seed).randrange(n)` draws a slot from 0 to n - 1; "
        "`next(stream)` raises StopIteration at the end; `list.pop(slot)` removes an element.",
        almost_code="while buffer:\n    slot = rng.randrange(len(buffer))\n    yield buffer[slot]\n"
        "    try: buffer[slot] = ...\n    except StopIteration: buffer.pop(...)",
    ),
)


@shuffle_task.check
def every_element_once(student: Student, draw: Draw) -> None:
    """Every element of the stream comes out exactly once."""
    items = draw.permutation(12).tolist()
    got = run(student.shuffle_buffer(stream(items), static(4), static(draw.seed())), items)
    missing = sorted(set(items) - set(got.outputs))
    pulled = sum(event[0] == "pull" for event in got.events)
    require(
        not missing or pulled == 12,
        "It stops before the stream does: fill each slot again as long as the stream has elements.",
        got=got.outputs,
        expected=f"also {missing}",
    )
    require(
        not missing,
        "What was in the buffer when the stream ended never came out: go on until the buffer is empty.",
        got=got.outputs,
        expected=f"also {missing}",
    )
    require(
        sorted(got.outputs) == sorted(items),
        "Some elements came out more than once: what you have yielded must leave its slot, for the next element or, "
        "when the stream has ended, for good.",
        got=got.outputs,
    )


@shuffle_task.check
def hands_on_anything_too(student: Student, draw: Draw) -> None:
    """Elements can be anything, None too: it is the stream that says when it ends."""
    items = [1, None, 2, None, 3]
    got = iterate(student.shuffle_buffer(stream(items), static(2), static(draw.seed()))).outputs
    require(
        sorted(map(str, got)) == sorted(map(str, items)),
        "A None in the stream is an element like any other.",
        got=got,
        expected=f"{items} in some order",
    )


@shuffle_task.check
def holds_no_more_than_the_buffer(student: Student, draw: Draw) -> None:
    """It never holds more elements than buffer_size, and it does use the whole buffer."""
    got = run(student.shuffle_buffer(stream(range(40)), static(5), static(draw.seed())), range(40))
    require(
        got.held != 6,
        "One element too many is held: the next one is asked for before one is yielded. `for element in stream` does that. "
        "Yield first, then call next(stream).",
        got="6 held at once",
        expected="at most 5",
    )
    require(
        got.held <= 5,
        "More elements are held at once than buffer_size allows: ask for an element only when a slot is free, and yield "
        "as you go.",
        got=f"{got.held} held at once",
        expected="at most 5",
    )
    before_first = next((i for i, event in enumerate(got.events) if event[0] == "yield"), 0)
    require(before_first == 5, "The buffer should be full before the first element is yielded.",
            got=f"{before_first} asked for before the first yield", expected="5")  # fmt: skip
    pulled = yielded = 0
    for event in got.events:
        pulled, yielded = pulled + (event[0] == "pull"), yielded + (event[0] == "yield")
        if event[0] == "yield" and pulled < 40:
            require(
                pulled - yielded >= 4,
                "After a yield its slot should be filled again at once; here the buffer ran low in the middle of the stream.",
                got=f"{pulled - yielded} left in the buffer after {yielded} yields",
                expected="4, then the next one from the stream",
            )


@shuffle_task.check
def same_seed_same_order(student: Student, draw: Draw) -> None:
    """The seed decides the order: the same seed gives the same order, another seed another."""
    seed = draw.seed()

    def order(seed: int) -> list[int]:
        return run(student.shuffle_buffer(stream(range(30)), static(15), static(seed)), range(30)).outputs

    once = order(seed)
    require(once == order(seed), UNSEEDED)
    require(once != order(seed + 1), "Two different seeds gave the same order. Is the seed used?", got=first(once))


@shuffle_task.check
def disturbs_nobody(student: Student, draw: Draw) -> None:
    """Two shuffles that run at the same time do not disturb each other: each has a generator of its own."""
    seeds = static(draw.seed()), static(draw.seed())
    once = run(student.shuffle_buffer(stream(range(20)), static(5), seeds[0]), range(20)).outputs
    expected = run(student.shuffle_buffer(stream(once), static(5), seeds[1]), range(20)).outputs
    inner = student.shuffle_buffer(stream(range(20)), static(5), seeds[0])
    got = run(student.shuffle_buffer(inner, static(5), seeds[1]), range(20)).outputs
    require(
        got == expected,
        "A shuffled stream was shuffled once more. Done one after the other this gives one order, done at the same "
        "time another: the two share random numbers.",
        got=first(got),
        expected=first(expected),
    )


@shuffle_task.check
def draws_uniformly(student: Student, draw: Draw) -> None:
    """Each element in the buffer is as likely as any other to be the next one out, from the oldest to the newest."""
    got = run(student.shuffle_buffer(stream(range(123)), static(3), static(draw.seed())), range(123))
    held: list[int] = []
    counts = [0] * 3
    for event in got.events:
        if event[0] == "pull":
            held.append(event[1])
        elif event[0] == "yield":
            require(event[1] in held, "An element came out that the buffer did not hold any more.", got=str(event[1]))
            if len(held) == 3:
                counts[held.index(event[1])] += 1
            held.remove(event[1])
    require(
        min(counts) >= 10,  # binomial(121, 1/3): one of three below 10 with probability 4e-11
        "Of the three elements in the buffer, the oldest, the middle one and the newest should each be drawn about "
        "40 times in 120.",
        got=f"oldest {counts[0]}, middle {counts[1]}, newest {counts[2]} times",
    )


@shuffle_task.check
def edges(student: Student, draw: Draw) -> None:
    """A buffer of 1 keeps the order; an empty stream gives nothing."""
    items = draw.integers(0, 100, 6).tolist()
    same = run(student.shuffle_buffer(stream(items), static(1), static(draw.seed())), items).outputs
    require(same == items, "A buffer of one element cannot change the order.", got=same, expected=items)
    empty = run(student.shuffle_buffer(stream([]), static(3), static(0)), []).outputs
    require(empty == [], "An empty stream gives nothing.", got=empty, expected=[])


@shuffle_task.check
def shuffles_what_is_left(student: Student, draw: Draw) -> None:
    """What is left when the stream ends comes out in a random order; a buffer larger than the stream shuffles it all."""
    orders = [
        run(student.shuffle_buffer(stream(range(30)), static(50), static(draw.seed())), range(30)).outputs
        for _ in range(3)
    ]
    for got in orders:
        require(
            sorted(got) == list(range(30)), "With a buffer larger than the stream, all elements come out once.", got=got
        )
        falls = sum(one > other for one, other in itertools.pairwise(got))
        require(
            4 <= falls <= 25,  # a random order of 30 lies outside with probability 9e-15 (Eulerian numbers)
            "When the stream has ended, what is left comes out in order.",
            got=got,
        )


@shuffle_task.check
def works_forever(student: Student, draw: Draw) -> None:
    """An endless stream can be shuffled: elements come out while it goes on."""
    endless = student.shuffle_buffer(stream(itertools.count()), static(3), static(draw.seed()))
    got = run(endless, range(10_000), limit=20)
    require(len(got.outputs) == 20, "20 elements were asked for.", got=f"{len(got.outputs)} came")


@shuffle_task.check(draws=1)
def refuses_no_buffer(student: Student, draw: Draw) -> None:
    """A buffer_size below 1 is refused with a ValueError."""
    for size in (0, -1):
        asked = student.shuffle_buffer(stream([1, 2]), static(size), static(0))
        said = f"A buffer_size of {size} should raise a ValueError, not pass silently."
        expect_error(functools.partial(iterate, asked, limit=8), "ValueError", said)


@shuffle_task.wrong("You read the whole stream into a list and shuffle that: nothing bounds the memory.")
def whole_stream(stream: Any, buffer_size: int, seed: int) -> Iterator[Any]:
    if buffer_size < 1:
        raise ValueError("buffer_size")
    elements = list(stream)
    random.Random(seed).shuffle(elements)
    yield from elements


@shuffle_task.wrong("What is left in the buffer when the stream ends is lost: yield it too.")
def not_drained(stream: Any, buffer_size: int, seed: int) -> Iterator[Any]:
    if buffer_size < 1:
        raise ValueError("buffer_size")
    rng = random.Random(seed)
    buffer = list(take(stream, buffer_size))
    for element in stream:
        slot = rng.randrange(len(buffer))
        yield buffer[slot]
        buffer[slot] = element


@shuffle_task.wrong(
    "The buffer is filled, shuffled and emptied as a block, so elements never leave their block: refill each slot at once."
)
def in_blocks(stream: Any, buffer_size: int, seed: int) -> Iterator[Any]:
    if buffer_size < 1:
        raise ValueError("buffer_size")
    rng = random.Random(seed)
    while block := list(take(stream, buffer_size)):
        rng.shuffle(block)
        yield from block


@shuffle_task.wrong(UNSEEDED)  # which is what its check says: two orders at random match no third
def unseeded(stream: Any, buffer_size: int, seed: int) -> Iterator[Any]:
    if buffer_size < 1:
        raise ValueError("buffer_size")
    rng = random.Random()
    buffer = list(take(stream, buffer_size))
    while buffer:
        slot = rng.randrange(len(buffer))
        yield buffer[slot]
        try:
            buffer[slot] = next(stream)
        except StopIteration:
            buffer.pop(slot)


@shuffle_task.wrong("You always hand out the oldest element: nothing is shuffled. Draw a random slot.")
def first_in_first_out(stream: Any, buffer_size: int, seed: int) -> Iterator[Any]:
    if buffer_size < 1:
        raise ValueError("buffer_size")
    buffer = list(take(stream, buffer_size))
    while buffer:
        yield buffer.pop(0)
        buffer.extend(take(stream, 1))


@shuffle_task.wrong("You hold one element too many: yield one before you pull the next.")
def one_too_many(stream: Any, buffer_size: int, seed: int) -> Iterator[Any]:
    if buffer_size < 1:
        raise ValueError("buffer_size")
    rng = random.Random(seed)
    buffer = []
    for element in stream:
        buffer.append(element)
        if len(buffer) > buffer_size:
            yield buffer.pop(rng.randrange(len(buffer)))
    while buffer:
        yield buffer.pop(rng.randrange(len(buffer)))


@shuffle_task.wrong(
    "A drawn element stays in the buffer and can come out again: its slot must be filled with the next one or removed."
)
def with_replacement(stream: Any, buffer_size: int, seed: int) -> Iterator[Any]:
    if buffer_size < 1:
        raise ValueError("buffer_size")
    rng = random.Random(seed)
    buffer = list(take(stream, buffer_size))
    count = len(buffer)
    for element in itertools.chain(stream, range(count)):
        yield rng.choice(buffer)
        buffer[rng.randrange(len(buffer))] = element


@shuffle_task.wrong("A buffer_size below 1 passes silently: raise a ValueError.")
def accepts_no_buffer(stream: Any, buffer_size: int, seed: int) -> Iterator[Any]:
    rng = random.Random(seed)
    buffer = list(take(stream, max(buffer_size, 1)))
    while buffer:
        slot = rng.randrange(len(buffer))
        yield buffer[slot]
        try:
            buffer[slot] = next(stream)
        except StopIteration:
            buffer.pop(slot)


@shuffle_task.wrong("You seed the generator that the whole program shares: make your own with random.Random(seed).")
def shared_generator(stream: Any, buffer_size: int, seed: int) -> Iterator[Any]:
    if buffer_size < 1:
        raise ValueError("buffer_size")
    random.seed(seed)
    buffer = list(take(stream, buffer_size))
    while buffer:
        slot = random.randrange(len(buffer))
        yield buffer[slot]
        try:
            buffer[slot] = next(stream)
        except StopIteration:
            buffer.pop(slot)


@shuffle_task.wrong(
    "Every draw starts from the seed again, so all draws are the same: make random.Random(seed) once, before the loop."
)
def seeded_for_each_draw(stream: Any, buffer_size: int, seed: int) -> Iterator[Any]:
    if buffer_size < 1:
        raise ValueError("buffer_size")
    buffer = list(take(stream, buffer_size))
    while buffer:
        slot = random.Random(seed).randrange(len(buffer))
        yield buffer[slot]
        try:
            buffer[slot] = next(stream)
        except StopIteration:
            buffer.pop(slot)


@shuffle_task.wrong(
    "The last slot is never drawn: randrange(n) gives 0 to n - 1, so n is the buffer's length, not one less."
)
def last_slot_left_out(stream: Any, buffer_size: int, seed: int) -> Iterator[Any]:
    if buffer_size < 1:
        raise ValueError("buffer_size")
    rng = random.Random(seed)
    buffer = list(take(stream, buffer_size))
    while buffer:
        slot = rng.randrange(max(len(buffer) - 1, 1))
        yield buffer[slot]
        try:
            buffer[slot] = next(stream)
        except StopIteration:
            buffer.pop(slot)


@shuffle_task.wrong(
    "What is left at the end comes out in the order it lies in: draw random slots until the buffer is empty."
)
def left_in_order(stream: Any, buffer_size: int, seed: int) -> Iterator[Any]:
    if buffer_size < 1:
        raise ValueError("buffer_size")
    rng = random.Random(seed)
    buffer = list(take(stream, buffer_size))
    while buffer:
        slot = rng.randrange(len(buffer))
        yield buffer[slot]
        try:
            buffer[slot] = next(stream)
        except StopIteration:
            buffer.pop(slot)
            yield from buffer
            return


@shuffle_task.wrong(
    "`for element in stream` pulls the next element while the buffer is still full: yield first, then call next(stream)."
)
def pulls_before_it_yields(stream: Any, buffer_size: int, seed: int) -> Iterator[Any]:
    if buffer_size < 1:
        raise ValueError("buffer_size")
    rng = random.Random(seed)
    buffer = list(take(stream, buffer_size))
    for element in stream:
        slot = rng.randrange(len(buffer))
        yield buffer[slot]
        buffer[slot] = element
    while buffer:
        yield buffer.pop(rng.randrange(len(buffer)))
