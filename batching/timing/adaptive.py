"""The adaptive rule: send as soon as waiting longer cannot pay. ``docs/timing.md`` tells the story."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.clock import NOW
from batching.timing.learning import CallCost, Flight, Parallelism
from batching.timing.rule import AHEAD, CROWD, FULL, IDLE, MAX_WAIT, PROBE, SETTLED, Decision

if TYPE_CHECKING:
    from collections.abc import Hashable

    from batching.timing.rule import LaneState


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
        self._learn_call(flight, now, ok=ok)
        if self._all_here:
            self._quiet += self.QUIET_WEIGHT * ((not self._surprised) - self._quiet)
            self._all_here = self._surprised = False
        if self._awaited > 0.0:
            self._learn_return(now)
        self._last_completion = now
        # Those who were sent ahead could have been held: would the others have come in time?
        if here := lane.waiting + queued:
            self._watch(here, self._missing(here, lane.in_flight_items - queued), now)

    def _learn_call(self, flight: Flight, now: float, *, ok: bool) -> None:
        if not ok:
            # What is under way beside a failure may suffer from the same trouble: it teaches nothing either.
            for other in self._flights.values():
                other.is_seen = False
        elif flight.is_seen:
            if flight.beside:
                self._parallel.judge(flight, self._last_completion, now)
            else:
                self._cost.add(flight.size, now - flight.sent)

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
