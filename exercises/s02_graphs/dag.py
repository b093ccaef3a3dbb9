# Exercise s02_graphs/dag. Write the functions below; `aidl check s02/dag` says how it goes.
# It looks at these functions and what they use; run the file itself to see your prints and the plots.

# %% [markdown]
# # A graph, and how it is run
#
# A library for deep learning does not run your formula line by line. It first writes it down as a **graph**:
# each operation is a **node**, and an arrow goes from a node to every node that uses its output. What is written down
# can be looked at before it runs: drawn, checked, cut down to the part that is needed, differentiated.
#
# Here the graph is plain data, and you write the four functions that each such library has somewhere
# inside: put the nodes in order, find a cycle, find the part that is needed, run it.
#
# A graph is a dict. For each node it holds the name of its operation, and the list of the nodes that are its inputs:
#
#     graph = {
#         "z": ("add", ["y", "c"]),
#         "x": ("placeholder", []),
#         "w": ("placeholder", []),
#         "y": ("multiply", ["x", "w"]),
#         "c": ("two", []),
#     }
#
#     x ──┐
#         ├── y ──┐
#     w ──┘       ├── z          z = x * w + 2
#     c ──────────┘
#
# The inputs are in order: `subtract` of `["a", "b"]` is a - b. The entries of the dict are in **no** order at
# all: above, `z` stands first and needs all the others. A node whose output goes into another one is said to *feed* it.
#
# Operations are Python functions, and this is all there are. A `placeholder` has no function: its value comes from outside.

# %%
def fail():
    raise RuntimeError("the operation `fail` was run")


def note(log, value):
    log.append(value)
    return value


OPERATIONS = {
    "one": lambda: 1,
    "two": lambda: 2,
    "negative": lambda a: -a,
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "fail": fail,
    "note": note,
}

# %% [markdown]
# The last two are there to be watched. `fail` raises an error, so you notice if it is run. `note` appends its
# second input to the list that is its first, so you see afterwards what was run, and how often.
#
# ## In which order?
#
# A node can be run when the values of all its inputs are there. A **topological order** is a list of all nodes
# in which every node comes after its inputs: `x, w, y, c, z` above, or `c, w, x, y, z`. Often there are many; any is right.
#
# There is one exactly if the graph has no **cycle**: no way along the arrows from a node back to itself. Such a graph
# is called a **DAG**, a directed acyclic graph.
#
# Two ways to find an order:
#
# - **count**: for each node, count the inputs that are still missing. Nodes that miss none are ready. Take a ready one, and
#   tick it off at every node that uses it; that may make more of them ready. If none is ready and some are left, they
#   wait for each other: there is a cycle;
# - **go back**: to place a node, first place its inputs, each in the same way. A node that you meet again while you are
#   still placing its inputs is on a cycle.
#
# A node may use the same input twice: `("multiply", ["x", "x"])` is a square.


# %%
def topological_order(graph):
    """An order in which the nodes of a graph can be run.

    Args:
        graph: a dict from each node's name, a str, to a pair: the name of its operation, a str, and the list of
            its inputs' names. It is at most 100 nodes deep, so that a function may call itself.

    Returns:
        A list of all names, each once, every node after all of its inputs.

    Raises:
        ValueError: the graph has a cycle.
    """
    raise NotImplementedError("topological_order is still to be written")


# %% [markdown]
# ## Which nodes wait for each other?
#
# "There is a cycle" helps little in a graph of a thousand nodes. Name one:
#
#     a ──> b ──> c ──> d ──> e
#           ^           │
#           └───────────┘
#
# Here the answer is `["b", "c", "d"]`, or the same from another start, `["c", "d", "b"]`: each feeds the next, and the last
# feeds the first. Neither `a`, which leads into the cycle, nor `e`, which hangs off it, belongs to it. A node that is its
# own input is a cycle of one.
#
# To find one, walk against the arrows from a node to one of its inputs, to one of its inputs and so on, and remember the
# path. If you meet a node that is **on the path**, you have walked around a cycle: the part of the path from there. If all
# ways from a node come to an end, the node is on no cycle, and you need not look at it again. Meeting a node a second
# time is no cycle by itself: `y = x * x` meets `x` twice.


# %%
def find_cycle(graph):
    """The nodes of one cycle.

    Args:
        graph: a dict as above, at most 100 nodes deep; an input may also be the node itself, or a later one.

    Returns:
        A list of names, each once, each of which feeds the next one, and the last one the first. None if the
        graph has no cycle.
    """

    raise NotImplementedError("find_cycle is still to be written")


# %% [markdown]
# ## What is needed?
#
# Nobody wants all values of a graph. You ask for some, the **fetches**, and you give some, the **feeds**. A training
# graph holds the loss, the gradients and the summaries; to predict, you fetch the predictions, and nothing else runs.
#
# **Any** node may be fetched, and any may be fed, not only placeholders. A fed node is not run: its value is there
# already. So what lies behind it need not be run for its sake:
#
#     a ── b ── c ── d        fetch d, feed nothing:  a, b, c, d are run
#                             fetch d, feed c:        only d is run
#                             fetch b, feed c:        a, b are run
#
# Careful: what lies behind a fed node may still be needed on another way, if a node that is not fed uses it, too.


# %%
def needed(graph, fetches, fed):
    """The nodes that must be run to get the fetches.

    Args:
        graph: a dict as above, without cycles.
        fetches: a list of names, whose values are asked for.
        fed: a list of names, whose values are given.

    Returns:
        A set of names: the fetches and all that they need, down to what is fed. A fed node is not in it; a
        placeholder that is not fed is.
    """
    raise NotImplementedError("needed is still to be written")


# %% [markdown]
# ## Run it
#
# Now it comes together: take the nodes in order, skip what is not needed, and keep each value for whoever needs
# it next. Nothing is run twice, and nothing that nobody needs is run at all.
#
# A placeholder that is needed and not fed is the most common mistake with a graph. Say which one it is: raise a
# `ValueError` with its name in the message. If a name that is not in the graph is fetched, a `KeyError` says so; that is what
# `graph[name]` raises anyway.


# %%
def evaluate(graph, fetches, feeds):
    """The values of some nodes of a graph.

    Args:
        graph: a dict as above, without cycles.
        fetches: a list of names, whose values are asked for; a name may be in it twice.
        feeds: a dict from names to values of any kind, 0 and None included. A fed node is not run.

    Returns:
        A list of the fetches' values, in the order of `fetches`.

    Raises:
        ValueError: a placeholder is needed and not fed; the message names it.
        KeyError: a name in `fetches` is not in the graph; the message names it.
    """
    raise NotImplementedError("evaluate is still to be written")


# %% [markdown]
# ## A graph of JAX's
#
# Run this part when all tasks pass: in the notebook cell by cell, or this whole file with `python`.
#
# When JAX traces a function, it writes down just such a graph. `trace` of `aidl_jax.graph` shows it. It runs the function
# on stand-ins that have a shape and a dtype and no values. Here is a linear model with its loss:

# %%
import jax
import jax.numpy as jnp

from aidl_jax.graph import trace


def model(w, b, x, targets):
    predictions = x @ w + b
    return predictions, jnp.mean((predictions - targets) ** 2)


shapes = [(3,), (), (5, 3), (5,)]
traced = trace(model, *[jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes])
print(traced)

# %% [markdown]
# As a dict of yours, your own functions can deal with it. What must be run for the predictions, what for the loss? And what is
# left to run for the loss if somebody feeds the predictions?

# %%
as_dict = {op.name: (op.type, [tensor.operation for tensor in op.inputs]) for op in traced.operations()}
predictions, loss = (tensor.operation for tensor in traced.outputs)
print("one order:          ", *topological_order(as_dict))
print("for the predictions:", *sorted(needed(as_dict, [predictions], [])))
print("for the loss:       ", *sorted(needed(as_dict, [loss], [])))
print("... predictions fed:", *sorted(needed(as_dict, [loss], [predictions])))

# %% [markdown]
# The library does the same when you run a part of a graph. `w`, `b` and `x` are not even asked for:

# %%
fed = {predictions: jnp.ones(5), "targets": jnp.zeros(5)}
print("the loss if all predictions are 1 and all targets 0:", traced.run(loss, fed))

# %% [markdown]
# ## To think about
#
# - Make a chain of 5,000 nodes, each `negative` of the one before. Does your `topological_order` still work? Python's limit on
#   how deep functions may call each other is 1,000.
# - How many topological orders has a graph of n nodes without any arrows? And a chain?
# - A program that runs two nodes at the same time could do more at once. Which nodes may run at the same time?
# - To get gradients, every value of the forward pass that the backward pass uses must be kept. When, in a topological order,
#   can a value be thrown away?
