"""One client's connection: how its bytes are read by a deadline, and whether the client is still there."""

from __future__ import annotations

import math
import select
import socket
import struct
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn.http import message
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers import gthread

from api.body import TooSlowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Seconds that a read of the socket blocks at most. A pool thread waits so long for the next request before it hands
#: the connection back, and looks at the clock so often while a request arrives.
READ_BLOCKS_FOR = 1

#: Bytes that a read takes at least, if they have come, of a request that did not come in one piece. gunicorn goes over
#: all of a head again with each read.
LEAST_TAKEN = 65_536

#: What a client that has asked first (``Expect``) waits for before it sends its body.
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


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
        #: What the main thread has read of a request; `prepare` hands it to the parser.
        self.ahead = b""
        #: The monotonic moment when a head began to arrive on the main thread, and the seconds that it took. The pool
        #: thread counts on from there.
        self.began = self.spent = 0.0
        #: Whether its head is here and the poller waits for its body.
        self.awaits_rest = False
        #: Whether its request has a thread as one of the few that are not POST.
        self.is_operation = False
        #: Seconds of processor time that it has taken there, and the monotonic moment of the last answer of this kind.
        self.worked = 0.0
        self.operated = -math.inf
        #: What the client has not taken of its response, and whether the connection stays open behind it. The pool
        #: thread sets both and gives the connection back.
        self.unsent: memoryview | None = None
        self.stays = False
        self._resets = False

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
        if self.ahead:
            self.parser.unreader.unread(self.ahead)
            self.ahead = b""

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

    def read_ahead(self, most: int) -> bool:
        """Add what has come to ``ahead``, ``most`` bytes at most; return False at the end of the stream. Main thread.

        Bytes that a pool thread has read already come first. Raises ``OSError``: ``BlockingIOError`` if there are none.
        """
        if self.parser is not None and self.has_bytes():
            data = self.parser.unreader.take_buffered()
        else:
            data = self.sock.recv(most, socket.MSG_DONTWAIT)
        self.ahead += data
        return bool(data)

    @property
    def begun(self) -> bytes:
        """What has come of the request, without the empty line that may stand before it (RFC 9112, 2.2)."""
        return self.ahead.removeprefix(b"\r\n")

    def await_rest(self, count: int) -> None:
        """Let the poller see the connection only when so many bytes have come, or the end of the stream. Main thread.

        They stay in the system's buffer. With a ``count`` of 1 any byte will do, as ever.
        """
        self.awaits_rest = count > 1
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)

    def is_quiet(self) -> bool:
        """Return whether no byte is there to be read, so that closing now loses no request. Main thread."""
        try:
            return not self.sock.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        except OSError:  # nothing has come, or it is broken
            return True

    def stop_reading(self) -> None:
        """Make reads see the end of the stream, also one that blocks now; writing goes on. Any thread."""
        _stop_reading(self.sock)

    def reset_on_close(self) -> None:
        """Let its client see a reset instead of the end of the stream. Pool thread."""
        self._resets = True
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self, graceful: bool = False) -> None:
        """Close it now, or once the client has closed its side too. Main thread."""
        if graceful and not self._resets:
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
        #: Whether the client is still to be told to send its body. It is told when the body is first waited for.
        self.asks = False
        #: Whether the client has closed its side.
        self.ended = False
        self._readers = readers
        self._waits = True

    def chunk(self, size_hint: int | None = None) -> bytes:
        """Return the next bytes; raises ``TooSlowError`` at the deadline. Pool thread.

        gunicorn calls it only where a request did not come in one piece.
        """
        size = min(max(LEAST_TAKEN, size_hint or 0), self.max_body_chunk)
        if not self._waits:
            return self._received(size, socket.MSG_DONTWAIT)
        if self.asks:
            self.asks = False
            self.sock.sendall(CONTINUE)
        self._readers.add(self)
        try:
            while True:
                if time.monotonic() >= self.deadline:
                    raise TooSlowError
                with suppress(BlockingIOError):
                    data = self._received(size)
                    if time.monotonic() < self.deadline:  # else it may have been given up meanwhile
                        return data
        finally:
            self._readers.discard(self)

    def _received(self, size: int, flags: int = 0) -> bytes:
        data: bytes = self.sock.recv(size, flags)
        if not data:
            self.ended = True
        return data

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """Let reads take what has come, and raise ``BlockingIOError`` where they would wait for more."""
        self._waits = False
        try:
            yield
        finally:
            self._waits = True

    def give_up(self) -> None:
        """Treat the request that is arriving as too slow, now. Main thread."""
        self.deadline = 0.0
        _stop_reading(self.sock)


class Request(message.Request):  # type: ignore[misc]
    """A request as gunicorn parses it, less what this service's settings make needless."""

    version: tuple[int, int]
    must_close: bool
    #: Whether the client lets the connection end with it.
    closes = False

    def _peer_trusted_for_forwarded(self) -> tuple[dict[str, str], list[str]]:
        """Trust no peer, as ``forwarded_allow_ips`` is empty; gunicorn works it out for each request."""
        return {}, []

    def parse(self, unreader: Any) -> bytes:
        """Parse the head. A minor version above 1 is understood, and answered, as HTTP/1.1 (RFC 9110, 2.5)."""
        unused: bytes = super().parse(unreader)
        self.version = min(self.version, (1, 1))
        self.closes = _asks_to_close(self.method, self.version, self.headers)
        return unused

    def should_close(self) -> bool:
        """Return whether the connection ends with this request's response."""
        return self.must_close or self.closes


def _asks_to_close(method: str, version: tuple[int, int], headers: list[tuple[str, str]]) -> bool:
    """Return whether a request is the last of its connection: by any of its ``Connection`` headers, or by its version.

    What follows a CONNECT is no request, whatever it was answered (RFC 9931, 8).
    """
    if method == "CONNECT":
        return True
    options = {
        option.strip(" \t").lower() for name, value in headers if name == "CONNECTION" for option in value.split(",")
    }
    return "close" in options or (version < (1, 1) and "keep-alive" not in options)


class Parser(RequestParser):  # type: ignore[misc]
    """gunicorn's parser over an `Unreader`."""

    mesg_class = Request

    def __init__(self, settings: Any, sock: socket.socket, client: Any, readers: set[Unreader]) -> None:
        super().__init__(settings, sock, client)
        self.unreader = Unreader(sock, readers)
