"""The waiting calls of one class, oldest first, with the counts of their items and bytes."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING

from batching.clock import NEVER
from batching.queue.padding import by_age
from batching.queue.shares import Demand, allot, give_back
from batching.queue.twins import WaitingTwins

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batching.call import Call, Part
    from batching.rank import Flow

#: Ended calls that may be held on to in any case, before it is worth clearing them out.
FEW_ENDED = 16


class Waiting:
    """Calls that wait. Used with the queue's lock held."""

    __slots__ = ("calls", "demands", "mixed_at", "oldest", "waiting", "waiting_bytes")

    def __init__(self) -> None:
        self.calls: deque[Call] = deque()
        #: Waiting items, and their bytes.
        self.waiting = 0
        self.waiting_bytes = 0
        #: When the oldest waiting call arrived; ``NEVER`` while none waits.
        self.oldest = NEVER
        #: What waits of each flow, in the order of their turns; None while all is of the one flow of calls without
        #: their own.
        self.demands: OrderedDict[Flow | None, Demand] | None = None
        #: When calls of several flows waited together last, by the arrival of one of them.
        self.mixed_at = -NEVER

    def resize(self, items: int, size: int) -> None:
        """Count waiting items and their bytes in or out."""
        self.waiting += items
        self.waiting_bytes += size

    def append(self, call: Call) -> None:
        """Put a call that has just arrived behind the others."""
        if not self.calls:
            self.oldest = call.arrived
        self.calls.append(call)
        if call.taken or self.demands is not None or call.rank.flow is not None:
            # Some of its items share a result already, or flows are counted.
            self._count(call, call.waiting, call.waiting_bytes)
        else:
            items = call.items
            self.resize(len(items), len(items[0]) if len(items) == 1 else sum(map(len, items)))

    def put_back(self, part: Part, *, alone: bool = False) -> None:
        """Let these items of a call that was taken wait again, before all that came later.

        ``alone``: each of them is to travel by itself.
        """
        call = part.call
        if call.is_emptied:
            self.calls = deque(by_age([*self.calls, call]))
            self.oldest = self.calls[0].arrived
        call.give_back(part, alone=alone)
        self._count(call, part.stop - part.start, sum(map(len, call.items[part.start : part.stop])))

    def remove(self, parts: Sequence[Part]) -> int:
        """Take the items of these parts out; return how many that are. The parts of a call are in their order."""
        items = size = emptied = 0
        for call, start, stop, _ in parts:
            call.take(start, stop)
            items += stop - start
            of_part = len(call.items[start]) if stop - start == 1 else sum(map(len, call.items[start:stop]))
            size += of_part
            if self.demands is not None:
                self._count_demand(call, start - stop, -of_part)
            if call.taken == len(call.items) and not call.returned:
                emptied += 1
        self.resize(-items, -size)
        if self.drop_ended() < emptied:
            # Calls behind one that was passed over have left with the batch.
            self.calls = deque(call for call in self.calls if not (call.is_emptied or call.done))
            self.drop_ended()
        return items

    def remove_one(self, call: Call, position: int) -> None:
        """Take one item of a call out, wherever it stands."""
        call.take_out(position)
        self._count(call, -1, -len(call.items[position]))
        if call.is_emptied:
            if self.calls[0] is not call:
                self.calls.remove(call)  # it may be put back, and would be there twice
            self.drop_ended()

    def drop(self, call: Call) -> int:
        """Take what is still waiting of an ended call out of the counts; return how many items that was."""
        waiting = call.waiting
        if waiting:
            self._count(call, -waiting, -call.waiting_bytes)
            if len(self.calls) > 2 * self.waiting + FEW_ENDED:
                # More than half have ended behind a living one, and would hold on to their inputs.
                self.calls = deque(each for each in self.calls if not each.done)
            self.drop_ended()
        return waiting

    def drop_ended(self) -> int:
        """Drop ended and emptied calls from the front; return how many were emptied."""
        emptied = 0
        calls = self.calls
        while calls:
            first = calls[0]
            is_emptied = first.taken == len(first.items) and not first.returned
            if not (is_emptied or first.done):
                break
            emptied += is_emptied
            calls.popleft()
        self.oldest = calls[0].arrived if calls else NEVER
        return emptied

    # ---- flows ----------------------------------------------------------------------------------

    def allot(self, places: int, size: int) -> dict[Flow | None, int] | None:
        """Return how many places each flow gets in a batch; None where there is but one flow, or room for all.

        ``places`` and ``size``: items and bytes that the batch takes at most.
        """
        if self.demands is None or len(self.demands) < 2:
            return None
        if self.waiting_bytes > size:  # as many as fit on average: else the first flows would have all the bytes
            places = min(places, max(1, self.waiting * size // self.waiting_bytes))
        return None if self.waiting <= places else allot(self.demands, places)

    def give_back(self, unused: Mapping[Flow | None, int] | None) -> None:
        """Note the places that flows were allotted and did not get."""
        if unused and self.demands is not None:
            give_back(self.demands, unused)

    def _count(self, call: Call, items: int, size: int) -> None:
        """Count items of one call in or out."""
        if self.demands is not None or call.rank.flow is not None:
            self._count_demand(call, items, size)
        self.resize(items, size)

    def _count_demand(self, call: Call, items: int, size: int) -> None:
        if self.demands is None:
            self.demands = OrderedDict()
            if self.waiting:  # of calls without a flow of their own
                others = self.demands[None] = Demand()
                others.items, others.size = self.waiting, self.waiting_bytes
        demand = self.demands.get(call.rank.flow)
        if demand is None:
            demand = self.demands[call.rank.flow] = Demand()
        if len(self.demands) > 1 and call.arrived > self.mixed_at:
            self.mixed_at = call.arrived
        demand.items += items
        demand.size += size
        if demand.items <= 0:  # a flow costs nothing while it is idle, and is owed nothing
            del self.demands[call.rank.flow]
            if not self.demands:
                self.demands = None


class WaitingBulk(Waiting):
    """The waiting bulk calls of a key: they have a longest wait, and their items are found by equal ones."""

    __slots__ = ("_have_own_limits", "_longest_wait", "aged_at", "led", "twins")

    def __init__(self, longest_wait: float, *, deduplicates: bool) -> None:
        """``longest_wait``: seconds after which a bulk item comes first."""
        super().__init__()
        self._longest_wait = longest_wait
        #: When the first of the calls will have waited as long as it may; ``NEVER`` while none waits.
        self.aged_at = NEVER
        #: Whether the last batch was led by bulk calls that had waited as long as they may.
        self.led = False
        #: Whether a call may be among them that waits for less.
        self._have_own_limits = False
        self.twins = WaitingTwins() if deduplicates else None

    def append(self, call: Call) -> None:
        super().append(call)
        self._have_own_limits |= call.rank.max_wait is not None
        self.aged_at = min(self.aged_at, self._age_of(call))
        if self.twins is not None:
            self.twins.add(call)

    def put_back(self, part: Part, *, alone: bool = False) -> None:
        super().put_back(part, alone=alone)
        self._have_own_limits |= part.call.rank.max_wait is not None
        self.aged_at = min(self.aged_at, self._age_of(part.call))

    def aged(self, now: float, most: int) -> int:
        """Return how many items have waited as long as they may; more than ``most`` are not counted further."""
        count = 0
        if self.aged_at <= now:
            for call in self.calls:
                if not call.done and self._age_of(call) <= now:
                    count += call.waiting
                elif not self._have_own_limits and not call.done:
                    break
                if count > most:
                    break
        return count

    def remove(self, parts: Sequence[Part]) -> int:
        if self.twins is not None:
            for call, start, stop, _ in parts:
                self.twins.remove(list(call.items[start:stop]))
        return super().remove(parts)

    def drop(self, call: Call) -> int:
        if self.twins is not None:
            self.twins.remove(list(call.items))
        return super().drop(call)

    def drop_ended(self) -> int:
        emptied = super().drop_ended()
        self._have_own_limits &= bool(self.calls)
        if self._have_own_limits:
            self.aged_at = min((self._age_of(call) for call in self.calls if not call.done), default=NEVER)
        else:
            self.aged_at = self.oldest + self._longest_wait
        return emptied

    def _age_of(self, call: Call) -> float:
        own = call.rank.max_wait
        return call.arrived + (self._longest_wait if own is None else min(own, self._longest_wait))
