"""Answers who asks whether the process lives, on the main thread: no thread of the pool has to be free for that."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.http.unreader import IterUnreader

from api.request_id import request_id
from serving.connection import Request
from serving.exchange import check
from serving.response import head
from serving.service import cors_headers, liveness_of

if TYPE_CHECKING:
    from serving.connection import Connection
    from serving.service import Application

#: The most heads whose meaning is remembered. All are forgotten together.
MOST_HEADS = 64


class Question(NamedTuple):
    """What gunicorn made of a head that asks for liveness."""

    method: str
    version: tuple[int, int]
    closes: bool
    origin: str | None
    identity: str | None


class LivenessAnswers:
    """Makes the answers that the application would give, out of a body that never changes. Main thread."""

    def __init__(self) -> None:
        #: By the bytes of the head; None stands for what the application has to see.
        self._known: dict[bytes, Question | None] = {}

    def is_asked(self, application: Application | None, request: bytes) -> bool:
        """Return whether a request looks like one for liveness."""
        liveness = liveness_of(application)
        if liveness is None or not request.startswith((b"GET ", b"HEAD ")):
            return False
        return request.split(b" ", 2)[1] == liveness.path.encode()

    def answer(
        self, application: Application | None, conn: Connection, request: bytes, *, must_close: bool
    ) -> tuple[bytes, bool] | None:
        """Return a whole response, and whether the connection stays open; None if the application is to answer.

        ``request``: all that has come of it. It is understood as gunicorn's parser understands it, and whatever is
        refused, has a body or waits for another response is left to the application.
        """
        liveness = liveness_of(application)
        if liveness is None or not self.is_asked(application, request):
            return None
        began = time.monotonic()
        question = self._understood(conn, request)
        if question is None:
            return None
        stays = not (question.closes or must_close)
        identity = request_id({} if question.identity is None else {"HTTP_X_REQUEST_ID": question.identity})
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(liveness.body))),
            ("X-Request-Id", identity),
            *cors_headers(application, question.origin),
        ]
        response = head("200 OK", headers, version=question.version, keep_alive=stays)
        if question.method == "GET":
            response += liveness.body
        liveness.count(time.monotonic() - began)
        return response, stays

    def _understood(self, conn: Connection, request: bytes) -> Question | None:
        if request in self._known:
            return self._known[request]
        question = _parse(conn, request)
        if question is None or question.identity is None:  # those with an identity of their own never come again
            if len(self._known) >= MOST_HEADS:
                self._known.clear()
            self._known[request] = question
        return question


def _parse(conn: Connection, data: bytes) -> Question | None:
    unreader = IterUnreader([data])
    try:
        request: Any = Request(conn.cfg, unreader, conn.client)
        check(request)
    except (ParseException, NoMoreData, StopIteration):
        return None
    if getattr(request.body.reader, "length", None) != 0 or request._expected_100_continue:  # noqa: SLF001
        return None
    if unreader.buf.getvalue():
        return None
    origin, identity = _field(request, "ORIGIN"), _field(request, "X-REQUEST-ID")
    return Question(request.method, request.version, request.should_close(), origin, identity)


def _field(request: Request, wanted: str) -> str | None:
    """Return what the WSGI environment would hold of this header."""
    values = [value for name, value in request.headers if name == wanted]
    return ",".join(values) if values else None
