import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from aidl_jax.errors import ScopeError
from aidl_jax.flax_modules import linen_module, nnx_module
from aidl_jax.graph import trace
from aidl_jax.scope import AUTO, apply, init

KEY = jax.random.key(0)
X = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)), jnp.float32)


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.BatchNorm(use_running_average=not train)(nn.Dense(5)(x))
        x = nn.Dropout(0.5, deterministic=not train)(nn.relu(x))
        return nn.Dense(2)(x)


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.inner = nnx.Linear(3, 5, rngs=rngs)
        self.norm = nnx.BatchNorm(5, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.outer = nnx.Linear(5, 2, rngs=rngs)

    def __call__(self, x):
        return self.outer(self.drop(nnx.relu(self.norm(self.inner(x)))))


def linen_model(scope, x, train=False):
    rngs = {"dropout": scope.make_key("dropout")} if train else {}
    return linen_module(scope, "net", Linen(), x, train=train, rngs=rngs)


def nnx_model(scope, x):
    return nnx_module(scope, "net", Nnx, x)


def dense(scope, x, units):
    kernel = scope.get_variable("kernel", (x.shape[-1], units))
    return x @ kernel + scope.get_variable("bias", (units,), 0.0)


class Evaluated(nnx.Module):
    def __init__(self, rngs):
        self.inner = nnx.Linear(3, 5, rngs=rngs)
        self.norm = nnx.BatchNorm(5, use_running_average=True, rngs=rngs)
        self.outer = nnx.Linear(5, 2, rngs=rngs)

    def __call__(self, x):
        return self.outer(nnx.relu(self.norm(self.inner(x))))


def by_hand(scope, x, names=("Dense_0", "BatchNorm_0", "Dense_1")):
    """The same network, written with scopes under Flax's names."""
    first, between, last = names
    with scope.variable_scope("net") as net:
        with net.variable_scope(first) as layer:
            x = dense(layer, x, 5)
        with net.variable_scope(between) as norm:
            mean, var = (
                norm.get_variable(name, (5,), value, trainable=False) for name, value in (("mean", 0), ("var", 1))
            )
            scale, bias = norm.get_variable("scale", (5,), 1.0), norm.get_variable("bias", (5,), 0.0)
            x = jax.nn.relu((x - mean) * jax.lax.rsqrt(var + 1e-5) * scale + bias)
        with net.variable_scope(last) as layer:
            return dense(layer, x, 2)


@pytest.mark.oldest
def test_a_linen_module_keeps_its_names_and_gives_what_it_gives_alone():
    params, state = init(linen_model)(KEY, X)
    assert jax.tree.map(jnp.shape, params["net"]["Dense_0"]) == {"bias": (5,), "kernel": (3, 5)}
    assert set(state["net"]["BatchNorm_0"]) == {"mean", "var"}
    given = {"params": params["net"], "batch_stats": state["net"]}
    outputs, same = apply(linen_model)(params, state, X)
    np.testing.assert_array_equal(outputs, Linen().apply(given, X))
    jax.tree.map(np.testing.assert_array_equal, same, state)


def test_a_linen_module_that_trains_returns_its_state():
    def model(scope, x):
        return linen_module(scope, "net", nn.BatchNorm(use_running_average=False), x)

    params, state = init(model)(KEY, X)
    outputs, after = apply(model)(params, state, X)
    given = {"params": params["net"], "batch_stats": state["net"]}
    expected, updated = nn.BatchNorm(use_running_average=False).apply(given, X, mutable=["batch_stats"])
    np.testing.assert_array_equal(outputs, expected)
    jax.tree.map(np.testing.assert_array_equal, after["net"], updated["batch_stats"])
    assert not np.array_equal(after["net"]["mean"], state["net"]["mean"])


def test_dropout_in_a_linen_module_takes_the_scopes_key():
    train = lambda scope, x: linen_model(scope, x, train=True)  # noqa: E731
    params, state = init(train)(KEY, X)
    one, other = (apply(train)(params, state, X, key=jax.random.key(seed))[0] for seed in (1, 2))
    assert not np.array_equal(one, other)
    with pytest.raises(ScopeError, match="'dropout' needs a PRNG key"):
        apply(train)(params, state, X)


@pytest.mark.oldest
def test_the_same_network_by_hand_gives_equal_logits_from_equal_params_both_ways():
    of_flax, of_hand = init(linen_model)(KEY, X), init(by_hand)(KEY, X)
    assert jax.tree.structure(of_flax) == jax.tree.structure(of_hand)
    for params, state in (of_flax, of_hand):
        one, two = (apply(model)(params, state, X)[0] for model in (linen_model, by_hand))
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_the_same_network_by_hand_and_by_nnx_gives_equal_logits_both_ways():
    inside = lambda scope, x: nnx_module(scope, "net", Evaluated, x)  # noqa: E731
    hand = functools.partial(by_hand, names=("inner", "norm", "outer"))
    of_nnx, of_hand = init(inside)(KEY, X), init(hand)(KEY, X)
    assert jax.tree.structure(of_nnx) == jax.tree.structure(of_hand)
    for trees in (of_nnx, of_hand):
        params, state = jax.tree.map(lambda leaf: leaf + 0.3, trees)  # no bias of 0, no scale of 1
        alone = Evaluated(nnx.Rngs(1))
        nnx.update(alone, params["net"])
        nnx.update(alone, state["net"])
        expected = alone(X)
        assert jax.tree.map(jnp.shape, nnx.to_pure_dict(nnx.state(alone, nnx.Param))) == jax.tree.map(
            jnp.shape, params["net"]
        )
        for model in (inside, hand):
            np.testing.assert_allclose(apply(model)(params, state, X)[0], expected, rtol=1e-5, atol=1e-6)
    made = Evaluated(nnx.Rngs(2))
    params, state = ({"net": nnx.to_pure_dict(nnx.state(made, kind))} for kind in (nnx.Param, nnx.BatchStat))
    np.testing.assert_allclose(apply(hand)(params, state, X)[0], made(X), rtol=1e-5, atol=1e-6)


def test_an_nnx_module_keeps_its_names_and_gives_what_it_gives_alone():
    params, state = init(nnx_model)(KEY, X)
    assert set(params["net"]) == {"inner", "norm", "outer"} and set(state["net"]["norm"]) == {"mean", "var"}
    (outputs, after), (again, _) = (apply(nnx_model)(params, state, X, key=jax.random.key(1)) for _ in range(2))
    np.testing.assert_array_equal(outputs, again)
    alone = Nnx(nnx.Rngs(0))
    for path in (
        ("inner", "kernel"),
        ("inner", "bias"),
        ("outer", "kernel"),
        ("outer", "bias"),
        ("norm", "scale"),
        ("norm", "bias"),
    ):
        layer, leaf = path
        nnx.update(getattr(alone, layer), {leaf: nnx.Param(params["net"][layer][leaf])})
    alone.norm(alone.inner(X))
    np.testing.assert_allclose(after["net"]["norm"]["mean"], alone.norm.mean[...], rtol=1e-6)


def test_two_calls_of_one_module_share_its_variables():
    def twice(scope, x):
        with scope.variable_scope("shared", reuse=AUTO) as shared:
            return linen_module(shared, "dense", nn.Dense(3), linen_module(shared, "dense", nn.Dense(3), x))

    params, _ = init(twice)(KEY, X)
    assert jax.tree.map(jnp.shape, params) == {"shared": {"dense": {"bias": (3,), "kernel": (3, 3)}}}
    w, b = params["shared"]["dense"]["kernel"], params["shared"]["dense"]["bias"]
    np.testing.assert_allclose(apply(twice)(params, {}, X)[0], (X @ w + b) @ w + b, rtol=1e-5, atol=1e-6)
    with pytest.raises(ScopeError, match=r"'dense/\w+' is there already"):
        init(lambda s, x: (linen_module(s, "dense", nn.Dense(3), x), linen_module(s, "dense", nn.Dense(3), x)))(KEY, X)


def test_modules_go_through_transformations_and_into_the_graph():
    params, state = init(linen_model)(KEY, X)
    loss = lambda p, x: apply(linen_model)(p, state, x)[0].sum()  # noqa: E731
    grads = jax.jit(jax.grad(loss))(params, X)
    assert jax.tree.structure(grads) == jax.tree.structure(params)
    names = trace(loss, params, X).nodes
    assert any(name.startswith("net/") and name.endswith("Dense_0/dot_general") for name in names)
