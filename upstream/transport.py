"""HTTP exchanges over pooled connections, each bounded by an absolute deadline, whatever the other side sends.

The session's pool keeps the connections and wraps them in TLS; whom they reach and trust and what they carry is ours.
Taken through ``http.client``, ``urllib3`` and ``requests`` a call costs four times the processor time, most of it for
headers (measured, docs/design.md), and the time-out of a socket would bound each single read only: a server
that drips one byte a second would never be late.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from requests.adapters import DEFAULT_CA_BUNDLE_PATH, HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_ import create_urllib3_context

from batching.errors import UpstreamBroke, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from upstream.http_reply import BROKEN, Reply, ReplyReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import PreparedRequest

#: Longest time (s) to wait for a TCP connection: on a network that works it takes milliseconds.
CONNECT_TIMEOUT = 3.0
#: Time (s) within which a connection that was closed before it could see the request says so. What breaks later may
#: have been worked on.
STALE_WITHIN = 0.25
#: Bytes read at once.
CHUNK = 65_536
#: What a connection says that the other side has closed.
_CUT = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class StaleConnection(Exception):
    """A connection that had served before was closed by the other side without a byte of an answer."""


class _Exchanging:
    """A pooled connection that makes whole exchanges, each by a deadline."""

    sock: Any
    port: int
    socket_options: Any
    _dns_host: str
    _reader: Any = None

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self.sock.setblocking(False)
        self._readable = select.poll()
        self._readable.register(self.sock, select.POLLIN)
        self._reader = ReplyReader()
        # One buffer for all its reads: a new one for each would be cut down each time, and leave holes in the heap.
        self._buffer = memoryview(bytearray(CHUNK))

    def _new_conn(self) -> socket.socket:
        """Try the host's addresses in turn, for ``open_by``; urllib3 would give each of them all the time.

        Each has its share of what is left, so that one that swallows packets does not hide the others.
        """
        problem: Exception = TimeoutError("there is no time left")
        found = socket.getaddrinfo(self._dns_host.strip("[]"), self.port, type=socket.SOCK_STREAM)
        for untried, (family, kind, protocol, _, address) in zip(range(len(found), 0, -1), found, strict=True):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as failure:  # a kernel without IPv6, perhaps
                problem = failure
                continue
            try:
                for option in self.socket_options:
                    sock.setsockopt(*option)
                sock.settimeout(_left(self._connected_by) / 1000 / untried)
                sock.connect(address)
                sock.settimeout(_left(self._connected_by) / 1000)  # TLS shakes hands within what is left
            except OSError as failure:
                problem = failure
                sock.close()
            else:
                return sock
        try:
            raise problem
        finally:
            # Or it, and through its traceback all that the callers held, would live until a garbage collection.
            del problem

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @property
    def is_connected(self) -> bool:
        """Whether nobody has closed it, and nothing lies there that the next request would take for its answer."""
        return self.sock is not None and not self._readable.poll(0)

    def open_by(self, end: float) -> None:
        """Connect; raises an ``UpstreamError``."""
        self._connected_by = min(end, time.monotonic() + CONNECT_TIMEOUT)
        try:
            self.connect()
        except (HTTPError, OSError, UnicodeError) as problem:  # the last: a host name that cannot be one
            raise UpstreamUnavailable("the upstream cannot be reached", retry_after=1) from problem

    def exchange(self, request: bytes, end: float, max_bytes: int | None) -> tuple[Reply, bool]:
        """Send a request, return the reply and whether the connection may be used again.

        Raises ``TimeoutError`` at the monotonic moment ``end``, ``ConnectionError`` if the other side closed without
        an answer, and an ``UpstreamError``.
        """
        reader: ReplyReader = self._reader
        reader.expect(max_bytes)
        self._heard = is_sent = False
        try:
            with suppress(*_CUT):  # it may have answered before it hung up
                is_sent = self._send(request, end)
            if not reader.has_begun:
                self._wait(end)
            while not reader.complete:
                _left(end)
                if not self._hear():
                    self._wait(end)
        except (UpstreamError, OSError) as problem:
            if (reply := reader.reply_in_spite()) is not None:
                return reply, False
            if self._heard and isinstance(problem, _CUT):
                raise UpstreamBroke(BROKEN) from problem
            raise
        return reader.reply(), reader.reusable and is_sent

    def _send(self, data: bytes, end: float) -> bool:
        """Send all, or until an answer has begun that does not wait for all (413, perhaps); return whether all went."""
        rest = memoryview(data)
        while rest:
            _left(end)
            try:
                rest = rest[self.sock.send(rest) :]
                continue
            except ssl.SSLWantReadError:
                events = select.POLLIN
            except (BlockingIOError, ssl.SSLWantWriteError):
                events = select.POLLIN | select.POLLOUT
            if self._hear() and self._reader.has_begun:
                return False
            self._wait(end, events)
        return True

    def _hear(self) -> bool:
        """Take in what has come, without waiting; return whether anything has."""
        try:
            size: int = self.sock.recv_into(self._buffer)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        if size:
            self._heard = True
            self._reader.feed(self._buffer[:size])
        elif self._heard:
            self._reader.end()
        else:
            raise ConnectionResetError
        return True

    def _wait(self, end: float, events: int = select.POLLIN) -> None:
        """Wait until the connection can be read (or written, where ``events`` say so)."""
        waited = self._readable
        if events != select.POLLIN:
            waited = select.poll()
            waited.register(self.sock, events)
        if not waited.poll(_left(end)):
            raise TimeoutError


def _left(end: float) -> float:
    """Return the milliseconds until ``end``; raises ``TimeoutError`` when it has passed."""
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left * 1000


class _Connection(_Exchanging, HTTPConnection):
    pass


class _TLSConnection(_Exchanging, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


def _trusting() -> ssl.SSLContext:
    """Return a context that trusts whom the system trusts, and certifi.

    Read once: ``requests`` has urllib3 read certifi's file at each connect, which takes 40 ms of the processor.
    """
    context = create_urllib3_context()
    context.load_default_certs()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


class ExchangeAdapter(HTTPAdapter):
    """A ``requests`` adapter for one upstream that makes the exchanges itself, over the pool of the session."""

    _pool: Any

    def connect_to(self, request: PreparedRequest) -> None:
        """Work out once what never changes here: which pool serves the address, and whom it trusts."""
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
        if str(request.url).startswith("https:"):
            self.poolmanager.connection_pool_kw["ssl_context"] = _trusting()
        self._pool = self.get_connection_with_tls_context(request, verify=True)

    def exchange(self, request: bytes, end: float, max_bytes: int | None, on_stale: Callable[[], None]) -> Reply:
        """Send a request and return the reply; raises an ``UpstreamError``, at the monotonic moment ``end`` at latest.

        ``max_bytes``: see ``ReplyReader.expect``. A connection that the other side closed before it could see the
        request has lost nothing: after ``on_stale`` a new one is tried.
        """
        try:
            return self._exchange(request, end, max_bytes, fresh=False)
        except StaleConnection:
            on_stale()
        return self._exchange(request, end, max_bytes, fresh=True)

    def _exchange(self, request: bytes, end: float, max_bytes: int | None, *, fresh: bool) -> Reply:
        try:
            connection: Any = self._pool._get_conn()  # noqa: SLF001 - it closes one that the other side has dropped
        except HTTPError as problem:
            raise UpstreamUnavailable("the connections to the upstream are closed") from problem
        reusable = False
        try:
            if fresh:
                connection.close()  # others in the pool may be stale as well
            has_served = connection.sock is not None
            if not has_served:
                connection.open_by(end)
            began = time.monotonic()
            reply: Reply
            reply, reusable = connection.exchange(request, end, max_bytes)
        except TimeoutError as problem:
            raise UpstreamTimeout("the upstream did not answer in time") from problem
        except OSError as problem:
            if has_served and isinstance(problem, _CUT) and time.monotonic() - began < STALE_WITHIN:
                raise StaleConnection from problem
            raise UpstreamBroke(BROKEN) from problem
        finally:
            if not reusable:
                connection.close()
            self._pool._put_conn(connection)  # noqa: SLF001
        return reply
