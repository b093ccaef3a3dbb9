"""The cookbook: verdicts on experiments with a model, where training's time goes, and what to improve next.

A wrong answer is known by all that a check has asked for, so `tells` asks for all of its cases before it looks at them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
    operations,
    require,
    static,
)
from aidl_jax.exercise.requests import lower

if TYPE_CHECKING:  # wrong answers run where student code runs; these names are there
    import math

    import jax
    import jax.numpy as jnp

    def iteration_time(stages: Any, prefetch: Any) -> Any: ...


exercise = Exercise("A cookbook for training", forbidden=["aidl_jax", "optax", "flax", "torch", "tensorflow"])

Stages = dict[str, float]
NAMES = ("disk", "preprocessing", "transfer", "model")


@dataclass(frozen=True)
class Case:
    """What is asked, what the answer is, and what a student reads of it."""

    asked: Expression
    expected: Any
    why: str


def tells(holds: Callable[[Any, Any], bool], *cases: Case) -> None:
    """Asks for all cases, then looks at the answers."""
    answers = [call(case.asked) for case in cases]
    for case, answer in zip(cases, answers, strict=True):
        if not holds(answer, case.expected):
            raise Failure("property", case.why, shown(answer), shown(case.expected), request=lower(case.asked))


def shown(answer: Any) -> str:
    """An answer in a message; a number with the digits that tell something."""
    return f"{answer:.6g}" if isinstance(answer, float) else repr(answer)[:200]


def same_word(answer: Any, expected: str) -> bool:
    """Whether it is this string."""
    return isinstance(answer, str) and answer == expected


def same_number(answer: Any, expected: float) -> bool:
    """Whether it is this number, of Python's or of NumPy's, but for the rounding of a few operations in float32."""
    if isinstance(answer, bool) or not isinstance(answer, int | float | np.ndarray | np.generic):
        return False
    number = np.asarray(answer)
    return number.shape == () and number.dtype.kind in "iuf" and bool(abs(number - expected) <= 1e-6 * expected)


# The start


start_task = exercise.task(
    "verdict_at_start",
    points=1,
    hints=Hints(
        concept="First sort out what is no number at all. Then take the loss of a model that knows nothing, and ask how far away from it the "
        "measured one is, as a share of it.",
        where="The lesson's section 'The loss before training'. `math.log` is the natural logarithm, `math.isfinite` is False for NaN and "
        "for the infinities; ask it before you compare anything.",
        almost_code="expected = math.log(...)\nif not math.isfinite(loss):\n    return 'not finite'\n"
        "if abs(loss - expected) <= ... * expected:\n    return 'fine'\nreturn 'too high' if ... else 'too low'",
    ),
)


def start(student: Student, loss: float, classes: int, verdict: str) -> Case:
    """A loss before training and the verdict that it deserves."""
    told = f"ln({classes}) is {np.log(classes):.3f}, so a loss of {loss:.3f} before training is {verdict}."
    return Case(student.verdict_at_start(static(loss), static(classes)), verdict, told)


def starts(student: Student, draw: Draw, classes: int) -> list[Case]:
    """A fine loss on either side, one that is too high, one that is too low."""
    shares = {
        "fine": (draw.uniform(low=0.85, high=0.95), draw.uniform(low=1.05, high=1.15)),
        "too high": (draw.uniform(low=1.25, high=1.4), draw.uniform(low=3, high=9)),
        "too low": (draw.uniform(low=0.6, high=0.75), draw.uniform(low=0.01, high=0.1)),
    }
    losses = [(float(share) * float(np.log(classes)), verdict) for verdict, two in shares.items() for share in two]
    return [start(student, loss, classes, verdict) for loss, verdict in losses]


@start_task.check
def ten_classes(student: Student, draw: Draw) -> None:
    """With ten classes the loss should be about 2.303; at most 20 % more or less is fine."""
    tells(same_word, *starts(student, draw, 10))


@start_task.check
def any_number_of_classes(student: Student, draw: Draw) -> None:
    """The same holds for two classes, and for many: 20 % of a large number is more."""
    many = int(draw.integers(500, 2000))
    tells(same_word, *starts(student, draw, 2), *starts(student, draw, many))


@start_task.check(draws=1)
def not_finite(student: Student, draw: Draw) -> None:
    """A loss that is NaN, or infinite, is told as such."""
    tells(same_word, *(start(student, float(loss), 10, "not finite") for loss in ("nan", "inf", "-inf")))


@start_task.wrong("You took the logarithm to the base 2; a loss has the natural one, math.log.")
def base_two(loss: Any, classes: Any) -> Any:
    expected = math.log2(classes)
    if not math.isfinite(loss):
        return "not finite"
    if abs(loss - expected) <= 0.2 * expected:
        return "fine"
    return "too high" if loss > expected else "too low"


@start_task.wrong("You compare with ln(1 / classes), which is below 0: the loss is minus that.")
def sign_forgotten(loss: Any, classes: Any) -> Any:
    expected = math.log(1 / classes)
    if not math.isfinite(loss):
        return "not finite"
    if abs(loss - expected) <= 0.2 * abs(expected):
        return "fine"
    return "too high" if loss > expected else "too low"


@start_task.wrong("You allow 0.2 for any number of classes: 20 % is a share, 0.2 * ln(classes).")
def not_a_share(loss: Any, classes: Any) -> Any:
    expected = math.log(classes)
    if not math.isfinite(loss):
        return "not finite"
    if abs(loss - expected) <= 0.2:
        return "fine"
    return "too high" if loss > expected else "too low"


@start_task.wrong("A loss that is too low is fine in yours: it is as suspicious as one that is too high.")
def low_is_fine(loss: Any, classes: Any) -> Any:
    if not math.isfinite(loss):
        return "not finite"
    return "too high" if loss > 1.2 * math.log(classes) else "fine"


@start_task.wrong(
    "A loss of NaN is fine in yours: NaN is neither larger nor smaller than anything, so it gets the answer that is left. Ask math.isfinite first."
)
def nan_is_fine(loss: Any, classes: Any) -> Any:
    if loss > 1.2 * math.log(classes):
        return "too high"
    return "too low" if loss < 0.8 * math.log(classes) else "fine"


@start_task.wrong(
    "A loss of NaN is too low in yours: NaN is not larger than anything, so it ends in the else. Ask math.isfinite first."
)
def nan_is_low(loss: Any, classes: Any) -> Any:
    expected = math.log(classes)
    if abs(loss - expected) <= 0.2 * expected:
        return "fine"
    return "too high" if loss > expected else "too low"


@start_task.wrong("You know NaN, but not the infinities: math.isnan is False for those, math.isfinite for both.")
def infinity_is_high(loss: Any, classes: Any) -> Any:
    expected = math.log(classes)
    if math.isnan(loss):
        return "not finite"
    if abs(loss - expected) <= 0.2 * expected:
        return "fine"
    return "too high" if loss > expected else "too low"


# One batch


overfit_task = exercise.task(
    "overfit_one_batch",
    points=3,
    hints=Hints(
        concept="One step takes parameters, gives new parameters and one loss, and is done again and again with what it gave. The loss "
        "that is kept is the one that the step began with.",
        where="The lesson's section 'Overfit one batch'. The parameters are what scan carries, the loss is what it keeps. `jax.value_and_grad(loss_fn)` is a "
        "function of params and batch, and differentiates by the first of them.",
        almost_code="def step(params, _):\n    loss, grads = jax.value_and_grad(loss_fn)(params, ...)\n"
        "    return jax.tree.map(lambda p, g: ..., params, grads), ...\nreturn jax.lax.scan(step, params, None, length=...)",
    ),
)

STEPS = 6


def bowl() -> Expression:
    """The loss x (w - t)^2, summed, plus b^2: each parameter comes nearer to its target by a factor of its own."""
    total, square = library("jax.numpy.sum"), library("jax.numpy.square")
    return function(
        lambda params, batch: total(batch[0] * square(params["layer"]["w"] - batch[1])) + square(params["layer"]["b"])
    )


@dataclass(frozen=True)
class Try:
    """Where a try begins; `x` and the rate are such that all steps lead downhill."""

    w: np.ndarray
    b: np.ndarray
    x: np.ndarray
    target: np.ndarray
    rate: np.ndarray

    def ask(self, student: Student, steps: int = STEPS) -> Expression:
        """The student's training."""
        params = {"layer": {"w": self.w, "b": self.b}}
        return student.overfit_one_batch(bowl(), params, (self.x, self.target), self.rate, static(steps))

    def after(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """w and b in closed form."""
        left = (1 - 2 * self.rate * self.x) ** steps
        return self.target + left * (self.w - self.target), self.b * (1 - 2 * self.rate) ** steps

    def loss(self, steps: int) -> float:
        """The loss after so many steps."""
        w, b = self.after(steps)
        return float(np.sum(self.x * (w - self.target) ** 2) + b**2)


def tried(draw: Draw) -> Try:
    """Parameters on one side of their targets, so that no loss is 0 by chance."""
    rate = draw.uniform(low=0.1, high=0.3)
    w, target = draw.uniform(3, low=-2.0, high=-1.0), draw.uniform(3, low=1.0, high=2.0)
    return Try(w, draw.uniform(low=1.0, high=2.0), draw.uniform(3, low=0.4, high=0.8), target, rate)


ROUNDED = (
    8 * STEPS
)  # operations on the way to one number, whose terms are sums of |w| + |target|, at most 4, weighted by x below 1
LARGEST = 3 * 4**2 + 2**2


@overfit_task.check
def trains_on_the_batch(student: Student, draw: Draw) -> None:
    """Each step goes against the gradient; each loss is the one before its step. The same batch at every step."""
    one = tried(draw)
    w, b = one.after(STEPS)
    losses = np.array([one.loss(steps) for steps in range(STEPS)])
    compare(one.ask(student), ({"layer": {"w": w, "b": b}}, losses), length=ROUNDED, magnitude=LARGEST)


@overfit_task.check(draws=1)
def is_one_loop(student: Student, draw: Draw) -> None:
    """What is traced does not grow with the number of steps: the loop is one operation of it."""
    one = tried(draw)
    few, many = (operations(one.ask(student, steps)) for steps in (STEPS, 60))
    require(
        many - few < 2 * (60 - STEPS),  # a step that is written out has more operations than that
        "What is traced grows with the number of steps: a Python loop is written out, once for each of them. Use jax.lax.scan.",
        got=f"{few} operations for {STEPS} steps, {many} for 60",
        expected="about as many for both",
    )


@overfit_task.wrong(
    "You keep the loss after each update; keep the one before it, so that the first is the loss before training."
)
def loss_after_the_step(loss_fn: Any, params: Any, batch: Any, learning_rate: Any, steps: Any) -> Any:
    def step(params: Any, _: Any) -> Any:
        params = jax.tree.map(lambda p, g: p - learning_rate * g, params, jax.grad(loss_fn)(params, batch))
        return params, loss_fn(params, batch)

    return jax.lax.scan(step, params, None, length=steps)


@overfit_task.wrong("You go uphill: subtract the gradient instead of adding it.")
def goes_uphill(loss_fn: Any, params: Any, batch: Any, learning_rate: Any, steps: Any) -> Any:
    def step(params: Any, _: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        return jax.tree.map(lambda p, g: p + learning_rate * g, params, grads), loss

    return jax.lax.scan(step, params, None, length=steps)


@overfit_task.wrong(
    "The gradient is taken once, where the training began: take a new one in each step, at the parameters that it has come to."
)
def one_gradient(loss_fn: Any, params: Any, batch: Any, learning_rate: Any, steps: Any) -> Any:
    grads = jax.grad(loss_fn)(params, batch)

    def step(params: Any, _: Any) -> Any:
        return jax.tree.map(lambda p, g: p - learning_rate * g, params, grads), loss_fn(params, batch)

    return jax.lax.scan(step, params, None, length=steps)


@overfit_task.wrong("Every step begins with the first parameters again: the new ones are what scan must carry.")
def old_params_carried(loss_fn: Any, params: Any, batch: Any, learning_rate: Any, steps: Any) -> Any:
    def step(carried: Any, _: Any) -> Any:
        return carried, loss_fn(carried, batch)

    losses = jax.lax.scan(step, params, None, length=steps)[1]
    return jax.tree.map(lambda p, g: p - learning_rate * g, params, jax.grad(loss_fn)(params, batch)), losses


@overfit_task.wrong("The pair is the other way round: first the parameters, then the losses.")
def pair_swapped(loss_fn: Any, params: Any, batch: Any, learning_rate: Any, steps: Any) -> Any:
    def step(params: Any, _: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        return jax.tree.map(lambda p, g: p - learning_rate * g, params, grads), loss

    params, losses = jax.lax.scan(step, params, None, length=steps)
    return losses, params


@overfit_task.wrong("Only the last loss is returned: keep one for each step.")
def last_loss_alone(loss_fn: Any, params: Any, batch: Any, learning_rate: Any, steps: Any) -> Any:
    def step(params: Any, _: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        return jax.tree.map(lambda p, g: p - learning_rate * g, params, grads), loss

    params, losses = jax.lax.scan(step, params, None, length=steps)
    return params, losses[-1]


@overfit_task.wrong(
    "A Python loop is written out while it is traced, and takes longer to compile with every step: use jax.lax.scan."
)
def python_loop(loss_fn: Any, params: Any, batch: Any, learning_rate: Any, steps: Any) -> Any:
    losses = []
    for _ in range(steps):
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        params = jax.tree.map(lambda p, g: p - learning_rate * g, params, grads)
        losses.append(loss)
    return params, jnp.stack(losses)


# The baseline


baseline_task = exercise.task(
    "baseline",
    points=2,
    hints=Hints(
        concept="Count how often each class comes and turn counts into shares. The shares are the best answer of whoever may not look; the loss "
        "is their entropy, and the best single guess is the class with the largest share.",
        where="The lesson's section 'A baseline'. jnp.bincount with length=classes counts; jnp.where keeps a share of 0 out of the "
        "logarithm.",
        almost_code="shares = jnp.bincount(labels, length=classes) / ...\n"
        "loss = -jnp.sum(shares * jnp.log(jnp.where(shares > 0, ..., 1.0)))\nreturn loss, ...",
    ),
)

CLASSES, EXAMPLES = 4, 14


def without_looking(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best loss and accuracy, each example's own term written out."""
    shares = np.array([np.mean(labels == label) for label in labels])
    return -np.mean(np.log(shares)), np.max(shares)


def check_baseline(student: Student, labels: np.ndarray) -> None:
    """Compares both numbers."""
    compare(
        student.baseline(labels.astype(np.int32), static(CLASSES)),
        without_looking(labels),
        length=EXAMPLES,
        magnitude=2.0,
    )


@baseline_task.check
def every_class_is_there(student: Student, draw: Draw) -> None:
    """The loss is the entropy of the labels; the accuracy is the share of the most frequent class."""
    frequent, rest = draw.integers(0, CLASSES), draw.integers(0, CLASSES, 4)
    labels = np.concatenate([np.arange(CLASSES), np.full(EXAMPLES - CLASSES - 4, frequent), rest])
    check_baseline(student, labels)


@baseline_task.check
def classes_are_missing(student: Student, draw: Draw) -> None:
    """A class that never comes adds nothing to the loss. With one class alone it is 0."""
    some = draw.permutation(CLASSES)
    check_baseline(student, np.repeat(some[:2], [9, EXAMPLES - 9]))
    check_baseline(student, np.full(EXAMPLES, some[0]))


@baseline_task.wrong("0 * log(0) is NaN for a class that never comes: keep 0 out of the logarithm with jnp.where.")
def nan_for_missing(labels: Any, classes: Any) -> Any:
    shares = jnp.bincount(labels, length=classes) / len(labels)
    return -jnp.sum(shares * jnp.log(shares)), jnp.max(shares)


@baseline_task.wrong(
    "ln(classes) is the loss of a model that knows nothing; this one knows how often each class comes."
)
def knows_nothing(labels: Any, classes: Any) -> Any:
    shares = jnp.bincount(labels, length=classes) / len(labels)
    return jnp.log(jnp.float32(classes)), jnp.max(shares)


@baseline_task.wrong("The sign is missing: logarithms of shares are below 0, a loss is above.")
def entropy_without_sign(labels: Any, classes: Any) -> Any:
    shares = jnp.bincount(labels, length=classes) / len(labels)
    return jnp.sum(shares * jnp.log(jnp.where(shares > 0, shares, 1.0))), jnp.max(shares)


@baseline_task.wrong(
    "The loss is a mean over the classes in yours: weigh each logarithm with the share of its class, and sum."
)
def not_weighted(labels: Any, classes: Any) -> Any:
    shares = jnp.bincount(labels, length=classes) / len(labels)
    return -jnp.mean(jnp.log(jnp.where(shares > 0, shares, 1.0))), jnp.max(shares)


@baseline_task.wrong("1 / classes is the accuracy of a blind guess; always naming the most frequent class is better.")
def blind_guess(labels: Any, classes: Any) -> Any:
    shares = jnp.bincount(labels, length=classes) / len(labels)
    return -jnp.sum(shares * jnp.log(jnp.where(shares > 0, shares, 1.0))), jnp.float32(1 / classes)


@baseline_task.wrong(
    "The sum of the squared shares is the accuracy of guessing each class as often as it comes; always naming the most frequent one is "
    "better."
)
def guesses_as_often(labels: Any, classes: Any) -> Any:
    shares = jnp.bincount(labels, length=classes) / len(labels)
    return -jnp.sum(shares * jnp.log(jnp.where(shares > 0, shares, 1.0))), jnp.sum(shares**2)


@baseline_task.wrong("You returned the most frequent class itself; its share of the examples is the accuracy.")
def class_itself(labels: Any, classes: Any) -> Any:
    shares = jnp.bincount(labels, length=classes) / len(labels)
    return -jnp.sum(shares * jnp.log(jnp.where(shares > 0, shares, 1.0))), jnp.argmax(shares)


@baseline_task.wrong("The pair is the other way round: first the loss, then the accuracy.")
def accuracy_first(labels: Any, classes: Any) -> Any:
    shares = jnp.bincount(labels, length=classes) / len(labels)
    return jnp.max(shares), -jnp.sum(shares * jnp.log(jnp.where(shares > 0, shares, 1.0)))


# The iteration


time_task = exercise.task(
    "iteration_time",
    points=1,
    hints=Hints(
        concept="Put the four stages into two groups, what gets a batch ready and what trains on it. One after the other they add up; side by "
        "side, the longer one counts.",
        where="The lesson's section 'How long does an iteration take?'. Python's `max` takes the larger of two numbers; `prefetch` decides.",
        almost_code='ingestion = stages["disk"] + ... + ...\nreturn max(ingestion, ...) if prefetch else ...',
    ),
)


def draw_stages(draw: Draw, **ms: tuple[int, int]) -> Stages:
    """Seconds, drawn in whole milliseconds."""
    return {name: int(draw.integers(*ms[name])) / 1000 for name in NAMES}


def feeding_is_slow(draw: Draw) -> Stages:
    """The ingestion is longer than the model, though none of its stages is."""
    return draw_stages(draw, disk=(21, 26), preprocessing=(26, 31), transfer=(16, 21), model=(31, 36))


def model_is_slow(draw: Draw) -> Stages:
    """The model is longer than the whole ingestion."""
    return draw_stages(draw, disk=(6, 11), preprocessing=(11, 16), transfer=(1, 6), model=(40, 60))


def disk_is_slow(draw: Draw) -> Stages:
    """The disk alone is longer than all the rest."""
    return draw_stages(draw, disk=(60, 80), preprocessing=(11, 16), transfer=(1, 6), model=(16, 21))


def transfer_is_slow(draw: Draw) -> Stages:
    """The copy is longer than any other stage."""
    return draw_stages(draw, disk=(11, 16), preprocessing=(1, 6), transfer=(40, 50), model=(16, 21))


def ingestion(stages: Stages) -> float:
    """Seconds until a batch is there."""
    return stages["disk"] + stages["preprocessing"] + stages["transfer"]


def ms(seconds: float) -> str:
    """Seconds as a student reads them."""
    return f"{1000 * seconds:.0f} ms"


def timed(student: Student, stages: Stages, prefetch: bool) -> Case:
    """An iteration whose time is asked for."""
    feed, model = ingestion(stages), stages["model"]
    expected = max(feed, model) if prefetch else feed + model
    how = "side by side, the longer of both counts" if prefetch else "one after the other, they add up"
    why = f"{ms(feed)} of ingestion and {ms(model)} of the model: {how}, {ms(expected)}."
    return Case(student.iteration_time(static(stages), static(prefetch)), expected, why)


@time_task.check
def adds_up_or_overlaps(student: Student, draw: Draw) -> None:
    """Without prefetch all stages add up; with it, the longer of ingestion and model counts."""
    drawn = [feeding_is_slow(draw), model_is_slow(draw), disk_is_slow(draw)]
    tells(same_number, *(timed(student, stages, prefetch) for prefetch in (False, True) for stages in drawn))


@time_task.wrong(
    "You add up all stages with prefetch, too: then ingestion and model run side by side, and the longer one counts."
)
def always_a_sum(stages: Any, prefetch: Any) -> Any:
    return sum(stages.values())


@time_task.wrong("You take the longer side without prefetch, too: then one waits for the other, and they add up.")
def always_the_longer(stages: Any, prefetch: Any) -> Any:
    return max(stages["disk"] + stages["preprocessing"] + stages["transfer"], stages["model"])


@time_task.wrong("prefetch is the wrong way round in yours: it is what makes ingestion and model overlap.")
def prefetch_swapped(stages: Any, prefetch: Any) -> Any:
    ingestion = stages["disk"] + stages["preprocessing"] + stages["transfer"]
    return ingestion + stages["model"] if prefetch else max(ingestion, stages["model"])


@time_task.wrong(
    "With prefetch you take the longest of four stages: three of them come one after the other, and are one side together."
)
def longest_of_four(stages: Any, prefetch: Any) -> Any:
    return max(stages.values()) if prefetch else sum(stages.values())


@time_task.wrong("With prefetch the ingestion is free in yours: it is hidden only as long as the model takes longer.")
def ingestion_is_free(stages: Any, prefetch: Any) -> Any:
    return stages["model"] if prefetch else sum(stages.values())


@time_task.wrong(
    "The transfer is forgotten: a batch must also come to the device, and that is a part of the ingestion."
)
def transfer_forgotten(stages: Any, prefetch: Any) -> Any:
    ingestion = stages["disk"] + stages["preprocessing"]
    return max(ingestion, stages["model"]) if prefetch else ingestion + stages["model"]


# The bottleneck


bottleneck_task = exercise.task(
    "bottleneck",
    points=2,
    hints=Hints(
        concept="Where nothing overlaps, every stage counts in full, so it is the longest of all. Where ingestion and model overlap, only the "
        "longer side counts: choose the side first, then the stage.",
        where="The lesson's section 'Which bottleneck?'. `max(some_dict, key=some_dict.get)` is the key of the largest value; `stages` "
        "without its model is a dict of three.",
        almost_code="ingestion = {name: seconds for name, seconds in stages.items() if name != ...}\n"
        'if prefetch and stages["model"] > sum(...):\n    return "model"\nlooked_at = ... if prefetch else stages\n'
        "return max(looked_at, key=looked_at.get)",
    ),
)


def named(student: Student, stages: Stages, prefetch: bool) -> Case:
    """A bottleneck that is asked for."""
    feed, model = ingestion(stages), stages["model"]
    side = [name for name in NAMES if (name == "model") == (model > feed)] if prefetch else NAMES
    expected = max(side, key=lambda name: stages[name])
    both = f"{ms(feed)} of ingestion and {ms(model)} of the model"
    where = (
        f"run side by side; on the longer side {expected} is longest"
        if prefetch
        else f"add up; {expected} is the longest stage"
    )
    return Case(student.bottleneck(static(stages), static(prefetch)), expected, f"{both} {where}.")


@bottleneck_task.check
def one_after_the_other(student: Student, draw: Draw) -> None:
    """Without prefetch the bottleneck is the longest of the four stages."""
    drawn = (feeding_is_slow(draw), model_is_slow(draw), disk_is_slow(draw), transfer_is_slow(draw))
    tells(same_word, *(named(student, stages, False) for stages in drawn))


@bottleneck_task.check
def side_by_side(student: Student, draw: Draw) -> None:
    """With prefetch it is the longest stage on the longer side, though the other side may have a longer one."""
    drawn = (feeding_is_slow(draw), model_is_slow(draw), disk_is_slow(draw), transfer_is_slow(draw))
    tells(same_word, *(named(student, stages, True) for stages in drawn))


@bottleneck_task.wrong(
    "You take the longest of all stages with prefetch, too: on the shorter side it is hidden, and curing it gains nothing."
)
def longest_always(stages: Any, prefetch: Any) -> Any:
    return max(stages, key=stages.get)


@bottleneck_task.wrong(
    "You look at the two sides without prefetch, too: then nothing is hidden, and the longest of the four stages is it."
)
def sides_always(stages: Any, prefetch: Any) -> Any:
    ingestion: Any = {name: seconds for name, seconds in stages.items() if name != "model"}
    return "model" if stages["model"] > sum(ingestion.values()) else max(ingestion, key=ingestion.get)


@bottleneck_task.wrong(
    "You name the stage on the shorter side with prefetch: what is hidden there costs nothing. Look at the longer one."
)
def shorter_side(stages: Any, prefetch: Any) -> Any:
    ingestion: Any = {name: seconds for name, seconds in stages.items() if name != "model"}
    if prefetch and stages["model"] < sum(ingestion.values()):
        return "model"
    looked_at = ingestion if prefetch else stages
    return max(looked_at, key=looked_at.get)


@bottleneck_task.wrong("'ingestion' is a side of three stages: say which of the three.")
def side_named(stages: Any, prefetch: Any) -> Any:
    ingestion: Any = {name: seconds for name, seconds in stages.items() if name != "model"}
    if prefetch:
        return "model" if stages["model"] > sum(ingestion.values()) else "ingestion"
    return max(stages, key=stages.get)


# The prediction


rate_task = exercise.task(
    "rate_after",
    points=2,
    needs=["iteration_time"],
    hints=Hints(
        concept="Make a new dict in which one stage has its new time, and ask how long an iteration takes then. In a second there are as many as "
        "this time fits into it.",
        where="The lesson's section 'What would it bring?'. Your own iteration_time knows what overlaps; `{**stages, name: seconds}` is a new dict.",
        almost_code="changed = {**stages, stage: ... * stages[stage]}\nreturn 1 / iteration_time(..., prefetch)",
    ),
)


def predicted(student: Student, stages: Stages, prefetch: bool, stage: str, factor: float) -> Case:
    """A change whose gain is asked for."""
    changed = stages | {stage: factor * stages[stage]}
    feed, model = ingestion(changed), changed["model"]
    seconds = max(feed, model) if prefetch else feed + model
    sides = f"{1000 * feed:.1f} ms of ingestion and {1000 * model:.1f} ms of the model"
    how = "side by side" if prefetch else "one after the other"
    why = f"If {stage} takes {factor:g} times as long, there are {sides}, {how}: {1000 * seconds:.1f} ms an iteration."
    return Case(student.rate_after(*map(static, (stages, prefetch, stage, factor))), 1 / seconds, why)


@rate_task.check
def one_stage_changed(student: Student, draw: Draw) -> None:
    """The iterations per second with the stage's new time, whether stages overlap or not."""
    feed, model = feeding_is_slow(draw), model_is_slow(draw)
    tells(
        same_number,
        predicted(student, feed, False, "preprocessing", 0.25),
        predicted(student, feed, False, "model", 2.0),
        predicted(student, feed, True, "preprocessing", 0.75),
        predicted(student, model, True, "model", 0.75),
    )


@rate_task.check
def there_is_a_limit(student: Student, draw: Draw) -> None:
    """With prefetch, nothing is gained below the other side's time, nor on the shorter side."""
    tells(
        same_number,
        predicted(student, feeding_is_slow(draw), True, "model", 0.25),
        predicted(student, disk_is_slow(draw), True, "disk", 0.0),
        predicted(student, model_is_slow(draw), True, "model", 0.125),
    )


@rate_task.check
def leaves_the_times_alone(student: Student, draw: Draw) -> None:
    """The dict that is passed in is afterwards what it was."""
    stages = disk_is_slow(draw)
    asked = function(lambda given: (student.rate_after(given, static(False), static("disk"), static(0.5)), given))
    after = call(asked(static(stages)))[1]
    require(after == stages, TIMES_CHANGED, got=after, expected=stages)


TIMES_CHANGED = "The dict that was passed in is changed afterwards, and with it what was measured: make a new one."


@rate_task.wrong("You returned the seconds of an iteration; how many there are in a second is 1 divided by that.")
def seconds_not_rate(stages: Any, prefetch: Any, stage: Any, factor: Any) -> Any:
    return iteration_time({**stages, stage: factor * stages[stage]}, prefetch)


@rate_task.wrong("You divide the whole iteration by the factor: the other stages take as long as before.")
def whole_iteration(stages: Any, prefetch: Any, stage: Any, factor: Any) -> Any:
    return 1 / (iteration_time(stages, prefetch) * factor)


@rate_task.wrong("You added up the stages with prefetch, too: ask your iteration_time.")
def predicts_a_sum(stages: Any, prefetch: Any, stage: Any, factor: Any) -> Any:
    return 1 / sum({**stages, stage: factor * stages[stage]}.values())


@rate_task.wrong(
    "You took the saved seconds off the iteration: with prefetch, what is saved on the shorter side, or below it, saves nothing."
)
def saved_seconds(stages: Any, prefetch: Any, stage: Any, factor: Any) -> Any:
    return 1 / (iteration_time(stages, prefetch) - (1 - factor) * stages[stage])


@rate_task.wrong("You took the factor as the share that is saved: it is the share that is left.")
def factor_as_saved(stages: Any, prefetch: Any, stage: Any, factor: Any) -> Any:
    return 1 / iteration_time({**stages, stage: (1 - factor) * stages[stage]}, prefetch)


@rate_task.wrong(TIMES_CHANGED)
def dict_changed(stages: Any, prefetch: Any, stage: Any, factor: Any) -> Any:
    stages[stage] *= factor
    return 1 / iteration_time(stages, prefetch)


# The gaps


gaps_task = exercise.task(
    "what_to_do",
    points=2,
    hints=Hints(
        concept="Two differences: training above the floor, validation above training. The larger one has a name, and four ideas that help "
        "against it; of those that you are given, keep these.",
        where="The lesson's section 'The gaps between the errors'. Two sets of strings in a dict, by the gap's name; a list "
        "comprehension with `if idea in ...` keeps the order.",
        almost_code='helps = {"avoidable bias": {"a larger model", ...}, "variance": {...}}\n'
        'larger = "avoidable bias" if train - floor > ... else "variance"\n'
        "return larger, [idea for idea in ideas if idea in helps[...]]",
    ),
)

BIAS = ("a larger model", "longer training", "a better optimizer", "less regularisation")
VARIANCE = ("more data", "augmentation", "more dropout", "earlier stopping")


def same_advice(answer: Any, expected: tuple[str, list[str]]) -> bool:
    """Whether it is this name and this list."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        return False
    name, ideas = answer
    return (
        same_word(name, expected[0])
        and isinstance(ideas, tuple | list)
        and list(map(repr, ideas)) == list(map(repr, expected[1]))
    )


def advised(student: Student, draw: Draw, errors: Sequence[int]) -> Case:
    """Errors in permille, and the eight ideas in a random order."""
    floor, train, validation = (error / 1000 for error in errors)
    ideas = [(*BIAS, *VARIANCE)[number] for number in draw.permutation(8)]
    larger = "avoidable bias" if errors[1] - errors[0] > errors[2] - errors[1] else "variance"
    help_ = [idea for idea in ideas if idea in (BIAS if larger == "avoidable bias" else VARIANCE)]
    why = (
        f"The avoidable bias is {100 * (train - floor):.1f} %, the variance {100 * (validation - train):.1f} %: the larger is "
        f"{larger}, and against it help, in this order: {', '.join(help_)}."
    )
    return Case(student.what_to_do(*map(static, (floor, train, validation, ideas))), (larger, help_), why)


def gaps(draw: Draw, bias: tuple[int, int], variance: tuple[int, int]) -> list[int]:
    """Three errors with gaps between these bounds, in permille."""
    floor = int(draw.integers(100, 150))
    train = floor + int(draw.integers(*bias))
    return [floor, train, train + int(draw.integers(*variance))]


@gaps_task.check
def the_larger_gap(student: Student, draw: Draw) -> None:
    """The larger gap and what helps against it, whichever it is."""
    tells(
        same_advice,
        advised(student, draw, gaps(draw, (60, 90), (20, 40))),
        advised(student, draw, gaps(draw, (10, 20), (60, 90))),
        advised(student, draw, gaps(draw, (0, 10), (20, 40))),
    )


@gaps_task.check
def a_gap_below_zero(student: Student, draw: Draw) -> None:
    """Where the training error is below the floor, or the validation error below the training error, that gap is below 0, and the smaller one."""
    tells(
        same_advice,
        advised(student, draw, gaps(draw, (60, 90), (20, 40))),
        advised(student, draw, gaps(draw, (-90, -60), (10, 40))),
        advised(student, draw, gaps(draw, (10, 40), (-90, -60))),
    )


@gaps_task.check
def some_of_the_ideas(student: Student, draw: Draw) -> None:
    """Of a few ideas those that help are kept; it may be none."""
    floor, train, validation = (error / 1000 for error in gaps(draw, (60, 90), (20, 40)))
    numbers = map(static, (floor, train, validation, list(VARIANCE[:2])))
    tells(
        same_advice,
        Case(student.what_to_do(*numbers), ("avoidable bias", []), "None of these ideas helps against avoidable bias."),
    )


@gaps_task.wrong("The variance starts at the training error, not at the floor: validation - train.")
def variance_from_the_floor(floor: Any, train: Any, validation: Any, ideas: Any) -> Any:
    bias = train - floor > validation - floor
    against_bias = ("a larger model", "longer training", "a better optimizer", "less regularisation")
    return "avoidable bias" if bias else "variance", [idea for idea in ideas if (idea in against_bias) == bias]


@gaps_task.wrong(
    "The whole training error counts as bias in yours: what is below the floor nobody can avoid, so take it off."
)
def floor_forgotten(floor: Any, train: Any, validation: Any, ideas: Any) -> Any:
    bias = train > validation - train
    against_bias = ("a larger model", "longer training", "a better optimizer", "less regularisation")
    return "avoidable bias" if bias else "variance", [idea for idea in ideas if (idea in against_bias) == bias]


@gaps_task.wrong("You compare the gaps without their signs: one below 0 is smaller than any above.")
def signs_dropped(floor: Any, train: Any, validation: Any, ideas: Any) -> Any:
    bias = abs(train - floor) > abs(validation - train)
    against_bias = ("a larger model", "longer training", "a better optimizer", "less regularisation")
    return "avoidable bias" if bias else "variance", [idea for idea in ideas if (idea in against_bias) == bias]


@gaps_task.wrong("You chose the smaller gap: there is most to gain in the larger one.")
def smaller_gap(floor: Any, train: Any, validation: Any, ideas: Any) -> Any:
    bias = train - floor < validation - train
    against_bias = ("a larger model", "longer training", "a better optimizer", "less regularisation")
    return "avoidable bias" if bias else "variance", [idea for idea in ideas if (idea in against_bias) == bias]


@gaps_task.wrong(
    "The ideas have changed places: what helps against variance does not help a model that cannot even learn its training set."
)
def ideas_swapped(floor: Any, train: Any, validation: Any, ideas: Any) -> Any:
    bias = train - floor > validation - train
    against_bias = ("a larger model", "longer training", "a better optimizer", "less regularisation")
    return "avoidable bias" if bias else "variance", [idea for idea in ideas if (idea in against_bias) != bias]


@gaps_task.wrong(
    "'more data' is against avoidable bias in yours: a model that cannot learn the examples it has will not be helped by more of them."
)
def data_against_bias(floor: Any, train: Any, validation: Any, ideas: Any) -> Any:
    bias = train - floor > validation - train
    against_bias = ("a larger model", "longer training", "a better optimizer", "less regularisation", "more data")
    return "avoidable bias" if bias else "variance", [idea for idea in ideas if (idea in against_bias) == bias]


@gaps_task.wrong(
    "'longer training' is against variance in yours: it learns the training set even better, and nothing else."
)
def longer_against_variance(floor: Any, train: Any, validation: Any, ideas: Any) -> Any:
    bias = train - floor > validation - train
    against_bias = ("a larger model", "a better optimizer", "less regularisation")
    return "avoidable bias" if bias else "variance", [idea for idea in ideas if (idea in against_bias) == bias]


@gaps_task.wrong("All ideas come back: keep those that help against the larger gap.")
def all_ideas(floor: Any, train: Any, validation: Any, ideas: Any) -> Any:
    return "avoidable bias" if train - floor > validation - train else "variance", ideas


@gaps_task.wrong("The ideas are in another order: keep the order in which they were given.")
def other_order(floor: Any, train: Any, validation: Any, ideas: Any) -> Any:
    bias = train - floor > validation - train
    against_bias = ("a larger model", "longer training", "a better optimizer", "less regularisation")
    return "avoidable bias" if bias else "variance", sorted(i for i in ideas if (i in against_bias) == bias)
