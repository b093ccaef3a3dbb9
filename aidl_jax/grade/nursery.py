"""The pre-imported process, from both sides: `Nursery` starts it in the sandbox and asks for forks; `main` is what it runs.

Importing takes a second, a fork some milliseconds. The process holds no check, no expected value and no hand-in. Each
fork leaves it for namespaces of its own, forks again, and the second fork becomes one worker or one runner:

    grader ── bubblewrap ── nursery ─┬─ keeper ── worker of one hand-in
                                     └─ keeper ── runner of one hand-in

A keeper waits for its one process and tells how it ended. To kill one from outside there is a pidfd; with it dies
whatever it started, as it is the first process of its namespace.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NoReturn

from aidl_jax.errors import UsageError
from aidl_jax.grade import cgroups, sandbox
from aidl_jax.grade.children import SETTINGS, STDERR_SHOWN, Ending, GraderFault, Role
from aidl_jax.grade.sandbox import Limits

START_SECONDS = 120.0
FORK_SECONDS = 30.0
BOOT = "import sys; sys.path[:] = {path!r}; from aidl_jax.grade.nursery import main; main({control})"
NO_MEMORY = (
    r"MemoryError|bad_alloc|RESOURCE_EXHAUSTED|[Oo]ut of memory|Cannot allocate memory|[Tt]hread .*creation .*failed"
)
MODULES = (  # imported once, before the first fork; none of them may start JAX's backend or a thread
    "jax", "jax.export", "jax.numpy", "optax", "flax.linen", "aidl_jax.grade.worker", "aidl_jax.grade.tracing",
    "aidl_jax.grade.drawing", "aidl_jax.grade.runner",
)  # fmt: skip


# Outside


class Nursery:
    """The pre-imported process in its sandbox; `start` has the form that `Process` takes.

    Args:
        limits: of every fork.

    Raises:
        UsageError: there can be no sandbox on this machine, with the reason and the remedy.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        lacking = sandbox.lacking()
        if lacking is not None:
            what = f"student code would run without a sandbox, with your rights on this machine: {lacking[0]}"
            raise UsageError(what, fix=f"{lacking[1]}; or pass --unsafe for code that you trust")
        self.limits = limits or Limits()
        parent = cgroups.parent_group()
        self.groups = cgroups.Groups(parent) if isinstance(parent, Path) else None
        self.asking = threading.Lock()
        self._open()

    def _open(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control = ours
        code = BOOT.format(path=sandbox.inside_path(), control=theirs.fileno())
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self.outer = subprocess.Popen(
            [*sandbox.bubblewrap(), sys.executable, "-P", "-s", "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.errors,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is the grader's alone
            env=sandbox.environment() | SETTINGS,
        )
        theirs.close()
        ours.settimeout(START_SECONDS)
        self.ready = False

    def start(self, role: Role) -> Fork:
        """A worker or a runner, confined."""
        with self.asking:
            try:
                return self._fork(role)
            except (OSError, GraderFault) as failed:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.outer.wait(timeout=1.0)
                if self.outer.poll() is None:
                    raise GraderFault(f"no fork in the sandbox: {failed}") from failed
                self._end()  # the process itself has died: once more, with a new one
                self._open()
                try:
                    return self._fork(role)
                except OSError as error:
                    raise GraderFault(f"the sandbox cannot be started again: {error}") from error

    def _fork(self, role: Role) -> Fork:
        if not self.ready:
            said = json.loads(self.control.recv(4096) or b"{}")
            if not said.get("ready"):
                raise GraderFault(f"the sandbox did not start: {self._last_words()}")
            self.ready = True
        stdin, to_child = os.pipe()
        from_child, stdout = os.pipe()
        with tempfile.TemporaryFile() as file:
            words = os.dup(file.fileno())
        report, reporting = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        message = json.dumps({"role": role, "limits": asdict(self.limits)}).encode()
        try:
            socket.send_fds(self.control, [message], [stdin, stdout, words, reporting.fileno()])
        finally:
            os.close(stdin)
            os.close(stdout)
            reporting.close()
        fork = Fork(os.fdopen(to_child, "wb"), os.fdopen(from_child, "rb"), words, report, self.limits)
        if self.groups is not None:
            try:
                fork.group = self.groups.hold(fork.process(), self.limits)
            except (OSError, StopIteration):
                fork.close()
                fork.drained()
                raise
        return fork

    def _last_words(self) -> str:
        self.errors.seek(0)
        lines = self.errors.read()[-STDERR_SHOWN:].decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it ended without a word"

    def _end(self) -> None:
        self.control.close()
        with contextlib.suppress(ProcessLookupError):
            # The group, since bubblewrap's second process waits for its first while they start.
            os.killpg(self.outer.pid, signal.SIGKILL)
        self.outer.wait()
        self.errors.close()

    def close(self) -> None:
        """Ends it with all its forks."""
        self._end()
        if self.groups is not None:
            self.groups.close()

    def __enter__(self) -> Nursery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Fork:
    """One confined worker or runner, as the grader holds it.

    Raises:
        GraderFault: the sandbox did not come about.
    """

    def __init__(self, stdin: IO[bytes], stdout: IO[bytes], words: int, report: socket.socket, limits: Limits) -> None:
        self.stdin, self.stdout = stdin, stdout
        self.words, self.report, self.limits = words, report, limits
        self.handle: int | None = None
        self.group: cgroups.Group | None = None
        self.killed = False
        self.holding = threading.Lock()  # a number that one thread lets go of must not be another's by then
        report.settimeout(FORK_SECONDS)
        try:
            message, files, *_ = socket.recv_fds(report, 4096, 1)
        except OSError as error:
            self.close()
            self.drained()
            raise GraderFault(f"no fork in the sandbox within {FORK_SECONDS:g} seconds") from error
        self.handle = files[0] if files else None
        if self.handle is None:
            self.close()
            self.drained()
            raise GraderFault(f"no fork in the sandbox: {message.decode() or 'it ended without a word'}")

    def process(self) -> int:
        """Its number, as the grader counts processes."""
        lines = Path(f"/proc/self/fdinfo/{self.handle}").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pid:")).removeprefix("Pid:"))

    def kill(self) -> None:
        """Kills it with all that it has started."""
        with self.holding, contextlib.suppress(ProcessLookupError):
            if self.handle is not None:
                self.killed = True
                signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def ending(self) -> Ending:
        """How it ended, once its pipe is closed; what closes its pipe and lives on is killed a second later."""
        try:
            self.report.settimeout(1.0)
            told = self.report.recv(4096)
        except TimeoutError:
            self.kill()
            return Ending("closed its pipe", self._last_words())
        except OSError:
            told = b""
        if not told and self.report.fileno() >= 0:  # its keeper is gone as well, which no hand-in can bring about
            raise GraderFault("the sandbox has ended")
        end = json.loads(told or b"{}")
        if end.get("status") == -signal.SIGKILL and not self.killed and self._limit_hit(end) is None:
            raise GraderFault(
                "the system has ended a process, most likely for want of memory"
            )  # it cannot end itself so
        return Ending(f"exit status {end.get('status')}", end.get("failed") or self._last_words(), self._limit_hit(end))

    def _limit_hit(self, end: dict[str, Any]) -> str | None:
        if end.get("status") == -signal.SIGKILL and end["cpu"] > self.limits.cpu - 1:
            return f"used all of the {self.limits.cpu} seconds of processor time that it may use"
        starved = self.group is not None and self.group.out_of_memory()
        if starved or (end.get("status") not in (None, 0) and re.search(NO_MEMORY, self._last_words())):
            return f"needed more memory than the {self.limits.memory >> 20:,} MiB that it may use"
        return None

    def _last_words(self) -> str:
        with self.holding:
            if self.words < 0:
                return ""
            start = max(os.fstat(self.words).st_size - STDERR_SHOWN, 0)
            return os.pread(self.words, STDERR_SHOWN, start).decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Kills it and lets go of all but the output pipe; may be called again."""
        self.kill()
        with contextlib.suppress(OSError):  # a broken pipe cannot be flushed, and what was in it is not needed
            self.stdin.close()
        with self.holding:
            held, self.handle, self.words = [self.handle, self.words], None, -1
        for descriptor in held:
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)
        self.report.close()
        if self.group is not None:
            self.group.close()

    def drained(self) -> None:
        """Closes the output pipe."""
        self.stdout.close()


# Inside


def main(control: int) -> None:
    """Imports, then forks whenever it is asked to, until the grader is gone."""
    channel = socket.socket(fileno=control)
    sandbox.give_up_root()
    import_all()
    gc.collect()
    gc.freeze()  # what is never looked at again by the collector stays shared between all forks
    threads = os.listdir("/proc/self/task")
    if len(threads) != 1:
        raise RuntimeError(f"a process of {len(threads)} threads cannot be forked safely")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    channel.send(json.dumps({"ready": True}).encode())
    while True:
        message, files, *_ = socket.recv_fds(channel, 4096, 4)
        if not message:
            return
        if os.fork() == 0:
            channel.close()
            _keep(json.loads(message), files)
        for descriptor in files:
            os.close(descriptor)


def import_all() -> None:
    """Imports all that a worker or a runner will need, and does what each of them would do at its start."""
    for name in MODULES:
        importlib.import_module(name)
    importlib.import_module("aidl_jax._compat").get_ready_to_fork()


def _keep(asked: dict[str, Any], files: Sequence[int]) -> NoReturn:
    """Leaves everything, forks once more, tells how that process ends."""
    report = socket.socket(fileno=files[3])
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        sandbox.leave_everything()
        process = os.fork()
        if process == 0:
            _become(asked["role"], Limits(**asked["limits"]), files[:3], report)
        socket.send_fds(report, [b"started"], [os.pidfd_open(process)])
        for descriptor in (0, 1, 2, *files[:3]):  # a pipe ends when the process does, not its keeper
            os.close(descriptor)
        _, status, usage = os.wait4(process, 0)
        ended = {"status": os.waitstatus_to_exitcode(status), "cpu": usage.ru_utime + usage.ru_stime}
        report.send(json.dumps(ended).encode())
    except BaseException as error:
        with contextlib.suppress(OSError):
            report.send(f"{type(error).__name__}: {error}".encode()[:2_000])
    finally:
        os._exit(0)


def _become(role: str, limits: Limits, files: Sequence[int], report: socket.socket) -> NoReturn:
    try:
        os.setsid()  # a process group is shared across namespaces: kill(0) would end the neighbours, and the nursery
        for wanted, descriptor in enumerate(files):
            os.dup2(descriptor, wanted)
        module = importlib.import_module(f"aidl_jax.grade.{role}")
        sandbox.confine(limits)
        report.close()
        os.closerange(3, limits.files)
    except BaseException as error:
        report.send(json.dumps({"failed": f"{type(error).__name__}: {error}"}).encode()[:2_000])
        os._exit(1)
    try:
        module.main()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
