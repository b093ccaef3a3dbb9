"""From what was graded to marks: what is missing, how late it was, what the instructor adds by hand. Raw points stay as they are."""

from __future__ import annotations

import csv
import datetime as dt
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aidl_jax.errors import UsageError, close_matches
from aidl_jax.exercise import Exercise
from aidl_jax.exercise.course import Course
from aidl_jax.exercise.source import short_name
from aidl_jax.files import write_text
from aidl_jax.grade.classroom import Graded
from aidl_jax.grade.handin import HandIn
from aidl_jax.grade.inbox import Arrival
from aidl_jax.grade.judge import versions
from aidl_jax.grade.results import Adjustment, StudentResult

ADJUSTMENTS = "adjustments.csv"
HEADER = ("student", "exercise", "points", "comment")
DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class LatePolicy:
    """When hand-ins are due and what a day costs.

    Args:
        due: in UTC; None for no deadline.
        per_day: percent of the points that each day costs that has begun.
    """

    due: dt.datetime | None = None
    per_day: float = 0.0

    def days(self, arrival: Arrival) -> int | None:
        """Days late, each one begun counted; 1 at least where the collecting page says that it was late."""
        if self.due is None or not arrival.parts:
            return None
        if arrival.received is None:
            return 1 if arrival.late else None
        return max(math.ceil((arrival.received - self.due) / DAY), int(arrival.late), 0)

    def penalty(self, days: int | None) -> float:
        """The part of the points that is lost, from 0 to 1."""
        return min((days or 0) * self.per_day / 100, 1.0)


def student_result(
    arrival: Arrival, hand_in: HandIn, graded: Graded, exercises: Mapping[str, Exercise], policy: LatePolicy,
    adjustments: Sequence[Adjustment],
) -> StudentResult:  # fmt: skip
    """One student's result."""
    days = policy.days(arrival)
    unknown, passed_over = hand_in.unknown, hand_in.superseded
    if graded.records:  # beside answers, what answers nothing is no more than a note
        unknown, passed_over = [], [*hand_in.superseded, *hand_in.unknown]
    raw = StudentResult(
        graded.student, arrival.ids.get("name"), graded.records, hand_in.answers, graded.problems,
        notes=[*arrival.notes, *passed_over, *hand_in.manifest.differing(versions())], hints=hand_in.manifest.hints,
        adjustments=adjustments, late_days=days, penalty=policy.penalty(days),
        possible=sum(exercise.points for exercise in exercises.values()), known_as=list(arrival.ids.values()),
    )  # fmt: skip
    parts = [raw.exercise_points(name) for name in exercises]
    known = sum(part for part in parts if part is not None)
    points = None if None in parts else known
    final = None
    if points is not None or any(a.points for a in adjustments):  # the instructor has looked at what could not be told
        final = round(max(known + sum(a.points for a in adjustments), 0) * (1 - raw.penalty), 2)
    return replace(raw, missing=[*unknown, *_missing(raw, exercises)], points=points, final=final)


def _missing(result: StudentResult, exercises: Mapping[str, Exercise]) -> list[str]:
    """Exercises that were not handed in, or could not be graded, in words."""
    absent = [
        f"{short_name(name)} not handed in"
        for name in exercises
        if name not in result.records and result.exercise_points(name) is not None
    ]
    ungraded = [
        f"{short_name(name)} ungraded: {', '.join(result.ungraded(name))}"
        for name in result.records
        if result.ungraded(name)
    ]
    return absent + ungraded


def read_due(text: str) -> dt.datetime:
    """A deadline, "2026-11-20T23:59" in this machine's time zone, or with one: "2026-11-20T23:59+01:00"; in UTC.

    Raises:
        UsageError: it is not such a time.
    """
    try:
        return dt.datetime.fromisoformat(text).astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError("the deadline is no time", given=text, expected="such as 2026-11-20T23:59") from error


def read_adjustments(folder: Path, course: Course, students: Sequence[str]) -> dict[str, list[Adjustment]]:
    """What the instructor wrote into `adjustments.csv` in the output folder, by student; an empty one is made.

    Raises:
        UsageError: it cannot be read; a row names no student or exercise of this run, or no number of points.
    """
    path = folder / ADJUSTMENTS
    if not path.exists():
        write_text(path, ",".join(HEADER) + "\n")
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            "the adjustments cannot be read", where=str(path), given=str(error), fix="save it as CSV, UTF-8"
        ) from None
    found: dict[str, list[Adjustment]] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{path}, line {number}"
        cells = {name: (row.get(name) or "").strip() for name in HEADER}
        if None in row or not set(HEADER) <= row.keys():
            raise UsageError("a row of the adjustments has other columns", where=where, expected=", ".join(HEADER))
        if cells["student"] not in students:
            raise UsageError("the adjustments name a student who is not there", where=where, given=repr(cells["student"]),
                             fix=close_matches(cells["student"], students))  # fmt: skip
        exercise = course.resolve(cells["exercise"]) if cells["exercise"] else None
        found.setdefault(cells["student"], []).append(
            Adjustment(exercise, _points(cells["points"], where), cells["comment"])
        )
    return found


def _points(text: str, where: str) -> float:
    """A comment alone adds nothing."""
    try:
        points = float(text or 0)
        if math.isfinite(points):
            return points
    except ValueError:
        pass
    raise UsageError(
        "an adjustment is no number of points", where=where, given=repr(text), expected="such as 1 or -0.5"
    )
