"""Idle connections, in gunicorn's own list of those that are kept alive."""

from __future__ import annotations

import selectors
import time
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER

from serving.host import drop
from serving.watched import MOST_LOOKED_AT

if TYPE_CHECKING:
    from serving.connection import Connection


def keep(worker: Any, conn: Connection) -> None:
    """Wait for the next request of a connection whose response has been sent; as gunicorn's worker does it."""
    if conn.parser is not None and conn.has_bytes():
        worker.enqueue_req(conn)
        return
    conn.sock.setblocking(False)
    conn.set_timeout()
    if not worker.alive:
        conn.timeout = min(conn.timeout, time.monotonic() + STOP_KEEPALIVE_LINGER)
    worker.keepalived_conns.append(conn)
    worker.poller.register(conn.sock, selectors.EVENT_READ, partial(worker.on_client_socket_readable, conn))


def drop_idle(worker: Any) -> bool:
    """Close the connection that has been idle for longest, unless a request has come; return whether one was."""
    conn = next((conn for conn in islice(worker.keepalived_conns, MOST_LOOKED_AT) if conn.is_quiet()), None)
    if conn is None:
        return False
    worker.keepalived_conns.remove(conn)
    worker.poller.unregister(conn.sock)
    drop(worker, conn)
    return True
