"""The pool lets the queue give out as many batches as the upstreams take, at every moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching.errors import UpstreamError, UpstreamRejected
from tests.upstream.pool_bench import PoolBench, busy
from upstream.breaker import Breaker
from upstream.member import RETRY_SOON
from upstream.outage import PROBE_GRACE

if TYPE_CHECKING:
    from collections.abc import Callable

    PoolOf = Callable[..., PoolBench]

#: Batches that each upstream of these pools takes at once.
EACH = 4
FAILURES = [UpstreamError("500")] * Breaker.FAILURES


def cut(bench: PoolBench, number: int) -> None:
    """Let an upstream say that it has too much: its window is halved. The retry makes no window grow that is full."""
    bench.upstreams[number].failures = [busy(0.0)]
    while bench.upstreams[number].failures:
        bench.send()
    bench.clock.time = 0.0  # the retry may have waited for a moment


def pause(bench: PoolBench, number: int, seconds: float) -> None:
    """Let an upstream ask for a pause; its window is halved as well."""
    bench.upstreams[number].failures = [busy(seconds)]
    while bench.upstreams[number].failures:
        try:
            bench.pool.send(bench.batch())
        except UpstreamError:
            continue


def probe(bench: PoolBench, number: int) -> None:
    """Have an ejected upstream tried by a call that stays under way."""
    bench.upstreams[number].is_held = True
    bench.workers.start(bench.send, bench.upstreams[number])


# In each state, at moments from the present (0.0) on.


def all_are_well(bench: PoolBench) -> None:
    """Nothing has happened."""


def one_has_too_much(bench: PoolBench) -> None:
    cut(bench, 0)


def one_is_paused(bench: PoolBench) -> None:
    pause(bench, 0, 2.0)


def both_are_paused(bench: PoolBench) -> None:
    pause(bench, 0, 2.0)
    pause(bench, 1, 3.0)


def one_is_ejected(bench: PoolBench) -> None:
    bench.eject(0)


def one_was_seen_to_answer(bench: PoolBench) -> None:
    bench.eject(0)
    bench.pool.on_state("http://0", True)


def one_is_tried(bench: PoolBench) -> None:
    one_was_seen_to_answer(bench)
    probe(bench, 0)


def both_are_ejected(bench: PoolBench) -> None:
    bench.eject(0)
    bench.eject(1)


def one_of_the_ejected_was_seen_to_answer(bench: PoolBench) -> None:
    both_are_ejected(bench)
    bench.pool.on_state("http://1", True)


def one_of_the_ejected_is_tried(bench: PoolBench) -> None:
    one_of_the_ejected_was_seen_to_answer(bench)
    probe(bench, 1)


def both_are_tried(bench: PoolBench) -> None:
    one_of_the_ejected_is_tried(bench)
    bench.pool.on_state("http://0", True)
    probe(bench, 0)


def one_is_paused_and_one_ejected(bench: PoolBench) -> None:
    bench.eject(1)
    pause(bench, 0, 2.0)


def calls_hang_at_an_ejected_one(bench: PoolBench) -> None:
    bench.occupy(0, 3 + Breaker.FAILURES)
    bench.let_fail(0, *FAILURES)


def calls_hang_at_a_paused_one(bench: PoolBench) -> None:
    bench.occupy(0, 4)
    bench.let_fail(0, busy(2.0))


def more_calls_hang_than_a_window_has_after_its_cut(bench: PoolBench) -> None:
    bench.occupy(0, 4)
    bench.let_fail(0, busy(0.0))


def calls_hang_at_both_ejected_ones(bench: PoolBench) -> None:
    bench.occupy(0, 2 + Breaker.FAILURES)
    bench.let_fail(0, *FAILURES)
    bench.eject(1)


@pytest.mark.parametrize(
    ("state", "slots"),
    [
        (all_are_well, {0.0: 8}),
        (one_has_too_much, {0.0: 4, RETRY_SOON: 2 + 4}),
        (one_is_paused, {0.0: 4, 1.999: 4, 2.0: 2 + 4}),
        (both_are_paused, {0.0: 0, 1.999: 0, 2.0: 2, 2.999: 2, 3.0: 2 + 2}),
        (one_is_ejected, {0.0: 4, 0.999: 4, 1.0: 1 + 4}),
        (one_was_seen_to_answer, {0.0: 1 + 4}),
        (one_is_tried, {0.0: 1 + 4, 9.0: 1 + 4}),
        (both_are_ejected, {0.0: 0, 0.999: 0, 1.0: 2}),
        (one_of_the_ejected_was_seen_to_answer, {0.0: 1, 0.999: 1, 1.0: 2}),
        (one_of_the_ejected_is_tried, {0.0: 1, 0.999: 1, 1.0: 2}),
        (both_are_tried, {0.0: 2, 9.0: 2}),
        (one_is_paused_and_one_ejected, {0.0: 0, 0.999: 0, 1.0: 1, 1.999: 1, 2.0: 1 + 2}),
        # Calls that hang are counted on top of what the other takes, for the queue counts them as well.
        (calls_hang_at_an_ejected_one, {0.0: 3 + 4, 0.999: 3 + 4, 1.0: 3 + 4 + 1}),
        (calls_hang_at_a_paused_one, {0.0: 3 + 4, 1.999: 3 + 4, 2.0: 3 + 4}),
        (more_calls_hang_than_a_window_has_after_its_cut, {0.0: 3 + 4}),
        (calls_hang_at_both_ejected_ones, {0.0: 2, 0.999: 2, 1.0: 2 + 2}),
    ],
)
def test_in_each_state_so_many_batches_may_be_in_flight(
    pool_of: PoolOf, state: Callable[[PoolBench], None], slots: dict[float, int]
) -> None:
    bench = pool_of(2, each=EACH)
    state(bench)
    assert bench.clock.time == 0.0
    assert bench.slots_at(*slots) == list(slots.values())


@pytest.mark.parametrize(
    ("state", "opens_at", "next_rise"),
    [
        (one_is_paused, 0.0, 2.0),
        (both_are_paused, 2.0, 2.0),
        (one_is_paused_and_one_ejected, 1.0, 1.0),
        (one_is_ejected, 0.0, 1.0),
        (both_are_ejected, 1.0, 1.0),
    ],
)
def test_the_queue_is_told_when_more_can_leave(
    pool_of: PoolOf, state: Callable[[PoolBench], None], opens_at: float, next_rise: float
) -> None:
    bench = pool_of(2, each=EACH)
    state(bench)
    assert (bench.capacity.opens_at(0.0), bench.capacity.next_rise(0.0)) == (opens_at, next_rise)


# While all are ejected


@pytest.mark.parametrize(
    ("state", "ends_at", "under_way"),
    [
        (both_are_ejected, 0.0, 0),
        (one_of_the_ejected_was_seen_to_answer, 0.0, 0),
        (one_of_the_ejected_is_tried, PROBE_GRACE, 1),
        (both_are_tried, PROBE_GRACE, 2),
        (calls_hang_at_both_ejected_ones, 0.0, 2),
    ],
)
def test_while_all_are_ejected_calls_wait_for_a_probe_under_way_and_one_item_is_one_batch(
    pool_of: PoolOf, state: Callable[[PoolBench], None], ends_at: float, under_way: int
) -> None:
    bench = pool_of(2, each=EACH)
    state(bench)
    outage = bench.capacity.outage
    assert outage is not None
    assert (outage.ends_at, outage.under_way, bench.capacity.batch_size) == (ends_at, under_way, 1)


@pytest.mark.parametrize("state", [all_are_well, one_is_ejected, both_are_paused, one_is_paused_and_one_ejected])
def test_while_one_is_not_ejected_there_is_no_outage(pool_of: PoolOf, state: Callable[[PoolBench], None]) -> None:
    bench = pool_of(2, each=EACH, wait=5.0)
    state(bench)
    assert bench.capacity.outage is None
    assert bench.capacity.batch_size == bench.capacity.full_batch_size > 1


def test_a_pool_that_nothing_happened_to_leaves_the_capacity_as_it_was_built() -> None:
    assert PoolBench(3, each=2).slots == 6


def test_calls_that_end_at_an_upstream_whose_window_was_cut_are_followed_by_no_others(pool_of: PoolOf) -> None:
    bench = pool_of()
    bench.occupy(0, 4)
    bench.upstreams[0].failures = [busy(2.0)]
    left = []
    for _ in range(4):
        bench.workers.let_go_on(bench.upstreams[0], 1)
        left.append(bench.slots)
    assert left == [3, 2, 1, 0]
    bench.clock.time = 2.0
    assert bench.slots == 3  # the three that came back well let the window of 2 grow by one


def test_the_window_is_cut_once_for_all_calls_that_were_under_way_together(pool_of: PoolOf) -> None:
    bench = pool_of(each=8)
    bench.occupy(0, 3)
    bench.clock.time = 1.0
    for _ in range(3):
        bench.let_fail(0, busy(1.0))
    bench.clock.time = 2.0
    assert bench.slots == 4


def test_a_cut_window_grows_again_with_calls_that_come_back_well() -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [busy(0.0)]
    bench.send()
    assert bench.slots == 2
    for _ in range(20):
        bench.send()
    assert bench.slots == 4


@pytest.mark.parametrize("refused", [False, True])
def test_refused_calls_let_a_window_grow_as_well_and_probes_do_not(refused: bool) -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [busy(2.0)]
    bench.hold_back()
    bench.clock.time = 2.0
    bench.eject(0)
    bench.clock.time += Breaker.FIRST
    slots = []
    for _ in range(4):  # a probe, and then 2 -> 2.5 -> 2.9 -> 3.2
        bench.upstreams[0].failures = [UpstreamRejected("422", status=422)] if refused else []
        if refused:
            bench.fail()
        else:
            bench.send()
        slots.append(bench.slots)
    assert slots == [2, 2, 2, 3]
