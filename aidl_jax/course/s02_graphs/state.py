"""State, branches and loops in a graph: what is asked, and how an answer is told from a wrong one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from aidl_jax.exercise import (
    Draw,
    Exercise,
    Hints,
    Student,
    call,
    compare,
    float32_grid,
    function,
    library,
    operations,
    require,
    static,
)

if TYPE_CHECKING:  # wrong answers run where student code runs; these names are there
    import jax
    import jax.numpy as jnp


exercise = Exercise("State, branches and loops in a graph", forbidden=["aidl_jax.graph"])


# A variable


def variables(draw: Draw) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A state of three variables of different shapes and dtypes, and an amount for each of them."""
    state = {"v": draw.normal(), "w": draw.normal(3), "count": draw.integers(0, 9)}
    amounts = {"v": draw.normal(), "w": draw.normal(3), "count": draw.integers(1, 9)}
    return state, amounts


def terms(state: Any, name: str, amount: Any) -> Any:
    """The sum of the absolute values of what is added up, built as the pair that is compared."""
    sizes = {key: np.abs(array) for key, array in state.items()}
    return {**sizes, name: sizes[name] + np.abs(amount)}, sizes[name] + np.abs(amount)


add_task = exercise.task(
    "add",
    points=1,
    hints=Hints(
        concept="Nothing is written anywhere, so the state that goes out is the state that came in. The sum is only the result.",
        where="The lesson's section 'A variable', the first of its two programs. A function returns a pair with a comma.",
        almost_code="return ..., state[name] + ...",
    ),
)


@add_task.check
def the_result_is_the_sum(student: Student, draw: Draw) -> None:
    """The result is the variable's value plus the amount, and the variable keeps its value."""
    state, amounts = variables(draw)
    for name in state:
        compare(
            student.add(state, static(name), amounts[name]),
            (state, state[name] + amounts[name]),
            magnitude=terms(state, name, amounts[name]),
        )


@add_task.check
def leaves_what_it_was_given(student: Student, draw: Draw) -> None:
    """After the call, the dict that was passed in holds what it held before."""
    state, amounts = variables(draw)
    after = function(lambda given: {"answer": student.add(given, static("w"), amounts["w"]), "given": given})
    compare(after(state)["given"], state)


@add_task.wrong("The variable holds the sum afterwards. That is assign_add; here the state stays as it is.")
def assigned(state: Any, name: Any, amount: Any) -> Any:
    return {**state, name: state[name] + amount}, state[name] + amount


@add_task.wrong("You returned the sum alone: return a pair, first the state, then the sum.")
def result_alone(state: Any, name: Any, amount: Any) -> Any:
    return state[name] + amount


@add_task.wrong("The pair is the wrong way round: first the state, then the result.")
def result_first(state: Any, name: Any, amount: Any) -> Any:
    return state[name] + amount, state


@add_task.wrong("The result is the variable's old value: add the amount.")
def old_value(state: Any, name: Any, amount: Any) -> Any:
    return state, state[name]


@add_task.wrong("You always add to the variable 'v': the one that is meant is called `name`.")
def always_v(state: Any, name: Any, amount: Any) -> Any:
    return state, state["v"] + amount


@add_task.wrong("The sum is a float32 even where the variable holds int32: add the two as they are.")
def as_float(state: Any, name: Any, amount: Any) -> Any:
    return state, jnp.float32(state[name]) + amount


assign_task = exercise.task(
    "assign_add",
    points=1,
    hints=Hints(
        concept="The state that goes out is like the one that came in, except for one variable. The old one must stay as it is, so "
        "make another.",
        where="The lesson's section 'A variable', the second of its two programs. `{**state, key: value}` copies a dict and "
        "gives one key another value.",
        almost_code="total = state[name] + ...\nreturn {**state, ...: total}, ...",
    ),
)


@assign_task.check
def the_variable_holds_the_sum(student: Student, draw: Draw) -> None:
    """The variable holds the sum afterwards, which is the result, too; the other variables are as before."""
    state, amounts = variables(draw)
    for name in state:
        total = state[name] + amounts[name]
        compare(
            student.assign_add(state, static(name), amounts[name]),
            ({**state, name: total}, total),
            magnitude=terms(state, name, amounts[name]),
        )


@assign_task.check
def one_after_the_other(student: Student, draw: Draw) -> None:
    """The state that comes out can go in again: two additions add up."""
    state, amounts = variables(draw)
    first = function(lambda given: student.assign_add(given, static("v"), amounts["v"])[0])
    both = function(lambda given: student.assign_add(first(given), static("v"), amounts["v"]))
    total = state["v"] + 2 * amounts["v"]
    compare(
        both(state), ({**state, "v": total}, total), length=2, magnitude=terms(state, "v", 2 * np.abs(amounts["v"]))
    )


@assign_task.check
def leaves_the_old_state(student: Student, draw: Draw) -> None:
    """After the call, the dict that was passed in holds the old state."""
    state, amounts = variables(draw)
    after = function(lambda given: {"answer": student.assign_add(given, static("w"), amounts["w"]), "given": given})
    compare(after(state)["given"], state)


@assign_task.wrong("The variable keeps its old value: put the sum into the state that you return.")
def not_assigned(state: Any, name: Any, amount: Any) -> Any:
    return state, state[name] + amount


@assign_task.wrong(
    "You wrote into the dict that you were given. Whoever still needs the old state has lost it: make a new one, "
    "{**state, name: ...}."
)
def written_into(state: Any, name: Any, amount: Any) -> Any:
    state[name] = state[name] + amount
    return state, state[name]


@assign_task.wrong("The other variables are gone: the new state holds them, too, as they were.")
def others_lost(state: Any, name: Any, amount: Any) -> Any:
    return {name: state[name] + amount}, state[name] + amount


@assign_task.wrong("The result is the variable's old value: it should be the sum.")
def old_value_as_result(state: Any, name: Any, amount: Any) -> Any:
    return {**state, name: state[name] + amount}, state[name]


@assign_task.wrong("The variable holds the amount afterwards: you assigned it instead of adding it.")
def amount_assigned(state: Any, name: Any, amount: Any) -> Any:
    return {**state, name: amount}, state[name] + amount


@assign_task.wrong("You added the amount twice: once for the result, and once more for the variable.")
def added_twice(state: Any, name: Any, amount: Any) -> Any:
    total = state[name] + amount
    return {**state, name: total + amount}, total


@assign_task.wrong("You returned the state alone: return a pair, the new state and the sum.")
def state_alone(state: Any, name: Any, amount: Any) -> Any:
    return {**state, name: state[name] + amount}


# A branch


guarded_task = exercise.task(
    "guarded_step",
    points=2,
    hints=Hints(
        concept="Whether to take the step is itself a value in the graph, known when the graph runs. Both ways are written down, and "
        "that value says which of them is taken.",
        where="The lesson's section 'A branch: `cond`'. `jnp.isfinite` looks at each number, `jnp.all` makes one True or False of "
        "them. The two functions take no arguments; `lambda: w` is one.",
        almost_code="finite = jnp.all(...)\nreturn jax.lax.cond(finite, lambda: w - ..., lambda: ...)",
    ),
)


@guarded_task.check
def steps_if_all_is_finite(student: Student, draw: Draw) -> None:
    """If every number of the gradient is finite, it takes the step."""
    w, gradient, rate = draw.normal(4), draw.normal(4), draw.uniform(low=0.1, high=0.9)
    compare(
        student.guarded_step(w, gradient, rate),
        w - rate * gradient,
        length=2,
        magnitude=np.abs(w) + rate * np.abs(gradient),
    )


@guarded_task.check
def skips_a_broken_gradient(student: Student, draw: Draw) -> None:
    """If any number of the gradient is nan, inf or -inf, all of w stays as it is; the next step is taken again."""
    w, gradient, rate = draw.normal(4), draw.normal(4), draw.uniform(low=0.1, high=0.9)
    place = draw.integers(0, 4).item()
    step, size = w - rate * gradient, np.abs(w) + rate * np.abs(gradient)
    compare(student.guarded_step(w, gradient, rate), step, length=2, magnitude=size)
    compare(student.guarded_step(w, np.full(4, np.nan), rate), w)
    for broken in (np.nan, np.inf, -np.inf):
        gradient[place] = broken
        compare(student.guarded_step(w, gradient, rate), w)


@guarded_task.wrong(
    "`if` needs True or False while the function is traced, and there are no values yet: use jax.lax.cond."
)
def python_if(w: Any, gradient: Any, learning_rate: Any) -> Any:
    if jnp.all(jnp.isfinite(gradient)):
        return w - learning_rate * gradient
    return w


@guarded_task.wrong("You take the step if any number of the gradient is finite: all of them must be.")
def any_is_enough(w: Any, gradient: Any, learning_rate: Any) -> Any:
    finite = jnp.any(jnp.isfinite(gradient))
    return jax.lax.cond(finite, lambda: w - learning_rate * gradient, lambda: w)


@guarded_task.wrong("You look for nan only: inf and -inf break the weights, too. jnp.isfinite finds all three.")
def only_nan(w: Any, gradient: Any, learning_rate: Any) -> Any:
    broken = jnp.any(jnp.isnan(gradient))
    return jax.lax.cond(broken, lambda: w, lambda: w - learning_rate * gradient)


@guarded_task.wrong(
    "You skip the broken numbers only. If one of them is broken the others mean nothing: skip the whole step."
)
def number_by_number(w: Any, gradient: Any, learning_rate: Any) -> Any:
    return jnp.where(jnp.isfinite(gradient), w - learning_rate * gradient, w)


@guarded_task.wrong("The two branches are swapped: jax.lax.cond takes the first function where the condition is True.")
def branches_swapped(w: Any, gradient: Any, learning_rate: Any) -> Any:
    finite = jnp.all(jnp.isfinite(gradient))
    return jax.lax.cond(finite, lambda: w, lambda: w - learning_rate * gradient)


@guarded_task.wrong("You go uphill: subtract the step.")
def uphill(w: Any, gradient: Any, learning_rate: Any) -> Any:
    finite = jnp.all(jnp.isfinite(gradient))
    return jax.lax.cond(finite, lambda: w + learning_rate * gradient, lambda: w)


@guarded_task.wrong("A skipped step gives zeros: give back w as it was.")
def zeros_for_skipped(w: Any, gradient: Any, learning_rate: Any) -> Any:
    finite = jnp.all(jnp.isfinite(gradient))
    return jax.lax.cond(finite, lambda: w - learning_rate * gradient, lambda: jnp.zeros_like(w))


@guarded_task.wrong("You look at w instead of the gradient: it is the gradient that may be broken.")
def looks_at_w(w: Any, gradient: Any, learning_rate: Any) -> Any:
    finite = jnp.all(jnp.isfinite(w))
    return jax.lax.cond(finite, lambda: w - learning_rate * gradient, lambda: w)


# A loop over elements


smooth_task = exercise.task(
    "smooth",
    points=2,
    hints=Hints(
        concept="What one round hands to the next is the average. Each round makes a new one of it and of its loss, hands it on, and "
        "also collects it.",
        where="The lesson's section 'A loop over elements: `scan`'. Its example with the running sums is nearly the answer. "
        "The carry starts as `losses[0]`: the average of a number with itself is the number.",
        almost_code="def step(average, loss):\n    average = decay * ... + (1 - decay) * ...\n    return average, ...\n\n"
        "last, averages = jax.lax.scan(step, ..., losses)\nreturn ...",
    ),
)


def moving_average(losses: np.ndarray, decay: Any) -> np.ndarray:
    """The average after each loss, in float64."""
    averages = [losses[0]]
    for loss in losses[1:]:
        averages.append(decay * averages[-1] + (1 - decay) * loss)
    return np.array(averages)


@smooth_task.check
def moves_with_each_loss(student: Student, draw: Draw) -> None:
    """It starts at the first loss, and each further loss moves it a little."""
    losses, decay = draw.normal(6), draw.uniform(low=0.2, high=0.8)
    compare(
        student.smooth(losses, decay),
        moving_average(losses, decay),
        length=3 * 6,  # each round rounds a difference, two products and a sum
        magnitude=moving_average(np.abs(losses), decay),
    )


@smooth_task.check
def one_loss(student: Student, draw: Draw) -> None:
    """The average of a single loss is that loss."""
    losses = draw.normal(1)
    compare(student.smooth(losses, draw.uniform(low=0.2, high=0.8)), losses, length=3)


@smooth_task.check(draws=1)
def is_one_operation(student: Student, draw: Draw) -> None:
    """The graph does not grow with the number of losses: the loop is one operation of it."""
    few, many = (operations(student.smooth(np.ones(steps), np.array(0.5))) for steps in (5, 30))
    require(
        many - few < 2 * (30 - 5),  # a loop that is written out adds at least two products and a sum for each loss
        "The graph grows with the number of losses: a Python loop is written out, once for each of them. Use jax.lax.scan.",
        got=f"{few} operations for 5 losses, {many} for 30",
        expected="about as many for both",
    )


@smooth_task.wrong("decay and 1 - decay are swapped: decay is how much of the old average stays.")
def weights_swapped(losses: Any, decay: Any) -> Any:
    def step(average: Any, loss: Any) -> Any:
        average = (1 - decay) * average + decay * loss
        return average, average

    return jax.lax.scan(step, losses[0], losses)[1]


@smooth_task.wrong("Your average starts at 0: it starts at the first loss.")
def starts_at_zero(losses: Any, decay: Any) -> Any:
    def step(average: Any, loss: Any) -> Any:
        average = decay * average + (1 - decay) * loss
        return average, average

    return jax.lax.scan(step, jnp.zeros(()), losses)[1]


@smooth_task.wrong("Each round collects the average from before its loss: collect the new one.")
def collected_too_early(losses: Any, decay: Any) -> Any:
    def step(average: Any, loss: Any) -> Any:
        return decay * average + (1 - decay) * loss, average

    return jax.lax.scan(step, losses[0], losses)[1]


@smooth_task.wrong("You returned the last average only: return what the scan collected, the second of its pair.")
def last_only(losses: Any, decay: Any) -> Any:
    def step(average: Any, loss: Any) -> Any:
        average = decay * average + (1 - decay) * loss
        return average, average

    return jax.lax.scan(step, losses[0], losses)[0]


@smooth_task.wrong("You returned the scan's pair as it is: return what it collected, the second of the two.")
def whole_pair(losses: Any, decay: Any) -> Any:
    def step(average: Any, loss: Any) -> Any:
        average = decay * average + (1 - decay) * loss
        return average, average

    return jax.lax.scan(step, losses[0], losses)


@smooth_task.wrong(
    "Every loss is averaged with the first one: hand the new average on, as the first of the step's pair."
)
def never_handed_on(losses: Any, decay: Any) -> Any:
    def step(average: Any, loss: Any) -> Any:
        return average, decay * average + (1 - decay) * loss

    return jax.lax.scan(step, losses[0], losses)[1]


@smooth_task.wrong("The new loss counts whole: multiply it by 1 - decay.")
def not_weighted(losses: Any, decay: Any) -> Any:
    def step(average: Any, loss: Any) -> Any:
        average = decay * average + loss
        return average, average

    return jnp.concatenate([losses[:1], jax.lax.scan(step, losses[0], losses[1:])[1]])


@smooth_task.wrong("Your loop is one of Python's, which is written out once for every loss: use jax.lax.scan.")
def python_loop(losses: Any, decay: Any) -> Any:
    average, averages = losses[0], []
    for loss in losses:
        average = decay * average + (1 - decay) * loss
        averages.append(average)
    return jnp.stack(averages)


# A loop until something holds


rate_task = exercise.task(
    "safe_rate",
    points=2,
    hints=Hints(
        concept="What changes from round to round is the rate alone. The loop goes on as long as a step with it would make the loss "
        "larger; a round halves it.",
        where="The lesson's section 'A loop until something holds: `while_loop`'. Both functions take the rate. Call `loss` like any "
        "function, at w and at the place where the step would end.",
        almost_code="def too_large(rate):\n    return loss(w - rate * ...) > ...\n\n"
        "return jax.lax.while_loop(too_large, lambda rate: ..., rate)",
    ),
)


def check_rate(student: Student, draw: Draw, halvings: int) -> None:
    """From a rate that is `halvings` halvings too large, in a valley whose loss is c times the squared distance to its bottom.

    A step of rate r ends 1 - 2 * c * r times as far from the bottom as it began, so it climbs if c * r is above 1. The
    rates that are tried are far from that limit, so no rounding decides; and halving a float32 changes no digit.
    """
    c, bottom, w = draw.uniform(low=0.5, high=2.0), draw.normal(3), draw.normal(3)
    rate = float32_grid(draw.uniform(low=0.7, high=0.9) / c) * 2.0**halvings
    gradient = float32_grid(2 * c * (w - bottom))
    expected = rate
    while c * np.sum((w - expected * gradient - bottom) ** 2) > c * np.sum((w - bottom) ** 2):
        expected = expected / 2
    difference, square, total = (library(f"jax.numpy.{name}") for name in ("subtract", "square", "sum"))
    loss = function(lambda w: total(square(difference(w, bottom))) * c)
    compare(student.safe_rate(loss, w, gradient, rate), expected, atol=0.0, reason="halving a float32 is exact")


@rate_task.check
def halves_until_it_is_safe(student: Student, draw: Draw) -> None:
    """A rate that is too large is halved as often as it takes, once or many times."""
    check_rate(student, draw, 1)
    check_rate(student, draw, draw.integers(2, 12).item())


@rate_task.check
def keeps_a_rate_that_is_safe(student: Student, draw: Draw) -> None:
    """A rate with which the loss gets smaller at once stays as it is."""
    check_rate(student, draw, 0)


@rate_task.check
def stays_where_it_is_flat(student: Student, draw: Draw) -> None:
    """Where the gradient is zero, a step changes nothing, so the loss is not larger and the rate stays."""
    w, rate = draw.normal(3), draw.uniform(low=0.1, high=9.0)
    loss = function(lambda w: library("jax.numpy.sum")(library("jax.numpy.square")(w)))
    compare(student.safe_rate(loss, w, np.zeros(3), rate), rate, atol=0.0, reason="nothing is computed")


@rate_task.wrong(
    "`while` needs True or False while the function is traced, and there are no values yet: use jax.lax.while_loop."
)
def python_while(loss: Any, w: Any, gradient: Any, rate: Any) -> Any:
    while loss(w - rate * gradient) > loss(w):
        rate = rate / 2
    return rate


@rate_task.wrong("You halve once at most: go on as long as the loss gets larger.")
def halved_once(loss: Any, w: Any, gradient: Any, rate: Any) -> Any:
    return jax.lax.cond(loss(w - rate * gradient) > loss(w), lambda: rate / 2, lambda: rate)


@rate_task.wrong("You halve before you look: a rate that is safe at once must stay as it is.")
def halves_first(loss: Any, w: Any, gradient: Any, rate: Any) -> Any:
    return jax.lax.while_loop(lambda r: loss(w - r * gradient) > loss(w), lambda r: r / 2, rate / 2)


@rate_task.wrong("You halve once more than it takes: return the first rate that is safe.")
def one_more(loss: Any, w: Any, gradient: Any, rate: Any) -> Any:
    found = jax.lax.while_loop(lambda r: loss(w - r * gradient) > loss(w), lambda r: r / 2, rate)
    return jnp.where(found < rate, found / 2, found)


@rate_task.wrong("The condition is the wrong way round: the loop goes on while the loss gets larger.")
def wrong_way_round(loss: Any, w: Any, gradient: Any, rate: Any) -> Any:
    return jax.lax.while_loop(lambda r: loss(w - r * gradient) < loss(w), lambda r: r / 2, rate)


@rate_task.wrong("You try the step uphill, w + rate * gradient: subtract it.")
def tried_uphill(loss: Any, w: Any, gradient: Any, rate: Any) -> Any:
    return jax.lax.while_loop(lambda r: loss(w + r * gradient) > loss(w), lambda r: r / 2, rate)


@rate_task.wrong("You go on where the loss stays the same: it is not larger then, so stop.")
def goes_on_where_equal(loss: Any, w: Any, gradient: Any, rate: Any) -> Any:
    return jax.lax.while_loop(lambda r: (loss(w - r * gradient) >= loss(w)) & (r > 1e-30), lambda r: r / 2, rate)


@rate_task.wrong("You returned the place where the step ends: return the rate.")
def the_place(loss: Any, w: Any, gradient: Any, rate: Any) -> Any:
    return w - gradient * jax.lax.while_loop(lambda r: loss(w - r * gradient) > loss(w), lambda r: r / 2, rate)


@rate_task.wrong("You divide the rate by 10: halve it.")
def by_ten(loss: Any, w: Any, gradient: Any, rate: Any) -> Any:
    return jax.lax.while_loop(lambda r: loss(w - r * gradient) > loss(w), lambda r: r / 10, rate)


# How often it is traced


traces_task = exercise.task(
    "count_traces",
    points=3,
    hints=Hints(
        concept="Make of every call a note of all that the graph depends on, and of nothing else. Two calls with the same note share "
        "a graph. How many different notes are there?",
        where="The lesson's section 'How often is it traced?' lists what belongs on the note. An inner function that takes x and calls "
        "itself for the parts of a dict or list helps; `isinstance(x, dict)` tells which it is, `type(x)` gives a Python "
        "number's type. A set keeps each thing once, but only of things that cannot change: tuples, not lists.",
        almost_code="def signature(x):\n    if isinstance(x, tuple): return ...\n"
        "    if isinstance(x, dict): return 'dict', *((key, signature(...)) for key in sorted(...))\n"
        "    if isinstance(x, list): return 'list', *...\n    return type(...)\nreturn len({(signature(x), ...) for x, mode in calls})",
    ),
)

Calls = list[tuple[Any, Any]]


def traces_of(calls: Calls) -> int:
    """The answer: how many different signatures there are, each written as JSON with sorted keys."""

    def note(x: Any) -> Any:
        match x:
            case bool() | int() | float():
                return {"python": type(x).__name__}
            case (str(dtype), tuple(shape)):
                return {"array": dtype.replace("64", "32"), "of": shape}
            case dict():
                return {"dict": {key: note(part) for key, part in x.items()}}
        return [note(part) for part in x]

    return len({json.dumps([note(x), repr(mode)], sort_keys=True) for x, mode in calls})


def random_calls(draw: Draw, count: int) -> Calls:
    """Calls of a few kinds, so that some are alike in all that matters, and some in all but one thing."""
    picks = draw.integers(0, 2**30, count, 6).tolist()
    return [(_random_argument(pick[:5]), ("train", "test", 2, 3)[pick[5] % 4 if pick[5] % 3 else 0]) for pick in picks]


def _random_argument(pick: list[int]) -> Any:
    kind, first, second, third, order = pick

    def leaf(number: int) -> Any:
        arrays = [(dtype, shape) for dtype in ("float32", "int32", "float64") for shape in ((), (3,), (2, 3))]
        return [*arrays, 1, 2, 0.5, 2.0, True, False][number % 15]

    parts = [("w", leaf(first % 4)), ("b", leaf(second))]
    return [
        leaf(first),
        leaf(second),
        [leaf(first % 4), leaf(third)],
        [leaf(first % 4)],
        dict(parts if order % 2 else parts[::-1]),
        {"w": leaf(third), "more": [leaf(second % 4)]},
    ][kind % 6]


def check_count(student: Student, calls: Calls, because: str) -> None:
    """One list of calls and the sentence that says what is wrong with another answer."""
    got = call(student.count_traces(static(calls)))
    require(type(got) is int, "The answer is an int.", got=got if got is not None else "None")
    require(got == traces_of(calls), because, got=got, expected=traces_of(calls))


def array(dtype: str, *shape: int) -> tuple[str, tuple[int, ...]]:
    """An array as the lesson writes it."""
    return dtype, shape


@traces_task.check
def shapes_and_dtypes(student: Student, draw: Draw) -> None:
    """Another shape or dtype is another trace; an earlier one that comes back is not, and no calls are none."""
    rows, columns = draw.integers(2, 9, 2).tolist()
    x, narrow = array("float32", rows, columns), array("float32", columns)
    check_count(student, [(x, "train")] * 3, "Arrays of the same shape and dtype share one trace.")
    check_count(student, [(x, "train"), (narrow, "train")], "Each new shape is a new trace.")
    check_count(student, [(x, "train"), (array("int32", rows, columns), "train")], "Each new dtype is a new trace.")
    check_count(
        student,
        [(x, "train"), (narrow, "train"), (x, "train"), (narrow, "train")],
        "All graphs are kept: a shape that was there before is not traced again, whatever came in between.",
    )
    check_count(student, [], "Without a call there is no trace.")


@traces_task.check
def static_values(student: Student, draw: Draw) -> None:
    """Another value of a static argument is another trace."""
    x = array("float32", draw.integers(2, 9).item())
    modes = ["train", "test", "train", 2, 3, 2]
    check_count(student, [(x, mode) for mode in modes], "Each new value of a static argument is a new trace.")


@traces_task.check
def python_numbers(student: Student, draw: Draw) -> None:
    """Of a Python number the type counts, not the value; an array of shape () is something else."""
    one, other = draw.integers(2, 9).item(), draw.integers(10, 20).item()
    numbers = [(one, "train"), (other, "train"), (one, "train")]
    check_count(student, numbers, "The value of a Python number does not count, only its type.")
    check_count(
        student,
        [(one, "train"), (one + 0.5, "train"), (True, "train")],
        "An int, a float and a bool are three types, and three traces.",
    )
    check_count(
        student,
        [(one + 0.5, "train"), (array("float32"), "train")],
        "A Python float and a float32 array of shape () are not the same: two traces.",
    )


@traces_task.check
def narrow_types(student: Student, draw: Draw) -> None:
    """float64 comes in as float32, int64 as int32."""
    size = draw.integers(2, 9).item()
    for wide, narrow in (("float64", "float32"), ("int64", "int32")):
        calls: Calls = [(array(wide, size), "train"), (array(narrow, size), "train"), (array(wide, size), "train")]
        check_count(student, calls, f"JAX makes a {narrow} of a {wide}: one trace for both.")


@traces_task.check
def structures(student: Student, draw: Draw) -> None:
    """The structure counts: keys, lengths, nesting, list or dict; the order of a dict's keys does not."""
    x, y = array("float32", draw.integers(2, 5).item()), array("float32", draw.integers(6, 9).item())
    check_count(
        student,
        [({"w": x, "b": y}, "train"), ({"b": y, "w": x}, "train"), ({"w": x, "b": y}, "train")],
        "The order of a dict's keys does not count: one trace.",
    )
    check_count(student, [({"w": x}, "train"), ({"b": x}, "train")], "Dicts with other keys are another trace.")
    check_count(
        student,
        [([x, y], "train"), ({"a": x, "b": y}, "train"), ([x, [y]], "train")],
        "The same arrays in another structure are another trace.",
    )


@traces_task.check
def any_calls(student: Student, draw: Draw) -> None:
    """It holds for any calls."""
    check_count(student, random_calls(draw, 12), "This is not how often it is traced.")
    check_count(student, random_calls(draw, 30), "This is not how often it is traced.")


@traces_task.wrong("You count the calls: a call that fits an earlier trace is not traced again.")
def every_call(calls: Any) -> Any:
    return len(calls)


@traces_task.wrong("You look at the shapes only: arrays of another dtype are another trace.")
def shapes_only(calls: Any) -> Any:
    def signature(x: Any) -> Any:
        if isinstance(x, tuple):
            return x[1]
        if isinstance(x, dict):
            return tuple((key, signature(x[key])) for key in sorted(x))
        return ("list", *map(signature, x)) if isinstance(x, list) else type(x)

    return len({(signature(x), mode) for x, mode in calls})


@traces_task.wrong(
    "You compare each call with the one before it only. All graphs are kept, so compare it with all calls before it."
)
def last_call_only(calls: Any) -> Any:
    wide = {"float64": "float32", "int64": "int32"}

    def signature(x: Any) -> Any:
        if isinstance(x, tuple):
            return wide.get(x[0], x[0]), x[1]
        if isinstance(x, dict):
            return tuple((key, signature(x[key])) for key in sorted(x))
        return ("list", *map(signature, x)) if isinstance(x, list) else type(x)

    notes = [(signature(x), mode) for x, mode in calls]
    return sum(number == 0 or note != notes[number - 1] for number, note in enumerate(notes))


@traces_task.wrong("The static argument does not count with you: each of its values is built into a graph of its own.")
def static_forgotten(calls: Any) -> Any:
    wide = {"float64": "float32", "int64": "int32"}

    def signature(x: Any) -> Any:
        if isinstance(x, tuple):
            return wide.get(x[0], x[0]), x[1]
        if isinstance(x, dict):
            return tuple((key, signature(x[key])) for key in sorted(x))
        return ("list", *map(signature, x)) if isinstance(x, list) else type(x)

    return len({signature(x) for x, mode in calls})


@traces_task.wrong("You count each value of a Python number: it is an input of the graph, so only its type counts.")
def values_count(calls: Any) -> Any:
    wide = {"float64": "float32", "int64": "int32"}

    def signature(x: Any) -> Any:
        if isinstance(x, tuple):
            return wide.get(x[0], x[0]), x[1]
        if isinstance(x, dict):
            return tuple((key, signature(x[key])) for key in sorted(x))
        return ("list", *map(signature, x)) if isinstance(x, list) else repr(x)

    return len({(signature(x), mode) for x, mode in calls})


@traces_task.wrong("You make no difference between ints and floats: each type of number is a trace of its own.")
def numbers_alike(calls: Any) -> Any:
    wide = {"float64": "float32", "int64": "int32"}

    def signature(x: Any) -> Any:
        if isinstance(x, tuple):
            return wide.get(x[0], x[0]), x[1]
        if isinstance(x, dict):
            return tuple((key, signature(x[key])) for key in sorted(x))
        return ("list", *map(signature, x)) if isinstance(x, list) else "number"

    return len({(signature(x), mode) for x, mode in calls})


@traces_task.wrong(
    "You take a Python number for an array of shape (). An array has a dtype of its own, the number has none: two traces."
)
def numbers_as_arrays(calls: Any) -> Any:
    wide = {"float64": "float32", "int64": "int32"}
    number = {int: "int32", float: "float32", bool: "bool"}

    def signature(x: Any) -> Any:
        if isinstance(x, tuple):
            return wide.get(x[0], x[0]), x[1]
        if isinstance(x, dict):
            return tuple((key, signature(x[key])) for key in sorted(x))
        return ("list", *map(signature, x)) if isinstance(x, list) else (number[type(x)], ())

    return len({(signature(x), mode) for x, mode in calls})


@traces_task.wrong("You count float64 and float32 as two dtypes: JAX makes a float32 of both.")
def wide_types_too(calls: Any) -> Any:
    def signature(x: Any) -> Any:
        if isinstance(x, dict):
            return tuple((key, signature(x[key])) for key in sorted(x))
        return ("list", *map(signature, x)) if isinstance(x, list) else x if isinstance(x, tuple) else type(x)

    return len({(signature(x), mode) for x, mode in calls})


@traces_task.wrong("The order of a dict's keys counts with you: sort them first.")
def order_of_keys(calls: Any) -> Any:
    wide = {"float64": "float32", "int64": "int32"}

    def signature(x: Any) -> Any:
        if isinstance(x, tuple):
            return wide.get(x[0], x[0]), x[1]
        if isinstance(x, dict):
            return tuple((key, signature(part)) for key, part in x.items())
        return ("list", *map(signature, x)) if isinstance(x, list) else type(x)

    return len({(signature(x), mode) for x, mode in calls})


@traces_task.wrong("You compare the arrays and forget what they stand in: another structure is another trace.")
def leaves_only(calls: Any) -> Any:
    wide = {"float64": "float32", "int64": "int32"}

    def signature(x: Any) -> Any:
        if isinstance(x, tuple):
            return ((wide.get(x[0], x[0]), x[1]),)
        parts = [x[key] for key in sorted(x)] if isinstance(x, dict) else x if isinstance(x, list) else None
        return (type(x),) if parts is None else tuple(leaf for part in parts for leaf in signature(part))

    return len({(signature(x), mode) for x, mode in calls})
