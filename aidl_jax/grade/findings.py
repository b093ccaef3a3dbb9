"""What a class's records tell its teacher: who came how far in each task, and which wrong answers they gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from aidl_jax.grade.record import FailureRecord, TaskRecord
from aidl_jax.grade.results import ClassResult, StudentResult

KINDS = {
    "timeout": "time-out",
    "limit": "limit",
    "ungraded": "fault of the grader",
    "NotImplementedError": "not written",
}


ANSWERS = ("misconception", "wrong answer")


@dataclass(frozen=True)
class Wrong:
    """One wrong answer to a task, as a class gave it: of which kind, what it is in one sentence, and whose."""

    task: str
    kind: str
    sentence: str
    students: list[StudentResult]


def outcomes(result: ClassResult, exercise: str, task: str) -> Counter[str]:
    """How many students came to which verdict of a task; "missing" where there is no record of it."""
    found: Counter[str] = Counter(
        one.verdict for student in result.students for one in _records(student, exercise, task)
    )
    found["missing"] = len(result.students) - found.total()
    return found


def wrong_answers(result: ClassResult, exercise: str, task: str) -> list[Wrong]:
    """The wrong answers to a task, the most frequent first; then what is no answer: time-outs, limits, faults of the grader's.

    One that a misconception explains is told by its sentence, others by the failure's message. Where several
    misconceptions explain a hand-in alike, it counts for each of them.
    """
    groups: dict[tuple[str, str], list[StudentResult]] = {}
    for student in result.students:
        for one in _records(student, exercise, task):
            for sentence in sentences(one.failure) if one.failure else ():
                groups.setdefault((kind_of(one.failure), sentence), []).append(student)
    every = [Wrong(task, kind, sentence, students) for (kind, sentence), students in groups.items()]
    return sorted(every, key=lambda wrong: (wrong.kind not in ANSWERS, -len(wrong.students), wrong.sentence))


def teach_again(result: ClassResult, most: int = 3) -> list[Wrong]:
    """The wrong answers that more than one student gave, over all tasks, the most frequent first."""
    every = [
        w for name, exercise in result.exercises.items() for t in exercise.tasks for w in wrong_answers(result, name, t)
    ]
    shared = [wrong for wrong in every if len(wrong.students) > 1 and wrong.kind in ANSWERS]
    return sorted(shared, key=lambda wrong: -len(wrong.students))[:most]


def sentences(failure: FailureRecord) -> list[str]:
    """What explains a failure: the sentences of its misconceptions, else its message."""
    return list(failure.misconceptions) or [failure.message]


def kind_of(failure: FailureRecord | None) -> str:
    """What kind of trouble a failure is: what says little about the answer itself stands apart.

    >>> kind_of(FailureRecord("timeout", "`fit` did not come to an end within 10 seconds."))
    'time-out'
    >>> kind_of(FailureRecord("value", "The value is wrong.", misconceptions=["You summed."]))
    'misconception'
    """
    if failure is None:
        return ""
    return KINDS.get(failure.kind) or ("misconception" if failure.misconceptions else "wrong answer")


def first_failure_of(student: StudentResult) -> str | None:
    """The first failure of the first exercise that has one, by its task."""
    for record in student.records.values():
        for task in record.tasks:
            if task.failure is not None:
                return f"{task.name}: {sentences(task.failure)[0]}"
    return None


def first_thing(student: StudentResult) -> str:
    """What to look at first in a student's hand-in: a failure, else a problem, else what is missing."""
    failure = first_failure_of(student)
    if failure is not None:
        return failure
    told = [*(f"{where}: {what}" for where, what in student.problems.items()), *student.missing]
    return told[0] if told else ""


def nothing_to_grade(result: ClassResult) -> list[StudentResult]:
    """Who has handed in nothing, or nothing that answers a task; a file that cannot be read is something."""
    return [student for student in result.students if not (student.records or student.problems)]


def number(value: float) -> str:
    """Points without a tail that says nothing, to ten digits.

    >>> number(7.0), number(9.3), number(0.1 + 0.2)
    ('7', '9.3', '0.3')
    """
    return f"{value:.10g}"


def _records(student: StudentResult, exercise: str, task: str) -> Iterator[TaskRecord]:
    record = student.records.get(exercise)
    yield from (one for one in (record.tasks if record else ()) if one.name == task)
