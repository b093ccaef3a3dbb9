"""Linear regression by hand: what is asked, and how an answer is told from a wrong one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
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
    tolerance,
    value,
)

if TYPE_CHECKING:  # wrong answers run where student code runs; these names are there
    import jax
    import jax.numpy as jnp

    def predict(params: Any, x: Any) -> Any: ...
    def mean_squared_error(predictions: Any, targets: Any) -> Any: ...
    def gradients(params: Any, x: Any, targets: Any) -> Any: ...
    def update(params: Any, grads: Any, learning_rate: Any) -> Any: ...


AUTODIFF = ["grad", "value_and_grad", "vjp", "jvp", "linearize", "jacobian", "jacfwd", "jacrev", "hessian"]
SOLVERS = ["lstsq", "solve", "inv", "pinv"]
exercise = Exercise(
    "Linear regression by hand",
    forbidden=["optax", "flax", "sklearn.linear_model", "scipy", "jax.scipy"]
    + [f"jax.{name}" for name in AUTODIFF]
    + [f"jax.numpy.linalg.{name}" for name in SOLVERS],
)

predict_task = exercise.task(
    "predict",
    points=2,
    hints=Hints(
        concept="Each example's prediction is a weighted sum of its features, plus one bias that all examples share.",
        where="The lesson's section 'The forward pass'. A matrix times a vector gives one weighted sum per row: `@`.",
        almost_code='return x @ params["..."] + params["..."]',
    ),
)


@predict_task.check
def one_number_per_example(student: Student, draw: Draw) -> None:
    """Each prediction is the weighted sum of its example's features, plus the bias."""
    w, b, x = draw.normal(3), draw.normal(), draw.normal(5, 3)
    compare(
        student.predict({"w": w, "b": b}, x),
        x @ w + b,
        length=4,
        magnitude=np.abs(x) @ np.abs(w) + np.abs(b),
    )


@predict_task.check
def works_for_a_single_feature(student: Student, draw: Draw) -> None:
    """One feature is a matrix with one column, and the answer is still one number per example."""
    w, b, x = draw.normal(1), draw.normal(), draw.normal(4, 1)
    compare(student.predict({"w": w, "b": b}, x), x @ w + b, length=2, magnitude=np.abs(x) @ np.abs(w) + np.abs(b))


@predict_task.wrong("You left the bias out: add params['b'] to every weighted sum.")
def without_bias(params: Any, x: Any) -> Any:
    return x @ params["w"]


@predict_task.wrong("You subtracted the bias; it is added.")
def subtracted_bias(params: Any, x: Any) -> Any:
    return x @ params["w"] - params["b"]


@predict_task.wrong(
    "You multiplied features by weights and did not add them up: sum over the features of each example."
)
def not_summed(params: Any, x: Any) -> Any:
    return x * params["w"] + params["b"]


@predict_task.wrong(
    "You added everything up into one number: sum over the features only, axis 1, not over the examples."
)
def summed_over_all(params: Any, x: Any) -> Any:
    return (x * params["w"]).sum() + params["b"]


@predict_task.wrong("You summed over the examples, axis 0; sum over the features of each example, axis 1.")
def summed_over_examples(params: Any, x: Any) -> Any:
    return (x * params["w"]).sum(axis=0) + params["b"]


@predict_task.wrong("The product is the wrong way round: each row of x meets the weights, so it is x @ params['w'].")
def weights_first(params: Any, x: Any) -> Any:
    return params["w"] @ x + params["b"]


@predict_task.wrong("You added the bias once per feature: it belongs outside the sum over the features.")
def bias_in_the_sum(params: Any, x: Any) -> Any:
    return (x * params["w"] + params["b"]).sum(axis=1)


@predict_task.wrong(
    "Your answer has a second axis: a matrix with one column is not a vector. Keep the weights a vector."
)
def column(params: Any, x: Any) -> Any:
    return x @ params["w"][:, None] + params["b"]


mse_task = exercise.task(
    "mean_squared_error",
    points=1,
    hints=Hints(
        concept="How wrong is one prediction? Its difference to the target, squared. How wrong are all? The average.",
        where="The lesson's section 'The loss'. See jnp.mean, and think about what happens if the set doubles in size.",
        almost_code="return jnp.mean((... - ...) ** 2)",
    ),
)


def _is_float32(answer: Any, shape: tuple[int, ...]) -> bool:
    return isinstance(answer, np.ndarray) and answer.shape == shape and answer.dtype == np.float32


@mse_task.check
def averages_over_examples(student: Student, draw: Draw) -> None:
    """The loss is the mean over examples of the squared difference."""
    p, t = draw.normal(5), draw.normal(5)
    compare(
        student.mean_squared_error(p, t),
        np.mean((p - t) ** 2),
        magnitude=np.mean((np.abs(p) + np.abs(t)) ** 2),  # p ** 2 - 2 * p * t + t ** 2 is an answer too
    )


@mse_task.check
def does_not_grow_with_the_set(student: Student, draw: Draw) -> None:
    """The same examples twice over give the same loss."""
    p, t = draw.normal(4), draw.normal(4)
    size = np.mean((np.abs(p) + np.abs(t)) ** 2)
    once = compare(student.mean_squared_error(p, t), np.mean((p - t) ** 2), magnitude=size)
    twice = value(student.mean_squared_error(np.tile(p, 2), np.tile(t, 2)))
    require(_is_float32(twice, shape=()), "The loss is a single float32 number.")
    require(
        abs(once - twice) <= 2 * tolerance(once, 8, size),
        "The loss of the same four examples given twice should be what it is when they are given once.",
        got=f"{once:.6g} once, {twice:.6g} twice",
    )


@mse_task.wrong("You summed over the examples; divide by how many there are.")
def summed(predictions: Any, targets: Any) -> Any:
    return ((predictions - targets) ** 2).sum()


@mse_task.wrong(
    "You halved the mean. Some books do; here the loss is the plain mean, and its gradient has the factor 2."
)
def halved(predictions: Any, targets: Any) -> Any:
    return ((predictions - targets) ** 2).mean() / 2


@mse_task.wrong("You took the absolute difference; square it instead.")
def absolute(predictions: Any, targets: Any) -> Any:
    return jnp.abs(predictions - targets).mean()


@mse_task.wrong("You took the square root at the end: that is the RMSE. Leave the root out.")
def root(predictions: Any, targets: Any) -> Any:
    return jnp.sqrt(((predictions - targets) ** 2).mean())


@mse_task.wrong("You squared the mean difference, so errors of opposite sign cancel. Square first, then take the mean.")
def squared_mean(predictions: Any, targets: Any) -> Any:
    return (predictions - targets).mean() ** 2


@mse_task.wrong("You returned one loss per example: take the mean over them, so that one number is left.")
def not_reduced(predictions: Any, targets: Any) -> Any:
    return (predictions - targets) ** 2


@mse_task.wrong("You divided by n - 1. That estimates a variance; a mean divides by n, how many there are.")
def unbiased(predictions: Any, targets: Any) -> Any:
    return ((predictions - targets) ** 2).sum() / (predictions.shape[0] - 1)


gradients_task = exercise.task(
    "gradients",
    points=3,
    needs=["predict", "mean_squared_error"],
    hints=Hints(
        concept="Walk the graph backwards. At each operation: local derivative times the gradient that comes from above. "
        "The first one is the loss by the predictions; weights and bias both get theirs from it.",
        where="The lesson's section 'Backpropagation' has the two local derivatives. Shapes tell you the rest: the "
        "gradient of w has w's shape [features], so the sum over the examples must be a product with x's transpose.",
        almost_code='upstream = 2 * (... - ...) / x.shape[0]\nreturn {"w": x.T @ ..., "b": jnp.sum(...)}',
    ),
)


@gradients_task.check
def chain_rule(student: Student, draw: Draw) -> None:
    """The gradients are the derivatives of the mean squared error by each weight and by the bias."""
    w, b, x, t = draw.normal(3), draw.normal(), draw.normal(6, 3), draw.normal(6)
    upstream = 2 * (x @ w + b - t) / len(x)
    size = 2 * (np.abs(x) @ np.abs(w) + np.abs(b) + np.abs(t)) / len(x)
    compare(
        student.gradients({"w": w, "b": b}, x, t),
        {"w": x.T @ upstream, "b": upstream.sum()},
        length=6 + 4,
        magnitude={"w": np.abs(x).T @ size, "b": size.sum()},
    )


@gradients_task.check
def agrees_with_your_own_loss(student: Student, draw: Draw) -> None:
    """The gradients are what JAX finds when it differentiates your own loss of your own predictions."""
    w, b, x, t = draw.normal(2), draw.normal(), draw.normal(4, 2), draw.normal(4)
    params = {"w": w, "b": b}
    loss = function(lambda p: student.mean_squared_error(student.predict(p, x), t))
    upstream = 2 * (x @ w + b - t) / len(x)
    size = 2 * (np.abs(x) @ np.abs(w) + np.abs(b) + np.abs(t)) / len(x)
    for asked in (student.gradients(params, x, t), grad(loss)(params)):
        compare(
            asked,
            {"w": x.T @ upstream, "b": upstream.sum()},
            length=2 * (4 + 3),
            magnitude={"w": np.abs(x).T @ size, "b": size.sum()},
        )


@gradients_task.wrong("The factor 2 of the square is missing: the derivative of d ** 2 is 2 * d.")
def no_factor_two(params: Any, x: Any, targets: Any) -> Any:
    upstream = (predict(params, x) - targets) / x.shape[0]
    return {"w": x.T @ upstream, "b": upstream.sum()}


@gradients_task.wrong("Both gradients have the wrong sign: it is predictions minus targets, not the other way round.")
def wrong_sign(params: Any, x: Any, targets: Any) -> Any:
    upstream = 2 * (targets - predict(params, x)) / x.shape[0]
    return {"w": x.T @ upstream, "b": upstream.sum()}


@gradients_task.wrong(
    "You summed over the examples; the loss is a mean, so its gradient is divided by how many there are."
)
def summed_gradient(params: Any, x: Any, targets: Any) -> Any:
    upstream = 2 * (predict(params, x) - targets)
    return {"w": x.T @ upstream, "b": upstream.sum()}


@gradients_task.wrong("The gradient of w is not summed over the examples: use x's transpose, x.T @ upstream.")
def no_transpose(params: Any, x: Any, targets: Any) -> Any:
    upstream = 2 * (predict(params, x) - targets) / x.shape[0]
    return {"w": x * upstream[:, None], "b": upstream.sum()}


@gradients_task.wrong("The matrix product needs x's transpose, x.T @ upstream: examples meet examples.")
def product_without_transpose(params: Any, x: Any, targets: Any) -> Any:
    upstream = 2 * (predict(params, x) - targets) / x.shape[0]
    return {"w": x @ upstream, "b": upstream.sum()}


@gradients_task.wrong("You divided by the number of features, x.shape[1]; the mean is over the examples, x.shape[0].")
def divided_by_features(params: Any, x: Any, targets: Any) -> Any:
    upstream = 2 * (predict(params, x) - targets) / x.shape[1]
    return {"w": x.T @ upstream, "b": upstream.sum()}


@gradients_task.wrong("The gradient of w is divided by the number of examples twice: the mean is in upstream already.")
def weights_averaged_twice(params: Any, x: Any, targets: Any) -> Any:
    upstream = 2 * (predict(params, x) - targets) / x.shape[0]
    return {"w": x.T @ upstream / x.shape[0], "b": upstream.sum()}


@gradients_task.wrong(
    "The bias gets no gradient from you: it is added to every prediction, so its gradient is the sum of upstream."
)
def bias_forgotten(params: Any, x: Any, targets: Any) -> Any:
    upstream = 2 * (predict(params, x) - targets) / x.shape[0]
    return {"w": x.T @ upstream, "b": jnp.zeros_like(params["b"])}


@gradients_task.wrong("The bias is one number, so its gradient is one number too: sum upstream over the examples.")
def bias_not_summed(params: Any, x: Any, targets: Any) -> Any:
    upstream = 2 * (predict(params, x) - targets) / x.shape[0]
    return {"w": x.T @ upstream, "b": upstream}


@gradients_task.wrong(
    "The bias gradient is divided by the number of examples twice: the mean is in upstream already, so sum it."
)
def bias_averaged_twice(params: Any, x: Any, targets: Any) -> Any:
    upstream = 2 * (predict(params, x) - targets) / x.shape[0]
    return {"w": x.T @ upstream, "b": upstream.mean()}


@gradients_task.wrong("You left the targets out: the gradient starts from predictions minus targets.")
def targets_forgotten(params: Any, x: Any, targets: Any) -> Any:
    upstream = 2 * predict(params, x) / x.shape[0]
    return {"w": x.T @ upstream, "b": upstream.sum()}


update_task = exercise.task(
    "update",
    points=1,
    hints=Hints(
        concept="The gradient points uphill. Take a step the other way, as long as the learning rate says.",
        where="The lesson's section 'The update'. Nothing is changed in place: build a new dict with the same keys.",
        almost_code='return {"w": params["w"] - learning_rate * ..., "b": ...}',
    ),
)


@update_task.check
def one_step_downhill(student: Student, draw: Draw) -> None:
    """Every parameter moves against its gradient, by the learning rate times the gradient."""
    params = {"w": draw.normal(3), "b": draw.normal()}
    grads = {"w": draw.normal(3), "b": draw.normal()}
    rate = draw.uniform(low=0.01, high=0.9)
    compare(
        student.update(params, grads, rate),
        {name: params[name] - rate * grads[name] for name in params},
        length=2,
        magnitude={name: np.abs(params[name]) + rate * np.abs(grads[name]) for name in params},
    )


@update_task.check
def leaves_the_old_parameters_alone(student: Student, draw: Draw) -> None:
    """After the update, the dict that was passed in still holds the old parameters."""
    params = {"w": draw.normal(3), "b": draw.normal()}
    grads = {"w": draw.normal(3), "b": draw.normal()}
    rate = draw.uniform(low=0.01, high=0.9)
    after = function(lambda p: {"new": student.update(p, grads, rate), "given": p})
    compare(after(params)["given"], params)


@update_task.wrong("You moved uphill: subtract the step instead of adding it.")
def uphill(params: Any, grads: Any, learning_rate: Any) -> Any:
    return {name: params[name] + learning_rate * grads[name] for name in params}


@update_task.wrong("The learning rate is not used: multiply the gradient by it.")
def rate_unused(params: Any, grads: Any, learning_rate: Any) -> Any:
    return {name: params[name] - grads[name] for name in params}


@update_task.wrong("The bias stays as it was: update it like the weights.")
def bias_kept(params: Any, grads: Any, learning_rate: Any) -> Any:
    return {**params, "w": params["w"] - learning_rate * grads["w"]}


@update_task.wrong("You returned the step itself; subtract it from the parameters.")
def only_the_step(params: Any, grads: Any, learning_rate: Any) -> Any:
    return {name: learning_rate * grads[name] for name in params}


@update_task.wrong(
    "You changed the dict that you were given. Whoever still needs the old parameters has lost them: build a new one."
)
def in_place(params: Any, grads: Any, learning_rate: Any) -> Any:
    for name in params:
        params[name] = params[name] - learning_rate * grads[name]
    return params


@update_task.wrong("A dict as a whole cannot be multiplied or subtracted: go through its names, or use jax.tree.map.")
def dict_arithmetic(params: Any, grads: Any, learning_rate: Any) -> Any:
    return params - learning_rate * grads


fit_task = exercise.task(
    "fit",
    points=3,
    needs=["gradients", "update"],
    hints=Hints(
        concept="Training is one function applied over and over: parameters in, parameters out. A scan does just that and "
        "collects what each step has to show, here the loss before its update.",
        where="The lesson's section 'The loop'; jax.lax.scan(step, start, None, length=steps) returns the last carry and "
        "what was collected. The carry is the dict of parameters.",
        almost_code="def step(params, _):\n    return update(...), mean_squared_error(...)\n\nreturn jax.lax.scan(step, params, None, length=...)",
    ),
)


def diabetes() -> tuple[np.ndarray, np.ndarray]:
    """Real data: 442 patients, ten measurements, how the disease went on; all standardised.

    What sklearn.datasets.load_diabetes(scaled=False) returns, without the 0.7 s of importing it.
    """
    sklearn = find_spec("sklearn")
    assert sklearn is not None
    assert sklearn.origin is not None
    folder = Path(sklearn.origin).parent / "datasets" / "data"
    x = np.loadtxt(folder / "diabetes_data_raw.csv.gz")
    t = np.loadtxt(folder / "diabetes_target.csv.gz")
    return float32_grid((x - x.mean(0)) / x.std(0)), float32_grid((t - t.mean()) / t.std())


def descend(w: np.ndarray, b: Any, x: np.ndarray, t: np.ndarray, rate: Any, steps: int) -> Any:
    """Gradient descent in NumPy, float64: the answer that `fit` owes.

    Returns:
        The pair (params, losses), and beside it, built the same, the sum of the absolute values of all
        terms that were added up on the way to each number: how large a rounding error can be.
    """
    losses, loss_sizes = [], []
    w_size, b_size = np.abs(w), np.abs(b)
    for _ in range(steps):
        difference = x @ w + b - t
        reach = np.abs(x) @ w_size + b_size + np.abs(t)
        losses.append(np.mean(difference**2))
        loss_sizes.append(np.mean(reach**2))
        w, b = w - rate * 2 * x.T @ difference / len(x), b - rate * 2 * difference.mean()
        w_size, b_size = w_size + rate * 2 * np.abs(x).T @ reach / len(x), b_size + rate * 2 * reach.mean()
    return ({"w": w, "b": b}, np.array(losses)), ({"w": w_size, "b": b_size}, np.array(loss_sizes))


@fit_task.check
def five_steps(student: Student, draw: Draw) -> None:
    """After five steps the parameters are those of five updates, and the losses those before each of them."""
    w, b, x, t = draw.normal(3), draw.normal(), draw.normal(8, 3), draw.normal(8)
    rate = draw.uniform(low=0.02, high=0.1)
    expected, sizes = descend(w, b, x, t, rate, steps=5)
    compare(
        student.fit({"w": w, "b": b}, x, t, rate, static(5)),
        expected,
        length=5 * (8 + 4),  # each step adds up over 8 examples what was added up over 3 features and a bias
        magnitude=sizes,
    )


@fit_task.check(draws=1)
def finds_the_least_squares_solution(student: Student, draw: Draw) -> None:
    """On the diabetes set, 10,000 steps from anywhere end at the least squares solution."""
    x, t = diabetes()
    w, b = draw.normal(10), draw.normal()
    with_ones = np.column_stack([x, np.ones(len(x))])
    best = np.linalg.lstsq(with_ones, t, rcond=None)[0]
    answer = value(student.fit({"w": w, "b": b}, x, t, np.float32(0.2), static(10_000)))
    require(isinstance(answer, tuple) and len(answer) == 2, "fit returns a pair, (params, losses).")
    params, losses = answer
    compare(
        params,
        {"w": best[:10], "b": best[10]},
        atol=1e-4,
        reason="along the flattest direction (curvature 0.017) the rounding of one step, up to 6e-8, is kept "
        "1 / (0.2 * 0.017) = 290 times: 2e-5, and 5 times that for other orders of summation; what descent "
        "itself still lacks is below 1e-13",
    )
    require(_is_float32(losses, shape=(10_000,)), "There should be one loss per step, float32.")
    require(losses[-1] <= losses[0], "The loss grew from the first step to the last.", got=f"{losses[-1]:.6g}")


@fit_task.wrong(
    "The gradients are computed once, before the loop: each step needs those of the parameters it is given."
)
def gradients_once(params: Any, x: Any, targets: Any, learning_rate: Any, steps: int) -> Any:
    grads = gradients(params, x, targets)

    def step(params: Any, _: Any) -> Any:
        return update(params, grads, learning_rate), mean_squared_error(predict(params, x), targets)

    return jax.lax.scan(step, params, None, length=steps)


@fit_task.wrong("You did one step too few.")
def one_step_short(params: Any, x: Any, targets: Any, learning_rate: Any, steps: int) -> Any:
    def step(params: Any, _: Any) -> Any:
        new = update(params, gradients(params, x, targets), learning_rate)
        return new, mean_squared_error(predict(params, x), targets)

    new, losses = jax.lax.scan(step, params, None, length=steps - 1)
    return new, jnp.append(losses, losses[-1])


@fit_task.wrong("You did one step too many.")
def one_step_more(params: Any, x: Any, targets: Any, learning_rate: Any, steps: int) -> Any:
    def step(params: Any, _: Any) -> Any:
        new = update(params, gradients(params, x, targets), learning_rate)
        return new, mean_squared_error(predict(params, x), targets)

    new, losses = jax.lax.scan(step, params, None, length=steps + 1)
    return new, losses[:steps]


@fit_task.wrong("You collected the loss after each update; collect the one before it, of the parameters that came in.")
def loss_after(params: Any, x: Any, targets: Any, learning_rate: Any, steps: int) -> Any:
    def step(params: Any, _: Any) -> Any:
        new = update(params, gradients(params, x, targets), learning_rate)
        return new, mean_squared_error(predict(new, x), targets)

    return jax.lax.scan(step, params, None, length=steps)


@fit_task.wrong("Every step starts from the first parameters again: use the ones that the step is given, the carry.")
def carry_unused(params: Any, x: Any, targets: Any, learning_rate: Any, steps: int) -> Any:
    def step(carry: Any, _: Any) -> Any:
        new = update(params, gradients(params, x, targets), learning_rate)
        return new, mean_squared_error(predict(params, x), targets)

    return jax.lax.scan(step, params, None, length=steps)


@fit_task.wrong("The learning rate you were given is not used.")
def rate_ignored(params: Any, x: Any, targets: Any, learning_rate: Any, steps: int) -> Any:
    def step(params: Any, _: Any) -> Any:
        new = update(params, gradients(params, x, targets), 0.01)
        return new, mean_squared_error(predict(params, x), targets)

    return jax.lax.scan(step, params, None, length=steps)


@fit_task.wrong("You returned the parameters alone; return the losses too, as (params, losses).")
def no_losses(params: Any, x: Any, targets: Any, learning_rate: Any, steps: int) -> Any:
    for _ in range(min(steps, 5)):
        params = update(params, gradients(params, x, targets), learning_rate)
    return params


@fit_task.wrong("The pair is the wrong way round: the parameters first, then the losses.")
def swapped(params: Any, x: Any, targets: Any, learning_rate: Any, steps: int) -> Any:
    def step(params: Any, _: Any) -> Any:
        new = update(params, gradients(params, x, targets), learning_rate)
        return new, mean_squared_error(predict(params, x), targets)

    new, losses = jax.lax.scan(step, params, None, length=steps)
    return losses, new


@fit_task.wrong("You returned the last loss alone; return all of them, one per step.")
def last_loss(params: Any, x: Any, targets: Any, learning_rate: Any, steps: int) -> Any:
    def step(params: Any, _: Any) -> Any:
        new = update(params, gradients(params, x, targets), learning_rate)
        return new, mean_squared_error(predict(params, x), targets)

    new, losses = jax.lax.scan(step, params, None, length=steps)
    return new, losses[-1]
