"""Responses that their clients take slowly: sent by the main loop, within a bound on the memory that they hold."""

from __future__ import annotations

import fcntl
import logging
import selectors
import socket
import struct
import sys
import termios
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from serving.host import drop

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving.connection import Connection
    from serving.host import Host

#: Bytes that a client has to take in the time for which it may take none.
SLOWEST_READER = 100_000
#: Bytes that a client's system may take at once and then nothing until its program has read them: two of the largest
#: segments of the loopback interface.
STEP = 131_072
#: Bytes that are sent to one client on one turn of the main loop.
MOST_SENT = 262_144
#: Seconds for which a response is spared where others can be given up: how fast its client is shows only then.
SPARED = 1.0
#: Seconds between two lines of log.
LOG_EVERY = 60.0
#: Seconds between two looks at how fast clients take their responses.
LOOK_EVERY = 0.5

log = logging.getLogger(__name__)


def unread_bytes(sock: socket.socket) -> int:
    """Return how many bytes that were sent the client's system has not taken yet."""
    answer = fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4))
    return int.from_bytes(answer, sys.byteorder)


class UnsentResponse:
    """What is left of one response."""

    def __init__(self, rest: memoryview, now: float, timeout: float, unread: int) -> None:
        """``now``: the monotonic moment. ``timeout``: seconds for which its client may take nothing.

        ``unread``: bytes before the rest that were sent and not taken.
        """
        self.rest = rest
        #: Bytes of memory that it holds: all of the response until a part has been let go.
        self.held = memoryview(rest.obj).nbytes
        self.began = now
        self._unread = unread
        #: What the client had not taken at first, and when it last took something; and when that was.
        self._size = self._left = len(rest) + unread
        self._progressed = now
        self._until = now + timeout * (1 + self._size / SLOWEST_READER)
        #: Seconds between two signs of a client that is as slow as it may be.
        self._longest_step = timeout * (1 + STEP / SLOWEST_READER)
        self.advance(0)

    def advance(self, sent: int) -> None:
        """Note that so many bytes have been sent. Once half of the memory is idle, the rest gets memory of its own."""
        self.rest = self.rest[sent:]
        if 2 * len(self.rest) < self.held:
            self.rest = memoryview(bytes(self.rest))
            self.held = len(self.rest)

    def is_too_slow(self, now: float, unread: int) -> bool:
        """Return whether its client has taken nothing for as long as it may, or too little since the beginning.

        How much it has taken shows in steps, so a slow one is waited for until it must have made one. ``unread``: bytes
        that were sent and not taken. Sending alone does not tell: the kernel lets a writer go on only when much of a
        large buffer is free again.
        """
        left = len(self.rest) + unread
        if left < self._left:
            self._left, self._progressed = left, now
        return now >= self._until or now >= self._progressed + self._longest_step

    def time_left(self, now: float) -> float:
        """Return how long the client would take for the rest at the speed that it has shown, in seconds."""
        left = min(self._left, len(self.rest) + self._unread)
        return left * (now - self.began) / (1 + self._size - left)


def first_to_go(responses: dict[Connection, UnsentResponse], now: float) -> Connection:
    """Return the connection whose response would hold its memory for longest: the largest and slowest.

    Those that came within the last ``SPARED`` seconds are spared as long as there are others.
    """
    known = [conn for conn, response in responses.items() if now - response.began >= SPARED]
    if known:
        return max(known, key=lambda conn: responses[conn].time_left(now))
    return max(responses, key=lambda conn: len(responses[conn].rest))


class UnsentResponses:
    """Sends them without a thread: the poller tells when a client has taken something. Main thread.

    A client that takes nothing for ``timeout`` seconds, or fewer than ``SLOWEST_READER`` bytes for each such time, is
    given up. So is the one that would take longest when all of them hold more than ``most_bytes``; one alone may.
    """

    def __init__(
        self,
        host: Host,
        *,
        most_bytes: int,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        unread: Callable[[socket.socket], int] = unread_bytes,
    ) -> None:
        """``unread`` returns the bytes in a socket's send buffer."""
        self._host = host
        self._most_bytes = most_bytes
        self._timeout = timeout
        self._clock = clock
        self._unread = unread
        self._responses: dict[Connection, UnsentResponse] = {}
        self._held = 0
        self._given_up = 0
        self._logged = -LOG_EVERY
        self._looked = -LOOK_EVERY

    def __len__(self) -> int:
        return len(self._responses)

    @property
    def held(self) -> int:
        """Bytes of memory that they hold."""
        return self._held

    def take(self, conn: Connection, rest: memoryview) -> None:
        """Send the rest of a connection's response; then wait for its next request, or close it (``conn.stays``)."""
        response = UnsentResponse(rest, self._clock(), self._timeout, self._unread_bytes(conn))
        conn.sock.setblocking(False)
        self._responses[conn] = response
        self._held += response.held
        self._host.poller.register(conn.sock, selectors.EVENT_WRITE, partial(self._send, conn))
        while self._held > self._most_bytes and len(self._responses) > 1:
            self._give_up(first_to_go(self._responses, self._clock()))

    def _send(self, conn: Connection, sock: socket.socket) -> None:
        response = self._responses.get(conn)
        if response is None:
            return
        held = response.held
        try:
            response.advance(sock.send(response.rest[:MOST_SENT]))
        except BlockingIOError:
            return
        except OSError:
            self._forget(conn)
            drop(self._host, conn)
            return
        self._held += response.held - held
        if response.rest:
            return
        self._forget(conn)
        if conn.stays:
            self._host.keep(conn)
        else:
            drop(self._host, conn, graceful=True)

    def close_slow(self) -> None:
        """Give up the clients that take too little."""
        now = self._clock()
        if now - self._looked < LOOK_EVERY:  # each look is a system call for each response
            return
        self._looked = now
        for conn, response in list(self._responses.items()):
            if response.is_too_slow(now, self._unread_bytes(conn)):
                self._forget(conn)
                _reset(conn)
                drop(self._host, conn)

    def _unread_bytes(self, conn: Connection) -> int:
        try:
            return self._unread(conn.sock)
        except OSError:
            return 0

    def _give_up(self, conn: Connection) -> None:
        self._forget(conn)
        _reset(conn)
        drop(self._host, conn)
        self._given_up += 1
        now = self._clock()
        if now - self._logged >= LOG_EVERY:
            log.warning(
                "clients read their answers too slowly: more than max_unsent_bytes (%d) were waiting for them, so %d "
                "connections with the largest and slowest answers were closed",
                self._most_bytes,
                self._given_up,
            )
            self._logged, self._given_up = now, 0

    def _forget(self, conn: Connection) -> None:
        self._held -= self._responses.pop(conn).held
        with suppress(OSError, KeyError, ValueError):
            self._host.poller.unregister(conn.sock)


def _reset(conn: Connection) -> None:
    """Let closing reset the connection: its system buffer goes too, and no client takes the answer for a whole one."""
    with suppress(OSError):
        conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
