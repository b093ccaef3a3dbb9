"""Lists of leaves: the trees are taken apart, loops do the arithmetic, and the structure is put back at the end."""

import jax
import jax.numpy as jnp


def filled_like(params, value):
    leaves, structure = jax.tree.flatten(params)
    return jax.tree.unflatten(structure, [jnp.ones(leaf.shape, leaf.dtype) * value for leaf in leaves])


def sgd_update(grads, state, params, learning_rate):
    leaves, structure = jax.tree.flatten(params)
    new = [p - learning_rate * g for p, g in zip(leaves, jax.tree.leaves(grads))]
    return jax.tree.unflatten(structure, new), state


def adagrad_update(grads, state, params, learning_rate, epsilon=1e-7):
    structure = jax.tree.structure(params)
    new, sums = [], []
    for p, g, s in zip(*map(jax.tree.leaves, (params, grads, state))):
        sums.append(s + g**2)
        new.append(p - learning_rate * g / jnp.sqrt(sums[-1] + epsilon))
    return jax.tree.unflatten(structure, new), jax.tree.unflatten(structure, sums)


def adam_update(grads, state, params, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    structure, count = jax.tree.structure(params), state["count"] + 1
    rate = learning_rate * jnp.sqrt(1 - beta2**count) / (1 - beta1**count)
    new, means, squares = [], [], []
    for p, g, m, s in zip(*map(jax.tree.leaves, (params, grads, state["mean"], state["square"]))):
        m, s = beta1 * m + (1 - beta1) * g, beta2 * s + (1 - beta2) * jnp.square(g)
        new.append(p - rate * m / (jnp.sqrt(s) + epsilon * jnp.sqrt(1 - beta2**count)))
        means.append(m)
        squares.append(s)
    new, mean, square = (jax.tree.unflatten(structure, leaves) for leaves in (new, means, squares))
    return new, dict(count=count, mean=mean, square=square)


def train_step(update, params, state, x, targets, learning_rate):
    def loss_of(params):
        difference = x @ params["w"] + params["b"] - targets
        return jnp.dot(difference, difference) / len(targets)

    grads = jax.grad(loss_of)(params)
    return *update(grads, state, params, learning_rate), loss_of(params)
