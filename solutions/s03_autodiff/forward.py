# %% [markdown]
# # Forward mode, and which way is cheaper
#
# Backpropagation walks from the output back to the inputs. There is another way to differentiate a program: walk along with it, from the
# inputs on, and carry each value's derivative beside the value. It keeps nothing, it needs no way back, and it is
# easy to write. Then why does everybody train with backpropagation? After this exercise you can say it in numbers: what each way costs in
# multiplications, and what it costs in memory.
#
# And you will find out how to check a gradient without believing either of them.

# %%
import itertools

import jax
import jax.numpy as jnp

# %% [markdown]
# ## Dual numbers
#
# A **dual number** is a pair $(a, \dot a)$: a value, and its **tangent**, which says how fast the value moves while
# something else moves. Write it $a + \dot a\,\varepsilon$, with a quantity $\varepsilon$ so small that $\varepsilon^2 = 0$,
# and calculate as usual:
#
# $$ (a + \dot a\,\varepsilon)(b + \dot b\,\varepsilon) = a b + (\dot a\, b + a\, \dot b)\,\varepsilon $$
#
# There is the rule for products, and nobody had to remember it. For a function of one number, the tangent is multiplied by its
# derivative: $\sin(a + \dot a\,\varepsilon) = \sin a + \cos a \cdot \dot a\,\varepsilon$. For a quotient $q = a / b$, solve
# $q \cdot b = a$ for $\dot q$: from $\dot q\, b + q\, \dot b = \dot a$ follows $\dot q = (\dot a - q\, \dot b) / b$.


# %%
def dual(operation, duals):
    """Does one operation with dual numbers.

    Args:
        operation: a str: "add", "subtract", "multiply" or "divide", of two dual numbers, or "sin" or "exp", of one.
        duals: a list of one or two pairs, each a value, float32 [], and its tangent, float32 [].

    Returns:
        A pair: the value of the result, float32 [], and its tangent, float32 [].
    """
    ### BEGIN SOLUTION
    (a, a_dot), (b, b_dot) = duals if len(duals) == 2 else (duals[0], duals[0])
    match operation:
        case "add":
            return a + b, a_dot + b_dot
        case "subtract":
            return a - b, a_dot - b_dot
        case "multiply":
            return a * b, a_dot * b + a * b_dot
        case "divide":
            return a / b, (a_dot - a / b * b_dot) / b
        case "sin":
            return jnp.sin(a), jnp.cos(a) * a_dot
        case "exp":
            return jnp.exp(a), jnp.exp(a) * a_dot
    ### END SOLUTION


# %% [markdown]
# ## A directional derivative
#
# How fast does a function move if its inputs move, all at the same time, each at its own speed? The speeds are a
# **direction**, and the answer is the derivative in that direction. It is one run with dual numbers: give every input its
# speed as its tangent, run the program, read the tangent of the output. The direction $(1, 0, 0)$ gives the derivative by the first
# input alone. So one run answers one direction; all of a gradient takes as many runs as there are inputs.
#
# The program comes as a **tape**: a list of operations, each with the numbers of the values that it uses. Values are numbered as
# they come: the inputs first, from 0, then the result of each operation. The last one is the output. For $x \cdot y + \sin x$:
#
#     tape = [                          values 0 and 1 are x and y
#         ("multiply", [0, 1]),         value 2 = x * y
#         ("sin", [0]),                 value 3 = sin(x)
#         ("add", [2, 3]),              value 4 = x * y + sin(x), the output
#     ]


# %%
def directional_derivative(tape, point, direction):
    """How fast a tape's output moves while its inputs move in a direction.

    Args:
        tape: a list of operations, each a pair: a name that `dual` knows, a str, and the list of the numbers of the values it uses.
        point: a list of arrays, float32 [], the inputs: values 0, 1, 2, ...; the operations' results are numbered after them.
        direction: a list of arrays, float32 [], the speed of each input.

    Returns:
        float32 [], the tangent of the last value.
    """
    ### BEGIN SOLUTION
    values = list(zip(point, direction))
    for operation, sources in tape:
        values.append(dual(operation, [values[source] for source in sources]))
    return values[-1][1]
    ### END SOLUTION


# %% [markdown]
# ## When forward beats reverse
#
# All derivatives of all outputs by all inputs are the **Jacobian**, a matrix of shape `[outputs, inputs]`. Take a network with layers of
# these widths:
#
#     100 ──> 50 ──> 20 ──> 1
#
# To carry one tangent through a layer from width 100 to width 50 takes a product with a matrix of $50 \cdot 100$ numbers: that many
# multiplications. To carry a gradient back through the same layer takes a product with the same matrix, transposed: just as many. (The
# other work is small beside it; leave it out.) The two ways differ only in how often they have to be gone:
#
# - **forward**: once for each *input*; each run gives a column of the Jacobian;
# - **reverse**: once for each *output*; each run gives a row.
#
# Here one run is $50 \cdot 100 + 20 \cdot 50 + 1 \cdot 20 = 6020$ multiplications. Forward mode needs 100 runs, reverse mode
# a single one. A loss is one number, and a network has millions of parameters: that is why training goes backwards. For one input and many
# outputs it is the other way round.


# %%
def jacobian_costs(widths):
    """How many multiplications a network's Jacobian takes, both ways.

    Args:
        widths: a list of at least two ints, how many numbers each layer has, from the inputs to the outputs.

    Returns:
        A pair of ints: the multiplications in forward mode, and those in reverse mode, running the network itself not counted.
    """
    ### BEGIN SOLUTION
    one_run = sum(before * after for before, after in itertools.pairwise(widths))
    return widths[0] * one_run, widths[-1] * one_run
    ### END SOLUTION


# %% [markdown]
# ## Check a gradient
#
# Whoever writes derivatives makes mistakes in them. There is a test that knows no derivatives at all: move a little to both sides, and look by
# how much the function differs. This **central difference** comes close to the derivative in a direction $d$:
#
# $$ \frac{f(x + h d) - f(x - h d)}{2 h} $$
#
# Compare it with `jnp.sum(gradient * direction)`, for a random direction: if one element of the gradient is wrong, the two differ.
# To both sides is much better than to one: what $f$ curves adds the same on both sides and cancels.
#
# `f` comes as an argument: a function that you call like any other.


# %%
def central_difference(f, point, direction, step):
    """The derivative of a function in a direction, without differentiating.

    Args:
        f: a function from float32 [n] to float32 [].
        point: float32 [n].
        direction: float32 [n].
        step: float32 [], how far to go along the direction, to both sides.

    Returns:
        float32 [], the slope between the two sides.
    """
    ### BEGIN SOLUTION
    ahead = f(point + step * direction)
    behind = f(point - step * direction)
    return (ahead - behind) / (2 * step)
    ### END SOLUTION


# %% [markdown]
# ## A well-chosen step
#
# The smaller the step, the better? No. Two errors pull against each other:
#
# - **the formula's**: the difference is no derivative. It is off by $\frac{h^2}{6} |f'''|$, which shrinks with the step;
# - **rounding**: $f$ is known to about $\epsilon\,|f|$, with $\epsilon = 1.2 \cdot 10^{-7}$ in float32. Divided by the small
#   step this becomes $\epsilon\,|f| / h$, which grows as the step shrinks.
#
# Together, the error is at most about
#
# $$ E(h) = \frac{\epsilon\,|f|}{h} + \frac{h^2}{6}\,|f'''| $$
#
# The best step is where $E$ is smallest, so where its derivative by $h$ is 0. Solve for $h$; a power comes out that is not a square.
# In float32, with $f$ and $f'''$ about 1, the best step is 0.007, and the slope is good to five digits. With $h = 10^{-7}$ it is worth nothing.


# %%
def best_step(value, third, eps):
    """The step at which a central difference has the smallest error.

    Args:
        value: float32 [], the function at the point, not 0.
        third: float32 [], its third derivative there, not 0.
        eps: float32 [], the relative error of a rounding.

    Returns:
        float32 [], the step h, above 0, at which eps * |value| / h + h**2 / 6 * |third| is smallest.
    """
    ### BEGIN SOLUTION
    return jnp.cbrt(3 * eps * jnp.abs(value / third))
    ### END SOLUTION


# %% [markdown]
# ## What reverse mode has to hold
#
# Forward mode needs each value only while it is used. Reverse mode comes back to it later, when all has been computed: what local
# derivatives look at has to be **held** until then. Each operation looks at something else:
#
# | operation | local derivatives | looks at |
# |---|---|---|
# | `add`, `subtract`, `sum` | 1, or -1 | nothing |
# | `multiply` | $b$ and $a$ | both inputs |
# | `matmul` (a product of matrices) | each with the other matrix | both inputs |
# | `divide` | $1/b$ and $-q/b$, with $q = a/b$ | the second input, and the output |
# | `sin` | $\cos a$ | the input |
# | `exp` | $e^a$ | the output |
# | `tanh` | $1 - \tanh^2 a$ | the output |
#
# A value that two operations look at is held once. The tape's inputs are in memory anyway, so they are not counted. A number of
# float32 takes 4 bytes. For example, with 10 numbers in each value:
#
#     ("sin", [0])           value 1: not held, since `sin` looks at value 0 and `exp` at its own output
#     ("exp", [1])           value 2: held, for `exp` and for `multiply`
#     ("multiply", [2, 0])   value 3, the output: not held, nobody looks at it
#
# Value 2 alone is held: 40 bytes. `sin` and `multiply` also look at value 0, which is an input.


# %%
def held_bytes(tape, sizes):
    """How much memory reverse mode holds from the way forward to the way back.

    Args:
        tape: a list of operations, each a pair: a name from the table, a str, and the list of the numbers of the values it uses. All of
            them lead to the output.
        sizes: a list of ints, of how many numbers each value consists: first those of the inputs, then one for each operation's result.

    Returns:
        An int, the bytes of all values that are held, inputs not counted.
    """
    ### BEGIN SOLUTION
    inputs = len(sizes) - len(tape)
    held = set()
    for output, (operation, sources) in enumerate(tape, start=inputs):
        if operation in ("multiply", "matmul", "sin"):
            held |= {*sources}
        elif operation == "divide":
            held |= {sources[1], output}
        elif operation in ("exp", "tanh"):
            held.add(output)
    return sum(4 * sizes[value] for value in held if value >= inputs)
    ### END SOLUTION


# %% [markdown]
# ## Put them to the test
#
# Run this part when all tasks pass: in the notebook cell by cell, or this whole file with `python`. A plot opens.
#
# First the tape from above: two runs with dual numbers give the gradient of $x \cdot y + \sin x$, one for each input.

# %%
tape = [("multiply", [0, 1]), ("sin", [0]), ("add", [2, 3])]
point = [jnp.float32(2), jnp.float32(3)]
yours = [directional_derivative(tape, point, direction) for direction in ([1.0, 0.0], [0.0, 1.0])]
theirs = jax.grad(lambda x, y: x * y + jnp.sin(x), argnums=(0, 1))(*point)
print("yours:", *(f"{float(g):.7f}" for g in yours), "  jax.grad:", *(f"{float(g):.7f}" for g in theirs))

# %% [markdown]
# Which way is cheaper for the Jacobian of a network of four layers, 64 units wide inside? And does a real program agree? XLA counts the
# FLOPs of JAX's own two ways, `jax.jacfwd` and `jax.jacrev`. A multiplication with its addition is two of them, and a few go into the unit
# matrix that each way begins with.

# %%
from aidl_jax.autodiff import flops

for inputs, outputs in ((128, 1), (128, 16), (64, 64), (16, 128), (1, 128)):
    widths = [inputs, 64, 64, outputs]
    matrices = [jnp.ones((after, before)) for before, after in itertools.pairwise(widths)]

    def chain(x, matrices=matrices):
        return matrices[2] @ (matrices[1] @ (matrices[0] @ x))

    counted = [flops(way(chain), jnp.ones(inputs)) / 2 for way in (jax.jacfwd, jax.jacrev)]
    told = jacobian_costs(widths)
    print(
        f"{inputs:3} to {outputs:3}: forward {told[0]:9,}, reverse {told[1]:9,}   XLA: {counted[0]:9,.0f}, {counted[1]:9,.0f}"
    )

# %% [markdown]
# Memory: a network with two hidden layers on a batch of 100, its tape, and what `residuals` of this course finds in the real function.

# %%
from aidl_jax.autodiff import residuals

mlp = [("matmul", [0, 1]), ("tanh", [4]), ("matmul", [5, 2]), ("tanh", [6]), ("matmul", [7, 3]), ("sum", [8])]
sizes = [100 * 64, 64 * 32, 32 * 32, 32 * 10, 100 * 32, 100 * 32, 100 * 32, 100 * 32, 100 * 10, 1]


def network_sum(x, w1, w2, w3):
    return jnp.sum(jnp.tanh(jnp.tanh(x @ w1) @ w2) @ w3)


shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((100, 64), (64, 32), (32, 32), (32, 10))]
found = residuals(network_sum, *shapes, argnums=(0, 1, 2, 3))
print(f"\nheld: {held_bytes(mlp, sizes):,} bytes, and {found.bytes:,} found by `residuals`")

# %% [markdown]
# Last, a gradient is checked, of $\sum e^{\sin x}$ at a random point in a random direction, with steps from 1 down to $10^{-7}$.
# One gradient is right, one has a single element that is off by 1 %. With which steps can you tell them apart?

# %%
import matplotlib.pyplot as plt


def f(x):
    return jnp.sum(jnp.exp(jnp.sin(x)))


x = jax.random.normal(jax.random.key(0), (10,))
direction = jax.random.normal(jax.random.key(1), (10,))
right = jnp.cos(x) * jnp.exp(jnp.sin(x))
wrong = right.at[3].multiply(1.01)
steps = 10.0 ** jnp.linspace(0, -7, 60)
slopes = jnp.stack([central_difference(f, x, direction, step) for step in steps])

third = jax.grad(jax.grad(jax.grad(lambda t: f(x + t * direction))))(0.0)
best = best_step(f(x), third, jnp.finfo(jnp.float32).eps)
print(f"best step {float(best):.4f}")
figure, axes = plt.subplots(figsize=(7, 4))
for name, gradient in (("right gradient", right), ("one element wrong by 1 %", wrong)):
    claimed = jnp.sum(gradient * direction)
    axes.loglog(steps, jnp.abs(slopes - claimed) / jnp.abs(claimed) + 1e-8, ".-", label=name)
axes.axvline(float(best), color="gray", linestyle="--", label="best_step")
axes.set(xlabel="step", ylabel="relative difference", title="Central difference against gradient")
axes.legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# ## To think about
#
# - In the plot, which part of the curve is the formula's error, and which is rounding? How steep is each, and why?
# - In float64, $\epsilon$ is $2.2 \cdot 10^{-16}$. What becomes of the best step, and of the error at it?
# - A Hessian is the Jacobian of a gradient: as many inputs as outputs. To multiply it by one vector, take the derivative of the
#   *gradient* in one direction: forward mode over reverse mode. What does that cost?
# - Where a network is so deep that `held_bytes` is too much, one can hold every tenth layer's output only, and compute the others once more
#   on the way back. What does that cost in multiplications?
