"""How interactive and bulk items share a batch: pure decisions, which ``docs/fairness.md`` derives."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from batching.timing.learning import CallCost

#: Bulk's part of the places of every batch, however many interactive items wait.
FLOOR = 0.1
#: Seconds after the last interactive item for which bulk makes room for the next one.
ABOUT = 1.0


class Places(NamedTuple):
    """Items of each class in the next batch at most."""

    interactive: int
    bulk: int


def places(
    interactive: int, bulk: int, most: int, cost: CallCost | None, budget: float, *, is_about: bool, is_aged: bool
) -> Places:
    """Return how the places of a batch of ``most`` items are shared, where ``bulk`` items wait (at least one).

    ``interactive``: items of that class that wait. ``cost``: what a call of n items takes; None: not known. ``budget``:
    the factor by which bulk may lengthen a call. ``is_about``: whether interactive items come at present. ``is_aged``:
    whether a bulk item has waited as long as it may.

    1. Where no interactive item comes, or bulk has waited too long, bulk comes first. 2. Bulk always has ``FLOOR`` of
    the places. 3. It fills the others as long as the call takes no longer than ``budget`` times what it would take
    without: an interactive item waits for the call under way and for its own.
    """
    if is_aged:
        return Places(most - min(bulk, most), min(bulk, most))
    if not is_about and not interactive:
        return Places(0, min(bulk, most))
    floor = min(bulk, max(1, round(FLOOR * most))) if most > 1 else 0
    first = min(interactive, most - floor)
    filled = _longest(max(first, 1), most, cost, budget)
    return Places(first, min(bulk, max(filled - first, floor if first else 1, 0), most - first))


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
