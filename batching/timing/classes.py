"""How interactive and bulk items share a batch: pure decisions, which ``docs/fairness.md`` derives."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from batching.timing.learning import CallCost

#: Bulk's part of the places of every batch, however many interactive items wait.
FLOOR = 0.1
#: Batches of aged bulk from which on it is a flood.
FLOOD = 4
#: Seconds after the last interactive item for which bulk makes room for the next one.
ABOUT = 1.0


class Places(NamedTuple):
    """Items of each class in the next batch at most."""

    interactive: int
    bulk: int


class Aged(NamedTuple):
    """The bulk items that have waited as long as they may."""

    #: How many; those of a flood are not counted to the end.
    items: int
    #: Whether it is bulk's turn to be first: it had no more than half of the last batch.
    leads: bool = True

    def least(self, most: int) -> int:
        """Return how many of ``most`` places bulk gets because of them, whatever waits beside it.

        They leave at once where it is their turn, else they have half; so has a flood in each batch: bulk that comes
        faster than it is served is always too old, and would keep all others out.
        """
        if self.leads and not self.is_flood(most):
            return min(self.items, most)
        return min(self.items, (most + self.leads) // 2)

    def is_flood(self, most: int) -> bool:
        """Whether these are so many that they cannot be served soon, whatever is left for others."""
        return self.items > FLOOD * most


NONE_AGED = Aged(0)


def places(
    interactive: int, bulk: int, most: int, cost: CallCost | None, budget: float, *, is_about: bool, aged: Aged
) -> Places:
    """Return how the places of a batch of ``most`` items are shared, where ``bulk`` items wait (at least one).

    ``interactive``: items of that class that wait. ``cost``: what a call of n items takes; None: not known. ``budget``:
    the factor by which bulk may lengthen a call. ``is_about``: whether interactive items come at present.

    1. Where no interactive item comes, bulk has every place. 2. Else it has ``FLOOR`` of the places, and those that
    ``Aged`` gives it. 3. It fills the others as long as the call takes no longer than ``budget`` times what it would
    take without, for an interactive item waits for the call under way and for its own; and all that are left where a
    flood has aged.
    """
    if not is_about and not interactive:
        return Places(0, min(bulk, most))
    floor = min(bulk, max(max(1, round(FLOOR * most)) if most > 1 else 0, aged.least(most)))
    first = min(interactive, most - floor)
    if aged.is_flood(most):
        return Places(first, min(bulk, most - first))
    filled = _longest(max(first, 1), most, cost, budget)
    least = floor if first else max(1, aged.least(most))
    return Places(first, min(bulk, max(filled - first, least), most - first))


def _longest(alone: int, most: int, cost: CallCost | None, budget: float) -> int:
    """Return the items of the largest call that takes no longer than ``budget`` times one of ``alone`` items."""
    if cost is None or cost.slope <= 0.0 or cost.latency <= 0.0:
        return most
    longest = budget * cost.of(alone)
    return max(alone, min(most, int((longest - cost.of(0)) / cost.slope)))


def may_lead(in_flight: int, servers: int, *, is_about: bool) -> bool:
    """Whether a batch that only bulk makes due may leave now.

    While interactive items come, one server is left to them where there are several.
    """
    return in_flight < (max(1, servers - 1) if is_about else servers)
