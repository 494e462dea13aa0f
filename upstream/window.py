"""How many batches an endpoint gets at once."""

from __future__ import annotations

from batching.clock import NEVER


class Window:
    """Additive increase, multiplicative decrease (AIMD, as TCP's). Not thread-safe: the pool's lock guards it."""

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._size = float(most)
        self._cut_at = -NEVER

    def __repr__(self) -> str:
        return f"<Window {self._size:.2f} of {self._most:g}>"

    @property
    def size(self) -> int:
        """Batches allowed at once, at least one."""
        return int(self._size)

    def grow(self) -> None:
        """A call came back well: a whole window of them makes room for one more."""
        if self._size < self._most:
            self._size = min(self._size + 1.0 / self._size, self._most)

    def cut(self, sent_at: float, now: float) -> None:
        """The upstream said that it has too much: halve, once for all the calls that were under way together."""
        if sent_at >= self._cut_at:
            self._size = max(self._size / 2, 1.0)
            self._cut_at = now
