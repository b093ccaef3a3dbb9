# %% [markdown]
# # Backpropagation, one operation at a time
#
# In linear regression you found the gradients with pencil and paper. That works for any formula, and yet nobody does it: a
# program can. It needs to know very little: how each single operation reacts to its inputs. The **chain rule** does the rest.
#
# Here you write that program. First it differentiates small formulas, whatever they are; then you go back through a network of three
# layers yourself. `jax.grad` is off limits: what it does is what you write.

# %%
import jax
import jax.numpy as jnp

OPERATIONS = {
    "add": lambda a, b: a + b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "sin": lambda a: jnp.sin(a),
    "exp": lambda a: jnp.exp(a),
    "log": lambda a: jnp.log(a),
    "tanh": lambda a: jnp.tanh(a),
    "relu": lambda a: jnp.maximum(a, 0),
}

# %% [markdown]
# ## Local derivatives
#
# Move one input of an operation by a tiny amount. By how many times that amount does the output move? That number is the
# **local derivative**. An operation has one for each of its inputs. Of $a \cdot b$, the one by $a$ is $b$: with $b = 3$, the product moves
# three times as far as $a$ does.
#
# A local derivative depends on the inputs of its operation, and on nothing else: not on what the inputs came from, not on what becomes of
# the output. It need not know what the loss is. That is why eight rows of a table are enough for every formula that can
# be made of these eight operations:
#
# | operation | output | local derivatives |
# |---|---|---|
# | `add` | $a + b$ | ... |
# | `multiply` | $a \cdot b$ | $b$ and $a$ |
# | `divide` | $a / b$ | ... |
# | `sin` | $\sin a$ | ... |
# | `exp` | $e^a$ | ... |
# | `log` | $\log a$ | ... |
# | `tanh` | $\tanh a$ | $1 - \tanh^2 a$ |
# | `relu` | $a$ if $a > 0$, else 0 | ... |
#
# `relu` has a kink at 0, where its slope jumps from 0 to 1. One has to be chosen; here it is 0.
#
# While your function is traced, `a` has no value yet, so an `if` cannot ask whether `a > 0`; `jnp.where(a > 0, one, other)` can.
# `operation` is a string, ordinary Python; a dict of functions or a few `if`s are just right for it.


# %%
def local_derivatives(operation, inputs):
    """How an operation's output moves with each of its inputs.

    Args:
        operation: a str, one of the names in OPERATIONS.
        inputs: a list of one or two arrays, float32 [], what the operation is given.

    Returns:
        A list with one local derivative, float32 [], for each input, in their order.
    """
    ### BEGIN SOLUTION
    rows = {
        "add": lambda a, b: [1.0, 1.0],
        "multiply": lambda a, b: [b, a],
        "divide": lambda a, b: [1 / b, -a / b**2],
        "sin": lambda a: [jnp.cos(a)],
        "exp": lambda a: [jnp.exp(a)],
        "log": lambda a: [1 / a],
        "tanh": lambda a: [1 - jnp.tanh(a) ** 2],
        "relu": lambda a: [jnp.where(a > 0, 1.0, 0.0)],
    }
    return rows[operation](*inputs)
    ### END SOLUTION


# %% [markdown]
# ## The tape
#
# While a formula runs, somebody can write down what is done. The result is a **tape**: a list of operations, each with
# the numbers of the values that it uses. Values are numbered as they come: the inputs first, from 0, then the result of
# each operation. The last one is the output. This is the tape of $x \cdot y + \sin x$:
#
#     tape = [                          values 0 and 1 are x and y
#         ("multiply", [0, 1]),         value 2 = x * y
#         ("sin", [0]),                 value 3 = sin(x)
#         ("add", [2, 3]),              value 4 = x * y + sin(x), the output
#     ]
#
# `run_tape` plays it and keeps all values.


# %%
def run_tape(tape, inputs):
    """All values of a tape: its inputs, then the result of each operation."""
    values = list(inputs)
    for operation, sources in tape:
        values.append(OPERATIONS[operation](*[values[source] for source in sources]))
    return values


# %% [markdown]
# ## The way back
#
# The gradient of a value tells how the *output* moves with it. For the output itself it is 1. For all others it comes from
# behind: if $v$ goes into an operation whose result is $u$, then
#
# $$ \mathrm{gradient}(v) \mathrel{+}= \mathrm{gradient}(u) \cdot \frac{\partial u}{\partial v} $$
#
# the gradient that arrives from above (the **upstream** gradient), times the local derivative. Two things matter:
#
# - **Backwards.** An operation can pass its gradient on when it has all of it, so when all operations that use its result had their turn. They
#   stand later on the tape; so take the tape from its end.
# - **Add up.** A value that is used twice moves the output in two ways, and what comes back from both is added. In the example,
#   $x$ gets $y$ through the product and $\cos x$ through the sine. So begin with a gradient of 0 for all values but the last, and add.
#
# The local derivatives need the *values* that the operation was given on the way forward. That is why they are all kept until the
# way back comes by: reverse mode is paid for with memory.


# %%
def backward(tape, inputs):
    """The gradients of a tape's output by its inputs, by one pass over the tape from its end.

    Args:
        tape: a list of operations, each a pair: a name in OPERATIONS, a str, and the list of the numbers of the values it uses.
        inputs: a list of arrays, float32 [], the values 0, 1, 2, ...; the operations' results are numbered after them.

    Returns:
        A list with one gradient, float32 [], for each input, in their order; 0 for one that the output does not depend on.
    """
    ### BEGIN SOLUTION
    values = run_tape(tape, inputs)
    gradients = [0.0] * (len(values) - 1) + [1.0]
    for step in reversed(range(len(tape))):
        operation, sources = tape[step]
        upstream = gradients[len(inputs) + step]
        local = local_derivatives(operation, [values[source] for source in sources])
        for source, derivative in zip(sources, local):
            gradients[source] += upstream * derivative
    return gradients[: len(inputs)]
    ### END SOLUTION


# %% [markdown]
# ## A matrix product
#
# A network would make a long tape, if every single number were on it. So its operations work on whole arrays, and the most important one
# is the matrix product $Y = X W$. Each element is a sum of products, $Y_{ij} = \sum_k X_{ik} W_{kj}$, and by what you know of products and
# sums, `upstream`, the gradient of $Y$, goes back like this:
#
# $$ \mathrm{gradient}(X)_{ik} = \sum_j \mathrm{upstream}_{ij} \, W_{kj} \qquad
#    \mathrm{gradient}(W)_{kj} = \sum_i X_{ik} \, \mathrm{upstream}_{ij} $$
#
# Each of them is one matrix product again, with one of its two matrices **transposed** (`.T`). Which one? A gradient has the shape
# of what it is the gradient of, so shapes tell you, as long as they differ: `X` is `[batch, inputs]`, `W` is `[inputs, outputs]`.


# %%
def product_gradients(x, w, upstream):
    """Takes a gradient back through the matrix product x @ w.

    Args:
        x: float32 [batch, inputs].
        w: float32 [inputs, outputs].
        upstream: float32 [batch, outputs], the gradient of the product.

    Returns:
        A dict with the gradients "x", float32 [batch, inputs], and "w", float32 [inputs, outputs].
    """
    ### BEGIN SOLUTION
    return {"x": upstream @ w.T, "w": x.T @ upstream}
    ### END SOLUTION


# %% [markdown]
# ## Three layers
#
# Now a network, with $\sigma$ for the **sigmoid**, $\sigma(a) = 1 / (1 + e^{-a})$. Each row of $X$ is an example:
#
# $$ H_1 = \sigma(X W_1) \qquad H_2 = \sigma(H_1 W_2) \qquad Y = H_2 W_3 $$
#
# The last layer has no sigmoid: its outputs can be any numbers.


# %%
def sigmoid(a):
    """From 0, for very negative numbers, to 1, for very large ones."""
    return 1 / (1 + jnp.exp(-a))


def network(params, x):
    """Three layers: two with a sigmoid, and one without.

    Args:
        params: a dict with "W1", float32 [inputs, units], "W2", float32 [units, others] and "W3", float32 [others, outputs].
        x: float32 [batch, inputs], one example a row.

    Returns:
        float32 [batch, outputs].
    """
    ### BEGIN SOLUTION
    h1 = sigmoid(x @ params["W1"])
    h2 = sigmoid(h1 @ params["W2"])
    return h2 @ params["W3"]
    ### END SOLUTION


# %% [markdown]
# Go back through it, from the gradient of $Y$ to those of the three matrices. As pictures of the ways, read from right to left:
#
#     X ── (X W1) ── σ ── H1 ── (H1 W2) ── σ ── H2 ── (H2 W3) ── Y
#             │                    │                     │
#             W1                   W2                    W3
#
# Each product takes the gradient in two directions, to its matrix and to what comes before it, and `product_gradients` does both.
# Each sigmoid multiplies what arrives, element by element, by its local derivative. That is $\sigma(a)(1 - \sigma(a))$: if the
# **output** $h = \sigma(a)$ was kept, it is just $h (1 - h)$, and nobody needs $a$ any more.
#
# As in every step so far, the loss is not asked for: it is all in `upstream`. Whoever has the gradient of a loss by $Y$ gets
# the gradients of the same loss by $W_1$, $W_2$ and $W_3$.


# %%
def network_gradients(params, x, upstream):
    """Takes a gradient back through the network, to its three matrices.

    Args:
        params: a dict as above.
        x: float32 [batch, inputs], one example a row.
        upstream: float32 [batch, outputs], the gradient of a loss by what `network` returns.

    Returns:
        A dict with the gradients of the same loss by "W1", "W2" and "W3", each float32 [...] in its matrix's shape.
    """
    ### BEGIN SOLUTION
    h1 = sigmoid(x @ params["W1"])
    h2 = sigmoid(h1 @ params["W2"])
    third = product_gradients(h2, params["W3"], upstream)
    second = product_gradients(h1, params["W2"], third["x"] * h2 * (1 - h2))
    first = product_gradients(x, params["W1"], second["x"] * h1 * (1 - h1))
    return {"W1": first["w"], "W2": second["w"], "W3": third["w"]}
    ### END SOLUTION


# %% [markdown]
# ## Against JAX
#
# Run this part when all tasks pass: in the notebook cell by cell, or this whole file with `python`. A plot opens.
#
# Down here, `jax.grad` is welcome. First the tape from above, at $x = 2$, $y = 3$; the gradients should be $y + \cos x$ and $x$:

# %%
tape = [("multiply", [0, 1]), ("sin", [0]), ("add", [2, 3])]
point = [jnp.float32(2), jnp.float32(3)]
yours = backward(tape, point)
theirs = jax.grad(lambda x, y: x * y + jnp.sin(x), argnums=(0, 1))(*point)
print("yours:", *(f"{float(g):.7f}" for g in yours), "  jax.grad:", *(f"{float(g):.7f}" for g in theirs))

# %% [markdown]
# Then the network. It learns to read handwritten digits of 8 by 8 pixels: ten outputs, of which that of the right digit should be 1
# and all others 0. The loss is the mean squared error, so its gradient by the outputs is `2 * (outputs - targets) / outputs.size`.

# %%
from sklearn.datasets import load_digits

pixels, digits = load_digits(return_X_y=True)
x = jnp.asarray(pixels / 16, jnp.float32)
targets = jnp.asarray(digits[:, None] == range(10), jnp.float32)


def draw_matrix(number, inputs, outputs, size):
    return size * jax.random.normal(jax.random.key(number), (inputs, outputs)) / inputs**0.5


def gradients_by_hand(params):
    outputs = network(params, x)
    return network_gradients(params, x, 2 * (outputs - targets) / outputs.size)


def loss_of(params):
    return jnp.mean((network(params, x) - targets) ** 2)


params = {"W1": draw_matrix(1, 64, 32, 2.0), "W2": draw_matrix(2, 32, 32, 2.0), "W3": draw_matrix(3, 32, 10, 0.5)}
by_hand, by_jax = gradients_by_hand(params), jax.grad(loss_of)(params)
for name in params:
    off = jnp.max(jnp.abs(by_hand[name] - by_jax[name])) / jnp.max(jnp.abs(by_jax[name]))
    print(f"{name}: off by {off:.0e} of the largest element")

# %% [markdown]
# `explain_backprop` of this course shows every step of the way back: the local derivative, what arrives, what goes on, and what
# is still held in memory. Read it beside your own `network_gradients`: which lines are which rows? A sigmoid is four operations here: `neg`,
# `exp`, `add`, `div`. Taken as one, as you do, it would hold one array instead of three.

# %%
from aidl_jax.autodiff import explain_backprop

print(explain_backprop(loss_of, params))

# %% [markdown]
# Now train it, with your gradients alone, and watch how large they are in each layer.


# %%
@jax.jit
def training_step(params):
    grads = gradients_by_hand(params)
    sizes = {name: jnp.sqrt(jnp.mean(grads[name] ** 2)) for name in grads}
    return {name: params[name] - 0.6 * grads[name] for name in params}, loss_of(params), sizes


history = []
for _ in range(1000):
    params, loss, sizes = training_step(params)
    history.append({"loss": float(loss), **{name: float(size) for name, size in sizes.items()}})
right = jnp.mean(jnp.argmax(network(params, x), axis=1) == jnp.asarray(digits))
print(
    f"loss {history[0]['loss']:.3f} at first, {history[-1]['loss']:.3f} in the end; {right:.0%} of the digits read right"
)

# %%
import matplotlib.pyplot as plt

figure, (left, right_side) = plt.subplots(1, 2, figsize=(10, 3.6))
left.semilogy([now["loss"] for now in history])
left.set(xlabel="step", title="Loss")
for name in params:
    right_side.semilogy([now[name] for now in history], label=name)
right_side.set(xlabel="step", title="Size of a gradient's elements")
right_side.legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## To think about
#
# - How large can $h (1 - h)$ be at most? What does that do to the gradient of $W_1$ in a network of ten such layers?
# - Where all of a layer's units are `relu` and all their inputs negative, what comes back through it? And after a step of training?
# - What must be in memory when the way back begins? Which of $X W_1$, $H_1$, $H_1 W_2$, $H_2$, $Y$ does your `network_gradients` use?
# - Your `backward` costs about as much as running the tape two or three times, however many inputs there are. What would it cost to move each
#   input a little and run the tape again?
