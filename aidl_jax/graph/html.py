"""A graph as HTML: scopes that open and close, for a notebook's output or a page of its own; no script, no network."""

from __future__ import annotations

from importlib import resources
from itertools import groupby
from typing import TYPE_CHECKING

import jax
import jinja2

from aidl_jax.graph.nodes import Operation
from aidl_jax.graph.telling import count, headline, label, line, note, readable, results
from aidl_jax.graph.tree import Scope, open_scopes, scope_tree

if TYPE_CHECKING:
    from aidl_jax.graph.graph import Graph

__all__ = ["graph_html", "graph_page"]

OPEN = 60
SHOWN = 8


def graph_html(graph: Graph) -> str:
    """The operations by scope as a piece of HTML; scopes are open as far as a screen or two can hold, outer ones first.

    Everything is escaped by the template engine.
    """
    root = scope_tree(graph)
    return _template("graph.html.j2").render(
        root=root,
        opened=open_scopes(root, OPEN),
        headline=headline(graph),
        note=note(graph),
        returned=[label(leaf, graph) for leaf in jax.tree.leaves(graph.outputs)],
        css=_resource("graph.css"),
        shown=SHOWN,
        count=count,
        inputs=_inputs,
        kind=_kind,
        line=line,
        results=results,
        runs=_runs,
        told=_told,
    )


def graph_page(graph: Graph) -> str:
    """The same as a whole page, to be opened in a browser."""
    return _template("page.html.j2").render(title=f"The graph of {graph.name}", graph=graph_html(graph))


def _runs(scope: Scope) -> list[tuple[bool, list[Operation | Scope]]]:
    """The scope's items in their order: operations that follow each other share a table, scopes stand between tables."""
    return [(is_scopes, list(items)) for is_scopes, items in groupby(scope.items, lambda item: isinstance(item, Scope))]


def _kind(scope: Scope) -> str:
    """What a scope's bar is coloured by: its outermost scope."""
    outermost = scope.name.split("/")[0]
    if scope.is_given:
        return "given"
    return outermost if outermost in ("gradients", "optimizer") else "forward"


def _inputs(scope: Scope, operation: Operation) -> list[str]:
    return [label(operand, scope.graph) for operand in operation.operands]


def _told(operation: Operation) -> str:
    return "\n".join(f"{name}: {text}" for name, text in readable(operation).items())


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_resource(name))


def _resource(name: str) -> str:
    return (resources.files("aidl_jax.graph") / "resources" / name).read_text(encoding="utf-8")
