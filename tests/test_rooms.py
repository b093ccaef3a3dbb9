"""A room imports only rooms above it (docs/architecture.md)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "aidl_jax"
ROOMS = [
    "errors", "files", "_compat", "graph", "autodiff", "_checks", "initializers", "recorder", "scope", "parameters", "flax_modules", "images",
    "ops", "losses", "models", "optimizer_checks", "schedules", "optimizers", "regularization", "racing", "race_plots", "data", "train", "serve",
    "exercise", "grade", "course",
]  # fmt: skip
# May import any room:
DOORS = [
    "cli", "command_parts", "board_command", "doctor_command", "grade_command", "gradescope_command", "graph_command",
    "predict_command", "release_command", "serve_command", "train_command", "watch_command", "pytest_plugin", "__init__", "__main__",
]  # fmt: skip
NUMPY_ONLY = ["exercise", "course"]


def imported(file: Path) -> Iterator[str]:
    """The modules that a file imports when it runs; those under `if TYPE_CHECKING:` are for tools."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for block in [
        one for one in ast.walk(tree) if isinstance(one, ast.If) and ast.unparse(one.test) == "TYPE_CHECKING"
    ]:
        block.body = [ast.Pass()]
    for one in ast.walk(tree):
        if isinstance(one, ast.Import):
            yield from (alias.name for alias in one.names)
        elif isinstance(one, ast.ImportFrom) and one.module is not None:
            yield from (f"{one.module}.{alias.name}" for alias in one.names)


def room_of(file: Path) -> str:
    inside = file.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


FILES = sorted(file for file in PACKAGE.rglob("*.py") if "handout" not in file.parts)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_above_it(file: Path) -> None:
    room = room_of(file)
    if room in DOORS:
        return
    allowed = ROOMS[: ROOMS.index(room) + 1]
    for name in imported(file):
        if name.startswith("aidl_jax."):
            assert name.split(".")[1] in allowed, f"{file.relative_to(PACKAGE)} imports {name}"
        if room in NUMPY_ONLY:
            assert name.split(".")[0] not in ("jax", "jaxlib", "flax", "optax"), f"{file} imports {name}"


def test_only_one_file_touches_private_names_of_jax() -> None:
    for file in FILES:
        private = [name for name in imported(file) if name.startswith(("jax._src", "jaxlib.mlir", "jax.extend"))]
        assert not private or file.name == "_compat.py", f"{file.relative_to(PACKAGE)} imports {private}"
