"""The queue gives out the right batches at the right moment, and counts to zero. No threads, no sleeping."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from batching import AdaptiveTiming, BatchKey, FixedTiming
from batching.errors import (
    BatcherDied,
    ClientGone,
    DeadlineExceeded,
    Hopeless,
    Overloaded,
    ProxyError,
    ShuttingDown,
    UpstreamError,
)
from batching.queue.batch_queue import HANGUP_CHECK_AFTER, MAX_IDLE_LANES
from tests.support.fakes import KEY, Deadlock, FakeClock, call_of, items_of, put, queue_of, succeed, take, vector_of

if TYPE_CHECKING:
    from batching import Batch, BatchQueue, Call

OTHER_KEY = BatchKey("/embed", b',"normalize":false')


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def texts(count: int, prefix: str = "t") -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def fail(queue: BatchQueue, batch: Batch) -> list[Call]:
    return queue.settle(batch, None, UpstreamError("boom"))


def assert_empty(queue: BatchQueue) -> None:
    """Nothing is left of anything that went through the queue."""
    assert (queue.calls, queue.queued_items, queue.in_flight, queue.in_flight_items) == (0, 0, 0, 0)
    assert not queue._busy
    for lane in queue._lanes.values():
        assert (lane.waiting, lane.waiting_bytes, lane.in_flight_items, len(lane.calls)) == (0, 0, 0, 0)


# When a batch is due


def test_a_full_batch_is_due_at_once(clock: FakeClock) -> None:
    queue = queue_of(clock)
    for text in texts(32):
        put(queue, text)
    batch = take(queue)
    assert (clock.now(), len(batch.items), batch.reason) == (0.0, 32, "full")
    assert batch.items == items_of(*texts(32))


def test_a_partial_batch_is_due_max_wait_after_its_first_item(clock: FakeClock) -> None:
    queue = queue_of(clock)
    for moment in (0.02, 0.05, 0.119):
        clock.at(moment, lambda: put(queue, "text"))
    batch = take(queue)
    assert clock.now() == pytest.approx(0.12)
    assert (len(batch.items), batch.reason) == (3, "max_wait")


def test_the_item_that_fills_a_batch_ends_the_wait(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=3)
    for moment in (0.01, 0.02, 0.03):
        clock.at(moment, lambda: put(queue, "text"))
    assert len(take(queue).items) == 3
    assert clock.now() == 0.03


def test_what_a_full_batch_leaves_behind_waits_from_its_own_arrival(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    clock.at(0.00, lambda: put(queue, "a"))
    clock.at(0.05, lambda: put(queue, "b", "c"))
    clock.at(0.06, lambda: put(queue, "d"))  # fills the second batch before its time
    assert [take(queue).items, take(queue).items] == [items_of("a", "b"), items_of("c", "d")]
    assert clock.now() == 0.06


def test_an_adaptive_lone_client_is_never_held(clock: FakeClock) -> None:
    queue = queue_of(clock, timing=lambda: AdaptiveTiming(32, 0.1))
    for _ in range(100):
        put(queue, "text")
        arrived = clock.now()
        batch = take(queue)
        assert clock.now() == arrived
        clock.sleep(0.005)
        succeed(queue, batch)


# Splitting and merging


def test_a_big_call_is_split_and_put_together_in_order(clock: FakeClock) -> None:
    queue = queue_of(clock)
    call = put(queue, *texts(100))
    batches = [take(queue) for _ in range(4)]
    assert [len(batch.items) for batch in batches] == [32, 32, 32, 4]
    for batch in (batches[2], batches[0], batches[3]):
        assert succeed(queue, batch) == []
    assert succeed(queue, batches[1]) == [call]
    assert call.results == [vector_of(item) for item in call.items]
    assert_empty(queue)


def test_small_calls_share_a_batch_and_each_gets_its_own_results(clock: FakeClock) -> None:
    queue = queue_of(clock)
    calls = [put(queue, "a"), put(queue, "b", "c"), put(queue, "d")]
    batch = take(queue)
    assert batch.items == items_of("a", "b", "c", "d")
    assert succeed(queue, batch) == calls
    assert [call.results for call in calls] == [[vector_of(item) for item in call.items] for call in calls]
    assert [call.batch_size for call in calls] == [4, 4, 4]


def test_the_end_of_a_big_call_travels_with_what_came_after_it(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    big, small = put(queue, *texts(6)), put(queue, "x", "y")
    first, second = take(queue), take(queue)
    assert second.items == [*big.items[4:], *small.items]
    assert succeed(queue, second) == [small]
    assert succeed(queue, first) == [big]
    assert big.results == [vector_of(item) for item in big.items]


def test_two_keys_never_share_a_batch_and_the_older_goes_first(clock: FakeClock) -> None:
    queue = queue_of(clock)
    clock.at(0.01, lambda: put(queue, "a"))
    clock.at(0.02, lambda: put(queue, "b", key=OTHER_KEY))
    clock.at(0.03, lambda: put(queue, "c"))
    assert (take(queue).items, round(clock.now(), 9)) == (items_of("a", "c"), 0.11)
    assert (take(queue).items, round(clock.now(), 9)) == (items_of("b"), 0.12)


def test_a_key_with_an_endless_crowd_does_not_starve_another(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4, max_inflight_batches=1)
    put(queue, "lone", key=OTHER_KEY)
    sent_at = None
    for _ in range(200):
        while queue.queued_items < 20:
            put(queue, "crowd")
        batch = take(queue)
        if batch.key == OTHER_KEY:
            sent_at = clock.now()
            break
        clock.sleep(0.01)
        succeed(queue, batch)
    assert sent_at == pytest.approx(0.1, abs=0.011)  # the batch under way is not interrupted


def test_small_batches_do_not_keep_a_large_one_out_of_the_upstreams_permits(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=32, max_inflight_items=40, max_queued_items=5000)
    put(queue, *texts(10), key=OTHER_KEY)
    clock.sleep(0.1)
    under_way = [take(queue)]
    put(queue, *texts(32))  # full, but 10 + 32 do not fit
    for _ in range(50):
        put(queue, *texts(10), key=OTHER_KEY)
        clock.sleep(0.1)
        succeed(queue, under_way.pop())
        under_way.append(take(queue))
        if under_way[0].key == KEY:
            return
    pytest.fail("the large batch starved")


def test_the_bytes_of_a_batch_are_bounded(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_bytes=30)
    call = put(queue, *["x" * 8] * 7)  # ten bytes each, as JSON
    assert [len(take(queue).items) for _ in range(2)] == [3, 3]
    assert clock.now() == 0
    assert len(take(queue).items) == 1
    assert call.taken == 7


def test_an_item_over_the_byte_limit_travels_alone(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_bytes=30)
    put(queue, "a", "x" * 100, "b")
    assert [take(queue).items for _ in range(3)] == [items_of("a"), items_of("x" * 100), items_of("b")]


def test_a_limit_lowered_while_items_wait_holds_for_the_next_batch(clock: FakeClock) -> None:
    queue = queue_of(clock)
    put(queue, *texts(20))
    queue.limits.max_batch_size = 8
    assert [len(take(queue).items) for _ in range(3)] == [8, 8, 4]


# Late binding


def test_items_that_arrive_while_the_upstream_is_busy_travel_in_the_next_batch(clock: FakeClock) -> None:
    queue = queue_of(clock, max_inflight_batches=1)
    put(queue, "first")
    busy = take(queue)
    for moment in (0.2, 0.3, 0.4):
        clock.at(moment, lambda: put(queue, "later"))
    clock.sleep(0.5)
    succeed(queue, busy)
    assert len(take(queue).items) == 3
    assert clock.now() == pytest.approx(0.6)


def test_no_more_batches_are_in_flight_than_allowed(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1, max_inflight_batches=2)
    put(queue, "a", "b", "c")
    first, _ = take(queue), take(queue)
    with pytest.raises(Deadlock):
        take(queue)
    clock.at(1.0, lambda: (succeed(queue, first), queue.drain()))  # in the service, who settles goes on to take
    assert take(queue).items == items_of("c")


def test_no_more_items_are_in_flight_than_the_upstream_has_permits(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=8, max_inflight_items=10)
    put(queue, *texts(16))
    first = take(queue)
    with pytest.raises(Deadlock):
        take(queue)
    succeed(queue, first)
    assert len(take(queue).items) == 8
    assert clock.now() == 0


def test_a_batch_beyond_all_permits_is_sent_alone_rather_than_never(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=8, max_inflight_items=4)
    put(queue, *texts(8))
    assert len(take(queue).items) == 8


# Admission


def test_calls_beyond_the_limit_are_refused_at_once(clock: FakeClock) -> None:
    queue = queue_of(clock, max_calls=2)
    first, _ = put(queue, "a"), put(queue, "b")
    with pytest.raises(Overloaded) as refused:
        put(queue, "c")
    assert (refused.value.status, refused.value.retry_after, clock.now()) == (429, 1, 0)
    queue.abandon(first, ClientGone("gone"))
    put(queue, "c")


def test_items_of_a_call_are_admitted_all_or_none(clock: FakeClock) -> None:
    queue = queue_of(clock, max_queued_items=5)
    put(queue, "a", "b", "c")
    with pytest.raises(Overloaded):
        put(queue, "d", "e", "f")
    assert (queue.queued_items, queue.calls) == (3, 1)
    put(queue, "d", "e")


def test_items_upstream_no_longer_count_as_queued_but_their_calls_do(clock: FakeClock) -> None:
    queue = queue_of(clock, max_calls=2, max_queued_items=2, max_batch_size=2)
    put(queue, "a", "b")
    batch = take(queue)
    put(queue, "c", "d")
    with pytest.raises(Overloaded):
        put(queue, "e")
    succeed(queue, batch)
    assert queue.calls == 1


def test_a_call_without_items_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        call_of()


# Whoever has lost its reader


def test_a_call_whose_deadline_passed_in_the_queue_is_never_sent(clock: FakeClock) -> None:
    queue = queue_of(clock)
    late = put(queue, "late", deadline=0.05)
    clock.at(0.06, lambda: put(queue, "fine"))
    assert take(queue).items == items_of("fine")
    assert isinstance(late.error, DeadlineExceeded)
    assert late.event.is_set()
    assert queue.calls == 1


def test_a_client_that_hung_up_is_dropped_before_batching(clock: FakeClock) -> None:
    queue = queue_of(clock)
    gone = call_of("gone")
    gone.is_gone = lambda: True
    queue.put(gone)
    there = put(queue, "there")
    assert take(queue).parts[0].call is there
    assert isinstance(gone.error, ClientGone)
    assert gone.event.is_set()


def test_clients_that_have_not_waited_long_are_not_asked_whether_they_are_there(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1)
    asked = []
    for waits in (HANGUP_CHECK_AFTER / 2, HANGUP_CHECK_AFTER):
        call = call_of("text")
        call.is_gone = lambda waits=waits: asked.append(waits) or False  # type: ignore[misc]
        queue.put(call)
        clock.sleep(waits)
        take(queue)
    assert asked == [HANGUP_CHECK_AFTER]


def test_when_nobody_is_left_the_thread_waits_on(clock: FakeClock) -> None:
    queue = queue_of(clock)
    put(queue, "late", deadline=0.05)
    clock.at(0.5, lambda: put(queue, "fine"))
    assert take(queue).items == items_of("fine")
    assert clock.now() == pytest.approx(0.6)


def test_an_abandoned_call_is_never_sent(clock: FakeClock) -> None:
    queue = queue_of(clock)
    first, _, third = put(queue, "a"), put(queue, "b"), put(queue, "c", "d")
    assert queue.abandon(first, ClientGone("gone"))
    assert queue.abandon(third, ClientGone("gone"))
    assert not queue.abandon(third, ClientGone("gone"))
    batch = take(queue)
    assert batch.items == items_of("b")
    succeed(queue, batch)
    assert_empty(queue)


def test_when_the_oldest_call_is_abandoned_the_next_one_sets_the_time(clock: FakeClock) -> None:
    queue = queue_of(clock)
    first = put(queue, "a")
    clock.at(0.05, lambda: put(queue, "b"))
    clock.at(0.06, lambda: queue.abandon(first, ClientGone("gone")))
    assert take(queue).items == items_of("b")
    assert clock.now() == pytest.approx(0.15)


def test_the_rest_of_an_abandoned_big_call_is_not_sent_and_its_late_results_are_discarded(clock: FakeClock) -> None:
    queue = queue_of(clock)
    call = put(queue, *texts(100))
    under_way = [take(queue), take(queue)]
    assert queue.abandon(call, DeadlineExceeded("too late"))
    assert (queue.queued_items, queue.calls) == (0, 0)
    assert [succeed(queue, batch) for batch in under_way] == [[], []]
    assert isinstance(call.error, DeadlineExceeded)
    assert_empty(queue)


def test_an_error_for_one_batch_of_a_big_call_ends_it_once(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, *texts(6))
    under_way = [take(queue), take(queue)]
    assert fail(queue, under_way[0]) == [call]
    assert succeed(queue, under_way[1]) == []
    assert isinstance(call.error, UpstreamError)
    assert_empty(queue)


def test_an_error_for_a_batch_ends_each_of_its_calls_once(clock: FakeClock) -> None:
    queue = queue_of(clock)
    calls = [put(queue, "a"), put(queue, "b", "c")]
    batch = take(queue)
    assert fail(queue, batch) == calls
    assert fail(queue, batch) == []
    assert succeed(queue, batch) == []
    assert all(isinstance(call.error, UpstreamError) for call in calls)
    assert_empty(queue)


def test_waiters_of_a_batch_know_whom_to_wake_as_soon_as_their_calls_have_ended(clock: FakeClock) -> None:
    queue = queue_of(clock)
    calls = [put(queue, text) for text in "abc"]
    succeed(queue, take(queue))
    assert [call.follower for call in calls] == [calls[1], calls[2], None]


# The end


def test_draining_sends_what_waits_without_delay_and_still_admits(clock: FakeClock) -> None:
    queue = queue_of(clock)
    put(queue, "a")
    clock.at(0.01, queue.drain)
    clock.at(0.02, lambda: put(queue, "b"))
    for moment, text in ((0.01, "a"), (0.02, "b")):
        batch = take(queue)
        assert (batch.items, batch.reason, clock.now()) == (items_of(text), "drain", moment)


def test_a_closed_queue_gives_out_what_waits_and_then_none(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    put(queue, "a", "b", "c")
    clock.at(0.01, queue.close)
    assert [len(take(queue).items) for _ in range(2)] == [2, 1]
    assert queue.take() is None
    with pytest.raises(ShuttingDown) as refused:
        put(queue, "d")
    assert (refused.value.status, refused.value.retry_after) == (503, 1)


def test_an_idle_thread_is_told_of_the_end(clock: FakeClock) -> None:
    queue = queue_of(clock)
    clock.at(1.0, queue.close)
    assert queue.take() is None
    assert clock.now() == 1.0


def test_the_last_thread_to_end_tells_the_others_that_there_is_nothing_left(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2, max_inflight_items=2)
    put(queue, "a", "b", "c", "d")
    queue.close()
    first = take(queue)

    def the_other_thread() -> None:
        succeed(queue, first)
        succeed(queue, take(queue))
        assert queue.take() is None

    clock.at(1.0, the_other_thread)
    assert queue.take() is None  # it waits for permits until there is nothing to send any more


def test_all_that_has_not_ended_can_be_rejected(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    calls = [put(queue, *texts(5)), put(queue, "x"), put(queue, "y", key=OTHER_KEY)]
    batch = take(queue)
    assert queue.reject_all() == 3
    assert queue.reject_all() == 0
    assert all(isinstance(call.error, ShuttingDown) and call.event.is_set() for call in calls)
    assert succeed(queue, batch) == []
    assert_empty(queue)


def test_batches_of_dead_threads_fail_and_those_of_the_living_do_not(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2, max_inflight_batches=2)
    calls = [put(queue, "a", "b"), put(queue, "c", "d"), put(queue, "e", "f")]
    dead, alive = take(queue), take(queue)
    dead.owner = -1
    assert queue.fail_orphans([threading.get_ident()]) == [dead]
    assert isinstance(calls[0].error, BatcherDied)
    assert calls[0].event.is_set()
    assert not calls[1].done
    assert take(queue).items == items_of("e", "f")
    assert succeed(queue, dead) == []
    assert succeed(queue, alive) == [calls[1]]


def test_the_slot_of_a_dead_thread_wakes_an_idle_one(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1, max_inflight_batches=1)
    put(queue, "a", "b")
    take(queue)
    clock.at(1.0, lambda: queue.fail_orphans([]))
    put(queue, "c")
    assert take(queue).items == items_of("c")
    assert clock.now() >= 1.0


# Lanes


def test_lanes_are_forgotten_only_when_idle_and_the_longest_idle_first(clock: FakeClock) -> None:
    queue = queue_of(clock, max_inflight_batches=200)
    keys = [BatchKey("/embed", str(number).encode()) for number in range(MAX_IDLE_LANES + 20)]
    put(queue, "waiting", key=keys[0])
    put(queue, "upstream", key=keys[1])
    queue.drain()
    assert [take(queue).key, take(queue).key] == keys[:2]
    put(queue, "waiting", key=keys[0])
    for key in keys[2:]:
        call = put(queue, "text", key=key)
        queue.abandon(call, ProxyError("gone"))
    assert len(queue._lanes) == MAX_IDLE_LANES
    assert list(queue._lanes)[:2] == keys[:2]
    assert set(queue._lanes) == {*keys[:2], *keys[-MAX_IDLE_LANES + 2 :]}


def test_more_busy_keys_than_lanes_are_remembered_do_no_harm(clock: FakeClock) -> None:
    queue = queue_of(clock)
    keys = [BatchKey("/embed", str(number).encode()) for number in range(MAX_IDLE_LANES + 20)]
    calls = [put(queue, "text", key=key) for key in keys]
    for call in calls:
        batch = take(queue)
        assert batch.parts[0].call is call
        succeed(queue, batch)
    assert_empty(queue)
    put(queue, "text", key=BatchKey("/another"))
    assert len(queue._lanes) == MAX_IDLE_LANES


# Wake-ups


def test_32_arrivals_wake_an_idle_thread_once_for_the_first_and_once_for_the_full_batch(clock: FakeClock) -> None:
    queue = queue_of(clock)
    for number in range(32):
        clock.at(1.0 + number / 1000, lambda: put(queue, "text"))
    assert len(take(queue).items) == 32
    assert clock.notifications == 2


def test_a_key_that_is_due_earlier_wakes_a_thread_that_waits_for_another(clock: FakeClock) -> None:
    waits = iter([0.10, 0.07])
    queue = queue_of(clock, timing=lambda: FixedTiming(next(waits)))
    clock.at(1.00, lambda: put(queue, "patient"))
    clock.at(1.01, lambda: put(queue, "hasty", key=OTHER_KEY))
    assert (take(queue).key, round(clock.now(), 9)) == (OTHER_KEY, 1.08)
    assert (take(queue).key, round(clock.now(), 9)) == (KEY, 1.1)


def test_a_thread_that_leaves_with_a_batch_wakes_another_for_the_next(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1)
    taken: list[Batch] = []
    clock.at(1.0, lambda: taken.append(take(queue)))  # a second thread, idle beside the first
    clock.at(2.0, lambda: put(queue, "a", "b"))
    taken.append(take(queue))
    assert [batch.items for batch in taken] == [items_of("a"), items_of("b")]
    assert clock.now() == 2.0


def test_arrivals_wake_nobody_while_all_slots_are_taken(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1, max_inflight_batches=1)
    put(queue, "a")
    take(queue)
    for moment in range(1, 10):
        clock.at(moment, lambda: put(queue, "b"))
    with pytest.raises(Deadlock):
        take(queue)
    assert clock.notifications == 0


def test_a_thread_that_dies_while_it_waits_is_not_the_one_that_is_woken(clock: FakeClock) -> None:
    queue = queue_of(clock)

    def die() -> None:
        raise SystemExit

    clock.at(1.0, die)
    with pytest.raises(SystemExit):
        take(queue)
    clock.at(2.0, lambda: put(queue, "text"))
    assert take(queue).items == items_of("text")
    assert clock.now() == pytest.approx(2.1)


# A standing queue


def served_in(queue: BatchQueue, clock: FakeClock, seconds: float) -> list[Call]:
    """Let one batch take this long; return the calls that were in it."""
    batch = queue.take()
    assert batch is not None
    clock.time += seconds
    queue.settle(batch, [vector_of(item) for item in batch.items], None)
    return [part.call for part in batch.parts]


def test_a_place_is_not_wasted_on_those_who_cannot_be_answered_in_time(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    for number in range(2):
        queue.put(call_of(str(number)))
    served_in(queue, clock, 1.0)
    hopeless = [call_of(f"hopeless {number}", deadline=clock.time + 0.9) for number in range(3)]
    hopeful = [call_of(f"hopeful {number}", deadline=clock.time + 1.1) for number in range(2)]
    for call in hopeless + hopeful:
        queue.put(call)
    assert served_in(queue, clock, 1.0) == hopeful
    assert [type(call.error) for call in hopeless] == [Hopeless] * 3
    assert all(call.event.is_set() for call in hopeless)
    assert queue.calls == queue.queued_items == 0


def test_where_nobody_else_would_take_the_place_it_is_tried_all_the_same(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    for number in range(2):
        queue.put(call_of(str(number)))
    served_in(queue, clock, 1.0)
    calls = [call_of(f"in a hurry {number}", deadline=clock.time + 0.5) for number in range(2)]
    for call in calls:
        queue.put(call)
    assert served_in(queue, clock, 0.1) == calls
    assert [call.error for call in calls] == [None, None]


def test_an_upstream_that_became_faster_is_believed_after_a_few_batches(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1)
    queue.put(call_of("slow"))
    served_in(queue, clock, 10.0)
    for number in range(20):
        queue.put(call_of(f"fast {number}"))
        served_in(queue, clock, 0.1)
    for number in range(2):
        queue.put(call_of(f"in a hurry {number}", deadline=clock.time + 1.0))
    assert len(served_in(queue, clock, 0.1)) == 1


# An upstream that pads


def of_length(*lengths: int) -> list[Call]:
    return [call_of("x" * (length - 2)) for length in lengths]  # two quotes make up the rest


def lengths(batch: Batch | None) -> list[int]:
    assert batch is not None
    return [len(item) for item in batch.items]


def test_the_oldest_goes_and_takes_those_of_similar_length_with_it(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=3, max_padded_bytes=100_000)
    for call in of_length(10, 500, 12, 480, 11, 510):
        queue.put(call)
        clock.time += 0.001
    assert lengths(queue.take()) == [10, 11, 12]
    assert lengths(queue.take()) == [500, 480, 510]


def test_whoever_has_waited_long_enough_is_passed_over_no_more(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=3, max_padded_bytes=100_000)
    queue.limits.max_wait = 1.0
    for call in of_length(10, 500, 12, 480, 11, 510):
        queue.put(call)
    clock.time += 2
    for call in of_length(10, 10):
        queue.put(call)
    assert lengths(queue.take()) == [10, 500, 12]


def test_where_all_fit_nobody_is_chosen(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=3, max_padded_bytes=100_000)
    for call in of_length(10, 500, 12):
        queue.put(call)
    assert lengths(queue.take()) == [10, 500, 12]


def test_padding_counts_against_the_budget(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=8, max_padded_bytes=1000)
    for call in of_length(100, 100, 400, 100, 100):
        queue.put(call)
    queue.close()
    assert lengths(queue.take()) == [100, 100]
    assert lengths(queue.take()) == [400, 100]
    assert lengths(queue.take()) == [100]


def test_padding_counts_within_one_request_too(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=8, max_padded_bytes=1000)
    queue.put(call_of("x" * 98, "x" * 98, "x" * 398, "x" * 98, "x" * 1998))
    queue.close()
    batches = [lengths(queue.take()) for _ in range(3)]
    assert batches == [[100, 100], [400, 100], [2000]]
    assert queue.queued_items == 0


def test_what_is_left_stays_in_the_order_of_arrival(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2, max_padded_bytes=100_000)
    calls = of_length(10, 500, 400, 10, 300)
    for call in calls:
        queue.put(call)
        clock.time += 0.001
    queue.take()
    assert list(queue._busy[KEY].calls) == [calls[1], calls[2], calls[4]]
    assert queue._busy[KEY].oldest == calls[1].arrived
