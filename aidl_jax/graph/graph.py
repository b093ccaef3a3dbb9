"""The graph of a function: what can be asked of it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aidl_jax.errors import GraphError
from aidl_jax.graph.diff import Difference, diff
from aidl_jax.graph.feeding import check_feeds
from aidl_jax.graph.flatten import Program, Step
from aidl_jax.graph.inspection import Inspection, inspect
from aidl_jax.graph.nodes import Operation, Tensor
from aidl_jax.graph.running import function, run
from aidl_jax.graph.table import table
from aidl_jax.graph.telling import headline

__all__ = ["Graph"]


@dataclass(frozen=True, eq=False, repr=False)
class Graph:
    """A function as data: operations, and the tensors between them. `trace` makes one; nothing changes it.

    Args:
        name: the function's name.
        outputs: what the function returns, each array in it as the tensor that holds it.
        arguments: for each argument its tree structure and its tensors.
        nodes: the operations by name.
        steps: JAX's equation for each operation that is one.
        program: the flat function that cuts are made of.
        variable_of: the flat function's variable for each tensor's name.
        compiled: what was compiled so far, by fetches, fed names and device.
    """

    name: str
    outputs: Any
    arguments: Mapping[str, tuple[Any, tuple[Tensor, ...]]] = field(repr=False)
    nodes: Mapping[str, Operation] = field(repr=False)
    steps: Mapping[str, Step] = field(repr=False)
    program: Program = field(repr=False)
    variable_of: Mapping[str, Any] = field(repr=False)
    compiled: dict[Any, Any] = field(default_factory=dict, repr=False)

    def operations(self) -> list[Operation]:
        """All operations in topological order: the order in which the function does them."""
        return list(self.nodes.values())

    @property
    def placeholders(self) -> tuple[Tensor, ...]:
        """The arguments that are fed."""
        return self._of_type("placeholder")

    @property
    def variables(self) -> tuple[Tensor, ...]:
        """The arguments that hold state, as `trace(..., variables=...)` named them."""
        return self._of_type("variable")

    @property
    def constants(self) -> tuple[Tensor, ...]:
        """The arrays that the function closes over."""
        return self._of_type("constant")

    def _of_type(self, kind: str) -> tuple[Tensor, ...]:
        return tuple(one.outputs[0] for one in self.nodes.values() if one.type == kind)

    def __getitem__(self, name: str) -> Any:
        """The operation `layer1/add`, or the tensor `layer1/add:0`.

        Raises:
            GraphError: there is none of that name.
        """
        if not isinstance(name, str):
            raise GraphError(
                "a graph is asked by name", given=repr(name), fix="graph['name'], or graph.operations() for all of them"
            )
        operation, colon, index = name.partition(":")
        found = self.nodes.get(operation)
        if found is None:
            raise self._unknown(operation)
        if not colon:
            return found
        if not index.isdecimal() or int(index) >= len(found.outputs):
            raise GraphError(
                f"{operation!r} has no such output",
                given=repr(name),
                expected=", ".join(out.name for out in found.outputs) or "an operation that has outputs",
                fix="fetch one of these",
            )
        return found.outputs[int(index)]

    def _unknown(self, name: str) -> GraphError:
        parts = name.split("/")
        for count in range(len(parts) - 1, 0, -1):
            around = self.nodes.get("/".join(parts[:count]))
            if around is not None and around.bodies:
                body = parts[count] if parts[count] in around.bodies else next(iter(around.bodies))
                return GraphError(
                    f"{name!r} is inside a {around.type}, where it has a value for each time it runs",
                    fix=f"open it, graph[{around.name!r}].bodies[{body!r}], and run that",
                )
        return GraphError("there is no operation of that name", given=repr(name), fix=_suggest(name, list(self.nodes)))

    def run(self, fetches: Any, feeds: Mapping[Any, Any] | None = None, *, device: Any = None) -> Any:
        """Evaluates what is asked for, and nothing else.

        Args:
            fetches: a tensor's name or an operation's (its only output; nothing, for one that has none), a `Tensor`, an
                `Operation`, or a pytree of those, `graph.outputs` for example.
            feeds: values by name: of placeholders (`x`, `params/w`), of a whole argument (`params`, as a pytree), or of any
                other tensor, which is then not computed.
            device: `"cpu"`, `"gpu"` or a `jax.Device` to run on; the default device if None.

        Returns:
            JAX arrays in the structure of `fetches`.

        Raises:
            GraphError: a name is unknown, a feed is missing, not what was traced, or of no use, or a device is not there.

        >>> import jax.numpy as jnp
        >>> from aidl_jax.graph import trace
        >>> graph = trace(lambda x: jnp.sqrt(x) + 1.0, jnp.float32(0))
        >>> float(graph.run("sqrt", {"x": 9.0})), float(graph.run("add:0", {"sqrt:0": 10.0}))
        (3.0, 11.0)
        """
        check_feeds(self, {} if feeds is None else feeds)
        return run(self, fetches, {} if feeds is None else feeds, device)

    def function(self, fetches: Any, feeds: Sequence[Any] = ()) -> Callable[..., Any]:
        """The part of the graph from some tensors to others as a compiled function: `jax.jit`'s own callable.

        Args:
            fetches: as for `run`.
            feeds: names, as for `run`, in the order of the function's arguments.

        >>> import jax.numpy as jnp
        >>> from aidl_jax.graph import trace
        >>> graph = trace(lambda x: jnp.sqrt(x) + 1.0, jnp.float32(0))
        >>> float(graph.function("add", ["sqrt"])(10.0))
        11.0
        """
        if isinstance(feeds, str | Mapping):
            raise GraphError(
                "the feeds of a function are a list of names",
                given=repr(feeds),
                fix=f"write {[*feeds] if isinstance(feeds, Mapping) else [feeds]!r}",
            )
        return function(self, fetches, tuple(feeds))

    def inspect(self, feeds: Mapping[Any, Any], *, device: Any = None) -> Inspection:
        """Every tensor's value for these feeds: shape, range, mean, NaN and Inf counts, and where the first was born.

        All values are held at once. Products of matrices are computed at the highest precision.

        >>> import jax.numpy as jnp
        >>> from aidl_jax.graph import trace
        >>> graph = trace(lambda x: jnp.log(x - 2.0) * 0.0, jnp.float32(0))
        >>> seen = graph.inspect({"x": 1.0})
        >>> print(seen["sub"])
        sub:0 float32[] from -1 to -1, mean -1
        >>> seen.first_nan.operation.name
        'log'
        """
        check_feeds(self, feeds)
        return inspect(self, feeds, device)

    def diff(self, other: Graph, feeds: Mapping[Any, Any] | None = None) -> Difference | None:
        """The first operation at which this function and another differ; None if they compute the same in the same way.

        Names, lines, nested calls, dead code and the order of independent operations do not count.

        Args:
            other: the graph of a function with the same arguments.
            feeds: values for this graph's arguments, to compare values, too (at the highest precision of products).

        >>> import jax.numpy as jnp
        >>> from aidl_jax.graph import trace
        >>> one = trace(lambda x: jnp.sin(x) + 1.0, jnp.float32(0))
        >>> two = trace(lambda x: jnp.sin(x) + 2.0, jnp.float32(0))
        >>> one.diff(one), one.diff(two).here.name
        (None, 'add')
        """
        if not isinstance(other, Graph):
            raise GraphError(
                "a graph is compared with a graph", given=type(other).__name__, fix="graph.diff(trace(other, ...))"
            )
        if feeds is not None:
            check_feeds(self, feeds)
        return diff(self, other, feeds)

    def table(self, scope: str = "") -> str:
        """All operations as text: type, inputs, outputs and source line of each, grouped by scope.

        `print(graph)` shows it, too, with inner scopes closed where there are hundreds of lines.

        Args:
            scope: only this scope, `gradients/layer1`; everything if empty.

        Raises:
            GraphError: there is no such scope.
        """
        return table(self, scope)

    def to_tensorboard(self, writer: Any) -> None:
        """Writes the graph for TensorBoard's Graphs tab.

        Arguments and constants stand in groups of their own, `placeholders/x`, `variables/params/w`; everything else has
        its name; the bodies of loops and branches stand inside their operation.

        Args:
            writer: a `tensorboardX.SummaryWriter` that is open. One for each graph: TensorBoard shows one of a run.

        Raises:
            GraphError: it is something else, or closed.
        """
        from aidl_jax.graph.tensorboard import write

        write(self, writer)

    def __str__(self) -> str:
        return table(self, limit=300)

    def __repr__(self) -> str:
        return f"<Graph {headline(self)}>"

    def _repr_html_(self) -> str:
        from aidl_jax.graph.html import graph_html

        return graph_html(self)


def _suggest(name: str, names: Sequence[str]) -> str:
    """The names that come closest: in any scope, or spelled alike; else where to see them all."""
    last = name.rpartition("/")[2]
    alike = [one for one in names if one.rpartition("/")[2] == last] or difflib.get_close_matches(name, names)
    if alike:
        return f"did you mean {' or '.join(map(repr, alike[:3]))}?"
    return (
        f"choose one of the {len(names)} that print(graph) shows, {names[-1]!r} for example" if names else "it has none"
    )
