"""The queue gives out the right batches at the right moment, ends in order, and counts to zero. No threads."""

from __future__ import annotations

import pytest

from batching import AdaptiveTiming, FixedTiming
from batching.errors import ShuttingDown
from batching.timing.rule import Decision, LaneState
from tests.batching.queue.steps import OTHER_KEY, ListeningTiming, assert_empty, fail, texts
from tests.support.fakes import FakeClock, items_of, put, queue_of, succeed, take, vector_of

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


def test_the_call_of_a_lone_client_is_never_held_by_the_adaptive_rule(clock: FakeClock) -> None:
    queue = queue_of(clock, timing=lambda: AdaptiveTiming(32, 0.1))
    for _ in range(100):
        put(queue, "text")
        arrived = clock.now()
        batch = take(queue)
        assert clock.now() == arrived
        clock.sleep(0.005)
        succeed(queue, batch)


# Splitting and merging


def test_a_large_call_is_split_and_put_together_in_order(clock: FakeClock) -> None:
    queue = queue_of(clock)
    call = put(queue, *texts(100))
    batches = [take(queue) for _ in range(4)]
    assert [len(batch.items) for batch in batches] == [32, 32, 32, 4]
    for batch in (batches[2], batches[0], batches[3]):
        assert succeed(queue, batch) == []
    assert call.missing == 32
    assert succeed(queue, batches[1]) == [call]
    assert call.results == [vector_of(item) for item in call.items]
    assert call.batch_size == 32
    assert_empty(queue)


def test_small_calls_share_a_batch_and_each_gets_its_own_results(clock: FakeClock) -> None:
    queue = queue_of(clock)
    calls = [put(queue, "a"), put(queue, "b", "c"), put(queue, "d")]
    batch = take(queue)
    assert batch.items == items_of("a", "b", "c", "d")
    assert succeed(queue, batch) == calls
    assert [call.results for call in calls] == [[vector_of(item) for item in call.items] for call in calls]
    assert [call.batch_size for call in calls] == [4, 4, 4]


def test_the_end_of_a_large_call_travels_with_what_came_after_it(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    large, small = put(queue, *texts(6)), put(queue, "x", "y")
    first, second = take(queue), take(queue)
    assert second.items == [*large.items[4:], *small.items]
    assert succeed(queue, second) == [small]
    assert succeed(queue, first) == [large]
    assert large.results == [vector_of(item) for item in large.items]


def test_the_bytes_of_a_batch_are_bounded(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_bytes=30)
    call = put(queue, *["x" * 8] * 7)  # ten bytes each, as JSON
    assert [len(take(queue).items) for _ in range(2)] == [3, 3]
    assert clock.now() == 0
    assert len(take(queue).items) == 1
    assert call.taken == 7


# The turns of several keys


def test_two_keys_never_share_a_batch_and_the_older_goes_first(clock: FakeClock) -> None:
    queue = queue_of(clock)
    clock.at(0.01, lambda: put(queue, "a"))
    clock.at(0.02, lambda: put(queue, "b", key=OTHER_KEY))
    clock.at(0.03, lambda: put(queue, "c"))
    assert (take(queue).items, round(clock.now(), 9)) == (items_of("a", "c"), 0.11)
    assert (take(queue).items, round(clock.now(), 9)) == (items_of("b"), 0.12)


def test_of_several_keys_that_are_due_the_one_with_the_oldest_call_goes_first(clock: FakeClock) -> None:
    waits = iter([5.0, 1.0])
    queue = queue_of(clock, timing=lambda: FixedTiming(next(waits)))
    put(queue, "old, and due late")
    clock.time = 1.0
    put(queue, "young, and due soon", key=OTHER_KEY)
    clock.time = 10.0
    assert take(queue).items == items_of("old, and due late")
    assert take(queue).items == items_of("young, and due soon")


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


# What timing rules are told


def test_timing_rules_are_told_what_arrived_what_left_and_beside_how_many(clock: FakeClock) -> None:
    timing = ListeningTiming()
    queue = queue_of(clock, timing=lambda: timing)
    clock.time = 5.0
    put(queue, "a", "b")
    first = take(queue)
    put(queue, "c")
    second = take(queue)
    clock.time = 6.0
    succeed(queue, first)
    fail(queue, second)
    assert timing.told == [
        ("arrived", 2, 0, 2, 5.0),
        ("sent", 0, 2, first, 2, 0, 5.0),
        ("arrived", 1, 2, 1, 5.0),
        ("sent", 0, 3, second, 1, 1, 5.0),
        ("completed", 0, 1, first, 6.0, True),
        ("completed", 0, 0, second, 6.0, False),
    ]
    assert timing.beside == {0, 1}


def test_the_timing_rule_is_told_that_a_batch_which_cannot_be_measured_teaches_nothing(clock: FakeClock) -> None:
    timing = ListeningTiming()
    queue = queue_of(clock, timing=lambda: timing)
    put(queue, "a")
    batch = take(queue)
    batch.is_measurable = False
    succeed(queue, batch)
    assert timing.told[-1] == ("completed", 0, 0, batch, 0.0, False)


def test_a_timing_rule_that_fails_costs_no_client_its_answer(clock: FakeClock) -> None:
    class Failing(FixedTiming):
        def completed(self, *what: object, **how: object) -> None:
            raise ZeroDivisionError

    queue = queue_of(clock, timing=lambda: Failing(0.0))
    call = put(queue, "a")
    assert succeed(queue, take(queue)) == [call]
    assert call.results == [vector_of(b'"a"')]
    assert_empty(queue)


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


def test_all_calls_that_have_not_ended_can_be_rejected(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    calls = [put(queue, *texts(5)), put(queue, "x"), put(queue, "y", key=OTHER_KEY)]
    batch = take(queue)
    assert queue.reject_all() == 3
    assert queue.reject_all() == 0
    assert all(isinstance(call.error, ShuttingDown) and call.event.is_set() for call in calls)
    assert [call.error.retry_after for call in calls if call.error is not None] == [1, 1, 1]
    assert succeed(queue, batch) == []
    assert_empty(queue)


def test_the_state_of_the_queue_can_be_read(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    put(queue, "a", "b", "c")
    take(queue)
    assert repr(queue) == (
        "<BatchQueue open: 1 calls, 1 items waiting, 2 in 1 batches, "
        "<Lanes [<Lane embed: 1 items of 3 bytes in 1 calls, 2 in flight>]>>"
    )
    queue.drain()
    assert repr(queue).startswith("<BatchQueue draining: ")
    queue.close()
    assert repr(queue).startswith("<BatchQueue closed: ")
