"""Every command that README and docs show is run, in order, in a copy of the checkout."""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aidl_jax.exercise.course import open_course
from aidl_jax.exercise.workspace import start

ROOT = Path(__file__).resolve().parents[1]
FILES = [
    "README.md",
    "docs/student.md",
    "docs/instructor.md",
    "docs/author.md",
    "docs/graph.md",
    "docs/models.md",
    "docs/serving.md",
    "docs/training.md",
]
LONG = ["docs/serving.md", "docs/training.md"]  # they train models; so do faster tests
PYTHON = ["docs/autodiff.md", "docs/graph.md", "docs/models.md", "docs/optimizers.md"]
SHELLS = ["docs/autodiff.md", "docs/graph.md", "docs/scopes.md", "docs/data.md", "docs/serving.md", "docs/training.md"]
ELSEWHERE = ["docs/static_and_dynamic.md"]  # its own test runs all of it
BLOCK = re.compile(r"^```(\S*)( slow)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(text: str, kind: str, slow: bool) -> list[tuple[str, int]]:
    """The lines after `$ ` of a kind of block, with the exit code that a comment on the line announces."""
    found = []
    for name, marked, body in BLOCK.findall(text):
        if name == kind and bool(marked) == slow:
            for line in re.findall(r"^\$ (.+)$", body, re.MULTILINE):
                announced = re.search(r"#.*\bexit code (\d)", line)
                found.append((line, int(announced[1]) if announced else 0))
    return found


def script(lines: list[tuple[str, int]]) -> str:
    """A shell script that stops at the first command with another exit code than announced."""
    return "\n".join(
        f"{line}\nstatus=$?; [ $status -eq {code} ] || {{ echo exit code $status: {shlex.quote(line)}; exit 99; }}"
        for line, code in lines
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what is in the working tree, without what a build leaves there."""
    copy = tmp_path / "checkout"
    ignore = shutil.ignore_patterns(".git", ".venv*", "demo-out*", "dist", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(ROOT, copy, ignore=ignore)
    return copy


def run(lines: list[tuple[str, int]], folder: Path) -> None:
    assert lines
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "MAKEFLAGS": ""}
    done = subprocess.run(["bash", "-c", script(lines)], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.parametrize("name", [pytest.param(f, marks=pytest.mark.slow) if f in LONG else f for f in FILES])
def test_commands_do_what_the_text_says(name: str, checkout: Path) -> None:
    run(commands((ROOT / name).read_text(), "console", slow=False), checkout)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "docs/instructor.md"])
def test_slow_commands_do_what_the_text_says(name: str, checkout: Path) -> None:
    lines = commands((ROOT / name).read_text(), "console", slow=True)
    # `make test` would run this test again
    run([(line.replace("make test", "make -n test"), code) for line, code in lines], checkout)


def test_submit_after_solving(tmp_path: Path) -> None:
    lines = commands((ROOT / "docs/student.md").read_text(), "console-after-solving", slow=False)
    workspace = tmp_path / "ada"
    start(open_course(), workspace)
    shutil.copytree(ROOT / "examples" / "class" / "ada", workspace / "exercises", dirs_exist_ok=True)
    run(lines, workspace)
    assert (workspace / "handin.zip").is_file()


@pytest.mark.parametrize("name", PYTHON)
def test_python_blocks_print_what_the_text_says(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All in one namespace, in order; a block of text after one that prints is what it prints."""
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    printed = ""
    for kind, _, body in BLOCK.findall((ROOT / name).read_text()):
        if kind == "python":
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(body, "model.py", "exec"), namespace)
            printed = output.getvalue()
        elif kind == "text":
            assert body.rstrip() == printed.rstrip()


def test_the_checks_of_the_authors_page_are_an_exercise(tmp_path: Path) -> None:
    """The first block; later ones are lines of such a check."""
    body = next(body for kind, _, body in BLOCK.findall((ROOT / "docs/author.md").read_text()) if kind == "python")
    file = tmp_path / "checks.py"
    file.write_text(f"import numpy as np\nfrom aidl_jax.exercise import Exercise, Hints, compare\n{body}")
    (task,) = runpy.run_path(str(file))["exercise"].tasks.values()
    assert task.name == "mean_squared_error" and len(task.checks) == len(task.wrong_answers) == 1


@pytest.mark.parametrize("name", SHELLS)
def test_shells_answer_what_the_text_says(name: str) -> None:
    """All in one namespace, in order."""
    body = "\n".join(body for kind, _, body in BLOCK.findall((ROOT / name).read_text()) if kind == "pycon")
    session = doctest.DocTestParser().get_doctest(body, {}, name, name, 0)
    assert session.examples
    assert doctest.DocTestRunner().run(session).failed == 0


def test_every_shown_command_belongs_to_a_block_that_is_run() -> None:
    for name in FILES:
        text = (ROOT / name).read_text()
        shown = len(re.findall(r"^\$ ", text, re.MULTILINE))
        kinds = [("console", False), ("console", True), ("console-after-solving", False)]
        assert shown == sum(len(commands(text, kind, slow)) for kind, slow in kinds), name


def test_every_block_of_python_is_run() -> None:
    for file in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        name = str(file.relative_to(ROOT))
        kinds = {kind for kind, _, _ in BLOCK.findall(file.read_text())}
        if name not in ELSEWHERE:
            assert ("python" in kinds) == (name in [*PYTHON, "docs/author.md"]), name
            assert ("pycon" in kinds) == (name in SHELLS), name
