"""The folder of a class run: what is written there, when, and what an earlier run left.

journal.jsonl       verdicts as they come; all else is made from it when the run is complete
grades.csv          a row per student
index.html          the class on one page
students/*.html     a page per student
records/*.json      everything of a student's, for programs
gradescope/*.json   what Gradescope reads, where it was asked for; filled-*.csv, a gradebook that was filled
run.json            what the run was; timings.json beside it, and speeds.csv, where an exercise measures answers
adjustments.csv     the instructor's own; never written over
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aidl_jax.errors import UsageError
from aidl_jax.exercise.source import short_name
from aidl_jax.files import write_text
from aidl_jax.grade import gradescope, journal
from aidl_jax.grade.cells import formula_free
from aidl_jax.grade.class_page import class_page
from aidl_jax.grade.classroom import Graded
from aidl_jax.grade.file_names import file_stem
from aidl_jax.grade.findings import number
from aidl_jax.grade.journal import Basis
from aidl_jax.grade.marks import ADJUSTMENTS
from aidl_jax.grade.record import to_json
from aidl_jax.grade.results import ClassResult, StudentResult
from aidl_jax.grade.speed import ranked
from aidl_jax.grade.student_page import student_page
from aidl_jax.grade.templates import UNSAFE

FILLED = "filled-"  # and the name of the gradebook that was filled
EARLIER = "earlier.jsonl"  # the journal of the run that was replaced
SPEEDS = "speeds.csv"
MADE = (
    journal.NAME,
    EARLIER,
    "grades.csv",
    "index.html",
    "students",
    "gradescope",
    "records",
    "run.json",
    "timings.json",
    SPEEDS,
    ADJUSTMENTS,
)


def prepare(folder: Path, replace: bool) -> None:
    """The output folder of a run that goes on where an earlier one was, or, with `replace`, begins anew.

    Raises:
        UsageError: there is something in it that no run wrote.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError("the output is a file, not a folder", given=str(folder), fix="name another one")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    foreign = [name for name in there if name not in MADE and not name.startswith(FILLED)] or (
        there if there and not {journal.NAME, EARLIER} & {*there} else []
    )
    if foreign:
        given = f"{folder} with {', '.join(foreign[:5])}"
        raise UsageError("the output folder holds what no run wrote", given=given, fix="name an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    if replace and journal.NAME in there:
        (folder / journal.NAME).replace(folder / EARLIER)


def write_results(folder: Path, result: ClassResult, graded: Sequence[Graded]) -> None:
    """Everything but the journal; what is there of students who are no longer in the class goes."""
    for name in ("records", "students"):
        (folder / name).mkdir(exist_ok=True)
    bases = {one.student: one.bases for one in graded}
    kept = set()
    for student in result.students:
        stem = file_stem(student.student)
        kept |= {f"{stem}.json", f"{stem}.html"}
        data = student_data(student, bases.get(student.student, {}), result.exercises)
        write_text(folder / "records" / f"{stem}.json", _json(data, result.unsafe))
        write_text(folder / "students" / f"{stem}.html", student_page(student, unsafe=result.unsafe))
    for path in [*(folder / "records").iterdir(), *(folder / "students").iterdir()]:
        if path.name not in kept:
            path.unlink()
    write_text(folder / "grades.csv", grades_csv(result))
    write_text(folder / "index.html", class_page(result))
    speeds = {
        student: {name: dataclasses.asdict(speed) for name, speed in found.items()}
        for student, found in result.speeds.items()
    }
    write_text(folder / "timings.json", _json({"seconds": dict(result.seconds), "speeds": speeds}, result.unsafe))
    (folder / SPEEDS).unlink(missing_ok=True)
    if result.speeds:
        write_text(folder / SPEEDS, speeds_csv(result))
    about = {"course": result.title, "exercises": list(result.exercises), "seed": result.seed,
             "students": len(result.students), "versions": dict(result.versions)}  # fmt: skip
    write_text(folder / "run.json", _json(about, result.unsafe))


def write_gradescope(folder: Path, result: ClassResult) -> None:
    """Each student's `results.json`, in the folder `gradescope`."""
    (folder / "gradescope").mkdir(exist_ok=True)
    for student in result.students:
        found = gradescope.results(student, result.exercises, unsafe=result.unsafe)
        write_text(folder / "gradescope" / f"{file_stem(student.student)}.json", to_json(found))


def student_data(result: StudentResult, bases: Mapping[str, Basis], exercises: Iterable[str]) -> dict[str, Any]:
    """One student's result as plain data, without timings and without the code."""
    return {
        "student": result.student,
        "name": result.name,
        "points": result.points,
        "possible": result.possible,
        "late_days": result.late_days,
        "penalty": result.penalty,
        "final": result.final,
        "adjustments": [dataclasses.asdict(one) for one in result.adjustments],
        "problems": dict(result.problems),
        "missing": list(result.missing),
        "notes": list(result.notes),
        "hints": {name: dict(hints) for name, hints in result.hints.items()},
        "exercise_points": {name: result.exercise_points(name) for name in exercises},
        "exercises": {name: record.to_dict() for name, record in result.records.items()},
        "rests_on": {name: dataclasses.asdict(basis) for name, basis in bases.items()},
    }


def earlier_results(folder: Path) -> dict[str, dict[str, Any]]:
    """What the last complete run says of each student."""
    found = {}
    for path in sorted((folder / "records").glob("*.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            found[data["student"]] = data
        except (ValueError, KeyError, TypeError):
            continue  # it is written anew, whole, when this run is complete
    return found


def changes(earlier: Mapping[str, Any], result: ClassResult, graded: Sequence[Graded]) -> list[str]:
    """Whose points of which exercise changed since the last complete run, and why."""
    bases = {one.student: one.bases for one in graded}
    said = []
    for student in result.students:
        before = earlier.get(student.student, {})
        points, rests_on = before.get("exercise_points", {}), before.get("rests_on", {})
        for name in (name for name in result.exercises if name in points):
            old, new = points[name], student.exercise_points(name)
            if old != new:
                why = _why(bases.get(student.student, {}).get(name), rests_on.get(name))
                said.append(f"{student.student}: {short_name(name)} {_points(old)} -> {_points(new)} ({why})")
    return said


def _why(now: Basis | None, was: dict[str, Any] | None) -> str:
    if now is None or was is None:
        return "newly handed in" if now else "no longer there, or not to be read"
    return now.why(Basis(**was))


def _points(points: int | None) -> str:
    return "?" if points is None else str(points)


def grades_csv(result: ClassResult) -> str:
    """One row per student: points per exercise, the sum, what is possible; lateness, the final points; problems.

    Points are empty rather than 0 where they cannot be told. `points` is what was graded; `final` has adjustments and
    the penalty for late days in it.
    """
    file = io.StringIO()
    if result.unsafe:
        file.write(f"# {UNSAFE}\n")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["student", "name", *result.exercises, "points", "possible", "late_days", "adjusted", "final", "problems"]
    )
    for one in result.students:
        points = [_cell(one.exercise_points(name)) for name in result.exercises]
        problems = [*(f"{where}: {what}" for where, what in sorted(one.problems.items())), *one.missing, *one.notes]
        adjusted = sum(adjustment.points for adjustment in one.adjustments)
        row = [formula_free(one.student), formula_free(one.name or ""), *points, _cell(one.points), one.possible,
               _cell(one.late_days), _cell(adjusted or None), _cell(one.final), formula_free("; ".join(problems))]  # fmt: skip
        writer.writerow(row)
    return file.getvalue()


def speeds_csv(result: ClassResult) -> str:
    """One row per measured answer, the fastest first in each exercise: per second, beside the course's own, and their ratio."""
    file = io.StringIO()
    if result.unsafe:
        file.write(f"# {UNSAFE}\n")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["exercise", "rank", "student", "unit", "per_second", "reference_per_second", "ratio", "problem"])
    for name in result.exercises:
        for rank, (student, speed) in enumerate(ranked(result.speeds, name), start=1):
            ratio = "" if speed.ratio is None else f"{speed.ratio:.3f}"
            numbers = [_cell(speed.own), _cell(speed.reference), ratio]
            writer.writerow(
                [
                    name,
                    "" if speed.ratio is None else rank,
                    formula_free(student),
                    speed.unit,
                    *numbers,
                    formula_free(speed.problem or ""),
                ]
            )
    return file.getvalue()


def _cell(points: float | None) -> str:
    return "" if points is None else number(points)


def _json(data: dict[str, Any], unsafe: bool) -> str:
    """Canonical JSON; an unsafe run says so on the first line."""
    if not unsafe:
        return to_json(data)
    text = to_json({"UNSAFE": UNSAFE.removeprefix("UNSAFE: "), **data})  # capitals sort first
    return text.replace("{\n ", "{", 1)
