"""Knows whether the upstream answers, and adapts our limits to what it says it takes."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batching.batch_queue import Limits
    from batching.call import BatchReport
    from batching.clock import Clock
    from batching.upstream import UpstreamInfo

from batching.errors import UpstreamError, UpstreamRejected

log = logging.getLogger(__name__)

#: Seconds one probe may take.
PROBE_TIMEOUT = 2.0
#: Seconds between probes while the upstream is well, and the first and the longest while it is not.
WELL_PERIOD, FIRST_RETRY, LAST_RETRY = 5.0, 0.5, 5.0
#: Seconds for which one look answers everybody, however many batches fail.
SHORTEST_PERIOD = 0.1


class Probed(Protocol):
    """The part of an upstream client that the monitor needs."""

    url: str

    def is_healthy(self, timeout: float) -> bool: ...
    def info(self, timeout: float) -> UpstreamInfo | None: ...


def clamped(limits: Limits, wanted: Limits, info: UpstreamInfo) -> list[str]:
    """Lower ``limits`` from what the settings ``wanted`` to what the upstream takes; say what changed.

    An upstream that came back with more room gets the wanted limits again.
    """
    batch_size = min(wanted.max_batch_size, info.max_client_batch_size or wanted.max_batch_size)
    permits = info.max_concurrent_requests or wanted.max_inflight_items
    batch_size = min(batch_size, permits)
    changes = []
    if batch_size != limits.max_batch_size:
        changes.append(f"max_batch_size {limits.max_batch_size} -> {batch_size}")
        limits.max_batch_size = batch_size
    if permits != limits.max_inflight_items:
        if permits < wanted.max_inflight_batches * batch_size:
            changes.append(f"items in flight at most {permits}")
        limits.max_inflight_items = permits
    return changes


class UpstreamMonitor:
    """Probes the upstream in the background, and at once when a batch fails or somebody asks.

    When the upstream comes (back) up it reads its limits again: another version may allow another batch.
    """

    def __init__(self, upstream: Probed, limits: Limits, wanted: Limits, clock: Clock) -> None:
        """``limits`` are the queue's own, changed in place; ``wanted`` is what the settings say."""
        self._upstream = upstream
        self._limits = limits
        self._wanted = wanted
        self._clock = clock
        # Guards the probe itself: one at a time, and whoever waited for one uses its answer.
        self._probing = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._checked_at = float("-inf")
        #: Whether a batch has failed since the last probe began.
        self._doubted = False
        self.ready = False

    def check(self, max_age: float) -> bool:
        """Whether the upstream answers, as seen at most ``max_age`` seconds ago; probes if need be."""
        with self._probing:
            if self._clock.now() - self._checked_at > (min(max_age, SHORTEST_PERIOD) if self._doubted else max_age):
                self._doubted = False
                self._note(self._upstream.is_healthy(PROBE_TIMEOUT))
            return self.ready

    def _note(self, healthy: bool) -> None:
        came_up = healthy and not self.ready
        if healthy != self.ready:
            log.log(
                logging.INFO if healthy else logging.WARNING,
                "upstream %s is %s",
                self._upstream.url,
                "ready" if healthy else "not ready",
            )
        if came_up and (info := self._upstream.info(PROBE_TIMEOUT)) is not None:
            log.info("upstream serves %s", info.model_id or "an unnamed model")
            for change in clamped(self._limits, self._wanted, info):
                log.warning("clamped to what the upstream takes: %s", change)
        self.ready = healthy
        self._checked_at = self._clock.now()

    def on_batch(self, report: BatchReport) -> None:
        """Look again at once when a batch failed in a way that says something about the upstream."""
        if isinstance(report.error, UpstreamError) and not isinstance(report.error, UpstreamRejected) and self.ready:
            self._doubted = True
            self._wake.set()

    def on_thread_death(self) -> None:
        """A batcher thread's death says nothing about the upstream."""

    def start(self) -> None:
        """Start probing in a daemon thread."""
        threading.Thread(target=self._run, name="upstream-monitor", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end; does not wait for a probe under way."""
        self._stopping = True
        self._wake.set()

    def _run(self) -> None:
        for period in self._periods(lambda: self.check(SHORTEST_PERIOD)):
            self._wake.wait(period)
            self._wake.clear()

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
