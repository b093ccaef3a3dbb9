"""What a gradient costs and how exact it is, as printed in docs/autodiff.md: FLOPs by XLA's count, errors in float64.

python benchmarks/autodiff_claims.py
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from aidl_jax import autodiff, models
from aidl_jax.losses import mean_squared_error, softmax_cross_entropy
from aidl_jax.scope import apply, init

BATCH = 32


def losses() -> Iterator[tuple[str, object, tuple[object, ...]]]:
    """The course's models with their losses: name, function, arguments."""
    yield "linear_regression", *_loss(models.linear_regression, (BATCH, 20), mean_squared_error, jnp.zeros(BATCH))
    entropy = partial(softmax_cross_entropy, reduction="mean")
    labels = jnp.zeros(BATCH, jnp.int32)
    yield "mlp", *_loss(models.mlp, (BATCH, 784), entropy, labels)
    yield "lenet", *_loss(models.lenet, (BATCH, 28, 28, 1), entropy, labels)
    yield "residual_net", *_loss(models.residual_net, (BATCH, 28, 28, 1), entropy, labels)


def _loss(model, shape, loss, targets):
    x = jnp.zeros(shape)
    params, state = init(model)(jax.random.key(0), x)

    def fn(params, x, targets):
        return loss(apply(model)(params, state, x)[0], targets)

    return fn, (params, x, targets)


def main() -> None:
    print(f"JAX {jax.__version__}, {jax.default_backend()}, batches of {BATCH}\n")
    print(f"{'model':20}{'value, MFLOP':>14}{'ours':>8}{'jax.grad':>10}")
    for name, fn, args in losses():
        value = autodiff.flops(fn, *args)
        both = [autodiff.flops(module.value_and_grad(fn), *args) / value for module in (autodiff, jax)]
        print(f"{name:20}{value / 1e6:14.3f}{both[0]:8.2f}{both[1]:10.2f}")
    print(f"\n{'outputs':20}{'Jacobian / value':>14}")
    for size in (8, 32, 128):
        fn = partial(lambda w, x: jnp.tanh(w @ x), jnp.ones((size, size)))
        cost = autodiff.flops(lambda x, fn=fn, n=size: jax.vmap(autodiff.vjp(fn, x)[1])(jnp.eye(n)), jnp.ones(size))
        print(f"{size:<20}{cost / autodiff.flops(fn, jnp.ones(size)):14.1f}")
    with jax.enable_x64(True):
        exact = np.cos(np.sin(0.7)) * np.cos(0.7)
        fn = lambda x: jnp.sin(jnp.sin(x))  # noqa: E731
        print(f"\n{'slope of sin(sin x)':20}{'error':>14}\n{'autodiff':20}{_off(autodiff.grad(fn)(0.7), exact):14.1e}")
        for step in (1e-2, 1e-4, 6e-6, 1e-8, 1e-10):
            print(f"{f'difference, {step:g}':20}{_off(autodiff.central_difference(fn, 0.7, step), exact):14.1e}")


def _off(found, exact) -> float:
    return abs(float(found) - exact) / abs(exact)


if __name__ == "__main__":
    main()
