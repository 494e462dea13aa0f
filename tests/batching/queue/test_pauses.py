"""While the upstream has asked for a pause the queue holds, the next batch grows, and calls without the time end."""

from __future__ import annotations

import pytest

from batching import Capacity, ProxyError
from batching.capacity import Slots
from batching.clock import NOW
from batching.errors import ClientGone, DeadlineExceeded, UpstreamOverloaded
from tests.batching.queue.steps import OTHER_KEY, assert_empty, pause, texts
from tests.support.fakes import Deadlock, FakeClock, call_of, capacity_of, items_of, put, queue_of, succeed, take

PAUSE = 2.0
ANSWER = UpstreamOverloaded("too many requests", retry_after=PAUSE, pause=PAUSE)


def paused(*, until: float = PAUSE, slots: int = 4) -> Capacity:
    """Return the capacity of an upstream that has asked to be left alone until a moment."""
    capacity = capacity_of()
    capacity.change(slots=[Slots(until, slots)])
    return capacity


def test_the_queue_holds_for_the_whole_pause_and_sends_at_its_end(clock: FakeClock) -> None:
    queue = queue_of(clock, capacity=paused())
    put(queue, *texts(32))  # a full batch
    batch = take(queue)
    assert (batch.taken_at, batch.reason, clock.now()) == (PAUSE, "full", PAUSE)


def test_during_a_pause_the_next_batch_grows_with_what_arrives(clock: FakeClock) -> None:
    queue = queue_of(clock, capacity=paused())
    put(queue, "first")
    for moment in (0.5, 1.0, 1.5, 1.999):
        clock.at(moment, lambda: put(queue, "later"))
    assert (len(take(queue).items), clock.now()) == (5, PAUSE)


def test_arrivals_during_a_pause_wake_no_thread(clock: FakeClock) -> None:
    queue = queue_of(clock, capacity=paused())
    put(queue, "first")
    for number in range(100):
        clock.at(0.01 + number / 100, lambda: put(queue, "later"))
    take(queue)
    assert (clock.now(), clock.notifications) == (PAUSE, 0)


def test_a_client_that_hangs_up_during_a_pause_is_not_sent(clock: FakeClock) -> None:
    queue = queue_of(clock, capacity=paused())
    gone: list[bool] = []
    call = call_of("gone")
    call.is_gone = lambda: bool(gone)
    queue.put(call)
    put(queue, "there")
    clock.at(1.0, lambda: gone.append(True))
    assert take(queue).items == items_of("there")
    assert isinstance(call.error, ClientGone)
    assert call.event.is_set()


def test_a_call_given_up_during_a_pause_is_not_sent(clock: FakeClock) -> None:
    queue = queue_of(clock, capacity=paused())
    call = put(queue, "given up")
    put(queue, "there")
    clock.at(1.0, lambda: queue.abandon(call, DeadlineExceeded("too late")))
    assert take(queue).items == items_of("there")


@pytest.mark.parametrize(("deadline", "is_admitted"), [(1.999, False), (2.0, False), (2.001, True)])
def test_a_call_whose_deadline_is_before_the_end_of_the_pause_is_refused_at_once(
    clock: FakeClock, deadline: float, is_admitted: bool
) -> None:
    queue = queue_of(clock, capacity=paused())
    call = call_of("a", deadline=deadline)
    if is_admitted:
        queue.put(call)
        assert (take(queue).parts[0].call, clock.now()) == (call, PAUSE)
        return
    with pytest.raises(UpstreamOverloaded) as refused:
        queue.put(call)
    assert (refused.value.status, refused.value.retry_after, clock.now()) == (429, PAUSE, 0.0)
    assert_empty(queue)


@pytest.mark.parametrize(("deadline", "survives"), [(1.999, False), (2.0, False), (2.001, True)])
def test_a_call_that_waits_when_the_pause_begins_ends_at_once_if_its_deadline_is_before_the_end(
    clock: FakeClock, deadline: float, survives: bool
) -> None:
    capacity = capacity_of()
    queue = queue_of(clock, capacity=capacity)
    clock.time = 0.5
    call = put(queue, "a", deadline=deadline)
    other = put(queue, "b", key=OTHER_KEY)
    capacity.change(slots=[Slots(PAUSE, 4)])
    assert (call.done, call.event.is_set(), clock.now()) == (not survives, not survives, 0.5)
    assert (queue.calls, queue.queued_items) == ((2, 2) if survives else (1, 1))
    if not survives:
        assert isinstance(call.error, UpstreamOverloaded)
        assert (call.error.status, call.error.retry_after) == (429, PAUSE - 0.5)
    assert not other.done


def test_of_a_waiting_crowd_exactly_the_calls_without_the_time_end_when_the_pause_begins(clock: FakeClock) -> None:
    capacity = capacity_of()
    queue = queue_of(clock, capacity=capacity)
    calls = [put(queue, f"{number}", deadline=1.0 if number % 3 else 10.0) for number in range(30)]
    capacity.change(slots=[Slots(PAUSE, 4)])
    assert [call.done for call in calls] == [bool(number % 3) for number in range(30)]
    batch = take(queue)
    assert (batch.items, clock.now()) == (items_of(*map(str, range(0, 30, 3))), PAUSE)
    succeed(queue, batch)
    assert_empty(queue)


def test_the_error_of_a_short_pause_asks_for_a_second(clock: FakeClock) -> None:
    queue = queue_of(clock, capacity=paused(until=0.4))
    with pytest.raises(UpstreamOverloaded) as refused:
        put(queue, "a", deadline=0.3)
    assert refused.value.retry_after == 1.0


def test_a_pause_that_is_lengthened_ends_the_calls_that_have_no_more_time(clock: FakeClock) -> None:
    capacity = paused()
    queue = queue_of(clock, capacity=capacity)
    calls = [put(queue, "a", deadline=3.0), put(queue, "b", deadline=9.0)]
    clock.at(1.0, lambda: capacity.change(slots=[Slots(5.0, 4)]))
    assert (take(queue).items, clock.now()) == (items_of("b"), 5.0)
    assert isinstance(calls[0].error, UpstreamOverloaded)


def test_a_pause_that_ends_early_lets_the_batch_leave_at_once(clock: FakeClock) -> None:
    capacity = paused()
    queue = queue_of(clock, capacity=capacity)
    put(queue, *texts(32))
    clock.at(1.0, lambda: capacity.change(slots=[Slots(NOW, 4)]))
    take(queue)
    assert clock.now() == 1.0


def test_a_pause_of_one_upstream_refuses_no_call_while_another_has_a_slot(clock: FakeClock) -> None:
    capacity = capacity_of()
    capacity.change(slots=[Slots(NOW, 1), Slots(PAUSE, 4)])
    queue = queue_of(clock, capacity=capacity)
    put(queue, "a", deadline=1.0)
    assert (take(queue).items, clock.now()) == (items_of("a"), pytest.approx(0.1))


def test_a_pause_costs_the_calls_that_are_in_flight_nothing(clock: FakeClock) -> None:
    capacity = capacity_of()
    queue = queue_of(clock, capacity=capacity)
    call = put(queue, "a", deadline=1.0)
    batch = take(queue)
    capacity.change(slots=[Slots(PAUSE, 4)])
    assert not call.done
    assert succeed(queue, batch) == [call]
    assert call.error is None


def test_the_batch_that_met_the_pause_goes_back_and_leaves_with_what_came_meanwhile(clock: FakeClock) -> None:
    capacity = capacity_of()
    queue = queue_of(clock, capacity=capacity)
    calls = [put(queue, "a"), put(queue, "b", "c")]
    batch = take(queue)
    capacity.change(slots=[Slots(clock.now() + PAUSE, 4)])
    assert pause(queue, batch, ANSWER, "overloaded") == []
    clock.at(1.0, lambda: put(queue, "d"))
    again = take(queue)
    assert (again.items, again.taken_at) == (items_of("a", "b", "c", "d"), pytest.approx(0.1 + PAUSE))
    assert again.retry_reason == "overloaded"
    assert succeed(queue, again)[:2] == calls
    assert_empty(queue)


@pytest.mark.parametrize(("deadline", "goes_again"), [(1.999, False), (2.0, False), (2.001, True)])
def test_a_call_of_a_paused_batch_goes_again_only_where_its_deadline_is_after_the_pause(
    clock: FakeClock, deadline: float, goes_again: bool
) -> None:
    capacity = capacity_of(max_batch_size=1)
    queue = queue_of(clock, capacity=capacity)
    call = put(queue, "a", deadline=deadline)
    batch = take(queue)
    capacity.change(slots=[Slots(PAUSE, 4)])
    assert pause(queue, batch, ANSWER, "overloaded") == ([] if goes_again else [call])
    assert (call.error, call.done) == ((None, False) if goes_again else (ANSWER, True))


@pytest.mark.parametrize(("reason", "times"), [("overloaded", 1), (None, 5)])
def test_a_call_goes_back_once_for_a_retry_and_as_often_as_it_can_for_a_mere_hold(
    clock: FakeClock, reason: str | None, times: int
) -> None:
    capacity = capacity_of()
    queue = queue_of(clock, capacity=capacity)
    call = put(queue, "a", deadline=8.0)
    for _ in range(times):
        batch = take(queue)
        capacity.change(slots=[Slots(clock.now() + 1.0, 4)])
        assert pause(queue, batch, ANSWER, reason) == []
    if reason is not None:
        batch = take(queue)
        assert pause(queue, batch, ANSWER, reason) == [call]
        assert call.error is ANSWER
        assert_empty(queue)
    else:
        assert succeed(queue, take(queue)) == [call]
        assert clock.now() == pytest.approx(5.1)


def test_a_call_that_was_sent_again_may_still_be_held(clock: FakeClock) -> None:
    queue = queue_of(clock)
    call = put(queue, "a")
    for reason in ("overloaded", None, None):
        batch = take(queue)
        assert pause(queue, batch, ANSWER, reason) == []
        assert [part.retry_reason for part in call.returned] == ["overloaded"]
    batch = take(queue)
    assert pause(queue, batch, ANSWER, "unavailable") == [call]


def test_a_drained_queue_keeps_to_the_pause(clock: FakeClock) -> None:
    queue = queue_of(clock, capacity=paused())
    put(queue, "a")
    clock.at(1.0, queue.drain)
    assert (take(queue).reason, clock.now()) == ("drain", PAUSE)


def test_a_closed_queue_whose_calls_the_pause_has_ended_lets_its_threads_go(clock: FakeClock) -> None:
    capacity = capacity_of()
    capacity.change(slots=[Slots(PAUSE, 4)])
    queue = queue_of(clock, capacity=capacity)
    put(queue, "a", deadline=3.0)
    queue.close()
    clock.at(1.0, lambda: capacity.change(slots=[Slots(9.0, 4)]))
    assert queue.take() is None


def test_the_refusal_of_a_pause_is_a_proxy_error_like_any_other(clock: FakeClock) -> None:
    queue = queue_of(clock, capacity=paused())
    with pytest.raises(ProxyError, match="pause"):
        put(queue, "a", deadline=0.1)
    with pytest.raises(Deadlock):
        take(queue)
