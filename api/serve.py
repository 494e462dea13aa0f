"""The one way from a POST to the engine and back: body, query, call, headers, report."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from flask import Blueprint, Response

from api.apis.query import Bounds, Forward, Query, Route
from api.app import current_request
from api.body import read_body
from api.environ import CALL, IS_GONE, STARTED
from api.error_forms import RequestError, quoted
from api.finished import FinishedResponse
from api.held_refusals import SOONEST, HeldRefusals
from api.member_watch import MOST_VALUES, MemberWatch
from api.ranks import CLASSES, Ranks
from api.reading import LARGE, read_large_query, read_query
from api.request_id import request_id
from batching import Call, ProxyError, RequestReport, Task
from batching.errors import ShuttingDown, UpstreamProtocolError
from formats.floats import as_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from batching import Batcher, BatchKey, Item, Observer
    from batching.outcomes import Result
    from config import Settings

log = logging.getLogger(__name__)

#: Header by which a client may shorten the time it is willing to wait.
TIMEOUT_HEADER = "X-Request-Timeout-Ms"
#: Of an SDK's own time-out, the part that is left for the answer to reach it, and the most of that in seconds.
SDK_MARGIN, MOST_SDK_MARGIN = 0.1, 0.25
_QUOTE = ord('"')
#: Tasks whose items are texts or lists of token ids.
_OF_INPUTS = frozenset({Task.EMBED, Task.EMBED_ALL, Task.EMBED_SPARSE})
#: What tells the class of a call, by whether it is bulk; and that another client's input was computed for it.
_CLASS = tuple(("X-Batch-Class", name) for name in CLASSES)
_SHARED = ("X-Batch-Shared", "true")
_decode: Callable[[bytes], Sequence[Any]] = msgspec.json.Decoder().decode


class Engine(NamedTuple):
    """What requests are served with."""

    batcher: Batcher
    #: Returns the key under which the upstreams do it, by the deadline; raises a ``ProxyError``.
    fit: Callable[[BatchKey, Sequence[Item], float], BatchKey]
    #: What one request may ask for at present.
    bounds: Callable[[], Bounds]
    carry_out: Callable[[Forward, dict[str, Any], float, str], Response]
    observer: Observer
    #: Counts a request whose inputs are token ids, by its route.
    count_token_ids: Callable[[str], None]


def blueprint(routes: Iterable[Route], engine: Engine, settings: Settings) -> Blueprint:
    """Return the routes that are asked by POST."""
    views = Blueprint("batched", __name__)
    shared = _Shared(settings)
    for route in routes:
        endpoint = route.path.replace(".", "_")
        views.add_url_rule(route.path, endpoint=endpoint, view_func=_view(route, engine, shared), methods=["POST"])
    return views


class _Shared:
    """What the views share: limits, and what is known of all requests. Any thread."""

    def __init__(self, settings: Settings) -> None:
        self.payload_limit = settings.payload_limit
        self.request_timeout = settings.request_timeout
        self.ranks = Ranks(settings)
        self.watch = MemberWatch()
        self.logs_requests = settings.log_requests == "on"
        self._held = HeldRefusals()
        self.token_ids_were_told = False

    def hold(self, error: ProxyError, began: float) -> None:
        """Let the calling thread wait where the error is a 503; ``began``: monotonic, when the request came."""
        if error.status == 503 and not isinstance(error, ShuttingDown):
            self._held.hold(SOONEST - (time.monotonic() - began))


def _view(route: Route, engine: Engine, shared: _Shared) -> Callable[..., Response]:
    payload_limit, most_seconds = shared.payload_limit, shared.request_timeout
    batcher, fit, get_bounds, carry_out, observer, count_token_ids = engine
    takes_base64, any_type = route.takes_base64, route.any_type
    rank_of, logs_requests = shared.ranks.of, shared.logs_requests

    def view(**arguments: str) -> Response:
        environ = current_request().environ
        began: float = environ[STARTED]
        data = read_body(environ, payload_limit, any_type=any_type)
        query = (read_query if len(data) < LARGE else read_large_query)(route, get_bounds(), data, arguments)
        del data  # the items are in the query, and a call may wait long
        deadline = began + _time_limit(environ, most_seconds, route)
        if not isinstance(query, Query):
            if isinstance(query, Forward):
                try:
                    return carry_out(query, environ, deadline, route.path)
                except ProxyError as error:
                    shared.hold(error, began)
                    raise
            return FinishedResponse(query.body, _plain_headers(request_id(environ)))
        rank = rank_of(environ, len(query.items), query.asks_for_bulk)
        if query.has_token_ids:
            count_token_ids(route.path)
            _warn_of_token_ids(shared)
        if more := query.key.options.more:
            _warn_of(shared.watch.see(more))
        try:
            call = Call(query.items, fit(query.key, query.items, deadline), deadline, environ.get(IS_GONE), rank)
            if logs_requests:
                environ[CALL] = call
            batcher.ask(call)
            if not takes_base64 and _are_packed(call):
                call.results = _as_numbers(call.results)
            body = query.answer(call)
        except ProxyError as error:
            observer.on_request(RequestReport(route.path, len(query.items), error.outcome, rank))
            shared.hold(error, began)
            raise
        observer.on_request(RequestReport(route.path, len(query.items), "ok", rank))
        return FinishedResponse(body, _headers(call, began, request_id(environ)))

    return view


def _are_packed(call: Call) -> bool:
    """Whether its results are vectors, and some of them base64."""
    if call.key.task is not Task.EMBED:
        return False
    results = call.results
    if len(results) == 1:
        return results[0][0] == _QUOTE
    return any(result[0] == _QUOTE for result in results)


def _as_numbers(results: Sequence[Result]) -> list[Result]:
    try:
        return [as_numbers(result) for result in results]
    except ValueError as problem:
        raise UpstreamProtocolError(f"the upstream answered a vector that is no JSON: {problem}") from problem


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


def _warn_of_token_ids(shared: _Shared) -> None:
    """Say once that ids of another vocabulary are answered with vectors that mean nothing."""
    if not shared.token_ids_were_told:
        shared.token_ids_were_told = True
        log.warning(
            "a client sends token ids instead of texts. They mean something only in the vocabulary of the upstream's "
            "own model; LangChain's OpenAI class sends OpenAI's unless it is told check_embedding_ctx_length=False"
        )


def _time_limit(environ: dict[str, Any], most: float, route: Route) -> float:
    """Return how many seconds this client waits: the service's time-out, or less if the client says so."""
    for header, unit in route.deadline_headers:
        if (told := environ.get(header)) is not None:
            most = min(most, _seconds(told, unit, most))
    asked = environ.get("HTTP_X_REQUEST_TIMEOUT_MS")
    if asked is None:
        return most
    digits = asked.lstrip("0")
    if not (digits.isascii() and digits.isdigit()):
        raise RequestError(400, f"{TIMEOUT_HEADER} must be a whole number of milliseconds above 0")
    return min(most, int(digits[:10]) / 1000)


def _seconds(told: str, unit: float, otherwise: float) -> float:
    """Return the seconds for which an SDK that tells its time-out can be answered; ``otherwise`` for no number above 0.

    A little less than it tells: our answer says that a repeat is pointless, and its own time-out makes it ask again.
    """
    try:
        value = float(told) * unit
    except ValueError:
        return otherwise
    return value - min(SDK_MARGIN * value, MOST_SDK_MARGIN) if value > 0 else otherwise  # not NaN either


def _plain_headers(identity: str) -> list[tuple[str, str]]:
    return [("Content-Type", "application/json"), ("X-Request-Id", identity)]


def _headers(call: Call, began: float, identity: str) -> list[tuple[str, str]]:
    """Tell how the call was batched, and what TEI tells: times in milliseconds, characters, tokens if counted."""
    total = f"{(time.monotonic() - began) * 1000:.1f}"
    told = [
        ("Content-Type", "application/json"),
        ("X-Request-Id", identity),
        ("X-Batch-Size", str(call.batch_size)),
        ("X-Batch-Reason", call.reason),
        _CLASS[call.rank.is_bulk],
        ("X-Queue-Time", f"{call.queue_delay * 1000:.1f}"),
        ("X-Inference-Time", f"{call.inference_time * 1000:.1f}"),
        ("X-Total-Time", total),
        ("X-Compute-Time", total),
    ]
    if call.key.task in _OF_INPUTS:
        told.append(("X-Compute-Characters", str(_characters(call.items))))
    if call.shared:
        told.append(_SHARED)
    if call.tokens is not None:
        told.append(("X-Compute-Tokens", str(call.tokens)))
    return told


def _characters(items: Sequence[Item]) -> int:
    """Return the characters of all texts; a token id counts as one."""
    if len(items) == 1:
        return len(_decode(items[0]))
    return sum([len(_decode(item)) for item in items])
