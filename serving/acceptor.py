"""Takes connections in, and makes room for them by closing those that are missed least."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING, Any

from serving.connection import Connection
from serving.host import drop
from serving.watched import Watched

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from serving.connection import Unreader
    from serving.host import Host
    from serving.intake import Intake
    from serving.lingering import Lingering

#: Connections taken in on one turn of the main loop.
MOST_ACCEPTED = 64

#: Seconds after which a connection that has said half a head, or only has to be closed by its client, goes before one
#: that is idle.
SHORT_WHILE = 0.25

#: Seconds for which no connection is taken in where descriptors or memory have run out and none can be freed.
PAUSE = 0.1

_CLOSED = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK}
_RUN_OUT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """Takes connections in, and watches for their first bytes: until then they hold no thread. Main thread.

    When as many are open as may be, or the system has no descriptor left, one that says nothing makes room for each
    newcomer: the oldest of which no byte has come; else one that has said half a head or that only its client has to
    close, if it has been so for a short while; else the one that has been idle for longest after a response. None with
    a request under way.
    """

    def __init__(
        self,
        host: Host,
        intake: Intake,
        lingering: Lingering,
        settings: Any,
        *,
        readers: set[Unreader],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``settings``: gunicorn's. ``readers`` holds what waits for the rest of a request on a pool thread.

        ``clock`` returns monotonic seconds.
        """
        self._host = host
        self._intake = intake
        self._lingering = lingering
        self._settings = settings
        self._readers = readers
        self._clock = clock
        self._silent = Watched(host, self._on_first_byte)
        self._paused_until = 0.0
        #: Whether one waits for which no room could be made.
        self._is_full = False

    def accept(self, listener: socket.socket) -> None:
        """Take in new connections, and watch for their first bytes. Raises ``OSError`` if the listener is closed."""
        here = listener.getsockname()
        for count in range(MOST_ACCEPTED):
            # The poller says that one newcomer waits. Whether there are more shows on the next turn.
            if self._host.nr_conns >= self._host.worker_connections and (count or not self._make_room()):
                self._is_full = not count
                return
            try:
                sock, address = listener.accept()
            except OSError as problem:
                if problem.errno in _CLOSED:
                    raise
                if problem.errno not in _RUN_OUT:  # there is none, or a network error of that one connection
                    return
                if not self._make_room():
                    self._paused_until = self._clock() + PAUSE
                    return
                continue
            self._host.nr_conns += 1
            conn = Connection(self._settings, sock, address, here, linger=self._lingering.take, readers=self._readers)
            self._silent.add(conn, self._clock() + self._settings.keepalive)

    def may_accept(self) -> bool:
        """Return whether to listen for new connections: not while there is no room and none can be made."""
        if self._is_full and self._host.nr_conns >= self._host.worker_connections:
            self._is_full = not self._make_room()
        else:
            self._is_full = False
        return not self._is_full and self._clock() >= self._paused_until

    def _on_first_byte(self, conn: Connection) -> None:
        self._silent.remove(conn)
        self._intake.begin(conn)

    def _make_room(self) -> bool:
        """Close the connection that is missed least; return whether there was one that may be closed."""
        return (
            self._silent.drop_quiet()
            or self._lingering.drop_oldest(older_than=SHORT_WHILE)
            or self._intake.drop_oldest(older_than=SHORT_WHILE)
            or self._host.drop_idle()
            or self._lingering.drop_oldest()
            or self._intake.drop_oldest()
        )

    def close_expired(self) -> None:
        """Close the silent connections whose time is over."""
        for conn in self._silent.expire(self._clock()):
            drop(self._host, conn)

    def cap_silence(self, deadline: float) -> None:
        """Let no silent connection wait for its first byte beyond the monotonic moment ``deadline``."""
        self._silent.cap(deadline)
