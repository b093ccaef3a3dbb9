# %% [markdown]
# # A cookbook for training
#
# A network that does not learn rarely says why. No line of it is red; the loss is a number, the plot is a curve, and both look
# like those of a network that learns, only worse. So whoever trains networks has a **cookbook**, a list of small experiments in a
# fixed order. Each of them has an outcome that is known before, so that a surprise means a mistake:
#
# 1. Look at the data: shapes, ranges, how often each class comes.
# 2. Build the input pipeline, let it run, and measure how long an iteration takes.
# 3. Take the simplest model that could work. Is the **loss before training** what it should be?
# 4. **Overfit one batch.** A model that cannot learn eight examples by heart will not learn eight thousand.
# 5. Make a **baseline** to beat.
# 6. Improve what the **gaps between the errors** say is worth improving.
#
# You write what judges these experiments: seven short functions. Some are about arrays, others about a few plain
# numbers that were measured. At the end all of them are put to work on handwritten digits.

# %%
import math

import jax
import jax.numpy as jnp

# %% [markdown]
# ## The loss before training
#
# Initial weights are random and know nothing. A model that knows nothing should give each of $C$ classes the same probability,
# $1/C$, and have the loss
#
# $$ -\ln \frac{1}{C} = \ln C $$
#
# with the natural logarithm, `math.log`: 0.693 for two classes, 2.303 for ten, 6.908 for a thousand. It costs one
# batch to look at it, and tells a lot:
#
# - **much higher**: the model is *sure*, and mostly of wrong answers. Its inputs or its last layer's weights are too large. Training
#   would begin with taking this back;
# - **much lower**: it knows something that it cannot know. Does it see the labels? Or the loss is not the mean over the
#   examples, or has another logarithm;
# - **not a finite number**: an overflow, a logarithm of 0, a 0/0.
#
# Random weights are not quite all alike, so "the same" means: at most 20 % more or less than $\ln C$.
#
# One trap: NaN is not larger than 1, nor smaller, nor equal. `>`, `<` and `==` with it are all False, so that it may slip through
# any of your `if`s. `math.isfinite(x)` is False for NaN and for the infinities.


# %%
def verdict_at_start(loss, classes):
    """Judges the loss before any training.

    Args:
        loss: a Python float, the mean loss of the first batch; it may be NaN or infinite.
        classes: a Python int of at least 2, how many classes there are.

    Returns:
        A str: "fine" if the loss is within 20 % of ln(classes), "too high" or "too low" if it is not, "not finite" if it
        is NaN or infinite.
    """
    ### BEGIN SOLUTION
    expected = math.log(classes)
    if not math.isfinite(loss):
        return "not finite"
    if abs(loss - expected) <= 0.2 * expected:
        return "fine"
    return "too high" if loss > expected else "too low"
    ### END SOLUTION


# %% [markdown]
# ## Overfit one batch
#
# Take one batch and train on it again and again. No skill is needed to learn a few examples by heart, so the loss must
# come **near 0**. If it does not, there is a mistake: a gradient that does not arrive, a layer that is not connected, a step in
# the wrong direction, a learning rate that is far off. It takes a second to see this here, and a night to see it in a real
# training run.
#
# The function that trains gets everything as arguments, the loss too: `loss_fn(params, batch)` is one number. Parameters are a
# tree, so update them with `jax.tree.map`, a step against the gradient:
#
#     params - learning_rate * gradient
#
# Report the loss of each step **before** its update. Then the first number is the loss before training, the one that you
# have just judged. `jax.value_and_grad` gives a loss and its gradient in one go.
#
# A Python loop of 300 steps would be written out 300 times when JAX traces it, and take long to compile. `jax.lax.scan(step, start, None,
# length=300)` traces one step. `step(carry, _)` returns a pair: what is carried to the next step, and
# what is to be kept of this one. Scan returns the last carry and all that was kept, stacked:
#
#     last, kept = jax.lax.scan(lambda n, _: (2 * n, n), 1, None, length=5)    # 32 and [1, 2, 4, 8, 16]


# %%
def overfit_one_batch(loss_fn, params, batch, learning_rate, steps):
    """Trains on one batch alone, with plain gradient descent.

    Args:
        loss_fn: a function (params, batch) -> float32 [].
        params: a nested dict of arrays, each float32 [...].
        batch: what loss_fn takes as its second argument, the same at every step.
        learning_rate: float32 [].
        steps: a Python int of at least 1.

    Returns:
        A pair: the parameters after the last step, a nested dict like params, and the loss of each step before its update,
        float32 [steps].
    """
    ### BEGIN SOLUTION

    def step(params, _):
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        return jax.tree.map(lambda p, g: p - learning_rate * g, params, grads), loss

    return jax.lax.scan(step, params, None, length=steps)
    ### END SOLUTION


# %% [markdown]
# ## A baseline: what can be had without looking
#
# 90 % accuracy: is that good? If 90 % of the patients are healthy, a model gets it by saying "healthy" without
# opening the file. So ask first what can be had **without looking at the inputs**.
#
# All that such a model can learn is how often each class comes: class $c$ has a share $f_c$ of the examples. Its loss is smallest
# when it answers with just these shares, for every example, and then it is their **entropy**:
#
# $$ L = -\sum_c f_c \ln f_c $$
#
# With classes of equal size that is $\ln C$ again; with any others it is less. And the most it can get right is the share of the
# **most frequent class**, by naming it always.
#
# A real model must beat both. One that is trained with all inputs set to 0 ends exactly here, and if yours does no better with the
# real inputs, they do not reach it.
#
# A class may be missing: then $f_c = 0$, and its term is 0, since $f \ln f$ goes to 0 with $f$. A computer says that 0 times
# minus infinity is NaN. `jnp.where(f > 0, f, 1.0)` is a way to keep the 0 out of the logarithm. `jnp.bincount(labels, length=classes)`
# counts.


# %%
def baseline(labels, classes):
    """The best loss and the best accuracy of a model that does not look at its inputs.

    Args:
        labels: int32 [n], from 0 to classes - 1; a class may be missing.
        classes: a Python int.

    Returns:
        A pair: the loss, the entropy of the labels in natural units, float32 [], and the accuracy, a share, float32 [].
    """
    ### BEGIN SOLUTION
    shares = jnp.bincount(labels, length=classes) / len(labels)
    loss = -jnp.sum(shares * jnp.log(jnp.where(shares > 0, shares, 1.0)))
    return loss, jnp.max(shares)
    ### END SOLUTION


# %% [markdown]
# ## How long does an iteration take?
#
# From one step to the next, four stages take time. Measured one by one, in seconds:
#
#     stages = {"disk": 0.010, "preprocessing": 0.030, "transfer": 0.002, "model": 0.020}
#
# A batch is read from disk, decoded and transformed by the CPU, copied to the memory of the device that computes, and then used
# for a training step. The first three together are the **ingestion**, the last one is the **train step**.
#
# When each waits for the one before, an iteration takes
#
#     ingestion + train step
#
# That is no law. With **prefetch**, somebody else gets the next batch ready while the model computes. Then the two run side by
# side, and an iteration takes as long as the **longer** of the two: in the example 0.042 seconds instead of 0.062. (Real numbers
# come near to that, not quite to it.)


# %%
def iteration_time(stages, prefetch):
    """The time from one training step to the next.

    Args:
        stages: a dict with the seconds of "disk", "preprocessing", "transfer" and "model", each a Python float.
        prefetch: a Python bool, whether the ingestion (the first three, one after the other) overlaps with the model.

    Returns:
        A float, seconds.
    """
    ### BEGIN SOLUTION
    ingestion = stages["disk"] + stages["preprocessing"] + stages["transfer"]
    return max(ingestion, stages["model"]) if prefetch else ingestion + stages["model"]
    ### END SOLUTION


# %% [markdown]
# ## Which bottleneck?
#
# One of the four stages holds up the others, and for each there is another cure:
#
# | bottleneck | what it looks like | what helps |
# |---|---|---|
# | the model | the train step is nearly all of the iteration | a smaller model, lower precision, a faster device |
# | the transfer | copying from the host's memory to the device's | fewer, larger batches; smaller numbers: uint8 instead of float32 |
# | preprocessing | the CPU is busy, the device waits | several workers, cached results, whole batches at a time |
# | the disk | waiting for files, mostly many small ones | a few large files, read in order; a cache |
#
# The wrong cure costs a week and gains nothing. So: which stage is it? If nothing overlaps, the one that takes longest. With
# prefetch, look at the longer *side* first. On the shorter side nothing can be gained, for it is hidden behind the other:
#
#     stages = {"disk": 0.010, "preprocessing": 0.030, "transfer": 0.002, "model": 0.035}
#
# Here the model is the longest of the four, and with prefetch it is still not the bottleneck: the ingestion takes 0.042 seconds,
# and the longest part of that is the preprocessing.


# %%
def bottleneck(stages, prefetch):
    """Names the stage that holds up the training.

    Args:
        stages: a dict with the seconds of "disk", "preprocessing", "transfer" and "model", each a Python float. No two
            are equal, and the model does not take exactly as long as the ingestion.
        prefetch: a Python bool, whether the ingestion (the first three, one after the other) overlaps with the model.

    Returns:
        A str, one of the four names: without prefetch the longest stage, with prefetch the longest one on the longer side.
    """
    ### BEGIN SOLUTION
    ingestion = {name: seconds for name, seconds in stages.items() if name != "model"}
    if prefetch and stages["model"] > sum(ingestion.values()):
        return "model"
    looked_at = ingestion if prefetch else stages
    return max(looked_at, key=looked_at.get)
    ### END SOLUTION


# %% [markdown]
# ## What would it bring?
#
# Before you spend a week on a cure, predict what it brings: if the preprocessing took half the time, how many iterations would
# there be in a second? Put the new time into the stages, and ask `iteration_time` again. With prefetch there is a limit: once the
# other side is the longer one, a stage may take no time at all, and nothing changes.
#
# The measured times are still needed afterwards, so leave the dict that you are given as it is: `{**stages, "disk": 0.0}` is a
# new one with one entry changed.


# %%
def rate_after(stages, prefetch, stage, factor):
    """Predicts the iterations per second after one stage was changed.

    Args:
        stages: a dict with the seconds of "disk", "preprocessing", "transfer" and "model", each a Python float.
        prefetch: a Python bool, whether the ingestion (the first three, one after the other) overlaps with the model.
        stage: a str, the name of the stage that is changed.
        factor: a Python float of at least 0: that stage then takes `factor` times as long as it does now.

    Returns:
        A float, iterations per second.
    """
    ### BEGIN SOLUTION
    changed = {**stages, stage: factor * stages[stage]}
    return 1 / iteration_time(changed, prefetch)
    ### END SOLUTION


# %% [markdown]
# ## The gaps between the errors
#
# Now it trains, fast enough, and has 12 % errors on new examples. What next? That depends on where the 12 % come from. Three
# errors, each a share of examples:
#
# - the **floor**: what nobody can get below, as a human, or the best possible classifier (Bayes's);
# - the error on the **training** set;
# - the error on the **validation** set, examples that it was not trained on.
#
# From the floor to the training error is the **avoidable bias**: the model has not even learnt what it was shown. From the
# training error to the validation error is the **variance**: it has learnt too much of what it was shown, and not enough of what
# is general.
#
# | floor | training | validation | avoidable bias | variance |
# |---|---|---|---|---|
# | 1 % | 10 % | 12 % | **9 %** | 2 % |
# | 1 % | 2 % | 12 % | 1 % | **10 %** |
# | 9 % | 10 % | 12 % | 1 % | **2 %** |
#
# The same 12 % each time, and not the same to do. A gap can be below 0, when a floor was guessed too high or the validation set
# is easy: then it is smaller than any gap above 0.
#
# What helps against the one does nothing against the other, or harm. Against avoidable bias helps what lets the model learn
# **more** of the training set; against variance, what keeps it from learning that set by heart, or makes the set larger. Here are
# eight ideas. Four are for each gap; which?
#
# - `"a larger model"` has room for more.
# - `"more data"`: new examples, which nobody can know by heart yet.
# - `"longer training"` goes further down the training loss.
# - `"augmentation"`: each example in many variants, moved, turned, with noise.
# - `"more dropout"`: no unit can rely on another.
# - `"a better optimizer"`, or another learning rate, gets further in the same time.
# - `"earlier stopping"`: before the validation error rises again.
# - `"less regularisation"`: a lower price on the weights.


# %%
def what_to_do(floor, train, validation, ideas):
    """Names the larger gap, and the ideas that help against it.

    Args:
        floor: a Python float, the error of the best there is, a share of examples.
        train: a Python float, the error on the training set.
        validation: a Python float, the error on the validation set.
        ideas: a list of str, each one of the eight above, in any order.

    Returns:
        A pair: a str, "avoidable bias" or "variance", whichever gap is larger (they are never equal), and a list of those ideas
        that help against it, in the order in which they were given.
    """
    ### BEGIN SOLUTION
    helps = {
        "avoidable bias": {"a larger model", "longer training", "a better optimizer", "less regularisation"},
        "variance": {"more data", "augmentation", "more dropout", "earlier stopping"},
    }
    larger = "avoidable bias" if train - floor > validation - train else "variance"
    return larger, [idea for idea in ideas if idea in helps[larger]]
    ### END SOLUTION


# %% [markdown]
# ## The cookbook on handwritten digits
#
# Run this part when all tasks pass: in the notebook cell by cell, or this whole file with `python`. Plots open.
#
# `aidl_jax.train.cookbook` has these experiments ready; each returns a report that prints and plots. First, the data: 1,797
# digits of 8 by 8 pixels. A fifth of them is put aside for validation.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from aidl_jax import data, losses, models, optimizers
from aidl_jax.scope import apply
from aidl_jax.train import cookbook, evaluate, fit, make_eval_step, make_state, make_train_step, state_of

pixels, digits = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(digits))
images, labels = np.float32(pixels.reshape(-1, 8, 8, 1) / 16)[order], np.int32(digits)[order]
batches = data.from_tensor_slices((images[360:], labels[360:])).shuffle(seed=0).batch(32)

report = cookbook.look_at(batches)
print(report)
report.plot()
plt.show()

# %% [markdown]
# The model: one hidden layer of 64 units.


# %%
def network(scope, x):
    return models.mlp(scope, x.reshape(len(x), -1), units=(64, 10))


def loss_fn(params, model_state, batch, key):
    logits, model_state = apply(network)(params, model_state, batch[0])
    loss = losses.softmax_cross_entropy(logits, batch[1], reduction="mean")
    return loss, (model_state, {"accuracy": losses.accuracy(logits, batch[1])})


optimizer = optimizers.adam(0.003)
drawn = make_state(network, optimizer, jax.random.key(0), images[:1])
recipe = cookbook.Recipe(loss_fn, optimizer, drawn, batches)

report = cookbook.loss_at_start(recipe, classes=10)
print(report)
print("your verdict:", verdict_at_start(report.loss, 10))
report.plot()
plt.show()

# %% [markdown]
# A surprise. The usual initial weights make this last layer too sure of itself. Take the report's advice: a tenth of its weights
# is nearer to knowing nothing.

# %%
smaller = jax.tree.map(lambda weights: 0.1 * weights, drawn.params["layer2"])
state = state_of(drawn.params | {"layer2": smaller}, {}, optimizer, drawn.key)
recipe = cookbook.Recipe(loss_fn, optimizer, state, batches)
print(cookbook.loss_at_start(recipe, classes=10))

# %% [markdown]
# And pixels from 0 to 255, which somebody forgot to scale, would be seen at once:

# %%
loud = batches.map(lambda image, label: (255 * image, label))
print(cookbook.loss_at_start(cookbook.Recipe(loss_fn, optimizer, state, loud), classes=10))

# %% [markdown]
# One batch by heart, once with your function and plain gradient descent, once with the library and Adam.

# %%
batch = recipe.first()
_, curve = overfit_one_batch(lambda p, b: loss_fn(p, {}, b, None)[0], state.params, batch, 0.3, 300)
report = cookbook.overfit_one_batch(recipe)
print(f"yours: loss {curve[0]:.3f} to {curve[-1]:.3f}")
print(report)
report.plot().axes[0].plot(np.arange(1, 301), curve, "--", color="black", label="yours")
plt.legend()
plt.show()

# %% [markdown]
# The baseline. The model that sees only zeros comes near your number and stays there.

# %%
loss, accuracy = baseline(labels[360:], 10)
print(f"without looking: loss {loss:.3f}, accuracy {accuracy:.1%}")
report = cookbook.input_independent(recipe)
print(report)
report.plot().axes[0].axhline(loss, color="black", linewidth=0.8)
plt.show()

# %% [markdown]
# Two more experiments of this kind: labels that belong to other examples must *not* be learnt, and a learning rate that rises
# from step to step shows which rates are too small and which are too large.

# %%
report = cookbook.shuffled_labels(recipe)
print(report)
report = cookbook.rate_range(recipe, optimizers.adam)
print(report)
report.plot()
plt.show()

# %% [markdown]
# Where does the time go? Each digit is written to a file of its own, and each stage is measured for a batch of 32, one after the
# other; of ten rounds the fastest counts. (`aidl_jax.train.measure` does this for any dataset, and `diagnose` names the bottleneck.)

# %%
import tempfile
import time
from pathlib import Path


def read(folder, names):
    return [(folder / f"{name}.txt").read_text() for name in names]


def parse(texts):
    return np.stack([np.float32(text.split()).reshape(8, 8, 1) / 16 for text in texts])


def seconds_of(function, *args):
    start = time.perf_counter()
    result = jax.block_until_ready(function(*args))
    return result, time.perf_counter() - start


gradients = jax.jit(jax.grad(lambda params, batch: loss_fn(params, {}, batch, None)[0]))
rounds = []
with tempfile.TemporaryDirectory() as folder:
    for number in range(32):
        (Path(folder) / f"{number}.txt").write_text(" ".join(map(str, pixels[number])))
    for _ in range(10):
        texts, disk = seconds_of(read, Path(folder), range(32))
        parsed, preprocessing = seconds_of(parse, texts)
        sent, transfer = seconds_of(jax.device_put, (parsed, labels[:32]))
        _, model = seconds_of(gradients, state.params, sent)
        rounds.append({"disk": disk, "preprocessing": preprocessing, "transfer": transfer, "model": model})
stages = {name: min(one[name] for one in rounds) for name in rounds[0]}
for prefetch in (False, True):
    slow = bottleneck(stages, prefetch)
    now, then = 1 / iteration_time(stages, prefetch), rate_after(stages, prefetch, slow, 0.5)
    print(f"prefetch {prefetch}: bottleneck {slow}, {now:,.0f} iterations/s, {then:,.0f} if it took half the time")
plt.bar(stages.keys(), [1000 * seconds for seconds in stages.values()])
plt.ylabel("ms")
plt.title("One batch of 32")
plt.show()

# %% [markdown]
# Last, the gaps. How many such small digits a human would misread, nobody has counted here; 1 % is a guess. If the training error
# comes out below it, the guess was too high.

# %%
trained = fit(make_train_step(loss_fn, optimizer), state, batches.repeat(), steps=600)
measure = make_eval_step(lambda params, model_state, batch: loss_fn(params, model_state, batch, None)[1][1])
sets = {"train": slice(360, None), "validation": slice(360)}
errors = {
    name: 1 - evaluate(measure, trained, data.from_tensor_slices((images[part], labels[part])).batch(360))["accuracy"]
    for name, part in sets.items()
}
report = cookbook.error_gaps(floor=0.01, **errors)
print(report)
ideas = ["a larger model", "more data", "longer training", "augmentation"]
print("your advice:", what_to_do(0.01, errors["train"], errors["validation"], ideas))
report.plot()
plt.show()

# %% [markdown]
# ## To think about
#
# - Make the learning rate 100 times as large or as small. Which of the experiments is the first to notice?
# - Shuffle the labels of the whole training set once, before training, instead of anew in each batch. A large network can learn even
#   that. How does the loss on new examples tell?
# - With prefetch, how fast can it get if only the bottleneck is cured? Which stage is the next bottleneck then?
# - Three workers preprocess three batches at a time. What becomes of `iteration_time`?
# - Why may the training error be below the floor, and what does that say about the floor?
