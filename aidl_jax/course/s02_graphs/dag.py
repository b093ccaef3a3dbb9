"""A graph as plain data: many answers are right, so properties are checked, against an oracle of its own."""

from __future__ import annotations

import functools
import string
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from aidl_jax.exercise import Draw, Exercise, Failure, Hints, Student, call, expect_error, function, require, static

if TYPE_CHECKING:  # wrong answers run where student code runs; these names are there
    OPERATIONS: dict[str, Any] = {}

    def topological_order(graph: Any) -> Any: ...
    def needed(graph: Any, fetches: Any, fed: Any) -> Any: ...


Graph = dict[str, tuple[str, list[str]]]
exercise = Exercise("A graph and how it is run", forbidden=["aidl_jax.graph", "graphlib", "networkx"], time_limit=5)


# Graphs


def names(draw: Draw, count: int) -> list[str]:
    """Different letters, so that no answer can know a graph's names."""
    return [string.ascii_lowercase[n] for n in draw.permutation(26)[:count]]


def backwards(draw: Draw, count: int) -> list[str]:
    """Different letters, last of the alphabet first: with those, the order of the alphabet is no order to run in."""
    return sorted(names(draw, count), reverse=True)


def turned(graph: Graph) -> Graph:
    """The same graph, its last entry first: what is written down in the order it runs in then stands the other way."""
    return dict(reversed(graph.items()))


def mixed(draw: Draw, graph: Graph) -> Graph:
    """The same graph, its entries in a random order."""
    entries = list(graph.items())
    return dict(entries[n] for n in draw.permutation(len(entries)))


def random_graph(draw: Draw, size: int) -> Graph:
    """A graph without cycles: of several parts, with diamonds and squares, and nodes that stand alone.

    One side of a product is always a node without inputs, so that from small feeds no value gets beyond 64 bits.
    """
    free, picks = names(draw, size), draw.integers(0, 2**30, size, 4).tolist()
    graph: Graph = {}
    for place, (name, (kind, one, other, number)) in enumerate(zip(free, picks, strict=True)):
        inputs = [free[max(place - 1 - pick % 4, 0)] for pick in (one, other)]  # near, so that it gets deep
        operation, arity = (("negative", 1), ("add", 2), ("subtract", 2), ("multiply", 2))[number % 4]
        if place < 2 or (kind % 5 == 0 and place > 2):  # so that one has inputs
            operation, arity = ("placeholder", "one", "placeholder", "two")[number % 4], 0
        elif operation == "multiply" and all(graph[source][1] for source in inputs):
            operation = "subtract"
        graph[name] = (operation, inputs[:arity])
    return mixed(draw, graph)


def random_feeds(draw: Draw, graph: Graph) -> dict[str, Any]:
    """A small integer for each placeholder."""
    placeholders = [name for name, (operation, _) in graph.items() if operation == "placeholder"]
    return dict(zip(placeholders, draw.integers(-3, 4, len(placeholders)).tolist(), strict=True))


def compute(operation: str, *values: Any) -> Any:
    """What an operation of the lesson's computes."""
    match operation, values:
        case "one", ():
            return 1
        case "two", ():
            return 2
        case "negative", (a,):
            return -a
        case "add", (a, b):
            return a + b
        case "subtract", (a, b):
            return a - b
        case "multiply", (a, b):
            return a * b
    raise ValueError(operation)


def behind(graph: Graph, name: str, fed: list[str]) -> set[str]:
    """A node and all it needs, each of its inputs' sets joined."""
    if name in fed:
        return set()
    return {name}.union(*(behind(graph, source, fed) for source in graph[name][1]))


def value_of(graph: Graph, name: str, feeds: dict[str, Any]) -> Any:
    """A node's value, from those of its inputs."""
    if name in feeds:
        return feeds[name]
    operation, inputs = graph[name]
    return compute(operation, *(value_of(graph, source, feeds) for source in inputs))


def unchanged(graph: Graph, ask: Any) -> None:
    """Whatever is asked of it, the graph must be afterwards what it was."""
    after = call(function(lambda given: (ask(given), given))(static(graph)))[1]
    require(
        after == graph and list(after) == list(graph),
        "The graph that was passed in is changed afterwards. Whoever still needs it has lost it: count in a dict of "
        "your own.",
        got=after,
        expected=graph,
    )


def listed(found: Iterable[Any]) -> str:
    """Names in a message, in an order of their own."""
    return ", ".join(sorted(map(repr, found)))


def is_names(answer: Any) -> bool:
    """Whether an answer is a list of strings."""
    return isinstance(answer, list) and all(isinstance(name, str) for name in answer)


# The order


order_task = exercise.task(
    "topological_order",
    points=2,
    hints=Hints(
        concept="Something can always be run next: a node that waits for nothing any more. Running it may free others. If "
        "there is no such node and some are left, they wait for each other.",
        where="The lesson's section 'In which order?' has two ways. For the first, keep a dict with the number of inputs that "
        "each node still misses, and a list of those that are ready. `list.count` tells how often a name is in a list.",
        almost_code="while ready:\n    done = ready.pop()\n    order.append(done)\n    for name, (_, inputs) in graph.items():\n"
        "        missing[name] -= inputs.count(...)\n        if done in inputs and missing[name] == ...:\n"
        "            ready.append(...)",
    ),
)


def check_order(student: Student, graph: Graph, no_cycle: str = "This graph has no cycle.") -> None:
    """Every name once, every node after its inputs; `no_cycle` is read where a ValueError says otherwise."""
    try:
        order = call(student.topological_order(static(graph)))
    except Failure as failure:
        require(failure.kind != "ValueError", no_cycle, got=failure.message)
        raise
    require(is_names(order), "The answer is a list of the nodes' names.", got=order)
    strange = [name for name in order if name not in graph]
    require(not strange, f"A name in your order is not one of the graph's: {listed(strange[:1])}.", got=order)
    absent = [name for name in graph if name not in order]
    require(not absent, f"Not all nodes are in your order: {listed(absent[:1])} is missing.", got=order)
    twice = [name for name in graph if order.count(name) > 1]
    require(not twice, f"A node is in your order more than once: {listed(twice[:1])}.", got=order)
    for name in order:
        late = [source for source in graph[name][1] if order.index(source) > order.index(name)]
        require(not late, f"A node comes before one of its inputs: {name!r} needs {listed(late[:1])}.", got=order)


@order_task.check
def inputs_first(student: Student, draw: Draw) -> None:
    """Every node comes once, and after its inputs: in a chain, in a diamond, in a short cut."""
    a, b, c, d, e = backwards(draw, 5)
    check_order(student, {b: ("negative", [a]), c: ("negative", [b]), a: ("placeholder", [])})
    diamond: Graph = {a: ("placeholder", []), b: ("negative", [a]), c: ("negative", [a]), d: ("add", [b, c])}
    check_order(student, turned(diamond | {e: ("negative", [d])}))
    short_cut: Graph = {a: ("placeholder", []), b: ("negative", [a]), c: ("negative", [b]), d: ("add", [a, c])}
    check_order(student, turned(short_cut | {e: ("negative", [d])}))


@order_task.check
def the_same_input_twice(student: Student, draw: Draw) -> None:
    """A node may use the same input twice, as a square does."""
    a, b, c = backwards(draw, 3)
    check_order(
        student,
        turned({a: ("placeholder", []), b: ("multiply", [a, a]), c: ("add", [b, a])}),
        "This graph has no cycle. A node is used twice: to meet it again is no cycle, and if each use is counted, each must "
        "be ticked off.",
    )


@order_task.check
def parts_that_do_not_meet(student: Student, draw: Draw) -> None:
    """A graph may have parts that do not meet, nodes that stand alone, or no nodes."""
    a, b, c, d, e = backwards(draw, 5)
    parts: Graph = {a: ("one", []), b: ("negative", [a]), c: ("two", []), d: ("negative", [c]), e: ("placeholder", [])}
    check_order(student, turned(parts))
    check_order(student, {})


@order_task.check
def any_graph(student: Student, draw: Draw) -> None:
    """It holds for graphs of any form."""
    check_order(student, random_graph(draw, 8))
    check_order(student, random_graph(draw, 20))


@order_task.check
def refuses_a_cycle(student: Student, draw: Draw) -> None:
    """A graph with a cycle has no order: a ValueError."""
    a, b, c, d, e = backwards(draw, 5)
    tail: Graph = {a: ("placeholder", []), b: ("add", [a, d]), c: ("negative", [b]), d: ("negative", [c])}
    for graph in (tail | {e: ("negative", [d])}, {a: ("negative", [a])}):
        asked = student.topological_order(static(turned(graph)))
        expect_error(functools.partial(call, asked), "ValueError", CYCLE_PASSES)


@order_task.check
def leaves_the_graph_alone(student: Student, draw: Draw) -> None:
    """The graph is afterwards what it was."""
    unchanged(random_graph(draw, 6), student.topological_order)


CYCLE_PASSES = "A cycle passes silently: where not all nodes found a place in the order, raise a ValueError."


@order_task.wrong("You took the dict's own order, which says nothing: look at the inputs.")
def as_written(graph: Any) -> Any:
    return list(graph)


@order_task.wrong(
    "You sorted by the number of inputs: a node with one input can need a node that has two. Follow what feeds what."
)
def by_number_of_inputs(graph: Any) -> Any:
    return sorted(graph, key=lambda name: len(graph[name][1]))


@order_task.wrong("Your order runs backwards: the inputs come first, then who uses them.")
def reversed_order(graph: Any) -> Any:
    order: list[Any] = []
    while ready := [n for n, (_, inputs) in graph.items() if n not in order and all(i in order for i in inputs)]:
        order += ready
    if len(order) < len(graph):
        raise ValueError("a cycle")
    return order[::-1]


@order_task.wrong("A node that feeds two others is placed twice: remember which nodes have their place already.")
def placed_twice(graph: Any) -> Any:
    order: list[Any] = []

    def place(name: Any, path: Any) -> None:
        if name in path:
            raise ValueError("a cycle")
        for source in graph[name][1]:
            place(source, [*path, name])
        order.append(name)

    used = {source for _, inputs in graph.values() for source in inputs}
    for name in [name for name in graph if name not in used] or graph:
        place(name, [])
    return order


@order_task.wrong("You place a node as soon as the first of its inputs is there: wait until all of them are.")
def after_its_first_input(graph: Any) -> Any:
    order = [name for name in graph if not graph[name][1]]
    for done in order:
        order += [name for name in graph if done in graph[name][1] and name not in order]
    if len(order) < len(graph):
        raise ValueError("a cycle")
    return order


@order_task.wrong(
    "You start from one node only, so parts of the graph that it does not need are missing: start from every node."
)
def from_one_node(graph: Any) -> Any:
    order: list[Any] = []

    def place(name: Any, path: Any) -> None:
        if name in path:
            raise ValueError("a cycle")
        if name not in order:
            for source in graph[name][1]:
                place(source, [*path, name])
            order.append(name)

    used = {source for _, inputs in graph.values() for source in inputs}
    for name in ([name for name in graph if name not in used] or list(graph))[:1]:
        place(name, [])
    return order


@order_task.wrong(
    "A node that uses the same input twice counts it twice, but you tick it off once, so it is never ready: subtract "
    "inputs.count(name)."
)
def ticked_off_once(graph: Any) -> Any:
    missing = {name: len(inputs) for name, (_, inputs) in graph.items()}
    ready = [name for name in graph if missing[name] == 0]
    order = []
    while ready:
        done = ready.pop()
        order.append(done)
        for name, (_, inputs) in graph.items():
            if done in inputs:
                missing[name] -= 1
                if missing[name] == 0:
                    ready.append(name)
    if len(order) < len(graph):
        raise ValueError("a cycle")
    return order


@order_task.wrong(CYCLE_PASSES)
def cycle_passes(graph: Any) -> Any:
    order: list[Any] = []
    while ready := [n for n, (_, inputs) in graph.items() if n not in order and all(i in order for i in inputs)]:
        order += ready
    return order


@order_task.wrong(
    "On a cycle your function calls itself without an end: remember which nodes you are still placing, and raise a "
    "ValueError if you meet one of them."
)
def endless_on_a_cycle(graph: Any) -> Any:
    order: list[Any] = []

    def place(name: Any) -> None:
        if name not in order:
            for source in graph[name][1]:
                place(source)
            order.append(name)

    for name in graph:
        place(name)
    return order


@order_task.wrong(
    "You take the nodes out of the graph that you were given. Whoever still needs it has lost it: work on a copy, "
    "dict(graph)."
)
def eats_the_graph(graph: Any) -> Any:
    order: list[Any] = []
    while graph:
        ready = [name for name, (_, inputs) in graph.items() if all(source in order for source in inputs)]
        if not ready:
            raise ValueError("a cycle")
        order.append(ready[0])
        del graph[ready[0]]
    return order


# The cycle


cycle_task = exercise.task(
    "find_cycle",
    points=3,
    hints=Hints(
        concept="Walk backwards from input to input and remember your path. You are on a cycle only when you meet a node that is "
        "on that path; what you have seen on an earlier walk and left again is harmless.",
        where="The lesson's section 'Which nodes wait for each other?'. An inner function that takes a name and the path so far, "
        "and calls itself for each input. `path.index(name)` tells where on the path a name is. You walk against the "
        "arrows, so what you find is turned round.",
        almost_code="def walk(name, path):\n    if name in path: return path[path.index(...):]\n"
        "    for source in graph[name][1]:\n        found = walk(source, path + [...])\n        if found: return ...\n"
        "    return None\nfor name in graph:\n    found = walk(name, [])\n    if found: return found[::-1]\nreturn None",
    ),
)


def check_cycle(student: Student, graph: Graph) -> None:
    """Names, each once, each feeding the next and the last the first."""
    cycle = call(student.find_cycle(static(graph)))
    require(cycle is not None, "There is a cycle, and you found none.", got="None")
    require(is_names(cycle) and cycle, "The answer is a list of the names of nodes, or None.", got=cycle)
    strange = [name for name in cycle if name not in graph]
    require(not strange, f"A name in your cycle is not one of the graph's: {listed(strange[:1])}.", got=cycle)
    twice = [name for name in cycle if cycle.count(name) > 1]
    require(not twice, f"A node is in your cycle more than once: {listed(twice[:1])}.", got=cycle)
    steps = list(zip(cycle, cycle[1:] + cycle[:1], strict=True))
    against = all(other in graph[one][1] for one, other in steps)
    require(
        not against or all(one in graph[other][1] for one, other in steps),
        AGAINST,
        got=cycle,
        expected=f"{cycle[::-1]}, or the same from another start",
    )
    for one, other in steps:
        require(one in graph[other][1], f"Your list is no cycle: {one!r} does not feed {other!r}.", got=cycle)


def check_no_cycle(student: Student, graph: Graph) -> None:
    """None, and not an empty list."""
    cycle = call(student.find_cycle(static(graph)))
    require(cycle is None, "This graph has no cycle.", got=cycle, expected="None")


AGAINST = "Your cycle runs against the arrows: each node must feed the next one, so turn the list round."


@cycle_task.check
def a_cycle_alone(student: Student, draw: Draw) -> None:
    """In a ring of four nodes, and in a node that is its own input, it finds the cycle."""
    a, b, c, d = backwards(draw, 4)
    check_cycle(student, {a: ("negative", [d]), b: ("negative", [a]), c: ("negative", [b]), d: ("negative", [c])})
    check_cycle(student, {a: ("negative", [a])})


@cycle_task.check
def nothing_but_the_cycle(student: Student, draw: Draw) -> None:
    """What leads into the cycle, and what hangs off it, does not belong to it."""
    a, b, c, d, e, f = backwards(draw, 6)
    ring: Graph = {b: ("add", [d, a]), c: ("negative", [b]), d: ("negative", [c])}
    check_cycle(student, turned({a: ("one", []), **ring, e: ("negative", [d]), f: ("negative", [e])}))


@cycle_task.check
def no_cycle(student: Student, draw: Draw) -> None:
    """Where there is none, the answer is None; a square and a diamond are no cycles."""
    a, b, c, d = backwards(draw, 4)
    check_no_cycle(student, {a: ("placeholder", []), b: ("multiply", [a, a])})
    diamond: Graph = {a: ("placeholder", []), b: ("negative", [a]), c: ("negative", [a]), d: ("add", [b, c])}
    check_no_cycle(student, diamond)
    check_no_cycle(student, turned(diamond))
    check_no_cycle(student, random_graph(draw, 12))


@cycle_task.check
def behind_any_input(student: Student, draw: Draw) -> None:
    """The cycle may be behind any of a node's inputs."""
    a, b, c, d = backwards(draw, 4)
    check_cycle(student, {d: ("add", [a, c]), c: ("negative", [b]), b: ("negative", [d]), a: ("one", [])})
    check_cycle(student, {b: ("add", [a, b]), a: ("one", [])})


@cycle_task.check
def in_any_part(student: Student, draw: Draw) -> None:
    """The cycle may be in any part of the graph."""
    a, b, c, d, e = backwards(draw, 5)
    ring: Graph = {c: ("negative", [e]), d: ("negative", [c]), e: ("negative", [d])}
    check_cycle(student, {a: ("one", []), b: ("negative", [a]), **ring})


@cycle_task.check
def in_any_graph_with_one(student: Student, draw: Draw) -> None:
    """It holds for graphs of any form: the node that needs most feeds one of those that it needs."""
    graph = random_graph(draw, 10)
    needs = {name: behind(graph, name, []) for name in sorted(graph)}
    last = max(needs, key=lambda name: len(needs[name]))
    first = min(sorted(needs[last]), key=lambda name: len(needs[name]))
    check_cycle(student, graph | {first: ("negative", [last])})


@cycle_task.check
def leaves_this_graph_alone_too(student: Student, draw: Draw) -> None:
    """The graph is afterwards what it was."""
    unchanged(random_graph(draw, 6), student.find_cycle)


@cycle_task.wrong("Your list begins on the way to the cycle: leave out what comes before the node that you met again.")
def with_its_tail(graph: Any) -> Any:
    def walk(name: Any, path: Any) -> Any:
        if name in path:
            return path
        return next((found for source in graph[name][1] if (found := walk(source, [*path, name]))), None)

    return next((found[::-1] for name in graph if (found := walk(name, []))), None)


@cycle_task.wrong(
    "The node that you started from is in your list twice: the last one feeds the first, so leave one out."
)
def closed(graph: Any) -> Any:
    def walk(name: Any, path: Any) -> Any:
        if name in path:
            return [*path[path.index(name) :], name]
        return next((found for source in graph[name][1] if (found := walk(source, [*path, name]))), None)

    return next((found[::-1] for name in graph if (found := walk(name, []))), None)


@cycle_task.wrong(AGAINST)
def against_the_arrows(graph: Any) -> Any:
    def walk(name: Any, path: Any) -> Any:
        if name in path:
            return path[path.index(name) :]
        return next((found for source in graph[name][1] if (found := walk(source, [*path, name]))), None)

    return next((found for name in graph if (found := walk(name, []))), None)


@cycle_task.wrong(
    "You returned all nodes that cannot be run. Some of them only wait for the cycle and are not on it: walk from one of "
    "them to its inputs until you meet a node again."
)
def all_that_wait(graph: Any) -> Any:
    order: list[Any] = []
    while ready := [n for n, (_, inputs) in graph.items() if n not in order and all(i in order for i in inputs)]:
        order += ready
    return [name for name in graph if name not in order] or None


@cycle_task.wrong(
    "You call it a cycle when you meet a node for the second time. A square or a diamond does that too: it must be on the "
    "path that you are walking."
)
def seen_before(graph: Any) -> Any:
    seen: list[Any] = []

    def walk(name: Any) -> Any:
        if name in seen:
            return seen[seen.index(name) :]
        seen.append(name)
        return next((found for source in graph[name][1] if (found := walk(source))), None)

    for name in graph:
        seen.clear()
        if found := walk(name):
            return found[::-1]
    return None


@cycle_task.wrong("You look only at the first input of each node: the cycle can be behind any of them.")
def first_input_only(graph: Any) -> Any:
    for name in graph:
        path: list[Any] = []
        while name is not None and name not in path:
            path.append(name)
            name = next(iter(graph[name][1]), None)
        if name is not None:
            return path[path.index(name) :][::-1]
    return None


@cycle_task.wrong("You start from one node only, and the cycle may not be behind it: start from every node.")
def from_the_first_node(graph: Any) -> Any:
    def walk(name: Any, path: Any) -> Any:
        if name in path:
            return path[path.index(name) :]
        return next((found for source in graph[name][1] if (found := walk(source, [*path, name]))), None)

    found = walk(next(iter(graph)), [])
    return found[::-1] if found else None


@cycle_task.wrong("Without a cycle you return an empty list: return None.")
def empty_list(graph: Any) -> Any:
    def walk(name: Any, path: Any) -> Any:
        if name in path:
            return path[path.index(name) :]
        return next((found for source in graph[name][1] if (found := walk(source, [*path, name]))), [])

    return next((found[::-1] for name in graph if (found := walk(name, []))), [])


# What is needed


needed_task = exercise.task(
    "needed",
    points=2,
    hints=Hints(
        concept="Begin with what is asked for. Whatever you take needs its inputs, and those need theirs. At a node whose value "
        "is given you stop.",
        where="The lesson's section 'What is needed?'. Keep a list of names that are still to be looked at and a set of those "
        "that you found. `list.pop` takes one out, `+=` puts a node's inputs in.",
        almost_code="waiting = list(fetches)\nwhile waiting:\n    name = waiting.pop()\n    if name not in fed and name not in ...:\n"
        "        found.add(...)\n        waiting += graph[name][...]",
    ),
)


def check_needed(student: Student, graph: Graph, fetches: list[str], fed: list[str]) -> None:
    """The set of what is behind the fetches, down to what is fed."""
    got = call(student.needed(static(graph), static(fetches), static(fed)))
    require(isinstance(got, set), "The answer is a set of names.", got=got if got is not None else "None")
    expected = set[str]().union(*(behind(graph, name, fed) for name in fetches))
    missing, extra = expected - got, got - expected
    require(not extra, f"These need not be run: {listed(extra)}.", got=got, expected=expected)
    require(not missing, f"These must be run, too: {listed(missing)}.", got=got, expected=expected or "an empty set")


@needed_task.check
def down_to_the_inputs(student: Student, draw: Draw) -> None:
    """Nothing fed: the fetches and all that they need, however far back, and nothing else."""
    a, b, c, d, e = backwards(draw, 5)
    graph: Graph = {
        a: ("one", []),
        b: ("negative", [a]),
        c: ("negative", [b]),
        d: ("negative", [c]),
        e: ("add", [a, d]),
    }
    check_needed(student, turned(graph), [c], [])
    check_needed(student, turned(graph), [b, e], [])
    check_needed(student, turned(graph), [], [])


@needed_task.check
def stops_at_what_is_fed(student: Student, draw: Draw) -> None:
    """A fed node is not run, nor what only it needs; any node may be fed, a fetch too."""
    a, b, c, d, e = backwards(draw, 5)
    graph: Graph = {a: ("one", []), b: ("negative", [a]), c: ("negative", [b]), d: ("negative", [c]), e: ("fail", [])}
    check_needed(student, turned(graph), [d], [b])
    check_needed(student, turned(graph), [d], [c, e])
    check_needed(student, turned(graph), [b], [c])
    check_needed(student, turned(graph), [d], [d])


@needed_task.check
def another_way(student: Student, draw: Draw) -> None:
    """What lies behind a fed node is needed if another way leads there."""
    a, b, c, d = backwards(draw, 4)
    graph: Graph = {a: ("one", []), b: ("negative", [a]), c: ("negative", [b]), d: ("add", [b, c])}
    check_needed(student, turned(graph), [d], [c])


@needed_task.check
def in_any_graph(student: Student, draw: Draw) -> None:
    """It holds for graphs of any form, and for any fetches and feeds."""
    graph = random_graph(draw, 16)
    nodes = [sorted(graph)[n] for n in draw.permutation(16)]
    check_needed(student, graph, nodes[:2], nodes[2:5])
    check_needed(student, graph, nodes[5:8], nodes[7:12])


@needed_task.check
def leaves_all_three_alone(student: Student, draw: Draw) -> None:
    """The graph and both lists are afterwards what they were."""
    graph = random_graph(draw, 6)
    nodes = sorted(graph)
    unchanged(graph, lambda given: student.needed(given, static(nodes[:2]), static(nodes[2:3])))
    lists = function(lambda fetches, fed: (student.needed(static(graph), fetches, fed), fetches, fed))
    after = call(lists(static(nodes[:2]), static(nodes[2:3])))
    require(
        after[1:] == (nodes[:2], nodes[2:3]),
        "A list that was passed in is changed afterwards: make your own with list(...).",
        got=after[1:],
        expected=(nodes[:2], nodes[2:3]),
    )


@needed_task.wrong("You returned the whole graph: take only what the fetches need.")
def everything(graph: Any, fetches: Any, fed: Any) -> Any:
    return set(graph) - set(fed)


@needed_task.wrong("You stop after one step: what the inputs need is needed, too.")
def one_step(graph: Any, fetches: Any, fed: Any) -> Any:
    found = {name for name in fetches if name not in fed}
    return found | {source for name in found for source in graph[name][1] if source not in fed}


@needed_task.wrong("The feeds change nothing: stop at a node that is fed.")
def feeds_ignored(graph: Any, fetches: Any, fed: Any) -> Any:
    found = set(fetches)
    for _ in graph:
        found |= {source for name in found for source in graph[name][1]}
    return found


@needed_task.wrong("Fed nodes are in your set: their values are there already, so they are not run.")
def fed_nodes_too(graph: Any, fetches: Any, fed: Any) -> Any:
    found = set(fetches)
    for _ in graph:
        found |= {source for name in found if name not in fed for source in graph[name][1]}
    return found


@needed_task.wrong("You leave out the fed nodes themselves, but not what lies behind them: stop there.")
def behind_the_fed(graph: Any, fetches: Any, fed: Any) -> Any:
    found = set(fetches)
    for _ in graph:
        found |= {source for name in found for source in graph[name][1]}
    return found - set(fed)


@needed_task.wrong(
    "You take away all that lies behind a fed node. Some of it is needed on another way: go from the fetches, and stop at "
    "what is fed."
)
def taken_away(graph: Any, fetches: Any, fed: Any) -> Any:
    found, given = set(fetches), set(fed)
    for _ in graph:
        found |= {source for name in found for source in graph[name][1]}
        given |= {source for name in given for source in graph[name][1]}
    return found - given


@needed_task.wrong("The fetches themselves are missing: they must be run, too.")
def without_the_fetches(graph: Any, fetches: Any, fed: Any) -> Any:
    found: set[Any] = set()
    for _ in graph:
        users = [name for name in {*fetches, *found} if name not in fed]
        found |= {source for name in users for source in graph[name][1] if source not in fed}
    return found


@needed_task.wrong("You look only at the first fetch: join what each of them needs.")
def first_fetch_only(graph: Any, fetches: Any, fed: Any) -> Any:
    found = {name for name in fetches[:1] if name not in fed}
    for _ in graph:
        found |= {source for name in found for source in graph[name][1] if source not in fed}
    return found


@needed_task.wrong("You go along the arrows, to the nodes that use the fetches: go to their inputs instead.")
def along_the_arrows(graph: Any, fetches: Any, fed: Any) -> Any:
    found = {name for name in fetches if name not in fed}
    for _ in graph:
        found |= {name for name in graph if name not in fed and found & set(graph[name][1])}
    return found


# Running it


evaluate_task = exercise.task(
    "evaluate",
    points=3,
    needs=["topological_order", "needed"],
    hints=Hints(
        concept="Keep all values in one place, the fed ones from the start. Go through the nodes in an order in which the inputs "
        "come first, skip what is not to be run, and put each new value where the others are.",
        where="The lesson's section 'Run it'; your own `needed` and `topological_order`. `dict(feeds)` makes a dict of your own. "
        "`OPERATIONS[name]` is the function, and `f(*values)` calls it with a list of arguments.",
        almost_code="values = dict(feeds)\nfor name in topological_order(graph):\n    if name in needed(graph, fetches, list(feeds)):\n"
        "        operation, inputs = graph[name]\n        if operation == 'placeholder': raise ...\n"
        "        values[name] = OPERATIONS[operation](*[values[...] for source in ...])\nreturn [... for name in fetches]",
    ),
)


def evaluated(student: Student, graph: Graph, fetches: list[str], feeds: dict[str, Any]) -> Any:
    """The values, which must be a list of as many as were asked for."""
    got = call(student.evaluate(static(graph), static(fetches), static(feeds)))
    require(isinstance(got, list), "The answer is a list of values.", got=got if got is not None else "None")
    require(
        len(got) == len(fetches),
        "There is not one value for each fetch.",
        got=got,
        expected=f"{len(fetches)} value{'s' * (len(fetches) != 1)}",
    )
    return got


def check_values(student: Student, graph: Graph, fetches: list[str], feeds: dict[str, Any]) -> None:
    """The values that the oracle has."""
    got = evaluated(student, graph, fetches, feeds)
    expected = [value_of(graph, name, feeds) for name in fetches]
    same = all(type(one) is type(other) and one == other for one, other in zip(got, expected, strict=True))
    require(same, "The values are wrong.", got=got, expected=expected)


@evaluate_task.check
def one_value_for_each_fetch(student: Student, draw: Draw) -> None:
    """It runs the graph and gives the fetches' values, in the order in which they were asked for."""
    a, b, c, d, e = backwards(draw, 5)
    one, other = draw.integers(2, 9).item(), draw.integers(10, 99).item()
    graph: Graph = {a: ("placeholder", []), b: ("placeholder", []), c: ("subtract", [b, a]), d: ("two", [])}
    graph[e] = ("multiply", [c, d])
    check_values(student, turned(graph), [e], {a: one, b: other})
    check_values(student, turned(graph), [c, e], {a: one, b: other})
    check_values(student, turned(graph), [e, c, e], {a: one, b: other})


@evaluate_task.check
def runs_only_what_is_needed(student: Student, draw: Draw) -> None:
    """What the fetches do not need is not run, nor need it be fed."""
    a, b, c, d = backwards(draw, 4)
    graph: Graph = {a: ("two", []), b: ("negative", [a]), c: ("fail", []), d: ("placeholder", [])}
    check_values(student, turned(graph), [b], {})


@evaluate_task.check
def any_node_may_be_fed(student: Student, draw: Draw) -> None:
    """The value that is fed wins; the node is not run, nor what only it needs, even if the value is 0 or None."""
    a, b, c, d, e = backwards(draw, 5)
    fed = draw.integers(2, 99).item()
    graph: Graph = {
        a: ("two", []),
        b: ("negative", [a]),
        c: ("fail", []),
        d: ("subtract", [b, c]),
        e: ("negative", [d]),
    }
    check_values(student, turned(graph), [d], {b: fed, c: 1})
    check_values(student, turned(graph), [e, b], {d: fed})
    check_values(student, turned(graph), [e, d], {d: 0})
    check_values(student, turned(graph), [c, a], {c: None})


@evaluate_task.check
def runs_nothing_twice(student: Student, draw: Draw) -> None:
    """A node that feeds several others is run once."""
    a, b, c, d, e, f = backwards(draw, 6)
    graph: Graph = {
        a: ("placeholder", []),
        b: ("two", []),
        c: ("note", [a, b]),
        d: ("add", [c, c]),
        e: ("note", [a, d]),
    }
    graph[f] = ("multiply", [e, c])
    graph = turned(graph)
    run = function(lambda log: (student.evaluate(static(graph), static([f, e]), {a: log}), log))
    answer, log = call(run(static([])))
    require(
        log == [2, 4],
        RUNS_TWICE if len(log) > 2 else "The operations `note` were not run as they should be.",
        got=f"`note` was run with {log}",
        expected=f"once with 2, once with 4, if {[f, e]} are fetched from {graph}",
    )
    require(answer == [8, 4], "The values are wrong.", got=answer, expected=[8, 4])


RUNS_TWICE = "A node is run again for each node that uses it: keep every value, and look there first."


@evaluate_task.check
def values_in_any_graph(student: Student, draw: Draw) -> None:
    """It holds for graphs of any form, and for any fetches and feeds."""
    graph = random_graph(draw, 12)
    feeds = random_feeds(draw, graph)
    nodes = [sorted(graph)[n] for n in draw.permutation(12)]
    check_values(student, graph, nodes[:3], feeds)
    check_values(student, graph, nodes[3:6], feeds | dict.fromkeys(nodes[6:8], draw.integers(10, 20).item()))


@evaluate_task.check
def names_what_is_missing(student: Student, draw: Draw) -> None:
    """A placeholder that is needed and not fed is a ValueError, an unknown fetch a KeyError; both are named."""
    letters = names(draw, 4)
    one, other, result, absent = (f"{word}_{letter}" for word, letter in zip(WORDS, letters, strict=True))
    graph: Graph = {one: ("placeholder", []), other: ("placeholder", []), result: ("add", [one, other])}
    asked = student.evaluate(static(graph), static([result]), static({one: 1}))
    failure = expect_error(
        functools.partial(call, asked), "ValueError", f"The placeholder {other!r} is not fed: that is a ValueError."
    )
    require(other in failure.message, f"The error's message should name {other!r}.", got=failure.message)
    asked = student.evaluate(static(graph), static([absent]), static({one: 1, other: 2}))
    failure = expect_error(
        functools.partial(call, asked), "KeyError", f"{absent!r} is not in the graph: that is a KeyError."
    )
    require(absent in failure.message, f"The error's message should name {absent!r}.", got=failure.message)


WORDS = ("left", "right", "sum", "nothing")


@evaluate_task.check
def leaves_graph_and_feeds_alone(student: Student, draw: Draw) -> None:
    """The graph and the feeds are afterwards what they were."""
    a, b, c = backwards(draw, 3)
    graph: Graph = {c: ("multiply", [b, b]), b: ("negative", [a]), a: ("placeholder", [])}
    feeds = {a: draw.integers(1, 9).item()}
    unchanged(graph, lambda given: student.evaluate(given, static([c]), static(feeds)))
    run = function(lambda given: (student.evaluate(static(graph), static([c]), given), given))
    after = call(run(static(feeds)))[1]
    require(after == feeds, "The feeds that were passed in are changed afterwards: start from dict(feeds).",
            got=after, expected=feeds)  # fmt: skip


@evaluate_task.wrong("You run the whole graph: skip what is not in needed(graph, fetches, feeds).")
def runs_everything(graph: Any, fetches: Any, feeds: Any) -> Any:
    values = dict(feeds)
    for name in topological_order(graph):
        operation, inputs = graph[name]
        if name not in values and operation == "placeholder":
            raise ValueError(f"{name} is not fed")
        if name not in values:
            values[name] = OPERATIONS[operation](*[values[source] for source in inputs])
    return [values[name] for name in fetches]


@evaluate_task.wrong("You use the feeds for placeholders only: any node may be fed, and then it is not run.")
def only_placeholders_fed(graph: Any, fetches: Any, feeds: Any) -> Any:
    values: dict[Any, Any] = {}
    to_run = needed(graph, fetches, [])
    for name in topological_order(graph):
        operation, inputs = graph[name]
        if name in to_run and operation == "placeholder":
            if name not in feeds:
                raise ValueError(f"{name} is not fed")
            values[name] = feeds[name]
        elif name in to_run:
            values[name] = OPERATIONS[operation](*[values[source] for source in inputs])
    return [values[name] for name in fetches]


@evaluate_task.wrong(RUNS_TWICE)
def runs_twice(graph: Any, fetches: Any, feeds: Any) -> Any:
    def value(name: Any) -> Any:
        if name in feeds:
            return feeds[name]
        operation, inputs = graph[name]
        if operation == "placeholder":
            raise ValueError(f"{name} is not fed")
        return OPERATIONS[operation](*[value(source) for source in inputs])

    return [value(name) for name in fetches]


@evaluate_task.wrong("You lose the order of the inputs: a - b is not b - a, so take them as the list has them.")
def inputs_sorted(graph: Any, fetches: Any, feeds: Any) -> Any:
    values = dict(feeds)
    for name in topological_order(graph):
        operation, inputs = graph[name]
        if name in needed(graph, fetches, list(feeds)):
            if operation == "placeholder":
                raise ValueError(f"{name} is not fed")
            values[name] = OPERATIONS[operation](*[values[source] for source in sorted(inputs)])
    return [values[name] for name in fetches]


@evaluate_task.wrong("The values come in the order in which they were run: give them in the order of `fetches`.")
def in_order_of_running(graph: Any, fetches: Any, feeds: Any) -> Any:
    values = dict(feeds)
    for name in topological_order(graph):
        operation, inputs = graph[name]
        if name in needed(graph, fetches, list(feeds)):
            if operation == "placeholder":
                raise ValueError(f"{name} is not fed")
            values[name] = OPERATIONS[operation](*[values[source] for source in inputs])
    return [values[name] for name in topological_order(graph) if name in fetches]


@evaluate_task.wrong(
    "A fed 0 or None counts as not fed: `if feeds.get(name)` is false for them. Ask `if name in feeds`."
)
def only_true_feeds(graph: Any, fetches: Any, feeds: Any) -> Any:
    given = {name: value for name, value in feeds.items() if value or isinstance(value, list)}
    values = dict(given)
    for name in topological_order(graph):
        operation, inputs = graph[name]
        if name in needed(graph, fetches, list(given)):
            if operation == "placeholder":
                raise ValueError(f"{name} is not fed")
            values[name] = OPERATIONS[operation](*[values[source] for source in inputs])
    return [values[name] for name in fetches]


@evaluate_task.wrong(
    "OPERATIONS has no function for a placeholder: one that is needed and not fed must raise a ValueError that names it."
)
def placeholder_not_known(graph: Any, fetches: Any, feeds: Any) -> Any:
    values = dict(feeds)
    for name in topological_order(graph):
        operation, inputs = graph[name]
        if name in needed(graph, fetches, list(feeds)):
            values[name] = OPERATIONS[operation](*[values[source] for source in inputs])
    return [values[name] for name in fetches]


@evaluate_task.wrong("A fetch that is not in the graph passes silently: let graph[name] raise its KeyError.")
def unknown_fetch_passes(graph: Any, fetches: Any, feeds: Any) -> Any:
    values = dict(feeds)
    to_run = needed(graph, [name for name in fetches if name in graph], list(feeds))
    for name in topological_order(graph):
        operation, inputs = graph[name]
        if name in to_run:
            if operation == "placeholder":
                raise ValueError(f"{name} is not fed")
            values[name] = OPERATIONS[operation](*[values[source] for source in inputs])
    return [values.get(name) for name in fetches]


@evaluate_task.wrong("You write the values into the feeds that you were given: start from a copy, dict(feeds).")
def into_the_feeds(graph: Any, fetches: Any, feeds: Any) -> Any:
    to_run = needed(graph, fetches, list(feeds))
    for name in topological_order(graph):
        operation, inputs = graph[name]
        if name in to_run:
            if operation == "placeholder":
                raise ValueError(f"{name} is not fed")
            feeds[name] = OPERATIONS[operation](*[feeds[source] for source in inputs])
    return [feeds[name] for name in fetches]
