"""Finds an equal item, so that the same item is computed once: in flight, or among the bulk items that wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batching.call import Batch, Call, Item


class InFlightItems:
    """In which batch each item of one key is in flight. Used with the queue's lock held."""

    __slots__ = ("batches",)

    def __init__(self) -> None:
        #: Read only from outside: looking up an item is on every request's path.
        self.batches: dict[Item, Batch] = {}

    def has_any(self, items: Iterable[Item]) -> bool:
        """Whether one of the items, or an equal one, is in flight."""
        return not self.batches.keys().isdisjoint(items)

    def left(self, batch: Batch) -> None:
        """Note the items of a batch that leaves."""
        self.batches |= dict.fromkeys(batch.items, batch)

    def ended(self, batch: Batch) -> None:
        """Forget the items of a batch that has ended."""
        batches = self.batches
        for item in batch.items:
            if batches.get(item) is batch:
                del batches[item]


class WaitingTwins:
    """Where each waiting item of bulk calls stands, so that an equal interactive item brings its result sooner.

    Of equal items of several calls all are remembered until one of them is taken; the others then wait for their own
    turn. Used with the queue's lock held.
    """

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[Item, list[tuple[Call, int]]] = {}

    def __len__(self) -> int:
        return len(self._of)

    def add(self, call: Call) -> None:
        """Note the items of a call that begins to wait."""
        for position, item in enumerate(call.items):
            if call.waits(position):
                self._of.setdefault(item, []).append((call, position))

    def remove(self, items: list[Item]) -> None:
        """Forget items that were taken, or are not waited for any more."""
        for item in items:
            self._of.pop(item, None)

    def take(self, item: Item) -> list[tuple[Call, int]]:
        """Return the calls and positions of equal items that still wait, and forget them."""
        return [
            (call, position)
            for call, position in self._of.pop(item, ())
            if not call.done and call.waits(position) and position not in call.suspects
        ]
