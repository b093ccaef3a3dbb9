"""Running a part of a graph: values in at the feeds, values out at the fetches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax

from aidl_jax._compat import at_highest_precision, jaxpr_as_fun, symbols
from aidl_jax.errors import GraphError
from aidl_jax.graph.exporting import check_callbacks, compiled, exported, open_sizes
from aidl_jax.graph.feeding import Slot, as_array, check_fit, slots_of, target
from aidl_jax.graph.nodes import Operation, Tensor
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
    prepared = graph.compiled.get(key)
    if prepared is None:
        prepared = graph.compiled[key] = _prepare(graph, fetches, feeds, device, at_highest)
    values: list[Any] = []
    for name, slot in zip(prepared.feeds, prepared.slots, strict=True):
        values += slot.leaves(feeds[name])
    values = list(map(as_array, prepared.tensors, values))
    check_fit(prepared.tensors, values)
    if device is None:
        return prepared.call(*values)
    with jax.default_device(prepared.device):  # for what has no feeds
        return prepared.call(*jax.device_put(values, prepared.device))


def _prepare(graph: Graph, fetches: Any, feeds: Iterable[Any], device: Any, at_highest: bool) -> Prepared:
    found = None if device is None else find_device(device)
    slots = slots_of(graph, feeds)
    tensors = [tensor for slot in slots for tensor in slot.tensors]
    return Prepared(
        tuple(feeds), slots, tensors, compiled(_flat(graph, fetches, slots, found, at_highest), tensors), found
    )


def function(graph: Graph, fetches: Any, feeds: Sequence[Any]) -> Callable[..., Any]:
    """See `Graph.function`."""
    key = ("function", _key(graph, fetches), feeds)
    if key not in graph.compiled:
        slots = slots_of(graph, feeds)
        fed = [tensor for slot in slots for tensor in slot.tensors]
        graph.compiled[key] = compiled(_structured(graph, fetches, slots), fed)
    return graph.compiled[key]


def _structured(graph: Graph, fetches: Any, slots: Sequence[Slot]) -> Callable[..., Any]:
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
    free = open_sizes(closed.jaxpr)
    if not free:
        return jaxpr_as_fun(closed)
    if not free <= {name for one in fed for name in symbols(one.shape)}:
        raise GraphError(
            f"the size of {', '.join(sorted(free))} is not in what is fed",
            given=", ".join(map(str, fed)) or "no feed",
            fix=f"feed a tensor that has it as a dimension: "
            f"{', '.join(str(one) for one in graph.placeholders if symbols(one.shape))}",
        )
    check_callbacks(graph, set(units))
    return exported(closed, fed, device)


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
