"""A call whose answer no client will read, because it is too late or the client has gone, takes no place in a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import Call, FixedTiming
from batching.errors import ClientGone, DeadlineExceeded, Hopeless
from batching.queue.loss import HANGUP_CHECK_AFTER
from tests.batching.queue.steps import assert_empty
from tests.support.fakes import KEY, FakeClock, call_of, items_of, put, queue_of, succeed, take

if TYPE_CHECKING:
    from batching import BatchQueue

# Its deadline has passed


@pytest.mark.parametrize(("deadline", "is_sent"), [(0.05, False), (0.099, False), (0.1, False), (0.101, True)])
def test_a_call_whose_deadline_has_passed_is_not_sent(clock: FakeClock, deadline: float, is_sent: bool) -> None:
    queue = queue_of(clock)
    call = put(queue, "late", deadline=deadline)
    put(queue, "in time")
    assert take(queue).items == (items_of("late", "in time") if is_sent else items_of("in time"))
    assert (call.done, call.event.is_set(), type(call.error)) == (
        (False, False, type(None)) if is_sent else (True, True, DeadlineExceeded)
    )
    assert queue.calls == 1 + is_sent


def test_when_all_waiting_calls_are_lost_the_thread_waits_on(clock: FakeClock) -> None:
    queue = queue_of(clock)
    put(queue, "late", deadline=0.05)
    clock.at(0.5, lambda: put(queue, "fine"))
    assert take(queue).items == items_of("fine")
    assert clock.now() == pytest.approx(0.6)


# Its client has hung up


@pytest.mark.parametrize(
    ("waited", "is_asked"),
    [(HANGUP_CHECK_AFTER / 2, False), (HANGUP_CHECK_AFTER, True), (HANGUP_CHECK_AFTER * 2, True)],
)
@pytest.mark.parametrize("arrives_at", [0.0, 128.0])
def test_clients_whose_calls_have_waited_long_are_asked_whether_they_are_there(
    clock: FakeClock, waited: float, is_asked: bool, arrives_at: float
) -> None:
    clock.time = arrives_at
    queue = queue_of(clock, timing=lambda: FixedTiming(0.0))
    gone = Call(items_of("gone"), KEY, 1e9, is_gone=lambda: True)
    there = Call(items_of("there"), KEY, 1e9, is_gone=lambda: False)
    unknown = call_of("unknown")
    for call in (gone, there, unknown):
        queue.put(call)
    clock.sleep(waited)
    assert take(queue).items == items_of(*([] if is_asked else ["gone"]), "there", "unknown")
    assert (isinstance(gone.error, ClientGone), gone.event.is_set()) == (is_asked, is_asked)
    assert queue.calls == 3 - is_asked


# It could not be answered in time any more


def served_in(queue: BatchQueue, clock: FakeClock, seconds: float) -> list[Call]:
    """Let one batch take this long; return the calls that were in it."""
    batch = take(queue)
    clock.time += seconds
    succeed(queue, batch)
    return [part.call for part in batch.parts]


@pytest.mark.parametrize(("deadline", "is_hopeless"), [(1.999, True), (2.0, False), (2.001, False)])
def test_a_call_that_can_be_answered_at_its_very_deadline_is_not_hopeless(
    clock: FakeClock, deadline: float, is_hopeless: bool
) -> None:
    queue = queue_of(clock, max_batch_size=1)
    put(queue, "teaches the latency")
    served_in(queue, clock, 1.0)
    call, other = put(queue, "first", deadline=deadline), put(queue, "second", deadline=2.5)
    assert take(queue).parts[0].call is (other if is_hopeless else call)
    assert (type(call.error) is Hopeless) is is_hopeless


def test_no_place_is_given_to_calls_that_cannot_be_answered_in_time(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    put(queue, "a", "b")
    served_in(queue, clock, 1.0)
    hopeless = [put(queue, f"hopeless {number}", deadline=clock.time + 0.9) for number in range(3)]
    hopeful = [put(queue, f"hopeful {number}", deadline=clock.time + 1.1) for number in range(2)]
    assert served_in(queue, clock, 1.0) == hopeful
    assert [type(call.error) for call in hopeless] == [Hopeless] * 3
    assert all(call.event.is_set() for call in hopeless)
    assert_empty(queue)


@pytest.mark.parametrize(("waiting", "are_tried"), [(1, True), (2, True), (3, False)])
def test_where_no_other_call_would_take_the_place_a_hopeless_one_is_tried_all_the_same(
    clock: FakeClock, waiting: int, are_tried: bool
) -> None:
    queue = queue_of(clock, max_batch_size=2)
    put(queue, "a", "b")
    served_in(queue, clock, 1.0)
    calls = [put(queue, f"{number}", deadline=clock.time + 0.5) for number in range(waiting)]
    queue.close()
    if are_tried:
        assert served_in(queue, clock, 0.1) == calls
        assert [call.error for call in calls] == [None] * waiting
    else:
        assert queue.take() is None
        assert [type(call.error) for call in calls] == [Hopeless] * waiting


def test_an_upstream_that_became_faster_is_believed_after_a_few_batches(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1)
    put(queue, "slow")
    served_in(queue, clock, 10.0)
    for number in range(20):
        put(queue, f"fast {number}")
        served_in(queue, clock, 0.1)
    for number in range(2):
        put(queue, f"short of time {number}", deadline=clock.time + 1.0)
    assert len(served_in(queue, clock, 0.1)) == 1
