"""Control groups (version 2), where the machine has them and lets us: one per fork, over its real memory and its tasks.

`setrlimit` bounds one process's address space; a group bounds what is really held, files in memory included. Where there
are none, the limits of `sandbox.Limits` stand alone. Source: Linux, Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import tempfile
import time
from pathlib import Path

from aidl_jax.grade.sandbox import Limits

ROOT = Path("/sys/fs/cgroup")
NEEDED = ("memory", "pids")


class Groups:
    """A group that holds one group per fork.

    Args:
        parent: from `parent_group`.
    """

    def __init__(self, parent: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="aidl-", dir=parent))
        self.numbers = itertools.count()
        (self.folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in NEEDED))

    def hold(self, process: int, limits: Limits) -> Group:
        """A new group with limits, and a process moved into it."""
        return Group(self.folder / str(next(self.numbers)), process, limits)

    def close(self) -> None:
        """Removes the group; those of the forks are gone with them."""
        for folder in [*self.folder.glob("*/"), self.folder]:
            remove(folder)


def remove(folder: Path) -> None:
    """Removes a group; the kernel needs a moment to let go of a process that was killed."""
    for _ in range(20):
        with contextlib.suppress(OSError):
            folder.rmdir()
            return
        time.sleep(0.01)


class Group:
    """The group of one fork."""

    def __init__(self, folder: Path, process: int, limits: Limits) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "memory.max").write_text(str(limits.memory + limits.scratch))
        with contextlib.suppress(OSError):  # where there is no swap, there is no such file
            (folder / "memory.swap.max").write_text("0")
        (folder / "pids.max").write_text(str(limits.threads))
        (folder / "cgroup.procs").write_text(str(process))

    def out_of_memory(self) -> bool:
        """Whether the kernel ended it because its memory was used up."""
        with contextlib.suppress(OSError):
            found = re.search(r"^oom_kill (\d+)$", (self.folder / "memory.events").read_text(), re.MULTILINE)
            return found is not None and int(found[1]) > 0
        return False

    def close(self) -> None:
        """Ends what is left in it and removes it."""
        with contextlib.suppress(OSError):
            (self.folder / "cgroup.kill").write_text("1")
        remove(self.folder)


def parent_group(root: Path = ROOT, own: Path = Path("/proc/self/cgroup")) -> Path | str:
    """Where groups can be made: beside our own one; else why not, in words."""
    if not (root / "cgroup.controllers").is_file():
        return "this machine has no control groups of version 2"
    try:
        lines = [line for line in own.read_text().splitlines() if line.startswith("0::/")]
        here = root / lines[0].removeprefix("0::/") if lines else root
        parent = here if here == root else here.parent
        controllers = (parent / "cgroup.subtree_control").read_text().split()
    except OSError as error:  # the group of a container's host, seen from inside
        return f"our own group cannot be looked at ({error.strerror})"
    if {*NEEDED} <= {*controllers} and all(os.access(path, os.W_OK) for path in (parent, parent / "cgroup.procs")):
        return parent
    return f"we may not make groups with limits on {' and '.join(NEEDED)} beside our own"
