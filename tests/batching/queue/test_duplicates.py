"""Equal items of one key are computed once, in a batch or in flight, and what becomes of one becomes of all."""

from __future__ import annotations

from functools import partial

import pytest

from batching import Batch, BatchQueue, Call, Outcomes
from batching.call import Part
from batching.errors import BatcherDied, ClientGone, DeadlineExceeded, UpstreamError
from batching.outcomes import Again
from batching.queue.composition import Bounds, compose
from batching.queue.twins import InFlightItems
from batching.rank import Rank
from tests.batching.queue.steps import OTHER_KEY, REFUSAL, assert_empty, fail, put_back, with_suspects
from tests.support.fakes import KEY, Deadlock, FakeClock, call_of, put, queue_of, results_of, succeed, take, vector_of

BUSY = UpstreamError("too much")


@pytest.fixture
def queue(clock: FakeClock) -> BatchQueue:
    return queue_of(clock, deduplicate=True, bulk_max_wait=5.0)


def put_bulk(queue: BatchQueue, *texts: str) -> Call:
    call = call_of(*texts)
    call.rank = Rank(is_bulk=True)
    queue.put(call)
    return call


def fail_whole(queue: BatchQueue, batch: Batch) -> list[Call]:
    """Settle a refused batch of one call, which is not searched."""
    return queue.settle(batch, Outcomes.failed(REFUSAL, len(batch.items)))


def assert_answered(*calls: Call, shared: bool | None = None) -> None:
    for call in calls:
        assert call.error is None
        assert call.results == [vector_of(item) for item in call.items]
        assert shared is None or call.shared is shared


# ---- in a batch ---------------------------------------------------------------------------------


def test_equal_items_of_a_batch_travel_once(queue: BatchQueue) -> None:
    calls = [put(queue, text) for text in ("a", "b", "a", "a", "b")]
    batch = take(queue)
    assert len(batch.items) == 2
    assert set(succeed(queue, batch)) == set(calls)
    assert_answered(*calls)
    assert [call.shared for call in calls] == [False, False, True, True, True]
    assert_empty(queue)


def test_equal_items_take_no_place(clock: FakeClock) -> None:
    queue = queue_of(clock, deduplicate=True, max_batch_size=2)
    for text in ("a", "a", "a", "b", "c"):
        put(queue, text)
    batch = take(queue)
    assert len(batch.items) == 2
    assert len(batch.shared) == 2
    assert queue.queued_items == 1


def test_equal_items_of_one_call_travel_once_and_are_not_called_shared(queue: BatchQueue) -> None:
    call = put(queue, "a", "b", "a", "a")
    batch = take(queue)
    assert len(batch.items) == 2
    assert succeed(queue, batch) == [call]
    assert_answered(call, shared=False)


def test_equal_items_travel_each_for_itself_where_that_is_the_setting(clock: FakeClock) -> None:
    queue = queue_of(clock, deduplicate=False)
    calls = [put(queue, "a"), put(queue, "a")]
    batch = take(queue)
    assert len(batch.items) == 2
    succeed(queue, batch)
    assert_answered(*calls, shared=False)


def test_equal_items_of_different_keys_are_different_items(queue: BatchQueue) -> None:
    put(queue, "a")
    put(queue, "a", key=OTHER_KEY)
    first = take(queue)
    put(queue, "a", key=OTHER_KEY)
    second = take(queue)
    assert first.key != second.key
    assert not first.shared
    assert [shared.part.call.key for shared in second.shared] == [OTHER_KEY]


# ---- in flight ----------------------------------------------------------------------------------


def test_an_item_that_equals_one_in_flight_does_not_travel(queue: BatchQueue) -> None:
    first = put(queue, "a", "b")
    batch = take(queue)
    second = put(queue, "b")
    assert queue.queued_items == 0
    assert succeed(queue, batch) == [first, second]
    assert_answered(first, shared=False)
    assert_answered(second, shared=True)
    assert_empty(queue)


def test_the_rest_of_a_call_travels(queue: BatchQueue) -> None:
    put(queue, "a", "b")
    batch = take(queue)
    call = put(queue, "x", "b", "y")
    rest = take(queue)
    assert [part.stop - part.start for part in rest.parts] == [1, 1]
    succeed(queue, rest)
    assert not call.done
    succeed(queue, batch)
    assert_answered(call, shared=True)
    assert_empty(queue)


def test_an_item_that_waits_shares_with_one_that_has_left_meanwhile(clock: FakeClock) -> None:
    queue = queue_of(clock, deduplicate=True, max_batch_size=1)
    put(queue, "a")
    later = put(queue, "a", "b")
    first = take(queue)
    second = take(queue)
    assert len(second.items) == 1
    succeed(queue, second)
    succeed(queue, first)
    assert_answered(later, shared=True)


def test_nothing_outlives_its_batch(queue: BatchQueue) -> None:
    put(queue, "a")
    succeed(queue, take(queue))
    put(queue, "a")
    assert queue.queued_items == 1


def test_a_batch_is_sent_again_until_the_deadline_of_the_last_call_that_shares(queue: BatchQueue) -> None:
    put(queue, "a", deadline=1.0)
    batch = take(queue)
    put(queue, "a", deadline=7.0)
    assert batch.deadline == 7.0


# ---- across classes -----------------------------------------------------------------------------


def test_a_bulk_item_that_an_interactive_one_equals_is_promoted(queue: BatchQueue) -> None:
    bulk = put_bulk(queue, *[f"t{number}" for number in range(100)])
    interactive = put(queue, "t90")
    batch = take(queue)
    assert [(shared.part.call, shared.part.start) for shared in batch.shared] == [(bulk, 90)]
    succeed(queue, batch)
    assert_answered(interactive, shared=False)
    assert not bulk.done
    while queue.queued_items:
        batch = take(queue)
        assert batch.items.count(bulk.items[90]) == 0
        succeed(queue, batch)
    assert_answered(bulk, shared=True)
    assert_empty(queue)


def test_a_promoted_item_that_goes_back_waits_in_its_place(queue: BatchQueue) -> None:
    put_bulk(queue, *[f"t{number}" for number in range(40)])
    bulk = put_bulk(queue, "x")
    put(queue, "x")
    batch = take(queue)
    at = [shared.part.call for shared in batch.shared].index(bulk)
    put_back(queue, batch, batch.shared[at].at)
    calls: list[Call] = []
    while queue.queued_items:
        calls += succeed(queue, take(queue))
    assert calls.count(bulk) == 1
    assert_answered(bulk)
    assert_empty(queue)


def test_an_interactive_item_that_equals_a_bulk_one_in_flight_shares_it(queue: BatchQueue) -> None:
    bulk = put_bulk(queue, "a")
    batch = take(queue)
    interactive = put(queue, "a")
    assert succeed(queue, batch) == [bulk, interactive]
    assert_answered(interactive, shared=True)


# ---- hang-ups and deadlines ---------------------------------------------------------------------


@pytest.mark.parametrize("who", ["travels", "shares in the batch", "shares in flight"])
def test_abandoning_one_does_not_end_the_others(queue: BatchQueue, who: str) -> None:
    calls = {"travels": put(queue, "a"), "shares in the batch": put(queue, "a")}
    batch = take(queue)
    calls["shares in flight"] = put(queue, "a")
    gone = calls.pop(who)
    assert queue.abandon(gone, ClientGone("gave up"))
    assert succeed(queue, batch) == [*calls.values()]
    assert_answered(*calls.values())
    assert isinstance(gone.error, ClientGone)
    assert_empty(queue)


def test_a_call_that_shares_ends_by_its_own_deadline(queue: BatchQueue) -> None:
    first = put(queue, "a")
    batch = take(queue)
    second = put(queue, "a", "b", deadline=0.05)
    assert queue.queued_items == 1
    queue.abandon(second, DeadlineExceeded("too late"))
    assert queue.queued_items == 0
    assert succeed(queue, batch) == [first]
    assert_empty(queue)


# ---- refusals and failures ----------------------------------------------------------------------


def test_a_refusal_reaches_all_that_share(queue: BatchQueue) -> None:
    calls = [put(queue, "bad"), put(queue, "good"), put(queue, "bad")]
    batch = take(queue)
    calls.append(put(queue, "bad"))
    queue.settle(batch, Outcomes([REFUSAL, results_of(batch)[1]], REFUSAL))
    assert [call.error for call in calls] == [REFUSAL, None, REFUSAL, REFUSAL]
    assert_empty(queue)


def test_a_failure_reaches_all_that_share(queue: BatchQueue) -> None:
    calls = [put(queue, "a"), put(queue, "a")]
    batch = take(queue)
    calls.append(put(queue, "a"))
    assert fail(queue, batch) == calls
    assert all(isinstance(call.error, UpstreamError) for call in calls)


def test_a_dead_thread_fails_all_that_share(queue: BatchQueue) -> None:
    calls = [put(queue, "a"), put(queue, "a")]
    batch = take(queue)
    batch.owner = -1
    calls.append(put(queue, "a"))
    queue.fail_orphans([])
    assert all(isinstance(call.error, BatcherDied) for call in calls)
    assert all(call.event.is_set() for call in calls)
    assert_empty(queue)


def test_the_end_of_the_service_ends_all_that_share(queue: BatchQueue) -> None:
    calls = [put(queue, "a"), put(queue, "a")]
    take(queue)
    calls.append(put(queue, "a"))
    assert queue.reject_all() == 3
    assert all(call.done for call in calls)


def test_the_blame_for_another_item_of_its_call_does_not_reach_an_equal_one(queue: BatchQueue) -> None:
    """A batch of one call is not searched: all of its items fail with the bad one."""
    poisoned = put(queue, "good", "bad")
    batch = take(queue)
    other = put(queue, "good")
    assert fail_whole(queue, batch) == [poisoned]
    assert succeed(queue, take(queue)) == [other]
    assert_answered(other, shared=False)
    assert_empty(queue)


@pytest.mark.parametrize(("texts", "joins"), [(["a", "b"], False), (["a"], True)])
def test_an_item_that_waits_again_joins_only_a_batch_of_one_item(texts: list[str], joins: bool) -> None:
    """What becomes of such a batch is about the item alone, so the item cannot be put back again and again."""
    other, again = call_of(*texts), call_of("a")
    batch = Batch(KEY, "full", 0.0)
    batch.add(Part(other, 0, len(texts)))
    in_flight = InFlightItems()
    in_flight.left(batch)
    again.take(0, 1)
    again.give_back(Part(again, 0, 1))
    composed = compose([again], Bounds(8, 1000), lambda call: None, in_flight.batches)
    assert [joined for _, joined in composed.joined] == [batch] * joins
    assert len(composed.parts) == (not joins)


def test_a_single_refused_item_is_refused_for_all(queue: BatchQueue) -> None:
    first = put(queue, "bad")
    batch = take(queue)
    second = put(queue, "bad")
    assert fail_whole(queue, batch) == [first, second]
    assert second.error is REFUSAL


def test_all_that_share_wait_again_where_the_batch_goes_back_and_travel_once_again(queue: BatchQueue) -> None:
    calls = [put(queue, "a"), put(queue, "a")]
    batch = take(queue)
    calls.append(put(queue, "a"))
    assert put_back(queue, batch, 0) == []
    assert queue.queued_items == 3
    again = take(queue)
    assert len(again.items) == 1
    assert set(succeed(queue, again)) == set(calls)
    assert_answered(*calls)
    assert_empty(queue)


def test_the_equals_of_an_item_that_is_to_travel_alone_share_its_verdict(queue: BatchQueue) -> None:
    calls = [put(queue, "x"), put(queue, "y")]
    batch = take(queue)
    equal = put(queue, "x")
    queue.settle(batch, Outcomes([Again(BUSY, "failed", alone=True)] * 2, BUSY))
    assert not equal.suspects
    first = take(queue)
    assert first.is_suspect
    second = take(queue)
    assert second.is_suspect
    with pytest.raises(Deadlock):
        take(queue)
    assert [shared.part.call for shared in first.shared] == [equal]
    for each in (first, second):
        succeed(queue, each)
    assert_answered(*calls, equal)
    assert_empty(queue)


def test_suspects_do_not_share(queue: BatchQueue) -> None:
    put(queue, "a")
    take(queue)
    suspect = with_suspects(call_of("a"), 0)
    queue.put(suspect)
    assert take(queue).is_suspect


def test_results_of_a_search_reach_those_that_share_as_they_come(queue: BatchQueue) -> None:
    first, second = put(queue, "a"), put(queue, "b")
    batch = take(queue)
    equal, partly = put(queue, "a"), put(queue, "a", "c")
    assert queue.deliver(batch, 0, results_of(batch)[:1]) == [first, equal]
    assert_answered(first, equal)
    assert not partly.done
    queue.settle(batch, Outcomes([results_of(batch)[0], REFUSAL], REFUSAL))
    assert second.error is REFUSAL
    succeed(queue, take(queue))
    assert_answered(partly, shared=True)
    assert_empty(queue)


# ---- tokens -------------------------------------------------------------------------------------


def test_each_call_has_the_tokens_of_its_own_items(queue: BatchQueue) -> None:
    calls = [put(queue, "aaaa", "bbbb"), put(queue, "aaaa")]
    batch = take(queue)
    calls.append(put(queue, "bbbb", "bbbb"))
    batch.share_tokens(0, 2, 10)
    succeed(queue, batch)
    assert [call.tokens for call in calls] == [10, 5, 10]


@pytest.mark.parametrize("settle", [succeed, fail, fail_whole, partial(put_back, error=REFUSAL)])
def test_a_late_second_end_of_a_batch_changes_nothing(queue: BatchQueue, settle: object) -> None:
    put(queue, "a")
    batch = take(queue)
    call = put(queue, "a")
    succeed(queue, batch)
    assert settle(queue, batch) == []  # type: ignore[operator]
    assert_answered(call)
