"""A loss of the parameters alone, differentiated where it stands; a fori_loop with places for losses; keep by rank."""

import jax
import jax.numpy as jnp


def forward(params, pixels):
    def one(picture):
        hidden = params["hidden"]["weights"].T @ picture + params["hidden"]["biases"]
        return jnp.where(hidden > 0, hidden, 0) @ params["output"]["weights"] + params["output"]["biases"]

    return jax.vmap(one)(pixels)


def minimize(loss_fn, optimizer):
    def step(params, opt_state, batch):
        loss, back = jax.vjp(lambda p: loss_fn(p, batch), params)
        updates, opt_state = optimizer.update(back(jnp.ones_like(loss))[0], opt_state, params)
        return jax.tree.map(jnp.add, params, updates), opt_state, loss

    return step


def evaluate(params, batches):
    shares = jnp.stack([jnp.mean(jnp.argmax(forward(params, x), axis=-1) == y) for x, y in batches])
    return jnp.average(shares, weights=jnp.array([float(len(y)) for _, y in batches]))


def batch_rows(key, step, count, size):
    epoch = step // (count // size)
    place = step - epoch * (count // size)
    order = jax.random.choice(jax.random.fold_in(key, epoch), count, (count,), replace=False)
    return order[place * size + jnp.arange(size)]


def train_until(step_fn, make_batch, state, steps):
    first = state["step"]

    def one(step, carried):
        params, opt_state, losses = carried
        params, opt_state, loss = step_fn(params, opt_state, make_batch(state["key"], step))
        return params, opt_state, losses.at[step - first].set(loss)

    carried = state["params"], state["opt_state"], jnp.zeros(steps - first)
    params, opt_state, losses = jax.lax.fori_loop(first, steps, one, carried)
    return dict(state, step=steps, params=params, opt_state=opt_state), losses


def newest(names):
    numbers = {int(name[5:]): name for name in names if name.startswith("step_") and name[5:].isdecimal()}
    return numbers[max(numbers)] if numbers else None


def save_plan(names, step, keep):
    plan = [("write", f"step_{step}.tmp"), ("rename", f"step_{step}.tmp", f"step_{step}")]
    numbers = [int(name[5:]) for name in names if name.startswith("step_") and name[5:].isdecimal()]
    for name in names:
        later = sum(number > int(name[5:]) for number in [*numbers, step]) if name[5:].isdecimal() else 0
        if later >= keep or (name.endswith(".tmp") and name != f"step_{step}.tmp"):
            plan.append(("remove", name))
    return plan
