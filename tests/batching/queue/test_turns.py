"""Whose batch leaves first where several lanes are due: by class, then by age and by number in turns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import Batch, Call, FixedTiming
from batching.clock import NEVER, NOW
from batching.key import BatchKey, Options, Task
from batching.queue.lanes import Lane
from batching.queue.mixing import make_up, take_out
from batching.queue.turns import MANY, PASSED, Turns
from batching.rank import ORDINARY, Rank
from batching.timing.classes import FLOOD
from batching.timing.rule import FULL, HOLD, MAX_WAIT, Decision
from tests.support.fakes import capacity_of, items_of, limits_of

if TYPE_CHECKING:
    from batching.errors import ProxyError

MOST, BULK_WAIT = 8, 5.0
BULK = Rank(is_bulk=True)


class Bench:
    """Lanes, and batches that leave one after the other. The test says which lanes are not due."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.lanes: list[Lane] = []
        self.decisions: dict[Lane, Decision] = {}
        self.now = 0.0

    def lane(self, interactive: int = 0, bulk: int = 0, decision: Decision = FULL) -> Lane:
        key = BatchKey(Task.EMBED, Options(dimensions=1 + len(self.lanes)))
        capacity = capacity_of(max_batch_size=MOST)
        lane = Lane(key, FixedTiming(0.1), limits_of(bulk_max_wait=BULK_WAIT), capacity)
        self.lanes.append(lane)
        self.decisions[lane] = decision
        self.enter(lane, interactive)
        self.enter(lane, bulk, BULK)
        return lane

    def enter(self, lane: Lane, count: int, rank: Rank = ORDINARY, *, at: float | None = None) -> None:
        for number in range(count):
            call = Call(items_of(f"{number}"), lane.key, NEVER, rank=rank)
            call.arrived = self.now if at is None else at
            lane.enter(call)

    def first(self) -> Lane | None:
        return self.turns.first(self.busy, lambda lane, _: self.decisions[lane], self.now)[0]

    @property
    def busy(self) -> list[Lane]:
        return [lane for lane in self.lanes if not lane.is_empty]

    def leave(self) -> Lane:
        """Let the batch of the first lane leave, as the queue does."""
        lane, decision = self.turns.first(self.busy, lambda lane, _: self.decisions[lane], self.now)
        assert lane is not None
        assert decision.due <= self.now
        batch = Batch(lane.key, decision.reason, self.now)
        composed = make_up(lane, self.now, needed)
        for part in composed.parts:
            batch.add(part)
        take_out(lane, composed, batch)
        self.turns.left(lane, batch, self.busy)
        return lane

    def order(self, count: int, *, refill: Lane | None = None, items: int = 0) -> list[Lane]:
        """Return the lanes whose batches leave; ``refill`` has ``items`` interactive items before each."""
        lanes = []
        for _ in range(count):
            if refill is not None:
                self.enter(refill, items - refill.waiting)
            lanes.append(self.leave())
        return lanes


def needed(call: Call) -> ProxyError | None:
    return None


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_no_lane_is_first_where_none_waits(bench: Bench) -> None:
    assert bench.turns.first([], lambda lane, now: FULL, 0.0) == (None, HOLD)


def test_the_lane_that_is_due_first_is_first(bench: Bench) -> None:
    later = bench.lane(interactive=1, decision=Decision(2.0, MAX_WAIT.reason))
    sooner = bench.lane(interactive=1, decision=Decision(1.0, MAX_WAIT.reason))
    assert bench.first() is sooner
    bench.now = 3.0
    assert bench.first() is later


def test_of_lanes_that_are_due_the_one_whose_head_has_waited_longest_is_first(bench: Bench) -> None:
    bench.now = 1.0
    bench.lane(interactive=5)
    oldest = bench.lane()
    bench.enter(oldest, 1, at=0.5)
    assert bench.first() is oldest


def test_among_many_lanes_the_fullest_goes_every_second_time(bench: Bench) -> None:
    small = [bench.lane(interactive=1) for _ in range(3 * MANY)]
    bench.now = 1.0
    full = bench.lane(interactive=3 * MOST)
    assert bench.order(6) == [small[0], full, small[1], full, small[2], full]


def test_the_turns_of_lanes_of_bulk_alone_are_counted_by_themselves(bench: Bench) -> None:
    """Else interactive lanes would go by number because bulk went by age."""
    interactive = [bench.lane(interactive=1) for _ in range(MANY)]
    bench.now = 1.0
    full = bench.lane(interactive=MOST)
    for _ in range(MANY):
        bench.lane(bulk=2 * MOST)
    assert bench.order(3) == [interactive[0], full, interactive[1]]


# ---- interactive items before bulk under other keys ---------------------------------------------


def test_a_lane_with_interactive_items_goes_before_older_bulk_under_another_key(bench: Bench) -> None:
    bench.lane(bulk=100 * MOST)
    bench.now = 1.0
    interactive = bench.lane(interactive=MOST)
    assert bench.first() is interactive


def test_many_lanes_of_bulk_are_no_reason_to_go_before_interactive_items(bench: Bench) -> None:
    for _ in range(3 * MANY):
        bench.lane(bulk=10 * MOST)
    bench.now = 1.0
    interactive = bench.lane(interactive=MOST)
    assert bench.order(PASSED, refill=interactive, items=MOST) == [interactive] * PASSED


def test_bulk_under_another_key_has_a_tenth_of_the_batches_where_interactive_items_fill_the_others(
    bench: Bench,
) -> None:
    bulk, interactive = bench.lane(bulk=10 * MOST), bench.lane(interactive=MOST)
    order = bench.order(40, refill=interactive, items=3 * MOST)
    assert order.count(bulk) == 4


def test_bulk_has_its_tenth_although_it_is_never_due_by_itself(bench: Bench) -> None:
    """It is due where a server is free, and interactive items that fill the upstream leave none."""
    bulk, interactive = bench.lane(bulk=10 * MOST, decision=HOLD), bench.lane(interactive=MOST)
    order = bench.order(40, refill=interactive, items=3 * MOST)
    assert order.count(bulk) == 4


@pytest.mark.parametrize(("items", "expected"), [(1, 20), (4, 20), (6, 12)])
def test_bulk_gets_the_places_that_interactive_items_under_another_key_leave_empty(
    bench: Bench, items: int, expected: int
) -> None:
    bulk, interactive = bench.lane(bulk=100 * MOST), bench.lane(interactive=items)
    order = bench.order(60, refill=interactive, items=items)
    assert order.count(bulk) == pytest.approx(expected, abs=2)


def test_bulk_goes_while_interactive_items_are_held_back(bench: Bench) -> None:
    bench.lane(interactive=1, decision=Decision(0.5, MAX_WAIT.reason))
    bulk = bench.lane(bulk=1)
    assert bench.first() is bulk


def test_bulk_that_is_not_due_does_not_go_for_empty_places(bench: Bench) -> None:
    bench.lane(bulk=MOST, decision=HOLD)
    interactive = bench.lane(interactive=1)
    assert bench.order(PASSED, refill=interactive, items=1) == [interactive] * PASSED


# ---- bulk that has aged -------------------------------------------------------------------------


def test_aged_bulk_under_another_key_goes_after_one_batch(bench: Bench) -> None:
    bulk, interactive = bench.lane(bulk=2 * MOST), bench.lane(interactive=MOST)
    bench.now = BULK_WAIT
    assert bench.order(4, refill=interactive, items=MOST) == [interactive, bulk, interactive, bulk]


def test_of_lanes_of_bulk_the_one_that_ages_first_goes_first(bench: Bench) -> None:
    bench.lane(bulk=1)
    bench.now = 1.0
    impatient = bench.lane()
    bench.enter(impatient, 1, Rank(is_bulk=True, max_wait=1.0))
    assert bench.first() is impatient


@pytest.mark.parametrize("keys", [1, 6])
def test_a_flood_of_aged_bulk_has_half_of_the_places_of_full_batches(bench: Bench, keys: int) -> None:
    bulk = [bench.lane(bulk=(FLOOD + 30) * MOST) for _ in range(keys)]
    interactive = bench.lane(interactive=MOST)
    bench.now = BULK_WAIT
    order = bench.order(20, refill=interactive, items=3 * MOST)
    assert order.count(interactive) == 10
    assert sum(order.count(lane) for lane in bulk) == 10


def test_a_flood_of_aged_bulk_does_not_go_for_its_age_where_interactive_batches_are_small(bench: Bench) -> None:
    bench.lane(bulk=(FLOOD + 1) * MOST, decision=HOLD)
    interactive = bench.lane(interactive=1)
    bench.now = BULK_WAIT
    assert bench.order(MOST, refill=interactive, items=1) == [interactive] * MOST


def test_nothing_is_owed_to_bulk_that_comes_later(bench: Bench) -> None:
    interactive = bench.lane(interactive=1)
    bench.lane(interactive=3 * PASSED * MOST)
    bench.order(2 * PASSED, refill=interactive, items=1)
    bulk = bench.lane(bulk=MOST)
    bench.now = 1.0
    bench.enter(interactive, 1)
    assert bench.first() is not bulk


def test_a_suspect_is_due_in_its_class(bench: Bench) -> None:
    bench.lane(bulk=MOST)
    interactive = bench.lane(interactive=1, decision=Decision(NOW, "suspect"))
    assert bench.first() is interactive
