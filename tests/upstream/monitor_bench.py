"""A monitor on the fake clock, and a stand-in for the upstream that it probes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from batching import CallReport
from tests.support.fakes import FakeClock, FakeUpstream, capacity_of
from tests.support.observers import RecordingObserver
from upstream.clamp import Clamp
from upstream.dialects.dialect import UpstreamInfo
from upstream.health import Health
from upstream.identity import Identities
from upstream.monitor import PROBE_TIMEOUT, UpstreamMonitor

if TYPE_CHECKING:
    from collections.abc import Callable

    from batching import ProxyError

URL = "http://upstream"


class ProbedUpstream(FakeUpstream):
    """Is as healthy as it is told to be, says of itself what it is told to say, and notes what it is asked."""

    def __init__(self, url: str = URL) -> None:
        super().__init__()
        self.url = url
        self.told: UpstreamInfo | None = UpstreamInfo("model", 32, 512)
        #: The seconds that each probe, and each question for its limits, was given.
        self.probes: list[float] = []
        self.questions: list[float] = []
        self.probed = threading.Semaphore(0)
        #: What its health check says instead, and how a small call ends.
        self.says: Health | None = None
        self.trial = Health(True)
        #: The seconds that each small call was given.
        self.trials: list[float] = []
        #: How often it was said that it has gone.
        self.departures = 0
        self.identities: Identities | None = None
        #: Called during each probe.
        self.meanwhile: Callable[[], object] = lambda: None

    def health(self, timeout: float) -> Health:
        self.probes.append(timeout)
        self.meanwhile()
        self.probed.release()
        return self.says or super().health(timeout)

    def try_out(self, timeout: float) -> Health:
        self.trials.append(timeout)
        return self.trial

    def went_away(self) -> None:
        self.departures += 1
        if self.identities is not None:
            self.identities.gone(self.url)

    def info(self, timeout: float) -> UpstreamInfo | None:
        self.questions.append(timeout)
        if self.identities is not None and self.told is not None:
            self.identities.told(self.url, self.told.model_id)
        return self.told


class RecordingReasons(RecordingObserver):
    """Keeps the reasons as well that come with states."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: list[str] = []
        #: The upstreams whose dialect has changed.
        self.dialects: list[str] = []

    def on_dialect(self, upstream: str) -> None:
        self.dialects.append(upstream)

    def on_state(self, upstream: str, ready: bool, reason: str = "") -> None:
        super().on_state(upstream, ready)
        self.reasons.append(reason)


class Wake:
    """Stands in for the event that the monitor's thread waits on: notes each wait, and lets the time pass."""

    def __init__(self, bench: MonitorBench, health: list[bool]) -> None:
        self.waits: list[float] = []
        self._bench = bench
        self._health = health

    def wait(self, timeout: float) -> None:
        self.waits.append(timeout)
        self._bench.clock.time += timeout
        if self._health:
            self._bench.upstream.healthy = self._health.pop(0)
        else:
            self._bench.monitor.stop()

    def set(self) -> None:
        pass

    def clear(self) -> None:
        pass


class MonitorBench:
    """A monitor and what it works with."""

    def __init__(self, upstream: ProbedUpstream | None = None) -> None:
        self.clock = FakeClock()
        self.upstream = upstream or ProbedUpstream()
        self.capacity = capacity_of()
        self.observer = RecordingReasons()
        self.identities = self.upstream.identities = Identities()
        clamp = Clamp(self.capacity, batch_size=32, batches=4)
        self.monitor = UpstreamMonitor(self.upstream, clamp, self.clock, self.observer, self.identities)

    def fails(self, error: ProxyError | None, upstream: str = URL, *, took: float = 0.1) -> None:
        """Tell the monitor of a call that has ended like this, after so many seconds."""
        self.monitor.on_call(CallReport(upstream, 1, "full", None, took, error))

    def succeeds(self) -> None:
        """Tell the monitor of a call that was answered well."""
        self.fails(None)

    def look(self) -> bool:
        """Have the upstream looked at now."""
        return self.monitor.check(max_age=-1.0)

    def let_time_out(self) -> None:
        """Let each health check run into its time."""

        def wait() -> None:
            self.clock.time += PROBE_TIMEOUT

        self.upstream.meanwhile, self.upstream.says = wait, Health(False, "no answer in time")

    def check_each(self, *health: bool) -> list[bool]:
        """Check once a second, with the upstream as healthy as this."""
        answers = []
        for healthy in health:
            self.upstream.healthy = healthy
            self.clock.time += 1.0
            answers.append(self.monitor.check(max_age=0.5))
        return answers

    def run(self, *health: bool) -> list[float]:
        """Be the monitor's thread for as many probes as given; return how long it waited after each."""
        self.upstream.healthy, *later = health
        wake = Wake(self, later)
        self.monitor._wake = wake  # type: ignore[assignment] # the one place where the thread waits
        self.monitor._run()
        return wake.waits

    @property
    def probes(self) -> int:
        return len(self.upstream.probes)
