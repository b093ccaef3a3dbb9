"""The recipe of the sandbox: what is in it, what is not, and what is said where there can be none."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import aidl_jax
from aidl_jax.grade import sandbox
from aidl_jax.grade.children import SETTINGS
from aidl_jax.grade.sandbox import INSTALL, Limits

PACKAGE = Path(aidl_jax.__file__).parent
REPOSITORY = PACKAGE.parent
LACKING = sandbox.lacking()
needs_sandbox = pytest.mark.skipif(LACKING is not None, reason=": ".join(LACKING or ()))


def inside(code: str) -> Any:
    """What a program in the outer sandbox prints, read as JSON."""
    command = [*sandbox.bubblewrap(), sys.executable, "-P", "-s", "-c", f"import json, os, sys\n{code}"]
    told = subprocess.run(command, capture_output=True, text=True, env=sandbox.environment() | SETTINGS)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


@needs_sandbox
def test_what_judges_is_not_there() -> None:
    code = (
        f"print(json.dumps([os.listdir({str(PACKAGE / 'grade')!r}), os.listdir({str(PACKAGE / 'course')!r}),"
        f"sorted(os.listdir({str(REPOSITORY)!r}))]))"
    )
    grade, course, beside = inside(code)
    assert set(grade) == {f"{name}.py" for name in sandbox.NEEDED}
    assert not {"judge.py", "session.py", "process.py", "answers.py", "classroom.py", "handin.py"} & {*grade}
    assert course == []
    assert {*beside} <= {"aidl_jax", ".venv", Path(sys.prefix).name}


@needs_sandbox
def test_the_environment_is_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIDL_SECRET", "7")
    found = inside("print(json.dumps(dict(os.environ)))")
    assert {name for name in found if name not in ("PWD", "LC_CTYPE")} == {*sandbox.environment(), *SETTINGS}
    assert (found["HOME"], found["TMPDIR"]) == ("/scratch", "/scratch")


@needs_sandbox
def test_nothing_can_be_written_but_scratch_files() -> None:
    code = """
folders = ['/', '/etc', '/usr/lib', '/dev', sys.prefix, os.path.dirname(os.__file__)]
print(json.dumps([[folder for folder in folders if os.access(folder, os.W_OK)], os.access('/scratch', os.W_OK), os.getcwd()]))
"""
    assert inside(code) == [[], True, "/scratch"]


@needs_sandbox
def test_there_is_no_network_and_nobody_else() -> None:
    code = """
import socket
processes = [int(name) for name in os.listdir('/proc') if name.isdigit()]
print(json.dumps([[name for _, name in socket.if_nameindex()], len(processes), os.uname().nodename]))
"""
    interfaces, processes, _ = inside(code)
    assert interfaces == ["lo"]
    assert processes == 2  # bubblewrap's own first process, and the program


@needs_sandbox
def test_the_program_can_become_somebody_else_and_nothing_more() -> None:
    code = "print(json.dumps(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('CapEff'))))"
    setting_ids = (1 << 6) | (1 << 7)  # CAP_SETGID, CAP_SETUID
    assert int(inside(code), 16) == (setting_ids if os.geteuid() == 0 else 0)


@needs_sandbox
def test_modules_are_found_in_the_same_places() -> None:
    code = f"sys.path[:] = {sandbox.inside_path()!r}\nimport jax, aidl_jax\nprint(json.dumps([jax.__file__, aidl_jax.__file__]))"
    import jax

    assert inside(code) == [jax.__file__, aidl_jax.__file__]
    assert "" not in sandbox.inside_path() and str(REPOSITORY / "tests") not in sandbox.inside_path()


@needs_sandbox
def test_there_is_a_sandbox_here() -> None:
    assert sandbox.lacking() is None


def lacking() -> tuple[str, str]:
    """What is lacking, found anew."""
    found = sandbox.lacking.__wrapped__()
    assert found is not None
    return found


def test_another_system_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    assert lacking() == (
        "the sandbox needs Linux, and this is darwin",
        "grade on Linux, in a container or a virtual machine",
    )


@pytest.mark.skipif(sys.platform != "linux", reason="that is said first elsewhere")
def test_bubblewrap_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert lacking() == ("bubblewrap is not installed", INSTALL)
    assert "sudo apt-get install bubblewrap" in INSTALL


def fake_bubblewrap(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """A program of that name, found first."""
    (folder / "bwrap").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.skipif(sys.platform != "linux", reason="that is said first elsewhere")
def test_an_unknown_processor_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_bubblewrap(monkeypatch, tmp_path, "exit 0")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    what, fix = lacking()
    assert what.startswith("the sandbox does not know this processor's system calls (")
    assert fix == "grade on x86-64 or ARM64"


@pytest.mark.skipif(sys.platform != "linux", reason="that is said first elsewhere")
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo warning >&2; echo 'bwrap: No permissions to create new namespace' >&2; exit 1",
         "bwrap: No permissions to create new namespace"),
        ("exit 3", "exit status 3"),
    ],
)  # fmt: skip
def test_namespaces_that_are_refused_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, said: str
) -> None:
    fake_bubblewrap(monkeypatch, tmp_path, script)
    what, fix = lacking()
    assert what == f"no sandbox can be made here ({said})"
    assert fix.startswith("allow user namespaces: sysctl kernel.unprivileged_userns_clone=1")
    assert "kernel.apparmor_restrict_unprivileged_userns=0" in fix and "--security-opt seccomp=unconfined" in fix


def test_a_step_that_fails_says_which() -> None:
    with pytest.raises(OSError, match=r": mount tmpfs /no/such/folder tmpfs size=1$"):
        sandbox._mount("/no/such/folder", "size=1")


def test_threads_grow_with_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    assert Limits().threads == 64 + 160
