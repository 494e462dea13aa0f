"""The exact edges of the queue: what is admitted, what fits, who is dropped and when, and what a lane learns."""

from __future__ import annotations

import threading

import pytest

from batching import Batch, BatchKey, BatchQueue, Call, FixedTiming
from batching.clock import NEVER
from batching.errors import (
    BatcherDied,
    ClientGone,
    DeadlineExceeded,
    Hopeless,
    Overloaded,
    ProxyError,
    ShuttingDown,
    Unjudged,
    Unresolved,
    UpstreamError,
    UpstreamRejected,
)
from batching.queue.batch_queue import (
    FEW_ENDED,
    GUILT_WEIGHT,
    HANGUP_CHECK_AFTER,
    LATENCY_WEIGHT,
    LOOK_AGAIN,
    NO_GUILT,
    THOUGHT_INNOCENT,
    Lane,
)
from batching.timing.rule import Decision, LaneState
from tests.support.fakes import (
    KEY,
    Deadlock,
    FakeClock,
    call_of,
    items_of,
    put,
    queue_of,
    results_of,
    succeed,
    take,
    vector_of,
)

OTHER_KEY = BatchKey("/embed", b',"normalize":false')


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def lane_of(queue: BatchQueue, key: BatchKey = KEY) -> Lane:
    return queue._lanes[key]


# Admission


def test_as_many_calls_as_allowed_are_admitted_and_the_next_is_told_to_come_again(clock: FakeClock) -> None:
    queue = queue_of(clock, max_calls=2)
    put(queue, "a")
    put(queue, "b")
    with pytest.raises(Overloaded) as raised:
        put(queue, "c")
    assert raised.value.retry_after == 1
    assert (queue.calls, queue.queued_items) == (2, 2)


def test_as_many_items_as_allowed_may_wait_and_a_call_with_one_more_is_told_to_come_again(clock: FakeClock) -> None:
    queue = queue_of(clock, max_queued_items=3)
    put(queue, "a", "b")
    with pytest.raises(Overloaded) as raised:
        put(queue, "c", "d")
    assert raised.value.retry_after == 1
    put(queue, "c")
    assert (queue.calls, queue.queued_items) == (2, 3)


def test_who_comes_after_the_end_is_told_to_come_again(clock: FakeClock) -> None:
    queue = queue_of(clock)
    queue.close()
    with pytest.raises(ShuttingDown) as raised:
        put(queue, "a")
    assert raised.value.retry_after == 1


def test_a_lane_counts_its_items_and_bytes_in_and_out(clock: FakeClock) -> None:
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
    assert (lane.in_flight_items, queue.in_flight_items, queue.calls) == (0, 0, 0)


def test_a_lane_is_full_with_exactly_the_items_or_bytes_of_a_batch(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=3, max_batch_bytes=7)
    put(queue, "a")
    assert not lane_of(queue).is_full
    put(queue, "bb")
    assert lane_of(queue).is_full
    queue = queue_of(clock, max_batch_size=2)
    put(queue, "a")
    assert not lane_of(queue).is_full
    put(queue, "b")
    assert lane_of(queue).is_full


def test_a_lane_is_as_old_as_its_oldest_call(clock: FakeClock) -> None:
    queue = queue_of(clock, timing=lambda: FixedTiming(100.0))
    clock.time = 1.0
    first = put(queue, "a")
    clock.time = 2.0
    put(queue, "b")
    assert lane_of(queue).oldest == 1.0
    queue.abandon(first, ProxyError("gone"))
    assert lane_of(queue).oldest == 2.0


# What fits


def test_bytes_that_fill_a_batch_exactly_fit(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_bytes=6)
    put(queue, "a", "b", "c")
    assert take(queue).items == items_of("a", "b")
    queue = queue_of(clock, max_batch_bytes=6)
    put(queue, "a")
    put(queue, "b")
    put(queue, "c")
    assert take(queue).items == items_of("a", "b")


def test_a_call_that_does_not_fit_any_more_waits_as_a_whole(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_bytes=8)
    put(queue, "a")
    long = put(queue, "long text")
    put(queue, "b")
    assert take(queue).items == items_of("a")
    assert long.taken == 0
    assert take(queue).items == items_of("long text")
    assert take(queue).items == items_of("b")


def test_a_large_item_in_the_middle_of_a_call_goes_alone(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_bytes=8)
    put(queue, "a", "far too long", "b")
    assert [take(queue).items for _ in range(3)] == [items_of("a"), items_of("far too long"), items_of("b")]


def test_suspects_go_one_by_one(clock: FakeClock) -> None:
    queue = queue_of(clock)
    put(queue, "a", "b", key=KEY.apart)
    assert lane_of(queue, KEY.apart).is_full
    assert [take(queue).items for _ in range(2)] == [items_of("a"), items_of("b")]
    assert clock.time == 0.0


def test_permits_that_a_batch_fills_exactly_are_enough(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2, max_inflight_items=4)
    put(queue, "a", "b", "c", "d", "e", "f")
    first, second = take(queue), take(queue)
    clock.at(1.0, lambda: succeed(queue, first))
    third: list[Batch] = []
    clock.at(2.0, lambda: third.append(take(queue)))
    with pytest.raises(AssertionError):  # a deadlock: who settles looks for himself, and nobody else is woken
        take(queue)
    assert third[0].items == items_of("e", "f")
    assert queue.in_flight_items == 4
    succeed(queue, second)
    succeed(queue, third[0])
    assert queue.in_flight_items == 0


def test_only_what_really_goes_needs_permits(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=8, max_inflight_items=9)
    put(queue, *"abcdefgh")
    take(queue)
    put(queue, "i")
    assert take(queue).items == items_of("i")


def test_a_part_of_a_batch_is_like_the_whole_but_carries_nobody(clock: FakeClock) -> None:
    clock.time = 5.0
    queue = queue_of(clock)
    put(queue, "a", "b", deadline=70.0)
    put(queue, "c", "d", deadline=60.0)
    batch = take(queue)
    part = batch.part(1, 3)
    assert (part.key, part.reason, part.taken_at, part.deadline) == (KEY, "isolation", batch.taken_at, 70.0)
    assert part.items == items_of("b", "c")
    assert part.parts == []


# Who is dropped


def test_a_deadline_that_passes_this_moment_has_passed(clock: FakeClock) -> None:
    queue = queue_of(clock)
    late = put(queue, "late", deadline=0.1)
    put(queue, "in time", deadline=0.101)
    assert take(queue).items == items_of("in time")
    assert type(late.error) is DeadlineExceeded
    assert late.event.is_set()


def test_who_can_be_answered_at_the_very_deadline_is_not_hopeless(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1)
    put(queue, "to learn the latency")
    batch = take(queue)
    clock.time = 1.0
    succeed(queue, batch)
    assert lane_of(queue).latency == 1.0
    hopeless = put(queue, "hopeless", deadline=1.999)
    put(queue, "hopeful", deadline=2.0)
    assert take(queue).items == items_of("hopeful")
    assert type(hopeless.error) is Hopeless


def test_where_just_one_batch_waits_nobody_is_hopeless(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    put(queue, "to learn", "the latency")
    batch = take(queue)
    clock.time = 1.0
    succeed(queue, batch)
    put(queue, "a", "b", deadline=1.5)
    assert take(queue).items == items_of("a", "b")


def test_clients_are_asked_from_the_very_moment_on_that_they_waited_long(clock: FakeClock) -> None:
    queue = queue_of(clock, timing=lambda: FixedTiming(HANGUP_CHECK_AFTER))
    gone = Call(items_of("gone"), KEY, 1e9, is_gone=lambda: True)
    there = Call(items_of("there"), KEY, 1e9, is_gone=lambda: False)
    queue.put(gone)
    queue.put(there)
    assert take(queue).items == items_of("there")
    assert isinstance(gone.error, ClientGone)
    assert queue.calls == 1


def test_clients_who_came_a_moment_ago_are_not_asked_however_late_it_is(clock: FakeClock) -> None:
    clock.time = 100.0
    queue = queue_of(clock, timing=lambda: FixedTiming(0.0))
    queue.put(Call(items_of("a"), KEY, 1e9, is_gone=lambda: True))
    assert take(queue).items == items_of("a")


def test_a_call_that_was_given_up_in_the_middle_keeps_nobody_behind_it_out(clock: FakeClock) -> None:
    queue = queue_of(clock)
    put(queue, "a")
    given_up = put(queue, "b")
    put(queue, "c")
    queue.abandon(given_up, ProxyError("gone"))
    assert take(queue).items == items_of("a", "c")


def test_ending_a_call_twice_ends_it_once(clock: FakeClock) -> None:
    queue = queue_of(clock)
    call = put(queue, "a")
    first = ProxyError("first")
    assert queue.abandon(call, first) is True
    assert queue.abandon(call, ProxyError("second")) is False
    assert call.error is first
    assert queue.calls == 0


# How a batch ends


def test_a_batch_without_results_or_reason_tells_of_an_error(clock: FakeClock) -> None:
    queue = queue_of(clock)
    call = put(queue, "a")
    assert queue.settle(take(queue), None, None) == [call]
    assert type(call.error) is ProxyError
    assert str(call.error)


def test_whoever_settles_wakes_the_waiters_itself_also_those_of_a_failure(clock: FakeClock) -> None:
    queue = queue_of(clock)
    calls = [put(queue, "a"), put(queue, "b")]
    assert queue.settle(take(queue), None, UpstreamError("boom")) == calls
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


def test_errors_of_single_items_end_only_their_calls_and_the_first_counts(clock: FakeClock) -> None:
    queue = queue_of(clock)
    calls = [put(queue, "a", "b"), put(queue, "c"), put(queue, "d", "e", "f"), put(queue, "g")]
    batch = take(queue)
    errors: dict[int, ProxyError] = {
        1: UpstreamRejected("b", status=422),
        4: UpstreamRejected("e", status=422),
        5: UpstreamRejected("f", status=422),
    }
    assert queue.settle(batch, results_of(batch), None, errors) == calls
    assert [call.error for call in calls] == [errors[1], None, errors[4], None]
    assert calls[1].results == [vector_of(b'"c"')]
    assert calls[3].results == [vector_of(b'"g"')]
    assert not any(call.event.is_set() for call in calls)
    assert queue.calls == 0


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
    assert queue.settle(batch, results, None) == [calls[0], calls[3]]
    assert queue.deliver(batch, 0, results) == []


def test_only_calls_that_are_complete_get_theirs_early(clock: FakeClock) -> None:
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


def test_the_orphans_of_a_dead_thread_are_told_to_come_again_and_woken(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1)
    calls = [put(queue, "a"), put(queue, "b")]
    batches = [take(queue), take(queue)]
    batches[0].owner = batches[1].owner = -1
    assert set(queue.fail_orphans([threading.get_ident()])) == set(batches)
    for call in calls:
        assert isinstance(call.error, BatcherDied)
        assert call.error.retry_after == 1
        assert call.event.is_set()
    assert (queue.in_flight, queue.calls) == (0, 0)


def test_what_is_due_later_is_still_sent_then_after_a_thread_died(clock: FakeClock) -> None:
    queue = queue_of(clock, max_inflight_batches=1)
    put(queue, "a")
    batch = take(queue)
    batch.owner = -1
    clock.at(1.0, lambda: put(queue, "b"))
    clock.at(1.05, lambda: queue.fail_orphans([]))
    assert take(queue).items == items_of("b")
    assert clock.now() == pytest.approx(1.1)


def test_who_is_left_at_the_end_is_told_to_come_again(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1)
    calls = [put(queue, "upstream"), put(queue, "waiting")]
    take(queue)
    assert queue.reject_all() == 2
    assert [call.error.retry_after for call in calls if call.error is not None] == [1, 1]
    assert (queue.calls, queue.queued_items) == (0, 0)


# What a lane learns


def test_the_latency_of_a_lane_is_an_average_of_what_went_well(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1)
    for seconds in (1.0, 2.0):
        put(queue, "a")
        batch = take(queue)
        clock.time += seconds
        succeed(queue, batch)
    expected = 1.0 + LATENCY_WEIGHT * 1.0
    assert lane_of(queue).latency == pytest.approx(expected)
    put(queue, "a")
    batch = take(queue)
    clock.time += 100.0
    queue.settle(batch, None, UpstreamError("boom"))
    put(queue, "a")
    batch = take(queue)
    batch.smooth = False
    clock.time += 100.0
    succeed(queue, batch)
    assert lane_of(queue).latency == pytest.approx(expected)


def guilty_of(queue: BatchQueue, guilty: int, *texts: str) -> float:
    """Let a batch of these be served, the first so many of them guilty; return the share learned."""
    for text in texts:
        put(queue, text)
    batch = take(queue)
    errors: dict[int, ProxyError] = {at: UpstreamRejected("bad", status=422) for at in range(guilty)}
    queue.settle(batch, results_of(batch), None, errors)
    return lane_of(queue).guilty_share


def test_the_share_of_the_guilty_begins_as_the_average_over_all_items_and_some_innocent_ones(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    assert guilty_of(queue, 0, "a", "b") == 0.0
    assert guilty_of(queue, 1, "a", "b") == pytest.approx(1 / (THOUGHT_INNOCENT + 2))
    assert guilty_of(queue, 0, "a", "b") == pytest.approx(1 / (THOUGHT_INNOCENT + 4))
    assert guilty_of(queue, 1, "a") == pytest.approx(2 / (THOUGHT_INNOCENT + 5))


def test_the_share_of_the_guilty_is_then_an_average_over_the_newest(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    share = guilty_of(queue, 1, "a", "b")
    lane_of(queue).judged = 1_000_000
    weight = 1.0 - (1.0 - GUILT_WEIGHT) ** 2
    assert guilty_of(queue, 0, "a", "b") == pytest.approx(share - weight * share)
    assert guilty_of(queue, 1, "a", "b") == pytest.approx(
        share - weight * share + weight * (0.5 - share + weight * share)
    )


def test_a_negligible_share_counts_as_none_and_the_next_guilty_as_the_first(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1)
    put(queue, "a")
    lane = lane_of(queue)
    lane.judged = 1_000_000
    lane.guilty_share = NO_GUILT / (1.0 - GUILT_WEIGHT) * 1.01
    succeed(queue, take(queue))
    assert lane.guilty_share > NO_GUILT
    lane.guilty_share = NO_GUILT
    assert guilty_of(queue, 0, "b") == 0.0
    assert guilty_of(queue, 1, "c") == pytest.approx(1 / (THOUGHT_INNOCENT + 1))


def test_a_lane_whose_batches_become_smaller_is_full_the_sooner(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=8, timing=lambda: FixedTiming(100.0))
    put(queue, *"abcdefgh")
    batch = take(queue)
    put(queue, "i", "j")
    lane = lane_of(queue)
    assert not lane.is_full
    lane.guilty_share = 0.5
    queue.settle(batch, results_of(batch), None, {0: UpstreamRejected("bad", status=422)})
    assert lane.is_full
    assert (lane.waiting, lane.waiting_bytes) == (2, 6)


# Whose turn it is


def test_of_several_that_are_due_the_oldest_goes_first_whatever_its_rule(clock: FakeClock) -> None:
    waits = iter([5.0, 1.0])
    queue = queue_of(clock, timing=lambda: FixedTiming(next(waits)))
    put(queue, "patient and old")
    clock.time = 1.0
    put(queue, "hasty and young", key=OTHER_KEY)
    clock.time = 10.0
    assert take(queue).items == items_of("patient and old")
    assert take(queue).items == items_of("hasty and young")


def test_a_batch_that_is_due_this_very_moment_is_due(clock: FakeClock) -> None:
    class Punctual(FixedTiming):
        asked = 0

        def decide(self, lane: LaneState, in_flight: int, now: float) -> Decision:
            self.asked += 1
            assert self.asked < 10
            return Decision(lane.oldest + 0.1, "punctual")

    queue = queue_of(clock, timing=lambda: Punctual(0.0))
    put(queue, "a")
    batch = take(queue)
    assert (batch.reason, batch.taken_at) == ("punctual", 0.1)


def test_a_thread_that_is_woken_for_nothing_new_sleeps_on_until_the_right_moment(clock: FakeClock) -> None:
    queue = queue_of(clock)
    clock.at(1.0, lambda: put(queue, "a"))
    clock.at(1.05, lambda: queue._alert(1.06))
    assert take(queue).items == items_of("a")
    assert clock.now() == pytest.approx(1.1)


def test_idle_threads_leave_no_trace_when_they_go(clock: FakeClock) -> None:
    queue = queue_of(clock)
    clock.at(1.0, lambda: put(queue, "a"))
    take(queue)
    assert queue._idle == []
    assert queue._armed == NEVER


def test_only_one_idle_thread_keeps_the_time(clock: FakeClock) -> None:
    queue = queue_of(clock)
    put(queue, "a")
    dues: list[list[float]] = []

    def second_thread() -> None:
        clock.at(0.02, lambda: dues.append([thread.due for thread in queue._idle]))
        clock.at(0.03, lambda: dues.append([queue._armed]))
        with pytest.raises(SystemExit):
            take(queue)

    def die() -> None:
        raise SystemExit

    clock.at(0.01, second_thread)
    clock.at(0.04, die)
    assert take(queue).items == items_of("a")
    assert dues == [[pytest.approx(0.1), NEVER], [pytest.approx(0.1)]]
    assert clock.now() == pytest.approx(0.1)


def test_the_end_is_told_to_every_idle_thread(clock: FakeClock) -> None:
    queue = queue_of(clock)
    ended: list[Batch | None] = []
    clock.at(1.0, lambda: ended.append(queue.take()))
    clock.at(2.0, queue.close)
    ended.append(queue.take())
    assert ended == [None, None]
    assert clock.now() == 2.0
    assert queue._idle == []


def test_a_timing_rule_that_fails_costs_nobody_the_answer(clock: FakeClock) -> None:
    class Failing(FixedTiming):
        def completed(self, *what: object, **how: object) -> None:
            raise ZeroDivisionError

    queue = queue_of(clock, timing=lambda: Failing(0.0))
    call = put(queue, "a")
    assert succeed(queue, take(queue)) == [call]
    assert call.results == [vector_of(b'"a"')]


def test_timing_rules_are_told_what_arrived_what_left_and_beside_how_many(clock: FakeClock) -> None:
    told: list[tuple[object, ...]] = []

    class Listening(FixedTiming):
        def decide(self, lane: object, in_flight: int, now: float) -> Decision:
            told.append(("decide", in_flight))
            return super().decide(lane, in_flight, now)  # type: ignore[arg-type]

        def arrived(self, lane: object, count: int, now: float) -> None:
            told.append(("arrived", lane, count, now))

        def sent(self, lane: object, batch: object, size: int, beside: int, now: float) -> None:
            told.append(("sent", lane, batch, size, beside, now))

        def completed(self, lane: object, batch: object, now: float, *, ok: bool) -> None:
            told.append(("completed", lane, batch, now, ok))

    queue = queue_of(clock, timing=lambda: Listening(0.0))
    clock.time = 5.0
    put(queue, "a", "b")
    lane = lane_of(queue)
    first = take(queue)
    put(queue, "c")
    second = take(queue)
    clock.time = 6.0
    succeed(queue, first)
    queue.settle(second, None, UpstreamError("boom"))
    events = [each for each in told if each[0] != "decide"]
    assert events == [
        ("arrived", lane, 2, 5.0),
        ("sent", lane, first, 2, 0, 5.0),
        ("arrived", lane, 1, 5.0),
        ("sent", lane, second, 1, 1, 5.0),
        ("completed", lane, first, 6.0, True),
        ("completed", lane, second, 6.0, False),
    ]
    assert {each for each in told if each[0] == "decide"} == {("decide", 0), ("decide", 1)}


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


def test_more_may_have_ended_where_more_live(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1000)
    living = [put(queue, f"living {number}") for number in range(30)]
    gone = [put(queue, f"gone {number}") for number in range(30 + FEW_ENDED)]
    for call in gone:
        queue.abandon(call, DeadlineExceeded("too late"))
    assert len(lane_of(queue).calls) == len(living) + len(gone)
    queue.abandon(put(queue, "one more"), DeadlineExceeded("too late"))
    assert list(lane_of(queue).calls) == living


def test_a_call_that_was_in_no_batch_has_nothing_to_tell() -> None:
    call = call_of("a")
    assert (call.batch_size, call.reason, call.queue_delay, call.inference_time) == (0, "", 0.0, 0.0)
    assert (call.arrived, call.results) == (0.0, [])


@pytest.mark.parametrize(
    ("others", "guilty", "judged"),
    [
        ([], 1, 4),
        ([Unresolved("later"), Unresolved("later")], 3, 4),
        ([Unresolved("later"), UpstreamError("broken")], 1, 4),
        ([Unjudged("?"), Unjudged("?")], 1, 2),
        ([Unresolved("later"), Unjudged("?")], 2, 3),
    ],
    ids=["refused", "doubtful by refusals", "doubtful by a failure", "unjudged", "doubtful and unjudged"],
)
def test_what_the_upstream_refused_counts_as_guilty_among_what_it_judged(
    clock: FakeClock, others: list[ProxyError], guilty: int, judged: int
) -> None:
    queue = queue_of(clock, max_batch_size=4)
    for text in "abcd":
        put(queue, text)
    batch = take(queue)
    refusal = UpstreamRejected("no", status=422)
    queue.settle(batch, results_of(batch), refusal, dict(enumerate([refusal, *others])))
    assert lane_of(queue).guilty_share == pytest.approx(guilty / (THOUGHT_INNOCENT + judged))


def test_a_refused_batch_of_which_all_are_clean_by_themselves_asks_for_smaller_ones(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    put(queue, "a", "b")
    batch = take(queue)
    queue.settle(batch, results_of(batch), UpstreamRejected("too much", status=413))
    assert lane_of(queue).guilty_share == pytest.approx(1 / (THOUGHT_INNOCENT + 2))


def test_a_batch_that_failed_for_another_reason_says_nothing_of_its_inputs(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    put(queue, "a", "b")
    queue.settle(take(queue), None, UpstreamError("boom"))
    assert lane_of(queue).guilty_share == 0.0


def test_a_batch_of_which_nothing_is_known_teaches_nothing(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    put(queue, "a")
    put(queue, "b")
    leave(queue, take(queue), 0, 1)
    assert (lane_of(queue).guilty_share, lane_of(queue).judged) == (0.0, THOUGHT_INNOCENT)


# Who is woken for a crowd


class Impatient(FixedTiming):
    """The more wait the sooner, and three at once."""

    def decide(self, lane: LaneState, in_flight: int, now: float) -> Decision:
        return Decision(now if lane.is_full or lane.waiting >= 3 else lane.oldest + 10.0 / lane.waiting, "crowd")


def crowd_back(clock: FakeClock, *texts: str) -> BatchQueue:
    """Return a queue whose batch of these texts took from moment 0.5 to 1.5."""
    clock.time = 0.5
    queue = queue_of(clock, max_batch_size=len(texts), timing=lambda: Impatient(0.0))
    put(queue, *texts)
    batch = take(queue)
    clock.time = 1.5
    succeed(queue, batch)
    queue.limits.max_batch_size = 32
    return queue


def test_a_thread_is_woken_once_for_a_crowd_that_returns(clock: FakeClock) -> None:
    queue = crowd_back(clock, "a", "b", "c")
    for moment in (1.55, 1.6, 1.65):
        clock.at(moment, lambda: put(queue, "again"))
    batch = take(queue)
    assert (len(batch.items), clock.time, clock.notifications) == (3, 1.65, 1)


def test_if_some_of_the_crowd_stay_away_the_others_are_sent_in_time(clock: FakeClock) -> None:
    queue = crowd_back(clock, "a", "b", "c")
    for moment in (1.55, 1.6):
        clock.at(moment, lambda: put(queue, "again"))
    batch = take(queue)
    assert (len(batch.items), clock.time, clock.notifications) == (2, 6.55, 0)


def test_a_thread_looks_once_after_a_crowd_and_then_sleeps(clock: FakeClock) -> None:
    queue = crowd_back(clock, "a", "b")
    with pytest.raises(Deadlock):
        queue.take()
    assert clock.time == 1.5 + LOOK_AGAIN


def test_after_a_batch_of_one_no_crowd_is_expected(clock: FakeClock) -> None:
    queue = queue_of(clock)
    put(queue, "a")
    batch = take(queue)
    clock.time = 1.0
    succeed(queue, batch)
    with pytest.raises(Deadlock):
        queue.take()
    assert clock.time == 1.0


def test_a_look_whose_moment_has_passed_is_left_out(clock: FakeClock) -> None:
    queue = crowd_back(clock, "a", "b", "c")
    clock.time = 1.5 + LOOK_AGAIN
    waits: list[float | None] = []

    def wait(condition: threading.Condition, timeout: float | None) -> None:
        waits.append(timeout)
        queue.close()

    clock.wait = wait  # type: ignore[method-assign]
    assert queue.take() is None
    assert waits == [None]


# Those who return from a search


UNJUDGED = Unjudged("nothing is known", retry_after=1)


def leave(queue: BatchQueue, batch: Batch, *positions: int, error: ProxyError = UNJUDGED) -> list[Call]:
    """Settle a refused batch with nothing known of the items at these positions; return the calls that ended."""
    results = results_of(batch)
    return queue.settle(batch, results, UpstreamRejected("no", status=422), dict.fromkeys(positions, error))


def test_of_whom_nothing_is_known_waits_again_in_front_of_all_that_came_later(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=3)
    calls = []
    for moment, text in enumerate(("a", "bb", "ccc", "dddd")):
        clock.time = float(moment)
        calls.append(put(queue, text))
    assert leave(queue, take(queue), 1, 2) == [calls[0]]
    lane = lane_of(queue)
    assert (queue.calls, queue.queued_items, queue.in_flight_items, lane.in_flight_items) == (3, 3, 0, 0)
    assert (lane.waiting, lane.waiting_bytes, lane.is_full, lane.oldest) == (3, 4 + 5 + 6, True, 1.0)
    assert list(lane.calls) == calls[1:]
    assert not any(call.event.is_set() for call in calls[1:])
    assert succeed(queue, take(queue)) == calls[1:]
    assert [call.results for call in calls] == [[vector_of(item) for item in call.items] for call in calls]
    assert (queue.calls, queue.queued_items, lane.waiting) == (0, 0, 0)


def test_those_who_return_stand_in_the_order_in_which_they_came(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    calls = []
    for moment in range(4):
        clock.time = float(moment)
        calls.append(put(queue, f"text {moment}"))
    first, second = take(queue), take(queue)
    leave(queue, first, 1)
    assert lane_of(queue).oldest == 1.0
    leave(queue, second, 0, 1)
    assert (list(lane_of(queue).calls), lane_of(queue).oldest) == (calls[1:], 1.0)


def test_the_timing_is_told_of_those_who_return_when_their_batch_is_no_longer_under_way(clock: FakeClock) -> None:
    told = []

    class Listening(FixedTiming):
        def arrived(self, lane: LaneState, count: int, now: float) -> None:
            told.append((lane.waiting, lane.in_flight_items, count, now))

    queue = queue_of(clock, max_batch_size=3, timing=lambda: Listening(0.0))
    put(queue, "a", "b")
    put(queue, "c")
    batch = take(queue)
    clock.time = 1.0
    leave(queue, batch, 0, 1)
    assert told[-1] == (2, 0, 2, 1.0)


def test_a_call_of_several_returns_from_the_first_unjudged_on(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    call = put(queue, "a", "b", "c")
    other = put(queue, "d")
    assert leave(queue, take(queue), 1) == [other]
    assert (call.taken, call.missing, queue.queued_items, lane_of(queue).waiting_bytes) == (1, 2, 2, 3 + 3)
    batch = take(queue)
    assert batch.items == items_of("b", "c")
    assert succeed(queue, batch) == [call]
    assert call.results == [vector_of(item) for item in call.items]


def test_of_a_call_of_several_what_was_judged_is_kept(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=6)
    other = put(queue, "a")
    call = put(queue, "b", "c", "d", "e", "f")
    assert leave(queue, take(queue), 5) == [other]
    assert (call.taken, call.missing) == (4, 1)
    batch = take(queue)
    assert batch.items == items_of("f")
    assert succeed(queue, batch) == [call]
    assert call.results == [vector_of(item) for item in call.items]


def test_the_rest_of_a_call_returns_while_its_first_part_is_still_under_way(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, "a", "b", "c")
    put(queue, "d")
    first, second = take(queue), take(queue)
    leave(queue, second, 0)
    succeed(queue, first)
    assert not call.done
    assert succeed(queue, take(queue)) == [call]
    assert call.results == [vector_of(item) for item in call.items]


def test_a_call_whose_rest_still_waits_is_told_to_come_again(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, "a", "b", "c")
    assert leave(queue, take(queue), 1) == [call]
    assert call.error is UNJUDGED
    assert (queue.calls, queue.queued_items) == (0, 0)


def test_who_could_not_be_answered_in_time_is_told_to_come_again(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    put(queue, "teaches that a batch", "takes two seconds")
    batch = take(queue)
    clock.time = 2.0
    succeed(queue, batch)
    early = call_of("early", deadline=4.0)
    late = call_of("late", deadline=4.1)
    for call in (early, late):
        queue.put(call)
    assert leave(queue, take(queue), 0, 1) == [early]
    assert early.error is UNJUDGED
    assert not late.done


def test_a_verdict_on_one_text_of_a_call_outweighs_that_nothing_is_known_of_others(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    call = put(queue, "a", "b", "c")
    put(queue, "d")
    refusal = UpstreamRejected("too long", status=422)
    queue.settle(take(queue), [b""] * 4, refusal, {0: UNJUDGED, 1: refusal, 2: UNJUDGED})
    assert call.error is refusal


def test_who_is_told_to_come_again_does_not_return(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, "a", "b")
    unresolved = Unresolved("no calls left", retry_after=1)
    assert leave(queue, take(queue), 0, error=unresolved) == [call]
    assert call.error is unresolved


def test_who_returned_may_give_up(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    calls = [put(queue, "a"), put(queue, "b")]
    leave(queue, take(queue), 0, 1)
    for call in calls:
        assert queue.abandon(call, DeadlineExceeded("too late"))
    lane = lane_of(queue)
    assert (queue.calls, queue.queued_items, lane.waiting, lane.waiting_bytes, lane.oldest) == (0, 0, 0, 0, NEVER)


def test_who_returns_while_the_service_stops_is_served_all_the_same(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, "a")
    put(queue, "b")
    batch = take(queue)
    queue.close()
    leave(queue, batch, 0)
    assert succeed(queue, take(queue)) == [call]
    assert queue.take() is None
