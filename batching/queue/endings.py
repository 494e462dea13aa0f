"""How calls end: with their results, with an error, or not yet, because their items go back to the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.errors import ProxyError
from batching.outcomes import Again

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import Call, Part
    from batching.capacity import Capacity
    from batching.outcomes import Result
    from batching.queue.admission import Admission
    from batching.queue.lanes import Lanes


class Endings:
    """Ends calls and takes them out of the counts. Used with the queue's lock held."""

    __slots__ = ("_admission", "_capacity", "_lanes")

    def __init__(self, admission: Admission, lanes: Lanes, capacity: Capacity) -> None:
        self._admission = admission
        self._lanes = lanes
        self._capacity = capacity

    def fill(self, call: Call, start: int, results: list[Result]) -> None:
        """Take results of a call; it ends with the last of them."""
        if call.fill(start, results):
            self._end(call)

    def drop(self, call: Call, error: ProxyError) -> None:
        """End a call with an error; its waiting items are never sent. Its waiter is woken by the caller."""
        call.error = error
        self._end(call)
        if call.waiting:
            lane = self._lanes.open(call.key)
            self._admission.queued_items -= lane.drop(call)
            self._lanes.close_if_empty(lane)

    def settle(self, part: Part, of: Sequence[Result | ProxyError | Again], now: float) -> None:
        """Settle the part of a call that was in a batch, of which not every item has a result.

        The call ends with the first error of its items. Where there are no errors and some items are ``Again``, these
        and those behind them wait again, in front of all that came later, if the call has the time and none of its
        items behind this part is in flight or has its result: what waits of a call is always its end.
        """
        call, start, stop = part
        error = next((each for each in of if isinstance(each, ProxyError)), None)
        if error is not None:
            self.drop(call, error)
            return
        again = next((each for each in of if isinstance(each, Again)), None)
        if again is None:
            self.fill(call, start, [each for each in of if isinstance(each, bytes)])
        elif stop < call.taken or not self._may_go_again(call, again, now):
            self.drop(call, again.error)
        else:
            first = of.index(again)
            self.fill(call, start, [each for each in of[:first] if isinstance(each, bytes)])
            self._put_back(call, start + first, again, now)

    def _may_go_again(self, call: Call, again: Again, now: float) -> bool:
        """Whether a call has the time to go again, and has not done so already for such a reason."""
        if again.retry_reason is not None and call.retry_reason is not None:
            return False
        lane = self._lanes.find(call.key)
        latency = 0.0 if lane is None else lane.latency
        return self._capacity.opens_at(now) + latency < call.deadline

    def _put_back(self, call: Call, first: int, again: Again, now: float) -> None:
        call.retry_reason = again.retry_reason or call.retry_reason
        lane = self._lanes.open(call.key)
        count = lane.put_back(call, first)
        self._admission.queued_items += count
        lane.timing.arrived(lane, count, now)

    def _end(self, call: Call) -> None:
        call.done = True
        self._admission.calls -= 1
