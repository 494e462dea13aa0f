"""Writes responses: the one place where a head is put together, and where a slow reader is waited for."""

from __future__ import annotations

import errno
import fcntl
import socket
import struct
import sys
import termios
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

#: Bytes that a client has to take in the time for which it may take none.
SLOWEST_READER = 100_000


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
    """Sends head and body in one piece. Before it waits for a slow reader it passes a pending wake-up on (`relay`).

    Pool thread.
    """

    headers_sent: bool

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """Take status and headers (PEP 3333); headers that the service made itself are not checked."""
        if not isinstance(headers, OwnHeaders):
            return super().start_response(status, headers, exc_info)
        self.status, self.status_code = status, int(status[:3])
        self.headers, self.response_length = headers, headers.length
        return self.write

    def write(self, data: bytes) -> None:
        """Send the head, unless it has been sent, and these bytes of the body."""
        if self.headers_sent or self.chunked or self._omits_body or len(data) != self.response_length:
            relay.pass_on()
            super().write(data)
            return
        answer = self._head() + data
        self.headers_sent = True
        self.sent = len(data)
        try:
            done = self.sock.send(answer, socket.MSG_DONTWAIT)
        except BlockingIOError:
            done = 0
        if done < len(answer):
            relay.pass_on()
            send_to_slow_reader(self.sock, memoryview(answer)[done:])

    def send_headers(self) -> None:
        """Send the head alone: of a response in chunks, in several pieces or without a body."""
        if not self.headers_sent:
            self.sock.sendall(self._head())
            self.headers_sent = True

    def _head(self) -> bytes:
        headers = [("Transfer-Encoding", "chunked"), *self.headers] if self.chunked else self.headers
        return head(self.status, headers, version=self.req.version, keep_alive=not self.should_close())


def unread_bytes(sock: socket.socket) -> int:
    """Return how many bytes that were sent the client's system has not taken yet."""
    answer = fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


def send_to_slow_reader(
    sock: socket.socket,
    rest: memoryview,
    *,
    clock: Callable[[], float] = time.monotonic,
    unread: Callable[[socket.socket], int] = unread_bytes,
) -> None:
    """Send all to a client that reads slowly; raises ``BlockingIOError`` if it reads too slowly. Pool thread.

    It does if it has taken nothing for as long as the socket's send time-out, or fewer than ``SLOWEST_READER`` bytes
    for each such time. The time-out alone does not tell: the kernel wakes a writer only when much of a large buffer is
    free again. ``clock`` returns monotonic seconds.
    """
    timeout = _seconds(sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16))
    until = clock() + timeout * (1 + len(rest) / SLOWEST_READER)
    left = unread(sock)
    while rest:
        try:
            rest = rest[sock.send(rest) :]
        except BlockingIOError:
            before, left = left, unread(sock)
            if left >= before:
                raise
        else:
            left = unread(sock)
        if rest and clock() >= until:
            raise BlockingIOError(errno.EAGAIN, "the client reads too slowly")


def _seconds(timeval: bytes) -> float:
    whole, part = struct.unpack("ll", timeval)
    return float(whole + part / 1e6)
