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
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from requests import PreparedRequest


class _Call(threading.local):
    """The deadline of the call that this thread is making."""

    deadline = math.inf


_call = _Call()


@contextmanager
def deadline(at: float) -> Iterator[None]:
    """Bound all that this thread sends and receives here until the monotonic moment ``at``."""
    _call.deadline = at
    try:
        yield
    finally:
        _call.deadline = math.inf


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
        plain = super()._new_conn()
        timeout = plain.gettimeout()
        bounded = _BoundedSocket(plain.family, plain.type, plain.proto, fileno=plain.detach())
        bounded.settimeout(timeout)
        return bounded


class _BoundedPool(HTTPConnectionPool):
    ConnectionCls = _BoundedConnection


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
        self.poolmanager.pool_classes_by_scheme = {"http": _BoundedPool, "https": HTTPSConnectionPool}

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **kwargs)
        return self._pool

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:  # noqa: ARG002
        return request.path_url
