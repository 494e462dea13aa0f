"""Whether an endpoint gets calls: closed, open, or half open for one probe."""

from __future__ import annotations

from enum import Enum

from batching.clock import NOW


class State(Enum):
    """Closed: calls go as usual. Open: none goes. Half open: one batch is on its way to try."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half open"


class Breaker:
    """Ejects an endpoint after consecutive failures, and lets one batch probe it when its time is over.

    Closed, open and half open as in Nygard's "Release It!"; the growing time as in Envoy's outlier detection. All
    moments are seconds on the engine's clock. Not thread-safe: the pool's lock guards it.
    """

    #: Failures in a row that open it.
    FAILURES = 5
    #: Seconds for which it is open the first time, and at most; each time in a row it is twice as long.
    FIRST, LONGEST = 1.0, 16.0

    def __init__(self) -> None:
        self.state = State.CLOSED
        #: While open: when a probe may be made.
        self.until = NOW
        self._failures = 0
        self._pause = self.FIRST

    def __repr__(self) -> str:
        until = f" until {self.until:.3f}" if self.state is State.OPEN else ""
        return f"<Breaker {self.state.value}{until}, {self._failures} failures in a row>"

    @property
    def is_closed(self) -> bool:
        """Whether calls go as usual."""
        return self.state is State.CLOSED

    def wants_probe(self, now: float) -> bool:
        """Whether its time is over and no batch tries it yet."""
        return self.state is State.OPEN and self.until <= now

    def probe(self) -> None:
        """One batch is on its way to try it."""
        self.state = State.HALF_OPEN

    def readmit(self) -> None:
        """The endpoint was seen to answer: let it be tried at once."""
        self.until = NOW

    def succeeded(self) -> None:
        """A call came back well."""
        self._failures = 0
        self._pause = self.FIRST
        self.state = State.CLOSED

    def failed(self, now: float) -> bool:
        """A call failed in a way that counts against the endpoint; return whether this ejects it."""
        self._failures += 1
        if self.state is State.HALF_OPEN or (self.state is State.CLOSED and self._failures >= self.FAILURES):
            self.state = State.OPEN
            self.until = now + self._pause
            self._pause = min(2 * self._pause, self.LONGEST)
            return True
        return False

    def ignore(self) -> None:
        """A call's end says nothing about the endpoint; another probe may start."""
        if self.state is State.HALF_OPEN:
            self.state = State.OPEN
