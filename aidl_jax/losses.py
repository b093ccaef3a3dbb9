"""Losses and measures: what training makes small, and what is reported.

Every loss says in the call how examples are put together: `reduction="none"` (one number per example), `"mean"` or `"sum"`.
Shapes must be the same: predictions [n] and targets [n, 1] are an error, since their difference would silently be [n, n].

A class label that is not one of the classes is an error. Inside `jit` a value cannot raise one; there it makes the loss, its
gradient and the measure NaN (a confusion matrix: -1), so that it is seen.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import optax
from optax import smooth_labels

from aidl_jax._checks import check, check_same_shape, floats, told, whole
from aidl_jax.errors import OpError, close_matches
from aidl_jax.parameters import l2

__all__ = [
    "accuracy",
    "confusion_matrix",
    "l2_loss",
    "mean_squared_error",
    "sigmoid_cross_entropy",
    "smooth_labels",
    "softmax_cross_entropy",
    "top_k_accuracy",
]

Reduction = Literal["none", "mean", "sum"]


def mean_squared_error(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """The mean of (predictions - targets)**2, over all values.

    Args:
        predictions: floats of any shape.
        targets: numbers of the same shape.

    >>> float(mean_squared_error(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])))
    2.0
    """
    predictions, targets = floats("predictions", predictions), jnp.asarray(targets)
    check_same_shape("predictions and targets", predictions, targets)
    return optax.squared_error(predictions, targets).mean()


def sigmoid_cross_entropy(logits: jax.Array, labels: jax.Array, *, reduction: Reduction) -> jax.Array:
    """The cross-entropy of yes-or-no answers, each by itself: -log(p) for yes, -log(1 - p) for no, p = sigmoid(logit).

    Args:
        logits: floats of any shape, unnormalized; +-1e4 is fine.
        labels: 0, 1 or a probability between them, of the logits' shape.
        reduction: over all values; `"none"` keeps their shape.

    >>> float(sigmoid_cross_entropy(jnp.array([1e4]), jnp.array([0.0]), reduction="mean"))
    10000.0
    """
    logits, labels = floats("logits", logits), jnp.asarray(labels)
    check_same_shape("logits and labels", logits, labels)
    return _reduce(optax.sigmoid_binary_cross_entropy(logits, labels), reduction)


def softmax_cross_entropy(logits: jax.Array, labels: jax.Array, *, reduction: Reduction) -> jax.Array:
    """The cross-entropy of one class out of several: -log(softmax(logits)[label]).

    Args:
        logits: floats [..., classes], unnormalized; +-1e4 is fine.
        labels: ints [...], in [0, classes); or floats [..., classes], one-hot or probabilities that sum to 1.
        reduction: over the examples; `"none"` gives [...].

    >>> logits, labels = jnp.array([[0.0, 1e4], [0.0, 1e4]]), jnp.array([1, 0])
    >>> softmax_cross_entropy(logits, labels, reduction="none").tolist()
    [0.0, 10000.0]
    """
    logits, labels = floats("logits", logits), jnp.asarray(labels)
    if jnp.issubdtype(labels.dtype, jnp.floating):
        check_same_shape("logits and one-hot labels", logits, labels)
        return _reduce(optax.softmax_cross_entropy(logits, labels), reduction)
    unknown = _unknown_classes(logits, labels)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return _reduce(losses * jnp.where(unknown, jnp.nan, 1).astype(losses.dtype), reduction)


def l2_loss(t: jax.Array) -> jax.Array:
    """sum(t**2) / 2, whose gradient is t: add it to a loss, times a small factor, to keep weights small.

    Args:
        t: floats of any shape. For all weights of a model at once see `aidl_jax.parameters.l2`.

    Source: TensorFlow's tf.nn.l2_loss.

    >>> float(l2_loss(jnp.array([3.0, 4.0])))
    12.5
    """
    return l2({"t": floats("l2_loss's inputs", t)})


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The share of examples whose largest logit is their label's; of equal logits the first counts.

    Args:
        logits: floats [..., classes].
        labels: ints [...], in [0, classes).

    Returns:
        A float32 in [0, 1].

    >>> float(accuracy(jnp.array([[1.0, 2.0], [3.0, 0.0]]), jnp.array([1, 1])))
    0.5
    """
    return top_k_accuracy(logits, labels, k=1)


def top_k_accuracy(logits: jax.Array, labels: jax.Array, k: int) -> jax.Array:
    """The share of examples whose label is among the k largest logits; arguments as in `accuracy`, k in [1, classes].

    >>> float(top_k_accuracy(jnp.array([[1.0, 2.0, 3.0]]), jnp.array([1]), k=2))
    1.0
    """
    logits, labels = floats("logits", logits), jnp.asarray(labels)
    unknown = _unknown_classes(logits, labels)
    if whole("k", k, 1) > logits.shape[-1]:
        raise OpError("k is more than there are classes", given=f"{k} of {logits.shape[-1]}", fix="a smaller k")
    _, best = jax.lax.top_k(jnp.where(logits == 0, 0, logits), k)  # top_k ranks 0.0 above its equal, -0.0
    is_hit = (best == labels[..., None]).any(axis=-1)
    return jnp.where(unknown, jnp.nan, is_hit.astype(jnp.float32)).mean()


def confusion_matrix(labels: jax.Array, predictions: jax.Array, classes: int) -> jax.Array:
    """How often a class (row) was taken for which (column).

    Args:
        labels: ints [...], in [0, classes).
        predictions: ints of the same shape: `logits.argmax(axis=-1)`.
        classes: how many there are.

    Returns:
        int32 [classes, classes]; right answers are on the diagonal.

    >>> confusion_matrix(jnp.array([0, 1, 1]), jnp.array([0, 1, 0]), classes=2).tolist()
    [[1, 0], [1, 1]]
    """
    labels, predictions = jnp.asarray(labels), jnp.asarray(predictions)
    check_same_shape("labels and predictions", labels, predictions)
    classes = whole("classes", classes, 1)
    unknown = (_out_of_range(labels, classes) | _out_of_range(predictions, classes)).any()
    counts = jnp.zeros((classes, classes), jnp.int32).at[labels, predictions].add(1)
    return jnp.where(unknown, -1, counts)


def _reduce(losses: jax.Array, reduction: Reduction) -> jax.Array:
    if reduction == "none":
        return losses
    if reduction not in get_args(Reduction):
        fix = close_matches(str(reduction), get_args(Reduction))
        raise OpError("there is no such reduction", given=repr(reduction), expected="'none', 'mean' or 'sum'", fix=fix)
    return losses.mean() if reduction == "mean" else losses.sum()


def _unknown_classes(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Where labels are not one of the logits' classes, after their shape was checked."""
    fits = logits.ndim > 0 and labels.shape == logits.shape[:-1]
    fix = "one int per example; one-hot labels are floats of the logits' shape"
    check(fits, "labels do not fit the logits, and nothing is broadcast", logits, labels, fix=fix)
    return _out_of_range(labels, logits.shape[-1])


def _out_of_range(labels: jax.Array, classes: Any) -> jax.Array:
    is_int = jnp.issubdtype(labels.dtype, jnp.integer)
    check(is_int, "class labels must be ints", labels, fix="labels.astype(int), after a look at what they are")
    with jax.named_scope("check_labels"):
        outside = (labels < 0) | (labels >= classes)
    if not isinstance(outside, jax.core.Tracer) and outside.any():
        raise OpError(
            "a label is none of the classes",
            given=f"{labels[outside][0]}, in {told(labels)}",
            expected=f"0 to {classes - 1}",
            fix="count classes from 0",
        )
    return outside
