"""Queue, pool and batcher together: a pause that an upstream asks for is waited for in the queue, by no thread."""

from __future__ import annotations

import pytest

from batching.errors import ClientGone, UpstreamBroke, UpstreamError, UpstreamOverloaded, UpstreamUnavailable
from tests.batching.failover_bench import SIZE, FailoverBench, assert_answered
from tests.upstream.pool_bench import busy
from upstream.member import LONGEST_PAUSE
from upstream.retries import RETRY_FLOOR


@pytest.mark.parametrize(("kind", "reason"), [(UpstreamOverloaded, "overloaded"), (UpstreamUnavailable, "unavailable")])
def test_a_batch_waits_for_a_pause_in_the_queue_and_grows(kind: type[UpstreamError], reason: str) -> None:
    bench = FailoverBench(1)
    first = bench.submit(2)
    bench.upstreams[0].failures = [busy(2.0, kind)]
    met = bench.work()
    assert bench.clock.now() == met.taken_at == 0.1  # the thread does not sleep
    assert (bench.queue.queued_items, bench.queue.in_flight) == (2, 0)
    assert not any(call.done for call in first)
    gone, stays = bench.submit(2)
    left: list[bool] = []
    gone.is_gone = lambda: bool(left)
    bench.clock.at(1.0, lambda: left.append(True))
    batch = bench.work()
    assert (batch.taken_at, batch.items) == (2.1, [*first[0].items, *first[1].items, *stays.items])
    assert isinstance(gone.error, ClientGone)
    assert_answered(*first, stays)
    assert [report.retry_reason for report in bench.calls] == [None, reason]


def test_a_thread_that_asks_for_work_in_a_pause_gets_it_at_the_end() -> None:
    bench = FailoverBench(1)
    bench.submit(SIZE)
    bench.upstreams[0].failures = [busy(2.0)]
    bench.work()
    assert bench.clock.now() == 0.0
    assert bench.work().taken_at == 2.0
    assert bench.asked == [2]


def test_where_another_upstream_is_left_the_batch_moves_there_at_once() -> None:
    bench = FailoverBench(2)
    calls = bench.submit(SIZE)
    bench.upstreams[0].failures = [busy(2.0)]
    bench.work()
    assert bench.clock.now() == 0.0
    assert bench.asked == [1, 1]
    assert [report.retry_reason for report in bench.calls] == [None, "overloaded"]
    assert_answered(*calls)


def test_where_the_other_upstream_is_paused_too_the_batch_waits_for_the_first() -> None:
    bench = FailoverBench(2)
    calls = bench.submit(SIZE)
    bench.upstreams[0].failures = [busy(3.0)]
    bench.upstreams[1].failures = [busy(2.0)]
    bench.work()  # the other's answer was the retry
    assert {type(call.error) for call in calls} == {UpstreamOverloaded}
    calls = bench.submit(SIZE)
    assert bench.work().taken_at == 2.0
    assert bench.asked == [1, 2]
    assert_answered(*calls)


@pytest.mark.parametrize("kind", [UpstreamOverloaded, UpstreamUnavailable])
def test_a_second_refusal_ends_the_call_with_the_upstreams_answer(kind: type[UpstreamError]) -> None:
    bench = FailoverBench(1)
    calls = bench.submit(SIZE)
    bench.upstreams[0].failures = [busy(2.0, kind), busy(5.0, kind)]
    bench.work()
    assert not any(call.done for call in calls)
    bench.work()
    assert bench.clock.now() == 2.0
    assert {type(call.error) for call in calls} == {kind}
    assert {call.error.retry_after for call in calls if call.error} == {5.0}
    assert bench.queue.calls == 0


@pytest.mark.parametrize(("lasts", "waits"), [(2.0, False), (2.001, True)])
def test_a_call_without_the_time_for_a_pause_gets_the_upstreams_answer_at_once(lasts: float, waits: bool) -> None:
    bench = FailoverBench(1)
    (call, *_) = bench.submit(SIZE, lasts=lasts)
    answer = busy(2.0, UpstreamUnavailable)
    bench.upstreams[0].failures = [answer]
    bench.work()
    assert bench.clock.now() == 0.0
    assert call.error is (None if waits else answer)
    if waits:
        bench.work()
        assert_answered(call)


def test_calls_go_back_only_while_there_are_retries_left() -> None:
    bench = FailoverBench(1)
    went_back = 0
    while True:
        calls = bench.submit(SIZE)
        bench.upstreams[0].failures = [busy(1.0)]
        bench.work()
        if calls[0].done:
            break
        went_back += 1
        bench.work()
        assert_answered(*calls)
    assert RETRY_FLOOR <= went_back <= 1.5 * RETRY_FLOOR
    assert {type(call.error) for call in calls} == {UpstreamOverloaded}


def test_the_queue_waits_for_no_pause_before_the_longest() -> None:
    bench = FailoverBench(1)
    calls = bench.submit(SIZE)
    bench.upstreams[0].failures = [busy(3600.0)]
    bench.work()
    assert bench.work().taken_at == LONGEST_PAUSE
    assert_answered(*calls)


def test_in_a_pause_a_call_with_less_time_is_refused_when_it_comes() -> None:
    bench = FailoverBench(1)
    bench.submit(SIZE)
    bench.upstreams[0].failures = [busy(2.0)]
    bench.work()
    with pytest.raises(UpstreamOverloaded) as refused:
        bench.submit(lasts=1.0)
    assert refused.value.retry_after == 2.0


def test_a_retry_at_the_same_upstream_is_no_pause() -> None:
    bench = FailoverBench(1)
    calls = bench.submit(SIZE)
    bench.upstreams[0].failures = [UpstreamBroke("reset")]
    bench.work()
    assert_answered(*calls)
