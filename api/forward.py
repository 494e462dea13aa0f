"""Carries out a ``Forward``: the request goes upstream as it is, and the answer to the client as it comes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

from flask import Response

from api.environ import IS_GONE
from api.finished import FinishedResponse
from api.request_id import request_id
from api.trace import trace_headers
from batching.errors import ClientGone, ProxyError, UpstreamProtocolError
from batching.observer import RequestReport
from upstream.dialects.words import read
from upstream.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from api.apis.query import Forward
    from batching import Observer
    from upstream.forwarded import Forwarded
    from upstream.forwarding import Forwarding, Passage

#: Bytes of the answers that are joined to one.
MOST_JOINED = 64 << 20
#: What a TEI server tells of its work, which the client is told as well.
PASSED_ON = (
    "x-compute-type",
    "x-compute-time",
    "x-compute-characters",
    "x-compute-tokens",
    "x-total-time",
    "x-tokenization-time",
    "x-queue-time",
    "x-inference-time",
)
#: What the JSON begins with that is passed on: a list or an object.
_OPENS_JSON = frozenset({b"[", b"{"})
#: How an error begins that has status 200, and the bytes in which that shows.
_IS_ERROR = re.compile(rb'\s*\{\s*"error"\s*:').match
_TELLING = 64
_HARMLESS = re.compile(r"[\w.+:-]{1,64}", re.ASCII).fullmatch


class Admits(Protocol):
    """The queue, for a request that does not wait in it."""

    def admit_guest(self) -> None: ...
    def guest_left(self) -> None: ...


class Forwarder:
    """Passes requests on under the admission that all requests share, and reports each once."""

    def __init__(self, forwarding: Forwarding, admission: Admits, observer: Observer) -> None:
        self._forwarding = forwarding
        self._admission = admission
        self._observer = observer

    def carry_out(self, forward: Forward, environ: dict[str, Any], deadline: float, route: str) -> Response:
        """Return the answer to a request; its body comes from the upstream while it is sent.

        ``deadline``: a moment on the engine's clock, also for the last byte. ``route``: its rule, for the report.
        Raises a ``ProxyError`` as long as nothing has been answered. After that a failure raises
        ``ConnectionAbortedError`` where the body is iterated, so that the client's connection ends within the answer.
        """
        visit = _Visit(self._admission, lambda outcome: self._report(route, forward.items, outcome))
        try:
            self._admission.admit_guest()
            visit.is_admitted = True
            passage = visit.passage = self._forwarding.enter(forward.path, deadline, environ.get(IS_GONE))
            requests = [Request(forward.path, body, trace_headers(environ)) for body in forward.bodies]
            identity = request_id(environ)
            if forward.join is not None and len(requests) > 1:
                body = forward.join(_read_all(passage, requests))
                visit.end("ok")
                return FinishedResponse(body, _head({}, identity))
            answer = visit.answer = passage.open(requests[0])
            first = _first_of(answer)
            if answer.is_whole:
                visit.end("ok")
                return FinishedResponse(first, _head(answer.headers, identity))
            return _streamed(_Pieces(first, answer, visit), answer.headers)
        except ProxyError as error:
            visit.end(error.outcome)
            raise
        except BaseException:
            visit.end(ProxyError.outcome)
            raise

    def _report(self, route: str, items: int, outcome: str) -> None:
        self._observer.on_request(RequestReport(route, items, outcome))


class _Visit:
    """What one request holds until its answer has been sent."""

    def __init__(self, admission: Admits, report: Callable[[str], None]) -> None:
        self._admission = admission
        self._report: Callable[[str], None] | None = report
        self.is_admitted = False
        self.passage: Passage | None = None
        self.answer: Forwarded | None = None

    def end(self, outcome: str) -> None:
        """Let go of all of it, and report; a second time does nothing."""
        report, self._report = self._report, None
        if report is None:
            return
        self.let_upstream_go()
        if self.is_admitted:
            self._admission.guest_left()
        report(outcome)

    def let_upstream_go(self) -> None:
        """Let others have the connection and the place."""
        if self.answer is not None:
            self.answer.close()
        if self.passage is not None:
            self.passage.leave()


class _Pieces:
    """The body of an answer, for the server to send: each piece is read when the one before has been sent."""

    def __init__(self, first: bytes, answer: Forwarded, visit: _Visit) -> None:
        self._first = first
        self._answer = answer
        self._visit = visit

    def __iter__(self) -> _Pieces:
        return self

    def __next__(self) -> bytes:
        first, self._first = self._first, b""
        try:
            piece = first or self._answer.read()
        except ProxyError as problem:
            self._visit.end(problem.outcome)
            raise ConnectionAbortedError(f"the answer ends before its end: {problem}") from problem
        if not piece:
            self._visit.end("ok")
            raise StopIteration
        if self._answer.is_whole:  # the client may take its time for the rest
            self._visit.let_upstream_go()
        return piece

    def close(self) -> None:
        """Note that the client took no more, unless it has all."""
        self._visit.end(ClientGone.outcome)


def _first_of(answer: Forwarded) -> bytes:
    """Return the first piece; raises ``UpstreamProtocolError`` if it begins like an error, or not like JSON."""
    first = answer.read()
    opening = first[:_TELLING].lstrip()[:1]
    if opening not in _OPENS_JSON:
        raise UpstreamProtocolError("the upstream's answer is not JSON")
    if opening == b"{":
        while len(first) < _TELLING and not answer.is_whole and (piece := answer.read()):
            first += piece
        if _IS_ERROR(first):
            text, _ = read(first)
            raise UpstreamProtocolError(f"the upstream answered 200 with an error{text and f': {text}'}")
    return first


def _read_all(passage: Passage, requests: list[Request]) -> list[bytes]:
    """Make the calls one after the other; return the bodies of their answers."""
    bodies = []
    left = MOST_JOINED
    for request in requests:
        answer = passage.open(request)
        try:
            body = bytearray()
            while piece := answer.read():
                body += piece
                if len(body) > left:
                    raise UpstreamProtocolError(f"the upstream's answers are longer than {MOST_JOINED} bytes together")
        finally:
            answer.close()
        left -= len(body)
        bodies.append(bytes(body))
    return bodies


def _streamed(pieces: _Pieces, headers: Mapping[str, str]) -> Response:
    response = Response(pieces, content_type="application/json", direct_passthrough=True)
    response.headers.extend(_told(headers))
    if (length := headers.get("content-length")) is not None:
        response.headers["Content-Length"] = length
    return response


def _head(headers: Mapping[str, str], identity: str) -> list[tuple[str, str]]:
    return [("Content-Type", "application/json"), ("X-Request-Id", identity), *_told(headers)]


def _told(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what the upstream tells of its work, as far as it is harmless."""
    return [(name.title(), headers[name]) for name in PASSED_ON if name in headers and _HARMLESS(headers[name])]
