"""A lane learns from its batches how long they take and how many of their items are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import FixedTiming, Outcomes
from batching.errors import UpstreamError
from batching.queue.lanes import LATENCY_WEIGHT, Lane
from tests.batching.queue.steps import OTHER_KEY, fail, lane_of, put_back, settle_except, texts
from tests.support.fakes import KEY, FakeClock, capacity_of, limits_of, put, queue_of, results_of, succeed, take

if TYPE_CHECKING:
    from batching import Batch, BatchQueue


def test_the_latency_of_a_lane_is_a_moving_average() -> None:
    lane = Lane(KEY, FixedTiming(0.1), limits_of(), capacity_of())
    lane.learn_latency(1.0)
    assert lane.latency == 1.0
    lane.learn_latency(2.0)
    assert lane.latency == pytest.approx(1.0 + LATENCY_WEIGHT)
    lane.learn_latency(1.0 + LATENCY_WEIGHT)
    assert lane.latency == pytest.approx(1.0 + LATENCY_WEIGHT)


def test_only_batches_that_went_well_and_can_be_measured_teach_the_latency(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=1)

    def batch_that_takes(seconds: float) -> Batch:
        put(queue, "a")
        batch = take(queue)
        clock.time += seconds
        return batch

    for seconds in (1.0, 2.0):
        succeed(queue, batch_that_takes(seconds))
    fail(queue, batch_that_takes(100.0))
    retried = batch_that_takes(100.0)
    retried.is_measurable = False
    succeed(queue, retried)
    settle_except(queue, batch_that_takes(100.0), {})
    assert lane_of(queue).latency == pytest.approx(1.0 + LATENCY_WEIGHT)


def learned_share(queue: BatchQueue, outcomes: Outcomes) -> float:
    """Settle a batch like this; return the share of refused items that the lane has learned."""
    for text in texts(4):
        put(queue, text)
    queue.settle(take(queue), outcomes)
    return lane_of(queue).rejections.share


def test_a_lane_learns_how_many_of_its_items_were_refused(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    error = UpstreamError("boom")
    assert learned_share(queue, Outcomes.results([b"[]"] * 4)) == 0.0
    assert learned_share(queue, Outcomes([error] * 4, error, rejected=1, judged=4)) == pytest.approx(1 / 36)
    assert learned_share(queue, Outcomes.results([b"[]"] * 4)) == pytest.approx(1 / 40)
    assert learned_share(queue, Outcomes([error] * 4, error, rejected=2, judged=2)) == pytest.approx(3 / 42)


def test_a_batch_that_failed_as_a_whole_teaches_nothing_of_its_items(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    assert learned_share(queue, Outcomes.failed(UpstreamError("boom"), 4)) == 0.0
    assert learned_share(queue, Outcomes.again(UpstreamError("boom"), 4, "overloaded")) == 0.0


def test_a_batch_of_untested_items_teaches_nothing_of_them(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    put(queue, "a")
    put(queue, "b")
    put_back(queue, take(queue), 0, 1)
    assert lane_of(queue).rejections.share == 0.0


def test_a_lane_whose_batches_become_smaller_is_full_the_sooner(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=8, timing=lambda: FixedTiming(100.0))
    put(queue, *"abcdefgh")
    batch = take(queue)
    put(queue, "i", "j")
    lane = lane_of(queue)
    assert (lane.is_full, lane.most_items) == (False, 8)
    queue.settle(batch, Outcomes(results_of(batch), UpstreamError("boom"), rejected=8, judged=8))
    assert (lane.is_full, lane.most_items) == (True, 2)
    assert (lane.waiting, lane.waiting_bytes) == (2, 6)
    assert (take(queue).reason, clock.now()) == ("full", 0.0)


def test_refused_items_of_one_key_leave_the_batches_of_another_as_large_as_they_are(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=8)
    put(queue, *"abcdefgh")
    batch = take(queue)
    queue.settle(batch, Outcomes([UpstreamError("boom")] * 8, UpstreamError("boom"), rejected=8, judged=8))
    put(queue, *"abcdefgh", key=OTHER_KEY)
    put(queue, *"abcdefgh")
    assert [(batch.key, len(batch.items)) for batch in (take(queue), take(queue))] == [(OTHER_KEY, 8), (KEY, 2)]
