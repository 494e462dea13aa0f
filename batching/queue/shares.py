"""Shares the places of a batch out to flows by weight: deficit round robin, which goes on from batch to batch.

M. Shreedhar and G. Varghese, "Efficient fair queuing using deficit round robin", SIGCOMM 1995. An item costs one, and
one more for each ``BYTES`` of it, so that a flow of long texts gets fewer places than one of short ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import OrderedDict
    from collections.abc import Mapping

    from batching.rank import Flow

#: Bytes of an item that cost as much as the item itself.
BYTES = 1000
#: Cost that a flow of weight 1 may use up whenever its turn comes: an item of up to ``BYTES``.
QUANTUM = 2.0
#: Items that a flow is owed at most for places that were allotted to it and that it did not get.
MOST_OWED = 32


class Demand:
    """What waits of one flow, and what it is owed from batches before. Used with the queue's lock held."""

    __slots__ = ("deficit", "items", "size")

    def __init__(self) -> None:
        self.items = 0
        self.size = 0
        #: Cost that it may use up before its turn ends.
        self.deficit = 0.0

    @property
    def cost(self) -> float:
        """The cost of its average item."""
        return 1.0 + self.size / self.items / BYTES


def allot(demands: OrderedDict[Flow | None, Demand], places: int) -> dict[Flow | None, int]:
    """Return how many places each flow gets in a batch of ``places``; one that is not named gets none.

    ``demands`` has a flow for each that waits, in the order of their turns, and is left in the order that the next
    batch begins with. Each turn of a flow gives it places for ``QUANTUM`` times its weight, so the time that this takes
    depends on the places and not on the number of flows. A flow that has all it wants is owed nothing.
    """
    given: dict[Flow | None, int] = {}
    satisfied: list[tuple[Flow | None, Demand]] = []
    left = places
    while left > 0 and demands:
        flow, demand = next(iter(demands.items()))
        cost = demand.cost
        if demand.deficit < cost:
            demand.deficit += QUANTUM * _weight(flow)
        had = given.get(flow, 0)
        gets = min(int(demand.deficit / cost), demand.items - had, left)
        if gets:
            given[flow] = had + gets
            left -= gets
            demand.deficit -= gets * cost
        if had + gets == demand.items:
            demand.deficit = 0.0
            satisfied.append(demands.popitem(last=False))
        elif left or demand.deficit < cost:
            demands.move_to_end(flow)
    demands.update(satisfied)
    return given


def give_back(demands: Mapping[Flow | None, Demand], unused: Mapping[Flow | None, int]) -> None:
    """Note the places that flows were allotted and did not get, for the batch was full of bytes before."""
    for flow, places in unused.items():
        demand = demands.get(flow)
        if places > 0 and demand is not None:
            cost = demand.cost
            demand.deficit = min(demand.deficit + places * cost, MOST_OWED * cost)


def _weight(flow: Flow | None) -> int:
    return 1 if flow is None else flow.weight
