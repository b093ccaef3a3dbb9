"""Gradescope: a result in its `results.json`, and the autograder zip that is uploaded there.

Format: https://gradescope-autograders.readthedocs.io/en/latest/specs/
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from aidl_jax.errors import UsageError
from aidl_jax.exercise import Exercise
from aidl_jax.exercise.course import Course, open_course
from aidl_jax.exercise.source import short_name
from aidl_jax.files import write_bytes
from aidl_jax.grade import packing
from aidl_jax.grade.record import TaskRecord, to_json
from aidl_jax.grade.results import UNGRADED, StudentResult
from aidl_jax.grade.templates import UNSAFE
from aidl_jax.grade.terminal import clean, how, task_text

SCRIPTS = ("setup.sh", "run_autograder")
SETTINGS = "autograder.json"
LATER = "This could not be graded, by no fault of the answer; no points are counted for it yet. Tell your instructor."


def results(
    result: StudentResult,
    exercises: Mapping[str, Exercise],
    *,
    unsafe: bool = False,
    seconds: float | None = None,
) -> dict[str, Any]:
    """What `results.json` says: a test per task with its points as they were graded, no penalty, no adjustment.

    Texts are plain text ("text"), of which Gradescope makes no markup, and without control characters. A task that the
    grader could not grade has no score. Where no task has one there is no total either, and Gradescope reports a run that failed.

    Args:
        result: one student's.
        exercises: those that were asked for, by name.
        unsafe: whether student code ran without a sandbox, which is then said first.
        seconds: that it took.
    """
    tests = [test for number, name in enumerate(exercises, 1) for test in _tests(result, exercises, name, number)]
    scores = [test["score"] for test in tests if "score" in test]
    ungraded = len(tests) - len(scores)
    said = [UNSAFE] if unsafe else []
    said += [f"{ungraded} of {len(tests)} tasks could not be graded; the total is without them."] if ungraded else []
    said += [*(f"{where}: {what}" for where, what in sorted(result.problems.items())), *result.notes]
    return {
        "output": "\n".join(map(clean, said)),
        "output_format": "text",
        "visibility": "visible",
        "tests": tests,
        **({"score": sum(scores)} if scores else {}),
        **({"execution_time": round(seconds, 1)} if seconds is not None else {}),
    }


def _tests(
    result: StudentResult, exercises: Mapping[str, Exercise], name: str, number: int
) -> Iterator[dict[str, Any]]:
    record = result.records.get(name)
    tasks = {task.name: task for task in record.tasks} if record else {}
    for place, task in enumerate(exercises[name].tasks.values(), 1):
        graded = tasks.get(task.name)
        label = task.name if len(exercises) == 1 else f"{short_name(name)}: {task.name}"
        test = {"name": clean(label), "number": f"{number}.{place}", "max_score": task.points, "visibility": "visible",
                "name_format": "text", "output_format": "text"}  # fmt: skip
        if graded.verdict == "ungraded" if graded else result.problems.get(name, "").startswith(UNGRADED):
            yield {**test, "output": LATER}
        elif graded is None:
            yield {**test, "score": 0, "status": "failed", "output": _absent(result, name)}
        else:
            status = "passed" if graded.verdict == "passed" else "failed"
            yield {**test, "score": graded.points, "status": status, "output": _output(graded)}


def _absent(result: StudentResult, name: str) -> str:
    """Why there is nothing to grade, for the student, who may hand in again."""
    told = (
        [result.problems[name]]
        if name in result.problems
        else [f"{w}: {what}" for w, what in sorted(result.problems.items())]
    )
    return "\n".join([f"{short_name(name)} was not handed in.", *map(clean, told)])


def _output(task: TaskRecord) -> str:
    if task.verdict == "waiting":
        return f"Not checked yet: it waits for {', '.join(task.waits_for)}."
    return "\n".join(part for part in (task_text(task).strip("\n"), how(task)) if part)


# The zip


def build(path: Path, course: Course, exercises: Sequence[str], *, seed: int, unsafe: bool = False) -> list[str]:
    """Writes the autograder zip; the same course, seed and versions give the same bytes. Returns the names in it.

    In it are this package as a wheel, the versions of all that it needs, `setup.sh` and `run_autograder`, and of another
    course its checks. No solutions.

    Args:
        path: of the zip.
        course: whose exercises.
        exercises: their names; at least one.
        seed: of all draws, so that handing in the same twice gives the same twice.
        unsafe: whether student code may run without a sandbox, where their container allows none.

    Raises:
        UsageError: no exercise, or something that is no zip is there.
    """
    if not exercises:
        raise UsageError("an autograder needs an exercise", fix="name one: aidl gradescope build s02/linear_regression")
    if path.exists() and not zipfile.is_zipfile(path):
        raise UsageError("something that is no zip is there", given=str(path), fix="pass another name with --out")
    own = course.checks == open_course().checks
    settings = {"course": None if own else "course", "exercises": list(exercises), "seed": seed, "unsafe": unsafe}
    members = {script: _script(script) for script in SCRIPTS}
    members |= {SETTINGS: to_json(settings).encode(), "constraints.txt": packing.constraints().encode()}
    members |= {} if own else packing.folder(course.checks, "course/course")
    name, wheel = packing.wheel()
    members[name] = wheel
    write_bytes(path, packing.pack(members, executable=SCRIPTS))
    return sorted(members)


def _script(name: str) -> bytes:
    return (resources.files("aidl_jax.grade") / "resources" / name).read_bytes()
