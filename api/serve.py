"""The one way from a POST to the engine and back: body, query, call, headers, report."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from api.apis.query import Bounds, Route
from api.body import read_body
from api.environ import IS_GONE, STARTED
from api.error_forms import RequestError, quoted
from api.finished import FinishedResponse
from api.member_watch import MOST_VALUES, MemberWatch
from api.reading import LARGE, read_large_query, read_query
from api.request_id import request_id
from batching import Call, ProxyError, RequestReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from batching import Batcher, BatchKey, Observer
    from config import Settings

log = logging.getLogger(__name__)

#: Header by which a client may shorten the time it is willing to wait.
TIMEOUT_HEADER = "X-Request-Timeout-Ms"


def blueprint(
    routes: Iterable[Route],
    batcher: Batcher,
    cannot: Callable[[BatchKey], str | None],
    observer: Observer,
    settings: Settings,
) -> Blueprint:
    """Return the batched routes. ``cannot`` says why no upstream can do what a key asks for, or None."""
    views = Blueprint("batched", __name__)
    watch = MemberWatch()
    for route in routes:
        view = _view(route, batcher, cannot, observer, settings, watch=watch)
        views.add_url_rule(route.path, endpoint=route.path.replace(".", "_"), view_func=view, methods=["POST"])
    return views


def _view(
    route: Route,
    batcher: Batcher,
    cannot: Callable[[BatchKey], str | None],
    observer: Observer,
    settings: Settings,
    *,
    watch: MemberWatch,
) -> Callable[..., Response]:
    payload_limit, bounds = settings.payload_limit, Bounds(settings.max_client_batch_size)
    request_timeout = settings.request_timeout

    def view(**arguments: str) -> Response:
        environ = request.environ
        began: float = environ[STARTED]
        data = read_body(environ, payload_limit)
        query = (read_query if len(data) < LARGE else read_large_query)(route, bounds, data, arguments)
        del data  # the items are in the query, and a call may wait long
        if more := query.key.options.more:
            _warn_of(watch.see(more))
        if (reason := cannot(query.key)) is not None:
            raise RequestError(422, reason)
        call = Call(query.items, query.key, began + _time_limit(environ, request_timeout), environ.get(IS_GONE))
        try:
            batcher.ask(call)
        except ProxyError as error:
            observer.on_request(RequestReport(route.path, len(query.items), error.outcome))
            raise
        observer.on_request(RequestReport(route.path, len(query.items), "ok"))
        return FinishedResponse(query.answer(call), _headers(call, began, request_id(environ)))

    return view


def _warn_of(names: list[str]) -> None:
    """Say of each member that it undoes batching."""
    for name in names:
        log.warning(
            "the member %s has had more than %d different values. Requests share an upstream call only if all their "
            "members agree, so each value travels by itself: unless the embedding depends on it, clients should leave "
            "it out or send the same in all requests",
            quoted(name),
            MOST_VALUES,
        )


def _time_limit(environ: dict[str, Any], most: float) -> float:
    """Return how many seconds this client waits: the service's time-out, or less if the client says so."""
    asked = environ.get("HTTP_X_REQUEST_TIMEOUT_MS")
    if asked is None:
        return most
    digits = asked.lstrip("0")
    if not (digits.isascii() and digits.isdigit()):
        raise RequestError(400, f"{TIMEOUT_HEADER} must be a whole number of milliseconds above 0")
    return min(most, int(digits[:10]) / 1000)


def _headers(call: Call, began: float, identity: str) -> list[tuple[str, str]]:
    """Tell how the call was batched, and TEI's times, in milliseconds."""
    return [
        ("Content-Type", "application/json"),
        ("X-Request-Id", identity),
        ("X-Batch-Size", str(call.batch_size)),
        ("X-Batch-Reason", call.reason),
        ("X-Queue-Time", f"{call.queue_delay * 1000:.1f}"),
        ("X-Inference-Time", f"{call.inference_time * 1000:.1f}"),
        ("X-Total-Time", f"{(time.monotonic() - began) * 1000:.1f}"),
    ]
