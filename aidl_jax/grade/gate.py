"""The runner's gate: an exported function is read before it is run, and refused by name.

Listed are StableHLO's pure operations (https://openxla.org/stablehlo/spec) and the custom calls that
JAX itself emits for linear algebra and a few functions. Callbacks, infeed, collectives and whatever
is not listed are refused.
"""

from __future__ import annotations

from typing import Any

from aidl_jax.grade.fingerprint import size_of, walk

MAX_OPERATIONS = 50_000
MAX_BYTES = 1 << 30

OPERATIONS = frozenset(
    f"stablehlo.{name}"
    for name in [
        "abs",
        "add",
        "and",
        "atan2",
        "bitcast_convert",
        "broadcast",
        "broadcast_in_dim",
        "case",
        "cbrt",
        "ceil",
        "cholesky",
        "clamp",
        "compare",
        "complex",
        "composite",
        "concatenate",
        "constant",
        "convert",
        "convolution",
        "cosine",
        "count_leading_zeros",
        "custom_call",
        "divide",
        "dot_general",
        "dynamic_slice",
        "dynamic_update_slice",
        "exponential",
        "exponential_minus_one",
        "fft",
        "floor",
        "gather",
        "get_tuple_element",
        "if",
        "imag",
        "iota",
        "is_finite",
        "log",
        "log_plus_one",
        "logistic",
        "map",
        "maximum",
        "minimum",
        "multiply",
        "negate",
        "not",
        "optimization_barrier",
        "or",
        "pad",
        "popcnt",
        "power",
        "real",
        "reduce",
        "reduce_precision",
        "reduce_window",
        "remainder",
        "reshape",
        "return",
        "reverse",
        "round_nearest_afz",
        "round_nearest_even",
        "rsqrt",
        "scatter",
        "select",
        "select_and_scatter",
        "shift_left",
        "shift_right_arithmetic",
        "shift_right_logical",
        "sign",
        "sine",
        "slice",
        "sort",
        "sqrt",
        "subtract",
        "tan",
        "tanh",
        "transpose",
        "triangular_solve",
        "tuple",
        "while",
        "xor",
    ]
) | {"builtin.module", "func.func", "func.call", "func.return"}

CUSTOM_CALLS = frozenset(
    ["mhlo.erf", "mhlo.erf_inv", "mhlo.topk", "mhlo.tan", "mhlo.atan", "mhlo.sinh", "mhlo.cosh", "mhlo.asinh",
     "mhlo.acosh", "mhlo.atanh", "mhlo.asin", "mhlo.acos", "Sharding", "TopK", "ApproxTopK"]
    + [f"lapack_{kind}{routine}_ffi" for kind in "sc" for routine in
       ("getrf", "trsm", "potrf", "gesdd", "geqrf", "orgqr", "ungqr", "syevd", "heevd", "geev", "gehrd", "sytrd", "gees")]
)  # fmt: skip


def refusal(module: Any) -> str | None:
    """Why a module may not be run, or None."""
    for count, operation in enumerate(walk(module)):
        if count > MAX_OPERATIONS:
            return f"it has more than {MAX_OPERATIONS:,} operations"
        if operation.name not in OPERATIONS:
            return f"the operation {operation.name!r} is not allowed"
        if operation.name == "stablehlo.custom_call":
            target = str(operation.attributes["call_target_name"]).strip('"')
            if target not in CUSTOM_CALLS:
                return f"the custom call {target!r} is not allowed"
        for result in operation.results:
            if size_of(result.type) > MAX_BYTES:
                return f"an array of type {result.type} is larger than {MAX_BYTES >> 20:,} MiB"
    return None
