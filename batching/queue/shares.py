"""Shares the places of a batch out to flows by weight: deficit round robin with a batch as the round.

M. Shreedhar and G. Varghese, "Efficient fair queuing using deficit round robin", SIGCOMM 1995. An item costs one, and
one more for each ``BYTES`` of it, so that a flow of long texts gets fewer places than one of short ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batching.rank import Flow

#: Bytes of an item that cost as much as the item itself.
BYTES = 1000


class Demand:
    """What waits of one flow, and what it is owed from batches before. Used with the queue's lock held."""

    __slots__ = ("deficit", "items", "size")

    def __init__(self) -> None:
        self.items = 0
        self.size = 0
        #: Places that it is owed (above 0) or has had too many.
        self.deficit = 0.0

    @property
    def cost(self) -> float:
        """The cost of its average item."""
        return 1.0 + self.size / max(self.items, 1) / BYTES


def allot(demands: Mapping[Flow | None, Demand], places: int) -> dict[Flow | None, int]:
    """Return how many places each flow gets in a batch of ``places``, and note what each is owed after it.

    Each flow is due a part by its weight over the cost of its items. What a flow does not need goes to the others by
    the same rule; what is lost by rounding is owed. Places left over go to those that are owed most.
    """
    given = dict.fromkeys(demands, 0)
    left = places
    wanting = {flow: demand for flow, demand in demands.items() if demand.items}
    while left > 0 and wanting:
        weights = {flow: _weight(flow) / demand.cost for flow, demand in wanting.items()}
        whole = sum(weights.values())
        round_of, moved = left, 0
        for flow, demand in wanting.items():
            demand.deficit += round_of * weights[flow] / whole
            gets = max(0, min(int(demand.deficit), demand.items - given[flow], left))
            given[flow] += gets
            demand.deficit -= gets
            left -= gets
            moved += gets
        satisfied = [flow for flow, demand in wanting.items() if given[flow] >= demand.items]
        for flow in satisfied:  # it is owed nothing that it does not need
            del wanting[flow]
            demands[flow].deficit = min(demands[flow].deficit, 0.0)
        if not moved and not satisfied:
            break
    for flow in sorted(wanting, key=lambda each: -demands[each].deficit):
        if left <= 0:
            break
        given[flow] += 1
        demands[flow].deficit -= 1.0
        left -= 1
    return given


def _weight(flow: Flow | None) -> int:
    return 1 if flow is None else flow.weight
