"""Which calls are admitted, and how many calls and waiting items there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.clock import NEVER
from batching.errors import Overloaded, ShuttingDown, UpstreamOverloaded
from batching.rank import ORDINARY

if TYPE_CHECKING:
    from batching.call import Call
    from batching.capacity import Capacity
    from batching.errors import ProxyError
    from batching.limits import Limits


#: Bulk's part of the calls and of the items that may wait: the rest is kept for interactive calls.
BULK_SHARE = 0.8


class Admission:
    """Counts admitted calls and their waiting items, and refuses what exceeds the limits.

    Used with the queue's lock held.
    """

    __slots__ = ("_capacity", "_limits", "calls", "is_closed", "queued_items")

    def __init__(self, limits: Limits, capacity: Capacity) -> None:
        self._limits = limits
        self._capacity = capacity
        #: Calls that have not ended, and items that wait for a batch.
        self.calls = 0
        self.queued_items = 0
        self.is_closed = False

    def admit(self, call: Call, now: float) -> None:
        """Count a call in.

        Raises ``Overloaded`` beyond the limits, ``ShuttingDown`` once closed, and what ``hopeless`` says.
        """
        count = len(call.items)
        if self.is_closed or self.calls >= self._limits.max_calls:
            raise self._refusal()
        if self.queued_items + count > self._limits.max_queued_items:
            raise Overloaded(
                f"{self.queued_items} inputs are waiting, {count} more would exceed the limit", retry_after=1
            )
        if not self._capacity.is_steady and (hopeless := self.hopeless(call, now)) is not None:
            raise hopeless
        if call.rank is not ORDINARY:
            self._admit_ranked(call, count)
        self.calls += 1
        self.queued_items += count

    def _admit_ranked(self, call: Call, count: int) -> None:
        """Look at what the call's class and flow may have; count it into its flow."""
        rank = call.rank
        if rank.is_bulk and self._is_bulks_part_taken(count):
            raise Overloaded("the places of bulk requests are taken: the rest is for interactive ones", retry_after=1)
        flow = rank.flow
        if flow is not None:
            if flow.most_calls is not None and flow.calls >= flow.most_calls:
                message = f"{flow.name}: {flow.calls} requests are being served, as many as it may have at once"
                raise Overloaded(message, retry_after=1, flow=flow)
            flow.calls += 1

    def _is_bulks_part_taken(self, count: int) -> bool:
        """Whether ``count`` more items would leave too little to interactive calls.

        Where nothing waits a call may be larger than that: it would be refused for ever.
        """
        limits, waiting = self._limits, self.queued_items
        if self.calls >= BULK_SHARE * limits.max_calls:
            return True
        return waiting > 0 and waiting + count > BULK_SHARE * limits.max_queued_items

    def end(self, call: Call) -> None:
        """Count out a call that has all its results, or an error."""
        call.done = True
        self.calls -= 1
        if (flow := call.rank.flow) is not None:
            flow.calls -= 1

    def admit_guest(self) -> None:
        """Count in a guest: a request that holds the place of a call and is not queued; ``guest_left`` ends it.

        Raises ``Overloaded`` and ``ShuttingDown``.
        """
        if self.is_closed or self.calls >= self._limits.max_calls:
            raise self._refusal()
        self.calls += 1

    def guest_left(self) -> None:
        """Count a guest out."""
        self.calls -= 1

    def _refusal(self) -> ProxyError:
        if self.is_closed:
            return ShuttingDown("the service is shutting down", retry_after=1)
        return Overloaded(f"{self.calls} requests are being served, no more are taken", retry_after=1)

    def hopeless(self, call: Call, now: float) -> ProxyError | None:
        """Return the error of a call that waits for the upstreams in vain; None if it may wait.

        It does where they have asked for a pause that ends after its deadline, and where an outage has lasted as long
        as calls wait for its end. Where no slot is known to open there is no pause to speak of.
        """
        if (outage := self._capacity.outage) is not None:
            # A probe's slot that is open may be taken: then the batch is on its way to try, and its end decides.
            may_try = self._capacity.batches(now) > outage.under_way
            return None if may_try or outage.ends_at > now else outage.error.copy()
        opens_at = self._capacity.opens_at(now)
        if opens_at in {now, NEVER} or opens_at < call.deadline:
            return None
        return UpstreamOverloaded("the upstream has asked for a pause", retry_after=max(1.0, opens_at - now))
