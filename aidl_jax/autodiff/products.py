"""Products of matrices and convolutions, backwards: linear in each factor, so the other factor is what is held.

For C = A B, the gradient of A is G Bᵀ and that of B is Aᵀ G; the rest is about axes.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax import lax

from aidl_jax.errors import AutodiffError

__all__ = ["image", "kernel", "left_factor", "right_factor"]


def left_factor(g: jax.Array, y: jax.Array, spec: Any, params: Any) -> jax.Array:
    """Back from `dot_general`, for the left factor: G Bᵀ."""
    return _factor(g, y, 0, spec, params)


def right_factor(g: jax.Array, x: jax.Array, spec: Any, params: Any) -> jax.Array:
    """Back from `dot_general`, for the right factor: Aᵀ G, transposed where the axes ask for it."""
    return _factor(g, x, 1, spec, params)


def _factor(g: jax.Array, other: jax.Array, number: int, spec: Any, params: Any) -> jax.Array:
    """Sums over the axes that only the other factor has; what was summed over then comes back from it.

    The output's axes are the batch, what only the left factor has, what only the right one has.
    """
    contracted, batch = params["dimension_numbers"]
    mine, theirs = (contracted[number], contracted[1 - number])
    own = _rest(len(spec.shape), mine, batch[number])
    foreign = _rest(other.ndim, theirs, batch[1 - number])
    first = len(batch[0]) + (len(own) if number == 0 else 0)
    axes = (tuple(range(first, first + len(foreign))), foreign), (tuple(range(len(batch[0]))), batch[1 - number])
    product = lax.dot_general(
        g, other, axes, precision=params["precision"], preferred_element_type=np.dtype(spec.dtype)
    )
    order = [*batch[number], *own, *(mine[index] for index in np.argsort(theirs))]
    return lax.transpose(product, np.argsort(order))


def _rest(rank: int, *taken: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axis for axis in range(rank) if not any(axis in axes for axes in taken))


def image(g: jax.Array, y: jax.Array, spec: Any, operation: Any, params: Any) -> jax.Array:
    """Back from a convolution, for the image: the gradient, spread by the strides, under the kernel turned around."""
    sizes = _sizes(operation)
    _, kernels, _ = params["dimension_numbers"]
    before = [k - 1 - low for (_, k, _), (low, _) in zip(sizes, params["padding"], strict=True)]
    padding = [(low, n + k - 1 - m - low) for low, (n, k, m) in zip(before, sizes, strict=True)]
    return lax.conv_general_dilated(
        g,
        lax.rev(y, kernels[2:]),
        window_strides=params["lhs_dilation"],
        padding=padding,
        lhs_dilation=params["window_strides"],
        rhs_dilation=params["rhs_dilation"],
        dimension_numbers=_numbers(params, "image"),
        precision=params["precision"],
        preferred_element_type=np.dtype(spec.dtype),
    )


def kernel(g: jax.Array, x: jax.Array, spec: Any, operation: Any, params: Any) -> jax.Array:
    """Back from a convolution, for the kernel: the image under the gradient, summed over the batch."""
    padding = [
        (low, m - n + k - 1 - low) for (n, k, m), (low, _) in zip(_sizes(operation), params["padding"], strict=True)
    ]
    return lax.conv_general_dilated(
        x,
        g,
        window_strides=params["rhs_dilation"],
        padding=padding,
        lhs_dilation=params["lhs_dilation"],
        rhs_dilation=params["window_strides"],
        dimension_numbers=_numbers(params, "kernel"),
        precision=params["precision"],
        preferred_element_type=np.dtype(spec.dtype),
    )


def _sizes(operation: Any) -> list[tuple[int, int, int]]:
    """For each direction of space the sizes of image, kernel and output, with the gaps that dilation and strides make."""
    params = operation.attributes
    if params["feature_group_count"] != 1 or params["batch_group_count"] != 1:
        raise AutodiffError(
            "a convolution in groups has no way back here",
            given=f"the operation {operation.name!r} with feature_group_count={params['feature_group_count']}, "
            f"batch_group_count={params['batch_group_count']}",
            where=str(operation.source) if operation.source else None,
            fix="use one group, or jax.grad",
        )
    gaps = zip(params["lhs_dilation"], params["rhs_dilation"], params["window_strides"], strict=True)
    shapes = [
        [one.shape[axis] for axis in axes[2:]]
        for one, axes in zip((*operation.operands, operation.outputs[0]), params["dimension_numbers"], strict=True)
    ]
    return [
        (1 + (n - 1) * a, 1 + (k - 1) * b, 1 + (m - 1) * c) for (a, b, c), n, k, m in zip(gaps, *shapes, strict=True)
    ]


def _numbers(params: Any, of: str) -> lax.ConvDimensionNumbers:
    """Which axis is what: for the image the kernel's channels change places, for the kernel batch and channels do."""
    images, kernels, outputs = params["dimension_numbers"]
    if of == "image":
        return lax.ConvDimensionNumbers(outputs, _swapped(kernels), images)
    return lax.ConvDimensionNumbers(_swapped(images), _swapped(outputs), _swapped(kernels))


def _swapped(axes: tuple[int, ...]) -> tuple[int, ...]:
    return (axes[1], axes[0], *axes[2:])
