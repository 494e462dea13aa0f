"""How calls end: with their results, with an error, or not yet, because their items go back to the queue."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from batching.call import Part
from batching.clock import NEVER
from batching.errors import InputsInDoubt, ProxyError, UpstreamUnavailable
from batching.isolation.search import told
from batching.outcomes import UNKNOWN, Again

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import Batch, Call
    from batching.capacity import Capacity
    from batching.outcomes import Outcomes, Result, Source
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
            self._admission.end(call)

    def drop(self, call: Call, error: ProxyError) -> None:
        """End a call with an error; its waiting items are never sent. Its waiter is woken by the caller."""
        call.error = error
        self._admission.end(call)
        if not call.is_emptied:
            lane = self._lanes.open(call.key)
            self._admission.queued_items -= lane.of(call).drop(call)
            self._lanes.close_if_empty(lane)

    def settle_batch(self, batch: Batch, outcomes: Outcomes, now: float) -> list[Call]:
        """Settle all parts of a batch, and the items that share its results; return the calls that ended."""
        ended: list[Call] = []
        position = 0
        for part in batch.parts:
            call, start, stop, _ = part
            of = outcomes.of[position : position + stop - start]
            if batch.tokens is not None and not call.done:
                call.count(batch.tokens[position : position + len(of)], of)
            position += len(of)
            if call.done:
                continue
            if outcomes.error is not None:
                self.settle(part, of, now, outcomes.source)
            elif len(of) == len(call.items):
                call.fill(start, of)  # type: ignore[arg-type] # without an error all are results
                self._admission.end(call)
            else:
                self.fill(call, start, of, outcomes.source)  # type: ignore[arg-type]
            if call.done:
                call.record(batch, now)
                ended.append(call)
        if batch.shared:
            ended += self.settle_shared(batch, outcomes, now)
        return ended

    def deliver(self, batch: Batch, first: int, results: list[Result], now: float, source: Source) -> list[Call]:
        """Hand out results of the items from position ``first`` on to the calls that are complete with them.

        Return these calls.
        """
        ended: list[Call] = []
        position = 0
        for call, start, stop, _ in batch.parts:
            count = stop - start
            at = position - first
            position += count
            if at >= 0 and at + count <= len(results) and count == call.missing and not call.done:
                if batch.tokens is not None:
                    call.count(batch.tokens[position - count : position], results[at : at + count])
                self.fill(call, start, results[at : at + count], source)
                call.record(batch, now)
                ended.append(call)
        if batch.shared:
            ended += self.deliver_shared(batch, first, results, now, source)
        return ended

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

    def settle_shared(self, batch: Batch, outcomes: Outcomes, now: float) -> list[Call]:
        """Give what became of items to the calls with equal ones; return the calls that ended.

        The items of a batch that is of one call all bear the blame for one of them, for that call fails in any case.
        So the items of other calls that are equal to them wait again. A suspect's equals do so together with others:
        each by itself would take a call.
        """
        ended: list[Call] = []
        is_blamed_whole = isinstance(outcomes.error, InputsInDoubt) and batch.is_of_one_call
        for part, at in batch.shared:
            call, of = part.call, outcomes.of[at]
            if call.done:
                continue
            if is_blamed_whole and isinstance(of, InputsInDoubt) and call is not batch.call_at(at):
                of = Again(told())
            if isinstance(of, Again):
                of = of._replace(alone=False)
            else:
                call.shared |= call is not batch.call_at(at)
            if batch.tokens is not None:
                call.count(batch.tokens[at : at + 1], [of])
            self.settle(part, [of], now, outcomes.source)
            if call.done:
                call.record(batch, now)
                ended.append(call)
        return ended

    def deliver_shared(self, batch: Batch, first: int, results: list[Result], now: float, source: Source) -> list[Call]:
        """Give results to the calls that lack nothing but an item equal to one of theirs; return these calls."""
        ended: list[Call] = []
        for part, at in batch.shared:
            call = part.call
            if call.done or call.missing > 1 or not first <= at < first + len(results):
                continue
            call.shared |= call is not batch.call_at(at)
            if batch.tokens is not None:
                call.count(batch.tokens[at : at + 1], results[at - first : at - first + 1])
            self.fill(call, part.start, results[at - first : at - first + 1], source)
            call.record(batch, now)
            ended.append(call)
        return ended

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


def _again(outcome: Result | ProxyError | Again) -> Again | None:
    return outcome if isinstance(outcome, Again) else None
