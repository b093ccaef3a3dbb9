"""The graded module: what a task needs of a hand-in, and nothing else.

Where it fits, the oracle is Python itself: the graded module gives what the whole file gives.
"""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from aidl_jax.grade.extract import Cell, Extraction, extract, forbidden_use, source_lines, without_magics


def cell(text: str, label: str = "answer.py") -> Cell:
    return Cell(label, textwrap.dedent(text))


def found_in(*texts: str, tasks: tuple[str, ...] = ("f",)) -> Extraction:
    return extract([cell(text, f"cell {n}") for n, text in enumerate(texts, start=1)], tasks)


def kept(*texts: str, tasks: tuple[str, ...] = ("f",)) -> list[str]:
    """The statements of the graded module, by their first lines."""
    found = found_in(*texts, tasks=tasks)
    return [found.statements[number].text.splitlines()[0] for number in found.selected()]


def executed(found: Extraction) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "answer"}
    for number in found.selected():
        exec(found.statements[number].code, names)
    return names


def answers(*texts: str) -> list[Any]:
    """What f() gives in the whole hand-in, in its statements as compiled, and in its text."""
    whole: dict[str, Any] = {"__name__": "answer"}
    for text in texts:
        exec(compile(textwrap.dedent(text), "whole", "exec", dont_inherit=True), whole)
    found = found_in(*texts)
    again: dict[str, Any] = {"__name__": "answer"}
    exec(compile(found.text(), "text", "exec", dont_inherit=True), again)
    return [names["f"]() for names in (whole, executed(found), again)]


def test_the_last_definition_wins() -> None:
    assert kept("def f(): return 1", "def f(): return 2", "def g(): return 3") == ["def f(): return 2"]


def test_a_task_may_be_an_assignment() -> None:
    assert kept("def f(x): return 1\nf = lambda x: 2") == ["f = lambda x: 2"]


def test_a_task_that_is_not_there_is_not_needed() -> None:
    found = found_in("def f(): return 1", tasks=("f", "fit"))
    assert list(found.needed) == ["f"]


def test_an_empty_hand_in() -> None:
    found = found_in("", "# nothing")
    assert (found.statements, found.broken, found.needed, found.selected()) == ([], [], {}, [])


def test_helpers_imports_and_constants_come_along_and_nothing_else() -> None:
    assert kept(
        """
        import math
        import random
        scale = 2
        unused = 3
        def helper(x): return scale * x
        def other(x): return unused
        class Unused: pass
        def f(x): return helper(math.pi)
        """
    ) == ["import math", "scale = 2", "def helper(x): return scale * x", "def f(x): return helper(math.pi)"]


def test_document_order_is_kept_where_a_helper_comes_later() -> None:
    assert kept("def f(): return helper()\ndef helper(): return 1") == [
        "def f(): return helper()",
        "def helper(): return 1",
    ]


def test_needs_are_told_per_task() -> None:
    found = found_in("a = 1\nb = 2\ndef f(): return a\ndef g(): return b", tasks=("f", "g"))
    assert found.needed == {"f": frozenset({0, 2}), "g": frozenset({1, 3})}
    assert found.selected() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "texts",
    [
        ["x = 1\nx = x + 1\nx += 1\ndef f(): return x"],
        ["x = 1", "def f(): return x", "x = 5"],
        ["scale = 2\ntable = [scale] * 3\nscale = 5\ndef f(): return table, scale"],
        ["scale = 2\ndef make(): return [scale]\ntable = make()\nscale = 5\ndef f(): return table"],
        ["scale = 2\ntable = list(map(lambda i: i * scale, range(3)))\nscale = 5\ndef f(): return table"],
        ["scale = 2\ntable = [i * scale for i in range(3)]\nscale = 5\ndef f(): return table"],
        ["scale = 2\nclass Box:\n    size = scale\nscale = 5\ndef f(): return Box.size"],
        ["scale = 2\nclass Box:\n    sizes = [i * scale for i in range(3)]\nscale = 5\ndef f(): return Box.sizes"],
        ["scale = 2\ndef g(s=scale): return s\nscale = 5\ndef f(): return g()"],
        ["def g(): return 1\nf = lambda: g()\ndef g(): return 2"],
        ["def g(): return 1\nh = g\ndef g(): return 2\ndef f(): return h(), g()"],
        ["def g(): return 1\ndef call(): return g()\nh = call\ndef g(): return 2\ndef f(): return h()"],
        ["def g(): return 1\ndef call(): return g()\nseen = call()\ndef g(): return 2\ndef f(): return seen, call()"],
        ["def f(): return 1\n_old = f\ndef f(): return _old() + 1"],
        ["def f(n=3): return 1 if n == 0 else n * f(n - 1)"],
        ["def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n > 0 and even(n - 1)\ndef f(): return even(7)"],
        ["import functools\n@functools.cache\ndef g(x): return x\ndef f(): return g(3)"],
        ["def twice(g): return lambda: 2 * g()\n@twice\ndef f(): return 3"],
        ["try:\n    import no_such_module as m\nexcept ImportError:\n    import math as m\ndef f(): return m.pi"],
        ["if 1 > 0:\n    size = 3\nelse:\n    size = 4\ndef f(): return size"],
        ["for i in range(3):\n    last = i\ndef f(): return last, i"],
        ["a, (b, *c) = 1, (2, 3, 4)\ndef f(): return c"],
        ["count = 0\ndef bump():\n    global count\n    count += 1\n    return count\ndef f(): return bump() + bump()"],
        ["class A:\n    def m(self): return B().n()\nclass B:\n    def n(self): return 7\ndef f(): return A().m()"],
        ["class A:\n    x: int = 1\n    y = [x]\ndef f(): return A.y"],
        ["base = 2\nclass A:\n    base = base\ndef f(): return A.base"],
        ["import os.path\ndef f(): return os.path.join('a', 'b')"],
        ["from os.path import *\ndef f(): return join('a', 'b')"],
        ["from math import *\nvalues = [sqrt(4)]\ndef f(): return values, floor(2.5)"],
        ["x: int = 3\ndef f(): return x"],
        ["def f():\n    def inner(): return helper\n    return inner()()\ndef helper(): return 9"],
        ["n = 3\ndef f(): return [i * n for i in range(n)], {k: n for k in 'ab'}, sum(i for i in range(n))"],
        ["async def g(): return 4\ndef f():\n    try: g().send(None)\n    except StopIteration as e: return e.value"],
    ],
)
def test_the_graded_module_computes_what_the_whole_hand_in_does(texts: list[str]) -> None:
    whole, compiled, text = answers(*texts)
    assert compiled == whole
    assert text == whole


def test_a_redefined_helper_is_there_once() -> None:
    assert kept("def g(): return 1", "def f(): return g()", "def g(): return 2") == [
        "def f(): return g()",
        "def g(): return 2",
    ]


@pytest.mark.parametrize(
    "experiment",
    [
        "boom()",
        "print(f())",
        "f() + 1",
        "[boom() for _ in range(3)]",
        "x.append(1)",
        "'a docstring'",
        "assert boom()",
        "del x",
        "while boom(): pass",
        "result = boom()",
        "if __name__ == '__main__':\n    f = boom()",
        "if '__main__' == __name__:\n    x = boom()",
        "with boom() as file: data = file.read()",
        "for step in range(3): boom()",
    ],
)
def test_experiments_are_not_run(experiment: str) -> None:
    assert kept("x = []\ndef f(): return x", experiment) == ["x = []", "def f(): return x"]


@pytest.mark.parametrize(
    "function",
    [
        "def f(scale): return scale",
        "def f():\n    scale = 1\n    return scale",
        "def f(*scale, **other): return scale",
        "def f(): return [scale for scale in range(3)]",
        "def f():\n    for scale in range(3): pass\n    return scale",
        "def f(x): return x.scale",
        "def f(x): return x(scale=1)",
        "def f():\n    import math as scale\n    return scale",
        "def f():\n    def g():\n        nonlocal scale\n        scale = 2\n    scale = 1",
        "class f:\n    scale = 1\n    def other(self): return self.scale",
        "class f:\n    def scale(self): return 1",
        "f = lambda scale: scale",
    ],
)
def test_a_local_name_does_not_pull_in_a_constant_of_that_name(function: str) -> None:
    assert kept("scale = boom()", function) == [function.splitlines()[0]]


def test_a_global_that_a_function_stores_keeps_its_first_value() -> None:
    assert kept("last = None\ndef f():\n    global last\n    last = 1") == ["last = None", "def f():"]


def test_decorators_defaults_and_annotations_are_needed() -> None:
    assert kept("import a\nimport b\nimport c\n@a.jit\ndef f(x: c.T = b.y): return x") == [
        "import a",
        "import b",
        "import c",
        "@a.jit",
    ]


def test_future_annotations_are_not_evaluated() -> None:
    found = found_in("from __future__ import annotations\ndef f(x: not_there) -> nor_this: return x")
    assert executed(found)["f"](3) == 3
    assert found.text().startswith("from __future__ import annotations\n\ndef f")


def test_future_annotations_hold_for_their_cell_alone() -> None:
    found = found_in("from __future__ import annotations\ndef g(x: not_there): return x", "def f(x: int): return g(x)")
    names = executed(found)
    assert names["f"].__annotations__ == {"x": int}
    assert names["g"].__annotations__ == {"x": "not_there"}


def test_magics_are_dropped_and_line_numbers_kept() -> None:
    found = found_in("%pip install jax\n!ls\nimport math\n  %time x\nmath.pi?\ndef f(): return math.pi")
    assert found.broken == []
    assert [found.statements[n].node.lineno for n in found.selected()] == [3, 6]
    assert executed(found)["f"]() > 3


def test_a_cell_that_is_a_magic_is_dropped_whole() -> None:
    assert kept("%%bash\ndef f(): return 2", "def f(): return 1") == ["def f(): return 1"]


def test_percent_signs_of_python_are_no_magics() -> None:
    whole, compiled, text = answers("def f():\n    return (7\n    % 4)")
    assert whole == compiled == text == 3


def test_magics_are_blanked_line_by_line() -> None:
    assert without_magics("%pip install jax\n  !ls\ny = 1 % 2\nprint?") == "\n\ny = 1 % 2\n"


@pytest.mark.parametrize(
    ("text", "line", "source_line"),
    [
        ("def f(:\n    return 1", 1, "def f(:"),
        ("x = 1\n\n    y = 2", 3, "y = 2"),
        ("x = 1\nreturn x", 2, "return x"),
        ("%pip install jax\nx = (1\n", 2, "x = (1"),
    ],
)
def test_a_broken_cell_says_where(text: str, line: int, source_line: str) -> None:
    (broken,) = found_in(text).broken
    assert (broken.cell.label, broken.line, broken.source_line) == ("cell 1", line, source_line)
    assert broken.message


def test_a_broken_cell_breaks_no_other() -> None:
    found = found_in("def f(): return 1", "def g(:", "def h(): return f()", tasks=("f", "g", "h"))
    assert [broken.cell.label for broken in found.broken] == ["cell 2"]
    assert sorted(found.needed) == ["f", "h"]


@pytest.mark.parametrize(
    "text",
    [
        "def f(): return 1\0",
        "x = " + "(" * 5000 + ")" * 5000,
        "x = " + "-" * 200_000 + "1",
        "x = " + "[" * 150 + "]" * 150 + "\n" + "if x:\n" * 3,
        "\ufeff\ufeffdef f(): return 1",
        "x = '\ud800'",
    ],
)
def test_what_python_cannot_read_is_a_broken_cell(text: str) -> None:
    found = found_in(text, "def f(): return 2")
    (broken,) = found.broken
    assert broken.message
    assert isinstance(broken.source_line, str)
    assert executed(found)["f"]() == 2


def test_null_bytes_are_named() -> None:
    (broken,) = found_in("x = 1\0").broken
    assert "null bytes" in broken.message


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("def f():  # why\n    # inside\n    return 1  # so", None),
        ("@staticmethod\n@staticmethod\ndef f():\n    return 1", None),
        ("f = (1,\n     2)  # a comment stays", None),
        ("x = 1; f = 2", "f = 2"),
        ("f = 1; x = 2", "f = 1"),
        ("f = 'é'; x = 2", "f = 'é'"),
        ("x = 'é'; f = 2", "f = 2"),
        ("f = 'éé';", "f = 'éé'"),
        ("def f():\n    return 'é'; x = 1", None),
        ("f = '''a\n  b'''", None),
        ("class f:\n    '''Text.'''\n\n    x = 1", None),
    ],
)
def test_a_statement_is_shown_as_it_was_written(statement: str, text: str | None) -> None:
    found = extract([Cell("a.py", f"\n\n{statement}\n\n# after\n")], ["f"])
    assert found.text() == (text or statement) + "\n"


def test_the_text_has_statements_with_a_line_between() -> None:
    assert found_in("import math\nprint(1)\nx = 2\n\n\n\ndef f(): return x * math.pi").text() == (
        "import math\n\nx = 2\n\ndef f(): return x * math.pi\n"
    )


@pytest.mark.parametrize("separator", ["\x0c", "\x0b", "\x1c", "\x85", "\u2028", "\u2029"])
def test_only_newlines_end_lines(separator: str) -> None:
    found = extract([Cell("a.py", f"# one{separator}comment\nimport optax\ndef f():\n    return optax\n")], ["f"])
    assert found.text() == "import optax\n\ndef f():\n    return optax\n"
    use = forbidden_use(found, "f", ["optax"])
    assert use is not None
    assert (use.line, use.text) == (2, "import optax")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_kind_of_newline_ends_a_line(newline: str) -> None:
    assert source_lines(f"a{newline}{newline}b") == ["a", "", "b"]
    found = extract([Cell("a.py", newline.join(["x = 1", "def f():", "    return x"]))], ["f"])
    assert found.text() == "x = 1\n\ndef f():\n    return x\n"


@pytest.mark.parametrize(
    ("definition", "parameters"),
    [
        ("def f(params, x): pass", ["params", "x"]),
        ("def f(a, /, b, *c, d=1, **e): pass", ["a", "b"]),
        ("def f(): pass", []),
        ("f = lambda x: x", []),
        ("def g(a): pass", []),
    ],
)
def test_a_signature_is_read(definition: str, parameters: list[str]) -> None:
    assert found_in(definition).signature("f") == parameters


def test_the_signature_is_that_of_the_last_definition() -> None:
    assert found_in("def f(a): pass\nold = f\ndef f(b): return old(b)").signature("f") == ["b"]


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        ("import jax\ndef f(x): return jax.grad(abs)(x)", "jax.grad", 2),
        ("import jax as j\ndef f(x):\n    return j.grad(abs)(x)", "jax.grad", 3),
        ("from jax import grad\ndef f(x): return grad(abs)(x)", "jax.grad", 1),
        ("from jax import grad as g\ndef f(x): return g(abs)(x)", "jax.grad", 1),
        ("from jax import *\ndef f(x): return grad(abs)(x)", "jax.grad", 1),
        ("try:\n    from jax import *\nexcept ImportError:\n    grad = None\ndef f(x): return grad(x)", "jax.grad", 2),
        ("from optax import *\ndef f(x): return sgd(x)", "optax", 1),
        ("import optax\ndef f(x): return optax.sgd(x)", "optax", 1),
        ("import optax.losses as o\ndef f(x): return o.l2_loss(x)", "optax", 1),
        ("from optax.losses import l2_loss\ndef f(x): return l2_loss(x)", "optax", 1),
        ("def f(x):\n    import optax\n    return x", "optax", 2),
        ("def f(x):\n    from jax import grad\n    return x", "jax.grad", 2),
        ("import jax.numpy as jnp\ndef f(x): return jnp.linalg.solve(x, x)", "jax.numpy.linalg.solve", 2),
        ("from jax import numpy\ndef f(x): return numpy.linalg.solve(x, x)", "jax.numpy.linalg.solve", 2),
        ("from jax.numpy import linalg as la\ndef f(x): return la.solve(x, x)", "jax.numpy.linalg.solve", 2),
        ("import jax\ng = jax.grad\ndef f(x): return g(abs)(x)", "jax.grad", 2),
        ("import jax\ndef helper(x): return jax.grad(abs)(x)\ndef f(x): return helper(x)", "jax.grad", 2),
        ("import jax\n@jax.grad\ndef f(x): return x", "jax.grad", 2),
        ("import aidl_jax.course.s02_graphs\ndef f(x): return aidl_jax", "aidl_jax.course", 1),
        ("def f(x):\n    from aidl_jax.exercise import compare\n    return x", "aidl_jax.exercise", 2),
        ("def f(x):\n    from aidl_jax import grade\n    return x", "aidl_jax.grade", 2),
    ],
)
def test_a_forbidden_use_is_found(text: str, name: str, line: int) -> None:
    use = forbidden_use(found_in(text), "f", ["jax.grad", "optax", "jax.numpy.linalg.solve"])
    assert use is not None
    assert (use.name, use.label, use.line) == (name, "cell 1", line)
    assert use.text == text.splitlines()[line - 1].strip()


@pytest.mark.parametrize(
    "text",
    [
        "import jax\ndef f(x): return jax.jit(abs)(x)",
        "import jax\ndef f(x): return x\ncheck = jax.grad(f)(1.0)",
        "import jax\ndef g(x): return jax.grad(abs)(x)\ndef f(x): return x",
        "import jax\ndef f(x): return jax.grad(x)\ndef f(x): return x",
        "import jax\ndef f(x): return x\nif __name__ == '__main__':\n    jax.grad(f)",
        "import optax\ndef f(x): return x",
        "def f(grad): return grad(1)",
        "def grad(x): return x\ndef f(x): return grad(x)",
        "import jax\ndef f(x): return x.grad",
        "import jax\ndef f(x): return jax.gradient(x)",
        "import optaxes\ndef f(x): return optaxes.sgd(x)",
        "from math import *\ndef f(x): return sqrt(x)",
        "def f(x): return 'jax.grad'  # jax.grad",
        "from aidl_jax import autodiff\ndef f(x): return autodiff",
    ],
)
def test_other_uses_are_allowed(text: str) -> None:
    assert forbidden_use(found_in(text), "f", ["jax.grad", "optax"]) is None


def test_a_forbidden_use_counts_for_the_tasks_that_need_it() -> None:
    found = found_in("import jax", "def helper(x): return jax.grad(abs)(x)", "def f(x): return x\ndef g(x): return helper(x)",
                     tasks=("f", "g"))  # fmt: skip
    use = forbidden_use(found, "g", ["jax.grad"])
    assert use is not None
    assert (use.label, use.line) == ("cell 2", 1)
    assert forbidden_use(found, "f", ["jax.grad"]) is None
    assert forbidden_use(found, "missing", ["jax.grad"]) is None


def test_compiled_statements_keep_the_lines_of_the_hand_in() -> None:
    found = found_in("x = 1\n\n\ndef f():\n    return 1 / 0")
    with pytest.raises(ZeroDivisionError) as raised:
        executed(found)["f"]()
    last = raised.traceback[-1]
    assert (str(last.path), last.lineno + 1) == ("cell 1", 5)


def test_a_long_chain_is_followed_to_its_start() -> None:
    found = found_in("x = 0\n" + "x = x + 1\n" * 200 + "def f(): return x")
    assert len(found.selected()) == 202
    assert executed(found)["f"]() == 200


def test_reading_a_hand_in_runs_nothing_of_it() -> None:
    found = found_in("raise SystemExit('ran')\nimport no_such_module\nx = 1 / 0\ndef f(): return no_such_module, x")
    assert len(found.selected()) == 3


def test_a_statement_that_changes_a_constant_belongs_to_it() -> None:
    text = "config = {}\nconfig['rate'] = 0.5\nother = {}\nother['x'] = 1\ndef f(x): return x * config['rate']\nf.seen = 0\n"
    found = extract([Cell("a.py", text)], ["f"])
    assert found.text() == "config = {}\n\nconfig['rate'] = 0.5\n\ndef f(x): return x * config['rate']\n\nf.seen = 0\n"


def test_a_timed_cell_is_still_python() -> None:
    found = extract(
        [Cell("cell 1", "%%time\ndef f(x):\n    return x"), Cell("cell 2", "%%bash\ndef g(x): ...")], ["f", "g"]
    )
    assert sorted(found.needed) == ["f"]
    assert found.broken == []
