"""Turns every failure that Flask meets into an error of the API that the path belongs to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from api.apis.table import api_of, unknown
from api.error_forms import ERROR_TYPES, RequestError, retry_after_header
from api.request_id import request_id
from batching.errors import InputsInDoubt, Overloaded, ProxyError, UpstreamMisconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batching.rank import Flow

log = logging.getLogger(__name__)


def _render(error: ProxyError, headers: Mapping[str, str] | None = None) -> Response:
    api = api_of(request.environ["PATH_INFO"])
    response = Response(api.error(error, request_id(request.environ)), api.status(error), headers)
    response.mimetype = "application/json"
    return response


def _on_proxy_error(error: ProxyError) -> Response:
    headers = {}
    if error.retry_after is not None:
        seconds = retry_after_header(error.retry_after)
        # OpenAI's SDKs look at the second first. It says the same: each client has a moment of its own.
        headers = {"Retry-After": seconds, "retry-after-ms": f"{seconds}000"}
    if isinstance(error, Overloaded) and error.flow is not None:
        headers |= _cap_of(error.flow)
    if is_final(error):
        headers["x-should-retry"] = "false"
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return _render(error, headers)


def _cap_of(flow: Flow) -> dict[str, str]:
    """Tell the cap that a client has reached, under the names that clients of hosted servers look at."""
    if flow.most_calls is None:
        return {}
    return {"x-ratelimit-limit-requests": str(flow.most_calls), "x-ratelimit-remaining-requests": "0"}


def is_final(error: ProxyError) -> bool:
    """Whether the same request, sent again, only costs more: OpenAI's SDKs repeat every 5xx unless told otherwise.

    The client's time is up, a quota is used up, the upstream failed on this input, or it is set up wrongly.
    """
    if error.is_final or error.status == 504:
        return True
    return error.status >= 500 and isinstance(error, InputsInDoubt | UpstreamMisconfigured)


def _on_http_exception(error: HTTPException) -> Response:
    """Keep what Werkzeug says (404, 405 with ``Allow`` …), but in JSON."""
    status = error.code or 500
    kept = {name: value for name, value in error.get_headers(request.environ) if name in {"Allow", "Location"}}
    message, error_type = error.description or error.name, ERROR_TYPES.get(status, "Unhandled")
    path = request.environ["PATH_INFO"]
    # GET /v1/models/NAME:explain asks for a model of such a name.
    if (status == 404 or path.endswith(":explain")) and (served := unknown(path)) is not None:
        status, message, error_type, kept = 404, served, ERROR_TYPES[404], {}
    return _render(RequestError(status, message, error_type=error_type), kept)


def _on_anything_else(error: Exception) -> Response:
    log.error("unexpected error, request %s", request_id(request.environ), exc_info=error)
    return _render(ProxyError("an unexpected error happened; it is in the service's log"))


def register(app: Flask) -> None:
    """Install the handlers; Flask picks the one for the nearest class."""
    # A path with doubled slashes is unknown: a redirect would be a page of HTML.
    app.url_map.merge_slashes = False
    app.register_error_handler(ProxyError, _on_proxy_error)
    app.register_error_handler(HTTPException, _on_http_exception)
    app.register_error_handler(Exception, _on_anything_else)
