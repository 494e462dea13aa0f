"""What the main thread's parts ask of the worker that they are parts of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import selectors
    from collections.abc import Callable

    from serving.connection import Connection
    from serving.service import Application


class Host(Protocol):
    """The worker. Main thread."""

    #: Open connections, wherever they are.
    nr_conns: int

    @property
    def worker_connections(self) -> int:
        """The most open connections."""

    @property
    def poller(self) -> selectors.BaseSelector:
        """What the main loop waits on; the data of each key is called with the key's file object."""

    @property
    def log(self) -> Any:
        """gunicorn's logger."""

    @property
    def wsgi(self) -> Application | None:
        """The application, once it is loaded."""

    def must_close(self) -> bool:
        """Return whether a connection is to end with the response that is about to be sent."""

    def keep(self, conn: Connection) -> None:
        """Wait for the next request of a connection whose response has been sent."""

    def drop_idle(self) -> bool:
        """Close the connection that has been idle for longest, unless a request has come; return whether one was."""


def contained(host: Host, conn: Connection, action: Callable[[Connection], object]) -> None:
    """Do what an event of one connection asks for. If it fails, that is logged and the connection ends.

    The main loop goes on: an exception that leaves it ends the worker, and with it all other connections.
    """
    try:
        action(conn)
    except Exception:
        host.log.exception("a connection failed on the main thread")
        if conn.sock.fileno() >= 0:
            drop(host, conn)


def drop(host: Host, conn: Connection, *, graceful: bool = False) -> None:
    """Close a connection that no list holds any more. ``graceful``: once the client has closed its side too."""
    host.nr_conns -= 1
    conn.close(graceful=graceful)
