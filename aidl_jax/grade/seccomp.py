"""A filter on system calls: no second process, no new namespace or mount, no socket, no memory that no limit counts.

A thread may be started, a process may not: the limit on memory holds for one process. What is refused answers with
"try again" (EAGAIN) where a process was wanted, as the limit on processes does, and with "not permitted" (EPERM) elsewhere.

The filter is classic BPF (seccomp(2), bpf(4) in its old form): load a word, compare, jump, return.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct

# numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux
PROCESSES = {"x86_64": (57, 58, 59, 322), "aarch64": (221, 281)}  # fork, vfork, execve, execveat
CLONE, CLONE3 = {"x86_64": 56, "aarch64": 220}, 435
REFUSED = {
    "x86_64": (
        *(101, 310, 311, 438),  # ptrace, process_vm_readv, process_vm_writev, pidfd_getfd
        *(272, 308, 155, 161, 165, 166, 428, 429, 430, 431, 432, 433, 442),  # namespaces and mounts
        *(29, 64, 68, 240, 319, 447),  # shmget, semget, msgget, mq_open, memfd_create, memfd_secret
        *(248, 249, 250, 298, 321, 323, 425, 426, 427),  # keys, perf_event_open, bpf, userfaultfd, io_uring
        *(41, 103),  # socket: not all families have namespaces (AF_VSOCK has none); syslog
    ),
    "aarch64": (
        *(117, 270, 271, 438),
        *(97, 268, 41, 51, 40, 39, 428, 429, 430, 431, 432, 433, 442),
        *(194, 190, 186, 180, 279, 447),
        *(217, 218, 219, 241, 280, 282, 425, 426, 427),
        *(198, 116),
    ),
}
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE_THREAD, X32 = 0x00010000, 0x40000000
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
PR_SET_SECCOMP, MODE_FILTER = 22, 2

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def supported() -> bool:
    """Whether this processor's numbers are known."""
    return platform.machine() in ARCHITECTURES


def program(machine: str) -> list[Instruction]:
    """The filter for a machine, "x86_64" or "aarch64"."""

    def answer(number: int, code: int) -> list[Instruction]:
        return [(EQUAL, 0, 1, number), (RETURN, 0, 0, ERRNO | code)]

    filtered: list[Instruction] = [
        *[
            (LOAD, 0, 0, ARCHITECTURE),
            (EQUAL, 1, 0, ARCHITECTURES[machine]),
            (RETURN, 0, 0, KILL),
            (LOAD, 0, 0, NUMBER),
        ],
        *([(AT_LEAST, 0, 1, X32), (RETURN, 0, 0, KILL)] if machine == "x86_64" else []),
    ]
    for number in PROCESSES[machine]:
        filtered += answer(number, errno.EAGAIN)
    filtered += answer(CLONE3, errno.ENOSYS)  # its flags lie in memory; the C library then uses `clone`
    for number in REFUSED[machine]:
        filtered += answer(number, errno.EPERM)
    return [
        *filtered,
        *[(EQUAL, 0, 3, CLONE[machine]), (LOAD, 0, 0, FIRST_ARGUMENT), (ANY_BIT, 1, 0, CLONE_THREAD)],
        *[(RETURN, 0, 0, ERRNO | errno.EAGAIN), (RETURN, 0, 0, ALLOW)],
    ]


def refuse() -> None:
    """Puts the filter on this process, for good.

    Raises:
        OSError: the kernel has no such filters.
    """
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program(platform.machine()))
    held = ctypes.create_string_buffer(code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(_Program(len(code) // 8, ctypes.addressof(held)))) != 0:
        raise OSError(ctypes.get_errno(), "no filter on system calls could be set: prctl PR_SET_SECCOMP")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))
