"""Whether an endpoint gets calls: closed, open, or half open for one probe."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from batching.clock import NOW
from batching.isolation.evidence import DistinctFailures

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batching.call import Item


class State(Enum):
    """Closed: calls go as usual. Open: none goes. Half open: one batch is on its way to try."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half open"


class Breaker:
    """Ejects an endpoint after failures in a row that no common input explains, and lets one batch probe it later.

    Closed, open and half open as in Nygard's "Release It!"; the growing time as in Envoy's outlier detection. All
    moments are seconds on the engine's clock. Not thread-safe: the pool's lock guards it.
    """

    #: Failures of different inputs, with no success between, that open it.
    FAILURES = 5
    #: Calls that fail in a row, whatever their inputs, after which it gets one call at a time until one succeeds.
    DOUBTFUL = 3
    #: Different inputs that have to be among ``FAILURES`` calls which no input alone can explain.
    INPUTS = 2
    #: Seconds for which it is open the first time, and at most; each time in a row it is twice as long.
    FIRST, LONGEST = 1.0, 16.0

    def __init__(self) -> None:
        self.state = State.CLOSED
        #: While open: when a probe may be made.
        self.until = NOW
        self._failures = DistinctFailures()
        self._pause = self.FIRST

    def __repr__(self) -> str:
        until = f" until {self.until:.3f}" if self.state is State.OPEN else ""
        return f"<Breaker {self.state.value}{until}, {self._failures.count} different failures in a row>"

    @property
    def is_closed(self) -> bool:
        """Whether calls go as usual."""
        return self.state is State.CLOSED

    @property
    def is_doubtful(self) -> bool:
        """Whether so many calls have failed in a row that the next had better be few."""
        return self._failures.calls >= self.DOUBTFUL

    @property
    def is_no_inputs_fault(self) -> bool:
        """Whether different inputs are among the calls that failed since the last success, or it has been ejected."""
        return not self.is_closed or self._failures.count >= self.INPUTS

    def would_open(self, inputs: Iterable[Item]) -> bool:
        """Whether a failure with these inputs would eject the endpoint, which is closed, though inputs may be why."""
        return self.state is State.CLOSED and self._failures.count_with(inputs) >= self.FAILURES

    def wants_probe(self, now: float) -> bool:
        """Whether its time is over and no batch tries it yet."""
        return self.state is State.OPEN and self.until <= now

    def probe(self) -> None:
        """One batch is on its way to try it."""
        self.state = State.HALF_OPEN

    def readmit(self) -> None:
        """The endpoint was seen to answer, or its probe failed for another reason: let it be tried at once."""
        self.until = NOW

    def retry_by(self, moment: float) -> None:
        """Let it be tried at ``moment`` at latest."""
        self.until = min(self.until, moment)

    def succeeded(self) -> None:
        """A call came back well."""
        self._failures.clear()
        self._pause = self.FIRST
        self.state = State.CLOSED

    def failed(
        self, now: float, inputs: Iterable[Item] | None = None, *, at_once: bool = False, is_between: bool = False
    ) -> bool:
        """A call failed in a way that counts against the endpoint; return whether this ejects it.

        ``inputs`` of the call; None where none was sent, so that none can be the cause. ``at_once``: this failure alone
        says enough. ``is_between``: something between here and the endpoint failed; calls that fail like this count
        each, though with more than one input among them.
        """
        if inputs is None:
            self._failures.add_other()
        else:
            self._failures.add(inputs)
        failures = self._failures
        is_enough = at_once or failures.count >= self.FAILURES
        is_enough |= is_between and failures.calls >= self.FAILURES and failures.count >= self.INPUTS
        if self.state is State.HALF_OPEN or (self.state is State.CLOSED and is_enough):
            self.state = State.OPEN
            self.until = now + self._pause
            self._pause = min(2 * self._pause, self.LONGEST)
            return True
        return False

    def ignore(self) -> None:
        """A call's end says nothing about the endpoint; another probe may start."""
        if self.state is State.HALF_OPEN:
            self.state = State.OPEN
