"""A graph as a plain-text table: an operation a line, grouped by scope, no wider than a screen."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax

from aidl_jax.errors import GraphError, close_matches
from aidl_jax.graph.nodes import Operation
from aidl_jax.graph.telling import count, headline, label, line, note, results
from aidl_jax.graph.tree import Scope, open_scopes, scope_tree

if TYPE_CHECKING:
    from aidl_jax.graph.graph import Graph

__all__ = ["table"]

WIDTH = 120
HEADINGS = ("operation", "type", "inputs", "output", "source")
WIDEST = (38, 20, WIDTH, 28, 18)


class Row(NamedTuple):
    """One line: how deep it stands, its cells, its scope, and how many operations it stands for without showing them."""

    depth: int
    name: str
    type: str = ""
    inputs: Sequence[str] = ()
    outputs: Sequence[str] = ()
    source: str = ""
    scope: str = ""
    hidden: int = 0

    @property
    def indented(self) -> str:
        """The name as it is shown."""
        return "  " * self.depth + self.name


def table(graph: Graph, scope: str = "", limit: int | None = None) -> str:
    """The operations with types, inputs, outputs and source lines, grouped by scope.

    Args:
        graph: what is shown.
        scope: only this scope, `gradients/layer1` or `rnn/scan/body`; everything if empty.
        limit: how many lines to show at most; where there are more, inner scopes are closed and counted.

    Raises:
        GraphError: there is no such scope.
    """
    scopes = {one.name: one for one in scope_tree(graph).walk()}
    start = scopes.get(scope.strip("/"))
    if start is None:
        raise GraphError("there is no such scope", given=repr(scope), fix=close_matches(scope, filter(None, scopes)))
    rows = _within(start, limit)
    text = textwrap.wrap(headline(graph), WIDTH, subsequent_indent="  ")
    text += [*([f"in {start.name}/: {count(start.size, 'operations')}"] if start.name else []), ""]
    text += _lines(rows)
    text.append("")
    for remark in _footer(graph, rows, "\n".join(text)):
        text += textwrap.wrap(remark, WIDTH, subsequent_indent="  ")
    return "\n".join(line.rstrip() for line in text)


def _within(start: Scope, limit: int | None) -> list[Row]:
    """As many scopes open as there is room for; at the least the beginning of the outermost."""
    rows = list(_rows(start, open_scopes(start, limit)))
    if limit is None or len(rows) <= limit:
        return rows
    cut = sum(row.hidden or bool(row.type) for row in rows[limit:])
    return [*rows[:limit], Row(0, f"... and {cut} more", hidden=cut)]


def _rows(scope: Scope, opened: Collection[Scope], depth: int = 0) -> Iterator[Row]:
    for item in scope.items:
        if isinstance(item, Operation):
            yield _row(scope, item, depth)
            continue
        deeper = depth + item.is_body
        if item in opened:
            yield Row(deeper, item.title)
            yield from _rows(item, opened, deeper + 1)
        else:
            told = f"... {count(item.size, 'operations')}"
            yield Row(deeper, item.title, told, scope=item.name, hidden=item.size)


def _row(scope: Scope, operation: Operation, depth: int) -> Row:
    name = scope.short(operation) + (" *" if operation.custom else "")
    given = [label(operand, scope.graph) for operand in operation.operands]
    return Row(depth, name, operation.type, given, results(operation), line(operation), scope.path)


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    """Each row's cells under the headings; a name too long for its column stands on a line of its own."""
    widths = _widths(rows)
    yield _line(HEADINGS, widths)
    yield _line(["-" * width for width in widths], widths)
    for row in rows:
        if row.hidden:
            yield f"{row.indented}  {row.type}"
            continue
        cells = [row.indented, _ending(row.type, widths[1]), _names(row, widths[2])]
        cells += [_list(row.outputs, widths[3]), _ending(row.source, widths[4])]
        if len(row.indented) > widths[0]:
            yield row.indented
            cells[0] = ""
        yield _line(cells, widths)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))


def _widths(rows: Sequence[Row]) -> list[int]:
    """As wide as the longest cell, up to a limit; the inputs get what is left."""
    shown = [row for row in rows if not row.hidden]
    cells = [(row.indented, row.type, ", ".join(row.inputs), ", ".join(row.outputs), row.source) for row in shown]
    columns = zip(HEADINGS, *cells, strict=True)
    natural = [min(max(map(len, column)), widest) for column, widest in zip(columns, WIDEST, strict=True)]
    rest = WIDTH - (sum(natural) - natural[2]) - 2 * (len(natural) - 1)
    natural[2] = min(natural[2], rest)
    return natural


def _names(row: Row, width: int) -> str:
    """The inputs in one cell, shortened as far as needed: the row's own scope to `.`, then inner and outer scopes."""
    here = [
        f"./{name.rpartition('/')[2]}" if name.rpartition("/")[0] == row.scope != "" else name for name in row.inputs
    ]
    inner = [f"{name.split('/')[0]}/…/{name.rpartition('/')[2]}" if name.count("/") > 1 else name for name in here]
    outer = [f"…/{name.rpartition('/')[2]}" if "/" in name and name[0] != "." else name for name in here]
    for names in (row.inputs, here, inner, outer):
        text = ", ".join(names)
        if len(text) <= width:
            return text
    return _list(outer, width)


def _list(parts: Sequence[str], width: int) -> str:
    """The parts in one cell: as many as there is room for, and how many are left out."""
    for shown in range(len(parts), 0, -1):
        rest = [f"… and {len(parts) - shown} more"] if shown < len(parts) else []
        text = ", ".join([*parts[:shown], *rest])
        if len(text) <= width:
            return text
    return f"… {len(parts)} of them" if len(parts) > 1 else "".join(_ending(part, width) for part in parts)


def _ending(text: str, width: int) -> str:
    return text if len(text) <= width else f"…{text[len(text) - width + 1 :]}"


def _footer(graph: Graph, rows: Sequence[Row], text: str) -> Iterator[str]:
    """What is returned, what the marks mean, and how to see what is not shown."""
    returned = [label(leaf, graph) for leaf in jax.tree.leaves(graph.outputs)] or ["nothing"]
    shown = _list(returned, WIDTH - len("returns "))
    yield f"returns {shown}"
    if note(graph):
        yield f"* {note(graph)}"
    hidden = [row for row in rows if row.hidden]
    if hidden:
        total = count(sum(row.hidden for row in hidden), "operations")
        one = f", print(graph.table({hidden[0].scope!r})) one scope" if hidden[0].scope else ""
        yield f"{total} not shown: print(graph.table()) shows all{one}."
    if "./" in text:
        yield "./ stands for the operation's own scope."
    if "…" in text + shown:
        yield "… stands for what there is no room for: print(graph['name']) shows an operation whole, so does its HTML page."
