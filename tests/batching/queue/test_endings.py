"""Each call ends once: with all its results, or with the first error that concerns it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching.errors import DeadlineExceeded, ProxyError, UpstreamError, UpstreamRejected
from tests.batching.queue.steps import assert_empty, fail, settle_except, texts
from tests.support.fakes import FakeClock, items_of, put, queue_of, results_of, succeed, take, vector_of

if TYPE_CHECKING:
    from batching.outcomes import Again

# With results, or with an error


def test_a_call_over_three_batches_is_put_together_in_whatever_order_they_end(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, "a", "b", "c", "d", "e")
    clock.time = 1.0
    batches = [take(queue), take(queue), take(queue)]
    assert succeed(queue, batches[2]) == []
    assert succeed(queue, batches[0]) == []
    assert call.missing == 2
    assert succeed(queue, batches[1]) == [call]
    assert call.results == [vector_of(item) for item in call.items]
    assert call.batch_size == 2


def test_an_error_for_a_batch_ends_each_of_its_calls_once(clock: FakeClock) -> None:
    queue = queue_of(clock)
    calls = [put(queue, "a"), put(queue, "b", "c")]
    batch = take(queue)
    assert fail(queue, batch) == calls
    assert fail(queue, batch) == []
    assert succeed(queue, batch) == []
    assert all(isinstance(call.error, UpstreamError) for call in calls)
    assert_empty(queue)


def test_an_error_for_one_batch_of_a_large_call_ends_it_once_and_sends_no_more_of_it(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, *texts(6))
    under_way = [take(queue), take(queue)]
    assert fail(queue, under_way[0]) == [call]
    assert queue.queued_items == 0
    assert succeed(queue, under_way[1]) == []
    assert isinstance(call.error, UpstreamError)
    assert_empty(queue)


def test_errors_of_single_items_end_only_their_calls_and_the_first_counts(clock: FakeClock) -> None:
    queue = queue_of(clock)
    calls = [put(queue, "a", "b"), put(queue, "c"), put(queue, "d", "e", "f"), put(queue, "g")]
    batch = take(queue)
    errors: dict[int, ProxyError | Again] = {
        1: UpstreamRejected("b", status=422),
        4: UpstreamRejected("e", status=422),
        5: UpstreamRejected("f", status=422),
    }
    assert settle_except(queue, batch, errors) == calls
    assert [call.error for call in calls] == [errors[1], None, errors[4], None]
    assert calls[1].results == [vector_of(b'"c"')]
    assert calls[3].results == [vector_of(b'"g"')]
    assert not any(call.event.is_set() for call in calls)
    assert_empty(queue)


def test_the_waiters_of_a_batch_are_linked_and_not_woken_by_the_queue(clock: FakeClock) -> None:
    queue = queue_of(clock)
    for settle in (succeed, fail):
        calls = [put(queue, text) for text in "abc"]
        assert settle(queue, take(queue)) == calls
        assert [call.follower for call in calls] == [calls[1], calls[2], None]
        assert not any(call.event.is_set() for call in calls)


def test_each_call_is_told_about_its_batch(clock: FakeClock) -> None:
    queue = queue_of(clock)
    clock.time = 10.0
    first = put(queue, "a")
    clock.time = 10.05
    second = put(queue, "b", "c")
    batch = take(queue)
    clock.time = 11.0
    succeed(queue, batch)
    for call, delay in ((first, 0.1), (second, 0.05)):
        assert (call.batch_size, call.reason) == (3, "max_wait")
        assert (call.queue_delay, call.inference_time) == (pytest.approx(delay), pytest.approx(0.9))


# Given up by its waiter


def test_a_call_that_was_given_up_is_never_sent(clock: FakeClock) -> None:
    queue = queue_of(clock)
    first, _, third = put(queue, "a"), put(queue, "b"), put(queue, "c", "d")
    error = ProxyError("first")
    assert queue.abandon(first, error)
    assert queue.abandon(third, ProxyError("gone"))
    assert not queue.abandon(first, ProxyError("second"))
    assert (first.error, first.event.is_set(), queue.calls, queue.queued_items) == (error, True, 1, 1)
    batch = take(queue)
    assert batch.items == items_of("b")
    succeed(queue, batch)
    assert_empty(queue)


def test_a_call_that_was_given_up_keeps_no_call_behind_it_out(clock: FakeClock) -> None:
    queue = queue_of(clock)
    put(queue, "a")
    given_up = put(queue, "b")
    put(queue, "c")
    queue.abandon(given_up, ProxyError("gone"))
    assert take(queue).items == items_of("a", "c")


def test_when_the_oldest_call_is_given_up_the_next_one_sets_the_time(clock: FakeClock) -> None:
    queue = queue_of(clock)
    first = put(queue, "a")
    clock.at(0.05, lambda: put(queue, "b"))
    clock.at(0.06, lambda: queue.abandon(first, ProxyError("gone")))
    assert take(queue).items == items_of("b")
    assert clock.now() == pytest.approx(0.15)


def test_the_rest_of_a_large_call_that_was_given_up_is_not_sent_and_its_late_results_are_discarded(
    clock: FakeClock,
) -> None:
    queue = queue_of(clock)
    call = put(queue, *texts(100))
    under_way = [take(queue), take(queue)]
    assert queue.abandon(call, DeadlineExceeded("too late"))
    assert (queue.queued_items, queue.calls) == (0, 0)
    assert [succeed(queue, batch) for batch in under_way] == [[], []]
    assert isinstance(call.error, DeadlineExceeded)
    assert_empty(queue)


# Results handed out before the batch ends


def test_results_may_be_handed_out_before_the_batch_ends(clock: FakeClock) -> None:
    queue = queue_of(clock)
    clock.time = 10.0
    calls = [put(queue, "a"), put(queue, "b", "c"), put(queue, "d"), put(queue, "e")]
    batch = take(queue)
    clock.time = 11.0
    results = results_of(batch)
    ended = queue.deliver(batch, 1, results[1:4])
    assert ended == calls[1:3]
    assert [call.done for call in calls] == [False, True, True, False]
    assert (calls[1].results, calls[2].results) == (results[1:3], results[3:4])
    assert (calls[1].follower, calls[2].follower) == (calls[2], None)
    assert (calls[2].batch_size, calls[2].reason, calls[2].inference_time) == (5, "max_wait", pytest.approx(0.9))
    assert queue.deliver(batch, 1, results[1:4]) == []
    assert queue.calls == 2
    assert succeed(queue, batch) == [calls[0], calls[3]]
    assert queue.deliver(batch, 0, results) == []
    assert_empty(queue)


def test_only_calls_that_are_complete_get_their_results_early(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    whole, cut, parted = put(queue, "a"), put(queue, "b", "c"), put(queue, "d", "e")
    batch = take(queue)
    results = results_of(batch)
    assert queue.deliver(batch, 2, results[2:]) == []  # half of the second, and half of the third
    assert queue.deliver(batch, 0, results[:2]) == [whole]
    assert queue.deliver(batch, 0, results) == [cut]
    clock.time = 1.0
    rest = take(queue)
    assert succeed(queue, batch) == []
    assert succeed(queue, rest) == [parted]
    assert parted.results == [vector_of(b'"d"'), vector_of(b'"e"')]


def test_the_rest_of_a_call_may_be_handed_out_early_once_its_beginning_is_there(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, "a", "b", "c")
    clock.time = 1.0
    first, rest = take(queue), take(queue)
    assert queue.deliver(rest, 0, results_of(rest)) == []
    assert succeed(queue, first) == []
    assert queue.deliver(rest, 0, results_of(rest)) == [call]
    assert call.results == [vector_of(b'"a"'), vector_of(b'"b"'), vector_of(b'"c"')]


def test_results_that_were_handed_out_early_stay_though_the_batch_fails(clock: FakeClock) -> None:
    queue = queue_of(clock)
    early, late = put(queue, "a"), put(queue, "b")
    batch = take(queue)
    assert queue.deliver(batch, 0, results_of(batch)[:1]) == [early]
    assert fail(queue, batch) == [late]
    assert (early.error, early.results) == (None, [vector_of(b'"a"')])
    assert_empty(queue)
