"""Hand-ins as they really come: hostile zips, broken notebooks, odd encodings, and whose answer is whose."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from aidl_jax.errors import HandInError
from aidl_jax.exercise import Exercise, Hints
from aidl_jax.exercise.course import open_course
from aidl_jax.grade import handin
from aidl_jax.grade.assigning import answered, assign
from aidl_jax.grade.handin import MAX_FILE, MAX_FILES, MAX_TOTAL, read_document
from aidl_jax.grade.inbox import read_inbox
from aidl_jax.grade.manifest import Manifest

HINTS = Hints("a", "b", "c")


def read_hand_in(path: Path) -> tuple[list[handin.Document], dict[str, str]]:
    """One part of a hand-in, under its own name."""
    documents, problems, manifest = handin.read_hand_in((handin.as_text(path.name), path))
    assert manifest == Manifest()
    return documents, problems


def make_exercise(*tasks: str) -> Exercise:
    exercise = Exercise("An exercise")
    for task in tasks:
        exercise.task(task, points=1, hints=HINTS)
    return exercise


LINES, SHUFFLE = "s02_graphs/lines", "s05_toolbox/shuffle"
EXERCISES = {LINES: make_exercise("predict", "loss"), SHUFFLE: make_exercise("shuffle", "batch")}
BOTH_LINES = "def predict(x): return x\ndef loss(x): return x\n"


def notebook(*sources: Any, **more: Any) -> str:
    cells = [{"cell_type": "code", "source": source, "metadata": {}, "outputs": []} for source in sources]
    return json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}} | more)


def document(name: str, text: str) -> handin.Document:
    return read_document(name, text.encode())


def write_zip(path: Path, members: Mapping[str, bytes | str], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


# One document


@pytest.mark.oldest
@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"x = 1\n", "x = 1\n"),
        (b"\xef\xbb\xbfx = 1\n", "x = 1\n"),
        (b"x = 1\r\ny = 2\r\n", "x = 1\ny = 2\n"),
        (b"x = 1\ry = 2\r", "x = 1\ny = 2\n"),
        ("# é 漢\n".encode(), "# é 漢\n"),
        (b"", ""),
        (b"def f(:\n", "def f(:\n"),  # that Python cannot read it is said later, by line
    ],
)
def test_a_python_file_is_one_cell(data: bytes, text: str) -> None:
    found = read_document("week 1/answer.py", data)
    assert found.name == "week 1/answer.py"
    assert [(cell.label, cell.text) for cell in found.cells] == [("answer.py", text)]
    assert found.text == text


def test_a_notebook_is_its_code_cells() -> None:
    cells = [
        {"cell_type": "markdown", "source": "# Title"},
        {"cell_type": "code", "source": ["x = 1\n", "y = 2"]},
        {"cell_type": "raw", "source": "raw"},
        {"cell_type": "code", "source": "z = 3"},
        {"cell_type": "code"},
    ]
    found = read_document("a.ipynb", json.dumps({"cells": cells}).encode("utf-8-sig"))
    assert [(cell.label, cell.text) for cell in found.cells] == [
        ("cell 2", "x = 1\ny = 2"),
        ("cell 4", "z = 3"),
        ("cell 5", ""),
    ]
    assert found.text == "x = 1\ny = 2\nz = 3\n"


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.py", "x = 'é'\n".encode("utf-16"), "a.py: the file is not UTF-8 text: given byte 0xff in line 1. Fix: save it as UTF-8"),
        ("a.py", "x = 'é'\n".encode("utf-16-le"), "a.py: the file is not UTF-8 text: given byte 0xe9 in line 1. Fix: save it as UTF-8"),
        ("a.py", "x = 1\n".encode("utf-16-le"), "a.py: the file is binary, not text. Fix: save it as UTF-8 text"),
        ("a.py", b"\xef\xbb\xbfx = 1\ny = '\xe9'\n", "a.py: the file is not UTF-8 text: given byte 0xe9 in line 2. Fix: save it as UTF-8"),
        ("a.py", b"x = 1\0", "a.py: the file is binary, not text. Fix: save it as UTF-8 text"),
        ("a.py", b"\x7fELF\x02\x01\x01" + bytes(9), "a.py: the file is binary, not text. Fix: save it as UTF-8 text"),
        ("a.py", b" " * (10 * 1024 * 1024), "a.py: the file is too large: expected at most 5,242,880 bytes. Fix: take its data out of it"),
        ("a.ipynb", b"", "a.ipynb: the notebook is not JSON: given Expecting value: line 1 column 1 (char 0). Fix: download it again as .ipynb (File > Download)"),
        ("a.ipynb", b"<html>", "a.ipynb: the notebook is not JSON: given Expecting value: line 1 column 1 (char 0). Fix: download it again as .ipynb (File > Download)"),
        ("A.IPYNB", b"def f(): pass", "A.IPYNB: the notebook is not JSON: given Expecting value: line 1 column 1 (char 0). Fix: download it again as .ipynb (File > Download)"),
        ("a.ipynb", b"[]", 'a.ipynb: the file is JSON but not a notebook of format 4: expected a list "cells"'),
        ("a.ipynb", b'{"worksheets": []}', 'a.ipynb: the file is JSON but not a notebook of format 4: expected a list "cells"'),
        ("a.ipynb", b'{"cells": {}}', 'a.ipynb: the file is JSON but not a notebook of format 4: expected a list "cells"'),
        ("a.ipynb", b'{"cells": [3]}', "a.ipynb, cell 1: a cell has no text. Fix: download the notebook again"),
        ("a.ipynb", notebook("x", ["y", 3]).encode(), "a.ipynb, cell 2: a cell has no text. Fix: download the notebook again"),
        ("a.ipynb", b'{"cells": [{"cell_type": "code", "source": "\\ud800"}]}', "a.ipynb, cell 1: a cell holds what is no text: given a null byte or half a character. Fix: write the cell again"),
        ("a.ipynb", b'{"cells": [{"cell_type": "code", "source": "x\\u0000"}]}', "a.ipynb, cell 1: a cell holds what is no text: given a null byte or half a character. Fix: write the cell again"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said_in_one_line(name: str, data: bytes, expected: str) -> None:
    with pytest.raises(HandInError) as error:
        read_document(name, data)
    assert str(error.value) == expected


@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"cells":' * 100_000, b'{"cells": [' + b"9" * 10_000 + b"]}"])
def test_json_made_to_break_a_parser(data: bytes) -> None:
    with pytest.raises(HandInError, match=r"^a\.ipynb: the notebook is not JSON: given "):
        read_document("a.ipynb", data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CELLS = st.lists(
    JSON | st.fixed_dictionaries({}, optional={"cell_type": JSON | st.just("code"), "source": JSON}), max_size=4
)


@given(
    name=st.sampled_from(["a.py", "a.ipynb", "a/b.IPYNB", "x", ""]),
    data=st.binary(max_size=200)
    | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.text().map(lambda text: text.encode("utf-16", "surrogatepass"))
    | JSON.map(lambda value: json.dumps(value).encode())
    | CELLS.map(lambda cells: json.dumps({"cells": cells}).encode()),
)
@example("a.ipynb", b'{"cells": [{"cell_type": "code", "source": "\\udcff"}]}')
@settings(max_examples=400, deadline=None)
def test_any_bytes_give_text_or_a_hand_in_error(name: str, data: bytes) -> None:
    try:
        found = read_document(name, data)
    except HandInError as refused:
        said = str(refused)
    else:
        said = name
        assert all("\0" not in cell.text and "\r" not in cell.text for cell in found.cells if name != "a.ipynb")
        found.text.encode("utf-8")  # it can be sent and written
    assert said.startswith(name) and "\n" not in said


# Zips


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ("../evil.py", "a name in the zip points outside it: given '../evil.py'"),
        ("a/../../evil.py", "a name in the zip points outside it: given 'a/../../evil.py'"),
        ("..\\evil.py", "a name in the zip points outside it: given '..\\\\evil.py'"),
        ("/etc/evil.py", "a name in the zip points outside it: given '/etc/evil.py'"),
        ("\\evil.py", "a name in the zip points outside it: given '\\\\evil.py'"),
        ("C:\\evil.py", "a name in the zip points outside it: given 'C:\\\\evil.py'"),
        ("../evil.txt", "a name in the zip points outside it: given '../evil.txt'"),
    ],
)
def test_names_that_point_outside(tmp_path: Path, member: str, expected: str) -> None:
    path = write_zip(tmp_path / "inbox.zip", {"good.py": "x = 1", member: "x = 2"})
    assert read_hand_in(path) == ([], {"inbox.zip": expected})
    assert [p.name for p in tmp_path.rglob("*")] == ["inbox.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip(tmp_path: Path, kind: int) -> None:
    member = zipfile.ZipInfo("answer.py")
    member.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(member, "/etc/passwd")
    documents, problems = read_hand_in(tmp_path / "a.zip")
    assert not documents
    assert problems == {"a.zip": "the zip holds a link or a device: given 'answer.py'"}


def patched(path: Path, change: Callable[[bytearray], None]) -> Path:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    return path


def flag_as_encrypted(data: bytearray) -> None:
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1


def test_an_encrypted_zip(tmp_path: Path) -> None:
    path = patched(write_zip(tmp_path / "a.zip", {"answer.py": "x = 1"}), flag_as_encrypted)
    assert read_hand_in(path) == ([], {"a.zip": "the zip is encrypted: given 'answer.py'"})


def test_a_bomb(tmp_path: Path) -> None:
    bomb = {f"{number}.py": b" " * MAX_FILE for number in range(11)}
    path = write_zip(tmp_path / "bomb.zip", bomb, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    expected = f"the zip is too large when unpacked: expected at most {MAX_TOTAL:,} bytes"
    assert read_hand_in(path) == ([], {"bomb.zip": expected})


def test_a_bomb_that_lies_about_its_size(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "bomb.zip", {"a.py": b" " * (MAX_FILE * 4)}, zipfile.ZIP_DEFLATED)

    def say_ten_bytes(data: bytearray) -> None:
        for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
            at = data.index(signature) + offset
            data[at : at + 4] = (10).to_bytes(4, "little")

    documents, problems = read_hand_in(patched(path, say_ten_bytes))
    assert not documents
    assert problems["bomb.zip"].startswith("the zip cannot be read: given Bad CRC-32")


def test_too_many_files(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"{number}.txt": "" for number in range(MAX_FILES + 1)}
    path = write_zip(tmp_path / "a.zip", files)
    assert read_hand_in(path)[1]["a.zip"].startswith("the zip's list of files is too long: given 501 files in ")

    def say_one(data: bytearray) -> None:
        struct.pack_into("<2H", data, data.rindex(b"PK\5\6") + 8, 1, 1)

    expected = {"a.zip": "the zip has too many files: given 501, expected at most 500"}
    assert read_hand_in(patched(path, say_one))[1] == expected
    folder = tmp_path / "ada"
    folder.mkdir()
    for number in range(MAX_FILES + 1):
        (folder / f"{number}.py").touch()
    assert read_hand_in(folder) == ([], {"ada": "there are too many files: expected at most 500"})


def test_a_folder_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handin, "MAX_TOTAL", 1_000)
    folder = tmp_path / "ada"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.py").write_text("#" * 400)
    assert read_hand_in(folder) == ([], {"ada": "the folder is too large: expected at most 1,000 bytes"})
    for number in range(3):
        (folder / f"{number}.py").unlink()
        write_zip(folder / f"{number}.zip", {"a.py": "#" * 400}, zipfile.ZIP_DEFLATED)
    documents, problems = read_hand_in(folder)
    assert [d.name for d in documents] == ["0.zip/a.py", "1.zip/a.py"]
    assert problems == {"2.zip": "the hand-in is too large when unpacked: expected at most 500 files and 1,000 bytes"}


def test_all_that_one_student_handed_in_has_one_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handin, "MAX_TOTAL", 1_000)
    parts = [(f"{number}.py", tmp_path / f"{number}.py") for number in range(4)]
    for (_, path), size in zip(parts, [400, 600, 1, 0], strict=True):
        path.write_text("#" * size)
    documents, problems, _ = handin.read_hand_in(*parts)
    assert [d.name for d in documents] == ["0.py", "1.py", "3.py"]
    assert problems == {"2.py": "the hand-in is too large when unpacked: expected at most 500 files and 1,000 bytes"}


def test_a_bomb_of_zips_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handin, "MAX_TOTAL", 1 << 20)
    monkeypatch.setattr(handin, "MAX_FILE", 1 << 18)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(4):
            archive.writestr(f"{number}.py", b" " * (250 << 10))
    members: dict[str, bytes | str] = {f"{number}.zip": buffer.getvalue() for number in range(8)}
    path = write_zip(tmp_path / "bomb.zip", members, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    tracemalloc.start()
    try:
        found = read_hand_in(path)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    expected = "the hand-in is too large when unpacked: expected at most 500 files and 1,048,576 bytes"
    assert found == ([], {"bomb.zip": expected})
    assert held < 2 << 20  # it would be 8 MiB


@pytest.mark.parametrize("cut", [0, 1, 30, 60, -1])
def test_what_is_no_zip_or_only_part_of_one(tmp_path: Path, cut: int) -> None:
    path = write_zip(tmp_path / "a.zip", {"answer.py": "x = 1\n" * 50})
    patched(path, lambda data: data.__delitem__(slice(cut, None)))
    documents, problems = read_hand_in(path)
    assert not documents
    assert problems["a.zip"].startswith("the zip cannot be read: given ")
    assert problems["a.zip"].endswith(" Fix: make the zip anew")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_zip_is_read_or_refused(tmp_path: Path, method: int, data: st.DataObject) -> None:
    path = write_zip(tmp_path / "a.zip", {"answer.py": "x = 1\n" * 20, "n.ipynb": notebook("x = 1")}, method)
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    documents, problems = read_hand_in(path)  # raises nothing
    assert all(isinstance(text, str) and text for text in problems.values())
    assert all(text == "x = 1\n" * 20 for text in (d.text for d in documents if d.name == "answer.py"))


def test_of_a_zip_only_answers_are_read(tmp_path: Path) -> None:
    members: dict[str, bytes | str] = {
        "s02/answer.py": "x = 1",
        "S02/OTHER.PY": "x = 2",
        "__MACOSX/s02/._answer.py": b"\0\0",
        ".ipynb_checkpoints/n.ipynb": "{}",
        "__pycache__/answer.cpython-311.pyc": b"\0",
        "notes.txt": "notes",
        "data.py/": "",
    }
    documents, problems = read_hand_in(write_zip(tmp_path / "a.zip", members))
    assert sorted(d.name for d in documents) == ["S02/OTHER.PY", "s02/answer.py"]
    assert not problems


def test_zips_in_zips_are_read_three_deep(tmp_path: Path) -> None:
    def zipped(members: dict[str, bytes | str]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return buffer.getvalue()

    nested = {"answer.py": "x = 0"}
    for depth in range(1, 4):
        nested = {"answer.py": f"x = {depth}", "in.zip": zipped(nested)}  # type: ignore[dict-item]
    documents, problems = read_hand_in(write_zip(tmp_path / "a.zip", nested))
    assert {d.name: d.text for d in documents} == {
        "answer.py": "x = 3", "in.zip/answer.py": "x = 2", "in.zip/in.zip/answer.py": "x = 1",
        "in.zip/in.zip/in.zip/answer.py": "x = 0",
    }  # fmt: skip
    assert problems == {}
    deeper = write_zip(tmp_path / "b.zip", {"in.zip": zipped(nested)})  # type: ignore[dict-item]
    expected = {"b.zip": "zips stand too deep in zips: given 'in.zip', expected at most 3 deep"}
    assert read_hand_in(deeper) == ([], expected)


def test_many_small_zips_in_a_zip_are_one_hand_in(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(100):
            archive.writestr(f"{number}.py", "x = 1")
    bomb: dict[str, bytes | str] = {f"{number}.zip": buffer.getvalue() for number in range(6)}
    documents, problems = read_hand_in(write_zip(tmp_path / "bomb.zip", bomb))
    expected = f"the hand-in is too large when unpacked: expected at most {MAX_FILES} files and {MAX_TOTAL:,} bytes"
    assert (documents, problems) == ([], {"bomb.zip": expected})


def test_the_manifest_is_read_and_not_believed(tmp_path: Path) -> None:
    told = {"versions": {"jax": "0.9.0", "numpy": 3, "x" * 99: "1"}, "exercises": {
        LINES: {"hints": {"predict": 2, "loss": 99, "fit": True, "b": -1}, "blake2b": "ab", "points": 100}, "other": 7}}  # fmt: skip
    path = write_zip(tmp_path / "a.zip", {"aidl.json": json.dumps(told), "answer.py": "x = 1"})
    documents, problems, manifest = handin.read_hand_in(("a.zip", path))
    assert [d.name for d in documents] == ["answer.py"] and not problems
    assert manifest.versions == {"jax": "0.9.0", "x" * 60: "1"}
    assert manifest.hints == {LINES: {"predict": 2}, "other": {}}
    assert manifest.differing({"jax": "0.10.2", "numpy": "2"}) == ["handed in with jax 0.9.0, graded with 0.10.2"]
    path = write_zip(tmp_path / "b.zip", {"aidl.json": "[" * 100_000})
    assert list(handin.read_hand_in(("b.zip", path))[1]) == ["aidl.json"]
    path = write_zip(tmp_path / "c.zip", {"aidl.json": "[1, 2]"})
    assert handin.read_hand_in(("c.zip", path)) == ([], {}, Manifest())


def test_what_the_manifest_says_can_be_written(tmp_path: Path) -> None:
    half = "\ud800"  # JSON can spell half a character; no file can hold it
    hinted = {"hints": {half: 1, "predict": 2}}
    told = {"versions": {"jax": half, half: "1", "numpy": "2é😀"}, "exercises": {half: hinted, LINES: hinted}}
    path = write_zip(tmp_path / "a.zip", {"aidl.json": json.dumps(told)})
    documents, problems, manifest = handin.read_hand_in(("a.zip", path))
    assert (documents, problems) == ([], {})
    assert manifest == Manifest({"numpy": "2é😀"}, {LINES: {"predict": 2}})


def test_one_broken_file_leaves_the_others_be(tmp_path: Path) -> None:
    members: dict[str, bytes | str] = {"good.py": "x = 1", "bad.py": b"\xff", "worse.ipynb": "no"}
    for path in (write_zip(tmp_path / "a.zip", members), tmp_path / "ada"):
        if path.suffix != ".zip":
            path.mkdir()
            for name, data in members.items():
                (path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
            write_zip(path / "inner.zip", {"more.py": "y = 1", "also_bad.py": b"\xff"})
            (path / "broken.zip").write_bytes(b"PK")
        documents, problems = read_hand_in(path)
        inner = ["inner.zip/more.py"] if path.name == "ada" else []
        assert [d.name for d in documents] == ["good.py", *inner]
        assert problems["bad.py"].startswith("the file is not UTF-8 text")
        assert problems["worse.ipynb"].startswith("the notebook is not JSON")
        if path.name == "ada":
            assert problems["broken.zip"].startswith("the zip cannot be read: given File is not a zip")
            assert "inner.zip/also_bad.py" in problems
        assert len(problems) == (4 if path.name == "ada" else 2)


# Folders, links, odd files


def test_links_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "answer.py").write_text("secret = 1")
    folder = tmp_path / "ada"
    folder.mkdir()
    (folder / "answer.py").symlink_to(secret / "answer.py")
    (folder / "more").symlink_to(secret, target_is_directory=True)
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "gone.py").symlink_to(tmp_path / "nothing")
    assert read_hand_in(folder) == ([], {})
    link = tmp_path / "bela.py"
    link.symlink_to(secret / "answer.py")
    expected = {"bela.py": "a link is not a hand-in. Fix: put the file itself there"}
    assert read_hand_in(link) == ([], expected)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ada.py")
    (tmp_path / "bela").mkdir()
    os.mkfifo(tmp_path / "bela" / "answer.py")
    expected = "this is no hand-in: expected a folder, a .py file, a notebook or a zip"
    assert read_hand_in(tmp_path / "ada.py") == ([], {"ada.py": expected})
    assert read_hand_in(tmp_path / "bela") == ([], {})


@pytest.mark.skipif(os.name == "nt", reason="there, names are text")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"ad\xff")
    folder.mkdir()
    (folder / os.fsdecode(b"answer\xfe.py")).write_bytes(b"\xff")
    (arrival,) = read_inbox(tmp_path)
    documents, problems, _ = handin.read_hand_in(*arrival.parts)
    hand_in = assign(arrival.student, documents, problems, EXERCISES)
    assert arrival.student == r"ad\udcff"
    assert list(hand_in.problems) == [r"answer\udcfe.py"]
    json.dumps([arrival.student, hand_in.problems], ensure_ascii=False).encode("utf-8")  # they can be written


def test_a_file_of_another_kind_is_a_problem_not_a_silence(tmp_path: Path) -> None:
    (tmp_path / "zoe.rar").write_bytes(b"Rar!")
    (tmp_path / "zoe.py").write_text("x = 1")
    assert [(one.student, one.parts[0][0]) for one in read_inbox(tmp_path)] == [
        ("zoe", "zoe.py"),
        ("zoe.rar", "zoe.rar"),
    ]
    expected = "this is no hand-in: expected a folder, a .py file, a notebook or a zip"
    assert read_hand_in(tmp_path / "zoe.rar") == ([], {"zoe.rar": expected})


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object, **options: object) -> io.BytesIO:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "ada.py").write_text("x = 1")
    monkeypatch.setattr(handin, "open", refused, raising=False)
    expected = {"ada.py": "the file cannot be read: given Permission denied"}
    assert read_hand_in(tmp_path / "ada.py") == ([], expected)


# Which exercise a document answers


@pytest.mark.oldest
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("exercises/s02_graphs/lines.py", "", [LINES]),  # by its path, whatever is in it
        ("exercises/s02_graphs/lines.py", "def shuffle(): pass\n", [LINES]),
        ("handin.zip/s05_toolbox/shuffle.py", "", [SHUFFLE]),
        ("shuffle.py", "", [SHUFFLE]),
        ("shuffle-2.py", "", [SHUFFLE]),  # as the pages number what was uploaded again
        ("exercises/s02_graphs/lines-13.py", "def shuffle(): pass\n", [LINES]),
        ("lab-2.py", "def shuffle(): pass\n", [SHUFFLE]),
        ("-2.py", "def shuffle(): pass\n", [SHUFFLE]),
        ("S02_GRAPHS/other.py", "# Exercise s05_toolbox/shuffle. Write\n", [SHUFFLE]),
        ("answer.py", "# Exercise s02_graphs/lines. Write\ndef shuffle(): pass\ndef batch(): pass", [LINES]),
        ("answer.py", "# Exercise s09_gone/gone. Write\ndef shuffle(): pass", []),
        ("answer.py", "import x\n\ndef shuffle(a):\n    pass\n", [SHUFFLE]),
        ("answer.py", "def shuffle (a): pass\n", [SHUFFLE]),
        ("answer.py", "shuffle = make_shuffle()\n", [SHUFFLE]),
        ("answer.py", "shuffle == 3\nshuffle(4)\n  def batch(): pass\n", []),
        ("answer.py", BOTH_LINES + "def batch(x): pass\n", [LINES]),  # most of them
        ("answer.py", "def helper(): pass\n", []),
        ("n.ipynb", None, [LINES, SHUFFLE]),
        ("lines.ipynb", None, [LINES, SHUFFLE]),
    ],
)
def test_answered(name: str, text: str | None, expected: list[str]) -> None:
    text = notebook("def shuffle(): pass", "# text\ndef predict(): pass") if text is None else text
    assert answered(document(name, text), EXERCISES) == expected


@pytest.mark.parametrize("name", ["..py", ".-2.py", "-.py", "a/..py"])
def test_a_name_that_is_hardly_one_is_read(name: str) -> None:
    assert answered(document(name, "x = 1\n"), EXERCISES) == []


def test_a_file_that_could_be_either() -> None:
    both = document("answer.py", "def predict(): pass\ndef shuffle(): pass\n")
    expected = (
        "answer.py: the file could answer more than one exercise: given s02_graphs/lines or s05_toolbox/shuffle. "
        "Fix: give it the name of the one it answers"
    )
    with pytest.raises(HandInError) as error:
        answered(both, EXERCISES)
    assert str(error.value) == expected
    hand_in = assign("ada", [both], {}, EXERCISES)
    told = {"answer.py": expected.removeprefix("answer.py: ")}
    assert (hand_in.answers, hand_in.problems, hand_in.unused) == ({}, told, [])


def test_one_notebook_for_all_exercises() -> None:
    all_in_one = document("n.ipynb", notebook(BOTH_LINES, "def shuffle(): pass"))
    hand_in = assign("ada", [all_in_one, document("notes.py", "x = 1")], {"broken.py": "broken"}, EXERCISES)
    assert hand_in.answers == {LINES: all_in_one, SHUFFLE: all_in_one}
    assert hand_in.unused == ["notes.py"]
    assert hand_in.problems == {"broken.py": "broken"}


def test_two_documents_for_one_exercise_are_a_question() -> None:
    one, other = document("old/lines.py", BOTH_LINES), document("new/lines.py", BOTH_LINES)
    hand_in = assign("ada", [one, other, document("shuffle.py", "")], {}, EXERCISES)
    assert hand_in.answers.keys() == {SHUFFLE}
    assert hand_in.problems == {LINES: "old/lines.py and new/lines.py both answer it; which one counts?"}


def test_of_equal_answers_what_was_uploaded_last_counts_and_the_other_is_named() -> None:
    def uploaded(name: str, text: str, upload: int) -> handin.Document:
        return dataclasses.replace(document(name, text), upload=upload)

    first, again, half = (
        uploaded(f"lab-{number}.py", text, number)
        for number, text in enumerate([BOTH_LINES] * 2 + ["def loss(): 1\n"], 1)
    )
    stray = document("notes.py", "x = 1")
    for documents in ([first, again, half, stray], [stray, half, again, first]):
        hand_in = assign("ada", documents, {}, EXERCISES)
        assert (hand_in.answers, hand_in.problems, hand_in.unknown) == (
            {LINES: again}, {}, ["no task of these exercises in notes.py"],
        )  # fmt: skip
        assert sorted(hand_in.superseded) == [
            "s02/lines: lab-1.py was passed over for lab-2.py, which was uploaded later",
            "s02/lines: lab-3.py was passed over for lab-2.py, where more tasks are written",
        ]
    in_one_zip = [dataclasses.replace(again, name=name) for name in ("a.py", "b.py")]
    tied = {LINES: "a.py and b.py both answer it; which one counts?"}
    assert assign("ada", [first, *in_one_zip], {}, EXERCISES).problems == tied


def test_files_that_were_uploaded_in_order_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("x = 1")
    parts = [("a.zip", write_zip(tmp_path / "a.zip", {"b.py": "", "c.py": ""})), ("one.py", tmp_path / "one.py")]
    found, _, _ = handin.read_hand_in(*parts, in_order=True)
    assert [(d.name, d.upload) for d in found] == [("b.py", 1), ("c.py", 1), ("one.py", 2)]
    assert {d.upload for d in handin.read_hand_in(*parts)[0]} == {0}


def test_what_was_left_as_given_does_not_count_beside_an_answer() -> None:
    given = "\n".join(
        f'def {task}(x):\n    raise NotImplementedError("{task} is still to be written")'
        for task in ("predict", "loss")
    )
    started = given.replace('raise NotImplementedError("loss is still to be written")', "return 3")
    untouched = document("notebooks/s02_graphs.ipynb", notebook(given))
    answer = document("exercises/s02_graphs/lines.py", started)
    assert assign("ada", [untouched, answer], {}, EXERCISES).answers == {LINES: answer}
    other = assign("ada", [answer, untouched], {}, EXERCISES)
    assert (other.problems, other.superseded) == ({}, [])
    both_untouched = [document("lines.py", given), untouched]
    assert assign("ada", both_untouched, {}, EXERCISES).answers == {LINES: both_untouched[0]}


def test_of_two_documents_the_one_with_more_tasks_written_counts() -> None:
    given = 'def {0}(x):\n    raise NotImplementedError("{0} is still to be written")\n'
    whole = document("whole.ipynb", notebook(BOTH_LINES))
    half = document("half.ipynb", notebook(given.format("predict"), "def loss(x): return x"))
    below = document("below.ipynb", notebook(given.format("predict"), given.format("loss"), BOTH_LINES))
    for documents in ([whole, half], [half, whole]):
        hand_in = assign("ada", documents, {}, EXERCISES)
        assert (hand_in.answers, hand_in.problems) == ({LINES: whole}, {})
    tied = {LINES: "whole.ipynb and below.ipynb both answer it; which one counts?"}
    assert assign("ada", [whole, half, below], {}, EXERCISES).problems == tied


def test_a_helper_of_a_tasks_name_is_no_answer_beside_one() -> None:
    three = {LINES: make_exercise("predict", "loss", "fit")}
    helper = document("a.ipynb", notebook("def predict(x): return x"))
    started = document("b.ipynb", notebook(*(
        f'def {task}(x):\n    raise NotImplementedError("{task} is still to be written")' for task in three[LINES].tasks
    )))  # fmt: skip
    assert assign("ada", [helper, started], {}, three).answers == {LINES: started}
    assert assign("ada", [helper], {}, three).answers == {LINES: helper}  # it is all there is


@pytest.mark.parametrize(
    "check", ['aidl_jax.check("s05/shuffle", task="batch")', "aidl_jax.check('s05_toolbox/shuffle')"]
)
def test_a_notebook_answers_what_it_checks(check: str) -> None:
    exercises = {LINES: make_exercise("predict", "loss", "fit"), SHUFFLE: EXERCISES[SHUFFLE]}
    helper, most = "def predict(): pass", "def predict(): pass\ndef loss(): pass"
    assert answered(document("n.ipynb", notebook("def batch(): pass", helper)), exercises) == [LINES, SHUFFLE]
    assert answered(document("n.ipynb", notebook("def batch(): pass", check, helper)), exercises) == [SHUFFLE]
    assert answered(document("n.ipynb", notebook("def batch(): pass", check, most)), exercises) == [LINES, SHUFFLE]
    assert answered(document("n.ipynb", notebook(f"# {check}", helper)), exercises) == [LINES]


def filled_in(path: Path, checks: bool = True, seldom: int = 1) -> handin.Document:
    """A made notebook in which every task, or one of so many, is written."""
    made = json.loads(path.read_text(encoding="utf-8"))
    number = 0
    for cell in made["cells"]:
        text = "".join(cell["source"])
        for placeholder in re.findall(r"raise NotImplementedError\(.*\)", text):
            text = text.replace(placeholder, "return 7") if number % seldom == 0 else text
            number += 1
        cell["source"] = text if checks else re.sub(r"aidl_jax\.check.*", "", text)
    return document(f"notebooks/{path.name}", json.dumps(made))


@pytest.mark.parametrize("seldom", [1, 3])
@pytest.mark.parametrize("checks", [True, False])
def test_made_notebooks_filled_in_answer_their_own_sessions(checks: bool, seldom: int) -> None:
    course = open_course()
    exercises = {name: course.exercise(name) for name in course.names()}
    notebooks = [filled_in(course.notebook(session), checks, seldom) for session in course.session_names()]
    hand_in = assign("ada", notebooks, {}, exercises)
    assert hand_in.problems == {}
    assert {name: PurePosixPath(answer.name).stem for name, answer in hand_in.answers.items()} == {
        name: name.split("/")[0] for name in exercises
    }
    if checks:
        for one in notebooks:
            assert {name.split("/")[0] for name in answered(one, exercises)} == {PurePosixPath(one.name).stem}


def test_a_lone_file_is_the_answer_to_a_lone_exercise() -> None:
    lone = document("homework.py", "x = 1")
    assert assign("ada", [lone], {}, {LINES: EXERCISES[LINES]}).answers == {LINES: lone}
    assert assign("ada", [lone], {}, EXERCISES).unused == ["homework.py"]
    other = document("homework.py", "# Exercise s05_toolbox/shuffle. Write it.\n")
    by_another = assign("ada", [other], {}, {LINES: EXERCISES[LINES]}, EXERCISES)
    assert (by_another.answers, by_another.unused) == ({}, [])
    two = assign("ada", [lone, document("b.py", "")], {}, {LINES: EXERCISES[LINES]})
    assert (two.answers, two.unused) == ({}, ["homework.py", "b.py"])
