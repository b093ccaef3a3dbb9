"""A course on disk: its exercises by name, their checks, sources and made files.

checks/course.toml                  title, sessions, the order of a session's exercises, what notebooks install
checks/s02_graphs/name.py           the `Exercise`
root/solutions/s02_graphs/name.py   lesson and solution (not in the wheel)
root/solutions/alternatives/s02_graphs/name/*.py    other accepted answers
root/exercises/s02_graphs/name.py   what students edit (made)
root/notebooks/s02_graphs.ipynb     the session's notebook (made)
"""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from aidl_jax.errors import CourseError, UsageError, close_matches
from aidl_jax.exercise.definition import Exercise
from aidl_jax.exercise.source import short_name

SESSION = re.compile(r"s\d\d_[a-z0-9_]+")
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Course:
    """Where a course's files are, and what `course.toml` says."""

    checks: Path
    root: Path
    title: str
    install: str
    sessions: dict[str, str]
    order: dict[str, list[str]] = field(default_factory=dict)

    def names(self) -> list[str]:
        """All exercises, `s02_graphs/linear_regression`, in order: what `course.toml` does not list comes last, by name."""

        def place(name: str) -> tuple[str, int, str]:
            session, _, stem = name.partition("/")
            listed = self.order.get(session, [])
            return session, listed.index(stem) if stem in listed else len(listed), stem

        found = self.checks.glob("s[0-9][0-9]_*/*.py")
        return sorted((f"{p.parent.name}/{p.stem}" for p in found if not p.name.startswith("_")), key=place)

    def resolve(self, short: str) -> str:
        """The one exercise that a short form names: `s02/linear_regression`, `linear_regression`, `s02`.

        Raises:
            UsageError: none, or more than one, is named so.
        """
        session, _, name = short.strip("/").removesuffix(".py").rpartition("/")
        session = session.rpartition("/")[2]
        every = [(full, *full.split("/")) for full in self.names()]
        exact = [full for full, s, n in every if n == name and s == session]
        exact = exact or [full for full, s, n in every if n == name and s.startswith(session)]
        found = exact or [full for full, s, n in every if n.startswith(name) and s.startswith(session)]
        found = found or [full for full, s, n in every if not session and s.startswith(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(f"{short!r} names more than one exercise", given=short, expected=" or ".join(found))
        raise UsageError(f"there is no exercise {short!r}", fix=close_matches(short, map(short_name, self.names())))

    def exercise(self, name: str) -> Exercise:
        """Loads an exercise's check file.

        Raises:
            CourseError: the file defines no `exercise`, or a task has no check.
        """
        path = self.checks / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"aidl_course.{name.replace('/', '.')}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up there
        try:
            spec.loader.exec_module(module)
        except CourseError:
            raise
        except Exception as error:
            raise CourseError(
                "a check file cannot be loaded", where=str(path), given=f"{type(error).__name__}: {error}"
            ) from error
        finally:
            del sys.modules[spec.name]
        exercise = getattr(module, "exercise", None)
        if not isinstance(exercise, Exercise):
            raise CourseError("a check file defines `exercise = Exercise(...)`", where=str(path))
        for task in exercise.tasks.values():
            if not task.checks:
                raise CourseError(f"the task {task.name!r} has no check", where=str(path), fix=f"@{task.name}.check")
        return exercise

    def solution(self, name: str) -> Path:
        """The author's source: lesson and solution."""
        return self.root / "solutions" / f"{name}.py"

    def alternatives(self, name: str) -> list[Path]:
        """Other accepted answers: files whose functions take the place of the solution's."""
        return sorted((self.root / "solutions" / "alternatives" / name).glob("*.py"))

    def student_file(self, name: str) -> Path:
        """The file that students edit, as it was made."""
        return self.root / "exercises" / f"{name}.py"

    def notebook(self, session: str) -> Path:
        """A session's notebook, as it was made."""
        return self.root / "notebooks" / f"{session}.ipynb"

    def session_names(self) -> list[str]:
        """The sessions that have exercises."""
        return sorted({name.split("/")[0] for name in self.names()})


def open_course(path: Path | None = None) -> Course:
    """This course, or the one in a folder of its own.

    Args:
        path: a folder with `course/course.toml`; None for the course that comes with the package.

    Raises:
        UsageError: the folder holds no course.
    """
    if path is not None:
        return _read(path / "course", path)
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent
    in_checkout = (checkout / "solutions").is_dir() and (checkout / "pyproject.toml").is_file()
    return _read(package / "course", checkout if in_checkout else package / "handout")


def _read(checks: Path, root: Path) -> Course:
    file = checks / "course.toml"
    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
        order = {session: list(names) for session, names in settings.get("order", {}).items()}
        course = Course(checks, root, settings["title"], settings["install"], dict(settings["sessions"]), order)
    except FileNotFoundError:
        raise UsageError("this folder holds no course", given=str(root), expected=f"a file {file}") from None
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError("course.toml cannot be read", where=str(file), given=str(error),
                         expected="title, install and a table [sessions]") from None  # fmt: skip
    absent = {f"{session}/{name}" for session in order for name in order[session]} - set(course.names())
    if absent:
        raise UsageError("course.toml puts an exercise in order that is not there", where=str(file),
                         given=min(absent), fix=close_matches(min(absent), course.names()))  # fmt: skip
    return course
