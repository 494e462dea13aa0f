"""``POST /embed``: one client's inputs in, its own vectors out."""

from __future__ import annotations

import select
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request

from api.body import read_json_object
from api.error_forms import RequestError
from api.finished import FinishedResponse
from api.request_id import request_id
from api.schemas import EmbedQuery, load_embed_query
from batching import Call, ProxyError

if TYPE_CHECKING:
    import socket

    from batching import Batcher
    from config import Settings
    from instrumentation.metrics import Metrics

#: Header by which a client may shorten the time it is willing to wait.
TIMEOUT_HEADER = "X-Request-Timeout-Ms"


def blueprint(batcher: Batcher, metrics: Metrics, settings: Settings) -> Blueprint:
    """Return the native embedding routes."""
    routes = Blueprint("embed", __name__)
    payload_limit = settings.payload_limit
    max_client_batch_size = settings.max_client_batch_size
    request_timeout = settings.request_timeout

    @routes.post("/embed")
    def embed() -> Response:
        environ = request.environ
        began = time.monotonic()
        query = load_embed_query(read_json_object(environ, payload_limit), max_client_batch_size)
        call = Call(query.items, query.key, began + _patience(environ, request_timeout), _hang_up_probe(environ))
        try:
            batcher.submit(call)
            results = batcher.result(call)
        except ProxyError as error:
            metrics.count_items(error.outcome, len(query.items))
            raise
        metrics.count_items("ok", len(query.items))
        return FinishedResponse(_answer(query, results), _headers(call, began, request_id(environ)))

    return routes


def _patience(environ: dict[str, Any], most: float) -> float:
    """Return how many seconds this client waits: the service's time-out, or less if the client says so."""
    asked = environ.get("HTTP_X_REQUEST_TIMEOUT_MS")
    if asked is None:
        return most
    digits = asked.lstrip("0")
    if not (digits.isascii() and digits.isdigit()):
        raise RequestError(400, f"{TIMEOUT_HEADER} must be a whole number of milliseconds above 0")
    return min(most, int(digits[:10]) / 1000)


def _answer(query: EmbedQuery, vectors: list[bytes]) -> bytes:
    """Put the upstream's own bytes into the shape that was asked for."""
    if query.shape == "tei":
        return b"[" + b",".join(vectors) + b"]"
    if query.shape == "one":
        return b'{"embedding":' + vectors[0] + b"}"
    return b'{"embeddings":[' + b",".join(vectors) + b"]}"


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


def _hang_up_probe(environ: dict[str, Any]) -> partial[bool] | None:
    """Return a function that tells whether the client has closed its connection; None if nobody can tell."""
    connection = environ.get("gunicorn.socket")
    return None if connection is None or not hasattr(select, "POLLRDHUP") else partial(_has_hung_up, connection)


def _has_hung_up(connection: socket.socket) -> bool:
    # POLLRDHUP sees the end of the stream even behind bytes that nobody has read yet.
    poll = select.poll()
    try:
        poll.register(connection, select.POLLRDHUP)
    except (OSError, ValueError):
        return True
    return bool(poll.poll(0))
