"""Checking save after save: what is checked again, what stays, which files have been saved."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aidl_jax.exercise import Draw, Exercise, Hints, Student, compare
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.forks import Forks
from aidl_jax.grade.handin import Document
from aidl_jax.grade.judge import judge
from aidl_jax.grade.process import Processes
from aidl_jax.grade.record import Record
from aidl_jax.grade.saves import GONE, Saved, Saves
from aidl_jax.grade.session import Session
from aidl_jax.grade.watching import Watch, needed_texts

HINTS = Hints("the idea", "where to look", "nearly the line")
RIGHT = """
FACTOR = 2.0

def double(x):
    return x * FACTOR

def triple(x):
    return x * 3.0

def six(x):
    return double(triple(x))
"""


class Course:
    """An exercise whose checks note that they are run."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.exercise = Exercise("Times", time_limit=60.0)
        for name, factor in (("double", 2.0), ("triple", 3.0), ("six", 6.0)):
            self._add(name, factor)

    def _add(self, name: str, factor: float) -> None:
        task = self.exercise.task(name, points=1, hints=HINTS)

        @task.check
        def multiplies(student: Student, draw: Draw) -> None:
            """It multiplies."""
            self.ran.append(name)
            x = draw.normal(3)
            compare(getattr(student, name)(x), factor * x)

        @task.wrong("You added instead of multiplying.")
        def added(x):  # type: ignore[no-untyped-def]
            return x + 3.0

    def again(self) -> list[str]:
        """What has been checked since the last time."""
        ran, self.ran = list(dict.fromkeys(self.ran)), []
        return ran


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as made:
        yield made


@pytest.fixture
def watch(forks: Forks) -> Iterator[Watch]:
    watch = Watch(forks.start)
    yield watch
    watch.close()


def document(text: str) -> Document:
    return Document("times.py", (Cell("times.py", text),))


def checked(watch: Watch, course: Course, text: str) -> list[Record]:
    """All that is told of one save."""
    watch.begin("s01/times", course.exercise, document(text))
    assert watch.check is not None
    watch.check.thread.join(60.0)
    found = []
    while not found or not found[-1].final:
        told = watch.told()
        assert told is not None
        found.append(told)
    assert watch.told() is None
    return [told.record for told in found]


def test_the_record_is_that_of_a_check_from_scratch(watch: Watch, forks: Forks) -> None:
    course = Course()
    texts = [RIGHT, RIGHT.replace("x * 3.0", "x + 3.0"), RIGHT.replace("2.0", "2.5"), "def double(x:", RIGHT]
    for text in texts:
        with Session(document(text).cells, course.exercise, Processes(forks.start)) as session:
            expected = judge("s01/times", course.exercise, session, 0)
        (*_, found) = checked(watch, course, text)
        assert found.tasks == expected.tasks
        assert found.source == "times.py"


def test_only_what_may_have_changed_is_checked_again(watch: Watch) -> None:
    course = Course()
    checked(watch, course, RIGHT)
    assert course.again() == ["double", "triple", "six"]
    checked(watch, course, RIGHT.replace("def triple", "# a comment between functions\n\nprint(six)\n\ndef triple"))
    assert course.again() == []
    checked(watch, course, RIGHT.replace("2.0", "4.0 / 2.0"))  # a constant that two of them use
    assert course.again() == ["double", "six"]
    checked(watch, course, RIGHT.replace("x * 3.0", "x + 3.0"))
    assert course.again() == ["double", "triple", "six"]
    checked(watch, course, RIGHT.replace("x * 3.0", "x + 3.0") + "\n# and nothing else\n")  # what failed is not known
    assert course.again() == ["triple", "six"]


def test_the_verdict_comes_before_its_explanation(watch: Watch) -> None:
    first, second = checked(watch, Course(), RIGHT.replace("x * 3.0", "x + 3.0"))
    assert [task.verdict for task in first.tasks] == [task.verdict for task in second.tasks]
    misconceptions = [record.tasks[1].failure.misconceptions for record in (first, second) if record.tasks[1].failure]
    assert misconceptions == [[], ["You added instead of multiplying."]]


def test_the_runner_stays_unless_it_must_be_killed(watch: Watch) -> None:
    course, runner = Course(), watch.runner
    checked(watch, course, RIGHT)
    assert watch.runner is runner
    loops = RIGHT.replace(
        "return x * FACTOR", "import jax\n    return jax.lax.while_loop(lambda y: y[0] < 9e9, lambda y: y * 1.0, x)"
    )
    watch.begin("s01/times", course.exercise, document(loops))
    watch.begin("s01/times", course.exercise, document(RIGHT))  # takes the place of the endless one, wherever that is
    assert watch.check is not None
    watch.check.thread.join(60.0)
    told = watch.told()
    assert told is not None and told.record.points == 3


def test_what_a_task_needs_is_its_text_with_all_that_it_uses() -> None:
    texts = needed_texts(document(RIGHT), Course().exercise)
    assert texts["double"] == "FACTOR = 2.0\n\ndef double(x):\n    return x * FACTOR"
    assert "def triple" in texts["six"] and "def double" in texts["six"] and "FACTOR" in texts["six"]
    assert "six" not in needed_texts(document("def double(x): ..."), Course().exercise)


def test_saves_are_seen_by_their_content(tmp_path: Path) -> None:
    file, other = tmp_path / "a.py", tmp_path / "later.py"
    file.write_text("one")
    saves = Saves([file, other])
    assert saves.changed() == []
    os.utime(file, ns=(1, 1))  # touched, nothing new in it
    assert saves.changed() == []
    file.write_text("two")
    assert saves.changed() == [Saved(file, b"two", b"one")]
    beside = tmp_path / "a.swp"
    beside.write_text("six")
    os.replace(beside, file)
    other.write_text("new")
    assert saves.changed() == [Saved(file, b"six", b"two"), Saved(other, b"new", None)]


def test_a_file_that_is_away_for_a_moment_is_not_missing(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("one")
    saves = Saves([file])
    file.unlink()
    told = []
    for _ in range(GONE + 5):
        assert saves.changed() == []
        told.append(saves.missing(file))
    assert told == [number == GONE - 1 for number in range(GONE + 5)]  # once
    file.write_text("one")
    assert saves.changed() == [] and not saves.missing(file)


def test_a_check_that_goes_wrong_is_not_silent(watch: Watch) -> None:
    course = Course()

    watch.begin("s01/times", course.exercise, document(RIGHT))
    assert watch.check is not None
    watch.check.thread.join(60.0)
    watch.check.told.get_nowait()
    watch.check.told.put(OSError("the disk is gone"))
    with pytest.raises(OSError, match="the disk is gone"):
        watch.told()
    assert watch.check is None
