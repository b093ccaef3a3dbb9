"""A course on disk: names, short forms, and what is said of a course that is not there or malformed."""

from __future__ import annotations

from pathlib import Path

import pytest

from aidl_jax.errors import CourseError, UsageError
from aidl_jax.exercise.course import Course, open_course

TOML = 'title = "Small"\ninstall = "small"\n\n[sessions]\ns01_one = "One"\ns02_two = "Two"\n'
CHECKS = '''
from aidl_jax.exercise import Exercise, Hints
exercise = Exercise("A line")
task = exercise.task("predict", points=2, hints=Hints("a", "b", "c"))

@task.check
def holds(student, draw):
    """It holds."""
'''


def make(root: Path, *names: str, toml: str = TOML, checks: str = CHECKS) -> Course:
    """A course with these exercises, all alike."""
    (root / "course").mkdir()
    (root / "course" / "course.toml").write_text(toml, encoding="utf-8")
    for name in names:
        path = root / "course" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(checks, encoding="utf-8")
    return open_course(root)


def test_settings_are_read(tmp_path: Path) -> None:
    course = make(tmp_path)
    assert (course.title, course.install) == ("Small", "small")
    assert list(course.sessions.items()) == [("s01_one", "One"), ("s02_two", "Two")]


def test_names_are_in_order_and_only_of_exercises(tmp_path: Path) -> None:
    course = make(tmp_path, "s02_two/mlp", "s01_one/zeros", "s01_one/add", "s01_one/_shared", "drivers/scope")
    assert course.names() == ["s01_one/add", "s01_one/zeros", "s02_two/mlp"]
    assert course.session_names() == ["s01_one", "s02_two"]


ORDER = TOML + '\n[order]\ns01_one = ["zeros", "mlp"]\n'


def test_exercises_come_in_the_order_that_is_given_and_then_by_name(tmp_path: Path) -> None:
    names = ["s01_one/add", "s01_one/mlp", "s01_one/ones", "s01_one/zeros", "s02_two/mlp", "s02_two/add"]
    course = make(tmp_path, *names, toml=TOML)
    assert course.names() == sorted(names)
    (tmp_path / "course" / "course.toml").write_text(ORDER, encoding="utf-8")
    course = open_course(tmp_path)
    first = ["s01_one/zeros", "s01_one/mlp", "s01_one/add", "s01_one/ones"]
    assert course.names() == [*first, "s02_two/add", "s02_two/mlp"]
    assert course.session_names() == ["s01_one", "s02_two"]


def test_an_exercise_in_order_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        make(tmp_path, "s01_one/zero", "s01_one/mlp", toml=ORDER)
    assert str(refused.value).startswith(
        f"{tmp_path / 'course' / 'course.toml'}: course.toml puts an exercise in order that is not there: "
        "given s01_one/zeros. Fix: did you mean 's01_one/zero'"
    )


@pytest.mark.parametrize("order", ["order = 3", "[order]\ns01_one = 3"])
def test_an_order_that_is_no_table_of_lists(tmp_path: Path, order: str) -> None:
    head, _, sessions = TOML.partition("[sessions]")
    toml = f"{head}{order}\n[sessions]{sessions}"
    with pytest.raises(UsageError, match=r"course\.toml cannot be read"):
        make(tmp_path, "s01_one/zeros", toml=toml)


def test_a_course_without_exercises(tmp_path: Path) -> None:
    course = make(tmp_path)
    assert (course.names(), course.session_names()) == ([], [])


@pytest.mark.parametrize(
    "short",
    [
        "s02_two/linear_regression",
        "s02/linear_regression",
        "linear_regression",
        "linear_reg",
        "s02/linear_r",
        "s02_two/linear_regression.py",
        "exercises/s02_two/linear_regression.py",
        "/home/me/exercises/s02_two/linear_regression.py",
        "./exercises/s02_two/linear_regression.py",
        "s02_two/linear_regression/",
    ],
)
def test_short_forms(tmp_path: Path, short: str) -> None:
    course = make(tmp_path, "s02_two/linear_regression", "s02_two/mlp", "s01_one/linear")
    assert course.resolve(short) == "s02_two/linear_regression"


def test_a_name_that_begins_another_is_exact(tmp_path: Path) -> None:
    course = make(tmp_path, "s01_one/linear", "s01_one/linear_regression")
    assert course.resolve("linear") == "s01_one/linear"


def test_a_full_name_is_never_ambiguous(tmp_path: Path) -> None:
    course = make(tmp_path, "s01_one/mlp", "s01_one_more/mlp")
    assert course.resolve("s01_one/mlp") == "s01_one/mlp"
    assert course.resolve("s01_one_more/mlp") == "s01_one_more/mlp"


@pytest.mark.parametrize(
    ("short", "expected"), [("mlp", "s01_one/mlp or s02_two/mlp"), ("s02/m", "s02_two/max or s02_two/mlp")]
)
def test_an_ambiguous_form_lists_what_it_may_mean(tmp_path: Path, short: str, expected: str) -> None:
    course = make(tmp_path, "s01_one/mlp", "s02_two/mlp", "s02_two/max")
    with pytest.raises(UsageError) as refused:
        course.resolve(short)
    assert str(refused.value) == f"{short!r} names more than one exercise: given {short}, expected {expected}"


@pytest.mark.parametrize("short", ["s01/mlp", "s01_one/mpl", "gradients"])
def test_a_form_that_names_nothing(tmp_path: Path, short: str) -> None:
    course = make(tmp_path, "s02_two/mlp")
    with pytest.raises(UsageError, match=f"^there is no exercise '{short}'. Fix: .*'s02/mlp'"):
        course.resolve(short)


def test_an_exercise_is_loaded_with_its_tasks(tmp_path: Path) -> None:
    exercise = make(tmp_path, "s01_one/line").exercise("s01_one/line")
    assert (exercise.title, list(exercise.tasks), exercise.points) == ("A line", ["predict"], 2)
    assert exercise.tasks["predict"].checks[0].description == "It holds."


def test_loading_twice_gives_two_exercises(tmp_path: Path) -> None:
    course = make(tmp_path, "s01_one/line")
    first = course.exercise("s01_one/line")
    assert len(first.tasks["predict"].checks) == len(course.exercise("s01_one/line").tasks["predict"].checks) == 1


@pytest.mark.parametrize("checks", ["x = 1\n", "exercise = 'A line'\n"])
def test_a_check_file_without_an_exercise(tmp_path: Path, checks: str) -> None:
    course = make(tmp_path, "s01_one/line", checks=checks)
    with pytest.raises(CourseError, match=r"line\.py: a check file defines `exercise = Exercise\(\.\.\.\)`$"):
        course.exercise("s01_one/line")


def test_a_task_without_a_check(tmp_path: Path) -> None:
    course = make(tmp_path, "s01_one/line", checks=CHECKS.partition("@task")[0])
    with pytest.raises(CourseError, match=r"line\.py: the task 'predict' has no check\. Fix: @predict\.check$"):
        course.exercise("s01_one/line")


def test_files_stand_where_the_layout_says(tmp_path: Path) -> None:
    course = make(tmp_path, "s01_one/line")
    assert course.solution("s01_one/line") == tmp_path / "solutions" / "s01_one" / "line.py"
    assert course.student_file("s01_one/line") == tmp_path / "exercises" / "s01_one" / "line.py"
    assert course.notebook("s01_one") == tmp_path / "notebooks" / "s01_one.ipynb"


def test_alternatives_are_found_in_order(tmp_path: Path) -> None:
    course = make(tmp_path, "s01_one/line")
    assert course.alternatives("s01_one/line") == []
    folder = tmp_path / "solutions" / "alternatives" / "s01_one" / "line"
    folder.mkdir(parents=True)
    for name in ("einsum.py", "dot.py", "notes.md"):
        (folder / name).touch()
    assert [path.name for path in course.alternatives("s01_one/line")] == ["dot.py", "einsum.py"]


def test_a_folder_without_a_course(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        open_course(tmp_path)
    assert str(refused.value) == (
        f"this folder holds no course: given {tmp_path}, expected a file {tmp_path / 'course' / 'course.toml'}"
    )


@pytest.mark.parametrize(
    "toml",
    [
        "",
        "title = ",
        'title = "a"\n[sessions]\n',
        'title = "a"\ninstall = "b"\n',
        'title="a"\ninstall="b"\nsessions="c"\n',
    ],
)
def test_a_malformed_course_toml(tmp_path: Path, toml: str) -> None:
    with pytest.raises(
        UsageError, match=r"course\.toml: course\.toml cannot be read: given .*title, install and a table"
    ):
        make(tmp_path, toml=toml)


def test_a_course_toml_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "course").mkdir()
    (tmp_path / "course" / "course.toml").write_bytes(b'title = "\xff"')
    with pytest.raises(UsageError, match=r"course\.toml cannot be read"):
        open_course(tmp_path)


def test_the_packages_own_course_opens() -> None:
    course = open_course()
    graphs = [name.partition("/")[2] for name in course.names() if name.startswith("s02_graphs/")]
    assert graphs == ["dag", "state", "linear_regression"]
    assert set(course.session_names()) <= set(course.sessions)
    assert course.resolve("s02/linear_regression") == "s02_graphs/linear_regression"
