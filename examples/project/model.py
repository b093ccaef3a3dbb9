"""The model: a function of a scope and a batch of inputs, its loss, and how it answers."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax

from aidl_jax import losses, models
from aidl_jax.scope import apply

MODEL = partial(models.lenet, rate=0.3)  # yours: model(scope, inputs, training=False) -> logits


def loss_fn(params: Any, model_state: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, tuple[Any, dict[str, Any]]]:
    """Cross-entropy as in training, with dropout; the accuracy beside it."""
    inputs, labels = batch
    logits, model_state = apply(partial(MODEL, training=True))(params, model_state, inputs, key=key)
    loss = losses.softmax_cross_entropy(logits, labels, reduction="mean")
    return loss, (model_state, {"accuracy": losses.accuracy(logits, labels)})


def measure(params: Any, model_state: Any, batch: Any) -> dict[str, Any]:
    """Loss and accuracy as the model answers."""
    logits = answer({"params": params, "model_state": model_state}, batch[0])
    loss = losses.softmax_cross_entropy(logits, batch[1], reduction="mean")
    return {"loss": loss, "accuracy": losses.accuracy(logits, batch[1])}


def answer(trained: Any, inputs: jax.Array) -> jax.Array:
    """The logits, without dropout and with the averages that training has kept."""
    return apply(MODEL)(trained["params"], trained["model_state"], inputs)[0]
