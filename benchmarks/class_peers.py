"""The same exercise in nbgrader's and in Otter's own formats, made from our source, and their local autograding of it.

class_speed.py runs and prints them. The test cells run the same checks on the same draws as `aidl grade`, by class_checks.py.
Both peers run every notebook in a kernel of its own, one after another.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aidl_jax.exercise.course import open_course

HERE = Path(__file__).resolve().parent
ASSIGNMENT = "week2"
Answers = Mapping[str, str]  # a module by student
Points = dict[str, float]


class NbGrader:
    """`nbgrader autograde` of an assignment that `nbgrader generate_assignment` has made.

    Args:
        python: an interpreter that has nbgrader, and this package installed.
        folder: an empty one.
        name: the exercise.
        seed: of the draws.
    """

    title, package = "`nbgrader autograde`", "nbgrader"

    def __init__(self, python: Path, folder: Path, name: str, seed: int) -> None:
        self.python, self.folder, self.name, self.seed = python, folder, name, seed
        solution = open_course().solution(name).read_text(encoding="utf-8").partition("# ## See it learn")[0]
        self._write(folder / "source" / ASSIGNMENT, solution)
        self._run("generate_assignment", ASSIGNMENT)

    def prepare(self, answers: Answers) -> None:
        """Puts the hand-ins where they are looked for, and nothing else."""
        for name in ("submitted", "autograded"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for student, module in answers.items():
            self._write(self.folder / "submitted" / student / ASSIGNMENT, module)

    def grade(self) -> None:
        """Grades what was prepared: this is what is timed."""
        self._run("autograde", ASSIGNMENT)

    def points(self, answers: Answers) -> Points:
        """What it gave to each student."""
        self._run("export", "--to", "grades.csv")
        with open(self.folder / "grades.csv", newline="") as file:
            rows = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
        return {student: rows[student] for student in answers}

    def _write(self, folder: Path, module: str) -> None:
        folder.mkdir(parents=True)
        cells = [
            cell("answer", module, solution=True),
            cell("checks", checks_of(self.name, self.seed, "globals()"), locked=True),
            *(
                cell(f"test-{task.name}", f"checks.run({task.name!r})", locked=True, points=task.points)
                for task in open_course().exercise(self.name).tasks.values()
            ),
        ]
        (folder / "answer.ipynb").write_text(notebook(cells))

    def _run(self, *command: str) -> None:
        quietly(self.python, ["-m", "nbgrader", *command], self.folder)


class Otter:
    """`otter.api.grade_submission`, which is what `otter run` calls: no container, one process for all notebooks.

    Args:
        python: an interpreter that has otter-grader, and this package installed.
        folder: an empty one.
        name: the exercise.
        seed: of the draws.
    """

    title, package = "Otter's `grade_submission`", "otter-grader"

    def __init__(self, python: Path, folder: Path, name: str, seed: int) -> None:
        self.python, self.folder = python, folder
        (folder / "tests").mkdir()
        for number, task in enumerate(open_course().exercise(name).tasks.values()):
            text = otter_test(name, seed, task.name, task.points)
            (folder / "tests" / f"q{number}_{task.name}.py").write_text(text)
        quietly(python, ["-m", "otter", "generate", "-t", "tests", "--no-environment", "--no-requirements"], folder)

    def prepare(self, answers: Answers) -> None:
        """Puts the hand-ins where they are looked for, and nothing else."""
        shutil.rmtree(self.folder / "submitted", ignore_errors=True)
        (self.folder / "submitted").mkdir()
        for student, module in answers.items():
            (self.folder / "submitted" / f"{student}.ipynb").write_text(notebook([cell("answer", module)]))

    def grade(self) -> None:
        """Grades what was prepared: this is what is timed."""
        quietly(self.python, ["-c", OTTER_RUN], self.folder)

    def points(self, answers: Answers) -> Points:
        """What it gave to each student."""
        found: Points = json.loads((self.folder / "points.json").read_text())
        return {student: found[student] for student in answers}


PEERS = {"nbgrader": NbGrader, "otter": Otter}

OTTER_RUN = """
import json, pathlib
from otter.api import grade_submission
found = {}
for path in sorted(pathlib.Path("submitted").iterdir()):
    found[path.stem] = grade_submission(str(path), "autograder.zip", quiet=True).total
pathlib.Path("points.json").write_text(json.dumps(found))
"""


def checks_of(name: str, seed: int, functions: str) -> str:
    """Python that makes `checks`."""
    first = f"import sys\nsys.path.insert(0, {str(HERE)!r})\nfrom class_checks import Checks\n"
    return f"{first}checks = Checks({name!r}, {seed}, {functions})"


def otter_test(name: str, seed: int, task: str, points: int) -> str:
    """A test file of Otter's exception-based format; the first that runs makes the checks for all."""
    making = checks_of(name, seed, "env").replace("checks = ", "env['checks'] = ").replace("\n", "\n        ")
    return f"""from otter.test_files import test_case
OK_FORMAT = False
name = {task!r}
points = {points}

@test_case()
def holds(env):
    if "checks" not in env:
        {making}
    env["checks"].run({task!r})
"""


def cell(name: str, text: str, *, solution: bool = False, locked: bool = False, points: int | None = None) -> Any:
    """A code cell with nbgrader's metadata, schema version 3."""
    about = {"schema_version": 3, "grade_id": name, "grade": points is not None, "solution": solution,
             "locked": locked, "task": False}  # fmt: skip
    if points is not None:
        about["points"] = points
    return {"cell_type": "code", "id": name, "metadata": {"nbgrader": about}, "source": text, "outputs": [],
            "execution_count": None}  # fmt: skip


def notebook(cells: list[Any]) -> str:
    """A notebook for the kernel that comes with Python."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})


def quietly(python: Path, command: list[str], folder: Path) -> None:
    """Runs Python; what it says is shown where it fails."""
    there = {
        **os.environ,
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
    }  # nbgrader calls alembic by its name
    done = subprocess.run([python, *command], cwd=folder, env=there, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
