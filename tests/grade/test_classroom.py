"""A class graded: the same bytes from the same seed, nothing lost, no one stopped by another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aidl_jax.errors import UsageError
from aidl_jax.exercise.course import Course, open_course
from aidl_jax.grade import classroom
from aidl_jax.grade.children import PlainChild
from aidl_jax.grade.classroom import ClassRun, read_class
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.handin import Document, HandIn
from aidl_jax.grade.inbox import Arrival, read_inbox
from aidl_jax.grade.journal import Journal, JournalError
from aidl_jax.grade.record import CheckRecord, FailureRecord, Record, TaskRecord

ROOT = Path(__file__).parents[2]
LINES = "s02_graphs/linear_regression"
ABOUT = {"course": "c", "seed": 1, "unsafe": True}


def record_of(verdict: Any, points: int = 0) -> Record:
    failure = FailureRecord("ungraded", "why") if verdict == "ungraded" else None
    check = CheckRecord("c", "It holds.", verdict, failure)
    return Record(LINES, "Lines", 1, [TaskRecord("predict", verdict, points, 10, checks=[check])], "from.py")


def document(text: str) -> Document:
    return Document("answer.py", (Cell("answer.py", text),))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[ClassRun]:
    course = open_course()
    with Journal(tmp_path, ABOUT) as journal:
        yield ClassRun(course, {LINES: course.exercise(LINES)}, 1, 2, PlainChild, journal)


class NoProcesses:
    """Stands where a worker and a runner would be started."""

    def __init__(self, start: Any) -> None: ...
    def close(self) -> None: ...


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were checked, by a stand-in that passes all but what says "broken" or "ungraded"."""
    seen: list[str] = []

    def check(name: str, exercise: Any, document: Document, **more: Any) -> Record:
        seen.append(document.text)
        if "broken" in document.text:
            raise RuntimeError("the disk is on fire")
        return record_of("ungraded" if "ungraded" in document.text else "passed", 2)

    monkeypatch.setattr(classroom, "Processes", NoProcesses)
    monkeypatch.setattr(classroom, "check_document", check)
    return seen


def hand_in(student: str, text: str) -> HandIn:
    return HandIn(student, {LINES: document(text)})


def test_a_fault_with_one_student_does_not_stop_the_others(run: ClassRun, checked: list[str]) -> None:
    told: list[str] = []
    hand_ins = [hand_in("good", "a"), hand_in("bad", "broken"), hand_in("fine", "b")]
    graded = run.grade(hand_ins, lambda one: told.append(one.student))
    assert [one.student for one in graded] == ["good", "bad", "fine"]
    assert sorted(told) == ["bad", "fine", "good"]
    assert graded[1].problems == {LINES: "ungraded, by a fault of the grader's: RuntimeError: the disk is on fire"}
    assert [one.records[LINES].points for one in (graded[0], graded[2])] == [2, 2]
    assert hand_ins[1].problems == {}


def test_equal_answers_are_graded_once_and_a_second_run_grades_nothing(run: ClassRun, checked: list[str]) -> None:
    run.jobs = 1
    hand_ins = [hand_in("ada", "a"), hand_in("bela", "a"), hand_in("cora", "c")]
    first = run.grade(hand_ins)
    assert checked == ["a", "c"]
    assert [one.records[LINES].source for one in first] == ["answer.py"] * 3
    assert run.grade(hand_ins) == first
    assert checked == ["a", "c"]
    again = run.grade([hand_in("ada", "new"), *hand_ins[1:]])
    assert checked == ["a", "c", "new"]
    assert again[0].bases[LINES].why(first[0].bases[LINES]) == "the hand-in changed"


def test_what_many_have_in_common_is_compiled_before_and_only_where_it_pays(
    run: ClassRun, checked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    known: list[Any] = []

    def compile_all(name: str, exercise: Any, path: Path, processes: Any) -> dict[str, bytes]:
        compiled.append(path.name)
        return {path.stem: b"code", "common": path.name.encode()}

    def check(*given: Any, **more: Any) -> Record:
        known.append(more["known"])
        return record_of("passed", 2)

    monkeypatch.setattr(classroom, "known_functions", compile_all)
    monkeypatch.setattr(classroom, "check_document", check)
    students = [hand_in(f"student{n}", f"text {n}") for n in range(classroom.WORTH_KNOWING)]
    run.grade(students[1:])
    assert (compiled, known) == ([], [{}] * (len(students) - 1))
    known.clear()
    run.grade(students)
    alternatives = [path.name for path in run.course.alternatives(LINES)]
    assert sorted(compiled) == sorted(["linear_regression.py", *alternatives])
    stems = [Path(name).stem for name in alternatives]
    assert known == [
        {"linear_regression": b"code", "common": alternatives[-1].encode(), **dict.fromkeys(stems, b"code")}
    ]
    compiled.clear()
    run.grade(students)
    assert compiled == [], "all were in the journal"


def test_a_class_is_graded_where_the_courses_own_answers_fail(
    run: ClassRun, checked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: Any) -> dict[str, bytes]:
        raise RuntimeError("the runner ended")

    monkeypatch.setattr(classroom, "known_functions", fails)
    students = [hand_in(f"student{n}", f"text {n}") for n in range(classroom.WORTH_KNOWING)]
    assert all(one.records[LINES].points == 2 for one in run.grade(students))


def test_what_the_grader_could_not_grade_is_tried_again(run: ClassRun, checked: list[str]) -> None:
    run.grade([hand_in("ada", "ungraded"), hand_in("bela", "broken")])
    run.grade([hand_in("ada", "ungraded"), hand_in("bela", "broken")])
    assert sorted(checked) == ["broken", "broken", "ungraded", "ungraded"]


def test_a_journal_that_cannot_be_written_ends_the_run(
    run: ClassRun, checked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(entry: object) -> None:
        raise JournalError(28, "No space left on device", "journal.jsonl")

    monkeypatch.setattr(run.journal, "add", full)
    with pytest.raises(JournalError, match="No space left"):
        run.grade([hand_in("ada", "a"), hand_in("bela", "b")])


def test_a_stop_reaches_processes_that_are_just_being_started(run: ClassRun, monkeypatch: pytest.MonkeyPatch) -> None:
    closed_when_checked: list[bool] = []

    class Starting:
        closed = False

        def __init__(self, start: Any) -> None:
            run.stop()

        def close(self) -> None:
            self.closed = True

    def check(name: str, exercise: Any, document: Any, **more: Any) -> Record:
        closed_when_checked.append(more["processes"].closed)
        return record_of("passed", 2)

    monkeypatch.setattr(classroom, "Processes", Starting)
    monkeypatch.setattr(classroom, "check_document", check)
    assert run.grade([hand_in("ada", "a")]) == []
    assert closed_when_checked == [True]
    assert run.journal.entries == {}


# Reading


def test_a_course_reads_its_exercises_once_asked_for(tmp_path: Path) -> None:
    course: Course = open_course(ROOT / "examples" / "mini_course")
    (tmp_path / "ada.py").write_text("def to_fahrenheit(celsius): return celsius\n")
    hand_ins, found = read_class(read_inbox(tmp_path), course, [])
    assert list(found) == ["s01_first/temperature"]
    assert [list(hand_in.answers) for hand_in in hand_ins] == [["s01_first/temperature"]]
    _, asked = read_class(read_inbox(tmp_path), course, ["s01_first/running_mean", "s01_first/temperature"])
    assert list(asked) == ["s01_first/running_mean", "s01_first/temperature"]


def test_who_handed_in_nothing_is_read_as_nothing() -> None:
    ((one,), _) = read_class([Arrival("ada", ())], open_course(), [LINES])
    assert one == HandIn("ada")


def test_a_class_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "bela.zip").write_bytes(b"PK")
    expected = r"no hand-in answers .*: given bela\.zip: the zip cannot be read: .*Fix: name one"
    with pytest.raises(UsageError, match=expected):
        read_class(read_inbox(tmp_path), open_course(), [])
