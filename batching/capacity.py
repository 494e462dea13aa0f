"""What the upstreams take at present: the upstream side writes it, the queue reads it and is told of each change."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from batching.clock import NEVER, NOW

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batching.errors import ProxyError


#: Bytes of a batch where no upstream is known to take less.
UNLIMITED_BYTES = 1 << 62


class Slots(NamedTuple):
    """Batches that may be in flight beside the others, from a moment on the engine's clock."""

    start: float
    batches: int


class Outage(NamedTuple):
    """No upstream takes batches, but for one item that tries whether it does again."""

    #: Until when calls wait for its end.
    ends_at: float
    #: What a call is told after that.
    error: ProxyError
    #: Calls under way when this was written. Slots beyond them are those of probes.
    under_way: int = 0


class Capacity:
    """How many batches may be in flight, how many items over all of them, and how many items and bytes in one.

    Any thread may change it; a change calls the listener on that thread, which takes the queue's lock. Reading takes
    no lock: each figure is replaced as a whole.
    """

    def __init__(
        self, *, batches: int, batch_size: int, items: int = 1_000_000, batch_bytes: int = UNLIMITED_BYTES
    ) -> None:
        #: Batches that may be in flight at any moment, and slots that open later: replaced together.
        self._slots: tuple[int, tuple[Slots, ...]] = batches, ()
        #: Items in one batch, now and outside of an outage: during one, a single item tries the upstream.
        self.batch_size = self.full_batch_size = batch_size
        self.outage: Outage | None = None
        #: Bytes of the items in one batch, beside the bound in ``Limits``; a single item may have more.
        self.batch_bytes = batch_bytes
        #: Items in flight over all batches (the upstreams' permits).
        self.items = items
        self._listener: Callable[[], None] | None = None

    def __repr__(self) -> str:
        steady, openings = self._slots
        later = "".join(f" +{slots.batches} at {slots.start:.3f}" for slots in openings)
        most = "" if self.batch_bytes == UNLIMITED_BYTES else f" and {self.batch_bytes} bytes"
        return f"<Capacity {steady} batches{later}, {self.batch_size} items{most} each, {self.items} in all>"

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each change; the queue is the one listener there is."""
        self._listener = listener

    def change(
        self,
        *,
        slots: Sequence[Slots] | None = None,
        outage: Outage | None = None,
        batch_size: int | None = None,
        items: int | None = None,
        batch_bytes: int | None = None,
    ) -> None:
        """Replace the figures given, and tell the listener if that changed any.

        ``outage`` goes with the slots: where these are given without it, some upstream takes batches.
        """
        before = self._figures
        if slots is not None:
            steady = sum(each.batches for each in slots if each.start == NOW)
            self._slots = steady, tuple(sorted(each for each in slots if each.start != NOW and each.batches))
            self.outage = outage
        if batch_size is not None:
            self.full_batch_size = batch_size
        if items is not None:
            self.items = items
        if batch_bytes is not None:
            self.batch_bytes = batch_bytes
        self.batch_size = self.full_batch_size if self.outage is None else 1
        if self._listener is not None and before != self._figures:
            self._listener()

    @property
    def _figures(self) -> tuple[object, ...]:
        return self._slots, self.batch_size, self.items, self.batch_bytes, self.outage

    @property
    def is_steady(self) -> bool:
        """Whether batches may be in flight at any moment: no slot is still to open, and there is no outage."""
        return not self._slots[1] and self.outage is None

    def batches(self, now: float) -> int:
        """Return how many batches may be in flight at the moment ``now``."""
        steady, later = self._slots
        if not later:  # nearly always
            return steady
        return steady + sum(each.batches for each in later if each.start <= now)

    def next_rise(self, now: float) -> float:
        """Return the moment after ``now`` when more batches may be in flight by themselves; ``NEVER`` if none will."""
        return next((each.start for each in self._slots[1] if each.start > now), NEVER)

    def opens_at(self, now: float) -> float:
        """Return the first moment from ``now`` on at which a batch may be in flight at all."""
        return now if self.batches(now) else self.next_rise(now)
