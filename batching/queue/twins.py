"""Finds an equal item, so that the same item is computed once: in the batch that is made up, or in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batching.call import Batch, Call, Item

#: A batch in flight, and the position of an item in it.
Place = tuple["Batch", int]


class InFlightItems:
    """Where each item of one key is in flight. Used with the queue's lock held."""

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: dict[Item, Place] = {}

    def __bool__(self) -> bool:
        return bool(self._places)

    def find(self, item: Item) -> Place | None:
        """Return where an equal item is in flight; None if there is none."""
        return self._places.get(item)

    def left(self, batch: Batch) -> None:
        """Note the items of a batch that leaves."""
        self._places.update(zip(batch.items, ((batch, at) for at in range(len(batch.items))), strict=True))

    def ended(self, batch: Batch) -> None:
        """Forget the items of a batch that has ended."""
        places = self._places
        for item in batch.items:
            place = places.get(item)
            if place is not None and place[0] is batch:
                del places[item]


class WaitingTwins:
    """Where each waiting item of bulk calls stands, so that an equal interactive item brings its result sooner.

    Of equal items of several calls all are remembered until one of them is taken; the others then wait for their own
    turn. Used with the queue's lock held.
    """

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[Item, list[tuple[Call, int]]] = {}

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
