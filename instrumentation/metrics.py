"""Owns every metric: names, labels and buckets, and the observer that feeds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from batching.call import ISOLATION
from batching.errors import ProxyError, UpstreamError, UpstreamRejected
from batching.observer import Observer
from batching.timing.rule import REASONS
from instrumentation.bulk_histogram import BulkHistogram
from instrumentation.limit_metrics import LimitMetrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from batching import BatchQueue, BatchReport, CallReport, RequestReport

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1000, 2048)


#: The two classes, by whether they are bulk; and the flows without a name.
_CLASSES = ("interactive", "bulk")
_OTHERS = "other"
#: Outcomes of which each flow has a series from the start.
_OUTCOMES_OF_FLOWS = ("ok", "shed", "timeout")

#: Routes of which each status is there from the start: with all of them, a scrape would be several times as long.
_MAIN_ROUTES = frozenset({"/embed", "/v1/embeddings"})
#: Statuses of batched routes, for the series that exist from the start.
_STATUSES = (200, 400, 413, 422, 424, 429, 500, 502, 503, 504)


class Metrics(Observer):
    """Counts what the engine and the service report.

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
        queue_delay = BulkHistogram(
            "autobatch_queue_delay_seconds",
            "Time that requests wait until their batch is sent, by class.",
            ["class"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._queue_delay, self._bulk_queue_delay = [queue_delay.labels(name) for name in _CLASSES]
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
        self._items = Counter(
            "autobatch_items_total", "Items by what became of them, and class.", ["outcome", "class"], registry=registry
        )
        self._items_ok, self._bulk_items_ok = [self._items.labels("ok", name) for name in _CLASSES]
        self._flow_items = Counter(
            "autobatch_flow_items_total",
            "Items by the client whose key asked for them, where clients have keys of their own.",
            ["flow", "outcome"],
            registry=registry,
        )
        self._flows: frozenset[str] = frozenset()
        self._flow_items_ok: dict[str, Counter] = {}
        self._thread_deaths = Counter(
            "autobatch_batcher_thread_deaths_total", "Batcher threads that died and were replaced.", registry=registry
        )
        self._token_ids = Counter(
            "autobatch_token_id_requests_total",
            "Requests whose inputs are token ids, which may be of another vocabulary than the model's.",
            ["route"],
            registry=registry,
        )
        self._http = Histogram(
            "autobatch_http_request_duration_seconds",
            "Time from the first look at a request to its answer.",
            ["route", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._saved = Counter(
            "autobatch_calls_saved_total", "Requests answered minus upstream calls made.", registry=registry
        )
        # Of one thread at a time: no other can come between the reading and the writing of `+=` on an attribute.
        self._answered = self._made = self._told_saved = 0
        self.limits = LimitMetrics(registry)
        self._http_children: dict[tuple[str, int], Histogram] = {}
        self._call_children: dict[tuple[str, str], Counter] = {}

    def expect(self, upstreams: Iterable[str], routes: Iterable[str], flows: Iterable[str] = ()) -> None:
        """Let every series exist from the start, at 0: a rate that appears with its first event misses that event.

        ``flows``: the names that flows may have as a label. Without any, flows are not counted.
        """
        errors = list(_kinds(ProxyError))
        for outcome in {error.outcome for error in errors}:
            for name in _CLASSES:
                self._items.labels(outcome, name)
        self._flows = frozenset(flows)
        for flow in (*self._flows, _OTHERS) if self._flows else ():
            for outcome in _OUTCOMES_OF_FLOWS:
                self._flow_items.labels(flow, outcome)
            self._flow_items_ok[flow] = self._flow_items.labels(flow, "ok")
        reasons = {error.retry_reason for error in errors if issubclass(error, UpstreamError)} - {None}
        for reason in ("stale", *filter(None, reasons)):
            self._retries.labels(reason)
        results = {"ok", "Rejected", *(error.error_type for error in errors if issubclass(error, UpstreamError))}
        for upstream in upstreams:
            self._ejections.labels(upstream)
            self.limits.expect(upstream)
            self._up.labels(upstream).set(0)
            for result in results:
                self._call_children[upstream, result] = self._upstream_calls.labels(upstream, result)
        for route in routes:
            self._token_ids.labels(route)
            for status in _STATUSES if route in _MAIN_ROUTES else _STATUSES[:1]:
                self._http_child(route, status)

    # ---- what the engine reports ----------------------------------------------------------------

    def on_batch(self, report: BatchReport) -> None:
        self._batch_size.observe(report.size)
        self._batches[report.reason].inc()
        if report.bulk is None:
            self._queue_delay.observe_all([delay for delay, _ in report.queue_delays])
        else:
            delays: tuple[list[float], list[float]] = ([], [])
            for (delay, _), is_bulk in zip(report.queue_delays, report.bulk, strict=True):
                delays[is_bulk].append(delay)
            self._queue_delay.observe_all(delays[False])
            self._bulk_queue_delay.observe_all(delays[True])
        self._refresh_queue()

    def on_call(self, report: CallReport) -> None:
        self._made += 1
        self._upstream_latency.observe(report.latency)
        result = _upstream_result(report.error)
        child = self._call_children.get((report.upstream, result))
        if child is None:
            child = self._upstream_calls.labels(report.upstream, result)
            self._call_children[report.upstream, result] = child
        child.inc()
        if report.retry_reason is not None:
            self._retries.labels(report.retry_reason).inc()
        if report.reason == ISOLATION:
            self._isolation_calls.inc()

    def on_stale_connection(self, upstream: str) -> None:  # noqa: ARG002
        self._retries.labels("stale").inc()

    def on_state(self, upstream: str, ready: bool, reason: str = "") -> None:  # noqa: ARG002
        self._up.labels(upstream).set(ready)

    def on_ejection(self, upstream: str) -> None:
        self._ejections.labels(upstream).inc()

    def on_look(self, upstream: str) -> None:  # noqa: ARG002
        self.refresh()

    def on_thread_death(self) -> None:
        self._thread_deaths.inc()

    def on_request(self, report: RequestReport) -> None:
        _, items, outcome, (is_bulk, flow, _) = report
        if outcome == "ok":
            self._answered += 1
            (self._bulk_items_ok if is_bulk else self._items_ok).inc(items)
        else:
            self._items.labels(outcome, _CLASSES[is_bulk]).inc(items)
        if self._flows:
            self._count_of_flow(_OTHERS if flow is None else flow.name, outcome, items)

    def _count_of_flow(self, name: str, outcome: str, items: int) -> None:
        if name not in self._flows:
            name = _OTHERS
        if outcome == "ok":
            self._flow_items_ok[name].inc(items)
        else:
            self._flow_items.labels(name, outcome).inc(items)

    # ---- what the service measures --------------------------------------------------------------

    def observe_http(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._http_child(route, status).observe(seconds)

    def count_token_ids(self, route: str) -> None:
        """Count a request whose inputs are token ids."""
        self._token_ids.labels(route).inc()

    def count_unread(self, status: int) -> None:
        """Count a request that was refused before its route was known."""
        self._http_child("unread", status).observe(0.0)

    def read_gauges_from(self, queue: BatchQueue) -> None:
        """Read the gauges off this queue."""
        self._queue = queue

    def refresh(self) -> None:
        """Bring up to date what is not counted as it happens."""
        self._refresh_queue()
        self.limits.refresh()
        more = self._answered - self._made - self._told_saved
        if more > 0:
            self._told_saved += more
            self._saved.inc(more)

    def _refresh_queue(self) -> None:
        if self._queue is not None:
            self._queue_depth.set(self._queue.queued_items)
            self._calls.set(self._queue.calls)
            self._in_flight.set(self._queue.in_flight)

    def _http_child(self, route: str, status: int) -> Histogram:
        child = self._http_children.get((route, status))
        if child is None:
            child = self._http_children[route, status] = self._http.labels(route, status)
        return child


def _kinds(error: type[ProxyError]) -> Iterator[type[ProxyError]]:
    """Yield the class of an error and all below it, as far as the engine defines them."""
    yield error
    for below in error.__subclasses__():
        if below.__module__.startswith("batching."):
            yield from _kinds(below)


def _upstream_result(error: ProxyError | None) -> str:
    """Name how an upstream call ended, out of a few words: of a refusal, the type is the upstream's own."""
    if error is None:
        return "ok"
    return "Rejected" if isinstance(error, UpstreamRejected) else error.error_type
