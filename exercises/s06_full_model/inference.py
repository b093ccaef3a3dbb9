# Exercise s06_full_model/inference. Write the functions below; `aidl check s06/inference` says how it goes.
# It looks at these functions and what they use; run the file itself to see your prints and the plots.

# %% [markdown]
# # A model that answers
#
# A model that has been trained lives in the memory of the process that trained it. To be of use it has to **leave**: into a file, from there
# into another process, on another computer, next year. That process has the file and nothing else: not your classes, not your notebook,
# not your training data.
#
# What goes wrong on this way raises no error. Accuracy falls from 97 % to 60 %, and nobody knows why. The most frequent reason is the **skew**:
# an image is prepared a little differently when the model answers than it was when the model learnt.
#
# You write the four functions that an inference pipeline is made of. At the end a model is trained, exported with your functions in it, and
# asked by a process that has never seen them.

# %%
import jax
import jax.numpy as jnp

# %% [markdown]
# ## What training has measured
#
# Raw images are whole numbers from 0 to 255. A network learns faster from numbers around 0, so in training the pixels are scaled to [0, 1],
# then the **mean** of all training pixels is subtracted, and the result is divided by their **standard deviation**.
#
# These two numbers belong to the model as its weights do: they are measured once, on the training set, and kept.


# %%
def pixel_statistics(images):
    """The mean and the standard deviation of all pixels of the training set, scaled to [0, 1].

    Args:
        images: int32 [n, height, width], raw pixels from 0 to 255.

    Returns:
        A dict with "mean" and "std", float32 [] each.
    """
    raise NotImplementedError("pixel_statistics is still to be written")


# %% [markdown]
# ## The same for one image
#
# At inference there is one image, and the statistics come from the file. An image that is darker than those of training should look darker to
# the model, too: who normalises it by *its own* mean takes that away, and shows the model something it has never learnt from.


# %%
def preprocess(statistics, image):
    """One raw image as the model saw images in training.

    Args:
        statistics: a dict with "mean" and "std", float32 [] each, of the training pixels in [0, 1].
        image: int32 [height, width], raw pixels from 0 to 255.

    Returns:
        float32 [height, width].
    """
    raise NotImplementedError("preprocess is still to be written")


# %% [markdown]
# ## From raw images to probabilities
#
# The best protection from the skew is to have **one function**, from raw images to probabilities, and to export that. Then there is no second
# place where somebody could prepare an image.
#
# The model here is the smallest there is: flatten, multiply by `w`, add `b`, and take the softmax over the classes. The batch may have any size.
# `jax.vmap(f, in_axes=(None, 0))` makes a function of one image into one of many: the first argument stays as it is, the second is gone through
# along its axis 0.
#
# Write `images.shape[0]`, not `len(images)`: when the function is exported below, the size of the batch is left open. `shape[0]` may be such an open
# size; `len` has to give a number, and fails.


# %%
def answer(params, statistics, images):
    """The probability of each class for each raw image.

    Args:
        params: a dict with "w", float32 [height * width, classes], and "b", float32 [classes].
        statistics: a dict with "mean" and "std", float32 [] each, of the training pixels in [0, 1].
        images: int32 [batch, height, width], raw pixels from 0 to 255.

    Returns:
        float32 [batch, classes]; each row adds up to 1.
    """
    raise NotImplementedError("answer is still to be written")


# %% [markdown]
# ## Few sizes
#
# XLA compiles a program for each shape that it meets. A server meets batches of 1, 17, 5, 23, ... images, and would compile again and again,
# a tenth of a second each time. So it asks for blocks of **one size**: the last block is filled up (with anything: zeros, or copies of an
# image), and the answers that nobody asked for are cut off. Fill up behind the last image, so that the others keep their places.
#
# `size` is a Python int, so a Python loop will do. `-7 % 3` is 2 in Python: what is missing from 7 to the next multiple of 3.


# %%
def in_batches(ask, images, size):
    """The answers for any number of images, from a model that is asked for exactly `size` of them each time.

    Args:
        ask: a function from float32 [size, ...] to float32 [size, ...], one answer for each row.
        images: float32 [n, ...], n at least 1.
        size: a Python int, how many images a block has.

    Returns:
        float32 [n, ...], the answers in the images' order.
    """
    raise NotImplementedError("in_batches is still to be written")


# %% [markdown]
# ## Out of the notebook
#
# Now all of it at work: a linear model learns scikit-learn's digits, from pixels between 0 and 255.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

sizes, labels = load_digits(return_X_y=True)
images = np.round(sizes.reshape(-1, 8, 8) * 255 / 16).astype(np.int32)
order = np.random.default_rng(0).permutation(len(labels))
images, labels = images[order], labels[order].astype(np.int32)
learnt, unseen = slice(400, None), slice(400)

statistics = pixel_statistics(images[learnt])
print({name: round(float(number), 3) for name, number in statistics.items()})


def loss(params, raw, labels):
    chosen = answer(params, statistics, raw)[jnp.arange(len(labels)), labels]
    return -jnp.mean(jnp.log(chosen + 1e-9))


@jax.jit
def trained(params, raw, labels):
    def step(params, _):
        slopes = jax.grad(loss)(params, raw, labels)
        return jax.tree.map(lambda value, slope: value - 0.3 * slope, params, slopes), None

    return jax.lax.scan(step, params, length=200)[0]


params = trained({"w": jnp.zeros((64, 10)), "b": jnp.zeros(10)}, images[learnt], labels[learnt])


def accuracy(probabilities, labels):
    return float((np.asarray(probabilities).argmax(axis=-1) == labels).mean())


print(f"unseen digits that are right: {accuracy(answer(params, statistics, images[unseen]), labels[unseen]):.1%}")

# %% [markdown]
# What a skew costs: the same weights and the same digits, prepared in five ways. Some of them hardly change how many are right, since these digits are
# all scanned alike; but look at the loss, which tells how sure the model is of its mistakes.

# %%
raw = jnp.asarray(images[unseen])


def logits_of(inputs):
    return inputs.reshape(len(raw), -1) @ params["w"] + params["b"]


def loss_of(logits):
    return -float(jax.nn.log_softmax(logits)[jnp.arange(len(raw)), labels[unseen]].mean())


ways = {
    "as in training": preprocess(statistics, raw),
    "by its own statistics": jax.vmap(lambda image: preprocess(pixel_statistics(image[None]), image))(raw),
    "not scaled": preprocess(statistics, 255 * raw),
    "dark ink on light paper": preprocess(statistics, 255 - raw),
    "rows and columns swapped": preprocess(statistics, raw.swapaxes(1, 2)),
}
right = {name: accuracy(logits_of(inputs), labels[unseen]) for name, inputs in ways.items()}
for name, inputs in ways.items():
    print(f"{name:26} {right[name]:6.1%} right, loss {loss_of(logits_of(inputs)):8.2f}")
plt.barh(list(right), list(right.values()))
plt.xlabel("accuracy on unseen digits")
plt.tight_layout()
plt.show()

# %% [markdown]
# Export. `answer` is traced for a batch of any size and serialized with the preprocessing in it; weights and statistics go beside it.
# (`aidl_jax.serve.export` does this, with hashes, versions and class names, and `aidl serve` puts a page in front.) The other process gets a folder
# and ten lines of code, in which there is no model.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

(batch,) = jax.export.symbolic_shape("batch")
specs = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), (params, statistics))
exported = jax.export.export(jax.jit(answer))(*specs, jax.ShapeDtypeStruct((batch, 8, 8), jnp.int32))

ELSEWHERE = """
import jax, numpy as np
ask = jax.export.deserialize(bytearray(open("function.bin", "rb").read())).call
kept = np.load("weights.npz")
params, statistics = {"w": kept["w"], "b": kept["b"]}, {"mean": kept["mean"], "std": kept["std"]}
np.save("answers.npy", ask(params, statistics, np.load("images.npy")))
"""

with tempfile.TemporaryDirectory() as folder:
    Path(folder, "function.bin").write_bytes(exported.serialize())
    np.savez(Path(folder, "weights.npz"), **params, **statistics)
    np.save(Path(folder, "images.npy"), images[unseen])
    subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=folder, check=True)
    answers = np.load(Path(folder, "answers.npy"))
print(f"another process: {accuracy(answers, labels[unseen]):.1%} right")
print("largest difference from here:", np.abs(answers - answer(params, statistics, raw)).max())

# %% [markdown]
# And in blocks of 64, as a server would ask:

# %%
blocks = in_batches(lambda block: answer(params, statistics, block.astype(jnp.int32)), raw.astype(jnp.float32), 64)
print(f"{len(raw)} images in blocks of 64: {accuracy(blocks, labels[unseen]):.1%} right")

# %% [markdown]
# ## To think about
#
# - Photograph a digit with dark ink on white paper. Which preprocessing is missing, and where does it belong: before the export, or after?
# - Batch norm normalises by the batch while a model is trained. What does it do when the model answers, and which check here is about that?
# - Your training set grows, and its mean changes. Which of the files that you have handed out are wrong now?
# - Why is a hash in the same file no protection against somebody who wants to give you another model?
