# Exercise s06_full_model/imagenet. Write the functions below; `aidl check s06/imagenet` says how it goes.
# It looks at these functions and what they use; run the file itself to see your prints and the plots.

# %% [markdown]
# # An input pipeline for ImageNet
#
# ImageNet has 1.28 million photographs of 1,000 classes, some 150 GB of JPEG files. A model wants them in batches: decoded, cut to one size,
# a little different each time, in another order in each epoch. A fast GPU asks for more than a thousand of them each second, and waits if they do
# not come. So this exercise is about two things. The batches have to be **right**, which is graded. And they should come **fast**:
# how many images per second can you reach? `aidl check` measures that, too, beside a pipeline of the course on your machine. It gives no points.
#
# You write five functions, each a few lines of Python, NumPy and Pillow. From the exercise on pipelines you know the idea that holds them
# together: everything random is drawn from **where** an image comes, its epoch and its position, never from what was drawn before it.

# %%
import concurrent.futures
import functools
import io
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from aidl_jax import data

MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of red, green and blue in [0, 1], over ImageNet's training set
STD = np.array([0.229, 0.224, 0.225], np.float32)

# %% [markdown]
# ## A folder of images
#
# ImageNet comes as a folder with one folder for each class, whose name is the class's number in WordNet:
#
#     train/n01440764/n01440764_10026.JPEG
#     train/n01440764/n01440764_10027.JPEG
#     train/n01443537/n01443537_10007.JPEG
#
# There is no file with labels. The **folders'** names in alphabetical order are numbered 0, 1, 2, ...; the label of an image is the number of its folder.
#
# All images together do not fit into memory, so a function cannot return them. It returns a **source**, a pair: how many images there are, and a
# function `read` that reads one of them when it is asked to. What has to be in memory is the list of the files' names.
#
# A file system lists files in any order it likes, so sort them. And it may hold other things than images: a licence beside the classes,
# a `Thumbs.db` between the images. `Path(root).iterdir()` goes through what is in a folder, `path.is_dir()` tells folders from files, and
# `path.glob("*.JPEG")` finds the images.


# %%
def folder_source(root):
    """The images of a folder in ImageNet's layout, `root/<class>/<image>.JPEG`.

    Images are numbered class by class, and in a class in the order of their names.

    Args:
        root: a str, the folder. What lies in it and is no folder is no class; what lies in a class's folder and does not
            end in `.JPEG` is no image.

    Returns:
        A pair. First an int, how many images there are. Then a function that takes an image's number, an int from 0, and
        returns a pair: the bytes of its file, and its label, an int. Labels are the numbers of the classes in the order of
        their names, from 0.
    """
    raise NotImplementedError("folder_source is still to be written")


# %% [markdown]
# ## The same images in a few large files
#
# To open a file takes a disk a moment, on a network many moments, and here it is done a million times in each epoch. So the images are often packed
# into a thousand large files, **shards**:
#
#     train-00000-of-01024, train-00001-of-01024, ...
#
# A shard is a TFRecord file: one record after another, each with its length and a checksum. A record is a `tf.train.Example`, a set of named
# features, of which two matter here:
#
# - `image/encoded`: the bytes of the JPEG file;
# - `image/class/label`: the label. There is a trap in it. Those who made these shards kept 0 for "background", so here classes are
#   numbered **from 1** to 1,000. Forget it, and every label is wrong by one. Nothing fails; the model learns, too, until
#   somebody evaluates it with labels from the folder.
#
# `aidl_jax.data` reads both:
#
#     records = data.tfrecord("shards/train-*")            # all shards, in the order of their names
#     examples = records.apply(data.parse_example({"x": jax.ShapeDtypeStruct((), np.int32)}))
#     examples.cardinality()                               # how many there are
#     examples.element(3)["x"]                             # feature x of the one with number 3
#
# You declare the features that you want, by shape and dtype; bytes have the dtype `object`. What comes back are arrays of shape
# `()`, and `.item()` takes out what is in them. To get at number 3 nothing before it is read: where each record begins is looked up once.


# %%
def shard_source(root):
    """The images of TFRecord shards, `root/train-*`, each a `tf.train.Example` with `image/encoded` and `image/class/label`.

    Args:
        root: a str, the folder of the shards; there is at least one. They may be of different sizes.

    Returns:
        A pair as `folder_source` returns it: an int, how many images all shards have together, and a function that takes an
        image's number, an int, and returns a pair: the bytes of its JPEG file, and its label, an int from 0. In the
        shards labels are counted from 1.
    """
    raise NotImplementedError("shard_source is still to be written")


# %% [markdown]
# ## Another part each time
#
# A model that sees the same photographs ninety times learns them by heart. So each time it gets another **part** of them, brought to one size, and
# every other time **mirrored**. (Left to right only: a dog upside down is no dog that anybody meets.) The parts that are usual since Inception:
#
# 1. Draw an area between 8 % and 100 % of the image's, and a ratio of width to height between 3/4 and 4/3. Then
#    $w = \sqrt{\text{area} \cdot \text{ratio}}$ and $h = \sqrt{\text{area} / \text{ratio}}$, rounded.
# 2. If that fits into the image (and is not empty), put it somewhere, every place being as likely as any other. If not, draw again.
# 3. If ten draws do not fit, as happens with a panorama, take the whole image.
#
# The random numbers come from `np.random.default_rng(seeds)`, where `seeds` is a list such as `[seed, epoch, position]`. `rng.uniform(low, high)` draws a
# number; `rng.integers(n + 1)` a whole one from 0 to `n`; `rng.random() < 0.5` is a coin.


# %%
def random_crop(height, width, seeds):
    """Draws which part of an image is seen, and whether it is mirrored.

    Args:
        height: an int, of the image, in pixels.
        width: an int, the same.
        seeds: a list of ints, for `np.random.default_rng`; the same list draws the same part.

    Returns:
        A pair: the part, a tuple of four ints (left, top, right, bottom), where 0 <= left < right <= width and
        0 <= top < bottom <= height; and a bool, whether it is mirrored, true half of the time. The part has 8 % to 100 % of the
        image's area and a width between 3/4 and 4/3 of its height; or it is the whole image, if ten draws do not fit.
    """
    raise NotImplementedError("random_crop is still to be written")


# %% [markdown]
# ## From bytes to numbers
#
# Pillow opens a file, and bytes as one:
#
#     image = Image.open(io.BytesIO(jpeg))                                          # reads the size, decodes nothing yet
#     image.convert("RGB")                                                          # decodes
#     image.resize((width, height), Image.Resampling.BILINEAR, box=(left, top, right, bottom))    # a part of it, at another size
#     np.asarray(image)                                                             # uint8 [height, width, 3]
#
# `convert("RGB")` is not there for show: some of ImageNet's photographs are gray, and a few are CMYK. Without it, one of them
# stops a training run after some hours, since it has another shape.
#
# Then the colours are **normalised**: scaled to [0, 1], less `MEAN`, divided by `STD`, each of the three colours by its own. Once. A model
# whose preprocessing normalises again, or not at all, trains all the same, only worse.


# %%
def prepare(jpeg, box, mirrored, side):
    """Decodes an image, and makes of a part of it what a model gets.

    Args:
        jpeg: bytes of a JPEG file, which may be gray.
        box: a tuple of four ints, the part: (left, top, right, bottom).
        mirrored: a bool, whether left and right change places.
        side: an int, the height and the width of what comes back.

    Returns:
        A NumPy array, float32 [side, side, 3]: red, green and blue of each pixel, each a float. Scaled to [0, 1], less MEAN,
        divided by STD.
    """
    raise NotImplementedError("prepare is still to be written")


# %% [markdown]
# ## Batches, for ever
#
# Now the whole. Count the images that training uses: 0, 1, 2, ... With `count` images in the source, the one with number `n` is at
# position `n % count` of epoch `n // count`; `divmod(n, count)` gives both. In epoch `e` the images come in an order of that epoch,
#
#     np.random.default_rng([seed, e]).permutation(count)
#
# and the part that is seen of the one at position `p` is drawn with `[seed, e, p]`. So all there is to know about image number `n` follows from `n`:
#
# - each image comes once in an epoch, and no order is like another one;
# - a batch may begin in one epoch and end in the next, and every batch is full;
# - the **state** to go on from is one number, and going on costs nothing;
# - it does not matter who prepares which image, or when. So **threads** may do it: while Pillow decodes and resizes, it lets other threads run.
#
# The last point makes it fast. `pool.map(f, numbers)` is Python's `map`, in threads, its results in order:
#
#     with concurrent.futures.ThreadPoolExecutor() as pool:
#         results = list(pool.map(f, range(8)))
#
# But begin with a plain `map`, and make it right. `size_of` is given.


# %%
def size_of(jpeg):
    """Height and width, without decoding anything."""
    width, height = Image.open(io.BytesIO(jpeg)).size
    return height, width


# %%
def image_batches(source, side, batch_size, seed, state):
    """Batches of a source's images for training, for ever: shuffled, cropped, mirrored, normalised.

    Args:
        source: a pair: an int, how many images there are, and a function that takes an image's number, an int, and returns a
            pair of its file's bytes and its label.
        side: an int, the height and the width of the images.
        batch_size: an int, how many images make a batch; it may be more than there are.
        seed: an int. It decides orders and parts; each epoch has others.
        state: None to begin with epoch 0, or a state that was yielded before and has been through JSON.

    Yields:
        A pair: a batch, and the state from which the batches after it can be had again, just as they would have come. A state
        is made of ints, strs, None, lists and dicts, and stays small. A batch is a pair of NumPy arrays: images, float32
        [batch_size, side, side, 3], and labels, int32 [batch_size]. All images of an epoch come once before those of the next.
    """
    raise NotImplementedError("image_batches is still to be written")


# %% [markdown]
# ## Photographs
#
# Run this part when all tasks pass: in the notebook, or this whole file with `python`. Plots open.
#
# Scikit-learn brings along two photographs. Parts of them, 500 pixels wide as most of ImageNet's, become a small ImageNet of two classes, written in both layouts.

# %%
import itertools
import shutil
import tempfile
import time

import matplotlib.pyplot as plt
from sklearn.datasets import load_sample_images

root = Path(tempfile.mkdtemp())
(root / "shards").mkdir()
rng = np.random.default_rng(0)
records = []
for number in range(48):
    label = number % 2
    photograph = Image.fromarray(load_sample_images().images[label])
    left, top = int(rng.integers(140)), int(rng.integers(52))
    jpeg = io.BytesIO()
    photograph.crop((left, top, left + 500, top + 375)).save(jpeg, "JPEG", quality=90)
    folder = root / "train" / ("n00000000", "n00000001")[label]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{folder.name}_{number}.JPEG").write_bytes(jpeg.getvalue())
    records.append(data.build_example({"image/encoded": jpeg.getvalue(), "image/class/label": label + 1}))
for shard in range(2):
    data.write_tfrecord(root / "shards" / f"train-{shard:05d}-of-00002", records[shard::2])

sources = {"folder": folder_source(str(root / "train")), "shards": shard_source(str(root / "shards"))}
for name, (count, read) in sources.items():
    print(f"{name}: {count} images, labels {sorted({read(number)[1] for number in range(count)})}")

# %% [markdown]
# The first image of eight epochs that a model would see if there were only one photograph:

# %%
one = (1, lambda number: sources["folder"][1](0))
images = [batch[0][0] for batch, _ in itertools.islice(image_batches(one, 160, 1, 0, None), 8)]
figure, axes = plt.subplots(2, 4, figsize=(9, 4.6))
for axis, image in zip(axes.flat, images):
    axis.imshow(np.clip(image * STD + MEAN, 0, 1))
    axis.axis("off")
plt.tight_layout()
plt.show()

# %% [markdown]
# ## How fast?
#
# Images per second from both sources, and where the time of one goes.


# %%
def per_second(source, batches=6, size=32):
    running = image_batches(source, 224, size, 0, None)
    next(running)  # threads start, files come into the memory of the disk
    begin = time.perf_counter()
    for _ in range(batches):
        next(running)
    return batches * size / (time.perf_counter() - begin)


def milliseconds(step, times=20):
    begin = time.perf_counter()
    for _ in range(times):
        step()
    return 1000 * (time.perf_counter() - begin) / times


for name, source in sources.items():
    print(f"{name}: {per_second(source):,.0f} images/s")

jpeg = sources["folder"][1](0)[0]
whole = (0, 0, 500, 375)
decoded = Image.open(io.BytesIO(jpeg)).convert("RGB")
print(f"read from the folder {milliseconds(lambda: sources['folder'][1](0)):6.2f} ms")
print(f"read from a shard    {milliseconds(lambda: sources['shards'][1](0)):6.2f} ms")
print(f"decode               {milliseconds(lambda: Image.open(io.BytesIO(jpeg)).convert('RGB')):6.2f} ms")
print(
    f"resize               {milliseconds(lambda: decoded.resize((224, 224), Image.Resampling.BILINEAR, whole)):6.2f} ms"
)
print(f"prepare, all of it   {milliseconds(lambda: prepare(jpeg, whole, False, 224)):6.2f} ms")

shutil.rmtree(root)

# %% [markdown]
# ## Faster
#
# Measure, change one thing, measure again; the checks tell whether the batches are still right. Some things to try:
#
# - How many threads are best? `ThreadPoolExecutor(4)`. Why are more than you have cores hardly of use here, and when would they be?
# - The next batch can be prepared while the model works on this one: ask for it before you yield. What do you have to keep in mind for the state?
# - Normalising makes four bytes of one. Three operations on an array go through memory three times: can it be one multiplication and one addition?
#   What would it save to send `uint8` to the GPU, and to normalise there?
# - A JPEG can be decoded at half, a quarter or an eighth of its size, for less: `image.draft("RGB", size)` before it is decoded. For which parts does this
#   lose nothing, and what becomes of `box`?
# - Other decoders are faster than Pillow: simplejpeg, OpenCV. `data.image_folder(...)` with `data.decode_images(...)` uses both (`pip install 'aidl-jax[images]'`);
#   how far are you from it?
#
# ## To think about
#
# - Why is `[seed, epoch, position]` better than one generator for all parts, if there are threads?
# - On your disk the folder is as fast as the shards, since its files are in memory after the first epoch. When is it not?
# - An image that is damaged stops the run in the third hour. What should the pipeline do, and what should it tell?
# - In validation everything is done once, in order, without chance. Which of the five functions do you need, and with which box?
