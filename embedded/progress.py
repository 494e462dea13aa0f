"""Shows on a terminal, or in a log, how far the model has loaded."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

_WIDTH = 20  # characters of the bar


class Stream(Protocol):
    """What progress is shown on: a terminal, a file, or a stream that makes log lines of what is written."""

    def write(self, text: str, /) -> int:
        """Show a text."""

    def flush(self) -> None:
        """Show it now."""

    def isatty(self) -> bool:
        """Whether a line can be drawn again."""


class Progress:
    """Reports `total` steps: a bar redrawn on one line of a terminal, one plain line a step elsewhere."""

    def __init__(self, stream: Stream, *, total: int) -> None:
        self._stream = stream
        self._total = total
        self._done = 0
        self._started = time.monotonic()

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Report one step: its name while it runs, its seconds when it is done."""
        started = time.monotonic()
        if self._stream.isatty():
            self._redraw(what)
        yield
        self._done += 1
        seconds = time.monotonic() - started
        if self._stream.isatty():
            self._redraw(f"{what}, {seconds:.2f} s")
        else:
            self._write(f"embedded: [{self._done}/{self._total}] {what}: {seconds:.2f} s\n")

    def finish(self, what: str) -> None:
        """Report the end, with the seconds all of it took."""
        line = f"embedded: {what} after {time.monotonic() - self._started:.2f} s\n"
        self._write(f"\r\x1b[K{line}" if self._stream.isatty() else line)

    def _redraw(self, text: str) -> None:
        filled = _WIDTH * self._done // self._total
        self._write(f"\r\x1b[Kembedded: [{'#' * filled}{'.' * (_WIDTH - filled)}] {text}")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
