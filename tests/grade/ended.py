"""Whether a process has ended, on any Unix."""

from __future__ import annotations

import os
from pathlib import Path


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it ended in this moment, or this system has no such file
        return False
    return stat.rpartition(")")[2].split()[0] == "Z"  # ended, and waited for by nobody yet
