"""Batches go where there is least to do, past those that fail; what is safe to repeat is repeated once."""

from __future__ import annotations

import pytest

from batching import Batch, CallReport, Observer
from batching.errors import (
    NoUpstream,
    ProxyError,
    UpstreamBroke,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tests.support.fakes import KEY, FakeClock, FakeUpstream, call_of, limits_of, vector_of
from upstream.breaker import Breaker
from upstream.pool import BACKOFF, LONGEST_PAUSE, RETRY_FLOOR, UpstreamPool

BROKE = UpstreamBroke("reset")


def busy(pause: float, kind: type[UpstreamError] = UpstreamOverloaded) -> UpstreamError:
    error = kind("busy", retry_after=pause or 1)
    error.too_much, error.pause = True, pause
    return error


class Log(Observer):
    def __init__(self) -> None:
        self.calls: list[CallReport] = []
        self.ejected: list[str] = []

    def on_call(self, report: CallReport) -> None:
        self.calls.append(report)

    def on_ejection(self, upstream: str) -> None:
        self.ejected.append(upstream)


class Bench:
    """A pool on the fake clock; jitter is always all there could be."""

    def __init__(self, count: int = 1, *, each: int = 4, latency: float = 0.0) -> None:
        self.clock = FakeClock()
        self.upstreams = [FakeUpstream(self.clock, lambda size: latency) for _ in range(count)]
        for number, upstream in enumerate(self.upstreams):
            upstream.url = f"http://{number}"
        self.limits = limits_of(max_inflight_batches=each * count)
        self.log = Log()
        self.pool = UpstreamPool(
            self.upstreams, self.limits, each, self.clock, observers=[self.log], jitter=lambda low, high: high
        )

    def send(self, text: str = "text", patience: float = 1e9) -> list[bytes]:
        batch = Batch(KEY, "full", self.clock.now())
        batch.add(call_of(text, deadline=self.clock.now() + patience), 1)
        results = self.pool.send(batch)
        assert results == [vector_of(item) for item in batch.items]
        return results

    def fail(self, text: str = "text", patience: float = 1e9) -> ProxyError:
        with pytest.raises(ProxyError) as raised:
            self.send(text, patience)
        return raised.value

    @property
    def asked(self) -> list[int]:
        return [len(upstream.batches) for upstream in self.upstreams]


# Retries


@pytest.mark.parametrize("fault", [BROKE, UpstreamUnavailable("refused", retry_after=1), busy(0.0)])
def test_a_failure_that_is_safe_to_repeat_is_repeated_once(fault: UpstreamError) -> None:
    bench = Bench()
    bench.upstreams[0].failures = [fault]
    bench.send()
    assert [report.retry_of for report in bench.log.calls] == [None, fault.retry_reason]
    assert bench.clock.time == BACKOFF
    bench.upstreams[0].failures = [fault, fault]
    assert type(bench.fail()) is type(fault)
    assert bench.asked == [4]


@pytest.mark.parametrize(
    "fault",
    [
        UpstreamError("500"),
        UpstreamTimeout("late"),
        UpstreamProtocolError("nonsense"),
        UpstreamRejected("422", status=422),
        ProxyError("a bug of ours"),
    ],
)
def test_what_is_not_is_not(fault: ProxyError) -> None:
    bench = Bench(2)
    for upstream in bench.upstreams:
        upstream.failures = [fault]
    assert bench.fail() is fault
    assert sum(bench.asked) == 1


def test_a_busy_upstream_gets_the_time_it_asks_for() -> None:
    bench = Bench()
    bench.upstreams[0].failures = [busy(2.0)]
    bench.send()
    assert 2.0 <= bench.clock.time <= 2.3


def test_and_the_batches_after_it_wait_as_well() -> None:
    bench = Bench()
    bench.upstreams[0].failures = [busy(2.0)]
    assert isinstance(bench.fail(patience=1.0), UpstreamOverloaded)
    assert bench.clock.time == 0.0
    assert isinstance(bench.fail(patience=1.0), UpstreamOverloaded)
    assert bench.asked == [1]
    bench.send()
    assert bench.clock.time == 2.0


def test_a_retry_that_would_come_too_late_is_not_made() -> None:
    bench = Bench()
    bench.upstreams[0].failures = [BROKE]
    assert bench.fail(patience=BACKOFF) is BROKE
    assert bench.asked == [1]


def test_retries_are_a_tenth_of_the_calls_once_the_first_are_used_up() -> None:
    bench = Bench()
    for _ in range(500):
        bench.upstreams[0].failures = [BROKE] * 2
        bench.fail()
        bench.upstreams[0].failures = []
        bench.send()
    retries = sum(report.retry_of is not None for report in bench.log.calls)
    assert retries <= RETRY_FLOOR + 0.1 * 1000
    assert retries >= 0.09 * 1000


def test_nobody_waits_for_a_retry_while_the_service_stops() -> None:
    bench = Bench()
    bench.pool.stop()
    bench.upstreams[0].failures = [BROKE]
    assert bench.fail() is BROKE
    assert bench.asked == [1]


def test_a_batch_that_fails_safely_moves_to_another_upstream_at_once() -> None:
    bench = Bench(2)
    bench.upstreams[0].failures = [busy(5.0)]
    bench.send()
    assert bench.asked == [1, 1]
    assert bench.clock.time == 0.0


def test_a_batch_that_was_sent_again_or_held_says_so() -> None:
    bench = Bench()
    batch = Batch(KEY, "full", 0.0)
    batch.add(call_of("text"), 1)
    bench.pool.send(batch)
    assert batch.smooth
    bench.upstreams[0].failures = [BROKE]
    bench.pool.send(batch)
    assert not batch.smooth


# Which upstream


def test_each_takes_its_share() -> None:
    bench = Bench(3)
    for _ in range(30):
        bench.send()
    assert bench.asked == [10, 10, 10]


def test_the_least_busy_is_asked() -> None:
    bench = Bench(2, latency=1.0)
    bench.clock.at(0.1, bench.send)  # while the first is at work
    bench.clock.at(0.2, lambda: bench.clock.at(1.15, bench.send))
    bench.send()
    assert bench.asked[0] + bench.asked[1] >= 2
    assert bench.asked[1] >= 1


def test_one_that_asked_for_a_pause_is_passed_over() -> None:
    bench = Bench(2)
    bench.upstreams[0].failures = [busy(10.0)]
    for _ in range(10):
        bench.send()
    assert bench.asked == [1, 10]


def test_no_pause_lasts_for_ever() -> None:
    bench = Bench()
    bench.upstreams[0].failures = [busy(3600.0)]
    bench.fail(patience=5.0)
    bench.clock.time = LONGEST_PAUSE - 1
    assert bench.fail(patience=0.5).retry_after == pytest.approx(1.0)
    bench.clock.time = LONGEST_PAUSE
    bench.send(patience=0.5)
    assert bench.asked == [2]


# Failures in a row


def eject(bench: Bench) -> None:
    bench.upstreams[0].failures = [UpstreamError("500")] * Breaker.FAILURES
    for _ in range(Breaker.FAILURES):
        bench.fail()


def test_after_failures_in_a_row_nobody_waits_for_that_upstream() -> None:
    bench = Bench()
    eject(bench)
    error = bench.fail()
    assert isinstance(error, NoUpstream)
    assert error.status == 503
    assert error.retry_after
    assert bench.asked == [Breaker.FAILURES]
    assert bench.log.ejected == ["http://0"]


def test_it_comes_back_by_itself_after_a_while() -> None:
    bench = Bench()
    eject(bench)
    bench.clock.time += Breaker.FIRST
    bench.send()
    bench.send()
    assert bench.asked == [Breaker.FAILURES + 2]


def test_and_at_once_when_it_was_seen_to_answer() -> None:
    bench = Bench()
    eject(bench)
    bench.pool.on_state("http://1", True)
    bench.pool.on_state("http://0", False)
    assert isinstance(bench.fail(), NoUpstream)
    bench.pool.on_state("http://0", True)
    bench.send()


def test_the_others_carry_on_while_one_is_left_out() -> None:
    bench = Bench(2)
    bench.upstreams[0].failures = [BROKE] * 100
    for _ in range(50):
        bench.send()
    assert bench.asked == [Breaker.FAILURES, 50]
    assert bench.limits.max_inflight_batches == 4
    bench.upstreams[0].failures = []
    bench.clock.time += Breaker.FIRST
    bench.send()
    assert bench.limits.max_inflight_batches == 8


def test_one_batch_only_tries_an_upstream_that_failed() -> None:
    bench = Bench(2, latency=1.0)
    bench.upstreams[0].failures = [UpstreamError("500")] * Breaker.FAILURES
    while not bench.log.ejected:
        try:
            bench.send()
        except UpstreamError:
            continue
    bench.clock.time += 5
    before = bench.asked
    for moment in range(4):  # all while the first is at work
        bench.clock.at(bench.clock.time + 0.1 * moment, bench.send)
    bench.send()
    assert bench.asked[0] == before[0] + 1


@pytest.mark.parametrize("fault", [UpstreamRejected("422", status=422), busy(0.0), UpstreamTimeout("in a hurry")])
def test_what_says_nothing_bad_of_an_upstream_does_not_count(fault: UpstreamError) -> None:
    bench = Bench()
    for _ in range(3 * Breaker.FAILURES):
        bench.upstreams[0].failures = [fault] * 2
        bench.fail()
    assert bench.log.ejected == []


def test_timeouts_count_when_the_upstream_had_its_time() -> None:
    bench = Bench(latency=30.0)
    bench.upstreams[0].failures = [UpstreamTimeout("late")] * Breaker.FAILURES
    for _ in range(Breaker.FAILURES):
        bench.fail()
    assert bench.log.ejected == ["http://0"]


def test_a_bug_of_ours_holds_no_place() -> None:
    bench = Bench()
    bench.upstreams[0].failures = [ZeroDivisionError()] * 10
    for _ in range(10):
        with pytest.raises(ZeroDivisionError):
            bench.send()
    assert bench.pool._upstreams[0].in_flight == 0


# Too much


def test_less_is_in_flight_while_an_upstream_has_too_much() -> None:
    bench = Bench()
    bench.upstreams[0].failures = [busy(0.0)]
    bench.send()
    assert bench.limits.max_inflight_batches == 2
    for _ in range(20):
        bench.send()
    assert bench.limits.max_inflight_batches == 4
