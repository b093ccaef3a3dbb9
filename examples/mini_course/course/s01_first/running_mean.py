"""A running mean: a generator, fed by the judge one number at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aidl_jax.exercise import Draw, Exercise, Hints, Student, iterate, require, stream

exercise = Exercise("A running mean", forbidden=["statistics"])

running_mean_task = exercise.task(
    "running_mean",
    points=2,
    hints=Hints(
        concept="A mean needs two things only: the sum so far and how many there were. Keep those, not the numbers.",
        where="The lesson's example; `yield` hands out one value and waits until the next one is asked for.",
        almost_code="for number in stream:\n    total, count = total + ..., count + 1\n    yield ...",
    ),
)


def mean_of_first(items: list[int]) -> list[float]:
    """The expected outputs."""
    return [sum(items[: n + 1]) / (n + 1) for n in range(len(items))]


@running_mean_task.check
def after_each_number(student: Student, draw: Draw) -> None:
    """After each number comes the mean of all up to it."""
    items = draw.integers(-100, 100, 6).tolist()
    expected = mean_of_first(items)
    got = iterate(student.running_mean(stream(items))).outputs
    require(all(type(mean) in (int, float) for mean in got), "Yield numbers.", got=repr(got)[:200])
    require(
        len(got) == 6 and all(abs(a - b) < 1e-9 for a, b in zip(got, expected, strict=True)),
        "These are not the means of the first number, the first two, the first three, and so on.",
        got=got,
        expected=expected,
    )


@running_mean_task.check
def does_not_wait_for_the_end(student: Student, draw: Draw) -> None:
    """Each mean comes before the next number is asked for, so the stream may be endless."""
    got = iterate(student.running_mean(stream(draw.integers(-100, 100, 20).tolist())))
    require(got.held <= 1, "It asked for a number before it had yielded the mean of those before.",
            got=f"{got.held} numbers without a mean", expected="at most 1")  # fmt: skip


@running_mean_task.wrong("You yield the sums: divide by how many numbers there were.")
def sums(stream: Any) -> Iterator[float]:
    total = 0
    for number in stream:
        total += number
        yield total


@running_mean_task.wrong("You yield the last mean alone, when the stream has ended: yield one after each number.")
def last_alone(stream: Any) -> Iterator[float]:
    numbers = list(stream)
    yield sum(numbers) / len(numbers)


@running_mean_task.wrong("You read the whole stream before the first mean: yield after each number.")
def reads_everything(stream: Any) -> Iterator[float]:
    numbers = list(stream)
    for count in range(1, len(numbers) + 1):
        yield sum(numbers[:count]) / count


@running_mean_task.wrong(
    "You take the mean of the last mean and the new number: so the last numbers count far too much."
)
def halves(stream: Any) -> Iterator[float]:
    mean = next(stream)
    yield mean
    for number in stream:
        mean = (mean + number) / 2
        yield mean
