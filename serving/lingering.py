"""Connections whose last response has been sent and whose clients have not closed their side yet."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from gunicorn import util

from serving.host import drop
from serving.watched import Watched

if TYPE_CHECKING:
    from collections.abc import Callable

    from serving.connection import Connection
    from serving.host import Host

#: Seconds for which a connection whose sending side is closed may still send what was under way, so that a reset does
#: not tear up the response, and the bytes that are taken of it.
LINGER, LINGER_BYTES = 2.0, 65_536


class Lingering:
    """Waits for these clients without a thread: gunicorn spends up to two seconds of its main loop on each.

    Main thread.
    """

    def __init__(self, host: Host, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._host = host
        self._clock = clock
        self._held = Watched(host, self._on_late_bytes)

    def take(self, conn: Connection) -> None:
        """Close the sending side; close the rest once the client has closed its side, or after ``LINGER`` seconds."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
        except OSError:
            util.close(conn.sock)
            return
        self._host.nr_conns += 1
        self._held.add(conn, self._clock() + LINGER)

    def _on_late_bytes(self, conn: Connection) -> None:
        try:
            size = len(conn.sock.recv(LINGER_BYTES))
        except BlockingIOError:
            return
        except OSError:
            size = 0
        conn.late_bytes += size
        if not size or conn.late_bytes >= LINGER_BYTES:
            self._held.remove(conn)
            drop(self._host, conn)

    def close_expired(self) -> None:
        """Close those whose time is over."""
        for conn in self._held.expire(self._clock()):
            drop(self._host, conn)

    def drop_oldest(self, *, older_than: float = 0.0) -> bool:
        """Close the oldest, if it has lingered for so many seconds; return whether there was one."""
        conn = self._held.oldest(by=self._clock() + LINGER - older_than)
        if conn is None:
            return False
        self._held.remove(conn)
        drop(self._host, conn)
        return True
