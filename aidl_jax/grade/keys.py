"""Single keys from a terminal, without Enter."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType

__all__ = ["Keys"]

PAUSE = 0.02


class Keys:
    """The keys that are pressed while this is open; the terminal is as it was afterwards.

    Attributes:
        there: whether there is a terminal to press keys in.
    """

    def __init__(self) -> None:
        self.there = sys.stdin is not None and sys.stdin.isatty()

    def __enter__(self) -> Keys:
        if self.there and sys.platform != "win32":
            import termios
            import tty

            self.before = termios.tcgetattr(sys.stdin.fileno())
            tty.setcbreak(sys.stdin.fileno())  # Ctrl-C still is Ctrl-C
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.there and sys.platform != "win32":
            import termios

            termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, self.before)

    def pressed(self, seconds: float) -> str:
        """The next key, in lower case; "" where none is pressed within some seconds.

        Raises:
            EOFError: the terminal is gone.
        """
        if not self.there:
            time.sleep(seconds)
            return ""
        return _on_windows(seconds) if sys.platform == "win32" else _on_posix(seconds)


def _on_posix(seconds: float) -> str:
    import select

    if not select.select([sys.stdin], [], [], seconds)[0]:
        return ""
    try:
        key = os.read(sys.stdin.fileno(), 1)
    except OSError:  # its other side was closed
        key = b""
    if not key:
        raise EOFError("the terminal is gone")
    return key.decode("ascii", "replace").lower()


def _on_windows(seconds: float) -> str:
    import msvcrt

    end = time.monotonic() + seconds
    while not msvcrt.kbhit():  # type: ignore[attr-defined, unused-ignore]
        if time.monotonic() > end:
            return ""
        time.sleep(PAUSE)
    return str(msvcrt.getwch()).lower()  # type: ignore[attr-defined, unused-ignore]
