"""What student code prints."""

from __future__ import annotations

import io

from aidl_jax.grade import explain

MAX_PRINTED = 4_000


class Printed(io.StringIO):
    """What student code prints: its first 4,000 characters; the rest is counted, not kept."""

    dropped = 0

    def write(self, text: str) -> int:
        room = MAX_PRINTED - self.tell()
        super().write(text[:room])
        self.dropped += max(len(text) - room, 0)
        return len(text)

    def text(self) -> str:
        """What was kept, with a line on what was not."""
        kept = explain.encodable(self.getvalue())
        return kept + (f"\n... and {self.dropped:,} more characters" if self.dropped else "")
