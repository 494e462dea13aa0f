"""One client's connection: how its bytes are read by a deadline, and whether the client is still there."""

from __future__ import annotations

import select
import socket
import struct
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn.http import message
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers import gthread

from api.body import TooSlowError

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that a read of the socket blocks at most. A pool thread waits so long for the next request before it hands
#: the connection back, and looks at the clock so often while a request arrives.
READ_BLOCKS_FOR = 1


class Connection(gthread.TConn):  # type: ignore[misc]
    """A client's connection. Its socket is blocking on a pool thread and non-blocking in the poller.

    One thread at a time uses it: the main thread until it gives it to the pool, then the pool thread until `finish`
    is run on the main thread. ``is_gone`` and ``stop_reading`` may be called by any thread.
    """

    initialized: bool

    def __init__(
        self,
        settings: Any,
        sock: socket.socket,
        client: Any,
        server: Any,
        *,
        linger: Callable[[Connection], None],
        readers: set[Unreader],
    ) -> None:
        """``client`` and ``server`` are the addresses of the two ends, as the socket module gives them.

        ``linger`` takes the connection over when it is closed gracefully. ``readers`` holds the unreaders that wait
        for the rest of a request.
        """
        super().__init__(settings, sock, client, server)
        self._linger = linger
        self._readers = readers
        #: Whether the client has closed its side, even behind bytes that are not read yet; None where the system
        #: cannot tell. It refers to the socket alone: a cycle would keep the connection until a garbage collection.
        self.is_gone: Callable[[], bool] | None = partial(_has_hung_up, sock) if hasattr(select, "POLLRDHUP") else None
        #: Bytes that came after the response that ends the connection. The main thread's own.
        self.late_bytes = 0
        self._peeked = b""

    def prepare(self, send_timeout: float) -> None:
        """Make it ready for reading and writing. Pool thread, before all else.

        ``send_timeout``: seconds for which the client may take nothing of what it is sent.
        """
        self.sock.setblocking(True)
        if not self.initialized:
            self.initialized = True
            # The kernel's own time-outs: unlike Python's they cost no system call for each read and write.
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(READ_BLOCKS_FOR))
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(send_timeout))
            self.parser = Parser(self.cfg, self.sock, self.client, self._readers)
        if self._peeked:
            self.parser.unreader.unread(self._peeked)
            self._peeked = b""

    def has_bytes(self) -> bool:
        """Return whether bytes of the next request have been read already. Pool thread."""
        return bool(self.parser.unreader.buf.getbuffer().nbytes)

    def await_bytes(self) -> bool:
        """Wait for the first bytes of a request; return False at the end of the stream. Pool thread.

        Raises ``BlockingIOError`` when none came for ``READ_BLOCKS_FOR`` seconds.
        """
        data = self.sock.recv(self.parser.unreader.mxchunk)
        self.parser.unreader.unread(data)
        return bool(data)

    def peek(self, size: int) -> bytes:
        """Return what has come of a request, ``size`` bytes at most; `prepare` puts it back. Main thread."""
        self._peeked = self._peeked or self.sock.recv(size, socket.MSG_DONTWAIT)
        return self._peeked

    def has_left(self) -> bool:
        """Return whether the client has closed its side and left no byte of a request to read. Main thread."""
        if self._peeked or (self.parser is not None and self.has_bytes()):
            return False
        try:
            return not self.sock.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def stop_reading(self) -> None:
        """Make reads see the end of the stream, also one that blocks now; writing goes on. Any thread."""
        _stop_reading(self.sock)

    def close(self, graceful: bool = False) -> None:
        """Close it now, or once the client has closed its side too. Main thread."""
        if graceful:
            self._linger(self)
        else:
            super().close()


def _has_hung_up(sock: socket.socket) -> bool:
    poll = select.poll()
    try:
        poll.register(sock, select.POLLRDHUP)
    except (OSError, ValueError):  # it has been closed by this side
        return True
    return bool(poll.poll(0))


def _timeval(seconds: float) -> bytes:
    whole, part = divmod(seconds, 1)
    return struct.pack("ll", int(whole), int(part * 1e6))


def _stop_reading(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RD)


class Unreader(SocketUnreader):  # type: ignore[misc]
    """Reads from a client until an absolute deadline.

    The socket itself gives up every ``READ_BLOCKS_FOR`` seconds, and the unreader looks at the clock. It does not
    refer to its connection: a cycle of the two would outlive both until a garbage collection.
    """

    def __init__(self, sock: socket.socket, readers: set[Unreader]) -> None:
        """``readers`` holds this object while it waits for bytes."""
        super().__init__(sock)
        #: The monotonic moment when the request that is arriving becomes too slow.
        self.deadline = 0.0
        self._readers = readers

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next bytes; raises ``TooSlowError`` at the deadline. Pool thread.

        gunicorn calls it only where a request did not come in one piece.
        """
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
        """Treat the request that is arriving as too slow, now. Main thread."""
        self.deadline = 0.0
        _stop_reading(self.sock)


class Request(message.Request):  # type: ignore[misc]
    """A request as gunicorn parses it, less what this service's settings make needless."""

    def _peer_trusted_for_forwarded(self) -> tuple[dict[str, str], list[str]]:
        """Trust no peer, as ``forwarded_allow_ips`` is empty; gunicorn works it out for each request."""
        return {}, []


class Parser(RequestParser):  # type: ignore[misc]
    """gunicorn's parser over an `Unreader`."""

    mesg_class = Request

    def __init__(self, settings: Any, sock: socket.socket, client: Any, readers: set[Unreader]) -> None:
        super().__init__(settings, sock, client)
        self.unreader = Unreader(sock, readers)
