"""The 784-100-10 network in other libraries, each as its own guide would have it fast; train_speed.py runs and prints them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from data_speed import images

ROWS, BATCH, RATE, EPOCHS = 60_000, 128, 0.1, 2
STEPS = ROWS // BATCH
Measured = Iterator[tuple[str, str, Callable[[], float]]]


def steps_per_second(
    epoch: Callable[[], object], wait: Callable[[], object] = lambda: None, epochs: int = EPOCHS, warm: bool = True
) -> float:
    """Steps a second: of `epochs` calls after a first one; or of one call that does them all, where all is warm."""
    if warm:
        epoch()
        wait()
    start = time.perf_counter()
    for _ in range(epochs if warm else 1):
        epoch()
    wait()
    return epochs * STEPS / (time.perf_counter() - start)


def at_hand(x: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """An epoch of batches."""
    return [(x[at : at + BATCH].copy(), y[at : at + BATCH].copy()) for at in range(0, STEPS * BATCH, BATCH)]


def gathered(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """An epoch of shuffled batches, gathered by NumPy."""
    order = np.random.default_rng().permutation(ROWS)
    for at in range(0, STEPS * BATCH, BATCH):
        rows = order[at : at + BATCH]
        yield x[rows], y[rows]


def both(name: str, run: Callable[[Iterator[Any]], None], wait: Callable[[], object] = lambda: None) -> Measured:
    """A loop over batches at hand, and over batches that NumPy gathers."""
    x, y = images()
    batches = at_hand(x, y)
    yield "steps", name, lambda: steps_per_second(lambda: run(iter(batches)), wait)
    yield "pipeline", f"{name}, NumPy's shuffle and gather", lambda: steps_per_second(lambda: run(gathered(x, y)), wait)


def linen() -> Measured:
    """Flax linen with its TrainState, donated."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import linen as nn
    from flax.training.train_state import TrainState

    class Net(nn.Module):
        @nn.compact
        def __call__(self, pixels: Any) -> Any:
            scaled = pixels.reshape(len(pixels), -1).astype(jnp.float32) / 255
            return nn.Dense(10)(nn.relu(nn.Dense(100)(scaled)))

    def train_step(state: Any, pixels: Any, labels: Any) -> Any:
        def loss_fn(params: Any) -> Any:
            logits = state.apply_fn({"params": params}, pixels)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        loss, gradients = jax.value_and_grad(loss_fn)(state.params)
        return state.apply_gradients(grads=gradients), loss

    step = jax.jit(train_step, donate_argnums=0)
    net = Net()
    params = net.init(jax.random.key(0), np.zeros((1, 28, 28), np.uint8))["params"]
    now = [TrainState.create(apply_fn=net.apply, params=params, tx=optax.sgd(RATE))]

    def run(batches: Iterator[Any]) -> None:
        for pixels, labels in batches:
            now[0], _ = step(now[0], pixels, labels)

    yield from both("Flax linen", run, lambda: jax.block_until_ready(now[0].params))


def nnx() -> Measured:
    """Flax nnx with `nnx.jit` and its optimizer."""
    import jax
    import jax.numpy as jnp
    import optax
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs: Any) -> None:
            self.hidden, self.out = nnx.Linear(784, 100, rngs=rngs), nnx.Linear(100, 10, rngs=rngs)

        def __call__(self, pixels: Any) -> Any:
            scaled = pixels.reshape(len(pixels), -1).astype(jnp.float32) / 255
            return self.out(nnx.relu(self.hidden(scaled)))

    net = Net(nnx.Rngs(0))
    optimizer = nnx.Optimizer(net, optax.sgd(RATE), wrt=nnx.Param)

    def loss_fn(net: Any, pixels: Any, labels: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(net(pixels), labels).mean()

    @nnx.jit
    def step(net: Any, optimizer: Any, pixels: Any, labels: Any) -> Any:
        loss, gradients = nnx.value_and_grad(loss_fn)(net, pixels, labels)
        optimizer.update(net, gradients)
        return loss

    def run(batches: Iterator[Any]) -> None:
        for pixels, labels in batches:
            step(net, optimizer, pixels, labels)

    yield from both("Flax nnx", run, lambda: jax.block_until_ready(nnx.state(net)))


def keras_on_jax() -> Measured:
    """Keras 3 with JAX below: `train_on_batch`, and `fit` on the arrays."""
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    x, y = images()
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(100, activation="relu")]
    net = keras.Sequential([keras.Input((28, 28), dtype="uint8"), *layers, keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.SGD(RATE), loss)
    batches = at_hand(x, y)
    whole = (x[: STEPS * BATCH], y[: STEPS * BATCH])

    def one_by_one() -> None:
        for pixels, labels in batches:
            net.train_on_batch(pixels, labels)

    yield "steps", "Keras on JAX, train_on_batch", lambda: steps_per_second(one_by_one)
    yield (
        "pipeline",
        "Keras on JAX, fit",
        lambda: steps_per_second(lambda: net.fit(*whole, batch_size=BATCH, epochs=1, shuffle=True, verbose=0)),
    )


def torch_eager() -> Measured:
    """PyTorch, eager: batches at hand, gathered by indices, and through a DataLoader that fetches whole batches."""
    import torch
    from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

    x, y = images()
    pixels, labels = torch.from_numpy(x), torch.from_numpy(y).long()
    net = torch.nn.Sequential(torch.nn.Linear(784, 100), torch.nn.ReLU(), torch.nn.Linear(100, 10))
    optimizer = torch.optim.SGD(net.parameters(), RATE)
    batches = [(torch.from_numpy(one), torch.from_numpy(other).long()) for one, other in at_hand(x, y)]
    examples = TensorDataset(pixels, labels)
    by_batch = BatchSampler(RandomSampler(examples), BATCH, drop_last=True)
    loader = DataLoader(examples, sampler=by_batch, batch_size=None)

    def run(batches: Any) -> None:
        for pixels, labels in batches:
            scaled = pixels.reshape(BATCH, -1).float() / 255
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(scaled), labels).backward()
            optimizer.step()

    def shuffled() -> Iterator[Any]:
        for rows in torch.randperm(ROWS)[: STEPS * BATCH].split(BATCH):
            yield pixels[rows], labels[rows]

    yield "steps", "PyTorch, eager", lambda: steps_per_second(lambda: run(batches))
    yield "pipeline", "PyTorch, batches gathered by indices", lambda: steps_per_second(lambda: run(shuffled()))
    yield "pipeline", "PyTorch, DataLoader by batches", lambda: steps_per_second(lambda: run(loader))


def network(tf: Any) -> tuple[Callable[[Any, Any], Any], list[Any]]:
    """TensorFlow's loss of pixels and labels, and its variables."""
    random = np.random.default_rng(0)
    w1, b1 = tf.Variable(np.float32(random.normal(size=(784, 100)) / 28)), tf.Variable(np.zeros(100, np.float32))
    w2, b2 = tf.Variable(np.float32(random.normal(size=(100, 10)) / 10)), tf.Variable(np.zeros(10, np.float32))

    def loss_of(pixels: Any, labels: Any) -> Any:
        scaled = tf.cast(tf.reshape(pixels, (BATCH, 784)), tf.float32) / 255.0
        logits = tf.matmul(tf.nn.relu(tf.matmul(scaled, w1) + b1), w2) + b2
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))

    return loss_of, [w1, b1, w2, b2]


def tf_function() -> Measured:
    """TensorFlow 2: a `tf.function` for each step, and one for a whole epoch of tf.data in its fastest form."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    x, y = images()
    rows, labels = tf.constant(x), tf.constant(y)
    order = tf.data.Dataset.range(ROWS).shuffle(ROWS).batch(BATCH, drop_remainder=True)
    shuffled = order.map(lambda i: (tf.gather(rows, i), tf.gather(labels, i)), num_parallel_calls=tf.data.AUTOTUNE)
    shuffled = shuffled.prefetch(tf.data.AUTOTUNE)
    batches = [(tf.constant(one), tf.constant(other)) for one, other in at_hand(x, y)]
    loss_of, variables = network(tf)

    def step(pixels: Any, labels: Any) -> None:
        with tf.GradientTape() as tape:
            loss = loss_of(pixels, labels)
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(RATE * gradient)

    compiled = tf.function(step)

    @tf.function
    def whole() -> None:
        for pixels, labels in shuffled:
            step(pixels, labels)

    def one_by_one(batches: Any) -> None:
        for pixels, labels in batches:
            compiled(pixels, labels)

    yield "steps", "TensorFlow, a tf.function per step", lambda: steps_per_second(lambda: one_by_one(batches))
    yield (
        "pipeline",
        "TensorFlow, tf.data, a tf.function per step",
        lambda: steps_per_second(lambda: one_by_one(shuffled)),
    )
    yield "pipeline", "TensorFlow, tf.data, the epoch in one tf.function", lambda: steps_per_second(whole)


def tf_session() -> Measured:
    """TensorFlow as the decks have it: a graph, a session, a feed for each step."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow.compat.v1 as tf

    tf.disable_eager_execution()
    tf.disable_v2_behavior()
    pixels, labels = tf.placeholder(tf.uint8, (None, 28, 28)), tf.placeholder(tf.int32, (None,))
    loss_of, variables = network(tf)
    train_step = tf.train.GradientDescentOptimizer(RATE).minimize(loss_of(pixels, labels), var_list=variables)
    session = tf.Session()
    session.run(tf.global_variables_initializer())

    def run(batches: Iterator[Any]) -> None:
        for one, other in batches:
            session.run(train_step, {pixels: one, labels: other})

    yield from both("TensorFlow, Session.run with feeds", run)


# What stands before the colon is the package that must be there.
PEERS: dict[str, Callable[[], Measured]] = {
    "flax:linen": linen,
    "flax:nnx": nnx,
    "keras": keras_on_jax,
    "torch": torch_eager,
    "tensorflow:function": tf_function,
    "tensorflow:session": tf_session,
}
