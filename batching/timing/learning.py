"""What a lane's timing has learned from past calls and arrivals, and how calls teach it."""

from __future__ import annotations

from dataclasses import dataclass, field

from batching.clock import NEVER, NOW


@dataclass(slots=True)
class CallCost:
    """How long a call of n items takes: the line fixed + slope · n, fitted as calls return.

    Exponentially weighted least squares. With a single size there is no line: every size is estimated
    at the mean latency. All times are seconds.
    """

    #: Weight of the newest call in each mean.
    WEIGHT = 0.1

    #: Weighted means over calls: of the size, the latency, the size squared, and size times latency.
    size: float = 0.0
    latency: float = 0.0
    size_squared: float = 0.0
    product: float = 0.0
    #: Seconds for each further item.
    slope: float = 0.0
    #: Items in the largest call so far.
    largest: int = 0

    def add(self, size: int, latency: float) -> None:
        """Learn one call of ``size`` items that took ``latency`` seconds."""
        weight = self.WEIGHT if self.size else 1.0
        self.size += weight * (size - self.size)
        self.latency += weight * (latency - self.latency)
        self.largest = max(self.largest, size)
        self.size_squared += weight * (size * size - self.size_squared)
        self.product += weight * (size * latency - self.product)
        variance = self.size_squared - self.size * self.size
        if variance >= 0.01:
            slope = (self.product - self.size * self.latency) / variance
            # Neither an item nor a call without items can take less than no time.
            self.slope = min(max(slope, 0.0), self.latency / self.size)

    def knows(self, size: int) -> bool:
        """Whether calls of at least half this size were measured, so that the fit is not extrapolated further."""
        return size <= 2 * self.largest

    def of(self, size: float) -> float:
        """Seconds that a call of ``size`` items takes; 0 before the first call was measured."""
        return self.latency + self.slope * (size - self.size)


@dataclass(slots=True)
class Flight:
    """A batch that was sent and has not come back."""

    #: Number of its items.
    size: int
    #: When it was sent.
    sent: float
    #: How many other batches were in flight when it was sent.
    beside: int
    #: Whether its time can teach: all batches beside it are this lane's own, so that this lane is told when they
    #: end, and none of them has failed.
    is_seen: bool
    #: How many of the batches beside it have to end before the upstream can start it.
    blockers: int
    #: When the last of those ended.
    freed: float = NEVER


@dataclass(slots=True)
class Parallelism:
    """How many calls the upstream works on at once, judged by calls that overlapped others.

    A call sent behind others on a serial upstream comes back late by the time it had to wait for them; on
    a parallel one it comes back as if it had been alone.
    """

    #: Weight of the newest verdict: two in a row move the estimate by half a server, so one outlier does not.
    WEIGHT = 0.3
    #: Batches until the first probe, and between later ones. The first is early, so that few batches suffer from
    #: a wrong start; later ones are so rare that the extra call which a probe costs a serial upstream stays below
    #: the 99th percentile.
    FIRST_PROBE, PROBE_EVERY = 16, 512
    #: Batches until the next probe after one that found a free server.
    NEXT_PROBE = 4

    #: Moving average of the verdicts; ``servers`` is its nearest integer.
    estimate: float = 1.0
    #: Seconds of a call that the upstream spends idle between two calls: network, sending, receiving.
    lag: float = 0.0
    #: Batches until a probe is due; 0 or less while one is due.
    until_probe: int = FIRST_PROBE
    #: Calls that the upstream works on at once.
    servers: int = field(init=False)

    def __post_init__(self) -> None:
        self.servers = int(self.estimate + 0.5)

    @property
    def wants_probe(self) -> bool:
        """Whether a call should be sent beside another only to learn from the overlap."""
        return self.until_probe <= 0

    def sent(self) -> None:
        """Count a batch that was sent."""
        self.until_probe -= 1
        if self.until_probe < -self.FIRST_PROBE:  # no batch could serve as a probe: give up until the next period
            self.until_probe = self.PROBE_EVERY

    def judge(self, flight: Flight, cost: CallCost, last_completion: float, now: float) -> None:
        """Learn from ``flight``, which overlapped another and came back ``now``.

        ``last_completion`` is when the batch before it came back. An overlap shorter than half a call teaches
        nothing, for waiting could not be told from working; nor does a size for which the cost is not known.
        """
        alone = cost.of(flight.size)
        overlap = min(flight.freed, now) - flight.sent
        if overlap < 0.5 * alone or not cost.knows(flight.size):
            return
        waited = now - flight.sent - alone > 0.5 * overlap
        if flight.beside < self.servers:
            if waited:
                self._move(flight.beside)
        else:
            self.until_probe = self.PROBE_EVERY if waited else self.NEXT_PROBE
            self._move(self.servers if waited else self.servers + 1)
            if waited:
                # The upstream started it when the one before it ended; what its call took less than that was lag.
                self.lag += 0.5 * (max(alone - (now - last_completion), 0.0) - self.lag)

    def _move(self, towards: int) -> None:
        self.estimate += self.WEIGHT * (towards - self.estimate)
        self.servers = int(self.estimate + 0.5)


@dataclass(slots=True)
class Observation:
    """The current observation: how many items are awaited, since when, and the wait that would break even."""

    #: Items that are missing; 0 while nothing is observed.
    awaited: float = 0.0
    #: When it began.
    since: float = NOW
    #: Seconds; 0 while the cost of a call is not known, and then the observation teaches nothing.
    break_even: float = 0.0


@dataclass(slots=True)
class Learned:
    """All that a lane's timing has learned; by default nothing. Its timing updates it in place."""

    #: Average of the most items that were here at once (waiting or in flight) between two sends.
    crowd: float = 0.0
    #: Average time until the missing items of the crowd have arrived, in break-even waits.
    return_time: float = 0.0
    #: Average time from the end of a call until the missing items have arrived, in seconds.
    gap: float = 0.0
    #: Share of busy periods in which no item arrived once the whole crowd was here, from 0 to 1.
    quiet: float = 0.0
    cost: CallCost = field(default_factory=CallCost)
    parallelism: Parallelism = field(default_factory=Parallelism)
