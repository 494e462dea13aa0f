"""Batches go where there is least to do, past failing upstreams; a failure that is safe to repeat is repeated once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from batching import Answer, BatchKey, CallReport, Options, Task
from batching.clock import NEVER
from batching.errors import (
    ProxyError,
    Unsupported,
    UpstreamBroke,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamPaused,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamUnavailable,
)
from tests.support.fakes import items_of, results_of
from tests.upstream.pool_bench import PoolBench, busy
from upstream.member import LONGEST_PAUSE
from upstream.pool import BACKOFF
from upstream.retries import RETRY_FLOOR, RETRY_SHARE

if TYPE_CHECKING:
    from collections.abc import Callable

    PoolOf = Callable[..., PoolBench]

BROKE = UpstreamBroke("reset")
UNREACHABLE = UpstreamUnavailable("refused", retry_after=1)


# Retries


@pytest.mark.parametrize("fault", [BROKE, UNREACHABLE, busy(0.0), busy(0.0, UpstreamUnavailable)])
def test_a_failure_that_is_safe_to_repeat_is_repeated_once(fault: UpstreamError) -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [fault]
    bench.send()
    assert [report.retry_reason for report in bench.calls] == [None, fault.retry_reason]
    assert bench.jitters == [(0.0, BACKOFF)]
    assert bench.clock.time == BACKOFF
    bench.upstreams[0].failures = [fault, fault]
    assert bench.fail() is fault
    assert bench.asked == [4]


@pytest.mark.parametrize(
    "fault",
    [
        UpstreamError("599"),
        UpstreamProtocolError("nonsense"),
        UpstreamRejected("422", status=422),
        ProxyError("a bug of ours"),
    ],
)
def test_any_other_failure_is_not_repeated(fault: ProxyError) -> None:
    bench = PoolBench(2)
    for upstream in bench.upstreams:
        upstream.failures = [fault]
    assert bench.fail() is fault
    assert sum(bench.asked) == 1
    assert bench.clock.time == 0.0


@pytest.mark.parametrize(("lasts", "is_made"), [(BACKOFF - 0.001, False), (BACKOFF, False), (BACKOFF + 0.001, True)])
def test_a_retry_is_made_only_where_it_can_begin_before_the_deadline(lasts: float, is_made: bool) -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [BROKE]
    if is_made:
        bench.send(lasts=lasts)
    else:
        assert bench.fail(lasts=lasts) is BROKE
    assert (bench.asked, bench.clock.time) == (([2], BACKOFF) if is_made else ([1], 0.0))
    assert "up, 0 in flight" in repr(bench.pool)


def test_retries_are_a_tenth_of_the_calls_once_the_first_are_used_up() -> None:
    bench = PoolBench()
    for _ in range(500):
        bench.upstreams[0].failures = [BROKE] * 2
        bench.fail()
        bench.upstreams[0].failures = []
        bench.send()
    retries = sum(report.retry_reason is not None for report in bench.calls)
    assert retries <= RETRY_FLOOR + RETRY_SHARE * 1000
    assert retries >= 0.09 * 1000


def test_no_retry_is_waited_for_while_the_service_stops() -> None:
    bench = PoolBench()
    bench.pool.stop()
    bench.upstreams[0].failures = [BROKE]
    assert bench.fail() is BROKE
    assert bench.asked == [1]


@pytest.mark.parametrize("fault", [BROKE, UNREACHABLE, busy(0.0), busy(5.0), busy(5.0, UpstreamUnavailable)])
def test_a_batch_that_fails_safely_moves_to_another_upstream_at_once(fault: UpstreamError) -> None:
    bench = PoolBench(2)
    bench.upstreams[0].failures = [fault]
    bench.send()
    assert bench.asked == [1, 1]
    assert bench.clock.time == 0.0


def test_a_retry_goes_elsewhere_even_where_elsewhere_is_busier(pool_of: PoolOf) -> None:
    bench = pool_of(2)
    bench.occupy(1, 3)
    before = bench.asked
    bench.upstreams[0].failures = [BROKE]
    bench.upstreams[1].is_held = False
    bench.send()
    assert bench.asked == [before[0] + 1, before[1] + 1]


def test_only_a_batch_that_was_sent_once_shows_how_long_a_call_takes() -> None:
    bench = PoolBench()
    assert bench.send().is_measurable
    for fault in (BROKE, UNREACHABLE, busy(0.0)):
        bench.upstreams[0].failures = [fault]
        assert not bench.send().is_measurable
    assert bench.send().is_measurable


# Pauses


@pytest.mark.parametrize(("kind", "reason"), [(UpstreamOverloaded, "overloaded"), (UpstreamUnavailable, "unavailable")])
def test_a_batch_whose_upstream_asks_for_a_pause_is_to_wait_in_the_queue(
    kind: type[UpstreamError], reason: str
) -> None:
    bench = PoolBench()
    answer = busy(2.0, kind)
    bench.upstreams[0].failures = [answer]
    paused = bench.hold_back()
    assert (paused.answer, paused.retry_of) == (answer, reason)
    assert (bench.clock.time, bench.jitters, bench.asked) == (0.0, [], [1])


@pytest.mark.parametrize(("pause", "told"), [(0.5, 1.0), (3.0, 3.0)])
def test_the_batches_after_it_wait_as_well_and_say_how_long(pause: float, told: float) -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [busy(pause)]
    bench.hold_back()
    for _ in range(3):
        paused = bench.hold_back()
        assert (type(paused.answer), paused.answer.retry_after, paused.retry_of) == (UpstreamOverloaded, told, None)
    assert (bench.asked, bench.clock.time) == ([1], 0.0)
    bench.clock.time = pause - 0.001
    bench.hold_back()
    bench.clock.time = pause
    bench.send()
    assert (bench.asked, bench.clock.time) == ([2], pause)


def test_a_batch_that_the_queue_took_back_says_why_it_is_sent_again() -> None:
    bench = PoolBench()
    bench.pool.send(bench.batch(retry_reason="overloaded"))
    assert [report.retry_reason for report in bench.calls] == ["overloaded"]


@pytest.mark.parametrize(("reason", "asked"), [("overloaded", 1), (None, 2)])
def test_a_batch_that_was_sent_again_already_gets_no_second_chance(reason: str | None, asked: int) -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [UpstreamBroke("reset")] * 2
    with pytest.raises(UpstreamBroke):
        bench.pool.send(bench.batch(retry_reason=reason))
    assert bench.asked == [asked]


def test_batches_that_go_back_to_the_queue_count_as_retries() -> None:
    bench = PoolBench()
    went_back, calls = 0, 30
    for _ in range(calls):
        answer = busy(1.0)
        bench.upstreams[0].failures = [answer]
        error = bench.fail()
        went_back += isinstance(error, UpstreamPaused)
        assert answer in (error, getattr(error, "answer", None))
        bench.clock.time += 1.0
    assert RETRY_FLOOR <= went_back <= RETRY_FLOOR + RETRY_SHARE * calls


def test_an_upstream_that_asked_for_a_pause_is_passed_over() -> None:
    bench = PoolBench(2)
    bench.upstreams[0].failures = [busy(10.0)]
    for _ in range(10):
        bench.send()
    assert bench.asked == [1, 10]
    bench.clock.time = 10.0
    for _ in range(2):
        bench.send()
    assert bench.asked == [3, 10]


def test_a_batch_waits_for_no_pause_before_the_longest() -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [busy(3600.0)]
    bench.hold_back()
    bench.clock.time = LONGEST_PAUSE - 1
    assert bench.hold_back().answer.retry_after == pytest.approx(1.0)
    bench.clock.time = LONGEST_PAUSE
    bench.send()
    assert bench.asked == [2]


@pytest.mark.parametrize(("pauses", "until"), [((10.0, 2.0), 10.0), ((2.0, 10.0), 10.0)])
def test_of_two_pauses_the_longer_counts(pool_of: PoolOf, pauses: tuple[float, float], until: float) -> None:
    bench = pool_of()
    bench.occupy(0, 2)
    for pause in pauses:
        bench.let_fail(0, busy(pause))
    assert bench.capacity.opens_at(0.0) == until
    bench.clock.time = until - 0.001
    bench.hold_back()


def test_being_seen_to_answer_does_not_end_a_pause() -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [busy(2.0)]
    bench.hold_back()
    bench.pool.on_state("http://0", True)
    bench.hold_back()
    assert bench.asked == [1]


# Which upstream


def test_each_upstream_takes_its_share() -> None:
    bench = PoolBench(3)
    for expected in ([1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1]):
        bench.send()
        assert bench.asked == expected
    for _ in range(26):
        bench.send()
    assert bench.asked == [10, 10, 10]


def test_the_least_busy_upstream_is_asked(pool_of: PoolOf) -> None:
    bench = pool_of(2)
    bench.occupy(0, 1)
    before = bench.asked
    for _ in range(5):
        bench.send()
    assert bench.asked == [before[0], before[1] + 5]


def test_an_upstream_with_room_in_its_window_is_preferred_to_a_less_busy_one_without(pool_of: PoolOf) -> None:
    bench = pool_of(2)
    for _ in range(2):  # the window of the first is cut from 4 to 1
        bench.upstreams[0].failures = [busy(0.0)]
        while bench.upstreams[0].failures:
            bench.send()
        bench.clock.time += 1.0
    assert bench.slots == 1 + 4
    for upstream in bench.upstreams:
        upstream.is_held = True
    first, second = bench.upstreams
    for expected in (first, second, second, second, second):
        bench.workers.start(bench.send, expected)
    bench.workers.start(bench.send, first)  # both are full now: the less busy of them is asked


def test_observers_are_told_all_there_is_to_know_of_a_call() -> None:
    bench = PoolBench(latency=0.25)
    bench.clock.time = 100.0
    bench.upstreams[0].failures = [BROKE]
    batch = bench.batch("a", "b")
    batch.reason = "crowd"
    assert bench.pool.send(batch) == Answer(results_of(batch))
    assert bench.calls == [
        CallReport("http://0", 2, "crowd", None, 0.25, BROKE),
        CallReport("http://0", 2, "crowd", "broken", 0.25, None),
    ]


def test_a_bug_of_ours_holds_no_slot_and_says_nothing_of_the_upstream() -> None:
    bench = PoolBench()
    bench.upstreams[0].failures = [ZeroDivisionError()] * 10
    for _ in range(10):
        with pytest.raises(ZeroDivisionError):
            bench.send()
    assert bench.slots == 4
    assert repr(bench.pool) == (
        "<UpstreamPool [<http://0: up, 0 in flight, <Breaker closed, 0 different failures in a row>, "
        "<Window 4.00 of 4>>], "
        "<Retries <Budget 10.0 of 10>, where inputs may be the cause <Budget 10.0 of 10>>>"
    )


def test_what_the_upstreams_cannot_do_the_pool_cannot_do() -> None:
    bench = PoolBench(2)
    key = BatchKey(Task.EMBED, Options(dimensions=8))
    bench.upstreams[0].refusals = {key: "no dimensions"}
    with pytest.raises(Unsupported, match="no dimensions"):
        bench.pool.speakers.fit(key, items_of("a"), NEVER)
    assert bench.pool.speakers.fit(BatchKey(Task.EMBED), items_of("a"), NEVER) == BatchKey(Task.EMBED)
