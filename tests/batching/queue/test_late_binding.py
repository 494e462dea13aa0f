"""A batch is made up only when a slot is free for it, and obeys the capacity of that very moment."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from batching import BatchQueue, FixedTiming
from batching.capacity import Slots
from batching.clock import NEVER, NOW, SystemClock
from batching.errors import ClientGone
from tests.batching.queue.steps import OTHER_KEY, fail, texts
from tests.support.fakes import KEY, Deadlock, FakeClock, capacity_of, items_of, limits_of, put, queue_of, succeed, take

if TYPE_CHECKING:
    from batching import Batch

# Slots


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
    clock.at(1.0, lambda: (succeed(queue, first), queue.drain()))  # in the service the settling thread goes on to take
    assert take(queue).items == items_of("c")


# Permits


def test_no_more_items_are_in_flight_than_the_upstream_has_permits(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=8, max_inflight_items=10)
    put(queue, *texts(16))
    first = take(queue)
    with pytest.raises(Deadlock):
        take(queue)
    succeed(queue, first)
    assert len(take(queue).items) == 8
    assert clock.now() == 0


def test_permits_that_a_batch_fills_exactly_are_enough(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2, max_inflight_items=4)
    put(queue, "a", "b", "c", "d", "e", "f")
    first, second = take(queue), take(queue)
    clock.at(1.0, lambda: succeed(queue, first))
    third: list[Batch] = []
    clock.at(2.0, lambda: third.append(take(queue)))
    with pytest.raises(Deadlock):  # the thread that settles goes on to take, so it wakes no other
        take(queue)
    assert third[0].items == items_of("e", "f")
    assert queue.in_flight_items == 4
    succeed(queue, second)
    succeed(queue, third[0])
    assert queue.in_flight_items == 0


def test_only_items_that_really_go_need_permits(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=8, max_inflight_items=9)
    put(queue, *"abcdefgh")
    take(queue)
    put(queue, "i")
    assert take(queue).items == items_of("i")


def test_a_batch_beyond_all_permits_is_sent_alone_rather_than_never(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=8, max_inflight_items=4)
    put(queue, *texts(8))
    assert len(take(queue).items) == 8


def test_small_batches_do_not_keep_a_large_one_out_of_the_permits(clock: FakeClock) -> None:
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


# The capacity changes


def test_a_lowered_batch_size_holds_for_the_next_batch(clock: FakeClock) -> None:
    capacity = capacity_of()
    queue = queue_of(clock, capacity=capacity)
    put(queue, *texts(20))
    capacity.change(batch_size=8)
    batches = [take(queue) for _ in range(2)]
    assert [(len(batch.items), batch.reason, batch.taken_at) for batch in batches] == [(8, "full", 0.0)] * 2
    assert (len(take(queue).items), clock.now()) == (4, pytest.approx(0.1))


@pytest.mark.parametrize(("batch_size", "moment"), [(19, 0.03), (20, 0.03), (21, 0.1)])
def test_a_lowered_batch_size_wakes_an_idle_thread_where_what_waits_fills_a_batch_now(
    clock: FakeClock, batch_size: int, moment: float
) -> None:
    capacity = capacity_of()
    queue = queue_of(clock, capacity=capacity)
    put(queue, *texts(20))
    clock.at(0.03, lambda: capacity.change(batch_size=batch_size))
    batch = take(queue)
    assert (len(batch.items), clock.now()) == (min(batch_size, 20), pytest.approx(moment))
    assert batch.reason == ("full" if batch_size <= 20 else "max_wait")


def test_a_lowered_batch_size_holds_for_each_key(clock: FakeClock) -> None:
    capacity = capacity_of()
    queue = queue_of(clock, capacity=capacity)
    put(queue, *texts(4))
    put(queue, *texts(4), key=OTHER_KEY)
    clock.at(0.03, lambda: capacity.change(batch_size=4))
    assert [(take(queue).key, clock.now()) for _ in range(2)] == [(KEY, 0.03), (OTHER_KEY, 0.03)]


def test_a_raised_batch_size_lets_the_batch_grow(clock: FakeClock) -> None:
    capacity = capacity_of(max_batch_size=4, max_inflight_batches=1)
    queue = queue_of(clock, capacity=capacity)
    put(queue, *texts(10))
    succeed(queue, take(queue))
    capacity.change(batch_size=8)
    assert (len(take(queue).items), clock.now()) == (6, pytest.approx(0.1))


def test_a_raised_number_of_slots_wakes_an_idle_thread_at_once(clock: FakeClock) -> None:
    capacity = capacity_of(max_inflight_batches=1, max_batch_size=2)
    queue = queue_of(clock, capacity=capacity)
    put(queue, "a", "b", "c", "d")
    take(queue)
    clock.at(1.0, lambda: capacity.change(slots=[Slots(NOW, 2)]))
    assert (take(queue).items, clock.now(), clock.notifications) == (items_of("c", "d"), 1.0, 1)


def test_a_rise_by_several_slots_wakes_as_many_idle_threads_as_there_are_batches(clock: FakeClock) -> None:
    capacity = capacity_of(max_inflight_batches=1, max_batch_size=1)
    queue = queue_of(clock, capacity=capacity)
    put(queue, "a", "b", "c")
    take(queue)
    taken: list[Batch] = []
    clock.at(0.5, lambda: taken.append(take(queue)))  # a second thread, idle beside the first
    clock.at(1.0, lambda: capacity.change(slots=[Slots(NOW, 3)]))
    taken.append(take(queue))
    assert [(batch.items, batch.taken_at) for batch in taken] == [(items_of("b"), 1.0), (items_of("c"), 1.0)]


def test_raised_permits_wake_an_idle_thread_at_once(clock: FakeClock) -> None:
    capacity = capacity_of(max_batch_size=8, max_inflight_items=10)
    queue = queue_of(clock, capacity=capacity)
    put(queue, *texts(16))
    take(queue)
    clock.at(1.0, lambda: capacity.change(items=16))
    assert (len(take(queue).items), clock.now()) == (8, 1.0)


def test_a_lowered_number_of_slots_holds_until_as_many_batches_have_ended(clock: FakeClock) -> None:
    capacity = capacity_of(max_inflight_batches=3, max_batch_size=1)
    queue = queue_of(clock, capacity=capacity)
    put(queue, "a", "b", "c", "d")
    batches = [take(queue) for _ in range(3)]
    capacity.change(slots=[Slots(NOW, 1)])
    for batch in batches[:2]:
        succeed(queue, batch)
        with pytest.raises(Deadlock):
            take(queue)
    succeed(queue, batches[2])
    assert take(queue).items == items_of("d")


def test_a_change_that_lets_no_batch_leave_wakes_no_thread(clock: FakeClock) -> None:
    capacity = capacity_of()
    queue = queue_of(clock, capacity=capacity)
    put(queue, "a")
    clock.at(0.02, lambda: capacity.change(batch_size=16))
    clock.at(0.03, lambda: capacity.change(slots=[Slots(NOW, 2)]))
    clock.at(0.04, lambda: capacity.change(slots=[Slots(NOW, 4)], items=64))
    assert (take(queue).items, clock.now(), clock.notifications) == (items_of("a"), pytest.approx(0.1), 0)


def test_a_change_of_the_capacity_while_nothing_waits_wakes_no_thread(clock: FakeClock) -> None:
    capacity = capacity_of()
    queue = queue_of(clock, capacity=capacity)
    clock.at(1.0, lambda: capacity.change(slots=[Slots(NOW, 9)], batch_size=1, items=1))
    with pytest.raises(Deadlock):
        take(queue)
    assert clock.notifications == 0


def test_a_rise_on_one_thread_lets_another_go_that_waits_on_the_machines_clock() -> None:
    capacity = capacity_of(max_inflight_batches=1, max_batch_size=1)
    queue = BatchQueue(limits_of(), capacity, lambda: FixedTiming(0.0), SystemClock())
    put(queue, "a", "b")
    take(queue)
    taken: list[Batch] = []
    thread = threading.Thread(target=lambda: taken.append(take(queue)), daemon=True)
    thread.start()
    capacity.change(slots=[Slots(NOW, 2)])
    thread.join(10)
    assert [batch.items for batch in taken] == [items_of("b")]


# A slot that opens at a moment


def test_a_slot_is_used_at_the_moment_when_it_opens_without_any_event(clock: FakeClock) -> None:
    capacity = capacity_of(max_inflight_batches=1, max_batch_size=2)
    queue = queue_of(clock, capacity=capacity)
    put(queue, "a", "b", "c", "d")
    capacity.change(slots=[Slots(NOW, 1), Slots(1.0, 1)])
    assert take(queue).taken_at == 0.0
    assert (take(queue).taken_at, clock.now(), clock.notifications) == (1.0, 1.0, 0)


def test_a_slot_that_is_announced_while_a_thread_is_idle_is_used_at_its_moment(clock: FakeClock) -> None:
    capacity = capacity_of(max_inflight_batches=1, max_batch_size=2)
    queue = queue_of(clock, capacity=capacity)
    put(queue, "a", "b", "c", "d")
    take(queue)
    clock.at(0.5, lambda: capacity.change(slots=[Slots(NOW, 1), Slots(1.0, 1)]))
    assert (take(queue).taken_at, clock.now()) == (1.0, 1.0)


def test_a_call_that_arrives_before_a_slot_opens_is_sent_at_that_moment(clock: FakeClock) -> None:
    capacity = capacity_of(max_inflight_batches=0, max_batch_size=2)
    capacity.change(slots=[Slots(1.0, 1)])
    queue = queue_of(clock, capacity=capacity)
    clock.at(0.5, lambda: put(queue, "a"))
    clock.at(0.6, lambda: put(queue, "b", key=OTHER_KEY))
    assert (take(queue).items, clock.now()) == (items_of("a"), 1.0)
    assert clock.notifications == 1  # for the first: from then on the thread keeps the time


def test_slots_that_open_one_after_the_other_are_used_one_after_the_other(clock: FakeClock) -> None:
    capacity = capacity_of(max_batch_size=1)
    capacity.change(slots=[Slots(2.0, 1), Slots(1.0, 1), Slots(4.0, 2)])
    queue = queue_of(clock, capacity=capacity)
    put(queue, "a", "b", "c", "d", "e")
    assert [take(queue).taken_at for _ in range(4)] == [1.0, 2.0, 4.0, 4.0]
    with pytest.raises(Deadlock):
        take(queue)


def test_a_batch_is_not_due_before_its_time_though_a_slot_opens(clock: FakeClock) -> None:
    capacity = capacity_of()
    capacity.change(slots=[Slots(0.03, 1)])
    queue = queue_of(clock, capacity=capacity)
    put(queue, "a")
    assert (take(queue).reason, clock.now()) == ("max_wait", pytest.approx(0.1))


def test_a_closed_queue_waits_for_the_slot_that_opens(clock: FakeClock) -> None:
    capacity = capacity_of()
    capacity.change(slots=[Slots(1.0, 1)])
    queue = queue_of(clock, capacity=capacity)
    put(queue, "a")
    queue.close()
    batch = take(queue)
    assert (batch.reason, clock.now()) == ("drain", 1.0)
    fail(queue, batch)
    assert queue.take() is None


def test_a_call_given_up_before_the_slot_opens_is_not_sent(clock: FakeClock) -> None:
    capacity = capacity_of()
    capacity.change(slots=[Slots(1.0, 1)])
    queue = queue_of(clock, capacity=capacity)
    call = put(queue, "a")
    put(queue, "b")
    clock.at(0.5, lambda: queue.abandon(call, ClientGone("gone")))
    assert take(queue).items == items_of("b")
    assert capacity.next_rise(clock.now()) == NEVER
