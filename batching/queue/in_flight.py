"""The batches that are upstream at present."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from batching.call import Batch
    from batching.queue.lanes import Lanes


class InFlight:
    """Counts batches and their items, over all lanes and in each. Used with the queue's lock held."""

    __slots__ = ("_lanes", "batches", "items")

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        #: Read only from outside: looking at its size is on every request's path.
        self.batches: set[Batch] = set()
        #: Items over all batches.
        self.items = 0

    def add(self, batch: Batch) -> None:
        """Count a batch that a thread is about to send."""
        self.batches.add(batch)
        self._count(batch, 1)

    def remove(self, batch: Batch) -> None:
        """Count a batch back that has ended."""
        self.batches.remove(batch)
        self._count(batch, -1)

    def orphans(self, living: Collection[int]) -> list[Batch]:
        """Return the batches whose threads are not among the ``living`` (thread identities)."""
        return [batch for batch in self.batches if batch.owner not in living]

    def _count(self, batch: Batch, sign: int) -> None:
        items = len(batch.items)
        self.items += sign * items
        if (lane := self._lanes.find(batch.key)) is not None:
            lane.in_flight_items += sign * (items - batch.bulk_items)
            lane.in_flight_bulk += sign * batch.bulk_items
