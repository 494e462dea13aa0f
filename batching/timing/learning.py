"""What calls teach about the upstream: how long one takes, and how many it works on at once."""

from __future__ import annotations

from dataclasses import dataclass

from batching.clock import NEVER


class CallCost:
    """How long a call of n items takes: the line fixed + slope · n, fitted as calls return.

    Exponentially weighted least squares. Until two sizes were seen there is no line, and every size is
    taken to last what was seen.
    """

    #: Of the newest call; all older ones share the rest.
    WEIGHT = 0.1

    def __init__(self) -> None:
        self._size = self._latency = self._size_sq = self._product = self._slope = 0.0
        self._largest = 0

    def add(self, size: int, latency: float) -> None:
        """Learn one call of ``size`` items that took ``latency`` seconds."""
        weight = self.WEIGHT if self._size else 1.0
        self._size += weight * (size - self._size)
        self._latency += weight * (latency - self._latency)
        self._largest = max(self._largest, size)
        self._size_sq += weight * (size * size - self._size_sq)
        self._product += weight * (size * latency - self._product)
        variance = self._size_sq - self._size * self._size
        if variance >= 0.01:
            slope = (self._product - self._size * self._latency) / variance
            # Neither an item nor a call without items can take less than no time.
            self._slope = min(max(slope, 0.0), self._latency / self._size)

    def knows(self, size: int) -> bool:
        """Whether calls of about this size were seen, so that the line need not be stretched."""
        return size <= 2 * self._largest

    def of(self, size: float) -> float:
        """Seconds that a call of ``size`` items takes; 0 before any was seen."""
        return self._latency + self._slope * (size - self._size)


@dataclass(slots=True)
class Flight:
    """A batch on its way."""

    size: int
    sent: float
    #: How many other batches were on their way when it left, and whether all of those are this lane's own,
    #: so that their end will be seen here.
    beside: int
    is_seen: bool
    #: How many of the others had to come back before the upstream could begin with it.
    blockers: int
    #: When they had.
    freed: float = NEVER


class Parallelism:
    """How many calls the upstream works on at once, judged by calls that overlapped others.

    A call sent behind others on a serial upstream comes back late by the time it had to wait for them; on
    a parallel one it comes back as if it had been alone.
    """

    #: Of one verdict: two in a row move the estimate by half a server, so one outlier does not.
    WEIGHT = 0.3
    #: Verdicts are rare, so a probe is due after this many batches: the first soon, then so seldom that
    #: what it costs a serial upstream (one extra call) stays below the 99th percentile.
    FIRST_PROBE, PROBE_EVERY = 16, 512
    #: A probe that found a free server is followed by another at once.
    NEXT_PROBE = 4

    def __init__(self, start: int, cost: CallCost) -> None:
        self.servers = start
        #: Seconds of a call that the upstream spends idle between two calls: network, sending, receiving.
        self.lag = 0.0
        self._cost = cost
        self._estimate = float(start)
        self._until_probe = self.FIRST_PROBE

    @property
    def wants_probe(self) -> bool:
        """Whether it is time to learn from an overlap that would not come about by itself."""
        return self._until_probe <= 0

    def sent(self) -> None:
        """Count a batch on its way."""
        self._until_probe -= 1
        if self._until_probe < -self.FIRST_PROBE:  # no chance came; it must not stay due for ever
            self._until_probe = self.PROBE_EVERY

    def judge(self, flight: Flight, last_completion: float, now: float) -> None:
        """Learn from a batch that came back and had overlapped another."""
        alone = self._cost.of(flight.size)
        overlap = min(flight.freed, now) - flight.sent
        if overlap < 0.5 * alone or not self._cost.knows(flight.size):  # waiting cannot be told from working
            return
        waited = now - flight.sent - alone > 0.5 * overlap
        if flight.beside < self.servers:
            if waited:
                self._move(flight.beside)
        else:
            self._until_probe = self.PROBE_EVERY if waited else self.NEXT_PROBE
            self._move(self.servers if waited else self.servers + 1)
            if waited:
                # It began when the one before it ended: what is missing was spent on the way.
                self.lag += 0.5 * (max(alone - (now - last_completion), 0.0) - self.lag)

    def _move(self, towards: int) -> None:
        self._estimate += self.WEIGHT * (towards - self._estimate)
        self.servers = int(self._estimate + 0.5)
