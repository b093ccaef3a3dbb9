"""Optimizers against their papers' formulas in NumPy and float64, and what is put around them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from aidl_jax import optimizer_checks, optimizers, regularization
from aidl_jax.errors import OptimizerError, ScopeError
from aidl_jax.graph import trace
from aidl_jax.optimizers import adagrad, adam, adamw, current_rate, minimize, momentum, nesterov, rmsprop, sgd
from aidl_jax.regularization import (
    add_l2,
    average_params,
    averaged_params,
    clip_gradients,
    clip_values,
    decay_weights,
)
from aidl_jax.schedules import exponential_decay, piecewise, warm_up

RATE = 0.05
ALL = {"sgd": sgd, "momentum": momentum, "nesterov": nesterov, "adagrad": adagrad, "rmsprop": rmsprop, "adam": adam, "adamw": adamw}  # fmt: skip
OPTAX = {
    "sgd": optax.sgd,
    "momentum": partial(optax.sgd, momentum=0.9),
    "nesterov": partial(optax.sgd, momentum=0.9, nesterov=True),
    "adagrad": optax.adagrad,
    "rmsprop": optax.rmsprop,
    "adam": optax.adam,
    "adamw": optax.adamw,
}


def by_hand(name: str, p: np.ndarray, gradients: list[np.ndarray], rates: list[float]) -> np.ndarray:
    """What the papers say, for one parameter in float64."""
    v = m = s = np.zeros_like(p)
    total = np.full_like(p, 0.1)
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        v = 0.9 * v + g
        total = total + g**2
        first, second = (0.9, 0.999) if name != "rmsprop" else (0.0, 0.9)
        m, s = first * m + (1 - first) * g, second * s + (1 - second) * g**2
        adam_step = m / (1 - 0.9**t) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
        p = (
            p
            - rate
            * {
                "sgd": g,
                "momentum": v,
                "nesterov": 0.9 * v + g,
                "adagrad": g / np.sqrt(total + 1e-7),
                "rmsprop": g / np.sqrt(s + 1e-8),
                "adam": adam_step,
                "adamw": adam_step + 1e-4 * p,
            }[name]
        )
    return p


def mixed(seed: int) -> dict[str, Any]:
    """A tree of several shapes, a scalar and bfloat16 in it."""
    rng = np.random.default_rng(seed)
    return {
        "layer1": {"w": jnp.float32(rng.normal(size=(3, 4))), "b": jnp.float32(rng.normal(size=4))},
        "list": [jnp.float32(rng.normal()), (jnp.float32(rng.normal(size=(2, 1, 2))),)],
        "half": jnp.asarray(rng.normal(size=5), jnp.bfloat16),
    }


def steps_of(optimizer: Any, params: Any, gradients: list[Any]) -> tuple[Any, Any]:
    """Parameters and state after all gradients."""
    opt_state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for gradient in gradients:
        updates, opt_state = update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
    return params, opt_state


def assert_near(found: Any, expected: Any, tolerance: float = 2e-5) -> None:
    """Equal up to a tolerance; bfloat16's eight bits are allowed for."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        bound = 0.05 if one.dtype == jnp.bfloat16 else tolerance
        np.testing.assert_allclose(np.asarray(one, float), np.asarray(other, float), rtol=bound, atol=bound)


def test_the_public_names() -> None:
    assert sorted(optimizers.__all__) == sorted([*ALL, "current_rate", "minimize"])
    wrappers = ["add_l2", "average_params", "averaged_params", "clip_gradients", "clip_values", "decay_weights"]
    assert sorted(regularization.__all__) == wrappers
    checks = [
        "check_loss",
        "check_number",
        "check_optimizer",
        "check_params",
        "check_same",
        "check_steps",
        "is_known",
        "named",
    ]
    assert sorted(optimizer_checks.__all__) == checks


@pytest.mark.oldest
@pytest.mark.parametrize("name", ALL)
def test_steps_are_those_of_the_paper(name: str) -> None:
    params, gradients = mixed(0), [mixed(seed) for seed in range(1, 7)]
    found, _ = steps_of(ALL[name](RATE), params, gradients)
    leaves = [jax.tree.leaves(gradient) for gradient in gradients]
    expected = [
        by_hand(name, np.asarray(p, float), [np.asarray(one[at], float) for one in leaves], [RATE] * 6)
        for at, p in enumerate(jax.tree.leaves(params))
    ]
    assert_near(found, jax.tree.unflatten(jax.tree.structure(params), expected))


@pytest.mark.parametrize("name", ALL)
def test_steps_are_those_of_optax_and_keep_tree_and_dtypes(name: str) -> None:
    params, gradients = mixed(0), [mixed(seed) for seed in range(1, 5)]
    promotion = "standard" if "adam" in name else "strict"  # optax's Adam raises a float to an int
    with jax.numpy_dtype_promotion(promotion):
        found, opt_state = steps_of(ALL[name](0.25), params, gradients)
    expected, _ = steps_of(OPTAX[name](0.25), params, gradients)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        bound = 1e-6 if one.dtype == jnp.float32 else 2**-7
        np.testing.assert_allclose(np.asarray(one, float), np.asarray(other, float), rtol=bound, atol=bound)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), found) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), params
    )
    assert jax.tree.structure(opt_state) == jax.tree.structure(ALL[name](0.25).init(params))


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop"])
def test_a_schedule_in_the_place_of_the_rate(name: str) -> None:
    gradients = [np.float32([g]) for g in (1.0, -2.0, 0.5, 3.0, 1.5)]
    schedule, rates = warm_up(piecewise([2], [0.4, 0.1]), steps=2), [0.0, 0.2, 0.4, 0.4, 0.1]
    found, opt_state = steps_of(ALL[name](schedule), jnp.float32([1]), gradients)
    expected = by_hand(name, np.ones(1), [np.float64(g) for g in gradients], rates)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert float(current_rate(opt_state)) == pytest.approx(0.1)


def rosenbrock(p: Any) -> Any:
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def quadratic(p: Any) -> Any:
    return (p["x"] ** 2 + 50 * p["y"] ** 2) / 2


@pytest.mark.parametrize(
    ("optimizer", "steps", "near"),
    [(momentum(1e-3), 4000, 1e-3), (nesterov(1e-3), 4000, 1e-3), (adam(0.05), 2000, 1e-3), (sgd(1e-3), 20000, 0.05),
     (adagrad(0.5), 8000, 0.05), (rmsprop(exponential_decay(0.01, 1e-5, 4000)), 5000, 0.1), (optax.lbfgs(), 60, 1e-3)],
    ids=["momentum", "nesterov", "adam", "sgd", "adagrad", "rmsprop", "optax.lbfgs"],
)  # fmt: skip
def test_rosenbrock_is_minimized(optimizer: Any, steps: int, near: float) -> None:
    train_step, params = minimize(rosenbrock, optimizer), jnp.float32([-1.2, 1.0])

    def one(carry: Any, _: Any) -> Any:
        params, opt_state, loss = train_step(*carry)
        return (params, opt_state), loss

    (params, _), losses = jax.lax.scan(one, (params, optimizer.init(params)), length=steps)
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(params, [1, 1], atol=near)


@pytest.mark.oldest
def test_sgd_on_a_quadratic_is_its_closed_form() -> None:
    train_step, optimizer = minimize(quadratic, sgd(0.03)), sgd(0.03)
    params = {"x": jnp.float32(3), "y": jnp.float32(1)}
    opt_state = optimizer.init(params)
    for _ in range(20):
        params, opt_state, _ = train_step(params, opt_state)
    np.testing.assert_allclose(params["x"], 3 * (1 - 0.03) ** 20, rtol=1e-5)
    np.testing.assert_allclose(params["y"], (1 - 0.03 * 50) ** 20, rtol=1e-4)


@pytest.mark.oldest
@pytest.mark.parametrize("rate", [0.1, exponential_decay(0.1, 0.01, 3), optax.cosine_decay_schedule(0.1, 50)])
def test_minimize_traces_once_and_keeps_what_was_passed(rate: Any) -> None:
    traced = []

    def loss_fn(params: Any, x: Any, t: Any) -> Any:
        traced.append(x)
        return jnp.mean((params["w"] * x - t) ** 2)

    params, optimizer = {"w": 1.0}, average_params(clip_gradients(adam(rate), 1.0), 0.9)
    train_step, opt_state = minimize(loss_fn, optimizer), optimizer.init(params)
    x = jnp.arange(3.0)
    for _ in range(5):
        params, opt_state, loss = train_step(params, opt_state, x, 2 * x)
    assert len(traced) <= 2  # the number 1.0 becomes an array once
    before, kept = len(traced), params
    for _ in range(5):
        params, opt_state, loss = train_step(params, opt_state, x, 2 * x)
    assert len(traced) == before
    assert loss.shape == () and float(params["w"]) != float(kept["w"])  # kept can still be read


def test_an_array_traces_once() -> None:
    traced = []

    def loss_fn(w: Any) -> Any:
        traced.append(w)
        return jnp.sum(w**2)

    w, optimizer = jnp.ones(3), decay_weights(nesterov(exponential_decay(0.1, 0.01, 3)), 0.1)
    train_step, opt_state = minimize(loss_fn, optimizer), optimizer.init(jnp.ones(3))
    for _ in range(6):
        w, opt_state, _ = train_step(w, opt_state)
    assert len(traced) == 1


def test_the_loss_is_the_one_before_the_step() -> None:
    optimizer = sgd(0.5)
    params, _, loss = minimize(lambda p: p**2, optimizer)(jnp.float32(3), optimizer.init(jnp.float32(3)))
    assert float(loss) == 9 and float(params) == 0


@pytest.mark.oldest
def test_names_in_the_graph_of_a_train_step() -> None:
    def loss_fn(params: Any, x: Any) -> Any:
        with jax.named_scope("layer1"):
            y = jnp.tanh(x @ params["w"])
        with jax.named_scope("loss"):
            return jnp.mean(y**2)

    params, optimizer = {"w": jnp.ones((3, 2))}, adam(1e-3)
    graph = trace(minimize(loss_fn, optimizer), params, optimizer.init(params), jnp.ones((4, 3)))
    names = [one.name for one in graph.operations() if one.type not in ("placeholder", "constant")]
    assert {name.split("/")[0] for name in names} == {"layer1", "loss", "gradients", "optimizer"}
    assert {"layer1/dot_general", "layer1/tanh", "loss/div", "gradients/layer1/dot_general", "optimizer/sqrt"} <= set(
        names
    )


@pytest.mark.parametrize("optimizer", [optax.lion(0.01), optax.chain(optax.clip(0.1), optax.sgd(0.1)), optax.contrib.reduce_on_plateau()])  # fmt: skip
def test_any_optax_transformation_stands_in_their_place(optimizer: Any) -> None:
    opt_state = optimizer.init(jnp.float32(3))
    params, opt_state, _ = minimize(lambda p: p**2, optimizer)(jnp.float32(3), opt_state)
    assert np.isfinite(params) and params != 3


def test_the_rate_is_read_from_the_state_and_can_be_set() -> None:
    optimizer = clip_gradients(adam(exponential_decay(0.003, 0.0001, 10)), 1.0)
    p = jnp.ones(2)
    train_step, opt_state = minimize(lambda p: jnp.sum(p**2), optimizer), optimizer.init(p)
    rates = [float(current_rate(opt_state))]
    for _ in range(12):
        p, opt_state, _ = train_step(p, opt_state)
        rates.append(float(current_rate(opt_state)))
    expected = [0.003, *(max(0.0001, 0.003 * (1 / 30) ** (step / 10)) for step in range(12))]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)
    fixed = sgd(0.5)
    opt_state = optax.tree_utils.tree_set(fixed.init(p), learning_rate=jnp.float32(0.25))
    assert float(fixed.update(jnp.float32(1), opt_state)[0]) == -0.25
    given = optax.inject_hyperparams(optax.adam)(learning_rate=0.125)
    assert float(current_rate(given.init(p))) == 0.125
    assert float(jax.jit(current_rate)(opt_state)) == 0.25


@pytest.mark.parametrize("where", [(), ("*/w",)])
@pytest.mark.oldest
def test_l2_is_a_term_of_the_loss(where: tuple[str, ...]) -> None:
    params = {"a": {"w": jnp.float32([1, -2]), "b": jnp.float32([3])}}

    def loss_fn(params: Any) -> Any:
        return jnp.sum(params["a"]["w"] ** 3) + jnp.sum(params["a"]["b"])

    def with_term(params: Any) -> Any:
        leaves = [params["a"]["w"]] + ([] if where else [params["a"]["b"]])
        return loss_fn(params) + 0.1 * sum(jnp.sum(leaf**2) / 2 for leaf in leaves)

    for make in (sgd, adam):
        inside, around = make(0.01), add_l2(make(0.01), 0.1, *where)
        first, second = params, params
        first_state, second_state = inside.init(params), around.init(params)
        for _ in range(4):
            first, first_state, _ = minimize(with_term, inside)(first, first_state)
            second, second_state, _ = minimize(loss_fn, around)(second, second_state)
        assert_near(first, second, 1e-6)


@pytest.mark.oldest
def test_weight_decay_and_l2_are_one_under_sgd_and_differ_under_the_others() -> None:
    params, gradients = {"w": jnp.float32([2, -1])}, [{"w": jnp.float32([0.5, 3])}] * 5
    for name, make in ALL.items():
        l2, _ = steps_of(add_l2(make(0.1), 0.3), params, gradients)
        decayed, _ = steps_of(decay_weights(make(0.1), 0.3), params, gradients)
        apart = float(jnp.abs(l2["w"] - decayed["w"]).max())
        assert (apart < 1e-6) == (name == "sgd"), name


def test_weight_decay_is_decoupled() -> None:
    params, gradients = mixed(0), [mixed(seed) for seed in range(1, 5)]
    found, _ = steps_of(decay_weights(adam(0.1), 0.02), params, gradients)
    expected, _ = steps_of(optax.adamw(0.1, weight_decay=0.02), params, gradients)
    assert_near(found, expected, 1e-6)
    found, _ = steps_of(adamw(0.1, weight_decay=0.02), params, gradients)
    assert_near(found, expected, 1e-6)
    params = {"a": {"weights": jnp.float32(2), "biases": jnp.float32(2)}}
    found, _ = steps_of(decay_weights(adam(0.1), 0.5, "*/weights"), params, [jax.tree.map(jnp.zeros_like, params)])
    assert float(found["a"]["weights"]) == pytest.approx(2 - 0.1 * 0.5 * 2) and float(found["a"]["biases"]) == 2


def test_weight_decay_follows_the_schedule() -> None:
    found, _ = steps_of(decay_weights(sgd(piecewise([1], [0.5, 0.25])), 1.0), jnp.float32(8), [jnp.float32(0)] * 2)
    assert float(found) == 8 * 0.5 * 0.75


def test_clipping() -> None:
    gradients = {"a": jnp.float32([3, 0]), "b": jnp.float32(4)}
    params = jax.tree.map(jnp.zeros_like, gradients)
    found, _ = steps_of(clip_gradients(sgd(0.5), 2.5), params, [gradients])  # gradients are clipped, not steps
    assert_near(found, {"a": jnp.float32([-0.75, 0]), "b": jnp.float32(-1)}, 1e-6)
    found, _ = steps_of(clip_gradients(sgd(1.0), 5.5), params, [gradients])
    assert_near(found, jax.tree.map(jnp.negative, gradients), 1e-6)
    found, _ = steps_of(clip_values(sgd(1.0), 3.5), params, [gradients])
    assert_near(found, {"a": jnp.float32([-3, 0]), "b": jnp.float32(-3.5)}, 1e-6)


@pytest.mark.oldest
def test_moving_average_is_the_loop_by_hand() -> None:
    params, gradients = mixed(0), [mixed(seed) for seed in range(1, 8)]
    optimizer, plain = average_params(adam(0.1), decay=0.8), adam(0.1)
    opt_state, plain_state, plain_params = optimizer.init(params), plain.init(params), params
    m, update = np.zeros((3, 4)), jax.jit(optimizer.update)
    for t, gradient in enumerate(gradients, start=1):
        updates, opt_state = update(gradient, opt_state, params)
        params = optax.apply_updates(params, updates)
        updates, plain_state = plain.update(gradient, plain_state, plain_params)
        plain_params = optax.apply_updates(plain_params, updates)
        m = 0.8 * m + 0.2 * np.asarray(params["layer1"]["w"], float)
        average = averaged_params(opt_state, params)
        np.testing.assert_allclose(average["layer1"]["w"], m / (1 - 0.8**t), rtol=1e-5, atol=1e-6)
    assert_near(params, plain_params, 1e-5)
    assert [one.dtype for one in jax.tree.leaves(average)] == [one.dtype for one in jax.tree.leaves(params)]


def test_moving_average_of_bfloat16_does_not_stand_still() -> None:
    optimizer, p = average_params(sgd(1.0), decay=0.99), jnp.bfloat16(1)
    opt_state = optimizer.init(p)
    assert opt_state.average.dtype == jnp.float32
    update = jax.jit(optimizer.update)
    for gradient in [0.0] * 100 + [-1.0] + [0.0] * 300:
        updates, opt_state = update(jnp.bfloat16(gradient), opt_state, p)
        p = optax.apply_updates(p, updates)
    share_of_the_ones = (0.99**301 - 0.99**401) / (1 - 0.99**401)
    assert float(opt_state.average) == pytest.approx(2 - share_of_the_ones, abs=1e-4)


W = {"w": jnp.ones(2)}


def step_of(loss_fn: Callable[..., Any], params: Any = W, optimizer: Any = None, opt_state: Any = None) -> Any:
    optimizer = optimizer or adam(0.1)
    return minimize(loss_fn, optimizer)(params, optimizer.init(params) if opt_state is None else opt_state)


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda: adam(lr=10e-4), "adam has no argument of this name: given lr=..., expected learning_rate, beta1, beta2, epsilon. Fix: write learning_rate=..."),
        (lambda: momentum(0.1, momentun=0.5), "given momentun=..., expected learning_rate, momentum. Fix: did you mean 'momentum'?"),
        (lambda: sgd(-0.1), "learning_rate is not one that can be used: given learning_rate=-0.1, expected a number of at least 0. Fix: an optimizer steps against the gradient by itself"),
        (lambda: adam(float("nan")), "given learning_rate=nan"),
        (lambda: adam("0.1"), "given learning_rate='0.1'"),
        (lambda: adam(0.1, beta2=1.0), "beta2 is not one that can be used: given beta2=1.0, expected a number of at least 0 and below 1"),
        (lambda: rmsprop(0.1, decay=-1), "given decay=-1"),
        (lambda: average_params(sgd(0.1), 1), "given decay=1, expected a number of at least 0 and below 1"),
        (lambda: add_l2(sgd(0.1), -1), "given strength=-1"),
        (lambda: step_of(lambda p: p["w"]), "a loss is one floating-point number: given float32[2], expected float32[]. Fix: return the mean over the batch"),
        (lambda: step_of(lambda p: (p["w"][0], p["w"])), "given a tuple of float32[], float32[2]"),
        (lambda: step_of(lambda p: None), "a loss is one floating-point number: given None"),
        (lambda: step_of(lambda p: jnp.int32(3)), "given int32[]"),
        (lambda: step_of(lambda p: 0.0, {"a": {"n": jnp.int32([1])}}), "params/a/n: a parameter that an optimizer changes is of floating point: given int32. Fix: write 1.0 for 1"),
        (lambda: step_of(lambda p: p["w"][0], opt_state=adam(0.1).init({"w": jnp.ones(3)})), "opt_state/0/mu/w: the opt_state do not fit the params: given shape (3,), expected shape (2,)"),
        (lambda: step_of(lambda p: p["w"][0], opt_state=sgd(0.1).init(W)), "opt_state/0/count: "),
        (lambda: adam(0.1).update({"v": jnp.ones(2)}, adam(0.1).init(W), W), "gradients/w: the gradients do not fit the params: given nothing, expected shape (2,). Fix: take the gradients by the same params"),
        (lambda: adam(0.1).update(W | {"v": jnp.ones(2)}, adam(0.1).init(W), W), "gradients/v: the gradients do not fit the params: given shape (2,), expected nothing"),
        (lambda: current_rate(optax.adam(0.1).init(W)), "this state does not hold its learning rate: given an optimizer's state of type tuple. Fix: make the optimizer with aidl_jax.optimizers"),
        (lambda: current_rate((sgd(0.1).init(W), sgd(0.2).init(W))), "this state holds more than one learning rate"),
        (lambda: decay_weights(sgd(0.1), 0.1).update(W, sgd(0.1).init(W)), "weight decay needs the parameters: given params=None. Fix: optimizer.update(gradients, opt_state, params)"),
        (lambda: averaged_params(sgd(0.1).init(W), W), "this state holds no average of the parameters: given a tuple. Fix: make the optimizer with one average_params"),
        (lambda: averaged_params([average_params(sgd(0.1)).init(W)] * 2, W), "this state holds 2 averages of the parameters"),
    ],
)  # fmt: skip
def test_errors_say_what_and_how(ask: Callable[[], Any], told: str) -> None:
    with pytest.raises(OptimizerError) as caught:
        ask()
    assert told in str(caught.value)


def test_a_pattern_that_matches_nothing() -> None:
    with pytest.raises(ScopeError, match="no parameter has such a name"):
        add_l2(sgd(0.1), 0.1, "*/wieghts").init({"a": {"weights": jnp.ones(2)}})


@pytest.mark.parametrize(
    "make",
    [lambda o: minimize(rosenbrock, o), lambda o: clip_gradients(o, 1.0), lambda o: clip_values(o, 1.0), lambda o: add_l2(o, 0.1), lambda o: decay_weights(o, 0.1), average_params],
)  # fmt: skip
def test_what_is_no_optimizer_says_so(make: Callable[[Any], Any]) -> None:
    with pytest.raises(
        OptimizerError, match=r"not an optimizer: given sgd, expected .*Fix: call what makes one: sgd\(0.1\)"
    ):
        make(sgd)
    with pytest.raises(OptimizerError, match=r"a loss is a function: given 3"):
        minimize(3, sgd(0.1))  # type: ignore[arg-type]
