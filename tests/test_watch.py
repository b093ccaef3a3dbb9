"""`aidl watch` in a terminal of its own: real saves, real keys; what the screen says is waited for."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aidl_jax.exercise.build import build
from aidl_jax.exercise.course import open_course
from aidl_jax.exercise.workspace import Workspace, start
from aidl_jax.watch_command import NO_FORK as NO_FORK_TOLD
from aidl_jax.watch_command import NO_KEYS

ROOT = Path(__file__).parents[1]
TEMPERATURE = "exercises/s01_first/temperature.py"
MEAN = "exercises/s01_first/running_mean.py"
NOTEBOOK = "notebooks/s01_first.ipynb"
GIVEN = 'raise NotImplementedError("to_fahrenheit is still to be written")'
RIGHT, WRONG = "return celsius * 9 / 5 + 32", "return celsius * 9 / 5"
PATIENCE = 60.0
NO_FORK = "from aidl_jax.grade import forks; forks.can_fork = lambda: False; from aidl_jax.cli import main; main()"


class Watched:
    """`aidl watch` in a pseudo terminal, or with pipes."""

    def __init__(self, folder: Path, *arguments: str, terminal: bool = True, code: str | None = None) -> None:
        ours, theirs = pty.openpty() if terminal else os.pipe()
        self.screen, self.text, self.terminal = ours, "", terminal
        self.typed, self.modes = (theirs if terminal else -1), termios.tcgetattr(ours) if terminal else None
        how = ["-c", code] if code else ["-m", "aidl_jax"]
        self.process = subprocess.Popen(
            [sys.executable, *how, "watch", *arguments],
            cwd=folder,
            stdin=theirs if terminal else subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"COLUMNS": "100", "TERM": "xterm"},
            start_new_session=True,
        )
        if not terminal:
            os.close(theirs)

    def sees(self, text: str) -> str:
        """Waits until the screen has a text; what stood before it, and the text, are taken off."""
        end = time.monotonic() + PATIENCE
        while text not in self.text:
            if not select.select([self.screen], [], [], max(end - time.monotonic(), 0))[0]:
                raise AssertionError(f"no {text!r} within {PATIENCE:g} seconds on: {self.text}")
            data = os.read(self.screen, 65536)
            assert data, f"it has ended, without {text!r}: {self.text}"
            self.text += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data.decode("utf-8", "replace")).replace("\r", "")
        seen, self.text = self.text.split(text, 1)
        return seen + text

    def press(self, key: str) -> None:
        os.write(self.screen, key.encode())

    def ends(self) -> int:
        self.sees("Watching has ended.")
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def watching(folder: Path, *arguments: str, **how: object) -> Iterator[Watched]:
    watched = Watched(folder, *arguments, **how)  # type: ignore[arg-type]
    try:
        yield watched
    finally:
        watched.process.kill()
        watched.process.wait()
        for descriptor in {watched.screen, watched.typed} - {-1}:
            os.close(descriptor)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("course") / "mini"
    for part in ("course", "solutions"):
        shutil.copytree(ROOT / "examples" / "mini_course" / part, folder / part)
    build(open_course(folder))
    return folder


@pytest.fixture
def workspace(course: Path, tmp_path: Path) -> Path:
    start(open_course(course), tmp_path / "ada", course)
    return tmp_path / "ada"


def save(path: Path, line: str, *, by_renaming: bool = False) -> None:
    """Puts another body into the function of the exercise on temperatures."""
    text = re.sub(r"^    (raise|return|retrun|while).*$", f"    {line}", path.read_text(), flags=re.MULTILINE)
    assert line in text
    if by_renaming:
        beside = path.with_suffix(".swp")
        beside.write_text(text)
        os.replace(beside, path)
    else:
        path.write_text(text)


KEYS = "h hint   n next   l list   q quit"


def test_saves_and_keys_in_a_terminal(workspace: Path) -> None:
    file = workspace / TEMPERATURE
    with watching(workspace, "temperature") as watched:
        watched.sees("to_fahrenheit is still to be written")
        watched.sees(KEYS)
        save(file, WRONG)
        watched.sees("You did not move the zero")  # explained as by aidl check
        watched.sees(KEYS)
        save(file, RIGHT, by_renaming=True)
        watched.sees("1 of 1 points")
        assert f"\n{TEMPERATURE}: checked" in watched.sees(KEYS)
        assert Workspace(workspace).progress("s01_first/temperature")["passed"] == ["to_fahrenheit"]
        watched.press("l")
        assert "running_mean" in watched.sees("Next: edit")
        watched.press("n")
        watched.sees("running_mean is still to be written")
        watched.press("h")
        watched.sees("running_mean, hint 1 of 3")
        watched.press("n")
        watched.sees("There is no other unfinished exercise.")
        assert Workspace(workspace).progress("s01_first/running_mean")["hints"] == {"running_mean": 1}
        watched.press("q")
        assert watched.ends() == 0
        assert termios.tcgetattr(watched.typed) == watched.modes


def test_a_save_during_a_check_takes_its_place(workspace: Path) -> None:
    file = workspace / TEMPERATURE
    with watching(workspace, "temperature") as watched:
        watched.sees(KEYS)
        save(file, "while True: pass")  # ends after ten seconds, with a verdict that must not be seen
        watched.sees("checking s01/temperature ...")
        save(file, RIGHT)
        assert "did not come to an end" not in watched.sees("1 of 1 points")
        watched.process.send_signal(signal.SIGINT)
        assert watched.ends() == 0
        assert termios.tcgetattr(watched.typed) == watched.modes


def test_what_cannot_be_read_is_told_and_the_next_save_heals_it(workspace: Path) -> None:
    file = workspace / TEMPERATURE
    with watching(workspace, "temperature") as watched:
        watched.sees(KEYS)
        save(file, "retrun 5 5")
        watched.sees("Python cannot read this file")
        watched.sees(KEYS)
        save(file, RIGHT)
        watched.sees("1 of 1 points")
        good = file.read_bytes()
        file.write_bytes(b"# \xe9\n")
        watched.sees(f"{TEMPERATURE}: the file is not UTF-8 text: given byte 0xe9 in line 1")
        file.unlink()
        watched.sees(f"{file} is gone. Fix: aidl reset s01/temperature")
        file.write_bytes(good)
        watched.sees("1 of 1 points")


def test_another_exercise_and_the_notebook(workspace: Path) -> None:
    with watching(workspace, "temperature") as watched:
        watched.sees(KEYS)
        mean = workspace / MEAN
        mean.write_text(mean.read_text().replace("raise NotImplementedError", "return NotImplementedError"))
        assert "running_mean  0/2" in watched.sees(KEYS)
        notebook = workspace / NOTEBOOK
        notebook.write_text(notebook.read_text().replace(json.dumps(GIVEN)[1:-1], RIGHT))
        seen = watched.sees(KEYS)
        assert "1 of 1 points" in seen and f"\n{NOTEBOOK}: checked" in seen
        save(workspace / TEMPERATURE, WRONG)
        assert "0 of 1 points" in watched.sees(f"\n{TEMPERATURE}: checked")  # what was saved, not the other
        watched.sees(KEYS)
        watched.press("n")
        watched.press("n")
        watched.sees("both the file and the notebook answer s01/temperature")


def test_without_a_terminal_and_without_fork(workspace: Path) -> None:
    with watching(workspace, "temperature", terminal=False, code=NO_FORK) as watched:
        watched.sees("to_fahrenheit is still to be written")
        watched.sees(NO_FORK_TOLD)
        assert watched.sees(NO_KEYS).strip() == NO_KEYS
        save(workspace / TEMPERATURE, RIGHT)
        watched.sees("1 of 1 points")
        watched.process.send_signal(signal.SIGINT)
        assert watched.ends() == 0


def test_every_exercise_finished(workspace: Path) -> None:
    for name, task in (("temperature", "to_fahrenheit"), ("running_mean", "running_mean")):
        Workspace(workspace).save_progress(f"s01_first/{name}", passed=[task])
    with watching(workspace) as watched:
        watched.sees("aidl: every exercise is finished. Fix: name the one you want to see again")
        assert watched.process.wait(PATIENCE) == 2


def test_it_ends_with_its_terminal(workspace: Path) -> None:
    with watching(workspace, "temperature") as watched:
        watched.sees(KEYS)
        os.close(watched.typed)
        os.close(watched.screen)
        watched.typed = watched.screen = -1
        assert watched.process.wait(PATIENCE) >= 0  # by itself; what it says goes nowhere
