"""The one file that touches names that JAX moves or keeps to itself (0.8.0 to 0.10.x)."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import Any

import jax
from jax._src.interpreters import mlir as _mlir
from jax.experimental.key_reuse import _core as _key_reuse
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo as _stablehlo

KeyReuseError = jax.errors.KeyReuseError

__all__ = [
    "ClosedJaxpr",
    "KeyReuseError",
    "attributes",
    "check_key_reuse",
    "check_leaks",
    "constants",
    "equations",
    "ir",
    "jaxpr_as_fun",
    "parse_module",
    "traced_at",
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
    yield from jaxpr.eqns
    for inner in _nested(jaxpr):
        yield from equations(inner.jaxpr if isinstance(inner, ClosedJaxpr) else inner)


def _nested(jaxpr: Jaxpr) -> Iterator[ClosedJaxpr | Jaxpr]:
    for equation in jaxpr.eqns:
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
