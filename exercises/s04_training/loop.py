# Exercise s04_training/loop. Write the functions below; `aidl check s04/loop` says how it goes.
# It looks at these functions and what they use; run the file itself to see your prints and the plots.

# %% [markdown]
# # The training loop, and how to stop it
#
# A network, a loss and an optimizer are there. What is left is to go round: take a batch, make a step, take the next. It
# is a loop of four lines, until the machine is switched off in the middle of the night. Here you write that loop, the step in it, the
# evaluation beside it, and the checkpoints that let it go on next morning **as if nothing had happened**: to the last bit.
#
# Some words first:
#
# - a **step**: one batch, one set of gradients, one update of the parameters;
# - an **iteration**: one round of the loop, that is getting a batch *and* making a step with it;
# - an **epoch**: as many steps as it takes to go through the training data once;
# - an **evaluation**: the network is asked about data that it is not trained with, and nothing is updated.
#
# The network is a small one, 64-32-10: the 64 pixels of a handwritten digit go in, 32 hidden units with a ReLU, and out
# come ten logits, one for each digit.

# %%
import jax
import jax.numpy as jnp
import optax

# %% [markdown]
# ## The network
#
# Two layers, each a matrix product and a bias, and between them the ReLU: `max(0, a)`. The parameters lie in a dict of layers:
#
#     {"hidden": {"weights": [64, 32], "biases": [32]}, "output": {"weights": [32, 10], "biases": [10]}}


# %%
def forward(params, pixels):
    """A network of one hidden layer with a ReLU.

    Args:
        params: a dict with "hidden" and "output". Each is a dict with "weights", float32 [inputs, outputs], and "biases",
            float32 [outputs].
        pixels: float32 [batch, inputs], one picture a row.

    Returns:
        float32 [batch, classes], the logits.
    """
    raise NotImplementedError("forward is still to be written")


# %% [markdown]
# The loss is the cross-entropy that you wrote before, here optax's. A **batch** is a pair: pictures and their labels.


# %%
def digit_loss(params, batch):
    pixels, labels = batch
    return optax.softmax_cross_entropy_with_integer_labels(forward(params, pixels), labels).mean()


# %% [markdown]
# ## From a loss and an optimizer to a step
#
# Many libraries have something called `minimize`. It takes a loss and an optimizer and returns what is to be
# done at each step. With functions: it takes a function and returns a function.
#
#     step = minimize(digit_loss, optax.sgd(0.1, momentum=0.9))
#     params, opt_state, loss = step(params, opt_state, batch)
#
# What a step needs, it is handed, and what it changes, it returns. Nothing is hidden in an object, so that whoever has
# `params` and `opt_state` has all that the step remembers. This is what makes a run something that can be saved.
#
# An optimizer of optax is a pair of functions:
#
# - `optimizer.init(params)` makes the first `opt_state`. It is called **once**, before the first step, and not by your function.
# - `optimizer.update(grads, opt_state, params)` returns `(updates, opt_state)`. The updates have the form of the parameters,
#   and are what has to be **added** to them: the sign is turned already, and the learning rate is in them.
#   `optax.apply_updates(params, updates)` adds them, leaf by leaf.


# %%
def minimize(loss_fn, optimizer):
    """Makes a train step.

    Args:
        loss_fn: a function (params, batch) -> loss, float32 [].
        optimizer: has optimizer.update(grads, opt_state, params) -> (updates, opt_state), as any of optax.

    Returns:
        A function (params, opt_state, batch) -> (params, opt_state, loss): the new parameters, float32 [...] each, the new state
        of the optimizer, and the loss before the update, float32 [].
    """
    raise NotImplementedError("minimize is still to be written")


# %% [markdown]
# ## The evaluation
#
# The loss tells the optimizer where to go. What *we* want to know is how many digits are read right, of those that were never
# trained with. The network's answer is the class with the largest logit: `jnp.argmax(logits, axis=...)`.
#
# The data comes in batches here too, and the last one is often shorter: 597 pictures in batches of 100 are five of 100 and one of
# 97. A picture in a short batch must not count for more than any other. So add up **how many** are right, and divide once, at the end.


# %%
def evaluate(params, batches):
    """The share of all pictures whose digit is read right.

    Args:
        params: of the network, as forward takes them.
        batches: a list of pairs: pixels, float32 [size, inputs], and labels, int32 [size]. The sizes may differ.

    Returns:
        float32 [], from 0 to 1.
    """
    raise NotImplementedError("evaluate is still to be written")


# %% [markdown]
# ## Which rows are in batch number 300?
#
# Each epoch goes through all rows in an order of its own. A loop that shuffles a list at the start of each epoch and walks along it
# keeps the order and the place in its variables, and they are gone when it stops.
#
# So turn it round: which rows belong to a step is a **function of the step's number**. Then nobody has to remember anything. With `size`
# rows in a batch, an epoch has `count // size` steps (what is left over sits out this epoch; in the next, it will be others). From the
# number of the step follow the number of the epoch, and the place in it:
#
#     count = 10, size = 3: three steps an epoch
#
#     step     0  1  2   3  4  5   6  7  8
#     epoch    0  0  0   1  1  1   2  2  2
#     place    0  1  2   0  1  2   0  1  2
#
# The order of an epoch is a permutation, drawn with a key of that epoch: `jax.random.fold_in(key, number)` makes a new key of a key and a
# number, and `jax.random.permutation(key, count)` an order of 0, 1, ..., count - 1. Each step of the epoch draws the same order, and cuts
# another piece of it. The step has no value while your function is traced, so a slice `order[a:b]` with it fails. Either
# `jax.lax.dynamic_slice(order, (start,), (size,))`, or make a table with one row for each batch and take a row of it.


# %%
def batch_rows(key, step, count, size):
    """The rows that are in a step's batch.

    In each epoch all batches together hold no row twice. Each epoch has an order of its own.

    Args:
        key: a JAX PRNG key, the same for the whole run.
        step: int32 [], the number of the step, from 0 on, over all epochs.
        count: a Python int, how many rows there are.
        size: a Python int, how many rows are in a batch; at most count.

    Returns:
        int32 [size], numbers from 0 to count - 1.
    """
    raise NotImplementedError("batch_rows is still to be written")


# %% [markdown]
# ## The loop
#
# Now a whole run, between two steps, is four things:
#
#     state = {"step": 0, "params": params, "opt_state": opt_state, "key": key}
#
# - "step" says how many steps have been done, and by it, where in the data the run is;
# - "params" and "opt_state" are what a step returned. Without the optimizer's state, a run with momentum would start again from standstill;
# - "key" is where all chance comes from: here the order of the data, in other networks dropout, too.
#
# The loop takes such a state and gives one back. It does not ask whether the state is fresh or from last night: it goes on from where
# the state is. "Until step 400" means the same for both, "400 more steps" does not.


# %%
def train_until(step_fn, make_batch, state, steps):
    """Trains from wherever the state is, until so many steps have been done in all.

    Args:
        step_fn: a function (params, opt_state, batch) -> (params, opt_state, loss), as minimize makes it.
        make_batch: a function (key, step) -> batch. It is given the state's key and the number of the step, from 0 on.
        state: a dict with "step", a Python int, how many steps have been done; "params" and "opt_state", trees of arrays,
            each float32 [...]; and "key".
        steps: a Python int, how many steps will have been done at the end, more than state["step"].

    Returns:
        A pair: the new state, a dict as the one given, which stays as it was; and the losses of the steps that were made, float32 [n].
    """
    raise NotImplementedError("train_until is still to be written")


# %% [markdown]
# ## Which checkpoint?
#
# A **checkpoint** is the state in a file. That of step 300 is called `step_300`. While it is being written, it is called
# `step_300.tmp`. There may be other things in the folder, notes or plots. `step_of` tells the number.


# %%
def step_of(name):
    """The step of a complete checkpoint: 300 for "step_300"; None for any other name."""
    number = name.removeprefix("step_")
    return int(number) if name.startswith("step_") and number.isdecimal() else None


# %% [markdown]
# To go on, take the newest that is complete. Mind that "step_1000" comes *before* "step_900" in the alphabet.


# %%
def newest(names):
    """The newest complete checkpoint.

    Args:
        names: a list of str, the names of all files in the folder, in any order.

    Returns:
        A str, the name of the complete checkpoint of the latest step; None if there is none.
    """
    raise NotImplementedError("newest is still to be written")


# %% [markdown]
# ## To save, in an order that survives
#
# Checkpoints are large, so only the latest few are kept, and a machine can stop at any moment: in the middle of writing a file, too.
# What is half written looks like a file and holds nonsense. Therefore:
#
# 1. **Write under another name**, `step_400.tmp`, so that nobody takes half a file for a checkpoint.
# 2. **Rename** it to `step_400` when all is written. Within a folder that happens as a whole or not at all; file systems promise it.
# 3. Only now **remove** what is too old. Who removes first and then stops has thrown away the old one without having the new one.
#
# You write the *plan*: not what does it, but a list of what is to be done, in order. It is plain data, so that it can be looked at and
# tested. Yours is followed step by step, and stopped after each step, and in the middle of each, to see what is left.
#
#     save_plan(["step_100", "step_200"], 300, keep=2)
#
#     [("write", "step_300.tmp"), ("rename", "step_300.tmp", "step_300"), ("remove", "step_100")]
#
# A `.tmp` that is there already was left by a save that did not end. Nobody needs it: remove it.


# %%
def save_plan(names, step, keep):
    """What is to be done to save a checkpoint and to keep the latest ones.

    Wherever the plan is stopped, at least as many complete checkpoints are there as before, or `keep` of them.

    Args:
        names: a list of str, the names of all files in the folder, in any order.
        step: a Python int, the step to save, later than all that are there.
        keep: a Python int of at least 1, how many checkpoints are there at the end: the latest, the new one among them.

    Returns:
        A list of tuples of str: ("write", name), ("rename", from, to) or ("remove", name). At the end, files that are neither
        checkpoints nor ".tmp" are there still, and none that ends in ".tmp".
    """
    raise NotImplementedError("save_plan is still to be written")


# %% [markdown]
# ## A night's run
#
# Run this part when all tasks pass: in the notebook cell by cell, or this whole file with `python`. Plots open.
#
# The data: scikit-learn's 1797 digits, two thirds to train with. First, what carries out a plan and reads a checkpoint. `os.fsync` waits until
# the disk really has the file: else it could be renamed before it is written. (A key goes into a file as two numbers.)

# %%
import os
import tempfile

import numpy as np


def packed(state):
    return jax.tree.leaves({**state, "key": jax.random.key_data(state["key"])})


def save(folder, state, keep):
    for verb, name, *to in save_plan(os.listdir(folder), state["step"], keep):
        path = os.path.join(folder, name)
        if verb == "write":
            with open(path, "wb") as file:
                np.savez(file, *packed(state))
                file.flush()
                os.fsync(file.fileno())
        elif verb == "rename":
            os.replace(path, os.path.join(folder, *to))
        else:
            os.remove(path)


def load(folder, like):
    with np.load(os.path.join(folder, newest(os.listdir(folder)))) as file:
        leaves = [jnp.asarray(file[name]) for name in file.files]
    state = jax.tree.unflatten(jax.tree.structure(like), leaves)
    return {**state, "step": int(state["step"]), "key": jax.random.wrap_key_data(state["key"])}


# %%
from sklearn.datasets import load_digits

pictures, labels = load_digits(return_X_y=True)
pictures, labels = np.float32(pictures / 16), np.int32(labels)
shuffled = np.random.default_rng(0).permutation(len(labels))
to_train, to_test = shuffled[:1200], shuffled[1200:]
test_batches = [(pictures[rows], labels[rows]) for rows in np.split(to_test, range(100, len(to_test), 100))]
SIZE, LAST, EVERY, KEEP = 32, 600, 50, 3


def dense(key, inputs, outputs):
    return {"weights": jax.random.normal(key, (inputs, outputs)) / inputs**0.5, "biases": jnp.zeros(outputs)}


@jax.jit
def digit_batch(key, step):
    rows = jnp.asarray(to_train)[batch_rows(key, step, len(to_train), SIZE)]
    return jnp.asarray(pictures)[rows], jnp.asarray(labels)[rows]


optimizer = optax.sgd(0.02, momentum=0.9)
digit_step = jax.jit(minimize(digit_loss, optimizer))
accuracy = jax.jit(evaluate)


def new_state():
    key, for_hidden, for_output = jax.random.split(jax.random.key(0), 3)
    params = {"hidden": dense(for_hidden, 64, 32), "output": dense(for_output, 32, 10)}
    return {"step": 0, "params": params, "opt_state": optimizer.init(params), "key": key}


def run(folder, state, last):
    losses, read_right = [], []
    while state["step"] < last:
        state, some = train_until(digit_step, digit_batch, state, min(last, state["step"] + EVERY))
        save(folder, state, KEEP)
        losses.extend(some.tolist())
        read_right.append((state["step"], float(accuracy(state["params"], test_batches))))
    return state, losses, read_right


print(f"{len(to_train) // SIZE} steps are an epoch, {LAST} steps are {LAST / (len(to_train) // SIZE):.1f} epochs")
with tempfile.TemporaryDirectory() as folder:
    whole, losses, read_right = run(folder, new_state(), LAST)
    print("in the folder:", sorted(os.listdir(folder)))
print(
    f"first loss {losses[0]:.2f} (log 10 = {np.log(10):.2f}), last {losses[-1]:.3f}; {read_right[-1][1]:.1%} read right"
)

# %% [markdown]
# ## Stopped, and gone on
#
# The same run, but at step 320 the machine stops. The newest checkpoint is that of step 300: twenty steps are lost, and have to be made again. Then it goes
# on from the file, in four ways: with all of the state; without the optimizer's; with another key, so another order of the data; and with
# the data begun again, that is, with "step" set to 0. What is the largest difference of any parameter from the run that never stopped?

# %%
with tempfile.TemporaryDirectory() as folder:
    state, _, _ = run(folder, new_state(), 300)
    train_until(digit_step, digit_batch, state, 320)  # here the machine stops, and what came out is lost
    loaded = load(folder, new_state())

forgotten = {
    "nothing": {},
    "the optimizer's state": {"opt_state": optimizer.init(loaded["params"])},
    "the key": {"key": jax.random.key(1)},
    "the step": {"step": 0},
}


def difference(one, other):
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other))
    return max(float(jnp.max(jnp.abs(a - b))) for a, b in pairs)


gone_on = {}
for name, part in forgotten.items():
    state, last = {**loaded, **part}, LAST - loaded["step"] + part.get("step", loaded["step"])
    end, gone_on[name] = train_until(digit_step, digit_batch, state, last)
    print(f"forgotten: {name:22} largest difference {difference(end['params'], whole['params']):.2g}")
    if not part:
        print("to the last bit:", all(np.array_equal(a, b) for a, b in zip(packed(end), packed(whole))))

# %%
import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8))
left.semilogy(losses, linewidth=0.6, label="loss of each batch")
left.axvline(300, color="gray", linestyle="--", linewidth=0.8)
left.set(xlabel="step")
beside = left.twinx()
beside.plot(*zip(*[(step, 100 * share) for step, share in read_right]), "k.-", label="% of new digits read right")
figure.legend(loc="center", bbox_to_anchor=(0.33, 0.58), fontsize=8)
for name, resumed in gone_on.items():
    right.semilogy(range(300, LAST), np.abs(resumed - np.asarray(losses[300:])) + 1e-9, linewidth=0.8, label=name)
right.set(xlabel="step", title="Losses: how far from the run that never stopped")
right.legend(title="forgotten", fontsize=8, loc=(0.03, 0.1))
figure.tight_layout()
plt.show()

# %% [markdown]
# ## The same with a library
#
# `aidl_jax.train` is built in this way: a `TrainState`, a step from state to state, and `fit`, a loop that takes hooks, functions that are called
# after each step. Given the same batches in the same order, it comes to the same parameters, but for rounding. Its hook
# `aidl_jax.train.checkpoints.checkpoints(folder, every=50, keep=3)` saves as you do, in the background, and with the place in the data.

# %%
from aidl_jax import data
from aidl_jax.train import fit, make_train_step, state_of


def library_loss(params, model_state, batch, key):
    return digit_loss(params, batch), (model_state, {})


begin = new_state()
stacked = jax.vmap(lambda step: batch_rows(begin["key"], step, len(to_train), SIZE))(jnp.arange(LAST))
rows = to_train[np.asarray(stacked).ravel()]
seen = []
fitted = fit(
    make_train_step(library_loss, optimizer),
    state_of(begin["params"], {}, optimizer, begin["key"]),
    data.from_tensor_slices((pictures[rows], labels[rows])).batch(SIZE),
    steps=LAST,
    hooks=[lambda moment: seen.append(moment.metrics["loss"])],
)
print(f"steps {int(fitted.step)}, last loss {float(seen[-1]):.3f}")
print(f"largest difference from yours: {difference(fitted.params, whole['params']):.2g}")

# %% [markdown]
# ## To think about
#
# - Without the optimizer's state, the run comes near again after a while, but never back. Why? Which of optax's optimizers
#   could do without theirs?
# - A run keeps an average of its losses, and a list of the best five steps. Do they belong in the state?
# - With `keep=1` and saving every 50 steps: how many complete checkpoints are there at each moment, at least and at most? How many bytes does
#   the disk need for a model with Adam of a billion float32 weights?
# - A learning rate that falls with the number of the step: must anything be added to the checkpoint for it?
# - Why does `newest` not simply look at the files' dates?
