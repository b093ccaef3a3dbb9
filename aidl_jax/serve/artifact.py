"""The file of an exported model: a zip of a manifest and the parts that it lists, each with its size and SHA-256.

Nothing is compressed, so that no member can be larger than the file; what a member says of itself is compared with the manifest, and only
then is it read. `unzip -p model.zip manifest.json` shows what is inside.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aidl_jax.errors import ServeError
from aidl_jax.files import write_bytes

__all__ = ["FUNCTION", "WEIGHTS", "Artifact", "Manifest", "damaged", "read", "read_part", "sha256_of", "write"]

FORMAT = 1
MANIFEST, WEIGHTS, FUNCTION = "manifest.json", "weights.npz", "function.bin"
MOST_BYTES = {MANIFEST: 1 << 20, WEIGHTS: 4 << 30, FUNCTION: 256 << 20}
DAMAGED = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    struct.error,
)
COPY_AGAIN = "copy the file again from where it was exported, or export the model again"


@dataclass(frozen=True)
class Manifest:
    """What a model's file says of itself.

    Attributes:
        format: of the file, a number that grows.
        versions: of jax, jaxlib and aidl_jax where it was exported.
        calling_convention: of `jax.export`, a number that grows.
        platforms: what it was compiled for, in JAX's words: cpu, cuda, rocm, tpu.
        shape: of one example.
        dtype: of one example.
        class_names: in the order of the logits.
        parts: by name, its `bytes` and `sha256`.
    """

    format: int
    versions: dict[str, str]
    calling_convention: int
    platforms: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    class_names: tuple[str, ...]
    parts: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Artifact:
    """A model's file: where it is, its bytes, its manifest, and the manifest's SHA-256, which pins everything."""

    path: Path
    data: bytes
    manifest: Manifest
    sha256: str


def sha256_of(data: bytes) -> str:
    """64 hexadecimal digits.

    >>> sha256_of(b"")[:16]
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(data).hexdigest()


def write(path: Path, parts: Mapping[str, bytes], **told: Any) -> str:
    """Writes a model's file, whole or not at all.

    Args:
        path: of the file.
        parts: weights and function, by name.
        told: the manifest's other fields but its format.

    Returns:
        The manifest's SHA-256.

    Raises:
        OSError: it cannot be written.
    """
    listed = {name: {"bytes": len(data), "sha256": sha256_of(data)} for name, data in parts.items()}
    text = json.dumps(asdict(Manifest(format=FORMAT, parts=listed, **told)), indent=1, sort_keys=True).encode()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {MANIFEST: text, **parts}.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # a ZipInfo has a fixed date: same parts, same bytes
    write_bytes(path, file.getvalue())
    return sha256_of(text)


def read(path: Path, sha256: str | None = None) -> Artifact:
    """The manifest of a model's file, held to its pin; no part has been read then.

    Args:
        path: of the file.
        sha256: what the manifest's must be; None trusts the file.

    Raises:
        ServeError: it is not a model's file, or damaged, or not the one that is pinned, or of a newer format.
        OSError: it cannot be read.
    """
    data = _bytes(path)
    text = _manifest_text(path, data)
    found = sha256_of(text)
    if sha256 is not None and found != sha256.lower():
        raise ServeError(
            "this is not the model that was pinned",
            given=f"a manifest with SHA-256 {found}",
            expected=sha256,
            where=str(path),
            fix="get the file again from where its SHA-256 was told, and do not load this one",
        )
    return Artifact(path, data, _parsed(path, text), found)


def _bytes(path: Path) -> bytes:
    size, most = path.stat().st_size, sum(MOST_BYTES.values()) + (1 << 16)
    if size > most:
        raise damaged(path, f"{size:,} bytes, where {most:,} are the most")
    return path.read_bytes()


def _manifest_text(path: Path, data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = sorted(archive.namelist())
            if names != sorted(MOST_BYTES):
                raise damaged(path, f"a zip of {', '.join(names[:5]) or 'nothing'}")
            return _member(archive, MANIFEST)
    except DAMAGED as error:
        raise damaged(path, f"{error}") from error


def _parsed(path: Path, text: bytes) -> Manifest:
    try:
        told = json.loads(text)
        newest = int(told["format"])
        if newest != FORMAT:
            raise ServeError(
                "the model's file has a format that this aidl_jax does not know",
                given=f"format {newest}, written by aidl_jax {told['versions']['aidl_jax']}",
                expected=f"format {FORMAT}",
                where=str(path),
                fix="pip install --upgrade aidl_jax, or export the model again with this one",
            )
        manifest = Manifest(**told)
        tuples = {name: tuple(getattr(manifest, name)) for name in ("platforms", "shape", "class_names")}
        sizes = {name: int(manifest.parts[name]["bytes"]) for name in (WEIGHTS, FUNCTION)}
        if any(sizes[name] > MOST_BYTES[name] for name in sizes):
            raise ValueError("a part is too large")
        return Manifest(**{**told, **tuples})
    except (*DAMAGED, RecursionError) as error:
        raise damaged(path, f"a manifest that cannot be understood ({type(error).__name__})") from error


def read_part(artifact: Artifact, name: str) -> bytes:
    """One part, with the size and the SHA-256 that the manifest tells.

    Raises:
        ServeError: it is another one.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(artifact.data)) as archive:
            data = _member(archive, name)
    except DAMAGED as error:
        raise damaged(artifact.path, f"{error}") from error
    told = artifact.manifest.parts[name]
    if len(data) != told["bytes"] or sha256_of(data) != told["sha256"]:
        raise damaged(artifact.path, f"a {name} that is not the one in the manifest")
    return data


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    found = archive.getinfo(name)
    if found.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed")
    if found.file_size > MOST_BYTES[name]:
        raise ValueError(f"{name} has {found.file_size:,} bytes")
    return archive.read(name)


def damaged(path: Path, given: str) -> ServeError:
    """The error for a file that is not whole."""
    return ServeError(
        "the model's file is damaged, or none that `export` wrote",
        given=given,
        where=str(path),
        fix=COPY_AGAIN,
    )
