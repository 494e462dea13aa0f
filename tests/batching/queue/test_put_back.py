"""Items that go again wait in front of all that came later, if their call has the time for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching.clock import NEVER
from batching.errors import (
    BatcherDied,
    DeadlineExceeded,
    Unresolved,
    UpstreamOverloaded,
)
from batching.outcomes import Again
from tests.batching.queue.steps import (
    REFUSAL,
    UNTESTED,
    ListeningTiming,
    assert_empty,
    fail,
    lane_of,
    put_back,
    settle_except,
    texts,
)
from tests.support.fakes import FakeClock, call_of, items_of, put, queue_of, succeed, take, vector_of

if TYPE_CHECKING:
    from batching import Call, ProxyError


def test_untested_items_are_returned_and_wait_in_front_of_all_that_came_later(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=3)
    calls = []
    for moment, text in enumerate(("a", "bb", "ccc", "dddd")):
        clock.time = float(moment)
        calls.append(put(queue, text))
    assert put_back(queue, take(queue), 1, 2) == [calls[0]]
    lane = lane_of(queue)
    assert (queue.calls, queue.queued_items, queue.in_flight_items, lane.in_flight_items) == (3, 3, 0, 0)
    assert (lane.waiting, lane.waiting_bytes, lane.is_full, lane.oldest) == (3, 4 + 5 + 6, True, 1.0)
    assert not any(call.event.is_set() for call in calls[1:])
    batch = take(queue)
    assert [part.call for part in batch.parts] == calls[1:]
    assert succeed(queue, batch) == calls[1:]
    assert [call.results for call in calls] == [[vector_of(item) for item in call.items] for call in calls]
    assert_empty(queue)


def test_untested_items_are_returned_and_not_suspected(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    calls = [put(queue, "a"), put(queue, "b")]
    put_back(queue, take(queue), 0, 1)
    assert [call.suspects for call in calls] == [frozenset(), frozenset()]
    batch = take(queue)
    assert (len(batch.items), batch.is_suspect, batch.retry_reason) == (2, False, None)


def test_calls_that_return_stand_in_the_order_in_which_they_arrived(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    calls = []
    for moment in range(4):
        clock.time = float(moment)
        calls.append(put(queue, f"text {moment}"))
    first, second = take(queue), take(queue)
    put_back(queue, second, 0, 1)
    assert lane_of(queue).oldest == 2.0
    put_back(queue, first, 1)
    assert lane_of(queue).oldest == 1.0
    assert [part.call for _ in range(2) for part in take(queue).parts] == calls[1:]


def test_the_timing_is_told_of_items_that_return_when_their_batch_is_no_longer_in_flight(clock: FakeClock) -> None:
    timing = ListeningTiming()
    queue = queue_of(clock, max_batch_size=3, timing=lambda: timing)
    put(queue, "a", "b")
    put(queue, "c")
    batch = take(queue)
    clock.time = 1.0
    put_back(queue, batch, 0, 1)
    assert timing.told[-2:] == [("arrived", 2, 0, 2, 1.0), ("completed", 2, 0, batch, 1.0, False)]


def test_only_the_untested_items_of_a_call_return(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    call = put(queue, "a", "b", "c")
    other = put(queue, "d")
    assert put_back(queue, take(queue), 1) == [other]
    assert (call.waiting, call.missing, queue.queued_items, lane_of(queue).waiting_bytes) == (1, 1, 1, 3)
    batch = take(queue)
    assert batch.items == items_of("b")
    assert succeed(queue, batch) == [call]
    assert call.results == [vector_of(item) for item in call.items]


def test_the_results_of_a_call_before_its_first_untested_item_are_kept(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=6)
    other = put(queue, "a")
    call = put(queue, "b", "c", "d", "e", "f")
    assert put_back(queue, take(queue), 5) == [other]
    assert (call.waiting, call.missing) == (1, 1)
    batch = take(queue)
    assert batch.items == items_of("f")
    assert succeed(queue, batch) == [call]
    assert call.results == [vector_of(item) for item in call.items]


def test_the_rest_of_a_call_returns_while_its_first_part_is_still_in_flight(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, "a", "b", "c")
    put(queue, "d")
    first, second = take(queue), take(queue)
    put_back(queue, second, 0)
    succeed(queue, first)
    assert not call.done
    assert succeed(queue, take(queue)) == [call]
    assert call.results == [vector_of(item) for item in call.items]


def test_a_part_of_a_call_returns_to_the_rest_that_still_waits(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, "a", "b", "c")
    assert put_back(queue, take(queue), 1) == []
    assert (call.waiting, call.missing, queue.queued_items, lane_of(queue).waiting_bytes) == (2, 2, 2, 3 + 3)
    batch = take(queue)
    assert batch.items == items_of("b", "c")
    assert succeed(queue, batch) == [call]
    assert call.results == [vector_of(item) for item in call.items]
    assert_empty(queue)


def test_a_large_call_survives_a_batch_that_the_upstream_asked_to_send_later(clock: FakeClock) -> None:
    queue = queue_of(clock)
    call = put(queue, *texts(1000))
    for number in range(32):
        batch = take(queue)
        if number == 1:
            assert put_back(queue, batch, *range(32), retry_reason="overloaded") == []
            batch = take(queue)
            assert batch.retry_reason == "overloaded"
        succeed(queue, batch)
    assert call.results == [vector_of(item) for item in call.items]
    assert_empty(queue)


def test_the_parts_of_a_call_return_one_after_the_other_from_its_end(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, *texts(7))
    batches = [take(queue) for _ in range(3)]
    for batch, waiting in zip(reversed(batches), (3, 5, 7), strict=True):
        assert put_back(queue, batch, 0, 1) == []
        assert (call.waiting, queue.queued_items, lane_of(queue).waiting) == (waiting, waiting, waiting)
    for _ in range(3):
        succeed(queue, take(queue))
    assert succeed(queue, take(queue)) == [call]
    assert call.results == [vector_of(item) for item in call.items]
    assert_empty(queue)


@pytest.mark.parametrize("later", ["in flight", "answered"])
def test_a_part_of_a_call_returns_also_where_a_later_one_was_taken(clock: FakeClock, later: str) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, *texts(5))
    first, second = take(queue), take(queue)
    if later == "answered":
        succeed(queue, second)
    assert put_back(queue, first, 0, 1, retry_reason="overloaded") == []
    again = take(queue)
    assert (again.items, again.retry_reason) == (items_of("t0", "t1"), "overloaded")
    succeed(queue, again)
    if later == "in flight":
        succeed(queue, second)
    assert succeed(queue, take(queue)) == [call]
    assert call.results == [vector_of(item) for item in call.items]
    assert_empty(queue)


def test_items_that_return_from_several_batches_ride_together(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    call = put(queue, *texts(12))
    batches = [take(queue) for _ in range(3)]
    put_back(queue, batches[2], 1)
    put_back(queue, batches[0], 0, 3)
    assert put_back(queue, batches[1], 2) == []
    again = take(queue)
    assert again.items == items_of("t0", "t3", "t6", "t9")
    assert [part.start for part in again.parts] == [0, 3, 6, 9]
    assert succeed(queue, again) == [call]
    assert call.results == [vector_of(item) for item in call.items]
    assert_empty(queue)


def test_each_batch_of_a_large_call_may_be_sent_again_once(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, *texts(6))
    batches = [take(queue) for _ in range(3)]
    for batch in batches:
        assert put_back(queue, batch, 0, 1, retry_reason="overloaded") == []
    for _ in range(2):
        assert succeed(queue, take(queue)) == []
    answer = UpstreamOverloaded("too much")
    assert put_back(queue, take(queue), 0, 1, error=answer, retry_reason="overloaded") == [call]
    assert call.error is answer
    assert_empty(queue)


@pytest.mark.parametrize(("deadline", "goes_again"), [(3.9, False), (4.0, False), (4.1, True)])
def test_a_call_goes_again_only_where_a_batch_can_end_before_its_deadline(
    clock: FakeClock, deadline: float, goes_again: bool
) -> None:
    queue = queue_of(clock, max_batch_size=2)
    put(queue, "teaches that a batch", "takes two seconds")
    batch = take(queue)
    clock.time = 2.0
    succeed(queue, batch)
    call = put(queue, "a", "b", deadline=deadline)
    assert put_back(queue, take(queue), 0, 1) == ([] if goes_again else [call])
    assert (call.error, call.done) == ((None, False) if goes_again else (UNTESTED, True))


def test_an_error_of_one_item_of_a_call_outweighs_that_others_could_go_again(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    call, other = put(queue, "a", "b", "c"), put(queue, "d")
    told: dict[int, ProxyError | Again] = {0: Again(UNTESTED), 1: REFUSAL, 2: Again(UNTESTED)}
    assert settle_except(queue, take(queue), told) == [call, other]
    assert (call.error, other.error) == (REFUSAL, None)
    assert_empty(queue)


def test_an_unresolved_item_does_not_go_again(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, "a", "b")
    unresolved = Unresolved("no calls left", retry_after=1)
    assert settle_except(queue, take(queue), {0: unresolved}) == [call]
    assert call.error is unresolved


def test_a_call_that_returned_can_be_given_up(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    calls = [put(queue, "a"), put(queue, "b")]
    put_back(queue, take(queue), 0, 1)
    for call in calls:
        assert queue.abandon(call, DeadlineExceeded("too late"))
    lane = lane_of(queue)
    assert (queue.calls, queue.queued_items, lane.waiting, lane.waiting_bytes, lane.oldest) == (0, 0, 0, 0, NEVER)


def test_a_call_of_which_a_part_failed_does_not_go_again(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, "a", "b", "c", "d")
    first, second = take(queue), take(queue)
    assert put_back(queue, second, 0, 1) == []
    assert fail(queue, first) == [call]
    assert_empty(queue)


def test_a_call_that_ended_meanwhile_does_not_go_again(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, "a", "b")
    batch = take(queue)
    queue.abandon(call, DeadlineExceeded("too late"))
    assert put_back(queue, batch, 0, 1) == []
    assert_empty(queue)


def test_items_that_return_while_the_service_stops_are_served_all_the_same(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, "a")
    put(queue, "b")
    batch = take(queue)
    queue.close()
    put_back(queue, batch, 0)
    assert succeed(queue, take(queue)) == [call]
    assert queue.take() is None


def test_items_that_return_may_exceed_the_limit_of_waiting_items(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2, max_queued_items=2)
    calls = [put(queue, "a", "b")]
    batch = take(queue)
    clock.time = 1.0
    calls.append(put(queue, "c", "d"))
    assert put_back(queue, batch, 0, 1) == []
    assert queue.queued_items == 4
    assert [succeed(queue, take(queue)) for _ in range(2)] == [[call] for call in calls]
    assert_empty(queue)


@pytest.mark.parametrize(
    ("reasons", "goes_again"),
    [
        (("overloaded",), True),
        (("overloaded", "overloaded"), False),
        (("overloaded", "broken"), False),
        ((None, "overloaded"), True),
        (("overloaded", None), True),
        ((None, None, None), True),
        (("overloaded", None, "overloaded"), False),
    ],
    ids=str,
)
def test_a_call_is_put_back_once_for_a_reason_to_try_again_and_any_number_of_times_untested(
    clock: FakeClock, reasons: tuple[str | None, ...], goes_again: bool
) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, "a", "b")
    answer = UpstreamOverloaded("too much")
    for reason in reasons[:-1]:
        assert put_back(queue, take(queue), 0, 1, error=answer, retry_reason=reason) == []
    ended = put_back(queue, take(queue), 0, 1, error=answer, retry_reason=reasons[-1])
    assert ended == ([] if goes_again else [call])
    assert call.error is (None if goes_again else answer)
    if goes_again:
        again = take(queue)
        assert again.retry_reason == next((reason for reason in reasons if reason), None)
        assert succeed(queue, again) == [call]
    assert_empty(queue)


def test_a_batch_settled_by_the_supervisor_puts_nothing_back_when_its_thread_settles_it(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call: Call = call_of("a", "b")
    queue.put(call)
    batch = take(queue)
    assert queue.fail_orphans([]) == [batch]
    assert put_back(queue, batch, 0, 1) == []
    assert isinstance(call.error, BatcherDied)
    assert_empty(queue)
