"""An author's source: its cells, and what students get of it."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aidl_jax.errors import CourseError
from aidl_jax.exercise.course import open_course
from aidl_jax.exercise.source import (
    BEGIN,
    END,
    SourceCell,
    cells,
    short_name,
    solved_tasks,
    student_text,
    without_solutions,
)

SOURCE = f'''\
"""A module text before the first marker belongs to no cell."""

# %% [markdown]
# # Title
#
# Text with `code` and $x$.
#     indented

# %%
import math


def area(r):
    """The area."""
    {BEGIN}
    square = r * r
    return math.pi * square
    {END}


# %% [markdown]
# %%
# %%
def volume(r):
    {BEGIN}
    def inner(x):
        return area(x) * 4

    return inner(r) / 3 * r
    {END}


print(volume(2))
'''


def test_cells() -> None:
    assert cells(SOURCE)[0] == SourceCell("markdown", "# Title\n\nText with `code` and $x$.\n    indented", 4)
    kinds = [(cell.kind, cell.line) for cell in cells(SOURCE)]
    assert kinds == [("markdown", 4), ("code", 10), ("code", 24)]  # empty cells are none
    lines = SOURCE.splitlines()
    for cell in cells(SOURCE)[1:]:
        text = cell.text.splitlines()
        first = lines.index(text[0])
        assert lines[first : first + len(text)] == text and first + 1 >= cell.line
        ast.parse(cell.text)


def test_text_without_a_marker_has_no_cells() -> None:
    assert cells("x = 1\n") == []
    assert cells("") == []


@pytest.mark.parametrize("line", ["# %% A title", "# %% [raw]", "# %%[markdown]", "# %% [Markdown]"])
def test_a_marker_that_is_none_is_not_swallowed(line: str) -> None:
    with pytest.raises(CourseError) as error:
        cells(f"# %% [markdown]\n# Text\n{line}\nx = 1\n", "solutions/s01_a/b.py")
    assert str(error.value) == (
        f"solutions/s01_a/b.py: this is not a cell marker: given {line!r}, expected `# %%` or `# %% [markdown]`"
    )


@given(st.lists(st.tuples(st.booleans(), st.from_regex(r"[a-z#]( ?[a-z#]){0,8}", fullmatch=True)), max_size=6))
def test_cells_give_back_what_was_written(given_cells: list[tuple[bool, str]]) -> None:
    parts = [f"# %% [markdown]\n# {text}\n" if is_text else f"# %%\n{text}\n" for is_text, text in given_cells]
    found = [(cell.kind == "markdown", cell.text) for cell in cells("\n".join(parts))]
    assert found == given_cells


@pytest.mark.oldest
def test_bodies_are_replaced_and_all_else_is_kept() -> None:
    made = without_solutions(SOURCE, "a.py")
    assert solved_tasks(SOURCE) == ["area", "volume"]
    expected = SOURCE.splitlines()
    first, last = (
        n for n, line in enumerate(expected) if line.strip() in (BEGIN, END) and "area" not in line and n < 20
    )
    expected[first : last + 1] = ['    raise NotImplementedError("area is still to be written")']
    first, last = (n for n, line in enumerate(expected) if line.strip() in (BEGIN, END))
    expected[first : last + 1] = ['    raise NotImplementedError("volume is still to be written")']
    assert made.splitlines() == expected
    namespace: dict[str, object] = {}
    functions = ast.Module([n for n in ast.parse(made).body if isinstance(n, ast.FunctionDef)], [])
    exec(compile(functions, "made", "exec"), namespace)
    for name in ("area", "volume"):
        with pytest.raises(NotImplementedError, match=f"^{name} is still to be written$"):
            namespace[name](1)  # type: ignore[operator]


def test_a_solution_at_the_very_end_of_a_body() -> None:
    text = f'def f(x):\n    """Doc."""\n    {BEGIN}\n    # nothing yet\n    {END}\n'
    assert without_solutions(text, "a.py") == (
        'def f(x):\n    """Doc."""\n    raise NotImplementedError("f is still to be written")\n'
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\ndef f(:\n", "a.py:2: the source is not valid Python: given "),
        (
            f"def f():\n    {BEGIN}\n    {BEGIN}\n    return 1\n    {END}\n",
            f"a.py:3: {BEGIN!r} stands inside another one",
        ),
        (f"def f():\n    return 1\n    {END}\n", f"a.py:3: {END!r} has no {BEGIN!r} before it"),
        (f"def f():\n    {BEGIN}\n    return 1\n", f"a.py:2: {BEGIN!r} has no {END!r} after it"),
        (f"{BEGIN}\nx = 1\n{END}\n", f"a.py:1: {BEGIN!r} stands outside a function. Fix: indent it into the body"),
        (
            f"def f():\n    return 1\n{BEGIN}\nx = 1\n{END}\n",
            f"a.py:3: {BEGIN!r} stands outside a function. Fix: indent it into the body",
        ),
        (
            f"class A:\n    def f(self):\n        {BEGIN}\n        return 1\n        {END}\n",
            f"a.py:3: {BEGIN!r} stands outside a function. Fix: indent it into the body",
        ),
    ],
)
def test_markers_out_of_place(text: str, expected: str) -> None:
    with pytest.raises(CourseError) as error:
        without_solutions(text, "a.py")
    assert str(error.value).startswith(expected)
    assert "\n" not in str(error.value)


def test_student_text_says_what_it_is() -> None:
    made = student_text(SOURCE, "s02_graphs/solids")
    first, second, blank, *rest = made.splitlines()
    assert first == "# Exercise s02_graphs/solids. Write the functions below; `aidl check s02/solids` says how it goes."
    assert second.startswith("# It looks at these functions and what they use;")
    assert blank == ""
    assert "\n".join(rest) + "\n" == without_solutions(SOURCE, "a.py")
    with pytest.raises(CourseError, match=r"^solutions/s02_graphs/solids\.py:1: "):
        student_text("def f(:", "s02_graphs/solids")


@pytest.mark.parametrize(("name", "short"), [("s02_graphs/lines", "s02/lines"), ("s10_a_b/c_d", "s10/c_d")])
def test_short_names_name_the_same(name: str, short: str) -> None:
    assert short_name(name) == short


def test_no_solution_is_left_in_what_students_get() -> None:
    course = open_course()
    for name in course.names():
        solution = course.solution(name).read_text(encoding="utf-8")
        made = course.student_file(name).read_text(encoding="utf-8")
        inside, lines = False, {True: set[str](), False: set[str]()}
        for line in map(str.strip, solution.splitlines()):
            inside = line == BEGIN or (inside and line != END)
            lines[inside].add(line)
        secret = lines[True] - lines[False] - {BEGIN}  # a lesson may show a line that is in the solution too
        assert secret
        assert secret & {line.strip() for line in made.splitlines()} == set()
        assert BEGIN not in made and END not in made
