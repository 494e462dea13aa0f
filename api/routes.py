"""Gives the Flask app its routes, error handlers and headers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import request

from api import auth, embed, errors, health
from api.finished import FinishedResponse
from api.request_id import request_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask, Response

    from batching import Batcher
    from config import Settings
    from instrumentation.metrics import Metrics


def register(
    app: Flask,
    *,
    settings: Settings,
    batcher: Batcher,
    upstream: health.Checked,
    metrics: Metrics,
    is_draining: Callable[[], bool],
) -> None:
    """Give the app all its routes, error handlers and headers."""
    errors.register(app)
    metrics.register(app)
    auth.register(app, settings.api_key)
    app.register_blueprint(embed.blueprint(batcher, metrics, settings))
    app.register_blueprint(health.blueprint(upstream, is_draining))
    app.after_request(_identify)


def _identify(response: Response) -> Response:
    if not isinstance(response, FinishedResponse):  # which carries it already
        response.headers["X-Request-Id"] = request_id(request.environ)
    return response
