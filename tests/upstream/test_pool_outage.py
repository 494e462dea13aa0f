"""While no upstream can be reached batches wait in the queue; what inputs may have caused goes back only once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching.clock import NOW
from batching.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamFailed,
    UpstreamGateway,
    UpstreamMisconfigured,
    UpstreamPaused,
    UpstreamUnavailable,
)
from tests.upstream.pool_bench import PoolBench, busy
from upstream.breaker import Breaker
from upstream.member import RETRY_SOON
from upstream.outage import PROBE_GRACE
from upstream.pool import BACKOFF
from upstream.retries import RETRY_FLOOR, RETRY_SHARE

if TYPE_CHECKING:
    from collections.abc import Callable

    PoolOf = Callable[..., PoolBench]

WAIT = 5.0
DOWN = UpstreamUnavailable("cannot be reached", retry_after=1, reason="connection refused")
BROKE = UpstreamBroke("reset")
GATEWAY = UpstreamGateway("502", reason="status 502")
THREW = UpstreamFailed("it threw", reason="status 500")


def let_fail_for_ever(bench: PoolBench, number: int, fault: UpstreamError) -> None:
    bench.upstreams[number].failures = [fault] * 1000


# It cannot be reached


def test_a_batch_of_the_only_upstream_goes_back_at_once_as_often_as_it_takes() -> None:
    bench = PoolBench(wait=WAIT)
    bench.upstreams[0].failures = [DOWN] * 3
    for _ in range(3):
        paused = bench.hold_back()
        assert (paused.answer, paused.retry_of) == (DOWN, None)
    assert (bench.asked, bench.clock.time) == ([3], 0.0)
    assert [report.retry_reason for report in bench.calls] == [None] * 3


def test_its_retries_end_with_the_budget_and_it_goes_back_all_the_same() -> None:
    bench = PoolBench(2, wait=WAIT)
    for _ in range(100):
        for upstream in bench.upstreams:
            upstream.failures = [DOWN]
        assert bench.hold_back().answer is DOWN
        for upstream in bench.upstreams:
            upstream.failures.clear()
        for _ in bench.upstreams:
            bench.send()
    retries = sum(report.retry_reason is not None for report in bench.calls)
    assert 0.09 * 300 <= retries <= RETRY_FLOOR + RETRY_SHARE * 300


def test_with_another_upstream_it_moves_there() -> None:
    bench = PoolBench(2, wait=WAIT)
    bench.upstreams[0].failures = [DOWN]
    bench.send()
    assert (bench.asked, bench.clock.time) == ([1, 1], 0.0)


@pytest.mark.parametrize("fault", [DOWN, BROKE, GATEWAY], ids=repr)
def test_one_that_has_nothing_to_do_is_tried_soon_and_often(fault: UpstreamError) -> None:
    bench = PoolBench(wait=WAIT)
    let_fail_for_ever(bench, 0, fault)
    while not bench.observer.ejections:
        bench.hold_back()
    for _ in range(10):
        before = bench.asked[0]
        bench.clock.time += RETRY_SOON
        bench.hold_back()
        assert bench.asked[0] > before


def test_where_all_are_left_out_it_waits_in_the_queue() -> None:
    bench = PoolBench(wait=WAIT)
    let_fail_for_ever(bench, 0, DOWN)
    while not bench.observer.ejections:
        bench.hold_back()
    assert bench.find_none().status == 503
    assert bench.asked == [Breaker.FAILURES]


def test_a_probe_that_cannot_be_made_goes_back_too() -> None:
    bench = PoolBench(wait=WAIT)
    let_fail_for_ever(bench, 0, DOWN)
    while not bench.observer.ejections:
        bench.hold_back()
    bench.clock.time = Breaker.FIRST
    assert bench.hold_back().answer is DOWN
    assert bench.asked == [Breaker.FAILURES + 1]


def test_without_a_time_to_wait_it_is_repeated_once_and_fails() -> None:
    bench = PoolBench()
    let_fail_for_ever(bench, 0, DOWN)
    assert bench.fail() is DOWN
    assert (bench.asked, bench.clock.time) == ([2], BACKOFF)


# Something between has failed


@pytest.mark.parametrize("fault", [GATEWAY, UpstreamGateway("504", status=504), BROKE], ids=repr)
def test_a_failure_between_is_repeated_once_within_the_budget(fault: UpstreamError) -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [fault]
    bench.send()
    assert [report.retry_reason for report in bench.calls] == [None, fault.retry_reason]
    let_fail_for_ever(bench, 0, fault)
    assert bench.fail() is fault
    assert bench.asked == [4]


@pytest.mark.parametrize("fault", [GATEWAY, BROKE], ids=repr)
def test_a_batch_that_met_it_goes_back_once_for_its_inputs_may_be_the_cause(fault: UpstreamError) -> None:
    bench = PoolBench(wait=WAIT)
    bench.upstreams[0].failures = [fault] * 3
    paused = bench.hold_back("poison")
    assert (paused.answer, paused.retry_of) == (fault, fault.retry_reason)
    with pytest.raises(type(fault)):
        bench.pool.send(bench.batch("poison", retry_reason=fault.retry_reason))
    assert bench.asked == [3]


@pytest.mark.parametrize("fault", [GATEWAY, BROKE], ids=repr)
def test_where_other_inputs_have_met_it_too_it_goes_back_as_often_as_it_takes(fault: UpstreamError) -> None:
    bench = PoolBench(wait=WAIT)
    let_fail_for_ever(bench, 0, fault)
    bench.hold_back("one")
    paused = bench.hold_back("two")
    assert (paused.answer, paused.retry_of) == (fault, None)
    with pytest.raises(UpstreamPaused):
        bench.pool.send(bench.batch("two", retry_reason=fault.retry_reason))


@pytest.mark.parametrize("fault", [GATEWAY, BROKE], ids=repr)
def test_a_probe_that_meets_it_goes_back_as_often_as_it_takes(fault: UpstreamError) -> None:
    bench = PoolBench(wait=WAIT)
    bench.eject(0)
    let_fail_for_ever(bench, 0, fault)
    for _ in range(3):
        bench.clock.time += Breaker.LONGEST
        with pytest.raises(UpstreamPaused):
            bench.pool.send(bench.batch("poison", retry_reason=fault.retry_reason))


@pytest.mark.parametrize("fault", [GATEWAY, BROKE], ids=repr)
def test_one_input_alone_never_makes_it_an_outage_and_two_do(fault: UpstreamError) -> None:
    bench = PoolBench()
    let_fail_for_ever(bench, 0, fault)
    for _ in range(2 * Breaker.FAILURES):
        bench.fail("poison")
    assert bench.observer.ejections == []
    bench.fail("another")
    assert bench.observer.ejections == ["http://0"]


def test_what_the_inputs_did_does_not_go_back() -> None:
    bench = PoolBench(wait=WAIT)
    bench.upstreams[0].failures = [THREW]
    assert bench.fail() is THREW


def test_the_pause_that_an_unready_upstream_asks_for_is_kept_where_batches_wait() -> None:
    bench = PoolBench(wait=WAIT)
    bench.upstreams[0].failures = [busy(2.0, UpstreamUnavailable)]
    bench.hold_back()
    assert (bench.capacity.opens_at(0.0), bench.slots_at(0.0, 2.0)) == (2.0, [0, 2])
    bench.clock.time = 2.0
    bench.send()


# How long it is waited for


def let_all_fail(bench: PoolBench, *faults: UpstreamError) -> None:
    """Let each upstream fail in its way until all are ejected; each call is made of both."""
    while len(bench.observer.ejections) < len(bench.upstreams):
        for upstream, fault in zip(bench.upstreams, faults, strict=True):
            upstream.failures = [fault] * 2
        bench.fail()
    for upstream in bench.upstreams:
        upstream.failures = []


@pytest.mark.parametrize(
    ("faults", "ends_at", "status"),
    [
        ([DOWN], 5.0, 503),
        ([THREW], NOW, 502),
        ([DOWN, DOWN], 5.0, 503),
        ([THREW, THREW], NOW, 502),
        ([DOWN, THREW], 5.0, 503),  # one of them may come back
        ([THREW, DOWN], 5.0, 503),
    ],
    ids=str,
)
def test_calls_wait_for_upstreams_that_cannot_be_reached_and_not_for_those_that_answer_badly(
    pool_of: PoolOf, faults: list[UpstreamError], ends_at: float, status: int
) -> None:
    bench = pool_of(len(faults), wait=5.0)
    let_all_fail(bench, *faults)
    outage = bench.capacity.outage
    assert outage is not None
    assert (outage.ends_at, outage.error.status, bench.clock.time) == (ends_at, status, 0.0)
    answer = bench.find_none()
    assert (answer.status, answer.retry_after) == (status, Breaker.FIRST)
    assert ("status 500" in answer.message) is (status == 502)


def test_what_clients_are_told_of_it_names_no_address_and_none_of_the_upstreams_words(pool_of: PoolOf) -> None:
    bench = pool_of(2, wait=WAIT)
    fault = UpstreamMisconfigured("307", reason="status 307, which leads to 'http://10.1.2.3/x': see other")
    let_all_fail(bench, fault, fault)
    answer = bench.find_none()
    assert answer.status == 502
    assert "10.1.2.3" not in answer.message
    assert "see other" not in answer.message


def test_an_outage_is_as_long_as_calls_wait_from_its_beginning_on_and_probes_do_not_prolong_it(
    pool_of: PoolOf,
) -> None:
    bench = pool_of(wait=5.0)
    bench.clock.time = 100.0
    bench.upstreams[0].failures = [DOWN] * 1000
    ends = []
    while bench.clock.time < 110.0:
        bench.hold_back()
        if bench.capacity.outage is not None:
            ends.append(bench.capacity.outage.ends_at)
            bench.clock.time += 1.0
    assert set(ends) == {105.0}


def test_while_it_lasts_a_probe_under_way_is_waited_for_past_its_end(pool_of: PoolOf) -> None:
    bench = pool_of(wait=5.0)
    let_all_fail(bench, DOWN)
    for moment, ends_at in ((1.0, 5.0), (7.0, 7.0 + PROBE_GRACE)):
        bench.clock.time = moment
        bench.upstreams[0].is_held = True
        bench.workers.start(bench.send, bench.upstreams[0])
        assert bench.capacity.outage is not None
        assert bench.capacity.outage.ends_at == ends_at
        bench.let_fail(0, DOWN)
        bench.pool.on_state("http://0", True)


def test_the_probe_that_succeeds_ends_it_and_the_next_begins_anew(pool_of: PoolOf) -> None:
    bench = pool_of(wait=5.0)
    let_all_fail(bench, DOWN)
    bench.clock.time = 1.0
    bench.send()
    assert bench.capacity.outage is None
    bench.clock.time = 50.0
    bench.observer.ejections.clear()
    let_all_fail(bench, DOWN)
    assert bench.capacity.outage is not None
    assert bench.capacity.outage.ends_at == 55.0
