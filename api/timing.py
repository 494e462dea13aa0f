"""Times every request from the first look at it to its answer, and counts it by route and status."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from api.app import current_request
from api.environ import STARTED

if TYPE_CHECKING:
    from flask import Flask, Response

    from instrumentation.metrics import Metrics


def register(app: Flask, metrics: Metrics) -> None:
    """Time every request of this app."""

    def begin() -> None:
        current_request().environ[STARTED] = time.monotonic()

    def end(response: Response) -> Response:
        current = current_request()
        rule = current.url_rule
        seconds = time.monotonic() - current.environ[STARTED]
        metrics.observe_http(rule.rule if rule is not None else "unmatched", response.status_code, seconds)
        return response

    app.before_request(begin)
    app.after_request(end)
