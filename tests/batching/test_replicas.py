"""Queue, pool and batcher together: one replica of two that is broken or hangs costs the clients next to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching.errors import UpstreamFailed, UpstreamTimeout
from tests.batching.failover_bench import SIZE, assert_answered
from upstream.breaker import Breaker

if TYPE_CHECKING:
    from tests.batching.failover_bench import FailoverOf


def broken() -> UpstreamFailed:
    return UpstreamFailed("the model threw", words="CUDA error")


# One of two upstreams that fails every call


@pytest.mark.parametrize("batches", [1, 2, 5, 50])
def test_a_broken_replica_costs_no_client_an_answer(failover_of: FailoverOf, batches: int) -> None:
    bench = failover_of(2)
    bench.upstreams[1].failures = [broken() for _ in range(1000)]
    calls = []
    for _ in range(batches):
        calls += bench.submit(SIZE)
        bench.work()
    assert_answered(*calls)
    assert len(bench.upstreams[1].batches) <= Breaker.FAILURES
    assert len(bench.upstreams[0].batches) == batches


def test_the_probes_of_a_broken_replica_cost_no_client_an_answer_either(failover_of: FailoverOf) -> None:
    bench = failover_of(2)
    bench.upstreams[1].failures = [broken() for _ in range(1000)]
    calls = []
    for _ in range(300):
        calls += bench.submit(SIZE)
        bench.work()
        bench.clock.sleep(0.1)
    assert_answered(*calls)
    probes = len(bench.upstreams[1].batches) - Breaker.FAILURES
    assert 3 <= probes <= 6  # within 30 seconds, with pauses that double


def test_a_broken_replica_that_is_mended_gets_half_of_the_batches_again(failover_of: FailoverOf) -> None:
    bench = failover_of(2)
    bench.upstreams[1].failures = [broken() for _ in range(Breaker.FAILURES)]
    for _ in range(2 * Breaker.FAILURES):
        bench.submit(SIZE)
        bench.work()
    assert not bench.upstreams[1].failures
    bench.clock.sleep(Breaker.FIRST)
    before = bench.asked
    calls = []
    for _ in range(20):
        calls += bench.submit(SIZE)
        bench.work()
    assert_answered(*calls)
    assert bench.asked[1] - before[1] >= 9


def test_an_input_on_which_both_replicas_fail_ejects_neither(failover_of: FailoverOf) -> None:
    bench = failover_of(2)
    for _ in range(20):
        for upstream in bench.upstreams:
            upstream.failures = [broken()]
        (call,) = bench.submit(1)
        bench.work()
        assert isinstance(call.error, UpstreamFailed)
        for upstream in bench.upstreams:
            upstream.failures.clear()  # where no second was asked
        calls = bench.submit(SIZE)
        bench.run()
        assert_answered(*calls)
    assert bench.observer.ejections == []


# One of two upstreams that hangs


def test_a_hung_replica_costs_the_batches_in_flight_there_once(failover_of: FailoverOf) -> None:
    bench = failover_of(2)
    bench.hang_at_each(2)
    bench.end(1, count=2)
    bench.clock.sleep(30.0)
    bench.let_fail(0, UpstreamTimeout("late"), UpstreamTimeout("late"))
    assert bench.observer.ejections[0] == "http://0"
    bench.pool.on_state("http://0", False, "it did not answer in 2 s")
    calls = []
    for _ in range(100):
        calls += bench.submit(SIZE)
        bench.work()
        bench.clock.sleep(0.5)
    assert_answered(*calls)
    assert bench.asked[0] == 2


@pytest.mark.parametrize(("lasts", "is_answered"), [(30.0, False), (31.0, True)])
def test_calls_that_hung_are_asked_of_the_other_where_they_have_the_time(
    failover_of: FailoverOf, lasts: float, is_answered: bool
) -> None:
    bench = failover_of(2)
    bench.upstreams[0].is_held = True
    calls = bench.submit(SIZE, lasts=lasts)
    bench.workers.start(bench.work, bench.upstreams[0])
    bench.clock.sleep(30.0)
    bench.let_fail(0, UpstreamTimeout("late"))
    if is_answered:
        assert_answered(*calls)
    else:
        assert {type(call.error) for call in calls} == {UpstreamTimeout}
    assert bench.asked == [1, int(is_answered)]


def test_a_hung_replica_that_wakes_up_gets_batches_again(failover_of: FailoverOf) -> None:
    bench = failover_of(2)
    bench.hang_at_each(1)
    bench.end(1, count=1)
    bench.clock.sleep(30.0)
    bench.let_fail(0, UpstreamTimeout("late"))
    bench.pool.on_state("http://0", False, "it did not answer in 2 s")
    bench.upstreams[0].is_held = False
    bench.pool.on_state("http://0", True)
    calls = []
    for _ in range(10):
        calls += bench.submit(SIZE)
        bench.work()
    assert_answered(*calls)
    assert bench.asked[0] >= 5


def test_calls_with_little_time_do_not_make_a_replica_look_hung(failover_of: FailoverOf) -> None:
    bench = failover_of(2)
    for _ in range(20):
        bench.hang_at_each(1)
        bench.end(1, count=1)
        bench.clock.sleep(0.001)
        bench.let_fail(0, UpstreamTimeout("late"))
        bench.upstreams[0].is_held = False
    assert bench.observer.ejections == []
