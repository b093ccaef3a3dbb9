"""Checking one student's document, on their own machine or as one of a class: the same path."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

from aidl_jax.exercise import Exercise
from aidl_jax.grade.handin import Document
from aidl_jax.grade.judge import judge
from aidl_jax.grade.process import Processes
from aidl_jax.grade.record import Record
from aidl_jax.grade.session import Session

HOME_SEED = 0


def check_document(
    name: str,
    exercise: Exercise,
    document: Document,
    *,
    seed: int = HOME_SEED,
    only: str | None = None,
    processes: Processes | None = None,
    known: Mapping[str, bytes] = MappingProxyType({}),
    progress: Callable[[str], None] = lambda task: None,
) -> Record:
    """Checks a document as an answer to one exercise; `processes` may have been started before, `known` is `Session`'s."""
    with Session(document.cells, exercise, processes or Processes(), known) as session:
        record = judge(name, exercise, session, seed, only=only, progress=progress)
    return dataclasses.replace(record, source=document.name)
