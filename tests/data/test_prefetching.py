"""`prefetch`: the same elements, states of what was given, errors where they belong, and no thread left."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

import aidl_jax.data as data
from aidl_jax.data import Dataset
from aidl_jax.errors import DataError

INT32 = jax.ShapeDtypeStruct((), np.int32)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "aidl-data"]


def indexed() -> Dataset:
    return data.range(11).shuffle(seed=1).repeat(2).batch(3)


def sequential() -> Dataset:
    numbers = data.from_generator(lambda: iter(range(11)), INT32)
    return numbers.shuffle(4, seed=1).repeat(2).batch(3)


def values(elements: Any) -> list[Any]:
    return [np.asarray(element).tolist() for element in elements]


@pytest.mark.parametrize("device", [False, True])
@pytest.mark.parametrize("make", [indexed, sequential])
@pytest.mark.parametrize("size", [1, 2, 50, data.AUTOTUNE])
def test_it_gives_the_same_elements_and_leaves_no_thread(make: Any, size: int, device: bool) -> None:
    ahead = make().prefetch(size, device=jax.devices()[0] if device else None)
    got = list(ahead)
    assert values(got) == values(make())
    assert all(isinstance(one, jax.Array if device else np.ndarray) for one in got)
    assert not threads()


@pytest.mark.parametrize("device", [False, True])
@pytest.mark.parametrize("make", [indexed, sequential])
def test_a_state_is_that_of_what_was_given(make: Any, device: bool) -> None:
    where = jax.devices()[0] if device else None
    ahead, expected = make().prefetch(5, where), values(make())
    iterator = ahead.iterate()
    for done in range(len(expected) + 1):
        state = json.loads(json.dumps(iterator.state()))
        assert values(make().prefetch(1, where).iterate(state)) == expected[done:]
        next(iterator, None)
    assert not threads()


def test_it_runs_ahead_by_no_more_than_the_buffer() -> None:
    taken: list[int] = []
    reached = threading.Event()

    def items() -> Any:
        for number in range(100):
            taken.append(number)
            if len(taken) == 4:
                reached.set()
            yield number

    iterator = data.from_generator(items, INT32).prefetch(3).iterate()
    assert int(next(iterator)) == 0
    assert reached.wait(30)
    iterator.close()
    assert len(taken) == 4  # the one that was given, and three


def test_a_thread_makes_the_elements_before_they_are_asked_for() -> None:
    made, asked = threading.Event(), threading.get_ident()

    def tell(x: Any) -> Any:
        assert threading.get_ident() != asked or x == 0  # the first element is tried where the pipeline is made
        if x == 2:
            made.set()
        return x

    iterator = (
        data.range(8).map(tell, python=True, spec=INT32).prefetch(2).map(lambda x: x, python=True, spec=INT32).iterate()
    )
    next(iterator)
    assert made.wait(30)
    iterator.close()


def bad_at_5(x: Any) -> Any:
    if x == 5:
        raise ValueError("a broken record")
    return x


@pytest.mark.parametrize("device", [False, True])
@pytest.mark.parametrize("skip", [False, True])
def test_an_error_comes_at_its_element_and_again_when_asked_again(skip: bool, device: bool) -> None:
    numbers = data.from_generator(lambda: iter(range(9)), INT32) if skip else data.range(9)
    where = jax.devices()[0] if device else None
    iterator = numbers.map(bad_at_5, python=True, spec=INT32).prefetch(4, where).iterate()
    assert values(next(iterator) for _ in range(5)) == [0, 1, 2, 3, 4]
    for _ in range(2):
        with pytest.raises(DataError, match=r"position 5.*a broken record"):
            next(iterator)
        assert not threads()
    good = numbers.map(lambda x: x, python=True, spec=INT32).prefetch(4, where)
    state = {**good.iterate().state(), "at": iterator.state()["at"]}
    assert values(good.iterate(state)) == [5, 6, 7, 8]


@pytest.mark.parametrize("device", [False, True])
def test_without_an_order_the_error_is_told_and_then_that_there_is_no_going_on(device: bool) -> None:
    where = jax.devices()[0] if device else None
    numbers = data.range(9).map(bad_at_5, 2, python=True, deterministic=False, spec=INT32).prefetch(2, where)
    iterator, got = numbers.iterate(), []
    with pytest.raises(DataError, match="a broken record"):
        got.extend(int(one) for one in iterator)
    with pytest.raises(DataError, match="a pipeline whose order is not fixed has no state"):
        next(iterator)
    iterator.close()
    assert 5 not in got and not threads()


def test_an_element_that_was_made_behind_an_error_is_not_lost() -> None:
    once: list[int] = []

    def fails_once(x: Any) -> Any:
        if x == 3 and not once:
            once.append(1)
            raise OSError("the network is away")
        return x

    numbers = data.from_generator(lambda: iter(range(9)), INT32)
    iterator = numbers.map(fails_once, 2, python=True, spec=INT32).prefetch(4).iterate()
    assert values(next(iterator) for _ in range(3)) == [0, 1, 2]
    with pytest.raises(DataError, match="the network is away"):
        next(iterator)
    assert values(iterator) == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("make", [indexed, sequential])
def test_threads_end_with_break_close_restore_and_when_nobody_holds_the_iterator(make: Any) -> None:
    ahead = make().prefetch(2)
    for _ in ahead:
        assert threads()
        break
    assert not threads()
    iterator = ahead.iterate()
    next(iterator)
    state = iterator.state()
    iterator.restore(state)
    assert not threads()
    next(iterator)
    iterator.close()
    assert not threads()
    iterator = ahead.iterate()
    next(iterator)
    del iterator
    assert not threads()


@pytest.mark.parametrize("make", [indexed, sequential])
def test_in_the_midst_of_a_chain_it_changes_nothing(make: Any) -> None:
    doubled = make().prefetch(2).map(lambda x: x * 2).prefetch(3).unbatch()
    assert values(doubled) == values(make().map(lambda x: x * 2).unbatch())
    assert not threads()


def test_how_far_it_runs_ahead_is_no_part_of_the_description() -> None:
    assert str(indexed().prefetch(2)) == str(indexed().prefetch(5))
    assert "up to 5 ahead" in indexed().prefetch(5).stage.note
    assert "AUTOTUNE: one is made while one is used" in indexed().prefetch().stage.note


def test_an_element_by_position_is_on_the_device_too() -> None:
    ahead = indexed().prefetch(2, device=jax.devices()[0])
    assert isinstance(ahead.element(1), jax.Array) and ahead.element(1).tolist() == indexed().element(1).tolist()


def test_what_is_on_a_device_does_not_write_into_the_source() -> None:
    rows = np.ones((4, 2**16), np.float32)
    given = jax.jit(lambda x: x * 0, donate_argnums=0)
    for row in data.from_tensor_slices(rows).batch(4).prefetch(1, device=jax.devices()[0]):
        given(row).block_until_ready()
    assert (rows == 1).all()


def test_prefetch_to_a_device_is_the_last_verb() -> None:
    with pytest.raises(DataError) as caught:
        data.range(4).prefetch(3, device=jax.devices()[0]).batch(2)
    assert str(caught.value) == (
        "batch: prefetch to a device is the last verb, since those after it compute on NumPy arrays: given batch after "
        "range(4).prefetch(device). Fix: put it before: .batch(...).prefetch(3, device=...)"
    )


def test_a_leaf_of_64_bits_is_refused_before_it_is_narrowed() -> None:
    with pytest.raises(DataError, match="prefetch: a leaf has 64 bits, which JAX would narrow to int32"):
        data.range(4, dtype=np.int64).prefetch(1, device=jax.devices()[0])
    assert next(iter(data.range(4, dtype=np.int64).prefetch(1))).dtype == np.int64


def test_a_batch_that_cannot_be_divided_is_refused() -> None:
    over_two = NamedSharding(AbstractMesh((2,), ("data",)), PartitionSpec("data"))
    with pytest.raises(
        DataError, match=r"a leaf cannot be divided over the devices: given int32\[3\] for .*drop_remainder=True"
    ):
        data.range(9).batch(3, drop_remainder=True).prefetch(1, device=over_two)
    data.range(8).batch(2, drop_remainder=True).prefetch(1, device=over_two)


def test_a_buffer_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="prefetch: buffer_size is not a whole number of at least 1: given 0"):
        data.range(4).prefetch(0)


TWO_DEVICES = """
import jax, numpy as np
import aidl_jax.data as data
from jax.sharding import Mesh, NamedSharding, PartitionSpec
halves = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
iterator = iter(data.range(11).batch(4).prefetch(2, device=halves))
first = next(iterator)
print([shard.data.tolist() for shard in first.addressable_shards], next(iterator).tolist())
for _ in range(2):
    try:
        next(iterator)
    except data.dataset.DataError as error:
        print(error.what, error.given[:8], iterator.state()["at"])
"""


def test_batches_are_divided_over_devices_and_the_last_one_says_why_it_cannot_be() -> None:
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, env=flags, check=False)
    assert done.stdout.splitlines() == [
        "[[0, 1], [2, 3]] [4, 5, 6, 7]",
        "a leaf cannot be divided over the devices int32[3] 2",
        "a leaf cannot be divided over the devices int32[3] 2",
    ], done.stderr
