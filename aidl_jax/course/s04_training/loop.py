"""The training loop: a step, an evaluation, the order of the data, a run that goes on, and checkpoints as plans.

A plan for saving is followed here in a folder that is a dict, and stopped at every moment, in the middle of a write too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aidl_jax.exercise import (
    Draw,
    Exercise,
    Expression,
    Failure,
    Hints,
    Student,
    call,
    compare,
    function,
    library,
    require,
    static,
    value,
    vmap,
)
from aidl_jax.exercise.expressions import Key
from aidl_jax.exercise.trees import NamedTree

if TYPE_CHECKING:  # wrong answers run where student code runs; these names are there
    import jax
    import jax.numpy as jnp
    import optax

    def forward(params: Any, pixels: Any) -> Any: ...
    def step_of(name: Any) -> Any: ...


exercise = Exercise(
    "The training loop, and how to stop it",
    forbidden=["flax", "torch", "tensorflow", "jax.example_libraries", "orbax", "aidl_jax"],
)


# The network


forward_task = exercise.task(
    "forward",
    points=1,
    hints=Hints(
        concept="The pixels times the first weights, plus the biases, and what is negative becomes 0. The same once more "
        "with the second weights, but nothing after it: logits may be negative.",
        where="The lesson's section 'The network'. `@` is the matrix product; jax.nn.relu, or jnp.maximum(0, a).",
        almost_code='hidden = jax.nn.relu(pixels @ params["hidden"]["weights"] + ...)\nreturn hidden @ ... + ...',
    ),
)


def a_layer(draw: Draw, inputs: int, outputs: int) -> dict[str, np.ndarray]:
    return {"weights": draw.normal(inputs, outputs), "biases": draw.normal(outputs)}


def layer(x: np.ndarray, params: dict[str, np.ndarray]) -> np.ndarray:
    return x @ params["weights"] + params["biases"]


@forward_task.check
def two_layers(student: Student, draw: Draw) -> None:
    """The logits of a network of two layers, with a ReLU between them and none after."""
    hidden, output, pixels = a_layer(draw, 6, 5), a_layer(draw, 5, 3), draw.normal(8, 6)
    expected = layer(np.maximum(layer(pixels, hidden), 0), output)
    positive = [{name: np.abs(array) for name, array in one.items()} for one in (hidden, output)]
    compare(
        student.forward({"hidden": hidden, "output": output}, pixels),
        expected,
        length=6 + 5 + 2,
        magnitude=layer(layer(np.abs(pixels), positive[0]), positive[1]),
    )


@forward_task.wrong("There is no ReLU: without it, two layers are no more than one. Put it between them.")
def no_relu(params: Any, pixels: Any) -> Any:
    hidden = pixels @ params["hidden"]["weights"] + params["hidden"]["biases"]
    return hidden @ params["output"]["weights"] + params["output"]["biases"]


@forward_task.wrong("There is a ReLU after the last layer, too: logits may be negative, so leave them as they are.")
def relu_twice(params: Any, pixels: Any) -> Any:
    hidden = jax.nn.relu(pixels @ params["hidden"]["weights"] + params["hidden"]["biases"])
    return jax.nn.relu(hidden @ params["output"]["weights"] + params["output"]["biases"])


@forward_task.wrong("You returned probabilities; logits are asked for. The loss takes the softmax itself.")
def softmax_after(params: Any, pixels: Any) -> Any:
    hidden = jax.nn.relu(pixels @ params["hidden"]["weights"] + params["hidden"]["biases"])
    return jax.nn.softmax(hidden @ params["output"]["weights"] + params["output"]["biases"])


@forward_task.wrong("The biases are missing: each layer adds its own after the matrix product.")
def no_biases(params: Any, pixels: Any) -> Any:
    return jax.nn.relu(pixels @ params["hidden"]["weights"]) @ params["output"]["weights"]


# The step


minimize_task = exercise.task(
    "minimize",
    points=3,
    hints=Hints(
        concept="Inside of your function, write another one, and return it without calling it. It differentiates the loss with "
        "respect to the parameters, asks the optimizer for updates, adds them, and returns all that has changed.",
        where="The lesson's section 'From a loss and an optimizer to a step'. jax.value_and_grad(loss_fn)(params, batch) returns "
        "(loss, grads), the gradients those of the first argument.",
        almost_code="def step(params, opt_state, batch):\n    loss, grads = jax.value_and_grad(loss_fn)(params, batch)\n"
        "    updates, opt_state = optimizer.update(grads, ...)\n    return optax.apply_updates(...), ..., loss\n\nreturn step",
    ),
)


def by_leaf(of: Callable[..., Any], *trees: Any) -> Any:
    """A function of the leaves in the same place of parameter trees, of arrays or of expressions."""
    return {"layer": {"w": of(*(tree["layer"]["w"] for tree in trees))}, "b": of(*(tree["b"] for tree in trees))}


SQUARED = function(
    lambda p, batch: library("jax.numpy.mean")((batch[0] @ p["layer"]["w"] + p["b"] - batch[1]) ** static(2))
)


def loss_and_grads(params: Any, x: np.ndarray, t: np.ndarray) -> tuple[Any, Any]:
    """The mean squared error of a linear model, and its gradients."""
    difference = x @ params["layer"]["w"] + params["b"] - t
    return np.mean(difference**2), {"layer": {"w": 2 * x.T @ difference / len(x)}, "b": 2 * difference.mean()}


def regression(draw: Draw) -> tuple[Any, np.ndarray, np.ndarray]:
    """Parameters and five examples with their targets."""
    return {"layer": {"w": draw.normal(2)}, "b": draw.normal()}, draw.normal(5, 2), draw.normal(5)


def sizes(params: Any, x: np.ndarray, t: np.ndarray) -> tuple[Any, Any]:
    """The sums of the absolute values of what loss and gradients add up."""
    return loss_and_grads(by_leaf(np.abs, params), np.abs(x), -np.abs(t))


def an_optimizer(init: Expression, update: Expression) -> Any:
    """Named as in optax, made of expressions."""
    return NamedTree("GradientTransformation", ("init", "update"), (init, update))


CALL_UPDATE = "Call optimizer.update(grads, opt_state, params): all three, and without names."
CALL_LOSS = "Call loss_fn(params, batch): the parameters, and the batch as it is."
NOT_RETURNED = "minimize returned None: return the function that you have made, without calling it."
CALLS = {  # what Python says of calls that do not fit what a check has composed
    "zip() argument 2 is shorter": CALL_UPDATE,
    "keyword argument 'params'": CALL_UPDATE,
    "zip() argument 2 is longer": CALL_LOSS,
    "'NoneType' object is not callable": NOT_RETURNED,
}


def compare_step(asked: Expression, expected: Any, magnitude: Any) -> None:
    """Compares a step; says in the lesson's words what was called otherwise than it should be."""
    try:
        compare(asked, expected, length=5 + 2 + 8, magnitude=magnitude)
    except Failure as failure:
        failure.message = next((told for words, told in CALLS.items() if words in failure.message), failure.message)
        raise


@minimize_task.check
def one_step(student: Student, draw: Draw) -> None:
    """The gradients of the loss go to the optimizer, its updates are added, and its new state and the loss come out."""
    params, x, t = regression(draw)
    velocity, rate, shrink = (
        by_leaf(lambda p: draw.normal(*p.shape), params),
        draw.uniform(low=0.1, high=0.5),
        draw.uniform(low=0.1, high=0.5),
    )
    optimizer = an_optimizer(
        function(lambda p: {"count": np.int32(0), "velocity": by_leaf(library("jax.numpy.zeros_like"), p)}),
        function(
            lambda g, s, p: (
                by_leaf(lambda g, v, p: -(rate * (v * static(0.5) + g)) - shrink * p, g, s["velocity"], p),
                {
                    "count": s["count"] + np.int32(1),
                    "velocity": by_leaf(lambda g, v: v * static(0.5) + g, g, s["velocity"]),
                },
            )
        ),
    )

    def updated(grads: Any, velocity: Any, params: Any, sign: int) -> tuple[Any, Any]:
        new = by_leaf(lambda g, v: v / 2 + g, grads, velocity)
        return by_leaf(lambda p, v: p + sign * (rate * v + shrink * p), params, new), new

    (loss, grads), (loss_size, grad_sizes) = loss_and_grads(params, x, t), sizes(params, x, t)
    count = draw.integers(1, 9)
    expected, new = updated(grads, velocity, params, -1)
    expected_size, new_size = updated(grad_sizes, by_leaf(np.abs, velocity), by_leaf(np.abs, params), 1)
    compare_step(
        student.minimize(SQUARED, optimizer)(params, {"count": count, "velocity": velocity}, (x, t)),
        (expected, {"count": count + 1, "velocity": new}, loss),
        (expected_size, {"count": 1, "velocity": new_size}, loss_size),
    )


@minimize_task.check
def an_optimizer_without_state(student: Student, draw: Draw) -> None:
    """An optimizer that remembers nothing, whose state is (), works as well."""
    (params, x, t), rate = regression(draw), draw.uniform(low=0.1, high=0.5)
    optimizer = an_optimizer(function(lambda p: ()), function(lambda g, s, p: (by_leaf(lambda g: -(rate * g), g), s)))
    (loss, grads), (loss_size, grad_sizes) = loss_and_grads(params, x, t), sizes(params, x, t)
    compare_step(
        student.minimize(SQUARED, optimizer)(params, (), (x, t)),
        (by_leaf(lambda p, g: p - rate * g, params, grads), (), loss),
        (by_leaf(lambda p, g: np.abs(p) + rate * g, params, grad_sizes), (), loss_size),
    )


@minimize_task.wrong("You subtract the updates: their sign is turned already, so add them.")
def updates_subtracted(loss_fn: Any, optimizer: Any) -> Any:
    def step(params: Any, opt_state: Any, batch: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return jax.tree.map(lambda p, u: p - u, params, updates), opt_state, loss

    return step


@minimize_task.wrong("You returned the optimizer's old state: return the new one, or this step is forgotten.")
def old_state(loss_fn: Any, optimizer: Any) -> Any:
    def step(params: Any, opt_state: Any, batch: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        updates, _ = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    return step


@minimize_task.wrong("The optimizer begins anew at each step: use the opt_state that you are given, not init.")
def init_in_each_step(loss_fn: Any, optimizer: Any) -> Any:
    def step(params: Any, opt_state: Any, batch: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        updates, opt_state = optimizer.update(grads, optimizer.init(params), params)
        return optax.apply_updates(params, updates), opt_state, loss

    return step


@minimize_task.wrong("You returned the updates as the parameters: add them to the old ones, with optax.apply_updates.")
def updates_alone(loss_fn: Any, optimizer: Any) -> Any:
    def step(params: Any, opt_state: Any, batch: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        return *optimizer.update(grads, opt_state, params), loss

    return step


@minimize_task.wrong("You returned the loss after the update; return the one before, which the gradients belong to.")
def loss_after(loss_fn: Any, optimizer: Any) -> Any:
    def step(params: Any, opt_state: Any, batch: Any) -> Any:
        updates, opt_state = optimizer.update(jax.grad(loss_fn)(params, batch), opt_state, params)
        params = optax.apply_updates(params, updates)
        return params, opt_state, loss_fn(params, batch)

    return step


@minimize_task.wrong("Your step returns (params, opt_state) alone; return the loss too, as the third.")
def no_loss(loss_fn: Any, optimizer: Any) -> Any:
    def step(params: Any, opt_state: Any, batch: Any) -> Any:
        updates, opt_state = optimizer.update(jax.grad(loss_fn)(params, batch), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    return step


@minimize_task.wrong(CALL_UPDATE)
def params_not_given(loss_fn: Any, optimizer: Any) -> Any:
    def step(params: Any, opt_state: Any, batch: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        updates, opt_state = optimizer.update(grads, opt_state)
        return optax.apply_updates(params, updates), opt_state, loss

    return step


@minimize_task.wrong(CALL_LOSS)
def batch_taken_apart(loss_fn: Any, optimizer: Any) -> Any:
    def step(params: Any, opt_state: Any, batch: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_fn)(params, *batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    return step


@minimize_task.wrong(NOT_RETURNED)
def step_not_returned(loss_fn: Any, optimizer: Any) -> Any:
    def step(params: Any, opt_state: Any, batch: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss


# The evaluation


evaluate_task = exercise.task(
    "evaluate",
    points=2,
    needs=["forward"],
    hints=Hints(
        concept="Count the pictures whose largest logit stands at their label, in all batches together. Then divide, once, by how many "
        "pictures there are.",
        where="The lesson's section 'The evaluation'. jnp.argmax(logits, axis=...) with the axis of the classes; `==` compares element by "
        "element, and jnp.sum counts what is True. How many there are is known while tracing: len(labels).",
        almost_code="right = 0\nfor pixels, labels in batches:\n    right += jnp.sum(jnp.argmax(forward(...), axis=...) == ...)\n"
        "return right / sum(len(...) for pixels, labels in batches)",
    ),
)

BATCH_SIZES = (5, 5, 2)


def readings(draw: Draw) -> tuple[Any, list[Any], int]:
    """A network that reads off where the largest pixel is, batches, and in how many places the label says the same.

    One of the last two is right, and less than half of the others: so no two ways of counting give the same.
    """
    one = {"weights": np.eye(4), "biases": np.zeros(4)}
    batches, right = [], 0
    for size in BATCH_SIZES:
        pixels = np.stack([draw.permutation(4) for _ in range(size)]).astype(float)
        good = int(draw.integers(1, 3)) if size == 5 else 1
        labels = (pixels.argmax(1) + np.where(np.arange(size) < good, 0, 1 + draw.integers(0, 2, size))) % 4
        batches.append((pixels, labels.astype(np.int32)))
        right += good
    return {"hidden": one, "output": one}, batches, right


@evaluate_task.check
def every_picture_counts_the_same(student: Student, draw: Draw) -> None:
    """Of all pictures in all batches, the share that is read right: a short batch counts for less."""
    params, batches, right = readings(draw)
    compare(student.evaluate(params, batches), right / sum(BATCH_SIZES), length=3)


@evaluate_task.wrong("You averaged the batches' shares, so a picture in a short one counts for more: divide once.")
def mean_of_means(params: Any, batches: Any) -> Any:
    shares = [jnp.mean(jnp.argmax(forward(params, pixels), axis=1) == labels) for pixels, labels in batches]
    return sum(shares) / len(shares)


@evaluate_task.wrong("The largest is sought over the pictures, axis 0: each picture has its own, over the classes.")
def over_the_pictures(params: Any, batches: Any) -> Any:
    right = sum(jnp.sum(jnp.argmax(forward(params, pixels), axis=0) == labels) for pixels, labels in batches)
    return right / sum(len(labels) for _, labels in batches)


@evaluate_task.wrong("You returned how many are read right; divide by how many pictures there are.")
def count_alone(params: Any, batches: Any) -> Any:
    right = sum(jnp.sum(jnp.argmax(forward(params, pixels), axis=1) == labels) for pixels, labels in batches)
    return right * 1.0


@evaluate_task.wrong("You returned the share that is read wrong; the share that is read right is asked for.")
def share_of_errors(params: Any, batches: Any) -> Any:
    wrong = sum(jnp.sum(jnp.argmax(forward(params, pixels), axis=1) != labels) for pixels, labels in batches)
    return wrong / sum(len(labels) for _, labels in batches)


@evaluate_task.wrong("You took all batches for as large as the first; the last is shorter. Add up the sizes.")
def all_of_one_size(params: Any, batches: Any) -> Any:
    right = sum(jnp.sum(jnp.argmax(forward(params, pixels), axis=1) == labels) for pixels, labels in batches)
    return right / (len(batches) * len(batches[0][1]))


# The order of the data


rows_task = exercise.task(
    "batch_rows",
    points=3,
    hints=Hints(
        concept="From the number of the step follow two numbers: which epoch it is in, and which place it has there. The epoch makes the "
        "order, and the place says which piece of it is the batch.",
        where="The lesson's section 'Which rows are in batch number 300?'. // and % give the two numbers; the epoch's order is "
        "jax.random.permutation(jax.random.fold_in(key, epoch), count).",
        almost_code="steps = count // size\norder = jax.random.permutation(jax.random.fold_in(key, ...), count)\n"
        "return jax.lax.dynamic_slice(order, (... * size,), (size,))",
    ),
)

ROWS, IN_BATCH, PER_EPOCH = 25, 6, 4  # one row is left over in each epoch
TWICE = (
    "In an epoch a row comes twice, and so another never: all steps of an epoch cut their batches from the same order."
)
SAME_ORDER = "All epochs have the same order: make the number of the epoch part of the key."
KEY_UNUSED = "Two different keys give the same rows: draw with the key that you are given."


def rows_of(student: Student, key: Key, epochs: int) -> np.ndarray:
    """The rows of the first epochs: int [epochs, steps, rows of a batch]."""
    asked = vmap(function(lambda step: student.batch_rows(key, step, static(ROWS), static(IN_BATCH))))
    got = value(asked(np.arange(epochs * PER_EPOCH)))
    wanted = (epochs * PER_EPOCH, IN_BATCH)
    compare(
        np.zeros(wanted, got.dtype) if isinstance(got, np.ndarray) and got.shape == wanted else got,
        np.zeros(wanted, np.int32),
    )
    outside = (got < 0) | (got >= ROWS)
    require(not outside.any(), f"There are {ROWS} rows, numbered from 0: this is none of them.", got=got[outside][:1])
    return np.asarray(got).reshape(epochs, PER_EPOCH, IN_BATCH)


@rows_task.check
def no_row_twice(student: Student, draw: Draw) -> None:
    """In each epoch all batches together hold no row twice."""
    for number, epoch in enumerate(rows_of(student, draw.key(), 3)):
        seen, times = np.unique(epoch, return_counts=True)
        require(
            len(seen) == epoch.size,
            TWICE,
            got=f"{PER_EPOCH} batches of {IN_BATCH} in epoch {number}: row {seen[times.argmax()]} comes {times.max()} times",
            expected=f"{epoch.size} different rows of {ROWS}",
        )


@rows_task.check
def another_order_in_each_epoch(student: Student, draw: Draw) -> None:
    """The rows are shuffled one by one, anew in each epoch."""
    one, other, _ = rows_of(student, draw.key(), 3)
    require(
        (one.ravel() != np.sort(one.ravel())).any(),
        "The rows come in the order of the data: shuffle them.",
        got=one.ravel(),
    )
    require((one != other).any(), SAME_ORDER, got=one.ravel())
    together = {frozenset(batch) for batch in one.tolist()} & {frozenset(batch) for batch in other.tolist()}
    require(
        len(together) < 2,  # of 4 and 4 sets of 6 rows of 25; by chance with probability 1e-8 or less
        "Rows that were in one batch are together again in the next epoch: shuffle the rows, not the batches.",
        got=[sorted(batch) for batch in together],
    )


@rows_task.check
def the_key_decides(student: Student, draw: Draw) -> None:
    """The same key gives the same rows, another key others."""
    once, other = (rows_of(student, key, 3) for key in (draw.key(), draw.key()))
    require((once != other).any(), KEY_UNUSED, got=once[0].ravel())


@rows_task.wrong("The rows come in the order of the data: shuffle them.")
def not_shuffled(key: Any, step: Any, count: Any, size: Any) -> Any:
    return step % (count // size) * size + jnp.arange(size)


@rows_task.wrong("You drew rows anew for each batch, so one may come twice: cut batches from a permutation.")
def drawn_anew(key: Any, step: Any, count: Any, size: Any) -> Any:
    return jax.random.randint(jax.random.fold_in(key, step), (size,), 0, count)


@rows_task.wrong("Each step makes an order of its own: fold in the number of the epoch, not that of the step.")
def order_of_the_step(key: Any, step: Any, count: Any, size: Any) -> Any:
    order = jax.random.permutation(jax.random.fold_in(key, step), count)
    return jax.lax.dynamic_slice(order, (step % (count // size) * size,), (size,))


@rows_task.wrong(SAME_ORDER)
def one_order_for_all(key: Any, step: Any, count: Any, size: Any) -> Any:
    order = jax.random.permutation(key, count)
    return jax.lax.dynamic_slice(order, (step % (count // size) * size,), (size,))


@rows_task.wrong("Only whole batches change places, and what is in one stays together: shuffle all rows.")
def batches_shuffled(key: Any, step: Any, count: Any, size: Any) -> Any:
    steps = count // size
    places = jax.random.permutation(jax.random.fold_in(key, step // steps), steps)
    rows = jax.random.permutation(key, count)
    return jax.lax.dynamic_slice(rows, (places[step % steps] * size,), (size,))


@rows_task.wrong("After the first epoch you cut beyond the order's end: begin at the place in the epoch.")
def beyond_the_end(key: Any, step: Any, count: Any, size: Any) -> Any:
    order = jax.random.permutation(jax.random.fold_in(key, step // (count // size)), count)
    return jax.lax.dynamic_slice(order, (step * size,), (size,))


@rows_task.wrong("Batches overlap: that of place 1 begins at row 1 of the order. It should begin at 1 * size.")
def overlapping(key: Any, step: Any, count: Any, size: Any) -> Any:
    steps = count // size
    order = jax.random.permutation(jax.random.fold_in(key, step // steps), count)
    return jax.lax.dynamic_slice(order, (step % steps,), (size,))


@rows_task.wrong("You made a key of your own, so every run has the same order: use the key that you are given.")
def key_of_its_own(key: Any, step: Any, count: Any, size: Any) -> Any:
    steps = count // size
    order = jax.random.permutation(jax.random.fold_in(jax.random.key(0), step // steps), count)
    return jax.lax.dynamic_slice(order, (step % steps * size,), (size,))


# The loop


train_task = exercise.task(
    "train_until",
    points=3,
    hints=Hints(
        concept="Begin where the state is. In each round get the batch of that step, make the step, and carry what it returns into the next "
        "round. At the end, put together a new state.",
        where="The lesson's section 'The loop'. range(a, b) counts from a up to b; {**state, 'step': steps} is a copy of a dict with another "
        "'step'; jnp.stack makes an array of a list of losses.",
        almost_code='params, opt_state, losses = state["params"], state["opt_state"], []\nfor step in range(...):\n'
        "    params, opt_state, loss = step_fn(params, opt_state, make_batch(...))\n    losses.append(loss)\n"
        'return {**state, "step": ..., "params": params, "opt_state": ...}, jnp.stack(losses)',
    ),
)


class Toy:
    """A run of weights [2] with momentum towards numbers from a table, to which a number from the key is added."""

    def __init__(self, draw: Draw) -> None:
        self.table, self.rate, self.key = draw.normal(12), draw.uniform(low=0.1, high=0.3), draw.key()
        self.weights, self.velocity = draw.normal(2), draw.uniform(2, low=0.5, high=2.0)
        self.make_batch = function(
            lambda key, step: (
                library("jax.numpy.take")(self.table, step) + library("jax.random.key_data")(key)[0] / static(2.0**32)
            )
        )
        self.step_fn = function(
            lambda p, s, batch: (
                {"w": p["w"] - self.rate * (s["v"] * static(0.5) + p["w"] - batch)},
                {"v": s["v"] * static(0.5) + p["w"] - batch},
                library("jax.numpy.mean")((p["w"] - batch) ** static(2)),
            )
        )

    def state(self, step: int) -> dict[str, Any]:
        """The state that is handed in, at this step."""
        return {"step": static(step), "params": {"w": self.weights}, "opt_state": {"v": self.velocity}, "key": self.key}

    def trained(self, start: int, steps: int, size: bool = False) -> Any:
        """What is owed; or the sums of the absolute values of its terms."""
        sign, of = (1, np.abs) if size else (-1, np.asarray)
        w, v, losses = of(self.weights), of(self.velocity), []
        for step in range(start, steps):
            batch = of(self.table[step]) + np.float32(self.key.data[0]) / 2**32
            losses.append(np.mean((w + sign * batch) ** 2))
            v = v / 2 + w + sign * batch
            w = w + sign * self.rate * v
        state = {"step": np.int32(steps), "params": {"w": w}, "opt_state": {"v": v}, "key": self.key.data}
        return state, np.stack(losses)

    def compare(self, asked: Expression, start: int, steps: int) -> None:
        """Compares what was trained: the state first, then the losses, too."""
        got, expected, sizes = value(asked), self.trained(start, steps), self.trained(start, steps, size=True)
        length = 8 * (steps - start)
        if isinstance(got, tuple) and len(got) == 2:
            compare(got[0], expected[0], length=length, magnitude=sizes[0])
        compare(got, expected, length=length, magnitude=sizes)


@train_task.check
def from_the_beginning(student: Student, draw: Draw) -> None:
    """From step 0 on: each step gets its own batch and what the one before returned."""
    toy = Toy(draw)
    toy.compare(student.train_until(toy.step_fn, toy.make_batch, toy.state(0), static(3)), 0, 3)


@train_task.check
def from_where_the_state_is(student: Student, draw: Draw) -> None:
    """From step 4 until step 7: three steps, with the batches of steps 4, 5 and 6 and the optimizer's state as it is."""
    toy = Toy(draw)
    toy.compare(student.train_until(toy.step_fn, toy.make_batch, toy.state(4), static(7)), 4, 7)


@train_task.check
def two_parts_are_one_run(student: Student, draw: Draw) -> None:
    """Stopped after step 2 and gone on with what was returned, it comes to the same state as in one go."""
    toy = Toy(draw)
    part = function(lambda made: student.train_until(toy.step_fn, toy.make_batch, made[0], static(5))[0])
    asked = part(student.train_until(toy.step_fn, toy.make_batch, toy.state(0), static(2)))
    compare(asked, toy.trained(0, 5)[0], length=8 * 5, magnitude=toy.trained(0, 5, size=True)[0])


@train_task.check
def the_state_that_was_given(student: Student, draw: Draw) -> None:
    """The state that was given stays as it was: whoever has it can begin there again."""
    toy = Toy(draw)
    both = function(lambda given: (student.train_until(toy.step_fn, toy.make_batch, given, static(3))[1], given))
    _, given = value(both(toy.state(1)))
    require(
        given["step"] == 1 and np.array_equal(given["params"]["w"], toy.weights),
        "The dict that you were given has changed: make a new one, {**state, ...}.",
        got=f"step {given['step']}",
        expected="step 1",
    )


@train_task.wrong("You begin at step 0 again, whatever the state says: begin at state['step'].")
def begins_at_zero(step_fn: Any, make_batch: Any, state: Any, steps: Any) -> Any:
    params, opt_state, losses = state["params"], state["opt_state"], []
    for step in range(steps):
        params, opt_state, loss = step_fn(params, opt_state, make_batch(state["key"], step))
        losses.append(loss)
    return {**state, "step": steps, "params": params, "opt_state": opt_state}, jnp.stack(losses)


@train_task.wrong("The data begin again: the steps that are left get the batches of steps 0, 1, 2, ...")
def data_begin_again(step_fn: Any, make_batch: Any, state: Any, steps: Any) -> Any:
    params, opt_state, losses = state["params"], state["opt_state"], []
    for step in range(steps - state["step"]):
        params, opt_state, loss = step_fn(params, opt_state, make_batch(state["key"], step))
        losses.append(loss)
    return {**state, "step": steps, "params": params, "opt_state": opt_state}, jnp.stack(losses)


@train_task.wrong("You make that many steps more: `steps` is how many will have been done in all.")
def as_many_more(step_fn: Any, make_batch: Any, state: Any, steps: Any) -> Any:
    params, opt_state, losses = state["params"], state["opt_state"], []
    for step in range(state["step"], state["step"] + steps):
        params, opt_state, loss = step_fn(params, opt_state, make_batch(state["key"], step))
        losses.append(loss)
    return {**state, "step": state["step"] + steps, "params": params, "opt_state": opt_state}, jnp.stack(losses)


@train_task.wrong("The optimizer's state begins at zero each time: go on with the one that is in the state.")
def optimizer_begins_again(step_fn: Any, make_batch: Any, state: Any, steps: Any) -> Any:
    params, opt_state, losses = state["params"], jax.tree.map(jnp.zeros_like, state["opt_state"]), []
    for step in range(state["step"], steps):
        params, opt_state, loss = step_fn(params, opt_state, make_batch(state["key"], step))
        losses.append(loss)
    return {**state, "step": steps, "params": params, "opt_state": opt_state}, jnp.stack(losses)


@train_task.wrong("Each step gets the optimizer's first state: hand on the one that the step before returned.")
def optimizer_stands_still(step_fn: Any, make_batch: Any, state: Any, steps: Any) -> Any:
    params, losses = state["params"], []
    for step in range(state["step"], steps):
        params, opt_state, loss = step_fn(params, state["opt_state"], make_batch(state["key"], step))
        losses.append(loss)
    return {**state, "step": steps, "params": params, "opt_state": opt_state}, jnp.stack(losses)


@train_task.wrong("You return the old number of steps: whoever goes on from there makes the same steps again.")
def step_not_counted(step_fn: Any, make_batch: Any, state: Any, steps: Any) -> Any:
    params, opt_state, losses = state["params"], state["opt_state"], []
    for step in range(state["step"], steps):
        params, opt_state, loss = step_fn(params, opt_state, make_batch(state["key"], step))
        losses.append(loss)
    return {**state, "params": params, "opt_state": opt_state}, jnp.stack(losses)


@train_task.wrong("All steps are made with the same batch: ask for a batch in each round of the loop.")
def one_batch(step_fn: Any, make_batch: Any, state: Any, steps: Any) -> Any:
    params, opt_state, losses = state["params"], state["opt_state"], []
    batch = make_batch(state["key"], state["step"])
    for _ in range(state["step"], steps):
        params, opt_state, loss = step_fn(params, opt_state, batch)
        losses.append(loss)
    return {**state, "step": steps, "params": params, "opt_state": opt_state}, jnp.stack(losses)


@train_task.wrong("You change the key on the way, so a resumed run has another order: hand it on as it is.")
def key_changed(step_fn: Any, make_batch: Any, state: Any, steps: Any) -> Any:
    params, opt_state, key, losses = state["params"], state["opt_state"], state["key"], []
    for step in range(state["step"], steps):
        key = jax.random.fold_in(key, step)
        params, opt_state, loss = step_fn(params, opt_state, make_batch(key, step))
        losses.append(loss)
    return {"step": steps, "params": params, "opt_state": opt_state, "key": key}, jnp.stack(losses)


@train_task.wrong("You returned the last loss alone: collect those of all steps in one array.")
def last_loss(step_fn: Any, make_batch: Any, state: Any, steps: Any) -> Any:
    params, opt_state = state["params"], state["opt_state"]
    for step in range(state["step"], steps):
        params, opt_state, loss = step_fn(params, opt_state, make_batch(state["key"], step))
    return {**state, "step": steps, "params": params, "opt_state": opt_state}, loss


@train_task.wrong("You wrote into the dict that you were given, so the old state is lost: make a new dict.")
def written_into(step_fn: Any, make_batch: Any, state: Any, steps: Any) -> Any:
    losses = []
    while state["step"] < steps:
        batch = make_batch(state["key"], state["step"])
        state["params"], state["opt_state"], loss = step_fn(state["params"], state["opt_state"], batch)
        state["step"] += 1
        losses.append(loss)
    return state, jnp.stack(losses)


# Checkpoints


newest_task = exercise.task(
    "newest",
    points=1,
    hints=Hints(
        concept="Leave out all that is no complete checkpoint. Of the rest, take the one whose number is largest, as a number.",
        where="The lesson's section 'Which checkpoint?': step_of. max(names, key=..., default=None) compares what the function `key` says of "
        "each, and gives None where there is nothing.",
        almost_code="complete = [name for name in names if ... is not None]\nreturn max(complete, key=..., default=None)",
    ),
)


def saved_steps(draw: Draw) -> tuple[list[int], int]:
    """Four steps of two digits in order, and a later one of three digits, which comes first in the alphabet."""
    return sorted((80 + draw.permutation(20)[:4]).tolist()), 100 + int(draw.integers(1, 90))


def shuffled(names: Sequence[str], draw: Draw) -> list[str]:
    return [names[place] for place in draw.permutation(len(names))]


def chosen(student: Student, names: list[str]) -> Any:
    got = call(student.newest(static(names)))
    require(got is None or type(got) is str, "A name is asked for, or None.", got=repr(got)[:200])
    return got


@newest_task.check
def the_largest_number(student: Student, draw: Draw) -> None:
    """Of complete checkpoints it is the one with the largest number, wherever it stands in the list."""
    (a, b, c, d), last = saved_steps(draw)
    names = [*shuffled([f"step_{step}" for step in (a, b, d, last)], draw), f"step_{c}"]
    got = chosen(student, names)
    require(
        got == f"step_{last}",
        f"{last} is the largest of the numbers in {', '.join(names)}.",
        got=got,
        expected=f"step_{last}",
    )


@newest_task.check
def unfinished_ones_do_not_count(student: Student, draw: Draw) -> None:
    """What ends in .tmp was not written to its end, and other files are none."""
    steps, last = saved_steps(draw)
    names = shuffled([*(f"step_{step}" for step in steps), f"step_{last}.tmp", "notes.txt", "step_best"], draw)
    got, expected = chosen(student, names), f"step_{steps[-1]}"
    require(
        got == expected,
        f"In {', '.join(names)}, only names of the form step_300 are complete checkpoints.",
        got=got,
        expected=expected,
    )


@newest_task.check
def there_may_be_none(student: Student, draw: Draw) -> None:
    """Where no checkpoint is complete, the answer is None."""
    _, last = saved_steps(draw)
    got = chosen(student, shuffled([f"step_{last}.tmp", "notes.txt"], draw))
    require(got is None, "There was no complete checkpoint, so the answer is None.", got=got, expected="None")


@newest_task.wrong('You compared the names as text, where "step_99" comes after "step_100": compare the numbers.')
def by_the_alphabet(names: Any) -> Any:
    return max((name for name in names if step_of(name) is not None), default=None)


@newest_task.wrong("You took the last in the list: the names come in any order. Compare the numbers.")
def last_in_the_list(names: Any) -> Any:
    complete = [name for name in names if step_of(name) is not None]
    return complete[-1] if complete else None


@newest_task.wrong("You returned the number of the step; the name of the checkpoint is asked for.")
def number_alone(names: Any) -> Any:
    return max((step_of(name) for name in names if step_of(name) is not None), default=None)


@newest_task.wrong("You took one that ends in .tmp, which is not complete: step_of tells which are.")
def takes_unfinished(names: Any) -> Any:
    numbered = [name for name in names if step_of(name.removesuffix(".tmp")) is not None]
    return max(numbered, key=lambda name: step_of(name.removesuffix(".tmp")), default=None)


@newest_task.wrong("max fails where there is nothing to choose from: give it default=None.")
def nothing_to_choose_from(names: Any) -> Any:
    return max([name for name in names if step_of(name) is not None], key=step_of)


@newest_task.wrong(
    "step_of gives None for other files, and None is not comparable with a number: leave them out first."
)
def others_not_left_out(names: Any) -> Any:
    return max(names, key=step_of, default=None)


plan_task = exercise.task(
    "save_plan",
    points=3,
    needs=["newest"],
    hints=Hints(
        concept="First the new checkpoint, under another name; then its right name; and when it is there, what is not needed any more: all "
        "but the latest, and what was never finished.",
        where="The lesson's section 'To save, in an order that survives'. sorted(names, key=step_of) puts checkpoints in order; names[:-keep] is "
        "all but the last `keep`; name.endswith('.tmp').",
        almost_code='name = f"step_{step}"\ncomplete = sorted([... for n in names if ...] + [name], key=step_of)\n'
        'save = [("write", f"{name}.tmp"), ("rename", ..., ...)]\nreturn save + [("remove", n) for n in ...]',
    ),
)

HALF, WHOLE = "half", "whole"
LENGTHS = {"write": 2, "rename": 3, "remove": 2}


def plan_of(student: Student, names: list[str], step: int, keep: int) -> list[tuple[str, ...]]:
    """The plan, if it is made of known words."""
    got = call(student.save_plan(static(names), static(step), static(keep)))
    require(type(got) is list, "A plan is a list of tuples.", got=repr(got)[:200])
    for one in got:
        known = (
            type(one) in (tuple, list)
            and all(type(word) is str for word in one)
            and len(one) == LENGTHS.get(one[0] if one else "")
        )
        require(
            known, 'A plan is made of ("write", name), ("rename", from, to) and ("remove", name).', got=repr(one)[:200]
        )
    return [tuple(one) for one in got]


def moments(plan: list[tuple[str, ...]], names: list[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """What is in the folder at each moment: after each operation, and in the middle of each write."""
    folder = dict.fromkeys(names, WHOLE)
    yield "Before anything", folder
    for verb, name, *to in plan:
        require(verb == "write" or name in folder, f"There is no file {name} to {verb}.", got=repr(plan))
        if verb == "write":
            folder = {**folder, name: HALF}
            yield f"In the middle of writing {name}", folder
            folder = {**folder, name: WHOLE}
        else:
            content = folder[name]
            folder = {other: there for other, there in folder.items() if other != name}
            folder |= dict.fromkeys(to, content)
        yield f"After {(verb, name, *to)}", folder


def is_checkpoint(name: str) -> bool:
    return name.startswith("step_") and name[5:].isdecimal()


def folder_after(plan: list[tuple[str, ...]], names: list[str]) -> list[str]:
    *_, (_, folder) = moments(plan, names)
    return sorted(folder)


@plan_task.check
def no_half_checkpoint(student: Student, draw: Draw) -> None:
    """The new checkpoint is there at the end, and at no moment is there half a file under a checkpoint's name."""
    steps, last = saved_steps(draw)
    names = shuffled([f"step_{step}" for step in steps[:2]], draw)
    plan = plan_of(student, names, last, 3)
    for when, folder in moments(plan, names):
        half = [name for name, content in folder.items() if content == HALF and is_checkpoint(name)]
        require(not half, f"{when}, half a file is there under the name of a checkpoint: write to a name that ends in .tmp, and rename it.",
                got=repr(plan))  # fmt: skip
    require(f"step_{last}" in folder, f"At the end there is no step_{last}: rename what was written.", got=repr(plan))


@plan_task.check
def the_latest_are_kept(student: Student, draw: Draw) -> None:
    """At the end the latest checkpoints are there, the new one among them, and no others."""
    steps, last = saved_steps(draw)
    names = shuffled([f"step_{step}" for step in steps], draw)
    plan = plan_of(student, names, last, 3)
    got, expected = folder_after(plan, names), sorted(f"step_{step}" for step in [*steps[-2:], last])
    require(got == expected, f"Of {', '.join(names)} and step_{last}, these should not be the ones that are left with keep=3.",
            got=got, expected=expected)  # fmt: skip


@plan_task.check
def enough_at_every_moment(student: Student, draw: Draw) -> None:
    """Wherever it is stopped, as many complete checkpoints are there as before, or `keep` of them."""
    steps, last = saved_steps(draw)
    names = shuffled([f"step_{step}" for step in steps[:2]], draw)
    plan = plan_of(student, names, last, 2)
    for when, folder in moments(plan, names):
        complete = [name for name in folder if is_checkpoint(name)]
        require(len(complete) >= 2, f"{when}, {len(complete)} of 2 complete checkpoints are left: remove old ones only when the new one has its name.",
                got=repr(plan))  # fmt: skip


@plan_task.check
def what_else_is_there(student: Student, draw: Draw) -> None:
    """What a save that did not end has left is removed, and does not count; files that are no checkpoints stay."""
    steps, last = saved_steps(draw)
    names = shuffled([*(f"step_{step}" for step in steps[:3]), f"step_{steps[3]}.tmp", "notes.txt"], draw)
    plan = plan_of(student, names, last, 3)
    got, expected = folder_after(plan, names), sorted(["notes.txt", *(f"step_{step}" for step in [*steps[1:3], last])])
    require(got == expected, f"Of {', '.join(names)} and step_{last}, these should not be the ones that are left with keep=3.",
            got=got, expected=expected)  # fmt: skip


@plan_task.check
def the_first_one(student: Student, draw: Draw) -> None:
    """In an empty folder there is nothing to remove."""
    _, last = saved_steps(draw)
    plan = plan_of(student, [], last, 1)
    got = folder_after(plan, [])
    require(
        got == [f"step_{last}"],
        "The folder was empty: what was saved should be there, and nothing else.",
        got=got,
        expected=[f"step_{last}"],
    )


@plan_task.wrong("Stopped while it is written, half a file looks like a checkpoint: write a .tmp, and rename it.")
def written_in_place(names: Any, step: Any, keep: Any) -> Any:
    complete = sorted([n for n in names if step_of(n) is not None] + [f"step_{step}"], key=step_of)
    old = complete[:-keep] + [n for n in names if n.endswith(".tmp")]
    return [("write", f"step_{step}"), *(("remove", n) for n in old)]


@plan_task.wrong("Old ones are removed before the new one is even written: remove them last.")
def removed_first(names: Any, step: Any, keep: Any) -> Any:
    name = f"step_{step}"
    complete = sorted([n for n in names if step_of(n) is not None] + [name], key=step_of)
    old = complete[:-keep] + [n for n in names if n.endswith(".tmp")]
    return [*(("remove", n) for n in old), ("write", f"{name}.tmp"), ("rename", f"{name}.tmp", name)]


@plan_task.wrong("Old ones are removed before the new one has its name: rename first, then remove.")
def removed_before_renaming(names: Any, step: Any, keep: Any) -> Any:
    name = f"step_{step}"
    complete = sorted([n for n in names if step_of(n) is not None] + [name], key=step_of)
    old = complete[:-keep] + [n for n in names if n.endswith(".tmp")]
    return [("write", f"{name}.tmp"), *(("remove", n) for n in old), ("rename", f"{name}.tmp", name)]


@plan_task.wrong("You kept the oldest and removed the latest: it is the other way round.")
def oldest_kept(names: Any, step: Any, keep: Any) -> Any:
    name = f"step_{step}"
    complete = sorted([n for n in names if step_of(n) is not None] + [name], key=step_of)
    old = complete[keep:] + [n for n in names if n.endswith(".tmp")]
    return [("write", f"{name}.tmp"), ("rename", f"{name}.tmp", name), *(("remove", n) for n in old)]


@plan_task.wrong("One checkpoint too many is kept: the new one is among those that are counted.")
def one_too_many(names: Any, step: Any, keep: Any) -> Any:
    name = f"step_{step}"
    complete = sorted([n for n in names if step_of(n) is not None], key=step_of)
    old = complete[:-keep] + [n for n in names if n.endswith(".tmp")]
    return [("write", f"{name}.tmp"), ("rename", f"{name}.tmp", name), *(("remove", n) for n in old)]


@plan_task.wrong('As text, "step_100" comes before "step_99": sort by the number, with key=step_of.')
def sorted_as_text(names: Any, step: Any, keep: Any) -> Any:
    name = f"step_{step}"
    complete = sorted([n for n in names if step_of(n) is not None] + [name])
    old = complete[:-keep] + [n for n in names if n.endswith(".tmp")]
    return [("write", f"{name}.tmp"), ("rename", f"{name}.tmp", name), *(("remove", n) for n in old)]


@plan_task.wrong("All old checkpoints are removed: keep the latest, as many as `keep` says.")
def only_the_new_one(names: Any, step: Any, keep: Any) -> Any:
    name = f"step_{step}"
    old = [n for n in names if step_of(n) is not None or n.endswith(".tmp")]
    return [("write", f"{name}.tmp"), ("rename", f"{name}.tmp", name), *(("remove", n) for n in old)]


@plan_task.wrong("A .tmp that was left by a save that did not end is there for ever: remove it.")
def unfinished_stays(names: Any, step: Any, keep: Any) -> Any:
    name = f"step_{step}"
    complete = sorted([n for n in names if step_of(n) is not None] + [name], key=step_of)
    return [("write", f"{name}.tmp"), ("rename", f"{name}.tmp", name), *(("remove", n) for n in complete[:-keep])]


@plan_task.wrong("You removed files that are no checkpoints: somebody's notes are not yours to remove.")
def others_removed(names: Any, step: Any, keep: Any) -> Any:
    name = f"step_{step}"
    complete = sorted([n for n in names if step_of(n) is not None] + [name], key=step_of)
    old = [n for n in names if n not in complete[-keep:]]
    return [("write", f"{name}.tmp"), ("rename", f"{name}.tmp", name), *(("remove", n) for n in old)]


@plan_task.wrong("A .tmp is counted among the checkpoints, and takes the place of a complete one: it is none.")
def unfinished_counted(names: Any, step: Any, keep: Any) -> Any:
    name = f"step_{step}"
    numbered = {
        n: step_of(n.removesuffix(".tmp")) for n in [*names, name] if step_of(n.removesuffix(".tmp")) is not None
    }
    old = sorted(numbered, key=lambda n: numbered[n])[:-keep]
    old += [n for n in numbered if n.endswith(".tmp") and n not in old]
    return [("write", f"{name}.tmp"), ("rename", f"{name}.tmp", name), *(("remove", n) for n in old)]
