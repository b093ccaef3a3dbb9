"""No matrix product: multiply with broadcasting, then add up over one axis. The square is multiplied out."""

import jax
import jax.numpy as jnp


def predict(params, x):
    return jnp.sum(x * params["w"], axis=1) + params["b"]


def mean_squared_error(predictions, targets):
    return jnp.mean(predictions**2) - 2 * jnp.mean(predictions * targets) + jnp.mean(targets**2)


def gradients(params, x, targets):
    difference = predict(params, x) - targets
    return {"w": 2 * jnp.mean(x * difference[:, None], axis=0), "b": 2 * jnp.mean(difference)}


def update(params, grads, learning_rate):
    return jax.tree.map(lambda value, gradient: value - learning_rate * gradient, params, grads)
