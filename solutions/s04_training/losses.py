# %% [markdown]
# # Losses, and what is put around them
#
# A network that sorts pictures into classes is trained with a loss that says how sure it was of the right class. Here
# you write that loss, so that it holds for any numbers, and three things that nearly every training has
# around it: a price on large weights, dropout, and a learning rate that falls.

# %%
import jax
import jax.numpy as jnp

# %% [markdown]
# ## From logits to log-probabilities
#
# A network's last layer gives one number per class, the **logits**: any numbers, larger where a class is more likely. The
# **softmax** makes probabilities of them: each $e^{z_c}$, divided by the sum of all of them in the same row, so that a row
# adds up to 1. The loss needs their logarithms:
#
# $$ \log p_c = \log \frac{e^{z_c}}{\sum_k e^{z_k}} $$
#
# Written like that in code, it breaks. In float32, $e^{89}$ is already infinite and $e^{-104}$ is already 0, and
# logits of 100 happen. Two repairs are needed.
#
# - A number may be subtracted from all logits of a row without changing its probabilities, for it cancels in the fraction. Subtract **the
#   row's largest**, $m$. Then every exponent is at most 0, so nothing overflows, and one of them is exactly 0, so the sum is at least 1.
# - The log of a quotient is a difference: *do not divide and then take the log*, for a small probability may have become 0
#   in between. Of a large negative number, the difference keeps all:
#
# $$ \log p_c = (z_c - m) - \log \sum_k e^{z_k - m} $$
#
# `jnp.max(a, axis=-1, keepdims=True)` has shape `[batch, 1]`, which fits beside `[batch, classes]`. `jax.nn` is off limits
# here: what it does is what you write.


# %%
def log_softmax(logits):
    """The logarithms of the softmax of each row, for logits of any size.

    Args:
        logits: float32 [batch, classes].

    Returns:
        float32 [batch, classes], finite wherever the logits are.
    """
    ### BEGIN SOLUTION
    shifted = logits - jnp.max(logits, axis=-1, keepdims=True)
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis=-1, keepdims=True))
    ### END SOLUTION


# %% [markdown]
# ## Cross-entropy
#
# For each example only one of these numbers counts: the log-probability of the class it truly has, its **label**. With its
# sign turned, it is 0 where the network was sure and right, and large where it was sure and wrong. The loss is
# the mean over the examples:
#
# $$ L = -\frac{1}{n} \sum_{i=1}^{n} \log p_{i,\,\mathrm{label}_i} $$
#
# A network that knows nothing gives each of $C$ classes the probability $1/C$, and has the loss $\log C$: 2.303 for ten. If
# your training does not begin near that, look for a mistake.
#
# To take one element from each row, index with two lists: `a[jnp.arange(n), labels]` has the elements
# `a[0, labels[0]]`, `a[1, labels[1]]` and so on. Another way is to write each label as a row of zeros with a single one
# (*one-hot*: `labels[:, None] == jnp.arange(classes)`), to multiply and to add up.
#
# The gradient comes out as simple as can be: with respect to the logits, it is the **probabilities minus the one-hot labels**,
# divided by $n$. Your function will be differentiated to see that.


# %%
def cross_entropy(logits, labels):
    """The mean over the examples of minus the log-probability of the right class.

    Args:
        logits: float32 [batch, classes].
        labels: int32 [batch], the right class of each example, from 0 to classes - 1.

    Returns:
        float32 [], a single number.
    """
    ### BEGIN SOLUTION
    return -jnp.mean(log_softmax(logits)[jnp.arange(len(labels)), labels])
    ### END SOLUTION


# %% [markdown]
# ## A price on large weights
#
# A network that has learned its examples by heart often has large weights. **L2 regularisation** adds a price for them to the
# loss: half the sum of the squares. The half is there so that the gradient of a weight's price is the weight itself: each
# step of training pulls every weight a little towards 0, the more the larger it is.
#
# The parameters of a model lie in **scopes**, one for each layer:
#
#     params = {"hidden": {"weights": ..., "biases": ...}, "output": {"weights": ..., "biases": ...}}
#
# A bias only shifts an output; it does no harm, so it pays nothing. And which layers pay is for the caller
# to say: a tuple of scope names, ordinary Python, known while the function is traced. A Python loop over them is just right.


# %%
def l2_loss(params, scopes):
    """Half the sum of the squares of all weights in the chosen scopes; biases are left out.

    Args:
        params: a dict of scopes; each is a dict with "weights", float32 [inputs, outputs], and "biases", float32 [outputs].
        scopes: a tuple of at least one name in params.

    Returns:
        float32 [], a single number.
    """
    ### BEGIN SOLUTION
    return sum(jnp.sum(params[scope]["weights"] ** 2) for scope in scopes) / 2
    ### END SOLUTION


# %% [markdown]
# ## Dropout
#
# While training, **dropout** sets each value of a layer to 0 with a probability called the rate, anew at every step. No unit can rely on
# another one being there, so the network learns things in more than one way. When the trained network is *used*, all units
# take part.
#
# Then the next layer would get sums that it has never seen: with a rate of 0.5, twice as large. So, while training, what is kept is
# **divided by the probability of being kept**, $1 - \mathrm{rate}$. The mean stays what it was, and in evaluation there is nothing
# to do at all.
#
# Randomness in JAX comes from a **key** that is handed in: the same key gives the same numbers, always.
# `jax.random.bernoulli(key, p, shape)` draws True with probability `p`, independently for each element of the shape;
# `jnp.where(mask, a, b)` takes `a` where the mask is True and `b` elsewhere.
#
# `training` is a Python bool, known while the function is traced, so an `if` may ask for it. `rate` is an array; an `if` may not.


# %%
def dropout(key, x, rate, training):
    """Sets each element to 0 with probability `rate` and scales the others so that the mean stays; in evaluation, nothing.

    Args:
        key: a PRNG key; the same key drops the same elements.
        x: float32 [batch, units].
        rate: float32 [], the probability of being dropped, at least 0 and less than 1.
        training: a Python bool.

    Returns:
        float32 [batch, units]: each element is 0 or x / (1 - rate) while training, and x in evaluation.
    """
    ### BEGIN SOLUTION
    if not training:
        return x
    kept = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(kept, x / (1 - rate), 0.0)
    ### END SOLUTION


# %% [markdown]
# ## A learning rate that falls
#
# Far from the goal, long steps are good. Near it they jump about it: every batch is a little different, each pulls
# another way, and the accuracy goes up and down and does not settle. So let the steps become shorter.
#
# With **exponential decay** the rate falls by the same *factor* at every step, from a start to a **floor**, at which it stays:
#
# $$ \mathrm{rate}(k) = \max\left(\mathrm{floor},\ \mathrm{start} \cdot \left(\frac{\mathrm{floor}}{\mathrm{start}}\right)^{k / K}\right) $$
#
# At step $k = 0$ this is the start, at step $K$ the floor. Halfway, it is not the middle of the two but
# their geometric mean: from 0.003 to 0.0001 in 1000 steps, the rate at step 500 is 0.00055.
#
# The step is an array: it has no value while your function is traced. Python's `max` wants to know at once which of
# two is larger; `jnp.maximum` does not.


# %%
def learning_rate(step, steps, start=0.003, floor=0.0001):
    """Exponential decay with a floor.

    Args:
        step: int32 [], the number of the step, from 0.
        steps: a Python int, the step at which the floor is reached.
        start: the rate at step 0, float32 [] or a Python number.
        floor: the rate from step `steps` on, float32 [] or a Python number.

    Returns:
        float32 [], the learning rate at this step.
    """
    ### BEGIN SOLUTION
    return jnp.maximum(floor, start * (floor / start) ** (step / steps))
    ### END SOLUTION


# %% [markdown]
# ## See it settle
#
# Run this part when all tasks pass: in the notebook cell by cell, or this whole file with `python`. A plot opens.
#
# The data: 1797 handwritten digits of 8 by 8 pixels, ten classes. The network: one hidden layer. It is trained on two thirds of them with
# everything you wrote, in batches of 16, and each 5 steps asked for the classes of the rest. Once the rate stays what it is at the start, and once it falls.

# %%
from sklearn.datasets import load_digits

pixels, digits = load_digits(return_X_y=True)
pixels, digits = jnp.asarray(pixels / 16, jnp.float32), jnp.asarray(digits, jnp.int32)
order = jax.random.permutation(jax.random.key(0), len(digits))
train, test = order[:1200], order[1200:]
STEPS = 2000


def network(params, x, key=None):
    hidden = jnp.maximum(0, x @ params["hidden"]["weights"] + params["hidden"]["biases"])
    hidden = dropout(key, hidden, 0.2, training=key is not None)
    return hidden @ params["output"]["weights"] + params["output"]["biases"]


def loss_of(params, x, labels, key):
    return cross_entropy(network(params, x, key), labels) + 1e-4 * l2_loss(params, ("hidden", "output"))


def training_step(params, numbers):
    rate, key = numbers
    for_batch, for_dropout = jax.random.split(key)
    batch = jax.random.choice(for_batch, train, (16,))
    loss, grads = jax.value_and_grad(loss_of)(params, pixels[batch], digits[batch], for_dropout)
    params = jax.tree.map(lambda p, g: p - rate * g, params, grads)
    right = jnp.argmax(network(params, pixels[test]), axis=1) == digits[test]
    return params, (loss, jnp.mean(right))


def layer(key, inputs, outputs):
    return {"weights": jax.random.normal(key, (inputs, outputs)) / inputs**0.5, "biases": jnp.zeros(outputs)}


keys = jax.random.split(jax.random.key(1), STEPS + 2)
start = {"hidden": layer(keys[0], 64, 48), "output": layer(keys[1], 48, 10)}
steps = jnp.arange(STEPS)
falling = jax.vmap(lambda step: learning_rate(step, STEPS, start=0.6, floor=0.01))(steps)
rates = {"stays": jnp.full(STEPS, 0.6), "falls": falling}
accuracies = {}
for name, rate in rates.items():
    losses, accuracies[name] = jax.lax.scan(training_step, start, (rate, keys[2:]))[1]
    late = accuracies[name][-500:]
    print(
        f"the rate {name}: first loss {losses[0]:.2f}; the last 500 steps: {late.mean():.1%} right, from {late.min():.1%} to {late.max():.1%}"
    )

# %%
import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=(1, 2))
for name, rate in rates.items():
    left.semilogy(rate, label=f"the rate {name}")
    right.plot(steps[::5], 100 * accuracies[name][::5], linewidth=0.8, label=f"the rate {name}")
left.set(xlabel="step", title="Learning rate")
left.legend()
right.set(xlabel="step", ylim=(85, 100), title="% of new digits read right")
right.legend(loc="lower right")
figure.tight_layout()
plt.show()

# %% [markdown]
# ## To think about
#
# - The first loss that was printed: which should it have been for a network that knows nothing? What makes the difference?
# - `jnp.log(jnp.exp(z) / jnp.sum(jnp.exp(z)))` is wrong for z = [100, 0] and for z = [-200, -201]. Which of the two repairs
#   does each need?
# - What does the L2 price do to a weight that the data has nothing to say about? After how many steps is it half of what it was?
# - Take the dropout away, or make its rate 0.8. Where do you see the difference: in the loss while training, or in the accuracy?
