"""Backprop, step by step: what comes from above, the local derivative, what goes on, and what is held until then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as File
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax.autodiff.arguments import check_scalar, check_values, chosen, traced
from aidl_jax.autodiff.evaluation import Path, evaluate
from aidl_jax.autodiff.local import factor_of, partial_of
from aidl_jax.autodiff.loops import LOOPS
from aidl_jax.autodiff.residuals import is_given, size_of
from aidl_jax.autodiff.reverse import check_connected
from aidl_jax.autodiff.tape import BackwardStep, Tape, backward_steps, residuals_of, way_back
from aidl_jax.autodiff.telling import columns, told, told_bytes
from aidl_jax.graph import Graph, Operation, Tensor

__all__ = ["Explanation", "Step", "explain_backprop"]

LETTERS = "x, y, z are an operation's inputs, in their order. No local derivative depends on the loss."
MAX = "max is the largest absolute value in an array."
WIDEST = (4, 18, 18, 26, 16, 16, 10)


@dataclass(frozen=True, eq=False)
class Step:
    """One step of the way back: through one operation, to one of its inputs.

    Args:
        operation: the operation.
        input: the tensor that gets a gradient, `w:0`.
        local: the local derivative in words.
        factor: the local derivative as an array, where the operation works element by element; else None.
        upstream: the gradient of the operation's output (of each of them, for an operation that has several).
        result: what comes out for the input: upstream times local derivative.
        total: the input's gradient so far: `result`, and what came to it on other ways before.
        held: the names of the values that are in memory for this step and those after it.
    """

    operation: Operation
    input: str
    local: str
    factor: Any
    upstream: tuple[Any, ...]
    result: Any
    total: Any
    held: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """A backward pass as it happened. `print` it, end a notebook's cell with it, or `write` it as a page.

    Args:
        graph: the function's graph.
        values: the value of every tensor, by name.
        steps: the way back.
        gradients: of what is differentiated, by tensor name.
        sizes: in bytes, of everything that is held; arguments and constants, which are there anyway, count 0.
    """

    graph: Graph
    values: dict[str, Any] = field(repr=False)
    steps: tuple[Step, ...]
    gradients: dict[str, Any]
    sizes: dict[str, int]

    @property
    def loss(self) -> float:
        """What the function returned."""
        return float(self.values[jax.tree.leaves(self.graph.outputs)[0].name])

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("step", "back through", "to", "local derivative", "upstream", "result", "held")]
        rows += [_row(number, self, step) for number, step in enumerate(self.steps, 1)]
        found = [f"gradient of {short(name)}: {told(gradient)}" for name, gradient in self.gradients.items()]
        return "\n".join([self.headline, "", *columns(rows, WIDEST), "", LETTERS, MAX, *found])

    @property
    def headline(self) -> str:
        """The function, its loss, and the most that is held."""
        made = [size for size in self.sizes.values() if size]
        return (
            f"{self.graph.name} = {self.loss:.6g}; {len(self.steps)} steps back; {len(made)} values of "
            f"{told_bytes(sum(made))} are held when they begin"
        )

    def held_bytes(self, step: Step) -> int:
        """How much memory is held for a step, beside arguments and constants."""
        return sum(self.sizes[name] for name in step.held)

    def __repr__(self) -> str:
        return f"<Explanation {self.headline}>"

    def _repr_html_(self) -> str:
        from aidl_jax.autodiff.explain_page import table_html

        return table_html(self)

    def write(self, file: str | File) -> File:
        """Writes one HTML file, with no need of a network, that goes forward and back through the graph, step by step."""
        from aidl_jax.autodiff.explain_page import page

        file = File(file)
        file.write_text(page(self), encoding="utf-8")
        return file


def explain_backprop(fn: Callable[..., Any], *args: Any, argnums: int | Sequence[int] = 0) -> Explanation:
    """Runs backprop on a loss and keeps every step of it to look at.

    Args:
        fn: a function that returns one float.
        *args: its arguments: values.
        argnums: by which arguments to differentiate, as for `grad`.

    Raises:
        AutodiffError: as for `grad`.

    >>> seen = explain_backprop(lambda w, x: jnp.sin(w * x), 2.0, 0.5)
    >>> [(step.operation.name, step.local, round(float(step.result), 3)) for step in seen.steps]
    [('sin', 'cos x', 0.54), ('mul', 'y', 0.27)]
    """
    check_values("explain_backprop", args)
    graph = traced(fn, args)
    sources = chosen(graph, (argnums,) if isinstance(argnums, int) else tuple(argnums))
    loss = check_scalar(graph)
    path = way_back(graph, sources)
    check_connected(graph, path, sources)
    values, steps, gradients = _run(graph, path, jax.tree.leaves(args), loss)
    kept = {tensor.name: tensor for operation in path.operations for tensor in residuals_of(operation, path)}
    sizes = {name: 0 if is_given(graph, tensor) else size_of(tensor) for name, tensor in kept.items()}
    found = {one.name: gradients.get(one.name, jnp.zeros(one.shape, one.dtype)) for one in sources}
    return Explanation(graph, values, steps, found, sizes)


def _run(graph: Graph, path: Path, leaves: list[Any], loss: Tensor) -> tuple[dict[str, Any], tuple[Step, ...], Any]:
    """Both ways at once, compiled: one by one, each operation would be compiled for itself."""
    made: list[Step] = []

    def both_ways(leaves: list[Any]) -> Any:
        values = evaluate(graph, leaves)
        gradients = {loss.name: jnp.ones((), loss.dtype)}
        held = held_before(path)
        passed = backward_steps(Tape(path, values), gradients)
        made[:] = [_step(one, values, held[one.operation.name]) for one in passed]
        return values, [(one.factor, one.upstream, one.result, one.total) for one in made], gradients

    values, arrays, gradients = jax.jit(both_ways)(leaves)
    steps = [
        replace(
            one, factor=one.factor if isinstance(one.factor, int) else factor, upstream=up, result=result, total=total
        )
        for one, (factor, up, result, total) in zip(made, arrays, strict=True)
    ]
    return values, tuple(steps), gradients


def held_before(path: Path) -> dict[str, tuple[str, ...]]:
    """For each operation what is held when the way back comes to it: what it and those before it need."""
    held: dict[str, None] = {}
    found = {}
    for operation in path.operations:
        held |= {tensor.name: None for tensor in residuals_of(operation, path)}
        found[operation.name] = tuple(held)
    return found


def _step(passed: BackwardStep, values: dict[str, Any], held: tuple[str, ...]) -> Step:
    operation, number = passed.operation, passed.number
    local, factor = "its body's, step by step", None
    if operation.type not in LOOPS:
        partial = partial_of(operation, number)
        local = partial.text
        factor = factor_of(operation, number, values) if partial.factor else None
    upstream = tuple(passed.upstream)
    return Step(operation, passed.input.name, local, factor, upstream, passed.result, passed.total, held)


def told_local(step: Step) -> str:
    """The local derivative: in words, and as a value where it is one and the words do not say it."""
    said = step.factor is None or isinstance(step.factor, int)
    return step.local if said else f"{step.local} = {told(step.factor)}"


def told_upstream(step: Step) -> str:
    """The gradient from above."""
    return "; ".join(told(one) for one in step.upstream if one is not None)


def short(name: str) -> str:
    """A tensor's name without the number of the output where it is the first."""
    return name.removesuffix(":0")


def _row(number: int, seen: Explanation, step: Step) -> tuple[str, ...]:
    made = [name for name in step.held if seen.sizes[name]]
    return (
        str(number),
        step.operation.name,
        short(step.input),
        told_local(step),
        told_upstream(step),
        told(step.result),
        f"{len(made)}: {told_bytes(seen.held_bytes(step))}",
    )


def told_value(value: Any) -> str:
    """All numbers where they are few; else as in the table."""
    array = np.asarray(value)
    return np.array2string(array, precision=4, suppress_small=True) if array.size <= 12 else told(array)
