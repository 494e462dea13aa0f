"""A lane counts its items, is full with exactly a batch, and is forgotten only when it is idle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import BatchKey, FixedTiming, Options, ProxyError, Task
from batching.call import Part
from batching.clock import NEVER
from batching.errors import DeadlineExceeded
from batching.queue.lanes import MAX_IDLE_LANES, Lane, Lanes
from batching.queue.waiting import FEW_ENDED
from tests.batching.queue.steps import (
    OTHER_KEY,
    assert_empty,
    lane_of,
    lanes_of,
    texts,
    with_suspects,
)
from tests.support.fakes import (
    KEY,
    FakeClock,
    call_of,
    capacity_of,
    limits_of,
    put,
    queue_of,
    succeed,
    take,
)

if TYPE_CHECKING:
    from batching import Call, Capacity


def a_lane(*, batch_size: int = 32, **limits: float) -> Lane:
    return lane_with(capacity_of(max_batch_size=batch_size), **limits)


def lane_with(capacity: Capacity, **limits: float) -> Lane:
    return Lane(KEY, FixedTiming(0.1), limits_of(**limits), capacity)


def arrives(lane: Lane, *texts: str, at: float = 0.0) -> Call:
    call = call_of(*texts)
    call.arrived = at
    lane.append(call)
    return call


def ends(lane: Lane, call: Call) -> int:
    call.done = True
    return lane.drop(call)


# What waits


def test_a_lane_counts_items_and_bytes_in_and_out() -> None:
    lane = a_lane()
    first, second = arrives(lane, "a", "bb"), arrives(lane, "ccc")
    assert (lane.waiting, lane.waiting_bytes) == (3, 3 + 4 + 5)
    lane.remove([Part(first, 0, 1)])
    assert (lane.waiting, lane.waiting_bytes, list(lane.calls)) == (2, 4 + 5, [first, second])
    lane.remove([Part(first, 1, 2)])
    assert (lane.waiting, lane.waiting_bytes, list(lane.calls)) == (1, 5, [second])
    assert ends(lane, second) == 1
    assert (lane.waiting, lane.waiting_bytes, list(lane.calls), lane.oldest) == (0, 0, [], NEVER)


def test_the_queue_counts_the_items_of_a_lane_from_their_arrival_to_their_end(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    put(queue, "a", "bb")
    call = put(queue, "ccc")
    lane = lane_of(queue)
    assert (lane.waiting, lane.waiting_bytes) == (3, 3 + 4 + 5)
    batch = take(queue)
    assert (lane.waiting, lane.waiting_bytes, lane.in_flight_items, queue.in_flight_items) == (1, 5, 2, 2)
    queue.abandon(call, ProxyError("gone"))
    assert (lane.waiting, lane.waiting_bytes, lane.oldest) == (0, 0, NEVER)
    succeed(queue, batch)
    assert_empty(queue)


@pytest.mark.parametrize(("items", "is_full"), [(2, False), (3, True), (4, True)])
def test_a_lane_is_full_with_exactly_the_items_of_a_batch(items: int, is_full: bool) -> None:
    lane = a_lane(batch_size=3)
    for text in texts(items):
        arrives(lane, text)
    assert lane.is_full is is_full


@pytest.mark.parametrize(("size", "is_full"), [(6, False), (7, True), (8, True)])
def test_a_lane_is_full_with_exactly_the_bytes_of_a_batch(size: int, is_full: bool) -> None:
    lane = a_lane(max_batch_bytes=7)
    arrives(lane, "")  # two bytes, as JSON
    arrives(lane, "x" * (size - 4))
    assert (lane.waiting_bytes, lane.is_full) == (size, is_full)


@pytest.mark.parametrize(("size", "is_full"), [(6, False), (7, True), (8, True)])
def test_a_lane_is_full_with_the_bytes_that_the_upstreams_take_if_these_are_fewer(size: int, is_full: bool) -> None:
    capacity = capacity_of()
    lane = lane_with(capacity, max_batch_bytes=1000)
    arrives(lane, "")
    arrives(lane, "x" * (size - 4))
    assert not lane.is_full
    capacity.change(batch_bytes=7)
    lane.resize(0, 0)
    assert lane.is_full is is_full


@pytest.mark.parametrize(("limit", "taken", "most"), [(7, 1000, 7), (1000, 7, 7)])
def test_the_bytes_of_the_next_batch_are_the_fewer_of_both_bounds(limit: int, taken: int, most: int) -> None:
    capacity = capacity_of()
    capacity.change(batch_bytes=taken)
    _, bounds = lane_with(capacity, max_batch_bytes=limit).candidates(0.0)
    assert bounds.size == most


def test_a_lane_is_as_old_as_its_oldest_call() -> None:
    lane = a_lane()
    assert lane.oldest == NEVER
    first = arrives(lane, "a", at=1.0)
    arrives(lane, "b", at=2.0)
    assert lane.oldest == 1.0
    ends(lane, first)
    assert lane.oldest == 2.0


def test_items_that_are_put_back_stand_in_the_order_of_their_calls_arrivals() -> None:
    lane = a_lane()
    early, late = call_of("a", "bb", "ccc"), call_of("d")
    early.arrived, late.arrived = 1.0, 3.0
    early.taken, late.taken = 3, 1
    arrives(lane, "e", at=2.0)
    lane.put_back(Part(late, 0, 1))
    assert lane.oldest == 2.0
    lane.put_back(Part(early, 1, 3))
    assert [call.arrived for call in lane.calls] == [1.0, 2.0, 3.0]
    assert (early.waiting, lane.oldest, lane.waiting, lane.waiting_bytes) == (2, 1.0, 4, 3 + 3 + 4 + 5)


def test_items_of_a_call_that_still_waits_are_put_back_in_front_of_its_others() -> None:
    lane = a_lane()
    call, other = arrives(lane, "a", "bb", "ccc", at=1.0), arrives(lane, "d", at=2.0)
    lane.remove([Part(call, 0, 2)])
    lane.put_back(Part(call, 1, 2))
    assert (list(lane.calls), call.waiting, lane.oldest) == ([call, other], 2, 1.0)
    assert (lane.waiting, lane.waiting_bytes) == (3, 4 + 5 + 3)


@pytest.mark.parametrize(
    ("suspects", "taken", "starts"), [((), 0, False), ((0,), 0, True), ((1,), 0, False), ((1,), 1, True)]
)
def test_a_lane_starts_with_a_suspect_where_the_first_waiting_item_is_one(
    suspects: tuple[int, ...], taken: int, starts: bool
) -> None:
    lane = a_lane()
    assert not lane.starts_with_suspect
    call = with_suspects(call_of("a", "b"), *suspects)
    call.taken = taken
    lane.append(call)
    assert lane.starts_with_suspect is starts


def test_a_lane_tells_what_it_holds() -> None:
    lane = a_lane(batch_size=3)
    arrives(lane, "a", "b")
    assert repr(lane) == "<Lane embed: 2 items of 6 bytes in 1 calls, 0 in flight>"
    arrives(lane, "c")
    assert repr(lane) == "<Lane embed: 3 items of 9 bytes in 2 calls, full, 0 in flight>"


# Ended calls


def test_calls_that_ended_are_not_kept_behind_one_that_lives(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=64)
    first = put(queue, "first")
    for number in range(20 * FEW_ENDED):
        queue.abandon(put(queue, f"gone {number}"), DeadlineExceeded("too late"))
        assert len(lane_of(queue).calls) <= 2 + FEW_ENDED
    last = put(queue, "last")
    assert [each for each in lane_of(queue).calls if not each.done] == [first, last]
    assert (queue.calls, queue.queued_items, lane_of(queue).waiting) == (2, 2, 2)
    clock.time += 10
    assert take(queue).items == [*first.items, *last.items]


@pytest.mark.parametrize(("ended", "kept"), [(30 + FEW_ENDED, 60 + FEW_ENDED), (31 + FEW_ENDED, 30)])
def test_ended_calls_are_cleared_out_once_more_than_half_have_ended(ended: int, kept: int) -> None:
    lane = a_lane(batch_size=1000)
    living = [arrives(lane, text) for text in texts(30)]
    gone = [arrives(lane, text) for text in texts(ended)]
    for call in gone:
        ends(lane, call)
    assert len(lane.calls) == kept
    assert list(lane.calls)[:30] == living
    assert lane.waiting == 30


def test_calls_that_left_with_a_batch_past_an_earlier_one_are_not_kept() -> None:
    lane = a_lane()
    first, second, third = arrives(lane, "a", at=1.0), arrives(lane, "b"), arrives(lane, "c")
    lane.remove([Part(second, 0, 1)])
    assert (list(lane.calls), lane.oldest, lane.waiting) == ([first, third], 1.0, 2)


# The lanes of all keys


def keys_of(count: int) -> list[BatchKey]:
    return [BatchKey(Task.EMBED, Options(dimensions=number)) for number in range(count)]


def all_lanes(*, batch_size: int = 32) -> Lanes:
    return Lanes(lambda: FixedTiming(0.1), limits_of(), capacity_of(max_batch_size=batch_size))


def test_each_key_has_a_lane_of_its_own_with_a_rule_of_its_own() -> None:
    lanes = all_lanes()
    one, other = lanes.open(KEY), lanes.open(OTHER_KEY)
    assert (one.key, other.key) == (KEY, OTHER_KEY)
    assert one.timing is not other.timing
    assert lanes.open(KEY) is one
    assert list(lanes) == [one, other]


def test_a_lane_without_waiting_calls_is_idle_and_remembered() -> None:
    lanes = all_lanes()
    lane = lanes.open(KEY)
    call = arrives(lane, "a")
    lanes.close_if_empty(lane)
    assert (list(lanes), len(lanes)) == ([lane], 1)
    ends(lane, call)
    lanes.close_if_empty(lane)
    assert (list(lanes), len(lanes)) == ([], 0)
    assert KEY in lanes
    assert lanes.find(KEY) is lane
    assert lanes.open(KEY) is lane
    assert lanes.find(OTHER_KEY) is None
    assert OTHER_KEY not in lanes


def test_lanes_are_forgotten_only_when_idle_and_the_longest_idle_first(clock: FakeClock) -> None:
    queue = queue_of(clock, max_inflight_batches=200)
    keys = keys_of(MAX_IDLE_LANES + 20)
    put(queue, "waiting", key=keys[0])
    put(queue, "upstream", key=keys[1])
    queue.drain()
    assert [take(queue).key, take(queue).key] == keys[:2]
    put(queue, "waiting", key=keys[0])
    for key in keys[2:]:
        queue.abandon(put(queue, "text", key=key), ProxyError("gone"))
    remembered = [key for key in keys if key in lanes_of(queue)]
    assert remembered == [*keys[:2], *keys[-MAX_IDLE_LANES + 2 :]]


def test_a_key_that_is_used_again_counts_as_idle_from_then_on() -> None:
    lanes = all_lanes()
    keys = keys_of(MAX_IDLE_LANES + 1)
    for key in [*keys[:MAX_IDLE_LANES], keys[0]]:
        lanes.close_if_empty(lanes.open(key))
    lanes.open(keys[-1])
    assert keys[0] in lanes
    assert keys[1] not in lanes


def test_more_busy_keys_than_lanes_are_remembered_do_no_harm(clock: FakeClock) -> None:
    queue = queue_of(clock)
    keys = keys_of(MAX_IDLE_LANES + 20)
    calls = [put(queue, "text", key=key) for key in keys]
    for call in calls:
        batch = take(queue)
        assert batch.parts[0].call is call
        succeed(queue, batch)
    assert_empty(queue)
    assert sum(key in lanes_of(queue) for key in keys) == MAX_IDLE_LANES
    put(queue, "text", key=OTHER_KEY)
    assert sum(key in lanes_of(queue) for key in [*keys, OTHER_KEY]) == MAX_IDLE_LANES


def test_all_lanes_see_a_change_of_the_batch_size() -> None:
    capacity = capacity_of(max_batch_size=8)
    lanes = Lanes(lambda: FixedTiming(0.1), limits_of(), capacity)
    lane = lanes.open(KEY)
    arrives(lane, "a", "b")
    capacity.change(batch_size=2)
    lane.resize(0, 0)
    assert (lane.most_items, lane.is_full) == (2, True)
