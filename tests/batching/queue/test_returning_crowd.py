"""When the clients of a batch return one by one, an idle thread looks once instead of being woken by each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import FixedTiming
from batching.queue.batch_queue import LOOK_AGAIN
from batching.timing.rule import Decision, LaneState
from tests.batching.queue.steps import RecordingClock
from tests.support.fakes import Deadlock, FakeClock, capacity_of, put, queue_of, succeed, take

if TYPE_CHECKING:
    from batching import BatchQueue


class SoonerWithMore(FixedTiming):
    """The more items wait the sooner the batch is due, and three at once."""

    def decide(self, lane: LaneState, in_flight: int, now: float) -> Decision:
        return Decision(now if lane.is_full or lane.waiting >= 3 else lane.oldest + 10.0 / lane.waiting, "crowd")


def crowd_back(clock: FakeClock, *texts: str) -> BatchQueue:
    """Return a queue whose batch of these texts took from moment 0.5 to 1.5."""
    clock.time = 0.5
    capacity = capacity_of(max_batch_size=len(texts))
    queue = queue_of(clock, capacity=capacity, timing=lambda: SoonerWithMore(0.0))
    put(queue, *texts)
    batch = take(queue)
    clock.time = 1.5
    succeed(queue, batch)
    capacity.change(batch_size=32)
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


def test_a_look_whose_moment_has_passed_is_left_out() -> None:
    clock = RecordingClock()
    queue = crowd_back(clock, "a", "b", "c")
    clock.time = 1.5 + LOOK_AGAIN
    clock.at(2.0, queue.close)
    assert queue.take() is None
    assert clock.timeouts == [None]
