"""Gives the Flask app its routes, error handlers and headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import request

from api import auth, cors, errors, info, models, ollama_routes, operations, root, serve, timing
from api.apis.table import ROUTES
from api.documents import pages
from api.finished import FinishedResponse
from api.request_id import request_id
from config import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask, Response

    from api.apis.about import About
    from config import Settings
    from instrumentation.metrics import Metrics
    from instrumentation.request_log import RequestLog


def register(
    app: Flask,
    *,
    settings: Settings,
    engine: serve.Engine,
    about: Callable[[], About],
    readiness: operations.KnowsReadiness,
    metrics: Metrics,
    request_log: RequestLog | None,
    is_draining: Callable[[], bool],
) -> None:
    """Give the app all its routes, error handlers and headers. ``request_log``: None where requests are not logged."""
    errors.register(app)
    timing.register(app, metrics, request_log)
    operations.register_metrics(app, metrics)
    cors.register(app, settings.cors_allow_origin)
    auth.register(app, settings.api_key, settings.client_keys)
    app.register_blueprint(serve.blueprint(ROUTES, engine, settings))
    app.register_blueprint(models.blueprint(about))
    app.register_blueprint(info.blueprint(about, settings.max_concurrent_requests))
    app.register_blueprint(ollama_routes.blueprint(about))
    pages.register(app, __version__)
    app.register_blueprint(operations.health_blueprint(readiness, is_draining))
    app.register_blueprint(root.blueprint(readiness, is_draining))
    app.after_request(_identify)


def _identify(response: Response) -> Response:
    if not isinstance(response, FinishedResponse):  # which carries it already
        response.headers["X-Request-Id"] = request_id(request.environ)
    return response
