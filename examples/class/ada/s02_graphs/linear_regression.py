# Exercise s02_graphs/linear_regression. Write the functions below; `aidl check s02/linear_regression` says how it goes.
# It looks at these functions and what they use; run the file itself to see your prints and the plots.

# %% [markdown]
# # Linear regression by hand
#
# A model that learns does four things, again and again:
#
# 1. **forward pass**: push the inputs through the graph and get predictions;
# 2. **loss**: say in one number how wrong they are;
# 3. **backpropagation**: find out how the loss changes with each parameter;
# 4. **update**: move each parameter a little, so that the loss gets smaller.
#
# Here you write all four for the smallest model there is, a weighted sum, and you write the
# backward pass yourself. Later, `jax.grad` will do that part; after this exercise you will know what it does.
#
# The data is real: 442 people with diabetes, ten measurements of each (age, sex, body mass index, blood
# pressure and six blood values) and one number that says how far the disease had gone a year later.

# %%
import jax
import jax.numpy as jnp

# %% [markdown]
# `jnp` has the functions that you know from NumPy, under the same names: `jnp.mean`, `jnp.sum`, `@`, `.T`, `.shape`.
# Two things are new:
#
# - **Arrays never change.** Where NumPy would write into an array, you make a new one.
# - **Functions are pure and get traced.** A pure function looks at its arguments and returns a result; it changes nothing
#   else. To make a graph of it, JAX calls it once with stand-ins that have a shape and a dtype but *no values
#   yet*, and writes down each operation. So your code can ask for `x.shape`, but not whether `x > 0` in an `if`.
#
# ## The forward pass
#
# The model has two **parameters**: one weight for each feature, and one bias. A pure function keeps nothing between
# calls, so the parameters are handed in each time, in a dict:
#
#     params = {"w": weights of shape [features], "b": a single number, shape []}
#
# For one example with features $x_1, \dots, x_k$ the prediction is $w_1 x_1 + \dots + w_k x_k + b$.
# As a graph: features and weights are multiplied and added up (`dot`), and the bias is added to what comes out.
#
#     x ──┐
#         ├── dot ──┐
#     w ──┘         ├── add ── predictions
#     b ────────────┘
#
# All examples at once are a matrix `x` of shape `[examples, features]`, one example a row, and the answer
# is one number per example.


# %%
def predict(params, x):
    """Predicts a number for each example.

    Args:
        params: a dict with "w", float32 [features], and "b", float32 [].
        x: float32 [examples, features], one example a row.

    Returns:
        float32 [examples].
    """
    return x @ params["w"] + params["b"]


# %% [markdown]
# ## The loss
#
# A prediction is off by the difference between it and its target. Squared, the difference is never
# negative, and large errors count for much more than small ones. The **mean** over the examples makes one
# number of it that does not depend on how many examples there are:
#
# $$ L = \frac{1}{n} \sum_{i=1}^{n} (p_i - t_i)^2 $$


# %%
def mean_squared_error(predictions, targets):
    """The mean over the examples of the squared difference.

    Args:
        predictions: float32 [examples].
        targets: float32 [examples].

    Returns:
        float32 [], a single number.
    """
    return jnp.mean((predictions - targets) ** 2)


# %% [markdown]
# ## Backpropagation
#
# How does $L$ change when one weight changes a little? The **chain rule** answers it one operation at a
# time. If $h(x) = g(f(x))$, then $h'(x) = g'(f(x)) \cdot f'(x)$: each operation needs only its own, *local*
# derivative, and multiplies it by the gradient that arrives from the operations after it, the *upstream* gradient. It
# need not know what the loss is.
#
# Walk the graph backwards, from the loss to the parameters:
#
# - **from the loss to the predictions.** The derivative of the loss with respect to one prediction is
#   $\dfrac{\partial L}{\partial p_i} = \dfrac{2}{n}\,(p_i - t_i)$. Call this vector `upstream`; it has one number per
#   example;
# - **from the predictions to the bias.** $p_i = \dots + b$, so the local derivative $\dfrac{\partial p_i}{\partial b}$ is 1.
#   The bias took part in *every* prediction, so what arrives from all of them is added up:
#   $\dfrac{\partial L}{\partial b} = \sum_i 1 \cdot \mathrm{upstream}_i$;
# - **from the predictions to a weight.** The local derivative $\dfrac{\partial p_i}{\partial w_j}$ is $x_{ij}$, the feature
#   that the weight was multiplied by. Again something arrives from every example, and it is added up:
#   $\dfrac{\partial L}{\partial w_j} = \sum_i x_{ij} \cdot \mathrm{upstream}_i$. Written for all weights at once, this sum over
#   the examples is one matrix product. Which one?
#
# Look at what the backward pass needed of the forward pass: the features `x`, and the differences. The local
# derivatives tell you what a program must keep in memory between the two.
#
# A gradient always has the shape of what it is the gradient of. If your shapes do not come out like
# that, a sum is over the wrong axis.


# %%
def gradients(params, x, targets):
    """The gradients of the mean squared error, by the chain rule, without jax.grad.

    Args:
        params: a dict with "w", float32 [features], and "b", float32 [].
        x: float32 [examples, features].
        targets: float32 [examples].

    Returns:
        A dict with "w", float32 [features], and "b", float32 []: the derivatives of
        mean_squared_error(predict(params, x), targets) with respect to each parameter.
    """
    upstream = 2 * (predict(params, x) - targets) / x.shape[0]
    return {"w": x.T @ upstream, "b": jnp.sum(upstream)}


# %% [markdown]
# ## The update
#
# The gradient points to where the loss grows fastest. So go the other way: subtract it, scaled by the
# **learning rate**. Too small a rate takes forever; too large a one jumps over the valley, and the loss explodes.
#
# Return a *new* dict of new arrays. Whoever called you may still need the old parameters, to compare the two or to go
# back, so leave the dict that you were given as it is.


# %%
def update(params, grads, learning_rate):
    """One step of gradient descent.

    Args:
        params: a dict with "w", float32 [features], and "b", float32 [].
        grads: a dict with the same keys and shapes.
        learning_rate: float32 [].

    Returns:
        A new dict with "w", float32 [features], and "b", float32 []: each parameter minus the learning
        rate times its gradient.
    """
    return {"w": params["w"] - learning_rate * grads["w"], "b": params["b"] - learning_rate * grads["b"]}


# %% [markdown]
# ## The loop
#
# Training repeats: gradients, update, gradients, update. A Python `for` loop is right but too slow here, for
# remember the tracing: JAX would write down 10,000 rounds as 10,000 copies of the same operations, and be busy with them for minutes. A loop that
# becomes *one* operation of the graph is `jax.lax.scan(step, carry, elements, length=...)`. It stands for this Python:
#
#     collected = []
#     for element in elements:                  # or `length` times None, where elements is None
#         carry, item = step(carry, element)
#         collected.append(item)
#     return carry, jnp.stack(collected)
#
# The **carry** is what one round hands to the next; it keeps its structure, shapes and dtypes all the way. An example:
#
#     def count_down(n, _):          # always two arguments: the carry, and an element, which is not used here
#         return n - 1, n            # always a pair: the next carry, and what this round collects
#
#     jax.lax.scan(count_down, 3, None, length=3)    # (0, [3, 2, 1])
#
# In `fit` the carry is the dict of parameters, and each round collects the loss of the parameters that it was given,
# **before** its update.


# %%
def fit(params, x, targets, learning_rate, steps):
    """Gradient descent for a number of steps.

    Args:
        params: the start: a dict with "w", float32 [features], and "b", float32 [].
        x: float32 [examples, features].
        targets: float32 [examples].
        learning_rate: float32 [].
        steps: a Python int, how many updates to do.

    Returns:
        A pair: the parameters after the last update, and the losses, float32 [steps];
        losses[k] is the loss before update number k.
    """

    def step(params, _):
        loss = mean_squared_error(predict(params, x), targets)
        return update(params, gradients(params, x, targets), learning_rate), loss

    return jax.lax.scan(step, params, None, length=steps)


# %% [markdown]
# ## See it learn
#
# Run this part when all tasks pass: in the notebook cell by cell, or this whole file with `python`. A plot opens.
#
# Standardise the data (mean 0, standard deviation 1 in each column), start from zero, and watch the loss.
# After 200 steps it is nearly flat. It does not reach 0: ten numbers about a person do not say
# everything, and a weighted sum says even less.

# %%
from sklearn.datasets import load_diabetes


def standardise(a):
    return jnp.asarray((a - a.mean(axis=0)) / a.std(axis=0), jnp.float32)


x, targets = map(standardise, load_diabetes(return_X_y=True, scaled=False))
start = {"w": jnp.zeros(10), "b": jnp.float32(0.0)}
params, losses = fit(start, x, targets, 0.05, 200)
print(f"loss at the start {losses[0]:.3f}, after 200 steps {losses[-1]:.3f}")

# %%
import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5))
left.plot(losses)
left.set(xlabel="step", ylabel="mean squared error", title="The loss while training")
right.scatter(targets, predict(params, x), s=8)
right.axline((0, 0), slope=1, color="gray", linewidth=1)
right.set(xlabel="target", ylabel="prediction", title="After training")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## To think about
#
# - Set the learning rate to 0.24, then to 0.25. The two look alike; what happens, and after how many steps do you see it?
# - The features have names: `load_diabetes().feature_names`. Which weight is the largest? Print it after 200 and
#   after 10,000 steps. Two of the blood values measure nearly the same thing; find them.
# - Which arrays did the backward pass need again? How much memory is that for a million examples?
