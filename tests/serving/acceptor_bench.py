"""An acceptor between fakes: a worker whose loop the test runs, pool threads that are only counted, and clients."""

from __future__ import annotations

import selectors
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from serving.acceptor import Acceptor
from tests.serving.conftest import SETTINGS, Clock

if TYPE_CHECKING:
    from serving.connection import Connection, Unreader

HEALTH = b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n"


class FakeHost:
    """The worker, as far as the acceptor knows it; the test takes the main loop's turns."""

    def __init__(self) -> None:
        self.nr_conns = 0
        self.worker_connections = 100
        self.poller: selectors.BaseSelector = selectors.DefaultSelector()

    def turn(self, timeout: float = 0.0) -> None:
        """Serve the events of one turn; ``timeout`` is how long to wait for the first."""
        for key, _ in self.poller.select(timeout):
            key.data(key.fileobj)


class FakeAttendant:
    """Pool threads of which some wait for bytes."""

    def __init__(self) -> None:
        self.readers: set[Unreader] = set()
        self.threads_that_wait = 0

    def waiting(self) -> int:
        return self.threads_that_wait


class AcceptorBench:
    """An acceptor with room for two requests, its collaborators, and its clients' sockets."""

    def __init__(self, clock: Clock, room: int = 2) -> None:
        self.clock, self.host, self.attendant = clock, FakeHost(), FakeAttendant()
        self.counted: list[int] = []
        self.acceptor = Acceptor(
            self.host,
            self.attendant,  # type: ignore[arg-type]
            SETTINGS,
            most_requests=room,
            count_unread=self.counted.append,
            clock=clock,
        )
        self._cleanup = ExitStack()

    def connect(self, count: int = 1) -> list[socket.socket]:
        """Connect clients; the acceptor is told of them once."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            clients = [socket.create_connection(listener.getsockname(), 5) for _ in range(count)]
            listener.setblocking(False)  # as gunicorn's are
            self.acceptor.accept(listener)
        for client in clients:
            self._cleanup.enter_context(client)
        return clients

    def client(self, sends: bytes = b"") -> socket.socket:
        """Connect one client that sends this, and take the turns that notice it."""
        (client,) = self.connect()
        if sends:
            client.sendall(sends)
            self.host.turn(1.0)
        return client

    def take(self) -> Connection:
        """Return the one connection that gets a thread now."""
        (conn,) = self.acceptor.hand_out(9)
        return conn

    def close(self) -> None:
        self.clock.now += 1e9
        self.acceptor.close_expired()
        for conn in self.acceptor.hand_out(99):
            conn.close()
        self._cleanup.close()
        self.host.poller.close()
