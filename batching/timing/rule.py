"""When to send: decisions only, without threads and without looking at a clock.

A timing object belongs to one lane (the queue of one batch key). The queue tells it what happened
(``arrived``, ``sent``, ``completed``) and asks it ``decide``; asking changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from batching.clock import NEVER, NOW

if TYPE_CHECKING:
    from collections.abc import Hashable


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
        """Take note that ``batch`` came back; ``lane`` no longer counts it as in flight.

        ``ok``: with results, after as long as the upstream takes. Otherwise its latency teaches nothing.
        """
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
