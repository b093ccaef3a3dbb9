"""The command `aidl`, as people use it: what it says, its exit codes, what it writes and what it leaves alone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from aidl_jax import cli
from aidl_jax.exercise.build import build
from aidl_jax.exercise.course import open_course
from aidl_jax.grade import sandbox

ROOT = Path(__file__).parents[1]
COMMANDS = [
    "start", "check", "hint", "reset", "submit", "build", "new", "board", "doctor", "grade", "graph", "gradescope", "predict", "release", "serve",
    "train", "update",
    "watch",
]  # fmt: skip
WITHOUT_COURSE = ("board", "doctor", "gradescope", "graph", "predict", "serve", "train")
TEMPERATURE = "exercises/s01_first/temperature.py"
NOTEBOOK = "notebooks/s01_first.ipynb"
RIGHT = "return celsius * 9 / 5 + 32"
WRONG = "return celsius * 9 / 5"


@dataclass
class Ran:
    """What a command came to."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def aidl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], forked: None) -> Run:
    """Runs a command in this process, through `main`."""

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["aidl", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        assert isinstance(stopped.value.code, int)
        out, err = capsys.readouterr()
        return Ran(stopped.value.code, out, err)

    return run


def in_new_process(*arguments: object, cwd: Path, **environment: str) -> Ran:
    command = [sys.executable, "-m", "aidl_jax", *map(str, arguments)]
    done = subprocess.run(command, cwd=cwd, env=os.environ | environment, capture_output=True, check=False, timeout=120)
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny course, built."""
    folder = tmp_path_factory.mktemp("course") / "mini"
    for part in ("course", "solutions"):
        shutil.copytree(ROOT / "examples" / "mini_course" / part, folder / part)
    build(open_course(folder))
    return folder


@pytest.fixture
def workspace(course: Path, tmp_path: Path, aidl: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A student's folder of the tiny course, entered."""
    folder = tmp_path / "ada"
    assert aidl("start", folder, "--course", course).code == 0
    monkeypatch.chdir(folder)
    return folder


def answer(path: Path, line: str) -> None:
    """Writes the body of the one function in a file or notebook."""
    text = path.read_text(encoding="utf-8")
    quoted = line if path.suffix == ".py" else json.dumps(line)[1:-1]
    given = 'raise NotImplementedError("to_fahrenheit is still to be written")'
    given = given if path.suffix == ".py" else json.dumps(given)[1:-1]
    assert text.count(given) == 1
    path.write_text(text.replace(given, quoted), encoding="utf-8")


def one_line(ran: Ran) -> str:
    """The one line of a mistake of the user's."""
    assert ran.code == 2
    lines = [line for line in ran.err.splitlines() if line]
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("aidl: ")
    return lines[0].removeprefix("aidl: ")


# Starting up


@pytest.mark.oldest
def test_help_and_map_import_no_jax(tmp_path: Path) -> None:
    code = (
        "import sys; from aidl_jax.cli import main\n"
        "for line in (['--help'], ['check', '--help'], []):\n"
        "    sys.argv = ['aidl', *line]\n"
        "    try: main()\n"
        "    except SystemExit as stop: assert not stop.code, stop.code\n"
        "heavy = {'jax', 'jaxlib', 'optax', 'flax', 'sklearn', 'IPython', 'matplotlib'} & set(sys.modules)\n"
        "assert 'numpy' in sys.modules\n"
        "print('heavy:', sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"
    assert "Usage: aidl" in done.stdout and "Next: aidl start DIR" in done.stdout


@pytest.mark.parametrize(
    "module",
    ["aidl_jax.cli", "aidl_jax.exercise", "aidl_jax.grade.judge", "aidl_jax.grade.local", "aidl_jax.grade.classroom",
     "aidl_jax.grade.cell", "aidl_jax.grade.submit", "aidl_jax.pytest_plugin", "aidl_jax.exercise.build",
     "aidl_jax.grade.forks", "aidl_jax.grade.watch_screen"],
)  # fmt: skip
def test_modules_need_neither_jax_nor_linux(module: str) -> None:
    absent = ["jax", "jaxlib", "fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posixpath_"]
    code = f"import sys; sys.modules.update(dict.fromkeys({absent})); import {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_of_every_command(aidl: Run) -> None:
    overall = aidl("--help")
    assert overall.code == 0
    assert list(cli.cli.commands) == COMMANDS
    for command in COMMANDS:
        assert f"\n  {command} " in overall.out
        for flag in ("-h", "--help"):
            ran = aidl(command, flag)
            assert ran.code == 0 and ran.out.startswith(f"Usage: aidl {command}")
            assert ("--course PATH" in ran.out) == (command not in WITHOUT_COURSE)
            assert not ran.err


def test_version(aidl: Run) -> None:
    ran = aidl("--version")
    assert (ran.code, ran.out) == (0, "aidl, version 0.1.0\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["chekc"], "No such command 'chekc'. Did you mean 'check'? Fix: see aidl --help"),
        (["check", "--fast"], "No such option '--fast'. Fix: see aidl check --help"),
        (["start"], "Missing argument 'FOLDER'. Fix: see aidl start --help"),
        (["grade", "x", "--unsafe"], "Missing option '--out'. Fix: see aidl grade --help"),
        (
            ["grade", "x", "--out", "y", "--seed", "-1"],
            "Invalid value for '--seed': -1 is not in the range x>=0. Fix: see aidl grade --help",
        ),
        (
            ["--course", "x", "build"],
            "write --course after the command, as in: aidl build --course PATH. Fix: see aidl --help",
        ),
    ],
)
def test_a_mistyped_command_is_one_line(aidl: Run, arguments: list[str], expected: str) -> None:
    line = one_line(aidl(*arguments))
    # click words these; what matters is the line's shape and its fix
    assert line.split(" Fix: ")[1] == expected.split(" Fix: ")[1]
    assert any(word in line for word in ("chekc", "--fast", "FOLDER", "--out", "-1", "--course"))


@pytest.mark.parametrize("command", [["check"], ["hint"], ["reset", "x"], ["submit"], ["update"], ["watch"]])
def test_outside_a_workspace(aidl: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    line = one_line(aidl(*command))
    assert line == f"this folder is not in a workspace: given {tmp_path}. Fix: aidl start DIR, then cd DIR"
    assert not any(tmp_path.iterdir())


def test_a_folder_without_a_course(aidl: Run, tmp_path: Path) -> None:
    line = one_line(aidl("build", "--course", tmp_path))
    assert line == f"this folder holds no course: given {tmp_path}, expected a file {tmp_path}/course/course.toml"


# The map


def test_map_outside_a_workspace_says_how_to_start(
    aidl: Run, course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = aidl("--course", course)
    assert ran.code == 0
    assert "A course in two exercises" in ran.out and "s01/temperature" in ran.out and "0/1" in ran.out
    assert ran.out.splitlines()[-1] == "Next: aidl start DIR, then cd DIR"


def test_map_shows_progress_and_the_next_step(aidl: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert aidl().out.splitlines()[-1] == "Next: edit exercises/s01_first/running_mean.py, then aidl check"
    progress = workspace / ".aidl" / "progress.json"
    progress.write_text(json.dumps({"s01_first/running_mean": {"passed": ["running_mean"], "points": 2}}))
    monkeypatch.chdir(workspace / "exercises")  # from anywhere in it
    ran = aidl()
    row = next(line for line in ran.out.splitlines() if "running_mean" in line)
    assert row.split()[0] in "✓+" and row.endswith("2/2")
    assert ran.out.splitlines()[-1] == "Next: edit s01_first/temperature.py, then aidl check"
    everything = {"s01_first/temperature": {"passed": ["to_fahrenheit"], "points": 1}}
    progress.write_text(json.dumps(json.loads(progress.read_text()) | everything))
    assert aidl().out.splitlines()[-1] == "Everything passes. Hand in: aidl submit"
    assert one_line(aidl("check")) == "every exercise is finished. Fix: name the one you want to see again"


def test_output_that_cannot_hold_every_letter(course: Path, tmp_path: Path) -> None:
    mine = tmp_path / "course"
    shutil.copytree(course, mine)
    settings = mine / "course" / "course.toml"
    settings.write_text(settings.read_text().replace("A course", "Übung"), encoding="utf-8")
    ran = in_new_process("--course", mine, cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert ran.code == 0 and not ran.err
    assert ran.out.startswith(r"\xdcbung in two exercises") and "s01/temperature" in ran.out


# start


def test_start_lays_out_the_whole_course(workspace: Path, course: Path, aidl: Run) -> None:
    for file in (TEMPERATURE, "exercises/s01_first/running_mean.py", NOTEBOOK):
        assert (workspace / file).read_bytes() == (course / file).read_bytes()
    assert not (workspace / "solutions").exists()
    again = aidl("start", workspace, "--course", course)
    assert again.code == 0 and "has everything already" in again.out


def test_start_loses_nothing(workspace: Path, course: Path, aidl: Run) -> None:
    answer(workspace / TEMPERATURE, RIGHT)
    mine = (workspace / TEMPERATURE).read_bytes()
    line = one_line(aidl("start", workspace, "--course", course))
    assert line == (
        f"{workspace}: {TEMPERATURE} is there with something else in it. "
        "Fix: name another folder, or use aidl reset for one exercise; nothing was changed"
    )
    assert (workspace / TEMPERATURE).read_bytes() == mine


def test_start_in_a_file(aidl: Run, course: Path, tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.write_text("mine")
    line = one_line(aidl("start", file, "--course", course))
    assert line == f"this is a file, not a folder: given {file}. Fix: name another one"
    assert "notes" in one_line(aidl("start", file / "inside", "--course", course))
    assert file.read_text() == "mine"


# check


@pytest.mark.oldest
def test_check_says_what_passes_and_what_does_not(workspace: Path, aidl: Run) -> None:
    unsolved = aidl("check", "s01/temperature")
    assert unsolved.code == 1 and "to_fahrenheit is still to be written" in unsolved.out
    assert "Next hint: aidl hint s01/temperature --task to_fahrenheit" in unsolved.out

    answer(workspace / TEMPERATURE, WRONG)
    wrong = aidl("check", "temperature")
    assert wrong.code == 1
    assert "You did not move the zero: 0 Celsius is 32 Fahrenheit." in wrong.out
    assert json.loads((workspace / ".aidl/progress.json").read_text())["s01_first/temperature"]["passed"] == []

    (workspace / TEMPERATURE).write_text((workspace / TEMPERATURE).read_text().replace(WRONG, RIGHT))
    right = aidl("check", TEMPERATURE)  # the file itself
    assert right.code == 0 and "1 of 1 points" in right.out
    saved = json.loads((workspace / ".aidl/progress.json").read_text())["s01_first/temperature"]
    assert saved["passed"] == ["to_fahrenheit"] and saved["points"] == 1
    for ran in (unsolved, wrong, right):
        assert max(map(len, ran.out.splitlines())) <= 80
        assert not ran.err


def test_check_in_a_process_of_its_own(workspace: Path) -> None:
    answer(workspace / TEMPERATURE, WRONG)
    ran = in_new_process("check", "s01_first/temperature", cwd=workspace / "exercises", PYTHONIOENCODING="ascii")
    assert ran.code == 1 and not ran.err
    assert "  x  to_fahrenheit  0/1" in ran.out


def test_check_looks_at_the_notebook_when_only_that_was_edited(workspace: Path, aidl: Run) -> None:
    answer(workspace / NOTEBOOK, RIGHT)
    by_name = aidl("check", "temperature")
    assert by_name.code == 0 and "1 of 1 points" in by_name.out
    by_path = aidl("check", NOTEBOOK)  # all that it answers, of which one exercise is not written yet
    assert by_path.code == 1
    assert "1 of 1 points" in by_path.out and "running_mean is still to be written" in by_path.out


def test_both_file_and_notebook_edited(workspace: Path, aidl: Run) -> None:
    answer(workspace / TEMPERATURE, WRONG)
    answer(workspace / NOTEBOOK, RIGHT)
    for command in ("check", "submit"):
        assert one_line(aidl(command, "temperature")) == (
            "both the file and the notebook answer s01/temperature: "
            f"given {TEMPERATURE} and {NOTEBOOK}. Fix: name the one you mean"
        )
    assert aidl("check", TEMPERATURE).code == 1
    (workspace / TEMPERATURE).write_text((workspace / TEMPERATURE).read_text().replace(WRONG, RIGHT))
    assert aidl("check", "temperature").code == 0  # they say the same: no question arises


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("s01/nothing", "there is no exercise 's01/nothing'. Fix: "),
        (
            "s01",
            "'s01' names more than one exercise: given s01, expected s01_first/running_mean or s01_first/temperature",
        ),
        ("gone.py", "there is no such file: given gone.py. Fix: name the exercise, or a file that is there"),
        ("exercises.py", "there is no such file: given exercises.py. Fix: name the exercise, or a file that is there"),
        ("notes.py", "no exercise's tasks are defined in this file: given notes.py. Fix: write def NAME(...) as the"),
        ("latin.py", "latin.py: the file is not UTF-8 text: given byte 0xe9 in line 2. Fix: save it as UTF-8"),
        ("bad.ipynb", "bad.ipynb: the notebook is not JSON: given Expecting value: line 1 column 1 (char 0). Fix: "),
    ],
)
def test_check_of_what_is_no_answer(workspace: Path, aidl: Run, argument: str, expected: str) -> None:
    (workspace / "notes.py").write_text("def helper(x): return x\n")
    (workspace / "latin.py").write_bytes("x = 1\n# \xe9t\xe9\n".encode("latin-1"))
    (workspace / "bad.ipynb").write_text("not a notebook")
    (workspace / "exercises.py").mkdir()
    assert one_line(aidl("check", argument)).startswith(expected)


def test_check_of_a_missing_file(workspace: Path, aidl: Run) -> None:
    (workspace / TEMPERATURE).unlink()
    (workspace / NOTEBOOK).unlink()
    line = one_line(aidl("check", "temperature"))
    assert line == (
        f"the file of s01/temperature is missing: given {workspace / TEMPERATURE}. Fix: aidl reset s01/temperature"
    )
    assert aidl("reset", "s01/temperature").code == 0
    assert (workspace / TEMPERATURE).is_file()


def test_a_traceback_is_shown_when_asked_for(workspace: Path, aidl: Run) -> None:
    answer(workspace / TEMPERATURE, "return celsius * missing_name")
    short, long = aidl("check", "temperature"), aidl("check", "temperature", "--traceback")
    assert short.code == long.code == 1
    assert "Traceback (most recent call last)" not in short.out
    assert "Whole traceback: aidl check s01/temperature --traceback" in short.out
    assert "Traceback (most recent call last)" in long.out and "missing_name" in long.out


# hint, reset


def test_hints_come_one_at_a_time(workspace: Path, aidl: Run) -> None:
    titles = ["The idea", "Where to look", "Almost the code"]
    for count in (1, 2, 3, 3):
        ran = aidl("hint", "temperature")
        assert ran.code == 0
        headings = [line for line in ran.out.splitlines() if ", hint " in line]
        assert headings == [f"to_fahrenheit, hint {n} of 3. {titles[n - 1]}:" for n in range(1, count + 1)]
        assert max(map(len, ran.out.splitlines())) <= 80
    assert "return celsius * ... + 32" in ran.out
    line = one_line(aidl("hint", "temperature", "--task", "fahrenheit"))
    assert line == "s01/temperature: there is no task 'fahrenheit': expected to_fahrenheit"


def test_reset_keeps_the_old_file(workspace: Path, course: Path, aidl: Run) -> None:
    assert "kept" not in aidl("reset", "temperature").out  # nothing to keep
    kept = []
    for line in (WRONG, RIGHT):
        answer(workspace / TEMPERATURE, line)
        mine = (workspace / TEMPERATURE).read_bytes()
        ran = aidl("reset", "temperature")
        assert ran.code == 0
        backup = Path(ran.out.strip().splitlines()[-1].removeprefix("Your version is kept in "))
        assert (workspace / TEMPERATURE).read_bytes() == (course / TEMPERATURE).read_bytes()
        kept.append((backup, mine))
    assert len({backup for backup, _ in kept}) == 2
    assert all(backup.read_bytes() == mine for backup, mine in kept)


def test_damaged_progress_is_named(workspace: Path, aidl: Run) -> None:
    progress = workspace / ".aidl" / "progress.json"
    progress.write_text('{"s01_first/temperature": ')
    for command in ([], ["hint", "temperature"], ["reset", "temperature"]):
        line = one_line(aidl(*command))
        assert line.startswith(f"{progress}: this file is damaged: given ")
        assert line.endswith("Fix: delete it; your answers are not in it")
    assert progress.read_text() == '{"s01_first/temperature": '


# submit, grade


@pytest.fixture(scope="module")
def handed_in(course: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Ran, Path]]:
    """Three hand-ins from new processes: from a file, once more, and from the notebook."""
    found = {}
    base = tmp_path_factory.mktemp("students")
    for student, source, line in (("ada", TEMPERATURE, RIGHT), ("bela", NOTEBOOK, WRONG)):
        home = base / student
        assert in_new_process("start", home, "--course", course, cwd=base).code == 0
        answer(home / source, line)
        for number in (1, 2) if student == "ada" else (1,):
            out = base / f"{student}{number}.zip"
            found[f"{student}{number}"] = in_new_process("submit", "--out", out, "--name", student, cwd=home), out
    return found


@pytest.mark.oldest
def test_submit_writes_what_is_graded_and_a_manifest(handed_in: dict[str, tuple[Ran, Path]]) -> None:
    for key, student, line, points, source in (
        ("ada1", "ada", RIGHT, 1, TEMPERATURE),
        ("bela1", "bela", WRONG, 0, NOTEBOOK),
    ):
        ran, out = handed_in[key]
        assert ran.code == 0 and not ran.err, ran.err
        assert ran.out.endswith(
            f"{out} written: 1 exercise, {points} points here. Hand in this file.\nIt also tells which versions you used and how many hints you took.\n"
        )
        with zipfile.ZipFile(out) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == ["aidl.json", "s01_first/temperature.py"]
            manifest, module = json.loads(archive.read("aidl.json")), archive.read("s01_first/temperature.py")
        about = manifest["exercises"]["s01_first/temperature"]
        assert about["blake2b"] == hashlib.blake2b(module, digest_size=16).hexdigest()
        assert (about["points_at_home"], about["from"], about["hints"]) == (points, source, {})
        assert manifest["student"] == student and manifest["course"] == "A course in two exercises"
        assert set(manifest["versions"]) == {"python", "jax", "numpy", "aidl-jax"}
        assert "to_fahrenheit" in module.decode() and line in module.decode()
        assert "print(" not in module.decode() and "running_mean" not in module.decode()
        assert module.decode().splitlines()[0] in ran.out  # it was shown


def test_submit_gives_the_same_bytes_twice(handed_in: dict[str, tuple[Ran, Path]]) -> None:
    (_, one), (_, other) = handed_in["ada1"], handed_in["ada2"]
    assert one.read_bytes() == other.read_bytes()


def test_a_hand_in_gets_the_points_that_it_had_at_home(
    handed_in: dict[str, tuple[Ran, Path]], course: Path, tmp_path: Path, aidl: Run
) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    for key in ("ada1", "bela1"):
        shutil.copy(handed_in[key][1], inbox)
    out = tmp_path / "out"
    ran = aidl("grade", inbox, "--out", out, "--unsafe", "--course", course, "--jobs", 2)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("UNSAFE: ")
    for key, points in (("ada1", 1), ("bela1", 0)):
        record = json.loads((out / "records" / f"{key}.json").read_text())
        assert record["points"] == points
    assert f"Table: {out / 'grades.csv'}" in ran.out.replace("\n", " ")
    assert max(map(len, ran.out.split("Table:")[0].splitlines()[1:])) <= 80


def test_submit_without_anything_to_hand_in(workspace: Path, aidl: Run) -> None:
    line = one_line(aidl("submit"))
    assert line == f"no exercise has been worked on: given {workspace}. Fix: edit a file in exercises/ first"
    assert not (workspace / "handin.zip").exists()


def test_submit_overwrites_nothing_but_a_hand_in(workspace: Path, aidl: Run) -> None:
    answer(workspace / TEMPERATURE, RIGHT)
    mine = (workspace / TEMPERATURE).read_bytes()
    line = one_line(aidl("submit", "--out", TEMPERATURE))
    assert line == f"something that is no hand-in is there: given {TEMPERATURE}. Fix: pass another name with --out"
    assert (workspace / TEMPERATURE).read_bytes() == mine
    line = one_line(aidl("submit", "--out", "gone/handin.zip"))
    assert line == "there is no such folder: given gone. Fix: make it, or pass another --out"


def test_grade_refuses_to_run_student_code_unprotected(
    aidl: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "lacking", lambda: ("bubblewrap is not installed", "install it"))
    line = one_line(aidl("grade", ROOT / "examples/class", "--out", tmp_path / "out"))
    assert line == (
        "student code would run without a sandbox, with your rights on this machine: bubblewrap is not installed. "
        "Fix: install it; or pass --unsafe for code that you trust"
    )
    assert not (tmp_path / "out").exists()


def test_grade_of_nothing(aidl: Run, tmp_path: Path, course: Path) -> None:
    def grade(folder: Path, *more: object) -> str:
        return one_line(aidl("grade", folder, "--out", tmp_path / "out", "--unsafe", "--course", course, *more))

    empty, other = tmp_path / "empty", tmp_path / "other"
    empty.mkdir()
    other.mkdir()
    (other / "ada.py").write_text("x = 1\n")
    assert grade(tmp_path / "gone") == f"there is no such folder: given {tmp_path / 'gone'}"
    assert grade(empty).startswith(f"the folder holds no hand-ins: given {empty}, expected folders, .py files, ")
    assert (
        grade(other)
        == "no hand-in answers an exercise of this course: given what ada handed in. Fix: name one with --exercise"
    )
    assert grade(other, "--exercise", "temprature").startswith("there is no exercise 'temprature'. Fix: ")
    assert not (tmp_path / "out").exists()


def test_grade_does_not_write_among_the_hand_ins(aidl: Run, tmp_path: Path, course: Path) -> None:
    (tmp_path / "ada.py").write_text("def to_fahrenheit(c): return c\n")
    for out in (tmp_path / "out", tmp_path):
        line = one_line(aidl("grade", tmp_path, "--out", out, "--unsafe", "--course", course))
        assert line == f"the output would stand among the hand-ins: given {out}. Fix: name a folder elsewhere"
    assert [path.name for path in tmp_path.iterdir()] == ["ada.py"]


# build, new


def test_build_check_shows_a_diff_and_writes_nothing(course: Path, tmp_path: Path, aidl: Run) -> None:
    mine = tmp_path / "course"
    shutil.copytree(course, mine)
    fresh = aidl("build", "--check", "--course", mine)
    assert (fresh.code, fresh.out) == (0, "All made files are fresh.\n")
    text = (mine / TEMPERATURE).read_text()
    (mine / TEMPERATURE).write_text(text.replace("# # Degrees", "# # Grades"))
    stale = aidl("build", "--check", "--course", mine)
    assert stale.code == 1
    assert f"--- {TEMPERATURE} (there)\n+++ {TEMPERATURE} (made from its source)\n" in stale.out
    assert "\n-# # Grades\n+# # Degrees\n" in stale.out
    assert stale.out.endswith("The made files are stale. Fix: aidl build\n")
    assert "# # Grades" in (mine / TEMPERATURE).read_text()
    made = aidl("build", "--course", mine)
    assert (made.code, made.out) == (0, f"made {mine / TEMPERATURE}\n")
    assert (mine / TEMPERATURE).read_text() == text


def test_a_new_exercise_can_be_built_at_once(course: Path, tmp_path: Path, aidl: Run) -> None:
    mine = tmp_path / "course"
    shutil.copytree(course, mine)
    ran = aidl("new", "s02_more/total", "--course", mine)
    assert ran.code == 0
    assert ran.out == (
        f"wrote {mine}/solutions/s02_more/total.py\nwrote {mine}/course/s02_more/total.py\n"
        "Next: fill in both, then aidl build\n"
    )
    assert aidl("build", "--course", mine).code == 0
    assert aidl("check", "s02/total", "--course", mine).code == 2  # from outside of a workspace
    assert one_line(aidl("new", "s02_more/total", "--course", mine)).startswith("the exercise is there already: given ")
    assert one_line(aidl("new", "total", "--course", mine)) == (
        "this is not an exercise's name: given 'total', expected sNN_topic/name, as s03_autodiff/duals"
    )


def test_submit_loses_no_file_that_cannot_be_read(workspace: Path, aidl: Run) -> None:
    file = workspace / "exercises" / "s01_first" / "temperature.py"
    file.write_text("def to_fahrenheit(celsius):\n    return (celsius\n")
    for names in ([], ["s01/temperature"]):
        ran = aidl("submit", *names)
        assert ran.code == 2
        assert "temperature.py, line 2: Python cannot read what would be handed in" in one_line(ran)
        assert not (workspace / "handin.zip").exists()
    assert "Python cannot read this file" in aidl("check", "s01/temperature").out


def test_another_copy_of_a_file_says_nothing_about_progress(workspace: Path, tmp_path: Path, aidl: Run) -> None:
    file = workspace / "exercises" / "s01_first" / "temperature.py"
    copy = workspace / "old" / "temperature.py"
    copy.parent.mkdir()
    copy.write_text("def to_fahrenheit(celsius):\n    return celsius * 9 / 5 + 32\n")
    assert aidl("check", str(copy)).code == 0
    assert "0/1" in aidl().out
    file.write_text(copy.read_text())
    assert aidl("check", str(file)).code == 0
    assert "1/1" in aidl().out
