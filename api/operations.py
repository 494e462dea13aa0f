"""What operators and load balancers ask: liveness, readiness and metrics."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Protocol

from flask import Blueprint, Flask, Response, jsonify, request
from prometheus_client.exposition import choose_encoder
from prometheus_flask_exporter import PrometheusMetrics

from api.error_forms import RequestError
from api.shared import Shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from instrumentation.metrics import Metrics

log = logging.getLogger(__name__)

#: Where an app's ``extensions`` hold its `Liveness`, for answers that are made without the app.
LIVENESS = "liveness"

#: Texts of the metrics that are made for each second, and at once after a while in which none were.
METRICS_RATE, METRICS_BURST = 1.0, 10

#: Seconds for which one look at the upstream answers all health checks.
READINESS_MAX_AGE = 1.0


class KnowsReadiness(Protocol):
    """What knows which upstreams answer."""

    def check(self, max_age: float) -> dict[str, bool]:
        """Say of each whether it answers, as seen at most ``max_age`` seconds ago if a look is quick."""

    def reasons(self) -> dict[str, str]:
        """Say of each that does not answer why not."""


class Liveness:
    """What the service says to who asks whether it lives, whatever else is the matter."""

    path = "/health/live"
    body = b'{"status":"alive"}\n'

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def count(self, seconds: float) -> None:
        """Count an answer that was made without the app, in so many seconds. Any thread."""
        self._metrics.observe_http(self.path, 200, seconds)


def health_blueprint(upstreams: KnowsReadiness, is_draining: Callable[[], bool]) -> Blueprint:
    """Return the health routes; ``/health`` means what it means for TEI: can it serve."""
    routes = Blueprint("health", __name__)

    @routes.get(Liveness.path)
    def live() -> Response:
        return Response(Liveness.body, mimetype="application/json")

    @routes.get("/health")
    @routes.get("/health/ready")
    def ready() -> tuple[Response, int]:
        if is_draining():
            return jsonify(status="not ready", reason="the service is shutting down"), 503
        states = upstreams.check(READINESS_MAX_AGE)
        told = list(_told(states, upstreams.reasons()))
        if not any(states.values()):
            return jsonify(status="not ready", reason="no upstream answers", upstreams=told), 503
        return jsonify(status="ready", upstreams=told), 200

    return routes


def _told(states: Mapping[str, bool], reasons: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield what operators are told of each upstream; the reasons may name addresses."""
    for url, ready in states.items():
        told: dict[str, Any] = {"url": url, "ready": ready}
        # It may have changed since the look.
        if not ready and url in reasons:
            told["reason"] = reasons[url]
        yield told


def register_metrics(app: Flask, metrics: Metrics, *, clock: Callable[[], float] = time.monotonic) -> None:
    """Serve ``/metrics``, and let the server answer ``/health/live`` by itself.

    One thread makes the text, and all who ask share it: ``METRICS_RATE`` times a second if it is asked for without end.
    """
    app.extensions[LIVENESS] = Liveness(metrics)
    # The exporter brings the endpoint, in one process or over several; its own defaults would label
    # by path and method, which clients choose, and cost more than all else here.
    exporter = PrometheusMetrics(app, path="/metrics", export_defaults=False, registry=metrics.registry)

    shared: Shared[tuple[str, str]] = Shared(rate=METRICS_RATE, burst=METRICS_BURST, clock=clock)

    def make(accept: str, names: list[str]) -> tuple[str, str]:
        metrics.refresh()
        try:
            text, content_type = exporter.generate_metrics(accept, names)
        except Exception:
            log.exception("the metrics cannot be read")
            raise
        return text, content_type

    def scrape() -> Response:
        """Answer 503 where the metrics cannot be read: one spoilt file of one process spoils them for all."""
        names = request.args.getlist("name[]")
        accept = _understood(request.headers.get("Accept", ""))
        key = choose_encoder(accept)[1], *names  # all that are told in one format share one text
        try:
            text, content_type = shared.get(key, lambda: make(accept, names))
        except Exception as problem:
            raise RequestError(503, "the metrics cannot be read; the service's log knows why") from problem
        return Response(text, content_type=content_type)

    app.view_functions["prometheus_metrics"] = scrape


def _understood(accept: str) -> str:
    """Return an ``Accept`` header, or nothing where the library cannot read it."""
    try:
        choose_encoder(accept)
    except (TypeError, ValueError):
        return ""
    return accept
