import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from aidl_jax.graph import GraphError, Stages, retraces, stages
from aidl_jax.graph.costs import Calls, Compiled, Lowered, Memory, Traced

N = 1000
X = jnp.linspace(0.0, 1.0, N)


def one_kernel(x, y):
    return -x * y + x


@pytest.mark.oldest
def test_a_matrix_product_costs_what_its_shape_says():
    m, k, n = 8, 16, 4
    report = stages(lambda x, w: x @ w, jnp.ones((m, k)), jnp.ones((k, n)), repeats=1)
    assert report.traced.operations == 1
    assert report.lowered.flops == report.compiled.flops == 2 * m * k * n
    assert report.lowered.bytes_accessed == 4 * (m * k + k * n + m * n)
    assert report.compiled.memory.arguments == 4 * (m * k + k * n)
    assert report.compiled.memory.outputs == 4 * m * n


@pytest.mark.oldest
def test_fusion_keeps_what_is_in_between_out_of_memory():
    report = stages(one_kernel, X, X, repeats=1)
    array = 4 * N
    assert report.traced.operations == 3
    # an operand or a result of each operation: x, -x; -x, y, -x * y; -x * y, x, the sum
    assert report.lowered.bytes_accessed == (2 + 3 + 3) * array
    assert report.compiled.bytes_accessed == 3 * array
    assert (report.compiled.counts.kernels, report.compiled.counts.fusions) == (1, 1)
    assert report.compiled.memory == Memory(2 * array, array, 0, 0, 0)
    assert report.compiled.memory.total == 3 * array


@pytest.mark.oldest
def test_operations_inside_loops_count_and_calls_do_not():
    def body(carry, x):
        return jnp.sin(carry), x * 2.0

    report = stages(lambda x: lax.scan(body, x[0], jax.jit(jnp.cos)(x)), X[:3], repeats=1)
    closed = jax.make_jaxpr(lambda x: x[0])(X[:3])
    assert report.traced.operations == len(closed.jaxpr.eqns) + len(["cos", "scan", "sin", "mul"])
    assert report.compiled.counts.loops == 1
    assert "of 1 loop the work of one iteration is counted" in str(report)


def test_a_routine_of_a_library_is_said_not_to_be_counted():
    report = stages(lambda x: lax.linalg.triangular_solve(x, x), jnp.eye(3), repeats=1)
    assert report.lowered.flops is None
    assert report.compiled.counts.library_calls == 1
    assert "FLOPs not reported" in str(report) and "of 1 library call the work is not counted" in str(report)


@pytest.mark.oldest
def test_every_stage_is_what_it_says():
    seen = []

    def spy(x):
        seen.append(
            (isinstance(x, jax.core.Tracer), jax.config.jax_disable_jit, jax.config.jax_default_matmul_precision)
        )
        return x + 1

    report = stages(spy, X, repeats=3)
    eager, traced = (False, True, "highest"), (True, False, "highest")
    assert seen == [eager] * 4 + [traced]
    seconds = [report.eager.first, report.eager.later, report.run.first, report.run.later]
    assert all(
        0 < one < 60 for one in [*seconds, report.traced.seconds, report.lowered.seconds, report.compiled.seconds]
    )
    stages(spy, X, repeats=1)
    assert seen[5:] == [eager] * 2 + [traced]


@pytest.mark.parametrize(
    ("eager", "compiled", "expected"),
    [
        ([1.0, 2.0], [1.5, 1.0], 1.0),
        ([math.nan, math.inf], [math.nan, math.inf], 0.0),
        ([math.nan, 1.0], [1.0, 3.0], math.nan),
        ([1.0, math.nan], [1.0, 3.0], math.nan),
        ([math.inf, 1.0], [-math.inf, 1.0], math.inf),
        ([True, False], [True, True], 1.0),
        ([1 + 1j, 1j], [1 + 1j, -1j], 2.0),
        ([], [], 0.0),
    ],
)
def test_the_largest_difference_of_what_the_two_return(eager, compiled, expected):
    def chooses(x):
        return {"y": x, "z": jnp.asarray(compiled if isinstance(x, jax.core.Tracer) else eager)}

    np.testing.assert_equal(stages(chooses, X, repeats=1).difference, expected)


def test_a_nan_in_one_output_is_not_lost_beside_another():
    def chooses(x):
        return (0.0, math.nan, 0.0) if isinstance(x, jax.core.Tracer) else (0.0, 0.0, 1.0)

    assert math.isnan(stages(chooses, X, repeats=1).difference)


def test_keys_are_compared_by_their_bits():
    assert stages(jax.random.split, jax.random.key(0), repeats=1).difference == 0


@pytest.mark.parametrize("other", [lambda x: (x, x), lambda x: [x], lambda x: x[:1]])
def test_a_function_that_returns_something_else_when_compiled(other):
    def chooses(x):
        return other(x) if isinstance(x, jax.core.Tracer) else x

    with pytest.raises(GraphError, match=r"returns something else.*expected \(1000,\).*of its arguments alone"):
        stages(chooses, X, repeats=1)


def absolute(x):
    if x > 0:
        return x
    return -x


@pytest.mark.oldest
def test_a_function_that_needs_values_still_runs_eagerly():
    report = stages(lambda x: 2 * absolute(x), -3.0)
    assert report.eager.later > 0
    assert report.traced is report.lowered is report.compiled is report.run is report.difference is None
    assert report.once is report.break_even is None
    line = absolute.__code__.co_firstlineno + 1
    assert report.error.startswith(f"test_staging.py:{line} (absolute): it cannot be traced")
    assert "TracerBoolConversionError" in report.error and "jnp.where or jax.lax.cond" in report.error
    assert report.error in str(report)


@pytest.mark.oldest
@pytest.mark.parametrize(
    ("needs_values", "fix"),
    [
        (lambda x: np.sin(x), "use jax.numpy"),
        (lambda x: x[x > 0.5], "choose with jnp.where"),
        (lambda x: float(x[0]), "leave the value an array"),
        (lambda x: "a string", "a closure"),
        (lambda x: [1, 2][x.astype(int)[0]], "jax.lax"),
    ],
)
def test_why_a_function_cannot_be_traced(needs_values, fix):
    assert fix in stages(needs_values, X, repeats=1).error.partition("Fix: ")[2]


def test_an_error_that_no_fix_is_known_for_is_told_without_addresses():
    def refuses(x):
        if isinstance(x, jax.core.Tracer):
            raise ValueError(f"not {object()}\nmore")
        return x

    error = stages(refuses, X, repeats=1).error
    assert error.endswith("given ValueError: not <object object>")


def test_an_error_of_the_function_itself_is_its_own():
    with pytest.raises(ZeroDivisionError):
        stages(lambda x: 1 // 0, X)


@pytest.mark.oldest
def test_a_jitted_function_keeps_its_settings_and_the_arguments_stay():
    @functools.partial(jax.jit, static_argnums=1, donate_argnums=0)
    def power(x, n):
        return x**n

    given = X + 0
    report = stages(power, given, 3)
    assert not given.is_deleted()
    assert report.difference < 1e-6
    assert report.compiled.memory.shared == report.compiled.memory.outputs == 4 * N
    assert report.compiled.memory.total == 4 * N


def test_a_function_that_writes_into_its_argument_leaves_ours():
    def writes(x):
        if isinstance(x, np.ndarray):
            x += 1
        return x

    given = np.zeros(3, np.float32)
    stages(writes, given)
    assert not given.any()


def test_without_a_repeat_there_is_nothing_to_measure():
    with pytest.raises(GraphError, match=r"nothing is measured.*repeats=0"):
        stages(jnp.sin, X, repeats=0)


@pytest.mark.oldest
@pytest.mark.parametrize("answer", [None, [], "raise"])
def test_what_a_backend_does_not_report_is_said(monkeypatch, answer):
    def analysis(self):
        if answer == "raise":
            raise NotImplementedError
        return answer

    monkeypatch.setattr(jax.stages.Compiled, "cost_analysis", analysis)
    monkeypatch.setattr(jax.stages.Compiled, "memory_analysis", lambda self: analysis(self) or None)
    monkeypatch.setattr(jax.stages.Compiled, "as_text", lambda self: None)
    report = stages(one_kernel, X, X, repeats=1)
    assert report.compiled == Compiled(report.compiled.seconds, None, None, None, None)
    assert report.lowered.flops is not None
    for words in ("FLOPs not reported", "bytes not reported", "kernels not reported", "memory: not reported"):
        assert words in str(report)


def test_an_analysis_in_a_list_is_read(monkeypatch):
    monkeypatch.setattr(jax.stages.Compiled, "cost_analysis", lambda self: [{"flops": 7.0}])
    report = stages(one_kernel, X, X, repeats=1)
    assert (report.compiled.flops, report.compiled.bytes_accessed) == (7, None)


def made(eager: float, run: float) -> Stages:
    compiled = Compiled(0.7, None, 1, 1, None)
    parts = (Traced(0.1, 1), Lowered(0.2, 1, 1), compiled)
    return Stages("f", "cpu", Calls(9.0, eager), *parts, Calls(1.0, run), 0.0)


def test_compiling_pays_when_the_calls_have_saved_what_it_took():
    assert made(eager=0.5, run=0.25).once == pytest.approx(1.0)
    assert made(eager=0.5, run=0.25).break_even == 4
    assert made(eager=0.55, run=0.25).break_even == 4
    assert "compiling pays from 4 calls on" in str(made(eager=0.5, run=0.25))
    assert made(eager=0.5, run=0.5).break_even is None
    assert "compiling pays never" in str(made(eager=0.5, run=0.5))


def test_the_table_says_what_was_measured():
    assert str(made(eager=0.5, run=0.25)).splitlines()[:4] == [
        "f on cpu",
        "stage       once  each call",
        "eager                500 ms  first call 9.00 s",
        "traced    100 ms             1 operation",
    ]
    assert repr(made(0.5, 0.25)) == str(made(0.5, 0.25))


@pytest.mark.oldest
@pytest.mark.parametrize(
    "calls",
    [
        [(np.ones(size, np.float32),) for size in (1, 2, 3, 2, 1)],
        [(1.0,), (2.0,), (np.float32(1),), (1,), (True,)],
        [((X, X),), ([X, X],), ({"a": X},), ({"b": X},)],
        [(jax.ShapeDtypeStruct((3,), jnp.int32),), (np.ones(3, np.int32),)],
        [],
    ],
)
def test_retraces_are_as_many_as_the_times_that_python_runs(calls):
    traced = []

    @jax.jit
    def counted(x):
        traced.append(1)
        return jax.tree.leaves(x)[0]

    for args in calls:
        jax.eval_shape(counted, *args) if isinstance(args[0], jax.ShapeDtypeStruct) else counted(*args)
    assert retraces(lambda x: jax.tree.leaves(x)[0], calls) == len(traced)
    assert retraces(counted, calls) == len(traced)


def test_each_static_value_is_a_graph_of_its_own():
    power = jax.jit(lambda x, n: x**n, static_argnums=1)
    assert retraces(power, [(X, 2), (X, 3), (X, 2)]) == 2


@pytest.mark.oldest
def test_counting_runs_nothing():
    def spy(x):
        jax.debug.callback(lambda: pytest.fail("it ran"))
        return x

    assert retraces(spy, [(X,), (X,)]) == 1


@pytest.mark.parametrize("ask", [stages, lambda fn: retraces(fn, [])])
def test_what_is_no_function_has_no_stages(ask):
    with pytest.raises(
        GraphError, match=r"this is not a function: given 3. Fix: (stages|retraces)\(function, \.\.\.\), without"
    ):
        ask(3)


@pytest.mark.parametrize(
    ("calls", "given"),
    [
        ([(X,), X], "calls[1]: the arguments of a call are not a tuple: given float32[1000]"),
        (jnp.ones((2, 3)), "calls[0]: the arguments of a call are not a tuple: given float32[3]"),
        ([1.5], "given 1.5"),
    ],
)
def test_the_arguments_of_a_call_are_a_tuple(calls, given):
    with pytest.raises(GraphError) as error:
        retraces(jnp.sin, calls)
    assert given in str(error.value) and "Fix: write (x,) where the function takes one argument" in str(error.value)
