"""The same sandbox, started by somebody who is not root: some of the attacks again, in a pytest of that user's own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SUBSET = {
    "test_forgery.py": ["a verdict on every descriptor", "its group"],
    "test_limits.py": ["a lock held in C: a power", "os.fork", "NumPy", "a full disk"],
    "test_isolation.py": ["the environment", "mounting", "somebody else", "packages, caches", "AF_VSOCK"],
    "test_functions.py": ["custom call of system", "half of the bytes"],
}
AS_ROOT = ("bwrap", "--bind", "/", "/", "--dev-bind", "/dev", "/dev", "--cap-drop", "ALL", "--cap-add", "CAP_SETUID",
           "--cap-add", "CAP_SETGID", "--die-with-parent")  # fmt: skip
PYTEST = ("-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider")
BECOME = """
import os, sys
os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)
os.environ["HOME"] = "/tmp"
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="all tests run as an ordinary user already")
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
def test_the_sandbox_of_an_ordinary_user_withstands_too() -> None:
    files = [str(HERE / name) for name in SUBSET]
    tests = chosen(files)
    assert len(tests) == sum(map(len, SUBSET.values()))
    told = as_somebody("-c", "import os; print(os.getresuid())")
    assert told.stdout == "(1000, 1000, 1000)\n", told.stderr
    told = as_somebody(*PYTEST, "-q", *tests)
    assert told.returncode == 0, told.stdout[-4_000:]
    assert f"{len(tests)} passed" in told.stdout


@pytest.mark.slow  # minutes: one after another
@pytest.mark.skipif(os.geteuid() != 0, reason="all tests run as an ordinary user already")
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")
@pytest.mark.parametrize("name", SUBSET)
def test_the_sandbox_of_an_ordinary_user_withstands_every_attack(name: str) -> None:
    told = as_somebody(*PYTEST, "-q", "-k", "not mutated", str(HERE / name))
    assert told.returncode == 0, told.stdout[-4_000:]
    assert " passed" in told.stdout and "skipped" not in told.stdout and "failed" not in told.stdout


def chosen(files: list[str]) -> list[str]:
    """The names that pytest has for the attacks of the subset."""
    listed = subprocess.run([sys.executable, *PYTEST, "--collect-only", "-q", *files], capture_output=True, text=True)
    names = re.findall(r"^\S*(test_\w+\.py::.*)$", listed.stdout, re.MULTILINE)
    wanted = [(file, part) for file, parts in SUBSET.items() for part in parts]
    return [f"{HERE}/{name}" for file, part in wanted for name in names if name.startswith(file) and part in name]


def as_somebody(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python as user 1000, who can read this interpreter and this checkout wherever they are, and write neither."""
    shown = [word for path in dict.fromkeys([sys.base_prefix, sys.prefix, str(HERE)]) for word in opened(Path(path))]
    command = [*AS_ROOT, *shown, "--", sys.executable, "-c", BECOME, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def opened(path: Path) -> list[str]:
    """What it takes to show a folder that lies in one which is root's alone, such as /root."""
    above = list(reversed(path.parents))
    closed = [folder for folder in above if not folder.stat().st_mode & 1]
    if not closed:
        return []
    between = above[above.index(closed[0]) + 1 :]
    folders = [word for folder in between for word in ("--perms", "0755", "--dir", str(folder))]
    return ["--perms", "0755", "--tmpfs", str(closed[0]), *folders, "--ro-bind", str(path), str(path)]
