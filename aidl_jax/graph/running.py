"""Running a part of a graph: values in at the feeds, values out at the fetches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from aidl_jax._compat import at_highest_precision, calls_python, equations, export_platform, jaxpr_as_fun, symbols
from aidl_jax.errors import GraphError
from aidl_jax.graph.feeding import Slot, as_array, check_fit, slots_of, target
from aidl_jax.graph.nodes import Operation, Tensor, describe
from aidl_jax.graph.slicing import cut, reached

if TYPE_CHECKING:
    from aidl_jax.graph.graph import Graph

__all__ = ["find_device", "function", "run"]


class Prepared(NamedTuple):
    """What one combination of fetches, fed names and device compiled to."""

    feeds: tuple[Any, ...]
    slots: list[Slot]
    tensors: list[Tensor]
    call: Callable[..., Any]
    device: Any


def run(graph: Graph, fetches: Any, feeds: Mapping[Any, Any], device: Any, at_highest: bool = False) -> Any:
    """See `Graph.run`; at the highest precision of matrix products where results are compared."""
    key = (fetches if type(fetches) is str else _key(graph, fetches), frozenset(feeds), device, at_highest)
    compiled = graph.compiled.get(key)
    if compiled is None:
        compiled = graph.compiled[key] = _prepare(graph, fetches, feeds, device, at_highest)
    values: list[Any] = []
    for name, slot in zip(compiled.feeds, compiled.slots, strict=True):
        values += slot.leaves(feeds[name])
    values = list(map(as_array, compiled.tensors, values))
    check_fit(compiled.tensors, values)
    if device is None:
        return compiled.call(*values)
    with jax.default_device(compiled.device):  # for what has no feeds
        return compiled.call(*jax.device_put(values, compiled.device))


def _prepare(graph: Graph, fetches: Any, feeds: Iterable[Any], device: Any, at_highest: bool) -> Prepared:
    found = None if device is None else find_device(device)
    slots = slots_of(graph, feeds)
    tensors = [tensor for slot in slots for tensor in slot.tensors]
    return Prepared(tuple(feeds), slots, tensors, jax.jit(_flat(graph, fetches, slots, found, at_highest)), found)


def function(graph: Graph, fetches: Any, feeds: Sequence[Any]) -> Callable[..., Any]:
    """See `Graph.function`."""
    key = ("function", _key(graph, fetches), feeds)
    if key not in graph.compiled:
        graph.compiled[key] = jax.jit(_structured(graph, fetches, feeds))
    return graph.compiled[key]


def _structured(graph: Graph, fetches: Any, feeds: Sequence[Any]) -> Callable[..., Any]:
    slots = slots_of(graph, feeds)
    flat = _flat(graph, fetches, slots, None)

    def call(*values: Any) -> Any:
        if len(values) != len(slots):
            raise GraphError(
                "the function takes one argument for each feed",
                given=f"{len(values)} arguments",
                expected=", ".join(slot.key for slot in slots) or "none",
                fix="call it with these, in this order",
            )
        return flat(*(leaf for slot, value in zip(slots, values, strict=True) for leaf in slot.leaves(value)))

    call.__name__ = call.__qualname__ = graph.name
    return call


def _flat(
    graph: Graph, fetches: Any, slots: Sequence[Slot], device: Any, at_highest: bool = False
) -> Callable[..., Any]:
    """The cut as a function of flat values that returns what is fetched, in its structure."""
    leaves, structure = jax.tree.flatten(fetches)
    targets = [target(graph, leaf) for leaf in leaves]
    tensors = [target for target in targets if isinstance(target, Tensor)]
    acts = [target for target in targets if isinstance(target, Operation)]
    fed = [tensor for slot in slots for tensor in slot.tensors]
    body = _cut(graph, tensors, acts, fed, device, at_highest)

    def call(*values: Any) -> Any:
        check_fit(fed, values)
        results = iter(body(*values))
        return jax.tree.unflatten(structure, [None if isinstance(one, Operation) else next(results) for one in targets])

    call.__name__ = call.__qualname__ = graph.name
    return call


def _cut(
    graph: Graph,
    tensors: Sequence[Tensor],
    acts: Sequence[Operation],
    fed: Sequence[Tensor],
    device: Any,
    at_highest: bool,
) -> Callable[..., Any]:
    variables = graph.variable_of
    outputs, inputs = [variables[one.name] for one in tensors], [variables[one.name] for one in fed]
    steps = [graph.steps[one.name] for one in acts]
    seen, units = reached(graph.program, outputs, inputs, steps)
    _check_missing(graph, seen.intersection(graph.program.inputs).difference(inputs), [*tensors, *acts])
    _check_use(graph, [one for one, variable in zip(fed, inputs, strict=True) if variable not in seen])
    closed = cut(graph.program, outputs, inputs, steps)
    if at_highest:
        closed = at_highest_precision(closed)
    free = {name for equation in equations(closed.jaxpr) for name in _symbols(equation)}
    if not free:
        return jaxpr_as_fun(closed)
    if not free <= {name for one in fed for name in symbols(one.shape)}:
        raise GraphError(
            f"the size of {', '.join(sorted(free))} is not in what is fed",
            given=", ".join(map(str, fed)) or "no feed",
            fix=f"feed a tensor that has it as a dimension: "
            f"{', '.join(str(one) for one in graph.placeholders if symbols(one.shape))}",
        )
    _check_callbacks(graph, set(units))
    return _exported(closed, fed, device)


def _exported(closed: Any, fed: Sequence[Tensor], device: Any) -> Callable[..., Any]:
    """Compiled through `jax.export` with its symbolic dimensions left open, so that it serves every size."""
    specs = [jax.ShapeDtypeStruct(one.shape, one.dtype) for one in fed]
    told = ", ".join(map(str, fed))
    try:
        exported = jax.export.export(jax.jit(jaxpr_as_fun(closed)), platforms=[export_platform(device)])(*specs)
    except ValueError as error:
        raise GraphError(
            "the sizes that are left open cannot be told from what is fed",
            given=told,
            fix="feed a tensor that has each of them as a dimension of its own",
        ) from error

    def call(*values: Any) -> Any:
        try:
            return exported.call(*values)
        except ValueError as error:
            raise GraphError(
                "the sizes of what is fed do not fit together",
                given=", ".join(describe(value.shape, value.dtype) for value in values),
                expected=told,
                fix="feed values of one batch",
            ) from error

    return call


def _check_callbacks(graph: Graph, units: set[Any]) -> None:
    """What is compiled for every size cannot call back into Python."""
    for name, step in graph.steps.items():
        around = units.intersection((step, *step.calls))
        if calls_python(step.equation) and any(calls_python(unit.equation) for unit in around):
            raise GraphError(
                f"{name!r} calls a Python function, which a graph of an open size cannot do",
                fix="trace it with a number in place of None, or fetch what does not need it",
            )


def _symbols(equation: Any) -> Iterable[str]:
    for variable in equation.outvars:
        yield from symbols(variable.aval.shape)
    for given in equation.params.values():
        yield from symbols(given)


def _key(graph: Graph, fetches: Any) -> Any:
    leaves, structure = jax.tree.flatten(fetches)
    for leaf in leaves:
        if not isinstance(leaf, str | Tensor | Operation):  # an array has no hash
            target(graph, leaf)
    return structure, tuple(leaves)


def _check_missing(graph: Graph, missing: set[Any], fetches: Sequence[Tensor | Operation]) -> None:
    if missing:
        told = [str(one) for one in (*graph.placeholders, *graph.variables) if graph.variable_of[one.name] in missing]
        raise GraphError(
            f"{', '.join(one.name for one in fetches)} cannot be computed without a value for {', '.join(told)}",
            fix="feed " + "{" + ", ".join(f"{one.split(':')[0]!r}: ..." for one in told) + "}",
        )


def _check_use(graph: Graph, unused: Sequence[Tensor]) -> None:
    """An argument's value is never wrong to give; that of another tensor was meant to change something."""
    given = {tensor.name for _, tensors in graph.arguments.values() for tensor in tensors}
    for tensor in unused:
        if tensor.name not in given:
            raise GraphError(
                f"nothing that is fetched depends on the feed for {tensor.name!r}",
                fix="leave it out, or fetch what it leads to",
            )


def find_device(device: Any) -> Any:
    """The device that a name or a `jax.Device` stands for.

    Raises:
        GraphError: there is none of that kind here.
    """
    if isinstance(device, jax.Device):
        return device
    try:
        return jax.devices(device)[0]
    except (RuntimeError, TypeError, AttributeError) as error:
        present = ", ".join(dict.fromkeys(one.platform for one in (*jax.devices(), *jax.devices("cpu"))))
        raise GraphError(
            "there is no such device here",
            given=f"device={device!r}",
            expected=f"one of: {present}",
            fix="leave device out, or install the jaxlib for it (pip install 'jax[cuda13]' for an NVIDIA GPU)",
        ) from error
