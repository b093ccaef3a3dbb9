"""How fast an answer is: beside the course's own, shown and ranked, in no record and in no points."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from aidl_jax import cli
from aidl_jax.exercise import Exercise, Failure, Hints, Student, drain, require, static
from aidl_jax.exercise.course import open_course
from aidl_jax.exercise.requests import Transcript, iterate
from aidl_jax.grade import classroom, speed
from aidl_jax.grade.children import PlainChild
from aidl_jax.grade.class_page import class_page
from aidl_jax.grade.classroom import ClassRun
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.handin import Document, HandIn
from aidl_jax.grade.journal import Basis, Entry, Journal
from aidl_jax.grade.local import check_document
from aidl_jax.grade.outputs import write_results
from aidl_jax.grade.process import Processes
from aidl_jax.grade.record import Record, TaskRecord, to_json
from aidl_jax.grade.results import ClassResult, StudentResult
from aidl_jax.grade.speed import Speed, is_measured, measured, ranked

MINI = Path(__file__).parents[2] / "examples" / "mini_course"
NAME = "s01/counting"
RIGHT = "def counting(stop):\n    yield from range(stop)\n"
FAST, SLOW, BROKEN = (
    Speed("numbers", 900.0, 300.0),
    Speed("numbers", 999.0, 500.0),
    Speed("numbers", None, None, "=it hung"),
)


def reference_counting(stop: Any) -> Any:
    number = 0
    while number < stop:
        yield number
        number += 1


def raises(stop: Any) -> Any:
    raise ValueError("not today")


def exercise(reference: Any = reference_counting, batches: int = 5) -> Exercise:
    made = Exercise("Counting")
    counting = made.task("counting", points=2, hints=Hints("a", "b", "c"))

    @counting.check
    def counts(student: Student, draw: Any) -> None:
        """It counts."""
        require(iterate(student.counting(static(3))).outputs == [0, 1, 2], "It does not count.")

    @made.speed("numbers", 10, reference={"counting": reference})
    def numbers_per_second(student: Student) -> Any:
        """Ten numbers."""
        return drain(student.counting)(static(batches), static(10))

    return made


def document(text: str = RIGHT) -> Document:
    return Document("answer.py", (Cell("answer.py", text),))


# Measuring


class Stopwatch:
    """A clock that only questions move."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Answers:
    """Stands for a session whose questions take so many seconds each."""

    def __init__(self, exercise: Exercise, clock: Stopwatch, seconds: list[float]) -> None:
        self.exercise, self.clock, self.seconds, self.asked = exercise, clock, itertools.cycle(seconds), 0
        self.log: list[Any] = []

    def iterate(self, request: Any, limit: int) -> Transcript:
        self.clock.now += next(self.seconds)
        self.asked += 1
        return Transcript([("yield", 5), ("end",)])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    made = Stopwatch()
    monkeypatch.setattr(speed.time, "perf_counter", made)
    return made


def test_the_median_of_all_rounds_but_the_first_counts(clock: Stopwatch) -> None:
    made = exercise()
    assert made.measure is not None
    own = Answers(made, clock, [2.0, 0.1, 0.5, 0.1, 0.1, 0.4])
    other = Answers(made, clock, [0.9, 0.2, 0.2, 0.3, 0.25, 0.1])
    found = speed._in_turn(made.measure, own, other)  # type: ignore[arg-type]
    assert found == Speed("numbers", 100.0, 50.0)
    assert found.ratio == 2
    assert own.asked == other.asked == 6


def test_what_is_slow_is_asked_less_often(clock: Stopwatch) -> None:
    made = exercise()
    assert made.measure is not None
    own, other = Answers(made, clock, [5.0]), Answers(made, clock, [4.0])
    assert speed._in_turn(made.measure, own, other) == Speed("numbers", 2.0, 2.5)  # type: ignore[arg-type]
    assert own.asked == other.asked == 2


def test_who_gives_less_is_not_measured(clock: Stopwatch) -> None:
    made = exercise()
    assert made.measure is not None
    own, other = Answers(made, clock, [0.1]), Answers(made, clock, [1.0])
    own.iterate = lambda request, limit: Transcript([("yield", 1), ("end",)])  # type: ignore[method-assign]
    with pytest.raises(Failure, match=r"it gave \[1\] where the course's own answer gave \[5\]"):
        speed._in_turn(made.measure, own, other)  # type: ignore[arg-type]


def test_an_answer_is_measured_in_processes_of_its_own() -> None:
    found = measured(exercise(), document(), Processes(), Processes())
    assert found.problem is None
    assert found.own is not None and found.reference is not None
    assert min(found.own, found.reference) > 0


def test_an_answer_that_fails_says_why_and_so_does_the_courses_own() -> None:
    found = measured(exercise(), document("def counting(stop):\n    raise OSError('no')\n"), Processes(), Processes())
    assert str(found) == "not measured: Your code raised OSError: no"
    found = measured(exercise(raises), document(), Processes(), Processes())
    assert str(found) == (
        "not measured: by a fault of the grader's: the course's own answer fails: Your code raised ValueError: not today"
    )


def test_only_an_answer_that_passes_is_measured() -> None:
    made, passed = exercise(), TaskRecord("counting", "passed", 2, 2)
    assert is_measured(made, Record(NAME, "Counting", 0, [passed]))
    assert not is_measured(made, Record(NAME, "Counting", 0, [dataclasses.replace(passed, points=0, verdict="failed")]))
    assert not is_measured(Exercise("None"), Record(NAME, "None", 0, []))


def test_a_record_knows_nothing_of_it() -> None:
    first, second = (to_json(check_document(NAME, exercise(), document()).to_dict()) for _ in range(2))
    assert first == second
    assert "speed" not in first and "per" not in json.loads(first)


@pytest.mark.parametrize("found", [FAST, Speed("numbers", None, None, "a \x1b[31mred\x1b[0m text")])
def test_a_check_tells_it_below_the_screen(
    found: Speed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(exercise: Any, document: Any, *processes: Processes) -> Speed:
        for pair in processes:
            pair.close()
        return found

    monkeypatch.setattr(speed, "is_measured", lambda exercise, record: record.points == record.possible)
    monkeypatch.setattr(speed, "measured", measure)
    solution = MINI / "solutions" / "s01_first" / "temperature.py"
    monkeypatch.setattr("sys.argv", ["aidl", "check", str(solution), "--course", str(MINI)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"Speed, which gives no points: {found}".replace("\x1b", "\\x1b")


# A class


def test_an_answer_is_measured_once_and_equal_ones_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[str] = []

    def measure(exercise: Any, document: Document, own: Any, reference: Any) -> Speed:
        counted.append(document.text)
        return FAST

    course, name = open_course(), "s06_full_model/imagenet"
    record = Record(name, "Counting", 1, [TaskRecord("counting", "passed", 2, 2)])
    monkeypatch.setattr(classroom, "measured", measure)
    monkeypatch.setattr(classroom, "check_document", lambda *given, **more: record)
    monkeypatch.setattr(classroom, "Processes", lambda start: NoProcesses())
    hand_ins = [HandIn(student, {name: document(text)}) for student, text in (("ada", "a"), ("bo", "a"), ("cy", "c"))]
    about = {"course": "c", "seed": 1, "unsafe": True}
    for _ in range(2):  # the second run finds all in the journal
        with Journal(tmp_path, about) as journal:
            run = ClassRun(course, {name: course.exercise(name)}, 1, 1, PlainChild, journal)
            assert [one.speeds for one in run.grade(hand_ins)] == [{name: FAST}] * 3
        assert counted == ["a", "c"]


class NoProcesses:
    """Stands where a worker and a runner would be started."""

    def close(self) -> None: ...


def test_the_journal_keeps_it(tmp_path: Path) -> None:
    entry = Entry(NAME, "ada", Basis("a", "c", "e", 3), Record(NAME, "Counting", 0, []), 0.5, FAST)
    about = {"course": "c", "seed": 1, "unsafe": True}
    with Journal(tmp_path, about) as journal:
        journal.add(entry)
    with Journal(tmp_path, about) as journal:
        assert journal.earlier("ada", NAME) == entry


def make_class(speeds: dict[str, dict[str, Speed]], unsafe: bool = False) -> ClassResult:
    students = [StudentResult(name, None, {}) for name in ("<b>ada", "bo", "cy", "di")]
    return ClassResult("Tiny", {NAME: exercise()}, students, 7, unsafe, {"jax": "1"}, {}, speeds)


def test_the_fastest_beside_the_courses_own_comes_first() -> None:
    speeds = {"bo": {NAME: SLOW}, "cy": {NAME: BROKEN}, "<b>ada": {NAME: FAST}, "di": {"s01/other": FAST}}
    assert ranked(speeds, NAME) == [("<b>ada", FAST), ("bo", SLOW), ("cy", BROKEN)]
    page = class_page(make_class(speeds))
    places = [page.index(text) for text in ("no points", "&lt;b&gt;ada</a>", ">900<", ">3.00<", ">999<", ">2.00<", "=it hung", "Ten numbers.")]  # fmt: skip
    assert places == sorted(places)
    assert "no points" not in class_page(make_class({}))


@pytest.mark.parametrize("unsafe", [False, True])
def test_a_table_is_written_where_there_is_something_to_tell(tmp_path: Path, unsafe: bool) -> None:
    speeds = {"bo": {NAME: SLOW}, "cy": {NAME: BROKEN}}
    write_results(tmp_path, make_class(speeds, unsafe), [])
    first, *rows = (tmp_path / "speeds.csv").read_text().splitlines()[unsafe:]
    assert first == "exercise,rank,student,unit,per_second,reference_per_second,ratio,problem"
    assert rows == [f"{NAME},1,bo,numbers,999,500,1.998,", f"{NAME},,cy,numbers,,,,'=it hung"]
    assert json.loads((tmp_path / "timings.json").read_text())["speeds"]["bo"] == {NAME: dataclasses.asdict(SLOW)}
    assert not any("999" in path.read_text() for path in (tmp_path / "records").iterdir())
    write_results(tmp_path, make_class({}, unsafe), [])
    assert not (tmp_path / "speeds.csv").exists()
