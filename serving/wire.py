"""The reading and writing of requests on gunicorn's terms, within absolute deadlines and with few system calls."""

from __future__ import annotations

import errno
import fcntl
import re
import socket
import struct
import sys
import termios
import time
from contextlib import suppress
from email.utils import formatdate
from io import BytesIO
from typing import TYPE_CHECKING, Any

from gunicorn.http import wsgi
from gunicorn.http.errors import InvalidHeader, ParseException, UnsupportedTransferCoding
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers import gthread

from api.body import TooSlowError
from api.own_headers import OwnHeaders
from batching import relay
from serving.heads import Head, Heads, ReceivedBody

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)

#: Seconds that a thread stays with a silent connection before it gives it back to the poller.
IDLE_PATIENCE = 1
#: Bytes that a client has to take in the time for which it may take none.
SLOWEST_READER = 100_000
#: Seconds for the rest of a body that the answer did not wait for.
DRAIN_PATIENCE = 1.0


class Connection(gthread.TConn):  # type: ignore[misc]
    """A client's connection: blocking on a pool thread, non-blocking in the poller."""

    initialized: bool

    def __init__(self, *args: Any, linger: Callable[[Connection], None], readers: set[Unreader], heads: Heads) -> None:
        """``linger`` takes the connection over when it is to be closed gracefully.

        ``readers`` holds what reads it while somebody waits for the rest of a request; ``heads`` is everybody's.
        """
        super().__init__(*args)
        self._linger = linger
        self._readers = readers
        self._heads = heads
        #: Of the request that is being served: what is known of its head, or its bytes if they are to be remembered.
        self._head: Head | None = None
        self._new_head = b""
        #: Whether it comes from the poller, and so has something to read.
        self.was_polled = False
        self.late_bytes = 0
        self._peeked = b""

    def attend(self, send_timeout: float) -> None:
        """Make it ready for a pool thread. ``send_timeout``: seconds for which a client may take nothing it is sent."""
        self.sock.setblocking(True)
        if not self.initialized:
            self.initialized = True
            # The kernel's own time-outs: unlike Python's they cost no system call for each read and write.
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(IDLE_PATIENCE))
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(send_timeout))
            self.parser = _Parser(self.cfg, self.sock, self.client, self._readers)
        if self._peeked:
            self.parser.unreader.unread(self._peeked)
            self._peeked = b""

    def peek(self, size: int) -> bytes:
        """Look at what has come of a request, ``size`` bytes at most, before a thread has the connection."""
        self._peeked = self._peeked or self.sock.recv(size, socket.MSG_DONTWAIT)
        return self._peeked

    def has_bytes(self) -> bool:
        """Whether bytes of the next request have been read already."""
        return bool(self.parser.unreader.buf.getbuffer().nbytes)

    def await_bytes(self) -> bool:
        """Wait for the first bytes of a request; False at the end of the stream.

        Raises ``BlockingIOError`` when none came for ``IDLE_PATIENCE`` seconds.
        """
        data = self.sock.recv(self.parser.unreader.mxchunk)
        self.parser.unreader.unread(data)
        return bool(data)

    def read_request(self, until: float) -> Any:
        """Read a request's head. All of the request has to be read by the monotonic moment ``until``."""
        unreader = self.parser.unreader
        unreader.deadline = until
        data: bytes = unreader.buf.getvalue()
        end = data.find(b"\r\n\r\n")
        head = data[: end + 4] if end >= 0 else b""  # half a head says nothing: anything may follow it
        self._head = self._heads.find(self.server, head) if head else None
        if self._head is not None and len(data) >= len(head) + self._head.body_length:
            return self._recall(self._head, data, len(head))
        request = next(self.parser)
        _check(request)
        # Only what came in one piece, and was used up by the head to the byte, is worth being remembered.
        left = unreader.buf.getbuffer().nbytes
        self._new_head = head if self._head is None and head and left == len(data) - len(head) else b""
        self._head = None
        return request

    def _recall(self, head: Head, data: bytes, start: int) -> Any:
        """Return the request whose head is known and whose body is here too."""
        end = start + head.body_length
        parser = self.parser
        parser.unreader.buf = BytesIO()
        if end < len(data):
            parser.unreader.unread(data[end:])
        request = _Request.__new__(_Request)
        request.__dict__.update(head.attributes)
        request.unreader = parser.unreader
        request.peer_addr = request.remote_addr = self.client
        request.body = ReceivedBody(data[start:end])
        parser.req_count += 1
        parser.mesg = request
        return request

    def answer_to(self, request: Any) -> tuple[WholeResponse, dict[str, Any]]:
        """Return the response that ``request`` will get on this connection, and its WSGI environment."""
        if self._head is None:
            response, environ = wsgi.create(
                request, self.sock, self.client, self.server, self.cfg, response_class=WholeResponse
            )
            environ["wsgi.multithread"] = True
            if self._new_head:
                self._heads.remember(self.server, self._new_head, request, environ)
            return response, environ
        environ = self._head.environ.copy()
        environ["wsgi.input"] = request.body
        environ["gunicorn.socket"] = self.sock
        if isinstance(self.client, tuple):
            environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = self.client[0], str(self.client[1])
        else:
            environ["REMOTE_ADDR"] = self.client
        return WholeResponse(request, self.sock, self.cfg), environ

    def is_drained(self, request: Any) -> bool:
        """Whether the request's body has been read to its end, or could be within little time."""
        if getattr(request.body.reader, "length", None) == 0 and not request.body.failed:
            return True
        try:
            return bool(self.parser.finish_body(deadline=time.monotonic() + DRAIN_PATIENCE))
        except (OSError, TooSlowError, ParseException):
            return False

    def has_left(self) -> bool:
        """Whether the client has closed its side, with nothing of a request left to read."""
        if self._peeked or (self.parser is not None and self.has_bytes()):
            return False
        try:
            return not self.sock.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def stop_reading(self) -> None:
        """Let whoever reads from it see its end; writing goes on."""
        _stop_reading(self.sock)

    def close(self, graceful: bool = False) -> None:
        if graceful:
            self._linger(self)
        else:
            super().close()


def _check(request: Any) -> None:
    """Refuse what gunicorn lets pass."""
    has_host = request.version < (1, 1)
    for name, value in request.headers:
        if name == "HOST":
            has_host = True
        elif name == "TRANSFER-ENCODING" and value.lower() != "chunked":
            # gunicorn lets other codings pass beside it, and hands the body over still coded.
            raise UnsupportedTransferCoding(value)
    if not has_host:
        raise InvalidHeader("HOST is missing", req=request)


def is_whole(request: bytes) -> bool:
    """Whether these bytes are all that the client has to send, so that closing now resets nothing."""
    head, found, body = request.partition(b"\r\n\r\n")
    length = _CONTENT_LENGTH.search(head + b"\r\n")
    return bool(found) and length is not None and len(body) == int(length[1])


def _timeval(seconds: float) -> bytes:
    whole, part = divmod(seconds, 1)
    return struct.pack("ll", int(whole), int(part * 1e6))


def _seconds(timeval: bytes) -> float:
    whole, part = struct.unpack("ll", timeval)
    return float(whole + part / 1e6)


class Unreader(SocketUnreader):  # type: ignore[misc]
    """Reads from a client until an absolute deadline; the socket itself gives up now and then, to look at the clock.

    It does not know its connection: a cycle of the two would outlive both until a garbage collection.
    """

    def __init__(self, sock: socket.socket, readers: set[Unreader]) -> None:
        super().__init__(sock)
        #: The monotonic moment when the request that is arriving becomes too slow.
        self.deadline = 0.0
        self._readers = readers

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Called only where a request did not come in one piece."""
        size = min(max(self.mxchunk, size_hint or 0), self.max_body_chunk)
        self._readers.add(self)
        try:
            while True:
                if time.monotonic() >= self.deadline:
                    raise TooSlowError
                with suppress(BlockingIOError):
                    data: bytes = self.sock.recv(size)
                    if data or time.monotonic() < self.deadline:
                        return data
        finally:
            self._readers.discard(self)

    def give_up(self) -> None:
        """Treat the request that is arriving as too slow, now."""
        self.deadline = 0.0
        _stop_reading(self.sock)


def _stop_reading(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RD)


class _Request(Request):  # type: ignore[misc]
    def _peer_trusted_for_forwarded(self) -> tuple[dict[str, str], list[str]]:
        """No peer is (``forwarded_allow_ips`` is empty), which need not be worked out for each request."""
        return {}, []


class _Parser(RequestParser):  # type: ignore[misc]
    mesg_class = _Request

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, readers: set[Unreader]) -> None:
        super().__init__(cfg, sock, client)
        self.unreader = Unreader(sock, readers)


class WholeResponse(wsgi.Response):  # type: ignore[misc]
    """Sends head and body in one piece, and never lets a slow reader hold up those who wake after it."""

    headers_sent: bool

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if not isinstance(headers, OwnHeaders):
            return super().start_response(status, headers, exc_info)
        self.status, self.status_code = status, int(status[:3])
        self.headers, self.response_length = headers, headers.length
        return self.write

    def default_headers(self) -> list[str]:
        major, minor = self.req.version
        connection = "close" if self.should_close() else "keep-alive"
        head = f"HTTP/{major}.{minor} {self.status}\r\nDate: {_date.now()}\r\nConnection: {connection}\r\n"
        return [head, "Transfer-Encoding: chunked\r\n"] if self.chunked else [head]

    def write(self, data: bytes) -> None:
        if self.headers_sent or self.chunked or self._omits_body or len(data) != self.response_length:
            relay.pass_on()
            super().write(data)
            return
        lines = self.default_headers()
        lines += [f"{name}: {value}\r\n" for name, value in self.headers]
        lines.append("\r\n")
        self.headers_sent = True
        self.sent = len(data)
        answer = "".join(lines).encode("latin-1") + data
        try:
            done = self.sock.send(answer, socket.MSG_DONTWAIT)
        except BlockingIOError:
            done = 0
        if done < len(answer):
            relay.pass_on()
            _send_to_slow_reader(self.sock, memoryview(answer)[done:])


def _send_to_slow_reader(sock: socket.socket, rest: memoryview) -> None:
    """Send all to a client that reads slowly; raises ``BlockingIOError`` if it does so too slowly.

    That is, when it has taken nothing for as long as the socket's time-out, or less on the whole than
    ``SLOWEST_READER`` bytes in that time. The socket's time-out alone does not tell: a writer is woken only when much
    of a large buffer is free again.
    """
    patience = _seconds(sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16))
    until = time.monotonic() + patience * (1 + len(rest) / SLOWEST_READER)
    unread = _unread(sock)
    while rest:
        try:
            rest = rest[sock.send(rest) :]
        except BlockingIOError:
            before, unread = unread, _unread(sock)
            if unread >= before:
                raise
        else:
            unread = _unread(sock)
        if rest and time.monotonic() >= until:
            raise BlockingIOError(errno.EAGAIN, "the client reads too slowly")


def _unread(sock: socket.socket) -> int:
    """Return how many bytes that were sent the client has not taken yet."""
    answer = fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


class _Date:
    """The date as HTTP writes it, made once a second."""

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
