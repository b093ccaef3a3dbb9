"""What a class run comes to: one result per student, and all of them. Tables and pages are renderings of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aidl_jax.exercise import Exercise
from aidl_jax.grade.handin import Document
from aidl_jax.grade.record import Record
from aidl_jax.grade.speed import Speed

UNGRADED = "ungraded"  # how a problem begins that is the grader's


def graders_fault(error: Exception) -> str:
    """The problem of an exercise that the grader itself could not grade."""
    return f"{UNGRADED}, by a fault of the grader's: {type(error).__name__}: {error}"


@dataclass(frozen=True)
class Adjustment:
    """Points that the instructor adds or takes away by hand, with a reason.

    Args:
        exercise: of which exercise; None for the whole.
        points: added; negative takes away.
        comment: shown to the student.
    """

    exercise: str | None
    points: float
    comment: str


@dataclass(frozen=True)
class StudentResult:
    """Everything that is known of one student's hand-in. Texts in it come from strangers.

    Args:
        student: by what the results call the student.
        name: to be shown, where it is known.
        records: by exercise, of what could be graded.
        documents: what was handed in, by exercise.
        problems: why something could not be read, told apart or graded, by file or exercise.
        missing: what was not handed in, or is ungraded, in words.
        notes: what the instructor should know: versions that differ, hand-ins that were passed over.
        hints: how many were taken, by exercise and task, as the student's own manifest says.
        adjustments: by the instructor.
        late_days: days after the deadline, each one begun counted; None without a deadline or a time.
        penalty: the part of the points, from 0 to 1, that the late days cost.
        points: as graded; None where they cannot be told.
        possible: of all exercises.
        final: with adjustments and penalty; None where the points are, unless the instructor has settled them by hand.
        known_as: what else the student is called, by the roster or the page that collected the hand-in.
    """

    student: str
    name: str | None
    records: Mapping[str, Record]
    documents: Mapping[str, Document] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] = ()
    notes: Sequence[str] = ()
    hints: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    adjustments: Sequence[Adjustment] = ()
    late_days: int | None = None
    penalty: float = 0.0
    points: int | None = 0
    possible: int = 0
    final: float | None = 0.0
    known_as: Sequence[str] = ()

    def ungraded(self, exercise: str) -> list[str]:
        """The tasks that the grader could not grade: no zero may stand for them."""
        record = self.records.get(exercise)
        return [task.name for task in record.tasks if task.verdict == "ungraded"] if record else []

    def exercise_points(self, exercise: str) -> int | None:
        """Points of one exercise; 0 where nothing was handed in; None where they cannot be told.

        They cannot where it is not known which file counts or what an unreadable one held, or by a fault of the grader's.
        """
        unread = exercise not in self.records and any(where not in self.records for where in self.problems)
        if exercise in self.problems or unread or self.ungraded(exercise):
            return None
        return self.records[exercise].points if exercise in self.records else 0


@dataclass(frozen=True)
class ClassResult:
    """A whole class.

    Args:
        title: the course's.
        exercises: those that were graded, by name.
        students: by name.
        seed: of the hidden inputs.
        unsafe: whether student code ran without a sandbox.
        versions: of what graded.
        seconds: that each student's grading took, where it was done in this run or an earlier one.
        speeds: of answers by student and exercise, where they were measured.
    """

    title: str
    exercises: Mapping[str, Exercise]
    students: Sequence[StudentResult]
    seed: int
    unsafe: bool
    versions: Mapping[str, str]
    seconds: Mapping[str, float] = field(default_factory=dict)
    speeds: Mapping[str, Mapping[str, Speed]] = field(default_factory=dict)

    @property
    def possible(self) -> int:
        """Points of all exercises."""
        return sum(exercise.points for exercise in self.exercises.values())
