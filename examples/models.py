"""Each model of `aidl_jax.models` as a function of arrays, with the shapes of its variables, for `aidl graph`:

aidl graph examples/models.py:relu_layer --shapes relu_layer_params 'f32[?,784]'
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from aidl_jax import models
from aidl_jax.scope import apply, init


def shapes(model: Any, *shape: int) -> Any:
    """The shapes of a model's params and model_state, for inputs of a shape."""
    return jax.eval_shape(init(model), jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))


linear_regression_params, _ = shapes(models.linear_regression, 1, 3)
relu_layer_params, _ = shapes(models.relu_layer, 1, 784)
mlp_params, _ = shapes(models.mlp, 1, 784)
image_filter_params, _ = shapes(models.image_filter, 1, 8, 8, 32)
lenet_params, _ = shapes(models.lenet, 1, 28, 28, 1)
residual_net_params, residual_net_state = shapes(models.residual_net, 1, 8, 8, 1)


def linear_regression(params: Any, x: jax.Array) -> jax.Array:
    return apply(models.linear_regression)(params, {}, x)[0]


def relu_layer(params: Any, x: jax.Array) -> jax.Array:
    return apply(models.relu_layer)(params, {}, x)[0]


def mlp(params: Any, x: jax.Array) -> jax.Array:
    return apply(models.mlp)(params, {}, x)[0]


def image_filter(params: Any, images: jax.Array) -> jax.Array:
    return apply(models.image_filter)(params, {}, images)[0]


def lenet(params: Any, images: jax.Array) -> jax.Array:
    return apply(models.lenet)(params, {}, images)[0]


def residual_net(params: Any, model_state: Any, images: jax.Array) -> jax.Array:
    return apply(models.residual_net)(params, model_state, images)[0]
