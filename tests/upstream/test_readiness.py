"""The service is ready while one of its upstreams answers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from batching import CallReport
from tests.support.fakes import FakeClock, capacity_of
from tests.support.observers import RecordingObserver
from tests.support.service import eventually
from tests.upstream.monitor_bench import ProbedUpstream
from upstream.clamp import Clamp
from upstream.dialects.dialect import UpstreamInfo
from upstream.monitor import UpstreamMonitor
from upstream.readiness import LONGEST_WAIT, Readiness

if TYPE_CHECKING:
    from collections.abc import Iterator


class ReadinessBench:
    """Two upstreams, their monitors, and what they know together."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.capacity = capacity_of()
        self.observer = RecordingObserver()
        self.upstreams = [ProbedUpstream("http://0"), ProbedUpstream("http://1")]
        clamp = Clamp(self.capacity, batch_size=32, batches=4)
        self.monitors = [UpstreamMonitor(each, clamp, self.clock, self.observer) for each in self.upstreams]
        self.readiness = Readiness(self.monitors)

    def check(self, *healthy: bool) -> list[bool]:
        """Check two seconds later, with the upstreams as healthy as this."""
        self.clock.time += 2.0
        for upstream, each in zip(self.upstreams, healthy, strict=True):
            upstream.healthy = each
        answer = self.readiness.check(1.0)
        assert list(answer) == ["http://0", "http://1"]
        return list(answer.values())

    @property
    def probes(self) -> list[int]:
        return [len(upstream.probes) for upstream in self.upstreams]


def test_one_upstream_that_answers_is_enough_to_be_ready() -> None:
    bench = ReadinessBench()
    assert bench.check(False, True) == [False, True]
    assert bench.check(False, False) == [False, False]
    assert bench.check(True, False) == [True, False]
    assert bench.observer.states == [
        ("http://0", False),
        ("http://1", True),
        ("http://1", False),
        ("http://0", True),
    ]


def test_upstreams_that_are_down_are_not_waited_for_while_another_is_ready() -> None:
    bench = ReadinessBench()
    bench.check(False, True)
    assert bench.probes == [1, 1]
    bench.check(True, True)
    assert bench.probes == [1, 2]  # the monitor's own thread looks after the other


def test_while_none_was_ready_each_is_probed() -> None:
    bench = ReadinessBench()
    bench.check(False, False)
    assert bench.check(False, True) == [False, True]
    assert bench.probes == [2, 2]


def test_an_answer_that_is_fresh_enough_is_used_again() -> None:
    bench = ReadinessBench()
    bench.check(True, True)
    bench.readiness.check(1.0)
    assert bench.probes == [1, 1]


def test_a_batch_must_suit_every_upstream_and_permits_add_up() -> None:
    bench = ReadinessBench()
    bench.upstreams[0].told = UpstreamInfo("model", 16, 100)
    bench.upstreams[1].told = UpstreamInfo("model", 8, 50)
    bench.check(True, True)
    assert (bench.capacity.batch_size, bench.capacity.items) == (8, 150)


def test_it_says_why_upstreams_do_not_answer() -> None:
    bench = ReadinessBench()
    assert bench.readiness.reasons() == dict.fromkeys(["http://0", "http://1"], "it has not been looked at yet")
    bench.check(False, True)
    assert bench.readiness.reasons() == {"http://0": "down"}
    bench.check(True, True)
    bench.readiness.check(-1.0)
    assert bench.readiness.reasons() == {"http://0": "down"}  # its own thread looks at it
    bench.check(False, False)
    bench.check(True, True)
    assert bench.readiness.reasons() == {}


# In the background


@pytest.fixture
def running() -> Iterator[ReadinessBench]:
    """Both upstreams have been looked at in the background and are ready."""
    bench = ReadinessBench()
    bench.readiness.start()
    for upstream in bench.upstreams:
        assert upstream.probed.acquire(timeout=10)
    eventually(lambda: all(bench.readiness.check(1e9).values()))
    yield bench
    bench.readiness.stop()


def test_each_upstream_is_probed_in_the_background(running: ReadinessBench) -> None:
    assert running.probes == [1, 1]


def test_a_check_has_a_look_made_that_is_due(running: ReadinessBench) -> None:
    running.clock.time += 2.0
    running.upstreams[0].healthy = False
    running.readiness.check(1.0)
    for upstream in running.upstreams:
        assert upstream.probed.acquire(timeout=10)
    eventually(lambda: running.readiness.check(1e9) == {"http://0": False, "http://1": True})


def test_a_check_does_not_wait_for_an_upstream_that_does_not_answer_its_own(running: ReadinessBench) -> None:
    gate = threading.Event()
    running.upstreams[0].meanwhile = lambda: gate.wait(10)
    before = running.clock.time = running.clock.time + 2.0
    assert running.readiness.check(1.0) == {"http://0": True, "http://1": True}  # what is known
    assert running.clock.time <= before + LONGEST_WAIT
    assert running.upstreams[0].probed.acquire(blocking=False) is False  # the look is still under way
    gate.set()
    assert running.upstreams[0].probed.acquire(timeout=10)


def test_many_checks_wait_together_no_longer_than_one(running: ReadinessBench) -> None:
    gate = threading.Event()
    for upstream in running.upstreams:
        upstream.meanwhile = lambda: gate.wait(10)
    before = running.clock.time = running.clock.time + 2.0
    for number in range(1, 4):
        running.readiness.check(1.0)
        assert running.clock.time <= before + number * LONGEST_WAIT
    gate.set()


def test_a_batch_that_has_just_succeeded_is_look_enough(running: ReadinessBench) -> None:
    for second in range(5):
        running.clock.time += 1.0
        for monitor in running.monitors:
            monitor.on_call(CallReport(monitor.url, 1, "full", None, 0.1, None))
        assert running.readiness.check(0.5) == {"http://0": True, "http://1": True}, second
    assert running.probes == [1, 1]
