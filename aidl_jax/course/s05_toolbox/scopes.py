"""Scopes: variables by name, shared ones, and a graph graded from the event file that TensorBoard would draw.

Which variables there are is asked first, then values for parameters that the check has drawn under those names,
then the scopes of the graph. So an error in a name is told as one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from aidl_jax.exercise import (
    Draw,
    Exercise,
    Expression,
    Hints,
    Student,
    SummaryGraph,
    apply,
    compare,
    function,
    grad,
    init,
    library,
    require,
    shapes,
    static,
    summary_graph,
    value,
)

if TYPE_CHECKING:  # wrong answers run where student code runs; these names are there
    import jax
    import jax.numpy as jnp

    conv_relu: Any = ...
    convolve: Any = ...
    image_filter: Any = ...
    model_loss: Any = ...

Tree = Any

exercise = Exercise("Scopes", forbidden=["aidl_jax.models", "aidl_jax.flax_modules", "flax", "torch", "tensorflow"])

FILTER = {
    "conv1/biases": [4],
    "conv1/weights": [3, 3, 1, 4],
    "conv2/biases": [2],
    "conv2/weights": [3, 3, 4, 2],
}
LAYER = {"biases": [2], "weights": [3, 3, 3, 2]}  # of one layer, from 3 channels to 2
TERMS = (9 * 1 + 1) + (9 * 4 + 1)  # that are added up on the way through both layers
NUMBERS = 2 * 4 * 4 * 2  # in what the filter makes of `draw_images`
BACK = TERMS + 9 * 2 + 2 * 4 * 4  # that are added up on the way through both layers and back to the first one's weights


def windows(images: np.ndarray, rows: int, columns: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """The images shifted to each place of a window, with zeros around them: the place, and the shifted images."""
    height, width = images.shape[1:3]
    padded = np.pad(images, ((0, 0), (rows // 2, rows // 2), (columns // 2, columns // 2), (0, 0)))
    return ((i, j, padded[:, i : i + height, j : j + width]) for i in range(rows) for j in range(columns))


def convolved(images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A convolution with zeros around the images: the sum over the window of shifted images times weights."""
    return sum(shifted @ weights[i, j] for i, j, shifted in windows(images, *weights.shape[:2]))


def layer(params: Tree, images: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a layer makes of images, and the sum of the terms' absolute values, given that of the images."""
    new = np.maximum(convolved(images, params["weights"]) + params["biases"], 0)
    return new, convolved(size, np.abs(params["weights"])) + np.abs(params["biases"])


def filtered(params: Tree, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the two layers make of images, and the sum of the terms' absolute values."""
    return layer(params["conv2"], *layer(params["conv1"], images, np.abs(images)))


def layer_gradients(
    weights: np.ndarray, images: np.ndarray, upstream: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """From the gradient of a layer's sums, those of its parameters and of its images."""
    of_weights = np.zeros(weights.shape)
    for i, j, shifted in windows(images, *weights.shape[:2]):
        of_weights[i, j] = np.einsum("bhwi,bhwo->io", shifted, upstream)
    turned = weights[::-1, ::-1].swapaxes(2, 3)  # what an image gives to the right of it comes back from there
    return {"biases": upstream.sum((0, 1, 2)), "weights": of_weights}, convolved(upstream, turned)


def filter_gradients(params: Tree, images: np.ndarray, upstream: np.ndarray, size: np.ndarray) -> tuple[Tree, Tree]:
    """By the chain rule from the gradient of the filter's outputs: those of its parameters, and the sums of absolute values.

    `size` is what the terms of `upstream` add up to in absolute value.
    """
    between, terms = layer(params["conv1"], images, np.abs(images))
    outputs, _ = layer(params["conv2"], between, terms)
    first, second = params["conv1"]["weights"], params["conv2"]["weights"]
    of_second, back = layer_gradients(second, between, upstream * (outputs > 0))
    of_first, _ = layer_gradients(first, images, back * (between > 0))
    second_size, back_size = layer_gradients(np.abs(second), terms, size * (outputs > 0))
    first_size, _ = layer_gradients(np.abs(first), np.abs(images), back_size * (between > 0))
    return {"conv1": of_first, "conv2": of_second}, {"conv1": first_size, "conv2": second_size}


def draw_images(draw: Draw, channels: int = 1) -> np.ndarray:
    """Two images of 4 by 4."""
    return draw.normal(2, 4, 4, channels)


def draw_params(draw: Draw) -> Tree:
    """Parameters of the filter; biases are positive, so that no channel is 0 everywhere."""
    tree: Tree = {}
    for name, shape in FILTER.items():
        scope, _, last = name.partition("/")
        drawn = (
            draw.uniform(*shape, low=-0.5, high=0.5) if last == "weights" else draw.uniform(*shape, low=0.2, high=1.0)
        )
        tree.setdefault(scope, {})[last] = drawn
    return tree


def bends_nearby(params: Tree, images: np.ndarray) -> bool:
    """Whether a sum in the filter is so near to 0 that rounding may decide on which side of the ReLU's bend it is."""
    between = convolved(images, params["conv1"]["weights"]) + params["conv1"]["biases"]
    outputs = convolved(np.maximum(between, 0), params["conv2"]["weights"]) + params["conv2"]["biases"]
    nearest = min(np.abs(between).min(), np.abs(outputs).min())
    return bool(nearest < 1e-4)  # in 300 draws rounding changed no sum by more than 1.4e-6


def draw_smooth(draw: Draw, count: int) -> tuple[Tree, list[np.ndarray]]:
    """Parameters of the filter and images, drawn anew until the filter has a gradient that rounding does not change."""
    while True:
        params, images = draw_params(draw), [draw_images(draw) for _ in range(count)]
        if not any(bends_nearby(params, one) for one in images):
            return params, images


def draw_targets(draw: Draw) -> np.ndarray:
    """Targets on both sides of anything that the filter makes, so far off that a square is not near its root."""
    return draw.uniform(2, 4, 4, 2, low=5.0, high=7.0) * np.resize([1.0, -1.0, -1.0], (2, 4, 4, 2))


def inside(scope: str) -> dict[str, list[int]]:
    """The filter's variables in another scope."""
    return {f"{scope}/{name}": shape for name, shape in FILTER.items()}


def leaves(tree: Tree, before: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a nested dict by their path."""
    for name, part in tree.items():
        yield from leaves(part, f"{before}{name}/") if isinstance(part, dict) else [(f"{before}{name}", part)]


def listed(variables: dict[str, list[int]]) -> str:
    """Variables with their shapes, a line for each."""
    return "\n".join(f"{name} {shape}" for name, shape in variables.items()) or "no variables"


def require_variables(made: Expression, expected: dict[str, list[int]]) -> Tree:
    """The parameters that a model asks for, which must be these and no others."""
    params, model_state = value(made)
    got = {name: list(array.shape) for name, array in sorted(leaves(params))}
    others = [name for name, _ in leaves(model_state)]
    require(not others, f"These variables are not trained: {', '.join(others)}. Leave trainable=... out.")
    require(
        got == expected, "These are not the variables that were asked for.", got=listed(got), expected=listed(expected)
    )
    return params


conv_task = exercise.task(
    "conv_relu",
    points=1,
    hints=Hints(
        concept="A layer asks for its variables by name and shape, in the scope that it was given, and computes with them as with "
        "any other arrays.",
        where="The lesson's section 'A model is a function of a scope' asks for weights. Which shape they have stands above "
        "`convolve`; biases are a vector, and their third argument is 0.0.",
        almost_code='weights = scope.get_variable("weights", (3, 3, ..., channels))\n'
        'biases = scope.get_variable("biases", ..., 0.0)\nreturn jax.nn.relu(convolve(...) + ...)',
    ),
)


def one_layer(student: Student) -> Expression:
    """`conv_relu` with 2 channels, as a model."""
    return function(lambda scope, images: student.conv_relu(scope, images, static(2)))


def draw_layer(draw: Draw) -> Tree:
    """Parameters of one layer, from 3 channels to 2."""
    return {"biases": draw.normal(2), "weights": draw.normal(3, 3, 3, 2)}


@conv_task.check(draws=1)
def asks_for_weights_and_biases(student: Student, draw: Draw) -> None:
    """It asks the scope that it is given for `weights` and `biases`, in the right shapes, and for nothing else."""
    images = draw_images(draw, channels=3)
    require_variables(shapes(one_layer(student))(images), LAYER)


@conv_task.check
def convolves_adds_and_cuts(student: Student, draw: Draw) -> None:
    """The images are convolved with the weights, the biases are added, and what is negative becomes 0."""
    params, images = draw_layer(draw), draw_images(draw, channels=3)
    expected, size = layer(params, images, np.abs(images))
    compare(
        apply(one_layer(student))(params, {}, images)[0], expected, length=9 * 3 + 1, magnitude=np.maximum(size, 1e-3)
    )


@conv_task.check(draws=1)
def begins_at_random_weights_and_no_biases(student: Student, draw: Draw) -> None:
    """At first all biases are 0, and all weights differ."""
    made = require_variables(init(one_layer(student))(draw.key(), draw_images(draw, channels=3)), LAYER)
    compare(made["biases"], np.zeros(2))
    weights = made["weights"]
    require(
        np.isfinite(weights).all() and len(np.unique(weights)) > weights.size // 2,
        "The weights begin alike; they should be random.",
        got=weights[0, 0],
    )


@conv_task.wrong("The ReLU is missing: what is negative becomes 0.")
def no_relu(scope: Any, images: Any, channels: Any) -> Any:
    weights = scope.get_variable("weights", (3, 3, images.shape[-1], channels))
    return convolve(images, weights) + scope.get_variable("biases", (channels,), 0.0)


@conv_task.wrong("The biases are added after the ReLU; add them before.")
def biases_after(scope: Any, images: Any, channels: Any) -> Any:
    weights = scope.get_variable("weights", (3, 3, images.shape[-1], channels))
    return jax.nn.relu(convolve(images, weights)) + scope.get_variable("biases", (channels,), 0.0)


@conv_task.wrong("There are no biases: ask the scope for them, too.")
def no_biases(scope: Any, images: Any, channels: Any) -> Any:
    return jax.nn.relu(convolve(images, scope.get_variable("weights", (3, 3, images.shape[-1], channels))))


@conv_task.wrong("There is one bias for all channels; each channel has its own.")
def one_bias(scope: Any, images: Any, channels: Any) -> Any:
    weights = scope.get_variable("weights", (3, 3, images.shape[-1], channels))
    return jax.nn.relu(convolve(images, weights) + scope.get_variable("biases", (), 0.0))


@conv_task.wrong("You opened a scope of your own around the variables: how a layer is called is for its caller to say.")
def scope_of_its_own(scope: Any, images: Any, channels: Any) -> Any:
    with scope.variable_scope("conv") as inner:
        weights = inner.get_variable("weights", (3, 3, images.shape[-1], channels))
        biases = inner.get_variable("biases", (channels,), 0.0)
    return jax.nn.relu(convolve(images, weights) + biases)


@conv_task.wrong(
    "Weights and biases are plain arrays here, made anew in each call: nothing could train them. Ask for them with "
    "scope.get_variable."
)
def plain_arrays(scope: Any, images: Any, channels: Any) -> Any:
    weights = jax.random.normal(jax.random.key(0), (3, 3, images.shape[-1], channels))
    return jax.nn.relu(convolve(images, weights) + jnp.zeros(channels))


@conv_task.wrong("The variables have other names; they are called `weights` and `biases`.")
def short_names(scope: Any, images: Any, channels: Any) -> Any:
    weights = scope.get_variable("w", (3, 3, images.shape[-1], channels))
    return jax.nn.relu(convolve(images, weights) + scope.get_variable("b", (channels,), 0.0))


@conv_task.wrong("As many channels go out as come in; how many go out is what `channels` says.")
def channels_unused(scope: Any, images: Any, channels: Any) -> Any:
    weights = scope.get_variable("weights", (3, 3, images.shape[-1], images.shape[-1]))
    return jax.nn.relu(convolve(images, weights) + scope.get_variable("biases", (images.shape[-1],), 0.0))


@conv_task.wrong("The biases begin at random numbers; with 0.0 as the third argument they begin at 0.")
def random_biases(scope: Any, images: Any, channels: Any) -> Any:
    weights = scope.get_variable("weights", (3, 3, images.shape[-1], channels))
    return jax.nn.relu(
        convolve(images, weights) + scope.get_variable("biases", (channels,), jax.nn.initializers.normal())
    )


@conv_task.wrong(
    "All weights begin at 0, so all channels would stay alike for ever: let them be random, without a third argument."
)
def zero_weights(scope: Any, images: Any, channels: Any) -> Any:
    weights = scope.get_variable("weights", (3, 3, images.shape[-1], channels), 0.0)
    return jax.nn.relu(convolve(images, weights) + scope.get_variable("biases", (channels,), 0.0))


filter_task = exercise.task(
    "image_filter",
    points=2,
    needs=["conv_relu"],
    hints=Hints(
        concept="Each layer gets a scope of its own to ask. Open the first one, call the layer in it, close it, and then open the "
        "second.",
        where="The lesson's section 'Two layers': what stands after `as` is the inner scope, and it is what a layer has to be given.",
        almost_code='with scope.variable_scope("conv1") as conv1:\n    images = conv_relu(..., images, 4)\n'
        "with scope.variable_scope(...) as conv2:\n    return conv_relu(conv2, ..., 2)",
    ),
)


@filter_task.check(draws=1)
def two_layers_of_variables(student: Student, draw: Draw) -> None:
    """The first layer's variables are in `conv1`, the second one's in `conv2`."""
    require_variables(shapes(student.image_filter)(draw_images(draw)), FILTER)


@filter_task.check
def one_layer_after_the_other(student: Student, draw: Draw) -> None:
    """The second layer filters what the first one has made of the images."""
    params, images = draw_params(draw), draw_images(draw)
    expected, size = filtered(params, images)
    compare(apply(student.image_filter)(params, {}, images)[0], expected, length=TERMS, magnitude=size)


@filter_task.check(draws=1)
def layers_stand_side_by_side(student: Student, draw: Draw) -> None:
    """In the graph, the operations of each layer stand in its scope."""
    params, images = draw_params(draw), draw_images(draw)
    graph = summary_graph(function(lambda p, x: apply(student.image_filter)(p, {}, x)[0])(params, images))
    require_scopes(graph, ["conv1", "conv2"])


def require_scopes(graph: SummaryGraph, scopes: list[str]) -> None:
    """Whether something stands in each of these scopes."""
    absent = [scope for scope in scopes if not graph.inside(scope)]
    require(
        not absent,
        f"In the graph there is no operation in the scope{'s' * (len(absent) > 1)} {', '.join(absent)}.",
        got=graph.outline(depth=max(scope.count("/") for scope in scopes) + 1) or "no operations",
        expected=SummaryGraph.of_scopes(scopes).outline(),
        kind="graph",
    )


@filter_task.wrong(
    "Both layers ask the same scope for their weights. Pass on the inner scope, the one that variable_scope gives you; "
    "a name_scope has no variables of its own."
)
def names_only(scope: Any, images: Any) -> Any:
    with scope.name_scope("conv1") as conv1:
        images = conv_relu(conv1, images, 4)
    with scope.name_scope("conv2") as conv2:
        return conv_relu(conv2, images, 2)


@filter_task.wrong("conv2 is opened inside of conv1, from the inner scope: open it from `scope`, beside the other.")
def second_inside_the_first(scope: Any, images: Any) -> Any:
    with scope.variable_scope("conv1") as conv1:
        images = conv_relu(conv1, images, 4)
        with conv1.variable_scope("conv2") as conv2:
            return conv_relu(conv2, images, 2)


@filter_task.wrong(
    "Both scopes are open at once: the variables are where they should be, but every operation done in the inner `with` is "
    "named conv1/conv2/.... Close the first before you open the second."
)
def both_open_at_once(scope: Any, images: Any) -> Any:
    with scope.variable_scope("conv1") as conv1, scope.variable_scope("conv2") as conv2:
        return conv_relu(conv2, conv_relu(conv1, images, 4), 2)


@filter_task.wrong(
    "Two layers of different shapes cannot share their variables: each needs a scope of its own, without reuse."
)
def one_scope_reused(scope: Any, images: Any) -> Any:
    with scope.variable_scope("conv1") as conv1:
        images = conv_relu(conv1, images, 4)
    with scope.variable_scope("conv1", reuse=True) as conv2:
        return conv_relu(conv2, images, 2)


@filter_task.wrong("The scopes have other names; they are called conv1 and conv2.")
def layer_names(scope: Any, images: Any) -> Any:
    with scope.variable_scope("layer1") as layer1:
        images = conv_relu(layer1, images, 4)
    with scope.variable_scope("layer2") as layer2:
        return conv_relu(layer2, images, 2)


@filter_task.wrong("The names are the wrong way round: conv1 is the layer that sees the images first.")
def names_swapped(scope: Any, images: Any) -> Any:
    with scope.variable_scope("conv2") as first:
        images = conv_relu(first, images, 4)
    with scope.variable_scope("conv1") as second:
        return conv_relu(second, images, 2)


@filter_task.wrong("The numbers of channels are the wrong way round: 4 after the first layer, 2 after the second.")
def channels_swapped(scope: Any, images: Any) -> Any:
    with scope.variable_scope("conv1") as conv1:
        images = conv_relu(conv1, images, 2)
    with scope.variable_scope("conv2") as conv2:
        return conv_relu(conv2, images, 4)


@filter_task.wrong("The second layer was given the images again; it filters what the first one has made of them.")
def images_twice(scope: Any, images: Any) -> Any:
    with scope.variable_scope("conv1") as conv1:
        conv_relu(conv1, images, 4)
    with scope.variable_scope("conv2") as conv2:
        return conv_relu(conv2, images, 2)


difference_task = exercise.task(
    "filter_difference",
    points=2,
    needs=["image_filter"],
    hints=Hints(
        concept="The first call makes the variables, the second one has to find them: the same name of a scope, opened twice, and "
        "the second time it is said that it reuses.",
        where="The lesson's table in 'One filter, two images': which row and column is the first call in, which one the second?",
        almost_code='with scope.variable_scope("filter") as first:\n    filtered = image_filter(first, one)\n'
        'with scope.variable_scope("filter", reuse=...) as second:\n    return filtered - image_filter(..., two)',
    ),
)


@difference_task.check(draws=1)
def one_set_of_variables(student: Student, draw: Draw) -> None:
    """There is one set of variables, in the scope `filter`."""
    require_variables(shapes(student.filter_difference)(draw_images(draw), draw_images(draw)), inside("filter"))


@difference_task.check
def both_images_through_one_filter(student: Student, draw: Draw) -> None:
    """Both images go through the filter with the same variables; the second result is subtracted from the first."""
    params, one, two = draw_params(draw), draw_images(draw), draw_images(draw)
    (first, size), (second, other) = filtered(params, one), filtered(params, two)
    compare(
        apply(student.filter_difference)({"filter": params}, {}, one, two)[0],
        first - second,
        length=TERMS + 1,
        magnitude=size + other,
    )


def weighed(outputs: Expression, weights: np.ndarray) -> Expression:
    """A number made of outputs, to be differentiated."""
    return library("jax.numpy.sum")(outputs * weights)


@difference_task.check
def gradients_add_up(student: Student, draw: Draw) -> None:
    """The gradient of a shared variable is the sum over both calls."""
    (params, (one, two)), weights = draw_smooth(draw, 2), draw_images(draw, 2)
    both = function(lambda p: weighed(apply(student.filter_difference)(p, {}, one, two)[0], weights))
    first, size = filter_gradients(params, one, weights, np.abs(weights))
    second, other = filter_gradients(params, two, -weights, np.abs(weights))
    compare(
        grad(both)({"filter": params}),
        {"filter": added(first, second)},
        length=BACK,
        magnitude={"filter": added(size, other)},
    )


def added(one: Tree, other: Tree) -> Tree:
    """The sums of what stands at the same place in two trees of the filter's form."""
    return {scope: {name: part[name] + other[scope][name] for name in part} for scope, part in one.items()}


@difference_task.wrong(
    "The second call makes the variables once more: open its scope with reuse=True, so that it finds them."
)
def forgot_to_reuse(scope: Any, one: Any, two: Any) -> Any:
    with scope.variable_scope("filter") as first:
        filtered = image_filter(first, one)
    with scope.variable_scope("filter") as second:
        return filtered - image_filter(second, two)


@difference_task.wrong("There is a second set of variables, in a scope of another name: the two calls share nothing.")
def a_second_set(scope: Any, one: Any, two: Any) -> Any:
    with scope.variable_scope("filter") as first:
        filtered = image_filter(first, one)
    with scope.variable_scope("filter_1") as second:
        return filtered - image_filter(second, two)


@difference_task.wrong(
    "Both calls reuse, so nobody makes the variables: the first one must not say reuse=True, or both say AUTO."
)
def reuse_from_the_start(scope: Any, one: Any, two: Any) -> Any:
    with scope.variable_scope("filter", reuse=True) as shared:
        return image_filter(shared, one) - image_filter(shared, two)


@difference_task.wrong("The variables are shared, but in a scope of another name; it is called `filter`.")
def another_name(scope: Any, one: Any, two: Any) -> Any:
    with scope.variable_scope("tower", reuse="auto") as shared:
        return image_filter(shared, one) - image_filter(shared, two)


@difference_task.wrong(
    "You made the parameters inside of the model, with a key of your own: they are the same in both calls, but the scope does "
    "not know them, and nobody can train them."
)
def made_inside(scope: Any, one: Any, two: Any) -> Any:
    from aidl_jax.scope import apply, init

    params, state = init(image_filter)(jax.random.key(0), one)
    return apply(image_filter)(params, state, one)[0] - apply(image_filter)(params, state, two)[0]


@difference_task.wrong("The difference is the wrong way round: one minus two.")
def two_minus_one(scope: Any, one: Any, two: Any) -> Any:
    with scope.variable_scope("filter", reuse="auto") as shared:
        return image_filter(shared, two) - image_filter(shared, one)


@difference_task.wrong("You filtered the difference of the images; filter each of them, and then subtract.")
def filtered_difference(scope: Any, one: Any, two: Any) -> Any:
    with scope.variable_scope("filter") as shared:
        return image_filter(shared, one - two)


@difference_task.wrong("You filtered the same image twice, so the difference is 0 everywhere.")
def one_twice(scope: Any, one: Any, two: Any) -> Any:
    with scope.variable_scope("filter", reuse="auto") as shared:
        return image_filter(shared, one) - image_filter(shared, one)


@difference_task.wrong("The gradient of the second call is stopped: shared variables learn from both.")
def second_does_not_learn(scope: Any, one: Any, two: Any) -> Any:
    with scope.variable_scope("filter", reuse="auto") as shared:
        return image_filter(shared, one) - jax.lax.stop_gradient(image_filter(shared, two))


loss_task = exercise.task(
    "model_loss",
    points=2,
    needs=["image_filter"],
    hints=Hints(
        concept="Two scopes side by side: the model is computed in the first, and when that is closed, the loss in the second. Only the "
        "first has variables.",
        where="The lesson's section 'Scope the model and the loss' says which kind of scope each one is. All of the loss stands in "
        "its scope, from the difference to the mean.",
        almost_code='with scope.variable_scope("model") as model:\n    predictions = image_filter(model, images)\n'
        "with scope.name_scope(...):\n    return jnp.mean(...)",
    ),
)


@loss_task.check(draws=1)
def the_model_has_the_variables(student: Student, draw: Draw) -> None:
    """All variables are in `model`; a loss has none."""
    require_variables(shapes(student.model_loss)(draw_images(draw), draw_targets(draw)), inside("model"))


@loss_task.check
def mean_of_squares(student: Student, draw: Draw) -> None:
    """The loss is the mean of the squared differences between the filter's outputs and the targets."""
    params, images, targets = draw_params(draw), draw_images(draw), draw_targets(draw)
    outputs, size = filtered(params, images)
    compare(
        apply(student.model_loss)({"model": params}, {}, images, targets)[0],
        np.mean((outputs - targets) ** 2),
        length=NUMBERS + 2 * TERMS,
        magnitude=np.mean((outputs - targets) ** 2 + 2 * np.abs(outputs - targets) * size),
    )


@loss_task.check(draws=1)
def model_and_loss_in_scopes(student: Student, draw: Draw) -> None:
    """In the graph, the model stands in `model`, the loss in `loss`, and nothing outside of them."""
    params, images, targets = {"model": draw_params(draw)}, draw_images(draw), draw_targets(draw)
    graph = summary_graph(function(lambda p, x, t: apply(student.model_loss)(p, {}, x, t)[0])(params, images, targets))
    require_scopes(graph, ["model/conv1", "model/conv2", "loss"])
    outside = [node for node in graph.operations if not (node.is_inside("model") or node.is_inside("loss"))]
    require(
        not outside,
        f"In the graph, {counted(len(outside))} outside of model and loss: {', '.join(node.name for node in outside[:5])}.",
        got=graph.outline(depth=2),
        kind="graph",
    )
    early = [node for node in users(graph, "placeholders/args/2") if not node.is_inside("loss")]
    require(
        not early,
        f"In the graph, the targets are used outside of loss, in {', '.join(node.name for node in early[:5])}.",
        got=graph.outline(depth=2),
        kind="graph",
    )


def counted(count: int) -> str:
    """How many operations stand somewhere."""
    return "1 operation stands" if count == 1 else f"{count} operations stand"


def users(graph: SummaryGraph, name: str) -> list[Any]:
    """The nodes that a node's output goes into."""
    return [node for node in graph.nodes if name in node.inputs]


@loss_task.wrong('The loss stands outside of all scopes: put `with scope.name_scope("loss"):` around it.')
def loss_outside(scope: Any, images: Any, targets: Any) -> Any:
    with scope.variable_scope("model") as model:
        predictions = image_filter(model, images)
    return jnp.mean((predictions - targets) ** 2)


@loss_task.wrong("A part of the loss stands outside of its scope: move the difference in, too.")
def difference_outside(scope: Any, images: Any, targets: Any) -> Any:
    with scope.variable_scope("model") as model:
        predictions = image_filter(model, images)
    difference = predictions - targets
    with scope.name_scope("loss"):
        return jnp.mean(difference**2)


@loss_task.wrong("A part of the loss stands in the scope of the model: the model ends where its predictions are made.")
def difference_in_the_model(scope: Any, images: Any, targets: Any) -> Any:
    with scope.variable_scope("model") as model:
        difference = image_filter(model, images) - targets
    with scope.name_scope("loss"):
        return jnp.mean(difference**2)


@loss_task.wrong("The loss stands inside of the model's scope: close `model` before you open `loss`.")
def loss_in_the_model(scope: Any, images: Any, targets: Any) -> Any:
    with scope.variable_scope("model") as model:
        predictions = image_filter(model, images)
        with scope.name_scope("loss"):
            return jnp.mean((predictions - targets) ** 2)


@loss_task.wrong("The model stands inside of the scope of the loss: it has its own, beside it.")
def model_in_the_loss(scope: Any, images: Any, targets: Any) -> Any:
    with scope.name_scope("loss"):
        with scope.variable_scope("model") as model:
            predictions = image_filter(model, images)
        return jnp.mean((predictions - targets) ** 2)


@loss_task.wrong(
    "The model's scope is a name_scope, or you passed on the outer one: its variables stayed outside of `model`. Use "
    "variable_scope, and the scope that it gives you."
)
def model_by_name_only(scope: Any, images: Any, targets: Any) -> Any:
    with scope.name_scope("model") as model:
        predictions = image_filter(model, images)
    with scope.name_scope("loss"):
        return jnp.mean((predictions - targets) ** 2)


@loss_task.wrong(
    "The variables are in `loss/model`: with variable_scope around it all, the loss has got the model's variables."
)
def variables_in_the_loss(scope: Any, images: Any, targets: Any) -> Any:
    with scope.variable_scope("loss") as loss:
        with loss.variable_scope("model") as model:
            predictions = image_filter(model, images)
        return jnp.mean((predictions - targets) ** 2)


@loss_task.wrong("You summed the squares; take their mean.")
def summed(scope: Any, images: Any, targets: Any) -> Any:
    with scope.variable_scope("model") as model:
        predictions = image_filter(model, images)
    with scope.name_scope("loss"):
        return jnp.sum((predictions - targets) ** 2)


@loss_task.wrong("You took the mean of the differences as they are; square them first.")
def not_squared(scope: Any, images: Any, targets: Any) -> Any:
    with scope.variable_scope("model") as model:
        predictions = image_filter(model, images)
    with scope.name_scope("loss"):
        return jnp.mean(predictions - targets)


@loss_task.wrong("You took the mean of the absolute differences; square them instead.")
def absolute(scope: Any, images: Any, targets: Any) -> Any:
    with scope.variable_scope("model") as model:
        predictions = image_filter(model, images)
    with scope.name_scope("loss"):
        return jnp.mean(jnp.abs(predictions - targets))


graph_task = exercise.task(
    "loss_and_gradients",
    points=2,
    needs=["model_loss"],
    hints=Hints(
        concept="A loss that is to be differentiated is a function of the parameters alone; images and targets stay as they are. "
        "Write that function inside of this one, on top of the model that you have.",
        where="What `apply` returns is a pair: the first of it is the loss. jax.value_and_grad returns just the pair that is asked for.",
        almost_code="def loss_of(params):\n    loss, model_state = apply(model_loss)(params, {}, ..., ...)\n    return loss\n"
        "return jax.value_and_grad(...)(params)",
    ),
)


@graph_task.check
def loss_and_its_gradients(student: Student, draw: Draw) -> None:
    """The loss comes first, then its gradients, in the form of the parameters."""
    (params, (images,)), targets = draw_smooth(draw, 1), draw_targets(draw)
    outputs, size = filtered(params, images)
    upstream, terms = (2 * number / NUMBERS for number in (outputs - targets, size + np.abs(targets)))
    gradients, sizes = filter_gradients(params, images, upstream, terms)
    compare(
        student.loss_and_gradients({"model": params}, images, targets),
        (np.mean((outputs - targets) ** 2), {"model": gradients}),
        length=NUMBERS + BACK,
        magnitude=(np.mean((size + np.abs(targets)) ** 2), {"model": sizes}),
    )


@graph_task.check(draws=1)
def groups_as_asked(student: Student, draw: Draw) -> None:
    """In the graph, model and loss stand in their groups, and so do the gradients of each."""
    params, images, targets = {"model": draw_params(draw)}, draw_images(draw), draw_targets(draw)
    graph = summary_graph(student.loss_and_gradients(params, images, targets))
    forward = ["model/conv1", "model/conv2", "loss"]
    require_scopes(graph, [*forward, *(f"gradients/{scope}" for scope in forward)])


@graph_task.wrong(
    "These are the right gradients, but by forward mode: there is no way back in the graph, and for each single parameter "
    "the whole model runs once more. Use jax.value_and_grad."
)
def forward_mode(params: Any, images: Any, targets: Any) -> Any:
    from aidl_jax.scope import apply

    def loss_of(params: Any) -> Any:
        return apply(model_loss)(params, {}, images, targets)[0]

    return loss_of(params), jax.jacfwd(loss_of)(params)


@graph_task.wrong(
    "You opened a scope named gradients around it all, so the model and the loss stand in it, too. Differentiation makes that "
    "group itself."
)
def scope_around_it_all(params: Any, images: Any, targets: Any) -> Any:
    from aidl_jax.scope import apply

    with jax.named_scope("gradients"):
        return jax.value_and_grad(lambda p: apply(model_loss)(p, {}, images, targets)[0])(params)


@graph_task.wrong(
    "You wrote the loss anew, without its scopes, so the graph is flat. Differentiate the `model_loss` that you have."
)
def loss_anew(params: Any, images: Any, targets: Any) -> Any:
    from aidl_jax.scope import apply

    def loss_of(params: Any) -> Any:
        predictions, _ = apply(image_filter)(params["model"], {}, images)
        return jnp.mean((predictions - targets) ** 2)

    return jax.value_and_grad(loss_of)(params)


@graph_task.wrong("The pair is the wrong way round: the loss first, then the gradients.")
def gradients_first(params: Any, images: Any, targets: Any) -> Any:
    from aidl_jax.scope import apply

    loss, gradients = jax.value_and_grad(lambda p: apply(model_loss)(p, {}, images, targets)[0])(params)
    return gradients, loss


@graph_task.wrong("You returned the gradients alone: jax.value_and_grad gives the loss with them.")
def gradients_alone(params: Any, images: Any, targets: Any) -> Any:
    from aidl_jax.scope import apply

    return jax.grad(lambda p: apply(model_loss)(p, {}, images, targets)[0])(params)


@graph_task.wrong("The model state is still beside the loss: of what `apply` returns, only the first is the loss.")
def state_beside_the_loss(params: Any, images: Any, targets: Any) -> Any:
    from aidl_jax.scope import apply

    return jax.value_and_grad(lambda p: apply(model_loss)(p, {}, images, targets), has_aux=True)(params)


@graph_task.wrong("These are gradients for the images; what is to be trained are the parameters.")
def for_the_images(params: Any, images: Any, targets: Any) -> Any:
    from aidl_jax.scope import apply

    return jax.value_and_grad(lambda images: apply(model_loss)(params, {}, images, targets)[0])(images)


@graph_task.wrong(
    "`apply` returns a pair, and a pair cannot be differentiated: differentiate the first of it, the loss."
)
def pair_differentiated(params: Any, images: Any, targets: Any) -> Any:
    from aidl_jax.scope import apply

    return jax.value_and_grad(lambda p: apply(model_loss)(p, {}, images, targets))(params)
