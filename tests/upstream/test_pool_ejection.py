"""The pool leaves an upstream out that fails again and again, tries it with one batch, and takes it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching.errors import (
    UpstreamBroke,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tests.upstream.pool_bench import PoolBench, busy
from upstream.breaker import Breaker
from upstream.member import HUNG

if TYPE_CHECKING:
    from collections.abc import Callable

    PoolOf = Callable[..., PoolBench]

BROKE = UpstreamBroke("reset")
REFUSAL = UpstreamRejected("422", status=422)


def probe_fails(bench: PoolBench, number: int, fault: UpstreamError) -> None:
    """Send a batch that probes this upstream, which fails."""
    before = bench.asked[number]
    bench.upstreams[number].failures = [fault]
    assert bench.fail() is fault
    assert bench.asked[number] == before + 1


# What counts


@pytest.mark.parametrize(
    "fault", [UpstreamError("500"), BROKE, UpstreamUnavailable("503"), busy(0.0, UpstreamUnavailable)], ids=repr
)
def test_failures_in_a_row_eject_an_upstream(fault: UpstreamError) -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [fault] * Breaker.FAILURES
    while not bench.observer.ejections:
        bench.fail()
    assert bench.asked == [Breaker.FAILURES]
    assert bench.observer.ejections == ["http://0"]


@pytest.mark.parametrize("fault", [REFUSAL, busy(0.0), UpstreamTimeout("little time")], ids=repr)
def test_what_says_nothing_bad_of_an_upstream_does_not_count(fault: UpstreamError) -> None:
    bench = PoolBench()
    for _ in range(3 * Breaker.FAILURES):
        bench.upstreams[0].failures = [fault] * 2
        assert bench.fail() is fault
    assert bench.observer.ejections == []


@pytest.mark.parametrize(
    ("took", "timeout", "counts"),
    [
        (HUNG - 0.001, 30.0, False),
        (HUNG, 30.0, True),
        (30.0, 30.0, True),
        (1.999, 2.0, False),
        (2.0, 2.0, True),  # all the time that a call gets there
    ],
)
def test_time_outs_count_where_the_upstream_had_its_time(took: float, timeout: float, counts: bool) -> None:
    bench = PoolBench(latency=took)
    bench.upstreams[0].timeout = timeout
    for _ in range(Breaker.FAILURES):
        bench.clock.time = 1024.0 * (1 + len(bench.calls))  # where `took` is exact in binary, but for the rows above
        bench.upstreams[0].failures = [UpstreamTimeout("late")]
        bench.fail()
    assert bench.observer.ejections == (["http://0"] if counts else [])


# While it is left out


def test_where_no_upstream_is_left_the_batch_waits_in_the_queue_and_says_until_when() -> None:
    bench = PoolBench()
    bench.eject(0)
    error = bench.find_none()
    assert (error.status, error.retry_after) == (503, Breaker.FIRST)
    assert (bench.asked, bench.observer.ejections) == ([Breaker.FAILURES], ["http://0"])


def test_the_others_carry_on_while_one_is_left_out() -> None:
    bench = PoolBench(2)
    bench.upstreams[0].failures = [BROKE] * 100
    for _ in range(50):
        bench.send()
    assert bench.asked == [Breaker.FAILURES, 50]
    bench.upstreams[0].failures = []
    bench.clock.time += Breaker.FIRST
    bench.send()
    bench.send()
    assert bench.asked == [Breaker.FAILURES + 2, 50]


def test_a_retry_goes_to_the_same_upstream_where_the_others_are_left_out() -> None:
    bench = PoolBench(2)
    bench.eject(1)
    before = bench.asked
    bench.upstreams[0].failures = [BROKE]
    bench.send()
    assert bench.asked == [before[0] + 2, before[1]]


def test_when_all_are_left_out_the_client_is_told_when_the_first_is_tried_again() -> None:
    bench = PoolBench(2)
    bench.eject(0)
    bench.eject(1)
    assert bench.clock.time == 0.0
    bench.clock.time = 1.0
    for number in (0, 1):
        probe_fails(bench, number, UpstreamError("500"))
    bench.clock.time = 3.0
    probe_fails(bench, 0, UpstreamError("500"))  # left out until 7.0
    bench.clock.time = 4.0
    probe_fails(bench, 1, UpstreamError("500"))  # and until 8.0
    before = bench.asked
    for now, told in [(4.0, 3.0), (5.5, 1.5), (6.5, 1.0)]:
        bench.clock.time = now
        assert bench.find_none().retry_after == told
    assert bench.asked == before


def test_an_upstream_that_is_left_out_and_asked_for_a_pause_is_tried_after_both() -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [busy(30.0, UpstreamUnavailable)] * Breaker.FAILURES
    bench.clock.time = 100.0
    while not bench.observer.ejections:
        bench.fail()
        bench.clock.time += 30.0
    ejected_at = bench.clock.time - 30.0
    bench.clock.time = ejected_at + Breaker.FIRST
    assert bench.find_none().retry_after == 30.0 - Breaker.FIRST
    bench.clock.time = ejected_at + 30.0
    bench.send()


# How it is tried


@pytest.mark.parametrize(("since", "is_tried"), [(Breaker.FIRST - 0.001, False), (Breaker.FIRST, True)])
def test_it_is_tried_by_itself_once_its_time_is_over(since: float, is_tried: bool) -> None:
    bench = PoolBench()
    bench.eject(0)
    bench.clock.time += since
    if is_tried:
        bench.send()
        bench.send()
    else:
        bench.find_none()
    assert bench.asked == [Breaker.FAILURES + (2 if is_tried else 0)]


def test_it_is_tried_at_once_when_it_was_seen_to_answer() -> None:
    bench = PoolBench()
    bench.eject(0)
    bench.pool.on_state("http://1", True)
    bench.pool.on_state("http://0", False)
    bench.find_none()
    bench.pool.on_state("http://0", True)
    bench.send()


def test_it_is_tried_at_once_even_where_it_had_asked_for_a_pause() -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [busy(30.0, UpstreamUnavailable)] * Breaker.FAILURES
    while not bench.observer.ejections:
        bench.fail()
        bench.clock.time += 30.0
    bench.clock.time -= 29.0
    bench.find_none()
    bench.pool.on_state("http://0", True)
    bench.send()


def test_only_the_upstream_that_was_seen_to_answer_is_tried() -> None:
    bench = PoolBench(2)
    bench.eject(0)
    bench.eject(1)
    before = bench.asked
    bench.pool.on_state("http://1", True)
    for _ in range(3):
        bench.send()
    assert bench.asked == [before[0], before[1] + 3]


def test_an_upstream_that_is_due_for_a_probe_goes_first() -> None:
    bench = PoolBench(3)
    bench.eject(1)
    bench.clock.time += Breaker.FIRST
    before = bench.asked
    bench.send()
    assert bench.asked == [before[0], before[1] + 1, before[2]]


def test_one_batch_only_tries_an_upstream(pool_of: PoolOf) -> None:
    bench = pool_of(2)
    bench.eject(0)
    bench.clock.time += Breaker.FIRST
    tried = bench.upstreams[0]
    tried.is_held = True
    bench.workers.start(bench.send, tried)
    before = bench.asked
    for _ in range(4):
        bench.send()
    assert bench.asked == [before[0], before[1] + 4]
    tried.is_held = False
    bench.workers.let_go_on(tried, 1)
    bench.send()
    assert bench.asked == [before[0] + 2, before[1] + 4]


def test_a_probe_that_fails_leaves_it_out_for_longer() -> None:
    bench = PoolBench()
    bench.eject(0)
    bench.clock.time += Breaker.FIRST
    probe_fails(bench, 0, UpstreamError("500"))
    assert bench.observer.ejections == ["http://0"] * 2
    bench.clock.time += 2 * Breaker.FIRST - 0.001
    bench.find_none()
    bench.clock.time += 0.001
    bench.send()


def test_a_retry_may_probe_another_upstream_but_not_the_one_that_failed() -> None:
    bench = PoolBench(2)
    bench.eject(0)
    bench.clock.time += Breaker.FIRST
    before = bench.asked
    bench.upstreams[0].failures = [BROKE]
    bench.send()
    assert bench.asked == [before[0] + 1, before[1] + 1]
    assert bench.observer.ejections == ["http://0"] * 2
    bench.clock.time += 2 * Breaker.FIRST
    bench.upstreams[0].failures = [busy(0.0)]  # which leaves it due for another probe
    bench.send()
    assert bench.asked == [before[0] + 2, before[1] + 2]


def test_where_all_are_left_out_the_retry_of_one_probe_is_the_probe_of_another() -> None:
    bench = PoolBench(2)
    bench.eject(0)
    bench.eject(1)
    bench.clock.time += Breaker.FIRST
    before = bench.asked
    bench.upstreams[0].failures = [busy(0.0)]
    bench.send()
    assert bench.asked == [before[0] + 1, before[1] + 1]


@pytest.mark.parametrize("fault", [busy(0.0), UpstreamTimeout("little time"), ZeroDivisionError()], ids=repr)
def test_a_probe_that_says_nothing_leaves_room_for_another(fault: Exception) -> None:
    bench = PoolBench()
    bench.eject(0)
    bench.clock.time += Breaker.FIRST
    bench.upstreams[0].failures = [fault]
    with pytest.raises((UpstreamOverloaded, UpstreamTimeout, ZeroDivisionError)):
        bench.send()
    assert "open until" in repr(bench.pool)
    bench.send()
    assert "closed" in repr(bench.pool)


def test_a_probe_that_is_refused_takes_the_upstream_back() -> None:
    bench = PoolBench()
    bench.eject(0)
    bench.clock.time += Breaker.FIRST
    probe_fails(bench, 0, REFUSAL)
    assert "closed" in repr(bench.pool)
    bench.send()
