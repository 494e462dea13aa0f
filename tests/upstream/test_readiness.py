"""The service is ready while one of its upstreams answers."""

from __future__ import annotations

from tests.support.fakes import FakeClock, capacity_of
from tests.support.observers import RecordingObserver
from tests.upstream.monitor_bench import ProbedUpstream
from upstream.clamp import Clamp
from upstream.dialects.dialect import UpstreamInfo
from upstream.monitor import UpstreamMonitor
from upstream.readiness import Readiness


class ReadinessBench:
    """Two upstreams, their monitors, and what they know together."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.capacity = capacity_of()
        self.observer = RecordingObserver()
        self.upstreams = [ProbedUpstream("http://0"), ProbedUpstream("http://1")]
        clamp = Clamp(self.capacity, batch_size=32, batches=4)
        monitors = [UpstreamMonitor(each, clamp, self.clock, self.observer) for each in self.upstreams]
        self.readiness = Readiness(monitors)

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
    assert bench.observer.states == [("http://1", True), ("http://1", False), ("http://0", True)]


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


def test_each_upstream_is_probed_in_the_background_until_the_end() -> None:
    bench = ReadinessBench()
    bench.readiness.start()
    for upstream in bench.upstreams:
        assert upstream.probed.acquire(timeout=10)
    bench.readiness.stop()
