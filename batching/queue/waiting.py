"""The waiting calls of one class, oldest first, with the counts of their items and bytes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from batching.clock import NEVER
from batching.queue.padding import by_age

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batching.call import Call, Part

#: Ended calls that may be held on to in any case, before it is worth clearing them out.
FEW_ENDED = 16


class Waiting:
    """Calls that wait. Used with the queue's lock held."""

    __slots__ = ("calls", "oldest", "waiting", "waiting_bytes")

    def __init__(self) -> None:
        self.calls: deque[Call] = deque()
        #: Waiting items, and their bytes.
        self.waiting = 0
        self.waiting_bytes = 0
        #: When the oldest waiting call arrived; ``NEVER`` while none waits.
        self.oldest = NEVER

    def resize(self, items: int, size: int) -> None:
        """Count waiting items and their bytes in or out."""
        self.waiting += items
        self.waiting_bytes += size

    def append(self, call: Call) -> None:
        """Put a call that has just arrived behind the others."""
        if not self.calls:
            self.oldest = call.arrived
        self.calls.append(call)
        self.resize(len(call.items), sum(map(len, call.items)))

    def put_back(self, part: Part, *, alone: bool = False) -> None:
        """Let these items of a call that was taken wait again, before all that came later.

        ``alone``: each of them is to travel by itself.
        """
        call = part.call
        if call.is_emptied:
            self.calls = deque(by_age([*self.calls, call]))
            self.oldest = self.calls[0].arrived
        call.give_back(part, alone=alone)
        self.resize(part.stop - part.start, sum(map(len, call.items[part.start : part.stop])))

    def remove(self, parts: Sequence[Part], size: int) -> None:
        """Take the items of these parts, of ``size`` bytes, out."""
        items = emptied = 0
        for call, start, stop, _ in parts:
            call.take(start, stop)
            items += stop - start
            if call.taken == len(call.items) and not call.returned:
                emptied += 1
        self.resize(-items, -size)
        if self.drop_ended() < emptied:
            # Calls behind one that was passed over have left with the batch.
            self.calls = deque(call for call in self.calls if not (call.is_emptied or call.done))

    def drop(self, call: Call) -> int:
        """Take what is still waiting of an ended call out of the counts; return how many items that was."""
        waiting = call.waiting
        if waiting:
            self.resize(-waiting, -call.waiting_bytes)
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
