"""Plain data travels as nested lists that say what they are, comes back equal and new, and is the same text each time."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
from typing import Any, NamedTuple

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aidl_jax.errors import ProtocolError
from aidl_jax.exercise.plain import MAX_VALUES, NotPlainError, pack, text, unpack

NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.booleans()
SCALARS = st.none() | NUMBERS | st.binary(max_size=4) | st.text(max_size=4).filter(lambda s: s.isprintable())
HASHED = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=4)
PLAIN = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(HASHED, max_size=3)
        | st.dictionaries(st.text(max_size=3).filter(lambda s: s.isprintable()) | st.integers(-5, 5), inner, max_size=3)
    ),
    max_leaves=12,
)


class Layer(NamedTuple):
    w: Any
    b: Any


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way: 1, 1.0 and True differ, and so do orders of a dict."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, set):
        return same(sorted(one, key=repr), sorted(other, key=repr))
    return one == other


@given(PLAIN)
def test_what_travels_comes_back_the_same(value: Any) -> None:
    travelled = msgpack.unpackb(msgpack.packb(pack(value), strict_types=True), strict_map_key=False)
    assert same(unpack(travelled), value)


@given(PLAIN)
def test_the_text_is_python_code_for_it(value: Any) -> None:
    assert same(eval(text(value), {"inf": float("inf"), "nan": float("nan")}), value)


def test_each_unpacking_is_new() -> None:
    packed = pack({"x": ["a"], "s": {1}})
    first, second = unpack(packed), unpack(packed)
    first["x"].append("b")
    first["s"].add(2)
    assert second == {"x": ["a"], "s": {1}}
    assert unpack(packed) == second


def test_equal_sets_are_packed_alike_however_they_were_made() -> None:
    assert list({0, 8}) != list({8, 0})
    assert pack({0, 8}) == pack({8, 0}) == ["set", [0, 8]]


def test_arrays_stay_arrays() -> None:
    array = np.float32([1, 2])
    assert unpack(pack([array]))[0] is array
    assert text({"x": array}) == "{'x': array([1.0, 2.0])}"


def test_named_tuples_come_back_with_their_fields() -> None:
    got = unpack(pack([Layer(1, {"b": 2})]))[0]
    assert (got._name, got.w, got.b) == ("Layer", 1, {"b": 2})
    assert unpack(pack(got)).b == {"b": 2}


def test_other_kinds_of_dicts_and_sets_come_back_as_the_plain_ones() -> None:
    assert same(unpack(pack(collections.defaultdict(list, a=[1]))), {"a": [1]})
    assert same(unpack(pack(frozenset("a"))), {"a"})


DEEP: list[Any] = []
for _ in range(70):
    DEEP = [DEEP]
CYCLE: list[Any] = []
CYCLE.append(CYCLE)
NOT_PLAIN = [
    (object(), "a value of type object"),
    ([1, {"x": (object(),)}], "a value of type object at [1]['x'][0]"),
    (len, "a value of type builtin_function_or_method"),
    (lambda: 1, "a function, which was not called"),
    ((n for n in [1]), "a generator, which has not run yet"),
    ({}.keys(), "a value of type dict_keys"),
    (1j, "a value of type complex"),
    (bytearray(b"x"), "a value of type bytearray"),
    ({None: 1}, "a dict with the key None, which is no string or integer"),
    ([{True: 1}], "a dict with the key True, which is no string or integer at [0]"),
    (2**64, "an integer of more than 64 bits"),
    ({"x": [-(2**63) - 1]}, "an integer of more than 64 bits at ['x'][0]"),
    ("\ud800", "a string with half a character in it"),
    ({"\ud800": 1}, "a string with half a character in it"),
    (DEEP, "a value nested deeper than 64 levels"),
    (CYCLE, "a value nested deeper than 64 levels"),
    ([0] * (MAX_VALUES + 1), "more than 100,000 values"),
]


@pytest.mark.parametrize(("value", "named"), NOT_PLAIN, ids=[named for _, named in NOT_PLAIN])
def test_what_is_not_plain_is_named_with_its_place(value: Any, named: str) -> None:
    with pytest.raises(NotPlainError) as refused:
        pack(value)
    assert str(refused.value) == named


def test_a_jax_array_is_called_so() -> None:
    import jax.numpy as jnp

    with pytest.raises(NotPlainError, match=r"^a JAX array at \[0\]$"):
        pack([jnp.zeros(3)])


def nested(kind: str, levels: int) -> Any:
    packed: Any = []
    for _ in range(levels):
        packed = [kind, [packed] if packed else []]
    return packed


MALFORMED: list[Any] = [
    {},
    {"a": 1},
    [],
    ["list"],
    ["list", 3],
    ["list", [1], 2],
    ["code", []],
    [1, 2],
    ["set", [["list", []]]],
    ["set", [np.zeros(2)]],
    ["dict", [["a"]]],
    ["dict", [[1.5, 2]]],
    ["dict", [[["list", []], 2]]],
    ["dict", ["ab"]],
    ["namedtuple", "A", ["b"], []],
    ["namedtuple", "A", ["not a name"], [1]],
    ["namedtuple", "A b", ["x"], [1]],
    ["tuple", [["set", [["dict", []]]]]],
    nested("list", 70),
    ["list", [0] * (MAX_VALUES + 1)],
]


@pytest.mark.parametrize("packed", MALFORMED, ids=lambda packed: repr(packed)[:40])
def test_malformed_lists_are_refused(packed: Any) -> None:
    with pytest.raises(ProtocolError, match=r"^plain data is (malformed|too large or too deep)"):
        unpack(packed)


def test_a_long_text_is_cut() -> None:
    assert text(list(range(100)), 20) == "[0, 1, 2, 3, 4,  ..."
    assert len(text("z" * 100, 50)) == 50
    assert text([1], 3) == "[1]"


def test_the_text_of_a_set_is_the_same_in_every_process() -> None:
    code = "from aidl_jax.exercise.plain import text; print(text({str(n) for n in range(40)}))"
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
