"""Operations that move numbers around, backwards: where a number went is where its gradient comes from.

In all of them `t` is a tangent, `g` a gradient, `spec` the shape and dtype of the input that it is for, `specs` those of all
inputs, and `params` is how the operation is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

__all__ = [
    "add_tiles",
    "cumsum_back",
    "dynamic_unslice",
    "gather",
    "gather_copies",
    "in_its_layer",
    "in_its_place",
    "left_alone",
    "own_layer",
    "own_part",
    "pad",
    "pad_value",
    "scattered_read",
    "scattered_written",
    "spread",
    "sum_to",
    "ungather",
    "unpad",
    "unpad_value",
    "unslice",
    "update_read",
    "update_written",
]


def sum_to(g: Any, shape: Sequence[int]) -> Any:
    """The gradient of what was stretched to a larger shape: the sum over its copies.

    >>> sum_to(jnp.ones((4, 3)), (1, 3)).tolist()
    [[4.0, 4.0, 4.0]]
    """
    if tuple(shape) == g.shape:
        return g
    own = (1,) * (g.ndim - len(shape)) + tuple(shape)
    return g.sum([axis for axis in range(g.ndim) if own[axis] == 1 < g.shape[axis]]).reshape(shape)


def gather_copies(g: Any, spec: Any, params: Any) -> Any:
    """Back from `broadcast_in_dim`: a sum over the axes that are new, and over those that had size 1."""
    kept = params["broadcast_dimensions"]
    stretched = [axis for axis, size in zip(kept, spec.shape, strict=True) if size == 1]
    new = [axis for axis in range(g.ndim) if axis not in kept]
    return g.sum([*new, *stretched]).reshape(spec.shape)


def spread(g: Any, spec: Any, params: Any) -> Any:
    """Back from `reduce_sum`: each term gets the sum's gradient."""
    return jnp.broadcast_to(jnp.expand_dims(g, params["axes"]), spec.shape)


def cumsum_back(g: Any, params: Any) -> Any:
    """Back from `cumsum`: a number is in all sums that come after it."""
    return lax.cumsum(g, params["axis"], reverse=not params["reverse"])


def own_part(g: Any, specs: Sequence[Any], number: int, params: Any) -> Any:
    """Back from `concatenate`: the part that this input became."""
    axis = params["dimension"]
    begin = sum(one.shape[axis] for one in specs[:number])
    return lax.slice_in_dim(g, begin, begin + specs[number].shape[axis], axis=axis)


def in_its_place(t: Any, specs: Sequence[Any], number: int, params: Any) -> Any:
    """Forward through `concatenate`: this part among zeros."""
    parts = [t if index == number else jnp.zeros(one.shape, t.dtype) for index, one in enumerate(specs)]
    return jnp.concatenate(parts, params["dimension"])


def own_layer(g: Any, number: int, params: Any) -> Any:
    """Back from `stack`: the layer that this input became."""
    return lax.index_in_dim(g, number, params["axis"], keepdims=False)


def in_its_layer(t: Any, specs: Sequence[Any], number: int, params: Any) -> Any:
    """Forward through `stack`: this layer among zeros."""
    layers = [t if index == number else jnp.zeros_like(t) for index in range(len(specs))]
    return jnp.stack(layers, params["axis"])


def add_tiles(g: Any, spec: Any, params: Any) -> Any:
    """Back from `tile`: the sum over all tiles."""
    sizes = [size for pair in zip(params["reps"], spec.shape, strict=True) for size in pair]
    return g.reshape(sizes).sum(range(0, len(sizes), 2))


def unslice(g: Any, spec: Any, params: Any) -> Any:
    """Back from `slice`: zeros where nothing was taken."""
    begin, strides = params["start_indices"], params["strides"] or (1,) * g.ndim
    sizes = zip(begin, strides, g.shape, spec.shape, strict=True)
    config = [(low, whole - low - (size - 1) * stride - 1, stride - 1) for low, stride, size, whole in sizes]
    return lax.pad(g, jnp.zeros((), g.dtype), config)


def pad(t: Any, params: Any) -> Any:
    """Forward through `pad`: what is put around does not move."""
    return lax.pad(t, jnp.zeros((), t.dtype), params["padding_config"])


def unpad(g: Any, params: Any) -> Any:
    """Back from `pad`: what was put around is cut off, what was put between is skipped."""
    outside = [(-low, -high, 0) for low, high, _ in params["padding_config"]]
    strides = [between + 1 for _, _, between in params["padding_config"]]
    inside = lax.pad(g, jnp.zeros((), g.dtype), outside)
    return lax.slice(inside, (0,) * g.ndim, inside.shape, strides)


def pad_value(t: Any, specs: Sequence[Any], params: Any) -> Any:
    """Forward through `pad`, for the number that is put around."""
    return lax.pad(jnp.zeros(specs[0].shape, t.dtype), t, params["padding_config"])


def unpad_value(g: Any, params: Any) -> Any:
    """Back from `pad`, for the number that was put around: all that is not the array's."""
    return g.sum() - unpad(g, params).sum()


def dynamic_unslice(g: Any, spec: Any, indices: Any) -> Any:
    """Back from `dynamic_slice`: zeros where nothing was taken."""
    return lax.dynamic_update_slice(jnp.zeros(spec.shape, g.dtype), g, indices)


def left_alone(g: Any, specs: Sequence[Any], indices: Any) -> Any:
    """Through `dynamic_update_slice`, for the array: nothing where it was written over; the same both ways."""
    return lax.dynamic_update_slice(g, jnp.zeros(specs[1].shape, g.dtype), indices)


def update_written(t: Any, specs: Sequence[Any], indices: Any) -> Any:
    """Forward through `dynamic_update_slice`, for the update."""
    return lax.dynamic_update_slice(jnp.zeros(specs[0].shape, t.dtype), t, indices)


def update_read(g: Any, spec: Any, indices: Any) -> Any:
    """Back from `dynamic_update_slice`, for the update: what was written."""
    return lax.dynamic_slice(g, indices, spec.shape)


def gather(t: Any, y: Any, params: Any) -> Any:
    """Forward through `gather`: the same places; what lies outside does not move."""
    settings = {name: given for name, given in params.items() if name != "fill_value"}
    return lax.gather(t, y, fill_value=0, **settings)


def ungather(g: Any, spec: Any, y: Any, params: Any) -> Any:
    """Back from `gather`: added up where it was taken; a place that was taken twice gets two gradients."""
    taken = params["dimension_numbers"]
    places = lax.ScatterDimensionNumbers(
        update_window_dims=taken.offset_dims,
        inserted_window_dims=taken.collapsed_slice_dims,
        scatter_dims_to_operand_dims=taken.start_index_map,
        operand_batching_dims=taken.operand_batching_dims,
        scatter_indices_batching_dims=taken.start_indices_batching_dims,
    )
    return lax.scatter_add(jnp.zeros(spec.shape, g.dtype), y, g, places, mode=params["mode"])


def scattered_written(t: Any, specs: Sequence[Any], y: Any, params: Any) -> Any:
    """Forward through `scatter-add`, for what is added."""
    return lax.scatter_add(jnp.zeros(specs[0].shape, t.dtype), y, t, params["dimension_numbers"], mode=params["mode"])


def scattered_read(g: Any, specs: Sequence[Any], y: Any, params: Any) -> Any:
    """Back from `scatter-add`, for what was added: read where it was written."""
    written = params["dimension_numbers"]
    places = lax.GatherDimensionNumbers(
        offset_dims=written.update_window_dims,
        collapsed_slice_dims=written.inserted_window_dims,
        start_index_map=written.scatter_dims_to_operand_dims,
        operand_batching_dims=written.operand_batching_dims,
        start_indices_batching_dims=written.scatter_indices_batching_dims,
    )
    single = {*written.inserted_window_dims, *written.operand_batching_dims}
    windows = iter(specs[2].shape[axis] for axis in written.update_window_dims)
    sizes = tuple(1 if axis in single else next(windows) for axis in range(len(specs[0].shape)))
    return lax.gather(g, y, places, sizes, mode=params["mode"], fill_value=0)
