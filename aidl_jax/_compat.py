"""The one file that touches names that JAX moves or keeps to itself (0.8.0 to 0.10.x)."""

from __future__ import annotations

import bisect
import contextlib
import functools
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax._src import core as _core
from jax._src import xla_bridge as _xla_bridge
from jax._src.interpreters import mlir as _mlir
from jax._src.state.types import AbstractRef as _AbstractRef
from jax.experimental import serialize_executable
from jax.experimental.key_reuse import _core as _key_reuse
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var, jaxpr_as_fun
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo as _stablehlo

KeyReuseError = jax.errors.KeyReuseError
InconclusiveDimensionOperation = _core.InconclusiveDimensionOperation

__all__ = [
    "Callee",
    "ClosedJaxpr",
    "InconclusiveDimensionOperation",
    "KeyReuseError",
    "Literal",
    "Var",
    "applied",
    "at_highest_precision",
    "at_size",
    "attributes",
    "bodies",
    "callee",
    "calls_python",
    "check_key_reuse",
    "check_leaks",
    "compile_quickly",
    "constants",
    "equations",
    "executable",
    "executable_bytes",
    "export_platform",
    "get_ready_to_fork",
    "holds_jaxpr",
    "ir",
    "is_reference",
    "is_zero_gradient",
    "jaxpr_as_fun",
    "name_stack",
    "parse_module",
    "place",
    "rule_written_outside_jax",
    "share_context",
    "source_frames",
    "symbols",
    "trace_state",
    "traced_at",
    "with_inner",
    "without_effects",
]


def check_key_reuse(closed: ClosedJaxpr) -> None:
    """Raises `KeyReuseError`, at the line that did it, where a traced function uses a PRNG key twice."""
    equations = closed.jaxpr.eqns

    def reused(count: int) -> Exception | None:
        try:
            _key_reuse.check_key_reuse_jaxpr(closed.jaxpr.replace(eqns=equations[:count]))
        except KeyReuseError as error:
            return error
        return None

    error = reused(len(equations))
    if error is not None:
        first = bisect.bisect_left(range(len(equations)), True, key=lambda n: reused(n + 1) is not None)
        raise traced_at(error, equations[first].source_info)


def check_leaks(closed: ClosedJaxpr) -> None:
    """Raises `UnexpectedTracerError`, at the line that did it, where a value of another trace is used."""
    for variable, constant in zip(closed.jaxpr.constvars, closed.consts, strict=True):
        if isinstance(constant, jax.core.Tracer):
            error = jax.errors.UnexpectedTracerError("a value of another trace is used")
            used = (e.source_info for e in closed.jaxpr.eqns if any(given is variable for given in e.invars))
            raise traced_at(error, next(used, getattr(constant, "_line_info", None)))
    for inner in _nested(closed.jaxpr):
        if isinstance(inner, ClosedJaxpr):
            check_leaks(inner)


def constants(closed: ClosedJaxpr) -> list[Any]:
    """All arrays that a traced function closes over, those of nested functions included."""
    found = list(closed.consts)
    for inner in _nested(closed.jaxpr):
        if isinstance(inner, ClosedJaxpr):
            found += constants(inner)
    return found


def equations(jaxpr: Jaxpr) -> Iterator[Any]:
    """Every equation, those of nested functions included."""
    for equation in jaxpr.eqns:
        yield from with_inner(equation)


def with_inner(equation: Any) -> Iterator[Any]:
    """An equation and all that are in functions nested in it."""
    yield equation
    for inner in _inner(equation):
        yield from equations(inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner)


def calls_python(equation: Any) -> bool:
    """Whether an equation, or one inside of it, calls a Python function each time it runs."""
    return any(one.primitive.name in _CALLBACKS for one in with_inner(equation))


_CALLBACKS = ("pure_callback", "io_callback", "debug_callback", "debug_print")


def _nested(jaxpr: Jaxpr) -> Iterator[ClosedJaxpr | Jaxpr]:
    for equation in jaxpr.eqns:
        yield from _inner(equation)


def _inner(equation: Any) -> Iterator[ClosedJaxpr | Jaxpr]:
    for given in equation.params.values():
        for part in given if isinstance(given, tuple | list) else (given,):
            if isinstance(part, ClosedJaxpr | Jaxpr):
                yield part


def traced_at(error: Any, source_info: Any) -> Any:
    """The error with the traceback of what was traced there, so that its line can be told."""
    trace = getattr(source_info, "traceback", None)
    return error.with_traceback(trace.as_python_traceback()) if trace is not None else error


def parse_module(serialized: bytes) -> Any:
    """The MLIR module inside an exported function (`Exported.mlir_module_serialized`)."""
    return _stablehlo.deserialize_portable_artifact(_mlir.make_ir_context(), serialized)


def share_context() -> None:
    """From now on JAX makes one MLIR context in this process, not two for each export: that takes as long as all the rest of a small one.

    For a short-lived process in which one thread uses MLIR, since what a context has once seen stays in it. May be called again.
    """
    if not hasattr(_mlir.make_ir_context, "cache_info"):
        _mlir.make_ir_context = functools.cache(_mlir.make_ir_context)


def get_ready_to_fork() -> None:
    """Does what JAX does once in a process, as far as it can be done without a thread: a fork has it done already.

    That is a fifth of what a small hand-in costs: imports, the MLIR context, first traces, and what the first exception of a C++
    library looks up. The backend is not started, and nothing of what was traced stays in a cache.
    """
    for name in ("jaxlib.mlir.dialects.mhlo", "jaxlib.mlir.dialects.builtin", "scipy.linalg.cython_lapack"):
        importlib.import_module(name)
    share_context()
    with contextlib.suppress(KeyError):
        ir.Module.parse("module {}", _mlir.make_ir_context()).operation.attributes["none"]
    _xla_bridge._plugins_registered = True  # none is wanted: a fork computes on the CPU
    matrix, vector = jax.ShapeDtypeStruct((3, 3), "float32"), jax.ShapeDtypeStruct((3,), "float32")
    for _ in range(3):  # Python's interpreter adapts to what it has run a few times
        jax.make_jaxpr(jax.vmap(jax.grad(_descent), (None, 0)))(vector, matrix)
        jax.clear_caches()


def _descent(x: jax.Array, y: jax.Array) -> jax.Array:
    """Some of what most answers are made of."""

    def step(at: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        loss, slope = jax.value_and_grad(lambda x: jnp.mean((jnp.exp(x) @ y - 1) ** 2))(at)
        return at - 0.1 * slope, loss

    return jnp.sum(jax.lax.scan(step, x, None, length=2)[0])


def compile_quickly(lowered: jax.stages.Lowered, long: bool) -> jax.stages.Compiled:
    """Compiles in half the time or less what is run a few times; a function that takes long to faster code than another."""
    return lowered.compile(
        {
            "xla_backend_optimization_level": int(long),
            "xla_cpu_use_fusion_emitters": False,
            "xla_cpu_parallel_codegen_split_count": 1,
        }
    )


def executable_bytes(compiled: jax.stages.Compiled) -> bytes:
    """What a function was compiled to, for a process on the same machine."""
    return serialize_executable.serialize(compiled)[0]


def executable(serialized: bytes, inputs: int, outputs: int) -> jax.stages.Compiled:
    """What `executable_bytes` gave, as a function from so many arrays to a list of so many.

    It is unpickled: the bytes must come from a process that ran nobody else's code.
    """
    arguments = jax.tree.structure(((0,) * inputs, {}))
    return serialize_executable.deserialize_and_load(serialized, arguments, jax.tree.structure([0] * outputs))


def attributes(operation: Any) -> dict[str, Any]:
    """An MLIR operation's attributes by name; JAX 0.8 iterates over pairs, later ones over names.

    For an array of complex numbers, which the bindings have no class for, the operation's text.
    """
    names = (item if isinstance(item, str) else item.name for item in operation.attributes)
    return {name: _attribute(operation, name) for name in names}


def _attribute(operation: Any, name: str) -> Any:
    try:
        return operation.attributes[name]
    except TypeError:
        return operation.get_asm(print_generic_op_form=True, use_local_scope=True).partition(" = ")[2]


class Callee(NamedTuple):
    """The function that an equation calls: its jaxpr, the scope it opens, and whether it has a derivative rule."""

    jaxpr: ClosedJaxpr
    scope: str | None
    own_rule: bool


_CALLS = {  # primitive: where its function stands, and whether inlining it changes a derivative or what is kept for it
    "jit": ("jaxpr", False),
    "pjit": ("jaxpr", False),
    "closed_call": ("call_jaxpr", False),
    "core_call": ("call_jaxpr", False),
    "custom_jvp_call": ("call_jaxpr", True),
    "custom_vjp_call": ("call_jaxpr", True),
    "remat2": ("jaxpr", True),
    "checkpoint": ("jaxpr", True),
}


def callee(equation: Any) -> Callee | None:
    """What an equation calls, where it is a call that runs its function exactly once; None for an operation."""
    if equation.primitive.name not in _CALLS:
        return None
    parameter, own_rule = _CALLS[equation.primitive.name]
    scope = equation.params["name"] if equation.primitive.name in ("jit", "pjit") else None
    return Callee(_closed(equation.params[parameter]), scope, own_rule)


def without_effects(equation: Any) -> Any:
    """A call's equation without the equations inside that only have an effect: a print, a callback for its own sake."""
    called = callee(equation)
    if called is None or not equation.effects:
        return equation
    jaxpr = called.jaxpr.jaxpr
    needed = set(map(id, jaxpr.outvars))
    kept: list[Any] = []
    for inner in reversed(jaxpr.eqns):
        if any(id(out) in needed for out in inner.outvars):
            kept.append(without_effects(inner))
            needed |= set(map(id, inner.invars))
    effects = frozenset().union(*(inner.effects for inner in kept))
    pure = jaxpr.replace(eqns=kept[::-1], effects=effects)
    parameter = _CALLS[equation.primitive.name][0]
    given = ClosedJaxpr(pure, called.jaxpr.consts) if isinstance(equation.params[parameter], ClosedJaxpr) else pure
    return equation.replace(params={**equation.params, parameter: given}, effects=effects)


def _closed(jaxpr: ClosedJaxpr | Jaxpr) -> ClosedJaxpr:
    return jaxpr if isinstance(jaxpr, ClosedJaxpr) else ClosedJaxpr(jaxpr, ())


_BODIES = {"jaxpr": "body", "cond_jaxpr": "cond", "body_jaxpr": "body", "call_jaxpr": "body"}


def bodies(equation: Any) -> dict[str, ClosedJaxpr]:
    """The functions inside an operation: a scan's body, a while loop's condition and body, a cond's branches."""
    found = {}
    for parameter, given in equation.params.items():
        if parameter == "update_jaxpr":  # a scatter's, which is an addition or the like
            continue
        if isinstance(given, ClosedJaxpr | Jaxpr):
            found[_BODIES.get(parameter, parameter)] = _closed(given)
        elif isinstance(given, tuple | list):
            parts = [part for part in given if isinstance(part, ClosedJaxpr | Jaxpr)]
            one = "branch" if parameter == "branches" else parameter
            found |= {f"{one}_{number}": _closed(part) for number, part in enumerate(parts)}
    return found


def applied(equation: Any, jaxpr: Jaxpr, operands: Sequence[Any]) -> list[Any]:
    """What one equation of a function gives for some operands; JAX records it like any operation where it is traced."""
    inputs, outputs = ([Var(atom.aval) for atom in atoms] for atoms in (equation.invars, equation.outvars))
    alone = jaxpr.replace(
        constvars=[],
        invars=inputs,
        outvars=outputs,
        eqns=[equation.replace(invars=inputs, outvars=outputs)],
        effects=equation.effects,
        debug_info=jaxpr.debug_info.with_unknown_names(),
    )
    return jaxpr_as_fun(ClosedJaxpr(alone, []))(*operands)


def rule_written_outside_jax(equation: Any) -> bool:
    """Whether a call of a function with a derivative rule of its own calls somebody's, not JAX's."""
    called = callee(equation)
    place = called.jaxpr.jaxpr.debug_info.func_src_info if called is not None else None
    return equation.primitive.name.startswith("custom_") and f" at {_JAX}" not in f" {place}"


def holds_jaxpr(parameter: Any) -> bool:
    """Whether an equation's parameter is a function that was traced, or several."""
    parts = parameter if isinstance(parameter, tuple | list) else (parameter,)
    return any(isinstance(part, ClosedJaxpr | Jaxpr) for part in parts)


def at_highest_precision(jaxpr: Any) -> Any:
    """A traced function whose matrix products that name no precision are at the highest, inner ones too.

    JAX looks at `jax.default_matmul_precision` only while it traces.
    """
    if isinstance(jaxpr, ClosedJaxpr):
        return ClosedJaxpr(at_highest_precision(jaxpr.jaxpr), jaxpr.consts)
    if not isinstance(jaxpr, Jaxpr):
        return jaxpr
    return jaxpr.replace(eqns=[equation.replace(params=_at_highest(equation.params)) for equation in jaxpr.eqns])


def _at_highest(params: dict[str, Any]) -> dict[str, Any]:
    changed = dict(params)
    for name, given in params.items():
        if isinstance(given, ClosedJaxpr | Jaxpr):
            changed[name] = at_highest_precision(given)
        elif type(given) in (tuple, list):
            changed[name] = type(given)(map(at_highest_precision, given))
        elif name == "precision" and given is None:
            changed[name] = (jax.lax.Precision.HIGHEST, jax.lax.Precision.HIGHEST)
    return changed


def name_stack(equation: Any) -> tuple[tuple[str, ...], frozenset[str]]:
    """An equation's scopes, and the transformations it came through: `jvp`, `transpose`, `vmap`."""
    parts = equation.source_info.name_stack.stack
    scopes = tuple(part.name for part in parts if type(part).__name__ == "Scope")
    return scopes, frozenset(part.name for part in parts if type(part).__name__ == "Transform")


def is_zero_gradient(equation: Any) -> bool:
    """Whether JAX made an equation for a derivative that is zero; it has no scope, and no line of a program."""
    trace = equation.source_info.traceback if equation.primitive.name == "broadcast_in_dim" else None
    return trace is not None and any(frame.function_name == "instantiate_zeros" for frame in trace.frames)


def source_frames(equation: Any) -> Iterator[tuple[str, int, str]]:
    """File, line and function of what traced an equation, innermost first, JAX's own files left out."""
    trace = equation.source_info.traceback
    for frame in trace.frames if trace is not None else ():
        if not frame.file_name.startswith(_JAX):
            yield frame.file_name, frame.line_num, frame.function_name


def place(equation: Any) -> tuple[Any, ...]:
    """Where in a program an equation was traced, to the instruction: two calls on one line differ."""
    trace = equation.source_info.traceback
    frames = zip(*trace.raw_frames(), strict=True) if trace is not None else ()
    return tuple((code, at) for code, at in frames if not code.co_filename.startswith(_JAX))


_JAX = str(Path(jax.__file__).parent)


def at_size(shape: Any, size: int) -> tuple[int, ...]:
    """A shape with a number in place of each symbol."""
    return tuple(
        part._evaluate(dict.fromkeys(part._get_vars(), size)) if hasattr(part, "_get_vars") else part for part in shape
    )


def is_reference(variable: Any) -> bool:
    """Whether a variable is an array that is changed in place (`jax.new_ref`), not a value."""
    return isinstance(variable.aval, _AbstractRef)


def symbols(shape: Any) -> frozenset[str]:
    """The names of the symbolic dimensions in a shape or a dimension."""
    found: set[str] = set()
    for part in shape if isinstance(shape, tuple | list) else (shape,):
        if hasattr(part, "_get_vars"):
            found |= part._get_vars()
    return frozenset(found)


def export_platform(device: Any) -> str:
    """What `jax.export` calls the platform of a device, or of the default one."""
    device = device or jax.config.jax_default_device or jax.devices()[0]
    if device.platform != "gpu":
        return str(device.platform)
    return "rocm" if "rocm" in device.client.platform_version.lower() else "cuda"


def trace_state() -> Any:
    """What JAX is tracing at the moment: unequal inside of a scan, jit, vmap, grad, ... and outside of it."""
    return _core.get_opaque_trace_state(convention="flax")
