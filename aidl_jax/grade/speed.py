"""How fast an answer is, beside the course's own. Shown and ranked, never scored: no record holds any of it.

Both run in processes of the same kind, on the same files, in turn, so that whatever else the machine does meets both alike. The judge's
clock stands around each question; the median counts, of all rounds but the first, in which modules are imported.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

from aidl_jax.exercise import Exercise, Failure, Measure, Student, iterate, plain
from aidl_jax.grade.children import GraderFault
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.handin import Document
from aidl_jax.grade.process import Processes
from aidl_jax.grade.record import Record
from aidl_jax.grade.session import Session

ROUNDS = 5
ENOUGH = 8.0  # seconds, after which no further round begins


@dataclass(frozen=True)
class Speed:
    """What was measured of one answer.

    Args:
        unit: what was counted.
        own: how many per second; None where it could not be measured.
        reference: how many per second the course's own answer made, beside it.
        problem: why there are no numbers.
    """

    unit: str
    own: float | None
    reference: float | None
    problem: str | None = None

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the course's own."""
        return self.own / self.reference if self.own and self.reference else None

    def __str__(self) -> str:
        """In a line.

        >>> print(Speed("images", 612.0, 540.0))
        612 images/s; the course's own answer, here and now: 540 (1.13 times as fast)
        """
        if self.ratio is None:
            return f"not measured: {self.problem}"
        return (
            f"{self.own:,.0f} {self.unit}/s; the course's own answer, here and now: {self.reference:,.0f} "
            f"({self.ratio:.2f} times as fast)"
        )


def is_measured(exercise: Exercise, record: Record) -> bool:
    """Whether the speed of this answer says anything: it is asked for, and the answer is right."""
    return exercise.measure is not None and record.points == record.possible


def measured(exercise: Exercise, document: Document, own: Processes, reference: Processes) -> Speed:
    """The speed of a document that has passed; both pairs of processes are closed."""
    measure = exercise.measure
    assert measure is not None
    cells = [Cell(f"reference {number}", text) for number, text in enumerate(measure.reference)]
    with Session(document.cells, exercise, own) as one, Session(cells, exercise, reference) as other:
        try:
            return _in_turn(measure, one, other)
        except Failure as failure:
            return Speed(measure.unit, None, None, str(failure))
        except GraderFault as fault:
            return Speed(measure.unit, None, None, f"by a fault of the grader's: {fault}")


def not_measured(exercise: Exercise, error: Exception) -> Speed:
    """What is said where something else than the answer failed."""
    assert exercise.measure is not None
    return Speed(exercise.measure.unit, None, None, f"by a fault of the grader's: {type(error).__name__}: {error}")


def _in_turn(measure: Measure, one: Session, other: Session) -> Speed:
    seconds: dict[int, list[float]] = {0: [], 1: []}
    made: dict[int, str] = {}
    begin = time.perf_counter()
    for number in range(1 + ROUNDS):
        if number > 1 and time.perf_counter() - begin > ENOUGH:
            break
        for which, session in enumerate((one, other)):
            try:
                made[which], taken = _run(measure, session)
            except Failure as failure:
                if which == 0:
                    raise
                raise GraderFault(f"the course's own answer fails: {failure}") from failure
            seconds[which].append(taken)
        if made[0] != made[1]:
            raise Failure("property", f"it gave {made[0]} where the course's own answer gave {made[1]}")
    own, reference = (measure.amount / statistics.median(taken[1:]) for taken in seconds.values())
    return Speed(measure.unit, round(own, 1), round(reference, 1))


def _run(measure: Measure, session: Session) -> tuple[str, float]:
    """What came out, and how long it took."""
    asked = measure.ask(Student(session.exercise.tasks, session))
    session.log.clear()  # requests are as large as the files
    begin = time.perf_counter()
    transcript = iterate(asked, limit=2)
    return plain.text(transcript.outputs), time.perf_counter() - begin


def ranked(speeds: Mapping[str, Mapping[str, Speed]], exercise: str) -> list[tuple[str, Speed]]:
    """Who was measured in an exercise, the fastest first, by how many times as fast as the course's own answer beside it."""
    found = [(student, by_exercise[exercise]) for student, by_exercise in speeds.items() if exercise in by_exercise]
    return sorted(found, key=lambda one: (-(one[1].ratio or 0.0), one[0]))
