"""Requests traced in this process, exported, loaded again and run; compared with plain JAX and NumPy."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aidl_jax.errors import ProtocolError
from aidl_jax.exercise import trees
from aidl_jax.exercise.draws import Draw
from aidl_jax.exercise.expressions import (
    Expression,
    Student,
    function,
    grad,
    jit,
    jvp,
    library,
    static,
    value_and_grad,
    vjp,
    vmap,
)
from aidl_jax.exercise.requests import lower
from aidl_jax.grade import tracing
from aidl_jax.grade.tracing import AnswerError, Impure, export_request

X = np.float32([1.5, -2.0, 3.0])
Ask = Callable[[Student], Expression]


class Nobody:
    def evaluate(self, request: Any) -> Any:
        raise AssertionError

    def iterate(self, request: Any, limit: int) -> Any:
        raise AssertionError


def ask(functions: Mapping[str, Any], ask: Ask) -> Any:
    """The answer to a request, by way of the bytes that travel between the processes."""
    request = lower(ask(Student(list(functions), Nobody())))
    serialized, structure = export_request(request.body, request.specs, functions)
    exported = jax.export.deserialize(bytearray(serialized))
    assert [[list(aval.shape), aval.dtype.name] for aval in exported.in_avals] == request.specs
    outputs = exported.call(*request.inputs)
    return trees.unflatten(structure, [np.asarray(output) for output in outputs])


def ask_f(f: Any, *inputs: Any) -> Any:
    return ask({"f": f}, lambda student: student.f(*inputs))


def close(got: Any, expected: Any) -> None:
    """The same structure, shapes and dtypes, and values up to rounding."""
    leaves, structure = trees.flatten(got)
    wanted, wanted_structure = trees.flatten(expected)
    assert structure == wanted_structure
    for one, other in zip(leaves, map(np.asarray, wanted), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-6)


@pytest.mark.oldest
def test_a_function_that_takes_a_function() -> None:
    def twice(g: Any, x: Any) -> Any:
        return g(g(x))

    got = ask({"twice": twice, "g": lambda x: x * x}, lambda s: s.twice(function(lambda x: s.g(x) + 1.0 * X), X))
    close(got, (X * X + X) ** 2 + X)
    close(ask({"twice": twice}, lambda s: s.twice(library("jax.nn.relu"), X)), np.maximum(X, 0))
    close(ask({"twice": twice, "g": jnp.sin}, lambda s: s.twice(s.g, X)), np.sin(np.sin(X)))


class Momentum(NamedTuple):
    step: Any
    velocity: Any


def make_momentum(rate: float, decay: float = 0.9) -> Any:
    def init(params: Any) -> Momentum:
        return Momentum(jnp.zeros((), int), jax.tree.map(jnp.zeros_like, params))

    def update(grads: Any, state: Momentum, params: Any) -> Any:
        velocity = jax.tree.map(lambda v, g: decay * v + g, state.velocity, grads)
        return jax.tree.map(lambda v: -rate * v, velocity), Momentum(state.step + 1, velocity)

    return init, update


@pytest.mark.oldest
def test_an_optimizer_pair_whose_state_is_a_named_tuple() -> None:
    params, grads = {"w": X, "b": np.float32(2)}, {"w": X * 2, "b": np.float32(-1)}

    def two_steps(student: Student) -> Expression:
        pair = student.make_momentum(static(0.1), decay=static(0.5))
        init, update = pair[0], pair[1]
        first = update(grads, init(params), params)
        return update(grads, first[1], params)

    updates, state = ask({"make_momentum": make_momentum}, two_steps)
    close(updates, {"w": np.float32(-0.1) * 1.5 * grads["w"], "b": np.float32(0.1 * 1.5)})
    assert isinstance(state, trees.NamedTree)
    assert state.step == 2
    close(state.velocity, {"w": 1.5 * grads["w"], "b": np.float32(-1.5)})


def test_a_named_tuple_of_the_check_arrives_with_its_fields() -> None:
    def f(state: Any) -> Any:
        return Momentum(state.step + 1, jax.tree.map(lambda v: v * 2, state).velocity)

    state = ask_f(f, Momentum(np.int32(1), X))
    assert (state._name, state.step) == ("Momentum", 2)
    close(state.velocity, 2 * X)


def test_an_attribute_of_an_answer() -> None:
    got = ask({"f": lambda x: Momentum(1, x)}, lambda s: s.f(X).velocity)
    close(got, X)


def test_an_optimizer_of_optax() -> None:
    got = ask(
        {"f": optax.adam}, lambda s: s.f(static(0.1)).update(X, s.f(static(0.1)).init(X))[0]
    )  # the first step of Adam is the learning rate against the sign, up to its epsilon
    np.testing.assert_allclose(got, -0.1 * np.sign(X), rtol=1e-5)


@pytest.mark.oldest
def test_a_key_and_a_static_argument() -> None:
    key = Draw(3, "key").key()
    got = ask_f(lambda key, shape, scale: scale * jax.random.normal(key, shape), key, static((2, 3)), static(2.0))
    wanted = 2.0 * jax.random.normal(jax.random.wrap_key_data(jnp.asarray(key.data)), (2, 3))
    np.testing.assert_array_equal(got, wanted)


def test_a_static_argument_keeps_its_type() -> None:
    seen: list[Any] = []
    given = [1, 2.5, "same", True, (1, (2, "x")), [3, [4]]]

    def f(x: Any, *args: Any) -> Any:
        seen[:] = args
        return x

    ask_f(f, X, *map(static, given))
    assert seen == given
    assert list(map(type, seen)) == list(map(type, given))


def test_a_returned_key_is_its_data() -> None:
    key = Draw(3, "key").key()
    got = ask_f(jax.random.split, key)
    wanted = jax.random.key_data(jax.random.split(jax.random.wrap_key_data(jnp.asarray(key.data))))
    np.testing.assert_array_equal(got, wanted)


def loss(params: Any, x: Any) -> Any:
    return jnp.sum((params["w"] * x + params["b"]) ** 2)


PARAMS = {"w": np.float32([0.5, 1, -1]), "b": np.float32(0.25)}
ERROR = PARAMS["w"] * X + PARAMS["b"]
GRADIENT = {"w": 2 * ERROR * X, "b": np.float32(2 * ERROR.sum())}


@pytest.mark.oldest
def test_gradients_of_the_students_function() -> None:
    close(ask({"loss": loss}, lambda s: grad(s.loss)(PARAMS, X)), GRADIENT)
    close(ask({"loss": loss}, lambda s: grad(s.loss, argnums=(1,))(PARAMS, X)), (2 * ERROR * PARAMS["w"],))
    close(ask({"loss": loss}, lambda s: grad(s.loss, argnums=1)(PARAMS, X)), 2 * ERROR * PARAMS["w"])
    close(ask({"loss": loss}, lambda s: grad(function(lambda p: s.loss(p, X)))(PARAMS)), GRADIENT)
    got = ask({"loss": loss}, lambda s: value_and_grad(s.loss)(PARAMS, X))
    close(got, (np.float32((ERROR**2).sum()), GRADIENT))


@pytest.mark.oldest
def test_vmap_and_jit_of_the_students_function() -> None:
    rows = np.float32([[1, 2, 3], [4, 5, 6]])
    sums = ((PARAMS["w"] * rows + PARAMS["b"]) ** 2).sum(axis=1)
    close(ask({"loss": loss}, lambda s: vmap(s.loss, in_axes=(None, 0))(PARAMS, rows)), sums)
    close(ask({"loss": loss}, lambda s: vmap(function(lambda x: s.loss(PARAMS, x)))(rows)), sums)
    close(ask({"f": jnp.sum}, lambda s: vmap(s.f, in_axes=1)(rows)), rows.sum(axis=0))
    close(ask({"loss": loss}, lambda s: jit(s.loss)(PARAMS, X)), np.float32((ERROR**2).sum()))
    close(ask({"loss": loss}, lambda s: grad(jit(s.loss))(PARAMS, X)), GRADIENT)


@pytest.mark.oldest
def test_vjp_and_jvp_of_the_students_function() -> None:
    tangent, cotangent = np.float32([1, 0, -1]), np.float32([2, 1, 0.5])
    f = {"f": lambda x, y: x * jnp.sin(y)}
    got = ask(f, lambda s: vjp(s.f)((X, X), cotangent))
    close(got, (cotangent * np.sin(X), cotangent * X * np.cos(X)))
    outputs, tangents = ask(f, lambda s: jvp(s.f)((X, X), (tangent, 2 * tangent)))
    close(outputs, X * np.sin(X))
    close(tangents, tangent * np.sin(X) + 2 * tangent * X * np.cos(X))


def test_a_vjp_of_trees() -> None:
    got = ask({"loss": loss}, lambda s: vjp(s.loss)((PARAMS, X), np.float32(1)))
    close(got, (GRADIENT, 2 * ERROR * PARAMS["w"]))


def test_arithmetic_and_libraries_around_the_students_function() -> None:
    close(ask({"f": jnp.cos}, lambda s: s.f(X) * X - s.f(X) / X), np.cos(X) * X - np.cos(X) / X)
    close(ask({"f": jnp.cos}, lambda s: X @ s.f(X)), np.float32(X @ np.cos(X)))
    close(ask({"f": jnp.cos}, lambda s: X - s.f(X) + X), X - np.cos(X) + X)


@pytest.mark.parametrize(
    "tree",
    [
        {"b": X, "a": [X + 1, (X + 2,)], "c": {}},
        {3: X, 1: {10: X, 9: X + 1}},
        [None, (X, None), []],
        (),
        {"only": None},
        Momentum(X, {"v": (X,)}),
    ],
    ids=repr,
)
def test_trees_go_in_and_come_out(tree: Any) -> None:
    got = ask_f(lambda t: jax.tree.map(lambda leaf: leaf * 2, t), tree)
    leaves, structure = trees.flatten(got)
    wanted, wanted_structure = trees.flatten(tree)
    assert structure == wanted_structure
    for one, other in zip(leaves, wanted, strict=True):
        close(one, 2 * other)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1.5, "float32"), (3, "int32"), (True, "bool"), (np.float64(1.5), "float32"), (np.int64(3), "int32"),
        (np.float16(1), "float16"), (np.uint8(3), "uint8"), (np.zeros(2), "float32"), (np.arange(2), "int32"),
        (jnp.bfloat16(1), "bfloat16"), (1.5 + 0 * jnp.float16(1), "float16"),
    ],
    ids=repr,
)  # fmt: skip
def test_an_answers_number_is_a_strong_array_of_jaxs_dtype(value: Any, dtype: str) -> None:
    got = ask_f(lambda: value)
    assert got.dtype.name == dtype
    np.testing.assert_array_equal(np.asarray(got, "float64"), np.asarray(value, "float64"))


@pytest.mark.oldest
def test_a_weak_type_and_a_strong_one_are_the_same_answer() -> None:
    functions = {"weak": lambda x: 2.0, "strong": lambda x: jnp.float32(2.0)}
    requests = [lower(getattr(Student(functions, Nobody()), name)(X)) for name in functions]
    exported = [jax.export.deserialize(bytearray(export_request(r.body, r.specs, functions)[0])) for r in requests]
    assert [e.out_avals[0].weak_type for e in exported] == [False, False]
    assert exported[0].out_avals == exported[1].out_avals
    assert ask_f(lambda x: jnp.sum(x) * 0 + jnp.asarray(1), X).dtype == np.float32


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint32", "bool"])
def test_inputs_keep_their_dtype(dtype: str) -> None:
    array = np.array([0, 1, 1], dtype)
    got = ask_f(lambda x: x, array)
    assert got.dtype.name == dtype
    np.testing.assert_array_equal(got, array)


def test_an_unused_input_stays_an_input() -> None:
    close(ask_f(lambda x, y: x + 1, X, np.float32([1, 2])), X + 1)


def test_one_array_may_be_given_twice() -> None:
    close(ask_f(lambda x, y, z: x - 2 * y + z, X, X, X + 1), np.ones(3, "f4"))


class Box:
    pass


@pytest.mark.oldest
def test_what_is_exported_is_the_second_trace_and_no_third() -> None:
    traces = []

    def f(x: Any) -> Any:
        traces.append(x)
        return x + 1 if len(traces) < 3 else x - 1

    np.testing.assert_array_equal(ask_f(f, X), X + 1)
    assert len(traces) == 2


def test_a_function_that_makes_jax_forget_is_not_exported() -> None:
    """It would be traced a third time, which nothing was compared with."""
    traces = []

    def f(x: Any) -> Any:
        traces.append(x)
        jax.clear_caches()
        return x + 1 if len(traces) < 3 else x - 1

    with pytest.raises(Impure):
        ask_f(f, X)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "returned None"), ("text", "type str"), (b"bytes", "type bytes"), (jnp.sin, "the function sin"),
        (lambda: 1, "the function <lambda>"), (Box, "the function Box"), (Box(), "type Box"), ([X, "text"], "type str"),
        ({"w": {1, 2}}, "type set"), (1j, "type complex"), (jax.nn, "type module"), ((x for x in [1]), "type generator"),
        (functools.partial(jnp.sin), "the function partial"), (jax.ShapeDtypeStruct((2,), "float32"), "type ShapeDtypeStruct"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)  # fmt: skip
def test_an_answer_that_is_no_array_is_refused_in_words(value: Any, said: str) -> None:
    with pytest.raises(AnswerError, match=said):
        ask_f(lambda x: value, X)


@pytest.mark.parametrize("value", [{1.5: X}, {None: X}, {(1, 2): X}], ids=repr)
def test_a_dict_with_odd_keys_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="dict keys must be strings or integers"):
        ask_f(lambda x: value, X)


ticks = itertools.count(1)
calls: list[int] = []


def tick() -> np.ndarray:
    return np.full(3, next(ticks), np.float32)


@jax.custom_jvp
def scaled(x: Any) -> Any:
    return x * tick()


scaled.defjvp(lambda primals, tangents: (scaled(*primals), tangents[0]))

IMPURE: dict[str, Any] = {
    "counter": lambda x: x + next(ticks),
    "counter in a jit": lambda x: jax.jit(lambda y: y + next(ticks))(x),
    "constant": lambda x: x + tick(),
    "constant in a jit": lambda x: jax.jit(lambda y: y + tick())(x),
    "constant of jnp in a jit": lambda x: jax.jit(lambda y: y + jnp.asarray(tick()))(x),
    "constant in a jit in a jit": lambda x: jax.jit(lambda y: jax.jit(lambda z: z + tick())(y))(x),
    "constant in a scan": lambda x: jax.lax.scan(lambda c, _: (c + tick(), None), x, None, length=2)[0],
    "constant in a jit in a scan": lambda x: jax.lax.scan(
        lambda c, _: (jax.jit(lambda z: z + tick())(c), None), x, None, length=2
    )[0],
    "constant in a cond": lambda x: jax.lax.cond(x[0] > 0, lambda: x + tick(), lambda: x),
    "constant in a while_loop": lambda x: jax.lax.while_loop(lambda c: c[0] < 0, lambda c: c + tick(), x),
    "constant in a custom_jvp": lambda x: scaled(x),
    "constant in a jitted custom_jvp": lambda x: jax.jit(scaled)(x),
    "constant in a checkpoint": lambda x: jax.checkpoint(lambda y: y + tick())(x),
    "constant in a grad": lambda x: jax.grad(lambda y: (y * tick()).sum())(x),
    "one element of a large constant": lambda x: (
        x + jnp.asarray(np.arange(5000, dtype="f4")).at[2500].set(tick()[0])[:3]
    ),
    "one element of a large constant in a jit": lambda x: jax.jit(
        lambda y: y + jnp.asarray(np.where(np.arange(5000) == 2500, tick()[0], 0).astype("f4"))[2499:2502]
    )(x),
    "the last bit of a constant": lambda x: x + np.float32(1) + np.float32(2**-23) * next(ticks),
    "np.random": lambda x: x + np.random.normal(),
    "np.random array": lambda x: x * np.random.normal(size=3).astype("float32"),
    "a generator of one's own": lambda x, rng=np.random.default_rng(0): x + rng.normal(),  # noqa: B008
    "clock": lambda x: x + (time.perf_counter_ns() % 1_000_003),
    "alternating": lambda x: jnp.sin(x) if next(ticks) % 2 else jnp.cos(x),
    "another structure": lambda x: [x] * (1 + next(ticks) % 2),
    "another shape": lambda x: jnp.zeros(next(ticks)),
    "another dtype": lambda x: x.astype(["float32", "int32"][next(ticks) % 2]),
    "a growing list": lambda x: calls.append(1) or x * len(calls),
    "another static value": lambda x: jax.lax.dynamic_slice(x, (0,), (1 + next(ticks) % 2,)),
    "another key": lambda x: x + jax.random.normal(jax.random.key(next(ticks)), (3,)),
}


@pytest.mark.oldest
@pytest.mark.parametrize("name", IMPURE)
def test_an_impure_function_is_found(name: str) -> None:
    with pytest.raises(Impure):
        ask_f(IMPURE[name], X)


@jax.custom_jvp
def clipped(x: Any) -> Any:
    return jnp.clip(x, -1, 1)


clipped.defjvp(lambda primals, tangents: (clipped(*primals), tangents[0]))


@jax.custom_vjp
def passed(x: Any) -> Any:
    return jnp.round(x)


passed.defvjp(lambda x: (passed(x), None), lambda _, g: (g,))
TABLE = np.arange(5000, dtype=np.float32)
NAN = np.float32([np.nan, 1, 2])
cache: dict[str, Any] = {}

PURE: dict[str, tuple[Any, Any]] = {
    "jit": (jax.jit(lambda x: x * 2), 2 * X),
    "a jit made anew": (lambda x: jax.jit(lambda y: y * 2)(x), 2 * X),
    "custom_jvp": (lambda x: clipped(x) + jax.grad(lambda y: clipped(y).sum())(x), np.clip(X, -1, 1) + 1),
    "custom_vjp": (lambda x: jax.grad(lambda y: passed(y).sum())(x), np.ones(3, "f4")),
    "scan": (lambda x: jax.lax.scan(lambda c, e: (c + e, c), 0.0, x), (np.float32(2.5), np.float32([0, 1.5, -0.5]))),
    "while_loop": (lambda x: jax.lax.while_loop(lambda c: c.sum() < 50, lambda c: c * 2, x), 32 * X),
    "fori_loop": (lambda x: jax.lax.fori_loop(0, 3, lambda i, c: c + i, x), X + 3),
    "cond": (lambda x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x), np.sin(X)),
    "relu": (jax.nn.relu, np.maximum(X, 0)),
    "softmax": (jax.nn.softmax, np.exp(X) / np.exp(X).sum()),
    "map of a dict": (lambda x: {name: x * i for i, name in enumerate("cab")}, {"c": 0 * X, "a": X, "b": 2 * X}),
    "a constant table": (lambda x: x + TABLE[:3], X + np.arange(3, dtype="f4")),
    "a constant with a NaN": (lambda x: jnp.where(jnp.isnan(NAN), x, NAN), np.float32([1.5, 1, 2])),
    "a seed of one's own": (lambda x: x * np.random.default_rng(0).normal(size=3).astype("f4"),
                            X * np.random.default_rng(0).normal(size=3).astype("f4")),
    "a key of one's own": (lambda x: x + 0 * jax.random.normal(jax.random.key(0), (3,)), X),
    "checkpoint": (lambda x: jax.grad(lambda y: jax.checkpoint(jnp.sin)(y).sum())(x), np.cos(X)),
    "a cache that does not matter": (lambda x: x * cache.setdefault("two", 2), 2 * X),
    "a decorated function": (functools.lru_cache(lambda n: lambda x: x * n)(2), 2 * X),
    "vmap of grad": (lambda x: jax.vmap(jax.grad(jnp.sin))(x), np.cos(X)),
    "einsum": (lambda x: jnp.einsum("i,j->ij", x, x), np.outer(X, X)),
    "shapes": (lambda x: x / x.shape[0] + len(x), X / 3 + 3),
}  # fmt: skip


@pytest.mark.oldest
@pytest.mark.parametrize("name", PURE)
def test_a_pure_function_is_accepted_and_right(name: str) -> None:
    f, expected = PURE[name]
    close(ask_f(f, X), expected)


def test_random_keys_are_pure() -> None:
    key = Draw(1, "pure").key()

    def f(key: Any, x: Any) -> Any:
        first, second = jax.random.split(key)
        kept = jax.random.bernoulli(first, 0.5, x.shape)
        return jnp.where(kept, x, 0) + jax.random.uniform(jax.random.fold_in(second, 1), x.shape)

    np.testing.assert_array_equal(ask_f(f, key, X), f(jax.random.wrap_key_data(jnp.asarray(key.data)), jnp.asarray(X)))


REUSED: dict[str, Any] = {
    "twice": lambda key: jax.random.normal(key) + jax.random.uniform(key),
    "after its split": lambda key: jax.random.normal(jax.random.split(key)[0]) + jax.random.normal(key),
    "in a loop": lambda key: [jax.random.normal(key) for _ in range(2)],
    "in a scan": lambda key: jax.lax.scan(lambda c, _: (c + jax.random.normal(key), None), 0.0, None, length=2)[0],
    "in a jit": lambda key: jax.jit(lambda k: jax.random.normal(k) + jax.random.uniform(k))(key),
}


@pytest.mark.oldest
@pytest.mark.parametrize("name", REUSED)
def test_a_key_used_twice_is_found(name: str) -> None:
    with pytest.raises(jax.errors.KeyReuseError):
        ask_f(REUSED[name], Draw(1, "reuse").key())


def test_the_students_error_comes_out_as_it_is() -> None:
    class Own(Exception):
        pass

    def f(x: Any) -> Any:
        raise Own("inside")

    with pytest.raises(Own, match="inside"):
        ask_f(f, X)


@pytest.mark.oldest
def test_a_host_callback_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="pure_callback"):
        ask_f(lambda x: jax.pure_callback(np.sin, x, x), X)


def test_hidden_values_are_not_in_the_bytes() -> None:
    secret = np.float32([0.123456, 7.654321])
    request = lower(Student(["f"], Nobody()).f(secret, static(5)))
    serialized, _ = export_request(request.body, request.specs, {"f": lambda x, n: x * n})
    assert secret.tobytes() not in serialized
    assert all(value.tobytes() not in serialized for value in secret)
    assert request.specs == [[[2], "float32"]]


def test_what_is_traced_is_abstract() -> None:
    kinds: list[bool] = []
    ask_f(lambda x: kinds.append(isinstance(x, jax.core.Tracer)) or x, X)
    assert kinds == [True, True]


def test_prints_are_heard_once(capsys: pytest.CaptureFixture[str]) -> None:
    ask_f(lambda x: print("tracing", x.shape) or x, X)
    assert capsys.readouterr().out == "tracing (3,)\n"


@pytest.mark.parametrize(
    "body",
    [
        None, [], ["nothing"], ["input"], ["call", ["student", "f"]], ["library", "os.system"], ["library", "system"],
        ["library", "jax.numpy._x"], ["library", "builtins.eval"], ["static", ["code", "x"]], ["static", {}],
        ["transform", "pmap", ["student", "f"], {}], ["transform", "__class__", ["student", "f"], {}], {"input": 0},
        ["tree", ["leaf", 0], []],
    ],
    ids=repr,
)  # fmt: skip
def test_a_malformed_expression_is_refused(body: Any) -> None:
    with pytest.raises(ProtocolError):
        tracing.interpret(body, {"f": jnp.sin}, [])


def test_what_a_request_asks_for_was_looked_up_before_the_hand_in_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jnp, "sin", jnp.cos)
    for name in ("grad", "value_and_grad", "vjp", "jvp", "vmap"):
        monkeypatch.setattr(jax, name, lambda of, *rest, **options: of)
    loss = function(lambda x: library("jax.numpy.sum")(library("jax.numpy.sin")(x)))
    close(ask({"f": lambda a: a}, lambda s: s.f(grad(loss)(X))), np.cos(X))
    close(ask({"f": lambda a: a}, lambda s: s.f(vjp(loss)((X,), np.float32(1))[0])), np.cos(X))
    close(ask({"f": lambda a: a}, lambda s: s.f(vmap(library("jax.numpy.sin"))(X))), np.sin(X))
