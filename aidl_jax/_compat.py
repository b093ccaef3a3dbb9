"""The one file that touches names that JAX moves or keeps to itself (0.8.0 to 0.10.x)."""

from __future__ import annotations

from typing import Any

import jax
from jax._src.interpreters import mlir as _mlir
from jax.experimental.key_reuse import _core as _key_reuse
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo as _stablehlo

KeyReuseError = jax.errors.KeyReuseError

__all__ = ["ClosedJaxpr", "KeyReuseError", "attributes", "check_key_reuse", "ir", "jaxpr_as_fun", "parse_module"]


def check_key_reuse(closed: ClosedJaxpr) -> None:
    """Raises `KeyReuseError` where a traced function uses a PRNG key twice."""
    _key_reuse.check_key_reuse_jaxpr(closed.jaxpr)


def parse_module(serialized: bytes) -> Any:
    """The MLIR module inside an exported function (`Exported.mlir_module_serialized`)."""
    return _stablehlo.deserialize_portable_artifact(_mlir.make_ir_context(), serialized)


def attributes(operation: Any) -> dict[str, Any]:
    """An MLIR operation's attributes by name; JAX 0.8 iterates over pairs, later ones over names."""
    names = (item if isinstance(item, str) else item.name for item in operation.attributes)
    return {name: operation.attributes[name] for name in names}
