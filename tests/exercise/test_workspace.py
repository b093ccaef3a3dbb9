"""A student's folder: laid out, reset, hinted, remembered; and nothing of theirs is ever lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aidl_jax.errors import CourseError, UsageError
from aidl_jax.exercise.build import build
from aidl_jax.exercise.course import Course, open_course
from aidl_jax.exercise.workspace import (
    NO_PROGRESS,
    Workspace,
    find_workspace,
    next_exercise,
    next_hint,
    reset,
    start,
)

ROOT = Path(__file__).parents[2]
MEAN, DEGREES = "s01_first/running_mean", "s01_first/temperature"


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """The tiny course, built."""
    folder = tmp_path_factory.mktemp("course")
    for part in ("course", "solutions"):
        shutil.copytree(ROOT / "examples" / "mini_course" / part, folder / part)
    build(open_course(folder))
    return open_course(folder)


@pytest.fixture
def workspace(course: Course, tmp_path: Path) -> Workspace:
    start(course, tmp_path / "ada", course.root)
    return Workspace(tmp_path / "ada")


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# start


@pytest.mark.oldest
def test_start(course: Course, tmp_path: Path) -> None:
    written = start(course, tmp_path / "new" / "ada", course.root)
    assert sorted(path.relative_to(tmp_path / "new" / "ada").as_posix() for path in written) == [
        f"exercises/{MEAN}.py",
        f"exercises/{DEGREES}.py",
        "notebooks/s01_first.ipynb",
    ]
    workspace = Workspace(tmp_path / "new" / "ada")
    assert workspace.file(DEGREES).read_bytes() == course.student_file(DEGREES).read_bytes()
    assert workspace.notebook(DEGREES).read_bytes() == course.notebook("s01_first").read_bytes()
    assert workspace.course_path == course.root
    assert start(course, workspace.root, course.root) == []


def test_the_packages_own_course_is_not_noted(course: Course, tmp_path: Path) -> None:
    start(course, tmp_path)
    assert Workspace(tmp_path).course_path is None
    assert Workspace(tmp_path / "gone").course_path is None


def test_start_completes_what_is_there(course: Course, workspace: Workspace) -> None:
    workspace.file(DEGREES).unlink()
    (workspace.root / "notes.txt").write_text("mine")
    assert start(course, workspace.root, course.root) == [workspace.file(DEGREES)]
    assert (workspace.root / "notes.txt").read_text() == "mine"


def test_a_clash_loses_nothing_and_writes_nothing(course: Course, tmp_path: Path) -> None:
    mine = tmp_path / "exercises" / f"{DEGREES}.py"
    mine.parent.mkdir(parents=True)
    mine.write_text("my own answer")
    with pytest.raises(UsageError) as error:
        start(course, tmp_path, course.root)
    assert str(error.value) == (
        f"{tmp_path}: exercises/{DEGREES}.py is there with something else in it. "
        "Fix: name another folder, or use aidl reset for one exercise; nothing was changed"
    )
    assert everything(tmp_path) == {f"exercises/{DEGREES}.py": b"my own answer"}


def test_a_file_in_the_way(course: Course, tmp_path: Path) -> None:
    (tmp_path / "ada").write_text("mine")
    with pytest.raises(UsageError) as error:
        start(course, tmp_path / "ada")
    assert str(error.value) == f"this is a file, not a folder: given {tmp_path / 'ada'}. Fix: name another one"
    assert (tmp_path / "ada").read_text() == "mine"


def test_a_course_that_was_never_built(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(ROOT / "examples" / "mini_course" / "course", bare / "course")
    with pytest.raises(CourseError) as error:
        start(open_course(bare), tmp_path / "ada")
    assert str(error.value) == (
        f"{bare / 'exercises' / MEAN}.py: the course's files have not been made. Fix: aidl build"
    )
    assert not (tmp_path / "ada").exists()


def test_find_workspace_from_inside(workspace: Workspace, tmp_path: Path) -> None:
    for folder in (workspace.root, workspace.root / "exercises", workspace.file(DEGREES).parent):
        assert find_workspace(folder).root == workspace.root
    with pytest.raises(UsageError) as error:
        find_workspace(tmp_path)
    assert str(error.value) == f"this folder is not in a workspace: given {tmp_path}. Fix: aidl start DIR, then cd DIR"


# reset


@pytest.mark.oldest
def test_reset_keeps_every_version(course: Course, workspace: Workspace) -> None:
    path, given = workspace.file(DEGREES), course.student_file(DEGREES).read_bytes()
    assert reset(course, workspace, DEGREES) is None
    backups = []
    for text in (b"one", b"two", b"three"):
        path.write_bytes(text)
        backup = reset(course, workspace, DEGREES)
        assert backup is not None and path.read_bytes() == given
        backups.append(backup)
    assert [backup.read_bytes() for backup in backups] == [b"one", b"two", b"three"]
    backups[0].unlink()  # tidied up by hand: the next one must not take the place of a kept one
    path.write_bytes(b"four")
    last = reset(course, workspace, DEGREES)
    assert last is not None and last.read_bytes() == b"four"
    assert [backup.read_bytes() for backup in backups[1:]] == [b"two", b"three"]


def test_reset_forgets_points_and_remembers_hints(course: Course, workspace: Workspace) -> None:
    workspace.save_progress(DEGREES, passed=["to_fahrenheit"], points=1, hints={"to_fahrenheit": 2})
    workspace.save_progress(MEAN, passed=["running_mean"], points=2)
    reset(course, workspace, DEGREES)
    assert workspace.progress(DEGREES) == {"passed": [], "points": 0, "hints": {"to_fahrenheit": 2}}
    assert workspace.progress(MEAN)["points"] == 2


def test_reset_brings_back_a_missing_file(course: Course, workspace: Workspace) -> None:
    shutil.rmtree(workspace.root / "exercises" / "s01_first")
    assert reset(course, workspace, DEGREES) is None
    assert workspace.file(DEGREES).read_bytes() == course.student_file(DEGREES).read_bytes()


# hints and progress


def test_hints_come_one_more_at_a_time(course: Course, workspace: Workspace) -> None:
    levels = course.exercise(DEGREES).tasks["to_fahrenheit"].hints.levels()
    seen = [next_hint(course, workspace, DEGREES) for _ in range(4)]
    assert seen == [("to_fahrenheit", levels[:count]) for count in (1, 2, 3, 3)]
    assert Workspace(workspace.root).progress(DEGREES)["hints"] == {"to_fahrenheit": 3}
    assert Workspace(workspace.root).progress(MEAN) == NO_PROGRESS


def test_hints_that_there_are_none_of(course: Course, workspace: Workspace) -> None:
    with pytest.raises(UsageError) as error:
        next_hint(course, workspace, DEGREES, "to_celsius")
    assert str(error.value) == "s01/temperature: there is no task 'to_celsius': expected to_fahrenheit"
    workspace.save_progress(DEGREES, passed=["to_fahrenheit"])
    with pytest.raises(UsageError) as error:
        next_hint(course, workspace, DEGREES)
    assert str(error.value) == (
        "all tasks of this exercise have passed: given s01/temperature. Fix: name one with --task"
    )
    assert next_hint(course, workspace, DEGREES, "to_fahrenheit")[0] == "to_fahrenheit"


def test_the_next_exercise_is_the_first_unfinished_one(course: Course, workspace: Workspace) -> None:
    assert next_exercise(course, workspace) == MEAN
    workspace.save_progress(MEAN, passed=["running_mean"])
    assert next_exercise(course, workspace) == DEGREES
    workspace.save_progress(DEGREES, passed=["to_fahrenheit"])
    assert next_exercise(course, workspace) is None


DAMAGED = [
    "",
    "{",
    "[]",
    "3",
    "[" * 100_000,
    '{"s01_first/temperature": 5}',
    '{"s01_first/temperature": []}',
    '{"s01_first/temperature": {"passed": 3}}',
    '{"s01_first/temperature": {"points": "1"}}',
    '{"s01_first/temperature": {"hints": ["to_fahrenheit"]}}',
]
USES: list[Callable[[Course, Workspace], Any]] = [
    lambda course, workspace: workspace.progress(DEGREES),
    lambda course, workspace: next_hint(course, workspace, DEGREES),
    lambda course, workspace: workspace.save_progress(DEGREES, points=1),
]


@pytest.mark.parametrize(
    "text", [text.encode() for text in DAMAGED] + [b"\xff\xfe"], ids=lambda text: text[:40].decode("latin-1")
)
def test_damaged_progress_is_named_and_left_alone(course: Course, workspace: Workspace, text: bytes) -> None:
    path = workspace.root / ".aidl" / "progress.json"
    path.write_bytes(text)
    for use in USES:
        with pytest.raises(UsageError) as error:
            use(course, workspace)
        assert str(error.value).startswith(f"{path}: this file is damaged: given ")
        assert str(error.value).endswith(". Fix: delete it; your answers are not in it")
        assert "\n" not in str(error.value)
    assert path.read_bytes() == text


def test_a_reset_of_damaged_progress_still_keeps_the_answer(course: Course, workspace: Workspace) -> None:
    (workspace.root / ".aidl" / "progress.json").write_text("{")
    workspace.file(DEGREES).write_text("mine")
    with pytest.raises(UsageError, match="this file is damaged"):
        reset(course, workspace, DEGREES)
    assert b"mine" in everything(workspace.root).values()


@pytest.mark.parametrize("text", ['{"course": 5}', "[1]", "nonsense"])
def test_damaged_settings(workspace: Workspace, text: str) -> None:
    path = workspace.root / ".aidl" / "workspace.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"workspace\.json: this file is damaged: given "):
        _ = workspace.course_path


def test_progress_of_other_exercises_is_kept_as_it_is(workspace: Workspace) -> None:
    path = workspace.root / ".aidl" / "progress.json"
    other = {"s09_gone/gone": {"passed": ["x"], "points": 4, "hints": {}, "more": [1]}}
    path.write_text(json.dumps(other))
    workspace.save_progress(DEGREES, points=1)
    assert json.loads(path.read_text()) == {**other, DEGREES: {"passed": [], "points": 1, "hints": {}}}
