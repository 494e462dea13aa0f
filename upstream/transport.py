"""The ``requests`` adapter of one upstream: a pool of connections, and a repeat where a pooled one was stale.

Through ``http.client`` and ``urllib3`` a call costs four times the processor time, most of it for headers (measured,
docs/design.md), and the time-out of a socket would bound each single read only: a server that sends one byte a second
would never be late.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING

from requests.adapters import DEFAULT_POOLSIZE, HTTPAdapter

from batching.errors import UpstreamBroke, UpstreamTimeout, UpstreamUnavailable
from upstream.connection import PEER_CLOSED, Address, Connection, State, address_of, connect
from upstream.http_reply import BROKE_OFF, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import PreparedRequest

#: Time (s) within which a connection that was closed before the peer could see the request says so. A request on a
#: connection that breaks later may have been worked on.
STALE_WITHIN = 0.25


class StaleConnection(Exception):
    """A connection that had served before was closed by the peer without a byte of an answer."""


class ConnectionPool:
    """Keeps the idle connections to one address; any thread may take one, and puts it back after its exchange.

    The connection put back last is taken first, so those that a smaller load does not need stay idle and the upstream
    closes them. The pool bounds what it keeps, not what is open: a connection that finds it full is closed.
    """

    def __init__(self, address: Address, size: int, now: Callable[[], float] = time.monotonic) -> None:
        """``size``: connections kept; ``now`` returns the seconds of the clock of the deadlines."""
        self.address = address
        self.size = size
        self._now = now
        # Guards the idle connections and whether the pool is closed; held for a moment, never while a socket is used.
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._is_closed = False
        # A pool that is dropped without `close` closes its connections as well.
        weakref.finalize(self, _close_all, self._idle)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"{len(self._idle)} of {self.size} idle"
        return f"<ConnectionPool of {self.address}, {state}>"

    def take(self, end: float) -> Connection:
        """Return an idle connection that the peer has not closed, or else a new one; see ``open``."""
        while (connection := self._pop()) is not None:
            if connection.is_available:
                return connection
            connection.close()
        return self.open(end)

    def open(self, end: float) -> Connection:
        """Return a new connection; raises ``UpstreamUnavailable``, at the moment ``end`` at latest."""
        if self._is_closed:
            raise UpstreamUnavailable("the connections to the upstream are closed")
        return connect(self.address, end, self._now)

    def put(self, connection: Connection) -> None:
        """Keep a connection if it is idle and there is room for it, and close it otherwise."""
        with self._lock:
            is_kept = connection.state is State.IDLE and len(self._idle) < self.size and not self._is_closed
            if is_kept:
                self._idle.append(connection)
        if not is_kept:
            connection.close()

    def close(self) -> None:
        """Close the idle connections now, and those in use when they are put back. No more are opened."""
        with self._lock:
            self._is_closed = True
            idle = self._idle.copy()
            self._idle.clear()
        _close_all(idle)

    def _pop(self) -> Connection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None


def _close_all(connections: list[Connection]) -> None:
    for connection in connections:
        connection.close()


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
    ) -> None:
        """``pool_maxsize``: idle connections kept; ``now`` returns the seconds of the clock of all deadlines."""
        super().__init__(pool_connections=pool_connections, pool_maxsize=pool_maxsize)
        self._size = pool_maxsize
        self._now = now
        self._pool: ConnectionPool | None = None

    def connect_to(self, request: PreparedRequest) -> None:
        """Take the address of the exchanges, and the trust store if it is https, from a request that was prepared."""
        self._pool = ConnectionPool(address_of(str(request.url)), self._size, self._now)

    def exchange(self, request: bytes, end: float, max_bytes: int | None, on_stale: Callable[[], None]) -> Reply:
        """Send a request and return the reply; raises an ``UpstreamError``, at the moment ``end`` at latest.

        ``max_bytes``: see ``ReplyReader.expect``. A connection that the peer closed before it could see the request
        has lost nothing: ``on_stale`` is called, and the request goes over a new one.
        """
        pool = self._pool
        if pool is None:
            raise RuntimeError("`connect_to` comes first")
        try:
            return self._exchange(pool, pool.take(end), request, end, max_bytes)
        except StaleConnection:
            on_stale()
        # Others in the pool may be stale as well.
        return self._exchange(pool, pool.open(end), request, end, max_bytes)

    def close(self) -> None:
        """Close the pooled connections; an exchange after that raises ``UpstreamUnavailable``."""
        super().close()
        if self._pool is not None:
            self._pool.close()

    def _exchange(
        self, pool: ConnectionPool, connection: Connection, request: bytes, end: float, max_bytes: int | None
    ) -> Reply:
        """Make the exchange over this connection and put it back into the pool."""
        has_served = connection.state is State.IDLE
        began = self._now()
        try:
            return connection.exchange(request, end, max_bytes)
        except TimeoutError as problem:
            raise UpstreamTimeout("the upstream did not answer in time") from problem
        except OSError as problem:
            if has_served and isinstance(problem, PEER_CLOSED) and self._now() - began < STALE_WITHIN:
                raise StaleConnection from problem
            raise UpstreamBroke(BROKE_OFF) from problem
        finally:
            pool.put(connection)
