"""One client's request on its way through the engine, and the batches it travels in."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from batching.rank import ORDINARY, Rank
from formats.shares import shares

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batching.errors import ProxyError
    from batching.key import BatchKey
    from batching.outcomes import Result, Source

#: The JSON of one input, exactly as it will stand in the upstream's request.
Item = bytes

#: The reason of an upstream call that searches a refused batch for the input that caused the refusal.
ISOLATION = "isolation"

_NONE: frozenset[int] = frozenset()


class Call:
    """One client's request: its items in order, one event, one deadline.

    Once the call has been put into the queue, the queue's lock guards every field but the event. A call ends exactly
    once, by ``results`` or by ``error``; what comes later finds ``done`` set and is discarded.
    """

    __slots__ = (
        "arrived",
        "batch_size",
        "deadline",
        "done",
        "error",
        "event",
        "follower",
        "inference_time",
        "is_gone",
        "items",
        "key",
        "missing",
        "queue_delay",
        "rank",
        "reason",
        "results",
        "returned",
        "shared",
        "source",
        "suspects",
        "taken",
        "tokens",
    )

    def __init__(
        self,
        items: Sequence[Item],
        key: BatchKey,
        deadline: float,
        is_gone: Callable[[], bool] | None = None,
        rank: Rank = ORDINARY,
    ) -> None:
        """``deadline``: a moment on the engine's clock. ``is_gone``: whether the client has hung up."""
        if not items:
            raise ValueError("a call has at least one item")
        self.items = items
        self.key = key
        self.deadline = deadline
        self.is_gone = is_gone
        self.rank = rank
        #: Whether a result came from an equal item of another call.
        self.shared = False
        self.event = threading.Event()
        self.arrived = 0.0
        #: Positions of items that travel by themselves: each was in a refused batch and was not cleared.
        self.suspects = _NONE
        #: Items that a batch has taken; those behind them wait for the first time.
        self.taken = 0
        #: Of the items that were taken, those that wait again.
        self.returned: list[Part] = []
        #: Items whose results have not come yet.
        self.missing = len(items)
        self.results: list[Result] = []
        #: Tokens of the items whose results have come, as the upstream counts them; None where it does not.
        self.tokens: int | None = None
        #: Which model gave the results that have come; None before the first.
        self.source: Source | None = None
        self.error: ProxyError | None = None
        self.done = False
        #: The call whose waiter this call's waiter wakes in turn (``relay``).
        self.follower: Call | None = None
        # About the batch that ended the call, for the response headers; times in seconds.
        self.batch_size = 0
        self.reason = ""
        self.queue_delay = 0.0
        self.inference_time = 0.0

    @property
    def waiting(self) -> int:
        """How many of its items wait for a batch."""
        return len(self.items) - self.taken + sum(part.stop - part.start for part in self.returned)

    @property
    def is_emptied(self) -> bool:
        """Whether none of its items waits."""
        return self.taken == len(self.items) and not self.returned

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the items that wait."""
        return sum(len(item) for part in self.waiting_parts() for item in self.items[part.start : part.stop])

    @property
    def starts_with_suspect(self) -> bool:
        """Whether the first waiting item has to travel by itself."""
        if not self.suspects:
            return False
        return (self.returned[0].start if self.returned else self.taken) in self.suspects

    def waiting_parts(self) -> list[Part]:
        """Return the items that wait, in their order: those that wait again are before those that wait first."""
        first_time = Part(self, self.taken, len(self.items))
        return [*self.returned, first_time] if first_time.start < first_time.stop else self.returned

    def take(self, start: int, stop: int) -> None:
        """Note that a batch has taken these items, which begin a waiting part."""
        if start == self.taken:
            self.taken = stop
            return
        at = next(at for at, part in enumerate(self.returned) if part.start == start)
        rest = self.returned[at]._replace(start=stop)
        self.returned[at : at + 1] = [rest] if rest.start < rest.stop else []

    def take_out(self, position: int) -> None:
        """Note that one waiting item has left, wherever it stands."""
        if position >= self.taken:
            if position > self.taken:
                self.returned.append(Part(self, self.taken, position))
            self.taken = position + 1
            return
        at = next(at for at, part in enumerate(self.returned) if part.start <= position < part.stop)
        part = self.returned[at]
        halves = part._replace(stop=position), part._replace(start=position + 1)
        self.returned[at : at + 1] = [half for half in halves if half.start < half.stop]

    def waits(self, position: int) -> bool:
        """Whether this item waits for a batch."""
        return position >= self.taken or any(part.start <= position < part.stop for part in self.returned)

    def give_back(self, part: Part, *, alone: bool = False) -> None:
        """Note that these items wait again; ``alone``: each travels by itself."""
        if alone:
            self.suspects |= frozenset(range(part.start, part.stop))
        self.returned = sorted([*self.returned, part], key=lambda each: each.start)

    def fill(self, start: int, results: list[Result]) -> bool:
        """Take the results of the items from ``start`` on; return whether none is missing now."""
        if len(results) == len(self.items):
            self.results = results
        else:
            if not self.results:
                self.results = [b""] * len(self.items)
            self.results[start : start + len(results)] = results
        self.missing -= len(results)
        return not self.missing

    def count(self, tokens: Sequence[int], outcomes: Sequence[object]) -> None:
        """Count the tokens of items that have a result now: each item's share, and what became of the item."""
        for share, of in zip(tokens, outcomes, strict=True):
            if isinstance(of, bytes):
                self.tokens = share + (self.tokens or 0)

    def record(self, batch: Batch, now: float) -> None:
        """Note the batch that ended the call, for the response headers."""
        self.batch_size = len(batch.items)
        self.reason = batch.reason
        self.queue_delay = max(0.0, batch.taken_at - self.arrived)  # it may have joined a batch that was under way
        self.inference_time = now - batch.taken_at


class Part(NamedTuple):
    """Consecutive items of one call inside a batch: ``call.items[start:stop]``."""

    call: Call
    start: int
    stop: int
    #: Why these items are sent again; None for the first time, and where they were not judged.
    retry_reason: str | None = None


class Shared(NamedTuple):
    """One item of a call that gets the result of an equal item of a batch."""

    part: Part
    #: The equal item's position in the batch.
    at: int


class Batch:
    """Items of one key that travel upstream together, in the order of their parts."""

    __slots__ = (
        "bulk_items",
        "deadline",
        "is_measurable",
        "is_suspect",
        "items",
        "key",
        "owner",
        "parts",
        "reason",
        "retry_reason",
        "shared",
        "taken_at",
        "tokens",
    )

    def __init__(self, key: BatchKey, reason: str, taken_at: float) -> None:
        self.key = key
        self.reason = reason
        self.taken_at = taken_at
        self.items: list[Item] = []
        self.parts: list[Part] = []
        #: Items of bulk calls among them.
        self.bulk_items = 0
        #: Items of other calls, or further ones of the same, that are equal to one of its items.
        self.shared: list[Shared] = []
        #: The latest deadline of its calls: after that no client waits for an answer.
        self.deadline = taken_at
        #: Whether it is one suspected item that travels by itself.
        self.is_suspect = False
        #: False if a retry or a wait of ours is part of the measured time; the timing rule then ignores it.
        self.is_measurable = True
        #: Why one of its calls is sent again; None where all travel for the first time.
        self.retry_reason: str | None = None
        #: Identity of the batcher thread that carries it; 0 before one does.
        self.owner = 0
        #: Each item's share of the tokens that the upstream counted; None where it counts none.
        self.tokens: list[int] | None = None

    def __repr__(self) -> str:
        return f"<Batch {self.key.task} of {len(self.items)} items in {len(self.parts)} parts, {self.reason}>"

    @property
    def is_retry(self) -> bool:
        """Whether all of its items are sent again for a reason."""
        return bool(self.parts) and all(part.retry_reason is not None for part in self.parts)

    def add(self, part: Part) -> None:
        """Append the items of one part."""
        call, start, stop, retry_reason = part
        self.parts.append(part)
        self.items.extend(call.items[start:stop])
        if call.rank.is_bulk:
            self.bulk_items += stop - start
        self.deadline = max(self.deadline, call.deadline)
        self.retry_reason = self.retry_reason or retry_reason

    def share(self, part: Part, at: int) -> None:
        """Let one item of a call have what becomes of the item at position ``at``, which is equal to it."""
        self.shared.append(Shared(part, at))
        self.deadline = max(self.deadline, part.call.deadline)

    def share_equal(self, part: Part) -> None:
        """Let one item of a call have what becomes of the item of this batch that is equal to it."""
        self.share(part, self.items.index(part.call.items[part.start]))

    def call_at(self, position: int) -> Call:
        """Return the call whose item stands at this position."""
        for call, start, stop, _ in self.parts:
            position -= stop - start
            if position < 0:
                return call
        raise IndexError(position)

    @property
    def is_of_one_call(self) -> bool:
        """Whether several items travel and all are of one call: such a batch is not searched for a bad input."""
        first = self.parts[0].call
        return len(self.items) > 1 and all(part.call is first for part in self.parts)

    def share_tokens(self, start: int, stop: int, total: int) -> None:
        """Apportion the tokens of one upstream call to the items that were in it, by their bytes."""
        if self.tokens is None:
            self.tokens = [0] * len(self.items)
        self.tokens[start:stop] = shares(total, [len(item) for item in self.items[start:stop]])

    def subset(self, start: int, stop: int) -> Batch:
        """Return a batch of only the items ``start`` to ``stop``, for a search. The parts stay with this one."""
        subset = Batch(self.key, ISOLATION, self.taken_at)
        subset.items = self.items[start:stop]
        subset.deadline = self.deadline
        return subset
