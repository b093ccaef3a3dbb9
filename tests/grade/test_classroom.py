"""A class graded: the same bytes from the same seed, nothing lost, no one stopped by another."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aidl_jax.errors import UsageError
from aidl_jax.exercise.course import Course, open_course
from aidl_jax.grade import classroom
from aidl_jax.grade.classroom import EARLIER, UNSAFE, ClassRun, Graded, grades_csv, prepare_output, read_class
from aidl_jax.grade.handin import HandIn
from aidl_jax.grade.record import CheckRecord, FailureRecord, Record, TaskRecord

ROOT = Path(__file__).parents[2]
CLASS = ROOT / "examples" / "class"
LINES = "s02_graphs/linear_regression"
DEADLINE = 90.0  # seconds, for a machine that is busy with other things

PERFECT, WRONG, BROKEN, UNREADABLE, EMPTY = "bela.py", "dora.py", "kofi.py", "nils.zip", "mona.py"


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Polls until a condition holds."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        threading.Event().wait(0.05)
    pytest.fail(f"no {what} within {DEADLINE:g} seconds")


def make_inbox(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        shutil.copy(CLASS / name, folder)
    return folder


def grade(inbox: Path, out: Path, *, seed: int, jobs: int) -> list[Graded]:
    """A class run from hand-ins to files, as the command does it."""
    course = open_course()
    hand_ins, exercises = read_class(inbox, course, [])
    prepare_output(out, False)
    run = ClassRun(course, exercises, seed, jobs)
    graded = run.grade(hand_ins, lambda one: classroom.write_student(out, run, one, True))
    classroom.write_class(out, run, graded, True)
    return graded


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Outputs of four students: twice with one seed, once with another."""
    base = tmp_path_factory.mktemp("class")
    inbox = make_inbox(base / "inbox", PERFECT, WRONG, BROKEN)
    (inbox / "zia.zip").write_bytes(b"PK\x03\x04 not a zip")
    made = {}
    for name, seed, jobs in (("one", 7, 1), ("two", 7, 2), ("other", 8, 2)):
        made[name] = base / name
        grade(inbox, made[name], seed=seed, jobs=jobs)
    return made


def every_file(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


RECORDS = [f"records/{name}.json" for name in ("bela", "dora", "kofi", "zia")]


@pytest.mark.oldest
def test_same_seed_same_bytes_whatever_the_number_of_jobs(runs: dict[str, Path]) -> None:
    one, two = every_file(runs["one"]), every_file(runs["two"])
    assert sorted(one) == sorted(["grades.csv", "run.json", "timings.json", *RECORDS])
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name] and name != "timings.json"] == []


def test_another_seed_draws_other_inputs(runs: dict[str, Path]) -> None:
    def failure(run: str) -> Any:
        record = json.loads((runs[run] / "records/dora.json").read_text())["exercises"][LINES]
        tasks = {task["name"]: task for task in record["tasks"]}
        (failed,) = [c["failure"] for c in tasks["mean_squared_error"]["checks"] if c["failure"]]
        return record["seed"], failed

    (seed, one), (other_seed, other) = failure("one"), failure("other")
    assert (seed, other_seed) == (7, 8)
    assert one["misconceptions"] == other["misconceptions"] != []
    assert every_file(runs["one"])["run.json"] != every_file(runs["other"])["run.json"]
    changed = [name for name in RECORDS if every_file(runs["one"])[name] != every_file(runs["other"])[name]]
    assert changed == RECORDS[:3]  # zia's holds no draws


def test_every_file_says_first_that_it_was_unsafe(runs: dict[str, Path]) -> None:
    for name, data in every_file(runs["one"]).items():
        assert "UNSAFE" in data.decode().splitlines()[0], name
        if name.endswith(".json"):
            assert next(iter(json.loads(data))) == "UNSAFE"


def test_records_and_table_say_the_same(runs: dict[str, Path]) -> None:
    text = (runs["one"] / "grades.csv").read_text()
    assert text.startswith(f"# {UNSAFE}\n")
    table = list(csv.DictReader(io.StringIO(text.partition("\n")[2])))
    assert [row["student"] for row in table] == ["bela", "dora", "kofi", "zia"]
    possible = open_course().exercise(LINES).points
    for row in table:
        record = json.loads((runs["one"] / "records" / f"{row['student']}.json").read_text())
        points = "" if record["problems"] else str(record["points"])
        assert row["points"] == row[LINES] == points
        assert int(row["possible"]) == possible
    assert [row["points"] == str(possible) for row in table] == [True, False, False, False]
    assert int(table[1]["points"]) > 0  # only what is wrong, and what waits for it, is lost
    assert "zia.zip: the zip cannot be read" in table[3]["problems"]
    about = json.loads((runs["one"] / "run.json").read_text())
    assert (about["seed"], about["students"], about["exercises"]) == (7, 4, [LINES])


def test_timings_stand_beside_the_records(runs: dict[str, Path]) -> None:
    seconds = json.loads((runs["one"] / "timings.json").read_text())["seconds"]
    assert seconds.keys() == {"bela", "dora", "kofi", "zia"}
    for name in RECORDS:
        assert "seconds" not in (runs["one"] / name).read_text()


# The table


def test_nothing_in_the_table_is_a_formula() -> None:
    course = open_course()
    run = ClassRun(course, {LINES: course.exercise(LINES)}, 1, 1)
    names = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "a\r=1\n=2", 'a"b,c', "plain"]
    graded = [Graded(name, {}, {"=1+1": "=2"}, [], 0.0) for name in names]
    text = grades_csv(run, graded, True)
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(rows) == 2 + len(names)
    assert all(not cell.strip().startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    assert all(len(row) == 5 and row[4].endswith("=1+1: =2") for row in rows[2:])
    shown = ["'=cmd|' /C calc'!A0", "'+1", "'-1", "'@SUM(A1)", "' =1", r"\r=1", "' =1", r"a\r=1 =2", 'a"b,c', "plain"]
    assert [row[0] for row in rows[2:]] == shown


def record_of(verdict: Any, points: int = 0) -> Record:
    failure = FailureRecord("ungraded", "why") if verdict == "ungraded" else None
    task = TaskRecord("predict", verdict, points, 2, checks=[CheckRecord("a", "b", verdict, failure)])
    return Record(LINES, "Lines", 1, [task])


@pytest.mark.parametrize(
    ("graded", "points", "problems"),
    [
        (Graded("a", {LINES: record_of("passed", 2)}, {}, [], 0.0), ["2", "2"], ""),
        (Graded("a", {}, {}, [], 0.0), ["0", "0"], "s02/linear_regression not handed in"),
        (
            Graded("a", {LINES: record_of("ungraded")}, {}, [], 0.0),
            ["", ""],
            "s02/linear_regression ungraded: predict",
        ),
        (Graded("a", {}, {LINES: "x and y both answer it"}, [], 0.0), ["", ""], f"{LINES}: x and y both answer it"),
        (
            Graded("a", {}, {}, ["b.py"], 0.0),
            ["0", "0"],
            "no task of these exercises in b.py; s02/linear_regression not handed in",
        ),
    ],
)
def test_a_row_is_zero_only_for_what_is_the_students(graded: Graded, points: list[str], problems: str) -> None:
    course = open_course()
    run = ClassRun(course, {LINES: course.exercise(LINES)}, 1, 1)
    row = list(csv.reader(io.StringIO(grades_csv(run, [graded], False))))[1]
    assert row == ["a", *points, str(course.exercise(LINES).points), problems]


# The output folder


def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "records").mkdir()
    for replace in (False, True):
        with pytest.raises(UsageError) as error:
            prepare_output(tmp_path, replace)
        assert str(error.value) == (
            f"the output folder is not empty: given {tmp_path} with records, thesis.tex. Fix: name an empty folder"
        )
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_table_that_no_run_wrote_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "grades.csv").write_text("mine")
    with pytest.raises(UsageError, match=r"the output folder is not empty: given .* Fix: name an empty folder$"):
        prepare_output(tmp_path, True)
    assert (tmp_path / "grades.csv").read_text() == "mine"


def test_the_output_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UsageError, match=r"the output is a file, not a folder: given .*out. Fix: name another one"):
        prepare_output(tmp_path / "out", True)


def fake_run(folder: Path, complete: bool = True) -> dict[str, bytes]:
    (folder / "records").mkdir(parents=True)
    (folder / "records" / "ada.json").write_text("{}")
    if complete:
        for name in ("grades.csv", "timings.json", "run.json"):
            (folder / name).write_text(name)
    return every_file(folder)


def test_an_earlier_run_is_replaced_only_when_asked_for(tmp_path: Path) -> None:
    old = fake_run(tmp_path / "out")
    with pytest.raises(UsageError) as error:
        prepare_output(tmp_path / "out", False)
    assert str(error.value).endswith("Fix: name another folder, or pass --replace to grade anew")
    assert every_file(tmp_path / "out") == old


def test_an_earlier_run_is_kept_until_the_new_one_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "out"
    old = fake_run(out)
    kept = {f"{EARLIER}/{name}": data for name, data in old.items()}
    prepare_output(out, True)
    assert every_file(out) == kept
    run = ClassRun(open_course(), {}, 1, 1)
    classroom.write_student(out, run, Graded("bela", {}, {}, [], 0.0), True)
    prepare_output(out, True)  # the second was stopped; a third begins
    assert every_file(out) == kept
    classroom.write_class(out, run, [], True)
    assert sorted(every_file(out)) == ["grades.csv", "run.json", "timings.json"]


def test_a_disk_that_is_full_leaves_old_files_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    old = fake_run(out)
    prepare_output(out, True)
    real = os.fdopen

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    def fdopen(handle: int, *arguments: Any) -> Any:
        real(handle, *arguments).close()
        return Full()

    monkeypatch.setattr(os, "fdopen", fdopen)
    with pytest.raises(OSError, match="No space left on device") as error:
        classroom.write_student(out, ClassRun(open_course(), {}, 1, 1), Graded("ada", {}, {}, [], 0.0), True)
    assert error.value.filename == str(out / "records" / "ada.json")
    assert every_file(out) == {f"{EARLIER}/{name}": data for name, data in old.items()}


# Faults and stops


class Broken(Exception):
    """Raised where the grader itself should have worked."""


def test_a_fault_with_one_student_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoProcesses:
        def close(self) -> None: ...

    def check(name: str, exercise: Any, document: Any, **more: Any) -> Record:
        if document == "bad":
            raise Broken("the disk is on fire")
        return record_of("passed", 2)

    monkeypatch.setattr(classroom, "Processes", NoProcesses)
    monkeypatch.setattr(classroom, "check_document", check)
    course = open_course()
    run = ClassRun(course, {LINES: course.exercise(LINES)}, 1, 2)
    hand_ins: list[Any] = [HandIn(name, {LINES: name}) for name in ("good", "bad", "fine")]  # type: ignore[dict-item]
    graded = run.grade(hand_ins, lambda one: None)
    assert [one.student for one in graded] == ["bad", "fine", "good"]
    assert graded[0].problems == {LINES: "ungraded, by a fault of the grader's: Broken: the disk is on fire"}
    assert [one.points(LINES) for one in graded[1:]] == [2, 2]
    assert hand_ins[1].problems == {}
    assert list(csv.reader(io.StringIO(grades_csv(run, graded, False))))[1][1] == ""


def test_a_stop_reaches_processes_that_are_just_being_started(monkeypatch: pytest.MonkeyPatch) -> None:
    course = open_course()
    run = ClassRun(course, {LINES: course.exercise(LINES)}, 1, 1)
    closed_when_checked: list[bool] = []

    class Starting:
        closed = False

        def __init__(self) -> None:
            run.stop()

        def close(self) -> None:
            self.closed = True

    def check(name: str, exercise: Any, document: Any, **more: Any) -> Record:
        closed_when_checked.append(more["processes"].closed)
        return record_of("passed", 2)

    monkeypatch.setattr(classroom, "Processes", Starting)
    monkeypatch.setattr(classroom, "check_document", check)
    hand_in: Any = HandIn("ada", {LINES: "answer"})  # type: ignore[dict-item]
    assert run.grade([hand_in], lambda one: None) == []
    assert closed_when_checked == [True]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "aidl_jax", *map(str, arguments)]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The tiny course's sources, which is all that grading needs."""
    shutil.copytree(ROOT / "examples" / "mini_course" / "course", tmp_path / "tiny" / "course")
    return tmp_path / "tiny"


def children(parent: int) -> list[int]:
    """The processes that a process has started, on Linux."""
    path = Path(f"/proc/{parent}/task/{parent}/children")
    found = [int(child) for task in path.parents[1].glob("*/children") for child in task.read_text().split()]
    return sorted(set(found))


# A background job of a shell ignores Ctrl-C, and so would what it starts.
HEARS_CTRL_C = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from aidl_jax.cli import main
sys.argv = ["aidl", *sys.argv[1:]]
main()
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
def test_ctrl_c_in_the_middle(tmp_path: Path, tiny: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "ada.py").write_text("def to_fahrenheit(celsius):\n    return celsius * 9 / 5 + 32\n")
    checks = tiny / "course" / "s01_first" / "temperature.py"
    text = checks.read_text(encoding="utf-8")
    patient = text.replace('Exercise("Degrees")', 'Exercise("Degrees", time_limit=3600.0)')
    assert patient != text
    checks.write_text(patient, encoding="utf-8")
    for number in range(3):  # what comes next is ended by Ctrl-C or not at all
        (inbox / f"loop{number}.py").write_text("def to_fahrenheit(celsius):\n    while True:\n        pass\n")
    out = tmp_path / "out"
    arguments = ("grade", inbox, "--out", out, "--unsafe", "--course", tiny, "--jobs", 2, "--seed", 1)
    heard = [sys.executable, "-c", HEARS_CTRL_C, *map(str, arguments)]
    running = subprocess.Popen(heard, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started: list[int] = []
    try:
        wait_for(lambda: (out / "records" / "ada.json").exists() or running.poll() is not None, "record")
        started = wait_for(lambda: children(running.pid), "worker of the next one")
        running.send_signal(signal.SIGINT)
        printed, complaint = running.communicate(timeout=DEADLINE)
    finally:
        running.kill()
        running.communicate()
        left = [pid for pid in started if Path(f"/proc/{pid}").exists()]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
    assert running.returncode == 2
    assert [line for line in complaint.splitlines() if line] == [
        "aidl: stopped by Ctrl-C; what was written before is complete"
    ]
    assert printed.splitlines()[0].startswith("UNSAFE: ")
    assert json.loads((out / "records" / "ada.json").read_text())["points"] == 1
    assert [path.name for path in (out / "records").iterdir()] == ["ada.json"]  # no half written, no false one
    assert not (out / "run.json").exists()
    assert left == []


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
from aidl_jax.cli import main
sys.argv = ["aidl", *sys.argv[1:]]
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_a_full_disk_is_one_line(tmp_path: Path, tiny: Path) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    for name in ("ada", "bela"):
        (inbox / f"{name}.py").write_text("def to_fahrenheit(celsius):\n    return celsius\n")
    old = fake_run(out)
    arguments = ["grade", inbox, "--out", out, "--unsafe", "--replace", "--course", tiny, "--jobs", 2]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=DEADLINE, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"aidl: {out}/records/")
    assert line.endswith(".json: File too large; what was written before is complete")
    assert every_file(out) == {f"{EARLIER}/{name}": data for name, data in old.items()}


@pytest.mark.oldest
def test_one_unreadable_hand_in_is_one_line_and_the_others_are_graded(tmp_path: Path, tiny: Path) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    (inbox / "ada.py").write_text("def to_fahrenheit(celsius):\n    return celsius * 9 / 5 + 32\n")
    (inbox / "bela.zip").write_bytes(b"not a zip")
    (inbox / "co\x1b[31m\nra.ipynb").write_text("not JSON")
    (inbox / "dora.rar").write_bytes(b"Rar!")
    (inbox / "emil").mkdir()
    arguments = ("grade", inbox, "--out", out, "--unsafe", "--course", tiny, "--seed", 3)
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert lines == [
        "aidl: bela.zip: the zip cannot be read: given File is not a zip file. Fix: make the zip anew",
        r"aidl: co\x1b[31m ra.ipynb: the notebook is not JSON: given Expecting value: "
        "line 1 column 1 (char 0). Fix: download it again as .ipynb (File > Download)",
        "aidl: dora.rar: this is no hand-in: expected a folder, a .py file, a notebook or a zip",
    ]
    assert "\x1b" not in done.stdout
    table = list(csv.reader(io.StringIO((out / "grades.csv").read_text(), newline="")))[1:]
    assert table[0] == ["student", "s01_first/temperature", "points", "possible", "problems"]
    assert [row[1] for row in table[1:]] == ["1", "", "", "", "0"]
    assert table[5][4] == "s01/temperature not handed in"
    assert len(list((out / "records").iterdir())) == 5


def test_a_course_reads_its_exercises_once_asked_for(tmp_path: Path, tiny: Path) -> None:
    course: Course = open_course(tiny)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "ada.py").write_text("def to_fahrenheit(celsius): return celsius\n")
    hand_ins, found = read_class(inbox, course, [])
    assert list(found) == ["s01_first/temperature"]
    assert [list(hand_in.answers) for hand_in in hand_ins] == [["s01_first/temperature"]]
    _, asked = read_class(inbox, course, ["s01_first/running_mean", "s01_first/temperature"])
    assert list(asked) == ["s01_first/running_mean", "s01_first/temperature"]


def test_a_class_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "bela.zip").write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"no hand-in answers .*\(bela\.zip: the zip cannot be read: .*Fix: name one"):
        classroom.read_class(tmp_path, open_course(), [])


def test_a_very_long_name_costs_no_record(tmp_path: Path) -> None:
    run = ClassRun(open_course(), {}, 1, 1)
    (tmp_path / "records").mkdir()
    names = ["ж" * 120, "ж" * 120 + "2"]
    for name in names:
        classroom.write_student(tmp_path, run, Graded(name, {}, {}, [], 0.0), False)
    written = [json.loads(path.read_text())["student"] for path in (tmp_path / "records").iterdir()]
    assert sorted(written) == sorted(names)
