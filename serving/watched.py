"""Connections that the main loop's poller watches, each until a moment."""

from __future__ import annotations

import math
import selectors
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from serving.host import contained, drop

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from serving.connection import Connection
    from serving.host import Host

#: Connections that are looked at to find one that may be closed: the first ones may have been sent something just now.
MOST_LOOKED_AT = 16


class Watched:
    """Holds them in the order in which they came, which is that of their moments. Main thread."""

    def __init__(
        self, host: Host, on_event: Callable[[Connection], None], *, events: int = selectors.EVENT_READ
    ) -> None:
        """``on_event`` is called when one of the poller's ``events`` comes; the connection stays until `remove`."""
        self._host = host
        self._on_event = on_event
        self._events = events
        #: Each with the monotonic moment when its time is over.
        self._until: dict[Connection, float] = {}

    def __len__(self) -> int:
        return len(self._until)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._until)

    def add(self, conn: Connection, until: float) -> None:
        """Watch it until the monotonic moment ``until``."""
        self._until[conn] = until
        self._host.poller.register(conn.sock, self._events, partial(self._notice, conn))

    def _notice(self, conn: Connection, _: socket.socket) -> None:
        if conn in self._until:  # one event of a turn may end what a later one is about
            contained(self._host, conn, self._on_event)
            if conn in self._until and conn.sock.fileno() < 0:
                self.remove(conn)

    def remove(self, conn: Connection) -> None:
        """Watch it no longer."""
        del self._until[conn]
        with suppress(OSError, KeyError, ValueError):
            self._host.poller.unregister(conn.sock)

    def expire(self, now: float) -> list[Connection]:
        """Watch those no longer whose time is over, and return them."""
        over = []
        for conn, until in self._until.items():
            if until > now:
                break
            over.append(conn)
        for conn in over:
            self.remove(conn)
        return over

    def oldest(self, *, by: float = math.inf) -> Connection | None:
        """Return the oldest, if its time is over at the monotonic moment ``by``."""
        conn = next(iter(self._until), None)
        return conn if conn is not None and self._until[conn] <= by else None

    def drop_quiet(self) -> bool:
        """Close the oldest of which nothing has come; return whether there was one."""
        for conn in islice(self._until, MOST_LOOKED_AT):
            if conn.is_quiet():
                self.remove(conn)
                drop(self._host, conn)
                return True
        return False

    def cap(self, deadline: float) -> None:
        """Let each end by the monotonic moment ``deadline``."""
        self._until = {conn: min(until, deadline) for conn, until in self._until.items()}
