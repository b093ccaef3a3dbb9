"""A session's notebook: valid, the same every time, each task followed by its check; and its first cell."""

from __future__ import annotations

import ast
import itertools
import json
import os
import subprocess
import sys
import types
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from aidl_jax.errors import CourseError
from aidl_jax.exercise.course import Course, open_course
from aidl_jax.exercise.notebook import notebook_text
from aidl_jax.exercise.source import short_name

ROOT = Path(__file__).parents[2]
COURSES = [open_course(), open_course(ROOT / "examples" / "mini_course")]
SESSIONS = [(course, session) for course in COURSES for session in course.session_names()]
EACH_SESSION = pytest.mark.parametrize(("course", "session"), SESSIONS, ids=[session for _, session in SESSIONS])


def source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


@pytest.mark.oldest
@EACH_SESSION
def test_it_is_a_valid_notebook(course: Course, session: str) -> None:
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.reads(notebook_text(course, session), as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert all(
        cell.outputs == [] and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code"
    )


@EACH_SESSION
def test_every_task_is_followed_by_its_check(course: Course, session: str) -> None:
    cells = json.loads(notebook_text(course, session))["cells"]
    names = [name for name in course.names() if name.startswith(session + "/")]
    tasks = [task for name in names for task in course.exercise(name).tasks]
    following = {}
    for cell, after in itertools.pairwise(cells):
        if cell["cell_type"] == "code" and "is still to be written" in source(cell):
            functions = [node.name for node in ast.parse(source(cell)).body if isinstance(node, ast.FunctionDef)]
            (function,) = [name for name in functions if name in tasks]  # the others are helpers that are given
            assert after["cell_type"] == "code"
            following[function] = source(after)
    expected = {
        task: f'aidl_jax.check("{short_name(name)}", task="{task}")'
        for name in course.names()
        if name.startswith(session + "/")
        for task in course.exercise(name).tasks
    }
    assert following == expected
    assert sum("aidl_jax.check(" in source(cell) for cell in cells) == len(expected)


@EACH_SESSION
def test_the_lesson_is_there_and_no_solution(course: Course, session: str) -> None:
    cells = json.loads(notebook_text(course, session))["cells"]
    for name in (name for name in course.names() if name.startswith(session + "/")):
        text = course.solution(name).read_text(encoding="utf-8")
        headings = [line.removeprefix("# ") for line in text.splitlines() if line.startswith(("# # ", "# ## "))]
        there = [line for cell in cells if cell["cell_type"] == "markdown" for line in source(cell).splitlines()]
        assert headings and set(headings) <= set(there)
    for cell in cells:
        assert "SOLUTION" not in source(cell)
        if cell["cell_type"] == "code":
            ast.parse(source(cell))


def test_the_same_sources_give_the_same_bytes() -> None:
    code = (
        "from pathlib import Path; from aidl_jax.exercise.course import open_course; import hashlib\n"
        "from aidl_jax.exercise.notebook import notebook_text\n"
        f"course = open_course(Path({str(ROOT / 'examples' / 'mini_course')!r}))\n"
        "print(hashlib.sha256(notebook_text(course, 's01_first').encode()).hexdigest())"
    )
    seen = set()
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed}
        )
        seen.add(done.stdout)
    assert len(seen) == 1


def test_a_source_without_cells(tmp_path: Path) -> None:
    (tmp_path / "course" / "s01_a").mkdir(parents=True)
    (tmp_path / "course" / "course.toml").write_text('title = "T"\ninstall = "x"\n[sessions]\n')
    (tmp_path / "course" / "s01_a" / "b.py").write_text(
        "from aidl_jax.exercise import Exercise\nexercise = Exercise('T')\n"
    )
    (tmp_path / "solutions" / "s01_a").mkdir(parents=True)
    path = tmp_path / "solutions" / "s01_a" / "b.py"
    path.write_text("x = 1\n")
    with pytest.raises(CourseError) as error:
        notebook_text(open_course(tmp_path), "s01_a")
    assert str(error.value) == f"{path}: the source has no cells. Fix: open one with a line `# %%`"
    path.write_text("# %% Heading\nx = 1\n")
    with pytest.raises(CourseError, match=r"b\.py: this is not a cell marker: given '# %% Heading'"):
        notebook_text(open_course(tmp_path), "s01_a")


# The first cell


def first_cell(install: str | None = None) -> str:
    return source(json.loads(notebook_text(COURSES[0], "s02_graphs", install))["cells"][0])


class Pip:
    """Takes the place of `subprocess.run`."""

    def __init__(self, returncode: int = 0, stderr: str = "") -> None:
        self.calls: list[list[str]] = []
        self.returncode, self.stderr = returncode, stderr

    def __call__(self, command: list[str], **options: Any) -> Any:
        self.calls.append(command)
        assert options.get("text") and options.get("capture_output") and not options.get("shell")
        return subprocess.CompletedProcess(command, self.returncode, "", self.stderr)


@pytest.fixture
def colab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))


def test_elsewhere_the_first_cell_only_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    pip = Pip()
    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    namespace: dict[str, Any] = {}
    exec(first_cell(), namespace)
    assert pip.calls == []
    assert namespace.keys() - {"__builtins__"} == {"sys", "aidl_jax"}


@pytest.mark.oldest
@pytest.mark.parametrize(
    "install",
    [
        None,
        "aidl-jax==0.1.0",
        "/content/aidl_jax-0.1.0-py3-none-any.whl",
        "https://x.org/a.whl#sha256=0",
        "a'b\"c $name\\n",
    ],
)
@pytest.mark.usefixtures("colab")
def test_on_colab_it_installs_beside_the_jax_that_is_there(
    install: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = Pip()
    monkeypatch.setattr(subprocess, "run", pip)
    exec(first_cell(install), {})
    ((python, *command),) = pip.calls
    assert python == sys.executable and command[:3] == ["-m", "pip", "install"]
    assert (install or COURSES[0].install) in command
    assert command[-3:] == [f"{name}=={version(name)}" for name in ("jax", "jaxlib", "numpy")]
    assert not {"-U", "--upgrade", "--force-reinstall"} & set(command)


@pytest.mark.usefixtures("colab")
def test_on_colab_a_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Pip(1, "ERROR: Cannot install because of a conflict"))
    with pytest.raises(SystemExit) as stopped:
        exec(first_cell("aidl-jax"), {})
    message = str(stopped.value)
    assert message.startswith("The course could not be installed from 'aidl-jax' beside jax==")
    assert f"numpy=={version('numpy')}" in message and message.endswith("ERROR: Cannot install because of a conflict")
