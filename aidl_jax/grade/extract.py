"""The graded module: the part of a hand-in that its tasks need, and nothing else.

For each task: its last definition in document order, and the imports, helpers and constants that
definition uses, found by walking the names that the compiled code loads. Experiments, plots, prints
and `if __name__ == "__main__":` blocks are never run. Everything here reads code; nothing runs it.
"""

from __future__ import annotations
import __future__

import ast
import dis
import functools
import inspect
import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

AROUND_PYTHON = ("%%time", "%%timeit", "%%capture", "%%prun")  # cell magics whose cell is Python
ALWAYS_FORBIDDEN = ("aidl_jax.course", "aidl_jax.exercise", "aidl_jax.grade")
COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")


@dataclass(frozen=True)
class Cell:
    """A piece of a hand-in: a whole `.py` file, or one code cell of a notebook."""

    label: str
    text: str


@dataclass(frozen=True)
class Statement:
    """One top-level statement.

    Attributes:
        cell, node: where it stands, and its syntax tree.
        defines: the global names that it stores; "*" where it imports everything from a module.
        uses_now: the global names that it loads while it runs: in decorators, defaults, a class's body.
        uses_later: those that the functions inside it use when they are called.
        flags: the compiler flags of the `from __future__` imports before it.
    """

    cell: Cell
    node: ast.stmt
    defines: frozenset[str]
    uses_now: frozenset[str]
    uses_later: frozenset[str]
    flags: int

    @functools.cached_property
    def code(self) -> types.CodeType:
        """Its code; line numbers and file name are those of the hand-in."""
        return _compile(self.node, self.cell.label, self.flags)

    @property
    def text(self) -> str:
        """Its source, decorators and comments inside it included."""
        lines = source_lines(self.cell.text)
        first = min([self.node.lineno, *(d.lineno for d in getattr(self.node, "decorator_list", []))])
        alone = not lines[first - 1][: self.node.col_offset].strip() if first == self.node.lineno else True
        tail = lines[(self.node.end_lineno or first) - 1].encode()[self.node.end_col_offset or 0 :].decode().strip()
        if alone and (not tail or tail.startswith("#")):
            return "\n".join(lines[first - 1 : self.node.end_lineno])
        return ast.unparse(self.node)


@dataclass(frozen=True)
class BrokenCell:
    """A cell that Python cannot read."""

    cell: Cell
    line: int
    message: str

    @property
    def source_line(self) -> str:
        """The line it stops at."""
        lines = source_lines(self.cell.text)
        return lines[self.line - 1].strip() if 0 < self.line <= len(lines) else ""


@dataclass
class Extraction:
    """The statements of a hand-in and what each task needs of them.

    Attributes:
        statements: every top-level statement that could be needed, in document order.
        broken: cells that could not be read.
        needed: for each task that is defined, the numbers of the statements it needs.
    """

    statements: list[Statement] = field(default_factory=list)
    broken: list[BrokenCell] = field(default_factory=list)
    needed: dict[str, frozenset[int]] = field(default_factory=dict)

    def selected(self) -> list[int]:
        """The numbers of all needed statements, in document order."""
        return sorted(frozenset[int]().union(*self.needed.values()))

    def text(self) -> str:
        """The graded module as one Python file."""
        parts = [self.statements[number] for number in self.selected()]
        future = ["from __future__ import annotations"] if any(p.flags for p in parts) else []
        return "\n\n".join([*future, *(part.text for part in parts)]) + "\n"

    def definition(self, task: str) -> Statement | None:
        """A task's last definition."""
        last = _last_definition(self.statements, task, len(self.statements))
        return None if last is None else self.statements[last]

    def signature(self, task: str) -> list[str]:
        """The parameter names of a task's last definition, as far as they can be read."""
        found = self.definition(task)
        if found is None or not isinstance(found.node, ast.FunctionDef):
            return []
        arguments = found.node.args
        return [a.arg for a in [*arguments.posonlyargs, *arguments.args]]


def extract(cells: Iterable[Cell], tasks: Iterable[str]) -> Extraction:
    """Reads a hand-in and finds what each task needs.

    >>> cells = [Cell("answer.py", "import math\\nscale = 2\\nprint('hello')\\ndef area(r): return scale * math.pi * r")]
    >>> found = extract(cells, ["area", "volume"])
    >>> [found.statements[n].text for n in found.selected()]
    ['import math', 'scale = 2', 'def area(r): return scale * math.pi * r']
    >>> sorted(found.needed)
    ['area']
    """
    found = Extraction()
    for cell in cells:
        tree = _parse(cell)
        if isinstance(tree, BrokenCell):
            found.broken.append(tree)
        else:
            found.statements += _statements(cell, tree)
    for task in tasks:
        last = _last_definition(found.statements, task, len(found.statements))
        if last is not None:
            found.needed[task] = frozenset(_closure(found.statements, last))
    return found


def _parse(cell: Cell) -> ast.Module | BrokenCell:
    broken: BrokenCell | None = None
    for text in (cell.text, without_magics(cell.text)):
        try:
            tree = ast.parse(text, cell.label)
            compile(tree, cell.label, "exec", dont_inherit=True)
            return tree
        except SyntaxError as error:
            broken = BrokenCell(cell, error.lineno or 0, error.msg)
        except (ValueError, RecursionError, MemoryError) as error:  # null bytes; absurd nesting
            broken = BrokenCell(cell, 0, str(error) or type(error).__name__)
    assert broken is not None
    return broken  # what is wrong without the magics


def without_magics(text: str) -> str:
    """A notebook cell without IPython's magics, line numbers kept.

    >>> without_magics("%pip install jax\\nx = 1\\n!ls")
    '\\nx = 1\\n'
    """
    if text.lstrip().startswith("%%") and not text.lstrip().startswith(AROUND_PYTHON):
        return ""
    lines = (
        "" if line.lstrip().startswith(("%", "!")) or line.rstrip().endswith("?") else line
        for line in source_lines(text)
    )
    return "\n".join(lines)


def source_lines(text: str) -> list[str]:
    """The lines as Python counts them: a form feed or a Unicode line separator ends none.

    >>> source_lines("a\\x0cb\\r\\nc")
    ['a\\x0cb', 'c']
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _statements(cell: Cell, tree: ast.Module) -> Iterator[Statement]:
    flags = 0
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            if any(alias.name == "annotations" for alias in node.names):
                flags = __future__.annotations.compiler_flag
            continue
        if isinstance(node, ast.Expr) or _is_main_block(node):
            continue
        defines, now, later = _names(_compile(node, cell.label, flags))
        if any(isinstance(part, ast.alias) and part.name == "*" for part in ast.walk(node)):
            defines.add("*")
        defines |= _changed(node)
        yield Statement(cell, node, frozenset(defines), frozenset(now), frozenset(later), flags)


def _changed(node: ast.stmt) -> set[str]:
    """The names that a statement such as `config["rate"] = 0.1` or `f.table = t` changes: as good as defined anew."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    found = set()
    for target in targets:
        while isinstance(target, ast.Subscript | ast.Attribute):
            target = target.value
            if isinstance(target, ast.Name):
                found.add(target.id)
    return found


def _is_main_block(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and any(isinstance(n, ast.Name) and n.id == "__name__" for n in ast.walk(node.test))


def _compile(node: ast.stmt, label: str, flags: int) -> types.CodeType:
    return compile(ast.Module([node], []), label, "exec", flags=flags, dont_inherit=True)


def _names(code: types.CodeType) -> tuple[set[str], set[str], set[str]]:
    """Global names that code stores, those it loads while it runs, and those that functions inside it use."""
    defines: set[str] = set()
    now: set[str] = set()
    later: set[str] = set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("STORE_NAME", "STORE_GLOBAL"):
            defines.add(instruction.argval)
        elif instruction.opname in ("LOAD_NAME", "LOAD_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"):
            now.add(instruction.argval)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            inner_defines, inner_now, inner_later = _names(inner)
            is_class = not inner.co_flags & inspect.CO_OPTIMIZED  # what its body stores are its attributes
            if is_class or inner.co_name in COMPREHENSIONS:
                now, later = now | inner_now, later | inner_later
            else:  # a name stored by an inner `global` must exist before
                later |= inner_defines | inner_now | inner_later
    return defines, now, later


def _last_definition(statements: Sequence[Statement], name: str, before: int) -> int | None:
    return next((n for n in reversed(range(before)) if name in statements[n].defines), None)


def _closure(statements: Sequence[Statement], start: int) -> set[int]:
    """A statement and all it needs: the definition of each name that stands when the name is used.

    While a statement runs, that is the last definition before it (`x = x + 1`); in a function, the last
    one before the call: the end of the hand-in for a task, `table = make_table()` for `make_table`.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [(start, len(statements))]
    while waiting:
        number, call = waiting.pop()
        if (number, call) in seen:
            continue
        seen.add((number, call))
        statement = statements[number]
        only_defines = isinstance(statement.node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for name in statement.uses_now | (frozenset() if only_defines else statement.uses_later):
            for found in _definitions(statements, name, number):
                waiting += [(found, number), (found, call)]
        for name in statement.uses_later:
            waiting += [(found, call) for found in _definitions(statements, name, call)]
    return {number for number, _ in seen}


def _definitions(statements: Sequence[Statement], name: str, before: int) -> list[int]:
    """The last definition of a name, or else every star import that may have brought it."""
    last = _last_definition(statements, name, before)
    return [last] if last is not None else [n for n in range(before) if "*" in statements[n].defines]


@dataclass(frozen=True)
class ForbiddenUse:
    """A visible use of a name that the exercise forbids."""

    name: str
    label: str
    line: int
    text: str


def forbidden_use(found: Extraction, task: str, forbidden: Iterable[str]) -> ForbiddenUse | None:
    """The first visible use of a forbidden name in what a task needs, or None.

    >>> cells = [Cell("a.py", "from jax import grad as g\\ndef f(x): return g(abs)(x)")]
    >>> forbidden_use(extract(cells, ["f"]), "f", ["jax.grad"]).line
    1
    """
    names = (*forbidden, *ALWAYS_FORBIDDEN)
    aliases: dict[str, str] = {}
    for number in sorted(found.needed.get(task, ())):
        statement = found.statements[number]
        for path, node in _dotted_uses(statement.node, aliases):
            hit = next((name for name in names if path == name or path.startswith(name + ".")), None)
            if hit is None and path.endswith(".*"):  # a star import may bring a forbidden name along
                hit = next((name for name in names if name.startswith(path[:-1])), None)
            if hit is not None:
                line = source_lines(statement.cell.text)[node.lineno - 1].strip()
                return ForbiddenUse(hit, statement.cell.label, node.lineno, line)
    return None


def _dotted_uses(statement: ast.stmt, aliases: dict[str, str]) -> Iterator[tuple[str, ast.stmt | ast.expr]]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield f"{node.module}.{alias.name}", node
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute | ast.Name):
            path = _dotted(node, aliases)
            if path is not None:
                yield path, node


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return aliases.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, aliases)
        return owner and f"{owner}.{node.attr}"
    return None
