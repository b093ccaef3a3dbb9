"""Gradescope: `results.json` as its specification has it, and a built autograder run in a folder laid out as theirs."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_class_page import LINES, UNSAFE, exercise, student

from aidl_jax.cli import cli
from aidl_jax.errors import UsageError
from aidl_jax.exercise.course import open_course
from aidl_jax.grade import packing, sandbox
from aidl_jax.grade.gradescope import LATER, build, results
from aidl_jax.grade.results import StudentResult

ROOT = Path(__file__).parents[2]
MINI = ROOT / "examples" / "mini_course"
MEAN = "s01_first/running_mean"
EXERCISES = {LINES: exercise()}


def told(result: StudentResult, **more: Any) -> dict[str, Any]:
    return results(result, EXERCISES, **more)


def test_a_test_for_each_task_with_its_raw_points() -> None:
    found = told(student("bo", "failed", explained=["You summed."]), seconds=2.345)
    first, second = found["tests"]
    assert (first["name"], first["number"], first["score"], first["max_score"], first["status"]) == (
        "first",
        "1.1",
        0,
        2,
        "failed",
    )
    assert "It is wrong." in first["output"] and "You summed." in first["output"]
    assert second["output"] == "Not checked yet: it waits for first."
    assert (found["score"], found["execution_time"], found["visibility"], found["output"]) == (0, 2.3, "visible", "")
    passed = told(student("ada", "passed"))
    assert [test["status"] for test in passed["tests"]] == ["passed", "passed"] and passed["score"] == 5


def test_every_key_is_one_of_gradescopes() -> None:
    top = {
        "score",
        "execution_time",
        "output",
        "output_format",
        "visibility",
        "stdout_visibility",
        "extra_data",
        "leaderboard",
        "tests",
    }
    each = {
        "score",
        "max_score",
        "status",
        "name",
        "name_format",
        "number",
        "output",
        "output_format",
        "tags",
        "visibility",
        "extra_data",
    }
    found = told(student("bo", "failed"), seconds=1.0)
    assert set(found) <= top and all(set(test) <= each for test in found["tests"])
    assert {test["visibility"] for test in found["tests"]} == {"visible"}  # one hidden test hides the total
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_what_the_grader_could_not_grade_has_no_score() -> None:
    found = told(student("flo", "ungraded", "ungraded", "The grader failed."))
    assert (
        "score" not in found["tests"][0] and "status" not in found["tests"][0] and found["tests"][0]["output"] == LATER
    )
    assert found["output"] == "1 of 2 tasks could not be graded; the total is without them."
    fault = StudentResult("x", None, {}, problems={LINES: "ungraded, by a fault of the grader's: OSError"})
    assert "score" not in told(fault)  # no total, so that Gradescope tells of a failed run
    assert all("score" not in test for test in told(fault)["tests"])


def test_what_was_not_handed_in_says_so() -> None:
    found = told(StudentResult("x", None, {}, problems={"a.ipynb": "the notebook is not JSON"}))
    assert [test["score"] for test in found["tests"]] == [0, 0] and found["score"] == 0
    assert found["tests"][0]["output"] == "s02/lines was not handed in.\na.ipynb: the notebook is not JSON"


def test_texts_are_plain_text_without_control_characters() -> None:
    found = told(student("bo", "failed", message="<b>\x1b[31m**x**\u202e"))
    first = found["tests"][0]
    assert (first["output_format"], first["name_format"], found["output_format"]) == ("text", "text", "text")
    assert "<b>\\x1b[31m**x**\\u202e" in first["output"]


def test_an_unsafe_run_is_said_first() -> None:
    assert told(student("ada", "passed"), unsafe=True)["output"] == UNSAFE


# The zip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("autograder") / "autograder.zip"
    arguments = ["build", "running_mean", "--course", str(MINI), "--out", str(path), "--seed", "3"]
    done = CliRunner().invoke(cli, ["gradescope", *arguments], catch_exceptions=False)
    assert "running_mean, 2 points, seed 3" in done.output and "UNSAFE" not in done.output
    return path


def lay_out(archive: Path, folder: Path, submission: Path) -> Path:
    """As Gradescope does: the zip in `source`, `run_autograder` beside it, and an environment as `setup.sh` makes it."""
    for name in ("source", "submission", "results"):
        (folder / name).mkdir(parents=True)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder / "source")
    shutil.copy(folder / "source" / "run_autograder", folder)
    shutil.copy(submission, folder / "submission")
    (folder / "venv").symlink_to(sys.prefix)
    return folder


def run(root: Path, **environment: str) -> tuple[int, str, dict[str, Any]]:
    bash = shutil.which("bash") or "bash"
    done = subprocess.run(
        [bash, str(root / "run_autograder")], capture_output=True, text=True, cwd=root,
        env=os.environ | {"AIDL_AUTOGRADER": str(root)} | environment,
    )  # fmt: skip
    written = root / "results" / "results.json"
    assert written.is_file(), done.stderr
    return done.returncode, done.stdout, json.loads(written.read_text())


def test_a_submission_is_graded_where_gradescope_puts_it(built: Path, tmp_path: Path) -> None:
    (tmp_path / "running_mean.py").write_text(
        "def running_mean(stream):\n    total = 0\n    for x in stream:\n        total += x\n        yield total\n"
    )
    root = lay_out(built, tmp_path / "autograder", tmp_path / "running_mean.py")
    if sandbox.lacking() is not None:
        pytest.skip("there can be no sandbox here")
    code, _, found = run(root)
    assert code == 0 and found["score"] == 0 and found["output"] == ""
    assert "You yield the sums: divide by how many numbers there were." in found["tests"][0]["output"]


def test_without_a_sandbox_nothing_is_graded_unless_it_was_built_so(built: Path, tmp_path: Path) -> None:
    solution = MINI / "solutions" / f"{MEAN}.py"
    (tmp_path / "no-bwrap").mkdir()
    root = lay_out(built, tmp_path / "safe", solution)
    code, said, found = run(root, PATH=str(tmp_path / "no-bwrap"))
    assert code == 1 and "score" not in found and found["tests"] == []
    assert found["output"].startswith("Nothing was graded: ") and "bubblewrap is not installed" in found["output"]
    assert "build the autograder with --unsafe" in found["output"] and said.strip() == found["output"]
    unsafe = tmp_path / "unsafe.zip"
    build(unsafe, open_course(MINI), [MEAN], seed=3, unsafe=True)
    code, _, found = run(lay_out(unsafe, tmp_path / "unsafe", solution), PATH=str(tmp_path / "no-bwrap"))
    assert code == 0 and found["score"] == 2 and found["output"].startswith(UNSAFE)


def test_the_zip_holds_what_it_must_and_no_solution(built: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
        modes = {name: archive.getinfo(name).external_attr >> 16 for name in names}
        texts = {name: archive.read(name) for name in names}
    assert {"setup.sh", "run_autograder", "autograder.json", "constraints.txt"} <= set(names)
    assert "course/course/course.toml" in names and f"course/course/{MEAN}.py" in names
    assert all(modes[name] & 0o111 for name in ("setup.sh", "run_autograder"))
    assert json.loads(texts["autograder.json"]) == {"course": "course", "exercises": [MEAN], "seed": 3, "unsafe": False}
    assert not any(
        "solutions" in name or b"### BEGIN SOLUTION" in data
        for name, data in texts.items()
        if not name.endswith(".whl")
    )
    again = tmp_path / "again.zip"
    build(again, open_course(MINI), [MEAN], seed=3)
    assert again.read_bytes() == built.read_bytes()


def test_this_packages_own_course_travels_in_the_wheel(tmp_path: Path) -> None:
    names = build(tmp_path / "a.zip", open_course(), ["s02_graphs/linear_regression"], seed=1)
    assert [name for name in names if name.startswith("course/")] == []
    with zipfile.ZipFile(io.BytesIO(packing.wheel()[1])) as wheel:
        assert "aidl_jax/course/s02_graphs/linear_regression.py" in wheel.namelist()


def test_the_wheel_records_what_is_in_it() -> None:
    name, data = packing.wheel()
    with zipfile.ZipFile(io.BytesIO(data)) as wheel:
        members = {member: wheel.read(member) for member in wheel.namelist()}
    about = name.removesuffix("-py3-none-any.whl") + ".dist-info"
    assert {f"{about}/METADATA", f"{about}/WHEEL", "aidl_jax/grade/resources/setup.sh"} <= members.keys()
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(members[f"{about}/RECORD"].decode()))}
    assert rows.keys() == members.keys()
    for member, (digest, size) in rows.items():
        if member != f"{about}/RECORD":
            whole = hashlib.sha256(members[member]).digest()
            assert digest == "sha256=" + base64.urlsafe_b64encode(whole).decode().rstrip("=") and int(size) == len(
                members[member]
            )


@pytest.mark.slow
def test_setup_makes_an_environment_with_the_wheel_in_it(built: Path, tmp_path: Path) -> None:
    """With a system that installs nothing, and pip told to take the wheel alone."""
    root = tmp_path / "autograder"
    with zipfile.ZipFile(built) as archive:
        archive.extractall(root / "source")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apt-get").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "bin" / "apt-get").chmod(0o755)
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    path = f"{tmp_path / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = {"AIDL_AUTOGRADER": str(root), "PATH": path, "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1"}
    done = subprocess.run(
        ["bash", str(root / "source" / "setup.sh")], capture_output=True, text=True, env=os.environ | settings
    )
    assert done.returncode == 0, done.stderr
    code = "import importlib.metadata as m, aidl_jax; print(m.version('aidl-jax'), aidl_jax.__file__)"
    there = subprocess.run(
        [str(root / "venv/bin/python"), "-I", "-c", code], capture_output=True, text=True, check=True
    )
    version, file = there.stdout.split()
    assert file.startswith(str(root)) and version == packing.wheel()[0].split("-")[1]
    assert (root / "venv/bin/aidl").is_file()


def test_constraints_name_what_the_package_needs() -> None:
    import jax

    pinned = dict(line.split("==") for line in packing.constraints().splitlines())
    assert pinned["jax"] == jax.__version__ and {"numpy", "jinja2", "markupsafe"} <= pinned.keys()
    assert not {"aidl-jax", "torch", "mypy"} & pinned.keys()  # itself; what only its extras need


def test_what_cannot_be_built_says_why(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"an autograder needs an exercise\. Fix: name one: aidl gradescope build s02/linear"
    ):
        build(tmp_path / "a.zip", open_course(), [], seed=1)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(
        UsageError, match=r"something that is no zip is there: given .*notes.txt\. Fix: pass another name with --out"
    ):
        build(tmp_path / "notes.txt", open_course(), [LINES], seed=1)
    assert (tmp_path / "notes.txt").read_text() == "mine"
