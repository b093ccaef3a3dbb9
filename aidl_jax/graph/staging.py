"""Define-and-run beside define-by-run: one function run as Python and as a graph, and what each stage costs."""

from __future__ import annotations

import functools
import re
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from aidl_jax._compat import callee, equations
from aidl_jax.errors import GraphError
from aidl_jax.graph.costs import Calls, Compiled, Lowered, Memory, Stages, Traced
from aidl_jax.graph.gaps import gap
from aidl_jax.graph.nodes import describe
from aidl_jax.graph.optimised import count
from aidl_jax.graph.sources import line_of

__all__ = ["retraces", "stages"]


def stages(fn: Callable[..., Any], *args: Any, repeats: int = 5) -> Stages:
    """Runs a function as Python, then traces, lowers and compiles it and runs that, and says what each stage cost.

    Both ways run with matrix products at full precision. The first eager call also compiles each operation that no
    earlier call has used at these shapes; a loop runs an iteration at a time, so a long `scan` takes long. A function
    that is jitted already, and was called, is not traced again.

    Args:
        fn: any function that JAX can run, jitted or not; one that cannot be traced gets as far as it can.
        *args: values to run it on: arrays, numbers, pytrees of them.
        repeats: how many later calls the median is taken of.

    Raises:
        GraphError: it is no function, `repeats` is below 1, or the compiled function returns something of another
            structure or shape.

    >>> import jax.numpy as jnp
    >>> report = stages(lambda x, w: jnp.tanh(x @ w), jnp.ones((4, 3)), jnp.ones((3, 2)))
    >>> report.traced.operations, report.difference < 1e-6
    (2, True)
    """
    _check_function("stages", fn)
    if repeats < 1:
        raise GraphError("nothing is measured without a repeat", given=f"repeats={repeats}", fix="pass 5")
    name = getattr(fn, "__name__", type(fn).__name__)
    backend = f"{jax.default_backend()}, JAX {jax.__version__}"
    with jax.default_matmul_precision("highest"):
        with jax.disable_jit():
            expected, eager = _calls(fn, args, repeats)
        jitted = _jitted(fn)
        try:
            trace, seconds = _timed(lambda: jitted.trace(*args))
        except Exception as error:
            return Stages(name, backend, eager, error=str(_untraceable(error)))
        traced = Traced(seconds, sum(callee(equation) is None for equation in equations(trace.jaxpr.jaxpr)))
        lowering, seconds = _timed(trace.lower)
        lowered = Lowered(seconds, *_costs(lowering))
        program, seconds = _timed(lowering.compile)
        compiled = _compiled(program, seconds)
        result, run = _calls(jitted, args, repeats)
    difference = _difference(expected, result)
    return Stages(name, backend, eager, traced, lowered, compiled, run, difference)


def retraces(fn: Callable[..., Any], calls: Iterable[Sequence[Any]]) -> int:
    """How many graphs a function needs for a list of calls: one for each new combination of shapes and dtypes.

    Args:
        fn: a function that JAX can trace, jitted or not.
        calls: the arguments of each call, a tuple or a list: values, or `jax.ShapeDtypeStruct`s.

    Raises:
        GraphError: it is no function, or a call is no tuple of arguments.

    >>> import jax.numpy as jnp
    >>> retraces(jnp.sin, [(jnp.ones(3),), (jnp.zeros(3),), (jnp.ones(4),)])
    2
    """
    _check_function("retraces", fn)
    calls = list(calls)
    for number, args in enumerate(calls):
        _check_arguments(number, args)
    jitted = _jitted(fn)
    jaxprs = [jitted.trace(*args).jaxpr for args in calls]  # JAX gives the same one again where it need not trace
    return len({id(jaxpr) for jaxpr in jaxprs})


def _check_function(name: str, fn: Any) -> None:
    if not callable(fn):
        raise GraphError("this is not a function", given=repr(fn), fix=f"{name}(function, ...), without calling it")


def _check_arguments(number: int, args: Any) -> None:
    if not isinstance(args, tuple | list):
        raise GraphError(
            "the arguments of a call are not a tuple",
            given=describe(args.shape, args.dtype) if hasattr(args, "dtype") else repr(args),
            where=f"calls[{number}]",
            fix="write (x,) where the function takes one argument, (x, w) where it takes two",
        )


def _jitted(fn: Callable[..., Any]) -> Any:
    """The function compiled anew: JAX would remember one that was jitted before."""
    if isinstance(fn, jax.stages.Wrapped):
        return fn

    @functools.wraps(fn, updated=())
    def fresh(*args: Any) -> Any:
        return fn(*args)

    return jax.jit(fresh)


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def _calls(fn: Callable[..., Any], args: Sequence[Any], repeats: int) -> tuple[Any, Calls]:
    """Each call gets copies, so that a function that is given its arguments' memory may keep it."""
    found = []
    for _ in range(repeats + 1):
        own = jax.block_until_ready(
            jax.tree.map(lambda leaf: leaf.copy() if isinstance(leaf, jax.Array | np.ndarray) else leaf, args)
        )
        result, seconds = _timed(functools.partial(_finished, fn, own))
        found.append(seconds)
    return result, Calls(found[0], statistics.median(found[1:]))


def _finished(fn: Callable[..., Any], args: Sequence[Any]) -> Any:
    return jax.block_until_ready(fn(*args))


def _costs(stage: Any) -> tuple[int | None, int | None]:
    """FLOPs and bytes; some backends answer with a list of one, with None, or not at all."""
    try:
        found = stage.cost_analysis()
    except NotImplementedError:
        found = None
    if isinstance(found, list | tuple):
        found = found[0] if found else None
    known: Mapping[str, float] = found or {}
    flops, size = (known.get(key) for key in ("flops", "bytes accessed"))
    return _counted(flops), _counted(size)


def _counted(number: float | None) -> int | None:
    """A negative number is XLA's word for unknown."""
    return None if number is None or number < 0 else int(number)


def _compiled(program: Any, seconds: float) -> Compiled:
    text = program.as_text()
    return Compiled(seconds, count(text) if text else None, *_costs(program), _memory(program))


def _memory(program: Any) -> Memory | None:
    try:
        found = program.memory_analysis()
    except NotImplementedError:
        found = None
    if found is None:
        return None
    kinds = ("argument", "output", "temp", "alias", "generated_code")
    return Memory(*(int(getattr(found, f"{kind}_size_in_bytes")) for kind in kinds))


def _difference(expected: Any, result: Any) -> float:
    left, structure = jax.tree.flatten(expected)
    right, found = jax.tree.flatten(result)
    if structure != found or list(map(np.shape, left)) != list(map(np.shape, right)):
        raise GraphError(
            "the compiled function returns something else than the function",
            given=_shapes(result),
            expected=_shapes(expected),
            fix="make it a function of its arguments alone",
        )
    return float(np.max([gap(*pair) for pair in zip(left, right, strict=True)], initial=0.0))


def _shapes(tree: Any) -> str:
    return str(jax.tree.map(np.shape, tree, is_leaf=lambda leaf: leaf is None))


_FIXES = {
    "TracerBoolConversionError": "choose with jnp.where or jax.lax.cond in place of `if`, loop with jax.lax.while_loop",
    "TracerArrayConversionError": "use jax.numpy in place of numpy",
    "TracerIntegerConversionError": "make it a number that is known beforehand, or index and slice with jax.lax",
    "ConcretizationTypeError": "leave the value an array; float(), int() and .item() need a number",
    "NonConcreteBooleanIndexError": "keep all elements and choose with jnp.where: shapes are fixed before values are known",
    "TypeError": "pass what is neither an array nor a number by a closure, functools.partial(fn, ...)",
}


def _untraceable(error: Exception) -> GraphError:
    """An error of tracing as one that says at which line of the program."""
    kind, said = type(error).__name__, str(error).strip().splitlines() or [""]
    return GraphError(
        "it cannot be traced, since tracing runs it without values",
        given=f"{kind}: {re.sub(r' at 0x[0-9a-f]+', '', said[0]).rstrip('.')}",
        where=line_of(error),
        fix=_FIXES.get(kind),
    )
