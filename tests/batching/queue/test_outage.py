"""While no upstream takes batches the queue holds, one item tries it, and at the bound what waits ends."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from batching.capacity import Outage, Slots
from batching.clock import NOW
from batching.errors import ClientGone, NoUpstream, UpstreamUnavailable
from tests.batching.queue.steps import OTHER_KEY, assert_empty, pause, texts
from tests.support.fakes import Deadlock, FakeClock, call_of, capacity_of, items_of, put, queue_of, succeed, take

if TYPE_CHECKING:
    from batching import Capacity

ENDS_AT, PROBE_AT = 5.0, 1.0
ANSWER = UpstreamUnavailable("connection refused")


def an_outage(ends_at: float = ENDS_AT, under_way: int = 0) -> Outage:
    return Outage(ends_at, NoUpstream("no upstream answers at present", retry_after=2.0), under_way)


def out(*slots: Slots, ends_at: float = ENDS_AT) -> Capacity:
    """Return the capacity where all upstreams are ejected."""
    capacity = capacity_of(max_batch_size=4)
    capacity.change(slots=slots, outage=an_outage(ends_at))
    return capacity


# Waiting


def test_calls_wait_for_the_end_of_an_outage_and_one_item_tries_the_upstream(clock: FakeClock) -> None:
    queue = queue_of(clock, capacity=out(Slots(PROBE_AT, 1)))
    put(queue, *texts(8))
    probe = take(queue)
    assert (probe.items, probe.taken_at) == (items_of("t0"), PROBE_AT)
    assert queue.queued_items == 7


def test_the_recovery_lets_all_that_waits_go_in_full_batches_at_once(clock: FakeClock) -> None:
    capacity = out(Slots(PROBE_AT, 1))
    queue = queue_of(clock, capacity=capacity)
    calls = [put(queue, text) for text in texts(9)]
    probe = take(queue)
    capacity.change(slots=[Slots(NOW, 4)])
    succeed(queue, probe)
    batches = [take(queue), take(queue)]
    assert [len(batch.items) for batch in batches] == [4, 4]
    assert clock.now() == PROBE_AT
    for batch in batches:
        succeed(queue, batch)
    assert all(call.done and call.error is None for call in calls)
    assert_empty(queue)


def test_while_the_probe_is_under_way_no_other_batch_leaves(clock: FakeClock) -> None:
    capacity = out(Slots(NOW, 1))
    queue = queue_of(clock, capacity=capacity)
    put(queue, "a", "b")
    probe = take(queue)
    clock.at(2.0, lambda: (capacity.change(slots=[Slots(NOW, 4)]), succeed(queue, probe)))
    assert (take(queue).items, clock.now()) == (items_of("b"), pytest.approx(2.0, abs=0.1))


def test_a_probe_that_fails_goes_back_in_front_and_tries_again(clock: FakeClock) -> None:
    capacity = out(Slots(PROBE_AT, 1))
    queue = queue_of(clock, capacity=capacity)
    calls = [put(queue, "a")]
    clock.time = 0.1
    calls.append(put(queue, "b"))
    for moment in (PROBE_AT, 3.0):
        probe = take(queue)
        assert (probe.items, probe.taken_at) == (items_of("a"), moment)
        capacity.change(slots=[Slots(moment + 2.0, 1)], outage=an_outage())
        assert pause(queue, probe, ANSWER) == []
    capacity.change(slots=[Slots(NOW, 4)])
    assert succeed(queue, take(queue)) == calls


def test_calls_that_arrive_during_an_outage_wait_with_the_others_and_wake_no_thread(clock: FakeClock) -> None:
    capacity = out(Slots(4.0, 1))
    queue = queue_of(clock, capacity=capacity)
    put(queue, "first")
    for number in range(100):
        clock.at(0.01 + number / 100, lambda: put(queue, "later"))
    assert (take(queue).items, clock.now()) == (items_of("first"), 4.0)
    assert (clock.notifications, queue.queued_items) == (0, 100)


def test_a_client_that_hangs_up_during_an_outage_is_not_the_probe(clock: FakeClock) -> None:
    queue = queue_of(clock, capacity=out(Slots(PROBE_AT, 1)))
    call = call_of("gone")
    call.is_gone = lambda: True
    queue.put(call)
    put(queue, "there")
    assert take(queue).items == items_of("there")
    assert isinstance(call.error, ClientGone)


# The end of the wait


def test_at_the_bound_all_that_waits_ends_with_the_outages_error(clock: FakeClock) -> None:
    queue = queue_of(clock, capacity=out())
    calls = [put(queue, "a"), put(queue, "b", "c"), put(queue, "d", key=OTHER_KEY)]
    with pytest.raises(Deadlock):  # none waits any more
        take(queue)
    assert clock.now() == ENDS_AT
    assert {type(call.error) for call in calls} == {NoUpstream}
    assert {call.error.retry_after for call in calls if call.error} == {2.0}
    assert len({id(call.error) for call in calls}) == 3  # each thread raises its own
    assert all(call.event.is_set() for call in calls)
    assert_empty(queue)


def test_after_the_bound_calls_are_refused_at_once_and_leave_no_trace(clock: FakeClock) -> None:
    queue = queue_of(clock, capacity=out(Slots(9.0, 1)))
    clock.time = ENDS_AT
    for _ in range(2):
        with pytest.raises(NoUpstream):
            put(queue, "a")
    assert_empty(queue)


def test_after_the_bound_a_call_is_the_probe_once_there_is_a_slot_for_it(clock: FakeClock) -> None:
    queue = queue_of(clock, capacity=out(Slots(9.0, 1)))
    clock.time = 9.0
    call = put(queue, "a")
    assert (take(queue).parts[0].call, clock.now()) == (call, 9.0)


def test_a_bound_that_is_brought_forward_ends_what_waits_on_the_thread_that_does_so(clock: FakeClock) -> None:
    capacity = out()
    queue = queue_of(clock, capacity=capacity)
    call = put(queue, "a")
    clock.time = 1.0
    capacity.change(slots=[], outage=an_outage(ends_at=1.0))
    assert isinstance(call.error, NoUpstream)
    assert (call.event.is_set(), clock.now()) == (True, 1.0)
    assert_empty(queue)


def test_an_outage_that_begins_without_a_wait_ends_what_waits_at_once(clock: FakeClock) -> None:
    capacity = capacity_of()
    queue = queue_of(clock, capacity=capacity)
    calls = [put(queue, text) for text in texts(40)]
    in_flight = take(queue)
    capacity.change(slots=[Slots(NOW, 1), Slots(1.0, 1)], outage=an_outage(NOW, under_way=1))
    assert [call.done for call in calls] == [False] * 32 + [True] * 8
    assert succeed(queue, in_flight) == calls[:32]  # what is under way is answered
    assert_empty(queue)


def test_a_call_ends_by_its_own_deadline_before_the_bound(clock: FakeClock) -> None:
    capacity = out(Slots(PROBE_AT, 1))
    queue = queue_of(clock, capacity=capacity)
    call, other = put(queue, "a", deadline=0.5), put(queue, "b")
    assert take(queue).items == items_of("b")
    assert (type(call.error).__name__, other.done) == ("DeadlineExceeded", False)


# The probe


def test_a_hung_probe_holds_the_others_until_the_bound(clock: FakeClock) -> None:
    capacity = out(Slots(NOW, 1))
    queue = queue_of(clock, capacity=capacity)
    probe_call, waiting = put(queue, "a"), put(queue, "b")
    probe = take(queue)
    capacity.change(slots=[Slots(NOW, 1)], outage=an_outage(under_way=1))
    with pytest.raises(Deadlock):
        take(queue)
    assert clock.now() == ENDS_AT
    assert isinstance(waiting.error, NoUpstream)
    assert not probe_call.done
    assert succeed(queue, probe) == [probe_call]
    assert_empty(queue)


@pytest.mark.parametrize(
    ("failed_at", "deadline", "goes_again"),
    [(1.0, 30.0, True), (ENDS_AT - 0.001, 30.0, True), (ENDS_AT, 30.0, False), (1.0, 2.9, False), (1.0, 3.1, True)],
)
def test_a_probe_that_fails_goes_back_while_calls_wait_and_it_has_the_time(
    clock: FakeClock, failed_at: float, deadline: float, goes_again: bool
) -> None:
    capacity = out(Slots(NOW, 1))
    queue = queue_of(clock, capacity=capacity)
    call = put(queue, "a", deadline=deadline)
    probe = take(queue)
    clock.time = failed_at
    capacity.change(slots=[Slots(3.0 if failed_at < 3.0 else failed_at + 2.0, 1)], outage=an_outage())
    assert pause(queue, probe, ANSWER) == ([] if goes_again else [call])
    assert (call.error, call.done) == ((None, False) if goes_again else (ANSWER, True))


def test_what_goes_back_while_the_probe_has_the_only_slot_waits_for_its_end(clock: FakeClock) -> None:
    """Calls that were under way when the last upstream was ejected: no slot is known to open by itself."""
    capacity = capacity_of(max_batch_size=1)
    queue = queue_of(clock, capacity=capacity)
    put(queue, "the probe")
    call = put(queue, "under way", deadline=4.0)
    probe, batch = take(queue), take(queue)
    capacity.change(slots=[Slots(NOW, 0)], outage=an_outage())
    assert pause(queue, batch, ANSWER) == []
    clock.time = 1.0
    capacity.change(slots=[Slots(NOW, 1)])
    succeed(queue, probe)
    assert succeed(queue, take(queue)) == [call]
    assert clock.now() == 1.0


def test_items_of_a_large_call_that_wait_for_the_probe_are_sent_in_full_batches_afterwards(clock: FakeClock) -> None:
    capacity = out(Slots(NOW, 1))
    queue = queue_of(clock, capacity=capacity)
    call = put(queue, *texts(21))
    probe = take(queue)
    capacity.change(slots=[Slots(NOW, 8)])
    succeed(queue, probe)
    batches = [take(queue) for _ in range(5)]
    assert [len(batch.items) for batch in batches] == [4] * 5
    for batch in batches:
        succeed(queue, batch)
    assert (call.done, call.error) == (True, None)


# The end of the service


def test_a_closed_queue_lets_its_threads_go_when_the_outage_has_ended_what_waits(clock: FakeClock) -> None:
    queue = queue_of(clock, capacity=out())
    call = put(queue, "a")
    queue.close()
    assert queue.take() is None
    assert clock.now() == ENDS_AT
    assert isinstance(call.error, NoUpstream)


def test_a_drained_queue_waits_for_the_probe_too(clock: FakeClock) -> None:
    queue = queue_of(clock, capacity=out(Slots(PROBE_AT, 1)))
    put(queue, "a", "b")
    queue.drain()
    assert (take(queue).items, clock.now()) == (items_of("a"), PROBE_AT)


@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_the_queue_neither_hangs_nor_spins_in_an_outage_without_an_end(clock: FakeClock, lanes: int) -> None:
    """Each look at the queue either ends calls or sleeps."""
    queue = queue_of(clock, capacity=out(Slots(20.0, 1)))
    keys = [OTHER_KEY._replace(model=f"{number}") for number in range(lanes)]
    calls = [put(queue, "a", key=key) for key in keys]
    with suppress(Deadlock):
        take(queue)
    assert clock.now() == ENDS_AT
    assert all(call.done for call in calls)
