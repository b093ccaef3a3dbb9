"""An input pipeline: generators fed by the judge, functions of plain data, and one of arrays.

A function that makes streams is asked for as `epochs_of(...)`: a dict of streams that the judge serves, and its method
`get`. So the transcript tells which epoch was asked for, and when.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aidl_jax.course._threefry import fold_in, normal
from aidl_jax.exercise import (
    Draw,
    Exercise,
    Expression,
    Failure,
    Hints,
    Student,
    Transcript,
    call,
    compare,
    expect_error,
    iterate,
    require,
    static,
    stream,
    value,
)
from aidl_jax.exercise.expressions import wrap
from aidl_jax.exercise.requests import lower

if TYPE_CHECKING:  # wrong answers run where student code runs; these names are there
    import collections

    import jax

    def shuffle(stream: Any, buffer_size: Any, seed: Any, epoch: Any) -> Iterator[Any]: ...
    def batch(stream: Any, size: Any, drop_remainder: Any) -> Iterator[Any]: ...
    def repeat(make_stream: Any, count: Any) -> Iterator[Any]: ...
    def prefetch(stream: Any, count: Any) -> Iterator[Any]: ...


exercise = Exercise(
    "An input pipeline",
    forbidden=["tensorflow", "torch", "grain", "aidl_jax.data", "itertools.batched", "more_itertools"],
)

NO_END = "It goes on when every element has come out: when the stream has ended and nothing is left to yield, return."


def first(outputs: Sequence[Any]) -> str:
    """The beginning of a long list, and that there is more."""
    return f"{outputs[:12]}".replace("]", ", ...]") if len(outputs) > 12 else f"{outputs}"


def served(expression: Expression, limit: int) -> Transcript:
    """Runs a generator; says in the lesson's words that a function which makes streams was called without a number."""
    try:
        return iterate(expression, limit)
    except Failure as failure:
        if failure.message.endswith("get expected at least 1 argument, got 0"):
            failure.message = "The function that makes a stream takes the epoch's number: make_stream(epoch)."
        raise


def run(expression: Expression, items: Sequence[int], limit: int | None = None) -> Transcript:
    """Runs a generator that must yield elements of its streams, and come to its end unless a `limit` is given."""
    got = served(expression, limit or 3 * len(items) + 8)
    strange = [output for output in got.outputs if type(output) is not int or output not in items]
    require(
        not strange,
        "It yielded something that is not an element of the stream: hand the elements on as they are.",
        got=repr(strange[:1])[1:-1][:200],
    )
    require(limit or got.ended, NO_END, got=first(got.outputs))
    return got


def run_batches(expression: Expression, elements: Sequence[Any], limit: int | None = None) -> Transcript:
    """Runs a generator that must yield lists of elements of the stream."""
    got = served(expression, limit or 3 * len(elements) + 8)
    require(
        all(type(output) is list for output in got.outputs),
        "A batch is a list of elements.",
        got=next((repr(output)[:200] for output in got.outputs if type(output) is not list), None),
    )
    known = {repr(element) for element in elements}
    strange = [repr(e)[:200] for output in got.outputs for e in output if repr(e) not in known]
    require(not strange, "A batch holds something that it should not.", got="".join(strange[:1]))
    require(limit or got.ended, NO_END, got=first(got.outputs))
    return got


def pulls(events: Sequence[tuple[Any, ...]]) -> list[Any]:
    """The elements that were asked for."""
    return [event[1] for event in events if event[0] == "pull"]


def before_first(got: Transcript) -> int:
    """How many elements were pulled before the first output."""
    return len(pulls(list(itertools.takewhile(lambda event: event[0] != "yield", got.events))))


def in_batches(items: Sequence[Any], size: int) -> list[list[Any]]:
    """The items in lists of `size`, the last one maybe shorter."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def joined(lists: Iterable[list[Any]]) -> list[Any]:
    """One list after the other."""
    return list(itertools.chain.from_iterable(lists))


def epochs_of(epochs: Sequence[Sequence[Any]]) -> Expression:
    """A function that takes an epoch's number and hands out that epoch's stream."""
    made: Expression = wrap({number: stream(list(items)) for number, items in enumerate(epochs)}).get
    return made


def distinct_epochs(draw: Draw, count: int, length: int) -> list[list[int]]:
    """Epochs without a common element: those of epoch 2 are 200 to 200 + length - 1, in some order."""
    return [(100 * epoch + draw.permutation(length)).tolist() for epoch in range(count)]


# Batch


batch_task = exercise.task(
    "batch",
    points=2,
    hints=Hints(
        concept="Collect elements. Once there are enough of them, hand them out and begin a new collection. At the end something may "
        "be left over.",
        where="The lesson's section 'Batch'. `for element in stream` with a list that grows; compare its `len` with `size` after "
        "each `append`, and begin a new list with `[]` after each `yield`.",
        almost_code="elements = []\nfor element in stream:\n    elements.append(element)\n    if len(elements) == ...:\n"
        "        yield elements\n        elements = ...\nif elements and not ...:\n    yield ...",
    ),
)


@batch_task.check
def keeps_the_remainder(student: Student, draw: Draw) -> None:
    """All elements come out in order, in lists of `size`; without drop_remainder the last list holds what is left."""
    items = draw.permutation(8).tolist()
    got = run_batches(student.batch(stream(items), static(3), static(False)), items).outputs
    require(got == in_batches(items, 3), "These are not the batches of 3, remainder kept.",
            got=got, expected=in_batches(items, 3))  # fmt: skip


@batch_task.check
def drops_the_remainder(student: Student, draw: Draw) -> None:
    """With drop_remainder, elements at the end that are too few for a whole batch do not come out."""
    items = draw.permutation(8).tolist()
    got = run_batches(student.batch(stream(items), static(3), static(True)), items).outputs
    expected = in_batches(items, 3)[:-1]
    require(got == expected, "These are not the batches of 3, remainder dropped.", got=got, expected=expected)


@batch_task.check
def nothing_is_left(student: Student, draw: Draw) -> None:
    """Where nothing is left at the end, no empty list comes out, nor of an empty stream."""
    items = draw.permutation(6).tolist()
    for drop in (False, True):
        got = run_batches(student.batch(stream(items), static(3), static(drop)), items).outputs
        require(got == in_batches(items, 3), "6 elements are two batches of 3, and no more.",
                got=got, expected=in_batches(items, 3))  # fmt: skip
    empty = run_batches(student.batch(stream([]), static(2), static(False)), [], limit=2).outputs
    require(empty == [], "An empty stream has no batches.", got=empty, expected=[])


@batch_task.check
def yields_as_soon_as_it_is_full(student: Student, draw: Draw) -> None:
    """A batch comes out as soon as it is full: not one more element is asked for."""
    items = draw.permutation(9).tolist()
    events = run_batches(student.batch(stream(items), static(3), static(False)), items).events
    places = [number for number, event in enumerate(events) if event[0] == "yield"]
    pulled = [len(pulls(events[:place])) for place in places]
    require(pulled == [3, 6, 9], "More elements were asked for than the batches so far needed: yield each as soon as it is full.",
            got=f"{pulled} pulled before each batch", expected="[3, 6, 9]")  # fmt: skip


@batch_task.check
def each_batch_is_a_new_list(student: Student, draw: Draw) -> None:
    """Each batch is a list of its own, which does not change when the next one is made: batches can be batched."""
    items = draw.permutation(12).tolist()
    pairs = student.batch(stream(items), static(2), static(False))
    expected = in_batches(in_batches(items, 2), 3)
    got = run_batches(student.batch(pairs, static(3), static(False)), [[], *in_batches(items, 2)]).outputs
    require(got == expected, "Batches of 2 were collected in batches of 3. By then they had changed: make a new list for each.",
            got=got, expected=expected)  # fmt: skip


@batch_task.check
def hands_on_anything(student: Student, draw: Draw) -> None:
    """Elements can be anything, None too: it is the stream that says when it ends."""
    items = [draw.integers(0, 9).item(), None, (1, "a"), None, 0]
    got = run_batches(student.batch(stream(items), static(2), static(False)), items).outputs
    require(repr(got) == repr(in_batches(items, 2)), "None and 0 are elements like any others.",
            got=got, expected=in_batches(items, 2))  # fmt: skip


@batch_task.check(draws=1)
def refuses_no_size(student: Student, draw: Draw) -> None:
    """A size below 1 is refused with a ValueError."""
    for size in (0, -1):
        asked = student.batch(stream([1, 2]), static(size), static(False))
        expect_error(
            functools.partial(iterate, asked, limit=8), "ValueError", f"A size of {size} should raise a ValueError."
        )


@batch_task.wrong("The remainder is lost though it should be kept: after the loop, yield what is left.")
def remainder_lost(stream: Any, size: Any, drop_remainder: Any) -> Any:
    if size < 1:
        raise ValueError("size")
    elements: list[Any] = []
    for element in stream:
        elements.append(element)
        if len(elements) == size:
            yield elements
            elements = []


@batch_task.wrong("The remainder comes out though it should be dropped: look at drop_remainder.")
def remainder_always_kept(stream: Any, size: Any, drop_remainder: Any) -> Any:
    if size < 1:
        raise ValueError("size")
    while elements := list(itertools.islice(stream, size)):
        yield elements


@batch_task.wrong("An empty list comes out at the end where nothing is left: yield the rest only if there is one.")
def empty_batch(stream: Any, size: Any, drop_remainder: Any) -> Any:
    if size < 1:
        raise ValueError("size")
    elements: list[Any] = []
    for element in stream:
        elements.append(element)
        if len(elements) == size:
            yield elements
            elements = []
    if not drop_remainder:
        yield elements


@batch_task.wrong("You read the whole stream into a list first: it may be endless. Collect one batch at a time.")
def reads_it_all(stream: Any, size: Any, drop_remainder: Any) -> Any:
    if size < 1:
        raise ValueError("size")
    items = list(stream)
    for start in range(0, len(items), size):
        if start + size <= len(items) or not drop_remainder:
            yield items[start : start + size]


@batch_task.wrong("You notice that a batch is full only when the next element is there: look after each append.")
def one_too_late(stream: Any, size: Any, drop_remainder: Any) -> Any:
    if size < 1:
        raise ValueError("size")
    elements: list[Any] = []
    for element in stream:
        if len(elements) == size:
            yield elements
            elements = []
        elements.append(element)
    if len(elements) == size or (elements and not drop_remainder):
        yield elements


@batch_task.wrong(
    "All batches are the same list, which you clear: whoever still holds one has lost it. Begin a new one, []."
)
def same_list_again(stream: Any, size: Any, drop_remainder: Any) -> Any:
    if size < 1:
        raise ValueError("size")
    elements: list[Any] = []
    for element in stream:
        elements.append(element)
        if len(elements) == size:
            yield elements
            elements.clear()
    if elements and not drop_remainder:
        yield elements


@batch_task.wrong("A None in the stream ends it, or is left out: only StopIteration says that a stream has ended.")
def none_is_the_end(stream: Any, size: Any, drop_remainder: Any) -> Any:
    if size < 1:
        raise ValueError("size")
    elements: list[Any] = []
    while (element := next(stream, None)) is not None:
        elements.append(element)
        if len(elements) == size:
            yield elements
            elements = []
    if elements and not drop_remainder:
        yield elements


@batch_task.wrong("A size below 1 passes silently: raise a ValueError.")
def no_size_passes(stream: Any, size: Any, drop_remainder: Any) -> Any:
    elements: list[Any] = []
    for element in stream:
        elements.append(element)
        if len(elements) == max(size, 1):
            yield elements
            elements = []
    if elements and not drop_remainder:
        yield elements


# Repeat


repeat_task = exercise.task(
    "repeat",
    points=2,
    hints=Hints(
        concept="For each epoch, have a new stream made, and hand on all its elements. The epochs are numbered from zero, up to a "
        "given number or without an end.",
        where="The lesson's section 'Repeat'. `range(count)` counts up to a number, `itertools.count()` for ever; "
        "`yield from` hands on all elements of a stream.",
        almost_code="for epoch in itertools.count() if count is None else ...:\n    yield from ...",
    ),
)


ENDED_STREAM = (
    "After the first epoch nothing came: a stream that has ended stays at its end. Ask make_stream for a new one in each "
    "epoch."
)


@repeat_task.check
def one_epoch_after_the_other(student: Student, draw: Draw) -> None:
    """The elements of all epochs come out, each epoch's own, in order."""
    epochs = distinct_epochs(draw, 8, 3)
    got = run(student.repeat(epochs_of(epochs), static(3)), joined(epochs), limit=20).outputs
    expected = joined(epochs[:3])
    require(
        len(got) != 3 or got != epochs[0],
        ENDED_STREAM,
        got=got,
        expected=expected,
    )
    require(got == expected, "These are not the elements of epochs 0, 1 and 2.", got=got, expected=expected)


@repeat_task.check
def epochs_of_any_length(student: Student, draw: Draw) -> None:
    """An epoch may be longer than another, or empty."""
    epochs = [draw.permutation(4).tolist(), [], (10 + draw.permutation(2)).tolist()]
    got = run(student.repeat(epochs_of(epochs), static(3)), joined(epochs)).outputs
    require(got == joined(epochs), "Epochs can differ in length, and one was empty.", got=got, expected=joined(epochs))


@repeat_task.check
def no_epoch_at_all(student: Student, draw: Draw) -> None:
    """With a count of 0 nothing comes out."""
    epochs = distinct_epochs(draw, 8, 2)
    got = run(student.repeat(epochs_of(epochs), static(0)), joined(epochs), limit=9).outputs
    require(got == [], "A count of 0 means no epoch, and nothing comes out.", got=got, expected=[])


@repeat_task.check
def asks_when_it_is_due(student: Student, draw: Draw) -> None:
    """An element is asked for when it is needed, not before: no epoch is read ahead, none is kept."""
    epochs = distinct_epochs(draw, 4, 3)
    got = run(student.repeat(epochs_of(epochs), static(3)), joined(epochs))
    require(got.held <= 1, "Elements were asked for ahead of time: yield each one before you ask for the next.",
            got=f"{got.held} held at once", expected="1")  # fmt: skip


@repeat_task.check
def goes_on_for_ever(student: Student, draw: Draw) -> None:
    """With None it goes on from epoch to epoch without an end."""
    epochs = distinct_epochs(draw, 8, 2)
    two = run(student.repeat(epochs_of(epochs), static(2)), joined(epochs), limit=11).outputs
    require(
        two == joined(epochs[:2]), "These are not the elements of epochs 0 and 1.", got=two, expected=joined(epochs[:2])
    )
    got = run(student.repeat(epochs_of(epochs), static(None)), joined(epochs), limit=11).outputs
    expected = joined(epochs)[:11]
    require(got == expected, "With a count of None, these should be the first 11 elements of epochs 0, 1, 2, ...",
            got=got, expected=expected)  # fmt: skip


@repeat_task.wrong(ENDED_STREAM)
def same_stream_again(make_stream: Any, count: Any) -> Any:
    one = make_stream(0)
    for _ in range(1000 if count is None else count):
        yield from one


@repeat_task.wrong(
    "You keep the first epoch and repeat it: that needs memory for all of it, and each epoch is in the same order."
)
def keeps_the_first(make_stream: Any, count: Any) -> Any:
    kept = list(make_stream(0))
    for _ in itertools.count() if count is None else range(count):
        yield from kept


@repeat_task.wrong("Your epochs begin at 1: the first one is epoch 0.")
def from_one(make_stream: Any, count: Any) -> Any:
    for epoch in itertools.count(1) if count is None else range(1, count + 1):
        yield from make_stream(epoch)


@repeat_task.wrong("There is one epoch too many: a count of 3 means epochs 0, 1 and 2.")
def one_more(make_stream: Any, count: Any) -> Any:
    for epoch in itertools.count() if count is None else range(count + 1):
        yield from make_stream(epoch)


@repeat_task.wrong("You read a whole epoch into a list before you yield its first element: hand on one at a time.")
def reads_each_epoch(make_stream: Any, count: Any) -> Any:
    for epoch in itertools.count() if count is None else range(count):
        yield from list(make_stream(epoch))


@repeat_task.wrong("With a count of None only one epoch comes: it means to go on for ever.")
def none_is_one(make_stream: Any, count: Any) -> Any:
    for epoch in range(1 if count is None else count):
        yield from make_stream(epoch)


@repeat_task.wrong("A count of 0 goes on for ever: `if count` is false for 0, too. Ask `if count is None`.")
def zero_is_for_ever(make_stream: Any, count: Any) -> Any:
    for epoch in range(count) if count else itertools.count():
        yield from make_stream(epoch)


# The order of verbs


RIGHT = "shuffle repeat batch"
NEIGHBOURS = "batch shuffle repeat"
SHORT = "shuffle batch repeat"
MIXED = "repeat shuffle batch"


def shuffled(rng: random.Random, items: Sequence[Any], size: int) -> list[Any]:
    """The items through a shuffle buffer of `size`."""
    buffer, out = list(items[:size]), []
    for item in items[size:]:
        slot = rng.randrange(size)
        out.append(buffer[slot])
        buffer[slot] = item
    return out + rng.sample(buffer, len(buffer))


def came_out(rng: random.Random, order: str, count: int, epochs: int) -> list[list[int]]:
    """What comes out of a pipeline with batches of 4 and a buffer of 5."""
    once = list(range(count))
    match order:
        case "batch shuffle repeat":
            return joined(shuffled(rng, in_batches(once, 4), 5) for _ in range(epochs))
        case "shuffle batch repeat":
            return joined(in_batches(shuffled(rng, once, 5), 4) for _ in range(epochs))
        case "repeat shuffle batch":
            return in_batches(shuffled(rng, once * epochs, 5), 4)
    return in_batches(joined(shuffled(rng, once, 5) for _ in range(epochs)), 4)


def epochs_in(batches: list[list[int]], count: int) -> list[list[int]]:
    """The outputs, `count` at a time."""
    return in_batches(joined(batches), count)


def whole(epoch: list[int]) -> bool:
    """Whether no example is there twice."""
    return len(set(epoch)) == len(epoch)


def such_that(draw: Draw, order: str, count: int, epochs: int, holds: Callable[[Any], bool]) -> list[list[int]]:
    """Batches of this order that have a property; it must not be rare."""
    rng = random.Random(draw.seed())
    while not holds(batches := came_out(rng, order, count, epochs)):
        pass
    return batches


def twice_in_a_batch(batches: list[list[int]]) -> bool:
    """Whether a batch holds an example twice."""
    return any(not whole(batch) for batch in batches)


def tells(student: Student, *cases: tuple[str, list[list[int]], int]) -> None:
    """Asks for all cases, then looks at the answers: a wrong answer is known by all of them together."""
    asked = [student.which_order(static(batches), static(count)) for _, batches, count in cases]
    answers = list(map(call, asked))
    for (order, batches, count), request, answer in zip(cases, asked, answers, strict=True):
        if not isinstance(answer, str) or answer != order:
            raise Failure(
                "property", why(order, batches, count), repr(answer)[:200], repr(order), request=lower(request)
            )


def why(order: str, batches: list[list[int]], count: int) -> str:
    """What is to be seen in these batches."""
    match order:
        case "batch shuffle repeat":
            return "Each of these batches holds neighbours, in order."
        case "shuffle batch repeat":
            short = next(number for number, batch in enumerate(batches) if len(batch) < 4)
            return f"These epochs are whole, and each ends with a short batch: batches[{short}] is the first one."
        case "repeat shuffle batch":
            number, epoch = next((n, e) for n, e in enumerate(epochs_in(batches, count)) if not whole(e))
            twice = next(example for example in epoch if epoch.count(example) > 1)
            return (
                f"These epochs are mixed: among the outputs {number * count} to {number * count + len(epoch) - 1}, counted from 0, "
                f"example {twice} comes more than once."
            )
    return "These epochs are whole and shuffled, and the batches are full but for the very last one."


order_task = exercise.task(
    "which_order",
    points=3,
    hints=Hints(
        concept="Each wrong order leaves a trace that no other leaves: neighbours in every batch, short batches before the last, or an "
        "example that comes again before another has come once. Ask for these one after the other.",
        where="The four lines in the lesson's section 'In which order?'. A batch of neighbours equals "
        "`list(range(batch[0], batch[0] + len(batch)))`. `itertools.chain(*batches)` puts the batches one after the other; the "
        "outputs of one epoch are `count` of them in a row, and `len(set(...))` tells how many differ.",
        almost_code="if all(batch == list(range(batch[0], ...)) for batch in batches):\n    return 'batch shuffle repeat'\n"
        "if any(len(batch) < ... for batch in batches[:-1]):\n    return 'shuffle batch repeat'\n"
        "order = list(itertools.chain(*batches))\nepochs = [order[i : i + count] for i in range(0, len(order), ...)]\n"
        "if any(len(set(epoch)) < ... for epoch in epochs):\n    return 'repeat shuffle batch'\n"
        "return 'shuffle repeat batch'",
    ),
)


@order_task.check
def knows_the_usual_order(student: Student, draw: Draw) -> None:
    """Shuffle, repeat, batch: a batch may hold the end of one epoch and the beginning of the next; the last may be short."""
    rng = random.Random(draw.seed())
    tells(
        student,
        (RIGHT, such_that(draw, RIGHT, 10, 3, twice_in_a_batch), 10),
        (RIGHT, came_out(rng, RIGHT, 10, 2), 10),
    )


@order_task.check
def knows_neighbours(student: Student, draw: Draw) -> None:
    """Batch before shuffle: every batch holds neighbours, and a short one may come anywhere."""

    def short_inside(batches: list[list[int]]) -> bool:
        return any(len(batch) < 4 for batch in batches[1:-1])

    tells(student, (NEIGHBOURS, such_that(draw, NEIGHBOURS, 11, 3, short_inside), 11))


@order_task.check
def knows_short_batches(student: Student, draw: Draw) -> None:
    """Batch before repeat: each epoch ends with a short batch."""
    rng = random.Random(draw.seed())
    tells(student, (SHORT, came_out(rng, SHORT, 13, 2), 13), (SHORT, came_out(rng, SHORT, 11, 3), 11))


@order_task.check
def knows_mixed_epochs(student: Student, draw: Draw) -> None:
    """Repeat before shuffle: an example comes a second time before another has come once, in the first epoch or later."""

    def at_once(batches: list[list[int]]) -> bool:
        return not whole(epochs_in(batches, 9)[0])

    def later(batches: list[list[int]]) -> bool:
        first_epoch, *others = epochs_in(batches, 9)
        return whole(first_epoch) and not all(map(whole, others))

    kinds: list[Callable[[Any], bool]] = [
        lambda batches: at_once(batches) and twice_in_a_batch(batches),
        lambda batches: at_once(batches) and not twice_in_a_batch(batches),
        later,
    ]
    tells(student, *((MIXED, such_that(draw, MIXED, 9, 3, kind), 9) for kind in kinds))


@order_task.wrong("The very last batch may be short in any order: look for short ones before it.")
def any_short_batch(batches: Any, count: Any) -> Any:
    if all(batch == list(range(batch[0], batch[0] + len(batch))) for batch in batches):
        return "batch shuffle repeat"
    if any(len(batch) < len(batches[0]) for batch in batches):
        return "shuffle batch repeat"
    order = list(itertools.chain(*batches))
    mixed = any(len(set(order[n : n + count])) < len(order[n : n + count]) for n in range(0, len(order), count))
    return "repeat shuffle batch" if mixed else "shuffle repeat batch"


@order_task.wrong(
    "An example twice in one batch does not mean that the epochs are mixed: a batch may hold the end of one and the "
    "beginning of the next. Look at `count` outputs in a row."
)
def twice_in_one_batch(batches: Any, count: Any) -> Any:
    if all(batch == list(range(batch[0], batch[0] + len(batch))) for batch in batches):
        return "batch shuffle repeat"
    if any(len(batch) < len(batches[0]) for batch in batches[:-1]):
        return "shuffle batch repeat"
    mixed = any(len(set(batch)) < len(batch) for batch in batches)
    return "repeat shuffle batch" if mixed else "shuffle repeat batch"


@order_task.wrong("Batches of neighbours can be short, too: ask for neighbours before you ask for short batches.")
def short_first(batches: Any, count: Any) -> Any:
    if any(len(batch) < max(map(len, batches)) for batch in batches[:-1]):
        return "shuffle batch repeat"
    if all(batch == list(range(batch[0], batch[0] + len(batch))) for batch in batches):
        return "batch shuffle repeat"
    order = list(itertools.chain(*batches))
    mixed = any(len(set(order[n : n + count])) < len(order[n : n + count]) for n in range(0, len(order), count))
    return "repeat shuffle batch" if mixed else "shuffle repeat batch"


@order_task.wrong(
    "Over all epochs together every example comes equally often, whatever the order: look at `count` outputs at a time."
)
def counted_overall(batches: Any, count: Any) -> Any:
    if all(batch == list(range(batch[0], batch[0] + len(batch))) for batch in batches):
        return "batch shuffle repeat"
    if any(len(batch) < len(batches[0]) for batch in batches[:-1]):
        return "shuffle batch repeat"
    order = list(itertools.chain(*batches))
    mixed = len({order.count(example) for example in range(count)}) > 1
    return "repeat shuffle batch" if mixed else "shuffle repeat batch"


@order_task.wrong("You look at the first epoch only: the epochs may mix later.")
def first_epoch_only(batches: Any, count: Any) -> Any:
    if all(batch == list(range(batch[0], batch[0] + len(batch))) for batch in batches):
        return "batch shuffle repeat"
    if any(len(batch) < len(batches[0]) for batch in batches[:-1]):
        return "shuffle batch repeat"
    mixed = len(set(list(itertools.chain(*batches))[:count])) < count
    return "repeat shuffle batch" if mixed else "shuffle repeat batch"


# Keys


jitter_task = exercise.task(
    "jitter",
    points=2,
    hints=Hints(
        concept="Make a key of the run's key and the epoch, then a key of that one and the position. Only then draw.",
        where="The lesson's section 'Random numbers for each example'. `jax.random.fold_in(key, number)` gives a new key; "
        "`jax.random.normal(key, shape)` draws.",
        almost_code="own_key = jax.random.fold_in(jax.random.fold_in(key, ...), ...)\n"
        "return example + 0.1 * jax.random.normal(..., example.shape)",
    ),
)

SIZE = 4


def at(student: Student, example: np.ndarray, key: Any, epoch: int, position: int) -> Expression:
    """The example with noise, as it is asked for."""
    return student.jitter(example, key, np.int32(epoch), np.int32(position))


def noise(student: Student, key: Any, epoch: int, position: int) -> np.ndarray:
    """What is added to zeros."""
    got = value(at(student, np.zeros(SIZE), key, epoch, position))
    fits = isinstance(got, np.ndarray) and got.dtype == np.float32 and got.shape == (SIZE,)
    require(fits, f"The answer should be a float32 array of {SIZE} numbers, as the example is.", got=_form(got))
    array: np.ndarray = got
    return array


def _form(got: Any) -> str:
    return f"{got.dtype} of shape {got.shape}" if isinstance(got, np.ndarray) else type(got).__name__


@jitter_task.check
def another_noise_for_each_example(student: Student, draw: Draw) -> None:
    """Two positions in one epoch get different noise."""
    key, position = draw.key(), draw.integers(0, 1000).item()
    one, other = noise(student, key, 3, position), noise(student, key, 3, position + 1)
    require(not np.array_equal(one, other), "Two examples of one epoch got the same noise.", got=one)


@jitter_task.check
def another_noise_in_each_epoch(student: Student, draw: Draw) -> None:
    """One position in two epochs gets different noise."""
    key, position = draw.key(), draw.integers(0, 1000).item()
    one, other = noise(student, key, 3, position), noise(student, key, 4, position)
    require(not np.array_equal(one, other), "The same position got the same noise in two epochs.", got=one)


@jitter_task.check
def epoch_and_position_are_two_numbers(student: Student, draw: Draw) -> None:
    """Epoch 1, position 2 and epoch 2, position 1 get different noise."""
    key = draw.key()
    one, other = noise(student, key, 1, 2), noise(student, key, 2, 1)
    require(
        not np.array_equal(one, other),
        "Position 2 of epoch 1 and position 1 of epoch 2 got the same noise.",
        got=one,
    )


@jitter_task.check
def another_noise_in_each_run(student: Student, draw: Draw) -> None:
    """Two keys give different noise at the same place."""
    one, other = noise(student, draw.key(), 3, 5), noise(student, draw.key(), 3, 5)
    require(not np.array_equal(one, other), "Two runs with different keys got the same noise.", got=one)


@jitter_task.check
def the_noise_is_as_told(student: Student, draw: Draw) -> None:
    """The example plus 0.1 times normal numbers, with the epoch folded in first, then the position."""
    example, key = draw.normal(SIZE), draw.key()
    epoch, position = draw.integers(0, 9), draw.integers(10, 99)
    jittered = student.jitter(example, key, epoch, position)
    drawn = normal(fold_in(fold_in(key.data, epoch.item()), position.item()), SIZE)
    # a tenth of JAX's own error is 5 eps of what is drawn; a length of 4 allows 16
    compare(jittered, example + 0.1 * drawn, length=4, magnitude=np.abs(example) + np.abs(drawn))


@jitter_task.wrong("All examples of an epoch get the same noise: fold the position in, too.")
def only_the_epoch(example: Any, key: Any, epoch: Any, position: Any) -> Any:
    return example + 0.1 * jax.random.normal(jax.random.fold_in(key, epoch), example.shape)


@jitter_task.wrong("An example gets the same noise in every epoch: fold the epoch in, too.")
def only_the_position(example: Any, key: Any, epoch: Any, position: Any) -> Any:
    return example + 0.1 * jax.random.normal(jax.random.fold_in(key, position), example.shape)


@jitter_task.wrong(
    "You add epoch and position: position 2 of epoch 1 is then position 1 of epoch 2. Fold one in after the other."
)
def summed(example: Any, key: Any, epoch: Any, position: Any) -> Any:
    return example + 0.1 * jax.random.normal(jax.random.fold_in(key, epoch + position), example.shape)


@jitter_task.wrong("You use the run's key as it is, so every example gets the same noise: make a key of its own first.")
def the_key_itself(example: Any, key: Any, epoch: Any, position: Any) -> Any:
    return example + 0.1 * jax.random.normal(key, example.shape)


@jitter_task.wrong("The key is not used, so every run draws the same: fold into the key that you are given.")
def key_not_used(example: Any, key: Any, epoch: Any, position: Any) -> Any:
    own_key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), epoch), position)
    return example + 0.1 * jax.random.normal(own_key, example.shape)


@jitter_task.wrong("You fold the position in first: as good, but other numbers. Here the epoch comes first.")
def position_first(example: Any, key: Any, epoch: Any, position: Any) -> Any:
    own_key = jax.random.fold_in(jax.random.fold_in(key, position), epoch)
    return example + 0.1 * jax.random.normal(own_key, example.shape)


@jitter_task.wrong("The noise is too large: multiply it by 0.1.")
def too_large(example: Any, key: Any, epoch: Any, position: Any) -> Any:
    own_key = jax.random.fold_in(jax.random.fold_in(key, epoch), position)
    return example + jax.random.normal(own_key, example.shape)


@jitter_task.wrong("You return the noise alone: add it to the example.")
def noise_alone(example: Any, key: Any, epoch: Any, position: Any) -> Any:
    own_key = jax.random.fold_in(jax.random.fold_in(key, epoch), position)
    return 0.1 * jax.random.normal(own_key, example.shape)


@jitter_task.wrong("One number is drawn and added to all: draw as many as the example has, with its shape.")
def one_number(example: Any, key: Any, epoch: Any, position: Any) -> Any:
    own_key = jax.random.fold_in(jax.random.fold_in(key, epoch), position)
    return example + 0.1 * jax.random.normal(own_key)


# Prefetch


prefetch_task = exercise.task(
    "prefetch",
    points=2,
    hints=Hints(
        concept="It is a queue. Fill it before anything comes out; from then on, each time the oldest has been taken away, ask for one "
        "more. When there are no more, go on until it is empty.",
        where="The lesson's section 'Prefetch'. It is `shuffle_buffer` without chance: the oldest comes out. "
        "`collections.deque` has `popleft`; `itertools.islice(stream, 1)` has the next element, or none at the end.",
        almost_code="held = collections.deque(itertools.islice(stream, ...))\nwhile held:\n    yield held.popleft()\n"
        "    held.extend(itertools.islice(stream, ...))",
    ),
)


PULLED_TOO_EARLY = (
    "One element too many is held: the next one is pulled before the oldest is yielded. `for element in stream` does that. "
    "Yield first, then pull."
)


@prefetch_task.check
def all_in_order(student: Student, draw: Draw) -> None:
    """Every element comes out, in the order of the stream; a stream may be shorter than `count`."""
    for length in (9, 2):
        items = draw.permutation(length).tolist()
        got = run(student.prefetch(stream(items), static(3)), items).outputs
        require(got == items, "What goes in should come out, in the same order.", got=got, expected=items)


@prefetch_task.check
def is_ahead(student: Student, draw: Draw) -> None:
    """It pulls `count` elements before the first one comes out, and holds that many whenever the next is asked for."""
    items = draw.permutation(12).tolist()
    got = run(student.prefetch(stream(items), static(4)), items)
    require(before_first(got) >= 4, "The first one came out too early: `count` elements should have been pulled by then.",
            got=f"{before_first(got)} pulled before the first came out", expected="4")  # fmt: skip
    pulled = yielded = 0
    for event in got.events:
        pulled, yielded = pulled + (event[0] == "pull"), yielded + (event[0] == "yield")
        require(
            event[0] != "yield" or pulled in (12, *range(yielded + 3, 12)),
            "It fell behind: after each element that comes out the next one should be pulled at once.",
            got=f"{pulled - yielded + 1} held when number {yielded} came out",
            expected="4",
        )


@prefetch_task.check
def holds_no_more(student: Student, draw: Draw) -> None:
    """It never holds more than `count` elements."""
    items = draw.permutation(12).tolist()
    got = run(student.prefetch(stream(items), static(4)), items)
    require(
        got.held != 5,
        PULLED_TOO_EARLY,
        got="5 held at once",
        expected="at most 4",
    )
    require(got.held <= 4, "More than `count` elements are held at once: pull one only when one has been yielded.",
            got=f"{got.held} held at once", expected="at most 4")  # fmt: skip


@prefetch_task.check
def prefetches_anything(student: Student, draw: Draw) -> None:
    """Elements can be anything, None too: it is the stream that says when it ends."""
    items = [draw.integers(0, 9).item(), None, [1, 2], None, 0, []]
    got = iterate(student.prefetch(stream(items), static(2)), limit=20).outputs
    require(repr(got) == repr(items), "None, 0 and [] are elements like any others.", got=got, expected=items)


@prefetch_task.check(draws=1)
def refuses_no_count(student: Student, draw: Draw) -> None:
    """A count below 1 is refused with a ValueError."""
    for count in (0, -1):
        asked = student.prefetch(stream([1, 2]), static(count))
        said = f"A count of {count} should raise a ValueError."
        expect_error(functools.partial(iterate, asked, limit=8), "ValueError", said)


@prefetch_task.wrong("Nothing is pulled ahead: each element is asked for only when it is needed.")
def nothing_ahead(stream: Any, count: Any) -> Any:
    if count < 1:
        raise ValueError("count")
    yield from stream


@prefetch_task.wrong(PULLED_TOO_EARLY)
def one_too_many(stream: Any, count: Any) -> Any:
    if count < 1:
        raise ValueError("count")
    held: Any = collections.deque()
    for element in stream:
        held.append(element)
        if len(held) > count:
            yield held.popleft()
    yield from held


@prefetch_task.wrong(
    "You fill the queue only when it is empty, so that it runs low: pull one after each that you yield."
)
def block_by_block(stream: Any, count: Any) -> Any:
    if count < 1:
        raise ValueError("count")
    while held := list(itertools.islice(stream, count)):
        yield from held


@prefetch_task.wrong("You read the whole stream first: hold `count` elements, and no more.")
def everything_ahead(stream: Any, count: Any) -> Any:
    if count < 1:
        raise ValueError("count")
    yield from list(stream)


@prefetch_task.wrong("What is held when the stream ends is lost: go on until the queue is empty.")
def rest_is_lost(stream: Any, count: Any) -> Any:
    if count < 1:
        raise ValueError("count")
    held = collections.deque(itertools.islice(stream, count))
    for element in stream:
        yield held.popleft()
        held.append(element)


@prefetch_task.wrong("The newest comes out first: take the oldest one, with popleft() or pop(0).")
def newest_first(stream: Any, count: Any) -> Any:
    if count < 1:
        raise ValueError("count")
    held = list(itertools.islice(stream, count))
    while held:
        yield held.pop()
        held.extend(itertools.islice(stream, 1))


@prefetch_task.wrong("A count below 1 passes silently: raise a ValueError.")
def no_count_passes(stream: Any, count: Any) -> Any:
    held = collections.deque(itertools.islice(stream, max(count, 1)))
    while held:
        yield held.popleft()
        held.extend(itertools.islice(stream, 1))


# The chain


chain_task = exercise.task(
    "training_batches",
    points=3,
    needs=["batch", "repeat", "prefetch"],
    hints=Hints(
        concept="Work from the inside out: a function that makes one shuffled epoch, repeated; each example parsed; "
        "those in batches; the batches ahead of time. Nothing is read into a list.",
        where="The lesson's section 'The chain'. The function that `repeat` calls is one of your own, inside of yours: it takes an "
        "epoch's number and shuffles what `make_examples` gives for it. Python's `map(parse, stream)` is a stream.",
        almost_code="def shuffled(epoch):\n    return shuffle(make_examples(...), buffer_size, seed, ...)\n"
        "examples = map(parse, repeat(..., epochs))\nreturn prefetch(batch(...), ahead)",
    ),
)

MIXED_EPOCHS = (
    "The epochs are mixed, an example came again before another had come once: shuffle inside of the function that makes an "
    "epoch, and repeat that."
)
SAME_ORDER = "Two epochs came in the same order: give `shuffle` the epoch's own number."
SAME_FOR_ALL_SEEDS = "Two seeds gave the same order: hand the seed to `shuffle`."
COUNT, EPOCHS, BUFFER, BATCH, AHEAD = 25, 2, 12, 4, 3


def parsed(example: int) -> int:
    """What `parse` makes of an example."""
    return 1000 + 7 * example


def chain(student: Student, seed: int) -> Expression:
    """Epochs of `COUNT` examples through the student's chain."""
    parse = static({example: parsed(example) for example in range(COUNT)}).get
    sizes = map(static, (EPOCHS, BUFFER, BATCH, AHEAD, seed))
    return student.training_batches(epochs_of([list(range(COUNT))] * (EPOCHS + 1)), parse, *sizes)


def chained(student: Student, seed: int) -> tuple[list[list[int]], Transcript]:
    """The batches with each example's number in place of what it was parsed to, and how they came."""
    numbers = {parsed(example): example for example in range(COUNT)}
    got = run_batches(chain(student, seed), [*numbers, *range(COUNT)])
    require(all(got.outputs), "A batch without an example came out.", got=first(got.outputs))
    inside = joined(got.outputs)
    raw = [element for element in inside if element not in numbers]
    require(not raw, "An element of a batch is not what `parse` makes of an example.",
            got=raw[0] if raw else None, expected="one of 1000, 1007, 1014, ...")  # fmt: skip
    return [[numbers[element] for element in output] for output in got.outputs], got


@chain_task.check
def every_example_in_every_epoch(student: Student, draw: Draw) -> None:
    """Each example comes once per epoch, parsed."""
    batches, _ = chained(student, draw.seed())
    counts = [joined(batches).count(example) for example in range(COUNT)]
    wrong = [
        f"example {example} came {'once' if times == 1 else f'{times} times'}"
        for example, times in enumerate(counts)
        if times != EPOCHS
    ]
    require(not wrong, "In two epochs each example should come twice.", got=", ".join(wrong[:3]), expected="each twice")


@chain_task.check
def shuffles_examples(student: Student, draw: Draw) -> None:
    """It is the examples that are shuffled, not the batches."""
    batches, _ = chained(student, draw.seed())
    neighbours = [batch for batch in batches if batch == list(range(batch[0], batch[0] + len(batch)))]
    require(
        2 * len(neighbours) < len(batches),
        "Most batches hold neighbours, in order: shuffle comes first, before batch.",
        got=first(batches[:3]),
    )


@chain_task.check
def keeps_epochs_apart(student: Student, draw: Draw) -> None:
    """One epoch is over before the next begins: of 25 examples in a row, each comes once."""
    batches, _ = chained(student, draw.seed())
    mixed = [epoch for epoch in epochs_in(batches, COUNT) if not whole(epoch)]
    require(not mixed, MIXED_EPOCHS,
            got=f"25 examples in a row, {len(set(mixed[0])) if mixed else 0} of them different", expected="all of them different")  # fmt: skip


@chain_task.check
def fills_the_batches(student: Student, draw: Draw) -> None:
    """All batches are full, but for the very last one: where an epoch ends, the next one fills the batch."""
    batches, _ = chained(student, draw.seed())
    sizes, expected = list(map(len, batches)), [4] * 12 + [2]
    require(sizes == expected, "25 examples twice, in batches of 4: only the last one is short.",
            got=sizes, expected=expected)  # fmt: skip


@chain_task.check
def another_order_in_each_epoch(student: Student, draw: Draw) -> None:
    """Each epoch has another order."""
    batches, _ = chained(student, draw.seed())
    epochs = epochs_in(batches, COUNT)
    require(epochs[:1] != epochs[1:2], SAME_ORDER, got=first(joined(epochs[:1])))


@chain_task.check
def the_seed_decides(student: Student, draw: Draw) -> None:
    """The same seed gives the same orders, another seed others."""
    seed = draw.seed()
    once, _ = chained(student, seed)
    other, _ = chained(student, seed + 1)
    require(once != other, SAME_FOR_ALL_SEEDS, got=first(joined(once)))
    again, _ = chained(student, seed)
    require(once == again, "The same seed gave two different orders: take all chance from `shuffle`.")


@chain_task.check
def keeps_batches_ahead(student: Student, draw: Draw) -> None:
    """`ahead` batches are ready before the first one comes out, and no more is held than these and the shuffle's buffer."""
    _, got = chained(student, draw.seed())
    needed = BUFFER - 1 + AHEAD * BATCH
    require(
        before_first(got) >= needed,
        f"Too little is pulled ahead: for {AHEAD} batches of {BATCH} and a full buffer of {BUFFER} it takes {needed} examples "
        "or one more before the first batch comes out.",
        got=f"{before_first(got)} pulled before the first batch",
    )
    held = most = 0
    for event in got.events:
        held += 1 if event[0] == "pull" else -len(event[1]) if event[0] == "yield" else 0
        most = max(most, held)
    require(
        most <= needed + 2,
        "More is held than the buffer and the batches that are ahead: every part should be a generator, none a list.",
        got=f"{most} examples held at once",
        expected=f"at most {needed + 2}",
    )


@chain_task.wrong(
    "Batches are shuffled instead of examples: what stood side by side stays in one batch. Shuffle first."
)
def batch_before_shuffle(
    make_examples: Any, parse: Any, epochs: Any, buffer_size: Any, batch_size: Any, ahead: Any, seed: Any
) -> Any:
    def one_epoch(epoch: Any) -> Any:
        return shuffle(batch(map(parse, make_examples(epoch)), batch_size, False), buffer_size, seed, epoch)

    return prefetch(repeat(one_epoch, epochs), ahead)


@chain_task.wrong(MIXED_EPOCHS)
def repeat_before_shuffle(
    make_examples: Any, parse: Any, epochs: Any, buffer_size: Any, batch_size: Any, ahead: Any, seed: Any
) -> Any:
    examples = shuffle(repeat(make_examples, epochs), buffer_size, seed, 0)
    return prefetch(batch(map(parse, examples), batch_size, False), ahead)


@chain_task.wrong("Each epoch ends with a short batch: put what is repeated into batches, not the other way round.")
def batch_before_repeat(
    make_examples: Any, parse: Any, epochs: Any, buffer_size: Any, batch_size: Any, ahead: Any, seed: Any
) -> Any:
    def one_epoch(epoch: Any) -> Any:
        return batch(map(parse, shuffle(make_examples(epoch), buffer_size, seed, epoch)), batch_size, False)

    return prefetch(repeat(one_epoch, epochs), ahead)


@chain_task.wrong(SAME_ORDER)
def same_order(
    make_examples: Any, parse: Any, epochs: Any, buffer_size: Any, batch_size: Any, ahead: Any, seed: Any
) -> Any:
    def shuffled_epoch(epoch: Any) -> Any:
        return shuffle(make_examples(epoch), buffer_size, seed, 0)

    return prefetch(batch(map(parse, repeat(shuffled_epoch, epochs)), batch_size, False), ahead)


@chain_task.wrong(SAME_FOR_ALL_SEEDS)
def seed_not_used(
    make_examples: Any, parse: Any, epochs: Any, buffer_size: Any, batch_size: Any, ahead: Any, seed: Any
) -> Any:
    def shuffled_epoch(epoch: Any) -> Any:
        return shuffle(make_examples(epoch), buffer_size, 0, epoch)

    return prefetch(batch(map(parse, repeat(shuffled_epoch, epochs)), batch_size, False), ahead)


@chain_task.wrong("The examples come out as they were: apply parse to each of them, with map.")
def not_parsed(
    make_examples: Any, parse: Any, epochs: Any, buffer_size: Any, batch_size: Any, ahead: Any, seed: Any
) -> Any:
    def shuffled_epoch(epoch: Any) -> Any:
        return shuffle(make_examples(epoch), buffer_size, seed, epoch)

    return prefetch(batch(repeat(shuffled_epoch, epochs), batch_size, False), ahead)


@chain_task.wrong("The remainder is dropped: the last examples of the last epoch are lost. Keep it.")
def remainder_dropped(
    make_examples: Any, parse: Any, epochs: Any, buffer_size: Any, batch_size: Any, ahead: Any, seed: Any
) -> Any:
    def shuffled_epoch(epoch: Any) -> Any:
        return shuffle(make_examples(epoch), buffer_size, seed, epoch)

    return prefetch(batch(map(parse, repeat(shuffled_epoch, epochs)), batch_size, True), ahead)


@chain_task.wrong("Nothing is prefetched: put prefetch around the batches.")
def not_prefetched(
    make_examples: Any, parse: Any, epochs: Any, buffer_size: Any, batch_size: Any, ahead: Any, seed: Any
) -> Any:
    def shuffled_epoch(epoch: Any) -> Any:
        return shuffle(make_examples(epoch), buffer_size, seed, epoch)

    return batch(map(parse, repeat(shuffled_epoch, epochs)), batch_size, False)


@chain_task.wrong("You prefetch examples, not batches: prefetch comes last.")
def prefetch_before_batch(
    make_examples: Any, parse: Any, epochs: Any, buffer_size: Any, batch_size: Any, ahead: Any, seed: Any
) -> Any:
    def shuffled_epoch(epoch: Any) -> Any:
        return shuffle(make_examples(epoch), buffer_size, seed, epoch)

    return batch(prefetch(map(parse, repeat(shuffled_epoch, epochs)), ahead), batch_size, False)


@chain_task.wrong("A list holds all examples of all epochs at once: hand streams on, and make no list of them.")
def all_in_a_list(
    make_examples: Any, parse: Any, epochs: Any, buffer_size: Any, batch_size: Any, ahead: Any, seed: Any
) -> Any:
    def shuffled_epoch(epoch: Any) -> Any:
        return shuffle(make_examples(epoch), buffer_size, seed, epoch)

    examples = [parse(example) for example in repeat(shuffled_epoch, epochs)]
    return prefetch(batch(iter(examples), batch_size, False), ahead)


# Stop, and go on


resumable_task = exercise.task(
    "resumable",
    points=4,
    hints=Hints(
        concept="Where one is takes two numbers: which epoch, and how many of its elements are done. To go on, make that epoch again, "
        "let the ones that are done go by, and from the next epoch on let nothing go by.",
        where="The lesson's section 'Stop, and go on'. `enumerate(stream)` numbers the elements of an epoch from 0. "
        "The state that comes with an element counts this element as done, too.",
        almost_code="epoch, done = (0, 0) if state is None else (state['epoch'], state['done'])\nwhile True:\n"
        "    for position, element in enumerate(make_stream(epoch)):\n        if position >= ...:\n"
        "            yield element, {'epoch': ..., 'done': ...}\n    epoch, done = ..., ...",
    ),
)


def pairs_of(expression: Expression, limit: int) -> tuple[list[Any], list[Any], Transcript]:
    """The elements, the states after having been through JSON, and the transcript."""
    got = served(expression, limit)
    odd = [output for output in got.outputs if type(output) is not tuple or len(output) != 2]
    require(not odd, "It should yield pairs: an element, and the state to go on from.", got=repr(odd[:1])[1:-1][:200])
    elements = [element for element, _ in got.outputs]
    require(all(type(element) is int for element in elements), "The first of each pair should be the element as it is.",
            got=repr(elements[:3])[:200])  # fmt: skip
    return elements, [through_json(state) for _, state in got.outputs], got


def through_json(state: Any) -> Any:
    """A state as it comes back from a file."""
    try:
        return json.loads(json.dumps(state, allow_nan=False))
    except (TypeError, ValueError):
        require(
            False,
            "A state should be made of numbers, strings, None, lists and dicts, so that JSON can hold it.",
            got=repr(state)[:200],
        )


def upto(epochs: list[list[int]], count: int) -> list[int]:
    """The first elements of all epochs."""
    return joined(epochs)[:count]


@resumable_task.check
def begins_at_the_beginning(student: Student, draw: Draw) -> None:
    """From None it yields the elements of all epochs, one epoch after the other, each with a state."""
    epochs = distinct_epochs(draw, 4, 4)
    elements, _, _ = pairs_of(student.resumable(epochs_of(epochs), static(None)), 11)
    require(elements == upto(epochs, 11), "These should be the elements of epochs 0, 1, 2, ...",
            got=elements, expected=upto(epochs, 11))  # fmt: skip


@resumable_task.check
def goes_on_from_every_state(student: Student, draw: Draw) -> None:
    """From each state that was saved it goes on with the element that comes next."""
    epochs = distinct_epochs(draw, 5, 4)
    expected = upto(epochs, 16)
    _, states, _ = pairs_of(student.resumable(epochs_of(epochs), static(None)), 10)
    require(len(states) == 10, "It came to an end, and should go on for ever.", got=f"{len(states)} pairs")
    for done, state in enumerate(states, start=1):
        elements, _, _ = pairs_of(student.resumable(epochs_of(epochs), static(state)), 6)
        require(
            elements == expected[done : done + 6],
            f"Stopped after {_elements(done)} of epochs of 4, with the state {state}, it went on in another way.",
            got=elements,
            expected=expected[done : done + 6],
        )


def _elements(count: int) -> str:
    return "one element" if count == 1 else f"{count} elements"


@resumable_task.check
def can_be_stopped_again(student: Student, draw: Draw) -> None:
    """A run that was stopped and went on can be stopped and go on again."""
    epochs = distinct_epochs(draw, 8, 5)
    got: list[int] = []
    state = None
    for count in (2, 1, 1, 4, 2, 3):
        elements, states, _ = pairs_of(student.resumable(epochs_of(epochs), static(state)), count)
        got, state = got + elements, states[-1] if states else None
    require(got == upto(epochs, 13), "Stopped after 2, 3, 4, 8 and 10 elements of epochs of 5, it did not give what it gives in one go.",
            got=got, expected=upto(epochs, 13))  # fmt: skip


@resumable_task.check
def leaves_old_epochs_alone(student: Student, draw: Draw) -> None:
    """To go on it makes the epoch that was stopped in, not those before it, and reads nothing ahead."""
    epochs = distinct_epochs(draw, 5, 4)
    _, states, _ = pairs_of(student.resumable(epochs_of(epochs), static(None)), 10)
    _, _, got = pairs_of(student.resumable(epochs_of(epochs), static(states[-1])), 3)
    old = [element for element in pulls(got.events) if element < 200]
    require(not old, "Stopped in epoch 2, it went through the epochs before it again.",
            got=f"{len(old)} elements of epochs 0 and 1 pulled", expected="none")  # fmt: skip
    _, _, got = pairs_of(student.resumable(epochs_of(epochs), static(None)), 7)
    require(got.held <= 1, "Elements were pulled ahead of time: yield each one before you ask for the next.",
            got=f"{got.held} held at once", expected="1")  # fmt: skip


@resumable_task.check
def keeps_the_state_small(student: Student, draw: Draw) -> None:
    """The state stays as small as it was at the beginning."""
    epochs = distinct_epochs(draw, 3, 40)
    _, states, _ = pairs_of(student.resumable(epochs_of(epochs), static(None)), 90)
    sizes = [len(json.dumps(state)) for state in states]
    require(len(sizes) == 90 and sizes[-1] <= sizes[0] + 10 and max(sizes) <= 200,
            "The state grows with the run: keep where one is, not what came out.",
            got=f"{sizes[0]} characters after the first element, {sizes[-1]} after 90")  # fmt: skip


@resumable_task.wrong("The state does not say which epoch it was: it goes on in epoch 0.")
def epoch_forgotten(make_stream: Any, state: Any) -> Any:
    epoch, done = 0, state or 0
    while True:
        for position, element in enumerate(make_stream(epoch)):
            if position >= done:
                yield element, position + 1
        epoch, done = epoch + 1, 0


@resumable_task.wrong("An element comes twice: the state that is yielded with an element counts it as done.")
def element_twice(make_stream: Any, state: Any) -> Any:
    epoch, done = state or (0, 0)
    while True:
        for position, element in enumerate(make_stream(epoch)):
            if position >= done:
                yield element, [epoch, position]
        epoch, done = epoch + 1, 0


@resumable_task.wrong("An element is left out where it goes on: let go by as many as are done, and no more.")
def element_left_out(make_stream: Any, state: Any) -> Any:
    epoch, done = state or (0, 0)
    while True:
        for position, element in enumerate(make_stream(epoch)):
            if position > done or state is None:
                yield element, [epoch, position + 1]
        epoch, done, state = epoch + 1, 0, None


@resumable_task.wrong("The state is not looked at: it always begins with epoch 0.")
def begins_again(make_stream: Any, state: Any) -> Any:
    for epoch in itertools.count():
        for position, element in enumerate(make_stream(epoch)):
            yield element, [epoch, position + 1]


@resumable_task.wrong(
    "Later epochs lose their first elements, too: only in the epoch that was stopped in is something done already."
)
def every_epoch_cut(make_stream: Any, state: Any) -> Any:
    epoch, done = state or (0, 0)
    for number in itertools.count(epoch):
        for position, element in enumerate(make_stream(number)):
            if position >= done:
                yield element, [number, position + 1]


@resumable_task.wrong(
    "You count from where it went on, not from the beginning of the epoch: the second time it goes on too early."
)
def counts_since_then(make_stream: Any, state: Any) -> Any:
    epoch, done = state or (0, 0)
    while True:
        for count, element in enumerate(itertools.islice(make_stream(epoch), done, None), start=1):
            yield element, [epoch, count]
        epoch, done = epoch + 1, 0


@resumable_task.wrong("All epochs are gone through again to go on: save which epoch it was, and begin with that one.")
def from_the_very_first(make_stream: Any, state: Any) -> Any:
    elements = itertools.chain.from_iterable(make_stream(epoch) for epoch in itertools.count())
    for count, element in enumerate(elements, start=1):
        if count > (state or 0):
            yield element, count


@resumable_task.wrong("The state holds all elements that came out, and grows with the run: keep how many there were.")
def keeps_what_came(make_stream: Any, state: Any) -> Any:
    epoch, seen = state or (0, [])
    while True:
        for element in make_stream(epoch):
            if element not in seen:
                seen = [*seen, element]
                yield element, [epoch, seen]
        epoch, seen = epoch + 1, []
