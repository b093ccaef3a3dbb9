"""`tf.train.Example`: against protobuf's own reader and writer, and what TensorFlow wrote."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import aidl_jax.data as data
from aidl_jax.errors import DataError

FIXTURES = Path(__file__).parent / "fixtures"
Spec = jax.ShapeDtypeStruct
TEXT = np.dtype(object)


def example_class() -> Any:
    """The message class of `tf.train.Example`, from tensorflow/core/example/{example,feature}.proto."""
    file = descriptor_pb2.FileDescriptorProto(name="example_test.proto", package="example_test", syntax="proto3")

    def message(name: str, **fields: tuple[int, Any, str]) -> Any:
        made = file.message_type.add(name=name)
        for field, (number, kind, label) in fields.items():
            one = made.field.add(name=field, number=number, label=2 + (label == "many") - (label == "one"))
            if isinstance(kind, int):
                one.type = kind
            else:
                one.type, one.type_name = 11, f".example_test.{kind}"
        return made

    message("BytesList", value=(1, 12, "many"))
    message("FloatList", value=(1, 2, "many"))
    message("Int64List", value=(1, 3, "many"))
    message(
        "Feature",
        bytes_list=(1, "BytesList", "one"),
        float_list=(2, "FloatList", "one"),
        int64_list=(3, "Int64List", "one"),
    )
    features = message("Features", feature=(1, "Features.FeatureEntry", "many"))
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=1, type=9)
    entry.field.add(name="value", number=2, label=1, type=11, type_name=".example_test.Feature")
    message("Example", features=(1, "Features", "one"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("example_test.Example"))


Example = example_class()


def by_protobuf(features: dict[str, Any]) -> bytes:
    example = Example()
    for name, values in features.items():
        feature = example.features.feature[name]
        kind = {bytes: feature.bytes_list, float: feature.float_list, int: feature.int64_list}[type(values[0])]
        kind.value.extend(values)
    return example.SerializeToString(deterministic=True)


def parsed(records: list[bytes], features: dict[str, Any], **options: Any) -> list[Any]:
    source = np.empty(len(records), object)
    source[:] = records
    return list(data.from_tensor_slices(source).apply(data.parse_example(features, **options)))


def drawn(seed: int, floats: int = 3) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "image": [random.integers(0, 256, 6, np.uint8).tobytes()],
        "label": [int(random.integers(-3, 2 ** int(random.integers(2, 31))))],
        "long": random.integers(-(2**63), 2**63, 2).tolist(),
        "weights": random.normal(size=floats).astype(np.float32).tolist(),
        "words": [b"w" * int(n) for n in random.integers(0, 4, int(random.integers(1, 4)))],
    }


FEATURES = {
    "image": Spec((2, 3), np.uint8),
    "label": Spec((), np.int32),
    "long": Spec((2,), np.int64),
    "weights": Spec((None,), np.float32),
    "words": Spec((None,), TEXT),
}


def test_built_as_protobuf_builds_them() -> None:
    for seed in range(30):
        assert data.build_example(drawn(seed)) == by_protobuf(drawn(seed))


def test_arrays_and_single_values_are_built() -> None:
    built = data.build_example(
        {"a": np.array([[1, -2]], np.int8), "b": "text", "c": 0.5, "d": True, "e": np.float32(2), "f": []}
    )
    wanted = by_protobuf({"a": [1, -2], "b": [b"text"], "c": [0.5], "d": [1], "e": [2.0]})
    read = Example.FromString(built)
    assert "f" in read.features.feature
    del read.features.feature["f"]
    assert read == Example.FromString(wanted)


def test_parsed_as_protobuf_parses_them() -> None:
    """Many of one layout, and some of several, among one another."""
    drawings = [drawn(seed, floats=3 + (seed % 7 == 0)) for seed in range(120)]
    drawings += [{**drawn(5), "label": [n], "words": [b"a"]} for n in range(100)]
    elements = parsed([by_protobuf(one) for one in drawings], FEATURES)
    for one, element in zip(drawings, elements, strict=True):
        assert element["image"].tobytes() == one["image"][0] and element["image"].shape == (2, 3)
        assert element["label"] == one["label"][0] and element["label"].dtype == np.int32
        assert element["long"].tolist() == one["long"] and element["long"].dtype == np.int64
        assert element["weights"].tolist() == one["weights"] and element["weights"].dtype == np.float32
        assert element["words"].tolist() == one["words"]


def test_records_of_one_length_and_many_layouts() -> None:
    records = [data.build_example({"a": b"x" * n, "b": b"y" * (100 - n)}) for n in (*range(90), 5, 5, 7, 50)]
    assert len(set(map(len, records))) == 1
    elements = parsed(records, {"a": Spec((), TEXT), "b": Spec((1,), TEXT)})
    assert [len(one["a"].item()) for one in elements] == [*range(90), 5, 5, 7, 50]
    assert all(len(one["a"].item() + one["b"].item()) == 100 for one in elements)


def test_fixed_features_come_stacked_in_batches() -> None:
    records = [data.build_example({"x": np.full(4, n, np.float32), "n": n, "more": b"." * (n % 3)}) for n in range(300)]
    dataset = data.from_tensor_slices(np.array(records, object)).apply(
        data.parse_example({"x": Spec((2, 2), np.float32), "n": Spec((), np.int64)})
    )
    batches = list(dataset.batch(100))
    np.testing.assert_array_equal(np.concatenate([batch["n"] for batch in batches]), np.arange(300))
    np.testing.assert_array_equal(batches[2]["x"][:, 1, 0], np.arange(200, 300))
    assert dataset.element(77)["n"] == 77


def test_several_files_in_a_block_are_parsed_as_their_records_one_by_one(tmp_path: Path) -> None:
    examples = [data.build_example({**drawn(seed, floats=3 + seed % 2), "label": [seed]}) for seed in range(128)]
    for number, (begin, end) in enumerate([(0, 0), (0, 1), (1, 8), (8, 128)]):
        data.write_tfrecord(tmp_path / f"shard-{number}", examples[begin:end])
    records = data.tfrecord(str(tmp_path / "shard-*"))
    label = {"label": Spec((), np.int32), "long": Spec((2,), np.int64)}
    for features in (label, FEATURES):
        one_by_one = parsed(examples, features)
        for dataset in (records, records.shuffle(20, seed=1).repeat(2)):
            order = [examples.index(record.item()) for record in dataset]
            found = list(dataset.apply(data.parse_example(features)))
            assert repr(found) == repr([one_by_one[number] for number in order])
    in_batches = records.shuffle(128, seed=2).apply(data.parse_example(label)).batch(50)
    assert np.sort(np.concatenate([batch["label"] for batch in in_batches])).tolist() == list(range(128))


def test_a_dataset_of_files_goes_to_another_process(tmp_path: Path) -> None:
    data.write_tfrecord(tmp_path / "file", [data.build_example({"image": bytes([n])}) for n in range(3)])
    dataset = data.tfrecord(tmp_path / "file").apply(data.parse_example({"image": Spec((1,), np.uint8)}))
    elements = [element["image"].tolist() for element in dataset]
    assert [element["image"].tolist() for element in pickle.loads(pickle.dumps(dataset))] == elements == [[0], [1], [2]]


def test_lines_are_no_records(tmp_path: Path) -> None:
    (tmp_path / "lines").write_text("one\n")
    lines = data.text_lines(tmp_path / "lines").apply(data.parse_example({"x": Spec((), np.float32)}))
    with pytest.raises(
        DataError, match=r"parse_example takes records, which are bytes: given a str: 'one'.*tfrecord\(paths\)"
    ):
        list(lines)


def test_what_tensorflow_wrote() -> None:
    """The files were written by TensorFlow 2.21 from these formulas."""
    features = {
        "image": Spec((12,), np.uint8),
        "label": Spec((), np.int32),
        "weights": Spec((3,), np.float32),
        "words": Spec((None,), TEXT),
        "negative": Spec((2,), np.int64),
    }
    for name, kind in (("tensorflow", None), ("tensorflow_gzip", "GZIP"), ("tensorflow_zlib", "ZLIB")):
        records = data.tfrecord(FIXTURES / f"{name}.tfrecord", kind)  # type: ignore[arg-type]
        for i, element in enumerate(records.apply(data.parse_example(features))):
            np.testing.assert_array_equal(element["image"], np.arange(12) + i)
            assert element["label"] == 100 * i and element["weights"].tolist() == [i, i / 2, -i]
            assert element["words"].tolist() == [b"w%d" % k for k in range(i)]
            assert element["negative"].tolist() == [-i, i * 2**40]
        assert i == 5


def test_numbers_that_are_not_packed() -> None:
    """proto2 writers give each number a tag of its own."""
    floats = b"".join(b"\x0d" + np.float32(x).tobytes() for x in (1.5, -2.0))
    ints = b"\x08\x05\x08\xac\x02"
    entries = [(b"f", b"\x12", floats), (b"i", b"\x1a", ints)]
    record = b"".join(
        b"\x0a" + bytes([len(body)]) + body
        for name, tag, values in entries
        for body in [b"\x0a\x01" + name + b"\x12" + bytes([len(values) + 2]) + tag + bytes([len(values)]) + values]
    )
    record = b"\x0a" + bytes([len(record)]) + record
    assert list(Example.FromString(record).features.feature["i"].int64_list.value) == [5, 300]
    (element,) = parsed([record], {"f": Spec((2,), np.float32), "i": Spec((2,), np.int64)})
    assert element["f"].tolist() == [1.5, -2.0] and element["i"].tolist() == [5, 300]


def test_defaults_are_for_features_that_are_not_there() -> None:
    records = [by_protobuf({"a": [1]}), by_protobuf({"a": [2], "b": [0.5, 1.5], "c": [b"x"]})]
    features = {"a": Spec((), np.int64), "b": Spec((2,), np.float32), "c": Spec((), TEXT), "d": Spec((None,), np.int64)}
    first, second = parsed(records, features, defaults={"b": -1, "c": b"none", "d": [7]})
    assert first["b"].tolist() == [-1, -1] and first["c"].item() == b"none" and first["d"].tolist() == [7]
    assert second["b"].tolist() == [0.5, 1.5] and second["c"].item() == b"x"
    assert parsed(records[:1], {"d": Spec((None,), np.int64)})[0]["d"].shape == (0,)


def test_states_go_on(tmp_path: Path) -> None:
    data.write_tfrecord(tmp_path / "file", [by_protobuf({"n": [n]}) for n in range(9)], "GZIP")
    dataset = data.tfrecord(tmp_path / "file", "GZIP").apply(data.parse_example({"n": Spec((), np.int64)}))
    iterator = dataset.iterate()
    assert [int(next(iterator)["n"]) for _ in range(4)] == [0, 1, 2, 3]
    assert [int(one["n"]) for one in dataset.iterate(iterator.state())] == [4, 5, 6, 7, 8]


WRONG = {
    "lacks": (
        {"labels": Spec((), np.int64)},
        r"a record lacks the feature 'labels': given 'label', 'x'. Fix: did you mean 'label'\?.*default",
    ),
    "kind": (
        {"x": Spec((2,), np.int64)},
        r"feature 'x' is of another kind than declared: given floats, expected int64\[2\].*np.float32",
    ),
    "count": (
        {"x": Spec((3,), np.float32)},
        r"feature 'x' has another number of values than declared: given 2, expected 3 for float32\[3\]",
    ),
    "multiple": (
        {"x": Spec((None, 3), np.float32)},
        r"feature 'x' has another number of values than declared: given 2, expected 3 or a multiple",
    ),
    "narrow": (
        {"label": Spec((), np.int32)},
        r"a number of feature 'label' does not fit into int32: given 1099511627776. Fix: .*np.int64",
    ),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("compression", [None, "ZLIB"])
def test_a_wrong_feature_is_told_with_its_file_and_record(tmp_path: Path, name: str, compression: Any) -> None:
    features, text = WRONG[name]
    good = data.build_example({"labels": 1, "label": 1, "x": np.zeros(6, np.int64) if name == "kind" else [1.0] * 6})
    good = {"kind": data.build_example({"x": [1, 2]}), "count": data.build_example({"x": [1.0] * 3})}.get(name, good)
    bad = data.build_example({"label": 2**40, "x": [1.0, 2.0]})
    data.write_tfrecord(tmp_path / "file", [good, good, bad], compression)
    iterator = iter(data.tfrecord(tmp_path / "file", compression).apply(data.parse_example(features)))
    next(iterator), next(iterator)
    for _ in range(2):
        with pytest.raises(DataError, match=rf"{tmp_path}/file, record 2.*: {text}"):
            next(iterator)


def test_bytes_of_an_array_are_one_value() -> None:
    text = r"feature 'x' has another number of values than declared: given 2 values of bytes, expected one value, the bytes of the array"
    with pytest.raises(DataError, match=text):
        parsed([data.build_example({"x": [b"a", b"b"]})], {"x": Spec((2,), np.uint8)})


@pytest.mark.parametrize("record", [b"\x0a", b"\x0a\x05abc", b"text", b"\x0a\x03\x0a\x01\x0f", b"\xff" * 20])
def test_what_is_no_example(record: bytes) -> None:
    with pytest.raises(
        DataError, match=r"position 0 of from_tensor_slices, epoch 0: a record is no tf.train.Example: given .*byte"
    ):
        parsed([record], {"x": Spec((), np.int64)})


def test_damaged_examples_never_end_in_another_error() -> None:
    random, whole = np.random.default_rng(0), by_protobuf(drawn(1))
    for _ in range(400):
        record = bytearray(whole)
        record[int(random.integers(len(record)))] = int(random.integers(256))
        try:
            (element,) = parsed([bytes(record)], FEATURES)
        except DataError:
            continue
        theirs = Example.FromString(bytes(record)).features.feature
        assert element["long"].tolist() == list(theirs["long"].int64_list.value)
        assert element["words"].tolist() == list(theirs["words"].bytes_list.value)


def test_what_cannot_be_declared_or_built() -> None:
    with pytest.raises(
        DataError,
        match=r"feature 'x': a feature cannot be declared so: given float64\[\], expected a jax.ShapeDtypeStruct",
    ):
        data.parse_example({"x": Spec((), np.dtype(np.float64))})
    with pytest.raises(DataError, match="a default is given for a feature that is not declared: given 'y'"):
        data.parse_example({"x": Spec((), np.int64)}, {"y": 1})
    with pytest.raises(
        DataError, match=r"a default is not what its feature is: given float64 \[\], expected int64\[\]"
    ):
        data.parse_example({"x": Spec((), np.int64)}, {"x": 0.5})
    with pytest.raises(
        DataError, match=r"parse_example takes records, bytes one by one: given int32\[\], expected object\[\]"
    ):
        data.range(3).apply(data.parse_example({}))
    with pytest.raises(
        DataError, match=r"feature 'x': a feature is made of .*: given float64 \[2\].*astype\(np.float32\)"
    ):
        data.build_example({"x": np.zeros(2)})
    with pytest.raises(DataError, match=r"feature 'x': a number is too large for float32: given 1e\+300"):
        data.build_example({"x": 1e300})
