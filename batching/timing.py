"""When to send: decisions only, without threads and without looking at a clock.

A timing object belongs to one lane (the queue of one batch key). The queue tells it what happened
(``arrived``, ``sent``, ``completed``) and asks it ``decide``; asking changes nothing.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

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
DRAIN = Decision(NOW, "drain")

#: Every reason a batch can give, for documents and metric labels.
REASONS = tuple(decision.reason for decision in (FULL, MAX_WAIT, CROWD, IDLE, SETTLED, DRAIN))


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

    def arrived(self, lane: LaneState) -> None:
        """Take note that items joined the lane."""
        ...

    def sent(self, lane: LaneState, reason: str, oldest: float, now: float) -> None:
        """Take note that a batch left whose first item arrived at ``oldest``.

        ``lane`` is what remains, the batch counted as in flight.
        """
        ...

    def completed(self, size: int, latency: float, *, alone: bool, now: float) -> None:
        """Take note that a batch came back; ``alone``: none was in flight beside it."""
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

    def arrived(self, lane: LaneState) -> None:
        pass

    def sent(self, lane: LaneState, reason: str, oldest: float, now: float) -> None:
        pass

    def completed(self, size: int, latency: float, *, alone: bool, now: float) -> None:
        pass


class CallCost:
    """What a call costs apart from its items: the line latency = fixed + slope · size, fitted as calls return.

    Exponentially weighted least squares (each new point weighs ``WEIGHT``, all older ones together
    the rest). While all sizes were alike there is no line, and the fixed cost counts as the whole latency
    seen, which errs on the patient side and is corrected by the first batch of another size.
    """

    WEIGHT = 0.1

    def __init__(self) -> None:
        self._seen = False
        self._size = self._latency = self._size_sq = self._product = 0.0

    def add(self, size: int, latency: float) -> None:
        """Learn one call of ``size`` items that took ``latency`` seconds."""
        if not self._seen:
            self._seen = True
            self._size, self._latency = float(size), latency
            self._size_sq, self._product = float(size * size), size * latency
            return
        w = self.WEIGHT
        self._size += w * (size - self._size)
        self._latency += w * (latency - self._latency)
        self._size_sq += w * (size * size - self._size_sq)
        self._product += w * (size * latency - self._product)

    @property
    def fixed(self) -> float:
        """Seconds that one more call would cost before its first item; never negative."""
        variance = self._size_sq - self._size * self._size
        if variance < 0.01:
            return self._latency
        slope = (self._product - self._size * self._latency) / variance
        return min(max(self._latency - slope * self._size, 0.0), self._latency)


class AdaptiveTiming:
    """Send as soon as waiting longer cannot pay: everybody is back, or nobody else is expected.

    ``docs/design.md`` tells the story. In short: while the upstream is busy the batch grows; when it
    is free, wait for the crowd that was here a moment ago, but only if such waits have been
    rewarded lately and never longer than a merged call can save.
    """

    #: Weight of the newest batch in the average of the crowd.
    CROWD_WEIGHT = 0.3
    #: Weight of the newest hold in the average of how holds ended, and the average below which they stop.
    HOLD_WEIGHT, HOLD_PAYS = 0.2, 0.7
    #: While holding does not pay, every so many sends one hold tries whether it would pay again.
    PROBE_EVERY = 32

    def __init__(self, max_batch_size: int, max_wait: float, upstream_parallelism: int = 1) -> None:
        self._max_batch_size = max_batch_size
        self._max_wait = max_wait
        self._parallelism = upstream_parallelism
        self._cost = CallCost()
        self._crowd = 0.0
        self._peak = 0
        self._holds_pay = 1.0
        #: Times it could have held and either did or did not.
        self._chances = 1
        self._last_completion = NOW

    def decide(self, lane: LaneState, in_flight: int, now: float) -> Decision:
        if lane.is_full:
            return FULL
        give_up = lane.oldest + self._max_wait
        if give_up <= now:
            return MAX_WAIT
        if in_flight >= self._parallelism:
            return Decision(give_up, "max_wait")
        if lane.waiting >= min(self._crowd, self._max_batch_size) - 0.5:
            return CROWD
        if not self._may_hold():
            return IDLE
        settled = max(lane.oldest, self._last_completion) + self._cost.fixed
        if settled <= now:
            return SETTLED
        return Decision(min(settled, give_up), "settled")

    def _may_hold(self) -> bool:
        return self._holds_pay >= self.HOLD_PAYS or self._chances % self.PROBE_EVERY == 0

    def arrived(self, lane: LaneState) -> None:
        self._peak = max(self._peak, lane.waiting + lane.in_flight_items)

    def sent(self, lane: LaneState, reason: str, oldest: float, now: float) -> None:
        self._crowd += self.CROWD_WEIGHT * (self._peak - self._crowd)
        self._peak = lane.waiting + lane.in_flight_items
        if reason == "idle":
            self._chances += 1
        elif now > max(oldest, self._last_completion):
            # It was held although the upstream was free. Did the crowd come, or only the end of patience?
            self._chances += 1
            self._holds_pay += self.HOLD_WEIGHT * ((reason in {"crowd", "full"}) - self._holds_pay)

    def completed(self, size: int, latency: float, *, alone: bool, now: float) -> None:
        self._last_completion = now
        if alone:
            self._cost.add(size, latency)
