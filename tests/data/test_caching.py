"""`cache`: computed once, the same elements in every epoch and process, never a part for the whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aidl_jax.data as data
from aidl_jax.data import Dataset
from aidl_jax.errors import DataError

INT32 = jax.ShapeDtypeStruct((), np.int32)
SPEC = {"x": jax.ShapeDtypeStruct((2,), np.float32), "y": INT32}


class Source:
    """Counts how often each element is made."""

    def __init__(self, size: int = 10) -> None:
        self.size, self.made = size, [0] * size

    def make(self, x: Any) -> Any:
        self.made[int(x)] += 1
        return {"x": np.full(2, x / 2, np.float32), "y": np.int32(x)}

    def indexed(self, calls: int | None = None) -> Dataset:
        return data.range(self.size).map(self.make, calls, python=True, spec=SPEC)

    def sequential(self) -> Dataset:
        return data.from_generator(lambda: map(self.make, range(self.size)), SPEC)


KINDS = ["indexed", "sequential"]
PLACES = ["memory", "files"]


def numbers(elements: Any) -> list[int]:
    return [int(element["y"]) for element in elements]


def kept(ds: Dataset, place: str, folder: Path) -> Dataset:
    return ds.cache() if place == "memory" else ds.cache(folder / "kept")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_elements_are_made_once_and_the_same_in_all_epochs(kind: str, place: str, tmp_path: Path) -> None:
    source = Source()
    cached = kept(getattr(source, kind)(), place, tmp_path)
    assert cached.stage.indexed == (kind == "indexed")
    for _ in range(2):
        got = list(cached.repeat(2))
        assert numbers(got) == [*range(10)] * 2
        assert [one["x"].tolist() for one in got[10:]] == [[n / 2, n / 2] for n in range(10)]
        assert {leaf.dtype.name for leaf in jax.tree.leaves(got[0])} == {"float32", "int32"}
    assert source.made == [1] * 10


def test_only_what_is_asked_for_is_made_and_in_any_order() -> None:
    source = Source()
    cached = source.indexed(3).cache()
    assert int(cached.element(4)["y"]) == 4 and source.made == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert sorted(numbers(cached.shuffle(seed=3).repeat(3).batch(2).unbatch())) == sorted([*range(10)] * 3)
    assert source.made == [1] * 10


def test_the_first_epoch_of_a_shuffle_and_of_keys_is_kept() -> None:
    def draw(key: Any, x: Any) -> Any:
        return x, jax.random.bits(key)

    random = data.range(6).shuffle(seed=2).map(draw, keyed=True)
    first = [(int(x), int(bits)) for x, bits in random]
    assert [(int(x), int(bits)) for x, bits in random.cache().repeat(3)] == first * 3
    assert [(int(x), int(bits)) for x, bits in random.repeat(2)][6:] != first
    assert "keeps epoch 0 of what is before it, for all epochs, in memory, 48 bytes" in random.cache().stage.note


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_every_state_goes_on_equally_with_a_cache_and_without(kind: str, place: str, tmp_path: Path) -> None:
    def pipeline(name: str) -> Dataset:
        (tmp_path / name).mkdir(exist_ok=True)
        return kept(getattr(Source(5), kind)(), place, tmp_path / name).repeat(2).shuffle(3).batch(2)

    whole = pipeline("a")
    expected = [batch["y"].tolist() for batch in whole]
    iterator = pipeline("b").iterate()
    for done in range(len(expected) + 1):
        state = json.loads(json.dumps(iterator.state()))
        for resumed in (whole, pipeline(f"c{done}")):
            assert [batch["y"].tolist() for batch in resumed.iterate(state)] == expected[done:]
        next(iterator, None)


def test_a_sequential_pass_that_is_not_whole_keeps_nothing() -> None:
    source = Source()
    cached = source.sequential().cache()
    assert numbers(cached.take(3)) == [0, 1, 2]
    assert numbers(cached) == [*range(10)] and source.made == [2, 2, 2, *[1] * 7]
    assert numbers(cached) == [*range(10)] and source.made == [2, 2, 2, *[1] * 7]


@pytest.mark.parametrize("kind", KINDS)
def test_another_process_uses_the_files_and_makes_nothing(kind: str, tmp_path: Path) -> None:
    assert numbers(kept(getattr(Source(), kind)(), "files", tmp_path)) == [*range(10)]
    again = Source()
    assert numbers(kept(getattr(again, kind)(), "files", tmp_path)) == [*range(10)]
    assert again.made == [0] * 10
    assert sorted(os.listdir(tmp_path)) == ["kept"]
    assert sorted(os.listdir(tmp_path / "kept")) == ["cache.json", "leaf0", "leaf1"]
    assert np.fromfile(tmp_path / "kept" / "leaf1", "<i4").tolist() == [*range(10)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_is_never_taken_for_the_whole(kind: str, tmp_path: Path) -> None:
    cached = kept(getattr(Source(), kind)(), "files", tmp_path)
    assert numbers(cached.take(7)) == [*range(7)]
    assert not (tmp_path / "kept").exists()
    del cached
    assert os.listdir(tmp_path) == []
    again = Source()
    assert numbers(kept(getattr(again, kind)(), "files", tmp_path)) == [*range(10)]
    assert again.made == [1] * 10


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_keeps_nothing_that_is_not_whole(kind: str, tmp_path: Path) -> None:
    class Failing(Source):
        def make(self, x: Any) -> Any:
            if x == 7 and not self.made[7]:
                self.made[7] += 1
                raise ValueError("once")
            return super().make(x)

    cached = kept(getattr(Failing(), kind)(), "files", tmp_path)
    with pytest.raises((DataError, ValueError), match="once"):
        list(cached)
    assert not (tmp_path / "kept").exists()
    assert numbers(cached) == [*range(10)] and (tmp_path / "kept").exists()


def test_two_passes_at_once_make_one_cache(tmp_path: Path) -> None:
    cached = kept(Source().sequential(), "files", tmp_path)
    assert [(int(a["y"]), int(b["y"])) for a, b in data.zip((cached, cached))] == [(n, n) for n in range(10)]
    assert numbers(cached) == [*range(10)] and os.listdir(tmp_path) == ["kept"]


def test_the_cache_of_another_pipeline_is_refused_with_both(tmp_path: Path) -> None:
    list(kept(Source().indexed(), "files", tmp_path))
    with pytest.raises(DataError) as caught:
        kept(Source().indexed().take(4), "files", tmp_path)
    assert str(caught.value).startswith(
        f"{tmp_path / 'kept'}: the cache is that of another pipeline: given range(10).map("
    )
    assert "expected range(10).map(" in str(caught.value) and ".take(4): {'x': float32[2], 'y': int32[]}" in str(
        caught.value
    )
    assert "remove the folder, so that it is made anew" in str(caught.value)


def test_something_else_at_the_path_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.txt").write_text("precious")
    with pytest.raises(DataError, match="there is something else where the cache is to be"):
        kept(Source().indexed(), "files", tmp_path)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(DataError, match="expected a folder that this made, or none"):
        data.range(3).cache(tmp_path / "file")


def test_files_that_were_cut_are_refused(tmp_path: Path) -> None:
    list(kept(Source().indexed(), "files", tmp_path))
    with (tmp_path / "kept" / "leaf0").open("r+b") as file:
        file.truncate(11)
    with pytest.raises(DataError, match=r"the cache is damaged.*given \[11, 40\] bytes, expected 10 rows"):
        kept(Source().indexed(), "files", tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_nothing_and_elements_without_bytes_can_be_kept(kind: str, place: str, tmp_path: Path) -> None:
    empty = kept(getattr(Source(0), kind)(), place, tmp_path)
    assert list(empty) == [] and list(empty) == []
    (tmp_path / "none").mkdir()
    hollow = kept(data.from_tensor_slices(np.zeros((3, 0), np.float32)), place, tmp_path / "none")
    assert [one.shape for one in hollow.repeat(2)] == [(0,)] * 6


def test_elements_that_differ_in_shape_are_kept_in_memory_and_not_in_files(tmp_path: Path) -> None:
    ragged = data.range(4).map(
        lambda x: np.zeros(x, np.uint8), python=True, spec=jax.ShapeDtypeStruct((None,), np.uint8)
    )
    assert [one.shape for one in ragged.cache().repeat(2)] == [(0,), (1,), (2,), (3,)] * 2
    with pytest.raises(DataError, match=r"only numbers of one shape can be kept in files: given uint8\[\?\]"):
        ragged.cache(tmp_path / "kept")
    texts = data.from_tensor_slices(np.array(["a", "bc"]))
    assert [str(text) for text in texts.cache().repeat(2)] == ["a", "bc"] * 2
    with pytest.raises(DataError, match="only numbers of one shape can be kept in files"):
        texts.cache(tmp_path / "kept")


def test_bfloat16_comes_back_from_files(tmp_path: Path) -> None:
    halves = data.from_tensor_slices(np.asarray(jnp.arange(4, dtype=jnp.bfloat16) / 2))
    for _ in range(2):
        got = list(halves.cache(tmp_path / "kept"))
        assert [float(one) for one in got] == [0, 0.5, 1, 1.5] and got[0].dtype == jnp.bfloat16


def test_a_dataset_without_end_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"a dataset without end would never be kept as a whole.*Fix: cache before repeat"
    ):
        data.range(3).repeat().cache()


def test_what_is_kept_cannot_be_written_to() -> None:
    for element in [*Source().indexed().cache(), *Source().sequential().cache()]:
        assert not element["x"].flags.writeable
