"""Losses, L2, dropout and a falling rate: the oracles in NumPy, and what is known to go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from aidl_jax.exercise import (
    Draw,
    Exercise,
    Hints,
    Student,
    compare,
    float32_grid,
    function,
    grad,
    require,
    static,
    value,
)
from aidl_jax.exercise.expressions import Key

if TYPE_CHECKING:  # wrong answers run where student code runs; these names are there
    import jax
    import jax.numpy as jnp

    def log_softmax(logits: Any) -> Any: ...


exercise = Exercise(
    "Losses, and what is put around them",
    forbidden=[
        "jax.nn",
        "jax.scipy",
        "jax.example_libraries",
        "scipy",
        "optax",
        "flax",
        "torch",
        "tensorflow",
        "aidl_jax",
    ],
)


log_softmax_task = exercise.task(
    "log_softmax",
    points=3,
    hints=Hints(
        concept="Take the largest number of each row away from the row; nothing about its probabilities changes. Then the "
        "logarithm of the fraction is a difference, and no fraction is ever computed.",
        where="The lesson's section 'From logits to log-probabilities'. See jnp.max and jnp.sum with axis=-1 and "
        "keepdims=True; the axis is that of the classes.",
        almost_code="shifted = logits - jnp.max(logits, axis=..., keepdims=True)\n"
        "return shifted - jnp.log(jnp.sum(..., axis=..., keepdims=True))",
    ),
)


def log_probabilities(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The log-softmax of each row, and the sizes of the terms that are added up in each of them."""
    top = logits.max(axis=1, keepdims=True)
    rest = np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
    return logits - top - rest, np.abs(logits) + np.abs(top) + 1 + rest


def huge_logits(draw: Draw) -> np.ndarray:
    """A row of small numbers, one of hugely negative ones, and one with everything, all of four classes."""
    base = np.array([[0, 0, 0, 0], [-1e4, -1e4, -1e4, -1e4], [1e4, -1e4, 0, -90]])
    return float32_grid(base + draw.uniform(3, 4, low=-2.0, high=2.0))


TERMS = 4 + 4  # a sum over four classes, and what is done to it


@log_softmax_task.check
def ordinary_logits(student: Student, draw: Draw) -> None:
    """In each row: the logit, less the logarithm of the sum of the exponentials of the row."""
    logits = draw.normal(3, 4)
    expected, sizes = log_probabilities(logits)
    compare(student.log_softmax(logits), expected, length=TERMS, magnitude=sizes)


@log_softmax_task.check
def logits_of_any_size(student: Student, draw: Draw) -> None:
    """Logits of 10,000 and of -10,000, in different rows and in the same one, do no harm."""
    logits = huge_logits(draw)
    expected, sizes = log_probabilities(logits)
    compare(student.log_softmax(logits), expected, length=TERMS, magnitude=sizes)


@log_softmax_task.wrong(
    "You computed the fraction and took its logarithm: exp overflows for large logits. Subtract the row's largest first."
)
def naive(logits: Any) -> Any:
    exponentials = jnp.exp(logits)
    return jnp.log(exponentials / jnp.sum(exponentials, axis=-1, keepdims=True))


@log_softmax_task.wrong(
    "You took the logarithm of the finished fraction: a small probability has become 0 there. Subtract two logarithms instead."
)
def log_of_stable_softmax(logits: Any) -> Any:
    exponentials = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    return jnp.log(exponentials / jnp.sum(exponentials, axis=-1, keepdims=True))


@log_softmax_task.wrong("The largest logit is not subtracted before exp, so exp overflows, or all of a row becomes 0.")
def not_shifted(logits: Any) -> Any:
    return logits - jnp.log(jnp.sum(jnp.exp(logits), axis=-1, keepdims=True))


@log_softmax_task.wrong("You subtracted each column's largest logit; it is each row's: axis=-1, the classes.")
def largest_of_columns(logits: Any) -> Any:
    shifted = logits - jnp.max(logits, axis=0)
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis=-1, keepdims=True))


@log_softmax_task.wrong(
    "You subtracted the largest logit of the whole batch: other rows can become all 0 by it. Each row has its own."
)
def largest_of_all(logits: Any) -> Any:
    shifted = logits - jnp.max(logits)
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis=-1, keepdims=True))


@log_softmax_task.wrong(
    "You summed over the examples, axis 0: a row's probabilities add up to 1, so sum over the classes."
)
def over_examples(logits: Any) -> Any:
    shifted = logits - jnp.max(logits, axis=0)
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis=0))


@log_softmax_task.wrong("You returned the probabilities; their logarithms are asked for.")
def probabilities(logits: Any) -> Any:
    exponentials = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    return exponentials / jnp.sum(exponentials, axis=-1, keepdims=True)


@log_softmax_task.wrong(
    "The largest logit is taken away in the sum alone: take it from the logit as well, or add it to the logarithm again."
)
def shifted_in_the_sum_only(logits: Any) -> Any:
    top = jnp.max(logits, axis=-1, keepdims=True)
    return logits - jnp.log(jnp.sum(jnp.exp(logits - top), axis=-1, keepdims=True))


@log_softmax_task.wrong("The sum has lost its axis, so shapes do not fit: use keepdims=True in jnp.max and jnp.sum.")
def no_keepdims(logits: Any) -> Any:
    shifted = logits - jnp.max(logits, axis=-1)
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis=-1))


cross_entropy_task = exercise.task(
    "cross_entropy",
    points=2,
    needs=["log_softmax"],
    hints=Hints(
        concept="From each row take one number, the log-probability of the right class. Their mean, with the sign turned, is "
        "the loss.",
        where="The lesson's section 'Cross-entropy' tells two ways to take them: two lists of indices, or one-hot rows. Your "
        "own log_softmax comes first.",
        almost_code="log_p = log_softmax(logits)\nreturn -jnp.mean(log_p[jnp.arange(...), ...])",
    ),
)


@cross_entropy_task.check
def mean_over_the_examples(student: Student, draw: Draw) -> None:
    """Minus the log-probability of each example's label, averaged over the examples."""
    logits, labels = draw.normal(5, 4), draw.integers(0, 4, 5)
    expected, sizes = log_probabilities(logits)
    rows = np.arange(5)
    compare(
        student.cross_entropy(logits, labels),
        -np.mean(expected[rows, labels]),
        length=TERMS + 5,
        magnitude=np.mean(sizes[rows, labels]),
    )


@cross_entropy_task.check
def huge_losses(student: Student, draw: Draw) -> None:
    """A network that is sure and wrong has a large loss, not an infinite one."""
    logits, labels = huge_logits(draw), draw.integers(0, 4, 3)
    expected, sizes = log_probabilities(logits)
    rows = np.arange(3)
    compare(
        student.cross_entropy(logits, labels),
        -np.mean(expected[rows, labels]),
        length=TERMS + 3,
        magnitude=np.mean(sizes[rows, labels]),
    )


@cross_entropy_task.check
def gradient_is_probabilities_minus_labels(student: Student, draw: Draw) -> None:
    """The gradient by the logits is the softmax minus the one-hot labels, divided by the number of examples."""
    logits, labels = draw.normal(5, 4), draw.integers(0, 4, 5)
    softmax = np.exp(log_probabilities(logits)[0])
    loss = function(lambda z: student.cross_entropy(z, labels))
    compare(grad(loss)(logits), (softmax - np.eye(4)[labels]) / 5, length=TERMS + 5, magnitude=(softmax + 1) * 3 / 5)


@cross_entropy_task.wrong("You summed over the examples; the loss is their mean.")
def summed(logits: Any, labels: Any) -> Any:
    return -jnp.sum(log_softmax(logits)[jnp.arange(len(labels)), labels])


@cross_entropy_task.wrong("The sign is missing: a log-probability is never above 0, and the loss is never below.")
def no_sign(logits: Any, labels: Any) -> Any:
    return jnp.mean(log_softmax(logits)[jnp.arange(len(labels)), labels])


@cross_entropy_task.wrong("You took the logits themselves: they become log-probabilities by your log_softmax.")
def plain_logits(logits: Any, labels: Any) -> Any:
    return -jnp.mean(logits[jnp.arange(len(labels)), labels])


@cross_entropy_task.wrong("log_p[labels] takes whole rows: give two lists, log_p[jnp.arange(n), labels].")
def rows_taken(logits: Any, labels: Any) -> Any:
    return -jnp.mean(log_softmax(logits)[labels])


@cross_entropy_task.wrong(
    "log_p[:, labels] takes every label's column for every example: give two lists, log_p[jnp.arange(n), labels]."
)
def columns_taken(logits: Any, labels: Any) -> Any:
    return -jnp.mean(log_softmax(logits)[:, labels])


@cross_entropy_task.wrong(
    "The mean is over examples and classes: with one-hot labels, sum over the classes first, then take the mean."
)
def mean_over_all(logits: Any, labels: Any) -> Any:
    one_hot = labels[:, None] == jnp.arange(logits.shape[1])
    return -jnp.mean(log_softmax(logits) * one_hot)


@cross_entropy_task.wrong("You returned one loss per example: take the mean over them, so that one number is left.")
def not_reduced(logits: Any, labels: Any) -> Any:
    return -log_softmax(logits)[jnp.arange(len(labels)), labels]


@cross_entropy_task.wrong("You took log_softmax twice: once makes log-probabilities, and the label picks one of them.")
def log_softmax_twice(logits: Any, labels: Any) -> Any:
    return -jnp.mean(jnp.log(jnp.exp(log_softmax(logits)))[jnp.arange(len(labels)), labels] * 2)


@cross_entropy_task.wrong(
    "You averaged the probabilities and took the logarithm at the end: first the logarithm, then the mean."
)
def log_of_the_mean(logits: Any, labels: Any) -> Any:
    return -jnp.log(jnp.mean(jnp.exp(log_softmax(logits))[jnp.arange(len(labels)), labels]))


l2_task = exercise.task(
    "l2_loss",
    points=2,
    hints=Hints(
        concept="Go through the chosen layers, add up the squares of the weights of each, and halve the total.",
        where="The lesson's section 'A price on large weights'. The scopes are a tuple of strings: a Python loop, or sum(... "
        "for scope in scopes).",
        almost_code='return sum(jnp.sum(params[scope]["..."] ** 2) for scope in ...) / ...',
    ),
)


def layers(draw: Draw) -> Any:
    """Three scopes, of different shapes."""
    shapes = {"first": (2, 3), "second": (3, 3), "output": (3, 2)}
    return {name: {"weights": draw.normal(*s), "biases": draw.normal(s[1])} for name, s in shapes.items()}


@l2_task.check
def half_the_sum_of_squares(student: Student, draw: Draw) -> None:
    """Half the sum of the squares of the weights in the chosen scopes, and of nothing else."""
    params = layers(draw)
    expected = sum(np.sum(params[scope]["weights"] ** 2) for scope in ("first", "output")) / 2
    compare(student.l2_loss(params, static(("first", "output"))), expected, length=2 * 6 + 2)


@l2_task.check
def gradient_is_the_weight(student: Student, draw: Draw) -> None:
    """The gradient of a weight's price is the weight itself; what was not chosen has the gradient 0."""
    params = layers(draw)
    price = function(lambda p: student.l2_loss(p, static(("second",))))
    expected = {
        scope: {name: array * (scope == "second" and name == "weights") for name, array in layer.items()}
        for scope, layer in params.items()
    }
    compare(grad(price)(params), expected, length=2)


@l2_task.wrong("The half is missing: it is there so that the gradient is the weight, and not twice the weight.")
def no_half(params: Any, scopes: Any) -> Any:
    return sum(jnp.sum(params[scope]["weights"] ** 2) for scope in scopes)


@l2_task.wrong("Biases pay too in yours: take what is called 'weights' alone.")
def biases_too(params: Any, scopes: Any) -> Any:
    return sum(jnp.sum(array**2) for scope in scopes for array in params[scope].values()) / 2


@l2_task.wrong("All scopes pay in yours: only those named in `scopes` should.")
def all_scopes(params: Any, scopes: Any) -> Any:
    return sum(jnp.sum(layer["weights"] ** 2) for layer in params.values()) / 2


@l2_task.wrong("You took the mean of the squares of each layer; add them up.")
def mean_of_squares(params: Any, scopes: Any) -> Any:
    return sum(jnp.mean(params[scope]["weights"] ** 2) for scope in scopes) / 2


@l2_task.wrong("You took the root at the end: that is the length of the weights, the L2 norm. Leave the root out.")
def norm(params: Any, scopes: Any) -> Any:
    return jnp.sqrt(sum(jnp.sum(params[scope]["weights"] ** 2) for scope in scopes)) / 2


@l2_task.wrong("You added up absolute values: that is L1. Square the weights.")
def absolute_values(params: Any, scopes: Any) -> Any:
    return sum(jnp.sum(jnp.abs(params[scope]["weights"])) for scope in scopes) / 2


@l2_task.wrong("Only the first of the scopes is counted: the return stands inside the loop.")
def first_scope_only(params: Any, scopes: Any) -> Any:
    for scope in scopes:
        return jnp.sum(params[scope]["weights"] ** 2) / 2


@l2_task.wrong("Only the last of the scopes is counted: add to the total, instead of replacing it.")
def last_scope_only(params: Any, scopes: Any) -> Any:
    for scope in scopes:
        total = jnp.sum(params[scope]["weights"] ** 2)
    return total / 2


@l2_task.wrong("You squared the sum, in which weights of opposite sign cancel: square each weight, then add up.")
def square_of_sum(params: Any, scopes: Any) -> Any:
    return sum(jnp.sum(params[scope]["weights"]) for scope in scopes) ** 2 / 2


dropout_task = exercise.task(
    "dropout",
    points=3,
    hints=Hints(
        concept="In evaluation nothing happens. While training, draw for each element whether it is kept; what is kept grows, so that "
        "the mean stays.",
        where="The lesson's section 'Dropout'. The rate is the probability of being dropped; jax.random.bernoulli wants that "
        "of being True, here of being kept.",
        almost_code="if not training:\n    return x\nkept = jax.random.bernoulli(key, ..., x.shape)\n"
        "return jnp.where(kept, ..., 0.0)",
    ),
)

UNITS = (40, 50)  # one shape for all checks; no element is drawn near 0, so that 0 means dropped


def units(draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    """A layer's values and a rate."""
    return draw.uniform(*UNITS, low=0.5, high=1.5), draw.uniform(low=0.2, high=0.4)


def drop(student: Student, key: Key, x: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """What dropout gives while training, if it has x's shape and dtype and each element of it is 0 or x / (1 - rate)."""
    got = value(student.dropout(key, x, rate, static(True)))
    was_dropped = got == 0 if isinstance(got, np.ndarray) and got.shape == x.shape else False
    return compare(got, np.where(was_dropped, 0.0, x / (1 - rate)), length=3)


@dropout_task.check
def in_evaluation_and_in_training(student: Student, draw: Draw) -> None:
    """In evaluation the values come out as they went in; while training, each is either 0 or x / (1 - rate)."""
    x, rate = units(draw)
    key = draw.key()
    value(student.dropout(key, x, rate, static(True)))  # both are asked for first: it takes both to tell mistakes apart
    compare(student.dropout(key, x, rate, static(False)), x, length=1)
    drop(student, key, x, rate)


@dropout_task.check
def as_many_as_the_rate_says(student: Student, draw: Draw) -> None:
    """The share of the elements that are dropped is the rate, within what chance allows, and each is dropped by itself."""
    x, rate = units(draw)
    dropped = drop(student, draw.key(), x, rate) == 0
    require(
        not (dropped == dropped[0]).all() and not (dropped == dropped[:, :1]).all(),  # by chance: 0.68 ** 1950 or less
        "All rows, or all columns, drop the same elements: draw a mask of x's shape, so that each element is drawn by itself.",
    )
    require(
        abs(dropped.mean() - rate) <= 0.08,  # of 2,000: beyond it with probability 2 exp(-2 * 2000 * 0.08**2) = 2e-11
        "The share of elements that are dropped is not the rate.",
        got=f"{dropped.mean():.1%} of 2,000 elements",
        expected=f"{float(rate):.1%}, at most 8% more or less",
    )


@dropout_task.check
def the_key_decides(student: Student, draw: Draw) -> None:
    """The same key drops the same elements; another key drops others."""
    x, rate = units(draw)
    key, other = draw.key(), draw.key()
    once, again, others = (drop(student, k, x, rate) == 0 for k in (key, key, other))
    require((once == again).all(), "The same key should drop the same elements.")
    require(
        (once != others).any(),  # equal by chance with probability 0.68 ** 2000 or less
        "Two different keys drop the same elements. Is the key used?",
    )


@dropout_task.check
def a_rate_of_zero(student: Student, draw: Draw) -> None:
    """With a rate of 0 every element stays as it is."""
    x, _ = units(draw)
    compare(student.dropout(draw.key(), x, np.float32(0), static(True)), x, length=2)


@dropout_task.wrong("What is kept is not scaled: divide it by 1 - rate, so that the mean stays.")
def not_scaled(key: Any, x: Any, rate: Any, training: Any) -> Any:
    if not training:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x, 0.0)


@dropout_task.wrong("Elements are dropped in evaluation too: where training is False, return x as it is.")
def always_drops(key: Any, x: Any, rate: Any, training: Any) -> Any:
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0.0)


@dropout_task.wrong("It is the wrong way round: elements should be dropped while training, not in evaluation.")
def in_evaluation_only(key: Any, x: Any, rate: Any, training: Any) -> Any:
    if training:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0.0)


@dropout_task.wrong(
    "You scale in evaluation, by 1 - rate. That keeps the mean too; here it is done while training, so that evaluation has nothing to do."
)
def scaled_in_evaluation(key: Any, x: Any, rate: Any, training: Any) -> Any:
    if not training:
        return x * (1 - rate)
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x, 0.0)


@dropout_task.wrong("You keep with probability rate: it is the probability of being dropped, so keep with 1 - rate.")
def mask_swapped(key: Any, x: Any, rate: Any, training: Any) -> Any:
    if not training:
        return x
    return jnp.where(jax.random.bernoulli(key, rate, x.shape), x / (1 - rate), 0.0)


@dropout_task.wrong("You divided by the rate; what is kept is divided by the probability of being kept, 1 - rate.")
def divided_by_rate(key: Any, x: Any, rate: Any, training: Any) -> Any:
    if not training:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / rate, 0.0)


@dropout_task.wrong("You multiplied by 1 - rate; divide by it: what is left must become larger to keep the mean.")
def multiplied(key: Any, x: Any, rate: Any, training: Any) -> Any:
    if not training:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x * (1 - rate), 0.0)


@dropout_task.wrong("You made a key of your own, so every step drops the same elements: use the key you are given.")
def key_ignored(key: Any, x: Any, rate: Any, training: Any) -> Any:
    if not training:
        return x
    return jnp.where(jax.random.bernoulli(jax.random.key(0), 1 - rate, x.shape), x / (1 - rate), 0.0)


@dropout_task.wrong("One draw decides for all elements: give bernoulli the shape of x.")
def all_or_nothing(key: Any, x: Any, rate: Any, training: Any) -> Any:
    if not training:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate), x / (1 - rate), 0.0)


@dropout_task.wrong("All examples lose the same units: draw a mask of x's whole shape, not of one row.")
def one_row_for_all(key: Any, x: Any, rate: Any, training: Any) -> Any:
    if not training:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape[1:]), x / (1 - rate), 0.0)


rate_task = exercise.task(
    "learning_rate",
    points=2,
    hints=Hints(
        concept="The rate at a step is the start times a factor to a power that grows with the step. Where that is below the "
        "floor, it is the floor.",
        where="The lesson's section 'A learning rate that falls' has the formula. jnp.maximum(a, b) works while the step has no "
        "value yet; Python's max does not.",
        almost_code="return jnp.maximum(..., start * (floor / start) ** (... / ...))",
    ),
)


def decayed(step: Any, steps: int, start: Any = 0.003, floor: Any = 0.0001) -> Any:
    """The rate that is owed."""
    return np.maximum(floor, start * (floor / start) ** (float(step) / steps))


# Whoever takes the factor of one step, (floor / start) ** (1 / steps), and raises it to the power `step`, has the factor's rounding
# `step` times. Above the floor that is at most `steps` times; the rest, y log b in b**y with it, is below 15.
STEPS = 1000
POWER = STEPS + 15


@rate_task.check
def on_the_way(student: Student, draw: Draw) -> None:
    """On the way the rate falls by the same factor at every step."""
    step = draw.integers(100, 900)
    compare(student.learning_rate(step, static(STEPS)), decayed(step, STEPS), length=POWER)


@rate_task.check
def both_ends(student: Student, draw: Draw) -> None:
    """At step 0 it is the start; from the last step on it is the floor, however long the training goes on."""
    for step in (0, STEPS, draw.integers(1100, 2000)):
        compare(student.learning_rate(np.int32(step), static(STEPS)), decayed(step, STEPS), length=POWER)


@rate_task.check
def any_start_and_floor(student: Student, draw: Draw) -> None:
    """The start and the floor that are given are used."""
    step, start, floor = draw.integers(5, 30), draw.uniform(low=0.5, high=1.0), draw.uniform(low=0.1, high=0.2)
    compare(
        student.learning_rate(step, static(20), start=start, floor=floor), decayed(step, 20, start, floor), length=POWER
    )


@rate_task.wrong("The floor is forgotten: after `steps` the rate goes on falling. Take the larger of the two.")
def no_floor(step: Any, steps: Any, start: Any = 0.003, floor: Any = 0.0001) -> Any:
    return start * (floor / start) ** (step / steps)


@rate_task.wrong("The floor is added to the rate; it is the least that the rate can be: take the larger of the two.")
def floor_added(step: Any, steps: Any, start: Any = 0.003, floor: Any = 0.0001) -> Any:
    return floor + start * (floor / start) ** (step / steps)


@rate_task.wrong(
    "You decay from start - floor and add the floor. Some do; it never quite arrives. Here the rate falls by the same factor, down to the floor."
)
def decays_towards_the_floor(step: Any, steps: Any, start: Any = 0.003, floor: Any = 0.0001) -> Any:
    return floor + (start - floor) * (floor / start) ** (step / steps)


@rate_task.wrong("The rate falls on a straight line: exponential decay multiplies by the same factor at every step.")
def on_a_line(step: Any, steps: Any, start: Any = 0.003, floor: Any = 0.0001) -> Any:
    return jnp.maximum(floor, start + (floor - start) * step / steps)


@rate_task.wrong(
    "step // steps is a whole number, so the rate stays at the start until it drops at once: divide with /."
)
def integer_division(step: Any, steps: Any, start: Any = 0.003, floor: Any = 0.0001) -> Any:
    return jnp.maximum(floor, start * (floor / start) ** (step // steps))


@rate_task.wrong(
    "You took the smaller of the two, so the rate is the floor all the time: jnp.maximum takes the larger."
)
def minimum(step: Any, steps: Any, start: Any = 0.003, floor: Any = 0.0001) -> Any:
    return jnp.minimum(floor, start * (floor / start) ** (step / steps))


@rate_task.wrong(
    "exp(-step / steps) has fallen to 0.37 of the start at the last step; the factor must lead to the floor there."
)
def wrong_factor(step: Any, steps: Any, start: Any = 0.003, floor: Any = 0.0001) -> Any:
    return jnp.maximum(floor, start * jnp.exp(-step / steps))


@rate_task.wrong("Python's max, like an if, must know which is larger, and the step has no value yet: use jnp.maximum.")
def python_max(step: Any, steps: Any, start: Any = 0.003, floor: Any = 0.0001) -> Any:
    return max(floor, start * (floor / start) ** (step / steps))


@rate_task.wrong("0.003 and 0.0001 are written into the formula: use start and floor, which the caller may choose.")
def constants_written_in(step: Any, steps: Any, start: Any = 0.003, floor: Any = 0.0001) -> Any:
    return jnp.maximum(0.0001, 0.003 * (0.0001 / 0.003) ** (step / steps))
