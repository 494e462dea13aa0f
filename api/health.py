"""Liveness and readiness: is the process there, and can it serve now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from flask import Blueprint, Response, jsonify

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds for which one look at the upstream answers everybody who asks.
READINESS_MAX_AGE = 1.0


class Checked(Protocol):
    """Whatever knows which upstreams answer."""

    def check(self, max_age: float) -> dict[str, bool]: ...


def blueprint(upstream: Checked, is_draining: Callable[[], bool]) -> Blueprint:
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
        states = upstream.check(READINESS_MAX_AGE)
        upstreams = [{"url": url, "ready": ready} for url, ready in states.items()]
        if not any(states.values()):
            return jsonify(status="not ready", reason="no upstream answers", upstreams=upstreams), 503
        return jsonify(status="ready", upstreams=upstreams), 200

    return routes
