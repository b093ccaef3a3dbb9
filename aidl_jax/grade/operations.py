"""What an exported function may consist of. Whatever is not listed is refused by name.

Operations are StableHLO's (https://openxla.org/stablehlo/spec), without their prefix. All are pure: none calls back,
waits, talks to a device or another process.
"""

# ruff: noqa: SIM905 - a column of words reads better than a list of strings

NEEDED = """
    abs add and bitcast_convert broadcast_in_dim case cbrt clamp compare composite concatenate constant convert
    convolution cosine divide dot_general dynamic_slice dynamic_update_slice exponential gather iota is_finite
    log log_plus_one maximum minimum multiply negate not or pad power reduce remainder reshape return reverse
    rsqrt scatter select shift_left shift_right_logical sign sine slice sort sqrt subtract tanh transpose while
    xor
""".split()  # made by tests/course/needed_operations.py, from all solutions and accepted alternatives

# Reviewed: what other right answers may be written with; tests/grade/test_gate.py has a function for each.
REVIEWED = """
    atan2 ceil complex count_leading_zeros custom_call exponential_minus_one fft floor imag optimization_barrier
    popcnt real reduce_precision reduce_window round_nearest_even select_and_scatter shift_right_arithmetic tan
""".split()

# Reviewed likewise: what JAX itself emits for linear algebra, for a few functions, and (JAX 0.8) for more of them.
CUSTOM_CALLS = """
    lapack_sgeev_ffi lapack_sgeqrf_ffi lapack_sgesdd_ffi lapack_sgetrf_ffi lapack_sorgqr_ffi lapack_spotrf_ffi
    lapack_ssyevd_ffi lapack_strsm_ffi mhlo.acos mhlo.acosh mhlo.asin mhlo.atanh mhlo.cosh mhlo.erf mhlo.sinh
    mhlo.topk
""".split()
