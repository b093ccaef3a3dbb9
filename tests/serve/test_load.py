"""What `load` refuses: damage, other versions and platforms, another file than was pinned; and in which order."""

from __future__ import annotations

import io
import json
import shutil
import zipfile

import jax
import numpy as np
import pytest
from served import PARAMS, exported

from aidl_jax.errors import ServeError
from aidl_jax.serve import artifact, load
from aidl_jax.serve import model as loading


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("model"))


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(path, parts, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return path


def retold(made, path, parts=None, **changed):
    """The file with another manifest, whose hashes fit: what somebody would write who wants to be believed."""
    inside = members(made[0]) | (parts or {})
    told = json.loads(inside["manifest.json"]) | changed
    for name in parts or {}:
        told["parts"][name] = {"bytes": len(inside[name]), "sha256": artifact.sha256_of(inside[name])}
    return zipped(path, inside | {"manifest.json": json.dumps(told).encode()})


def refused(path, **options):
    with pytest.raises(ServeError) as told:
        load(path, **options)
    return str(told.value)


@pytest.fixture
def nothing_is_parsed(monkeypatch):
    def parsed(*_):
        raise AssertionError("it was parsed")

    monkeypatch.setattr(jax.export, "deserialize", parsed)
    monkeypatch.setattr(np, "load", parsed)


@pytest.mark.usefixtures("nothing_is_parsed")
def test_error_another_model_than_was_pinned(made, tmp_path):
    other = retold(made, tmp_path / "other.zip", {"weights.npz": b"worse"})
    told = refused(other, sha256=made[1])
    assert told.startswith(f"{other}: this is not the model that was pinned: given a manifest with SHA-256 ")
    assert told.endswith(
        f", expected {made[1]}. Fix: get the file again from where its SHA-256 was told, and do not load this one"
    )


def test_a_pin_may_be_in_capitals(made):
    assert load(made[0], made[1].upper()).sha256 == made[1]


@pytest.mark.usefixtures("nothing_is_parsed")
@pytest.mark.parametrize("theirs", ["99.0.0", "0.99.1", "0.10.99"])
def test_error_a_newer_jax(made, tmp_path, theirs, monkeypatch):
    monkeypatch.setattr(jax, "__version__", "0.10.2")
    newer = retold(made, tmp_path / "newer.zip", versions={"jax": theirs, "jaxlib": theirs, "aidl_jax": "0.1.0"})
    assert refused(newer) == (
        f"{newer}: the model was exported by a newer JAX than the one here: given JAX {theirs}, expected JAX 0.10.2 or older. "
        f'Fix: pip install "jax>={theirs}", or export the model again with JAX 0.10.2'
    )


@pytest.mark.usefixtures("nothing_is_parsed")
def test_error_a_jax_too_old(made, tmp_path):
    versions = {"jax": "0.4.0", "jaxlib": "0.4.0", "aidl_jax": "0.1.0"}
    told = refused(retold(made, tmp_path / "older.zip", calling_convention=1, versions=versions))
    assert "exported by a JAX too old for the one here: given JAX 0.4.0, calling convention 1, expected calling" in told
    assert told.endswith('Fix: export the model again with this JAX, or pip install "jax==0.4.0"')


@pytest.mark.usefixtures("nothing_is_parsed")
def test_error_a_newer_format(made, tmp_path):
    newer = retold(made, tmp_path / "newer.zip", format=2, more="fields")
    told = refused(newer)
    assert "has a format that this aidl_jax does not know: given format 2, written by aidl_jax 0.1.0, expected" in told
    assert "Fix: pip install --upgrade aidl_jax, or export the model again with this one" in told


@pytest.mark.usefixtures("nothing_is_parsed")
def test_error_another_platform(tmp_path):
    path, _ = exported(tmp_path, platforms=["cuda"])
    assert refused(path) == (
        f"{path}: the model was not exported for what this process computes on: given cpu, expected cuda. "
        "Fix: set JAX_PLATFORMS=cuda, or export(..., platforms=['cpu'])"
    )


def test_every_cut_of_the_file_is_refused(made, tmp_path):
    whole = made[0].read_bytes()
    cut = tmp_path / "cut.zip"
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        assert "the model's file is damaged, or none that `export` wrote" in refused(cut), length


def test_a_changed_byte_is_refused_or_changes_nothing(made, tmp_path):
    """Some bytes of a zip are of no importance: dates, and what is said twice."""
    whole, changed = made[0].read_bytes(), tmp_path / "changed.zip"
    original = members(made[0])
    harmless = 0
    for at in np.random.default_rng(0).integers(0, len(whole), 300).tolist() + list(
        range(len(whole) - 200, len(whole))
    ):
        data = bytearray(whole)
        data[at] ^= 0x41
        changed.write_bytes(data)
        try:
            found = artifact.read(changed, made[1])
            parts = {name: artifact.read_part(found, name) for name in ("weights.npz", "function.bin")}
        except ServeError:
            continue
        harmless += 1
        assert all(parts[name] == original[name] for name in parts)
    assert harmless < 100


@pytest.mark.usefixtures("nothing_is_parsed")
@pytest.mark.parametrize(
    ("parts", "given"),
    [
        ({"weights.npz": b"short"}, "a weights.npz that is not the one in the manifest"),
        ({"more.txt": b""}, "a zip of function.bin, manifest.json, more.txt, weights.npz"),
        ({"manifest.json": b"{}"}, "a manifest that cannot be understood (KeyError)"),
        ({"manifest.json": b"[" * 100_000}, "a manifest that cannot be understood (RecursionError)"),
        ({"manifest.json": b" " * (1 << 20) + b"{}"}, "manifest.json has 1,048,578 bytes"),
    ],
)
def test_error_damaged(made, tmp_path, parts, given):
    path = zipped(tmp_path / "damaged.zip", members(made[0]) | parts)
    assert refused(path) == (
        f"{path}: the model's file is damaged, or none that `export` wrote: given {given}. "
        "Fix: copy the file again from where it was exported, or export the model again"
    )


@pytest.mark.usefixtures("nothing_is_parsed")
def test_error_what_is_compressed_or_too_large_is_not_unpacked(made, tmp_path):
    path = zipped(tmp_path / "bomb.zip", members(made[0]), zipfile.ZIP_DEFLATED)
    assert "given manifest.json is compressed" in refused(path)
    told = json.loads(members(made[0])["manifest.json"])["parts"]
    told["weights.npz"]["bytes"] = 1 << 50
    assert "cannot be understood (ValueError)" in refused(_with_parts(made, tmp_path, told))


def _with_parts(made, folder, told):
    inside = members(made[0])
    manifest = json.loads(inside["manifest.json"]) | {"parts": told}
    return zipped(folder / "large.zip", inside | {"manifest.json": json.dumps(manifest).encode()})


def npz(compressed=False, **arrays):
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


GOOD = {
    "params/hidden/w": PARAMS["hidden"]["w"],
    "params/hidden/b": PARAMS["hidden"]["b"],
    "params/out/0": PARAMS["out"][0],
}


@pytest.mark.parametrize(
    ("weights", "given"),
    [
        (b"no zip", "weights that NumPy cannot read: File is not a zip file"),
        (npz(compressed=True, **GOOD), "weights that NumPy cannot read: weights are compressed"),
        (npz(**GOOD | {"params/out/0": np.array([{}], object)}), "weights that NumPy cannot read: Object arrays cannot"),
        (npz(**GOOD | {"params/out/0": np.zeros((5, 4), np.float32)}), "a function that does not fit its weights"),
        (npz(**GOOD | {"params/out/1": np.zeros(1)}), "a function that does not fit its weights"),
    ],
)  # fmt: skip
def test_error_weights_of_another_model(made, tmp_path, weights, given):
    assert f"given {given}" in refused(retold(made, tmp_path / "other.zip", {"weights.npz": weights}))


@pytest.mark.parametrize("changed", [{"shape": [3, 4, 1]}, {"dtype": "int8"}, {"class_names": ["cat", "dog"]}])
def test_error_a_manifest_of_another_model(made, tmp_path, changed):
    assert "given a function that does not fit its weights, its examples or its classes" in refused(
        retold(made, tmp_path / "other.zip", **changed)
    )


def test_a_file_that_is_not_there_or_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none.zip")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)


def test_versions_are_compared_as_numbers():
    assert loading._numbers("0.9.2") < loading._numbers("0.10.0") == loading._numbers("0.10.0.dev20260101")


def test_a_copy_is_the_same_model(made, tmp_path):
    assert load(shutil.copy(made[0], tmp_path / "copy.zip")).sha256 == made[1]


@pytest.mark.usefixtures("nothing_is_parsed")
def test_error_a_part_of_the_same_size_whose_bytes_are_others(made, tmp_path):
    """The zip's own checksum fits; the manifest's SHA-256 does not."""
    inside = members(made[0])
    for name in ("weights.npz", "function.bin"):
        path = zipped(tmp_path / "other.zip", inside | {name: inside[name][:-1] + bytes([inside[name][-1] ^ 1])})
        assert f"given a {name} that is not the one in the manifest" in refused(path)
