"""Builds the long-lived objects behind one app, and starts, drains and stops them in order."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from api.apis.table import ROUTES
from api.app import App
from api.forward import Forwarder
from api.routes import register
from api.serve import Engine
from batching import (
    AdaptiveTiming,
    Batcher,
    BatchQueue,
    Capacity,
    FixedTiming,
    Limits,
    Observers,
    SystemClock,
    Timing,
)
from instrumentation.logs import UpstreamLog
from instrumentation.metrics import Metrics
from instrumentation.request_log import RequestLog
from upstream.clamp import Clamp
from upstream.identity import Identities
from upstream.monitor import UpstreamMonitor
from upstream.pool import UpstreamPool
from upstream.readiness import Readiness
from wiring import upstreams
from wiring.about import Knowledge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask

    from config import Settings
    from upstream.endpoint import AnyEndpoint, Endpoint

log = logging.getLogger(__name__)

#: Seconds that calls under way get when the service has to stop at once.
HURRIED_STOP = 0.5


class Service:
    """One process of the proxy: queue, batcher threads, upstreams and the Flask app in front of them.

    Its life: ``start`` after the fork, ``drain`` at SIGTERM, ``hurry`` at SIGINT and SIGQUIT, ``stop`` when the
    process ends.
    """

    def __init__(self, settings: Settings, *, endpoints: Sequence[AnyEndpoint] | None = None) -> None:
        """``endpoints``: the upstreams, for tests; by default one for each ``inference_url``."""
        clock = SystemClock()
        self.metrics = Metrics()
        upstream_log = UpstreamLog(clock)
        flows = [each.name for each in settings.client_keys]
        self._request_log = RequestLog(frozenset(flows)) if settings.log_requests == "on" else None
        self._observers = Observers(self.metrics, upstream_log)
        if self._request_log is not None:
            self._observers.add(self._request_log)
        identities = Identities()
        self._closing: list[Endpoint] = []
        if endpoints is None:
            endpoints = self._closing = upstreams.endpoints(settings, clock, self.metrics, identities)
        batches = settings.max_inflight_batches * len(endpoints)
        self.limits = _limits(settings)
        self.capacity = Capacity(batches=batches, batch_size=settings.max_batch_size)
        clamp = Clamp(
            self.capacity,
            batch_size=settings.max_batch_size,
            batches=batches,
            batch_tokens=settings.max_batch_tokens,
            batch_bytes=settings.max_batch_bytes,
        )
        self.pool = UpstreamPool(
            endpoints,
            self.capacity,
            settings.max_inflight_batches,
            clock,
            unavailable_wait=settings.unavailable_wait,
            observer=self._observers,
            clamp=clamp,
            per_minute=(settings.upstream_requests_per_minute, settings.upstream_tokens_per_minute),
        )
        self.knowledge = Knowledge(
            self.pool.speakers, self.capacity, settings.max_client_batch_size, settings.upstream_model
        )
        told = Observers(self.metrics, upstream_log, self.pool, self.pool.pacing, self.knowledge)
        monitors = [UpstreamMonitor(endpoint, clamp, clock, told, identities) for endpoint in endpoints]
        self._observers.add(*monitors)  # which the pool tells of failed calls
        for url in sorted(identities.awaited):  # which get no batch before the first look at them
            self.pool.on_state(url, ready=False)
        self.readiness = Readiness(monitors)
        self.queue = BatchQueue(self.limits, self.capacity, lambda: _timing(settings, len(endpoints)), clock)
        self.metrics.read_gauges_from(self.queue)
        self.metrics.limits.read_from(self.pool.pacing.states)
        self.metrics.expect([each.url for each in endpoints], [route.path for route in ROUTES], flows)
        self.batcher = Batcher(self.queue, self.pool, clock, threads=batches, observer=self._observers)
        told.add(self.batcher.isolation)
        self._stop_timeout = min(settings.request_timeout, settings.upstream_timeout)
        self.draining = False
        self.app = self._app(settings)

    def start(self) -> None:
        """Start the threads. Call it in the process that serves: threads do not survive a fork."""
        self.batcher.start()
        self.readiness.start()

    def drain(self) -> None:
        """Be no longer ready, and send what waits without delay; requests that still come are served."""
        self.draining = True
        self.queue.drain()

    def hurry(self) -> None:
        """Make ``stop`` wait for hardly anything."""
        self._stop_timeout = min(self._stop_timeout, HURRIED_STOP)
        self.pool.stop()

    def stop(self) -> None:
        """Finish the admitted calls, refuse others, end the threads, close the connections; in this order.

        The batcher first, for its calls need the upstreams; the pool's retries next, for they may still wait; then the
        monitors, and the connections that all of them use last.
        """
        self.draining = True
        log.debug("stopping: %d calls have %.1f s to end", self.queue.calls, self._stop_timeout)
        self.batcher.stop(self._stop_timeout)
        self.pool.stop()
        self.readiness.stop()
        for endpoint in self._closing:
            endpoint.close()
        log.debug("stopped: %r", self.queue)

    def count_unread(self, status: int) -> None:
        """Count a request that the worker refused before its route was known."""
        self.metrics.count_unread(status)
        if self._request_log is not None:
            self._request_log.unread(status)

    def _engine(self) -> Engine:
        return Engine(
            self.batcher,
            self.pool.speakers.fit,
            self.knowledge.get_bounds,
            Forwarder(self.pool.forwarding, self.queue, self.metrics).carry_out,
            self.metrics,
            self.metrics.count_token_ids,
        )

    def _app(self, settings: Settings) -> Flask:
        app = App("auto-batching-proxy", static_folder=None)
        app.extensions["service"] = self
        register(
            app,
            settings=settings,
            engine=self._engine(),
            about=self.knowledge.get_about,
            readiness=self.readiness,
            metrics=self.metrics,
            request_log=self._request_log,
            is_draining=lambda: self.draining,
        )
        return app


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_calls=settings.max_concurrent_requests,
        max_queued_items=settings.max_queued_items,
        max_batch_bytes=settings.max_batch_bytes,
        max_padded_bytes=settings.max_padded_bytes,
        max_wait=settings.max_wait,
        bulk_max_wait=settings.bulk_max_wait,
        bulk_latency_budget=settings.bulk_growth,
        deduplicate=settings.deduplicate == "on",
    )


def _timing(settings: Settings, upstreams: int) -> Timing:
    if settings.batch_timing == "fixed":
        return FixedTiming(settings.max_wait)
    return AdaptiveTiming(settings.max_batch_size, settings.max_wait, settings.upstream_parallelism * upstreams)
