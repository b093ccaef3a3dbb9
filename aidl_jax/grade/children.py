"""A worker or a runner as a child of the grader: what all have in common, and the plain kind, without a sandbox."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Protocol

Role = Literal["worker", "runner"]

# Neither the current folder nor the user's own packages (-P, -s): the path is handed over, so that any kind of
# installation is found. The environment is ours alone.
BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from aidl_jax.grade.{role} import main; main()"

SETTINGS = {
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_X64": "0",
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONIOENCODING": "utf-8",
    "PYTHONHASHSEED": "0",  # the order of a set of strings must not differ from run to run
}
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "USERPROFILE")
STDERR_SHOWN = 2_000


class GraderFault(Exception):
    """Something of the grader's own failed: the task is ungraded, never zero."""


@dataclass(frozen=True)
class Ending:
    """How a process ended.

    Args:
        how: "exit status 3".
        last_words: the end of what it wrote to standard error.
        limit: which of its limits ended it, in words that go on from "it"; None where none did.
    """

    how: str
    last_words: str
    limit: str | None = None


class Child(Protocol):
    """A started process: two pipes, and ways to end it. All but `ending` may be called again."""

    stdin: IO[bytes]
    stdout: IO[bytes]

    def kill(self) -> None:
        """Kills it with what it has started."""

    def ending(self) -> Ending:
        """How it ended, once its pipe is closed; what closes its pipe and lives on is killed a second later."""

    def close(self) -> None:
        """Kills it and lets go of everything; the output pipe stays open until `drained`."""

    def drained(self) -> None:
        """Closes the output pipe, which nobody reads any more."""


Start = Callable[[Role], Child]


class PlainChild:
    """A fresh interpreter with the rights of whoever started it; its folder goes with it."""

    def __init__(self, role: Role) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="aidl-", ignore_cleanup_errors=True)
        self.scratch = Path(self.folder.name, "scratch")
        self.scratch.mkdir()
        with open(self._stderr, "wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-s", "-c", BOOT.format(role=role), json.dumps(module_path())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=self.scratch,
                start_new_session=True,  # Ctrl-C reaches the judge alone, which then ends this process
                env={name: os.environ[name] for name in INHERITED if name in os.environ} | SETTINGS,
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    @property
    def _stderr(self) -> Path:
        return Path(self.folder.name, "stderr")

    def kill(self) -> None:
        """As `Child.kill`."""
        if self.process.poll() is None and hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def ending(self) -> Ending:
        """As `Child.ending`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=1.0)
        last_words = ""
        with contextlib.suppress(FileNotFoundError):  # `close` has removed it
            last_words = self._stderr.read_bytes()[-STDERR_SHOWN:].decode("utf-8", "replace").strip()
        self.kill()
        return Ending(f"exit status {self.process.returncode}", last_words)

    def close(self) -> None:
        """As `Child.close`."""
        self.kill()
        with contextlib.suppress(OSError):  # a broken pipe cannot be flushed, and what was in it is not needed
            self.stdin.close()
        self.folder.cleanup()

    def drained(self) -> None:
        """As `Child.drained`."""
        self.stdout.close()


def module_path() -> list[str]:
    """Where this process finds its modules, without the current folder and that of the script."""
    here = str(Path.cwd())
    package = str(Path(__file__).resolve().parents[2])
    entries = [entry for entry in sys.path if entry and os.path.abspath(entry) != here and entry != _script_folder()]
    return entries if package in entries else [*entries, package]


def _script_folder() -> str:
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return os.path.dirname(os.path.abspath(main)) if main else ""
