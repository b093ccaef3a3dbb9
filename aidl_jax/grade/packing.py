"""This package as a wheel, and the versions it runs with, to be set up alike on another machine; no network is needed.

Formats: https://packaging.python.org/en/latest/specifications/binary-distribution-format/ and
https://packaging.python.org/en/latest/specifications/recording-installed-packages/
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import io
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

NAME = "aidl-jax"
WHEEL = "Wheel-Version: 1.0\nGenerator: aidl\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
NOT_NEEDED = ("handout", "__pycache__")  # what students start from; what Python makes itself


def pack(members: Mapping[str, bytes], executable: Collection[str] = ()) -> bytes:
    """A zip of files, the same for the same files.

    >>> pack({"a": b"1"}) == pack({"a": b"1"})
    True
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o100755 if name in executable else 0o100644) << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def folder(path: Path, prefix: str) -> dict[str, bytes]:
    """The files of a folder, by their names in a zip; none that is made by Python or of no use to a grader."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    inside = {file: file.relative_to(path) for file in files}
    return {
        f"{prefix}/{part.as_posix()}": file.read_bytes()
        for file, part in inside.items()
        if not set(NOT_NEEDED) & set(part.parts)
    }


def wheel() -> tuple[str, bytes]:
    """This package as it is installed or checked out: the file's name and its bytes."""
    about = importlib.metadata.distribution(NAME)
    stem = f"{NAME.replace('-', '_')}-{about.version}"
    members = folder(Path(__file__).resolve().parents[1], "aidl_jax")
    members[f"{stem}.dist-info/METADATA"] = (about.read_text("METADATA") or "").encode()
    members[f"{stem}.dist-info/entry_points.txt"] = (about.read_text("entry_points.txt") or "").encode()
    members[f"{stem}.dist-info/WHEEL"] = WHEEL.encode()
    record = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in members.items()]
    members[f"{stem}.dist-info/RECORD"] = "\n".join([*record, f"{stem}.dist-info/RECORD,,", ""]).encode()
    return f"{stem}-py3-none-any.whl", pack(members)


def constraints() -> str:
    """The versions, here, of everything that this package needs, and of what that needs: a constraints file for pip."""
    found: dict[str, str] = {}
    ahead = [NAME]
    while ahead:
        name = re.sub(r"[-_.]+", "-", ahead.pop()).lower()
        try:
            about = importlib.metadata.distribution(name) if name not in found else None
        except importlib.metadata.PackageNotFoundError:  # for another system, or for another Python
            continue
        if about is not None:
            found[name] = about.version
            needs = [text for text in about.requires or () if "extra ==" not in text]
            ahead += [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in needs]
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()) if name != NAME)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
