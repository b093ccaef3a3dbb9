"""A model of two layers and one step of its training: something to look at with `aidl graph`."""

import jax
import jax.numpy as jnp
import optax

PIXELS, HIDDEN, CLASSES = 784, 128, 10

optimizer = optax.adam(1e-3)


def init(key):
    """Parameters: He-initialised weights, zero biases."""
    keys = jax.random.split(key)
    w = jax.nn.initializers.he_normal()
    return {
        "layer1": {"w": w(keys[0], (PIXELS, HIDDEN)), "b": jnp.zeros(HIDDEN)},
        "layer2": {"w": w(keys[1], (HIDDEN, CLASSES)), "b": jnp.zeros(CLASSES)},
    }


def model(params, images):
    """Logits [batch, 10] for images [batch, 784]."""
    with jax.named_scope("layer1"):
        hidden = jax.nn.relu(images @ params["layer1"]["w"] + params["layer1"]["b"])
    with jax.named_scope("layer2"):
        return hidden @ params["layer2"]["w"] + params["layer2"]["b"]


def loss_fn(params, images, labels):
    """The mean cross-entropy of a batch; labels are int32 [batch]."""
    logits = model(params, images)
    with jax.named_scope("loss"):
        log_probabilities = jax.nn.log_softmax(logits)
        return -jnp.mean(jnp.sum(log_probabilities * jax.nn.one_hot(labels, CLASSES), axis=-1))


def train_step(params, opt_state, images, labels):
    """One step of Adam: new parameters, new optimizer state, the loss."""
    loss, gradients = jax.value_and_grad(loss_fn)(params, images, labels)
    with jax.named_scope("optimizer"):
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        params = optax.apply_updates(params, updates)
    return params, opt_state, loss


# What `--shapes params opt_state` stands for: shapes and dtypes, no values.
params = jax.eval_shape(init, jax.random.key(0))
opt_state = jax.eval_shape(optimizer.init, params)
