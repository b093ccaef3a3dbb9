"""`AUTO` in one loop; a variable scope for the loss; the gradients by `jax.vjp`, jitted."""

import jax
import jax.numpy as jnp

from aidl_jax.scope import AUTO, apply


def image_filter(scope, images):
    for name, channels in {"conv1": 4, "conv2": 2}.items():
        with scope.variable_scope(name) as layer:
            images = conv_relu(layer, images, channels)
    return images


def filter_difference(scope, one, two):
    outputs = []
    for images in (one, two):
        with scope.variable_scope("filter", reuse=AUTO) as inner:
            outputs.append(image_filter(inner, images))
    return outputs[0] - outputs[1]


def model_loss(scope, images, targets):
    with scope.variable_scope("model") as model:
        predictions = image_filter(model, images)
    with scope.variable_scope("loss"):
        return jnp.square(targets - predictions).sum() / predictions.size


@jax.jit
def loss_and_gradients(params, images, targets):
    loss, pull_back, _ = jax.vjp(lambda p: apply(model_loss)(p, {}, images, targets), params, has_aux=True)
    return loss, pull_back(jnp.ones(()))[0]
