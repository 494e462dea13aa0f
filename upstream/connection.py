"""One connection to an upstream, over TCP or TLS: one HTTP exchange after the other, each bounded by a deadline."""

from __future__ import annotations

import errno
import select
import ssl
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

from batching.clock import NEVER
from batching.errors import UpstreamBroke, UpstreamError
from upstream.http_reply import AWAITING, BROKE_OFF, COMPLETE, HEAD_READ, Reply, ReplyReader, keep_alive
from upstream.silence import MOST_SILENCE, has_gone_silent
from upstream.tls import PEER_CLOSED

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from upstream.addresses import Target

#: Bytes read at once. No TLS record is longer, so one read leaves none of its bytes behind in the TLS layer.
CHUNK = 65_536
#: Seconds between two looks at whether a peer that has not answered yet is still there.
LOOK_PERIOD = 5.0
#: Seconds between two such looks where the exchange's owner looks as well.
SHORT_LOOK_PERIOD = 0.25


class State(Enum):
    """What a connection is doing."""

    #: Connected, without an exchange so far.
    NEW = "new"
    ACTIVE = "active"
    #: Its last exchange ended well, and it may carry another.
    IDLE = "idle"
    CLOSED = "closed"


class Connection:
    """A stream (socket or TLS socket) with a reader of the replies that come over it.

    It belongs to one thread at a time: to the one that took it from the pool, until it is put back.
    """

    def __init__(self, stream: socket.socket, target: Target, now: Callable[[], float]) -> None:
        """``stream`` is connected to the target and does not block; ``now`` is the clock (s) of the deadlines."""
        self.target = target
        self.state = State.NEW
        #: The moment after which it is not used again, if it is idle until then; the pool sets it.
        self.until = NEVER
        #: Seconds that it may be idle: the pool's limit, or less if the upstream has announced less.
        self.longest_idle = NEVER
        self._exchanges_left = NEVER
        self._stream = stream
        self._now = now
        self._reader = ReplyReader()
        #: Whether all of the request has been sent.
        self._is_sent = False
        self._look: Callable[[], None] | None = None
        self._readable = select.poll()
        self._readable.register(stream, select.POLLIN)
        # One buffer for all its reads: a new one for each would be cut down each time, and leave holes in the heap.
        self._buffer = memoryview(bytearray(CHUNK))

    def __repr__(self) -> str:
        return f"<Connection to {self.target}, {self.state.value}>"

    @property
    def is_available(self) -> bool:
        """Whether it is idle and has nothing to read: neither the peer's end nor bytes that answer no request."""
        return self.state is State.IDLE and not self._readable.poll(0)

    def exchange(self, request: bytes, end: float, max_bytes: int | None) -> Reply:
        """Send a request and return its reply; the connection is then ``IDLE`` or, if it cannot be used again, closed.

        ``end``: the moment of the clock at which ``TimeoutError`` is raised. ``max_bytes``: see ``ReplyReader.expect``.
        Raises a ``PEER_CLOSED`` error if the peer closed before a byte of the reply came, any other ``OSError`` of the
        stream, and an ``UpstreamError``.
        """
        return self._ask(request, end, max_bytes, None, in_pieces=False)

    def begin(self, request: bytes, end: float, max_bytes: int, look: Callable[[], None] | None = None) -> Reply:
        """Send a request whose answer is read in pieces; return its reply, without the body where that is a 200.

        A 200 is returned once bytes of its body are here, or all of it: ``read`` brings them, and the connection stays
        ``ACTIVE`` until it has brought the last. Any other reply is whole. ``look`` is called now and then while the
        connection waits, here and in ``read``: it raises what ends the exchange. For the rest: see ``exchange``.
        """
        return self._ask(request, end, max_bytes, look, in_pieces=True)

    def read(self, end: float) -> bytes:
        """Return the next bytes of the body, waiting for them until ``end``; none at its end.

        Raises what ``begin`` raises, and closes the connection then.
        """
        if self.state is not State.ACTIVE:
            return b""
        reader = self._reader
        goes_on = False
        try:
            while reader.progress is not COMPLETE and not reader.has_piece:
                self._receive_or_wait(end)
            goes_on = reader.progress is not COMPLETE
            return reader.take()
        except (UpstreamError, OSError) as problem:
            self._raise_broken_off(problem)
            raise
        finally:
            if not goes_on:
                self._finish()

    def close(self) -> None:
        """Close the stream; a second time does nothing."""
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._reader.close()
            self._stream.close()

    def _ask(
        self, request: bytes, end: float, max_bytes: int | None, look: Callable[[], None] | None, *, in_pieces: bool
    ) -> Reply:
        reader = self._reader
        reader.expect(max_bytes)
        self.state = State.ACTIVE
        self._look = look
        self._is_sent = goes_on = False
        try:
            with suppress(*PEER_CLOSED):  # it may have answered before it closed
                self._is_sent = self._send(request, end)
            if reader.progress < HEAD_READ:
                self._wait(end)
            while reader.progress is not COMPLETE and not (in_pieces and reader.has_piece):
                self._receive_or_wait(end)
            if in_pieces and (head := reader.head()) is not None:
                goes_on = True
                return head
            return reader.reply()
        except (UpstreamError, OSError) as problem:
            if (reply := reader.partial_reply()) is not None:
                return reply
            self._raise_broken_off(problem)
            raise
        finally:
            if not goes_on:
                self._finish()

    def _receive_or_wait(self, end: float) -> None:
        time_left(end, self._now)  # bytes may come without end, and then nothing waits
        if not self._receive():
            self._wait(end)

    def _raise_broken_off(self, problem: UpstreamError | OSError) -> None:
        """Raise ``UpstreamBroke`` if the peer has closed within its answer."""
        if self._reader.progress is not AWAITING and isinstance(problem, PEER_CLOSED):
            raise UpstreamBroke(BROKE_OFF) from problem

    def _finish(self) -> None:
        """End the exchange: be ``IDLE`` if the connection may carry another, else close it."""
        reader = self._reader
        self._look = None
        is_whole = self._is_sent and reader.progress is COMPLETE and reader.reusable
        if is_whole and (reader.keep_alive is None or self._heed(reader.keep_alive)):
            self.state = State.IDLE
        else:
            self.close()

    def _heed(self, announced: str) -> bool:
        """Take in what a ``Keep-Alive`` header says; return whether another exchange may follow."""
        seconds, count = keep_alive(announced)
        self.longest_idle = min(self.longest_idle, seconds)
        # Some servers count down; others say the same each time, and mean it from the first time on.
        self._exchanges_left = min(self._exchanges_left - 1, count)
        return self._exchanges_left > 0 and self.longest_idle > 0

    def _send(self, data: bytes, end: float) -> bool:
        """Send all, or until an answer has begun that does not wait for all (413, perhaps); return whether all went."""
        rest = memoryview(data)
        while rest:
            time_left(end, self._now)
            try:
                rest = rest[self._stream.send(rest) :]
                continue
            except ssl.SSLWantReadError:
                events = select.POLLIN
            except (BlockingIOError, ssl.SSLWantWriteError):
                events = select.POLLIN | select.POLLOUT
            if self._receive() and self._reader.progress >= HEAD_READ:
                return False
            self._wait(end, events)
        return True

    def _receive(self) -> bool:
        """Take in what has come, without waiting; return whether anything has."""
        try:
            size = self._stream.recv_into(self._buffer)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        if size:
            self._reader.feed(self._buffer[:size])
        elif self._reader.progress is AWAITING:
            raise ConnectionResetError("closed without an answer")
        else:
            self._reader.end()
        return True

    def _wait(self, end: float, events: int = select.POLLIN) -> None:
        """Wait until the stream can be read (or written, where ``events`` say so)."""
        waited = self._readable
        if events != select.POLLIN:
            waited = select.poll()
            waited.register(self._stream, events)
        left = time_left(end, self._now)
        period = LOOK_PERIOD if self._look is None else SHORT_LOOK_PERIOD
        while not waited.poll(1000 * min(left, period)):
            left -= period
            if left <= 0:
                raise TimeoutError
            if self._look is not None:
                self._look()
            if has_gone_silent(self._stream):
                raise TimeoutError(errno.ETIMEDOUT, f"nothing sent was acknowledged for {MOST_SILENCE:g} s")


def time_left(end: float, now: Callable[[], float]) -> float:
    """Return the seconds until ``end``; raises ``TimeoutError`` when it has passed."""
    left = end - now()
    if left <= 0:
        raise TimeoutError
    return left
