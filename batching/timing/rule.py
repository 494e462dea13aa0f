"""What a timing rule is asked and what it answers, and the simplest rule. No threads, no clock.

A timing object belongs to one lane (the queue of one batch key). The queue tells it what happened
(``arrived``, ``sent``, ``completed``) and asks it ``decide``, always with the queue's lock held. ``decide`` changes
nothing. All times are in seconds. Moments are those of the queue's clock, which never goes backwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from batching.clock import NEVER, NOW

if TYPE_CHECKING:
    from collections.abc import Hashable

    from batching.timing.learning import CallCost


class Decision(NamedTuple):
    """Send at ``due`` (a moment of the clock, ``NOW`` or ``NEVER``), for this ``reason``."""

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
#: Not a rule's decision but the queue's: a suspected item waits for no other.
SUSPECT = Decision(NOW, "suspect")
#: Nor this: bulk items have a place now.
BULK = Decision(NOW, "bulk")

#: Every reason for which a batch can be sent, for documents and metric labels.
_ALL = (FULL, MAX_WAIT, CROWD, IDLE, SETTLED, AHEAD, PROBE, DRAIN, SUSPECT, BULK)
REASONS = tuple(decision.reason for decision in _ALL)


class LaneState(Protocol):
    """What a timing object may read of its lane."""

    #: Items that wait.
    waiting: int
    #: Whether the waiting items fill a batch, by their number or their bytes.
    is_full: bool
    #: When the oldest waiting item arrived; ``NEVER`` where none waits.
    oldest: float
    #: Items of this lane that were sent and have not come back.
    in_flight_items: int


class Timing(Protocol):
    """Decides when the items of one lane are sent, and learns from the events of that lane."""

    @property
    def servers(self) -> int | None:
        """Calls that the upstream works on at once; None where that is not learned."""
        ...

    @property
    def cost(self) -> CallCost | None:
        """How long a call takes; None where that is not learned."""
        ...

    def wants_probe(self, size: int, now: float) -> bool:
        """Whether a call of ``size`` items should be sent beside another, to learn how many the upstream works on."""
        ...

    def decide(self, lane: LaneState, in_flight: int, now: float) -> Decision:
        """Return when the waiting items are due, and why; ``in_flight`` counts batches, those of other lanes too."""
        ...

    def arrived(self, lane: LaneState, count: int, now: float) -> None:
        """Take note that ``count`` items joined the lane; ``lane.waiting`` counts them already."""
        ...

    def sent(self, lane: LaneState, batch: Hashable, size: int, beside: int, now: float) -> None:
        """Take note that ``batch`` was sent with ``size`` items while ``beside`` other batches were in flight.

        ``lane`` no longer counts its items as waiting but as in flight.
        """
        ...

    def completed(self, lane: LaneState, batch: Hashable, now: float, *, ok: bool) -> None:
        """Take note that ``batch`` came back; ``lane`` no longer counts its items as in flight.

        ``ok`` is true if the upstream returned results and the time since ``sent`` is the upstream's own. The time
        of any other batch teaches nothing.
        """
        ...


class FixedTiming:
    """The classic rule: send when the batch is full, or when the oldest item has waited ``max_wait`` seconds."""

    servers: int | None = None
    cost: CallCost | None = None

    def __init__(self, max_wait: float) -> None:
        self._max_wait = max_wait

    def wants_probe(self, size: int, now: float) -> bool:  # noqa: ARG002
        """Nothing is learned."""
        return False

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
