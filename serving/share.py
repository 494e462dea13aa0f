"""How much of one core's time some kind of work may take."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Share:
    """Seconds of work that may be done: they come with time, and are kept up to a bound. One thread.

    Work is paid for when it is done, so the last piece may overdraw the account; the next one waits for that.
    """

    def __init__(self, share: float, most: float, clock: Callable[[], float]) -> None:
        """``share``: seconds of work for each second. ``most``: seconds of work that are kept at most."""
        self._share = share
        self._most = self._left = most
        self._clock = clock
        self._looked = clock()

    def wait(self) -> float:
        """Return in how many seconds work may be done; 0 for now."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._looked) * self._share)
        self._looked = now
        return 0.0 if self._left > 0 else (-self._left / self._share) + 1e-3

    def pay(self, seconds: float) -> None:
        """Note that so many seconds of work have been done."""
        self._left -= seconds
