"""Asking a worker or a runner: messages with time limits. How one is started is `children.py`'s and `nursery.py`'s."""

from __future__ import annotations

import math
import queue
import threading
import time
from typing import Any

from aidl_jax.errors import AidlError, ProtocolError
from aidl_jax.grade import protocol
from aidl_jax.grade.children import GraderFault, PlainChild, Role, Start

SEND_SECONDS = 30.0  # for a message to be read, which only code that wants to hold up the grader leaves lying


class TimedOut(AidlError):
    """A process did not answer in time and was killed."""


class Died(AidlError):
    """A process ended without an answer.

    Args:
        last_words: what it wrote to standard error.
        limit: which of its limits ended it, in words that go on from "it"; None where none did.
    """

    def __init__(self, what: str, *, given: str, last_words: str, limit: str | None = None) -> None:
        super().__init__(what, given=given)
        self.last_words, self.limit = last_words, limit


class Process:
    """One worker or runner, and the pipe to it.

    Args:
        role: "worker" runs student code, "runner" runs exported functions.
        start: makes the process, in a sandbox or without.
    """

    def __init__(self, role: Role, start: Start = PlainChild) -> None:
        self.role, self.waited = role, 0.0  # seconds, for its answers
        self.sending = math.inf  # since when
        self.closed = threading.Event()
        self.answers: queue.SimpleQueue[dict[str, Any] | BaseException] = queue.SimpleQueue()
        self.taken = threading.Semaphore(0)
        self.child = start(role)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        threading.Thread(target=self._watch, daemon=True).start()

    def _read(self) -> None:
        """Reads an answer once the one before was taken: what is ahead of its questions waits in the pipe, at its own expense."""
        while not self.closed.is_set():
            try:
                self.answers.put(protocol.read_message(self.child.stdout))
            except (EOFError, ProtocolError, OSError, ValueError) as error:
                self.answers.put(error)
                return
            self.taken.acquire()

    def _watch(self) -> None:
        """Kills a process that does not read what is sent to it."""
        while not self.closed.wait(1.0):
            if time.monotonic() - self.sending > SEND_SECONDS:
                self.child.kill()

    def send(self, message: dict[str, Any]) -> None:
        """Sends one message.

        Raises:
            Died: the process is gone, or does not read and was killed.
        """
        self.sending = time.monotonic()
        try:
            protocol.write_message(self.child.stdin, message)
        except (OSError, ValueError) as error:
            raise self._died() from error
        finally:
            self.sending = math.inf

    def receive(self, seconds: float) -> dict[str, Any]:
        """The next answer.

        Raises:
            TimedOut: none came in time; the process has been killed.
            Died: the process ended.
            ProtocolError: what came is not a message; the process has been killed.
        """
        begin = time.monotonic()
        try:
            answer = self.answers.get(timeout=seconds)
        except queue.Empty:
            self.close()
            raise TimedOut(f"the {self.role} did not answer within {seconds:g} seconds") from None
        finally:
            self.waited += time.monotonic() - begin
        self.taken.release()
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

    def greet(self, seconds: float) -> None:
        """Waits until it has started.

        Raises:
            GraderFault: it did not, which is no fault of the answer.
        """
        try:
            self.ask({"do": "hello", "seconds": seconds}, seconds)
        except (TimedOut, Died, ProtocolError) as error:
            last_line = getattr(error, "last_words", "").rpartition("\n")[2]
            raise GraderFault(f"the {self.role} did not start ({last_line or error})") from error

    def _died(self) -> Died:
        end = self.child.ending()
        self.close()
        return Died(f"the {self.role} ended", given=end.how, last_words=end.last_words, limit=end.limit)

    def close(self) -> None:
        """Kills the process, with what it has started, and lets go of everything; may be called again."""
        self.closed.set()
        self.taken.release()  # nobody will take what it has read
        self.child.close()
        self.reader.join(timeout=1.0)  # it ends with the pipe, unless a stray child still holds the other side
        if not self.reader.is_alive():
            self.child.drained()
        self.answers.put(EOFError("closed"))  # to whoever waits for an answer, in another thread


class Deadline:
    """Seconds that are left of a limit."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds

    def left(self) -> float:
        """Never below a millisecond, so that it can be waited for."""
        return max(self.end - time.monotonic(), 0.001)


class Processes:
    """A worker and a runner that start at the same time, before they are needed.

    Args:
        start: makes each of them, in a sandbox or without.
    """

    def __init__(self, start: Start = PlainChild) -> None:
        self.closed, self.start, self.earlier = False, start, 0.0
        self.worker = Process("worker", start)
        try:
            self.runner = Process("runner", start)
        except BaseException:
            self.worker.close()
            raise

    def waited(self) -> float:
        """Seconds of waiting for answers so far, of all that were started."""
        return self.earlier + self.worker.waited + self.runner.waited

    def restart(self, role: Role) -> None:
        """Ends one and starts it anew, unless both have been closed."""
        self.earlier += getattr(self, role).waited
        getattr(self, role).close()
        if not self.closed:
            setattr(self, role, Process(role, self.start))
        if self.closed:  # by another thread, in the meantime
            getattr(self, role).close()

    def close(self) -> None:
        """Ends both, for good."""
        self.closed = True
        try:
            self.worker.child.kill()  # in the sandbox that takes no time, so that both end at once
            self.runner.child.kill()
        finally:
            self.worker.close()
            self.runner.close()
