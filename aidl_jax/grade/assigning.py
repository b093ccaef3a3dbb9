"""Which exercise each document of a hand-in answers, and which one counts where several answer it.

Nothing here runs or parses a student's Python; it looks at names and at the beginnings of lines.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from aidl_jax.errors import HandInError
from aidl_jax.exercise import Exercise
from aidl_jax.exercise.source import short_name
from aidl_jax.grade.handin import Document, HandIn


def assign(
    student: str,
    documents: Sequence[Document],
    problems: Mapping[str, str],
    exercises: Mapping[str, Exercise],
    others: Mapping[str, Exercise] | None = None,
) -> HandIn:
    """Finds which exercise each document answers: by its path, its first line, or the tasks it defines.

    A lone document that answers nothing known counts for a lone exercise; not one that answers one of the `others`.
    Of several documents for one exercise the one with most of its tasks written counts, of equal ones what was uploaded
    last, and the others are named. Where that does not tell them apart it is a problem of that exercise; no one is chosen silently.
    """
    hand_in = HandIn(student, problems=dict(problems))
    claims: dict[str, list[Document]] = {}
    alone = len(documents) == 1 and len(exercises) == 1
    for document in documents:
        try:
            known = answered(document, {**exercises, **(others or {})}) or (list(exercises) if alone else [])
        except HandInError as error:
            hand_in.problems[document.name] = error.told
            continue
        if not known:
            hand_in.unused.append(document.name)
        for name in exercises:
            if name in known:
                claims.setdefault(name, []).append(document)
    for name, every in claims.items():
        furthest = _furthest(every, exercises[name])
        newest = [d for d in furthest if d.upload == max(other.upload for other in furthest)]
        if len(newest) == 1:
            hand_in.answers[name] = newest[0]
            hand_in.superseded += _superseded(name, exercises[name], every, furthest, newest[0])
        else:
            files = " and ".join(document.name for document in newest)
            hand_in.problems[name] = f"{files} both answer it; which one counts?"
    return hand_in


def _superseded(
    name: str, exercise: Exercise, every: Sequence[Document], furthest: Sequence[Document], chosen: Document
) -> list[str]:
    """Who else answers an exercise and does not count; what was left as given is no answer."""
    return [
        f"{short_name(name)}: {document.name} was passed over for {chosen.name}, "
        f"{'which was uploaded later' if document in furthest else 'where more tasks are written'}"
        for document in every
        if document is not chosen and _written(document, exercise)
    ]


def _furthest(documents: Sequence[Document], exercise: Exercise) -> list[Document]:
    """Those with the most tasks written; the first, where nothing is written in any.

    One that defines fewer than half of the tasks may only have a helper of a task's name: it yields to one that defines more.
    """
    counts = [len(_definitions(document).keys() & exercise.tasks.keys()) for document in documents]
    enough = min(max(counts), (len(exercise.tasks) + 1) // 2)
    there = [document for document, count in zip(documents, counts, strict=True) if count >= enough]
    written = [_written(document, exercise) for document in there]
    return [d for d, count in zip(there, written, strict=True) if count == max(written)] if any(written) else there[:1]


def _written(document: Document, exercise: Exercise) -> int:
    """How many tasks are defined beside the places where they are still to be written."""
    defined = _definitions(document)
    given = re.findall(r'^ +raise NotImplementedError\("(\w+) is still to be written"\)', document.text, re.MULTILINE)
    return sum(defined[task] > given.count(task) for task in exercise.tasks)


def _definitions(document: Document) -> Counter[str]:
    """How often each name is defined at the left margin."""
    found = re.findall(r"^(?:def +(\w+) *\(|(\w+) *=[^=])", document.text, re.MULTILINE)
    return Counter(function or variable for function, variable in found)


def answered(document: Document, exercises: Mapping[str, Exercise]) -> list[str]:
    """The exercises that a document answers: one for a `.py` file, any number for a notebook.

    In its name a number that was put behind it, as in `lines-2.py`, says nothing.

    A notebook whose cells check some exercises answers those. Of others it may define a helper of a task's name, so
    these count from half of their tasks on.

    Raises:
        HandInError: a `.py` file that could be for either of two.
    """
    path = PurePosixPath(document.name)
    defined = _definitions(document).keys()
    overlap = {name: len(defined & exercise.tasks.keys()) for name, exercise in exercises.items()}
    if path.suffix.lower() == ".ipynb" or not path.suffix:
        checked = set(re.findall(r"""^ *aidl_jax\.check\(["'](.+?)["']""", document.text, re.MULTILINE))
        own = {name for name in exercises if checked & {name, short_name(name)}} or exercises.keys()
        return [n for n, count in overlap.items() if count and (n in own or 2 * count >= len(exercises[n].tasks))]
    stem = re.sub(r"(?<=.)-\d+$", "", path.stem)
    named = [name for name in exercises if f"{path.parent}/{stem}".endswith(name)]
    named = named or [name for name in exercises if name.split("/")[1] == stem]
    if len(named) == 1:
        return named
    first = re.match(r"# Exercise (s\d\d_\w+/\w+)", document.text)
    if first:
        return [first[1]] if first[1] in exercises else []
    most = max(overlap.values(), default=0)
    best = [name for name, count in overlap.items() if count == most and most]
    if len(best) > 1:
        raise HandInError("the file could answer more than one exercise", where=document.name, given=" or ".join(best),
                          fix="give it the name of the one it answers")  # fmt: skip
    return best
