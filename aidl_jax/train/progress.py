"""A progress bar for `fit`: a line that redraws itself in a terminal or a notebook, and now and then a line in a file."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar as Bar
from rich.table import Table

from aidl_jax.errors import TrainError
from aidl_jax.train.loop import Moment

__all__ = ["ProgressBar", "Reading"]

WINDOW = 5.0  # seconds that rates are the mean of
SECONDS_BETWEEN_LINES = 10.0
TEXT_WIDTH = 64


@dataclass(frozen=True)
class Reading:
    """What a bar shows.

    Attributes:
        step: steps done, of `steps`.
        loss: what it was last.
        rate: steps per second; None before there are two looks.
        waiting: the part of the time that the loop waited for batches, 0 to 1.
    """

    step: int
    steps: int
    loss: float
    rate: float | None
    waiting: float | None

    @property
    def cells(self) -> list[str]:
        """All of it as texts.

        >>> Reading(300, 1000, 0.123456, 140.0, 0.25).cells
        [' 300/1000', 'loss 0.1235', '140 steps/s', 'ingestion 25%', '0:05 left']
        """
        cells = [f"{self.step:>{len(str(self.steps))}}/{self.steps}", f"loss {self.loss:.4g}"]
        if self.rate is None or self.waiting is None:
            return cells
        left = [f"{_clock((self.steps - self.step) / self.rate)} left"] if self.rate and self.step < self.steps else []
        return [*cells, f"{_count(self.rate)} steps/s", f"ingestion {self.waiting:.0%}", *left]


def _count(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class ProgressBar:
    """A hook that shows how far `fit` is: steps and their rate, the loss, the ingestion's part of the time, and the time left.

    It looks at the clock after each step and draws at most so many times a second; only then it reads a loss. That is the loss of the
    step before the last, so that the device has a step to do while the host draws; at the end it is the last one.

    Args:
        redraws_per_second: at most. Where the output is neither a terminal nor a notebook, a line is written every 10 seconds.
        console: where to draw, a `rich.console.Console`; standard output if it is not given.
        clock: the time in seconds.

    Raises:
        TrainError: it would never draw.
    """

    def __init__(
        self,
        redraws_per_second: float = 10.0,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not redraws_per_second > 0:
            raise TrainError(
                "a progress bar draws now and then",
                given=f"redraws_per_second={redraws_per_second}",
                expected="more than 0",
                fix="ProgressBar(), which draws 10 times a second",
            )
        self._clock = clock
        self._screen = _screen(Console(highlight=False) if console is None else console)
        self._pause = max(1 / redraws_per_second, self._screen.pause)
        self._begin()

    def _begin(self) -> None:
        self._looks: deque[_Look] = deque()
        self._told: _Look | None = None
        self._drawn: _Look | None = None

    def __call__(self, moment: Moment) -> None:
        """Draws, if it is time to."""
        look = _Look(self._clock(), moment.step, moment.steps, moment.waited, moment.metrics["loss"])
        before, self._told = self._told or look, look
        if moment.last:
            self._draw(look, look.loss)
            self._screen.close()
        elif self._drawn is None or look.time - self._drawn.time >= self._pause:
            self._draw(look, before.loss)

    def _draw(self, look: _Look, loss: Any) -> None:
        self._drawn = look
        self._looks.append(look)
        while len(self._looks) > 2 and look.time - self._looks[1].time >= WINDOW:
            self._looks.popleft()
        first = self._looks[0]
        seconds = look.time - first.time
        rate, waiting = None, None
        if seconds > 0:
            rate, waiting = (look.step - first.step) / seconds, (look.waited - first.waited) / seconds
        self._screen.draw(Reading(look.step, look.steps, float(loss), rate, waiting))

    def __enter__(self) -> ProgressBar:
        self._begin()
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        """Leaves the bar as it is; where the data ended before the steps were done, with the last step."""
        if kind is None and self._told is not None and self._told is not self._drawn:
            self._draw(self._told, self._told.loss)
        self._screen.close()


@dataclass(frozen=True)
class _Look:
    """When how much was done; the loss is on the device."""

    time: float
    step: int
    steps: int
    waited: float
    loss: Any


class _Screen(Protocol):
    """Where a bar is drawn, and how many seconds there must be between two drawings."""

    pause: float

    def draw(self, reading: Reading) -> None: ...

    def close(self) -> None: ...


def _screen(console: Console) -> _Screen:
    if console.is_jupyter:
        return _Notebook()
    return _Terminal(console) if console.is_terminal and not console.is_dumb_terminal else _Lines(console)


class _Terminal:
    """One line that stays at the bottom; what is printed meanwhile goes above it."""

    pause = 0.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def draw(self, reading: Reading) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(self._line(reading), refresh=True)

    def _line(self, reading: Reading) -> Table:
        width = min(40, self._console.width - TEXT_WIDTH)
        bar = [Bar(total=reading.steps, completed=reading.step, width=width)] if width >= 8 else []
        line = Table.grid(padding=(0, 2, 0, 0))
        for _ in (*bar, *reading.cells):
            line.add_column(no_wrap=True, overflow="crop")
        line.add_row(*bar, *reading.cells)
        return line

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


class _Notebook:
    """An HTML bar in the cell's output, replaced by the next; a saved notebook keeps the last one."""

    pause = 0.0

    def __init__(self) -> None:
        self._handle: Any = None

    def draw(self, reading: Reading) -> None:
        from IPython.display import display

        text = "  ".join(reading.cells)
        bar = f'<progress value="{reading.step}" max="{reading.steps}" style="width: 16em"></progress>'
        html = f'<div style="font-family: monospace; white-space: pre">{bar}  {escape(text)}</div>'
        shown = {"text/plain": text, "text/html": html}
        if self._handle is None:
            self._handle = display(shown, raw=True, display_id=True)
        else:
            self._handle.update(shown, raw=True)

    def close(self) -> None:
        self._handle = None


class _Lines:
    """Lines, for a file or a pipe."""

    pause = SECONDS_BETWEEN_LINES

    def __init__(self, console: Console) -> None:
        self._console = console

    def draw(self, reading: Reading) -> None:
        self._console.print(", ".join(cell.strip() for cell in reading.cells), soft_wrap=True)

    def close(self) -> None:
        pass
