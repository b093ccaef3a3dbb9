"""Every value in a graph at once: ranges, means, and where the first NaN was born."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.graph.feeding import target
from aidl_jax.graph.nodes import Operation, Tensor, describe
from aidl_jax.graph.running import run

if TYPE_CHECKING:
    from aidl_jax.graph.graph import Graph

__all__ = ["Birth", "Inspection", "Summary", "inspect", "summarize"]


class Summary(NamedTuple):
    """What a tensor's values are like; numbers over its finite elements, None where there are none.

    `nans` and `infs` count elements.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Any
    low: float | None
    high: float | None
    mean: float | None
    nans: int
    infs: int

    def __str__(self) -> str:
        text = f"{self.name} {describe(self.shape, self.dtype)}"
        if self.low is not None:
            text += f" from {self.low:.6g} to {self.high:.6g}, mean {self.mean:.6g}"
        odd = [f"{count} {kind}" for count, kind in ((self.nans, "NaN"), (self.infs, "Inf")) if count]
        return ", ".join([text, *odd])


class Birth(NamedTuple):
    """The operation that made the first NaN (or Inf) out of inputs that had none.

    `around` are the operations it is inside of, outermost first, each with the number of the iteration (from 0).
    """

    kind: str
    operation: Operation
    inputs: tuple[Summary, ...]
    around: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        inside = "".join(f", in iteration {number} of {name!r}" for name, number in reversed(self.around))
        where = f" at {self.operation.source}" if self.operation.source else ""
        is_constant = self.operation.type == "constant"
        given = "; ".join(map(str, self.inputs)) or (
            "an array that the function closes over" if is_constant else "numbers"
        )
        return f"the first {self.kind} is born in {self.operation.name!r}{inside}{where}, from {given}"


@dataclass(frozen=True, eq=False, repr=False)
class Inspection:
    """What one set of feeds makes of a graph.

    `inspection["layer1/add:0"]` is a tensor's summary, `inspection.value("layer1/add:0")` its value;
    `print(inspection)` shows all.

    Args:
        summaries: by tensor name, in the graph's order.
        first_nan: where the first NaN was born; None where there is none, or where it was fed.
        first_inf: the same for the first infinite value.
        device: where they were computed.
    """

    graph: Graph = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)
    summaries: Mapping[str, Summary]
    first_nan: Birth | None
    first_inf: Birth | None
    device: jax.Device

    def __getitem__(self, name: str) -> Summary:
        return self.summaries[self._tensor(name)]

    def value(self, name: str) -> np.ndarray:
        """A tensor's value as a NumPy array."""
        return np.asarray(self.values[self._tensor(name)])

    def _tensor(self, name: str) -> str:
        return target(self.graph, name).name

    def __str__(self) -> str:
        births = [str(birth) for birth in (self.first_nan, self.first_inf) if birth]
        return "\n".join([f"{self.graph.name} on {self.device}", *map(str, self.summaries.values()), *births])

    def __repr__(self) -> str:
        return f"<Inspection of {self.graph.name}: {len(self.summaries)} tensors; print it, or index it by name>"


def inspect(graph: Graph, feeds: Mapping[Any, Any], device: Any = None) -> Inspection:
    """See `Graph.inspect`."""
    names = [out.name for operation in graph.operations() for out in operation.outputs]
    computed = run(graph, names, feeds, device, at_highest=True)
    values = dict(zip(names, computed, strict=True))
    summaries = {name: summarize(name, value) for name, value in values.items()}
    births = [_first(graph, values, summaries, kind) for kind in ("NaN", "Inf")]
    used = next((at for one in computed if isinstance(one, jax.Array) for at in one.devices()), jax.devices()[0])
    return Inspection(graph, values, summaries, births[0], births[1], used)


def summarize(name: str, value: Any) -> Summary:
    """An array's summary.

    >>> print(summarize("x:0", np.float32([1, 3, np.nan])))
    x:0 float32[3] from 1 to 3, mean 2, 1 NaN
    """
    if not jnp.issubdtype(value.dtype, np.number) and value.dtype != bool:
        return Summary(name, value.shape, value.dtype, None, None, None, 0, 0)
    array = np.asarray(value)
    wide = array.astype(np.complex128 if jnp.iscomplexobj(array) else np.float64)
    nans, infs = int(np.isnan(wide).sum()), int(np.isinf(wide).sum())
    finite = np.abs(wide[np.isfinite(wide)]) if np.iscomplexobj(wide) else wide[np.isfinite(wide)]
    if not finite.size:
        return Summary(name, array.shape, array.dtype, None, None, None, nans, infs)
    return Summary(
        name, array.shape, array.dtype, float(finite.min()), float(finite.max()), float(finite.mean()), nans, infs
    )


def _first(graph: Graph, values: Mapping[str, Any], summaries: Mapping[str, Summary], kind: str) -> Birth | None:
    def has(tensor: Tensor) -> bool:
        summary = summaries[tensor.name]
        return bool(summary.nans if kind == "NaN" else summary.infs)

    for operation in graph.operations():
        is_given = operation.type in ("placeholder", "variable")
        if not is_given and any(map(has, operation.outputs)) and not any(map(has, operation.inputs)):
            given = [values[one.name] if isinstance(one, Tensor) else one for one in operation.operands]
            return _inside(operation, given, kind) or Birth(
                kind, operation, tuple(summaries[name] for name in dict.fromkeys(one.name for one in operation.inputs))
            )
    return None


def _inside(operation: Operation, given: Sequence[Any], kind: str) -> Birth | None:
    """The birth inside a loop or a branch, found by going through its iterations one by one."""
    for iteration, (body, feeds) in enumerate(_iterations(operation, given)):
        seen = inspect(body, dict(zip(body.arguments, feeds, strict=True)))
        found = seen.first_nan if kind == "NaN" else seen.first_inf
        if found:
            return found._replace(around=((operation.name, iteration), *found.around))
    return None


def _iterations(operation: Operation, given: Sequence[Any]) -> Iterator[tuple[Graph, Sequence[Any]]]:
    """The body and its inputs for each time that it runs."""
    unroll: Callable[[Operation, Sequence[Any]], Iterator[tuple[Graph, Sequence[Any]]]] | None
    unroll = {"scan": _scan, "while": _while, "cond": _cond}.get(operation.type)
    if unroll is not None:
        yield from unroll(operation, given)


def _run(body: Graph, fetches: Any, given: Sequence[Any]) -> Any:
    return run(body, fetches, dict(zip(body.arguments, given, strict=True)), None, at_highest=True)


def _scan(operation: Operation, given: Sequence[Any]) -> Iterator[tuple[Graph, Sequence[Any]]]:
    params, body = operation.attributes, operation.bodies["body"]
    consts, carry_end = params["num_consts"], params["num_consts"] + params["num_carry"]
    carry = list(given[consts:carry_end])
    order = range(params["length"])
    for number in reversed(order) if params["reverse"] else order:
        feeds = [*given[:consts], *carry, *(jnp.asarray(one)[number] for one in given[carry_end:])]
        yield body, feeds
        carry = _run(body, jax.tree.leaves(body.outputs)[: len(carry)], feeds)


def _while(operation: Operation, given: Sequence[Any]) -> Iterator[tuple[Graph, Sequence[Any]]]:
    condition, body = operation.bodies["cond"], operation.bodies["body"]
    start, stop = operation.attributes["cond_nconsts"], operation.attributes["body_nconsts"]
    consts, carry = given[start : start + stop], list(given[start + stop :])
    while _run(condition, condition.outputs, [*given[:start], *carry])[0]:
        yield body, [*consts, *carry]
        carry = _run(body, body.outputs, [*consts, *carry])


def _cond(operation: Operation, given: Sequence[Any]) -> Iterator[tuple[Graph, Sequence[Any]]]:
    branch = int(np.clip(given[0], 0, len(operation.bodies) - 1))
    yield operation.bodies[f"branch_{branch}"], given[1:]
