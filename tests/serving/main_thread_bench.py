"""The main thread's parts between fakes: a worker whose loop the test runs, threads that are only counted, clients."""

from __future__ import annotations

import logging
import selectors
import socket
from contextlib import ExitStack
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from serving.acceptor import Acceptor
from serving.host import drop
from serving.intake import Intake
from serving.lingering import Lingering
from tests.serving.conftest import SETTINGS, Clock

if TYPE_CHECKING:
    from serving.connection import Connection, Unreader

HEALTH = b"GET /health HTTP/1.1\r\nHost: test\r\n\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: test\r\n\r\n"
READ_TIMEOUT = 5.0


class FakeHost:
    """The worker, as far as its parts know it; the test takes the main loop's turns."""

    def __init__(self) -> None:
        self.nr_conns = 0
        self.worker_connections = 100
        self.poller: selectors.BaseSelector = selectors.DefaultSelector()
        self.wsgi: Any = None
        self.log = logging.getLogger("host")
        self.closes = False
        #: Idle connections, the longest idle first.
        self.kept: list[Connection] = []

    def turn(self, timeout: float = 0.0) -> None:
        """Serve the events of one turn; ``timeout`` is how long to wait for the first."""
        for key, _ in self.poller.select(timeout):
            key.data(key.fileobj)

    def must_close(self) -> bool:
        return self.closes

    def keep(self, conn: Connection) -> None:
        self.kept.append(conn)

    def drop_idle(self) -> bool:
        if not self.kept:
            return False
        self.kept.pop(0).close()
        self.nr_conns -= 1
        return True


class FakeThreads:
    """Pool threads of which some wait for bytes."""

    def __init__(self) -> None:
        self.that_wait = 0

    def waiting(self) -> int:
        return self.that_wait


class FakeLiveness:
    """What the application says of the process."""

    path, body = "/health/live", b"{}"

    def __init__(self) -> None:
        self.counted: list[float] = []

    def count(self, seconds: float) -> None:
        self.counted.append(seconds)


class Bench:
    """Acceptor, intake with room for two requests, what lingers, and the clients' sockets."""

    def __init__(self, clock: Clock, room: int = 2) -> None:
        self.clock, self.host, self.threads, self.liveness = clock, FakeHost(), FakeThreads(), FakeLiveness()
        self.host.wsgi = SimpleNamespace(extensions={"liveness": self.liveness})
        self.counted: list[int] = []
        self.readers: set[Unreader] = set()
        self.lingering = Lingering(self.host, clock=clock)
        self.intake = Intake(
            self.host,
            self.threads,
            SETTINGS,
            most_requests=room,
            read_timeout=READ_TIMEOUT,
            count_unread=self.counted.append,
            clock=clock,
        )
        self.acceptor = Acceptor(self.host, self.intake, self.lingering, SETTINGS, readers=self.readers, clock=clock)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)  # as gunicorn's are
        self._given: list[Connection] = []
        self._cleanup = ExitStack()
        self._cleanup.enter_context(self.listener)

    def connect(self, count: int = 1) -> list[socket.socket]:
        """Connect clients; the acceptor is told of each."""
        clients = []
        for _ in range(count):
            clients.append(socket.create_connection(self.listener.getsockname(), 5))
            self.acceptor.accept(self.listener)
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

    def hand_out(self, most: int = 9) -> list[Connection]:
        """Return the connections that get a thread now; they are closed with the bench."""
        given = self.intake.hand_out(most)
        self._given += given
        return given

    def take(self) -> Connection:
        """Return the one connection that gets a thread now."""
        (conn,) = self.hand_out()
        return conn

    def take_one_back(self) -> None:
        """Let the request that came first get a thread, be answered, and end its connection."""
        (conn,) = self.intake.hand_out(1)
        self.intake.take_back(conn)
        drop(self.host, conn)

    def pass_time(self, seconds: float) -> None:
        """Let the main loop see that so many seconds have passed."""
        self.clock.now += seconds
        for part in (self.acceptor, self.intake, self.lingering):
            part.close_expired()

    def close(self) -> None:
        for _ in range(3):
            self.pass_time(1e9)
        for conn in (*self._drained(), *self._given, *self.host.kept):
            conn.close()
        self._cleanup.close()
        self.host.poller.close()

    def _drained(self) -> list[Connection]:
        conns = []
        for conn in self._given:
            self.intake.take_back(conn)
        self.clock.now += 1e9
        while given := self.intake.hand_out(99):
            conns += given
            for conn in given:
                self.intake.take_back(conn)
            self.clock.now += 1e3
        return conns


def is_closed(client: socket.socket) -> bool:
    """Return whether the other side has closed the connection; nothing else may have been sent."""
    client.settimeout(0)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
