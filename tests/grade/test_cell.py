"""`aidl_jax.check` in a notebook: what was run last counts; and one real notebook from end to end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import aidl_jax
from aidl_jax.errors import UsageError
from aidl_jax.exercise.course import open_course
from aidl_jax.exercise.workspace import start

ROOT = Path(__file__).parents[2]
RIGHT = "def to_fahrenheit(celsius):\n    return celsius * 9 / 5 + 32"
WRONG = "def to_fahrenheit(celsius):\n    return celsius * 5 / 9 + 32"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny course's checks."""
    folder = tmp_path_factory.mktemp("tiny")
    shutil.copytree(ROOT / "examples" / "mini_course" / "course", folder / "course")
    return folder


@pytest.fixture
def cell(tiny: Path) -> Iterator[Callable[[str], Any]]:
    """Runs a cell of a new notebook and gives its value."""
    settings = Config()
    settings.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=settings)

    def run(text: str) -> Any:
        result = shell.run_cell(text.replace("COURSE", repr(str(tiny))), store_history=True, silent=False)
        if result.error_in_exec is not None:
            raise result.error_in_exec
        return result.result

    try:
        run("import aidl_jax")
        yield run
    finally:
        InteractiveShell.clear_instance()


CHECK = 'aidl_jax.check("temperature", course=COURSE)'


@pytest.mark.oldest
def test_the_last_definition_that_was_run_counts(
    cell: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    cell("%pwd\nIn = 'a name of my own'")
    cell(WRONG)
    wrong = cell(CHECK)
    assert wrong.record.points == 0
    assert "You divided by 1.8" in repr(wrong) and "You divided by 1.8" in wrong._repr_html_()
    cell("raise_an_error(")  # a syntax error leaves what was there
    cell(f"factor = 9 / 5\n{RIGHT.replace('9 / 5', 'factor')}")
    right = cell(CHECK)
    assert right.record.points == right.record.possible == 1
    assert "This task passes." in repr(right) and 'class="passed"' in right._repr_html_()
    capsys.readouterr()


def test_hints_wait_behind_the_failure(cell: Callable[[str], Any]) -> None:
    cell("def to_fahrenheit(celsius):\n    raise NotImplementedError('to_fahrenheit is still to be written')")
    page = cell(CHECK)._repr_html_()
    hints = (
        open_course(ROOT / "examples" / "mini_course").exercise("s01_first/temperature").tasks["to_fahrenheit"].hints
    )
    assert page.count("<details>") == len(hints.levels()) == 3
    assert "still to be written" in page


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ('aidl_jax.check("nothing", course=COURSE)', "there is no exercise 'nothing'. Fix: choose from "),
        (
            'aidl_jax.check("temperature", task="to_farenheit", course=COURSE)',
            "there is no task 'to_farenheit' in s01_first/temperature. Fix: did you mean 'to_fahrenheit'?",
        ),
        ('aidl_jax.check("temperature", course="/nowhere")', "this folder holds no course: given /nowhere, expected "),
    ],
)
def test_mistakes_are_told_in_one_line(
    cell: Callable[[str], Any], call: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError) as error:
        cell(call)
    assert str(error.value).startswith(expected)
    assert "\n" not in str(error.value)
    capsys.readouterr()


@pytest.mark.parametrize("ipython", ["there", "not installed"])
def test_outside_a_notebook(ipython: str, tiny: Path) -> None:
    gone = "" if ipython == "there" else "sys.modules['IPython'] = None; "
    code = f"import sys; {gone}import aidl_jax; aidl_jax.check('temperature', course={str(tiny)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "aidl_jax.errors.UsageError: aidl_jax.check(...) looks at a notebook's cells, and this is no notebook. "
        "Fix: run `aidl check` in a terminal"
    )


def test_check_is_what_the_package_offers() -> None:
    assert aidl_jax.__all__ == ["__version__", "check"]


class Classes(HTMLParser):
    """The text of elements with a class."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self.inside: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = dict(attrs).get("class")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.found.setdefault(self.inside, []).append(data.strip())
            self.inside = None


def solved(notebook: Any, solutions: list[str]) -> None:
    """Fills a session's notebook in from its solutions, and leaves the plots out."""
    import ast

    functions = {
        node.name: ast.get_source_segment(text, node)
        for text in solutions
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
    }
    for cell in notebook.cells:
        if "is still to be written" in cell.source:
            (name,) = [n.name for n in ast.parse(cell.source).body if isinstance(n, ast.FunctionDef)]
            cell.source = functions[name]
    notebook.cells = [cell for cell in notebook.cells if "matplotlib" not in cell.source and "load_" not in cell.source]


@pytest.mark.slow
@pytest.mark.oldest
def test_the_notebook_of_a_session_runs_and_passes(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    course = open_course()
    notebook = nbformat.read(course.notebook("s02_graphs"), as_version=4)
    names = [name for name in course.names() if name.startswith("s02_graphs/")]
    solved(notebook, [course.solution(name).read_text(encoding="utf-8") for name in names])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    checks = [cell for cell in notebook.cells if cell.source.startswith("aidl_jax.check(")]
    tasks = [task for name in names for task in course.exercise(name).tasks.values()]
    for task, cell in zip(tasks, checks, strict=True):
        (output,) = cell.outputs
        page = Classes(output.data["text/html"])
        assert page.found["passed"] == ["✓", "This task passes."]
        assert "failed" not in page.found
        assert f"{task.points} of {task.points} points" in output.data["text/html"]
        assert "This task passes." in output.data["text/plain"]
    assert json.dumps(notebook)  # it can be saved with its outputs


def test_a_made_check_cell_finds_the_course_of_its_workspace(
    cell: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(open_course(ROOT / "examples" / "mini_course"), tmp_path, ROOT / "examples" / "mini_course")
    made = json.loads((tmp_path / "notebooks" / "s01_first.ipynb").read_text())
    checks = ["".join(one["source"]) for one in made["cells"] if "aidl_jax.check(" in "".join(one["source"])]
    monkeypatch.chdir(tmp_path / "notebooks")
    cell(RIGHT)
    (own,) = (check for check in checks if "temperature" in check)
    assert cell(own).record.points == 1
