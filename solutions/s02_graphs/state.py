# %% [markdown]
# # State, branches and loops in a graph
#
# A traced function is a graph. It has no memory, it takes no decisions while it is traced, and it is traced again only if
# something about its arguments changes that the graph depends on. Three things that are easy in Python look different then:
#
# - a **variable** that changes its value;
# - `if`, `for` and `while`;
# - telling how often a function is traced.

# %%
import jax
import jax.numpy as jnp

# %% [markdown]
# ## A variable
#
# Take a variable `v` that holds 1, and a constant `c` that is 4. A program asks for `v + c`. The result is 5. And what
# does `v` hold afterwards? Still 1: the sum is a new value, and nobody has written it anywhere.
#
# A second program asks for `v.assign_add(c)`, as such graphs used to have it: add, *and write the sum into the
# variable*. The result is 5 again, but now `v` holds 5.
#
# The two look alike, and what they do to `v` you must know by heart. A **pure function** shows it. It cannot write into
# anything, so what should be remembered must come in and go out: the **state**, a dict with all variables. Both programs become
# functions from a state to a pair: the state afterwards, and the result.
#
#     state = {"v": 1.0, "count": 7}
#     add(state, "v", 4.0)           # ({"v": 1.0, "count": 7}, 5.0)
#     assign_add(state, "v", 4.0)    # ({"v": 5.0, "count": 7}, 5.0)
#     state                          # {"v": 1.0, "count": 7}: whoever has the old state still has it
#
# First the one that changes nothing:


# %%
def add(state, name, amount):
    """Adds to the value of a variable, and leaves the variable as it is.

    Args:
        state: a dict from the variables' names to their values, float32 [...] or int32 [...].
        name: a Python str, one of the names in `state`.
        amount: an array of the variable's dtype, of its shape or a single number.

    Returns:
        A pair: the state as it is, and the sum, of the variable's shape and dtype, float32 [...] or int32 [...].
    """
    ### BEGIN SOLUTION
    return state, state[name] + amount
    ### END SOLUTION


# %% [markdown]
# Now the one that assigns. Make a **new** dict: if you wrote into the old one, whoever still needs the old state, to
# compare or to go back, would have lost it. `{**state, "v": 5.0}` is a copy of `state` in which `"v"` has another value.


# %%
def assign_add(state, name, amount):
    """Adds to a variable.

    Args:
        state: a dict from the variables' names to their values, float32 [...] or int32 [...].
        name: a Python str, one of the names in `state`.
        amount: an array of the variable's dtype, of its shape or a single number.

    Returns:
        A pair: a new state in which the variable holds the sum and all others are as before, and the sum, of the
        variable's shape and dtype, float32 [...] or int32 [...].
    """
    ### BEGIN SOLUTION
    total = state[name] + amount
    return {**state, name: total}, total
    ### END SOLUTION


# %% [markdown]
# ## A branch: `cond`
#
# Now and then a gradient is broken: somewhere a number got too large, and there is a `nan` or an `inf` in it. One step with it
# and all weights are lost. So many programs look first, and skip the step:
#
#     def guarded_step(w, gradient, learning_rate):
#         if jnp.all(jnp.isfinite(gradient)):
#             return w - learning_rate * gradient
#         return w
#
# This works, until it is compiled. `jax.jit(guarded_step)` stops with
#
#     TracerBoolConversionError: Attempted boolean conversion of traced array with shape bool[].
#
# An `if` needs True or False *now*, to know which lines to run. But now, while JAX traces, there are no values: the
# comparison is a node of the graph, and will have a value each time the graph is run. So the choice must be a node, too:
#
#     jax.lax.cond(condition, if_true, if_false)      # two functions without arguments
#
# Both functions are traced, so both are in the graph; when the graph is run, only one of them is. What they
# return must be alike, in structure, shape and dtype, because what comes after must fit both. An example:
#
#     jax.lax.cond(x > 0, lambda: jnp.sqrt(x), lambda: 0.0)
#
# (`jnp.where(condition, a, b)` chooses, too, number by number. It computes both `a` and `b`.)


# %%
def guarded_step(w, gradient, learning_rate):
    """One step of gradient descent, skipped if the gradient is broken.

    Args:
        w: float32 [weights].
        gradient: float32 [weights]; it may hold nan, inf and -inf.
        learning_rate: float32 [].

    Returns:
        float32 [weights]: w minus the learning rate times the gradient if every number of the gradient is finite, else w.
    """
    ### BEGIN SOLUTION
    finite = jnp.all(jnp.isfinite(gradient))
    return jax.lax.cond(finite, lambda: w - learning_rate * gradient, lambda: w)
    ### END SOLUTION


# %% [markdown]
# ## A loop over elements: `scan`
#
# The loss of each step jumps up and down. To see where it goes, one plots a **moving average**: it starts at the
# first loss, and each new loss moves it a little:
#
# $$ a_0 = l_0 \qquad\qquad a_t = d \cdot a_{t-1} + (1 - d) \cdot l_t $$
#
# With a decay $d$ of 0.9, nine tenths stay as they were. (The same average is in batch normalisation and in most
# optimizers.) In Python:
#
#     average, averages = losses[0], []
#     for loss in losses:
#         average = decay * average + (1 - decay) * loss
#         averages.append(average)
#
# JAX can trace this: it runs the loop, and writes down what it sees, which is the same operations again for every
# element. With 500 losses that is a graph of thousands of operations, and compiling it can take a minute. A loop that is
# **one** operation of the graph, however many rounds it has, is `jax.lax.scan`:
#
#     last, collected = jax.lax.scan(step, start, elements)
#
# `step(carry, element)` returns a pair: the new carry, which the next round gets, and what this round collects. The
# collected values come back stacked along a new first axis. An example, running sums:
#
#     def step(total, element):
#         total = total + element
#         return total, total
#
#     jax.lax.scan(step, 0.0, jnp.array([3.0, 1.0, 2.0]))    # (6.0, [3.0, 4.0, 6.0])


# %%
def smooth(losses, decay):
    """The moving average of a sequence of losses.

    Args:
        losses: float32 [steps], at least one.
        decay: float32 [], between 0 and 1: how much of the average stays.

    Returns:
        float32 [steps]: the average after each loss; the first one is the first loss.
    """

    ### BEGIN SOLUTION
    def step(average, loss):
        average = decay * average + (1 - decay) * loss
        return average, average

    return jax.lax.scan(step, losses[0], losses)[1]
    ### END SOLUTION


# %% [markdown]
# ## A loop until something holds: `while_loop`
#
# If the learning rate is too large, a step jumps over the valley, and the loss is larger than before. One cure: try the step; if
# the loss gets larger, halve the rate and try again.
#
#     while loss(w - rate * gradient) > loss(w):
#         rate = rate / 2
#
# `while` needs True or False now, as `if` does, and fails in the same way. How many rounds there will be depends on values,
# so it cannot be a scan either, whose length is part of the graph. This loop is
#
#     jax.lax.while_loop(condition, body, start)
#
# Both functions take the carry. `condition(carry)` returns True as long as the loop goes on, and `body(carry)` the next carry,
# alike in structure, shape and dtype. What comes back is the carry for which the condition was False. An example, the first power
# of two that is not below a number:
#
#     jax.lax.while_loop(lambda p: p < 100, lambda p: 2 * p, 1)    # 128
#
# `loss` is an argument here. It is a function, and your code calls it.


# %%
def safe_rate(loss, w, gradient, rate):
    """Halves a learning rate until a step with it no longer makes the loss larger.

    Args:
        loss: a function from float32 [weights] to float32 [].
        w: float32 [weights].
        gradient: float32 [weights], that of the loss at w.
        rate: float32 [], the rate to begin with.

    Returns:
        float32 []: the first of rate, rate / 2, rate / 4, ... for which the loss at w - rate * gradient is not larger than
        the loss at w.
    """
    ### BEGIN SOLUTION
    return jax.lax.while_loop(lambda r: loss(w - r * gradient) > loss(w), lambda r: r / 2, rate)
    ### END SOLUTION


# %% [markdown]
# ## How often is it traced?
#
# `jax.jit(f)` traces `f` when it is called for the first time, compiles the graph, and keeps it. Called again, it looks whether
# one of its graphs fits the arguments. If so, `f` itself is not run at all. If not, `f` is **traced again** and compiled again,
# which often takes a thousand times as long as running it. A program that is slow for no reason may be retracing in each step.
#
# A graph fits if all of this is the same. The values of arrays are not in the list:
#
# - each array's **shape and dtype**. JAX has no 64-bit types unless you ask for them: an array of `float64` comes in
#   as `float32`, one of `int64` as `int32`;
# - for a plain Python number its **type**: int, float or bool, not its value. Such a number gets its dtype from
#   what it meets, so it is not the same as an array of shape `()` with a dtype of its own;
# - the **structure** around them: dicts with the same keys, in whatever order; lists of the same length; the same nesting;
# - the **value** of an argument that is declared static, as `mode` in `jax.jit(f, static_argnames="mode")`. It is no
#   input of the graph: it is built into it.
#
# All graphs are kept, so it does not matter what came in between.
#
# Let the calls of a function `f(x, mode)` with a static `mode` be given as data: a list of pairs `(x, mode)`. An array is
# written as its dtype and shape, and all else stands for itself:
#
#     calls = [
#         (("float32", (4, 3)), "train"),                          # the first: traced
#         (("float32", (4, 3)), "train"),                          # fits
#         (("float32", (1, 3)), "train"),                          # another shape: traced
#         (("float32", (1, 3)), "test"),                           # another mode: traced
#         ({"w": ("float32", (3,)), "rate": 0.1}, "train"),        # another structure: traced
#         ({"rate": 0.2, "w": ("float32", (3,))}, "train"),        # fits
#     ]
#     count_traces(calls)    # 4


# %%
def count_traces(calls):
    """How often `jax.jit(f, static_argnames="mode")` traces f(x, mode) in a number of calls.

    Args:
        calls: a list of pairs (x, mode). mode is a str or an int. x is one of:
            an array: a pair (dtype, shape) of a str and a tuple of ints, ("float32", (4, 3));
            a Python number: an int, a float or a bool;
            a list, or a dict with str keys, of such things.

    Returns:
        An int, how often f is traced.
    """

    ### BEGIN SOLUTION
    def signature(x):
        if isinstance(x, tuple):
            dtype, shape = x
            return {"float64": "float32", "int64": "int32"}.get(dtype, dtype), shape
        if isinstance(x, dict):
            return "dict", *((key, signature(x[key])) for key in sorted(x))
        if isinstance(x, list):
            return "list", *map(signature, x)
        return type(x)

    return len({(signature(x), mode) for x, mode in calls})
    ### END SOLUTION


# %% [markdown]
# ## See it happen
#
# Run this part when all tasks pass: in the notebook cell by cell, or this whole file with `python`.
#
# A traced function runs as Python only while it is traced. So a `print` in it shows each trace, and nothing else. Here are the calls
# from above, for real:

# %%
import numpy as np


@jax.jit
def double(x):
    print("  ... traced for", x)
    return 2 * x


for x in [
    np.float32([1, 2]),
    np.float32([3, 4]),
    np.float32([1, 2, 3]),
    np.int32([1, 2]),
    1.0,
    2.0,
    np.float32(1),
    np.ones(2),
]:
    print("call with", repr(x))
    double(x)

seen = [
    ("float32", (2,)),
    ("float32", (2,)),
    ("float32", (3,)),
    ("int32", (2,)),
    1.0,
    2.0,
    ("float32", ()),
    ("float64", (2,)),
]
print("you say:", count_traces([(x, "the only mode") for x in seen]), "traces")

# %% [markdown]
# A loop of Python's and a scan compute the same. Look at what they are as graphs:


# %%
def smooth_in_python(losses, decay):
    average, averages = losses[0], []
    for loss in losses:
        average = decay * average + (1 - decay) * loss
        averages.append(average)
    return jnp.stack(averages)


for steps in (10, 100):
    losses = jnp.ones(steps)
    for one in (smooth_in_python, smooth):
        lines = str(jax.make_jaxpr(one)(losses, 0.9)).count("\n")
        print(f"{one.__name__:16} of {steps:3} losses: {lines:4} lines")

# %% [markdown]
# And the two ways to say "add", compiled. The state goes round in a loop, and no variable is written to:

# %%
state = {"v": jnp.float32(1), "count": jnp.int32(7)}
for function in (add, assign_add):
    after, result = jax.jit(function, static_argnames="name")(state, "v", jnp.float32(4))
    print(f"{function.__name__:10} result {result}, v was {state['v']}, v is {after['v']}")

# %% [markdown]
# ## To think about
#
# - Your batches have 32 examples, but the last batch of each epoch has 7. How often is a training step traced in ten epochs?
# - A learning rate that changes in each step is passed as a Python float. Is the step traced anew each time? And if it is
#   declared static?
# - `cond` runs one of its two functions, `jnp.where` computes both sides. When does the difference matter? What if one side is
#   a square root, of a number that may be negative?
# - What would happen in `safe_rate` if the condition were `>=`, and the gradient is 0?
