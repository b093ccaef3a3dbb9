"""Runs the code blocks of docs/static_and_dynamic.md in order and writes under each what it printed.

Run: .venv/bin/python benchmarks/static_and_dynamic.py [--print]
Everything on the page is deterministic for one version of JAX and one kind of processor, but for times and rounding:
times have a unit or stand behind a `~`, and `steady` masks them, what follows from them, and differences. A block that
ends in an error says so, ```python raises; one whose lines are told has a file's name in its first line, `# model.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import linecache
import os
import re
import traceback
from pathlib import Path
from types import CodeType
from typing import Any

PAGE = Path(__file__).resolve().parents[1] / "docs" / "static_and_dynamic.md"
BLOCK = re.compile(r"^```python( raises)?\n(.*?)^```\n(?:\n?```text\n.*?^```\n)?", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"# (\w+\.py)\n")
VARIES = re.compile(r"\b\d[\d.]* (?:ns|us|ms|s)\b|~[\d.,]+|compiling pays .*|difference from eager .*")
FILES: set[str] = set()


def main() -> None:
    """Writes the page anew, or prints it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--print", action="store_true", dest="shows", help="print the page in place of writing it")
    shows = parser.parse_args().shows
    os.environ["JAX_PLATFORMS"] = "cpu"
    page = regenerated(PAGE.read_text())
    print(page, end="") if shows else PAGE.write_text(page)


def regenerated(page: str) -> str:
    """The page with what its blocks print now."""
    names: dict[str, Any] = {"__name__": "page"}

    def run(block: re.Match[str]) -> str:
        raises, code = bool(block[1]), block[2]
        printed = executed(compiled(code, block.start()), names, raises)
        output = f"\n```text\n{printed}```\n" if printed else ""
        return f"```python{block[1] or ''}\n{code}```\n{output}"

    return BLOCK.sub(run, page)


def compiled(code: str, number: int) -> CodeType:
    """A block's code as a file called what the comment in its first line says, for errors and graphs to show."""
    name = NAME.match(code)
    file = name[1] if name else f"block_{number}.py"
    FILES.add(file)
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    return compile(code, file, "exec")


def executed(code: CodeType, names: dict[str, Any], raises: bool) -> str:
    """What a block prints; at the end, what it raises."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(code, names)
        except Exception as error:
            if not raises:
                raise
            print(told(error))
        else:
            if raises:
                raise SystemExit("a block marked `raises` did not raise")
    return printed.getvalue()


def told(error: Exception) -> str:
    """The lines of the page that led to an error, and the error."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in FILES]
    places = [f"{frame.filename}:{frame.lineno} ({frame.name})  {frame.line}" for frame in frames]
    return "\n".join([*places, f"{type(error).__name__}: {str(error).strip()}"])


def steady(page: str) -> str:
    """The page with times and rounding masked, and spaces that only align them made one."""
    return re.sub(r" {2,}", " ", VARIES.sub("~", page))


if __name__ == "__main__":
    main()
