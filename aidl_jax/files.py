"""Writing files so that nothing is ever half written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_bytes(path: Path, data: bytes) -> None:
    """Writes beside the file, then puts it in place; on an error the old file stays as it was.

    Raises:
        OSError: it cannot be written; the error names `path`.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=".aidl-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:  # a full disk's error names no file, the others name the temporary one
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for UTF-8 text with plain newlines."""
    write_bytes(path, text.encode("utf-8"))
