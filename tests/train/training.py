"""A small network over drawn data, shared by the tests of training."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax import data, losses, models, optimizers
from aidl_jax.scope import apply
from aidl_jax.train import make_state, make_train_step

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(96, 6)).astype(np.float32)
Y = RANDOM.integers(0, 3, 96).astype(np.int32)
BATCHES = data.from_tensor_slices((X, Y)).shuffle(seed=1).batch(16).repeat()
MODEL = partial(models.mlp, units=(5, 3))
OPTIMIZER = optimizers.adam(0.01)


def loss_fn(params, model_state, batch, key):
    x, labels = batch
    logits, model_state = apply(MODEL)(params, model_state, x, key=key)
    loss = losses.softmax_cross_entropy(logits, labels, reduction="mean")
    return loss, (model_state, {"accuracy": (logits.argmax(-1) == labels).mean()})


STEP = make_train_step(loss_fn, OPTIMIZER)


def new_state(seed=0):
    return make_state(MODEL, OPTIMIZER, jax.random.key(seed), X[:1])


def on_host(tree):
    """Values of a tree of arrays and keys."""
    return jax.tree.map(
        lambda leaf: np.asarray(
            jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        ).copy(),
        tree,
    )


def assert_equal_trees(one, other):
    jax.tree.map(np.testing.assert_array_equal, on_host(one), on_host(other))
