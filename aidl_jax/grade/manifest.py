"""What `aidl submit` writes beside the answers: with which versions, how many hints. A student may have written it by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aidl_jax.errors import HandInError

MANIFEST = "aidl.json"
MAX_LENGTH = 60  # characters of a version, a name


@dataclass(frozen=True)
class Manifest:
    """What is said of a hand-in by who handed it in.

    Args:
        versions: of Python and packages, by name.
        hints: how many were taken, by exercise and task.
    """

    versions: Mapping[str, str] = field(default_factory=dict)
    hints: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def differing(self, ours: Mapping[str, str]) -> list[str]:
        """Where the versions are not the grader's, in words."""
        return [
            f"handed in with {name} {theirs}, graded with {ours[name]}"
            for name, theirs in sorted(self.versions.items())
            if ours.get(name, theirs) != theirs
        ]


def read_manifest(name: str, data: bytes) -> Manifest:
    """Reads `aidl.json`; of what is not as `aidl submit` writes it nothing is taken.

    Raises:
        HandInError: it is no JSON.
    """
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HandInError(
            "the manifest is not JSON", where=name, given=str(error)[:80], fix="run aidl submit again"
        ) from None
    exercises = _table(_table(found).get("exercises"))
    return Manifest(
        _texts(_table(found).get("versions")),
        {one: _counts(_table(about).get("hints")) for one, about in exercises.items()},
    )


def _table(data: Any) -> dict[str, Any]:
    items = list(data.items())[:100] if isinstance(data, dict) else []
    return {name[:MAX_LENGTH]: value for name, value in items if _is_writable(name)}


def _texts(data: Any) -> dict[str, str]:
    texts = {name: text for name, text in _table(data).items() if isinstance(text, str) and len(text) <= MAX_LENGTH}
    return {name: text for name, text in texts.items() if _is_writable(text)}


def _is_writable(text: str) -> bool:
    """Not so where JSON has spelled out half a character, which no file of results can hold."""
    return not re.search("[\ud800-\udfff]", text)


def _counts(data: Any) -> dict[str, int]:
    return {name: n for name, n in _table(data).items() if type(n) is int and 0 <= n <= 3}
