"""The monitor knows whether the upstream answers, reads its limits when it comes up, and looks again when in doubt."""

from __future__ import annotations

import logging
import threading

import pytest

from batching import ProxyError
from batching.errors import NoUpstream, UpstreamBroke, UpstreamError, UpstreamRejected, UpstreamTimeout
from tests.support.concurrency import Nursery
from tests.upstream.monitor_bench import URL, MonitorBench
from upstream.dialects.dialect import UpstreamInfo
from upstream.monitor import (
    FIRST_RETRY,
    LAST_RETRY,
    PROBE_TIMEOUT,
    SHORTEST_PERIOD,
    WELL_PERIOD,
)


@pytest.fixture
def bench() -> MonitorBench:
    return MonitorBench()


# Readiness


def test_an_upstream_is_not_ready_before_the_first_look(bench: MonitorBench) -> None:
    assert not bench.monitor.ready
    assert bench.monitor.url == URL


def test_readiness_follows_the_upstream_and_observers_are_told_of_changes(bench: MonitorBench) -> None:
    health = [False, True, True, False, True]
    assert bench.check_each(*health) == health
    assert bench.monitor.ready
    assert bench.observer.states == [(URL, False), (URL, True), (URL, False), (URL, True)]
    assert bench.observer.reasons == ["down", "", "down", ""]


def test_probes_and_questions_have_the_same_short_time(bench: MonitorBench) -> None:
    bench.monitor.check(0.0)
    assert (bench.upstream.probes, bench.upstream.questions) == ([PROBE_TIMEOUT], [PROBE_TIMEOUT])


@pytest.mark.parametrize(("age", "probes"), [(0.9, 1), (1.0, 1), (1.001, 2)])
def test_an_answer_is_used_again_up_to_the_age_that_is_allowed(bench: MonitorBench, age: float, probes: int) -> None:
    bench.monitor.check(max_age=1.0)
    bench.upstream.healthy = False
    bench.clock.time += age
    assert bench.monitor.check(max_age=1.0) is (probes == 1)
    assert bench.probes == probes


def test_many_threads_that_ask_at_once_share_one_probe(bench: MonitorBench) -> None:
    with Nursery() as nursery:
        for _ in range(16):
            nursery.start(bench.monitor.check, 1.0)
    assert bench.probes == 1


# Limits


def test_limits_are_read_when_it_comes_up_and_only_then(bench: MonitorBench) -> None:
    asked = []
    for healthy in (False, True, True, False, True):
        bench.check_each(healthy)
        asked.append(len(bench.upstream.questions))
    assert asked == [0, 1, 1, 1, 2]


def test_the_capacity_follows_what_the_upstream_tells_when_it_comes_up(bench: MonitorBench) -> None:
    for info, expected in [(UpstreamInfo("model", 8, 20), (8, 20)), (UpstreamInfo("model", 16, 512), (16, 512))]:
        bench.upstream.told = info
        bench.check_each(False, True)
        assert (bench.capacity.batch_size, bench.capacity.items) == expected


def test_an_upstream_that_tells_nothing_changes_nothing(bench: MonitorBench) -> None:
    bench.upstream.told = None
    before = repr(bench.capacity)
    assert bench.monitor.check(max_age=0)
    assert repr(bench.capacity) == before


def test_limits_are_obeyed_before_observers_are_told_that_it_is_up(bench: MonitorBench) -> None:
    bench.upstream.told = UpstreamInfo("model", 8, 20)
    sizes: list[int] = []

    def on_state(upstream: str, ready: bool, reason: str = "") -> None:
        sizes.append(bench.capacity.batch_size)

    bench.observer.on_state = on_state  # type: ignore[method-assign]
    bench.monitor.check(0.0)
    assert sizes == [8]


# What is logged


def test_what_was_clamped_and_which_model_is_served_are_logged(
    bench: MonitorBench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="upstream.monitor")
    bench.upstream.told = UpstreamInfo(None, 8, None)
    bench.check_each(True)
    bench.upstream.told = UpstreamInfo("bge-small", 8, None)
    bench.check_each(False, True)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.INFO, "upstream serves an unnamed model"),
        (logging.WARNING, "clamped to what the upstream takes: max_batch_size 32 -> 8"),
        (logging.INFO, "upstream serves bge-small"),
    ]


# Doubts


@pytest.mark.parametrize("error", [UpstreamError("502"), UpstreamTimeout("504"), UpstreamBroke("reset")])
def test_a_failed_call_makes_it_look_again_once(bench: MonitorBench, error: ProxyError) -> None:
    bench.monitor.check(max_age=10)
    bench.clock.time += 1
    bench.upstream.healthy = False
    bench.fails(error)
    assert not bench.monitor.check(max_age=10)
    bench.clock.time += 9
    bench.monitor.check(max_age=10)
    assert bench.probes == 2


@pytest.mark.parametrize(
    ("error", "upstream"),
    [
        (None, URL),
        (UpstreamRejected("422", status=422), URL),
        (ProxyError("a bug of ours"), URL),
        (NoUpstream("none"), URL),
        (UpstreamError("502"), "http://another"),
    ],
)
def test_what_says_nothing_of_the_upstream_does_not(
    bench: MonitorBench, error: ProxyError | None, upstream: str
) -> None:
    bench.monitor.check(max_age=10)
    bench.clock.time += 1
    bench.fails(error, upstream)
    bench.monitor.on_thread_death()
    bench.monitor.check(max_age=10)
    assert bench.probes == 1


def test_a_failed_call_says_nothing_new_of_an_upstream_that_is_not_ready(bench: MonitorBench) -> None:
    bench.upstream.healthy = False
    bench.monitor.check(max_age=10)
    bench.clock.time += 1
    bench.fails(UpstreamError("502"))
    bench.monitor.check(max_age=10)
    assert bench.probes == 1


@pytest.mark.parametrize(
    ("max_age", "age", "probes"),
    [
        (10.0, SHORTEST_PERIOD, 1),
        (10.0, SHORTEST_PERIOD + 0.001, 2),
        (0.0, SHORTEST_PERIOD / 2, 2),  # younger than a doubted answer may be
        (SHORTEST_PERIOD / 2, SHORTEST_PERIOD / 2, 1),
    ],
)
def test_a_doubted_answer_is_used_only_for_a_moment(
    bench: MonitorBench, max_age: float, age: float, probes: int
) -> None:
    bench.monitor.check(max_age)
    bench.fails(UpstreamError("502"))
    bench.clock.time += age
    bench.monitor.check(max_age)
    assert bench.probes == probes


def test_a_call_that_fails_during_a_probe_is_not_forgotten(bench: MonitorBench) -> None:
    bench.monitor.check(max_age=10)
    bench.clock.time += 20
    bench.upstream.meanwhile = lambda: bench.fails(UpstreamError("502"))
    bench.monitor.check(max_age=10)
    bench.upstream.meanwhile = lambda: None
    bench.clock.time += 1
    bench.monitor.check(max_age=10)
    assert bench.probes == 3


def test_however_many_calls_fail_the_upstream_is_not_flooded_with_probes(bench: MonitorBench) -> None:
    for _ in range(1000):
        bench.fails(UpstreamError("502"))
        bench.monitor.check(max_age=10)
        bench.clock.time += 0.001
    assert bench.probes <= 1 + 1.0 / SHORTEST_PERIOD


# The thread


def test_probes_come_steadily_while_all_is_well_and_ever_more_seldom_while_it_is_not(bench: MonitorBench) -> None:
    backing_off = [min(FIRST_RETRY * 2**number, LAST_RETRY) for number in range(4)]
    assert backing_off[0] < backing_off[1] <= backing_off[3] == LAST_RETRY
    waits = bench.run(True, True, *[False] * 4, True, *[False] * 2, True)
    assert waits == [WELL_PERIOD, WELL_PERIOD, *backing_off, WELL_PERIOD, *backing_off[:2], WELL_PERIOD]
    assert bench.probes == 10


def test_no_more_probes_after_the_end(bench: MonitorBench) -> None:
    bench.monitor.stop()
    assert bench.run(True) == []
    assert bench.probes == 0


def test_a_monitor_that_fails_goes_on_probing(bench: MonitorBench, caplog: pytest.LogCaptureFixture) -> None:
    def bug() -> None:
        bench.upstream.meanwhile = lambda: None
        raise ZeroDivisionError

    bench.upstream.meanwhile = bug
    assert bench.run(True, True) == [FIRST_RETRY, WELL_PERIOD]
    assert bench.monitor.ready
    assert f"looking after upstream {URL} failed unexpectedly" in caplog.text


def test_the_thread_looks_at_once_when_a_call_fails(bench: MonitorBench) -> None:
    bench.monitor.start()
    assert bench.upstream.probed.acquire(timeout=10)
    assert bench.monitor.check(max_age=10)  # waits for the probe under way
    bench.clock.time += 1
    bench.fails(UpstreamError("502"))
    assert bench.upstream.probed.acquire(timeout=WELL_PERIOD / 2)
    bench.monitor.stop()


def test_the_thread_has_a_name_keeps_no_process_alive_and_ends(bench: MonitorBench) -> None:
    before = set(threading.enumerate())
    bench.monitor.start()
    (thread,) = set(threading.enumerate()) - before
    assert (thread.name, thread.daemon) == ("upstream-monitor", True)
    bench.monitor.stop()
    thread.join(10)
    assert not thread.is_alive()
