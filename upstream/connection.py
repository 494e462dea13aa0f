"""One connection to an upstream, over TCP or TLS: one HTTP exchange after the other, each bounded by a deadline."""

from __future__ import annotations

import select
import socket
import ssl
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from batching.errors import UpstreamBroke, UpstreamError, UpstreamUnavailable
from upstream.http_reply import AWAITING, BROKE_OFF, COMPLETE, HEAD_READ, Reply, ReplyReader

if TYPE_CHECKING:
    from collections.abc import Callable

#: Longest time (s) to wait for a TCP connection and the TLS handshake: on a network that works it takes milliseconds.
CONNECT_TIMEOUT = 3.0
#: Bytes read at once. No TLS record is longer, so one read leaves none of its bytes behind in the TLS layer.
CHUNK = 65_536
#: Exceptions that mean: the peer closed.
PEER_CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Address(NamedTuple):
    """Where an upstream listens; ``host`` without the brackets of an IPv6 literal, ``tls`` None for plain TCP."""

    host: str
    port: int
    tls: ssl.SSLContext | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.tls is None else 'https'}://{host}:{self.port}"


def address_of(url: str) -> Address:
    """Return the address that a URL leads to. For https this reads the trust store, 40 ms of the processor."""
    parts = urlsplit(url)
    is_secure = parts.scheme == "https"
    return Address(
        parts.hostname or "", parts.port or (443 if is_secure else 80), trusting_context() if is_secure else None
    )


def trusting_context() -> ssl.SSLContext:
    """Return a context that trusts the certificates of the system and of certifi, and checks the host name."""
    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    context.hostname_checks_common_name = False
    context.options |= ssl.OP_NO_TICKET  # no session is resumed
    return context


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

    def __init__(self, stream: socket.socket, address: Address, now: Callable[[], float]) -> None:
        """``stream`` is connected and does not block; ``now`` returns the seconds of the clock of the deadlines."""
        self.address = address
        self.state = State.NEW
        self._stream = stream
        self._now = now
        self._reader = ReplyReader()
        self._readable = select.poll()
        self._readable.register(stream, select.POLLIN)
        # One buffer for all its reads: a new one for each would be cut down each time, and leave holes in the heap.
        self._buffer = memoryview(bytearray(CHUNK))

    def __repr__(self) -> str:
        return f"<Connection to {self.address}, {self.state.value}>"

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
        reader = self._reader
        reader.expect(max_bytes)
        self.state = State.ACTIVE
        is_sent = False
        try:
            with suppress(*PEER_CLOSED):  # it may have answered before it closed
                is_sent = self._send(request, end)
            if reader.progress < HEAD_READ:
                self._wait(end)
            while reader.progress is not COMPLETE:
                time_left(end, self._now)  # bytes may come without end, and then nothing waits
                if not self._receive():
                    self._wait(end)
            if is_sent and reader.reusable:
                self.state = State.IDLE
            return reader.reply()
        except (UpstreamError, OSError) as problem:
            if (reply := reader.partial_reply()) is not None:
                return reply
            if reader.progress is not AWAITING and isinstance(problem, PEER_CLOSED):
                raise UpstreamBroke(BROKE_OFF) from problem
            raise
        finally:
            if self.state is not State.IDLE:
                self.close()

    def close(self) -> None:
        """Close the stream; a second time does nothing."""
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self._reader.close()
            self._stream.close()

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
            raise ConnectionResetError
        else:
            self._reader.end()
        return True

    def _wait(self, end: float, events: int = select.POLLIN) -> None:
        """Wait until the stream can be read (or written, where ``events`` say so)."""
        waited = self._readable
        if events != select.POLLIN:
            waited = select.poll()
            waited.register(self._stream, events)
        if not waited.poll(time_left(end, self._now) * 1000):
            raise TimeoutError


def connect(address: Address, end: float, now: Callable[[], float]) -> Connection:
    """Return a new connection; raises ``UpstreamUnavailable``, at the moment ``end`` or after ``CONNECT_TIMEOUT``."""
    end = min(end, now() + CONNECT_TIMEOUT)
    try:
        stream = _connected(address, end, now)
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if address.tls is not None:
                stream.settimeout(time_left(end, now))  # the time-out of a handshake bounds it as a whole
                # The name without the zone of an IPv6 address and the dot of the root: certificates have neither.
                name = address.host.partition("%")[0].rstrip(".")
                stream = address.tls.wrap_socket(stream, server_hostname=name)
            stream.setblocking(False)
        except BaseException:
            stream.close()
            raise
    except (OSError, UnicodeError) as problem:  # the latter: a host name that cannot be one
        raise UpstreamUnavailable("the upstream cannot be reached", retry_after=1) from problem
    return Connection(stream, address, now)


def _connected(address: Address, end: float, now: Callable[[], float]) -> socket.socket:
    """Return a socket connected to the first address of the host that takes it.

    Each address has an equal share of the time left, so an address that drops packets leaves time for the others.
    """
    problem: Exception = TimeoutError("there is no time left")
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    for untried, (family, kind, protocol, _, place) in zip(range(len(found), 0, -1), found, strict=True):
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as failure:  # a kernel without IPv6, perhaps
            problem = failure
            continue
        try:
            sock.settimeout(time_left(end, now) / untried)
            sock.connect(place)
        except OSError as failure:
            problem = failure
            sock.close()
        else:
            return sock
    try:
        raise problem
    finally:
        # Or the error, and through its traceback every frame on its way, would live until a garbage collection.
        del problem


def time_left(end: float, now: Callable[[], float]) -> float:
    """Return the seconds until ``end``; raises ``TimeoutError`` when it has passed."""
    left = end - now()
    if left <= 0:
        raise TimeoutError
    return left
