"""The main thread's side of connections: takes them in, refuses the surplus, and ends those that are over."""

from __future__ import annotations

import errno
import re
import selectors
import socket
import time
from collections import deque
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from gunicorn import util

from api.error_forms import retry_after_header
from serving.connection import Connection
from serving.response import refusal, send_refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving.attendant import Attendant

#: Connections taken in on one turn of the main loop, and bytes read of a request that is refused.
MOST_ACCEPTED, MOST_READ = 64, 8192
#: Seconds for which a connection whose sending side is closed may still send what was under way, so that a reset does
#: not tear up the response, and the bytes that are taken of it.
LINGER, LINGER_BYTES = 2.0, 65_536

_REQUEST_ID = re.compile(rb"\r\nx-request-id:[ \t]*([\w-]{1,64})[ \t]*\r\n", re.IGNORECASE)
_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)


class Host(Protocol):
    """What the acceptor asks of its worker. Main thread."""

    #: Open connections, wherever they are. gunicorn's main loop accepts while they are fewer than the most.
    nr_conns: int

    @property
    def worker_connections(self) -> int:
        """The most open connections."""

    @property
    def poller(self) -> selectors.BaseSelector:
        """What the main loop waits on; the data of each key is called with the key's file object."""


class Acceptor:
    """Holds every connection that has no pool thread and is not kept alive by gunicorn's own list.

    A connection is *silent* until its first byte comes, *ready* while its request waits for a thread, and *lingering*
    after its last response. Only the main thread uses this object.

    A silent connection gets no thread, and a lingering one makes no thread wait: gunicorn spends up to five seconds of
    a thread on the one and two of its main loop on the other.
    """

    def __init__(
        self,
        host: Host,
        attendant: Attendant,
        settings: Any,
        *,
        most_requests: int,
        count_unread: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``settings``: gunicorn's. ``most_requests``: taken in at a time, before POST requests are refused with 429.

        ``count_unread`` is told the status of each request refused here. ``clock`` returns monotonic seconds.
        """
        self._host = host
        self._attendant = attendant
        self._settings = settings
        self._most_requests = most_requests
        self._count_unread = count_unread
        self._clock = clock
        #: Connections with the moment when their time is over; oldest first.
        self._silent: dict[Connection, float] = {}
        self._lingering: dict[Connection, float] = {}
        self._ready: deque[Connection] = deque()
        self._in_pool = 0
        #: Requests refused since the start.
        self.refused = 0

    # ---- connections that come ------------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """Take in new connections, and watch for their first bytes. Raises ``OSError`` if the listener is closed."""
        here = listener.getsockname()
        for _ in range(min(MOST_ACCEPTED, self._host.worker_connections - self._host.nr_conns)):
            try:
                sock, address = listener.accept()
            except OSError as problem:
                if problem.errno in {errno.EBADF, errno.EINVAL, errno.ENOTSOCK}:
                    raise
                # Nothing to accept, no descriptors or memory left, or a network error of that one connection.
                return
            self._host.nr_conns += 1
            conn = Connection(self._settings, sock, address, here, linger=self._linger, readers=self._attendant.readers)
            self._silent[conn] = self._clock() + self._settings.keepalive
            self._host.poller.register(sock, selectors.EVENT_READ, partial(self._on_first_byte, conn))

    def _on_first_byte(self, conn: Connection, sock: socket.socket) -> None:
        self._host.poller.unregister(sock)
        del self._silent[conn]
        self.admit(conn)

    # ---- requests that wait for a thread, and the surplus ---------------------------------------

    def admit(self, conn: Connection) -> None:
        """Let a request that has begun to arrive wait for a thread, or refuse it at once.

        A request is refused here, before threads, parsing and Flask, when more have come than may be served at a time:
        behind those it would only slow them down.
        """
        # Where requests wait, many connections may only be closing: these take no thread and no place.
        if self._ready and conn.has_left():
            self._drop(conn)
            return
        taken = self.busy - self._attendant.waiting()
        if taken < self._most_requests or not self._refuse(conn):
            self._ready.append(conn)

    def hand_out(self, most: int) -> list[Connection]:
        """Return the connections that get a thread now, ``most`` at most, first come first served."""
        given = [self._ready.popleft() for _ in range(min(len(self._ready), most))]
        self._in_pool += len(given)
        return given

    def take_back(self) -> None:
        """Note that a pool thread has finished with its connection."""
        self._in_pool -= 1

    @property
    def has_ready(self) -> bool:
        """Whether a request waits for a thread."""
        return bool(self._ready)

    @property
    def busy(self) -> int:
        """How many connections have a thread or wait for one."""
        return len(self._ready) + self._in_pool

    def _refuse(self, conn: Connection) -> bool:
        """Answer 429 to a POST request; return False for all others, which may ask for health or metrics."""
        try:
            request = conn.peek(MOST_READ)
        except OSError:
            return False
        if not request.startswith(b"POST "):
            return False
        asked = _REQUEST_ID.search(request)
        answer = refusal(
            429,
            "more requests have come than can be served, no more are taken",
            path=request.split(b" ", 2)[1].decode("latin-1"),
            error_type="Overloaded",
            identity=asked[1].decode() if asked else None,
            headers=[("Retry-After", retry_after_header(1))],
        )
        # The end of the stream follows at once: with this flag both leave in one packet.
        send_refusal(conn.sock, answer, socket.MSG_MORE)
        self._count_unread(429)
        self._host.nr_conns -= 1
        self.refused += 1
        conn.close(graceful=not is_whole(request))
        return True

    # ---- connections that go --------------------------------------------------------------------

    def _linger(self, conn: Connection) -> None:
        """Close the sending side; close the rest once the client has closed its side, or after ``LINGER`` seconds."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
        except OSError:
            util.close(conn.sock)
            return
        self._host.nr_conns += 1
        self._lingering[conn] = self._clock() + LINGER
        self._host.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_late_bytes, conn))

    def _on_late_bytes(self, conn: Connection, sock: socket.socket) -> None:
        try:
            size = len(sock.recv(LINGER_BYTES))
        except BlockingIOError:
            return
        except OSError:
            size = 0
        conn.late_bytes += size
        if not size or conn.late_bytes >= LINGER_BYTES:
            del self._lingering[conn]
            self._drop(conn)

    def _drop(self, conn: Connection) -> None:
        with suppress(OSError, KeyError, ValueError):
            self._host.poller.unregister(conn.sock)
        self._host.nr_conns -= 1
        conn.close()

    def close_expired(self) -> None:
        """Close the silent and the lingering connections whose time is over."""
        now = self._clock()
        for conns in (self._silent, self._lingering):
            while conns and (oldest := next(iter(conns.items())))[1] <= now:
                del conns[oldest[0]]
                self._drop(oldest[0])

    def cap_silence(self, deadline: float) -> None:
        """Let no silent connection wait for its first byte beyond the monotonic moment ``deadline``."""
        self._silent = {conn: min(until, deadline) for conn, until in self._silent.items()}


def is_whole(request: bytes) -> bool:
    """Return whether these bytes are all that the client has to send, so that closing now resets nothing."""
    head, found, body = request.partition(b"\r\n\r\n")
    length = _CONTENT_LENGTH.search(head + b"\r\n")
    return bool(found) and length is not None and len(body) == int(length[1])
