# Exercise s02_graphs/linear_regression. Write the functions below; `aidl check s02/linear_regression` says how it goes.

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
# backward pass yourself. Later, `jax.grad` will do that part; after this exercise you know what it does.
#
# The data is real: 442 people with diabetes, ten measurements of each (age, sex, body mass index, blood
# pressure and six blood values) and one number that says how far the disease had gone a year later.

# %%
import jax
import jax.numpy as jnp

# %% [markdown]
# ## The forward pass
#
# The model has two parameters: a weight for each feature and one bias. They live in a dict, since a
# pure function keeps nothing to itself; what it needs, it is given:
#
#     params = {"w": weights of shape [features], "b": a single number, shape []}
#
# For one example with features $x_1, \dots, x_k$ the prediction is $w_1 x_1 + \dots + w_k x_k + b$.
# As a graph: the features and the weights meet in a product-and-sum, the bias is added to what comes out.
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
    raise NotImplementedError("predict is still to be written")


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
    raise NotImplementedError("mean_squared_error is still to be written")


# %% [markdown]
# ## Backpropagation
#
# How does $L$ change when one weight changes a little? The **chain rule** answers it one operation at a
# time. If $h(x) = g(f(x))$, then $h'(x) = g'(f(x)) \cdot f'(x)$: each operation needs only its own, *local*
# derivative, and multiplies it by the gradient that arrives from above, the *upstream* gradient. It need not know
# what the loss is.
#
# Walk the graph from the loss down:
#
# - the loss by one prediction: $\dfrac{\partial L}{\partial p_i} = \dfrac{2}{n}\,(p_i - t_i)$. This is
#   `upstream`, a vector with one number per example;
# - a prediction by the bias: $p_i = \dots + b$, so $\dfrac{\partial p_i}{\partial b} = 1$. The bias
#   took part in *every* prediction, so what arrives from all of them is added up;
# - a prediction by a weight: $\dfrac{\partial p_i}{\partial w_j} = x_{ij}$, the feature it was multiplied by.
#   Again every example sends something, and it is added up:
#   $\dfrac{\partial L}{\partial w_j} = \sum_i x_{ij} \cdot \mathrm{upstream}_i$.
#
# Look at what the backward pass had to remember: the features `x` and the difference. The local
# derivatives tell you what a program must keep in memory between the forward and the backward pass.
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
        A dict with the same keys and shapes as `params`: the derivative of
        mean_squared_error(predict(params, x), targets) by each of them.
    """
    raise NotImplementedError("gradients is still to be written")


# %% [markdown]
# ## The update
#
# The gradient points to where the loss grows fastest. So go the other way: subtract it, scaled by the
# **learning rate**. Too small a rate takes forever; too large a one jumps over the valley, and the loss explodes.
#
# JAX arrays never change. You return *new* parameters, and the old ones are still there.


# %%
def update(params, grads, learning_rate):
    """One step of gradient descent.

    Args:
        params: a dict with "w", float32 [features], and "b", float32 [].
        grads: a dict with the same keys and shapes.
        learning_rate: float32 [].

    Returns:
        New parameters: each one minus the learning rate times its gradient.
    """
    raise NotImplementedError("update is still to be written")


# %% [markdown]
# ## The loop
#
# Training repeats: gradients, update, gradients, update. In JAX a loop that hands its result on to the next round
# is `jax.lax.scan`: you give it a function `step(carry, element)` that returns
# `(new_carry, what_to_collect)`, the first carry, and how many times. It compiles `step` once, however often it runs:
#
#     def count_down(n, _):
#         return n - 1, n            # the next carry, and what this round adds to the list
#
#     jax.lax.scan(count_down, 3, None, length=3)    # (0, [3, 2, 1])
#
# Here the carry is the dict of parameters, and each step collects the loss of the parameters it was given,
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

    raise NotImplementedError("fit is still to be written")


# %% [markdown]
# ## See it learn
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
# - Set the learning rate to 0.4, then to 0.5. What happens, and after how many steps do you see it?
# - The features have names: `load_diabetes().feature_names`. Which weight is the largest? Print it after 200 and
#   after 10,000 steps. Two of the blood values measure nearly the same thing; find them.
# - Which arrays did the backward pass need again? How much memory is that for a million examples?
