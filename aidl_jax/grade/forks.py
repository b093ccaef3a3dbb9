"""Workers and runners as forks of a pre-imported process, without a sandbox: `aidl watch`, and `aidl grade --unsafe`.

Importing takes a second, a fork some milliseconds. A worker also lowers a first function as soon as it is there, so
that one that was started ahead answers its first question at once. What runs student code for others is `nursery.py`.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any, NoReturn

from aidl_jax.errors import UsageError
from aidl_jax.grade.children import INHERITED, SETTINGS, STDERR_SHOWN, Ending, PlainChild, Role, Start, module_path
from aidl_jax.grade.nursery import import_all

BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from aidl_jax.grade.forks import main; main({control})"
START_SECONDS = 120.0
ENDING_SECONDS = 1.0  # for what has closed its pipe to end by itself


def can_fork() -> bool:
    """Whether a process that has imported JAX can be forked here: on Linux.

    Windows has no fork; on macOS what NumPy is linked with must not be used after one.
    """
    return sys.platform == "linux"


# Outside


@contextlib.contextmanager
def starting() -> Iterator[Start]:
    """What starts workers and runners without a sandbox: forks, or fresh processes where this system has no fork."""
    if not can_fork():
        yield PlainChild
        return
    with Forks() as forks:
        yield forks.start


class Forks:
    """The pre-imported process; `start` has the form that `Process` takes.

    Raises:
        UsageError: from `start`, if the process did not come about.
    """

    def __init__(self) -> None:
        self.asking = threading.Lock()
        self.folder = tempfile.TemporaryDirectory(prefix="aidl-", ignore_cleanup_errors=True)
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(START_SECONDS)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-s", "-c", BOOT.format(control=theirs.fileno()), json.dumps(module_path())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.errors,
                pass_fds=[theirs.fileno()],
                cwd=self.folder.name,
                start_new_session=True,  # Ctrl-C is for whoever started this
                env={name: os.environ[name] for name in INHERITED if name in os.environ} | SETTINGS,
            )

    def start(self, role: Role) -> Fork:
        """A worker or a runner."""
        scratch = tempfile.mkdtemp(dir=self.folder.name)
        words = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the fork
        stdin, to_child = os.pipe()
        from_child, stdout = os.pipe()
        try:
            number = self.ask({"start": role, "folder": scratch}, [stdin, stdout, words.fileno()])
        except UsageError:
            os.close(to_child)
            os.close(from_child)
            words.close()
            raise
        finally:
            os.close(stdin)
            os.close(stdout)
        return Fork(self, number, scratch, os.fdopen(to_child, "wb"), os.fdopen(from_child, "rb"), words)

    def ask(self, message: dict[str, Any], files: list[int] | None = None) -> int:
        """One question to the process, and the number it answers with."""
        with self.asking:
            try:
                socket.send_fds(self.control, [json.dumps(message).encode()], files or [])
                return int(self.control.recv(4096))
            except (OSError, ValueError):  # it has ended, perhaps before it was ready
                raise UsageError(
                    "the process that checks are forked from has ended",
                    given=_last_words(self.errors) or "no word from it",
                    fix="run the command again; aidl check does without that process",
                ) from None

    def close(self) -> None:
        """Ends it; what it has forked ends by itself a second later, where it was not closed."""
        self.control.close()
        self.process.kill()
        self.process.wait()
        self.errors.close()
        self.folder.cleanup()

    def __enter__(self) -> Forks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Fork:
    """One worker or runner; the process that forked it ends it, so that its number is never another's by then."""

    def __init__(
        self, forks: Forks, number: int, scratch: str, stdin: IO[bytes], stdout: IO[bytes], words: IO[bytes]
    ) -> None:
        self.forks, self.number, self.scratch = forks, number, scratch
        self.stdin, self.stdout, self.words = stdin, stdout, words
        self.ended: int | None = None
        self.holding = threading.Lock()

    def kill(self) -> None:
        """As `Child.kill`."""
        self._end(0.0)

    def ending(self) -> Ending:
        """As `Child.ending`."""
        status = self._end(ENDING_SECONDS)
        how = "no exit status" if status is None else f"exit status {status}"
        with self.holding:
            return Ending(how, "" if self.words.closed else _last_words(self.words))

    def close(self) -> None:
        """As `Child.close`."""
        self.kill()
        with contextlib.suppress(OSError):  # a broken pipe cannot be flushed, and what was in it is not needed
            self.stdin.close()
        with self.holding:
            self.words.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def drained(self) -> None:
        """As `Child.drained`."""
        self.stdout.close()

    def _end(self, seconds: float) -> int | None:
        """Its exit status; it is killed, with what it has started, where it does not end in time."""
        with self.holding, contextlib.suppress(UsageError):  # without the process that forked it, it ends by itself
            if self.ended is None:
                self.ended = self.forks.ask({"end": self.number, "seconds": seconds})
        return self.ended


def _last_words(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read()[-STDERR_SHOWN:].decode("utf-8", "replace").strip()


# Inside


def main(control: int) -> None:
    """Imports, then forks and ends forks as it is asked to, until the one who asks is gone."""
    channel = socket.socket(fileno=control)
    import_all()
    gc.collect()
    gc.freeze()  # what is never looked at again by the collector stays shared between all forks
    threads = os.listdir("/proc/self/task")
    if len(threads) != 1:
        raise RuntimeError(f"a process of {len(threads)} threads cannot be forked safely")
    while True:
        message, files, *_ = socket.recv_fds(channel, 4096, 3)
        if not message:
            return
        asked = json.loads(message)
        answer = _fork(channel, asked, files) if "start" in asked else _end(asked["end"], asked["seconds"])
        for descriptor in files:
            os.close(descriptor)
        channel.send(str(answer).encode())


def _fork(channel: socket.socket, asked: dict[str, Any], files: list[int]) -> int:
    number = os.fork()
    if number == 0:
        channel.close()
        _become(asked["start"], asked["folder"], files)
    return number


def _become(role: Role, folder: str, files: list[int]) -> NoReturn:
    try:
        os.setsid()  # so that what it starts can be ended with it
        os.chdir(folder)
        for wanted, descriptor in enumerate(files):
            os.dup2(descriptor, wanted)
            os.close(descriptor)
        if role == "worker":
            _warm_up()
        importlib.import_module(f"aidl_jax.grade.{role}").main()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _warm_up() -> None:
    """Starts JAX's backend, which tracing alone does not need and the first export waits for."""
    import jax
    import numpy as np

    jax.export.export(jax.jit(lambda x: x + 1))(np.float32(0)).serialize()


def _end(number: int, seconds: float) -> int:
    end = time.monotonic() + seconds
    found, status = os.waitpid(number, os.WNOHANG)
    while not found and time.monotonic() < end:
        time.sleep(0.01)
        found, status = os.waitpid(number, os.WNOHANG)
    with contextlib.suppress(ProcessLookupError):  # a child whose `setsid` is still to come leads no group
        os.killpg(number, signal.SIGKILL)
    if not found:
        os.kill(number, signal.SIGKILL)
        found, status = os.waitpid(number, 0)
    return os.waitstatus_to_exitcode(status)
