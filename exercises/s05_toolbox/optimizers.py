# Exercise s05_toolbox/optimizers. Write the functions below; `aidl check s05/optimizers` says how it goes.
# It looks at these functions and what they use; run the file itself to see your prints and the plots.

# %% [markdown]
# # Optimizers by hand
#
# Training asks two questions at every step: *how does the loss change with each parameter*, and *what do we do about it*?
# For the first there is `jax.grad`. The second is the **optimizer's**. You know the simplest
# answer, a step against the gradient. Here you write that one again, and four that are wiser: they remember what
# earlier gradients were like.
#
# ## Parameters in a tree
#
# A real model has many parameters, of all shapes, in a nested dict; each layer has a name, and its parameters have names
# within it:
#
#     params = {"hidden": {"w": ..., "b": ...}, "scale": ...}
#
# Such a thing is called a *tree*, and its arrays are the *leaves*. An optimizer must not care which names there are, or how
# deep they lie. `jax.tree.map` takes care of that: it calls a function on every leaf and builds a tree of the
# results. Given several trees of the same form, it calls the function on the leaves that stand in the same place:
#
#     jax.tree.map(lambda a, b: a + 10 * b, {"x": 1, "y": {"z": 2}}, {"x": 3, "y": {"z": 4}})
#     # {"x": 31, "y": {"z": 42}}
#
# ## An optimizer is a pair of functions
#
#     init(params)                                 -> state
#     update(grads, state, params, learning_rate)  -> (params, state)
#
# The **state** is what the optimizer remembers between two steps. A pure function keeps nothing, so the state
# goes in and a new state comes out, just like the parameters. `grads` is a tree of the same form as `params`, and so are most states.

# %%
import jax
import jax.numpy as jnp

# %% [markdown]
# ## What every init needs
#
# Most optimizers keep one or two numbers *for each single weight*. Their state begins as a tree in which every leaf has
# the shape and the dtype of the parameter in the same place, and one value everywhere. See `jnp.full_like`.


# %%
def filled_like(params, value):
    """A tree of the same form as the parameters, with the same value everywhere.

    Args:
        params: a nested dict of arrays, each float32 [...].
        value: float32 [], the value.

    Returns:
        A new nested dict with the same names; each array has the shape and dtype of the parameter in its place: float32 [...].
    """
    raise NotImplementedError("filled_like is still to be written")


# %% [markdown]
# With it, all five `init`s are written in a line each. Read them: they say what form each state has.


# %%
def sgd_init(params):
    return ()


def momentum_init(params):
    return filled_like(params, 0.0)


def adagrad_init(params):
    return filled_like(params, 0.1)


def rmsprop_init(params):
    return filled_like(params, 0.0)


def adam_init(params):
    return {"count": jnp.int32(0), "mean": filled_like(params, 0.0), "square": filled_like(params, 0.0)}


# %% [markdown]
# From here on, $g$ is a gradient, $p$ a parameter, $\eta$ the learning rate, and every formula is meant **by element**: each single
# weight follows it by itself. An arrow says what the new value is.
#
# ## SGD
#
# Stochastic gradient descent. It remembers nothing: its state is the empty tuple, which goes out as it came in.
#
# $$ p \leftarrow p - \eta\, g $$


# %%
def sgd_update(grads, state, params, learning_rate):
    """A step of stochastic gradient descent.

    Args:
        grads: a nested dict of arrays, each float32 [...].
        state: the empty tuple, ().
        params: a nested dict of the same form and shapes as grads, float32 [...].
        learning_rate: float32 [].

    Returns:
        A pair: the new parameters, float32 [...] each, and the state, ().
    """
    raise NotImplementedError("sgd_update is still to be written")


# %% [markdown]
# ## Momentum
#
# In a long, narrow valley the gradient points mostly across the valley, from wall to wall, and only a little along it. SGD goes
# back and forth, and hardly forward. A rolling ball does better: what goes back and forth cancels, and what
# keeps its direction adds up. So keep a **velocity** $v$, to which gradients are added and which slowly wears off:
#
# $$ v \leftarrow \mu\, v + g \qquad\quad p \leftarrow p - \eta\, v $$
#
# The step uses the *new* velocity. With $\mu = 0.9$ and a gradient that stays the same, $v$ grows to
# $1 + 0.9 + 0.9^2 + \dots = 10$ times the gradient: choose a learning rate ten times smaller than for SGD.
#
# Two other conventions are common: some put $\eta$ into the velocity, some put $1 - \mu$ before $g$. They are not wrong, but
# a learning rate means something else in each. What you write here agrees, step by step, with `optax.sgd(..., momentum=0.9)`, and
# the other four with their namesakes in optax, down to the constants.


# %%
def momentum_update(grads, state, params, learning_rate, decay=0.9):
    """A step of gradient descent with momentum.

    Args:
        grads: a nested dict of arrays, each float32 [...].
        state: the velocities, of the same form and shapes, float32 [...].
        params: the parameters, of the same form and shapes, float32 [...].
        learning_rate: float32 [].
        decay: what remains of the velocity after a step, float32 [] or a Python number.

    Returns:
        A pair: the new parameters and the new velocities, float32 [...] each.
    """
    raise NotImplementedError("momentum_update is still to be written")


# %% [markdown]
# ## Adagrad
#
# One learning rate for all weights is a compromise. A word that comes up once in a thousand sentences has a gradient once in
# a thousand steps; when it has one, its weights should move far. Adagrad adds up, for each weight, the squares
# of all its gradients so far, and divides by the root of the sum. Where gradients were large, steps become small; where they
# were small or rare, steps stay large:
#
# $$ s \leftarrow s + g^2 \qquad\quad p \leftarrow p - \eta\, \frac{g}{\sqrt{s + \epsilon}} $$
#
# $\epsilon$ is tiny. It keeps the root away from 0, and it stands **inside** the root. The sum begins
# at 0.1 (see `adagrad_init`) and not at 0, where the first step of every weight would be as long as any other's, however tiny its gradient.


# %%
def adagrad_update(grads, state, params, learning_rate, epsilon=1e-7):
    """A step of Adagrad.

    Args:
        grads: a nested dict of arrays, each float32 [...].
        state: the sums of squares, of the same form and shapes, float32 [...].
        params: the parameters, of the same form and shapes, float32 [...].
        learning_rate: float32 [].
        epsilon: added inside the root, float32 [] or a Python number.

    Returns:
        A pair: the new parameters and the new sums of squares, float32 [...] each.
    """
    raise NotImplementedError("adagrad_update is still to be written")


# %% [markdown]
# ## RMSProp
#
# A sum of squares only grows, so Adagrad's steps only shrink, and in a long training it comes to a halt. RMSProp
# keeps a **moving average** of the squares instead. An average forgets: what a gradient was like a hundred steps ago counts no more.
#
# $$ s \leftarrow \gamma\, s + (1 - \gamma)\, g^2 \qquad\quad p \leftarrow p - \eta\, \frac{g}{\sqrt{s + \epsilon}} $$
#
# The name says what the root is: the *root of the mean of the squares*, RMS, of recent gradients. Divided by it, a
# gradient of usual size becomes a number near 1 or −1, and $\eta$ is about the length of a step.


# %%
def rmsprop_update(grads, state, params, learning_rate, decay=0.9, epsilon=1e-8):
    """A step of RMSProp.

    Args:
        grads: a nested dict of arrays, each float32 [...].
        state: the moving averages of the squares, of the same form and shapes, float32 [...].
        params: the parameters, of the same form and shapes, float32 [...].
        learning_rate: float32 [].
        decay: what remains of the average after a step, float32 [] or a Python number.
        epsilon: added inside the root, float32 [] or a Python number.

    Returns:
        A pair: the new parameters and the new averages, float32 [...] each.
    """
    raise NotImplementedError("rmsprop_update is still to be written")


# %% [markdown]
# ## Adam
#
# Momentum averages the gradients, RMSProp their squares. Adam does both, and mends a flaw that both have. A moving
# average that begins at 0 is too small at first: after one step, $m$ is not $g$ but $0.1\,g$. How much too small, we
# know exactly: after $t$ steps, the shares of all gradients in the average add up to $1 - \beta^t$ and not to 1. So divide by that. This is the
# **bias correction**.
#
# $$ t \leftarrow t + 1 \qquad\quad m \leftarrow \beta_1\, m + (1 - \beta_1)\, g \qquad\quad s \leftarrow \beta_2\, s + (1 - \beta_2)\, g^2 $$
#
# $$ \hat m = \frac{m}{1 - \beta_1^t} \qquad\quad \hat s = \frac{s}{1 - \beta_2^t} \qquad\quad p \leftarrow p - \eta\, \frac{\hat m}{\sqrt{\hat s} + \epsilon} $$
#
# Mind three things: count **first**, or you divide by $1 - \beta^0 = 0$. The state keeps $m$ and $s$ as they are, *without* the correction.
# And $\epsilon$ stands **outside** the root here, unlike above.
#
# The state is a dict with "count", which is $t$, "mean", which is $m$, and "square", which is $s$.


# %%
def adam_update(grads, state, params, learning_rate, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """A step of Adam.

    Args:
        grads: a nested dict of arrays, each float32 [...].
        state: a dict with "count", int32 [], how many steps there were before; "mean" and "square", the moving
            averages of the gradients and of their squares, both of the same form and shapes as grads, float32 [...].
        params: the parameters, of the same form and shapes, float32 [...].
        learning_rate: float32 [].
        beta1: what remains of "mean" after a step, float32 [] or a Python number.
        beta2: what remains of "square" after a step, float32 [] or a Python number.
        epsilon: added to the root, float32 [] or a Python number.

    Returns:
        A pair: the new parameters, float32 [...] each, and the new state, a dict as the one given.
    """
    raise NotImplementedError("adam_update is still to be written")


# %% [markdown]
# ## In place of the backward pass by hand
#
# Back to linear regression, whose gradients you once wrote by hand. Now write its **train step** for any
# optimizer: the `update` is an argument, a function like those above.
#
# 1. Inside `train_step`, write the loss as a function *of the parameters*: the mean over the examples of
#    `(x @ w + b - targets) ** 2`. The data it takes from around it.
# 2. `jax.value_and_grad(loss_of)(params)` returns a pair: the loss at these parameters, and a tree of its derivatives.
# 3. Hand the gradients to `update`, and return what it gives, with the loss.
#
# Nothing in it knows how the gradient of a mean squared error looks, or how Adam works.


# %%
def train_step(update, params, state, x, targets, learning_rate):
    """A step of training a linear regression: the loss, its gradients, an update.

    Args:
        update: a function (grads, state, params, learning_rate) -> (params, state), such as adam_update.
        params: a dict with "w", float32 [features], and "b", float32 [].
        state: the state that belongs to update.
        x: float32 [examples, features].
        targets: float32 [examples].
        learning_rate: float32 [].

    Returns:
        Three things: the new parameters, the new state, and the mean squared error before the update, float32 [].
    """

    raise NotImplementedError("train_step is still to be written")


# %% [markdown]
# ## See them race
#
# Run this part when all tasks pass: in the notebook cell by cell, or this whole file with `python`. A plot opens.
#
# Left: a valley that is twenty times steeper across than along, seen from above. All start at the same point and
# look for the cross, 40 steps each. SGD's rate is nearly as large as it can be: a little more, and it would be thrown out of the
# valley. Right: the diabetes data, with the rates in the legend, and how far each loss is above the smallest
# that any weights can have. A straight line down means: the same factor gained at every step.

# %%
import matplotlib.pyplot as plt
from sklearn.datasets import load_diabetes

OPTIMIZERS = {  # name: init, update, learning rate in the valley, learning rate on the data
    "SGD": (sgd_init, sgd_update, 0.09, 0.05),
    "Momentum": (momentum_init, momentum_update, 0.02, 0.01),
    "Adagrad": (adagrad_init, adagrad_update, 0.8, 0.3),
    "RMSProp": (rmsprop_init, rmsprop_update, 0.1, 0.01),
    "Adam": (adam_init, adam_update, 0.3, 0.05),
}


def valley(p):
    return (p["along"] ** 2 + 20 * p["across"] ** 2) / 2


def descend(first_state, update, learning_rate, steps=40):
    def step(carry, _):
        params, state = carry
        return update(jax.grad(valley)(params), state, params, learning_rate), params

    start = {"along": jnp.float32(-4.0), "across": jnp.float32(1.2)}
    return jax.lax.scan(step, (start, first_state(start)), None, length=steps)[1]


def standardise(a):
    return jnp.asarray((a - a.mean(axis=0)) / a.std(axis=0), jnp.float32)


x, targets = map(standardise, load_diabetes(return_X_y=True, scaled=False))
start = {"w": jnp.zeros(10), "b": jnp.float32(0.0)}


def learn(first_state, update, learning_rate, steps=200):
    def step(carry, _):
        params, state, loss = train_step(update, *carry, x, targets, learning_rate)
        return (params, state), loss

    return jax.lax.scan(step, (start, first_state(start)), None, length=steps)[1]


paths, losses = {}, {}
for name, (first_state, update, in_valley, on_data) in OPTIMIZERS.items():
    paths[name], losses[name] = descend(first_state, update, in_valley), learn(first_state, update, on_data)
    print(f"{name:9} loss after 20 steps {losses[name][20]:.4f}, after 200 {losses[name][-1]:.4f}")

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
along, across = jnp.meshgrid(jnp.linspace(-5, 3, 80), jnp.linspace(-1.6, 1.6, 80))
left.contour(along, across, valley({"along": along, "across": across}), 12, colors="lightgray")
left.plot(0, 0, "k+", markersize=12)
for name, path in paths.items():
    left.plot(path["along"], path["across"], ".-", linewidth=1, markersize=3, label=name)
left.set(xlabel="along the valley", ylabel="across", title="Five ways down")
left.legend(fontsize=8)
best = jnp.linalg.lstsq(jnp.column_stack([x, jnp.ones(len(x))]), targets)[1][0] / len(x)
for name, loss in losses.items():
    right.semilogy(loss - best, linewidth=1, label=f"{name}, {OPTIMIZERS[name][3]}")
right.set(xlabel="step", ylabel="loss above the best possible", title="Linear regression")
right.legend(fontsize=8)
figure.tight_layout()
plt.show()

# %% [markdown]
# ## To think about
#
# - Adagrad, RMSProp and Adam leave the start in nearly the same direction, and it is not the gradient's. Which direction is
#   it, and why? What would each do if the loss were multiplied by 1000?
# - Give SGD a rate of 0.101 in the valley. Which curvature decides how large its rate may be, and what does that mean for the way along?
# - How many numbers does Adam keep for each weight? A model of a billion weights in float32 takes 4 GB. How much does
#   training it with Adam take, gradients included?
