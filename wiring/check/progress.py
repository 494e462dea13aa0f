"""A bar on a terminal that shows how far something has come."""

from __future__ import annotations

import sys
from typing import TextIO

_BAR_WIDTH = 30


class Progress:
    """A bar on a terminal; nothing where the output is not one."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._shown = self._stream.isatty()

    def show(self, share: float, label: str) -> None:
        """Draw `share` (0-1) of the way."""
        if self._shown:
            filled = round(min(1.0, share) * _BAR_WIDTH)
            bar = "#" * filled + "." * (_BAR_WIDTH - filled)
            self._stream.write(f"\r[{bar}] {share:4.0%} {label}\x1b[K")
            self._stream.flush()

    def clear(self) -> None:
        """Take the bar away."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
