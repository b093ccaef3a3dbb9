import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aidl_jax import parameters
from aidl_jax.errors import ScopeError


def params():
    return {
        "conv1": {"weights": jnp.ones((3, 3, 1, 4)), "biases": jnp.zeros(4)},
        "head": {"dense": {"weights": jnp.full((36, 10), 2.0), "biases": jnp.ones(10)}},
        "scale": jnp.float32(3),
    }


@pytest.mark.oldest
@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        ((), ["conv1/weights", "conv1/biases", "head/dense/weights", "head/dense/biases", "scale"]),
        (("conv1/*",), ["conv1/weights", "conv1/biases"]),
        (("*/weights",), ["conv1/weights", "head/dense/weights"]),
        (("head/*", "scale"), ["head/dense/weights", "head/dense/biases", "scale"]),
        (("scale",), ["scale"]),
    ],
)
def test_patterns_choose_by_name(patterns, chosen):
    assert parameters.names(params(), *patterns) == chosen
    assert list(parameters.flat(parameters.select(params(), *patterns))) == chosen
    assert parameters.count(params(), *patterns) == sum(parameters.flat(params())[name].size for name in chosen)


def test_split_and_merge_are_inverse():
    chosen, rest = parameters.split(params(), "conv1/*")
    assert list(chosen) == ["conv1"] and list(rest) == ["head", "scale"]
    together = parameters.merge(rest, chosen)
    assert jax.tree.structure(together) == jax.tree.structure(params())
    jax.tree.map(np.testing.assert_array_equal, together, params())
    with pytest.raises(ScopeError, match="two parts have a parameter of the same name: given 'conv1/weights'"):
        parameters.merge(params(), chosen)


def test_a_frozen_scope_stays_while_the_rest_learns():
    def loss(params):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))

    head, frozen = parameters.split(params(), "head/*")
    optimizer = optax.sgd(0.1)
    updates, _ = optimizer.update(
        jax.grad(lambda head: loss(parameters.merge(head, frozen)))(head), optimizer.init(head)
    )
    after = parameters.merge(optax.apply_updates(head, updates), frozen)
    np.testing.assert_allclose(after["head"]["dense"]["weights"], 1.6, rtol=1e-6)
    np.testing.assert_array_equal(after["conv1"]["weights"], params()["conv1"]["weights"])
    masked = optax.masked(optax.sgd(0.1), parameters.mask(params(), "head/*"))
    updates, _ = masked.update(params(), masked.init(params()))
    np.testing.assert_allclose(updates["head"]["dense"]["weights"], -0.2, rtol=1e-6)


def test_a_map_changes_what_matches_only():
    after = parameters.map_selected(lambda leaf: leaf + 1, params(), "*/biases")
    np.testing.assert_array_equal(after["conv1"]["biases"], 1)
    np.testing.assert_array_equal(after["head"]["dense"]["biases"], 2)
    np.testing.assert_array_equal(after["head"]["dense"]["weights"], 2)


def test_l2_and_its_gradient():
    value, grads = jax.value_and_grad(lambda p: parameters.l2(p, "*/weights"))(params())
    assert float(value) == (36 * 1 + 360 * 4) / 2
    np.testing.assert_array_equal(grads["head"]["dense"]["weights"], 2.0)
    np.testing.assert_array_equal(grads["head"]["dense"]["biases"], 0.0)
    assert float(parameters.l2({})) == 0
    assert parameters.l2({"w": jnp.bfloat16([3, 4])}).dtype == jnp.bfloat16


def test_the_table():
    assert parameters.tabulate(params()).splitlines() == [
        "parameter        shape          dtype    size",
        "conv1                                      40",
        "  weights        3 x 3 x 1 x 4  float32    36",
        "  biases         4              float32     4",
        "head                                      370",
        "  dense/weights  36 x 10        float32   360",
        "  dense/biases   10             float32    10",
        "scale            scalar         float32     1",
        "total                                     411",
    ]


def test_a_pattern_that_matches_nothing_is_an_error():
    with pytest.raises(
        ScopeError, match=r"no parameter has such a name: given 'conv2/\*'. Fix: choose from 'conv1/biases'"
    ):
        parameters.select(params(), "conv1/*", "conv2/*")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: parameters.names([1, 2]), "parameters are a nested dict: given a list. Fix: pass what init returned"),
        (lambda: parameters.nested({"a": 1, "a/b": 2}), "a name cannot be both a parameter and a scope with parameters in it: given 'a/b'. Fix: rename one"),
        (lambda: parameters.merge({"a": {"b": 2}}, {"a": 1}), "cannot be both a parameter and a scope with parameters in it: given 'a'"),
    ],
)  # fmt: skip
def test_what_is_no_tree_of_parameters_says_so(call, message):
    with pytest.raises(ScopeError) as error:
        call()
    assert message in str(error.value)
