"""The ``requests`` adapter of one upstream: exchanges over pooled connections, and a repeat where one was stale.

Through ``http.client`` and ``urllib3`` a call costs four times the processor time, most of it for headers (measured,
docs/design.md), and the time-out of a socket would bound each single read only: a server that sends one byte a second
would never be late.
"""

from __future__ import annotations

import ssl
import time
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from requests.adapters import DEFAULT_POOLSIZE, HTTPAdapter

from batching.clock import NEVER
from batching.errors import UpstreamBroke, UpstreamMisconfigured, UpstreamTimeout, UpstreamUnavailable
from upstream.connection import Connection, State
from upstream.connection_pool import ConnectionPool
from upstream.http_reply import BROKE_OFF, Reply
from upstream.lookup import resolve
from upstream.origin import origin_of
from upstream.stream import Stream
from upstream.tls import PEER_CLOSED, words_for
from upstream.wrong_scheme import EXPECTS_TLS, complaint_of_plain_http

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import PreparedRequest

    from upstream.lookup import Resolve

#: Time (s) within which a connection that was closed before the peer could see the request says so. A request on a
#: connection that breaks later may have been worked on.
STALE_WITHIN = 0.25
#: Seconds without an answer after which an address, one of several, is left alone for a moment.
HUNG = 5.0
#: Replies that may be about the connection.
CONNECTION_STATUSES = frozenset({400, 408})


class StaleConnection(Exception):
    """A connection that had served before was closed by the peer without a byte of an answer."""


class ExchangeAdapter(HTTPAdapter):
    """A ``requests`` adapter for one upstream that makes the exchanges itself, over its own pool of connections.

    ``send``, by which a session answers ``get`` and ``post``, stays that of ``requests``, with urllib3's connections.
    """

    def __init__(
        self,
        pool_connections: int = 1,
        pool_maxsize: int = DEFAULT_POOLSIZE,
        *,
        now: Callable[[], float] = time.monotonic,
        idle: float = NEVER,
        resolve: Resolve = resolve,
    ) -> None:
        """``pool_maxsize``: idle connections kept; ``now`` returns the seconds of the clock of all deadlines.

        ``idle``: seconds after which an idle connection is closed and not used again.
        """
        super().__init__(pool_connections=pool_connections, pool_maxsize=pool_maxsize)
        self._size = pool_maxsize
        self._now = now
        self._idle = idle
        self._resolve = resolve
        self._pool: ConnectionPool | None = None

    def connect_to(self, request: PreparedRequest, ca_file: str | None = None) -> None:
        """Take the origin of the exchanges, and the trust store if it is https, from a request that was prepared.

        ``ca_file``: certificates that are trusted beside the system's.
        """
        self._pool = ConnectionPool(
            origin_of(str(request.url), ca_file), self._size, self._now, idle=self._idle, resolve=self._resolve
        )

    def exchange(self, request: bytes, end: float, max_bytes: int | None, on_stale: Callable[[], None]) -> Reply:
        """Send a request and return the reply; raises an ``UpstreamError``, at the moment ``end`` at latest.

        ``max_bytes``: see ``ReplyReader.expect``. A connection that the peer closed before it could see the request
        has lost nothing: ``on_stale`` is called, and the request goes over a new one.
        """
        pool = self._connected()
        try:
            return self._exchange(pool, pool.take(end), request, end, max_bytes)
        except StaleConnection:
            on_stale()
        # Others in the pool may be stale as well.
        return self._exchange(pool, pool.open(end), request, end, max_bytes)

    def stream(
        self,
        request: bytes,
        end: float,
        max_bytes: int,
        on_stale: Callable[[], None],
        look: Callable[[], None] | None = None,
    ) -> Stream:
        """Send a request whose reply is read in pieces; see ``exchange`` and ``Connection.begin``."""
        pool = self._connected()

        def begin(connection: Connection) -> Reply:
            return connection.begin(request, end, max_bytes, look)

        try:
            return self._begin(pool, pool.take(end), begin)
        except StaleConnection:
            on_stale()
        return self._begin(pool, pool.open(end), begin)

    def close_idle(self) -> None:
        """Close the connections that have been idle for too long; any thread may call it now and then."""
        if self._pool is not None:
            self._pool.close_idle()

    def close(self) -> None:
        """Close the pooled connections; an exchange after that raises ``UpstreamUnavailable``."""
        super().close()
        if self._pool is not None:
            self._pool.close()

    def _connected(self) -> ConnectionPool:
        if self._pool is None:
            raise RuntimeError("`connect_to` comes first")
        return self._pool

    def _exchange(
        self, pool: ConnectionPool, connection: Connection, request: bytes, end: float, max_bytes: int | None
    ) -> Reply:
        """Make the exchange over this connection and put it back into the pool."""
        has_served = connection.state is State.IDLE
        began = self._now()
        try:
            reply = connection.exchange(request, end, max_bytes)
            if reply.status in CONNECTION_STATUSES:
                self._look_at(reply, pool, connection, has_served=has_served)
        except UpstreamBroke as problem:
            self._note_broken(problem, pool, connection)
            raise
        except OSError as problem:
            self._fail(problem, pool, connection, self._now() - began, has_served=has_served)
        else:
            return reply
        finally:
            pool.put(connection)

    def _begin(self, pool: ConnectionPool, connection: Connection, begin: Callable[[Connection], Reply]) -> Stream:
        """Begin the exchange over this connection; it goes back into the pool when the stream has ended."""
        has_served = connection.state is State.IDLE
        began = self._now()
        is_streamed = False
        try:
            reply = begin(connection)
            if reply.status in CONNECTION_STATUSES:
                self._look_at(reply, pool, connection, has_served=has_served)
            is_streamed = True
        except UpstreamBroke as problem:
            self._note_broken(problem, pool, connection)
            raise
        except OSError as problem:
            self._fail(problem, pool, connection, self._now() - began, has_served=has_served)
        finally:
            if not is_streamed:
                pool.put(connection)
        return Stream(reply, connection, partial(self._read, pool, connection), pool.put)

    def _read(self, pool: ConnectionPool, connection: Connection, end: float) -> bytes:
        began = self._now()
        try:
            return connection.read(end)
        except UpstreamBroke as problem:
            self._note_broken(problem, pool, connection)
            raise
        except OSError as problem:
            self._fail(problem, pool, connection, self._now() - began, has_served=True)

    def _note_broken(self, problem: UpstreamBroke, pool: ConnectionPool, connection: Connection) -> None:
        problem.reason = "closed within its answer"
        pool.avoid(connection.target, problem.reason)

    def _fail(
        self, problem: OSError, pool: ConnectionPool, connection: Connection, lasted: float, *, has_served: bool
    ) -> NoReturn:
        """Raise what the end of the connection means, after an exchange that ``lasted`` so many seconds."""
        # Without the address: where a name has several, the same failure is told in the same words.
        reason = str(problem) or type(problem).__name__
        if isinstance(problem, TimeoutError) and problem.errno is None:  # our own, not the system's
            if lasted >= HUNG:
                pool.avoid(connection.target, "no answer")
            raise UpstreamTimeout("the upstream did not answer in time", reason="no answer") from problem
        if isinstance(problem, PEER_CLOSED):
            if has_served and lasted < STALE_WITHIN:
                raise StaleConnection from problem
            if not has_served and pool.origin.tls is None:
                reason += " (as some servers that expect TLS do to a URL that begins with http:)"
        pool.avoid(connection.target, reason)
        if isinstance(problem, ssl.SSLError) and not isinstance(problem, PEER_CLOSED) and not has_served:
            # A server that wants a certificate of ours says so when the handshake is over, in TLS 1.3.
            message = f"the TLS handshake with the upstream failed: {words_for(problem)}"
            raise UpstreamUnavailable(message, retry_after=1, reason=reason) from problem
        raise UpstreamBroke(BROKE_OFF, reason=reason) from problem

    def _look_at(self, reply: Reply, pool: ConnectionPool, connection: Connection, *, has_served: bool) -> None:
        """Raise an error if the reply is about the connection, rather than about the request."""
        if reply.status == 408:
            # A gateway says so before it closes an idle connection; the request has crossed it on its way.
            if has_served and connection.state is State.CLOSED:
                raise StaleConnection
        elif pool.origin.tls is None and (complaint := complaint_of_plain_http(reply)):
            raise UpstreamMisconfigured(EXPECTS_TLS, reason=complaint)
