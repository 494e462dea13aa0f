"""Which lane's batch leaves first where the batches of several are due."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from batching.timing.classes import FLOOR, Aged
from batching.timing.rule import HOLD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batching.call import Batch
    from batching.queue.lanes import Lane
    from batching.timing.rule import Decision


#: Lanes that have to be due at once; among fewer, none waits for long by age alone.
MANY = 4
#: Batches with interactive items that go before one of bulk alone, which so has ``FLOOR`` of them.
PASSED = round(1 / FLOOR) - 1


class _Candidate(NamedTuple):
    """A lane with waiting items, and when its batch is due."""

    lane: Lane
    decision: Decision
    #: When its head came; of bulk alone, when its head will have waited as long as it may.
    since: float
    #: Items of the class that it competes in.
    items: int


class Turns:
    """Lanes with interactive items go before lanes of bulk alone, which get the places that those leave empty.

    A batch takes items of one key, so bulk under other keys cannot fill the places beside interactive items. It is
    owed them in batches of its own, where it is due; and in any case it has ``FLOOR`` of the batches. Once it has
    waited as long as it may, it goes every second time; a flood of it, as often as it takes to have half of the places.

    Within a class, the lane whose head has waited longest and the lane with the most items take turns. By age alone,
    500 keys with one item each would leave the lane that all other clients share one batch in 501. By number alone, a
    lane with few items would never get one. Used with the queue's lock held.
    """

    __slots__ = ("_is_fullests", "_owed", "_passed", "_passed_items")

    def __init__(self) -> None:
        #: Whether it is the turn of the lane with the most items, of either class; by whether that is bulk.
        self._is_fullests = [False, False]
        #: Places that bulk under other keys is owed: those of one batch at most.
        self._owed = 0
        #: Batches with interactive items since the last one of bulk alone, and their items.
        self._passed = 0
        self._passed_items = 0

    def first(
        self, lanes: Iterable[Lane], decide: Callable[[Lane, float], Decision], now: float
    ) -> tuple[Lane | None, Decision]:
        """Say which lane is due first, and the decision on it; ``decide`` says of one lane when its batch is due."""
        classes: tuple[list[_Candidate], list[_Candidate]] = ([], [])
        for lane in lanes:
            decision = decide(lane, now)
            if lane.waiting or lane.bulk is None:
                classes[False].append(_Candidate(lane, decision, lane.oldest, lane.waiting))
            else:
                classes[True].append(_Candidate(lane, decision, lane.bulk.aged_at, lane.bulk.waiting))
        first, bulk = (self._pick(candidates, now, is_bulk) for is_bulk, candidates in enumerate(classes))
        if bulk is None:
            return (None, HOLD) if first is None else (first.lane, first.decision)
        if first is None or first.decision.due > now:
            first = bulk if first is None or bulk.decision.due < first.decision.due else first
            return first.lane, first.decision
        aged = sum(each.items for each in classes[True] if each.since <= now)
        if self._is_bulks_turn(bulk, aged, now):
            return bulk.lane, bulk.decision if bulk.decision.due <= now else first.decision
        return first.lane, first.decision

    def left(self, lane: Lane, batch: Batch, lanes: Iterable[Lane]) -> None:
        """Note that a batch of a lane leaves; ``lanes``: those with waiting items now."""
        items, most = len(batch.items), lane.most_items
        is_bulk = batch.bulk_items == items
        others = [each for each in lanes if each is not lane]
        self._is_fullests[is_bulk] = bool(others) and not self._is_fullests[is_bulk]
        if is_bulk:
            self._owed = max(0, self._owed - items)
            self._passed = self._passed_items = 0
        elif any(not each.waiting for each in others):
            self._owed = min(most, self._owed + most - items)
            self._passed += 1
            self._passed_items += items
        else:
            self._owed = self._passed = self._passed_items = 0

    def _pick(self, candidates: list[_Candidate], now: float, is_bulk: int) -> _Candidate | None:
        """Return the lane of one class that is due first; None where none waits."""
        if not candidates:
            return None
        if self._is_fullests[is_bulk] and len(candidates) >= MANY:
            due = [each for each in candidates if each.decision.due <= now]
            if len(due) >= MANY:
                return max(due, key=lambda each: each.items)
        return min(candidates, key=lambda each: (max(each.decision.due, now), each.since))

    def _is_bulks_turn(self, bulk: _Candidate, aged: int, now: float) -> bool:
        """Whether a batch of bulk alone takes the place of one with interactive items, which is due.

        ``aged``: items of the lanes of bulk alone whose first have waited as long as they may.
        """
        most = bulk.lane.most_items
        is_old = self._passed_items >= most if Aged(aged).is_flood(most) else aged > 0 and self._passed > 0
        if is_old or self._passed >= PASSED:
            return True  # be it due by itself or not: where interactive items fill the upstream, it never would be
        return bulk.decision.due <= now and self._owed >= min(bulk.items, most)
