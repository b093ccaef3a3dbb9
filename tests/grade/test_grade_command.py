"""`aidl grade` from hand-ins to a folder: killed, stopped, repeated, changed, and with everything a course hands it."""

from __future__ import annotations

import csv
import io
import json
import os
import random
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

from aidl_jax.grade import sandbox
from aidl_jax.grade.forks import can_fork
from aidl_jax.grade.journal import NAME

ROOT = Path(__file__).parents[2]
DEADLINE = 90.0  # seconds, for a machine that is busy with other things
TEMPERATURE = "s01_first/temperature"
RIGHT = "def to_fahrenheit(celsius):\n    return celsius * 9 / 5 + 32\n"
WRONG = "def to_fahrenheit(celsius):\n    return celsius * 9 / 5\n"
FASTEST = [] if sandbox.lacking() is None else ["--unsafe"]  # what is there to grade with
SANDBOXED = pytest.mark.skipif(sandbox.lacking() is not None, reason=f"no sandbox here: {sandbox.lacking()}")


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Polls until a condition holds."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        threading.Event().wait(0.05)
    pytest.fail(f"no {what} within {DEADLINE:g} seconds")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "aidl_jax", *map(str, arguments)]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The tiny course's sources, which is all that grading needs."""
    shutil.copytree(ROOT / "examples" / "mini_course" / "course", tmp_path / "tiny" / "course")
    return tmp_path / "tiny"


def graded(out: Path) -> list[str]:
    """Whose verdicts stand whole in the journal."""
    lines = (out / NAME).read_text().splitlines(keepends=True)[1:] if (out / NAME).exists() else []
    return [json.loads(line)["student"] for line in lines if line.endswith("\n")]


def fill(folder: Path, **texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for student, text in texts.items():
        (folder / f"{student}.py").write_text(text)
    return folder


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command("grade", *arguments), capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode == code, done.stderr
    return done


def every_file(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def rows(out: Path) -> dict[str, dict[str, str]]:
    text = "".join(line for line in (out / "grades.csv").read_text().splitlines(keepends=True) if line[0] != "#")
    return {row["student"]: row for row in csv.DictReader(io.StringIO(text, newline=""))}


def children(parent: int) -> list[int]:
    """The processes that a process has started, on Linux."""
    path = Path(f"/proc/{parent}/task/{parent}/children")
    found = [int(child) for task in path.parents[1].glob("*/children") for child in task.read_text().split()]
    return sorted(set(found))


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("unsafe", [["--unsafe"], pytest.param([], marks=SANDBOXED)], ids=["unsafe", "sandboxed"])
def test_ctrl_c_in_the_middle(tmp_path: Path, tiny: Path, unsafe: list[str]) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "ada.py").write_text(RIGHT)
    checks = tiny / "course" / "s01_first" / "temperature.py"
    text = checks.read_text(encoding="utf-8")
    patient = text.replace('Exercise("Degrees")', 'Exercise("Degrees", time_limit=3600.0)')
    assert patient != text
    checks.write_text(patient, encoding="utf-8")
    for number in range(3):  # what comes next is ended by Ctrl-C or not at all
        (inbox / f"loop{number}.py").write_text("def to_fahrenheit(celsius):\n    while True:\n        pass\n")
    out = tmp_path / "out"
    arguments = ("grade", inbox, "--out", out, *unsafe, "--course", tiny, "--jobs", 2, "--seed", 1)
    running = subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started: list[int] = []
    try:
        wait_for(lambda: graded(out) == ["ada"] or running.poll() is not None, "verdict")
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
    assert printed.splitlines()[0].startswith("UNSAFE: ") == bool(unsafe)
    assert graded(out) == ["ada"]  # no false one
    assert [path.name for path in out.iterdir() if path.name != "adjustments.csv"] == [NAME]
    assert left == []


# What is written


TIMED = {"timings.json", "index.html", NAME}  # what tells how long it took, or in which order it came
FILES = ["adjustments.csv", "grades.csv", "index.html", NAME, "run.json", "timings.json"]


@pytest.mark.oldest
def test_same_seed_same_bytes_whatever_the_number_of_jobs(tmp_path: Path, tiny: Path) -> None:
    inbox = fill(tmp_path / "inbox", ada=RIGHT, bela=WRONG, cora="def to_fahrenheit(:\n")
    (inbox / "zia.zip").write_bytes(b"PK")
    made = []
    for name, jobs in (("one", 1), ("two", 2)):
        run(inbox, "--out", tmp_path / name, "--unsafe", "--course", tiny, "--seed", 7, "--jobs", jobs, code=2)
        made.append(every_file(tmp_path / name))
    one, two = made
    students = [f"{kind}/{s}{end}" for kind, end in (("records", ".json"), ("students", ".html"))
                for s in ("ada", "bela", "cora", "zia")]  # fmt: skip
    assert sorted(one) == sorted([*FILES, *students])
    assert {name for name in one if one[name] != two.get(name)} <= TIMED
    for name, data in one.items():  # every file says first that it was unsafe
        if name not in ("adjustments.csv", NAME):
            assert "UNSAFE" in "".join(data.decode().splitlines()[: 20 if name.endswith("html") else 1]), name
    assert json.loads(one["run.json"])["seed"] == 7
    table = rows(tmp_path / "one")
    assert [row["points"] for row in table.values()] == ["1", "0", "0", ""]
    assert "zia.zip: the zip cannot be read" in table["zia"]["problems"]
    seconds = json.loads(one["timings.json"])["seconds"]
    assert seconds.keys() == table.keys()


@SANDBOXED
def test_in_the_sandbox_the_records_are_the_same(tmp_path: Path, tiny: Path) -> None:
    inbox = fill(tmp_path / "inbox", ada=RIGHT, bela=WRONG)
    for name, more in (("in", []), ("out", ["--unsafe"])):
        run(inbox, "--out", tmp_path / name, "--course", tiny, "--seed", 7, *more)
    for student in ("ada", "bela"):
        found = [json.loads((tmp_path / name / "records" / f"{student}.json").read_text()) for name in ("in", "out")]
        assert found[1].pop("UNSAFE")
        assert found[0] == found[1]
    assert not any(b"UNSAFE" in data for data in every_file(tmp_path / "in").values())


# Killed and gone on with


def killed_at(arguments: list[str], out: Path, verdicts: int, patience: float) -> None:
    """Runs until so many verdicts stand in the journal, waits a moment more, and kills."""
    running = subprocess.Popen(command("grade", *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(graded(out)) >= verdicts or running.poll() is not None, f"{verdicts} verdicts")
        threading.Event().wait(patience)
    finally:
        running.kill()
        running.wait()


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3))])
def test_killed_five_times_the_result_is_that_of_an_undisturbed_run(tmp_path: Path, tiny: Path, seed: int) -> None:
    wrong = {f"w{n}": WRONG.replace("5", f"5 + {n}") for n in range(5)}
    right = {f"r{n}": RIGHT + f"# {n}\n" for n in range(5)}
    inbox = fill(tmp_path / "inbox", **wrong, **right)
    more = [*FASTEST, "--course", str(tiny), "--seed", "5", "--jobs", "2"]
    run(inbox, "--out", tmp_path / "undisturbed", *more)
    draw, out = random.Random(seed), tmp_path / "out"
    for kill in range(5):
        killed_at([str(inbox), "--out", str(out), *more], out, 2 * kill + draw.randint(0, 1), draw.uniform(0, 0.4))
    run(inbox, "--out", out, *more[:-2])  # another number of jobs
    found, wanted = every_file(out), every_file(tmp_path / "undisturbed")
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if found[name] != wanted[name] and name not in TIMED] == []
    assert sorted(graded(out)) == sorted([*wrong, *right])  # nothing was graded twice


# Changed


def test_after_a_change_only_what_it_touches_is_graded_again(tmp_path: Path, tiny: Path) -> None:
    mean = (ROOT / "examples/mini_course/solutions/s01_first/running_mean.py").read_text()
    inbox = fill(tmp_path / "inbox", ada=RIGHT, bela=WRONG)
    (inbox / "cora").mkdir()
    (inbox / "cora" / "temperature.py").write_text(RIGHT + "# cora\n")
    (inbox / "cora" / "running_mean.py").write_text(mean)
    out = tmp_path / "out"
    more = ("--out", out, *FASTEST, "--course", tiny, "--jobs", 1)
    run(inbox, *more, "--seed", 9)
    first = graded(out)
    assert sorted(first) == ["ada", "bela", "cora", "cora"]
    again = run(inbox, *more)  # the seed is the earlier run's
    assert graded(out) == first and "->" not in again.stdout
    (inbox / "bela.py").write_text(RIGHT + "# mended\n")
    changed = run(inbox, *more)
    assert graded(out) == [*first, "bela"]
    assert "bela: s01/temperature 0 -> 1 (the hand-in changed)" in changed.stdout
    checks = tiny / "course" / "s01_first" / "temperature.py"
    text = checks.read_text()
    stricter = text.replace("celsius * 9 / 5 + 32", "celsius * 9 / 5 + 33")
    assert stricter != text
    checks.write_text(stricter)
    changed = run(inbox, *more)
    assert sorted(graded(out)[5:]) == ["ada", "bela", "cora"]  # the other exercise was left alone
    for student in ("ada", "bela", "cora"):
        assert f"{student}: s01/temperature 1 -> 0 (the checks changed)" in changed.stdout
    assert run(inbox, *more, "--seed", 8, code=2).stderr.startswith(
        "aidl: the run in the output folder has another seed"
    )
    run(inbox, *more, "--seed", 8, "--replace")
    assert (out / "earlier.jsonl").exists() and len(graded(out)) == 4


def test_an_output_folder_that_is_somebody_elses_is_left_alone(tmp_path: Path, tiny: Path) -> None:
    inbox = fill(tmp_path / "inbox", ada=RIGHT)
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    for more in ([], ["--replace"]):
        told = run(inbox, "--out", out, "--unsafe", "--course", tiny, *more, code=2).stderr
        assert (
            told
            == f"aidl: the output folder holds what no run wrote: given {out} with thesis.tex. Fix: name an empty folder\n"
        )
    (out / "thesis.tex").rename(out / "grades.csv")
    assert "with grades.csv" in run(inbox, "--out", out, "--unsafe", "--course", tiny, code=2).stderr
    told = run(inbox, "--out", out / "grades.csv", "--unsafe", "--course", tiny, code=2).stderr
    assert "the output is a file, not a folder" in told
    assert (out / "grades.csv").read_text() == "years of work"


# Who, when, how much


def test_a_roster_a_deadline_and_the_instructors_own_points(tmp_path: Path, tiny: Path) -> None:
    inbox = fill(tmp_path / "inbox", ada=RIGHT, bela=RIGHT, zoe=RIGHT)
    os.utime(inbox / "bela.py", (1_700_000_000 + 90_000,) * 2)  # a day and an hour
    os.utime(inbox / "ada.py", (1_700_000_000,) * 2)
    os.utime(inbox / "zoe.py", (1_600_000_000,) * 2)
    roster = tmp_path / "roster.csv"
    roster.write_text("login,name\nada,Ada L.\nbela,Bela B.\nnora,Nora N.\n")
    out = tmp_path / "out"
    arguments = (inbox, "--out", out, *FASTEST, "--course", tiny, "--seed", 1, "--roster", roster, "--due", "2023-11-14T22:13:20Z", "--penalty", 25)  # fmt: skip
    assert run(*arguments, code=2).stderr == "aidl: zoe: not on the roster\n"
    assert list(rows(out)) == ["ada", "bela", "nora", "zoe"]
    (out / "adjustments.csv").write_text(
        "student,exercise,points,comment\nnora,,0.5,was ill\nbela,temperature,1,=SUM(1)\n"
    )
    run(*arguments, code=2)
    found = {
        name: [row[c] for c in ("name", "points", "late_days", "adjusted", "final")] for name, row in rows(out).items()
    }
    assert found == {
        "ada": ["Ada L.", "1", "0", "", "1"], "bela": ["Bela B.", "1", "2", "1", "1"],
        "nora": ["Nora N.", "0", "", "0.5", "0.5"], "zoe": ["", "1", "0", "", "1"],
    }  # fmt: skip
    assert "s01/temperature not handed in" in rows(out)["nora"]["problems"]
    assert (out / "adjustments.csv").read_text().startswith("student,exercise,points,comment\nnora")


def test_a_gradebook_and_gradescope(tmp_path: Path, tiny: Path) -> None:
    inbox = fill(tmp_path / "inbox", ada=RIGHT, bela=WRONG)
    book = tmp_path / "canvas.csv"
    book.write_text(
        "Student,ID,SIS User ID,SIS Login ID,Section,Lab (7)\n    Points Possible,,,,,1\nAda,1,,ada,x,\nBela,2,,bela,x,\n"
    )
    out = tmp_path / "out"
    arguments = (inbox, "--out", out, *FASTEST, "--course", tiny, "--seed", 1, "--fill", book)
    told = run(*arguments, "--column", "Leb", code=2).stderr
    assert "Leb" in told and not out.exists()  # told before anything is graded
    told = run(*arguments, "--gradescope").stdout
    assert "Canvas, 'Lab (7)': 2 grades filled in" in told
    assert [line.rpartition(",")[2] for line in (out / "filled-canvas.csv").read_text().splitlines()] == [
        "Lab (7)",
        "1",
        "1",
        "0",
    ]
    assert json.loads((out / "gradescope" / "ada.json").read_text())["score"] == 1
    run(*arguments)  # what it wrote is its own


def test_what_would_do_nothing_is_refused(tmp_path: Path, tiny: Path) -> None:
    inbox = fill(tmp_path / "inbox", ada=RIGHT)
    arguments = (inbox, "--out", tmp_path / "out", *FASTEST, "--course", tiny)
    assert "a penalty without a deadline would do nothing" in run(*arguments, "--penalty", 5, code=2).stderr


def test_one_verdict_is_explained_with_its_inputs(tmp_path: Path, tiny: Path) -> None:
    inbox = fill(tmp_path / "inbox", ada=WRONG)
    more = ("--out", tmp_path / "out", *FASTEST, "--course", tiny)
    told = run(inbox, *more, "--explain", "ada", "to_fahrenheit", code=2).stderr
    assert told.startswith("aidl: there is no verdict to explain yet")
    run(inbox, *more, "--seed", 4)
    before = every_file(tmp_path / "out")
    told = run(inbox, *more, "--explain", "ada", "to_fahrenheit").stdout
    assert "1. to_fahrenheit(float32[" in told
    assert "input 0: float32 [" in told and "answer: " in told and "expected" in told
    assert every_file(tmp_path / "out") == before
    told = run(inbox, *more, "--explain", "adda", "to_fahrenheit", code=2).stderr
    assert told == "aidl: no such student handed in: given adda. Fix: did you mean 'ada'?\n"
    told = run(inbox, *more, "--explain", "ada", "fit", code=2).stderr
    assert told.startswith("aidl: ada handed in no such task: given fit.")


# Disks and files that are not as they should be


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
from aidl_jax.cli import main
sys.argv = ["aidl", *sys.argv[1:]]
main()
"""


@pytest.mark.skipif(not can_fork(), reason="its parent is the grader where there is no fork")
def test_without_a_sandbox_a_hand_in_that_kills_its_parent_costs_the_others_one_more_run(
    tmp_path: Path, tiny: Path
) -> None:
    kills = "import os\n\ndef to_fahrenheit(celsius):\n    os.kill(os.getppid(), 9)\n    return 32.0\n"
    inbox = fill(tmp_path / "inbox", ada=RIGHT, bela=kills, cora=RIGHT)
    out = tmp_path / "out"
    arguments = (inbox, "--out", out, "--unsafe", "--course", tiny, "--jobs", 1, "--seed", 1)
    done = run(*arguments, code=2)
    assert "cora: s01_first/temperature: ungraded, by a fault of the grader's: UsageError: the process" in done.stderr
    assert "Fix: run the command again" in done.stderr
    assert graded(out) == ["ada", "bela"]
    run(*arguments)
    assert {name: row["points"] for name, row in rows(out).items()} == {"ada": "1", "bela": "0", "cora": "1"}


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_a_full_disk_is_one_line(tmp_path: Path, tiny: Path) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    for name in ("ada", "bela"):
        (inbox / f"{name}.py").write_text("def to_fahrenheit(celsius):\n    return celsius\n")
    arguments = ["grade", inbox, "--out", out, "--unsafe", "--course", tiny, "--jobs", 2]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=DEADLINE, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == f"aidl: {out}/{NAME}: File too large; what was written before is complete"
    run(inbox, "--out", out, "--unsafe", "--course", tiny)  # what was half written does no harm
    assert sorted(graded(out)) == ["ada", "bela"]


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
    assert table[0][:5] == ["student", "name", "s01_first/temperature", "points", "possible"]
    assert [row[2] for row in table[1:]] == ["1", "", "", "", "0"]
    assert table[5][-1] == "s01/temperature not handed in"
    assert len(list((out / "records").iterdir())) == 5
