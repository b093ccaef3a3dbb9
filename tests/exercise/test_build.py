"""Made files follow their sources; a scaffolded exercise works before anything is written in it."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from aidl_jax.errors import CourseError, UsageError
from aidl_jax.exercise.build import build, made_files, scaffold, stale
from aidl_jax.exercise.course import Course, open_course
from aidl_jax.exercise.source import without_solutions
from aidl_jax.files import write_bytes, write_text
from aidl_jax.grade.handin import read_document
from aidl_jax.grade.judge import judge
from aidl_jax.grade.session import Session
from aidl_jax.grade.variants import VariantSession

ROOT = Path(__file__).parents[2]


@pytest.fixture
def course(tmp_path: Path) -> Course:
    """The tiny course's sources, not built."""
    for part in ("course", "solutions"):
        shutil.copytree(ROOT / "examples" / "mini_course" / part, tmp_path / part)
    return open_course(tmp_path)


@pytest.mark.oldest
@pytest.mark.parametrize("folder", [None, ROOT / "examples" / "mini_course"], ids=["aidl_jax", "mini_course"])
def test_the_made_files_of_this_repository_are_fresh(folder: Path | None) -> None:
    assert stale(open_course(folder)) == ""


def test_build_writes_only_what_has_changed(course: Course) -> None:
    made = sorted(path.relative_to(course.root).as_posix() for path in build(course))
    assert made == [
        "exercises/s01_first/running_mean.py",
        "exercises/s01_first/temperature.py",
        "notebooks/s01_first.ipynb",
    ]
    assert build(course) == [] and stale(course) == ""
    source = course.solution("s01_first/temperature")
    write_text(source, source.read_text(encoding="utf-8").replace("# # Degrees", "# # Degrees and so on"))
    changed = [course.student_file("s01_first/temperature"), course.notebook("s01_first")]
    assert build(course) == changed
    assert all("Degrees and so on" in path.read_text(encoding="utf-8") for path in changed)


def test_a_changed_solution_alone_makes_nothing_stale(course: Course) -> None:
    build(course)
    source = course.solution("s01_first/temperature")
    write_text(source, source.read_text(encoding="utf-8").replace("* 9 / 5 + 32", "* 1.8 + 32"))
    assert stale(course) == ""


def test_stale_is_a_diff(course: Course) -> None:
    build(course)
    path = course.student_file("s01_first/temperature")
    text = path.read_text(encoding="utf-8")
    write_text(path, text.replace("import jax.numpy as jnp\n", "import numpy as jnp\n"))
    diff = stale(course)
    name = "exercises/s01_first/temperature.py"
    assert diff.startswith(f"--- {name} (there)\n+++ {name} (made from its source)\n@@ ")
    assert "\n-import numpy as jnp\n+import jax.numpy as jnp\n" in diff
    path.unlink()
    assert stale(course).count("\n+") == len(text.splitlines()) + 1  # all of it, and the header


def test_what_notebooks_install_can_be_said(course: Course) -> None:
    build(course, "https://x.org/a.whl")
    assert "SOURCE = 'https://x.org/a.whl'" in course.notebook("s01_first").read_text(encoding="utf-8")
    assert stale(course, "https://x.org/a.whl") == ""
    assert stale(course) != ""


def test_a_missing_source(course: Course) -> None:
    path = course.solution("s01_first/temperature")
    path.unlink()
    with pytest.raises(CourseError) as error:
        build(course)
    assert str(error.value) == f"s01_first/temperature: an exercise has checks but no source: expected {path}"
    assert not (course.root / "exercises").exists()


MARKED = "# %%\ndef f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION\n"


@pytest.mark.parametrize(("text", "given"), [("# %%\nx = 1\n", "none"), (MARKED, "f")])
def test_marked_functions_that_are_not_the_tasks(course: Course, text: str, given: str) -> None:
    path = course.solution("s01_first/temperature")
    write_text(path, text)
    with pytest.raises(CourseError) as error:
        made_files(course)
    assert str(error.value) == (
        f"{path}: the functions with a marked solution are not the exercise's tasks, in order: "
        f"given {given}, expected to_fahrenheit"
    )


# Scaffolding


@pytest.mark.oldest
@pytest.mark.parametrize("name", ["s02_more/total", "s02_more/exercise"])
def test_a_scaffolded_exercise_works_as_it_is(course: Course, name: str) -> None:
    written = scaffold(course, name)
    assert written == [course.solution(name), course.checks / f"{name}.py"]
    assert {path.relative_to(course.root).parts[0] for path in build(course)} == {"exercises", "notebooks"}
    exercise = course.exercise(name)
    (task,) = exercise.tasks.values()
    assert len(set(task.hints.levels())) == 3 and len(task.wrong_answers) >= 2
    if name == "s02_more/exercise":
        return  # the same but for the task's name
    document = read_document("total.py", course.solution(name).read_bytes())
    with Session(document.cells, exercise) as session:
        assert judge(name, exercise, session, 1).points == exercise.points == 1
        for wrong in task.wrong_answers:

            class InPlace(VariantSession):
                """The solution with the wrong answer in its place."""

                def __getattr__(self, name: str) -> Any:
                    return getattr(session, name)

            record = judge(name, exercise, InPlace(session, (task.name, wrong)), 1, explained=False)  # type: ignore[arg-type]
            assert [found.verdict for found in record.tasks] == ["failed"], wrong.name
    assert "still to be written" in without_solutions(course.solution(name).read_text(encoding="utf-8"), "a")


@pytest.mark.parametrize("name", ["total", "s2_more/total", "s02_more/Total", "s02_more/", "../s02_more/total",
                                  "s02_more/a/b", "s02_more/total.py", "s02_/x y", ""])  # fmt: skip
def test_a_name_that_is_none(course: Course, name: str) -> None:
    before = sorted(course.root.rglob("*"))
    with pytest.raises(UsageError) as error:
        scaffold(course, name)
    assert str(error.value) == (
        f"this is not an exercise's name: given {name!r}, expected sNN_topic/name, as s03_autodiff/duals"
    )
    assert sorted(course.root.rglob("*")) == before


def test_a_word_of_pythons(course: Course) -> None:
    with pytest.raises(UsageError) as error:
        scaffold(course, "s02_more/lambda")
    assert (
        str(error.value) == "'lambda' is a word of Python's and no function can be named so. Fix: choose another name"
    )
    assert not (course.root / "solutions" / "s02_more").exists()


def test_scaffolding_loses_nothing(course: Course) -> None:
    path = course.solution("s01_first/temperature")
    (course.checks / "s01_first" / "temperature.py").unlink()
    before = path.read_bytes()
    with pytest.raises(UsageError) as error:
        scaffold(course, "s01_first/temperature")
    assert str(error.value) == f"the exercise is there already: given {path}. Fix: choose another name"
    assert path.read_bytes() == before
    assert not (course.checks / "s01_first" / "temperature.py").exists()


# Writing files


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_text(path, "old\n")
    real = os.fdopen

    def broken(handle: int, *arguments: Any) -> Any:
        file = real(handle, *arguments)
        file.write(b"ne")

        def write(data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        return type("Half", (), {"__enter__": lambda self: self, "__exit__": lambda self, *e: file.close(),
                                 "write": staticmethod(write)})()  # fmt: skip

    monkeypatch.setattr(os, "fdopen", broken)
    with pytest.raises(OSError, match="No space left") as error:
        write_text(path, "new\n")
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(path))
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.json", "old\n")]


def test_a_stop_while_writing_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "a", b"x")
    assert list(tmp_path.iterdir()) == []


def test_written_files_are_plain(tmp_path: Path) -> None:
    write_text(tmp_path / ("n" * 250), "é\n")  # the longest names leave no room for more
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == b"\xc3\xa9\n"
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o644


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        write_bytes(tmp_path / "gone" / "a.json", b"x")
    assert error.value.filename == str(tmp_path / "gone" / "a.json")
