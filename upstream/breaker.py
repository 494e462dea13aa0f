"""How much one upstream is trusted with: circuit breaker and in-flight window, as pure decisions."""

from __future__ import annotations

from batching.clock import NEVER, NOW


class Breaker:
    """Ejects an upstream after consecutive failures, and lets one batch probe it when its time is over.

    Closed, open and half-open as in Nygard's "Release It!"; the growing time as in Envoy's outlier detection. All
    moments are seconds on the engine's clock. Not thread-safe: the pool's lock guards it.
    """

    #: Failures in a row that open it.
    FAILURES = 5
    #: Seconds for which it is open the first time, and at most; each time in a row it is twice as long.
    FIRST, LONGEST = 1.0, 16.0

    def __init__(self) -> None:
        self._failures = 0
        self._pause = self.FIRST
        #: When the next call may be made; ``NOW`` while closed.
        self.until = NOW
        self._probing = False

    @property
    def is_closed(self) -> bool:
        """Whether calls go as usual."""
        return self.until == NOW

    def wants_probe(self, now: float) -> bool:
        """Whether its time is over and nobody tries it yet."""
        return not self.is_closed and not self._probing and self.until <= now

    def probe(self) -> None:
        """One batch is on its way to try it."""
        self._probing = True

    def readmit(self) -> None:
        """Somebody has seen it answer: let it be tried at once."""
        if not self.is_closed:
            self.until = min(self.until, 0.0)

    def succeeded(self) -> None:
        """A call came back well."""
        self._failures = 0
        self._pause = self.FIRST
        self._probing = False
        self.until = NOW

    def failed(self, now: float) -> bool:
        """A call failed in a way that says something about the upstream; return whether this ejects it."""
        self._failures += 1
        if self._probing or (self.is_closed and self._failures >= self.FAILURES):
            self._probing = False
            self.until = now + self._pause
            self._pause = min(2 * self._pause, self.LONGEST)
            return True
        return False

    def left(self) -> None:
        """A call ended that says nothing; a probe is free to be tried again."""
        self._probing = False


class Window:
    """How many batches an upstream gets at once: additive increase, multiplicative decrease (AIMD, as TCP's)."""

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._size = float(most)
        self._cut_at = -NEVER

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
