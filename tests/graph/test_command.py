"""`aidl graph`: a function out of a file, as a table, a page, a board; and every way to get it wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from click.testing import CliRunner
from samples import EXAMPLE, train_step

from aidl_jax import cli
from aidl_jax.graph import GraphError
from aidl_jax.graph.html import graph_page
from aidl_jax.graph.loading import opened

FILE = """\
import jax
import jax.numpy as jnp

from sibling import double

BATCH = 32
weights = {"w": jnp.ones((3, 2))}


def predict(x, p):
    return double(x @ p["w"])


def branches(x):
    if x.sum() > 0:
        return x
    return -x


def adds(x, y):
    return x + y


def optional(x, k=2):
    return x * k


def several(*xs):
    return sum(xs)


if __name__ == "__main__":
    raise SystemExit("a guard must guard")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "model.py").write_text(FILE)
    (tmp_path / "sibling.py").write_text("def double(x):\n    return x * 2\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, output and errors of `aidl graph`, through its own `main`."""
    monkeypatch.setattr(sys, "argv", ["aidl", "graph", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    shown = capsys.readouterr()
    return int(stop.value.code or 0), shown.out, shown.err


@pytest.fixture
def aidl(monkeypatch, capsys):
    return lambda *arguments: run(*arguments, monkeypatch=monkeypatch, capsys=capsys)


def test_the_table_of_the_example(aidl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shapes = ["--shapes", "params", "opt_state", "f32[?,784]", "i32[?]"]
    outputs = ["--html", "page.html", "--board", "runs/one"]
    code, out, err = aidl(f"{EXAMPLE}:train_step", *shapes, "--variables", "params", "opt_state", *outputs)
    assert (code, err) == (0, "")
    assert out.startswith(train_step().table())
    assert "tensorboard --logdir runs/one" in out
    assert Path("page.html").read_text() == graph_page(train_step())
    assert len(list(Path("runs/one").glob("events.out.tfevents.*"))) == 1
    code, out, err = aidl(f"{EXAMPLE}:init", "--shapes", "u32[2]", "--board", "runs/one")
    assert (code, out) == (2, "")
    assert "there is a run in this folder already: given --board runs/one. Fix: name a new folder" in err


@pytest.mark.oldest
def test_a_file_runs_as_a_module_beside_its_siblings_and_is_forgotten(folder):
    modules, path = dict(sys.modules), list(sys.path)
    result = CliRunner().invoke(cli.cli, ["graph", "model.py:predict", "--shapes", "f32[4,3]", "weights"])
    assert result.exit_code == 0, result.output
    assert "p/w" in result.output and "sibling.py:2" in result.output
    assert sys.path == path
    new = {name for name in sys.modules.keys() - modules.keys() if not name.startswith(("jax", "aidl_jax", "numpy"))}
    assert not {name for name in new if "sibling" in name or "model" in name}


def test_a_file_may_import_what_it_needs_while_it_is_traced(folder):
    (folder / "late.py").write_text("def fn(x):\n    from sibling import double\n    return double(x)\n")
    assert CliRunner().invoke(cli.cli, ["graph", "late.py:fn", "--shapes", "f32[]"]).exit_code == 0


def test_nothing_stays_of_a_file_that_fails(folder):
    (folder / "broken.py").write_text("import sibling\nraise ValueError('no')\n")
    path = list(sys.path)
    with pytest.raises(ValueError, match="no"), opened(folder / "broken.py"):
        pass
    assert sys.path == path and "sibling" not in sys.modules


def test_arguments_with_defaults_and_any_number_of_them(aidl, folder):
    assert aidl("model.py:optional", "--shapes", "f32[2]")[0] == 0
    assert aidl("model.py:optional", "--shapes", "f32[2]", "f32[]")[0] == 0
    assert aidl("model.py:several", "--shapes", "f32[2]", "f32[2]", "f32[2]")[0] == 0
    assert "xs/2" in aidl("model.py:several", "--shapes", "f32[2]", "f32[2]", "f32[2]")[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nope.py:f"], "there is no such Python file: given 'nope.py'. Fix: write path/to/file.py:function"),
        (["model.py"], "the function's name is missing: expected path/to/file.py:function. Fix: choose from 'adds', 'branches'"),
        (["model.py:predic"], "the file has no such function: given 'predic'. Fix: did you mean 'predict'?"),
        (["model.py:BATCH"], "this is not a function: given BATCH, int. Fix: choose from 'adds'"),
        (["model.py:adds", "--shapes", "f32[2]"], "adds takes another number of arguments: given 1 shape, expected one each for x, y."),
        (["model.py:optional", "--shapes", *["f32[]"] * 3], "optional takes another number of arguments: given 3 shapes, expected one each for x, k."),
        (["model.py:adds", "--shapes", "f32[2]", "f32(2)"], "this is not a shape: given 'f32(2)'"),
        (["model.py:predict", "--shapes", "f32[4,3]", "weight"], "the file has no arrays of that name: given 'weight'. Fix: did you mean 'weights'?"),
        (["model.py:adds", "--shapes", "f32[2]", "f32[2]", "--variables", "z"], "there is no such argument: given variables='z'"),
        (["model.py:adds", "--shapes", "f32[2]", "f32[2]", "--html", "x.txt"], "this is not a page's name: given --html x.txt. Fix: give it the ending .html"),
        (["model.py:adds", "--shapes", "f32[2]", "f32[3]"], "model.py: Two arrays have shapes that do not fit together: (2,), (3,) (line 21, in adds: return x + y). Fix:"),
        (["model.py:branches", "--shapes", "f32[2]"], "line 15, in branches: if x.sum() > 0:"),
        (["model.py:branches", "--shapes", "f32[?]"], "line 15, in branches"),
        (["model.py:adds", "--shapes", "f64[2]", "f32[2]"], "JAX would narrow a dtype without a word: given float64 for x"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(arguments, told, aidl, folder):
    code, out, err = aidl(*arguments)
    assert (code, out) == (2, "")
    assert told in err and err.count("\n") == 1
    assert "Traceback" not in err and "site-packages" not in err and "_src" not in err


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def f(x:\n", "file.py: Your code raised SyntaxError: '(' was never closed"),
        ("import nothing_of_that_name\n", "The module 'nothing_of_that_name' cannot be imported here (line 1: import"),
        ("import sys\nsys.exit(3)\n", "Your code tried to end the program (line 2: sys.exit(3))"),
        ("x = 1 / 0\n", "Your code raised ZeroDivisionError: division by zero (line 1: x = 1 / 0)"),
        (
            "def f():\n    return g()\n\ndef g():\n    raise ValueError('odd')\n",
            "odd (line 2, in f: return g() -> line 5, in g: raise",
        ),
    ],
)
def test_a_file_that_raises(source, told, aidl, folder):
    (folder / "file.py").write_text(source)
    code, out, err = aidl("file.py:f")
    assert (code, out) == (2, "")
    assert told in err


def test_the_command_starts_without_jax():
    code = "import sys, aidl_jax.cli; sys.exit(bool({'jax', 'numpy', 'jinja2', 'tensorboardX'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_opened_is_what_python_code_can_use_too(folder):
    with opened(folder / "model.py") as module:
        assert module.__name__ != "__main__" and module.BATCH == 32
        jax.eval_shape(module.predict, jnp.ones((1, 3)), module.weights)
    with pytest.raises(GraphError, match="there is no such Python file"), opened(folder):
        pass
