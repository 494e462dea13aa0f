"""Items that go again by themselves: each is a batch of its own, and what came later rides together as ever."""

from __future__ import annotations

import pytest

from batching.capacity import Outage, Slots
from batching.clock import NOW
from batching.errors import NoUpstream, ProxyError, UpstreamFailed
from batching.outcomes import Again
from tests.batching.queue.steps import assert_empty, lane_of, put_back, settle_except, texts
from tests.support.fakes import FakeClock, capacity_of, items_of, put, queue_of, succeed, take, vector_of

FAILURE = UpstreamFailed("the model threw")


def test_items_that_go_again_by_themselves_are_batches_of_one_before_what_came_later(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=3)
    calls = [put(queue, text) for text in ("a", "bb", "ccc")]
    batch = take(queue)
    clock.time = 1.0
    calls += [put(queue, text) for text in ("d", "e", "f")]
    assert put_back(queue, batch, 1, 2, error=FAILURE, retry_reason="failed", alone=True) == [calls[0]]
    lane = lane_of(queue)
    assert (queue.queued_items, lane.waiting, lane.waiting_bytes) == (5, 5, 4 + 5 + 9)
    alone = [take(queue), take(queue)]
    assert [each.items for each in alone] == [items_of("bb"), items_of("ccc")]
    assert all(each.is_suspect and each.retry_reason == "failed" for each in alone)
    together = take(queue)
    assert (together.items, together.is_suspect) == (items_of("d", "e", "f"), False)
    for each in (*alone, together):
        succeed(queue, each)
    assert [call.results for call in calls] == [[vector_of(item) for item in call.items] for call in calls]
    assert_empty(queue)


def test_they_do_not_wait_for_the_timing_rule(clock: FakeClock) -> None:
    queue = queue_of(clock)
    put(queue, "a")
    put(queue, "b")
    put_back(queue, take(queue), 0, 1, alone=True)
    before = clock.now()
    assert [take(queue).reason for _ in range(2)] == ["suspect"] * 2
    assert clock.now() == before


def test_of_a_call_of_several_texts_only_those_that_go_again_travel_by_themselves(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    call = put(queue, *texts(8))
    first = take(queue)
    assert put_back(queue, first, 1, 3, error=FAILURE, retry_reason="failed", alone=True) == []
    batches = [take(queue) for _ in range(3)]
    assert [each.items for each in batches] == [items_of("t1"), items_of("t3"), items_of("t4", "t5", "t6", "t7")]
    for each in batches:
        succeed(queue, each)
    assert call.results == [vector_of(item) for item in call.items]
    assert_empty(queue)


def test_of_one_call_some_items_may_go_by_themselves_and_others_with_all(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=4)
    call = put(queue, *texts(4))
    told: dict[int, ProxyError | Again] = {
        0: Again(FAILURE, "failed", alone=True),
        2: Again(FAILURE),
        3: Again(FAILURE),
    }
    assert settle_except(queue, take(queue), told) == []
    assert take(queue).items == items_of("t0")
    assert take(queue).items == items_of("t2", "t3")
    assert (call.waiting, call.missing) == (0, 3)


def test_an_item_goes_by_itself_once_and_the_second_failure_ends_its_call(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=2)
    calls = [put(queue, "a"), put(queue, "b")]
    put_back(queue, take(queue), 0, 1, error=FAILURE, retry_reason="failed", alone=True)
    for call in calls:
        assert put_back(queue, take(queue), 0, error=FAILURE, retry_reason="failed", alone=True) == [call]
        assert call.error is FAILURE
    assert_empty(queue)


@pytest.mark.parametrize(("deadline", "goes_again"), [(0.09, False), (0.5, True)])
def test_an_item_without_the_time_ends_its_call_with_the_failure(
    clock: FakeClock, deadline: float, goes_again: bool
) -> None:
    queue = queue_of(clock, max_batch_size=2)
    call = put(queue, "a", deadline=deadline)
    put(queue, "b")
    batch = take(queue)
    clock.time = 0.1
    ended = put_back(queue, batch, 0, 1, error=FAILURE, retry_reason="failed", alone=True)
    assert ended == ([] if goes_again else [call])
    assert call.error is (None if goes_again else FAILURE)


def test_items_that_go_by_themselves_are_the_probes_of_an_outage(clock: FakeClock) -> None:
    """An upstream that fails all of them is ejected while they wait: one tries it, the others wait or end."""
    capacity = capacity_of(max_batch_size=4)
    queue = queue_of(clock, capacity=capacity)
    calls = [put(queue, text) for text in texts(4)]
    batch = take(queue)
    capacity.change(slots=[Slots(1.0, 1)], outage=Outage(5.0, NoUpstream("down")))
    assert put_back(queue, batch, 0, 1, 2, 3, error=FAILURE, retry_reason="failed", alone=True) == []
    probe = take(queue)
    assert (probe.items, probe.taken_at) == (items_of("t0"), 1.0)
    capacity.change(slots=[Slots(NOW, 4)])
    for each in (probe, take(queue), take(queue), take(queue)):
        succeed(queue, each)
    assert [call.error for call in calls] == [None] * 4
    assert_empty(queue)
