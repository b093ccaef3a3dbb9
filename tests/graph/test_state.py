import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aidl_jax.graph import GraphError, assign, assign_add, assign_sub


def state():
    return {"v": jnp.int32(1), "layer": {"w": jnp.float32([1, 2]), "b": jnp.float32(0)}}


@pytest.mark.oldest
def test_both_sanity_checks():
    before = {"v": jnp.int32(1)}
    assert (int(before["v"] + 4), int(before["v"])) == (5, 1)
    after, result = assign_add(before, "v", 4)
    assert (int(result), int(after["v"]), int(before["v"])) == (5, 5, 1)
    assert result.dtype == after["v"].dtype == jnp.int32


def test_only_the_path_that_is_named_changes():
    before = state()
    after, value = assign(before, "layer/w", np.float32([5, 6]))
    np.testing.assert_array_equal(after["layer"]["w"], [5, 6])
    np.testing.assert_array_equal(before["layer"]["w"], [1, 2])
    assert after["v"] is before["v"] and after["layer"]["b"] is before["layer"]["b"]
    np.testing.assert_array_equal(value, after["layer"]["w"])


def test_subtraction_and_numbers():
    after, _ = assign_sub(state(), "layer/w", 0.5)
    np.testing.assert_array_equal(after["layer"]["w"], [0.5, 1.5])
    assert assign(state(), "layer/b", 3)[1].dtype == jnp.float32
    assert assign({"v": 1}, "v", 2)[0]["v"].dtype == jnp.int32


def test_a_program_of_assignments_is_one_jitted_function():
    @jax.jit
    def step(state, amount):
        state, first = assign_add(state, "v", amount)
        state, second = assign_add(state, "v", first)
        return assign_sub(state, "layer/b", 1.5)[0], second

    after, second = step(state(), 4)
    assert (int(second), int(after["v"]), float(after["layer"]["b"])) == (10, 10, -1.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: assign(s, "layer/x", 1), "the state has no such variable: given 'layer/x'. Fix: did you mean 'layer/w'"),
        (lambda s: assign_add(s, "w", 1), "the state has no such variable: given 'w'. Fix: "),
        (lambda s: assign(s, "v/deep", 1), "the state has no such variable: given 'v/deep'"),
        (lambda s: assign(s, "layer", 1), "not a variable but a group of them: given 'layer'. Fix: choose one: 'layer/w', 'layer/b'"),
        (lambda s: assign(s, "v", 1.5), "'v' would change: given 1.5, expected int32[]"),
        (lambda s: assign_add(s, "v", 0.5), "'v' would change: given 0.5, expected int32[]"),
        (lambda s: assign(s, "layer/w", jnp.ones(3)), "'layer/w' would change: given float32[3], expected float32[2]"),
        (lambda s: assign_add(s, "layer/b", jnp.ones(3)), "'layer/b' would change: given an amount of float32[3], expected one that fits float32[]"),
        (lambda s: assign(s, "v", 2**40), "'v' would change: given 1099511627776, expected int32[]"),
        (lambda s: assign(s, "layer/b", 2**24 + 1), "'layer/b' would change: given 16777217, expected float32[]"),
        (lambda s: assign(s, "v", np.int64(5)), "'v' would change: given int64[], expected int32[]"),
        (lambda s: assign(s, "v", True), "'v' would change: given True, expected int32[]"),
        (lambda s: assign(s, "v", "text"), "'v' would change: given 'text', expected int32[]"),
        (lambda s: assign({"v": np.zeros(2)}, "v", np.ones(2)), "JAX would narrow variable 'v' without a word: given float64[2]"),
        (lambda s: assign({"v": {"a/b": 1}, "c": 2}, "c", 1), "a key of a state has a '/', which stands between the parts of a path: given 'a/b'. Fix: nest dicts"),
        (lambda s: assign_add([1], "v", 1), "a state is a dict of arrays: given a list. Fix: write {"),
    ],
)  # fmt: skip
def test_what_cannot_be_assigned_says_why(change, message):
    with pytest.raises(GraphError) as error:
        change(state())
    assert message in str(error.value)
