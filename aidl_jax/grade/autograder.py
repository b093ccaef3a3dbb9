"""What `run_autograder` runs in Gradescope's container: grades what lies in `submission`, writes `results/results.json`.

`python -m aidl_jax.grade.autograder /autograder`; the folders are those of Gradescope's specification.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aidl_jax.errors import UsageError
from aidl_jax.exercise import Exercise
from aidl_jax.exercise.course import open_course
from aidl_jax.files import write_text
from aidl_jax.grade.assigning import assign
from aidl_jax.grade.children import PlainChild, Start
from aidl_jax.grade.gradescope import LATER, SETTINGS, results
from aidl_jax.grade.handin import HandIn, read_hand_in
from aidl_jax.grade.journal import answer_seed
from aidl_jax.grade.judge import versions
from aidl_jax.grade.local import check_document
from aidl_jax.grade.nursery import Nursery
from aidl_jax.grade.process import Processes
from aidl_jax.grade.record import to_json
from aidl_jax.grade.results import StudentResult, graders_fault


def main(root: Path) -> int:
    """Grades the submission under `root`; 1 where nothing could be graded, which the results then say.

    What is printed is seen by instructors alone.
    """
    try:
        found = grade_submission(root)
    except Exception as error:  # without results, Gradescope would show no reason
        reason = str(error) if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
        found = {"output": f"Nothing was graded: {reason}\n{LATER}", "output_format": "text", "tests": []}
    (root / "results").mkdir(exist_ok=True)
    write_text(root / "results" / "results.json", to_json(found))
    print(found["output"])
    return 0 if "score" in found else 1


def grade_submission(root: Path) -> dict[str, Any]:
    """The results of the submission under `root`, in Gradescope's form.

    Raises:
        UsageError: there can be no sandbox here, and the autograder was not built with `--unsafe`.
    """
    begin = time.monotonic()
    settings = json.loads((root / "source" / SETTINGS).read_text(encoding="utf-8"))
    course = open_course(root / "source" / settings["course"] if settings["course"] else None)
    every = {name: course.exercise(name) for name in course.names()}
    exercises = {name: every[name] for name in settings["exercises"]}
    documents, problems, manifest = read_hand_in(("submission", root / "submission"))
    hand_in = assign("submission", documents, problems, exercises, every)
    with contextlib.ExitStack() as held:
        nursery = _nursery(held, settings["unsafe"])
        start: Start = PlainChild if nursery is None else nursery.start
        result = _graded(hand_in, exercises, settings["seed"], start)
    result = replace(
        result, notes=[*hand_in.superseded, *hand_in.unknown, *manifest.differing(versions())], hints=manifest.hints
    )
    return results(result, exercises, unsafe=nursery is None, seconds=time.monotonic() - begin)


def _nursery(held: contextlib.ExitStack, unsafe: bool) -> Nursery | None:
    """What starts processes in the sandbox; None where there can be none and none is asked for."""
    try:
        return held.enter_context(Nursery())
    except UsageError as error:
        if unsafe:
            return None
        fix = "build the autograder with --unsafe, if you trust your students with its container"
        raise UsageError(error.what, fix=fix) from error


def _graded(hand_in: HandIn, exercises: Mapping[str, Exercise], seed: int, start: Start) -> StudentResult:
    records, problems = {}, dict(hand_in.problems)
    for name in (name for name in exercises if name in hand_in.answers):
        processes, document = Processes(start), hand_in.answers[name]
        try:
            records[name] = check_document(
                name, exercises[name], document, seed=answer_seed(seed, document), processes=processes
            )
        except Exception as error:  # a fault of the grader's own with one exercise must not take the others
            problems[name] = graders_fault(error)
        finally:
            processes.close()
    return StudentResult(hand_in.student, None, records, hand_in.answers, problems)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
