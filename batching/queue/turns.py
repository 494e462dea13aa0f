"""Which lane's batch leaves first where the batches of several are due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batching.timing.rule import HOLD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batching.queue.lanes import Lane
    from batching.timing.rule import Decision


#: Lanes that have to be due at once; among fewer, none waits for long by age alone.
MANY = 4


class Turns:
    """The lane whose head has waited longest and the lane with the most items take turns.

    By age alone, 500 keys with one item each would leave the lane that all other clients share one batch in 501. By
    number alone, a lane with few items would never get one. Used with the queue's lock held.
    """

    __slots__ = ("_is_fullests",)

    def __init__(self) -> None:
        #: Whether it is the turn of the lane with the most items.
        self._is_fullests = False

    def first(
        self, lanes: Iterable[Lane], decide: Callable[[Lane, float], Decision], now: float
    ) -> tuple[Lane | None, Decision]:
        """Say which lane is due first, and the decision on it."""
        best: Lane | None = None
        first = HOLD
        fullest, its, due = None, HOLD, 0
        for lane in lanes:
            decision = decide(lane, now)
            if best is None or (max(decision.due, now), lane.has_waited_since) < (
                max(first.due, now),
                best.has_waited_since,
            ):
                best, first = lane, decision
            if self._is_fullests and decision.due <= now:
                due += 1
                if fullest is None or lane.all_waiting > fullest.all_waiting:
                    fullest, its = lane, decision
        return (fullest, its) if due >= MANY else (best, first)

    def left(self, *, has_others: bool) -> None:
        """Note that a batch leaves; ``has_others``: items of other lanes wait."""
        self._is_fullests = has_others and not self._is_fullests
