"""The command `aidl doctor`: what this machine can do for grading, and what to do about what it cannot."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click

__all__ = ["Finding", "doctor", "findings"]

PACKAGES = ("aidl-jax", "jax", "jaxlib", "numpy", "optax", "flax")
Finding = tuple[str, str, str | None]  # what was looked at, what was found, and the remedy where something is missing


@click.command()
def doctor() -> int:
    """Tell what this machine can do: versions, the sandbox, its limits. Exit code 1 where there can be no sandbox."""
    missing = False
    for what, found, remedy in findings():
        click.secho(f"{what:<12} {found}", fg="yellow" if remedy else None)
        if remedy:
            click.echo(f"{'':<12} Fix: {remedy}")
        missing = missing or (what == "sandbox" and remedy is not None)
    return 1 if missing else 0


def findings() -> Iterator[Finding]:
    """What there is to tell, the sandbox last."""
    from aidl_jax.grade import cgroups, sandbox

    yield (
        "python",
        f"{platform.python_version()} on {platform.system()} {platform.release()}, {platform.machine()}",
        None,
    )
    yield "cores", str(os.cpu_count()), None
    for package in PACKAGES:
        yield package, _version(package), None
    yield "bubblewrap", *_bubblewrap()
    yield "namespaces", _namespaces(), None
    limits = sandbox.Limits()
    yield "limits", (
        f"per process: {limits.cpu} s of processor time, {limits.memory >> 20:,} MiB of memory, {limits.threads} threads, "
        f"{limits.files} open files, files of {limits.file_size >> 20} MiB, {limits.scratch >> 20} MiB of scratch space"
    ), None  # fmt: skip
    group = cgroups.parent_group()
    yield "cgroups", f"version 2, groups are made in {group}" if isinstance(group, Path) else f"not used: {group}", None
    lacking = sandbox.lacking()
    yield "sandbox", *(lacking or ("works: tried just now", None))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _bubblewrap() -> tuple[str, str | None]:
    from aidl_jax.grade.sandbox import INSTALL

    try:
        return subprocess.run(["bwrap", "--version"], capture_output=True, text=True, check=True).stdout.split()[
            -1
        ], None
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "not installed", INSTALL


def _namespaces() -> str:
    """How many user namespaces the kernel allows, and what forbids them."""
    said = []
    for setting in (
        "user/max_user_namespaces",
        "kernel/unprivileged_userns_clone",
        "kernel/apparmor_restrict_unprivileged_userns",
    ):
        path = Path("/proc/sys", setting)
        if path.is_file():
            said.append(f"{path.name} = {path.read_text().strip()}")
    return ", ".join(said) or "this system has none"
