"""Writes responses: the one place where a head is put together, and where it is said whether the connection stays."""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from gunicorn.http import wsgi

from api.apis.table import api_of
from api.error_forms import ERROR_TYPES, RequestError
from api.own_headers import OwnHeaders
from api.request_id import new_request_id
from batching import relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Bodies of fewer bytes are joined with their heads, so that a response is one write; larger ones are not copied.
LARGE = 65_536

#: Seconds that a pool thread waits at most for a client to take the rest of its response. Then the main thread does.
MOMENT = 0.05


class _Date:
    """The date as HTTP writes it, made once a second. Any thread."""

    def __init__(self) -> None:
        self._made = (0, "")

    def now(self) -> str:
        second = int(time.time())
        made, text = self._made
        if made != second:
            text = formatdate(second, usegmt=True)
            self._made = (second, text)
        return text


_date = _Date()


def head(
    status: str, headers: Iterable[tuple[str, str]], *, version: tuple[int, int] = (1, 1), keep_alive: bool = False
) -> bytes:
    """Return the head of a response up to the empty line. ``status``: code and reason."""
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers])
    return (
        f"HTTP/{version[0]}.{version[1]} {status}\r\nDate: {_date.now()}\r\n"
        f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n{fields}\r\n"
    ).encode("latin-1")


def refusal(
    status: int,
    text: str,
    *,
    path: str = "",
    error_type: str | None = None,
    identity: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
) -> bytes:
    """Return a whole response with a JSON error, which ends its connection.

    ``path``: where the request went, for the error takes the form of the API there; empty where it is not known.
    ``error_type``: None takes the one of the status. ``identity``: the request's, None makes one.
    """
    identity = identity or new_request_id()
    error = RequestError(status, text, error_type=error_type or ERROR_TYPES.get(status, "Unhandled"))
    body = api_of(path).error(error, identity)
    fields = [
        ("Content-Type", "application/json"),
        *headers,
        ("X-Request-Id", identity),
        ("Content-Length", str(len(body))),
    ]
    return head(f"{status} {HTTPStatus(status).phrase}", fields) + body


def send_refusal(sock: socket.socket, answer: bytes, flags: int = 0) -> None:
    """Send it as far as the socket takes it without waiting; errors are dropped. ``flags``: of ``send``. Any thread."""
    with suppress(OSError):
        sock.send(answer, socket.MSG_DONTWAIT | flags)


class WholeResponse(wsgi.Response):  # type: ignore[misc]
    """Sends head and body in one piece. Before it waits for its client it passes a pending wake-up on (`relay`).

    Pool thread.
    """

    headers_sent: bool
    must_close: bool
    #: Says just before the head is sent whether the request leaves its connection fit for another.
    may_stay: Callable[[Any], bool] | None = None
    #: What the client has not taken yet: it is to be sent by the main thread.
    unsent: memoryview | None = None

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """Take status and headers (PEP 3333); headers that the service made itself are not checked."""
        if not isinstance(headers, OwnHeaders):
            return super().start_response(status, headers, exc_info)
        self.status, self.status_code = status, int(status[:3])
        self.headers, self.response_length = headers, headers.length
        return self.write

    def write(self, data: bytes) -> None:
        """Send the head, unless it has been sent, and these bytes of the body.

        A body that comes in one piece, of the length that its head tells, is sent as far as the client takes it soon.
        """
        if self.headers_sent or self.chunked or self._omits_body or len(data) != self.response_length:
            relay.pass_on()
            super().write(data)
            return
        head = self._head()
        self.headers_sent = True
        self.sent = size = len(data)
        try:
            if size < LARGE:
                done = self.sock.send(head + data, socket.MSG_DONTWAIT)
            else:
                done = self.sock.sendmsg([head, data], [], socket.MSG_DONTWAIT)
        except BlockingIOError:
            done = 0
        if done < len(head) + size:
            relay.pass_on()
            done -= len(head)
            rest = memoryview(data)[done:] if done >= 0 else memoryview(head[done:] + data)
            self.unsent = send_soon(self.sock, rest)

    @property
    def ends_with_its_connection(self) -> bool:
        """Whether its head is sent and only the end of the connection tells its client where the body ends."""
        return self.headers_sent and not self.chunked and self.response_length is None

    def send_headers(self) -> None:
        """Send the head alone: of a response in chunks, in several pieces or without a body."""
        if not self.headers_sent:
            self.sock.sendall(self._head())
            self.headers_sent = True

    def _head(self) -> bytes:
        stays = not self.should_close()
        if stays and self.may_stay is not None:
            stays = self.may_stay(self.req)
            self.must_close = not stays
        headers = [("Transfer-Encoding", "chunked"), *self.headers] if self.chunked else self.headers
        return head(self.status, headers, version=self.req.version, keep_alive=stays)


def send_soon(
    sock: socket.socket, rest: memoryview, *, moment: float = MOMENT, clock: Callable[[], float] = time.monotonic
) -> memoryview | None:
    """Send what the client takes within ``moment`` seconds; return what is left, None for nothing. Pool thread."""
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    until = clock() + moment
    while (left := until - clock()) > 0 and poll.poll(left * 1000):
        try:
            rest = rest[sock.send(rest, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            break
        if not rest:
            return None
    return rest
