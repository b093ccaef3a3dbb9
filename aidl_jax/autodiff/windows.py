"""Pooling, both ways: a window is looked at place by place."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from aidl_jax.autodiff import moves

__all__ = ["choose", "give_back", "largest", "spread"]


def spread(g: Any, spec: Any, params: Any) -> Any:
    """Back from `reduce_window_sum`: each place of a window gets the window's gradient."""
    return sum(_put(g, place, spec, params) for place in _places(params))


def choose(t: Any, x: Any, out: Any, params: Any) -> Any:
    """Forward through `reduce_window_max`: the tangent of the first largest element of each window."""
    return sum(jnp.where(mask, _take(t, place, params, 0), 0) for place, mask in largest(x, out, params))


def give_back(g: Any, x: Any, out: Any, spec: Any, params: Any) -> Any:
    """Back from `reduce_window_max`: all to the first largest element of each window."""
    return sum(_put(jnp.where(mask, g, 0), place, spec, params) for place, mask in largest(x, out, params))


def _places(params: Any) -> Iterator[tuple[int, ...]]:
    """The places in a window, as steps from its first element."""
    dilation = params["window_dilation"]
    for place in product(*map(range, params["window_dimensions"])):
        yield tuple(step * wide for step, wide in zip(place, dilation, strict=True))


def largest(x: Any, out: Any, params: Any) -> Iterator[tuple[tuple[int, ...], Any]]:
    """For each place in a window, in which windows the largest element is there, and at no place before."""
    found = jnp.zeros(out.shape, bool)
    for place in _places(params):
        here = (_take(x, place, params, -jnp.inf) == out) & ~found
        found = found | here
        yield place, here


def _take(x: Any, place: tuple[int, ...], params: Any, around: float) -> Any:
    """What all windows have at one place, what is put around included."""
    padded = lax.pad(x, jnp.asarray(around, x.dtype), _padding(params))
    return lax.slice(padded, place, _end(place, padded.shape, params), params["window_strides"])


def _put(g: Any, place: tuple[int, ...], spec: Any, params: Any) -> Any:
    """The transpose of `_take`."""
    padding = _padding(params)
    padded = [n + (n - 1) * gap + low + high for n, (low, high, gap) in zip(spec.shape, padding, strict=True)]
    whole = jax.ShapeDtypeStruct(tuple(padded), g.dtype)
    placed = moves.unslice(g, whole, {"start_indices": place, "strides": params["window_strides"]})
    return moves.unpad(placed, {"padding_config": padding})


def _padding(params: Any) -> list[tuple[int, int, int]]:
    sizes = zip(params["padding"], params["base_dilation"], strict=True)
    return [(low, high, dilation - 1) for (low, high), dilation in sizes]


def _end(place: tuple[int, ...], padded: tuple[int, ...], params: Any) -> list[int]:
    """Where the last window that fits has its element at this place, plus one."""
    sizes = zip(place, padded, params["window_dimensions"], params["window_dilation"], strict=True)
    return [size - (window - 1) * wide + step for step, size, window, wide in sizes]
