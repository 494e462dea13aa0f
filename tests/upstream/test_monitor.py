"""The monitor knows whether the upstream answers, and adapts our limits to those it tells."""

from __future__ import annotations

import threading
from itertools import islice

import pytest

from batching import CallReport, Observer, ProxyError
from batching.errors import UpstreamError, UpstreamRejected, UpstreamTimeout
from tests.support.concurrency import Nursery
from tests.support.fakes import FakeClock, limits_of
from upstream.endpoint import UpstreamInfo
from upstream.monitor import (
    FIRST_RETRY,
    LAST_RETRY,
    SHORTEST_PERIOD,
    WELL_PERIOD,
    Clamp,
    Fleet,
    UpstreamMonitor,
    clamped,
)

NOTHING_TOLD = UpstreamInfo(None, None, None)


class FakeProbed:
    """An upstream that says what it is told to say, and counts how often it is asked."""

    url = "http://upstream"

    def __init__(self) -> None:
        self.healthy = True
        self.told: UpstreamInfo | None = UpstreamInfo("model", 32, 512)
        self.probes = 0
        self.probed = threading.Semaphore(0)

    def is_healthy(self, timeout: float) -> bool:
        self.probes += 1
        self.probed.release()
        return self.healthy

    def info(self, timeout: float) -> UpstreamInfo | None:
        return self.told


class Bench:
    """A monitor and what it works with."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.upstream = FakeProbed()
        self.limits = limits_of()
        self.clamp = Clamp(self.limits, limits_of())
        self.monitor = UpstreamMonitor(self.upstream, self.clamp, self.clock)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def report_of(error: ProxyError | None, upstream: str = "http://upstream") -> CallReport:
    return CallReport(upstream, 1, "full", None, 0.1, error)


# Readiness


def test_nobody_is_ready_before_the_first_look(bench: Bench) -> None:
    assert not bench.monitor.ready


def test_readiness_follows_the_upstream(bench: Bench) -> None:
    for healthy in (False, True, True, False, True):
        bench.upstream.healthy = healthy
        bench.clock.sleep(1)
        assert bench.monitor.check(max_age=0.5) is healthy
        assert bench.monitor.ready is healthy


def test_a_fresh_answer_is_used_again(bench: Bench) -> None:
    bench.monitor.check(max_age=1)
    bench.upstream.healthy = False
    bench.clock.sleep(0.9)
    assert bench.monitor.check(max_age=1)
    bench.clock.sleep(0.2)
    assert not bench.monitor.check(max_age=1)
    assert bench.upstream.probes == 2


def test_many_who_ask_at_once_share_one_probe(bench: Bench) -> None:
    with Nursery() as nursery:
        for _ in range(16):
            nursery.start(bench.monitor.check, 1.0)
    assert bench.upstream.probes == 1


# Limits


def test_limits_are_lowered_to_what_the_upstream_takes(bench: Bench) -> None:
    bench.upstream.told = UpstreamInfo("model", 8, 20)
    bench.monitor.check(max_age=0)
    assert (bench.limits.max_batch_size, bench.limits.max_inflight_items) == (8, 20)


def test_an_upstream_that_comes_back_with_more_room_gets_the_wanted_limits_again(bench: Bench) -> None:
    wanted = limits_of()
    for told, size, permits in [
        (UpstreamInfo("model", 8, 20), 8, 20),
        (UpstreamInfo("model", 16, 512), 16, 512),
        (UpstreamInfo("model", 64, None), 32, wanted.max_inflight_items),
        (UpstreamInfo("model", None, 5), 5, 5),
        (NOTHING_TOLD, 32, wanted.max_inflight_items),
    ]:
        for healthy in (False, True):
            bench.upstream.healthy = healthy
            bench.upstream.told = told
            bench.clock.sleep(1)
            bench.monitor.check(max_age=0.5)
        assert (bench.limits.max_batch_size, bench.limits.max_inflight_items) == (size, permits)


def test_an_upstream_that_tells_nothing_changes_nothing(bench: Bench) -> None:
    bench.upstream.told = None
    assert bench.monitor.check(max_age=0)
    assert bench.limits == limits_of()


def test_what_was_clamped_is_said_once() -> None:
    limits = limits_of()
    told = UpstreamInfo("model", 8, 20)
    assert clamped(limits, limits_of(), [told]) == ["max_batch_size 32 -> 8", "items in flight at most 20"]
    assert clamped(limits, limits_of(), [told]) == []


def test_permits_that_bound_nothing_are_not_worth_a_word() -> None:
    assert clamped(limits_of(), limits_of(), [UpstreamInfo("model", 32, 512)]) == []


# When it looks


def test_probes_come_steadily_while_all_is_well_and_ever_more_seldom_while_it_is_not(bench: Bench) -> None:
    health = iter([True, True, *[False] * 6, True, False])
    periods = list(islice(bench.monitor._periods(lambda: next(health)), 10))
    backing_off = [FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY, LAST_RETRY, LAST_RETRY, LAST_RETRY]
    assert periods == [WELL_PERIOD, WELL_PERIOD, *backing_off, WELL_PERIOD, FIRST_RETRY]


def test_no_more_probes_after_the_end(bench: Bench) -> None:
    periods = bench.monitor._periods(lambda: True)
    next(periods)
    bench.monitor.stop()
    assert list(periods) == []


@pytest.mark.parametrize("error", [UpstreamError("502"), UpstreamTimeout("504")])
def test_a_failed_batch_makes_it_look_again(bench: Bench, error: ProxyError) -> None:
    bench.monitor.check(max_age=10)
    bench.clock.sleep(1)
    bench.upstream.healthy = False
    bench.monitor.on_call(report_of(error))
    assert not bench.monitor.check(max_age=10)
    bench.clock.sleep(1)
    bench.monitor.check(max_age=10)  # one look was enough
    assert bench.upstream.probes == 2


@pytest.mark.parametrize("error", [None, UpstreamRejected("422", status=422), ProxyError("a bug of ours")])
def test_what_says_nothing_of_the_upstream_does_not(bench: Bench, error: ProxyError | None) -> None:
    bench.monitor.check(max_age=10)
    bench.clock.sleep(1)
    bench.monitor.on_call(report_of(error))
    bench.monitor.on_thread_death()
    bench.monitor.check(max_age=10)
    assert bench.upstream.probes == 1


def test_the_background_thread_looks_at_once_when_a_batch_fails(bench: Bench) -> None:
    bench.monitor.start()
    assert bench.upstream.probed.acquire(timeout=10)
    assert bench.monitor.check(max_age=10)  # waits for the probe under way
    bench.clock.sleep(1)
    bench.monitor.on_call(report_of(UpstreamError("502")))
    assert bench.upstream.probed.acquire(timeout=WELL_PERIOD / 2)
    bench.monitor.stop()


def test_a_batch_that_fails_during_a_probe_is_not_forgotten(bench: Bench) -> None:
    bench.monitor.check(max_age=10)
    bench.clock.sleep(20)
    healthy = bench.upstream.is_healthy

    def fails_meanwhile(timeout: float) -> bool:
        bench.upstream.is_healthy = healthy  # type: ignore[method-assign]
        bench.monitor.on_call(report_of(UpstreamError("502")))
        return healthy(timeout)

    bench.upstream.is_healthy = fails_meanwhile  # type: ignore[method-assign]
    bench.monitor.check(max_age=10)
    bench.clock.sleep(1)
    bench.monitor.check(max_age=10)
    assert bench.upstream.probes == 3


def test_however_many_batches_fail_the_upstream_is_not_flooded_with_probes(bench: Bench) -> None:
    for _ in range(1000):
        bench.monitor.on_call(report_of(UpstreamError("502")))
        bench.monitor.check(max_age=10)
        bench.clock.sleep(0.001)
    assert bench.upstream.probes <= 1 + 1.0 / SHORTEST_PERIOD


def test_a_monitor_that_fails_goes_on_probing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.upstream, "info", lambda timeout: 1 / 0)
    assert bench.monitor._look() is False
    monkeypatch.undo()
    assert bench.monitor._look() is True


# Several


class Fleeted:
    """Two upstreams and their monitors."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.limits = limits_of()
        self.upstreams = [FakeProbed(), FakeProbed()]
        self.states: list[tuple[str, bool]] = []
        clamp = Clamp(self.limits, limits_of())
        self.monitors = []
        for number, each in enumerate(self.upstreams):
            each.url = f"http://{number}"
            self.monitors.append(UpstreamMonitor(each, clamp, self.clock, [Noting(self.states)]))
        self.fleet = Fleet(self.monitors)


class Noting(Observer):
    def __init__(self, states: list[tuple[str, bool]]) -> None:
        self._states = states

    def on_state(self, upstream: str, ready: bool) -> None:
        self._states.append((upstream, ready))


def test_one_upstream_that_answers_is_enough_to_be_ready() -> None:
    several = Fleeted()
    several.upstreams[0].healthy = False
    assert several.fleet.check(1.0) == {"http://0": False, "http://1": True}
    several.upstreams[1].healthy = False
    several.clock.time += 2
    assert several.fleet.check(1.0) == {"http://0": False, "http://1": False}
    several.upstreams[0].healthy = True
    several.clock.time += 2
    assert several.fleet.check(1.0) == {"http://0": True, "http://1": False}
    assert several.states == [("http://1", True), ("http://1", False), ("http://0", True)]


def test_those_that_are_down_keep_nobody_waiting_while_another_is_ready() -> None:
    several = Fleeted()
    several.upstreams[0].healthy = False
    several.fleet.check(1.0)
    probes = several.upstreams[0].probes
    several.clock.time += 2
    several.fleet.check(1.0)
    assert several.upstreams[0].probes == probes


def test_a_batch_must_suit_every_upstream_and_permits_add_up() -> None:
    several = Fleeted()
    several.upstreams[0].told = UpstreamInfo("model", 16, 100)
    several.upstreams[1].told = UpstreamInfo("model", 8, 50)
    several.fleet.check(1.0)
    assert (several.limits.max_batch_size, several.limits.max_inflight_items) == (8, 150)


def test_a_failed_call_says_nothing_about_another_upstream() -> None:
    several = Fleeted()
    several.fleet.check(1.0)
    for monitor in several.monitors:
        monitor.on_call(report_of(UpstreamTimeout("late"), "http://1"))
    assert [monitor._doubted for monitor in several.monitors] == [False, True]
