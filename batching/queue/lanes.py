"""The waiting calls of each key, and what is kept of keys that have none."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from batching.clock import NEVER
from batching.isolation.rejection_rate import RejectionRate
from batching.queue.composition import Bounds
from batching.queue.padding import by_likeness
from batching.queue.twins import InFlightItems
from batching.queue.waiting import Waiting, WaitingBulk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from batching.call import Call, Part
    from batching.capacity import Capacity
    from batching.key import BatchKey
    from batching.limits import Limits
    from batching.timing.rule import Timing

#: Lanes remembered for what their timing has learned; clients choose keys, so their number is bounded.
MAX_IDLE_LANES = 64
#: Weight of the newest batch in the average time from taking a batch to its end.
LATENCY_WEIGHT = 0.2


class Seen:
    """When the last interactive call arrived, whatever its key: the lanes share the upstream."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = -NEVER


class Lane(Waiting):
    """The waiting calls of one key, oldest first, and what was learned about that key.

    Used with the queue's lock held. A lane is what the timing rule sees as ``LaneState``.
    """

    __slots__ = (
        "_capacity",
        "_limits",
        "bulk",
        "in_flight",
        "in_flight_bulk",
        "in_flight_items",
        "is_full",
        "key",
        "latency",
        "pressing",
        "rejections",
        "seen",
        "timing",
    )

    def __init__(
        self, key: BatchKey, timing: Timing, limits: Limits, capacity: Capacity, seen: Seen | None = None
    ) -> None:
        """``seen``: shared by all lanes."""
        super().__init__()
        self.key = key
        self.timing = timing
        self._limits = limits
        self._capacity = capacity
        #: Whether the waiting items fill a batch.
        self.is_full = False
        #: Items in flight of interactive calls, and of bulk calls.
        self.in_flight_items = 0
        self.in_flight_bulk = 0
        #: Bulk calls that wait; None while none does.
        self.bulk: WaitingBulk | None = None
        self.seen = seen or Seen()
        #: When the first interactive call that has a limit of its own has been held back for so long.
        self.pressing = NEVER
        #: The items in flight, where equal ones are computed once.
        self.in_flight = InFlightItems() if limits.deduplicate else None
        #: Moving average of the seconds that a batch takes; 0 before the first.
        self.latency = 0.0
        self.rejections = RejectionRate()

    def __repr__(self) -> str:
        full = ", full" if self.is_full else ""
        return (
            f"<Lane {self.key.task}: {self.waiting} items of {self.waiting_bytes} bytes in {len(self.calls)} calls"
            f"{full}, {self.in_flight_items} in flight>"
        )

    @property
    def most_items(self) -> int:
        """Items of the next batch at most."""
        return self.rejections.batch_size(self._capacity.batch_size)

    @property
    def starts_with_suspect(self) -> bool:
        """Whether the next batch is one suspected item."""
        return bool(self.calls) and self.calls[0].starts_with_suspect

    def resize(self, items: int, size: int) -> None:
        """Count waiting items and their bytes in or out."""
        self.waiting += items
        self.waiting_bytes += size
        most = self.most_items if self.rejections.share else self._capacity.batch_size
        total = self.waiting_bytes
        self.is_full = (
            self.waiting >= most or total >= self._limits.max_batch_bytes or total >= self._capacity.batch_bytes
        )

    def enter(self, call: Call) -> None:
        """Let the items of a call that has just arrived wait in its class."""
        rank = call.rank
        if rank.is_bulk:
            self.open_bulk().append(call)
            return
        self.append(call)
        self.seen.at = call.arrived
        if rank.max_wait is not None:
            self.pressing = min(self.pressing, call.arrived + rank.max_wait)

    def open_bulk(self) -> WaitingBulk:
        """Return where bulk calls wait."""
        if self.bulk is None:
            limits = self._limits
            self.bulk = WaitingBulk(limits.bulk_max_wait, deduplicates=limits.deduplicate)
        return self.bulk

    def of(self, call: Call) -> Waiting:
        """Return where the items of a call wait."""
        return self.bulk if call.rank.is_bulk and self.bulk is not None else self

    @property
    def is_empty(self) -> bool:
        """Whether no call waits."""
        return not self.calls and (self.bulk is None or not self.bulk.calls)

    @property
    def all_calls(self) -> list[Call]:
        """The calls that wait, of both classes."""
        return [*self.calls] if self.bulk is None else [*self.calls, *self.bulk.calls]

    @property
    def limits(self) -> Limits:
        """The bounds of the settings."""
        return self._limits

    @property
    def all_waiting(self) -> int:
        """Items that wait, of both classes."""
        return self.waiting if self.bulk is None else self.waiting + self.bulk.waiting

    def put_back(self, part: Part, *, alone: bool = False) -> None:
        super().put_back(part, alone=alone)
        if (own := part.call.rank.max_wait) is not None:
            self.pressing = min(self.pressing, part.call.arrived + own)

    def drop(self, call: Call) -> int:
        waiting = super().drop(call)
        self.look_at_limits()
        return waiting

    def look_at_limits(self) -> None:
        """See which interactive call has a limit of its own that comes first: some may have left."""
        if self.pressing != NEVER:
            self.pressing = min(
                (
                    call.arrived + call.rank.max_wait
                    for call in self.calls
                    if call.rank.max_wait is not None and not call.done
                ),
                default=NEVER,
            )

    def candidates(self, now: float) -> tuple[Iterable[Call], Bounds]:
        """Return the calls in the order in which they are to be considered for a batch, and the batch's bounds.

        For an upstream that pads, and where more waits than fits if each item were as long as the average, calls of
        similar length come first.
        """
        limits, most = self._limits, self.most_items
        bounds = Bounds(most, min(limits.max_batch_bytes, self._capacity.batch_bytes), limits.max_padded_bytes)
        chooses = bounds.padded and len(self.calls) > 1 and (self.waiting > most or self.waiting_bytes > bounds.padded)
        return by_likeness(self.calls, now - limits.max_wait) if chooses else self.calls, bounds

    def learn_latency(self, seconds: float) -> None:
        """Learn how long a batch took from its taking to its end."""
        self.latency += LATENCY_WEIGHT * (seconds - self.latency) if self.latency else seconds


class Lanes:
    """The lanes of all keys: those with waiting calls, and some that are idle. Used with the queue's lock held."""

    def __init__(self, make_timing: Callable[[], Timing], limits: Limits, capacity: Capacity) -> None:
        self._make_timing = make_timing
        self._seen = Seen()
        self._limits = limits
        self._capacity = capacity
        #: In the order in which they became idle.
        self._all: OrderedDict[BatchKey, Lane] = OrderedDict()
        self._busy: dict[BatchKey, Lane] = {}

    def __repr__(self) -> str:
        return f"<Lanes {list(self._all.values())}>"

    def __iter__(self) -> Iterator[Lane]:
        """Iterate over the lanes with waiting calls."""
        return iter(self._busy.values())

    def __len__(self) -> int:
        return len(self._busy)

    def __contains__(self, key: BatchKey) -> bool:
        """Whether something is remembered of this key."""
        return key in self._all

    def find(self, key: BatchKey) -> Lane | None:
        """Return the lane of a key, busy or idle; None if it is not remembered."""
        return self._all.get(key)

    def open(self, key: BatchKey) -> Lane:
        """Return the lane of a key that is about to get a call."""
        lane = self._busy.get(key)
        if lane is None:
            lane = self._all.get(key)
            if lane is None:
                lane = self._all[key] = Lane(key, self._make_timing(), self._limits, self._capacity, self._seen)
            self._busy[key] = lane
            self.forget_idle()
        return lane

    def close_if_empty(self, lane: Lane) -> None:
        """Count a lane without waiting calls as idle, the one that became so last."""
        if lane.bulk is not None and not lane.bulk.calls:
            lane.bulk = None
        if lane.is_empty:
            self._busy.pop(lane.key, None)
            self._all.move_to_end(lane.key)

    def forget_idle(self) -> None:
        """Keep what idle lanes have learned, but of no more than ``MAX_IDLE_LANES``: the longest idle go first."""
        while len(self._all) > MAX_IDLE_LANES:
            idle = (
                key
                for key, lane in self._all.items()
                if key not in self._busy and not (lane.in_flight_items or lane.in_flight_bulk)
            )
            key = next(idle, None)
            if key is None:
                return
            del self._all[key]
