"""Before an upstream is left out for failures that inputs may have caused, it is asked for what it has done before."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from batching import Answer
from batching.errors import UpstreamBroke, UpstreamError, UpstreamFailed, UpstreamMisconfigured, UpstreamUnavailable
from tests.support.fakes import items_of, results_of
from tests.upstream.pool_bench import HUNG_THREAD, PoolBench
from upstream.breaker import Breaker
from upstream.member import LONGEST_WITNESS, WITNESS

if TYPE_CHECKING:
    from collections.abc import Callable

    from batching import Batch

    PoolOf = Callable[..., PoolBench]

THREW = UpstreamFailed("it threw", reason="status 500")


def fail_often(bench: PoolBench, times: int = Breaker.FAILURES, fault: UpstreamError = THREW) -> None:
    """Let so many batches with different inputs fail, one after the other; what else is asked succeeds."""
    for number in range(times):
        bench.upstreams[0].failures = [fault]
        assert bench.fail(f"bad {number}") is fault


def witnesses(bench: PoolBench) -> list[list[bytes]]:
    return [batch.items for batch in bench.upstreams[0].batches if batch.reason == WITNESS]


def test_an_upstream_that_does_it_again_is_not_left_out() -> None:
    bench = PoolBench()
    bench.send("good", "better")
    fail_often(bench, 3 * Breaker.FAILURES)
    assert bench.observer.ejections == []
    assert witnesses(bench) == [items_of("good")] * 3


def test_one_that_does_not_is() -> None:
    bench = PoolBench()
    bench.send("good")
    fail_often(bench, Breaker.FAILURES - 1)
    bench.upstreams[0].failures = [THREW] * 2
    bench.fail()
    assert bench.observer.ejections == ["http://0"]
    assert witnesses(bench) == [items_of("good")]


def test_of_an_input_that_it_has_done_among_bad_ones_the_good_one_is_asked() -> None:
    bench = PoolBench()
    answer = bench.upstreams[0].send
    bench.upstreams[0].send = lambda batch: answer(batch)._replace(bad={0: "null"})  # type: ignore[method-assign]
    bench.pool.send(bench.batch("bad", "good"))
    bench.upstreams[0].send = answer  # type: ignore[method-assign]
    fail_often(bench)
    assert witnesses(bench) == [items_of("good")]


@pytest.mark.parametrize("accepted", [[], ["x" * LONGEST_WITNESS]], ids=["none", "a long one"])
@pytest.mark.parametrize("healthy", [True, False])
def test_one_that_has_done_nothing_short_so_far_is_tried_with_a_plain_text(accepted: list[str], healthy: bool) -> None:
    bench = PoolBench()
    for text in accepted:
        bench.send(text)
    bench.upstreams[0].healthy = healthy  # as a trial finds it
    fail_often(bench)
    assert bench.observer.ejections == ([] if healthy else ["http://0"])
    assert witnesses(bench) == []


def test_the_trial_is_reported_as_a_call_of_its_own() -> None:
    bench = PoolBench(latency=0.25)
    bench.send("good")
    fail_often(bench)
    *_, trial, last = bench.calls
    assert (trial.reason, trial.size, trial.latency, trial.error) == (WITNESS, 1, 0.25, None)
    assert (last.reason, last.latency, last.error) == ("full", 0.25, THREW)


@pytest.mark.parametrize(
    "fault", [UpstreamBroke("reset"), UpstreamUnavailable("refused"), UpstreamError("599")], ids=repr
)
def test_other_failures_need_none(fault: UpstreamError) -> None:
    bench = PoolBench()
    bench.send("good")
    bench.upstreams[0].failures = [fault] * 100
    while not bench.observer.ejections:
        bench.fail()
    assert witnesses(bench) == []


def test_a_mistake_of_configuration_of_one_of_two_needs_none_either() -> None:
    bench = PoolBench(2)
    bench.send("good")
    bench.send("good")
    bench.upstreams[0].failures = [UpstreamMisconfigured("401")] * 100
    while not bench.observer.ejections:
        bench.send()
    assert witnesses(bench) == []


def test_one_input_that_is_sent_again_and_again_asks_for_none() -> None:
    bench = PoolBench()
    bench.send("good")
    for _ in range(50):
        bench.upstreams[0].failures = [THREW]
        bench.fail("poison")
    assert witnesses(bench) == []
    assert bench.observer.ejections == []


def test_one_thread_asks_and_failures_meanwhile_leave_it_the_decision(pool_of: PoolOf) -> None:
    bench = pool_of(each=8)
    bench.send("good")
    upstream = bench.upstreams[0]
    answer, asks, may_go_on = upstream.send, threading.Event(), threading.Event()

    def send(batch: Batch) -> Answer:
        if batch.reason != WITNESS:
            return answer(batch)
        upstream.batches.append(batch)
        asks.set()
        assert may_go_on.wait(HUNG_THREAD)
        return Answer(results_of(batch))

    upstream.send = send  # type: ignore[method-assign]
    upstream.is_held = True
    for _ in range(8):
        bench.workers.start(bench.send, upstream)
    bench.let_fail(0, *[THREW] * (Breaker.FAILURES - 1))
    upstream.failures = [THREW]
    upstream.gate.release()
    assert asks.wait(HUNG_THREAD)
    bench.let_fail(0, *[THREW] * 3)
    may_go_on.set()
    bench.workers.finish()
    assert bench.observer.ejections == []
    assert witnesses(bench) == [items_of("good")]


def test_a_bug_of_ours_while_it_is_asked_holds_no_slot() -> None:
    bench = PoolBench()
    bench.send("good")
    fail_often(bench, Breaker.FAILURES - 1)
    bench.upstreams[0].failures = [THREW, ZeroDivisionError()]
    with pytest.raises((UpstreamFailed, ZeroDivisionError)):
        bench.send()
    assert ", 0 in flight" in repr(bench.pool)
