"""What operators and load balancers ask: liveness, readiness and metrics."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from flask import Blueprint, Flask, Response, jsonify
from prometheus_flask_exporter import PrometheusMetrics

from api.error_forms import RequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from instrumentation.metrics import Metrics

log = logging.getLogger(__name__)

#: Seconds for which one look at the upstream answers all health checks.
READINESS_MAX_AGE = 1.0


class KnowsReadiness(Protocol):
    """What knows which upstreams answer."""

    def check(self, max_age: float) -> dict[str, bool]: ...


def health_blueprint(upstreams: KnowsReadiness, is_draining: Callable[[], bool]) -> Blueprint:
    """Return the health routes; ``/health`` means what it means for TEI: can it serve."""
    routes = Blueprint("health", __name__)

    @routes.get("/health/live")
    def live() -> Response:
        return jsonify(status="alive")

    @routes.get("/health")
    @routes.get("/health/ready")
    def ready() -> tuple[Response, int]:
        if is_draining():
            return jsonify(status="not ready", reason="the service is shutting down"), 503
        states = upstreams.check(READINESS_MAX_AGE)
        told = [{"url": url, "ready": ready} for url, ready in states.items()]
        if not any(states.values()):
            return jsonify(status="not ready", reason="no upstream answers", upstreams=told), 503
        return jsonify(status="ready", upstreams=told), 200

    return routes


def register_metrics(app: Flask, metrics: Metrics) -> None:
    """Serve ``/metrics``."""
    # The exporter brings the endpoint, in one process or over several; its own defaults would label
    # by path and method, which clients choose, and cost more than all else here.
    PrometheusMetrics(app, path="/metrics", export_defaults=False, registry=metrics.registry)
    scrape = app.view_functions["prometheus_metrics"]

    def guarded() -> Any:
        """Answer 503 where the metrics cannot be read: one spoilt file of one process spoils them for all."""
        metrics.refresh()
        try:
            return scrape()
        except Exception as problem:
            log.exception("the metrics cannot be read")
            raise RequestError(503, "the metrics cannot be read; the service's log knows why") from problem

    app.view_functions["prometheus_metrics"] = guarded
