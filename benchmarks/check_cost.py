"""What a command costs beside importing JAX, on this machine.

Run: .venv/bin/python benchmarks/check_cost.py [--rounds 7] > benchmarks/results/check_cost.md
Each round runs every command once, in turn; the table gives medians of wall time and ratios to `import jax`.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aidl_jax.grade.judge import versions

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    aidl = [sys.executable, "-m", "aidl_jax"]
    solved = ROOT / "solutions"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*aidl, "start", folder], check=True, stdout=subprocess.DEVNULL)
        commands = {
            "`import jax`": [sys.executable, "-c", "import jax"],
            "`import jax`, one jitted function": [sys.executable, "-c", "import jax; jax.jit(lambda x: x + 1)(1.0)"],
            "`aidl --help`": [*aidl, "--help"],
            "`aidl`": aidl,
            "`aidl check`, nothing written yet": [*aidl, "check"],
            "`aidl check` of a solved linear regression": [*aidl, "check", f"{solved}/s02_graphs/linear_regression.py"],
            "`aidl check` of a solved shuffle buffer": [*aidl, "check", f"{solved}/s05_toolbox/shuffle_buffer.py"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds + 1):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(found[1:]) for name, found in times.items()}  # the first round warms files
    about = ", ".join(f"{name} {version}" for name, version in versions().items())
    print(f"# Cost of commands\n\n{about}; {platform.machine()}, {os.cpu_count()} cores; medians of {rounds} rounds.\n")
    print("| command | seconds | times `import jax` |\n|---|---:|---:|")
    base = medians["`import jax`"]
    for name, seconds in medians.items():
        print(f"| {name} | {seconds:.2f} | {seconds / base:.2f} |")


if __name__ == "__main__":
    main()
