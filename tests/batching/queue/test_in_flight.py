"""Batches in flight are counted, over all lanes and in each, until they end or their thread dies."""

from __future__ import annotations

import pytest

from batching import Batch, BatchKey, FixedTiming
from batching.call import Part
from batching.queue.in_flight import InFlight
from batching.queue.lanes import Lanes
from tests.batching.queue.steps import OTHER_KEY, texts
from tests.support.fakes import KEY, call_of, capacity_of, limits_of


def batch_of(count: int, *, key: BatchKey = KEY, owner: int = 1) -> Batch:
    batch = Batch(key, "full", 0.0)
    batch.add(Part(call_of(*texts(count), key=key), 0, count))
    batch.owner = owner
    return batch


@pytest.fixture
def lanes() -> Lanes:
    return Lanes(lambda: FixedTiming(0.1), limits_of(), capacity_of())


def test_batches_and_items_are_counted_over_all_lanes_and_in_each(lanes: Lanes) -> None:
    in_flight = InFlight(lanes)
    one, other = lanes.open(KEY), lanes.open(OTHER_KEY)
    batches = [batch_of(3), batch_of(4), batch_of(5, key=OTHER_KEY)]
    for batch in batches:
        in_flight.add(batch)
    assert (len(in_flight.batches), in_flight.items, one.in_flight_items, other.in_flight_items) == (3, 12, 7, 5)
    assert in_flight.batches == set(batches)
    in_flight.remove(batches[0])
    assert (len(in_flight.batches), in_flight.items, one.in_flight_items, other.in_flight_items) == (2, 9, 4, 5)
    assert [batch in in_flight.batches for batch in batches] == [False, True, True]


def test_a_batch_whose_lane_is_forgotten_is_counted_all_the_same(lanes: Lanes) -> None:
    in_flight = InFlight(lanes)
    batch = batch_of(3)
    in_flight.add(batch)
    assert in_flight.items == 3
    in_flight.remove(batch)
    assert (len(in_flight.batches), in_flight.items) == (0, 0)


@pytest.mark.parametrize(("living", "orphaned"), [((1, 2), ()), ((1,), (2,)), ((), (1, 2)), ((3,), (1, 2))], ids=str)
def test_orphans_are_the_batches_whose_threads_are_not_among_the_living(
    lanes: Lanes, living: tuple[int, ...], orphaned: tuple[int, ...]
) -> None:
    in_flight = InFlight(lanes)
    for owner in (1, 2):
        in_flight.add(batch_of(1, owner=owner))
    assert {batch.owner for batch in in_flight.orphans(living)} == set(orphaned)
