"""The pre-imported process: its forks, their limits, and what happens when one of them, or it, is gone."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aidl_jax.errors import UsageError
from aidl_jax.exercise import Draw, Exercise, Hints, Student, call, require, static
from aidl_jax.grade import nursery as nurseries
from aidl_jax.grade import sandbox
from aidl_jax.grade.children import GraderFault
from aidl_jax.grade.extract import Cell
from aidl_jax.grade.judge import judge
from aidl_jax.grade.nursery import Nursery
from aidl_jax.grade.process import Died, Process, Processes
from aidl_jax.grade.record import TaskRecord
from aidl_jax.grade.sandbox import Limits
from aidl_jax.grade.session import Session

LACKING = sandbox.lacking()
pytestmark = pytest.mark.skipif(LACKING is not None, reason=": ".join(LACKING or ()))
LIMITS = Limits(cpu=30, memory=1280 << 20, threads=77, files=66, file_size=1 << 20, scratch=4 << 20)
SQUARE = "def square(n):\n    return n * n\n"


def exercise() -> Exercise:
    """One function of Python's."""
    one = Exercise("Square", time_limit=10)
    task = one.task("square", points=1, hints=Hints("a", "b", "c"))

    @task.check(draws=1)
    def squares(student: Student, draw: Draw) -> None:
        """It is the square."""
        require(call(student.square(static(7))) == 49, "It is not the square.")

    return one


def judged(session: Session) -> TaskRecord:
    """What becomes of its one task."""
    return judge("square", session.exercise, session, 1).tasks[0]


def open_session(nursery: Nursery, text: str = SQUARE) -> Session:
    """A hand-in in the nursery."""
    return Session([Cell("a.py", text)], exercise(), Processes(nursery.start))


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery(LIMITS) as one:
        yield one


def said(nursery: Nursery, body: str) -> str:
    """What a hand-in raises."""
    with open_session(nursery, f"import os, resource\ndef square(n):\n    {body}\n") as session:
        failure = judged(session).failure
    assert failure is not None
    return failure.message


def test_a_hand_in_is_graded_in_it(nursery: Nursery) -> None:
    with open_session(nursery) as session:
        assert judged(session).verdict == "passed"


def test_the_limits_are_the_forks(nursery: Nursery) -> None:
    names = ("CPU", "NPROC", "NOFILE", "FSIZE", "CORE", "MEMLOCK", "MSGQUEUE")
    told = said(nursery, f"raise ValueError([resource.getrlimit(getattr(resource, 'RLIMIT_' + n)) for n in {names}])")
    limits = [30, 77, 66, 1 << 20, 0, 0, 0]
    assert str([(limit, limit) for limit in limits]) in told
    held = int(said(nursery, "raise ValueError(resource.getrlimit(resource.RLIMIT_AS)[1])").rpartition(" ")[2])
    assert LIMITS.memory < held < LIMITS.memory + (8 << 30)


def test_a_fork_is_the_first_process_of_its_own_world_and_nobody(nursery: Nursery) -> None:
    told = said(nursery, "raise ValueError((os.getpid(), os.getppid(), os.getpgrp(), os.getuid(), os.getgroups()))")
    assert told.endswith(f"(1, 0, 1, {sandbox.NOBODY}, [{sandbox.NOBODY}])") or told.endswith(
        f"(1, 0, 1, {sandbox.NOBODY}, [])"
    )


def test_a_started_process_is_asked_and_ends(nursery: Nursery) -> None:
    one = Process("runner", nursery.start)
    assert one.ask({"do": "hello", "seconds": 60}, 60) == {}
    one.close()
    one.close()
    with pytest.raises(Died):
        one.ask({"do": "hello", "seconds": 1}, 1)


def test_how_a_fork_ended_is_told(nursery: Nursery) -> None:
    one = Process("runner", nursery.start)
    one.ask({"do": "hello", "seconds": 60}, 60)
    one.child.kill()
    with pytest.raises(Died, match="exit status -9"):
        one.ask({"do": "hello", "seconds": 10}, 10)


def test_a_nursery_that_died_is_started_again() -> None:
    with Nursery(LIMITS) as nursery:
        with open_session(nursery) as session:
            assert judged(session).verdict == "passed"
        nursery.outer.kill()
        nursery.outer.wait()
        with open_session(nursery) as session:
            assert judged(session).verdict == "passed"


def test_a_nursery_that_dies_meanwhile_leaves_its_hand_ins_ungraded() -> None:
    with Nursery(LIMITS) as nursery, open_session(nursery) as session:
        session.load()
        nursery.outer.send_signal(signal.SIGKILL)
        select.select([session.processes.worker.child.handle], [], [], 20)  # until the worker is gone with it
        task = judged(session)
    assert (task.verdict, task.points) == ("ungraded", 0)
    assert task.failure is not None
    assert task.failure.message == "This could not be graded: the sandbox has ended. It is no fault of the answer."


def group_of(stat: Path) -> int:
    """The process group of a process; 0 where it has ended meanwhile."""
    with contextlib.suppress(OSError):
        return int(stat.read_text().rpartition(")")[2].split()[2])
    return 0


def test_a_sandbox_that_is_closed_while_it_starts_leaves_nothing() -> None:
    """Bubblewrap's second process would wait for its first for ever."""
    for _ in range(5):
        nursery = Nursery(LIMITS)
        nursery.close()
        left = [
            int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if group_of(stat) == nursery.outer.pid
        ]
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                handle = os.pidfd_open(process)
                ended, *_ = select.select([handle], [], [], 20)
                os.close(handle)
                assert ended


def broken(monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    """The nursery runs this first."""
    monkeypatch.setattr(nurseries, "BOOT", nurseries.BOOT.replace("main({control})", f"{before}; main({{control}})"))


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("import aidl_jax.grade.sandbox as s; s.confine = lambda limits: 1 / 0", "ZeroDivisionError: division by zero"),
        (
            "import aidl_jax.grade.sandbox as s; s.leave_everything = lambda: 1 / 0",
            "ZeroDivisionError: division by zero",
        ),
        ("import aidl_jax.grade.seccomp as s; s.PR_SET_SECCOMP = 99", "OSError: [Errno 22] no filter on system calls"),
    ],
)
def test_a_fork_that_cannot_be_confined_is_no_fault_of_the_answer(
    monkeypatch: pytest.MonkeyPatch, before: str, said: str
) -> None:
    broken(monkeypatch, before)
    with Nursery(LIMITS) as nursery:
        assert ungraded(nursery, said)


def ungraded(nursery: Nursery, said: str) -> bool:
    """Whether a hand-in cannot be graded there, for this reason; it gets no zero and no pass."""
    try:
        with open_session(nursery) as session:
            task = judged(session)
    except GraderFault as fault:  # which the class's run makes an ungraded record of
        return said in str(fault)
    return task.verdict == "ungraded" and task.failure is not None and said in task.failure.message


def test_a_nursery_that_does_not_start_is_told_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, "sys.exit('no such library')")
    with Nursery(LIMITS) as nursery, pytest.raises(GraderFault, match="the sandbox did not start: no such library"):
        nursery.start("worker")


def test_a_nursery_of_many_threads_forks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, "import threading, time; threading.Thread(target=time.sleep, args=(99,), daemon=True).start()")
    with Nursery(LIMITS) as nursery, pytest.raises(GraderFault, match="a process of 2 threads cannot be forked safely"):
        nursery.start("worker")


LATER = """
import sys
from aidl_jax.grade.nursery import import_all
import_all()
before = set(sys.modules)
from aidl_jax.grade import runner, tracing
exported, _ = tracing.export_request(["input", 0], [[[2], "float32"]], {})
one = runner.Runner()
name = one.answer({"do": "load", "exported": exported, "specs": [[[2], "float32"]]})["function"]
one.answer({"do": "compile", "function": name, "executable": None})
print(sorted(set(sys.modules) - before))
"""


def test_a_fork_has_nothing_to_import() -> None:
    done = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_a_sandbox_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "lacking", lambda: ("bubblewrap is not installed", sandbox.INSTALL))
    with pytest.raises(UsageError) as told:
        Nursery()
    assert (
        "student code would run without a sandbox, with your rights on this machine: bubblewrap is not installed"
        in str(told.value)
    )
    assert f"{sandbox.INSTALL}; or pass --unsafe for code that you trust" in str(told.value)


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ({"status": -9, "cpu": 29.5}, "used all of the 30 seconds of processor time that it may use"),
        ({"status": 1, "cpu": 1.0}, "needed more memory than the 1,280 MiB that it may use"),
        ({"status": 0, "cpu": 1.0}, None),
        ({"status": -9, "cpu": 1.0}, "needed more memory than the 1,280 MiB that it may use"),
    ],
)
def test_the_limit_that_was_hit_is_named(nursery: Nursery, end: dict[str, Any], words: str | None) -> None:
    fork = nursery.start("runner")
    with open(fork.words, "wb", closefd=False) as last_words:
        last_words.write(b"...\nMemoryError\n")
    assert fork._limit_hit(end) == words
    fork.close()
    fork.drained()
