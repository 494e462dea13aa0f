"""How calls end: with their results, with an error, or not yet, because their items go back to the queue."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from batching.call import Part
from batching.clock import NEVER
from batching.errors import ProxyError, UpstreamUnavailable
from batching.outcomes import UNKNOWN, Again

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import Call
    from batching.capacity import Capacity
    from batching.outcomes import Result, Source
    from batching.queue.admission import Admission
    from batching.queue.lanes import Lanes


#: What the client is told whose results came from two models.
TWO_MODELS = "parts of this request were answered by different models; try again"


class Endings:
    """Ends calls and takes them out of the counts. Used with the queue's lock held."""

    __slots__ = ("_admission", "_capacity", "_lanes")

    def __init__(self, admission: Admission, lanes: Lanes, capacity: Capacity) -> None:
        self._admission = admission
        self._lanes = lanes
        self._capacity = capacity

    def fill(self, call: Call, start: int, results: list[Result], source: Source = UNKNOWN) -> None:
        """Take results of a call; it ends with the last of them, or where two models gave them."""
        if len(results) < len(call.items):
            known = call.source or UNKNOWN
            if known.differs_from(source):
                self.drop(call, UpstreamUnavailable(TWO_MODELS, retry_after=1))
                return
            call.source = known.completed_by(source)
        if call.fill(start, results):
            self.end(call)

    def drop(self, call: Call, error: ProxyError) -> None:
        """End a call with an error; its waiting items are never sent. Its waiter is woken by the caller."""
        call.error = error
        self.end(call)
        if not call.is_emptied:
            lane = self._lanes.open(call.key)
            self._admission.queued_items -= lane.of(call).drop(call)
            self._lanes.close_if_empty(lane)

    def settle(
        self, part: Part, of: Sequence[Result | ProxyError | Again], now: float, source: Source = UNKNOWN
    ) -> None:
        """Settle the part of a call that was in a batch, of which not every item has a result.

        The call ends with the first error of its items. Where there are no errors, items that are ``Again`` wait
        again, in front of all that came later, if the call has the time; the others' results are kept.
        """
        call = part.call
        error = next((each for each in of if isinstance(each, ProxyError)), None)
        if error is None:
            first = next((each for each in of if isinstance(each, Again)), None)
            if first is not None and not self._may_go_again(part, first, now):
                error = first.error
        if error is not None:
            self.drop(call, error)
            return
        position = part.start
        for again, run in groupby(of, key=_again):
            outcomes = list(run)
            if again is None:
                self.fill(call, position, [each for each in outcomes if isinstance(each, bytes)], source)
                if call.done:
                    return
            else:
                reason = again.retry_reason or part.retry_reason
                self._put_back(Part(call, position, position + len(outcomes), reason), now, alone=again.alone)
            position += len(outcomes)

    def _may_go_again(self, part: Part, again: Again, now: float) -> bool:
        """Whether items have the time to go again, and have not done so already for such a reason."""
        if again.retry_reason is not None and part.retry_reason is not None:
            return False
        lane = self._lanes.find(part.call.key)
        latency = 0.0 if lane is None else lane.latency
        opens_at = self._capacity.opens_at(now)
        if (outage := self._capacity.outage) is not None:
            if outage.ends_at <= now:
                return False
            opens_at = now if opens_at == NEVER else opens_at  # it opens when the probe has succeeded
        return opens_at + latency < part.call.deadline

    def _put_back(self, part: Part, now: float, *, alone: bool) -> None:
        call = part.call
        lane = self._lanes.open(call.key)
        count = part.stop - part.start
        self._admission.queued_items += count
        if call.rank.is_bulk:
            lane.open_bulk().put_back(part, alone=alone)
        else:
            lane.put_back(part, alone=alone)
            lane.timing.arrived(lane, count, now)

    def end(self, call: Call) -> None:
        """Count a call out that has all its results, or an error."""
        call.done = True
        self._admission.ended(call)


def _again(outcome: Result | ProxyError | Again) -> Again | None:
    return outcome if isinstance(outcome, Again) else None
