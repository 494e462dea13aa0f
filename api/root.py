"""Answers the probes of balancers and of what watches TEI: ``GET /`` and ``GET /ping``, without a body while ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Response

from api.error_forms import RequestError
from api.operations import READINESS_MAX_AGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.operations import KnowsReadiness


def blueprint(upstreams: KnowsReadiness, is_draining: Callable[[], bool]) -> Blueprint:
    """Return both routes. They say what ``/health`` says."""
    routes = Blueprint("root", __name__)

    @routes.get("/")
    @routes.get("/ping")
    def probe() -> Response:
        if is_draining():
            raise RequestError(503, "not ready: the service is shutting down")
        if not any(upstreams.check(READINESS_MAX_AGE).values()):
            raise RequestError(503, "not ready: no upstream answers")
        response = Response()
        del response.headers["Content-Type"]
        return response

    return routes
