"""The cookbook's reports: against softmax regression in NumPy, and what each says when it passes and when it does not."""

from __future__ import annotations

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest

from aidl_jax import data, optimizers
from aidl_jax.errors import TrainError
from aidl_jax.train import cookbook, cookbook_plots, cookbook_reports, state_of
from aidl_jax.train.cookbook import Recipe
from aidl_jax.train.cookbook_reports import Curves, RateReport, StartReport

plt.switch_backend("Agg")
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(32, 4)).astype(np.float32)
LABELS = np.where(X[:, 0] > 0.8, 2, X[:, 1] > 0).astype(np.int32)
WEIGHTS = RANDOM.normal(size=(4, 3)).astype(np.float32)
BATCHES = data.from_tensor_slices((X, LABELS)).batch(8)


def loss_fn(params, model_state, batch, key):
    x, labels = batch
    logits = x @ params["w"] + params["b"]
    loss = -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1).mean()
    return loss, (model_state, {"accuracy": (logits.argmax(1) == labels).mean()})


def recipe(optimizer=None, dataset=BATCHES, weights=WEIGHTS, loss_fn=loss_fn):
    optimizer = optimizers.sgd(1.0) if optimizer is None else optimizer
    params = {"w": weights, "b": np.zeros(3, np.float32)}
    return Recipe(loss_fn, optimizer, state_of(params, {}, optimizer, jax.random.key(0)), dataset)


RECIPE = recipe()  # compiled once


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def by_hand(batches, rates):
    """Losses of gradient descent in float64."""
    w, b, losses = WEIGHTS.astype(float), np.zeros(3), []
    for (x, labels), rate in zip(batches, rates, strict=False):
        p = softmax(x @ w + b)
        losses.append(-np.log(p[np.arange(len(x)), labels]).mean())
        gradient = (p - np.eye(3)[labels]) / len(x)
        w, b = w - rate * x.T @ gradient, b - rate * gradient.sum(0)
    return losses


EPOCH = [(X[at : at + 8], LABELS[at : at + 8]) for at in range(0, 32, 8)]


@pytest.fixture(autouse=True)
def no_figure_stays():
    yield
    plt.close("all")


def test_the_public_names():
    for module in (cookbook, cookbook_reports, cookbook_plots):
        assert all(hasattr(module, name) for name in module.__all__)
    assert {name for name in vars(cookbook) if not name.startswith("_")} >= set(cookbook.__all__)


# The data


def test_what_the_data_look_like():
    images, ages = RANDOM.integers(0, 9, (30, 5, 4)).astype(np.uint8), RANDOM.normal(size=30).astype(np.float32)
    labels = np.repeat(np.int32([0, 1, 2]), [5, 5, 20])
    report = cookbook.look_at(
        data.from_tensor_slices(({"age": ages, "image": images}, labels)).batch(7), batches=3, samples=4
    )
    assert report.examples == 21
    assert report.counts == {0: 5, 1: 5, 2: 11}
    assert report.warnings == []
    np.testing.assert_array_equal(report.samples[0], ages[:4])
    np.testing.assert_array_equal(report.samples[1], labels[:4])
    assert str(report).splitlines() == [
        "21 examples",
        f"  inputs['age'] float32[]: {ages[:21].min():.4g} to {ages[:21].max():.4g}, "
        f"mean {ages[:21].mean():.4g}, standard deviation {ages[:21].std():.4g}",
        f"  inputs['image'] uint8[5,4]: 0 to 8, mean {images[:21].mean():.4g}, standard deviation {images[:21].std():.4g}",
        "  labels 0: 5, 1: 5, 2: 11",
    ]


@pytest.mark.parametrize(
    ("x", "labels", "warning"),
    [
        ([0, np.nan, np.inf, 1], [0, 0, 1, 1], "inputs: 2 numbers are not finite"),
        ([7, 7, 7, 7], [0, 0, 1, 1], "inputs: all numbers are the same"),
        ([0, 255, 3, 4], [0, 0, 1, 1], "inputs: large numbers; scale them to 0 to 1, or to about -1 to 1"),
        ([0, 1, 2, 3], [0, -1, 1, 1], "negative labels: -1"),
        ([0, 1, 2, 3], [0, 2, 2, 5], "labels that never came: 1, 3, 4"),
        ([0, 1, 2, 3], [0, 2, 2, 10**9], f"labels that never came: 1, {', '.join(map(str, range(3, 22)))} and 999,999,978 more"),
        ([0, 1] * 4, [0] * 7 + [1], "some classes are more than five times as frequent as others: accuracy alone will flatter"),
    ],
)  # fmt: skip
def test_what_looks_wrong(x, labels, warning):
    report = cookbook.look_at(data.from_tensor_slices((np.float32(x), np.int32(labels))).batch(3))
    assert report.warnings == [warning]
    assert str(report).splitlines()[-1] == f"  look out: {warning}"


def test_nothing_to_look_at():
    with pytest.raises(TrainError, match=r"there is nothing to look at: given 0 batches of .* Fix: give it batches"):
        cookbook.look_at(BATCHES, batches=0)


@pytest.mark.parametrize(
    ("element", "given"),
    [
        (X, "a ndarray"),
        ((X, LABELS, LABELS), "a tuple of 3"),
        ((X, LABELS.astype(np.float32)), "labels float32[32]"),
        ((X, np.eye(3, dtype=np.int32)[LABELS]), "labels int32[32,3]"),
        ((X, {"label": LABELS}), "labels that are a dict"),
    ],
)
def test_other_batches_are_refused(element, given):
    with pytest.raises(TrainError) as told:
        cookbook.look_at(data.from_tensor_slices(element).batch(32))
    assert str(told.value) == (
        f"the cookbook needs batches of inputs and labels: given {given}, expected a pair (inputs, labels), labels whole numbers [batch]. "
        "Fix: bring them to this form in a map before the batch"
    )


@pytest.mark.parametrize(("shape", "drawn"), [((9, 6, 5), 9), ((9, 6, 5, 3), 9), ((9, 6, 5, 1), 9), ((9, 30), 0)])
def test_the_plot_shows_images_and_counts(shape, drawn):
    images, labels = RANDOM.normal(size=shape), np.arange(9) % 4
    report = replace(cookbook.look_at(BATCHES), samples=(images, labels), counts={0: 3, 1: 2, 3: 4})
    *pictures, counts = report.plot().axes
    shown = [axis for axis in pictures if axis.images]
    assert [axis.get_title() for axis in shown] == [str(label) for label in labels[:drawn]]
    assert [bar.get_height() for bar in counts.patches] == [3, 2, 4]
    assert [tick.get_text() for tick in counts.get_xticklabels()] == ["0", "1", "3"]


# The start


def test_the_loss_at_the_start_is_that_of_the_first_batch():
    report = cookbook.loss_at_start(RECIPE, classes=3)
    assert report.loss == pytest.approx(by_hand(EPOCH[:1], [0])[0], rel=1e-6)
    assert report.expected == pytest.approx(-math.log(1 / 3))


def test_a_model_that_knows_nothing_starts_as_it_should():
    report = cookbook.loss_at_start(replace(RECIPE, state=recipe(weights=0 * WEIGHTS).state), classes=3)
    assert report.passed
    assert str(report) == "loss at the start 1.099, ln(3) = 1.099: as it should be"


@pytest.mark.parametrize(
    ("loss", "passed", "told"),
    [
        (2.75, True, "as it should be"),
        (1.86, True, "as it should be"),
        (2.77, False, "too high. The model is sure of wrong answers"),
        (1.83, False, "too low. Does the model see the labels?"),
        (math.nan, False, "not finite. Look at the inputs' range"),
        (math.inf, False, "not finite. Look at the inputs' range"),
    ],
)
def test_what_is_said_of_a_start(loss, passed, told):
    report = StartReport(loss, 10)
    assert report.passed == passed
    assert f", ln(10) = 2.303: {told}" in str(report)


def test_one_class_is_refused():
    with pytest.raises(TrainError, match=r"one class needs no model: given classes=1, expected at least 2"):
        cookbook.loss_at_start(RECIPE, classes=1)


# Tries


def test_one_batch_is_learnt_by_heart():
    report = cookbook.overfit_one_batch(RECIPE, steps=150)
    losses = report.losses["one batch"]
    np.testing.assert_allclose(losses, by_hand(EPOCH[:1] * 150, [1.0] * 150), rtol=1e-3)
    assert report.passed == (losses[-1] < 0.1)
    assert report.passed
    assert str(report).splitlines() == [
        "overfit one batch: as it should be",
        f"  one batch: loss {losses[0]:.3f} to {losses[-1]:.3f}, accuracy 100%",
        "  the model can learn, and gradients reach it",
    ]


def test_a_model_that_does_not_learn_is_told():
    report = cookbook.overfit_one_batch(RECIPE, steps=2)
    assert not report.passed
    assert str(report).startswith("overfit one batch: not as it should be")
    assert report.advice.startswith("a loss below 0.1 was to be reached")


def test_a_loss_that_has_fallen_far_and_is_not_near_0_has_not_passed():
    def priced(*args):
        loss, rest = loss_fn(*args)
        return 40 * loss + 0.5, rest

    report = cookbook.overfit_one_batch(recipe(optimizers.sgd(0.1), loss_fn=priced), steps=150)
    losses = report.losses["one batch"]
    assert losses[0] > 20 * losses[-1] > 10, "the example is of no use"
    assert not report.passed


def test_each_try_begins_anew_and_goes_on_after_the_data_end():
    once, again = (cookbook.input_independent(RECIPE, steps=10).losses["real inputs"] for _ in range(2))
    np.testing.assert_array_equal(once, again)
    np.testing.assert_allclose(once, by_hand(EPOCH * 3, [1.0] * 10), rtol=1e-4)
    endless = replace(RECIPE, dataset=BATCHES.repeat())
    np.testing.assert_array_equal(cookbook.input_independent(endless, steps=10).losses["real inputs"], once)


def test_inputs_help():
    report = cookbook.input_independent(RECIPE, steps=100)
    assert report.passed
    assert report.advice == "the model uses its inputs"
    blind = [(0 * x, labels) for x, labels in EPOCH] * 25
    np.testing.assert_allclose(report.losses["inputs set to 0"], by_hand(blind, [1.0] * 100), rtol=1e-4)


def without_inputs(params, model_state, batch, key):
    return loss_fn(params, model_state, (0 * batch[0], batch[1]), key)


DEAF = recipe(loss_fn=without_inputs)


def test_inputs_that_do_not_reach_the_model_are_told():
    report = cookbook.input_independent(DEAF, steps=20)
    np.testing.assert_array_equal(*report.losses.values())
    assert not report.passed
    assert report.advice == "the model learns hardly more from the inputs than from none: do they reach it?"


def test_labels_are_shuffled_within_their_batch():
    report = cookbook.shuffled_labels(DEAF, steps=20)  # which sees how often each label comes, and no more
    np.testing.assert_allclose(*report.losses.values(), rtol=1e-5)
    assert not report.passed
    assert report.advice.startswith("shuffled labels are learnt nearly as well as the right ones")


def test_shuffled_labels_are_not_learnt():
    report = cookbook.shuffled_labels(RECIPE, steps=60)
    right, shuffled = report.losses["right labels"], report.losses["shuffled labels"]
    np.testing.assert_allclose(right, by_hand(EPOCH * 15, [1.0] * 60), rtol=1e-4)
    assert right[-6:].mean() < 0.5 < 0.8 < shuffled[-6:].mean()
    assert report.passed
    assert report.advice == "labels belong to their inputs, and nothing leaks"
    other = cookbook.shuffled_labels(RECIPE, steps=60, seed=1)
    assert (other.losses["shuffled labels"] != shuffled).any()


def test_what_comes_after_a_step_that_is_not_finite_is_not_told():
    broken = X.copy()
    broken[10, 0] = np.nan  # in the second batch: the state stays as it is from there on, and has a loss on the others
    report = cookbook.shuffled_labels(
        replace(RECIPE, dataset=data.from_tensor_slices((broken, LABELS)).batch(8)), steps=6
    )
    for losses in report.losses.values():
        assert np.isfinite(losses).tolist() == [True] + 5 * [False]
    assert not report.passed
    assert report.advice == (
        "not finite with right labels and shuffled labels: a smaller learning rate, or look at logs and divisions"
    )


def test_without_accuracies_none_is_told():
    def bare(params, model_state, batch, key):
        loss, (model_state, _) = loss_fn(params, model_state, batch, key)
        return loss, (model_state, {})

    assert "accuracy" not in str(cookbook.overfit_one_batch(recipe(loss_fn=bare), steps=2))


def test_an_empty_dataset_is_told():
    with pytest.raises(TrainError, match=r"the dataset has no batch: given .*skip.* Fix: look at what it is made from"):
        cookbook.input_independent(replace(RECIPE, dataset=BATCHES.skip(9)))


def test_no_steps_are_refused():
    with pytest.raises(TrainError, match=r"a try needs at least one step: given steps=0. Fix: steps=200"):
        cookbook.overfit_one_batch(RECIPE, steps=0)


def test_labels_of_one_example_cannot_be_shuffled():
    single = replace(RECIPE, dataset=data.from_tensor_slices((X, LABELS)).batch(1))
    with pytest.raises(TrainError, match=r"the labels of one example cannot be shuffled: given .* Fix: batch\(32\)"):
        cookbook.shuffled_labels(single)


def test_the_plot_of_curves():
    steep, flat = np.geomspace(5, 0.1, 7), np.linspace(2, 1, 5)
    missing = {"one": np.full(7, np.nan), "two": np.full(5, np.nan)}
    (axis,) = Curves("a try", {"one": steep, "two": flat}, missing, True, "").plot().axes
    for line, values in zip(axis.lines, (steep, flat), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), values)
        np.testing.assert_array_equal(line.get_xdata(), np.arange(1, len(values) + 1))
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["one", "two"]
    assert axis.get_yscale() == "log"
    (axis,) = Curves("a try", {"two": flat}, missing, True, "").plot().axes
    assert (axis.get_yscale(), axis.get_legend()) == ("linear", None)


def test_five_curves_are_five_curves():
    (axis,) = cookbook_plots.curves({str(n): np.ones(3) for n in range(5)}, "many").axes
    assert len(axis.lines) == 5


# The learning rate


def test_the_rate_rises_by_equal_factors():
    report = cookbook.rate_range(RECIPE, optimizers.sgd, low=0.01, high=10.0, steps=31)
    np.testing.assert_allclose(report.rates, np.geomspace(0.01, 10.0, 31))
    losses = by_hand(EPOCH * 8, np.geomspace(0.01, 10.0, 31))
    weights = 0.9 ** np.arange(31)[::-1]
    expected = [np.average(losses[: n + 1], weights=weights[30 - n :]) for n in range(31)]
    np.testing.assert_allclose(report.losses, expected, rtol=1e-3)


def test_a_diverging_end_is_left_out():
    def breaks(params, *rest):
        loss, more = loss_fn(params, *rest)
        return jnp.where(jnp.abs(params["w"]).max() > 50, jnp.inf, loss), more

    report = cookbook.rate_range(recipe(loss_fn=breaks), optimizers.sgd, low=0.1, high=1e4, steps=20)
    told = np.isfinite(report.losses)
    assert told[:3].all() and not told[-1] and (np.diff(told.astype(int)) <= 0).all()
    assert report.suggested == report.rates[np.argmin(report.losses[told])] / 10


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ([3, 2, 1, 4], "the loss is lowest at a rate of 0.1, then it rises: begin with about 0.01"),
        ([3, 2, 1, np.nan], "the loss is lowest at a rate of 0.1, then it rises: begin with about 0.01"),
        ([4, 3, 2, 1], "the loss is lowest at a rate of 1, the last one, and may fall further: try again with a larger `high`"),
        ([1, 2, 3, 4], "the loss is lowest at a rate of 0.001, the first one: the model learns at none of these rates; try again with a smaller `low`"),
    ],
)  # fmt: skip
def test_what_is_said_of_rates(losses, told):
    assert str(RateReport(np.geomspace(0.001, 1, 4), np.float64(losses))) == told


@pytest.mark.parametrize("options", [{"low": 1.0, "high": 0.1}, {"low": 0.0}, {"high": math.inf}, {"steps": 1}])
def test_rates_that_do_not_rise_are_refused(options):
    with pytest.raises(TrainError, match=r"the rates do not rise: .*expected 0 < low < high, in 2 steps or more\. Fix"):
        cookbook.rate_range(RECIPE, optimizers.sgd, **options)


def test_a_loss_that_is_never_finite_is_refused():
    broken = replace(RECIPE, state=recipe(weights=WEIGHTS * np.float32(np.nan)).state)
    with pytest.raises(
        TrainError, match=r"the loss is not finite before the first step: given nan. Fix: loss_at_start"
    ):
        cookbook.rate_range(broken, optimizers.sgd, steps=2)


def test_the_plot_of_rates():
    report = RateReport(np.geomspace(0.001, 1, 5), np.array([3, 2, 1, 400, np.nan]))
    (axis,) = report.plot().axes
    curve, mark = axis.lines
    np.testing.assert_array_equal(curve.get_xdata(), report.rates)
    np.testing.assert_array_equal(curve.get_ydata(), report.losses)
    assert mark.get_xdata()[0] == report.suggested
    assert axis.get_xscale() == "log"
    assert 3 < axis.get_ylim()[1] < 10, "the curve's end would flatten the rest"


# The gaps


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ((0.0, 0.1, 0.12), "floor 0.0%, train 10.0% (+10.0%), validation 12.0% (+2.0%): avoidable bias: a larger model, "),
        ((0.0, 0.01, 0.12), "floor 0.0%, train 1.0% (+1.0%), validation 12.0% (+11.0%): variance: more data, "),
        ((0.05, 0.01, 0.03), "floor 5.0%, train 1.0% (-4.0%), validation 3.0% (+2.0%): variance: more data, "),
        ((0.01, 0.012, 0.015), "floor 1.0%, train 1.2% (+0.2%), validation 1.5% (+0.3%): both gaps are small: "),
    ],
)  # fmt: skip
def test_what_is_said_of_gaps(errors, told):
    report = cookbook.error_gaps(*errors)
    assert str(report).startswith(told)
    assert [bar.get_height() for bar in report.plot().axes[0].patches] == list(errors)


@pytest.mark.parametrize("name", ["floor", "train", "validation"])
@pytest.mark.parametrize("error", [12.0, -0.01, math.nan])
def test_what_is_no_share_is_refused(name, error):
    with pytest.raises(TrainError) as told:
        cookbook.error_gaps(**{"floor": 0.1, "train": 0.2, "validation": 0.3, name: error})
    assert str(told.value) == (
        f"the {name} error is no share: given {error}, expected 0 to 1. Fix: 1 - accuracy, not a percentage"
    )


def test_a_recipe_whose_state_was_used_up_is_refused():
    used = recipe()
    used.step(used.state, EPOCH[0])
    with pytest.raises(
        TrainError, match=r"taken by an earlier step: given state.step. Fix: go on with.*jnp.copy, state"
    ):
        cookbook.loss_at_start(used, classes=3)


# Pictures


def test_the_plot_of_a_start():
    (axis,) = StartReport(2.5, 10).plot().axes
    assert [bar.get_height() for bar in axis.patches] == [2.5, math.log(10)]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["at the start", "ln(10)"]
