# Exercise s05_toolbox/scopes. Write the functions below; `aidl check s05/scopes` says how it goes.
# It looks at these functions and what they use; run the file itself to see your prints and the plots.

# %% [markdown]
# # Scopes
#
# Two layers of a network both have weights. What do you call them? In a network of fifty layers you need a system, and so
# does whoever reads your program, your checkpoint, or the picture of its graph. A **scope** is that system: a name
# like a folder's. Inside of `conv1` there may be `weights`, and inside of `conv2` as well; in full they are `conv1/weights` and
# `conv2/weights`.
#
# Here you give a small network its scopes, share its variables between two calls, and hand in its graph. What is
# graded is what TensorBoard would draw.
#
# ## A model is a function of a scope
#
#     def linear(scope, x):
#         weights = scope.get_variable("weights", (x.shape[-1], 2))
#         return x @ weights
#
# `get_variable(name, shape, initializer)` is how a model asks for a variable. Where the variable comes from is not the model's business:
#
#     params, model_state = init(linear)(key, x)                # makes it:  {"weights": ...}
#     outputs, model_state = apply(linear)(params, {}, x)       # finds it in params
#
# Without an initializer the values are random (Glorot's uniform ones); a number fills the variable with that number.
# `model_state` holds what is not trained, and here it is always `{}`.

# %%
import jax
import jax.numpy as jnp

from aidl_jax.scope import AUTO, apply, init

# %% [markdown]
# ## One layer
#
# A convolution slides small windows of weights over an image. This function does it, 3 by 3 or of any other size, and
# leaves height and width as they are. The weights are of shape `[3, 3, channels that come in, channels that go out]`.


# %%
def convolve(images, weights):
    return jax.lax.conv_general_dilated(images, weights, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


# %% [markdown]
# A layer has `weights` for windows of 3 by 3, with random values at first, and `biases`, one for each channel that goes out,
# all 0 at first. It convolves, adds the biases, and applies `jax.nn.relu`.
#
# It asks the scope that it is given, and opens none of its own: how a layer is called is for whoever calls it to say.


# %%
def conv_relu(scope, images, channels):
    """A convolution 3 by 3, biases and ReLU, with the variables `weights` and `biases`.

    Args:
        scope: where the variables are, an aidl_jax.scope.Scope.
        images: float32 [batch, height, width, channels].
        channels: a Python int, how many channels go out.

    Returns:
        float32 [batch, height, width, channels], with as many channels as were asked for.
    """
    raise NotImplementedError("conv_relu is still to be written")


# %% [markdown]
# ## Two layers
#
# Call `conv_relu` twice with the same scope, and the second call asks for a `weights` that is there already. That is an error, and
# a good one: two layers that share their weights by mistake would be hard to find. Open a scope for each:
#
#     with scope.variable_scope("conv1") as conv1:
#         ...
#
# `conv1` is the inner scope; `scope` stays where it is. Nothing surrounds you that you cannot see: a layer's variables are where
# the scope is that you pass to it.


# %%
def image_filter(scope, images):
    """Two layers, `conv1` with 4 channels and then `conv2` with 2.

    Args:
        scope: where the variables are, an aidl_jax.scope.Scope.
        images: float32 [batch, height, width, channels].

    Returns:
        float32 [batch, height, width, channels], with 2 channels.
    """
    raise NotImplementedError("image_filter is still to be written")


# %% [markdown]
# ## One filter, two images
#
# How much do two images differ, as the filter sees them? Both have to go through the *same* filter: one set of
# variables, used twice. Say so with `reuse`:
#
# | `variable_scope("filter", reuse=...)` | the variable is new | it is there |
# |---|---|---|
# | `False` (if you say nothing) | makes it | an error |
# | `True` | an error | finds it |
# | `AUTO` | makes it | finds it |
#
# Scopes inside of one that reuses do so, too. As the variables are used twice, each has two ways to change the result, and its gradient
# is the sum over both.


# %%
def filter_difference(scope, one, two):
    """What `image_filter` makes of one minus what it makes of two, with the same variables, in the scope `filter`.

    Args:
        scope: where the variables are, an aidl_jax.scope.Scope.
        one: float32 [batch, height, width, channels].
        two: float32 [batch, height, width, channels], of the same shape.

    Returns:
        float32 [batch, height, width, channels], with 2 channels.
    """
    raise NotImplementedError("filter_difference is still to be written")


# %% [markdown]
# ## Scope the model and the loss
#
# Scopes name more than variables: every operation that is done inside of a `with` gets its name from it. A loss has no
# variables, but it has operations, and in the picture of a graph they should stand in a box of their own. For that there is
# `scope.name_scope("loss")`, which names operations alone and leaves variables where they are.
#
# Put the filter into the scope `model` and the loss into `loss`, side by side: the model is not a part of the loss, nor the
# other way round. The variables are then called `model/conv1/weights` and so on.


# %%
def model_loss(scope, images, targets):
    """The mean squared error of the filter: the filter in the scope `model`, the error in the scope `loss`.

    Args:
        scope: where the variables are, an aidl_jax.scope.Scope.
        images: float32 [batch, height, width, channels].
        targets: float32 [batch, height, width, channels], with 2 channels: what image_filter should make of them.

    Returns:
        float32 [], the mean over all numbers of the squared difference.
    """
    raise NotImplementedError("model_loss is still to be written")


# %% [markdown]
# ## Hand in the graph
#
# To train the filter you need the loss and its gradients. Differentiate with `jax.value_and_grad`, and the way back gets
# names, too: what belongs to `model/conv1` on the way forward has its derivative in `gradients/model/conv1`. You need not do anything
# for that, only not lose the scopes on the way: differentiate the `model_loss` that you have, through `apply`.
#
# This function is traced, its graph is written into a TensorBoard file, and that file is graded: there must be the
# groups `model`, `loss` and `gradients`, with the layers inside.


# %%
def loss_and_gradients(params, images, targets):
    """The loss of `model_loss` and its gradients for the parameters: what is handed in as a graph.

    Args:
        params: what init(model_loss) makes, a nested dict of arrays, float32 [...] each.
        images: float32 [batch, height, width, channels].
        targets: float32 [batch, height, width, channels].

    Returns:
        A pair: the loss, float32 [], and the gradients, a nested dict like params, float32 [...] each.
    """

    raise NotImplementedError("loss_and_gradients is still to be written")


# %% [markdown]
# ## Look at it
#
# Run this part when all tasks pass. `trace` does what the grader does: it runs your function on shapes and writes down
# every operation.

# %%
from tensorboardX import SummaryWriter

from aidl_jax import parameters
from aidl_jax.graph import trace

images, targets = jnp.ones((8, 16, 16, 1)), jnp.zeros((8, 16, 16, 2))
params, model_state = init(model_loss)(jax.random.key(0), images, targets)
print(parameters.tabulate(params))

graph = trace(loss_and_gradients, params, images, targets, variables=["params"])
print(graph)

with SummaryWriter("runs/scopes") as writer:
    graph.to_tensorboard(writer)

# %% [markdown]
# Now `pip install tensorboard`, `tensorboard --logdir runs/scopes`, and the tab *Graphs* (in a notebook:
# `%load_ext tensorboard`, then `%tensorboard --logdir runs/scopes`). Every scope is a box; a double click opens it. Follow
# an arrow from `model` to `loss` and back through `gradients`.
#
# And two calls that share their variables: `AUTO` says it in one loop, whichever call comes first.


# %%
def twice(scope, images):
    for _ in range(2):
        with scope.variable_scope("shared", reuse=AUTO) as shared:
            images = conv_relu(shared, images, images.shape[-1])
    return images


params, _ = init(twice)(jax.random.key(0), images)
print(parameters.tabulate(params))
print(trace(apply(twice), params, {}, images, variables=["params"]))

# %% [markdown]
# There is one `shared/weights`, and there are two convolutions that use it.
#
# ## To think about
#
# - In TensorFlow 1 the current scope was a hidden global state, and `get_variable` looked it up. Here you pass it on. What can go
#   wrong in each?
# - If you put `with scope.name_scope("loss")` around the whole of `model_loss`, what is the model called in the graph, and what in
#   `params`?
# - Each initial value depends on the key and on the variable's own name. Rename `conv1`: which values change?
