"""From a function to its graph: JAX runs it on shapes, and what it did is put down as operations and tensors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from aidl_jax import _compat
from aidl_jax.errors import GraphError, close_matches
from aidl_jax.graph.batch import check_scopes, explained, open_batch
from aidl_jax.graph.flatten import Program, Step, flatten
from aidl_jax.graph.graph import Graph
from aidl_jax.graph.names import argument_names, clean, leaf_name, unique
from aidl_jax.graph.nodes import Operation, Tensor
from aidl_jax.graph.roles import gradient_steps
from aidl_jax.graph.sources import is_update, source

__all__ = ["build", "trace"]


def trace(fn: Callable[..., Any], *specs: Any, variables: Sequence[str] = ()) -> Graph:
    """The graph of a function: what it does, put down without doing it.

    Args:
        fn: any function that JAX can trace: plain, jitted, a gradient, a model's `apply`, a train step.
        *specs: one for each argument: a `jax.ShapeDtypeStruct`, an array, a number, or a pytree of those. Only shapes
            and dtypes are used. `None` as the first dimension stands for the batch: one size for all, chosen at run time.
        variables: the names of the arguments that hold state: parameters, an optimizer's state.

    Returns:
        The graph. Arguments are its placeholders (or variables), by path: `x`, `params/w`; arrays that `fn` closes
        over are its constants.

    Raises:
        GraphError: a spec or a variable's name is not what was expected, there are more or fewer specs than arguments, or `fn`
            needs to know the size of the batch.

    >>> import jax.numpy as jnp
    >>> graph = trace(lambda x, w: jnp.tanh(x @ w), jax.ShapeDtypeStruct((4, 3), jnp.float32), jnp.ones((3, 2)))
    >>> [operation.name for operation in graph.operations()]
    ['x', 'w', 'dot_general', 'tanh']
    """
    if not callable(fn):
        raise GraphError("this is not a function", given=repr(fn), fix="trace(function, spec, ...)")
    arguments = argument_names(fn, len(specs))
    if isinstance(variables, str):
        raise GraphError("variables are a list of names", given=repr(variables), fix=f"write [{variables!r}]")
    for variable in variables:
        if variable not in arguments:
            raise GraphError(
                "there is no such argument", given=f"variables={variable!r}", fix=close_matches(variable, arguments)
            )
    specs = tuple(open_batch(name, spec) for name, spec in zip(arguments, specs, strict=True))
    check_scopes(specs)
    try:
        closed, shapes = jax.make_jaxpr(fn, return_shape=True)(*specs)
    except Exception as error:
        told = explained(fn, specs, error)
        if told is None:
            raise
        raise told from error
    leaves = [_leaves(name, spec) for name, spec in zip(arguments, specs, strict=True)]
    names = [leaf for argument in leaves for leaf in argument]
    kinds = [
        "variable" if name in variables else "placeholder"
        for name, argument in zip(arguments, leaves, strict=True)
        for _ in argument
    ]
    name = clean(getattr(fn, "__name__", type(fn).__name__))
    structures = dict(zip(arguments, map(jax.tree.structure, specs), strict=True))
    graph = build(name, closed, names, kinds, jax.tree.structure(shapes), structures, _jits(fn))
    _check_values(graph)
    return graph


def _jits(fn: Any) -> int:
    count = 0
    while isinstance(fn, jax.stages.Wrapped):
        fn, count = getattr(fn, "__wrapped__", None), count + 1
    return count


def build(
    name: str,
    closed: _compat.ClosedJaxpr,
    inputs: Sequence[str],
    kinds: Sequence[str],
    outputs: Any,
    arguments: dict[str, Any],
    jits: int = 0,
) -> Graph:
    """The graph of a traced function.

    Args:
        name: the function's.
        closed: what JAX traced.
        inputs: a name for each of its inputs.
        kinds: for each whether it is a `placeholder` or a `variable`.
        outputs: the tree structure of what the function returns.
        arguments: for each argument the tree structure of its inputs, in their order.
        jits: how often the function itself is jitted.
    """
    program = flatten(closed, jits)
    is_gradient = gradient_steps(program)
    taken: dict[str, int] = {}
    given = [
        (variable, unique(one, taken), kind) for variable, one, kind in zip(program.inputs, inputs, kinds, strict=True)
    ]
    given += [(variable, unique("constant", taken), "constant") for variable in program.constants]
    names = [unique(_name(step, gradient), taken) for step, gradient in zip(program.steps, is_gradient, strict=True)]
    tensors = _tensors(program, {variable: name for variable, name, _ in given}, names)
    operations = [Operation(name, kind, (), (tensors[variable],)) for variable, name, kind in given]
    operations += [
        _operation(step, name, gradient, tensors)
        for step, name, gradient in zip(program.steps, names, is_gradient, strict=True)
    ]
    of_inputs = iter([tensors[variable] for variable in program.inputs])
    return Graph(
        name=name,
        outputs=jax.tree.unflatten(outputs, [tensors[out] for out in program.outputs]),
        arguments={
            argument: (structure, tuple(next(of_inputs) for _ in range(structure.num_leaves)))
            for argument, structure in arguments.items()
        },
        nodes={operation.name: operation for operation in operations},
        steps=dict(zip(names, program.steps, strict=True)),
        program=program,
        variable_of={tensor.name: variable for variable, tensor in tensors.items()},
    )


def _name(step: Step, is_gradient: bool) -> str:
    if is_gradient:
        scopes: tuple[str, ...] = ("gradients", *step.scopes)
    elif is_update(step) and not _is_named(step):
        scopes = ("optimizer", *step.scopes)
    else:
        scopes = step.scopes
    return clean("/".join([*scopes, step.equation.primitive.name]))


def _is_named(step: Step) -> bool:
    """Whether a `jax.named_scope` is around a step, as opposed to calls of functions only."""
    return any(_compat.name_stack(equation)[0] for equation in (step.equation, *step.callers))


def _tensors(program: Program, given: dict[Any, str], names: Sequence[str]) -> dict[Any, Tensor]:
    """Every variable's tensor, which knows where it comes from and where it goes."""
    consumers: dict[Any, list[str]] = defaultdict(list)
    for step, name in zip(program.steps, names, strict=True):
        for atom in dict.fromkeys(one for one in step.equation.invars if not isinstance(one, _compat.Literal)):
            consumers[atom].append(name)
    made = [(variable, name, 0) for variable, name in given.items()]
    for step, name in zip(program.steps, names, strict=True):
        made += [(variable, name, index) for index, variable in enumerate(step.equation.outvars)]
    return {
        variable: Tensor(f"{name}:{index}", variable.aval.shape, variable.aval.dtype, name, tuple(consumers[variable]))
        for variable, name, index in made
    }


def _operation(step: Step, name: str, is_gradient: bool, tensors: dict[Any, Tensor]) -> Operation:
    equation = step.equation
    custom = [call.custom for call in step.calls if call.custom]
    return Operation(
        name=name,
        type=equation.primitive.name,
        operands=tuple(
            np.asarray(atom.val, atom.aval.dtype)[()] if isinstance(atom, _compat.Literal) else tensors[atom]
            for atom in equation.invars
        ),
        outputs=tuple(tensors[variable] for variable in equation.outvars),
        attributes=equation.params,
        source=source(step),
        is_gradient=is_gradient,
        custom=custom[0] if custom else None,
        bodies={body: _body(body, closed, equation) for body, closed in _compat.bodies(equation).items()},
    )


def _body(name: str, closed: _compat.ClosedJaxpr, equation: Any) -> Graph:
    """The graph inside an operation; its placeholders are called by what they are to the operation."""
    inputs = _body_inputs(name, equation, len(closed.jaxpr.invars))
    outputs = jax.tree.structure([0] * len(closed.jaxpr.outvars))
    leaf = jax.tree.structure(0)
    return build(name, closed, inputs, ["placeholder"] * len(inputs), outputs, dict.fromkeys(inputs, leaf))


def _body_inputs(name: str, equation: Any, count: int) -> list[str]:
    params = equation.params
    if equation.primitive.name == "scan":
        groups = [("const", params["num_consts"]), ("carry", params["num_carry"]), ("x", count)]
    elif equation.primitive.name == "while":
        groups = [("const", params[f"{name}_nconsts"]), ("carry", count)]
    else:
        groups = [("operand", count)]
    named = [f"{group}_{number}" for group, size in groups for number in range(size)]
    return named[:count]


def _leaves(argument: str, spec: Any) -> list[str]:
    return [leaf_name(argument, path) for path, _ in jax.tree_util.tree_flatten_with_path(spec)[0]]


def _check_values(graph: Graph) -> None:
    """Raises `GraphError` where something is not a value: what is written into it would be lost in a cut."""
    for operation in graph.operations():
        if any(_compat.is_reference(graph.variable_of[out.name]) for out in operation.outputs):
            raise GraphError(
                f"{operation.name!r} is an array that is changed in place, not a value",
                where=str(operation.source) if operation.source else None,
                fix="write a function from the old value to the new one: old.at[...].set(part) in place of ref[...] = part",
            )
