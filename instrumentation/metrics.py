"""Owns every metric: names, labels and buckets, the observer that feeds them, and ``/metrics`` itself."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_flask_exporter import PrometheusMetrics

from api.error_forms import RequestError
from batching.call import ISOLATION
from batching.errors import UpstreamRejected
from batching.observer import Observer
from batching.timing.rule import REASONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from batching import BatchQueue, BatchReport, CallReport, ProxyError

log = logging.getLogger(__name__)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1000)
_STARTED = "autobatch.started"


class Metrics(Observer):
    """Feeds on what the engine reports and on what Flask answers.

    No label takes a value that a client can choose, so the number of series is bounded. Children are looked
    up once, not for each request.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """``registry``: a fresh one by default, so that several apps can live in one process."""
        self.registry = registry = CollectorRegistry() if registry is None else registry
        self._queue: BatchQueue | None = None
        self._queue_depth = Gauge(
            "autobatch_queue_depth_items",
            "Items waiting to be sent.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._calls = Gauge(
            "autobatch_calls_in_progress",
            "Requests admitted and not yet answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._in_flight = Gauge(
            "autobatch_in_flight_batches",
            "Batches that are upstream at present.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._batch_size = Histogram(
            "autobatch_batch_size_items", "Items per upstream call.", buckets=_SIZES, registry=registry
        )
        batches = Counter("autobatch_batches_total", "Batches by why they were sent.", ["reason"], registry=registry)
        self._batches = {reason: batches.labels(reason) for reason in REASONS}
        self._queue_delay = Histogram(
            "autobatch_queue_delay_seconds",
            "Time that requests wait until their batch is sent.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._upstream_latency = Histogram(
            "autobatch_upstream_latency_seconds", "Time of one upstream call.", buckets=_SECONDS, registry=registry
        )
        self._upstream_calls = Counter(
            "autobatch_upstream_calls_total",
            "Upstream calls by upstream and how they ended, retries and isolation included.",
            ["upstream", "result"],
            registry=registry,
        )
        self._retries = Counter(
            "autobatch_retries_total", "Upstream calls made again, by what had failed.", ["reason"], registry=registry
        )
        self._isolation_calls = Counter(
            "autobatch_isolation_calls_total", "Upstream calls that searched a refused batch.", registry=registry
        )
        self._ejections = Counter(
            "autobatch_upstream_ejections_total",
            "Times that an upstream was left out after failures in a row.",
            ["upstream"],
            registry=registry,
        )
        self._up = Gauge(
            "autobatch_upstream_up",
            "Whether the upstream answers its health check (1) or not (0).",
            ["upstream"],
            registry=registry,
            multiprocess_mode="livemin",
        )
        self._items = Counter("autobatch_items_total", "Items by what became of them.", ["outcome"], registry=registry)
        self._items_ok = self._items.labels("ok")
        self._thread_deaths = Counter(
            "autobatch_batcher_thread_deaths_total", "Batcher threads that died and were replaced.", registry=registry
        )
        self._http = Histogram(
            "autobatch_http_request_duration_seconds",
            "Time from the first look at a request to its answer.",
            ["route", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._http_children: dict[tuple[str, int], Histogram] = {}
        self._call_children: dict[tuple[str, str], Counter] = {}

    # ---- what the engine reports ----------------------------------------------------------------

    def on_batch(self, report: BatchReport) -> None:
        self._batch_size.observe(report.size)
        self._batches[report.reason].inc()
        for delay, _ in report.queue_delays:
            self._queue_delay.observe(delay)
        self._refresh()

    def on_call(self, report: CallReport) -> None:
        self._upstream_latency.observe(report.latency)
        result = _result(report.error)
        child = self._call_children.get((report.upstream, result))
        if child is None:
            child = self._upstream_calls.labels(report.upstream, result)
            self._call_children[report.upstream, result] = child
        child.inc()
        if report.retry_of is not None:
            self._retries.labels(report.retry_of).inc()
        if report.reason == ISOLATION:
            self._isolation_calls.inc()

    def on_stale_connection(self, upstream: str) -> None:  # noqa: ARG002
        self._retries.labels("stale").inc()

    def on_state(self, upstream: str, ready: bool) -> None:
        self._up.labels(upstream).set(ready)

    def on_ejection(self, upstream: str) -> None:
        self._ejections.labels(upstream).inc()

    def on_thread_death(self) -> None:
        self._thread_deaths.inc()

    def count_items(self, outcome: str, count: int) -> None:
        """Count items whose fate is sealed; each item is counted exactly once."""
        (self._items_ok if outcome == "ok" else self._items.labels(outcome)).inc(count)

    def count_unread(self, status: int) -> None:
        """Count a request that was refused before anybody read what it wants."""
        self._http_child("unread", status).observe(0.0)

    def watch(self, queue: BatchQueue) -> None:
        """Read the gauges off this queue."""
        self._queue = queue

    def _refresh(self) -> None:
        if self._queue is not None:
            self._queue_depth.set(self._queue.queued_items)
            self._calls.set(self._queue.calls)
            self._in_flight.set(self._queue.in_flight)

    # ---- what Flask answers ---------------------------------------------------------------------

    def register(self, app: Flask) -> None:
        """Time every request and serve ``/metrics``."""
        app.before_request(self._begin)
        app.after_request(self._end)
        # The exporter brings the endpoint, in one process or over several; its own defaults would label
        # by path and method, which clients choose, and cost more than all of the above.
        PrometheusMetrics(app, path="/metrics", export_defaults=False, registry=self.registry)
        scrape = app.view_functions["prometheus_metrics"]
        app.view_functions["prometheus_metrics"] = lambda: _guarded(scrape)

    def _begin(self) -> None:
        environ = request.environ
        environ[_STARTED] = time.perf_counter()
        if environ["PATH_INFO"] == "/metrics":
            self._refresh()

    def _end(self, response: Response) -> Response:
        current = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001 - asked once, not thrice
        rule = current.url_rule
        child = self._http_child(rule.rule if rule is not None else "unmatched", response.status_code)
        child.observe(time.perf_counter() - current.environ[_STARTED])
        return response

    def _http_child(self, route: str, status: int) -> Histogram:
        child = self._http_children.get((route, status))
        if child is None:
            child = self._http_children[route, status] = self._http.labels(route, status)
        return child


def _guarded(scrape: Callable[[], Any]) -> Any:
    """Answer 503 where the metrics cannot be read: one spoilt file of one process spoils them for all."""
    try:
        return scrape()
    except Exception as problem:
        log.exception("the metrics cannot be read")
        raise RequestError(503, "the metrics cannot be read; the service's log knows why") from problem


def _result(error: ProxyError | None) -> str:
    """Name how an upstream call ended, out of a few words: of a refusal, the type is the upstream's own."""
    if error is None:
        return "ok"
    return "Rejected" if isinstance(error, UpstreamRejected) else error.error_type
