"""`aidl doctor`: what it looks at, and what it says of what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from aidl_jax.cli import cli
from aidl_jax.doctor_command import findings
from aidl_jax.grade import cgroups, sandbox


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """What was found with another PATH does not hold."""
    sandbox.lacking.cache_clear()
    yield
    sandbox.lacking.cache_clear()


def test_everything_is_told_and_the_sandbox_last() -> None:
    told = {what: found for what, found, _ in findings()}
    assert list(told)[-1] == "sandbox"
    assert told.keys() >= {"python", "cores", "jax", "numpy", "bubblewrap", "namespaces", "limits", "cgroups"}
    assert told["limits"].startswith("per process: 120 s of processor time, 2,048 MiB of memory")


def test_a_machine_without_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ran = CliRunner().invoke(cli, ["doctor"], standalone_mode=False)
    assert ran.return_value == 1
    assert "bubblewrap   not installed\n" in ran.output
    assert ran.output.splitlines()[-2:] == [
        "sandbox      bubblewrap is not installed",
        "             Fix: install it: sudo apt-get install bubblewrap (or your distribution's package of that name)",
    ]


@pytest.mark.parametrize(("reason", "code"), [(None, 0), (("no", "do that"), 1)])
def test_the_exit_code_tells_whether_there_is_a_sandbox(
    monkeypatch: pytest.MonkeyPatch, reason: object, code: int
) -> None:
    monkeypatch.setattr(sandbox, "lacking", lambda: reason)
    ran = CliRunner().invoke(cli, ["doctor"], standalone_mode=False)
    assert ran.return_value == code
    assert ran.output.endswith("works: tried just now\n" if code == 0 else "             Fix: do that\n")


def test_where_groups_can_be_made(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("1:name=systemd:/x\n0::/slice/scope\n")
    root = tmp_path / "root"
    (root / "slice" / "scope").mkdir(parents=True)
    assert cgroups.parent_group(root, own) == "this machine has no control groups of version 2"
    (root / "cgroup.controllers").write_text("cpu memory pids")
    (root / "slice" / "cgroup.procs").write_text("")
    control = root / "slice" / "cgroup.subtree_control"
    control.write_text("cpu memory")
    assert cgroups.parent_group(root, own) == "we may not make groups with limits on memory and pids beside our own"
    control.write_text("cpu memory pids")
    assert cgroups.parent_group(root, own) == root / "slice"


def test_a_fork_gets_a_group_with_its_limits(tmp_path: Path) -> None:
    groups = cgroups.Groups(tmp_path)
    (folder,) = tmp_path.iterdir()
    assert (folder / "cgroup.subtree_control").read_text() == "+memory +pids"
    limits = sandbox.Limits(memory=1000, scratch=24, threads=7)
    one, other = groups.hold(41, limits), groups.hold(42, limits)
    assert one.folder != other.folder
    written = {path.name: path.read_text() for path in one.folder.iterdir()}
    assert written == {"memory.max": "1024", "memory.swap.max": "0", "pids.max": "7", "cgroup.procs": "41"}
    assert not one.out_of_memory()
    (one.folder / "memory.events").write_text("low 0\noom 3\noom_kill 0\n")
    assert not one.out_of_memory()
    (one.folder / "memory.events").write_text("low 0\noom 3\noom_kill 1\noom_group_kill 0\n")
    assert one.out_of_memory()
    one.close()
    assert (one.folder / "cgroup.kill").read_text() == "1"
