"""The filter on system calls, against the kernel's own numbers, on a small machine for such programs and in the kernel."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from aidl_jax.grade import seccomp

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
PROCESSES = ["fork", "vfork", "execve", "execveat"]
REFUSED = [
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_getfd",
    "unshare",
    "setns",
    "pivot_root",
    "chroot",
    "mount",
    "umount2",
    "open_tree",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "shmget",
    "semget",
    "msgget",
    "mq_open",
    "memfd_create",
    "memfd_secret",
    "add_key",
    "request_key",
    "keyctl",
    "perf_event_open",
    "bpf",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "socket",
    "syslog",
]
ALLOW, KILL = "allow", "kill"
OTHER = {"x86_64": 0xC00000B7, "aarch64": 0xC000003E}


def answer(machine: str, number: int, argument: int = 0, architecture: int | None = None) -> str:
    """What a machine's filter does with a call: "allow", "kill" or the error's name."""
    data = {0: number, 4: seccomp.ARCHITECTURES[machine] if architecture is None else architecture, 16: argument}
    held, at = 0, 0
    program = seccomp.program(machine)
    while True:
        code, yes, no, constant = program[at]
        at += 1
        match code:
            case 0x20:
                held = data[constant]
            case 0x15:
                at += yes if held == constant else no
            case 0x35:
                at += yes if held >= constant else no
            case 0x45:
                at += yes if held & constant else no
            case 0x06:
                kinds = {0x7FFF0000: ALLOW, 0x80000000: KILL}
                return kinds.get(constant) or errno.errorcode[constant & 0xFFFF]


def numbers(machine: str) -> dict[str, int]:
    """The kernel's own numbers by name."""
    if not HEADERS[machine].exists():
        pytest.skip("the kernel's headers are not installed (linux-libc-dev)")
    found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)$", HEADERS[machine].read_text(), re.MULTILINE)
    return {name: int(number) for name, number in found}


@pytest.mark.parametrize("machine", HEADERS)
def test_what_is_refused_is_what_the_kernel_calls_so(machine: str) -> None:
    known = numbers(machine)
    wanted = {known[name]: "EPERM" for name in REFUSED}
    wanted |= {known[name]: "EAGAIN" for name in [*PROCESSES, "clone"] if name in known} | {known["clone3"]: "ENOSYS"}
    assert {number: answer(machine, number) for number in range(1_000)} == {
        number: wanted.get(number, ALLOW) for number in range(1_000)
    }


@pytest.mark.parametrize("machine", HEADERS)
def test_a_thread_may_be_started_and_a_process_may_not(machine: str) -> None:
    assert answer(machine, seccomp.CLONE[machine], 0x003D0F00) == ALLOW  # the flags of the C library for a thread
    assert answer(machine, seccomp.CLONE[machine], 0x01200011) == "EAGAIN"  # and for fork


@pytest.mark.parametrize("machine", HEADERS)
def test_another_architectures_calls_end_the_process(machine: str) -> None:
    assert answer(machine, 0, architecture=OTHER[machine]) == KILL
    assert answer(machine, 0, architecture=0x40000003) == KILL  # 32 bit, whose numbers are others


def test_the_x32_calls_end_the_process() -> None:
    assert answer("x86_64", 0x40000000 | 59) == KILL
    assert answer("x86_64", 0x3FFFFFFF) == ALLOW


@pytest.mark.parametrize("machine", HEADERS)
def test_every_way_through_ends_with_an_answer(machine: str) -> None:
    program = seccomp.program(machine)
    for at, (code, yes, no, _) in enumerate(program):
        assert code == 0x06 or at + 1 + max(yes, no) < len(program)
    assert program[-1][0] == 0x06 and len(program) < 4_096


IN_THE_KERNEL = """
import ctypes, errno, json, os, socket, subprocess, threading
from aidl_jax.grade import seccomp
if os.getuid() == 0: os.setresuid(65534, 65534, 65534)
try:
    seccomp.refuse()
except OSError as error:
    before = [error.errno, error.strerror]
ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)
seccomp.refuse()
told = []
def tell(what):
    try:
        what()
        told.append("done")
    except OSError as error:
        told.append(errno.errorcode[error.errno])
for what in (os.fork, lambda: os.execv("/bin/true", ["true"]), lambda: subprocess.run("true"), lambda: socket.socket(),
             lambda: os.memfd_create("x"), lambda: os.chroot("/"), lambda: threading.Thread(target=tell, args=(os.getpid,)).start()):
    tell(what)
print(json.dumps([before, told]))
"""


@pytest.mark.skipif(sys.platform != "linux" or not seccomp.supported(), reason="this machine has no such filters")
def test_the_kernel_takes_the_program() -> None:
    said = subprocess.run([sys.executable, "-c", IN_THE_KERNEL], capture_output=True, text=True)
    before, told = json.loads(said.stdout or said.stderr)
    assert before == [errno.EACCES, "no filter on system calls could be set: prctl PR_SET_SECCOMP"]
    assert told[:6] == ["EAGAIN"] * 3 + ["EPERM"] * 3
    assert told[6:] == ["done"] * 2
