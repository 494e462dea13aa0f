"""The body of one reply, which is read piece by piece as the upstream sends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from upstream.connection import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from upstream.connection import Connection
    from upstream.http_reply import Reply


class Stream:
    """A reply and the connection that brings the rest of it. It belongs to one thread at a time; ``close`` it."""

    def __init__(
        self,
        reply: Reply,
        connection: Connection,
        read: Callable[[float], bytes],
        put_back: Callable[[Connection], None],
    ) -> None:
        """``reply``: a 200 without its body, or any other reply, which is whole.

        ``read`` takes the moment when it gives up, and returns the next bytes of the body or raises an
        ``UpstreamError``. ``put_back`` takes the connection once it brings nothing more.
        """
        self.reply = reply
        self._connection: Connection | None = connection
        self._read = read
        self._put_back = put_back
        self._release_if_over()

    def __repr__(self) -> str:
        return f"<Stream of a {self.reply.status}, {'over' if self.is_over else self._connection}>"

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be read."""
        return self._connection is None

    def read(self, end: float) -> bytes:
        """Return the next bytes of the body as soon as some are here, none at its end; they are never many.

        Raises an ``UpstreamError``, at the moment ``end`` at latest, and what ``look`` raises (see
        ``Connection.begin``); nothing comes after that.
        """
        if self._connection is None:
            return b""
        try:
            return self._read(end)
        finally:
            self._release_if_over()

    def close(self) -> None:
        """Let the connection go; what has not been read is lost. A second time does nothing."""
        if self._connection is not None:
            self._connection.close()
            self._release_if_over()

    def _release_if_over(self) -> None:
        connection = self._connection
        if connection is not None and connection.state is not State.ACTIVE:
            self._connection = None
            self._put_back(connection)
