"""TF1's truth table of variable scopes, cell by cell, in `init` and in `apply` alike."""

import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aidl_jax.errors import OpError, ScopeError
from aidl_jax.graph import trace
from aidl_jax.initializers import he_normal
from aidl_jax.scope import AUTO, Scope, apply, init

KEY = jax.random.key(0)
X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)


def get(scope, name="v", shape=(2,), **options):
    return scope.get_variable(name, shape, 1.0, **options)


def in_init(fn, *inputs):
    return init(fn)(KEY, *inputs)


def in_apply(fn, *inputs):
    """Runs a model under `apply`, with every variable that it could ask for."""
    given = {"v": jnp.ones(2), "foo": {"v": jnp.ones(2), "bar": {"v": jnp.ones(2)}}}
    return apply(fn)(given, {}, *inputs)


both = pytest.mark.parametrize("run", [in_init, in_apply])


def fails(run, fn, *parts):
    with pytest.raises(ScopeError) as error:
        run(fn)
    for part in parts:
        assert part in str(error.value)
    return str(error.value)


def model_with(inside):
    def model(scope):
        with scope.variable_scope("foo") as foo:
            get(foo)
        inside(scope)

    return model


@pytest.mark.oldest
def test_a_variable_is_made_under_its_scopes():
    def model(scope):
        get(scope)
        with scope.variable_scope("foo") as foo:
            get(foo)
            with foo.variable_scope("bar") as bar:
                get(bar, "w", ())
        assert scope.path == () and bar.path == ("foo", "bar")

    params, model_state = in_init(model)
    assert jax.tree.map(jnp.shape, params) == {"v": (2,), "foo": {"v": (2,), "bar": {"w": ()}}}
    assert model_state == {}


@both
def test_creating_twice_shows_both_lines(run):
    def twice(scope):
        first = scope.get_variable("v", (2,))
        return first + scope.get_variable("v", (2,))

    text = fails(run, twice, "variable 'v' is there already")
    line = twice.__code__.co_firstlineno
    assert f"made at test_scope.py:{line + 1} (twice)" in text
    assert f"asked for again at test_scope.py:{line + 2} (twice)" in text


@both
def test_creating_again_in_the_same_scope_opened_again_is_an_error(run):
    def again(scope):
        with scope.variable_scope("foo", reuse=False) as foo:
            get(foo)

    fails(run, model_with(again), "variable 'foo/v' is there already", "reuse=True")


@both
def test_reuse_finds_what_is_there(run):
    found = []

    def share(scope):
        with scope.variable_scope("foo", reuse=True) as foo:
            found.append((get(foo), foo.get_variable("v")))

    if run is in_init:
        run(model_with(share))
    else:
        apply(model_with(share))({"foo": {"v": jnp.ones(2)}}, {})
    np.testing.assert_array_equal(found[0][0], found[0][1])


@both
def test_reuse_of_the_absent_lists_what_exists(run):
    def absent(scope):
        with scope.variable_scope("foo", reuse=True) as foo:
            foo.get_variable("w")

    fails(
        run, model_with(absent), "variable 'foo/w' is not there to be reused", "one of: 'foo/v'", "did you mean 'foo/v'"
    )
    fails(run, lambda scope: Scope(scope.call, reuse=True).get_variable("v"), "one of: none yet", "make it first")


def test_auto_makes_it_once_and_finds_it_then():
    def model(scope):
        values = []
        for _ in range(2):
            with scope.variable_scope("foo", reuse=AUTO) as foo:
                values.append(foo.get_variable("v", (2,), jax.nn.initializers.normal()))
        return values

    params, _ = in_init(model)
    assert jax.tree.map(jnp.shape, params) == {"foo": {"v": (2,)}}
    (one, two), _ = apply(model)(params, {})
    np.testing.assert_array_equal(one, two)


@both
@pytest.mark.parametrize("inner_reuse", [False, True, AUTO])
def test_inner_scopes_inherit_reuse(run, inner_reuse):
    def inherit(scope):
        with scope.variable_scope("foo", reuse=True) as foo, foo.variable_scope("bar", reuse=inner_reuse) as bar:
            assert bar.reuse == (inner_reuse or True)
            bar.get_variable("v")

    def auto(scope):
        with scope.variable_scope("foo", reuse=AUTO) as foo, foo.variable_scope("bar") as bar:
            assert bar.reuse == AUTO

    if inner_reuse != AUTO:
        fails(run, model_with(inherit), "variable 'foo/bar/v' is not there to be reused")
    init(auto)(KEY)


@both
@pytest.mark.parametrize(("shape", "dtype", "told"), [((3,), jnp.float32, "float32[3]"), ((2,), jnp.int32, "int32[2]")])
def test_reusing_with_another_shape_or_dtype_is_an_error(run, shape, dtype, told):
    def clash(scope):
        with scope.variable_scope("foo", reuse=True) as foo:
            foo.get_variable("v", shape, dtype=dtype)

    fails(run, model_with(clash), "'foo/v' has another shape or dtype", "given float32[2]", f"expected {told}")


@both
def test_a_variable_cannot_stand_where_a_scope_stands(run):
    def leaf_first(scope):
        get(scope, "foo", ())
        with scope.variable_scope("foo") as foo:
            get(foo)

    def branch_first(scope):
        with scope.variable_scope("foo") as foo:
            get(foo)
        get(scope, "foo", ())

    for model in (leaf_first, branch_first) if run is in_init else (branch_first,):
        fails(run, model, "'foo' cannot be both a variable and a scope with variables in it", "'foo/v' beside it")


@both
@pytest.mark.parametrize("name", ["", "a/b", "/", None, 3])
def test_a_name_is_one_word(run, name):
    for model in (lambda s: get(s, name), lambda s: s.variable_scope(name).__enter__(), lambda s: s.make_key(name)):
        fails(run, model, "a name is one word without '/'", repr(name))


NESTED = {
    "scan": lambda f: jax.lax.scan(lambda c, x: (f(c), x), jnp.ones(2), jnp.ones(3)),
    "jit": lambda f: jax.jit(f)(jnp.ones(2)),
    "vmap": lambda f: jax.vmap(f)(jnp.ones((3, 2))),
    "grad": lambda f: jax.grad(lambda x: f(x).sum())(jnp.ones(2)),
    "cond": lambda f: jax.lax.cond(True, f, lambda x: x, jnp.ones(2)),
    "while": lambda f: jax.lax.while_loop(lambda x: x.sum() < 9, f, jnp.ones(2)),
    "checkpoint": lambda f: jax.checkpoint(f)(jnp.ones(2)),
}


@both
@pytest.mark.parametrize("transformation", NESTED)
def test_making_a_variable_inside_a_nested_trace_is_an_error(run, transformation):
    text = fails(run, lambda scope: NESTED[transformation](lambda x: x + get(scope)), "variable 'v' is made inside")
    assert "Fix: do it before" in text and "test_scope.py:" in text


@both
@pytest.mark.parametrize("transformation", NESTED)
def test_reusing_one_there_is_fine(run, transformation):
    def model(scope):
        get(scope)
        with scope.variable_scope("foo") as foo:
            get(foo)
            with foo.variable_scope("bar") as bar:
                get(bar)
        shared = Scope(scope.call, reuse=True)
        return NESTED[transformation](lambda x: x + shared.get_variable("v"))

    run(model)


def conv_relu(scope, x, units):
    weights = scope.get_variable("weights", (x.shape[-1], units), jax.nn.initializers.normal(1.0))
    return jnp.tanh(x @ weights + scope.get_variable("biases", (units,), 0.1))


def my_filter(scope, x):
    with scope.variable_scope("conv1") as conv1:
        x = conv_relu(conv1, x, 3)
    with scope.variable_scope("conv2") as conv2:
        return conv_relu(conv2, x, 3)


def filter_twice(scope, x, y):
    with scope.variable_scope("filters") as filters:
        first = my_filter(filters, x)
    with scope.variable_scope("filters", reuse=True) as filters:
        return first + my_filter(filters, y)


def naive(params, x):
    for name in ("conv1", "conv2"):
        x = jnp.tanh(x @ params[name]["weights"] + params[name]["biases"])
    return x


@pytest.mark.oldest
def test_two_calls_share_variables_and_their_gradients_add_up():
    params, _ = init(filter_twice)(KEY, X, X)
    assert list(params["filters"]) == ["conv1", "conv2"]
    grads = jax.grad(lambda p: apply(filter_twice)(p, {}, X, 2 * X)[0].sum())(params)["filters"]
    one, two = (jax.grad(lambda p, x=x: naive(p, x).sum())(params["filters"]) for x in (X, 2 * X))
    jax.tree.map(lambda both, a, b: np.testing.assert_allclose(both, a + b, rtol=2e-5, atol=1e-6), grads, one, two)


def test_the_naive_way_with_a_dict_computes_the_same():
    params, _ = init(my_filter)(KEY, X)
    np.testing.assert_array_equal(apply(my_filter)(params, {}, X)[0], naive(params, X))


def test_adding_and_reordering_layers_changes_no_other_value():
    def more(scope, x):
        with scope.variable_scope("conv2") as conv2:
            x = conv_relu(conv2, x, 3)
        with scope.variable_scope("between") as between:
            x = conv_relu(between, x, 3)
        with scope.variable_scope("conv1") as conv1:
            return conv_relu(conv1, x, 3)

    before, after = init(my_filter)(KEY, X)[0], init(more)(KEY, X)[0]
    for name in ("conv1", "conv2"):
        np.testing.assert_array_equal(before[name]["weights"], after[name]["weights"])
    weights = [after[name]["weights"] for name in after]
    assert not any(np.array_equal(one, two) for i, one in enumerate(weights) for two in weights[:i])
    assert not np.array_equal(before["conv1"]["weights"], init(my_filter)(jax.random.key(1), X)[0]["conv1"]["weights"])


def test_the_same_key_gives_the_same_values_in_another_process():
    params, _ = init(my_filter)(KEY, X)
    number = int.from_bytes(hashlib.blake2b(b"conv1/weights", digest_size=4).digest())
    expected = jax.random.normal(jax.random.fold_in(KEY, number), (3, 3))
    np.testing.assert_array_equal(params["conv1"]["weights"], expected)


def test_apply_goes_through_every_transformation():
    params, state = init(my_filter)(KEY, X)
    run = lambda p, x: apply(my_filter)(p, state, x)[0]  # noqa: E731
    plain = run(params, X)
    np.testing.assert_allclose(jax.jit(run)(params, X), plain, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(run, (None, 0))(params, X), plain, rtol=1e-5)
    _, scanned = jax.lax.scan(lambda c, x: (c, run(params, x)), 0.0, X)
    np.testing.assert_allclose(scanned, plain, rtol=1e-5)
    jax.jit(init(my_filter))(KEY, X)


def test_names_run_through_to_the_graph():
    params, _ = init(my_filter)(KEY, X)
    graph = trace(lambda params, x: apply(my_filter)(params, {}, x)[0], params, X, variables=["params"])
    names = [operation.name for operation in graph.operations()]
    assert {"params/conv1/weights", "conv1/dot_general", "conv2/tanh"} <= set(names)


def test_a_name_scope_names_operations_and_leaves_variables_alone():
    def model(scope, x):
        with scope.name_scope("loss") as same:
            assert same.path == ()
            return (x * get(same, shape=())).sum()

    params, _ = init(model)(KEY, X)
    assert list(params) == ["v"]
    graph = trace(lambda p, x: apply(model)(p, {}, x)[0], params, X)
    assert "loss/mul" in graph.nodes


def counter(scope, x):
    count = scope.get_variable("count", (), 0, jnp.int32, trainable=False)
    scope.assign("count", count + 1)
    return x + count


def test_state_is_returned_and_never_changed_in_place():
    params, state = init(counter)(KEY, 1)
    assert params == {} and int(state["count"]) == 0
    output, after = apply(counter)(params, state, 10)
    assert (int(output), int(after["count"]), int(state["count"])) == (10, 1, 0)
    assert int(apply(counter)(params, after, 10)[1]["count"]) == 2


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda s: (get(s), s.assign("v", jnp.zeros(2))), "'v' is trainable, so only an optimizer changes it"),
        (lambda s: s.assign("v", 1.0), "'v' is not there to be reused"),
        (lambda s: (get(s, trainable=False), s.assign("v", jnp.zeros(3))), "given float32[2], expected float32[3]"),
        (lambda s: (get(s, trainable=False), jax.jit(lambda x: s.assign("v", x))(jnp.zeros(2))), "'v' is assigned inside"),
        (lambda s: s.get_variable("v"), "variable 'v' needs a shape to be made"),
        (lambda s: s.get_variable("v", (2,), lambda key, shape, dtype: jnp.ones(3)), "given float32[3], expected float32[2]"),
        (lambda s: s.get_variable("v", (3)), "the shape of variable 'v' is not a tuple of sizes: given 3. Fix: write (3,) for a vector"),
        (lambda s: s.variable_scope("a", reuse="yes").__enter__(), "there is no such reuse: given 'yes'. Fix: False, True, or AUTO"),
        (lambda s: s.get_variable("v", (2, 2), he_normal), "the initializer of variable 'v' makes no array: given he_normal, expected a function (key, shape, dtype) -> array. Fix: call what makes an initializer: he_normal(), with parentheses"),
        (lambda s: s.get_variable("v", (2, 2), jax.nn.initializers.glorot_uniform), "the initializer of variable 'v' makes no array: given glorot_uniform"),
        (lambda s: s.get_variable("v", (2,), 0.0, np.float64), "JAX would narrow variable 'v' without a word: given float64, expected float32. Fix: dtype=float32"),
    ],
)  # fmt: skip
def test_what_a_variable_cannot_be(model, message):
    fails(in_init, model, message)


def noisy(scope, x):
    with scope.variable_scope("drop") as drop:
        return x + jax.random.normal(drop.make_key(), x.shape), jax.random.normal(drop.make_key(), x.shape)


def test_keys_come_through_the_scope():
    run = functools.partial(apply(noisy), {}, {}, X)
    (one, other), _ = run(key=KEY)
    np.testing.assert_array_equal(run(key=KEY)[0][0], one)
    assert not np.array_equal(one - X, other) and not np.array_equal(run(key=jax.random.key(1))[0][0], one)
    with pytest.raises(ScopeError, match=r"'drop/key' needs a PRNG key: given key=None. Fix: apply\(fn\)\(..., key="):
        run()
    fails(in_init, lambda s: jax.lax.scan(lambda c, x: (c, s.make_key()), 0, X), "key 'key' is made inside")


def test_a_scope_is_over_when_its_call_is():
    kept = []
    init(lambda scope: kept.append(scope))(KEY)
    with pytest.raises(ScopeError, match="this scope's init or apply has returned"):
        kept[0].get_variable("v", ())


def test_what_is_missing_and_what_is_not_used_are_both_listed():
    params, _ = init(my_filter)(KEY, X)
    renamed = {"conv1": params["conv1"], "conv3": params["conv2"]}
    with pytest.raises(ScopeError) as error:
        apply(my_filter)(renamed, {}, X)
    assert "missing: 'params/conv2/biases', 'params/conv2/weights'" in str(error.value)
    with pytest.raises(
        ScopeError, match="variables that the model does not use: given 'extra', expected 'conv1/biases'"
    ):
        apply(my_filter)({**params, "extra": X}, {}, X)
    with pytest.raises(
        ScopeError, match=r"'conv1/weights' has another shape or dtype: given float32\[3,3\], expected float32\[5,3\]"
    ):
        apply(my_filter)(params, {}, jnp.ones((4, 5)))
    with pytest.raises(ScopeError, match="missing: 'model_state/count'; not used: 'params/count'"):
        apply(counter)({"count": jnp.int32(0)}, {}, 1)


def test_a_name_that_both_trees_have_is_used_in_each_by_itself():
    with pytest.raises(ScopeError, match="variables that the model does not use: given 'v', expected 'v'"):
        apply(lambda scope: get(scope))({"v": jnp.ones(2)}, {"v": jnp.ones(2)})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: init(my_filter)(X), "init takes a PRNG key first: given float32[4,3]. Fix: init(fn)(jax.random.key(0), *inputs)"),
        (lambda: init(my_filter)(0, X), "init takes a PRNG key first: given 0"),
        (lambda: apply(my_filter)({}, X), "model_state is not a dict of variables: given float32[4,3]. Fix: apply(fn)(params, model_state, *inputs), with {}"),
        (lambda: init(3), "a model is a function fn(scope, *inputs): given 3. Fix: init(fn), without calling it"),
        (lambda: apply(None), "a model is a function fn(scope, *inputs): given None"),
        (lambda: apply(my_filter)(None, {}, X), "params is not a dict of variables: given None"),
    ],
)  # fmt: skip
def test_init_takes_a_key_and_apply_two_dicts(call, message):
    with pytest.raises(ScopeError) as error:
        call()
    assert str(error.value).startswith(message)
    assert init(my_filter)(jax.random.PRNGKey(0), X)  # the old kind of key is one, too


def test_a_number_that_the_dtype_cannot_hold_is_not_cut_off():
    with pytest.raises(OpError, match=r"int32 cannot hold 0.5"):
        in_init(lambda scope: scope.get_variable("v", (2,), 0.5, jnp.int32))
