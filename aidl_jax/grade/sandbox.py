"""The sandbox: the one recipe by which a stranger's code is held, from both sides.

Outside, `bubblewrap` gives the command that starts a pre-imported process on a read-only file system: the interpreter,
its packages, and of this package what a worker or a runner needs; no course, no judge, no hand-in, no network.
Inside, each fork of that process calls `leave_everything` and `confine`: namespaces and an empty scratch space of its
own, no capabilities, limits. What is neither root inside nor outside has nothing to give back.

Linux only. Sources: bwrap(1), namespaces(7), capabilities(7), setrlimit(2).
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aidl_jax.grade import seccomp

NOBODY = 65_534
SCRATCH = "/scratch"
LIBRARIES = ("/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache")
SHARED = ("/usr", "/usr/local")  # prefixes that hold more than an interpreter
NEEDED = (  # of `aidl_jax/grade`: what a worker or a runner imports; whatever judges is not there
    "__init__", "protocol", "children", "nursery", "sandbox", "seccomp", "cgroups", "worker", "extract", "tracing", "drivers", "drawing",
    "explain", "words", "printed", "runner", "gate", "operations", "fingerprint", "event_file",
)  # fmt: skip
HIDDEN = ("course", "handout", "grade")  # folders of `aidl_jax` that a worker finds empty, those files apart
NEW_NAMESPACES = {"user": 0x10000000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x08000000, "mnt": 0x00020000,
                  "uts": 0x04000000, "cgroup": 0x02000000}  # fmt: skip
INSTALL = "install it: sudo apt-get install bubblewrap (or your distribution's package of that name)"


@dataclass(frozen=True)
class Limits:
    """What one worker or one runner may use.

    Args:
        cpu: seconds of processor time in all, of all its threads together.
        memory: bytes of address space beyond what the pre-imported process holds.
        threads: at one time; no second process may be started at all.
        files: open at one time.
        file_size: bytes of one file.
        scratch: bytes of all files together.
    """

    cpu: int = 120
    memory: int = 2 << 30
    threads: int = field(default_factory=lambda: 64 + 16 * (os.cpu_count() or 1))  # XLA has some pools of one per core
    files: int = 256
    file_size: int = 32 << 20
    scratch: int = 64 << 20


# Outside


@functools.cache
def lacking() -> tuple[str, str] | None:
    """Why there can be no sandbox on this machine, and what to do about it; None where there can."""
    if sys.platform != "linux":
        return (
            f"the sandbox needs Linux, and this is {sys.platform}",
            "grade on Linux, in a container or a virtual machine",
        )
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed", INSTALL
    if not seccomp.supported():
        return (
            f"the sandbox does not know this processor's system calls ({os.uname().machine})",
            "grade on x86-64 or ARM64",
        )
    code = f"import sys; sys.path[:] = {inside_path()!r}; from aidl_jax.grade import sandbox; sandbox.try_out()"
    command = [*bubblewrap(), sys.executable, "-P", "-s", "-c", code]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"no sandbox can be made here ({error})", "run bwrap by hand, and see what it says"
    if tried.returncode == 0:
        return None
    said = tried.stderr.strip().splitlines()[-1] if tried.stderr.strip() else f"exit status {tried.returncode}"
    return f"no sandbox can be made here ({said})", (
        "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000, and on Ubuntu "
        "kernel.apparmor_restrict_unprivileged_userns=0; in a container, start it with --security-opt seccomp=unconfined"
    )


def bubblewrap() -> list[str]:
    """The command line that starts a program in the outer sandbox, up to the program's own.

    As root no user namespace is made: the files of root's own folders could not be read from one. The program keeps
    the two capabilities that it takes to become somebody else, which is the first thing it does (`give_up_root`).
    """
    user = (
        ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        if os.geteuid() == 0
        else ["--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY)]
    )
    mounts = list(_mounts())
    above = sorted({str(folder) for mount in mounts for folder in Path(mount[-1]).parents if folder != Path("/")})
    return [
        *("bwrap", "--die-with-parent", "--new-session", "--unshare-pid", "--unshare-net", "--unshare-ipc"),
        *("--unshare-uts", "--unshare-cgroup-try", *user, "--dev", "/dev", "--proc", "/proc", "--tmpfs", SCRATCH),
        *(word for folder in above for word in ("--perms", "0755", "--dir", folder)),  # else closed to who is not root
        *(word for mount in mounts for word in mount),
        *(() if any(mount[-1].startswith("/tmp/") for mount in mounts) else ("--symlink", SCRATCH, "/tmp")),
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", SCRATCH, "--"),
    ]


def environment() -> dict[str, str]:
    """The variables of a program in the sandbox: nothing of ours but where programs are.

    The C library would reserve 64 MiB of address space for each thread, of which the limit on memory knows nothing.
    """
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": path, "HOME": SCRATCH, "TMPDIR": SCRATCH, "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}


def inside_path() -> list[str]:
    """`sys.path` in the sandbox: the standard library, the packages, and where this package lies."""
    stdlib = [entry for entry in sys.path if entry.startswith(sysconfig.get_path("stdlib"))]
    packages = [entry for entry in _package_folders() if entry in sys.path]
    return [*stdlib, *packages, *([] if str(_package().parent) in packages else [str(_package().parent)])]


def _mounts() -> Iterator[tuple[str, ...]]:
    """Read-only: system libraries, interpreter, packages, this package; then empty folders over what is not for here."""
    yield from (("--ro-bind-try", path, path) for path in LIBRARIES)
    for prefix in dict.fromkeys([sys.base_prefix, sys.base_exec_prefix, sys.prefix]):
        parts = (
            ("lib",) if prefix in SHARED else ("bin", "lib", "lib64", "pyvenv.cfg")
        )  # a folder of work may be one too
        shown = [*(f"{prefix}/{part}" for part in parts), os.path.realpath(sys.executable)]
        yield from (("--ro-bind-try", path, path) for path in shown)
    yield from (("--ro-bind-try", path, path) for path in _package_folders())
    package = str(_package())
    yield "--ro-bind", package, package
    for folder in (f"{package}/{name}" for name in HIDDEN if Path(package, name).is_dir()):
        yield "--tmpfs", folder
        if folder.endswith("/grade"):
            yield from (("--ro-bind", f"{folder}/{name}.py", f"{folder}/{name}.py") for name in NEEDED)
        yield "--remount-ro", folder


def _package_folders() -> list[str]:
    found = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    user = site.getusersitepackages()
    return list(dict.fromkeys([*found, *([user] if user in sys.path else [])]))


def _package() -> Path:
    return Path(__file__).resolve().parents[1]


# Inside


def give_up_root() -> None:
    """Becomes nobody, outside too: limits do not bind root."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        _call("prctl", PR_SET_DUMPABLE, 1, 0, 0, 0)  # else /proc/self stays root's, and no ids can be mapped


def leave_everything() -> None:
    """New namespaces of every kind, with the same user in them; the next fork is the first process of its own world."""
    user, group = os.getuid(), os.getgid()
    _call("unshare", sum(NEW_NAMESPACES.values()))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        Path("/proc/self", name).write_text(text)


def try_out() -> None:
    """All of the inside's steps, and a thread, which old kernels may refuse; ends with 0 where they worked."""
    give_up_root()
    leave_everything()
    process = os.fork()
    if process == 0:
        confine(Limits())
        threading.Thread(target=int).start()
    else:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))


def confine(limits: Limits) -> None:
    """Empty scratch space, no /proc, no capabilities, limits, and a short list of system calls that are no more."""
    import resource

    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _mount(SCRATCH, f"size={limits.scratch},nr_inodes=2000,mode=700")
    _mount("/dev/shm", f"size={limits.scratch // 4},nr_inodes=200,mode=700")
    _mount("/proc", "size=0,nr_inodes=1,mode=500")
    os.chdir(SCRATCH)
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _drop_capabilities()
    for kind, most in {
        resource.RLIMIT_CPU: limits.cpu,
        resource.RLIMIT_AS: held + limits.memory,
        resource.RLIMIT_NPROC: limits.threads,
        resource.RLIMIT_NOFILE: limits.files,
        resource.RLIMIT_FSIZE: limits.file_size,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }.items():
        resource.setrlimit(kind, (most, most))
    seccomp.refuse()


PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 4, 38, 24
CAPABILITIES_V3 = 0x20080522
LAST_CAPABILITY = 63
MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8


def _drop_capabilities() -> None:
    for number in range(LAST_CAPABILITY + 1):
        _libc().prctl(PR_CAPBSET_DROP, number, 0, 0, 0)  # an unknown number is refused, and is none to drop
    header = (ctypes.c_uint32 * 2)(CAPABILITIES_V3, 0)
    _call("capset", header, (ctypes.c_uint32 * 6)())


def _mount(where: str, options: str) -> None:
    _call("mount", b"tmpfs", where.encode(), b"tmpfs", ctypes.c_ulong(MS_NOSUID_NODEV_NOEXEC), options.encode())


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc(), name)(*arguments) != 0:
        code = ctypes.get_errno()
        given = " ".join(a.decode() for a in arguments if isinstance(a, bytes)) or arguments[0]
        raise OSError(code, f"{os.strerror(code)}: {name} {given}")


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
