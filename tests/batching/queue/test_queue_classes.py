"""Interactive and bulk calls in one queue: who leaves first, who is refused first, and that neither starves."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from batching.errors import Overloaded
from batching.rank import Rank
from tests.batching.queue.steps import OTHER_KEY, assert_empty, lane_of
from tests.support.fakes import KEY, FakeClock, call_of, put, queue_of, succeed, take

if TYPE_CHECKING:
    from batching import BatchKey, BatchQueue, Call

MOST, BULK_WAIT, CALL = 10, 2.0, 0.05
OF_THE_SAME_OR_ANOTHER_KEY = pytest.mark.parametrize("key", [KEY, OTHER_KEY], ids=["same key", "another key"])


@pytest.fixture
def queue(clock: FakeClock) -> BatchQueue:
    return queue_of(clock, max_batch_size=MOST, bulk_max_wait=BULK_WAIT, max_inflight_batches=1)


def put_bulk(
    queue: BatchQueue, count: int, name: str = "bulk", *, max_wait: float | None = None, key: BatchKey = KEY
) -> Call:
    call = call_of(*[f"{name} {number}" for number in range(count)], key=key)
    call.rank = Rank(is_bulk=True, max_wait=max_wait)
    queue.put(call)
    return call


def test_interactive_items_leave_before_bulk_that_came_first(queue: BatchQueue) -> None:
    bulk = put_bulk(queue, 100)
    calls = [put(queue, f"{number}") for number in range(MOST - 1)]
    batch = take(queue)
    assert [part.call for part in batch.parts] == [*calls, bulk]
    assert (len(batch.items), batch.bulk_items) == (MOST, 1)


def test_items_in_flight_are_counted_by_class(queue: BatchQueue) -> None:
    put_bulk(queue, 3)
    put(queue, "a")
    batch = take(queue)
    lane = lane_of(queue)
    assert (lane.in_flight_items, lane.in_flight_bulk) == (1, 3)
    succeed(queue, batch)
    assert (lane.in_flight_items, lane.in_flight_bulk) == (0, 0)
    assert_empty(queue)


@OF_THE_SAME_OR_ANOTHER_KEY
def test_bulk_keeps_a_tenth_of_the_places_in_an_endless_interactive_load(
    queue: BatchQueue, clock: FakeClock, key: BatchKey
) -> None:
    bulk = put_bulk(queue, 500, key=key)
    names = itertools.count()
    items = bulk_items = 0
    for _ in range(30):
        while queue.queued_items < bulk.waiting + 3 * MOST:
            put(queue, f"{next(names)}")
        batch = take(queue)
        clock.sleep(CALL)
        items, bulk_items = items + len(batch.items), bulk_items + batch.bulk_items
        succeed(queue, batch)
    assert not bulk.done
    assert bulk_items >= 0.08 * items


@OF_THE_SAME_OR_ANOTHER_KEY
def test_no_bulk_item_waits_longer_than_its_longest_wait_and_two_calls(
    queue: BatchQueue, clock: FakeClock, key: BatchKey
) -> None:
    names = itertools.count()
    waits = []
    for _ in range(150):
        while queue.queued_items < 4 * MOST:
            put(queue, f"{next(names)}")
        if next(names) % 3 == 0:
            put_bulk(queue, 2, f"bulk {next(names)}", key=key)
        batch = take(queue)
        clock.sleep(CALL)
        waits += [batch.taken_at - part.call.arrived for part in batch.parts if part.call.rank.is_bulk]
        succeed(queue, batch)
    assert len(waits) > (100 if key == KEY else 60)  # calls of bulk alone take what leaves with interactive ones else
    assert max(waits) <= BULK_WAIT + 2 * CALL + 1e-6


@OF_THE_SAME_OR_ANOTHER_KEY
def test_interactive_items_are_not_starved_by_bulk_that_has_aged(
    queue: BatchQueue, clock: FakeClock, key: BatchKey
) -> None:
    put_bulk(queue, 700, key=key)
    clock.sleep(2 * BULK_WAIT)
    waits = []
    for number in range(20):
        batch = take(queue)
        put(queue, f"{number}")
        clock.sleep(CALL)
        waits += [batch.taken_at - part.call.arrived for part in batch.parts if not part.call.rank.is_bulk]
        succeed(queue, batch)
    assert len(waits) >= 16
    assert max(waits) <= 2 * CALL + 1e-6


def test_a_bulk_call_may_say_that_it_waits_for_less(queue: BatchQueue, clock: FakeClock) -> None:
    call = put_bulk(queue, 3, max_wait=0.0)
    for number in range(50):
        put(queue, f"{number}")
    batch = take(queue)
    assert batch.bulk_items == 3
    succeed(queue, batch)
    assert call.done


def test_an_interactive_call_that_is_not_to_be_held_back_leaves_at_once(queue: BatchQueue, clock: FakeClock) -> None:
    put(queue, "a")
    call = call_of("b")
    call.rank = Rank(max_wait=0.0)
    clock.at(0.02, lambda: queue.put(call))
    batch = take(queue)
    assert clock.now() == pytest.approx(0.02)
    assert len(batch.items) == 2


def test_a_lane_of_bulk_leaves_after_an_interactive_one_until_it_has_aged(queue: BatchQueue, clock: FakeClock) -> None:
    put_bulk(queue, MOST)
    clock.sleep(0.01)
    put(queue, *[f"{number}" for number in range(MOST)], key=OTHER_KEY)
    batch = take(queue)
    assert batch.key == OTHER_KEY
    succeed(queue, batch)
    clock.sleep(BULK_WAIT)
    put(queue, *[f"{number}" for number in range(MOST)], key=OTHER_KEY)
    assert take(queue).key == KEY


# ---- admission ----------------------------------------------------------------------------------


def test_bulk_is_refused_first_where_many_calls_wait(clock: FakeClock) -> None:
    queue = queue_of(clock, max_calls=10)
    for number in range(8):
        put(queue, f"{number}")
    with pytest.raises(Overloaded, match="bulk"):
        put_bulk(queue, 1)
    put(queue, "one more")
    assert queue.calls == 9


def test_bulk_is_refused_first_where_many_items_wait(clock: FakeClock) -> None:
    queue = queue_of(clock, max_queued_items=100)
    put_bulk(queue, 80)
    with pytest.raises(Overloaded, match="bulk"):
        put_bulk(queue, 1)
    assert queue.queued_items == 80
    put(queue, *[f"{number}" for number in range(20)])
    with pytest.raises(Overloaded, match="inputs are waiting"):
        put(queue, "one more")


def test_a_bulk_call_of_more_than_bulks_part_is_admitted_where_nothing_waits(clock: FakeClock) -> None:
    queue = queue_of(clock, max_queued_items=100)
    put_bulk(queue, 90)
    assert queue.queued_items == 90
