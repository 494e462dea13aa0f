"""When to send: decisions only, without threads and without looking at a clock.

A timing object belongs to one lane (the queue of one batch key). The queue tells it what happened
(``arrived``, ``sent``, ``completed``) and asks it ``decide``; asking changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable

#: Never by itself: something else has to happen first.
NEVER = math.inf
#: At once: a moment that has always passed.
NOW = -math.inf


class Decision(NamedTuple):
    """Send at ``due`` (a moment on the clock, ``NOW`` or ``NEVER``), for this ``reason``."""

    due: float
    reason: str


HOLD = Decision(NEVER, "hold")
FULL = Decision(NOW, "full")
MAX_WAIT = Decision(NOW, "max_wait")
CROWD = Decision(NOW, "crowd")
IDLE = Decision(NOW, "idle")
SETTLED = Decision(NOW, "settled")
AHEAD = Decision(NOW, "ahead")
PROBE = Decision(NOW, "probe")
DRAIN = Decision(NOW, "drain")

#: Every reason a batch can give, for documents and metric labels.
REASONS = tuple(decision.reason for decision in (FULL, MAX_WAIT, CROWD, IDLE, SETTLED, AHEAD, PROBE, DRAIN))


class LaneState(Protocol):
    """What a decision may look at. Items are counted, times are moments in seconds."""

    waiting: int
    is_full: bool
    oldest: float
    in_flight_items: int


class Timing(Protocol):
    """Decides when the items of one lane are sent, and learns from what became of them."""

    def decide(self, lane: LaneState, in_flight: int, now: float) -> Decision:
        """Say when the waiting items are due, given how many batches are in flight upstream."""
        ...

    def arrived(self, lane: LaneState, count: int, now: float) -> None:
        """Take note that ``count`` items joined the lane."""
        ...

    def sent(self, lane: LaneState, batch: Hashable, size: int, beside: int, now: float) -> None:
        """Take note that ``batch`` left with ``size`` items while ``beside`` others were in flight.

        ``lane`` is what remains, the batch counted as in flight.
        """
        ...

    def completed(self, lane: LaneState, batch: Hashable, now: float, *, ok: bool) -> None:
        """Take note that ``batch`` came back, with results if ``ok``; ``lane`` no longer counts it as in flight."""
        ...


class FixedTiming:
    """The classic rule: send when full, or when the oldest item has waited ``max_wait`` seconds."""

    def __init__(self, max_wait: float) -> None:
        self._max_wait = max_wait

    def decide(self, lane: LaneState, in_flight: int, now: float) -> Decision:  # noqa: ARG002
        if lane.is_full:
            return FULL
        due = lane.oldest + self._max_wait
        return MAX_WAIT if due <= now else Decision(due, "max_wait")

    def arrived(self, lane: LaneState, count: int, now: float) -> None:
        pass

    def sent(self, lane: LaneState, batch: Hashable, size: int, beside: int, now: float) -> None:
        pass

    def completed(self, lane: LaneState, batch: Hashable, now: float, *, ok: bool) -> None:
        pass


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


class AdaptiveTiming:
    """Send as soon as waiting longer cannot pay: everybody is back, or nobody else is expected in time.

    ``docs/timing.md`` tells the story and has the figures. In short: while the upstream is busy the batch
    grows. When it is free, the batch waits for the crowd that was here a moment ago, as long as that costs those
    who wait less than it saves those who are missing. Whether it does is learned by watching, at every
    chance, when the missing ones come, be the batch held for them or not: so nothing is tried out at the
    clients' expense.
    """

    #: Weight of the newest batch in the average size of the crowd: it forgets half of it in two batches.
    CROWD_WEIGHT = 0.3
    #: Weight of the newest chance in the average of how long the crowd takes to return.
    RETURN_WEIGHT = 0.2
    #: Holding is worth while that average stays below this share of the wait that would break even.
    #: Below 0.5 spread-out crowds are split, at 1.0 Poisson traffic is held for nothing.
    PAYS = 0.8
    #: The longest return that counts, in waits that break even: an outlier must not shut the gate for long.
    LOST = 2.0
    #: Batches are sent ahead while in this share of cases nobody came after all had been counted (weight 0.1).
    QUIET, QUIET_WEIGHT = 0.9, 0.1

    def __init__(self, max_batch_size: int, max_wait: float, upstream_parallelism: int = 1) -> None:
        """``upstream_parallelism`` is where learning starts."""
        self._max_batch_size = max_batch_size
        self._max_wait = max_wait
        self._cost = CallCost()
        self._parallel = Parallelism(upstream_parallelism, self._cost)
        self._flights: dict[Hashable, Flight] = {}
        self._last_arrival = self._last_sent = self._last_completion = NOW
        # The crowd: average of the most items that were here at once (waiting or in flight) between two sends.
        self._crowd = 0.0
        self._peak = 0
        # The chance under observation: how many are awaited, since when, and the wait that would break even.
        self._awaited = 0.0
        self._since = NOW
        self._break_even = 0.0
        # What chances taught: how long the crowd takes to come back, in break-even waits and in seconds.
        self._return = 0.0
        self._gap = 0.0
        # Whether all are here while the upstream is busy, whether somebody came even so, and how seldom that is.
        self._all_here = self._surprised = False
        self._quiet = 0.0

    # ---- decisions ------------------------------------------------------------------------------

    def decide(self, lane: LaneState, in_flight: int, now: float) -> Decision:
        if lane.is_full:
            return FULL
        give_up = lane.oldest + self._max_wait
        if give_up <= now:
            return MAX_WAIT
        if in_flight >= self._parallel.servers:
            if in_flight == self._parallel.servers:
                if self._may_probe(lane, now):
                    return PROBE
                if self._ahead_pays(lane):
                    return AHEAD
            return Decision(give_up, "max_wait")
        missing = self._missing(lane.waiting, lane.in_flight_items)
        if missing < 0.5:
            return CROWD
        if self._return > self.PAYS or self._parallel.wants_probe:
            return IDLE
        settled = max(self._last_arrival, self._last_completion) + self._worth(lane.waiting, missing)
        if settled <= now:
            return SETTLED
        return Decision(min(settled, give_up), "settled")

    def _missing(self, waiting: int, served: int) -> float:
        """How many may still come into a batch of ``waiting``, while ``served`` others cannot."""
        share = min(self._crowd / self._parallel.servers, self._max_batch_size)
        return min(share, self._crowd - served) - waiting

    def _worth(self, waiting: int, missing: float) -> float:
        """The wait that breaks even: w seconds cost the waiting w each, and save the missing a call less w each."""
        return self._cost.of(waiting) * missing / (waiting + missing)

    def _may_probe(self, lane: LaneState, now: float) -> bool:
        """Whether an overlap is wanted, and would be long enough to judge by."""
        return self._parallel.wants_probe and now - self._last_sent < 0.5 * self._cost.of(lane.waiting)

    def _ahead_pays(self, lane: LaneState) -> bool:
        """Whether to queue this batch at the busy upstream: nobody else can come, and merging would not be faster."""
        here = lane.waiting + lane.in_flight_items
        if self._quiet < self.QUIET or here < self._crowd - 0.5:
            return False
        merged = min(self._crowd, self._max_batch_size)
        merged_seconds = self._cost.of(merged) + self._gap
        apart_seconds = self._cost.of(lane.waiting) + self._cost.of(lane.in_flight_items) - 2 * self._parallel.lag
        return here * merged_seconds > merged * apart_seconds

    # ---- what happened --------------------------------------------------------------------------

    def arrived(self, lane: LaneState, count: int, now: float) -> None:
        here = lane.waiting + lane.in_flight_items
        if self._all_here:
            self._surprised = True
        elif lane.in_flight_items and here >= self._crowd - 0.5:
            self._all_here = True
        if self._awaited > 0.0:
            self._awaited -= count
            if self._awaited < 0.5:
                self._learn_return(now)
        elif here == count:
            self._watch(count, self._missing(count, 0), now)
        self._peak = max(self._peak, here)
        self._last_arrival = now

    def sent(self, lane: LaneState, batch: Hashable, size: int, beside: int, now: float) -> None:
        self._crowd += self.CROWD_WEIGHT * (self._peak - self._crowd)
        self._peak = lane.waiting + lane.in_flight_items
        blockers = max(beside - self._parallel.servers, 0) + 1
        self._flights[batch] = Flight(size, now, beside, beside == len(self._flights), blockers)
        self._parallel.sent()
        self._last_sent = now

    def completed(self, lane: LaneState, batch: Hashable, now: float, *, ok: bool) -> None:
        flight = self._flights.pop(batch)
        queued = 0
        for other in self._flights.values():
            other.blockers -= 1
            if not other.blockers:
                other.freed = now
            if other.beside >= self._parallel.servers:
                queued += other.size
        if ok and flight.is_seen:
            if flight.beside:
                self._parallel.judge(flight, self._last_completion, now)
            else:
                self._cost.add(flight.size, now - flight.sent)
        if self._all_here:
            self._quiet += self.QUIET_WEIGHT * ((not self._surprised) - self._quiet)
            self._all_here = self._surprised = False
        if self._awaited > 0.0:
            self._learn_return(now)
        self._last_completion = now
        # Those who were sent ahead could have been held: would the others have come in time?
        if here := lane.waiting + queued:
            self._watch(here, self._missing(here, lane.in_flight_items - queued), now)

    def _watch(self, here: int, missing: float, now: float) -> None:
        """Begin to observe a chance to hold ``here`` items for the ``missing`` ones, whether it is taken or not."""
        if missing >= 0.5:
            self._awaited = missing
            self._since = now
            self._break_even = self._worth(here, missing)

    def _learn_return(self, now: float) -> None:
        """The awaited are here, or the next batch is back before them."""
        self._awaited = 0.0
        if self._break_even > 0.0:
            taken = min((now - self._since) / self._break_even, self.LOST)
            self._return += self.RETURN_WEIGHT * (taken - self._return)
            self._gap += self.RETURN_WEIGHT * (now - self._last_completion - self._gap)
