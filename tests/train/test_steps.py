"""One step against optax by hand; many as one program; what is not finite stays out."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training import BATCHES, MODEL, OPTIMIZER, STEP, X, Y, assert_equal_trees, loss_fn, new_state, on_host

from aidl_jax import optimizers
from aidl_jax.errors import TrainError
from aidl_jax.scope import apply
from aidl_jax.train import make_eval_step, make_fused_step, make_train_step, state_of
from aidl_jax.train.steps import all_finite

BATCH = (X[:16], Y[:16])


def test_a_step_is_optax_by_hand():
    state = new_state()
    params = on_host(state.params)

    def plain(params):
        logits = apply(MODEL)(params, {}, BATCH[0])[0]
        return optax.softmax_cross_entropy_with_integer_labels(logits, BATCH[1]).mean()

    adam = optax.adam(0.01)
    loss, gradients = jax.value_and_grad(plain)(params)
    updates, _ = adam.update(gradients, adam.init(params), params)
    expected = optax.apply_updates(params, updates)
    state, metrics = STEP(state, BATCH)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7), state.params, expected)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-6)
    assert int(state.step) == 1 and metrics["finite"].shape == (5,) and bool(metrics["finite"].all())


def test_minimize_is_this_step():
    state = new_state()
    params = on_host(state.params)
    step = optimizers.minimize(lambda params, *batch: loss_fn(params, {}, batch, None)[0], OPTIMIZER)
    simple, _, loss = step(params, OPTIMIZER.init(params), *BATCH)
    state, metrics = STEP(state, BATCH)
    assert_equal_trees(state.params, simple)
    assert float(loss) == float(metrics["loss"])


def test_each_step_draws_from_a_key_of_its_own():
    def noisy(params, model_state, batch, key):
        return jnp.sum(params["w"] ** 2), (model_state, {"drawn": jax.random.uniform(key)})

    step = make_train_step(noisy, optimizers.sgd(0.1))
    state = state_of({"w": jnp.ones(2)}, {}, optimizers.sgd(0.1), jax.random.key(3))
    drawn = []
    for _ in range(3):
        state, metrics = step(state, BATCH)
        drawn.append(float(metrics["drawn"]))
    expected = [float(jax.random.uniform(jax.random.fold_in(jax.random.key(3), n))) for n in range(3)]
    assert drawn == expected and len(set(drawn)) == 3


def test_fused_steps_are_the_same_steps():
    batches = [batch for _, batch in zip(range(4), BATCHES, strict=False)]
    one, many = new_state(), new_state()
    losses = []
    for batch in batches:
        one, metrics = STEP(one, batch)
        losses.append(float(metrics["loss"]))
    many, metrics = make_fused_step(STEP)(many, jax.tree.map(lambda *leaves: np.stack(leaves), *batches))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), on_host(one), on_host(many))
    np.testing.assert_allclose(metrics["loss"], losses, rtol=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_never_enters_the_state(value):
    state, _ = STEP(new_state(), BATCH)
    before = on_host(state)
    bad = X[:16].copy()
    bad[3, 2] = value
    state, metrics = STEP(state, (bad, Y[:16]))
    assert not bool(metrics["finite"][0]) and not bool(state.finite)
    assert_equal_trees(before._replace(finite=np.bool_(False)), state)
    state, metrics = STEP(state, BATCH)  # and stays as it was until somebody has looked
    assert bool(metrics["finite"].all())
    assert_equal_trees(before._replace(finite=np.bool_(False)), state)
    state, _ = STEP(state._replace(finite=jnp.bool_(True)), BATCH)
    assert int(state.step) == 2


NUMBERS = {
    "ones": np.ones((3, 4), np.float32),
    "one infinity": np.float32([[1, 2], [-np.inf, 3]]),
    "one NaN at the end": np.float32([[1, 2, 3], [4, 5, np.nan]]),
    "the largest": np.full((2, 3, 4), np.finfo(np.float32).max),
    "the smallest": np.full(5, 1e-45, np.float32),
    "half": np.float16([6e4, -6e4]),
    "infinite half": np.float16([1, np.inf]),
    "one number": np.float32(3),
    "no finite number": np.float32(np.nan),
    "nothing": np.zeros((0, 3), np.float32),
    "no column": np.zeros((3, 0), np.float32),
    "four dimensions": np.where(np.arange(24).reshape(2, 3, 2, 2) == 17, np.inf, 1).astype(np.float32),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_whether_all_numbers_are_finite(name):
    assert bool(jax.jit(all_finite)(NUMBERS[name])) == np.isfinite(NUMBERS[name]).all()


def test_a_gradient_alone_can_be_not_finite():
    def root(params, model_state, batch, key):
        return jnp.sqrt(params["b"]) + jnp.sum(params["a"] ** 2), (model_state, {})

    optimizer = optimizers.sgd(0.1)
    state = state_of({"a": jnp.ones(2), "b": jnp.float32(0)}, {}, optimizer, jax.random.key(0))
    state, metrics = make_train_step(root, optimizer)(state, BATCH)
    assert metrics["finite"].tolist() == [True, True, False] and float(state.params["a"][0]) == 1


def test_an_evaluation_leaves_the_state():
    state = new_state()
    before = on_host(state)
    step = make_eval_step(
        lambda params, model_state, batch: {"first": params["layer1"]["biases"].sum() + batch[0].mean()}
    )
    np.testing.assert_allclose(step(state, BATCH)["first"], X[:16].mean(), rtol=1e-5)
    assert_equal_trees(before, state)


def test_the_state_it_is_given_is_used_up():
    state = new_state()
    STEP(state, BATCH)
    assert state.params["layer1"]["weights"].is_deleted()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda loss, state: loss, "given an array of shape ()"),
        (lambda loss, state: (loss, {}), r"given \(an array of shape \(\), dict\)"),
        (
            lambda loss, state: (loss, (state, {"loss": loss})),
            "a metric has a name that the step itself uses: given loss",
        ),
        (lambda loss, state: (loss, ({"other": 1}, {})), "the model's state came back in another form"),
    ],
)
def test_error_of_a_loss_function(answer, told):
    optimizer = optimizers.sgd(0.1)
    step = make_train_step(lambda p, s, batch, key: answer(jnp.sum(p["w"] ** 2), s), optimizer)
    with pytest.raises(TrainError, match=told):
        step(state_of({"w": jnp.ones(2)}, {}, optimizer, jax.random.key(0)), BATCH)


def test_error_of_a_metrics_function():
    with pytest.raises(TrainError, match="there is no metrics function: given 3"):
        make_eval_step(3)
    with pytest.raises(
        TrainError, match=r"the metrics function takes other .*expected metrics_fn\(params, model_state, batch\)"
    ):
        make_eval_step(loss_fn)
    with pytest.raises(
        TrainError, match=r"by name: given 'x': an array of shape \(16, 6\), expected a dict of numbers"
    ):
        make_eval_step(lambda params, model_state, batch: {"x": batch[0]})(new_state(), BATCH)


def test_error_no_loss_function():
    with pytest.raises(TrainError, match="there is no loss function: given 3"):
        make_train_step(3, OPTIMIZER)
    with pytest.raises(
        TrainError,
        match=r"the loss function takes other arguments.*expected loss_fn\(params, model_state, batch, key\)",
    ):
        make_train_step(lambda params, batch: 0.0, OPTIMIZER)
