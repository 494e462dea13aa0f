"""Knows which upstreams answer, and adapts our limits to what they say they take."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from batching.clock import Clock
    from batching.queue.batch_queue import Limits
    from upstream.endpoint import UpstreamInfo

from batching.errors import NoUpstream, UpstreamError, UpstreamRejected
from batching.observer import CallReport, Observer, tell

log = logging.getLogger(__name__)

#: Seconds one probe may take.
PROBE_TIMEOUT = 2.0
#: Seconds between probes while the upstream is well, and the first and the longest while it is not.
WELL_PERIOD, FIRST_RETRY, LAST_RETRY = 5.0, 0.5, 2.0
#: Seconds for which one look answers everybody, however many batches fail.
SHORTEST_PERIOD = 0.1


class Probed(Protocol):
    """The part of an upstream client that the monitor needs."""

    url: str

    def is_healthy(self, timeout: float) -> bool: ...
    def info(self, timeout: float) -> UpstreamInfo | None: ...


def clamped(limits: Limits, wanted: Limits, infos: Iterable[UpstreamInfo]) -> list[str]:
    """Lower ``limits`` from what the settings ``wanted`` to what the upstreams take; say what changed.

    A batch must suit each of them, and items in flight are their permits together. Upstreams that came back with
    more room get the wanted limits again.
    """
    batch_size, permits = wanted.max_batch_size, 0
    for info in infos:
        own = info.max_concurrent_requests or wanted.max_inflight_items
        batch_size = min(batch_size, info.max_client_batch_size or batch_size, own)
        permits = min(permits + own, wanted.max_inflight_items)
    changes = []
    if batch_size != limits.max_batch_size:
        changes.append(f"max_batch_size {limits.max_batch_size} -> {batch_size}")
        limits.max_batch_size = batch_size
    if permits and permits != limits.max_inflight_items:
        if permits < wanted.max_inflight_batches * batch_size:
            changes.append(f"items in flight at most {permits}")
        limits.max_inflight_items = permits
    return changes


class Clamp:
    """Keeps the queue's limits within what the upstreams have told so far."""

    def __init__(self, limits: Limits, wanted: Limits) -> None:
        """``limits`` are the queue's own, changed in place; ``wanted`` is what the settings say."""
        self._limits = limits
        self._wanted = wanted
        self._told: dict[str, UpstreamInfo] = {}
        self._lock = threading.Lock()

    def told(self, url: str, info: UpstreamInfo) -> list[str]:
        """Take into account what one upstream says of itself; return what that changes."""
        with self._lock:
            self._told[url] = info
            return clamped(self._limits, self._wanted, self._told.values())


class UpstreamMonitor(Observer):
    """Probes one upstream in the background, and at once when a call fails or somebody asks.

    When the upstream comes (back) up it reads its limits again: another version may allow another batch.
    """

    def __init__(self, upstream: Probed, clamp: Clamp, clock: Clock, observers: Sequence[Observer] = ()) -> None:
        self._upstream = upstream
        self._clamp = clamp
        self._clock = clock
        self._observers = observers
        # Guards the probe itself: one at a time, and whoever waited for one uses its answer.
        self._probing = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._checked_at = float("-inf")
        #: Whether a batch has failed since the last probe began.
        self._doubted = False
        self.ready = False

    @property
    def url(self) -> str:
        """The upstream's address."""
        return self._upstream.url

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
            for change in self._clamp.told(self._upstream.url, info):
                log.warning("clamped to what the upstream takes: %s", change)
        changed = healthy != self.ready
        self.ready = healthy
        self._checked_at = self._clock.now()
        if changed:
            tell(self._observers, "on_state", self._upstream.url, healthy)

    def on_call(self, report: CallReport) -> None:
        """Look again at once when a call failed in a way that says something about the upstream."""
        if report.upstream != self._upstream.url or not self.ready:
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
            log.exception("looking after upstream %s failed unexpectedly", self._upstream.url)
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


class Fleet:
    """The monitors of all upstreams: the service is ready while one of them is."""

    def __init__(self, monitors: Sequence[UpstreamMonitor]) -> None:
        self._monitors = monitors

    def check(self, max_age: float) -> dict[str, bool]:
        """Say of each upstream whether it answers, as seen at most ``max_age`` seconds ago.

        Where none was ready each is probed; else those that were, for the others the background looks after.
        """
        ready = [each for each in self._monitors if each.ready] or self._monitors
        for each in ready:
            each.check(max_age)
        return {each.url: each.ready for each in self._monitors}

    def start(self) -> None:
        """Start probing, a daemon thread for each."""
        for each in self._monitors:
            each.start()

    def stop(self) -> None:
        """Let the threads end; does not wait for a probe under way."""
        for each in self._monitors:
            each.stop()
