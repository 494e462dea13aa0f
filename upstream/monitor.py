"""Looks after one upstream: probes whether it answers, and asks it for its limits when it has come up."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from batching.clock import NOW
from batching.errors import NoUpstream, UpstreamError, UpstreamRejected
from batching.observer import CallReport, Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batching.clock import Clock
    from upstream.clamp import Clamp
    from upstream.endpoint import AnyEndpoint

log = logging.getLogger(__name__)

#: Seconds one probe may take.
PROBE_TIMEOUT = 2.0
#: Seconds between probes while the upstream is well, and the first and the longest while it is not.
WELL_PERIOD, FIRST_RETRY, LAST_RETRY = 5.0, 0.25, 0.5
#: Seconds for which one probe answers all who ask, however many batches fail.
SHORTEST_PERIOD = 0.1


class UpstreamMonitor(Observer):
    """Probes one upstream in the background, and at once when a call fails or a health check asks.

    When the upstream comes (back) up it reads its limits again: another version may allow another batch.
    """

    def __init__(self, endpoint: AnyEndpoint, clamp: Clamp, clock: Clock, observer: Observer | None = None) -> None:
        self._endpoint = endpoint
        self._clamp = clamp
        self._clock = clock
        self._observer = observer or Observer()
        # Guards the probe itself: one at a time, and a thread that waited for one uses its answer.
        self._probing = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._checked_at = NOW
        #: Whether a batch has failed since the last probe began.
        self._doubted = False
        self.ready = False

    @property
    def url(self) -> str:
        """The upstream's address."""
        return self._endpoint.url

    def check(self, max_age: float) -> bool:
        """Whether the upstream answers, as seen at most ``max_age`` seconds ago; probes if need be."""
        with self._probing:
            if self._clock.now() - self._checked_at > (min(max_age, SHORTEST_PERIOD) if self._doubted else max_age):
                self._doubted = False
                self._note(self._endpoint.is_healthy(PROBE_TIMEOUT))
            return self.ready

    def _note(self, healthy: bool) -> None:
        came_up = healthy and not self.ready
        if healthy != self.ready:
            log.log(
                logging.INFO if healthy else logging.WARNING,
                "upstream %s is %s",
                self._endpoint.url,
                "ready" if healthy else "not ready",
            )
        if came_up and (info := self._endpoint.info(PROBE_TIMEOUT)) is not None:
            log.info("upstream serves %s", info.model_id or "an unnamed model")
            for change in self._clamp.told(self._endpoint.url, info):
                log.warning("clamped to what the upstream takes: %s", change)
        changed = healthy != self.ready
        self.ready = healthy
        self._checked_at = self._clock.now()
        if changed:
            self._observer.on_state(self._endpoint.url, healthy)

    def on_call(self, report: CallReport) -> None:
        """Look again at once when a call failed in a way that says something about the upstream."""
        if report.upstream != self._endpoint.url or not self.ready:
            return
        if isinstance(report.error, UpstreamError) and not isinstance(report.error, UpstreamRejected | NoUpstream):
            self._doubted = True
            self._wake.set()

    def start(self) -> None:
        """Start probing in a daemon thread."""
        threading.Thread(target=self._run, name="upstream-monitor", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end; does not wait for a probe under way."""
        self._stopping = True
        self._wake.set()

    def _run(self) -> None:
        for period in self._periods(self._look):
            self._wake.wait(period)
            self._wake.clear()

    def _look(self) -> bool:
        try:
            return self.check(SHORTEST_PERIOD)
        except Exception:  # a bug of ours must not end the probing for good
            log.exception("looking after upstream %s failed unexpectedly", self._endpoint.url)
            return False

    def _periods(self, probe: Callable[[], bool]) -> Iterator[float]:
        """Yield how long to wait after each probe: steadily while all is well, doubling while it is not."""
        retry = FIRST_RETRY
        while not self._stopping:
            if probe():
                retry = FIRST_RETRY
                yield WELL_PERIOD
            else:
                yield retry
                retry = min(2 * retry, LAST_RETRY)
