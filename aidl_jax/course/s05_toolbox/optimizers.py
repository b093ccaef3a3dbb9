"""Optimizers by hand: the formulas in NumPy, float64, and what is known to go wrong.

Every state is drawn, not trained: one step from anywhere tells more than many from the start, and a bound on
its rounding can be derived. Where two optimizers could be told apart by their constants alone, constants are drawn too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from aidl_jax.exercise import Draw, Exercise, Hints, Student, compare, float32_grid, function, require

if TYPE_CHECKING:  # wrong answers run where student code runs; these names are there
    import jax
    import jax.numpy as jnp

Tree = Any

exercise = Exercise(
    "Optimizers by hand", forbidden=["optax", "flax", "torch", "tensorflow", "jax.example_libraries", "aidl_jax"]
)


def each(of: Callable[..., Any], *trees: Tree) -> Tree:
    """A function of the arrays that stand in the same place of nested dicts."""
    if isinstance(trees[0], dict):
        return {name: each(of, *(tree[name] for tree in trees)) for name in trees[0]}
    return of(*trees)


def tree_of(draw: Callable[..., np.ndarray]) -> Tree:
    """Three shapes, at two depths."""
    return {"hidden": {"w": draw(2, 3), "b": draw(3)}, "scale": draw()}


def positive(draw: Draw) -> Tree:
    """Sums or averages of squares, as they are after some steps."""
    return tree_of(lambda *shape: draw.uniform(*shape, low=0.5, high=2.0))


STEPS = 8  # operations on the way to one element, at most


filled_task = exercise.task(
    "filled_like",
    points=1,
    hints=Hints(
        concept="The tree of the parameters has the right form already. Put something else in the place of each leaf.",
        where="The lesson's section 'Parameters in a tree' for going through a tree; jnp.full_like(array, value) for a leaf.",
        almost_code="return jax.tree.map(lambda p: jnp.full_like(..., ...), params)",
    ),
)


@filled_task.check
def same_form_other_values(student: Student, draw: Draw) -> None:
    """Every array has its parameter's name and shape, and the value everywhere."""
    params, filling = tree_of(draw.normal), draw.uniform(low=0.1, high=2.0)
    compare(student.filled_like(params, filling), each(lambda p: np.full_like(p, filling), params), length=1)


@filled_task.wrong(
    "Each parameter got one number: the array must have the parameter's shape, a number for each weight."
)
def one_number_each(params: Any, value: Any) -> Any:
    return jax.tree.map(lambda p: value, params)


@filled_task.wrong("You looked at the outer names alone: what stands there can be a dict again. Use jax.tree.map.")
def outer_names_only(params: Any, value: Any) -> Any:
    return {name: jnp.full_like(params[name], value) for name in params}


@filled_task.wrong("The value is not used: you filled with 0.")
def always_zero(params: Any, value: Any) -> Any:
    return jax.tree.map(jnp.zeros_like, params)


@filled_task.wrong("You added the value to the parameters; it stands in their place.")
def added(params: Any, value: Any) -> Any:
    return jax.tree.map(lambda p: p + value, params)


@filled_task.wrong("You multiplied the parameters by the value; it stands in their place.")
def multiplied(params: Any, value: Any) -> Any:
    return jax.tree.map(lambda p: p * value, params)


@filled_task.wrong("You returned a list of arrays: the names are lost, and an update could not tell whose they are.")
def leaves_alone(params: Any, value: Any) -> Any:
    return [jnp.full_like(p, value) for p in jax.tree.leaves(params)]


sgd_task = exercise.task(
    "sgd_update",
    points=1,
    hints=Hints(
        concept="As in linear regression: each parameter moves against its gradient. Here there are any number of "
        "parameters, in a tree, and a state that nobody needs.",
        where="The lesson's section 'Parameters in a tree': jax.tree.map takes a function of two arguments and two trees.",
        almost_code="new = jax.tree.map(lambda p, g: ..., params, grads)\nreturn new, state",
    ),
)


@sgd_task.check
def one_step_of_sgd(student: Student, draw: Draw) -> None:
    """Each parameter moves against its gradient, by the learning rate times the gradient; the state stays ()."""
    params, grads, rate = tree_of(draw.normal), tree_of(draw.normal), draw.uniform(low=0.1, high=0.9)
    compare(
        student.sgd_update(grads, (), params, rate),
        (each(lambda p, g: p - rate * g, params, grads), ()),
        length=2,
        magnitude=(each(lambda p, g: np.abs(p) + rate * np.abs(g), params, grads), ()),
    )


@sgd_task.wrong("You moved uphill: subtract the step instead of adding it.")
def uphill(grads: Any, state: Any, params: Any, learning_rate: Any) -> Any:
    return jax.tree.map(lambda p, g: p + learning_rate * g, params, grads), state


@sgd_task.wrong("The learning rate is not used: multiply the gradient by it.")
def rate_unused(grads: Any, state: Any, params: Any, learning_rate: Any) -> Any:
    return jax.tree.map(lambda p, g: p - g, params, grads), state


@sgd_task.wrong("The learning rate is applied twice: once is enough.")
def rate_twice(grads: Any, state: Any, params: Any, learning_rate: Any) -> Any:
    grads = jax.tree.map(lambda g: learning_rate * g, grads)
    return jax.tree.map(lambda p, g: p - learning_rate * g, params, grads), state


@sgd_task.wrong("You returned the parameters alone; return a pair, (params, state), though this state is empty.")
def no_state(grads: Any, state: Any, params: Any, learning_rate: Any) -> Any:
    return jax.tree.map(lambda p, g: p - learning_rate * g, params, grads)


@sgd_task.wrong("The pair is the wrong way round: the parameters first, then the state.")
def swapped(grads: Any, state: Any, params: Any, learning_rate: Any) -> Any:
    return state, jax.tree.map(lambda p, g: p - learning_rate * g, params, grads)


@sgd_task.wrong("You returned the step itself; subtract it from the parameters.")
def only_the_step(grads: Any, state: Any, params: Any, learning_rate: Any) -> Any:
    return jax.tree.map(lambda g: -learning_rate * g, grads), state


@sgd_task.wrong("A tree as a whole cannot be multiplied or subtracted: go through its leaves with jax.tree.map.")
def tree_arithmetic(grads: Any, state: Any, params: Any, learning_rate: Any) -> Any:
    return params - learning_rate * grads, state


@sgd_task.wrong("You subtracted the parameters from the step: it is p - learning_rate * g.")
def subtracted_the_other_way(grads: Any, state: Any, params: Any, learning_rate: Any) -> Any:
    return jax.tree.map(lambda p, g: learning_rate * g - p, params, grads), state


momentum_task = exercise.task(
    "momentum_update",
    points=2,
    needs=["sgd_update"],
    hints=Hints(
        concept="Two updates, one after the other: first the velocities, from the old velocities and the gradients; "
        "then the parameters, with the new velocities in the gradients' place.",
        where="The lesson's section 'Momentum' has both formulas. The velocities are the state: they come in as `state` "
        "and go out as the second of the pair.",
        almost_code="velocity = jax.tree.map(lambda v, g: ..., state, grads)\n"
        "new = jax.tree.map(lambda p, v: ..., params, velocity)\nreturn new, ...",
    ),
)


def momentum_step(grads: Tree, velocity: Tree, params: Tree, rate: Any, decay: Any = 0.9) -> tuple[Any, Any]:
    """The pair that is owed, and the sum of the absolute values of the terms of each number in it."""
    new = each(lambda v, g: decay * v + g, velocity, grads)
    size = each(lambda v, g: decay * np.abs(v) + np.abs(g), velocity, grads)
    moved = each(lambda p, v: p - rate * v, params, new)
    return (moved, new), (each(lambda p, v: np.abs(p) + rate * v, params, size), size)


@momentum_task.check
def one_step_of_momentum(student: Student, draw: Draw) -> None:
    """The velocities wear off and take up the gradients; the parameters move against the new velocities."""
    params, grads, velocity = tree_of(draw.normal), tree_of(draw.normal), tree_of(draw.normal)
    rate = draw.uniform(low=0.1, high=0.9)
    expected, sizes = momentum_step(grads, velocity, params, rate)
    compare(student.momentum_update(grads, velocity, params, rate), expected, length=STEPS, magnitude=sizes)


@momentum_task.check
def any_decay(student: Student, draw: Draw) -> None:
    """The decay that is given says what remains of a velocity."""
    params, grads, velocity = tree_of(draw.normal), tree_of(draw.normal), tree_of(draw.normal)
    rate, decay = draw.uniform(low=0.1, high=0.9), draw.uniform(low=0.1, high=0.7)
    expected, sizes = momentum_step(grads, velocity, params, rate, decay)
    compare(
        student.momentum_update(grads, velocity, params, rate, decay=decay), expected, length=STEPS, magnitude=sizes
    )


@momentum_task.wrong("The step uses the old velocities: compute the new ones first, then step with them.")
def old_velocity(grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9) -> Any:
    velocity = jax.tree.map(lambda v, g: decay * v + g, state, grads)
    return jax.tree.map(lambda p, v: p - learning_rate * v, params, state), velocity


@momentum_task.wrong(
    "The learning rate is applied twice, in the velocity and in the step: leave it out of the velocity."
)
def rate_in_both(grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9) -> Any:
    velocity = jax.tree.map(lambda v, g: decay * v + learning_rate * g, state, grads)
    return jax.tree.map(lambda p, v: p - learning_rate * v, params, velocity), velocity


@momentum_task.wrong(
    "You put the learning rate into the velocity. Some do; here the velocity is v = decay * v + g, and the rate is in the step."
)
def rate_in_velocity(grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9) -> Any:
    velocity = jax.tree.map(lambda v, g: decay * v + learning_rate * g, state, grads)
    return jax.tree.map(lambda p, v: p - v, params, velocity), velocity


@momentum_task.wrong(
    "You averaged: 1 - decay before the gradient. Some do; here the gradient is added to the velocity as a whole."
)
def averaged(grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9) -> Any:
    velocity = jax.tree.map(lambda v, g: decay * v + (1 - decay) * g, state, grads)
    return jax.tree.map(lambda p, v: p - learning_rate * v, params, velocity), velocity


@momentum_task.wrong("You returned the old velocities as the state: the next step would have forgotten this one.")
def velocity_lost(grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9) -> Any:
    velocity = jax.tree.map(lambda v, g: decay * v + g, state, grads)
    return jax.tree.map(lambda p, v: p - learning_rate * v, params, velocity), state


@momentum_task.wrong(
    "You looked ahead: decay * v + g in the step is Nesterov's momentum. Here the step is the new velocity itself."
)
def nesterov(grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9) -> Any:
    velocity = jax.tree.map(lambda v, g: decay * v + g, state, grads)
    ahead = jax.tree.map(lambda v, g: decay * v + g, velocity, grads)
    return jax.tree.map(lambda p, a: p - learning_rate * a, params, ahead), velocity


@momentum_task.wrong("The velocities never wear off: multiply the old ones by decay.")
def no_decay(grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9) -> Any:
    velocity = jax.tree.map(lambda v, g: v + g, state, grads)
    return jax.tree.map(lambda p, v: p - learning_rate * v, params, velocity), velocity


@momentum_task.wrong("decay is on the gradient; it belongs to the old velocity: decay * v + g.")
def decayed_gradient(grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9) -> Any:
    velocity = jax.tree.map(lambda v, g: v + decay * g, state, grads)
    return jax.tree.map(lambda p, v: p - learning_rate * v, params, velocity), velocity


@momentum_task.wrong("You wrote 0.9 where `decay` should stand: whoever calls you may want another.")
def decay_written_in(grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9) -> Any:
    velocity = jax.tree.map(lambda v, g: 0.9 * v + g, state, grads)
    return jax.tree.map(lambda p, v: p - learning_rate * v, params, velocity), velocity


adagrad_task = exercise.task(
    "adagrad_update",
    points=2,
    needs=["sgd_update"],
    hints=Hints(
        concept="First the sums: each grows by the square of its gradient. Then a step as in gradient descent, with each "
        "gradient divided by the root of its own new sum.",
        where="The lesson's section 'Adagrad' has both formulas. jax.tree.map takes as many trees as the function has "
        "arguments, here three: params, grads, and the new sums.",
        almost_code="sums = jax.tree.map(lambda s, g: ..., state, grads)\n"
        "new = jax.tree.map(lambda p, g, s: p - learning_rate * ... / jnp.sqrt(...), params, grads, sums)\nreturn new, ...",
    ),
)


def scaled_step(p: Any, g: Any, s: Any, size: Any, rate: Any, epsilon: Any) -> tuple[Any, Any]:
    """`p - rate * g / sqrt(s + epsilon)`, and how large its terms are if those of `s` sum to `size`.

    A relative error of s is halved by the root; where s was a difference of larger terms it is size / s times as large.
    """
    step = rate * g / np.sqrt(s + epsilon)
    return p - step, np.abs(p) + np.abs(step) * (1 + size / s)


def adagrad_step(grads: Tree, sums: Tree, params: Tree, rate: Any, epsilon: Any = 1e-7) -> tuple[Any, Any]:
    """The pair that is owed, and the sizes of its numbers' terms."""
    new = each(lambda s, g: s + g**2, sums, grads)
    both = each(lambda p, g, s: scaled_step(p, g, s, s, rate, epsilon), params, grads, new)
    return (each(lambda b: b[0], both), new), (each(lambda b: b[1], both), new)


@adagrad_task.check
def one_step_of_adagrad(student: Student, draw: Draw) -> None:
    """The sums grow by the squares; each gradient is divided by the root of its own new sum."""
    params, grads, sums = tree_of(draw.normal), tree_of(draw.normal), positive(draw)
    rate = draw.uniform(low=0.2, high=0.9)
    expected, sizes = adagrad_step(grads, sums, params, rate)
    compare(student.adagrad_update(grads, sums, params, rate), expected, length=STEPS, magnitude=sizes)


@adagrad_task.check
def any_epsilon_for_adagrad(student: Student, draw: Draw) -> None:
    """Epsilon is added to the sum, inside the root; a large one shows where it stands."""
    params, grads, sums = tree_of(draw.normal), tree_of(draw.normal), positive(draw)
    rate, epsilon = draw.uniform(low=0.2, high=0.9), draw.uniform(low=0.2, high=0.6)
    expected, sizes = adagrad_step(grads, sums, params, rate, epsilon)
    compare(student.adagrad_update(grads, sums, params, rate, epsilon=epsilon), expected, length=STEPS, magnitude=sizes)


@adagrad_task.wrong("Epsilon stands outside the root; add it to the sum before you take the root.")
def epsilon_outside(grads: Any, state: Any, params: Any, learning_rate: Any, epsilon: Any = 1e-7) -> Any:
    sums = jax.tree.map(lambda s, g: s + g**2, state, grads)
    step = jax.tree.map(lambda g, s: g / (jnp.sqrt(s) + epsilon), grads, sums)
    return jax.tree.map(lambda p, u: p - learning_rate * u, params, step), sums


@adagrad_task.wrong("Epsilon is not used: add it to the sum before you take the root.")
def epsilon_unused(grads: Any, state: Any, params: Any, learning_rate: Any, epsilon: Any = 1e-7) -> Any:
    sums = jax.tree.map(lambda s, g: s + g**2, state, grads)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / jnp.sqrt(s), params, grads, sums), sums


@adagrad_task.wrong("Epsilon got into the state: add it for the root alone, or the sum grows by it at every step.")
def epsilon_in_the_state(grads: Any, state: Any, params: Any, learning_rate: Any, epsilon: Any = 1e-7) -> Any:
    sums = jax.tree.map(lambda s, g: s + g**2 + epsilon, state, grads)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / jnp.sqrt(s), params, grads, sums), sums


@adagrad_task.wrong("The root is missing: divide by the root of the sum, not by the sum.")
def no_root(grads: Any, state: Any, params: Any, learning_rate: Any, epsilon: Any = 1e-7) -> Any:
    sums = jax.tree.map(lambda s, g: s + g**2, state, grads)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / (s + epsilon), params, grads, sums), sums


@adagrad_task.wrong("You divided by the old sums: add this step's squares first.")
def old_sums(grads: Any, state: Any, params: Any, learning_rate: Any, epsilon: Any = 1e-7) -> Any:
    sums = jax.tree.map(lambda s, g: s + g**2, state, grads)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / jnp.sqrt(s + epsilon), params, grads, state), sums


@adagrad_task.wrong("You added up the gradients; add up their squares.")
def not_squared(grads: Any, state: Any, params: Any, learning_rate: Any, epsilon: Any = 1e-7) -> Any:
    sums = jax.tree.map(lambda s, g: s + jnp.abs(g), state, grads)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / jnp.sqrt(s + epsilon), params, grads, sums), sums


@adagrad_task.wrong(
    "One sum is shared by all weights of a parameter: square by element, without adding up over the array."
)
def shared_in_a_parameter(grads: Any, state: Any, params: Any, learning_rate: Any, epsilon: Any = 1e-7) -> Any:
    sums = jax.tree.map(lambda s, g: s + jnp.sum(g**2), state, grads)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / jnp.sqrt(s + epsilon), params, grads, sums), sums


@adagrad_task.wrong("One sum is shared by all parameters: each weight has a sum of its own, of its own gradients.")
def shared_by_all(grads: Any, state: Any, params: Any, learning_rate: Any, epsilon: Any = 1e-7) -> Any:
    total = sum(jnp.sum(g**2) for g in jax.tree.leaves(grads))
    sums = jax.tree.map(lambda s: s + total, state)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / jnp.sqrt(s + epsilon), params, grads, sums), sums


@adagrad_task.wrong("You returned the old sums as the state: the next step would have forgotten this one.")
def sums_lost(grads: Any, state: Any, params: Any, learning_rate: Any, epsilon: Any = 1e-7) -> Any:
    sums = jax.tree.map(lambda s, g: s + g**2, state, grads)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / jnp.sqrt(s + epsilon), params, grads, sums), state


rmsprop_task = exercise.task(
    "rmsprop_update",
    points=2,
    needs=["adagrad_update"],
    hints=Hints(
        concept="Adagrad with one change: the sum becomes an average, in which the old value and the new square have "
        "shares that add up to one.",
        where="The lesson's section 'RMSProp'; begin with your adagrad_update. Only the line of the sums changes.",
        almost_code="averages = jax.tree.map(lambda s, g: decay * ... + (1 - decay) * ..., state, grads)\n"
        "new = jax.tree.map(lambda p, g, s: ..., params, grads, averages)\nreturn new, averages",
    ),
)


def rmsprop_step(
    grads: Tree, averages: Tree, params: Tree, rate: Any, decay: Any = 0.9, epsilon: Any = 1e-8
) -> tuple[Any, Any]:
    """The pair that is owed, and the sizes of its numbers' terms; 1 - decay itself may be off by an eps of 1."""
    new = each(lambda s, g: decay * s + (1 - decay) * g**2, averages, grads)
    size = each(lambda s, g: s + g**2, averages, grads)
    both = each(lambda p, g, s, m: scaled_step(p, g, s, m, rate, epsilon), params, grads, new, size)
    return (each(lambda b: b[0], both), new), (each(lambda b: b[1], both), size)


@rmsprop_task.check
def one_step_of_rmsprop(student: Student, draw: Draw) -> None:
    """The averages take up the squares; each gradient is divided by the root of its own new average."""
    params, grads, averages = tree_of(draw.normal), tree_of(draw.normal), positive(draw)
    rate = draw.uniform(low=0.2, high=0.9)
    expected, sizes = rmsprop_step(grads, averages, params, rate)
    compare(student.rmsprop_update(grads, averages, params, rate), expected, length=STEPS, magnitude=sizes)


@rmsprop_task.check
def any_constants_for_rmsprop(student: Student, draw: Draw) -> None:
    """The decay and the epsilon that are given are used; a large epsilon shows where it stands."""
    params, grads, averages = tree_of(draw.normal), tree_of(draw.normal), positive(draw)
    rate, decay = draw.uniform(low=0.2, high=0.9), draw.uniform(low=0.2, high=0.7)
    epsilon = draw.uniform(low=0.2, high=0.6)
    expected, sizes = rmsprop_step(grads, averages, params, rate, decay, epsilon)
    compare(
        student.rmsprop_update(grads, averages, params, rate, decay=decay, epsilon=epsilon),
        expected,
        length=STEPS,
        magnitude=sizes,
    )


@rmsprop_task.wrong("Epsilon stands outside the root; add it to the average before you take the root.")
def rms_epsilon_outside(
    grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9, epsilon: Any = 1e-8
) -> Any:
    new = jax.tree.map(lambda s, g: decay * s + (1 - decay) * g**2, state, grads)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / (jnp.sqrt(s) + epsilon), params, grads, new), new


@rmsprop_task.wrong("The square is added as a whole, so this is no average: put 1 - decay before it.")
def no_average(grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9, epsilon: Any = 1e-8) -> Any:
    new = jax.tree.map(lambda s, g: decay * s + g**2, state, grads)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / jnp.sqrt(s + epsilon), params, grads, new), new


@rmsprop_task.wrong("This is Adagrad: the old squares must wear off, decay * s + (1 - decay) * g ** 2.")
def still_adagrad(
    grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9, epsilon: Any = 1e-8
) -> Any:
    new = jax.tree.map(lambda s, g: s + g**2, state, grads)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / jnp.sqrt(s + epsilon), params, grads, new), new


@rmsprop_task.wrong("decay and 1 - decay have changed places: decay is what remains of the old average.")
def shares_swapped(
    grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9, epsilon: Any = 1e-8
) -> Any:
    new = jax.tree.map(lambda s, g: (1 - decay) * s + decay * g**2, state, grads)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / jnp.sqrt(s + epsilon), params, grads, new), new


@rmsprop_task.wrong("You averaged the gradients themselves; RMSProp averages their squares.")
def mean_not_square(
    grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9, epsilon: Any = 1e-8
) -> Any:
    new = jax.tree.map(lambda s, g: decay * s + (1 - decay) * jnp.abs(g), state, grads)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / jnp.sqrt(s + epsilon), params, grads, new), new


@rmsprop_task.wrong("The learning rate is applied twice: the gradients are multiplied by it before they are squared.")
def rate_before_squaring(
    grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9, epsilon: Any = 1e-8
) -> Any:
    grads = jax.tree.map(lambda g: learning_rate * g, grads)
    new = jax.tree.map(lambda s, g: decay * s + (1 - decay) * g**2, state, grads)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / jnp.sqrt(s + epsilon), params, grads, new), new


@rmsprop_task.wrong("The root is missing: divide by the root of the average, not by the average.")
def rms_no_root(grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9, epsilon: Any = 1e-8) -> Any:
    new = jax.tree.map(lambda s, g: decay * s + (1 - decay) * g**2, state, grads)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / (s + epsilon), params, grads, new), new


@rmsprop_task.wrong("You divided by the old averages: take up this step's squares first.")
def old_averages(grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9, epsilon: Any = 1e-8) -> Any:
    new = jax.tree.map(lambda s, g: decay * s + (1 - decay) * g**2, state, grads)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / jnp.sqrt(s + epsilon), params, grads, state), new


@rmsprop_task.wrong(
    "One average is shared by all weights of a parameter: each weight has its own, so leave out the mean."
)
def averaged_over_a_parameter(
    grads: Any, state: Any, params: Any, learning_rate: Any, decay: Any = 0.9, epsilon: Any = 1e-8
) -> Any:
    new = jax.tree.map(lambda s, g: decay * s + (1 - decay) * jnp.mean(g**2), state, grads)
    return jax.tree.map(lambda p, g, s: p - learning_rate * g / jnp.sqrt(s + epsilon), params, grads, new), new


adam_task = exercise.task(
    "adam_update",
    points=3,
    needs=["momentum_update", "rmsprop_update"],
    hints=Hints(
        concept="Four things in this order: count the step, update both averages, correct copies of them for the step, and "
        "move. What goes into the state are the averages before the correction.",
        where="The lesson's section 'Adam'. state['mean'] is a tree of the form of grads, so jax.tree.map takes them side "
        "by side; the correction by 1 - beta1**count happens inside the last map.",
        almost_code='count = state["count"] + 1\nmean = jax.tree.map(lambda m, g: ..., state["mean"], grads)\nsquare = ...\n'
        "new = jax.tree.map(lambda p, m, s: p - learning_rate * (m / ...) / (jnp.sqrt(s / ...) + epsilon), "
        'params, mean, square)\nreturn new, {"count": count, "mean": mean, "square": square}',
    ),
)


def adam_step(
    grads: Tree,
    state: Any,
    params: Tree,
    rate: Any,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    epsilon: Any = 1e-8,
    grad_sizes: Tree = None,
) -> tuple[Any, Any]:
    """The pair that is owed, and how large a rounding error of one eps in each term can become in its numbers.

    `grad_sizes` are the sums of the sizes of the terms of the gradients, where those were computed too.

    The corrections 1 - beta**t are small differences: an eps there is 1 / (1 - beta**t) of them, halved by the root.
    """
    count = state["count"] + 1
    rests = 1 - beta1 ** float(count), 1 - beta2 ** float(count)
    mean = each(lambda m, g: beta1 * m + (1 - beta1) * g, state["mean"], grads)
    square = each(lambda s, g: beta2 * s + (1 - beta2) * g**2, state["square"], grads)
    grad_sizes = grad_sizes or each(np.abs, grads)
    mean_sizes = each(lambda m, g: np.abs(m) + g, state["mean"], grad_sizes)
    square_sizes = each(lambda s, g: s + g**2, state["square"], grad_sizes)

    def moved(p: Any, m: Any, s: Any, m_size: Any, s_size: Any) -> Any:
        root = np.sqrt(s / rests[1]) + epsilon
        step = rate * m / rests[0] / root
        loose = 1 + 1 / rests[0] + 1 / rests[1] + s_size / np.maximum(s, np.finfo(np.float32).tiny)
        return p - step, np.abs(p) + rate * m_size / rests[0] / root + np.abs(step) * loose

    both = each(moved, params, mean, square, mean_sizes, square_sizes)
    return (each(lambda b: b[0], both), {"count": np.int32(count), "mean": mean, "square": square}), (
        each(lambda b: b[1], both),
        {"count": 0, "mean": mean_sizes, "square": square_sizes},
    )


@adam_task.check
def one_step_of_adam(student: Student, draw: Draw) -> None:
    """After some steps: both averages take up the gradients, and the corrected ones make the step."""
    params, grads, rate = tree_of(draw.normal), tree_of(draw.normal), draw.uniform(low=0.2, high=0.9)
    counted = draw.integers(2, 8)  # with 1, two wrong answers would be the same: 1 - beta**1
    state = {"count": counted, "mean": tree_of(draw.normal), "square": positive(draw)}
    expected, sizes = adam_step(grads, state, params, rate)
    compare(student.adam_update(grads, state, params, rate), expected, length=STEPS, magnitude=sizes)


@adam_task.check
def first_step_of_adam(student: Student, draw: Draw) -> None:
    """From adam_init's state the first step of each weight is as long as the learning rate; where the gradient is 0, nothing moves."""
    params, grads, rate = tree_of(draw.normal), tree_of(draw.normal), draw.uniform(low=0.2, high=0.9)
    grads["hidden"]["b"][1] = 0.0
    state = {"count": np.int32(0), "mean": each(np.zeros_like, params), "square": each(np.zeros_like, params)}
    expected, sizes = adam_step(grads, state, params, rate)
    compare(student.adam_update(grads, state, params, rate), expected, length=STEPS, magnitude=sizes)


@adam_task.check
def any_constants_for_adam(student: Student, draw: Draw) -> None:
    """The constants that are given are used; a large epsilon shows where it stands."""
    params, grads, rate = tree_of(draw.normal), tree_of(draw.normal), draw.uniform(low=0.2, high=0.9)
    state = {"count": draw.integers(1, 4), "mean": tree_of(draw.normal), "square": positive(draw)}
    betas = draw.uniform(low=0.2, high=0.5), draw.uniform(low=0.6, high=0.8)
    epsilon = draw.uniform(low=0.2, high=0.6)
    expected, sizes = adam_step(grads, state, params, rate, *betas, epsilon)
    compare(
        student.adam_update(grads, state, params, rate, beta1=betas[0], beta2=betas[1], epsilon=epsilon),
        expected,
        length=STEPS,
        magnitude=sizes,
    )


@adam_task.wrong("There is no bias correction: divide m by 1 - beta1**t and s by 1 - beta2**t before the step.")
def no_correction(
    grads: Any,
    state: Any,
    params: Any,
    learning_rate: Any,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    epsilon: Any = 1e-8,
) -> Any:
    mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state["mean"], grads)
    square = jax.tree.map(lambda s, g: beta2 * s + (1 - beta2) * g**2, state["square"], grads)
    new = jax.tree.map(lambda p, m, s: p - learning_rate * m / (jnp.sqrt(s) + epsilon), params, mean, square)
    return new, {"count": state["count"] + 1, "mean": mean, "square": square}


@adam_task.wrong("The squares are not corrected: divide s by 1 - beta2**t, as you divide m by 1 - beta1**t.")
def mean_corrected_alone(
    grads: Any,
    state: Any,
    params: Any,
    learning_rate: Any,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    epsilon: Any = 1e-8,
) -> Any:
    count = state["count"] + 1
    mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state["mean"], grads)
    square = jax.tree.map(lambda s, g: beta2 * s + (1 - beta2) * g**2, state["square"], grads)

    def step(p: Any, m: Any, s: Any) -> Any:
        return p - learning_rate * m / (1 - beta1**count) / (jnp.sqrt(s) + epsilon)

    return jax.tree.map(step, params, mean, square), {"count": count, "mean": mean, "square": square}


@adam_task.wrong("Epsilon is inside the root, as in RMSProp; Adam adds it outside, to the root.")
def epsilon_inside(
    grads: Any,
    state: Any,
    params: Any,
    learning_rate: Any,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    epsilon: Any = 1e-8,
) -> Any:
    count = state["count"] + 1
    mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state["mean"], grads)
    square = jax.tree.map(lambda s, g: beta2 * s + (1 - beta2) * g**2, state["square"], grads)

    def step(p: Any, m: Any, s: Any) -> Any:
        return p - learning_rate * m / (1 - beta1**count) / jnp.sqrt(s / (1 - beta2**count) + epsilon)

    return jax.tree.map(step, params, mean, square), {"count": count, "mean": mean, "square": square}


@adam_task.wrong("Epsilon is added before the correction: correct s, take the root, and add epsilon to that.")
def epsilon_before_correction(
    grads: Any,
    state: Any,
    params: Any,
    learning_rate: Any,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    epsilon: Any = 1e-8,
) -> Any:
    count = state["count"] + 1
    mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state["mean"], grads)
    square = jax.tree.map(lambda s, g: beta2 * s + (1 - beta2) * g**2, state["square"], grads)
    rate = learning_rate * jnp.sqrt(1 - beta2**count) / (1 - beta1**count)
    new = jax.tree.map(lambda p, m, s: p - rate * m / (jnp.sqrt(s) + epsilon), params, mean, square)
    return new, {"count": count, "mean": mean, "square": square}


@adam_task.wrong("Epsilon is not used: where a gradient has always been 0, the step is 0 / 0.")
def epsilon_missing(
    grads: Any,
    state: Any,
    params: Any,
    learning_rate: Any,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    epsilon: Any = 1e-8,
) -> Any:
    count = state["count"] + 1
    mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state["mean"], grads)
    square = jax.tree.map(lambda s, g: beta2 * s + (1 - beta2) * g**2, state["square"], grads)

    def step(p: Any, m: Any, s: Any) -> Any:
        return p - learning_rate * m / (1 - beta1**count) / jnp.sqrt(s / (1 - beta2**count))

    return jax.tree.map(step, params, mean, square), {"count": count, "mean": mean, "square": square}


@adam_task.wrong("You correct with the count from before this step: add 1 first. At the first step this divides by 0.")
def counted_after(
    grads: Any,
    state: Any,
    params: Any,
    learning_rate: Any,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    epsilon: Any = 1e-8,
) -> Any:
    count = state["count"]
    mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state["mean"], grads)
    square = jax.tree.map(lambda s, g: beta2 * s + (1 - beta2) * g**2, state["square"], grads)

    def step(p: Any, m: Any, s: Any) -> Any:
        return p - learning_rate * m / (1 - beta1**count) / (jnp.sqrt(s / (1 - beta2**count)) + epsilon)

    return jax.tree.map(step, params, mean, square), {"count": count + 1, "mean": mean, "square": square}


@adam_task.wrong("The count stays where it was: the new state counts this step too.")
def never_counted(
    grads: Any,
    state: Any,
    params: Any,
    learning_rate: Any,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    epsilon: Any = 1e-8,
) -> Any:
    count = state["count"] + 1
    mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state["mean"], grads)
    square = jax.tree.map(lambda s, g: beta2 * s + (1 - beta2) * g**2, state["square"], grads)

    def step(p: Any, m: Any, s: Any) -> Any:
        return p - learning_rate * m / (1 - beta1**count) / (jnp.sqrt(s / (1 - beta2**count)) + epsilon)

    return jax.tree.map(step, params, mean, square), {**state, "mean": mean, "square": square}


@adam_task.wrong(
    "The corrected averages got into the state, so the next step corrects them again: keep the plain ones."
)
def correction_kept(
    grads: Any,
    state: Any,
    params: Any,
    learning_rate: Any,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    epsilon: Any = 1e-8,
) -> Any:
    count = state["count"] + 1
    mean = jax.tree.map(lambda m, g: (beta1 * m + (1 - beta1) * g) / (1 - beta1**count), state["mean"], grads)
    square = jax.tree.map(lambda s, g: (beta2 * s + (1 - beta2) * g**2) / (1 - beta2**count), state["square"], grads)
    new = jax.tree.map(lambda p, m, s: p - learning_rate * m / (jnp.sqrt(s) + epsilon), params, mean, square)
    return new, {"count": count, "mean": mean, "square": square}


@adam_task.wrong("You divided by 1 - beta: the correction is 1 - beta**t, which comes near 1 with time.")
def power_forgotten(
    grads: Any,
    state: Any,
    params: Any,
    learning_rate: Any,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    epsilon: Any = 1e-8,
) -> Any:
    mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state["mean"], grads)
    square = jax.tree.map(lambda s, g: beta2 * s + (1 - beta2) * g**2, state["square"], grads)

    def step(p: Any, m: Any, s: Any) -> Any:
        return p - learning_rate * m / (1 - beta1) / (jnp.sqrt(s / (1 - beta2)) + epsilon)

    return jax.tree.map(step, params, mean, square), {"count": state["count"] + 1, "mean": mean, "square": square}


@adam_task.wrong("The learning rate is applied twice: the gradients are multiplied by it before they are averaged.")
def adam_rate_twice(
    grads: Any,
    state: Any,
    params: Any,
    learning_rate: Any,
    beta1: Any = 0.9,
    beta2: Any = 0.999,
    epsilon: Any = 1e-8,
) -> Any:
    count = state["count"] + 1
    grads = jax.tree.map(lambda g: learning_rate * g, grads)
    mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state["mean"], grads)
    square = jax.tree.map(lambda s, g: beta2 * s + (1 - beta2) * g**2, state["square"], grads)

    def step(p: Any, m: Any, s: Any) -> Any:
        return p - learning_rate * m / (1 - beta1**count) / (jnp.sqrt(s / (1 - beta2**count)) + epsilon)

    return jax.tree.map(step, params, mean, square), {"count": count, "mean": mean, "square": square}


train_task = exercise.task(
    "train_step",
    points=3,
    needs=["adam_update"],
    hints=Hints(
        concept="The loss is a function of the parameters alone; the data is known. Differentiate it there, and let the "
        "optimizer do the rest.",
        where="The lesson's section 'In place of the backward pass by hand'; jax.value_and_grad(f)(params) returns (f(params), "
        "gradients). The order of update's arguments is (grads, state, params, learning_rate).",
        almost_code="def loss_of(params):\n    return jnp.mean((...) ** 2)\n\n"
        "loss, grads = jax.value_and_grad(loss_of)(...)\nnew, state = update(grads, ...)\nreturn new, state, loss",
    ),
)


def regression(draw: Draw) -> tuple[Any, np.ndarray, np.ndarray]:
    """Parameters, six examples of two features, targets that are all above the predictions, so that no gradient vanishes."""
    params, x = {"w": draw.normal(2), "b": draw.normal()}, draw.normal(6, 2)
    return params, x, float32_grid(x @ params["w"] + params["b"] + draw.uniform(6, low=0.5, high=3.0))


def loss_and_grads(params: Any, x: np.ndarray, t: np.ndarray) -> tuple[Any, Any]:
    """The mean squared error and its gradients."""
    difference = x @ params["w"] + params["b"] - t
    return np.mean(difference**2), {"w": 2 * x.T @ difference / len(x), "b": 2 * difference.mean()}


def positive_terms(params: Any, x: np.ndarray, t: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray]:
    """The same regression with every term of every sum positive: its loss and gradients are the sizes of the other's."""
    return each(np.abs, params), np.abs(x), -np.abs(t)


@train_task.check
def one_train_step(student: Student, draw: Draw) -> None:
    """The gradients of the loss go to the update that was given; out come its answer and the loss before it."""
    params, x, t = regression(draw)
    velocity, rate = {"w": draw.normal(2), "b": draw.normal()}, draw.uniform(low=0.02, high=0.1)
    loss, grads = loss_and_grads(params, x, t)
    expected, _ = momentum_step(grads, velocity, params, rate)
    loss_size, grad_sizes = loss_and_grads(*positive_terms(params, x, t))
    _, sizes = momentum_step(grad_sizes, velocity, params, rate)
    compare(
        student.train_step(student.momentum_update, params, velocity, x, t, rate),
        (*expected, loss),
        length=6 + 4 + STEPS,
        magnitude=(*sizes, loss_size),
    )


@train_task.check
def any_optimizer(student: Student, draw: Draw) -> None:
    """With another optimizer, Adam, whose state is built differently, nothing else changes."""
    params, x, t = regression(draw)
    squares = {"w": draw.uniform(2, low=0.5, high=2.0), "b": draw.uniform(low=0.5, high=2.0)}
    state = {"count": draw.integers(1, 8), "mean": {"w": draw.normal(2), "b": draw.normal()}, "square": squares}
    rate = draw.uniform(low=0.02, high=0.1)
    loss, grads = loss_and_grads(params, x, t)
    loss_size, grad_sizes = loss_and_grads(*positive_terms(params, x, t))
    expected, sizes = adam_step(grads, state, params, rate, grad_sizes=grad_sizes)
    compare(
        student.train_step(student.adam_update, params, state, x, t, rate),
        (*expected, loss),
        length=6 + 4 + STEPS,
        magnitude=(*sizes, loss_size),
    )


@train_task.check(draws=1)
def the_loss_falls(student: Student, draw: Draw) -> None:
    """Three steps of SGD in a row, each with what the one before returned: the loss falls every time."""
    params, x, t = regression(draw)
    rate = float32_grid(
        0.25 / np.mean(np.sum(x**2, axis=1) + 1)
    )  # half of 1 / (sum of all curvatures): no step too long
    step = function(lambda made: student.train_step(student.sgd_update, made[0], made[1], x, t, rate))
    after = function(lambda a: function(lambda b: function(lambda c: (a[2], b[2], c[2]))(step(b)))(step(a)))
    expected, sizes = [], []
    here, bound = (params, x, t), positive_terms(params, x, t)
    for _ in range(3):
        (loss, grads), (loss_size, grad_sizes) = loss_and_grads(*here), loss_and_grads(*bound)
        expected.append(loss)
        sizes.append(loss_size)
        here = each(lambda p, g: p - rate * g, here[0], grads), *here[1:]
        bound = each(lambda p, g: p + rate * g, bound[0], grad_sizes), *bound[1:]
    losses = compare(after(step((params, ()))), tuple(expected), length=3 * (6 + 4 + STEPS), magnitude=tuple(sizes))
    require(losses[0] > losses[1] > losses[2], "The loss should fall with every step.", got=repr(losses))


@train_task.wrong("The learning rate is applied twice: the update applies it, so hand it the gradients as they are.")
def rate_before_update(update: Any, params: Any, state: Any, x: Any, targets: Any, learning_rate: Any) -> Any:
    def loss_of(params: Any) -> Any:
        return jnp.mean((x @ params["w"] + params["b"] - targets) ** 2)

    loss, grads = jax.value_and_grad(loss_of)(params)
    return *update(jax.tree.map(lambda g: learning_rate * g, grads), state, params, learning_rate), loss


@train_task.wrong("You returned the loss after the update; return the one before, which the gradients belong to.")
def loss_after(update: Any, params: Any, state: Any, x: Any, targets: Any, learning_rate: Any) -> Any:
    def loss_of(params: Any) -> Any:
        return jnp.mean((x @ params["w"] + params["b"] - targets) ** 2)

    params, state = update(jax.grad(loss_of)(params), state, params, learning_rate)
    return params, state, loss_of(params)


@train_task.wrong("The new state is lost: return what update gave, not the state you were given.")
def state_lost(update: Any, params: Any, state: Any, x: Any, targets: Any, learning_rate: Any) -> Any:
    def loss_of(params: Any) -> Any:
        return jnp.mean((x @ params["w"] + params["b"] - targets) ** 2)

    loss, grads = jax.value_and_grad(loss_of)(params)
    return update(grads, state, params, learning_rate)[0], state, loss


@train_task.wrong("You summed the squares over the examples; the loss is their mean.")
def summed(update: Any, params: Any, state: Any, x: Any, targets: Any, learning_rate: Any) -> Any:
    def loss_of(params: Any) -> Any:
        return jnp.sum((x @ params["w"] + params["b"] - targets) ** 2)

    loss, grads = jax.value_and_grad(loss_of)(params)
    return *update(grads, state, params, learning_rate), loss


@train_task.wrong("The bias is not in your predictions: add params['b'].")
def bias_forgotten(update: Any, params: Any, state: Any, x: Any, targets: Any, learning_rate: Any) -> Any:
    def loss_of(params: Any) -> Any:
        return jnp.mean((x @ params["w"] - targets) ** 2)

    loss, grads = jax.value_and_grad(loss_of)(params)
    return *update(grads, state, params, learning_rate), loss


@train_task.wrong("All gradients are 0: your loss uses the params from outside instead of its own argument.")
def outer_params(update: Any, params: Any, state: Any, x: Any, targets: Any, learning_rate: Any) -> Any:
    def loss_of(_: Any) -> Any:
        return jnp.mean((x @ params["w"] + params["b"] - targets) ** 2)

    loss, grads = jax.value_and_grad(loss_of)(params)
    return *update(grads, state, params, learning_rate), loss


@train_task.wrong("The arguments of update are in another order: (grads, state, params, learning_rate).")
def arguments_swapped(update: Any, params: Any, state: Any, x: Any, targets: Any, learning_rate: Any) -> Any:
    def loss_of(params: Any) -> Any:
        return jnp.mean((x @ params["w"] + params["b"] - targets) ** 2)

    loss, grads = jax.value_and_grad(loss_of)(params)
    return *update(params, state, grads, learning_rate), loss


@train_task.wrong("You step by yourself, as SGD does, and the update you were given is not used.")
def update_unused(update: Any, params: Any, state: Any, x: Any, targets: Any, learning_rate: Any) -> Any:
    def loss_of(params: Any) -> Any:
        return jnp.mean((x @ params["w"] + params["b"] - targets) ** 2)

    loss, grads = jax.value_and_grad(loss_of)(params)
    return jax.tree.map(lambda p, g: p - learning_rate * g, params, grads), state, loss


@train_task.wrong("value_and_grad returns the loss first, then the gradients; you took them the other way round.")
def unpacked_the_other_way(update: Any, params: Any, state: Any, x: Any, targets: Any, learning_rate: Any) -> Any:
    def loss_of(params: Any) -> Any:
        return jnp.mean((x @ params["w"] + params["b"] - targets) ** 2)

    grads, loss = jax.value_and_grad(loss_of)(params)
    return *update(grads, state, params, learning_rate), loss


@train_task.wrong("You returned (params, state) alone; return the loss too, as the third.")
def no_loss(update: Any, params: Any, state: Any, x: Any, targets: Any, learning_rate: Any) -> Any:
    def loss_of(params: Any) -> Any:
        return jnp.mean((x @ params["w"] + params["b"] - targets) ** 2)

    return update(jax.grad(loss_of)(params), state, params, learning_rate)
