"""What instructors give and students take: `aidl release`, `aidl update`."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aidl_jax import cli
from aidl_jax.exercise.build import build
from aidl_jax.exercise.course import open_course
from aidl_jax.exercise.workspace import Workspace, start

ROOT = Path(__file__).parents[1]
TEMPERATURE = "exercises/s01_first/temperature.py"
MEAN = "exercises/s01_first/running_mean.py"
NOTEBOOK = "notebooks/s01_first.ipynb"
SOLUTIONS = ["solutions/s01_first/running_mean.py", "solutions/s01_first/temperature.py"]
GIVEN = [MEAN, TEMPERATURE, NOTEBOOK]
Aidl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def aidl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Aidl:
    """Runs a command in this process: exit code, output, errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["aidl", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return (int(stopped.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """The tiny course with its sources, built."""
    folder = tmp_path / "mini"
    for part in ("course", "solutions"):
        shutil.copytree(ROOT / "examples" / "mini_course" / part, folder / part)
    build(open_course(folder))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """All of a tree but what `aidl` notes of it."""
    found = [path for path in folder.rglob("*") if path.is_file() and ".aidl" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def new_version(course: Path, name: str = "temperature") -> None:
    """Changes an exercise's lesson."""
    source = course / "solutions" / "s01_first" / f"{name}.py"
    source.write_text(source.read_text() + "\n# %% [markdown]\n# One more thought.\n")
    build(open_course(course))


def outcome(out: str) -> dict[str, str]:
    """What was said of each file."""
    return {line.split()[1]: line.split()[0] for line in out.splitlines()}


# release


def test_a_release_holds_what_students_need_and_no_solution(aidl: Aidl, course: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    code, out, _ = aidl("release", tree, "--course", course)
    assert code == 0
    checks = {
        f"course/{path.relative_to(course / 'course')}"
        for path in (course / "course").rglob("*.??*")
        if path.suffix != ".pyc"
    }
    assert set(files(tree)) == {*GIVEN, *checks}
    assert all((course / name).read_bytes() == data for name, data in files(tree).items())
    assert outcome(out) == dict.fromkeys(files(tree), "new")
    assert start(open_course(tree), tmp_path / "ada", tree)  # a student can begin with it


def test_the_packages_own_course_goes_without_its_checks(aidl: Aidl, tmp_path: Path) -> None:
    assert aidl("release", tmp_path / "tree")[0] == 0
    found = files(tmp_path / "tree")
    assert {name.split("/")[0] for name in found} == {"exercises", "notebooks"}
    assert not any(b"BEGIN SOLUTION" in data for data in found.values())


def test_releasing_again_changes_nothing_and_says_so(aidl: Aidl, course: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    aidl("release", tree, "--course", course)
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    assert aidl("release", tree, "--course", course) == (0, f"{tree} has everything already.\n", "")
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*")} == before


def test_solutions_come_after_class_and_stay(aidl: Aidl, course: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    aidl("release", tree, "--course", course)
    code, out, _ = aidl("release", tree, "--course", course, "--solutions", "s01")
    assert code == 0 and outcome(out) == dict.fromkeys(SOLUTIONS, "new")
    text = (tree / SOLUTIONS[1]).read_text()
    assert "return celsius * 9 / 5 + 32" in text and "SOLUTION" not in text
    new_version(course)  # what is out already is kept up to date
    code, out, _ = aidl("release", tree, "--course", course)
    assert code == 0 and outcome(out) == dict.fromkeys([TEMPERATURE, NOTEBOOK, SOLUTIONS[1]], "changed")


def test_what_was_edited_in_a_release_is_left_and_told(aidl: Aidl, course: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    aidl("release", tree, "--course", course)
    (tree / TEMPERATURE).write_text("edited by hand")
    (tree / "README.md").write_text("the instructor's own")
    new_version(course)
    for _ in range(2):
        code, out, _ = aidl("release", tree, "--course", course)
        assert code == 1 and f"edited   {TEMPERATURE}  left as it is\n" in out
    assert (tree / TEMPERATURE).read_text() == "edited by hand"
    assert (tree / "README.md").read_text() == "the instructor's own"


def test_what_the_course_drops_stays_and_is_told_once(aidl: Aidl, course: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    aidl("release", tree, "--course", course)
    for part in ("course", "solutions", "exercises"):
        (course / part / "s01_first" / "temperature.py").unlink()
    build(open_course(course))
    code, out, _ = aidl("release", tree, "--course", course)
    assert code == 0 and f"dropped  {TEMPERATURE}  no longer in the course; left as it is\n" in out
    assert (tree / TEMPERATURE).is_file()
    assert aidl("release", tree, "--course", course)[1] == f"{tree} has everything already.\n"


def test_what_cannot_be_released(aidl: Aidl, course: Path, tmp_path: Path) -> None:
    def fails(*arguments: object) -> str:
        code, _, errors = aidl("release", *arguments, "--course", course)
        assert code == 2
        return errors.removeprefix("aidl: ").rstrip()

    tree, file = tmp_path / "tree", tmp_path / "notes"
    file.write_text("mine")
    assert fails(course) == f"a course cannot be released into itself: given {course}. Fix: name another folder"
    assert fails(file) == f"this is a file, not a folder: given {file}. Fix: name another one"
    assert fails(tree, "--solutions", "s09") == "there is no session 's09'. Fix: choose from 's01_first'"
    shutil.copytree(course / "course" / "s01_first", course / "course" / "s01_second")
    for part in ("solutions", "exercises"):
        shutil.copytree(course / part / "s01_first", course / part / "s01_second")
    build(open_course(course))
    assert fails(tree, "--solutions", "s01").startswith("'s01' names more than one session. Fix: ")
    stale = course / TEMPERATURE
    stale.write_text(stale.read_text() + "# more\n")
    assert fails(tree) == f"{stale}: a made file is stale. Fix: aidl build"
    stale.unlink()
    assert fails(tree) == f"{stale}: the course's files have not been made. Fix: aidl build"
    build(open_course(course))
    (course / SOLUTIONS[1]).unlink()
    assert fails(tree, "--solutions", "s01_first") == (
        f"{course / SOLUTIONS[1]}: there is no solution to release. "
        "Fix: release from the checkout that has the solutions; the wheel has none"
    )
    assert not tree.exists()


# update


@pytest.fixture
def workspace(course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A student's folder of the tiny course, entered."""
    folder = tmp_path / "ada"
    start(open_course(course), folder, course)
    monkeypatch.chdir(folder)
    return folder


def test_what_was_not_edited_is_replaced_and_new_exercises_come(aidl: Aidl, course: Path, workspace: Path) -> None:
    assert aidl("update") == (0, f"{workspace} has everything already.\n", "")
    new_version(course)
    for part in ("course", "solutions"):
        text = (course / part / "s01_first" / "temperature.py").read_text()
        (course / part / "s01_first" / "more.py").write_text(text)
    build(open_course(course))
    code, out, _ = aidl("update")
    assert code == 0
    assert outcome(out) == {"exercises/s01_first/more.py": "new", TEMPERATURE: "changed", NOTEBOOK: "changed"}
    assert all((course / name).read_bytes() == data for name, data in files(workspace).items())


def test_edits_stay_and_each_new_version_comes_beside_them_once(aidl: Aidl, course: Path, workspace: Path) -> None:
    file, beside = workspace / TEMPERATURE, workspace / "exercises/s01_first/temperature.new.py"
    file.write_text("my answer")
    new_version(course)
    code, out, _ = aidl("update")
    assert code == 0
    assert f"edited   {TEMPERATURE}  left as it is; the new version is beside it: temperature.new.py\n" in out
    assert file.read_text() == "my answer" and beside.read_bytes() == (course / TEMPERATURE).read_bytes()
    assert "everything already" in aidl("update")[1]
    beside.unlink()  # read and thrown away
    assert "everything already" in aidl("update")[1] and not beside.exists()
    beside.write_text("notes of mine")
    new_version(course)
    assert "beside it: temperature.new2.py" in aidl("update")[1]
    assert file.read_text() == "my answer" and beside.read_text() == "notes of mine"
    file.write_bytes((course / TEMPERATURE).read_bytes())  # the new version taken over: nothing is edited any more
    new_version(course)
    assert outcome(aidl("update")[1])[TEMPERATURE] == "changed"


def test_a_folder_from_before_given_versions_were_noted_loses_nothing(
    aidl: Aidl, course: Path, workspace: Path
) -> None:
    (workspace / ".aidl" / "given.json").unlink()
    old = (workspace / TEMPERATURE).read_bytes()
    new_version(course)
    assert "temperature.new.py" in aidl("update")[1]
    assert (workspace / TEMPERATURE).read_bytes() == old


def test_after_a_reset_a_file_counts_as_given(aidl: Aidl, course: Path, workspace: Path) -> None:
    (workspace / TEMPERATURE).write_text("my answer")
    new_version(course)
    assert aidl("reset", "temperature")[0] == 0
    new_version(course)
    assert outcome(aidl("update")[1])[TEMPERATURE] == "changed"


def test_from_a_released_tree_into_a_copy_of_an_older_one(
    aidl: Aidl, course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    aidl("release", old, "--course", course)
    (old / TEMPERATURE).write_text("my answer")
    new_version(course)
    new_version(course, "running_mean")
    aidl("release", new, "--course", course, "--solutions", "s01_first")
    (new / "exercises/s01_first/dag.new.py").write_text("somebody's")
    monkeypatch.chdir(old)
    assert outcome(aidl("update", new)[1]) == {
        MEAN: "changed", TEMPERATURE: "edited", NOTEBOOK: "changed", SOLUTIONS[0]: "new", SOLUTIONS[1]: "new",
    }  # fmt: skip
    assert (old / TEMPERATURE).read_text() == "my answer"
    assert aidl("update", new)[1] == f"{old} has everything already.\n"


def test_a_workspace_without_the_checks_takes_none(aidl: Aidl, course: Path, workspace: Path, tmp_path: Path) -> None:
    aidl("release", tmp_path / "tree", "--course", course)
    aidl("update", tmp_path / "tree")
    assert not (workspace / "course").exists()


def test_what_cannot_be_updated(aidl: Aidl, workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    code, _, errors = aidl("update", empty)
    assert code == 2
    assert errors == f"aidl: this folder holds no exercises: given {empty}. Fix: name one that aidl release made\n"
    given = workspace / ".aidl" / "given.json"
    given.write_text("{")
    assert aidl("update")[2].startswith(f"aidl: {given}: this file is damaged: given ")
    monkeypatch.chdir(empty)
    assert aidl("update")[2].startswith(f"aidl: this folder is not in a workspace: given {empty}")


def test_what_was_given_is_noted_as_hashes(workspace: Path) -> None:
    noted = json.loads((workspace / ".aidl" / "given.json").read_text())
    assert sorted(noted) == GIVEN and Workspace(workspace).given() == noted
