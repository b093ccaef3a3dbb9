"""`pytest exercises/...` runs an exercise's checks: one test per task, with the failures that `aidl check` shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aidl_jax.exercise.build import build
from aidl_jax.exercise.course import open_course
from aidl_jax.exercise.workspace import start

ROOT = Path(__file__).parents[1]
CHECKS = '''
import numpy as np
from aidl_jax.exercise import Draw, Exercise, Hints, Student, compare

exercise = Exercise("Steps")
hints = Hints("a", "b", "c")
double, triple = (exercise.task(name, points=1, hints=hints) for name in ("double", "triple"))
both = exercise.task("both", points=1, hints=hints, needs=["triple"])

@double.check
def doubles(student, draw):
    """It doubles."""
    compare(student.double(np.array(3.0)), np.array(6.0))

@triple.check
def triples(student, draw):
    """It triples."""
    compare(student.triple(np.array(3.0)), np.array(9.0))

@triple.wrong("You added three; multiply by three.")
def added(x):
    return x + 3

@both.check
def does_both(student, draw):
    """Both of them."""
    compare(student.both(np.array(3.0)), np.array(18.0))
'''
ANSWER = """
print("imported, which must never happen")
raise SystemExit(3)
def double(x):
    return 2 * x
def triple(x):
    return x + 3
def both(x):
    return double(triple(x))
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student's folder with one exercise of three tasks: right, wrong, waiting."""
    base = tmp_path_factory.mktemp("plugin")
    course = base / "course"
    (course / "course" / "s01_steps").mkdir(parents=True)
    (course / "course" / "course.toml").write_text('title = "T"\ninstall = "x"\n[sessions]\ns01_steps = "Steps"\n')
    (course / "course" / "s01_steps" / "steps.py").write_text(CHECKS)
    (course / "solutions" / "s01_steps").mkdir(parents=True)
    body = "    ### BEGIN SOLUTION\n    return x\n    ### END SOLUTION\n"
    source = "# %%\n" + "".join(f"def {task}(x):\n{body}" for task in ("double", "triple", "both"))
    (course / "solutions" / "s01_steps" / "steps.py").write_text(source)
    build(open_course(course))
    start(open_course(course), base / "ada", course)
    (base / "ada" / "exercises" / "s01_steps" / "steps.py").write_text(ANSWER)
    return base / "ada"


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--color=no", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COLUMNS"))}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.oldest
def test_one_test_per_task(workspace: Path) -> None:
    done = run_pytest(workspace, "-v", "-rs", "exercises/s01_steps/steps.py")
    assert done.returncode == 1, done.stdout
    outcomes = re.findall(r"steps\.py::(\w+) (PASSED|FAILED|SKIPPED)", done.stdout)
    assert outcomes == [("double", "PASSED"), ("triple", "FAILED"), ("both", "SKIPPED")]
    assert "waits for triple" in done.stdout
    assert "triple failed this check: It triples." in done.stdout
    assert "You added three; multiply by three." in done.stdout
    assert "1 failed, 1 passed, 1 skipped" in done.stdout
    assert "imported, which must never happen" not in done.stdout + done.stderr
    failures = done.stdout.partition("= FAILURES =")[2].partition("short test summary")[0]
    assert "Traceback" not in failures and "pytest_plugin.py" not in failures


@pytest.mark.parametrize("arguments", [["exercises", "-k", "double"], ["exercises/s01_steps/steps.py::double"],
                                       ["exercises/s01_steps/steps.py", "-k", "double", "--doctest-modules"]])  # fmt: skip
def test_tasks_are_found_in_every_way_that_pytest_has(workspace: Path, arguments: list[str]) -> None:
    done = run_pytest(workspace, "-q", *arguments)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
    assert "imported" not in done.stdout + done.stderr


def test_a_file_that_cannot_be_read(workspace: Path, tmp_path: Path) -> None:
    mine = tmp_path / "bela"
    shutil.copytree(workspace, mine)
    (mine / "exercises" / "s01_steps" / "steps.py").write_bytes(b"\xff\xfe")
    done = run_pytest(mine, "-q", "exercises/s01_steps/steps.py")
    assert done.returncode == 1
    assert (
        done.stdout.count("\nsteps.py: the file is not UTF-8 text: given byte 0xff in line 1. Fix: save it as UTF-8\n")
        == 3
    )
    assert "Traceback" not in done.stdout


def test_a_workspace_whose_course_is_gone(workspace: Path, tmp_path: Path) -> None:
    mine = tmp_path / "cora"
    shutil.copytree(workspace, mine)
    (mine / ".aidl" / "workspace.json").write_text('{"course": "/nowhere"}')
    done = run_pytest(mine, "-q", "exercises/s01_steps/steps.py")
    assert done.returncode != 0
    assert (
        "this folder holds no course: given /nowhere, expected a file /nowhere/course/course.toml"
        in done.stdout + done.stderr
    )
    assert "INTERNALERROR" not in done.stdout + done.stderr


def test_other_files_are_pytests_own(tmp_path: Path) -> None:
    other = tmp_path / "exercises" / "s01_mine"
    other.mkdir(parents=True)
    (other / "test_mine.py").write_text("def test_it():\n    assert True\n")
    (tmp_path / "test_more.py").write_text("def test_more():\n    assert True\n")
    done = run_pytest(tmp_path, "-q")
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_the_exercise_of_this_repository_is_checked_not_imported() -> None:
    done = run_pytest(ROOT, "-q", "--collect-only", "exercises/s02_graphs/linear_regression.py")
    assert done.returncode == 0, done.stdout
    tasks = list(open_course().exercise("s02_graphs/linear_regression").tasks)
    assert re.findall(r"linear_regression\.py::(\w+)", done.stdout) == tasks
