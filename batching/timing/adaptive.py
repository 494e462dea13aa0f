"""The adaptive rule: send as soon as waiting longer cannot pay. ``docs/timing.md`` derives it and has the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.clock import NOW
from batching.timing.learning import Flight, Learned, Observation, Parallelism
from batching.timing.rule import AHEAD, CROWD, FULL, IDLE, MAX_WAIT, PROBE, SETTLED, Decision

if TYPE_CHECKING:
    from collections.abc import Hashable

    from batching.timing.learning import CallCost
    from batching.timing.rule import LaneState


class AdaptiveTiming:
    """Send when the whole crowd is here, or when the items still missing are not expected in time.

    While the upstream is busy the batch grows. While it is free, the batch is held for the missing items of the
    crowd, as long as holding costs the waiting items less than it saves the missing ones. Whether the missing
    items come in time is observed after each call, whether the batch is held or not. So no item is held as an
    experiment.
    """

    #: Weight of the newest batch in the average size of the crowd: two batches halve what was there before.
    CROWD_WEIGHT = 0.3
    #: Weight of the newest observation in the average return time and gap.
    RETURN_WEIGHT = 0.2
    #: Batches are held while the average return time is at most this many break-even waits.
    #: Below 0.5 a crowd that returns spread out is split; at 1.0 Poisson traffic is held for nothing.
    PAYS = 0.8
    #: Longest return that counts, in break-even waits. It caps one observation, so that a single very late return
    #: cannot keep holding switched off.
    LOST = 2.0
    #: Batches are sent ahead while at least this share of busy periods was quiet, and the newest one's weight in it.
    QUIET, QUIET_WEIGHT = 0.9, 0.1

    def __init__(
        self, max_batch_size: int, max_wait: float, upstream_parallelism: int = 1, learned: Learned | None = None
    ) -> None:
        """Start from ``learned``, which this object goes on to update, or from nothing but ``upstream_parallelism``.

        ``max_batch_size`` counts items, ``max_wait`` is in seconds, ``upstream_parallelism`` counts calls.
        """
        self._max_batch_size = max_batch_size
        self._max_wait = max_wait
        self._learned = Learned(parallelism=Parallelism(float(upstream_parallelism))) if learned is None else learned
        self._flights: dict[Hashable, Flight] = {}
        self._last_sent = self._last_completion = NOW
        # The last arrival or completion.
        self._last_event = NOW
        # The most items that were here at once (waiting or in flight) since the last send.
        self._peak = 0
        self._observation = Observation()
        # Of the current busy period: whether the whole crowd has been here, and whether an item arrived after that.
        self._all_here = self._surprised = False

    @property
    def learned(self) -> Learned:
        """What has been learned so far: the live record, not a copy."""
        return self._learned

    @property
    def servers(self) -> int:
        """Calls that the upstream works on at once."""
        return self._learned.parallelism.servers

    @property
    def cost(self) -> CallCost:
        """How long a call takes."""
        return self._learned.cost

    def wants_probe(self, size: int, now: float) -> bool:
        """Whether a call of ``size`` items should be sent beside another, and would overlap it for long enough."""
        return self._learned.parallelism.wants_probe and now - self._last_sent < 0.5 * self._learned.cost.of(size)

    # ---- decisions ------------------------------------------------------------------------------

    def decide(self, lane: LaneState, in_flight: int, now: float) -> Decision:
        """Return when the waiting items are due, and why. The first case that matches decides:

        1. The limit of batches in flight is reached: hold. The queue sees to this case before it asks.
        2. The batch is full: send, even behind another.
        3. The oldest item has waited ``max_wait``: send.
        4. All servers of the upstream are busy: hold until ``max_wait``. With one batch on each server there are
           two exceptions: send a ``probe`` where one is due, or send ``ahead`` where that is faster than merging.
        5. Less than half an item of the crowd is missing: send.
        6. The crowd has not come back in time lately, or a probe is due: send.
        7. Hold until the break-even wait has passed since the last arrival or completion, then send.
        """
        if lane.is_full:
            return FULL
        give_up = lane.oldest + self._max_wait
        if give_up <= now:
            return MAX_WAIT
        learned = self._learned
        servers = learned.parallelism.servers
        if in_flight >= servers:
            if in_flight == servers:
                if learned.parallelism.wants_probe and self._would_overlap(lane, now):
                    return PROBE
                if learned.quiet >= self.QUIET and self._ahead_pays(lane):
                    return AHEAD
            return Decision(give_up, "max_wait")
        waiting = lane.waiting
        missing = self._missing(waiting, lane.in_flight_items)
        if missing < 0.5:
            return CROWD
        if learned.return_time > self.PAYS or learned.parallelism.wants_probe:
            return IDLE
        settled = self._last_event + self._break_even(waiting, missing)
        if settled <= now:
            return SETTLED
        return Decision(min(settled, give_up), "settled")

    def _missing(self, waiting: int, served: int) -> float:
        """How many items may still join a batch of ``waiting``; the ``served`` items of the crowd cannot."""
        learned = self._learned
        crowd = learned.crowd
        share = min(crowd / learned.parallelism.servers, self._max_batch_size)
        return min(share, crowd - served) - waiting

    def _break_even(self, waiting: int, missing: float) -> float:
        """Seconds of waiting that cost as much as they save.

        A wait of w costs each waiting item w. It saves each missing item a call less w, for the missing items
        would otherwise find the upstream busy.
        """
        return self._learned.cost.of(waiting) * missing / (waiting + missing)

    def _would_overlap(self, lane: LaneState, now: float) -> bool:
        """Whether a probe would overlap the call in flight for long enough to be judged."""
        return now - self._last_sent < 0.5 * self._learned.cost.of(lane.waiting)

    def _ahead_pays(self, lane: LaneState) -> bool:
        """Whether to queue this batch at the busy upstream: no other item can join it, and merging is not faster."""
        learned = self._learned
        here = lane.waiting + lane.in_flight_items
        if here < learned.crowd - 0.5:
            return False
        cost = learned.cost
        merged = min(learned.crowd, self._max_batch_size)
        merged_seconds = cost.of(merged) + learned.gap
        apart_seconds = cost.of(lane.waiting) + cost.of(lane.in_flight_items) - 2 * learned.parallelism.lag
        return here * merged_seconds > merged * apart_seconds

    # ---- events ---------------------------------------------------------------------------------

    def arrived(self, lane: LaneState, count: int, now: float) -> None:
        here = lane.waiting + lane.in_flight_items
        if self._all_here:
            self._surprised = True
        elif lane.in_flight_items and here >= self._learned.crowd - 0.5:
            self._all_here = True
        observation = self._observation
        if observation.awaited > 0.0:
            observation.awaited -= count
            if observation.awaited < 0.5:
                self._learn_return(now)
        elif here == count:
            self._start_observation(count, self._missing(count, 0), now)
        if here > self._peak:  # noqa: PLR1730 - a call of max() would take a third of this method's time
            self._peak = here
        self._last_event = now

    def sent(self, lane: LaneState, batch: Hashable, size: int, beside: int, now: float) -> None:
        learned = self._learned
        learned.crowd += self.CROWD_WEIGHT * (self._peak - learned.crowd)
        self._peak = lane.waiting + lane.in_flight_items
        blockers = max(beside - learned.parallelism.servers, 0) + 1
        self._flights[batch] = Flight(size, now, beside, beside == len(self._flights), blockers)
        learned.parallelism.sent()
        self._last_sent = now

    def completed(self, lane: LaneState, batch: Hashable, now: float, *, ok: bool) -> None:
        flight = self._flights.pop(batch)
        queued = 0
        for other in self._flights.values():
            other.blockers -= 1
            if not other.blockers:
                other.freed = now
            if other.beside >= self._learned.parallelism.servers:
                queued += other.size
        self._learn_call(flight, now, ok=ok)
        if self._all_here:
            learned = self._learned
            learned.quiet += self.QUIET_WEIGHT * ((not self._surprised) - learned.quiet)
            self._all_here = self._surprised = False
        if self._observation.awaited > 0.0:
            self._learn_return(now)
        self._last_event = self._last_completion = now
        # Items queued at the upstream count as waiting here: had they been held, missing items could have joined them.
        if here := lane.waiting + queued:
            self._start_observation(here, self._missing(here, lane.in_flight_items - queued), now)

    def _learn_call(self, flight: Flight, now: float, *, ok: bool) -> None:
        """Learn the cost from a call that was alone, the parallelism from one that overlapped others."""
        learned = self._learned
        if not ok:
            # Calls in flight beside a failed one may suffer from the same fault, so they teach nothing either.
            for other in self._flights.values():
                other.is_seen = False
        elif flight.is_seen:
            if flight.beside:
                learned.parallelism.judge(flight, learned.cost, self._last_completion, now)
            else:
                learned.cost.add(flight.size, now - flight.sent)

    def _start_observation(self, here: int, missing: float, now: float) -> None:
        """Observe when the ``missing`` items arrive that ``here`` items could be held for, be they held or not."""
        if missing >= 0.5:
            observation = self._observation
            observation.awaited = missing
            observation.since = now
            observation.break_even = self._break_even(here, missing)

    def _learn_return(self, now: float) -> None:
        """End the observation: the awaited items have arrived, or the next batch came back before them."""
        observation = self._observation
        observation.awaited = 0.0
        if observation.break_even > 0.0:
            learned = self._learned
            waits = min((now - observation.since) / observation.break_even, self.LOST)
            learned.return_time += self.RETURN_WEIGHT * (waits - learned.return_time)
            if self._last_completion > NOW:  # the gap begins with a completion
                learned.gap += self.RETURN_WEIGHT * (now - self._last_completion - learned.gap)
