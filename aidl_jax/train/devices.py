"""Where training runs: one device, or a mesh whose devices each take a part of every batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

from aidl_jax.data import Dataset
from aidl_jax.errors import TrainError
from aidl_jax.train.state import TrainState

__all__ = [
    "Place",
    "check_same_place",
    "find_device",
    "is_on_one_device",
    "put_batch",
    "put_beside",
    "put_state",
    "stack",
]

Place: TypeAlias = str | jax.Device | Mesh | None


def find_device(name: str) -> jax.Device:
    """The first device of a kind: "cpu", "gpu", "tpu".

    Raises:
        TrainError: there is none.
    """
    try:
        return jax.devices(name)[0]
    except RuntimeError as error:
        here = sorted({device.platform for device in jax.devices()})
        raise TrainError(
            "there is no such device",
            given=name,
            expected=" or ".join(here),
            fix="for a GPU: pip install 'aidl_jax[gpu]'",
        ) from error


def put_state(state: TrainState, place: Place) -> TrainState:
    """The state on its device; on a mesh, whole on each.

    Args:
        state: of any device.
        place: "cpu", "gpu", a device, a mesh, or None to leave it where it is.
    """
    if place is None:
        return state
    if isinstance(place, Mesh):
        whole = NamedSharding(place, PartitionSpec())
        return jax.tree.map(lambda leaf: _on_each(leaf, whole), state)
    return jax.tree.map(lambda leaf: jax.device_put(leaf, _device(place), may_alias=False), state)


def check_same_place(dataset: Dataset, state: TrainState, place: Place) -> None:
    """Raises where the dataset sends its batches elsewhere than training runs.

    Raises:
        TrainError: with both places.
    """
    sent = getattr(dataset.stage, "device", None)
    if sent is None:
        return
    given = sent if isinstance(sent, Sharding) else SingleDeviceSharding(sent)
    if place is None:
        here = state.step.sharding
        fits = not state.step.committed or here.device_set == given.device_set  # else the state goes where batches are
    else:
        here = _batch_sharding(place)
        fits = all(given.is_equivalent_to(here, len(leaf.shape)) for leaf in jax.tree.leaves(dataset.element_spec))
    if not fits:
        raise TrainError(
            "batches are sent to another place than the one where training runs",
            given=f"prefetch(device=...) to {_told(given)}, and {'the state' if place is None else 'fit(device=...)'} on {_told(here)}",
            expected="the same in both",
            fix="leave device out of prefetch: fit sends batches where the state is; or give both the same",
        )


def stack(block: list[Any]) -> Any:
    """Batches of equal shapes as one, leaves [batches, rows, ...], where they are: on the host, or on their device."""
    if all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(block)):
        return _stack_there(block)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *block)


_stack_there = jax.jit(lambda block: jax.tree.map(lambda *leaves: jnp.stack(leaves), *block))


def is_on_one_device(state: TrainState) -> bool:
    """Whether arrays can be put where the state is."""
    return isinstance(state.step, jax.Array) and len(state.step.devices()) == 1


def put_beside(state: TrainState, arrays: Any) -> Any:
    """Arrays on the one device where the state is; held there only if the state is, or what comes out would be another kind of state."""
    (device,) = state.step.devices()
    return jax.device_put(arrays, device if state.step.committed else None)


def put_batch(place: Place, fused: bool = False) -> Callable[[Any], Any]:
    """What puts batches where the state is: on a mesh, each device gets its rows, and each process gives those of its devices.

    Args:
        place: as for `put_state`.
        fused: whether batches have one more dimension in front.

    Returns:
        A function of a batch, leaves [rows, ...] or [steps, rows, ...]. It raises `TrainError` where the mesh's devices cannot share the
        rows evenly.
    """
    if not isinstance(place, Mesh):
        return lambda batch: batch  # a compiled step takes NumPy arrays to where its state is
    axis = 1 if fused else 0
    spec = PartitionSpec(*[None] * axis, place.axis_names[0])
    sharding = NamedSharding(place, spec)
    parts = place.shape[place.axis_names[0]] // jax.process_count()

    def put(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array):  # a prefetch has put it there
            return leaf
        if leaf.shape[axis] % parts:
            raise TrainError(
                "the devices cannot share a batch evenly",
                given=f"{leaf.shape[axis]} rows on {parts} devices",
                expected=f"a multiple of {parts}",
                fix="choose the batch size so, and batch(..., drop_remainder=True)",
            )
        return jax.make_array_from_process_local_data(sharding, np.asarray(leaf))

    return lambda batch: jax.tree.map(put, batch)


def _on_each(leaf: jax.Array, whole: NamedSharding) -> jax.Array:
    """The array on every device of a mesh, those of other processes included, which have it too."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        data = _on_each(jax.random.key_data(leaf), whole)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    values = np.asarray(leaf)
    return jax.make_array_from_callback(values.shape, whole, lambda index: values[index].copy())


def _batch_sharding(place: Any) -> Sharding:
    """How a batch lies there."""
    if isinstance(place, Mesh):
        return NamedSharding(place, PartitionSpec(place.axis_names[0]))
    return SingleDeviceSharding(_device(place))


def _told(sharding: Sharding) -> str:
    devices = sorted(sharding.device_set, key=lambda device: device.id)
    names = [f"{device.platform}:{device.id}" for device in devices[:4]] + ["..."] * (len(devices) > 4)
    split = f", split by {tuple(sharding.spec)}" if isinstance(sharding, NamedSharding) else ""
    return f"{', '.join(names)}{split}"


def _device(place: Any) -> Any:
    return find_device(place) if isinstance(place, str) else place
