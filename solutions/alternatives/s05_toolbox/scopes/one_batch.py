"""Both images in one batch, so the filter is called once; a convolution written as nine matrix products; two derivatives."""

import jax
import jax.numpy as jnp

from aidl_jax.scope import apply


def conv_relu(scope, images, channels):
    biases = scope.get_variable("biases", [channels], jax.nn.initializers.zeros)
    weights = scope.get_variable("weights", [3, 3, images.shape[3], channels], jax.nn.initializers.he_normal())
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = [padded[:, i : i + height, j : j + width] @ weights[i, j] for i in range(3) for j in range(3)]
    return jnp.maximum(sum(windows) + biases, 0)


def filter_difference(scope, one, two):
    with scope.variable_scope("filter") as inner:
        both = image_filter(inner, jnp.concatenate([one, two]))
    return both[: len(one)] - both[len(one) :]


def model_loss(scope, images, targets):
    with scope.variable_scope("model") as model:
        predictions = image_filter(model, images)
    with jax.named_scope("loss"):
        difference = (predictions - targets).ravel()
        return difference @ difference / difference.size


def loss_and_gradients(params, images, targets):
    def loss_of(p):
        return apply(model_loss)(p, {}, images, targets)[0]

    return loss_of(params), jax.grad(loss_of)(params)
