"""From what was graded to marks: late days, penalties, adjustments; the raw points stay as they are."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from aidl_jax.errors import UsageError
from aidl_jax.exercise import Exercise, Hints
from aidl_jax.exercise.course import open_course
from aidl_jax.grade.classroom import Graded
from aidl_jax.grade.handin import HandIn
from aidl_jax.grade.inbox import Arrival
from aidl_jax.grade.manifest import Manifest
from aidl_jax.grade.marks import ADJUSTMENTS, LatePolicy, read_adjustments, read_due, student_result
from aidl_jax.grade.record import CheckRecord, FailureRecord, Record, TaskRecord
from aidl_jax.grade.results import Adjustment, StudentResult

LINES, SHUFFLE = "s02_graphs/linear_regression", "s05_toolbox/shuffle_buffer"
DUE = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


def exercise(points: int) -> Exercise:
    one = Exercise("One")
    one.task("f", points=points, hints=Hints("a", "b", "c"))
    return one


EXERCISES = {LINES: exercise(10), SHUFFLE: exercise(5)}


def record(name: str, verdict: Any = "passed", points: int = 10) -> Record:
    failure = FailureRecord("ungraded", "why") if verdict == "ungraded" else None
    check = CheckRecord("c", "It holds.", verdict, failure)
    return Record(name, "One", 1, [TaskRecord("f", verdict, points, 10, checks=[check])])


def result(
    records: dict[str, Record], *, hours: float | None = 0, late: bool = False, policy: LatePolicy | None = None,
    adjustments: list[Adjustment] | None = None, problems: dict[str, str] | None = None, manifest: Manifest | None = None,
    unused: list[str] | None = None, superseded: list[str] | None = None, parts: tuple[Any, ...] = (("a.py", Path("a.py")),),
) -> StudentResult:  # fmt: skip
    received = None if hours is None else DUE + dt.timedelta(hours=hours)
    arrival = Arrival("ada", parts, {"name": "Ada L."}, received, late, ("a note",))
    hand_in = HandIn("ada", {}, problems or {}, unused or [], superseded or [], manifest or Manifest())
    graded = Graded("ada", records, problems or {})
    return student_result(arrival, hand_in, graded, EXERCISES, policy or LatePolicy(), adjustments or [])


def test_points_are_the_sum_and_what_is_missing_is_named() -> None:
    one = result({LINES: record(LINES)})
    assert (one.points, one.possible, one.final, one.name) == (10, 15, 10, "Ada L.")
    assert one.missing == ["s05/shuffle_buffer not handed in"]
    assert one.notes == ["a note"]
    nothing = result({}, unused=["notes.py"], parts=())
    assert (nothing.points, nothing.final) == (0, 0)
    assert (nothing.missing[0], nothing.notes) == ("no task of these exercises in notes.py", ["a note"])


def test_what_was_passed_over_beside_an_answer_is_noted() -> None:
    one = result({LINES: record(LINES)}, unused=["notes.py"], superseded=["old.py was passed over for a.py"])
    assert one.notes == ["a note", "old.py was passed over for a.py", "no task of these exercises in notes.py"]
    assert one.missing == ["s05/shuffle_buffer not handed in"]


@pytest.mark.parametrize(
    ("records", "problems"),
    [
        ({LINES: record(LINES, "ungraded", 0)}, {}),
        ({}, {LINES: "a.py and b.py both answer it; which one counts?"}),
        ({LINES: record(LINES)}, {"x.py": "the file is not UTF-8 text"}),
    ],
)
def test_points_that_cannot_be_told_are_not_zero(records: dict[str, Record], problems: dict[str, str]) -> None:
    one = result(records, problems=problems)
    assert (one.points, one.final) == (None, None)
    assert one.exercise_points(SHUFFLE) == (None if problems else 0)


@pytest.mark.parametrize(
    ("hours", "late", "days"),
    [(-1, False, 0), (0, False, 0), (0.01, False, 1), (24, False, 1), (24.01, False, 2), (-5, True, 1), (None, True, 1), (None, False, None)],
)  # fmt: skip
def test_each_day_begun_counts(hours: float | None, late: bool, days: int | None) -> None:
    one = result({LINES: record(LINES)}, hours=hours, late=late, policy=LatePolicy(DUE, 20))
    assert one.late_days == days
    assert one.points == 10
    assert one.final == 10 - 2 * (days or 0)


def test_a_penalty_never_goes_below_nothing_and_a_no_show_is_not_late() -> None:
    assert result({LINES: record(LINES)}, hours=24 * 30, policy=LatePolicy(DUE, 20)).final == 0
    assert result({}, hours=None, parts=(), policy=LatePolicy(DUE, 20)).late_days is None
    assert result({}, hours=48).late_days is None  # without a deadline nobody is late


def test_adjustments_come_before_the_penalty() -> None:
    given = [Adjustment(LINES, 2.5, "a nice plot"), Adjustment(None, -0.5, "no name")]
    one = result({LINES: record(LINES)}, hours=1, policy=LatePolicy(DUE, 50), adjustments=given)
    assert (one.points, one.final) == (10, 6)
    assert result({LINES: record(LINES)}, adjustments=[Adjustment(None, -99, "")]).final == 0


def test_other_versions_and_hints_come_from_the_manifest() -> None:
    one = result({LINES: record(LINES)}, manifest=Manifest({"jax": "0.1"}, {LINES: {"f": 2}}))
    assert any(note.startswith("handed in with jax 0.1, graded with ") for note in one.notes)
    assert one.hints == {LINES: {"f": 2}}


def test_a_deadline() -> None:
    assert read_due("2026-11-20T13:00+01:00") == DUE
    assert read_due("2026-11-20T12:00").astimezone().replace(tzinfo=None) == dt.datetime(2026, 11, 20, 12)
    with pytest.raises(UsageError, match=r"the deadline is no time: given tomorrow, expected such as 2026-11-20T23:59"):
        read_due("tomorrow")


def test_the_instructors_own_file(tmp_path: Path) -> None:
    course = open_course()
    assert read_adjustments(tmp_path, course, ["ada"]) == {}
    path = tmp_path / ADJUSTMENTS
    assert path.read_text() == "student,exercise,points,comment\n"
    path.write_text('\ufeffstudent,exercise,points,comment\nada,s02/linear,1.5,"well, done"\nada,,,only words\n')
    before = path.read_bytes()
    assert read_adjustments(tmp_path, course, ["ada"]) == {
        "ada": [Adjustment(LINES, 1.5, "well, done"), Adjustment(None, 0.0, "only words")]
    }
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("zoe,,1,", r"adjustments\.csv, line 2: the adjustments name a student who is not there: given 'zoe'"),
        ("ada,s09,1,", r"there is no exercise 's09'"),
        ("ada,,much,", r"line 2: an adjustment is no number of points: given 'much', expected such as 1 or -0\.5"),
        ("ada,,nan,", r"an adjustment is no number of points: given 'nan'"),
        ("ada,,1,a,b", r"line 2: a row of the adjustments has other columns: expected student, exercise, points, comment"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_stops_the_run(tmp_path: Path, row: str, expected: str) -> None:
    (tmp_path / ADJUSTMENTS).write_text(f"student,exercise,points,comment\n{row}\n")
    with pytest.raises(UsageError, match=expected):
        read_adjustments(tmp_path, open_course(), ["ada"])


def test_adjustments_with_other_columns(tmp_path: Path) -> None:
    (tmp_path / ADJUSTMENTS).write_text("student,grade\nada,3\n")
    with pytest.raises(UsageError, match="has other columns"):
        read_adjustments(tmp_path, open_course(), ["ada"])
