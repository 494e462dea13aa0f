"""What one upstream cannot do is asked of another at once, and one that is broken or hangs costs clients little."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamFailed,
    UpstreamMisconfigured,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tests.upstream.pool_bench import PoolBench, busy
from upstream.breaker import Breaker
from upstream.retries import RETRY_FLOOR, RETRY_SHARE

if TYPE_CHECKING:
    from collections.abc import Callable

    PoolOf = Callable[..., PoolBench]

THREW = UpstreamFailed("it threw", reason="status 500")
WRONG_KEY = UpstreamMisconfigured("401", reason="status 401")
LATE = UpstreamTimeout("late")
BROKE = UpstreamBroke("reset")
DOWN = UpstreamUnavailable("refused")
REFUSAL = UpstreamRejected("422", status=422)
kinds = pytest.mark.parametrize("fault", [THREW, WRONG_KEY, LATE], ids=repr)


def let_fail_for_ever(bench: PoolBench, number: int, fault: UpstreamError) -> None:
    bench.upstreams[number].failures = [fault] * 10_000


# Which failures


@kinds
def test_another_upstream_is_asked_at_once(fault: UpstreamError) -> None:
    bench = PoolBench(2)
    bench.upstreams[0].failures = [fault]
    assert not bench.send().is_measurable
    assert (bench.asked, bench.clock.time, bench.jitters) == ([1, 1], 0.0, [])
    assert [report.retry_reason for report in bench.calls] == [None, fault.retry_reason]


@kinds
def test_where_there_is_no_other_it_is_not_asked_again(fault: UpstreamError) -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [fault]
    assert bench.fail() is fault
    assert (bench.asked, bench.clock.time) == ([1], 0.0)


@kinds
def test_it_is_asked_of_one_other_only(fault: UpstreamError) -> None:
    bench = PoolBench(3)
    for upstream in bench.upstreams:
        upstream.failures = [fault]
    assert bench.fail() is fault
    assert bench.asked == [1, 1, 0]


@pytest.mark.parametrize(("lasts", "asked"), [(1.0, [1, 0]), (1.001, [1, 1])])
def test_it_is_asked_of_another_only_where_time_is_left(lasts: float, asked: list[int]) -> None:
    bench = PoolBench(2, latency=1.0)
    bench.upstreams[0].failures = [LATE]
    if asked == [1, 1]:
        bench.send(lasts=lasts)
    else:
        assert bench.fail(lasts=lasts) is LATE
    assert bench.asked == asked


def test_a_batch_that_the_queue_took_back_is_asked_of_another_as_well() -> None:
    bench = PoolBench(2)
    bench.upstreams[0].failures = [THREW]
    bench.pool.send(bench.batch(retry_reason="broken"))
    assert bench.asked == [1, 1]


def test_a_refusal_is_believed() -> None:
    bench = PoolBench(2)
    bench.upstreams[0].failures = [REFUSAL]
    assert bench.fail() is REFUSAL
    assert bench.asked == [1, 0]


def prepare_down(bench: PoolBench) -> None:
    bench.pool.on_state("http://1", False, "it is down")


def prepare_paused(bench: PoolBench) -> None:
    bench.upstreams[1].failures = [busy(60.0)]
    while bench.upstreams[1].failures:
        bench.send()


def prepare_ejected(bench: PoolBench) -> None:
    bench.eject(1)


@kinds
@pytest.mark.parametrize("prepare", [prepare_down, prepare_paused, prepare_ejected])
def test_no_upstream_is_asked_instead_that_gets_no_calls(
    fault: UpstreamError, prepare: Callable[[PoolBench], None]
) -> None:
    bench = PoolBench(2)
    prepare(bench)
    before = bench.asked
    bench.upstreams[0].failures = [fault]
    assert bench.fail() is fault
    assert bench.asked == [before[0] + 1, before[1]]


def test_of_several_others_the_least_busy_is_asked(pool_of: PoolOf) -> None:
    bench = pool_of(3)
    bench.occupy(1, 2)
    before = bench.asked
    bench.upstreams[0].failures = [THREW]
    bench.upstreams[0].is_held = False
    bench.send()
    assert bench.asked == [before[0] + 1, before[1], before[2] + 1]


# How often


def test_inputs_on_which_both_fail_cost_a_tenth_more_calls_and_no_retry_of_an_outage() -> None:
    bench = PoolBench(2)
    for _ in range(500):
        for upstream in bench.upstreams:
            upstream.failures = [THREW]
        bench.fail("poison")
        for upstream in bench.upstreams:
            upstream.failures.clear()
        bench.send()
    seconds = sum(report.retry_reason == "failed" for report in bench.calls)
    assert 0.09 * 1000 <= seconds <= RETRY_FLOOR + RETRY_SHARE * 1000
    assert bench.observer.ejections == []
    assert f"<Retries <Budget {RETRY_FLOOR} of {RETRY_FLOOR:.0f}>" in repr(bench.pool)


def test_a_probe_that_fails_is_asked_of_another_whatever_was_spent() -> None:
    bench = PoolBench(2)
    bench.eject(0)
    for _ in range(100):  # each is ended by the only upstream there is
        bench.upstreams[1].failures = [THREW]
        bench.fail("poison")
        bench.send()
    let_fail_for_ever(bench, 0, THREW)
    for _ in range(20):
        bench.clock.time += Breaker.LONGEST
        before = bench.asked
        bench.send()
        assert bench.asked == [before[0] + 1, before[1] + 1]


# An upstream that fails every call


@pytest.mark.parametrize("fault", [THREW, WRONG_KEY, BROKE, DOWN], ids=repr)
def test_one_of_two_that_fails_every_call_costs_no_client_an_answer(fault: UpstreamError) -> None:
    bench = PoolBench(2)
    let_fail_for_ever(bench, 0, fault)
    for _ in range(50):
        bench.send()
    assert bench.asked == [Breaker.FAILURES, 50]
    assert bench.observer.ejections == ["http://0"]


@pytest.mark.parametrize("fault", [THREW, WRONG_KEY, BROKE, DOWN], ids=repr)
def test_neither_do_its_probes(fault: UpstreamError) -> None:
    bench = PoolBench(2)
    let_fail_for_ever(bench, 0, fault)
    for _ in range(100):
        bench.send()
        bench.clock.time += 1.0
    assert bench.asked[1] == 100


@pytest.mark.parametrize("fault", [UpstreamProtocolError("nonsense"), UpstreamError("599")], ids=repr)
def test_a_probe_costs_no_client_an_answer_however_it_fails(fault: UpstreamError) -> None:
    bench = PoolBench(2)
    bench.eject(0)
    let_fail_for_ever(bench, 0, fault)
    for _ in range(10):
        bench.clock.time += Breaker.LONGEST
        before = bench.asked[0]
        bench.send()
        assert bench.asked[0] == before + 1


def test_a_mistake_of_configuration_leaves_out_one_of_several_and_never_the_only_one() -> None:
    bench = PoolBench()
    let_fail_for_ever(bench, 0, WRONG_KEY)
    for _ in range(4 * Breaker.FAILURES):
        assert bench.fail() is WRONG_KEY
    assert (bench.asked, bench.observer.ejections) == ([4 * Breaker.FAILURES], [])
    assert bench.capacity.outage is None


@pytest.mark.parametrize("second", [THREW, REFUSAL], ids=repr)
def test_a_probe_is_forgiven_where_another_upstream_cannot_do_with_its_inputs_either(second: UpstreamError) -> None:
    bench = PoolBench(2)
    bench.eject(0)
    bench.clock.time += Breaker.FIRST
    bench.upstreams[0].failures, bench.upstreams[1].failures = [THREW], [second]
    assert bench.fail("poison") is second
    before = bench.asked
    bench.send()
    assert bench.asked == [before[0] + 1, before[1]]
    assert repr(bench.pool).count("closed") == 2


@pytest.mark.parametrize("second", [BROKE], ids=repr)
def test_it_is_not_where_the_other_failed_for_another_reason(second: UpstreamError) -> None:
    bench = PoolBench(2)
    bench.eject(0)
    bench.clock.time += Breaker.FIRST
    bench.upstreams[0].failures, bench.upstreams[1].failures = [THREW], [second]
    bench.fail()
    before = bench.asked
    bench.send()
    assert bench.asked == [before[0], before[1] + 1]


# An upstream that hangs


def test_one_of_two_that_hangs_is_left_out_after_one_call() -> None:
    bench = PoolBench(2)
    bench.upstreams[0].failures = [LATE]
    bench.upstreams[0]._latency = lambda size: 30.0
    bench.send()
    assert bench.observer.ejections == ["http://0"]
    bench.send()
    assert bench.asked == [1, 2]


def test_the_only_one_is_not() -> None:
    bench = PoolBench(latency=30.0)
    bench.upstreams[0].failures = [LATE]
    bench.fail()
    assert bench.observer.ejections == []


def test_one_that_answered_another_call_meanwhile_has_not_hung(pool_of: PoolOf) -> None:
    bench = pool_of(2)
    bench.occupy(0, 2)
    bench.clock.time = 29.0
    bench.workers.let_go_on(bench.upstreams[0], 1)
    bench.clock.time = 30.0
    bench.let_fail(0, LATE)
    assert bench.observer.ejections == []
