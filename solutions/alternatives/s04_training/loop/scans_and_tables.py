"""Loops of JAX's own, one table of an epoch's batches, and plans made with loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def forward(params, pixels):
    def dense(x, name):
        return jnp.einsum("bi,io->bo", x, params[name]["weights"]) + params[name]["biases"][None]

    return dense(jnp.maximum(dense(pixels, "hidden"), 0), "output")


def minimize(loss_fn, optimizer):
    @jax.jit
    def step(params, opt_state, batch):
        grads = jax.grad(loss_fn)(params, batch)
        updates, new_state = optimizer.update(grads, opt_state, params)
        return jax.tree.map(lambda p, u: p + u, params, updates), new_state, loss_fn(params, batch)

    return step


def evaluate(params, batches):
    right = jnp.concatenate([forward(params, pixels).argmax(-1) == labels for pixels, labels in batches])
    return right.mean()


def batch_rows(key, step, count, size):
    steps = count // size
    epoch, place = jnp.divmod(step, steps)
    drawn = jax.random.uniform(jax.random.fold_in(key, epoch), (count,))
    return jnp.argsort(drawn)[: steps * size].reshape(steps, size)[place]


def train_until(step_fn, make_batch, state, steps):
    def one(carried, step):
        params, opt_state, loss = step_fn(*carried, make_batch(state["key"], step))
        return (params, opt_state), loss

    carried = state["params"], state["opt_state"]
    (params, opt_state), losses = jax.lax.scan(one, carried, np.arange(state["step"], steps))
    return {"step": steps, "params": params, "opt_state": opt_state, "key": state["key"]}, losses


def newest(names):
    found = None
    for name in names:
        word, _, number = name.partition("_")
        if word == "step" and number.isdigit() and (found is None or int(number) > int(found.partition("_")[2])):
            found = name
    return found


def save_plan(names, step, keep):
    new = f"step_{step}"
    plan = [("remove", name) for name in names if name.endswith(".tmp")]
    plan += [("write", new + ".tmp"), ("rename", new + ".tmp", new)]
    numbers = sorted(int(name[5:]) for name in names if name[:5] == "step_" and name[5:].isdigit())
    surplus = len(numbers) + 1 - keep
    return functools.reduce(
        lambda made, number: [*made, ("remove", f"step_{number}")], numbers[: max(surplus, 0)], plan
    )
