"""An author's source and what is made of it: the student's file and its cells.

The source is a Python script in the percent format (https://jupytext.readthedocs.io/en/latest/formats-scripts.html):
`# %% [markdown]` opens a text cell, `# %%` a code cell. In a graded function the lines from
`### BEGIN SOLUTION` to `### END SOLUTION` are replaced by a `raise NotImplementedError` that names the task.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Literal

from aidl_jax.errors import CourseError

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
CELL = re.compile(r"^# %%(?P<markdown> \[markdown\])?\s*$")


@dataclass(frozen=True)
class SourceCell:
    """One cell of a percent-format script.

    Attributes:
        kind: "markdown" or "code".
        text: its text; a Markdown cell's without the comment signs.
        line: the number of its first line in the file.
    """

    kind: Literal["markdown", "code"]
    text: str
    line: int


def cells(text: str, where: str = "the source") -> list[SourceCell]:
    """The cells of a percent-format script; lines before the first marker belong to none.

    `where` is the file for messages.

    Raises:
        CourseError: a marker of another kind, which would silently end up inside a cell.

    >>> [(cell.kind, cell.text) for cell in cells("# %% [markdown]\\n# # Title\\n#\\n# Text.\\n# %%\\nx = 1\\n")]
    [('markdown', '# Title\\n\\nText.'), ('code', 'x = 1')]
    """
    found: list[SourceCell] = []
    kind: Literal["markdown", "code"] | None = None
    lines: list[str] = []
    first = 1

    def close() -> None:
        if kind is not None:
            body = [re.sub(r"^# ?", "", line) for line in lines] if kind == "markdown" else lines
            content = "\n".join(body).strip("\n")
            if content:
                found.append(SourceCell(kind, content, first))

    for number, line in enumerate(text.splitlines(), start=1):
        marker = CELL.match(line)
        if marker:
            close()
            kind, lines, first = "markdown" if marker["markdown"] else "code", [], number + 1
        elif line.startswith("# %%"):
            raise CourseError("this is not a cell marker", where=where, given=repr(line),
                              expected="`# %%` or `# %% [markdown]`")  # fmt: skip
        else:
            lines.append(line)
    close()
    return found


def student_text(solution: str, name: str) -> str:
    """The file that students edit: the solution's bodies taken out, a first line that says what it is.

    Args:
        solution: the author's source.
        name: the exercise's name, `s02_graphs/linear_regression`.

    Raises:
        CourseError: markers that are not balanced or stand outside a function; a source that Python cannot read.
    """
    head = (
        f"# Exercise {name}. Write the functions below; `aidl check {short_name(name)}` says how it goes.\n"
        "# It looks at these functions and what they use; run the file itself to see your prints and the plots.\n\n"
    )
    return head + without_solutions(solution, f"solutions/{name}.py")


def short_name(name: str) -> str:
    """The form of an exercise's name that is shown in commands.

    >>> short_name("s02_graphs/linear_regression")
    's02/linear_regression'
    """
    session, _, exercise = name.partition("/")
    return f"{session.partition('_')[0]}/{exercise}"


def without_solutions(text: str, where: str) -> str:
    """The text with every marked body replaced; `where` is the file for messages."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise CourseError("the source is not valid Python", where=f"{where}:{error.lineno}", given=error.msg) from None
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    made: list[str] = []
    begin: int | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped == BEGIN:
            if begin is not None:
                raise CourseError(f"{BEGIN!r} stands inside another one", where=f"{where}:{number}")
            begin = number
            made.append(_not_implemented(functions, number, line, where))
        elif stripped == END:
            if begin is None:
                raise CourseError(f"{END!r} has no {BEGIN!r} before it", where=f"{where}:{number}")
            begin = None
        elif begin is None:
            made.append(line)
    if begin is not None:
        raise CourseError(f"{BEGIN!r} has no {END!r} after it", where=f"{where}:{begin}")
    return "\n".join(made) + "\n"


def _not_implemented(functions: list[ast.FunctionDef], number: int, line: str, where: str) -> str:
    for function in functions:
        if line[0].isspace() and function.lineno <= number <= (function.end_lineno or 0) + 1:
            indent = line[: len(line) - len(line.lstrip())]
            return f'{indent}raise NotImplementedError("{function.name} is still to be written")'
    raise CourseError(f"{BEGIN!r} stands outside a function", where=f"{where}:{number}", fix="indent it into the body")


def solved_tasks(text: str) -> list[str]:
    """The functions whose bodies are marked as solutions, in order."""
    made = without_solutions(text, "source")
    return re.findall(r'raise NotImplementedError\("(\w+) is still to be written"\)', made)
