import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from aidl_jax.graph import GraphError, trace
from aidl_jax.graph.inspection import summarize
from aidl_jax.graph.running import run


@pytest.fixture(scope="module")
def normalised():
    def normalise(x, scale):
        with jax.named_scope("norm"):
            centred = x - x.mean()
            return scale * centred / jnp.sqrt((centred**2).mean())

    return trace(normalise, jnp.ones(4), jnp.float32(1))


@pytest.mark.oldest
def test_every_tensor_is_summed_up_as_numpy_does(normalised):
    x = np.float32([1, 2, 4, 9])
    seen = normalised.inspect({"x": x, "scale": 2.0})
    assert list(seen.summaries) == [out.name for one in normalised.operations() for out in one.outputs]
    for name, summary in seen.summaries.items():
        value = seen.value(name)
        assert summary.shape == value.shape and summary.dtype == value.dtype
        np.testing.assert_allclose(
            [summary.low, summary.high, summary.mean], [value.min(), value.max(), value.mean()], rtol=1e-6, atol=1e-6
        )
    centred = x - x.mean()
    np.testing.assert_allclose(
        seen.value(normalised.outputs.name), 2 * centred / np.sqrt((centred**2).mean()), rtol=1e-6
    )
    assert seen.first_nan is None and seen.first_inf is None


def test_nan_and_inf_are_counted_and_left_out_of_the_range():
    summary = summarize("x:0", np.float32([1, np.nan, 5, np.inf, -np.inf, np.nan, np.nan]))
    assert (summary.low, summary.high, summary.mean, summary.nans, summary.infs) == (1, 5, 3, 3, 2)
    assert str(summary) == "x:0 float32[7] from 1 to 5, mean 3, 3 NaN, 2 Inf"
    assert str(summarize("x:0", np.float32([np.nan]))) == "x:0 float32[1], 1 NaN"


@pytest.mark.parametrize(
    "value",
    [
        np.arange(3),
        np.array([True, False]),
        jnp.ones(2, jnp.bfloat16),
        np.complex64([3 + 4j]),
        np.zeros((0, 2), np.float32),
    ],
)
def test_every_dtype_has_a_summary(value):
    summary = summarize("x:0", value)
    if value.size:
        wide = np.abs(np.asarray(value).astype(np.complex128))
        assert (summary.low, summary.high, summary.mean) == (wide.min(), wide.max(), wide.mean())
    else:
        assert summary.low is None and "float32[0,2]" in str(summary)


def test_a_key_has_no_range():
    graph = trace(lambda key: jax.random.uniform(key), jax.random.key(0))
    assert str(graph.inspect({"key": jax.random.key(1)})["key"]) == "key:0 key<fry>[]"


def test_the_first_nan_is_found_at_its_operation_and_line(normalised):
    seen = normalised.inspect({"x": np.float32([3, 3, 3, 3]), "scale": 1.0})
    assert seen.first_nan.operation.type == "div" and seen.first_nan.operation.scope == "norm"
    assert "test_inspection.py" in str(seen.first_nan) and seen.first_nan.operation.source.function.endswith(
        "normalise"
    )
    assert all(summary.nans == 0 for summary in seen.first_nan.inputs)
    assert seen.value(seen.first_nan.operation.outputs[0].name).shape == (4,)
    assert "NaN is born in 'norm/" in str(seen)


def test_a_nan_that_was_fed_is_born_nowhere(normalised):
    seen = normalised.inspect({"x": np.float32([np.nan, 1, 2, 3]), "scale": 1.0})
    assert seen["x"].nans == 1 and seen.first_nan is None


def test_the_first_inf_comes_before_the_nan_it_causes():
    graph = trace(lambda x: jnp.exp(x) - jnp.exp(2 * x), jnp.float32(0))
    seen = graph.inspect({"x": 1000.0})
    assert seen.first_inf.operation.type == "exp" and seen.first_nan.operation.type == "sub"


def test_a_nan_in_a_scan_is_found_in_its_iteration():
    def cell(carry, x):
        with jax.named_scope("cell"):
            return carry + x, jnp.sqrt(carry)

    graph = trace(lambda xs: lax.scan(cell, 1.0, xs), jnp.ones(4))
    seen = graph.inspect({"xs": np.float32([1, -5, 1, 1])})
    assert seen.first_nan.around == (("scan", 2),) and seen.first_nan.operation.name == "cell/sqrt"
    assert "in iteration 2 of 'scan'" in str(seen.first_nan)
    assert [(one.low, one.high) for one in seen.first_nan.inputs] == [(-3.0, -3.0)]


def test_a_scan_that_runs_backwards_meets_its_last_element_first():
    graph = trace(lambda xs: lax.scan(lambda c, x: (c * x, jnp.log(x)), 1.0, xs, reverse=True), jnp.ones(3))
    seen = graph.inspect({"xs": np.float32([-1, 1, -2])})
    assert [(one.low) for one in seen.first_nan.inputs] == [-2.0] and seen.first_nan.around == (("scan", 0),)


def test_a_nan_in_a_while_loop_and_in_a_branch_is_found_inside():
    loop = trace(
        lambda x, n: lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, jnp.log(c[1])), (0, x))[1], 1.0, 3
    )
    seen = loop.inspect({"x": 2.0, "n": 5})
    values = [2.0]
    while values[-1] > 0:
        values.append(math.log(values[-1]))
    assert seen.first_nan.around == (("while", len(values) - 1),) and seen.first_nan.operation.type == "log"
    branch = trace(lambda i, x: lax.switch(i, [jnp.sin, jnp.log, jnp.cos], x), 0, 1.0)
    name = branch.operations()[-1].name
    assert branch.inspect({"i": 1, "x": -1.0}).first_nan.around == ((name, 0),)
    assert branch.inspect({"i": 2, "x": -1.0}).first_nan is None


def test_a_gradient_that_is_nan_where_the_value_is_not():
    graph = trace(jax.value_and_grad(lambda x: jnp.where(x > 0, jnp.sqrt(x), 0.0)), jnp.float32(1))
    seen = graph.inspect({"x": 0.0})
    assert math.isnan(seen.value(graph.outputs[1].name)) and seen[graph.outputs[0].name].nans == 0
    assert seen.first_nan.operation.is_gradient and seen.first_nan.operation.name.startswith("gradients/")


def test_it_works_as_a_session_in_a_shell(normalised):
    seen = normalised.inspect({"x": np.float32([1, 2, 4, 9]), "scale": 2.0}, device="cpu")
    assert repr(seen) == f"<Inspection of normalise: {len(seen.summaries)} tensors; print it, or index it by name>"
    assert str(seen).splitlines()[0] == f"normalise on {jax.devices('cpu')[0]}"
    assert seen["x"] == seen["x:0"] and float(seen.value("scale")) == 2
    with pytest.raises(GraphError, match="there is no operation of that name: given 'y'"):
        seen["y"]


def test_a_nan_that_is_written_into_the_program_is_born_there():
    x = np.float32([1, -1, 0])
    written = trace(lambda x: jnp.where(x > 0, x, jnp.full_like(x, jnp.nan)), x).inspect({"x": x})
    assert written.first_nan.operation.type == "broadcast_in_dim" and "from numbers" in str(written.first_nan)
    closed_over = jnp.float32([1, jnp.nan, 2])
    seen = trace(lambda x: x * closed_over, x).inspect({"x": x})
    assert seen.first_nan.operation.type == "constant"
    assert "an array that the function closes over" in str(seen.first_nan)


def test_values_are_computed_at_the_highest_precision_of_products():
    def recurrent(w, xs):
        return lax.scan(lambda c, x: (c @ w + x, c), xs[0], xs)

    graph = trace(recurrent, jnp.ones((3, 3)), jnp.ones((4, 3)))
    program = {
        at_highest: jax.jit(lambda w, xs, at=at_highest: run(graph, graph.outputs, {"w": w, "xs": xs}, None, at)).lower(
            jnp.ones((3, 3)), jnp.ones((4, 3))
        )
        for at_highest in (False, True)
    }
    assert "HIGHEST" in program[True].as_text() and "HIGHEST" not in program[False].as_text()


def test_what_is_no_array_of_jaxs_does_not_stop_it():
    graph = trace(jax.grad(lambda i, x: (i * x).sum(), allow_int=True), np.int32([1, 2]), np.ones(2, np.float32))
    assert graph.inspect({"i": np.int32([1, 2]), "x": np.ones(2, np.float32)}).first_nan is None
