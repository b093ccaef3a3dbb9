"""Forward mode and what each way costs: the oracles in NumPy, and what is known to go wrong.

Tangents are checked by the complex step: `f(x + ih v).imag / h` with a tiny h is the derivative in the direction v to the last
bit (Squire and Trapp, *Using complex variables to estimate derivatives*, SIAM Review 40, 1998). It needs no rule of differentiation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from aidl_jax.exercise import (
    Draw,
    Exercise,
    Expression,
    Hints,
    Student,
    call,
    compare,
    function,
    library,
    require,
    static,
)

if TYPE_CHECKING:  # wrong answers run where student code runs; these names are there
    import jax.numpy as jnp

    def dual(operation: Any, duals: Any) -> Any: ...


AUTODIFF = """
    grad value_and_grad vjp jvp linearize linear_transpose jacobian jacfwd jacrev hessian experimental.jet interpreters
    example_libraries
"""
exercise = Exercise(
    "Forward mode, and which way is cheaper",
    forbidden=[f"jax.{name}" for name in AUTODIFF.split()] + ["aidl_jax", "flax", "optax", "torch", "tensorflow"],
)

Tape = list[tuple[str, list[int]]]
TINY = 1e-30
OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.divide,
    "sin": np.sin,
    "exp": np.exp,
}
ROUNDINGS = 8  # in one operation with dual numbers, at most


def slope(of: Callable[..., Any], point: list[Any], direction: list[Any]) -> Any:
    """The derivative in a direction, by the complex step."""
    moved = [one + 1j * TINY * speed for one, speed in zip(point, direction, strict=True)]
    return np.imag(of(*moved)) / TINY


# Dual numbers

dual_task = exercise.task(
    "dual",
    points=3,
    hints=Hints(
        concept="The value is computed as always. The tangent has a part for each input: how the result moves with it, times the "
        "tangent of that input; the parts are added.",
        where="The lesson's section 'Dual numbers' has the rules for products, quotients and functions. Sums and differences you find "
        "in the same way: write both pairs with an epsilon, and sort.",
        almost_code="(a, a_dot), (b, b_dot) = duals if len(duals) == 2 else (duals[0], duals[0])\n"
        'if operation == "multiply": return a * b, a_dot * ... + a * ...\n'
        'if operation == "sin": return jnp.sin(a), jnp.cos(a) * ...',
    ),
)


def check_dual(student: Student, operation: str, *duals: tuple[np.ndarray, np.ndarray]) -> None:
    """Value and tangent of one operation."""
    values, tangents = [value for value, _ in duals], [tangent for _, tangent in duals]
    of = OPERATIONS[operation]
    expected = of(*values), slope(of, values, tangents)
    alone = [
        abs(slope(of, values, [t * (n == m) for m, t in enumerate(tangents)])) + abs(t) for n, t in enumerate(tangents)
    ]
    compare(
        student.dual(static(operation), list(duals)),
        expected,
        length=ROUNDINGS,
        magnitude=(np.sum(np.abs(values)) + abs(expected[0]), np.sum(alone)),
    )


def drawn_dual(draw: Draw, low: float) -> tuple[np.ndarray, np.ndarray]:
    """A value a little above `low`, and a tangent."""
    return draw.uniform(low=low, high=low + 0.3), draw.uniform(low=low + 0.4, high=low + 0.9)


@dual_task.check
def sums_and_differences(student: Student, draw: Draw) -> None:
    """The tangents are added and subtracted as the values are."""
    check_dual(student, "add", drawn_dual(draw, 0.5), drawn_dual(draw, 1.5))
    check_dual(student, "subtract", drawn_dual(draw, 0.5), drawn_dual(draw, 1.5))


@dual_task.check
def products(student: Student, draw: Draw) -> None:
    """The tangent of a product has two parts, one for each factor that moves."""
    check_dual(student, "multiply", drawn_dual(draw, 0.5), drawn_dual(draw, 1.5))


@dual_task.check
def quotients(student: Student, draw: Draw) -> None:
    """A quotient moves with what is divided, and against the divisor."""
    check_dual(student, "divide", drawn_dual(draw, 0.5), drawn_dual(draw, 1.5))


@dual_task.check
def functions_of_one_input(student: Student, draw: Draw) -> None:
    """A function's derivative, times the tangent that comes in."""
    check_dual(student, "sin", drawn_dual(draw, 0.2))
    check_dual(student, "exp", drawn_dual(draw, 0.2))


@dual_task.wrong("In a difference, the tangents are subtracted like the values; you added them.")
def tangents_added_in_a_difference(operation: Any, duals: Any) -> Any:
    (a, a_dot), (b, b_dot) = duals if len(duals) == 2 else (duals[0], duals[0])
    return {
        "add": (a + b, a_dot + b_dot), "subtract": (a - b, a_dot + b_dot), "multiply": (a * b, a_dot * b + a * b_dot),
        "divide": (a / b, (a_dot - a / b * b_dot) / b), "sin": (jnp.sin(a), jnp.cos(a) * a_dot),
        "exp": (jnp.exp(a), jnp.exp(a) * a_dot),
    }[operation]  # fmt: skip


@dual_task.wrong(
    "You multiplied the two tangents: that is the part with epsilon squared, which is 0. A product moves by a_dot * b + a * b_dot."
)
def product_of_tangents(operation: Any, duals: Any) -> Any:
    (a, a_dot), (b, b_dot) = duals if len(duals) == 2 else (duals[0], duals[0])
    return {
        "add": (a + b, a_dot + b_dot), "subtract": (a - b, a_dot - b_dot), "multiply": (a * b, a_dot * b_dot),
        "divide": (a / b, (a_dot - a / b * b_dot) / b), "sin": (jnp.sin(a), jnp.cos(a) * a_dot),
        "exp": (jnp.exp(a), jnp.exp(a) * a_dot),
    }[operation]  # fmt: skip


@dual_task.wrong("In a product, each tangent belongs to the other factor's value: a_dot * b + a * b_dot.")
def tangents_with_their_own_values(operation: Any, duals: Any) -> Any:
    (a, a_dot), (b, b_dot) = duals if len(duals) == 2 else (duals[0], duals[0])
    return {
        "add": (a + b, a_dot + b_dot), "subtract": (a - b, a_dot - b_dot), "multiply": (a * b, a_dot * a + b * b_dot),
        "divide": (a / b, (a_dot - a / b * b_dot) / b), "sin": (jnp.sin(a), jnp.cos(a) * a_dot),
        "exp": (jnp.exp(a), jnp.exp(a) * a_dot),
    }[operation]  # fmt: skip


@dual_task.wrong("You moved the first factor alone: the second one has a tangent too, and a * b_dot is missing.")
def first_factor_alone(operation: Any, duals: Any) -> Any:
    (a, a_dot), (b, b_dot) = duals if len(duals) == 2 else (duals[0], duals[0])
    return {
        "add": (a + b, a_dot + b_dot), "subtract": (a - b, a_dot - b_dot), "multiply": (a * b, a_dot * b),
        "divide": (a / b, (a_dot - a / b * b_dot) / b), "sin": (jnp.sin(a), jnp.cos(a) * a_dot),
        "exp": (jnp.exp(a), jnp.exp(a) * a_dot),
    }[operation]  # fmt: skip


@dual_task.wrong("You divided the tangents by each other; a quotient moves by (a_dot - a / b * b_dot) / b.")
def quotient_of_tangents(operation: Any, duals: Any) -> Any:
    (a, a_dot), (b, b_dot) = duals if len(duals) == 2 else (duals[0], duals[0])
    return {
        "add": (a + b, a_dot + b_dot), "subtract": (a - b, a_dot - b_dot), "multiply": (a * b, a_dot * b + a * b_dot),
        "divide": (a / b, a_dot / b_dot), "sin": (jnp.sin(a), jnp.cos(a) * a_dot),
        "exp": (jnp.exp(a), jnp.exp(a) * a_dot),
    }[operation]  # fmt: skip


@dual_task.wrong(
    "A plus should be a minus: a quotient falls when its divisor rises, so its tangent is (a_dot - a / b * b_dot) / b."
)
def quotient_rises_with_the_divisor(operation: Any, duals: Any) -> Any:
    (a, a_dot), (b, b_dot) = duals if len(duals) == 2 else (duals[0], duals[0])
    return {
        "add": (a + b, a_dot + b_dot), "subtract": (a - b, a_dot - b_dot), "multiply": (a * b, a_dot * b + a * b_dot),
        "divide": (a / b, (a_dot + a / b * b_dot) / b), "sin": (jnp.sin(a), jnp.cos(a) * a_dot),
        "exp": (jnp.exp(a), jnp.exp(a) * a_dot),
    }[operation]  # fmt: skip


@dual_task.wrong(
    "The chain rule's factor is missing: a function's derivative is multiplied by the tangent that comes in, a_dot."
)
def factor_forgotten(operation: Any, duals: Any) -> Any:
    (a, a_dot), (b, b_dot) = duals if len(duals) == 2 else (duals[0], duals[0])
    return {
        "add": (a + b, a_dot + b_dot), "subtract": (a - b, a_dot - b_dot), "multiply": (a * b, a_dot * b + a * b_dot),
        "divide": (a / b, (a_dot - a / b * b_dot) / b), "sin": (jnp.sin(a), jnp.cos(a)),
        "exp": (jnp.exp(a), jnp.exp(a)),
    }[operation]  # fmt: skip


@dual_task.wrong(
    "You put the tangent into the function: sin and exp are for values; the tangent is multiplied by the derivative."
)
def function_of_the_tangent(operation: Any, duals: Any) -> Any:
    (a, a_dot), (b, b_dot) = duals if len(duals) == 2 else (duals[0], duals[0])
    return {
        "add": (a + b, a_dot + b_dot), "subtract": (a - b, a_dot - b_dot), "multiply": (a * b, a_dot * b + a * b_dot),
        "divide": (a / b, (a_dot - a / b * b_dot) / b), "sin": (jnp.sin(a), jnp.cos(a_dot)),
        "exp": (jnp.exp(a), jnp.exp(a_dot)),
    }[operation]  # fmt: skip


@dual_task.wrong("The pair is the wrong way round: the value comes first, then the tangent.")
def tangent_first(operation: Any, duals: Any) -> Any:
    (a, a_dot), (b, b_dot) = duals if len(duals) == 2 else (duals[0], duals[0])
    return {
        "add": (a_dot + b_dot, a + b), "subtract": (a_dot - b_dot, a - b), "multiply": (a_dot * b + a * b_dot, a * b),
        "divide": ((a_dot - a / b * b_dot) / b, a / b), "sin": (jnp.cos(a) * a_dot, jnp.sin(a)),
        "exp": (jnp.exp(a) * a_dot, jnp.exp(a)),
    }[operation]  # fmt: skip


# A directional derivative

directional_task = exercise.task(
    "directional_derivative",
    points=2,
    needs=["dual"],
    hints=Hints(
        concept="Begin with pairs of an input and its speed. Play the tape with pairs instead of numbers; the last pair has the answer.",
        where="The lesson's section 'A directional derivative', and your own dual. zip(point, direction) makes the pairs.",
        almost_code="values = list(zip(point, direction))\nfor operation, sources in tape:\n"
        "    values.append(dual(operation, [... for source in sources]))\nreturn values[-1][...]",
    ),
)


def output(tape: Tape, inputs: list[Any]) -> Any:
    """The last value of a tape, in NumPy."""
    values = list(inputs)
    for operation, sources in tape:
        values.append(OPERATIONS[operation](*(values[source] for source in sources)))
    return values[-1]


def most_moved(tape: Tape, point: list[Any], direction: list[Any]) -> Any:
    """How far the output would move if nothing cancelled, no operation slowing down what comes in."""
    values, moved = list(point), [np.abs(speed) for speed in direction]
    for operation, sources in tape:
        of, given = OPERATIONS[operation], [values[source] for source in sources]
        units = np.eye(len(given))
        moved.append(sum(max(1.0, abs(slope(of, given, list(unit)))) * moved[source]
                         for unit, source in zip(units, sources, strict=True)))  # fmt: skip
        values.append(of(*given))
    return moved[-1]


def check_direction(student: Student, tape: Tape, point: list[np.ndarray], direction: list[np.ndarray]) -> None:
    """The derivative of the tape's output in the direction."""
    compare(
        student.directional_derivative(static(tape), point, direction),
        slope(lambda *given: output(tape, list(given)), point, direction),
        length=ROUNDINGS * len(tape),
        magnitude=most_moved(tape, point, direction),
    )


@directional_task.check
def a_chain(student: Student, draw: Draw) -> None:
    """Through a chain of operations, the tangent is multiplied at each of them."""
    point = [draw.uniform(low=0.2, high=0.5), draw.uniform(low=0.1, high=0.3)]
    speeds = [draw.uniform(low=1.5, high=2.0), draw.uniform(low=0.5, high=0.8)]
    check_direction(student, [("add", [0, 1]), ("sin", [2]), ("exp", [3])], point, speeds)


@directional_task.check
def several_inputs(student: Student, draw: Draw) -> None:
    """All inputs move at the same time, each at its own speed."""
    point = [draw.uniform(low=low, high=low + 0.4) for low in (0.5, 1.1, 1.8)]
    speeds = [draw.uniform(low=low, high=low + 0.4) for low in (1.6, -0.8, 0.3)]
    check_direction(student, [("divide", [1, 0]), ("subtract", [3, 2]), ("multiply", [4, 3])], point, speeds)


@directional_task.check
def used_more_than_once(student: Student, draw: Draw) -> None:
    """A value may be used in several places, or twice in one."""
    point = [draw.uniform(low=0.5, high=0.9), draw.uniform(low=1.1, high=1.5)]
    speeds = [draw.uniform(low=1.2, high=1.7), draw.uniform(low=0.3, high=0.6)]
    tape = [("multiply", [0, 0]), ("sin", [0]), ("add", [2, 3]), ("multiply", [4, 1])]
    check_direction(student, tape, point, speeds)


@directional_task.wrong("You returned the output's value; its tangent is asked for, the second of the pair.")
def value_returned(tape: Any, point: Any, direction: Any) -> Any:
    values = list(zip(point, direction, strict=True))
    for operation, sources in tape:
        values.append(dual(operation, [values[source] for source in sources]))
    return values[-1][0]


@directional_task.wrong("You returned the whole pair; the tangent alone is asked for.")
def pair_returned(tape: Any, point: Any, direction: Any) -> Any:
    values = list(zip(point, direction, strict=True))
    for operation, sources in tape:
        values.append(dual(operation, [values[source] for source in sources]))
    return values[-1]


@directional_task.wrong(
    "All inputs move at the speed 1 in yours; the tangent of each is its own part of the direction."
)
def all_at_one_speed(tape: Any, point: Any, direction: Any) -> Any:
    values = [(value, jnp.ones_like(value)) for value in point]
    for operation, sources in tape:
        values.append(dual(operation, [values[source] for source in sources]))
    return values[-1][1]


@directional_task.wrong("The first input alone moves in yours: in a direction, all inputs move at the same time.")
def first_input_alone(tape: Any, point: Any, direction: Any) -> Any:
    values = [
        (value, speed * (number == 0)) for number, (value, speed) in enumerate(zip(point, direction, strict=True))
    ]
    for operation, sources in tape:
        values.append(dual(operation, [values[source] for source in sources]))
    return values[-1][1]


@directional_task.wrong(
    "You made the direction one of length 1. Leave it as it is: twice the speeds, twice the derivative."
)
def direction_normalised(tape: Any, point: Any, direction: Any) -> Any:
    length = jnp.sqrt(sum(speed**2 for speed in direction))
    values = [(value, speed / length) for value, speed in zip(point, direction, strict=True)]
    for operation, sources in tape:
        values.append(dual(operation, [values[source] for source in sources]))
    return values[-1][1]


@directional_task.wrong("You kept the values of results and lost their tangents: a result goes on the list as a pair.")
def tangents_lost(tape: Any, point: Any, direction: Any) -> Any:
    values = list(zip(point, direction, strict=True))
    for operation, sources in tape:
        value, tangent = dual(operation, [values[source] for source in sources])
        values.append((value, jnp.zeros_like(value)))
    return tangent


@directional_task.wrong("You took the last values each time: an operation uses those whose numbers stand on the tape.")
def always_the_last(tape: Any, point: Any, direction: Any) -> Any:
    values = list(zip(point, direction, strict=True))
    for operation, sources in tape:
        values.append(dual(operation, values[-len(sources) :]))
    return values[-1][1]


@directional_task.wrong("Point and direction are swapped: the point is the values, the direction the tangents.")
def point_and_direction_swapped(tape: Any, point: Any, direction: Any) -> Any:
    values = list(zip(direction, point, strict=True))
    for operation, sources in tape:
        values.append(dual(operation, [values[source] for source in sources]))
    return values[-1][1]


# What a Jacobian costs

costs_task = exercise.task(
    "jacobian_costs",
    points=2,
    hints=Hints(
        concept="First find what one run costs: it goes through all layers, and both ways pay the same for it. Then ask how many runs "
        "each way needs, a run for each of what?",
        where="The lesson's section 'When forward beats reverse' has an example with numbers. itertools.pairwise(widths) gives the "
        "pairs of neighbours.",
        almost_code="one_run = sum(before * after for before, after in itertools.pairwise(widths))\nreturn ... * one_run, ... * one_run",
    ),
)


def multiplications(rows: int, inner: int, columns: int) -> int:
    """What a product of a [rows, inner] and an [inner, columns] matrix takes."""
    return rows * inner * columns


def costs(widths: list[int]) -> tuple[int, int]:
    """Both ways, as products with all tangents or all gradients at once."""
    layers = list(itertools.pairwise(widths))
    forward = sum(multiplications(after, before, widths[0]) for before, after in layers)
    return forward, sum(multiplications(widths[-1], after, before) for before, after in layers)


def check_costs(student: Student, widths: list[int]) -> None:
    """Both numbers, exactly."""
    got = call(student.jacobian_costs(static(widths)))
    pair = isinstance(got, tuple | list) and len(got) == 2 and all(type(cost) in (int, np.int64) for cost in got)
    require(pair, "The answer is a pair of ints, for forward and for reverse mode.", got=got if got is not None else "None",
            expected=costs(widths))  # fmt: skip
    require(tuple(got) == costs(widths), "The numbers of multiplications are wrong.", got=got, expected=costs(widths))


@costs_task.check
def a_single_layer(student: Student, draw: Draw) -> None:
    """With one layer, each run takes one product."""
    inputs, outputs = 3 + draw.permutation(20)[:2]
    check_costs(student, [int(inputs), int(outputs)])


@costs_task.check
def several_layers(student: Student, draw: Draw) -> None:
    """A run goes through all layers, in either direction."""
    check_costs(student, (3 + draw.permutation(20)[:4]).tolist())


@costs_task.check
def a_loss(student: Student, draw: Draw) -> None:
    """A network that ends in a single number: reverse mode goes back once."""
    check_costs(student, [*(3 + draw.permutation(20)[:3]).tolist(), 1])


@costs_task.wrong("The two are swapped: forward mode needs a run for each input, reverse mode for each output.")
def ways_swapped(widths: Any) -> Any:
    one_run = sum(before * after for before, after in itertools.pairwise(widths))
    return widths[-1] * one_run, widths[0] * one_run


@costs_task.wrong(
    "That is what one run costs: forward mode needs one for each input, reverse mode one for each output."
)
def one_run_each(widths: Any) -> Any:
    one_run = sum(before * after for before, after in itertools.pairwise(widths))
    return one_run, one_run


@costs_task.wrong("You counted the runs; each of them costs the multiplications of all layers.")
def runs_alone(widths: Any) -> Any:
    return widths[0], widths[-1]


@costs_task.wrong(
    "You added the widths: a layer takes the product of its two widths, a multiplication for each number in its matrix."
)
def widths_added(widths: Any) -> Any:
    one_run = sum(before + after for before, after in itertools.pairwise(widths))
    return widths[0] * one_run, widths[-1] * one_run


@costs_task.wrong("You multiplied the layers' costs: a run goes through one layer after the other, so they are added.")
def layers_multiplied(widths: Any) -> Any:
    one_run = 1
    for before, after in itertools.pairwise(widths):
        one_run *= before * after
    return widths[0] * one_run, widths[-1] * one_run


@costs_task.wrong("A run is needed for each input or for each output; you took one for each of both.")
def runs_for_both(widths: Any) -> Any:
    one_run = sum(before * after for before, after in itertools.pairwise(widths))
    return widths[0] * widths[-1] * one_run, widths[0] * widths[-1] * one_run


@costs_task.wrong(
    "You left the first layer out in forward mode and the last one in reverse mode; a run goes through them all."
)
def a_layer_left_out(widths: Any) -> Any:
    layers = [before * after for before, after in itertools.pairwise(widths)]
    return widths[0] * sum(layers[1:]), widths[-1] * sum(layers[:-1])


# Checking a gradient

difference_task = exercise.task(
    "central_difference",
    points=2,
    hints=Hints(
        concept="Stand a step ahead of the point and a step behind it. How much does the function differ, and how far are the two apart?",
        where="The lesson's section 'Check a gradient' has the formula. A step times a direction is an array, like the point.",
        almost_code="ahead = f(point + step * direction)\nbehind = f(...)\nreturn (ahead - behind) / ...",
    ),
)


def curve(x: Any, at: Callable[[str, Any], Any]) -> Any:
    """The function sum(exp(sin(x))), its operations by their names."""
    return at("sum", at("exp", at("sin", x)))


def check_slope(student: Student, of: Callable[[Any, Callable[[str, Any], Any]], Any], draw: Draw) -> None:
    """The slope between the two sides, for a step that is long enough to tell it from the derivative."""
    point, direction = draw.uniform(4, low=0.1, high=0.5), draw.uniform(4, low=0.6, high=1.4)
    step = draw.uniform(low=0.2, high=0.4)

    def expressed(name: str, x: Any) -> Expression:
        return library(f"jax.numpy.{name}")(x)

    ahead, behind = (of(point + way * step * direction, lambda name, x: getattr(np, name)(x)) for way in (1, -1))
    compare(
        student.central_difference(function(lambda x: of(x, expressed)), point, direction, step),
        (ahead - behind) / (2 * step),
        length=ROUNDINGS + 4,
        magnitude=(abs(ahead) + abs(behind) + 4 * 4)
        / (2 * step),  # a point is rounded, and the slope is at most 4 or so
    )


@difference_task.check
def slope_between_two_sides(student: Student, draw: Draw) -> None:
    """The difference between a step ahead and a step behind, divided by how far these are apart."""
    check_slope(student, curve, draw)


@difference_task.check
def parabola(student: Student, draw: Draw) -> None:
    """Of a parabola, the central difference is the derivative itself, however long the step."""
    check_slope(student, lambda x, at: at("sum", at("square", x)), draw)


@difference_task.wrong("You went to one side only: (f(x + h d) - f(x)) / h bends with the function. Go to both sides.")
def one_sided(f: Any, point: Any, direction: Any, step: Any) -> Any:
    return (f(point + step * direction) - f(point)) / step


@difference_task.wrong("The two sides are two steps apart: divide by 2 * step.")
def divided_by_one_step(f: Any, point: Any, direction: Any, step: Any) -> Any:
    return (f(point + step * direction) - f(point - step * direction)) / step


@difference_task.wrong(
    "You halved the difference and did not divide by the step: a slope is a difference by a distance."
)
def halved_only(f: Any, point: Any, direction: Any, step: Any) -> Any:
    return (f(point + step * direction) - f(point - step * direction)) / 2


@difference_task.wrong("The sign is turned: it is ahead minus behind.")
def behind_minus_ahead(f: Any, point: Any, direction: Any, step: Any) -> Any:
    return (f(point - step * direction) - f(point + step * direction)) / (2 * step)


@difference_task.wrong("The direction is not used: you moved all elements by the same step.")
def without_direction(f: Any, point: Any, direction: Any, step: Any) -> Any:
    return (f(point + step) - f(point - step)) / (2 * step)


@difference_task.wrong("You went the whole direction instead of a step along it: point + step * direction.")
def without_step(f: Any, point: Any, direction: Any, step: Any) -> Any:
    return (f(point + direction) - f(point - direction)) / (2 * step)


@difference_task.wrong(
    "You went a direction of length 1. Leave it as it is, for the gradient is multiplied by the same one."
)
def unit_direction(f: Any, point: Any, direction: Any, step: Any) -> Any:
    direction = direction / jnp.sqrt(jnp.sum(direction**2))
    return (f(point + step * direction) - f(point - step * direction)) / (2 * step)


@difference_task.wrong("You divided by the step that you chose whatever it was given: the step is an argument, use it.")
def step_of_its_own(f: Any, point: Any, direction: Any, step: Any) -> Any:
    step = 1e-3
    return (f(point + step * direction) - f(point - step * direction)) / (2 * step)


# A well-chosen step

step_task = exercise.task(
    "best_step",
    points=2,
    hints=Hints(
        concept="Two errors, one that falls with the step and one that rises. Where their sum is smallest, its slope is zero: what one "
        "loses for a little more step, the other gains.",
        where="The lesson's section 'A well-chosen step' has the sum. The derivative of 1 / h is -1 / h**2, that of h**2 is 2 h. Bring "
        "both to one side, and a third root is left: jnp.cbrt.",
        almost_code="# -eps * |value| / h**2 + |third| * h / 3 = 0\nreturn jnp.cbrt(... * eps * jnp.abs(...) / jnp.abs(...))",
    ),
)


def check_step(student: Student, value: np.ndarray, third: np.ndarray, eps: np.ndarray) -> None:
    """The step at which the two errors together are smallest."""
    compare(student.best_step(value, third, eps), (3 * eps * abs(value) / abs(third)) ** (1 / 3), length=ROUNDINGS)


@step_task.check
def errors_in_balance(student: Student, draw: Draw) -> None:
    """Rounding and the formula's error together are smallest at it, in float32."""
    value, third = draw.uniform(low=2.0, high=4.0), draw.uniform(low=0.3, high=0.9)
    check_step(student, value, third, draw.uniform(low=0.6e-7, high=1.2e-7))


@step_task.check
def other_precisions(student: Student, draw: Draw) -> None:
    """It holds for float64, too, where rounding is a billion times smaller."""
    value, third = draw.uniform(low=0.3, high=0.9), draw.uniform(low=2.0, high=4.0)
    check_step(student, value, third, draw.uniform(low=1e-16, high=2.2e-16))


@step_task.check
def any_signs(student: Student, draw: Draw) -> None:
    """Errors have no sign: a negative value or third derivative changes nothing."""
    value, third = draw.uniform(low=2.0, high=4.0), draw.uniform(low=0.3, high=0.9)
    eps = draw.uniform(low=0.6e-7, high=1.2e-7)
    check_step(student, -value, third, eps)
    check_step(student, value, -third, eps)


@step_task.wrong("You took the square root: that is the best step to one side. To both sides it is a third root.")
def square_root(value: Any, third: Any, eps: Any) -> Any:
    return jnp.sqrt(eps * jnp.abs(value) / jnp.abs(third))


@step_task.wrong("As small as possible is not best: at eps itself, rounding is as large as what is measured.")
def as_small_as_possible(value: Any, third: Any, eps: Any) -> Any:
    return eps


@step_task.wrong("The factor 3 is missing: the derivative of h**2 / 6 is h / 3.")
def third_root_alone(value: Any, third: Any, eps: Any) -> Any:
    return jnp.cbrt(eps * jnp.abs(value) / jnp.abs(third))


@step_task.wrong("You made both errors equal. Where their sum is smallest their slopes are: that gives 3 instead of 6.")
def errors_equal(value: Any, third: Any, eps: Any) -> Any:
    return jnp.cbrt(6 * eps * jnp.abs(value) / jnp.abs(third))


@step_task.wrong("The fraction is upside down: a function that curves more needs a shorter step.")
def upside_down(value: Any, third: Any, eps: Any) -> Any:
    return jnp.cbrt(3 * eps * jnp.abs(third) / jnp.abs(value))


@step_task.wrong(
    "Value and third derivative are not used: a larger value allows a longer step, a larger curvature a shorter one."
)
def eps_alone(value: Any, third: Any, eps: Any) -> Any:
    return jnp.cbrt(3 * eps)


@step_task.wrong(
    "Signs got into the step: take the absolute values of both, since it is the errors' sizes that are weighed."
)
def signs_left_in(value: Any, third: Any, eps: Any) -> Any:
    return jnp.cbrt(3 * eps * value / third)


@step_task.wrong("The root is missing: at the smallest error, h**3 is 3 * eps * |value| / |third|.")
def without_root(value: Any, third: Any, eps: Any) -> Any:
    return 3 * eps * jnp.abs(value) / jnp.abs(third)


# What is held

held_task = exercise.task(
    "held_bytes",
    points=3,
    hints=Hints(
        concept="Go through the operations and collect which values each of them looks at. Collect them in a way that counts each only "
        "once, drop the inputs, and add up the sizes of the others.",
        where="The lesson's section 'What reverse mode has to hold' has the table. A Python set holds nothing twice. The result of operation "
        "number n has the number len(sizes) - len(tape) + n.",
        almost_code="held = set()\nfor output, (operation, sources) in enumerate(tape, start=len(sizes) - len(tape)):\n"
        '    if operation in ("multiply", ...): held |= set(...)\n    if operation in ("exp", "tanh"): held.add(...)\n'
        "return sum(4 * sizes[value] for value in held if value >= ...)",
    ),
)

BOTH_INPUTS, THE_INPUT, NOTHING = {0, 1}, {0}, set[int]()
LOOKS_AT: dict[str, tuple[set[int], bool]] = {  # which inputs, and whether the output
    "add": (NOTHING, False),
    "subtract": (NOTHING, False),
    "sum": (NOTHING, False),
    "multiply": (BOTH_INPUTS, False),
    "matmul": (BOTH_INPUTS, False),
    "divide": ({1}, True),
    "sin": (THE_INPUT, False),
    "exp": (NOTHING, True),
    "tanh": (NOTHING, True),
}


def bytes_held(tape: Tape, sizes: list[int]) -> int:
    """Asks of each computed value whether anybody looks at it."""
    inputs = len(sizes) - len(tape)

    def is_held(value: int) -> bool:
        by_others = any(n in LOOKS_AT[op][0] and one == value for op, sources in tape for n, one in enumerate(sources))
        return by_others or LOOKS_AT[tape[value - inputs][0]][1]

    return 4 * sum(sizes[value] for value in range(inputs, len(sizes)) if is_held(value))


def check_held(student: Student, tape: Tape, sizes: list[int]) -> None:
    """The bytes, exactly."""
    got = call(student.held_bytes(static(tape), static(sizes)))
    expected = bytes_held(tape, sizes)
    require(type(got) in (int, np.int64), "The answer is an int, a number of bytes.",
            got=got if got is not None else "None", expected=expected)  # fmt: skip
    require(got == expected, "The number of bytes is wrong.", got=int(got), expected=expected)


@held_task.check
def outputs(student: Student, draw: Draw) -> None:
    """`exp` and `tanh` look at their output, sums at nothing."""
    size = 10 + draw.integers(0, 90).item()
    check_held(student, [("exp", [0]), ("sum", [1])], [size, size, 1])
    check_held(student, [("tanh", [0]), ("add", [1, 0]), ("sum", [2])], [size, size, size, 1])


@held_task.check
def inputs(student: Student, draw: Draw) -> None:
    """`sin` and products look at their inputs; where these are inputs of the tape, they are in memory anyway."""
    size = 10 + draw.integers(0, 90).item()
    tape = [("multiply", [0, 1]), ("sin", [1]), ("subtract", [2, 3]), ("sum", [4])]
    check_held(student, tape, [size, 1, size, 1, size, 1])
    check_held(student, [("sum", [0]), ("sin", [1]), ("multiply", [0, 2])], [size, 1, 1, size])


@held_task.check
def quotients_and_their_divisor(student: Student, draw: Draw) -> None:
    """`divide` looks at what it divides by, and at its own output; not at what it divides."""
    size = 10 + draw.integers(0, 90).item()
    tape = [("add", [1, 1]), ("subtract", [0, 1]), ("divide", [2, 3]), ("sum", [4])]
    check_held(student, tape, [size, 1, 1, size, size, 1])


@held_task.check
def held_once(student: Student, draw: Draw) -> None:
    """A value that several operations look at is held once."""
    size = 10 + draw.integers(0, 90).item()
    tape = [("exp", [0]), ("sin", [1]), ("multiply", [2, 1]), ("sum", [3])]
    check_held(student, tape, [size, size, size, size, 1])
    check_held(student, [("add", [0, 1]), ("multiply", [2, 2]), ("sum", [3])], [size, size, size, size, 1])


@held_task.check
def a_network(student: Student, draw: Draw) -> None:
    """A network of three layers with tanh, on a batch: every hidden layer's output is held, for two operations."""
    batch, inputs, first, second, outputs = (5 + draw.permutation(20)[:5]).tolist()
    tape = [("matmul", [0, 1]), ("tanh", [4]), ("matmul", [5, 2]), ("tanh", [6]), ("matmul", [7, 3]), ("sum", [8])]
    widths = [inputs, first, second, outputs]
    matrices = [math.prod(pair) for pair in itertools.pairwise(widths)]
    layers = [batch * width for width in (first, first, second, second, outputs)]
    check_held(student, tape, [batch * inputs, *matrices, *layers, 1])


@held_task.wrong("You counted numbers; each float32 number takes 4 bytes.")
def numbers_counted(tape: Any, sizes: Any) -> Any:
    inputs, held = len(sizes) - len(tape), set()
    for output, (operation, sources) in enumerate(tape, start=inputs):
        held |= {*sources} if operation in ("multiply", "matmul", "sin") else set()
        held |= {output} if operation in ("exp", "tanh", "divide") else set()
        held |= {sources[1]} if operation == "divide" else set()
    return sum(sizes[value] for value in held if value >= inputs)


@held_task.wrong("You hold every value that is computed; only those that a local derivative looks at must be.")
def everything_held(tape: Any, sizes: Any) -> Any:
    return 4 * sum(sizes[len(sizes) - len(tape) :])


@held_task.wrong("You counted the tape's inputs too: they are in memory anyway.")
def inputs_counted(tape: Any, sizes: Any) -> Any:
    inputs, held = len(sizes) - len(tape), set()
    for output, (operation, sources) in enumerate(tape, start=inputs):
        held |= {*sources} if operation in ("multiply", "matmul", "sin") else set()
        held |= {output} if operation in ("exp", "tanh", "divide") else set()
        held |= {sources[1]} if operation == "divide" else set()
    return sum(4 * sizes[value] for value in held)


@held_task.wrong("A value that two operations look at is held once: you counted it for each of them.")
def counted_for_each(tape: Any, sizes: Any) -> Any:
    inputs, held = len(sizes) - len(tape), []
    for output, (operation, sources) in enumerate(tape, start=inputs):
        held += [*sources] if operation in ("multiply", "matmul", "sin") else []
        held += [output] if operation in ("exp", "tanh", "divide") else []
        held += [sources[1]] if operation == "divide" else []
    return sum(4 * sizes[value] for value in held if value >= inputs)


@held_task.wrong(
    "You hold the inputs of all operations that have a curve: `exp` and `tanh` look at their output instead."
)
def inputs_of_all(tape: Any, sizes: Any) -> Any:
    inputs, held = len(sizes) - len(tape), set()
    for output, (operation, sources) in enumerate(tape, start=inputs):
        held |= {*sources} if operation in ("multiply", "matmul", "sin", "exp", "tanh") else set()
        held |= {sources[1], output} if operation == "divide" else set()
    return sum(4 * sizes[value] for value in held if value >= inputs)


@held_task.wrong("You hold the output of `sin`: its derivative is the cosine of the input, so it looks at that.")
def output_of_sin(tape: Any, sizes: Any) -> Any:
    inputs, held = len(sizes) - len(tape), set()
    for output, (operation, sources) in enumerate(tape, start=inputs):
        held |= {*sources} if operation in ("multiply", "matmul") else set()
        held |= {output} if operation in ("exp", "tanh", "divide", "sin") else set()
        held |= {sources[1]} if operation == "divide" else set()
    return sum(4 * sizes[value] for value in held if value >= inputs)


@held_task.wrong(
    "You hold both inputs of `divide` and not its output: its derivatives are 1 / b and -q / b, so b and q are looked at."
)
def both_inputs_of_divide(tape: Any, sizes: Any) -> Any:
    inputs, held = len(sizes) - len(tape), set()
    for output, (operation, sources) in enumerate(tape, start=inputs):
        held |= {*sources} if operation in ("multiply", "matmul", "sin") else set()
        held |= {output} if operation in ("exp", "tanh") else set()
        held |= {*sources} if operation == "divide" else set()
    return sum(4 * sizes[value] for value in held if value >= inputs)


@held_task.wrong("The inputs of sums are held in yours: their local derivatives are 1 and look at nothing.")
def inputs_of_sums(tape: Any, sizes: Any) -> Any:
    inputs, held = len(sizes) - len(tape), set()
    for output, (operation, sources) in enumerate(tape, start=inputs):
        held |= {*sources} if operation in ("multiply", "matmul", "sin", "add", "subtract", "sum") else set()
        held |= {output} if operation in ("exp", "tanh", "divide") else set()
        held |= {sources[1]} if operation == "divide" else set()
    return sum(4 * sizes[value] for value in held if value >= inputs)
