"""Topological order: every operation after those whose results it uses."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from aidl_jax.errors import GraphError, close_matches

__all__ = ["check_order", "topological_order"]


def topological_order(inputs: Mapping[str, Iterable[str]]) -> list[str]:
    """The nodes of a directed acyclic graph, each after all that it depends on.

    Of the nodes that are ready, the one that was given first comes first.

    Args:
        inputs: for each node's name, the names of the nodes it depends on.

    Returns:
        Every name once.

    Raises:
        GraphError: a node depends on itself, directly or around a cycle, or on a node that is not there.

    Source: A. B. Kahn, Topological sorting of large networks, Communications of the ACM 5 (1962).

    >>> topological_order({"z": ["x", "y"], "y": ["x"], "x": []})
    ['x', 'y', 'z']
    """
    waits_for = {name: _known(name, given, inputs) for name, given in inputs.items()}
    users: dict[str, list[str]] = {name: [] for name in inputs}
    for name, given in waits_for.items():
        for one in given:
            users[one].append(name)
    missing = {name: len(given) for name, given in waits_for.items()}
    ready = deque(name for name, count in missing.items() if not count)
    order: list[str] = []
    while ready:
        order.append(ready.popleft())
        for user in users[order[-1]]:
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    if len(order) < len(waits_for):
        raise _cycle(waits_for, set(order))
    return order


def check_order(order: Iterable[str], inputs: Mapping[str, Iterable[str]]) -> None:
    """Raises `GraphError` where an order is not a topological order of the graph.

    Args:
        order: names, as `topological_order` returns them.
        inputs: for each node's name, the names of the nodes it depends on.

    >>> check_order(["x", "y"], {"y": ["x"], "x": []})
    """
    topological_order(inputs)  # a cycle, or a node that is not there, is told before the order is looked at
    seen: set[str] = set()
    for name in order:
        if name not in inputs:
            raise GraphError(
                "the order has a node that the graph has not", given=repr(name), fix=close_matches(name, inputs)
            )
        if name in seen:
            raise GraphError("the order has a node twice", given=repr(name), fix="list every node once")
        late = [one for one in inputs[name] if one not in seen]
        if late:
            raise GraphError(
                "the order has a node before one that it depends on",
                given=f"{name!r} before {late[0]!r}",
                fix=f"move {late[0]!r} before {name!r}",
            )
        seen.add(name)
    left_out = [name for name in inputs if name not in seen]
    if left_out:
        raise GraphError(
            "the order leaves a node out", given=", ".join(map(repr, left_out)), fix="list every node once"
        )


def _known(name: str, given: Iterable[str], inputs: Mapping[str, Iterable[str]]) -> list[str]:
    unique = list(dict.fromkeys(given))
    for one in unique:
        if one not in inputs:
            raise GraphError(
                f"{name!r} depends on a node that is not in the graph", given=repr(one), fix=close_matches(one, inputs)
            )
    return unique


def _cycle(waits_for: Mapping[str, list[str]], ordered: set[str]) -> GraphError:
    """Every node that is left waits for one that is left, so walking back must come round."""
    path: list[str] = [next(name for name in waits_for if name not in ordered)]
    while True:
        before = next(one for one in waits_for[path[-1]] if one not in ordered)
        if before in path:
            cycle = [before, *reversed(path[path.index(before) :])]
            break
        path.append(before)
    return GraphError(
        "the graph has a cycle, so it has no topological order",
        given=" -> ".join(map(repr, cycle)),
        fix=f"take one of these edges away; what comes back to {before!r} must be a new node, "
        "as each iteration of a loop makes new values",
    )
