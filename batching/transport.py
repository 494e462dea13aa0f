"""HTTP connections that keep an absolute deadline, whatever the other side sends and however slowly.

The time-out of a socket bounds each single read, so a server that drips one byte a second is never
late. These sockets work out before every system call what is left of the deadline that the calling thread
set, which bounds headers and body alike without a watchdog thread.
"""

from __future__ import annotations

import math
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from requests import PreparedRequest


class _Call(threading.local):
    """What is to be known of the call that this thread is making."""

    deadline = math.inf
    #: Whether it must not use a connection that has served before.
    fresh = False
    #: Whether it has opened a connection, and whether the other side has said anything.
    connected = False
    answered = False


_call = _Call()


@contextmanager
def deadline(at: float) -> Iterator[None]:
    """Bound all that this thread sends and receives here until the monotonic moment ``at``."""
    _call.deadline = at
    _call.connected = _call.answered = False
    try:
        yield
    finally:
        _call.deadline = math.inf


@contextmanager
def fresh_connection() -> Iterator[None]:
    """Let this thread's calls use no connection that has served before: others in the pool may be stale as well."""
    _call.fresh = True
    try:
        yield
    finally:
        _call.fresh = False


def is_stale(problem: BaseException) -> bool:
    """Whether this thread's last call failed only because its pooled connection had been closed by the other side.

    So it is if the connection was not new, broke, and nothing of an answer had come.
    """
    return not (_call.connected or _call.answered) and any(
        isinstance(each, ConnectionError) for each in causes(problem)
    )


def causes(problem: BaseException | None) -> Iterator[BaseException]:
    """Walk down what an exception was raised from, was raised over, or wraps as an argument."""
    seen: set[int] = set()
    waiting = [problem]
    while waiting:
        cause = waiting.pop()
        if cause is None or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        waiting += [cause.__cause__, cause.__context__]
        # A `reason` may be a text as well: that of an `SSLError` is.
        waiting += [each for each in (getattr(cause, "reason", None), *cause.args) if isinstance(each, BaseException)]


def _time_left() -> float | None:
    """Return the seconds left, None without a deadline; raises ``TimeoutError`` when it has passed."""
    if _call.deadline == math.inf:
        return None
    left = _call.deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline of the call has passed")
    return left


class _Bounded:
    """Makes every read and write of a socket end by the thread's deadline."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(_time_left())  # type: ignore[attr-defined]
        received: int = super().recv_into(*args, **kwargs)  # type: ignore[misc]
        _call.answered = _call.answered or received > 0
        return received

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(_time_left())  # type: ignore[attr-defined]
        super().sendall(*args, **kwargs)  # type: ignore[misc]


class _BoundedSocket(_Bounded, socket.socket):
    """A TCP socket that keeps the deadline."""


class _BoundedTLSSocket(_Bounded, ssl.SSLSocket):
    """The same for TLS, where the wrapped socket is another object."""


class _BoundedConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        _call.connected = True
        plain = super()._new_conn()
        timeout = plain.gettimeout()
        bounded = _BoundedSocket(plain.family, plain.type, plain.proto, fileno=plain.detach())
        bounded.settimeout(timeout)
        return bounded


class _BoundedTLSConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        _call.connected = True
        return super()._new_conn()


class _Freshening:
    """Closes the pooled connection that a call gets which wants none that has served before; it is opened anew."""

    def _get_conn(self, *args: Any, **kwargs: Any) -> Any:
        connection = super()._get_conn(*args, **kwargs)  # type: ignore[misc]
        if _call.fresh:
            connection.close()
        return connection


class _BoundedPool(_Freshening, HTTPConnectionPool):
    ConnectionCls = _BoundedConnection


class _BoundedTLSPool(_Freshening, HTTPSConnectionPool):
    ConnectionCls = _BoundedTLSConnection


class BoundedAdapter(HTTPAdapter):
    """A ``requests`` adapter for one upstream, whose pooled connections obey ``deadline``.

    It never retries by itself, and does not work out anew for each call what never changes here: which pool
    serves the address, and that no proxy does.
    """

    _pool: Any = None

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        context = create_urllib3_context()
        context.load_default_certs()
        context.sslsocket_class = _BoundedTLSSocket
        super().init_poolmanager(*args, ssl_context=context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _BoundedPool, "https": _BoundedTLSPool}

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **kwargs)
        return self._pool

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:  # noqa: ARG002
        return request.path_url
