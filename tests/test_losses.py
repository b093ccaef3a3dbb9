"""Losses and measures against NumPy, SciPy and scikit-learn, at the ends of the range, and in what they refuse."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import sklearn.metrics
from finite_differences import check_function, compiled
from hypothesis import given, settings
from hypothesis import strategies as st

from aidl_jax import losses
from aidl_jax.errors import OpError

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(40, 5)).astype(np.float32) * 3
LABELS = RNG.integers(0, 5, size=40)
ONE_HOT = np.eye(5, dtype=np.float32)[LABELS]
REDUCE = {"none": lambda x: x, "mean": np.mean, "sum": np.sum}


@pytest.fixture(autouse=True)
def strict():
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        yield


def all_reductions(loss):
    """A loss with each reduction, in one compiled function."""
    return compiled(lambda logits, labels: {name: loss(logits, labels, reduction=name) for name in REDUCE})


all_softmax, all_sigmoid = all_reductions(losses.softmax_cross_entropy), all_reductions(losses.sigmoid_cross_entropy)


@pytest.mark.oldest
@pytest.mark.parametrize("reduction", REDUCE)
def test_softmax_cross_entropy_is_minus_log_softmax(reduction):
    each = -scipy.special.log_softmax(np.float64(LOGITS), axis=-1)[np.arange(40), LABELS]
    expected = REDUCE[reduction](each)
    for labels in (LABELS, LABELS.astype(np.uint8), ONE_HOT):
        np.testing.assert_allclose(all_softmax(LOGITS, labels)[reduction], expected, rtol=1e-5, atol=1e-6)


def test_softmax_cross_entropy_is_scikit_learns_log_loss():
    got = losses.softmax_cross_entropy(LOGITS, LABELS, reduction="mean")
    expected = sklearn.metrics.log_loss(LABELS, scipy.special.softmax(np.float64(LOGITS), axis=-1))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.oldest
@pytest.mark.parametrize("reduction", REDUCE)
def test_sigmoid_cross_entropy_is_the_textbooks(reduction):
    labels = RNG.uniform(size=LOGITS.shape).astype(np.float32)
    p = scipy.special.expit(np.float64(LOGITS))
    expected = REDUCE[reduction](-labels * np.log(p) - (1 - labels) * np.log(1 - p))
    np.testing.assert_allclose(all_sigmoid(LOGITS, labels)[reduction], expected, rtol=1e-5, atol=1e-5)


softmax_and_gradient = compiled(jax.value_and_grad(partial(losses.softmax_cross_entropy, reduction="sum")))
sigmoid_and_gradient = compiled(jax.value_and_grad(partial(losses.sigmoid_cross_entropy, reduction="sum")))


@pytest.mark.oldest
@pytest.mark.parametrize("size", [1e4, -1e4])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_losses_and_gradients_are_finite_and_exact_at_large_logits(size, dtype):
    logits = np.array([[size, 0.0, -size], [0.0, size, 0.0]], dtype)
    large = float(abs(logits[0, 0]))
    labels = np.array([2 if size > 0 else 0, 1])
    # of [+-1e4, 0, -+1e4] the smallest is right: 2e4 too little; of [0, +-1e4, 0] the middle one: 0, or 1e4 + log(2)
    expected = [2 * large, 0.0 if size > 0 else large]
    for given_labels in (labels, np.eye(3, dtype=dtype)[labels]):
        loss, gradient = softmax_and_gradient(logits, given_labels)
        np.testing.assert_allclose(float(loss), sum(expected), rtol=1e-4 if dtype == jnp.float32 else 1e-2)
        assert np.isfinite(np.asarray(gradient, float)).all() and gradient.dtype == loss.dtype == dtype
    for answer in (0.0, 1.0):
        loss, gradient = sigmoid_and_gradient(logits[0, :1], np.full((1,), answer, dtype))
        wrong = (size > 0) == (answer == 0)
        assert float(loss) == (large if wrong else 0.0)
        assert float(gradient[0]) == (0 if not wrong else 1 if answer == 0 else -1)


@pytest.mark.parametrize("labels", [LABELS, ONE_HOT], ids=["ints", "one-hot"])
def test_the_gradient_of_softmax_cross_entropy_is_p_minus_y(labels):
    _, gradient = softmax_and_gradient(LOGITS, labels)
    np.testing.assert_allclose(gradient, scipy.special.softmax(LOGITS, axis=-1) - ONE_HOT, atol=1e-6)


def test_mean_squared_error_is_scikit_learns():
    a, b = LOGITS, RNG.normal(size=LOGITS.shape).astype(np.float32)
    np.testing.assert_allclose(losses.mean_squared_error(a, b), sklearn.metrics.mean_squared_error(a, b), rtol=1e-6)
    assert losses.mean_squared_error(a, a) == 0


def test_l2_loss_is_half_the_sum_of_squares_and_its_gradient_what_it_was_given():
    t = LOGITS
    value, gradient = jax.jit(jax.value_and_grad(losses.l2_loss))(t)
    np.testing.assert_allclose(value, np.sum(np.float64(t) ** 2) / 2, rtol=1e-6)
    np.testing.assert_array_equal(gradient, t)


def test_smoothed_labels_still_sum_to_one():
    got = losses.smooth_labels(jnp.asarray(ONE_HOT), 0.1)
    np.testing.assert_allclose(got, np.where(ONE_HOT == 1, 0.9 + 0.1 / 5, 0.1 / 5), rtol=1e-6)
    np.testing.assert_allclose(np.sum(got, -1), 1, rtol=1e-6)
    smoothed = all_softmax(np.zeros((40, 5), np.float32), got)["none"]
    np.testing.assert_allclose(smoothed, np.log(5), rtol=1e-6)


@pytest.mark.oldest
@pytest.mark.parametrize("k", [1, 2, 4])
def test_top_k_is_scikit_learns(k):
    expected = sklearn.metrics.top_k_accuracy_score(LABELS, LOGITS, k=k, labels=range(5))
    np.testing.assert_allclose(losses.top_k_accuracy(LOGITS, LABELS, k), expected, rtol=1e-6)


def test_accuracy_is_scikit_learns_and_of_equal_logits_the_first_counts():
    got = losses.accuracy(LOGITS, LABELS)
    np.testing.assert_allclose(got, sklearn.metrics.accuracy_score(LABELS, LOGITS.argmax(-1)), rtol=1e-6)
    assert got.dtype == jax.eval_shape(losses.accuracy, LOGITS.astype(jnp.bfloat16), LABELS).dtype == jnp.float32
    assert losses.accuracy(0 * LOGITS, np.arange(40) % 5) == np.float32(1 / 5)
    assert losses.top_k_accuracy(0 * LOGITS, np.arange(40) % 5, 2) == np.float32(2 / 5)


confusion = jax.jit(losses.confusion_matrix, static_argnums=2)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=6, max_size=6), st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_the_confusion_matrix_is_scikit_learns(labels, predictions):
    expected = sklearn.metrics.confusion_matrix(labels, predictions, labels=range(4))
    got = confusion(jnp.array(labels), jnp.array(predictions), 4)
    np.testing.assert_array_equal(got, expected)
    assert got.dtype == jnp.int32


FLOATS = jnp.asarray(RNG.uniform(size=(3, 4)), jnp.float32)
INTS = jnp.array([0, 3, 2])
DIFFERENTIABLE = {
    "mean_squared_error": lambda x: losses.mean_squared_error(x, x[::-1] ** 2),
    "sigmoid_cross_entropy": lambda x: losses.sigmoid_cross_entropy(x, x[::-1], reduction="none"),
    "softmax_cross_entropy": lambda x: losses.softmax_cross_entropy(x, INTS, reduction="none"),
    "softmax_cross_entropy, one-hot": lambda x: losses.softmax_cross_entropy(x, x[::-1], reduction="mean"),
    "l2_loss": losses.l2_loss,
}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_batched_it_is_the_same_function_and_gradients_are_those_of_finite_differences(name):
    check_function(DIFFERENTIABLE[name], FLOATS)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_floats_keep_their_dtype(name, dtype):
    assert jax.eval_shape(DIFFERENTIABLE[name], jax.ShapeDtypeStruct((3, 4), dtype)).dtype == dtype


@pytest.mark.oldest
@pytest.mark.parametrize("bad", [-1, 5])
def test_a_label_that_is_no_class_is_seen_inside_jit_too(bad):
    labels = np.where(np.arange(40) == 7, bad, LABELS)
    loss = all_softmax(LOGITS, labels)["none"]
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(loss)), [7])
    _, gradient = softmax_and_gradient(LOGITS, labels)
    assert np.isnan(np.asarray(gradient)[7]).all()
    assert np.isnan(jax.jit(losses.accuracy)(LOGITS, labels))
    for pair in ((labels, LABELS), (LABELS, labels)):
        np.testing.assert_array_equal(confusion(*pair, 5), -1)


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


def softmax(logits, labels, reduction="mean"):
    return losses.softmax_cross_entropy(logits, labels, reduction=reduction)


UNKNOWN = "a label is none of the classes: given "
ERRORS = [
    (
        lambda: losses.mean_squared_error(ones(3), ones(3, 1)),
        "predictions and targets differ in shape, and nothing is broadcast: given float32[3] and float32[3,1]. "
        "Fix: give both one shape: x[:, 0] makes [n] of [n, 1]",
    ),
    (lambda: losses.mean_squared_error(ones(3), 1.0), "predictions and targets differ in shape"),
    (
        lambda: losses.mean_squared_error(ones(3, dtype=int), ones(3)),
        "predictions must be floats: given int32[3]. Fix: ",
    ),
    (
        lambda: losses.sigmoid_cross_entropy(ones(3, 1), ones(3), reduction="mean"),
        "logits and labels differ in shape, and nothing is broadcast: given float32[3,1] and float32[3]. Fix: ",
    ),
    (
        lambda: softmax(ones(4, 3), ones(4, 1)),
        "logits and one-hot labels differ in shape, and nothing is broadcast: given float32[4,3] and float32[4,1]. Fix: ",
    ),
    (
        lambda: softmax(ones(4, 3), ones(4, 3, dtype=int)),
        "labels do not fit the logits, and nothing is broadcast: given float32[4,3] and int32[4,3]. "
        "Fix: one int per example; one-hot labels are floats of the logits' shape",
    ),
    (lambda: softmax(ones(4, 3), ones(4, 1, dtype=int)), "labels do not fit the logits, and nothing is broadcast"),
    (
        lambda: softmax(ones(4, 3), ones(4, dtype=bool)),
        "class labels must be ints: given bool[4]. Fix: labels.astype(int)",
    ),
    (
        lambda: softmax(ones(4, 3), jnp.array([0, 1, 3, 9])),
        UNKNOWN + "3, in int32[4], expected 0 to 2. Fix: count classes from 0",
    ),
    (lambda: softmax(ones(4, 3), jnp.array([0, 1, 2, -1])), UNKNOWN + "-1, in int32[4]"),
    (
        lambda: softmax(ones(4, 3), ones(4, dtype=int), reduction="avg"),
        "there is no such reduction: given 'avg', expected 'none', 'mean' or 'sum'. Fix: ",
    ),
    (
        lambda: losses.sigmoid_cross_entropy(ones(3), ones(3), reduction="meen"),
        "there is no such reduction: given 'meen', expected 'none', 'mean' or 'sum'. Fix: did you mean 'mean'?",
    ),
    (lambda: losses.l2_loss(ones(3, dtype=int)), "l2_loss's inputs must be floats: given int32[3]"),
    (lambda: losses.accuracy(ones(4, 3), ones(3, dtype=int)), "labels do not fit the logits, and nothing is broadcast"),
    (lambda: losses.accuracy(ones(4, 3), ones(4)), "class labels must be ints: given float32[4]"),
    (lambda: losses.accuracy(ones(4, 3), jnp.array([0, 1, 3, 9])), UNKNOWN + "3"),
    (
        lambda: losses.top_k_accuracy(ones(4, 3), ones(4, dtype=int), 4),
        "k is more than there are classes: given 4 of 3. Fix: a smaller k",
    ),
    (lambda: losses.top_k_accuracy(ones(4, 3), ones(4, dtype=int), 0), "k must be a whole number: given 0"),
    (
        lambda: losses.confusion_matrix(ones(4, dtype=int), ones(3, dtype=int), 2),
        "labels and predictions differ in shape, and nothing is broadcast: given int32[4] and int32[3]",
    ),
    (
        lambda: losses.confusion_matrix(ones(4, dtype=int), ones(4, dtype=int), 1),
        UNKNOWN + "1, in int32[4], expected 0 to 0",
    ),
    (lambda: losses.confusion_matrix(ones(4, dtype=int), ones(4), 2), "class labels must be ints: given float32[4]"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=[str(number) for number in range(len(ERRORS))])
def test_what_does_not_fit_says_so(call, message):
    with pytest.raises(OpError) as caught:
        call()
    assert str(caught.value).startswith(message)


def test_a_reduction_must_be_chosen():
    for loss in (losses.sigmoid_cross_entropy, losses.softmax_cross_entropy):
        with pytest.raises(TypeError, match="reduction"):
            loss(LOGITS, ONE_HOT)
