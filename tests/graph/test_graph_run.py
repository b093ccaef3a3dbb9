import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_benchmark_runs_and_its_contenders_agree():
    command = [sys.executable, ROOT / "benchmarks" / "graph_run.py", "--rounds", "1", "--calls", "1", "--no-tensorflow"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    committed = (ROOT / "benchmarks" / "results" / "graph_run.md").read_text()
    ours = [line for line in committed.splitlines() if line.startswith(("## ", "| `")) and "Session" not in line]
    measured = re.compile(r"[\d.]+ \|")
    assert [measured.sub("", line) for line in done.stdout.splitlines() if line.startswith(("## ", "| `"))] == [
        measured.sub("", line) for line in ours
    ]
