"""A graph's operations by scope: the same tree for the table and for the notebook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aidl_jax.graph.nodes import Operation

if TYPE_CHECKING:
    from aidl_jax.graph.graph import Graph

__all__ = ["GIVEN", "Scope", "open_scopes", "scope_tree"]

GIVEN = {"placeholder": "placeholders", "variable": "variables", "constant": "constants"}


@dataclass(frozen=True, eq=False)
class Scope:
    """A scope and what stands in it.

    Args:
        graph: the graph that its operations are in: a loop's body is a graph of its own.
        path: its name in that graph, `gradients/layer1`; empty for the graph itself.
        around: the operation and the body that the graph is inside of, `rnn/scan/body`; empty outside.
        items: operations and scopes; a scope stands where the last operation in it is done, a body after its operation.
        is_given: whether its operations are what the function is given, shown by their whole names.
    """

    graph: Graph
    path: str = ""
    around: str = ""
    items: list[Operation | Scope] = field(default_factory=list)
    is_given: bool = False

    @property
    def name(self) -> str:
        """Its whole name, through all bodies around it."""
        return "/".join(filter(None, (self.around, self.path)))

    @property
    def title(self) -> str:
        """The last part of its name: `layer1/` for a scope, `body:` for a body."""
        return f"{self.around.rpartition('/')[2]}:" if self.is_body else f"{self.path.rpartition('/')[2]}/"

    @property
    def is_body(self) -> bool:
        """Whether it is a whole body, and not a scope in it."""
        return bool(self.around) and not self.path

    @property
    def size(self) -> int:
        """How many operations are in it, in the scopes inside it and in bodies."""
        return sum(item.size if isinstance(item, Scope) else 1 for item in self.items)

    def short(self, operation: Operation) -> str:
        """An operation's name inside this scope."""
        return operation.name[len(self.path) + 1 :] if self.path and not self.is_given else operation.name

    def walk(self) -> Iterator[Scope]:
        """The scope and all scopes inside it."""
        yield self
        for item in self.items:
            if isinstance(item, Scope):
                yield from item.walk()


def scope_tree(graph: Graph, around: str = "") -> Scope:
    """The operations by scope; placeholders, variables and constants in scopes of their own, except in a body.

    >>> import jax
    >>> from aidl_jax.graph import trace
    >>> [scope.name for scope in scope_tree(trace(jax.named_scope("wave")(jax.numpy.sin), 1.0)).walk()]
    ['', 'placeholders', 'wave']
    """
    root = Scope(graph, around=around)
    known = {("", False): root}
    for operation in graph.nodes.values():
        given = None if around else GIVEN.get(operation.type)
        items = _find(known, given or operation.scope, bool(given)).items
        items.append(operation)
        items += [
            scope_tree(body, "/".join(filter(None, (around, operation.name, name))))
            for name, body in operation.bodies.items()
        ]
    _sort(root, {name: number for number, name in enumerate(graph.nodes)})
    return root


def _find(known: dict[tuple[str, bool], Scope], path: str, is_given: bool) -> Scope:
    """The scope of that name, put inside the one around it when it is first met."""
    found = known.get((path, is_given))
    if found is None:
        around = _find(known, path.rpartition("/")[0], False)
        found = known[path, is_given] = Scope(around.graph, path, around.around, is_given=is_given)
        around.items.append(found)
    return found


def _sort(scope: Scope, numbers: Mapping[str, int]) -> int:
    """Puts each scope where its last operation is done, and returns when that is."""
    done: list[int] = []
    for item in scope.items:
        if isinstance(item, Operation):
            done.append(numbers[item.name])
        else:
            done.append(done[-1] if item.is_body else _sort(item, numbers))
    scope.items[:] = [scope.items[index] for index in sorted(range(len(done)), key=done.__getitem__)]
    return max(done, default=-1)


def open_scopes(start: Scope, limit: int | None) -> set[Scope]:
    """The scopes to show open, outer ones first, so that about `limit` lines are shown; all for None."""
    opened, lines, level = {start}, len(start.items), [start]
    while level:
        level = [item for scope in level for item in scope.items if scope in opened and isinstance(item, Scope)]
        for scope in level:
            if limit is None or lines + len(scope.items) <= limit:
                opened.add(scope)
                lines += len(scope.items)
    return opened
