"""Flows in one queue: places by weight, none starves, and a cap on the calls of each."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from batching.errors import ClientGone, Overloaded
from batching.rank import Flow, Rank
from tests.batching.queue.steps import assert_empty, fail, lane_of, put_back
from tests.support.fakes import FakeClock, call_of, queue_of, succeed, take

if TYPE_CHECKING:
    from collections.abc import Callable

    from batching import BatchQueue, Call

MOST, CALL = 16, 0.02
NAMES = itertools.count()


@pytest.fixture
def queue(clock: FakeClock) -> BatchQueue:
    return queue_of(clock, max_batch_size=MOST, max_inflight_batches=1, deduplicate=True, bulk_max_wait=5.0)


def put(queue: BatchQueue, flow: Flow | None, *texts: str, is_bulk: bool = False) -> Call:
    call = call_of(*(texts or [f"{next(NAMES)}"]))
    call.rank = Rank(is_bulk=is_bulk, flow=flow)
    queue.put(call)
    return call


def rounds(queue: BatchQueue, clock: FakeClock, fill: Callable[[], object], count: int) -> Counter[Flow | None]:
    """Send so many batches, each after ``fill`` has put what clients ask for; return how many items each flow got."""
    got: Counter[Flow | None] = Counter()
    for _ in range(count):
        fill()
        batch = take(queue)
        for part in batch.parts:
            got[part.call.rank.flow] += part.stop - part.start
        clock.sleep(CALL)
        succeed(queue, batch)
    return got


@pytest.mark.parametrize("is_bulk", [False, True])
def test_flows_get_items_by_their_weights(queue: BatchQueue, clock: FakeClock, is_bulk: bool) -> None:
    flows = [Flow("one", weight=1), Flow("two", weight=2), Flow("four", weight=4)]

    def fill() -> None:
        for flow in flows:
            while flow.calls < 2 * MOST:
                put(queue, flow, is_bulk=is_bulk)

    got = rounds(queue, clock, fill, 42)
    whole = sum(got.values())
    assert [got[flow] / whole for flow in flows] == pytest.approx([1 / 7, 2 / 7, 4 / 7], rel=0.05)


def test_a_flood_by_one_flow_does_not_keep_the_others_waiting(queue: BatchQueue, clock: FakeClock) -> None:
    flood, quiet = Flow("flood"), [Flow(f"quiet {number}") for number in range(9)]
    waits: list[float] = []

    def fill() -> None:
        while flood.calls < 200:
            put(queue, flood)
        for flow in quiet:
            while flow.calls < 2:
                put(queue, flow)

    for _ in range(40):
        fill()
        batch = take(queue)
        waits += [batch.taken_at - part.call.arrived for part in batch.parts if part.call.rank.flow in quiet]
        clock.sleep(CALL)
        succeed(queue, batch)
    assert max(waits) <= 3 * CALL


def test_long_texts_that_fill_a_batch_by_their_bytes_leave_room_for_the_other_flow(clock: FakeClock) -> None:
    queue = queue_of(clock, max_batch_size=MOST, max_batch_bytes=4000, max_inflight_batches=1)
    long, other = Flow("long"), Flow("other")

    def fill() -> None:
        for flow in (long, other):
            while flow.calls < 30:
                put(queue, flow, f"{next(NAMES)}".ljust(900))

    got = rounds(queue, clock, fill, 30)
    assert got[long] == pytest.approx(got[other], rel=0.1)


def test_calls_without_a_flow_of_their_own_share_with_the_flows(queue: BatchQueue, clock: FakeClock) -> None:
    flow = Flow("own", weight=3)

    def fill() -> None:
        while queue.calls < 100:
            put(queue, None)
        while flow.calls < 50:
            put(queue, flow)

    got = rounds(queue, clock, fill, 24)
    assert got[flow] / got[None] == pytest.approx(3, rel=0.1)


def test_a_suspect_in_front_leaves_though_its_flow_has_no_turn(queue: BatchQueue, clock: FakeClock) -> None:
    first, second = Flow("first"), Flow("second")
    suspect = call_of("suspect")
    suspect.rank = Rank(flow=first)
    suspect.suspects = frozenset({0})
    queue.put(suspect)
    for _ in range(3 * MOST):
        put(queue, second)
    assert [part.call for part in take(queue).parts] == [suspect]


def test_nothing_is_kept_of_flows_that_have_left(queue: BatchQueue, clock: FakeClock) -> None:
    flows = [Flow(f"{number}") for number in range(50)]
    for flow in flows:
        put(queue, flow)
    while queue.queued_items:
        succeed(queue, take(queue))
    assert lane_of(queue).demands is None
    assert {flow.calls for flow in flows} == {0}
    assert_empty(queue)


# ---- caps ---------------------------------------------------------------------------------------


def test_a_cap_refuses_and_names_its_flow(queue: BatchQueue) -> None:
    flow = Flow("searches", most_calls=2)
    put(queue, flow)
    put(queue, flow)
    with pytest.raises(Overloaded, match="searches") as refused:
        put(queue, flow)
    assert refused.value.flow is flow
    assert (flow.calls, queue.calls, queue.queued_items) == (2, 2, 2)
    put(queue, Flow("others", most_calls=2))


def test_a_call_that_the_limits_refuse_is_not_counted_into_its_flow(clock: FakeClock) -> None:
    queue = queue_of(clock, max_calls=1)
    flow = Flow("searches")
    put(queue, flow)
    with pytest.raises(Overloaded):
        put(queue, flow)
    assert flow.calls == 1


def end_by_results(queue: BatchQueue, call: Call) -> None:
    succeed(queue, take(queue))


def end_by_failure(queue: BatchQueue, call: Call) -> None:
    fail(queue, take(queue))


def end_by_hang_up_while_it_waits(queue: BatchQueue, call: Call) -> None:
    queue.abandon(call, ClientGone("gone"))


def end_by_hang_up_in_flight(queue: BatchQueue, call: Call) -> None:
    batch = take(queue)
    queue.abandon(call, ClientGone("gone"))
    succeed(queue, batch)


def end_by_a_deadline(queue: BatchQueue, call: Call) -> None:
    call.deadline = -1.0
    queue.close()
    assert queue.take() is None


def end_by_another_try(queue: BatchQueue, call: Call) -> None:
    put_back(queue, take(queue), 0)
    assert call.rank.flow is not None
    assert call.rank.flow.calls == 1
    succeed(queue, take(queue))


def end_by_a_dead_thread(queue: BatchQueue, call: Call) -> None:
    take(queue).owner = -1
    queue.fail_orphans([])


def end_with_the_service(queue: BatchQueue, call: Call) -> None:
    queue.reject_all()


def end_by_an_equal_item(queue: BatchQueue, call: Call) -> None:
    batch = take(queue)
    assert call.rank.flow is not None
    equal = put(queue, call.rank.flow, "text")
    assert call.rank.flow.calls == 2
    succeed(queue, batch)
    assert equal.shared


@pytest.mark.parametrize(
    "end",
    [
        end_by_results,
        end_by_failure,
        end_by_hang_up_while_it_waits,
        end_by_hang_up_in_flight,
        end_by_a_deadline,
        end_by_another_try,
        end_by_a_dead_thread,
        end_with_the_service,
        end_by_an_equal_item,
    ],
)
@pytest.mark.parametrize("is_bulk", [False, True])
def test_a_call_is_counted_out_of_its_flow_however_it_ends(
    queue: BatchQueue, end: Callable[[BatchQueue, Call], None], is_bulk: bool
) -> None:
    flow = Flow("searches")
    call = put(queue, flow, "text", is_bulk=is_bulk)
    assert flow.calls == 1
    end(queue, call)
    assert call.done
    assert flow.calls == 0
