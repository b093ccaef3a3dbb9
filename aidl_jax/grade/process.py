"""Starting, asking and ending the worker and the runner. The place where the sandbox will stand."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Literal

from aidl_jax.errors import AidlError, ProtocolError
from aidl_jax.grade import protocol

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


class TimedOut(AidlError):
    """A process did not answer in time and was killed."""


class Died(AidlError):
    """A process ended without an answer; `last_words` is what it wrote to standard error."""

    def __init__(self, what: str, *, given: str, last_words: str) -> None:
        super().__init__(what, given=given)
        self.last_words = last_words


class Process:
    """One worker or runner, and the pipe to it.

    Args:
        role: "worker" runs student code, "runner" runs exported functions.
    """

    def __init__(self, role: Role) -> None:
        self.role = role
        self.folder = tempfile.TemporaryDirectory(prefix="aidl-", ignore_cleanup_errors=True)
        self.answers: queue.Queue[dict[str, Any] | BaseException] = queue.Queue()
        self.scratch = Path(self.folder.name, "scratch")
        self.scratch.mkdir()
        with open(self._stderr, "wb") as stderr:
            self.child = subprocess.Popen(
                [sys.executable, "-P", "-s", "-c", BOOT.format(role=role), json.dumps(module_path())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=self.scratch,
                start_new_session=True,  # Ctrl-C reaches the judge alone, which then ends this process
                env={name: os.environ[name] for name in INHERITED if name in os.environ} | SETTINGS,
            )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        while True:
            try:
                self.answers.put(protocol.read_message(self.child.stdout))
            except (EOFError, ProtocolError, OSError, ValueError) as error:
                self.answers.put(error)
                return

    def send(self, message: dict[str, Any]) -> None:
        """Sends one message.

        Raises:
            Died: the process is gone.
        """
        assert self.child.stdin is not None
        try:
            protocol.write_message(self.child.stdin, message)
        except (OSError, ValueError) as error:
            raise self._died() from error

    def receive(self, seconds: float) -> dict[str, Any]:
        """The next answer.

        Raises:
            TimedOut: none came in time; the process has been killed.
            Died: the process ended.
            ProtocolError: what came is not a message; the process has been killed.
        """
        try:
            answer = self.answers.get(timeout=seconds)
        except queue.Empty:
            self.close()
            raise TimedOut(f"the {self.role} did not answer within {seconds:g} seconds") from None
        if isinstance(answer, ProtocolError):
            self.close()
            raise answer
        if isinstance(answer, BaseException):
            raise self._died() from answer
        return answer

    def ask(self, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Sends a message and waits for its answer; errors as in `send` and `receive`."""
        self.send(message)
        return self.receive(seconds)

    @property
    def _stderr(self) -> Path:
        return Path(self.folder.name, "stderr")

    def _died(self) -> Died:
        with contextlib.suppress(subprocess.TimeoutExpired):  # it may close its pipe and live on; `close` ends it
            self.child.wait(timeout=1.0)
        last_words = ""
        with contextlib.suppress(FileNotFoundError):  # `close` has removed it
            last_words = self._stderr.read_bytes()[-STDERR_SHOWN:].decode("utf-8", "replace").strip()
        self.close()
        return Died(f"the {self.role} ended", given=f"exit status {self.child.returncode}", last_words=last_words)

    def close(self) -> None:
        """Kills the process, with what it has started in its session, and removes its folder; may be called again."""
        if self.child.poll() is None and hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)
        self.child.kill()
        self.child.wait()
        self.reader.join(timeout=1.0)  # it ends with the pipe, unless a stray child still holds the other side
        pipes = [self.child.stdin] if self.reader.is_alive() else [self.child.stdin, self.child.stdout]
        for pipe in pipes:
            with contextlib.suppress(OSError):  # a broken pipe cannot be flushed, and what was in it is not needed
                if pipe is not None:
                    pipe.close()
        self.folder.cleanup()


def module_path() -> list[str]:
    """Where this process finds its modules, without the current folder and that of the script."""
    here = str(Path.cwd())
    package = str(Path(__file__).resolve().parents[2])
    entries = [entry for entry in sys.path if entry and os.path.abspath(entry) != here and entry != _script_folder()]
    return entries if package in entries else [*entries, package]


def _script_folder() -> str:
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    return os.path.dirname(os.path.abspath(main)) if main else ""


class Deadline:
    """Seconds that are left of a limit."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        """Never below a millisecond, so that it can be waited for."""
        return max(self.end - time.monotonic(), 0.001)


class Processes:
    """A worker and a runner that start at the same time, before they are needed."""

    def __init__(self) -> None:
        self.closed = False
        self.worker, self.runner = Process("worker"), Process("runner")

    def restart(self, role: Literal["worker", "runner"]) -> None:
        """Ends one and starts it anew, unless both have been closed."""
        getattr(self, role).close()
        if not self.closed:
            setattr(self, role, Process(role))
        if self.closed:  # by another thread, in the meantime
            getattr(self, role).close()

    def close(self) -> None:
        """Ends both, for good."""
        self.closed = True
        self.worker.close()
        self.runner.close()
