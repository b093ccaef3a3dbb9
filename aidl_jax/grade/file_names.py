"""The names of a student's files in an output folder, and links to them."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from aidl_jax.grade.terminal import clean

LONGEST_NAME = 180  # bytes; file systems allow 255, and a file that is being written has a longer name


def file_stem(student: str) -> str:
    """The name of a student's files: theirs, where that can be; else what is left of it, with a hash of all of it.

    What leads elsewhere, what can't be printed and what is too long is taken out.

    >>> file_stem("ada"), file_stem("../ada"), len(file_stem("a" * 500))
    ('ada', '.._ada-8cc2537556be', 193)
    """
    safe = clean(student).translate(str.maketrans("/\\\n", "___")).encode()[:LONGEST_NAME].decode(errors="ignore")
    if safe == student and safe not in ("", ".", ".."):
        return safe
    return f"{safe}-{hashlib.blake2b(student.encode('utf-8', 'surrogatepass'), digest_size=6).hexdigest()}"


def page_link(student: str) -> str:
    """Where a student's page is, seen from the class's.

    >>> page_link("Ada #1")
    'students/Ada%20%231.html'
    """
    return f"students/{quote(file_stem(student))}.html"
