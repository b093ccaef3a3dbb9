"""What a function is traced with: shapes and dtypes, checked, the batch among them as a size that stays open."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from aidl_jax import _compat
from aidl_jax.errors import GraphError, tell_error
from aidl_jax.graph.names import leaf_name
from aidl_jax.graph.sources import line_of

__all__ = ["check_scopes", "explained", "open_batch"]

BATCH = "batch"
_SCOPE = export.SymbolicScope()  # one for all graphs, so that a size of one can be fed to another


def open_batch(argument: str, spec: Any) -> Any:
    """The spec with the batch's symbol where its first dimension is None, checked leaf by leaf."""
    (batch,) = export.symbolic_shape(BATCH, scope=_SCOPE)

    def leaf(path: Any, given: Any) -> Any:
        name = leaf_name(argument, path)
        if isinstance(given, bool | int | float | complex):
            return given
        if isinstance(given, type) or not hasattr(given, "shape") or not hasattr(given, "dtype"):
            raise GraphError(
                "a spec has no shape and dtype",
                given=f"{given!r} for {name}",
                expected="a jax.ShapeDtypeStruct, an array, a number or a pytree of those",
                fix="pass jax.ShapeDtypeStruct(shape, dtype)",
            )
        _check_dtype(name, given.dtype)
        if None not in given.shape:
            return given
        if None in given.shape[1:]:
            raise GraphError(
                "only the first dimension can be None, the batch",
                given=f"{name} of shape {given.shape}",
                fix='write other free sizes as jax.export.symbolic_shape("batch, time, 3")',
            )
        return jax.ShapeDtypeStruct((batch, *given.shape[1:]), given.dtype)

    return jax.tree_util.tree_map_with_path(leaf, spec)


def check_scopes(specs: Sequence[Any]) -> None:
    """Raises `GraphError` where open sizes come from two calls of `symbolic_shape`, which JAX cannot compare."""
    scopes = {size.scope for leaf in jax.tree.leaves(specs) for size in np.shape(leaf) if hasattr(size, "scope")}
    if len(scopes) > 1:
        raise GraphError(
            "sizes that were made apart cannot be used together",
            given=", ".join(
                sorted({name for leaf in jax.tree.leaves(specs) for name in _compat.symbols(np.shape(leaf))})
            ),
            fix='make all symbols in one call, jax.export.symbolic_shape("batch, time"), and have no None beside them',
        )


def _check_dtype(name: str, dtype: Any) -> None:
    if not any(jnp.issubdtype(dtype, kind) for kind in (np.number, np.bool_, jax.dtypes.extended)):
        raise GraphError(
            "JAX has no such dtype",
            given=f"{dtype} for {name}",
            expected="numbers, booleans or keys",
            fix="convert it to numbers before, or leave it out",
        )
    if not jnp.issubdtype(dtype, jax.dtypes.extended) and jax.dtypes.canonicalize_dtype(dtype) != dtype:
        narrow = jax.dtypes.canonicalize_dtype(dtype)
        raise GraphError(
            "JAX would narrow a dtype without a word",
            given=f"{dtype} for {name}",
            expected=str(narrow),
            fix=f"give it as {narrow}, or call jax.config.update('jax_enable_x64', True) first",
        )


def explained(fn: Callable[..., Any], specs: Sequence[Any], error: Exception) -> GraphError | None:
    """What a function that could not be traced lacks: arguments, or the size of the batch; None where it is neither."""
    if isinstance(error, _compat.InconclusiveDimensionOperation) or _can_be_traced_at_a_size(fn, specs):
        return _needs_size(error)
    return _wrong_count(fn, len(specs)) if isinstance(error, TypeError) else None


def _can_be_traced_at_a_size(fn: Callable[..., Any], specs: Sequence[Any]) -> bool:
    """Whether a function that cannot be traced for every size can be for one: what it lacks is the size."""
    if not any(_compat.symbols(np.shape(leaf)) for leaf in jax.tree.leaves(specs)):
        return False
    try:
        jax.eval_shape(fn, *jax.tree.map(_at_a_size, specs))
    except Exception:
        return False
    return True


def _at_a_size(spec: Any) -> Any:
    """A spec with a size in place of each symbol that can be divided by most small numbers."""
    shape = np.shape(spec)
    return jax.ShapeDtypeStruct(_compat.at_size(shape, 24), spec.dtype) if _compat.symbols(shape) else spec


def _needs_size(error: Exception) -> GraphError:
    """A function that asks how large the batch is cannot be traced for every size."""
    return GraphError(
        "the function needs to know the size of the batch, which is not known until it runs",
        given=tell_error(error).rstrip("."),
        where=line_of(error),
        fix="trace it with a number in place of None, or write it without asking for the size "
        "(no `if x.shape[0] > 5`, no loop over rows, no jax.random.permutation of the batch)",
    )


def _wrong_count(fn: Callable[..., Any], count: int) -> GraphError | None:
    """What is wrong where a function cannot be called with so many arguments; None where it can, or does not say."""
    try:
        signature = inspect.signature(fn)
        signature.bind(*[None] * count)
    except TypeError:
        return GraphError(
            f"{getattr(fn, '__name__', type(fn).__name__)} takes other arguments than it was given specs",
            given=f"{count} spec{'s' * (count != 1)}",
            expected=f"one for each argument of {signature}",
            fix="trace(fn, spec, ...), in the arguments' order; fix others with functools.partial(fn, name=value)",
        )
    except ValueError:
        pass
    return None
