"""Times every request from the first look at it to its answer, counts it by route and status, and has it logged."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from api.app import current_request
from api.environ import CALL, STARTED
from api.request_id import request_id

if TYPE_CHECKING:
    from flask import Flask, Response

    from instrumentation.metrics import Metrics
    from instrumentation.request_log import RequestLog


def register(app: Flask, metrics: Metrics, request_log: RequestLog | None = None) -> None:
    """Time every request of this app. ``request_log``: told of each as well, if it is given."""

    def begin() -> None:
        current_request().environ[STARTED] = time.monotonic()

    def end(response: Response) -> Response:
        current = current_request()
        rule = current.url_rule
        seconds = time.monotonic() - current.environ[STARTED]
        route = rule.rule if rule is not None else "unmatched"
        metrics.observe_http(route, response.status_code, seconds)
        if request_log is not None:
            environ = current.environ
            request_log.request(request_id(environ), route, response.status_code, seconds, environ.get(CALL))
        return response

    app.before_request(begin)
    app.after_request(end)
