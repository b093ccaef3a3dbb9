"""The runner's gate: an exported function is read before it is run, and refused by name.

Listed in `operations.py` are the operations and custom calls that right answers need. Callbacks, infeed, collectives
and whatever is not listed are refused; so are absurd sizes, of arrays and of what is baked in.
"""

from __future__ import annotations

from typing import Any

from aidl_jax.grade import operations
from aidl_jax.grade.fingerprint import constant_bytes, size_of, walk

MAX_OPERATIONS = 50_000
MAX_BYTES = 1 << 30  # of one array
MAX_CONSTANTS = 16 << 20  # bytes of all that is baked in

ALLOWED = frozenset(f"stablehlo.{name}" for name in [*operations.NEEDED, *operations.REVIEWED]) | {
    *("builtin.module", "func.func", "func.call", "func.return"),
}


def refusal(module: Any) -> str | None:
    """Why a module may not be run, or None."""
    baked_in = 0
    for count, operation in enumerate(walk(module)):
        if count > MAX_OPERATIONS:
            return f"it has more than {MAX_OPERATIONS:,} operations"
        if operation.name not in ALLOWED:
            return f"the operation {operation.name!r} is not allowed"
        if operation.name == "stablehlo.custom_call":
            target = str(operation.attributes["call_target_name"]).strip('"')
            if target not in operations.CUSTOM_CALLS:
                return f"the custom call {target!r} is not allowed"
        baked_in += constant_bytes(operation)
        if baked_in > MAX_CONSTANTS:
            return f"more than {MAX_CONSTANTS >> 20:,} MiB of arrays are baked into it"
        for result in operation.results:
            if size_of(result.type) > MAX_BYTES:
                return f"an array of type {result.type} is larger than {MAX_BYTES >> 20:,} MiB"
    return None
