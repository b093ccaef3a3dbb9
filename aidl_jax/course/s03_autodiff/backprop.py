"""Backpropagation by hand: what is asked, and how an answer is told from a wrong one.

The oracle is the complex step: `f(x + ih).imag / h` with a tiny h is the derivative of f to the last bit, and no table of
derivatives is in it (Squire and Trapp, *Using complex variables to estimate derivatives*, SIAM Review 40, 1998).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from aidl_jax.exercise import Draw, Exercise, Hints, Student, compare, function, static, vjp

if TYPE_CHECKING:  # wrong answers run where student code runs; these names are there
    import jax.numpy as jnp

    def run_tape(tape: Any, inputs: Any) -> Any: ...
    def local_derivatives(operation: Any, inputs: Any) -> Any: ...
    def product_gradients(x: Any, w: Any, upstream: Any) -> Any: ...
    def sigmoid(a: Any) -> Any: ...


AUTODIFF = """
    grad value_and_grad vjp jvp linearize linear_transpose jacobian jacfwd jacrev hessian experimental.jet interpreters
    example_libraries
"""
exercise = Exercise(
    "Backpropagation, one operation at a time",
    forbidden=[f"jax.{name}" for name in AUTODIFF.split()] + ["aidl_jax", "flax", "optax", "torch", "tensorflow"],
)

Tape = list[tuple[str, list[int]]]
TINY = 1e-30
OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "multiply": np.multiply,
    "divide": np.divide,
    "sin": np.sin,
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "relu": lambda a: np.where(np.real(a) > 0, a, 0),
}
ROUNDINGS = 8  # in a local derivative, at most


def slope(of: Callable[..., Any], inputs: list[Any], number: int) -> Any:
    """The derivative by one input, by the complex step."""
    moved = [one + 1j * TINY * (place == number) for place, one in enumerate(inputs)]
    return np.imag(of(*moved)) / TINY


# Local derivatives

local_task = exercise.task(
    "local_derivatives",
    points=3,
    hints=Hints(
        concept="One input is moved, the other one stands still and counts as a number. How does the formula in the table move? "
        "Those of two inputs have two answers, those of one input have one.",
        where="The lesson's section 'Local derivatives' has the table, with some rows done. In doubt, take numbers: let a go from 2 "
        "to 2.001, see by how much the output moves, and divide by 0.001.",
        almost_code='rows = {\n    "add": lambda a, b: [1.0, 1.0],\n    "divide": lambda a, b: [1 / b, ...],\n'
        '    "sin": lambda a: [...],\n    "relu": lambda a: [jnp.where(a > 0, ..., ...)],\n}\nreturn rows[operation](*inputs)',
    ),
)


def check_local(student: Student, operation: str, *inputs: np.ndarray) -> None:
    """The operation's local derivatives at these inputs."""
    expected = [slope(OPERATIONS[operation], list(inputs), number) for number in range(len(inputs))]
    compare(
        student.local_derivatives(static(operation), list(inputs)),
        expected,
        length=ROUNDINGS,
        magnitude=1 + max(np.abs(expected)),
    )


@local_task.check
def sums_and_products(student: Student, draw: Draw) -> None:
    """A sum moves as far as each of its inputs does; a product moves as many times as far as the other factor says."""
    a, b = draw.uniform(low=0.5, high=0.9), draw.uniform(low=1.1, high=2.0)
    check_local(student, "add", a, b)
    check_local(student, "multiply", a, b)


@local_task.check
def quotients(student: Student, draw: Draw) -> None:
    """A quotient rises with what is divided, and falls as the divisor rises."""
    check_local(student, "divide", draw.uniform(low=1.2, high=2.0), draw.uniform(low=0.5, high=0.8))


@local_task.check
def functions_of_one_input(student: Student, draw: Draw) -> None:
    """The derivatives of sin, exp, log and tanh."""
    for operation in ("sin", "exp", "log", "tanh"):
        check_local(student, operation, draw.uniform(low=0.3, high=0.8))


@local_task.check
def relu_and_its_kink(student: Student, draw: Draw) -> None:
    """relu lets through what is above 0, and nothing at 0 and below."""
    check_local(student, "relu", draw.uniform(low=1.2, high=2.0))
    check_local(student, "relu", draw.uniform(low=-2.0, high=-0.1))
    check_local(student, "relu", np.zeros(()))


@local_task.wrong(
    "The derivatives of a + b are 1 and 1, not its inputs: moved by a little, a moves the sum by just as much."
)
def inputs_of_the_sum(operation: Any, inputs: Any) -> Any:
    a, b = inputs if len(inputs) == 2 else (inputs[0], 1.0)
    return {
        "add": [a, b], "multiply": [b, a], "divide": [1 / b, -a / b**2], "sin": [jnp.cos(a)], "exp": [jnp.exp(a)],
        "log": [1 / a], "tanh": [1 - jnp.tanh(a) ** 2], "relu": [jnp.where(a > 0, 1.0, 0.0)],
    }[operation]  # fmt: skip


@local_task.wrong("1 is an integer for JAX, and a derivative is not: write 1.0.")
def integers(operation: Any, inputs: Any) -> Any:
    a, b = inputs if len(inputs) == 2 else (inputs[0], 1.0)
    return {
        "add": [1, 1], "multiply": [b, a], "divide": [1 / b, -a / b**2], "sin": [jnp.cos(a)], "exp": [jnp.exp(a)],
        "log": [1 / a], "tanh": [1 - jnp.tanh(a) ** 2], "relu": [jnp.where(a > 0, 1.0, 0.0)],
    }[operation]  # fmt: skip


@local_task.wrong("You added the local derivatives of a sum up to one number: return a list, with one for each input.")
def one_for_all_inputs(operation: Any, inputs: Any) -> Any:
    a, b = inputs if len(inputs) == 2 else (inputs[0], 1.0)
    return {
        "add": 2.0, "multiply": a + b, "divide": 1 / b - a / b**2, "sin": jnp.cos(a), "exp": jnp.exp(a),
        "log": 1 / a, "tanh": 1 - jnp.tanh(a) ** 2, "relu": jnp.where(a > 0, 1.0, 0.0),
    }[operation]  # fmt: skip


@local_task.wrong("The derivatives of a product are the wrong way round: of a * b, the one by a is b.")
def factors_swapped(operation: Any, inputs: Any) -> Any:
    a, b = inputs if len(inputs) == 2 else (inputs[0], 1.0)
    return {
        "add": [1.0, 1.0], "multiply": [a, b], "divide": [1 / b, -a / b**2], "sin": [jnp.cos(a)], "exp": [jnp.exp(a)],
        "log": [1 / a], "tanh": [1 - jnp.tanh(a) ** 2], "relu": [jnp.where(a > 0, 1.0, 0.0)],
    }[operation]  # fmt: skip


@local_task.wrong("A minus sign is missing: a / b falls when b rises, so its derivative by b is -a / b**2.")
def quotient_without_sign(operation: Any, inputs: Any) -> Any:
    a, b = inputs if len(inputs) == 2 else (inputs[0], 1.0)
    return {
        "add": [1.0, 1.0], "multiply": [b, a], "divide": [1 / b, a / b**2], "sin": [jnp.cos(a)], "exp": [jnp.exp(a)],
        "log": [1 / a], "tanh": [1 - jnp.tanh(a) ** 2], "relu": [jnp.where(a > 0, 1.0, 0.0)],
    }[operation]  # fmt: skip


@local_task.wrong("The derivative of a / b by b divides by b squared; you divided by b once.")
def quotient_without_square(operation: Any, inputs: Any) -> Any:
    a, b = inputs if len(inputs) == 2 else (inputs[0], 1.0)
    return {
        "add": [1.0, 1.0], "multiply": [b, a], "divide": [1 / b, -a / b], "sin": [jnp.cos(a)], "exp": [jnp.exp(a)],
        "log": [1 / a], "tanh": [1 - jnp.tanh(a) ** 2], "relu": [jnp.where(a > 0, 1.0, 0.0)],
    }[operation]  # fmt: skip


@local_task.wrong("The a is missing: the derivative of a / b by b is a times that of 1 / b.")
def quotient_of_one(operation: Any, inputs: Any) -> Any:
    a, b = inputs if len(inputs) == 2 else (inputs[0], 1.0)
    return {
        "add": [1.0, 1.0], "multiply": [b, a], "divide": [1 / b, -1 / b**2], "sin": [jnp.cos(a)], "exp": [jnp.exp(a)],
        "log": [1 / a], "tanh": [1 - jnp.tanh(a) ** 2], "relu": [jnp.where(a > 0, 1.0, 0.0)],
    }[operation]  # fmt: skip


@local_task.wrong(
    "The sign of cos is turned: the derivative of sin is cos. It is the derivative of cos that has a minus."
)
def minus_cosine(operation: Any, inputs: Any) -> Any:
    a, b = inputs if len(inputs) == 2 else (inputs[0], 1.0)
    return {
        "add": [1.0, 1.0], "multiply": [b, a], "divide": [1 / b, -a / b**2], "sin": [-jnp.cos(a)], "exp": [jnp.exp(a)],
        "log": [1 / a], "tanh": [1 - jnp.tanh(a) ** 2], "relu": [jnp.where(a > 0, 1.0, 0.0)],
    }[operation]  # fmt: skip


@local_task.wrong("exp is no power of a: a stands in the exponent, and the derivative of exp(a) is exp(a).")
def exp_as_a_power(operation: Any, inputs: Any) -> Any:
    a, b = inputs if len(inputs) == 2 else (inputs[0], 1.0)
    return {
        "add": [1.0, 1.0], "multiply": [b, a], "divide": [1 / b, -a / b**2], "sin": [jnp.cos(a)],
        "exp": [a * jnp.exp(a - 1)], "log": [1 / a], "tanh": [1 - jnp.tanh(a) ** 2],
        "relu": [jnp.where(a > 0, 1.0, 0.0)],
    }[operation]  # fmt: skip


@local_task.wrong("You used the output where the input belongs: the derivative of log(a) is 1 / a, not 1 / log(a).")
def one_over_the_output(operation: Any, inputs: Any) -> Any:
    a, b = inputs if len(inputs) == 2 else (inputs[0], 1.0)
    return {
        "add": [1.0, 1.0], "multiply": [b, a], "divide": [1 / b, -a / b**2], "sin": [jnp.cos(a)], "exp": [jnp.exp(a)],
        "log": [1 / jnp.log(a)], "tanh": [1 - jnp.tanh(a) ** 2], "relu": [jnp.where(a > 0, 1.0, 0.0)],
    }[operation]  # fmt: skip


@local_task.wrong("You squared the input where the output belongs: the derivative of tanh(a) is 1 - tanh(a)**2.")
def tanh_of_the_input(operation: Any, inputs: Any) -> Any:
    a, b = inputs if len(inputs) == 2 else (inputs[0], 1.0)
    return {
        "add": [1.0, 1.0], "multiply": [b, a], "divide": [1 / b, -a / b**2], "sin": [jnp.cos(a)], "exp": [jnp.exp(a)],
        "log": [1 / a], "tanh": [1 - a**2], "relu": [jnp.where(a > 0, 1.0, 0.0)],
    }[operation]  # fmt: skip


@local_task.wrong("The derivative of tanh is 1 - tanh(a)**2; the square is missing.")
def tanh_without_square(operation: Any, inputs: Any) -> Any:
    a, b = inputs if len(inputs) == 2 else (inputs[0], 1.0)
    return {
        "add": [1.0, 1.0], "multiply": [b, a], "divide": [1 / b, -a / b**2], "sin": [jnp.cos(a)], "exp": [jnp.exp(a)],
        "log": [1 / a], "tanh": [1 - jnp.tanh(a)], "relu": [jnp.where(a > 0, 1.0, 0.0)],
    }[operation]  # fmt: skip


@local_task.wrong("You returned what relu lets through, a, where its slope is asked for: 1 above 0, and 0 elsewhere.")
def relu_itself(operation: Any, inputs: Any) -> Any:
    a, b = inputs if len(inputs) == 2 else (inputs[0], 1.0)
    return {
        "add": [1.0, 1.0], "multiply": [b, a], "divide": [1 / b, -a / b**2], "sin": [jnp.cos(a)], "exp": [jnp.exp(a)],
        "log": [1 / a], "tanh": [1 - jnp.tanh(a) ** 2], "relu": [jnp.where(a > 0, a, 0.0)],
    }[operation]  # fmt: skip


@local_task.wrong("At the kink, relu has the slope 1 in yours. Either could be chosen; here it is 0, so ask for a > 0.")
def kink_lets_through(operation: Any, inputs: Any) -> Any:
    a, b = inputs if len(inputs) == 2 else (inputs[0], 1.0)
    return {
        "add": [1.0, 1.0], "multiply": [b, a], "divide": [1 / b, -a / b**2], "sin": [jnp.cos(a)], "exp": [jnp.exp(a)],
        "log": [1 / a], "tanh": [1 - jnp.tanh(a) ** 2], "relu": [jnp.where(a >= 0, 1.0, 0.0)],
    }[operation]  # fmt: skip


@local_task.wrong(
    "A Python `if` asks for a value that is not there while the function is traced: use jnp.where(a > 0, ...)."
)
def relu_by_if(operation: Any, inputs: Any) -> Any:
    a, b = inputs if len(inputs) == 2 else (inputs[0], 1.0)
    if operation == "relu":
        return [1.0 if a > 0 else 0.0]
    return {
        "add": [1.0, 1.0], "multiply": [b, a], "divide": [1 / b, -a / b**2], "sin": [jnp.cos(a)], "exp": [jnp.exp(a)],
        "log": [1 / a], "tanh": [1 - jnp.tanh(a) ** 2],
    }[operation]  # fmt: skip


# The way back

backward_task = exercise.task(
    "backward",
    points=3,
    needs=["local_derivatives"],
    hints=Hints(
        concept="Give every value a gradient: 1 to the last, 0 to all others. Go through the operations from the last to the first. "
        "Each hands on what it has got to each of its inputs, times the local derivative, and there it is added to what is there.",
        where="The lesson's section 'The way back'; run_tape and your own local_derivatives. The result of operation number `step` is "
        "value number len(inputs) + step; reversed(range(n)) counts down.",
        almost_code="values = run_tape(tape, inputs)\ngradients = [0.0] * (len(values) - 1) + [1.0]\n"
        "for step in reversed(range(len(tape))):\n    operation, sources = tape[step]\n"
        "    local = local_derivatives(operation, [values[source] for source in sources])\n"
        "    for source, derivative in zip(sources, local):\n        gradients[source] += ... * derivative\n"
        "return gradients[: len(inputs)]",
    ),
)


def output(tape: Tape, inputs: list[Any]) -> Any:
    """The last value of a tape, in NumPy."""
    values = list(inputs)
    for operation, sources in tape:
        values.append(OPERATIONS[operation](*(values[source] for source in sources)))
    return values[-1]


def ways(tape: Tape, inputs: list[Any]) -> np.ndarray:
    """How much may come back to an input at most: over all ways, the products of the local derivatives' sizes.

    One that is small may be the rest of a cancellation, as cos is near its zero; it counts as 1.
    """
    values, moved = list(inputs), list(np.eye(len(inputs)))
    for operation, sources in tape:
        of, given = OPERATIONS[operation], [values[source] for source in sources]
        sizes = [max(1.0, abs(slope(of, given, number))) for number in range(len(given))]
        moved.append(sum(size * moved[source] for size, source in zip(sizes, sources, strict=True)))
        values.append(of(*given))
    return moved[-1]


def check_tape(student: Student, tape: Tape, inputs: list[np.ndarray]) -> None:
    """The gradients of the tape's output by its inputs."""
    expected = [slope(lambda *given: output(tape, list(given)), inputs, number) for number in range(len(inputs))]
    compare(
        student.backward(static(tape), inputs),
        expected,
        length=ROUNDINGS * len(tape),
        magnitude=max(ways(tape, inputs)),
    )


@backward_task.check
def a_chain(student: Student, draw: Draw) -> None:
    """Through a chain, local derivatives are multiplied, from the last to the first; what is not used has the gradient 0."""
    check_tape(student, [("exp", [0])], [draw.uniform(low=0.3, high=0.9), draw.normal()])
    check_tape(student, [("exp", [0]), ("sin", [1]), ("tanh", [2])], [draw.uniform(low=0.1, high=0.3)])


@backward_task.check
def two_inputs(student: Student, draw: Draw) -> None:
    """An operation of two inputs passes a gradient to each of them."""
    a, b, c = (draw.uniform(low=low, high=low + 0.4) for low in (0.5, 1.1, 1.8))
    check_tape(student, [("divide", [1, 0]), ("multiply", [2, 3])], [a, b, c])


@backward_task.check
def used_twice(student: Student, draw: Draw) -> None:
    """To a value that is used twice, gradients come back in two ways and are added; also where it is a square."""
    a, b = draw.uniform(low=0.5, high=0.9), draw.uniform(low=1.1, high=1.5)
    check_tape(student, [("multiply", [0, 1]), ("sin", [0]), ("add", [2, 3])], [a, b])
    check_tape(student, [("log", [0]), ("multiply", [1, 1]), ("exp", [2])], [draw.uniform(low=1.5, high=2.0)])


@backward_task.check
def results_that_come_back_late(student: Student, draw: Draw) -> None:
    """A result hands on what it has got only when all who use it have had their turn, however far away they stand."""
    tape = [("exp", [0]), ("tanh", [2]), ("multiply", [2, 1]), ("divide", [4, 3]), ("relu", [5]), ("add", [6, 2])]
    check_tape(student, tape, [draw.uniform(low=0.2, high=0.6), draw.uniform(low=0.7, high=1.3)])


@backward_task.check
def what_the_output_does_not_depend_on(student: Student, draw: Draw) -> None:
    """An input that the output does not depend on has the gradient 0, even if something was computed from it."""
    check_tape(
        student, [("sin", [1]), ("multiply", [0, 1]), ("exp", [0])], [draw.uniform(low=0.2, high=0.9), draw.normal()]
    )


@backward_task.wrong("You took the tape from its beginning: no gradient has arrived there yet. Begin at its end.")
def from_the_beginning(tape: Any, inputs: Any) -> Any:
    values = run_tape(tape, inputs)
    gradients = [0.0] * (len(values) - 1) + [1.0]
    for step, (operation, sources) in enumerate(tape):
        local = local_derivatives(operation, [values[source] for source in sources])
        for source, derivative in zip(sources, local, strict=True):
            gradients[source] += gradients[len(inputs) + step] * derivative
    return [jnp.float32(gradient) for gradient in gradients[: len(inputs)]]


@backward_task.wrong(
    "You wrote over a gradient that was there: a value that is used twice gets two, and they are added."
)
def overwritten(tape: Any, inputs: Any) -> Any:
    values = run_tape(tape, inputs)
    gradients = [0.0] * (len(values) - 1) + [1.0]
    for step in reversed(range(len(tape))):
        operation, sources = tape[step]
        local = local_derivatives(operation, [values[source] for source in sources])
        for source, derivative in zip(sources, local, strict=True):
            gradients[source] = gradients[len(inputs) + step] * derivative
    return gradients[: len(inputs)]


@backward_task.wrong(
    "An operation that uses one value twice passes it one gradient only in yours: a dict or a set holds each source once."
)
def each_source_once(tape: Any, inputs: Any) -> Any:
    values = run_tape(tape, inputs)
    gradients = [0.0] * (len(values) - 1) + [1.0]
    for step in reversed(range(len(tape))):
        operation, sources = tape[step]
        local = local_derivatives(operation, [values[source] for source in sources])
        for source, derivative in dict(zip(sources, local, strict=True)).items():
            gradients[source] += gradients[len(inputs) + step] * derivative
    return gradients[: len(inputs)]


@backward_task.wrong("What arrives from above is left out: a local derivative is multiplied by the upstream gradient.")
def local_derivatives_alone(tape: Any, inputs: Any) -> Any:
    values = run_tape(tape, inputs)
    gradients = [0.0] * (len(values) - 1) + [1.0]
    for step in reversed(range(len(tape))):
        operation, sources = tape[step]
        local = local_derivatives(operation, [values[source] for source in sources])
        for source, derivative in zip(sources, local, strict=True):
            gradients[source] += derivative
    return gradients[: len(inputs)]


@backward_task.wrong("You added the upstream gradient and the local derivative: the chain rule multiplies them.")
def added_instead(tape: Any, inputs: Any) -> Any:
    values = run_tape(tape, inputs)
    gradients = [0.0] * (len(values) - 1) + [1.0]
    for step in reversed(range(len(tape))):
        operation, sources = tape[step]
        local = local_derivatives(operation, [values[source] for source in sources])
        for source, derivative in zip(sources, local, strict=True):
            gradients[source] += gradients[len(inputs) + step] + derivative
    return gradients[: len(inputs)]


@backward_task.wrong(
    "You took local derivatives at an operation's output: they are asked at its inputs, the values that it was given."
)
def at_the_output(tape: Any, inputs: Any) -> Any:
    values = run_tape(tape, inputs)
    gradients = [0.0] * (len(values) - 1) + [1.0]
    for step in reversed(range(len(tape))):
        operation, sources = tape[step]
        local = local_derivatives(operation, [values[len(inputs) + step] for _ in sources])
        for source, derivative in zip(sources, local, strict=True):
            gradients[source] += gradients[len(inputs) + step] * derivative
    return gradients[: len(inputs)]


@backward_task.wrong(
    "Nothing comes back, since nothing is sent: the output's gradient by itself is 1, and it is the last value's."
)
def begins_with_nothing(tape: Any, inputs: Any) -> Any:
    values = run_tape(tape, inputs)
    gradients = [jnp.zeros_like(value) for value in values]
    for step in reversed(range(len(tape))):
        operation, sources = tape[step]
        local = local_derivatives(operation, [values[source] for source in sources])
        for source, derivative in zip(sources, local, strict=True):
            gradients[source] += gradients[len(inputs) + step] * derivative
    return gradients[: len(inputs)]


@backward_task.wrong("You sent the output's value back; what is sent is its gradient by itself, 1.")
def sends_the_value(tape: Any, inputs: Any) -> Any:
    values = run_tape(tape, inputs)
    gradients = [0.0] * (len(values) - 1) + [values[-1]]
    for step in reversed(range(len(tape))):
        operation, sources = tape[step]
        local = local_derivatives(operation, [values[source] for source in sources])
        for source, derivative in zip(sources, local, strict=True):
            gradients[source] += gradients[len(inputs) + step] * derivative
    return gradients[: len(inputs)]


@backward_task.wrong(
    "All gradients begin with 1 in yours: only the output's does. The others begin with 0 and are added to."
)
def begins_with_ones(tape: Any, inputs: Any) -> Any:
    values = run_tape(tape, inputs)
    gradients = [1.0 for _ in values]
    for step in reversed(range(len(tape))):
        operation, sources = tape[step]
        local = local_derivatives(operation, [values[source] for source in sources])
        for source, derivative in zip(sources, local, strict=True):
            gradients[source] += gradients[len(inputs) + step] * derivative
    return gradients[: len(inputs)]


@backward_task.wrong(
    "The gradients of an operation's two inputs are swapped: the first local derivative is the first source's."
)
def sources_swapped(tape: Any, inputs: Any) -> Any:
    values = run_tape(tape, inputs)
    gradients = [0.0] * (len(values) - 1) + [1.0]
    for step in reversed(range(len(tape))):
        operation, sources = tape[step]
        local = local_derivatives(operation, [values[source] for source in sources])
        for source, derivative in zip(reversed(sources), local, strict=True):
            gradients[source] += gradients[len(inputs) + step] * derivative
    return gradients[: len(inputs)]


@backward_task.wrong(
    "You returned the gradients of all values; those of the inputs are asked for, the first len(inputs)."
)
def of_all_values(tape: Any, inputs: Any) -> Any:
    values = run_tape(tape, inputs)
    gradients = [0.0] * (len(values) - 1) + [1.0]
    for step in reversed(range(len(tape))):
        operation, sources = tape[step]
        local = local_derivatives(operation, [values[source] for source in sources])
        for source, derivative in zip(sources, local, strict=True):
            gradients[source] += gradients[len(inputs) + step] * derivative
    return gradients


# A matrix product

product_task = exercise.task(
    "product_gradients",
    points=2,
    hints=Hints(
        concept="Two matrix products, each of the gradient with the other factor, which has to be turned so that the right "
        "things meet: outputs meet outputs on the way to the examples, examples meet examples on the way to the weights.",
        where="The lesson's section 'A matrix product' has both sums. In a product of matrices, the last axis of the first is summed "
        "with the first axis of the second; `.T` swaps a matrix's two axes.",
        almost_code='return {"x": upstream @ ..., "w": ... @ upstream}',
    ),
)


def check_product(student: Student, x: np.ndarray, w: np.ndarray, upstream: np.ndarray) -> None:
    """Each element is the sum of the products that its indices tell."""
    pairs = {"x": ("ij,kj->ik", upstream, w), "w": ("ik,ij->kj", x, upstream)}
    compare(
        student.product_gradients(x, w, upstream),
        {name: np.einsum(formula, one, other) for name, (formula, one, other) in pairs.items()},
        magnitude={name: np.einsum(formula, abs(one), abs(other)) for name, (formula, one, other) in pairs.items()},
    )


@product_task.check
def square_matrices(student: Student, draw: Draw) -> None:
    """Where all matrices are square, no shape tells of a forgotten transpose; the values do."""
    check_product(student, draw.normal(3, 3), draw.normal(3, 3), draw.normal(3, 3))


@product_task.check
def other_shapes(student: Student, draw: Draw) -> None:
    """Each gradient has the shape of what it is the gradient of."""
    check_product(student, draw.normal(5, 3), draw.normal(3, 2), draw.normal(5, 2))


@product_task.wrong("Both transposes are missing: upstream @ w.T goes to x, and x.T @ upstream to w.")
def no_transposes(x: Any, w: Any, upstream: Any) -> Any:
    return {"x": upstream @ w, "w": x @ upstream}


@product_task.wrong("On the way to x, the transpose of w is missing: upstream @ w.T.")
def w_not_transposed(x: Any, w: Any, upstream: Any) -> Any:
    return {"x": upstream @ w, "w": x.T @ upstream}


@product_task.wrong("On the way to w, the transpose of x is missing: x.T @ upstream.")
def x_not_transposed(x: Any, w: Any, upstream: Any) -> Any:
    return {"x": upstream @ w.T, "w": x @ upstream}


@product_task.wrong("The order of the products matters: upstream stands before w.T, and after x.T.")
def wrong_order(x: Any, w: Any, upstream: Any) -> Any:
    return {"x": w.T @ upstream, "w": upstream @ x.T}


@product_task.wrong("The gradient of w is transposed: upstream.T @ x is [outputs, inputs]; w is [inputs, outputs].")
def w_gradient_transposed(x: Any, w: Any, upstream: Any) -> Any:
    return {"x": upstream @ w.T, "w": upstream.T @ x}


@product_task.wrong("The two gradients have each other's names: that of x is made with w, that of w is made with x.")
def names_swapped(x: Any, w: Any, upstream: Any) -> Any:
    return {"x": x.T @ upstream, "w": upstream @ w.T}


@product_task.wrong("You divided by the batch size: a mean is the loss's affair, and is in upstream already.")
def averaged(x: Any, w: Any, upstream: Any) -> Any:
    return {"x": upstream @ w.T, "w": x.T @ upstream / x.shape[0]}


@product_task.wrong(
    "You multiplied element by element, with *: a matrix product goes back through matrix products, with @."
)
def element_by_element(x: Any, w: Any, upstream: Any) -> Any:
    return {"x": upstream * w.T, "w": x.T * upstream}


# Three layers

network_task = exercise.task(
    "network",
    points=1,
    hints=Hints(
        concept="Three matrix products, one after the other. After the first and after the second, every number goes through the sigmoid.",
        where="The lesson's section 'Three layers' has the three formulas; sigmoid stands in the cell of the task.",
        almost_code='h1 = sigmoid(x @ params["W1"])\nh2 = sigmoid(... @ params["W2"])\nreturn ...',
    ),
)


def logistic(a: Any) -> Any:
    """The sigmoid in NumPy."""
    return 1 / (1 + np.exp(-a))


def outputs_of(params: Any, x: Any) -> Any:
    """The network in NumPy."""
    return logistic(logistic(x @ params["W1"]) @ params["W2"]) @ params["W3"]


def drawn_params(draw: Draw, *widths: int) -> Any:
    """Three matrices between layers of these widths."""
    return {f"W{n + 1}": draw.normal(*widths[n : n + 2]) for n in range(3)}


TERMS = 4 + 4 + 4 + 2 * ROUNDINGS  # sums over a layer's units, and the two sigmoids


def reach(params: Any, x: Any, upstream: Any) -> Any:
    """The most that could come back to each matrix if nothing cancelled, with room for what the forward pass has rounded.

    A sigmoid's output is at most 1, and so is its slope.
    """
    first, second, third = (np.abs(params[name]) for name in ("W1", "W2", "W3"))
    forward = 1 + np.max(np.abs(x) @ first) + np.max(np.sum(second, axis=0))
    up = np.abs(upstream)
    second_up = up @ third.T
    first_up = second_up @ second.T
    return {
        "W1": np.abs(x).T @ first_up * forward,
        "W2": np.broadcast_to(second_up.sum(axis=0), second.shape) * forward,
        "W3": np.broadcast_to(up.sum(axis=0), third.shape) * forward,
    }


def check_network(student: Student, params: Any, x: np.ndarray) -> None:
    """What the network makes of some examples."""
    rounded = 1 + np.max(np.abs(x) @ np.abs(params["W1"])) + np.max(np.abs(params["W2"]).sum(axis=0))
    size = np.abs(params["W3"]).sum(axis=0) * rounded
    expected = outputs_of(params, x)
    compare(student.network(params, x), expected, length=TERMS, magnitude=np.broadcast_to(size, expected.shape))


@network_task.check
def three_layers(student: Student, draw: Draw) -> None:
    """Two layers with a sigmoid, one without, each example for itself."""
    check_network(student, drawn_params(draw, 3, 3, 3, 3), draw.normal(3, 3))


@network_task.check
def layers_of_other_widths(student: Student, draw: Draw) -> None:
    """The layers may have any widths, and the batch any size."""
    check_network(student, drawn_params(draw, 2, 4, 3, 1), draw.normal(5, 2))


@network_task.wrong("There is a sigmoid after the last layer too: leave it out, so that outputs can be any numbers.")
def sigmoid_at_the_end(params: Any, x: Any) -> Any:
    return sigmoid(sigmoid(sigmoid(x @ params["W1"]) @ params["W2"]) @ params["W3"])


@network_task.wrong(
    "The sigmoids are missing: without them, three layers are no more than one, with W1 @ W2 @ W3 as its matrix."
)
def no_sigmoids(params: Any, x: Any) -> Any:
    return x @ params["W1"] @ params["W2"] @ params["W3"]


@network_task.wrong("The sigmoid after the second layer is missing.")
def second_sigmoid_missing(params: Any, x: Any) -> Any:
    return sigmoid(x @ params["W1"]) @ params["W2"] @ params["W3"]


@network_task.wrong(
    "You put the matrices first. Here examples are rows, so it is x @ W1; with columns it would be W1 @ x."
)
def matrices_first(params: Any, x: Any) -> Any:
    return params["W3"] @ sigmoid(params["W2"] @ sigmoid(params["W1"] @ x))


@network_task.wrong("You used tanh; the sigmoid goes from 0 to 1.")
def tanh_layers(params: Any, x: Any) -> Any:
    return jnp.tanh(jnp.tanh(x @ params["W1"]) @ params["W2"]) @ params["W3"]


gradients_task = exercise.task(
    "network_gradients",
    points=4,
    needs=["product_gradients", "network"],
    hints=Hints(
        concept="Run forward and keep the outputs of both hidden layers. Then go back: through the last product; through the second "
        "sigmoid; through the second product; through the first sigmoid; through the first product.",
        where="The lesson's section 'Three layers' and its drawing. Your product_gradients gives two things: the one under \"w\" is a "
        'gradient that is asked for, the one under "x" goes on. A sigmoid with output h multiplies it by h * (1 - h).',
        almost_code='third = product_gradients(h2, params["W3"], upstream)\n'
        'second = product_gradients(h1, params["W2"], third["x"] * ...)\n'
        'first = product_gradients(x, params["W1"], ...)\nreturn {"W1": first["w"], "W2": ..., "W3": ...}',
    ),
)


def moved(params: Any, x: np.ndarray, upstream: np.ndarray) -> Any:
    """The gradient of sum(upstream * network) by each element of each matrix, by the complex step."""
    found = {name: np.zeros(matrix.shape) for name, matrix in params.items()}
    for name, gradient in found.items():
        for place in np.ndindex(gradient.shape):
            step = np.zeros(gradient.shape, complex)
            step[place] = 1j * TINY
            changed = {**params, name: params[name] + step}
            gradient[place] = np.sum(upstream * outputs_of(changed, x)).imag / TINY
    return found


def check_gradients(student: Student, params: Any, x: np.ndarray, upstream: np.ndarray) -> None:
    """The gradients of all three matrices."""
    compare(
        student.network_gradients(params, x, upstream),
        moved(params, x, upstream),
        length=TERMS + len(x),
        magnitude=reach(params, x, upstream),
    )


@gradients_task.check
def through_square_matrices(student: Student, draw: Draw) -> None:
    """The gradients are the derivatives, also where all matrices are square and no shape tells of a slip."""
    check_gradients(student, drawn_params(draw, 3, 3, 3, 3), draw.normal(3, 3), draw.normal(3, 3))


@gradients_task.check
def through_other_widths(student: Student, draw: Draw) -> None:
    """The layers may have any widths, and the batch any size."""
    check_gradients(student, drawn_params(draw, 2, 4, 3, 1), draw.normal(5, 2), draw.normal(5, 1))


@gradients_task.check
def as_autodiff_finds_them(student: Student, draw: Draw) -> None:
    """The gradients are what JAX finds when it goes back through your own network."""
    params, x, upstream = drawn_params(draw, 2, 4, 3, 1), draw.normal(5, 2), draw.normal(5, 1)
    pull = vjp(function(lambda p: student.network(p, x)))
    expected, size = moved(params, x, upstream), reach(params, x, upstream)
    for asked in (student.network_gradients(params, x, upstream), pull((params,), upstream)[0]):
        compare(asked, expected, length=2 * (TERMS + len(x)), magnitude=size)


@gradients_task.wrong("The sigmoids' local derivatives are missing: multiply by h * (1 - h) on the way through each.")
def sigmoids_forgotten(params: Any, x: Any, upstream: Any) -> Any:
    h1 = sigmoid(x @ params["W1"])
    h2 = sigmoid(h1 @ params["W2"])
    third = product_gradients(h2, params["W3"], upstream)
    second = product_gradients(h1, params["W2"], third["x"])
    first = product_gradients(x, params["W1"], second["x"])
    return {"W1": first["w"], "W2": second["w"], "W3": third["w"]}


@gradients_task.wrong("The first sigmoid's local derivative is missing on the way to W1: multiply by h1 * (1 - h1).")
def first_sigmoid_forgotten(params: Any, x: Any, upstream: Any) -> Any:
    h1 = sigmoid(x @ params["W1"])
    h2 = sigmoid(h1 @ params["W2"])
    third = product_gradients(h2, params["W3"], upstream)
    second = product_gradients(h1, params["W2"], third["x"] * h2 * (1 - h2))
    first = product_gradients(x, params["W1"], second["x"])
    return {"W1": first["w"], "W2": second["w"], "W3": third["w"]}


@gradients_task.wrong("You took h * (1 - h) of a sigmoid's input: it holds for its output, h = sigmoid(a).")
def slope_from_the_input(params: Any, x: Any, upstream: Any) -> Any:
    a1 = x @ params["W1"]
    a2 = sigmoid(a1) @ params["W2"]
    third = product_gradients(sigmoid(a2), params["W3"], upstream)
    second = product_gradients(sigmoid(a1), params["W2"], third["x"] * a2 * (1 - a2))
    first = product_gradients(x, params["W1"], second["x"] * a1 * (1 - a1))
    return {"W1": first["w"], "W2": second["w"], "W3": third["w"]}


@gradients_task.wrong(
    "You took the sigmoid of what has been through it already: h1 and h2 are outputs, so it is h * (1 - h)."
)
def sigmoid_of_the_output(params: Any, x: Any, upstream: Any) -> Any:
    h1 = sigmoid(x @ params["W1"])
    h2 = sigmoid(h1 @ params["W2"])
    third = product_gradients(h2, params["W3"], upstream)
    second = product_gradients(h1, params["W2"], third["x"] * sigmoid(h2) * (1 - sigmoid(h2)))
    first = product_gradients(x, params["W1"], second["x"] * sigmoid(h1) * (1 - sigmoid(h1)))
    return {"W1": first["w"], "W2": second["w"], "W3": third["w"]}


@gradients_task.wrong("You went back through tanh, 1 - h**2; these layers are sigmoids, h * (1 - h).")
def slope_of_tanh(params: Any, x: Any, upstream: Any) -> Any:
    h1 = sigmoid(x @ params["W1"])
    h2 = sigmoid(h1 @ params["W2"])
    third = product_gradients(h2, params["W3"], upstream)
    second = product_gradients(h1, params["W2"], third["x"] * (1 - h2**2))
    first = product_gradients(x, params["W1"], second["x"] * (1 - h1**2))
    return {"W1": first["w"], "W2": second["w"], "W3": third["w"]}


@gradients_task.wrong("Upstream itself went to all three layers: the second gets what comes back through W3, the first what comes "
                      "back through W2 after that.")  # fmt: skip
def upstream_to_all(params: Any, x: Any, upstream: Any) -> Any:
    h1 = sigmoid(x @ params["W1"])
    h2 = sigmoid(h1 @ params["W2"])
    width = min(h1.shape[1], h2.shape[1], upstream.shape[1])
    return {
        "W1": x.T @ (upstream[:, :width] * h1[:, :width] * (1 - h1[:, :width])),
        "W2": h1.T @ (upstream[:, :width] * h2[:, :width] * (1 - h2[:, :width])),
        "W3": h2.T @ upstream,
    }


@gradients_task.wrong("The gradient of W2 is made with x: what went into the second layer is h1.")
def x_into_the_second_layer(params: Any, x: Any, upstream: Any) -> Any:
    h1 = sigmoid(x @ params["W1"])
    h2 = sigmoid(h1 @ params["W2"])
    third = product_gradients(h2, params["W3"], upstream)
    second = product_gradients(h1, params["W2"], third["x"] * h2 * (1 - h2))
    first = product_gradients(x, params["W1"], second["x"] * h1 * (1 - h1))
    return {"W1": first["w"], "W2": x.T @ (third["x"] * h2 * (1 - h2)), "W3": third["w"]}


@gradients_task.wrong(
    "The matrices that the gradient goes back through are not transposed: it is upstream @ W3.T, and then W2.T."
)
def not_transposed(params: Any, x: Any, upstream: Any) -> Any:
    h1 = sigmoid(x @ params["W1"])
    h2 = sigmoid(h1 @ params["W2"])
    second = (upstream @ params["W3"]) * h2 * (1 - h2)
    first = (second @ params["W2"]) * h1 * (1 - h1)
    return {"W1": x.T @ first, "W2": h1.T @ second, "W3": h2.T @ upstream}


@gradients_task.wrong(
    "Upstream is not used: it says how the loss moves with each output, and all gradients begin with it."
)
def upstream_unused(params: Any, x: Any, upstream: Any) -> Any:
    h1 = sigmoid(x @ params["W1"])
    h2 = sigmoid(h1 @ params["W2"])
    third = product_gradients(h2, params["W3"], jnp.ones_like(upstream))
    second = product_gradients(h1, params["W2"], third["x"] * h2 * (1 - h2))
    first = product_gradients(x, params["W1"], second["x"] * h1 * (1 - h1))
    return {"W1": first["w"], "W2": second["w"], "W3": third["w"]}


@gradients_task.wrong("You divided by the batch size: a mean is the loss's affair, and is in upstream already.")
def averaged_over_the_batch(params: Any, x: Any, upstream: Any) -> Any:
    h1 = sigmoid(x @ params["W1"])
    h2 = sigmoid(h1 @ params["W2"])
    third = product_gradients(h2, params["W3"], upstream / x.shape[0])
    second = product_gradients(h1, params["W2"], third["x"] * h2 * (1 - h2))
    first = product_gradients(x, params["W1"], second["x"] * h1 * (1 - h1))
    return {"W1": first["w"], "W2": second["w"], "W3": third["w"]}
